//! The `.timeindex` file of a segment: from which offset on records may be as late as a timestamp.
//!
//! ```text
//!   | timestamp (int64) | relative offset (int32) |  12 bytes an entry; timestamps rise, offsets never fall
//! ```
//!
//! An entry holds the largest timestamp up to its place, and the last offset of the batch that has it: no record before
//! that batch is later. Entries come together with those of the offset index, and one more when the segment is rolled
//! or closed, for which one place is kept free. Damaged files are built anew from the log.

use std::path::Path;

use ottla_base::{Offset, Timestamp};

use crate::entry_file::{Entry, EntryFile};
use crate::error::{Error, Result};
use crate::offset_index::relative;

/// Finds offsets by time in one segment.
#[derive(Debug)]
pub struct TimeIndex {
    base_offset: Offset,
    file: EntryFile<Relative>,
}

/// An entry with its offset made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The largest timestamp so far, or -1.
    pub timestamp: Timestamp,
    /// The last offset of the batch that has it, or the base offset of the segment.
    pub offset: Offset,
}

#[derive(Clone, Copy, Debug)]
struct Relative {
    timestamp: Timestamp,
    offset: u32,
}

impl Entry for Relative {
    const SIZE: usize = 12;

    fn decode(bytes: &[u8]) -> Self {
        let (timestamp, offset) = bytes.split_at(8);
        Self {
            timestamp: i64::from_be_bytes(timestamp.try_into().expect("an entry begins with 8 bytes of time")),
            offset: u32::from_be_bytes(offset.try_into().expect("an entry ends with 4 bytes of offset")),
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
    }
}

impl TimeIndex {
    /// Makes an empty index for appending, of at most `max_bytes`; one that exists is emptied.
    pub fn create(path: &Path, base_offset: Offset, max_bytes: u32) -> Result<Self> {
        Ok(Self { base_offset, file: EntryFile::create(path, max_bytes)? })
    }

    /// Opens an index that was trimmed. Only its length, its first and its last entry are looked at, so that a start stays short, as
    /// in Kafka's check of an index, which no start of Kafka's makes: what is wrong between them is believed.
    ///
    /// # Errors
    /// `Corrupt` if the index has to be built anew.
    pub fn open(path: &Path, base_offset: Offset, max_bytes: u32) -> Result<Self> {
        let (file, first) = EntryFile::<Relative>::open(path, max_bytes)?;
        match file.last() {
            Some(last) if first.is_some_and(|first| first.timestamp > last.timestamp) => {
                let timestamp = last.timestamp;
                Err(Error::corrupt(path, format!("the last timestamp, {timestamp}, is earlier than the first one")))
            }
            // A file that was not trimmed ends in zeros. One whole entry of zeros could be real: a record of 1970.
            Some(last) if last.timestamp < 0 || last.offset > i32::MAX as u32 || is_void(&last, file.count()) => {
                let Relative { timestamp, offset } = last;
                Err(Error::corrupt(path, format!("the last entry is timestamp {timestamp} at offset {offset}")))
            }
            _ => Ok(Self { base_offset, file }),
        }
    }

