//! Azure Key Vault or Managed HSM as the keeper of class keys, by its REST interface 7.4. **Not tried live**: tests hold requests and
//! answers against the published shapes.
//!
//! A class key is made here and wrapped (`wrapkey`, RSA-OAEP-256) by a key of the vault that never leaves it; the database keeps
//! what came back. To release it, the vault unwraps it (`unwrapkey`) into this process's memory, where it is wrapped for the
//! device. Azure's own secure key release (`release`) gives a key to an environment that Microsoft's attestation service
//! vouches for, which our devices are not; [`Azure::release`] is the call for owners whose other environments are.
//!
//! The access token comes from a file that the host's identity agent keeps fresh, and is read for every call.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::ClientConfig;
use serde_json::{Value, json};
use trustbox_package::ClassKey;
use zeroize::Zeroizing;

use crate::client::Connection;
use crate::{files, tls};

const VERSION: &str = "7.4";
const ALGORITHM: &str = "RSA-OAEP-256";
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A key of a vault.
pub struct Azure {
    /// `https://NAME.vault.azure.net/keys/KEY/VERSION`, or of a Managed HSM.
    key: String,
    token: PathBuf,
    tls: Arc<ClientConfig>,
}

impl Azure {
    /// A key by its identifier; `token` is the file with the access token, `ca` whom to believe.
    pub fn new(key: &str, token: &Path, ca: &Path) -> Result<Self> {
        let parts = key.strip_prefix("https://").map(|rest| rest.split('/').collect::<Vec<_>>());
        let whole = parts.is_some_and(|parts| {
            parts.len() == 4 && parts[1] == "keys" && parts.iter().all(|part| !part.is_empty())
        });
        ensure!(
            whole,
            "{key}: not the identifier of a key\nhelp: https://NAME.vault.azure.net/keys/KEY/VERSION"
        );
        Ok(Self { key: key.to_owned(), token: token.to_owned(), tls: tls::client(ca, None)? })
    }

    /// Wraps a class key; returns what the vault gives, in base64url.
    pub async fn wrap(&self, value: &ClassKey) -> Result<String> {
        let value = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(value.expose()));
        let answer = self.call("wrapkey", &json!({"alg": ALGORITHM, "value": *value})).await?;
        text(&answer, "value").map(str::to_owned)
    }

    /// Unwraps what [`Self::wrap`] returned.
    pub async fn unwrap(&self, wrapped: &str) -> Result<Zeroizing<Vec<u8>>> {
        let answer = self.call("unwrapkey", &json!({"alg": ALGORITHM, "value": wrapped})).await?;
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(text(&answer, "value")?);
        Ok(Zeroizing::new(decoded.ok().context("the vault's answer is not base64url")?))
    }

    /// Asks for secure key release to the environment that an attestation token of Microsoft's service is about; returns the
    /// signed object with the key, wrapped for that environment.
    pub async fn release(&self, target: &str, nonce: &str) -> Result<String> {
        let body = json!({"target": target, "nonce": nonce, "enc": "RSA_AES_KEY_WRAP_256"});
        let answer = self.call("release", &body).await?;
        text(&answer, "value").map(str::to_owned)
    }

    async fn call(&self, operation: &str, body: &Value) -> Result<Value> {
        let token = files::read_private(&self.token)?;
        let token = std::str::from_utf8(&token).ok().context("the access token is not a text")?.trim();
        let authorization = Zeroizing::new(format!("Bearer {token}"));
        let url = format!("{}/{operation}?api-version={VERSION}", self.key);
        let called = async {
            let mut connection = Connection::open(&url, Arc::clone(&self.tls)).await?;
            let headers = [("authorization", authorization.as_str())];
            connection.send("POST", None, body.to_string().into_bytes(), &headers).await
        };
        let answer = tokio::time::timeout(PATIENCE, called).await.context("the vault does not answer")??;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status != 200 {
            // The code only: the vault's message may name more than belongs in a log.
            bail!(
                "the vault answers {operation} with status {}, code {}",
                answer.status,
                value["error"]["code"]
            );
        }
        Ok(value)
    }
}

