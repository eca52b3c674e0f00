//! An image as records, and back: what a metadata snapshot holds.
//!
//! Features come first, so that a reader knows at once which records to expect; topics come before their configs. Applying
//! the records to an empty image gives the same image.

use std::sync::Arc;

use ottla_base::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Uuid};
use ottla_protocol::internal::metadata::{
    self as records, AccessControlEntryRecord, ClientQuotaRecord, ConfigRecord, DelegationTokenRecord,
    FeatureLevelRecord, MetadataRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord,
    RegisterControllerRecord, TopicRecord, UserScramCredentialRecord,
};

use super::{
    ApplyError, Broker, Endpoint, FeatureRange, Image, METADATA_VERSION, Partition, RegisteredController, Topic,
};

impl Image {
    /// The image of a snapshot that holds everything before `end`, which a leader of `epoch` wrote.
    pub fn from_snapshot<'a>(
        cluster_id: impl Into<Arc<str>>,
        end: Offset,
        epoch: LeaderEpoch,
        records: impl IntoIterator<Item = MetadataRecord<'a>>,
    ) -> Result<Self, ApplyError> {
        let mut image = Self::new(cluster_id);
        for record in records {
            // The records of a snapshot have no offsets of the log.
            image.apply(Offset(-1), &record)?;
        }
        image.advance(end, epoch);
        Ok(image)
    }

    /// The records that make this image, with what its metadata.version has. Not of an image with an open transaction.
    pub fn snapshot(&self) -> impl Iterator<Item = MetadataRecord<'_>> {
        assert!(!self.is_in_transaction(), "half a transaction does not go into a snapshot");
        let features = self.features().filter(|(name, _)| *name == METADATA_VERSION);
        let features = features.chain(self.features().filter(|(name, _)| *name != METADATA_VERSION));
        features
            .map(|(name, level)| {
                MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.into(), feature_level: level })
            })
            .chain(self.brokers().map(|broker| MetadataRecord::RegisterBroker(broker_record(broker))))
            .chain(
                self.controllers().map(|controller| MetadataRecord::RegisterController(controller_record(controller))),
            )
            .chain(self.topics.iter().flat_map(|topic| topic_records(topic)))
            .chain(self.config_records())
            .chain(self.client_quota_records())
            .chain(self.producer_ids_record())
            .chain(self.security_records())
            .filter_map(|record| crate::records::fit(record, self.metadata_version()))
    }

    fn config_records(&self) -> impl Iterator<Item = MetadataRecord<'_>> {
        self.configs.iter().flat_map(|(resource, configs)| {
            configs.iter().map(|(name, value)| {
                MetadataRecord::Config(ConfigRecord {
                    resource_type: resource.kind.as_i8(),
                    resource_name: resource.name.as_str().into(),
                    name: name.as_str().into(),
                    value: Some(value.as_str().into()),
                })
            })
        })
    }

    fn client_quota_records(&self) -> impl Iterator<Item = MetadataRecord<'_>> {
        self.client_quotas.iter().flat_map(|(entity, quotas)| {
            quotas.iter().map(|(key, value)| {
                let part = |(kind, name): &'_ (String, Option<String>)| records::client_quota_record::Entity {
                    entity_type: kind.clone().into(),
                    entity_name: name.clone().map(Into::into),
                };
                MetadataRecord::ClientQuota(ClientQuotaRecord {
                    entity: entity.iter().map(part).collect(),
                    key: key.as_str().into(),
                    value: *value,
                    remove: false,
                })
            })
        })
    }

    fn producer_ids_record(&self) -> Option<MetadataRecord<'_>> {
        let next_producer_id = self.next_producer_id.0;
        let record = ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id };
        (next_producer_id > 0).then_some(MetadataRecord::ProducerIds(record))
    }

    fn security_records(&self) -> impl Iterator<Item = MetadataRecord<'_>> {
        let acls = self.acls.iter().map(|(id, acl)| {
            MetadataRecord::AccessControlEntry(AccessControlEntryRecord {
                id: *id,
                resource_type: acl.resource_type,
                resource_name: acl.resource_name.as_str().into(),
                pattern_type: acl.pattern_type,
                principal: acl.principal.as_str().into(),
                host: acl.host.as_str().into(),
                operation: acl.operation,
                permission_type: acl.permission_type,
            })
        });
        let credentials = self.scram_credentials.iter().map(|((mechanism, name), credential)| {
            MetadataRecord::UserScramCredential(UserScramCredentialRecord {
                name: name.as_str().into(),
                mechanism: *mechanism,
                salt: credential.salt.as_slice().into(),
                stored_key: credential.stored_key.as_slice().into(),
                server_key: credential.server_key.as_slice().into(),
                iterations: credential.iterations,
            })
        });
        let tokens = self.delegation_tokens.iter().map(|(id, token)| {
            MetadataRecord::DelegationToken(DelegationTokenRecord {
                owner: token.owner.as_str().into(),
                requester: token.requester.as_str().into(),
                renewers: token.renewers.iter().map(|renewer| renewer.as_str().into()).collect(),
                issue_timestamp: token.issue_timestamp,
                max_timestamp: token.max_timestamp,
                expiration_timestamp: token.expiration_timestamp,
                token_id: id.as_str().into(),
            })
        });
        acls.chain(credentials).chain(tokens)
    }
}

