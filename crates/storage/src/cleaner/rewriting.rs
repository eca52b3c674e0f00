//! Writes what stays of a group of segments into one new segment, whose files take another name later.
//!
//! A batch that keeps all its records is copied byte for byte. The log file is flushed as it grows, so that the last flush is
//! short and the disk not busy with one large write.

use std::path::{Path, PathBuf};

use ottla_base::Timestamp;
use ottla_protocol::records::{Batch, Compressor, Decompressor, HEADER_BYTES, RecordIter, retain};

use super::filling::{control_type, open, unpacked_bytes_max};
use super::groups::Source;
use super::reading::Reading;
use super::rules::{Fate, Rules};
use super::transactions::{Marker, Transactions};
use super::{Begun, NotCleaned, Owner, Pace};
use crate::aborted::{AbortedIndex, AbortedTransaction};
use crate::error::Error;
use crate::os;
use crate::segment::scan::header_of;
use crate::segment::{Active, BatchAt, Segment, file_path};

/// After so many bytes the file is flushed.
const FLUSHED_EVERY_BYTES: usize = 16 << 20;

/// Writes one new segment after the other; what it knows of transactions goes on from one to the next.
#[derive(Debug)]
pub struct Rewriting<'a> {
    begun: &'a Begun,
    rules: Rules<'a>,
    transactions: Transactions,
    io_bytes: usize,
    decompressor: Decompressor,
    compressor: Compressor,
    unpacked: Vec<u8>,
    /// The bytes and the records that were read, and that were written.
    pub read: Amount,
    /// See `read`.
    pub written: Amount,
}

/// So much of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes of log files.
    pub bytes: u64,
    /// Records.
    pub records: u64,
}

/// A segment in the making.
#[derive(Debug)]
struct Making {
    active: Active,
    /// Batches that wait to be written, together.
    waiting: Vec<u8>,
    places: Vec<BatchAt>,
    io_bytes: usize,
    unflushed_bytes: usize,
    aborted: Vec<AbortedTransaction>,
    /// The bytes of the sources that were not read yet.
    ahead_bytes: u64,
}

/// What becomes of a batch.
enum Outcome {
    Gone,
    /// It stays as it is.
    Same,
    Other(Vec<u8>),
}

impl<'a> Rewriting<'a> {
    /// Of the log that `begun` is of, from its first segment on.
    pub fn new(begun: &'a Begun, rules: Rules<'a>, io_bytes: usize) -> Self {
        let first = begun.sources.first().map(|source| source.base_offset).unwrap_or_default();
        Self {
            begun,
            rules,
            transactions: Transactions::new(first, &begun.aborted),
            io_bytes,
            decompressor: Decompressor::default(),
            compressor: Compressor::default(),
            unpacked: Vec::new(),
            read: Amount::default(),
            written: Amount::default(),
        }
    }

    /// Writes what stays of `group`, with its indexes; all of it is on the disk when this returns, but for the names.
    pub fn rewrite(&mut self, group: &[Source], pace: &Pace<'_, impl Owner>) -> Result<(), NotCleaned> {
        let (folder, base_offset) = (&self.begun.folder, group[0].base_offset);
        self.begun.making.set(Some(base_offset));
        let mut making = Making {
            active: Active::create_cleaned(folder, base_offset, self.begun.limits)?,
            waiting: Vec::new(),
            places: Vec::new(),
            io_bytes: self.io_bytes,
            unflushed_bytes: 0,
            aborted: Vec::new(),
            ahead_bytes: group.iter().map(|source| u64::from(source.size_bytes)).sum(),
        };
        let mut modified_ms = 0;
        for (number, source) in group.iter().enumerate() {
            let (file, path) = open(self.begun, source)?;
            modified_ms = os::modified_ms(&path).map_err(Error::io("read the time of", &path))?;
            let mut reading = Reading::new(&file, &path, source.size_bytes, self.io_bytes);
            loop {
                pace.note(reading.take_fresh_bytes())?;
                let Some((batch, bytes)) = reading.next()? else { break };
                let ends_segment = batch.end() == source.size_bytes && number + 1 == group.len();
                making.ahead_bytes -= u64::from(batch.size);
                let outcome = self.look_at(&batch, bytes, ends_segment, &mut making);
                let outcome = outcome
                    .map_err(|detail| Error::corrupt(&path, format!("at offset {}: {detail}", batch.base_offset())))?;
                match outcome {
                    Outcome::Gone => {}
                    Outcome::Same => making.push(bytes, pace)?,
                    Outcome::Other(other) if making.has_room_for(&other, bytes) => making.push(&other, pace)?,
                    // It stays as it was until it is looked at again, together with others.
                    Outcome::Other(_) => making.push(bytes, pace)?,
                }
            }
        }
        making.write(pace)?;
        self.written.bytes += u64::from(making.active.size());
        Ok(making.finish(folder, modified_ms)?)
    }

