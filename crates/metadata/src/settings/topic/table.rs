//! The table of a topic's keys: those that Kafka 4.4 describes and takes, and one of our own at the end, which is only
//! described where it is set.

use crate::settings::Check::{self, Any, AtLeast, Between, BetweenOr, Fraction, ItemsOf, OneOf, ThrottledReplicas};
use crate::settings::{Dynamic, Kind, Setting};

/// A topic's key and the broker's keys behind it.
#[derive(Clone, Copy, Debug)]
pub struct TopicSetting {
    /// The topic's key. Its default is that of the broker's key.
    pub setting: Setting,
    /// The broker's keys that give the value where the topic does not, the first one first.
    pub broker_keys: &'static [BrokerKey],
}

/// A broker's key behind a topic's.
#[derive(Clone, Copy, Debug)]
pub struct BrokerKey {
    /// The key.
    pub name: &'static str,
    /// For times, how many milliseconds its unit has; else 1.
    pub unit_ms: i64,
}

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const NEVER: &str = "9223372036854775807";
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

const fn row(kind: Kind, name: &'static str, default: &'static str, check: Check) -> TopicSetting {
    let setting = Setting::new(kind, name, Some(default), check, Dynamic::ClusterWide);
    TopicSetting { setting, broker_keys: &[] }
}

const fn boolean(name: &'static str, default: &'static str) -> TopicSetting {
    row(Kind::Boolean, name, default, Any)
}

const fn int(name: &'static str, default: &'static str, check: Check) -> TopicSetting {
    row(Kind::Int, name, default, check)
}

const fn long(name: &'static str, default: &'static str, check: Check) -> TopicSetting {
    row(Kind::Long, name, default, check)
}

const fn string(name: &'static str, default: &'static str, check: Check) -> TopicSetting {
    row(Kind::String, name, default, check)
}

const fn key(name: &'static str) -> BrokerKey {
    BrokerKey { name, unit_ms: 1 }
}

const fn minutes(name: &'static str) -> BrokerKey {
    BrokerKey { name, unit_ms: MINUTE_MS }
}

const fn hours(name: &'static str) -> BrokerKey {
    BrokerKey { name, unit_ms: HOUR_MS }
}

impl TopicSetting {
    const fn behind(self, broker_keys: &'static [BrokerKey]) -> Self {
        Self { broker_keys, ..self }
    }

    const fn doc(self, doc: &'static str) -> Self {
        Self { setting: self.setting.doc(doc), ..self }
    }
}

