//! Fuses and RPMB on a model of the chip's registers, with power cut at every point: a board ends as it should or is said to be scrap,
//! and never is closed before it is ready. The model is what the reference manual says of mirrors, program command, SNVS; it is no board.

#[path = "../../platform/codec/tests/support/mod.rs"]
mod boards;
#[path = "support/fuse_plan.rs"]
mod fuse_plan;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::{Result, bail};
use boards::{VENDOR, bytes};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use rsa::pkcs1v15::SigningKey;
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use sha2::Sha256;
use trustbox_boot_image::pbi::Source;
use trustbox_boot_image::pbl::{Pbl, Placement};
use trustbox_boot_image::secure::{KeyTable, RootKey, Signing, prepare};
use trustbox_keys::fuses::{ITS, OSPR0, OTPMK, Plan, SFP, SRKH, WRITE_PROTECT};
use trustbox_keys::station::Failure;
use trustbox_keys::station::fuse::{
    Board, INSTRUCTION, NO_MASTER_KEY, PROGRAM, Rpmb, SNVS_STATUS, Writing, root_keys_hash,
};

static IMAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [image(), image()]);

/// A boot image that a root key of its own signs.
fn image() -> Vec<u8> {
    let private = RsaPrivateKey::new(&mut UnwrapErr(SysRng), 2048).unwrap();
    let public = RsaPublicKey::from(&private);
    let modulus = public.n().to_be_bytes().to_vec();
    let table = KeyTable::new(vec![RootKey { modulus, exponent: vec![1, 0, 1] }]).unwrap();
    let signing = Signing { table, key: 1, revoked: Vec::new() };
    let edge = VENDOR.iter().find(|entry| entry.name == "edge").unwrap();
    let board = Pbl::decode(&bytes(edge.hex)).unwrap().0;
    let place =
        Placement { source: Source::Sd, base: 0x1000, offset: 0x9000, address: 0x1800_d000, room: 0x2_7000 };
    let prepared = prepare(&board, &[9; 42241], &place, &signing).unwrap();
    let key = SigningKey::<Sha256>::new(private);
    let signatures = prepared.messages.clone().map(|message| key.sign(&message).to_vec());
    prepared.finish([&signatures[0], &signatures[1]]).unwrap()
}

fn plan() -> Plan {
    let hash = root_keys_hash(&IMAGES[0]).unwrap();
    let keys = hash.iter().enumerate().map(|(word, value)| (SRKH + 4 * word as u64, Some(*value)));
    let others = [
        (OTPMK, None),
        (OSPR0, Some(1 << 10)),
        (fuse_plan::OSPR1, Some(7)),
        (OSPR0, Some(ITS)),
        (OSPR0, Some(WRITE_PROTECT)),
    ];
    Plan { revoked: vec![2], ..fuse_plan::plan(keys.chain(others)) }
}

/// The chip: what is blown, and what its registers hold until the power goes.
#[derive(Clone)]
struct Chip {
    blown: BTreeMap<u64, u32>,
    mirrors: BTreeMap<u64, u32>,
    /// As SNVS saw it at the last start.
    status: u32,
    supply: bool,
    image: Vec<u8>,
    /// Whether the firmware gives RPMB its key.
    writes_rpmb: bool,
    rpmb: Rpmb,
    operations: usize,
    /// The operation in whose middle the power goes, or only the station.
    cut: Option<(usize, Cut)>,
    /// The operation that programmed a master key.
    key_at: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Cut {
    Power,
    Station,
}

impl Chip {
    fn new() -> Self {
        let mut chip = Self {
            blown: BTreeMap::new(),
            mirrors: BTreeMap::new(),
            status: 0,
            supply: false,
            image: IMAGES[0].clone(),
            writes_rpmb: true,
            rpmb: Rpmb::Blank,
            operations: 0,
            cut: None,
            key_at: None,
        };
        chip.start();
        chip
    }

    fn blown(&self, register: u64) -> u32 {
        self.blown.get(&register).copied().unwrap_or_default()
    }

    fn master_key(&self) -> [u32; 8] {
        std::array::from_fn(|word| self.blown(OTPMK + 4 * word as u64))
    }

    /// 9 bits: the exclusive or of the numbers of bits that are set, and their parity.
    fn syndrome(&self) -> u32 {
        let words = self.master_key();
        let set = (0..256_u32).filter(|bit| words[*bit as usize / 32] >> (bit % 32) & 1 == 1);
        let (sum, odd) = set.fold((0, 0), |(sum, odd), bit| (sum ^ bit, odd ^ 1));
        sum << 1 | odd
    }

