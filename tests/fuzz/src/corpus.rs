//! The kept inputs of a target: `corpus/NAME.hex`, an input a line, comments after `#`.
//!
//! Text, so that a change shows what it changes, and a regression can say what it was.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::target::Target;

/// The kept inputs; none where there is no file.
pub fn kept(name: &str) -> Result<Vec<Vec<u8>>> {
    let path = file(name);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    let input = |(number, line): (usize, &str)| {
        decode(line).with_context(|| format!("{}:{}: not hexadecimal", path.display(), number + 1))
    };
    lines.map(input).collect()
}

/// Characters of a file up to which inputs are kept: short ones say the same and more quickly.
const MAX_FILE: usize = 5 * 1024;

/// Adds inputs to the kept ones that are not among them, the shortest first, as long as there is room; how many.
pub fn keep(name: &str, inputs: &[Vec<u8>]) -> Result<usize> {
    let known = kept(name)?;
    let mut new: Vec<_> = inputs.iter().filter(|input| !input.is_empty() && !known.contains(input)).collect();
    new.sort_by_key(|input| input.len());
    let path = file(name);
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    let before = text.lines().count();
    for line in new.into_iter().map(|input| encode(input)) {
        if text.len() + line.len() < MAX_FILE {
            text = format!("{text}{line}\n");
        }
    }
    fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(text.lines().count() - before)
}

/// Writes seeds and kept inputs as files, as libFuzzer wants them.
pub fn unpack(target: &Target, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for input in target.seeds.iter().chain(&kept(&target.name)?) {
        fs::write(folder.join(encode(&Sha256::digest(input)[..16])), input)?;
    }
    Ok(())
}

/// The files of a folder.
pub fn files(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(fs::read(path)?)).collect()
}

/// As hexadecimal digits.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{name}.hex"))
}

fn decode(line: &str) -> Option<Vec<u8>> {
    let digits = line.split('#').next().unwrap_or_default().trim();
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_lines_of_hexadecimal() {
        assert_eq!(decode("00ff # what it was"), Some(vec![0, 255]));
        assert_eq!((decode("0"), decode("zz"), decode("é")), (None, None, None));
        assert_eq!(decode(&encode(&[1, 2, 0xfe])), Some(vec![1, 2, 0xfe]));
    }
}
