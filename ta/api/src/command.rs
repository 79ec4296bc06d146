//! Commands of the TA and the one table that says what each may do when.
//!
//! Axes: lifecycle of the device, kind of caller, state of the session. The dispatcher refuses
//! whatever the table does not allow, before it looks at the request.

use serde::{Deserialize, Serialize};

/// Where the device stands; only ever moves forward (INV-7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Lifecycle {
    /// No owner, no keys.
    Blank,
    /// An owner root is pinned and the device key exists.
    Provisioned,
}

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// A program in the normal world.
    NormalWorld,
    /// Another trusted application.
    Enclave,
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

/// How a command uses the four GlobalPlatform parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Request (memref input), reply (memref output).
    Message,
    /// Request, reply, bulk data (memref input).
    MessageWithData,
    /// Value input with the enclave's command in `a`, then three parameters for the enclave.
    Forward,
}

/// What one command may do when.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The command.
    pub command: Command,
    /// Name, as in documents and logs.
    pub name: &'static str,
    /// Lifecycle states it is allowed in.
    pub lifecycle: &'static [Lifecycle],
    /// Session states it is allowed in.
    pub session: &'static [SessionState],
    /// Callers it is allowed for.
    pub caller: &'static [Caller],
    /// Its parameters.
    pub shape: Shape,
}

const ANY_LIFECYCLE: &[Lifecycle] = &[Lifecycle::Blank, Lifecycle::Provisioned];
const BLANK: &[Lifecycle] = &[Lifecycle::Blank];
const OWNED: &[Lifecycle] = &[Lifecycle::Provisioned];

const ANY_SESSION: &[SessionState] =
    &[SessionState::Idle, SessionState::Installing, SessionState::EnclaveOpen];
const IDLE: &[SessionState] = &[SessionState::Idle];
const INSTALLING: &[SessionState] = &[SessionState::Installing];
const ENCLAVE_OPEN: &[SessionState] = &[SessionState::EnclaveOpen];

const NORMAL_WORLD: &[Caller] = &[Caller::NormalWorld];

macro_rules! commands {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal, $text:literal, $lifecycle:ident, $session:ident, $caller:ident, $shape:ident;)+) => {
        /// A command id, the `commandID` of `TEEC_InvokeCommand`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Command { $($(#[doc = $doc])+ $name = $id,)+ }

        /// The command table.
        pub const TABLE: &[Rule] = &[$(Rule {
            command: Command::$name, name: $text, lifecycle: $lifecycle, session: $session, caller: $caller,
            shape: Shape::$shape,
        }),+];
    };
}

commands! {
    /// State and versions of the device: [`crate::message::InfoReply`]. Makes the device key where there is none.
    Info = 1, "info", ANY_LIFECYCLE, ANY_SESSION, NORMAL_WORLD, Message;
    /// A nonce to answer with a signed statement: [`crate::message::ChallengeRequest`].
    Challenge = 2, "challenge", ANY_LIFECYCLE, IDLE, NORMAL_WORLD, Message;
    /// Pin the owner root and create the device key: a statement of kind `PinRoot`.
    Provision = 3, "provision", BLANK, IDLE, NORMAL_WORLD, Message;
    /// The device key as DER SubjectPublicKeyInfo.
    DeviceKey = 4, "device-key", ANY_LIFECYCLE, ANY_SESSION, NORMAL_WORLD, Message;
    /// Delegate a role: a statement of kind `Publisher` or `Releaser`.
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
}

impl Command {
    /// The rule for a command id, if there is such a command.
    pub fn rule(id: u32) -> Option<&'static Rule> {
        TABLE.iter().find(|rule| rule.command as u32 == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn ids_are_consecutive_and_unique() {
        let ids: Vec<u32> = TABLE.iter().map(|rule| rule.command as u32).collect();
        assert_eq!(ids, (1..=14).collect::<Vec<u32>>());
        assert!(
            Command::rule(0).is_none() && Command::rule(15).is_none() && Command::rule(u32::MAX).is_none()
        );
    }

    #[test]
    fn enclaves_may_not_change_anything() {
        assert!(TABLE.iter().all(|rule| !rule.caller.contains(&Caller::Enclave)));
    }
}
