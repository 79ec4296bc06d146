//! Content keys: SHA-256 over everything a step depends on, each part framed so that parts cannot run together.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Collects the inputs of a step.
pub(crate) struct Key(Sha256);

impl Key {
    /// Starts a key; `name` keeps the keys of two steps apart.
    pub(crate) fn new(name: &str) -> Self {
        Self(Sha256::new()).text(name)
    }

    /// Adds a word: an argument, a version, the key of an earlier step.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.frame(b't', text.as_bytes());
        self
    }

    /// Adds words.
    pub(crate) fn texts<S: AsRef<str>>(self, texts: impl IntoIterator<Item = S>) -> Self {
        texts.into_iter().fold(self, |key, text| key.text(text.as_ref()))
    }

    /// Adds a file's content; its path is not part of the key.
    pub(crate) fn file(mut self, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.frame(b'f', &bytes);
        Ok(self)
    }

    /// Adds every file below a folder with its relative name, in name order.
    pub(crate) fn tree(mut self, root: &Path) -> Result<Self> {
        for path in files_below(root)? {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            self.frame(b'n', name.as_bytes());
            self = self.file(&path)?;
        }
        Ok(self)
    }

    /// The key as 16 hexadecimal digits: 64 bits are ample for a cache folder.
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize()[..8])
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) {
        self.0.update([kind]);
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

/// Every regular file below `root`, sorted.
pub(crate) fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read folder {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// SHA-256 of bytes as hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Key::new("s").texts(["ab", "c"]).finish(), Key::new("s").texts(["a", "bc"]).finish());
        assert_ne!(Key::new("s").text("a").finish(), Key::new("a").text("s").finish());
    }

    #[test]
    fn content_counts_and_place_does_not() {
        let root = std::env::temp_dir().join(format!("tb-hash-{}", std::process::id()));
        for name in ["one", "two"] {
            fs::create_dir_all(root.join(name).join("sub")).unwrap();
            fs::write(root.join(name).join("sub/file"), b"same").unwrap();
        }
        let key = |name: &str| Key::new("s").tree(&root.join(name)).unwrap().finish();
        assert_eq!(key("one"), key("two"));
        fs::write(root.join("two/sub/file"), b"other").unwrap();
        assert_ne!(key("one"), key("two"));
        fs::remove_dir_all(root).unwrap();
    }
}
