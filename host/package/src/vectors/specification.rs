//! FORMAT.md held against the code: its example, its limits, its domains.

use crate::frame::Frame;
use crate::{annex, frame, json, layout, package};

const TEXT: &str = include_str!("../../FORMAT.md");

/// The bytes of the hexadecimal dump in the document.
fn example() -> Vec<u8> {
    let block = TEXT.split("```hexdump\n").nth(1).unwrap().split("```").next().unwrap();
    let digits = block.lines().flat_map(|line| line[10..58].split_whitespace());
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

#[test]
fn the_example_is_a_frame() {
    let bytes = Frame::new(&[b"payload", b"", b"{}"], 2).unwrap().write().unwrap();
    assert_eq!(example(), bytes);
    assert_eq!(Frame::read(&example()).unwrap().streams.as_slice(), [&b"payload"[..], b"", b"{}"]);
}

#[test]
fn limits_are_those_of_the_code() {
    for (what, limit) in [
        ("streams", frame::MAX_STREAMS as u64),
        ("bytes of a package", package::MAX_PACKAGE),
        ("bytes of the payload", trustbox_api::limits::MAX_IMAGE.into()),
        ("bytes of the JSON manifest", json::MAX_JSON as u64),
        ("bytes of the certificate", layout::MAX_CERTIFICATE as u64),
        ("bytes of the trusted manifest", trustbox_api::limits::MAX_REQUEST as u64),
        ("bytes of the annex", annex::MAX_ANNEX as u64),
        ("attachments", annex::MAX_ATTACHMENTS as u64),
        ("bytes of an attachment", annex::MAX_ATTACHMENT as u64),
    ] {
        let line = format!("| {what} | {limit} |");
        assert!(TEXT.contains(&line), "FORMAT.md lacks: {line}");
    }
}

#[test]
fn domains_are_those_of_the_code() {
    for domain in [trustbox_api::statement::DOMAIN, annex::DOMAIN] {
        let text = std::str::from_utf8(domain).unwrap().trim_end_matches('\0');
        assert!(TEXT.contains(&format!("`{text}` and a zero byte")), "{text}");
    }
}

#[test]
fn every_vector_is_in_the_document() {
    for entry in std::fs::read_dir(super::folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TEXT.contains(&format!("`{name}`")), "{name}");
    }
}
