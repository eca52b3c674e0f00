//! The segments of a log that is being opened, oldest first: which are taken as they are, which are read, and where one that
//! is not whole ends the log.

use std::cell::Cell;
use std::path::Path;

use ottla_base::{Offset, Timestamp};

use super::leftovers::{begin_cutting, end_cutting, remove_segment};
use super::open::{Cut, Left, Recovery};
use crate::checkpoint::{CLEANER_CHECKPOINT, read_offsets};
use crate::epochs::LeaderEpochs;
use crate::error::{Error, Result};
use crate::os;
use crate::segment::scan::{LOOKUP_CHUNK_BYTES, Scan};
use crate::segment::{Active, BatchAt, IndexLimits, Intact, Sealed, Segment, Torn, file_path};

/// Opens the segments of one log.
pub(super) struct Loading<'a> {
    pub folder: &'a Path,
    pub limits: IndexLimits,
    pub now_ms: Timestamp,
    pub left: Left,
    /// What is there for certain of the segments that are read.
    pub intact: Intact,
    /// Whether the last segment's indexes may be believed, so that only what lies behind them is read.
    pub may_resume: bool,
    /// How many segments are taken as they are; of the last one, the end is always looked for.
    pub trusted: usize,
    pub gaps: Gaps<'a>,
    /// The offset from which on batches were read, if any were.
    pub read_from: Option<Offset>,
    /// The leader epochs; those that begin in what is read are added, unless they are to be found later.
    pub epochs: Option<&'a mut LeaderEpochs>,
    pub recovery: &'a mut Recovery,
}

impl Loading<'_> {
    /// Opens the segments, and the last one for appending; `None` if there is none.
    pub fn load(&mut self, segments: Vec<Sealed>) -> Result<(Vec<Sealed>, Option<Active>)> {
        let folder = self.folder;
        let places: Vec<(Offset, u32)> =
            segments.iter().map(|segment| (segment.base_offset(), segment.size())).collect();
        let mut sealed: Vec<Sealed> = Vec::with_capacity(places.len());
        for (index, segment) in segments.into_iter().enumerate() {
            let base_offset = segment.base_offset();
            let is_last = index + 1 == places.len();
            if index < self.trusted && !is_last {
                sealed.push(segment);
                continue;
            }
            if !is_last && segment.size() == 0 && sealed.last().is_some_and(|before| reaches_past(before, base_offset))
            {
                // A roll failed half way, and the old segment went on.
                remove_segment(folder, base_offset)?;
                continue;
            }
            let (mut active, mut torn) = self.open(base_offset, is_last)?;
            if torn.is_none() {
                let end = active.end_offset();
                let detail = wrong_behind(end, &places[index + 1..], &mut self.gaps)?;
                torn = detail.map(|detail| Torn { bytes: 0, claimed_end: end, detail });
            }
            if is_last
                && active.size() == 0
                && let Some(before) = sealed.pop_if(|before| reaches_past(before, base_offset))
            {
                // The same where the roll was the last.
                remove_segment(folder, base_offset)?;
                self.read_from = self.read_from.map(|from| from.min(before.base_offset()));
                (active, torn) = self.open(before.base_offset(), true)?;
            }
            if let Some(torn) = torn {
                let later: Vec<Offset> = places[index + 1..].iter().map(|(base, _)| *base).collect();
                self.recovery.cut = Some(cut(folder, &mut active, &later, &torn)?);
                return Ok((sealed, Some(active)));
            }
            if is_last {
                return Ok((sealed, Some(active)));
            }
            if active.size() == 0 {
                // All that was in it was compacted away.
                remove_segment(folder, base_offset)?;
                continue;
            }
            active.trim()?;
            let segment = active.seal();
            segment.close();
            sealed.push(segment);
        }
        Ok((sealed, None))
    }

    /// Opens one segment: as a clean shutdown leaves the last, or after as much of it was read as has to be.
    fn open(&mut self, base_offset: Offset, is_last: bool) -> Result<(Active, Option<Torn>)> {
        let (folder, limits, now_ms) = (self.folder, self.limits, self.now_ms);
        if self.left == Left::Cleanly {
            return Active::open_or_recover(folder, base_offset, limits, now_ms, self.intact);
        }
        // What begins in the middle of a segment follows on what is not read.
        let begins_inside = is_last && self.may_resume;
        let (end, mut read_bytes) = (Cell::new(if begins_inside { Offset(i64::MAX) } else { base_offset }), 0);
        let (epochs, gaps) = (&mut self.epochs, &mut self.gaps);
        let mut each = |batch: &BatchAt| {
            if batch.base_offset() > end.get() {
                gaps.are_seen |= batch.base_offset() > gaps.compacted_to()?;
            }
            end.set(batch.last_offset().plus(1));
            read_bytes += u64::from(batch.size);
            let Some(epochs) = epochs.as_deref_mut() else { return Ok(()) };
            let (epoch, from) = (batch.leader_epoch(), batch.base_offset());
            if epochs.epoch_for(from).is_some_and(|known| known > epoch) {
                // What was written there last is lost, and what a failed append had left is back.
                epochs.truncate_from_end(from)?;
            }
            epochs.assign(epoch, from);
            Ok(())
        };
        let resumed = match begins_inside {
            true => Active::resume(folder, base_offset, limits, now_ms, &mut each),
            false => Err(Error::corrupt(folder, "its indexes are not to be believed")),
        };
        let (active, torn) = match resumed {
            Ok((active, torn, from)) => {
                self.read_from = Some(from);
                (active, torn)
            }
            Err(error @ Error::WrongFormat { .. }) => return Err(error),
            Err(error) => {
                if begins_inside {
                    tracing::warn!(%error, "reading the whole of a log's last segment");
                }
                end.set(base_offset);
                Active::recover(folder, base_offset, limits, now_ms, self.intact, &mut each)?
            }
        };
        self.recovery.scanned_segments += 1;
        self.recovery.scanned_bytes += read_bytes;
        Ok((active, torn))
    }
}

