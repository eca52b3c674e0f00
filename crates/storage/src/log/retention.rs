//! Deleting from the front: by age, by size, and what lies before the log's start.
//!
//! Whole segments go, oldest first, and the first one that may stay ends it. None goes that reaches above the high
//! watermark. If even the active segment has to go, a new one takes its place first: so that retention holds for a log
//! that fills slowly, too. For one that fills all the time, `append` rolls in time: see [`LogConfig::retention_part_ms`].
//!
//! ```text
//!   retention.ms = 10 min                                                      now
//!        |<------------------------- 10 min ------------------------------->|
//!   [ 1 min ][ 1 min ][ 1 min ]  ...                         [ 1 min ][ active ]
//!        ^ goes when its newest record is due: no record stays longer than 11 min, plus a check every 30 s
//! ```
//!
//! A record counts by its own time, as in Kafka: one from the future keeps its segment, and those behind it, until it is
//! due. Records that have no time count by when the file was last written.
//!
//! A deleted segment's files are renamed to `.deleted` and unlinked `file.delete.delay.ms` later.

use std::path::{Path, PathBuf};

use ottla_base::{Offset, Timestamp};

use super::Log;
use super::leftovers::{SEGMENT_KINDS, remove};
use crate::error::{Error, Result};
use crate::os;

#[cfg(doc)]
use crate::config::LogConfig;

/// A segment that was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The offset that named it.
    pub base_offset: Offset,
    /// Where the next segment begins.
    pub end_offset: Offset,
    /// How many bytes its log file had.
    pub size_bytes: u32,
    /// Why it went.
    pub because: DeletedBecause,
}

/// Why a segment was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletedBecause {
    /// `retention.ms`: its newest record was too old.
    Age,
    /// `retention.bytes`: the log was larger by more than this segment.
    Size,
    /// All its records were before the log's start.
    BeforeStart,
}

/// Files that are to be unlinked.
#[derive(Debug)]
pub(super) struct Doomed {
    pub since_ms: Timestamp,
    pub files: Vec<PathBuf>,
}

/// Files of deleted segments whose time has come.
#[derive(Debug)]
pub struct DeletedFiles {
    doomed: Vec<Doomed>,
}

impl DeletedFiles {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.doomed.is_empty()
    }

    /// Unlinks them, and keeps those that cannot be.
    ///
    /// # Errors
    /// The first of them; the others were tried too.
    pub fn unlink(&mut self) -> Result<()> {
        let mut done = Ok(());
        for doomed in &mut self.doomed {
            doomed.files.retain(|path| match remove(path) {
                Ok(()) => false,
                Err(error) => {
                    if done.is_ok() {
                        done = Err(error);
                    }
                    true
                }
            });
        }
        self.doomed.retain(|doomed| !doomed.files.is_empty());
        done
    }
}

impl Doomed {
    /// Notes that the folder was renamed.
    pub fn moved(&mut self, folder: &Path) {
        for file in &mut self.files {
            *file = folder.join(file.file_name().expect("a segment's file has a name"));
        }
    }
}

impl Log {
    /// Makes `to` the first offset that may be read. The segments before it go with the next retention.
    ///
    /// # Errors
    /// `OffsetOutOfRange` if the log ends before `to`; the owner has compared it with the high watermark.
    pub fn advance_start_offset(&mut self, to: Offset) -> Result<()> {
        let (log_start, log_end) = (self.start_offset, self.end_offset());
        if to > log_end {
            return Err(Error::OffsetOutOfRange { offset: to, log_start, log_end });
        }
        if to > log_start {
            self.start_offset = to;
            self.epochs.truncate_from_start(to);
        }
        Ok(())
    }

    /// Whether a segment was sealed since something was last deleted: the log may have become too large.
    pub fn has_rolled(&self) -> bool {
        self.has_rolled && self.unusable.is_none()
    }

    /// Deletes the segments that have to go, and says which.
    pub fn enforce_retention(&mut self, now_ms: Timestamp, high_watermark: Offset) -> Result<Vec<Deleted>> {
        self.delete_due(now_ms, high_watermark, true)
    }

    /// Deletes the segments that have to go whatever the time, and says which: because the log is too large, or begins behind
    /// them.
    pub fn delete_excess(&mut self, now_ms: Timestamp, high_watermark: Offset) -> Result<Vec<Deleted>> {
        self.delete_due(now_ms, high_watermark, false)
    }

    fn delete_due(&mut self, now_ms: Timestamp, high_watermark: Offset, by_age: bool) -> Result<Vec<Deleted>> {
        self.check_usable()?;
        let mut doomed = self.due_for_deletion(by_age.then_some(now_ms), high_watermark)?;
        let (count, sealed) = (doomed.len(), self.sealed.len());
        // Those that are sealed go first: a new segment needs room, and there may be none before.
        let mut deleted = self.delete_first(count.min(sealed), now_ms);
        if deleted.is_ok() && count > sealed {
            deleted = match self.roll(now_ms) {
                // What is deleted makes some; the last one goes another time.
                Err(error) if sealed > 0 && (error.is_full() || error.lacks_files()) => {
                    doomed.truncate(sealed);
                    Ok(())
                }
                rolled => rolled.and_then(|()| self.delete_first(1, now_ms)),
            };
        }
        self.has_rolled = false;
        self.epochs.truncate_from_start(self.start_offset);
        deleted.map(|()| doomed)
    }

