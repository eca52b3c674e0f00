//! Keeps several threads together below a number of bytes a second.

use std::time::{Duration, Instant};

/// So long nobody need have written to be let go on at once.
const BURST: Duration = Duration::from_millis(100);
/// Nobody waits longer, however slow it is to be.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the bytes so far have used up the time, by a clock that nobody sets: the time of day may go back by hours.
#[derive(Debug, Default)]
pub struct Throttle {
    used_until: Option<Instant>,
}

impl Throttle {
    /// Notes so many bytes, and says how long to wait before the next.
    pub fn note(&mut self, now: Instant, bytes: u64, bytes_per_s: f64) -> Duration {
        let takes_s = (bytes as f64 / bytes_per_s.max(1.0)).min(WAIT_MAX.as_secs_f64());
        // In terms of now: how much is used up, or how much of the burst is left.
        let used = self.used_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let left = self.used_until.map_or(BURST, |until| now.saturating_duration_since(until)).min(BURST);
        let wait = (used + Duration::from_secs_f64(takes_s)).min(WAIT_MAX);
        self.used_until = Some(now + wait - left);
        wait.saturating_sub(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_bytes_take_so_long() {
        let (mut throttle, begun) = (Throttle::default(), Instant::now());
        let (mut now, mut bytes) = (begun, 0);
        while bytes < 5_000_000 {
            now += throttle.note(now, 40_000, 1_000_000.0);
            bytes += 40_000;
        }
        let took_ms = (now - begun).as_millis();
        assert!((4_850..=5_000).contains(&took_ms), "{took_ms}");
        let later = now + Duration::from_secs(10);
        assert_eq!(throttle.note(later, 40_000, 1_000_000.0), Duration::ZERO, "a pause is not saved up ...");
        let wait = throttle.note(later, 1_000_000, 1_000_000.0);
        assert_eq!(wait, Duration::from_millis(940), "... but for a moment");
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        assert_eq!(Throttle::default().note(Instant::now(), u64::MAX, f64::MAX), Duration::ZERO);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..3 {
            let wait = throttle.note(now, u64::MAX, 0.0);
            assert!((WAIT_MAX - BURST..=WAIT_MAX).contains(&wait), "{wait:?}");
        }
    }
}
