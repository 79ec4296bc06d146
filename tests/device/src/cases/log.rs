//! 26xx: the activity log, and what the device signs of it.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use trustbox_api::limits::{MAX_LOG_ENTRIES, MAX_REPLY};
use trustbox_api::log::{Channel, Event, LogReply, Ring};
use trustbox_api::message::{CsrRequest, LogRequest};
use trustbox_api::statement::Kind;
use trustbox_api::token::log_head;
use trustbox_api::{Bytes, Command, Error, PublicKey};
use trustbox_verifier::Token;

use super::attestation;
use crate::case::{Case, Stop};
use crate::context::{Context, publisher, spare_uuid};
use crate::forge::{self, public, stranger};
use crate::requests::{ask, encode, info, send};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 2601,
        name: "what the owner says is written down, in a chain",
        invariants: &["INV-6", "INV-10"],
        run: accepted,
    },
    Case {
        id: 2602,
        name: "a flood of refusals is one entry and a count",
        invariants: &["INV-10", "INV-11"],
        run: flood,
    },
    Case {
        id: 2603,
        name: "the log's heads are signed over the nonce",
        invariants: &["INV-8"],
        run: signed_head,
    },
    Case {
        id: 2604,
        name: "the certification request is signed and names both keys",
        invariants: &["INV-1", "INV-8"],
        run: csr,
    },
];

fn read(context: &Context<'_>, channel: Channel) -> Result<LogReply, Stop> {
    ask(context.connect()?.as_mut(), Command::Log, &encode(&LogRequest { channel }))
}

fn verifying_key(key: &PublicKey) -> Result<VerifyingKey, Stop> {
    Ok(VerifyingKey::from_sec1_bytes(&[&[4][..], &key.0.0].concat())?)
}

fn accepted(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let header = context.owner_header(Kind::Publisher);
    let key = public(&context.parties.publisher);
    let statement = forge::statement(&header, &publisher(key, &context.uuids()), &context.parties.root);
    let mut link = context.connect()?;
    let before = read(context, Channel::Authority)?.ring;
    send(link.as_mut(), Command::Authorise, &statement)?;
    send(link.as_mut(), Command::Authorise, &statement)?;
    let after = read(context, Channel::Authority)?.ring;
    check_eq!(after.next(), before.next() + 1, "entries after the same statement twice");
    let last = after.entries.last().ok_or_else(|| Stop::Failed("no entry".into()))?;
    let want = Event::Accepted { kind: Kind::Publisher, sequence: header.sequence, key: key.id() };
    check_eq!(last.event, want, "the last entry");
    let mut chained = before.clone();
    chained.append(*last)?;
    check_eq!(chained, after, "the ring, one entry later");
    check_eq!(chained.head()?, after.head()?, "its head");
    Ok(())
}

fn flood(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let count = if context.level >= crate::context::EXHAUSTIVE { 1_000 } else { 40 };
    let header = context.owner_header(Kind::Publisher);
    let body = publisher(public(&stranger(5)), &[spare_uuid()]);
    let refused = forge::statement(&header, &body, &stranger(5));
    let (authority, activity) = (read(context, Channel::Authority)?, read(context, Channel::Activity)?);
    let mut link = context.connect()?;
    for _ in 0..count {
        let answer = send(link.as_mut(), Command::Authorise, &refused);
        check_eq!(answer, Err(Error::NotAuthorised.into()), "a stranger's statement");
    }
    drop(link);
    check_eq!(read(context, Channel::Authority)?, authority, "what the owner said");
    let after = read(context, Channel::Activity)?;
    check!(after.ring.next() <= activity.ring.next() + 1, "more than one entry");
    let event = Event::Refused(Error::NotAuthorised as u8);
    let counted = |reply: &LogReply| {
        reply.observations.iter().find(|known| known.event == event).map_or(0, |known| known.count)
    };
    check_eq!(counted(&after), counted(&activity) + count, "refusals counted");
    Ok(())
}

fn signed_head(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let mut link = context.connect()?;
    let key =
        info(link.as_mut())?.attestation_key.ok_or_else(|| Stop::Failed("no attestation key".into()))?;
    for nonce in [[1; 32], [2; 32]] {
        let token = attestation::attest(link.as_mut(), &nonce)?;
        let claims = Token::parse(&token).and_then(|token| token.verify(&key, &nonce))?;
        let rings = Channel::ALL.map(|channel| read(context, channel).map(|reply| reply.ring));
        let [authority, activity, enclaves] = rings;
        let rings = [authority?, activity?, enclaves?];
        check!(rings.iter().all(|ring| ring.entries.len() <= MAX_LOG_ENTRIES), "too many entries");
        check_eq!(rings.each_ref().map(Ring::next), claims.log_entries, "entries");
        let [a, b, c] = &rings;
        check_eq!(log_head(&[a.head()?, b.head()?, c.head()?]).0, claims.log_head, "hash of the heads");
    }
    Ok(())
}

fn csr(context: &mut Context<'_>) -> Result<(), Stop> {
    let info = context.owned()?;
    let mut link = context.connect()?;
    let nonce = Bytes([0xab; 32]);
    let der = link.call(Command::Csr as u32, &encode(&CsrRequest { nonce }), None, MAX_REPLY)?;
    let device_key = link.call(Command::DeviceKey as u32, &[], None, MAX_REPLY)?;
    let holds = |part: &[u8]| der.windows(part.len()).any(|window| window == part);
    let attestation_key = info.attestation_key.ok_or_else(|| Stop::Failed("no attestation key".into()))?;
    check!(holds(&device_key), "the device key is not in it");
    check!(holds(&attestation_key.spki()), "the attestation key is not in it");
    check!(holds(nonce.to_string().as_bytes()), "the nonce is not in it");
    check!(holds(info.device_id.to_string().as_bytes()), "the device id is not in it");
    let (tbs, signature) = csr_parts(&der).ok_or_else(|| Stop::Failed("not a PKCS#10 request".into()))?;
    let digest = <sha2::Sha256 as sha2::Digest>::digest(tbs);
    let signature = Signature::from_der(signature)?;
    verifying_key(&attestation_key)?.verify_prehash(&digest, &signature)?;
    Ok(())
}

/// CertificationRequestInfo as signed, and the signature: elements one and three of the SEQUENCE.
fn csr_parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, rest) = content(der)?;
    let (_, after_info) = content(body)?;
    let info = &body[..body.len() - after_info.len()];
    let (_, after_algorithm) = content(after_info)?;
    let (signature, end) = content(after_algorithm)?;
    (rest.is_empty() && end.is_empty()).then_some((info, signature.get(1..)?))
}

/// Content of the first DER element, and what follows it.
fn content(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, length) = match *der.get(1)? {
        0x81 => (3, usize::from(*der.get(2)?)),
        0x82 => (4, usize::from(u16::from_be_bytes([*der.get(2)?, *der.get(3)?]))),
        short => (2, usize::from(short)),
    };
    der.get(head..)?.split_at_checked(length)
}
