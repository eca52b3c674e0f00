//! Taking the records of the metadata log into the image: one arm a type.
//!
//! A record that contradicts the image (a partition of a topic that does not exist) is an error: the log is damaged or
//! written by something newer, and going on would spread the damage. A record never half applies.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ottla_base::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerId, Uuid};
use ottla_protocol::internal::metadata::{
    AccessControlEntryRecord, BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord,
    DelegationTokenRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord,
    RegisterControllerRecord, RemoveTopicRecord, TopicRecord, UserScramCredentialRecord,
};

use super::kept::{bytes_of_config, bytes_of_resource};
use super::{
    Acl, Broker, ConfigResource, DelegationToken, Endpoint, FeatureRange, Image, LeaderRecoveryState, Partition,
    RegisteredController, ResourceKind, ScramCredential, Topic, bytes_of_configs, bytes_of_quotas,
};

/// A partition change that does not touch the leader says so with this number.
pub(crate) const LEADER_UNCHANGED: i32 = -2;

/// The record contradicts the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// It speaks of a topic that does not exist.
    UnknownTopic(String),
    /// It speaks of a partition that does not exist.
    UnknownPartition(Uuid, PartitionIndex),
    /// It creates a topic whose name or id is taken.
    TopicExists(String),
    /// It speaks of a broker, or of an epoch of it, that is not registered.
    UnknownBroker(BrokerId, BrokerEpoch),
    /// It speaks of a controller that is not registered.
    UnknownController(i32),
    /// A field has a number that means nothing.
    BadValue(&'static str, i64),
    /// It ends a metadata transaction where none is open, or begins one inside another.
    TransactionMismatch,
}

