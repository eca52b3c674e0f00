//! From a folder to a log.
//!
//! After a clean shutdown nothing is read but what lies behind the newest index entry and the newest producer
//! snapshot, and sealed segments are not even opened: a start must not take minutes because there are many of them.
//! After a kill, all that was written is still in the page cache: that is nearly the same, but the last write may be torn.
//! After anything else, every segment that reaches beyond the recovery point is read, batch by batch, and what lies behind
//! that point is checked. The first batch that is not whole ends the log: it is cut off with all that follows, later
//! segments included, since offsets without a gap are worth more than what may lie behind one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use ottla_base::{Offset, Timestamp, TopicPartition};

use super::flush::Unflushed;
use super::leftovers::{Found, Tidied, end_cutting, remove, remove_segment, tidy};
use super::loading::{Gaps, Loading, compacted_to, end_as_far_as_known};
use super::missing_epochs::find_epochs;
use super::replay::{Replayed, Snapshots};
use super::{Log, index_limits, new_segment};
use crate::aborted::AbortedIndex;
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::{Error, Result};
use crate::os;
use crate::producers::{ProducerCount, Producers};
use crate::segment::{Active, IndexLimits, Intact, Sealed, Segment, file_path};

/// What is known of a log from elsewhere when it is opened.
#[derive(Clone, Debug)]
pub struct OpenLog {
    /// Whose log it is.
    pub topic_partition: TopicPartition,
    /// How the log directory was left.
    pub left: Left,
    /// The recovery point that was checkpointed; 0 if none was.
    pub recovery_point: Offset,
    /// The log start that was checkpointed; 0 if none was.
    pub log_start_offset: Offset,
    /// The time.
    pub now_ms: Timestamp,
    /// With which other logs' producers its own are counted.
    pub producers: ProducerCount,
}

/// How a log directory was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// By a clean shutdown: everything is on the disk.
    Cleanly,
    /// The process was killed, and the machine has gone on since: what it wrote is in the page cache, but perhaps not all of
    /// its last write.
    Killed,
    /// Not known, as after a power cut: what was not flushed may be there in parts.
    Unknown,
}

/// What opening a log took, and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// How many segments were read, at least in part, because they may not be whole.
    pub scanned_segments: usize,
    /// How many bytes that were.
    pub scanned_bytes: u64,
    /// The end of the log was not whole.
    pub cut: Option<Cut>,
    /// From which offsets to which (excluded) records are gone that were there: sealed segments were empty, or the log ends before
    /// its recovery point.
    pub lost: Vec<(Offset, Offset)>,
}

/// What was cut off at the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The offset at which the log ends now.
    pub end_offset: Offset,
    /// The offset after the last record that went, as far as there were headers that made sense.
    pub lost_end: Offset,
    /// How many bytes went, those of removed segments included.
    pub bytes: u64,
    /// How many segments behind the torn one were removed.
    pub removed_segments: usize,
    /// What is wrong with the first batch that went.
    pub detail: String,
}

impl Log {
    /// Opens the log in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// `WrongFormat` if the log holds messages of before Kafka 0.11; `Io` and `Corrupt` if the files cannot be used.
    pub fn open(folder: &Path, config: LogConfig, options: OpenLog) -> Result<(Self, Recovery)> {
        os::create_folder(folder).map_err(Error::io("create", folder))?;
        let tidied = tidy(folder)?;
        if let (true, Some(parent)) = (tidied.segments.is_empty(), folder.parent()) {
            // The folder may be new, and what is flushed in it is lost while the one above does not know it.
            os::sync_folder(parent).map_err(Error::io("flush", parent))?;
        }
        Self::load(folder, tidied, config, options)
    }

    /// As [`Log::open`], for one of many: whoever opens them flushes the folder above once for all, before anybody is told of
    /// a record in them.
    pub fn open_unnamed(folder: &Path, config: LogConfig, options: OpenLog) -> Result<(Self, Recovery)> {
        os::create_folder(folder).map_err(Error::io("create", folder))?;
        Self::load(folder, tidy(folder)?, config, options)
    }

