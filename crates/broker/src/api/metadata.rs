//! Metadata (key 3, versions 0-13): brokers, topics, partitions and their leaders. Creates topics where that is allowed.
//!
//! v1 null means all topics, controller id. v2 cluster id. v4 auto creation flag. v7 leader epochs. v8 authorized operations
//! (KIP-430). v9 flexible. v10 topic ids (usable from v12 on). v13 a top-level error.
//! Differs from Kafka: a topic that is created on the way is answered at once, where Kafka says UNKNOWN_TOPIC_OR_PARTITION
//! first.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla_base::{BrokerId, PartitionIndex, Uuid};
use ottla_metadata::image::{Image, Partition as ImagePartition, Topic as ImageTopic};
use ottla_metadata::names;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::metadata_request::{self, MetadataRequest};
use ottla_protocol::messages::metadata_response::{Broker, MetadataResponse, Partition, Topic};

use super::{Api, is_alive, is_offline, is_reached};
use crate::access::{self, Asker, NOT_ASKED, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::node::{BrokerEndpoint, Node};
use crate::request::Request;

/// Metadata.
pub const API: Api = Api { key: ApiKey::Metadata, versions: 0..=13, handle };

/// Topics may be asked for by id from this version on.
const IDS_FROM: i16 = 12;
/// From this version on, a leader without the client's listener has an error of its own.
const LISTENER_ERROR_FROM: i16 = 6;
/// From so many partitions on, an answer takes much memory until it is told.
const LARGE_FROM: usize = 3000;

/// A request, in its own words.
struct Asked<'r> {
    version: i16,
    asker: Asker,
    /// `None` asks for all.
    topics: Option<Vec<AskedTopic<'r>>>,
    topic_operations: bool,
    cluster_operations: bool,
}

#[derive(Clone, Debug)]
enum AskedTopic<'r> {
    Name(Cow<'r, str>),
    Id(Uuid),
}

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let wire: MetadataRequest<'_> = request.decode()?;
    let version = request.version();
    let is_by_id = |topic: &metadata_request::Topic<'_>| topic.name.is_none() || !topic.topic_id.is_zero();
    if version < IDS_FROM && wire.topics.iter().flatten().any(is_by_id) {
        return request.reply(refused(&wire, ErrorCode::InvalidRequest));
    }
    let asked_topics = wire.topics.as_ref().filter(|topics| version > 0 || !topics.is_empty()).map(|topics| {
        let mut seen = BTreeSet::new();
        // As in Kafka, where one is asked for by its id, names are not looked at.
        let by_id = topics.iter().any(|topic| !topic.topic_id.is_zero());
        let meant = topics.iter().filter(|topic| !by_id || !topic.topic_id.is_zero());
        let new = meant.filter(|topic| seen.insert((name_of(topic), topic.topic_id)));
        let asked = new.map(|topic| match name_of(topic) {
            Some(name) => AskedTopic::Name(Cow::Borrowed(name)),
            None => AskedTopic::Id(topic.topic_id),
        });
        asked.collect()
    });
    let asked = Asked {
        version,
        asker: request.client.asker.clone(),
        topics: asked_topics,
        topic_operations: wire.include_topic_authorized_operations,
        cluster_operations: wire.include_cluster_authorized_operations,
    };
    let missing = to_create(request, &asked, version < 4 || wire.allow_auto_topic_creation);
    let asked_count = asked.topics.as_ref().map_or(0, Vec::len);
    let place = (!missing.is_empty()).then(|| request.node.controller.place(asked_count, request.body.len())).flatten();
    // Where there is no place, the client asks again, as it does where Kafka's controller takes its time.
    let Some(place) = place else {
        if asked.is_large(&request.node.image()) {
            request.is_large()?;
        }
        return request.reply(answer(request.node, &asked));
    };
    let (node, responder, asked) = (request.node.clone(), request.responder(), asked.into_owned());
    Ok(Reply::Parked(Box::pin(async move {
        node.create_missing_topics(&place, missing).await;
        let is_large = asked.is_large(&node.image());
        let _turn = if is_large { node.budgets.large_turn_of_parked().await } else { None };
        responder.answer(answer(&node, &asked))
    })))
}

