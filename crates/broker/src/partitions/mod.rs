//! The partitions that this node hosts, in its log directories: found by name, made and removed as the metadata says.

pub mod append;
pub mod checkpoints;
pub mod cleaner;
pub mod closing;
pub mod directories;
pub mod disks;
pub mod flusher;
pub mod hosting;
pub mod housekeeping;
pub mod leader;
pub mod makers;
pub mod mover;
pub mod moving;
pub mod parked;
pub mod partition;
mod startup;
#[cfg(test)]
mod tests;
mod turns;
mod twice;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use ottla_base::{BrokerId, Offset, Timestamp, TopicPartition, Uuid};
use ottla_metadata::controller::PlacedReplica;
use ottla_metadata::image::{self, Image, Topic};
use ottla_metadata::settings::topic::TopicSettings;
use ottla_protocol::error::ErrorCode;
use ottla_storage::{
    Error as StorageError, FolderKind, Log, LogDirectory, OpenLog, PartitionFolder, ProducerCount, os,
    read_partition_metadata, remove_log_folder, rename_folder,
};

use self::cleaner::Cleaner;
use self::directories::{Directory, Watch};
use self::mover::Moves;
use self::moving::Begun;
use self::partition::Partition;
use crate::config::Config;
use crate::controller::metadata_log::Found;
use crate::metrics::{Totals, Traffic};
use crate::node::entropy;
use crate::seldom::Seldom;

use self::startup::Rival;
use self::twice::Doubt;

pub use startup::{Loaded, open_directories};

/// How long a folder that could not be removed is left alone.
const REMOVED_AGAIN_AFTER_MS: i64 = 60_000;
/// So many wishes of where a replica is to be made are remembered.
const WISHES_MAX: usize = 10_000;

/// A topic, as far as it is hosted here.
struct Hosted {
    id: Uuid,
    settings: Arc<TopicSettings>,
    /// By number; `None` where another broker has it, or its log is not made yet or cannot be opened.
    partitions: Vec<Option<Arc<Partition>>>,
    /// Those whose log is being made.
    making: BTreeMap<i32, InMaking>,
    /// Those whose log cannot be opened, or lies in a log directory that is offline.
    failed: BTreeSet<i32>,
    /// What was asked of partitions that are not served here.
    unserved: Traffic,
}

/// A partition whose log is being made.
struct InMaking {
    /// The directory that was chosen for it, if it is a new one.
    home: Option<Arc<Directory>>,
    /// As the metadata has it by now.
    registration: Arc<image::Partition>,
}

/// A folder that waits to be removed, so that readers can finish.
struct Doomed {
    folder: PathBuf,
    due_ms: Timestamp,
    /// It could not be removed when it was due, and is left alone until it is again.
    is_stuck: bool,
}

/// All hosted partitions.
pub struct Partitions {
    local: BrokerId,
    directories: Vec<Arc<Directory>>,
    /// Wakes whoever looks after them.
    watch: Arc<Watch>,
    /// The logs that lie there, and for which there was no room when they were to be opened.
    unopened: Mutex<BTreeMap<TopicPartition, OpenLog>>,
    /// Partitions of which there may be a better log than the one that can be read: that one is not served.
    doubtful: Mutex<BTreeMap<TopicPartition, Doubt>>,
    /// Logs with the name of one that was found, and of other topics.
    rivals: Mutex<Vec<Rival>>,
    /// Replicas that lie in another directory than the metadata says.
    misplaced: Mutex<Vec<PlacedReplica>>,
    /// This start has given the node its papers: no directory that could be read had any.
    is_formatted_now: bool,
    /// The partitions that were there before the broker was started are hosted.
    has_started: AtomicBool,
    producer_id_expiration_ms: AtomicI64,
    topics: RwLock<HashMap<String, Hosted>>,
    /// Some log could not be opened because too much is open.
    lacks_files: AtomicBool,
    /// Which logs could not be opened because of that.
    unopened_for_files: Seldom,
    /// The logs that were found on the disk and whose topics the metadata has not named yet.
    found: Mutex<BTreeMap<TopicPartition, Log>>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    /// Counts the producers of all logs.
    producers: ProducerCount,
    doomed: Mutex<Vec<Doomed>>,
    /// Copies that were found on the disk, of moves that an earlier life has begun.
    futures: Mutex<BTreeMap<TopicPartition, PathBuf>>,
    /// Recovery points of logs that were not there at the start, until they are made anew.
    missing: Mutex<BTreeMap<TopicPartition, Offset>>,
    /// Directories that were asked for before the replica was there.
    wishes: Mutex<BTreeMap<TopicPartition, Arc<Directory>>>,
    /// The partitions that are being moved to another directory.
    pub moves: Moves,
    /// What was counted for partitions that are gone.
    departed: Traffic,
    /// Compacts them.
    pub cleaner: Cleaner,
}

