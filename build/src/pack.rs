//! `build/tb pack`: from a trusted application to an encrypted package for one device class.
//!
//! For publishers. The work is done by `trustbox-package`; here are the files, and the development keys that stand in
//! for what is not named, with a note on standard error.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use trustbox_api::Uuid;
use trustbox_api::key::{KeyId, KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_keys::class_keys::parse_key_ref;
use trustbox_keys::{ClassKeys, DevKeys, SigningKey, dev, files};
use trustbox_package::sign::public_key;
use trustbox_package::{ClassKey, Edition, Package, class_key, seal};

use crate::builder::Repo;
use crate::sign_ta::{self, Algorithm};
use crate::{elf, ui};

const ELF_MAGIC: &[u8] = b"\x7fELF";

/// Packs and encrypts an enclave.
#[derive(clap::Args)]
pub struct Args {
    /// The enclave: a signed OP-TEE TA, or its ELF file, which is signed first
    image: PathBuf,
    /// Display name
    #[arg(long, value_parser = parse_name)]
    name: Name,
    /// Vendor, for people
    #[arg(long, default_value = "")]
    vendor: String,
    /// Class key that the devices have
    #[arg(long, value_name = "NAME[@VERSION]", value_parser = parse_key_ref)]
    class_key: KeyRef,
    /// Store of class keys [default: the development keys]
    #[arg(long, value_name = "FILE")]
    class_keys: Option<PathBuf>,
    /// Private key of the publisher [default: the development key]
    #[arg(long, value_name = "KEY")]
    publisher: Option<PathBuf>,
    /// Key of the owner root, public or private [default: the development key]
    #[arg(long, value_name = "PUB")]
    owner_root: Option<PathBuf>,
    /// Private key that signs an ELF file for OP-TEE [default: the development key]
    #[arg(long, value_name = "KEY")]
    ta_key: Option<PathBuf>,
    /// Version of an ELF file; a signed TA has its own
    #[arg(long, value_name = "N")]
    ta_version: Option<u32>,
    /// Lowest version of OP-TEE that it runs on
    #[arg(long, value_name = "VERSION", value_parser = parse_version, default_value = "4.10.0")]
    min_optee: Version,
    /// Lowest version of the TrustBox TA that it runs on
    #[arg(long, value_name = "VERSION", value_parser = parse_version, default_value = "0.1.0")]
    min_ta: Version,
    /// Where to write the package
    #[arg(long, value_name = "FILE.cpk")]
    out: PathBuf,
}

/// What the package is made with.
struct Keys {
    class_key: ClassKey,
    publisher: SigningKey,
    owner_root: KeyId,
}

/// Runs `tb pack`.
pub fn run(args: Args) -> Result<()> {
    let image = signed_image(&args)?;
    let keys = load_keys(&args)?;
    let edition = Edition {
        name: args.name,
        vendor: args.vendor,
        owner_root: keys.owner_root,
        class_key: args.class_key,
        min_optee: args.min_optee,
        min_ta: args.min_ta,
        date: date()?,
    };
    let package = seal(&image, &edition, &keys.class_key, &keys.publisher).map_err(|error| {
        anyhow!("{}: {error}\nhelp: give a signed OP-TEE TA or its ELF file", args.image.display())
    })?;
    files::write(&args.out, &package)?;
    describe(&args.out, &package)
}

fn describe(out: &Path, bytes: &[u8]) -> Result<()> {
    let package = Package::read(bytes)?;
    let terms = package.trusted()?.terms();
    let key = class_key::name(&terms.class_key);
    println!(
        "{}: {} {} version {}, {} octets, for class key {key}",
        out.display(),
        terms.name,
        terms.uuid,
        terms.version,
        bytes.len()
    );
    Ok(())
}

/// The image as OP-TEE installs it; an ELF file is signed here.
fn signed_image(args: &Args) -> Result<Vec<u8>> {
    let path = args.image.display();
    let bytes = std::fs::read(&args.image).with_context(|| format!("cannot read {path}"))?;
    match (bytes.starts_with(ELF_MAGIC), args.ta_version) {
        (true, Some(version)) => sign_elf(args, &bytes, version),
        (true, None) => {
            bail!("{path} is an ELF file, which has no version\nhelp: give it one with --ta-version")
        }
        (false, Some(_)) => bail!("{path} is not an ELF file, --ta-version is for one\nhelp: leave it out"),
        (false, None) => Ok(bytes),
    }
}

fn sign_elf(args: &Args, bytes: &[u8], version: u32) -> Result<Vec<u8>> {
    let uuid =
        uuid_of(bytes).with_context(|| format!("{} is not a trusted application", args.image.display()))?;
    let key = match &args.ta_key {
        Some(path) => sign_ta::SigningKey::load(path)?,
        None => {
            not_trusted("TA signing key");
            sign_ta::SigningKey::load_or_generate(&Repo::find()?.dev_keys().join("ta-signing.pem"))?
        }
    };
    sign_ta::sign(&key, Algorithm::Pss, &uuid.0.0, version, bytes)
}

/// The UUID in a TA's header: OP-TEE's struct, whose first three fields are little-endian.
fn uuid_of(elf_file: &[u8]) -> Result<Uuid> {
    let head = elf::section(elf_file, ".ta_head")?;
    let mut uuid: [u8; 16] = head.get(..16).context("TA header is shorter than a UUID")?.try_into()?;
    [0..4, 4..6, 6..8].into_iter().for_each(|field| uuid[field].reverse());
    Ok(Uuid(trustbox_api::Bytes(uuid)))
}

/// What is not named comes from the development keys.
fn load_keys(args: &Args) -> Result<Keys> {
    let dev = match (&args.class_keys, &args.publisher, &args.owner_root) {
        (Some(_), Some(_), Some(_)) => None,
        _ => Some(dev::ensure(&Repo::find()?.dev_keys())?),
    };
    let dev = dev.as_ref();
    let publisher = match &args.publisher {
        Some(path) => files::load_private(path)?,
        None => stand_in(dev, "publisher key")?.publisher.clone(),
    };
    let owner_root = match &args.owner_root {
        Some(path) => files::load_public(path)?,
        None => public_key(stand_in(dev, "owner root")?.owner_root.verifying_key()),
    };
    Ok(Keys { class_key: load_class_key(args, dev)?, publisher, owner_root: owner_root.id() })
}

fn load_class_key(args: &Args, dev: Option<&DevKeys>) -> Result<ClassKey> {
    let key = match &args.class_keys {
        Some(path) => ClassKeys::load(path)?.require(&args.class_key)?.clone(),
        None => stand_in(dev, "class key")?.class_keys.require(&args.class_key)?.clone(),
    };
    Ok(key)
}

fn stand_in<'a>(dev: Option<&'a DevKeys>, what: &str) -> Result<&'a DevKeys> {
    not_trusted(what);
    dev.context("development keys were not loaded")
}

