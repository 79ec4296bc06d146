//! `tb pack --legacy`: packages as devices of old understand them.

use anyhow::{Context, Result, anyhow, bail};
use trustbox_keys::class_keys::parse_key_ref;
use trustbox_package::certificate::Certificate;
use trustbox_package::image::Image;
use trustbox_package::layout::Role;
use trustbox_package::original::{OriginalEdition, seal};
use trustbox_package::{Package, date};

use crate::pack::settings::Settings;
use crate::pack::source;
use crate::usage::Usage;

pub(crate) fn pack(settings: &Settings, image: &[u8]) -> Result<Vec<u8>> {
    let facts = Image::read(image)?;
    let name =
        settings.name.ok_or_else(|| Usage("--name is missing: what the enclave is called".to_owned()))?;
    let id = settings.app_id.clone().unwrap_or_else(|| facts.uuid.to_string());
    let edition = OriginalEdition {
        name: name.to_string(),
        vendor: settings.vendor.clone().unwrap_or_default(),
        version: settings.app_version.as_deref().map_or(Ok((facts.version, 0, 0)), parse_version)?,
        date: date::text(super::date()?),
        id,
    };
    let certificate = source::certificate(settings)?;
    let said = Certificate::read(&certificate).context("--certificate")?;
    let signer = source::original_signer(settings)?;
    let key = parse_key_ref(&edition.id).context("the application id names the class key")?;
    let cipher = source::class_key(settings, &key)?;
    let bytes = seal(image, &edition, &*cipher, &*signer, &certificate)?;
    check_signature(image, &bytes, &said)?;
    Ok(bytes)
}

fn check_signature(image: &[u8], bytes: &[u8], certificate: &Certificate) -> Result<()> {
    let signature = Package::read(bytes)?.stream(Role::Signature).unwrap_or_default();
    if !certificate.verifies(image, signature) {
        let subject = &certificate.subject;
        bail!(
            "the certificate of {subject} is of another key than --signer\nhelp: they must belong together"
        );
    }
    Ok(())
}

fn parse_version(text: &str) -> Result<(u32, u32, u32)> {
    let numbers: Vec<u32> = text.split('.').map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
    match numbers[..] {
        [major, minor, revision] => Ok((major, minor, revision)),
        _ => Err(anyhow!("--app-version is {text}\nhelp: three numbers, as 1.0.0")),
    }
}
