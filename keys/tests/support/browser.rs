//! A browser as far as the server sees one: requests over TLS with cookies, with or without a certificate.

use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use trustbox_keys::tls;

/// One connection, and the cookies so far.
pub struct Browser {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    pub cookies: Vec<(String, String)>,
}

/// What came.
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The secret of the first form.
    pub fn form(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"form\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

impl Browser {
    /// Opens a connection to the page; `client` is the folder of a certificate to show.
    pub async fn open(port: u16, folder: &Path, client: Option<&str>) -> Self {
        let at = |name: &str| folder.join(client.unwrap_or_default()).join(name);
        let (certificate, key) = (at("client.pem"), at("client.key.pem"));
        let own = client.map(|_| (certificate.as_path(), key.as_path()));
        let config = tls::client(&folder.join("ca.pem"), own).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let server = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config).connect(server, stream).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, host: format!("localhost:{port}"), cookies: Vec::new() }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, "", &[]).await
    }

    /// A form, as a browser sends it.
    pub async fn post(&mut self, path: &str, form: &str) -> Page {
        let origin = format!("https://{}", self.host);
        self.send("POST", path, form, &[("origin", &origin), ("sec-fetch-site", "same-origin")]).await
    }

    pub async fn send(&mut self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Page {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder().method(method).uri(path).header("host", &self.host);
        let request = request.header("cookie", cookies.join("; "));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.sender.ready().await.unwrap();
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Page { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// Logs in with the certificate of the connection.
    pub async fn by_certificate(&mut self) -> Page {
        let form = self.get("/login").await.form();
        self.post("/login", &format!("form={form}&method=certificate")).await
    }

    /// Logs in with a password and a code.
    pub async fn by_password(&mut self, name: &str, password: &str, code: &str) -> Page {
        let form = self.get("/login").await.form();
        let password = password.replace(' ', "+");
        self.post(
            "/login",
            &format!("form={form}&method=password&name={name}&password={password}&code={code}"),
        )
        .await
    }
}
