//! Reads fields from bytes that somebody else wrote: nothing is believed, and nothing copied but what is not UTF-8.
//!
//! Two limits stand between a sender and our memory. A count must fit the bytes that remain, by the smallest size an
//! element can have. And all arrays of one message together may take [`BYTES_PER_BYTE`] times the frame (plus
//! [`BYTES_FLOOR`], so that no short message is refused), but never more than [`BYTES_CEILING`]: an empty string is one
//! byte on the wire and 24 in memory, and a frame full of them is not a message that anybody means. What an array takes
//! is charged before it is allocated. Strings, bytes and records cost nothing, for they stay in the frame; but for strings
//! that are not UTF-8, whose copies take up to three times what came.

use std::ops::RangeInclusive;

use ottla_base::Uuid;

use super::{DecodeError, MAX_STRING_LENGTH, Records, Str};

/// The arrays of a message take at most this many bytes for each byte of the frame. DescribeConfigs of ten thousand
/// topics with the shortest names there can be comes to 9.
const BYTES_PER_BYTE: usize = 16;
/// And these.
const BYTES_FLOOR: usize = 64 * 1024;
/// But never more: that is a Fetch of 100,000 partitions, each of another topic. Longer frames are long because of what stays
/// in them.
const BYTES_CEILING: usize = 16 * 1024 * 1024;

/// A place in a frame, and the memory that what is read from it may still take.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    memory: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        let multiple = bytes.len().saturating_mul(BYTES_PER_BYTE).saturating_add(BYTES_FLOOR);
        Self::with_memory_limit(bytes, multiple.min(BYTES_CEILING))
    }

    /// Like [`Reader::new`], with another limit (in bytes) to what is read may take in memory.
    pub const fn with_memory_limit(bytes: &'a [u8], limit: usize) -> Self {
        Self { bytes, memory: limit }
    }

    /// The same place, with no more than `limit` bytes left for what is read to take in memory.
    #[must_use]
    pub const fn at_most(self, limit: usize) -> Self {
        Self { bytes: self.bytes, memory: if self.memory < limit { self.memory } else { limit } }
    }

    /// What has not been read yet.
    pub const fn remaining(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// One byte; anything but 0 is true.
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        Ok(self.int8()? != 0)
    }

    /// A signed byte.
    pub fn int8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// 2 bytes.
    pub fn int16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// 4 bytes.
    pub fn int32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// 8 bytes.
    pub fn int64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// 2 bytes.
    pub fn uint16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// 4 bytes.
    pub fn uint32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// 8 bytes, IEEE 754.
    pub fn float64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// 16 bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid::from_bytes)
    }

    /// 1 to 5 bytes, the lowest 7 bits first.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let value = self.varint_of(5)?;
        u32::try_from(value).map_err(|_| DecodeError::VarintTooLong)
    }

    /// A uvarint in zigzag: 0, -1, 1, -2 ...
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.uvarint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// 1 to 10 bytes, in zigzag.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint_of(10)?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A string.
    pub fn string(&mut self, flexible: bool) -> Result<Str<'a>, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Str<'a>>, DecodeError> {
        let length = match flexible {
            true => self.compact_length()?,
            false => classic_length(self.int16()?.into()),
        };
        let Some(length) = length else { return Ok(None) };
        if length > MAX_STRING_LENGTH {
            return Err(DecodeError::StringTooLong);
        }
        // As in Kafka, what is not UTF-8 is replaced: there are clients whose id is in Latin-1.
        let string = String::from_utf8_lossy(self.take(length)?);
        if let Str::Owned(replaced) = &string {
            self.charge(replaced.capacity())?;
            // It could be written nowhere. Differs from Kafka, which finds that out when it writes.
            if replaced.len() > MAX_STRING_LENGTH {
                return Err(DecodeError::StringTooLong);
            }
        }
        Ok(Some(string))
    }

    /// Bytes.
    pub fn bytes(&mut self, flexible: bool) -> Result<&'a [u8], DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        self.length(flexible)?.map(|length| self.take(length)).transpose()
    }

    /// Record batches, unread; or null.
    pub fn records(&mut self, flexible: bool) -> Result<Records<'a>, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map_or(Records::Null, Records::Bytes))
    }

    /// An array whose elements take at least `smallest` bytes each and are read by `element`.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        smallest: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, smallest, element)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        smallest: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        if count > self.bytes.len() / smallest.max(1) {
            return Err(DecodeError::TooManyElements);
        }
        let taken = count.checked_mul(size_of::<T>()).ok_or(DecodeError::TooMuchMemory)?;
        self.charge(taken)?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// A struct after a byte that is negative where the struct is null.
    pub fn nullable_struct<T>(
        &mut self,
        fields: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.int8()? < 0 { Ok(None) } else { fields(self).map(Some) }
    }

    /// A struct that is a tag's data, after a byte that is 0 where the struct is null.
    pub fn nullable_tagged_struct<T>(
        &mut self,
        fields: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.int8()? == 0 { Ok(None) } else { fields(self).map(Some) }
    }

    /// The tags at the end of a flexible struct. `known` reads the data of those it knows and returns from the others,
    /// whose data is skipped. They should ascend; as in Kafka, nobody insists.
    pub fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let data = self.take(size)?;
            let rest = std::mem::replace(&mut self.bytes, data);
            known(tag, self)?;
            self.bytes = rest;
        }
        Ok(())
    }

    /// The tags at the end of a flexible struct that has none in any version we know.
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(()))
    }

    /// Refuses a version that a message never had.
    pub fn version(&self, version: i16, known: &RangeInclusive<i16>) -> Result<(), DecodeError> {
        if known.contains(&version) { Ok(()) } else { Err(DecodeError::UnknownVersion(version)) }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.memory = self.memory.checked_sub(bytes).ok_or(DecodeError::TooMuchMemory)?;
        Ok(())
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// Up to `longest` bytes of 7 bits; of the tenth only one bit fits.
    fn varint_of(&mut self, longest: usize) -> Result<u64, DecodeError> {
        let mut value = 0;
        for index in 0..longest {
            let [byte] = self.fixed()?;
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible { self.compact_length() } else { Ok(classic_length(self.int32()?)) }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
    }
}

/// As in Kafka, every negative length is null.
fn classic_length(length: i32) -> Option<usize> {
    usize::try_from(length).ok()
}
