//! What compaction needs of a log: how dirty it is, what is to be cleaned, and the swap of segments.
//!
//! ```text
//!   before   00.log      05.log      00.log.cleaned       (whole, and on the disk)
//!   1        00.log      05.log      00.log.swap          from here on, a start after a crash goes on to the end
//!   2        00.deleted  05.deleted  00.log.swap          the first segment first
//!   3        00.log                                       the deleted files are unlinked later
//! ```
//!
//! Names reach the disk in this order; whoever called flushes the folder afterwards, without the lock.

use std::cell::Cell;
use std::io;
use std::path::Path;

use ottla_base::{Offset, Timestamp};

use super::leftovers::{SEGMENT_KINDS, remove};
use super::retention::Doomed;
use super::{Log, index_limits};
use crate::aborted::AbortedIndex;
use crate::cleaner::{Begun, CompactionSettings, Dirt, Ends, LastOf, Piece, Room, Source};
use crate::error::{Error, Result};
use crate::os;
use crate::segment::{Sealed, Segment};

/// What the files of a new segment are called until they are whole.
const CLEANED: &str = "cleaned";
/// And then, until they are where they belong.
const SWAP: &str = "swap";
/// The only file that a segment need not have.
const ABORTED: &str = "txnindex";

impl Log {
    /// What there is to compact, where the log is compacted up to `checkpoint` and stable up to `last_stable`.
    pub fn dirt(
        &self,
        checkpoint: Option<Offset>,
        last_stable: Offset,
        settings: &CompactionSettings,
        now_ms: Timestamp,
    ) -> Result<Dirt> {
        let active = Segment::base_offset(&self.active);
        let ends = Ends { log_start: self.start_offset, log_end: self.end_offset(), active, last_stable };
        let dirty_from = self.segment_floor(checkpoint.unwrap_or(self.start_offset));
        let mut pieces = Vec::with_capacity(self.sealed.len());
        for (index, segment) in self.sealed.iter().enumerate() {
            let (base_offset, size_bytes) = (segment.base_offset(), segment.size());
            let mut piece = Piece { base_offset, size_bytes, largest_timestamp: -1, first_timestamp: -1 };
            if index >= dirty_from && settings.min_compaction_lag_ms > 0 {
                piece.largest_timestamp = self.newest_ms(index)?;
            }
            if index >= dirty_from && settings.max_compaction_lag_ms.is_some() {
                piece.first_timestamp = segment.first_timestamp()?;
                if segment.is_open() {
                    self.keep_few_open(base_offset);
                }
            }
            pieces.push(piece);
        }
        Ok(Dirt::of(&pieces, ends, checkpoint, settings, now_ms))
    }

    /// What a cleaning of the segments before `end` is made from.
    ///
    /// # Errors
    /// `Unusable` if the log takes no more: what is on the disk is not known then.
    pub(crate) fn begin_cleaning(&self, end: Offset) -> Result<Begun> {
        self.check_usable()?;
        let count = self.sealed.partition_point(|segment| segment.base_offset() < end);
        let source = |index: usize| Source {
            base_offset: self.sealed[index].base_offset(),
            end_offset: self.segment_end(index),
            size_bytes: self.sealed[index].size(),
            index_bytes: 0,
            largest_ms: -1,
        };
        let aborted = self.replayed.aborted.values().flat_map(|index| index.entries());
        Ok(Begun {
            folder: self.folder.clone(),
            sources: (0..count).map(source).collect(),
            aborted: aborted.filter(|transaction| transaction.first_offset < end).copied().collect(),
            producers: self.producers().entries().map(|entry| (entry.producer_id, LastOf::of(&entry))).collect(),
            room: Room {
                segment_bytes: self.config.segment_bytes_max().min(i32::MAX as u64) as u32,
                index_bytes: self.config.segment_index_bytes,
                span_ms: self.config.retention_part_ms(),
            },
            limits: index_limits(&self.config),
            upheavals: Cell::new(self.unflushed.upheavals),
            making: Cell::new(None),
            swapped_to: Cell::new(Offset(0)),
        })
    }

    /// Whether a cleaning was begun with this log, where it lies now: it may have moved to another directory meanwhile.
    pub(crate) fn is_of(&self, begun: &Begun) -> bool {
        self.folder == begun.folder && self.unflushed.upheavals == begun.upheavals.get()
    }

    /// Whether nothing that a cleaning was begun with, and has still ahead, was cut, renamed or deleted since.
    pub(crate) fn is_as_begun(&self, begun: &Begun) -> bool {
        let is_there =
            |source: &Source| self.sealed.binary_search_by_key(&source.base_offset, Segment::base_offset).is_ok();
        let mut ahead = begun.sources.iter().filter(|source| source.base_offset >= begun.swapped_to.get());
        self.is_of(begun) && ahead.all(is_there)
    }

