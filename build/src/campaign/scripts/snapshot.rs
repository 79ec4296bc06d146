//! What is in a root, and what is different after something ran in it: paths with type, mode, digest and target.
//!
//! Files of accounts are taken apart: a line that a script adds to `etc/passwd` is a change of `etc/passwd:NAME`, so that it
//! can be held against another root's line of that name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::hash::sha256_hex;

/// Files with one account or group a line.
pub(crate) const ACCOUNTS: [&str; 4] = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"];

/// What is at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    Folder(u32),
    File {
        mode: u32,
        digest: String,
    },
    Link(String),
    /// A file of accounts, whose lines have entries of their own.
    Accounts(u32),
    Line(String),
    /// A device or a socket.
    Other,
}

/// Everything below a folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    entries: BTreeMap<String, (Entry, Stamp)>,
}

/// While these are what they were, a file's content is.
type Stamp = (u64, u64, i64, i64, i64, i64);

/// A path whose entry is another one now.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Change {
    pub(crate) path: String,
    /// Nothing where it was removed.
    pub(crate) after: Option<Entry>,
}

impl Snapshot {
    /// Looks at everything below a folder; files that are as in `before` are not read again.
    pub(crate) fn of(root: &Path, before: &Self) -> Result<Self> {
        let mut snapshot = Self::default();
        snapshot.add(root, "", before)?;
        Ok(snapshot)
    }

    fn add(&mut self, folder: &Path, above: &str, before: &Self) -> Result<()> {
        let read = || format!("cannot read {}", folder.display());
        for found in fs::read_dir(folder).with_context(read)? {
            let found = found.with_context(read)?;
            let at = found.path();
            let path = format!("{above}{}", found.file_name().to_string_lossy());
            let about = at.symlink_metadata().with_context(read)?;
            let entry = match before.entries.get(&path) {
                Some((entry @ Entry::File { .. }, stamp)) if *stamp == stamp_of(&about) => entry.clone(),
                _ => self.look(&at, &path, &about)?,
            };
            self.entries.insert(path.clone(), (entry, stamp_of(&about)));
            if about.is_dir() {
                self.add(&at, &format!("{path}/"), before)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, at: &Path, path: &str, about: &Metadata) -> Result<Entry> {
        let read = || format!("cannot read {}", at.display());
        let mode = about.mode() & 0o7777;
        Ok(match about.file_type() {
            kind if kind.is_dir() => Entry::Folder(mode),
            kind if kind.is_symlink() => {
                Entry::Link(fs::read_link(at).with_context(read)?.to_string_lossy().into())
            }
            kind if kind.is_file() && ACCOUNTS.contains(&path) => {
                for line in fs::read_to_string(at).with_context(read)?.lines() {
                    let name = line.split(':').next().unwrap_or_default();
                    let line = Entry::Line(line.to_owned());
                    self.entries.insert(format!("{path}:{name}"), (line, Stamp::default()));
                }
                Entry::Accounts(mode)
            }
            kind if kind.is_file() => {
                Entry::File { mode, digest: sha256_hex(&fs::read(at).with_context(read)?) }
            }
            _ => Entry::Other,
        })
    }

    /// What is at a path.
    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path).map(|(entry, _)| entry)
    }

    /// What is different in the root that came of this one, in the order of paths. A folder that was made for something in it is
    /// no change of its own: who makes it first is chance.
    pub(crate) fn changes(&self, after: &Self) -> Vec<Change> {
        let gone = self.entries.keys().filter(|path| !after.entries.contains_key(*path));
        let gone = gone.map(|path| Change { path: path.clone(), after: None });
        let made = after.entries.iter().filter(|(path, (entry, _))| self.get(path) != Some(entry));
        let made = made.map(|(path, (entry, _))| Change { path: path.clone(), after: Some(entry.clone()) });
        let mut changes: Vec<_> = gone.chain(made).collect();
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        let made: BTreeSet<_> = changes
            .iter()
            .filter(|change| change.after.is_some())
            .map(|change| change.path.clone())
            .collect();
        changes.retain(|change| {
            let new_folder =
                matches!(change.after, Some(Entry::Folder(_))) && self.get(&change.path).is_none();
            let inside = format!("{}/", change.path);
            !(new_folder && made.range(inside.clone()..).next().is_some_and(|next| next.starts_with(&inside)))
        });
        changes
    }
}

fn stamp_of(about: &Metadata) -> Stamp {
    (about.ino(), about.size(), about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn changes_are_what_was_made_removed_or_altered() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("etc")).unwrap();
        fs::write(at("etc/passwd"), "root:x:0\n").unwrap();
        for name in ["kept", "altered", "opened", "removed"] {
            fs::write(at(name), "1").unwrap();
        }
        fs::set_permissions(at("opened"), PermissionsExt::from_mode(0o600)).unwrap();
        let before = Snapshot::of(folder.path(), &Snapshot::default()).unwrap();
        fs::write(at("altered"), "2").unwrap();
        fs::set_permissions(at("opened"), PermissionsExt::from_mode(0o640)).unwrap();
        fs::remove_file(at("removed")).unwrap();
        symlink("altered", at("link")).unwrap();
        fs::create_dir_all(at("full/empty")).unwrap();
        fs::write(at("etc/passwd"), "root:x:0\nnew:x:7\n").unwrap();
        let after = Snapshot::of(folder.path(), &before).unwrap();
        let changes = before.changes(&after);
        let paths: Vec<_> = changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["altered", "etc/passwd:new", "full/empty", "link", "opened", "removed"]);
        assert_eq!(changes[1].after, Some(Entry::Line("new:x:7".into())));
        assert!(matches!(changes[2].after, Some(Entry::Folder(_))));
        assert_eq!(changes[3].after, Some(Entry::Link("altered".into())));
        let digest = sha256_hex(b"1");
        assert_eq!(changes[4].after, Some(Entry::File { mode: 0o640, digest }));
        assert_eq!(changes[5].after, None);
        assert_eq!(after.changes(&Snapshot::of(folder.path(), &after).unwrap()), []);
    }
}
