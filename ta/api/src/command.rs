//! Commands of the TA and the one table that says what each may do when.
//!
//! Axes: lifecycle of the device, kind of caller, state of the session. The dispatcher refuses
//! whatever the table does not allow, before it looks at the request.

use serde::{Deserialize, Serialize};

/// Where the device stands; only ever moves forward (INV-7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum Lifecycle {
    /// No owner yet.
    #[default]
    Blank,
    /// An owner root is pinned.
    Provisioned,
    /// The factory is done with it and said so.
    Locked,
    /// Nothing secret is left, and nothing will be.
    Decommissioned,
}

impl Lifecycle {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Blank, Self::Provisioned, Self::Locked, Self::Decommissioned];

    /// As in documents and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Provisioned => "provisioned",
            Self::Locked => "locked",
            Self::Decommissioned => "decommissioned",
        }
    }
}

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// A program in the normal world.
    NormalWorld,
    /// Another trusted application.
    Enclave,
}

impl Caller {
    /// As in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NormalWorld => "normal world",
            Self::Enclave => "enclave",
        }
    }
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionState {
    /// Neither installing nor connected to an enclave.
    Idle,
    /// Between install begin and finish or abort.
    Installing,
    /// An enclave's session is open.
    EnclaveOpen,
}

impl SessionState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Idle, Self::Installing, Self::EnclaveOpen];

    /// As in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Installing => "installing",
            Self::EnclaveOpen => "enclave open",
        }
    }
}

/// How a command uses the four GlobalPlatform parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Request (memref input), reply (memref output).
    Message,
    /// Request, reply, bulk data (memref input).
    MessageWithData,
    /// Value input with the enclave's command in `a` and a time limit in milliseconds in `b` (0 for none), then three
    /// parameters for the enclave.
    Forward,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Message, Self::MessageWithData, Self::Forward];

    /// The four parameters: GlobalPlatform's type of each, and what it carries.
    pub const fn parameters(self) -> [&'static str; 4] {
        match self {
            Self::Message => ["memref input: request", "memref output: reply", "none", "none"],
            Self::MessageWithData => {
                ["memref input: request", "memref output: reply", "memref input: data", "none"]
            }
            Self::Forward => [
                "value input: `a` the enclave's command, `b` time limit in ms, 0 for none",
                "any: the enclave's first",
                "any: its second",
                "any: its third",
            ],
        }
    }
}

/// What one command may do when.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The command.
    pub command: Command,
    /// Name, as in documents and logs.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Lifecycle states it is allowed in.
    pub lifecycle: &'static [Lifecycle],
    /// Session states it is allowed in.
    pub session: &'static [SessionState],
    /// Callers it is allowed for.
    pub caller: &'static [Caller],
    /// Its parameters.
    pub shape: Shape,
}

const ANY_LIFECYCLE: &[Lifecycle] = &Lifecycle::ALL;
const ALIVE: &[Lifecycle] = &[Lifecycle::Blank, Lifecycle::Provisioned, Lifecycle::Locked];
const BLANK: &[Lifecycle] = &[Lifecycle::Blank];
const PROVISIONED: &[Lifecycle] = &[Lifecycle::Provisioned];
const OWNED: &[Lifecycle] = &[Lifecycle::Provisioned, Lifecycle::Locked];

const ANY_SESSION: &[SessionState] = &SessionState::ALL;
const IDLE: &[SessionState] = &[SessionState::Idle];
const INSTALLING: &[SessionState] = &[SessionState::Installing];
const ENCLAVE_OPEN: &[SessionState] = &[SessionState::EnclaveOpen];

const NORMAL_WORLD: &[Caller] = &[Caller::NormalWorld];
const ENCLAVE: &[Caller] = &[Caller::Enclave];