    /// Puts the new segment of a group, which is whole and on the disk, in the place of the group; false if that is no longer
    /// there as it was. Readers that hold a file of it finish.
    pub(crate) fn swap_in(&mut self, begun: &Begun, group: &[Source], now_ms: Timestamp) -> Result<bool> {
        self.check_usable()?;
        let first = self.sealed.partition_point(|segment| segment.base_offset() < group[0].base_offset);
        let there = self.sealed.get(first..first + group.len()).unwrap_or_default();
        let is_there = there.len() == group.len()
            && there.iter().zip(group).all(|(segment, source)| {
                segment.base_offset() == source.base_offset && segment.size() == source.size_bytes
            });
        if !is_there || !self.is_of(begun) {
            return Ok(false);
        }
        let base_offset = group[0].base_offset;
        // While nothing has changed: the process may have too many files open for it.
        let aborted = AbortedIndex::open(&self.file_path(base_offset, &format!("{ABORTED}.{CLEANED}")))?;
        if let Err(error) = self.rename_kinds(base_offset, CLEANED, SWAP) {
            // The old segments are as they were, and nothing must be left that says otherwise.
            let removed = self.remove_unfinished(base_offset, &[SWAP, CLEANED]);
            return self.for_good("giving a compaction up", removed).and(Err(error));
        }
        let swapped = self.put_in_place(first, group, aborted, now_ms);
        self.for_good("putting a compacted segment in its place", swapped)?;
        // A flush that began before has not flushed what lies here now.
        self.unflushed.upheavals += 1;
        begun.upheavals.set(self.unflushed.upheavals);
        begun.making.set(None);
        begun.swapped_to.set(group[group.len() - 1].end_offset);
        Ok(true)
    }

    /// Notes that the folder was flushed after the swap of a segment, all of whose files had been flushed before.
    pub(crate) fn swap_is_flushed(&mut self, begun: &Begun, base_offset: Offset) {
        if self.is_of(begun) {
            self.unflushed.sealed.remove(&base_offset);
        }
    }

    /// Removes what a cleaning that was given up has left of its last segment.
    pub(crate) fn remove_cleaned(&self, begun: &Begun) -> Result<()> {
        begun.making.get().map_or(Ok(()), |base_offset| self.remove_unfinished(base_offset, &[CLEANED]))
    }

    fn put_in_place(
        &mut self,
        first: usize,
        group: &[Source],
        mut aborted: AbortedIndex,
        now_ms: Timestamp,
    ) -> Result<()> {
        let base_offset = group[0].base_offset;
        let mut files = Vec::new();
        for source in group {
            let snapshot = (source.base_offset != base_offset).then_some("snapshot");
            for kind in SEGMENT_KINDS.into_iter().chain(snapshot) {
                let from = self.file_path(source.base_offset, kind);
                let to = self.file_path(source.base_offset, &format!("{kind}.deleted"));
                match os::rename(&from, &to) {
                    Ok(()) => files.push(to),
                    // Indexes may be missing, they are built anew when they are needed.
                    Err(error) if kind != "log" && error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(Error::io("rename", &from)(error)),
                }
            }
            self.replayed.aborted.remove(&source.base_offset);
            self.unflushed.sealed.remove(&source.base_offset);
        }
        self.doomed.push_back(Doomed { since_ms: now_ms, files });
        self.rename_kinds(base_offset, SWAP, "")?;
        // Until the folder is flushed, a power cut may bring the old ones back.
        self.unflushed.sealed.insert(base_offset);
        self.unflushed.names += 1;
        let segment = Sealed::find(&self.folder, base_offset, index_limits(&self.config))?;
        assert!(segment.size() > 0, "a segment keeps its last batch");
        self.sealed.splice(first..first + group.len(), [segment]);
        if !aborted.is_empty() {
            aborted.moved(&self.file_path(base_offset, ABORTED));
            self.replayed.aborted.insert(base_offset, aborted);
        }
        Ok(())
    }

    /// Gives the files of a segment that end with `from` the ending `to`, the log first.
    fn rename_kinds(&self, base_offset: Offset, from: &str, to: &str) -> Result<()> {
        let path = |kind: &str, suffix: &str| match suffix {
            "" => self.file_path(base_offset, kind),
            suffix => self.file_path(base_offset, &format!("{kind}.{suffix}")),
        };
        for kind in SEGMENT_KINDS {
            let from = path(kind, from);
            match os::rename(&from, &path(kind, to)) {
                Ok(()) => {}
                Err(error) if kind == ABORTED && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("rename", &from)(error)),
            }
        }
        Ok(())
    }

    fn remove_unfinished(&self, base_offset: Offset, suffixes: &[&str]) -> Result<()> {
        let names = suffixes.iter().flat_map(|suffix| SEGMENT_KINDS.map(|kind| format!("{kind}.{suffix}")));
        names.map(|name| self.file_path(base_offset, &name)).try_for_each(|path| remove(&path))
    }
}

/// Removes what cleanings have left in a log's folder that could not clear up behind them. A start after a crash would go by the
/// first of these names when it decides which of the later ones count.
pub(crate) fn remove_unfinished(folder: &Path) -> Result<()> {
    let entries = os::list(folder).map_err(Error::io("list", folder))?;
    let is_unfinished = |name: &str| name.rsplit_once('.').is_some_and(|(_, end)| [CLEANED, SWAP].contains(&end));
    let unfinished = entries.iter().filter(|entry| !entry.is_folder && is_unfinished(&entry.name));
    unfinished.map(|entry| folder.join(&entry.name)).try_for_each(|path| remove(&path))
}
