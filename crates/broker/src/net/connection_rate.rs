//! How many connections a second came lately, and how long the next has to wait for that: measured as Kafka does.
//!
//! ```text
//!   |--window--|--window--|-- ... --|--window--|   those in which something came, each as long as the others
//!   ^ begins with the first that counts       ^ now
//! ```
//!
//! What has just begun is measured as if all windows but the last were over. So a burst may come of as many as are allowed
//! in all of these together.

use std::collections::VecDeque;

/// More windows are not kept, whatever `quota.window.num` says: there is a rate for each address.
const WINDOWS_MAX: u64 = 60;

/// Over what a rate is measured.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    count: u64,
    length_ms: u64,
}

/// How many came lately. Those who tell the time may be a little late.
#[derive(Debug, Default)]
pub struct Rate {
    windows: VecDeque<Window>,
}

#[derive(Debug)]
struct Window {
    begun_ms: u64,
    last_ms: u64,
    /// What is taken back counts in the window of that time, which may have nothing else.
    came: i64,
}

impl Windows {
    /// `quota.window.num`, and `quota.window.size.seconds`.
    pub fn new(count: usize, length_seconds: usize) -> Self {
        Self { count: (count as u64).clamp(1, WINDOWS_MAX), length_ms: (length_seconds as u64).max(1) * 1000 }
    }

    /// How long it takes until something is forgotten.
    fn all_ms(self) -> u64 {
        self.count * self.length_ms
    }

    /// How long one lasts.
    pub fn length_ms(self) -> u64 {
        self.length_ms
    }
}

impl Rate {
    /// One has come.
    pub fn count(&mut self, windows: Windows, now_ms: u64) {
        self.add(windows, now_ms, 1);
    }

    /// One that was counted is not let in after all.
    pub fn take_back(&mut self, windows: Windows, now_ms: u64) {
        self.add(windows, now_ms, -1);
    }

    /// How long the last one has to wait so that no more than `most_per_s` come, but no longer than a window.
    pub fn delay_ms(&mut self, windows: Windows, most_per_s: u32, now_ms: u64) -> u64 {
        self.forget(windows, now_ms);
        let Some(first) = self.windows.front() else { return 0 };
        let since_first_ms = now_ms.saturating_sub(first.begun_ms);
        let missing = (windows.count - 1).saturating_sub(since_first_ms / windows.length_ms);
        let measured_ms = (since_first_ms + missing * windows.length_ms).max(windows.length_ms) as f64;
        let came: i64 = self.windows.iter().map(|window| window.came).sum();
        let (per_s, most_per_s) = (came as f64 * 1000.0 / measured_ms, f64::from(most_per_s));
        if per_s <= most_per_s {
            return 0;
        }
        // Where none may come it is for ever.
        let delay_ms = ((per_s - most_per_s) / most_per_s * measured_ms).round();
        (delay_ms as u64).min(windows.length_ms)
    }

    /// Whether nothing came of late.
    pub fn is_over(&mut self, windows: Windows, now_ms: u64) -> bool {
        self.forget(windows, now_ms);
        self.windows.is_empty()
    }

    fn add(&mut self, windows: Windows, now_ms: u64, came: i64) {
        self.forget(windows, now_ms);
        match self.windows.back_mut() {
            Some(last) if now_ms.saturating_sub(last.begun_ms) < windows.length_ms => {
                last.came += came;
                last.last_ms = now_ms;
            }
            _ => self.windows.push_back(Window { begun_ms: now_ms, last_ms: now_ms, came }),
        }
    }

    fn forget(&mut self, windows: Windows, now_ms: u64) {
        while self.windows.front().is_some_and(|window| now_ms.saturating_sub(window.last_ms) >= windows.all_ms()) {
            self.windows.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are where nobody sets them.
    fn windows() -> Windows {
        Windows::new(11, 1)
    }

    fn come(rate: &mut Rate, most_per_s: u32, now_ms: u64) -> u64 {
        rate.count(windows(), now_ms);
        rate.delay_ms(windows(), most_per_s, now_ms)
    }

    #[test]
    fn a_burst_is_let_in_and_what_comes_after_it_waits() {
        let mut rate = Rate::default();
        let delays: Vec<u64> = (0..23).map(|_| come(&mut rate, 2, 5000)).collect();
        assert_eq!(delays[..20], [0; 20], "two a second, in ten seconds");
        assert_eq!(delays[20..], [500, 1000, 1000], "no longer than a window");
    }

    #[test]
    fn who_comes_no_faster_than_that_never_waits() {
        let mut rate = Rate::default();
        assert!((0..200).all(|number| come(&mut rate, 2, number * 600) == 0));
        let waits = (0..200).filter(|number| come(&mut rate, 2, 200_000 + number * 250) > 0).count();
        assert!(waits > 100, "{waits}");
        assert!(rate.windows.len() as u64 <= windows().count + 1);
    }

    #[test]
    fn what_came_long_ago_is_forgotten() {
        let mut rate = Rate::default();
        assert_eq!((0..30).map(|_| come(&mut rate, 2, 0)).max(), Some(1000));
        assert_eq!(come(&mut rate, 2, 10_999), 1000);
        assert_eq!(come(&mut rate, 2, 11_000), 0, "of those at first none counts any more");
        assert!(!rate.is_over(windows(), 21_999) && rate.is_over(windows(), 22_000));
    }

    #[test]
    fn what_is_taken_back_does_not_count() {
        let mut rate = Rate::default();
        for _ in 0..100 {
            rate.count(windows(), 7);
            rate.take_back(windows(), 7);
        }
        assert_eq!(come(&mut rate, 1, 8), 0);
    }

    #[test]
    fn where_none_may_come_each_waits_for_a_window() {
        assert_eq!(come(&mut Rate::default(), 0, 0), 1000);
    }

    #[test]
    fn one_window_is_measured_as_a_whole() {
        let windows = Windows::new(1, 2);
        let mut rate = Rate::default();
        let mut come = |now_ms| {
            rate.count(windows, now_ms);
            rate.delay_ms(windows, 1, now_ms)
        };
        assert_eq!([0, 0, 0, 1000].map(&mut come), [0, 0, 1000, 2000]);
    }
}
