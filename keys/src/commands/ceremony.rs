//! `trustbox-keys init`, `status` and `tls`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use trustbox_api::Uuid;
use trustbox_api::key::KeyName;
use trustbox_keys::ceremony::protect::{self, Passphrase};
use trustbox_keys::ceremony::{self, Plan, certificates};
use trustbox_keys::protocol::parse_key_name;
use trustbox_keys::service::config::refuse_root;
use trustbox_keys::service::identity::Role;
use trustbox_pkcs11::Uri;

/// Holds the key ceremony: makes every key of an owner, and the statements that delegate.
#[derive(Args)]
pub(crate) struct Init {
    /// Folder of the keys; it must not be there yet
    dir: PathBuf,
    /// A custodian of the owner root, and the file with that one's passphrase, which is asked for where none is named; twice, in the
    /// order in which both give it later
    #[arg(long = "custodian", value_name = "NAME[=FILE]", value_parser = parse_custodian)]
    custodians: Vec<(String, Option<PathBuf>)>,
    /// File with the passphrase of all other keys [default: ask for it]
    #[arg(long, value_name = "FILE")]
    everyday: Option<PathBuf>,
    /// Name of a class key; may be repeated
    #[arg(long = "class-key", value_name = "NAME", required = true, value_parser = parse_name)]
    class_keys: Vec<KeyName>,
    /// Application that the publisher may publish; may be repeated
    #[arg(long = "uuid", value_name = "UUID")]
    uuids: Vec<Uuid>,
    /// Keys that are used every day go into this PKCS#11 token: publisher, releaser, revoker and class keys
    #[arg(long, value_name = "URI")]
    token: Option<Uri>,
    /// Also as root: for tests
    #[arg(long)]
    dangerously_as_root: bool,
}

/// Shows what a ceremony's folder has. Exit status 1 where something is wrong with it.
#[derive(Args)]
pub(crate) struct Status {
    /// The folder
    dir: PathBuf,
}

/// Makes certificates for the service and its clients, where there is no CA for them.
#[derive(Args)]
pub(crate) struct Tls {
    /// Folder of the certificates
    dir: PathBuf,
    /// Name or address of the service; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// A client: admin, auditor, factory, build-agent or device; may be repeated
    #[arg(long = "client", value_name = "ROLE:NAME", value_parser = parse_client)]
    clients: Vec<(Role, String)>,
}

impl Init {
    pub(crate) fn run(&self, now: u64) -> Result<()> {
        refuse_root(self.dangerously_as_root)?;
        let custodian = |(name, file): &(String, Option<PathBuf>)| {
            Ok((name.clone(), passphrase(file.as_deref(), &format!("passphrase of custodian {name}"))?))
        };
        let plan = Plan {
            dir: self.dir.clone(),
            custodians: self.custodians.iter().map(custodian).collect::<Result<_>>()?,
            passphrase: passphrase(self.everyday.as_deref(), "passphrase of all other keys")?,
            class_keys: self.class_keys.clone(),
            uuids: self.uuids.clone(),
            token: self.token.clone(),
            now,
            work_factor: protect::WORK_FACTOR,
        };
        print!("{}", ceremony::init(&plan)?);
        Ok(())
    }
}

impl Status {
    pub(crate) fn run(&self) -> Result<()> {
        let (lines, wrong) = ceremony::status(&self.dir)?;
        lines.iter().for_each(|line| println!("{line}"));
        wrong.iter().for_each(|line| println!("wrong: {line}"));
        match wrong.len() {
            0 => Ok(()),
            count => bail!("{}: {count} things are not as they should be", self.dir.display()),
        }
    }
}

impl Tls {
    pub(crate) fn run(&self) -> Result<()> {
        certificates::ensure_all(&self.dir, &self.hosts, &self.clients)
    }
}

fn passphrase(file: Option<&Path>, what: &str) -> Result<Passphrase> {
    file.map_or_else(|| protect::ask_for_new(what), protect::read_passphrase)
}

fn parse_custodian(text: &str) -> Result<(String, Option<PathBuf>)> {
    let (name, file) = text.split_once('=').map_or((text, None), |(name, file)| (name, Some(file.into())));
    if name.is_empty() {
        bail!("a custodian is NAME or NAME=FILE");
    }
    Ok((name.to_owned(), file))
}

fn parse_name(text: &str) -> Result<KeyName> {
    Ok(parse_key_name(text).ok_or_else(|| anyhow!("not a key name: letters, digits, - _ ."))?.name)
}

fn parse_client(text: &str) -> Result<(Role, String)> {
    let (role, name) = text.split_once(':').context("a client is ROLE:NAME")?;
    let role = Role::parse(role).with_context(|| format!("{role} is no role"))?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(good) || name.starts_with('.') {
        bail!("not a name: letters, digits, - _ .");
    }
    Ok((role, name.to_owned()))
}
