//! What a factory answers a blank device, with development keys: who owns it, its class key, and the meter.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use trustbox_api::key::{KeyName, KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_keys::issue::{self, Asking};
use trustbox_keys::{DevKeys, dev};
use trustbox_package::request::Request;
use trustbox_package::seal::{Edition, seal};
use trustbox_package::sign::public_key;

use crate::builder::Builder;

/// The class key that the device gets.
const CLASS: &str = "demo-class";
const METER: &str = "trustbox-meter";

/// What the factory has for a device.
pub(crate) struct Factory {
    keys: DevKeys,
    /// The signed enclave.
    meter: PathBuf,
    uuid: String,
}

impl Factory {
    /// With development keys, and the meter.
    pub(crate) fn prepare(builder: &Builder) -> Result<Self> {
        let keys = dev::ensure(&builder.repo.dev_keys())?;
        let meter = builder
            .enclaves()?
            .into_iter()
            .find(|enclave| enclave.name == METER)
            .context("tests/enclaves has no meter")?;
        Ok(Self { keys, meter: meter.signed, uuid: meter.uuid })
    }

    /// The answer to a line; what is wrong with it is told to the device too.
    pub(crate) fn answer(&self, line: &str) -> Value {
        match self.files(line) {
            Ok(files) => json!({"files": files.iter().map(|file| STANDARD.encode(file)).collect::<Vec<_>>()}),
            Err(error) => json!({"error": format!("{error:#}")}),
        }
    }

    fn files(&self, line: &str) -> Result<Vec<Vec<u8>>> {
        let asked: Value = serde_json::from_str(line).context("the device's request is not JSON")?;
        let request = || {
            Request::from_json(asked["request"].to_string().as_bytes())
                .context("the device's request is none")
        };
        match asked["ask"].as_str() {
            Some("provision") => self.statements(request()?),
            Some("key") => Ok(vec![self.class_key(request()?)?]),
            Some("packages") => Ok(vec![self.package()?]),
            _ => bail!("the device asks for something unknown"),
        }
    }

    fn statements(&self, request: Request) -> Result<Vec<Vec<u8>>> {
        let Request::Provision { device_id, nonce } = request else { bail!("not a provisioning request") };
        let keys = &self.keys;
        let root = public_key(keys.owner_root.verifying_key());
        let publisher = public_key(keys.publisher.verifying_key());
        let releaser = public_key(keys.releaser.verifying_key());
        let class = KeyName::try_from(CLASS).map_err(|_| anyhow!("{CLASS} is too long"))?;
        Ok(vec![
            issue::pin_root(&keys.provisioning_authority, &root, &Asking { device_id, nonce })?,
            issue::delegate_publisher(&keys.owner_root, &publisher, &[self.uuid.parse()?], 1)?,
            issue::delegate_releaser(&keys.owner_root, &releaser, &[class], 1)?,
        ])
    }

    fn class_key(&self, request: Request) -> Result<Vec<u8>> {
        let Request::KeyImport { device_id, nonce, device_key } = request else {
            bail!("not a request for a key")
        };
        let key = key_ref()?;
        let value = self.keys.class_keys.require(&key)?;
        let root = public_key(self.keys.owner_root.verifying_key()).id();
        let asking = Asking { device_id, nonce };
        Ok(issue::release(&self.keys.releaser, root, &asking, &device_key, (&key, value))?)
    }

    fn package(&self) -> Result<Vec<u8>> {
        let edition = Edition {
            name: Name::try_from("meter").map_err(|_| anyhow!("the name is too long"))?,
            vendor: "TrustBox".to_owned(),
            owner_root: public_key(self.keys.owner_root.verifying_key()).id(),
            class_key: key_ref()?,
            min_optee: Version(4, 0, 0),
            min_ta: Version(0, 1, 0),
            date: 0,
        };
        let class_key = self.keys.class_keys.require(&edition.class_key)?;
        Ok(seal(&fs::read(&self.meter)?, &edition, class_key, &self.keys.publisher)?)
    }
}

fn key_ref() -> Result<KeyRef> {
    KeyRef::new(CLASS, 1).context("the class key's name is too long")
}
