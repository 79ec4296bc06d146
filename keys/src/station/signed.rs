//! What a factory signs as JSON: a text and its signature in a file that people can read, `{"<name>": "<JSON text>", "signature":
//! "<r‖s in hexadecimal digits>"}`; ES256 over a domain of its own and the text.

use anyhow::{Context, Result, ensure};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use trustbox_api::{Bytes, PublicKey};
use trustbox_package::request::{hex, hex_bytes_of};

/// One kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    /// Name of the field with the text.
    name: &'static str,
    /// What the signature starts with.
    domain: &'static [u8],
}

/// The voucher of a device: what the factory made of it. It names the voucher before, if there is one.
pub const VOUCHER: Signed = Signed { name: "voucher", domain: b"TrustBox voucher\0" };
/// What a station says became of a device, for the registry.
pub const REPORT: Signed = Signed { name: "report", domain: b"TrustBox station report\0" };
/// What the owner says of a device that came back.
pub const RETURN: Signed = Signed { name: "return", domain: b"TrustBox return\0" };
/// That a device that came back was decommissioned.
pub const RECEIPT: Signed = Signed { name: "receipt", domain: b"TrustBox receipt\0" };

impl Signed {
    /// Signs a value; returns the file.
    pub fn sign(self, value: &impl Serialize, key: &SigningKey) -> Result<Vec<u8>> {
        let text = serde_json::to_value(value)?.to_string();
        let signature: Signature = key.sign_prehash(&self.digest(&text))?;
        let fields = [(self.name, text), ("signature", hex(&signature.to_bytes()))];
        let fields = fields.map(|(name, text)| (name.to_owned(), Value::from(text)));
        Ok(serde_json::to_vec_pretty(&Map::from_iter(fields))?)
    }

    /// What a file says, if `key` signed it.
    pub fn verify(self, file: &[u8], key: &PublicKey) -> Result<Value> {
        let (text, signature) = self.parts(file)?;
        let signature = hex_bytes_of(&signature).context("the signature is not hexadecimal digits")?;
        let signature = Signature::from_slice(&signature).ok().context("the signature is not one")?;
        let verifying = VerifyingKey::from_sec1_bytes(&[&[4], key.0.as_ref()].concat())?;
        let good = verifying.verify_prehash(&self.digest(&text), &signature).is_ok();
        ensure!(good, "the {}'s signature does not verify", self.name);
        serde_json::from_str(&text).with_context(|| format!("the {} is not JSON", self.name))
    }

    /// The same as a type, and what the file is known by.
    pub fn read<T: DeserializeOwned>(self, file: &[u8], key: &PublicKey) -> Result<(T, Bytes<32>)> {
        let says = serde_json::from_value(self.verify(file, key)?);
        Ok((says.with_context(|| format!("not a {}", self.name))?, self.fingerprint(file)?))
    }

    /// What others name this file by, and what a label shows: of the text, whoever signed it and however often.
    pub fn fingerprint(self, file: &[u8]) -> Result<Bytes<32>> {
        Ok(Bytes(self.digest(&self.parts(file)?.0)))
    }

    fn parts(self, file: &[u8]) -> Result<(String, String)> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(file).with_context(|| format!("not a {}", self.name))?;
        let mut text = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(anyhow::anyhow!("not a {}: it has no {name}", self.name)),
        };
        let parts = (text(self.name)?, text("signature")?);
        ensure!(fields.is_empty(), "not a {}: it has more fields", self.name);
        Ok(parts)
    }

    fn digest(self, text: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.domain).chain_update(text).finalize().into()
    }
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
        let file = VOUCHER.sign(&voucher, &key).unwrap();
        let own = public_key(key.verifying_key());
        assert_eq!(VOUCHER.verify(&file, &own).unwrap(), voucher);
        assert!(VOUCHER.verify(&file, &public_key(other.verifying_key())).is_err());
        let text = String::from_utf8(file.clone()).unwrap();
        let changed = text.replace("d1", "d2");
        assert!(VOUCHER.verify(changed.as_bytes(), &own).is_err());
        assert_ne!(VOUCHER.fingerprint(changed.as_bytes()).unwrap(), VOUCHER.fingerprint(&file).unwrap());
        assert!(VOUCHER.verify(b"{}", &own).is_err());
        // What was signed as one kind is never another.
        assert!(REPORT.verify(text.replace("\"voucher\"", "\"report\"").as_bytes(), &own).is_err());
        assert!(VOUCHER.verify(text.replace("{\n", "{\"more\": 1,\n").as_bytes(), &own).is_err());
    }
}
