//! The log of one partition: its segments in order, and the state that follows from them.
//!
//! ```text
//!        log start          recovery point       high watermark    end
//!            v                     v                   v            v
//!   [sealed segment] [sealed segment] [ active segment .............]   -> appends
//!            |<------------------- reads ------------->|
//! ```
//!
//! A `Log` belongs to one owner, who keeps it under a lock and tells it the time. The high watermark is not its
//! matter: whoever reads or deletes says how far that may go. What each file of this module does:
//!
//! - `open`: from a folder to a log; `loading`: its segments, and what recovery cuts; `leftovers`: files that a crash left;
//!   `missing_epochs`: leader epochs that it left out
//! - `append`: leader's and followers' batches, rolling; `replay`: what follows from them about their producers
//! - `read`: from an offset to a slice of a file; `lookup`: from a timestamp to an offset
//! - `flush`: what is on the disk, closing; `failure`: when a log takes no more
//! - `retention`: deleting from the front; `truncate`: cutting off the end; `compaction`: swapping segments in the middle

mod append;
mod compaction;
mod failure;
mod flush;
mod leftovers;
mod loading;
mod lookup;
mod missing_epochs;
mod open;
mod read;
mod replay;
mod retention;
mod truncate;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ottla_base::{LeaderEpoch, Offset, Timestamp, TopicPartition};

pub use append::{Appended, LeaderAppend};
pub(crate) use compaction::remove_unfinished;
pub use flush::Flush;
pub(crate) use leftovers::is_of_log;
pub use lookup::{FoundRecord, LateBatch, Sought, TimeSearch, UnpackBudget};
pub use open::{Cut, Left, OpenLog, Recovery};
pub use read::LogSlice;
pub use retention::{Deleted, DeletedBecause, DeletedFiles};

use crate::config::LogConfig;
use crate::directory::remove_log_folder;
use crate::epochs::{EpochEnd, LeaderEpochs};
use crate::error::{Error, Result};
use crate::os;
use crate::producers::{ProducerCount, Producers};
use crate::segment::{Active, IndexLimits, Sealed, Segment};

/// How many sealed segments keep their log file open for readers.
const OPEN_SEALED_MAX: usize = 4;

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    topic_partition: TopicPartition,
    config: LogConfig,
    /// Ordered by base offset, all before the active one.
    sealed: Vec<Sealed>,
    active: Active,
    start_offset: Offset,
    recovery_point: Offset,
    replayed: replay::Replayed,
    snapshots: replay::Snapshots,
    epochs: LeaderEpochs,
    /// Files of deleted segments, oldest first, that wait to be unlinked.
    doomed: VecDeque<retention::Doomed>,
    unflushed: flush::Unflushed,
    /// A segment was sealed since it was last looked for what has to go.
    has_rolled: bool,
    /// Why nothing may be written any more, once that is so.
    unusable: Option<String>,
    /// The base offsets of the sealed segments that readers opened, in that order.
    opened: Mutex<VecDeque<Offset>>,
}

/// One segment as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The offset that names it.
    pub base_offset: Offset,
    /// How many bytes its log file has.
    pub size_bytes: u32,
}

impl Log {
    /// Whose log it is.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The settings it follows.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Follows other settings from now on.
    pub fn configure(&mut self, config: LogConfig) {
        let limits = index_limits(&config);
        self.active.set_limits(limits);
        self.sealed.iter_mut().for_each(|segment| segment.set_limits(limits));
        if config.flush_before_ack && !self.config.flush_before_ack {
            self.unflushed.owed = self.end_offset();
        }
        self.config = config;
    }

    /// The first offset that may be read.
    pub fn start_offset(&self) -> Offset {
        self.start_offset
    }

    /// The offset that the next record will have.
    pub fn end_offset(&self) -> Offset {
        self.active.end_offset()
    }

    /// All records before it are on the disk, not only in the page cache, and so are the indexes of the sealed segments
    /// before it and their leader epochs: a start after a crash need not read them.
    pub fn recovery_point(&self) -> Offset {
        let waiting = self.unflushed.sealed.first().copied().into_iter().chain(self.epochs.unwritten_from());
        waiting.fold(self.recovery_point, Offset::min)
    }

