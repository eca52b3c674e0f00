//! What the metadata says of this broker's partitions, brought about in the log directories.
//!
//! ```text
//!   announce, withdraw    what is to be made and removed; others see it         at once, on the controller's thread
//!   carry_out             each log by itself: opened, made, its folder renamed   side by side, on others (makers.rs)
//!   settle                log directories flushed, what was made is led          once for all that one command asked for
//! ```
//!
//! A partition whose log is not made yet answers NOT_LEADER_OR_FOLLOWER, after which clients look again. Whoever asked for it is
//! answered when it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_base::{Offset, PartitionIndex, Timestamp, TopicPartition, Uuid};
use ottla_metadata::controller::PlacedReplica;
use ottla_metadata::image::{self, MIGRATING_DIRECTORY, Topic, UNASSIGNED_DIRECTORY};
use ottla_metadata::settings::topic::TopicSettings;
use ottla_storage::{
    Error as StorageError, FolderKind, Left, Log, LogConfig, OpenLog, PartitionFolder, os, read_partition_metadata,
    write_partition_metadata, write_partition_metadata_unnamed,
};

use super::directories::Directory;
use super::partition::Partition;
use super::{Hosted, InMaking, Partitions, checkpoints, set_folder_aside};
use crate::metrics::{Totals, Traffic};
use crate::node::{clock, entropy};

/// A partition, as the metadata knows it.
type Registered = (PartitionIndex, Arc<image::Partition>);

/// A change that an image asks for.
pub enum Change {
    /// A log is to be opened, or made.
    Make(Making),
    /// The folder of a deleted topic's partition is to be renamed.
    Remove(Arc<Partition>),
    /// So is what lies there of one that could not be opened, if it is of this topic: the disk may be full of it.
    RemoveUnserved(TopicPartition, Uuid),
}

/// A log to be opened or made.
pub struct Making {
    topic: Arc<Topic>,
    index: PartitionIndex,
    registration: Arc<image::Partition>,
    /// Where a new one comes to lie; none is chosen for one that was found.
    home: ottla_storage::Result<Option<Arc<Directory>>>,
}

/// What came of a change.
pub enum Done {
    /// A log that was opened or made, in this directory, with these settings.
    Opened(Box<Opened>),
    /// It could not be.
    Failed(Arc<Topic>, PartitionIndex, StorageError),
    /// The folder in this directory was renamed.
    Removed(Arc<Directory>),
    /// Nothing, as where the topic was deleted meanwhile.
    Nothing,
}

/// See [`Done`].
pub struct Opened {
    topic: Arc<Topic>,
    index: PartitionIndex,
    registration: Arc<image::Partition>,
    settings: Arc<TopicSettings>,
    log: Log,
    home: Arc<Directory>,
    /// It was not found at the start.
    is_new: bool,
}

/// See [`Partitions::unsettled`].
pub struct Unsettled(Vec<(Arc<Topic>, PartitionIndex, OpenLog)>);

impl Change {
    /// What is to be said if nobody knows what came of it.
    pub fn if_unknown(&self) -> Done {
        let Self::Make(making) = self else { return Done::Nothing };
        let (path, detail) = (making.name().to_string().into(), "who was to make it has panicked".to_owned());
        Done::Failed(making.topic.clone(), making.index, StorageError::Unusable { path, detail })
    }
}

impl Making {
    fn name(&self) -> TopicPartition {
        TopicPartition::new(&*self.topic.name, self.index.0)
    }
}

/// A log that was found, and is put back unless it is taken: it is tried again, and never lost sight of, also by a panic. An empty
/// log must not come into its place.
pub(super) struct FoundLog<'a> {
    partitions: &'a Partitions,
    name: &'a TopicPartition,
    log: Option<Log>,
}

