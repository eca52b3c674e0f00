//! Runs the group coordinators: one for each partition of `__consumer_offsets` that this broker leads.
//!
//! ```text
//!   handler --ask--> shard: decide -> append -> replay -> answer      (shard.rs, on the thread that asks)
//!   timers  -------> shard: what only time asks for                   (timers.rs, a thread)
//!   image   -------> shards come and go with their partitions         (here)
//!                    and read their logs to the end first             (loading.rs, a thread)
//! ```
//!
//! What is decided is the matter of `ottla_coordinator`; nothing here knows what a group is.

mod loading;
pub mod offsets_topic;
pub mod old_readers;
mod refusals;
pub mod reply;
mod shard;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use ottla_base::{BrokerId, PartitionIndex, Uuid};
use ottla_coordinator::group::{
    DeletedTopic, GroupCoordinator, Happened, LISTED_GROUP_BYTES, MetadataRoom, Request, partition_of,
};
use ottla_metadata::delta::BrokerDelta;
use ottla_metadata::image::{Image, Topic};
use ottla_protocol::error::ErrorCode;

use self::loading::Loader;
pub use self::shard::Answering;
use self::shard::{Shard, Shared};
use crate::config::Config;
use crate::partitions::Partitions;

/// What the members of all groups may take, with their assignments. Whoever would make it more has to try again later.
const MEMBERS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What groups may write to themselves with all their offsets. Once there is more, as a log may hold, only a few words at a time.
const METADATA_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A part of both that only those get who ask for little.
const RESERVED_PART: usize = 8;
/// What is little for members.
const LITTLE_BYTES: usize = 16 * 1024;

/// What a list of all groups may take, which has to fit into an answer: about 90,000 groups with names of usual length. No other
/// groups are made then.
const LISTED_BYTES_MAX: usize = 14 * 1024 * 1024;
/// More groups than these fit into no list, whatever their names.
pub const LISTED_GROUPS_MAX: usize = LISTED_BYTES_MAX / LISTED_GROUP_BYTES;
/// Longer names may take half of that.
const LONG_NAME_BYTES: usize = 512;

/// The group coordinators of this broker.
pub struct GroupCoordinators {
    config: Arc<Config>,
    shards: RwLock<Shards>,
    shared: Arc<Shared>,
    loader: Loader,
}

/// How many partitions of `__consumer_offsets` are in a state.
#[derive(Debug, Default)]
pub struct PartitionCounts {
    pub active: usize,
    pub loading: usize,
}

/// What all groups take, in bytes, and how much that may be.
pub struct Memory {
    pub members: (usize, usize),
    pub metadata: (usize, usize),
    pub list: (usize, usize),
}

/// The threads of the coordinators. Dropped, it stops the coordinators and waits until the threads have ended.
pub struct Threads {
    coordinators: Arc<GroupCoordinators>,
    running: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shards {
    /// Of `__consumer_offsets`; zero where there is no such topic.
    topic_id: Uuid,
    partition_count: i32,
    /// No others come.
    is_stopped: bool,
    by_partition: BTreeMap<PartitionIndex, Arc<Shard>>,
}

impl GroupCoordinators {
    /// None yet; they come with the first image.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(config: Arc<Config>) -> std::io::Result<(Arc<Self>, Threads)> {
        let (loader, loading) = Loader::start(config.offsets_load_buffer_bytes)?;
        let (shards, shared) = (RwLock::default(), Arc::default());
        let coordinators = Arc::new(Self { config, shards, shared, loader });
        let mut threads = Threads { coordinators: Arc::clone(&coordinators), running: vec![loading] };
        let watched = Arc::clone(&coordinators);
        let thread = std::thread::Builder::new().name("ottla-groups".to_owned());
        threads.running.push(thread.spawn(move || watched.shared.timers.run(|| watched.all()))?);
        Ok((coordinators, threads))
    }

    /// How much more the members of groups may take, for one who asks for so much.
    pub fn room_bytes(&self, asked_bytes: usize) -> usize {
        let reserved_bytes = if asked_bytes > LITTLE_BYTES { MEMBERS_BYTES_MAX / RESERVED_PART } else { 0 };
        (MEMBERS_BYTES_MAX - reserved_bytes).saturating_sub(self.shared.members_bytes.load(Ordering::Relaxed))
    }

