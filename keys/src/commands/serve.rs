//! `trustbox-keys serve`, and what is done to its database without it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use trustbox_keys::audit;
use trustbox_keys::ceremony::{self, protect};
use trustbox_keys::files;
use trustbox_keys::policy::Policy;
use trustbox_keys::service::config::{Config, refuse_root};
use trustbox_keys::service::keys::add;
use trustbox_keys::service::server::Running;
use trustbox_keys::service::store::Store;
use trustbox_keys::service::store::change::Event;
use trustbox_keys::service::store::writer::Writer;
use trustbox_keys::service::{Service, failed, open_vault};
use trustbox_package::class_key;

/// Runs the key-release service. Logs JSON lines on standard error; ends with SIGTERM.
#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    database: Database,
    /// Also as root: for tests
    #[arg(long)]
    dangerously_as_root: bool,
    /// Write the addresses it listens on to this file, as JSON
    #[arg(long, value_name = "FILE")]
    addresses: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Database {
    /// The service's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/trustbox-keys/service.toml")]
    config: PathBuf,
}

/// Brings class keys of a file into the service's database; keys that are there already are refused.
#[derive(Args)]
pub(crate) struct ImportKeys {
    #[command(flatten)]
    database: Database,
    /// Class keys: a ceremony's class-keys.json.age, or a store in plain
    file: PathBuf,
    /// Policy of the imported keys, JSON
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Writes a backup of the service's database: JSON lines, the same for SQLite and PostgreSQL.
#[derive(Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    database: Database,
    /// The backup; it must not be there yet
    file: PathBuf,
}

/// Fills an empty database from a backup.
#[derive(Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    database: Database,
    /// The backup
    file: PathBuf,
}

/// The audit log.
#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Verify an export: every record, in order, up to the head, which is printed
    Verify {
        /// The export, JSON lines
        file: PathBuf,
        /// A head that was noted elsewhere; it must be in the export
        #[arg(long, value_name = "SEQUENCE:HASH")]
        head: Option<String>,
    },
    /// Export all records from the database
    Export {
        #[command(flatten)]
        database: Database,
        /// Where to write them
        file: PathBuf,
    },
}

impl Serve {
    pub(crate) fn run(&self) -> Result<()> {
        refuse_root(self.dangerously_as_root)?;
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
        tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter).init();
        runtime()?.block_on(self.serve())
    }

    async fn serve(&self) -> Result<()> {
        let service = Service::open(Config::load(&self.database.config)?).await?;
        let releaser = service.releaser_id();
        let running = Running::start(service).await?;
        let addresses = running.addresses;
        tracing::info!(listen = %addresses.main, releaser = %releaser, "ready");
        if let Some(path) = &self.addresses {
            let other = |address: Option<std::net::SocketAddr>| address.map(|address| address.to_string());
            let text = serde_json::json!({
                "main": addresses.main.to_string(),
                "operations": other(addresses.operations),
                "page": other(addresses.page),
                "compatibility": other(addresses.compatibility),
            });
            files::write(path, text.to_string().as_bytes())?;
        }
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        running.stop().await;
        tracing::info!("stopped");
        Ok(())
    }
}

impl Database {
    async fn open(&self) -> Result<(Config, Store)> {
        let config = Config::load(&self.config)?;
        let store = Store::open(&config.database, 1).await?;
        Ok((config, store))
    }
}

impl ImportKeys {
    pub(crate) fn run(&self) -> Result<()> {
        runtime()?.block_on(self.import())
    }

    async fn import(&self) -> Result<()> {
        let (config, store) = self.database.open().await?;
        let passphrase = protect::passphrase_of_service(config.passphrase_file.as_deref())?;
        let keys = ceremony::read_class_keys(&self.file, &passphrase)?;
        let policy: Policy = match &self.policy {
            Some(path) => {
                serde_json::from_slice(&files::read(path)?).with_context(|| path.display().to_string())?
            }
            None => Policy::default(),
        };
        let (vault, policy) = (open_vault(&config)?, serde_json::to_string(&policy)?);
        let writer = Writer::start(&store, config.instance.clone());
        for key in keys.refs() {
            let material = vault.import(&key, keys.require(&key)?).await.map_err(failed)?;
            let known = store.key(key.name.as_str()).await.map_err(failed)?;
            if known.as_ref().is_some_and(|known| known.versions.iter().any(|row| row.version == key.version))
            {
                bail!("class key {} is in the database already", class_key::name(&key));
            }
            let new = known.is_none().then_some(policy.as_str());
            let event = Event {
                actor: "operator".to_owned(),
                action: "import-key",
                object: class_key::name(&key),
                outcome: "allowed",
                reason: String::new(),
            };
            writer.change(event, add(&key, &material, new)).await.map_err(failed)?;
            println!("imported {}", class_key::name(&key));
        }
        Ok(())
    }
}

impl Backup {
    pub(crate) fn run(&self) -> Result<()> {
        runtime()?.block_on(async {
            let (_, store) = self.database.open().await?;
            let file = File::options().write(true).create_new(true).mode(0o600).open(&self.file);
            let file = file.with_context(|| format!("cannot make {}", self.file.display()))?;
            let mut out = BufWriter::new(file);
            let head = store.backup(&mut out).await?;
            out.into_inner()?.sync_all()?;
            println!("{}:{}", head.sequence, head.hash);
            Ok(())
        })
    }
}

impl Restore {
    pub(crate) fn run(&self) -> Result<()> {
        runtime()?.block_on(async {
            let file =
                File::open(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
            let (_, store) = self.database.open().await?;
            let head =
                store.restore(BufReader::new(file)).await.with_context(|| self.file.display().to_string())?;
            println!("{}:{}", head.sequence, head.hash);
            Ok(())
        })
    }
}

impl Audit {
    pub(crate) fn run(&self) -> Result<()> {
        match self {
            Self::Verify { file, head } => verify(file, head.as_deref()),
            Self::Export { database, file } => runtime()?.block_on(export(database, file)),
        }
    }
}

fn verify(file: &std::path::Path, noted: Option<&str>) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let head = audit::verify(&text).with_context(|| file.display().to_string())?;
    if let Some(noted) = noted {
        let noted = audit::parse_head(noted).context("--head: not SEQUENCE:HASH")?;
        let until: String =
            text.lines().take(noted.sequence as usize).map(|line| format!("{line}\n")).collect();
        ensure!(
            audit::verify(&until)? == noted,
            "{}: the noted head is not in it: this is another log",
            file.display()
        );
    }
    println!("{} records verified, head {}:{}", head.sequence, head.sequence, head.hash);
    Ok(())
}

async fn export(database: &Database, path: &std::path::Path) -> Result<()> {
    let (_, store) = database.open().await?;
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let (mut out, mut after) = (BufWriter::new(file), 0);
    loop {
        let records = store.audit(after).await.map_err(failed)?;
        let Some(last) = records.last() else { break };
        after = last.sequence;
        for record in &records {
            writeln!(out, "{}", serde_json::to_string(record)?)?;
        }
    }
    out.flush()?;
    println!("{after} records");
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
