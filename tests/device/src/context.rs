//! What cases share: the device, the keys of its owner, and the way to a provisioned device.

use std::ffi::OsString;
use std::path::PathBuf;

use p256::ecdsa::SigningKey;
use trustbox_api::Command;
use trustbox_api::command::Lifecycle;
use trustbox_api::key::{DeviceId, KeyId, KeyName, KeyRef, PublicKey, Uuid};
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::{ChallengeReply, InfoReply, Purpose};
use trustbox_api::statement::{
    Audience, Header, KeyBundle, Kind, PinRoot, Publisher, Releaser, Revocation, Revoked, Revoker,
};

use crate::case::Stop;
use crate::check;
use crate::forge;
use crate::package::wrap;
use crate::requests::{challenge, info, install, list, send};
use crate::target::{Link, Target};

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
    /// Revokes.
    pub revoker: SigningKey,
    /// The class key of the suite's packages.
    pub class_key: [u8; 32],
}

impl Parties {
    /// A made-up owner under a real provisioning authority.
    pub fn strangers(authority: SigningKey) -> Self {
        let [root, publisher, releaser, revoker] = [201, 202, 203, 204].map(forge::stranger);
        Self { authority, root, publisher, releaser, revoker, class_key: [42; 32] }
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

/// The enclaves of the suite.
pub struct Images {
    /// The meter.
    pub meter: Image,
    /// The probe, in three versions.
    pub probe: [Image; 3],
    /// The one in C.
    pub c_echo: Image,
}

/// What a case works with.
pub struct Context<'a> {
    /// The device.
    pub target: &'a dyn Target,
    /// Who is who.
    pub parties: &'a Parties,
    /// The enclave to install: the meter.
    pub image: Image,
    /// An enclave that does what cases ask for, in three versions, the lowest one first.
    pub probe: [Image; 3],
    /// An enclave in C.
    pub c_echo: Image,
    /// The probe in a version that is as large as the device takes.
    pub largest: Option<Image>,
    /// A program that launches an enclave, calls a command of it, and cancels.
    pub cancel: Option<PathBuf>,
    /// This program's own command line, up to the steps that it would carry out.
    pub again: Option<Vec<OsString>>,
    /// A program that rewrites the memory of its calls.
    pub rewrite: Option<PathBuf>,
    /// A folder with Wycheproof's vectors.
    pub vectors: Option<PathBuf>,
    /// A properly signed image under the UUID of the TrustBox TA.
    pub impostor: Option<PathBuf>,
    /// How thorough the cases are, as xtest has it: 0 for samples, [`EXHAUSTIVE`] for everything.
    pub level: u32,
    sequence: u64,
}

/// The level at which cases try every length, octet and vector.
pub const EXHAUSTIVE: u32 = 15;
/// How many of many lengths or bits a case tries below that level.
const SAMPLES: usize = 24;

/// UUID of an enclave the suite may also publish; nothing runs under it.
pub const SPARE_UUID: &str = "0f6f4f5c-1f0a-4a77-9b1d-6f5d0b7f2e01";
/// UUID of the meter.
pub const METER_UUID: &str = "5f0e6a52-7c0b-4a40-8d7e-0c1d6b3a9f21";
/// UUID of the probe.
pub const PROBE_UUID: &str = "9d1f3c52-6b7e-4f0a-8a41-3c5e2b7d9f60";
/// UUID of the enclave in C.
pub const C_ECHO_UUID: &str = "e2a4b6c8-1d3f-4a5b-9c7d-0f1e2d3c4b5a";
/// Name of the suite's class key.
pub const CLASS_KEY: &str = "suite-class";

impl<'a> Context<'a> {
    /// `sequence` must be higher than in any run against the same device before, as the time is.
    pub fn new(target: &'a dyn Target, parties: &'a Parties, images: Images, sequence: u64) -> Self {
        let Images { meter, probe, c_echo } = images;
        Self {
            target,
            parties,
            image: meter,
            probe,
            c_echo,
            largest: None,
            again: None,
            cancel: None,
            rewrite: None,
            vectors: None,
            impostor: None,
            level: 0,
            sequence,
        }
    }

    /// Lengths below `count` to try: all of them, or samples from all over.
    pub fn lengths(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        (0..count).step_by(self.step(count, 1))
    }

    /// Bits of so many octets to try: some of every octet, another one each time, or samples from all over.
    pub fn bits(&self, octets: usize) -> impl Iterator<Item = usize> + use<> {
        (0..octets * 8).step_by(self.step(octets * 8, 7))
    }

    fn step(&self, count: usize, exhaustive: usize) -> usize {
        if self.level >= EXHAUSTIVE { exhaustive } else { count.div_ceil(SAMPLES).max(1) }
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
        if info.lifecycle == Lifecycle::Decommissioned {
            return Err(Stop::Skipped("the device is decommissioned"));
        }
        if info.owner_root != Some(self.root_id()) {
            return Err(Stop::Skipped("the device belongs to another owner"));
        }
        let publisher = self.delegate_publisher(&self.uuids());
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
        self::info(self.connect()?.as_mut())
    }

