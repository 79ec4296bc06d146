//! A root file system as it will be: entries by path, with a content and whether it can be started, and nothing of the host's.
//!
//! Everything belongs to root, nothing runs with more rights than who starts it, and times are one constant: equal inputs give
//! equal entries, on any host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

use crate::cpio::Archive;
use crate::elf;
use crate::hash::{Key, files_below, sha256_hex};
use crate::image::description::Part;

/// All entries.
#[derive(Default)]
pub(crate) struct Tree {
    entries: BTreeMap<String, Entry>,
}

/// What is at a path.
pub(crate) enum Entry {
    Folder,
    File { content: Vec<u8>, executable: bool },
    Link(String),
}

impl Tree {
    pub(crate) fn folder(&mut self, path: &str) {
        self.entries.insert(path.to_owned(), Entry::Folder);
    }

    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.entries.insert(path.to_owned(), Entry::Link(to.to_owned()));
    }

    pub(crate) fn file(&mut self, path: &str, content: Vec<u8>, executable: bool) {
        self.entries.insert(path.to_owned(), Entry::File { content, executable });
    }

    /// Adds a file of the host; whether it can be started is as it is there.
    pub(crate) fn host_file(&mut self, path: &str, source: &Path) -> Result<()> {
        let read = || format!("cannot read {}", source.display());
        let executable = fs::metadata(source).with_context(read)?.permissions().mode() & 0o111 != 0;
        self.file(path, fs::read(source).with_context(read)?, executable);
        Ok(())
    }

    /// Adds files of an unpacked package.
    pub(crate) fn package(&mut self, part: &Part, folder: &Path) -> Result<()> {
        for path in part.matches(folder)? {
            let source = folder.join(&path);
            match fs::read_link(&source) {
                Ok(to) => self.link(&path, &to.to_string_lossy()),
                Err(_) => self.host_file(&path, &source)?,
            }
        }
        Ok(())
    }

    /// Adds a folder of ours, as text: nothing in it can be started.
    pub(crate) fn overlay(&mut self, folder: &Path) -> Result<()> {
        for source in files_below(folder)? {
            let path = source.strip_prefix(folder)?.to_string_lossy().into_owned();
            self.file(&path, fs::read(&source)?, false);
        }
        Ok(())
    }

    /// Adds files that are not ours. None takes the place of one that is there, or changes what a link means.
    pub(crate) fn more(&mut self, folder: &Path) -> Result<()> {
        for source in all_below(folder)? {
            let path = source.strip_prefix(folder)?.to_string_lossy().into_owned();
            let taken = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
            let taken = taken.chain([path.as_str()]).find(|part| {
                self.entries.get(*part).is_some_and(|entry| *part == path || !matches!(entry, Entry::Folder))
            });
            if let Some(taken) = taken {
                bail!(
                    "{} would replace /{taken} of the image\nhelp: give it another name; settings of systemd and podman have folders for more files",
                    source.display()
                );
            }
            match fs::read_link(&source) {
                Ok(to) => self.link(&path, &to.to_string_lossy()),
                Err(_) => self.host_file(&path, &source)?,
            }
        }
        Ok(())
    }

    /// Whether there is something at a path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// What is at a path; folders above something are there too.
    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        let below = format!("{path}/");
        let next = || self.entries.range(below.clone()..).next();
        let above = || next().filter(|(next, _)| next.starts_with(&below)).map(|_| &Entry::Folder);
        self.entries.get(path).or_else(above)
    }

    /// Paths of everything.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A key of all entries.
    pub(crate) fn key(&self, name: &str) -> String {
        let words = |(path, entry): (&String, &Entry)| {
            let [kind, more, content] = match entry {
                Entry::Folder => ["folder".to_owned(), String::new(), String::new()],
                Entry::Link(to) => ["link".to_owned(), to.clone(), String::new()],
                Entry::File { content, executable } => {
                    ["file".to_owned(), executable.to_string(), sha256_hex(content)]
                }
            };
            [path.clone(), kind, more, content]
        };
        Key::new(name).texts(self.entries.par_iter().map(words).collect::<Vec<_>>().concat()).finish()
    }

    /// Every library that something in it needs is in it too.
    pub(crate) fn check_libraries(&self) -> Result<()> {
        let names: std::collections::BTreeSet<&str> =
            self.paths().filter_map(|path| path.rsplit('/').next()).collect();
        for (path, entry) in &self.entries {
            let Entry::File { content, .. } = entry else { continue };
            if !content.starts_with(b"\x7fELF") || path.ends_with(".ko") {
                continue;
            }
            for library in elf::needed(content).with_context(|| path.clone())? {
                ensure!(
                    names.contains(library.as_str()),
                    "{path} needs {library}, which the image lacks\nhelp: add its package to platform/image/root.toml"
                );
            }
        }
        Ok(())
    }

    /// Writes it below a folder, where only the content and what can be started matter.
    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            let to = below(root, path)?;
            fs::create_dir_all(to.parent().unwrap_or(root))?;
            match entry {
                Entry::Folder => fs::create_dir_all(&to)?,
                Entry::Link(target) => std::os::unix::fs::symlink(target, &to)?,
                Entry::File { content, executable } => {
                    fs::write(&to, content)?;
                    fs::set_permissions(
                        &to,
                        fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 }),
                    )?;
                }
            }
        }
        open_folders(root)
    }

    /// The same as a RAM disk.
    pub(crate) fn archive(&self) -> Archive {
        let mut archive = Archive::default();
        for (path, entry) in &self.entries {
            match entry {
                Entry::Folder => archive.folder(path),
                Entry::Link(to) => archive.symlink(path, to),
                Entry::File { content, executable } => {
                    archive.file(path, if *executable { 0o755 } else { 0o644 }, content.clone());
                }
            }
        }
        archive
    }
}