fn not_trusted(what: &str) {
    ui::line(&format!("NOT-TRUSTED: {what} is a development key"));
}

/// `SOURCE_DATE_EPOCH` where it is set, for packages that can be compared; else now.
fn date() -> Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .map_err(|_| anyhow!("SOURCE_DATE_EPOCH is {text}\nhelp: seconds since 1970, in digits")),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("clock is before 1970")?.as_secs()),
    }
}

fn parse_name(text: &str) -> Result<Name> {
    let name = Name::try_from(text).ok().filter(|name| !name.is_empty());
    name.context("a name has 1 to 64 bytes")
}

pub(crate) fn parse_version(text: &str) -> Result<Version> {
    let numbers: Vec<u16> = text.split('.').map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
    match numbers[..] {
        [major, minor, patch] => Ok(Version(major, minor, patch)),
        _ => bail!("a version is three numbers, as 4.10.0"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Option<Args> {
        Line::try_parse_from(line.split(' ')).ok().map(|line| line.args)
    }

    /// Keys of a folder of its own, all named, so that no development key is touched.
    fn args(dir: &Path, image: &[u8]) -> Args {
        let keys = dev::ensure(&dir.join("keys")).unwrap();
        std::fs::write(dir.join("image.ta"), image).unwrap();
        let at = |path: PathBuf| path.to_str().unwrap().to_owned();
        let line = format!(
            "pack {} --name meter --class-key demo-class --class-keys {} --publisher {} --owner-root {} --out {}",
            at(dir.join("image.ta")),
            at(keys.class_keys_path()),
            at(keys.private_path(dev::Role::Publisher)),
            at(keys.public_path(dev::Role::OwnerRoot)),
            at(dir.join("meter.cpk")),
        );
        parse(&line).unwrap()
    }

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tb-pack-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn signed_image_becomes_a_package() {
        let dir = folder("good");
        let key = sign_ta::SigningKey::load_or_generate(&dir.join("ta.pem")).unwrap();
        let image = sign_ta::sign(&key, Algorithm::Pss, b"an enclave uuid!", 7, b"payload").unwrap();
        run(args(&dir, &image)).unwrap();
        let bytes = std::fs::read(dir.join("meter.cpk")).unwrap();
        let package = Package::read(&bytes).unwrap();
        let terms = package.trusted().unwrap().terms();
        assert_eq!((terms.name.as_str(), terms.version, terms.size as usize), ("meter", 7, image.len()));
        assert_eq!((terms.min_optee, terms.min_ta), (Version(4, 10, 0), Version(0, 1, 0)));
        let root = files::load_public(&dir.join("keys/owner-root.pub.pem")).unwrap().id();
        assert_eq!(package.trusted().unwrap().manifest.header.root, root);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn other_images_are_refused_with_help() {
        let dir = folder("bad");
        for image in [&b"plain"[..], b"\x7fELF"] {
            let error = run(args(&dir, image)).unwrap_err().to_string();
            assert!(error.contains("image.ta") && error.contains("help: "), "{error}");
        }
        assert!(!dir.join("meter.cpk").exists());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn unknown_class_key_is_named() {
        let dir = folder("key");
        let args = Args { class_key: parse_key_ref("other@9").unwrap(), ..args(&dir, b"") };
        let error = load_keys(&args).err().unwrap().to_string();
        assert!(error.starts_with("no class key other@9 in the store\nhelp: "), "{error}");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn words_are_checked() {
        assert!(parse("pack a.ta --name n --class-key c@2 --out o --min-optee 4.11.0").is_some());
        for line in [
            "pack a.ta --class-key c --out o",
            "pack a.ta --name n --class-key c@0 --out o",
            "pack a.ta --name n --class-key c --out o --min-ta 1.0",
            "pack a.ta --name n --class-key c --out o --min-ta 1.0.70000",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
        assert!(parse_name(&"n".repeat(65)).is_err() && parse_name("").is_err());
    }
}