impl Asked<'_> {
    /// Whether there is much to tell.
    fn is_large(&self, image: &Image) -> bool {
        let asked = |topic: &AskedTopic<'_>| match topic {
            AskedTopic::Name(name) => image.topic(name).map_or(0, |topic| topic.partitions.len()),
            AskedTopic::Id(id) => image.topic_by_id(*id).map_or(0, |topic| topic.partitions.len()),
        };
        let partitions: usize = match &self.topics {
            None => image.topics().iter().map(|topic| topic.partitions.len()).sum(),
            Some(topics) => topics.iter().map(asked).sum(),
        };
        partitions >= LARGE_FROM
    }

    fn into_owned(self) -> Asked<'static> {
        let owned = |topic| match topic {
            AskedTopic::Name(name) => AskedTopic::Name(Cow::Owned(name.into_owned())),
            AskedTopic::Id(id) => AskedTopic::Id(id),
        };
        Asked { topics: self.topics.map(|topics| topics.into_iter().map(owned).collect()), ..self }
    }
}

/// The name by which a topic is asked for, unless it is by id.
fn name_of<'t>(topic: &'t metadata_request::Topic<'_>) -> Option<&'t str> {
    topic.name.as_deref().filter(|_| topic.topic_id.is_zero())
}

/// The topics that were asked for by name, do not exist, and may be created on the way.
fn to_create(request: &Request<'_>, asked: &Asked<'_>, allowed: bool) -> BTreeSet<String> {
    if !allowed || !request.node.config.auto_create_topics_enable {
        return BTreeSet::new();
    }
    let image = request.node.image();
    let missing = asked.topics.iter().flatten().filter_map(|topic| match topic {
        // Internal topics get their own settings, from whoever coordinates with them.
        AskedTopic::Name(name) if names::is_internal(name) => None,
        AskedTopic::Name(name) if image.topic(name).is_none() && names::validate(name).is_ok() => Some(name),
        _ => None,
    });
    let may_create = |name: &&Cow<'_, str>| {
        request.may(Operation::Create, Resource::Cluster) || request.may(Operation::Create, Resource::Topic(name))
    };
    missing.filter(may_create).map(|name| name.clone().into_owned()).collect()
}

/// Refuses all of it. As in Kafka, what has no name has an empty one.
fn refused(wire: &MetadataRequest<'_>, code: ErrorCode) -> MetadataResponse<'static> {
    let topics = wire.topics.iter().flatten().map(|topic| Topic {
        error_code: code.code(),
        name: Some(Cow::Owned(topic.name.as_deref().unwrap_or_default().to_owned())),
        topic_id: topic.topic_id,
        topic_authorized_operations: NOT_ASKED,
        ..Default::default()
    });
    MetadataResponse { topics: topics.collect(), error_code: code.code(), ..Default::default() }
}

fn answer<'a>(node: &Node, asked: &'a Asked<'_>) -> MetadataResponse<'a> {
    let image = node.image();
    let brokers = BrokerEndpoint::of_alive(&image, &asked.asker.listener).into_iter().map(|endpoint| Broker {
        node_id: endpoint.id.0,
        host: Cow::Owned(endpoint.host),
        port: i32::from(endpoint.port),
        rack: endpoint.rack.map(Cow::Owned),
    });
    let may_describe = |name: &str| node.authorizer.allows(&asked.asker, Operation::Describe, Resource::Topic(name));
    let topics = match &asked.topics {
        None => image
            .topics()
            .iter()
            .filter(|topic| may_describe(&topic.name))
            .map(|topic| describe(node, asked, &image, topic))
            .collect(),
        Some(topics) => {
            let describe = |topic: &'a AskedTopic<'_>| match topic {
                AskedTopic::Name(name) => by_name(node, asked, &image, name, may_describe(name)),
                AskedTopic::Id(id) => by_id(node, asked, &image, *id, &may_describe),
            };
            topics.iter().map(describe).collect()
        }
    };
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(Cow::Owned(image.cluster_id().to_owned())),
        controller_id: node.config.node_id.0,
        topics,
        cluster_authorized_operations: access::operations_on_cluster(
            &*node.authorizer,
            &asked.asker,
            asked.cluster_operations,
        ),
        ..Default::default()
    }
}

