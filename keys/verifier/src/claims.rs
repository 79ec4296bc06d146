//! What a token says: every claim of our profile, in its type.

use alloc::vec::Vec;

use trustbox_api::limits::MAX_REPORT_DATA;
use trustbox_api::token::{NONCE_SIZES, PROFILE, UEID_RANDOM, claim, component};
use trustbox_api::{Bytes, PublicKey};

use crate::reader::{Fault, Reader};
use crate::refusal::Refusal;

/// Components that a token may list; a device has fewer.
const MAX_COMPONENTS: u64 = 64;
/// Claims that a token may have, unknown ones included.
const MAX_CLAIMS: u64 = 64;

/// The claims of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims<'a> {
    /// The nonce that it answers.
    pub nonce: &'a [u8],
    /// SHA-256 of the attestation key's SubjectPublicKeyInfo.
    pub attestation_key: [u8; 32],
    /// Random, drawn anew by every boot.
    pub boot_seed: &'a [u8],
    /// Who asked; negative for the normal world.
    pub client_id: i64,
    /// Where the device stands: see `trustbox_api::token::lifecycle`.
    pub lifecycle: u64,
    /// Which kind of device it is.
    pub implementation_id: [u8; 32],
    /// What runs.
    pub components: Vec<Component<'a>>,
    /// SHA-256 of the SubjectPublicKeyInfo to which keys may be wrapped.
    pub wrapping_key: [u8; 32],
    /// 0 for none, 1 for replay-protected memory.
    pub rollback_protection: u64,
    /// 0 for a stub, 1 for a test key, 2 for one that is unique to the device.
    pub hardware_key: u64,
    /// Revocations accepted so far.
    pub security_epoch: u64,
    /// Entries so far in each channel of the activity log.
    pub log_entries: [u64; 3],
    /// SHA-256 over the heads of the activity log.
    pub log_head: [u8; 32],
    /// Id of the owner root, if there is an owner.
    pub owner_root: Option<[u8; 32]>,
    /// What an enclave vouches for, in its report.
    pub enclave_data: Option<&'a [u8]>,
    /// The key that an enclave holds, in its report.
    pub transport_key: Option<PublicKey>,
}

/// A software component.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Component<'a> {
    /// `optee`, `trustbox`, or the UUID of an enclave.
    pub kind: &'a str,
    /// SHA-256 of what runs.
    pub measurement: [u8; 32],
    /// Its version.
    pub version: &'a str,
    /// Who signed it, if it says so.
    pub signer: Option<[u8; 32]>,
}

/// Claims as they come in, each once.
#[derive(Default)]
struct Found<'a> {
    nonce: Option<&'a [u8]>,
    attestation_key: Option<[u8; 32]>,
    profile: Option<()>,
    boot_seed: Option<&'a [u8]>,
    client_id: Option<i64>,
    lifecycle: Option<u64>,
    implementation_id: Option<[u8; 32]>,
    components: Option<Vec<Component<'a>>>,
    wrapping_key: Option<[u8; 32]>,
    rollback_protection: Option<u64>,
    hardware_key: Option<u64>,
    security_epoch: Option<u64>,
    log: Option<([u64; 3], [u8; 32])>,
    owner_root: Option<[u8; 32]>,
    enclave_data: Option<&'a [u8]>,
    transport_key: Option<PublicKey>,
}

impl<'a> Claims<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes);
        let whole = |what| Refusal::Claim { claim: "map", what };
        let count = reader.map().map_err(whole)?;
        if count > MAX_CLAIMS {
            return Err(whole("too many claims"));
        }
        let mut found = Found::default();
        let (mut numbers, mut names) = (Vec::new(), Vec::new());
        for _ in 0..count {
            match reader.key().map_err(whole)? {
                Ok(key) if numbers.contains(&key) => return Err(Refusal::Duplicate(key)),
                Err(name) if names.contains(&name) => return Err(Refusal::Duplicate(0)),
                Ok(key) => {
                    numbers.push(key);
                    found.take(key, &mut reader)?;
                }
                Err(name) => {
                    names.push(name);
                    reader.skip().map_err(|what| Refusal::Claim { claim: "unknown", what })?;
                }
            }
        }
        reader.end().map_err(whole)?;
        found.complete()
    }

    /// The component of this type.
    pub fn component(&self, kind: &str) -> Option<&Component<'a>> {
        self.components.iter().find(|component| component.kind == kind)
    }
}