impl<'a> FoundLog<'a> {
    /// Takes it up, if it was found.
    pub fn take_up(partitions: &'a Partitions, name: &'a TopicPartition) -> Option<Self> {
        let log = partitions.found().remove(name)?;
        Some(Self { partitions, name, log: Some(log) })
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("it is taken once, at last")
    }

    fn take(mut self) -> Log {
        self.log.take().expect("it is taken once")
    }
}

impl Drop for FoundLog<'_> {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            self.partitions.found().insert(self.name.clone(), log);
        }
    }
}

/// A partition that is led already, as the metadata has it.
type Led = (Arc<Partition>, Arc<image::Partition>);

impl Hosted {
    fn new(id: Uuid, settings: Arc<TopicSettings>) -> Self {
        Self {
            id,
            settings,
            partitions: Vec::new(),
            making: BTreeMap::new(),
            failed: BTreeSet::new(),
            unserved: Traffic::default(),
        }
    }

    /// What was counted of all its partitions.
    pub(super) fn totals(&self) -> Totals {
        let served = self.partitions.iter().flatten().map(|partition| partition.traffic.totals());
        served.fold(self.unserved.totals(), Totals::plus)
    }
}

impl Partitions {
    /// Configures what `topic` has on this broker already, and says what is to be made.
    pub fn announce(&self, topic: &Arc<Topic>, settings: &Arc<TopicSettings>) -> Vec<Change> {
        let (there, wanted) = self.note_hosted(topic, settings);
        for (partition, registration) in there {
            partition.configure(settings.clone(), self.log_config(settings));
            partition.lead_on(&registration);
        }
        let mut placed = Vec::new();
        let making = wanted.into_iter().map(|(index, registration)| {
            let name = TopicPartition::new(&*topic.name, index.0);
            // Of one of which it is not known yet where the log lies that counts, neither is one chosen.
            let is_found = self.found().contains_key(&name) || self.may_settle_again(&name);
            let home = (!is_found).then(|| self.directory_for(&name, &registration, &mut placed)).transpose();
            Making { topic: topic.clone(), index, registration, home }
        });
        let making: Vec<Making> = making.collect();
        let mut topics = self.topics.write().expect("nobody panics while holding this lock");
        let hosted = topics.get_mut(&*topic.name).expect("only the controller's thread adds and removes topics");
        hosted.making.extend(making.iter().map(|making| {
            let home = making.home.as_ref().ok().cloned().flatten();
            (making.index.0, InMaking { home, registration: making.registration.clone() })
        }));
        making.into_iter().map(Change::Make).collect()
    }

    /// Stops hosting a topic, and says which folders are to be renamed. They are removed after `file.delete.delay.ms`.
    pub fn withdraw(&self, topic: &str) -> Vec<Change> {
        // It is of its logs that nobody knows which one counts, not of those of the next topic of that name.
        self.doubtful().retain(|name, _| name.topic != topic);
        let Some(Hosted { id, partitions, making, failed, .. }) = self.take_out(topic) else { return Vec::new() };
        let served = partitions.into_iter().flatten().map(|partition| {
            partition.end();
            Change::Remove(partition)
        });
        let unserved: BTreeSet<i32> = making.into_keys().chain(failed).collect();
        let unserved = unserved.into_iter().map(|index| Change::RemoveUnserved(TopicPartition::new(topic, index), id));
        served.chain(unserved).collect()
    }

    /// What was counted of a topic is kept before anybody can look and miss it: counters do not go down.
    fn take_out(&self, topic: &str) -> Option<Hosted> {
        let mut topics = self.topics.write().expect("nobody panics while holding this lock");
        let removed = topics.remove(topic)?;
        self.departed.add(removed.totals());
        Some(removed)
    }

    /// Carries out one change. Changes of one topic come one after the other, but for those that one command asked for.
    pub fn carry_out(&self, change: Change, now_ms: Timestamp) -> Done {
        match change {
            Change::Make(making) => self.make(making, now_ms),
            Change::Remove(partition) => self.remove(&partition, now_ms),
            Change::RemoveUnserved(name, topic_id) => self.remove_unserved(&name, topic_id, now_ms),
        }
    }

