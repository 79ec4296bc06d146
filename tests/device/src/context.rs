//! What cases share: the device, the keys of its owner, and the way to a provisioned device.

use p256::ecdsa::SigningKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trustbox_api::Command;
use trustbox_api::command::Lifecycle;
use trustbox_api::key::{DeviceId, KeyId, KeyName, KeyRef, PublicKey, Uuid};
use trustbox_api::limits::{MAX_CHUNK, MAX_REPLY, MAX_REQUEST};
use trustbox_api::message::{
    ChallengeReply, ChallengeRequest, InfoReply, InstallChunkRequest, ListReply, Purpose,
};
use trustbox_api::statement::{Audience, KeyBundle, Kind, PinRoot, Publisher, Releaser};

use crate::case::Stop;
use crate::check;
use crate::forge;
use crate::package::wrap;
use crate::target::{Code, Link, Target};

/// The parties of the story, with their keys.
pub struct Parties {
    /// Signs which owner root a device is pinned to.
    pub authority: SigningKey,
    /// The owner root.
    pub root: SigningKey,
    /// Publishes enclaves.
    pub publisher: SigningKey,
    /// Releases class keys.
    pub releaser: SigningKey,
    /// The class key of the suite's packages.
    pub class_key: [u8; 32],
}

impl Parties {
    /// A made-up owner under a real provisioning authority.
    pub fn strangers(authority: SigningKey) -> Self {
        let [root, publisher, releaser] = [201, 202, 203].map(forge::stranger);
        Self { authority, root, publisher, releaser, class_key: [42; 32] }
    }
}

/// The enclave that the suite installs.
#[derive(Clone)]
pub struct Image {
    /// Signed OP-TEE image.
    pub bytes: Vec<u8>,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its version.
    pub version: u32,
}

/// What a case works with.
pub struct Context<'a> {
    /// The device.
    pub target: &'a dyn Target,
    /// Who is who.
    pub parties: &'a Parties,
    /// The enclave to install.
    pub image: Image,
    /// How thorough the cases are, as xtest has it: 0 for samples, [`EXHAUSTIVE`] for everything.
    pub level: u32,
    sequence: u64,
}

/// The level at which cases leave nothing out.
pub const EXHAUSTIVE: u32 = 15;
/// How many of many positions a case tries below that level.
const SAMPLES: usize = 24;

/// UUID of an enclave the suite may also publish; nothing runs under it.
pub const SPARE_UUID: &str = "0f6f4f5c-1f0a-4a77-9b1d-6f5d0b7f2e01";
/// Name of the suite's class key.
pub const CLASS_KEY: &str = "suite-class";

impl<'a> Context<'a> {
    /// `sequence` must be higher than in any run against the same device before, as the time is.
    pub fn new(target: &'a dyn Target, parties: &'a Parties, image: Image, sequence: u64) -> Self {
        Self { target, parties, image, level: 0, sequence }
    }

    /// Positions below `count` to try: all of them, or samples from all over.
    pub fn positions(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let step = if self.level >= EXHAUSTIVE { 1 } else { count.div_ceil(SAMPLES).max(1) };
        (0..count).step_by(step)
    }

    /// Opens a session.
    pub fn connect(&self) -> Result<Box<dyn Link + 'a>, Stop> {
        Ok(self.target.connect()?)
    }

    /// The next sequence for a statement of the owner.
    pub fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// The owner root's id.
    pub fn root_id(&self) -> KeyId {
        forge::public(&self.parties.root).id()
    }

    /// The suite's class key, version 1.
    pub fn class_key_ref(&self) -> KeyRef {
        KeyRef::new(CLASS_KEY, 1).expect("a short name")
    }

    /// A provisioned device with the suite's publisher and releaser authorised.
    pub fn owned(&mut self) -> Result<InfoReply, Stop> {
        let mut link = self.connect()?;
        let mut info = info(link.as_mut())?;
        if info.lifecycle == Lifecycle::Blank {
            let challenge = challenge(link.as_mut(), Purpose::Provision)?;
            send(link.as_mut(), Command::Provision, &self.pin_root(&challenge))?;
            info = self::info(link.as_mut())?;
        }
        if info.owner_root != Some(self.root_id()) {
            return Err(Stop::Skipped("the device belongs to another owner"));
        }
        let publisher = self.delegate_publisher(&[self.image.uuid, spare_uuid()]);
        send(link.as_mut(), Command::Authorise, &publisher)?;
        let releaser = self.delegate_releaser(&[CLASS_KEY]);
        send(link.as_mut(), Command::Authorise, &releaser)?;
        Ok(info)
    }

    /// A device that also holds the suite's class key.
    pub fn keyed(&mut self) -> Result<InfoReply, Stop> {
        let info = self.owned()?;
        if !info.class_keys.contains(&self.class_key_ref()) {
            let mut link = self.connect()?;
            let challenge = challenge(link.as_mut(), Purpose::ImportKey)?;
            let wrapped = self.wrapped_class_key(link.as_mut())?;
            let bundle = self.bundle(&challenge, &self.class_key_ref(), &wrapped);
            send(link.as_mut(), Command::ImportKey, &bundle)?;
        }
        Ok(info)
    }

    /// A device with the suite's enclave installed.
    pub fn installed(&mut self) -> Result<(), Stop> {
        self.keyed()?;
        let mut link = self.connect()?;
        let present = list(link.as_mut())?.enclaves.iter().any(|enclave| {
            enclave.uuid == self.image.uuid && enclave.version == Some(self.image.version) && !enclave.pending
        });
        if !present {
            let package = self.package(&self.image);
            install(link.as_mut(), &package.0, &package.1)?;
        }
        Ok(())
    }

    /// The statement that pins the suite's owner root.
    pub fn pin_root(&self, challenge: &ChallengeReply) -> Vec<u8> {
        let root = forge::public(&self.parties.root);
        let header = forge::header(Kind::PinRoot, root.id(), Audience::Device(challenge.device_id), 0);
        forge::statement(&header, &PinRoot { nonce: challenge.nonce, root }, &self.parties.authority)
    }

    /// The owner's delegation to the suite's publisher.
    pub fn delegate_publisher(&mut self, uuids: &[Uuid]) -> Vec<u8> {
        let header = self.owner_header(Kind::Publisher);
        let body = publisher(forge::public(&self.parties.publisher), uuids);
        forge::statement(&header, &body, &self.parties.root)
    }

    /// The owner's delegation to the suite's releaser.
    pub fn delegate_releaser(&mut self, names: &[&str]) -> Vec<u8> {
        let header = self.owner_header(Kind::Releaser);
        let keys = names.iter().map(|name| KeyName::try_from(*name).expect("a short name")).collect();
        let body = Releaser { key: forge::public(&self.parties.releaser), keys };
        forge::statement(&header, &body, &self.parties.root)
    }

    /// A header for the next statement of the owner to the whole fleet.
    pub fn owner_header(&mut self, kind: Kind) -> trustbox_api::statement::Header {
        let sequence = self.next_sequence();
        forge::header(kind, self.root_id(), Audience::Fleet, sequence)
    }

    /// A key bundle of the suite's releaser.
    pub fn bundle(&self, challenge: &ChallengeReply, key: &KeyRef, wrapped: &[u8]) -> Vec<u8> {
        let body = KeyBundle { nonce: challenge.nonce, key: key.clone(), wrapped };
        forge::statement(&self.bundle_header(challenge.device_id, key), &body, &self.parties.releaser)
    }

    /// The header of a key bundle.
    pub fn bundle_header(&self, device: DeviceId, key: &KeyRef) -> trustbox_api::statement::Header {
        let audience = Audience::Device(device);
        forge::header(Kind::KeyBundle, self.root_id(), audience, u64::from(key.version))
    }

    /// The suite's class key, wrapped for the device.
    pub fn wrapped_class_key(&self, link: &mut dyn Link) -> Result<Vec<u8>, Stop> {
        let device_key = link.call(Command::DeviceKey as u32, &[], None, MAX_REPLY)?;
        wrap(&device_key, &self.parties.class_key)
    }
}

