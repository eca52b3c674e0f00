//! CreateTopics: new topics, placed by the cluster or by the user.
//!
//! Written for each topic: TopicRecord, ConfigRecords, a ClearElrRecord where it sets `min.insync.replicas`, then a
//! PartitionRecord for each partition. All topics of a request are appended as one unit; those that are refused leave
//! nothing behind.

use std::collections::BTreeMap;

use ottla_base::{BrokerId, PartitionIndex, Random, Uuid};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord, TopicRecord};

use super::{
    Draft, MAX_PARTITIONS_PER_REQUEST, Refusal, alter_configs, kept, min_in_sync_replicas, repeated, replica_lists,
};
use crate::image::{ConfigResource, Image, Partition, bytes_of_configs, partition_record};
use crate::names;
use crate::records::OwnedRecord;
use crate::settings;

/// Asks for new topics.
#[derive(Clone, Debug)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Whether to answer only what would happen.
    pub validate_only: bool,
    /// `num.partitions`: for topics that do not say.
    pub default_partitions: i32,
    /// `default.replication.factor`: for topics that do not say.
    pub default_replication_factor: i16,
    /// For topic ids and placement.
    pub seed: u64,
}

/// A topic to be created.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the default, or with `assignments`.
    pub partitions: i32,
    /// How many replicas each; -1 for the default, or with `assignments`.
    pub replication_factor: i16,
    /// The replicas of each partition, where the user chose them.
    pub assignments: Vec<(PartitionIndex, Vec<BrokerId>)>,
    /// Its configs; a key without a value is refused.
    pub configs: Vec<(String, Option<String>)>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTopicsResult {
    /// Its name.
    pub name: String,
    /// What was created, or why not.
    pub result: Result<CreatedTopic, Refusal>,
}

/// A topic that was created, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each of them has.
    pub replication_factor: i16,
    /// The configs that it sets.
    pub configs: BTreeMap<String, String>,
}

impl CreateTopics {
    pub(super) fn decide(self, draft: &mut Draft) -> Vec<CreateTopicsResult> {
        let too_many = Refusal::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.");
        let repeated = repeated(self.topics.iter().map(|topic| &topic.name));
        let mut random = Random::new(self.seed);
        let before = draft.image().clone();
        let mut results = Vec::with_capacity(self.topics.len());
        let once = || self.topics.iter().filter(|topic| !repeated.contains(&topic.name));
        let partitions: usize = once().map(|topic| self.count_partitions(topic)).sum();
        let bounded = if partitions > MAX_PARTITIONS_PER_REQUEST { Err(too_many) } else { Ok(()) };
        for topic in once() {
            let planned = bounded.clone().and_then(|()| self.plan(topic, &before, draft.image(), &mut random));
            let result = planned.map(|(created, records)| {
                draft.extend(records);
                created
            });
            results.push(CreateTopicsResult { name: topic.name.clone(), result });
        }
        if let Err(refusal) = draft.bound() {
            results.iter_mut().for_each(|result| result.result = Err(refusal.clone()));
        }
        if self.validate_only {
            draft.discard();
        }
        let refusal = Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
        results.extend(repeated.into_iter().map(|name| CreateTopicsResult { name, result: Err(refusal.clone()) }));
        results
    }

    /// How many partitions are asked for, whether the topic is refused or not.
    fn count_partitions(&self, topic: &NewTopic) -> usize {
        match topic.partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len(),
            -1 => self.default_partitions.max(0) as usize,
            count => count.max(0) as usize,
        }
    }

    /// What creating `topic` leads to. Names collide with topics that were there `before` the request, and not with each
    /// other: Kafka looks no closer.
    fn plan(
        &self,
        topic: &NewTopic,
        before: &Image,
        image: &Image,
        random: &mut Random,
    ) -> Result<(CreatedTopic, Vec<OwnedRecord>), Refusal> {
        check_name(&topic.name, before)?;
        let configs = check_configs(topic)?;
        let resource = ConfigResource::topic(&topic.name);
        kept::check_configs(image, resource.kind, 0, bytes_of_configs(&resource, &configs))?;
        let partitions = self.partitions_of(topic, image, random)?;
        let created = CreatedTopic {
            id: new_topic_id(image, random),
            partitions: i32::try_from(partitions.len()).expect("no more than a request may hold"),
            replication_factor: i16::try_from(partitions[0].replicas.len()).expect("checked against the brokers"),
            configs,
        };
        let records = records(topic, &created, &partitions, image);
        Ok((created, records))
    }

    fn partitions_of(&self, topic: &NewTopic, image: &Image, random: &mut Random) -> Result<Vec<Partition>, Refusal> {
        if !topic.assignments.is_empty() {
            return given_partitions(topic, image);
        }
        let or_default = |asked: i32, default: i32| if asked == -1 { default } else { asked };
        let count = or_default(topic.partitions, self.default_partitions);
        let factor = or_default(topic.replication_factor.into(), self.default_replication_factor.into());
        if factor <= 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        if count <= 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        // Only here are there such words before, as in Kafka, and not where a topic gets more partitions.
        let lists = replica_lists::place(image, count as usize, factor as usize, random).map_err(|refused| {
            let why = refused.message.unwrap_or_default();
            Refusal::new(refused.error, format!("Unable to replicate the partition {factor} time(s): {why}"))
        })?;
        let placed = lists.into_iter().map(|replicas| replica_lists::new_partition(image, replicas));
        Ok(placed.map(|partition| partition.expect("placement puts an active broker first")).collect())
    }
}

