//! Compaction: of each key, the newest record stays (Kafka's log cleaner).
//!
//! ```text
//!   look  (Log::dirt, choice)      how much of a log is dirty, and whether it is time
//!   fill  (filling, offset_map)    the newest offset of each key of the dirty part
//!   write (rewriting, rules)       a group of segments into one new segment, `.cleaned`
//!   swap  (Log::swap_in)           that takes the place of the group, `.swap` on the way; the only step under the log's lock
//! ```
//!
//! Only sealed segments are read, which nobody changes; they may be deleted meanwhile, or the log be cut or renamed, and then
//! nothing of the group is changed. A crash leaves the old segments or the new one: see `log/leftovers.rs`. What is decided is
//! in `choice`, `rules`, `transactions` and `groups`, which read no file and know no clock.

mod checkpoint;
mod choice;
mod filling;
mod groups;
mod offset_map;
mod reading;
mod rewriting;
mod rules;
mod throttle;
mod transactions;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ottla_base::{Offset, ProducerId, Timestamp, TopicPartition};

pub use checkpoint::CleanerCheckpoint;
pub use choice::{CompactionSettings, Dirt, Ends, Piece};
pub(crate) use groups::{Room, Source};
pub use rewriting::Amount;
pub(crate) use rules::LastOf;
pub use throttle::Throttle;

use crate::aborted::AbortedTransaction;
use crate::error::{Error, Result};
use crate::log::{Log, remove_unfinished};
use crate::os;
use crate::segment::{IndexLimits, file_path};
use crate::time_index::TimeIndex;
use groups::take_group;
use offset_map::OffsetMap;
use rewriting::Rewriting;
use rules::Rules;

/// Who keeps the log that is cleaned, and says how fast that goes.
pub trait Owner {
    /// Runs `work` on the log, under its lock.
    fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T;

    /// Is told of bytes that were read or written, and waits where it goes too fast; false if the cleaning is to be given up.
    fn goes_on(&self, bytes: u64) -> bool;

    /// Whether the log may be changed. Asked under its lock: whoever reads it piece by piece, under the same lock, must not find
    /// a record in one and miss in the next what it was kept for.
    fn may_change(&self) -> bool;
}

/// The memory of one cleaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// For the keys, of which it has room for as many as Kafka in that much: it takes two thirds of it.
    pub map_bytes: usize,
    /// How much of that may be in use, as a part of 1.
    pub load_factor: f64,
    /// For reading, and as much again for writing; and what a batch takes that is larger, or its records unpacked.
    pub io_bytes: usize,
}

/// What is to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// What was found dirty.
    pub dirt: Dirt,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// The memory for it.
    pub limits: Limits,
    /// The time.
    pub now_ms: Timestamp,
}

/// What came of a cleaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleaned {
    /// All before it is compacted now.
    pub end: Offset,
    /// What the segments held.
    pub before: Amount,
    /// What they hold now.
    pub after: Amount,
    /// How much of the memory for keys was in use, as a part of 1.
    pub map_utilization: f64,
}

/// Why a log was not cleaned.
#[derive(Debug)]
pub enum NotCleaned {
    /// It was to be given up, or the log was cut, renamed or deleted meanwhile.
    GivenUp,
    /// The disk failed, or what is on it cannot be read.
    Failed(Error),
}

/// What a cleaning knows of its log: as it was when it began.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Where the log lies.
    pub folder: PathBuf,
    /// The segments from the first to the end of what is cleaned.
    pub sources: Vec<Source>,
    /// All aborted transactions that began before that.
    pub aborted: Vec<AbortedTransaction>,
    /// The producers that may come back. Whoever writes later has its last batch further on.
    pub producers: BTreeMap<ProducerId, LastOf>,
    /// How large segments may become, and how dense their indexes are.
    pub room: Room,
    pub limits: IndexLimits,
    /// How often the log was cut or renamed before.
    pub upheavals: Cell<u64>,
    /// The segment that is being written, until it is in its place.
    pub making: Cell<Option<Offset>>,
    /// The segments before this offset are in their places.
    pub swapped_to: Cell<Offset>,
}

/// Tells the owner how much was done.
#[derive(Debug)]
struct Pace<'o, O>(&'o O);

/// Cleans the log of `owner`. `checkpoint` is that of its directory: it names the log before anything is changed, and says how
/// far it is compacted once that is on the disk.
///
/// # Errors
/// The log is as it was, or some groups of its segments are cleaned and the others are as they were.
pub fn clean(
    owner: &impl Owner,
    checkpoint: &Mutex<CleanerCheckpoint>,
    request: &Request,
) -> std::result::Result<Cleaned, NotCleaned> {
    // In one step: between two, another log could take the place of this one.
    let (name, begun, flush) = owner.with_log(|log| -> Result<_> {
        Ok((log.topic_partition().clone(), log.begin_cleaning(request.dirt.end)?, log.begin_flush()?))
    })?;
    // What makes a record go must not be lost when it is gone: the newer record of its key, the marker of its transaction.
    let ran = flush.run();
    owner.with_log(|log| log.finish_flush(&flush, ran, request.now_ms))?;
    let cleaned = clean_begun(owner, checkpoint, request, &begun, &name);
    cleaned.inspect_err(|_| {
        // What is left of it would be removed by the next start, too.
        if let Err(error) = owner.with_log(|log| log.remove_cleaned(&begun)) {
            tracing::warn!(log = %name, %error, "files of a compaction that was given up are left");
        }
    })
}

