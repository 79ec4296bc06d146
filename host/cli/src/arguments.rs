//! The command line's grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use trustbox_api::Uuid;
use trustbox_api::key::KeyRef;
use trustbox_api::message::Nonce;

use crate::attest::{self, TokenNonce};
use crate::enclave::{parse_hex_bytes, parse_number, parse_time};
use crate::key::parse_version;
use crate::nonce;

/// TrustBox on this device: provision it, install enclaves, talk to them.
///
/// Exit status: 0 success, 1 refused by the TA or the enclave, or a bad package, 2 wrong usage, 3 no TEE.
#[derive(Parser)]
#[command(name = "trustbox", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Print JSON: one object per result, and one for an error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// State, keys, policy and versions of the device
    Info,
    /// Give the device its owner, and apply what the owner says
    Provision(Provision),
    /// End the factory's part in the device's life
    Lock(Answer),
    /// Revoke keys, versions of enclaves or versions of class keys, for ever
    Revoke {
        /// The signed revocation
        statement: PathBuf,
    },
    /// Hand the device to a new owner root
    RotateRoot(ConfirmedAnswer),
    /// Erase everything secret on the device, for ever
    Decommission(ConfirmedAnswer),
    /// Print a certification request (PKCS#10) for the attestation key; it also names the device key
    Csr(Csr),
    /// Print an attestation token: what the device is and runs, signed over a verifier's nonce
    Attest(Attest),
    /// The keys of the device, and the class keys released to it
    #[command(subcommand)]
    Key(Key),
    /// Install or upgrade an enclave
    Install {
        /// The package
        #[arg(value_name = "FILE.cpk")]
        file: PathBuf,
        /// Version in the OP-TEE header inside, for a package without trusted manifest [default: the JSON manifest's]
        #[arg(long, value_name = "N")]
        version: Option<u32>,
    },
    /// Remove an enclave; its version floor stays
    Uninstall(Uninstall),
    /// Enclaves known to the device
    List,
    /// Launch an enclave and call it once for each line of standard input, `COMMAND [TEXT]`
    Run {
        /// The enclave
        uuid: Uuid,
        #[command(flatten)]
        limit: Limit,
    },
    /// Launch an enclave and call it once
    Invoke(Invoke),
    /// What happened to the device
    Log(Log),
    /// Completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Manual pages: one for each command to a folder, or the first one to standard output
    Man {
        /// Write all pages to DIR
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

#[derive(Args)]
pub(crate) struct Provision {
    /// Write a request for the owner to FILE, or to standard output for -
    #[arg(long, value_name = "FILE", conflicts_with = "statements")]
    pub(crate) request: Option<PathBuf>,
    /// Signed statements, applied in this order: pin-root, then delegations, policy, revocations
    #[arg(value_name = "STATEMENT", required_unless_present = "request")]
    pub(crate) statements: Vec<PathBuf>,
}

/// A step that takes a nonce: its request, or the statement that answers.
#[derive(Args)]
pub(crate) struct Answer {
    /// Write a request to FILE, or to standard output for -
    #[arg(long, value_name = "FILE", conflicts_with = "statement")]
    pub(crate) request: Option<PathBuf>,
    /// The signed statement that answers
    #[arg(value_name = "STATEMENT", required_unless_present = "request")]
    pub(crate) statement: Option<PathBuf>,
}

/// The same, where nobody can undo it.
#[derive(Args)]
pub(crate) struct ConfirmedAnswer {
    #[command(flatten)]
    pub(crate) answer: Answer,
    /// Do it: it cannot be undone
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
pub(crate) struct Csr {
    /// Ends up in the request, so that an old one is recognised: 64 hexadecimal digits [default: random]
    #[arg(long, value_name = "HEX", value_parser = nonce::parse)]
    pub(crate) nonce: Option<Nonce>,
    /// Encoding
    #[arg(long, value_enum, default_value_t = Encoding::Pem)]
    pub(crate) format: Encoding,
}

#[derive(Args)]
pub(crate) struct Attest {
    /// The verifier's nonce: 64, 96 or 128 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = attest::parse_nonce)]
    pub(crate) nonce: TokenNonce,
    /// Write the token to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Show the claims instead; nobody has verified them
    #[arg(long, conflicts_with_all = ["out", "edn"])]
    pub(crate) pretty: bool,
    /// Show the claims in diagnostic notation (RFC 8949, section 8)
    #[arg(long, conflicts_with = "out")]
    pub(crate) edn: bool,
}

#[derive(Args)]
pub(crate) struct Uninstall {
    /// The enclave
    pub(crate) uuid: Uuid,
    /// Also destroy the key of its sealed data, and its counters
    #[arg(long)]
    pub(crate) erase: bool,
    /// Do it: erased data cannot be restored
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
pub(crate) struct Log {
    /// Show this channel only [default: all, in the order of time]
    #[arg(long, value_enum)]
    pub(crate) channel: Option<Channel>,
    /// Also have the device sign the heads of the log, and check that all channels lead to them
    #[arg(long)]
    pub(crate) head: bool,
    /// What the device signs the heads over: 64 hexadecimal digits [default: random]
    #[arg(long, value_name = "HEX", requires = "head", value_parser = nonce::parse)]
    pub(crate) nonce: Option<Nonce>,
}

/// A channel of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Channel {
    /// What somebody with a key said
    Authority,
    /// What Linux brought about
    Activity,
    /// Notes of enclaves
    Enclaves,
}

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Print the public half of the device key, a SubjectPublicKeyInfo
    Export {
        /// That of the attestation key instead
        #[arg(long)]
        attestation: bool,
        /// Encoding
        #[arg(long, value_enum, default_value_t = Encoding::Pem)]
        format: Encoding,
    },
    /// Ask for a class key, or import the bundle that answers
    Import {
        /// Write a request for the key service to FILE, or to standard output for -
        #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
        request: Option<PathBuf>,
        /// The signed key bundle
        #[arg(value_name = "BUNDLE", required_unless_present = "request")]
        bundle: Option<PathBuf>,
    },
    /// Write the 32 octets of the disk key to standard output, for cryptsetup; never to a terminal
    Disk,
    /// Class keys the device holds
    List,
    /// Destroy one version of a class key on this device
    Destroy {
        /// The class key
        #[arg(value_name = "NAME@VERSION", value_parser = parse_version)]
        key: KeyRef,
        /// Do it: enclaves packed for the key cannot be installed until it is released again
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Encoding {
    /// Binary
    Der,
    /// Text
    Pem,
}

#[derive(Args)]
pub(crate) struct Invoke {
    /// The enclave
    pub(crate) uuid: Uuid,
    /// The enclave's command, decimal or 0x and hexadecimal
    #[arg(value_parser = parse_number)]
    pub(crate) command: u32,
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) limit: Limit,
    /// Write the reply to a file instead
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    pub(crate) output: Option<PathBuf>,
    /// Print the bytes of the reply as they are
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

/// How long a call may take.
#[derive(Args)]
pub(crate) struct Limit {
    /// Ask the enclave to stop a call after this time, 500ms, 5s or 2m; one that never looks goes on [default: none]
    #[arg(long, value_name = "DURATION", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
}

/// What the enclave is given; nothing by default.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct Input {
    /// Text as input
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Hexadecimal digits as input
    #[arg(long, value_name = "HEX", value_parser = parse_hex_bytes)]
    pub(crate) hex: Option<HexBytes>,
    /// A file as input, or standard input for -
    #[arg(long = "input", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Bytes given as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HexBytes(pub(crate) Vec<u8>);

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn accepts(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    const UUID: &str = "b8a6e9d4-3f0c-4f7e-9a53-1d2c7e50b4c1";

    #[test]
    fn grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn documented_lines_are_accepted() {
        for line in [
            "trustbox info --json",
            "trustbox --json info",
            "trustbox provision --request -",
            "trustbox provision a.st b.st",
            "trustbox key export --format der",
            "trustbox key import --request r.json",
            "trustbox key import bundle.st",
            "trustbox key list",
            "trustbox install a.cpk",
            "trustbox install a.cpk --version 7",
            "trustbox list",
            "trustbox completions bash",
            "trustbox lock --request -",
            "trustbox lock a.st",
            "trustbox revoke a.st",
            "trustbox rotate-root --request r.json",
            "trustbox rotate-root a.st --yes",
            "trustbox decommission a.st",
            "trustbox csr --format der",
            "trustbox key destroy meter@2 --yes",
            "trustbox log --channel authority --json",
            "trustbox log --head",
            "trustbox man --dir d",
        ] {
            assert!(accepts(line), "{line}");
        }
        for line in [
            "run UUID",
            "invoke UUID 1",
            "invoke UUID 0x10 --hex 00ff --output f",
            "invoke UUID 1 --text t --raw",
            "invoke UUID 1 --timeout 500ms",
            "run UUID --timeout 5s",
            "uninstall UUID",
            "uninstall UUID --erase --yes",
        ] {
            assert!(accepts(&format!("trustbox {}", line.replace("UUID", UUID))), "{line}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "trustbox",
            "trustbox provision",
            "trustbox provision --request f a.st",
            "trustbox key import",
            "trustbox key import --request f bundle.st",
            "trustbox install",
            "trustbox run not-a-uuid",
            "trustbox lock",
            "trustbox lock --request f a.st",
            "trustbox lock a.st --yes",
            "trustbox decommission",
            "trustbox revoke",
            "trustbox key destroy meter",
            "trustbox log --nonce 00",
            "trustbox csr --nonce 00",
        ] {
            assert!(!accepts(line), "{line}");
        }
        for line in [
            "1 --text a --hex 00",
            "1 --hex 0",
            "1 --hex zz",
            "-1",
            "4294967296",
            "1 --raw --output f",
            "1 --raw --json",
            "1 --timeout 5",
        ] {
            assert!(!accepts(&format!("trustbox invoke {UUID} {line}")), "{line}");
        }
    }
}
