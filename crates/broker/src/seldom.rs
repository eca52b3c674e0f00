//! Something that may happen very often: all of it is counted, and it is told of once a minute.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// At most so often it is told of.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// How often it happened since the start.
#[derive(Debug, Default)]
pub struct Seldom {
    count: AtomicU64,
    /// When it was told of last, by the monotonic clock.
    told_at: Mutex<Option<Duration>>,
}

impl Seldom {
    /// Counts one; gives how many there were where that is to be told.
    pub fn add(&self, now: Duration) -> Option<u64> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told_at = self.told_at.lock().expect("nobody panics while holding this lock");
        let is_due = told_at.is_none_or(|told_at| now >= told_at + TELL_INTERVAL);
        is_due.then(|| {
            *told_at = Some(now);
            count
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_of_once_a_minute() {
        let seldom = Seldom::default();
        let told = [0, 1, 59_999, 60_000, 60_001, 200_000].map(|ms| seldom.add(Duration::from_millis(ms)));
        assert_eq!((told, seldom.count()), ([Some(1), None, None, Some(4), None, Some(6)], 6));
    }
}
