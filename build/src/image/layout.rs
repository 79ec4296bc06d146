//! Where things are on a medium: all arithmetic, before anything is built or written.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use toml::Spanned;

use crate::board::layout::{FlashRegion, flash_complaint};
use crate::builder::Builder;

/// Partitions start and end at multiples of this.
const ALIGNMENT: u64 = 1 << 20;
/// Octets of the manifest at most.
pub(crate) const MANIFEST_ROOM: u64 = 1 << 20;
/// Octets behind the last partition: the second partition table.
const TAIL: u64 = 1 << 20;
/// Where the layout is, below the repository.
const FILE: &str = "platform/image/layout.toml";

/// `layout.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Layout {
    gap: u64,
    manifest_offset: u64,
    boot_region: u64,
    #[serde(rename = "partition")]
    partitions: Vec<Spanned<Partition>>,
}

/// A partition as it is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partition {
    pub(crate) name: String,
    size: u64,
    /// Type, as a GUID.
    pub(crate) kind: String,
    /// What the builder puts there; the device makes the others.
    pub(crate) fills: Option<Fill>,
}

/// What the builder puts into a partition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fill {
    /// The signed FIT.
    Boot,
    /// File system and hash tree.
    Root,
}

/// A partition with its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Placed {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) fills: Option<Fill>,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// The whole medium.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Plan {
    /// Octets of the boot region: the partition table's entries are behind it.
    pub(crate) boot_region: u64,
    pub(crate) manifest: u64,
    pub(crate) partitions: Vec<Placed>,
    pub(crate) size: u64,
}

impl Plan {
    /// The plan for a medium of a board; the emulated one has no name.
    pub(crate) fn of(builder: &Builder, medium: Option<u64>) -> Result<Self> {
        let path = builder.repo.root().join(FILE);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::from_text(&text, medium)
    }

    fn from_text(text: &str, boot_region: Option<u64>) -> Result<Self> {
        let layout: Layout = toml::from_str(text).map_err(|error| at(text, error.span(), error.message()))?;
        layout.place(boot_region.unwrap_or(layout.boot_region), text)
    }

    /// The partition of a name.
    pub(crate) fn partition(&self, name: &str) -> Result<&Placed> {
        let found = self.partitions.iter().find(|partition| partition.name == name);
        found.with_context(|| format!("{FILE} has no partition {name}"))
    }

    /// Content that does not fit is an error before anything is written.
    pub(crate) fn fits(&self, fill: Fill, what: &str, octets: u64) -> Result<()> {
        for partition in self.partitions.iter().filter(|partition| partition.fills == Some(fill)) {
            if octets > partition.size {
                bail!(
                    "{what} has {octets} octets, partition {} has {}\nhelp: {FILE} says how large it is",
                    partition.name,
                    partition.size
                );
            }
        }
        Ok(())
    }
}

impl Layout {
    fn place(&self, boot_region: u64, text: &str) -> Result<Plan> {
        ensure!(
            self.manifest_offset >= crate::image::gpt::ENTRIES_SIZE
                && self.manifest_offset + MANIFEST_ROOM <= self.gap,
            "{FILE}: manifest-offset 0x{:x} is not between the partition table's entries and the first partition",
            self.manifest_offset
        );
        let mut at_octet = boot_region + self.gap;
        let mut partitions = Vec::new();
        for asked in &self.partitions {
            let Partition { name, size, kind, fills } = asked.get_ref().clone();
            ensure!(
                size % ALIGNMENT == 0,
                at(
                    text,
                    Some(asked.span()),
                    &format!("{name}: 0x{size:x} is no multiple of 0x{ALIGNMENT:x}")
                )
            );
            partitions.push(Placed { name, kind, fills, start: at_octet, size });
            at_octet = at_octet
                .checked_add(size)
                .context("the partitions have more octets than there are numbers")?;
        }
        let size = at_octet.next_multiple_of(ALIGNMENT) + TAIL;
        let placed =
            |part: &Placed| FlashRegion { name: part.name.clone(), start: part.start, size: part.size };
        let regions: Vec<_> = self
            .partitions
            .iter()
            .zip(&partitions)
            .map(|(asked, part)| Spanned::new(asked.span(), placed(part)))
            .collect();
        if let Some((span, what)) = flash_complaint(&regions, size) {
            bail!(at(text, Some(span), &what));
        }
        Ok(Plan { boot_region, manifest: boot_region + self.manifest_offset, partitions, size })
    }
}

/// Where the last partition of a medium of this size ends.
pub(crate) fn last_partition_end(size: u64) -> Option<u64> {
    size.checked_sub(TAIL).map(|end| end / ALIGNMENT * ALIGNMENT)
}

fn at(text: &str, span: Option<std::ops::Range<usize>>, what: &str) -> anyhow::Error {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    let line =
        1 + text.as_bytes().get(..start).unwrap_or_default().iter().filter(|octet| **octet == b'\n').count();
    anyhow::anyhow!("{FILE}:{line}: {what}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const HEAD: &str = "gap = 0x200000\nmanifest-offset = 0x100000\nboot-region = 0x1000000\n";

    /// The repository's own layout.
    pub(crate) fn plan() -> Plan {
        Plan::from_text(include_str!("../../../platform/image/layout.toml"), None).unwrap()
    }

    fn with(partitions: &[(&str, u64)]) -> Result<Plan> {
        let one = |(name, size): &(&str, u64)| {
            format!("[[partition]]\nname = \"{name}\"\nsize = {size}\nkind = \"k\"\n")
        };
        Plan::from_text(&(HEAD.to_owned() + &partitions.iter().map(one).collect::<String>()), None)
    }

    #[test]
    fn the_repository_layout_has_what_u_boot_and_the_first_process_look_for() {
        let plan = plan();
        for (name, fill) in
            [("boot-a", Some(Fill::Boot)), ("root-b", Some(Fill::Root)), ("tee", None), ("data", None)]
        {
            assert_eq!(plan.partition(name).unwrap().fills, fill);
        }
        assert!(
            plan.partitions
                .iter()
                .all(|part| part.start % ALIGNMENT == 0 && part.start >= plan.manifest + MANIFEST_ROOM)
        );
        assert!(plan.fits(Fill::Boot, "x", 32 << 20).is_ok());
        assert!(
            plan.fits(Fill::Boot, "x", (32 << 20) + 1)
                .unwrap_err()
                .to_string()
                .contains("partition boot-a has")
        );
    }

    #[test]
    fn bad_layouts_name_the_line() {
        assert_eq!(with(&[("a", 1 << 20)]).unwrap().size, (18 << 20) + (1 << 20) + TAIL);
        assert!(
            with(&[("a", 4097)])
                .unwrap_err()
                .to_string()
                .starts_with("platform/image/layout.toml:4: a: 0x1001")
        );
        assert!(with(&[("a", 1 << 20), ("a", 1 << 20)]).unwrap_err().to_string().contains("twice"));
        assert!(with(&[("a", 0)]).unwrap_err().to_string().contains("size 0x0"));
        assert!(
            Plan::from_text("gap = 1\nx = 2\n", None)
                .unwrap_err()
                .to_string()
                .starts_with("platform/image/layout.toml:2:")
        );
    }
}
