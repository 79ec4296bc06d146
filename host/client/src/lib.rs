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
#[cfg_attr(feature = "without-libteec", path = "no_link.rs")]
mod link;
mod session;

use trustbox_api::message::{
    ChallengeReply, ChallengeRequest, InfoReply, InstallReply, ListReply, OpenRequest, Purpose,
};
use trustbox_api::{Command, Uuid};
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

    /// State and versions of the device.
    pub fn info(&mut self) -> Result<InfoReply> {
        self.session.ask(Command::Info, &[])
    }

    /// A nonce, to be answered with a signed statement.
    pub fn challenge(&mut self, purpose: Purpose) -> Result<ChallengeReply> {
        self.session.ask(Command::Challenge, &encoded(&ChallengeRequest { purpose })?)
    }

    /// Pins the owner root: a statement of kind `PinRoot`. Creates the device key, which takes seconds.
    pub fn provision(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::Provision, statement)
    }

    /// Delegates a role: a statement of kind `Publisher` or `Releaser`.
    pub fn authorise(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::Authorise, statement)
    }

    /// The device key as DER SubjectPublicKeyInfo.
    pub fn device_key(&mut self) -> Result<Vec<u8>> {
        self.session.call(Command::DeviceKey, &[])
    }

    /// Stores a class key: a statement of kind `KeyBundle`.
    pub fn import_key(&mut self, statement: &[u8]) -> Result<()> {
        self.session.tell(Command::ImportKey, statement)
    }

    /// Installs a package; `progress` is told how many bytes of how many the TA has.
    ///
    /// # Errors
    ///
    /// [`Error::Package`] for a package without trusted manifest. What the TA began is undone.
    pub fn install(
        &mut self,
        package: &Package<'_>,
        progress: impl FnMut(usize, usize),
    ) -> Result<InstallReply> {
        install::install(&mut self.session, package.trusted()?.statement, package.payload, progress)
    }

    /// Enclaves known to the device.
    pub fn list(&mut self) -> Result<ListReply> {
        self.session.ask(Command::List, &[])
    }

    /// Launches an installed enclave; it ends with the returned session.
    pub fn open_enclave(&mut self, uuid: Uuid) -> Result<EnclaveSession<'_>> {
        self.session.tell(Command::OpenEnclave, &encoded(&OpenRequest { uuid })?)?;
        Ok(EnclaveSession::new(&mut self.session))
    }
}
