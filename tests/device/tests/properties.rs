//! Properties: whatever is said to a device in whatever order, it does what a model of a dozen lines does.
//!
//! The models know nothing of the code: one is the lifecycle (INV-7), the other who may say what, to whom and in which order
//! (INV-3, INV-5). Inputs are the same in every run; one that fails is made small, and its seed kept beside this file.

mod support;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use support::{Fake, blank, context};
use trustbox_api::command::Lifecycle;
use trustbox_api::key::{KeyName, PublicKey};
use trustbox_api::limits::MAX_SEQUENCE_STEP;
use trustbox_api::message::{ChallengeReply, Nonce, Purpose};
use trustbox_api::statement::{
    Audience, Decommission, FORMAT, Header, Kind, Lock, PinRoot, Policy, Releaser, Revocation, Revoked,
    Revoker, RotateRoot,
};
use trustbox_api::{Bytes, Command};
use trustbox_core::Record;
use trustbox_test::context::{CLASS_KEY, Context, publisher, spare_uuid};
use trustbox_test::forge::{self, flip, payload, public, stranger};
use trustbox_test::requests::{challenge, info, send};
use trustbox_test::target::Target;

/// Numbers of keys: the provisioning authority is 1, as in `support`; two roots; nobody.
const AUTHORITY: u8 = 1;
const ROOTS: [u8; 2] = [51, 52];
const NOBODY: u8 = 53;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(20_260_101),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties.regressions"))),
        ..ProptestConfig::default()
    }
}

/// One thing said about a device's life.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Ask for a nonce, or say the statement that answers one.
    ask: bool,
    purpose: Purpose,
    signer: u8,
    /// The root that the statement names, and hands over to.
    root: u8,
    next: u8,
    /// Of the device's newest nonce.
    right_nonce: bool,
    right_device: bool,
}

/// The lifecycle in a dozen lines.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Life {
    state: Lifecycle,
    root: u8,
    waits_for: Option<Purpose>,
}

impl Life {
    fn step(&mut self, step: &Step) -> bool {
        let owned = matches!(self.state, Lifecycle::Provisioned | Lifecycle::Locked);
        let (state, by, under) = match step.purpose {
            Purpose::Provision => (self.state == Lifecycle::Blank, AUTHORITY, step.next),
            Purpose::Lock => (self.state == Lifecycle::Provisioned, AUTHORITY, self.root),
            _ => (owned, self.root, self.root),
        };
        let answers = step.right_nonce && step.right_device && self.waits_for == Some(step.purpose);
        let accepted = state && (step.ask || step.signer == by && step.root == under && answers);
        if accepted && step.ask {
            self.waits_for = Some(step.purpose);
        } else if accepted {
            self.waits_for = None;
            match step.purpose {
                Purpose::Lock => self.state = Lifecycle::Locked,
                Purpose::Decommission => self.state = Lifecycle::Decommissioned,
                Purpose::Provision => (self.state, self.root) = (Lifecycle::Provisioned, step.next),
                _ => self.root = step.next,
            }
        }
        accepted
    }
}

fn step() -> impl Strategy<Value = Step> {
    let purposes = vec![Purpose::Provision, Purpose::Lock, Purpose::RotateRoot, Purpose::Decommission];
    let but_the_end = purposes[..3].to_vec();
    // Mostly right, so that devices come far.
    let signer = prop_oneof![3 => Just(AUTHORITY), 4 => select(&ROOTS), 1 => Just(NOBODY)];
    (
        prop::bool::weighted(0.4),
        prop_oneof![select(purposes), select(but_the_end)],
        signer,
        select(&ROOTS),
        select(&ROOTS),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.95),
    )
        .prop_map(|(ask, purpose, signer, root, next, right_nonce, right_device)| Step {
            ask,
            purpose,
            signer,
            root,
            next,
            right_nonce,
            right_device,
        })
}

