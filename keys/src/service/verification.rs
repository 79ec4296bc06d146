//! `POST /v1/verify`: whether to believe a device, or an enclave on it, for those who hold a token of it and trust this service.
//!
//! The answer has the form of an attestation result (EAR, draft-ietf-rats-ear), with a finding and its reason for each claim.
//! Whatever is wrong with the token or the certificate is part of the result; only a question that is none is refused.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes as Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::key::PublicKey;
use trustbox_package::request::{hex_bytes_of, parse_hex};
use trustbox_verifier::{Finding, Tier, appraise};

use super::problem::{Answer, Reason, Refusal};
use super::registry::check_certificate;
use super::store::DeviceRow;
use super::{Service, now};
use crate::evidence::Verified;
use crate::factory::verify_certificate;
use crate::protocol::{VerifyRequest, parse_attestation_key, parse_device_id};

/// `POST /v1/verify`.
pub async fn verify(
    State(service): State<Arc<Service>>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let asked = Asked::parse(super::parse(&service.body(body)?)?)?;
    let device = service.store.device(&asked.device_id(&service)?).await?;
    // Signatures take a while: not where other requests wait.
    let judged = tokio::task::spawn_blocking(move || asked.judge(&service, device.as_ref()));
    judged.await.map(Json).map_err(|_| Refusal::new(Reason::Internal, "verifying failed"))
}

struct Asked {
    request: VerifyRequest,
    token: Vec<u8>,
    nonce: Vec<u8>,
    certificate: Option<Vec<u8>>,
}

impl Asked {
    fn parse(request: VerifyRequest) -> Answer<Self> {
        let bad = |what: &str| Refusal::new(Reason::Malformed, what);
        let decode = |text: &str, what: &str| BASE64_STANDARD.decode(text).map_err(|_| bad(what));
        let token = decode(&request.token, "token: not standard base64")?;
        let certificate = request.certificate.as_deref();
        let certificate =
            certificate.map(|text| decode(text, "certificate: not standard base64")).transpose()?;
        let nonce = hex_bytes_of(&request.nonce).ok_or_else(|| bad("nonce: not hexadecimal digits"))?;
        Ok(Self { token, nonce, certificate, request })
    }

    /// Whose token it is said to be.
    fn device_id(&self, service: &Service) -> Answer<String> {
        let bad = |what: &str| Refusal::new(Reason::Malformed, what);
        if let Some(named) = &self.request.device_id {
            let id = parse_device_id(named).ok_or_else(|| bad("device_id: not 64 hexadecimal digits"))?;
            return Ok(id.to_string());
        }
        let certificate =
            self.certificate.as_deref().ok_or_else(|| bad("neither device_id nor certificate"))?;
        // A certificate that does not verify is of no device.
        let holder = verify_certificate(certificate, &service.factory, now()).ok();
        Ok(holder.map(|holder| holder.device_id.to_string()).unwrap_or_default())
    }

    fn judge(&self, service: &Service, device: Option<&DeviceRow>) -> Value {
        let (certificate, key) = self.key(service, device);
        let mut findings = vec![certificate, state(device)];
        let verified = match key {
            Some(key) => {
                Verified::parse(&self.token, &key, &self.nonce).map_err(|refusal| refusal.to_string())
            }
            None => Err("there is no key to verify it with".to_owned()),
        };
        match &verified {
            Ok(verified) => {
                findings.push(finding("token", Tier::Affirming, "signature and nonce verify"));
                findings.extend(appraise(verified.claims(), &self.request.reference).findings);
            }
            Err(reason) => findings.push(finding("token", Tier::Contraindicated, reason)),
        }
        let status = findings.iter().map(|found| found.tier).max();
        let verified = verified.ok();
        let keys = verified.as_ref().map(|verified| verified.keys().map(|key| key.to_string()));
        json!({
            "ear.verifier-id": {"developer": "TrustBox", "build": concat!("trustbox-keys ", env!("CARGO_PKG_VERSION"))},
            "iat": now(),
            "device_id": device.map(|device| &device.device_id),
            "attestation_key_sha256": keys.as_ref().map(|[key, _]| key),
            "wrapping_key_sha256": keys.as_ref().map(|[_, key]| key),
            "enclave": verified.map(|verified| verified.enclave()),
            "submods": {"trustbox": {"ear.status": status, "findings": findings}},
        })
    }

    /// The key to believe: that of the certificate which was sent, or that of the registry.
    fn key(&self, service: &Service, device: Option<&DeviceRow>) -> (Finding, Option<PublicKey>) {
        const CLAIM: &str = "certificate";
        let Some(certificate) = &self.certificate else {
            let Some(device) = device else {
                return (finding(CLAIM, Tier::Contraindicated, "there is none, and no such device"), None);
            };
            let certified = match check_certificate(&service.factory, device, now()) {
                Ok(()) => finding(CLAIM, Tier::Affirming, "the registry's verifies"),
                Err(reason) => finding(CLAIM, Tier::Warning, &reason),
            };
            return (certified, parse_hex(&device.attestation_key).map(PublicKey));
        };
        match verify_certificate(certificate, &service.factory, now()) {
            Ok(holder) if self.other_than(&holder.device_id.to_string()) => {
                (finding(CLAIM, Tier::Contraindicated, "it is of another device"), None)
            }
            Ok(holder) => (finding(CLAIM, Tier::Affirming, "verifies"), parse_attestation_key(&holder.spki)),
            Err(reason) => (finding(CLAIM, Tier::Contraindicated, &reason), None),
        }
    }

    fn other_than(&self, id: &str) -> bool {
        self.request.device_id.as_deref().is_some_and(|named| !named.eq_ignore_ascii_case(id))
    }
}

/// A device that the owner gave up is not to be believed, whatever it can prove.
fn state(device: Option<&DeviceRow>) -> Finding {
    match device {
        None => finding("device-state", Tier::Warning, "the registry does not know the device"),
        Some(device) => {
            let tier = if device.state == "enrolled" { Tier::Affirming } else { Tier::Contraindicated };
            finding("device-state", tier, &format!("the device is {}", device.state))
        }
    }
}

fn finding(claim: &str, tier: Tier, reason: &str) -> Finding {
    Finding { claim: claim.to_owned(), tier, reason: reason.to_owned() }
}
