//! Making, growing and deleting topics, and hearing of them.

use ottla_base::Uuid;
use ottla_protocol::messages::create_partitions_request::{self as partitions, CreatePartitionsRequest};
use ottla_protocol::messages::create_partitions_response::CreatePartitionsResponse;
use ottla_protocol::messages::create_topics_request::{Assignment, Config, CreateTopicsRequest, Topic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicsRequest, Topic as Deleted};
use ottla_protocol::messages::delete_topics_response::DeleteTopicsResponse;
use ottla_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, Topic as Described,
};
use ottla_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponse;
use ottla_protocol::messages::metadata_request::{MetadataRequest, Topic as Asked};
use ottla_protocol::messages::metadata_response::MetadataResponse;

use ottla_protocol::ApiKey;

use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("create-topics", create),
    Conversation::new("create-topics-versions", create_versions),
    Conversation::new("create-topics-configs", create_configs),
    Conversation::new("create-partitions", grow),
    Conversation::new("delete-topics", delete),
    Conversation::new("metadata", metadata),
    Conversation::new("metadata-versions", metadata_versions),
    Conversation::new("describe-topic-partitions", describe),
];

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> Topic<'_> {
    Topic { name: name.into(), num_partitions, replication_factor, ..Default::default() }
}

fn assigned<'a>(name: &'a str, assignments: &[(i32, &[i32])]) -> Topic<'a> {
    let assignment =
        |&(partition_index, brokers): &(i32, &[i32])| Assignment { partition_index, broker_ids: brokers.to_vec() };
    Topic { assignments: assignments.iter().map(assignment).collect(), ..topic(name, -1, -1) }
}

fn configured<'a>(name: &'a str, configs: &[(&'a str, Option<&'a str>)]) -> Topic<'a> {
    let config =
        |&(name, value): &(&'a str, Option<&'a str>)| Config { name: name.into(), value: value.map(Into::into) };
    Topic { configs: configs.iter().map(config).collect(), ..topic(name, 1, 1) }
}

fn creation(topics: Vec<Topic<'_>>) -> CreateTopicsRequest<'_> {
    CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only: false }
}

/// Asks for topics; the order of their settings in the answer means nothing.
fn ask_for(session: &mut Session, what: &str, version: i16, request: &CreateTopicsRequest<'_>) {
    let Some(answer) = session.ask(what, ApiKey::CreateTopics, version, request) else { return };
    let mut response: CreateTopicsResponse<'_> = body(&answer, ApiKey::CreateTopics, version);
    for configs in response.topics.iter_mut().filter_map(|topic| topic.configs.as_mut()) {
        configs.sort_by(|a, b| a.name.cmp(&b.name));
    }
    session.note(&response);
}

