//! Record batches of magic 2 (KIP-98): a view of the header over the bytes as they are, and the few changes a broker makes.
//!
//! ```text
//!    0  base offset i64                       not in the CRC
//!    8  batch length i32                      all that follows this field
//!   12  partition leader epoch i32            not in the CRC
//!   16  magic i8 = 2
//!   17  CRC-32C u32                           of all that follows this field
//!   21  attributes i16                        codec, timestamp type, transactional, control, delete horizon
//!   23  last offset delta i32
//!   27  base timestamp i64
//!   35  max timestamp i64
//!   43  producer id i64
//!   51  producer epoch i16
//!   53  base sequence i32
//!   57  record count i32
//!   61  records                               compressed as one stream, if at all
//! ```

use std::fmt;

use ottla_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::compression::Compression;
use crate::error::ErrorCode;

/// The bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// The bytes that the batch length does not count.
pub const LENGTH_OVERHEAD_BYTES: usize = 12;
/// The only magic that is written.
pub const MAGIC: i8 = 2;

const LENGTH_AT: usize = 8;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const RECORD_COUNT_AT: usize = 57;

/// The last of the formats before [`MAGIC`].
const OLD_MAGIC_LAST: i8 = 1;

pub(super) const COMPRESSION_BITS: i16 = 7;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
pub(super) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(super) const CONTROL_BIT: i16 = 1 << 5;
pub(super) const DELETE_HORIZON_BIT: i16 = 1 << 6;
/// The others mean nothing.
pub(super) const KNOWN_BITS: i16 = (1 << 7) - 1;

/// The flags of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

/// Whose clock the timestamps are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's, record by record.
    CreateTime,
    /// The broker's: every record has the batch's max timestamp.
    LogAppendTime,
}

/// The fields of a batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record; from producers 0.
    pub base_offset: Offset,
    /// The bytes that follow the length itself.
    pub length: i32,
    /// Which leadership wrote it; from producers -1.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of what follows it.
    pub crc: u32,
    /// The flags.
    pub attributes: Attributes,
    /// The last offset, from the base offset on.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from; or the delete horizon.
    pub base_timestamp: Timestamp,
    /// The largest timestamp.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

/// A whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

/// No record of any format is shorter.
const LEAST_LENGTH: i32 = 14;

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The bytes end before the batch does; so many are needed.
    Truncated {
        /// From the start of the batch.
        needed: usize,
    },
    /// A format that is not written any more, or never was.
    Magic(i8),
    /// A length that no batch has.
    Length(i32),
}

/// What a leader does to the timestamps of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampChange {
    /// All records get the time of the append.
    LogAppendTime(Timestamp),
    /// They keep theirs, the largest of which is this.
    CreateTime {
        /// The largest timestamp.
        max_timestamp: Timestamp,
    },
}

impl Attributes {
    /// The codec; `None` for the numbers 5 to 7.
    pub fn compression(self) -> Option<Compression> {
        Compression::from_id((self.0 & COMPRESSION_BITS) as i8)
    }

    /// Whose clock the timestamps are of.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME_BIT == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL_BIT != 0
    }

    /// Whether its records are for clients and brokers, not for applications.
    pub fn is_control(self) -> bool {
        self.0 & CONTROL_BIT != 0
    }

    /// Whether the base timestamp is a delete horizon (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON_BIT != 0
    }

    /// With another codec.
    pub(super) fn with_compression(self, codec: Compression) -> Self {
        Self(self.0 & !COMPRESSION_BITS | i16::from(codec.id()))
    }

    fn with_timestamp_type(self, kind: TimestampType) -> Self {
        match kind {
            TimestampType::CreateTime => Self(self.0 & !LOG_APPEND_TIME_BIT),
            // As in Kafka, which leaves the bits that mean nothing to it otherwise.
            TimestampType::LogAppendTime => Self(self.0 & KNOWN_BITS | LOG_APPEND_TIME_BIT),
        }
    }
}

impl BatchHeader {
    /// Reads a header; the records need not be there.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // Length and magic stand at the same places in every format, and are looked at in this order, as by Kafka.
        if bytes.len() >= EPOCH_AT
            && let length @ ..LEAST_LENGTH = i32_at(bytes, LENGTH_AT)
        {
            return Err(BatchError::Length(length));
        }
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic as i8 != MAGIC
        {
            return Err(BatchError::Magic(magic as i8));
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { needed: HEADER_BYTES });
        };
        let parsed = Self {
            base_offset: Offset(i64_at(header, 0)),
            length: i32_at(header, LENGTH_AT),
            partition_leader_epoch: LeaderEpoch(i32_at(header, EPOCH_AT)),
            crc: i32_at(header, CRC_AT) as u32,
            attributes: Attributes(i16_at(header, ATTRIBUTES_AT)),
            last_offset_delta: i32_at(header, LAST_OFFSET_DELTA_AT),
            base_timestamp: i64_at(header, BASE_TIMESTAMP_AT),
            max_timestamp: i64_at(header, MAX_TIMESTAMP_AT),
            producer_id: ProducerId(i64_at(header, PRODUCER_ID_AT)),
            producer_epoch: ProducerEpoch(i16_at(header, PRODUCER_EPOCH_AT)),
            base_sequence: i32_at(header, BASE_SEQUENCE_AT),
            record_count: i32_at(header, RECORD_COUNT_AT),
        };
        if parsed.length < (HEADER_BYTES - LENGTH_OVERHEAD_BYTES) as i32 {
            return Err(BatchError::Length(parsed.length));
        }
        Ok(parsed)
    }

    /// The header as it is in a batch.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.base_offset.0.to_be_bytes());
        put(LENGTH_AT, &self.length.to_be_bytes());
        put(EPOCH_AT, &self.partition_leader_epoch.0.to_be_bytes());
        put(MAGIC_AT, &MAGIC.to_be_bytes());
        put(CRC_AT, &self.crc.to_be_bytes());
        put(ATTRIBUTES_AT, &self.attributes.0.to_be_bytes());
        put(LAST_OFFSET_DELTA_AT, &self.last_offset_delta.to_be_bytes());
        put(BASE_TIMESTAMP_AT, &self.base_timestamp.to_be_bytes());
        put(MAX_TIMESTAMP_AT, &self.max_timestamp.to_be_bytes());
        put(PRODUCER_ID_AT, &self.producer_id.0.to_be_bytes());
        put(PRODUCER_EPOCH_AT, &self.producer_epoch.0.to_be_bytes());
        put(BASE_SEQUENCE_AT, &self.base_sequence.to_be_bytes());
        put(RECORD_COUNT_AT, &self.record_count.to_be_bytes());
        bytes
    }

    /// The bytes of the whole batch.
    pub fn size_bytes(&self) -> usize {
        LENGTH_OVERHEAD_BYTES + usize::try_from(self.length).expect("a header with a negative length is not parsed")
    }

    /// The offset of the last record, also where that was compacted away. Wraps, like [`BatchHeader::next_offset`], on
    /// numbers that no log has, because a header is read before anybody has checked them.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// The sequence number of the last record; after 2147483647 comes 0. -1 without a sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// The codec; `None` for the numbers 5 to 7.
    pub fn compression(&self) -> Option<Compression> {
        self.attributes.compression()
    }

    /// From when on compaction may remove the deleted keys in it, or the marker, once it has seen them (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

