//! Files that others made: read as a whole, never more than a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// The bytes of a file, at most `limit`.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let found = file.metadata().with_context(|| format!("cannot read {shown}"))?;
    ensure!(!found.is_dir(), "{shown} is a folder\nhelp: name a file");
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {shown}"))?;
    if bytes.len() as u64 > limit {
        bail!("{shown} has {} bytes, expected at most {limit}", found.len().max(bytes.len() as u64));
    }
    Ok(bytes)
}

/// The first bytes of a file, as many as there are up to `count`.
pub(crate) fn beginning(path: &Path, count: u64) -> Result<Vec<u8>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes).with_context(|| format!("cannot read {shown}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).unwrap_err().to_string().ends_with("has 5 bytes, expected at most 4"));
        assert_eq!(beginning(&path, 2).unwrap(), b"12");
        assert!(read(Path::new("/dev/zero"), 4).unwrap_err().to_string().contains("expected at most 4"));
        assert!(read(dir.path(), 4).unwrap_err().to_string().contains("is a folder"));
        assert!(read(&dir.path().join("none"), 4).unwrap_err().to_string().starts_with("cannot read"));
    }
}
