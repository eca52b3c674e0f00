//! Opening the last segment after a stop that was not clean: what is believed, what is checked, where it ends.
//!
//! ```text
//!   resume   index entries | . . . . . . . . . . .|               believed where they rise, and the last but one points to a batch
//!            batches       [ ][ ][ ][ ][ ][ ][ ][ ][ ][ ][ ][ /   headers are read from that one on
//!                                                       |<->|     checksums only at the very end
//!
//!   recover  batches       [ ][ ][ ][ ][ ][ ][ ][ ][ ][ ][ ][ /   all headers are read, and the indexes built from them
//!                                   |<--------------------->|     checksums from what was flushed on
//! ```
//!
//! The file keeps what lies behind the first batch that is not whole until [`Active::cut`].

use std::path::Path;

use ottla_base::{Offset, Timestamp};
use ottla_protocol::records::HEADER_BYTES;

use super::{Active, IndexLimits, length_of};
use crate::error::{Error, Result};
use crate::offset_index::OffsetIndex;
use crate::os;
use crate::segment::scan::{LOOKUP_CHUNK_BYTES, Scan, WHOLE_CHUNK_BYTES};
use crate::segment::{BatchAt, Segment, file_path};
use crate::time_index::TimeIndex;

/// So much in front of a segment's end is checked also where only the last write may be torn.
const CHECKED_TAIL_BYTES: u32 = 1 << 20;

/// Which batches of a segment are there for certain, as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intact {
    /// Those that end before this offset: they were flushed.
    Before(Offset),
    /// All but the last one: the page cache has outlived the process that wrote them.
    AllButLast,
}

/// A segment's log file was not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    /// How many bytes lie behind the last whole batch.
    pub bytes: u32,
    /// The offset after the last batch among them, as far as there are headers that make sense.
    pub claimed_end: Offset,
    /// What is wrong with the first of them.
    pub detail: String,
}

impl Intact {
    /// All is there, or is for readers to find out.
    pub const ALL: Self = Self::Before(Offset(i64::MAX));

    /// Whether what is cached of the segment is not to be believed: an fsync of it may have failed. Before the recovery point too, for
    /// the file is read whole.
    fn may_be_on_no_disk(self) -> bool {
        matches!(self, Self::Before(_)) && self != Self::ALL
    }

    /// Whether the checksum of a batch is to be computed, wherever it lies; of `length` bytes.
    fn leaves_open(self, batch: &BatchAt, length: u32) -> bool {
        match self {
            Self::Before(offset) => batch.last_offset() >= offset,
            Self::AllButLast => batch.end() > length.saturating_sub(CHECKED_TAIL_BYTES),
        }
    }
}

impl Active {
    /// Opens a segment whose process was killed: all that it wrote is there, so that the indexes are believed, and read on from
    /// their last entries. `each` is given every batch that is read, in order. Gives also the offset from which on that is.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if an index is not what it should be: [`Active::recover`] then.
    pub fn resume(
        folder: &Path,
        base_offset: Offset,
        limits: IndexLimits,
        now_ms: Timestamp,
        each: &mut dyn FnMut(&BatchAt) -> Result<()>,
    ) -> Result<(Self, Option<Torn>, Offset)> {
        let path = file_path(folder, base_offset, "log");
        let file = os::open(&path).map_err(Error::io("open", &path))?;
        let length = length_of(&file, &path)?;
        let index_path = |kind| file_path(folder, base_offset, kind);
        let mut offset_index = OffsetIndex::reopen(&index_path("index"), base_offset, limits.max_bytes)?;
        let mut time_index = TimeIndex::reopen(&index_path("timeindex"), base_offset, limits.max_bytes)?;
        offset_index.truncate_behind(length)?;
        // Times reach their file first, so that none is missing in front of the last offset, if there was room for all. But of
        // what a Kafka wrote that was killed, the last time may be missing.
        offset_index.truncate_to(offset_index.last().offset)?;
        if time_index.is_full() {
            offset_index.truncate_to(time_index.last().offset.plus(1))?;
        }
        time_index.truncate_to(offset_index.last().offset.plus(1))?;
        let mut this = Self::indexed(path, file, limits, offset_index, time_index, now_ms)?;
        let from = this.offset_index.last();
        let torn = this.read_on(length, Intact::AllButLast, each)?;
        if from.position > 0 && this.size == from.position {
            return Err(this.no_batch_there());
        }
        this.guess_age(now_ms);
        Ok((this, torn, from.offset))
    }

