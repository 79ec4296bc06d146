//! A device that comes back: erased first, read back, and made anew with a storage of its own after a repair, with a trace in its voucher.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use trustbox_keys::dev::Role;

use super::{Line, device, passed};
use crate::device::flash::DISK_SIZE;
use crate::device::folders::make_file_system;
use crate::tool::Tool;

/// The device with another storage.
const REPAIRED: &str = "repaired";

impl Line {
    /// Decommissioned on the owner's word for this device and voucher; the station takes it no more, and the receipt says so.
    pub(super) fn comes_back(&self, name: &str) -> Result<()> {
        let id = self.id_of(name)?;
        let voucher = self.folder.join(format!("journal/{id}.voucher.json"));
        let root = self.keys.private_path(Role::OwnerRoot);
        let order = Tool::new(&self.program).arg("return-order").arg(&voucher).arg("--root").arg(&root);
        let order = order.arg("--factory-ca").arg(self.folder.join("factory-ca.pem"));
        order.args(["--reason", "no power", "--out"]).arg(self.folder.join("order.json")).output()?;
        let take_back = |name: &str, yes: &[&str]| {
            let tool = Tool::new(&self.program)
                .args(["take-back", "--config"])
                .arg(self.folder.join("station.toml"));
            let tool =
                tool.args(["--device", &format!("unix:{}/{name}.socket", self.folder.display()), "--order"]);
            tool.arg(self.folder.join("order.json")).arg("--root").arg(&root).args(yes).output()
        };
        ensure!(take_back(name, &[]).is_err(), "a device is erased without --yes");
        let other = take_back(super::NAMES[1], &["--yes"]).err().context("another device is erased")?;
        ensure!(format!("{other:#}").contains("take-back: return: this is device"), "{other:#}");
        take_back(name, &["--yes"])?;
        // Again is no harm: it is read back once more.
        take_back(name, &["--yes"])?;
        let receipt: Value =
            serde_json::from_slice(&fs::read(self.folder.join(format!("journal/{id}.returned.json")))?)?;
        let receipt = receipt["receipt"].as_str().context("no receipt")?;
        ensure!(receipt.contains("\"lifecycle\":\"decommissioned\""), "{receipt}");
        let output = self.station("station.toml", &[name]).command().output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.code() == Some(1) && said.contains("\"name\":\"decommissioned\""), "{said}");
        Ok(())
    }

    /// The same chip with a blank storage: the same id, other keys. Only with the order does it go through, and its voucher names it.
    pub(super) fn repaired(&self, name: &str) -> Result<()> {
        let order: Value = serde_json::from_slice(&fs::read(self.folder.join("order.json"))?)?;
        let order: Value = serde_json::from_str(order["return"].as_str().context("no order")?)?;
        let id = order["device_id"].as_str().context("the order names no device")?;
        let stop = AtomicBool::new(false);
        new_storage(&self.folder, name)?;
        std::thread::scope(|scope| {
            let (images, folder) = (&self.images, &self.folder);
            let running = scope.spawn(|| device(images, folder, REPAIRED, &stop));
            let result = self.made_anew(id);
            stop.store(true, Ordering::Relaxed);
            let ended = running.join().unwrap_or_else(|_| Err(anyhow!("its thread failed")));
            result.and(ended)
        })
    }

    fn made_anew(&self, id: &str) -> Result<()> {
        let before = self.voucher(id)?;
        let output = self.station("station.toml", &[REPAIRED]).command().output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let named = said.contains(id) && said.contains("it was wiped, and no return is given");
        ensure!(output.status.code() == Some(1) && named, "{said}");
        let order = fs::read_to_string(self.folder.join("order.json"))?;
        let service = self.service.borrow();
        service.of_device(id, "state", &json!({"state": "decommissioned", "reason": "came back"}))?;
        service.of_device(id, "return", &json!({"order": order}))?;
        drop(service);
        let station = self.station("station.toml", &[REPAIRED]).arg("--returned");
        passed(&station.arg(self.folder.join("order.json")))?;
        let after = self.voucher(id)?;
        ensure!(
            after["previous"].is_string() && after["returned"].as_array().map(Vec::len) == Some(1),
            "{after}"
        );
        let key = "attestation_key_sha256";
        ensure!(after[key] != before[key] && after["device_id"] == before["device_id"], "{after}");
        Ok(())
    }
}

/// What is behind the storage in a state file is the chip: its key stays.
fn new_storage(folder: &Path, name: &str) -> Result<()> {
    let (old, new) = (folder.join(format!("{name}.img")), folder.join(format!("{REPAIRED}.img")));
    let mut chip = Vec::new();
    let mut from = File::open(&old)?;
    from.seek(SeekFrom::Start(DISK_SIZE))?;
    from.read_to_end(&mut chip)?;
    make_file_system(&new)?;
    let mut to = fs::OpenOptions::new().write(true).open(&new)?;
    to.seek(SeekFrom::Start(DISK_SIZE))?;
    Ok(to.write_all(&chip)?)
}
