//! Packages checked, shown and opened, as they are and damaged: what holds, what does not, and who is said to have signed.

use std::path::Path;

use tempfile::TempDir;
use trustbox_keys::{DevKeys, dev};
use trustbox_package::original::{OriginalEdition, seal};
use trustbox_package::seal::{Fresh, seal_with};
use trustbox_package::{Edition, Package};

use super::*;
use crate::inspect;
use crate::sign_ta::tests::{key, sample_image};
use crate::sign_ta::{Algorithm, SigningKey, sign};
use crate::unpack;

const UUID: [u8; 16] = *b"an enclave uuid!";
const SBOM: &[u8] = br#"{"bomFormat":"CycloneDX","specVersion":"1.5"}"#;

struct Bench {
    dir: TempDir,
    keys: DevKeys,
    image: Vec<u8>,
}

impl Bench {
    fn new(image: Vec<u8>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = dev::ensure(&dir.path().join("keys")).unwrap();
        let bench = Self { dir, keys, image };
        bench.write("trustbox.cpk", &bench.trustbox());
        bench.write("original.cpk", &bench.original());
        bench
    }

    fn class_key(&self) -> &trustbox_package::ClassKey {
        self.keys.class_keys.require(&"demo-class".parse_key()).unwrap()
    }

    fn trustbox(&self) -> Vec<u8> {
        let edition = Edition {
            name: trustbox_api::Name::from("meter").unwrap(),
            vendor: String::new(),
            owner_root: trustbox_api::Bytes([1; 32]),
            class_key: "demo-class".parse_key(),
            min_optee: trustbox_api::message::Version(4, 10, 0),
            min_ta: trustbox_api::message::Version(0, 1, 0),
            date: 0,
        };
        let fresh = Fresh::generate().unwrap();
        seal_with(fresh, &self.image, &edition, Some(SBOM), self.class_key(), &self.keys.publisher).unwrap()
    }

    fn original(&self) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/package/vectors");
        let pem = std::fs::read(folder.join("TEST-VECTOR-rsa2048.key.pem")).unwrap();
        files::write_private(&self.path("signer.pem"), &pem).unwrap();
        let signer = SigningKey::load(&self.path("signer.pem")).unwrap();
        let certificate = std::fs::read(folder.join("TEST-VECTOR-certificate.pem")).unwrap();
        let edition = OriginalEdition {
            id: "demo-class".to_owned(),
            name: "meter".to_owned(),
            vendor: String::new(),
            version: (1, 0, 0),
            date: "2026-11-21 09:11:47.138845454 UTC".to_owned(),
        };
        seal(&self.image, &edition, self.class_key(), &signer, &certificate).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn verify(&self, name: &str, expected: &Expected) -> Verdict {
        let path = self.path(name);
        (recognise(&path).unwrap().verify)(&path, expected).unwrap()
    }

    /// With the class key.
    fn inside(&self) -> Expected {
        let class_keys = ClassKeys::load(&self.keys.class_keys_path()).unwrap();
        Expected { class_keys: Some(class_keys), ..Expected::default() }
    }

    fn unpack(&self, name: &str, keys: Option<PathBuf>) -> anyhow::Result<Vec<u8>> {
        let args = unpack::Args {
            file: self.path(name),
            key_file: keys,
            publisher: None,
            out: self.path("out.ta"),
            json: false,
        };
        unpack::run(&args).map(|()| std::fs::read(self.path("out.ta")).unwrap())
    }

    fn keys(&self) -> Option<PathBuf> {
        Some(self.keys.class_keys_path())
    }
}

trait ParseKey {
    fn parse_key(&self) -> trustbox_api::KeyRef;
}

impl ParseKey for str {
    fn parse_key(&self) -> trustbox_api::KeyRef {
        trustbox_keys::class_keys::parse_key_ref(self).unwrap()
    }
}

fn bench() -> Bench {
    Bench::new(sample_image(UUID, 7))
}

fn results(verdict: &Verdict) -> Vec<(&str, &str)> {
    let word = |check: &Check| match check.result {
        Outcome::Holds => "ok",
        Outcome::Fails(_) => "failed",
        Outcome::NotChecked(_) => "not checked",
    };
    verdict.checks.iter().map(|check| (check.what.as_ref(), word(check))).collect()
}

#[test]
fn without_keys_the_publisher_is_checked_and_the_oem_is_not() {
    let verdict = bench().verify("trustbox.cpk", &Expected::default());
    let expected = [
        ("frame, manifests and streams", "ok"),
        ("signature of the trusted manifest", "ok"),
        ("digest of the ciphertext", "ok"),
        ("signature of annex and SBOM", "ok"),
        ("content", "not checked"),
        ("signature of the TA", "not checked"),
    ];
    assert_eq!(results(&verdict), expected);
    assert_eq!(verdict.reason(), None);
}

#[test]
fn original_without_its_key_is_not_verified() {
    let bench = bench();
    let verdict = bench.verify("original.cpk", &Expected::default());
    assert!(
        verdict.reason().unwrap().starts_with("not verified: no signature of it could be checked\nhelp: ")
    );
    let verdict = bench.verify("original.cpk", &bench.inside());
    assert_eq!(verdict.reason(), None);
    assert!(results(&verdict).contains(&("signature of the payload", "ok")));
}