    /// Has on the disk what was changed in the log directories, and leads what was made.
    ///
    /// # Errors
    /// The first failure of all; such a partition answers KAFKA_STORAGE_ERROR, and is tried again when its topic changes, or when
    /// there is room, or are files, again.
    pub fn settle(&self, done: Vec<Done>, now_ms: Timestamp) -> ottla_storage::Result<()> {
        let mut unflushed = self.flush_touched(&done);
        let (mut failure, mut given_up) = (None, Vec::new());
        for done in done {
            match done {
                Done::Opened(opened) => match unflushed.get(opened.home.path()).filter(|_| opened.is_new) {
                    None => given_up.extend(self.lead(*opened, now_ms)),
                    Some(error) => self.give_back(*opened, error, now_ms),
                },
                Done::Failed(topic, index, error) => {
                    self.note_failed(&topic, index, &error);
                    failure.get_or_insert(error);
                }
                Done::Removed(_) | Done::Nothing => {}
            }
        }
        unflushed.append(&mut self.flush_touched(&given_up));
        let failure = failure.or_else(|| unflushed.into_values().next());
        failure.map_or(Ok(()), Err)
    }

    /// What is to be led of `done`, as it is to be opened should whoever settles it panic.
    pub fn unsettled(&self, done: &[Done]) -> Unsettled {
        let opened = done.iter().filter_map(|done| match done {
            Done::Opened(opened) => Some(opened),
            _ => None,
        });
        let unsettled = opened.map(|opened| {
            let Opened { topic, index, log, .. } = &**opened;
            (Arc::clone(topic), *index, self.opened_again(log))
        });
        Unsettled(unsettled.collect())
    }

    /// Whoever settled these has panicked: what is not led is tried again later, from where it was.
    pub fn open_later(&self, Unsettled(unsettled): Unsettled, now_ms: Timestamp) {
        for (topic, index, options) in unsettled {
            let (path, detail) =
                (options.topic_partition.to_string().into(), "who was to lead it has panicked".to_owned());
            if self.put_back(&topic, index, OpenLog { now_ms, ..options }) {
                self.note_failed(&topic, index, &StorageError::Unusable { path, detail });
            }
        }
    }

    /// The name of this log's folder may not be on the disk. It is tried again from where it was: a log that was opened late has lost
    /// what was known of it.
    fn give_back(&self, opened: Opened, error: &StorageError, now_ms: Timestamp) {
        let Opened { topic, index, log, .. } = opened;
        let options = OpenLog { now_ms, ..self.opened_again(&log) };
        // The next attempt may begin as soon as this one is known to have failed.
        drop(log);
        self.put_back(&topic, index, options);
        self.note_failed(&topic, index, error);
    }

    /// How a log that was opened, and is not led, is opened again.
    fn opened_again(&self, log: &Log) -> OpenLog {
        OpenLog {
            topic_partition: log.topic_partition().clone(),
            left: Left::Unknown,
            recovery_point: log.recovery_checkpoint(),
            log_start_offset: log.start_offset(),
            now_ms: 0,
            producers: self.producers.clone(),
        }
    }

    /// Remembers how to open a log that was to be led; says whether it still is to be, and is not led already.
    fn put_back(&self, topic: &Topic, index: PartitionIndex, options: OpenLog) -> bool {
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        let hosted = topics.get(&*topic.name).filter(|hosted| hosted.id == topic.id);
        let is_wanted = hosted.is_some_and(|hosted| hosted.making.contains_key(&index.0));
        if is_wanted {
            self.unopened().insert(options.topic_partition.clone(), options);
        }
        is_wanted
    }

