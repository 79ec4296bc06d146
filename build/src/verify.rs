//! `build/tb verify`: everything about a file that can be checked, and who signed what.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use trustbox_api::KeyId;
use trustbox_keys::{ClassKeys, files};

use crate::recognise::recognise;
use crate::ta_signature::TaKey;

/// Checks a package, a signed TA, a PBL, a FIP or an image of a medium, and says who signed what.
///
/// Without keys, what is encrypted is not looked into. With the class key, everything is.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to check; told by its first bytes
    file: PathBuf,
    /// Store of class keys, to check what is encrypted too
    #[arg(long, value_name = "KEYS")]
    key_file: Option<PathBuf>,
    /// Public key that must have signed the package
    #[arg(long, value_name = "PUB")]
    publisher: Option<PathBuf>,
    /// Key of the OEM that must have signed the TA for OP-TEE: public, private, or a certificate, in PEM
    #[arg(long, value_name = "PUB")]
    ta_key: Option<PathBuf>,
    /// SHA-256 of the table of super root keys that must have signed a boot image, as the fuses hold it
    #[arg(long, value_name = "HEX")]
    srk_hash: Option<String>,
    /// Root-of-trust key that must have signed the certificates of firmware; without it, this clone's development key
    #[arg(long, value_name = "PUB")]
    rot_key: Option<PathBuf>,
    /// Public key that must have signed an image of a medium; without it, this clone's development key
    #[arg(long, value_name = "PUB")]
    image_key: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What the caller knows.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) class_keys: Option<ClassKeys>,
    pub(crate) publisher: Option<KeyId>,
    pub(crate) ta_key: Option<TaKey>,
    pub(crate) srk_hash: Option<String>,
    pub(crate) rot_key: Option<PathBuf>,
    pub(crate) image_key: Option<PathBuf>,
}

/// One thing that was looked at.
pub(crate) struct Check {
    pub(crate) what: Cow<'static, str>,
    /// Who stands for it.
    pub(crate) by: String,
    pub(crate) result: Outcome,
}

/// How it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Holds,
    Fails(String),
    NotChecked(String),
}

/// Everything that was looked at.
pub(crate) struct Verdict {
    pub(crate) kind: &'static str,
    pub(crate) checks: Vec<Check>,
    /// Whether something that somebody signed was held against the signature.
    pub(crate) signed: bool,
}

/// Runs `tb verify`; the exit status says whether everything that was checked holds, and something signed was.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let kind = recognise(&args.file)?;
    let expected = Expected {
        class_keys: args.key_file.as_deref().map(ClassKeys::load).transpose()?,
        publisher: args.publisher.as_deref().map(files::load_public).transpose()?.map(|key| key.id()),
        ta_key: args.ta_key.as_deref().map(TaKey::load).transpose()?,
        srk_hash: args.srk_hash.as_ref().map(|text| text.to_lowercase()),
        rot_key: args.rot_key.clone(),
        image_key: args.image_key.clone(),
    };
    let verdict = (kind.verify)(&args.file, &expected)?;
    if args.json {
        println!("{:#}", verdict.describe(&args.file));
    } else {
        println!("{}: {}", args.file.display(), verdict.kind);
        verdict.checks.iter().for_each(|check| println!("{}", check.line()));
    }
    match verdict.reason() {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => {
            eprintln!("error: {}: {reason}", args.file.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

impl Verdict {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, checks: Vec::new(), signed: false }
    }

    pub(crate) fn add(&mut self, what: impl Into<Cow<'static, str>>, by: impl Into<String>, result: Outcome) {
        self.checks.push(Check { what: what.into(), by: by.into(), result });
    }

    /// Adds a signature: the file is worth something only if one was checked.
    pub(crate) fn add_signature(
        &mut self,
        what: impl Into<Cow<'static, str>>,
        by: impl Into<String>,
        result: Outcome,
    ) {
        self.signed |= result == Outcome::Holds;
        self.add(what, by, result);
    }

    /// Why the file is not to be believed.
    pub(crate) fn reason(&self) -> Option<String> {
        let failed = self.checks.iter().find_map(|check| match &check.result {
            Outcome::Fails(reason) => Some(format!("{}: {reason}", check.what)),
            _ => None,
        });
        let unsigned = || {
            "not verified: no signature of it could be checked\nhelp: see above for what is needed".to_owned()
        };
        failed.or_else(|| (!self.signed).then(unsigned))
    }

    fn describe(&self, file: &Path) -> Value {
        let checks = self.checks.iter().map(Check::describe).collect::<Vec<_>>();
        let verified = self.reason().is_none();
        json!({"file": file, "kind": self.kind, "verified": verified, "reason": self.reason(), "checks": checks})
    }
}

impl Outcome {
    /// What a check came to.
    pub(crate) fn of<E: ToString>(result: Result<(), E>) -> Self {
        result.map_or_else(|error| Self::Fails(error.to_string()), |()| Self::Holds)
    }

    /// The same, where only yes or no is known.
    pub(crate) fn when(holds: bool, reason: &str) -> Self {
        if holds { Self::Holds } else { Self::Fails(reason.to_owned()) }
    }
}

impl Check {
    fn line(&self) -> String {
        let (word, reason) = match &self.result {
            Outcome::Holds => ("ok", ""),
            Outcome::Fails(reason) => ("FAILED", reason.as_str()),
            Outcome::NotChecked(reason) => ("not checked", reason.as_str()),
        };
        let by = if self.by.is_empty() { String::new() } else { format!(" by {}", self.by) };
        let reason =
            if reason.is_empty() { String::new() } else { format!(": {}", reason.replace('\n', "; ")) };
        format!("  {word:<12}{}{by}{reason}", self.what)
    }

    fn describe(&self) -> Value {
        let (result, reason) = match &self.result {
            Outcome::Holds => ("ok", None),
            Outcome::Fails(reason) => ("failed", Some(reason)),
            Outcome::NotChecked(reason) => ("not-checked", Some(reason)),
        };
        json!({"what": self.what, "by": self.by, "result": result, "reason": reason})
    }
}

#[cfg(test)]
mod tests;
