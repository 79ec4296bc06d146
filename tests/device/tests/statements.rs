//! Every kind of statement, made wrong in every way: each has its number, and nothing changes (INV-3, INV-5, INV-7, INV-10).

mod support;

use std::collections::BTreeMap;

use p256::ecdsa::SigningKey;
use serde::Serialize;
use support::{Fake, blank, context};
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::{ChallengeReply, Purpose};
use trustbox_api::statement::{
    Audience, Decommission, Envelope, Header, KeyBundle, Kind, Lock, PinRoot, Policy, Releaser, Revoked,
    Revoker, RotateRoot,
};
use trustbox_api::{Bytes, Command, Error, KeyName, KeyRef, PublicKey, TRUSTBOX_UUID, wire};
use trustbox_core::Record;
use trustbox_test::context::{CLASS_KEY, Context, Parties, publisher, revocation};
use trustbox_test::forge::{self, flip, public, stranger};
use trustbox_test::requests::{challenge, encode};
use trustbox_test::target::Code;

/// Forged statements in the flood.
const FLOOD: usize = 10_000;

/// A statement that the device would accept, in its parts.
struct Specimen {
    command: Command,
    header: Header,
    body: Vec<u8>,
    signer: SigningKey,
}

impl Specimen {
    fn new(command: Command, header: Header, body: &impl Serialize, signer: &SigningKey) -> Self {
        let body = encode(body);
        Self { command, header, body, signer: signer.clone() }
    }

    fn statement(&self) -> Vec<u8> {
        self.signed(&self.header, &self.signer)
    }

    fn signed(&self, header: &Header, signer: &SigningKey) -> Vec<u8> {
        let mut payload = encode(header);
        payload.extend(&self.body);
        forge::sign(&payload, signer)
    }
}

/// A device that is ready for a statement of this kind, and the statement.
fn specimen(context: &mut Context<'_>, kind: Kind) -> Specimen {
    if kind != Kind::PinRoot {
        context.keyed().expect("a key");
        context.with_revoker().expect("a revoker");
    }
    let parties = context.parties;
    let new = public(&stranger(41));
    match kind {
        Kind::PinRoot => {
            let root = public(&parties.root);
            single_use(context, kind, Purpose::Provision, &parties.authority, |nonce| PinRoot { nonce, root })
        }
        Kind::Lock => single_use(context, kind, Purpose::Lock, &parties.authority, |nonce| Lock { nonce }),
        Kind::RotateRoot => single_use(context, kind, Purpose::RotateRoot, &parties.root, |nonce| {
            RotateRoot { nonce, root: new }
        }),
        Kind::Decommission => {
            single_use(context, kind, Purpose::Decommission, &parties.root, |nonce| Decommission { nonce })
        }
        Kind::Publisher => rising(context, kind, &publisher(new, &[context.image.uuid]), &parties.root),
        Kind::Releaser => rising(context, kind, &releaser(new), &parties.root),
        Kind::Revoker => rising(context, kind, &Revoker { key: new }, &parties.root),
        Kind::Policy => {
            rising(context, kind, &Policy { max_enclaves: 5, ..Policy::default() }, &parties.root)
        }
        Kind::Revocation => {
            let items = [Revoked::Key(new.id())];
            rising(context, kind, &revocation(&items), &parties.revoker)
        }
        Kind::KeyBundle => bundle(context),
        Kind::Manifest => manifest(context),
    }
}

fn releaser(key: PublicKey) -> Releaser {
    Releaser { key, keys: [KeyName::try_from(CLASS_KEY).expect("a short name")].into_iter().collect() }
}

fn single_use<B: Serialize>(
    context: &Context<'_>,
    kind: Kind,
    purpose: Purpose,
    signer: &SigningKey,
    body: impl FnOnce(Bytes<32>) -> B,
) -> Specimen {
    let asked = ask(context, purpose);
    let command = match kind {
        Kind::PinRoot => Command::Provision,
        Kind::Lock => Command::Lock,
        Kind::RotateRoot => Command::RotateRoot,
        _ => Command::Decommission,
    };
    Specimen::new(command, context.device_header(kind, &asked), &body(asked.nonce), signer)
}

