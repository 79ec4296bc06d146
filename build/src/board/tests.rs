//! Tests of boards: the repository's own are valid, and what is wrong is named with file, line and both values.

use super::*;

const TEXT: &str = include_str!("../../../platform/qemu-armv8a/board.toml");

fn error_of(text: &str) -> String {
    Board::parse(text, Path::new("board.toml"), DEFAULT, None).unwrap_err().to_string()
}

fn line_of(needle: &str) -> usize {
    1 + TEXT.lines().position(|line| line.starts_with(needle)).unwrap()
}

#[test]
fn the_emulated_board_is_valid() {
    let board = Board::parse(TEXT, Path::new("board.toml"), DEFAULT, None).unwrap();
    assert_eq!(board.optee_flags(false)["CFG_NUM_THREADS"], "4");
    // Where the core is decides where TAs are: a breakpoint needs both fixed.
    assert_eq!(board.optee_flags(true)["CFG_CORE_ASLR"], "n");
    assert_eq!(board.optee_flags(true)["CFG_TA_ASLR"], "n");
}

#[test]
fn unknown_field_is_named_with_its_line() {
    let text = TEXT.replace("cpus = 2", "cores = 2");
    let error = error_of(&text);
    assert!(error.starts_with(&format!("board.toml:{}: ", line_of("cpus"))), "{error}");
    assert!(error.contains("cores"));
}

#[test]
fn production_refuses_weak_flags() {
    let error = error_of(&TEXT.replace("profile = \"dev\"", "profile = \"production\""));
    assert!(error.starts_with(&format!("board.toml:{}: ", line_of("CFG_REE_FS_TA"))), "{error}");
    assert!(error.contains("help: "));
}

#[test]
fn name_and_replacement_are_checked() {
    assert!(error_of(&TEXT.replace("name = \"qemu-armv8a\"", "name = \"other\"")).contains("board other"));
    let error = error_of(&TEXT.replace("to = \"0\"", "to = \"10\""));
    assert!(error.contains("same length"), "{error}");
}

const EDGE: &str = include_str!("../../../platform/trustbox-edge-201/board.toml");

fn repo() -> Repo {
    Repo::find().unwrap()
}

/// What is wrong with the real board once `from` is `to`.
fn edge_error(from: &str, to: &str) -> String {
    assert!(EDGE.contains(from), "{from}");
    let text = EDGE.replacen(from, to, 1);
    Board::parse(&text, Path::new("board.toml"), "trustbox-edge-201", None).unwrap_err().to_string()
}

#[test]
fn every_board_of_the_repository_is_valid() {
    let names = inherit::names(&repo()).unwrap();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let board = Board::load(&repo(), &name).unwrap();
        assert_eq!(board.name.get_ref(), &name);
        assert_eq!(board.profile == Profile::Dev, board.emulator.is_some() || name.ends_with("-dev"));
    }
}

#[test]
fn a_dev_board_is_its_board_but_for_what_that_lists() {
    let [board, dev] = ["ls1028a-rdb", "ls1028a-rdb-dev"].map(|name| Board::load(&repo(), name).unwrap());
    assert_eq!((board.ta.huk, dev.ta.huk), (Huk::Unique, Huk::TestKey));
    let [flags, dev_flags] = [&board, &dev].map(|board| board.optee_flags(false));
    assert_eq!([&flags, &dev_flags].map(|flags| flags["CFG_REE_FS_TA"].as_str()), ["n", "y"]);
    assert_eq!([&flags, &dev_flags].map(|flags| flags["CFG_HUK_TEST_KEY"].as_str()), ["n", "y"]);
    assert_eq!(dev_flags["CFG_INSECURE"], "n");
    assert_eq!(format!("{:?}", board.media), format!("{:?}", dev.media));
}

#[test]
fn production_boards_switch_on_what_protects_storage() {
    let error = edge_error("CFG_RPMB_FS = \"y\"", "CFG_RPMB_FS = \"n\"");
    assert!(error.contains("CFG_RPMB_FS: storage has no rollback protection"), "{error}");
    assert!(edge_error("CFG_PKCS11_TA = \"n\"\n", "").contains("CFG_PKCS11_TA"));
}

