//! A disk with a volatile write cache, as one that loses its power has it.
//!
//! What was written is in the cache until the next flush. When the power is cut, each sector in the cache made it to the
//! disk or did not, in any combination, the sectors of a write under way among them. That is what the storage interfaces
//! allow, and more than most disks do: somebody who relies on more than a flush is found out.

use trustbox_test::random::Random;

/// What is written as a whole or not at all.
const SECTOR: usize = 512;

/// The disk. Time, for a cut, is counted in the writes and flushes that reach it.
pub(crate) struct Disk {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// First byte of each sector that is in the cache only.
    cached: std::collections::BTreeSet<usize>,
    done: u64,
    cut_at: Option<u64>,
    random: Random,
}

/// The power is gone; the disk answers no more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut;

impl Disk {
    /// A disk with this content, all of it durable.
    pub(crate) fn new(content: Vec<u8>, random: Random) -> Self {
        Self {
            current: content.clone(),
            durable: content,
            cached: Default::default(),
            done: 0,
            cut_at: None,
            random,
        }
    }

    /// Bytes.
    pub(crate) fn size(&self) -> usize {
        self.current.len()
    }

    /// Writes and flushes so far.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Cuts the power in the middle of the write or flush number `after` from now; 1 is the next one.
    pub(crate) fn arm(&mut self, after: u64) {
        self.cut_at = Some(self.done + after);
    }

    /// Whether an armed cut has come.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut_at.is_some_and(|at| self.done >= at)
    }

    /// Reads, from the cache too.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let offset = usize::try_from(offset).ok()?;
        self.current.get(offset..offset.checked_add(length)?)
    }

    /// Writes to the cache; `None` where that is outside the disk.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Option<Result<(), Cut>> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(data.len())?;
        self.current.get_mut(offset..end)?.copy_from_slice(data);
        self.cached.extend((offset / SECTOR..end.div_ceil(SECTOR)).map(|sector| sector * SECTOR));
        Some(self.count())
    }

    /// Makes everything durable.
    pub(crate) fn flush(&mut self) -> Result<(), Cut> {
        self.count()?;
        let Self { durable, current, cached, .. } = self;
        for at in std::mem::take(cached) {
            copy_sector(durable, current, at);
        }
        Ok(())
    }

    /// What is on the disk after the power was cut now.
    pub(crate) fn after_cut(&mut self) -> Vec<u8> {
        let mut content = self.durable.clone();
        for at in &self.cached {
            if self.random.below(2) == 0 {
                copy_sector(&mut content, &self.current, *at);
            }
        }
        content
    }

    fn count(&mut self) -> Result<(), Cut> {
        self.done += 1;
        if self.is_cut() { Err(Cut) } else { Ok(()) }
    }
}

fn copy_sector(to: &mut [u8], from: &[u8], at: usize) {
    let end = (at + SECTOR).min(from.len());
    to[at..end].copy_from_slice(&from[at..end]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        Disk::new(vec![0; 16 * SECTOR], Random::new(1))
    }

    #[test]
    fn what_was_flushed_survives_a_cut() {
        let mut disk = disk();
        disk.write(0, &[7; 2 * SECTOR]).unwrap().unwrap();
        disk.flush().unwrap();
        assert!(disk.after_cut()[..2 * SECTOR].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn what_was_not_flushed_may_be_lost_sector_by_sector() {
        let mut disk = disk();
        disk.write(0, &[7; 16 * SECTOR]).unwrap().unwrap();
        assert_eq!(disk.read(0, 1), Some(&[7][..]));
        let after = disk.after_cut();
        let kept = after.chunks(SECTOR).filter(|sector| **sector == [7; SECTOR]).count();
        let lost = after.chunks(SECTOR).filter(|sector| **sector == [0; SECTOR]).count();
        assert!(kept + lost == 16 && kept > 0 && lost > 0, "{kept} kept, {lost} lost");
    }

    #[test]
    fn a_cut_comes_at_its_write() {
        let mut disk = disk();
        disk.write(0, &[1]).unwrap().unwrap();
        disk.arm(2);
        assert_eq!(disk.flush(), Ok(()));
        assert!(!disk.is_cut());
        assert_eq!(disk.write(512, &[2]), Some(Err(Cut)));
        assert!(disk.is_cut());
        assert_eq!(disk.flush(), Err(Cut));
    }

    #[test]
    fn nothing_is_outside() {
        let mut disk = disk();
        let size = disk.size() as u64;
        assert_eq!(disk.write(size, &[1]), None);
        assert_eq!(disk.write(u64::MAX, &[1]), None);
        assert_eq!(disk.read(size - 1, 2), None);
        assert_eq!(disk.done(), 0);
    }
}