fn rising(context: &mut Context<'_>, kind: Kind, body: &impl Serialize, signer: &SigningKey) -> Specimen {
    let command = if kind == Kind::Revocation { Command::Revoke } else { Command::Authorise };
    Specimen::new(command, context.owner_header(kind), body, signer)
}

fn bundle(context: &Context<'_>) -> Specimen {
    let asked = ask(context, Purpose::ImportKey);
    let key = KeyRef { version: 2, ..context.class_key_ref() };
    let mut link = context.connect().expect("a session");
    let wrapped = context.wrapped_class_key(link.as_mut()).expect("wrapped");
    let body = KeyBundle { nonce: asked.nonce, key, wrapped: &wrapped };
    let header = context.bundle_header(asked.device_id, &key);
    Specimen::new(Command::ImportKey, header, &body, &context.parties.releaser)
}

fn manifest(context: &Context<'_>) -> Specimen {
    let draft = context.draft(&context.image);
    let (header, signer) = (draft.header, draft.publisher.clone());
    let statement = draft.seal().0;
    let envelope: Envelope<'_> = wire::decode(&statement).expect("an envelope");
    let (_, body) = wire::decode_prefix::<Header>(envelope.payload).expect("a header");
    Specimen { command: Command::InstallBegin, header, body: body.to_vec(), signer }
}

fn ask(context: &Context<'_>, purpose: Purpose) -> ChallengeReply {
    challenge(context.connect().expect("a session").as_mut(), purpose).expect("a nonce")
}

/// Each in a session of its own, since a manifest that is accepted opens an install.
fn send(context: &Context<'_>, command: Command, request: &[u8]) -> Result<(), Code> {
    context.connect().expect("a session").call(command as u32, request, None, MAX_REPLY).map(drop)
}

/// All that is stored but for the log, where refusals are counted.
fn stored(target: &Fake) -> BTreeMap<Record, Vec<u8>> {
    let mut records = target.0.get().records.clone();
    records.remove(&Record::Log);
    records
}

/// Runs `work` for each kind on a device that is ready for it, then has the good statement accepted.
fn for_each_kind(work: impl Fn(&Context<'_>, &Specimen, &dyn Fn(&str, &[u8], Option<Error>))) {
    for kind in Kind::ALL {
        let (target, parties) = blank();
        let mut context = context(&target, &parties, 3);
        let specimen = specimen(&mut context, kind);
        let (before, unwraps) = (stored(&target), target.0.get().unwraps);
        let refused = |what: &str, statement: &[u8], want: Option<Error>| {
            let answer = send(&context, specimen.command, statement);
            assert!(answer.is_err(), "{} {what} is accepted", kind.name());
            assert!(
                want.is_none() || answer == want.map_or(Ok(()), |error| Err(error.into())),
                "{} {what}: {answer:?}, want {want:?}",
                kind.name()
            );
            assert!(stored(&target) == before, "{} {what} changes what is stored", kind.name());
        };
        work(&context, &specimen, &refused);
        assert_eq!(target.0.get().unwraps, unwraps, "a refused {} reaches the device key", kind.name());
        send(&context, specimen.command, &specimen.statement())
            .unwrap_or_else(|code| panic!("{} is refused in the end: {code:?}", kind.name()));
    }
}

#[test]
fn signed_by_the_wrong_role() {
    for_each_kind(|context, specimen, refused| {
        let Parties { authority, root, publisher, releaser, revoker, .. } = context.parties;
        for (role, key) in [
            ("authority", authority),
            ("owner root", root),
            ("publisher", publisher),
            ("releaser", releaser),
            ("revoker", revoker),
            ("stranger", &stranger(42)),
        ] {
            let may = *key == specimen.signer || (specimen.header.kind == Kind::Revocation && key == root);
            if !may {
                let statement = specimen.signed(&specimen.header, key);
                refused(&format!("signed by {role}"), &statement, Some(Error::NotAuthorised));
            }
        }
    });
}

#[test]
fn for_another_root() {
    for_each_kind(|_, specimen, refused| {
        let header = Header { root: Bytes([9; 32]), ..specimen.header };
        refused("of another root", &specimen.signed(&header, &specimen.signer), Some(Error::WrongRoot));
    });
}

#[test]
fn for_another_audience() {
    for_each_kind(|_, specimen, refused| {
        let wrong = |audience| specimen.signed(&Header { audience, ..specimen.header }, &specimen.signer);
        let want = Some(Error::WrongAudience);
        refused("for another device", &wrong(Audience::Device(Bytes([9; 32]))), want);
        let class = KeyName::try_from("not-held").expect("a short name");
        refused("for another class", &wrong(Audience::Class(class)), want);
        if specimen.header.kind.is_for_one_device() {
            refused("for the whole fleet", &wrong(Audience::Fleet), want);
        }
    });
}

#[test]
fn of_another_kind_or_format() {
    for_each_kind(|_, specimen, refused| {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != specimen.header.kind) {
            let header = Header { kind, ..specimen.header };
            refused(&format!("called {}", kind.name()), &specimen.signed(&header, &specimen.signer), None);
        }
        let header = Header { format: specimen.header.format + 1, ..specimen.header };
        refused("of a later format", &specimen.signed(&header, &specimen.signer), Some(Error::WrongKind));
    });
}

