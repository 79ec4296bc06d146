//! Attestation tokens and reports, as a verifier gets them from a device that it does not believe yet.

use trustbox_api::message::{AttestRequest, ReportData, ReportRequest};
use trustbox_api::{Bytes, Command, PublicKey};
use trustbox_verifier::{ReferenceValues, Token, appraise};

use crate::target::Target;
use crate::words::ENCLAVE;
use crate::world::{Stage, encode, on};

/// The target.
pub fn targets() -> Vec<Target> {
    vec![Target::new("token", "attestation tokens and reports of any content", seeds(), run)]
}

fn run(input: &[u8]) {
    let Ok(token) = Token::parse(input) else { return };
    let claims = token.unverified().clone();
    let appraisal = appraise(&claims, &ReferenceValues::default());
    assert!(appraisal.findings.iter().all(|finding| finding.tier <= appraisal.status));
    let stranger = PublicKey(Bytes([9; 64]));
    assert!(token.clone().verify_report(&stranger, claims.nonce).is_err(), "a report of nobody's verifies");
    assert!(token.verify(&stranger, claims.nonce).is_err(), "a token of nobody's verifies");
}

/// Tokens of devices as they are, and the report of an enclave.
fn seeds() -> Vec<Vec<u8>> {
    let attest = |stage| {
        on(stage, |world| {
            let mut link = world.open(None).expect("a session");
            let request = encode(&AttestRequest { nonce: [7; 32].into_iter().collect() });
            crate::world::call(&mut link, Command::Attest, &request).expect("a token")
        })
    };
    let report = on(Stage::Locked, |world| {
        let mut link = world.open(Some(ENCLAVE)).expect("a session");
        let (ticket, nonce) = (world.ticket.expect("a launched enclave"), Bytes([7; 32]));
        let transport_key = Some(PublicKey(Bytes([8; 64])));
        let data = ReportData { bytes: [1, 2].into_iter().collect(), transport_key };
        let request = encode(&ReportRequest { ticket, nonce, data });
        crate::world::call(&mut link, Command::EnclaveReport, &request).expect("a report")
    });
    vec![attest(Stage::Blank), attest(Stage::Locked), report]
}
