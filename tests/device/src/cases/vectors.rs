//! 4xxx: cryptography against the vectors of Project Wycheproof.
//!
//! AES-256-GCM goes the way of a package, through the TrustBox TA: a wrong tag and a good plaintext that is no image are
//! different numbers. ECDSA and RSA-OAEP of the TA take only what fits its own statements and its own key, so there the
//! probe runs the TA's very functions (`trustbox-tee::operation`) inside OP-TEE; that is said in the names.

use std::fs;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::OpenRequest;
use trustbox_api::{Bytes, Command, Error};

use crate::case::{Case, Stop};
use crate::context::{Context, EXHAUSTIVE, optee_only};
use crate::requests::{encode, send, send_chunk};
use crate::target::{Code, Link};
use crate::wycheproof::FILES;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 4001,
        name: "AES-256-GCM through an install: every vector without additional data",
        invariants: &["INV-2"],
        run: gcm,
    },
    Case {
        id: 4002,
        name: "ECDSA P-256 with SHA-256, by the TA's function in the probe",
        invariants: &["INV-3"],
        run: ecdsa,
    },
    Case {
        id: 4003,
        name: "RSA-3072-OAEP with SHA-256, by the TA's function in the probe",
        invariants: &["INV-1"],
        run: oaep,
    },
];

const VERIFY: u32 = 15;
const UNWRAP: u32 = 16;
/// Vectors that a case tries below the highest level.
const SAMPLES: usize = 16;
/// Bytes of RSA-3072.
const RSA_BYTES: usize = 384;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Set {
    test_groups: Vec<Group>,
}

/// Of each kind of set, what its groups have.
#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Group {
    iv_size: u32,
    key_size: u32,
    tag_size: u32,
    public_key: PublicKey,
    private_key: PrivateKey,
    tests: Vec<Vector>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(default)]
struct PublicKey {
    uncompressed: String,
}

#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PrivateKey {
    modulus: String,
    public_exponent: String,
    private_exponent: String,
}

#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Vector {
    tc_id: u32,
    comment: String,
    key: String,
    iv: String,
    aad: String,
    msg: String,
    ct: String,
    tag: String,
    sig: String,
    label: String,
    result: String,
}

impl Vector {
    fn valid(&self) -> bool {
        self.result == "valid"
    }

    fn shown(&self) -> String {
        format!("vector {} ({})", self.tc_id, self.comment)
    }
}

/// All vectors of a file with their groups; below the highest level, those at regular distances.
fn vectors(context: &Context<'_>, file: &str) -> Result<Vec<(Group, Vector)>, Stop> {
    let folder = context.vectors.as_ref().ok_or(Stop::Skipped("no vectors"))?;
    let path = folder.join(file);
    let text = fs::read(&path).map_err(|error| Stop::Failed(format!("{}: {error}", path.display())))?;
    let set: Set = serde_json::from_slice(&text)?;
    let mut all = Vec::new();
    for mut group in set.test_groups {
        let tests = std::mem::take(&mut group.tests);
        all.extend(tests.into_iter().map(|vector| (group.clone(), vector)));
    }
    Ok(all)
}

fn sampled<T>(context: &Context<'_>, all: Vec<T>) -> Vec<T> {
    let step = if context.level >= EXHAUSTIVE { 1 } else { all.len().div_ceil(SAMPLES).max(1) };
    all.into_iter().step_by(step).collect()
}

fn gcm(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut all = vectors(context, FILES[0])?;
    all.retain(|(group, vector)| {
        let ours = (group.key_size, group.iv_size, group.tag_size) == (256, 96, 128);
        ours && vector.aad.is_empty() && !vector.ct.is_empty()
    });
    check_eq!(all.len(), 47, "vectors of packages' AES-256-GCM");
    context.keyed()?;
    let mut link = context.connect()?;
    for (_, vector) in sampled(context, all) {
        let answer = decrypts(context, link.as_mut(), &vector)?;
        check_eq!(answer, vector.valid(), "{}", vector.shown());
    }
    Ok(())
}

