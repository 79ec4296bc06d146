//! The codec against the chip vendor's tools and a model of the boot ROM.

#[path = "support/boot_rom.rs"]
mod boot_rom;
mod support;

use sha2::{Digest, Sha256};
use support::{VENDOR, bytes};
use trustbox_boot_image::Error;
use trustbox_boot_image::fip::{Fip, Kind};
use trustbox_boot_image::pbi::{Command, Source, Stop};
use trustbox_boot_image::pbl::{Pbl, Placement, boot_image};
use trustbox_boot_image::rcw::Rcw;
use trustbox_boot_image::{describe, pbi};

fn vendor(name: &str) -> Vec<u8> {
    bytes(VENDOR.iter().find(|entry| entry.name == name).unwrap().hex)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|octet| format!("{octet:02x}")).collect()
}

fn place(source: Source) -> Placement {
    let base = if source == Source::Nor { 0x2000_0000 } else { 0x1000 };
    Placement { source, base, offset: 0x9000, address: 0x1800_d000, room: 0x2_7000 }
}

/// As long as a real BL2, and no multiple of four.
fn bl2() -> Vec<u8> {
    (0..42241_u32).map(|number| (number * 7 + 3) as u8).collect()
}

#[test]
fn facts_have_the_digests_of_the_vendors_files() {
    let digests = [
        ("sd", "91e19ee7584bd8dcc0cc43a5602b1b3ee48b5be644ca3635dd1eb50d76b47873"),
        ("emmc", "3588c9821e440863237d7bb9dc3b306eee83c2bde77ee57e29f5a134d5ce7800"),
        ("nor", "21d3139b47f61cfa9d6e9bc62b2023c000ae88c220034ce4f16eb556a3f5885f"),
        ("edge", "8058c7f1d6aa8ee70a4ce03f4405a9a7823526704ac1b6e30b44b232c215523b"),
    ];
    for (name, digest) in digests {
        assert_eq!(hex(&vendor(name)), digest, "{name}");
    }
}

#[test]
fn vendor_files_decode_and_encode_to_the_same_bytes() {
    for entry in &VENDOR {
        let file = bytes(entry.hex);
        let (pbl, used) = Pbl::decode(&file).unwrap();
        assert_eq!((used, pbl.rcw.unnamed().count()), (file.len(), 0), "{}", entry.name);
        assert_eq!(pbl.encode().unwrap(), file, "{}", entry.name);
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_of_the_configuration_is_refused() {
    let file = vendor("edge");
    assert!((0..file.len()).all(|length| Pbl::decode(&file[..length]).is_err()));
    for bit in 0..140 * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Pbl::decode(&flipped).is_err(), "bit {bit}");
    }
}

/// `create_pbl` of TF-A 2.12.1 writes these for the same BL2, but for the size of the copy, which it rounds wrongly:
/// 42242 octets for a BL2 of 42241, a number that is not made of whole words.
#[test]
fn boot_images_are_those_of_create_pbl_with_the_size_rounded_up() {
    let digests = [
        (Source::Sd, "1f06fe2530334bd4eb4ba491d5cdde4c67eaf85e842446ad48c330f545457a78"),
        (Source::Emmc, "026b89ea07441526b470e33047c8eddb60736f15a9102a0942bd5650069266f4"),
        (Source::Nor, "b473abb3e446d660cfa14b093890ddc5247d0d6afc0ba876001f4c26e2edbf26"),
    ];
    let (board, _) = Pbl::decode(&vendor("sd")).unwrap();
    for (source, digest) in digests {
        let image = boot_image(&board, &bl2(), &place(source)).unwrap();
        let (_, used) = Pbl::decode(&image).unwrap();
        let mut theirs = image[..used].to_vec();
        let size = used - 12;
        assert_eq!(theirs[size..size + 4], 42244_u32.to_le_bytes());
        theirs[size..size + 4].copy_from_slice(&42242_u32.to_le_bytes());
        assert_eq!(hex(&theirs), digest, "{source:?}");
    }
}

#[test]
fn the_boot_rom_lands_in_bl2() {
    for (source, code, at, base) in
        [(Source::Sd, 8, 0x1000, 0), (Source::Emmc, 9, 0x1000, 0), (Source::Nor, 15, 0, 0x2000_0000)]
    {
        for stop in [Stop::Plain, Stop::Crc] {
            let (mut board, _) = Pbl::decode(&vendor("edge")).unwrap();
            board.stop = stop;
            let image = boot_image(&board, &bl2(), &place(source)).unwrap();
            let mut medium = vec![0xff; at];
            medium.extend(&image);
            let machine = boot_rom::boot(&medium, at, code, base).unwrap();
            let (entry, code) = machine.start(42244);
            assert_eq!(entry, 0x1800_d000);
            assert_eq!((&code[..42241], &code[42241..]), (bl2().as_slice(), [0; 3].as_slice()));
            assert_eq!(machine.registers[&0x0340_0890], 0x0080_0401);
            assert_eq!(machine.rcw, *Pbl::decode(&image).unwrap().0.rcw.as_bytes());
        }
    }
}

