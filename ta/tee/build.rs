//! Facts about the firmware that are fixed for a build, from the environment of `build/tb`.
//!
//! | variable | holds |
//! | --- | --- |
//! | `TRUSTBOX_BOARD` | name of the board |
//! | `TRUSTBOX_ROLLBACK_PROTECTION` | `rpmb` or `none` |
//! | `TRUSTBOX_PROFILE` | `dev` or `production` |
//! | `TRUSTBOX_MAX_IMAGE` | bytes of the largest enclave image that the board has secure memory for |
//! | `TRUSTBOX_PROVISIONING_AUTHORITY` | file with the SHA-256 of the authority's SubjectPublicKeyInfo, 64 hex digits |

use std::path::Path;
use std::{env, fs, process};

fn main() {
    if env::var_os("CARGO_FEATURE_TRUSTED_APPLICATION").is_none() {
        return;
    }
    let text = facts().unwrap_or_else(|message| {
        println!("cargo::error={message}");
        process::exit(1)
    });
    let folder = env::var("OUT_DIR").unwrap_or_default();
    if let Err(error) = fs::write(Path::new(&folder).join("facts.rs"), text) {
        println!("cargo::error=cannot write facts.rs: {error}");
        process::exit(1);
    }
}

fn facts() -> Result<String, String> {
    let profile = choice("TRUSTBOX_PROFILE", &[("dev", "Dev"), ("production", "Production")])?;
    let rollback = choice("TRUSTBOX_ROLLBACK_PROTECTION", &[("rpmb", "Rpmb"), ("none", "None")])?;
    if profile == "Production" && rollback != "Rpmb" {
        return Err("TRUSTBOX_PROFILE=production needs TRUSTBOX_ROLLBACK_PROTECTION=rpmb".into());
    }
    let max_image = variable("TRUSTBOX_MAX_IMAGE")?;
    let max_image: u32 =
        max_image.parse().map_err(|_| format!("TRUSTBOX_MAX_IMAGE is '{max_image}', not a number"))?;
    let board = variable("TRUSTBOX_BOARD")?;
    let authority = authority()?;
    Ok(format!(
        "const BOARD: &str = {board:?};\nconst PROFILE: Profile = Profile::{profile};\n\
         const ROLLBACK_PROTECTION: RollbackProtection = RollbackProtection::{rollback};\n\
         const MAX_IMAGE: u32 = {max_image};\nconst PROVISIONING_AUTHORITY: KeyId = Bytes({authority:?});\n"
    ))
}

fn variable(name: &str) -> Result<String, String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).map_err(|_| format!("{name} is not set; build with build/tb, which sets it"))
}

fn choice(name: &str, choices: &[(&str, &'static str)]) -> Result<&'static str, String> {
    let value = variable(name)?;
    let found = choices.iter().find(|(text, _)| *text == value);
    found.map(|(_, variant)| *variant).ok_or_else(|| {
        let allowed: Vec<&str> = choices.iter().map(|(text, _)| *text).collect();
        format!("{name} is '{value}', not one of {}", allowed.join(", "))
    })
}

fn authority() -> Result<[u8; 32], String> {
    let path = variable("TRUSTBOX_PROVISIONING_AUTHORITY")?;
    println!("cargo::rerun-if-changed={path}");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let digits = text.trim().as_bytes();
    let mut id = [0; 32];
    if digits.len() != 64 {
        return Err(format!("{path} holds {} characters, not 64 hex digits", digits.len()));
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = str::from_utf8(pair).unwrap_or("");
        *byte = u8::from_str_radix(pair, 16).map_err(|_| format!("{path} holds '{pair}', not hex digits"))?;
    }
    Ok(id)
}
