//! Devices at every point of their life, made once by the commands themselves and put back before each input.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use trustbox_api::command::Command;
use trustbox_api::key::{DeviceId, Uuid};
use trustbox_api::launch::Ticket;
use trustbox_api::limits::{MAX_REPLY, MAX_REQUEST};
use trustbox_api::message::{
    ChallengeReply, ChallengeRequest, CounterRequest, InstallChunkRequest, Nonce, OpenRequest, Purpose,
};
use trustbox_api::statement::{Audience, Decommission, Kind, Lock};
use trustbox_api::{Bytes, Error, wire};
use trustbox_core::fake::Device;
use trustbox_core::{Record, Session, Tee};

use crate::quick::{QuickTee, Random, key};
use crate::words::{
    AUTHORITY, CLASS_KEY, CONTENT_KEY, ENCLAVE, PUBLISHER, RELEASER, ROOT, bundle, delegations, envelope,
    package, pin_root, said,
};

/// A session as targets have it.
pub type Link = Session<QuickTee>;

/// Where a device stands. All but the first and the last two but one have an owner, roles, a class key and an enclave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// No owner; asked for a nonce to get one.
    Blank,
    /// Asked for a nonce to be locked.
    Provisioned,
    /// Locked.
    Locked,
    /// Asked for a nonce to change hands.
    Rotating,
    /// Asked for a nonce to end.
    Retiring,
    /// At its end.
    Decommissioned,
    /// An upgrade was cut short before OP-TEE had it.
    Interrupted,
    /// An upgrade was cut short after OP-TEE had it.
    Unfinished,
}

/// A device that is put back before each input.
pub struct World {
    /// The device.
    pub device: Device,
    /// Where it stands.
    pub stage: Stage,
    /// What no reply may have.
    pub secrets: Vec<[u8; 32]>,
    /// From a launch of the enclave.
    pub ticket: Option<Ticket>,
    /// The nonce that the stage is waiting with.
    pub nonce: Nonce,
    /// A nonce for a class key.
    pub import_nonce: Nonce,
    random: Random,
    saved: Saved,
}

/// What lasts of a device.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// Its records.
    pub records: BTreeMap<Record, Vec<u8>>,
    /// What OP-TEE holds.
    pub tadb: BTreeMap<Uuid, Vec<u8>>,
    keys: bool,
    random: u64,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Blank,
        Self::Provisioned,
        Self::Locked,
        Self::Rotating,
        Self::Retiring,
        Self::Decommissioned,
        Self::Interrupted,
        Self::Unfinished,
    ];

    /// Any number as a stage.
    pub fn of(number: u8) -> Self {
        Self::ALL[usize::from(number) % Self::ALL.len()]
    }
}

/// Runs `work` on the device of a stage, which is as it was made.
pub fn on<A>(stage: Stage, work: impl FnOnce(&World) -> A) -> A {
    thread_local! {
        static WORLDS: [OnceCell<World>; 8] = const { [const { OnceCell::new() }; 8] };
    }
    WORLDS.with(|worlds| {
        let world = worlds[stage as usize].get_or_init(|| World::make(stage).expect("a device"));
        world.restore();
        work(world)
    })
}

impl World {
    fn make(stage: Stage) -> Result<Self, Error> {
        let mut world = Self::blank(stage);
        world.nonce = world.challenge(Purpose::Provision)?;
        if stage != Stage::Blank {
            world.provision()?;
            world.fill()?;
            world.advance()?;
        }
        world.saved = world.save();
        Ok(world)
    }

    fn blank(stage: Stage) -> Self {
        Self {
            device: Device::new(1, &key(AUTHORITY)),
            stage,
            secrets: vec![CLASS_KEY, CONTENT_KEY],
            ticket: None,
            nonce: Bytes([0; 32]),
            import_nonce: Bytes([0; 32]),
            random: Rc::new(Cell::new(0)),
            saved: Saved::default(),
        }
    }

    fn provision(&mut self) -> Result<(), Error> {
        self.say(Command::Provision, &pin_root(self.id()?, self.nonce), AUTHORITY)?;
        delegations(1).iter().try_for_each(|said| self.say(Command::Authorise, said, ROOT))
    }

    /// Class key, enclave, launch, counter.
    fn fill(&mut self) -> Result<(), Error> {
        let nonce = self.challenge(Purpose::ImportKey)?;
        self.say(Command::ImportKey, &bundle(self.id()?, nonce, 1), RELEASER)?;
        self.import_nonce = self.challenge(Purpose::ImportKey)?;
        self.install(3)?;
        let mut link = self.open(None)?;
        send(&mut link, Command::OpenEnclave, &encode(&OpenRequest { uuid: ENCLAVE }))?;
        let launch = &link.enclave()?.launch;
        self.ticket = Some(launch.ticket);
        self.secrets.push(*launch.sealing_key.expose());
        for purpose in ["TrustBox launch ticket\0", "TrustBox device id\0"] {
            self.secrets.push(*self.tee(None).derive(purpose.as_bytes())?.expose());
        }
        let count = CounterRequest { ticket: launch.ticket, counter: 1, add: 7 };
        send(&mut self.open(Some(ENCLAVE))?, Command::EnclaveCounter, &encode(&count))
    }

