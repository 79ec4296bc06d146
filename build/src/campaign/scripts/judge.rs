//! Judges what scripts changed by `platform/image/scripts.toml`: each change needs an explanation that is true of the image's root.
//!
//! An explanation says that the image has the same, has something else there, or has nothing there, and why. The judge looks. What
//! nothing explains is a failure, and so is an explanation that is wrong or that no change needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::campaign::scripts::snapshot::{Change, Entry};
use crate::image::tree::{self, Tree};

/// The file, beside the list of scripts.
pub(crate) const FILE: &str = "scripts.toml";

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Explanations {
    /// Packages that scripts need to run; no image has them for that.
    #[serde(rename = "tool")]
    pub(crate) tools: Vec<ToolPackage>,
    /// `PACKAGE SCRIPT`, then path and explanation; a `*` at the end of a path stands for the rest.
    changes: BTreeMap<String, BTreeMap<String, String>>,
}

/// A package that scripts need.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolPackage {
    pub(crate) name: String,
    /// For whoever reviews it.
    #[expect(dead_code, reason = "people read it; the field must be there")]
    why: String,
}

/// What an explanation says of the image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It has what the script made.
    Same,
    /// It has something else there.
    Other,
    /// It has nothing there.
    Nothing,
}

impl Verdict {
    const ALL: [(&str, Self); 3] =
        [("same: ", Self::Same), ("other: ", Self::Other), ("nothing: ", Self::Nothing)];

    fn of(explanation: &str) -> Option<Self> {
        let known = |(word, _): &&(&str, Self)| {
            explanation.strip_prefix(word).is_some_and(|reason| !reason.trim().is_empty())
        };
        Self::ALL.iter().find(known).map(|(_, verdict)| *verdict)
    }

    /// The word of the file.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL[self as usize].0.trim_end_matches(": ")
    }
}

impl Explanations {
    /// Reads the file beside the list of scripts.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not valid", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let all: Self = toml::from_str(text)?;
        for (script, path, explanation) in all.each() {
            Verdict::of(explanation).with_context(|| {
                format!(
                    "{script}, {path}: `{explanation}` does not say what the image has there\n\
                     help: `same`, `other` or `nothing`, a colon, and why"
                )
            })?;
        }
        Ok(all)
    }

    fn each(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.changes.iter().flat_map(|(script, paths)| {
            paths
                .iter()
                .map(move |(path, explanation)| (script.as_str(), path.as_str(), explanation.as_str()))
        })
    }

    /// The explanation of a change: of those whose path fits, the longest.
    fn find(&self, script: &str, path: &str) -> Option<(&str, Verdict)> {
        let fits = |pattern: &&String| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => *pattern == path,
        };
        let paths = self.changes.get(script)?;
        let pattern = paths.keys().filter(fits).max_by_key(|pattern| pattern.len())?;
        Some((pattern, Verdict::of(paths.get(pattern)?)?))
    }
}

/// A change and what the images have there.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    script: String,
    change: String,
    pub(crate) image: &'static str,
}

/// Holds changes against images.
pub(crate) struct Judge<'a> {
    explanations: &'a Explanations,
    used: BTreeSet<(String, String)>,
    /// What is explained, and is true.
    pub(crate) explained: Vec<Explained>,
    pub(crate) failures: Vec<String>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(explanations: &'a Explanations) -> Self {
        Self { explanations, used: BTreeSet::new(), explained: Vec::new(), failures: Vec::new() }
    }

    /// Judges what one script changed, by the roots of the images that its package is in.
    pub(crate) fn judge(&mut self, script: &str, changes: &[Change], images: &[(&str, &Tree)]) {
        for change in changes {
            let path = &change.path;
            let Some((pattern, verdict)) = self.explanations.find(script, path) else {
                self.failures.push(format!("{script} {} and nothing explains that", told(change)));
                continue;
            };
            self.used.insert((script.to_owned(), pattern.to_owned()));
            let wrong = images.iter().filter(|(_, tree)| found(change, tree) != verdict);
            let wrong: Vec<_> = wrong
                .map(|(image, tree)| {
                    format!(
                        "{script} {}; `{pattern}` says {}, but {image} has {} there",
                        told(change),
                        verdict.word(),
                        found(change, tree).word()
                    )
                })
                .collect();
            if wrong.is_empty() {
                let (script, change) = (script.to_owned(), told(change));
                self.explained.push(Explained { script, change, image: verdict.word() });
            }
            self.failures.extend(wrong);
        }
    }

    /// Explanations of these scripts that nothing needed are wrong too; of all scripts where none is named.
    pub(crate) fn finish(&mut self, ran: &BTreeSet<String>, all: bool) {
        for (script, path, _) in self.explanations.each() {
            let known = ran.contains(script);
            if (known || all) && !self.used.contains(&(script.to_owned(), path.to_owned())) {
                let why = if known { "changed nothing there" } else { "did not run" };
                self.failures.push(format!("{script} {why}, but {FILE} explains `{path}`"));
            }
        }
    }
}

fn told(change: &Change) -> String {
    let path = &change.path;
    match &change.after {
        None => format!("removed {path}"),
        Some(Entry::Link(to)) => format!("made {path} a link to {to}"),
        Some(Entry::Folder(mode)) => format!("made folder {path} ({mode:04o})"),
        Some(Entry::File { mode, .. } | Entry::Accounts(mode)) => format!("wrote {path} ({mode:04o})"),
        Some(Entry::Line(line)) => format!("wrote {path} ({line})"),
        Some(Entry::Other) => format!("made {path}, which is no file"),
    }
}