    /// Has the names on the disk that were changed in the log directories; gives those that could not be flushed.
    fn flush_touched(&self, done: &[Done]) -> BTreeMap<PathBuf, StorageError> {
        let touched: Vec<&Arc<Directory>> = done.iter().filter_map(Done::touched).collect();
        let is_touched = |directory: &&Arc<Directory>| touched.iter().any(|touched| touched.path() == directory.path());
        let mut unflushed = BTreeMap::new();
        for directory in self.directories.iter().filter(is_touched) {
            let path = directory.path();
            if let Err(error) = os::sync_folder(path).map_err(StorageError::io("flush", path)) {
                tracing::error!(directory = %path.display(), %error, "what was made or removed there may not stay so");
                directory.on_error(&error);
                unflushed.insert(path.to_owned(), error);
            }
        }
        unflushed
    }

    /// Takes a topic into the list with what is led of it; gives the partitions that are there, and those that are to be.
    fn note_hosted(&self, topic: &Topic, settings: &Arc<TopicSettings>) -> (Vec<Led>, Vec<Registered>) {
        let (mut there, mut wanted) = (Vec::new(), Vec::new());
        let mut topics = self.topics.write().expect("nobody panics while holding this lock");
        let hosted = topics.entry(topic.name.to_string()).or_insert_with(|| Hosted::new(topic.id, settings.clone()));
        assert_eq!(hosted.id, topic.id, "a topic is withdrawn before another one of its name is announced");
        hosted.settings = settings.clone();
        let failed_before = std::mem::take(&mut hosted.failed);
        for (&index, registration) in topic.partitions.iter() {
            let place = usize::try_from(index.0).expect("partitions are numbered from 0");
            if hosted.partitions.len() <= place {
                hosted.partitions.resize(place + 1, None);
            }
            if registration.leader != Some(self.local) {
                let is_here = registration.is_replica(self.local) && self.is_offline(registration);
                if hosted.partitions[place].is_none() && is_here {
                    hosted.failed.insert(index.0);
                }
                continue;
            }
            match &hosted.partitions[place] {
                Some(partition) => there.push((partition.clone(), registration.clone())),
                None => {
                    // It answers as before while it is tried again.
                    hosted.failed.extend(failed_before.get(&index.0));
                    match hosted.making.get_mut(&index.0) {
                        Some(making) => making.registration = registration.clone(),
                        None => wanted.push((index, registration.clone())),
                    }
                }
            }
        }
        (there, wanted)
    }

    fn make(&self, making: Making, now_ms: Timestamp) -> Done {
        let settings = {
            let topics = self.topics.read().expect("nobody panics while holding this lock");
            let hosted = topics.get(&*making.topic.name).filter(|hosted| hosted.id == making.topic.id);
            match hosted {
                Some(hosted) => hosted.settings.clone(),
                None => return Done::Nothing,
            }
        };
        let (topic, index, registration) = (making.topic.clone(), making.index, making.registration.clone());
        match self.open_or_create(making, &self.log_config(&settings), now_ms) {
            Ok((log, home, is_new)) => {
                Done::Opened(Box::new(Opened { topic, index, registration, settings, log, home, is_new }))
            }
            Err(error) => Done::Failed(topic, index, error),
        }
    }