#[test]
fn with_all_keys_everything_is_checked() {
    let oem = key();
    let bench = Bench::new(sign(&oem, Algorithm::Pss, &UUID, 7, b"payload").unwrap());
    let pem =
        pem_rfc7468::encode_string("PUBLIC KEY", pem_rfc7468::LineEnding::LF, &spki(oem.public().unwrap()))
            .unwrap();
    bench.write("oem.pem", pem.as_bytes());
    let publisher = Some(trustbox_package::sign::public_key(bench.keys.publisher.verifying_key()).id());
    let all = || Expected {
        ta_key: Some(TaKey::load(&bench.path("oem.pem")).unwrap()),
        publisher,
        ..bench.inside()
    };
    let verdict = bench.verify("trustbox.cpk", &all());
    assert!(verdict.reason().is_none() && results(&verdict).iter().all(|(_, result)| *result == "ok"));
    bench.write("plain.ta", &bench.image);
    assert!(bench.verify("plain.ta", &all()).reason().is_none());
    assert!(bench.verify("plain.ta", &Expected::default()).reason().unwrap().starts_with("not verified"));
    let stranger = TaKey::load(&bench.path("signer.pem")).unwrap();
    let other = Expected { ta_key: Some(stranger), ..bench.inside() };
    assert_eq!(
        bench.verify("trustbox.cpk", &other).reason().unwrap(),
        "signature of the TA: the signature is not of this key"
    );
    let other = Expected { publisher: Some(trustbox_api::Bytes([0; 32])), ..Expected::default() };
    assert!(bench.verify("trustbox.cpk", &other).reason().unwrap().starts_with("the publisher: it is "));
    assert!(
        bench.verify("original.cpk", &other).reason().unwrap().contains("a package of the original has none")
    );
}

/// PKCS#1 RSAPublicKey in a SubjectPublicKeyInfo.
fn spki(key: &[u8]) -> Vec<u8> {
    let algorithm =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let long =
        |tag: u8, body: Vec<u8>| [&[tag, 0x82], &(body.len() as u16).to_be_bytes()[..], &body].concat();
    let bits = long(0x03, [&[0], key].concat());
    long(0x30, [&algorithm[..], &bits].concat())
}

#[test]
fn both_formats_are_unpacked_and_damage_is_not() {
    let bench = bench();
    for name in ["trustbox.cpk", "original.cpk"] {
        assert!(bench.unpack(name, bench.keys()).unwrap() == bench.image, "{name}");
        std::fs::remove_file(bench.path("out.ta")).unwrap();
        let error = bench.unpack(name, None).unwrap_err().to_string();
        assert!(error.contains("no key was given\nhelp: --key-file"), "{error}");
        let good = std::fs::read(bench.path(name)).unwrap();
        let roles = Package::read(&good).unwrap().roles.to_vec();
        for (stream, role) in roles.into_iter().enumerate() {
            let mut bytes = good.clone();
            let at = Package::read(&good).unwrap().frame.offset(stream) as usize;
            bytes[at] ^= 1;
            bench.write("damaged.cpk", &bytes);
            let error = bench.unpack("damaged.cpk", bench.keys()).unwrap_err();
            assert!(format!("{error:#}").contains("damaged.cpk: "), "{role}: {error:#}");
            assert!(bench.verify("damaged.cpk", &bench.inside()).reason().is_some(), "{role}");
            assert!(!bench.path("out.ta").exists(), "{role}");
        }
    }
}

#[test]
fn wrong_keys_open_nothing() {
    let bench = bench();
    let other = dev::ensure(&bench.path("other")).unwrap();
    let error = bench.unpack("trustbox.cpk", Some(other.class_keys_path())).unwrap_err().to_string();
    assert!(error.contains("content key does not open with key demo-class"), "{error}");
    let error = bench.unpack("original.cpk", Some(other.class_keys_path())).unwrap_err().to_string();
    assert!(error.contains("payload does not open with key demo-class"), "{error}");
    files::write_private(&bench.path("none.json"), b"{}").unwrap();
    let error = bench.unpack("trustbox.cpk", Some(bench.path("none.json"))).unwrap_err().to_string();
    assert!(error.starts_with("no class key demo-class in the store"), "{error}");
}

#[test]
fn inspection_shows_streams_and_gives_the_sbom() {
    let bench = bench();
    let options = inspect::Options { sbom_out: Some(bench.path("bom.json")) };
    let path = bench.path("trustbox.cpk");
    let found = inspect::package::KIND.inspect;
    let shown = found(&path, &options).unwrap();
    assert_eq!(std::fs::read(bench.path("bom.json")).unwrap(), SBOM);
    assert_eq!(
        (&shown.description["streams"][7]["role"], &shown.description["annex"]["signature"]),
        (&"SBOM".into(), &"valid".into())
    );
    assert!(shown.damage.is_none() && shown.map[0].starts_with("00000000  0d f0 cc 0e"));
    let original = found(&bench.path("original.cpk"), &inspect::Options { sbom_out: None }).unwrap();
    assert_eq!(original.description["streams"][5]["role"], "certificate");
    assert!(found(&bench.path("original.cpk"), &options).is_err());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = Package::read(&bytes).unwrap().place(trustbox_package::layout::Role::Manifest).offset as usize;
    bytes[at] = b'[';
    bench.write("damaged.cpk", &bytes);
    let shown = found(&bench.path("damaged.cpk"), &inspect::Options { sbom_out: None }).unwrap();
    assert!(shown.damage.unwrap().starts_with("JSON manifest in stream 4") && shown.map.len() > 9);
    assert_eq!(shown.description["streams"][0]["role"], "?");
}

#[test]
fn a_verdict_reads_well() {
    let verdict = bench().verify("trustbox.cpk", &Expected::default());
    let described = verdict.describe(Path::new("a.cpk"));
    assert_eq!(
        (&described["verified"], &described["checks"][4]["result"]),
        (&true.into(), &"not-checked".into())
    );
    assert!(
        verdict.checks[1].line().starts_with("  ok          signature of the trusted manifest by publisher ")
    );
}
