//! A topic's effective settings, typed, as far as a broker acts on them.
//!
//! Where Kafka has a number for "no limit" or "never", there is `None`.

use std::collections::BTreeMap;

use super::{TopicSetting, find};
use crate::settings::{BrokerValues, Value};

/// What a broker needs to know of a topic's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// `segment.bytes`, or `internal.segment.bytes` if that is set.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `flush.messages`.
    pub flush_messages: Option<u64>,
    /// `flush.ms`.
    pub flush_ms: Option<i64>,
    /// `ottla.flush.before.ack`.
    pub flush_before_ack: bool,
    /// `retention.ms`.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`.
    pub retention_bytes: Option<u64>,
    /// Whether `cleanup.policy` has `delete`.
    pub delete: bool,
    /// Whether `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `preallocate`.
    pub preallocate: bool,
    /// `max.message.bytes`.
    pub max_message_bytes: u32,
    /// `max.decompressed.message.bytes`.
    pub max_decompressed_message_bytes: u32,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: Option<i64>,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: Option<i64>,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `compression.gzip.level`; `None` is the codec's own.
    pub compression_gzip_level: Option<i32>,
    /// `compression.lz4.level`.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`.
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: Option<i64>,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
}

/// Whose clock a record's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// How batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As they were sent.
    Producer,
    /// Without compression.
    Uncompressed,
    /// With gzip.
    Gzip,
    /// With snappy.
    Snappy,
    /// With lz4.
    Lz4,
    /// With zstd.
    Zstd,
}

impl TopicSettings {
    /// The settings of a topic that sets `overrides`, on a broker that says `broker` for the rest.
    ///
    /// An override that is no valid value counts as not set: the metadata log may have been written by another program.
    pub fn new(overrides: &BTreeMap<String, String>, broker: &impl BrokerValues) -> Self {
        let read = Effective { overrides, broker };
        let segment_bytes = match read.find("internal.segment.bytes") {
            Some(Value::Number(bytes)) => u32::try_from(bytes).unwrap_or(0),
            _ => read.size("segment.bytes"),
        };
        let policies = read.value("cleanup.policy");
        let has = |policy: &str| policies.list().is_some_and(|items| items.iter().any(|item| item == policy));
        Self {
            segment_bytes,
            segment_ms: read.number("segment.ms"),
            segment_jitter_ms: read.number("segment.jitter.ms"),
            segment_index_bytes: read.size("segment.index.bytes"),
            index_interval_bytes: read.size("index.interval.bytes"),
            flush_messages: read.unless_never("flush.messages").and_then(|count| u64::try_from(count).ok()),
            flush_ms: read.unless_never("flush.ms"),
            flush_before_ack: read.boolean("ottla.flush.before.ack"),
            retention_ms: Some(read.number("retention.ms")).filter(|&ms| ms >= 0),
            retention_bytes: u64::try_from(read.number("retention.bytes")).ok(),
            delete: has("delete"),
            compact: has("compact"),
            file_delete_delay_ms: read.number("file.delete.delay.ms"),
            preallocate: read.boolean("preallocate"),
            max_message_bytes: read.size("max.message.bytes"),
            max_decompressed_message_bytes: read.size("max.decompressed.message.bytes"),
            message_timestamp_type: match read.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: read.unless_never("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: read.unless_never("message.timestamp.after.max.ms"),
            min_insync_replicas: usize::try_from(read.number("min.insync.replicas")).unwrap_or(usize::MAX),
            unclean_leader_election_enable: read.boolean("unclean.leader.election.enable"),
            compression_type: match read.text("compression.type").as_str() {
                "uncompressed" => CompressionType::Uncompressed,
                "gzip" => CompressionType::Gzip,
                "snappy" => CompressionType::Snappy,
                "lz4" => CompressionType::Lz4,
                "zstd" => CompressionType::Zstd,
                _ => CompressionType::Producer,
            },
            compression_gzip_level: Some(read.level("compression.gzip.level")).filter(|&level| level != -1),
            compression_lz4_level: read.level("compression.lz4.level"),
            compression_zstd_level: read.level("compression.zstd.level"),
            delete_retention_ms: read.number("delete.retention.ms"),
            min_compaction_lag_ms: read.number("min.compaction.lag.ms"),
            max_compaction_lag_ms: read.unless_never("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: match read.value("min.cleanable.dirty.ratio") {
                Value::Double(ratio) => ratio,
                other => unreachable!("min.cleanable.dirty.ratio is a double, not {other}"),
            },
        }
    }
}

/// Reads effective values of keys that are in the table.
struct Effective<'a, B> {
    overrides: &'a BTreeMap<String, String>,
    broker: &'a B,
}

impl<B: BrokerValues> Effective<'_, B> {
    fn row(key: &str) -> &'static TopicSetting {
        find(key).unwrap_or_else(|| unreachable!("{key} is in the table"))
    }

    fn find(&self, key: &str) -> Option<Value> {
        Self::row(key).effective(self.overrides, self.broker)
    }

    fn value(&self, key: &str) -> Value {
        self.find(key).unwrap_or_else(|| unreachable!("{key} has a default that passes its own check"))
    }

    fn number(&self, key: &str) -> i64 {
        match self.value(key) {
            Value::Number(number) => number,
            other => unreachable!("{key} is a number, not {other}"),
        }
    }

    /// A number that the table keeps at 0 or above and within 32 bits.
    fn size(&self, key: &str) -> u32 {
        u32::try_from(self.number(key)).unwrap_or_else(|_| unreachable!("{key} is checked to be a size"))
    }

    /// A number that the table keeps within 32 bits.
    fn level(&self, key: &str) -> i32 {
        i32::try_from(self.number(key)).unwrap_or_else(|_| unreachable!("{key} is checked to be a level"))
    }

    fn unless_never(&self, key: &str) -> Option<i64> {
        Some(self.number(key)).filter(|&number| number != i64::MAX)
    }

    fn boolean(&self, key: &str) -> bool {
        self.value(key) == Value::Boolean(true)
    }

    fn text(&self, key: &str) -> String {
        match self.value(key) {
            Value::Text(text) => text,
            other => unreachable!("{key} is a text, not {other}"),
        }
    }
}