    /// Leads a log from now on; or gives it up, if its topic was deleted meanwhile: what came of that is given back.
    fn lead(&self, opened: Opened, now_ms: Timestamp) -> Option<Done> {
        let Opened { topic, index, mut registration, mut settings, log, home, .. } = opened;
        self.note_place(topic.id, index, &registration, &home);
        let checkpointed = self.high_watermarks.get(log.topic_partition()).copied().unwrap_or_default();
        let partition = Partition::lead(topic.id, log, home, settings.clone(), self.local, &registration, checkpointed);
        let partition = Arc::new(partition);
        loop {
            let mut topics = self.topics.write().expect("nobody panics while holding this lock");
            let Some(hosted) = topics.get_mut(&*topic.name).filter(|hosted| hosted.id == topic.id) else { break };
            if let Some(making) = hosted.making.get(&index.0)
                && !Arc::ptr_eq(&making.registration, &registration)
            {
                // There was an election since.
                registration = making.registration.clone();
                partition.lead_on(&registration);
            }
            if Arc::ptr_eq(&hosted.settings, &settings) {
                let place = usize::try_from(index.0).expect("partitions are numbered from 0");
                hosted.making.remove(&index.0);
                hosted.failed.remove(&index.0);
                hosted.partitions[place] = Some(partition.clone());
                drop(topics);
                self.go_on_moving(&partition, now_ms);
                return None;
            }
            // They were changed since it was opened.
            settings = hosted.settings.clone();
            drop(topics);
            partition.configure(settings.clone(), self.log_config(&settings));
        }
        partition.end();
        Some(self.remove(&partition, now_ms))
    }

    fn note_failed(&self, topic: &Topic, index: PartitionIndex, error: &StorageError) {
        let mut topics = self.topics.write().expect("nobody panics while holding this lock");
        let Some(hosted) = topics.get_mut(&*topic.name).filter(|hosted| hosted.id == topic.id) else { return };
        hosted.making.remove(&index.0);
        let is_told = !hosted.failed.insert(index.0);
        drop(topics);
        let lacks_files = error.lacks_files();
        if lacks_files {
            self.lacks_files.store(true, Ordering::Relaxed);
        }
        let partition = TopicPartition::new(&*topic.name, index.0);
        // They may be thousands.
        let is_quiet = match lacks_files {
            true => is_told || self.unopened_for_files.add(clock::now().monotonic).is_none(),
            // It is tried again as often as there may be room.
            false => is_told && error.is_full(),
        };
        match is_quiet {
            true => tracing::debug!(%partition, %error, "cannot open the log, for want of files or room"),
            false => tracing::error!(%partition, %error, "cannot open the log; the partition is not served"),
        }
    }

    fn remove(&self, partition: &Partition, now_ms: Timestamp) -> Done {
        let delay_ms = partition.settings().file_delete_delay_ms;
        let name = PartitionFolder::name_of(&partition.name, FolderKind::Deleted, Uuid::random(entropy));
        // Where it has just moved, its old folder is still to be renamed.
        let _leaving = partition.move_state.leaving();
        let renamed = partition.rename_folder(&name);
        // Nobody begins another move now: the partition is known to be gone.
        if let Some(copy) = partition.cancel_move() {
            self.doom(copy, now_ms);
        }
        match renamed {
            Ok(folder) => {
                self.cleaner.forget(folder.parent().expect("it lies in a log directory"), &partition.name);
                self.doom(folder, now_ms.saturating_add(delay_ms));
                Done::Removed(partition.home())
            }
            Err(error) => {
                partition.home().on_error(&error);
                tracing::error!(partition = %partition.name, %error, "cannot rename the folder of a deleted topic");
                Done::Nothing
            }
        }
    }

    fn remove_unserved(&self, name: &TopicPartition, topic_id: Uuid, now_ms: Timestamp) -> Done {
        self.unopened().remove(name);
        drop(self.found().remove(name));
        let copy = self.futures().remove(name);
        copy.into_iter().for_each(|copy| self.doom(copy, now_ms));
        let mut done = Done::Nothing;
        for directory in self.directories.iter().filter(|directory| directory.is_online()) {
            let folder = directory.path().join(name.to_string());
            let is_of_topic = read_partition_metadata(&folder).map(|id| id.is_none_or(|id| id == topic_id));
            if !(os::exists(&folder).unwrap_or(false) && is_of_topic.unwrap_or(false)) {
                continue;
            }
            let to = folder.with_file_name(PartitionFolder::name_of(name, FolderKind::Deleted, Uuid::random(entropy)));
            match os::rename(&folder, &to).map_err(StorageError::io("rename", &folder)) {
                Ok(()) => {
                    self.doom(to, now_ms);
                    done = Done::Removed(Arc::clone(directory));
                }
                Err(error) => {
                    directory.on_error(&error);
                    tracing::error!(partition = %name, %error, "cannot rename the folder of a deleted topic");
                }
            }
        }
        done
    }

