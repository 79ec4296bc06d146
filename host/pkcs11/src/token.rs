//! A session with a token, and the one object of it that a URI names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::uri::{PIN_VARIABLE, Uri};

/// Bytes of a PIN at most.
const MAX_PIN: u64 = 256;

/// Modules that were loaded: a process may initialise each only once.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// A logged-in session.
pub(crate) struct Token {
    pub(crate) session: Session,
    module: Pkcs11,
    uri: Uri,
}

impl Token {
    /// Opens a session with the URI's token.
    pub(crate) fn open(uri: &Uri) -> Result<Self> {
        Self::open_with(uri, Pkcs11::open_ro_session)
    }

    /// The same, to make and to destroy objects.
    pub(crate) fn open_for_changes(uri: &Uri) -> Result<Self> {
        Self::open_with(uri, Pkcs11::open_rw_session)
    }

    fn open_with(uri: &Uri, open: fn(&Pkcs11, Slot) -> cryptoki::error::Result<Session>) -> Result<Self> {
        let module = load(&uri.module()?)?;
        let slot = find_slot(&module, uri)?;
        let session = open(&module, slot).with_context(|| format!("{uri}: no session with the token"))?;
        log_in(&session, uri)?;
        Ok(Self { session, module, uri: uri.clone() })
    }

    /// Whether the token is where it was, and says so.
    pub(crate) fn check(&self) -> cryptoki::error::Result<()> {
        self.module.get_token_info(self.session.get_session_info()?.slot_id()).map(drop)
    }

    /// The object of a class that the URI names.
    pub(crate) fn object(&self, class: ObjectClass) -> Result<ObjectHandle> {
        let (uri, mut template) = (&self.uri, vec![Attribute::Class(class)]);
        template.extend(uri.object.iter().map(|label| Attribute::Label(label.as_bytes().to_vec())));
        template.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
        let found = self
            .session
            .find_objects(&template)
            .with_context(|| format!("{uri}: cannot look for the key"))?;
        match found[..] {
            [object] => Ok(object),
            [] => bail!(
                "{uri}: the token has no {class} of this name\nhelp: pkcs11-tool --list-objects shows what there is"
            ),
            _ => bail!("{uri}: {} objects have this name, expected one\nhelp: add id=%NN", found.len()),
        }
    }
}

fn load(path: &Path) -> Result<Pkcs11> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let shown = path.display();
    let module = Pkcs11::new(path)
        .with_context(|| format!("{shown} is not a PKCS#11 module\nhelp: SoftHSM has libsofthsm2.so"))?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .with_context(|| format!("{shown} does not start"))?;
    modules.insert(path.to_path_buf(), module.clone());
    Ok(module)
}

fn find_slot(module: &Pkcs11, uri: &Uri) -> Result<Slot> {
    let slots = module.get_slots_with_token().with_context(|| format!("{uri}: no list of tokens"))?;
    let (mut labels, mut found) = (Vec::new(), Vec::new());
    for slot in slots {
        // Another token that does not answer is no reason not to find this one.
        let Ok(info) = module.get_token_info(slot) else { continue };
        if !info.token_initialized() {
            continue;
        }
        let fits = |wanted: &Option<String>, has: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == has.trim_end())
        };
        if fits(&uri.token, info.label()) && fits(&uri.serial, info.serial_number()) {
            found.push(slot);
        }
        labels.push(info.label().trim_end().to_owned());
    }
    match found[..] {
        [slot] => Ok(slot),
        [] => bail!("{uri}: no such token\nhelp: the module has: {}", labels.join(", ")),
        _ => bail!("{uri}: {} tokens fit, expected one\nhelp: add token=LABEL or serial=NUMBER", found.len()),
    }
}

fn log_in(session: &Session, uri: &Uri) -> Result<()> {
    let pin = pin(uri)?;
    match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
        // Another key of the same token was opened before.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect, _)) => {
            bail!("{uri}: wrong PIN\nhelp: the token locks after a few wrong ones")
        }
        Err(error) => Err(error).with_context(|| format!("{uri}: no login")),
    }
}

fn pin(uri: &Uri) -> Result<Zeroizing<String>> {
    let pin = match (uri.pin_file(), std::env::var(PIN_VARIABLE)) {
        (Some(path), _) => read_pin(path)?,
        (None, Ok(pin)) => Zeroizing::new(pin),
        (None, Err(_)) => bail!("{uri}: no PIN\nhelp: add ?pin-source=file:PATH, or set {PIN_VARIABLE}"),
    };
    Ok(Zeroizing::new(pin.trim_end_matches(['\r', '\n']).to_owned()))
}

fn read_pin(path: &Path) -> Result<Zeroizing<String>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "secret file {shown} has mode {mode:o}, expected 600\nhelp: chmod 600 {shown}"
    );
    let mut pin = Zeroizing::new(String::with_capacity(MAX_PIN as usize));
    file.take(MAX_PIN).read_to_string(&mut pin).with_context(|| format!("cannot read {shown}"))?;
    Ok(pin)
}
