//! What went wrong, on which object, and the exit status it leads to.

use std::fmt::Display;

use trustbox_api::Error as Refused;
use trustbox_api::message::LegacyRequest;
use trustbox_client::Error;
use trustbox_package::PackageError;

/// Exit statuses other than success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Status {
    /// The TA or the enclave refused, or the package is bad.
    Refused = 1,
    /// Wrong usage, files that cannot be read or written included.
    Usage = 2,
    /// No TEE, or none with TrustBox.
    NoTee = 3,
}

/// A failed command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// The TA's number, or the enclave's.
    pub(crate) number: Option<u32>,
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) help: String,
}

impl Failure {
    /// Wrong usage.
    pub(crate) fn usage(text: impl Display, help: impl Display) -> Self {
        Self::new(Status::Usage, "Usage", text, help)
    }

    /// Something that nobody can undo, and that nobody confirmed.
    pub(crate) fn unconfirmed(what: &str, object: impl Display, would: impl Display) -> Self {
        let text = format_args!("{what}: {object}: {would}");
        Self::new(Status::Usage, "Unconfirmed", text, "repeat with --yes to do it")
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(what: &str, object: impl Display, error: impl Display) -> Self {
        Self::new(
            Status::Usage,
            "File",
            format_args!("{what}: {object}: {error}"),
            "check path and permissions",
        )
    }

    /// A file that is not a package that a device takes.
    pub(crate) fn package(what: &str, object: impl Display, error: &PackageError) -> Self {
        let help = match error {
            PackageError::NoTrustedManifest => "pack it again with `build/tb pack`",
            PackageError::Original { what: "version", .. } => {
                "give the version in the OP-TEE header inside with --version"
            }
            PackageError::Original { .. } => {
                "no device takes it as it is; pack it again with `build/tb pack`"
            }
            _ => "the file is damaged or not a package; copy it again or pack it again",
        };
        Self::new(Status::Refused, "BadPackage", format_args!("{what}: {object}: {error}"), help)
    }

    /// What the device signed is not to be believed.
    pub(crate) fn evidence(what: &str, object: impl Display, error: &impl Display) -> Self {
        let text = format_args!("{what}: {object}: {error}");
        Self::new(
            Status::Refused,
            "BadEvidence",
            text,
            "somebody between here and the TA changes what it says",
        )
    }

    /// A call that failed; `what` was being done with `object`.
    pub(crate) fn call(what: &str, object: impl Display, error: &Error) -> Self {
        let (status, number, name, help) = match error {
            Error::NoTee { .. } => (
                Status::NoTee,
                None,
                "NoTee",
                "load the drivers tee and optee, and run as root or in the group of /dev/tee0",
            ),
            Error::NoTrustBox => {
                (Status::NoTee, None, "NoTrustBox", "the firmware was built without TrustBox; update it")
            }
            Error::Refused(refused) => {
                (Status::Refused, Some(*refused as u32), refused.name(), refused.help())
            }
            Error::Enclave { code } => {
                (Status::Refused, Some(*code), "Enclave", "see the enclave's documentation")
            }
            Error::ReplyTooLong { .. } => {
                (Status::Refused, None, "ReplyTooLong", "ask the enclave for less at a time")
            }
            Error::Cancelled => {
                (Status::Refused, None, "Cancelled", "give it more time, or ask it for less at a time")
            }
            Error::ImageTooLarge { .. } => (
                Status::Refused,
                None,
                "ImageTooLarge",
                "make the enclave smaller, see `max image` in `trustbox info`",
            ),
            Error::BadReply { .. } => {
                (Status::Refused, None, "BadReply", "use a client of the same version as the TA")
            }
            Error::Package(error) => return Self::package(what, object, error),
            _ => (Status::Refused, None, "Transport", "check dmesg, tee-supplicant and the secure log"),
        };
        Self { number, ..Self::new(status, name, format_args!("{what}: {object}: {error}"), help) }
    }

    /// A package without trusted manifest that was not installed.
    pub(crate) fn original(object: impl Display, request: &LegacyRequest, error: &Error) -> Self {
        let failure = Self::call("install", object, error);
        let help = match error {
            Error::Refused(Refused::NotAuthorised) => format!(
                "the package has no trusted manifest: pack it again with `build/tb pack`, or have the owner's policy \
                 name it, `trustbox-keys policy --legacy {}`",
                request.uuid
            ),
            Error::Refused(Refused::ImageHeader) => format!(
                "the OP-TEE header inside has another UUID or another version than {}: give its version with --version",
                request.version
            ),
            _ => return failure,
        };
        Self { help, ..failure }
    }

    fn new(status: Status, name: &'static str, text: impl Display, help: impl Display) -> Self {
        Self { status, number: None, name, text: text.to_string(), help: help.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trustbox_package::verify::LogError;

    #[test]
    fn every_refusal_keeps_its_number_name_and_help() {
        for &refused in trustbox_api::Error::ALL {
            let failure = Failure::call("install", "a.cpk", &Error::Refused(refused));
            assert_eq!((failure.status, failure.number), (Status::Refused, Some(refused as u32)));
            assert_eq!((failure.name, failure.help.as_str()), (refused.name(), refused.help()));
            assert_eq!(failure.text, format!("install: a.cpk: {refused}"));
        }
    }

    #[test]
    fn statuses_are_those_of_the_contract() {
        let status = |error| Failure::call("call", "device", &error).status as u8;
        assert_eq!(status(Error::NoTee { code: 0xffff_0008 }), 3);
        assert_eq!(status(Error::NoTrustBox), 3);
        assert_eq!(status(Error::Enclave { code: 7 }), 1);
        assert_eq!(status(Error::ReplyTooLong { needed: 2, capacity: 1 }), 1);
        assert_eq!(status(Error::Cancelled), 1);
        assert_eq!(status(Error::ImageTooLarge { size: 2, available: 1 }), 1);
        assert_eq!(Failure::evidence("a", "b", &LogError::Encoding { channel: "d" }).status as u8, 1);
        assert_eq!(Failure::unconfirmed("a", "b", "c").status as u8, 2);
        assert_eq!(status(Error::Transport { code: 0, origin: 2 }), 1);
        assert_eq!(status(Error::Package(PackageError::NoTrustedManifest)), 1);
        assert_eq!(Failure::usage("a", "b").status as u8, 2);
        assert_eq!(Failure::file("read", "f", "gone").status as u8, 2);
    }

    #[test]
    fn original_packages_say_what_would_help() {
        let uuid = trustbox_api::TRUSTBOX_UUID;
        let request = LegacyRequest {
            uuid,
            name: Default::default(),
            version: 7,
            size: 1,
            plaintext_sha256: trustbox_api::Bytes([0; 32]),
            nonce: trustbox_api::Bytes([0; 12]),
            tag: trustbox_api::Bytes([0; 16]),
            class_key: trustbox_api::key::KeyRef::new("class", 1).unwrap(),
        };
        let failure = |refused| Failure::original("a.cpk", &request, &Error::Refused(refused));
        assert!(failure(Refused::NotAuthorised).help.contains(&format!("policy --legacy {uuid}")));
        assert!(failure(Refused::ImageHeader).help.contains("than 7: give its version with --version"));
        assert_eq!(failure(Refused::Decryption).help, Refused::Decryption.help());
        assert_eq!(failure(Refused::NotAuthorised).number, Some(21));
    }

    #[test]
    fn enclave_number_is_passed_on() {
        let failure = Failure::call("invoke", "a uuid", &Error::Enclave { code: 0xffff_0006 });
        assert_eq!(failure.number, Some(0xffff_0006));
        assert_eq!(failure.text, "invoke: a uuid: the enclave answered with error 0xffff0006");
    }
}
