//! Writes a newc cpio archive: needs no root, and equal contents give equal bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::hash::Key;

const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// A root filesystem in memory, ordered by path.
#[derive(Default)]
pub(crate) struct Archive {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    mode: u32,
    device: (u32, u32),
    content: Vec<u8>,
}

impl Archive {
    /// Adds a file; folders above it are added where they lack.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, content: Vec<u8>) {
        self.add(path, REGULAR | permissions, (0, 0), content);
    }

    /// Adds a file of the host with its permissions; symbolic links are followed.
    pub(crate) fn host_file(&mut self, path: &str, source: &Path) -> Result<()> {
        let content = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let executable = fs::metadata(source)?.permissions().mode() & 0o111 != 0;
        self.file(path, if executable { 0o755 } else { 0o644 }, content);
        Ok(())
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, to: &str) {
        self.add(path, SYMLINK | 0o777, (0, 0), to.as_bytes().to_vec());
    }

    /// Adds a folder.
    pub(crate) fn folder(&mut self, path: &str) {
        self.add(path, FOLDER | 0o755, (0, 0), Vec::new());
    }

    /// Adds a character device.
    pub(crate) fn character(&mut self, path: &str, major: u32, minor: u32) {
        self.add(path, CHARACTER | 0o600, (major, minor), Vec::new());
    }

    /// A key of everything in it.
    pub(crate) fn key(&self) -> Result<String> {
        Ok(Key::new("cpio").text(&crate::hash::sha256_hex(&self.bytes()?)).finish())
    }

    /// The archive.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (number, (path, entry)) in self.entries.iter().enumerate() {
            write_entry(&mut out, number + 1, path, entry)?;
        }
        let end = Entry { mode: 0, device: (0, 0), content: Vec::new() };
        write_entry(&mut out, 0, "TRAILER!!!", &end)?;
        out.resize(out.len().next_multiple_of(512), 0);
        Ok(out)
    }

    fn add(&mut self, path: &str, mode: u32, device: (u32, u32), content: Vec<u8>) {
        let path = path.trim_start_matches('/');
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        for parent in parents {
            let folder = || Entry { mode: FOLDER | 0o755, device: (0, 0), content: Vec::new() };
            self.entries.entry(parent.to_owned()).or_insert_with(folder);
        }
        self.entries.insert(path.to_owned(), Entry { mode, device, content });
    }
}

/// Header of 13 hexadecimal numbers, name, content, both padded to four octets.
fn write_entry(out: &mut Vec<u8>, inode: usize, path: &str, entry: &Entry) -> Result<()> {
    ensure!(u32::try_from(entry.content.len()).is_ok(), "{path} is too large for an initial RAM disk");
    let links = if entry.mode & FOLDER == FOLDER { 2 } else { 1 };
    let numbers = [
        inode,
        entry.mode as usize,
        0,
        0,
        links,
        0,
        entry.content.len(),
        0,
        0,
        entry.device.0 as usize,
        entry.device.1 as usize,
        path.len() + 1,
        0,
    ];
    out.extend_from_slice(b"070701");
    for number in numbers {
        out.extend_from_slice(format!("{number:08x}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(&entry.content);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn sample() -> Archive {
        let mut archive = Archive::default();
        archive.file("/usr/bin/tool", 0o755, b"content".to_vec());
        archive.symlink("/bin", "usr/sbin");
        archive.folder("/proc");
        archive
    }

    #[test]
    fn parents_come_first_and_bytes_repeat() {
        let bytes = sample().bytes().unwrap();
        assert_eq!(bytes, sample().bytes().unwrap());
        assert_eq!(bytes.len() % 512, 0);
        assert!(bytes.starts_with(b"07070100000001"));
        let at = |name: &[u8]| bytes.windows(name.len()).position(|window| window == name).unwrap();
        assert!(at(b"usr\0") < at(b"usr/bin\0") && at(b"usr/bin\0") < at(b"usr/bin/tool\0"));
    }

    #[test]
    fn other_programs_read_it() {
        let Ok(mut child) =
            Command::new("cpio").arg("-it").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        else {
            return;
        };
        child.stdin.take().unwrap().write_all(&sample().bytes().unwrap()).unwrap();
        let listed = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(listed, "bin\nproc\nusr\nusr/bin\nusr/bin/tool\n");
    }
}
