//! Keeps several threads together below a number of bytes a second.

/// So long nobody need have written to be let go on at once.
const BURST_MS: f64 = 100.0;

/// How far the bytes so far have used up the time.
#[derive(Debug, Default)]
pub struct Throttle {
    used_until_ms: f64,
}

impl Throttle {
    /// Notes so many bytes, and says how many milliseconds to wait before the next.
    pub fn note(&mut self, now_ms: i64, bytes: u64, bytes_per_s: f64) -> u64 {
        let now_ms = now_ms as f64;
        let from_ms = self.used_until_ms.max(now_ms - BURST_MS);
        self.used_until_ms = from_ms + bytes as f64 * 1000.0 / bytes_per_s.max(1.0);
        (self.used_until_ms - now_ms).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_bytes_take_so_long() {
        let mut throttle = Throttle::default();
        let (mut now_ms, mut bytes) = (1_000_000, 0);
        while bytes < 5_000_000 {
            now_ms += throttle.note(now_ms, 40_000, 1_000_000.0) as i64;
            bytes += 40_000;
        }
        assert!((4_850..=5_000).contains(&(now_ms - 1_000_000)), "{now_ms}");
        assert_eq!(throttle.note(now_ms + 10_000, 40_000, 1_000_000.0), 0, "a pause is not saved up ...");
        assert_eq!(throttle.note(now_ms + 10_000, 1_000_000, 1_000_000.0), 940, "... but for a moment");
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        assert_eq!(Throttle::default().note(0, u64::MAX, f64::MAX), 0);
    }
}
