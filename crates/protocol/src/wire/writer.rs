//! Writes fields. Records that lie in a file are not copied: their place is kept, and whoever sends the buffer sends
//! the file's bytes there.
//!
//! ```text
//! buffer   |---- header, fields ----|------ fields ------|-- fields --|
//! regions                           ^ at: Region 0       ^ at: Region 1
//! wire     |---- header, fields ----|RRRRRR|-- fields ---|RR|-fields--|
//! ```

use std::ops::RangeInclusive;

use ottla_base::Uuid;

use super::MAX_STRING_LENGTH;
use crate::frame::SIZE_LENGTH;

/// Record batches inside a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Records<'a> {
    /// No field of bytes at all.
    #[default]
    Null,
    /// Batches in memory.
    Bytes(&'a [u8]),
    /// Batches that the sender takes from elsewhere. Never read, only written.
    Region(Region),
}

/// Bytes that are not in the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// Which of the caller's regions.
    pub index: u32,
    /// How many bytes it has.
    pub length: u32,
}

/// Where a region belongs: between `buffer[..at]` and `buffer[at..]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The position in the buffer.
    pub at: usize,
    /// What comes there.
    pub region: Region,
}

/// A message being written.
#[derive(Clone, Debug)]
pub struct Writer {
    /// All that is not in regions.
    pub buffer: Vec<u8>,
    /// The regions, in the order of their places.
    pub regions: Vec<Splice>,
    /// What errors the message tells of.
    pub errors: ErrorCounts,
    limit_bytes: usize,
}

/// How often each error code was written, 0 too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    /// Most messages have only one.
    first: Option<(i16, u32)>,
    others: Vec<(i16, u32)>,
}

/// Where the count of a struct's tags stands.
#[derive(Clone, Copy, Debug)]
pub struct TagCount(usize);

