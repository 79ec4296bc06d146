//! A key service on this host with its database in a folder of its own, devices that are keys in memory, and clients.
#![allow(dead_code, reason = "every test program uses a part of it")]

pub mod bench;
pub mod browser;
pub mod factory_line;
pub mod fuse_plan;
pub mod line;
pub mod load;
pub mod package;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use rsa::pkcs8::EncodePublicKey;
use rsa::{Oaep, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use trustbox_api::launch::Enclave;
use trustbox_api::message::{Huk, ReportData, RollbackProtection, Version};
use trustbox_api::statement::{Envelope, Header, KeyBundle};
use trustbox_api::token::Claims;
use trustbox_api::{Bytes, wire};
use trustbox_keys::audit::{self, Head};
use trustbox_keys::ceremony::certificates;
use trustbox_keys::client::{Answer, Connection, identity};
use trustbox_keys::factory::{self, Authority, Requested};
use trustbox_keys::service::Service;
use trustbox_keys::service::config::Config;
use trustbox_keys::service::identity::Role;
use trustbox_keys::service::server::Running;
use trustbox_keys::{DevKeys, dev, files};
use trustbox_package::Request;
use trustbox_package::sign::public_key;

/// Clients of every world.
pub const CLIENTS: [(Role, &str); 6] = [
    (Role::Admin, "alice"),
    (Role::Admin, "bob"),
    (Role::Auditor, "carol"),
    (Role::Factory, "line-1"),
    (Role::BuildAgent, "builder"),
    (Role::Device, "gateway"),
];

/// RSA keys take long to make; all devices of a process share this one but for tests that say otherwise.
static DEVICE_KEY: LazyLock<RsaPrivateKey> =
    LazyLock::new(|| RsaPrivateKey::new(&mut UnwrapErr(SysRng), 2048).unwrap());

/// A folder with certificates, keys and a configuration.
pub struct World {
    pub dir: TempDir,
    pub keys: DevKeys,
}

impl World {
    /// With SQLite and sealed keys.
    pub fn new() -> Self {
        Self::with("sqlite:keys.db", "kind = \"sealed\"\nkey = \"store.key\"\n", "")
    }

    /// With a database, a vault and what else the configuration says in front of its tables.
    pub fn with(database: &str, vault: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let clients: Vec<_> = CLIENTS.iter().map(|(role, name)| (*role, (*name).to_owned())).collect();
        certificates::ensure_all(
            &dir.path().join("tls"),
            &["localhost".to_owned(), "127.0.0.1".to_owned()],
            &clients,
        )
        .unwrap();
        let keys = dev::ensure(&dir.path().join("dev")).unwrap();
        files::write_private(&dir.path().join("store.key"), &[7; 32]).unwrap();
        let world = Self { dir, keys };
        world.configure(database, vault, more);
        world
    }

    /// Writes the configuration anew.
    pub fn configure(&self, database: &str, vault: &str, more: &str) {
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndatabase = \"{database}\"\nowner-root = \"dev/owner-root.pub.pem\"\n\
             releaser = \"dev/releaser.key.pem\"\nrevokers = [\"dev/revoker.pub.pem\"]\noperations = \"127.0.0.1:0\"\n\
             {more}\n[tls]\ncertificate = \"tls/server.pem\"\nkey = \"tls/server.key.pem\"\nclients = \"tls/ca.pem\"\n\
             [vault]\n{vault}"
        );
        fs::write(self.path("service.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> Config {
        Config::load(&self.path("service.toml")).unwrap()
    }

    /// The factory of the configuration, `factory-ca.pem`.
    pub fn factory(&self) -> Authority {
        let path = self.path("factory-ca.pem");
        files::write(&path, factory::self_signed(&self.keys.factory_ca).unwrap().as_bytes()).unwrap();
        Authority::open(&path, &self.keys.factory_ca).unwrap()
    }

    /// Starts a service on the configuration.
    pub async fn start(&self) -> Live {
        let service = Service::open(self.config()).await.unwrap();
        let running = Running::start(service).await.unwrap();
        let tls = self.path("tls");
        Live { url: format!("https://localhost:{}", running.addresses.main.port()), running, tls }
    }
}

/// A service that runs in this process.
pub struct Live {
    pub running: Running,
    pub url: String,
    tls: std::path::PathBuf,
}

impl Live {
    /// A connection of a client, for example `admin-alice`.
    pub async fn client(&self, name: &str) -> Client {
        connect(&self.url, &self.tls.join(name)).await
    }

    /// Where metrics and health are.
    pub async fn operations(&self, path: &str) -> (u16, String) {
        plain(self.running.addresses.operations.unwrap(), "GET", path, "").await
    }
}

/// A client with its connection.
pub struct Client(pub Connection);

pub async fn connect(url: &str, folder: &Path) -> Client {
    Client(Connection::open(url, identity(folder).unwrap()).await.unwrap())
}

impl Client {
    pub async fn send(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.0.send(method, Some(path), body, &[]).await.unwrap()
    }

    /// Must succeed.
    pub async fn ok(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(method, path, body).await;
        answer.json().unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    }

    /// Must be refused with this status and this kind of problem; returns the problem.
    pub async fn refused(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
        status: u16,
        kind: &str,
    ) -> Value {
        let answer = self.send(method, path, body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{method} {path}: {text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["type"], format!("urn:trustbox:problem:{kind}"), "{text}");
        assert_eq!(problem["status"], status);
        problem
    }

    /// The whole audit log, verified.
    pub async fn audit(&mut self) -> (Head, Vec<Value>) {
        let (mut text, mut after) = (String::new(), 0);
        loop {
            let page =
                self.0.send("GET", Some(&format!("/v1/audit?after={after}")), Vec::new(), &[]).await.unwrap();
            assert_eq!(page.status, 200);
            if page.body.is_empty() {
                break;
            }
            let page = String::from_utf8(page.body).unwrap();
            let last: audit::Record = serde_json::from_str(page.lines().last().unwrap()).unwrap();
            after = last.sequence;
            text += &page;
        }
        let head = audit::verify(&text).unwrap();
        let record = |line: &str| serde_json::from_str::<audit::Record>(line).unwrap();
        (head, text.lines().map(|line| serde_json::from_str(&record(line).body).unwrap()).collect())
    }
}

/// A request in the clear, on a connection of its own.
pub async fn plain(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// A device: what its TA would keep and say.
#[derive(Clone)]
pub struct Device {
    pub id: Bytes<32>,
    pub attestation: SigningKey,
    pub key: Arc<RsaPrivateKey>,
    pub lifecycle: u16,
    /// The device key that the token binds, where it is not its own.
    pub bound: Option<Bytes<32>>,
}

impl Device {
    pub fn new(number: u8) -> Self {
        Self {
            id: Bytes([number; 32]),
            attestation: files::generate().unwrap(),
            key: Arc::new(DEVICE_KEY.clone()),
            lifecycle: 0x3000,
            bound: None,
        }
    }

    pub fn device_key(&self) -> Vec<u8> {
        self.key.to_public_key().to_public_key_der().unwrap().as_bytes().to_vec()
    }

    /// What the factory enrols.
    pub fn entry(&self, class: &str) -> Value {
        json!({
            "class": class,
            "attestation_key": BASE64_STANDARD.encode(public_key(self.attestation.verifying_key()).spki()),
            "device_key_sha256": sha256(&self.device_key()).to_string(),
        })
    }

    pub fn path(&self) -> String {
        format!("/v1/devices/{}", self.id)
    }

    /// What the device would ask the factory to certify.
    pub fn requested(&self) -> Requested {
        Requested {
            device_id: self.id,
            attestation_key: public_key(self.attestation.verifying_key()),
            device_key: self.device_key(),
        }
    }

    /// What the factory enrols, with its certificates.
    pub fn certified(&self, class: &str, authority: &Authority) -> Value {
        let (requested, token) = (self.requested(), self.token(&[1; 32]));
        let certified =
            authority.certify(&requested, &requested.attested(&token, &[1; 32]).unwrap()).unwrap();
        let mut entry = self.entry(class);
        entry["certificate"] = BASE64_STANDARD.encode(certified.attestation).into();
        entry["device_key_certificate"] = BASE64_STANDARD.encode(certified.device_key).into();
        entry
    }

    /// The question for a key, with a token over the challenge.
    pub fn asks(&self, key: &str, challenge: &str, nonce: u8) -> Value {
        let request = Request::KeyImport {
            device_id: self.id,
            nonce: Bytes([nonce; 32]),
            device_key: self.device_key(),
        };
        let request: Value = serde_json::from_str(&request.to_json().unwrap()).unwrap();
        json!({"key": key, "request": request, "token": BASE64_STANDARD.encode(self.token(&from_hex(challenge)))})
    }

    /// A token as the TA makes it.
    pub fn token(&self, nonce: &[u8]) -> Vec<u8> {
        self.signed(nonce, &[], None)
    }

    /// An enclave's report as the TA makes it.
    pub fn report(&self, nonce: &[u8], enclave: Enclave, data: &ReportData) -> Vec<u8> {
        self.signed(nonce, &[enclave], Some(data))
    }

    fn signed(&self, nonce: &[u8], enclaves: &[Enclave], report: Option<&ReportData>) -> Vec<u8> {
        let claims = Claims {
            nonce,
            attestation_key: public_key(self.attestation.verifying_key()).id(),
            boot: Bytes([5; 16]),
            lifecycle: self.lifecycle,
            board: "board",
            firmware: [(Bytes([8; 32]), Version(4, 10, 0)), (Bytes([8; 32]), Version(0, 1, 0))],
            enclaves,
            wrapping_key: self.bound.unwrap_or_else(|| sha256(&self.device_key())),
            rollback_protection: RollbackProtection::Rpmb,
            hardware_key: Huk::Unique,
            epoch: 3,
            log: ([0; 3], Bytes([9; 32])),
            owner_root: None,
            report,
        };
        let mut token = vec![0; 2048];
        let sign = |digest: &[u8; 32]| {
            let signature: Signature = self.attestation.sign_prehash(digest).unwrap();
            Ok(Bytes(signature.to_bytes().into()))
        };
        let length = claims.sign(&mut token, sign).unwrap();
        token.truncate(length);
        token
    }

    /// The class key in a bundle, which must be for this device and of this releaser.
    pub fn open(&self, bundle: &str, keys: &DevKeys) -> (u32, Vec<u8>) {
        let bytes = BASE64_STANDARD.decode(bundle).unwrap();
        let envelope: Envelope = wire::decode(&bytes).unwrap();
        assert!(trustbox_package::verify::statement(&envelope));
        assert_eq!(envelope.signer, public_key(keys.releaser.verifying_key()));
        let (header, body) = wire::decode_prefix::<Header>(envelope.payload).unwrap();
        assert_eq!(header.audience, trustbox_api::statement::Audience::Device(self.id));
        assert_eq!(header.root, public_key(keys.owner_root.verifying_key()).id());
        let body: KeyBundle = wire::decode(body).unwrap();
        assert_eq!(header.sequence, u64::from(body.key.version));
        (body.key.version, self.key.decrypt(Oaep::<Sha256>::new(), body.wrapped).unwrap())
    }
}

pub fn sha256(bytes: &[u8]) -> Bytes<32> {
    Bytes(Sha256::digest(bytes).into())
}

pub fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
        .collect()
}

/// A world where a device may have the key `meter`.
pub async fn ready(live: &Live) -> (Client, Client, Device) {
    let device = Device::new(0xd1);
    let mut admin = live.client("admin-alice").await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {}})).await;
    let mut factory = live.client("factory-line-1").await;
    factory.ok("PUT", &device.path(), &device.entry("edge")).await;
    (admin, factory, device)
}

pub async fn challenge(client: &mut Client) -> String {
    let answer = client.ok("POST", "/v1/challenges", &json!({})).await;
    answer["nonce"].as_str().unwrap().to_owned()
}

/// A release that must succeed.
pub async fn release(client: &mut Client, device: &Device, key: &str, nonce: u8) -> Value {
    let challenge = challenge(client).await;
    client.ok("POST", "/v1/releases", &device.asks(key, &challenge, nonce)).await
}