    fn open_or_create(
        &self,
        making: Making,
        config: &LogConfig,
        now_ms: Timestamp,
    ) -> ottla_storage::Result<(Log, Arc<Directory>, bool)> {
        let (name, topic_id) = (making.name(), making.topic.id);
        let superfluous = self.settle_again(&name)?;
        if superfluous.is_some() {
            self.doubt_if_elsewhere(&name, &making.registration);
        }
        self.check_not_doubtful(&name)?;
        if let Some(mut log) = FoundLog::take_up(self, &name) {
            let home = self.home_of(log.log()).expect("it was found in one of the log directories").clone();
            match self.take_up(log.log(), &home, topic_id, config, now_ms) {
                Ok(true) => {
                    // There was no room where they lie.
                    superfluous.into_iter().flatten().for_each(|folder| self.doom(folder, now_ms));
                    return Ok((log.take(), home, false));
                }
                // It was set aside.
                Ok(false) => drop(log.take()),
                Err(error) => {
                    home.on_error(&error);
                    return Err(error);
                }
            }
        }
        let home = match &making.home {
            Ok(Some(home)) => home.clone(),
            // That of another topic was found in its place.
            Ok(None) => self.directory_for(&name, &making.registration, &mut Vec::new())?,
            Err(_) => return Err(making.home.expect_err("it was looked at")),
        };
        let opened = self.open_in(&home, &name, topic_id, config, now_ms);
        opened.inspect_err(|error| home.on_error(error)).map(|log| (log, home, true))
    }

    /// Opens or makes the log of a partition. That its folder is there is on the disk once the log directory is flushed.
    fn open_in(
        &self,
        home: &Directory,
        name: &TopicPartition,
        topic_id: Uuid,
        config: &LogConfig,
        now_ms: Timestamp,
    ) -> ottla_storage::Result<Log> {
        let folder = home.path().join(name.to_string());
        self.make_room(name, &folder, topic_id)?;
        let is_new = !os::exists(&folder).map_err(StorageError::io("look for", &folder))?;
        if is_new {
            // Where its volume was unmounted, a mount point remains in which folders can be made.
            home.check_there()?;
        }
        // It is known of the log that lies here.
        let known = self.unopened().get(name).filter(|_| !is_new).cloned();
        if known.is_none() {
            checkpoints::forget(home, name)?;
            self.cleaner.forget_predecessor(home.path(), name)?;
        }
        let options = known.unwrap_or_else(|| OpenLog {
            topic_partition: name.clone(),
            // What lies there was left by an attempt that failed.
            left: Left::Unknown,
            recovery_point: Offset(0),
            log_start_offset: Offset(0),
            now_ms,
            producers: self.producers.clone(),
        });
        let made = || {
            os::create_folder(&folder).map_err(StorageError::io("create", &folder))?;
            // The folder is flushed when its first segment is made.
            write_partition_metadata_unnamed(&folder, topic_id)
        };
        let made = if is_new { made() } else { Ok(()) };
        let opened = made.and_then(|()| Log::open_unnamed(&folder, config.clone(), options));
        if is_new && opened.as_ref().is_err_and(StorageError::lacks_files) {
            // It is tried again, or its topic goes before.
            os::remove_folder(&folder).map_err(StorageError::io("remove", &folder))?;
        }
        let (mut log, _) = opened?;
        if log.owes_flush() {
            log.flush(now_ms)?;
        }
        if !is_new {
            write_partition_metadata(&folder, topic_id)?;
        }
        self.unopened().remove(name);
        self.wishes().remove(name);
        if let Some(recovery_point) = self.missing().remove(name) {
            tracing::warn!(
                partition = %name, directory = %home.path().display(), %recovery_point,
                "a log that was there before is gone with its folder, and was made anew: its records, up to the recovery point at \
                 least, are lost, unless the topic was deleted and made again"
            );
        }
        Ok(log)
    }

