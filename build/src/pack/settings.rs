//! What to pack and how: from the command line, and from a description in TOML whose keys are the flags' names.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Deserializer};
use trustbox_api::key::{KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_keys::class_keys::parse_key_ref;

use crate::input;
use crate::pack::source::Source;
use crate::usage::Usage;

/// Bytes of a description at most.
const MAX_DESCRIPTION: u64 = 64 << 10;

/// Everything that can be said of a package. The same names are flags and keys of the description.
#[derive(clap::Args, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The enclave: a signed OP-TEE TA, or its ELF file, which is signed first
    pub(crate) image: Option<PathBuf>,
    /// Display name
    #[arg(long, value_parser = parse_name)]
    #[serde(deserialize_with = "name")]
    pub(crate) name: Option<Name>,
    /// Vendor, for people
    #[arg(long)]
    pub(crate) vendor: Option<String>,
    /// Class key that the devices have
    #[arg(long, value_name = "NAME[@VERSION]", value_parser = parse_key_ref)]
    #[serde(deserialize_with = "key_ref")]
    pub(crate) class_key: Option<KeyRef>,
    /// Where the class key is: a store of keys, or a token (pkcs11:…) [default: the development keys]
    #[arg(long, value_name = "SOURCE")]
    #[serde(deserialize_with = "source")]
    pub(crate) class_keys: Option<Source>,
    /// Key service that wraps with the class key, which stays there
    #[arg(long, value_name = "https://HOST:PORT", requires = "identity", conflicts_with_all = ["class_keys", "legacy"])]
    pub(crate) key_service: Option<String>,
    /// Who asks the key service: a folder with ca.pem, client.pem and client.key.pem, role build-agent
    #[arg(long, value_name = "DIR", requires = "key_service")]
    pub(crate) identity: Option<PathBuf>,
    /// Private key of the publisher: a file or in a token (pkcs11:…) [default: the development key]
    #[arg(long, value_name = "KEY")]
    #[serde(deserialize_with = "source")]
    pub(crate) publisher: Option<Source>,
    /// Key of the owner root, public or private [default: the development key]
    #[arg(long, value_name = "PUB")]
    pub(crate) owner_root: Option<PathBuf>,
    /// Private key that signs an ELF file for OP-TEE: a file or in a token (pkcs11:…) [default: the development key]
    #[arg(long, value_name = "KEY")]
    #[serde(deserialize_with = "source")]
    pub(crate) ta_key: Option<Source>,
    /// Version of an ELF file; a signed TA has its own. In a description also `version`
    #[arg(long, value_name = "N")]
    #[serde(alias = "version")]
    pub(crate) ta_version: Option<u32>,
    /// Lowest version of OP-TEE that it runs on [default: 4.10.0]
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    #[serde(deserialize_with = "version")]
    pub(crate) min_optee: Option<Version>,
    /// Lowest version of the TrustBox TA that it runs on [default: 0.1.0]
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    #[serde(deserialize_with = "version")]
    pub(crate) min_ta: Option<Version>,
    /// SBOM to carry, CycloneDX in JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sbom_of", "legacy"])]
    pub(crate) sbom: Option<PathBuf>,
    /// Makes the SBOM from the enclave's crate
    #[arg(long, value_name = "Cargo.toml", conflicts_with = "legacy")]
    pub(crate) sbom_of: Option<PathBuf>,
    /// Writes a package of the original format, for devices of old; its class key encrypts the enclave itself
    #[arg(long, conflicts_with_all = ["class_key", "publisher", "owner_root", "min_optee", "min_ta"])]
    pub(crate) legacy: bool,
    /// Of the original format: application id, which is the name of its class key [default: the enclave's UUID]
    #[arg(long, value_name = "ID", requires = "legacy")]
    pub(crate) app_id: Option<String>,
    /// Of the original format: version [default: the enclave's, as N.0.0]
    #[arg(long, value_name = "N.N.N", requires = "legacy")]
    pub(crate) app_version: Option<String>,
    /// Of the original format: RSA-2048 private key that signs it, a file or in a token (pkcs11:…)
    #[arg(long, value_name = "KEY", requires = "legacy")]
    #[serde(deserialize_with = "source")]
    pub(crate) signer: Option<Source>,
    /// Of the original format: certificate of that key, in PEM
    #[arg(long, value_name = "FILE", requires = "legacy")]
    pub(crate) certificate: Option<PathBuf>,
    /// Also write what a verifier must expect of a device with this enclave, TOML signed by the publisher: FILE and FILE.sig
    #[arg(long, value_name = "FILE.toml", conflicts_with = "legacy")]
    pub(crate) reference_out: Option<PathBuf>,
    /// Where to write the package
    #[arg(long, value_name = "FILE.cpk")]
    pub(crate) out: Option<PathBuf>,
}