fn by_name<'a>(node: &Node, asked: &Asked<'_>, image: &Image, name: &'a str, visible: bool) -> Topic<'a> {
    let failed = |code: ErrorCode, topic_authorized_operations| Topic {
        error_code: code.code(),
        name: Some(Cow::Borrowed(name)),
        topic_authorized_operations,
        ..Default::default()
    };
    match image.topic(name) {
        _ if !visible => failed(ErrorCode::TopicAuthorizationFailed, NOT_ASKED),
        Some(topic) => describe(node, asked, image, topic),
        None if names::validate(name).is_err() => {
            failed(ErrorCode::InvalidTopicException, topic_operations(node, asked, name))
        }
        None => Topic {
            // As in Kafka, by the name alone.
            is_internal: names::is_internal(name),
            ..failed(ErrorCode::UnknownTopicOrPartition, topic_operations(node, asked, name))
        },
    }
}

fn by_id(
    node: &Node,
    asked: &Asked<'_>,
    image: &Image,
    id: Uuid,
    may_describe: &impl Fn(&str) -> bool,
) -> Topic<'static> {
    let failed = |code: ErrorCode| Topic {
        error_code: code.code(),
        name: None,
        topic_id: id,
        topic_authorized_operations: NOT_ASKED,
        ..Default::default()
    };
    match image.topic_by_id(id) {
        Some(topic) if may_describe(&topic.name) => describe(node, asked, image, topic),
        Some(_) => failed(ErrorCode::TopicAuthorizationFailed),
        None => failed(ErrorCode::UnknownTopicId),
    }
}