    fn load(folder: &Path, tidied: Tidied, config: LogConfig, options: OpenLog) -> Result<(Self, Recovery)> {
        let Tidied { segments: found, snapshots, was_cutting } = tidied;
        let mut recovery = Recovery::default();
        let (segments, trusted) = find_segments(folder, &found, index_limits(&config), &options, &mut recovery.lost)?;
        let bases: Vec<Offset> = segments.iter().map(Segment::base_offset).collect();
        let loaded = load(folder, index_limits(&config), &options, segments, trusted, &mut recovery)?;
        let Loaded { sealed, active, epochs, epochs_are_damaged, read_from, gaps_are_believed } = loaded;
        let OpenLog { topic_partition, left, recovery_point, log_start_offset, now_ms, producers } = options;
        let end = active.as_ref().map_or(log_start_offset, Active::end_offset);
        if left == Left::Unknown && end < recovery_point && !bases.is_empty() {
            tracing::warn!(log = %topic_partition, %end, %recovery_point, "the recovery point is of a longer log; reading all of this one");
            let recovery_point = Offset(0);
            let options = OpenLog { topic_partition, left, recovery_point, log_start_offset, now_ms, producers };
            let (log, mut again) = Self::open(folder, config, options)?;
            again.cut = again.cut.or_else(|| recovery.cut.map(|cut| cut.told(&log)));
            again.lost.splice(..0, recovery.lost);
            return Ok((log, again));
        }
        if end < recovery_point {
            // After a power cut too, where there is nothing to be read again.
            recovery.lost.push((end, recovery_point));
            tracing::warn!(
                log = %topic_partition, %end, %recovery_point,
                "records that were flushed are missing: the log ends before its recovery point"
            );
        }
        let clean = left == Left::Cleanly;
        let recovery_point = if !clean && end < recovery_point { Offset(0) } else { recovery_point };
        let made = active.is_none();
        let read_anew = sealed.iter().map(Segment::base_offset).skip(trusted).collect();
        let active = match active {
            Some(active) => active,
            None => new_segment(folder, log_start_offset, &config, now_ms)?,
        };
        if (made || was_cutting) && !clean {
            keep_cut(folder, &active)?;
        }
        if was_cutting {
            end_cutting(folder)?;
        }
        let first = sealed.first().map_or(active.base_offset(), Segment::base_offset);
        let (aborted, aborted_from) = open_aborted(folder, &found, &bases, read_from)?;
        let end = active.end_offset();
        let owed = if config.flush_before_ack { end } else { Offset(0) };
        let mut log = Self {
            folder: folder.to_owned(),
            topic_partition,
            config,
            sealed,
            active,
            start_offset: log_start_offset.max(first),
            recovery_point: recovery_point.max(first).min(end),
            replayed: Replayed { producers: Producers::new(producers), aborted },
            snapshots: Snapshots::default(),
            epochs,
            doomed: Default::default(),
            unflushed: Unflushed {
                since_ms: now_ms,
                owed,
                names: u64::from(made || !clean),
                sealed: read_anew,
                ..Unflushed::default()
            },
            has_rolled: false,
            unusable: None,
            opened: Mutex::default(),
        };
        log.settle(end, aborted_from, clean, snapshots, now_ms)?;
        if epochs_are_damaged {
            log.epochs.catch_up()?;
        }
        if gaps_are_believed || (left == Left::Killed && !recovery.lost.is_empty()) {
            // The next start may know less of how far the log was compacted, and must not cut off there what is flushed by then.
            log.flush(now_ms)?;
        }
        recovery.cut = recovery.cut.map(|cut| cut.told(&log));
        if log.active.keep_open(os::Kept::Unused).is_err() {
            // There may be more logs than files, and most of them not be used soon.
            if !log.is_on_disk() {
                log.flush(now_ms)?;
            }
            log.active.close_file();
        }
        Ok((log, recovery))
    }

    /// Brings what is known beside the segments into line with them: where the log starts, epochs, producers.
    fn settle(
        &mut self,
        end: Offset,
        aborted_from: Offset,
        clean: bool,
        mut snapshots: Vec<Offset>,
        now_ms: Timestamp,
    ) -> Result<()> {
        if end < self.start_offset {
            let start = self.start_offset;
            tracing::warn!(log = %self.topic_partition, %end, %start, "the log ends before its start, and is begun anew there");
            return self.restart_at(start, now_ms);
        }
        self.epochs.truncate_from_end(end)?;
        self.epochs.truncate_from_start(self.start_offset);
        self.replayed.truncate(end)?;
        self.replay(aborted_from.min(end), !clean, &mut snapshots)?;
        self.remove_stray_snapshots(&snapshots)
    }
}

