//! What a leader checks before it appends a batch of a client, in Kafka's order and with Kafka's codes.
//!
//! Pure. An uncompressed batch is walked record by record where it lies. A compressed one is believed as far as its header
//! goes, or unpacked through a buffer of fixed size; see [`Depth`].
//!
//! Not here: whether it is one batch and of magic 2 ([`super::BatchError::code`]), how large it may be, its producer's
//! sequence.
//!
//! Differs from Kafka: a compressed record that is longer or shorter than it says is always refused, where Kafka stores
//! some that its consumers then cannot read.

use std::io;

use ottla_base::{Timestamp, TopicPartition};

use super::batch::{Batch, BatchHeader, TimestampType, crc_of};
use super::compression::{Compression, Decompressor, ZstdWindow};
use super::record::{RecordError, RecordIter};
use super::repack::{RepackError, Repacker, Target, Unpacked};
use super::stream::{RecordStream, StreamError};
use crate::error::ErrorCode;

/// A message lists at most so many of the records that are wrong ...
const LISTED_IN_MESSAGE: usize = 3;
/// ... and an answer so many. Differs from Kafka, which lists all: an answer would be many times larger than its request.
const RECORD_ERRORS_MAX: usize = 10_000;
/// Compressed records go through a buffer of this size.
const BUFFER_BYTES: usize = 16 * 1024;
/// What is kept of a codec's memory from batch to batch: every connection has its own.
const KEPT_BYTES: usize = 256 * 1024;
/// What is kept of a codec's memory for packing: what zstd takes for a batch of a megabyte at its usual level.
const KEPT_TO_PACK_BYTES: usize = 8 * 1024 * 1024;
/// A batch may unpack to this ...
pub const UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// ... or to this multiple of its own size, if that is more. No data is as dense, only bombs are.
pub const UNPACKED_RATIO_MAX: u64 = 64;
/// All batches of a request together may unpack to this, which keeps a thread busy for a few tenths of a second ...
const REQUEST_UNPACKED_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// ... or to this multiple of the request's size, if that is more. Its first batch is opened whatever it unpacks to by itself; those
/// for which nothing is left are to be sent again, and so are the first of a request some time.
const REQUEST_UNPACKED_RATIO_MAX: u64 = 16;
/// To begin one more member of gzip takes as long as to unpack so much, and counts for it: a member may hold nothing. What Java
/// and librdkafka send is one.
const GZIP_MEMBER_BYTES: u64 = 4096;
/// The time of a record that has none.
const NO_TIMESTAMP: Timestamp = -1;

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
    /// The longest that a compressed record may be when it is unpacked.
    pub max_decompressed_record_bytes: usize,
    /// How far compressed batches are looked into.
    pub depth: Depth,
    /// How far back a zstd frame may reach; one that reaches further cannot be opened.
    pub zstd_window: ZstdWindow,
    /// How it is packed in the log; `None` leaves it as it was sent.
    pub target: Option<Target>,
    /// The longest that a batch may be in the log.
    pub size_max_bytes: usize,
}

/// How far compressed batches are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The header is believed, and the records are left packed unless the answer depends on them: in a compacted topic,
    /// or where a timestamp may be out of range.
    Header,
    /// All records.
    Records,
}

/// A batch that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The largest timestamp of its records; of records that were left packed, what their header says it is.
    pub max_timestamp: Timestamp,
    /// The whole batch as it is to be stored, where that is in another codec than it was sent in.
    pub repacked: Option<Vec<u8>>,
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
    /// What is wrong, where Kafka counts that.
    pub flaw: Option<Flaw>,
}

/// What Kafka counts of refused batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Its bytes are not those of its CRC.
    Crc,
    /// Its offsets, its sequence, or that it is one of control records.
    OffsetOrSequence,
    /// So many records have no key, and the topic is compacted.
    NoKey(u64),
}

/// Memory for looking into compressed batches, to be used again; and how much one request may still unpack.
#[derive(Debug)]
pub struct Scratch {
    buffer: Vec<u8>,
    decompressor: Decompressor,
    repacker: Repacker,
    left_bytes: u64,
    /// The request has had none opened yet.
    is_first: bool,
}

impl Scratch {
    /// From here on, batches are those of a request of so many bytes.
    pub fn begin_request(&mut self, request_bytes: usize) {
        self.left_bytes = REQUEST_UNPACKED_BYTES_MAX.max(request_bytes as u64 * REQUEST_UNPACKED_RATIO_MAX);
        self.is_first = true;
    }

