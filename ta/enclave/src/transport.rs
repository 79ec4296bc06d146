//! Data that arrive after the installation, sealed to this enclave by somebody who verified its report.

use alloc::vec::Vec;

use trustbox_api::launch::Enclave;
use trustbox_api::message::ReportData;
use trustbox_transport::Key;

use crate::{EnclaveError, Launched, Nonce, TrustBox};

/// Name of the key that the transport key follows from.
const LABEL: &str = "transport";

/// The enclave's transport key. It is always the same as long as the enclave's sealed data live, and never leaves.
///
/// ```
/// use trustbox_enclave::{Bytes, Transport, fake};
/// use trustbox_verifier::Token;
///
/// let launched = fake::launched();
/// let transport = Transport::of(&launched).unwrap();
/// let report = transport.offer(&launched.trustbox, Bytes([7; 32])).unwrap();
///
/// // Far away, where the device's attestation key and the nonce are known; `trustbox-keys seal` does all of it:
/// let report = Token::parse(&report).unwrap().verify_report(&fake::attestation_key(), &[7; 32]).unwrap();
/// let random = &mut rand_core::UnwrapErr(getrandom::SysRng);
/// let sealed = trustbox_transport::seal(&report.enclave, &report.transport_key.unwrap(), b"weights", random).unwrap();
///
/// assert_eq!(transport.open(&sealed).unwrap(), b"weights");
/// assert!(transport.open(&sealed[1..]).is_err());
/// ```
pub struct Transport {
    key: Key,
    enclave: Enclave,
}

impl Transport {
    /// The key of an enclave that was just launched.
    pub fn of(launched: &Launched) -> Result<Self, EnclaveError> {
        let secret = launched.trustbox.key(LABEL)?;
        Ok(Self { key: Key::derive(secret.expose()), enclave: launched.identity.into() })
    }

    /// A report for whoever chose `nonce` that this enclave holds the key, to be handed on as it is.
    pub fn offer(&self, trustbox: &TrustBox, nonce: Nonce) -> Result<Vec<u8>, EnclaveError> {
        let data = ReportData { transport_key: Some(self.key.public()), ..ReportData::default() };
        trustbox.report_of(nonce, data)
    }

    /// What was sealed to this enclave, in this version and on this device. Who sealed it, the data must say themselves.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, EnclaveError> {
        self.key.open(&self.enclave, sealed).map_err(|_| EnclaveError::NOT_FOR_US)
    }
}
