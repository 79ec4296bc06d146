//! The grammar of `trustbox-keys`.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use trustbox_api::key::{KeyName, KeyRef};
use trustbox_api::limits::MAX_ENCLAVES;
use trustbox_api::statement::Revoked;
use trustbox_api::{DeviceId, Uuid};
use trustbox_keys::class_keys::parse_key_ref;
use trustbox_package::request::parse_hex;

use crate::commands::{ceremony, client, factory, fuse, page_user, returned, serve, station};
use crate::seal::Seal;
use crate::verify::Verify;

/// Keys of a TrustBox fleet: statements for devices, and class keys wrapped for one device.
#[derive(Parser)]
#[command(name = "trustbox-keys", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// File with the passphrase of encrypted keys, which is asked for where none is named; for the owner root twice, in the order
    /// of the ceremony
    #[arg(long = "passphrase-file", value_name = "FILE", global = true)]
    pub(crate) passphrase_files: Vec<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Init(ceremony::Init),
    Certify(factory::Certify),
    Station(station::Run),
    Fuse(fuse::Fuse),
    Sync(station::Sync),
    ReturnOrder(returned::ReturnOrder),
    TakeBack(returned::TakeBack),
    Devices(station::Devices),
    Voucher(station::Voucher),
    Label(station::Label),
    Export(station::Export),
    Status(ceremony::Status),
    Tls(ceremony::Tls),
    Serve(serve::Serve),
    PageUser(page_user::PageUser),
    ImportKeys(serve::ImportKeys),
    Backup(serve::Backup),
    Restore(serve::Restore),
    /// Verify or export the audit log
    #[command(subcommand)]
    Audit(serve::Audit),
    Challenge(client::Challenge),
    Fetch(client::Fetch),
    Call(client::Call),
    /// Generate development keys in a folder, where they are missing. NOT-TRUSTED
    DevInit {
        /// The folder
        dir: PathBuf,
    },
    /// Sign reference values that `tb firmware` wrote without the authority's private key
    SignReference {
        /// The reference values; the signature goes beside them
        file: PathBuf,
        /// Private key of the provisioning authority
        #[arg(long, value_name = "KEY")]
        authority: PathBuf,
    },
    /// Answer a provisioning request: pin an owner root to the device
    PinRoot(PinRoot),
    /// Answer a lock request: close the factory's doors on the device
    Lock(Lock),
    /// Answer a rotate-root request: hand the device to a new owner root
    RotateRoot(RotateRoot),
    /// Answer a decommission request: erase everything secret on the device, for ever
    Decommission(Decommission),
    /// Delegate a role to a key, signed by the owner root
    #[command(subcommand)]
    Delegate(Delegate),
    /// Say what the devices may do; replaces the policy before
    Policy(Policy),
    /// Revoke keys, versions of enclaves or versions of class keys, for ever
    Revoke(Revoke),
    /// Answer a key-import request: wrap a class key for the device
    Release(Release),
    /// Verify a device's attestation token
    Verify(Verify),
    /// Seal a file to one enclave on one device, whose report is verified first
    Seal(Seal),
    /// Describe a statement file
    Show {
        /// The statement
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(crate) struct PinRoot {
    /// Private key of the provisioning authority
    #[arg(long, value_name = "KEY")]
    pub(crate) authority: PathBuf,
    /// Key of the owner root, public or private
    #[arg(long, value_name = "PUB")]
    pub(crate) root: PathBuf,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Args)]
pub(crate) struct Lock {
    /// Private key of the provisioning authority
    #[arg(long, value_name = "KEY")]
    pub(crate) authority: PathBuf,
    /// Key of the device's owner root, public or private
    #[arg(long, value_name = "PUB")]
    pub(crate) root: PathBuf,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Args)]
pub(crate) struct RotateRoot {
    /// Private key of the owner root that the device has
    #[arg(long, value_name = "KEY")]
    pub(crate) root: PathBuf,
    /// Key of the owner root that it gets, public or private
    #[arg(long, value_name = "PUB")]
    pub(crate) new_root: PathBuf,
    /// Do it: the owner root that signs has no say over the device afterwards
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Args)]
pub(crate) struct Decommission {
    /// Private key of the owner root
    #[arg(long, value_name = "KEY")]
    pub(crate) root: PathBuf,
    /// Do it: nothing brings the device back
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// A device's request, and where its answer goes.
#[derive(Args)]
pub(crate) struct Answer {
    /// What `trustbox ... --request FILE` wrote on the device
    #[arg(long, value_name = "FILE")]
    pub(crate) request: PathBuf,
    /// Where to write the statement
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum Delegate {
    /// Let a publisher publish applications
    Publisher {
        /// UUID of an application, exact; may be repeated
        #[arg(long = "uuid", value_name = "UUID", required = true)]
        uuids: Vec<Uuid>,
        #[command(flatten)]
        delegation: Delegation,
    },
    /// Let a releaser release class keys
    Releaser {
        /// Name of a class key, exact, without version; may be repeated
        #[arg(long = "class-key", value_name = "NAME", required = true, value_parser = parse_key_name)]
        names: Vec<KeyName>,
        #[command(flatten)]
        delegation: Delegation,
    },
    /// Let a revoker revoke keys, enclaves and class keys
    Revoker {
        #[command(flatten)]
        delegation: Delegation,
    },
}

#[derive(Args)]
pub(crate) struct Delegation {
    /// Private key of the owner root
    #[arg(long, value_name = "KEY")]
    pub(crate) root: PathBuf,
    /// Key that gets the role, public or private
    #[arg(long, value_name = "PUB")]
    pub(crate) key: PathBuf,
    #[command(flatten)]
    pub(crate) order: Order,
}

#[derive(Args)]
pub(crate) struct Policy {
    /// Private key of the owner root
    #[arg(long, value_name = "KEY")]
    pub(crate) root: PathBuf,
    /// Application whose packages may lack a trusted manifest; may be repeated
    #[arg(long, value_name = "UUID")]
    pub(crate) legacy: Vec<Uuid>,
    /// Enclaves installed at a time, at most
    #[arg(long, value_name = "N", default_value_t = MAX_ENCLAVES as u8,
        value_parser = clap::value_parser!(u8).range(..=MAX_ENCLAVES as i64))]
    pub(crate) max_enclaves: u8,
    #[command(flatten)]
    pub(crate) order: Order,
}