    /// Whether a batch that need not be opened had better stay closed: the request has had much unpacked already.
    pub fn is_spent(&self) -> bool {
        self.left_bytes < UNPACKED_BYTES_MAX
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            decompressor: Decompressor::default(),
            repacker: Repacker::default(),
            left_bytes: REQUEST_UNPACKED_BYTES_MAX,
            is_first: true,
        }
    }
}

/// Checks `batch`.
pub fn validate(batch: &Batch<'_>, rules: &Rules<'_>, scratch: &mut Scratch) -> Result<Validated, Invalid> {
    let header = batch.header();
    let codec = check_header(batch, rules)?;
    let target = rules.target.filter(|target| target.codec != codec);
    let mut walk = Walk::new(header, rules);
    let mut unpacked_bytes = batch.records().len() as u64;
    if codec == Compression::None {
        for record in RecordIter::new(header, batch.records()) {
            let record = record.map_err(|error| walk.malformed(codec, error))?;
            walk.has_gap |= record.offset_delta != walk.index;
            walk.take(record.timestamp, record.offset.0, record.key.is_none());
        }
    } else if rules.depth == Depth::Records || target.is_some() || depends_on_records(header, rules, &walk) {
        (walk, unpacked_bytes) = walk_packed(batch, rules, codec, scratch)?;
    } else {
        walk.max_timestamp = header.max_timestamp;
    }
    let unpacked = Unpacked { size_bytes: unpacked_bytes, has_gap: walk.has_gap };
    let max_timestamp = walk.finish()?;
    if unpacked.has_gap && codec != Compression::None && target.is_none() {
        // Kafka would have to number them anew, which it fails to do with this code.
        let name = rules.topic_partition;
        let message = format!("The offsets in the compressed batch for {name} do not rise one by one from 0");
        return Err(Invalid::new(ErrorCode::UnknownServerError, message));
    }
    let repacked = target.map(|target| repack(batch, rules, target, unpacked, scratch)).transpose()?;
    Ok(Validated { max_timestamp, repacked })
}

fn repack(
    batch: &Batch<'_>,
    rules: &Rules<'_>,
    target: Target,
    unpacked: Unpacked,
    scratch: &mut Scratch,
) -> Result<Vec<u8>, Invalid> {
    let unpacking = (&mut scratch.decompressor, rules.zstd_window);
    let repacked = scratch.repacker.repack(batch, unpacked, target, rules.size_max_bytes, unpacking);
    scratch.decompressor.trim(KEPT_BYTES);
    scratch.repacker.trim(KEPT_TO_PACK_BYTES);
    repacked.map_err(|error| match error {
        RepackError::TooLarge { size_bytes } => {
            let message = format!(
                "Message batch size is {size_bytes} bytes in append to partition {} which exceeds the maximum configured \
                 size of {}.",
                rules.topic_partition, rules.size_max_bytes
            );
            Invalid::new(ErrorCode::MessageTooLarge, message)
        }
        RepackError::Unpack(error) => Invalid::new(ErrorCode::UnknownServerError, error.to_string()),
    })
}

/// Whether a compressed batch must be opened, although its header is believed.
fn depends_on_records(header: &BatchHeader, rules: &Rules<'_>, walk: &Walk<'_>) -> bool {
    let times = [header.base_timestamp, header.max_timestamp];
    // Retention would take such a batch for a very old one.
    let lies = header.max_timestamp < header.base_timestamp;
    rules.compacted
        || lies
        || header.attributes.timestamp_type() == TimestampType::LogAppendTime
        || !rules.log_append_time
            && (rules.before_max_ms.is_some() || times.into_iter().any(|timestamp| walk.is_out_of_range(timestamp)))
}