#[test]
fn maps_are_checked() {
    let error = edge_error("start = 0xfc000000\nsize = 0x3e00000", "start = 0xfc000000\nsize = 0x3f00000");
    assert!(
        error.ends_with("shared 0xffe00000..0x100000000 overlaps optee 0xfc000000..0xfff00000"),
        "{error}"
    );
    assert!(
        edge_error("start = 0xfbe00000", "start = 0xfbe00800")
            .contains("0xfbe00800 is no multiple of 0x1000")
    );
    assert!(edge_error("u-boot = 0x82000000", "u-boot = 0xfc000000").contains("u-boot at 0xfc000000"));
    assert!(edge_error("start = 0x2080000000", "start = 0x3080000000").contains("is in no bank"));
    assert!(edge_error("size = 0x100000000", "size = 0x80000000").contains("0x80000000 octets of memory"));
}

#[test]
fn media_have_what_is_written_where_it_is_read() {
    assert!(edge_error("size = 0x400000", "size = 0x300000").contains("TF-A reads 0x100000..0x500000"));
    assert!(edge_error("pbl-offset = 0x1000", "pbl-offset = 0x2000").contains("the PBL is at 0x2000"));
    assert!(edge_error("name = \"pbl\"", "name = \"bpl\"").contains("no region pbl"));
    let error =
        edge_error("name = \"environment\"\nstart = 0x500000", "name = \"environment\"\nstart = 0x4ff000");
    assert!(error.ends_with("environment 0x4ff000..0x501000 overlaps fip 0x100000..0x500000"), "{error}");
}

#[test]
fn configuration_fields_are_checked_with_their_line() {
    let line = 1 + EDGE.lines().position(|line| line.starts_with("BOOT_LOC")).unwrap();
    let error = edge_error("BOOT_LOC = 21", "BOOT_LOC = 32");
    assert_eq!(
        error,
        format!("board.toml:{line}: RCW field BOOT_LOC cannot hold 32, its largest value is 31")
    );
    assert!(edge_error("BOOT_LOC = 21", "BOOT_LOK = 21").contains("no field BOOT_LOK"));
    assert!(edge_error("BOOT_LOC = 21", "PBI_LENGTH = 2").contains("counted"));
    assert!(edge_error("[0x034008bc, ", "[0x134008bc, ").contains("address of a PBI write"));
    assert!(edge_error("\"timing_cfg[8]\"", "\"timing_cfg[10]\"").contains("no register timing_cfg[10]"));
}

#[test]
fn a_board_is_emulated_or_real() {
    let without = edge_error("[console]\ndevice = \"serial0\"\naddress = 0x021c0500\nbaud = 115200\n", "");
    assert!(without.contains("either [emulator]"), "{without}");
    assert!(
        edge_error("defconfig = ", "file = \"x\"\ndefconfig = ").contains("either a file or a defconfig")
    );
}

/// The chip vendor's tool makes the same of the same fields.
#[test]
fn configurations_are_the_vendors() {
    use sha2::{Digest, Sha256};
    let digests = [
        ("ls1028a-rdb", MediumKind::Sd, "91e19ee7584bd8dcc0cc43a5602b1b3ee48b5be644ca3635dd1eb50d76b47873"),
        ("ls1028a-rdb", MediumKind::Emmc, "3588c9821e440863237d7bb9dc3b306eee83c2bde77ee57e29f5a134d5ce7800"),
        ("ls1028a-rdb", MediumKind::Nor, "21d3139b47f61cfa9d6e9bc62b2023c000ae88c220034ce4f16eb556a3f5885f"),
        (
            "trustbox-edge-201",
            MediumKind::Sd,
            "8058c7f1d6aa8ee70a4ce03f4405a9a7823526704ac1b6e30b44b232c215523b",
        ),
        (
            "trustbox-edge-201",
            MediumKind::Emmc,
            "8058c7f1d6aa8ee70a4ce03f4405a9a7823526704ac1b6e30b44b232c215523b",
        ),
    ];
    for (name, medium, digest) in digests {
        let board = Board::load(&repo(), name).unwrap();
        let bytes = board.hardware().unwrap().pbl(medium).unwrap().encode().unwrap();
        assert_eq!(crate::hash::hex(&Sha256::digest(bytes)), digest, "{name} {medium:?}");
    }
}