/// What is wrong between the end of a segment and the next of those behind it, if anything is. Empty ones before the end are
/// passed over: they go when it is their turn.
fn wrong_behind(end: Offset, later: &[(Offset, u32)], gaps: &mut Gaps<'_>) -> Result<Option<String>> {
    let Some(&(next, _)) = later.iter().find(|(base, size)| *size > 0 || *base >= end) else { return Ok(None) };
    if end > next {
        return Ok(Some(format!("offset {next} does not follow {end}")));
    }
    // What is only likely is believed for the sake of the records behind it, where there are any.
    let is_likely = gaps.are_seen && later.iter().any(|(_, size)| *size > 0);
    let is_wrong = end < next && !is_likely && next > gaps.compacted_to()?;
    gaps.are_believed |= end < next && !is_wrong;
    Ok(is_wrong.then(|| format!("the offsets from {end} to {next} are missing")))
}

/// Where offsets may be missing, though nothing was lost. What was not flushed may be missing between two segments too, where
/// the disk wrote the later one first.
pub(super) struct Gaps<'a> {
    folder: &'a Path,
    /// Compaction took records before this offset, after all of the log was flushed. Looked up when it is needed.
    compacted_to: Option<Offset>,
    /// Some are missing between batches behind that: the leader that they were copied from had compacted its log.
    are_seen: bool,
    /// There was one between segments, and it passed.
    pub are_believed: bool,
}

impl<'a> Gaps<'a> {
    /// Of the log in `folder`, as far as is known before it is read.
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, compacted_to: None, are_seen: false, are_believed: false }
    }

    fn compacted_to(&mut self) -> Result<Offset> {
        if self.compacted_to.is_none() {
            self.compacted_to = Some(compacted_to(self.folder)?);
        }
        Ok(self.compacted_to.expect("it was looked up just now"))
    }
}

/// Up to where the log was compacted; to its end if that cannot be known.
pub(super) fn compacted_to(folder: &Path) -> Result<Offset> {
    let parent = folder.parent().expect("a log lies in a log directory");
    let name = folder.file_name().expect("a log's folder has a name").to_string_lossy();
    match read_offsets(&parent.join(CLEANER_CHECKPOINT)) {
        Ok(cleaned) => {
            let found = cleaned.into_iter().find(|(partition, _)| partition.to_string() == name);
            Ok(found.map_or(Offset(0), |(_, offset)| offset))
        }
        Err(error @ Error::Io { .. }) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "taking the log for one that was compacted");
            Ok(Offset(i64::MAX))
        }
    }
}

/// Whether a segment has records from `offset` on, as far as it can be read.
fn reaches_past(segment: &Sealed, offset: Offset) -> bool {
    end_as_far_as_known(segment) > offset
}

/// Where a segment ends; where it begins, if that cannot be read.
pub(super) fn end_as_far_as_known(segment: &Sealed) -> Offset {
    let end = segment.end_offset();
    segment.close();
    end.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot tell where a segment ends");
        segment.base_offset()
    })
}

/// Cuts off the torn end of a segment, after the segments behind it were removed: newest first, and all of them for good
/// before the cut. After a crash in between, the next start finds the torn end again, or no gap.
fn cut(folder: &Path, active: &mut Active, later: &[Offset], torn: &Torn) -> Result<Cut> {
    let (mut bytes, mut lost_end) = (u64::from(torn.bytes), torn.claimed_end);
    begin_cutting(folder)?;
    for &base_offset in later.iter().rev() {
        let path = file_path(folder, base_offset, "log");
        bytes += os::length_of(&path).map_err(Error::io("read the length of", &path))?;
        lost_end = lost_end.max(claimed_end(&path, base_offset)?);
        remove_segment(folder, base_offset)?;
    }
    // An earlier cut may have got so far, too.
    os::sync_folder(folder).map_err(Error::io("flush", folder))?;
    active.cut()?;
    active.flush_log()?;
    end_cutting(folder)?;
    Ok(Cut { end_offset: Offset(0), lost_end, bytes, removed_segments: later.len(), detail: torn.detail.clone() })
}

/// The offset after the last record of a segment that goes, as far as its headers make sense.
fn claimed_end(path: &Path, base_offset: Offset) -> Result<Offset> {
    let file = os::open_read_only(path).map_err(Error::io("open", path))?;
    let length = os::length(&file).map_err(Error::io("read the length of", path))?;
    let mut scan = Scan::new(&file, path, 0, u32::try_from(length).unwrap_or(u32::MAX), LOOKUP_CHUNK_BYTES);
    let mut end = base_offset;
    while let Ok(Some(batch)) = scan.next() {
        end = batch.last_offset().plus(1);
    }
    Ok(end)
}
