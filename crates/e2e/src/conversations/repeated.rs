//! Requests that name the same thing twice, or are wrong in two ways at once: which of the two Kafka looks at.

use ottla_base::Uuid;
use ottla_protocol::messages::alter_configs_request::{self as replace, AlterConfigsRequest};
use ottla_protocol::messages::alter_configs_response::AlterConfigsResponse;
use ottla_protocol::messages::create_topics_request::{CreateTopicsRequest, Topic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::delete_records_request::{self as delete, DeleteRecordsRequest};
use ottla_protocol::messages::delete_records_response::DeleteRecordsResponse;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, Resource};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResponse;
use ottla_protocol::messages::describe_producers_request::{DescribeProducersRequest, Topic as Described};
use ottla_protocol::messages::describe_producers_response::DescribeProducersResponse;
use ottla_protocol::messages::incremental_alter_configs_request::{self as edit, IncrementalAlterConfigsRequest};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::messages::metadata_request::{MetadataRequest, Topic as Asked};
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::BatchBuilder;
use ottla_protocol::{ApiKey, Records};

use super::admin::TOPIC;
use super::membership::{Member, coordinate, describe_in};
use super::{Conversation, Session, batch_of, exchange, produce_request};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("repeated-produce", produce),
    Conversation::new("repeated-delete-records", delete_records),
    Conversation::new("repeated-admin", admin),
    Conversation::new("repeated-describe-groups", describe_groups),
    Conversation::new("repeated-describe-producers", describe_producers),
];

/// Produces; the order of topics and partitions in the answer means nothing.
fn ask(session: &mut Session, what: &str, version: i16, request: &ProduceRequest<'_>) {
    let Some(answer) = session.ask(what, ApiKey::Produce, version, request) else { return };
    let mut response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, version);
    response.responses.iter_mut().for_each(|topic| topic.partition_responses.sort_by_key(|partition| partition.index));
    response.responses.sort_by(|a, b| a.name.cmp(&b.name));
    session.note(&response);
}

fn produce(session: &mut Session) {
    session.topic("repeated", 2, &[]);
    session.topic("repeated-too", 1, &[]);
    let id = session.id_of("repeated");
    let (one, two) = (batch_of(&[(1000, "one")]), batch_of(&[(1001, "two"), (1002, "three")]));
    let mut builder =
        BatchBuilder::new().producer(ottla_base::ProducerId(5), ottla_base::ProducerEpoch(0), 0).transactional();
    builder.push(1000, None, Some(b"in a transaction"), &[]);
    let transactional = builder.build().expect("there is memory");
    let data = |index, batch| PartitionData { index, records: Records::Bytes(batch) };
    let topic =
        |name: &'static str, partition_data| TopicData { name: name.into(), partition_data, ..Default::default() };
    let request = |acks, topic_data| ProduceRequest { transactional_id: None, acks, timeout_ms: 10_000, topic_data };

    let mixed = vec![topic("repeated", vec![data(0, &one), data(1, &transactional)])];
    ask(session, "one batch is transactional, and no transactional id", 9, &request(-1, mixed.clone()));
    let mut by_id = mixed.clone();
    by_id[0].name = "".into();
    by_id[0].topic_id = id;
    ask(session, "the same by id", 13, &request(-1, by_id));
    let elsewhere = vec![topic("repeated-none", vec![data(0, &transactional)]), topic("repeated", vec![data(0, &one)])];
    ask(session, "the transactional one to a topic that is not there", 9, &request(-1, elsewhere));
    ask(session, "and with acks 2", 9, &request(2, mixed.clone()));
    session.tell("and with acks 0", ApiKey::Produce, 9, &request(0, mixed));
    session.note_whether_open();
    ask(session, "where that left the log", 9, &produce_request("repeated", 0, -1, &one));

    let twice = vec![topic("repeated", vec![data(0, &one), data(0, &two)])];
    ask(session, "a partition twice", 9, &request(-1, twice));
    ask(session, "what came of it", 9, &produce_request("repeated", 0, -1, &one));
    let twice = vec![topic("repeated", vec![data(0, &one)]), topic("repeated", vec![data(0, &two), data(1, &one)])];
    ask(session, "a topic twice", 9, &request(-1, twice));
    ask(session, "what came of that", 9, &produce_request("repeated", 0, -1, &one));
    let twice = vec![
        topic("repeated", vec![data(1, &one)]),
        topic("repeated-too", vec![data(0, &one)]),
        topic("repeated", vec![data(0, &two)]),
    ];
    ask(session, "a topic twice, another one between", 9, &request(-1, twice));
    let mut by_id =
        TopicData { topic_id: id, partition_data: vec![data(0, &one), data(0, &two)], ..Default::default() };
    ask(session, "a partition twice, by id", 13, &request(-1, vec![by_id.clone()]));
    by_id.topic_id = Uuid(77);
    ask(session, "a partition twice, by an unknown id", 13, &request(-1, vec![by_id]));
    let twice = vec![topic("repeated-none", vec![data(0, &one), data(0, &two)])];
    ask(session, "a partition that is not there twice", 9, &request(-1, twice));
    let twice = vec![topic("repeated", vec![data(0, &one), data(0, &[])])];
    ask(session, "a partition twice, first good, then bad", 9, &request(-1, twice));
    let twice = vec![topic("repeated", vec![data(0, &[]), data(0, &one)])];
    ask(session, "a partition twice, first bad, then good", 9, &request(-1, twice));

    ask(session, "acks 2 to a topic that is not there", 9, &produce_request("repeated-none", 0, 2, &one));
    ask(session, "acks 2 to a partition that is not there", 9, &produce_request("repeated", 9, 2, &one));
    ask(session, "acks 2 without records", 9, &produce_request("repeated", 0, 2, &[]));
    let both = [&one[..], &two[..]].concat();
    ask(session, "acks 2 with two batches", 9, &produce_request("repeated", 0, 2, &both));
    let mut damaged = one.clone();
    damaged[65] ^= 1;
    ask(session, "acks 2 with a wrong checksum", 9, &produce_request("repeated", 0, 2, &damaged));
}

