//! `tb demo`: the main job, end to end, on real OP-TEE.
//!
//! Every step is done by the program that a user would use: `trustbox` on the device, `trustbox-keys` as the service that
//! releases class keys and as its client, and the libraries behind it and `tb pack` on this host. Each step checks what it
//! shows, so the last line is earned.

mod attestation;
mod direct_open;
mod later;
pub(crate) mod service;
pub(crate) mod talk;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use trustbox_api::Error;
use trustbox_api::key::{DeviceId, KeyName, KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_keys::issue::{self, Asking};
use trustbox_keys::{DevKeys, dev, reference};
use trustbox_package::request::Request;
use trustbox_package::seal::{Edition, Fresh, seal_with};
use trustbox_package::sign::public_key;
use trustbox_verifier::ReferenceValues;

use crate::builder::Builder;
use crate::device::{BootOptions, Device};
use crate::guest::{GuestKind, Images};
use crate::sbom;
use crate::ta::Enclave;

use later::from_base64;
use service::KeyService;
use talk::{done, install_refused, json, request, say, share, text};

/// Text that only the meter's plaintext contains.
const MARKER: &[u8] = b"TRUSTBOX-METER-CONFIDENTIAL-MARKER";
/// The example enclave.
const METER: &str = "trustbox-meter";
const CLASS: &str = "demo-class";
const OTHER_CLASS: &str = "other-class";
/// Packages that the story makes: three versions of the meter, and one for another class.
const PACKAGES: usize = 4;
/// Readings in watt hours, and their sum.
const READINGS: [&str; 3] = ["1500", "250", "8250"];
const TOTAL: &str = "total=10000 readings=3";

/// Shows the main job.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Board; the emulated one is the only one that a demo can be shown on
    #[arg(long, default_value = crate::board::DEFAULT)]
    platform: String,
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<()> {
    check(&Builder::open(&args.platform)?)
}

/// The demo as a test, within a build that holds the cache's lock.
pub(crate) fn check(builder: &Builder) -> Result<()> {
    let (demo, device) = Demo::prepare(builder)?;
    demo.show(device)
}

struct Demo {
    images: Images,
    keys: DevKeys,
    service: KeyService,
    /// The meter in version 1.
    meter: Enclave,
    /// Its crate, for the SBOM in its packages.
    manifest: PathBuf,
    /// The meter, signed as version 2 and 3.
    newer: [PathBuf; 2],
    /// What a token must say of this firmware.
    firmware: ReferenceValues,
    /// A program for the device.
    direct_open: PathBuf,
    /// The device's storage; gone with the demo.
    folder: PathBuf,
}

/// What the owner notes about a device when it is provisioned.
struct Known {
    device_id: DeviceId,
    device_key: String,
    attestation_key: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn boot(images: &Images, folder: &Path) -> Result<Device> {
    let options = BootOptions { state: Some(folder.join("state.img")), ..BootOptions::default() };
    Device::boot(images, &options)
}

impl Demo {
    /// Builds what is needed, and starts from a blank device.
    fn prepare(builder: &Builder) -> Result<(Self, Device)> {
        let keys = dev::ensure(&builder.repo().dev_keys())?;
        let mut enclaves = builder.enclaves()?.into_iter();
        let meter = enclaves.find(|enclave| enclave.name == METER).context("tests/enclaves has no meter")?;
        ensure!(meter.version == 1, "the meter has version {}, the story begins with 1", meter.version);
        let newer = [builder.resign(&meter, 2)?, builder.resign(&meter, 3)?];
        let direct_open = direct_open::build(builder)?;
        // On a new machine compiling it takes minutes: before the device waits for it.
        builder.keys_program()?;
        let images = builder.images(GuestKind::Plain, false)?;
        let signer = public_key(keys.provisioning_authority.verifying_key());
        let firmware = reference::read(&[builder.write_reference(&builder.work("reference")?)?], &[signer])?;
        let folder = builder.repo().cache().join(format!("demo-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let manifest = builder.repo().root().join("tests/enclaves/meter/Cargo.toml");
        say("NOT-TRUSTED: development keys and an emulated device");
        // The service starts while the device does, and makes its keys when it is first asked who it is.
        let (service, device) = thread::scope(|scope| {
            let service = scope.spawn(|| KeyService::start(builder, &keys, &folder.join("keys")));
            let device = boot(&images, &folder).and_then(|mut device| {
                json(&mut device, &["info"])?;
                Ok(device)
            });
            (service.join(), device)
        });
        let service = service.map_err(|_| anyhow!("starting the key service panicked"))??;
        say("the key service runs: mutual TLS, SQLite, class keys sealed; it knows no device yet");
        Ok((Self { images, keys, service, meter, manifest, newer, firmware, direct_open, folder }, device?))
    }

    /// The story. An error says which step did not do what it must.
    fn show(mut self, mut device: Device) -> Result<()> {
        let known = self.provision(&mut device)?;
        say(
            "attestation, over a nonce made here, before any key is released, against the reference values of the build:",
        );
        self.attest(&mut device, &known, false)?;
        let package = self.pack()?;
        self.release_key(&mut device, &known)?;
        self.install(&mut device, &package)?;
        self.meter(&mut device)?;
        device.power_off()?;
        say("power off, power on: the same storage");
        let mut device = boot(&self.images, &self.folder)?;
        self.still_there(&mut device, &known)?;
        say(
            "attestation again: OP-TEE and the TrustBox TA are still what was built, and the meter is listed",
        );
        self.attest(&mut device, &known, true)?;
        self.refusals(&mut device, &package)?;
        direct_open::show(&mut device, &self.direct_open, &self.meter.uuid)?;
        self.upgrade(&mut device, &package)?;
        self.revoke(&mut device)?;
        self.uninstall(&mut device)?;
        self.log(&mut device, &known)?;
        device.power_off()?;
        self.audited()?;
        println!("demo: ok (device key {}…, {TOTAL})", &known.device_key[..16]);
        Ok(())
    }

    /// Blank → Provisioned.
    fn provision(&self, device: &mut Device) -> Result<Known> {
        let info = json(device, &["info"])?;
        ensure!(info["lifecycle"] == "blank", "a new device is {}, not blank", info["lifecycle"]);
        say(&format!("device {}…: blank", &text(&info, "device_id")?[..16]));
        let request = request(device, &["provision", "--request", "-"])?;
        let Request::Provision { device_id, nonce } = request else {
            bail!("the device asks for something else than provisioning");
        };
        let root = public_key(self.keys.owner_root.verifying_key());
        let asking = Asking { device_id, nonce };
        let pin = issue::pin_root(&self.keys.provisioning_authority, &root, &asking)?;
        let publisher = public_key(self.keys.publisher.verifying_key());
        let uuid = self.meter.uuid.parse()?;
        let publisher = issue::delegate_publisher(&self.keys.owner_root, &publisher, &[uuid], 1)?;
        let releaser = public_key(self.keys.releaser.verifying_key());
        let name = KeyName::try_from(CLASS).map_err(|_| anyhow!("class key name is too long"))?;
        let releaser = issue::delegate_releaser(&self.keys.owner_root, &releaser, &[name], 1)?;
        let revoker = public_key(self.keys.revoker.verifying_key());
        let revoker = issue::delegate_revoker(&self.keys.owner_root, &revoker, 1)?;
        let pin = share(device, "pin-root.statement", &pin)?;
        let publisher = share(device, "publisher.statement", &publisher)?;
        let releaser = share(device, "releaser.statement", &releaser)?;
        let revoker = share(device, "revoker.statement", &revoker)?;
        done(device, &["provision", &pin, &publisher, &releaser, &revoker])?;
        let info = json(device, &["info"])?;
        ensure!(info["lifecycle"] == "provisioned", "the device is {}, not provisioned", info["lifecycle"]);
        let device_key = text(&info, "device_key_sha256")?;
        let attestation_key = text(&info, "attestation_key_sha256")?;
        say(&format!(
            "provisioned: owner pinned, publisher, releaser and revoker delegated, device key {}… lives in the TEE",
            &device_key[..16]
        ));
        Ok(Known { device_id, device_key, attestation_key })
    }

    /// Encrypts the meter; nothing of it can be read in the package.
    fn pack(&self) -> Result<Vec<u8>> {
        let image = fs::read(&self.meter.signed)?;
        ensure!(contains(&image, MARKER), "the meter's image does not contain the marker");
        let package = self.package(&image, CLASS)?;
        ensure!(!contains(&package, MARKER), "the package contains the marker: it is not encrypted");
        let marker = String::from_utf8_lossy(MARKER);
        say(&format!(
            "packed: {} octets of meter, version {}, to {} octets with its SBOM; {marker} is in the image and nowhere in the package; \
             the class key that wraps its content key stays in the service",
            image.len(),
            self.meter.version,
            package.len()
        ));
        Ok(package)
    }

    fn package(&self, image: &[u8], class: &str) -> Result<Vec<u8>> {
        let class_key = key_ref(class)?;
        let edition = Edition {
            name: Name::try_from("meter").map_err(|_| anyhow!("name is too long"))?,
            vendor: "TrustBox".to_owned(),
            owner_root: public_key(self.keys.owner_root.verifying_key()).id(),
            class_key,
            min_optee: Version(4, 0, 0),
            min_ta: Version(0, 1, 0),
            date: 0,
        };
        let sbom = sbom::of_crate(&self.manifest, image)?;
        let (class_key, publisher) = (self.service.class_key(class_key), &self.keys.publisher);
        Ok(seal_with(Fresh::generate()?, image, &edition, Some(&sbom), &class_key, publisher)?)
    }

    /// The service releases the class key to the device that proves itself, once it is enrolled.
    fn release_key(&self, device: &mut Device, known: &Known) -> Result<()> {
        let request = done(device, &["key", "import", "--request", "-"])?;
        let token = self.token_for_service(device)?;
        let refused = self.service.fetch(CLASS, &request, &token).err().map(|error| format!("{error:#}"));
        let refused = refused.filter(|text| text.contains("not in the registry"));
        ensure!(refused.is_some(), "the service releases a key to a device that nobody enrolled");
        say("the service refuses a device that is not in its registry; now the factory enrols it");
        let exported = json(device, &["key", "export", "--attestation"])?;
        let attestation_key = exported["attestation_key"].as_str().context("no attestation key")?;
        self.service.enrol(&known.device_id.to_string(), attestation_key, &known.device_key)?;
        let bundle = self.service.fetch(CLASS, &request, &token)?;
        let path = share(device, "class-key.bundle", &bundle)?;
        done(device, &["key", "import", &path])?;
        say(&format!(
            "class key {CLASS} released by the service over its own challenge, wrapped for this device (RSA-OAEP-SHA256, {} octets), imported",
            bundle.len()
        ));
        let another = done(device, &["key", "import", "--request", "-"])?;
        let replayed = self.service.fetch(CLASS, &another, &token).err().map(|error| format!("{error:#}"));
        let replayed = replayed.filter(|text| text.contains("challenge was used"));
        ensure!(replayed.is_some(), "the service takes a token for a second release");
        say("the same token for another request, refused: its challenge was used");
        Ok(())
    }

    fn token_for_service(&self, device: &mut Device) -> Result<Vec<u8>> {
        let answer = json(device, &["attest", "--nonce", &self.service.challenge()?])?;
        from_base64(&text(&answer, "token")?)
    }

    /// The service wrote down what it did and what it refused.
    fn audited(&mut self) -> Result<()> {
        let expected = [
            ("release", "allowed", 1),
            ("release", "denied", 2),
            ("publish-revocation", "allowed", 1),
            ("wrap-content-key", "allowed", PACKAGES),
        ];
        for (action, outcome, count) in expected {
            let found = self.service.audited(action, outcome)?;
            ensure!(found == count, "the audit log has {found} of {action} {outcome}, expected {count}");
        }
        say(&format!(
            "the service's audit log verifies: 1 release, 2 denials, {PACKAGES} packages, 1 revocation; it stops in good order"
        ));
        self.service.stop()
    }

    fn install(&self, device: &mut Device, package: &[u8]) -> Result<()> {
        let path = share(device, "meter.cpk", package)?;
        done(device, &["install", &path])?;
        let listed = done(device, &["list"])?;
        ensure!(listed.contains(&self.meter.uuid), "the meter is not listed:\n{listed}");
        say(&format!("installed: {} version {}", self.meter.uuid, self.meter.version));
        Ok(())
    }

    /// One session, one call for each reading.
    fn meter(&self, device: &mut Device) -> Result<()> {
        let lines = READINGS.map(|reading| format!("1 {reading}\\n")).concat();
        let script = format!("printf '{lines}' | trustbox run {}", self.meter.uuid);
        let output = device.exec(&["sh", "-c", &script])?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status == 0, "{script}: exit status {}\n{}", output.status, stderr.trim());
        self.expect_total(device)
    }

    fn expect_total(&self, device: &mut Device) -> Result<()> {
        let line = done(device, &["invoke", &self.meter.uuid, "2"])?;
        ensure!(line.starts_with(TOTAL), "the meter says {:?}, not {TOTAL:?}", line.trim());
        say(&format!("the meter, inside the TEE, says: {}", line.trim()));
        Ok(())
    }

    fn still_there(&self, device: &mut Device, known: &Known) -> Result<()> {
        let info = json(device, &["info"])?;
        let (key, now) = (&known.device_key, text(&info, "device_key_sha256")?);
        ensure!(now == *key, "the device key is {now}, was {key}");
        say(&format!("the same device key {}…", &key[..16]));
        self.expect_total(device)
    }

    /// One flipped bit, and a class key that was never released to this device.
    fn refusals(&self, device: &mut Device, package: &[u8]) -> Result<()> {
        let mut flipped = package.to_vec();
        let at = flipped.len() / 2;
        flipped[at] ^= 1;
        let reason = install_refused(device, "flipped.cpk", &flipped, Error::CiphertextDigest)?;
        say(&format!("one bit flipped, refused: {reason}"));
        let other = self.package(&fs::read(&self.meter.signed)?, OTHER_CLASS)?;
        let reason = install_refused(device, "other-class.cpk", &other, Error::KeyUnknown)?;
        say(&format!("for another class of devices, refused: {reason}"));
        self.expect_total(device)
    }
}

fn key_ref(name: &str) -> Result<KeyRef> {
    KeyRef::new(name, 1).ok_or_else(|| anyhow!("class key name {name} is too long"))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_found_only_where_it_is() {
        assert!(contains(b"..TRUSTBOX-METER-CONFIDENTIAL-MARKER..", MARKER));
        assert!(!contains(b"..TRUSTBOX-METER-CONFIDENTIAL-MARKE", MARKER));
        assert!(!contains(b"", MARKER));
    }

    #[test]
    fn the_total_is_the_sum_of_the_readings() {
        let sum: u64 = READINGS.iter().map(|reading| reading.parse::<u64>().unwrap()).sum();
        assert_eq!(TOTAL, format!("total={sum} readings={}", READINGS.len()));
    }
}
