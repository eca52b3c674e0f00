//! Records read out of a stream that is unpacked as it is read: where they are, when they were made, how long they are.
//!
//! Keys, values and headers are stepped over, never held, so that the memory is one fixed buffer however much comes out
//! of a batch. Whoever wants the bodies unpacks the batch into memory and takes a [`super::RecordIter`].

use std::fmt;
use std::io::{self, Read};

use ottla_base::{Offset, Timestamp};

use super::batch::BatchHeader;
use super::record::{Places, RecordError};
use super::varint::{VARINT_BYTES_MAX, VARLONG_BYTES_MAX, zigzag_32, zigzag_64};

/// A record without its bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordOutline {
    /// When it was made, or appended.
    pub timestamp: Timestamp,
    /// Where it is in the partition.
    pub offset: Offset,
    /// From the base offset on.
    pub offset_delta: i32,
    /// The bytes of the key.
    pub key_length: Option<usize>,
    /// The bytes of the value.
    pub value_length: Option<usize>,
}

/// Why a record cannot be read.
#[derive(Debug)]
pub enum StreamError {
    /// What comes out are not the records that the batch announces.
    Record(RecordError),
    /// The codec gives up.
    Unpack(io::Error),
    /// More comes out than is allowed.
    TooLarge {
        /// How much is.
        limit_bytes: u64,
    },
    /// One record is longer than is allowed.
    RecordTooLarge {
        /// How long it may be.
        limit_bytes: usize,
    },
}

/// Reads the outlines of a batch's records.
#[derive(Debug)]
pub struct RecordStream<'b, R> {
    source: R,
    buffer: &'b mut [u8],
    /// What of the buffer has been filled and not been read.
    unread: std::ops::Range<usize>,
    /// What the record being read has left of the length it gave.
    record_left: usize,
    records_left: i32,
    unpacked_bytes: u64,
    limit_bytes: u64,
    record_limit_bytes: usize,
    places: Places,
}

impl<'b, R: Read> RecordStream<'b, R> {
    /// The records that come out of `source`, those of a batch with this header. Stops where more than `limit_bytes` come
    /// out.
    ///
    /// # Panics
    /// Where `buffer`, through which everything goes, is empty.
    pub fn new(header: &BatchHeader, source: R, limit_bytes: u64, buffer: &'b mut [u8]) -> Self {
        assert!(!buffer.is_empty(), "nothing goes through an empty buffer");
        Self {
            source,
            buffer,
            unread: 0..0,
            record_left: 0,
            records_left: header.record_count,
            unpacked_bytes: 0,
            limit_bytes,
            record_limit_bytes: usize::MAX,
            places: Places::new(header),
        }
    }

    /// Stops where a record is longer than `limit_bytes`.
    #[must_use]
    pub fn with_record_limit(self, limit_bytes: usize) -> Self {
        Self { record_limit_bytes: limit_bytes, ..self }
    }

    /// What has come out so far.
    pub fn unpacked_bytes(&self) -> u64 {
        self.unpacked_bytes
    }

    /// The next record; `None` after the last one. Not to be called after an error.
    pub fn next_record(&mut self) -> Result<Option<RecordOutline>, StreamError> {
        let at_end = self.unread.is_empty() && !self.refill()?;
        match (at_end, self.records_left > 0) {
            (true, false) => return Ok(None),
            (false, false) => return Err(RecordError::Leftover.into()),
            (true, true) => return Err(RecordError::TooFew.into()),
            (false, true) => {}
        }
        self.records_left -= 1;
        self.record_left = usize::MAX;
        self.record_left = usize::try_from(self.varint()?).map_err(|_| RecordError::NegativeLength)?;
        if self.record_left > self.record_limit_bytes {
            return Err(StreamError::RecordTooLarge { limit_bytes: self.record_limit_bytes });
        }
        self.byte()?;
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let key_length = self.skip_nullable()?;
        let value_length = self.skip_nullable()?;
        let header_count = self.varint()?;
        if header_count < 0 {
            return Err(RecordError::NegativeLength.into());
        }
        for _ in 0..header_count {
            self.skip_nullable()?.ok_or(RecordError::NegativeLength)?;
            self.skip_nullable()?;
        }
        if self.record_left > 0 {
            return Err(RecordError::Length.into());
        }
        Ok(Some(RecordOutline {
            timestamp: self.places.timestamp(timestamp_delta),
            offset: self.places.offset(offset_delta),
            offset_delta,
            key_length,
            value_length,
        }))
    }

    fn varint(&mut self) -> Result<i32, StreamError> {
        self.varint_of(VARINT_BYTES_MAX).map(zigzag_32)
    }

    fn varlong(&mut self) -> Result<i64, StreamError> {
        self.varint_of(VARLONG_BYTES_MAX).map(zigzag_64)
    }

    fn varint_of(&mut self, longest: u32) -> Result<u64, StreamError> {
        let mut bits = 0;
        for index in 0..longest {
            let byte = self.byte()?;
            bits |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(bits);
            }
        }
        Err(RecordError::VarintTooLong.into())
    }

    fn byte(&mut self) -> Result<u8, StreamError> {
        self.record_left = self.record_left.checked_sub(1).ok_or(RecordError::Length)?;
        if self.unread.is_empty() && !self.refill()? {
            return Err(RecordError::Truncated.into());
        }
        let byte = self.buffer[self.unread.start];
        self.unread.start += 1;
        Ok(byte)
    }

    fn skip_nullable(&mut self) -> Result<Option<usize>, StreamError> {
        let Ok(length) = usize::try_from(self.varint()?) else { return Ok(None) };
        self.record_left = self.record_left.checked_sub(length).ok_or(RecordError::Length)?;
        let mut left = length;
        while left > self.unread.len() {
            left -= self.unread.len();
            if !self.refill()? {
                return Err(RecordError::Truncated.into());
            }
        }
        self.unread.start += left;
        Ok(Some(length))
    }

    /// Fills the buffer anew, after all of it was read; false at the end of the stream.
    fn refill(&mut self) -> Result<bool, StreamError> {
        let count = loop {
            match self.source.read(self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(StreamError::Unpack)?,
            }
        };
        self.unread = 0..count;
        self.unpacked_bytes += count as u64;
        if self.unpacked_bytes > self.limit_bytes {
            return Err(StreamError::TooLarge { limit_bytes: self.limit_bytes });
        }
        Ok(count > 0)
    }
}

impl From<RecordError> for StreamError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => error.fmt(f),
            Self::Unpack(error) => write!(f, "the records cannot be decompressed: {error}"),
            Self::TooLarge { limit_bytes } => write!(f, "the records unpack to more than {limit_bytes} bytes"),
            Self::RecordTooLarge { limit_bytes } => write!(f, "it unpacks to more than {limit_bytes} bytes"),
        }
    }
}

impl std::error::Error for StreamError {}