fn text<'a>(answer: &'a Value, name: &str) -> Result<&'a str> {
    answer[name].as_str().with_context(|| format!("the vault's answer has no {name}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::ceremony::certificates;
    use crate::service::config::Tls;
    use crate::service::tls::one_sided;

    /// Answers one call; returns what was asked.
    async fn exchange(listener: &TcpListener, tls: &TlsAcceptor, answer: &str) -> String {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(stream).await.unwrap();
        let (mut asked, mut size) = (vec![0; 4096], 0);
        while !asked[..size].ends_with(b"}") {
            size += stream.read(&mut asked[size..]).await.unwrap();
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&asked[..size]).into_owned()
    }

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn requests_and_answers_have_the_published_shapes() {
        let dir = tempfile::tempdir().unwrap();
        certificates::ensure_all(dir.path(), &["localhost".to_owned()], &[]).unwrap();
        let at = |name: &str| dir.path().join(name);
        let tls = Tls { certificate: at("server.pem"), key: at("server.key.pem"), clients: at("ca.pem") };
        let acceptor = TlsAcceptor::from(one_sided(&tls).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        files::write_private(&at("token"), b"eyJ0.access.token\n").unwrap();
        let key = format!(
            "https://localhost:{}/keys/store/78deebed173b48e48f55abf87ed4cf71",
            listener.local_addr().unwrap().port()
        );
        let azure = Azure::new(&key, &at("token"), &at("ca.pem")).unwrap();
        let value = ClassKey::generate().unwrap();
        let encoded = BASE64_URL_SAFE_NO_PAD.encode(value.expose());

        let good = answer("200 OK", &format!("{{\"kid\":\"{key}\",\"value\":\"d3JhcHBlZA\"}}"));
        let (wrapped, asked) = tokio::join!(azure.wrap(&value), exchange(&listener, &acceptor, &good));
        assert_eq!(wrapped.unwrap(), "d3JhcHBlZA");
        assert!(asked.starts_with(
            "POST /keys/store/78deebed173b48e48f55abf87ed4cf71/wrapkey?api-version=7.4 HTTP/1.1\r\n"
        ));
        assert!(asked.contains("authorization: Bearer eyJ0.access.token\r\n"));
        assert!(asked.ends_with(&format!("{{\"alg\":\"RSA-OAEP-256\",\"value\":\"{encoded}\"}}")), "{asked}");

        let good = answer("200 OK", &format!("{{\"kid\":\"{key}\",\"value\":\"{encoded}\"}}"));
        let (opened, asked) = tokio::join!(azure.unwrap("d3JhcHBlZA"), exchange(&listener, &acceptor, &good));
        assert!(*opened.unwrap() == value.expose());
        assert!(
            asked.contains("/unwrapkey?api-version=7.4 ")
                && asked.ends_with("{\"alg\":\"RSA-OAEP-256\",\"value\":\"d3JhcHBlZA\"}")
        );

        let good = answer("200 OK", "{\"value\":\"eyJ.jws.object\"}");
        let (released, asked) =
            tokio::join!(azure.release("eyJ.maa.token", "n0"), exchange(&listener, &acceptor, &good));
        assert_eq!(released.unwrap(), "eyJ.jws.object");
        assert!(
            asked.ends_with(
                "{\"target\":\"eyJ.maa.token\",\"nonce\":\"n0\",\"enc\":\"RSA_AES_KEY_WRAP_256\"}"
            )
        );

        let bad = answer("403 Forbidden", "{\"error\":{\"code\":\"Forbidden\",\"message\":\"who you are\"}}");
        let (refused, _) = tokio::join!(azure.wrap(&value), exchange(&listener, &acceptor, &bad));
        let refused = format!("{:#}", refused.unwrap_err());
        assert!(
            refused.contains("status 403, code \"Forbidden\"") && !refused.contains("who you are"),
            "{refused}"
        );
        for wrong in [
            "http://localhost/keys/a/b",
            "https://localhost/keys/a",
            "https://localhost/secrets/a/b",
            "https://localhost/keys//b",
        ] {
            assert!(Azure::new(wrong, &at("token"), &at("ca.pem")).is_err());
        }
    }
}
