//! 27xx: the attestation token.

use sha2::{Digest, Sha256};
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::{AttestRequest, Version};
use trustbox_api::token::{self, NONCE_SIZES};
use trustbox_api::{Command, Error, PublicKey};
use trustbox_verifier::{Claims, Refusal, Token};

use crate::case::{Case, Stop};
use crate::context::Context;
use crate::forge::{flip, public};
use crate::requests::{encode, info, list};
use crate::target::{Code, Link};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 2701,
        name: "a token says what the device is, over the verifier's nonce",
        invariants: &["INV-8"],
        run: device,
    },
    Case {
        id: 2702,
        name: "a token lists what was verified at install, and nothing else",
        invariants: &["INV-8"],
        run: enclaves,
    },
    Case {
        id: 2703,
        name: "OP-TEE and the TA measure the same in every session",
        invariants: &["INV-8"],
        run: measured,
    },
    Case {
        id: 2704,
        name: "nonces of other sizes get no token",
        invariants: &["INV-8", "INV-10"],
        run: nonces,
    },
    Case { id: 2705, name: "a changed token does not verify", invariants: &["INV-8"], run: changed },
];

/// Bytes of a token with four enclaves at most.
const MAX_TOKEN: usize = 1024;

pub fn attest(link: &mut dyn Link, nonce: &[u8]) -> Result<Vec<u8>, Code> {
    let request = encode(&AttestRequest { nonce: nonce.iter().copied().collect() });
    link.call(Command::Attest as u32, &request, None, MAX_REPLY)
}

fn attestation_key(link: &mut dyn Link) -> Result<PublicKey, Stop> {
    info(link)?.attestation_key.ok_or_else(|| Stop::Failed("no attestation key".into()))
}

fn believed<'a>(token: &'a [u8], key: &PublicKey, nonce: &[u8]) -> Result<Claims<'a>, Refusal> {
    Token::parse(token).and_then(|token| token.verify(key, nonce))
}

fn device(context: &mut Context<'_>) -> Result<(), Stop> {
    let info = context.owned()?;
    let mut link = context.connect()?;
    let key = attestation_key(link.as_mut())?;
    for size in NONCE_SIZES {
        let nonce = vec![size as u8; size];
        let token = attest(link.as_mut(), &nonce)?;
        let claims = believed(&token, &key, &nonce)?;
        check_eq!(Some(claims.wrapping_key), info.device_key.map(|id| id.0), "wrapping key");
        check_eq!(claims.owner_root, info.owner_root.map(|id| id.0), "owner root");
        check_eq!(claims.security_epoch, info.epoch, "epoch");
        check_eq!(claims.client_id, i64::from(token::NORMAL_WORLD), "client id");
        let lifecycle = u64::from(token::lifecycle(info.lifecycle, info.profile));
        check_eq!(claims.lifecycle, lifecycle, "lifecycle");
        check_eq!(claims.hardware_key, u64::from(token::hardware_key(info.huk)), "hardware key");
        let Version(major, minor, patch) = info.ta_version;
        let ta = claims.component(token::TRUSTBOX).ok_or(Stop::Failed("no TA".into()))?;
        check_eq!(ta.version, format!("{major}.{minor}.{patch}"), "version of the TA");
        check!(claims.component(token::OPTEE).is_some(), "no OP-TEE");
    }
    Ok(())
}

fn enclaves(context: &mut Context<'_>) -> Result<(), Stop> {
    let images = [context.image.clone(), context.c_echo.clone()];
    images.iter().try_for_each(|image| context.with(image))?;
    let mut link = context.connect()?;
    let key = attestation_key(link.as_mut())?;
    let nonce = [1; 32];
    let token = attest(link.as_mut(), &nonce)?;
    let claims = believed(&token, &key, &nonce)?;
    let publisher = public(&context.parties.publisher).id().0;
    for image in images {
        let uuid = image.uuid.to_string();
        let listed = claims.component(&uuid).ok_or_else(|| Stop::Failed(format!("{uuid} is missing")))?;
        let digest: [u8; 32] = Sha256::digest(&image.bytes).into();
        check_eq!(listed.measurement, digest, "measurement of {uuid}");
        check_eq!(listed.version, image.version.to_string(), "version of {uuid}");
        check_eq!(listed.signer, Some(publisher), "publisher of {uuid}");
    }
    let installed = list(link.as_mut())?.enclaves.iter().filter(|e| e.version.is_some()).count();
    check_eq!(claims.components.len(), 2 + installed, "components");
    check!(installed > 4 || token.len() <= MAX_TOKEN, "{} bytes with {installed} enclaves", token.len());
    Ok(())
}

fn measured(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let nonce = [2; 32];
    let mut measurements = Vec::new();
    for _ in 0..2 {
        let mut link = context.connect()?;
        let key = attestation_key(link.as_mut())?;
        let token = attest(link.as_mut(), &nonce)?;
        let claims = believed(&token, &key, &nonce)?;
        for kind in [token::OPTEE, token::TRUSTBOX] {
            let found = claims.component(kind).map(|component| component.measurement);
            check!(found.is_some_and(|found| found != [0; 32]), "{kind} is not measured");
            measurements.push(found);
        }
    }
    check_eq!(measurements[..2], measurements[2..], "measurements in another session");
    check!(measurements[0] != measurements[1], "one measurement for two things");
    Ok(())
}

fn nonces(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let mut link = context.connect()?;
    for size in [0, 1, 31, 33, 47, 49, 63] {
        let answer = attest(link.as_mut(), &vec![3; size]).map(drop);
        check_eq!(answer, Err(Error::BadMessage.into()), "a nonce of {size} bytes");
    }
    Ok(())
}

fn changed(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let mut link = context.connect()?;
    let key = attestation_key(link.as_mut())?;
    let nonce = [4; 32];
    let token = attest(link.as_mut(), &nonce)?;
    believed(&token, &key, &nonce)?;
    check_eq!(believed(&token, &key, &[5; 32]).map(drop), Err(Refusal::Nonce), "another nonce");
    let other = public(&context.parties.root);
    check_eq!(believed(&token, &other, &nonce).map(drop), Err(Refusal::Signature), "another key");
    for bit in context.bits(token.len()) {
        check!(believed(&flip(&token, bit), &key, &nonce).is_err(), "bit {bit} flipped and believed");
    }
    Ok(())
}
