//! How numbers are spread: counted in buckets whose bounds are at most a quarter apart. Of times, those are from a microsecond
//! to an hour.
//!
//! What is told is of the last minutes: what was counted up to five to ten minutes ago is left out, by those who look: who
//! looks for the first time in a day is told of the day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Each power of two has so many buckets.
const BUCKETS_A_POWER: u64 = 4;
/// 2 to the 32nd microseconds are more than an hour.
const BUCKET_COUNT: usize = 32 * BUCKETS_A_POWER as usize;
/// How long a count is kept to be left out.
const WINDOW: Duration = Duration::from_secs(300);

/// The spread of many numbers. Those that are 0, as most parts of a request's time are, are not counted: who looks knows how
/// many numbers there were.
#[derive(Debug, Default)]
pub struct Spread {
    /// None before the first number: there are very many spreads of which nobody ever hears.
    buckets: OnceLock<Box<[AtomicU64]>>,
    sum: AtomicU64,
}

/// What was noted in several spreads together.
#[derive(Clone, Debug)]
pub struct Counts {
    buckets: Vec<u64>,
    sum: u64,
}

/// What whoever looks has seen before.
#[derive(Debug, Default)]
pub struct History {
    windows: Mutex<Option<Windows>>,
}

/// What the numbers are, and what they are told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds, which are told in milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
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
    /// All there ever were.
    pub count: u64,
    /// All of them together.
    pub sum: f64,
    /// By share; of the last minutes.
    pub by_share: Vec<(f64, f64)>,
}

/// The shares that Kafka tells.
const SHARES: [f64; 6] = [0.5, 0.75, 0.95, 0.98, 0.99, 0.999];

impl Spread {
    /// One more.
    pub fn note(&self, number: u64) {
        if number == 0 {
            return;
        }
        let buckets = self.buckets.get_or_init(|| (0..BUCKET_COUNT).map(|_| AtomicU64::new(0)).collect());
        buckets[bucket_of(number)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(number, Ordering::Relaxed);
    }

    /// Adds what was noted.
    pub fn add_to(&self, counts: &mut Counts) {
        if let Some(buckets) = self.buckets.get() {
            counts.buckets.iter_mut().zip(buckets).for_each(|(count, bucket)| *count += bucket.load(Ordering::Relaxed));
        }
        counts.sum += self.sum.load(Ordering::Relaxed);
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKET_COUNT], sum: 0 }
    }
}

impl History {
    /// What `counts` are now, where `count` were noted.
    pub fn quantiles(&self, counts: &Counts, now: Instant, count: u64, unit: Unit) -> Quantiles {
        let (mut counts, sum) = (counts.buckets.clone(), counts.sum);
        // One that is being noted just now may be in its bucket and not in the count.
        counts[0] = count.saturating_sub(counts.iter().sum());
        let mut windows = self.windows.lock().expect("nobody panics while holding this lock");
        let none = || vec![0; BUCKET_COUNT];
        let windows = windows.get_or_insert_with(|| Windows { older: none(), newer: none(), newer_began: now });
        if now.saturating_duration_since(windows.newer_began) >= WINDOW {
            windows.older = std::mem::replace(&mut windows.newer, counts.clone());
            windows.newer_began = now;
        }
        let recent = counts.iter().zip(&windows.older).map(|(count, older)| count.saturating_sub(*older));
        let recent: Vec<u64> = recent.collect();
        let by_share = SHARES.iter().map(|&share| (share, quantile(&recent, share, unit)));
        Quantiles { count, sum: unit.told(sum), by_share: by_share.collect() }
    }
}

impl Unit {
    fn told(self, number: u64) -> f64 {
        match self {
            Self::Milliseconds => number as f64 / 1000.0,
            Self::Bytes => number as f64,
        }
    }
}

fn bucket_of(number: u64) -> usize {
    if number < BUCKETS_A_POWER {
        return number as usize;
    }
    let power = u64::from(number.ilog2());
    let part = (number >> (power - 2)) & (BUCKETS_A_POWER - 1);
    (((power - 1) * BUCKETS_A_POWER + part) as usize).min(BUCKET_COUNT - 1)
}

/// The least number that is too much for the bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < BUCKETS_A_POWER {
        return bucket + 1;
    }
    let (power, part) = (bucket / BUCKETS_A_POWER + 1, bucket % BUCKETS_A_POWER);
    (BUCKETS_A_POWER + part + 1) << (power - 2)
}

/// The end of the bucket up to which `share` of all lie; 0 where there is nothing, and where they are 0.
fn quantile(counts: &[u64], share: f64, unit: Unit) -> f64 {
    let all: u64 = counts.iter().sum();
    let wanted = (all as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= wanted && seen > 0 {
            return if bucket == 0 { 0.0 } else { unit.told(end_of(bucket)) };
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spread: &Spread, history: &History, now: Instant, count: u64) -> Quantiles {
        let mut counts = Counts::default();
        spread.add_to(&mut counts);
        history.quantiles(&counts, now, count, Unit::Milliseconds)
    }

    #[test]
    fn a_bucket_ends_at_most_a_quarter_above_what_is_in_it() {
        for number in (0..2000).chain([9_999, 123_456, 7_654_321, 3_600_000_000]) {
            let bucket = bucket_of(number);
            assert!(number < end_of(bucket), "{number} is in bucket {bucket}");
            assert!(end_of(bucket) <= number + number / 4 + 1, "{number}: {}", end_of(bucket));
            assert!(bucket == 0 || end_of(bucket - 1) <= number, "{number} is not in an earlier one");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKET_COUNT - 1);
    }

    #[test]
    fn quantiles_are_of_the_last_minutes() {
        let (times, history) = (Spread::default(), History::default());
        let begun = Instant::now();
        assert_eq!(told(&times, &history, begun, 0).by_share[0], (0.5, 0.0));
        (0..99).for_each(|_| times.note(100));
        times.note(50_000);
        let seen = told(&times, &history, begun, 100);
        assert_eq!((seen.count, seen.sum, seen.by_share[0]), (100, 59.9, (0.5, 0.112)));
        assert!(seen.by_share[5].1 >= 50.0, "{seen:?}");
        let later = |windows| begun + WINDOW * windows + Duration::from_secs(1);
        told(&times, &history, later(1), 100);
        times.note(3);
        let seen = told(&times, &history, later(2), 101);
        assert_eq!((seen.count, seen.by_share[5]), (101, (0.999, 0.004)));
    }

    #[test]
    fn what_is_nothing_counts_though_it_is_not_noted() {
        let bytes = Spread::default();
        [0, 0, 0, 70].into_iter().for_each(|number| bytes.note(number));
        let mut counts = Counts::default();
        bytes.add_to(&mut counts);
        let told = History::default().quantiles(&counts, Instant::now(), 4, Unit::Bytes);
        assert_eq!((told.count, told.sum, told.by_share[1], told.by_share[2]), (4, 70.0, (0.75, 0.0), (0.95, 80.0)));
    }
}
