//! From a folder to a log.
//!
//! After a clean shutdown nothing is read but what lies behind the newest index entry and the newest producer
//! snapshot, and sealed segments are not even opened: a start must not take minutes because there are many of them.
//! After a crash, every segment that reaches beyond the recovery point is read and checked, batch by batch. The first
//! batch that is not whole ends the log: it is cut off with all that follows, later segments included, since offsets
//! without a gap are worth more than what may lie behind one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use ottla_base::{LeaderEpoch, Offset, Timestamp, TopicPartition};

use super::flush::Unflushed;
use super::leftovers::{Found, remove, remove_segment, tidy};
use super::replay::Replayed;
use super::{Log, index_limits, new_segment};
use crate::aborted::AbortedIndex;
use crate::checkpoint::{CLEANER_CHECKPOINT, read_offsets};
use crate::config::LogConfig;
use crate::epochs::{EpochStart, LeaderEpochs};
use crate::error::{Error, Result};
use crate::os;
use crate::producer_snapshot::remove_stray_snapshots;
use crate::producers::{ProducerCount, Producers};
use crate::segment::scan::{LOOKUP_CHUNK_BYTES, Scan};
use crate::segment::{Active, BatchAt, IndexLimits, Sealed, Segment, Torn, file_path};

/// What is known of a log from elsewhere when it is opened.
#[derive(Clone, Debug)]
pub struct OpenLog {
    /// Whose log it is.
    pub topic_partition: TopicPartition,
    /// Whether the log directory was left by a clean shutdown.
    pub clean: bool,
    /// The recovery point that was checkpointed; 0 if none was.
    pub recovery_point: Offset,
    /// The log start that was checkpointed; 0 if none was.
    pub log_start_offset: Offset,
    /// The time.
    pub now_ms: Timestamp,
    /// With which other logs' producers its own are counted.
    pub producers: ProducerCount,
}

/// What opening a log took, and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// How many segments were read in full because they reach beyond the recovery point.
    pub scanned_segments: usize,
    /// How many bytes these had.
    pub scanned_bytes: u64,
    /// The end of the log was not whole.
    pub cut: Option<Cut>,
}

/// What was cut off at the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The offset at which the log ends now.
    pub end_offset: Offset,
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
        let OpenLog { topic_partition, clean, recovery_point, log_start_offset, now_ms, producers } = options;
        os::create_folder(folder).map_err(Error::io("create", folder))?;
        let found = tidy(folder)?;
        if let (true, Some(parent)) = (found.is_empty(), folder.parent()) {
            // The folder may be new, and what is flushed in it is lost while the one above does not know it.
            os::sync_folder(parent).map_err(Error::io("flush", parent))?;
        }
        let points = (!clean).then_some((recovery_point, log_start_offset));
        let (segments, trusted) = find_segments(folder, &found, index_limits(&config), points)?;
        let mut recovery = Recovery::default();
        let bases: Vec<Offset> = segments.iter().map(Segment::base_offset).collect();
        let mut epochs = open_epochs(folder, &segments[..trusted])?;
        let (sealed, active) = load(folder, &config, segments, trusted, now_ms, &mut epochs, &mut recovery)?;
        let end = active.as_ref().map_or(log_start_offset, Active::end_offset);
        if !clean && end < recovery_point && trusted > 0 {
            tracing::warn!(log = %topic_partition, %end, %recovery_point, "the recovery point is of a longer log; reading all of this one");
            let recovery_point = Offset(0);
            let options = OpenLog { topic_partition, clean, recovery_point, log_start_offset, now_ms, producers };
            let (log, mut again) = Self::open(folder, config, options)?;
            again.cut = again.cut.or_else(|| recovery.cut.map(|cut| cut.told(&log)));
            return Ok((log, again));
        }
        let recovery_point = if !clean && end < recovery_point { Offset(0) } else { recovery_point };
        let made = active.is_none();
        let read_anew = sealed.iter().map(Segment::base_offset).skip(trusted).collect();
        let active = match active {
            Some(active) => active,
            None => new_segment(folder, log_start_offset, &config, now_ms)?,
        };
        let first = sealed.first().map_or(active.base_offset(), Segment::base_offset);
        let (aborted, aborted_from) = open_aborted(folder, &found, bases.get(trusted).copied())?;
        let end = active.end_offset();
        let mut log = Self {
            folder: folder.to_owned(),
            topic_partition,
            config,
            sealed,
            active,
            start_offset: log_start_offset.max(first),
            recovery_point: recovery_point.max(first).min(end),
            replayed: Replayed { producers: Producers::new(producers), aborted },
            epochs,
            doomed: Default::default(),
            unflushed: Unflushed {
                since_ms: now_ms,
                names: u64::from(made || !clean),
                sealed: read_anew,
                ..Unflushed::default()
            },
            unusable: None,
            opened: Mutex::default(),
        };
        if end < log.start_offset {
            tracing::warn!(log = %log.topic_partition, %end, start = %log.start_offset, "the log ends before its start, and is begun anew there");
            log.restart_at(log.start_offset, now_ms)?;
        } else {
            log.epochs.truncate_from_end(end)?;
            log.epochs.truncate_from_start(log.start_offset);
            log.replayed.truncate(end)?;
            log.replay(aborted_from.min(end))?;
            let bases: Vec<Offset> = log.segments().map(|segment| segment.base_offset).collect();
            remove_stray_snapshots(folder, &bases)?;
        }
        recovery.cut = recovery.cut.map(|cut| cut.told(&log));
        Ok((log, recovery))
    }
}

