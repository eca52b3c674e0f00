//! The `.index` file of a segment: where in the `.log` file an offset is to be looked for.
//!
//! ```text
//!   | relative offset (int32) | position (int32) |  8 bytes an entry, both rising
//! ```
//!
//! An entry names the *last* offset of a batch, relative to the segment's base offset, and the position where that
//! batch begins. Not every batch has one: about one in `index.interval.bytes` does, and the reader scans on from there.
//! The file has no checksum; where it is missing or senseless it is built anew from the log.

use std::path::Path;

use ottla_base::Offset;

use crate::entry_file::{Entry, EntryFile};
use crate::error::{Error, Result};

/// Finds positions in one segment's log.
#[derive(Debug)]
pub struct OffsetIndex {
    base_offset: Offset,
    file: EntryFile<Relative>,
}

/// A batch's place: an entry with its offset made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetPosition {
    /// The last offset of the batch, or the base offset of the segment.
    pub offset: Offset,
    /// Where the batch begins in the log file.
    pub position: u32,
}

#[derive(Clone, Copy, Debug)]
struct Relative {
    offset: u32,
    position: u32,
}

impl Entry for Relative {
    const SIZE: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        let bytes: [u8; Self::SIZE] = bytes.try_into().expect("an entry has 8 bytes");
        let both = u64::from_be_bytes(bytes);
        Self { offset: (both >> 32) as u32, position: both as u32 }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }
}

impl OffsetIndex {
    /// Makes an empty index for appending, of at most `max_bytes`; one that exists is emptied.
    pub fn create(path: &Path, base_offset: Offset, max_bytes: u32) -> Result<Self> {
        Ok(Self { base_offset, file: EntryFile::create(path, max_bytes)? })
    }

    /// Opens an index that was trimmed. Only its length and last entry are looked at, so that a start stays short:
    /// one that was not trimmed ends in zeros and is found out by them.
    ///
    /// # Errors
    /// `Corrupt` if the index has to be built anew.
    pub fn open(path: &Path, base_offset: Offset, max_bytes: u32) -> Result<Self> {
        let (file, _) = EntryFile::<Relative>::open(path, max_bytes)?;
        match file.last() {
            Some(last) if last.offset == 0 || last.offset > i32::MAX as u32 || last.position > i32::MAX as u32 => {
                let Relative { offset, position } = last;
                Err(Error::corrupt(path, format!("the last entry is {offset} at position {position}")))
            }
            _ => Ok(Self { base_offset, file }),
        }
    }

    /// Opens an index that was not trimmed, and trims it. All entries are looked at.
    ///
    /// # Errors
    /// `Corrupt` if they do not rise: it has to be built anew.
    pub(crate) fn reopen(path: &Path, base_offset: Offset, max_bytes: u32) -> Result<Self> {
        let is_void = |entry: &Relative| entry.offset == 0 && entry.position == 0;
        let follows = |entry: &Relative, last: Option<&Relative>| {
            let (offset, position) = last.map_or((0, 0), |last| (last.offset, last.position));
            let fits = entry.offset <= i32::MAX as u32 && entry.position <= i32::MAX as u32;
            fits && entry.offset > offset && entry.position > position
        };
        Ok(Self { base_offset, file: EntryFile::reopen(path, max_bytes, is_void, follows)? })
    }

    /// The base offset of the segment.
    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Takes another limit. The entries that are there stay.
    pub fn set_max_bytes(&mut self, max_bytes: u32) {
        self.file.set_max_bytes(max_bytes);
    }

    /// Where the index lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// How many entries there are.
    pub fn count(&self) -> u32 {
        self.file.count()
    }

    /// Whether the segment must be rolled, because no further entry fits.
    pub fn is_full(&self) -> bool {
        self.count() >= self.file.max_entries()
    }

    /// Whether the next entry has those written that wait in memory.
    pub(crate) fn is_write_due(&self) -> bool {
        self.file.is_write_due()
    }

    /// The last entry, or the base offset at position 0.
    pub fn last(&self) -> OffsetPosition {
        self.file.last().map_or(self.start(), |entry| self.absolute(entry))
    }

