//! dm-verity's hash tree, format 1, SHA-256, blocks of 4096 octets: the header that `veritysetup` reads, then the levels from the
//! top down. The header is for tools; the device takes what the signed command line says.

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Octets of a block.
pub(crate) const BLOCK: usize = 4096;
const DIGEST: usize = 32;
/// Any value would do that is the same in every build.
pub(crate) const SALT: [u8; 32] = *b"TrustBox root, format 1.........";
/// Likewise; of the header, so for tools only.
pub(crate) const UUID: [u8; 16] = *b"TrustBox root\0\0\0";

/// What the signed command line says of a root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Root {
    pub(crate) hash: [u8; DIGEST],
    /// Blocks of data.
    pub(crate) blocks: u64,
}

impl Root {
    /// The word of the command line.
    pub(crate) fn word(&self) -> String {
        let hex = crate::hash::hex;
        format!("{WORD}{}:{}:{}", hex(&self.hash), hex(&SALT), self.blocks)
    }

    /// Reads it back.
    pub(crate) fn from_word(word: &str) -> Result<Self> {
        let parts: Vec<&str> = word.strip_prefix(WORD).unwrap_or(word).split(':').collect();
        let [hash, salt, blocks] = parts[..] else { anyhow::bail!("{word} is not {WORD}HASH:SALT:BLOCKS") };
        ensure!(salt == crate::hash::hex(&SALT), "{word} has another salt than this builder");
        let hash =
            trustbox_package::request::parse_hex::<DIGEST>(hash).context("the hash is not 64 digits")?;
        Ok(Self { hash: hash.0, blocks: blocks.parse().context("the number of blocks is none")? })
    }
}

/// What the word starts with.
pub(crate) const WORD: &str = "trustbox.root=";

/// The tree of data, whose length is a multiple of a block: what is behind the data, header first, and the hash at its top.
pub(crate) fn tree(data: &[u8]) -> Result<(Root, Vec<u8>)> {
    ensure!(
        !data.is_empty() && data.len().is_multiple_of(BLOCK),
        "{} octets are no blocks of {BLOCK}",
        data.len()
    );
    let blocks = (data.len() / BLOCK) as u64;
    let mut levels: Vec<Vec<u8>> = Vec::new();
    while let Some(next) = above(levels.last().map_or(data, Vec::as_slice)) {
        levels.push(next);
    }
    let hash = digest(levels.last().map_or(data, Vec::as_slice));
    let mut out = header(blocks);
    levels.iter().rev().for_each(|level| out.extend(level));
    Ok((Root { hash, blocks }, out))
}

/// The first block of data, counted from zero, that a root does not stand for; `None` if there is none. `content` is data and tree.
pub(crate) fn first_wrong(root: &Root, content: &[u8]) -> Result<Option<u64>> {
    let length = usize::try_from(root.blocks)?.checked_mul(BLOCK).context("the root is too large")?;
    let data = content.get(..length).context("the root is cut off")?;
    let (found, tree) = tree(data)?;
    let stored = content.get(length..length + tree.len()).context("the hash tree is cut off")?;
    if found == *root && stored == tree {
        return Ok(None);
    }
    // The lowest level is the last one; a single block has none.
    let leaves = above(data).map_or(0, |level| level.len());
    let (new, old) = (&tree[tree.len() - leaves..], &stored[tree.len() - leaves..]);
    let wrong = new.chunks(DIGEST).zip(old.chunks(DIGEST)).position(|(new, old)| new != old);
    let in_tree =
        tree.iter().zip(stored).position(|(new, old)| new != old).map(|at| root.blocks + (at / BLOCK) as u64);
    Ok(wrong.map(|block| block as u64).or(in_tree).or(Some(0)))
}

/// The level above one that is more than a block.
fn above(level_below: &[u8]) -> Option<Vec<u8>> {
    (level_below.len() > BLOCK).then(|| level(level_below))
}

fn level(below: &[u8]) -> Vec<u8> {
    let mut out = below.par_chunks(BLOCK).map(digest).collect::<Vec<_>>().concat();
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out
}

fn digest(block: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(SALT).chain_update(block).finalize().into()
}

/// The superblock of cryptsetup, in a block of its own.
fn header(blocks: u64) -> Vec<u8> {
    let mut out = b"verity\0\0".to_vec();
    for word in [1u32, 1] {
        out.extend(word.to_le_bytes());
    }
    out.extend(UUID);
    out.extend(*b"sha256");
    out.resize(64, 0);
    for word in [BLOCK as u32, BLOCK as u32] {
        out.extend(word.to_le_bytes());
    }
    out.extend(blocks.to_le_bytes());
    out.extend((SALT.len() as u16).to_le_bytes());
    out.resize(88, 0);
    out.extend(SALT);
    out.resize(BLOCK, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::{Tool, find_program};

    fn data(blocks: usize) -> Vec<u8> {
        (0..blocks * BLOCK).map(|at| (at * 31 / 7) as u8).collect()
    }

    #[test]
    fn a_changed_octet_is_found_in_its_block() {
        for blocks in [1, 2, 128, 129, 300] {
            let data = data(blocks);
            let (root, tree) = tree(&data).unwrap();
            let mut content = [data, tree].concat();
            assert_eq!(first_wrong(&root, &content).unwrap(), None);
            let (at, middle) = (blocks * BLOCK - 1, content.len() - 1);
            content[at] ^= 1;
            assert_eq!(first_wrong(&root, &content).unwrap(), Some(blocks as u64 - 1));
            content[at] ^= 1;
            content[middle] ^= 1;
            assert!(first_wrong(&root, &content).unwrap().is_some());
            assert!(first_wrong(&root, &content[..blocks * BLOCK]).is_err());
        }
    }

    #[test]
    fn the_word_is_read_back() {
        let (root, _) = tree(&data(3)).unwrap();
        assert_eq!(Root::from_word(&root.word()).unwrap(), root);
        assert!(Root::from_word("trustbox.root=00:00:1").is_err());
        assert!(tree(&[0; 5]).is_err() && tree(&[]).is_err());
    }

    #[test]
    fn veritysetup_verifies_it_and_no_other() {
        let Some(program) = find_program("veritysetup") else { return };
        for blocks in [1, 129] {
            let data = data(blocks);
            let (root, tree) = tree(&data).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            let verify = |content: &[u8]| {
                std::fs::write(file.path(), content).unwrap();
                let tool = Tool::new(&program).arg("verify").arg(file.path()).arg(file.path());
                tool.arg(crate::hash::hex(&root.hash))
                    .arg(format!("--hash-offset={}", blocks * BLOCK))
                    .output()
            };
            let mut content = [data, tree].concat();
            verify(&content).unwrap();
            content[7] ^= 1;
            assert!(verify(&content).is_err());
        }
    }
}
