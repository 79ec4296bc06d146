//! Tests of packing, with keys of a folder of their own, all named, so that no development key is touched.

use clap::Parser;
use sha2::Digest;
use tempfile::TempDir;
use trustbox_keys::{DevKeys, dev};

use super::*;
use crate::sign_ta::tests::sample_image;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

struct Bench {
    image: Vec<u8>,
    dir: TempDir,
    keys: DevKeys,
}

impl Bench {
    fn new(image: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = dev::ensure(&dir.path().join("keys")).unwrap();
        std::fs::write(dir.path().join("image.ta"), image).unwrap();
        Self { image: image.to_vec(), dir, keys }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// A whole line, with `more` words at its end.
    fn line(&self, more: &[&str]) -> Vec<String> {
        let at = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut words = vec!["pack".to_owned(), self.path("image.ta")];
        for (flag, value) in [
            ("--name", "meter".to_owned()),
            ("--class-key", "demo-class".to_owned()),
            ("--class-keys", at(self.keys.class_keys_path())),
            ("--publisher", at(self.keys.private_path(dev::Role::Publisher))),
            ("--owner-root", at(self.keys.public_path(dev::Role::OwnerRoot))),
            ("--out", self.path("meter.cpk")),
        ] {
            words.extend([flag.to_owned(), value]);
        }
        words.extend(more.iter().map(ToString::to_string));
        words
    }

    fn pack(&self, words: Vec<String>) -> Result<Vec<u8>> {
        run(Line::try_parse_from(words)?.args)?;
        Ok(std::fs::read(self.dir.path().join("meter.cpk"))?)
    }
}

fn image() -> Vec<u8> {
    sample_image(*b"an enclave uuid!", 7)
}

#[test]
fn signed_image_becomes_a_package() {
    let bench = Bench::new(&image());
    let bytes = bench.pack(bench.line(&[])).unwrap();
    let package = Package::read(&bytes).unwrap();
    let terms = package.trusted().unwrap().terms();
    assert_eq!((terms.name.as_str(), terms.version, terms.size as usize), ("meter", 7, bench.image.len()));
    assert_eq!((terms.min_optee, terms.min_ta), (Version(4, 10, 0), Version(0, 1, 0)));
    let root = files::load_public(&bench.keys.public_path(dev::Role::OwnerRoot)).unwrap().id();
    assert_eq!(package.trusted().unwrap().manifest.header.root, root);
}

#[test]
fn what_a_verifier_must_expect_is_written_and_signed() {
    let bench = Bench::new(&image());
    let path = PathBuf::from(bench.path("expected.toml"));
    bench.pack(bench.line(&["--reference-out", path.to_str().unwrap()])).unwrap();
    let public = files::load_public(&bench.keys.public_path(dev::Role::Publisher)).unwrap();
    let values = reference::read(&[path], &[public]).unwrap();
    let root = files::load_public(&bench.keys.public_path(dev::Role::OwnerRoot)).unwrap().id();
    assert_eq!(values.owner_root, Some(root.to_string()));
    let [enclave] = &values.components[..] else { panic!("{:?}", values.components) };
    let digest: [u8; 32] = sha2::Sha256::digest(&bench.image).into();
    assert_eq!(enclave.measurements, [trustbox_api::Bytes(digest).to_string()]);
    assert_eq!(enclave.signer, Some(public.id().to_string()));
    assert_eq!(enclave.kind, Uuid(trustbox_api::Bytes(*b"an enclave uuid!")).to_string());
    let legacy = bench.line(&["--legacy", "--reference-out", "x"]);
    assert!(bench.pack(legacy).is_err());
}

#[test]
fn a_description_says_the_same_as_flags() {
    let bench = Bench::new(&image());
    let line = bench.line(&["--vendor", "ours"]);
    let pairs = line[2..].chunks_exact(2).map(|pair| format!("{} = '{}'\n", &pair[0][2..], pair[1]));
    let text = format!("image = 'image.ta'\n{}", pairs.collect::<String>());
    std::fs::write(bench.path("package.toml"), text).unwrap();
    let words = ["pack", "--description", &bench.path("package.toml"), "--name", "flag"].map(str::to_owned);
    let bytes = bench.pack(words.to_vec()).unwrap();
    let package = Package::read(&bytes).unwrap();
    assert_eq!((package.json.name.as_str(), package.json.vendor.as_str()), ("flag", "ours"));
}

#[test]
fn an_sbom_travels_along() {
    let bench = Bench::new(&image());
    let text = r#"{"bomFormat":"CycloneDX","specVersion":"1.5"}"#;
    std::fs::write(bench.path("bom.json"), text).unwrap();
    let bytes = bench.pack(bench.line(&["--sbom", &bench.path("bom.json")])).unwrap();
    assert_eq!(Package::read(&bytes).unwrap().sbom(), Some(text.as_bytes()));
    std::fs::write(bench.path("bom.json"), "{}").unwrap();
    let error = format!("{:#}", bench.pack(bench.line(&["--sbom", &bench.path("bom.json")])).unwrap_err());
    assert!(error.contains("bom.json: bomFormat is"), "{error}");
    assert!(
        Package::read(&std::fs::read(bench.path("meter.cpk")).unwrap()).is_ok(),
        "the old package is there"
    );
}

#[test]
fn original_format_is_written_for_old_devices() {
    let bench = Bench::new(&image());
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/package/vectors");
    let key = bench.path("signer.pem");
    let pem = std::fs::read(vectors.join("TEST-VECTOR-rsa2048.key.pem")).unwrap();
    files::write_private(Path::new(&key), &pem).unwrap();
    let certificate = vectors.join("TEST-VECTOR-certificate.pem");
    let store = bench.keys.class_keys_path().to_str().unwrap().to_owned();
    let common = ["--name", "meter", "--class-keys", &store, "--signer", &key, "--out"].map(str::to_owned);
    let line = |more: &[&str]| {
        let mut words = vec!["pack".to_owned(), bench.path("image.ta"), "--legacy".to_owned()];
        words.extend(common.iter().cloned().chain([bench.path("meter.cpk")]));
        words.extend(["--certificate".to_owned(), certificate.to_str().unwrap().to_owned()]);
        words.extend(more.iter().map(ToString::to_string));
        words
    };
    let bytes = bench.pack(line(&["--app-id", "demo-class", "--app-version", "1.2.3"])).unwrap();
    let package = Package::read(&bytes).unwrap();
    assert!(package.trusted().is_err() && package.frame.streams.len() == 7);
    assert_eq!((package.json.payload.ver.maj, package.json.payload.ver.rev), (1, 3));
    let keys = trustbox_keys::ClassKeys::load(&bench.keys.class_keys_path()).unwrap();
    let key = keys.require(&trustbox_keys::class_keys::parse_key_ref("demo-class").unwrap()).unwrap();
    assert!(*trustbox_package::open::open(&package, Some(key)).unwrap() == bench.image);
    let error = bench.pack(line(&["--app-id", "nobody"])).unwrap_err().to_string();
    assert!(error.starts_with("no class key nobody in the store"), "{error}");
    assert!(bench.pack(line(&["--class-key", "demo-class"])).is_err(), "two names for one key");
}

#[test]
fn certificate_and_signer_belong_together() {
    let bench = Bench::new(&image());
    let certificate =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/package/vectors/TEST-VECTOR-certificate.pem");
    let key = bench.path("other.pem");
    let options = ["-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let pem = crate::tool::Tool::new("openssl").arg("genpkey").args(options).output().unwrap();
    files::write_private(Path::new(&key), pem.as_bytes()).unwrap();
    let store = bench.keys.class_keys_path().to_str().unwrap().to_owned();
    let words = [
        "pack",
        &bench.path("image.ta"),
        "--legacy",
        "--name",
        "meter",
        "--class-keys",
        &store,
        "--signer",
        &key,
        "--certificate",
        certificate.to_str().unwrap(),
        "--app-id",
        "demo-class",
        "--out",
        &bench.path("meter.cpk"),
    ];
    let error = bench.pack(words.map(str::to_owned).to_vec()).unwrap_err().to_string();
    assert!(error.contains("is of another key than --signer\nhelp: "), "{error}");
    assert!(!Path::new(&bench.path("meter.cpk")).exists());
}

#[test]
fn other_images_are_refused_with_help() {
    for image in [&b"plain"[..], b"\x7fELF", b""] {
        let bench = Bench::new(image);
        let error = bench.pack(bench.line(&[])).unwrap_err().to_string();
        assert!(error.contains("image.ta") && error.contains("help: "), "{error}");
        assert!(!Path::new(&bench.path("meter.cpk")).exists());
    }
}

#[test]
fn unknown_class_key_is_named() {
    let bench = Bench::new(&image());
    let mut words = bench.line(&[]);
    let at = words.iter().position(|word| word == "demo-class").unwrap();
    words[at] = "other@9".to_owned();
    let error = bench.pack(words).unwrap_err().to_string();
    assert!(error.starts_with("no class key other@9 in the store\nhelp: "), "{error}");
}

#[test]
fn what_is_missing_is_wrong_usage() {
    let bench = Bench::new(&image());
    for flag in ["--name", "IMAGE", "--out", "--class-key"] {
        let mut words = bench.line(&[]);
        match words.iter().position(|word| word == flag) {
            Some(at) => drop(words.drain(at..at + 2)),
            None => drop(words.remove(1)),
        }
        let error = bench.pack(words).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().starts_with(flag), "{error}");
    }
}

#[test]
fn what_is_for_the_original_format_needs_it() {
    let bench = Bench::new(&image());
    let error = bench.pack(bench.line(&["--app-id", "x"])).unwrap_err();
    assert!(error.is::<Usage>() && error.to_string().contains("app-id is for --legacy"), "{error}");
}

#[test]
fn words_are_checked() {
    let parse = |line: &str| Line::try_parse_from(line.split(' ')).is_ok();
    assert!(parse("pack a.ta --name n --class-key c@2 --out o --min-optee 4.11.0"));
    for line in [
        "pack a.ta --name n --class-key c@0 --out o",
        "pack a.ta --name n --class-key c --out o --min-ta 1.0",
        "pack a.ta --name n --class-key c --out o --min-ta 1.0.70000",
        "pack a.ta --name n --out o --app-id x",
        "pack a.ta --name n --out o --legacy --sbom x",
        "pack a.ta --name n --publisher pkcs11:object=a?pin-value=1 --out o",
    ] {
        assert!(!parse(line), "{line}");
    }
}