#[derive(Args)]
pub(crate) struct Revoke {
    /// Private key of a revoker, or of the owner root itself
    #[arg(long, value_name = "KEY")]
    pub(crate) by: PathBuf,
    /// Key of the owner root, public or private
    #[arg(long, value_name = "PUB")]
    pub(crate) root: PathBuf,
    #[command(flatten)]
    pub(crate) items: Items,
    #[command(flatten)]
    pub(crate) order: Order,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Items {
    /// Key of a publisher, releaser or revoker: a file, or its id of 64 hexadecimal digits; may be repeated
    #[arg(long = "key", value_name = "PUB|ID")]
    pub(crate) keys: Vec<String>,
    /// Versions of an enclave below FLOOR, or all there will ever be; may be repeated
    #[arg(long = "enclave", value_name = "UUID[=FLOOR]", value_parser = parse_enclave)]
    pub(crate) enclaves: Vec<Revoked>,
    /// Versions of a class key below FLOOR; may be repeated
    #[arg(long = "class-key", value_name = "NAME=FLOOR", value_parser = parse_class_key)]
    pub(crate) class_keys: Vec<Revoked>,
}

/// For which devices a statement is, when, and where it goes.
#[derive(Args)]
pub(crate) struct Order {
    /// Only for this device [default: all devices of the owner]
    #[arg(long, value_name = "ID", value_parser = parse_device_id, conflicts_with = "class")]
    pub(crate) device: Option<DeviceId>,
    /// Only for devices that hold a class key of this name
    #[arg(long, value_name = "NAME", value_parser = parse_key_name)]
    pub(crate) class: Option<KeyName>,
    /// Must rise from one statement of a kind to the next [default: the time in seconds]
    #[arg(long, value_name = "N")]
    pub(crate) sequence: Option<u64>,
    /// Where to write the statement
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct Release {
    /// Private key of the releaser
    #[arg(long, value_name = "KEY")]
    pub(crate) releaser: PathBuf,
    /// Key of the owner root, public or private
    #[arg(long, value_name = "PUB")]
    pub(crate) root: PathBuf,
    /// Store of class keys
    #[arg(long, value_name = "FILE")]
    pub(crate) class_keys: PathBuf,
    /// The class key
    #[arg(long, value_name = "NAME[@VERSION]", value_parser = parse_key_ref)]
    pub(crate) key: KeyRef,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

fn parse_key_name(text: &str) -> Result<KeyName> {
    if text.contains('@') {
        bail!("{text} names a version, a name without one stands for all versions");
    }
    Ok(parse_key_ref(text)?.name)
}

fn parse_device_id(text: &str) -> Result<DeviceId> {
    parse_hex(text).ok_or_else(|| anyhow!("not the 64 hexadecimal digits that `trustbox info` shows"))
}

fn parse_enclave(text: &str) -> Result<Revoked> {
    let (uuid, floor) = match text.split_once('=') {
        Some((uuid, floor)) => (uuid, parse_floor(floor)?),
        None => (text, u32::MAX),
    };
    Ok(Revoked::Enclave { uuid: uuid.parse()?, floor })
}

fn parse_class_key(text: &str) -> Result<Revoked> {
    let (name, floor) = text.rsplit_once('=').ok_or_else(|| anyhow!("{text} has no floor: NAME=FLOOR"))?;
    Ok(Revoked::ClassKey { name: parse_key_name(name)?, floor: parse_floor(floor)? })
}

/// The lowest version left; there is nothing below 1.
fn parse_floor(text: &str) -> Result<u32> {
    let floor = text.parse().ok().filter(|floor| *floor > 0);
    floor.ok_or_else(|| anyhow!("{text} is not a version from 1 to {}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const UUID: &str = "01010101-0101-0101-0101-010101010101";

    #[test]
    fn grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn floors_are_told_from_names() {
        let uuid: Uuid = UUID.parse().unwrap();
        let enclave = |text: String| parse_enclave(&text).ok();
        assert_eq!(enclave(UUID.to_owned()), Some(Revoked::Enclave { uuid, floor: u32::MAX }));
        assert_eq!(enclave(format!("{UUID}=3")), Some(Revoked::Enclave { uuid, floor: 3 }));
        let name = KeyName::from("a=b").unwrap();
        assert_eq!(parse_class_key("a=b=2").ok(), Some(Revoked::ClassKey { name, floor: 2 }));
        for bad in ["=3", "x", &format!("{UUID}="), &format!("{UUID}=0"), &format!("{UUID}=-1")] {
            assert!(parse_enclave(bad).is_err(), "{bad}");
        }
        for bad in ["meter", "meter=", "=2", "meter@2=3", "meter=0", "meter=4294967296"] {
            assert!(parse_class_key(bad).is_err(), "{bad}");
        }
    }
}
