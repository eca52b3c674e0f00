//! What a leader checks before it appends a batch of a client, in Kafka's order and words.
//!
//! Pure. An uncompressed batch is walked record by record where it lies; a compressed one is either believed as far as its
//! header goes, or unpacked piece by piece through a window of fixed size.

use std::io::Read;

use ottla_base::{Timestamp, TopicPartition};

use super::batch::{Batch, TimestampType};
use super::compression::{Compression, decompressor};
use super::record::{Record, RecordError, RecordIter};
use crate::error::ErrorCode;

/// A message lists at most so many of the records that are wrong.
const LISTED_RECORDS: usize = 3;
/// No batch may unpack to more than this.
const LARGEST_UNPACKED_BYTES: usize = 256 * 1024 * 1024;
/// The window through which a compressed batch is looked at, when no record is larger.
const WINDOW_BYTES: usize = 64 * 1024;
/// A window that grew for a large record is given back down to this.
const KEPT_WINDOW_BYTES: usize = 1024 * 1024;

/// What a topic asks of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Named in messages.
    pub topic_partition: &'a TopicPartition,
    /// Records need a key.
    pub compacted: bool,
    /// The broker gives the time.
    pub log_append_time: bool,
    /// The time.
    pub now_ms: Timestamp,
    /// How much older than now a record may be.
    pub before_max_ms: Option<i64>,
    /// How much newer than now a record may be.
    pub after_max_ms: Option<i64>,
    /// How far compressed batches are looked into.
    pub depth: Depth,
}

/// How far compressed batches are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The header is believed, but for the CRC.
    Header,
    /// All records.
    Records,
}

/// A batch that may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The largest timestamp of its records.
    pub max_timestamp: Timestamp,
}

/// A batch that may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// For the client.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Which records are wrong, by index, and why.
    pub record_errors: Vec<(i32, String)>,
}

/// Memory for looking into compressed batches, to be used again.
#[derive(Debug, Default)]
pub struct Scratch {
    window: Vec<u8>,
}

/// Checks `batch`.
pub fn validate(batch: &Batch<'_>, rules: &Rules<'_>, scratch: &mut Scratch) -> Result<Validated, Invalid> {
    let header = batch.header();
    if !batch.is_crc_valid() {
        let message = format!(
            "Record is corrupt (stored crc = {}, computed crc = {})",
            header.crc,
            super::batch::crc_of(batch.bytes())
        );
        return Err(Invalid::new(ErrorCode::CorruptMessage, message));
    }
    check_header(batch, rules)?;
    let mut walk = Walk::new(batch, rules);
    match header.compression() {
        None => {
            return Err(Invalid::new(ErrorCode::UnknownServerError, "Unknown compression type id".to_owned()));
        }
        Some(Compression::None) => {
            for record in RecordIter::new(header, batch.records()) {
                walk.take(&record.map_err(|error| walk.malformed(error))?);
            }
        }
        Some(_) if rules.depth == Depth::Header => {
            for timestamp in [header.base_timestamp, header.max_timestamp] {
                if let Some(message) = walk.wrong_timestamp(timestamp, 0) {
                    walk.refuse(0, ErrorCode::InvalidTimestamp, message);
                    break;
                }
            }
            walk.max_timestamp = header.max_timestamp;
        }
        Some(codec) => walk_compressed(&mut walk, batch, codec, scratch)?,
    }
    walk.finish()
}

fn check_header(batch: &Batch<'_>, rules: &Rules<'_>) -> Result<(), Invalid> {
    let (header, name) = (batch.header(), rules.topic_partition);
    let invalid = |message: String| Err(Invalid::new(ErrorCode::InvalidRecord, message));
    if header.base_offset.0 != 0 {
        return invalid(format!(
            "The baseOffset of the record batch in the append to {name} should be 0, but it is {}",
            header.base_offset
        ));
    }
    if header.last_offset_delta < 0 || header.record_count <= 0 {
        return invalid(format!(
            "Invalid batch in {name}: a record count of {} and a last offset delta of {}",
            header.record_count, header.last_offset_delta
        ));
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
        return invalid(format!(
            "Inconsistent batch offset range [0, {}] and count of records {} in {name}",
            header.last_offset_delta, header.record_count
        ));
    }
    if header.attributes.is_control() {
        return invalid(format!("Clients are not allowed to write control records to {name}"));
    }
    if header.producer_id.0 >= 0 && header.base_sequence < 0 {
        return invalid(format!(
            "Invalid sequence number {} in record batch with producerId {} in {name}",
            header.base_sequence, header.producer_id
        ));
    }
    // On a topic of CreateTime the bit is taken back in silence.
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime
        && (rules.log_append_time || header.max_timestamp == -1)
    {
        return Err(Invalid::new(
            ErrorCode::InvalidTimestamp,
            format!("Invalid timestamp type in message to {name}: a producer must not set LogAppendTime"),
        ));
    }
    Ok(())
}

/// What was found so far.
struct Walk<'a> {
    rules: &'a Rules<'a>,
    /// A batch flagged LogAppendTime by its producer carries one time for all records.
    flagged_time: Option<Timestamp>,
    index: i32,
    max_timestamp: Timestamp,
    wrong: Vec<(i32, ErrorCode, String)>,
}

impl<'a> Walk<'a> {
    fn new(batch: &Batch<'_>, rules: &'a Rules<'a>) -> Self {
        let flagged = batch.header().attributes.timestamp_type() == TimestampType::LogAppendTime;
        let flagged_time = flagged.then_some(batch.header().max_timestamp);
        Self { rules, flagged_time, index: 0, max_timestamp: -1, wrong: Vec::new() }
    }

