//! Builds trusted applications: the TrustBox TA, which goes into the firmware, and the example enclaves, signed.

mod c_enclaves;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use trustbox_api::Uuid;

use crate::builder::Builder;
use crate::cargo::TARGET;
use crate::elf;
use crate::firmware::copy_if_changed;
use crate::hash::hex;
use crate::sign_ta::{self, Algorithm, SigningKey};
use crate::tool::Tool;
use crate::ui;

/// The package of the TrustBox TA.
pub(crate) const TRUSTBOX_TA: &str = "trustbox-ta";
/// Limit of the stripped TrustBox TA: it is resident in secure memory and part of the signed firmware.
pub(crate) const MAX_TA_SIZE: u64 = 160 * 1024;
/// Version in the signed header of an example enclave that names none.
const DEFAULT_VERSION: u32 = 1;

/// Builds the TrustBox TA and the example enclaves.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Board to build for
    #[arg(long, value_name = "BOARD", default_value = crate::board::DEFAULT)]
    platform: String,
}

/// Runs `tb ta`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let builder = Builder::open(&args.platform)?;
    let kit = builder.dev_kit(false)?;
    let ta = builder.trustbox_ta(&kit)?;
    println!("{} ({} octets)", ta.stripped.display(), fs::metadata(&ta.stripped)?.len());
    for enclave in builder.enclaves()? {
        println!("{} ({} octets)", enclave.signed.display(), fs::metadata(&enclave.signed)?.len());
    }
    Ok(())
}

/// The TrustBox TA.
#[derive(Clone, Debug)]
pub struct TrustedApplication {
    /// The ELF file with symbols.
    pub elf: PathBuf,
    /// The ELF file as it goes into the firmware.
    pub stripped: PathBuf,
}

/// An example enclave of `tests/enclaves`.
#[derive(Clone, Debug)]
pub struct Enclave {
    /// Package name; of an enclave in C, the name of its folder.
    pub name: String,
    /// UUID in its usual text form, from the TA header inside the ELF file.
    pub uuid: String,
    /// Version in the signed header.
    pub version: u32,
    /// The stripped ELF file.
    pub stripped: PathBuf,
    /// The signed image, as OP-TEE installs it.
    pub signed: PathBuf,
}

impl Builder {
    /// Builds the TrustBox TA and checks its size.
    pub(crate) fn trustbox_ta(&self, kit: &Path) -> Result<TrustedApplication> {
        let name = TRUSTBOX_TA;
        let elf = self.build_ta(kit, &[name])?.remove(0);
        let stripped = self.strip(&elf, &self.work("ta")?.join(format!("{name}.stripped.elf")))?;
        check_size(&stripped, fs::metadata(&stripped)?.len())?;
        Ok(TrustedApplication { elf, stripped })
    }

    /// Builds and signs every example enclave: those in Rust, then those in C.
    pub fn enclaves(&self) -> Result<Vec<Enclave>> {
        let kit = self.dev_kit(false)?;
        let key = self.ta_signing_key()?;
        let mut enclaves = self.rust_enclaves(&kit, &key)?;
        for built in self.c_enclaves(&kit)? {
            enclaves.push(self.sign_enclave(&key, &built.name, DEFAULT_VERSION, &built.elf)?);
        }
        Ok(enclaves)
    }

    fn rust_enclaves(&self, kit: &Path, key: &SigningKey) -> Result<Vec<Enclave>> {
        let names = self.enclave_names()?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let words: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        let elves = self.build_ta(kit, &words)?;
        let pairs = names.iter().zip(&elves);
        pairs.map(|((name, folder), elf)| self.sign_enclave(key, name, version_of(folder)?, elf)).collect()
    }

    /// The same enclave with another version in its signed header.
    pub fn resign(&self, enclave: &Enclave, version: u32) -> Result<PathBuf> {
        self.sign_as(&enclave.stripped, &enclave.uuid, version)
    }

    /// Any ELF file, signed as the trusted application `uuid` and named as in Linux's TA folder. For tests of what must not
    /// load although its signature is good, as a TrustBox TA from Linux's file system.
    pub fn sign_as(&self, elf: &Path, uuid: &str, version: u32) -> Result<PathBuf> {
        let Uuid(octets) = uuid.parse().map_err(|error| anyhow!("{uuid}: {error}"))?;
        let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
        let name = elf.file_stem().with_context(|| format!("{} is no file", elf.display()))?;
        let folder = self.work("signed-as")?.join(name).join(version.to_string());
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let signed = folder.join(format!("{uuid}.ta"));
        let image = sign_ta::sign(&self.ta_signing_key()?, Algorithm::Pss, &octets.0, version, &bytes)?;
        fs::write(&signed, image).with_context(|| format!("cannot write {}", signed.display()))?;
        Ok(signed)
    }