impl Cut {
    /// Nobody is to lose records without a word.
    fn told(self, log: &Log) -> Self {
        let this = Self { end_offset: log.end_offset(), ..self };
        let Self { end_offset, bytes, removed_segments, detail } = &this;
        tracing::warn!(log = %log.topic_partition, end = %end_offset, bytes, removed_segments, detail, "cut a torn end off");
        this
    }
}

/// The segments, and how many of them need not be read: all after a clean stop. After a crash, `points` are where the log is
/// flushed to and where it starts. Segments before its start that were deleted may be back, torn, and go.
fn find_segments(
    folder: &Path,
    found: &[Found],
    limits: IndexLimits,
    points: Option<(Offset, Offset)>,
) -> Result<(Vec<Sealed>, usize)> {
    let segments = found.iter().map(|segment| Sealed::find(folder, segment.base_offset, limits));
    let mut segments: Vec<Sealed> = segments.collect::<Result<_>>()?;
    let trusted = match points {
        None => segments.len(),
        Some((recovery_point, start)) => {
            let before = segments.partition_point(|segment| segment.base_offset() <= start).max(1) - 1;
            segments.drain(..before).try_for_each(|segment| remove_segment(folder, segment.base_offset()))?;
            segments.partition_point(|segment| segment.base_offset() <= recovery_point).max(1) - 1
        }
    };
    let removed = remove_empty(folder, &mut segments, trusted)?;
    Ok((segments, trusted - removed))
}

/// Removes those of the first `trusted` segments, and says how many, that are empty and not the last: a roll failed half way,
/// or all that was in them was compacted away.
fn remove_empty(folder: &Path, segments: &mut Vec<Sealed>, trusted: usize) -> Result<usize> {
    let trusted = trusted.min(segments.len().saturating_sub(1));
    let is_empty = |segment: &Sealed| segment.size() == 0;
    let empty = segments[..trusted].iter().filter(|segment| is_empty(segment)).map(Segment::base_offset);
    let empty: Vec<Offset> = empty.collect();
    empty.iter().try_for_each(|base_offset| remove_segment(folder, *base_offset))?;
    segments.retain(|segment| !empty.contains(&segment.base_offset()));
    Ok(empty.len())
}