fn delete_records(session: &mut Session) {
    session.topic("repeated-delete", 2, &[]);
    for partition in [0, 1] {
        session.append("repeated-delete", partition, &[(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]);
    }
    let topic = |partitions: &[(i32, i64)]| delete::Topic {
        name: "repeated-delete".into(),
        partitions: partitions
            .iter()
            .map(|&(partition_index, offset)| delete::Partition { partition_index, offset })
            .collect(),
    };
    for (what, topics) in [
        ("no partitions", vec![topic(&[])]),
        ("a partition twice", vec![topic(&[(0, 1), (0, 2)])]),
        ("a partition twice, the lower offset last", vec![topic(&[(0, 4), (0, 3)])]),
        ("a topic twice", vec![topic(&[(0, 4)]), topic(&[(1, 1)])]),
        ("a topic and its partition twice", vec![topic(&[(1, 2)]), topic(&[(1, 3)])]),
        ("a partition that is not there twice", vec![topic(&[(7, 2), (7, 3)])]),
        ("once with nothing", vec![topic(&[]), topic(&[(1, 3)])]),
    ] {
        let request = DeleteRecordsRequest { topics, timeout_ms: 5000 };
        let Some(answer) = session.ask(what, ApiKey::DeleteRecords, 2, &request) else { continue };
        let mut response: DeleteRecordsResponse<'_> = body(&answer, ApiKey::DeleteRecords, 2);
        response.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|one| one.partition_index));
        session.note(&response);
    }
}

