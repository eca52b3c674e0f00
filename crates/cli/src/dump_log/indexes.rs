//! `.index` and `.timeindex` files: a line an entry, and what in the log beside them does not fit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ottla_protocol::records::Decompressor;

use super::failure::{Failure, Result};
use super::log_file::{last_offset_of, offset_of};
use super::segment::Segment;

/// The exception of Kafka's checks.
const CORRUPT_INDEX: &str = "org.apache.kafka.storage.internals.log.CorruptIndexException";

/// How an index is looked at.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Only what a broker checks when it starts.
    pub sanity_only: bool,
    /// Without its entries.
    pub verify_only: bool,
    /// A batch of the log is not longer.
    pub message_bytes_max: i32,
}

/// Offsets of an index and what the log has there.
pub type Mismatches = BTreeMap<i64, i64>;

/// What does not fit in a time index, in the order in which it was found.
#[derive(Debug, Default)]
pub struct TimeErrors {
    /// Timestamps of the index, and of the log.
    pub mismatches: Vec<(i64, i64)>,
    /// Timestamps, and the one before, which is not smaller.
    pub out_of_order: Vec<(i64, i64)>,
    /// Offsets, and the last one of the batch that holds it, or -1.
    pub not_found: Vec<(i64, i64)>,
}

/// An entry: two numbers.
trait Entry: Copy {
    const BYTES: usize;
    fn decode(bytes: &[u8], base_offset: i64) -> Self;
}

#[derive(Clone, Copy)]
struct Position {
    offset: i64,
    position: i32,
}

#[derive(Clone, Copy)]
struct Time {
    timestamp: i64,
    offset: i64,
}

impl Entry for Position {
    const BYTES: usize = 8;

    fn decode(bytes: &[u8], base_offset: i64) -> Self {
        let number = |at: usize| i32::from_be_bytes(*bytes[at..].first_chunk().expect("an entry has 8 bytes"));
        Self { offset: base_offset.wrapping_add(number(0).into()), position: number(4) }
    }
}

impl Entry for Time {
    const BYTES: usize = 12;

    fn decode(bytes: &[u8], base_offset: i64) -> Self {
        let timestamp = i64::from_be_bytes(*bytes.first_chunk().expect("an entry has 12 bytes"));
        let offset = i32::from_be_bytes(*bytes[8..].first_chunk().expect("an entry has 12 bytes"));
        Self { timestamp, offset: base_offset.wrapping_add(offset.into()) }
    }
}

/// A file of entries, of which one at a time is in memory.
struct Entries<E> {
    file: File,
    path: PathBuf,
    base_offset: i64,
    length: u64,
    kind: PhantomData<E>,
}

impl<E: Entry> Entries<E> {
    fn open(path: &Path, base_offset: i64) -> Result<Self> {
        let file = File::open(path).map_err(|error| match error.kind() {
            // Kafka would make the file that is missing, and fails over its size.
            std::io::ErrorKind::NotFound => Failure::illegal_argument("Invalid max index size: -1"),
            _ => Failure::unreadable(path)(error),
        })?;
        let length = file.metadata().map_err(Failure::unreadable(path))?.len();
        Ok(Self { file, path: path.to_owned(), base_offset, length, kind: PhantomData })
    }

    fn count(&self) -> u64 {
        self.length / E::BYTES as u64
    }

    fn entry(&self, number: u64) -> Result<E> {
        let mut bytes = [0; 12];
        let bytes = &mut bytes[..E::BYTES];
        self.file.read_exact_at(bytes, number * E::BYTES as u64).map_err(Failure::unreadable(&self.path))?;
        Ok(E::decode(bytes, self.base_offset))
    }

    fn last(&self) -> Result<Option<E>> {
        self.count().checked_sub(1).map(|last| self.entry(last)).transpose()
    }

    /// What every index is checked for.
    fn check_length(&self, what: &str) -> Result<()> {
        if self.length.is_multiple_of(E::BYTES as u64) {
            return Ok(());
        }
        Err(Failure::new(
            CORRUPT_INDEX,
            format!(
                "{what} file {} is corrupt, found {} bytes which is neither positive nor a multiple of {}",
                absolute(&self.path),
                self.length,
                E::BYTES
            ),
        ))
    }
}

impl Entries<Position> {
    /// Where the search for `offset` begins.
    fn lookup(&self, offset: i64) -> Result<i32> {
        let (mut low, mut end) = (0, self.count());
        while low < end {
            let middle = low.midpoint(end);
            if self.entry(middle)?.offset <= offset { low = middle + 1 } else { end = middle }
        }
        Ok(match low.checked_sub(1) {
            Some(found) => self.entry(found)?.position,
            None => 0,
        })
    }
}

