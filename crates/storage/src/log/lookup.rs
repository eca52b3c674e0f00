//! From a timestamp to an offset.
//!
//! Timestamps need not rise with the offsets, so "the offset of a time" is the first record *in offset order* that is
//! as late (handbook of Kafka's ListOffsets). The time indexes rule out whole segments and the beginning of one; then
//! headers are stepped through, and only the one batch that holds the record is unpacked.
//!
//! Unpacking takes long and needs no log, so the two are apart: [`Log::next_late_batch`] under the log's lock, for so many
//! headers at a time, [`LateBatch::find`] without it. Compressed batches are stored as clients sent them, unopened: what cannot
//! be unpacked is a client's fault and no damage. Such a batch is answered from its header.
//!
//! The largest time is that of a header, as long as headers say what their batches hold. Where one announces more, the next
//! largest is looked for:
//!
//! ```text
//!   headers   10  30  99  20      the time index knows 10, 30, 99
//!   records   10  30  12  20      99 announced, 12 found; of the others 30 is the largest, and is found
//! ```

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
/// So many headers are looked at before others get the log ...
const HEADERS_AT_ONCE: usize = 4096;
/// ... and so many in all to find out what lies below headers that lie.
const HEADERS_BELOW_MAX: usize = 1 << 20;
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
    wanted: Wanted,
    from: Offset,
    bound: Offset,
    batches: usize,
}

#[derive(Debug)]
enum Wanted {
    At(Timestamp),
    Largest(Largest),
}

/// The search for the largest time.
#[derive(Debug)]
struct Largest {
    /// What is looked for now, if that is known.
    target: Option<Timestamp>,
    /// What is announced from here on is not there.
    below: Timestamp,
    /// The largest time below, and where: as far as the headers before `next` tell.
    announced: Option<(Timestamp, Offset)>,
    next: Offset,
    headers_left: usize,
    /// The latest record of batches that announce later ones.
    found: Option<FoundRecord>,
}

/// What a search has come to.
#[derive(Debug)]
pub enum Sought {
    /// A batch whose header says that it holds such a record: to be looked into, and [told](TimeSearch::take).
    Batch(LateBatch),
    /// Much was looked at: the search is to go on when others have had the log.
    More,
    /// There is no other such batch.
    Nothing,
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
    /// If no record is as late, the latest is wanted.
    wants_latest: bool,
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
        Self { wanted: Wanted::At(target), from: Offset(0), bound, batches: 0 }
    }

    /// For the first record that bears the largest timestamp of the log (KIP-734); where no record has one, for the first, as in
    /// Kafka.
    pub fn largest() -> Self {
        let largest = Largest {
            target: None,
            below: Timestamp::MAX,
            announced: None,
            next: Offset(0),
            headers_left: HEADERS_BELOW_MAX,
            found: None,
        };
        Self { wanted: Wanted::Largest(largest), from: Offset(0), bound: Offset(i64::MAX), batches: 0 }
    }

    /// Takes what was found in a batch, and gives it if that ends the search.
    pub fn take(&mut self, found: Option<FoundRecord>) -> Option<FoundRecord> {
        let Wanted::Largest(largest) = &mut self.wanted else { return found };
        let found = found?;
        if largest.target.is_some_and(|target| found.timestamp >= target) {
            return Some(found);
        }
        if largest.found.is_none_or(|best| found.timestamp > best.timestamp) {
            largest.found = Some(found);
        }
        None
    }

    /// The answer where there is [nothing](Sought::Nothing) else.
    pub fn rest(self) -> Option<FoundRecord> {
        match self.wanted {
            Wanted::At(_) => None,
            Wanted::Largest(largest) => largest.found,
        }
    }

    fn target(&self) -> Option<Timestamp> {
        match &self.wanted {
            Wanted::At(target) => Some(*target),
            Wanted::Largest(largest) => largest.target,
        }
    }
}

impl Largest {
    /// A header announces this.
    fn hear(&mut self, timestamp: Timestamp, offset: Offset) {
        if timestamp < self.below && self.announced.is_none_or(|(latest, _)| timestamp > latest) {
            self.announced = Some((timestamp, offset));
        }
    }

    /// All headers were heard: what to look for now, if there is anything that may be later than what was found.
    fn aim(&mut self) -> Option<Offset> {
        let (timestamp, offset) = self.announced.take()?;
        if self.found.is_some_and(|found| found.timestamp >= timestamp) {
            return None;
        }
        self.target = Some(timestamp);
        Some(offset)
    }

    /// What was announced is not there.
    fn lower(&mut self) {
        self.below = self.target.take().expect("something was looked for");
        self.next = Offset(0);
    }
}

impl Log {
    /// The next batch that may hold what is searched for. The search is over with the first batch that
    /// [ends it](TimeSearch::take).
    pub fn next_late_batch(&self, search: &mut TimeSearch) -> Result<Sought> {
        let mut headers = HEADERS_AT_ONCE;
        loop {
            let sought = match (search.target(), &mut search.wanted) {
                (Some(target), _) => self.next_batch(search, target, &mut headers)?,
                (None, Wanted::At(_)) => unreachable!("a time that is asked for is known"),
                (None, Wanted::Largest(largest)) => match self.hear_headers(largest, &mut headers)? {
                    false => return Ok(Sought::More),
                    true => match largest.aim() {
                        Some(offset) => {
                            search.from = offset;
                            continue;
                        }
                        None => return Ok(Sought::Nothing),
                    },
                },
            };
            match (sought, &mut search.wanted) {
                (Sought::Nothing, Wanted::Largest(largest)) => largest.lower(),
                (sought, _) => return Ok(sought),
            }
        }
    }