/// All keys, in Kafka's order.
pub const TOPIC_SETTINGS: &[TopicSetting] = &[
    int("segment.bytes", "1073741824", AtLeast(1048576))
        .behind(&[key("log.segment.bytes")])
        .doc("A segment's file grows no larger than this many bytes."),
    long("segment.ms", "604800000", AtLeast(1))
        .behind(&[key("log.roll.ms"), hours("log.roll.hours")])
        .doc("A segment that is this many milliseconds old is closed at the next append, full or not."),
    long("segment.jitter.ms", "0", AtLeast(0))
        .behind(&[key("log.roll.jitter.ms"), hours("log.roll.jitter.hours")])
        .doc(
            "Segments are closed by age up to this many milliseconds earlier, at random, so that not all are at once.",
        ),
    int("segment.index.bytes", "10485760", AtLeast(4))
        .behind(&[key("log.index.size.max.bytes")])
        .doc("The most bytes that an index of a segment takes; a full index closes the segment."),
    long("flush.messages", NEVER, AtLeast(1))
        .behind(&[key("log.flush.interval.messages")])
        .doc("After this many records the log is forced to the disk; by default the operating system decides."),
    long("flush.ms", NEVER, AtLeast(0))
        .behind(&[key("log.flush.interval.ms"), key("log.flush.scheduler.interval.ms")])
        .doc("After this many milliseconds the log is forced to the disk; by default the operating system decides."),
    long("retention.bytes", "-1", Any)
        .behind(&[key("log.retention.bytes")])
        .doc("While a partition is larger than this many bytes its oldest segments go; -1 is no limit."),
    long("retention.ms", "604800000", AtLeast(-1))
        .behind(&[key("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")])
        .doc("Segments whose records are all older than this many milliseconds go; -1 is no limit."),
    int("max.message.bytes", "1048588", AtLeast(0))
        .behind(&[key("message.max.bytes")])
        .doc("The largest record batch that is taken, in bytes with its header, as it comes (compressed)."),
    int("max.decompressed.message.bytes", "2147483639", Between(1, 2147483639))
        .behind(&[key("max.decompressed.message.bytes")])
        .doc("The most bytes that a compressed record batch may unpack to."),
    int("index.interval.bytes", "4096", AtLeast(0))
        .behind(&[key("log.index.interval.bytes")])
        .doc("About how many bytes of log lie between two entries of the offset index."),
    long("delete.retention.ms", "86400000", AtLeast(0))
        .behind(&[key("log.cleaner.delete.retention.ms")])
        .doc("How many milliseconds compaction keeps the marker of a deleted key."),
    long("min.compaction.lag.ms", "0", AtLeast(0))
        .behind(&[key("log.cleaner.min.compaction.lag.ms")])
        .doc("Records younger than this many milliseconds are not compacted."),
    long("max.compaction.lag.ms", NEVER, AtLeast(1))
        .behind(&[key("log.cleaner.max.compaction.lag.ms")])
        .doc("Records older than this many milliseconds are compacted, however few they are."),
    long("file.delete.delay.ms", "60000", AtLeast(0))
        .behind(&[key("log.segment.delete.delay.ms")])
        .doc("How many milliseconds a deleted segment's files stay on the disk, for those who still read them."),
    row(Kind::Double, "min.cleanable.dirty.ratio", "0.5", Fraction(0.0, 1.0))
        .behind(&[key("log.cleaner.min.cleanable.ratio")])
        .doc("A log is compacted when this part of it was not compacted before."),
    row(Kind::List, "cleanup.policy", "delete", ItemsOf(&["compact", "delete"]))
        .behind(&[key("log.cleanup.policy")])
        .doc("What happens to old records: deleted by age and size, compacted by key, both, or (empty) nothing."),
    boolean("unclean.leader.election.enable", "false")
        .behind(&[key("unclean.leader.election.enable")])
        .doc("Whether a replica that may miss acknowledged records may lead when no other is left."),
    int("min.insync.replicas", "1", AtLeast(1))
        .behind(&[key("min.insync.replicas")])
        .doc("How many replicas must be in sync for a write with acks=all to be taken."),
    string("compression.type", "producer", OneOf(CODECS))
        .behind(&[key("compression.type")])
        .doc("The codec that batches are stored in; producer keeps them as they were sent."),
    int("compression.gzip.level", "-1", BetweenOr(1, 9, -1))
        .behind(&[key("compression.gzip.level")])
        .doc("The level where the broker itself compresses with gzip; -1 is the codec's own default."),
    int("compression.lz4.level", "9", Between(1, 17))
        .behind(&[key("compression.lz4.level")])
        .doc("The level where the broker itself compresses with lz4."),
    int("compression.zstd.level", "3", Between(-131072, 22))
        .behind(&[key("compression.zstd.level")])
        .doc("The level where the broker itself compresses with zstd."),
    boolean("preallocate", "false")
        .behind(&[key("log.preallocate")])
        .doc("Whether a new segment takes its room on the disk at once."),
    string("message.timestamp.type", "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]))
        .behind(&[key("log.message.timestamp.type")])
        .doc("Whether a record's time is the producer's, or that of the append."),
    long("message.timestamp.before.max.ms", NEVER, AtLeast(0))
        .behind(&[key("log.message.timestamp.before.max.ms")])
        .doc("How many milliseconds a producer's time may lie before the broker's clock."),
    long("message.timestamp.after.max.ms", "3600000", AtLeast(0))
        .behind(&[key("log.message.timestamp.after.max.ms")])
        .doc("How many milliseconds a producer's time may lie after the broker's clock."),
    row(Kind::List, "leader.replication.throttled.replicas", "", ThrottledReplicas)
        .doc("The replicas, partition:broker, whose sending is throttled while they lead; * is all."),
    row(Kind::List, "follower.replication.throttled.replicas", "", ThrottledReplicas)
        .doc("The replicas, partition:broker, whose copying is throttled while they follow; * is all."),
    boolean("remote.storage.enable", "false").doc("Whether closed segments are copied to remote storage."),
    long("local.retention.ms", "-2", AtLeast(-2))
        .behind(&[key("log.local.retention.ms")])
        .doc("How many milliseconds segments stay here once they are in remote storage; -2 is retention.ms."),
    long("local.retention.bytes", "-2", AtLeast(-2))
        .behind(&[key("log.local.retention.bytes")])
        .doc("How many bytes of segments stay here once they are in remote storage; -2 is retention.bytes."),
    boolean("remote.log.copy.disable", "false").doc("Whether copying to remote storage is paused."),
    long("remote.copy.lag.ms", "0", AtLeast(-1))
        .behind(&[key("log.remote.copy.lag.ms")])
        .doc("How many milliseconds a closed segment waits before it is copied to remote storage."),
    long("remote.copy.lag.bytes", "-1", AtLeast(-1))
        .behind(&[key("log.remote.copy.lag.bytes")])
        .doc("How many bytes must follow a closed segment before it is copied to remote storage."),
    boolean("remote.log.delete.on.disable", "false")
        .doc("Whether switching remote storage off deletes what is stored there."),
    boolean("errors.deadletterqueue.group.enable", "false")
        .doc("Whether share groups may put the records they reject into this topic."),
    TopicSetting {
        setting: Setting::new(Kind::Int, "internal.segment.bytes", None, Any, Dynamic::ClusterWide)
            .internal()
            .doc("In place of segment.bytes, without its lower limit: for tests."),
        broker_keys: &[],
    },
    TopicSetting {
        setting: Setting::new(Kind::Boolean, "ottla.flush.before.ack", Some("false"), Any, Dynamic::ClusterWide)
            .internal()
            .doc("Whether no record is acknowledged or shown to readers before it is forced to the disk."),
        broker_keys: &[key("ottla.flush.before.ack")],
    },
];
