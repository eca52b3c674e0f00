//! From a timestamp to an offset.
//!
//! Timestamps need not rise with the offsets, so "the offset of a time" is the first record *in offset order* that is
//! as late (handbook of Kafka's ListOffsets). The time indexes rule out whole segments and the beginning of one; then
//! headers are stepped through, and only the one batch that holds the record is unpacked.
//!
//! Unpacking takes long and needs no log, so the two are apart: [`Log::next_late_batch`] under the log's lock,
//! [`LateBatch::find`] without it. Compressed batches are stored as clients sent them, unopened: what cannot be unpacked is
//! a client's fault and no damage. Such a batch is answered from its header.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_base::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::records::compression::decompressor;
use ottla_protocol::records::validate::{UNPACKED_BYTES_MAX, UNPACKED_RATIO_MAX};
use ottla_protocol::records::{Batch, RecordStream, StreamError};

use super::Log;
use crate::error::{Error, Result};
use crate::segment::scan::{LOOKUP_CHUNK_BYTES, Scan, read_batch};
use crate::segment::{BatchAt, Segment};

/// How much of a batch is unpacked at once.
const UNPACK_BYTES: usize = 8 * 1024;
/// One search unpacks so many batches; of later ones the header is believed. Only headers that lie need more than the
/// two in which the log starts and the bound lies.
const UNPACKED_BATCHES_MAX: usize = 16;
/// All searches of one request together unpack so much, which keeps a thread busy for about half a second.
const REQUEST_UNPACKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A record that was found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// What the searches of one request may still unpack. When it is spent, the headers of batches are believed.
#[derive(Debug)]
pub struct UnpackBudget {
    left_bytes: u64,
}

/// A search for a record by its time, that goes on from batch to batch.
#[derive(Debug)]
pub struct TimeSearch {
    /// Not known yet where the largest is looked for.
    target: Option<Timestamp>,
    from: Offset,
    bound: Offset,
    batches: usize,
}

/// A batch whose header says that it holds a record that is as late as wanted.
#[derive(Debug)]
pub struct LateBatch {
    file: Arc<File>,
    path: PathBuf,
    batch: BatchAt,
    target: Timestamp,
    /// The offsets that count.
    range: Range<Offset>,
    /// Whether the search may unpack it.
    may_unpack: bool,
}

impl UnpackBudget {
    /// For one request.
    pub fn for_request() -> Self {
        Self::of(REQUEST_UNPACKED_BYTES_MAX)
    }

    /// Of so many bytes.
    pub fn of(bytes: u64) -> Self {
        Self { left_bytes: bytes }
    }
}

impl TimeSearch {
    /// For the first record, in offset order and before `bound`, whose timestamp is `target` or later.
    pub fn at(target: Timestamp, bound: Offset) -> Self {
        Self { target: Some(target), from: Offset(0), bound, batches: 0 }
    }

    /// For the first record that bears the largest timestamp of the log (KIP-734); there is none if no record has a
    /// timestamp.
    pub fn largest() -> Self {
        Self { target: None, from: Offset(0), bound: Offset(i64::MAX), batches: 0 }
    }
}

impl Log {
    /// The next batch that may hold what is searched for, or `None` if there is none. The search is over with the first
    /// batch in which a record is found.
    pub fn next_late_batch(&self, search: &mut TimeSearch) -> Result<Option<LateBatch>> {
        let target = match search.target {
            Some(target) => target,
            None => match self.largest()? {
                Some((timestamp, offset)) => {
                    (search.target, search.from) = (Some(timestamp), offset);
                    timestamp
                }
                None => return Ok(None),
            },
        };
        let from = search.from.max(self.start_offset);
        for index in self.segment_floor(from)..self.segment_count() {
            let segment = self.segment(index);
            if segment.base_offset() >= search.bound {
                break;
            }
            if segment.largest()?.timestamp < target {
                continue;
            }
            let from = segment.time_floor(target)?.max(from);
            let found = first_late(segment, from, search.bound, target);
            if index < self.sealed.len() {
                self.keep_few_open(segment.base_offset());
            }
            let Some(batch) = found? else { continue };
            search.from = batch.last_offset().plus(1);
            search.batches += 1;
            return Ok(Some(LateBatch {
                file: segment.file()?,
                path: segment.path().to_owned(),
                batch,
                target,
                range: self.start_offset..search.bound.min(self.end_offset()),
                may_unpack: search.batches <= UNPACKED_BATCHES_MAX,
            }));
        }
        Ok(None)
    }