    fn look_at(
        &mut self,
        batch: &BatchAt,
        bytes: &[u8],
        ends_segment: bool,
        making: &mut Making,
    ) -> Result<Outcome, String> {
        let header = &batch.header;
        self.read.bytes += u64::from(batch.size);
        self.read.records += u64::from(header.record_count.cast_unsigned());
        let fate = if header.attributes.is_control() {
            let marker = self.transactions.marker(header, control_type(header, bytes));
            if let Marker::Needed(Some(transaction)) = marker {
                making.aborted.push(transaction);
            }
            self.rules.marker(header, marker, ends_segment)
        } else {
            let is_aborted = self.transactions.is_aborted(header);
            self.rules.data(header, is_aborted, ends_segment)
        };
        if fate.drops_records || header.record_count == 0 {
            return Ok(without_records(batch, fate));
        }
        let (whole, _) = Batch::parse(bytes).expect("it was read whole");
        let unpacked = self.decompressor.records(&whole, unpacked_bytes_max(bytes.len()), &mut self.unpacked);
        let records: RecordIter<'_> = unpacked.map_err(|error| error.to_string())?;
        let (mut stays, mut kept, mut has_deleted_keys) = (Vec::new(), 0, false);
        for record in records.clone() {
            let record = record.map_err(|error| error.to_string())?;
            let has_value = record.value.is_some();
            let is_control = header.attributes.is_control();
            let is_kept = is_control || self.rules.keeps(header, record.offset, record.key, has_value);
            has_deleted_keys |= is_kept && !has_value;
            kept += usize::from(is_kept);
            stays.push(is_kept);
        }
        if kept == 0 {
            return Ok(without_records(batch, fate));
        }
        self.written.records += kept as u64;
        let horizon_ms = self.rules.new_horizon_ms(header, fate, has_deleted_keys);
        if kept == stays.len() && horizon_ms.is_none() {
            return Ok(Outcome::Same);
        }
        let records = records.zip(stays).filter_map(|(record, stays)| record.ok().filter(|_| stays));
        let other = retain::with_records(header, records, horizon_ms, &mut self.compressor);
        other.map(Outcome::Other).map_err(|error| error.to_string())
    }
}

/// What becomes of a batch of which no record stays.
fn without_records(batch: &BatchAt, fate: Fate) -> Outcome {
    match fate.stays_empty {
        false => Outcome::Gone,
        true if batch.header.record_count == 0 => Outcome::Same,
        true => Outcome::Other(retain::emptied(&batch.header).to_vec()),
    }
}

impl Making {
    /// A batch may grow by its delete horizon, or where it is packed less tightly; the positions in a segment have 31 bits.
    fn has_room_for(&self, other: &[u8], original: &[u8]) -> bool {
        let end = u64::from(self.active.size()) + (self.waiting.len() + other.len()) as u64 + self.ahead_bytes;
        other.len() <= original.len() || end <= i32::MAX as u64
    }

    fn push(&mut self, bytes: &[u8], pace: &Pace<'_, impl Owner>) -> Result<(), NotCleaned> {
        if self.waiting.len() + bytes.len() > self.io_bytes {
            self.write(pace)?;
        }
        let (header, size) = header_of(bytes, bytes.len(), None).expect("a batch that was read or made just now");
        assert!(size as usize == bytes.len() && bytes.len() >= HEADER_BYTES, "batches come one by one");
        let position = self.active.size() + self.waiting.len() as u32;
        self.places.push(BatchAt { position, size, header });
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what waits.
    fn write(&mut self, pace: &Pace<'_, impl Owner>) -> Result<(), NotCleaned> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.active.append(&self.waiting, &[], &self.places)?;
        let count = self.waiting.len();
        self.places.clear();
        self.waiting.clear();
        self.waiting.shrink_to(self.io_bytes);
        self.unflushed_bytes += count;
        if self.unflushed_bytes >= FLUSHED_EVERY_BYTES {
            self.active.flush_log()?;
            self.unflushed_bytes = 0;
        }
        pace.note(count)
    }

    fn finish(mut self, folder: &Path, modified_ms: Timestamp) -> Result<(), Error> {
        let base_offset = Segment::base_offset(&self.active);
        self.active.trim()?;
        // Records without a time are as old as their file.
        self.active.set_modified_ms(modified_ms)?;
        self.active.flush_log()?;
        self.active.flush_indexes()?;
        let path: PathBuf = file_path(folder, base_offset, "txnindex.cleaned");
        let mut aborted = AbortedIndex::create(&path)?;
        self.aborted.iter().try_for_each(|transaction| aborted.append(transaction))?;
        aborted.flush()
    }
}
