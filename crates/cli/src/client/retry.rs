//! How long to go on with what may succeed a little later.

use std::thread;
use std::time::{Duration, Instant};

/// Between two attempts, at first and at most.
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_millis(1000);

/// A deadline, and waits that grow until it.
#[derive(Debug)]
pub struct Patience {
    deadline: Instant,
    back_off: Duration,
}

impl Patience {
    /// Patience for so long.
    pub fn new(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, back_off: FIRST_BACK_OFF }
    }

    /// Whether there is any left.
    pub fn is_left(&self) -> bool {
        Instant::now() < self.deadline
    }

    /// Waits before the next attempt.
    pub fn wait(&mut self) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        thread::sleep(self.back_off.min(left));
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
    }
}