    /// The first record, in offset order and before `bound`, whose timestamp is `target` or later: for those who need not
    /// let go of the log meanwhile.
    pub fn offset_for_timestamp(&self, target: Timestamp, bound: Offset) -> Result<Option<FoundRecord>> {
        self.search(TimeSearch::at(target, bound))
    }

    /// The first record that bears the largest timestamp of the log: as [`Log::offset_for_timestamp`].
    pub fn max_timestamp(&self) -> Result<Option<FoundRecord>> {
        self.search(TimeSearch::largest())
    }

    fn search(&self, mut search: TimeSearch) -> Result<Option<FoundRecord>> {
        let mut budget = UnpackBudget::for_request();
        while let Some(batch) = self.next_late_batch(&mut search)? {
            if let Some(found) = batch.find(&mut budget)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The largest timestamp, and an offset at or before that of the first record that bears it.
    fn largest(&self) -> Result<Option<(Timestamp, Offset)>> {
        let mut latest: Option<(Timestamp, Offset)> = None;
        for index in self.segment_floor(self.start_offset)..self.segment_count() {
            let largest = self.segment(index).largest()?;
            if latest.is_none_or(|(timestamp, _)| largest.timestamp > timestamp) {
                latest = Some((largest.timestamp, largest.offset));
            }
        }
        Ok(latest.filter(|(timestamp, _)| *timestamp >= 0))
    }
}

/// The first batch of a segment, before `bound` and not ending before `from`, whose header says that it is as late as
/// `target`.
fn first_late(segment: &dyn Segment, from: Offset, bound: Offset, target: Timestamp) -> Result<Option<BatchAt>> {
    let file = segment.file()?;
    let position = segment.position_of(from)?;
    let mut scan = Scan::new(&file, segment.path(), position, segment.size(), LOOKUP_CHUNK_BYTES);
    while let Some(batch) = scan.next()? {
        if batch.base_offset() >= bound {
            break;
        }
        if batch.last_offset() >= from && batch.max_timestamp() >= target {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

impl LateBatch {
    /// The first record of the batch that is as late as wanted; what its header says where the records cannot be read.
    ///
    /// # Errors
    /// `Io` if the file cannot be read.
    pub fn find(&self, budget: &mut UnpackBudget) -> Result<Option<FoundRecord>> {
        let found = if !self.may_unpack {
            Err("too many batches before it lack the time that they announce".to_owned())
        } else if budget.left_bytes == 0 {
            Err("the request has had too much unpacked".to_owned())
        } else {
            match read_batch(&self.file, &self.path, &self.batch) {
                Ok(bytes) => self.first_record(&bytes, budget),
                // It was cut off since.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                    Err(source.to_string())
                }
                Err(error) => return Err(error),
            }
        };
        found.or_else(|detail| {
            let (log, offset) = (self.path.display(), self.batch.base_offset());
            tracing::warn!(%log, %offset, detail, "a time is answered from the header of a batch");
            Ok(Some(self.record(self.batch.base_offset().max(self.range.start), self.batch.max_timestamp())))
        })
    }

    /// The records are unpacked piece by piece and their bodies skipped, so that it does not matter how much comes out.
    fn first_record(
        &self,
        bytes: &[u8],
        budget: &mut UnpackBudget,
    ) -> std::result::Result<Option<FoundRecord>, String> {
        let (batch, _) = Batch::parse(bytes).map_err(|error| error.to_string())?;
        let codec = batch.header().compression().ok_or("the codec is not known")?;
        let reader = decompressor(codec, batch.records()).map_err(|error| error.to_string())?;
        let mut buffer = [0; UNPACK_BYTES];
        let of_batch = UNPACKED_BYTES_MAX.max(u64::from(self.batch.size) * UNPACKED_RATIO_MAX);
        let limit_bytes = of_batch.min(budget.left_bytes);
        let mut records = RecordStream::new(batch.header(), reader, limit_bytes, &mut buffer);
        let found = self.first_of(&mut records).map_err(|error| error.to_string());
        budget.left_bytes = budget.left_bytes.saturating_sub(records.unpacked_bytes());
        found
    }

    fn first_of(
        &self,
        records: &mut RecordStream<'_, impl io::Read>,
    ) -> std::result::Result<Option<FoundRecord>, StreamError> {
        while let Some(record) = records.next_record()? {
            if self.range.contains(&record.offset) && record.timestamp >= self.target {
                return Ok(Some(self.record(record.offset, record.timestamp)));
            }
        }
        Ok(None)
    }

    fn record(&self, offset: Offset, timestamp: Timestamp) -> FoundRecord {
        FoundRecord { offset, timestamp, leader_epoch: self.batch.leader_epoch() }
    }
}
