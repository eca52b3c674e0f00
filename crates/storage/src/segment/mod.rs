//! A segment: one stretch of a log, in files named by the offset it begins with.
//!
//! ```text
//!   00000000000000004711.log         the batches, one behind the other, as clients receive them
//!   00000000000000004711.index       offset -> position           about one entry per index.interval.bytes
//!   00000000000000004711.timeindex   largest timestamp -> offset  at the same places
//!   00000000000000004711.txnindex    aborted transactions         only where there are any
//! ```
//!
//! The last segment of a log is [`Active`]: it grows, and its log file is open while it is used. The others are [`Sealed`]: nothing in them
//! changes and their files are opened when somebody reads them. Which segments there are, and when one becomes the
//! other, is decided by [`crate::Log`].

mod active;
pub(crate) mod scan;
mod sealed;
mod tail;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_base::{Offset, Timestamp};

pub(crate) use active::{Active, IndexLimits, Intact, Torn};
pub(crate) use scan::BatchAt;
pub(crate) use sealed::Sealed;

use crate::error::{Error, Result};
use crate::offset_index::OffsetPosition;
use crate::time_index::TimestampOffset;
use scan::{LOOKUP_CHUNK_BYTES, Scan};

/// What both kinds of segments can be asked.
pub(crate) trait Segment {
    /// The offset that names it: no record in it is below.
    fn base_offset(&self) -> Offset;
    /// How many bytes its log file has.
    fn size(&self) -> u32;
    /// Its log file's path.
    fn path(&self) -> &Path;
    /// Its log file, for a moment. Who holds it may go on reading after the segment was deleted.
    fn file(&self) -> Result<Arc<File>>;
    /// Its log file, for as long as it may take.
    ///
    /// # Errors
    /// It [lacks files](Error::lacks_files): one would have to be opened, and few may be.
    fn file_to_lend(&self) -> Result<Arc<File>>;
    /// The index entry from which a search for `offset` begins, or the segment's start.
    fn index_floor(&self, offset: Offset) -> Result<OffsetPosition>;
    /// Takes note that an index entry points to no batch.
    fn distrust_index(&self, entry: OffsetPosition);
    /// An offset behind all batches that begin before `position`; `None` if only the segment's end is known to be.
    fn bound_of(&self, position: u32) -> Result<Option<Offset>>;
    /// An offset at or before the first batch that holds a record as late as `timestamp`.
    fn time_floor(&self, timestamp: Timestamp) -> Result<Offset>;
    /// The largest timestamp, or -1 if no record has one, and the last offset of the batch that holds it first.
    fn largest(&self) -> Result<TimestampOffset>;

    /// The first batch that ends with `offset` or later: the one that holds it, or the next where it is missing.
    fn locate(&self, offset: Offset) -> Result<Option<Place>> {
        self.locate_by_index(offset)
    }

    /// The same, by the index and the headers behind what it names.
    fn locate_by_index(&self, offset: Offset) -> Result<Option<Place>> {
        let found = self.batch_near(offset)?.filter(|batch| batch.last_offset() >= offset);
        Ok(found.as_ref().map(Place::from))
    }

    /// The first batch that ends with `offset` or later, and where none does, the last one.
    fn batch_near(&self, offset: Offset) -> Result<Option<BatchAt>> {
        let file = self.file()?;
        let entry = self.index_floor(offset)?;
        let scan_at = |position| Scan::new(&file, self.path(), position, self.size(), LOOKUP_CHUNK_BYTES);
        let mut scan = scan_at(entry.position.min(self.size()));
        let mut next = scan.next();
        // Indexes have no checksum. Each entry tells by itself whether it is right: it names the offset of the batch it
        // points to.
        let is_right = entry.position == 0 || matches!(&next, Ok(Some(batch)) if batch.last_offset() == entry.offset);
        if !is_right && !matches!(&next, Err(Error::Io { .. })) {
            self.distrust_index(entry);
            scan = scan_at(0);
            next = scan.next();
        }
        let mut last = None;
        while let Some(batch) = next? {
            if batch.last_offset() >= offset {
                return Ok(Some(batch));
            }
            last = Some(batch);
            next = scan.next();
        }
        Ok(last)
    }

    /// Where the first batch begins that ends with `offset` or later; the end of the segment if there is none.
    fn position_of(&self, offset: Offset) -> Result<u32> {
        Ok(self.locate(offset)?.map_or(self.size(), |place| place.position))
    }
}

/// Where a batch lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub position: u32,
    pub size: u32,
}

impl From<&BatchAt> for Place {
    fn from(batch: &BatchAt) -> Self {
        Self {
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            position: batch.position,
            size: batch.size,
        }
    }
}

/// The path of a segment's file: `kind` is the name's ending, without its dot.
pub(crate) fn file_path(folder: &Path, base_offset: Offset, kind: &str) -> PathBuf {
    folder.join(format!("{:020}.{kind}", base_offset.0))
}
