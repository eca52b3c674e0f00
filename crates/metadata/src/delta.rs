//! What a new image asks of one broker: which logs to create, lead, follow or delete, and which configs changed.
//!
//! Comparing two images of ten thousand topics costs only what lies between them: what they share is not looked at.

use std::sync::Arc;

use ottla_base::{BrokerId, Change, PartitionIndex, SharedMap, Uuid};

use crate::image::{ConfigResource, Image, Partition, QuotaEntity, Topic};

/// What changed for one broker from one image to a later one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BrokerDelta {
    /// Partitions that the broker holds now and did not hold, or held as parts of a topic that was deleted since.
    pub added: Vec<HostedPartition>,
    /// Partitions that it holds as before, with another state: leader, ISR, epochs.
    pub changed: Vec<HostedPartition>,
    /// Partitions that it held and holds no longer. Taken up before `added`: a topic may be deleted and created again.
    pub removed: Vec<RemovedPartition>,
    /// Topics that are gone, wherever they were held: group offsets for them are to be removed.
    pub deleted_topics: Vec<DeletedTopic>,
    /// Resources whose configs changed. Those of a new topic are among them, those of a deleted one too.
    pub configs: Vec<ConfigResource>,
    /// Entities whose quotas changed.
    pub client_quotas: Vec<QuotaEntity>,
    /// Whether any broker came, went, or changed.
    pub brokers_changed: bool,
    /// Whether any finalised feature changed.
    pub features_changed: bool,
}

/// A partition that the broker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id.
    pub topic_id: Uuid,
    /// Which of its partitions.
    pub index: PartitionIndex,
    /// Its state.
    pub partition: Arc<Partition>,
}

/// A partition that the broker no longer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id.
    pub topic_id: Uuid,
    /// Which of its partitions.
    pub index: PartitionIndex,
}

/// A topic that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
}

impl BrokerDelta {
    /// What `newer` asks of `broker` that `older` did not. From an empty image it is all that the broker holds.
    pub fn between(older: &Image, newer: &Image, broker: BrokerId) -> Self {
        let mut delta = Self {
            configs: newer.configs().changes(older.configs()).iter().map(|change| (*key(change)).clone()).collect(),
            client_quotas: newer
                .client_quotas()
                .changes(older.client_quotas())
                .iter()
                .map(|c| key(c).clone())
                .collect(),
            brokers_changed: newer.brokers != older.brokers,
            features_changed: newer.features != older.features,
            ..Self::default()
        };
        for change in newer.topics().changes(older.topics()) {
            match change {
                Change::Added(_, topic) => delta.add_topic(topic, broker),
                Change::Removed(_, topic) => delta.delete_topic(topic, broker),
                Change::Changed(_, was, is) if was.id != is.id => {
                    delta.delete_topic(was, broker);
                    delta.add_topic(is, broker);
                }
                Change::Changed(_, was, is) => delta.change_topic(was, is, broker),
            }
        }
        delta
    }

    /// Whether the broker has nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add_topic(&mut self, topic: &Topic, broker: BrokerId) {
        self.compare(topic, &SharedMap::new(), &topic.partitions, broker);
    }

    fn delete_topic(&mut self, topic: &Topic, broker: BrokerId) {
        self.compare(topic, &topic.partitions, &SharedMap::new(), broker);
        self.deleted_topics.push(DeletedTopic { name: Arc::clone(&topic.name), id: topic.id });
    }

    fn change_topic(&mut self, was: &Topic, is: &Topic, broker: BrokerId) {
        self.compare(is, &was.partitions, &is.partitions, broker);
    }

    fn compare(&mut self, topic: &Topic, was: &Partitions, is: &Partitions, broker: BrokerId) {
        for change in is.changes(was) {
            let index = *key(&change);
            let (was, is) = match change {
                Change::Added(_, is) => (None, Some(is)),
                Change::Changed(_, was, is) => (Some(was), Some(is)),
                Change::Removed(_, was) => (Some(was), None),
            };
            let hosted = |partition: &&Arc<Partition>| partition.is_replica(broker);
            match (was.filter(hosted), is.filter(hosted)) {
                (None, None) => {}
                (None, Some(is)) => self.added.push(HostedPartition::new(topic, index, is)),
                (Some(_), Some(is)) => self.changed.push(HostedPartition::new(topic, index, is)),
                (Some(_), None) => {
                    self.removed.push(RemovedPartition { topic: Arc::clone(&topic.name), topic_id: topic.id, index });
                }
            }
        }
    }
}

type Partitions = SharedMap<PartitionIndex, Arc<Partition>>;

impl HostedPartition {
    fn new(topic: &Topic, index: PartitionIndex, partition: &Arc<Partition>) -> Self {
        Self { topic: Arc::clone(&topic.name), topic_id: topic.id, index, partition: Arc::clone(partition) }
    }
}