impl Cut {
    /// Nobody is to lose records without a word.
    fn told(self, log: &Log) -> Self {
        let this = Self { end_offset: log.end_offset(), ..self };
        let Self { end_offset, lost_end, bytes, removed_segments, detail } = &this;
        tracing::warn!(
            log = %log.topic_partition, from = %end_offset, to = %lost_end.max(end_offset), bytes, removed_segments, detail,
            "cut off what was not whole at the end of a log: it lacks the offsets from .. to (excluded)"
        );
        this
    }
}

/// The segments, and how many of them need not be read; between which offsets some of those have lost their records is `told`. All need
/// not be read after a clean stop, and after a kill all but the last, which alone was written to. Else segments before the
/// log's start that were deleted may be back, torn, and go.
fn find_segments(
    folder: &Path,
    found: &[Found],
    limits: IndexLimits,
    options: &OpenLog,
    told: &mut Vec<(Offset, Offset)>,
) -> Result<(Vec<Sealed>, usize)> {
    let segments = found.iter().map(|segment| Sealed::find(folder, segment.base_offset, limits));
    let mut segments: Vec<Sealed> = segments.collect::<Result<_>>()?;
    let lost = lost_in_empty(folder, &segments, options.log_start_offset)?;
    let trusted = match options.left {
        Left::Cleanly => segments.len(),
        Left::Killed => segments.len().saturating_sub(1),
        Left::Unknown => {
            let before =
                segments.partition_point(|segment| segment.base_offset() <= options.log_start_offset).max(1) - 1;
            segments.drain(..before).try_for_each(|segment| remove_segment(folder, segment.base_offset()))?;
            segments.partition_point(|segment| segment.base_offset() <= options.recovery_point).max(1) - 1
        }
    };
    let removed = remove_empty(folder, &mut segments, trusted)?;
    // Of those that are read, reading tells.
    for Lost { from, to, .. } in lost.iter().filter(|lost| removed.contains(&lost.base_offset)) {
        told.push((*from, *to));
        tracing::warn!(
            log = %options.topic_partition, %from, %to,
            "a segment has lost its records: the log lacks the offsets from .. to (excluded)"
        );
    }
    Ok((segments, trusted - removed.len()))
}

/// An empty segment before the last that should have records.
struct Lost {
    base_offset: Offset,
    from: Offset,
    to: Offset,
}

/// Removes those of the first `trusted` segments, and returns them, that are empty and not the last: a roll failed half way,
/// all that was in them was compacted away, or it was lost.
fn remove_empty(folder: &Path, segments: &mut Vec<Sealed>, trusted: usize) -> Result<Vec<Offset>> {
    let trusted = trusted.min(segments.len().saturating_sub(1));
    let is_empty = |segment: &Sealed| segment.size() == 0;
    let empty = segments[..trusted].iter().filter(|segment| is_empty(segment)).map(Segment::base_offset);
    let empty: Vec<Offset> = empty.collect();
    empty.iter().try_for_each(|base_offset| remove_segment(folder, *base_offset))?;
    segments.retain(|segment| !empty.contains(&segment.base_offset()));
    Ok(empty)
}

/// The empty segments before the last that should have records: nothing was compacted there, and the one before does not
/// reach as far as the next, as it does where a roll failed half way and it went on.
fn lost_in_empty(folder: &Path, segments: &[Sealed], log_start_offset: Offset) -> Result<Vec<Lost>> {
    let (mut lost, mut before): (Vec<Lost>, Option<&Sealed>) = (Vec::new(), None);
    for pair in segments.windows(2) {
        let (base_offset, to) = (pair[0].base_offset(), pair[1].base_offset());
        if pair[0].size() > 0 {
            before = Some(&pair[0]);
            continue;
        }
        let from = before.map_or(base_offset, end_as_far_as_known).max(base_offset).max(log_start_offset);
        if from < to {
            lost.push(Lost { base_offset, from, to });
        }
    }
    if !lost.is_empty() {
        let compacted_to = compacted_to(folder)?;
        lost.retain(|lost| lost.to > compacted_to);
    }
    Ok(lost)
}

/// The segments of a log, and what was found out from them.
struct Loaded {
    sealed: Vec<Sealed>,
    /// The last one, if there is any.
    active: Option<Active>,
    epochs: LeaderEpochs,
    epochs_are_damaged: bool,
    /// The offset from which on batches were read, if any were.
    read_from: Option<Offset>,
    gaps_are_believed: bool,
}

