//! Whether the metadata log may be opened at all: opening cuts off whatever follows a batch that is not whole.
//!
//! ```text
//!   | 0 whole | 5 whole | 6 begun             a kill or a power cut: what was not acknowledged goes
//!   | 0 whole | 5 ####  | 6 whole             damage: what follows was acknowledged, and topics would vanish with it
//!   | 0 whole | 9 whole | 6 whole             damage as well: no CRC covers offset and epoch, but offsets follow each other
//! ```
//!
//! Every append is on the disk before it is answered, so only the very end can honestly be torn.

use std::fs::File;
use std::path::{Path, PathBuf};

use ottla_base::{LeaderEpoch, Offset};
use ottla_protocol::records::batch::{Batches, HEADER_BYTES};
use ottla_protocol::records::{Batch, BatchHeader};
use ottla_storage::{os, read_file};

use super::snapshot::{self, BATCH_BYTES_MAX};
use crate::error::{Error, Result};

/// So much of a segment is read at once; more, where a batch is larger.
const READ_BYTES: usize = 1 << 20;

/// A longer log holds more than epochs, even after thousands of starts.
const EPOCHS_BYTES_MAX: u64 = 1 << 20;

/// From where to where a log reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The offset of its first record.
    pub start: Offset,
    /// The offset after its last whole batch.
    pub end: Offset,
}

/// What a segment holds in front of its torn end, or of its damage.
struct Walked {
    end: Offset,
    epoch: LeaderEpoch,
    /// Where the first batch lies that is not as it must be, and why.
    stopped: Option<(u64, Stopped)>,
}

enum Stopped {
    /// It is no batch, or its CRC is wrong.
    NotWhole,
    /// It is whole, but not the one that belongs there.
    OutOfPlace(String),
}

/// Fails where the log in `folder` is damaged in front of its end. `None` where there is no log.
pub fn check(folder: &Path) -> Result<Option<Extent>> {
    check_in_steps(folder, READ_BYTES)
}

fn check_in_steps(folder: &Path, read_bytes: usize) -> Result<Option<Extent>> {
    let segments = segments(folder)?;
    let Some(&(start, _)) = segments.first() else { return Ok(None) };
    let last = segments.len() - 1;
    let (mut end, mut epoch, mut has_batches) = (start, LeaderEpoch::NONE, false);
    for (place, (base, path)) in segments.iter().enumerate() {
        let damaged = |position, detail| Err(Error::DamagedMetadata { path: path.clone(), position, detail });
        let mut segment = Window::open(path, read_bytes)?;
        // What opens the log reads from the disk alone, and cuts off what is not there.
        os::forget_cached(&segment.file).map_err(|source| Error::read(path, source))?;
        // A roll that failed half way leaves an empty segment, and the one before it goes on.
        if segment.length == 0 && (place < last || *base < end) {
            continue;
        }
        if *base != end && has_batches {
            return damaged(0, format!("the segment does not follow the one before it, which ends at offset {end}"));
        }
        let walked = walk(&mut segment, *base, epoch)?;
        (end, epoch, has_batches) = (walked.end, walked.epoch, true);
        match walked.stopped {
            Some((position, Stopped::OutOfPlace(detail))) => return damaged(position, detail),
            Some((position, Stopped::NotWhole)) if place < last || !is_torn_end(&mut segment, position)? => {
                return damaged(position, "the batch is not whole, and whole ones follow it".to_owned());
            }
            _ => {}
        }
    }
    Ok(Some(Extent { start, end }))
}