    /// Whether the secure debug controller opens for a response: the level of OSPR1 decides, then DRVR alone; no software is asked.
    fn opens(&self, response: u64) -> bool {
        let expected = u64::from(self.blown(SFP + 0x210)) << 32 | u64::from(self.blown(SFP + 0x214));
        match self.blown(fuse_plan::OSPR1) & 7 {
            0 => true,
            7 => false,
            _ => response == expected,
        }
    }

    /// Whether the image is the one whose keys the fuses have.
    fn is_verified(&self) -> bool {
        let hash: [u32; 8] = std::array::from_fn(|word| self.blown(SRKH + 4 * word as u64));
        root_keys_hash(&self.image).is_ok_and(|found| found == hash)
    }

    fn start(&mut self) {
        self.mirrors = self.blown.clone();
        // The master key is read by nobody.
        self.mirrors.retain(|register, _| !(OTPMK..OTPMK + 32).contains(register));
        self.supply = false;
        let closed = self.blown(OSPR0) & ITS != 0;
        assert!(!closed || self.is_verified(), "a closed board that does not start");
        let state = if closed && self.is_verified() && self.syndrome() == 0 { 0xd } else { 0xb };
        let none = if self.master_key() == [0; 8] { NO_MASTER_KEY } else { 0 };
        self.status = state << 8 | self.syndrome() << 16 | none;
    }

    /// Whether this operation is the one in which it ends.
    fn operation(&mut self) -> Option<Cut> {
        self.operations += 1;
        self.cut.filter(|(at, _)| *at == self.operations).map(|(_, cut)| cut)
    }

    fn before(&mut self) -> Result<()> {
        match self.operation() {
            Some(Cut::Power) => {
                self.start();
                bail!("the power is gone")
            }
            Some(Cut::Station) => bail!("the station is gone"),
            None => Ok(()),
        }
    }

    fn program(&mut self, whole: bool) {
        assert!(self.supply, "programmed without its supply");
        let pending: Vec<_> = self.mirrors.iter().map(|(register, value)| (*register, *value)).collect();
        for (register, value) in pending {
            if (OTPMK..OTPMK + 32).contains(&register) {
                self.key_at = Some(self.operations);
            }
            // In the middle, some bits are blown and others not.
            let value = if whole { value } else { value & 0x3333_3333 };
            *self.blown.entry(register).or_default() |= value;
        }
        if self.blown(OSPR0) & ITS != 0 {
            assert!(self.is_verified(), "closed with an image that never starts again");
            assert!(self.master_key() != [0; 8] && self.syndrome() == 0, "closed without a master key");
            assert!([0, 1, u64::MAX].iter().all(|response| !self.opens(*response)), "closed with a debugger");
        }
    }
}

impl Board for Chip {
    fn read(&mut self, register: u64) -> Result<u32> {
        self.before()?;
        Ok(match register {
            SNVS_STATUS => self.status,
            INSTRUCTION => 0,
            _ => self.mirrors.get(&register).copied().unwrap_or_default(),
        })
    }

    fn write(&mut self, register: u64, value: u32) -> Result<()> {
        let cut = self.operation();
        if (register, value) == (INSTRUCTION, PROGRAM) {
            self.program(cut != Some(Cut::Power));
        } else if cut.is_none() {
            self.mirrors.insert(register, value);
        }
        match cut {
            None => Ok(()),
            Some(Cut::Station) => bail!("the station is gone"),
            Some(Cut::Power) => {
                self.start();
                bail!("the power is gone")
            }
        }
    }

    fn make_master_key(&mut self, register: u64) -> Result<()> {
        self.before()?;
        // A code word: three bits whose numbers cancel, and one more for parity. Two of them are lost in the middle of programming.
        let first = 42 + 4 * (self.operations as u32 % 19);
        for bit in [first, 128 | first, 128, 0] {
            *self.mirrors.entry(register + 4 * u64::from(bit / 32)).or_default() |= 1 << (bit % 32);
        }
        Ok(())
    }

    fn supply(&mut self, on: bool) -> Result<()> {
        self.before()?;
        self.supply = on;
        Ok(())
    }

    fn power_cycle(&mut self) -> Result<()> {
        self.before()?;
        self.start();
        Ok(())
    }

    fn image(&mut self) -> Result<Vec<u8>> {
        self.before()?;
        Ok(self.image.clone())
    }

    fn hardware_key(&mut self) -> Result<String> {
        self.before()?;
        Ok(if self.status >> 8 & 0xf == 0xd { "unique" } else { "test-key" }.to_owned())
    }

    fn rpmb(&mut self) -> Result<Rpmb> {
        self.before()?;
        Ok(self.rpmb)
    }

