//! What is on the disk and not only in the page cache, and the end of a log's life in this process.
//!
//! An fsync may take long, and nobody should wait for the log's lock meanwhile. So it has three parts: `begin_flush`
//! and `finish_flush` under the lock, [`Flush::run`] without it. [`Log::flush`] is the three together.
//!
//! Everything before the *recovery point* is flushed. After a crash, only segments that reach beyond it are read again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ottla_base::{Offset, Timestamp};

use super::Log;
use super::failure::CLOSED;
use crate::epochs::UnwrittenEpochs;
use crate::error::{Error, Result};
use crate::os;
use crate::segment::{Sealed, Segment, file_path};

/// From so many files on, a flush has several threads. Else it takes a minute where a log has rolled 20,000 times.
const MANY_FILES: usize = 256;
const THREADS: usize = 16;

/// What was written since the last flush.
#[derive(Debug, Default)]
pub(super) struct Unflushed {
    /// How many records.
    pub records: u64,
    /// When the last flush was, or the log was opened.
    pub since_ms: Timestamp,
    /// Nothing from the recovery point up to here may be called safe before it is flushed.
    pub owed: Offset,
    /// How often files were made, renamed or removed, a start after a crash counting as once ...
    pub names: u64,
    /// ... and how often of these the folder was flushed after.
    pub names_flushed: u64,
    /// The base offsets of the sealed segments of which some file may not be wholly on the disk: often only an index or
    /// the snapshot, where the records were flushed before the segment was sealed.
    pub sealed: BTreeSet<Offset>,
    /// How often files were cut or took other names: a flush that began before has not flushed what lies there now.
    pub upheavals: u64,
    /// Held while a flush runs, and true once one has failed.
    pub failed: Arc<Mutex<bool>>,
}

/// A flush that was begun.
#[derive(Debug)]
pub struct Flush {
    end_offset: Offset,
    /// Whether that was the end of the log when the flush began.
    is_complete: bool,
    upheavals: u64,
    /// The sealed segments among those that are flushed.
    sealed: Vec<Offset>,
    logs: Vec<(PathBuf, Arc<File>)>,
    /// Those that nobody holds open, and each only until it is flushed, for they may be more than a process may open: segments
    /// that were closed, indexes and snapshots. There are some after a roll only.
    others: Vec<PathBuf>,
    folder: PathBuf,
    /// How often its names had changed; the folder is flushed too if not all of that was flushed before.
    names: u64,
    names_flushed: u64,
    epochs: Option<UnwrittenEpochs>,
    failed: Arc<Mutex<bool>>,
}

