//! Walking over a `.log` file batch by batch, by their headers alone.
//!
//! The file is read in chunks: a small one, then large ones where batches lie close together. A batch larger than a chunk
//! is stepped over without being read. What is found is checked as far as a header can be: the length
//! fits in the file, the offsets rise. The checksum is only computed on demand, because it needs every byte.

use std::fmt;
use std::fs::File;
use std::path::Path;

use ottla_base::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::records::batch::LENGTH_OVERHEAD_BYTES;
use ottla_protocol::records::{BatchHeader, HEADER_BYTES};

use crate::error::{Error, Result};
use crate::os;

/// The first chunk for looking up a place: where batches are large, hardly more than the headers are read.
const CHUNK_BYTES_MIN: usize = 128;
/// Where batches are small, the next ones are this large: about one index interval.
pub(crate) const LOOKUP_CHUNK_BYTES: usize = 4096;
/// Where every byte is wanted, up to this.
pub(crate) const WHOLE_CHUNK_BYTES: usize = 256 * 1024;

/// The checksum covers a batch from its attributes on.
const CHECKSUM_FROM: u32 = 21;
/// No message of the formats before 2 is shorter.
const OLD_FORMAT_BYTES_MIN: i64 = 26;

/// A batch in a `.log` file.
#[derive(Clone, Debug)]
pub(crate) struct BatchAt {
    /// Where it begins.
    pub position: u32,
    /// How many bytes it has, with its header.
    pub size: u32,
    /// Its header.
    pub header: BatchHeader,
}

impl BatchAt {
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    pub fn max_timestamp(&self) -> Timestamp {
        self.header.max_timestamp
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.header.partition_leader_epoch
    }

    /// The position behind its last byte.
    pub fn end(&self) -> u32 {
        self.position + self.size
    }
}

/// Reads the batches from one position of a file up to another.
pub(crate) struct Scan<'a> {
    file: &'a File,
    path: &'a Path,
    position: u32,
    end: u32,
    last_offset: Option<Offset>,
    /// The bytes of the file from `chunk_position` on.
    chunk: Vec<u8>,
    chunk_position: u32,
    /// How much is read next, and at most.
    next_chunk_bytes: usize,
    chunk_bytes_max: usize,
}

impl<'a> Scan<'a> {
    /// Begins at `position`, where a batch must begin, and goes on to `end`.
    pub fn new(file: &'a File, path: &'a Path, position: u32, end: u32, chunk_bytes_max: usize) -> Self {
        assert!(chunk_bytes_max >= CHUNK_BYTES_MIN, "a chunk holds a header");
        let (chunk, next_chunk_bytes) = (Vec::new(), CHUNK_BYTES_MIN);
        Self {
            file,
            path,
            position,
            end,
            last_offset: None,
            chunk,
            chunk_position: 0,
            next_chunk_bytes,
            chunk_bytes_max,
        }
    }

    /// The next batch, or `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` if no whole batch can begin here.
    pub fn next(&mut self) -> Result<Option<BatchAt>> {
        let position = self.position;
        if position == self.end {
            return Ok(None);
        }
        let remaining = self.end - position;
        if (remaining as usize) < HEADER_BYTES {
            return Err(self.corrupt(too_few(remaining as usize)));
        }
        let last_offset = self.last_offset;
        let bytes = self.bytes(position, HEADER_BYTES)?;
        if position == 0 && is_old_format(bytes, remaining) {
            // Recovery must not take a log of another age for a torn one, and cut it off.
            let detail = "the messages are in a format of before Kafka 0.11, which is not read. Let a Kafka between \
                          0.11 and 3.9 copy the topic into a new one first";
            return Err(Error::wrong_format(self.path, detail));
        }
        let (header, size) = match header_of(bytes, remaining as usize, last_offset) {
            Ok(found) => found,
            Err(detail) => return Err(self.corrupt(detail)),
        };
        let batch = BatchAt { position, size, header };
        self.position = batch.end();
        self.last_offset = Some(batch.last_offset());
        Ok(Some(batch))
    }