    /// Takes out the files of segments that were deleted long enough ago. Unlinking large files takes long: whoever keeps the
    /// log under a lock lets go of it meanwhile.
    pub fn take_deleted(&mut self, now_ms: Timestamp) -> DeletedFiles {
        let is_due = |doomed: &Doomed| now_ms.saturating_sub(doomed.since_ms) >= self.config.file_delete_delay_ms;
        let count = self.doomed.iter().take_while(|doomed| is_due(doomed)).count();
        DeletedFiles { doomed: self.doomed.drain(..count).collect() }
    }

    /// Takes back what could not be unlinked: its time begins anew.
    pub fn put_back_deleted(&mut self, files: DeletedFiles, now_ms: Timestamp) {
        self.doomed.extend(files.doomed.into_iter().map(|doomed| Doomed { since_ms: now_ms, ..doomed }));
    }

    /// The segments that have to go: some number of the oldest. By their age only where the time is given.
    fn due_for_deletion(&self, now_ms: Option<Timestamp>, high_watermark: Offset) -> Result<Vec<Deleted>> {
        let mut doomed = Vec::new();
        let mut size_bytes = self.size_bytes();
        for index in 0..self.segment_count() {
            let segment = self.segment(index);
            let end_offset = self.segment_end(index);
            let empty_active = index == self.sealed.len() && segment.size() == 0;
            if empty_active || end_offset > high_watermark {
                break;
            }
            let because = if self.config.delete && self.is_too_old(index, now_ms)? {
                DeletedBecause::Age
            } else if self.config.delete && self.is_too_much(size_bytes, segment.size()) {
                DeletedBecause::Size
            } else if end_offset <= self.start_offset {
                DeletedBecause::BeforeStart
            } else {
                break;
            };
            size_bytes -= u64::from(segment.size());
            let base_offset = segment.base_offset();
            doomed.push(Deleted { base_offset, end_offset, size_bytes: segment.size(), because });
        }
        Ok(doomed)
    }

    /// By the newest record's time; by the file's where no record has one. A record of the future keeps its segment.
    fn is_too_old(&self, index: usize, now_ms: Option<Timestamp>) -> Result<bool> {
        let (Some(now_ms), Some(retention_ms)) = (now_ms, self.config.retention_ms) else { return Ok(false) };
        Ok(now_ms.saturating_sub(self.newest_ms(index)?) > retention_ms)
    }

    /// When the newest record of a segment was made; where none has a time, when its file was last written.
    pub(super) fn newest_ms(&self, index: usize) -> Result<Timestamp> {
        let segment = self.segment(index);
        match segment.largest()?.timestamp {
            timestamp if timestamp >= 0 => Ok(timestamp),
            _ => os::modified_ms(segment.path()).map_err(Error::io("read the time of", segment.path())),
        }
    }

    /// A segment goes when the log is larger than allowed by the whole of it, so that what was promised stays.
    fn is_too_much(&self, log_bytes: u64, segment_bytes: u32) -> bool {
        let allowed = self.config.retention_bytes;
        allowed
            .is_some_and(|allowed| log_bytes.saturating_sub(allowed) >= u64::from(segment_bytes) && log_bytes > allowed)
    }

    /// Takes the `count` oldest segments, all of them sealed, out of the log, up to the first that fails.
    fn delete_first(&mut self, count: usize, now_ms: Timestamp) -> Result<()> {
        let (mut gone, mut deleted) = (0, Ok(()));
        while gone < count && deleted.is_ok() {
            let is_out = self.take_out(gone, now_ms);
            deleted = is_out.and_then(|renamed| {
                gone += 1;
                renamed
            });
        }
        self.sealed.drain(..gone);
        deleted
    }

    /// Takes a sealed segment out of the log, all before which were, but for the list of them. It stays where its log file cannot
    /// be renamed, which comes first; the others say nothing without it, and the next start removes those that were left.
    fn take_out(&mut self, index: usize, now_ms: Timestamp) -> Result<Result<()>> {
        let (base_offset, end_offset) = (self.segment(index).base_offset(), self.segment_end(index));
        let mut files = Vec::new();
        let mut renamed = Ok(());
        for kind in SEGMENT_KINDS.into_iter().chain(["snapshot"]) {
            let (from, to) =
                (self.file_path(base_offset, kind), self.file_path(base_offset, &format!("{kind}.deleted")));
            match os::rename(&from, &to) {
                Ok(()) => files.push(to),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if kind == "log" => return Err(Error::io("rename", &from)(error)),
                Err(error) => renamed = renamed.and(Err(Error::io("rename", &from)(error))),
            }
        }
        self.start_offset = self.start_offset.max(end_offset);
        self.unflushed.names += 1;
        self.replayed.aborted.remove(&base_offset);
        self.unflushed.sealed.remove(&base_offset);
        self.doomed.push_back(Doomed { since_ms: now_ms, files });
        Ok(renamed)
    }
}