impl ErrorCounts {
    /// Counts one more.
    pub fn count(&mut self, code: i16) {
        let first = self.first.get_or_insert((code, 0));
        let of_code = |(known, _): &&mut (i16, u32)| *known == code;
        match std::iter::once(first).chain(&mut self.others).find(of_code) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.others.push((code, 1)),
        }
    }

    /// The codes, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (i16, u32)> {
        self.first.iter().chain(&self.others).copied()
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// Nothing written yet.
    pub const fn new() -> Self {
        Self::with_limit(usize::MAX)
    }

    /// Nothing written yet. Once there are more than `limit_bytes` (regions not counted), arrays are broken off, and
    /// [`Writer::is_over_limit`] says that what was written must not be sent.
    pub const fn with_limit(limit_bytes: usize) -> Self {
        let errors = ErrorCounts { first: None, others: Vec::new() };
        Self { buffer: Vec::new(), regions: Vec::new(), errors, limit_bytes }
    }

    /// Whether more came together than the limit allows.
    pub const fn is_over_limit(&self) -> bool {
        self.buffer.len() > self.limit_bytes
    }

    /// The bytes of a message without regions.
    ///
    /// # Panics
    /// Where there are regions: their bytes would be missing.
    pub fn into_bytes(self) -> Vec<u8> {
        assert!(self.regions.is_empty(), "a region's bytes are the caller's to send");
        self.buffer
    }

    /// Leaves room for the size of a frame, which begins here.
    pub fn begin_frame(&mut self) {
        assert!(self.buffer.is_empty(), "one writer writes one frame");
        self.int32(0);
    }

    /// Fills in the size of the frame that [`Writer::begin_frame`] began: all that follows it, regions too.
    pub fn finish_frame(&mut self) {
        self.announce_frame(self.wire_length());
    }

    /// As [`Writer::finish_frame`], of a frame of `length` bytes with its size, of which some come later.
    pub fn announce_frame(&mut self, length: usize) {
        let size = i32::try_from(length - SIZE_LENGTH).expect("a frame holds fewer than 2^31 bytes");
        self.buffer[..SIZE_LENGTH].copy_from_slice(&size.to_be_bytes());
    }

    /// How many bytes go over the wire, those of the regions too.
    pub fn wire_length(&self) -> usize {
        self.buffer.len() + self.regions.iter().map(|splice| splice.region.length as usize).sum::<usize>()
    }

    /// One byte, 0 or 1.
    pub fn boolean(&mut self, value: bool) {
        self.buffer.push(value.into());
    }

    /// A signed byte.
    pub fn int8(&mut self, value: i8) {
        self.buffer.push(value.cast_unsigned());
    }

    /// 2 bytes.
    pub fn int16(&mut self, value: i16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// An error code, in 2 bytes; it is counted.
    pub fn error_code(&mut self, code: i16) {
        self.int16(code);
        self.errors.count(code);
    }

    /// 4 bytes.
    pub fn int32(&mut self, value: i32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// 8 bytes.
    pub fn int64(&mut self, value: i64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// 2 bytes.
    pub fn uint16(&mut self, value: u16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// 4 bytes.
    pub fn uint32(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// 8 bytes, IEEE 754.
    pub fn float64(&mut self, value: f64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// 16 bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(&value.to_bytes());
    }

    /// 1 to 5 bytes, the lowest 7 bits first.
    pub fn uvarint(&mut self, value: u32) {
        self.varint_of(value.into());
    }

    /// A uvarint in zigzag: 0, -1, 1, -2 ...
    pub fn varint(&mut self, value: i32) {
        self.uvarint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    /// 1 to 10 bytes, in zigzag.
    pub fn varlong(&mut self, value: i64) {
        self.varint_of(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A string. Of one that is longer than any reader takes (see [`MAX_STRING_LENGTH`]) the characters that fit:
    /// names are never so long, but a text for people that quotes one can be.
    pub fn string(&mut self, value: &str, flexible: bool) {
        let value = &value[..value.floor_char_boundary(MAX_STRING_LENGTH)];
        match flexible {
            true => self.uvarint(value.len() as u32 + 1),
            false => self.int16(value.len() as i16),
        }
        self.buffer.extend_from_slice(value.as_bytes());
    }

    /// A string or null.
    pub fn nullable_string(&mut self, value: Option<&str>, flexible: bool) {
        match value {
            Some(value) => self.string(value, flexible),
            None if flexible => self.uvarint(0),
            None => self.int16(-1),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &[u8], flexible: bool) {
        self.length(Some(value.len()), flexible);
        self.buffer.extend_from_slice(value);
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, value: Option<&[u8]>, flexible: bool) {
        match value {
            Some(value) => self.bytes(value, flexible),
            None => self.length(None, flexible),
        }
    }

    /// Record batches, where null is written as no bytes.
    pub fn records(&mut self, value: Records<'_>, flexible: bool) {
        match value {
            Records::Null => self.length(Some(0), flexible),
            value => self.nullable_records(value, flexible),
        }
    }

    /// Record batches or null.
    pub fn nullable_records(&mut self, value: Records<'_>, flexible: bool) {
        match value {
            Records::Null => self.length(None, flexible),
            Records::Bytes(bytes) => self.bytes(bytes, flexible),
            Records::Region(region) => {
                self.length(Some(region.length as usize), flexible);
                self.regions.push(Splice { at: self.buffer.len(), region });
            }
        }
    }

    /// An array.
    pub fn array<T>(&mut self, flexible: bool, elements: &[T], mut element: impl FnMut(&mut Self, &T)) {
        self.length(Some(elements.len()), flexible);
        for value in elements {
            // Whatever makes a message large is in an array, and its elements are small.
            if self.is_over_limit() {
                return;
            }
            element(self, value);
        }
    }

    /// The beginning of an array, whose elements the caller writes.
    pub fn begin_array(&mut self, count: usize, flexible: bool) {
        self.length(Some(count), flexible);
    }

    /// An array or null.
    pub fn nullable_array<T>(&mut self, flexible: bool, elements: Option<&[T]>, element: impl FnMut(&mut Self, &T)) {
        match elements {
            Some(elements) => self.array(flexible, elements, element),
            None => self.length(None, flexible),
        }
    }

    /// A struct after a 1, or a -1.
    pub fn nullable_struct<T>(&mut self, value: Option<&T>, fields: impl FnOnce(&mut Self, &T)) {
        match value {
            Some(value) => {
                self.int8(1);
                fields(self, value);
            }
            None => self.int8(-1),
        }
    }

    /// A struct that is a tag's data: after a 1, or a 0 alone.
    pub fn nullable_tagged_struct<T>(&mut self, value: Option<&T>, fields: impl FnOnce(&mut Self, &T)) {
        match value {
            Some(value) => {
                self.int8(1);
                fields(self, value);
            }
            None => self.int8(0),
        }
    }

    /// The end of a flexible struct whose fields with tags all have their defaults.
    pub fn no_tags(&mut self) {
        self.buffer.push(0);
    }

    /// Begins the tags of a struct. There are none until [`Writer::tag`] adds them, in ascending order.
    pub fn begin_tags(&mut self) -> TagCount {
        self.buffer.push(0);
        TagCount(self.buffer.len() - 1)
    }

    /// Adds a tag; `data` writes what it holds.
    pub fn tag(&mut self, count: TagCount, tag: u32, data: impl FnOnce(&mut Self)) {
        self.buffer[count.0] += 1;
        assert!(self.buffer[count.0] < 0x80, "the schemas have fewer tags than one byte counts");
        self.uvarint(tag);
        let (start, regions) = (self.buffer.len(), self.regions.len());
        data(self);
        assert_eq!(self.regions.len(), regions, "no schema has records in a tag");
        let mut size = Self::new();
        size.uvarint(u32::try_from(self.buffer.len() - start).expect("a tag's data fits a frame"));
        self.buffer.splice(start..start, size.buffer);
    }

    /// Panics where the message has no such version.
    pub fn version(&self, version: i16, known: &RangeInclusive<i16>) {
        assert!(known.contains(&version), "version {version} is none of {known:?}");
    }

    fn varint_of(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// The length of bytes or the count of an array, which never passes what fits a frame.
    fn length(&mut self, length: Option<usize>, flexible: bool) {
        let length = length.map(|length| i32::try_from(length).expect("a frame holds fewer than 2^31 bytes"));
        match (length, flexible) {
            (Some(length), true) => self.uvarint(length.cast_unsigned() + 1),
            (None, true) => self.uvarint(0),
            (Some(length), false) => self.int32(length),
            (None, false) => self.int32(-1),
        }
    }
}
