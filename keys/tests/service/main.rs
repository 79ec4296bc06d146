//! The key service over real TLS, with SQLite: what it releases, what it refuses, and what it writes down.

mod content_keys;
mod endpoints;
mod factory;
mod line;
mod operation;
mod operator;
mod page;
mod read_back;
mod refusals;
mod releases;
mod station;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;

fn denied<'a>(records: &'a [Value], words: &str) -> Vec<&'a Value> {
    let fits =
        |record: &&Value| record["outcome"] == "denied" && record["reason"].as_str().unwrap().contains(words);
    records.iter().filter(fits).collect()
}

/// DER of an RSA key that nobody has the private half of.
fn spki_of(bits: u32) -> Vec<u8> {
    use rsa::pkcs8::EncodePublicKey;
    let modulus = vec![0xff; bits as usize / 8];
    let modulus = rsa::BoxedUint::from_be_slice(&modulus, bits).unwrap();
    let key = rsa::RsaPublicKey::new_unchecked(modulus, rsa::BoxedUint::from(65_537_u64));
    key.to_public_key_der().unwrap().as_bytes().to_vec()
}
