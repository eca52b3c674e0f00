//! Settings that change while the broker runs: of brokers, loggers, groups and client metrics.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_configs_request::{self as replace, AlterConfigsRequest};
use ottla_protocol::messages::alter_configs_response::AlterConfigsResponse;
use ottla_protocol::messages::describe_configs_request::DescribeConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_protocol::messages::list_config_resources_response::ListConfigResourcesResponse;

use super::admin::{BROKER, describe, describe_keys, resource};
use super::altering::{APPEND, DELETE, Edits, SET, SUBTRACT, alter, edits};
use super::{Conversation, Session, exchange};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("dynamic-configs", brokers),
    Conversation::new("dynamic-configs-synonyms", synonyms),
    Conversation::new("dynamic-configs-whole", whole),
    Conversation::new("broker-loggers", loggers),
    Conversation::new("group-configs", groups),
    Conversation::new("client-metrics-configs", client_metrics),
];

const LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// All settings of a resource.
type Configs<'a> = &'a [(&'a str, Option<&'a str>)];

/// Asks for changes of one resource, writes down what it is then.
fn change(session: &mut Session, resource_type: i8, name: &str, cases: &[(&str, Edits<'_>)], keys: &[&str]) {
    for (what, changes) in cases {
        alter(session, what, 1, vec![edits(resource_type, name, changes)]);
        describe_keys(session, what, resource_type, name, keys);
    }
}

fn validate(session: &mut Session, what: &str, resource_type: i8, name: &str, changes: Edits<'_>) {
    let request =
        IncrementalAlterConfigsRequest { resources: vec![edits(resource_type, name, changes)], validate_only: true };
    exchange!(session, what, IncrementalAlterConfigs 1, &request => IncrementalAlterConfigsResponse<'_>);
}

fn replace_all(session: &mut Session, what: &str, resource_type: i8, name: &str, configs: Configs<'_>) {
    let config = |&(name, value): &(&str, Option<&str>)| replace::Config {
        name: name.to_owned().into(),
        value: value.map(|value| value.to_owned().into()),
    };
    let resource =
        replace::Resource { resource_type, resource_name: name.into(), configs: configs.iter().map(config).collect() };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    exchange!(session, what, AlterConfigs 2, &request => AlterConfigsResponse<'_>);
}

/// What a broker is asked, and for what.
const CHANGES_OF_BROKERS: &[(&str, Edits<'_>)] = &[
    ("more io threads", &[("num.io.threads", SET, Some("16"))]),
    ("too many io threads", &[("num.io.threads", SET, Some("17"))]),
    ("too few io threads", &[("num.io.threads", SET, Some("3"))]),
    ("no io threads", &[("num.io.threads", SET, Some("0"))]),
    ("too many network threads", &[("num.network.threads", SET, Some("7"))]),
    ("too few network threads", &[("num.network.threads", SET, Some("1"))]),
    ("too many replica fetchers", &[("num.replica.fetchers", SET, Some("3"))]),
    ("too many recovery threads", &[("num.recovery.threads.per.data.dir", SET, Some("5"))]),
    ("too many background threads", &[("background.threads", SET, Some("21"))]),
    ("too many cleaner threads", &[("log.cleaner.threads", SET, Some("3"))]),
    ("two cleaner threads", &[("log.cleaner.threads", SET, Some("2"))]),
    ("no buffer for the cleaner", &[("log.cleaner.dedupe.buffer.size", SET, Some("1000"))]),
    ("connections", &[("max.connections", SET, Some("1000"))]),
    ("connections from one address", &[("max.connections.per.ip", SET, Some("10"))]),
    ("no connections from any address", &[("max.connections.per.ip", SET, Some("0"))]),
    (
        "connections from some addresses",
        &[("max.connections.per.ip.overrides", SET, Some("127.0.0.1:100,127.0.0.2:7"))],
    ),
    ("connections from no number", &[("max.connections.per.ip.overrides", SET, Some("127.0.0.1:many"))]),
    ("connections of one listener", &[("listener.name.plaintext.max.connections", SET, Some("100"))]),
    ("connections of another listener", &[("listener.name.other.max.connections", SET, Some("100"))]),
    ("connections of one listener, no number", &[("listener.name.plaintext.max.connections", SET, Some("x"))]),
    ("a setting of one listener that is not dynamic", &[("listener.name.plaintext.num.partitions", SET, Some("3"))]),
    ("a rate of connections", &[("max.connection.creation.rate", SET, Some("100"))]),
    ("retention of nothing", &[("log.retention.ms", SET, Some("0"))]),
    ("retention in hours", &[("log.retention.hours", SET, Some("1"))]),
    ("retention in minutes", &[("log.retention.minutes", SET, Some("1"))]),
    ("rolling at once", &[("log.roll.ms", SET, Some("0"))]),
    ("rolling by hours", &[("log.roll.hours", SET, Some("1"))]),
    ("retention without a limit", &[("log.retention.ms", SET, Some("-1"))]),
    ("no cleanup", &[("log.cleanup.policy", SET, Some(""))]),
    ("an unknown cleanup", &[("log.cleanup.policy", SET, Some("burn"))]),
    ("more policies", &[("log.cleanup.policy", APPEND, Some("compact"))]),
    ("fewer policies", &[("log.cleanup.policy", SUBTRACT, Some("delete"))]),
    ("an unknown policy more", &[("log.cleanup.policy", APPEND, Some("burn"))]),
    ("append to a number", &[("log.segment.bytes", APPEND, Some("1"))]),
    ("append to what is not known", &[("no.such.key", APPEND, Some("1"))]),
    (
        "lags of compaction that contradict",
        &[("log.cleaner.min.compaction.lag.ms", SET, Some("7")), ("log.cleaner.max.compaction.lag.ms", SET, Some("6"))],
    ),
    ("timestamps by nobody", &[("log.message.timestamp.type", SET, Some("never"))]),
    ("min.insync.replicas", &[("min.insync.replicas", SET, Some("2"))]),
    ("unclean elections", &[("unclean.leader.election.enable", SET, Some("true"))]),
    ("unclean elections, no truth", &[("unclean.leader.election.enable", SET, Some("maybe"))]),
    ("an unknown key", &[("no.such.key", SET, Some("x"))]),
    ("one good, one unknown", &[("log.segment.bytes", SET, Some("2097152")), ("no.such.key", SET, Some("x"))]),
    ("two that are fixed", &[("num.partitions", SET, Some("3")), ("log.dirs", SET, Some("/x"))]),
    (
        "one that is fixed and one that is wrong",
        &[("log.segment.bytes", SET, Some("x")), ("num.partitions", SET, Some("3"))],
    ),
    ("one that is fixed, taken away", &[("num.partitions", DELETE, None)]),
    ("one that is fixed, to null", &[("num.partitions", SET, None)]),
    ("the node's id", &[("node.id", SET, Some("2"))]),
    ("the voters", &[("controller.quorum.voters", SET, Some("2"))]),
    ("reporters that are no classes", &[("metric.reporters", SET, Some("no.such.Class"))]),
    ("producer ids that expire at once", &[("producer.id.expiration.ms", SET, Some("0"))]),
    ("producer ids that expire", &[("producer.id.expiration.ms", SET, Some("1000"))]),
    ("verification", &[("transaction.partition.verification.enable", SET, Some("false"))]),
    ("a throttle", &[("leader.replication.throttled.rate", SET, Some("1000"))]),
    ("a throttle of nothing", &[("follower.replication.throttled.rate", SET, Some("-1"))]),
    ("a throttle between directories", &[("replica.alter.log.dirs.io.max.bytes.per.second", SET, Some("0"))]),
    ("a key store that is not there", &[("ssl.keystore.location", SET, Some("/none"))]),
    ("a key store of one listener", &[("listener.name.plaintext.ssl.keystore.location", SET, Some("/none"))]),
    ("listeners", &[("listeners", SET, Some("OTHER://:1"))]),
    ("a directory that is cordoned but not there", &[("cordoned.log.dirs", SET, Some("/none"))]),
    ("a compression level too high", &[("compression.gzip.level", SET, Some("10"))]),
    ("message.max.bytes", &[("message.max.bytes", SET, Some("100"))]),
    ("message.max.bytes below nothing", &[("message.max.bytes", SET, Some("-1"))]),
    ("a value that is too long", &[("log.cleanup.policy", SET, Some(LONG))]),
    ("auto creation", &[("auto.create.topics.enable", SET, Some("false"))]),
    ("remote copies", &[("remote.log.manager.copy.max.bytes.per.second", SET, Some("0"))]),
    ("group settings", &[("group.consumer.session.timeout.ms", SET, Some("50000"))]),
    ("no cleaner threads", &[("log.cleaner.threads", SET, Some("0"))]),
    ("local retention longer than retention", &[("log.local.retention.ms", SET, Some("999999999999"))]),
    (
        "local retention of more than retention",
        &[("log.local.retention.bytes", SET, Some("1000")), ("log.retention.bytes", SET, Some("999"))],
    ),
    ("connections from an address alone", &[("max.connections.per.ip.overrides", SET, Some("127.0.0.1"))]),
    ("connections from nowhere", &[("max.connections.per.ip.overrides", SET, Some("no.such.host.invalid:7"))]),
    ("jitter below nothing", &[("log.roll.jitter.ms", SET, Some("-1"))]),
    ("a principal builder", &[("principal.builder.class", SET, Some("no.such.Class"))]),
    ("mechanisms", &[("sasl.enabled.mechanisms", SET, Some("PLAIN"))]),
    ("a login", &[("sasl.jaas.config", SET, Some("x"))]),
    ("a login of one listener", &[("listener.name.plaintext.plain.sasl.jaas.config", SET, Some("x"))]),
    ("a mechanism between brokers", &[("sasl.mechanism.inter.broker.protocol", SET, Some("PLAIN"))]),
    ("protocols", &[("ssl.enabled.protocols", SET, Some("TLSv1.3"))]),
    ("a client's certificate", &[("ssl.client.auth", SET, Some("required"))]),
    ("two secrets", &[("ssl.key.password", SET, Some("x")), ("ssl.truststore.password", SET, Some("x"))]),
    (
        "a map of protocols",
        &[("listener.security.protocol.map", SET, Some("PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OTHER:PLAINTEXT"))],
    ),
    ("the listeners as they are", &[("advertised.listeners", SET, Some("PLAINTEXT://localhost:1"))]),
    ("reporters as they are", &[("metric.reporters", SET, Some("org.apache.kafka.common.metrics.JmxReporter"))]),
    ("no reporters", &[("metric.reporters", SET, Some(""))]),
    ("providers", &[("config.providers", SET, Some("x"))]),
    ("an interval of assignment", &[("group.consumer.assignment.interval.ms", SET, Some("2000"))]),
    ("an interval of assignment below nothing", &[("group.consumer.assignment.interval.ms", SET, Some("-1"))]),
    ("threads of one listener", &[("listener.name.plaintext.num.network.threads", SET, Some("9"))]),
    ("threads of another listener", &[("listener.name.other.num.network.threads", SET, Some("9"))]),
    ("nothing", &[]),
];

fn brokers(session: &mut Session) {
    // Each is only asked about: what is possible with what the broker has.
    for name in ["1", ""] {
        for (what, changes) in CHANGES_OF_BROKERS {
            validate(session, &format!("{what}, of {name:?}"), BROKER, name, changes);
        }
    }
}

/// More than a value may have.
const LONG: &str = match std::str::from_utf8(&[b'x'; 32_768]) {
    Ok(text) => text,
    Err(_) => "",
};

fn synonyms(session: &mut Session) {
    let keys = [
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
        "log.roll.ms",
        "log.roll.hours",
        "max.connections",
        "listener.name.plaintext.max.connections",
        "message.max.bytes",
        "log.cleaner.threads",
        "log.cleanup.policy",
        "no.such.key",
        "num.io.threads",
        "ssl.keystore.password",
        "compression.gzip.level",
        "leader.replication.throttled.rate",
    ];
    let cases: &[(&str, &str, Edits<'_>)] = &[
        ("a listener", "1", &[("listener.name.plaintext.max.connections", SET, Some("100"))]),
        ("all listeners", "", &[("max.connections", SET, Some("1000"))]),
        ("all listeners of one", "1", &[("max.connections", SET, Some("2000"))]),
        ("time", "", &[("log.retention.ms", SET, Some("600000")), ("log.roll.ms", SET, Some("1000000"))]),
        ("a secret", "1", &[("ssl.keystore.password", SET, Some("secret"))]),
        ("an unknown key", "1", &[("no.such.key", SET, Some("mine"))]),
        ("an unknown key of all", "", &[("no.such.key", SET, Some("ours"))]),
        ("threads", "", &[("num.io.threads", SET, Some(" 9 ")), ("log.cleaner.threads", SET, Some("2"))]),
        ("a level", "1", &[("compression.gzip.level", SET, Some("7"))]),
        ("a throttle", "1", &[("leader.replication.throttled.rate", SET, Some("5000"))]),
        ("bytes", "", &[("message.max.bytes", SET, Some("2000000"))]),
        ("policies", "", &[("log.cleanup.policy", APPEND, Some("compact"))]),
        ("policies of one", "1", &[("log.cleanup.policy", APPEND, Some("compact"))]),
        ("fewer policies of one", "1", &[("log.cleanup.policy", SUBTRACT, Some("delete"))]),
    ];
    session.topic("below-synonyms", 1, &[]);
    for (what, name, changes) in cases {
        alter(session, what, 1, vec![edits(BROKER, name, changes)]);
        describe_keys(session, what, BROKER, "1", &keys);
        describe_keys(session, what, BROKER, "", &keys);
    }
    describe_keys(
        session,
        "all of it",
        2,
        "below-synonyms",
        &["retention.ms", "segment.ms", "max.message.bytes", "cleanup.policy"],
    );
    for (what, name, changes) in cases.iter().rev() {
        let deletions: Vec<_> = changes.iter().map(|(key, ..)| (*key, DELETE, None)).collect();
        alter(session, &format!("{what}, taken away"), 1, vec![edits(BROKER, name, &deletions)]);
    }
    describe_keys(session, "all taken away", BROKER, "1", &keys);
    describe_keys(session, "all taken away", BROKER, "", &keys);
}

fn whole(session: &mut Session) {
    let keys = ["log.retention.ms", "message.max.bytes", "num.partitions", "no.such.key", "min.insync.replicas"];
    let one: &[(&str, Configs<'_>)] = &[
        ("one", &[("log.retention.ms", Some("600000"))]),
        ("another", &[("message.max.bytes", Some("600000"))]),
        ("one that is fixed", &[("num.partitions", Some("3"))]),
        ("no number", &[("message.max.bytes", Some("x"))]),
        ("an unknown key", &[("no.such.key", Some("x"))]),
        ("null", &[("message.max.bytes", None)]),
        ("none", &[]),
    ];
    for (what, configs) in one {
        replace_all(session, what, BROKER, "1", configs);
        describe_keys(session, what, BROKER, "1", &keys);
    }
    replace_all(
        session,
        "all brokers",
        BROKER,
        "",
        &[("min.insync.replicas", Some("1")), ("message.max.bytes", Some("700000"))],
    );
    describe_keys(session, "all brokers", BROKER, "", &keys);
    replace_all(session, "all brokers, without min.insync.replicas", BROKER, "", &[]);
    replace_all(session, "all brokers, min.insync.replicas alone", BROKER, "", &[("min.insync.replicas", Some("1"))]);
    describe_keys(session, "all brokers", BROKER, "", &keys);
    replace_all(session, "another broker", BROKER, "9", &[]);
    replace_all(session, "a broker that is no number", BROKER, "first", &[]);
}

fn loggers(session: &mut Session) {
    let root = ["root"];
    let cases: &[(&str, Edits<'_>)] = &[
        ("a level", &[("root", SET, Some("WARN"))]),
        ("a level in small letters", &[("root", SET, Some("debug"))]),
        ("an unknown level", &[("root", SET, Some("LOUD"))]),
        ("no level", &[("root", SET, Some(""))]),
        ("null", &[("root", SET, None)]),
        ("take the root's away", &[("root", DELETE, None)]),
        ("append", &[("root", APPEND, Some("INFO"))]),
        ("subtract", &[("root", SUBTRACT, Some("INFO"))]),
        ("an unknown operation", &[("root", 9, Some("INFO"))]),
        ("an unknown logger", &[("no.such.logger", SET, Some("INFO"))]),
        ("take an unknown one's away", &[("no.such.logger", DELETE, None)]),
        ("a logger twice", &[("root", SET, Some("INFO")), ("root", SET, Some("WARN"))]),
        ("nothing", &[]),
        ("off", &[("root", SET, Some("OFF"))]),
        ("fatal", &[("root", SET, Some("FATAL"))]),
        ("error", &[("root", SET, Some("ERROR"))]),
        ("trace", &[("root", SET, Some("TRACE"))]),
        ("back", &[("root", SET, Some("INFO"))]),
    ];
    describe_keys(session, "the start", LOGGER, "1", &root);
    change(session, LOGGER, "1", cases, &root);
    for name in ["", "9", "first"] {
        alter(session, &format!("of {name:?}"), 1, vec![edits(LOGGER, name, &[("root", SET, Some("INFO"))])]);
        describe_keys(session, "nothing", LOGGER, name, &root);
    }
    describe_keys(session, "nothing", LOGGER, "1", &["no.such.logger"]);
    validate(session, "only asked", LOGGER, "1", &[("root", SET, Some("WARN"))]);
    describe_keys(session, "only asked", LOGGER, "1", &root);
    replace_all(session, "all loggers", LOGGER, "1", &[("root", Some("WARN"))]);
    for version in 1..=3 {
        let resources = vec![resource(LOGGER, "1", Some(&root))];
        let request = DescribeConfigsRequest { resources, include_synonyms: true, include_documentation: true };
        describe(session, "all that is said", version, &request);
    }
}

/// What a group is asked to set.
const CHANGES_OF_GROUPS: &[(&str, Edits<'_>)] = &[
    ("set", &[("consumer.session.timeout.ms", SET, Some("50000")), ("share.auto.offset.reset", SET, Some("earliest"))]),
    ("set to the same", &[("consumer.session.timeout.ms", SET, Some("50000"))]),
    ("too little", &[("consumer.session.timeout.ms", SET, Some("1"))]),
    ("below the broker's least", &[("consumer.session.timeout.ms", SET, Some("44999"))]),
    ("above the broker's most", &[("consumer.session.timeout.ms", SET, Some("60001"))]),
    ("a heartbeat above the broker's most", &[("consumer.heartbeat.interval.ms", SET, Some("15001"))]),
    (
        "a heartbeat longer than the session",
        &[("consumer.session.timeout.ms", SET, Some("45000")), ("consumer.heartbeat.interval.ms", SET, Some("45000"))],
    ),
    ("no number", &[("consumer.session.timeout.ms", SET, Some("many"))]),
    ("an unknown reset", &[("share.auto.offset.reset", SET, Some("middle"))]),
    ("a reset by duration", &[("share.auto.offset.reset", SET, Some("by_duration:PT1H"))]),
    ("a reset by no duration", &[("share.auto.offset.reset", SET, Some("by_duration:soon"))]),
    ("a reset by a duration of before", &[("share.auto.offset.reset", SET, Some("by_duration:-PT1H"))]),
    ("an isolation", &[("share.isolation.level", SET, Some("read_committed"))]),
    ("an unknown isolation", &[("share.isolation.level", SET, Some("alone"))]),
    ("standbys", &[("streams.num.standby.replicas", SET, Some("1"))]),
    ("too many standbys", &[("streams.num.standby.replicas", SET, Some("3"))]),
    ("a lock duration", &[("share.record.lock.duration.ms", SET, Some("20000"))]),
    ("a lock duration too short", &[("share.record.lock.duration.ms", SET, Some("14999"))]),
    ("a lock duration too long", &[("share.record.lock.duration.ms", SET, Some("60001"))]),
    ("deliveries", &[("share.delivery.count.limit", SET, Some("11"))]),
    ("record locks", &[("share.partition.max.record.locks", SET, Some("99"))]),
    ("share heartbeat", &[("share.heartbeat.interval.ms", SET, Some("4999"))]),
    ("share session", &[("share.session.timeout.ms", SET, Some("44999"))]),
    ("streams session", &[("streams.session.timeout.ms", SET, Some("60001"))]),
    ("streams heartbeat", &[("streams.heartbeat.interval.ms", SET, Some("15001"))]),
    ("a delay", &[("streams.initial.rebalance.delay.ms", SET, Some("-1"))]),
    ("an unknown key", &[("no.such.key", SET, Some("1"))]),
    ("take an unknown key away", &[("no.such.key", DELETE, None)]),
    ("append to a number", &[("consumer.session.timeout.ms", APPEND, Some("1"))]),
    ("an interval of assignment too long", &[("consumer.assignment.interval.ms", SET, Some("15001"))]),
    ("an interval of assignment below nothing", &[("share.assignment.interval.ms", SET, Some("-1"))]),
    ("too many record locks", &[("share.partition.max.record.locks", SET, Some("10001"))]),
    ("record locks below the broker's least", &[("share.partition.max.record.locks", SET, Some("100"))]),
    ("a topic for what was rejected", &[("errors.deadletterqueue.topic.name", SET, Some("bad name"))]),
    ("another topic for what was rejected", &[("errors.deadletterqueue.topic.name", SET, Some("dlq.x"))]),
    ("an internal topic for what was rejected", &[("errors.deadletterqueue.topic.name", SET, Some("__x"))]),
    ("copies", &[("errors.deadletterqueue.copy.record.enable", SET, Some("maybe"))]),
    ("an unknown assignor", &[("streams.assignor.name", SET, Some("mine"))]),
    ("an assignor", &[("streams.assignor.name", SET, Some("sticky"))]),
    ("tags", &[("streams.rack.aware.assignment.tags", SET, Some("a,b"))]),
    ("more tags", &[("streams.rack.aware.assignment.tags", APPEND, Some("c"))]),
    ("fewer tags", &[("streams.rack.aware.assignment.tags", SUBTRACT, Some("a"))]),
    ("an empty tag", &[("streams.rack.aware.assignment.tags", SET, Some("a,,b"))]),
    ("what is internal", &[("streams.num.warmup.replicas", SET, Some("3"))]),
    ("too much that is internal", &[("streams.num.warmup.replicas", SET, Some("21"))]),
    ("a lag", &[("streams.acceptable.recovery.lag", SET, Some("5"))]),
    ("an interval of tasks", &[("streams.task.offset.interval.ms", SET, Some("1"))]),
    ("a switch", &[("consumer.assignor.offload.enable", SET, Some("false"))]),
    ("renewals", &[("share.renew.acknowledge.enable", SET, Some("false"))]),
    ("standbys below nothing", &[("streams.num.standby.replicas", SET, Some("-1"))]),
    ("a streams delay too long", &[("streams.initial.rebalance.delay.ms", SET, Some("999999999"))]),
    (
        "two that are wrong",
        &[("share.session.timeout.ms", SET, Some("1")), ("consumer.session.timeout.ms", SET, Some("1"))],
    ),
    ("null", &[("consumer.session.timeout.ms", SET, None)]),
    ("a key twice", &[("consumer.session.timeout.ms", SET, Some("1")), ("consumer.session.timeout.ms", DELETE, None)]),
    ("nothing", &[]),
];

fn groups(session: &mut Session) {
    let name = "configured";
    let keys = [
        "consumer.session.timeout.ms",
        "consumer.heartbeat.interval.ms",
        "share.auto.offset.reset",
        "share.isolation.level",
        "streams.num.standby.replicas",
        "streams.num.warmup.replicas",
        "consumer.assignor.offload.enable",
        "streams.rack.aware.assignment.tags",
        "errors.deadletterqueue.topic.name",
        "no.such.key",
    ];
    let resources = || vec![resource(GROUP, name, None)];
    for version in 1..=4 {
        for include_synonyms in [false, true] {
            let request =
                DescribeConfigsRequest { resources: resources(), include_synonyms, include_documentation: false };
            describe(session, &format!("all, synonyms: {include_synonyms}"), version, &request);
        }
    }
    change(session, GROUP, name, CHANGES_OF_GROUPS, &keys);
    alter(session, "the empty name", 1, vec![edits(GROUP, "", &[("consumer.session.timeout.ms", SET, Some("50000"))])]);
    describe_keys(session, "the empty name", GROUP, "", &keys);
    validate(session, "only asked", GROUP, name, &[("consumer.session.timeout.ms", SET, Some("47000"))]);
    describe_keys(session, "only asked", GROUP, name, &keys);
    let request =
        DescribeConfigsRequest { resources: resources(), include_synonyms: true, include_documentation: false };
    describe(session, "all, some of them set", 4, &request);
    list(session, GROUP, &[name]);
    replace_all(session, "all of a group", GROUP, name, &[("consumer.session.timeout.ms", Some("48000"))]);
    describe_keys(session, "all of a group", GROUP, name, &keys);
    replace_all(session, "an unknown key", GROUP, name, &[("no.such.key", Some("48000"))]);
    replace_all(session, "the empty name", GROUP, "", &[("consumer.session.timeout.ms", Some("48000"))]);
    replace_all(session, "nothing", GROUP, name, &[]);
    describe_keys(session, "nothing", GROUP, name, &keys);
    list(session, GROUP, &[name]);
}

fn client_metrics(session: &mut Session) {
    let name = "subscription";
    let resources = || vec![resource(CLIENT_METRICS, name, None)];
    for version in 1..=4 {
        let request =
            DescribeConfigsRequest { resources: resources(), include_synonyms: true, include_documentation: false };
        describe(session, "all", version, &request);
    }
    let keys = ["interval.ms", "metrics", "match", "no.such.key"];
    let cases: &[(&str, Edits<'_>)] = &[
        ("set", &[("interval.ms", SET, Some("1000")), ("metrics", SET, Some("a.b,c"))]),
        ("append", &[("metrics", APPEND, Some("d, c"))]),
        ("subtract", &[("metrics", SUBTRACT, Some("a.b"))]),
        ("subtract all", &[("metrics", SUBTRACT, Some("c,d"))]),
        ("all metrics", &[("metrics", SET, Some("*"))]),
        ("no metrics", &[("metrics", SET, Some(""))]),
        ("an empty metric", &[("metrics", SET, Some("a,,b"))]),
        ("a match", &[("match", SET, Some("client_id=a.*,client_software_name=[a-z]+"))]),
        (
            "every match",
            &[(
                "match",
                SET,
                Some(
                    "client_id=a,client_instance_id=b,client_software_name=c,client_software_version=d,client_source_address=e,client_source_port=9092",
                ),
            )],
        ),
        ("a match by nothing", &[("match", SET, Some("color=red"))]),
        ("a match that is no expression", &[("match", SET, Some("client_id=(("))]),
        ("a match without a value", &[("match", SET, Some("client_id"))]),
        ("a match with two equals", &[("match", SET, Some("client_id=a=b"))]),
        ("a match of spaces", &[("match", SET, Some(" client_id = a "))]),
        ("an empty match", &[("match", SET, Some(""))]),
        ("a match twice", &[("match", SET, Some("client_id=a,client_id=b"))]),
        ("append to a match", &[("match", APPEND, Some("client_software_version=1.*"))]),
        ("an interval too short", &[("interval.ms", SET, Some("99"))]),
        ("the shortest interval", &[("interval.ms", SET, Some("100"))]),
        ("the longest interval", &[("interval.ms", SET, Some("3600000"))]),
        ("an interval too long", &[("interval.ms", SET, Some("3600001"))]),
        ("no number", &[("interval.ms", SET, Some("often"))]),
        ("append to a number", &[("interval.ms", APPEND, Some("1"))]),
        ("an unknown key", &[("no.such.key", SET, Some("1"))]),
        ("take an unknown key away", &[("no.such.key", DELETE, None)]),
        ("null", &[("interval.ms", SET, None)]),
        ("take away", &[("match", DELETE, None)]),
        ("nothing", &[]),
    ];
    change(session, CLIENT_METRICS, name, cases, &keys);
    alter(session, "the empty name", 1, vec![edits(CLIENT_METRICS, "", &[("interval.ms", SET, Some("1000"))])]);
    describe_keys(session, "the empty name", CLIENT_METRICS, "", &keys);
    alter(session, "a strange name", 1, vec![edits(CLIENT_METRICS, "a b/c", &[("interval.ms", SET, Some("1000"))])]);
    list(session, CLIENT_METRICS, &[name, "a b/c"]);
    alter(session, "a strange name, away", 1, vec![edits(CLIENT_METRICS, "a b/c", &[("interval.ms", DELETE, None)])]);
    replace_all(session, "all of a subscription", CLIENT_METRICS, name, &[("interval.ms", Some("2000"))]);
    describe_keys(session, "all of a subscription", CLIENT_METRICS, name, &keys);
    replace_all(session, "an unknown key", CLIENT_METRICS, name, &[("no.such.key", Some("48000"))]);
    replace_all(session, "nothing", CLIENT_METRICS, name, &[]);
    describe_keys(session, "nothing", CLIENT_METRICS, name, &keys);
    list(session, CLIENT_METRICS, &[name]);
}

/// Which of these names are listed as having settings.
fn list(session: &mut Session, resource_type: i8, names: &[&str]) {
    session.settle();
    for version in if resource_type == CLIENT_METRICS { 0..=1 } else { 1..=1 } {
        let resource_types = if version == 0 { Vec::new() } else { vec![resource_type] };
        let request = ListConfigResourcesRequest { resource_types };
        let Some(answer) = session.ask("those there are", ApiKey::ListConfigResources, version, &request) else {
            continue;
        };
        let mut response: ListConfigResourcesResponse<'_> = body(&answer, ApiKey::ListConfigResources, version);
        response.config_resources.retain(|resource| names.contains(&&*resource.resource_name));
        response.config_resources.sort_by(|a, b| a.resource_name.cmp(&b.resource_name));
        session.note(&response);
    }
}