/// The spare UUID.
pub fn spare_uuid() -> Uuid {
    SPARE_UUID.parse().expect("a constant")
}

/// Body of a publisher's delegation.
pub fn publisher(key: PublicKey, uuids: &[Uuid]) -> Publisher {
    Publisher { key, uuids: uuids.iter().copied().collect() }
}

/// Sends a request that has no reply.
pub fn send(link: &mut dyn Link, command: Command, request: &[u8]) -> Result<(), Code> {
    link.call(command as u32, request, None, MAX_REPLY).map(drop)
}

/// Sends a message and decodes the reply.
pub fn ask<A: DeserializeOwned>(link: &mut dyn Link, command: Command, request: &[u8]) -> Result<A, Stop> {
    let reply = link.call(command as u32, request, None, MAX_REPLY)?;
    trustbox_api::wire::decode(&reply).map_err(|error| Stop::Failed(format!("reply: {error}")))
}

/// Encodes a request.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut out = vec![0; MAX_REQUEST];
    let length = postcard::to_slice(message, &mut out).expect("requests fit").len();
    out.truncate(length);
    out
}

/// State and versions of the device.
pub fn info(link: &mut dyn Link) -> Result<InfoReply, Stop> {
    ask(link, Command::Info, &[])
}

/// What is installed.
pub fn list(link: &mut dyn Link) -> Result<ListReply, Stop> {
    ask(link, Command::List, &[])
}

/// A nonce.
pub fn challenge(link: &mut dyn Link, purpose: Purpose) -> Result<ChallengeReply, Stop> {
    ask(link, Command::Challenge, &encode(&ChallengeRequest { purpose }))
}

/// Sends one chunk of ciphertext.
pub fn send_chunk(link: &mut dyn Link, offset: usize, chunk: &[u8]) -> Result<(), Code> {
    let request = encode(&InstallChunkRequest { offset: offset as u32 });
    link.call(Command::InstallChunk as u32, &request, Some(chunk), MAX_REPLY).map(drop)
}

/// Installs: begin, chunks, finish.
pub fn install(link: &mut dyn Link, manifest: &[u8], ciphertext: &[u8]) -> Result<(), Code> {
    send(link, Command::InstallBegin, manifest)?;
    let mut offset = 0;
    for chunk in ciphertext.chunks(MAX_CHUNK) {
        if let Err(code) = send_chunk(link, offset, chunk) {
            send(link, Command::InstallAbort, &[])?;
            return Err(code);
        }
        offset += chunk.len();
    }
    send(link, Command::InstallFinish, &[])
}

/// Sends a statement cut short and with one bit flipped, at many places; each time it must be refused.
pub fn refuse_damaged(
    context: &Context<'_>,
    link: &mut dyn Link,
    command: Command,
    good: &[u8],
) -> Result<(), Stop> {
    for length in context.positions(good.len()) {
        let answer = send(link, command, &good[..length]);
        check!(answer.is_err(), "cut to {length} of {} bytes and accepted", good.len());
    }
    for bit in context.positions(good.len() * 8) {
        let answer = send(link, command, &forge::flip(good, bit));
        check!(answer.is_err(), "bit {bit} flipped and accepted");
    }
    Ok(())
}