impl Flush {
    /// Waits until all that was written when the flush was begun is on the disk. What comes of it goes to
    /// [`Log::finish_flush`].
    ///
    /// # Errors
    /// What is on the disk is unknown then, and trying again does not help: the log directory has failed. But where it
    /// [lacks files](Error::lacks_files), it was not tried.
    pub fn run(&self) -> Result<()> {
        // One at a time: of two at once, only one would be told of a failure, and the other one believe itself safe.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(Error::Unusable { path: self.folder.clone(), detail: "an earlier flush failed".to_owned() });
        }
        let done = self.sync();
        *failed = done.as_ref().is_err_and(|error| !error.lacks_files());
        done
    }

    fn sync(&self) -> Result<()> {
        let count = self.logs.len() + self.others.len();
        if count < MANY_FILES {
            (0..count).try_for_each(|number| self.sync_file(number))?;
        } else {
            self.sync_many(count)?;
        }
        if self.names > self.names_flushed {
            // The folder may have another name meanwhile, because its topic was deleted.
            unless_gone(os::sync_folder(&self.folder)).map_err(Error::io("flush", &self.folder))?;
        }
        self.epochs.as_ref().map_or(Ok(()), UnwrittenEpochs::write)
    }

    /// Several at a time: file systems commit the changes of several files together.
    fn sync_many(&self, count: usize) -> Result<()> {
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(Ok(())));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                if let Err(error) = self.sync_file(number) {
                    next.store(count, Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    // What was not tried may be tried again, and what has failed may not.
                    if failed.as_ref().map_or_else(Error::lacks_files, |()| true) {
                        *failed = Err(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            // Where there can be no more threads, fewer do it, or this one alone.
            for _ in 1..THREADS {
                _ = std::thread::Builder::new().name("ottla-sync".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file with this number, the logs first.
    fn sync_file(&self, number: usize) -> Result<()> {
        if let Some((path, file)) = self.logs.get(number) {
            return os::sync_data(file).map_err(Error::io("flush", path));
        }
        let path = &self.others[number - self.logs.len()];
        match os::open(path) {
            Ok(file) => os::sync_data(&file).map_err(Error::io("flush", path)),
            // Retention may have taken the segment away meanwhile.
            Err(error) => unless_gone(Err(error)).map_err(Error::io("open", path)),
        }
    }
}

fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

impl Log {
    /// Whether a segment was sealed that is not wholly on the disk yet.
    pub fn has_unflushed_segments(&self) -> bool {
        let is_behind = !self.sealed.is_empty() && self.recovery_point < Segment::base_offset(&self.active);
        (is_behind || !self.unflushed.sealed.is_empty()) && self.unusable.is_none()
    }

    /// Whether something will be due that no append tells of: a flush after `flush.ms`, or files to be unlinked.
    pub fn has_work_ahead(&self) -> bool {
        let flush_ahead = self.unflushed.records > 0 && self.config.flush_ms.is_some();
        let is_ahead = (flush_ahead || self.owes_flush()) && self.unusable.is_none();
        is_ahead || self.has_unflushed_segments() || !self.doomed.is_empty()
    }

    /// Up to where all records are on the disk; those that were deleted need not be.
    pub fn flushed_offset(&self) -> Offset {
        self.recovery_point.max(self.start_offset)
    }

    /// Whether records wait for a flush before anybody may be told that they are safe: with `flush.messages` and
    /// `ottla.flush.before.ack`. The log's owner flushes, and tells nobody before.
    pub fn owes_flush(&self) -> bool {
        self.flushed_offset() < self.unflushed.owed
    }

    /// Whether there is nothing to flush but perhaps indexes.
    pub fn is_flushed(&self) -> bool {
        self.flushed_offset() >= self.end_offset()
    }

    /// The same, whether it may still be read or not.
    pub(super) fn is_on_disk(&self) -> bool {
        self.recovery_point >= self.end_offset()
    }

    /// Whether `flush.ms` asks for a flush now; what `flush.messages` asks for is owed at once.
    pub fn is_flush_due(&self, now_ms: Timestamp) -> bool {
        let Unflushed { records, since_ms, .. } = self.unflushed;
        let is_late = self.config.flush_ms.is_some_and(|limit| now_ms.saturating_sub(since_ms) >= limit);
        records > 0 && is_late && self.unusable.is_none()
    }

    /// The first part of a flush: which files hold what was written so far.
    pub fn begin_flush(&self) -> Result<Flush> {
        self.begin_flush_to(self.segment_count(), self.end_offset())
    }

    /// The first part of a flush of the sealed segments alone: the active one is left to the page cache.
    pub fn begin_flush_sealed(&self) -> Result<Flush> {
        self.begin_flush_to(self.sealed.len(), Segment::base_offset(&self.active))
    }

    fn begin_flush_to(&self, segment_count: usize, end_offset: Offset) -> Result<Flush> {
        self.check_usable()?;
        let mut flush = Flush {
            end_offset,
            is_complete: end_offset == self.end_offset(),
            upheavals: self.unflushed.upheavals,
            sealed: Vec::new(),
            logs: Vec::new(),
            others: Vec::new(),
            folder: self.folder.clone(),
            names: self.unflushed.names,
            names_flushed: self.unflushed.names_flushed,
            epochs: self.epochs.unwritten(end_offset),
            failed: Arc::clone(&self.unflushed.failed),
        };
        let behind =
            if self.recovery_point < end_offset { self.segment_floor(self.recovery_point) } else { segment_count };
        let index_of = |base_offset| self.sealed.binary_search_by_key(base_offset, Segment::base_offset).ok();
        let sealed = self.unflushed.sealed.iter().filter_map(index_of).filter(|index| *index < behind);
        for index in sealed.chain(behind..segment_count) {
            let segment = self.segment(index);
            let base_offset = segment.base_offset();
            let path = segment.path().to_owned();
            match self.sealed.get(index).map_or_else(|| self.active.opened_file(), Sealed::opened_file) {
                Some(file) => flush.logs.push((path, file)),
                None => flush.others.push(path),
            }
            if index < self.sealed.len() {
                // The active one's indexes are built anew after a crash, so they need not be on the disk.
                flush.others.extend(["index", "timeindex", "txnindex"].map(|kind| self.file_path(base_offset, kind)));
                flush.sealed.push(base_offset);
            }
            let end = self.segment_end(index);
            // There seldom is one at the end of the log: nothing is to be opened for each flush to find that out.
            if index < self.sealed.len() || self.snapshots.taken.contains(&end) {
                flush.others.push(self.file_path(end, "snapshot"));
            }
        }
        Ok(flush)
    }

    /// The last part of a flush: `ran` is what came of its run. Moves the recovery point, or makes the log take no more. Where the
    /// flush was begun with another log, nothing changes here.
    ///
    /// # Errors
    /// That of the run, or `Unusable` if another flush has failed meanwhile. The log goes on where the run lacked files.
    pub fn finish_flush(&mut self, flush: &Flush, ran: Result<()>, now_ms: Timestamp) -> Result<()> {
        if !Arc::ptr_eq(&flush.failed, &self.unflushed.failed) {
            // This log has taken the place of the one that was flushed, in another directory: that says nothing of it.
            return ran;
        }
        match ran {
            Err(error) if error.lacks_files() => return Err(error),
            ran => self.for_good("a flush", ran)?,
        }
        self.check_usable()?;
        // A truncation in between took away some of what was flushed, and other records may lie in its place; of a renamed
        // folder, the small files were not found.
        if flush.upheavals != self.unflushed.upheavals {
            return Ok(());
        }
        self.recovery_point = self.recovery_point.max(flush.end_offset);
        let records = self.end_offset().0 - self.recovery_point.0;
        self.unflushed.records = self.unflushed.records.min(records as u64);
        for base_offset in &flush.sealed {
            // Each that rolls has one open until now. Many logs that roll once would have more than a process may open.
            self.close_sealed(*base_offset);
            self.unflushed.sealed.remove(base_offset);
        }
        if flush.is_complete {
            self.unflushed.since_ms = now_ms;
        }
        // A roll meanwhile has counted on.
        self.unflushed.names_flushed = self.unflushed.names_flushed.max(flush.names);
        Ok(())
    }

    /// Waits until all that was written is on the disk.
    pub fn flush(&mut self, now_ms: Timestamp) -> Result<()> {
        let flush = self.begin_flush()?;
        let ran = flush.run();
        self.finish_flush(&flush, ran, now_ms)
    }

    /// Leaves the log so that the next start need not read it: trimmed indexes, a producer snapshot at the end, all on
    /// the disk.
    ///
    /// # Errors
    /// The next start has to read it then, and must not be told of a clean stop.
    pub fn close(mut self, now_ms: Timestamp) -> Result<()> {
        self.close_for_good(now_ms)
    }

    /// As [`Log::close`], where others still hold the log: they may read, and it takes no more.
    pub fn close_for_good(&mut self, now_ms: Timestamp) -> Result<()> {
        self.check_usable()?;
        let left = self.leave(now_ms);
        self.for_good("closing", left)?;
        self.unusable = Some(CLOSED.to_owned());
        Ok(())
    }

    fn leave(&mut self, now_ms: Timestamp) -> Result<()> {
        self.active.trim()?;
        self.active.flush_indexes()?;
        self.epochs.catch_up()?;
        self.snapshot_producers(self.end_offset())?;
        self.unflushed.names += 1;
        let mut flush = self.begin_flush()?;
        // Also where all records were flushed before: the next start reads these, and no record before them.
        let base_offset = Segment::base_offset(&self.active);
        match self.active.opened_file() {
            Some(file) => flush.logs.push((self.active.path().to_owned(), file)),
            None => flush.others.push(self.active.path().to_owned()),
        }
        flush.others.push(self.file_path(base_offset, "txnindex"));
        flush.others.push(self.file_path(self.end_offset(), "snapshot"));
        let ran = flush.run();
        self.finish_flush(&flush, ran, now_ms)
    }

    pub(super) fn file_path(&self, base_offset: Offset, kind: &str) -> PathBuf {
        file_path(&self.folder, base_offset, kind)
    }
}
