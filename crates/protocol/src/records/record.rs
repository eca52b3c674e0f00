//! The records inside a batch, read one by one where they lie. Nothing is copied and nothing allocated.
//!
//! ```text
//!   length varint | attributes i8 | timestamp delta varlong | offset delta varint
//!   | key length varint, key | value length varint, value | header count varint | { key length, key, value length, value }*
//! ```
//!
//! A negative length is null, as Kafka reads it; a header's key is never null.

use std::fmt;

use ottla_base::{Offset, Timestamp};

use super::batch::{BatchHeader, TimestampType};
use super::varint::{take_varint, take_varlong};

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Unused, but kept.
    pub attributes: i8,
    /// When it was made, or appended.
    pub timestamp: Timestamp,
    /// Where it is in the partition.
    pub offset: Offset,
    /// From the base offset on.
    pub offset_delta: i32,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

/// The headers of a record, in order; the same key may come twice.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    count: i32,
    bytes: &'a [u8],
}

/// Why bytes are not the records that their batch announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The bytes end inside a record.
    Truncated,
    /// A number goes on after its last byte.
    VarintTooLong,
    /// The length of a record or of a header's key, or the count of headers, is negative.
    NegativeLength,
    /// A record's fields take more or fewer bytes than it says.
    Length,
    /// More records were announced than there are.
    TooFew,
    /// Bytes follow the last record.
    Leftover,
}

/// The records of an unpacked batch. Ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    left: i32,
    ended: bool,
    places: Places,
}

/// What turns the deltas of records into offsets and timestamps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    base_offset: Offset,
    base_timestamp: Timestamp,
    log_append_time: Option<Timestamp>,
}

impl Places {
    pub fn new(header: &BatchHeader) -> Self {
        let appended = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time: appended.then_some(header.max_timestamp),
        }
    }

    /// Wraps where a delta is absurd: whoever asks compares the result with what it may be.
    pub fn timestamp(&self, delta: i64) -> Timestamp {
        self.log_append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(delta))
    }

    /// Wraps like [`Places::timestamp`].
    pub fn offset(&self, delta: i32) -> Offset {
        Offset(self.base_offset.0.wrapping_add(delta.into()))
    }
}

impl<'a> RecordIter<'a> {
    /// The records in `bytes`, which are the unpacked records of a batch with this header.
    pub fn new(header: &BatchHeader, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, left: header.record_count, ended: false, places: Places::new(header) }
    }

    #[inline]
    fn step(&mut self) -> Result<Option<Record<'a>>, RecordError> {
        if self.left <= 0 {
            return if self.rest.is_empty() { Ok(None) } else { Err(RecordError::Leftover) };
        }
        if self.rest.is_empty() {
            return Err(RecordError::TooFew);
        }
        self.left -= 1;
        let length = usize::try_from(take_varint(&mut self.rest)?).map_err(|_| RecordError::NegativeLength)?;
        let (body, rest) = self.rest.split_at_checked(length).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        // A field that ends only after the record does is a wrong length, not a batch cut short.
        let record = self.record(body).map_err(|error| match error {
            RecordError::Truncated => RecordError::Length,
            error => error,
        })?;
        Ok(Some(record))
    }

    #[inline]
    fn record(&self, body: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let (&attributes, mut body) = body.split_first().ok_or(RecordError::Truncated)?;
        let timestamp_delta = take_varlong(&mut body)?;
        let offset_delta = take_varint(&mut body)?;
        let key = take_nullable(&mut body)?;
        let value = take_nullable(&mut body)?;
        let count = take_varint(&mut body)?;
        if count < 0 {
            return Err(RecordError::NegativeLength);
        }
        let headers = Headers { count, bytes: body };
        for _ in 0..count {
            take_header(&mut body)?;
        }
        if !body.is_empty() {
            return Err(RecordError::Length);
        }
        Ok(Record {
            attributes: attributes.cast_signed(),
            timestamp: self.places.timestamp(timestamp_delta),
            offset: self.places.offset(offset_delta),
            offset_delta,
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value of each. A key is UTF-8 where its producer kept to the rules, which nobody checks.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut bytes = self.bytes;
        (0..self.count).map(move |_| take_header(&mut bytes).expect("the headers were walked when the record was read"))
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), RecordError> {
    let key = take_nullable(bytes)?.ok_or(RecordError::NegativeLength)?;
    Ok((key, take_nullable(bytes)?))
}

#[inline]
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let Ok(length) = usize::try_from(take_varint(bytes)?) else { return Ok(None) };
    let (taken, rest) = bytes.split_at_checked(length).ok_or(RecordError::Truncated)?;
    *bytes = rest;
    Ok(Some(taken))
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the batch ends inside a record",
            Self::VarintTooLong => "a varint is too long",
            Self::NegativeLength => "a length is negative where null is not allowed",
            Self::Length => "a record is not as long as it says",
            Self::TooFew => "there are fewer records than the batch announces",
            Self::Leftover => "bytes follow the last record",
        })
    }
}

impl std::error::Error for RecordError {}