    fn use_storage(&mut self) -> Result<()> {
        self.before()?;
        assert!(
            self.status >> 8 & 0xf == 0xd,
            "RPMB's key would be of a hardware key that is not the last one"
        );
        if self.writes_rpmb && self.rpmb == Rpmb::Blank {
            self.rpmb = Rpmb::Keyed;
        }
        Ok(())
    }
}

fn write(chip: &mut Chip, plan: &Plan, write_protect: bool) -> Result<(), Failure> {
    Writing { board: chip, plan, write_protect, said: &mut |_, _| () }.all()
}

fn finished(chip: &Chip) -> bool {
    let hash = root_keys_hash(&chip.image).unwrap();
    let keys = (0..8).all(|word| chip.blown(SRKH + 4 * word as u64) == hash[word]);
    let policy = chip.blown(OSPR0) == ITS | 1 << 10 && chip.blown(fuse_plan::OSPR1) == 7;
    keys && policy && chip.status == 0xd00 && chip.rpmb == Rpmb::Keyed && !chip.supply
}

#[test]
fn a_board_is_closed_and_the_same_again_writes_nothing() {
    let (mut chip, plan) = (Chip::new(), plan());
    assert!(chip.opens(0), "a new chip has a debugger");
    write(&mut chip, &plan, false).unwrap();
    assert!(!chip.opens(0) && finished(&chip), "{:x?}", chip.blown);
    let before = chip.blown.clone();
    write(&mut chip, &plan, false).unwrap();
    assert_eq!(chip.blown, before);
    write(&mut chip, &plan, true).unwrap();
    assert_eq!(chip.blown(OSPR0), ITS | 1 << 10 | WRITE_PROTECT);
}

#[test]
fn a_cut_at_any_point_leaves_a_board_that_goes_on_or_is_named_scrap() {
    let plan = plan();
    let mut whole = Chip::new();
    write(&mut whole, &plan, false).unwrap();
    let mut scrap = 0;
    for cut in [Cut::Power, Cut::Station] {
        for at in 1..=whole.operations {
            let mut chip = Chip { cut: Some((at, cut)), ..Chip::new() };
            let first = write(&mut chip, &plan, false).unwrap_err();
            assert!(["link", "fuse", "rpmb"].contains(&first.name), "{at}: {first}");
            chip.cut = None;
            match write(&mut chip, &plan, false) {
                Ok(()) => assert!(finished(&chip), "{cut:?} at {at}: {:x?}", chip.blown),
                Err(failure) => {
                    let half = cut == Cut::Power && chip.key_at == Some(at);
                    assert!(failure.name == "master-key" && half, "{cut:?} at {at}: {failure}");
                    assert_eq!(chip.blown(OSPR0) & ITS, 0, "scrap is not closed");
                    scrap += 1;
                }
            }
        }
    }
    assert_eq!(scrap, 1, "the one moment in which a key is half there");
}

#[test]
fn what_is_not_right_is_named_and_nothing_is_written() {
    let plan = plan();
    let refused = |change: &dyn Fn(&mut Chip), name: &str| {
        let mut chip = Chip::new();
        change(&mut chip);
        let before = chip.blown.clone();
        let failure = write(&mut chip, &plan, false).unwrap_err();
        assert_eq!((failure.name, &chip.blown), (name, &before), "{failure}");
        assert!(!failure.help.is_empty());
    };
    refused(&|chip| chip.image = IMAGES[1].clone(), "image");
    refused(&|chip| chip.image[0x9000 + 77] ^= 1, "image");
    refused(&|chip| chip.image = bytes(VENDOR[3].hex), "image");
    refused(&|chip| chip.image.truncate(0x400), "image");
    refused(&|chip| chip.blown.extend([(SRKH, u32::MAX)]), "foreign-fuses");
    let mut other = plan.clone();
    other.fuses.swap(8, 11);
    assert_eq!(write(&mut Chip::new(), &other, false).unwrap_err().name, "plan");
    // Without the firmware that writes it, RPMB has no key, and that is all that is missing.
    let mut chip = Chip { writes_rpmb: false, ..Chip::new() };
    assert_eq!(write(&mut chip, &plan, false).unwrap_err().name, "rpmb");
    chip.writes_rpmb = true;
    write(&mut chip, &plan, false).unwrap();
    assert!(finished(&chip));
}

#[test]
fn a_plan_comes_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fuses.json");
    std::fs::write(&path, serde_json::to_string_pretty(&plan()).unwrap()).unwrap();
    assert_eq!(Plan::read(&path).unwrap(), plan());
    assert!(plan().text().contains("| 9 | fuse 1e80234 | 0x01e80234 | made on the board | everything |"));
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in
        [("0x01e80254", "0x01e80250"), ("\"0x00000004\"", "\"0x00000000\""), ("\"step\"", "\"stop\"")]
    {
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        assert!(Plan::read(&path).is_err(), "{from}");
    }
}
