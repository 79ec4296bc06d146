//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use trustbox_api::Uuid;

use crate::enclave::{parse_hex_bytes, parse_number};

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
    /// State, keys and versions of the device
    Info,
    /// Give the device its owner and delegate roles
    Provision(Provision),
    /// The device key, and the class keys released to it
    #[command(subcommand)]
    Key(Key),
    /// Install or upgrade an enclave
    Install {
        /// The package
        #[arg(value_name = "FILE.cpk")]
        file: PathBuf,
    },
    /// Enclaves known to the device
    List,
    /// Launch an enclave and call it once for each line of standard input, `COMMAND [TEXT]`
    Run {
        /// The enclave
        uuid: Uuid,
    },
    /// Launch an enclave and call it once
    Invoke(Invoke),
    /// Completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
pub(crate) struct Provision {
    /// Write a request for the owner to FILE, or to standard output for -
    #[arg(long, value_name = "FILE", conflicts_with = "statements")]
    pub(crate) request: Option<PathBuf>,
    /// Signed statements, applied in this order: pin-root, then delegations
    #[arg(value_name = "STATEMENT", required_unless_present = "request")]
    pub(crate) statements: Vec<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Print the public half of the device key, a SubjectPublicKeyInfo
    Export {
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
    /// Class keys the device holds
    List,
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
    /// Write the reply to a file instead
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    pub(crate) output: Option<PathBuf>,
    /// Print the bytes of the reply as they are
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
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
            "trustbox list",
            "trustbox completions bash",
        ] {
            assert!(accepts(line), "{line}");
        }
        for line in [
            "run UUID",
            "invoke UUID 1",
            "invoke UUID 0x10 --hex 00ff --output f",
            "invoke UUID 1 --text t --raw",
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
        ] {
            assert!(!accepts(&format!("trustbox invoke {UUID} {line}")), "{line}");
        }
    }
}