    /// Notes that the batch with `last_offset` begins at `position`. An entry that says nothing (the base offset) or
    /// that does not fit any more is left out: lookups then scan further, but stay right.
    ///
    /// # Errors
    /// `Corrupt` if the entry does not follow the last one: the log that is being read is damaged.
    pub fn append(&mut self, last_offset: Offset, position: u32) -> Result<()> {
        let relative = relative(last_offset, self.base_offset)
            .filter(|_| position <= i32::MAX as u32)
            .ok_or_else(|| self.out_of_order(last_offset, position))?;
        if relative == 0 || self.is_full() {
            return Ok(());
        }
        if self.file.last().is_some_and(|last| relative <= last.offset || position <= last.position) {
            return Err(self.out_of_order(last_offset, position));
        }
        self.file.push(Relative { offset: relative, position })
    }

    /// The place from which a scan finds the batch that holds `offset`: the entry with the greatest offset not above
    /// it, or else the segment's start.
    pub fn lookup(&self, offset: Offset) -> Result<OffsetPosition> {
        let found = self.file.last_where(|entry| self.absolute(*entry).offset <= offset)?;
        Ok(found.map_or(self.start(), |(_, entry)| self.absolute(entry)))
    }

    /// An offset behind all batches that begin before `position`, and not far behind: that of the first entry of a batch that
    /// begins there or later. `None` if no entry does.
    pub fn bound_of(&self, position: u32) -> Result<Option<Offset>> {
        let before = self.file.last_where(|entry| entry.position < position)?;
        let next = self.file.get(before.map_or(0, |(number, _)| number + 1))?;
        Ok(next.map(|entry| self.absolute(entry).offset))
    }

    /// Removes the entries of `offset` and above.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<()> {
        let base_offset = self.base_offset;
        let kept = self.file.last_where(|entry| base_offset.plus(i64::from(entry.offset)) < offset)?;
        self.file.truncate(kept.map_or(0, |(index, _)| index + 1))
    }

    /// Removes the entries of batches that begin at `position` or behind.
    pub(crate) fn truncate_behind(&mut self, position: u32) -> Result<()> {
        let kept = self.file.last_where(|entry| entry.position < position)?;
        self.file.truncate(kept.map_or(0, |(index, _)| index + 1))
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// `Corrupt` if they are not in order.
    pub fn entries(&self) -> Result<Vec<OffsetPosition>> {
        let entries = self.file.all()?;
        for pair in entries.windows(2) {
            if pair[1].offset <= pair[0].offset || pair[1].position <= pair[0].position {
                let next = self.absolute(pair[1]);
                return Err(self.out_of_order(next.offset, next.position));
            }
        }
        Ok(entries.into_iter().map(|entry| self.absolute(entry)).collect())
    }

    /// Makes the file as long as it may become, because its segment is appended to again.
    pub fn preallocate(&mut self) -> Result<()> {
        self.file.preallocate()
    }

    /// Cuts the file behind its last entry: when the segment is rolled or closed.
    pub fn trim(&mut self) -> Result<()> {
        self.file.trim()
    }

    /// Returns when all entries are on the disk. The folder is not flushed: who made the file does that.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }

    /// Renames the file.
    pub fn rename(&mut self, to: &Path) -> Result<()> {
        self.file.rename(to)
    }

    /// Notes the new path after the folder was renamed.
    pub fn moved(&mut self, to: &Path) {
        self.file.moved(to);
    }

    fn start(&self) -> OffsetPosition {
        OffsetPosition { offset: self.base_offset, position: 0 }
    }

    fn absolute(&self, entry: Relative) -> OffsetPosition {
        OffsetPosition { offset: self.base_offset.plus(i64::from(entry.offset)), position: entry.position }
    }

    fn out_of_order(&self, offset: Offset, position: u32) -> Error {
        let last = self.last();
        let detail =
            format!("offset {offset} at position {position} does not follow {} at {}", last.offset, last.position);
        Error::corrupt(self.path(), detail)
    }
}

