//! Programs that run beside the builder: they end with what holds them, and what they do is waited for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How often somebody looks.
const LOOK: Duration = Duration::from_millis(50);

/// A program that ends when this does.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether root runs this, by whose a folder is that this process made.
pub(crate) fn is_root(folder: &Path) -> Result<bool> {
    Ok(fs::metadata(folder)?.uid() == 0)
}

/// Looks until something is there; `None` if it is not within `patience`.
pub(crate) fn wait_for<T>(
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let start = Instant::now();
    while start.elapsed() < patience {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        thread::sleep(LOOK);
    }
    Ok(None)
}
