//! The settings of one log: a topic's configuration as far as storage acts on it. Plain numbers, already validated.
//!
//! Where a setting is a limit and -1 means "none" in Kafka, it is `None` here; where Kafka's default is the largest
//! 64-bit number, meaning "never", it is `None` too.

/// Kafka's topic settings that a log needs, with Kafka's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment's `.log` grows no larger.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment that is older rolls at the next append.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: rolled up to this much earlier, so that not all logs roll at once.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: the most an index may hold; the segment rolls when it is full.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: about how far apart two index entries are.
    pub index_interval_bytes: u32,
    /// `retention.ms`: segments whose records are all older go.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`: the oldest segments go while the log is larger.
    pub retention_bytes: Option<u64>,
    /// Whether `cleanup.policy` has `delete`: without it, time and size delete nothing.
    pub delete: bool,
    /// Whether `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `flush.messages`: an fsync is owed after so many records.
    pub flush_messages: Option<u64>,
    /// `flush.ms`: an fsync is due this long after the last.
    pub flush_ms: Option<i64>,
    /// `ottla.flush.before.ack`: an fsync is owed for every record.
    pub flush_before_ack: bool,
    /// `file.delete.delay.ms`: how long a deleted segment's files stay, renamed, for those still reading.
    pub file_delete_delay_ms: i64,
    /// `preallocate`: whether a new segment takes its room on the disk at once.
    pub preallocate: bool,
    /// `producer.id.expiration.ms`: a producer that wrote nothing for so long is forgotten.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: WEEK_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(WEEK_MS),
            retention_bytes: None,
            delete: true,
            compact: false,
            flush_messages: None,
            flush_ms: None,
            flush_before_ack: false,
            file_delete_delay_ms: 60_000,
            preallocate: false,
            producer_id_expiration_ms: 86_400_000,
        }
    }
}
