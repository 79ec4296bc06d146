//! `tb verify` of an image, in a file or on a device: each region against the signed manifest, the partition tables, the FIT's own
//! signature, the root against the hash tree that the signed command line names. Says where an octet differs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use trustbox_boot_image::boot_state::{BootState, STRIDE};
use trustbox_boot_image::fip::Fip;

use crate::boot::certificates::Counters;
use crate::boot::chain::FIP_OFFSET;
use crate::boot::chain_of_trust;
use crate::boot::keys::Role;
use crate::builder::{Builder, Repo};
use crate::hash::sha256_hex;
use crate::image::gpt::{self, BLOCK, ENTRIES_SIZE};
use crate::image::layout::{MANIFEST_ROOM, Placed};
use crate::image::manifest::{Found, Listed, Manifest};
use crate::image::verity::{self, Root};
use crate::image::write::Region;
use crate::inspect::{Inspection, Options, boot};
use crate::recognise::Kind;
use crate::tool::Tool;
use crate::verify::{Expected, Outcome, Verdict};

/// Where the manifest is, from the first octet of the partition table's entries.
const MANIFEST: u64 = 0x10_0000;
/// The region that U-Boot and the device write.
const STATE: &str = "boot-state";
/// Octets that are read at once.
const STEP: u64 = 1 << 20;

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

    /// Where the first octet is in a range that is not zero.
    pub(crate) fn zero(&self, start: u64, end: u64) -> Result<Option<u64>> {
        let zeros = vec![0; usize::try_from(STEP)?];
        let mut at = start;
        while at < end {
            let content = self.read(at, STEP.min(end - at))?;
            if content != zeros[..content.len()] {
                let found = content.iter().position(|octet| *octet != 0).unwrap_or_default();
                return Ok(Some(at + found as u64));
            }
            at += content.len() as u64;
        }
        Ok(None)
    }

    /// Header and entries of the first table.
    pub(crate) fn first_table(&self) -> Result<[Vec<u8>; 2]> {
        let header = self.read(BLOCK, BLOCK)?;
        let entries = self.read(gpt::Found::decode(&header, BLOCK)?.entries, ENTRIES_SIZE)?;
        Ok([header, entries])
    }

    /// Partitions of the first table, and where its entries are.
    pub(crate) fn table(&self) -> Result<(gpt::Found, Vec<Placed>)> {
        let [header, entries] = self.first_table()?;
        let table = gpt::Found::decode(&header, BLOCK)?;
        let partitions = table.partitions(&entries)?;
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
    let manifest = for_medium(&medium, found.manifest)?;
    regions(&medium, &manifest, &mut verdict)?;
    if let Err(error) = firmware(&medium, &manifest, expected, &mut verdict) {
        verdict.add("firmware", "", Outcome::Fails(format!("{error:#}")));
    }
    rest(&medium, &manifest, &mut verdict)?;
    for slot in ["a", "b"] {
        let root = signed_root(&medium, &manifest, slot, &key, tools);
        let outcome = Outcome::of(root.as_ref().map(drop).map_err(|error| format!("{error:#}")));
        verdict.add(format!("signed FIT of slot {slot}"), by.clone(), outcome);
        if let Ok(root) = root {
            let holds = Outcome::of(root_holds(&medium, &manifest, slot, &root));
            verdict.add(format!("root of slot {slot}"), "the signed FIT", holds);
        }
    }
    Ok(verdict)
}

/// On a larger medium than the image, tables are those that follow from the image's for that size: where the manifest's digests hold for
/// what they were, it lists what they must be. Otherwise nothing is changed, and they differ.
fn for_medium(medium: &Medium, mut manifest: Manifest) -> Result<Manifest> {
    let [header, entries] = medium.first_table()?;
    let size = gpt::Found::decode(&header, BLOCK)?.other + BLOCK;
    let tables = |size| gpt::resized(&header, &entries, size);
    let (Ok(image), Ok(here)) = (tables(manifest.size), tables(size)) else { return Ok(manifest) };
    let listed = |(at, octets): &(u64, Vec<u8>)| {
        manifest.regions.iter().position(|region| region.start == *at && same(region, octets).is_ok())
    };
    if let Some(places) = image.iter().map(listed).collect::<Option<Vec<_>>>() {
        for (place, (at, octets)) in places.into_iter().zip(here) {
            let name = manifest.regions[place].name.clone();
            manifest.regions[place] = Listed::of(&Region::new(&name, at, octets));
        }
    }
    Ok(manifest)
}

/// Each region is what the manifest says, but for the boot state, which devices write.
fn regions(medium: &Medium, manifest: &Manifest, verdict: &mut Verdict) -> Result<()> {
    for region in &manifest.regions {
        let content = medium.read(region.start, region.size)?;
        let outcome = match same(region, &content) {
            Err(_) if region.name == STATE && BootState::decode(&content).is_some() => written(),
            result => Outcome::of(result),
        };
        verdict.add(format!("region {}", region.name), "the manifest", outcome);
    }
    Ok(())
}

