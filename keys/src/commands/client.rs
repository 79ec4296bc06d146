//! `trustbox-keys challenge`, `fetch` and `call`: the service's client.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde_json::{Value, json};
use trustbox_keys::client::{Connection, blocking};
use trustbox_keys::files;
use trustbox_package::Request;

/// The service, and who asks it.
#[derive(Args)]
pub(crate) struct Service {
    /// The service
    #[arg(long, value_name = "https://HOST:PORT")]
    service: String,
    /// Folder with ca.pem, client.pem and client.key.pem
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
}

/// Asks for a challenge, and prints it: for `trustbox attest --nonce`.
#[derive(Args)]
pub(crate) struct Challenge {
    #[command(flatten)]
    service: Service,
    /// Seconds that it must be good for, for a device without a network
    #[arg(long, value_name = "N")]
    lifetime: Option<u64>,
}

/// Fetches a class key for a device: a bundle for `trustbox key import`, over the network or as a file.
#[derive(Args)]
pub(crate) struct Fetch {
    #[command(flatten)]
    service: Service,
    /// Name of the key
    #[arg(long, value_name = "NAME")]
    key: String,
    /// Its version [default: the newest]
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// What `trustbox key import --request` wrote on the device
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// What `trustbox attest --out` wrote on the device, over a challenge of the service
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// Where to write the bundle
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Any other operation of the service: see its OpenAPI document. Prints the answer.
#[derive(Args)]
pub(crate) struct Call {
    #[command(flatten)]
    service: Service,
    /// GET, PUT or POST
    method: String,
    /// Path, for example /v1/keys
    path: String,
    /// File with the body, JSON
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
}

impl Service {
    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.run(async |mut connection| connection.call(method, path, body).await)
    }

    fn run<T>(&self, work: impl AsyncFnOnce(Connection) -> Result<T>) -> Result<T> {
        blocking(&self.service, &self.identity, work)
    }
}

impl Challenge {
    pub(crate) fn run(&self) -> Result<()> {
        let body = self.lifetime.map_or(json!({}), |lifetime| json!({"lifetime": lifetime}));
        let answer = self.service.call("POST", "/v1/challenges", &body)?;
        println!("{}", answer["nonce"].as_str().context("the answer has no nonce")?);
        Ok(())
    }
}

impl Fetch {
    pub(crate) fn run(&self) -> Result<()> {
        let request: Request = read_json(&self.request, Request::from_json)?;
        let token = BASE64_STANDARD.encode(&*files::read(&self.token)?);
        let mut body = json!({"key": self.key, "request": request, "token": token});
        if let Some(version) = self.version {
            body["version"] = version.into();
        }
        let answer = self.service.call("POST", "/v1/releases", &body)?;
        let bundle = answer["bundle"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
        files::write(&self.out, &bundle.context("the answer has no bundle")?)?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        println!(
            "release {}: {} version {}: {}",
            text("release"),
            text("key"),
            answer["version"],
            self.out.display()
        );
        Ok(())
    }
}

impl Call {
    pub(crate) fn run(&self) -> Result<()> {
        let body = match &self.body {
            Some(path) => fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => Vec::new(),
        };
        let answer = self
            .service
            .run(async |mut connection| connection.send(&self.method, Some(&self.path), body, &[]).await)?;
        if !(200..300).contains(&answer.status) {
            answer.json()?;
        }
        print!("{}", String::from_utf8_lossy(&answer.body));
        if !answer.body.ends_with(b"\n") {
            println!();
        }
        Ok(())
    }
}

fn read_json<T, E: std::fmt::Display>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<T> {
    let bytes = files::read(path)?;
    parse(&bytes).map_err(|error| anyhow!("{}: {error}", path.display()))
}