    /// Whether a log that was found is that of this topic; it follows its settings from then on. What these call safe is on
    /// the disk then.
    fn take_up(
        &self,
        log: &mut Log,
        home: &Directory,
        topic_id: Uuid,
        config: &LogConfig,
        now_ms: Timestamp,
    ) -> ottla_storage::Result<bool> {
        if let Some(failure) = home.failure() {
            return Err(StorageError::Unusable { path: log.folder().to_owned(), detail: failure.to_owned() });
        }
        if !self.claim(log, topic_id)? {
            return Ok(false);
        }
        log.configure(config.clone());
        if log.owes_flush() {
            log.flush(now_ms)?;
        }
        Ok(true)
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
        let exists = os::exists(folder).map_err(StorageError::io("look for", folder))?;
        if !exists || read_partition_metadata(folder)?.is_none_or(|id| id == topic_id) {
            return Ok(());
        }
        self.unopened().remove(name);
        set_folder_aside(name, folder)
    }

    /// Where the partition's folder lies already, in whatever state, or where a new one is to be: in the directory that was asked
    /// for, or else the one that the metadata says.
    ///
    /// # Errors
    /// It may lie in a directory that is offline: an empty log must not come into its place. Or there may be a better one than that
    /// which is there.
    fn directory_for(
        &self,
        name: &TopicPartition,
        registration: &image::Partition,
        placed: &mut Vec<usize>,
    ) -> ottla_storage::Result<Arc<Directory>> {
        let online = || self.directories.iter().filter(|directory| directory.is_online());
        self.check_not_doubtful(name)?;
        for directory in online() {
            let folder = directory.path().join(name.to_string());
            let exists = os::exists(&folder).map_err(StorageError::io("look for", &folder));
            if exists.inspect_err(|error| directory.on_error(error))? {
                return Ok(directory.clone());
            }
        }
        let wished = self.wishes().get(name).filter(|directory| directory.is_online()).cloned();
        if let Some(directory) = wished {
            return Ok(directory);
        }
        let assigned = registration.directory(self.local);
        if let Some(directory) = online().find(|directory| directory.id().is_some() && directory.id() == assigned) {
            return Ok(directory.clone());
        }
        let is_new = self.has_started.load(Ordering::Relaxed);
        // A metadata.version before directories tells new partitions from old ones at no time.
        let names_none =
            |registration: &image::Partition| registration.directory(self.local) == Some(MIGRATING_DIRECTORY);
        match self.directories.iter().find(|directory| !directory.is_online()) {
            Some(offline) if !is_new || self.is_offline(registration) || names_none(registration) => {
                let detail = format!("it may lie in {}, which is offline", offline.path().display());
                Err(StorageError::Unusable { path: offline.path().join(name.to_string()), detail })
            }
            _ => self.emptiest_directory(placed).cloned(),
        }
    }

    /// # Errors
    /// There may be a better log of it than the one that can be read.
    fn check_not_doubtful(&self, name: &TopicPartition) -> ottla_storage::Result<()> {
        self.doubtful().get(name).map_or(Ok(()), |doubt| {
            let detail = doubt.to_string();
            Err(StorageError::Unusable { path: name.to_string().into(), detail })
        })
    }

