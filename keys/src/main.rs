//! `trustbox-keys`: the owner's side on the command line. Reads keys from files only.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use trustbox_api::key::{KeyName, KeyRef};
use trustbox_api::{PublicKey, Uuid};
use trustbox_keys::class_keys::{ClassKeys, parse_key_ref};
use trustbox_keys::issue::{self, Asking};
use trustbox_keys::{dev, files, show};
use trustbox_package::Request;

/// Keys of a TrustBox fleet: statements for devices, and class keys wrapped for one device.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate development keys in a folder, where they are missing. NOT-TRUSTED
    DevInit {
        /// The folder
        dir: PathBuf,
    },
    /// Answer a provisioning request: pin an owner root to the device
    PinRoot(PinRoot),
    /// Delegate a role to a key, signed by the owner root
    #[command(subcommand)]
    Delegate(Delegate),
    /// Answer a key-import request: wrap a class key for the device
    Release(Release),
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
struct PinRoot {
    /// Private key of the provisioning authority
    #[arg(long, value_name = "KEY")]
    authority: PathBuf,
    /// Key of the owner root, public or private
    #[arg(long, value_name = "PUB")]
    root: PathBuf,
    /// What `trustbox provision --request` wrote
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// Where to write the statement
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Delegate {
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
}

#[derive(Args)]
struct Delegation {
    /// Private key of the owner root
    #[arg(long, value_name = "KEY")]
    root: PathBuf,
    /// Key that gets the role, public or private
    #[arg(long, value_name = "PUB")]
    key: PathBuf,
    /// Must rise from one delegation of a role to the next [default: the time in seconds]
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Where to write the statement
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
struct Release {
    /// Private key of the releaser
    #[arg(long, value_name = "KEY")]
    releaser: PathBuf,
    /// Key of the owner root, public or private
    #[arg(long, value_name = "PUB")]
    root: PathBuf,
    /// Store of class keys
    #[arg(long, value_name = "FILE")]
    class_keys: PathBuf,
    /// The class key
    #[arg(long, value_name = "NAME[@VERSION]", value_parser = parse_key_ref)]
    key: KeyRef,
    /// What `trustbox key import --request` wrote
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// Where to write the statement
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::DevInit { dir } => dev_init(&dir),
        Command::PinRoot(args) => pin_root(&args),
        Command::Delegate(Delegate::Publisher { uuids, delegation }) => {
            delegate(&delegation, |root, key, sequence| {
                issue::delegate_publisher(root, key, &uuids, sequence)
            })
        }
        Command::Delegate(Delegate::Releaser { names, delegation }) => {
            delegate(&delegation, |root, key, sequence| issue::delegate_releaser(root, key, &names, sequence))
        }
        Command::Release(args) => release(&args),
        Command::Show { file, json } => show_file(&file, json),
    }
}

fn dev_init(dir: &Path) -> Result<()> {
    let keys = dev::ensure(dir)?;
    println!("development keys, NOT-TRUSTED: {}", dir.display());
    println!("provisioning authority: {}", keys.authority_hash_path().display());
    Ok(())
}

fn pin_root(args: &PinRoot) -> Result<()> {
    let Request::Provision { device_id, nonce } = load_request(&args.request)? else {
        bail!(wrong_request(&args.request, "key-import", "provision"));
    };
    let authority = files::load_private(&args.authority)?;
    let root = files::load_public(&args.root)?;
    files::write(&args.out, &issue::pin_root(&authority, &root, &Asking { device_id, nonce })?)
}

fn delegate(
    args: &Delegation,
    issue: impl FnOnce(&trustbox_keys::SigningKey, &PublicKey, u64) -> Result<Vec<u8>, issue::IssueError>,
) -> Result<()> {
    let root = files::load_private(&args.root)?;
    let key = files::load_public(&args.key)?;
    let sequence = args.sequence.map_or_else(now, Ok)?;
    files::write(&args.out, &issue(&root, &key, sequence)?)
}

fn release(args: &Release) -> Result<()> {
    let Request::KeyImport { device_id, nonce, device_key } = load_request(&args.request)? else {
        bail!(wrong_request(&args.request, "provision", "key-import"));
    };
    let releaser = files::load_private(&args.releaser)?;
    let root = files::load_public(&args.root)?.id();
    let keys = ClassKeys::load(&args.class_keys)?;
    let key = (&args.key, keys.require(&args.key)?);
    files::write(&args.out, &issue::release(&releaser, root, &Asking { device_id, nonce }, &device_key, key)?)
}

fn show_file(file: &Path, json: bool) -> Result<()> {
    let shown = show::describe(&files::read(file)?).with_context(|| file.display().to_string())?;
    if json {
        println!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        show::lines(&shown).iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

fn load_request(path: &Path) -> Result<Request> {
    let bytes = files::read(path)?;
    Request::from_json(&bytes).map_err(|error| {
        anyhow!(
            "{}: not a request: {error}\nhelp: `trustbox … --request FILE` on the device writes one",
            path.display()
        )
    })
}

fn wrong_request(path: &Path, found: &str, expected: &str) -> String {
    format!(
        "{}: request is of type {found}, expected {expected}\nhelp: check which file was given",
        path.display()
    )
}

fn parse_key_name(text: &str) -> Result<KeyName> {
    let key = parse_key_ref(text)?;
    if text.contains('@') {
        bail!("{text} names a version, a releaser is authorised for all versions of a name");
    }
    Ok(key.name)
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("clock is before 1970")?.as_secs())
}
