//! From a board as it comes to one that believes only its owner's images, with a key of its own: the fuses, in the one order in which a
//! cut leaves no scrap. **Not tried on hardware**; tests run it against a model of the registers, cut at every point.
//!
//! image signed with the final root keys → SRKH → master key → power cycle, SNVS → the rest, ITS → power cycle, SNVS secure and key
//! unique → RPMB key. What is there is read from the fuses, not from what was written before: mirror registers keep what nobody
//! programmed, so each run begins with a power cycle, and every group ends with one before it is believed.
//!
//! A cut in the moment in which the master key is programmed makes a board that is scrap, since nobody ever has that key to write it
//! again; that is seen and said (`master-key`). Nothing else does.

pub mod board;

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::signature::Verifier;
use rsa::{BoxedUint, RsaPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trustbox_boot_image::secure;

use super::Failure;
use super::named::{AGAIN, Named};
use crate::fuses::{Fuse, ITS, OSPR0, OTPMK, Plan, SFP, SRKH, WRITE_PROTECT};

/// Instruction register: 2 programs what the mirror registers hold, and is 0 again when that is done.
pub const INSTRUCTION: u64 = SFP + 0x20;
/// Program.
pub const PROGRAM: u32 = 2;
/// SNVS: state of the security monitor, and of the master key.
pub const SNVS_STATUS: u64 = 0x01e9_0014;
/// No master key is there.
pub const NO_MASTER_KEY: u32 = 1 << 27;
/// What the master key's code says is wrong with it; 0 for nothing.
pub const SYNDROME: u32 = 0x1ff << 16;
/// Bits of the security monitor's state.
pub const STATE: u32 = 0xf << 8;
const TRUSTED: u32 = 0xd << 8;
const SECURE: u32 = 0xf << 8;
/// Bytes of a medium that have the whole boot image: from there on is the firmware image package.
pub const IMAGE: usize = 0x10_0000 - 0x1000;
/// How often a running program command is looked at.
const LOOKS: usize = 1000;

const SCRAP: &str = "the board is scrap: put it aside, and destroy it";
const ASIDE: &str = "put the board aside: it is not one for this line";
const SUPPLY: &str = "look at the fuses' supply, then again";
const FUSE: &str = "write the board's fuses: trustbox-keys fuse, then the station again";
const FLASH: &str = "flash the image that is signed with the root keys of the plan, with SB_EN in its RCW";

/// What RPMB holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rpmb {
    /// The board has none.
    Absent,
    /// No key yet.
    Blank,
    /// A key.
    Keyed,
}

/// A board on the table, or a model of one.
pub trait Board {
    /// Reads a register.
    fn read(&mut self, register: u64) -> Result<u32>;
    /// Writes a register.
    fn write(&mut self, register: u64, value: u32) -> Result<()>;
    /// Makes a master key, on the board, and writes it to the mirror registers from this one on; nobody else hears of it.
    fn make_master_key(&mut self, register: u64) -> Result<()>;
    /// Switches the supply that fuses are programmed with.
    fn supply(&mut self, on: bool) -> Result<()>;
    /// Off and on again, and up.
    fn power_cycle(&mut self) -> Result<()>;
    /// The image that it boots, up to [`IMAGE`] bytes.
    fn image(&mut self) -> Result<Vec<u8>>;
    /// What its firmware says of its hardware unique key.
    fn hardware_key(&mut self) -> Result<String>;
    /// What RPMB holds.
    fn rpmb(&mut self) -> Result<Rpmb>;
    /// Has the firmware use its storage, with which it gives RPMB its key.
    fn use_storage(&mut self) -> Result<()>;
}

/// A board's fuses being written.
pub struct Writing<'a> {
    /// The board.
    pub board: &'a mut dyn Board,
    /// The plan.
    pub plan: &'a Plan,
    /// Whether write protection is wanted, which the plan leaves open.
    pub write_protect: bool,
    /// Hears of each step.
    pub said: &'a mut dyn FnMut(&str, &str),
}

