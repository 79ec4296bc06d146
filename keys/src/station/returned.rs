//! A device that comes back. Before anybody opens it, it is decommissioned: the owner signs an order for this very device and the voucher
//! that it has, the bench has the device erase itself and reads that back. Only then there is a receipt, which a repair asks for. Where a
//! repaired device is made anew, with a new storage and so with new keys, the order and the voucher before are named in its voucher.

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use trustbox_api::{Bytes, PublicKey};
use trustbox_package::Request;
use trustbox_package::sign::public_key;

use super::Failure;
use super::journal::Journal;
use super::line::Station;
use super::link::{Link, Place};
use super::named::{AGAIN, JOURNAL, Named};
use super::signed::{RECEIPT, RETURN, VOUCHER};
use super::steps::Info;
use crate::issue::{self, Asking};
use crate::protocol::parse_device_id;
use crate::service::now;
use crate::{SigningKey, files};

/// What the owner says of a device that came back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The device.
    pub device_id: String,
    /// Fingerprint of the last voucher that it has: an order is good for one return.
    pub voucher: String,
    /// Why it came back.
    pub reason: String,
    /// When this was signed, in seconds since 1970.
    pub time: u64,
}

impl Order {
    /// Signs it with the owner root's key; returns the file.
    pub fn sign(&self, root: &SigningKey) -> Result<Vec<u8>> {
        RETURN.sign(self, root)
    }

    /// What a file says, if the owner root signed it, and what it is known by.
    pub fn verify(file: &[u8], root: &PublicKey) -> Result<(Self, Bytes<32>)> {
        let (order, fingerprint): (Self, _) = RETURN.read(file, root)?;
        ensure!(parse_device_id(&order.device_id).is_some(), "the return's device id is none");
        Ok((order, fingerprint))
    }
}

impl Station {
    /// Takes a device back: it is decommissioned, with the owner root's key, and the receipt is in the journal's folder.
    pub fn take_back(&self, place: &Place, order: &[u8], root: &SigningKey) -> Result<(), Failure> {
        const STEP: &str = "take-back";
        const ORDER: &str = "have the owner sign a return for this device and its last voucher";
        let (order, fingerprint) = Order::verify(order, &self.owner_root).named(STEP, "return", ORDER)?;
        let mut link = Link::open(place, self.config.ssh_config.as_deref()).named(STEP, "link", AGAIN)?;
        let info = Info::of(&mut link).named(STEP, "link", AGAIN)?;
        let same = if info.device_id == order.device_id {
            Ok(())
        } else {
            Err(anyhow!("this is device {}", info.device_id))
        };
        same.named(STEP, "return", ORDER)?;
        let claimed = Journal::claim(&self.config.journal, &info.device_id, &self.config.station);
        let claimed =
            claimed.named(STEP, "journal", JOURNAL)?.context("another station works on this device");
        let journal = claimed.named(STEP, "claimed", "leave it to the other station")?;
        self.is_of(&order, &journal).named(STEP, "return", ORDER)?;
        if info.lifecycle != "decommissioned" {
            self.decommission(&mut link, root).named(STEP, "decommission", AGAIN)?;
        }
        let after = Info::of(&mut link).named(STEP, "link", AGAIN)?.lifecycle;
        let gone =
            if after == "decommissioned" { Ok(()) } else { Err(anyhow!("read back: the device is {after}")) };
        gone.named(STEP, "decommission", AGAIN)?;
        let receipt = json!({"device_id": order.device_id, "return": fingerprint.to_string(), "reason": order.reason,
            "station": self.config.station, "lifecycle": after, "time": now()});
        let file = RECEIPT.sign(&receipt, &self.factory_key).named(STEP, "journal", JOURNAL)?;
        files::write(&journal.beside("returned.json"), &file).named(STEP, "journal", JOURNAL)
    }

    /// The voucher that this journal has is the one that the order names.
    pub(super) fn is_of(&self, order: &Order, journal: &Journal) -> Result<()> {
        let file = files::read(&journal.beside("voucher.json"))?;
        let last = VOUCHER.fingerprint(&file)?.to_string();
        ensure!(
            last == order.voucher,
            "the return is of voucher {}, the device's last one is {last}",
            order.voucher
        );
        Ok(())
    }

    fn decommission(&self, link: &mut Link, root: &SigningKey) -> Result<()> {
        ensure!(public_key(root.verifying_key()) == self.owner_root, "this is the key of another owner root");
        let request = Request::from_json(&link.request(&["decommission"])?)?;
        let statement = issue::decommission(root, &Asking::from(&request))?;
        let path = link.put("decommission", &statement)?;
        link.run(&["trustbox", "decommission", &path, "--yes"]).map(drop)
    }
}