    /// Reads the whole segment and builds its indexes anew. It ends before the first batch that is not whole; `each` is given
    /// every batch before that, in order.
    pub fn recover(
        folder: &Path,
        base_offset: Offset,
        limits: IndexLimits,
        now_ms: Timestamp,
        intact: Intact,
        each: &mut dyn FnMut(&BatchAt) -> Result<()>,
    ) -> Result<(Self, Option<Torn>)> {
        let path = file_path(folder, base_offset, "log");
        let file = os::open(&path).map_err(Error::io("open", &path))?;
        if intact.may_be_on_no_disk() {
            os::forget_cached(&file).map_err(Error::io("drop what is cached of", &path))?;
        }
        let length = length_of(&file, &path)?;
        let index_path = |kind: &str| file_path(folder, base_offset, kind);
        let mut this = Self::with_empty_indexes(path, file, index_path, base_offset, limits, now_ms)?;
        let torn = this.read_on(length, intact, each)?;
        this.guess_age(now_ms);
        Ok((this, torn))
    }

    /// Reads from the batch of the last index entry on, and says where and why that ended before `length`.
    fn read_on(
        &mut self,
        length: u32,
        intact: Intact,
        each: &mut dyn FnMut(&BatchAt) -> Result<()>,
    ) -> Result<Option<Torn>> {
        let (file, path) = (Segment::file(self)?, self.path.clone());
        let length = if intact == Intact::AllButLast { self.written_end(length)? } else { length };
        let only_headers = matches!(intact, Intact::AllButLast | Intact::ALL);
        let chunk_bytes = if only_headers { LOOKUP_CHUNK_BYTES } else { WHOLE_CHUNK_BYTES };
        let mut scan = Scan::new(&file, &path, self.size, length, chunk_bytes);
        // A batch counts once it is known whether it is the last.
        let mut waiting: Option<BatchAt> = None;
        let detail = loop {
            let (next, ended) = match scan.next() {
                Ok(next) => (next, None),
                Err(Error::Corrupt { detail, .. }) => (None, Some(detail)),
                Err(error) => return Err(error),
            };
            if let Some(batch) = waiting.take() {
                let is_open = next.is_none() && intact == Intact::AllButLast && !intact.leaves_open(&batch, length);
                if is_open && !scan.checksum_holds(&batch)? {
                    break Some(wrong_checksum(&batch));
                }
                self.note(&batch)?;
                each(&batch)?;
            }
            let Some(batch) = next else { break ended };
            if batch.position == self.offset_index.last().position
                && batch.position > 0
                && batch.last_offset() != self.offset_index.last().offset
            {
                return Err(self.no_batch_there());
            }
            if intact.leaves_open(&batch, length) && !scan.checksum_holds(&batch)? {
                break Some(wrong_checksum(&batch));
            }
            if !self.fits(batch.base_offset(), batch.last_offset()) {
                break Some(format!("offset {} does not belong here", batch.base_offset()));
            }
            waiting = Some(batch);
        };
        let Some(mut detail) = detail else { return Ok(None) };
        if self.is_empty_at(self.size, length)? {
            detail = "zeros follow, because room was reserved (preallocate) or records are lost".to_owned();
        }
        let mut claimed_end = self.end_offset;
        let mut rest = Scan::new(&file, &path, self.size, length, LOOKUP_CHUNK_BYTES);
        while let Ok(Some(batch)) = rest.next() {
            claimed_end = claimed_end.max(batch.last_offset().plus(1));
        }
        Ok(Some(Torn { bytes: length - self.size, claimed_end, detail }))
    }
}

impl Active {
    /// Where what was written ends, of a file that is `length` bytes long: zeros may follow that were reserved, and are not torn.
    fn written_end(&self, length: u32) -> Result<u32> {
        if !self.is_empty_at(length.saturating_sub(HEADER_BYTES as u32).max(self.size), length)? {
            return Ok(length);
        }
        let mut scan = Scan::new(self.opened(), &self.path, self.size, length, LOOKUP_CHUNK_BYTES);
        let mut end = self.size;
        while let Ok(Some(batch)) = scan.next() {
            end = batch.end();
        }
        Ok(if self.is_empty_at(end, length)? { end } else { length })
    }

    /// Whether nothing was written at `position`, before `end`: no header has zeros alone.
    fn is_empty_at(&self, position: u32, end: u32) -> Result<bool> {
        let mut bytes = [0; HEADER_BYTES];
        let wanted = ((end - position) as usize).min(HEADER_BYTES);
        let read = os::read_at_most(self.opened(), &mut bytes[..wanted], u64::from(position));
        let count = read.map_err(Error::io("read", &self.path))?;
        Ok(count > 0 && bytes[..count].iter().all(|byte| *byte == 0))
    }
}

fn wrong_checksum(batch: &BatchAt) -> String {
    format!("the batch of offset {} has a wrong checksum", batch.base_offset())
}
