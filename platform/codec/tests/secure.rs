//! Signed boot images: what is laid out comes back, and what cannot be signed is refused.

mod support;

use support::{VENDOR, bytes};
use trustbox_boot_image::Error;
use trustbox_boot_image::pbi::Source;
use trustbox_boot_image::pbl::{Pbl, Placement};
use trustbox_boot_image::secure::{BL2_HEADER_OFFSET, KeyTable, RootKey, Signing, claims, prepare};

const PLACE: Placement =
    Placement { source: Source::Sd, base: 0x1000, offset: 0x9000, address: 0x1800_d000, room: 0x2_7000 };

fn key(octets: usize, first: u8) -> RootKey {
    RootKey {
        modulus: (0..octets).map(|number| first.wrapping_add(number as u8)).collect(),
        exponent: vec![1, 0, 1],
    }
}

fn signing(keys: usize, octets: usize, number: u8) -> Signing {
    let keys = (0..keys).map(|number| key(octets, 0x80 + number as u8)).collect();
    Signing { table: KeyTable::new(keys).unwrap(), key: number, revoked: Vec::new() }
}

fn board() -> Pbl {
    let edge = VENDOR.iter().find(|entry| entry.name == "edge").unwrap();
    Pbl::decode(&bytes(edge.hex)).unwrap().0
}

#[test]
fn both_signatures_come_back_with_what_they_are_of() {
    for (keys, octets) in [(1, 256), (4, 256), (4, 512)] {
        let signing = signing(keys, octets, keys as u8);
        let prepared = prepare(&board(), &[9; 42241], &PLACE, &signing).unwrap();
        let messages = prepared.messages.clone();
        let image = prepared.finish([&vec![1; octets], &vec![2; octets]]).unwrap();
        let [pbi, bl2] = claims(&image).unwrap().unwrap();
        assert_eq!([&pbi.message, &bl2.message], [&messages[0], &messages[1]]);
        assert_eq!((pbi.signature[0], bl2.signature[0]), (1, 2));
        assert_eq!((&pbi.table, &bl2.table), (&signing.table, &signing.table));
        assert_eq!(pbi.key(), signing.table.keys().last());
        assert_eq!((bl2.header.entry_point, bl2.header.flags), (0x1800_d000, 0x60));
        let (pbl, _) = Pbl::decode(&image).unwrap();
        assert_eq!(pbl.rcw.get("SB_EN"), Ok(1));
    }
}

/// The offsets that NXP's tool writes for one key of 2048 bits.
#[test]
fn a_table_of_one_key_has_the_vendors_offsets() {
    let prepared = prepare(&board(), &[9; 42241], &PLACE, &signing(1, 256, 1)).unwrap();
    let image = prepared.finish([&[0; 256], &[0; 256]]).unwrap();
    let [_, bl2] = claims(&image).unwrap().unwrap();
    let header = &bl2.header;
    assert_eq!(
        (header.key_table, header.table, header.signature, header.signature_size),
        (0x200, 0x800, 0xa00, 0x100)
    );
    assert_eq!(image[BL2_HEADER_OFFSET as usize..][..4], [0x12, 0x19, 0x20, 0x01]);
}

#[test]
fn a_board_that_is_not_told_to_verify_has_no_signatures() {
    let image = trustbox_boot_image::pbl::boot_image(&board(), &[9; 100], &PLACE).unwrap();
    assert!(claims(&image).unwrap().is_none());
}

#[test]
fn keys_that_cannot_sign_are_refused() {
    let refused = |signing: &Signing| prepare(&board(), &[9; 100], &PLACE, signing).err().unwrap();
    let mut signing = signing(4, 256, 5);
    assert!(matches!(refused(&signing), Error::TooLarge(_, 5, 4)));
    signing.key = 0;
    assert!(matches!(refused(&signing), Error::TooLarge(..)));
    (signing.key, signing.revoked) = (2, vec![1, 2]);
    assert_eq!(refused(&signing).to_string(), "super root key 2 is revoked, it cannot sign");
    signing.key = 3;
    let prepared = prepare(&board(), &[9; 100], &PLACE, &signing).unwrap();
    assert!(prepared.finish([&[0; 255], &[0; 256]]).is_err());
}

#[test]
fn tables_have_one_to_four_keys_of_a_size_that_the_rom_takes() {
    assert!(KeyTable::new(Vec::new()).is_err());
    assert!(KeyTable::new(vec![key(256, 0x80); 5]).is_err());
    assert!(KeyTable::new(vec![key(384, 0x80)]).is_err());
    assert!(KeyTable::new(vec![key(256, 0x80), key(512, 0x80)]).is_err());
    assert!(KeyTable::new(vec![key(256, 0x00)]).is_err());
    let table = signing(4, 512, 1).table;
    assert_eq!(KeyTable::decode(&table.encode(), 4), Ok(table));
}

#[test]
fn every_truncation_is_refused_and_nothing_panics() {
    let prepared = prepare(&board(), &[9; 1000], &PLACE, &signing(4, 256, 1)).unwrap();
    let image = prepared.finish([&[1; 256], &[2; 256]]).unwrap();
    for length in (0..image.len()).step_by(7) {
        assert!(claims(&image[..length]).is_err(), "{length}");
    }
    for at in 0..0x6000 {
        let mut flipped = image.clone();
        flipped[at] ^= 0x41;
        let _ = claims(&flipped);
    }
}