/// A statement that ran its course is refused, or, where its sequence is the newest, changes nothing; what is older is refused.
#[test]
fn replayed() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Manifest) {
        let (target, parties) = blank();
        let mut context = context(&target, &parties, 3);
        let specimen = specimen(&mut context, kind);
        send(&context, specimen.command, &specimen.statement()).expect("accepted");
        let after = stored(&target);
        let again = send(&context, specimen.command, &specimen.statement());
        let rises = kind.sequence() == "rises";
        assert_eq!(again.is_ok(), rises, "{} again: {again:?}", kind.name());
        if rises {
            let header = Header { sequence: specimen.header.sequence - 1, ..specimen.header };
            let older = send(&context, specimen.command, &specimen.signed(&header, &specimen.signer));
            assert_eq!(older, Err(Error::Replayed.into()), "an older {}", kind.name());
        }
        assert!(stored(&target) == after, "a replayed {} changes what is stored", kind.name());
    }
}

#[test]
fn cut_anywhere_or_longer() {
    for_each_kind(|_, specimen, refused| {
        let good = specimen.statement();
        (0..good.len()).for_each(|length| refused(&format!("cut to {length}"), &good[..length], None));
        refused("with a byte behind it", &[good.as_slice(), &[0]].concat(), None);
    });
}

/// Ten thousand, with one to three bits flipped or with bits flipped before it was signed by somebody else.
#[test]
fn flooded_with_forgeries() {
    let each = FLOOD / Kind::ALL.len() + 1;
    for_each_kind(|_, specimen, refused| {
        let good = specimen.statement();
        let mut random = Sequence(u64::from(specimen.header.kind as u8) + 1);
        for number in 0..each {
            let mut forged = match number % 8 {
                0 => specimen.signed(&specimen.header, &stranger(random.below(150) as u8 + 50)),
                _ => good.clone(),
            };
            for _ in 0..random.below(3) + usize::from(number % 8 != 0) {
                forged = flip(&forged, random.below(forged.len() * 8));
            }
            if forged != good {
                refused(&format!("forgery {number}"), &forged, None);
            }
        }
    });
}

#[test]
fn naming_a_reserved_uuid() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.keyed().expect("a key");
    let key = public(&stranger(41));
    let legacy = [TRUSTBOX_UUID].into_iter().collect();
    let root = &parties.root;
    let publisher = rising(&mut context, Kind::Publisher, &publisher(key, &[TRUSTBOX_UUID]), root);
    let policy = rising(&mut context, Kind::Policy, &Policy { legacy, ..Policy::default() }, root);
    let before = stored(&target);
    for specimen in [publisher, policy] {
        let answer = send(&context, specimen.command, &specimen.statement());
        assert_eq!(answer, Err(Error::ReservedUuid.into()), "{}", specimen.header.kind.name());
    }
    assert!(stored(&target) == before);
}

/// Numbers that look random and are the same in each run (Marsaglia's xorshift).
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
