//! How long requests take: counted in buckets whose bounds are at most a quarter apart, from a microsecond to an hour.
//!
//! What is told is of the last minutes: what was counted up to five to ten minutes ago is left out, by those who look: who
//! looks for the first time in a day is told of the day.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Each power of two has so many buckets.
const BUCKETS_A_POWER: u64 = 4;
/// 2 to the 32nd microseconds are more than an hour.
const BUCKET_COUNT: usize = 32 * BUCKETS_A_POWER as usize;
/// How long a count is kept to be left out.
const WINDOW: Duration = Duration::from_secs(300);

/// The times of many requests.
#[derive(Debug)]
pub struct Times {
    buckets: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
    windows: Mutex<Windows>,
}

/// What the buckets held when two windows began.
#[derive(Debug)]
struct Windows {
    older: Vec<u64>,
    newer: Vec<u64>,
    newer_began: Instant,
}

/// What can be said of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantiles {
    /// All requests there ever were.
    pub count: u64,
    /// How long all of them took, in milliseconds.
    pub sum: f64,
    /// Milliseconds, by share; of the last minutes.
    pub by_share: Vec<(f64, f64)>,
}

/// The shares that Kafka tells.
const SHARES: [f64; 6] = [0.5, 0.75, 0.95, 0.98, 0.99, 0.999];

impl Times {
    /// Of nothing yet.
    pub fn new() -> Self {
        let none = || vec![0; BUCKET_COUNT];
        Self {
            buckets: (0..BUCKET_COUNT).map(|_| AtomicU64::new(0)).collect(),
            sum_micros: AtomicU64::new(0),
            windows: Mutex::new(Windows { older: none(), newer: none(), newer_began: Instant::now() }),
        }
    }

    /// One more.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(micros)].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What they are now.
    pub fn quantiles(&self, now: Instant) -> Quantiles {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let mut windows = self.windows.lock().expect("nobody panics while holding this lock");
        if now.saturating_duration_since(windows.newer_began) >= WINDOW {
            windows.older = std::mem::replace(&mut windows.newer, counts.clone());
            windows.newer_began = now;
        }
        let recent: Vec<u64> = counts.iter().zip(&windows.older).map(|(count, older)| count - older).collect();
        let by_share = SHARES.iter().map(|&share| (share, quantile(&recent, share)));
        let sum = self.sum_micros.load(Ordering::Relaxed) as f64 / 1000.0;
        Quantiles { count: counts.iter().sum(), sum, by_share: by_share.collect() }
    }
}

fn bucket_of(micros: u64) -> usize {
    if micros < BUCKETS_A_POWER {
        return micros as usize;
    }
    let power = u64::from(micros.ilog2());
    let part = (micros >> (power - 2)) & (BUCKETS_A_POWER - 1);
    (((power - 1) * BUCKETS_A_POWER + part) as usize).min(BUCKET_COUNT - 1)
}

/// The least number of microseconds that is too much for the bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < BUCKETS_A_POWER {
        return bucket + 1;
    }
    let (power, part) = (bucket / BUCKETS_A_POWER + 1, bucket % BUCKETS_A_POWER);
    (BUCKETS_A_POWER + part + 1) << (power - 2)
}

/// The end of the bucket up to which `share` of all lie, in milliseconds; 0 where there is nothing.
fn quantile(counts: &[u64], share: f64) -> f64 {
    let all: u64 = counts.iter().sum();
    let wanted = (all as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= wanted && seen > 0 {
            return end_of(bucket) as f64 / 1000.0;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_most_a_quarter_above_what_is_in_it() {
        for micros in (0..2000).chain([9_999, 123_456, 7_654_321, 3_600_000_000]) {
            let bucket = bucket_of(micros);
            assert!(micros < end_of(bucket), "{micros} is in bucket {bucket}");
            assert!(end_of(bucket) <= micros + micros / 4 + 1, "{micros}: {}", end_of(bucket));
            assert!(bucket == 0 || end_of(bucket - 1) <= micros, "{micros} is not in an earlier one");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKET_COUNT - 1);
    }

    #[test]
    fn quantiles_are_of_the_last_minutes() {
        let times = Times::new();
        let begun = Instant::now();
        assert_eq!(times.quantiles(begun).by_share[0], (0.5, 0.0));
        (0..99).for_each(|_| times.note(Duration::from_micros(100)));
        times.note(Duration::from_millis(50));
        let told = times.quantiles(begun);
        assert_eq!((told.count, told.sum, told.by_share[0]), (100, 59.9, (0.5, 0.112)));
        assert!(told.by_share[5].1 >= 50.0, "{told:?}");
        let later = |windows| begun + WINDOW * windows + Duration::from_secs(1);
        times.quantiles(later(1));
        times.note(Duration::from_micros(3));
        let told = times.quantiles(later(2));
        assert_eq!((told.count, told.by_share[5]), (101, (0.999, 0.004)));
    }
}
