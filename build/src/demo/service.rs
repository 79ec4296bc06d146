//! The key-release service of the demo and of tests: the real program, on this host, over mutual TLS. It has a database and
//! certificates of its own, gone with their folder, and the development keys.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use trustbox_api::key::KeyRef;
use trustbox_keys::client::ServiceKey;
use trustbox_keys::roles::Role;
use trustbox_keys::{DevKeys, files};
use trustbox_package::ClassKey;
use trustbox_package::sign::public_key;

use crate::builder::Builder;
use crate::running::{Running, is_root, wait_for};
use crate::tool::Tool;

/// How long the service may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// The line's client, which enrols devices and asks in their name.
const LINE: &str = "factory-line";
const ADMIN: &str = "admin-demo";
/// The publisher's client, which packs.
const AGENT: &str = "build-agent-publisher";
const CLASS: &str = "demo";

/// A running service.
pub(crate) struct KeyService {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    child: Running,
}

impl KeyService {
    /// Builds and starts it; it knows the development class keys and no device.
    pub(crate) fn start(builder: &Builder, keys: &DevKeys, folder: &Path) -> Result<Self> {
        let program = builder.keys_program()?;
        DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        configure(&program, keys, folder)?;
        let (addresses, log) = (folder.join("addresses.json"), builder.log("trustbox-keys-serve"));
        let mut serve = Tool::new(&program).args(["serve", "--config"]).arg(folder.join("service.toml"));
        if is_root(folder)? {
            serve = serve.arg("--dangerously-as-root");
        }
        let child = serve.arg("--addresses").arg(&addresses).command().stderr(File::create(log)?).spawn()?;
        let child = Running(child);
        let mut service = Self { program, folder: folder.to_path_buf(), url: String::new(), child };
        let address = service.wait_for(&addresses)?;
        service.url = format!("https://{}", address["main"].as_str().context("no address")?);
        Ok(service)
    }

    fn wait_for(&mut self, addresses: &Path) -> Result<Value> {
        let found = wait_for(PATIENCE, || {
            if let Ok(text) = fs::read(addresses) {
                return Ok(Some(serde_json::from_slice(&text)?));
            }
            if let Some(status) = self.child.0.try_wait()? {
                bail!("the key service ended with {status}: see target/tb/logs/trustbox-keys-serve.log");
            }
            Ok(None)
        })?;
        found.with_context(|| format!("the key service does not listen after {} s", PATIENCE.as_secs()))
    }

    /// What the factory says of a device.
    pub(super) fn enrol(&self, device_id: &str, attestation_key: &str, device_key: &str) -> Result<()> {
        let entry =
            json!({"class": CLASS, "attestation_key": attestation_key, "device_key_sha256": device_key});
        self.call(LINE, "PUT", &format!("/v1/devices/{device_id}"), Some(&entry)).map(drop)
    }