/// Whether anything was ever decided in the log in `folder`. A start that was refused may have begun an epoch there, and no more.
pub fn says_anything(folder: &Path) -> Result<bool> {
    let is_there = os::exists(folder).map_err(|source| Error::read(folder, source))?;
    if !is_there {
        return Ok(false);
    }
    // The one that it was formatted with holds features, and nothing else.
    if snapshot::newest(folder)?.is_some_and(|snapshot| snapshot.end > Offset(0)) {
        return Ok(true);
    }
    for (_, path) in segments(folder)? {
        if Window::open(&path, 0)?.length > EPOCHS_BYTES_MAX {
            return Ok(true);
        }
        let bytes = read_file(&path)?.unwrap_or_default();
        let is_epoch = |batch: Batch<'_>| batch.header().attributes.is_control();
        if !Batches::new(&bytes).all(|batch| batch.is_ok_and(is_epoch)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The segments, in order.
fn segments(folder: &Path) -> Result<Vec<(Offset, PathBuf)>> {
    let entries = os::list(folder).map_err(|source| Error::read(folder, source))?;
    let segment = |name: &str| Some((Offset(name.strip_suffix(".log")?.parse().ok()?), folder.join(name)));
    let mut segments: Vec<_> = entries.iter().filter_map(|entry| segment(&entry.name)).collect();
    segments.sort();
    Ok(segments)
}

/// Goes from batch to batch: each begins where the one before it ended, in the same epoch or a later one.
fn walk(segment: &mut Window<'_>, base: Offset, epoch: LeaderEpoch) -> Result<Walked> {
    let mut walked = Walked { end: base, epoch, stopped: None };
    let mut position = 0;
    while position < segment.length {
        let Some(header) = segment.whole_batch(position)? else {
            walked.stopped = Some((position, Stopped::NotWhole));
            break;
        };
        let (offset, epoch) = (header.base_offset, header.partition_leader_epoch);
        if offset != walked.end || epoch < walked.epoch {
            let detail = format!(
                "a batch of offset {offset} and epoch {epoch} stands where offset {} and at least epoch {} follow",
                walked.end, walked.epoch
            );
            walked.stopped = Some((position, Stopped::OutOfPlace(detail)));
            break;
        }
        (walked.end, walked.epoch) = (header.next_offset(), epoch);
        position += header.size_bytes() as u64;
    }
    Ok(walked)
}

/// Whether what is there from `position` on may be what a last append left that did not get to its end: no whole batch comes
/// after its begin.
fn is_torn_end(segment: &mut Window<'_>, position: u64) -> Result<bool> {
    for position in position + 1..segment.length {
        if segment.whole_batch(position)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A piece of a segment, that moves from its beginning to its end: a log that was taken over from Kafka may have segments of a
/// gigabyte.
struct Window<'p> {
    path: &'p Path,
    file: File,
    length: u64,
    /// What is read of it, from this position on.
    start: u64,
    bytes: Vec<u8>,
    read_bytes: usize,
}

impl<'p> Window<'p> {
    fn open(path: &'p Path, read_bytes: usize) -> Result<Self> {
        let io = |source| Error::read(path, source);
        let file = os::open_read_only(path).map_err(io)?;
        let length = os::length(&file).map_err(io)?;
        Ok(Self { path, file, length, start: 0, bytes: Vec::new(), read_bytes })
    }

    /// The header of the batch at `position`, if that is whole; no later `position` lies before it.
    fn whole_batch(&mut self, position: u64) -> Result<Option<BatchHeader>> {
        let Ok(header) = BatchHeader::parse(self.at(position, HEADER_BYTES)?) else { return Ok(None) };
        let size_bytes = header.size_bytes();
        if size_bytes as u64 > BATCH_BYTES_MAX.min(self.length - position) {
            return Ok(None);
        }
        let parsed = Batch::parse(self.at(position, size_bytes)?);
        Ok(parsed.is_ok_and(|(batch, _)| batch.is_crc_valid()).then_some(header))
    }

    /// So many bytes from `position` on, or what is left.
    fn at(&mut self, position: u64, count: usize) -> Result<&[u8]> {
        let left = |bytes: usize| bytes.min(usize::try_from(self.length - position).unwrap_or(usize::MAX));
        let (count, with_next) = (left(count), left(count + self.read_bytes));
        let mut from = usize::try_from(position - self.start).expect("the window has moved from byte to byte");
        if from + count > self.bytes.len() {
            self.bytes.drain(..from.min(self.bytes.len()));
            (self.start, from) = (position, 0);
            let kept = self.bytes.len();
            self.bytes.resize(with_next, 0);
            os::read_exact_at(&self.file, &mut self.bytes[kept..], position + kept as u64)
                .map_err(|source| Error::read(self.path, source))?;
        }
        Ok(&self.bytes[from..from + count])
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ottla_protocol::records::BatchBuilder;

    use super::*;

    /// Batches of one record each, with these offsets.
    fn batches(offsets: std::ops::Range<i64>) -> Vec<u8> {
        let batch = |offset| {
            let mut builder = BatchBuilder::new().base_offset(Offset(offset)).leader_epoch(LeaderEpoch(3));
            builder.push(1, None, Some(b"a record of the metadata"), &[]);
            builder.build().expect("there is memory")
        };
        offsets.flat_map(batch).collect()
    }

    fn extent(segments: &[(i64, &[u8])]) -> Result<Option<Extent>> {
        let folder = tempfile::tempdir().expect("a folder");
        for (base, bytes) in segments {
            fs::write(folder.path().join(format!("{base:020}.log")), bytes).expect("the folder is ours");
        }
        let checked = check(folder.path());
        let in_small_steps = check_in_steps(folder.path(), 7);
        assert_eq!(checked.as_ref().ok(), in_small_steps.as_ref().ok(), "however much is read at once");
        checked
    }

    /// From where to where the log reaches, if it is not damaged.
    fn checked(segments: &[(i64, &[u8])]) -> Option<(i64, i64)> {
        extent(segments).ok().flatten().map(|extent| (extent.start.0, extent.end.0))
    }

    #[test]
    fn a_torn_end_is_no_damage() {
        let (two, one, third) = (batches(0..2), batches(0..1), batches(2..3));
        assert_eq!(extent(&[]).expect("nothing is wrong"), None);
        assert_eq!(checked(&[(0, b"")]), Some((0, 0)));
        assert_eq!(checked(&[(7, b"")]), Some((7, 7)));
        assert_eq!(checked(&[(0, &two), (2, &third)]), Some((0, 3)));
        for length in one.len()..two.len() {
            assert_eq!(checked(&[(0, &two[..length])]), Some((0, 1)), "cut at {length}");
        }
        assert_eq!(checked(&[(0, &[&two[..], &[0; 500]].concat())]), Some((0, 2)), "room that was never written");
        let mut half_written = two.clone();
        half_written[one.len() + 70..].fill(0);
        assert_eq!(checked(&[(0, &half_written)]), Some((0, 1)), "the length came to the disk, the rest did not");
        assert_eq!(checked(&[(0, &two), (1, b"")]), Some((0, 2)), "a roll that failed half way");
        assert_eq!(checked(&[(0, &two), (1, b""), (2, &third)]), Some((0, 3)), "and the next one did not");
    }

    #[test]
    fn a_flipped_bit_before_the_end_is() {
        let (three, one, fourth) = (batches(0..3), batches(0..1), batches(3..4));
        for position in 0..one.len() * 2 {
            for bit in 0..8 {
                let mut damaged = three.clone();
                damaged[position] ^= 1 << bit;
                // The epoch of the very first batch may be any that is not later than the next one's.
                let is_unknown = (12..16).contains(&position)
                    && (0..=3).contains(&i32::from_be_bytes(damaged[12..16].try_into().expect("four bytes")));
                let expected = is_unknown.then_some((0, 3));
                assert_eq!(checked(&[(0, &damaged)]), expected, "bit {bit} at {position}");
                let expected = expected.map(|_| (0, 4));
                let two = [(0, &damaged[..]), (3, &fourth[..])];
                assert_eq!(checked(&two), expected, "bit {bit} at {position} of the first segment");
            }
        }
        assert_eq!(checked(&[(0, &three[..three.len() - 1]), (3, &fourth)]), None, "only the last segment may be torn");
    }

    #[test]
    fn a_segment_that_is_missing_or_cut_short_is() {
        let (first, second, third) = (batches(0..2), batches(2..4), batches(4..5));
        assert_eq!(checked(&[(2, &second), (4, &third)]), Some((2, 5)), "old segments go");
        assert_eq!(checked(&[(0, &first), (4, &third)]), None);
        assert_eq!(checked(&[(0, &first), (4, b"")]), None);
        assert_eq!(checked(&[(0, &first[..first.len() / 2]), (2, &second)]), None);
        assert_eq!(checked(&[(1, &first)]), None, "a segment is named after its first offset");
        let error = extent(&[(0, &first), (4, &third)]).expect_err("a segment is missing").to_string();
        assert!(error.contains("00000000000000000004.log") && error.contains("ends at offset 2"), "{error}");
    }

    #[test]
    fn a_long_segment_is_not_read_into_memory_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.log");
        let all = batches(0..1000);
        fs::write(&path, &all).expect("the folder is ours");
        let mut segment = Window::open(&path, 1000).expect("it is there");
        let mut position = 0;
        while position < segment.length {
            let header = segment.whole_batch(position).expect("it can be read").expect("it is whole");
            position += header.size_bytes() as u64;
            assert!(segment.bytes.len() < 1500, "{} of {} bytes", segment.bytes.len(), all.len());
        }
        let mut segment = Window::open(&path, 1000).expect("it is there");
        assert!(!is_torn_end(&mut segment, all.len() as u64 / 2).expect("it can be read"));
        assert!(segment.bytes.len() < 1500, "{} bytes", segment.bytes.len());
    }
}
