//! Kernel modules: what a list names, in its order, and then no more until the next boot.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::io::Errno;

/// Modules and their lists, in the RAM disk and in the root alike.
const FOLDER: &str = "/usr/lib/trustbox/modules";
/// Once it is 1 the kernel loads no module any more.
const CLOSED: &str = "/proc/sys/kernel/modules_disabled";

/// Loads what a list names.
pub(crate) fn load(list: &str) -> Result<()> {
    let folder = Path::new(FOLDER);
    let path = folder.join(list);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().try_for_each(|name| load_one(&folder.join(format!("{name}.ko"))))
}

fn load_one(path: &Path) -> Result<()> {
    let image = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match rustix::system::init_module(&image, c"") {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("the kernel refuses {}", path.display())),
    }
}

/// Loads what the system needs, and closes the door.
pub(crate) fn load_all_and_close() -> Result<()> {
    load("system.list")?;
    fs::write(CLOSED, "1\n").with_context(|| format!("cannot write {CLOSED}"))
}
