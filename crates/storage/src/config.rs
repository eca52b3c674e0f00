//! The settings of one log: a topic's configuration as far as storage acts on it. Plain numbers, already validated.
//!
//! Where a setting is a limit and -1 means "none" in Kafka, it is `None` here; where Kafka's default is the largest
//! 64-bit number, meaning "never", it is `None` too.

/// A segment holds at most this part of what retention keeps, in time and in bytes: only whole segments can go.
const RETENTION_PARTS: u32 = 10;
/// A segment may fill for as long as this, however short retention is: each costs some files and an fsync.
const RETENTION_PART_MS_MIN: i64 = 500;
/// And hold as much, as far as `segment.bytes` allows.
const RETENTION_PART_BYTES_MIN: u64 = 1 << 20;

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
    /// `preallocate`: whether the file of a new segment is as long as it may become at once, which takes no room.
    pub preallocate: bool,
    /// `producer.id.expiration.ms`: a producer that wrote nothing for so long is forgotten.
    pub producer_id_expiration_ms: i64,
}

impl LogConfig {
    /// How long a segment may fill, by the clock: as late may a record go that was due. `None` where time deletes nothing.
    pub fn retention_part_ms(&self) -> Option<i64> {
        let retention_ms = self.retention_ms.filter(|_| self.delete)?;
        Some((retention_ms / i64::from(RETENTION_PARTS)).max(RETENTION_PART_MS_MIN))
    }

    /// How often the log's owner is to look for what is due by its time, so that this adds little. `None` as above.
    pub fn retention_check_ms(&self) -> Option<i64> {
        self.retention_part_ms().map(|part_ms| part_ms / 2)
    }

    /// How large a segment's `.log` may become: no more than `segment.bytes`, and than a part of what retention keeps.
    pub fn segment_bytes_max(&self) -> u64 {
        let part = |bytes: u64| (bytes / u64::from(RETENTION_PARTS)).max(RETENTION_PART_BYTES_MIN);
        let part_bytes = self.retention_bytes.filter(|_| self.delete).map_or(u64::MAX, part);
        u64::from(self.segment_bytes).min(part_bytes)
    }
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