fn admin(session: &mut Session) {
    session.topic("repeated-described", 1, &[]);
    let described = |key: &'static str| Resource {
        resource_type: TOPIC,
        resource_name: "repeated-described".into(),
        configuration_keys: Some(vec![key.into()]),
    };
    let resources = vec![described("segment.bytes"), described("retention.ms"), described("segment.bytes")];
    let request = DescribeConfigsRequest { resources, ..Default::default() };
    exchange!(session, "a topic three times", DescribeConfigs 4, &request => DescribeConfigsResponse<'_>);

    let none = "repeated-none";
    for (what, key, operation, value) in [
        ("an unknown key", "no.such.key", 0, "5"),
        ("a bad value", "retention.ms", 0, "many"),
        ("an operation that does not go", "retention.ms", 2, "5"),
        ("nothing else wrong", "retention.ms", 0, "5"),
    ] {
        let config = edit::Config { name: key.into(), config_operation: operation, value: Some(value.into()) };
        let resource = edit::Resource { resource_type: TOPIC, resource_name: none.into(), configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let what = format!("a topic that is not there, {what}");
        exchange!(session, what, IncrementalAlterConfigs 1, &request => IncrementalAlterConfigsResponse<'_>);
        let config = replace::Config { name: key.into(), value: Some(value.into()) };
        let resource = replace::Resource { resource_type: TOPIC, resource_name: none.into(), configs: vec![config] };
        let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
        exchange!(session, what, AlterConfigs 2, &request => AlterConfigsResponse<'_>);
    }

    let topic = |name: &'static str, num_partitions| Topic {
        name: name.into(),
        num_partitions,
        replication_factor: 1,
        ..Default::default()
    };
    for topics in [
        vec![topic("repeated-d1", 6000), topic("repeated-d1", 6000), topic("repeated-d2", 1)],
        vec![topic("repeated-d1", 6000), topic("repeated-d2", 6000)],
        vec![topic("repeated bad", 10_000), topic("repeated-d2", 1)],
    ] {
        let request = CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only: true };
        let Some(answer) = session.ask("very many partitions", ApiKey::CreateTopics, 7, &request) else { continue };
        let mut response: CreateTopicsResponse<'_> = body(&answer, ApiKey::CreateTopics, 7);
        response.topics.iter_mut().for_each(|topic| topic.configs = None);
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        session.note(&response);
    }

    for version in [8, 10, 12, 13] {
        for name in ["repeated bad", "repeated-none", ""] {
            let request = MetadataRequest {
                topics: Some(vec![Asked { name: Some(name.into()), ..Default::default() }]),
                allow_auto_topic_creation: false,
                include_topic_authorized_operations: true,
                ..Default::default()
            };
            let what = format!("{name:?}, and what is allowed there");
            exchange!(session, what, Metadata version, &request => MetadataResponse<'_>);
        }
    }
}

/// Every name is answered, however often it stands there.
fn describe_groups(session: &mut Session) {
    const GROUP: &str = "repeated-group";
    coordinate(session, GROUP);
    coordinate(session, "");
    let mut member = Member::new("member", GROUP);
    member.join(session, "to be described");
    member.sync(session, "to be described", &[(&member, b"all")]);
    for version in 0..=6 {
        describe_in(session, "the same twice", version, &[GROUP, GROUP], version >= 3);
        describe_in(
            session,
            "others between",
            version,
            &[GROUP, "repeated-none", "", GROUP, "repeated-none", ""],
            false,
        );
    }
    member.leave(session, "to end");
}

fn describe_producers(session: &mut Session) {
    session.topic("repeated-producers", 1, &[]);
    session.append_batch("repeated-producers", 0, &super::producing::sequenced(4_300_000, 0, 0, 2));
    let named = |topics: &[(&'static str, &[i32])]| {
        let topic = |&(name, indexes): &(&'static str, &[i32])| Described {
            name: name.into(),
            partition_indexes: indexes.to_vec(),
        };
        DescribeProducersRequest { topics: topics.iter().map(topic).collect() }
    };
    let request = named(&[("repeated-producers", &[0, 0, 9, 9, 0])]);
    exchange!(session, "in one topic", DescribeProducers 0, &request => DescribeProducersResponse<'_>);
    let request = named(&[
        ("repeated-producers", &[0, 9]),
        ("repeated-none", &[0, 0]),
        ("repeated-producers", &[9, 0]),
        ("repeated bad", &[1, 0, 1]),
        ("repeated-none", &[]),
        ("repeated-none", &[0]),
    ]);
    exchange!(session, "in several", DescribeProducers 0, &request => DescribeProducersResponse<'_>);
}
