//! Trusted input: readings that a sensor authenticates, checked inside the enclave, so that Linux can only lose them.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use trustbox_interface::{EnclaveError, errors, interface};

/// UUID of the enclave.
pub const UUID: &str = "6c1e9b24-8f35-4d0a-b7e2-51d3c8a90f17";
/// Sensors that can be enrolled.
pub const MAX_SENSORS: usize = 8;

errors! {
    /// Why a reading, or a sensor, is refused.
    pub enum SensorError {
        /// the sensor is enrolled already, and its key is handed out once
        Enrolled = 1,
        /// no sensor of that number is enrolled
        Unknown = 2,
        /// the sensor did not make this reading
        Forged = 3,
        /// a reading of that sequence, or a later one, was taken already
        Replayed = 4,
        /// the sensor measures from -50 to 150 °C
        Impossible = 5,
        /// no more sensors can be enrolled
        Full = 6,
    }
}

/// What a sensor measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// Which sensor.
    pub sensor: u32,
    /// Counts up by one or more with each reading.
    pub sequence: u64,
    /// Thousandths of a degree Celsius.
    pub millidegrees: i32,
}

/// What the enclave believes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Readings taken.
    pub count: u64,
    /// The lowest.
    pub lowest: i32,
    /// The highest.
    pub highest: i32,
    /// Their sum.
    pub sum: i64,
}

/// Takes readings.
#[interface(errors = SensorError)]
pub trait Sensors {
    /// Enrols a sensor and hands its key out, once: to be done where the device is commissioned, before it goes to a
    /// site that nobody trusts.
    #[command(1)]
    fn enrol(&mut self, sensor: u32) -> Result<[u8; 32], EnclaveError>;
    /// Takes a reading with its authenticator: HMAC-SHA-256 with the sensor's key over [`Reading::encode`].
    #[command(2)]
    fn submit(&mut self, reading: Reading, authenticator: [u8; 32]) -> Result<Summary, EnclaveError>;
    /// What was read, signed by the device over a verifier's nonce: an attestation token whose data is
    /// [`Summary::encode`].
    #[command(3)]
    fn summary(&mut self, nonce: [u8; 32]) -> Result<Vec<u8>, EnclaveError>;
}

impl Reading {
    /// What the sensor authenticates: the three numbers, big-endian.
    pub fn encode(&self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..4].copy_from_slice(&self.sensor.to_be_bytes());
        out[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        out[12..].copy_from_slice(&self.millidegrees.to_be_bytes());
        out
    }
}

impl Summary {
    /// The four numbers, big-endian.
    pub fn encode(&self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..8].copy_from_slice(&self.count.to_be_bytes());
        out[8..12].copy_from_slice(&self.lowest.to_be_bytes());
        out[12..16].copy_from_slice(&self.highest.to_be_bytes());
        out[16..].copy_from_slice(&self.sum.to_be_bytes());
        out
    }

    /// With one more reading, or `None` where a number would overflow.
    pub fn with(&self, millidegrees: i32) -> Option<Self> {
        let first = self.count == 0;
        Some(Self {
            count: self.count.checked_add(1)?,
            lowest: if first { millidegrees } else { self.lowest.min(millidegrees) },
            highest: if first { millidegrees } else { self.highest.max(millidegrees) },
            sum: self.sum.checked_add(millidegrees.into())?,
        })
    }
}
