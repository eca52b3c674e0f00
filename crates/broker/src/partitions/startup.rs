//! Opening the log directories: locking, identity, recovery of every log, in several threads.
//!
//! ```text
//!   lock --> meta.properties --> how it was left --> checkpoints --> each partition's log --> recovery points, boot
//! ```
//!
//! A directory that the disk is to blame for is offline from then on, unless it is the only one or has the metadata. A log for
//! which there is no room is opened later.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla_base::{BrokerId, Offset, TopicPartition, Uuid};
use ottla_metadata::image::{Image, LOST_DIRECTORY, MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY};
use ottla_storage::checkpoint::{HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use ottla_storage::{
    CleanShutdown, Error as StorageError, FolderKind, Left, Log, LogConfig, LogDirectory, MetaProperties, OpenLog,
    PartitionFolder, ProducerCount, os, read_partition_metadata, remove_log_folder,
};
use tracing::{error, info, warn};

use super::checkpoints::{self, write_if_changed};
use super::directories::{Directory, Watch};
use super::twice::{self, Doubt, Twice};
use crate::config::Config;
use crate::controller::metadata_log::check_location;
use crate::error::{Error, Result};
use crate::node::clock;

/// The log of the metadata itself; the controller opens it.
pub(super) const METADATA_FOLDER: &str = "__cluster_metadata-0";
/// How often it is told how far the logs are opened, where that takes longer.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// What the log directories held.
pub struct Loaded {
    /// The directories, locked if they are online.
    pub directories: Vec<Arc<Directory>>,
    /// What they wake when they fail.
    pub watch: Arc<Watch>,
    /// The directory of the metadata log, locked, where it is none of those.
    pub metadata_directory: Option<LogDirectory>,
    /// The ids of those that are online.
    pub directory_ids: Vec<Uuid>,
    /// Those that were empty, though this node is not new.
    pub blank: BlankDirectories,
    /// The cluster they belong to.
    pub cluster_id: String,
    /// No directory that can be read belonged to one before this start.
    pub is_formatted_now: bool,
    /// Every partition's log.
    pub logs: BTreeMap<TopicPartition, Log>,
    /// Those that could not be opened because there is no room on their disk.
    pub unopened: BTreeMap<TopicPartition, OpenLog>,
    /// Partitions of which there may be a better log than the one that can be read.
    pub doubtful: BTreeMap<TopicPartition, Doubt>,
    /// Logs with the name of another one, of another topic.
    pub rivals: Vec<Rival>,
    /// Copies on their way to another directory.
    pub futures: BTreeMap<TopicPartition, PathBuf>,
    /// Recovery points of logs that are not there.
    pub missing: BTreeMap<TopicPartition, Offset>,
    /// The high watermarks that were written last.
    pub high_watermarks: BTreeMap<TopicPartition, Offset>,
    /// Counts the producers of all logs.
    pub producers: ProducerCount,
    /// The broker's epoch in its last life, where that ended cleanly in every directory (KIP-966).
    pub previous_broker_epoch: Option<i64>,
}

/// A log that has the name of one in another directory, and is of another topic: that was deleted, and made again, while one of
/// the disks was away. The metadata tells which one counts.
pub struct Rival {
    /// Where it lies.
    pub folder: PathBuf,
    /// Whose it is.
    pub topic_id: Uuid,
    /// How it is to be opened.
    pub options: OpenLog,
}

/// Directories that a node which has others already finds empty: added by its owner, or the place of a disk that is not
/// mounted. They get their papers once the metadata says which.
#[derive(Debug, Default)]
pub struct BlankDirectories {
    blank: Vec<(PathBuf, MetaProperties)>,
    /// How many directories are offline, of which the ids are not known.
    offline_count: usize,
}

impl BlankDirectories {
    /// Formats them.
    ///
    /// # Errors
    /// `MissingDirectory` if the broker has partitions, and one of the directories that they lie in, or that it registered, is
    /// not there, nor one of those that are offline. A directory that has failed is registered no more, and it is the one that
    /// is not mounted again. `UnplacedPartition` if the metadata does not say where one of them lies, as before
    /// metadata.version 3.7-IV2, and no log of it is found: `is_found` says so.
    pub fn format(
        self,
        image: &Image,
        node: BrokerId,
        directory_ids: &[Uuid],
        is_found: impl Fn(&TopicPartition) -> bool,
    ) -> Result<()> {
        let Some((path, _)) = self.blank.first() else { return Ok(()) };
        let mut here = Vec::new();
        for topic in image.topics().iter() {
            for (index, partition) in topic.partitions.iter().filter(|(_, partition)| partition.is_replica(node)) {
                let name = || TopicPartition { topic: topic.name.to_string(), partition: *index };
                if partition.directory(node) == Some(MIGRATING_DIRECTORY) && !is_found(&name()) {
                    return Err(Error::UnplacedPartition { path: path.clone(), partition: name() });
                }
                here.push(partition);
            }
        }
        if !here.is_empty() {
            let registered = image.broker(node).map_or(&[][..], |broker| &broker.log_dirs).iter().copied();
            let named = here.iter().filter_map(|partition| partition.directory(node)).filter(|id| !is_reserved(*id));
            let all: BTreeSet<Uuid> = registered.chain(named).collect();
            if let Some(id) = all.into_iter().filter(|id| !directory_ids.contains(id)).nth(self.offline_count) {
                return Err(Error::MissingDirectory { path: path.clone(), id });
            }
        }
        self.blank.into_iter().try_for_each(|(path, papers)| format(&path, &papers))
    }
}

/// Whether an id says why no directory is named, rather than which.
pub(super) fn is_reserved(id: Uuid) -> bool {
    matches!(id, LOST_DIRECTORY | MIGRATING_DIRECTORY | UNASSIGNED_DIRECTORY)
}

/// A log to be opened.
pub(super) struct Unopened<'a> {
    pub directory: &'a Path,
    pub partition: TopicPartition,
    pub options: OpenLog,
}