/// What the step says, signed.
fn said(step: &Step, reply: &ChallengeReply) -> (Command, Vec<u8>) {
    let nonce: Nonce = if step.right_nonce { reply.nonce } else { Bytes([0x11; 32]) };
    let device = if step.right_device { reply.device_id } else { Bytes([0x22; 32]) };
    let root = public(&stranger(step.next));
    let under = public(&stranger(step.root)).id();
    let (command, kind) = match step.purpose {
        Purpose::Provision => (Command::Provision, Kind::PinRoot),
        Purpose::Lock => (Command::Lock, Kind::Lock),
        Purpose::RotateRoot => (Command::RotateRoot, Kind::RotateRoot),
        _ => (Command::Decommission, Kind::Decommission),
    };
    let header = forge::header(kind, under, Audience::Device(device), 0);
    let payload = match step.purpose {
        Purpose::Provision => payload(&header, &PinRoot { nonce, root }),
        Purpose::Lock => payload(&header, &Lock { nonce }),
        Purpose::RotateRoot => payload(&header, &RotateRoot { nonce, root }),
        _ => payload(&header, &Decommission { nonce }),
    };
    (command, forge::sign(&payload, &stranger(step.signer)))
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn a_device_lives_as_its_model(steps in prop::collection::vec(step(), 1..24)) {
        let (target, _) = blank();
        let mut model = Life { state: Lifecycle::Blank, root: 0, waits_for: None };
        let mut newest = ChallengeReply { device_id: id(&target), nonce: Bytes([0; 32]) };
        for step in &steps {
            let mut link = target.connect().expect("a session");
            let accepted = if step.ask {
                let reply = challenge(link.as_mut(), step.purpose);
                reply.map(|reply| newest = reply).is_ok()
            } else {
                let (command, statement) = said(step, &newest);
                send(link.as_mut(), command, &statement).is_ok()
            };
            prop_assert_eq!(accepted, model.step(step), "{:?}", step);
            let info = info(link.as_mut()).expect("info");
            prop_assert_eq!(info.lifecycle, model.state);
            let alive = matches!(model.state, Lifecycle::Provisioned | Lifecycle::Locked);
            prop_assert_eq!(info.owner_root, alive.then(|| public(&stranger(model.root)).id()));
        }
    }
}

fn id(target: &Fake) -> Bytes<32> {
    info(target.connect().expect("a session").as_mut()).expect("info").device_id
}

