//! `tb verify` of an image, in a file or on a device: each region against the signed manifest, the partition tables, the FIT's own
//! signature, the root against the hash tree that the signed command line names. Says where an octet differs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::boot::keys::Role;
use crate::builder::{Builder, Repo};
use crate::hash::sha256_hex;
use crate::image::gpt::{self, BLOCK, ENTRIES_SIZE};
use crate::image::layout::{MANIFEST_ROOM, Placed};
use crate::image::manifest::{Found, Listed, Manifest};
use crate::image::verity::{self, Root};
use crate::inspect::{Inspection, Options};
use crate::recognise::Kind;
use crate::tool::Tool;
use crate::verify::{Expected, Outcome, Verdict};

/// Where the manifest is, from the first octet of the partition table's entries.
const MANIFEST: u64 = 0x10_0000;

/// An image, told by its partition table.
pub(crate) const KIND: Kind = Kind {
    name: "image of a medium",
    begins: |bytes| bytes.get(510..520) == Some(b"\x55\xaaEFI PART"),
    inspect,
    verify,
};

/// A medium that is read only where it is asked for.
pub(crate) struct Medium {
    file: File,
}

impl Medium {
    /// Opens a file or a device.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: File::open(path).with_context(|| format!("cannot read {}", path.display()))? })
    }

    /// A range; what lies behind the end is an error.
    pub(crate) fn read(&self, start: u64, size: u64) -> Result<Vec<u8>> {
        let mut content = vec![0; usize::try_from(size)?];
        self.file
            .read_exact_at(&mut content, start)
            .with_context(|| format!("the medium ends before octet 0x{:x}", start.saturating_add(size)))?;
        Ok(content)
    }

    /// Partitions of the first table, and where its entries are.
    fn table(&self) -> Result<(gpt::Found, Vec<Placed>)> {
        let table = gpt::Found::decode(&self.read(BLOCK, BLOCK)?, BLOCK)?;
        let partitions = table.partitions(&self.read(table.entries, ENTRIES_SIZE)?)?;
        Ok((table, partitions))
    }

    /// The manifest, whose place follows from the partition table.
    pub(crate) fn manifest(&self) -> Result<Found> {
        let (table, _) = self.table()?;
        let start =
            table.entries.checked_add(MANIFEST).context("the partition table points behind everything")?;
        Found::decode(&self.read(start, MANIFEST_ROOM)?)
    }
}

fn inspect(path: &Path, _: &Options) -> Result<Inspection> {
    let medium = Medium::open(path)?;
    let manifest = medium.manifest()?.manifest;
    let mut lines = vec![format!(
        "board {}, version {}{}",
        manifest.board,
        manifest.version,
        if manifest.dev { ", -dev" } else { "" }
    )];
    lines.extend(
        manifest
            .regions
            .iter()
            .map(|part| format!("0x{:08x}  0x{:08x}  {}", part.start, part.size, part.name)),
    );
    lines.extend(manifest.packages.iter().map(|package| format!("{} {}", package.name, package.version)));
    Ok(Inspection { description: serde_json::to_value(&manifest)?, map: lines, damage: None })
}

fn verify(path: &Path, expected: &Expected) -> Result<Verdict> {
    let builder = Builder::open(crate::board::DEFAULT)?;
    let (tools, _) = builder.emulated_u_boot(&builder.boot_keys()?)?;
    verify_with(path, expected, &tools)
}

/// The same; `tools` has U-Boot's own programs.
pub(crate) fn verify_with(path: &Path, expected: &Expected, tools: &Path) -> Result<Verdict> {
    let mut verdict = Verdict::new(KIND.name);
    let medium = Medium::open(path)?;
    verdict.add("partition table", "", Outcome::of(tables(&medium)));
    let found = match medium.manifest() {
        Ok(found) => found,
        Err(error) => {
            verdict.add_signature("manifest", "", Outcome::Fails(format!("{error:#}")));
            return Ok(verdict);
        }
    };
    let (key, by) = key(expected)?;
    let signed = found.signed_by(&key)?;
    verdict.add_signature("manifest", by.clone(), Outcome::when(signed, "its signature is not of this key"));
    if !signed {
        return Ok(verdict);
    }
    let manifest = &found.manifest;
    for region in &manifest.regions {
        let content = medium.read(region.start, region.size)?;
        verdict.add(format!("region {}", region.name), "the manifest", Outcome::of(same(region, &content)));
    }
    for slot in ["a", "b"] {
        let root = signed_root(&medium, manifest, slot, &key, tools);
        let outcome = Outcome::of(root.as_ref().map(drop).map_err(|error| format!("{error:#}")));
        verdict.add(format!("signed FIT of slot {slot}"), by.clone(), outcome);
        if let Ok(root) = root {
            verdict.add(
                format!("root of slot {slot}"),
                "the signed FIT",
                Outcome::of(root_holds(&medium, manifest, slot, &root)),
            );
        }
    }
    Ok(verdict)
}