    /// Our key for signing trusted applications, generated on first use.
    pub fn ta_signing_key(&self) -> Result<SigningKey> {
        SigningKey::load_or_generate(&self.repo.dev_keys().join("ta-signing.pem"))
    }

    fn build_ta(&self, kit: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
        let packages = names.iter().flat_map(|name| ["-p", name]);
        let tool =
            self.cargo_for_ta(kit)?.args(["build", "--profile", "ta", "--target", TARGET]).args(packages);
        let log = self.log(names[0]);
        let _ = fs::remove_file(&log);
        ui::step(&names.join(" "), || tool.help("the compiler's message above names the line").run(&log))?;
        let folder = self.repo.root().join("target/ta").join(TARGET).join("ta");
        Ok(names.iter().map(|name| folder.join(name)).collect())
    }

    pub(crate) fn strip(&self, elf: &Path, to: &Path) -> Result<PathBuf> {
        let part = to.with_extension("unfinished");
        let tool = Tool::new("aarch64-linux-gnu-objcopy").arg("--strip-unneeded").arg(elf).arg(&part);
        tool.run(&self.log("objcopy"))?;
        copy_if_changed(&part, to)?;
        fs::remove_file(part)?;
        Ok(to.to_path_buf())
    }

    fn sign_enclave(&self, key: &SigningKey, name: &str, version: u32, elf: &Path) -> Result<Enclave> {
        let out = self.work("enclaves")?;
        let stripped = self.strip(elf, &out.join(format!("{name}.stripped.elf")))?;
        let bytes = fs::read(&stripped)?;
        let uuid = uuid_of(&bytes).with_context(|| format!("enclave {name} is not a TA"))?;
        let uuid_text = uuid_text(&uuid);
        let signed = out.join(format!("{uuid_text}.ta"));
        fs::write(&signed, sign_ta::sign(key, Algorithm::Pss, &uuid, version, &bytes)?)?;
        Ok(Enclave { name: name.to_owned(), uuid: uuid_text, version, stripped, signed })
    }

    /// Names and folders of the example enclaves in Rust: an enclave has a build script, which writes its header.
    pub(crate) fn enclave_names(&self) -> Result<Vec<(String, PathBuf)>> {
        let root = self.repo.root().join("tests/enclaves");
        let mut names = self.packages()?;
        names.retain(|(_, folder)| folder.starts_with(&root) && folder.join("build.rs").is_file());
        Ok(names)
    }
}

fn check_size(path: &Path, size: u64) -> Result<()> {
    ensure!(
        size <= MAX_TA_SIZE,
        "{} has {size} octets, the limit is {MAX_TA_SIZE}\nhelp: look for formatting, panics with text and generic code",
        path.display()
    );
    Ok(())
}

/// The UUID in a TA's header, in network order. The header has it as OP-TEE's struct: three little-endian fields.
pub(crate) fn uuid_of(elf_file: &[u8]) -> Result<[u8; 16]> {
    let head = elf::section(elf_file, ".ta_head")?;
    let mut uuid: [u8; 16] = head.get(..16).context("TA header is shorter than a UUID")?.try_into()?;
    uuid[..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    Ok(uuid)
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let digits = hex(uuid);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// `package.metadata.trustbox.version` of an enclave's manifest.
fn version_of(folder: &Path) -> Result<u32> {
    let path = folder.join("Cargo.toml");
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(&path)?)?;
    let version = ["metadata", "trustbox", "version"]
        .iter()
        .try_fold(manifest.get("package"), |value, name| Some(value?.get(name)))
        .flatten();
    let Some(version) = version else { return Ok(DEFAULT_VERSION) };
    let number = version.as_integer().and_then(|number| u32::try_from(number).ok());
    number.with_context(|| format!("{}: version {version} is not a 32-bit number", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_comes_from_the_header() {
        let mut head = vec![0xd4, 0xe9, 0xa6, 0xb8, 0x0c, 0x3f, 0x7e, 0x4f];
        head.extend([0x9a, 0x53, 0x1d, 0x2c, 0x7e, 0x50, 0xb4, 0xc1, 0, 0]);
        let elf = crate::elf::tests::sample(".ta_head", &head);
        assert_eq!(uuid_text(&uuid_of(&elf).unwrap()), crate::TRUSTBOX_UUID);
    }

    #[test]
    fn size_error_names_both_numbers() {
        assert!(check_size(Path::new("ta"), MAX_TA_SIZE).is_ok());
        let error = check_size(Path::new("ta"), MAX_TA_SIZE + 1).unwrap_err().to_string();
        assert!(error.contains("163841") && error.contains("163840"));
    }
}
