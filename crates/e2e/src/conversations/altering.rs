//! Changing the settings of topics and brokers.

use ottla_protocol::messages::alter_configs_request::{self as replace, AlterConfigsRequest};
use ottla_protocol::messages::alter_configs_response::AlterConfigsResponse;
use ottla_protocol::messages::incremental_alter_configs_request::{self as edit, IncrementalAlterConfigsRequest};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;

use super::admin::{BROKER, TOPIC, describe_keys};
use super::{Conversation, Session, exchange};

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("alter-configs-topic", topic),
    Conversation::new("alter-configs-topic-whole", whole),
    Conversation::new("alter-configs-broker", broker),
];

pub(super) const SET: i8 = 0;
pub(super) const DELETE: i8 = 1;
pub(super) const APPEND: i8 = 2;
pub(super) const SUBTRACT: i8 = 3;

pub(super) type Edits<'a> = &'a [(&'a str, i8, Option<&'a str>)];

pub(super) fn edits<'a>(resource_type: i8, name: &'a str, edits: Edits<'a>) -> edit::Resource<'a> {
    let config = |&(name, config_operation, value): &(&'a str, i8, Option<&'a str>)| edit::Config {
        name: name.into(),
        config_operation,
        value: value.map(Into::into),
    };
    edit::Resource { resource_type, resource_name: name.into(), configs: edits.iter().map(config).collect() }
}

