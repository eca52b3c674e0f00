//! The image of a cluster: what every node knows of it, built from the metadata log record by record.
//!
//! ```text
//!   records --apply--> Image --clone, Arc--> readers          one writer, many readers that never wait
//!              ^         |
//!              |         v
//!              +----- snapshot                                 image -> records -> the same image
//! ```
//!
//! A copy costs a few reference counts, and applying a record copies only what it touches, so a writer may hand out a
//! copy after every batch. It is not a store: nothing here is written to disk, and nothing here decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_base::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerId, SharedMap, Uuid};

use self::kept::AllKept;
use crate::version::MetadataVersion;

mod apply;
mod broker;
mod config;
mod kept;
mod security;
mod snapshot;
#[cfg(test)]
mod tests;
mod topic;
mod topics;

pub use apply::ApplyError;
pub use broker::{Broker, Endpoint, FeatureRange, RegisteredController};
pub use config::{ConfigResource, ResourceKind};
pub use kept::Kept;
pub use security::{Acl, AclId, DelegationToken, QuotaEntity, ScramCredential, ScramKey};
pub use topic::{LOST_DIRECTORY, LeaderRecoveryState, MIGRATING_DIRECTORY, Partition, Topic, UNASSIGNED_DIRECTORY};
pub use topics::Topics;

pub(crate) use apply::LEADER_UNCHANGED;
pub(crate) use kept::{bytes_of_configs, bytes_of_quotas};
pub(crate) use snapshot::{numbers, partition_record};

/// The feature that says which records the metadata log may hold.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature that turns eligible leader replicas on (KIP-966).
pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";

/// The dynamic configs of one resource.
pub type Configs = Arc<BTreeMap<String, String>>;

/// What is known of a cluster up to some offset of its metadata log.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Image {
    cluster_id: Arc<str>,
    end: Offset,
    epoch: LeaderEpoch,
    pub(crate) features: SharedMap<String, i16>,
    pub(crate) brokers: SharedMap<BrokerId, Arc<Broker>>,
    controllers: SharedMap<i32, Arc<RegisteredController>>,
    topics: Topics,
    configs: SharedMap<ConfigResource, Configs>,
    client_quotas: SharedMap<QuotaEntity, BTreeMap<String, f64>>,
    kept: AllKept,
    next_producer_id: ProducerId,
    acls: SharedMap<AclId, Arc<Acl>>,
    scram_credentials: SharedMap<ScramKey, Arc<ScramCredential>>,
    delegation_tokens: SharedMap<String, Arc<DelegationToken>>,
    /// The image as it was when the open metadata transaction began (KIP-868).
    before_transaction: Option<Arc<Image>>,
}

impl Image {
    /// The image of a cluster whose log holds nothing yet.
    pub fn new(cluster_id: impl Into<Arc<str>>) -> Self {
        Self { cluster_id: cluster_id.into(), ..Self::default() }
    }

    /// The cluster's id: 22 characters, given when it was formatted.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The offset of the metadata log up to which records are in here, itself excluded.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The epoch of the metadata log's leader that wrote the last of them.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Notes how far the log was read: control batches hold no records but take up offsets.
    pub fn advance(&mut self, end: Offset, epoch: LeaderEpoch) {
        assert!(
            end >= self.end && epoch >= self.epoch,
            "the log goes forward: {end} in epoch {epoch} after {}",
            self.end
        );
        self.end = end;
        self.epoch = epoch;
    }

    /// Whether a metadata transaction is open. Readers are not given such an image.
    pub fn is_in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// What is there when an open transaction is aborted, as a new controller does first.
    pub fn without_transaction(&self) -> &Self {
        self.before_transaction.as_deref().unwrap_or(self)
    }

    /// The finalised level of a feature; 0 where it is off.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// All finalised features with their levels.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// The metadata.version that records are written for. Before one is finalised nothing is written that depends on it; one that is
    /// not spoken here is joined by nobody, so that nothing is written either.
    pub fn metadata_version(&self) -> MetadataVersion {
        MetadataVersion::new(self.feature(METADATA_VERSION)).unwrap_or(MetadataVersion::LATEST)
    }