fn describe(node: &Node, asked: &Asked<'_>, image: &Image, topic: &ImageTopic) -> Topic<'static> {
    let partitions = topic.partitions.iter();
    let listener = &*asked.asker.listener;
    Topic {
        error_code: ErrorCode::None.code(),
        name: Some(Cow::Owned(topic.name.to_string())),
        topic_id: topic.id,
        is_internal: names::is_internal(&topic.name),
        partitions: partitions
            .map(|(index, one)| describe_partition(image, *index, one, listener, asked.version))
            .collect(),
        topic_authorized_operations: topic_operations(node, asked, &topic.name),
    }
}

/// The first version does not tell of replicas that cannot be reached, but that there are some.
fn describe_partition(
    image: &Image,
    index: PartitionIndex,
    partition: &ImagePartition,
    listener: &str,
    version: i16,
) -> Partition {
    let told = |brokers: &[BrokerId]| -> Vec<i32> {
        let told = brokers.iter().filter(|&&broker| version > 0 || is_alive(image, broker, listener));
        told.map(|broker| broker.0).collect()
    };
    let (replica_nodes, isr_nodes) = (told(&partition.replicas), told(&partition.isr));
    let offline = partition.replicas.iter().filter(|&&replica| is_offline(image, partition, replica, listener));
    let leader = partition.leader.filter(|&leader| is_reached(image, leader, listener));
    let is_short = replica_nodes.len() < partition.replicas.len() || isr_nodes.len() < partition.isr.len();
    let code = match (leader, partition.leader.and_then(|leader| image.broker(leader))) {
        (Some(_), _) if is_short => ErrorCode::ReplicaNotAvailable,
        (Some(_), _) => ErrorCode::None,
        (None, Some(_)) if version >= LISTENER_ERROR_FROM => ErrorCode::ListenerNotFound,
        (None, _) => ErrorCode::LeaderNotAvailable,
    };
    Partition {
        error_code: code.code(),
        partition_index: index.0,
        leader_id: leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes,
        isr_nodes,
        offline_replicas: offline.map(|replica| replica.0).collect(),
    }
}

/// What the client may do with a topic, whether it is there or not.
fn topic_operations(node: &Node, asked: &Asked<'_>, name: &str) -> i32 {
    match asked.topic_operations {
        true => access::authorized_operations(
            &*node.authorizer,
            &asked.asker,
            Resource::Topic(name),
            &Resource::TOPIC_OPERATIONS,
        ),
        false => NOT_ASKED,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use ottla_base::Offset;
    use ottla_protocol::internal::metadata::register_broker_record::EndPoint;
    use ottla_protocol::internal::metadata::{MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord};

    use super::*;
    use crate::access::Principal;

    #[test]
    fn what_is_refused_as_a_whole_is_told_of_each_topic() {
        let topic =
            |name: Option<&'static str>, id| metadata_request::Topic { name: name.map(Into::into), topic_id: Uuid(id) };
        let topics = vec![topic(Some("t"), 5), topic(None, 0), topic(None, 0)];
        let refused =
            refused(&MetadataRequest { topics: Some(topics), ..Default::default() }, ErrorCode::InvalidRequest);
        let told = refused.topics.iter().map(|topic| (topic.name.as_deref(), topic.topic_id, topic.error_code));
        let expected = [(Some("t"), Uuid(5), 42), (Some(""), Uuid(0), 42), (Some(""), Uuid(0), 42)];
        assert_eq!((told.collect::<Vec<_>>(), refused.error_code), (expected.to_vec(), 42));
    }

    #[test]
    fn many_partitions_make_a_large_answer() {
        let mut image = Image::new("c");
        let mut apply = |record: MetadataRecord<'_>| image.apply(Offset(0), &record).unwrap();
        for (name, id, partitions) in [("large", 1, LARGE_FROM), ("small", 2, 1)] {
            let topic_id = Uuid(id);
            apply(TopicRecord { name: name.into(), topic_id }.into());
            for partition_id in 0..partitions as i32 {
                let directories = vec![Uuid::ZERO];
                let (replicas, isr) = (vec![1], vec![1]);
                apply(
                    PartitionRecord {
                        partition_id,
                        topic_id,
                        leader: 1,
                        replicas,
                        isr,
                        directories,
                        ..Default::default()
                    }
                    .into(),
                );
            }
        }
        let is_large = |topics| {
            let asker = Asker {
                principal: Principal::anonymous(),
                host: Ipv4Addr::LOCALHOST.into(),
                listener: "PLAINTEXT".into(),
            };
            Asked { version: 1, asker, topics, topic_operations: false, cluster_operations: false }.is_large(&image)
        };
        let name = |name: &'static str| AskedTopic::Name(name.into());
        assert!(is_large(None));
        assert!(is_large(Some(vec![name("small"), name("large")])));
        assert!(is_large(Some(vec![AskedTopic::Id(Uuid(1))])));
        assert!(!is_large(Some(vec![name("small"), name("nothing"), AskedTopic::Id(Uuid(9))])));
    }

    #[test]
    fn brokers_that_cannot_be_reached_are_told_of_as_the_version_knows() {
        let mut image = Image::new("c");
        let mut apply = |record: MetadataRecord<'_>| image.apply(Offset(0), &record).unwrap();
        for (broker_id, fenced, listener) in [(1, false, "A"), (2, true, "A"), (3, false, "B")] {
            let end_point = EndPoint { name: listener.into(), host: "h".into(), port: 1, security_protocol: 0 };
            let end_points = vec![end_point];
            apply(RegisterBrokerRecord { broker_id, fenced, end_points, ..Default::default() }.into());
        }
        apply(TopicRecord { name: "t".into(), topic_id: Uuid(5) }.into());
        for (partition_id, leader, others) in [(0, 1, vec![]), (1, 1, vec![2]), (2, 3, vec![1]), (3, -1, vec![9])] {
            let replicas: Vec<i32> = [leader.max(1)].into_iter().chain(others).collect();
            let (isr, directories) = (vec![leader.max(1)], vec![Uuid::ZERO; replicas.len()]);
            let topic_id = Uuid(5);
            apply(
                PartitionRecord { partition_id, topic_id, leader, replicas, isr, directories, ..Default::default() }
                    .into(),
            );
        }
        let topic = image.topic("t").unwrap();
        let told = |version| {
            let told = |(index, one): (&PartitionIndex, &Arc<ImagePartition>)| {
                let told = describe_partition(&image, *index, one, "a", version);
                (told.error_code, told.leader_id, told.replica_nodes, told.isr_nodes, told.offline_replicas)
            };
            topic.partitions.iter().map(told).collect::<Vec<_>>()
        };
        let all = [
            (0, 1, vec![1], vec![1], vec![]),
            (0, 1, vec![1, 2], vec![1], vec![2]),
            (72, -1, vec![3, 1], vec![3], vec![3]),
            (5, -1, vec![1, 9], vec![1], vec![9]),
        ];
        assert_eq!(told(6), all);
        let [_, second, third, fourth] = all.clone();
        assert_eq!(told(5)[2], (5, third.1, third.2, third.3, third.4));
        let first_version = told(0);
        assert_eq!(first_version[1], (9, 1, vec![1], second.3, second.4));
        assert_eq!(first_version[2], (5, -1, vec![1], vec![], vec![3]));
        assert_eq!(first_version[3], (5, -1, vec![1], fourth.3, fourth.4));
    }
}