/// Opens all of `log.dirs`, formatting those that are new.
pub fn open_directories(config: &Config, mut random: impl FnMut() -> u64) -> Result<Loaded> {
    let metadata_path = &config.metadata_log_dir;
    let mut offline = Offline::new(metadata_path);
    let mut directories = Vec::new();
    for path in &config.log_dirs {
        let looked_into = look_into(path, &directories);
        directories.extend(offline.unless_of_disk(path, looked_into)?);
    }
    let has_its_own = !config.log_dirs.contains(metadata_path);
    let metadata_directory = has_its_own.then(|| LogDirectory::lock_beside(metadata_path, &directories)).transpose()?;
    let all_directories: Vec<_> = directories.iter().chain(&metadata_directory).collect();
    let Identified { cluster_id, is_new, mut directory_ids, blank } = identify(config, &all_directories, &mut random)?;
    directory_ids.truncate(directories.len());
    check_location(config, directories.iter().map(LogDirectory::path))?;
    let producers = ProducerCount::default();
    let opened = open_all(config, &directories, &producers, &mut offline)?;
    let blank = blank.into_iter().filter(|(path, _)| !offline.failures.contains_key(path)).collect();
    let blank = BlankDirectories { blank, offline_count: offline.failures.len() };
    let watch: Arc<Watch> = Arc::default();
    let held = directories.into_iter().zip(directory_ids);
    let (directories, directory_ids) = offline.sort(&config.log_dirs, held, &watch)?;
    let is_online =
        |log: &Log| directories.iter().any(|directory| directory.is_online() && directory.holds(log.folder()));
    let logs = opened.logs.into_iter().filter(|(_, log)| is_online(log)).collect();
    Ok(Loaded {
        directories,
        watch,
        metadata_directory,
        directory_ids,
        blank,
        cluster_id,
        is_formatted_now: is_new,
        logs,
        unopened: opened.unopened,
        doubtful: opened.doubtful,
        rivals: opened.rivals,
        futures: opened.futures,
        missing: opened.missing,
        high_watermarks: opened.high_watermarks,
        producers,
        previous_broker_epoch: opened.previous_broker_epoch,
    })
}

