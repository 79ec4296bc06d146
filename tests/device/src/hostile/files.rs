//! Root edits, cuts, deletes, swaps and replays files of secure storage, OP-TEE's TA database among them.
//!
//! OP-TEE's directory of objects (`dirf.db`) has no counter to be held against on a device without RPMB: with an old or a
//! missing one the device may show the state of that time, or be blank. Nothing else may show anything but the truth.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use trustbox_api::command::Lifecycle;

use crate::case::Stop;
use crate::context::Context;
use crate::hostile::{back, healthy, same_or_refused};
use crate::random::Random;
use crate::requests::info;
use crate::steps::{Step, View, carry_out, view};
use crate::{check, check_eq};

/// The directory of objects.
pub(super) const DIRECTORY: &str = "dirf.db";
/// How often the directory is left alone when it is drawn: a device without one makes new keys, which takes long.
const SPARE_DIRECTORY: u64 = 4;

/// All files below a folder, as they are.
pub struct Files {
    folder: PathBuf,
    contents: BTreeMap<PathBuf, Vec<u8>>,
}

impl Files {
    /// Reads them.
    pub fn of(folder: &Path) -> std::io::Result<Self> {
        let contents = below(folder)?.into_iter().map(|path| Ok((path.clone(), fs::read(path)?)));
        Ok(Self { folder: folder.to_path_buf(), contents: contents.collect::<std::io::Result<_>>()? })
    }

    /// Makes the folder hold just these.
    pub fn put_back(&self) -> std::io::Result<()> {
        for path in below(&self.folder)? {
            if !self.contents.contains_key(&path) {
                fs::remove_file(path)?;
            }
        }
        for (path, content) in &self.contents {
            if fs::read(path).ok().as_ref() != Some(content) {
                put(path, content)?;
            }
        }
        Ok(())
    }

    fn draw(&self, random: &mut Random) -> Option<&PathBuf> {
        let paths: Vec<_> = self.contents.keys().filter(|path| !self.contents[*path].is_empty()).collect();
        let first = *random.choose(&paths)?;
        let other = *random.choose(&paths)?;
        Some(if is_directory(first) && random.below(SPARE_DIRECTORY) != 0 { other } else { first })
    }
}

/// Writes a file that may be new: it belongs to whom the folder belongs to, who is not root everywhere.
pub fn put(path: &Path, content: &[u8]) -> std::io::Result<()> {
    fs::write(path, content)?;
    let folder = fs::metadata(path.parent().unwrap_or(path))?;
    chown(path, Some(folder.uid()), Some(folder.gid()))
}

fn below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "lost+found") {
            found.extend(below(&path)?);
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_directory(path: &Path) -> bool {
    path.ends_with(DIRECTORY)
}

/// Flips up to eight bits of a file.
pub fn edit(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    harm_one(context, random, |path, mut content, random| {
        for _ in 0..=random.below(8) {
            let bit = random.below(8 * content.len() as u64) as usize;
            content[bit / 8] ^= 1 << (bit % 8);
        }
        fs::write(path, content)?;
        Ok("edited")
    })
}

/// Cuts a file anywhere.
pub fn truncate(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    harm_one(context, random, |path, content, random| {
        let length = random.below(content.len() as u64) as usize;
        fs::write(path, &content[..length])?;
        Ok("cut short")
    })
}

/// Deletes a file.
pub fn delete(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    harm_one(context, random, |path, _, _| {
        fs::remove_file(path)?;
        Ok("deleted")
    })
}

/// Lets two files change places.
pub fn swap(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    let files = files(context)?;
    let (Some(one), Some(other)) = (files.draw(random), files.draw(random)) else {
        return Err(Stop::Failed("secure storage has no files".to_owned()));
    };
    fs::write(one, &files.contents[other])?;
    fs::write(other, &files.contents[one])?;
    let harm = format!("{} and {} swapped", one.display(), other.display());
    judge(context, &files, &before, None, is_directory(one) || is_directory(other), &harm)
}

/// Brings one file, or all but one, back as they were before a change.
pub fn replay(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let earlier = healthy(context)?;
    let old = files(context)?;
    carry_out(context, Step::Record(1))?;
    let before = view(context)?;
    let files = files(context)?;
    let path = old.draw(random).ok_or_else(|| Stop::Failed("secure storage has no files".to_owned()))?;
    let most = random.below(2) == 0;
    for (name, content) in &old.contents {
        if (name == path) != most {
            put(name, content)?;
        }
    }
    let shown = if most { "all files but" } else { "file" };
    let harm = format!("{shown} {} as before a change", path.display());
    let directory = is_directory(path) != most;
    judge(context, &files, &before, Some(&earlier), directory, &harm)
}

/// Harms one file in some way.
fn harm_one(
    context: &mut Context<'_>,
    random: &mut Random,
    harm: fn(&Path, Vec<u8>, &mut Random) -> std::io::Result<&'static str>,
) -> Result<(), Stop> {
    let before = healthy(context)?;
    let files = files(context)?;
    let path = files.draw(random).ok_or_else(|| Stop::Failed("secure storage has no files".to_owned()))?;
    let how = harm(path, files.contents[path].clone(), random)?;
    let harm = format!("{} {how}", path.display());
    judge(context, &files, &before, None, is_directory(path), &harm)
}

fn files(context: &Context<'_>) -> Result<Files, Stop> {
    let folder = context.target.storage().ok_or(Stop::Skipped("there are no files without Linux"))?;
    Ok(Files::of(folder)?)
}

/// Looks at the harmed device, puts the files back and looks again.
fn judge(
    context: &Context<'_>,
    files: &Files,
    before: &View,
    earlier: Option<&View>,
    directory: bool,
    harm: &str,
) -> Result<(), Stop> {
    let harmed = if directory {
        same_blank_or_refused(context, before, earlier, harm)
    } else {
        same_or_refused(context, before, harm)
    };
    files.put_back()?;
    harmed?;
    back(context, before, harm)
}

/// With another directory: what OP-TEE's storage without a counter cannot tell from the truth.
fn same_blank_or_refused(
    context: &Context<'_>,
    before: &View,
    earlier: Option<&View>,
    harm: &str,
) -> Result<(), Stop> {
    let info = match context.connect().map(|mut link| info(link.as_mut())) {
        Ok(Ok(info)) => info,
        Ok(Err(Stop::Failed(why))) | Err(Stop::Failed(why)) => {
            check!(crate::hostile::is_refusal(&why), "{harm}: {why}");
            return Ok(());
        }
        Ok(Err(skipped)) | Err(skipped) => return Err(skipped),
    };
    if info.lifecycle == Lifecycle::Blank {
        check_eq!(info.class_keys.len(), 0, "class keys of a blank device");
        return Ok(());
    }
    match (view(context), earlier) {
        (Ok(now), Some(earlier)) if now == *earlier => Ok(()),
        _ => same_or_refused(context, before, harm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("0"), b"zero").unwrap();
        fs::write(at("1"), b"one").unwrap();
        let files = Files::of(folder.path()).unwrap();
        fs::write(at("0"), b"").unwrap();
        fs::remove_file(at("1")).unwrap();
        fs::write(at("2"), b"new").unwrap();
        files.put_back().unwrap();
        assert_eq!(Files::of(folder.path()).unwrap().contents, files.contents);
        assert_eq!(fs::read(at("1")).unwrap(), b"one");
    }
}
