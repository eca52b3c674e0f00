//! From an offset to a stretch of a file that holds the batches from there on. No record is read.
//!
//! ```text
//!        from            bound
//!          v               v
//!   [ batch ][ batch ][ batch ][ batch ]
//!   |<---- slice ---->|                      whole batches below the bound, the first one with `from` in it
//! ```

use std::fs::File;
use std::sync::Arc;

use ottla_base::Offset;

use super::Log;
use crate::error::{Error, Result};
use crate::segment::Segment;

/// A stretch of one segment's log file: batches, of which the last may be cut off by the reader's limit.
#[derive(Clone, Debug)]
pub struct LogSlice {
    /// The file; it can be read from even after the segment was deleted.
    pub file: Arc<File>,
    /// Where the stretch begins.
    pub position: u64,
    /// How many bytes it has; 0 where there is nothing to read.
    pub length: u32,
    /// The base offset of the first batch, at or before the offset asked for unless that one is missing.
    pub first_offset: Offset,
}

/// A stretch of the segment number `index`.
struct Stretch {
    index: usize,
    position: u32,
    length: u32,
    first_offset: Offset,
}

impl Stretch {
    fn of(&self, file: Arc<File>) -> LogSlice {
        LogSlice { file, position: u64::from(self.position), length: self.length, first_offset: self.first_offset }
    }
}

impl Log {
    /// Where the records from `from` up to `bound` (excluded: a high watermark, a last stable offset, the log's end)
    /// lie, at most `max_bytes` of them and all in one segment.
    ///
    /// It begins with the batch that holds `from`, or the next one where `from` was compacted away, and ends before the
    /// first batch that reaches up to the bound. A first batch larger than `max_bytes` is given whole with
    /// `at_least_one_batch` (KIP-74), and nothing without.
    ///
    /// # Errors
    /// `OffsetOutOfRange` if `from` is before the start of the log or behind its end.
    pub fn read(&self, from: Offset, max_bytes: u32, bound: Offset, at_least_one_batch: bool) -> Result<LogSlice> {
        match self.find(from, max_bytes, bound, at_least_one_batch)? {
            Some(found) => Ok(found.of(self.segment(found.index).file()?)),
            None => {
                let position = u64::from(self.active.size());
                Ok(LogSlice { file: self.active.file()?, position, length: 0, first_offset: from })
            }
        }
    }

    /// The same for those who may have the file for long; `None` where there is nothing to read.
    ///
    /// # Errors
    /// Also where it [lacks files](Error::lacks_files): one would have to be opened, and few may be.
    pub fn lend(
        &self,
        from: Offset,
        max_bytes: u32,
        bound: Offset,
        at_least_one_batch: bool,
    ) -> Result<Option<LogSlice>> {
        let Some(found) = self.find(from, max_bytes, bound, at_least_one_batch)? else { return Ok(None) };
        Ok(Some(found.of(self.segment(found.index).file_to_lend()?)))
    }

    fn find(&self, from: Offset, max_bytes: u32, bound: Offset, at_least_one_batch: bool) -> Result<Option<Stretch>> {
        let (log_start, log_end) = (self.start_offset, self.end_offset());
        if from < log_start || from > log_end {
            return Err(Error::OffsetOutOfRange { offset: from, log_start, log_end });
        }
        let bound = bound.min(log_end);
        if from >= bound {
            return Ok(None);
        }
        for index in self.segment_floor(from)..self.segment_count() {
            let segment = self.segment(index);
            if segment.base_offset() >= bound {
                break;
            }
            let place = segment.locate(from);
            if index < self.sealed.len() {
                self.keep_few_open(segment.base_offset());
            }
            // Nothing from `from` on in this segment: the offsets up to the next one were compacted away.
            let Some(place) = place? else { continue };
            let limit = self.position_of_bound(index, bound)?;
            if place.position >= limit || (place.size > max_bytes && !at_least_one_batch) {
                break;
            }
            let length = max_bytes.max(place.size).min(limit - place.position);
            return Ok(Some(Stretch { index, position: place.position, length, first_offset: place.base_offset }));
        }
        Ok(None)
    }

    /// Whether more batches below `bound` follow right behind `slice`, in the next segment: no larger limit would have
    /// brought them.
    pub fn continues_after(&self, slice: &LogSlice, bound: Offset) -> bool {
        let index = self.segment_floor(slice.first_offset);
        let ends_segment = slice.position + u64::from(slice.length) >= u64::from(self.segment(index).size());
        ends_segment && self.segment_end(index) < bound.min(self.end_offset())
    }

    /// The position in a segment up to which batches end before `bound`.
    fn position_of_bound(&self, index: usize, bound: Offset) -> Result<u32> {
        let segment = self.segment(index);
        if bound >= self.segment_end(index) {
            return Ok(segment.size());
        }
        Ok(segment.locate(bound)?.map_or(segment.size(), |place| place.position))
    }
}
