//! Cutting off the end: a follower drops what its new leader never had (KIP-101).
//!
//! It is on the disk when it returns. What was cut off must not come back with a power cut, behind the records that were
//! written in its place since; and nobody cuts often.
//!
//! ```text
//!   truncate   mark --> remove later segments, newest first --> flush the folder --> cut the file, flush it --> remove the mark
//!   restart    mark --> remove all segments, newest first --> make a new one --> flush the folder ------------> remove the mark
//! ```
//!
//! After a kill at any step, the next start finds the beginning of what was there, or the new segment. Of the disk this may not be
//! true yet: the mark has the start flush what it finds, before anything is written behind it.
//!
//! What fails half way leaves files that are not what is known here, and the log takes no more. But nothing is cut yet where the
//! mark cannot be made, or the process has too many files open for the segment that is to be the last: that may be tried again. A
//! mark that is left has the next start flush a little too much.

use ottla_base::{Offset, Timestamp};

use super::leftovers::{begin_cutting, end_cutting, remove_segment};
use super::{Log, index_limits, new_segment};
use crate::error::{Error, Result};
use crate::os;
use crate::producer_snapshot::{list_snapshots, remove_snapshots};
use crate::segment::{Active, Intact, Segment, Torn};

impl Log {
    /// Removes all batches that hold `offset` or a later one, and returns where the log ends now: before `offset` where
    /// that lay inside of a batch.
    ///
    /// An `offset` before the first one of the log empties it and starts it again there. The caller writes
    /// [`Log::recovery_checkpoint`] down before it appends.
    pub fn truncate_to(&mut self, offset: Offset, now_ms: Timestamp) -> Result<Offset> {
        self.check_usable()?;
        if offset >= self.end_offset() {
            return Ok(self.end_offset());
        }
        if offset < self.segment(0).base_offset() {
            self.restart_at(offset, now_ms)?;
            return Ok(offset);
        }
        begin_cutting(&self.folder)?;
        let before = (self.active.base_offset() > offset).then(|| self.open_before(now_ms));
        let cut = match before {
            Some(Err(error)) if error.lacks_files() => return Err(error),
            before => before.transpose().and_then(|before| self.cut_to(offset, before, now_ms)),
        };
        self.for_good("a truncation", cut)?;
        Ok(self.end_offset())
    }

    /// Removes everything; the log begins and ends at `offset` then. The caller writes [`Log::recovery_checkpoint`] down before
    /// it appends.
    pub fn restart_at(&mut self, offset: Offset, now_ms: Timestamp) -> Result<()> {
        self.check_usable()?;
        begin_cutting(&self.folder)?;
        let restarted = self.empty_to(offset, now_ms);
        self.for_good("a restart at another offset", restarted)
    }

    /// Opens the sealed segment before the active one, to be that.
    fn open_before(&self, now_ms: Timestamp) -> Result<(Active, Option<Torn>)> {
        let before = self.sealed.last().expect("the first segment does not begin behind the offset");
        // Its indexes may be built anew, and are to be opened again should that not come to its end.
        before.close();
        let (limits, intact) = (index_limits(&self.config), Intact::Before(self.recovery_point()));
        Active::open_or_recover(&self.folder, before.base_offset(), limits, now_ms, intact)
    }

    /// `before` is what the active segment gives way to, if that is to go.
    fn cut_to(&mut self, offset: Offset, mut before: Option<(Active, Option<Torn>)>, now_ms: Timestamp) -> Result<()> {
        let (count, mut is_torn) = (self.segment_count(), false);
        while self.active.base_offset() > offset {
            let gone = self.active.base_offset();
            let (active, torn) = before.take().map_or_else(|| self.open_before(now_ms), Ok)?;
            self.active = active;
            self.sealed.pop();
            is_torn = torn.is_some();
            remove_segment(&self.folder, gone)?;
        }
        if self.segment_count() < count {
            // They are gone before the segment in front of them is cut, or a crash could leave a gap.
            self.flush_names()?;
        }
        if is_torn {
            self.active.cut()?;
            self.active.flush_log()?;
        }
        self.active.truncate_to(offset, now_ms)?;
        self.after_truncation()?;
        end_cutting(&self.folder)
    }

    pub(super) fn empty_to(&mut self, offset: Offset, now_ms: Timestamp) -> Result<()> {
        // First of all, and for good: they would be taken for what was written before the records that come now.
        remove_snapshots(&self.folder, |_| true)?;
        // The newest first, so that what a crash leaves of them has no gap.
        let segments: Vec<Offset> = self.segments().map(|segment| segment.base_offset).collect();
        for &base_offset in segments.iter().rev() {
            remove_segment(&self.folder, base_offset)?;
        }
        self.sealed.clear();
        self.unflushed.sealed.clear();
        self.replayed.aborted.clear();
        self.active = new_segment(&self.folder, offset, &self.config, now_ms)?;
        self.start_offset = offset;
        self.flush_names()?;
        self.epochs.truncate_from_end(Offset(0))?;
        self.after_truncation()?;
        end_cutting(&self.folder)
    }

    fn flush_names(&self) -> Result<()> {
        os::sync_folder(&self.folder).map_err(Error::io("flush", &self.folder))
    }

    fn after_truncation(&mut self) -> Result<()> {
        let end = self.end_offset();
        self.start_offset = self.start_offset.min(end);
        self.recovery_point = self.recovery_point.min(end);
        self.unflushed.owed = self.unflushed.owed.min(end);
        // The active segment, too, is flushed with the others only once it is sealed again.
        _ = self.unflushed.sealed.split_off(&self.active.base_offset());
        self.unflushed.upheavals += 1;
        self.snapshots.taken.retain(|offset| *offset <= end);
        self.epochs.truncate_from_end(end)?;
        self.replayed.truncate(end)?;
        let mut snapshots = list_snapshots(&self.folder)?;
        self.replay(end, false, &mut snapshots)
    }
}