/// Checks all that needs no record.
fn check_header(batch: &Batch<'_>, rules: &Rules<'_>) -> Result<Compression, Invalid> {
    let (header, name) = (batch.header(), rules.topic_partition);
    if header.base_offset.0 != 0 {
        let message =
            format!("A producer numbers records from offset 0, but this batch for {name} from {}", header.base_offset);
        return Err(Invalid::new(ErrorCode::InvalidRecord, message));
    }
    let crc = crc_of(batch.bytes());
    if crc != header.crc {
        let message = format!(
            "The batch for {name} was damaged on its way: its CRC is {:#x}, that of its bytes {crc:#x}",
            header.crc
        );
        return Err(Invalid::new(ErrorCode::CorruptMessage, message).because_of(Flaw::Crc));
    }
    let Some(codec) = header.compression() else {
        let message = format!("The batch for {name} is compressed with a codec that does not exist");
        return Err(Invalid::new(ErrorCode::UnknownServerError, message));
    };
    let invalid =
        |message: String| Err(Invalid::new(ErrorCode::InvalidRecord, message).because_of(Flaw::OffsetOrSequence));
    let (last, count) = (header.last_offset_delta, header.record_count);
    if last < 0 || count <= 0 || i64::from(last) + 1 != i64::from(count) {
        return invalid(format!("The batch for {name} announces {count} records and offsets from 0 to {last}"));
    }
    if header.attributes.is_control() {
        return invalid(format!("Clients must not write control records, as they do to {name}"));
    }
    if header.producer_id.0 >= 0 && header.base_sequence < 0 {
        return invalid(format!(
            "The batch for {name} has the producer id {} and no sequence number, but {}",
            header.producer_id, header.base_sequence
        ));
    }
    Ok(codec)
}

/// Walks over the records of a compressed batch, and says how much came out.
fn walk_packed<'a>(
    batch: &Batch<'_>,
    rules: &'a Rules<'a>,
    codec: Compression,
    scratch: &mut Scratch,
) -> Result<(Walk<'a>, u64), Invalid> {
    let mut walk = Walk::new(batch.header(), rules);
    let of_batch = UNPACKED_BYTES_MAX.max(batch.bytes().len() as u64 * UNPACKED_RATIO_MAX);
    let is_first = std::mem::replace(&mut scratch.is_first, false);
    let limit_bytes = if is_first { of_batch } else { of_batch.min(scratch.left_bytes) };
    let walked = walk_within(&mut walk, batch, codec, limit_bytes, scratch);
    scratch.decompressor.trim(KEPT_BYTES);
    match walked {
        Ok(unpacked_bytes) => Ok((walk, unpacked_bytes)),
        Err(StreamError::Unpack(_) | StreamError::TooLarge { .. }) if limit_bytes < of_batch => {
            let name = rules.topic_partition;
            let message = format!("The batch for {name} is to be sent again: those before it unpacked to so much");
            // After this, all clients do.
            Err(Invalid::new(ErrorCode::NotEnoughReplicas, message))
        }
        Err(StreamError::Record(error)) => Err(walk.malformed(codec, error)),
        Err(error @ StreamError::Unpack(_)) => Err(walk.invalid(ErrorCode::UnknownServerError, &error)),
        Err(error @ (StreamError::TooLarge { .. } | StreamError::RecordTooLarge { .. })) => {
            Err(walk.invalid(ErrorCode::InvalidRecord, &error))
        }
    }
}

fn walk_within(
    walk: &mut Walk<'_>,
    batch: &Batch<'_>,
    codec: Compression,
    limit_bytes: u64,
    scratch: &mut Scratch,
) -> Result<u64, StreamError> {
    scratch.buffer.resize(BUFFER_BYTES, 0);
    let window = walk.rules.zstd_window;
    let mut reader = scratch.decompressor.reader_within(codec, batch.records(), window).map_err(StreamError::Unpack)?;
    reader.limit_further_members(usize::try_from(limit_bytes / GZIP_MEMBER_BYTES).unwrap_or(usize::MAX));
    let mut records = RecordStream::new(batch.header(), &mut reader, limit_bytes, &mut scratch.buffer)
        .with_record_limit(walk.rules.max_decompressed_record_bytes);
    let walked = walk_stream(walk, &mut records);
    let unpacked_bytes = records.unpacked_bytes();
    let spent_bytes = unpacked_bytes + reader.further_members() as u64 * GZIP_MEMBER_BYTES;
    scratch.left_bytes = scratch.left_bytes.saturating_sub(spent_bytes);
    walked.map(|()| unpacked_bytes)
}

fn walk_stream(walk: &mut Walk<'_>, records: &mut RecordStream<'_, impl io::Read>) -> Result<(), StreamError> {
    while let Some(record) = records.next_record()? {
        walk.has_gap |= record.offset_delta != walk.index;
        walk.take(record.timestamp, record.offset.0, record.key_length.is_none());
    }
    Ok(())
}