    /// What the suite's publisher may publish.
    pub fn uuids(&self) -> [Uuid; 4] {
        [self.image.uuid, self.probe[0].uuid, self.c_echo.uuid, spare_uuid()]
    }

    /// A device with the suite's enclave installed.
    pub fn installed(&mut self) -> Result<(), Stop> {
        let image = self.image.clone();
        self.with(&image)
    }

    /// A device with this enclave installed.
    pub fn with(&mut self, image: &Image) -> Result<(), Stop> {
        self.keyed()?;
        let mut link = self.connect()?;
        let present = list(link.as_mut())?.enclaves.iter().any(|enclave| {
            enclave.uuid == image.uuid && enclave.version == Some(image.version) && !enclave.pending
        });
        if !present {
            let package = self.package(image);
            install(link.as_mut(), &package.0, &package.1)?;
        }
        Ok(())
    }

    /// A device with a revoker authorised.
    pub fn with_revoker(&mut self) -> Result<(), Stop> {
        self.owned()?;
        let header = self.owner_header(Kind::Revoker);
        let body = Revoker { key: forge::public(&self.parties.revoker) };
        let statement = forge::statement(&header, &body, &self.parties.root);
        Ok(send(self.connect()?.as_mut(), Command::Authorise, &statement)?)
    }

    /// A revocation by the suite's revoker.
    pub fn revocation(&mut self, items: &[Revoked]) -> Vec<u8> {
        let header = self.owner_header(Kind::Revocation);
        forge::statement(&header, &revocation(items), &self.parties.revoker)
    }

    /// A header for a statement of the owner to one device only.
    pub fn device_header(&self, kind: Kind, challenge: &ChallengeReply) -> Header {
        forge::header(kind, self.root_id(), Audience::Device(challenge.device_id), 0)
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
        let keys = names.iter().map(|name| KeyName::from(name).expect("a short name")).collect();
        let body = Releaser { key: forge::public(&self.parties.releaser), keys };
        forge::statement(&header, &body, &self.parties.root)
    }

    /// A header for the next statement of the owner to the whole fleet.
    pub fn owner_header(&mut self, kind: Kind) -> Header {
        let sequence = self.next_sequence();
        forge::header(kind, self.root_id(), Audience::Fleet, sequence)
    }

    /// A key bundle of the suite's releaser.
    pub fn bundle(&self, challenge: &ChallengeReply, key: &KeyRef, wrapped: &[u8]) -> Vec<u8> {
        let body = KeyBundle { nonce: challenge.nonce, key: *key, wrapped };
        forge::statement(&self.bundle_header(challenge.device_id, key), &body, &self.parties.releaser)
    }

    /// The header of a key bundle.
    pub fn bundle_header(&self, device: DeviceId, key: &KeyRef) -> Header {
        let audience = Audience::Device(device);
        forge::header(Kind::KeyBundle, self.root_id(), audience, u64::from(key.version))
    }

    /// The suite's class key, wrapped for the device.
    pub fn wrapped_class_key(&self, link: &mut dyn Link) -> Result<Vec<u8>, Stop> {
        let device_key = link.call(Command::DeviceKey as u32, &[], None, MAX_REPLY)?;
        wrap(&device_key, &self.parties.class_key)
    }
}

impl Images {
    /// From signed images, told apart by UUID and version.
    pub fn of(mut images: Vec<Image>) -> Result<Self, String> {
        images.sort_by_key(|image| image.version);
        let mut take = |name: &str, uuid: &str| {
            let found = images.iter().position(|image| image.uuid.to_string() == uuid);
            found.map(|index| images.remove(index)).ok_or(format!("no image of the {name} ({uuid})"))
        };
        let meter = take("meter", METER_UUID)?;
        let mut probe = || take("probe in three versions", PROBE_UUID);
        let probe = [probe()?, probe()?, probe()?];
        Ok(Self { meter, probe, c_echo: take("enclave in C", C_ECHO_UUID)? })
    }
}

/// Skips a case where there is no OP-TEE.
pub fn optee_only(context: &Context<'_>) -> Result<(), Stop> {
    match context.target.connect_to(SPARE_UUID) {
        None => Err(Stop::Skipped("only on OP-TEE")),
        Some(_) => Ok(()),
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

/// Body of a revocation.
pub fn revocation(items: &[Revoked]) -> Revocation {
    Revocation { items: items.iter().copied().collect() }
}

/// Sends a statement cut short and with one bit flipped, at many places; each time it must be refused.
pub fn refuse_damaged(
    context: &Context<'_>,
    link: &mut dyn Link,
    command: Command,
    good: &[u8],
) -> Result<(), Stop> {
    for length in context.lengths(good.len()) {
        let answer = send(link, command, &good[..length]);
        check!(answer.is_err(), "cut to {length} of {} bytes and accepted", good.len());
    }
    for bit in context.bits(good.len()) {
        let answer = send(link, command, &forge::flip(good, bit));
        check!(answer.is_err(), "bit {bit} flipped and accepted");
    }
    Ok(())
}