macro_rules! commands {
    ($(#[doc = $doc:literal] $name:ident = $id:literal, $text:literal, $lifecycle:ident, $session:ident, $caller:ident, $shape:ident;)+) => {
        /// A command id, the `commandID` of `TEEC_InvokeCommand`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Command { $(#[doc = $doc] $name = $id,)+ }

        /// The command table.
        pub const TABLE: &[Rule] = &[$(Rule {
            command: Command::$name, name: $text, about: $doc, lifecycle: $lifecycle, session: $session,
            caller: $caller, shape: Shape::$shape,
        }),+];
    };
}

commands! {
    /// State and versions of the device: [`crate::message::InfoReply`]. Makes the keys of the device where there are none.
    Info = 1, "info", ANY_LIFECYCLE, ANY_SESSION, NORMAL_WORLD, Message;
    /// A nonce to answer with a signed statement: [`crate::message::ChallengeRequest`].
    Challenge = 2, "challenge", ALIVE, IDLE, NORMAL_WORLD, Message;
    /// Pin the owner root: a statement of kind `PinRoot`.
    Provision = 3, "provision", BLANK, IDLE, NORMAL_WORLD, Message;
    /// The device key as DER SubjectPublicKeyInfo.
    DeviceKey = 4, "device-key", ALIVE, ANY_SESSION, NORMAL_WORLD, Message;
    /// Delegate a role or set the policy: a statement of kind `Publisher`, `Releaser`, `Revoker` or `Policy`.
    Authorise = 5, "authorise", OWNED, IDLE, NORMAL_WORLD, Message;
    /// Store a class key: a statement of kind `KeyBundle`.
    ImportKey = 6, "import-key", OWNED, IDLE, NORMAL_WORLD, Message;
    /// Begin an install: a statement of kind `Manifest`.
    InstallBegin = 7, "install-begin", OWNED, IDLE, NORMAL_WORLD, Message;
    /// The next bytes of the ciphertext: [`crate::message::InstallChunkRequest`] and the bytes.
    InstallChunk = 8, "install-chunk", OWNED, INSTALLING, NORMAL_WORLD, MessageWithData;
    /// Verify, decrypt, install: [`crate::message::InstallReply`].
    InstallFinish = 9, "install-finish", OWNED, INSTALLING, NORMAL_WORLD, Message;
    /// Forget the install under way.
    InstallAbort = 10, "install-abort", OWNED, INSTALLING, NORMAL_WORLD, Message;
    /// Enclaves known to the device: [`crate::message::ListReply`].
    List = 11, "list", OWNED, ANY_SESSION, NORMAL_WORLD, Message;
    /// Launch an installed enclave: [`crate::message::OpenRequest`].
    OpenEnclave = 12, "open-enclave", OWNED, IDLE, NORMAL_WORLD, Message;
    /// Call the launched enclave.
    InvokeEnclave = 13, "invoke-enclave", OWNED, ENCLAVE_OPEN, NORMAL_WORLD, Forward;
    /// Close the launched enclave.
    CloseEnclave = 14, "close-enclave", OWNED, ENCLAVE_OPEN, NORMAL_WORLD, Message;
    /// Close the factory's doors: a statement of kind `Lock`.
    Lock = 15, "lock", PROVISIONED, IDLE, NORMAL_WORLD, Message;
    /// Revoke keys, enclave versions or class keys for ever: a statement of kind `Revocation`.
    Revoke = 16, "revoke", OWNED, IDLE, NORMAL_WORLD, Message;
    /// Hand the device to a new owner root: a statement of kind `RotateRoot`.
    RotateRoot = 17, "rotate-root", OWNED, IDLE, NORMAL_WORLD, Message;
    /// Erase everything secret, for ever: a statement of kind `Decommission`.
    Decommission = 18, "decommission", OWNED, IDLE, NORMAL_WORLD, Message;
    /// Remove an enclave: [`crate::message::UninstallRequest`].
    Uninstall = 19, "uninstall", OWNED, IDLE, NORMAL_WORLD, Message;
    /// Destroy a class key: [`crate::message::DestroyKeyRequest`].
    DestroyKey = 20, "destroy-key", OWNED, IDLE, NORMAL_WORLD, Message;
    /// A channel of the activity log: [`crate::message::LogRequest`].
    Log = 21, "log", ANY_LIFECYCLE, ANY_SESSION, NORMAL_WORLD, Message;
    /// An attestation token over a verifier's nonce: [`crate::message::AttestRequest`].
    Attest = 22, "attest", ALIVE, ANY_SESSION, NORMAL_WORLD, Message;
    /// A PKCS#10 request for the attestation key, which also names the device key: [`crate::message::CsrRequest`].
    Csr = 23, "csr", ALIVE, ANY_SESSION, NORMAL_WORLD, Message;
    /// A token about the enclave that asks, with what it vouches for: [`crate::message::ReportRequest`].
    EnclaveReport = 24, "enclave-report", OWNED, IDLE, ENCLAVE, Message;
    /// Read or advance a monotonic counter of the enclave: [`crate::message::CounterRequest`].
    EnclaveCounter = 25, "enclave-counter", OWNED, IDLE, ENCLAVE, Message;
    /// Append a note of the enclave to the activity log: [`crate::message::NoteRequest`].
    EnclaveNote = 26, "enclave-note", OWNED, IDLE, ENCLAVE, Message;
    /// A key for a purpose of the enclave, from its sealing key: [`crate::message::KeyRequest`].
    EnclaveKey = 27, "enclave-key", OWNED, IDLE, ENCLAVE, Message;
    /// Begin an install without a trusted manifest, where the policy allows it: [`crate::message::LegacyRequest`].
    InstallLegacy = 28, "install-legacy", OWNED, IDLE, NORMAL_WORLD, Message;
    /// The key of Linux's own data on the medium: [`crate::message::KeyReply`]. Of this device and this owner's time.
    DiskKey = 29, "disk-key", OWNED, IDLE, NORMAL_WORLD, Message;
}

impl Command {
    /// The rule for a command id, if there is such a command.
    pub fn rule(id: u32) -> Option<&'static Rule> {
        TABLE.iter().find(|rule| rule.command as u32 == id)
    }

    /// The rule of this command.
    pub fn its_rule(self) -> Result<&'static Rule, crate::Error> {
        Self::rule(self as u32).ok_or(crate::Error::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn ids_are_consecutive_and_unique() {
        let ids: Vec<u32> = TABLE.iter().map(|rule| rule.command as u32).collect();
        assert_eq!(ids, (1..=29).collect::<Vec<u32>>());
        assert!(
            Command::rule(0).is_none() && Command::rule(30).is_none() && Command::rule(u32::MAX).is_none()
        );
    }

    #[test]
    fn enclaves_have_commands_of_their_own_and_no_others() {
        for rule in TABLE {
            let of_enclaves = rule.name.starts_with("enclave-");
            assert_eq!(rule.caller.contains(&Caller::Enclave), of_enclaves, "{}", rule.name);
            assert_eq!(rule.caller.contains(&Caller::NormalWorld), !of_enclaves, "{}", rule.name);
        }
    }

    #[test]
    fn a_decommissioned_device_only_talks_about_itself() {
        let left: Vec<&str> = TABLE
            .iter()
            .filter(|rule| rule.lifecycle.contains(&Lifecycle::Decommissioned))
            .map(|rule| rule.name)
            .collect();
        assert_eq!(left, ["info", "log"]);
    }
}