    /// What `recovery-point-offset-checkpoint` is to say: the recovery point, but never the end of the active segment. Once
    /// that is sealed, a point at its end would mean that its indexes are on the disk too.
    ///
    /// It is to be written after a start and after a truncation, before anything is appended: a point that lies behind the end
    /// would be believed once the log is longer again.
    pub fn recovery_checkpoint(&self) -> Offset {
        let (point, base, end) = (self.recovery_point(), Segment::base_offset(&self.active), self.end_offset());
        if point == end && end > base { Offset(end.0 - 1) } else { point }
    }

    /// How many bytes the log files have together.
    pub fn size_bytes(&self) -> u64 {
        self.segments().map(|segment| u64::from(segment.size_bytes)).sum()
    }

    /// The segments, oldest first; the last one is being written to.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> {
        (0..self.segment_count()).map(|index| {
            let segment = self.segment(index);
            SegmentInfo { base_offset: segment.base_offset(), size_bytes: segment.size() }
        })
    }

    /// What is known about the producers that wrote to this log.
    pub fn producers(&self) -> &Producers {
        &self.replayed.producers
    }

    /// Counts them with those of other logs from now on; gives back with which they were counted.
    pub fn count_producers_with(&mut self, count: ProducerCount) -> ProducerCount {
        self.replayed.producers.count_with(count)
    }

    /// Which leader epoch began where.
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The epoch of the newest batch, if any batch has one.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// Where the records of `epoch` end, or of the last leader before it (KIP-101); `None` if it is later than all known.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_offset_for(epoch, self.end_offset())
    }

    /// Renames the folder. Readers that hold a file are not disturbed.
    ///
    /// # Errors
    /// It has its old name, unless the disk lets it not be taken back either.
    pub fn rename_folder(&mut self, to: &Path) -> Result<()> {
        let before = self.folder.clone();
        self.rename_folder_unflushed(to)?;
        self.flush_above().inspect_err(|_| {
            // Nobody is to find it under a name that was told not to be its own.
            let _ = self.rename_folder_unflushed(&before).and_then(|()| self.flush_above());
        })
    }

    fn flush_above(&self) -> Result<()> {
        let above = self.folder.parent();
        above.map_or(Ok(()), |above| os::sync_folder(above).map_err(Error::io("flush", above)))
    }

    /// The same, for one of many: whoever renames them flushes the folder above once for all.
    pub fn rename_folder_unflushed(&mut self, to: &Path) -> Result<()> {
        os::rename(&self.folder, to).map_err(Error::io("rename", &self.folder))?;
        self.folder = to.to_owned();
        self.unflushed.upheavals += 1;
        self.unflushed.names += 1;
        self.active.moved(to);
        self.sealed.iter_mut().for_each(|segment| segment.moved(to));
        self.epochs.moved(to);
        self.replayed.moved(to);
        self.doomed.iter_mut().for_each(|doomed| doomed.moved(to));
        Ok(())
    }

    /// Whether the file that it writes to is still in a folder.
    ///
    /// # Errors
    /// Somebody removed it: what is appended is gone when the log is closed.
    pub fn check_there(&self) -> Result<()> {
        let gone = || Error::io("find", self.active.path())(rustix::io::Errno::NOENT.into());
        if self.active.is_there()? { Ok(()) } else { Err(gone()) }
    }

    /// Removes the log with its folder. Readers that hold a file may finish.
    pub fn delete(self) -> Result<()> {
        remove_log_folder(&self.folder).map_err(Error::io("remove", &self.folder))
    }

    /// Asserts what always holds: run by the tests after each step.
    pub fn check(&self) {
        self.active.check();
        let bases: Vec<Offset> = self.segments().map(|segment| segment.base_offset).collect();
        assert!(bases.is_sorted() && bases.windows(2).all(|pair| pair[0] < pair[1]), "segments rise: {bases:?}");
        assert!(self.sealed.iter().all(|segment| segment.size() > 0), "only the active segment may be empty");
        assert!(bases[0] <= self.start_offset, "the log starts in a segment that is there");
        assert!(self.start_offset <= self.end_offset(), "the log starts before it ends");
        assert!(self.recovery_point <= self.end_offset(), "only what was written is on the disk");
        let open = self.sealed.iter().filter(|segment| segment.is_open()).count();
        assert!(open <= OPEN_SEALED_MAX, "{open} sealed segments are open");
        assert!(
            self.latest_epoch_start().is_none_or(|start| start <= self.end_offset()),
            "an epoch begins behind the end"
        );
    }

    fn latest_epoch_start(&self) -> Option<Offset> {
        self.epochs.entries().last().map(|start| start.start_offset)
    }

    fn segment_count(&self) -> usize {
        self.sealed.len() + 1
    }

    /// The segment number `index`, counted from the oldest.
    fn segment(&self, index: usize) -> &dyn Segment {
        match self.sealed.get(index) {
            Some(sealed) => sealed,
            None => &self.active,
        }
    }

    /// The number of the last segment that begins at `offset` or before; the first one if none does.
    fn segment_floor(&self, offset: Offset) -> usize {
        if self.active.base_offset() <= offset {
            return self.sealed.len();
        }
        self.sealed.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1)
    }

    /// Where the segment number `index` ends and the next begins.
    fn segment_end(&self, index: usize) -> Offset {
        if index < self.sealed.len() { self.segment(index + 1).base_offset() } else { self.end_offset() }
    }

    /// Notes that a sealed segment's file was opened, and closes the one that was opened first where there are many.
    fn keep_few_open(&self, base_offset: Offset) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.contains(&base_offset) {
            return;
        }
        opened.push_back(base_offset);
        while opened.len() > OPEN_SEALED_MAX {
            let oldest = opened.pop_front().expect("more than the limit are open");
            if let Some(segment) = self.sealed_at(oldest) {
                segment.close();
            }
        }
    }

    /// Closes the files of a sealed segment, if it is there.
    fn close_sealed(&self, base_offset: Offset) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).retain(|opened| *opened != base_offset);
        if let Some(segment) = self.sealed_at(base_offset) {
            segment.close();
        }
    }

    fn sealed_at(&self, base_offset: Offset) -> Option<&Sealed> {
        self.sealed.binary_search_by_key(&base_offset, Segment::base_offset).ok().map(|index| &self.sealed[index])
    }

    /// Closes the files of sealed segments that readers left open: now and then, so that they do not stay so for good, and where
    /// others find none. Those that are not flushed stay open until they are: with the last file that is open of it, the system
    /// may forget what it could not write.
    pub fn close_idle_files(&self) {
        let is_flushed = |base_offset: &Offset| !self.unflushed.sealed.contains(base_offset);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).retain(|opened| !is_flushed(opened));
        self.sealed.iter().filter(|segment| is_flushed(&segment.base_offset())).for_each(Sealed::close);
    }

    /// Closes the file that it writes to, if nobody has used that since this was last called: where others find no file. Says
    /// whether it has to be flushed before, for the same reason as above.
    pub fn close_idle_active(&mut self) -> bool {
        let is_idle = self.active.is_idle() && self.unusable.is_none();
        let is_on_disk = self.is_on_disk();
        if is_idle && is_on_disk {
            self.active.close_file();
        }
        is_idle && !is_on_disk
    }
}

fn index_limits(config: &LogConfig) -> IndexLimits {
    IndexLimits { max_bytes: config.segment_index_bytes, interval_bytes: config.index_interval_bytes }
}

fn preallocated_bytes(config: &LogConfig) -> u32 {
    let most = config.segment_bytes_max().min(i32::MAX as u64) as u32;
    if config.preallocate { most } else { 0 }
}

/// Makes a segment without records at `base_offset`, as `config` wants it.
fn new_segment(folder: &Path, base_offset: Offset, config: &LogConfig, now_ms: Timestamp) -> Result<Active> {
    Active::create(folder, base_offset, index_limits(config), preallocated_bytes(config), now_ms)
}