/// Shows an offset index.
pub fn dump_offsets(path: &Path, wanted: Wanted, mismatches: &mut Mismatches, out: &mut impl Write) -> Result<()> {
    let (base_offset, stem) = stem_of(path)?;
    let log = Segment::open(&stem.with_extension("log"))?;
    let index: Entries<Position> = Entries::open(path, base_offset)?;
    let shown = path.display();
    let Some(last) = index.last()? else { return Ok(writeln!(out, "{shown} is empty.")?) };
    if wanted.sanity_only {
        if last.offset < base_offset {
            return Err(Failure::new(
                CORRUPT_INDEX,
                format!(
                    "Corrupt index found, index file {} has non-zero size but the last offset is {} which is less than \
                     the base offset {base_offset}",
                    absolute(path),
                    last.offset
                ),
            ));
        }
        index.check_length("Index")?;
        return Ok(writeln!(out, "{shown} passed sanity check.")?);
    }
    for number in 0..index.count() {
        let entry = index.entry(number)?;
        // What was made beforehand and not filled is zeros.
        if entry.offset == base_offset && number > 0 {
            return Ok(());
        }
        let end = log.end_of_slice(entry.position, wanted.message_bytes_max)?;
        let batch = log.batch_at(entry.position.into(), end)?;
        let batch = batch.ok_or_else(|| Failure::new("java.util.NoSuchElementException", ""))?;
        let found = last_offset_of(&log, &batch)?;
        if found != entry.offset {
            mismatches.insert(entry.offset, found);
        }
        if !wanted.verify_only {
            writeln!(out, "offset: {} position: {}", entry.offset, entry.position)?;
        }
    }
    Ok(())
}

/// Shows a time index.
pub fn dump_times(path: &Path, wanted: Wanted, errors: &mut TimeErrors, out: &mut impl Write) -> Result<()> {
    let (base_offset, stem) = stem_of(path)?;
    let log = Segment::open(&stem.with_extension("log"))?;
    let index: Entries<Position> = Entries::open(&stem.with_extension("index"), base_offset)?;
    let times: Entries<Time> = Entries::open(path, base_offset)?;
    if wanted.sanity_only {
        check_times(&times)?;
        return Ok(writeln!(out, "{} passed sanity check.", path.display())?);
    }
    let mut before = -1;
    let mut decompressor = Decompressor::default();
    for number in 0..times.count() {
        let entry = times.entry(number)?;
        if entry.offset == base_offset && number > 0 {
            return Ok(());
        }
        let position = index.lookup(entry.offset)?;
        match batch_with(&log, position, entry.offset, &mut decompressor)? {
            Err(found) => errors.not_found.push((entry.offset, found)),
            Ok(timestamp) => {
                if timestamp != entry.timestamp {
                    errors.mismatches.push((entry.timestamp, timestamp));
                }
                if before >= entry.timestamp {
                    errors.out_of_order.push((entry.timestamp, before));
                }
            }
        }
        if !wanted.verify_only {
            writeln!(out, "timestamp: {} offset: {}", entry.timestamp, entry.offset)?;
        }
        before = entry.timestamp;
    }
    Ok(())
}

/// The largest timestamp in the batch that ends with `offset`, or else the last offset of the batch that holds it.
fn batch_with(
    log: &Segment,
    position: i32,
    offset: i64,
    decompressor: &mut Decompressor,
) -> Result<std::result::Result<i64, i64>> {
    let end = log.end_of_slice(position, i32::MAX)?;
    let mut position = i64::from(position);
    while let Some(place) = log.batch_at(position, end)? {
        let last_offset = last_offset_of(log, &place)?;
        if last_offset < offset {
            position = place.end();
            continue;
        }
        if last_offset > offset {
            return Ok(Err(last_offset));
        }
        let mut timestamp = -1;
        log.whole(&place, Vec::new())?.for_each_record(decompressor, &mut Vec::new(), |_, record| {
            timestamp = timestamp.max(record.timestamp);
            Ok(())
        })?;
        return Ok(Ok(timestamp));
    }
    Ok(Err(-1))
}

fn check_times(times: &Entries<Time>) -> Result<()> {
    if let Some(last) = times.last()? {
        let first = times.entry(0)?;
        let path = absolute(&times.path);
        let corrupt = |what: &str, last: i64, first: i64| {
            let text = format!(
                "Corrupt time index found, time index file ({path}) has non-zero size but the last {what} is {last} which \
                 is less than the first {what} {first}"
            );
            Err(Failure::new(CORRUPT_INDEX, text))
        };
        if last.timestamp < first.timestamp {
            return corrupt("timestamp", last.timestamp, first.timestamp);
        }
        if last.offset < times.base_offset {
            return corrupt("offset", last.offset, times.base_offset);
        }
    }
    times.check_length("Time index")
}

/// The base offset in a file's name, and the path without its suffix.
fn stem_of(path: &Path) -> Result<(i64, PathBuf)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let base_offset = offset_of(&name)?;
    let stem = name.split('.').next().unwrap_or_default();
    Ok((base_offset, PathBuf::from(absolute(path)).with_file_name(stem)))
}

/// From the root on, as Java shows it.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
