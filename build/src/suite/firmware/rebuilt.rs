//! Builds a board again in a hostile environment and compares every byte: another path, umask, clock, locale, time zone,
//! number of jobs, and folders that list their files backwards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::builder::Builder;
use crate::hash::files_below;
use crate::tool::Tool;

/// Changes the clock and the order of folders for every program of the build.
const HOSTILE: &str = include_str!("hostile.c");
/// A path of another length, with a character that shells and makefiles of others must not trip over.
const ELSEWHERE: &str = "rebuilt/some+where-else";
/// What is not copied: what is built, and history.
const LEFT_OUT: [&str; 2] = ["target", ".git"];
/// Where and when.
const NOT_COMPARED: [&str; 1] = ["build.log"];

/// Builds the board of `builder` elsewhere; an error names the first file that differs from those in `folder`.
pub(crate) fn same(builder: &Builder, folder: &Path) -> Result<()> {
    let root = elsewhere(builder)?;
    let (out, log) = (root.join("out"), builder.log("rebuilt"));
    let _ = fs::remove_file(&log);
    hostile(builder, &root)?
        .args(["firmware", "--platform", builder.board.name.get_ref(), "--out"])
        .arg(&out)
        .run(&log)?;
    let result = compare(folder, &out);
    if result.is_ok() {
        fs::remove_dir_all(&root)?;
    }
    result
}

/// A copy of the repository in another place, with this one's keys and downloads.
pub(crate) fn elsewhere(builder: &Builder) -> Result<PathBuf> {
    let root = builder.work(ELSEWHERE)?;
    fs::remove_dir_all(&root)?;
    copy_tree(builder.repo.root(), &root)?;
    link(&builder.repo.dev_keys(), &root.join("target/dev-keys"))?;
    link(&builder.repo.cache().join("downloads"), &root.join("target/tb/downloads"))?;
    Ok(root)
}

/// This program, run in the hostile environment.
pub(crate) fn hostile(builder: &Builder, root: &Path) -> Result<Tool> {
    let (source, library) = (root.join("hostile.c"), root.join("hostile.so"));
    fs::write(&source, HOSTILE)?;
    let compiler = Tool::new("gcc").args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library);
    compiler.arg(&source).arg("-ldl").run(&builder.log("hostile"))?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let shell = Tool::new("sh").args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(program);
    Ok(shell
        .dir(root)
        .env("TRUSTBOX_ROOT", root)
        .env("TRUSTBOX_JOBS", "5")
        .env("LD_PRELOAD", &library)
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("LANG", "tr_TR.UTF-8")
        .env("TZ", "Pacific/Kiritimati")
        .env("USER", "somebody")
        .env("HOSTNAME", "elsewhere"))
}

fn compare(first: &Path, second: &Path) -> Result<()> {
    let names = |folder: &Path| -> Result<Vec<PathBuf>> {
        let mut files = files_below(folder)?;
        files.retain(|path| !NOT_COMPARED.iter().any(|name| path.ends_with(name)));
        files.iter().map(|path| Ok(path.strip_prefix(folder)?.to_path_buf())).collect()
    };
    let (ours, theirs) = (names(first)?, names(second)?);
    ensure!(ours == theirs, "files differ: {ours:?} and {theirs:?}");
    for name in ours {
        let (ours, theirs) = (fs::read(first.join(&name))?, fs::read(second.join(&name))?);
        let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        ensure!(
            at.is_none() && ours.len() == theirs.len(),
            "{} differs from octet {}, lengths are {} and {}",
            name.display(),
            at.unwrap_or(ours.len().min(theirs.len())),
            ours.len(),
            theirs.len()
        );
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if LEFT_OUT.iter().any(|left_out| name.to_str() == Some(left_out)) {
            continue;
        }
        if kind.is_dir() {
            copy_tree(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

pub(crate) fn link(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("no folder above")?)?;
    std::os::unix::fs::symlink(from, to).with_context(|| format!("cannot link {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let root = std::env::temp_dir().join(format!("tb-rebuilt-{}", std::process::id()));
        for (folder, content) in [("a", "same"), ("b", "sane")] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("file"), content).unwrap();
            fs::write(root.join(folder).join("build.log"), folder).unwrap();
        }
        let error = compare(&root.join("a"), &root.join("b")).unwrap_err().to_string();
        assert_eq!(error, "file differs from octet 2, lengths are 4 and 4");
        fs::write(root.join("b/file"), "same").unwrap();
        assert!(compare(&root.join("a"), &root.join("b")).is_ok());
        fs::write(root.join("b/more"), "").unwrap();
        assert!(compare(&root.join("a"), &root.join("b")).is_err());
        fs::remove_dir_all(root).unwrap();
    }
}
