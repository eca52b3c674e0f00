//! Opening the log directories: locking, identity, recovery of every log, in several threads.
//!
//! ```text
//!   lock --> meta.properties --> how it was left --> checkpoints --> each partition's log --> recovery points, boot
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ottla_base::{BrokerId, Offset, TopicPartition, Uuid};
use ottla_metadata::image::Image;
use ottla_storage::checkpoint::{self, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use ottla_storage::{
    Error as StorageError, FolderKind, Left, Log, LogConfig, LogDirectory, MetaProperties, OpenLog, ProducerCount, os,
};
use tracing::{info, warn};

use super::housekeeping::write_if_changed;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::node::clock;

/// The log of the metadata itself; the controller opens it.
const METADATA_FOLDER: &str = "__cluster_metadata-0";
/// How often it is told how far the logs are opened, where that takes longer.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// What the log directories held.
pub struct Loaded {
    /// The directories, locked.
    pub directories: Vec<LogDirectory>,
    /// The directory of the metadata log, locked, where it is none of those.
    pub metadata_directory: Option<LogDirectory>,
    /// Their ids, in the same order.
    pub directory_ids: Vec<Uuid>,
    /// Those that were empty, though this node is not new.
    pub blank: BlankDirectories,
    /// The cluster they belong to.
    pub cluster_id: String,
    /// Every partition's log.
    pub logs: BTreeMap<TopicPartition, Log>,
    /// The high watermarks that were written last.
    pub high_watermarks: BTreeMap<TopicPartition, Offset>,
    /// Counts the producers of all logs.
    pub producers: ProducerCount,
    /// The broker's epoch in its last life, where that ended cleanly in every directory (KIP-966).
    pub previous_broker_epoch: Option<i64>,
}

/// Directories that a node which has others already finds empty: added by its owner, or the place of a disk that is not
/// mounted. They get their papers once the metadata says which.
#[derive(Debug, Default)]
pub struct BlankDirectories(Vec<(PathBuf, MetaProperties)>);

impl BlankDirectories {
    /// Formats them.
    ///
    /// # Errors
    /// `MissingDirectory` if the broker has partitions, and one of the directories it `registered` is not there.
    pub fn format(self, image: &Image, node: BrokerId, directory_ids: &[Uuid]) -> Result<()> {
        let Some((path, _)) = self.0.first() else { return Ok(()) };
        let registered = image.broker(node).map_or(&[][..], |broker| &broker.log_dirs);
        let missing = registered.iter().find(|id| !directory_ids.contains(id));
        let mut partitions = image.topics().iter().flat_map(|topic| topic.partitions.values());
        if let Some(&id) = missing
            && partitions.any(|partition| partition.is_replica(node))
        {
            return Err(Error::MissingDirectory { path: path.clone(), id });
        }
        self.0.into_iter().try_for_each(|(path, papers)| format(&path, &papers))
    }
}

/// A log to be opened.
struct Unopened<'a> {
    directory: &'a Path,
    partition: TopicPartition,
    options: OpenLog,
}

