//! `tb new`: a project for an enclave and its host program, with tests, a package description, CI and an editor's settings.
//!
//! The project may be anywhere; it refers to this checkout by path. Its templates are in `new/template`.

mod files;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ring::rand::{SecureRandom, SystemRandom};
use trustbox_api::{Bytes, Uuid};

use crate::builder::Repo;
use crate::project::Language;

/// Characters of a name at most: a package's name has 64 bytes, and crates add a word.
const MAX_NAME: usize = 40;
/// What the compiler, Cargo or the template itself uses.
const TAKEN: [&str; 24] = [
    "build",
    "bytes",
    "core",
    "crate",
    "deps",
    "enclave",
    "examples",
    "fn",
    "greeting",
    "incremental",
    "launch",
    "launched",
    "mod",
    "option",
    "result",
    "sealed",
    "self",
    "std",
    "string",
    "super",
    "test",
    "trust-box",
    "use",
    "vec",
];

/// Makes a project.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Its name, and the folder that is made: lower-case letters, digits, hyphens
    name: String,
    /// Language of the enclave
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
}

/// Runs `tb new`.
pub(crate) fn run(args: &Args) -> Result<()> {
    check_name(&args.name)?;
    let root = std::env::current_dir()?.join(&args.name);
    let checkout = Repo::find()?.root().to_path_buf();
    let project = New { name: &args.name, language: args.lang, uuid: fresh_uuid()?, checkout: &checkout };
    project.write(&root)?;
    println!(
        "{}: enclave {}, from TrustBox at {}\nnext: cd {} && ./tb run",
        root.display(),
        project.uuid,
        checkout.display(),
        args.name
    );
    Ok(())
}

/// A project to be.
pub(crate) struct New<'a> {
    pub(crate) name: &'a str,
    pub(crate) language: Language,
    pub(crate) uuid: Uuid,
    pub(crate) checkout: &'a Path,
}

/// A file of a project.
pub(crate) struct ProjectFile {
    /// From the project's folder.
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    pub(crate) executable: bool,
}

impl New<'_> {
    /// Writes all of it, or nothing.
    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        ensure!(!root.exists(), "{} exists\nhelp: choose another name, or remove it", root.display());
        let aside = root.with_file_name(format!(".{}.unfinished", self.name));
        let _ = fs::remove_dir_all(&aside);
        let written = self.write_files(&aside).and_then(|()| {
            fs::rename(&aside, root).with_context(|| format!("cannot make {}", root.display()))
        });
        if written.is_err() {
            let _ = fs::remove_dir_all(&aside);
        }
        written
    }

    fn write_files(&self, root: &Path) -> Result<()> {
        self.files()?
            .iter()
            .try_for_each(|file| write(&root.join(&file.path), &file.content, file.executable))
    }

    /// All of it.
    pub(crate) fn files(&self) -> Result<Vec<ProjectFile>> {
        let filled = |(path, template, executable): (&str, &str, bool)| ProjectFile {
            path: path.to_owned(),
            content: self.filled(template).into_bytes(),
            executable,
        };
        let mut all: Vec<_> = files::of(self.language).into_iter().map(filled).collect();
        if self.language == Language::Rust {
            // The versions that this checkout was tested with, and its compiler.
            for name in ["Cargo.lock", "rust-toolchain.toml", "rustfmt.toml"] {
                let from = self.checkout.join(name);
                let content = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
                all.push(ProjectFile { path: name.to_owned(), content, executable: false });
            }
        }
        Ok(all)
    }

    fn filled(&self, template: &str) -> String {
        let (layout, test, matcher, test_line) = match self.language {
            Language::Rust => (files::RUST_LAYOUT, "cargo test", "$rustc", files::RUST_TEST_LINE),
            Language::C => (files::C_LAYOUT, "./tb run --tests", "$gcc", files::C_TEST_LINE),
        };
        let uuid = self.uuid.to_string();
        let pairs = [
            ("{{layout}}", layout),
            (
                "{{ci_test}}",
                if self.language == Language::Rust { "cargo test" } else { "./tb run --tests --fresh" },
            ),
            ("{{test_line}}", test_line),
            ("{{test}}", test),
            ("{{matcher}}", matcher),
            ("{{uuid}}", &uuid),
            ("{{c_uuid}}", &c_uuid(&self.uuid)),
            ("{{name}}", self.name),
            ("{{ident}}", &self.name.replace('-', "_")),
            ("{{Type}}", &camel_case(self.name)),
            ("{{trustbox}}", &self.checkout.display().to_string()),
        ];
        pairs.iter().fold(template.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
    }
}

pub(crate) fn write(path: &Path, content: &[u8], executable: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    if executable {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed)
        && !name.ends_with('-')
        && !name.contains("--");
    if !good || name.len() > MAX_NAME {
        bail!(
            "{name:?} is no name for a project\nhelp: a letter, then letters, digits and single hyphens, all lower case, {MAX_NAME} at most"
        );
    }
    ensure!(
        !TAKEN.contains(&name),
        "the name {name} is taken by Rust or by the template\nhelp: choose another one"
    );
    Ok(())
}

/// Random (RFC 9562, 5.4).
pub(crate) fn fresh_uuid() -> Result<Uuid> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("no random numbers"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(Uuid(Bytes(bytes)))
}

/// `my-meter` gives `MyMeter`.
fn camel_case(name: &str) -> String {
    let capitalised = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    name.split('-').map(capitalised).collect()
}

/// As an initialiser of `TEE_UUID`.
fn c_uuid(uuid: &Uuid) -> String {
    let text = uuid.to_string();
    let digits = text.replace('-', "");
    let (head, node) = digits.split_at(16);
    let node: Vec<String> = (0..8).map(|at| format!("0x{}", &node[2 * at..2 * at + 2])).collect();
    format!(
        "{{ 0x{}, 0x{}, 0x{}, \\\n\t\t  {{ {} }} }}",
        &head[..8],
        &head[8..12],
        &head[12..],
        node.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_crates() {
        for good in ["demo", "my-meter", "a1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in
            ["", "Demo", "1a", "a_b", "-a", "a-", "a--b", "../x", "a b", "test", "enclave", &"a".repeat(41)]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert_eq!(camel_case("my-meter2"), "MyMeter2");
    }

    #[test]
    fn uuids_are_random_ones_and_differ() {
        let (one, other) = (fresh_uuid().unwrap(), fresh_uuid().unwrap());
        assert!(one != other && one.to_string().as_bytes()[14] == b'4');
        let uuid = "e2a4b6c8-1d3f-4a5b-9c7d-0f1e2d3c4b5a".parse().unwrap();
        let want =
            "{ 0xe2a4b6c8, 0x1d3f, 0x4a5b, \\\n\t\t  { 0x9c, 0x7d, 0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a } }";
        assert_eq!(c_uuid(&uuid), want);
    }

    #[test]
    fn a_project_is_written_whole_and_never_over_another() {
        let folder = std::env::temp_dir().join(format!("tb-new-{}", std::process::id()));
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for language in [Language::Rust, Language::C] {
            let new = New { name: "my-demo", language, uuid: fresh_uuid().unwrap(), checkout };
            let root = folder.join(format!("{language:?}"));
            fs::create_dir_all(&folder).unwrap();
            new.write(&root).unwrap();
            for (path, ..) in files::of(language) {
                let text = fs::read_to_string(root.join(path)).unwrap();
                let left = text.replace("${{", "").contains("{{");
                assert!(!left, "{path} has a placeholder:\n{text}");
            }
            let again = new.write(&root).unwrap_err().to_string();
            assert!(again.contains("exists\nhelp: "), "{again}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
