//! Files and standard streams, with limits.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::failure::Failure;

/// Reads a file of at most `limit` bytes; `-` is standard input.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let name = path.display();
    let bytes = open(path).and_then(|source| {
        let mut bytes = Vec::new();
        source.take(limit + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = bytes.map_err(|error| Failure::file("read", &name, error))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::file("read", name, format_args!("longer than the limit of {limit} bytes")));
    }
    Ok(bytes)
}

/// Writes a file; `-` is standard output.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = if is_standard(path) {
        io::stdout().write_all(bytes).and_then(|()| io::stdout().flush())
    } else {
        std::fs::write(path, bytes)
    };
    written.map_err(|error| Failure::file("write", path.display(), error))
}

/// Whether a path means a standard stream.
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if is_standard(path) { Ok(Box::new(io::stdin())) } else { Ok(Box::new(File::open(path)?)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    #[test]
    fn limit_is_kept_and_missing_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, &[7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [7; 10]);
        let failure = read(&path, 9).unwrap_err();
        assert!(failure.text.ends_with("longer than the limit of 9 bytes"), "{}", failure.text);
        let failure = read(&dir.path().join("none"), 9).unwrap_err();
        assert!(failure.status == Status::Usage && failure.text.contains("/none: "), "{}", failure.text);
    }
}