/// Opens all of `log.dirs`, formatting those that are new.
pub fn open_directories(config: &Config, mut random: impl FnMut() -> u64) -> Result<Loaded> {
    let mut directories = Vec::new();
    for path in &config.log_dirs {
        directories.push(LogDirectory::lock(path)?);
    }
    let metadata_path = &config.metadata_log_dir;
    let has_its_own = !config.log_dirs.contains(metadata_path);
    let metadata_directory = has_its_own.then(|| LogDirectory::lock(metadata_path)).transpose()?;
    let all_directories: Vec<_> = directories.iter().chain(&metadata_directory).collect();
    let Identified { cluster_id, mut directory_ids, blank } = identify(config, &all_directories, &mut random)?;
    directory_ids.truncate(directories.len());
    let begun = Instant::now();
    let (mut unopened, mut places) = (Vec::new(), BTreeMap::new());
    let mut high_watermarks = BTreeMap::new();
    let mut previous_broker_epoch = None;
    let producers = ProducerCount::default();
    let mut all_clean = true;
    for directory in &directories {
        let clean = directory.take_clean_shutdown()?;
        all_clean &= clean.is_some();
        let left = match clean {
            Some(_) => Left::Cleanly,
            None if directory.is_of_this_boot()? => Left::Killed,
            None => Left::Unknown,
        };
        previous_broker_epoch = clean.as_ref().and_then(|clean| clean.broker_epoch).or(previous_broker_epoch);
        let recovery_points = read_checkpoint(directory.path(), RECOVERY_POINT_CHECKPOINT);
        let log_starts = read_checkpoint(directory.path(), LOG_START_CHECKPOINT);
        high_watermarks.extend(read_checkpoint(directory.path(), HIGH_WATERMARK_CHECKPOINT));
        for folder in directory.partitions()? {
            match folder.kind {
                FolderKind::Current if folder.name == METADATA_FOLDER => {}
                FolderKind::Current if let Some(other) = places.insert(folder.partition.clone(), directory.path()) => {
                    let directories = [other.to_owned(), directory.path().to_owned()];
                    return Err(Error::TwoLogs { partition: folder.partition, directories });
                }
                FolderKind::Current => unopened.push(Unopened {
                    directory: directory.path(),
                    options: OpenLog {
                        topic_partition: folder.partition.clone(),
                        left,
                        recovery_point: recovery_points.get(&folder.partition).copied().unwrap_or_default(),
                        log_start_offset: log_starts.get(&folder.partition).copied().unwrap_or_default(),
                        now_ms: clock::now_ms(),
                        producers: producers.clone(),
                    },
                    partition: folder.partition,
                }),
                FolderKind::Deleted => {
                    let folder = directory.path().join(&folder.name);
                    os::remove_folder(&folder).map_err(|source| Error::remove(&folder, source))?;
                }
                FolderKind::Stray => {
                    let folder = directory.path().join(&folder.name);
                    warn!(folder = %folder.display(), "no topic has this log: remove the folder if nobody misses it");
                }
                FolderKind::Future => {
                    let folder = directory.path().join(&folder.name);
                    warn!(folder = %folder.display(), "left alone: moving logs between directories comes later");
                }
            }
        }
    }
    let count = unopened.len();
    let threads = config.num_recovery_threads_per_data_dir * directories.len();
    let logs = open_logs(&unopened, threads)?;
    for directory in &directories {
        write_recovery_points(directory, &logs)?;
        directory.mark_boot()?;
    }
    if count > 0 {
        info!(logs = count, clean = all_clean, took = ?begun.elapsed(), "opened the logs");
    }
    let previous_broker_epoch = previous_broker_epoch.filter(|_| all_clean);
    Ok(Loaded {
        directories,
        metadata_directory,
        directory_ids,
        blank,
        cluster_id,
        logs,
        high_watermarks,
        producers,
        previous_broker_epoch,
    })
}

struct Identified {
    cluster_id: String,
    directory_ids: Vec<Uuid>,
    blank: BlankDirectories,
}

/// Checks that all directories belong to this node and one cluster, and gives those of a new node their papers.
fn identify(config: &Config, directories: &[&LogDirectory], random: &mut impl FnMut() -> u64) -> Result<Identified> {
    let mut known = Vec::new();
    for directory in directories {
        known.push(MetaProperties::read(directory.path())?);
    }
    let first = known.iter().flatten().next().cloned();
    let cluster_id =
        first.as_ref().map_or_else(|| Uuid::random(&mut *random).to_string(), |first| first.cluster_id.clone());
    let is_new = first.is_none();
    let (mut directory_ids, mut blank) = (Vec::new(), Vec::new());
    for (directory, papers) in directories.iter().zip(known) {
        let path = directory.path().to_owned();
        let papers = match papers {
            Some(papers) if papers.node_id != config.node_id => {
                return Err(Error::WrongNode { path, theirs: papers.node_id, ours: config.node_id });
            }
            Some(papers) if papers.cluster_id != cluster_id => {
                return Err(Error::WrongCluster { path, theirs: papers.cluster_id, ours: cluster_id });
            }
            Some(papers) => papers,
            None => {
                if let Some(folder) = directory.partitions()?.into_iter().next() {
                    return Err(Error::UnformattedWithLogs { path, folder: folder.name });
                }
                let directory_id = Uuid::random(&mut *random);
                let papers = MetaProperties { cluster_id: cluster_id.clone(), node_id: config.node_id, directory_id };
                if !is_new && path == config.metadata_log_dir {
                    return Err(Error::MissingMetadataDirectory { path });
                }
                blank.push((path, papers.clone()));
                papers
            }
        };
        directory_ids.push(papers.directory_id);
    }
    if is_new {
        // The directory of the metadata comes first: without it, the others are those of a node that lost it.
        blank.sort_by_key(|(path, _)| *path != config.metadata_log_dir);
        for (path, papers) in blank.drain(..) {
            format(&path, &papers)?;
        }
    }
    Ok(Identified { cluster_id, directory_ids, blank: BlankDirectories(blank) })
}

