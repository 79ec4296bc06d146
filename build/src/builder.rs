//! The repository, its cache folder and the right to change it: what every build step works with.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::anchors::Anchors;
use crate::board::Board;
use crate::image::archive::Archive;
use crate::lock::LockFile;
use crate::step::{just_used, remove_oldest};
use crate::ui;

/// Configurations of one source whose build folders are kept: those of all boards, media and tests.
const KEPT_TREES: usize = 12;

/// The checked-out repository and where things are in it.
#[derive(Clone, Debug)]
pub struct Repo {
    root: PathBuf,
}

impl Repo {
    /// Finds the repository: `TRUSTBOX_ROOT`, or the first folder upwards that has a lock file of ours.
    pub fn find() -> Result<Self> {
        let here = match std::env::var_os("TRUSTBOX_ROOT") {
            Some(root) => PathBuf::from(root),
            None => std::env::current_dir()?,
        };
        match here.ancestors().find(|folder| folder.join("platform/lock.toml").is_file()) {
            Some(root) => Ok(Self { root: root.to_path_buf() }),
            None => bail!(
                "no TrustBox repository at {} or above it\nhelp: run build/tb of the repository",
                here.display()
            ),
        }
    }

    /// The repository's top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where everything that can be made again is.
    pub fn cache(&self) -> PathBuf {
        self.root.join("target/tb")
    }

    /// Development keys, generated on first use.
    pub fn dev_keys(&self) -> PathBuf {
        self.root.join("target/dev-keys")
    }

    /// The folder of a board's facts.
    pub fn platform(&self, name: &str) -> PathBuf {
        self.root.join("platform").join(name)
    }
}

/// Builds parts; holds the cache's lock, so only one exists at a time on a repository.
pub struct Builder {
    pub(crate) repo: Repo,
    pub(crate) board: Board,
    pub(crate) lock: LockFile,
    /// Where packages and crates come from, instead of mirrors.
    pub(crate) archive: Option<Archive>,
    /// Whom the firmware believes.
    pub(crate) anchors: Anchors,
    _guard: File,
}

impl Builder {
    /// Opens the cache for one board, waiting for another `tb` that is building; not for one that started this one.
    pub fn open(platform: &str) -> Result<Self> {
        let repo = Repo::find()?;
        let board = Board::load(&repo, platform)?;
        let lock = LockFile::load(&repo)?;
        let _guard = take_lock(&repo.cache())?;
        Ok(Self { repo, board, lock, archive: None, anchors: Anchors::default(), _guard })
    }

    /// A builder for another board, under the same lock.
    pub(crate) fn for_board(&self, platform: &str) -> Result<Self> {
        let board = Board::load(&self.repo, platform)?;
        self.with(board)
    }

    fn with(&self, board: Board) -> Result<Self> {
        let _guard = self._guard.try_clone()?;
        let (repo, lock, archive) = (self.repo.clone(), self.lock.clone(), self.archive.clone());
        Ok(Self { repo, board, lock, archive, anchors: self.anchors.clone(), _guard })
    }

    /// A builder of firmware for OP-TEE's own tests: they may install from Linux, and the PKCS#11 TA is inside.
    pub(crate) fn for_tests(&self) -> Result<Self> {
        let mut board = self.board.clone();
        let flags = std::mem::take(&mut board.optee.test_flags);
        board.optee.flags.extend(flags);
        self.with(board)
    }

    /// The repository this builder works in.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// A folder of the cache that is kept warm between builds.
    pub(crate) fn work(&self, name: &str) -> Result<PathBuf> {
        let folder = self.repo.cache().join("work").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Where make builds a source with one configuration; kept warm for the configurations that were built last.
    pub(crate) fn build_tree(&self, source: &str, key: &str) -> Result<PathBuf> {
        let trees = self.work(source)?;
        let tree = trees.join(key);
        fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
        just_used(&tree)?;
        remove_oldest(&trees, KEPT_TREES)?;
        Ok(tree)
    }

    /// The log file of a step.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.repo.cache().join("logs").join(format!("{name}.log"))
    }
}

fn take_lock(cache: &Path) -> Result<File> {
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let path = cache.join("lock");
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = options.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return held(file),
        Err(TryLockError::WouldBlock) if holder(&mut file) == Some(parent_id()) => return Ok(file),
        Err(TryLockError::WouldBlock) => ui::line(&format!("waiting for another tb on {}", cache.display())),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.lock()?;
    held(file)
}

/// Writes who holds the lock.
fn held(mut file: File) -> Result<File> {
    file.set_len(0)?;
    file.write_all(std::process::id().to_string().as_bytes())?;
    Ok(file)
}

/// The process that holds the lock.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_waits_for_the_first() {
        let cache = std::env::temp_dir().join(format!("tb-lock-{}", std::process::id()));
        let first = take_lock(&cache).unwrap();
        let waiting = std::thread::spawn({
            let cache = cache.clone();
            move || take_lock(&cache).map(drop)
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waiting.is_finished());
        drop(first);
        waiting.join().unwrap().unwrap();
        fs::remove_dir_all(cache).unwrap();
    }
}