    fn take(&mut self, record: &Record<'_>) {
        if self.rules.compacted && record.key.is_none() {
            let message = format!(
                "Compacted topic cannot accept message without key in topic partition {}",
                self.rules.topic_partition
            );
            self.refuse(self.index, ErrorCode::InvalidRecord, message);
        } else if let Some(message) = self.wrong_timestamp(record.timestamp, record.offset.0) {
            self.refuse(self.index, ErrorCode::InvalidTimestamp, message);
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.index += 1;
    }

    fn refuse(&mut self, index: i32, code: ErrorCode, message: String) {
        self.wrong.push((index, code, message));
    }

    fn wrong_timestamp(&self, timestamp: Timestamp, offset: i64) -> Option<String> {
        // The broker's own time is right, and no time is no wrong time.
        if self.rules.log_append_time || timestamp == -1 {
            return None;
        }
        let earliest = self.rules.before_max_ms.map_or(i64::MIN, |ms| self.rules.now_ms.saturating_sub(ms));
        let latest = self.rules.after_max_ms.map_or(i64::MAX, |ms| self.rules.now_ms.saturating_add(ms));
        (timestamp < earliest || timestamp > latest).then(|| {
            format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
                 [{earliest}, {latest}]"
            )
        })
    }

    fn malformed(&self, error: RecordError) -> Invalid {
        let message = format!("Invalid record in {}: {error}", self.rules.topic_partition);
        Invalid::new(ErrorCode::InvalidRecord, message)
    }

    fn finish(self) -> Result<Validated, Invalid> {
        let Some(first) = self.wrong.first() else {
            return Ok(Validated { max_timestamp: self.flagged_time.unwrap_or(self.max_timestamp) });
        };
        // A wrong time is told before all else.
        let by_time = self.wrong.iter().any(|(_, code, _)| *code == ErrorCode::InvalidTimestamp);
        let (code, message) = if by_time {
            let message = "One or more records have been rejected due to invalid timestamp".to_owned();
            (ErrorCode::InvalidTimestamp, message)
        } else {
            let listed: Vec<String> = self.wrong.iter().take(LISTED_RECORDS).map(listed).collect();
            let message = format!(
                "One or more records have been rejected due to {} record errors in total, and only showing the first three \
                 errors at most: [{}]",
                self.wrong.len(),
                listed.join(", ")
            );
            (first.1, message)
        };
        let record_errors = self.wrong.into_iter().map(|(index, _, message)| (index, message)).collect();
        Err(Invalid { code, message, record_errors })
    }
}

fn listed((index, _, message): &(i32, ErrorCode, String)) -> String {
    format!("RecordError(batchIndex={index}, message='{message}')")
}

/// Unpacks through a window that holds whole records.
///
/// ```text
///   window  | records already walked | record under way ... | room |
/// ```
fn walk_compressed(
    walk: &mut Walk<'_>,
    batch: &Batch<'_>,
    codec: Compression,
    scratch: &mut Scratch,
) -> Result<(), Invalid> {
    let undecodable = |error: std::io::Error| {
        let message = format!("The {} records cannot be decompressed: {error}", codec.name());
        Invalid::new(ErrorCode::UnknownServerError, message)
    };
    let mut reader = decompressor(codec, batch.records()).map_err(undecodable)?;
    let window = &mut scratch.window;
    window.clear();
    let (mut unpacked, mut ended) = (0, false);
    while !ended {
        // Fill the window, and let it grow where not even one record fits.
        let filled = window.len();
        let target = if filled < WINDOW_BYTES / 2 { WINDOW_BYTES } else { filled * 2 };
        let room = (target - filled).min(LARGEST_UNPACKED_BYTES - unpacked + 1);
        let read = reader.by_ref().take(room as u64).read_to_end(window).map_err(undecodable)?;
        unpacked += read;
        if unpacked > LARGEST_UNPACKED_BYTES {
            let message = format!("The records unpack to more than {LARGEST_UNPACKED_BYTES} bytes");
            return Err(Invalid::new(ErrorCode::InvalidRecord, message));
        }
        ended = read < room;
        let walked = walk_window(walk, batch, window, ended)?;
        window.drain(..walked);
    }
    if !window.is_empty() {
        return Err(walk.malformed(RecordError::Leftover));
    }
    if walk.index < batch.header().record_count {
        return Err(walk.malformed(RecordError::TooFew));
    }
    window.shrink_to(KEPT_WINDOW_BYTES);
    Ok(())
}

/// Walks the whole records at the start of the window, and says how many bytes they have.
fn walk_window(walk: &mut Walk<'_>, batch: &Batch<'_>, window: &[u8], ended: bool) -> Result<usize, Invalid> {
    let mut walked = 0;
    while walk.index < batch.header().record_count {
        let mut reader = crate::wire::Reader::new(&window[walked..]);
        let before = reader.remaining().len();
        let length = match reader.varint() {
            Ok(length) => usize::try_from(length).map_err(|_| walk.malformed(RecordError::NegativeLength))?,
            Err(_) if !ended => break,
            Err(_) if before == 0 => break,
            Err(error) => return Err(walk.malformed(error.into())),
        };
        if length > LARGEST_UNPACKED_BYTES {
            return Err(walk.malformed(RecordError::Length));
        }
        let size = before - reader.remaining().len() + length;
        let Some(bytes) = window[walked..].get(..size) else {
            if ended {
                return Err(walk.malformed(RecordError::TooFew));
            }
            break;
        };
        let one = super::batch::BatchHeader { record_count: 1, ..*batch.header() };
        for record in RecordIter::new(&one, bytes) {
            walk.take(&record.map_err(|error| walk.malformed(error))?);
        }
        walked += size;
    }
    Ok(walked)
}

impl Invalid {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), record_errors: Vec::new() }
    }
}
