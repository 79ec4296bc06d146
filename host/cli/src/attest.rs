//! `trustbox attest`: the attestation token, for somebody elsewhere who verifies it.

use std::fmt::Write as _;
use std::fs;

use arrayvec::ArrayVec;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::Command;
use trustbox_api::limits::MAX_TOKEN_NONCE;
use trustbox_api::token::NONCE_SIZES;
use trustbox_client::{Error, TrustBox};
use trustbox_package::request::hex;
use trustbox_verifier::{Claims, Token, lifecycle_name};

use crate::arguments::Attest;
use crate::enclave::parse_hex_bytes;
use crate::failure::Failure;
use crate::output::Output;

/// A verifier's nonce.
pub(crate) type TokenNonce = ArrayVec<u8, MAX_TOKEN_NONCE>;

/// A nonce as on a command line.
pub(crate) fn parse_nonce(text: &str) -> Result<TokenNonce, String> {
    let bytes = parse_hex_bytes(text)?.0;
    let nonce = TokenNonce::try_from(bytes.as_slice()).ok();
    nonce.filter(|nonce| NONCE_SIZES.contains(&nonce.len())).ok_or_else(|| {
        format!("{} bytes, must be 32, 48 or 64: that is 64, 96 or 128 hexadecimal digits", bytes.len())
    })
}

pub(crate) fn run(args: &Attest, output: Output) -> Result<(), Failure> {
    let failure = |error| Failure::call("attest", "device", &error);
    let token = TrustBox::open().and_then(|mut trustbox| trustbox.attest(&args.nonce)).map_err(failure)?;
    let encoded = BASE64_STANDARD.encode(&token);
    let value = json!({"token": encoded, "nonce": hex(&args.nonce)});
    if let Some(path) = &args.out {
        fs::write(path, &token).map_err(|error| Failure::file("write", path.display(), error))?;
        return output.result(&value, &format!("token of {} bytes: {}", token.len(), path.display()));
    }
    if args.edn {
        return output.result(&with(value, "edn", edn(&token).into()), &edn(&token));
    }
    if args.pretty {
        let parsed =
            Token::parse(&token).map_err(|_| failure(Error::BadReply { command: Command::Attest }))?;
        let claims = parsed.unverified();
        return output.result(&with(value, "claims", to_json(claims)), &to_text(claims));
    }
    output.result(&value, &encoded)
}

fn with(mut value: Value, name: &str, more: Value) -> Value {
    value[name] = more;
    value
}

/// Diagnostic notation of the envelope, and below it of the claims.
fn edn(token: &[u8]) -> String {
    let claims = claims_of(token).map(|claims| format!("\n/ claims / {}", minicbor::display(claims)));
    format!("{}{}", minicbor::display(token), claims.unwrap_or_default())
}

fn claims_of(token: &[u8]) -> Option<&[u8]> {
    let mut decoder = minicbor::Decoder::new(token);
    decoder.tag().and_then(|_| decoder.array()).ok()?;
    decoder.skip().and_then(|()| decoder.skip()).ok()?;
    decoder.bytes().ok()
}

fn to_json(claims: &Claims<'_>) -> Value {
    let components: Vec<Value> = claims
        .components
        .iter()
        .map(|component| {
            json!({
                "type": component.kind,
                "version": component.version,
                "measurement": hex(&component.measurement),
                "signer": component.signer.map(|signer| hex(&signer)),
            })
        })
        .collect();
    json!({
        "instance_id": hex(&claims.attestation_key),
        "implementation_id": hex(&claims.implementation_id),
        "lifecycle": lifecycle_name(claims.lifecycle),
        "boot_seed": hex(claims.boot_seed),
        "client_id": claims.client_id,
        "owner_root": claims.owner_root.map(|root| hex(&root)),
        "wrapping_key": hex(&claims.wrapping_key),
        "hardware_key": claims.hardware_key,
        "rollback_protection": claims.rollback_protection,
        "security_epoch": claims.security_epoch,
        "log_head": hex(&claims.log_head),
        "components": components,
    })
}

fn to_text(claims: &Claims<'_>) -> String {
    let mut text = String::from("claims, verified by nobody\n");
    let Value::Object(fields) = to_json(claims) else { return text };
    for (name, value) in fields.iter().filter(|(name, _)| *name != "components") {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<22}{shown}", name.replace('_', " "));
    }
    for component in &claims.components {
        let (kind, version, measured) = (component.kind, component.version, hex(&component.measurement));
        let _ = writeln!(text, "{kind} {version}\n  measured {measured}");
        if let Some(signer) = component.signer {
            let _ = writeln!(text, "  signer   {}", hex(&signer));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verifier's test vector: 32 bytes of nonce, then the token.
    const VECTOR: &str = include_str!("../../../keys/verifier/vectors/blank-device.txt");

    fn token() -> Vec<u8> {
        let line = VECTOR.lines().find_map(|line| line.strip_prefix("token = ")).unwrap();
        parse_hex_bytes(line).unwrap().0
    }

    #[test]
    fn nonces_have_three_sizes() {
        for size in [32, 48, 64] {
            assert_eq!(parse_nonce(&"5a".repeat(size)).unwrap().len(), size);
        }
        for text in ["", "5a", &"5a".repeat(33), &"5a".repeat(65), &"5".repeat(63), &"zz".repeat(32)] {
            assert!(parse_nonce(text).is_err(), "{text}");
        }
    }

    #[test]
    fn claims_are_shown_in_all_forms() {
        let token = token();
        let parsed = Token::parse(&token).unwrap();
        let value = to_json(parsed.unverified());
        assert_eq!(value["lifecycle"], "assembly-and-test (0x1000)");
        assert_eq!(value["components"][0]["type"], "optee");
        let text = to_text(parsed.unverified());
        assert!(text.starts_with("claims, verified by nobody\n") && text.contains("\ntrustbox 0.1.0\n"));
        let edn = edn(&token);
        assert!(edn.starts_with("18([h'a1 01 26', {}, h'") && edn.contains("265: h'69 81 da"), "{edn}");
    }
}