    fn advance(&mut self) -> Result<(), Error> {
        match self.stage {
            Stage::Blank => {}
            Stage::Provisioned => self.nonce = self.challenge(Purpose::Lock)?,
            Stage::Locked => self.lock()?,
            Stage::Rotating => self.nonce = self.challenge(Purpose::RotateRoot)?,
            Stage::Retiring => self.nonce = self.challenge(Purpose::Decommission)?,
            Stage::Decommissioned => {
                let body = Decommission { nonce: self.challenge(Purpose::Decommission)? };
                let end = said(Kind::Decommission, Audience::Device(self.id()?), 0, &body);
                self.say(Command::Decommission, &end, ROOT)?;
            }
            Stage::Interrupted => self.cut(2)?,
            Stage::Unfinished => self.cut(3)?,
        }
        Ok(())
    }

    fn lock(&mut self) -> Result<(), Error> {
        let body = Lock { nonce: self.challenge(Purpose::Lock)? };
        self.say(Command::Lock, &said(Kind::Lock, Audience::Device(self.id()?), 0, &body), AUTHORITY)
    }

    /// An upgrade that ends after this many storage operations.
    fn cut(&mut self, operations: usize) -> Result<(), Error> {
        self.device.set(|world| world.operations_left = Some(operations));
        let cut = self.install(5);
        self.device.set(|world| world.operations_left = None);
        if cut.is_err() { Ok(()) } else { Err(Error::Internal) }
    }

    fn install(&self, version: u32) -> Result<(), Error> {
        let (manifest, ciphertext) = package(version);
        let mut link = self.open(None)?;
        send(&mut link, Command::InstallBegin, &envelope(&manifest, PUBLISHER))?;
        let request = encode(&InstallChunkRequest { offset: 0 });
        link.handle(Command::InstallChunk as u32, &request, &&ciphertext[..], &mut [])?;
        send(&mut link, Command::InstallFinish, &[])
    }

    fn say(&self, command: Command, payload: &[u8], signer: u8) -> Result<(), Error> {
        send(&mut self.open(None)?, command, &envelope(payload, signer))
    }

    fn challenge(&self, purpose: Purpose) -> Result<Nonce, Error> {
        let request = encode(&ChallengeRequest { purpose });
        ask::<ChallengeReply>(&mut self.open(None)?, Command::Challenge, &request).map(|reply| reply.nonce)
    }

    /// The device's id.
    pub fn id(&self) -> Result<DeviceId, Error> {
        let info: trustbox_api::message::InfoReply = ask(&mut self.open(None)?, Command::Info, &[])?;
        Ok(info.device_id)
    }

    /// Opens a session.
    pub fn open(&self, caller: Option<Uuid>) -> Result<Link, Error> {
        Session::open(self.tee(caller))
    }

    fn tee(&self, caller: Option<Uuid>) -> QuickTee {
        QuickTee::new(&self.device, &self.random, caller)
    }

    /// What lasts of it, now.
    pub fn save(&self) -> Saved {
        let world = self.device.get();
        let (records, tadb) = (world.records.clone(), world.tadb.clone());
        Saved { records, tadb, keys: world.keys, random: self.random.get() }
    }

    fn restore(&self) {
        let Saved { records, tadb, keys, random } = &self.saved;
        self.random.set(*random);
        self.device.set(|world| {
            world.keys = *keys;
            world.operations_left = None;
            if world.records != *records {
                world.records.clone_from(records);
            }
            if world.tadb != *tadb {
                world.tadb.clone_from(tadb);
            }
        });
    }
}

/// Sends a request and drops the reply.
pub fn send(link: &mut Link, command: Command, request: &[u8]) -> Result<(), Error> {
    link.handle(command as u32, request, &&[][..], &mut [0; MAX_REPLY]).map(drop)
}

/// Sends a request; the reply as it is.
pub fn call(link: &mut Link, command: Command, request: &[u8]) -> Result<Vec<u8>, Error> {
    let mut reply = vec![0; MAX_REPLY];
    let length = link.handle(command as u32, request, &&[][..], &mut reply)?;
    reply.truncate(length);
    Ok(reply)
}

/// Sends a request and decodes the reply.
pub fn ask<A: DeserializeOwned>(link: &mut Link, command: Command, request: &[u8]) -> Result<A, Error> {
    wire::decode(&call(link, command, request)?)
}

/// Encodes a request.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut out = vec![0; MAX_REQUEST];
    let length = postcard::to_slice(message, &mut out).expect("requests fit").len();
    out.truncate(length);
    out
}