fn clean_begun<O: Owner>(
    owner: &O,
    checkpoint: &Mutex<CleanerCheckpoint>,
    request: &Request,
    begun: &Begun,
    name: &TopicPartition,
) -> std::result::Result<Cleaned, NotCleaned> {
    let Request { dirt, limits, now_ms, delete_retention_ms } = *request;
    let pace = Pace(owner);
    // What was read by its name may have gone by that name meanwhile.
    let told = |error: NotCleaned| match error {
        NotCleaned::Failed(_) if !owner.with_log(|log| log.is_as_begun(begun)) => NotCleaned::GivenUp,
        error => error,
    };
    remove_unfinished(&begun.folder).map_err(|error| told(error.into()))?;
    let keys = dirt.end.0.saturating_sub(dirt.first_dirty.0).max(0).cast_unsigned();
    let mut map = OffsetMap::new(limits.map_bytes, limits.load_factor, keys, dirt.first_dirty);
    let map_end = filling::fill(&mut map, begun, dirt.first_dirty, limits.io_bytes, &pace).map_err(told)?;
    let rules = Rules { map: &map, map_end, producers: &begun.producers, now_ms, delete_retention_ms };
    let mut rewriting = Rewriting::new(begun, rules, limits.io_bytes);
    let covered = begun.sources.partition_point(|source| source.base_offset < map_end);
    let sources = measured(begun, covered).map_err(told)?;
    let mut rest = &sources[..];
    if !rest.is_empty() && locked(checkpoint).get(name).is_none() {
        locked(checkpoint).set(name, dirt.first_dirty)?;
    }
    while !rest.is_empty() {
        let group = take_group(&mut rest, begun.room);
        rewriting.rewrite(group, &pace).map_err(told)?;
        if !owner.with_log(|log| if owner.may_change() { log.swap_in(begun, group, now_ms) } else { Ok(false) })? {
            return Err(NotCleaned::GivenUp);
        }
        let flushed = os::sync_folder(&begun.folder).map_err(Error::io("flush", &begun.folder));
        flushed.map_err(|error| told(error.into()))?;
        owner.with_log(|log| log.swap_is_flushed(begun, group[0].base_offset));
    }
    let mut checkpoint = locked(checkpoint);
    if !owner.with_log(|log| log.is_of(begun)) {
        // Its line may be forgotten by now, and must not come back for another log of its name.
        return Err(NotCleaned::GivenUp);
    }
    checkpoint.set(name, map_end)?;
    let (before, after) = (rewriting.read, rewriting.written);
    Ok(Cleaned { end: map_end, before, after, map_utilization: map.utilization() })
}

/// The first `count` sources, with the sizes of their indexes, and their largest times where these matter.
fn measured(begun: &Begun, count: usize) -> std::result::Result<Vec<Source>, NotCleaned> {
    let length = |source: &Source, kind: &str| {
        let path = file_path(&begun.folder, source.base_offset, kind);
        match os::length_of(&path) {
            // It is built anew when it is needed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            length => length.map_err(Error::io("read the length of", &path)),
        }
    };
    let measured = begun.sources[..count].iter().map(|source| {
        let index_bytes = length(source, "index")?.max(length(source, "timeindex")?);
        let largest_ms = match begun.room.span_ms {
            Some(_) => largest_ms(begun, source),
            None => source.largest_ms,
        };
        Ok(Source { index_bytes: u32::try_from(index_bytes).unwrap_or(u32::MAX), largest_ms, ..*source })
    });
    measured.collect()
}

/// The largest time of a segment; one whose index says nothing is put together with no other.
fn largest_ms(begun: &Begun, source: &Source) -> Timestamp {
    let path = file_path(&begun.folder, source.base_offset, "timeindex");
    let index = TimeIndex::open(&path, source.base_offset, begun.limits.max_bytes);
    index.map_or(Timestamp::MAX, |index| index.last().timestamp)
}

fn locked(checkpoint: &Mutex<CleanerCheckpoint>) -> MutexGuard<'_, CleanerCheckpoint> {
    // A panic left at worst an offset that is not written yet.
    checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<O: Owner> Pace<'_, O> {
    fn note(&self, bytes: usize) -> std::result::Result<(), NotCleaned> {
        if bytes == 0 || self.0.goes_on(bytes as u64) { Ok(()) } else { Err(NotCleaned::GivenUp) }
    }
}

impl From<Error> for NotCleaned {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