/// Opens the segments, of which the first `trusted` are taken as they are.
fn load(
    folder: &Path,
    limits: IndexLimits,
    options: &OpenLog,
    segments: Vec<Sealed>,
    trusted: usize,
    recovery: &mut Recovery,
) -> Result<Loaded> {
    let (left, is_killed) = (options.left, options.left == Left::Killed);
    let (mut epochs, epochs_are_damaged) = open_epochs(folder)?;
    // Where all is there, they need not be read one by one.
    let finds_epochs = is_killed || epochs_are_damaged;
    let mut loading = Loading {
        folder,
        limits,
        now_ms: options.now_ms,
        left,
        intact: if is_killed { Intact::AllButLast } else { Intact::Before(options.recovery_point) },
        may_resume: is_killed,
        trusted,
        gaps: Gaps::new(folder),
        read_from: segments.get(trusted).map(Segment::base_offset),
        epochs: (!finds_epochs).then_some(&mut epochs),
        recovery,
    };
    let (sealed, active) = loading.load(segments)?;
    let (read_from, gaps_are_believed) = (loading.read_from, loading.gaps.are_believed);
    if finds_epochs {
        find_missing_epochs(&sealed, active.as_ref(), &mut epochs)?;
    }
    Ok(Loaded { sealed, active, epochs, epochs_are_damaged, read_from, gaps_are_believed })
}

/// The leader epochs, as their checkpoint has them, and whether that is damaged: all of them are found again then, and written
/// once, so that a crash leaves the damaged checkpoint or a whole one.
fn open_epochs(folder: &Path) -> Result<(LeaderEpochs, bool)> {
    match LeaderEpochs::open(folder) {
        Err(error @ Error::Corrupt { .. }) => {
            tracing::warn!(%error, "finding out the leader epochs from the batches");
            Ok((LeaderEpochs::unknown(folder), true))
        }
        opened => opened.map(|epochs| (epochs, false)),
    }
}

/// Finds the leader epochs that are missing in their checkpoint.
fn find_missing_epochs(sealed: &[Sealed], active: Option<&Active>, epochs: &mut LeaderEpochs) -> Result<()> {
    let active = active.map(|active| active as &dyn Segment);
    let segments: Vec<&dyn Segment> = sealed.iter().map(|segment| segment as _).chain(active).collect();
    let found = find_epochs(&segments, epochs);
    sealed.iter().for_each(Sealed::close);
    match found {
        // Damage in a segment that recovery does not read is left to its readers.
        Err(error @ Error::Corrupt { .. }) => {
            tracing::warn!(%error, "leader epochs may be missing");
            Ok(())
        }
        found => found,
    }
}

/// What a truncation had begun to cut off must not come back.
fn keep_cut(folder: &Path, active: &Active) -> Result<()> {
    os::sync_folder(folder).map_err(Error::io("flush", folder))?;
    active.flush_log()
}

/// The indexes of aborted transactions, and the offset from which on they are to be found out again: `read_from`, from which
/// on batches were read, or the base of a segment whose index is damaged. So is one, as in Kafka, that is beside no index of
/// offsets: somebody has taken the indexes away to have them built anew, and without an entry there is no file to be missed.
fn open_aborted(
    folder: &Path,
    found: &[Found],
    bases: &[Offset],
    read_from: Option<Offset>,
) -> Result<(BTreeMap<Offset, AbortedIndex>, Offset)> {
    let (mut aborted, mut from) = (BTreeMap::new(), read_from.unwrap_or(Offset(i64::MAX)));
    // The segment in which reading began may have been read in part.
    let begun_in = bases[..bases.partition_point(|base| *base <= from)].last().copied();
    for (number, &Found { base_offset, has_index, has_aborted }) in found.iter().enumerate() {
        if !has_index {
            from = from.min(base_offset);
        }
        if !has_aborted {
            continue;
        }
        let path = file_path(folder, base_offset, "txnindex");
        let end = found.get(number + 1).map_or(Offset(i64::MAX), |next| next.base_offset);
        let lies_here = |index: &AbortedIndex| {
            index.entries().iter().all(|aborted| (base_offset..end).contains(&aborted.last_offset))
        };
        match AbortedIndex::open(&path) {
            Ok(mut index) if base_offset < from && lies_here(&index) => {
                if Some(base_offset) == begun_in {
                    index.truncate_to(from)?;
                }
                if !index.is_empty() {
                    aborted.insert(base_offset, index);
                }
            }
            Err(error @ Error::Io { .. }) => return Err(error),
            _ => {
                remove(&path)?;
                from = from.min(base_offset);
            }
        }
    }
    Ok((aborted, from))
}