/// `offset` counted from `base`, if an index can hold it.
pub(crate) fn relative(offset: Offset, base: Offset) -> Option<u32> {
    let distance = offset.0.checked_sub(base.0)?;
    i32::try_from(distance).ok().and_then(|distance| u32::try_from(distance).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX_BYTES: u32 = 10 * 1024;

    fn place(offset: i64, position: u32) -> OffsetPosition {
        OffsetPosition { offset: Offset(offset), position }
    }

    fn in_folder() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000000000000000100.index");
        (folder, path)
    }

    #[test]
    fn the_file_holds_relative_offsets_and_positions_and_is_as_long_as_it_may_become() {
        let (_folder, path) = in_folder();
        let mut index = OffsetIndex::create(&path, Offset(100), 33).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 32]);
        index.append(Offset(107), 4200).unwrap();
        index.append(Offset(300), 9000).unwrap();
        index.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), 32);
        index.trim().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0, 0, 0, 7, 0, 0, 16, 104, 0, 0, 0, 200, 0, 0, 35, 40]);

        let mut index = OffsetIndex::open(&path, Offset(100), 33).unwrap();
        assert_eq!(index.entries().unwrap(), [place(107, 4200), place(300, 9000)]);
        index.preallocate().unwrap();
        index.append(Offset(301), 9001).unwrap();
        assert!(!index.is_full());
        index.append(Offset(302), 9002).unwrap();
        assert!(index.is_full());
        index.append(Offset(303), 9003).unwrap();
        assert_eq!((index.count(), index.last()), (4, place(302, 9002)), "an entry too many is left out");
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let (_folder, path) = in_folder();
        let mut index = OffsetIndex::create(&path, Offset(100), MAX_BYTES).unwrap();
        index.append(Offset(100), 0).unwrap();
        assert_eq!(index.count(), 0, "the base offset needs no entry");
        index.append(Offset(110), 5000).unwrap();
        for (offset, position) in [(110, 6000), (99, 6000), (111, 5000), (i64::MAX, 6000), (100 + (1 << 31), 6000)] {
            let error = index.append(Offset(offset), position).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{offset} {position}: {error}");
        }
        index.append(Offset(99 + (1 << 31)), i32::MAX as u32).unwrap();
    }

    #[test]
    fn an_index_that_was_not_trimmed_or_is_torn_is_built_anew() {
        let (_folder, path) = in_folder();
        let mut index = OffsetIndex::create(&path, Offset(100), MAX_BYTES).unwrap();
        index.append(Offset(110), 5000).unwrap();
        index.flush().unwrap();
        let garbage: [&[u8]; 3] = [&std::fs::read(&path).unwrap(), &[0, 0, 0, 1, 0, 0, 1], &[255; 16]];
        for bytes in garbage {
            std::fs::write(&path, bytes).unwrap();
            let error = OffsetIndex::open(&path, Offset(100), MAX_BYTES).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        }
        std::fs::write(&path, [0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9]).unwrap();
        let index = OffsetIndex::open(&path, Offset(100), MAX_BYTES).unwrap();
        assert!(matches!(index.entries(), Err(Error::Corrupt { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(OffsetIndex::open(&path, Offset(100), MAX_BYTES), Err(Error::Io { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a plain list: steps between entries, where to truncate, when to write out, what to ask.
        #[test]
        fn lookups_agree_with_a_plain_list(
            rounds in prop::collection::vec((prop::collection::vec(1..50i64, 0..700), 0..40_000i64, 0..4u8), 1..4),
            targets in prop::collection::vec(0..60_000i64, 30),
        ) {
            let (_folder, path) = in_folder();
            let mut index = OffsetIndex::create(&path, Offset(100), 1 << 20).unwrap();
            let mut model: Vec<OffsetPosition> = Vec::new();
            for (steps, keep, then) in rounds {
                for step in steps {
                    let last = model.last().copied().unwrap_or(place(100, 0));
                    let next = place(last.offset.0 + step, last.position + step as u32 * 100);
                    index.append(next.offset, next.position).unwrap();
                    model.push(next);
                }
                match then {
                    0 => {
                        index.truncate_to(Offset(keep)).unwrap();
                        model.retain(|entry| entry.offset.0 < keep);
                    }
                    1 => index.flush().unwrap(),
                    2 => {
                        index.trim().unwrap();
                        index = OffsetIndex::open(&path, Offset(100), 1 << 20).unwrap();
                    }
                    _ => {}
                }
                prop_assert_eq!(&index.entries().unwrap(), &model);
                for &target in &targets {
                    let expected = model.iter().rfind(|entry| entry.offset.0 <= target);
                    prop_assert_eq!(index.lookup(Offset(target)).unwrap(), expected.copied().unwrap_or(place(100, 0)));
                }
            }
        }
    }
}
