//! Memory and flash maps: named ranges in banks or media, apart, aligned and inside. Checked before anything is built.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

/// What is wrong, and where in the board's text.
pub(crate) type Complaint = (Range<usize>, String);

/// Page size of the MMU and of the address space controller.
const PAGE: u64 = 0x1000;
/// Octets of a block of every medium.
const BLOCK: u64 = 0x200;

/// Where things are in the physical address space.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Memory {
    /// Where U-Boot is put and started; it is gone once Linux runs.
    pub(crate) u_boot: Spanned<u64>,
    #[serde(rename = "bank")]
    pub(crate) banks: Vec<Spanned<Bank>>,
    #[serde(rename = "region")]
    pub(crate) regions: Vec<Spanned<Region>>,
}

/// Memory of one kind that answers at consecutive addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bank {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// A part of a bank with one use.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) world: World,
}

/// Who may touch a region.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum World {
    /// The boot ROM, before there are worlds.
    Rom,
    /// The secure world only.
    Secure,
    /// Linux.
    Normal,
    /// Both.
    Shared,
}

impl World {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rom => "rom",
            Self::Secure => "secure",
            Self::Normal => "normal",
            Self::Shared => "shared",
        }
    }
}

/// A named part of a medium.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlashRegion {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// A named range of octets.
pub(crate) trait Extent {
    fn name(&self) -> &str;
    fn start(&self) -> u64;
    fn size(&self) -> u64;

    /// The first octet behind it. Sums that overflow were refused by [`check`].
    fn end(&self) -> u64 {
        self.start().saturating_add(self.size())
    }

    /// Name and range, for messages.
    fn shown(&self) -> String {
        format!("{} 0x{:x}..0x{:x}", self.name(), self.start(), self.end())
    }
}

macro_rules! extent {
    ($($kind:ty),*) => {$(
        impl Extent for $kind {
            fn name(&self) -> &str {
                &self.name
            }
            fn start(&self) -> u64 {
                self.start
            }
            fn size(&self) -> u64 {
                self.size
            }
        }
    )*};
}
extent!(Bank, Region, FlashRegion);

impl Memory {
    /// The first thing that is wrong.
    pub(crate) fn complaint(&self) -> Option<Complaint> {
        check(&self.banks, PAGE)
            .or_else(|| check(&self.regions, PAGE))
            .or_else(|| self.regions.iter().find_map(|region| self.homeless(region)))
            .or_else(|| self.u_boot_complaint())
    }

    /// The region of a name.
    pub(crate) fn region(&self, name: &str) -> Option<&Region> {
        self.regions.iter().map(Spanned::get_ref).find(|region| region.name == name)
    }

    fn homeless(&self, region: &Spanned<Region>) -> Option<Complaint> {
        let part = region.get_ref();
        let inside = |bank: &Bank| bank.start <= part.start && part.end() <= bank.end();
        if self.banks.iter().any(|bank| inside(bank.get_ref())) {
            return None;
        }
        let banks: Vec<_> = self.banks.iter().map(|bank| bank.get_ref().shown()).collect();
        let what = format!("region {} is in no bank\nhelp: banks are {}", part.shown(), banks.join(", "));
        Some((region.span(), what))
    }

    fn u_boot_complaint(&self) -> Option<Complaint> {
        let at = *self.u_boot.get_ref();
        let normal = self.regions.iter().map(Spanned::get_ref).filter(|region| region.world == World::Normal);
        let mut normal = normal.map(|region| (region.start..region.end()).contains(&at));
        let what = format!("u-boot at 0x{at:x} is in no region of the normal world");
        (!normal.any(|inside| inside)).then(|| (self.u_boot.span(), what))
    }
}

/// The first thing that is wrong with the regions of a medium of `size` octets.
pub(crate) fn flash_complaint(regions: &[Spanned<FlashRegion>], size: u64) -> Option<Complaint> {
    let outside = |region: &Spanned<FlashRegion>| {
        let part = region.get_ref();
        let what = format!("region {} ends behind the medium's 0x{size:x} octets", part.shown());
        (part.end() > size).then(|| (region.span(), what))
    };
    check(regions, BLOCK).or_else(|| regions.iter().find_map(outside))
}

/// Sizes, alignment, names, overlaps: of the second of two that disturb each other.
fn check<T: Extent>(parts: &[Spanned<T>], alignment: u64) -> Option<Complaint> {
    parts.iter().enumerate().find_map(|(number, part)| {
        let what = alone(part.get_ref(), alignment)
            .or_else(|| parts[..number].iter().find_map(|other| together(other.get_ref(), part.get_ref())));
        what.map(|what| (part.span(), what))
    })
}

fn alone<T: Extent>(part: &T, alignment: u64) -> Option<String> {
    if part.size() == 0 || part.start().checked_add(part.size()).is_none() {
        return Some(format!("{} has size 0x{:x} from 0x{:x}", part.name(), part.size(), part.start()));
    }
    let odd = [part.start(), part.size()].into_iter().find(|number| number % alignment != 0)?;
    Some(format!("{}: 0x{odd:x} is no multiple of 0x{alignment:x}", part.name()))
}

fn together<T: Extent>(first: &T, second: &T) -> Option<String> {
    if first.name() == second.name() {
        return Some(format!("name {} is there twice", first.name()));
    }
    let apart = first.end() <= second.start() || second.end() <= first.start();
    (!apart).then(|| format!("{} overlaps {}", second.shown(), first.shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flash(parts: &[(&str, u64, u64)]) -> Vec<Spanned<FlashRegion>> {
        let region = |(name, start, size): &(&str, u64, u64)| FlashRegion {
            name: (*name).to_owned(),
            start: *start,
            size: *size,
        };
        parts.iter().map(|part| Spanned::new(0..1, region(part))).collect()
    }

    fn complaint(parts: &[(&str, u64, u64)]) -> String {
        flash_complaint(&flash(parts), 0x10000).map(|found| found.1).unwrap_or_default()
    }

    #[test]
    fn neighbours_are_apart() {
        assert_eq!(complaint(&[("a", 0, 0x200), ("b", 0x200, 0x200), ("c", 0xfe00, 0x200)]), "");
    }

    #[test]
    fn messages_name_both_ranges() {
        let overlap = complaint(&[("a", 0, 0x400), ("b", 0x200, 0x400)]);
        assert_eq!(overlap, "b 0x200..0x600 overlaps a 0x0..0x400");
        assert!(complaint(&[("a", 0x200, 0x200), ("a", 0x600, 0x200)]).contains("twice"));
        assert!(complaint(&[("a", 0x100, 0x200)]).contains("0x100 is no multiple of 0x200"));
        assert!(complaint(&[("a", 0, 0)]).contains("size 0x0"));
        assert!(complaint(&[("a", u64::MAX - 0x1ff, 0x200)]).contains("size"));
        assert!(complaint(&[("a", 0xfe00, 0x400)]).contains("behind the medium's 0x10000"));
    }
}