#[test]
fn the_boot_rom_refuses_what_is_damaged_or_for_another_medium() {
    let (mut board, _) = Pbl::decode(&vendor("edge")).unwrap();
    board.stop = Stop::Crc;
    let mut image = boot_image(&board, &bl2(), &place(Source::Nor)).unwrap();
    assert!(boot_rom::boot(&image, 0, 8, 0x2000_0000).unwrap_err().contains("block copy"));
    assert!(boot_rom::boot(&image[..0x9000], 0, 15, 0x2000_0000).unwrap_err().contains("behind"));
    image[144] ^= 1;
    assert!(boot_rom::boot(&image, 0, 15, 0x2000_0000).unwrap_err().contains("CRC"));
    assert!(matches!(Pbl::decode(&image), Err(Error::Checksum(..))));
}

#[test]
fn what_does_not_fit_is_refused_with_both_numbers() {
    let (board, _) = Pbl::decode(&vendor("edge")).unwrap();
    let error = boot_image(&board, &[0; 0x2_7001], &place(Source::Sd)).unwrap_err();
    assert_eq!(error.to_string(), "BL2 has 159748 octets, there is room for 159744");
    let mut long = board.clone();
    long.commands.extend(vec![Command::Wait(1); 4096]);
    assert!(matches!(long.encode(), Err(Error::FieldValue(_, _, 4095))));
    let mut high = board;
    high.commands.push(Command::Write { address: 0x1000_0000, octet: false, value: 0 });
    assert!(matches!(high.encode(), Err(Error::TooLarge(..))));
}

#[test]
fn every_command_comes_back() {
    let header = trustbox_boot_image::security_header::SIZE;
    let commands = vec![
        Command::Write { address: 0x0fff_fffc, octet: true, value: 5 },
        Command::BlockCopy { source: Source::Nand4k, from: 1, to: 2, size: 4 },
        Command::LoadSecurityHeader(Box::new([7; 0x50])),
        Command::LoadBootHeader(0x1800_a000),
        Command::LoadWindow(3),
        Command::LoadCondition(1, 2),
        Command::Poll { long: true, address: 1, mask: 2, value: 3 },
        Command::Poll { long: false, address: 1, mask: 2, value: 3 },
        Command::Wait(0xffff),
    ];
    for stop in [Stop::Plain, Stop::Crc] {
        let words = pbi::encode(&commands, stop).unwrap();
        let found = pbi::decode(&words).unwrap();
        assert_eq!((&found.commands, found.stop, found.length), (&commands, stop, words.len()));
        assert!((0..words.len()).all(|length| pbi::decode(&words[..length]).is_err()));
    }
    assert_eq!(header, 0x50);
    assert_eq!(pbi::decode(&0x8083_0000_u32.to_le_bytes()), Err(Error::Command(0x8083_0000, 0)));
}

#[test]
fn dumps_name_fields_and_commands() {
    let image = boot_image(&Pbl::decode(&vendor("edge")).unwrap().0, &bl2(), &place(Source::Sd)).unwrap();
    let text = describe::pbl(&image).unwrap().join("\n");
    for part in [
        "BOOT_LOC",
        "SD card",
        "SRDS_PRTCL_S1_L3",
        "first instruction",
        "copy    SD 0x0000a000 to 0x1800d000",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let package = Fip::of([(Kind::Bl32, vec![0; 10])]).encode();
    assert!(describe::fip(&package).unwrap().join("\n").contains("BL32: OP-TEE"));
    assert_eq!(describe::FileKind::of(&image), Some(describe::FileKind::Pbl));
    assert_eq!(describe::FileKind::of(&package), Some(describe::FileKind::Fip));
    assert_eq!(describe::FileKind::of(b"ELF"), None);
}

#[test]
fn an_rcw_is_made_of_its_fields() {
    let (pbl, _) = Pbl::decode(&vendor("nor")).unwrap();
    let mut rcw = Rcw::zero();
    pbl.rcw.fields().for_each(|(name, value)| rcw.set(name, u64::from(value)).unwrap());
    assert_eq!(rcw, pbl.rcw);
}
