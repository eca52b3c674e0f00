//! What the checkpoints of the log directories say: a line for each log, by its name.
//!
//! A name outlives its log. Before a new log takes the name of one that was deleted or set aside, the old line goes
//! ([`forget`]): a start would have the new log begin where the old one did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_base::{Offset, TopicPartition};
use ottla_storage::checkpoint::{self, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use ottla_storage::{Error as StorageError, Log, OpenLog, os};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::Partitions;
use super::directories::Directory;
use super::partition::Partition;

/// Those that a start believes.
const CHECKPOINTS: [&str; 2] = [RECOVERY_POINT_CHECKPOINT, LOG_START_CHECKPOINT];

/// The names that these checkpoints of a directory may have lines for; not known before they were read or written.
pub type Named = Option<BTreeSet<TopicPartition>>;

/// Writes where each log of a directory starts, and up to where it is on the disk.
pub fn write(partitions: &Partitions, directory: &Directory) {
    let recovery_points = Offsets {
        led: |partition| partition.with_log(|log, _| log.recovery_checkpoint()),
        found: &|_, log| log.recovery_checkpoint(),
        unopened: |options| options.recovery_point,
        of_arriving: false,
    };
    let files = [(RECOVERY_POINT_CHECKPOINT, &recovery_points), (LOG_START_CHECKPOINT, &LOG_STARTS)];
    // What failed was told.
    let _ = write_files(partitions, directory, &files);
}

/// Writes where each log of a directory starts.
///
/// # Errors
/// It is not written down; the directory was told.
pub fn write_log_starts(partitions: &Partitions, directory: &Directory) -> ottla_storage::Result<()> {
    write_files(partitions, directory, &[(LOG_START_CHECKPOINT, &LOG_STARTS)])
}

/// Has it on the disk where each log of a directory starts now, before DeleteRecords is answered: once for all that ask at a time.
#[derive(Debug, Default)]
pub struct StartsMoved {
    /// How often it was asked for, and how many of these are answered.
    asked: AtomicU64,
    written: AtomicU64,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl StartsMoved {
    /// Returns when it is; false if `directory`, whose this is, does not take it now.
    pub async fn write(&self, partitions: &Arc<Partitions>, directory: &Arc<Directory>) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if self.written.load(Ordering::Acquire) >= asked {
            return true;
        }
        let asked = self.asked.load(Ordering::Acquire);
        let (partitions, directory, (tell, told)) = (Arc::clone(partitions), Arc::clone(directory), oneshot::channel());
        // Where the disk does not answer, this is the only thread that waits for it, and nobody waits for the thread.
        let begun = std::thread::Builder::new().name("ottla-log-starts".to_owned()).spawn(move || {
            let _ = tell.send(write_log_starts(&partitions, &directory).is_ok());
            drop(turn);
        });
        if let Err(error) = begun {
            error!(%error, "where logs start is written down later: there can be no more threads");
            return false;
        }
        let is_written = told.await == Ok(true);
        if is_written {
            self.written.store(asked, Ordering::Release);
        }
        is_written
    }
}

/// Writes the high watermarks of a directory. A partition without other replicas finds its own again from its log, so that a
/// broker that leads only such ones spares the disk an fsync every five seconds.
pub fn write_high_watermarks(partitions: &Partitions, directory: &Directory) {
    let known = |name: &TopicPartition| partitions.high_watermarks.get(name).copied().unwrap_or_default();
    let high_watermarks = Offsets {
        led: |partition| partition.positions().high_watermark,
        found: &|name, _| known(name),
        unopened: |_| Offset(0),
        of_arriving: false,
    };
    let _ = write_files(partitions, directory, &[(HIGH_WATERMARK_CHECKPOINT, &high_watermarks)]);
}

/// Takes the line of an earlier log of this name out of a directory's checkpoints, and with it those of all logs of its topic
/// that are not there.
pub fn forget(directory: &Directory, name: &TopicPartition) -> ottla_storage::Result<()> {
    let files = CHECKPOINTS.map(|file| directory.path().join(file));
    let mut named = directory.named();
    directory.check_takes_checkpoints()?;
    let known = match &mut *named {
        Some(known) => known,
        None => {
            let mut known = BTreeSet::new();
            for file in &files {
                known.extend(read(file)?.into_keys());
            }
            named.insert(known)
        }
    };
    if !known.contains(name) {
        return Ok(());
    }
    let is_kept = |other: &TopicPartition| {
        let is_there = || os::exists(&directory.path().join(other.to_string())).unwrap_or(true);
        other != name && (other.topic != name.topic || is_there())
    };
    for file in &files {
        let mut offsets = read(file)?;
        offsets.retain(|other, _| is_kept(other));
        write_if_changed(file, &offsets)?;
    }
    known.retain(is_kept);
    Ok(())
}

/// Notes where a log starts that is about to come into a directory: a start must not bring back what was deleted in the old one.
pub fn note_arrival(directory: &Directory, name: &TopicPartition, log_start: Offset) -> ottla_storage::Result<()> {
    let path = directory.path().join(LOG_START_CHECKPOINT);
    let mut named = directory.named();
    directory.check_takes_checkpoints()?;
    let mut offsets = read(&path)?;
    offsets.insert(name.clone(), log_start);
    write_if_changed(&path, &offsets)?;
    if let Some(known) = &mut *named {
        known.insert(name.clone());
    }
    Ok(())
}

/// What a checkpoint says of a log: one that is led; one that nobody leads, or that cannot be claimed; one that could not be
/// opened.
struct Offsets<'a> {
    led: fn(&Partition) -> Offset,
    found: &'a dyn Fn(&TopicPartition, &Log) -> Offset,
    unopened: fn(&OpenLog) -> Offset,
    /// Whether that holds too of a log that is about to come from another directory.
    of_arriving: bool,
}

