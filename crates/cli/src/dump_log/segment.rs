//! The batches of a `.log` or `.checkpoint` file, one at a time: the memory is that of the largest batch, not of the file.
//!
//! Damage is what this is for: headers are taken as they are, and only what cannot be a batch ends the walk.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ottla_protocol::records::{
    Batch, BatchHeader, Compression, Decompressor, HEADER_BYTES, LENGTH_OVERHEAD_BYTES, Record, RecordError,
    RecordIter, TimestampType, crc_of,
};

use super::failure::{Failure, Result};

/// What a batch of any format begins with: offset, length and, at the end, the magic.
const COMMON_BYTES: usize = 17;
const MAGIC_AT: usize = 16;
const MAGIC: i8 = 2;
/// No batch of any format is shorter.
const LEAST_LENGTH: i32 = 14;
/// A batch unpacks to at most as much as an array of Java holds.
const UNPACKED_BYTES_MAX: usize = i32::MAX as usize;

/// A file, or a part of it.
pub struct Segment {
    file: File,
    path: PathBuf,
    length: i64,
}

/// Where a batch is in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its first byte.
    pub position: i64,
    /// Without the 12 bytes before it that every format has.
    pub length: i32,
    /// Its format.
    pub magic: i8,
}

/// A batch in memory, as it is on the disk.
pub struct Whole {
    header: BatchHeader,
    bytes: Vec<u8>,
    magic: i8,
}

impl Segment {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Failure::unreadable(path))?;
        let length = file.metadata().map_err(Failure::unreadable(path))?.len();
        match i32::try_from(length) {
            Ok(length) => Ok(Self { file, path: path.to_owned(), length: length.into() }),
            Err(_) => Err(Failure::new(
                "org.apache.kafka.common.KafkaException",
                format!(
                    "The size of segment {} ({length}) is larger than the maximum allowed segment size of {}",
                    path.display(),
                    i32::MAX
                ),
            )),
        }
    }

    /// Where a part of `size` bytes from `position` on ends.
    pub fn end_of_slice(&self, position: i32, size: i32) -> Result<i64> {
        let refused = |what: String| {
            let (length, path) = (self.length, self.path.display());
            let all = format!("FileRecords(size={length}, file={path}, start=0, end={})", i32::MAX);
            Err(Failure::illegal_argument(format!("{what} {all}")))
        };
        if position < 0 {
            return refused(format!("Invalid position: {position} in read from"));
        }
        if i64::from(position) > self.length {
            return refused(format!("Slice from position {position} exceeds end position of"));
        }
        if size < 0 {
            return refused(format!("Invalid size: {size} in read from"));
        }
        Ok(self.length.min(i64::from(position) + i64::from(size)))
    }

    /// The batch at `position`, unless it does not end before `end`.
    pub fn batch_at(&self, position: i64, end: i64) -> Result<Option<Place>> {
        if position >= end - COMMON_BYTES as i64 {
            return Ok(None);
        }
        let mut common = [0; COMMON_BYTES];
        self.read(&mut common, position)?;
        let length = i32::from_be_bytes(*common[8..].first_chunk().expect("9 bytes begin with 4"));
        if length < LEAST_LENGTH {
            return Err(Failure::new(
                "org.apache.kafka.common.errors.CorruptRecordException",
                format!(
                    "Found record size {length} smaller than minimum record overhead ({LEAST_LENGTH}) in file {}.",
                    self.path.display()
                ),
            ));
        }
        let place = Place { position, length, magic: common[MAGIC_AT].cast_signed() };
        Ok((place.end() <= end).then_some(place))
    }

    /// The header of a batch.
    pub fn header(&self, place: &Place) -> Result<BatchHeader> {
        self.needs_magic_2(place)?;
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header, place.position)?;
        Ok(parse_as_it_is(&mut header))
    }

    /// All of a batch; `buffer` is used again.
    pub fn whole(&self, place: &Place, mut buffer: Vec<u8>) -> Result<Whole> {
        let header = self.header(place)?;
        buffer.resize(usize::try_from(place.end() - place.position).expect("a length is at least 14"), 0);
        self.read(&mut buffer, place.position)?;
        Ok(Whole { header, bytes: buffer, magic: place.magic })
    }

    fn needs_magic_2(&self, place: &Place) -> Result<()> {
        if place.magic >= MAGIC {
            return Ok(());
        }
        Err(Failure::new(
            "org.apache.kafka.common.errors.UnsupportedVersionException",
            format!(
                "{} has messages of magic {} at position {}: those of Kafka before 0.11 can be read with Kafka's own \
                 kafka-dump-log.sh only",
                self.path.display(),
                place.magic,
                place.position
            ),
        ))
    }

    fn read(&self, bytes: &mut [u8], position: i64) -> Result<()> {
        let position = u64::try_from(position).expect("a position is checked before it is read at");
        self.file.read_exact_at(bytes, position).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Failure::new(
                "java.io.EOFException",
                format!("Failed to read from {}: it ended meanwhile", self.path.display()),
            ),
            _ => Failure::unreadable(&self.path)(error),
        })
    }
}