/// An id that no topic has. A host that gives the same seed twice gets the same draws.
fn new_topic_id(image: &Image, random: &mut Random) -> Uuid {
    loop {
        let id = Uuid::random(|| random.next_u64());
        if image.topic_by_id(id).is_none() {
            return id;
        }
    }
}

fn check_name(name: &str, before: &Image) -> Result<(), Refusal> {
    if name == names::CLUSTER_METADATA_TOPIC {
        let message = format!("Creation of internal topic {name} is prohibited.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    names::validate(name).map_err(|message| Refusal::new(ErrorCode::InvalidTopicException, message))?;
    if before.topic(name).is_some() {
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
    }
    match before.topics().collision(name) {
        None => Ok(()),
        Some(other) => {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            Err(Refusal::new(ErrorCode::InvalidTopicException, message))
        }
    }
}

fn check_configs(topic: &NewTopic) -> Result<BTreeMap<String, String>, Refusal> {
    let refuse = |message| Refusal::new(ErrorCode::InvalidConfig, message);
    let without_value = topic.configs.iter().filter(|(_, value)| value.is_none());
    let without_value: Vec<_> = without_value.map(|(key, _)| key.as_str()).collect();
    if !without_value.is_empty() {
        return Err(refuse(format!("Null value not supported for topic configs: {}", without_value.join(","))));
    }
    let given = topic.configs.iter().map(|(key, value)| (key.clone(), value.clone().unwrap_or_default()));
    let configs: BTreeMap<_, _> = given.collect();
    for value in configs.values() {
        alter_configs::check_length(value)?;
    }
    settings::topic::validate_all(&configs).map_err(refuse)?;
    Ok(configs)
}

fn given_partitions(topic: &NewTopic, image: &Image) -> Result<Vec<Partition>, Refusal> {
    let refuse = |what: &str| {
        let message = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Err(Refusal::new(ErrorCode::InvalidRequest, message))
    };
    if topic.replication_factor != -1 {
        return refuse("replication factor");
    }
    if topic.partitions != -1 {
        return refuse("numPartitions");
    }
    let mut by_index = BTreeMap::new();
    let mut replication_factor = None;
    for (index, replicas) in &topic.assignments {
        if by_index.contains_key(index) {
            let message = format!("Found multiple manual partition assignments for partition {index}");
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        replica_lists::check_given(image, replicas, replication_factor)?;
        replication_factor = Some(replicas.len());
        by_index.insert(*index, replica_lists::given_partition(image, *index, replicas.clone())?);
    }
    let is_dense = by_index.keys().enumerate().all(|(place, index)| usize::try_from(index.0) == Ok(place));
    if !is_dense {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ));
    }
    Ok(by_index.into_values().collect())
}

fn records(topic: &NewTopic, created: &CreatedTopic, partitions: &[Partition], image: &Image) -> Vec<OwnedRecord> {
    let name = || topic.name.clone().into();
    let mut records = Vec::with_capacity(1 + created.configs.len() + partitions.len());
    records.push(MetadataRecord::Topic(TopicRecord { name: name(), topic_id: created.id }));
    let configs = created.configs.iter().map(|(key, value)| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: ConfigResource::topic("").kind.as_i8(),
            resource_name: name(),
            name: key.clone().into(),
            value: Some(value.clone().into()),
        })
    });
    records.extend(configs);
    if min_in_sync_replicas::clears_eligible(image, created.configs.keys().map(String::as_str)) {
        records.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name: name() }));
    }
    records.extend(partitions.iter().zip(0..).map(|(partition, index)| {
        MetadataRecord::Partition(partition_record(created.id, PartitionIndex(index), partition))
    }));
    records
}