impl Writing<'_> {
    /// All steps. Whoever calls this was told that nothing of it can be taken back.
    pub fn all(&mut self) -> Result<(), Failure> {
        let plan = self.plan;
        plan.check().named("plan", "plan", "make the plan with build/tb fuse plan")?;
        self.board.power_cycle().named("begin", "link", AGAIN)?;
        self.image()?;
        let (keys, others): (Vec<_>, Vec<_>) = plan.fuses.iter().partition(|fuse| is_root_key(fuse));
        self.group("root-keys", &keys)?;
        self.master_key()?;
        let closing = |fuse: &&Fuse| fuse.register == OSPR0 && fuse.value == Some(ITS);
        let before: Vec<_> = others
            .iter()
            .copied()
            .filter(|fuse| fuse.value.is_some() && !closing(fuse) && !protects(fuse))
            .collect();
        self.group("policy", &before)?;
        // The last moment in which a wrong image is only an image.
        self.image()?;
        self.read_back("close", &keys)?;
        self.group("close", &others.iter().copied().filter(closing).collect::<Vec<_>>())?;
        self.closed()?;
        self.rpmb()?;
        if self.write_protect {
            self.group(
                "write-protect",
                &others.iter().copied().filter(|fuse| protects(fuse)).collect::<Vec<_>>(),
            )?;
        }
        Ok(())
    }

    /// The image's table of root keys is the one whose hash the plan has.
    fn image(&mut self) -> Result<(), Failure> {
        let image = self.board.image().named("image", "link", AGAIN)?;
        let found = root_keys_hash(&image).named("image", "image", FLASH)?;
        let expected = self.plan.fuses.iter().filter(|fuse| is_root_key(fuse)).filter_map(|fuse| fuse.value);
        let same = found.iter().copied().eq(expected);
        let wrong = || anyhow!("the image is signed with other root keys: {found:08x?}");
        same.then_some(()).ok_or_else(wrong).named("image", "image", FLASH)?;
        (self.said)("image", "signed with the plan's root keys");
        Ok(())
    }

    /// Fuses with values: what is missing is programmed, and all of it read back after a power cycle.
    fn group(&mut self, step: &'static str, fuses: &[&Fuse]) -> Result<(), Failure> {
        let mut written = 0;
        for fuse in fuses {
            let (Some(value), found) =
                (fuse.value, self.board.read(fuse.register).named(step, "link", AGAIN)?)
            else {
                continue;
            };
            // A word of the hash is nobody else's to share.
            let foreign = is_root_key(fuse) && found & !value != 0;
            let why = || anyhow!("{} is 0x{found:08x} already, not of 0x{value:08x}", fuse.name);
            (!foreign).then_some(()).ok_or_else(why).named(step, "foreign-fuses", ASIDE)?;
            if found & value == value {
                continue;
            }
            let program = |writing: &mut Self| {
                writing.board.write(fuse.register, found | value)?;
                writing.program()
            };
            program(self).named(step, "fuse", AGAIN)?;
            written += 1;
        }
        if written > 0 {
            self.board.power_cycle().named(step, "link", AGAIN)?;
            self.read_back(step, fuses)?;
        }
        (self.said)(step, &format!("{written} of {} written, all read back", fuses.len()));
        Ok(())
    }

    fn read_back(&mut self, step: &'static str, fuses: &[&Fuse]) -> Result<(), Failure> {
        for fuse in fuses {
            let found = self.board.read(fuse.register).named(step, "link", AGAIN)?;
            is_as_planned(fuse, found).named(step, "fuse", SUPPLY)?;
        }
        Ok(())
    }

    /// Made and programmed only where there is none; SNVS says what is there.
    fn master_key(&mut self) -> Result<(), Failure> {
        const STEP: &str = "master-key";
        let mut detail = "is there";
        if self.board.read(SNVS_STATUS).named(STEP, "link", AGAIN)? & NO_MASTER_KEY != 0 {
            let make = |writing: &mut Self| {
                writing.board.make_master_key(OTPMK)?;
                writing.program()
            };
            make(self).named(STEP, "fuse", AGAIN)?;
            self.board.power_cycle().named(STEP, "link", AGAIN)?;
            detail = "made on the board";
        }
        let status = self.board.read(SNVS_STATUS).named(STEP, "link", AGAIN)?;
        let there = if status & NO_MASTER_KEY == 0 {
            Ok(())
        } else {
            Err(anyhow!("SNVS says 0x{status:08x}: no master key"))
        };
        there.named(STEP, "fuse", SUPPLY)?;
        let whole = if status & SYNDROME == 0 {
            Ok(())
        } else {
            Err(anyhow!("SNVS says 0x{status:08x}: a master key that is not whole"))
        };
        whole.named(STEP, "master-key", SCRAP)?;
        (self.said)(STEP, detail);
        Ok(())
    }

    /// What the closed board must be.
    fn closed(&mut self) -> Result<(), Failure> {
        const STEP: &str = "closed";
        let status = self.board.read(SNVS_STATUS).named(STEP, "link", AGAIN)?;
        is_secure(status).named(STEP, "snvs", ASIDE)?;
        let key = self.board.hardware_key().named(STEP, "link", AGAIN)?;
        let why = || anyhow!("its hardware unique key is {key}, expected unique");
        (key == "unique").then_some(()).ok_or_else(why).named(STEP, "hardware-key", ASIDE)?;
        (self.said)(STEP, &format!("SNVS 0x{status:08x}, hardware key unique"));
        Ok(())
    }

    /// The key of RPMB comes of the hardware key, and is for ever: only now.
    fn rpmb(&mut self) -> Result<(), Failure> {
        const STEP: &str = "rpmb";
        const FIRMWARE: &str = "the firmware must write the key: CFG_RPMB_WRITE_KEY, for this once";
        let mut found = self.board.rpmb().named(STEP, "link", AGAIN)?;
        if found == Rpmb::Blank {
            self.board.use_storage().named(STEP, "rpmb", FIRMWARE)?;
            found = self.board.rpmb().named(STEP, "link", AGAIN)?;
        }
        let keyed = if found == Rpmb::Blank { Err(anyhow!("no key was written")) } else { Ok(()) };
        keyed.named(STEP, "rpmb", FIRMWARE)?;
        (self.said)(STEP, if found == Rpmb::Absent { "none on this board" } else { "has its key" });
        Ok(())
    }

    /// Programs what the mirror registers hold; the supply is on no longer than that.
    fn program(&mut self) -> Result<()> {
        self.board.supply(true)?;
        let programmed = self.command();
        let off = self.board.supply(false);
        programmed.and(off)
    }

    fn command(&mut self) -> Result<()> {
        self.board.write(INSTRUCTION, PROGRAM)?;
        for _ in 0..LOOKS {
            if self.board.read(INSTRUCTION)? & PROGRAM == 0 {
                return Ok(());
            }
        }
        Err(anyhow!("programming does not end"))
    }
}

