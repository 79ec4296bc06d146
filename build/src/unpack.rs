//! `build/tb unpack`: the enclave out of a package, with the key in hand. Nothing is written unless everything is right.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use trustbox_keys::class_keys::parse_key_ref;
use trustbox_keys::{ClassKeys, files};
use trustbox_package::open::{key_name, open};
use trustbox_package::words::printable;
use trustbox_package::{ClassKey, MAX_PACKAGE, Package};

use crate::input;

/// Opens a package with its key and writes the enclave, a signed OP-TEE TA.
///
/// Takes packages with trusted manifest and those of the original. What is damaged, unsigned or signed by another gives exit
/// status 1 and no file.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The package
    pub(crate) file: PathBuf,
    /// Store of keys: a JSON object of name to base64 key, mode 600
    #[arg(long, value_name = "KEYS")]
    pub(crate) key_file: Option<PathBuf>,
    /// Public key that must have signed the package
    #[arg(long, value_name = "PUB")]
    pub(crate) publisher: Option<PathBuf>,
    /// Where to write the enclave; nobody else may read it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs `tb unpack`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let shown = args.file.display();
    let bytes = input::read(&args.file, MAX_PACKAGE)?;
    let package = Package::read(&bytes).with_context(|| shown.to_string())?;
    check_publisher(args, &package)?;
    let keys = args.key_file.as_deref().map(ClassKeys::load).transpose()?;
    let key = keys.as_ref().map(|keys| find_key(keys, &package)).transpose()?.flatten();
    let image = open(&package, key).map_err(|error| anyhow!("{shown}: {error}{}", help(key)))?;
    files::write_private(&args.out, &image)?;
    let signer = match package.trusted() {
        Ok(trusted) => format!("publisher {}", trusted.signer.id()),
        Err(_) => "the certificate in the package, which is no proof of who that is".to_owned(),
    };
    if args.json {
        println!(
            "{}",
            json!({"file": args.out, "bytes": image.len(), "id": package.json.id, "signed_by": signer})
        );
    } else {
        let (name, id) = (printable(&package.json.name), printable(&package.json.id));
        println!("{}: {name} {id}, {} octets, signed by {signer}", args.out.display(), image.len());
    }
    Ok(())
}

fn check_publisher(args: &Args, package: &Package<'_>) -> Result<()> {
    let Some(path) = &args.publisher else { return Ok(()) };
    let (expected, shown) = (files::load_public(path)?.id(), args.file.display());
    match package.trusted() {
        Ok(trusted) if trusted.signer.id() == expected => Ok(()),
        Ok(trusted) => bail!("{shown}: signed by publisher {}, expected {expected}", trusted.signer.id()),
        Err(error) => bail!("{shown}: {error}: no publisher signed it"),
    }
}

/// The key that the package names; none where it is not encrypted.
fn find_key<'a>(keys: &'a ClassKeys, package: &Package<'_>) -> Result<Option<&'a ClassKey>> {
    let Some(name) = key_name(package) else { return Ok(None) };
    let key = parse_key_ref(&name).with_context(|| format!("package names key {}", printable(&name)))?;
    keys.require(&key).map(Some)
}

fn help(key: Option<&ClassKey>) -> &'static str {
    if key.is_none() { "\nhelp: --key-file names a store that has it" } else { "" }
}
