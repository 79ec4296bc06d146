//! What the trusted code may be at most: crates linked in, lines of decisions, lines under `unsafe`, and where those are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::builder::Builder;
use crate::cargo::TARGET;
use crate::suite::Case;

const MAX_CRATES: usize = 40;
const MAX_CORE_LINES: usize = 3000;
const MAX_UNSAFE_LINES: usize = 150;
/// The only folder with `unsafe`.
const UNSAFE_FOLDER: &str = "ta/tee/src";
/// Folders without any: the TA's other crates, and what runs in Linux.
const SAFE_FOLDERS: [&str; 7] = ["ta/api", "ta/core", "ta/enclave", "ta/bin", "host", "keys", "build/src"];

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let root = builder.repo.root();
    let case = |name: &str, result| Case::of("budgets", name, result);
    Ok(vec![
        case("crates in the TA", crates(builder)),
        case("lines of ta/core", core_lines(root)),
        case("lines under unsafe", unsafe_lines(root)),
        case("unsafe in ta/tee only", safe_elsewhere(root)),
    ])
}

/// Macros run on the host that builds and are not counted.
fn crates(builder: &Builder) -> Result<()> {
    let tree = builder.cargo().args(["tree", "-p", "trustbox-ta", "--target", TARGET]);
    let shown = tree.args(["-e", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]).output()?;
    let mut names: Vec<_> = shown.lines().filter_map(|line| line.split(' ').next()).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    within("crates", names.len(), MAX_CRATES)
}

/// The fake is for tests and no part of the TA.
fn core_lines(root: &Path) -> Result<()> {
    let files = sources(&root.join("ta/core/src"))?;
    let texts = files.iter().filter(|path| !path.ends_with("fake.rs")).map(fs::read_to_string);
    let lines = texts.map(|text| Ok(text?.lines().count())).sum::<Result<usize>>()?;
    within("lines", lines, MAX_CORE_LINES)
}

fn unsafe_lines(root: &Path) -> Result<()> {
    let texts = sources(&root.join(UNSAFE_FOLDER))?.into_iter().map(fs::read_to_string);
    let lines = texts.map(|text| Ok(lines_under_unsafe(&text?))).sum::<Result<usize>>()?;
    within("lines", lines, MAX_UNSAFE_LINES)
}

fn safe_elsewhere(root: &Path) -> Result<()> {
    for folder in SAFE_FOLDERS {
        for path in sources(&root.join(folder))? {
            let text = fs::read_to_string(&path)?;
            let lines = lines_under_unsafe(&text);
            ensure!(lines == 0, "{} has {lines} lines under unsafe", path.display());
        }
    }
    Ok(())
}

fn within(what: &str, found: usize, limit: usize) -> Result<()> {
    ensure!(found <= limit, "{found} {what}, the limit is {limit}");
    Ok(())
}

/// Lines from each `unsafe {`, `unsafe fn`, `unsafe impl` or `unsafe extern` to the end of its block. A block inside such a
/// block counts once.
fn lines_under_unsafe(text: &str) -> usize {
    let (mut count, mut depth) = (0, 0_isize);
    for line in text.lines().map(code) {
        let line = line.as_str();
        let starts = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
        let starts = starts.iter().any(|word| line.contains(word));
        if depth > 0 || starts {
            count += 1;
            depth += braces(line);
        }
    }
    count
}

/// A line without its strings and its comment.
fn code(line: &str) -> String {
    let line = line.replace("\\\"", "").replace("'\"'", "");
    let without_strings: String = line.split('"').step_by(2).collect();
    without_strings.split("//").next().unwrap_or_default().to_owned()
}

fn braces(line: &str) -> isize {
    line.chars().map(|c| isize::from(c == '{') - isize::from(c == '}')).sum()
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_to_the_end_of_the_block() {
        assert_eq!(lines_under_unsafe("fn a() {\n    unsafe { b() }\n}\n"), 1);
        assert_eq!(
            lines_under_unsafe("// unsafe {\nunsafe fn a() {\n    unsafe {\n    }\n}\nfn b() {}\n"),
            4
        );
        assert_eq!(
            lines_under_unsafe("let word = \"unsafe { \\\" {\";\nlet quote = '\"'; unsafe { b() } // {\n"),
            1
        );
        assert_eq!(lines_under_unsafe("#![forbid(unsafe_code)]\nfn a() {}\n"), 0);
    }

    #[test]
    fn both_numbers_are_named() {
        assert!(within("lines", 3, 3).is_ok());
        assert_eq!(within("lines", 4, 3).unwrap_err().to_string(), "4 lines, the limit is 3");
    }
}
