//! The memory that request frames may hold, over all connections together.
//!
//! A connection pays for bytes that have come, never for bytes that were announced. Where the budget is spent, readers
//! wait; one of them at a time may overdraw it, so that a set of half-read frames can never hold each other up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The budget that all connections share.
#[derive(Debug)]
pub struct FrameMemory {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
    overdraft: Arc<Semaphore>,
}

/// What one connection holds of the budget; gives it back when dropped.
#[derive(Debug)]
pub struct Share {
    memory: Arc<FrameMemory>,
    bytes: usize,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl FrameMemory {
    /// A budget of `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            overdraft: Arc::new(Semaphore::new(1)),
        })
    }

    /// An empty share of it.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { memory: self.clone(), bytes: 0, overdraft: None }
    }

    /// A share of `bytes`, if there is as much left.
    pub fn try_share(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        self.try_take(bytes).then(|| Share { memory: self.clone(), bytes, overdraft: None })
    }

    /// Whether somebody waits: then those who hold memory and make no progress must go.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether idle connections may keep their buffers for the next frame.
    pub fn is_plentiful(&self) -> bool {
        self.used_bytes.load(Ordering::Relaxed) <= self.limit_bytes / 2
    }

    fn try_take(&self, bytes: usize) -> bool {
        self.used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= self.limit_bytes)
            })
            .is_ok()
    }
}

impl Share {
    /// Waits until this share holds `bytes`. It may be dropped while it waits.
    pub async fn grow_to(&mut self, bytes: usize) {
        let Some(missing) = bytes.checked_sub(self.bytes).filter(|&missing| missing > 0) else { return };
        if self.overdraft.is_some() {
            self.memory.used_bytes.fetch_add(missing, Ordering::Relaxed);
            self.bytes = bytes;
            return;
        }
        if !self.memory.try_take(missing) {
            let memory = self.memory.clone();
            let _waiting = Waiting::new(&memory.waiting);
            loop {
                let freed = memory.freed.notified();
                if memory.try_take(missing) {
                    break;
                }
                tokio::select! {
                    () = freed => {}
                    permit = memory.overdraft.clone().acquire_owned() => {
                        self.overdraft = Some(permit.expect("the overdraft is never closed"));
                        memory.used_bytes.fetch_add(missing, Ordering::Relaxed);
                        break;
                    }
                }
            }
        }
        self.bytes = bytes;
    }

    /// Makes this share hold `bytes`, if that is possible at once.
    pub fn try_grow_to(&mut self, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        let grown = self.memory.try_take(missing);
        self.bytes += if grown { missing } else { 0 };
        grown
    }

    /// Gives back all above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            let before = self.memory.used_bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            assert!(before >= self.bytes - bytes, "more memory was given back than was taken");
            self.bytes = bytes;
            self.overdraft = None;
            if self.memory.is_short() {
                self.memory.freed.notify_waiters();
            }
        }
    }

    /// How much it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The budget it is a share of.
    pub fn memory(&self) -> &FrameMemory {
        &self.memory
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Counts a waiter for as long as it waits, also where its future is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn waits(future: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(20), future).await.is_err()
    }

    #[tokio::test]
    async fn one_reader_may_overdraw_and_the_others_wait_until_memory_is_given_back() {
        let memory = FrameMemory::new(100);
        let (mut a, mut b, mut c) = (memory.share(), memory.share(), memory.share());
        a.grow_to(90).await;
        b.grow_to(50).await;
        assert_eq!(memory.used_bytes.load(Ordering::Relaxed), 140, "the first that found no room overdraws");
        assert!(waits(c.grow_to(50)).await);
        assert!(!memory.is_short(), "a waiter that was dropped is not counted");
        drop(a);
        drop(b);
        c.grow_to(50).await;
        assert!(c.overdraft.is_none());
    }

    #[tokio::test]
    async fn a_waiter_is_woken_by_memory_that_is_given_back() {
        let memory = FrameMemory::new(100);
        let (mut a, mut b, mut c) = (memory.share(), memory.share(), memory.share());
        a.grow_to(100).await;
        b.grow_to(10).await;
        let waiter = tokio::spawn(async move {
            c.grow_to(60).await;
            c.bytes()
        });
        while !memory.is_short() {
            tokio::task::yield_now().await;
        }
        a.shrink_to(20);
        assert_eq!(waiter.await.expect("it does not panic"), 60);
    }
}