impl Partitions {
    /// The partitions whose logs are in `loaded`; none is led before the metadata names it.
    pub fn new(config: &Config, loaded: Loaded) -> Self {
        Self {
            local: config.node_id,
            directories: loaded.directories,
            watch: loaded.watch,
            unopened: Mutex::new(loaded.unopened),
            doubtful: Mutex::new(loaded.doubtful),
            rivals: Mutex::new(loaded.rivals),
            misplaced: Mutex::default(),
            is_formatted_now: loaded.is_formatted_now,
            has_started: AtomicBool::new(false),
            producer_id_expiration_ms: AtomicI64::new(config.running.get().producer_id_expiration_ms),
            topics: RwLock::default(),
            lacks_files: AtomicBool::new(false),
            unopened_for_files: Seldom::default(),
            found: Mutex::new(loaded.logs),
            high_watermarks: loaded.high_watermarks,
            producers: loaded.producers,
            doomed: Mutex::default(),
            futures: Mutex::new(loaded.futures),
            missing: Mutex::new(loaded.missing),
            wishes: Mutex::default(),
            moves: Moves::default(),
            departed: Traffic::default(),
            cleaner: Cleaner::default(),
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

    /// Counts what is asked of a partition of `topic` that is not served here.
    pub fn count_unserved(&self, topic: &str, count: impl FnOnce(&Traffic)) {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        if let Some(hosted) = topics.get(topic) {
            count(&hosted.unserved);
        }
    }

    /// What was counted of each topic.
    pub fn totals(&self) -> (Totals, BTreeMap<String, Totals>) {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        let by_topic: BTreeMap<_, _> = topics.iter().map(|(topic, hosted)| (topic.clone(), hosted.totals())).collect();
        // Under the lock: a topic is either here or there.
        let all = by_topic.values().fold(self.departed.totals(), |all, totals| all.plus(*totals));
        (all, by_topic)
    }

    /// How many producers the logs remember.
    pub fn producer_count(&self) -> usize {
        self.producers.get()
    }

    /// Those that this broker leads: in a directory that has failed, nobody leads one.
    pub fn led(&self) -> Vec<Arc<Partition>> {
        let mut led = self.all();
        led.retain(|partition| partition.is_online());
        led
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        topics.values().flat_map(|hosted| hosted.partitions.iter().flatten().cloned()).collect()
    }

    /// Whether logs are being made in `directory`, or may be.
    fn is_making_in(&self, directory: &Directory) -> bool {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        let is_here = |topic: &str, index: i32, making: &InMaking| match &making.home {
            Some(home) => home.path() == directory.path(),
            None => {
                let folder = directory.path().join(TopicPartition::new(topic, index).to_string());
                os::exists(&folder).unwrap_or(true)
            }
        };
        let mut making = topics
            .iter()
            .flat_map(|(topic, hosted)| hosted.making.iter().map(move |(index, making)| (topic, *index, making)));
        making.any(|(topic, index, making)| is_here(topic, index, making))
    }

    /// How many cannot be served because their logs cannot be opened, or lie in a log directory that is offline.
    pub fn offline_count(&self) -> usize {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        let is_offline = |partition: &&Arc<Partition>| !partition.is_online();
        let offline =
            |hosted: &Hosted| hosted.failed.len() + hosted.partitions.iter().flatten().filter(is_offline).count();
        topics.values().map(offline).sum()
    }

    /// The log directories, in the order of `log.dirs`.
    pub fn directories(&self) -> &[Arc<Directory>] {
        &self.directories
    }

    /// The ids of the directories that are online.
    pub fn online_ids(&self) -> Vec<Uuid> {
        let online = self.directories.iter().filter(|directory| directory.is_online());
        online.filter_map(|directory| directory.id()).collect()
    }

    /// These take no new replicas from now on, and all others do.
    pub fn cordon(&self, paths: &[PathBuf]) {
        self.directories
            .iter()
            .for_each(|directory| directory.cordon(paths.iter().any(|path| path == directory.path())));
    }

    /// The ids of those that take no new replicas.
    pub fn cordoned_ids(&self) -> Vec<Uuid> {
        let cordoned = self.directories.iter().filter(|directory| directory.is_cordoned());
        cordoned.filter_map(|directory| directory.id()).collect()
    }

    /// Wakes whoever looks after the directories.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The topics of which some partition is not served because its log cannot be opened.
    pub fn failed_topics(&self) -> Vec<String> {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        let failed = topics.iter().filter(|(_, hosted)| !hosted.failed.is_empty());
        failed.map(|(name, _)| name.clone()).collect()
    }

    /// Whether some log could not be opened because the process has too much open; asking takes note of it.
    pub fn take_lacks_files(&self) -> bool {
        self.lacks_files.swap(false, Ordering::Relaxed)
    }

    /// Where the logs lie that were found on the disk, if the metadata says otherwise: they were moved while no broker ran,
    /// or it was never told. But where it says that they lie in a directory that is offline, there may be a better one, and what was
    /// found may be what a move has left: it is not served.
    pub fn misplaced_at_start(&self, image: &Image) -> Vec<PlacedReplica> {
        let misplaced = |(name, log): (&TopicPartition, &Log)| {
            let topic = image.topic(&name.topic)?;
            let known = topic.partitions.get(&name.partition)?.directory(self.local)?;
            let directory = self.home_of(log)?.id()?;
            let of_topic = read_partition_metadata(log.folder()).ok().flatten();
            if known == directory || of_topic.is_some_and(|id| id != topic.id) {
                return None;
            }
            if self.may_be_offline(known) {
                self.doubt(name, log, known);
                return None;
            }
            let placed = PlacedReplica { topic_id: topic.id, partition: name.partition, directory };
            of_topic.is_some().then_some(placed)
        };
        self.found().iter().filter_map(misplaced).collect()
    }

    /// The same of a log that was only found now.
    fn doubt_if_elsewhere(&self, name: &TopicPartition, registration: &image::Partition) {
        let known = registration.directory(self.local).filter(|known| self.may_be_offline(*known));
        if let (Some(known), Some(log)) = (known, self.found().get(name)) {
            self.doubt(name, log, known);
        }
    }

    /// Whether `name` has logs that are to be looked at again.
    fn may_settle_again(&self, name: &TopicPartition) -> bool {
        matches!(self.doubtful().get(name), Some(Doubt::NoRoom(_)))
    }

    /// Whether `id` may be that of a directory that was offline at the start already.
    fn may_be_offline(&self, id: Uuid) -> bool {
        let is_there = |directory: &Arc<Directory>| directory.is_online() && directory.id() == Some(id);
        let all_online = self.directories.iter().all(|directory| directory.is_online());
        !all_online && !startup::is_reserved(id) && !self.directories.iter().any(is_there)
    }

    /// Does not serve a log that was found, while the metadata says that the replica lies in a directory that may be offline.
    fn doubt(&self, name: &TopicPartition, log: &Log, known: Uuid) {
        let offline = self.directories.iter().filter(|directory| !directory.is_online());
        let offline: Vec<String> = offline.map(|directory| directory.path().display().to_string()).collect();
        tracing::error!(
            log = %name, found = %log.folder().display(), directory_id = %known, offline = %offline.join(", "),
            "{}: it answers KAFKA_STORAGE_ERROR. Start the broker again when all log directories can be read; or, if those that are \
             offline are lost, without them in log.dirs: then what was found is served, with the records that it has", Doubt::Elsewhere
        );
        self.doubtful().insert(name.clone(), Doubt::Elsewhere);
    }

    /// The replicas that have come to lie in another directory than the metadata said, since this was asked last.
    pub fn take_misplaced(&self) -> Vec<PlacedReplica> {
        std::mem::take(&mut *self.misplaced.lock().expect("nobody panics while holding this lock"))
    }

    /// They could not be noted, and are to be told again.
    pub fn add_misplaced(&self, replicas: Vec<PlacedReplica>) {
        self.misplaced.lock().expect("nobody panics while holding this lock").extend(replicas);
    }

    /// What the metadata named at the start is hosted; what it names from now on is new.
    pub fn has_started(&self) {
        self.has_started.store(true, Ordering::Relaxed);
    }

    /// The log directory that a log lies in.
    fn home_of(&self, log: &Log) -> Option<&Arc<Directory>> {
        self.directories.iter().find(|directory| directory.holds(log.folder()))
    }

    /// Begins to move a partition to another directory; or, where that is its own, ends a move.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR where one of the directories is offline, INVALID_TOPIC_EXCEPTION where there can be no folder for the
    /// copy, since its name would be too long.
    pub fn move_to(
        &self,
        partition: &Arc<Partition>,
        target: &Arc<Directory>,
        now_ms: Timestamp,
    ) -> Result<(), ErrorCode> {
        if !target.is_online() || !partition.is_online() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let ended = if partition.home().path() == target.path() {
            partition.cancel_move()
        } else {
            let folder = PartitionFolder::name_of(&partition.name, FolderKind::Future, Uuid::random(entropy));
            if !folder.starts_with(&partition.name.to_string()) {
                return Err(ErrorCode::InvalidTopicException);
            }
            // Whoever is told that the move has begun finds it going on after a kill.
            let path = target.path().join(&folder);
            let create = || os::create_folder(&path).map_err(StorageError::io("create", &path));
            if let Err(error) = target.check_there().and_then(|()| create()) {
                tracing::error!(partition = %partition.name, %error, "cannot begin to move it");
                target.on_error(&error);
                return Err(ErrorCode::KafkaStorageError);
            }
            match partition.begin_move(target, folder) {
                Ok(Begun::Anew(ended)) => {
                    self.moves.add(partition);
                    ended
                }
                // It is on its way there already.
                Ok(Begun::Before) => Some(path),
                Err(code) => {
                    self.doom(path, now_ms);
                    return Err(code);
                }
            }
        };
        if let Some(copy) = ended {
            self.doom(copy, now_ms);
        }
        Ok(())
    }

    /// Remembers, until this broker is stopped, in which directory the replica of a partition is to be made that is not here yet.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR where that is offline.
    pub fn wish_for(&self, name: TopicPartition, target: &Arc<Directory>) -> Result<(), ErrorCode> {
        if !target.is_online() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let mut wishes = self.wishes();
        if wishes.len() < WISHES_MAX || wishes.contains_key(&name) {
            wishes.insert(name, target.clone());
        } else {
            tracing::warn!(partition = %name, "{WISHES_MAX} directories were asked for before the partitions were made: no more are remembered");
        }
        Ok(())
    }

    fn wishes(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<Directory>>> {
        self.wishes.lock().expect("nobody panics while holding this lock")
    }

    /// Goes on with a move that an earlier life of the broker has begun.
    fn go_on_moving(&self, partition: &Arc<Partition>, now_ms: Timestamp) {
        let Some(folder) = self.futures().remove(&partition.name) else { return };
        let Some(target) = self.directories.iter().find(|directory| directory.holds(&folder)) else { return };
        if target.path() == partition.home().path() {
            return self.doom(folder, now_ms);
        }
        let id = read_partition_metadata(&folder).inspect_err(|error| target.on_error(error));
        if matches!(id, Ok(Some(id)) if id != partition.topic_id) {
            // Of a topic of this name that was deleted meanwhile.
            return self.doom(folder, now_ms);
        }
        let name = folder.file_name().expect("it lies in a directory").to_string_lossy().into_owned();
        let home = partition.home();
        if !matches!(id, Ok(Some(_))) {
            // It was just begun, or is damaged: nobody knows what it is a copy of.
            self.doom(folder, now_ms);
            return self.begin_anew(partition, target, now_ms);
        }
        if partition.settings().compact || self.cleaner.has_compacted(home.path(), &partition.name) {
            // It may have been compacted while the copy could not be reached: what was copied may have no tombstone any more.
            self.doom(folder, now_ms);
            return self.begin_anew(partition, target, now_ms);
        }
        tracing::info!(partition = %partition.name, to = %target.path().display(), "going on with a move");
        match partition.begin_move(target, name) {
            Ok(Begun::Anew(Some(copy))) => self.doom(copy, now_ms),
            Ok(_) => {}
            Err(code) => {
                tracing::error!(partition = %partition.name, ?code, "cannot go on with a move");
                return self.doom(folder, now_ms);
            }
        }
        self.moves.add(partition);
    }

    fn begin_anew(&self, partition: &Arc<Partition>, target: &Arc<Directory>, now_ms: Timestamp) {
        tracing::info!(partition = %partition.name, to = %target.path().display(), "beginning a move anew");
        if let Err(code) = self.move_to(partition, target, now_ms) {
            tracing::error!(partition = %partition.name, ?code, "cannot begin a move anew");
        }
    }

    fn missing(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Offset>> {
        self.missing.lock().expect("nobody panics while holding this lock")
    }

    fn futures(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, PathBuf>> {
        self.futures.lock().expect("nobody panics while holding this lock")
    }

    /// Of logs of one name that are of several topics, keeps the one of the topic that `image` knows, and sets the others aside.
    /// Nothing is hosted before.
    ///
    /// # Errors
    /// Two logs of one name are still there.
    pub fn settle_rivals(&self, image: &Image) -> ottla_storage::Result<()> {
        let rivals = std::mem::take(&mut *self.rivals.lock().expect("nobody panics while holding this lock"));
        for Rival { folder, topic_id, options } in rivals {
            let name = options.topic_partition.clone();
            let counts = image.topic(&name.topic).is_some_and(|topic| topic.id == topic_id);
            if counts && matches!(os::exists(&folder), Ok(false)) {
                // Set aside just now beside another one of the same topic, which serves: a move between them was interrupted.
                continue;
            }
            if counts {
                drop(self.found().remove(&name));
                self.doubtful().remove(&name);
                self.unopened().insert(name.clone(), options);
            }
            for directory in self.directories.iter().filter(|directory| directory.is_online()) {
                let other = directory.path().join(name.to_string());
                let is_superfluous = (other == folder) != counts;
                let exists = || os::exists(&other).map_err(StorageError::io("look for", &other));
                let done = match is_superfluous.then(exists).transpose() {
                    Ok(Some(true)) => set_folder_aside(&name, &other),
                    done => done.map(drop),
                };
                if let Err(error) = done {
                    directory.on_error(&error);
                    if directory.is_online() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// One of the logs that were found on the disk and are not hosted yet, if there are any; it may be one that could not be opened,
    /// or that lies in a directory that is offline, as far as that can be listed. Else such a directory, unless this node was
    /// formatted just now: one that held partitions of it would have had its papers.
    pub fn any_found(&self) -> Option<Found> {
        let found = self.found().keys().next().cloned();
        let found = found.or_else(|| self.unopened().keys().next().cloned());
        let offline = || self.directories.iter().filter(|directory| !directory.is_online());
        let found = found.or_else(|| {
            offline().find_map(|directory| {
                let folders = LogDirectory::partitions_in(directory.path()).unwrap_or_default();
                let log = folders
                    .into_iter()
                    .find(|folder| folder.kind == FolderKind::Current && folder.name != startup::METADATA_FOLDER);
                log.map(|folder| folder.partition)
            })
        });
        found.map(Found::Partition).or_else(|| {
            let unread =
                offline().find_map(|directory| Some((directory.path().to_owned(), directory.failure()?.to_owned())));
            let unread = unread.filter(|_| !self.is_formatted_now);
            unread.map(|(directory, failure)| Found::Unread { directory, failure })
        })
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
        let is_left = |name: &TopicPartition| {
            let claimed = image.topic(&name.topic).and_then(|topic| topic.partitions.get(&name.partition));
            claimed.is_some_and(|partition| partition.is_replica(self.local))
        };
        // A copy is no loss: what it is a copy of was set aside, if it is there.
        self.futures().extract_if(.., |name, _| !is_left(name)).for_each(|(_, folder)| self.doom(folder, 0));
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

    /// Whether a log of the partition lies in a directory that is online, whatever its state.
    pub fn is_found(&self, name: &TopicPartition) -> bool {
        self.found().contains_key(name) || self.unopened().contains_key(name) || self.doubtful().contains_key(name)
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

    fn doubtful(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Doubt>> {
        self.doubtful.lock().expect("nobody panics while holding this lock")
    }

    fn unopened(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, OpenLog>> {
        self.unopened.lock().expect("nobody panics while holding this lock")
    }

    /// Removes the folders of a directory whose time has come. Those that cannot be removed are tried again later.
    ///
    /// # Errors
    /// The first failure; the other folders were removed nevertheless.
    pub fn purge_doomed_in(&self, directory: &Directory, now_ms: Timestamp) -> ottla_storage::Result<()> {
        let is_due = |doomed: &mut Doomed| {
            let is_time = doomed.due_ms <= now_ms || !doomed.is_stuck && directory.is_full();
            is_time && directory.holds(&doomed.folder)
        };
        let due: Vec<Doomed> = self.doomed().extract_if(.., is_due).collect();
        let mut done = Ok(());
        for Doomed { folder, .. } in due {
            if !directory.is_online() {
                break;
            }
            match remove_log_folder(&folder) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    let due_ms = now_ms.saturating_add(REMOVED_AGAIN_AFTER_MS);
                    self.doomed().push(Doomed { folder: folder.clone(), due_ms, is_stuck: true });
                    let error = StorageError::Io { operation: "remove", path: folder, source };
                    directory.on_error(&error);
                    done = done.and(Err(error));
                }
                _ => {}
            }
        }
        done
    }

    fn doom(&self, folder: PathBuf, due_ms: Timestamp) {
        self.doomed().push(Doomed { folder, due_ms, is_stuck: false });
    }

    fn doomed(&self) -> MutexGuard<'_, Vec<Doomed>> {
        self.doomed.lock().expect("nobody panics while holding this lock")
    }
}

/// Gives the folder of a log the name of one that nobody here removes.
fn set_folder_aside(name: &TopicPartition, folder: &Path) -> ottla_storage::Result<()> {
    let to = folder.with_file_name(PartitionFolder::name_of(name, FolderKind::Stray, Uuid::random(entropy)));
    tracing::warn!(
        folder = %folder.display(), to = %to.display(),
        "another topic's log is in the way: it is set aside, and stays until somebody removes the folder"
    );
    rename_folder(folder, &to)
}

/// The topics of an image of which this node has replicas, also where it leads none of them: those may be offline, and are to say so.
pub fn hosted_topics(image: &Image, local: BrokerId) -> impl Iterator<Item = &Arc<Topic>> {
    let is_hosted = move |topic: &&Arc<Topic>| topic.partitions.values().any(|partition| partition.is_replica(local));
    image.topics().iter().filter(is_hosted)
}