impl Image {
    /// Takes the record at offset `at` into the image.
    pub fn apply(&mut self, at: Offset, record: &MetadataRecord<'_>) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::RegisterBroker(record) => self.register_broker(record),
            MetadataRecord::UnregisterBroker(record) => {
                self.registered(record.broker_id, record.broker_epoch)?;
                self.brokers.remove(&BrokerId(record.broker_id));
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_registration(record)?,
            // Written by controllers before 3.3; a log may still hold them.
            MetadataRecord::FenceBroker(record) => self.registered(record.id, record.epoch)?.fenced = true,
            MetadataRecord::UnfenceBroker(record) => self.registered(record.id, record.epoch)?.fenced = false,
            MetadataRecord::RegisterController(record) => self.register_controller(record),
            MetadataRecord::UnregisterController(record) => {
                let removed = self.controllers.remove(&record.controller_id);
                removed.ok_or(ApplyError::UnknownController(record.controller_id))?;
            }

            MetadataRecord::Topic(record) => self.add_topic(record)?,
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record)?,
            MetadataRecord::Partition(record) => self.set_partition(record)?,
            MetadataRecord::PartitionChange(record) => self.change_partition(record)?,
            MetadataRecord::ClearElr(record) => self.clear_eligible_leader_replicas(record)?,

            MetadataRecord::Config(record) => self.set_config(record)?,
            MetadataRecord::FeatureLevel(record) => match record.feature_level {
                0 => drop(self.features.remove(&*record.name)),
                level => drop(self.features.insert(record.name.to_string(), level)),
            },
            MetadataRecord::ProducerIds(record) => self.next_producer_id = ProducerId(record.next_producer_id),
            MetadataRecord::ClientQuota(record) => self.set_client_quota(record),

            MetadataRecord::AccessControlEntry(record) => drop(self.acls.insert(record.id, Arc::new(acl(record)))),
            MetadataRecord::RemoveAccessControlEntry(record) => drop(self.acls.remove(&record.id)),
            MetadataRecord::UserScramCredential(record) => {
                let key = (record.mechanism, record.name.to_string());
                self.scram_credentials.insert(key, Arc::new(scram_credential(record)));
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                self.scram_credentials.remove(&(record.mechanism, record.name.to_string()));
            }
            MetadataRecord::DelegationToken(record) => {
                self.delegation_tokens.insert(record.token_id.to_string(), Arc::new(delegation_token(record)));
            }
            MetadataRecord::RemoveDelegationToken(record) => drop(self.delegation_tokens.remove(&*record.token_id)),

            MetadataRecord::BeginTransaction(_) => self.begin_transaction()?,
            MetadataRecord::EndTransaction(_) => {
                self.before_transaction.take().ok_or(ApplyError::TransactionMismatch)?;
            }
            MetadataRecord::AbortTransaction(_) => {
                let before = self.before_transaction.take().ok_or(ApplyError::TransactionMismatch)?;
                *self = Self { epoch: self.epoch, ..Arc::unwrap_or_clone(before) };
            }

            // Says only that the controller is alive.
            MetadataRecord::NoOp(_) => {}
            // ZooKeeper is gone; the record remains in the logs of clusters that came from there.
            MetadataRecord::ZkMigrationState(_) => {}
        }
        self.end = at.plus(1);
        Ok(())
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord<'_>) {
        let features = record.features.iter().map(|feature| {
            let range = FeatureRange { min: feature.min_supported_version, max: feature.max_supported_version };
            (feature.name.to_string(), range)
        });
        let endpoints = record.end_points.iter().map(|endpoint| Endpoint {
            listener: endpoint.name.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        });
        let broker = Broker {
            id: BrokerId(record.broker_id),
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation_id: record.incarnation_id,
            endpoints: endpoints.collect(),
            features: features.collect(),
            rack: record.rack.as_deref().map(str::to_owned),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: sorted(&record.log_dirs),
            cordoned_log_dirs: record.cordoned_log_dirs.as_deref().map(sorted),
        };
        self.brokers.insert(broker.id, Arc::new(broker));
    }

    /// The registration of a broker, to be changed by a record that names its epoch.
    fn registered(&mut self, id: i32, epoch: i64) -> Result<&mut Broker, ApplyError> {
        let (id, epoch) = (BrokerId(id), BrokerEpoch(epoch));
        match self.brokers.get_mut(&id) {
            Some(broker) if broker.epoch == epoch => Ok(Arc::make_mut(broker)),
            _ => Err(ApplyError::UnknownBroker(id, epoch)),
        }
    }

    fn change_registration(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), ApplyError> {
        let fenced = change_of("fenced", record.fenced)?;
        let in_controlled_shutdown = match record.in_controlled_shutdown {
            0 => None,
            1 => Some(true),
            other => return Err(ApplyError::BadValue("inControlledShutdown", other.into())),
        };
        let broker = self.registered(record.broker_id, record.broker_epoch)?;
        broker.fenced = fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown = in_controlled_shutdown.unwrap_or(broker.in_controlled_shutdown);
        if !record.log_dirs.is_empty() {
            broker.log_dirs = sorted(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_log_dirs = Some(sorted(cordoned));
        }
        Ok(())
    }

    fn register_controller(&mut self, record: &RegisterControllerRecord<'_>) {
        let features = record.features.iter().map(|feature| {
            let range = FeatureRange { min: feature.min_supported_version, max: feature.max_supported_version };
            (feature.name.to_string(), range)
        });
        let endpoints = record.end_points.iter().map(|endpoint| Endpoint {
            listener: endpoint.name.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        });
        let controller = RegisteredController {
            id: record.controller_id,
            incarnation_id: record.incarnation_id,
            endpoints: endpoints.collect(),
            features: features.collect(),
        };
        self.controllers.insert(controller.id, Arc::new(controller));
    }

    fn add_topic(&mut self, record: &TopicRecord<'_>) -> Result<(), ApplyError> {
        if self.topic(&record.name).is_some() || self.topic_by_id(record.topic_id).is_some() {
            return Err(ApplyError::TopicExists(format!("{} with id {}", record.name, record.topic_id)));
        }
        self.topics.add(&record.name, record.topic_id);
        Ok(())
    }

    fn remove_topic(&mut self, record: &RemoveTopicRecord) -> Result<(), ApplyError> {
        let removed = self.topics.remove(record.topic_id);
        let topic = removed.ok_or_else(|| ApplyError::UnknownTopic(record.topic_id.to_string()))?;
        let resource = ConfigResource::topic(&*topic.name);
        if let Some(configs) = self.configs.remove(&resource) {
            self.kept.of_mut(resource.kind).end(bytes_of_configs(&resource, &configs));
        }
        Ok(())
    }

    fn set_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        let replicas = brokers(&record.replicas);
        let directories = match record.directories.len() {
            // Version 0 does not name directories.
            0 => vec![Uuid::ZERO; replicas.len()],
            count if count == replicas.len() => record.directories.clone(),
            count => return Err(ApplyError::BadValue("directories", count as i64)),
        };
        let partition = Partition {
            directories,
            replicas,
            isr: brokers(&record.isr),
            eligible_leader_replicas: record.eligible_leader_replicas.as_deref().map_or_else(Vec::new, brokers),
            last_known_eligible_leader_replicas: record.last_known_elr.as_deref().map_or_else(Vec::new, brokers),
            removing_replicas: brokers(&record.removing_replicas),
            adding_replicas: brokers(&record.adding_replicas),
            leader: leader(record.leader)?,
            leader_recovery_state: recovery_state(record.leader_recovery_state)?,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
        };
        let known = self.topics.set_partition(record.topic_id, PartitionIndex(record.partition_id), partition);
        known.then_some(()).ok_or_else(|| ApplyError::UnknownTopic(record.topic_id.to_string()))
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), ApplyError> {
        let index = PartitionIndex(record.partition_id);
        let topic =
            self.topic_by_id(record.topic_id).ok_or_else(|| ApplyError::UnknownTopic(record.topic_id.to_string()))?;
        let partition = topic.partitions.get(&index).ok_or(ApplyError::UnknownPartition(record.topic_id, index))?;
        let changed = changed_partition(partition, record)?;
        assert!(self.topics.set_partition(record.topic_id, index, changed), "the topic was just found");
        Ok(())
    }

    fn clear_eligible_leader_replicas(&mut self, record: &ClearElrRecord<'_>) -> Result<(), ApplyError> {
        let topics: Vec<Arc<Topic>> = if record.topic_name.is_empty() {
            self.topics.iter().map(Arc::clone).collect()
        } else {
            let topic = self.topic(&record.topic_name);
            vec![Arc::clone(topic.ok_or_else(|| ApplyError::UnknownTopic(record.topic_name.to_string()))?)]
        };
        for topic in topics {
            for (index, partition) in topic.partitions.iter() {
                let nothing_to_clear = partition.eligible_leader_replicas.is_empty()
                    && partition.last_known_eligible_leader_replicas.is_empty();
                if nothing_to_clear {
                    continue;
                }
                let cleared = Partition {
                    eligible_leader_replicas: Vec::new(),
                    last_known_eligible_leader_replicas: Vec::new(),
                    partition_epoch: PartitionEpoch(partition.partition_epoch.0.saturating_add(1)),
                    ..Partition::clone(partition)
                };
                assert!(self.topics.set_partition(topic.id, *index, cleared), "the topic was just found");
            }
        }
        Ok(())
    }

    fn set_config(&mut self, record: &ConfigRecord<'_>) -> Result<(), ApplyError> {
        let kind = ResourceKind::from_i8(record.resource_type)
            .ok_or(ApplyError::BadValue("resourceType", record.resource_type.into()))?;
        let resource = ConfigResource { kind, name: record.resource_name.to_string() };
        let kept = self.kept.of_mut(kind);
        match (&record.value, self.configs.get_mut(&resource)) {
            (Some(value), Some(configs)) => {
                kept.add(bytes_of_config(&record.name, value));
                let before = Arc::make_mut(configs).insert(record.name.to_string(), value.to_string());
                before.into_iter().for_each(|before| kept.subtract(bytes_of_config(&record.name, &before)));
            }
            (Some(value), None) => {
                let configs = BTreeMap::from([(record.name.to_string(), value.to_string())]);
                kept.begin(bytes_of_configs(&resource, &configs));
                self.configs.insert(resource, Arc::new(configs));
            }
            (None, Some(configs)) => {
                let before = Arc::make_mut(configs).remove(&*record.name);
                before.into_iter().for_each(|before| kept.subtract(bytes_of_config(&record.name, &before)));
                if configs.is_empty() {
                    kept.end(bytes_of_resource(&resource));
                    self.configs.remove(&resource);
                }
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn set_client_quota(&mut self, record: &ClientQuotaRecord<'_>) {
        let name_of = |name: Option<&str>| name.map(str::to_owned);
        let entity = record.entity.iter();
        let mut entity: Vec<_> =
            entity.map(|part| (part.entity_type.to_string(), name_of(part.entity_name.as_deref()))).collect();
        entity.sort();
        let mut quotas = self.client_quotas.remove(&entity).unwrap_or_default();
        if !quotas.is_empty() {
            self.kept.quotas.end(bytes_of_quotas(&entity, quotas.keys()));
        }
        if record.remove {
            quotas.remove(&*record.key);
        } else {
            quotas.insert(record.key.to_string(), record.value);
        }
        if !quotas.is_empty() {
            self.kept.quotas.begin(bytes_of_quotas(&entity, quotas.keys()));
            self.client_quotas.insert(entity, quotas);
        }
    }

    fn begin_transaction(&mut self) -> Result<(), ApplyError> {
        if self.before_transaction.is_some() {
            return Err(ApplyError::TransactionMismatch);
        }
        self.before_transaction = Some(Arc::new(self.clone()));
        Ok(())
    }
}

/// What a partition becomes by a change record.
fn changed_partition(partition: &Partition, record: &PartitionChangeRecord) -> Result<Partition, ApplyError> {
    let mut changed = partition.clone();
    if let Some(replicas) = &record.replicas {
        changed.replicas = brokers(replicas);
        // Replicas that stay keep their directories; the record's own list below goes before that.
        // Where none is known, none will be known of the new ones either.
        let is_unknown = partition.directories.iter().all(|directory| *directory == super::MIGRATING_DIRECTORY);
        let new = if is_unknown { super::MIGRATING_DIRECTORY } else { super::UNASSIGNED_DIRECTORY };
        let directory = |replica: &BrokerId| partition.directory(*replica).unwrap_or(new);
        changed.directories = changed.replicas.iter().map(directory).collect();
    }
    if let Some(directories) = &record.directories {
        if directories.len() != changed.replicas.len() {
            return Err(ApplyError::BadValue("directories", directories.len() as i64));
        }
        changed.directories.clone_from(directories);
    }
    let replace = |field: &mut Vec<BrokerId>, with: &Option<Vec<i32>>| {
        if let Some(with) = with {
            *field = brokers(with);
        }
    };
    replace(&mut changed.isr, &record.isr);
    replace(&mut changed.removing_replicas, &record.removing_replicas);
    replace(&mut changed.adding_replicas, &record.adding_replicas);
    replace(&mut changed.eligible_leader_replicas, &record.eligible_leader_replicas);
    replace(&mut changed.last_known_eligible_leader_replicas, &record.last_known_elr);
    if record.leader != LEADER_UNCHANGED {
        changed.leader = leader(record.leader)?;
        changed.leader_epoch = LeaderEpoch(next("leaderEpoch", partition.leader_epoch.0)?);
    }
    if record.leader_recovery_state != -1 {
        changed.leader_recovery_state = recovery_state(record.leader_recovery_state)?;
    }
    changed.partition_epoch = PartitionEpoch(next("partitionEpoch", partition.partition_epoch.0)?);
    Ok(changed)
}

fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn sorted(ids: &[Uuid]) -> Vec<Uuid> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

fn leader(id: i32) -> Result<Option<BrokerId>, ApplyError> {
    match id {
        -1 => Ok(None),
        0.. => Ok(Some(BrokerId(id))),
        _ => Err(ApplyError::BadValue("leader", id.into())),
    }
}

fn next(field: &'static str, epoch: i32) -> Result<i32, ApplyError> {
    epoch.checked_add(1).ok_or(ApplyError::BadValue(field, epoch.into()))
}

fn recovery_state(value: i8) -> Result<LeaderRecoveryState, ApplyError> {
    LeaderRecoveryState::from_i8(value).ok_or(ApplyError::BadValue("leaderRecoveryState", value.into()))
}

/// 1 sets, -1 unsets, 0 leaves alone.
fn change_of(field: &'static str, value: i8) -> Result<Option<bool>, ApplyError> {
    match value {
        0 => Ok(None),
        1 => Ok(Some(true)),
        -1 => Ok(Some(false)),
        other => Err(ApplyError::BadValue(field, other.into())),
    }
}

fn acl(record: &AccessControlEntryRecord<'_>) -> Acl {
    Acl {
        resource_type: record.resource_type,
        resource_name: record.resource_name.to_string(),
        pattern_type: record.pattern_type,
        principal: record.principal.to_string(),
        host: record.host.to_string(),
        operation: record.operation,
        permission_type: record.permission_type,
    }
}

fn scram_credential(record: &UserScramCredentialRecord<'_>) -> ScramCredential {
    ScramCredential {
        salt: record.salt.to_vec(),
        stored_key: record.stored_key.to_vec(),
        server_key: record.server_key.to_vec(),
        iterations: record.iterations,
    }
}

fn delegation_token(record: &DelegationTokenRecord<'_>) -> DelegationToken {
    DelegationToken {
        owner: record.owner.to_string(),
        requester: record.requester.to_string(),
        renewers: record.renewers.iter().map(ToString::to_string).collect(),
        issue_timestamp: record.issue_timestamp,
        max_timestamp: record.max_timestamp,
        expiration_timestamp: record.expiration_timestamp,
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTopic(topic) => write!(f, "there is no topic {topic}"),
            Self::UnknownPartition(topic, index) => write!(f, "the topic {topic} has no partition {index}"),
            Self::TopicExists(topic) => write!(f, "there is already a topic {topic}"),
            Self::UnknownBroker(id, epoch) => write!(f, "no broker {id} is registered with epoch {epoch}"),
            Self::UnknownController(id) => write!(f, "no controller {id} is registered"),
            Self::BadValue(field, value) => write!(f, "{field} cannot be {value}"),
            Self::TransactionMismatch => f.write_str("metadata transactions begin and end in turn"),
        }
    }
}

impl std::error::Error for ApplyError {}