    /// Opens an index that was not trimmed, and trims it. All entries are looked at.
    ///
    /// # Errors
    /// `Corrupt` if they do not rise: it has to be built anew.
    pub(crate) fn reopen(path: &Path, base_offset: Offset, max_bytes: u32) -> Result<Self> {
        let is_void = |entry: &Relative| entry.timestamp == 0 && entry.offset == 0;
        let follows = |entry: &Relative, last: Option<&Relative>| {
            let (timestamp, offset) = last.map_or((-1, 0), |last| (last.timestamp, last.offset));
            entry.offset <= i32::MAX as u32 && entry.timestamp > timestamp && entry.offset >= offset
        };
        Ok(Self { base_offset, file: EntryFile::reopen(path, max_bytes, is_void, follows)? })
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

    /// Whether the segment must be rolled: only the place of the final entry is left.
    pub fn is_full(&self) -> bool {
        self.count() + 1 >= self.file.max_entries()
    }

    /// The last entry, or -1 at the base offset.
    pub fn last(&self) -> TimestampOffset {
        self.file.last().map_or(self.start(), |entry| self.absolute(entry))
    }

    /// Notes that the batch that ends with `offset` holds the largest timestamp so far. Nothing is written if the last
    /// entry is as late, and nothing if no entry fits any more: lookups then scan further, but stay right.
    ///
    /// # Errors
    /// `Corrupt` if a later timestamp has an earlier offset than the last entry: the log that is being read is damaged.
    pub fn maybe_append(&mut self, timestamp: Timestamp, offset: Offset) -> Result<()> {
        let last = self.last();
        if timestamp <= last.timestamp || self.count() >= self.file.max_entries() {
            return Ok(());
        }
        match relative(offset, self.base_offset) {
            Some(relative) if offset >= last.offset => self.file.push(Relative { timestamp, offset: relative }),
            _ => Err(self.out_of_order(TimestampOffset { timestamp, offset })),
        }
    }

    /// The entry with the greatest timestamp not above `timestamp`, or else -1 at the segment's start.
    pub fn lookup(&self, timestamp: Timestamp) -> Result<TimestampOffset> {
        let found = self.file.last_where(|entry| entry.timestamp <= timestamp)?;
        Ok(found.map_or(self.start(), |(_, entry)| self.absolute(entry)))
    }

    /// Removes the entries of `offset` and above.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<()> {
        let base_offset = self.base_offset;
        let kept = self.file.last_where(|entry| base_offset.plus(i64::from(entry.offset)) < offset)?;
        self.file.truncate(kept.map_or(0, |(index, _)| index + 1))
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// `Corrupt` if they are not in order.
    pub fn entries(&self) -> Result<Vec<TimestampOffset>> {
        let entries = self.file.all()?;
        for pair in entries.windows(2) {
            if pair[1].timestamp <= pair[0].timestamp || pair[1].offset < pair[0].offset {
                return Err(self.out_of_order(self.absolute(pair[1])));
            }
        }
        Ok(entries.into_iter().map(|entry| self.absolute(entry)).collect())
    }

    /// Makes the file as long as it may become, because its segment is appended to again.
    pub fn preallocate(&mut self) -> Result<()> {
        self.file.preallocate()
    }

    /// Writes the entries that wait in memory.
    pub(crate) fn write(&mut self) -> Result<()> {
        self.file.write_pending()
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

    fn start(&self) -> TimestampOffset {
        TimestampOffset { timestamp: -1, offset: self.base_offset }
    }

    fn absolute(&self, entry: Relative) -> TimestampOffset {
        TimestampOffset { timestamp: entry.timestamp, offset: self.base_offset.plus(i64::from(entry.offset)) }
    }

    fn out_of_order(&self, entry: TimestampOffset) -> Error {
        let (last, TimestampOffset { timestamp, offset }) = (self.last(), entry);
        let detail = format!(
            "timestamp {timestamp} at offset {offset} does not fit beside {} at {}",
            last.timestamp, last.offset
        );
        Error::corrupt(self.path(), detail)
    }
}

/// Whether the last entry is the zeros behind the entries of a file that was not trimmed.
fn is_void(last: &Relative, count: u32) -> bool {
    last.timestamp == 0 && last.offset == 0 && count > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(timestamp: i64, offset: i64) -> TimestampOffset {
        TimestampOffset { timestamp, offset: Offset(offset) }
    }

    fn in_folder() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000000000000000100.timeindex");
        (folder, path)
    }

    #[test]
    fn the_file_holds_rising_timestamps_and_keeps_a_place_for_the_final_one() {
        let (_folder, path) = in_folder();
        let mut index = TimeIndex::create(&path, Offset(100), 40).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 36]);
        assert_eq!(index.last(), entry(-1, 100));
        index.maybe_append(-1, Offset(100)).unwrap();
        index.maybe_append(1000, Offset(105)).unwrap();
        index.maybe_append(1000, Offset(106)).unwrap();
        index.maybe_append(999, Offset(107)).unwrap();
        assert!(!index.is_full());
        index.maybe_append(1001, Offset(108)).unwrap();
        assert!(index.is_full());
        index.maybe_append(0x0102_0304_0506, Offset(109)).unwrap();
        index.maybe_append(0x0102_0304_0507, Offset(110)).unwrap();
        index.trim().unwrap();
        let bytes = [
            [0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 5],
            [0, 0, 0, 0, 0, 0, 3, 233, 0, 0, 0, 8],
            [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 9],
        ];
        assert_eq!(std::fs::read(&path).unwrap(), bytes.concat());
        let index = TimeIndex::open(&path, Offset(100), 40).unwrap();
        assert_eq!(index.last(), entry(0x0102_0304_0506, 109));
    }

