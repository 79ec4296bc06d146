//! `trustbox-keys`: the owner's side on the command line, and the service that releases keys. Reads keys from files and
//! tokens only.
//!
//! Exit status: 0 success, 1 failure, 2 wrong usage.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod seal;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use clap::error::ErrorKind;
use trustbox_api::PublicKey;
use trustbox_api::statement::{Audience, Revoked};
use trustbox_keys::ceremony::{self, protect};
use trustbox_keys::issue::{self, Asking, IssueError, Scope};
use trustbox_keys::{SigningKey, dev, factory, files, reference, show};
use trustbox_package::Request;
use trustbox_package::request::parse_hex;

use arguments::{
    Answer, Cli, Command, Decommission, Delegate, Delegation, Items, Lock, Order, PinRoot, Policy, Release,
    Revoke, RotateRoot,
};

fn main() -> ExitCode {
    let ran = refuse_keys_in_arguments().and_then(|()| {
        let cli = Cli::parse();
        Keys::open(&cli.passphrase_files).and_then(|keys| run(cli.command, &keys))
    });
    let Err(error) = ran else { return ExitCode::SUCCESS };
    match error.downcast::<clap::Error>() {
        Ok(usage) => usage.exit(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everybody on this host sees command lines.
fn refuse_keys_in_arguments() -> Result<()> {
    let marks = ["PRIVATE KEY-----", "AGE-SECRET-KEY-"];
    let found = std::env::args_os()
        .any(|argument| marks.iter().any(|mark| argument.to_string_lossy().contains(mark)));
    if found {
        bail!(
            "a key on the command line\nhelp: everybody on this host has seen it: make another, and name its file"
        );
    }
    Ok(())
}

/// Private keys, encrypted or plain.
struct Keys(Vec<protect::Passphrase>);

impl Keys {
    fn open(passphrase_files: &[PathBuf]) -> Result<Self> {
        Ok(Self(passphrase_files.iter().map(|path| protect::read_passphrase(path)).collect::<Result<_>>()?))
    }

    fn load(&self, path: &Path) -> Result<SigningKey> {
        protect::read_signing_key(path, &self.for_file(path)?)
    }

    /// Those that were given in files, or what somebody types.
    fn for_file(&self, path: &Path) -> Result<Vec<protect::Passphrase>> {
        if self.0.is_empty() { protect::ask_for_file(path) } else { Ok(self.0.clone()) }
    }
}

fn run(command: Command, keys: &Keys) -> Result<()> {
    match command {
        Command::Init(args) => args.run(now()?),
        Command::Certify(args) => args.run(&keys.load(&args.ca_key)?),
        Command::Station(args) => args.run(|path| keys.load(path)),
        Command::Fuse(args) => args.run(),
        Command::Sync(args) => args.run(|path| keys.load(path)),
        Command::ReturnOrder(args) => args.run(|path| keys.load(path)),
        Command::TakeBack(args) => args.run(|path| keys.load(path)),
        Command::Devices(args) => args.run(),
        Command::Voucher(args) => args.run(),
        Command::Label(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Status(args) => args.run(),
        Command::Tls(args) => args.run(),
        Command::Serve(args) => args.run(),
        Command::PageUser(args) => args.run(),
        Command::ImportKeys(args) => args.run(),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Audit(args) => args.run(),
        Command::Challenge(args) => args.run(),
        Command::Fetch(args) => args.run(),
        Command::Call(args) => args.run(),
        Command::DevInit { dir } => dev_init(&dir),
        Command::SignReference { file, authority } => reference::sign(&file, &keys.load(&authority)?),
        Command::PinRoot(args) => pin_root(&args, keys),
        Command::Lock(args) => lock(&args, keys),
        Command::RotateRoot(args) => rotate_root(&args, keys),
        Command::Decommission(args) => decommission(&args, keys),
        Command::Delegate(Delegate::Publisher { uuids, delegation }) => {
            delegate(&delegation, keys, |root, key, scope| {
                issue::delegate_publisher(root, key, &uuids, scope)
            })
        }
        Command::Delegate(Delegate::Releaser { names, delegation }) => {
            delegate(&delegation, keys, |root, key, scope| issue::delegate_releaser(root, key, &names, scope))
        }
        Command::Delegate(Delegate::Revoker { delegation }) => {
            delegate(&delegation, keys, issue::delegate_revoker)
        }
        Command::Policy(args) => policy(&args, keys),
        Command::Revoke(args) => revoke(&args, keys),
        Command::Release(args) => release(&args, keys),
        Command::Verify(args) => args.run(),
        Command::Seal(args) => args.run(),
        Command::Show { file, json } => show_file(&file, json),
    }
}

fn dev_init(dir: &Path) -> Result<()> {
    let keys = dev::ensure(dir)?;
    let certificate = dir.join(factory::CA_FILE);
    if !certificate.exists() {
        files::write(&certificate, factory::self_signed(&keys.factory_ca)?.as_bytes())?;
    }
    println!("development keys, NOT-TRUSTED: {}", dir.display());
    println!("provisioning authority: {}", keys.authority_hash_path().display());
    Ok(())
}

fn pin_root(args: &PinRoot, keys: &Keys) -> Result<()> {
    let asking = asking(&args.answer, "provision")?;
    let authority = keys.load(&args.authority)?;
    let root = files::load_public(&args.root)?;
    files::write(&args.answer.out, &issue::pin_root(&authority, &root, &asking)?)
}

fn lock(args: &Lock, keys: &Keys) -> Result<()> {
    let asking = asking(&args.answer, "lock")?;
    let authority = keys.load(&args.authority)?;
    let root = files::load_public(&args.root)?.id();
    files::write(&args.answer.out, &issue::lock(&authority, root, &asking)?)
}

fn rotate_root(args: &RotateRoot, keys: &Keys) -> Result<()> {
    let asking = asking(&args.answer, "rotate-root")?;
    let new = files::load_public(&args.new_root)?;
    let (device, id) = (asking.device_id, new.id());
    confirmed(
        args.yes,
        format_args!(
            "device {device} would belong to owner root {id}: this root loses its say over it, and every role it gave ends"
        ),
    )?;
    let root = keys.load(&args.root)?;
    files::write(&args.answer.out, &issue::rotate_root(&root, &new, &asking)?)
}

fn decommission(args: &Decommission, keys: &Keys) -> Result<()> {
    let asking = asking(&args.answer, "decommission")?;
    let device = asking.device_id;
    confirmed(
        args.yes,
        format_args!(
            "device {device} would lose its keys, class keys, enclaves and their data for ever, and never be provisioned again"
        ),
    )?;
    let root = keys.load(&args.root)?;
    files::write(&args.answer.out, &issue::decommission(&root, &asking)?)
}

/// Wrong usage unless `yes`: says what would happen.
fn confirmed(yes: bool, what_would_happen: std::fmt::Arguments<'_>) -> Result<()> {
    if yes {
        return Ok(());
    }
    let text = format!("{what_would_happen}\nhelp: repeat with --yes to issue the statement\n");
    Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, text).into())
}

fn delegate(
    args: &Delegation,
    keys: &Keys,
    issue: impl FnOnce(&SigningKey, &PublicKey, Scope) -> Result<Vec<u8>, IssueError>,
) -> Result<()> {
    let root = keys.load(&args.root)?;
    let key = files::load_public(&args.key)?;
    files::write(&args.order.out, &issue(&root, &key, scope(&args.order)?)?)
}

fn policy(args: &Policy, keys: &Keys) -> Result<()> {
    let root = keys.load(&args.root)?;
    let statement = issue::policy(&root, &args.legacy, args.max_enclaves, scope(&args.order)?)?;
    files::write(&args.order.out, &statement)
}

fn revoke(args: &Revoke, keys: &Keys) -> Result<()> {
    let revoker = keys.load(&args.by)?;
    let root = files::load_public(&args.root)?.id();
    let statement = issue::revoke(&revoker, root, &revoked(&args.items)?, scope(&args.order)?)?;
    files::write(&args.order.out, &statement)
}

fn revoked(items: &Items) -> Result<Vec<Revoked>> {
    let keys = items.keys.iter().map(|key| match parse_hex(key) {
        Some(id) => Ok(Revoked::Key(id)),
        None => files::load_public(Path::new(key)).map(|key| Revoked::Key(key.id())),
    });
    keys.chain(items.enclaves.iter().chain(&items.class_keys).map(|item| Ok(*item))).collect()
}

fn scope(order: &Order) -> Result<Scope> {
    let audience = match (order.device, order.class) {
        (Some(device), _) => Audience::Device(device),
        (None, Some(name)) => Audience::Class(name),
        (None, None) => Audience::Fleet,
    };
    Ok(Scope { audience, sequence: order.sequence.map_or_else(now, Ok)? })
}

fn release(args: &Release, keys: &Keys) -> Result<()> {
    let request = load_request(&args.answer.request)?;
    let Request::KeyImport { device_key, .. } = &request else {
        bail!(wrong_request(&args.answer.request, &request, "key-import"));
    };
    let releaser = keys.load(&args.releaser)?;
    let root = files::load_public(&args.root)?.id();
    let class_keys = ceremony::read_class_keys(&args.class_keys, &keys.for_file(&args.class_keys)?)?;
    let key = (&args.key, class_keys.require(&args.key)?);
    let bundle = issue::release(&releaser, root, &Asking::from(&request), device_key, key)?;
    files::write(&args.answer.out, &bundle)
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

/// The device behind a request of the expected type.
fn asking(answer: &Answer, expected: &str) -> Result<Asking> {
    let request = load_request(&answer.request)?;
    if request.type_name() != expected {
        bail!(wrong_request(&answer.request, &request, expected));
    }
    Ok(Asking::from(&request))
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

fn wrong_request(path: &Path, found: &Request, expected: &str) -> String {
    format!(
        "{}: request is of type {}, expected {expected}\nhelp: check which file was given",
        path.display(),
        found.type_name()
    )
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("clock is before 1970")?.as_secs())
}
