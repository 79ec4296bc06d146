//! What an enclave can ask of the TrustBox TA that launched it.
//!
//! Every request is a short session of its own: the TA has few for enclaves, and an enclave that waits for its next call
//! must hold none. The ticket of the launch says who asks; OP-TEE says it too, by UUID (INV-9).

use alloc::vec::Vec;

use trustbox_api::launch::Ticket;
use trustbox_api::message::{
    CounterReply, CounterRequest, KeyReply, KeyRequest, Nonce, NoteRequest, ReportData, ReportRequest,
};
use trustbox_api::{Command, Error, Secret, wire};

use crate::{EnclaveError, platform};

/// Bytes of the longest request, a report's, with room to spare.
const MAX_ENCODED: usize = 320;

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

    /// A report for whoever chose `nonce`: which enclave on which device vouches for `data`, 64 bytes at most. It is a token, a
    /// COSE_Sign1 as of [`trustbox_api::token`], to be handed on as it is.
    ///
    /// ```
    /// use trustbox_enclave::{Bytes, fake};
    /// use trustbox_verifier::Token;
    ///
    /// let trustbox = fake::launched().trustbox;
    /// let report = trustbox.report(Bytes([7; 32]), b"total=3").unwrap();
    /// // Far away, where the device's attestation key and the nonce are known:
    /// let report = Token::parse(&report).unwrap().verify_report(&fake::attestation_key(), &[7; 32]).unwrap();
    /// assert_eq!((report.enclave.version, report.data), (1, &b"total=3"[..]));
    /// ```
    pub fn report(&self, nonce: Nonce, data: &[u8]) -> Result<Vec<u8>, EnclaveError> {
        let bytes = data.try_into().map_err(|_| EnclaveError::REQUEST_TOO_LONG)?;
        self.report_of(nonce, ReportData { bytes, transport_key: None })
    }

    pub(crate) fn report_of(&self, nonce: Nonce, data: ReportData) -> Result<Vec<u8>, EnclaveError> {
        let request = ReportRequest { ticket: self.ticket, nonce, data };
        let reply = ask(Command::EnclaveReport, wire::encode(&request, &mut [0; MAX_ENCODED]))?;
        Ok(reply.to_vec())
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
        let KeyReply { key } = wire::decode(&reply).map_err(misunderstood)?;
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
        let CounterReply { value } = wire::decode(&reply).map_err(misunderstood)?;
        Ok(value)
    }
}

/// One request, and its reply.
fn ask(
    command: Command,
    encoded: Result<&[u8], Error>,
) -> Result<impl core::ops::Deref<Target = [u8]> + use<>, EnclaveError> {
    platform::ask(command, encoded.map_err(|_| EnclaveError::REQUEST_TOO_LONG)?)
}

fn misunderstood(_: Error) -> EnclaveError {
    EnclaveError::NO_ANSWER
}