impl<'a> Found<'a> {
    fn take(&mut self, key: i64, reader: &mut Reader<'a>) -> Result<(), Refusal> {
        let claim = name(key);
        let result = match i32::try_from(key).unwrap_or_default() {
            claim::NONCE => nonce(reader).map(|value| self.nonce = Some(value)),
            claim::INSTANCE_ID => instance(reader).map(|value| self.attestation_key = Some(value)),
            claim::PROFILE => profile(reader).map(|()| self.profile = Some(())),
            claim::BOOT_SEED => boot_seed(reader).map(|value| self.boot_seed = Some(value)),
            claim::CLIENT_ID => reader.integer().map(|value| self.client_id = Some(value)),
            claim::LIFECYCLE => reader.unsigned().map(|value| self.lifecycle = Some(value)),
            claim::IMPLEMENTATION_ID => reader.bytes_of().map(|value| self.implementation_id = Some(value)),
            claim::SOFTWARE_COMPONENTS => components(reader).map(|value| self.components = Some(value)),
            claim::WRAPPING_KEY => reader.bytes_of().map(|value| self.wrapping_key = Some(value)),
            claim::ROLLBACK_PROTECTION => {
                reader.unsigned().map(|value| self.rollback_protection = Some(value))
            }
            claim::HARDWARE_KEY => reader.unsigned().map(|value| self.hardware_key = Some(value)),
            claim::SECURITY_EPOCH => reader.unsigned().map(|value| self.security_epoch = Some(value)),
            claim::LOG_HEAD => log(reader).map(|value| self.log = Some(value)),
            claim::OWNER_ROOT => reader.bytes_of().map(|value| self.owner_root = Some(value)),
            claim::ENCLAVE_DATA => enclave_data(reader).map(|value| self.enclave_data = Some(value)),
            claim::CONFIRMATION => confirmation(reader).map(|value| self.transport_key = Some(value)),
            _ => reader.skip(),
        };
        result.map_err(|what| Refusal::Claim { claim, what })
    }

    fn complete(self) -> Result<Claims<'a>, Refusal> {
        let missing = |key: i32| Refusal::Missing(name(key.into()));
        self.profile.ok_or(missing(claim::PROFILE))?;
        let (log_entries, log_head) = self.log.ok_or(missing(claim::LOG_HEAD))?;
        Ok(Claims {
            nonce: self.nonce.ok_or(missing(claim::NONCE))?,
            attestation_key: self.attestation_key.ok_or(missing(claim::INSTANCE_ID))?,
            boot_seed: self.boot_seed.ok_or(missing(claim::BOOT_SEED))?,
            client_id: self.client_id.ok_or(missing(claim::CLIENT_ID))?,
            lifecycle: self.lifecycle.ok_or(missing(claim::LIFECYCLE))?,
            implementation_id: self.implementation_id.ok_or(missing(claim::IMPLEMENTATION_ID))?,
            components: self.components.ok_or(missing(claim::SOFTWARE_COMPONENTS))?,
            wrapping_key: self.wrapping_key.ok_or(missing(claim::WRAPPING_KEY))?,
            rollback_protection: self.rollback_protection.ok_or(missing(claim::ROLLBACK_PROTECTION))?,
            hardware_key: self.hardware_key.ok_or(missing(claim::HARDWARE_KEY))?,
            security_epoch: self.security_epoch.ok_or(missing(claim::SECURITY_EPOCH))?,
            log_entries,
            log_head,
            owner_root: self.owner_root,
            enclave_data: self.enclave_data,
            transport_key: self.transport_key,
        })
    }
}

/// Names of claims, as in the standards.
fn name(key: i64) -> &'static str {
    match i32::try_from(key).unwrap_or_default() {
        claim::NONCE => "nonce",
        claim::INSTANCE_ID => "instance-id",
        claim::PROFILE => "profile",
        claim::BOOT_SEED => "boot-seed",
        claim::CLIENT_ID => "client-id",
        claim::LIFECYCLE => "lifecycle",
        claim::IMPLEMENTATION_ID => "implementation-id",
        claim::SOFTWARE_COMPONENTS => "software-components",
        claim::WRAPPING_KEY => "wrapping-key",
        claim::ROLLBACK_PROTECTION => "rollback-protection",
        claim::HARDWARE_KEY => "hardware-key",
        claim::SECURITY_EPOCH => "security-epoch",
        claim::LOG_HEAD => "log-head",
        claim::OWNER_ROOT => "owner-root",
        claim::ENCLAVE_DATA => "enclave-data",
        claim::CONFIRMATION => "confirmation",
        _ => "unknown",
    }
}