    #[test]
    fn an_index_that_was_not_trimmed_or_is_torn_is_built_anew() {
        let (_folder, path) = in_folder();
        let mut index = TimeIndex::create(&path, Offset(100), 10 * 1024).unwrap();
        index.maybe_append(5, Offset(110)).unwrap();
        assert!(matches!(index.maybe_append(6, Offset(109)), Err(Error::Corrupt { .. })));
        assert!(matches!(index.maybe_append(6, Offset(i64::MAX)), Err(Error::Corrupt { .. })));
        index.flush().unwrap();
        let garbage: [&[u8]; 3] = [&std::fs::read(&path).unwrap(), &[0; 11], &[255; 24]];
        for bytes in garbage {
            std::fs::write(&path, bytes).unwrap();
            let error = TimeIndex::open(&path, Offset(100), 10 * 1024).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        }
    }

    #[test]
    fn what_kafka_finds_wrong_is_built_anew_and_what_it_does_not_look_at_is_believed() {
        let cases = [
            ("whole", [(5_i64, 1_i32), (6, 4), (9, 7)], true),
            ("the last one earlier than the first", [(10, 1), (6, 4), (9, 7)], false),
            ("the last one before the base offset", [(5, 1), (6, 4), (9, -1)], false),
            ("the last one without a time", [(5, 1), (6, 4), (-1, 7)], false),
            ("a time in the middle", [(5, 1), (60, 4), (9, 7)], true),
            ("an offset in the middle", [(5, 1), (6, 40), (9, 7)], true),
        ];
        for (what, entries, is_believed) in cases {
            let (_folder, path) = in_folder();
            let bytes =
                entries.map(|(timestamp, offset)| [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()].concat());
            std::fs::write(&path, bytes.concat()).unwrap();
            let opened = TimeIndex::open(&path, Offset(100), 10 * 1024);
            assert_eq!(opened.is_ok(), is_believed, "{what}: {opened:?}");
            assert!(is_believed || matches!(opened, Err(Error::Corrupt { .. })), "{what}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn lookups_agree_with_a_plain_list(
            batches in prop::collection::vec((0..2000i64, 0..9i64), 0..900),
            keep in 0..5000i64,
            targets in prop::collection::vec(-5..2100i64, 30),
        ) {
            let (_folder, path) = in_folder();
            let mut index = TimeIndex::create(&path, Offset(100), 1 << 20).unwrap();
            let (mut model, mut offset): (Vec<TimestampOffset>, i64) = (Vec::new(), 100);
            for (timestamp, step) in batches {
                // Timestamps that wander upwards: not every one is an entry.
                let timestamp = timestamp / 2 + offset / 4;
                offset += step;
                index.maybe_append(timestamp, Offset(offset)).unwrap();
                if model.last().is_none_or(|last| timestamp > last.timestamp) {
                    model.push(entry(timestamp, offset));
                }
            }
            index.truncate_to(Offset(keep)).unwrap();
            model.retain(|entry| entry.offset.0 < keep);
            prop_assert_eq!(&index.entries().unwrap(), &model);
            index.trim().unwrap();
            let index = TimeIndex::open(&path, Offset(100), 1 << 20).unwrap();
            for target in targets {
                let expected = model.iter().rfind(|entry| entry.timestamp <= target);
                prop_assert_eq!(index.lookup(target).unwrap(), expected.copied().unwrap_or(entry(-1, 100)));
            }
        }
    }
}