    /// Whether the checksum of a batch that was just returned is that of its bytes.
    pub fn checksum_holds(&mut self, batch: &BatchAt) -> Result<bool> {
        let mut checksum = 0;
        let mut at = batch.position + CHECKSUM_FROM;
        while at < batch.end() {
            let wanted = (batch.end() - at) as usize;
            let bytes = self.bytes(at, wanted.min(HEADER_BYTES))?;
            let bytes = &bytes[..bytes.len().min(wanted)];
            checksum = crc32c::crc32c_append(checksum, bytes);
            at += bytes.len() as u32;
        }
        Ok(checksum == batch.header.crc)
    }

    /// At least `wanted` bytes of the file from `position` on: all of the chunk that follows.
    fn bytes(&mut self, position: u32, wanted: usize) -> Result<&[u8]> {
        let chunk_end = self.chunk_position as usize + self.chunk.len();
        if position < self.chunk_position || position as usize + wanted > chunk_end {
            let step = position.saturating_sub(self.chunk_position) as usize;
            if step <= self.chunk_bytes_max / 2 && !self.chunk.is_empty() {
                // What is wanted lies close together, so that one large chunk holds more of it.
                self.next_chunk_bytes = self.chunk_bytes_max;
            }
            let length = self.next_chunk_bytes.min((self.end - position) as usize);
            self.chunk.resize(length, 0);
            self.chunk_position = position;
            let read = os::read_at_most(self.file, &mut self.chunk, u64::from(position));
            let count = read.map_err(Error::io("read", self.path))?;
            self.chunk.truncate(count);
            if count < wanted {
                return Err(self.corrupt(format!("the file ends at {}", position as usize + count)));
            }
        }
        Ok(&self.chunk[(position - self.chunk_position) as usize..])
    }

    fn corrupt(&self, detail: impl fmt::Display) -> Error {
        Error::corrupt(self.path, format!("at position {}: {detail}", self.position))
    }
}

/// The header at the front of `bytes`, and how many bytes the batch has, if a batch can begin there: of `remaining` bytes,
/// behind one that ended with `last_offset`.
pub(crate) fn header_of(
    bytes: &[u8],
    remaining: usize,
    last_offset: Option<Offset>,
) -> std::result::Result<(BatchHeader, u32), String> {
    if bytes.len() < HEADER_BYTES {
        return Err(too_few(bytes.len()));
    }
    let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
    let size = header.size_bytes();
    if size > remaining {
        return Err(format!("a batch of {size} bytes where {remaining} are left"));
    }
    let (base_offset, delta) = (header.base_offset, header.last_offset_delta);
    let rises = last_offset.is_none_or(|last| base_offset > last);
    if delta < 0 || base_offset.0 < 0 || base_offset.0 > i64::MAX - i64::from(delta) - 1 || !rises {
        return Err(format!("offset {base_offset} plus {delta} does not follow"));
    }
    Ok((header, size as u32))
}

/// Whether a message of format 0 or 1 begins here, as far as that can be told.
fn is_old_format(bytes: &[u8], remaining: u32) -> bool {
    let length_at = |at: usize| Some(i64::from(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?)));
    let size = length_at(8).map_or(0, |length| length + LENGTH_OVERHEAD_BYTES as i64);
    if bytes[16] >= 2 || !(OLD_FORMAT_BYTES_MIN..=i64::from(remaining)).contains(&size) {
        return false;
    }
    // Behind the first bytes of a batch that is torn there may be zeros. Key and value of a message fill it.
    let key_at = if bytes[16] == 0 { 18 } else { 26 };
    let value_at = key_at + 4 + length_at(key_at).map_or(0, |length| length.max(0)) as usize;
    length_at(value_at).is_none_or(|length| value_at as i64 + 4 + length.max(0) == size)
}

fn too_few(remaining: usize) -> String {
    format!("{remaining} bytes are too few for a batch")
}

/// Reads all bytes of a batch. Its length was compared with the file's, so the file bounds what is allocated.
pub(crate) fn read_batch(file: &File, path: &Path, batch: &BatchAt) -> Result<Vec<u8>> {
    let mut bytes = vec![0; batch.size as usize];
    os::read_exact_at(file, &mut bytes, u64::from(batch.position)).map_err(Error::io("read", path))?;
    Ok(bytes)
}
