//! Checks the boards' device trees against the kernel's bindings, with the kernel's own tool.
//!
//! Only the bindings that name a device of these trees are compiled: all of them take minutes, these take seconds. Properties of
//! nodes without a device, as thermal zones, have no binding among them, and are not checked. What a binding does not
//! accept and stays nevertheless is listed with a reason in `platform/bindings.allow`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::builder::Builder;
use crate::hash::{Key, files_below};
use crate::python;
use crate::tool::Tool;

/// The tool in Python's package index, and the version that the list was written for.
const TOOL: &str = "dtschema==2026.9";
/// Folder of the bindings in U-Boot's source package, which has those of Linux 6.12.
const BINDINGS: &str = "dts/upstream/Bindings";
/// How the tool says that none of the bindings it has defines a property.
const NOT_DEFINED: &str = "is not of type 'object', 'integer', 'array', 'boolean', 'null'";

/// Device trees by board: folder with `linux.dts` and `linux.dtb`.
pub(crate) fn check(builder: &Builder, boards: &[(String, PathBuf)]) -> Result<()> {
    let path = builder.repo.root().join("platform/bindings.allow");
    let allowed = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut allowed: BTreeMap<&str, bool> =
        allow_list(&allowed)?.into_iter().map(|start| (start, false)).collect();
    let schema = schema(builder, boards)?;
    for (board, folder) in boards {
        for finding in findings(builder, &schema, &folder.join("linux.dtb"))? {
            let entry = allowed.iter_mut().find(|(start, _)| finding.starts_with(**start));
            let (_, used) = entry.with_context(|| {
                format!("{board}: {finding}\nhelp: correct the device tree, or list it in platform/bindings.allow with a reason")
            })?;
            *used = true;
        }
    }
    let unused: Vec<_> = allowed.iter().filter(|(_, used)| !**used).map(|(start, _)| *start).collect();
    ensure!(unused.is_empty(), "platform/bindings.allow lists what is not found: {}", unused.join("; "));
    Ok(())
}

/// What the tool complains about, each in one line.
fn findings(builder: &Builder, schema: &Path, tree: &Path) -> Result<Vec<String>> {
    let (folder, name) = (tree.parent().context("no folder")?, tree.file_name().context("no name")?);
    let tool = python_tool(builder, "dt-validate")?.dir(folder).arg("-s").arg(schema).arg(name);
    let result = tool.command().output().context("cannot start dt-validate")?;
    let text = [result.stdout, result.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(!text.contains("Traceback"), "dt-validate fails\n{text}");
    let start = format!("{}: ", name.to_string_lossy());
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    Ok(lines.filter(|line| !line.contains(NOT_DEFINED)).map(str::to_owned).collect())
}

/// The needed bindings, compiled.
fn schema(builder: &Builder, boards: &[(String, PathBuf)]) -> Result<PathBuf> {
    let source = builder.source("u-boot")?;
    let mut key = Key::new("bindings").text(&source.key).text(TOOL);
    let mut compatibles = BTreeSet::new();
    for (_, folder) in boards {
        let text = fs::read_to_string(folder.join("linux.dts"))?;
        key = key.text(&text);
        compatibles.extend(compatible_values(&text));
    }
    let folder = builder.cached("bindings", &key.finish(), |dirs| {
        let needed = needed(&source.folder.join(BINDINGS), &compatibles)?;
        let subset = dirs.out.join("Bindings");
        for (name, text) in needed {
            let path = subset.join(name);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            fs::write(path, text)?;
        }
        let tool =
            python_tool(builder, "dt-mk-schema")?.arg("-j").arg("-o").arg(dirs.out.join("schema.json"));
        tool.arg(&subset).run(&dirs.log)
    })?;
    Ok(folder.join("schema.json"))
}

/// Bindings that name one of the values, and those they refer to.
fn needed(root: &Path, compatibles: &BTreeSet<String>) -> Result<BTreeMap<PathBuf, String>> {
    let mut all = BTreeMap::new();
    for path in files_below(root)? {
        if path.extension().is_some_and(|extension| extension == "yaml") {
            all.insert(path.strip_prefix(root)?.to_path_buf(), fs::read_to_string(&path)?);
        }
    }
    let names = |text: &String| words(text).any(|word| compatibles.contains(word));
    let mut open: Vec<PathBuf> =
        all.iter().filter(|(_, text)| names(text)).map(|(name, _)| name.clone()).collect();
    let mut found = BTreeMap::new();
    while let Some(name) = open.pop() {
        if let (Some(text), false) = (all.get(&name), found.contains_key(&name)) {
            open.extend(references(&name, text));
            found.insert(name, text.clone());
        }
    }
    Ok(found)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "'\"[]".contains(c))
}

/// Files that a binding refers to, relative to the folder of all bindings.
fn references(name: &Path, text: &str) -> Vec<PathBuf> {
    let targets =
        text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("$ref:"));
    let files =
        targets.map(|target| target.trim().trim_matches(['"', '\'']).split('#').next().unwrap_or_default());
    let folder = name.parent().unwrap_or(Path::new(""));
    files
        .filter(|file| !file.is_empty())
        .map(|file| file.strip_prefix("/schemas/").map_or_else(|| folder.join(file), PathBuf::from))
        .collect()
}

fn compatible_values(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.contains("compatible"));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// A program of the tool, from a folder of our own.
fn python_tool(builder: &Builder, name: &str) -> Result<Tool> {
    let packages = builder.python_packages(&[TOOL])?;
    Ok(python::with(&packages).arg(packages.join("bin").join(name)))
}

/// The starts of findings; each has a reason.
fn allow_list<'a>(text: &'a str) -> Result<Vec<&'a str>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let entry = |(number, line): (usize, &'a str)| {
        line.split_once(" # ")
            .map(|(start, _)| start)
            .with_context(|| format!("platform/bindings.allow:{}: no reason", number + 1))
    };
    lines.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_in_any_form() {
        let text = "allOf:\n  - $ref: spi-controller.yaml#\n  $ref: /schemas/types.yaml#/definitions/uint32\n$ref: \"#/x\"\n";
        let found = references(Path::new("spi/a.yaml"), text);
        assert_eq!(found, [PathBuf::from("spi/spi-controller.yaml"), PathBuf::from("types.yaml")]);
    }

    #[test]
    fn values_of_compatible_are_found() {
        let values = compatible_values("\tcompatible = \"a,b\", \"c\";\n\tmodel = \"d\";\n");
        assert_eq!(values, BTreeSet::from(["a,b".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn entries_have_reasons() {
        assert_eq!(allow_list("# head\na: b # because\n").unwrap(), ["a: b"]);
        assert!(allow_list("a: b\n").is_err());
    }
}