    fn next_batch(&self, search: &mut TimeSearch, target: Timestamp, headers: &mut usize) -> Result<Sought> {
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
            let found = first_late(segment, from, search.bound, target, headers);
            if index < self.sealed.len() {
                self.keep_few_open(segment.base_offset());
            }
            let batch = match found? {
                Late::At(batch) => batch,
                Late::Unknown(from) => {
                    search.from = from;
                    return Ok(Sought::More);
                }
                Late::Nowhere => continue,
            };
            search.from = batch.last_offset().plus(1);
            search.batches += 1;
            return Ok(Sought::Batch(LateBatch {
                file: segment.file()?,
                path: segment.path().to_owned(),
                batch,
                target,
                range: self.start_offset..search.bound.min(self.end_offset()),
                wants_latest: matches!(search.wanted, Wanted::Largest(_)),
                may_unpack: search.batches <= UNPACKED_BATCHES_MAX,
            }));
        }
        Ok(Sought::Nothing)
    }

    /// Finds out what the headers announce below what is not there; says whether all were heard, or as many as may be.
    fn hear_headers(&self, largest: &mut Largest, headers: &mut usize) -> Result<bool> {
        let from = largest.next.max(self.start_offset);
        for index in self.segment_floor(from)..self.segment_count() {
            let segment = self.segment(index);
            let known = segment.largest()?;
            if known.timestamp < largest.below && known.offset >= self.start_offset {
                largest.hear(known.timestamp, known.offset);
            } else if !self.hear_segment(segment, largest, headers)? {
                return Ok(largest.headers_left == 0);
            }
            largest.next = self.segment_end(index);
            if index < self.sealed.len() {
                self.keep_few_open(segment.base_offset());
            }
        }
        Ok(true)
    }

    /// The same in one segment, of which only the headers themselves can tell.
    fn hear_segment(&self, segment: &dyn Segment, largest: &mut Largest, headers: &mut usize) -> Result<bool> {
        let (file, from) = (segment.file()?, largest.next.max(self.start_offset));
        let position = segment.position_of(from)?;
        let mut scan = Scan::new(&file, segment.path(), position, segment.size(), LOOKUP_CHUNK_BYTES);
        while let Some(batch) = scan.next()? {
            if *headers == 0 || largest.headers_left == 0 {
                largest.next = batch.base_offset();
                return Ok(false);
            }
            *headers -= 1;
            largest.headers_left -= 1;
            largest.hear(batch.max_timestamp(), batch.last_offset());
        }
        Ok(true)
    }

    /// The first record, in offset order and before `bound`, whose timestamp is `target` or later: for those who need not
    /// let go of the log meanwhile.
    pub fn offset_for_timestamp(&self, target: Timestamp, bound: Offset) -> Result<Option<FoundRecord>> {
        self.search(TimeSearch::at(target, bound))
    }

    /// The first record that bears the largest timestamp of the log, or the first where none has one: as
    /// [`Log::offset_for_timestamp`].
    pub fn max_timestamp(&self) -> Result<Option<FoundRecord>> {
        self.search(TimeSearch::largest())
    }

    fn search(&self, mut search: TimeSearch) -> Result<Option<FoundRecord>> {
        let mut budget = UnpackBudget::for_request();
        loop {
            match self.next_late_batch(&mut search)? {
                Sought::Batch(batch) => {
                    if let Some(found) = search.take(batch.find(&mut budget)?) {
                        return Ok(Some(found));
                    }
                }
                Sought::More => {}
                Sought::Nothing => return Ok(search.rest()),
            }
        }
    }
}

/// Where a batch that is late enough was found.
enum Late {
    At(BatchAt),
    /// Not before this offset; so far was looked.
    Unknown(Offset),
    Nowhere,
}

/// The first batch of a segment, before `bound` and not ending before `from`, whose header says that it is as late as
/// `target`.
fn first_late(
    segment: &dyn Segment,
    from: Offset,
    bound: Offset,
    target: Timestamp,
    headers: &mut usize,
) -> Result<Late> {
    let file = segment.file()?;
    let position = segment.position_of(from)?;
    let mut scan = Scan::new(&file, segment.path(), position, segment.size(), LOOKUP_CHUNK_BYTES);
    while let Some(batch) = scan.next()? {
        if batch.base_offset() >= bound {
            break;
        }
        if batch.last_offset() >= from && batch.max_timestamp() >= target {
            return Ok(Late::At(batch));
        }
        if *headers == 0 {
            return Ok(Late::Unknown(batch.base_offset()));
        }
        *headers -= 1;
    }
    Ok(Late::Nowhere)
}

impl LateBatch {
    /// The first record of the batch that is as late as wanted, or the latest if that is wanted; what its header says where the
    /// records cannot be read.
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
        let mut latest: Option<FoundRecord> = None;
        while let Some(record) = records.next_record()? {
            if !self.range.contains(&record.offset) {
                continue;
            }
            if record.timestamp >= self.target {
                return Ok(Some(self.record(record.offset, record.timestamp)));
            }
            if self.wants_latest && latest.is_none_or(|latest| record.timestamp > latest.timestamp) {
                latest = Some(self.record(record.offset, record.timestamp));
            }
        }
        Ok(latest)
    }

    fn record(&self, offset: Offset, timestamp: Timestamp) -> FoundRecord {
        FoundRecord { offset, timestamp, leader_epoch: self.batch.leader_epoch() }
    }
}
