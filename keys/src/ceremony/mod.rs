//! The key ceremony of an owner: all keys of a fleet, made once, by people in one room, on a machine without a network.
//!
//! | key | protected by | who uses it later |
//! | --- | --- | --- |
//! | owner root | the passphrases of two custodians, both at once | both, offline: delegations, rotation, decommission |
//! | provisioning authority, factory CA | the passphrase | factory |
//! | releaser, store key, class keys | the passphrase, or a PKCS#11 token | key service |
//! | revoker | the passphrase, or a PKCS#11 token | whoever answers incidents |
//! | publisher | the passphrase, or a PKCS#11 token | build pipeline |
//! | ta-signing, fit-signing | the passphrase | image builder |
//!
//! The folder also gets the public keys, the owner's statements that delegate, and a transcript with fingerprints to be printed
//! and signed by those who were there. Nothing in it is ever replaced.

pub mod certificates;
pub mod protect;

use std::fmt::Write;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use trustbox_api::key::{KeyName, KeyRef};
use trustbox_api::{Bytes, Uuid};
use trustbox_package::ClassKey;
use trustbox_package::date;
use trustbox_pkcs11::{KeySession, Uri};
use zeroize::Zeroizing;

use crate::roles::{self, Protect, Role};
use crate::service::config::refuse_open_folder;
use crate::{ClassKeys, factory, files, issue, show};
use protect::Passphrase;

/// File of the key that seals class keys in the service's database.
pub const STORE_KEY: &str = "store.key";
/// File of the class keys.
pub const CLASS_KEYS: &str = "class-keys.json";
const TRANSCRIPT: &str = "transcript.txt";
/// Roles whose keys a token can hold: those that are used every day.
const IN_TOKEN: [Role; 3] = [Role::Publisher, Role::Releaser, Role::Revoker];

/// What a ceremony is about.
pub struct Plan {
    /// The folder, which must not be there yet.
    pub dir: PathBuf,
    /// Custodians of the owner root, by name: two.
    pub custodians: Vec<(String, Passphrase)>,
    /// Passphrase of everything else.
    pub passphrase: Passphrase,
    /// Names of the class keys.
    pub class_keys: Vec<KeyName>,
    /// Applications that the publisher may publish.
    pub uuids: Vec<Uuid>,
    /// A token for the keys that are used every day.
    pub token: Option<Uri>,
    /// Seconds since 1970; also the sequence of the delegations.
    pub now: u64,
    /// scrypt's N as a power of two: [`protect::WORK_FACTOR`].
    pub work_factor: u8,
}

/// Encrypted under passphrases.
struct Encrypted(Vec<Passphrase>, u8);

impl Protect for Encrypted {
    fn suffix(&self) -> &str {
        protect::SUFFIX
    }

    fn protect(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        protect::encrypt(secret, &self.0, self.1)
    }
}

/// Holds the ceremony; returns the transcript.
pub fn init(plan: &Plan) -> Result<String> {
    plan.check()?;
    let parent = plan.dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(parent.is_dir(), "folder {} is not there", parent.display());
    // Made beside, and renamed when whole: a ceremony that was cut off leaves nothing that looks like one.
    let unfinished = plan.dir.with_extension(format!("unfinished-{}", std::process::id()));
    DirBuilder::new()
        .mode(0o700)
        .create(&unfinished)
        .with_context(|| format!("cannot make {}", unfinished.display()))?;
    let made = plan.make(&unfinished).and_then(|text| {
        fs::rename(&unfinished, &plan.dir).with_context(|| format!("cannot make {}", plan.dir.display()))?;
        Ok(text)
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&unfinished);
    }
    made
}

