//! What a station says became of a device, signed with the factory CA's key: for the registry, at once or much later, over a
//! network or on a memory stick. Whoever carries it changes nothing; the same report again is nothing new.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use trustbox_api::{Bytes, PublicKey};

use super::signed::REPORT;
use crate::SigningKey;
use crate::protocol::{Device, parse_device_id};

/// What a device failed of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Kind of failure.
    pub name: String,
    /// What it was.
    pub what: String,
    /// What to do next.
    pub help: String,
}

/// One run of a device through a station.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The device.
    pub device_id: String,
    /// Name of the station.
    pub station: String,
    /// What is made there.
    pub sku: String,
    /// When the run began, in seconds since 1970.
    pub started: u64,
    /// When it ended.
    pub time: u64,
    /// The last step that was done.
    pub step: String,
    /// Why it failed; none where it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Reason>,
    /// What the registry takes of the device, once it was certified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Device>,
    /// The voucher's file, where it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher: Option<String>,
}

impl Report {
    /// Signs it; returns the file.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>> {
        REPORT.sign(self, key)
    }

    /// What a file says, if `key` signed it, and what it is known by.
    pub fn verify(file: &[u8], key: &PublicKey) -> Result<(Self, Bytes<32>)> {
        let (report, fingerprint): (Self, _) = REPORT.read(file, key)?;
        ensure!(parse_device_id(&report.device_id).is_some(), "the report's device id is none");
        ensure!(report.voucher.is_none() || report.failure.is_none(), "a failed device has no voucher");
        Ok((report, fingerprint))
    }
}
