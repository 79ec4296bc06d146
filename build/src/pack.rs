//! `build/tb pack`: from a trusted application to an encrypted package for one device class.
//!
//! For publishers. The work is done by `trustbox-package`; here are the files, the keys and where they come from, and the
//! development keys that stand in for what is not named, with a note on standard error.

mod legacy;
mod settings;
pub(crate) mod source;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::json;
use trustbox_api::Uuid;
use trustbox_api::limits::MAX_IMAGE;
use trustbox_api::message::Version;
use trustbox_keys::{files, reference};
use trustbox_package::image::Image;
use trustbox_package::seal::{Fresh, seal_with};
use trustbox_package::sign::Es256;
use trustbox_package::{Edition, Package, verify};
use trustbox_verifier::{Reference, ReferenceValues};

use crate::sbom::Sbom;
use crate::sign_ta::{self, Algorithm};
use crate::usage::Usage;
use crate::{elf, input, sbom};

use settings::Settings;
pub(crate) use settings::parse_version;

const ELF_MAGIC: &[u8] = b"\x7fELF";
const MIN_OPTEE: Version = Version(4, 10, 0);
const MIN_TA: Version = Version(0, 1, 0);
/// Bytes of an ELF file at most: with symbols it may be larger than what is packed.
const MAX_ELF: u64 = 4 * MAX_IMAGE as u64;

/// Packs and encrypts an enclave.
///
/// Everything can be said by flags, or in a TOML file that has the flags' names as keys (`image` for the enclave); flags come first.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Description in TOML; paths in it are relative to it
    #[arg(long, value_name = "package.toml")]
    description: Option<PathBuf>,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `tb pack`.
pub fn run(args: Args) -> Result<()> {
    let described = args.description.as_deref().map(Settings::load).transpose()?;
    let settings = args.settings.or(described.unwrap_or_default());
    let out = needed(settings.out.as_deref(), "--out", "where to write the package")?;
    settings.check_legacy()?;
    let image = signed_image(&settings)?;
    let package = if settings.legacy { legacy::pack(&settings, &image)? } else { pack(&settings, &image)? };
    files::write(out, &package)?;
    describe(out, &package, args.json)
}

fn pack(settings: &Settings, image: &[u8]) -> Result<Vec<u8>> {
    let class_key =
        *needed(settings.class_key.as_ref(), "--class-key", "the class key that the devices have")?;
    let name = *needed(settings.name.as_ref(), "--name", "what the enclave is called")?;
    // Before any key is asked for: a token counts.
    Image::read(image).map_err(|error| anyhow!("{}: {error}", shown(settings)))?;
    let (publisher, owner_root) = source::publisher(settings)?;
    let cipher = source::wrapping_key(settings, &class_key)?;
    let edition = Edition {
        name,
        vendor: settings.vendor.clone().unwrap_or_default(),
        owner_root,
        class_key,
        min_optee: settings.min_optee.unwrap_or(MIN_OPTEE),
        min_ta: settings.min_ta.unwrap_or(MIN_TA),
        date: date()?,
    };
    let sbom = sbom_of(settings, image)?;
    let bytes = seal_with(Fresh::generate()?, image, &edition, sbom.as_deref(), &*cipher, &*publisher)?;
    check_signatures(&bytes)?;
    if let Some(path) = &settings.reference_out {
        expected(path, &bytes, &*publisher)?;
    }
    Ok(bytes)
}

/// What a token says of a device that runs this enclave.
fn expected(path: &Path, bytes: &[u8], publisher: &dyn Es256) -> Result<()> {
    let package = Package::read(bytes)?;
    let (header, terms) = (package.trusted()?.manifest.header, package.trusted()?.terms());
    let enclave = Reference {
        kind: terms.uuid.to_string(),
        measurements: vec![terms.plaintext_sha256.to_string()],
        signer: Some(terms.publisher.to_string()),
        required: true,
    };
    let values = ReferenceValues {
        owner_root: Some(header.root.to_string()),
        components: vec![enclave],
        ..ReferenceValues::default()
    };
    let notes = format!("{} version {}", trustbox_package::words::printable(&terms.name), terms.version);
    reference::write(path, &notes, &values, Some(publisher))
}