impl Plan {
    fn check(&self) -> Result<()> {
        ensure!(
            !self.dir.exists(),
            "{} is there already\nhelp: a ceremony makes a folder of its own",
            self.dir.display()
        );
        let [(first, one), (second, other)] = &self.custodians[..] else {
            bail!(
                "{} custodians, the owner root takes two\nhelp: --custodian NAME=FILE twice",
                self.custodians.len()
            );
        };
        let secrets = [one, other, &self.passphrase].map(ExposeSecret::expose_secret);
        ensure!(first != second, "both custodians are {first}");
        let distinct = secrets[0] != secrets[1] && secrets[0] != secrets[2] && secrets[1] != secrets[2];
        ensure!(
            distinct,
            "two passphrases are the same\nhelp: each custodian has one, and there is one for everything else"
        );
        [one, other, &self.passphrase].into_iter().try_for_each(protect::check)?;
        ensure!(!self.class_keys.is_empty(), "no class key is named\nhelp: --class-key NAME");
        Ok(())
    }

    fn make(&self, dir: &Path) -> Result<String> {
        let everyday = Encrypted(vec![self.passphrase.clone()], self.work_factor);
        let custodians = self.custodians.iter().map(|(_, passphrase)| passphrase.clone());
        let two = Encrypted(custodians.collect(), self.work_factor);
        let mut lines = Vec::new();
        for role in Role::ALL {
            let (id, place) = match &self.token {
                Some(uri) if IN_TOKEN.contains(&role) => in_token(dir, role, uri)?,
                _ if role.takes_two() => (roles::make(dir, role, &two)?, two.file_name(role)),
                _ => (roles::make(dir, role, &everyday)?, everyday.file_name(role)),
            };
            lines.push(format!("{:<24}{id}  {place}", role.name()));
        }
        let mut store_key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *store_key).context("no random numbers")?;
        files::write_private(
            &dir.join(format!("{STORE_KEY}.{}", protect::SUFFIX)),
            &everyday.protect(&*store_key)?,
        )?;
        match &self.token {
            Some(uri) => self.class_keys_in_token(uri)?,
            None => self.class_keys_in_file(dir, &everyday)?,
        }
        let factory = protect::read_signing_key(
            &dir.join(everyday.file_name(Role::FactoryCa)),
            std::slice::from_ref(&self.passphrase),
        )?;
        files::write(&dir.join(factory::CA_FILE), factory::self_signed(&factory)?.as_bytes())?;
        self.delegate(dir)?;
        let text = self.transcript(dir, &lines)?;
        files::write(&dir.join(TRANSCRIPT), text.as_bytes())?;
        Ok(text)
    }

    fn class_keys_in_file(&self, dir: &Path, protection: &Encrypted) -> Result<()> {
        let mut keys = ClassKeys::default();
        for name in &self.class_keys {
            keys.insert(&KeyRef { name: *name, version: 1 }, ClassKey::generate()?)?;
        }
        files::write_private(
            &dir.join(format!("{CLASS_KEYS}.{}", protect::SUFFIX)),
            &protection.protect(&keys.to_json()?)?,
        )
    }

    fn class_keys_in_token(&self, uri: &Uri) -> Result<()> {
        let session = KeySession::open(uri)?;
        for name in &self.class_keys {
            let label = format!("{}:{name}", uri.object.as_deref().unwrap_or("trustbox"));
            ensure!(!session.has(&label)?, "{uri}: there is a key {label} already");
            session.generate(&label, false)?;
        }
        Ok(())
    }

    /// The owner's statements, signed while both custodians are there.
    fn delegate(&self, dir: &Path) -> Result<()> {
        let passphrases: Vec<_> = self.custodians.iter().map(|(_, passphrase)| passphrase.clone()).collect();
        let path = dir.join(Role::OwnerRoot.private_file_name(protect::SUFFIX));
        let root = protect::read_signing_key(&path, &passphrases)?;
        let public = |role: Role| files::load_public(&dir.join(role.public_file_name()));
        let statement = |role: Role, bytes: Vec<u8>| {
            files::write(&dir.join(format!("{}.statement", role.name())), &bytes)
        };
        let releaser = issue::delegate_releaser(&root, &public(Role::Releaser)?, &self.class_keys, self.now)?;
        statement(Role::Releaser, releaser)?;
        statement(Role::Revoker, issue::delegate_revoker(&root, &public(Role::Revoker)?, self.now)?)?;
        if !self.uuids.is_empty() {
            let publisher =
                issue::delegate_publisher(&root, &public(Role::Publisher)?, &self.uuids, self.now)?;
            statement(Role::Publisher, publisher)?;
        }
        Ok(())
    }

    fn transcript(&self, dir: &Path, keys: &[String]) -> Result<String> {
        let mut text = String::new();
        let names: Vec<_> = self.custodians.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(text, "TrustBox key ceremony, trustbox-keys {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(text, "time                    {}", date::text(self.now))?;
        writeln!(text, "custodians of the root  {}", names.join(", "))?;
        writeln!(
            text,
            "class keys              {}\n",
            self.class_keys.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
        )?;
        writeln!(text, "SHA-256 of each key's SubjectPublicKeyInfo, and where its private half is")?;
        keys.iter().try_for_each(|line| writeln!(text, "{line}"))?;
        writeln!(text, "\nSHA-256 of each file")?;
        for name in names_of(dir)? {
            let digest: Bytes<32> = Bytes(Sha256::digest(fs::read(dir.join(&name))?).into());
            writeln!(text, "{digest}  {name}")?;
        }
        writeln!(text, "\nsigned by those who were there:\n")?;
        names.iter().try_for_each(|name| writeln!(text, "{name:<24}________________________\n"))?;
        Ok(text)
    }
}

