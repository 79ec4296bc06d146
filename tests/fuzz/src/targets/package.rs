//! Packages, as files and in their parts: whatever the bytes, no panic; and nothing opens but what was sealed.

use sha2::{Digest, Sha256};
use trustbox_api::Secret;
use trustbox_package::frame::Frame;
use trustbox_package::json::Manifest;
use trustbox_package::layout::Role;
use trustbox_package::open::open;
use trustbox_package::trusted::Trusted;
use trustbox_package::{ClassKey, Package, annex, image, verify};

use crate::target::Target;

/// The published test vectors of the format.
const VECTORS: [&[u8]; 3] = [
    include_bytes!("../../../../host/package/vectors/original.cpk"),
    include_bytes!("../../../../host/package/vectors/trustbox.cpk"),
    include_bytes!("../../../../host/package/vectors/trustbox-sbom.cpk"),
];

/// The targets.
pub fn targets() -> Vec<Target> {
    let files = || VECTORS.map(<[u8]>::to_vec).to_vec();
    let parts = |role: Role| VECTORS.iter().filter_map(|bytes| part(bytes, role)).collect::<Vec<_>>();
    vec![
        Target::new("frame", "a package's frame", files(), frame),
        Target::new("package", "whole packages, opened with their key", files(), package),
        Target::new("json-manifest", "a package's JSON manifest", parts(Role::Manifest), json_manifest),
        Target::new(
            "trusted-manifest",
            "a package's trusted manifest, as hosts read it",
            parts(Role::TrustedManifest),
            trusted_manifest,
        ),
        Target::new("annex", "a package's annex", parts(Role::Annex), annex_of_package),
        Target::new("image-header", "the header of a signed TA", vec![sealed()], image_header),
    ]
}

fn part(bytes: &[u8], role: Role) -> Option<Vec<u8>> {
    Package::read(bytes).expect("a vector").stream(role).map(<[u8]>::to_vec)
}

/// The vectors' key, which is published.
fn key() -> ClassKey {
    ClassKey::new(Secret::new(Sha256::digest("TrustBox test vector: class key").into()))
}

/// What all vectors hold.
fn sealed() -> Vec<u8> {
    open(&Package::read(VECTORS[1]).expect("a vector"), Some(&key())).expect("its key").to_vec()
}

fn frame(input: &[u8]) {
    let Ok(frame) = Frame::read(input) else { return };
    assert_eq!(frame.write().expect("what was read"), input, "read, and written otherwise");
    for (index, stream) in frame.streams.iter().enumerate() {
        let at = usize::try_from(frame.offset(index)).expect("an offset");
        assert!(input[at..].starts_with(stream), "stream {index} is elsewhere");
    }
}

fn package(input: &[u8]) {
    let Ok(package) = Package::read(input) else { return };
    assert_eq!(package.roles.len(), package.frame.streams.len(), "a stream without a role");
    let _ = trustbox_package::legacy::request(&package, None);
    let encrypted = trustbox_package::open::key_name(&package).is_some();
    if let Ok(image) = open(&package, Some(&key())) {
        assert!(!encrypted || *image == sealed(), "opened, and never sealed");
    }
}

fn json_manifest(input: &[u8]) {
    let Ok(manifest) = Manifest::read(input) else { return };
    let written = manifest.write().expect("what was read");
    assert_eq!(Manifest::read(&written).expect("what was written"), manifest, "read otherwise");
}

fn trusted_manifest(input: &[u8]) {
    let Ok(trusted) = Trusted::read(input) else { return };
    let known = [1, 2].map(|index| part(VECTORS[index], Role::TrustedManifest));
    let known = known.iter().flatten().any(|bytes| Trusted::read(bytes).expect("a vector").envelope.payload == trusted.envelope.payload);
    let publisher = Trusted::read(&part(VECTORS[1], Role::TrustedManifest).expect("one")).expect("a vector").signer;
    assert!(known || trusted.signer != publisher || !verify::statement(&trusted.envelope), "a forged signature");
}

fn annex_of_package(input: &[u8]) {
    let Ok(signed) = annex::Signed::read(input) else { return };
    let bytes = part(VECTORS[2], Role::Annex).expect("one");
    let known = annex::Signed::read(&bytes).expect("a vector");
    let ours = signed.envelope.signer == known.envelope.signer;
    assert!(!ours || known.envelope.payload == signed.envelope.payload || !verify::annex(&signed), "a forged signature");
}

fn image_header(input: &[u8]) {
    let Ok(found) = image::Image::read(input) else { return };
    assert_eq!(found.size as usize, input.len(), "another size");
    assert!(image::Parts::read(input).is_ok(), "taken apart otherwise");
}
