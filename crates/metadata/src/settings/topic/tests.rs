use expect_test::{Expect, expect};

use super::*;

/// What a broker says, by source and key.
#[derive(Default)]
struct Broker(BTreeMap<(ConfigSource, &'static str), &'static str>);

impl BrokerValues for Broker {
    fn given(&self, source: ConfigSource, key: &str) -> Option<&str> {
        self.0.iter().find(|((at, name), _)| *at == source && *name == key).map(|(_, text)| *text)
    }
}

/// Reads `key=value` pairs separated by `; `.
fn overrides(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split("; ").filter(|pair| !pair.is_empty());
    pairs.filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn check(cases: &[&str], expected: &Expect) {
    let mut seen = String::new();
    for case in cases {
        let answer = validate_all(&overrides(case)).map_or_else(|sentence| sentence, |()| "ok".to_owned());
        seen.push_str(&format!("{case} => {answer}\n"));
    }
    expected.assert_eq(&seen);
}

// Each of these was asked of a real Kafka 4.4.0 by CreateTopics.

#[test]
fn numbers_are_checked() {
    check(
        &[
            "retention.ms=abc",
            "retention.ms=-2",
            "retention.ms=-1",
            "retention.ms= 5 ",
            "retention.ms=9223372036854775808",
            "retention.ms=",
            "retention.ms=1e3",
            "retention.ms=+5",
            "retention.bytes=-5",
            "segment.bytes=0",
            "segment.bytes=3000000000",
            "compression.gzip.level=0",
            "compression.lz4.level=18",
            "compression.zstd.level=-131073",
            "min.cleanable.dirty.ratio=2",
            "min.cleanable.dirty.ratio=-0.1",
            "min.cleanable.dirty.ratio=x",
            "min.cleanable.dirty.ratio=1e-1",
            "min.insync.replicas=0",
            "max.decompressed.message.bytes=2147483640",
        ],
        &expect![[r#"
            retention.ms=abc => Invalid value abc for configuration retention.ms: Not a number of type LONG
            retention.ms=-2 => Invalid value -2 for configuration retention.ms: Value must be at least -1
            retention.ms=-1 => ok
            retention.ms= 5  => ok
            retention.ms=9223372036854775808 => Invalid value 9223372036854775808 for configuration retention.ms: Not a number of type LONG
            retention.ms= => Invalid value  for configuration retention.ms: Not a number of type LONG
            retention.ms=1e3 => Invalid value 1e3 for configuration retention.ms: Not a number of type LONG
            retention.ms=+5 => ok
            retention.bytes=-5 => ok
            segment.bytes=0 => Invalid value 0 for configuration segment.bytes: Value must be at least 1048576
            segment.bytes=3000000000 => Invalid value 3000000000 for configuration segment.bytes: Not a number of type INT
            compression.gzip.level=0 => Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1
            compression.lz4.level=18 => Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17
            compression.zstd.level=-131073 => Invalid value -131073 for configuration compression.zstd.level: Value must be at least -131072
            min.cleanable.dirty.ratio=2 => Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1
            min.cleanable.dirty.ratio=-0.1 => Invalid value -0.1 for configuration min.cleanable.dirty.ratio: Value must be at least 0
            min.cleanable.dirty.ratio=x => Invalid value x for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE
            min.cleanable.dirty.ratio=1e-1 => ok
            min.insync.replicas=0 => Invalid value 0 for configuration min.insync.replicas: Value must be at least 1
            max.decompressed.message.bytes=2147483640 => Invalid value 2147483640 for configuration max.decompressed.message.bytes: Value must be no more than 2147483639
        "#]],
    );
}

#[test]
fn words_are_checked() {
    check(
        &[
            "cleanup.policy=",
            "cleanup.policy= delete , compact ",
            "cleanup.policy=delete,delete",
            "cleanup.policy=delete,,compact",
            "cleanup.policy=Delete",
            "compression.type=GZIP",
            "compression.type= gzip ",
            "compression.type=",
            "message.timestamp.type=createtime",
            "preallocate=yes",
            "preallocate=TRUE",
            "leader.replication.throttled.replicas=x",
            "leader.replication.throttled.replicas=*",
            "leader.replication.throttled.replicas=0:1,1:2",
            "leader.replication.throttled.replicas=*,0:1",
            "leader.replication.throttled.replicas=",
        ],
        &expect![[r#"
            cleanup.policy= => ok
            cleanup.policy= delete , compact  => ok
            cleanup.policy=delete,delete => ok
            cleanup.policy=delete,,compact => Configuration 'cleanup.policy' values must not be empty.
            cleanup.policy=Delete => Invalid value Delete for configuration cleanup.policy: String must be one of: compact, delete
            compression.type=GZIP => Invalid value GZIP for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer
            compression.type= gzip  => ok
            compression.type= => Invalid value  for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer
            message.timestamp.type=createtime => Invalid value createtime for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime
            preallocate=yes => Invalid value yes for configuration preallocate: Expected value to be either true or false
            preallocate=TRUE => ok
            leader.replication.throttled.replicas=x => Invalid value [x] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...
            leader.replication.throttled.replicas=* => ok
            leader.replication.throttled.replicas=0:1,1:2 => ok
            leader.replication.throttled.replicas=*,0:1 => Invalid value [*, 0:1] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...
            leader.replication.throttled.replicas= => ok
        "#]],
    );
}

#[test]
fn the_first_of_several_faults_is_reported() {
    check(
        &[
            "foo.bar=x; retention.ms=abc",
            "retention.ms=abc; segment.bytes=x",
            "min.compaction.lag.ms=1000; max.compaction.lag.ms=500",
            "remote.storage.enable=true; cleanup.policy=compact",
            "local.retention.ms=2000; retention.ms=1000",
            "internal.segment.bytes=1000",
        ],
        &expect![[r#"
            foo.bar=x; retention.ms=abc => Unknown topic config name: foo.bar
            retention.ms=abc; segment.bytes=x => Invalid value x for configuration segment.bytes: Not a number of type INT
            min.compaction.lag.ms=1000; max.compaction.lag.ms=500 => conflict topic config setting min.compaction.lag.ms (1000) > max.compaction.lag.ms (500)
            remote.storage.enable=true; cleanup.policy=compact => Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.
            local.retention.ms=2000; retention.ms=1000 => ok
            internal.segment.bytes=1000 => ok
        "#]],
    );
}

fn show(entries: &[ConfigEntry], keys: &[&str]) -> String {
    let mut text = String::new();
    for entry in entries.iter().filter(|entry| keys.contains(&entry.name.as_str())) {
        text.push_str(&format!("{} = {:?} {:?}\n", entry.name, entry.value.as_deref().unwrap_or("null"), entry.source));
        for synonym in &entry.synonyms {
            let value = synonym.value.as_deref().unwrap_or("null");
            text.push_str(&format!("    {:?} {} = {value:?}\n", synonym.source, synonym.name));
        }
    }
    text
}

/// The same settings were given to a real Kafka 4.4.0, which showed these values, sources and synonyms.
#[test]
fn values_are_described_with_what_stands_behind_them() {
    use ConfigSource::{Default, DynamicBroker, DynamicDefaultBroker, StaticBroker};
    let broker = Broker(BTreeMap::from([
        ((DynamicBroker, "log.retention.ms"), "7200000"),
        ((DynamicBroker, "log.preallocate"), " TRUE "),
        ((DynamicDefaultBroker, "log.retention.ms"), "3600000"),
        ((DynamicDefaultBroker, "log.flush.interval.ms"), "3"),
        ((DynamicDefaultBroker, "log.segment.bytes"), "3097152"),
        ((StaticBroker, "log.retention.hours"), "100"),
        ((StaticBroker, "log.flush.scheduler.interval.ms"), "5000"),
        ((StaticBroker, "log.roll.hours"), "3"),
        ((StaticBroker, "log.segment.bytes"), "2097152 "),
        ((Default, "log.retention.hours"), "168"),
        ((Default, "log.roll.hours"), "168"),
        ((Default, "log.flush.scheduler.interval.ms"), "9223372036854775807"),
        ((Default, "log.preallocate"), "false"),
        ((Default, "log.segment.bytes"), "1073741824"),
        ((Default, "log.retention.bytes"), "-1"),
    ]));
    let own =
        overrides("retention.bytes= 1000 ; cleanup.policy= compact , delete ; preallocate=TRUE; retention.ms=+0500");
    let keys =
        ["retention.bytes", "retention.ms", "preallocate", "cleanup.policy", "flush.ms", "segment.ms", "segment.bytes"];
    expect![[r#"
        segment.bytes = "3097152" DynamicDefaultBroker
            DynamicDefaultBroker log.segment.bytes = "3097152"
            StaticBroker log.segment.bytes = "2097152 "
            Default log.segment.bytes = "1073741824"
        segment.ms = "10800000" Default
        flush.ms = "3" DynamicDefaultBroker
            DynamicDefaultBroker log.flush.interval.ms = "3"
            StaticBroker log.flush.scheduler.interval.ms = "5000"
            Default log.flush.scheduler.interval.ms = "9223372036854775807"
        retention.bytes = "1000" Topic
            Topic retention.bytes = "1000"
            Default log.retention.bytes = "-1"
        retention.ms = "500" Topic
            Topic retention.ms = "500"
            DynamicBroker log.retention.ms = "7200000"
            DynamicDefaultBroker log.retention.ms = "3600000"
            StaticBroker log.retention.hours = "100"
            Default log.retention.hours = "168"
        cleanup.policy = "compact,delete" Topic
            Topic cleanup.policy = "compact,delete"
        preallocate = "true" Topic
            Topic preallocate = "true"
            DynamicBroker log.preallocate = " TRUE "
            Default log.preallocate = "false"
    "#]]
    .assert_eq(&show(&describe(&own, &broker, |_| true), &keys));
}

#[test]
fn every_key_is_described_but_internal_ones_only_when_set() {
    let broker = Broker::default();
    assert_eq!(describe(&BTreeMap::new(), &broker, |_| true).len(), 37);
    let entries = describe(&overrides("internal.segment.bytes=2000"), &broker, |_| true);
    expect![[r#"
        segment.bytes = "1073741824" Default
        internal.segment.bytes = "2000" Topic
            Topic internal.segment.bytes = "2000"
    "#]]
    .assert_eq(&show(&entries, &["internal.segment.bytes", "segment.bytes"]));
    let entries = describe(&overrides("ottla.flush.before.ack=true"), &broker, |_| true);
    expect![[r#"
        ottla.flush.before.ack = "true" Topic
            Topic ottla.flush.before.ack = "true"
    "#]]
    .assert_eq(&show(&entries, &["ottla.flush.before.ack"]));
    assert_eq!(TopicSettings::new(&overrides("internal.segment.bytes=2000"), &broker).segment_bytes, 2000);
}

#[test]
fn the_table_is_sound() {
    for row in TOPIC_SETTINGS {
        row.setting.assert_sound();
    }
}

#[test]
fn effective_settings_are_typed_and_take_the_broker_s_word_for_the_rest() {
    use ConfigSource::StaticBroker;
    let broker = Broker(BTreeMap::from([
        ((StaticBroker, "log.retention.minutes"), "2"),
        ((StaticBroker, "log.retention.hours"), "100"),
        ((StaticBroker, "log.roll.hours"), "3"),
        ((StaticBroker, "ottla.flush.before.ack"), "true"),
    ]));
    let own =
        overrides("cleanup.policy=compact; message.timestamp.type=LogAppendTime; compression.type=lz4; flush.ms=x");
    expect![[r#"
        TopicSettings {
            segment_bytes: 1073741824,
            segment_ms: 10800000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10485760,
            index_interval_bytes: 4096,
            flush_messages: None,
            flush_ms: None,
            flush_before_ack: true,
            retention_ms: Some(
                120000,
            ),
            retention_bytes: None,
            delete: false,
            compact: true,
            file_delete_delay_ms: 60000,
            preallocate: false,
            max_message_bytes: 1048588,
            max_decompressed_message_bytes: 2147483639,
            message_timestamp_type: LogAppendTime,
            message_timestamp_before_max_ms: None,
            message_timestamp_after_max_ms: Some(
                3600000,
            ),
            min_insync_replicas: 1,
            unclean_leader_election_enable: false,
            compression_type: Lz4,
            compression_gzip_level: None,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            delete_retention_ms: 86400000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: None,
            min_cleanable_dirty_ratio: 0.5,
        }
    "#]]
    .assert_debug_eq(&TopicSettings::new(&own, &broker));
}

#[test]
fn a_created_topic_has_what_the_broker_says_in_another_unit_from_the_broker() {
    let broker = Broker(BTreeMap::from([((ConfigSource::StaticBroker, "log.retention.hours"), "24")]));
    let told = |entries: Vec<ConfigEntry>, name| {
        entries.into_iter().find(|entry| entry.name == name).map(|entry| (entry.value, entry.source))
    };
    let own = overrides("segment.bytes=1048576");
    let created = |name| told(describe_created(&own, &broker), name).expect("it is one of a topic's");
    assert_eq!(created("retention.ms"), (Some("86400000".to_owned()), ConfigSource::StaticBroker));
    assert_eq!(created("segment.bytes"), (Some("1048576".to_owned()), ConfigSource::Topic));
    assert_eq!(created("segment.ms").1, ConfigSource::Default);
}

#[test]
fn a_negative_number_of_hours_is_no_limit() {
    for (key, units, created) in [
        ("log.retention.hours", "-1", "-3600000"),
        ("log.retention.hours", "-3", "-10800000"),
        ("log.retention.minutes", "-1", "-60000"),
    ] {
        let broker = Broker(BTreeMap::from([((ConfigSource::StaticBroker, key), units)]));
        let none = BTreeMap::new();
        assert_eq!(TopicSettings::new(&none, &broker).retention_ms, None);
        let told = |entries: Vec<ConfigEntry>| entries.into_iter().find(|entry| entry.name == "retention.ms")?.value;
        assert_eq!(told(describe(&none, &broker, |_| true)).as_deref(), Some("-1"), "{key}={units}");
        assert_eq!(told(describe_created(&none, &broker)).as_deref(), Some(created), "{key}={units}");
        let own = overrides("retention.ms=5");
        assert_eq!(told(describe_created(&own, &broker)).as_deref(), Some("5"), "a topic's own word is as it was");
    }
}
