//! A small HTTP client over TLS: one connection that is kept, requests one after the other. For `trustbox-keys` itself, for
//! webhooks and for measuring the service.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::protocol::Problem;
use crate::service::tls;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 16 << 20;

/// A connection to one host.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    path: String,
}

/// What came back.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
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
        let stream = stream.with_context(|| format!("cannot connect to {host}"))?;
        stream.set_nodelay(true)?;
        let server = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())?;
        let stream = TlsConnector::from(tls).connect(server, stream).await;
        let stream = stream.with_context(|| format!("no TLS connection to {host}"))?;
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
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok(Answer { status, body: body.map_err(|error| anyhow!("{error}"))?.to_bytes().to_vec() })
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
        bail!("refused, number {}: {}: {}{rule}{help}", problem.number, problem.title, problem.detail)
    }
}

/// Whom a client believes, and what it shows: PEM files.
pub fn identity(ca: &Path, certificate: &Path, key: &Path) -> Result<Arc<ClientConfig>> {
    tls::client(ca, Some((certificate, key)))
}
