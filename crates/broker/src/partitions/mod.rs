//! The partitions that this node hosts, in its log directories: found by name, made and removed as the metadata says.

pub mod append;
pub mod housekeeping;
pub mod leader;
pub mod parked;
pub mod partition;
mod startup;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use ottla_base::{BrokerId, Offset, PartitionIndex, Timestamp, TopicPartition, Uuid};
use ottla_metadata::image::{Image, Topic};
use ottla_metadata::settings::topic::TopicSettings;
use ottla_protocol::error::ErrorCode;
use ottla_storage::checkpoint::{self, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use ottla_storage::{
    FolderKind, Left, Log, LogConfig, LogDirectory, OpenLog, PartitionFolder, ProducerCount, os,
    read_partition_metadata, write_partition_metadata,
};

use self::partition::{Partition, Positions};
use crate::config::Config;
use crate::metrics::Traffic;
use crate::node::entropy;

pub use startup::{Loaded, open_directories};

/// How long a folder that could not be removed is left alone.
const REMOVED_AGAIN_AFTER_MS: i64 = 60_000;
/// How many logs are closed at a time.
const CLOSING_THREADS: usize = 16;

/// A topic, as far as it is hosted here.
struct Hosted {
    id: Uuid,
    /// By number; `None` where another broker has it, or its log cannot be opened.
    partitions: Vec<Option<Arc<Partition>>>,
    /// Those whose log cannot be opened.
    failed: BTreeSet<i32>,
}

/// A folder that waits to be removed, so that readers can finish.
struct Doomed {
    folder: PathBuf,
    due_ms: Timestamp,
}

/// All hosted partitions.
pub struct Partitions {
    local: BrokerId,
    directories: Vec<LogDirectory>,
    producer_id_expiration_ms: AtomicI64,
    topics: RwLock<HashMap<String, Hosted>>,
    /// The logs that were found on the disk and whose topics the metadata has not named yet.
    found: Mutex<BTreeMap<TopicPartition, Log>>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    /// Counts the producers of all logs.
    producers: ProducerCount,
    doomed: Mutex<Vec<Doomed>>,
    /// What was counted for partitions that are gone.
    pub departed: Traffic,
}

impl Partitions {
    /// The partitions whose logs are in `loaded`; none is led before the metadata names it.
    pub fn new(config: &Config, loaded: Loaded) -> Self {
        Self {
            local: config.node_id,
            directories: loaded.directories,
            producer_id_expiration_ms: AtomicI64::new(config.running.get().producer_id_expiration_ms),
            topics: RwLock::default(),
            found: Mutex::new(loaded.logs),
            high_watermarks: loaded.high_watermarks,
            producers: loaded.producers,
            doomed: Mutex::default(),
            departed: Traffic::default(),
        }
    }

    /// Forgets producers after this time; of partitions that are there already once they are configured anew.
    pub fn set_producer_id_expiration_ms(&self, ms: i64) {
        self.producer_id_expiration_ms.store(ms, Ordering::Relaxed);
    }

    /// A partition, by its topic's name.
    pub fn find(&self, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        let hosted = topics.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let place = usize::try_from(index).ok().and_then(|index| hosted.partitions.get(index));
        let partition = place.ok_or(ErrorCode::UnknownTopicOrPartition)?.clone();
        partition.ok_or_else(|| match hosted.failed.contains(&index) {
            true => ErrorCode::KafkaStorageError,
            false => ErrorCode::NotLeaderOrFollower,
        })
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        topics.values().flat_map(|hosted| hosted.partitions.iter().flatten().cloned()).collect()
    }

    /// How many cannot be served because their logs cannot be opened.
    pub fn failed_count(&self) -> usize {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        topics.values().map(|hosted| hosted.failed.len()).sum()
    }

    /// The log directories.
    pub fn directories(&self) -> &[LogDirectory] {
        &self.directories
    }

    /// Makes, configures and leads what `topic` has on this broker.
    ///
    /// # Errors
    /// The storage failed; the partition answers KAFKA_STORAGE_ERROR then, and is tried again when its topic changes.
    pub fn host(&self, topic: &Topic, settings: &Arc<TopicSettings>, now_ms: Timestamp) -> ottla_storage::Result<()> {
        let mut partitions = self.take_hosted(topic.id, &topic.name);
        let log_config = self.log_config(settings);
        let (mut failed, mut failure) = (BTreeSet::new(), None);
        let mut placed = Vec::new();
        for (&PartitionIndex(index), registration) in topic.partitions.iter() {
            let place = usize::try_from(index).expect("partitions are numbered from 0");
            if partitions.len() <= place {
                partitions.resize(place + 1, None);
            }
            if registration.leader != Some(self.local) {
                continue;
            }
            if let Some(partition) = &partitions[place] {
                partition.configure(settings.clone(), log_config.clone());
                continue;
            }
            let name = TopicPartition::new(&*topic.name, index);
            match self.open_or_create(&name, topic.id, &log_config, &mut placed, now_ms) {
                Ok(log) => {
                    let checkpointed = self.high_watermarks.get(&name).copied().unwrap_or_default();
                    let leader =
                        Partition::lead(topic.id, log, settings.clone(), self.local, registration, checkpointed);
                    partitions[place] = Some(Arc::new(leader));
                }
                Err(error) => {
                    tracing::error!(partition = %name, %error, "cannot open the log; the partition is not served");
                    failed.insert(index);
                    failure.get_or_insert(error);
                }
            }
        }
        let mut topics = self.topics.write().expect("nobody panics while holding this lock");
        topics.insert(topic.name.to_string(), Hosted { id: topic.id, partitions, failed });
        failure.map_or(Ok(()), Err)
    }

    /// Stops hosting a topic. Its folders are renamed at once, and removed after `file.delete.delay.ms`.
    pub fn drop_topic(&self, topic: &str, now_ms: Timestamp) {
        let removed = self.topics.write().expect("nobody panics while holding this lock").remove(topic);
        for partition in removed.into_iter().flat_map(|hosted| hosted.partitions).flatten() {
            self.departed.add(partition.traffic.totals());
            let delay_ms = partition.settings().file_delete_delay_ms;
            let name = PartitionFolder::name_of(&partition.name, FolderKind::Deleted, Uuid::random(entropy));
            match partition.retire(&name) {
                Ok(folder) => self.doom(folder, now_ms.saturating_add(delay_ms)),
                Err(error) => {
                    tracing::error!(partition = %partition.name, %error, "cannot rename the folder of a deleted topic");
                }
            }
        }
    }

    /// One of the logs that were found on the disk and are not hosted yet, if there are any.
    pub fn any_found(&self) -> Option<TopicPartition> {
        self.found().keys().next().cloned()
    }

    /// Sets aside, as strays that are never removed here, the logs that were found on the disk and that `image` gives to no topic, to
    /// another topic of the same name, or to other brokers. Logs of partitions that merely have no leader stay, and so do those
    /// of which it cannot be known, or that cannot be renamed: they hold up nobody.
    pub fn set_strays_aside(&self, image: &Image) {
        let is_ours = |name: &TopicPartition, log: &Log| {
            let topic = image.topic(&name.topic);
            let claimed = topic.and_then(|topic| topic.partitions.get(&name.partition));
            if !claimed.is_some_and(|partition| partition.is_replica(self.local)) {
                return Ok(false);
            }
            let id = read_partition_metadata(log.folder())?;
            Ok(id.is_none_or(|id| topic.is_some_and(|topic| topic.id == id)))
        };
        self.found().retain(|name, log| {
            let is_kept = match is_ours(name, log) {
                Ok(false) => self.set_aside(log).map(|()| false),
                known => known,
            };
            is_kept.unwrap_or_else(|error| {
                tracing::error!(log = %name, %error, "cannot set aside a log that may be a stray; it is left alone");
                true
            })
        });
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Log>> {
        self.found.lock().expect("nobody panics while holding this lock")
    }

    fn set_aside(&self, log: &mut Log) -> ottla_storage::Result<()> {
        let name = PartitionFolder::name_of(log.topic_partition(), FolderKind::Stray, Uuid::random(entropy));
        let to = log.folder().with_file_name(name);
        tracing::warn!(
            log = %log.topic_partition(), folder = %to.display(),
            "no topic has this log: it is set aside, and stays until somebody removes the folder"
        );
        log.rename_folder(&to)
    }

    fn take_hosted(&self, id: Uuid, topic: &str) -> Vec<Option<Arc<Partition>>> {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        topics.get(topic).filter(|hosted| hosted.id == id).map_or_else(Vec::new, |hosted| hosted.partitions.clone())
    }

    fn open_or_create(
        &self,
        name: &TopicPartition,
        topic_id: Uuid,
        config: &LogConfig,
        placed: &mut Vec<usize>,
        now_ms: Timestamp,
    ) -> ottla_storage::Result<Log> {
        let found = self.found().remove(name);
        if let Some(mut log) = found {
            match self.claim(&mut log, topic_id) {
                Ok(true) => {
                    log.configure(config.clone());
                    return Ok(log);
                }
                Ok(false) => {}
                Err(error) => {
                    // It is tried again, and never lost sight of: an empty log must not come into its place.
                    self.found().insert(name.clone(), log);
                    return Err(error);
                }
            }
        }
        let folder = self.directory_for(name, placed)?.path().join(name.to_string());
        self.make_room(name, &folder, topic_id)?;
        let options = OpenLog {
            topic_partition: name.clone(),
            left: Left::Cleanly,
            recovery_point: Offset(0),
            log_start_offset: Offset(0),
            now_ms,
            producers: self.producers.clone(),
        };
        let (log, _) = Log::open(&folder, config.clone(), options)?;
        write_partition_metadata(&folder, topic_id)?;
        Ok(log)
    }

    /// Whether a log that was found is that of this topic. That of an older topic of the same name makes room.
    fn claim(&self, log: &mut Log, topic_id: Uuid) -> ottla_storage::Result<bool> {
        match read_partition_metadata(log.folder())? {
            Some(id) if id != topic_id => return self.set_aside(log).map(|()| false),
            Some(_) => {}
            None => write_partition_metadata(log.folder(), topic_id)?,
        }
        Ok(true)
    }

    /// Sets aside what lies where a new log is to be: the folder of a deleted topic that could not be renamed then.
    fn make_room(&self, name: &TopicPartition, folder: &Path, topic_id: Uuid) -> ottla_storage::Result<()> {
        let exists = os::exists(folder).map_err(ottla_storage::Error::io("look for", folder))?;
        if !exists || read_partition_metadata(folder)?.is_none_or(|id| id == topic_id) {
            return Ok(());
        }
        let to = folder.with_file_name(PartitionFolder::name_of(name, FolderKind::Stray, Uuid::random(entropy)));
        tracing::warn!(folder = %folder.display(), to = %to.display(), "another topic's log is in the way");
        os::rename(folder, &to).map_err(ottla_storage::Error::io("rename", folder))
    }

    /// Where the partition's folder lies already, in whatever state, or where a new one is to be.
    fn directory_for(&self, name: &TopicPartition, placed: &mut Vec<usize>) -> ottla_storage::Result<&LogDirectory> {
        for directory in &self.directories {
            let folder = directory.path().join(name.to_string());
            if os::exists(&folder).map_err(ottla_storage::Error::io("look for", &folder))? {
                return Ok(directory);
            }
        }
        Ok(self.emptiest_directory(placed))
    }

    /// The directory with the fewest partitions takes the next one, as in Kafka. `placed` begins empty, and says then how
    /// many each has, with those of a topic that is being hosted and that nobody else sees yet.
    fn emptiest_directory(&self, placed: &mut Vec<usize>) -> &LogDirectory {
        if let [only] = &self.directories[..] {
            return only;
        }
        if placed.is_empty() {
            *placed = self.count_by_directory();
        }
        let fewest = placed.iter().enumerate().min_by_key(|(_, count)| **count).map(|(index, _)| index);
        let fewest = fewest.expect("there is at least one log directory");
        placed[fewest] += 1;
        &self.directories[fewest]
    }

    fn count_by_directory(&self) -> Vec<usize> {
        let mut counts = vec![0; self.directories.len()];
        let mut count = |folder: &Path| {
            if let Some(index) = self.directories.iter().position(|directory| folder.starts_with(directory.path())) {
                counts[index] += 1;
            }
        };
        for partition in self.all() {
            partition.with_log(|log, _| count(log.folder()));
        }
        let found = self.found.lock().expect("nobody panics while holding this lock");
        found.values().for_each(|log| count(log.folder()));
        counts
    }

    /// Closes every log and writes the last checkpoints. Gives back the directories, if all went well in all of them.
    ///
    /// # Errors
    /// The first failure; all other logs were closed nevertheless. No directory may be marked as left cleanly then, and
    /// the checkpoints of the one that failed stay as they were.
    pub fn close(self, now_ms: Timestamp) -> ottla_storage::Result<Vec<LogDirectory>> {
        let all = self.all();
        self.topics.write().expect("nobody panics while holding this lock").clear();
        let mut positions = Vec::with_capacity(all.len());
        let mut failed: Vec<(PathBuf, ottla_storage::Error)> = Vec::new();
        for (partition, folder, closed) in close_all(&all, now_ms) {
            match closed {
                Ok(Some(last)) => positions.push((folder, partition.name.clone(), last)),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(partition = %partition.name, %error, "cannot close the log");
                    failed.push((folder, error));
                }
            }
        }
        // Logs that nobody led keep their beginning too.
        let found = std::mem::take(&mut *self.found());
        for (name, log) in found {
            let (folder, log_start, log_end) = (log.folder().to_owned(), log.start_offset(), log.end_offset());
            match log.close(now_ms) {
                Ok(()) => {
                    let high_watermark = self.high_watermarks.get(&name).copied().unwrap_or_default();
                    let last = Positions { log_start, log_end, high_watermark, last_stable: high_watermark };
                    positions.push((folder, name, last));
                }
                Err(error) => {
                    tracing::error!(partition = %name, %error, "cannot close the log");
                    failed.push((folder, error));
                }
            }
        }
        for directory in &self.directories {
            if failed.iter().any(|(folder, _)| folder.parent() == Some(directory.path())) {
                continue;
            }
            let here = || positions.iter().filter(|(folder, ..)| folder.parent() == Some(directory.path()));
            let write = |file, offset: fn(&Positions) -> Offset| {
                let offsets = here().map(|(_, name, positions)| (name.clone(), offset(positions))).collect();
                checkpoint::write_offsets(&directory.path().join(file), &offsets)
            };
            write(RECOVERY_POINT_CHECKPOINT, |positions| positions.log_end)?;
            write(LOG_START_CHECKPOINT, |positions| positions.log_start)?;
            write(HIGH_WATERMARK_CHECKPOINT, |positions| positions.high_watermark)?;
        }
        match failed.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(self.directories),
        }
    }

    /// Removes the folders whose time has come. Those that cannot be removed are tried again later.
    ///
    /// # Errors
    /// The first failure; the other folders were removed nevertheless.
    pub fn purge_doomed(&self, now_ms: Timestamp) -> ottla_storage::Result<()> {
        let mut doomed = self.doomed.lock().expect("nobody panics while holding this lock");
        let due: Vec<Doomed> = doomed.extract_if(.., |doomed| doomed.due_ms <= now_ms).collect();
        drop(doomed);
        let mut done = Ok(());
        for Doomed { folder, .. } in due {
            match os::remove_folder(&folder) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    self.doom(folder.clone(), now_ms.saturating_add(REMOVED_AGAIN_AFTER_MS));
                    done = done.and(Err(ottla_storage::Error::Io { operation: "remove", path: folder, source }));
                }
                _ => {}
            }
        }
        done
    }

    fn doom(&self, folder: PathBuf, due_ms: Timestamp) {
        self.doomed.lock().expect("nobody panics while holding this lock").push(Doomed { folder, due_ms });
    }

    fn log_config(&self, settings: &TopicSettings) -> LogConfig {
        LogConfig {
            segment_bytes: settings.segment_bytes,
            segment_ms: settings.segment_ms,
            segment_jitter_ms: settings.segment_jitter_ms,
            segment_index_bytes: settings.segment_index_bytes,
            retention_ms: settings.retention_ms,
            retention_bytes: settings.retention_bytes,
            delete: settings.delete,
            compact: settings.compact,
            index_interval_bytes: settings.index_interval_bytes,
            flush_messages: settings.flush_messages,
            flush_ms: settings.flush_ms,
            file_delete_delay_ms: settings.file_delete_delay_ms,
            preallocate: settings.preallocate,
            producer_id_expiration_ms: self.producer_id_expiration_ms.load(Ordering::Relaxed),
        }
    }
}

/// What came of closing a log, and where it lies.
type Closed<'a> = (&'a Partition, PathBuf, ottla_storage::Result<Option<Positions>>);

/// Closes several logs at a time: each waits for the disk again and again, which waits for several at once as long as for one.
fn close_all(all: &[Arc<Partition>], now_ms: Timestamp) -> Vec<Closed<'_>> {
    let (next, closed) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(all.len())));
    std::thread::scope(|scope| {
        for _ in 0..CLOSING_THREADS.min(all.len()) {
            scope.spawn(|| {
                while let Some(partition) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = partition.with_log(|log, _| log.folder().to_owned());
                    let done = (&**partition, folder, partition.close(now_ms));
                    closed.lock().expect("nobody panics while holding this lock").push(done);
                }
            });
        }
    });
    closed.into_inner().expect("nobody panics while holding this lock")
}

/// The topics of an image that this node hosts.
pub fn hosted_topics(image: &Image, local: BrokerId) -> impl Iterator<Item = &Topic> {
    let is_hosted = move |topic: &&Topic| topic.partitions.values().any(|partition| partition.leader == Some(local));
    image.topics().iter().map(|topic| &**topic).filter(is_hosted)
}
