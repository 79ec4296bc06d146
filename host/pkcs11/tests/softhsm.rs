//! Keys in a real token: SoftHSM, set up in a folder of its own.

mod token;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use token::{FOLDER, MODULE, PIN, again_with, run, softhsm};
use trustbox_api::key::{KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_api::{Bytes, Secret};
use trustbox_package::open::open;
use trustbox_package::original::Rs256;
use trustbox_package::seal::Aes256;
use trustbox_package::sign::{Es256, public_key};
use trustbox_package::{ClassKey, Edition, Package, seal};
use trustbox_pkcs11::{AesKey, EcKey, PIN_VARIABLE, RsaKey, Uri};

fn main() -> ExitCode {
    match env::var_os(FOLDER) {
        Some(_) => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
        None => again_with("release", set_up),
    }
}

fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test);
    vec![
        trial("p256_key_signs", p256_key_signs),
        trial("rsa_key_signs", rsa_key_signs),
        trial("aes_key_encrypts_as_one_in_memory", aes_key_encrypts_as_one_in_memory),
        trial("a_package_sealed_in_the_token_opens", a_package_sealed_in_the_token_opens),
        trial("wrong_names_are_refused", wrong_names_are_refused),
        trial("wrong_pins_are_refused", wrong_pins_are_refused),
    ]
}

/// Three keys beside the token, and in it.
fn set_up(folder: &Path) {
    fs::write(folder.join("open-pin"), PIN).expect("a PIN");
    set_mode(&folder.join("open-pin"), 0o644);
    let scalar = ClassKey::generate().expect("random numbers");
    let key = SigningKey::from_slice(scalar.expose()).expect("a scalar");
    let pem = key.to_pkcs8_pem(LineEnding::LF).expect("PEM");
    fs::write(folder.join("ec.pem"), pem.as_bytes()).expect("a key");
    fs::write(folder.join("aes"), [7; 32]).expect("a key");
    let rsa = folder.join("rsa.pem");
    let rsa = rsa.to_str().expect("UTF-8");
    let options = ["-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", rsa];
    run(Command::new("openssl").arg("genpkey").args(options));
    for (label, id, file) in [("publisher", "01", "ec.pem"), ("oem", "02", "rsa.pem"), ("class", "03", "aes")]
    {
        let path = folder.join(file);
        let mut import = softhsm(folder);
        import
            .arg("--import")
            .arg(path)
            .args(["--token", "release", "--label", label, "--id", id, "--pin", PIN]);
        run(if label == "class" { import.arg("--aes") } else { &mut import });
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

fn file(name: &str) -> Vec<u8> {
    let folder = env::var_os(FOLDER).expect("a folder");
    fs::read(Path::new(&folder).join(name)).expect("a file")
}

fn uri_with(path: &str, pin: &str) -> Uri {
    let folder = env::var(FOLDER).expect("a folder");
    let text = format!("pkcs11:{path}?module-path={MODULE}&pin-source=file:{folder}/{pin}");
    text.parse().expect("a URI")
}

fn uri(path: &str) -> Uri {
    uri_with(path, "pin")
}

fn p256_key_signs() -> Result<(), Failed> {
    let key = EcKey::open(&uri("token=release;object=publisher"))?;
    let pem = String::from_utf8(file("ec.pem"))?;
    let expected = *SigningKey::from_pkcs8_pem(&pem)?.verifying_key();
    assert_eq!(key.public_key(), public_key(&expected));
    let signature = Signature::from_slice(key.sign_digest(&[9; 32])?.as_ref())?;
    VerifyingKey::verify_prehash(&expected, &[9; 32], &signature)?;
    Ok(())
}

fn rsa_key_signs() -> Result<(), Failed> {
    let key = RsaKey::open(&uri("object=oem"))?;
    let (_, der) = pem_rfc7468::decode_vec(&file("rsa.pem"))?;
    let pair = RsaKeyPair::from_pkcs8(&der)?;
    assert_eq!((key.bits(), key.signature_size()), (2048, 256));
    let pss = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, pair.public());
    pss.verify(b"message", &key.sign_pss(b"message")?)?;
    let pkcs1 = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public());
    pkcs1.verify(b"message", &key.sign(b"message")?)?;
    Ok(())
}

fn aes_key_encrypts_as_one_in_memory() -> Result<(), Failed> {
    let (there, here) = (AesKey::open(&uri("id=%03"))?, ClassKey::new(Secret::new([7; 32])));
    for (additional, text) in [(&b""[..], &b"text"[..]), (b"more", &[5; 32]), (b"more", &[6; 100_000])] {
        let (mut one, mut two) = (text.to_vec(), text.to_vec());
        let tags = (
            there.encrypt(&Bytes([1; 12]), additional, &mut one)?,
            here.encrypt(&Bytes([1; 12]), additional, &mut two)?,
        );
        assert!(one == two && tags.0 == tags.1 && one != text);
    }
    Ok(())
}

fn a_package_sealed_in_the_token_opens() -> Result<(), Failed> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../package/vectors");
    let vector = fs::read(vectors.join("trustbox.cpk"))?;
    let published = ClassKey::new(Secret::new(Sha256::digest("TrustBox test vector: class key").into()));
    let image = open(&Package::read(&vector)?, Some(&published))?;
    let edition = Edition {
        name: Name::from("meter")?,
        vendor: String::new(),
        owner_root: Bytes([1; 32]),
        class_key: KeyRef::new("class", 1).ok_or("a name")?,
        min_optee: Version(4, 10, 0),
        min_ta: Version(0, 1, 0),
        date: 0,
    };
    let (publisher, class_key) =
        (EcKey::open(&uri("object=publisher"))?, AesKey::open(&uri("object=class"))?);
    let bytes = seal(&image, &edition, &class_key, &publisher)?;
    let opened = open(&Package::read(&bytes)?, Some(&ClassKey::new(Secret::new([7; 32]))))?;
    assert!(*opened == *image);
    Ok(())
}

fn wrong_names_are_refused() -> Result<(), Failed> {
    let said = |error: Option<anyhow::Error>| format!("{:#}", error.expect("a refusal"));
    assert!(
        said(EcKey::open(&uri("object=nobody")).err())
            .contains("has no CKO_PRIVATE_KEY of this name\nhelp: ")
    );
    assert!(said(EcKey::open(&uri("object=oem")).err()).starts_with("pkcs11:object=oem: "));
    assert!(said(RsaKey::open(&uri("object=publisher")).err()).starts_with("pkcs11:object=publisher: "));
    assert!(said(AesKey::open(&uri("object=publisher")).err()).contains("CKO_SECRET_KEY"));
    let error = said(EcKey::open(&uri("token=other;object=publisher")).err());
    assert!(error.contains("no such token\nhelp: the module has: release"), "{error}");
    let nowhere: Uri = "pkcs11:object=a?module-path=/nowhere.so".parse()?;
    assert!(said(EcKey::open(&nowhere).err()).contains("/nowhere.so is not a PKCS#11 module"));
    Ok(())
}

fn wrong_pins_are_refused() -> Result<(), Failed> {
    let error = EcKey::open(&uri_with("object=publisher", "open-pin")).err().expect("a refusal").to_string();
    assert!(error.contains("mode 644, expected 600\nhelp: chmod 600"), "{error}");
    let text = format!("pkcs11:object=publisher?module-path={MODULE}");
    let error = EcKey::open(&text.parse()?).err().expect("a refusal").to_string();
    assert!(error.contains("no PIN\nhelp: add ?pin-source") && error.contains(PIN_VARIABLE), "{error}");
    Ok(())
}