/// Both copies are whole, and agree.
fn tables(medium: &Medium) -> Result<()> {
    let (first, partitions) = medium.table()?;
    let header = medium.read(first.other, BLOCK)?;
    let second = gpt::Found::decode(&header, first.other)?;
    ensure!(second.other == BLOCK, "the second partition table says that the first one is elsewhere");
    let others = second.partitions(&medium.read(second.entries, ENTRIES_SIZE)?)?;
    ensure!(partitions == others, "the two partition tables differ");
    Ok(())
}

fn same(region: &Listed, content: &[u8]) -> Result<()> {
    if sha256_hex(content) == region.sha256 {
        return Ok(());
    }
    let (start, end) =
        region.difference(content).context("it differs, and its manifest does not say where")?;
    bail!("it differs from the manifest between octets 0x{start:x} and 0x{end:x}")
}

/// The key that was named, or this clone's own.
fn key(expected: &Expected) -> Result<(PathBuf, String)> {
    if let Some(key) = &expected.image_key {
        return Ok((key.clone(), format!("key {}", key.display())));
    }
    let own = Repo::find()?.dev_keys().join("boot").join(format!("{}.pub.pem", Role::Image.name()));
    ensure!(
        own.is_file(),
        "no key to verify with\nhelp: --image-key names the public key of whoever made the image"
    );
    Ok((own, "this clone's development key, NOT-TRUSTED".to_owned()))
}

fn part<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a Listed> {
    manifest
        .regions
        .iter()
        .find(|region| region.name == name)
        .with_context(|| format!("the manifest has no {name}"))
}

/// What the FIT says of its root, once U-Boot's own program has verified the FIT with this key.
fn signed_root(medium: &Medium, manifest: &Manifest, slot: &str, key: &Path, tools: &Path) -> Result<Root> {
    let region = part(manifest, &format!("boot-{slot}"))?;
    let content = medium.read(region.start, region.size)?;
    let folder = tempfile::tempdir()?;
    let (fit, tree) = (folder.path().join("image.fit"), folder.path().join("key.dtb"));
    fs::write(&fit, &content)?;
    fs::write(folder.path().join("key.dts"), "/dts-v1/; / { };")?;
    let dtc = Tool::new("dtc").args(["-q", "-I", "dts", "-O", "dtb", "-p", "4096", "-o"]).arg(&tree);
    dtc.arg(folder.path().join("key.dts")).output()?;
    fs::copy(key, folder.path().join(format!("{}.crt", Role::Image.name())))?;
    let add = Tool::new(tools.join("fdt_add_pubkey")).args([
        "-a",
        "sha256,rsa3072",
        "-r",
        "conf",
        "-n",
        Role::Image.name(),
    ]);
    add.arg("-k").arg(folder.path()).arg(&tree).output()?;
    let check = Tool::new(tools.join("fit_check_sign")).arg("-f").arg(&fit).arg("-k").arg(&tree);
    let output = check.command().output().context("cannot start fit_check_sign")?;
    ensure!(
        output.status.success(),
        "U-Boot's verifier refuses it: {}",
        last_line(&output.stderr).or_else(|| last_line(&output.stdout)).unwrap_or_default()
    );
    Root::from_word(&word_in(&content).context("its command line names no root")?)
}

fn last_line(octets: &[u8]) -> Option<String> {
    String::from_utf8_lossy(octets)
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .map(|line| line.trim().to_owned())
}

/// The word of the command line, which is in the FIT's device tree as it is.
fn word_in(fit: &[u8]) -> Option<String> {
    let wanted = verity::WORD.as_bytes();
    let at = fit.windows(wanted.len()).rposition(|window| window == wanted)?;
    let end = fit.get(at..)?.iter().position(|octet| *octet == 0 || *octet == b' ')?;
    String::from_utf8(fit.get(at..at + end)?.to_vec()).ok()
}

fn root_holds(medium: &Medium, manifest: &Manifest, slot: &str, root: &Root) -> Result<()> {
    let region = part(manifest, &format!("root-{slot}"))?;
    let content = medium.read(region.start, region.size)?;
    match verity::first_wrong(root, &content)? {
        None => Ok(()),
        Some(block) => {
            let start = region.start + block * verity::BLOCK as u64;
            bail!(
                "its hash tree does not hold for block {block}, octets 0x{start:x} to 0x{:x}",
                start + verity::BLOCK as u64
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let fit = b"\0trustbox.root=a:b:1 x\0....bootargs quiet trustbox.root=c:d:2\0".to_vec();
        assert_eq!(word_in(&fit).unwrap(), "trustbox.root=c:d:2");
        assert!(word_in(b"trustbox").is_none());
    }
}