/// Files and links.
fn all_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || format!("cannot read {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(read)? {
        let (path, kind) =
            entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))).with_context(read)?;
        match kind {
            kind if kind.is_dir() => found.extend(all_below(&path)?),
            kind if kind.is_file() || kind.is_symlink() => found.push(path),
            _ => bail!("{} is no file, no folder and no link", path.display()),
        }
    }
    Ok(found)
}

fn below(root: &Path, path: &str) -> Result<PathBuf> {
    let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    ensure!(plain, "{path} is no path below a root");
    Ok(root.join(path))
}

/// Folders are open for reading, whatever the host's umask is.
fn open_folders(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_replace_nothing() {
        let mut tree = Tree::default();
        tree.file("usr/bin/tool", b"x".to_vec(), true);
        tree.link("bin", "usr/bin");
        tree.folder("etc");
        let with = |path: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "y").unwrap();
            folder
        };
        for (path, taken) in
            [("usr/bin/tool", "/usr/bin/tool"), ("bin/other", "/bin"), ("usr/bin/tool/x", "/usr/bin/tool")]
        {
            let error = tree.more(with(path).path()).unwrap_err().to_string();
            assert!(error.contains(&format!("would replace {taken} of the image\nhelp: ")), "{error}");
        }
        let mine = with("etc/mine");
        std::os::unix::fs::symlink("mine", mine.path().join("etc/link")).unwrap();
        tree.more(mine.path()).unwrap();
        assert!(tree.has("etc/mine") && matches!(&tree.entries["etc/link"], Entry::Link(to) if to == "mine"));
    }

    #[test]
    fn what_is_written_does_not_depend_on_the_order_and_has_no_more_rights() {
        let mut tree = Tree::default();
        tree.file("usr/bin/tool", b"x".to_vec(), true);
        tree.folder("proc");
        tree.link("bin", "usr/bin");
        let folder = tempfile::tempdir().unwrap();
        tree.write(folder.path()).unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("usr/bin/tool"), mode("usr"), mode("bin/tool")), (0o755, 0o755, 0o755));
        assert!(tree.has("proc") && !tree.has("usr"));
        assert!(matches!(tree.get("usr/bin"), Some(Entry::Folder)) && tree.get("us").is_none());
        let mut other = Tree::default();
        other.file("usr/bin/tool", b"x".to_vec(), false);
        assert_ne!(tree.key("k"), other.key("k"));
        other.file("../x", Vec::new(), false);
        assert!(other.write(folder.path()).unwrap_err().to_string().contains("no path below a root"));
    }
}