fn in_token(dir: &Path, role: Role, uri: &Uri) -> Result<(Bytes<32>, String)> {
    let session = KeySession::open(uri)?;
    ensure!(!session.has(role.name())?, "{uri}: there is an object {} already", role.name());
    let public = session.generate_p256(uri, role.name())?;
    files::store_spki(&dir.join(role.public_file_name()), &public)?;
    Ok((public.id(), format!("{}", uri.of_object(role.name()))))
}

/// Files of a folder, in order.
fn names_of(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read folder {}", dir.display()))?;
    let mut names: Vec<_> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

/// What a ceremony's folder has, line by line, and what is wrong with it. Secrets stay closed.
pub fn status(dir: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    if let Err(error) = refuse_open_folder(dir) {
        wrong.push(error.to_string());
    }
    for role in Role::ALL {
        match roles::fingerprint(&dir.join(role.public_file_name())) {
            Ok(id) => lines.push(format!("{:<24}{id}  {}", role.name(), private_half(dir, role, &mut wrong))),
            Err(error) => wrong.push(format!("{}: {error}", role.name())),
        }
    }
    for role in [Role::Publisher, Role::Releaser, Role::Revoker] {
        let path = dir.join(format!("{}.statement", role.name()));
        if path.exists() {
            let shown = files::read(&path).and_then(|bytes| show::describe(&bytes));
            match shown {
                Ok(shown) => {
                    lines.push(format!("{:<24}delegated with sequence {}", role.name(), shown["sequence"]))
                }
                Err(error) => wrong.push(format!("{}: {error}", path.display())),
            }
        } else {
            lines.push(format!("{:<24}not delegated", role.name()));
        }
    }
    compare_transcript(dir, &mut wrong)?;
    Ok((lines, wrong))
}

fn private_half(dir: &Path, role: Role, wrong: &mut Vec<String>) -> String {
    let path = dir.join(role.private_file_name(protect::SUFFIX));
    let Ok(metadata) = fs::metadata(&path) else { return "not in this folder".to_owned() };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        wrong.push(format!("{} has mode {mode:o}, expected 600", path.display()));
    }
    if !fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"age-encryption.org/v1\n")) {
        wrong.push(format!("{} is not encrypted", path.display()));
    }
    format!(
        "{}, takes {}",
        path.file_name().unwrap_or_default().to_string_lossy(),
        if role.takes_two() { "two" } else { "one" }
    )
}