fn key<'a, K, V>(change: &Change<'a, K, V>) -> &'a K {
    match change {
        Change::Added(key, _) | Change::Changed(key, _, _) | Change::Removed(key, _) => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use ottla_protocol::internal::metadata as records;
    use ottla_protocol::internal::metadata::MetadataRecord;

    fn topic(name: &'static str, id: u128) -> MetadataRecord<'static> {
        records::TopicRecord { name: name.into(), topic_id: Uuid(id) }.into()
    }

    fn partition(id: u128, partition_id: i32, replicas: Vec<i32>) -> MetadataRecord<'static> {
        let directories = vec![Uuid(200); replicas.len()];
        let (isr, leader) = (replicas.clone(), replicas[0]);
        let epochs = records::PartitionRecord { leader_epoch: 0, partition_epoch: 0, ..Default::default() };
        records::PartitionRecord { topic_id: Uuid(id), partition_id, directories, replicas, isr, leader, ..epochs }
            .into()
    }

    fn config(resource: &'static str, value: Option<&'static str>) -> MetadataRecord<'static> {
        let value = value.map(Into::into);
        records::ConfigRecord { resource_type: 2, resource_name: resource.into(), name: "k".into(), value }.into()
    }

    fn with(image: &Image, records: impl IntoIterator<Item = MetadataRecord<'static>>) -> Image {
        let mut image = image.clone();
        for record in records {
            image.apply(image.end(), &record).expect("it follows from what came before");
        }
        image
    }

    /// What broker 1 has to do.
    fn summary(older: &Image, newer: &Image) -> String {
        let delta = BrokerDelta::between(older, newer, BrokerId(1));
        let hosted = |list: &[HostedPartition]| -> Vec<String> {
            list.iter().map(|p| format!("{}-{} {:?}", p.topic, p.index, p.partition.leader)).collect()
        };
        let removed: Vec<_> =
            delta.removed.iter().map(|p| format!("{}-{} {}", p.topic, p.index, p.topic_id.0)).collect();
        let deleted: Vec<_> =
            delta.deleted_topics.iter().map(|topic| format!("{} {}", topic.name, topic.id.0)).collect();
        let configs: Vec<_> = delta.configs.iter().map(|resource| &resource.name).collect();
        format!(
            "added {:?} changed {:?} removed {removed:?} deleted {deleted:?} configs {configs:?} brokers {}",
            hosted(&delta.added),
            hosted(&delta.changed),
            delta.brokers_changed,
        )
    }

    fn check(older: &Image, newer: &Image, expected: &expect_test::Expect) {
        expected.assert_eq(&summary(older, newer));
    }

    #[test]
    fn a_broker_is_told_what_concerns_it() {
        let empty = Image::new("c");
        let created = with(
            &empty,
            [
                topic("t", 100),
                partition(100, 0, vec![1]),
                partition(100, 1, vec![2]),
                topic("u", 101),
                partition(101, 0, vec![2]),
                config("t", Some("5")),
            ],
        );
        check(
            &empty,
            &created,
            &expect![[r#"added ["t-0 Some(1)"] changed [] removed [] deleted [] configs ["t"] brokers false"#]],
        );

        let change = records::PartitionChangeRecord { topic_id: Uuid(100), leader: -1, ..Default::default() };
        let offline = with(&created, [records::PartitionChangeRecord { partition_id: 0, ..change.clone() }.into()]);
        check(
            &created,
            &offline,
            &expect![[r#"added [] changed ["t-0 None"] removed [] deleted [] configs [] brokers false"#]],
        );

        let replicas = Some(vec![1]);
        let moved = [
            records::PartitionChangeRecord { partition_id: 0, replicas: Some(vec![2]), ..change.clone() }.into(),
            records::PartitionChangeRecord { partition_id: 1, replicas, leader: 1, ..change }.into(),
        ];
        check(
            &created,
            &with(&created, moved),
            &expect![[r#"added ["t-1 Some(1)"] changed [] removed ["t-0 100"] deleted [] configs [] brokers false"#]],
        );
        check(
            &created,
            &created.clone(),
            &expect![[r#"added [] changed [] removed [] deleted [] configs [] brokers false"#]],
        );
        assert!(BrokerDelta::between(&created, &created.clone(), BrokerId(1)).is_empty());
    }

    #[test]
    fn a_topic_that_is_created_again_is_removed_and_added() {
        let before = with(&Image::new("c"), [topic("t", 100), partition(100, 0, vec![1]), config("t", Some("5"))]);
        let remove = records::RemoveTopicRecord { topic_id: Uuid(100) }.into();
        let after = with(&before, [remove, topic("t", 102), partition(102, 0, vec![1])]);
        check(
            &before,
            &after,
            &expect![[
                r#"added ["t-0 Some(1)"] changed [] removed ["t-0 100"] deleted ["t 100"] configs ["t"] brokers false"#
            ]],
        );
    }

    #[test]
    fn entities_whose_quotas_change_are_told_of() {
        let quota = |name: &'static str, value| {
            let entity =
                records::client_quota_record::Entity { entity_type: "ip".into(), entity_name: Some(name.into()) };
            let key = "connection_creation_rate".into();
            records::ClientQuotaRecord { entity: vec![entity], key, value, remove: value == 0.0 }.into()
        };
        let before =
            with(&Image::new("c"), [quota("127.0.0.1", 5.0), quota("127.0.0.2", 5.0), quota("127.0.0.3", 5.0)]);
        let after = with(&before, [quota("127.0.0.1", 6.0), quota("127.0.0.2", 0.0)]);
        let changed = BrokerDelta::between(&before, &after, BrokerId(1)).client_quotas;
        let names: Vec<_> = changed.iter().filter_map(|entity| entity[0].1.as_deref()).collect();
        assert_eq!(names, ["127.0.0.1", "127.0.0.2"]);
    }

    #[test]
    fn brokers_that_change_are_told_of() {
        let before = Image::new("c");
        let after = with(&before, [records::RegisterBrokerRecord { broker_id: 2, ..Default::default() }.into()]);
        assert!(BrokerDelta::between(&before, &after, BrokerId(1)).brokers_changed);
    }
}
