//! When a snapshot of the metadata is to be taken: once the log is long, or the last one old.
//!
//! One that fails, as on a full disk, is not tried again after every command: each takes the memory and the time of the whole
//! image.

use std::time::{Duration, Instant};

use crate::config::Config;

/// How long nothing is tried after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// When it was tried last.
pub struct SnapshotTimes {
    tried: Instant,
    has_failed: bool,
}

impl SnapshotTimes {
    /// It was just started.
    pub fn new(now: Instant) -> Self {
        Self { tried: now, has_failed: false }
    }

    /// Whether it is time, with so many bytes in the log since the last one.
    pub fn is_due(&self, now: Instant, bytes: u64, config: &Config) -> bool {
        let since = now.duration_since(self.tried);
        let is_long = bytes >= config.metadata_log_max_record_bytes_between_snapshots;
        let is_old = config.metadata_log_max_snapshot_interval.is_some_and(|most| since >= most);
        (is_long || is_old) && (!self.has_failed || since >= AGAIN_AFTER)
    }

    /// It was tried, and has failed or not.
    pub fn tried(&mut self, now: Instant, has_failed: bool) {
        (self.tried, self.has_failed) = (now, has_failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Written;

    #[test]
    fn what_has_failed_is_not_tried_again_at_once() {
        let text = "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:0\nlog.dirs=/nowhere\n\
                    metadata.log.max.record.bytes.between.snapshots=1000\nmetadata.log.max.snapshot.interval.ms=600000\n";
        let config = Config::new(Written::from_text("server.properties", text).expect("it is well formed"));
        let config = config.expect("it is valid").0;
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut times = SnapshotTimes::new(begun);
        let due = |times: &SnapshotTimes, seconds, bytes| times.is_due(at(seconds), bytes, &config);
        assert_eq!(
            [(0, 999), (0, 1000), (599, 0), (600, 0)].map(|(s, bytes)| due(&times, s, bytes)),
            [false, true, false, true]
        );
        times.tried(at(0), true);
        assert_eq!([0, 59, 60].map(|seconds| due(&times, seconds, 1000)), [false, false, true]);
        times.tried(at(60), false);
        assert!(due(&times, 61, 1000), "a log that is long again is not waited with");
    }
}