/// A statement, and everything that it is bound by.
#[derive(Clone, Copy, Debug)]
struct Word {
    command: Command,
    kind: Kind,
    signer: Signer,
    format: u16,
    right_root: bool,
    audience: For,
    /// Above the newest one of its kind.
    ahead: i64,
    variant: u8,
    /// A bit that is not as it was signed.
    damage: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Signer {
    Root,
    Revoker,
    Publisher,
    Authority,
    Nobody,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum For {
    Fleet,
    This,
    Other,
    HeldClass,
    UnknownClass,
}

const KINDS: [Kind; 5] = [Kind::Publisher, Kind::Releaser, Kind::Revoker, Kind::Policy, Kind::Revocation];
/// The sequence that every kind starts above.
const BASE: u64 = 1 << 20;

/// Who may say what, in a dozen lines; `newest` is the sequence and the text of each kind that was accepted last.
fn accepts(word: &Word, text: &[u8], sequence: u64, newest: &[(u64, Vec<u8>); 5]) -> bool {
    let revokes = word.kind == Kind::Revocation;
    let command = if revokes { Command::Revoke } else { Command::Authorise };
    let may = word.signer == Signer::Root || revokes && word.signer == Signer::Revoker;
    let meant = matches!(word.audience, For::Fleet | For::This | For::HeldClass);
    let (last, last_text) = &newest[place(word.kind)];
    let again = text == last_text;
    let later = sequence > *last && sequence - last <= MAX_SEQUENCE_STEP;
    word.command == command
        && word.damage.is_none()
        && may
        && word.format == FORMAT
        && word.right_root
        && meant
        && (again || later)
}

fn place(kind: Kind) -> usize {
    KINDS.iter().position(|other| *other == kind).expect("one of the five")
}

fn word() -> impl Strategy<Value = Word> {
    let signers = vec![Signer::Revoker, Signer::Publisher, Signer::Authority, Signer::Nobody];
    let wrong_for = vec![For::Other, For::UnknownClass];
    let ahead =
        prop_oneof![6 => 1_i64..4, 2 => Just(0), 1 => -3_i64..0, 1 => Just(MAX_SEQUENCE_STEP as i64 + 1)];
    let kind = select(&KINDS);
    (
        (kind, prop::bool::weighted(0.93)),
        prop_oneof![6 => Just(Signer::Root), 2 => select(signers)],
        prop_oneof![14 => Just(FORMAT), 1 => Just(FORMAT + 1)],
        prop::bool::weighted(0.93),
        prop_oneof![8 => select(&[For::Fleet, For::This, For::HeldClass]), 1 => select(wrong_for)],
        ahead,
        0_u8..2,
        prop_oneof![8 => Just(None), 1 => any::<u16>().prop_map(Some)],
    )
        .prop_map(|((kind, right), signer, format, right_root, audience, ahead, variant, damage)| {
            let command =
                if right == (kind == Kind::Revocation) { Command::Revoke } else { Command::Authorise };
            Word { command, kind, signer, format, right_root, audience, ahead, variant, damage }
        })
}

/// The payload of a word.
fn text(word: &Word, sequence: u64, context: &Context<'_>, device: Bytes<32>) -> Vec<u8> {
    let class = |name| Audience::Class(KeyName::from(name).expect("a short name"));
    let audience = match word.audience {
        For::Fleet => Audience::Fleet,
        For::This => Audience::Device(device),
        For::Other => Audience::Device(Bytes([9; 32])),
        For::HeldClass => class(CLASS_KEY),
        For::UnknownClass => class("none"),
    };
    let root = if word.right_root { context.root_id() } else { Bytes([8; 32]) };
    let header = Header { kind: word.kind, format: word.format, root, audience, sequence };
    let key = |key| -> PublicKey { public(key) };
    let uuids = context.uuids();
    let parties = context.parties;
    match word.kind {
        Kind::Publisher => {
            payload(&header, &publisher(key(&parties.publisher), &uuids[usize::from(word.variant)..]))
        }
        Kind::Releaser => {
            let names = [CLASS_KEY, "other"].into_iter().take(usize::from(word.variant) + 1);
            let keys = names.map(|name| KeyName::from(name).expect("a short name")).collect();
            payload(&header, &Releaser { key: key(&parties.releaser), keys })
        }
        Kind::Revoker => payload(&header, &Revoker { key: key(&parties.revoker) }),
        Kind::Policy => {
            payload(&header, &Policy { legacy: Default::default(), max_enclaves: 3 + word.variant })
        }
        _ => {
            let item = Revoked::Enclave { uuid: spare_uuid(), floor: word.variant.into() };
            payload(&header, &Revocation { items: [item].into_iter().collect() })
        }
    }
}

/// A device with every role, and for each kind a newest statement that is known.
fn ready(context: &mut Context<'_>, device: Bytes<32>) -> [(u64, Vec<u8>); 5] {
    context.keyed().expect("a key");
    context.with_revoker().expect("a revoker");
    KINDS.map(|kind| {
        let command = if kind == Kind::Revocation { Command::Revoke } else { Command::Authorise };
        let (signer, audience) = (Signer::Root, For::Fleet);
        let (ahead, variant, damage) = (0, 0, None);
        let word = Word {
            command,
            kind,
            signer,
            format: FORMAT,
            right_root: true,
            audience,
            ahead,
            variant,
            damage,
        };
        let text = text(&word, BASE, context, device);
        let statement = forge::sign(&text, &context.parties.root);
        send(context.connect().expect("a session").as_mut(), command, &statement).expect("accepted");
        (BASE, text)
    })
}

proptest! {
    #![proptest_config(config(80))]

    #[test]
    fn a_statement_counts_if_every_binding_holds(words in prop::collection::vec(word(), 1..12)) {
        let (target, parties) = blank();
        let mut context = context(&target, &parties, 3);
        let device = id(&target);
        let mut newest = ready(&mut context, device);
        for word in &words {
            let sequence = newest[place(word.kind)].0.saturating_add_signed(word.ahead);
            let text = text(word, sequence, &context, device);
            let nobody = stranger(NOBODY);
            let signer = match word.signer {
                Signer::Root => &parties.root,
                Signer::Revoker => &parties.revoker,
                Signer::Publisher => &parties.publisher,
                Signer::Authority => &parties.authority,
                Signer::Nobody => &nobody,
            };
            let mut statement = forge::sign(&text, signer);
            if let Some(bit) = word.damage {
                statement = flip(&statement, usize::from(bit) % (statement.len() * 8));
            }
            let before = target.0.get().records.get(&Record::Device).cloned();
            let answer = send(context.connect().expect("a session").as_mut(), word.command, &statement);
            let wanted = accepts(word, &text, sequence, &newest);
            prop_assert_eq!(answer.is_ok(), wanted, "{:?} {:?}", word, answer);
            if wanted {
                newest[place(word.kind)] = (sequence, text);
            } else {
                let after = target.0.get().records.get(&Record::Device).cloned();
                prop_assert_eq!(before, after, "refused, and changed: {:?}", word);
            }
        }
    }
}
