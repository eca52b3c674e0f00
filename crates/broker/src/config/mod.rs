//! A broker's configuration: Kafka's own keys, from a `.properties` file and `--override key=value`, read once at the
//! start.
//!
//! ```text
//!   file, overrides --Written::gather--> text by key, with file and line   (properties, written)
//!                   --check_each------> types and bounds, by the table     (table)
//!                   --rules, listeners> what must hold between keys
//!                   ------------------> Config: what the broker acts on, typed
//!   Values --describe_broker----------> what DescribeConfigs tells         (describe)
//!          --in_force-----------------> what a running broker goes by      (dynamic, running)
//! ```
//!
//! A start without a file takes a few values for granted (`written.rs` lists them). Unknown keys only warn, as in
//! Kafka, for they may be meant for a plug-in; a wrong value of a known key stops the start with a sentence that names key,
//! value, file and line.
//!
//! Differs from Kafka: `controller.quorum.voters`, `controller.quorum.bootstrap.servers` and
//! `controller.listener.names` may be missing, since a node that is its own cluster has nobody to reach by them.

mod describe;
pub mod dynamic;
mod error;
mod limits;
mod listeners;
pub mod properties;
mod rules;
mod running;
pub mod table;
mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_base::BrokerId;
use ottla_metadata::settings::group::GroupLimits;
use ottla_protocol::records::Compression;

pub use describe::Values;
pub use error::{ConfigError, Origin, Warning};
pub use listeners::{Listener, ListenerType, Listeners, SecurityProtocol};
pub use running::{CleanerSettings, ListenerLimits, Newest, Running};
pub use written::{Written, WrittenValue};

use limits::HostLimits;