    /// A broker's registration.
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// All registered brokers, in the order of their ids.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// The brokers that clients are told of: those that are not fenced.
    pub fn alive_brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values().filter(|broker| !broker.fenced)
    }

    /// Whether a broker may lead and be in ISRs.
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    /// Whether a broker may lead its replica of `partition`: unless that lies in a log directory which is not online.
    pub fn may_lead(&self, id: BrokerId, partition: &Partition) -> bool {
        self.is_active(id) && self.has_online(id, partition)
    }

    /// Whether a broker, if it is alive, can serve its replica of `partition`: as far as is known, the log directory that it
    /// lies in is online.
    pub fn has_online(&self, id: BrokerId, partition: &Partition) -> bool {
        let directory = partition.directory(id).unwrap_or(UNASSIGNED_DIRECTORY);
        self.broker(id).is_some_and(|broker| broker.has_online(directory))
    }

    /// Where a broker that is alive can be reached on a listener.
    pub fn endpoint(&self, id: BrokerId, listener: &str) -> Option<&Endpoint> {
        self.broker(id).filter(|broker| !broker.fenced)?.endpoint(listener)
    }

    /// All registered controllers, in the order of their ids.
    pub fn controllers(&self) -> impl Iterator<Item = &Arc<RegisteredController>> {
        self.controllers.values()
    }

    /// All topics.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The topic called `name`.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.by_name(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.by_id(id)
    }

    /// One partition of a topic.
    pub fn partition(&self, topic: &str, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.topic(topic)?.partitions.get(&index)
    }

    /// The dynamic configs of a resource; absent where it has none.
    pub fn config(&self, resource: &ConfigResource) -> Option<&Configs> {
        self.configs.get(resource)
    }

    /// All dynamic configs, in the order of their resources.
    pub fn configs(&self) -> &SharedMap<ConfigResource, Configs> {
        &self.configs
    }

    /// The quotas of all entities.
    pub fn client_quotas(&self) -> &SharedMap<QuotaEntity, BTreeMap<String, f64>> {
        &self.client_quotas
    }

    /// How many resources of this kind have configs, and what that takes.
    pub fn kept_configs(&self, kind: ResourceKind) -> Kept {
        self.kept.of(kind)
    }

    /// How many entities have quotas, and what that takes.
    pub fn kept_quotas(&self) -> Kept {
        self.kept.quotas
    }

    /// The first producer id that no broker was given yet.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// All access control entries.
    pub fn acls(&self) -> &SharedMap<AclId, Arc<Acl>> {
        &self.acls
    }

    /// All SCRAM credentials.
    pub fn scram_credentials(&self) -> &SharedMap<ScramKey, Arc<ScramCredential>> {
        &self.scram_credentials
    }

    /// All delegation tokens, by their ids.
    pub fn delegation_tokens(&self) -> &SharedMap<String, Arc<DelegationToken>> {
        &self.delegation_tokens
    }

    /// How many in-sync replicas an `acks=all` write of this topic needs, before the replication factor bounds it: the
    /// topic's config, else the cluster's.
    pub fn min_in_sync_replicas(&self, topic: &str) -> usize {
        let configured = |resource| self.config(&resource)?.get("min.insync.replicas")?.parse().ok();
        configured(ConfigResource::topic(topic)).or_else(|| configured(ConfigResource::all_brokers())).unwrap_or(1)
    }

    /// Panics where the image contradicts itself.
    pub fn check(&self) {
        self.topics.check();
        for topic in self.topics.iter() {
            assert!(!topic.id.is_zero() && topic.id != Uuid::ONE, "{} has a reserved id", topic.name);
            for (expected, (index, partition)) in topic.partitions.iter().enumerate() {
                assert_eq!(index.0 as usize, expected, "the partitions of {} have no gap", topic.name);
                self.check_partition(topic, *index, partition);
            }
        }
        for (resource, configs) in self.configs.iter() {
            assert!(!configs.is_empty(), "{resource:?} is left out when it has no config");
            let topic_exists = resource.kind != ResourceKind::Topic || self.topic(&resource.name).is_some();
            assert!(topic_exists, "{resource:?} went with its topic");
        }
        self.check_kept();
    }

    fn check_kept(&self) {
        let mut kept = AllKept::default();
        for (resource, configs) in self.configs.iter() {
            kept.of_mut(resource.kind).begin(bytes_of_configs(resource, configs));
        }
        for (entity, quotas) in self.client_quotas.iter() {
            kept.quotas.begin(bytes_of_quotas(entity, quotas.keys()));
        }
        assert_eq!(kept, self.kept, "what is kept was counted");
    }

    fn check_partition(&self, topic: &Topic, index: PartitionIndex, partition: &Partition) {
        let place = || format!("{}-{index}: {partition:?}", topic.name);
        assert!(!partition.replicas.is_empty(), "{}", place());
        assert_eq!(partition.directories.len(), partition.replicas.len(), "{}", place());
        let among_replicas = |brokers: &[BrokerId]| brokers.iter().all(|broker| partition.is_replica(*broker));
        assert!(among_replicas(&partition.isr), "{}", place());
        assert!(among_replicas(&partition.eligible_leader_replicas), "{}", place());
        assert!(partition.isr.iter().all(|b| !partition.eligible_leader_replicas.contains(b)), "{}", place());
        if let Some(leader) = partition.leader {
            assert!(partition.isr.contains(&leader), "the leader is in the ISR. {}", place());
            assert!(self.is_active(leader), "the leader is active. {}", place());
        }
        let mut replicas = partition.replicas.clone();
        replicas.sort_unstable();
        replicas.dedup();
        assert_eq!(replicas.len(), partition.replicas.len(), "no broker holds two replicas. {}", place());
        assert!(
            partition.leader_epoch.0 >= 0 && partition.partition_epoch.0 >= partition.leader_epoch.0,
            "{}",
            place()
        );
    }
}
