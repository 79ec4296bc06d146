//! Packages that must be refused: what to change in a vector, and what is said about it.

use serde_json::{Value, json};

use super::{class_key, original, trustbox};
use crate::frame::{ENTRY_SIZE, HEADER_SIZE};
use crate::layout::Role;
use crate::open::open;
use crate::package::Package;

const SBOM: &str = super::SBOM;

/// What a package is good for that was changed: not even to be read, or to be read and not to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Read,
    Open,
}

/// A change of a vector.
struct Change {
    name: &'static str,
    base: &'static str,
    stage: Stage,
    at: usize,
    /// Replaces as many bytes, or is added at the end.
    bytes: Vec<u8>,
    reason: &'static str,
}

/// Where things are in a vector.
struct Map {
    bytes: Vec<u8>,
    base: &'static str,
}

impl Map {
    fn of(base: &'static str) -> Self {
        let bytes = match base {
            "original.cpk" => original(),
            _ => trustbox(Some(SBOM.as_bytes())),
        };
        Self { bytes, base }
    }

    /// The entry of a stream in the table.
    fn entry(&self, stream: usize) -> usize {
        HEADER_SIZE + stream * ENTRY_SIZE
    }

    fn role(&self, role: Role) -> usize {
        Package::read(&self.bytes).unwrap().place(role).offset as usize
    }

    /// Text of the JSON manifest, which is there once.
    fn text(&self, text: &str) -> usize {
        self.bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
    }

    fn put(&self, name: &'static str, at: usize, bytes: impl Into<Vec<u8>>, reason: &'static str) -> Change {
        Change { name, base: self.base, stage: Stage::Read, at, bytes: bytes.into(), reason }
    }

    /// One bit of a byte, found when the package is opened.
    fn flip(&self, name: &'static str, at: usize, reason: &'static str) -> Change {
        Change { stage: Stage::Open, ..self.put(name, at, [self.bytes[at] ^ 1], reason) }
    }
}

fn changes() -> Vec<Change> {
    let (new, old) = (Map::of("trustbox-sbom.cpk"), Map::of("original.cpk"));
    [header(&new), table(&new), manifest(&new), ours(&new), originals(&old)].into_iter().flatten().collect()
}

fn header(map: &Map) -> Vec<Change> {
    vec![
        map.put("other magic", 0, [0], "magic at offset 0 is 0xeccf000, expected 0xeccf00d"),
        map.put("frame version 2", 4, [2], "frame version at offset 4 is 0x2, expected 0x1"),
        map.put("a flag", 6, [1], "flags at offset 6 is 0x1, expected 0x0"),
        map.put("no streams", 8, [0], "stream count at offset 8 is 0, allowed are 1 to 32"),
        map.put("33 streams", 8, [33], "stream count at offset 8 is 33, allowed are 1 to 32"),
        map.put("one stream less", 8, [7], "bytes follow the last stream"),
        map.put("manifest outside", 10, [8], "manifest index at offset 10 is 8, the frame has 8 streams"),
        map.put(
            "another stream as manifest",
            10,
            [7],
            "JSON manifest in stream 7 at offset 1826: unknown field",
        ),
        map.put("manifest type 2", 12, [2], "manifest type at offset 12 is 0x2, expected 0x1"),
        map.put("manifest version 2", 14, [2], "manifest version at offset 14 is 0x2, expected 0x1"),
    ]
}

fn table(map: &Map) -> Vec<Change> {
    let offset = |stream: usize| map.entry(stream);
    let size = |stream: usize| map.entry(stream) + 8;
    vec![
        map.put(
            "offset and size overflow",
            offset(1),
            u64::MAX.to_le_bytes(),
            "stream 1: offset 18446744073709551615 and size 12 overflow",
        ),
        map.put("size out of range", size(7), 4096_u64.to_le_bytes(), "stream 7: offset "),
        map.put("streams overlap", offset(1), [map.bytes[offset(1)] - 1], "stream 1: offset 583 overlaps"),
        map.put(
            "a gap between streams",
            offset(1),
            [map.bytes[offset(1)] + 1],
            "stream 1: offset 585 leaves a gap",
        ),
        map.put("bytes behind the last stream", map.bytes.len(), [0], "1 bytes follow the last stream"),
        map.put("last stream shorter", size(7), [map.bytes[size(7)] - 1], "1 bytes follow the last stream"),
    ]
}