    /// How much more metadata of offsets there may be.
    pub fn metadata_room(&self) -> MetadataRoom {
        MetadataRoom {
            bytes: METADATA_BYTES_MAX.saturating_sub(self.shared.metadata_bytes.load(Ordering::Relaxed)),
            reserved_bytes: METADATA_BYTES_MAX / RESERVED_PART,
        }
    }

    /// What groups take of each limit for all of them, and how much that may be.
    pub fn memory(&self) -> Memory {
        let load = |bytes: &AtomicUsize, max_bytes| (bytes.load(Ordering::Relaxed), max_bytes);
        Memory {
            members: load(&self.shared.members_bytes, MEMBERS_BYTES_MAX),
            metadata: load(&self.shared.metadata_bytes, METADATA_BYTES_MAX),
            list: load(&self.shared.listed_bytes, LISTED_BYTES_MAX),
        }
    }

    /// How often something was refused for want of room, by the limit's name.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.shared.refusals.counts()
    }

    /// What has happened in all groups, also in those that are another broker's by now.
    pub fn happened(&self) -> Happened {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Happened {
            completed_rebalances: load(&self.shared.completed_rebalances),
            committed_offsets: load(&self.shared.committed_offsets),
            expired_offsets: load(&self.shared.expired_offsets),
            deleted_offsets: load(&self.shared.deleted_offsets),
        }
    }

    /// In how many partitions of `__consumer_offsets` groups are served, and in how many they are being loaded.
    pub fn partition_counts(&self) -> PartitionCounts {
        let mut counts = PartitionCounts::default();
        for shard in self.all() {
            match shard.read(|_| ()) {
                Ok(()) => counts.active += 1,
                Err(ErrorCode::CoordinatorLoadInProgress) => counts.loading += 1,
                Err(_) => {}
            }
        }
        counts
    }

    /// Asks the coordinator of `group_id`. The answer may take as long as a rebalance.
    ///
    /// # Errors
    /// NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS.
    pub fn ask(&self, group_id: &str, request: Request) -> Result<Answering, ErrorCode> {
        // As in Kafka, also where the coordinator is elsewhere or not ready.
        if let Some(answer) = request.wrong(&self.config.groups) {
            return Ok(Answering::at_once(answer));
        }
        self.shard_of(group_id)?.ask(request)
    }

    /// Looks at the groups among which `group_id` is.
    ///
    /// # Errors
    /// Those of [`GroupCoordinators::ask`].
    pub fn read<T>(&self, group_id: &str, look: impl FnOnce(&GroupCoordinator) -> T) -> Result<T, ErrorCode> {
        self.shard_of(group_id)?.read(look)
    }

    /// Looks at all groups that are coordinated here, one partition after the other. Says COORDINATOR_LOAD_IN_PROGRESS where
    /// some are not loaded yet.
    pub fn read_all(&self, mut look: impl FnMut(&GroupCoordinator)) -> Result<(), ErrorCode> {
        let mut whole = Ok(());
        for shard in self.all() {
            // Those of a log that cannot be read are nobody's.
            if shard.read(&mut look) == Err(ErrorCode::CoordinatorLoadInProgress) {
                whole = Err(ErrorCode::CoordinatorLoadInProgress);
            }
        }
        whole
    }

    /// Takes what `look` gives from each partition's groups, one after the other; `tell` holds up nobody.
    pub fn read_each<T>(&self, look: impl Fn(&GroupCoordinator) -> T, mut tell: impl FnMut(T)) {
        for shard in self.all() {
            // Those that are being loaded or whose log cannot be read have nothing to tell.
            if let Ok(looked) = shard.read(&look) {
                tell(looked);
            }
        }
    }

    /// In which partition of `__consumer_offsets` a group is; nothing before there is such a topic.
    pub fn partition_of(&self, group_id: &str) -> Option<PartitionIndex> {
        let count = self.shards.read().expect("nobody panics while holding this lock").partition_count;
        (count > 0).then(|| PartitionIndex(partition_of(group_id, count)))
    }

    /// Takes over which partitions of `__consumer_offsets` this broker leads now. Before the image is published: who is told
    /// of a coordinator here finds it.
    pub fn take_over(&self, partitions: &Partitions, newer: &Arc<Image>) {
        self.shared.newest.set(Arc::clone(newer));
        self.host(partitions, newer.topic(offsets_topic::NAME).map(|topic| &**topic));
    }

    /// Forgets the offsets of topics that are gone. After they were taken over: from then on nobody commits to them. Groups
    /// that are not loaded yet compare their offsets with the topics once they are.
    pub fn forget_topics(&self, delta: &BrokerDelta) {
        let deleted = delta.deleted_topics.iter().filter(|topic| &*topic.name != offsets_topic::NAME);
        let deleted: Vec<_> =
            deleted.map(|topic| DeletedTopic { name: topic.name.to_string(), id: topic.id }).collect();
        self.all().iter().for_each(|shard| shard.forget_topics(&deleted));
    }

    /// Tells all who wait to ask another broker. From now on everybody is told so, and the threads end.
    pub fn stop(&self) {
        self.loader.stop();
        let mut shards = self.shards.write().expect("nobody panics while holding this lock");
        let former = std::mem::replace(&mut *shards, Shards { is_stopped: true, ..Shards::default() });
        drop(shards);
        // One may be waiting for its disk, and nobody else is to wait for it.
        former.by_partition.values().for_each(|shard| shard.unload());
        self.shared.timers.stop();
    }

    fn host(&self, partitions: &Partitions, topic: Option<&Topic>) {
        let local = self.config.node_id;
        let mut shards = self.shards.write().expect("nobody panics while holding this lock");
        if shards.is_stopped {
            return;
        }
        let topic_id = topic.map_or(Uuid::ZERO, |topic| topic.id);
        let is_led = |index: &PartitionIndex| topic.is_some_and(|topic| is_leader(topic, *index, local));
        let same_topic = shards.topic_id == topic_id;
        shards.by_partition.retain(|index, shard| {
            let stays = same_topic && is_led(index);
            if !stays {
                shard.unload();
            }
            stays
        });
        if !same_topic {
            shards.topic_id = topic_id;
            // Groups stay where they are when the topic gets more partitions, until the next start, as in Kafka.
            shards.partition_count = topic.map_or(0, |topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
        }
        let Some(topic) = topic else { return };
        let count = shards.partition_count;
        for (&index, _) in topic.partitions.iter().filter(|(index, _)| index.0 < count && is_led(index)) {
            if shards.by_partition.contains_key(&index) {
                continue;
            }
            // A partition whose log cannot be opened has no coordinator, and its groups are told so.
            let Ok(partition) = partitions.find(offsets_topic::NAME, index.0) else { continue };
            let shard = Arc::new(Shard::new(partition, &self.config, Arc::clone(&self.shared)));
            shards.by_partition.insert(index, Arc::clone(&shard));
            self.loader.load(shard);
        }
    }

    fn shard_of(&self, group_id: &str) -> Result<Arc<Shard>, ErrorCode> {
        let shards = self.shards.read().expect("nobody panics while holding this lock");
        if shards.partition_count == 0 {
            return Err(ErrorCode::NotCoordinator);
        }
        let index = PartitionIndex(partition_of(group_id, shards.partition_count));
        shards.by_partition.get(&index).cloned().ok_or(ErrorCode::NotCoordinator)
    }

    fn all(&self) -> Vec<Arc<Shard>> {
        self.shards.read().expect("nobody panics while holding this lock").by_partition.values().cloned().collect()
    }
}

impl Threads {
    /// Tells them to end, and does not wait for it, nor for any shard.
    pub fn stop_soon(&self) {
        self.coordinators.loader.stop();
        self.coordinators.shared.timers.stop();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.coordinators.stop();
        for thread in self.running.drain(..) {
            if let Err(panic) = thread.join()
                && !std::thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn is_leader(topic: &Topic, index: PartitionIndex, broker: BrokerId) -> bool {
    topic.partitions.get(&index).is_some_and(|partition| partition.leader == Some(broker))
}
