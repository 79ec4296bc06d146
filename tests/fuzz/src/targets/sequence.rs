//! Many commands in a row, in three sessions of Linux and one of the enclave, with statements that answer the nonces of the
//! moment, and now and then a power cut. After each, what only moves forward has moved forward.

use trustbox_api::command::Command;
use trustbox_api::key::{DeviceId, Uuid};
use trustbox_api::message::{
    ChallengeReply, ChallengeRequest, CounterRequest, DestroyKeyRequest, InstallChunkRequest, KeyRequest,
    NoteRequest, Nonce, OpenRequest, Purpose, ReportData, ReportRequest, UninstallRequest,
};
use trustbox_api::statement::{Audience, Decommission, Kind, Lock, Revocation, Revoked, RotateRoot};
use trustbox_api::{Bytes, PublicKey, wire};

use crate::oracle::{self, Seen};
use crate::quick::key;
use crate::target::Target;
use crate::words::{
    AUTHORITY, ENCLAVE, LEGACY, NEXT_ROOT, PUBLISHER, RELEASER, REVOKER, ROOT, bundle, class_key, delegations,
    envelope, legacy_package, package, pin_root, said,
};
use crate::world::{Link, Stage, World, encode, on};

/// Bytes of one step: what, which session, which variant.
const STEP: usize = 3;
/// Steps that are taken; more only cost time.
const MAX_STEPS: usize = 24;
const PURPOSES: [Purpose; 5] =
    [Purpose::Provision, Purpose::ImportKey, Purpose::Lock, Purpose::RotateRoot, Purpose::Decommission];

/// The target.
pub fn targets() -> Vec<Target> {
    vec![Target::new("sequence", "commands in a row, in several sessions, with power cuts", seeds(), run)]
}

fn run(input: &[u8]) {
    let [stage, steps @ ..] = input else { return };
    on(Stage::of(*stage), |world| {
        let mut play = Play::new(world);
        for step in steps.chunks_exact(STEP).take(MAX_STEPS) {
            play.step(step[0], step[1], step[2]);
        }
        play.look();
    });
}

/// A device under way.
struct Play<'a> {
    world: &'a World,
    links: [Option<Link>; 4],
    id: DeviceId,
    nonces: [Nonce; 5],
    seen: Seen,
}

impl<'a> Play<'a> {
    fn new(world: &'a World) -> Self {
        let id = world.id().expect("an id");
        let nonces = [world.nonce, world.import_nonce, world.nonce, world.nonce, world.nonce];
        Self { world, links: [const { None }; 4], id, nonces, seen: oracle::look(world) }
    }

    fn step(&mut self, what: u8, session: u8, variant: u8) {
        let cut = session >= 0xf0;
        let operations = cut.then(|| usize::from(variant % 6));
        self.world.device.set(|world| world.operations_left = operations);
        self.act(what % 27, usize::from(session) % 4, variant);
        if cut {
            self.links = [const { None }; 4];
            self.world.device.set(|world| world.operations_left = None);
            // What was interrupted is settled here, so that refusals afterwards change nothing.
            self.look();
        }
    }

    fn look(&mut self) {
        let now = oracle::look(self.world);
        oracle::moved_forward(&self.seen, &now);
        self.seen = now;
    }

    fn act(&mut self, what: u8, session: usize, variant: u8) {
        let uuid = if variant & 1 == 0 { ENCLAVE } else { LEGACY };
        match what {
            0 => self.links[session] = None,
            1 => self.challenge(session, usize::from(variant) % 5),
            2 => self.say(session, Command::Provision, &pin_root(self.id, self.nonces[0]), AUTHORITY),
            3 => self.lock(session),
            4 => self.rotate(session),
            5 => self.end(session),
            6..=9 => {
                let said = &delegations(u64::from(variant))[usize::from(what - 6)];
                self.say(session, Command::Authorise, said, ROOT);
            }
            10 => {
                let bundle = bundle(self.id, self.nonces[1], u32::from(variant % 4));
                self.say(session, Command::ImportKey, &bundle, RELEASER);
            }
            11 => self.revoke(session, variant),
            12 => self.call(session, Command::DestroyKey, &encode(&DestroyKeyRequest { key: class_key() }), &[]),
            13 => self.say(session, Command::InstallBegin, &package(u32::from(variant)).0, PUBLISHER),
            14 => self.call(session, Command::InstallLegacy, &encode(&legacy_package(u32::from(variant)).0), &[]),
            15 => self.chunk(session, &package(u32::from(variant)).1),
            16 => self.chunk(session, &legacy_package(u32::from(variant)).1),
            17 => self.call(session, Command::InstallFinish, &[], &[]),
            18 => self.call(session, Command::InstallAbort, &[], &[]),
            19 => {
                let request = UninstallRequest { uuid, erase: variant & 2 != 0 };
                self.call(session, Command::Uninstall, &encode(&request), &[]);
            }
            20 => self.call(session, Command::OpenEnclave, &encode(&OpenRequest { uuid }), &[]),
            21 => self.call(session, Command::CloseEnclave, &[], &[]),
            22 => self.invoke(session),
            _ => self.of_enclave(what, variant),
        }
    }

