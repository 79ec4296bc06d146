//! An emulated device that belongs to the owner of the development keys: provisioned, with its class key, ready for
//! enclaves. NOT-TRUSTED, and made in seconds.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use trustbox_api::Uuid;
use trustbox_api::key::{KeyName, KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_keys::DevKeys;
use trustbox_keys::issue::{self, Asking};
use trustbox_package::request::Request;
use trustbox_package::seal::{Edition, seal};
use trustbox_package::sign::public_key;

use crate::demo::talk::{done, json, request, share};
use crate::device::Device;

/// The class key that such a device has.
pub(crate) const CLASS: &str = "demo-class";

/// A device of the development owner.
pub(crate) struct Owned {
    pub(crate) device: Device,
    keys: DevKeys,
}

/// What a package says beside its image.
pub(crate) struct Description<'a> {
    pub(crate) name: &'a str,
    pub(crate) vendor: &'a str,
    pub(crate) class_key: KeyRef,
    pub(crate) min_optee: Version,
    pub(crate) min_ta: Version,
}

impl Owned {
    /// Provisions a blank device, which makes its keys first; on one that is ours already, delegates again.
    pub(crate) fn take(device: Device, keys: DevKeys, uuids: &[Uuid]) -> Result<Self> {
        let mut owned = Self { device, keys };
        let info = json(&mut owned.device, &["info"])?;
        owned.provision(&info, uuids)?;
        if !has_class_key(&info) {
            owned.release_class_key()?;
        }
        Ok(owned)
    }

    /// Packs and installs a signed image.
    pub(crate) fn install(&mut self, image: &[u8], description: &Description<'_>) -> Result<()> {
        let package = self.package(image, description)?;
        let path = share(&self.device, &format!("{}.cpk", description.name), &package)?;
        done(&mut self.device, &["install", &path]).map(drop)
    }

    /// The package of a signed image.
    pub(crate) fn package(&self, image: &[u8], description: &Description<'_>) -> Result<Vec<u8>> {
        let edition = Edition {
            name: Name::try_from(description.name)
                .map_err(|_| anyhow!("the name {} is longer than 64 bytes", description.name))?,
            vendor: description.vendor.to_owned(),
            owner_root: public_key(self.keys.owner_root.verifying_key()).id(),
            class_key: description.class_key,
            min_optee: description.min_optee,
            min_ta: description.min_ta,
            date: 0,
        };
        let class_key = self.keys.class_keys.require(&description.class_key)?;
        Ok(seal(image, &edition, class_key, &self.keys.publisher)?)
    }

    fn provision(&mut self, info: &Value, uuids: &[Uuid]) -> Result<()> {
        let keys = &self.keys;
        let root = public_key(keys.owner_root.verifying_key());
        let mut files = Vec::new();
        if info["lifecycle"] == "blank" {
            let Request::Provision { device_id, nonce } =
                request(&mut self.device, &["provision", "--request", "-"])?
            else {
                bail!("the device asks for something else than provisioning");
            };
            let asking = Asking { device_id, nonce };
            files.push(("pin", issue::pin_root(&keys.provisioning_authority, &root, &asking)?));
        }
        let sequence = now()?;
        let publisher = public_key(keys.publisher.verifying_key());
        files.push(("publisher", issue::delegate_publisher(&keys.owner_root, &publisher, uuids, sequence)?));
        let releaser = public_key(keys.releaser.verifying_key());
        let names = [KeyName::try_from(CLASS).map_err(|_| anyhow!("{CLASS} is too long"))?];
        files.push(("releaser", issue::delegate_releaser(&keys.owner_root, &releaser, &names, sequence)?));
        let paths = files
            .iter()
            .map(|(name, statement)| share(&self.device, &format!("{name}.statement"), statement));
        let paths = paths.collect::<Result<Vec<_>>>()?;
        let words: Vec<&str> = ["provision"].into_iter().chain(paths.iter().map(String::as_str)).collect();
        let help = "help: a device of another owner, or of another clone's keys, starts again with --fresh";
        done(&mut self.device, &words).map(drop).context(help)
    }

    fn release_class_key(&mut self) -> Result<()> {
        let request = request(&mut self.device, &["key", "import", "--request", "-"])?;
        let Request::KeyImport { device_id, nonce, device_key } = request else {
            bail!("the device asks for something else than a class key");
        };
        let key = KeyRef::new(CLASS, 1).context("the class key's name is too long")?;
        let value = self.keys.class_keys.require(&key)?;
        let root = public_key(self.keys.owner_root.verifying_key()).id();
        let asking = Asking { device_id, nonce };
        let bundle = issue::release(&self.keys.releaser, root, &asking, &device_key, (&key, value))?;
        let path = share(&self.device, "class-key.bundle", &bundle)?;
        done(&mut self.device, &["key", "import", &path]).map(drop)
    }
}

fn has_class_key(info: &Value) -> bool {
    let keys = info["class_keys"].as_array();
    keys.is_some_and(|keys| keys.iter().any(|key| key["name"] == CLASS && key["version"] == 1))
}

/// Sequences of statements rise with time.
fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_first_version_of_its_class_key_counts() {
        let with = |name: &str, version: u32| json!({"class_keys": [{"name": name, "version": version}]});
        assert!(has_class_key(&with(CLASS, 1)));
        assert!(
            !has_class_key(&with(CLASS, 2))
                && !has_class_key(&with("other", 1))
                && !has_class_key(&json!({}))
        );
    }
}