    /// A class key of it, for who packs.
    pub(crate) fn class_key(&self, key: KeyRef) -> ServiceKey {
        ServiceKey::new(&self.url, &self.identity(AGENT), key)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The folder with the certificate of the client that packs.
    pub(crate) fn agent(&self) -> PathBuf {
        self.identity(AGENT)
    }

    /// The folder with the certificate of the factory's client.
    pub(crate) fn line(&self) -> PathBuf {
        self.identity(LINE)
    }

    fn identity(&self, client: &str) -> PathBuf {
        self.folder.join("tls").join(client)
    }

    /// A challenge to attest over.
    pub(super) fn challenge(&self) -> Result<String> {
        Ok(self.asking("challenge", LINE).output()?.trim().to_owned())
    }

    /// The bundle with a class key for the device behind request and token.
    pub(super) fn fetch(&self, key: &str, request: &str, token: &[u8]) -> Result<Vec<u8>> {
        let at = |name: &str| self.folder.join(name);
        fs::write(at("request.json"), request)?;
        fs::write(at("token.cbor"), token)?;
        let tool = self.asking("fetch", LINE).args(["--key", key]);
        let tool = tool.arg("--request").arg(at("request.json")).arg("--token").arg(at("token.cbor"));
        tool.arg("--out").arg(at("bundle")).output()?;
        Ok(fs::read(at("bundle"))?)
    }

    /// What an admin says of a device, or of its return.
    pub(crate) fn of_device(&self, device_id: &str, what: &str, body: &Value) -> Result<()> {
        self.call(ADMIN, "POST", &format!("/v1/devices/{device_id}/{what}"), Some(body)).map(drop)
    }

    /// Publishes a revocation, and takes it from where devices get it.
    pub(super) fn revoke(&self, statement: &str) -> Result<String> {
        self.call(ADMIN, "POST", "/v1/revocations", Some(&json!({"statement": statement})))?;
        let listed: Value = serde_json::from_str(&self.call(LINE, "GET", "/v1/revocations", None)?)?;
        let found = listed["revocations"][0]["statement"].as_str();
        Ok(found.context("the service publishes no revocation")?.to_owned())
    }

    /// Verifies the audit log; returns how many records say this action and outcome.
    pub(crate) fn audited(&self, action: &str, outcome: &str) -> Result<usize> {
        let path = self.folder.join("audit.jsonl");
        fs::write(&path, self.call(ADMIN, "GET", "/v1/audit", None)?)?;
        let said = Tool::new(&self.program).args(["audit", "verify"]).arg(&path).output()?;
        ensure!(said.contains("records verified"), "audit verify says {said}");
        let text = fs::read_to_string(&path)?;
        let body = |line: &str| -> Result<Value> {
            let record: Value = serde_json::from_str(line)?;
            Ok(serde_json::from_str(record["body"].as_str().unwrap_or_default())?)
        };
        let bodies = text.lines().map(body).collect::<Result<Vec<_>>>()?;
        Ok(bodies.iter().filter(|body| body["action"] == action && body["outcome"] == outcome).count())
    }

    /// Ends it in good order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        Tool::new("kill").arg("-TERM").arg(self.child.0.id().to_string()).output()?;
        let status = wait_for(PATIENCE, || Ok(self.child.0.try_wait()?))?;
        let status = status.context("the key service does not stop")?;
        ensure!(status.success(), "the key service ended with {status}");
        Ok(())
    }

    fn call(&self, client: &str, method: &str, path: &str, body: Option<&Value>) -> Result<String> {
        let mut tool = self.asking("call", client).args([method, path]);
        if let Some(body) = body {
            let file = self.folder.join("body.json");
            fs::write(&file, body.to_string())?;
            tool = tool.arg("--body").arg(file);
        }
        tool.output()
    }

    fn asking(&self, command: &str, client: &str) -> Tool {
        let tool = Tool::new(&self.program).args([command, "--service", &self.url, "--identity"]);
        tool.arg(self.identity(client))
    }
}

fn configure(program: &Path, keys: &DevKeys, folder: &Path) -> Result<()> {
    // The factory CA's certificate is made with the development keys.
    let dev =
        keys.private_path(Role::FactoryCa).parent().context("development keys have a folder")?.to_path_buf();
    Tool::new(program).arg("dev-init").arg(&dev).output()?;
    let tls = Tool::new(program).arg("tls").arg(folder.join("tls")).args(["--host", "127.0.0.1"]);
    let clients = ["--client", "admin:demo", "--client", "factory:line", "--client", "build-agent:publisher"];
    tls.args(clients).output()?;
    files::write_private(&folder.join("store.key"), ClassKey::generate()?.expose())?;
    let at = |path: PathBuf| path.display().to_string();
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndatabase = \"sqlite:keys.db\"\nowner-root = {:?}\nreleaser = {:?}\nrevokers = [{:?}]\nfactory-ca = {:?}\n\
         [tls]\ncertificate = \"tls/server.pem\"\nkey = \"tls/server.key.pem\"\nclients = \"tls/ca.pem\"\n\
         [vault]\nkind = \"sealed\"\nkey = \"store.key\"\n",
        at(keys.public_path(Role::OwnerRoot)),
        at(keys.private_path(Role::Releaser)),
        at(keys.public_path(Role::Revoker)),
        at(dev.join("factory-ca.pem")),
    );
    fs::write(folder.join("service.toml"), config)?;
    // The emulated device stays provisioned: only a locked one with production firmware is secured.
    let root = public_key(keys.owner_root.verifying_key()).id().to_string();
    let policy = json!({"classes": [CLASS], "evidence": {"lifecycles": [0x2000], "owner-root": root}});
    fs::write(folder.join("policy.json"), policy.to_string())?;
    let import = Tool::new(program).args(["import-keys", "--config"]).arg(folder.join("service.toml"));
    import.arg("--policy").arg(folder.join("policy.json")).arg(keys.class_keys_path()).output()?;
    Ok(())
}