    /// The session of a number, opened where it is not; the last one is the enclave's.
    fn link(&mut self, session: usize) -> Option<&mut Link> {
        let caller: Option<Uuid> = (session == 3).then_some(ENCLAVE);
        let link = &mut self.links[session];
        if link.is_none() {
            *link = self.world.open(caller).ok();
        }
        link.as_mut()
    }

    fn call(&mut self, session: usize, command: Command, request: &[u8], data: &[u8]) {
        let _ = self.answer(session, command, request, data);
    }

    fn answer(&mut self, session: usize, command: Command, request: &[u8], data: &[u8]) -> Option<Vec<u8>> {
        let world = self.world;
        let link = self.link(session)?;
        let undisturbed = world.device.get().operations_left.is_none();
        if undisturbed {
            return oracle::call(world, link, command as u32, request, data).ok();
        }
        let mut reply = [0; trustbox_api::limits::MAX_REPLY];
        let length = link.handle(command as u32, request, &data, &mut reply).ok()?;
        Some(reply[..length].to_vec())
    }

    fn say(&mut self, session: usize, command: Command, payload: &[u8], signer: u8) {
        self.call(session, command, &envelope(payload, signer), &[]);
    }

    fn challenge(&mut self, session: usize, purpose: usize) {
        let request = encode(&ChallengeRequest { purpose: PURPOSES[purpose] });
        let Some(reply) = self.answer(session, Command::Challenge, &request, &[]) else { return };
        self.nonces[purpose] = wire::decode::<ChallengeReply>(&reply).expect("a nonce").nonce;
    }

    fn lock(&mut self, session: usize) {
        let body = Lock { nonce: self.nonces[2] };
        self.say(session, Command::Lock, &said(Kind::Lock, Audience::Device(self.id), 0, &body), AUTHORITY);
    }

    fn rotate(&mut self, session: usize) {
        let body = RotateRoot { nonce: self.nonces[3], root: key(NEXT_ROOT) };
        self.say(session, Command::RotateRoot, &said(Kind::RotateRoot, Audience::Device(self.id), 0, &body), ROOT);
    }

    fn end(&mut self, session: usize) {
        let body = Decommission { nonce: self.nonces[4] };
        let said = said(Kind::Decommission, Audience::Device(self.id), 0, &body);
        self.say(session, Command::Decommission, &said, ROOT);
    }

    fn revoke(&mut self, session: usize, variant: u8) {
        let floor = u32::from(variant / 4);
        let item = match variant % 4 {
            0 => Revoked::Key(key(variant / 4).id()),
            1 => Revoked::Enclave { uuid: ENCLAVE, floor },
            2 => Revoked::Enclave { uuid: LEGACY, floor },
            _ => Revoked::ClassKey { name: class_key().name, floor },
        };
        let body = Revocation { items: [item].into_iter().collect() };
        self.say(session, Command::Revoke, &said(Kind::Revocation, Audience::Fleet, u64::from(variant), &body), REVOKER);
    }

    fn chunk(&mut self, session: usize, data: &[u8]) {
        self.call(session, Command::InstallChunk, &encode(&InstallChunkRequest { offset: 0 }), data);
    }

    fn invoke(&mut self, session: usize) {
        let dead = self.link(session).is_some_and(|link| link.enclave().is_err());
        if dead {
            self.links[session] = None;
        }
    }

    fn of_enclave(&mut self, what: u8, variant: u8) {
        let Some(ticket) = self.world.ticket else { return };
        let text = if variant & 1 == 0 { "a" } else { "" };
        let (command, request) = match what {
            23 => (Command::EnclaveCounter, encode(&CounterRequest { ticket, counter: variant % 5, add: variant.into() })),
            24 => {
                let text = text.try_into().expect("short");
                (Command::EnclaveNote, encode(&NoteRequest { ticket, text }))
            }
            25 => {
                let label = text.try_into().expect("short");
                (Command::EnclaveKey, encode(&KeyRequest { ticket, label }))
            }
            _ => {
                let transport_key = (variant & 1 == 0).then_some(PublicKey(Bytes([variant; 64])));
                let data = ReportData { bytes: [variant].into_iter().collect(), transport_key };
                let nonce = Bytes([variant; 32]);
                (Command::EnclaveReport, encode(&ReportRequest { ticket, nonce, data }))
            }
        };
        self.call(3, command, &request, &[]);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let blank = [0, 1, 0, 0, 2, 0, 0, 6, 0, 1, 7, 0, 1, 8, 0, 1, 9, 0, 1, 1, 0, 1, 10, 0, 1, 13, 0, 3, 15, 0, 3, 17, 0, 0, 20, 0, 0];
    let upgrade = [2, 13, 0, 9, 15, 0, 9, 17, 0, 0, 20, 1, 0, 22, 1, 0, 11, 2, 41, 22, 1, 0, 19, 2, 2];
    let legacy = [2, 14, 0, 4, 16, 0, 4, 17, 0, 0, 20, 1, 1, 23, 3, 1, 24, 3, 0, 25, 3, 0, 26, 3, 9];
    let life = [1, 3, 0, 0, 1, 0, 3, 4, 0, 0, 1, 0, 4, 5, 0, 0];
    let cuts = [2, 13, 0, 9, 15, 0, 9, 17, 0xf0, 3, 20, 0, 0, 19, 0xf0, 2, 5, 0xf4, 1];
    [&blank[..], &upgrade, &legacy, &life, &cuts].map(<[u8]>::to_vec).into()
}
