//! Statements: envelope, header and the body of every kind decode or are refused, and what decodes is stable.

use trustbox_api::limits::MAX_REQUEST;
use trustbox_api::statement::{
    Decommission, Envelope, Header, KeyBundle, Kind, Lock, PinRoot, Policy, Publisher, Releaser, Revocation,
    Revoker, RotateRoot,
};
use trustbox_api::{Bytes, wire};

use crate::oracle::round_trip;
use crate::target::Target;
use crate::words::{PUBLISHER, ROOT, bundle, delegations, envelope, package, pin_root};

/// The target.
pub fn targets() -> Vec<Target> {
    vec![Target::new("statement", "envelope, header and body of any kind", seeds(), run)]
}

fn run(input: &[u8]) {
    if let Ok(Envelope { payload, .. }) = wire::decode(input) {
        run_payload(payload);
    }
    run_payload(input);
}

fn run_payload(payload: &[u8]) {
    let Ok((header, body)) = wire::decode_prefix::<Header>(payload) else { return };
    let mut again = [0; MAX_REQUEST];
    match header.kind {
        Kind::PinRoot => round_trip::<PinRoot>(body, &mut again),
        Kind::Publisher => round_trip::<Publisher>(body, &mut again),
        Kind::Releaser => round_trip::<Releaser>(body, &mut again),
        Kind::KeyBundle => bundle_round_trip(body),
        Kind::Manifest => {}
        Kind::Revoker => round_trip::<Revoker>(body, &mut again),
        Kind::Policy => round_trip::<Policy>(body, &mut again),
        Kind::Revocation => round_trip::<Revocation>(body, &mut again),
        Kind::RotateRoot => round_trip::<RotateRoot>(body, &mut again),
        Kind::Lock => round_trip::<Lock>(body, &mut again),
        Kind::Decommission => round_trip::<Decommission>(body, &mut again),
    }
}

/// A body that borrows.
fn bundle_round_trip(body: &[u8]) {
    let Ok(bundle) = wire::decode::<KeyBundle<'_>>(body) else { return };
    let mut again = vec![0; body.len() + 16];
    let encoded = wire::encode(&bundle, &mut again).expect("no longer than it was");
    assert_eq!(wire::decode::<KeyBundle<'_>>(encoded).expect("decodes again"), bundle);
}

fn seeds() -> Vec<Vec<u8>> {
    let (id, nonce) = (Bytes([1; 32]), Bytes([2; 32]));
    let mut payloads: Vec<_> = delegations(1).into();
    payloads.extend([pin_root(id, nonce), bundle(id, nonce, 1), package(1).0]);
    let mut seeds = vec![envelope(&payloads[0], ROOT), envelope(&payloads[6], PUBLISHER)];
    seeds.extend(payloads);
    seeds
}
