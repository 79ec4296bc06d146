//! A small HTTP client over TLS: one connection that is kept, requests one after the other. For `trustbox-keys` itself, for
//! publishers whose class keys are in the service, for webhooks and for measuring the service.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes as Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use trustbox_api::key::KeyRef;
use trustbox_api::manifest::{NONCE_SIZE, WrappedKey};
use trustbox_api::{Bytes, Secret};
use trustbox_package::seal::{SealError, WrapContentKey};
use zeroize::Zeroizing;

use crate::protocol::{ContentKeyAnswer, ContentKeyRequest, Problem};
use crate::tls;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 16 << 20;

/// A connection to one host.
pub struct Connection {
    sender: SendRequest<Full<Body>>,
    host: String,
    path: String,
}

/// Why nothing came of a request, for those who say what to do then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// The service does not answer.
    #[error("{0}")]
    Unreached(String),
    /// Its certificate is not valid at this host's time.
    #[error("{0}: its certificate is not valid at this host's time")]
    Time(String),
    /// It refuses: the name of the problem, and what it says.
    #[error("{1}")]
    Refused(String, String),
}

/// What came back.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The service's time, in seconds since 1970.
    pub time: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects to `https://HOST[:PORT][/PATH]`.
    pub async fn open(url: &str, tls: Arc<ClientConfig>) -> Result<Self> {
        let rest =
            url.strip_prefix("https://").with_context(|| format!("{url}: does not begin with https://"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) => (name, port.parse().with_context(|| format!("{url}: not a port: {port}"))?),
            None => (host, 443),
        };
        let stream = TcpStream::connect((name.trim_matches(['[', ']']), port)).await;
        let stream = stream.with_context(|| Trouble::Unreached(format!("cannot connect to {host}")))?;
        stream.set_nodelay(true)?;
        let server = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())?;
        let stream = TlsConnector::from(tls).connect(server, stream).await;
        let stream = stream.map_err(|error| no_tls(host, error))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: host.to_owned(), path: format!("/{path}") })
    }

    /// Sends a request, to the URL's path where no other is named.
    pub async fn send(
        &mut self,
        method: &str,
        path: Option<&str>,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let request =
            Request::builder().method(method).uri(path.unwrap_or(&self.path)).header("host", &self.host);
        let request = request.header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let gone = || Trouble::Unreached(format!("{} does not answer any more", self.host));
        self.sender.ready().await.with_context(gone)?;
        let response = self.sender.send_request(request.body(Full::new(Body::from(body)))?).await;
        let response = response.with_context(gone)?;
        let status = response.status().as_u16();
        let time = response.headers().get("date").and_then(|date| date.to_str().ok());
        let time = time.and_then(|date| httpdate::parse_http_date(date).ok());
        let time = time.and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs()));
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok(Answer { status, time, body: body.map_err(|error| anyhow!("{error}"))?.to_bytes().to_vec() })
    }

    /// Sends JSON; an answer that refuses is an error with what it says.
    pub async fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, Some(path), body, &[]).await?.json()
    }
}

impl Answer {
    /// The JSON of a good answer.
    pub fn json(&self) -> Result<Value> {
        if (200..300).contains(&self.status) {
            return serde_json::from_slice(&self.body).context("the answer is not JSON");
        }
        let problem: Problem = serde_json::from_slice(&self.body)
            .map_err(|_| anyhow!("the service answers with status {}", self.status))?;
        let rule = problem.rule.map(|rule| format!(" (rule {rule})")).unwrap_or_default();
        let help = problem.help.map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        let text =
            format!("refused, number {}: {}: {}{rule}{help}", problem.number, problem.title, problem.detail);
        let name = problem.kind.rsplit(':').next().unwrap_or_default().to_owned();
        bail!(Trouble::Refused(name, text))
    }
}

fn no_tls(host: &str, error: io::Error) -> Error {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let time = match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            matches!(why, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
        }
        _ => false,
    };
    let what = format!("no TLS connection to {host}");
    let trouble = if time { Trouble::Time(what) } else { Trouble::Unreached(what) };
    Error::from(error).context(trouble)
}

/// Whom a client believes, and what it shows: a folder with `ca.pem`, `client.pem` and `client.key.pem`.
pub fn identity(folder: &Path) -> Result<Arc<ClientConfig>> {
    let file = |name: &str| folder.join(name);
    tls::client(&file("ca.pem"), Some((&file("client.pem"), &file("client.key.pem"))))
}

/// Connects and works, for a program that has no runtime of its own.
pub fn blocking<T>(
    url: &str,
    identity_folder: &Path,
    work: impl AsyncFnOnce(Connection) -> Result<T>,
) -> Result<T> {
    let tls = identity(identity_folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { work(Connection::open(url, tls).await?).await })
}

/// A class key in the service, for those who pack: content keys go there to be wrapped, and the class key stays where it is.
pub struct ServiceKey {
    url: String,
    identity: PathBuf,
    key: KeyRef,
}

impl ServiceKey {
    /// A key of the service at `url`, to which the folder `identity` shows who asks: role `build-agent` or `admin`.
    pub fn new(url: &str, identity: &Path, key: KeyRef) -> Self {
        Self { url: url.to_owned(), identity: identity.to_owned(), key }
    }

    fn call(&self, additional: &[u8], content_key: &Secret<32>) -> Result<WrappedKey> {
        let request = ContentKeyRequest {
            manifest: BASE64_STANDARD.encode(additional),
            content_key: Zeroizing::new(BASE64_STANDARD.encode(content_key.expose())),
        };
        let path = format!("/v1/keys/{}/content-keys", self.key.name);
        let body = serde_json::to_vec(&request)?;
        let answer = blocking(&self.url, &self.identity, async |mut connection| {
            connection.send("POST", Some(&path), body, &[]).await
        });
        let answer: ContentKeyAnswer = serde_json::from_value(answer?.json()?)?;
        let wrapped = answer.wrapped_key().context("the answer has no wrapped key")?;
        ensure!(
            (answer.key.as_str(), answer.version) == (self.key.name.as_str(), self.key.version),
            "the service wrapped with another key"
        );
        Ok(wrapped)
    }
}

impl WrapContentKey for ServiceKey {
    /// The service takes a nonce of its own.
    fn wrap(
        &self,
        _: &Bytes<NONCE_SIZE>,
        additional: &[u8],
        content_key: &Secret<32>,
    ) -> Result<WrappedKey, SealError> {
        let wrapped = self.call(additional, content_key);
        wrapped.map_err(|error| SealError::Elsewhere(format!("key service {}: {error:#}", self.url)))
    }
}
