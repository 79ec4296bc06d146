//! What an enclave can ask of the TrustBox TA that launched it.
//!
//! Every request is a short session of its own: the TA has few for enclaves, and an enclave that waits for its next call
//! must hold none. The ticket of the launch says who asks; OP-TEE says it too, by UUID (INV-9).

use alloc::vec::Vec;

use trustbox_api::evidence::{ReportData, SignedEvidence};
use trustbox_api::launch::Ticket;
use trustbox_api::message::{
    CounterReply, CounterRequest, KeyReply, KeyRequest, Nonce, NoteRequest, ReportRequest,
};
use trustbox_api::{Command, Error, Secret, wire};

use crate::{EnclaveError, platform};

/// Bytes of the longest request, a report's, with room to spare.
const MAX_ENCODED: usize = 256;

/// The TrustBox TA, as the enclave that it launched sees it.
///
/// Where it refuses, the error holds its own number: [`EnclaveError::refusal`].
pub struct TrustBox {
    ticket: Ticket,
}

/// A number that only rises, and ends with the sealing key. See [`TrustBox::counter`].
pub struct Counter<'a> {
    trustbox: &'a TrustBox,
    index: u8,
}

impl TrustBox {
    pub(crate) fn new(ticket: Ticket) -> Self {
        Self { ticket }
    }

    /// What the enclave shows as its own. Not secret, and worth nothing to anybody else.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Evidence for whoever chose `nonce`: which enclave on which device vouches for `data`, 64 bytes at most. The bytes are
    /// an encoded [`SignedEvidence`], to be handed on as they are.
    ///
    /// ```
    /// use trustbox_enclave::{Bytes, Evidence, fake};
    ///
    /// let trustbox = fake::launched().trustbox;
    /// let evidence = trustbox.report(Bytes([7; 32]), b"total=3").unwrap();
    /// // Far away, where the device's attestation key and the nonce are known:
    /// let found = trustbox_package::verify::evidence(&evidence, &fake::attestation_key()).unwrap();
    /// let Evidence::Report(report) = found else { panic!() };
    /// assert_eq!((report.nonce, &report.data[..]), (Bytes([7; 32]), &b"total=3"[..]));
    /// ```
    pub fn report(&self, nonce: Nonce, data: &[u8]) -> Result<Vec<u8>, EnclaveError> {
        let data = ReportData::try_from(data).map_err(|_| EnclaveError::REQUEST_TOO_LONG)?;
        let request = ReportRequest { ticket: self.ticket, nonce, data };
        let reply = ask(Command::EnclaveReport, wire::encode(&request, &mut [0; MAX_ENCODED]))?;
        let (_, rest) = wire::decode_prefix::<SignedEvidence<'_>>(&reply).map_err(misunderstood)?;
        let encoded = reply.strip_suffix(rest).ok_or(EnclaveError::NO_ANSWER)?;
        Ok(encoded.to_vec())
    }

    /// One of the enclave's counters; they are numbered from 0, and there are four.
    ///
    /// ```
    /// let trustbox = trustbox_enclave::fake::launched().trustbox;
    /// assert_eq!(trustbox.counter(0).advance(2), Ok(2));
    /// assert_eq!(trustbox.counter(0).read(), Ok(2));
    /// assert!(trustbox.counter(4).read().is_err());
    /// ```
    pub fn counter(&self, index: u8) -> Counter<'_> {
        Counter { trustbox: self, index }
    }

    /// Appends a line to the device's activity log: 64 bytes at most.
    ///
    /// ```
    /// use trustbox_enclave::fake;
    ///
    /// fake::launched().trustbox.note("door opened").unwrap();
    /// assert_eq!(fake::notes(), ["door opened"]);
    /// ```
    pub fn note(&self, text: &str) -> Result<(), EnclaveError> {
        let text = text.try_into().map_err(|_| EnclaveError::REQUEST_TOO_LONG)?;
        let request = NoteRequest { ticket: self.ticket, text };
        ask(Command::EnclaveNote, wire::encode(&request, &mut [0; MAX_ENCODED])).map(drop)
    }

    /// A key of the enclave's for a purpose, named in 32 bytes at most: always the same as long as its sealed data lives,
    /// and unrelated to the keys of other labels, enclaves and devices.
    ///
    /// ```
    /// let trustbox = trustbox_enclave::fake::launched().trustbox;
    /// let (one, other) = (trustbox.key("export").unwrap(), trustbox.key("import").unwrap());
    /// assert_ne!(one.expose(), other.expose());
    /// assert_eq!(one.expose(), trustbox.key("export").unwrap().expose());
    /// ```
    pub fn key(&self, label: &str) -> Result<Secret<32>, EnclaveError> {
        let label = label.try_into().map_err(|_| EnclaveError::REQUEST_TOO_LONG)?;
        let request = KeyRequest { ticket: self.ticket, label };
        let reply = ask(Command::EnclaveKey, wire::encode(&request, &mut [0; MAX_ENCODED]))?;
        let (KeyReply { key }, _) = wire::decode_prefix(&reply).map_err(misunderstood)?;
        Ok(key)
    }
}

impl Counter<'_> {
    /// What it is now; 0 at first.
    pub fn read(&self) -> Result<u64, EnclaveError> {
        self.advance(0)
    }

    /// Adds `steps` and returns what it is then. It is stored before this returns.
    pub fn advance(&self, steps: u64) -> Result<u64, EnclaveError> {
        let request = CounterRequest { ticket: self.trustbox.ticket, counter: self.index, add: steps };
        let reply = ask(Command::EnclaveCounter, wire::encode(&request, &mut [0; MAX_ENCODED]))?;
        let (CounterReply { value }, _) = wire::decode_prefix(&reply).map_err(misunderstood)?;
        Ok(value)
    }
}

/// One request; the reply comes with all its room.
fn ask(
    command: Command,
    encoded: Result<&[u8], Error>,
) -> Result<impl core::ops::Deref<Target = [u8]> + use<>, EnclaveError> {
    platform::ask(command, encoded.map_err(|_| EnclaveError::REQUEST_TOO_LONG)?)
}

fn misunderstood(_: Error) -> EnclaveError {
    EnclaveError::NO_ANSWER
}
