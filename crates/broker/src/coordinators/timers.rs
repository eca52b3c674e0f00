//! The clock of the coordinators: a thread that sleeps until the first of their deadlines.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::shard::Shard;
use crate::node::clock;

/// When the thread wakes up.
#[derive(Debug)]
pub struct Timers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Until when it sleeps. While it looks at the shards, whatever becomes due is to be looked at again.
    until: Duration,
    is_changed: bool,
    is_stopping: bool,
}

impl Default for Timers {
    fn default() -> Self {
        let state = State { until: Duration::MAX, is_changed: false, is_stopping: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl Timers {
    /// Something is due at `deadline`.
    pub fn wake_at(&self, deadline: Duration) {
        let mut state = self.state.lock().expect("nobody panics while holding this lock");
        if deadline < state.until && !state.is_changed {
            state.is_changed = true;
            self.changed.notify_one();
        }
    }

    /// The thread ends.
    pub fn stop(&self) {
        self.state.lock().expect("nobody panics while holding this lock").is_stopping = true;
        self.changed.notify_one();
    }

    /// Works until [`Timers::stop`].
    pub fn run(&self, shards: impl Fn() -> Vec<Arc<Shard>>) {
        while !self.is_stopping() {
            let first = shards().iter().filter_map(|shard| shard.run_due()).min();
            let until = first.unwrap_or(Duration::MAX);
            let mut state = self.state.lock().expect("nobody panics while holding this lock");
            state.until = until;
            while !state.is_changed && !state.is_stopping {
                let now = clock::now().monotonic;
                if now >= until {
                    break;
                }
                let waited = self.changed.wait_timeout(state, until - now);
                state = waited.expect("nobody panics while holding this lock").0;
            }
            state.is_changed = false;
            state.until = Duration::MAX;
        }
    }

    fn is_stopping(&self) -> bool {
        self.state.lock().expect("nobody panics while holding this lock").is_stopping
    }
}