impl<'a> Batch<'a> {
    /// Takes one batch from the front, and gives the rest.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size_bytes();
        let (bytes, rest) = bytes.split_at_checked(needed).ok_or(BatchError::Truncated { needed })?;
        Ok((Self { header, bytes }, rest))
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: the records, or their compressed form.
    pub fn records(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Whether the CRC in the header is that of the bytes.
    pub fn is_crc_valid(&self) -> bool {
        crc_of(self.bytes) == self.header.crc
    }
}

/// The batches in a piece of a log, one after the other. A tail that is cut off ends the iteration, as a fetch may end
/// inside a batch; bytes that are no batch at all end it with an error.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    /// The batches in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Batch::parse(self.rest) {
            Ok((batch, rest)) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(error) => {
                self.rest = &[];
                (!matches!(error, BatchError::Truncated { .. })).then_some(Err(error))
            }
        }
    }
}

/// The CRC that belongs into a whole batch.
pub fn crc_of(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[ATTRIBUTES_AT..])
}

/// Writes the base offset into a batch. The CRC does not cover it.
pub fn set_base_offset(batch: &mut [u8], offset: Offset) {
    batch[..LENGTH_AT].copy_from_slice(&offset.0.to_be_bytes());
}

/// Writes the leader epoch into a batch. The CRC does not cover it.
pub fn set_partition_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    batch[EPOCH_AT..MAGIC_AT].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Changes the timestamps of a whole batch, and its CRC with them: what [`patched_header`] is held to.
#[cfg(test)]
pub(super) fn set_timestamps(batch: &mut [u8], change: TimestampChange) {
    write_timestamps(batch, change);
    set_crc(batch);
}

/// Writes the CRC that belongs into a whole batch.
pub(super) fn set_crc(batch: &mut [u8]) {
    let crc = crc_of(batch);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

/// The first bytes of `batch` as a leader writes them, for those who cannot write into the bytes they were sent. The CRC is
/// computed anew only where a timestamp really changes.
pub fn patched_header(
    batch: &Batch<'_>,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamps: TimestampChange,
) -> [u8; HEADER_BYTES] {
    let mut header = *batch.bytes.first_chunk::<HEADER_BYTES>().expect("a batch begins with its header");
    set_base_offset(&mut header, base_offset);
    set_partition_leader_epoch(&mut header, leader_epoch);
    let before = header;
    write_timestamps(&mut header, timestamps);
    if header != before {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[ATTRIBUTES_AT..]), batch.records());
        header[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    }
    header
}

fn write_timestamps(batch: &mut [u8], change: TimestampChange) {
    let attributes = Attributes(i16_at(batch, ATTRIBUTES_AT));
    let (kind, max_timestamp) = match change {
        TimestampChange::LogAppendTime(now) => (TimestampType::LogAppendTime, now),
        TimestampChange::CreateTime { max_timestamp } => (TimestampType::CreateTime, max_timestamp),
    };
    let attributes = attributes.with_timestamp_type(kind);
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.0.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp.to_be_bytes());
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(*bytes[at..].first_chunk().expect("the caller has checked the length"))
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(*bytes[at..].first_chunk().expect("the caller has checked the length"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(*bytes[at..].first_chunk().expect("the caller has checked the length"))
}

impl BatchError {
    /// What a producer is told that sent such bytes.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Truncated { .. } | Self::Magic(0..=OLD_MAGIC_LAST) => ErrorCode::InvalidRecord,
            Self::Magic(_) | Self::Length(_) => ErrorCode::CorruptMessage,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed } => write!(f, "the bytes end before the batch does, which takes {needed}"),
            Self::Magic(magic @ 0..2) => write!(f, "a batch of magic {magic}, where only magic 2 is taken"),
            // As Kafka says it.
            Self::Magic(magic) => write!(f, "Invalid magic found in record: {magic}"),
            Self::Length(length @ ..LEAST_LENGTH) => {
                write!(f, "Record size {length} is less than the minimum record overhead ({LEAST_LENGTH})")
            }
            Self::Length(length) => write!(f, "no batch has a length of {length}"),
        }
    }
}

impl std::error::Error for BatchError {}
