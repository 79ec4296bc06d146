//! A root of arm64 in which dpkg and packages' scripts run, without being root and without the processor: PRoot and QEMU.
//!
//! PRoot changes paths, it is no jail: what runs has the rights of whoever calls. These are Debian's packages by pinned digests.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::builder::Builder;
use crate::campaign::scripts::snapshot::{Change, Snapshot};
use crate::hash::Key;
use crate::tool::{Tool, find_program};

/// What scripts may see of the host besides.
const SEEN: [&str; 3] = ["/dev/null", "/dev/urandom", "/proc"];
/// Works around what PRoot stops at.
const PATHS: &str = include_str!("paths.c");
/// Where everything in the root finds that.
const PRELOADED: &str = "/packages/paths.so";
/// Settings of dpkg: packages that no script needs are left out, triggers run at the end, and the root need not survive a power cut.
const DPKG: [&str; 5] = ["dpkg", "--force-depends", "--force-unsafe-io", "--no-triggers", "--log=/dev/null"];
/// Seconds that one call of dpkg may take.
const LIMIT: &str = "900";
/// Dpkg's own records of what is installed.
const DATABASE: [&str; 6] = ["status", "lock", "available", "info/", "updates/", "triggers/"];
/// What scripts say when something lacks that they need and their exit status hides.
const TROUBLE: [&str; 5] =
    ["not found", "shared object", "Function not implemented", "unsupported syscall", "Permission denied"];

/// The root.
pub(crate) struct Root<'a> {
    builder: &'a Builder,
    folder: PathBuf,
    log: PathBuf,
    /// PRoot and QEMU with their arguments, up to what runs.
    emulated: Tool,
}

impl<'a> Root<'a> {
    /// A new root with the files of these packages; dpkg does not know them yet.
    pub(crate) fn new(builder: &'a Builder, folder: &Path, packages: &[String]) -> Result<Self> {
        let emulated = emulated(builder, folder)?;
        let log = builder.log("campaign-scripts");
        let _ = fs::remove_file(&log);
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for file in archives(builder, packages)? {
            Tool::new("dpkg-deb").arg("-x").arg(file.1).arg(folder).run(&log)?;
        }
        let database = folder.join("var/lib/dpkg");
        fs::create_dir_all(&database)?;
        fs::write(database.join("status"), "")?;
        let root = Self { builder, folder: folder.to_path_buf(), log, emulated };
        root.hides_the_host()?;
        Ok(root)
    }

    /// Unpacks packages; their `preinst` runs.
    pub(crate) fn unpack(&self, packages: &[String]) -> Result<()> {
        let files: Vec<_> = packages.iter().map(|name| inside(name)).collect();
        self.dpkg("--unpack", &files, packages)
    }

    /// Configures packages; their `postinst` runs.
    pub(crate) fn configure(&self, packages: &[String]) -> Result<()> {
        self.dpkg("--configure", packages, &[])
    }

    /// Runs what packages want run when others have put files somewhere: `postinst triggered`.
    pub(crate) fn triggers(&self) -> Result<()> {
        self.dpkg("--triggers-only", &["--pending".to_owned()], &[])
    }

    /// What is in it now.
    pub(crate) fn look(&self, before: &Snapshot) -> Result<Snapshot> {
        Snapshot::of(&self.folder, before)
    }

    /// Without what dpkg itself does when it installs a package: its files, and its records.
    pub(crate) fn of_scripts(&self, changes: Vec<Change>, package: Option<&str>) -> Result<Vec<Change>> {
        let files = match package {
            Some(name) => Snapshot::of(&self.builder.binary(name)?, &Snapshot::default())?,
            None => Snapshot::default(),
        };
        Ok(changes.into_iter().filter(|change| !of_dpkg(change, &files)).collect())
    }

    fn dpkg(&self, action: &str, words: &[String], packages: &[String]) -> Result<()> {
        let mut tool = self.emulated.clone();
        for (name, file) in archives(self.builder, packages)? {
            tool = tool.arg("-b").arg(bound(&file, &inside(&name)));
        }
        self.run(&tool.args(DPKG).arg(action).args(words)).with_context(|| format!("dpkg {action}"))
    }

    /// Programs in it must find out about it, and not about the host.
    fn hides_the_host(&self) -> Result<()> {
        let of_host = std::env::current_exe()?;
        let tool =
            self.emulated.clone().args(["/usr/bin/dash", "-c", "test ! -x \"$1\"", "dash"]).arg(of_host);
        self.run(&tool).context("programs in the root see files of the host")
    }

