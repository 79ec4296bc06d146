//! The Yocto layers, as far as it shows without bitbake: generated files, structure, oelint-adv, kas' schema, and the
//! Python that recipes share. `tb yocto check` has the rest.

mod structure;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::builder::Builder;
use crate::hash::files_below;
use crate::python;
use crate::suite::Case;
use crate::yocto::generate;
use crate::yocto::layers::Layers;

const GROUP: &str = "yocto";
/// Checkers from Python's package index, in the versions that the layers were written for.
const CHECKERS: [&str; 2] = ["oelint-adv==9.11.2", "kas==5.5"];
const ALLOWED: &str = "yocto/oelint.allow";

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let root = builder.repo.root();
    let case = |name: &str, result| Case::of(GROUP, name, result);
    let mut cases = Vec::new();
    for (name, text) in generate::files(&builder.repo)? {
        let result = generate::same(&root.join("yocto").join(&name), &text);
        cases.push(case(&format!("{name} follows from platform/ and Cargo.lock"), result));
    }
    cases.extend(structure::run(builder)?);
    cases.push(case("keys and machines are refused in words that help", shared_python(root)));
    let tools = builder.python_packages(&CHECKERS)?;
    cases.push(case("oelint-adv has no finding without a reason", oelint(builder, &tools)));
    cases.push(case("kas files are what its schema accepts", kas(root, &tools)));
    Ok(cases)
}

fn shared_python(root: &Path) -> Result<()> {
    python::alone().arg(root.join("yocto/tests/test_lib.py")).output().map(drop)
}

fn kas(root: &Path, tools: &Path) -> Result<()> {
    let files = files_below(&root.join("yocto/kas"))?;
    let said = python::with(tools).arg(root.join("yocto/tests/kas_schema.py")).args(&files).output()?;
    ensure!(said == format!("{} files accepted\n", files.len()), "kas_schema.py says: {said}");
    Ok(())
}

/// All findings are listed, and each rule's reason is asked for; a reason for nothing is a fault too.
fn oelint(builder: &Builder, tools: &Path) -> Result<()> {
    let root = builder.repo.root();
    let release = Layers::load(&builder.repo)?.series;
    let recipes: Vec<_> = files_below(&root.join("yocto"))?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "bb" || kind == "bbappend"))
        .collect();
    let report = builder.work("oelint")?.join("findings");
    let tool = python::with(tools).arg(tools.join("bin/oelint-adv")).args(["--release", &release, "--quiet"]);
    let tool = tool.args(["--relpaths", "--exit-zero", "--output"]).arg(&report).args(&recipes).dir(root);
    let _ = fs::remove_file(&report);
    tool.run(&builder.log("oelint"))?;
    // Without any finding there is no file; then every reason is for nothing
    let found = fs::read_to_string(&report).unwrap_or_default();
    let text = fs::read_to_string(root.join(ALLOWED)).with_context(|| format!("cannot read {ALLOWED}"))?;
    judge(&found, &allowed(&text)?)
}

fn allowed(text: &str) -> Result<BTreeMap<&str, &str>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line| {
        let words: Option<(&str, &str)> = str::split_once(line, char::is_whitespace);
        words.with_context(|| format!("{ALLOWED}: {line} has no reason"))
    };
    lines.map(entry).collect()
}

/// Lines are FILE:LINE:SEVERITY:RULE:MESSAGE.
fn judge(found: &str, allowed: &BTreeMap<&str, &str>) -> Result<()> {
    let mut used = BTreeSet::new();
    let mut others = Vec::new();
    for line in found.lines().filter(|line| !line.is_empty()) {
        let rule = line.split(':').nth(3).unwrap_or(line);
        if allowed.contains_key(rule) {
            used.insert(rule);
        } else {
            others.push(line);
        }
    }
    let idle: Vec<_> = allowed.keys().filter(|rule| !used.contains(**rule)).copied().collect();
    if others.is_empty() && idle.is_empty() {
        return Ok(());
    }
    bail!("{}\n{ALLOWED} has reasons for what does not occur: [{}]", others.join("\n"), idle.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_need_a_reason_and_reasons_a_finding() {
        let allowed = allowed("# head\n\na.b  because\n").unwrap();
        assert!(judge("x.bb:1:warning:a.b:words: more [branch:true]\n", &allowed).is_ok());
        let error = judge("x.bb:1:error:c.d:words\n", &allowed).unwrap_err().to_string();
        assert!(error.contains("x.bb:1:error:c.d:words") && error.contains("[a.b]"), "{error}");
        assert!(super::allowed("a.b\n").is_err());
    }
}
