//! Scripts of packages: none runs, and each that would is on a list with its SHA-256 and a reason. A new one stops the build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::builder::Builder;
use crate::hash::{Key, sha256_hex};
use crate::tool::Tool;

/// What runs when a package is installed where it was not.
const INSTALL: [&str; 2] = ["preinst", "postinst"];
const LIST: &str = "scripts.allow";

impl Builder {
    /// Looks at the scripts of these packages.
    pub(crate) fn check_scripts<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<()> {
        let text = self.allow_text()?;
        let allowed = allow_list(&text)?;
        for name in names {
            let folder = self.control(name)?;
            for script in self.scripts(name)? {
                let digest = sha256_hex(&fs::read(folder.join(script))?);
                known(&allowed, name, script, &digest, &folder)?;
            }
        }
        Ok(())
    }

    /// Which scripts a package has that run when it is installed.
    pub(crate) fn scripts(&self, name: &str) -> Result<Vec<&'static str>> {
        let folder = self.control(name)?;
        Ok(INSTALL.into_iter().filter(|script| folder.join(script).is_file()).collect())
    }

    /// Scripts of the list, as `PACKAGE SCRIPT`.
    pub(crate) fn listed_scripts(&self) -> Result<Vec<String>> {
        let text = self.allow_text()?;
        Ok(allow_list(&text)?.into_keys().map(|(package, script)| format!("{package} {script}")).collect())
    }

    fn allow_text(&self) -> Result<String> {
        let path = self.image_folder().join(LIST);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// A package's control files.
    pub(crate) fn control(&self, name: &str) -> Result<PathBuf> {
        let package = self.lock.package(name)?;
        let key = Key::new("control").texts(package.files.iter().map(|file| &file.sha256)).finish();
        let archives = self.package_files(name)?;
        self.cached(&format!("control/{name}"), &key, |dirs| {
            archives.iter().try_for_each(|archive| {
                Tool::new("dpkg-deb").arg("-e").arg(archive).arg(&dirs.out).run(&dirs.log)
            })
        })
    }
}

fn known(
    allowed: &BTreeMap<(&str, &str), &str>,
    name: &str,
    script: &str,
    digest: &str,
    folder: &Path,
) -> Result<()> {
    let listed = allowed.get(&(name, script));
    ensure!(
        listed == Some(&digest),
        "package {name} has a {script} that nobody has read: {digest}\nhelp: read {}, then list it in platform/image/{LIST} with a reason",
        folder.join(script).display()
    );
    Ok(())
}

/// Lines of `SHA256 PACKAGE SCRIPT REASON`.
fn allow_list(text: &str) -> Result<BTreeMap<(&str, &str), &str>> {
    let mut list = BTreeMap::new();
    for (number, line) in
        text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [digest, package, script, _] = words[..] else {
            bail!(
                "platform/image/{LIST}:{}: a digest, a package, a script and a reason are wanted",
                number + 1
            );
        };
        list.insert((package, script), digest);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_by_its_digest_and_has_a_reason() {
        let allowed = allow_list("# why\naa p postinst not needed: x\n").unwrap();
        let say = |name, script, digest| {
            known(&allowed, name, script, digest, Path::new("f")).map_err(|error| error.to_string())
        };
        assert!(say("p", "postinst", "aa").is_ok());
        for (name, script, digest) in
            [("p", "postinst", "ab"), ("p", "preinst", "aa"), ("q", "postinst", "aa")]
        {
            assert!(say(name, script, digest).unwrap_err().contains("that nobody has read"));
        }
        assert!(
            allow_list("aa p postinst\n")
                .unwrap_err()
                .to_string()
                .starts_with("platform/image/scripts.allow:1: ")
        );
    }
}