/// A token could have signed anything.
fn check_signatures(bytes: &[u8]) -> Result<()> {
    let package = Package::read(bytes)?;
    let signed = verify::statement(&package.trusted()?.envelope) && package.annex().is_none_or(verify::annex);
    ensure!(signed, "the publisher key's signature does not verify\nhelp: check the token");
    Ok(())
}

fn sbom_of(settings: &Settings, image: &[u8]) -> Result<Option<Vec<u8>>> {
    match (&settings.sbom, &settings.sbom_of) {
        (Some(path), _) => Ok(Some(Sbom::load(path)?.bytes)),
        (None, Some(manifest)) => sbom::of_crate(manifest, image).map(Some),
        (None, None) => Ok(None),
    }
}

fn describe(out: &Path, bytes: &[u8], json: bool) -> Result<()> {
    let package = Package::read(bytes)?;
    let (manifest, ver) = (&package.json, &package.json.payload.ver);
    let key = match &manifest.payload.enc {
        trustbox_package::json::Encryption::AesGcm { key_name, .. } => key_name.as_str(),
        trustbox_package::json::Encryption::None => "none",
    };
    let version = format!("{}.{}.{}", ver.maj, ver.min, ver.rev);
    if json {
        let format = if package.trusted().is_ok() { "trusted-manifest" } else { "original" };
        let fields = json!({
            "file": out, "bytes": bytes.len(), "format": format, "id": manifest.id, "name": manifest.name,
            "version": version, "class_key": key, "sbom": package.sbom().is_some(),
        });
        println!("{fields}");
        return Ok(());
    }
    let name = trustbox_package::words::printable(&manifest.name);
    let version = version.trim_end_matches(".0.0");
    println!(
        "{}: {name} {} version {version}, {} octets, for class key {key}",
        out.display(),
        manifest.id,
        bytes.len()
    );
    Ok(())
}

/// The image as OP-TEE installs it; an ELF file is signed here.
fn signed_image(settings: &Settings) -> Result<Vec<u8>> {
    let path = needed(settings.image.as_deref(), "IMAGE", "a signed OP-TEE TA or its ELF file")?;
    let (bytes, shown) = (input::read(path, MAX_ELF)?, path.display());
    match (bytes.starts_with(ELF_MAGIC), settings.ta_version) {
        (true, Some(version)) => sign_elf(settings, &bytes, version),
        (true, None) => {
            bail!("{shown} is an ELF file, which has no version\nhelp: give it one with --ta-version")
        }
        (false, Some(_)) => bail!("{shown} is not an ELF file, --ta-version is for one\nhelp: leave it out"),
        (false, None) => match Image::read(&bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => bail!("{shown}: {error}\nhelp: give a signed OP-TEE TA or its ELF file"),
        },
    }
}

fn sign_elf(settings: &Settings, bytes: &[u8], version: u32) -> Result<Vec<u8>> {
    let uuid = uuid_of(bytes).with_context(|| format!("{} is not a trusted application", shown(settings)))?;
    sign_ta::sign(&source::ta_key(settings)?, Algorithm::Pss, &uuid.0.0, version, bytes)
}

/// The UUID in a TA's header: OP-TEE's struct, whose first three fields are little-endian.
fn uuid_of(elf_file: &[u8]) -> Result<Uuid> {
    let head = elf::section(elf_file, ".ta_head")?;
    let mut uuid: [u8; 16] = head.get(..16).context("TA header is shorter than a UUID")?.try_into()?;
    [0..4, 4..6, 6..8].into_iter().for_each(|field| uuid[field].reverse());
    Ok(Uuid(trustbox_api::Bytes(uuid)))
}

fn needed<'a, T: ?Sized>(value: Option<&'a T>, flag: &str, what: &str) -> Result<&'a T> {
    let missing =
        || Usage(format!("{flag} is missing: {what}\nhelp: name it, or in the file of --description"));
    Ok(value.ok_or_else(missing)?)
}

fn shown(settings: &Settings) -> String {
    settings.image.as_deref().unwrap_or(Path::new("image")).display().to_string()
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

#[cfg(test)]
mod tests;
