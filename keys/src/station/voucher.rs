//! The voucher of a device: what the factory made of it, signed by the factory CA's key. It names the voucher before, if there is one.
//!
//! A file of JSON, `{"voucher": "<JSON text>", "signature": "<r‖s in hexadecimal digits>"}`; ES256 over [`DOMAIN`] and the text.

use anyhow::{Context, Result, ensure};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use trustbox_api::{Bytes, PublicKey};
use trustbox_package::request::{hex, hex_bytes_of};

/// What the signature starts with.
pub const DOMAIN: &[u8] = b"TrustBox voucher\0";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    voucher: String,
    signature: String,
}

/// Signs a voucher; returns the file.
pub fn sign(voucher: &Value, key: &SigningKey) -> Result<Vec<u8>> {
    let text = voucher.to_string();
    let signature: Signature = key.sign_prehash(&digest(&text))?;
    let signed = Signed { signature: hex(&signature.to_bytes()), voucher: text };
    Ok(serde_json::to_vec_pretty(&signed)?)
}

/// What a voucher says, if `key` signed it.
pub fn verify(file: &[u8], key: &PublicKey) -> Result<Value> {
    let signed: Signed = serde_json::from_slice(file).context("not a voucher")?;
    let signature = hex_bytes_of(&signed.signature).context("the signature is not hexadecimal digits")?;
    let signature = Signature::from_slice(&signature).ok().context("the signature is not one")?;
    let verifying = VerifyingKey::from_sec1_bytes(&[&[4], key.0.as_ref()].concat())?;
    let good = verifying.verify_prehash(&digest(&signed.voucher), &signature).is_ok();
    ensure!(good, "the voucher's signature does not verify");
    serde_json::from_str(&signed.voucher).context("the voucher is not JSON")
}

/// What the next voucher names this one by, and what a label shows.
pub fn fingerprint(file: &[u8]) -> Result<Bytes<32>> {
    let signed: Signed = serde_json::from_slice(file).context("not a voucher")?;
    Ok(Bytes(digest(&signed.voucher)))
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(text).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::generate;
    use trustbox_package::sign::public_key;

    #[test]
    fn a_voucher_verifies_as_it_was_signed() {
        let (key, other) = (generate().unwrap(), generate().unwrap());
        let voucher = serde_json::json!({"device_id": "d1", "sku": "x"});
        let file = sign(&voucher, &key).unwrap();
        assert_eq!(verify(&file, &public_key(key.verifying_key())).unwrap(), voucher);
        assert!(verify(&file, &public_key(other.verifying_key())).is_err());
        let text = String::from_utf8(file.clone()).unwrap();
        assert!(verify(text.replace("d1", "d2").as_bytes(), &public_key(key.verifying_key())).is_err());
        assert_ne!(fingerprint(text.replace("d1", "d2").as_bytes()).unwrap(), fingerprint(&file).unwrap());
        assert!(verify(b"{}", &public_key(key.verifying_key())).is_err());
    }
}
