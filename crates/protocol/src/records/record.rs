//! The records inside a batch, read one by one where they lie.
//!
//! ```text
//!   length varint | attributes i8 | timestamp delta varlong | offset delta varint
//!   | key length varint, key | value length varint, value | header count varint | { key length, key, value length, value }*
//! ```
//!
//! Lengths of -1 are null; a header's key is never null.

use std::fmt;

use ottla_base::{Offset, Timestamp};

use super::batch::{BatchHeader, TimestampType};
use crate::wire::{DecodeError, Reader};

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
    /// A number or length that does not fit what remains.
    Malformed(DecodeError),
    /// A negative length where none may be.
    NegativeLength,
    /// A record is longer or shorter than it says.
    Length,
    /// More records were announced than there are.
    TooFew,
    /// Bytes follow the last record.
    Leftover,
}

/// The records of an unpacked batch.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    reader: Reader<'a>,
    left: i32,
    base_offset: Offset,
    base_timestamp: Timestamp,
    log_append_time: Option<Timestamp>,
    ended: bool,
}

impl<'a> RecordIter<'a> {
    /// The records in `bytes`, which are the unpacked records of a batch with this header.
    pub fn new(header: &BatchHeader, bytes: &'a [u8]) -> Self {
        let appended = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            reader: Reader::new(bytes),
            left: header.record_count,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time: appended.then_some(header.max_timestamp),
            ended: false,
        }
    }

    fn step(&mut self) -> Result<Option<Record<'a>>, RecordError> {
        if self.left <= 0 {
            return if self.reader.remaining().is_empty() { Ok(None) } else { Err(RecordError::Leftover) };
        }
        if self.reader.remaining().is_empty() {
            return Err(RecordError::TooFew);
        }
        self.left -= 1;
        let length = usize::try_from(self.reader.varint()?).map_err(|_| RecordError::NegativeLength)?;
        let mut body = Reader::new(self.reader.take(length)?);
        let attributes = body.int8()?;
        let timestamp = self.base_timestamp.wrapping_add(body.varlong()?);
        let offset_delta = body.varint()?;
        let key = nullable(&mut body)?;
        let value = nullable(&mut body)?;
        let count = body.varint()?;
        if count < 0 {
            return Err(RecordError::NegativeLength);
        }
        let headers = Headers { count, bytes: body.remaining() };
        headers.walk(&mut body)?;
        if !body.remaining().is_empty() {
            return Err(RecordError::Length);
        }
        Ok(Some(Record {
            attributes,
            timestamp: self.log_append_time.unwrap_or(timestamp),
            offset: self.base_offset.plus(i64::from(offset_delta)),
            offset_delta,
            key,
            value,
            headers,
        }))
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

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

    /// Key and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map(move |_| header(&mut reader).expect("the headers were walked when the record was read"))
    }

    fn walk(&self, reader: &mut Reader<'a>) -> Result<(), RecordError> {
        (0..self.count).try_for_each(|_| header(reader).map(|_| ()))
    }
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), RecordError> {
    let key = nullable(reader)?.ok_or(RecordError::NegativeLength)?;
    Ok((key, nullable(reader)?))
}

fn nullable<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, RecordError> {
    match reader.varint()? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| RecordError::NegativeLength)?;
            Ok(Some(reader.take(length)?))
        }
    }
}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::NegativeLength => f.write_str("a negative length"),
            Self::Length => f.write_str("a record is not as long as it says"),
            Self::TooFew => f.write_str("there are fewer records than the batch announces"),
            Self::Leftover => f.write_str("bytes follow the last record"),
        }
    }
}

impl std::error::Error for RecordError {}