fn format(path: &Path, papers: &MetaProperties) -> Result<()> {
    papers.write(path)?;
    info!(directory = %path.display(), cluster = %papers.cluster_id, "formatted a new log directory");
    Ok(())
}

/// A checkpoint that cannot be read costs time, not data: the logs are checked from their beginning.
fn read_checkpoint(directory: &Path, name: &str) -> BTreeMap<TopicPartition, Offset> {
    checkpoint::read_offsets(&directory.join(name)).unwrap_or_else(|error| {
        warn!(%error, "taken as empty");
        BTreeMap::new()
    })
}

fn open_logs(unopened: &[Unopened<'_>], threads: usize) -> Result<BTreeMap<TopicPartition, Log>> {
    let next = AtomicUsize::new(0);
    let opened = Mutex::new((BTreeMap::new(), None::<StorageError>));
    let (done, progress) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(unopened.len()) {
            let done = done.clone();
            let (next, opened) = (&next, &opened);
            scope.spawn(move || {
                while let Some(todo) = unopened.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = todo.directory.join(todo.partition.to_string());
                    let result = Log::open(&folder, LogConfig::default(), todo.options.clone());
                    let read_bytes = result.as_ref().map_or(0, |(_, recovery)| recovery.scanned_bytes);
                    let mut opened = opened.lock().expect("nobody panics while holding this lock");
                    match result {
                        Ok((log, _)) => _ = opened.0.insert(todo.partition.clone(), log),
                        Err(error) => _ = opened.1.get_or_insert(error),
                    }
                    drop(opened);
                    let _ = done.send(read_bytes);
                }
            });
        }
        drop(done);
        tell_progress(&progress, unopened.len());
    });
    let (logs, failed) = opened.into_inner().expect("nobody panics while holding this lock");
    failed.map_or(Ok(logs), |error| Err(error.into()))
}

/// Tells how many of `all` logs are opened, and how much was read for it, until they are.
fn tell_progress(progress: &Receiver<u64>, all: usize) {
    let (mut opened, mut read_bytes) = (0, 0);
    let mut tell_at = Instant::now() + TELL_EVERY;
    loop {
        match progress.recv_timeout(tell_at.saturating_duration_since(Instant::now())) {
            Ok(bytes) => (opened, read_bytes) = (opened + 1, read_bytes + bytes),
            Err(RecvTimeoutError::Timeout) => {
                let read_gib = read_bytes as f64 / f64::from(1 << 30);
                info!(opened, all, read = %format_args!("{read_gib:.2} GiB"), "opening the logs");
                tell_at += TELL_EVERY;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What was cut off lies before no recovery point from now on: one that is left would be believed once the log is longer again.
fn write_recovery_points(directory: &LogDirectory, logs: &BTreeMap<TopicPartition, Log>) -> ottla_storage::Result<()> {
    let here = logs.iter().filter(|(_, log)| log.folder().parent() == Some(directory.path()));
    let points = here.map(|(name, log)| (name.clone(), log.recovery_checkpoint())).collect();
    write_if_changed(&directory.path().join(RECOVERY_POINT_CHECKPOINT), &points)
}