/// Opens the segments: the first `trusted` as they are, the others after they were read.
fn load(
    folder: &Path,
    config: &LogConfig,
    segments: Vec<Sealed>,
    trusted: usize,
    now_ms: Timestamp,
    epochs: &mut LeaderEpochs,
    recovery: &mut Recovery,
) -> Result<(Vec<Sealed>, Option<Active>)> {
    let limits = index_limits(config);
    let places: Vec<(Offset, u32)> = segments.iter().map(|segment| (segment.base_offset(), segment.size())).collect();
    let mut sealed: Vec<Sealed> = Vec::with_capacity(places.len());
    let mut gaps = Gaps { folder, compacted_to: None, are_seen: false };
    for (index, segment) in segments.into_iter().enumerate() {
        let base_offset = segment.base_offset();
        let is_last = index + 1 == places.len();
        if index < trusted && !is_last {
            sealed.push(segment);
            continue;
        }
        if !is_last && segment.size() == 0 && sealed.last().is_some_and(|before| reaches_past(before, base_offset)) {
            // A roll failed half way, and the old segment went on.
            remove_segment(folder, base_offset)?;
            continue;
        }
        let (mut active, mut torn) = if index < trusted {
            Active::open_or_recover(folder, base_offset, limits, now_ms)?
        } else {
            recover(folder, base_offset, limits, now_ms, epochs, &mut gaps, recovery)?
        };
        if torn.is_none() {
            let detail = wrong_behind(active.end_offset(), &places[index + 1..], &mut gaps)?;
            torn = detail.map(|detail| Torn { bytes: 0, detail });
        }
        if is_last
            && active.size() == 0
            && let Some(before) = sealed.pop_if(|before| reaches_past(before, base_offset))
        {
            // The same where the roll was the last.
            remove_segment(folder, base_offset)?;
            (active, torn) = Active::open_or_recover(folder, before.base_offset(), limits, now_ms)?;
        }
        if let Some(torn) = torn {
            let later: Vec<Offset> = places[index + 1..].iter().map(|(base, _)| *base).collect();
            recovery.cut = Some(cut(folder, &mut active, &later, &torn)?);
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

/// Reads a segment and checks all of it; notes the leader epochs that begin there, and whether offsets are missing between
/// its batches.
fn recover(
    folder: &Path,
    base_offset: Offset,
    limits: IndexLimits,
    now_ms: Timestamp,
    epochs: &mut LeaderEpochs,
    gaps: &mut Gaps<'_>,
    recovery: &mut Recovery,
) -> Result<(Active, Option<Torn>)> {
    let mut end = base_offset;
    let mut each = |batch: &BatchAt| {
        if batch.base_offset() > end {
            gaps.are_seen |= batch.base_offset() > gaps.compacted_to()?;
        }
        end = batch.last_offset().plus(1);
        match batch.leader_epoch() {
            epoch if epoch > epochs.latest().unwrap_or(LeaderEpoch::NONE) => epochs.assign(epoch, batch.base_offset()),
            _ => Ok(()),
        }
    };
    let recovered = Active::recover(folder, base_offset, limits, now_ms, &mut each)?;
    recovery.scanned_segments += 1;
    recovery.scanned_bytes += u64::from(recovered.0.size());
    Ok(recovered)
}

/// What is wrong between the end of a segment and the next of those behind it, if anything is. Empty ones before the end are
/// passed over: they go when it is their turn.
fn wrong_behind(end: Offset, later: &[(Offset, u32)], gaps: &mut Gaps<'_>) -> Result<Option<String>> {
    let Some(&(next, _)) = later.iter().find(|(base, size)| *size > 0 || *base >= end) else { return Ok(None) };
    if end > next {
        return Ok(Some(format!("offset {next} does not follow {end}")));
    }
    let is_wrong = end < next && !gaps.are_seen && next > gaps.compacted_to()?;
    Ok(is_wrong.then(|| format!("the offsets from {end} to {next} are missing")))
}

/// Where offsets may be missing, though nothing was lost. What was not flushed may be missing between two segments too, where
/// the disk wrote the later one first.
struct Gaps<'a> {
    folder: &'a Path,
    /// Compaction took records before this offset, after all of the log was flushed. Looked up when it is needed.
    compacted_to: Option<Offset>,
    /// Some are missing between batches behind that: the leader that they were copied from had compacted its log.
    are_seen: bool,
}

impl Gaps<'_> {
    fn compacted_to(&mut self) -> Result<Offset> {
        if self.compacted_to.is_none() {
            self.compacted_to = Some(compacted_to(self.folder)?);
        }
        Ok(self.compacted_to.expect("it was looked up just now"))
    }
}

/// Up to where the log was compacted; to its end if that cannot be known.
fn compacted_to(folder: &Path) -> Result<Offset> {
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
    let end = segment.end_offset();
    segment.close();
    end.inspect_err(|error| tracing::warn!(%error, "cannot tell where a segment ends")).is_ok_and(|end| end > offset)
}

/// The leader epochs, from their checkpoint, or from the headers of the `trusted` segments where that is damaged: recovery
/// reads the other segments anyway. They are written once, so that a crash leaves the damaged checkpoint or a whole one.
fn open_epochs(folder: &Path, trusted: &[Sealed]) -> Result<LeaderEpochs> {
    match LeaderEpochs::open(folder) {
        Err(error @ Error::Corrupt { .. }) => tracing::warn!(%error, "finding out the leader epochs from the batches"),
        opened => return opened,
    }
    let mut entries: Vec<EpochStart> = Vec::new();
    for segment in trusted {
        match find_epochs(segment, &mut entries) {
            // A clean start leaves damage in a segment to its readers.
            Err(error @ Error::Corrupt { .. }) => tracing::warn!(%error, "leader epochs may be missing"),
            found => found?,
        }
        segment.close();
    }
    LeaderEpochs::rebuilt(folder, entries)
}

/// Adds the leader epochs that begin in a segment.
fn find_epochs(segment: &Sealed, entries: &mut Vec<EpochStart>) -> Result<()> {
    let file = segment.file()?;
    let mut scan = Scan::new(&file, segment.path(), 0, segment.size(), LOOKUP_CHUNK_BYTES);
    while let Some(batch) = scan.next()? {
        let new = EpochStart { epoch: batch.leader_epoch(), start_offset: batch.base_offset() };
        if new.epoch > LeaderEpoch::NONE && entries.last().is_none_or(|last| new.follows(*last)) {
            entries.push(new);
        }
    }
    Ok(())
}

/// The indexes of aborted transactions, and the offset from which on they are to be found out again: that of the first
/// segment that was read, or whose index is damaged.
fn open_aborted(
    folder: &Path,
    found: &[Found],
    read_from: Option<Offset>,
) -> Result<(BTreeMap<Offset, AbortedIndex>, Offset)> {
    let (mut aborted, mut from) = (BTreeMap::new(), read_from.unwrap_or(Offset(i64::MAX)));
    for base_offset in found.iter().filter(|segment| segment.has_aborted).map(|segment| segment.base_offset) {
        let path = file_path(folder, base_offset, "txnindex");
        match AbortedIndex::open(&path) {
            Ok(index) if base_offset < from => {
                aborted.insert(base_offset, index);
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

/// Cuts off the torn end of a segment, after the segments behind it were removed: newest first, and all of them for good
/// before the cut. After a crash in between, the next start finds the torn end again, or no gap.
fn cut(folder: &Path, active: &mut Active, later: &[Offset], torn: &Torn) -> Result<Cut> {
    let mut bytes = u64::from(torn.bytes);
    for &base_offset in later.iter().rev() {
        let path = file_path(folder, base_offset, "log");
        bytes += os::length_of(&path).map_err(Error::io("read the length of", &path))?;
        remove_segment(folder, base_offset)?;
    }
    if !later.is_empty() {
        os::sync_folder(folder).map_err(Error::io("flush", folder))?;
    }
    active.cut()?;
    active.flush_log()?;
    Ok(Cut { end_offset: Offset(0), bytes, removed_segments: later.len(), detail: torn.detail.clone() })
}