/// What "never" is where a time is needed: a hundred years.
pub const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What a broker acts on. Values of topics that a topic may set itself are read through [`Config::values`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `node.id`.
    pub node_id: BrokerId,
    /// `broker.rack`.
    pub broker_rack: Option<String>,
    /// `listeners`, `advertised.listeners` and what belongs to them.
    pub listeners: Listeners,
    /// `log.dirs`, or `log.dir`.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, or the first of the log directories.
    pub metadata_log_dir: PathBuf,

    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: usize,
    /// `socket.send.buffer.bytes`; `None` leaves it to the operating system.
    pub socket_send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the operating system.
    pub socket_receive_buffer_bytes: Option<usize>,
    /// `socket.listen.backlog.size`.
    pub socket_listen_backlog_size: i32,
    /// `connections.max.idle.ms`; a hundred years if it is negative, which means never.
    pub connections_max_idle: Duration,
    /// `quota.window.num`.
    pub quota_window_num: usize,
    /// `quota.window.size.seconds`.
    pub quota_window_size_seconds: usize,
    /// `ottla.request.memory.bytes`.
    pub request_memory_bytes: usize,
    /// `ottla.http.listener`; `None` where there is to be none.
    pub http_listener: Option<HttpListener>,
    /// `ottla.validate.compressed.records`.
    pub validate_compressed_records: bool,

    /// `telemetry.max.bytes`.
    pub telemetry_max_bytes: usize,

    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `min.insync.replicas`, which becomes a setting of the whole cluster when that is made.
    pub min_insync_replicas: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i32,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: u32,
    /// `max.request.partition.size.limit`.
    pub max_request_partition_size_limit: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub max_incremental_fetch_session_cache_slots: usize,

    /// `group.*` and `offsets.*`, as far as classic groups and their offsets depend on them.
    pub groups: ottla_coordinator::group::Settings,
    /// `offsets.topic.*`.
    pub offsets_topic: OffsetsTopic,
    /// `offsets.load.buffer.size`.
    pub offsets_load_buffer_bytes: u32,
    /// `offsets.commit.timeout.ms`: how long what is asked of a group coordinator waits for its records to be committed.
    pub offsets_commit_timeout: Duration,

    /// `num.recovery.threads.per.data.dir`.
    pub num_recovery_threads_per_data_dir: usize,
    /// `log.initial.task.delay.ms`.
    pub log_initial_task_delay: Duration,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval: Duration,
    /// `log.flush.scheduler.interval.ms`.
    pub log_flush_scheduler_interval: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub log_flush_offset_checkpoint_interval: Duration,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub log_flush_start_offset_checkpoint_interval: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub replica_high_watermark_checkpoint_interval: Duration,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_id_expiration_check_interval: Duration,

    /// `metadata.log.segment.bytes`, or `internal.metadata.log.segment.bytes`.
    pub metadata_log_segment_bytes: u32,
    /// `metadata.log.segment.ms`.
    pub metadata_log_segment_ms: i64,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub metadata_log_max_record_bytes_between_snapshots: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` is never by time.
    pub metadata_log_max_snapshot_interval: Option<Duration>,

    /// What may change while the broker runs.
    pub running: Newest,
    /// What groups may set for themselves.
    pub group_limits: Arc<GroupLimits>,

    /// Every value as it was written, for DescribeConfigs and for the defaults of topics.
    pub written: Written,
}

/// Where metrics are to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpListener {
    /// An address or a name.
    pub host: String,
    /// 0 for any that is free.
    pub port: u16,
    /// Somebody has set it: it has to be there.
    pub is_set: bool,
}

/// How `__consumer_offsets` is created, and written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetsTopic {
    /// `offsets.topic.num.partitions`.
    pub partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub replication_factor: i16,
    /// Somebody has set it.
    pub is_replication_factor_set: bool,
    /// `offsets.topic.segment.bytes`.
    pub segment_bytes: i32,
    /// `offsets.topic.compression.codec`.
    pub compression: Compression,
}

impl Config {
    /// Reads the file, if there is one, and the overrides, each `key=value`, which win.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<(Self, Vec<Warning>), ConfigError> {
        Self::new(Written::gather(file, overrides)?)
    }

    /// Checks and types what was written.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(mut written: Written) -> Result<(Self, Vec<Warning>), ConfigError> {
        written.name_node();
        let mut warnings = written.check_each()?;
        rules::check(&written)?;
        warnings.extend(rules::warnings(&written));
        let listeners = listeners::read(&written, &listeners::host_name)?;
        let names = listeners.broker.iter().chain(&listeners.controller).map(|listener| &*listener.name);
        let host_limits = HostLimits::looked_up(&written)?;
        let running = Newest::new(Running::new(&written, names, host_limits.by_address()), host_limits);
        let log_dirs = log_dirs(&written);
        let metadata_log_dir = match written.text("metadata.log.dir") {
            unset if unset.is_empty() => log_dirs[0].clone(),
            dir => PathBuf::from(dir),
        };
        let optional_size = |key| usize::try_from(written.number(key)).ok();
        let duration = |key| u64::try_from(written.number(key)).map_or(NEVER, Duration::from_millis).min(NEVER);
        let config = Self {
            node_id: BrokerId(int(&written, "node.id")),
            broker_rack: Some(written.text("broker.rack")).filter(|_| written.get("broker.rack").is_some()),
            listeners,
            log_dirs,
            metadata_log_dir,
            socket_request_max_bytes: written.size("socket.request.max.bytes"),
            socket_send_buffer_bytes: optional_size("socket.send.buffer.bytes"),
            socket_receive_buffer_bytes: optional_size("socket.receive.buffer.bytes"),
            socket_listen_backlog_size: int(&written, "socket.listen.backlog.size"),
            connections_max_idle: duration("connections.max.idle.ms"),
            quota_window_num: written.size("quota.window.num"),
            quota_window_size_seconds: written.size("quota.window.size.seconds"),
            request_memory_bytes: written.size("ottla.request.memory.bytes"),
            http_listener: http_listener(&written)?,
            validate_compressed_records: written.boolean("ottla.validate.compressed.records"),
            telemetry_max_bytes: written.size("telemetry.max.bytes"),
            auto_create_topics_enable: written.boolean("auto.create.topics.enable"),
            delete_topic_enable: written.boolean("delete.topic.enable"),
            num_partitions: int(&written, "num.partitions"),
            min_insync_replicas: int(&written, "min.insync.replicas"),
            default_replication_factor: int(&written, "default.replication.factor"),
            fetch_max_bytes: size32(&written, "fetch.max.bytes"),
            max_request_partition_size_limit: written.size("max.request.partition.size.limit"),
            max_incremental_fetch_session_cache_slots: written.size("max.incremental.fetch.session.cache.slots"),
            groups: group_settings(&written),
            offsets_topic: offsets_topic(&written)?,
            offsets_load_buffer_bytes: size32(&written, "offsets.load.buffer.size"),
            offsets_commit_timeout: duration("offsets.commit.timeout.ms"),
            num_recovery_threads_per_data_dir: written.size("num.recovery.threads.per.data.dir"),
            log_initial_task_delay: duration("log.initial.task.delay.ms"),
            log_retention_check_interval: duration("log.retention.check.interval.ms"),
            log_flush_scheduler_interval: duration("log.flush.scheduler.interval.ms"),
            log_flush_offset_checkpoint_interval: duration("log.flush.offset.checkpoint.interval.ms"),
            log_flush_start_offset_checkpoint_interval: duration("log.flush.start.offset.checkpoint.interval.ms"),
            replica_high_watermark_checkpoint_interval: duration("replica.high.watermark.checkpoint.interval.ms"),
            producer_id_expiration_check_interval: duration("producer.id.expiration.check.interval.ms"),
            metadata_log_segment_bytes: match written.optional_number("internal.metadata.log.segment.bytes") {
                Some(bytes) => u32::try_from(bytes).unwrap_or(0),
                None => size32(&written, "metadata.log.segment.bytes"),
            },
            metadata_log_segment_ms: written.number("metadata.log.segment.ms"),
            metadata_log_max_record_bytes_between_snapshots: written
                .size("metadata.log.max.record.bytes.between.snapshots")
                as u64,
            metadata_log_max_snapshot_interval: Some(duration("metadata.log.max.snapshot.interval.ms"))
                .filter(|interval| !interval.is_zero()),
            running,
            group_limits: Arc::new(GroupLimits::new(
                |key| written.number(key),
                written.list("group.streams.assignors"),
            )),
            written,
        };
        Ok((config, warnings))
    }

    /// The broker's values together with those that were set while it runs: for this broker, and for all of the
    /// cluster. They are what topics have that set nothing themselves.
    pub fn values<'a>(
        &'a self,
        own: &'a BTreeMap<String, String>,
        cluster: &'a BTreeMap<String, String>,
    ) -> Values<'a> {
        Values { written: &self.written, own, cluster }
    }
}

fn offsets_topic(written: &Written) -> Result<OffsetsTopic, ConfigError> {
    const REPLICATION_FACTOR: &str = "offsets.topic.replication.factor";
    Ok(OffsetsTopic {
        partitions: int(written, "offsets.topic.num.partitions"),
        replication_factor: i16::try_from(written.number(REPLICATION_FACTOR)).unwrap_or(i16::MAX),
        is_replication_factor_set: written.get(REPLICATION_FACTOR).is_some(),
        segment_bytes: int(written, "offsets.topic.segment.bytes"),
        compression: offsets_compression(written)?,
    })
}

fn http_listener(written: &Written) -> Result<Option<HttpListener>, ConfigError> {
    const KEY: &str = "ottla.http.listener";
    let text = written.text(KEY);
    if text.trim().is_empty() {
        return Ok(None);
    }
    let parsed = text.trim().rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parsed.ok_or_else(|| written.error(KEY, "it is not of the form host:port"))?;
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host).to_owned();
    Ok(Some(HttpListener { host, port, is_set: written.get(KEY).is_some() }))
}

fn offsets_compression(written: &Written) -> Result<Compression, ConfigError> {
    const KEY: &str = "offsets.topic.compression.codec";
    let codec = i8::try_from(written.number(KEY)).ok().and_then(Compression::from_id);
    codec.ok_or_else(|| written.error(KEY, "there are the codecs 0 none, 1 gzip, 2 snappy, 3 lz4 and 4 zstd"))
}

fn group_settings(written: &Written) -> ottla_coordinator::group::Settings {
    ottla_coordinator::group::Settings {
        group_max_size: written.size("group.max.size"),
        group_initial_rebalance_delay_ms: written.number("group.initial.rebalance.delay.ms"),
        group_min_session_timeout_ms: int(written, "group.min.session.timeout.ms"),
        group_max_session_timeout_ms: int(written, "group.max.session.timeout.ms"),
        offset_metadata_max_bytes: usize::try_from(written.number("offset.metadata.max.bytes")).unwrap_or(0),
        offsets_retention_ms: written.number("offsets.retention.minutes") * 60_000,
        offsets_retention_check_interval_ms: written.number("offsets.retention.check.interval.ms"),
    }
}

fn log_dirs(written: &Written) -> Vec<PathBuf> {
    let dirs = match written.list("log.dirs") {
        unset if unset.is_empty() => written.list("log.dir"),
        dirs => dirs,
    };
    dirs.into_iter().map(PathBuf::from).collect()
}

fn int(written: &Written, key: &str) -> i32 {
    i32::try_from(written.number(key)).unwrap_or_else(|_| unreachable!("{key} is checked to have 32 bits"))
}

fn size32(written: &Written, key: &str) -> u32 {
    u32::try_from(written.number(key)).unwrap_or_else(|_| unreachable!("{key} is checked to be a size of 32 bits"))
}

#[cfg(test)]
mod tests;