/// What the boot ROM, BL1 and BL2 verify before they run it, with the counters that the manifest has.
fn firmware(medium: &Medium, manifest: &Manifest, expected: &Expected, verdict: &mut Verdict) -> Result<()> {
    let region = |name: &str| manifest.regions.iter().find(|region| region.name == name);
    if let Some(pbl) = region("pbl") {
        boot::add_claims(&medium.read(pbl.start, pbl.size)?, expected, verdict)?;
    }
    let fip = match (region("fip"), region("firmware")) {
        (Some(fip), _) => medium.read(fip.start, fip.size)?,
        (None, Some(flash)) => {
            let flash = medium.read(flash.start, flash.size)?;
            flash.get(FIP_OFFSET..).context("the firmware has no FIP")?.to_vec()
        }
        (None, None) => bail!("the manifest has no firmware"),
    };
    let fip = Fip::decode(&fip).context("the firmware's FIP is damaged")?;
    if let Some(Counters { trusted, normal }) =
        chain_of_trust::verify(&fip, expected.rot_key.as_deref(), verdict)?
    {
        let same = Outcome::when([trusted, normal] == manifest.counters, "the manifest has other ones");
        verdict.add(format!("counters {trusted} and {normal}"), "the manifest", same);
    }
    Ok(())
}

/// There is nothing else, but in partitions that devices write.
fn rest(medium: &Medium, manifest: &Manifest, verdict: &mut Verdict) -> Result<()> {
    for (name, start, end) in between(medium, manifest)? {
        let outcome = match medium.zero(start, end) {
            Ok(None) => Outcome::Holds,
            Ok(Some(_)) if !name.is_empty() => written(),
            Ok(Some(at)) => Outcome::Fails(format!("something is at octet 0x{at:x}")),
            Err(error) => Outcome::Fails(format!("{error:#}")),
        };
        let what = match name.as_str() {
            "" => format!("nothing in 0x{start:x}..0x{end:x}"),
            _ => format!("partition {name}"),
        };
        verdict.add(what, "", outcome);
    }
    Ok(())
}

/// What a device changes is no part of what was signed.
fn written() -> Outcome {
    Outcome::NotChecked("a device has written here".to_owned())
}

/// Ranges that no region is in: named where a partition is that the device fills, without a name where nothing may be.
fn between(medium: &Medium, manifest: &Manifest) -> Result<Vec<(String, u64, u64)>> {
    let mut used: Vec<(u64, u64)> =
        manifest.regions.iter().map(|part| (part.start, part.start + part.size)).collect();
    let start = medium.table()?.0.entries + MANIFEST;
    used.push((start, start + MANIFEST_ROOM));
    let state =
        manifest.regions.iter().find(|part| part.name == STATE).map(|part| part.start).unwrap_or_default();
    used.push((state, state + 2 * STRIDE));
    let mut found = Vec::new();
    for partition in medium.table()?.1 {
        let holds =
            |(start, _): &(u64, u64)| (partition.start..partition.start + partition.size).contains(start);
        if !used.iter().any(holds) {
            let end = partition.start + partition.size;
            found.push((partition.name, partition.start, end));
            used.push((partition.start, end));
        }
    }
    used.sort_unstable();
    let mut at = 0;
    for (start, end) in used {
        if start > at {
            found.push((String::new(), at, start));
        }
        at = at.max(end);
    }
    Ok(found)
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
    key_tree(key, tools, folder.path(), &tree)?;
    let check = Tool::new(tools.join("fit_check_sign")).arg("-f").arg(&fit).arg("-k").arg(&tree);
    let output = check.command().output().context("cannot start fit_check_sign")?;
    ensure!(
        output.status.success(),
        "U-Boot's verifier refuses it: {}",
        last_line(&output.stderr).or_else(|| last_line(&output.stdout)).unwrap_or_default()
    );
    let word = command_line(&fit, folder.path())?
        .split(' ')
        .find(|word| word.starts_with(verity::WORD))
        .map(str::to_owned);
    Root::from_word(&word.context("its command line names no root")?)
}

/// The command line in a FIT's device tree.
fn command_line(fit: &Path, folder: &Path) -> Result<String> {
    let octets = Tool::new("fdtget").args(["-t", "bx"]).arg(fit).args(["/images/fdt", "data"]).output()?;
    let octets = octets
        .split_whitespace()
        .map(|word| Ok(u8::from_str_radix(word, 16)?))
        .collect::<Result<Vec<u8>>>()?;
    let tree = folder.join("linux.dtb");
    fs::write(&tree, octets)?;
    Ok(Tool::new("fdtget")
        .args(["-t", "s"])
        .arg(tree)
        .args(["/chosen", "bootargs"])
        .output()?
        .trim()
        .to_owned())
}

/// A device tree with nothing but the key in it, as U-Boot has it in its own. The tool takes certificates only, so the key gets one that
/// nobody believes, signed with a key that ends here.
fn key_tree(key: &Path, tools: &Path, folder: &Path, tree: &Path) -> Result<()> {
    let (source, signer) = (folder.join("key.dts"), folder.join("signer.key"));
    let name = Role::Image.name();
    let openssl = || Tool::new("openssl");
    let curve = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"];
    openssl().args(curve).arg(&signer).output()?;
    let certificate = openssl().args(["x509", "-new", "-subj", "/CN=none", "-force_pubkey"]).arg(key);
    certificate.arg("-key").arg(&signer).arg("-out").arg(folder.join(format!("{name}.crt"))).output()?;
    fs::write(&source, "/dts-v1/; / { };")?;
    Tool::new("dtc")
        .args(["-q", "-I", "dts", "-O", "dtb", "-p", "4096", "-o"])
        .arg(tree)
        .arg(source)
        .output()?;
    let add =
        Tool::new(tools.join("fdt_add_pubkey")).args(["-a", "sha256,rsa3072", "-r", "conf", "-n", name]);
    add.arg("-k").arg(folder).arg(tree).output().map(drop)
}

fn last_line(octets: &[u8]) -> Option<String> {
    String::from_utf8_lossy(octets)
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .map(|line| line.trim().to_owned())
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