fn create(session: &mut Session) {
    let long = "l".repeat(250);
    let cases: Vec<(&str, Vec<Topic<'_>>)> = vec![
        ("a topic", vec![topic("create.a", 3, 1)]),
        ("the same again", vec![topic("create.a", 3, 1)]),
        ("defaults", vec![topic("create-defaults", -1, -1)]),
        ("a name that collides", vec![topic("create_a", 1, 1)]),
        ("the empty name", vec![topic("", 1, 1)]),
        ("a dot", vec![topic(".", 1, 1)]),
        ("two dots", vec![topic("..", 1, 1)]),
        ("a slash", vec![topic("create/a", 1, 1)]),
        ("a name of 250 characters", vec![topic(&long, 1, 1)]),
        ("no partitions", vec![topic("create-0", 0, 1)]),
        ("-2 partitions", vec![topic("create-m2", -2, 1)]),
        ("no replicas", vec![topic("create-r0", 1, 0)]),
        ("-2 replicas", vec![topic("create-rm2", 1, -2)]),
        ("more replicas than brokers", vec![topic("create-r2", 1, 2)]),
        ("twice in a request", vec![topic("create-twice", 1, 1), topic("create-twice", 1, 1)]),
        ("one good, one bad", vec![topic("create-good", 1, 1), topic("create bad", 1, 1)]),
        ("no topics", vec![]),
        ("assigned", vec![assigned("create-assigned", &[(0, &[1]), (1, &[1])])]),
        ("assigned in another order", vec![assigned("create-order", &[(1, &[1]), (0, &[1])])]),
        ("assigned with a gap", vec![assigned("create-gap", &[(0, &[1]), (2, &[1])])]),
        ("assigned from 1 on", vec![assigned("create-from1", &[(1, &[1])])]),
        ("assigned, one partition twice", vec![assigned("create-same", &[(0, &[1]), (0, &[1])])]),
        ("assigned to an unknown broker", vec![assigned("create-b9", &[(0, &[9])])]),
        ("assigned twice to one broker", vec![assigned("create-b11", &[(0, &[1, 1])])]),
        ("assigned to nobody", vec![assigned("create-nobody", &[(0, &[])])]),
        ("assigned to -1", vec![assigned("create-bm1", &[(0, &[-1])])]),
        ("assigned unevenly", vec![assigned("create-uneven", &[(0, &[1]), (1, &[1, 2])])]),
        (
            "assigned, and a count of partitions",
            vec![Topic { num_partitions: 1, ..assigned("create-both", &[(0, &[1])]) }],
        ),
        (
            "assigned, and a replication factor",
            vec![Topic { replication_factor: 1, ..assigned("create-both", &[(0, &[1])]) }],
        ),
    ];
    for (what, topics) in cases {
        ask_for(session, what, 7, &creation(topics));
    }
    for name in ["create-only-checked", "create.a", "create bad"] {
        let request = CreateTopicsRequest { validate_only: true, ..creation(vec![topic(name, 2, 1)]) };
        ask_for(session, &format!("{name}, validated only"), 7, &request);
    }
    let asked = Asked { name: Some("create-only-checked".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), allow_auto_topic_creation: false, ..Default::default() };
    exchange!(session, "what was validated only", Metadata 12, &request => MetadataResponse<'_>);
}

fn create_versions(session: &mut Session) {
    let names: Vec<String> = (2..=7).map(|version| format!("create-v{version}")).collect();
    for (version, name) in (2..=7).zip(&names) {
        for what in ["a topic", "the same again"] {
            ask_for(session, what, version, &creation(vec![topic(name, 2, 1)]));
        }
        let default = format!("create-default-v{version}");
        let request = creation(vec![topic(&default, -1, -1)]);
        ask_for(session, "defaults", version, &request);
        let bad = creation(vec![topic("create bad", 1, 1)]);
        ask_for(session, "a bad name", version, &bad);
    }
}

fn create_configs(session: &mut Session) {
    type Configs<'a> = &'a [(&'a str, Option<&'a str>)];
    let cases: &[(&str, Configs<'_>)] = &[
        ("several", &[("retention.ms", Some("1000")), ("cleanup.policy", Some("compact,delete"))]),
        ("an unknown key", &[("no.such.key", Some("1"))]),
        ("no number", &[("retention.ms", Some("many"))]),
        ("a number below the least", &[("segment.bytes", Some("100"))]),
        ("a negative size", &[("max.message.bytes", Some("-1"))]),
        ("no value", &[("retention.ms", None)]),
        ("an empty value", &[("retention.ms", Some(""))]),
        ("an unknown policy", &[("cleanup.policy", Some("burn"))]),
        ("an unknown codec", &[("compression.type", Some("brotli"))]),
        ("an unknown time", &[("message.timestamp.type", Some("NoTime"))]),
        ("no boolean", &[("preallocate", Some("perhaps"))]),
        ("a ratio above one", &[("min.cleanable.dirty.ratio", Some("1.5"))]),
        ("no insync replicas", &[("min.insync.replicas", Some("0"))]),
        ("a key twice", &[("retention.ms", Some("1")), ("retention.ms", Some("2"))]),
        ("the empty key", &[("", Some("1"))]),
        ("spaces around a number", &[("retention.ms", Some(" 5000 "))]),
        ("a number that is too large", &[("retention.ms", Some("9223372036854775808"))]),
        ("lag bounds crossed", &[("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))]),
        ("a wrong list of throttled replicas", &[("leader.replication.throttled.replicas", Some("0-1"))]),
        ("zstd, with a level", &[("compression.type", Some("zstd")), ("compression.zstd.level", Some("99"))]),
    ];
    for (index, (what, configs)) in cases.iter().enumerate() {
        let name = format!("create-configs-{index}");
        ask_for(session, what, 7, &creation(vec![configured(&name, configs)]));
    }
}

fn grow(session: &mut Session) {
    session.topic("grow", 2, &[]);
    let to = |name: &'static str, count, assignments: Option<Vec<Vec<i32>>>| partitions::Topic {
        name: name.into(),
        count,
        assignments: assignments
            .map(|all| all.into_iter().map(|broker_ids| partitions::Assignment { broker_ids }).collect()),
    };
    let cases: Vec<(&str, Vec<partitions::Topic<'_>>)> = vec![
        ("to as many as there are", vec![to("grow", 2, None)]),
        ("to fewer", vec![to("grow", 1, None)]),
        ("to none", vec![to("grow", 0, None)]),
        ("to -1", vec![to("grow", -1, None)]),
        ("of no topic", vec![to("grow-none", 3, None)]),
        ("with too few assignments", vec![to("grow", 4, Some(vec![vec![1]]))]),
        ("with too many assignments", vec![to("grow", 3, Some(vec![vec![1], vec![1]]))]),
        ("to an unknown broker", vec![to("grow", 3, Some(vec![vec![9]]))]),
        ("to nobody", vec![to("grow", 3, Some(vec![vec![]]))]),
        ("to one broker twice", vec![to("grow", 3, Some(vec![vec![1, 1]]))]),
        ("of one topic twice", vec![to("grow", 3, None), to("grow", 4, None)]),
        ("of no topics", vec![]),
        ("as assigned", vec![to("grow", 3, Some(vec![vec![1]]))]),
    ];
    for (what, topics) in cases {
        let request = CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false };
        exchange!(session, what, CreatePartitions 3, &request => CreatePartitionsResponse<'_>);
    }
    for version in 0..=3 {
        let topics = vec![to("grow", 10 + i32::from(version), None)];
        let request = CreatePartitionsRequest { topics: topics.clone(), timeout_ms: 10_000, validate_only: true };
        exchange!(session, "validated only", CreatePartitions version, &request => CreatePartitionsResponse<'_>);
        let request = CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false };
        exchange!(session, "done", CreatePartitions version, &request => CreatePartitionsResponse<'_>);
        exchange!(session, "again", CreatePartitions version, &request => CreatePartitionsResponse<'_>);
    }
    session.wait_until_led("grow", 13);
    session.append("grow", 12, &[(1, "in a new partition")]);
}

/// Asks for topics to be deleted; Kafka shuffles its answers.
fn delete_and_note(session: &mut Session, what: &str, version: i16, request: &DeleteTopicsRequest<'_>) {
    let Some(answer) = session.ask(what, ApiKey::DeleteTopics, version, request) else { return };
    let mut response: DeleteTopicsResponse<'_> = body(&answer, ApiKey::DeleteTopics, version);
    response.responses.sort_by(|a, b| (&a.name, a.error_code).cmp(&(&b.name, b.error_code)));
    session.note(&response);
}

fn delete(session: &mut Session) {
    for version in 1..=5 {
        let name = format!("delete-v{version}");
        session.topic(&name, 1, &[]);
        let names = vec![name.as_str().into(), "delete-none".into()];
        let request = DeleteTopicsRequest { topic_names: names, timeout_ms: 10_000, ..Default::default() };
        delete_and_note(session, "one that is there, one that is not", version, &request);
        delete_and_note(session, "again", version, &request);
    }
    session.topic("delete-a", 1, &[]);
    session.topic("delete-b", 1, &[]);
    let (a, b) = (session.id_of("delete-a"), session.id_of("delete-b"));
    let by_name = |name: &'static str| Deleted { name: Some(name.into()), topic_id: Uuid(0) };
    let by_id = |topic_id| Deleted { name: None, topic_id };
    let cases = vec![
        ("by an unknown id", vec![by_id(Uuid(77))]),
        ("by neither", vec![by_id(Uuid(0))]),
        ("by name and id", vec![Deleted { name: Some("delete-a".into()), topic_id: a }]),
        ("twice by name", vec![by_name("delete-a"), by_name("delete-a")]),
        ("by name, and by its id", vec![by_name("delete-b"), by_id(b)]),
        ("no topics", vec![]),
        ("by a bad name", vec![by_name("delete bad")]),
    ];
    for (what, topics) in cases {
        let request = DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
        delete_and_note(session, what, 6, &request);
    }
    session.topic("delete-c", 1, &[]);
    session.append("delete-c", 0, &[(1, "old")]);
    let c = session.id_of("delete-c");
    let request = DeleteTopicsRequest { topics: vec![by_id(c)], timeout_ms: 10_000, ..Default::default() };
    delete_and_note(session, "by its id", 6, &request);
    delete_and_note(session, "by its id again", 6, &request);
    session.topic("delete-c", 1, &[]);
    let anew = session.id_of("delete-c");
    session.note(&format!("the new topic has another id: {}", anew != c));
}

fn metadata(session: &mut Session) {
    session.topic("metadata-a", 2, &[]);
    session.topic("metadata-b", 1, &[]);
    let a = session.id_of("metadata-a");
    let name = |name: &'static str| Asked { name: Some(name.into()), topic_id: Uuid(0) };
    let id = |topic_id| Asked { name: None, topic_id };
    let cases = vec![
        ("two", vec![name("metadata-b"), name("metadata-a")]),
        ("one twice", vec![name("metadata-a"), name("metadata-a")]),
        ("one that is not there", vec![name("metadata-none")]),
        ("a bad name", vec![name("metadata bad")]),
        ("the empty name", vec![name("")]),
        ("by id", vec![id(a)]),
        ("by an unknown id", vec![id(Uuid(99))]),
        ("by neither", vec![id(Uuid(0))]),
        ("by neither, twice", vec![id(Uuid(0)), id(Uuid(0))]),
        ("one by id, another by name", vec![id(a), name("metadata-b")]),
        ("by name and id", vec![Asked { name: Some("metadata-b".into()), topic_id: a }]),
        ("none", vec![]),
    ];
    for (what, topics) in cases {
        for version in [10, 12, 13] {
            let request = MetadataRequest {
                topics: Some(topics.clone()),
                allow_auto_topic_creation: false,
                ..Default::default()
            };
            exchange!(session, what, Metadata version, &request => MetadataResponse<'_>);
        }
    }
    let request = MetadataRequest {
        topics: Some(vec![name("metadata-a")]),
        include_topic_authorized_operations: true,
        include_cluster_authorized_operations: true,
        ..Default::default()
    };
    for version in [8, 10, 11, 13] {
        exchange!(session, "with the operations that are allowed", Metadata version, &request => MetadataResponse<'_>);
    }
    for bad in ["metadata bad", "", "."] {
        let topics = vec![Asked { name: Some(bad.into()), topic_id: Uuid(0) }];
        let request = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: true, ..Default::default() };
        exchange!(session, format!("{bad:?}, to be made"), Metadata 12, &request => MetadataResponse<'_>);
    }
}

fn metadata_versions(session: &mut Session) {
    session.topic("metadata-v", 2, &[]);
    for version in 0..=13 {
        for name in ["metadata-v", "metadata-v-none"] {
            let topics = Some(vec![Asked { name: Some(name.into()), topic_id: Uuid(0) }]);
            // Versions below 4 always make what is not there.
            if version < 4 && name != "metadata-v" {
                continue;
            }
            let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
            exchange!(session, name, Metadata version, &request => MetadataResponse<'_>);
        }
    }
}

fn describe(session: &mut Session) {
    session.topic("described-a", 3, &[]);
    session.topic("described-b", 1, &[]);
    let topics = |names: &[&'static str]| names.iter().map(|&name| Described { name: name.into() }).collect::<Vec<_>>();
    let both = topics(&["described-b", "described-a", "described-none"]);
    let at = |name: &'static str, partition_index| Some(Cursor { topic_name: name.into(), partition_index });
    let cases = vec![
        ("three topics", both.clone(), 2000, None),
        ("at most two partitions", both.clone(), 2, None),
        ("at most one", both.clone(), 1, None),
        ("at most none", both.clone(), 0, None),
        ("at most -1", both.clone(), -1, None),
        ("from a cursor on", both.clone(), 2, at("described-a", 1)),
        ("from a cursor behind all", both.clone(), 2, at("described-z", 0)),
        ("from a cursor behind a topic's partitions", both.clone(), 5, at("described-a", 7)),
        ("from a negative cursor", both, 5, at("described-a", -1)),
        ("one twice", topics(&["described-b", "described-b"]), 10, None),
        ("a bad name", topics(&["described bad"]), 10, None),
    ];
    for (what, topics, response_partition_limit, cursor) in cases {
        let request = DescribeTopicPartitionsRequest { topics, response_partition_limit, cursor };
        exchange!(session, what, DescribeTopicPartitions 0, &request => DescribeTopicPartitionsResponse<'_>);
    }
}