const LOG_STARTS: Offsets<'static> = Offsets {
    led: |partition| partition.positions().log_start,
    found: &|_, log| log.start_offset(),
    unopened: |options| options.log_start_offset,
    of_arriving: true,
};

/// Writes checkpoints in a directory.
fn write_files(
    partitions: &Partitions,
    directory: &Directory,
    files: &[(&str, &Offsets<'_>)],
) -> ottla_storage::Result<()> {
    directory.check_takes_checkpoints()?;
    let mut named = directory.named();
    // By now, the broker may have ended.
    directory.check_takes_checkpoints()?;
    let mut write = |(file, offsets): &(&str, &Offsets<'_>)| {
        let path = directory.path().join(file);
        let entries = entries_of(partitions, directory, offsets, || read(&path))?;
        write_if_changed(&path, &entries).map(|()| entries.into_keys())
    };
    let written: ottla_storage::Result<Vec<_>> = files.iter().map(&mut write).collect();
    match (written, &mut *named) {
        (Ok(names), known) if files.len() == CHECKPOINTS.len() => {
            *known = Some(names.into_iter().flatten().collect());
        }
        (Ok(names), Some(known)) => known.extend(names.into_iter().flatten()),
        (Ok(_), None) => {}
        (Err(error), known) => {
            // What they say now is found out when somebody asks.
            *known = None;
            drop(named);
            error!(%error, "cannot write a checkpoint");
            directory.on_error(&error);
            return Err(error);
        }
    }
    Ok(())
}

type Entries = BTreeMap<TopicPartition, Offset>;

/// All logs that are known, at one time: one that is just taken up, or put back, is in one of these lists.
struct Known {
    making: Vec<TopicPartition>,
    led: Vec<Arc<Partition>>,
    /// Of the directory that was asked for.
    found: Entries,
    unopened: BTreeMap<TopicPartition, OpenLog>,
}

impl Known {
    fn of(partitions: &Partitions, directory: &Directory, offsets: &Offsets<'_>) -> Self {
        // While this is held, none is announced, or said to be made or not.
        let topics = partitions.topics.read().expect("nobody panics while holding this lock");
        let making = topics.iter().flat_map(|(topic, hosted)| hosted.making.keys().map(move |index| (topic, *index)));
        let making = making.map(|(topic, index)| TopicPartition::new(topic.as_str(), index)).collect();
        let led = topics.values().flat_map(|hosted| hosted.partitions.iter().flatten().cloned()).collect();
        let found = partitions.found();
        let found_here = found.iter().filter(|(_, log)| directory.holds(log.folder()));
        let found = found_here.map(|(name, log)| (name.clone(), (offsets.found)(name, log))).collect();
        Self { making, led, found, unopened: partitions.unopened().clone() }
    }
}

fn entries_of(
    partitions: &Partitions,
    directory: &Directory,
    offsets: &Offsets<'_>,
    written: impl FnOnce() -> ottla_storage::Result<Entries>,
) -> ottla_storage::Result<Entries> {
    let Known { making, led, found, unopened } = Known::of(partitions, directory, offsets);
    let is_here = |partition: &&Arc<Partition>| {
        // In this order: a log that arrives is here from then on.
        let arrives = partition.move_state.arriving_in();
        let arrives = arrives.is_some_and(|arrives| arrives.path() == directory.path());
        // The logs of other directories may be waiting for their disks.
        let is_here = || partition.lies_in(directory) && partition.with_log(|log, _| directory.holds(log.folder()));
        (offsets.of_arriving && arrives) || (is_here() && !partition.is_gone())
    };
    let led = led.iter().filter(is_here);
    let mut entries: Entries = led.map(|partition| (partition.name.clone(), (offsets.led)(partition))).collect();
    entries.extend(found);
    for (name, options) in unopened {
        let folder = directory.path().join(name.to_string());
        if os::exists(&folder).map_err(StorageError::io("look for", &folder))? {
            entries.insert(name, (offsets.unopened)(&options));
        }
    }
    if !making.is_empty() {
        let written = written()?;
        for name in making {
            if let Some(offset) = written.get(&name) {
                entries.entry(name).or_insert(*offset);
            }
        }
    }
    Ok(entries)
}

/// A checkpoint that is damaged costs time, not data: the logs are checked from their beginning. One for which the process has no
/// file left says nothing of itself.
pub fn read(path: &Path) -> ottla_storage::Result<BTreeMap<TopicPartition, Offset>> {
    checkpoint::read_offsets(path).or_else(|error| match error.is_of_disk() || error.lacks_files() {
        true => Err(error),
        false => {
            warn!(%error, "taken as empty");
            Ok(BTreeMap::new())
        }
    })
}

/// Writes offsets to the checkpoint at `path`, if it has others.
pub fn write_if_changed(path: &Path, offsets: &BTreeMap<TopicPartition, Offset>) -> ottla_storage::Result<()> {
    // An idle broker leaves the disk alone.
    match checkpoint::read_offsets(path) {
        Ok(written) if written == *offsets => Ok(()),
        _ => checkpoint::write_offsets(path, offsets),
    }
}
