//! `trustbox csr`: the certification request of the attestation key.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::message::Nonce;
use trustbox_client::TrustBox;

use crate::arguments::{Csr, Encoding};
use crate::failure::Failure;
use crate::nonce;
use crate::output::Output;
use crate::pem::pem;

/// Label of a PKCS#10 request (RFC 7468, section 7).
const LABEL: &str = "CERTIFICATE REQUEST";

pub(crate) fn run(args: &Csr, output: Output) -> Result<(), Failure> {
    let nonce = nonce::or_random(args.nonce)?;
    let der = TrustBox::open().and_then(|mut trustbox| trustbox.csr(nonce));
    let der = der.map_err(|error| Failure::call("csr", "attestation key", &error))?;
    match args.format {
        Encoding::Der if !output.json => output.bytes(&der),
        _ => output.result(&to_json(&der, nonce), &pem(LABEL, &der)),
    }
}

fn to_json(der: &[u8], nonce: Nonce) -> Value {
    json!({"csr": BASE64_STANDARD.encode(der), "nonce": nonce.to_string()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_the_nonce() {
        let value = to_json(b"abc", Nonce::default());
        assert_eq!((&value["csr"], &value["nonce"]), (&json!("YWJj"), &json!("00".repeat(32))));
    }
}