/// What the fuses of a board say, held against the plan, for its voucher. What is secret is not read.
pub(super) fn read_back(plan: &Plan, read: &mut dyn FnMut(u64) -> Result<u32>) -> Result<Value, Failure> {
    const STEP: &str = "verify";
    let mut registers = BTreeMap::new();
    for fuse in plan.fuses.iter().filter(|fuse| fuse.value.is_some()) {
        let found = read(fuse.register).named(STEP, "link", AGAIN)?;
        let planned = is_as_planned(fuse, found);
        if is_root_key(fuse) {
            planned.named(STEP, "foreign-fuses", ASIDE)?;
        } else if !protects(fuse) {
            planned.named(STEP, "fuse", FUSE)?;
        }
        registers.insert(format!("0x{:08x}", fuse.register), format!("0x{found:08x}"));
    }
    let status = read(SNVS_STATUS).named(STEP, "link", AGAIN)?;
    is_secure(status).named(STEP, "snvs", ASIDE)?;
    Ok(json!({"board": plan.board, "registers": registers, "snvs": format!("0x{status:08x}")}))
}

fn is_as_planned(fuse: &Fuse, found: u32) -> Result<()> {
    let value = fuse.value.unwrap_or_default();
    let good = if is_root_key(fuse) { found == value } else { found & value == value };
    ensure!(good, "{}: read back 0x{found:08x}, expected 0x{value:08x}", fuse.name);
    Ok(())
}

fn is_secure(status: u32) -> Result<()> {
    let secure = matches!(status & STATE, TRUSTED | SECURE) && status & (NO_MASTER_KEY | SYNDROME) == 0;
    ensure!(secure, "SNVS says 0x{status:08x}, expected trusted or secure");
    Ok(())
}

fn is_root_key(fuse: &Fuse) -> bool {
    (SRKH..SRKH + 32).contains(&fuse.register)
}

fn protects(fuse: &Fuse) -> bool {
    fuse.register == OSPR0 && fuse.value == Some(WRITE_PROTECT)
}

/// The hash over the root keys of a boot image, as the fuses have it: the same for both of its signatures, which must verify.
pub fn root_keys_hash(image: &[u8]) -> Result<[u32; 8]> {
    let claims = secure::claims(image).map_err(|error| anyhow!("not a boot image: {error}"))?;
    let claims = claims.context("the image is not signed: its RCW has no SB_EN")?;
    for claim in &claims {
        let key = claim.key().context("the header names a key that is not there")?;
        let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, 8 * bytes.len().max(1) as u32);
        let key = RsaPublicKey::new(number(&key.modulus)?, number(&key.exponent)?);
        let key = key.ok().with_context(|| format!("{}: the root key is no RSA key", claim.what))?;
        let signature = Signature::try_from(&claim.signature[..])?;
        let good = VerifyingKey::<Sha256>::new(key).verify(&claim.message, &signature).is_ok();
        ensure!(good, "the signature of {} does not verify", claim.what);
    }
    let [pbi, bl2] = &claims;
    ensure!(pbi.table == bl2.table, "the two signatures have other root keys");
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(Sha256::digest(pbi.table.encode()).chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    Ok(words)
}