/// Whether the TA gets past the tag. What comes out is no image, so nothing is ever installed.
fn decrypts(context: &Context<'_>, link: &mut dyn Link, vector: &Vector) -> Result<bool, Stop> {
    let ciphertext = hex(&vector.ct)?;
    let mut draft = context.draft(&context.image);
    draft.terms.size = ciphertext.len() as u32;
    draft.terms.nonce = Bytes(array(&vector.iv)?);
    draft.terms.tag = Bytes(array(&vector.tag)?);
    draft.terms.ciphertext_sha256 = Bytes(Sha256::digest(&ciphertext).into());
    draft.terms.plaintext_sha256 = Bytes(Sha256::digest(hex(&vector.msg)?).into());
    send(link, Command::InstallBegin, &draft.sign(array(&vector.key)?))?;
    send_chunk(link, 0, &ciphertext)?;
    match send(link, Command::InstallFinish, &[]) {
        Err(code) if code == Error::Decryption.into() => Ok(false),
        Err(code) if code == Error::ImageHeader.into() => Ok(true),
        other => Err(Stop::Failed(format!("{}: {other:?}", vector.shown()))),
    }
}

fn ecdsa(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut all = vectors(context, FILES[1])?;
    check_eq!(all.len(), 262, "vectors of ECDSA P-256");
    // A signature of another length is no signature of the interface.
    all.retain(|(_, vector)| vector.sig.len() == 128);
    let mut probe = probe(context)?;
    // Where a sum has the same point twice, which OP-TEE's addition did not see.
    let (edges, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, vector)| vector.comment.contains("Shamir multiplication"));
    check!(!edges.is_empty(), "no vector adds a point to itself");
    for (group, vector) in edges.into_iter().chain(sampled(context, others)) {
        let point = hex(&group.public_key.uncompressed)?;
        let point = point.strip_prefix(&[4]).ok_or_else(|| Stop::Failed("a compressed point".to_owned()))?;
        let digest = Sha256::digest(hex(&vector.msg)?);
        let request = [point, &digest, &hex(&vector.sig)?].concat();
        let want = if vector.valid() { 0 } else { Error::SignatureInvalid.code() };
        let answer = String::from_utf8(call(probe.as_mut(), VERIFY, &request)?)?;
        check_eq!(answer, format!("{want:#010x}"), "{}", vector.shown());
    }
    Ok(())
}

/// Opened is only what holds exactly 32 bytes under no label, as class keys do.
fn oaep(context: &mut Context<'_>) -> Result<(), Stop> {
    let all = vectors(context, FILES[2])?;
    check_eq!(all.len(), 37, "vectors of RSA-3072-OAEP");
    let mut probe = probe(context)?;
    let (ours, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, vector)| opens(vector));
    check!(!ours.is_empty(), "no vector holds a key");
    for (group, vector) in ours.into_iter().chain(sampled(context, others)) {
        let key = &group.private_key;
        let [modulus, private] = [&key.modulus, &key.private_exponent].map(|text| padded(text));
        let request = [modulus?, hex(&key.public_exponent)?, private?, hex(&vector.ct)?].concat();
        let answer = call(probe.as_mut(), UNWRAP, &request)?;
        let refusal = format!("{:#010x}", Error::Decryption.code()).into_bytes();
        let want = if opens(&vector) { hex(&vector.msg)? } else { refusal };
        check_eq!(answer, want, "{}", vector.shown());
    }
    Ok(())
}

fn opens(vector: &Vector) -> bool {
    vector.valid() && vector.label.is_empty() && vector.msg.len() == 64
}

/// A session with the probe open.
fn probe<'a>(context: &mut Context<'a>) -> Result<Box<dyn Link + 'a>, Stop> {
    optee_only(context)?;
    let probe = context.probe[1].clone();
    context.with(&probe)?;
    let mut link = context.connect()?;
    send(link.as_mut(), Command::OpenEnclave, &encode(&OpenRequest { uuid: probe.uuid }))?;
    Ok(link)
}

fn call(link: &mut dyn Link, command: u32, request: &[u8]) -> Result<Vec<u8>, Code> {
    link.invoke(command, request, MAX_REPLY).unwrap_or(Err(Code::NOT_FOUND))
}

/// A number of RSA without the sign that the vectors have.
fn padded(text: &str) -> Result<Vec<u8>, Stop> {
    let bytes = hex(text)?;
    let skipped = bytes.len().saturating_sub(RSA_BYTES);
    let number = &bytes[skipped..];
    Ok([vec![0; RSA_BYTES - number.len()], number.to_vec()].concat())
}

fn array<const N: usize>(text: &str) -> Result<[u8; N], Stop> {
    hex(text)?.try_into().map_err(|_| Stop::Failed(format!("{text:?} is not {N} bytes")))
}

fn hex(text: &str) -> Result<Vec<u8>, Stop> {
    let digits = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digits).collect();
    bytes.ok_or_else(|| Stop::Failed(format!("{text:?} is not hexadecimal")))
}
