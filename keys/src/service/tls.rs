//! The service's side of TLS: its own certificate, and clients that must have one of the operator's CA.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::server::{ClientCertVerifierBuilder, WebPkiClientVerifier};

use super::config::Tls;
use crate::tls::{identity, provider, roots};

/// For clients with a certificate.
pub fn mutual(tls: &Tls) -> Result<Arc<ServerConfig>> {
    verifying(tls, |verifier| verifier)
}

/// For browsers, which may have one.
pub fn optional(tls: &Tls) -> Result<Arc<ServerConfig>> {
    verifying(tls, ClientCertVerifierBuilder::allow_unauthenticated)
}

fn verifying(
    tls: &Tls,
    how: impl FnOnce(ClientCertVerifierBuilder) -> ClientCertVerifierBuilder,
) -> Result<Arc<ServerConfig>> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&tls.clients)?.into(), provider());
    let verifier = how(verifier).build().with_context(|| tls.clients.display().to_string())?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let (chain, key) = identity(&tls.certificate, &tls.key)?;
    Ok(Arc::new(builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)?))
}

/// For clients without, as those of the original are.
pub fn one_sided(tls: &Tls) -> Result<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let (chain, key) = identity(&tls.certificate, &tls.key)?;
    Ok(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key)?))
}