impl Place {
    /// The byte after it.
    pub fn end(&self) -> i64 {
        self.position + i64::from(self.length) + LENGTH_OVERHEAD_BYTES as i64
    }
}

/// The fields of a header, also where magic and length are damaged.
fn parse_as_it_is(header: &mut [u8; HEADER_BYTES]) -> BatchHeader {
    header[MAGIC_AT] = MAGIC.cast_unsigned();
    let length = i32::from_be_bytes(*header[8..].first_chunk().expect("a header has 61 bytes"));
    let least = (HEADER_BYTES - LENGTH_OVERHEAD_BYTES) as i32;
    header[8..12].copy_from_slice(&length.max(least).to_be_bytes());
    BatchHeader::parse(header).expect("magic and length were put right")
}

impl Whole {
    /// Whether its checksum is right.
    pub fn is_valid(&self) -> bool {
        self.bytes.len() >= HEADER_BYTES && crc_of(&self.bytes) == self.header.crc
    }

    /// Writes the line about the batch.
    pub fn print(&self, place: &Place, out: &mut impl Write) -> Result<()> {
        let header = &self.header;
        let attributes = header.attributes;
        let horizon = attributes.has_delete_horizon().then_some(header.base_timestamp);
        write!(
            out,
            "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
             partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {}",
            header.base_offset,
            header.last_offset(),
            header.record_count,
            header.base_sequence,
            sequence_after(header.base_sequence, header.last_offset_delta, |sequence| sequence == -1),
            header.producer_id,
            header.producer_epoch,
            header.partition_leader_epoch,
            attributes.is_transactional(),
            attributes.is_control(),
            optional_long(horizon),
        )?;
        let codec = self.codec()?;
        writeln!(
            out,
            " position: {} {}: {} size: {} magic: {} compresscodec: {} crc: {} isvalid: {}",
            place.position,
            time_type(attributes.timestamp_type()),
            header.max_timestamp,
            place.end() - place.position,
            self.magic,
            codec.name(),
            header.crc,
            self.is_valid(),
        )?;
        Ok(())
    }

    fn codec(&self) -> Result<Compression> {
        let number = self.header.attributes.0 & 7;
        let unknown = || Failure::illegal_argument(format!("Unknown compression type id: {number}"));
        self.header.compression().ok_or_else(unknown)
    }

    /// Gives each record to `each`, up to the first that is none.
    pub fn for_each_record(
        &mut self,
        decompressor: &mut Decompressor,
        unpacked: &mut Vec<u8>,
        mut each: impl FnMut(&BatchHeader, &Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let count = self.header.record_count;
        if count == 0 {
            return Ok(());
        }
        if count < 0 {
            let magic = self.magic;
            return Err(Failure::invalid_record(format!("Found invalid record count {count} in magic v{magic} batch")));
        }
        let codec = self.codec()?;
        self.bytes[MAGIC_AT] = MAGIC.cast_unsigned();
        let Ok((batch, _)) = Batch::parse(&self.bytes) else {
            return Err(Failure::new("java.lang.IndexOutOfBoundsException", ""));
        };
        let records = decompressor.records(&batch, UNPACKED_BYTES_MAX, unpacked).map_err(|error| {
            Failure::new(
                "org.apache.kafka.common.KafkaException",
                format!("{} cannot be unpacked: {error}", codec.name()),
            )
        })?;
        if codec != Compression::None {
            // Kafka unpacks all of them before it looks at the first.
            check_all(records.clone())?;
        }
        let mut records = records.peekable();
        while let Some(record) = records.next() {
            let record = record.map_err(not_a_record)?;
            // Found out together with the last record, which is not shown then.
            if let Some(Err(error @ RecordError::Leftover)) = records.peek() {
                return Err(not_a_record(*error));
            }
            each(&self.header, &record)?;
        }
        Ok(())
    }

    /// Gives the memory back, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

fn check_all(records: RecordIter<'_>) -> Result<()> {
    for record in records {
        record.map_err(not_a_record)?;
    }
    Ok(())
}

fn not_a_record(error: RecordError) -> Failure {
    Failure::invalid_record(match error {
        RecordError::TooFew => "Incorrect declared batch size, premature EOF reached".to_owned(),
        RecordError::Leftover => "Incorrect declared batch size, records still remaining in file".to_owned(),
        RecordError::Truncated => format!("Invalid record size: {error}"),
        _ => format!("Found invalid record structure: {error}"),
    })
}

/// The sequence number `delta` records after `base`; -1 where there `is_none`.
pub fn sequence_after(base: i32, delta: i32, is_none: impl FnOnce(i32) -> bool) -> i32 {
    match base {
        _ if is_none(base) => -1,
        // After the greatest comes 0.
        _ if base > i32::MAX.wrapping_sub(delta) => delta.wrapping_sub(i32::MAX.wrapping_sub(base)).wrapping_sub(1),
        _ => base.wrapping_add(delta),
    }
}

/// How Kafka calls whose clock it was.
pub fn time_type(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

/// A number that may be missing, as Java shows it.
pub fn optional_long(number: Option<i64>) -> String {
    number.map_or_else(|| "OptionalLong.empty".to_owned(), |number| format!("OptionalLong[{number}]"))
}