impl Settings {
    /// Reads a description; its paths are relative to its folder.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let bytes = input::read(path, MAX_DESCRIPTION)?;
        let text = std::str::from_utf8(&bytes).with_context(|| format!("{shown} is not UTF-8"))?;
        // The parser's message has line, column and text.
        let settings: Self = toml::from_str(text).map_err(|error| anyhow!("{shown}: {error}"))?;
        settings.check(path)?;
        Ok(settings.below(path.parent().unwrap_or(Path::new(""))))
    }

    /// These, and what they do not say from `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            image: self.image.or(other.image),
            name: self.name.or(other.name),
            vendor: self.vendor.or(other.vendor),
            class_key: self.class_key.or(other.class_key),
            class_keys: self.class_keys.or(other.class_keys),
            key_service: self.key_service.or(other.key_service),
            identity: self.identity.or(other.identity),
            publisher: self.publisher.or(other.publisher),
            owner_root: self.owner_root.or(other.owner_root),
            ta_key: self.ta_key.or(other.ta_key),
            ta_version: self.ta_version.or(other.ta_version),
            min_optee: self.min_optee.or(other.min_optee),
            min_ta: self.min_ta.or(other.min_ta),
            sbom: self.sbom.or(other.sbom),
            sbom_of: self.sbom_of.or(other.sbom_of),
            legacy: self.legacy || other.legacy,
            app_id: self.app_id.or(other.app_id),
            app_version: self.app_version.or(other.app_version),
            signer: self.signer.or(other.signer),
            certificate: self.certificate.or(other.certificate),
            reference_out: self.reference_out.or(other.reference_out),
            out: self.out.or(other.out),
        }
    }

    /// What flags may not be together may not be in a description either.
    fn check(&self, path: &Path) -> Result<()> {
        if self.sbom.is_some() && self.sbom_of.is_some() {
            bail!("{}: sbom and sbom-of exclude each other\nhelp: leave one out", path.display());
        }
        Ok(())
    }

    /// What each of the two formats has alone.
    pub(crate) fn check_legacy(&self) -> Result<()> {
        let ours = [
            ("class-key", self.class_key.is_some()),
            ("key-service", self.key_service.is_some()),
            ("publisher", self.publisher.is_some()),
            ("owner-root", self.owner_root.is_some()),
            ("min-optee", self.min_optee.is_some()),
            ("min-ta", self.min_ta.is_some()),
            ("sbom", self.sbom.is_some() || self.sbom_of.is_some()),
            ("reference-out", self.reference_out.is_some()),
        ];
        let original = [
            ("app-id", self.app_id.is_some()),
            ("app-version", self.app_version.is_some()),
            ("signer", self.signer.is_some()),
            ("certificate", self.certificate.is_some()),
        ];
        let (said, rule) =
            if self.legacy { (&ours[..], "is not for --legacy") } else { (&original[..], "is for --legacy") };
        match said.iter().find(|(_, said)| *said) {
            Some((what, _)) => Err(Usage(format!("{what} {rule}\nhelp: leave one of them out")).into()),
            None => Ok(()),
        }
    }

    fn below(self, folder: &Path) -> Self {
        let at = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        let source = |source: Option<Source>| source.map(|source| source.below(folder));
        Self {
            image: at(self.image),
            class_keys: source(self.class_keys),
            identity: at(self.identity),
            publisher: source(self.publisher),
            owner_root: at(self.owner_root),
            ta_key: source(self.ta_key),
            sbom: at(self.sbom),
            sbom_of: at(self.sbom_of),
            signer: source(self.signer),
            certificate: at(self.certificate),
            reference_out: at(self.reference_out),
            out: at(self.out),
            ..self
        }
    }
}

pub(crate) fn parse_name(text: &str) -> Result<Name> {
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

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Name>, D::Error> {
    parsed(from, parse_name)
}

fn key_ref<'de, D: Deserializer<'de>>(from: D) -> Result<Option<KeyRef>, D::Error> {
    parsed(from, parse_key_ref)
}

fn version<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Version>, D::Error> {
    parsed(from, parse_version)
}

fn source<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Source>, D::Error> {
    parsed(from, str::parse)
}

fn parsed<'de, D: Deserializer<'de>, T, E: Display>(
    from: D,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, D::Error> {
    parse(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("package.toml");
        std::fs::write(&path, text).unwrap();
        Settings::load(&path)
    }

    #[test]
    fn paths_are_relative_to_the_description_and_flags_come_first() {
        let text = "image = 'a.ta'\nname = 'meter'\nclass-key = 'c@2'\nclass-keys = 'pkcs11:object=c'\npublisher = 'p.pem'\nout = '/abs/m.cpk'\n";
        let settings = load(text).unwrap();
        let folder = settings.image.as_ref().unwrap().parent().unwrap().to_path_buf();
        assert!(folder.is_absolute());
        assert!(matches!(&settings.publisher, Some(Source::File(path)) if *path == folder.join("p.pem")));
        assert!(matches!(&settings.class_keys, Some(Source::Token(_))));
        assert_eq!(settings.out.as_deref(), Some(Path::new("/abs/m.cpk")));
        let flags = Settings { name: Some(parse_name("other").unwrap()), ..Settings::default() };
        let both = flags.or(settings);
        assert_eq!((both.name.unwrap().as_str(), both.class_key.unwrap().version), ("other", 2));
        assert_eq!(
            (load("version = 3").unwrap().ta_version, load("ta-version = 4").unwrap().ta_version),
            (Some(3), Some(4))
        );
    }

    #[test]
    fn wrong_descriptions_are_refused_with_the_line() {
        for (text, why) in [
            ("nane = 'a'", "unknown field `nane`"),
            ("name = ''", "a name has 1 to 64 bytes"),
            ("class-key = 'c@0'", "not a class key: c@0"),
            ("min-optee = '4'", "a version is three numbers"),
            ("publisher = 'pkcs11:token=x'", "no key is named"),
            ("ta-version = -1", "invalid value"),
            ("name = 'a'\nname = 'b'", "duplicate key"),
        ] {
            let error = load(text).err().unwrap().to_string();
            assert!(error.contains(why) && error.contains("at line"), "{error}");
        }
        assert!(load("sbom = 'a'\nsbom-of = 'b'").err().unwrap().to_string().contains("exclude each other"));
    }
}