    /// Runs a program in it; what it says goes to the log.
    fn run(&self, tool: &Tool) -> Result<()> {
        let mut command = tool.command();
        command.env_clear().envs([
            ("PATH", "/usr/sbin:/usr/bin"),
            ("HOME", "/"),
            ("LC_ALL", "C"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("QEMU_SET_ENV", &format!("LD_PRELOAD={PRELOADED}")),
        ]);
        let done = command.stdin(std::process::Stdio::null()).output().context("cannot start timeout")?;
        let said = [done.stdout, done.stderr].concat();
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "$ {}", tool.shown())?;
        log.write_all(&said)?;
        let said = String::from_utf8_lossy(&said);
        ensure!(done.status.success(), "{}: {}\nlog: {}", done.status, last_lines(&said), self.log.display());
        let trouble = said.lines().find(|line| TROUBLE.iter().any(|word| line.contains(word)));
        ensure!(trouble.is_none(), "something lacks that it needs: {}", trouble.unwrap_or_default());
        Ok(())
    }
}

/// PRoot and QEMU for a root.
fn emulated(builder: &Builder, root: &Path) -> Result<Tool> {
    let program = |name, package| {
        find_program(name)
            .with_context(|| format!("there is no {name}\nhelp: install Debian package {package}"))
    };
    let (proot, qemu) = (program("proot", "proot")?, program("qemu-aarch64", "qemu-user")?);
    let preloaded = preloaded(builder)?;
    let tool = Tool::new("timeout").args(["--foreground", "--kill-after=10", LIMIT]).arg(proot).arg("-0");
    let tool = tool.arg("-q").arg(qemu).arg("-r").arg(root).args(["-w", "/"]);
    let tool = SEEN.iter().fold(tool, |tool, seen| tool.args(["-b", seen]));
    Ok(tool.arg("-b").arg(bound(&preloaded, PRELOADED)))
}

fn preloaded(builder: &Builder) -> Result<PathBuf> {
    let key = Key::new("campaign-paths").text(PATHS).finish();
    let folder = builder.cached("campaign-paths", &key, |dirs| {
        let source = dirs.out.join("paths.c");
        fs::write(&source, PATHS)?;
        let compiler =
            Tool::new("aarch64-linux-gnu-gcc").args(["-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o"]);
        compiler.arg(dirs.out.join("paths.so")).arg(source).run(&dirs.log)
    })?;
    Ok(folder.join("paths.so"))
}

fn bound(file: &Path, inside: &str) -> String {
    format!("{}:{inside}", file.display())
}

/// The pinned files of packages.
fn archives(builder: &Builder, packages: &[String]) -> Result<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    for name in packages {
        all.extend(builder.package_files(name)?.into_iter().map(|file| (name.clone(), file)));
    }
    Ok(all)
}

/// Where dpkg finds a package's file.
fn inside(name: &str) -> String {
    format!("/packages/{name}.deb")
}

fn of_dpkg(change: &Change, files: &Snapshot) -> bool {
    if let Some(rest) = change.path.strip_prefix("var/lib/dpkg/") {
        return DATABASE.iter().any(|record| rest.starts_with(record));
    }
    // A file of /etc has another name until its package is configured.
    match change.path.strip_suffix(".dpkg-new") {
        Some(path) => files.get(path).is_some(),
        None => change.after.is_some() && files.get(&change.path) == change.after.as_ref(),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::scripts::snapshot::Entry;

    #[test]
    fn what_dpkg_does_itself_is_no_script_s() {
        let package = tempfile::tempdir().unwrap();
        fs::create_dir(package.path().join("etc")).unwrap();
        fs::write(package.path().join("etc/file"), "x").unwrap();
        let files = Snapshot::of(package.path(), &Snapshot::default()).unwrap();
        let own = files.get("etc/file").cloned();
        let change = |path: &str, after: &Option<Entry>| Change { path: path.into(), after: after.clone() };
        for (path, after) in [
            ("etc/file", &own),
            ("etc/file.dpkg-new", &own),
            ("etc/file.dpkg-new", &None),
            ("var/lib/dpkg/status", &own),
        ] {
            assert!(of_dpkg(&change(path, after), &files), "{path}");
        }
        let other = Some(Entry::Link("x".into()));
        for (path, after) in [
            ("etc/file", &other),
            ("etc/file", &None),
            ("etc/other.dpkg-new", &own),
            ("var/lib/dpkg/alternatives/awk", &own),
            ("var/lib/dpkg/diversions", &own),
        ] {
            assert!(!of_dpkg(&change(path, after), &files), "{path}");
        }
    }
}
