//! The signature of a FIT's configuration, as U-Boot verifies it: RSA over what the device tree's structure has of the nodes that
//! matter, and over its strings. `mkimage` lays the FIT out and computes the digests of its images; it can sign from a file only.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::boot::keys::{Keys, Role};
use crate::firmware::EPOCH;
use crate::sign_ta::Algorithm;
use crate::tool::Tool;

/// Images that a configuration has.
pub(crate) const IMAGES: [&str; 3] = ["kernel", "fdt", "ramdisk"];
const CONFIGURATION: &str = "/configurations/conf";
const SIGNATURE: &str = "/configurations/conf/signature-1";
/// Properties with an image's content or place: the image's digest is signed instead.
const CONTENT: [&str; 4] = ["data", "data-size", "data-position", "data-offset"];

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Signs the FIT in a file, which has no signature yet.
pub(crate) fn sign(file: &Path, keys: &Keys, log: &Path) -> Result<()> {
    let fit = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let tree = Tree::of(&fit)?;
    let nodes = nodes();
    let signature = keys.sign(Role::Image, Algorithm::Pkcs1v15, &tree.signed(&nodes)?)?;
    let put = |kind: &str, name: &str, values: Vec<String>| {
        Tool::new("fdtput").args(["-t", kind]).arg(file).args([SIGNATURE, name]).args(values).run(log)
    };
    put("bx", "value", signature.iter().map(|octet| format!("{octet:02x}")).collect())?;
    put("s", "signer-name", vec!["trustbox".to_owned()])?;
    put("u", "timestamp", vec![EPOCH.to_owned()])?;
    put("s", "hashed-nodes", nodes)?;
    // How many octets of strings there were before this signature: U-Boot takes it from here.
    put("u", "hashed-strings", vec!["0".to_owned(), tree.strings.len().to_string()])
}

/// The root, the configuration, and each image with its digest.
fn nodes() -> Vec<String> {
    let images = IMAGES.iter().flat_map(|name| [format!("/images/{name}"), format!("/images/{name}/hash-1")]);
    ["/".to_owned(), CONFIGURATION.to_owned()].into_iter().chain(images).collect()
}

/// A flattened device tree (Devicetree Specification 0.4, chapter 5).
struct Tree<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Tree<'a> {
    fn of(blob: &'a [u8]) -> Result<Self> {
        let field = |number: usize| word(blob, 4 * number).map(|value| value as usize);
        ensure!(word(blob, 0)? == MAGIC, "not a device tree");
        let (structure, strings, strings_size, structure_size) = (field(2)?, field(3)?, field(8)?, field(9)?);
        ensure!(
            structure + structure_size == strings,
            "the strings do not follow the structure: U-Boot would verify something else"
        );
        let part =
            |start: usize, size: usize| blob.get(start..start + size).context("the device tree is cut short");
        Ok(Self { structure: part(structure, structure_size)?, strings: part(strings, strings_size)? })
    }

    /// What is signed: of each node in the list its properties, of its direct children that they are there, then the strings.
    fn signed(&self, nodes: &[String]) -> Result<Vec<u8>> {
        let mut message = Vec::new();
        // Names of the nodes that we are in, and how much of each is signed: 2 is all, 1 is that it is there.
        let mut path: Vec<(&str, u8)> = Vec::new();
        let mut at = 0;
        loop {
            let (start, tag) = (at, word(self.structure, at)?);
            let taken = path.last().map_or(0, |(_, taken)| *taken);
            let include = match tag {
                BEGIN_NODE => {
                    let name = text(self.structure, at + 4)?;
                    at += 4 + padded(name.len() + 1);
                    let parent = path.iter().map(|(name, _)| *name).collect::<Vec<_>>();
                    let full = [&parent[..], &[name]].concat().join("/");
                    let full = if full.is_empty() { "/" } else { &full };
                    let wanted = nodes.iter().any(|node| node == full);
                    path.push((name, if wanted { 2 } else { taken.saturating_sub(1) }));
                    path.last().is_some_and(|(_, taken)| *taken > 0)
                }
                PROPERTY => {
                    let (size, name) = (word(self.structure, at + 4)?, word(self.structure, at + 8)?);
                    at += 12 + padded(size as usize);
                    taken == 2 && !CONTENT.contains(&text(self.strings, name as usize)?)
                }
                END_NODE => {
                    at += 4;
                    path.pop().context("a node ends that did not begin")?.1 > 0
                }
                NOP => {
                    at += 4;
                    taken == 2
                }
                END => {
                    at += 4;
                    true
                }
                other => bail!("tag {other} in a device tree"),
            };
            if include {
                message.extend(self.structure.get(start..at).context("the structure is cut short")?);
            }
            if tag == END {
                message.extend(self.strings);
                return Ok(message);
            }
        }
    }
}

fn padded(size: usize) -> usize {
    size.next_multiple_of(4)
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("the device tree is cut short")?;
    Ok(u32::from_be_bytes(bytes.try_into()?))
}

fn text(bytes: &[u8], at: usize) -> Result<&str> {
    let bytes = bytes.get(at..).context("the device tree is cut short")?;
    let end = bytes.iter().position(|octet| *octet == 0).context("a string does not end")?;
    Ok(std::str::from_utf8(&bytes[..end])?)
}