/// Files that the transcript lists must be as they were; they may be gone, to where they belong.
fn compare_transcript(dir: &Path, wrong: &mut Vec<String>) -> Result<()> {
    let Ok(bytes) = files::read(&dir.join(TRANSCRIPT)) else {
        wrong.push(format!("{TRANSCRIPT} is missing"));
        return Ok(());
    };
    let text = String::from_utf8_lossy(&bytes);
    let listed = text
        .lines()
        .skip_while(|line| *line != "SHA-256 of each file")
        .filter_map(|line| line.split_once("  "));
    for (digest, name) in listed {
        let path = dir.join(name);
        if path.exists() {
            let found: Bytes<32> = Bytes(Sha256::digest(fs::read(&path)?).into());
            if found.to_string() != digest {
                wrong.push(format!("{name} was changed since the ceremony"));
            }
        }
    }
    Ok(())
}

/// Class keys of a file, encrypted or plain.
pub fn read_class_keys(path: &Path, passphrases: &[Passphrase]) -> Result<ClassKeys> {
    let bytes = protect::read(path, passphrases)?;
    ClassKeys::from_json(&bytes).map_err(|error| anyhow!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(dir: &Path) -> Plan {
        let passphrase = |text: &str| Passphrase::from(text.to_owned());
        Plan {
            dir: dir.join("owner"),
            custodians: vec![
                ("alice".to_owned(), passphrase("correct horse battery")),
                ("bob".to_owned(), passphrase("staple ceremony again")),
            ],
            passphrase: passphrase("everyday passphrase"),
            class_keys: vec![KeyName::from("meter").unwrap()],
            uuids: vec![trustbox_api::TRUSTBOX_UUID],
            token: None,
            now: 1_800_000_000,
            work_factor: 4,
        }
    }

    #[test]
    fn a_ceremony_makes_everything_once_and_status_finds_what_was_changed() {
        let base = tempfile::tempdir().unwrap();
        let plan = plan(base.path());
        let transcript = init(&plan).unwrap();
        assert!(transcript.contains("alice, bob") && !transcript.contains("horse"));
        let (lines, wrong) = status(&plan.dir).unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(
            lines.iter().any(|line| line.starts_with("owner-root") && line.ends_with("takes two")),
            "{lines:?}"
        );
        let root = plan.dir.join("owner-root.key.age");
        let custodians: Vec<_> = plan.custodians.iter().map(|(_, passphrase)| passphrase.clone()).collect();
        assert!(protect::read_signing_key(&root, &custodians).is_ok());
        let exchanged: Vec<_> = custodians.iter().rev().cloned().collect();
        for refused in
            [&custodians[..1], &custodians[1..], &exchanged[..], &[plan.passphrase.clone()][..], &[]]
        {
            assert!(protect::read_signing_key(&root, refused).is_err());
        }
        let keys =
            read_class_keys(&plan.dir.join("class-keys.json.age"), std::slice::from_ref(&plan.passphrase))
                .unwrap();
        assert_eq!(keys.refs().len(), 1);
        assert!(init(&plan).unwrap_err().to_string().contains("there already"));
        fs::write(plan.dir.join("releaser.statement"), b"x").unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o644)).unwrap();
        let (_, wrong) = status(&plan.dir).unwrap();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert_eq!(names_of(base.path()).unwrap(), ["owner"]);
    }

    #[test]
    fn one_person_is_not_two() {
        let base = tempfile::tempdir().unwrap();
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan(base.path());
            change(&mut plan);
            init(&plan).unwrap_err().to_string()
        };
        assert!(refused(|plan| drop(plan.custodians.pop())).contains("takes two"));
        assert!(refused(|plan| plan.custodians[1].0 = "alice".to_owned()).contains("both custodians"));
        assert!(refused(|plan| plan.custodians[1].1 = plan.custodians[0].1.clone()).contains("the same"));
        assert!(
            refused(|plan| plan.passphrase = Passphrase::from("short".to_owned())).contains("5 characters")
        );
        assert_eq!(names_of(base.path()).unwrap().len(), 0);
    }
}
