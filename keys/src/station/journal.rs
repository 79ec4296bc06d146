//! What a station knows of a device, on disk before the next step begins: a file for each, replaced whole.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::protocol::Device;

/// Where a device stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A station works on it, or was cut off: it goes on when it is asked to.
    #[default]
    Begun,
    /// It passed.
    Passed,
    /// It failed.
    Failed,
}

/// What is known of a device.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The device.
    pub device_id: String,
    /// Where it stands.
    pub state: State,
    /// The last step that was done.
    pub step: String,
    /// What it failed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What the registry takes, certificates included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Device>,
    /// Fingerprints of the returns after which it was made anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<String>,
    /// When it was last written, in seconds since 1970.
    pub time: u64,
    /// Name of the station.
    pub station: String,
}

/// The entry of one device, which no other station of this folder has meanwhile.
pub struct Journal {
    path: PathBuf,
    /// What is known.
    pub entry: Entry,
    _claim: File,
}

impl Journal {
    /// Claims a device; `None` where another station has it.
    pub fn claim(folder: &Path, device_id: &str, station: &str) -> Result<Option<Self>> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = folder.join(format!("{device_id}.lock"));
        let claim = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
        let claim = claim.with_context(|| format!("cannot open {}", lock.display()))?;
        match claim.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error).context("cannot lock a journal"),
        }
        let path = folder.join(format!("{device_id}.json"));
        let mut entry = if path.exists() { read(&path)? } else { Entry::default() };
        (entry.device_id, entry.station) = (device_id.to_owned(), station.to_owned());
        Ok(Some(Self { path, entry, _claim: claim }))
    }

    /// Writes that a step is done; it lasts before this returns.
    pub fn done(&mut self, step: &str, now: u64) -> Result<()> {
        (self.entry.step, self.entry.time) = (step.to_owned(), now);
        let text = serde_json::to_vec_pretty(&self.entry)?;
        files::write(&self.path, &text)
    }

    /// Path of a file beside the journal, of the same device.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        self.path.with_extension(suffix)
    }
}

/// Entries of a folder, in the order of their ids.
pub fn entries(folder: &Path) -> Result<Vec<Entry>> {
    let listed = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = Vec::new();
    for file in listed {
        let path = file?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".json") && !name.ends_with(".voucher.json") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Entry> {
    let bytes = files::read(path)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}: not a journal", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_claimed_by_one_and_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let claim = |station: &str| Journal::claim(dir.path(), "d1", station).unwrap();
        let mut first = claim("one").unwrap();
        assert_eq!(first.entry.state, State::Begun);
        assert!(claim("two").is_none());
        first.done("provision", 7).unwrap();
        drop(first);
        let second = claim("two").unwrap();
        assert_eq!((second.entry.step.as_str(), second.entry.time), ("provision", 7));
        assert_eq!(entries(dir.path()).unwrap().len(), 1);
        drop(second);
        std::fs::write(dir.path().join("d1.json"), "{").unwrap();
        assert!(Journal::claim(dir.path(), "d1", "one").is_err());
    }
}