struct Identified {
    cluster_id: String,
    is_new: bool,
    directory_ids: Vec<Uuid>,
    blank: Vec<(PathBuf, MetaProperties)>,
}

/// The directories that are not used because the disk is to blame, and why.
pub(super) struct Offline<'a> {
    metadata_path: &'a Path,
    failures: BTreeMap<PathBuf, StorageError>,
}

impl<'a> Offline<'a> {
    fn new(metadata_path: &'a Path) -> Self {
        Self { metadata_path, failures: BTreeMap::new() }
    }

    /// Whether the directory at `path` is offline.
    pub fn has(&self, path: &Path) -> bool {
        self.failures.contains_key(path)
    }

    /// What was done in the directory at `path`; nothing if it is offline, or is so now.
    ///
    /// # Errors
    /// Those that say nothing against the disk, or that it is there; and all in the directory of the metadata.
    pub fn unless_of_disk<T>(&mut self, path: &Path, done: ottla_storage::Result<T>) -> Result<Option<T>> {
        match done {
            Ok(done) => Ok((!self.failures.contains_key(path)).then_some(done)),
            Err(error) if is_against(&error) && path != self.metadata_path => {
                if !self.failures.contains_key(path) {
                    error!(
                        directory = %path.display(), %error,
                        "the log directory cannot be used and is offline, and its partitions with it, which answer \
                         KAFKA_STORAGE_ERROR. Look at the disk (is it mounted? may this user write to it?), and start the \
                         broker again when it is well, or without this directory in log.dirs"
                    );
                    self.failures.insert(path.to_owned(), error);
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All directories in the order of `paths`, and the ids of those that are online.
    ///
    /// # Errors
    /// None is.
    fn sort(
        mut self,
        paths: &[PathBuf],
        held: impl Iterator<Item = (LogDirectory, Uuid)>,
        watch: &Arc<Watch>,
    ) -> Result<(Vec<Arc<Directory>>, Vec<Uuid>)> {
        let held: BTreeMap<PathBuf, _> = held.map(|held| (held.0.path().to_owned(), held)).collect();
        let (mut held, mut directories, mut ids) = (held, Vec::new(), Vec::new());
        if paths.iter().all(|path| self.failures.contains_key(path))
            && let Some((_, error)) = self.failures.pop_first()
        {
            return Err(error.into());
        }
        for path in paths {
            directories.push(Arc::new(match (self.failures.remove(path), held.remove(path)) {
                (None, Some((held, id))) => {
                    ids.push(id);
                    Directory::online(held, id, watch.clone())
                }
                (Some(error), _) => Directory::offline(path.clone(), error.to_string(), watch.clone()),
                // It is named twice.
                (None, None) => continue,
            }));
        }
        Ok((directories, ids))
    }
}

/// Whether the error says that a directory cannot be used, and nothing of the others.
fn is_against(error: &StorageError) -> bool {
    error.is_of_disk() || matches!(error, StorageError::NotDirectory { .. })
}

/// Locks a directory beside those that are held, and looks whether it can be read.
fn look_into(path: &Path, held: &[LogDirectory]) -> ottla_storage::Result<LogDirectory> {
    let directory = LogDirectory::lock_beside(path, held)?;
    directory.partitions()?;
    MetaProperties::read(path)?;
    Ok(directory)
}

/// What lies in a directory, beside the logs.
struct Contents {
    clean: Option<CleanShutdown>,
    recovery_points: BTreeMap<TopicPartition, Offset>,
    log_starts: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    folders: Vec<PartitionFolder>,
}

impl Contents {
    /// Reads it; the mark of a clean stop is taken away.
    fn read(directory: &LogDirectory) -> ottla_storage::Result<Self> {
        Ok(Self {
            clean: directory.take_clean_shutdown()?,
            recovery_points: checkpoints::read(&directory.path().join(RECOVERY_POINT_CHECKPOINT))?,
            log_starts: checkpoints::read(&directory.path().join(LOG_START_CHECKPOINT))?,
            high_watermarks: checkpoints::read(&directory.path().join(HIGH_WATERMARK_CHECKPOINT))?,
            folders: directory.partitions()?,
        })
    }
}

/// What lies in all directories.
struct Listed<'a> {
    logs: Vec<Unopened<'a>>,
    /// Partitions with two logs, which a move has left.
    twice: Vec<Twice<'a>>,
    rivals: Vec<Rival>,
    futures: BTreeMap<TopicPartition, PathBuf>,
    missing: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    previous_broker_epoch: Option<i64>,
    all_clean: bool,
}

/// What came of opening it: as in [`Loaded`].
struct Opened {
    logs: BTreeMap<TopicPartition, Log>,
    unopened: BTreeMap<TopicPartition, OpenLog>,
    doubtful: BTreeMap<TopicPartition, Doubt>,
    rivals: Vec<Rival>,
    futures: BTreeMap<TopicPartition, PathBuf>,
    missing: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    previous_broker_epoch: Option<i64>,
}

/// Lists what lies in the directories that are online.
fn list<'a>(
    directories: &'a [LogDirectory],
    producers: &ProducerCount,
    offline: &mut Offline<'_>,
) -> Result<Listed<'a>> {
    let mut places = BTreeMap::<TopicPartition, &Path>::new();
    let mut listed = Listed {
        logs: Vec::new(),
        twice: Vec::new(),
        rivals: Vec::new(),
        futures: BTreeMap::new(),
        missing: BTreeMap::new(),
        high_watermarks: BTreeMap::new(),
        previous_broker_epoch: None,
        all_clean: true,
    };
    for directory in directories {
        let Some(contents) = offline.unless_of_disk(directory.path(), Contents::read(directory))? else { continue };
        let Contents { clean, recovery_points, log_starts, high_watermarks, folders } = contents;
        let left = match clean {
            Some(_) => Left::Cleanly,
            None if is_of_this_boot(directory) => Left::Killed,
            None => Left::Unknown,
        };
        if folders.iter().any(|folder| folder.kind == FolderKind::Current && folder.name != METADATA_FOLDER) {
            tell_how_left(directory.path(), left);
        }
        listed.all_clean &= clean.is_some();
        listed.previous_broker_epoch = clean.and_then(|clean| clean.broker_epoch).or(listed.previous_broker_epoch);
        listed.high_watermarks.extend(high_watermarks);
        listed.missing.extend(without_folder(&recovery_points, &folders));
        for folder in folders {
            match folder.kind {
                FolderKind::Current if folder.name == METADATA_FOLDER => continue,
                FolderKind::Current => {}
                _ => {
                    note_other(directory, folder, &mut listed.futures, offline)?;
                    continue;
                }
            }
            // What is known of this directory says nothing of another volume that a link leads to.
            let is_elsewhere = || os::is_link(&directory.path().join(&folder.name)).unwrap_or(true);
            let left = if left == Left::Killed && is_elsewhere() { Left::Unknown } else { left };
            let partition = folder.partition;
            let options = OpenLog {
                topic_partition: partition.clone(),
                left,
                recovery_point: recovery_points.get(&partition).copied().unwrap_or_default(),
                log_start_offset: log_starts.get(&partition).copied().unwrap_or_default(),
                now_ms: clock::now_ms(),
                producers: producers.clone(),
            };
            let first = *places.entry(partition.clone()).or_insert(directory.path());
            let log = Unopened { directory: directory.path(), partition, options };
            if first == directory.path() {
                listed.logs.push(log);
                continue;
            }
            let of_first = topic_in(first, &folder.name, offline)?.flatten();
            match topic_in(log.directory, &folder.name, offline)? {
                Some(Some(topic_id)) if of_first.is_some_and(|of_first| of_first != topic_id) => {
                    let (folder, options) = (log.directory.join(&folder.name), log.options);
                    listed.rivals.push(Rival { folder, topic_id, options });
                }
                // Where it cannot be looked at, it may be the better one.
                _ => listed.twice.push(Twice::new(first, log, offline)?),
            }
        }
    }
    Ok(listed)
}

/// The recovery points of logs that had records and have no folder, not even one that is to be removed, or was set aside.
fn without_folder(
    recovery_points: &BTreeMap<TopicPartition, Offset>,
    folders: &[PartitionFolder],
) -> BTreeMap<TopicPartition, Offset> {
    let has_folder: BTreeSet<_> = folders.iter().map(|folder| &folder.partition).collect();
    let missing = recovery_points.iter().filter(|(name, point)| point.0 > 0 && !has_folder.contains(name));
    missing.map(|(name, point)| (name.clone(), *point)).collect()
}

fn tell_how_left(directory: &Path, left: Left) {
    let directory = directory.display();
    match left {
        Left::Cleanly => info!(%directory, "there was a clean stop: nothing is checked"),
        Left::Killed => info!(%directory, "there was no clean stop: the ends of the logs are checked"),
        Left::Unknown => info!(%directory, "there was no clean stop: all behind the recovery points is checked"),
    }
}

/// Opens what lies in the directories, but that for which there is no room, and notes in each that it is open.
fn open_all(
    config: &Config,
    directories: &[LogDirectory],
    producers: &ProducerCount,
    offline: &mut Offline<'_>,
) -> Result<Opened> {
    let begun = Instant::now();
    let listed = list(directories, producers, offline)?;
    let threads = config.num_recovery_threads_per_data_dir * directories.len();
    let (mut logs, failed) = open_logs(&listed.logs, threads);
    let mut unopened = left_for_later(failed, &listed.twice, offline)?;
    let mut settled = twice::settle(&listed.twice, &mut logs, &mut unopened, offline)?;
    for directory in directories {
        if !offline.failures.contains_key(directory.path()) {
            let noted = note_opened(directory, &logs, &unopened, &listed.rivals);
            offline.unless_of_disk(directory.path(), noted)?;
        }
    }
    settled.remove_superfluous(&mut logs, &mut unopened, offline)?;
    settled.note_candidates(&listed.twice, &listed.logs);
    if !listed.logs.is_empty() {
        info!(logs = listed.logs.len(), clean = listed.all_clean, took = ?begun.elapsed(), "opened the logs");
    }
    let Listed { rivals, futures, mut missing, high_watermarks, previous_broker_epoch, all_clean, .. } = listed;
    // A move may have taken it to another directory just before the end.
    missing.retain(|name, _| !logs.contains_key(name) && !unopened.contains_key(name));
    let previous_broker_epoch = previous_broker_epoch.filter(|_| all_clean && offline.failures.is_empty());
    Ok(Opened {
        logs,
        unopened,
        doubtful: settled.doubtful,
        rivals,
        futures,
        missing,
        high_watermarks,
        previous_broker_epoch,
    })
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
    Ok(Identified { cluster_id, is_new, directory_ids, blank })
}

fn format(path: &Path, papers: &MetaProperties) -> Result<()> {
    papers.write(path)?;
    info!(directory = %path.display(), cluster = %papers.cluster_id, "formatted a new log directory");
    Ok(())
}

/// Whether all that was written there is in the page cache; if that cannot be found out, more is read.
fn is_of_this_boot(directory: &LogDirectory) -> bool {
    directory.is_of_this_boot().unwrap_or_else(|error| {
        warn!(%error, "checking all that may not have been flushed");
        false
    })
}

/// What becomes of a folder that is no log of a partition.
fn note_other(
    directory: &LogDirectory,
    folder: PartitionFolder,
    futures: &mut BTreeMap<TopicPartition, PathBuf>,
    offline: &mut Offline<'_>,
) -> Result<()> {
    let path = directory.path().join(&folder.name);
    let superfluous = match folder.kind {
        FolderKind::Current => None,
        FolderKind::Stray => {
            warn!(folder = %path.display(), "no topic has this log: remove the folder if nobody misses it");
            None
        }
        FolderKind::Deleted => Some(path),
        // Of two copies of one partition, one is enough.
        FolderKind::Future => futures.insert(folder.partition, path),
    };
    if let Some(path) = superfluous {
        let removed = remove_log_folder(&path).map_err(StorageError::io("remove", &path));
        offline.unless_of_disk(directory.path(), removed)?;
    }
    Ok(())
}

/// The logs that are to be opened once there is room.
///
/// # Errors
/// Another one cannot be opened either, and its disk is not to blame.
fn left_for_later(
    failed: Failures<'_, '_>,
    twice: &[Twice<'_>],
    offline: &mut Offline<'_>,
) -> Result<BTreeMap<TopicPartition, OpenLog>> {
    let mut later = BTreeMap::new();
    for (log, error) in failed {
        let is_one_of_two = || twice.iter().any(|pair| pair.second.partition == log.partition);
        if error.is_full() || twice::is_passing(&error) && is_one_of_two() {
            warn!(log = %log.partition, %error, "there is no room to open the log: it is opened when there is");
            later.insert(log.partition.clone(), log.options.clone());
        } else {
            offline.unless_of_disk::<()>(log.directory, Err(error))?;
        }
    }
    Ok(later)
}

/// The topic of the log in a folder of a directory, if the folder says so; `None` where the directory is offline.
fn topic_in(directory: &Path, folder: &str, offline: &mut Offline<'_>) -> Result<Option<Option<Uuid>>> {
    match read_partition_metadata(&directory.join(folder)) {
        Err(error) if error.is_of_disk() => offline.unless_of_disk(directory, Err(error)),
        // What else is wrong is found out when the log is opened.
        known => Ok(Some(known.ok().flatten())),
    }
}

type Failures<'u, 'd> = Vec<(&'u Unopened<'d>, StorageError)>;

/// Opens the logs, and says which could not be.
fn open_logs<'u, 'd>(
    unopened: &'u [Unopened<'d>],
    threads: usize,
) -> (BTreeMap<TopicPartition, Log>, Failures<'u, 'd>) {
    let next = AtomicUsize::new(0);
    let opened = Mutex::new((BTreeMap::new(), Vec::new()));
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
                        Err(error) => opened.1.push((todo, error)),
                    }
                    drop(opened);
                    let _ = done.send(read_bytes);
                }
            });
        }
        drop(done);
        tell_progress(&progress, unopened.len());
    });
    opened.into_inner().expect("nobody panics while holding this lock")
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
/// Where all logs are open, what is written from now on is there after a kill.
fn note_opened(
    directory: &LogDirectory,
    logs: &BTreeMap<TopicPartition, Log>,
    unopened: &BTreeMap<TopicPartition, OpenLog>,
    rivals: &[Rival],
) -> ottla_storage::Result<()> {
    let here = logs.iter().filter(|(_, log)| log.folder().parent() == Some(directory.path()));
    let mut points: BTreeMap<_, _> = here.map(|(name, log)| (name.clone(), log.recovery_checkpoint())).collect();
    let rivals = rivals.iter().filter(|rival| rival.folder.parent() == Some(directory.path()));
    let rivals = rivals.map(|rival| (&rival.options.topic_partition, &rival.options));
    let mut left = Vec::new();
    for (name, options) in unopened.iter().chain(rivals) {
        let folder = directory.path().join(name.to_string());
        if os::exists(&folder).map_err(StorageError::io("look for", &folder))? {
            left.push((name.clone(), options.recovery_point));
        }
    }
    let all_are_open = left.is_empty();
    points.extend(left);
    let path = directory.path().join(RECOVERY_POINT_CHECKPOINT);
    let written = write_if_changed(&path, &points).inspect_err(|_| {
        // Without it all is read after a power cut. To remove it takes no room.
        let _ = os::remove(&path);
    });
    match written {
        Err(error) if error.is_full() => warn!(%error, "going on without a note of what is on the disk"),
        written => written?,
    }
    if all_are_open && let Err(error) = directory.mark_boot() {
        warn!(%error, "the next start will check all that is not flushed by then, also after a mere kill");
    }
    Ok(())
}
