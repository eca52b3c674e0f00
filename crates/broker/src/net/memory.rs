//! The memory that request frames may hold, over all connections together.
//!
//! A connection pays for bytes that have come, never for bytes that were announced; while memory is plentiful, for some room for what a
//! client sends ahead, too. Where the budget is spent, readers
//! wait; one of them at a time may overdraw it, so that a set of half-read frames can never hold each other up. A part of the
//! budget is for small frames alone, which then do not wait for large ones.
//!
//! Who waits says so and then looks once more; who gives back does so and then looks whether anybody waits. One of them sees
//! the other, since all of it is in one order (`SeqCst`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Who holds no more than this may have all of the budget ...
const SMALL_BYTES: usize = 64 * 1024;
/// ... of which all others leave this part.
const SMALL_PART: usize = 8;

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
    /// How much of that is of the budget; the rest is overdrawn.
    counted_bytes: usize,
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
        Share { memory: self.clone(), bytes: 0, counted_bytes: 0, overdraft: None }
    }

    /// A share of `bytes`, if there is as much left.
    pub fn try_share(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let taken = self.try_take(bytes, self.limit_bytes_for(bytes));
        taken.then(|| Share { memory: self.clone(), bytes, counted_bytes: bytes, overdraft: None })
    }

    /// Whether somebody waits: then those who hold memory and make no progress must go.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Whether connections may keep their buffers for the next frame, and have room for several.
    pub fn is_plentiful(&self) -> bool {
        self.used_bytes.load(Ordering::SeqCst) <= self.limit_bytes / 2
    }

    /// How much of it is held.
    #[cfg(test)]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::SeqCst)
    }

    fn limit_bytes_for(&self, bytes: usize) -> usize {
        if bytes <= SMALL_BYTES { self.limit_bytes } else { self.limit_bytes - self.limit_bytes / SMALL_PART }
    }

    fn try_take(&self, bytes: usize, limit_bytes: usize) -> bool {
        self.used_bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= limit_bytes)
            })
            .is_ok()
    }
}

impl Share {
    /// Waits until this share holds `bytes`. It may be dropped while it waits.
    pub async fn grow_to(&mut self, bytes: usize) {
        if self.try_grow_to(bytes) {
            return;
        }
        let memory = self.memory.clone();
        let _waiting = Waiting::new(&memory.waiting);
        loop {
            let freed = memory.freed.notified();
            if self.try_grow_to(bytes) {
                return;
            }
            tokio::select! {
                () = freed => {}
                permit = memory.overdraft.clone().acquire_owned() => {
                    self.overdraft = Some(permit.expect("the overdraft is never closed"));
                }
            }
        }
    }

    /// Makes this share hold `bytes`, if that is possible at once.
    pub fn try_grow_to(&mut self, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        let limit_bytes = self.memory.limit_bytes_for(bytes);
        if missing > 0 && self.overdraft.is_none() {
            if !self.memory.try_take(missing, limit_bytes) {
                return false;
            }
            self.counted_bytes += missing;
        }
        self.bytes += missing;
        true
    }

    /// Gives back all above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            // What is kept belongs to the budget, also where it was overdrawn.
            self.memory.used_bytes.fetch_add(bytes, Ordering::SeqCst);
            let before = self.memory.used_bytes.fetch_sub(self.counted_bytes, Ordering::SeqCst);
            assert!(before >= self.counted_bytes, "more memory was given back than was taken");
            self.bytes = bytes;
            self.counted_bytes = bytes;
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
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether it waits until something else happens: the clock only goes on where nothing does.
    async fn waits(future: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_secs(3600), future).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn one_reader_may_overdraw_and_the_others_wait_until_memory_is_given_back() {
        let memory = FrameMemory::new(100);
        let (mut a, mut b, mut c) = (memory.share(), memory.share(), memory.share());
        a.grow_to(80).await;
        b.grow_to(50).await;
        assert_eq!(
            (memory.used_bytes.load(Ordering::Relaxed), b.bytes()),
            (80, 50),
            "the first without room overdraws"
        );
        assert!(waits(c.grow_to(50)).await);
        assert!(!memory.is_short(), "a waiter that was dropped is not counted");
        drop(a);
        drop(b);
        c.grow_to(50).await;
        assert!(c.overdraft.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn small_frames_do_not_wait_for_large_ones() {
        let memory = FrameMemory::new(8 << 20);
        let mut large: Vec<Share> = (0..8).map(|_| memory.share()).collect();
        for share in &mut large[..7] {
            share.grow_to(1 << 20).await;
        }
        large[7].grow_to(50 << 20).await;
        let mut one_more = memory.share();
        assert!(waits(one_more.grow_to(1 << 20)).await);
        let mut small: Vec<Share> = (0..16).map(|_| memory.share()).collect();
        for share in &mut small {
            share.grow_to(SMALL_BYTES).await;
        }
        assert!(waits(one_more.grow_to(SMALL_BYTES)).await);
        drop((large, small));
        assert_eq!(memory.used_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_large_leaves_a_part_also_where_nobody_waits() {
        let memory = FrameMemory::new(8 << 20);
        let large: Vec<Share> = std::iter::from_fn(|| memory.try_share(1 << 20)).collect();
        let small: Vec<Share> = std::iter::from_fn(|| memory.try_share(SMALL_BYTES)).collect();
        assert_eq!((large.len(), small.len()), (7, 16));
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