fn broker_record(broker: &Broker) -> RegisterBrokerRecord<'_> {
    let endpoint = |endpoint: &'_ Endpoint| records::register_broker_record::EndPoint {
        name: endpoint.listener.clone().into(),
        host: endpoint.host.clone().into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    };
    let feature = |(name, range): (&'_ String, &FeatureRange)| records::register_broker_record::Feature {
        name: name.clone().into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
    };
    RegisterBrokerRecord {
        broker_id: broker.id.0,
        is_migrating_zk_broker: false,
        incarnation_id: broker.incarnation_id,
        broker_epoch: broker.epoch.0,
        end_points: broker.endpoints.iter().map(endpoint).collect(),
        features: broker.features.iter().map(feature).collect(),
        rack: broker.rack.as_deref().map(Into::into),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.clone(),
        cordoned_log_dirs: broker.cordoned_log_dirs.clone(),
    }
}

fn controller_record(controller: &RegisteredController) -> RegisterControllerRecord<'_> {
    let endpoint = |endpoint: &'_ Endpoint| records::register_controller_record::EndPoint {
        name: endpoint.listener.clone().into(),
        host: endpoint.host.clone().into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    };
    let feature = |(name, range): (&'_ String, &FeatureRange)| records::register_controller_record::Feature {
        name: name.clone().into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
    };
    RegisterControllerRecord {
        controller_id: controller.id,
        incarnation_id: controller.incarnation_id,
        zk_migration_ready: false,
        end_points: controller.endpoints.iter().map(endpoint).collect(),
        features: controller.features.iter().map(feature).collect(),
    }
}

fn topic_records(topic: &Topic) -> impl Iterator<Item = MetadataRecord<'_>> {
    let first = TopicRecord { name: (&*topic.name).into(), topic_id: topic.id };
    let partitions = topic.partitions.iter();
    std::iter::once(MetadataRecord::Topic(first)).chain(
        partitions.map(|(index, partition)| MetadataRecord::Partition(partition_record(topic.id, *index, partition))),
    )
}

/// The record that makes a partition what it is.
pub(crate) fn partition_record(topic_id: Uuid, index: PartitionIndex, partition: &Partition) -> PartitionRecord {
    let some = |brokers: &[BrokerId]| (!brokers.is_empty()).then(|| numbers(brokers));
    PartitionRecord {
        partition_id: index.0,
        topic_id,
        replicas: numbers(&partition.replicas),
        isr: numbers(&partition.isr),
        removing_replicas: numbers(&partition.removing_replicas),
        adding_replicas: numbers(&partition.adding_replicas),
        leader: partition.leader.map_or(-1, |leader| leader.0),
        leader_recovery_state: partition.leader_recovery_state.as_i8(),
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch.0,
        directories: partition.directories.clone(),
        eligible_leader_replicas: some(&partition.eligible_leader_replicas),
        last_known_elr: some(&partition.last_known_eligible_leader_replicas),
    }
}

/// Broker ids as records carry them.
pub(crate) fn numbers(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.0).collect()
}
