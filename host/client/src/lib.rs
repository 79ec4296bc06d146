//! The TrustBox TA from programs in Linux: provision a device, install enclaves, talk to them. Blocking.
//!
//! Nothing here is trusted: the TA checks everything again. A [`TrustBox`] is one session to the TA; the device
//! has a few (`trustbox_api::limits::MAX_SESSIONS`), and they end with the values that hold them.
//!
//! ```no_run
//! # fn main() -> Result<(), trustbox_client::Error> {
//! # let uuid = trustbox_api::TRUSTBOX_UUID;
//! let mut trustbox = trustbox_client::TrustBox::open()?;
//! let mut enclave = trustbox.open_enclave(uuid)?;
//! let reply = enclave.invoke(1, b"reading", 4096)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod enclave;
mod error;
mod install;
#[cfg_attr(test, path = "scripted_link.rs")]
#[cfg_attr(all(not(test), feature = "without-libteec"), path = "no_link.rs")]
mod link;
mod session;

use trustbox_api::key::KeyRef;
use trustbox_api::log::{Channel, LogReply};
use trustbox_api::message::{
    AttestRequest, ChallengeReply, ChallengeRequest, CsrRequest, DestroyKeyRequest, InfoReply, InstallReply,
    KeyReply, LegacyRequest, ListReply, LogRequest, Nonce, OpenRequest, Purpose, UninstallRequest,
};
use trustbox_api::{Command, Secret, Uuid};
use trustbox_package::Package;

pub use enclave::EnclaveSession;
pub use error::Error;

use session::{Session, encoded};

/// Result of the client.
pub type Result<T> = std::result::Result<T, Error>;

/// A session to the TrustBox TA.
pub struct TrustBox {
    session: Session,
}

impl TrustBox {
    /// Connects to the TEE and opens a session.
    ///
    /// # Errors
    ///
    /// [`Error::NoTee`] where there is no TEE to connect to, [`Error::NoTrustBox`] where it has no TrustBox TA.
    pub fn open() -> Result<Self> {
        Session::open().map(|session| Self { session })
    }

    /// State, keys, policy and versions of the device, in every lifecycle state. The first call makes the device's keys, which
    /// takes seconds.
    pub fn info(&mut self) -> Result<InfoReply> {
        self.session.ask(Command::Info, &[])
    }

    /// A nonce of 32 bytes, to be answered with a signed statement; good once and for `purpose` only.
    ///
    /// The device remembers `trustbox_api::limits::MAX_NONCES` of them for key import, and one for all other purposes together.
    pub fn challenge(&mut self, purpose: Purpose) -> Result<ChallengeReply> {
        self.session.ask(Command::Challenge, &encoded(&ChallengeRequest { purpose })?)
    }

    /// Pins the owner root of a blank device: a statement of kind `PinRoot`.
    pub fn provision(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::Provision, statement)
    }

    /// Delegates a role or sets the policy: a statement of kind `Publisher`, `Releaser`, `Revoker` or `Policy`.
    pub fn authorise(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::Authorise, statement)
    }

    /// Closes the factory's doors on a provisioned device: a statement of kind `Lock`.
    pub fn lock(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::Lock, statement)
    }

    /// Revokes keys, versions of enclaves or versions of class keys, for ever: a statement of kind `Revocation`.
    pub fn revoke(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::Revoke, statement)
    }

    /// Hands the device to a new owner root, which ends all roles: a statement of kind `RotateRoot`.
    pub fn rotate_root(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::RotateRoot, statement)
    }

    /// Erases everything secret, for ever: a statement of kind `Decommission`.
    pub fn decommission(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::Decommission, statement)
    }

    /// The public device key, to which class keys are wrapped: DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), at most
    /// `trustbox_api::limits::MAX_DEVICE_KEY` bytes.
    pub fn device_key(&mut self) -> Result<Vec<u8>> {
        self.session.call(Command::DeviceKey, &[])
    }

    /// The key of Linux's own data on the medium: of this device, and of its owner's time. Whoever has it reads that data, and
    /// nothing else.
    pub fn disk_key(&mut self) -> Result<Secret<32>> {
        let KeyReply { key } = self.session.ask(Command::DiskKey, &[])?;
        Ok(key)
    }

    /// A certification request for the attestation key, which also names the device key and `nonce`: DER PKCS#10 (RFC 2986).
    pub fn csr(&mut self, nonce: Nonce) -> Result<Vec<u8>> {
        self.session.call(Command::Csr, &encoded(&CsrRequest { nonce })?)
    }

    /// An attestation token over a verifier's nonce of 32, 48 or 64 bytes: see `trustbox_api::token`.
    pub fn attest(&mut self, nonce: &[u8]) -> Result<Vec<u8>> {
        let nonce = nonce.try_into().map_err(|_| Error::Refused(trustbox_api::Error::BadMessage))?;
        self.session.call(Command::Attest, &encoded(&AttestRequest { nonce })?)
    }

    /// Stores a class key: a statement of kind `KeyBundle`.
    pub fn import_key(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::ImportKey, statement)
    }

    /// Destroys one version of a class key. It is not revoked: it may be released to the device again.
    pub fn destroy_key(&mut self, key: KeyRef) -> Result<()> {
        self.session.tell(Command::DestroyKey, &encoded(&DestroyKeyRequest { key })?)
    }

    /// Installs a package; `progress` is told how many bytes of how many the TA has.
    ///
    /// # Errors
    ///
    /// [`Error::Package`] for a package without trusted manifest, [`Error::ImageTooLarge`] for an image that the device has no
    /// secure memory for. What the TA began is undone.
    pub fn install(
        &mut self,
        package: &Package<'_>,
        progress: impl FnMut(usize, usize),
    ) -> Result<InstallReply> {
        let begin = (Command::InstallBegin, package.trusted()?.statement);
        install::install(&mut self.session, begin, package.payload, progress)
    }

    /// Installs what a package without trusted manifest holds, where the owner's policy allows it for its UUID.
    ///
    /// # Errors
    ///
    /// [`Error::ImageTooLarge`] as with [`TrustBox::install`]. What the TA began is undone.
    pub fn install_legacy(
        &mut self,
        request: &LegacyRequest,
        ciphertext: &[u8],
        progress: impl FnMut(usize, usize),
    ) -> Result<InstallReply> {
        let begin = (Command::InstallLegacy, &encoded(request)?[..]);
        install::install(&mut self.session, begin, ciphertext, progress)
    }

    /// Removes an enclave. Its version floor stays; `erase` also destroys the key of its sealed data, and its counters.
    pub fn uninstall(&mut self, uuid: Uuid, erase: bool) -> Result<()> {
        self.session.tell(Command::Uninstall, &encoded(&UninstallRequest { uuid, erase })?)
    }

    /// Enclaves known to the device, at most `trustbox_api::limits::MAX_ENCLAVES`, uninstalled ones included.
    pub fn list(&mut self) -> Result<ListReply> {
        self.session.ask(Command::List, &[])
    }

    /// One channel of the activity log: its last entries, at most `trustbox_api::limits::MAX_LOG_ENTRIES`.
    pub fn log(&mut self, channel: Channel) -> Result<LogReply> {
        self.session.ask(Command::Log, &encoded(&LogRequest { channel })?)
    }

    /// Launches an installed enclave; it ends with the returned session.
    pub fn open_enclave(&mut self, uuid: Uuid) -> Result<EnclaveSession<'_>> {
        self.session.tell(Command::OpenEnclave, &encoded(&OpenRequest { uuid })?)?;
        Ok(EnclaveSession::new(&mut self.session))
    }
}

#[cfg(test)]
mod tests;
