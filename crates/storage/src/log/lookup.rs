//! From a timestamp to an offset.
//!
//! Timestamps need not rise with the offsets, so "the offset of a time" is the first record *in offset order* that is
//! as late (handbook of Kafka's ListOffsets). The time indexes rule out whole segments and the beginning of one; then
//! headers are stepped through, and only the one batch that holds the record is unpacked.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::ops::Range;

use ottla_base::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::records::Batch;
use ottla_protocol::records::batch::TimestampType;
use ottla_protocol::records::compression::decompressor;

use super::Log;
use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::segment::scan::{LOOKUP_CHUNK_BYTES, Scan, read_batch};

/// How much of a batch is unpacked at once.
const UNPACK_BYTES: usize = 8 * 1024;

/// A record that was found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// The first record, in offset order and before `bound`, whose timestamp is `target` or later.
    pub fn offset_for_timestamp(&self, target: Timestamp, bound: Offset) -> Result<Option<FoundRecord>> {
        for index in self.segment_floor(self.start_offset)..self.segment_count() {
            let segment = self.segment(index);
            if segment.base_offset() >= bound {
                break;
            }
            if segment.largest()?.timestamp < target {
                continue;
            }
            let from = segment.time_floor(target)?.max(self.start_offset);
            let found = first_where(segment, from, self.start_offset..bound, target)?;
            if index < self.sealed.len() {
                self.keep_few_open(segment.base_offset());
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first record that bears the largest timestamp of the log (KIP-734); none if no record has a timestamp.
    pub fn max_timestamp(&self) -> Result<Option<FoundRecord>> {
        let mut latest: Option<(usize, Timestamp, Offset)> = None;
        for index in self.segment_floor(self.start_offset)..self.segment_count() {
            let largest = self.segment(index).largest()?;
            if latest.is_none_or(|(_, timestamp, _)| largest.timestamp > timestamp) {
                latest = Some((index, largest.timestamp, largest.offset));
            }
        }
        match latest {
            Some((index, timestamp, offset)) if timestamp >= 0 => {
                let range = self.start_offset..self.end_offset();
                let found = first_where(self.segment(index), offset.max(self.start_offset), range, timestamp);
                if index < self.sealed.len() {
                    self.keep_few_open(self.segment(index).base_offset());
                }
                found
            }
            _ => Ok(None),
        }
    }
}

/// The first record of a segment with an offset in `range` that is as late as `target`. No batch that ends before
/// `from` holds one.
fn first_where(
    segment: &dyn Segment,
    from: Offset,
    range: Range<Offset>,
    target: Timestamp,
) -> Result<Option<FoundRecord>> {
    let file = segment.file()?;
    let position = segment.position_floor(from)?;
    let mut scan = Scan::new(&file, segment.path(), position, segment.size(), LOOKUP_CHUNK_BYTES);
    while let Some(batch) = scan.next()? {
        if batch.base_offset() >= range.end {
            return Ok(None);
        }
        if batch.last_offset() < from || batch.max_timestamp() < target {
            continue;
        }
        let bytes = read_batch(&file, segment.path(), &batch)?;
        let damaged = |error: &dyn fmt::Display| {
            Error::corrupt(segment.path(), format!("the batch of offset {}: {error}", batch.base_offset()))
        };
        let (whole, _) = Batch::parse(&bytes).map_err(|error| damaged(&error))?;
        if let Some(found) = first_in_batch(&whole, &range, target).map_err(|error| damaged(&error))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first record of a batch with an offset in `range` that is as late as `target`. The records are unpacked piece by
/// piece and their bodies skipped, so that it does not matter how much comes out of the batch.
fn first_in_batch(batch: &Batch<'_>, range: &Range<Offset>, target: Timestamp) -> io::Result<Option<FoundRecord>> {
    let header = batch.header();
    let codec = header.compression().ok_or_else(|| invalid("the codec is not known"))?;
    let mut records = BufReader::with_capacity(UNPACK_BYTES, decompressor(codec, batch.records())?);
    for _ in 0..header.record_count {
        let length = u64::try_from(varint(&mut records)?).map_err(|_| invalid("a record has a negative length"))?;
        let mut record = records.by_ref().take(length);
        let mut attributes = [0];
        record.read_exact(&mut attributes)?;
        let timestamp = match (header.attributes.timestamp_type(), varint(&mut record)?) {
            (TimestampType::LogAppendTime, _) => header.max_timestamp,
            (TimestampType::CreateTime, delta) => header.base_timestamp.wrapping_add(delta),
        };
        let offset = Offset(header.base_offset.0.wrapping_add(varint(&mut record)?));
        if range.contains(&offset) && timestamp >= target {
            return Ok(Some(FoundRecord { offset, timestamp, leader_epoch: header.partition_leader_epoch }));
        }
        io::copy(&mut record, &mut io::sink())?;
    }
    Ok(None)
}

fn varint(bytes: &mut impl Read) -> io::Result<i64> {
    let mut zigzag = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        bytes.read_exact(&mut byte)?;
        zigzag |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        }
    }
    Err(invalid("a number has more than 64 bits"))
}

fn invalid(detail: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}
