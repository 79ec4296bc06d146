//! Cached steps: an output folder per content key, made aside and renamed, so it is there whole or not at all.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::builder::Builder;
use crate::ui;

/// Outputs of one step that are kept; those not used for longest are removed.
const KEPT_OUTPUTS: usize = 4;

/// Where a running step writes.
pub(crate) struct StepDirs {
    /// The output folder, under a temporary name until the step is done.
    pub(crate) out: PathBuf,
    /// The log file, empty at the start.
    pub(crate) log: PathBuf,
}

impl Builder {
    /// Returns the output folder of a step, running `work` only if no earlier run had the same key.
    pub(crate) fn cached(
        &self,
        name: &str,
        key: &str,
        work: impl FnOnce(&StepDirs) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.repo.cache().join(name);
        let done = folder.join(key);
        if done.is_dir() {
            ui::cached(name);
            just_used(&done)?;
            return Ok(done);
        }
        ui::step(name, || make_aside(&folder, &done, &self.log(name), work))?;
        remove_oldest(&folder, KEPT_OUTPUTS)?;
        Ok(done)
    }
}

fn make_aside(
    folder: &Path,
    done: &Path,
    log: &Path,
    work: impl FnOnce(&StepDirs) -> Result<()>,
) -> Result<()> {
    let out = folder.join(".unfinished");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let _ = fs::remove_file(log);
    work(&StepDirs { out: out.clone(), log: log.to_path_buf() })?;
    fs::rename(&out, done).with_context(|| format!("cannot finish {}", done.display()))?;
    // A copy that kept its times looks older than all others.
    just_used(done)
}

/// Makes it the last to be removed.
pub(crate) fn just_used(done: &Path) -> Result<()> {
    let touched = File::open(done).and_then(|folder| folder.set_modified(SystemTime::now()));
    touched.with_context(|| format!("cannot mark {} as used", done.display()))
}

/// Keeps the `keep` folders below `folder` that were made or used last.
pub(crate) fn remove_oldest(folder: &Path, keep: usize) -> Result<()> {
    let mut outputs: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Others who tidy up at the same time may have been quicker.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_dir()
        {
            outputs.push((metadata.modified()?, entry.path()));
        }
    }
    outputs.sort();
    let surplus = outputs.len().saturating_sub(keep);
    for (_, path) in outputs.into_iter().take(surplus) {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_step_leaves_no_output() {
        let root = std::env::temp_dir().join(format!("tb-step-{}", std::process::id()));
        let (folder, done) = (root.join("s"), root.join("s/key"));
        let log = root.join("log");
        let failed = make_aside(&folder, &done, &log, |dirs| {
            fs::write(dirs.out.join("half"), b"x")?;
            anyhow::bail!("stopped")
        });
        assert!(failed.is_err() && !done.exists());
        make_aside(&folder, &done, &log, |dirs| Ok(fs::write(dirs.out.join("whole"), b"x")?)).unwrap();
        assert!(done.join("whole").is_file() && !done.join("half").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_output_that_was_copied_with_its_times_stays() {
        let root = std::env::temp_dir().join(format!("tb-step-old-{}", std::process::id()));
        fs::create_dir_all(root.join("other")).unwrap();
        let old = |dirs: &StepDirs| Ok(File::open(&dirs.out)?.set_modified(SystemTime::UNIX_EPOCH)?);
        make_aside(&root, &root.join("new"), &root.with_extension("log"), old).unwrap();
        remove_oldest(&root, 1).unwrap();
        assert!(root.join("new").is_dir() && !root.join("other").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_the_newest_outputs_stay() {
        let root = std::env::temp_dir().join(format!("tb-prune-{}", std::process::id()));
        for name in ["a", "b", "c"] {
            fs::create_dir_all(root.join(name)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        remove_oldest(&root, 2).unwrap();
        assert!(!root.join("a").exists() && root.join("b").exists() && root.join("c").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
