//! Attestation tokens, as a verifier gets them from a device that it does not believe yet.

use trustbox_api::message::AttestRequest;
use trustbox_api::{Bytes, Command, PublicKey};
use trustbox_verifier::{ReferenceValues, Token, appraise};

use crate::target::Target;
use crate::world::{Stage, encode, on};

/// The target.
pub fn targets() -> Vec<Target> {
    vec![Target::new("token", "attestation tokens of any content", seeds(), run)]
}

fn run(input: &[u8]) {
    let Ok(token) = Token::parse(input) else { return };
    let claims = token.unverified().clone();
    let appraisal = appraise(&claims, &ReferenceValues::default());
    assert!(appraisal.findings.iter().all(|finding| finding.tier <= appraisal.status));
    let stranger = PublicKey(Bytes([9; 64]));
    assert!(token.verify(&stranger, claims.nonce).is_err(), "a token of nobody's verifies");
}

/// Tokens of devices as they are.
fn seeds() -> Vec<Vec<u8>> {
    let attest = |stage| {
        on(stage, |world| {
            let mut link = world.open(None).expect("a session");
            let request = encode(&AttestRequest { nonce: [7; 32].into_iter().collect() });
            crate::world::call(&mut link, Command::Attest, &request).expect("a token")
        })
    };
    [Stage::Blank, Stage::Locked].map(attest).into()
}