/// What an image has where something changed.
fn found(change: &Change, image: &Tree) -> Verdict {
    let same = match (&change.after, change.path.split_once(':')) {
        (Some(Entry::Line(_)), Some((file, name))) => named(image, file, name),
        (after, _) => image.get(&change.path).map(|entry| equal(after.as_ref(), entry)),
    };
    match same {
        None => Verdict::Nothing,
        Some(true) => Verdict::Same,
        Some(false) => Verdict::Other,
    }
}

/// Whether an image has an account of this name; its number may be another one.
fn named(image: &Tree, file: &str, name: &str) -> Option<bool> {
    let Some(tree::Entry::File { content, .. }) = image.get(file) else { return None };
    let text = String::from_utf8_lossy(content);
    text.lines().any(|line| line.split(':').next() == Some(name)).then_some(true)
}

fn equal(made: Option<&Entry>, ours: &tree::Entry) -> bool {
    match (made, ours) {
        (Some(Entry::Folder(_)), tree::Entry::Folder) => true,
        (Some(Entry::File { mode, digest }), tree::Entry::File { content, executable }) => {
            (mode & 0o111 != 0) == *executable && *digest == crate::hash::sha256_hex(content)
        }
        (Some(Entry::Accounts(_)), tree::Entry::File { .. }) => true,
        (Some(Entry::Link(to)), tree::Entry::Link(target)) => merged(to) == merged(target),
        _ => false,
    }
}

/// `/lib` is a link to `/usr/lib` in both roots.
fn merged(target: &str) -> String {
    let start = ["/lib/", "/bin/", "/sbin/"].iter().any(|start| target.starts_with(start));
    if start { format!("/usr{target}") } else { target.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256_hex;

    const TEXT: &str = r#"
        [[tool]]
        name = "dash"
        why = "runs scripts"

        [changes."p postinst"]
        "etc/file" = "same: ours is the same"
        "etc/wants/*" = "nothing: not enabled"
        "etc/wants/own" = "same: enabled"
        "etc/passwd:user" = "same: a user"
    "#;

    fn image() -> Tree {
        let mut tree = Tree::default();
        tree.file("etc/file", b"x".to_vec(), false);
        tree.file("etc/passwd", b"user:x:9:\n".to_vec(), false);
        tree.link("etc/wants/own", "/usr/lib/own");
        tree
    }

    fn change(path: &str, after: Entry) -> Change {
        Change { path: path.into(), after: Some(after) }
    }

    fn as_explained() -> Vec<Change> {
        vec![
            change("etc/file", Entry::File { mode: 0o600, digest: sha256_hex(b"x") }),
            change("etc/passwd:user", Entry::Line("user:x:7:".into())),
            change("etc/wants/own", Entry::Link("/lib/own".into())),
            change("etc/wants/other", Entry::Link("/lib/other".into())),
        ]
    }

    fn failures(changes: &[Change]) -> Vec<String> {
        let explanations = Explanations::parse(TEXT).unwrap();
        let (tree, ran) = (image(), BTreeSet::from(["p postinst".to_owned()]));
        let mut judge = Judge::new(&explanations);
        judge.judge("p postinst", changes, &[("the image", &tree)]);
        judge.finish(&ran, true);
        judge.failures
    }

    #[test]
    fn what_is_explained_and_true_passes() {
        assert_eq!(failures(&as_explained()), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_explained_not_true_or_not_needed_fails() {
        let with = |at: usize, other: Change| {
            let mut changes = as_explained();
            changes[at] = other;
            failures(&changes).join("; ")
        };
        let file = |mode, content| change("etc/file", Entry::File { mode, digest: sha256_hex(content) });
        let wrong = "`etc/file` says same, but the image has other there";
        assert!(with(0, file(0o644, b"y")).contains(wrong));
        assert!(with(0, file(0o755, b"x")).contains(wrong));
        assert!(with(0, Change { path: "etc/file".into(), after: None }).contains(wrong));
        let user = with(1, change("etc/passwd:nobody", Entry::Line("nobody:x".into())));
        assert!(user.contains("wrote etc/passwd:nobody (nobody:x) and nothing explains that"), "{user}");
        assert!(
            user.contains("p postinst changed nothing there, but scripts.toml explains `etc/passwd:user`")
        );
        let link = with(2, change("etc/wants/own", Entry::Link("/lib/strange".into())));
        assert!(
            link.contains("a link to /lib/strange; `etc/wants/own` says same, but the image has other there")
        );
    }

    #[test]
    fn explanations_of_scripts_that_did_not_run_are_wrong() {
        let explanations = Explanations::parse(TEXT).unwrap();
        let finish = |all| {
            let mut judge = Judge::new(&explanations);
            judge.finish(&BTreeSet::new(), all);
            judge.failures
        };
        assert_eq!(finish(false), Vec::<String>::new());
        assert!(finish(true)[0].starts_with("p postinst did not run, but scripts.toml explains "));
    }

    #[test]
    fn an_explanation_says_what_the_image_has_and_why() {
        for bad in ["same:", "same: ", "none: x", "x"] {
            let text = TEXT.replace("same: a user", bad);
            let error = Explanations::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with("p postinst, etc/passwd:user: `"), "{error}");
        }
    }

    #[test]
    fn the_file_of_the_repository_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../platform/image");
        assert!(!Explanations::load(&folder).unwrap().tools.is_empty());
    }
}
