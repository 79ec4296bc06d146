//! Development keys: everything a fleet of emulated devices needs, generated on first use. NOT-TRUSTED.
//!
//! The folder is safe to delete; firmware built with its provisioning authority must then be built again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use p256::ecdsa::SigningKey;
use trustbox_package::ClassKey;
use trustbox_package::sign::public_key;

use crate::class_keys::{ClassKeys, parse_key_ref};
use crate::files;
pub use crate::roles::Role;
use crate::roles::{self, Plain, Protect};

/// Class keys that development devices know.
pub const CLASS_KEYS: [&str; 2] = ["demo-class", "other-class"];

const CLASS_KEYS_FILE: &str = "class-keys.json";
const AUTHORITY_HASH_FILE: &str = "provisioning-authority.sha256";
const NOTE_FILE: &str = "NOT-TRUSTED.txt";
const NOTE: &str = "\
NOT-TRUSTED: development keys of TrustBox, generated on this machine.

They are not protected, and devices that accept them are worth nothing as proof.
Never build production firmware with them. The folder may be deleted: it is made
again, and firmware must then be built again.
";

/// The development keys, loaded.
pub struct DevKeys {
    dir: PathBuf,
    /// Lets owners pin their root.
    pub provisioning_authority: SigningKey,
    /// Delegates everything else.
    pub owner_root: SigningKey,
    /// Certifies devices.
    pub factory_ca: SigningKey,
    /// Signs packages.
    pub publisher: SigningKey,
    /// Signs key bundles.
    pub releaser: SigningKey,
    /// Signs revocations.
    pub revoker: SigningKey,
    /// Class keys, [`CLASS_KEYS`] at least.
    pub class_keys: ClassKeys,
}

/// Loads the development keys in `dir`, generating what is missing.
///
/// Several processes may do so at once: they take turns.
pub fn ensure(dir: &Path) -> Result<DevKeys> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| anyhow!("cannot make {}: {error}", dir.display()))?;
    let _turn = take_turn(dir)?;
    if !dir.join(NOTE_FILE).exists() {
        files::write(&dir.join(NOTE_FILE), NOTE.as_bytes())?;
    }
    let keys = DevKeys {
        provisioning_authority: ensure_key(dir, Role::ProvisioningAuthority)?,
        owner_root: ensure_key(dir, Role::OwnerRoot)?,
        factory_ca: ensure_key(dir, Role::FactoryCa)?,
        publisher: ensure_key(dir, Role::Publisher)?,
        releaser: ensure_key(dir, Role::Releaser)?,
        revoker: ensure_key(dir, Role::Revoker)?,
        class_keys: ensure_class_keys(&dir.join(CLASS_KEYS_FILE))?,
        dir: dir.to_path_buf(),
    };
    ensure_authority_hash(&keys)?;
    Ok(keys)
}

impl DevKeys {
    /// A role's private key file.
    pub fn private_path(&self, role: Role) -> PathBuf {
        self.dir.join(Plain.file_name(role))
    }

    /// A role's public key file.
    pub fn public_path(&self, role: Role) -> PathBuf {
        self.dir.join(role.public_file_name())
    }

    /// The store of class keys.
    pub fn class_keys_path(&self) -> PathBuf {
        self.dir.join(CLASS_KEYS_FILE)
    }

    /// The file with 64 hexadecimal digits, the provisioning authority's id, for the build of the TA.
    pub fn authority_hash_path(&self) -> PathBuf {
        self.dir.join(AUTHORITY_HASH_FILE)
    }
}

/// Waits until no other process works on the folder; the lock ends with the file.
fn take_turn(dir: &Path) -> Result<File> {
    let path = dir.join(".lock");
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = open.map_err(|error| anyhow!("cannot open {}: {error}", path.display()))?;
    file.lock().map_err(|error| anyhow!("cannot lock {}: {error}", path.display()))?;
    Ok(file)
}

fn ensure_key(dir: &Path, role: Role) -> Result<SigningKey> {
    let (private, public) = (dir.join(Plain.file_name(role)), dir.join(role.public_file_name()));
    if !private.exists() {
        roles::make(dir, role, &Plain)?;
    }
    let key = files::load_private(&private)?;
    if !public.exists() {
        files::store_public(&public, &key)?;
    }
    Ok(key)
}

fn ensure_class_keys(path: &Path) -> Result<ClassKeys> {
    let mut keys = if path.exists() { ClassKeys::load(path)? } else { ClassKeys::default() };
    let before = keys.refs().len();
    for name in CLASS_KEYS {
        let key = parse_key_ref(name)?;
        if keys.get(&key).is_none() {
            keys.insert(&key, ClassKey::generate()?)?;
        }
    }
    if keys.refs().len() > before {
        keys.store(path)?;
    }
    Ok(keys)
}

fn ensure_authority_hash(keys: &DevKeys) -> Result<()> {
    let text = format!("{}\n", public_key(keys.provisioning_authority.verifying_key()).id());
    let path = keys.authority_hash_path();
    // Written only when it changes: builds depend on the file's time.
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    files::write(&path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn first_use_generates_and_later_uses_keep() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a/dev-keys");
        let keys = ensure(&dir).unwrap();
        let before = snapshot(&dir);
        assert_eq!(before.len(), 16);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o077, 0);
        for secret in [keys.private_path(Role::OwnerRoot), keys.class_keys_path()] {
            assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = ensure(&dir).unwrap();
        assert!(snapshot(&dir) == before);
        assert!(again.publisher == keys.publisher && keys.publisher != keys.releaser);
        assert_eq!(keys.class_keys.refs().len(), 2);
    }

    #[test]
    fn authority_hash_is_the_key_id() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ensure(dir.path()).unwrap();
        let text = fs::read_to_string(keys.authority_hash_path()).unwrap();
        let public = files::load_public(&keys.public_path(Role::ProvisioningAuthority)).unwrap();
        assert_eq!(text.trim_end(), public.id().to_string());
        assert_eq!(text.len(), 65);
    }

    #[test]
    fn what_is_missing_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ensure(dir.path()).unwrap();
        fs::remove_file(keys.private_path(Role::Releaser)).unwrap();
        fs::remove_file(keys.public_path(Role::Publisher)).unwrap();
        let again = ensure(dir.path()).unwrap();
        assert!(again.releaser != keys.releaser && again.publisher == keys.publisher);
        for (role, key) in [(Role::Releaser, &again.releaser), (Role::Publisher, &again.publisher)] {
            let public = files::load_public(&again.public_path(role)).unwrap();
            assert_eq!(public, public_key(key.verifying_key()));
        }
    }

    #[test]
    fn many_at_once_agree() {
        let dir = tempfile::tempdir().unwrap();
        let run = || {
            let dir = dir.path().to_path_buf();
            std::thread::spawn(move || ensure(&dir).unwrap())
        };
        let threads: Vec<_> = (0..8).map(|_| run()).collect();
        let all: Vec<DevKeys> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(
            all.iter().all(|keys| keys.owner_root == all[0].owner_root && keys.releaser == all[0].releaser)
        );
        let store = ClassKeys::load(&all[0].class_keys_path()).unwrap();
        let demo = parse_key_ref(CLASS_KEYS[0]).unwrap();
        let bytes = store.require(&demo).unwrap().expose();
        assert!(all.iter().all(|keys| keys.class_keys.require(&demo).unwrap().expose() == bytes));
    }
}