/// What was found so far.
struct Walk<'a> {
    rules: &'a Rules<'a>,
    earliest: Timestamp,
    latest: Timestamp,
    /// The producer says that the times are the broker's.
    has_broker_times: bool,
    /// The offsets do not rise one by one from 0.
    has_gap: bool,
    index: i32,
    max_timestamp: Timestamp,
    wrong: Vec<(i32, String)>,
    wrong_count: usize,
    keyless_count: u64,
    is_time_wrong: bool,
}

impl<'a> Walk<'a> {
    fn new(header: &BatchHeader, rules: &'a Rules<'a>) -> Self {
        Self {
            rules,
            earliest: rules.now_ms.saturating_sub(rules.before_max_ms.unwrap_or(i64::MAX)),
            latest: rules.now_ms.saturating_add(rules.after_max_ms.unwrap_or(i64::MAX)),
            has_broker_times: header.attributes.timestamp_type() == TimestampType::LogAppendTime,
            has_gap: false,
            index: 0,
            max_timestamp: NO_TIMESTAMP,
            wrong: Vec::new(),
            wrong_count: 0,
            keyless_count: 0,
            is_time_wrong: false,
        }
    }

    fn take(&mut self, timestamp: Timestamp, offset: i64, is_key_null: bool) {
        let checks_range = !self.rules.log_append_time && timestamp != NO_TIMESTAMP;
        let is_time_wrong = if checks_range { self.is_out_of_range(timestamp) } else { self.has_broker_times };
        if is_time_wrong || (is_key_null && self.rules.compacted) {
            self.refuse(timestamp, offset, is_key_null, checks_range);
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.index += 1;
    }

    fn is_out_of_range(&self, timestamp: Timestamp) -> bool {
        timestamp != NO_TIMESTAMP && (timestamp < self.earliest || timestamp > self.latest)
    }

    /// The key is looked at first, so that a record without one is not blamed for its time.
    #[cold]
    fn refuse(&mut self, timestamp: Timestamp, offset: i64, is_key_null: bool, checks_range: bool) {
        let is_key_missing = is_key_null && self.rules.compacted;
        self.wrong_count += 1;
        self.keyless_count += u64::from(is_key_missing);
        self.is_time_wrong |= !is_key_missing;
        if self.wrong.len() == RECORD_ERRORS_MAX {
            return;
        }
        let message = if is_key_missing {
            let name = self.rules.topic_partition;
            format!("Compacted topic cannot accept message without key in topic partition {name}")
        } else if checks_range {
            format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
                 [{}, {}]",
                self.earliest, self.latest
            )
        } else {
            format!("The message with offset {offset} says that its time is the broker's, which a producer must not")
        };
        self.wrong.push((self.index, message));
    }

    fn malformed(&self, codec: Compression, error: RecordError) -> Invalid {
        // Kafka trips over this one in a batch that is not compressed, and has no code for it.
        let is_unforeseen = codec == Compression::None && error == RecordError::VarintTooLong;
        let code = if is_unforeseen { ErrorCode::UnknownServerError } else { ErrorCode::InvalidRecord };
        self.invalid(code, &error)
    }

    fn invalid(&self, code: ErrorCode, error: &dyn std::error::Error) -> Invalid {
        let message = format!("The batch for {}, at record {}: {error}", self.rules.topic_partition, self.index);
        Invalid::new(code, message)
    }

    /// The largest time of all records.
    fn finish(self) -> Result<Timestamp, Invalid> {
        let flaw = (self.keyless_count > 0).then_some(Flaw::NoKey(self.keyless_count));
        if self.is_time_wrong {
            let message = "One or more records have been rejected due to invalid timestamp".to_owned();
            return Err(Invalid { code: ErrorCode::InvalidTimestamp, message, record_errors: self.wrong, flaw });
        }
        if self.wrong_count > 0 {
            let listed: Vec<String> = self.wrong.iter().take(LISTED_IN_MESSAGE).map(listed).collect();
            let message = format!(
                "One or more records have been rejected due to {} record errors in total, and only showing the first three \
                 errors at most: [{}]",
                self.wrong_count,
                listed.join(", ")
            );
            return Err(Invalid { code: ErrorCode::InvalidRecord, message, record_errors: self.wrong, flaw });
        }
        Ok(self.max_timestamp)
    }
}

fn listed((index, message): &(i32, String)) -> String {
    format!("RecordError(batchIndex={index}, message='{message}')")
}

impl Invalid {
    fn new(code: ErrorCode, message: String) -> Self {
        Self { code, message, record_errors: Vec::new(), flaw: None }
    }

    fn because_of(self, flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..self }
    }
}

#[cfg(test)]
mod tests;