pub(super) fn alter(session: &mut Session, what: &str, version: i16, resources: Vec<edit::Resource<'_>>) {
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    exchange!(session, what, IncrementalAlterConfigs version, &request => IncrementalAlterConfigsResponse<'_>);
}

fn topic(session: &mut Session) {
    session.topic("altered", 1, &[("retention.ms", "5000"), ("cleanup.policy", "compact")]);
    let keys = ["retention.ms", "cleanup.policy", "segment.bytes", "leader.replication.throttled.replicas"];
    let cases: &[(&str, Edits<'_>)] = &[
        ("set", &[("retention.ms", SET, Some("6000")), ("segment.bytes", SET, Some("2097152"))]),
        ("set to the same", &[("retention.ms", SET, Some("6000"))]),
        ("delete", &[("retention.ms", DELETE, None)]),
        ("delete what is not set", &[("retention.ms", DELETE, None)]),
        ("delete, with a value", &[("segment.bytes", DELETE, Some("7"))]),
        ("append", &[("cleanup.policy", APPEND, Some("delete"))]),
        ("append what is there", &[("cleanup.policy", APPEND, Some("delete"))]),
        ("subtract", &[("cleanup.policy", SUBTRACT, Some("compact"))]),
        ("subtract what is not there", &[("cleanup.policy", SUBTRACT, Some("compact"))]),
        ("append to what is not set", &[("leader.replication.throttled.replicas", APPEND, Some("0:1,1:2"))]),
        ("append to a number", &[("retention.ms", APPEND, Some("7"))]),
        ("subtract from a number", &[("retention.ms", SUBTRACT, Some("7"))]),
        ("set to null", &[("retention.ms", SET, None)]),
        ("set to nothing", &[("retention.ms", SET, Some(""))]),
        ("set to no number", &[("retention.ms", SET, Some("many"))]),
        ("set to too little", &[("segment.bytes", SET, Some("1"))]),
        ("append an unknown policy", &[("cleanup.policy", APPEND, Some("burn"))]),
        ("an unknown key", &[("no.such.key", SET, Some("1"))]),
        ("delete an unknown key", &[("no.such.key", DELETE, None)]),
        ("an unknown operation", &[("retention.ms", 9, Some("1"))]),
        ("a key twice", &[("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)]),
        ("one good, one bad", &[("retention.ms", SET, Some("77")), ("segment.bytes", SET, Some("1"))]),
        ("the empty key", &[("", SET, Some("1"))]),
        ("nothing", &[]),
    ];
    for (what, changes) in cases {
        alter(session, what, 1, vec![edits(TOPIC, "altered", changes)]);
        describe_keys(session, what, TOPIC, "altered", &keys);
    }
    let set: Edits<'_> = &[("retention.ms", SET, Some("1"))];
    alter(session, "a topic that is not there", 1, vec![edits(TOPIC, "altered-none", set)]);
    alter(session, "a bad name", 1, vec![edits(TOPIC, "altered bad", set)]);
    alter(session, "the empty name", 1, vec![edits(TOPIC, "", set)]);
    alter(session, "an unknown type", 1, vec![edits(77, "altered", set)]);
    alter(session, "a topic twice", 1, vec![edits(TOPIC, "altered", set), edits(TOPIC, "altered", set)]);
    alter(session, "no resources", 1, vec![]);
    alter(session, "a version before", 0, vec![edits(TOPIC, "altered", set)]);
    let resources = vec![edits(TOPIC, "altered", &[("retention.ms", SET, Some("99"))])];
    let request = IncrementalAlterConfigsRequest { resources, validate_only: true };
    exchange!(session, "validated only", IncrementalAlterConfigs 1, &request => IncrementalAlterConfigsResponse<'_>);
    describe_keys(session, "validated only", TOPIC, "altered", &keys);
}

fn whole(session: &mut Session) {
    session.topic("replaced", 1, &[("retention.ms", "5000"), ("cleanup.policy", "compact")]);
    let keys = ["retention.ms", "cleanup.policy", "segment.bytes"];
    type Configs = &'static [(&'static str, Option<&'static str>)];
    let cases: &[(&str, Configs)] = &[
        ("one instead of two", &[("retention.ms", Some("6000"))]),
        ("another one", &[("segment.bytes", Some("2097152"))]),
        ("null", &[("retention.ms", None)]),
        ("no number", &[("retention.ms", Some("many"))]),
        ("an unknown key", &[("no.such.key", Some("1"))]),
        ("a key twice", &[("retention.ms", Some("1")), ("retention.ms", Some("2"))]),
        ("none at all", &[]),
    ];
    for version in 0..=2 {
        for (what, configs) in cases {
            let config = |&(name, value): &(&'static str, Option<&'static str>)| replace::Config {
                name: name.into(),
                value: value.map(Into::into),
            };
            let resource = replace::Resource {
                resource_type: TOPIC,
                resource_name: "replaced".into(),
                configs: configs.iter().map(config).collect(),
            };
            let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
            exchange!(session, what, AlterConfigs version, &request => AlterConfigsResponse<'_>);
            describe_keys(session, what, TOPIC, "replaced", &keys);
        }
    }
}

fn broker(session: &mut Session) {
    let keys = ["log.retention.ms", "log.cleanup.policy", "log.segment.bytes", "num.partitions", "compression.type"];
    let cases: &[(&str, &str, Edits<'_>)] = &[
        ("one broker", "1", &[("log.retention.ms", SET, Some("600000"))]),
        ("all brokers", "", &[("log.retention.ms", SET, Some("700000"))]),
        ("all brokers, a list", "", &[("log.cleanup.policy", SET, Some("compact"))]),
        ("all brokers, append", "", &[("log.cleanup.policy", APPEND, Some("delete"))]),
        ("not dynamic", "1", &[("num.partitions", SET, Some("5"))]),
        ("not dynamic, all brokers", "", &[("num.partitions", SET, Some("5"))]),
        ("no number", "1", &[("log.segment.bytes", SET, Some("many"))]),
        ("too little", "1", &[("log.segment.bytes", SET, Some("1"))]),
        ("an unknown codec", "", &[("compression.type", SET, Some("brotli"))]),
        ("of one broker only, for all", "", &[("listener.security.protocol.map", SET, Some("A:PLAINTEXT"))]),
        ("another broker", "9", &[("log.retention.ms", SET, Some("1"))]),
        ("a broker that is no number", "first", &[("log.retention.ms", SET, Some("1"))]),
        ("null", "1", &[("log.retention.ms", SET, None)]),
        ("a key twice", "1", &[("log.retention.ms", SET, Some("1")), ("log.retention.ms", SET, Some("2"))]),
        ("delete, one broker", "1", &[("log.retention.ms", DELETE, None)]),
        ("delete, all brokers", "", &[("log.retention.ms", DELETE, None), ("log.cleanup.policy", DELETE, None)]),
    ];
    session.topic("altered-below", 1, &[]);
    for (what, name, changes) in cases {
        alter(session, what, 1, vec![edits(BROKER, name, changes)]);
        describe_keys(session, what, BROKER, "1", &keys);
        describe_keys(session, what, BROKER, "", &keys);
        describe_keys(session, what, TOPIC, "altered-below", &["retention.ms", "cleanup.policy"]);
    }
}