    /// The directory with the fewest partitions takes the next one, as in Kafka; one that is full only if all are. Those that are
    /// cordoned take none, but for the first of them where there is no other: the partition was placed on this broker before, or by a
    /// metadata.version that knows nothing of it. `placed` begins empty, and says then how many each has, with those of a topic
    /// that is being announced.
    fn emptiest_directory(&self, placed: &mut Vec<usize>) -> ottla_storage::Result<&Arc<Directory>> {
        if placed.is_empty() {
            *placed = self.count_by_directory();
        }
        let online = self.directories.iter().enumerate().filter(|(_, directory)| directory.is_online());
        let fewest = online.min_by_key(|(index, directory)| match directory.is_cordoned() {
            true => (true, directory.is_full(), 0),
            false => (false, directory.is_full(), placed[*index]),
        });
        let Some((index, directory)) = fewest else {
            let detail = "no log directory is online".to_owned();
            return Err(StorageError::Unusable { path: self.directories[0].path().to_owned(), detail });
        };
        placed[index] += 1;
        Ok(directory)
    }

    /// Whether this broker's replica lies in a directory that is not online, as far as the metadata knows.
    fn is_offline(&self, registration: &image::Partition) -> bool {
        match registration.directory(self.local) {
            None | Some(UNASSIGNED_DIRECTORY | MIGRATING_DIRECTORY) => false,
            id => !self.directories.iter().any(|directory| directory.is_online() && directory.id() == id),
        }
    }

    /// Remembers to tell the controller where a replica lies, if it does not know.
    fn note_place(&self, topic_id: Uuid, partition: PartitionIndex, registration: &image::Partition, home: &Directory) {
        let known = registration.directory(self.local);
        if let (Some(known), Some(directory)) = (known, home.id())
            && known != directory
        {
            let placed = PlacedReplica { topic_id, partition, directory };
            self.misplaced.lock().expect("nobody panics while holding this lock").push(placed);
        }
    }

    fn count_by_directory(&self) -> Vec<usize> {
        let mut counts = vec![0; self.directories.len()];
        let mut count = |folder: &Path| {
            if let Some(index) = self.directories.iter().position(|directory| directory.holds(folder)) {
                counts[index] += 1;
            }
        };
        // Any name will do for a folder that is not there yet.
        let topics = self.topics.read().expect("nobody panics while holding this lock");
        let making = topics.values().flat_map(|hosted| hosted.making.values());
        let making = making.filter_map(|making| making.home.as_ref());
        making.for_each(|directory| count(&directory.path().join("new")));
        drop(topics);
        // Without their logs' locks, which a disk that does not answer may hold up.
        for partition in self.all() {
            count(&partition.home().path().join("hosted"));
        }
        self.found().values().for_each(|log| count(log.folder()));
        counts
    }

    fn log_config(&self, settings: &TopicSettings) -> LogConfig {
        LogConfig {
            segment_bytes: settings.segment_bytes,
            segment_ms: match settings.max_compaction_lag_ms {
                // A record in the segment that grows is not compacted, however old it is.
                Some(lag_ms) if settings.compact => settings.segment_ms.min(lag_ms),
                _ => settings.segment_ms,
            },
            segment_jitter_ms: settings.segment_jitter_ms,
            segment_index_bytes: settings.segment_index_bytes,
            retention_ms: settings.retention_ms,
            retention_bytes: settings.retention_bytes,
            delete: settings.delete,
            compact: settings.compact,
            index_interval_bytes: settings.index_interval_bytes,
            flush_messages: settings.flush_messages,
            flush_ms: settings.flush_ms,
            flush_before_ack: settings.flush_before_ack,
            file_delete_delay_ms: settings.file_delete_delay_ms,
            preallocate: settings.preallocate,
            producer_id_expiration_ms: self.producer_id_expiration_ms.load(Ordering::Relaxed),
        }
    }
}

impl Done {
    /// The directory in which names have changed, if that is not on the disk yet.
    fn touched(&self) -> Option<&Arc<Directory>> {
        match self {
            Self::Opened(opened) => opened.is_new.then_some(&opened.home),
            Self::Removed(home) => Some(home),
            Self::Failed(..) | Self::Nothing => None,
        }
    }
}
