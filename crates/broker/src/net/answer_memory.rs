//! The memory of answers that their clients do not take, over all connections together.
//!
//! ```text
//!   answer --fits the socket--> gone, never counted
//!          \-> the rest waits here --budget spent--> whoever has taken nothing for longest is disconnected
//! ```
//!
//! A new answer is never turned away for those that others left lying.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;

/// What all connections together may leave lying.
const LIMIT_BYTES: usize = 32 * 1024 * 1024;
/// What each of them may that the limit does not count.
const FREE_BYTES: usize = 1024;

/// The budget that all connections share.
#[derive(Debug)]
pub struct AnswerMemory {
    limit_bytes: usize,
    holders: Mutex<Holders>,
}

#[derive(Debug, Default)]
struct Holders {
    used_bytes: usize,
    next_id: u64,
    by_id: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    progressed: Instant,
    evicted: Arc<Notify>,
}

/// What one connection holds of the budget; gives it back when dropped.
#[derive(Debug)]
pub struct Held {
    memory: Arc<AnswerMemory>,
    id: u64,
    evicted: Arc<Notify>,
}

impl AnswerMemory {
    /// Nothing is held yet.
    pub fn new() -> Arc<Self> {
        Self::with_limit(LIMIT_BYTES)
    }

    fn with_limit(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { limit_bytes, holders: Mutex::default() })
    }

    /// For one connection.
    pub fn hold(self: &Arc<Self>) -> Held {
        let mut holders = self.holders.lock().expect("nobody panics while holding this lock");
        holders.next_id += 1;
        Held { memory: self.clone(), id: holders.next_id, evicted: Arc::default() }
    }

    /// Whether there is room enough that nobody needs to hurry.
    pub fn is_plentiful(&self) -> bool {
        self.holders.lock().expect("nobody panics while holding this lock").used_bytes <= self.limit_bytes / 2
    }
}

impl Held {
    /// From now on the connection holds `bytes`. Others may have to go for that, even this one.
    pub fn set(&self, bytes: usize) {
        let bytes = bytes.saturating_sub(FREE_BYTES);
        let mut holders = self.memory.holders.lock().expect("nobody panics while holding this lock");
        holders.remove(self.id);
        if bytes > 0 {
            holders.used_bytes += bytes;
            let holder = Holder { bytes, progressed: Instant::now(), evicted: self.evicted.clone() };
            holders.by_id.insert(self.id, holder);
            holders.evict(self.memory.limit_bytes);
        }
    }

    /// The client has taken something.
    pub fn progressed(&self) {
        let mut holders = self.memory.holders.lock().expect("nobody panics while holding this lock");
        if let Some(holder) = holders.by_id.get_mut(&self.id) {
            holder.progressed = Instant::now();
        }
    }

    /// Waits until the connection has to go.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Holders {
    fn remove(&mut self, id: u64) {
        if let Some(holder) = self.by_id.remove(&id) {
            self.used_bytes -= holder.bytes;
        }
    }

    /// What an evicted connection holds counts no longer, although it takes a moment until it is gone.
    fn evict(&mut self, limit_bytes: usize) {
        while self.used_bytes > limit_bytes {
            let slowest = self.by_id.iter().min_by_key(|(_, holder)| holder.progressed);
            let id = *slowest.expect("somebody holds what is used").0;
            self.by_id[&id].evicted.notify_one();
            self.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_evicted(held: &Held) -> bool {
        tokio::time::timeout(Duration::from_millis(1), held.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn who_has_taken_nothing_for_longest_goes() {
        let memory = AnswerMemory::with_limit(10_000);
        let (a, b, c) = (memory.hold(), memory.hold(), memory.hold());
        a.set(5000);
        b.set(5000);
        a.progressed();
        assert!(!is_evicted(&a).await && !is_evicted(&b).await);
        assert!(!memory.is_plentiful());
        c.set(5000);
        assert!(is_evicted(&b).await);
        assert!(!is_evicted(&a).await && !is_evicted(&c).await);
        drop(a);
        drop(b);
        assert!(memory.is_plentiful());
        c.set(20_000);
        assert!(is_evicted(&c).await, "it asks for more than there is");
        assert_eq!(memory.holders.lock().expect("no panic").used_bytes, 0);
    }

    #[tokio::test]
    async fn small_answers_are_not_counted() {
        let memory = AnswerMemory::with_limit(10);
        let held = memory.hold();
        held.set(FREE_BYTES);
        assert!(!is_evicted(&held).await);
        assert!(memory.is_plentiful());
    }
}
