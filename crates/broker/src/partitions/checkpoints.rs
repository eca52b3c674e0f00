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
use ottla_storage::{Log, OpenLog, os};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::Partitions;
use super::directories::Directory;
use super::partition::Partition;

/// Those that a start believes.
const CHECKPOINTS: [&str; 2] = [RECOVERY_POINT_CHECKPOINT, LOG_START_CHECKPOINT];

/// The names that these checkpoints of a directory may have lines for; not known before they were read or written.
pub type Named = Option<BTreeSet<TopicPartition>>;

/// Writes where each log starts, and up to where it is on the disk.
pub fn write(partitions: &Partitions) {
    let recovery_points = Offsets {
        led: |partition| partition.with_log(|log, _| log.recovery_checkpoint()),
        found: &|_, log| log.recovery_checkpoint(),
        unopened: |options| options.recovery_point,
        of_arriving: false,
    };
    write_each(partitions, &[(RECOVERY_POINT_CHECKPOINT, &recovery_points), (LOG_START_CHECKPOINT, &LOG_STARTS)]);
}

/// Writes where each log starts.
pub fn write_log_starts(partitions: &Partitions) {
    write_each(partitions, &[(LOG_START_CHECKPOINT, &LOG_STARTS)]);
}

/// Has it on the disk where each log starts now, before DeleteRecords is answered: once for all that ask at a time.
#[derive(Debug, Default)]
pub struct StartsMoved {
    /// How often it was asked for, and how many of these are answered.
    asked: AtomicU64,
    written: AtomicU64,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl StartsMoved {
    /// Returns when it is. A disk that does not take it has told so.
    pub async fn write(&self, partitions: &Arc<Partitions>) {
        let asked = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if self.written.load(Ordering::Acquire) >= asked {
            return;
        }
        let asked = self.asked.load(Ordering::Acquire);
        let (partitions, (tell, told)) = (Arc::clone(partitions), oneshot::channel());
        // Where the disk does not answer, this is the only thread that waits for it, and nobody waits for the thread.
        let begun = std::thread::Builder::new().name("ottla-log-starts".to_owned()).spawn(move || {
            write_log_starts(&partitions);
            let _ = tell.send(());
            drop(turn);
        });
        match begun {
            Ok(_) if told.await.is_ok() => self.written.store(asked, Ordering::Release),
            Ok(_) => {}
            Err(error) => error!(%error, "where logs start is written down later: there can be no more threads"),
        }
    }
}

/// Writes the high watermarks. A partition without other replicas finds its own again from its log, so that a broker
/// that leads only such ones spares the disk an fsync every five seconds.
pub fn write_high_watermarks(partitions: &Partitions) {
    let known = |name: &TopicPartition| partitions.high_watermarks.get(name).copied().unwrap_or_default();
    let high_watermarks = Offsets {
        led: |partition| partition.positions().high_watermark,
        found: &|name, _| known(name),
        unopened: |_| Offset(0),
        of_arriving: false,
    };
    write_each(partitions, &[(HIGH_WATERMARK_CHECKPOINT, &high_watermarks)]);
}

/// Takes the line of an earlier log of this name out of a directory's checkpoints, and with it those of all logs of its topic
/// that are not there.
pub fn forget(directory: &Directory, name: &TopicPartition) -> ottla_storage::Result<()> {
    let files = CHECKPOINTS.map(|file| directory.path().join(file));
    let mut named = directory.named();
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

/// Writes checkpoints in each directory that is online.
fn write_each(partitions: &Partitions, files: &[(&str, &Offsets<'_>)]) {
    for directory in partitions.directories().iter().filter(|directory| directory.is_online()) {
        let mut named = directory.named();
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
            }
        }
    }
}

type Entries = BTreeMap<TopicPartition, Offset>;

fn entries_of(
    partitions: &Partitions,
    directory: &Directory,
    offsets: &Offsets<'_>,
    written: impl FnOnce() -> ottla_storage::Result<Entries>,
) -> ottla_storage::Result<Entries> {
    // They are somewhere between where they were found and where they are led.
    let making = partitions.making();
    let all = partitions.all();
    let is_here = |partition: &&Arc<Partition>| {
        let arrives = offsets.of_arriving && partition.move_state.arrives_in(directory);
        !partition.is_gone() && (arrives || partition.with_log(|log, _| directory.holds(log.folder())))
    };
    let led = all.iter().filter(is_here);
    let mut entries: Entries = led.map(|partition| (partition.name.clone(), (offsets.led)(partition))).collect();
    let found = partitions.found();
    let found_here = found.iter().filter(|(_, log)| directory.holds(log.folder()));
    entries.extend(found_here.map(|(name, log)| (name.clone(), (offsets.found)(name, log))));
    drop(found);
    let unopened = partitions.unopened();
    let left = unopened.iter().filter(|(name, _)| directory.path().join(name.to_string()).exists());
    entries.extend(left.map(|(name, options)| (name.clone(), (offsets.unopened)(options))));
    drop(unopened);
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

/// A checkpoint that is damaged costs time, not data: the logs are checked from their beginning.
pub fn read(path: &Path) -> ottla_storage::Result<BTreeMap<TopicPartition, Offset>> {
    checkpoint::read_offsets(path).or_else(|error| match error.is_of_disk() {
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