fn nonce<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Fault> {
    let nonce = reader.bytes()?;
    if NONCE_SIZES.contains(&nonce.len()) { Ok(nonce) } else { Err("not of 32, 48 or 64 bytes") }
}

fn instance(reader: &mut Reader<'_>) -> Result<[u8; 32], Fault> {
    match reader.bytes_of::<33>()? {
        [UEID_RANDOM, id @ ..] => Ok(id),
        _ => Err("not a hashed identifier"),
    }
}

fn profile(reader: &mut Reader<'_>) -> Result<(), Fault> {
    if reader.bytes()? == PROFILE { Ok(()) } else { Err("another profile") }
}

fn boot_seed<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Fault> {
    let seed = reader.bytes()?;
    if (8..=32).contains(&seed.len()) { Ok(seed) } else { Err("not of 8 to 32 bytes") }
}

fn log(reader: &mut Reader<'_>) -> Result<([u64; 3], [u8; 32]), Fault> {
    if reader.array()? != 4 {
        return Err("not an array of four");
    }
    let entries = [reader.unsigned()?, reader.unsigned()?, reader.unsigned()?];
    Ok((entries, reader.bytes_of()?))
}

fn enclave_data<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Fault> {
    let data = reader.bytes()?;
    if data.len() <= MAX_REPORT_DATA { Ok(data) } else { Err("more than 64 bytes") }
}

/// A COSE_Key on P-256 (RFC 9053, 7.1.1), in a map under 1 (RFC 8747, 3.2).
fn confirmation(reader: &mut Reader<'_>) -> Result<PublicKey, Fault> {
    const SHAPE: Fault = "not an EC2 key on P-256 alone";
    let (mut x, mut y) = (None, None);
    if reader.map()? != 1 || reader.integer()? != 1 || reader.map()? != 4 {
        return Err(SHAPE);
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        let key = reader.integer()?;
        if seen.contains(&key) {
            return Err("a parameter of the key stands there twice");
        }
        seen.push(key);
        match key {
            1 if reader.integer()? == 2 => {}
            -1 if reader.integer()? == 1 => {}
            -2 => x = Some(reader.bytes_of::<32>()?),
            -3 => y = Some(reader.bytes_of::<32>()?),
            _ => return Err(SHAPE),
        }
    }
    let mut point = [0; 64];
    point[..32].copy_from_slice(&x.ok_or(SHAPE)?);
    point[32..].copy_from_slice(&y.ok_or(SHAPE)?);
    Ok(PublicKey(Bytes(point)))
}

fn components<'a>(reader: &mut Reader<'a>) -> Result<Vec<Component<'a>>, Fault> {
    let count = reader.array()?;
    if count > MAX_COMPONENTS {
        return Err("too many components");
    }
    let mut found: Vec<Component<'a>> = Vec::new();
    for _ in 0..count {
        let next = one_component(reader)?;
        if found.iter().any(|known| known.kind == next.kind) {
            return Err("a component stands there twice");
        }
        found.push(next);
    }
    Ok(found)
}

fn one_component<'a>(reader: &mut Reader<'a>) -> Result<Component<'a>, Fault> {
    let count = reader.map()?;
    let (mut kind, mut measurement, mut version, mut signer) = (None, None, None, None);
    let mut seen = Vec::new();
    if count > MAX_CLAIMS {
        return Err("a component has too many claims");
    }
    for _ in 0..count {
        let key = reader.key()?.map_err(|_| "a component has a claim with a name")?;
        if seen.contains(&key) {
            return Err("a component has a claim twice");
        }
        seen.push(key);
        match i32::try_from(key).unwrap_or_default() {
            component::TYPE => kind = Some(reader.text()?),
            component::MEASUREMENT => measurement = Some(reader.bytes_of()?),
            component::VERSION => version = Some(reader.text()?),
            component::SIGNER_ID => signer = Some(reader.bytes_of()?),
            _ => reader.skip()?,
        }
    }
    Ok(Component {
        kind: kind.ok_or("a component has no type")?,
        measurement: measurement.ok_or("a component has no measurement")?,
        version: version.ok_or("a component has no version")?,
        signer,
    })
}