fn manifest(map: &Map) -> Vec<Change> {
    let stream = |text: &str| map.text(text) + text.len();
    vec![
        map.put(
            "one stream named twice",
            stream("\"nonce\":"),
            *b"2",
            "stream 2 at offset 740 is named as nonce and as tag",
        ),
        map.put(
            "nonce and tag swapped",
            stream("\"nonce\":"),
            b"2,\"tag\":1".to_vec(),
            "tag in stream 1 at offset 728 has 12 bytes, expected 16",
        ),
        map.put(
            "a stream that is not there",
            stream("\"tag\":"),
            *b"9",
            "JSON manifest names stream 9 as tag, the frame has 8 streams",
        ),
        map.put(
            "a stream without role",
            map.text("{\"sha256\":{\"data\":3}}"),
            *b"\"none\"               ",
            "stream 3 at offset 756 has 32 bytes and no role",
        ),
        map.put(
            "a package map with a stream twice",
            stream("\"map\":[0,1,2,"),
            *b"2",
            "package map lists the streams [0, 1, 2, 2, 4, 5, 6, 7]",
        ),
        map.put(
            "an unknown member",
            map.text("cp-vendor"),
            b"cp-wander".to_vec(),
            "JSON manifest in stream 4 at offset 788: unknown field `cp-wander`",
        ),
        map.put(
            "another application id",
            stream("\"cp-id\":\""),
            *b"0",
            "application id in stream 4 at offset 788 is 0f0e6a52",
        ),
        map.put(
            "another name",
            stream("\"cp-name\":\""),
            *b"p",
            "name in stream 4 at offset 788 is peter, the trusted manifest says meter",
        ),
        map.put(
            "another version",
            stream("\"maj\":"),
            *b"8",
            "version in stream 4 at offset 788 is 8.0.0, the trusted manifest says 7.0.0",
        ),
        map.put(
            "text behind the manifest's end",
            map.role(Role::TrustedManifest) - 1,
            *b" ",
            "JSON manifest in stream 4 at offset 788: ",
        ),
    ]
}

fn ours(map: &Map) -> Vec<Change> {
    let trusted = map.role(Role::TrustedManifest);
    let annex = map.role(Role::Annex);
    vec![
        map.put(
            "another nonce",
            map.role(Role::Nonce),
            [0; 12],
            "nonce in stream 1 at offset 728 is 000000000000000000000000",
        ),
        map.put("another digest", map.role(Role::Digest), [0; 32], "digest in stream 3 at offset 756 is 00"),
        map.put(
            "another trusted manifest",
            annex - 1,
            [map.bytes[annex - 1] ^ 1],
            "annex is for the trusted manifest",
        ),
        map.put(
            "a statement of another kind",
            trusted + 2,
            [5],
            "statement is of kind revoker, expected manifest",
        ),
        map.put("a changed SBOM", map.bytes.len() - 1, *b" ", "attachment 0 has SHA-256"),
        map.put("an annex of another signer", annex + 74, [map.bytes[annex + 74] ^ 1], "annex is signed by"),
        map.flip(
            "annex's signature",
            map.role(Role::Attachment) - 1,
            "publisher's signature of the annex does not verify",
        ),
        map.flip("ciphertext", map.role(Role::Payload), "ciphertext in stream 0 at offset 144 has SHA-256"),
    ]
}

fn originals(map: &Map) -> Vec<Change> {
    vec![
        map.flip("original's ciphertext", map.role(Role::Payload), "payload does not open with key"),
        map.flip("original's nonce", map.role(Role::Nonce), "payload does not open with key"),
        map.flip("original's tag", map.role(Role::Tag), "payload does not open with key"),
        map.flip("original's digest", map.role(Role::Digest), "plaintext does not have the SHA-256"),
        map.flip(
            "original's signature",
            map.role(Role::Signature),
            "signature of the payload does not verify",
        ),
        map.flip("original's certificate", map.role(Role::Certificate) + 40, "certificate does not decode"),
    ]
}

impl Change {
    fn apply(&self) -> Vec<u8> {
        let mut bytes = Map::of(self.base).bytes;
        let end = (self.at + self.bytes.len()).min(bytes.len());
        bytes.splice(self.at..end, self.bytes.iter().copied());
        bytes
    }

    fn describe(&self) -> Value {
        let stage = if self.stage == Stage::Read { "read" } else { "open" };
        json!({"name": self.name, "base": self.base, "at": self.at, "bytes": super::hex(&self.bytes), "stage": stage, "reason": self.reason})
    }
}

/// All of them, for the description.
pub(super) fn all() -> Vec<Value> {
    changes().iter().map(Change::describe).collect()
}

#[test]
fn each_change_is_refused_for_its_reason() {
    let mut wrong = Vec::new();
    for change in changes() {
        let bytes = change.apply();
        let (stage, reason) = match Package::read(&bytes) {
            Err(error) => (Stage::Read, error.to_string()),
            Ok(package) => (Stage::Open, open(&package, Some(&class_key())).unwrap_err().to_string()),
        };
        if stage != change.stage || !reason.contains(change.reason) {
            wrong.push(format!("{}: {stage:?} {reason}", change.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
