//! The memory of answers that their clients do not take, over all connections together.
//!
//! ```text
//!   answer --fits the socket--> gone, not counted unless it waited for others
//!          \-> the rest waits here --budget spent--> whoever has taken nothing for longest is disconnected
//! ```
//!
//! A new answer is never turned away for those that others left lying. Before one is made, those who were told to go must be
//! gone, but for a rest: else answers could be made faster than they are thrown away. Before one that may be large is made,
//! those who take theirs get a moment for it: nobody goes for it who has taken something a moment ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::request::ANSWER_MAX_BYTES;

/// What all connections together may leave lying: two of the largest answers, and the little that others leave.
const LIMIT_BYTES: usize = 2 * ANSWER_MAX_BYTES + 4 * 1024 * 1024;
/// What those may hold on top who have been told to go.
const LEAVING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What each of them may that the limit does not count.
const FREE_BYTES: usize = 1024;
/// How long the slowest may take nothing before it goes for a large answer to somebody else.
const READ_GRACE: Duration = Duration::from_millis(500);
/// How long a large answer waits for that at most: who takes a little now and then is not to hold up everybody.
pub const ROOM_WITHIN: Duration = Duration::from_secs(2);

/// The budget that all connections share.
#[derive(Debug)]
pub struct AnswerMemory {
    limit_bytes: usize,
    holders: Mutex<Holders>,
    /// What those hold who stay; written under the lock.
    used_bytes: AtomicUsize,
    leaving_bytes: AtomicUsize,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Holders {
    next_id: u64,
    by_id: BTreeMap<u64, Holder>,
    /// Those who stay, the slowest first.
    staying: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    is_leaving: bool,
    progressed: Instant,
    evicted: Arc<Notify>,
}

/// What one connection holds of the budget; gives it back when dropped.
#[derive(Debug)]
pub struct Held {
    memory: Arc<AnswerMemory>,
    id: u64,
    /// Whether it holds anything that is counted.
    is_counted: AtomicBool,
    evicted: Arc<Notify>,
}

impl AnswerMemory {
    /// Nothing is held yet.
    pub fn new() -> Arc<Self> {
        Self::with_limit(LIMIT_BYTES)
    }

    /// With another limit than the usual one.
    pub(super) fn with_limit(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            holders: Mutex::default(),
            used_bytes: AtomicUsize::new(0),
            leaving_bytes: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// For one connection.
    pub fn hold(self: &Arc<Self>) -> Held {
        let mut holders = self.holders.lock().expect("nobody panics while holding this lock");
        holders.next_id += 1;
        Held { memory: self.clone(), id: holders.next_id, is_counted: AtomicBool::new(false), evicted: Arc::default() }
    }

    /// Whether those who were told to go are gone, but for a rest.
    pub fn is_settled(&self) -> bool {
        self.leaving_bytes.load(Ordering::SeqCst) <= LEAVING_BYTES_MAX
    }

    /// Waits until it is. It takes them no longer than it takes their threads to come to it.
    pub async fn settled(&self) {
        self.freed_until(Self::is_settled).await;
    }

    /// Whether there is room enough that nobody needs to hurry, nor to go for one more answer of any size.
    pub fn is_plentiful(&self) -> bool {
        self.used_bytes.load(Ordering::SeqCst) <= self.limit_bytes / 2
    }

    /// Waits until there is, which takes as long as clients take to read their answers.
    async fn plentiful(&self) {
        self.freed_until(Self::is_plentiful).await;
    }

    /// Whether one more large answer may be made, for which the slowest may have to go: by the `deadline` in any case.
    pub fn has_room(&self, deadline: Instant) -> bool {
        self.grace(deadline).is_none()
    }

    /// Waits for what may make room, no longer than the slowest is left alone, nor beyond the `deadline`.
    pub async fn room(&self, deadline: Instant) {
        if let Some(until) = self.grace(deadline) {
            let _ = timeout_at(until, self.plentiful()).await;
        }
    }

    /// Until when nobody may be told to go.
    fn grace(&self, deadline: Instant) -> Option<Instant> {
        if self.is_plentiful() {
            return None;
        }
        let holders = self.holders.lock().expect("nobody panics while holding this lock");
        let (progressed, _) = holders.staying.first()?;
        Some(deadline.min(*progressed + READ_GRACE)).filter(|&until| until > Instant::now())
    }

    async fn freed_until(&self, is_enough: impl Fn(&Self) -> bool) {
        while !is_enough(self) {
            let freed = self.freed.notified();
            if !is_enough(self) {
                freed.await;
            }
        }
    }
}

impl Held {
    /// From now on the connection holds `bytes`. Others may have to go for that, even this one.
    pub fn set(&self, bytes: usize) {
        let bytes = bytes.saturating_sub(FREE_BYTES);
        let was_counted = self.is_counted.swap(bytes > 0, Ordering::Relaxed);
        if !was_counted && bytes == 0 {
            return;
        }
        let memory = &*self.memory;
        let mut holders = memory.holders.lock().expect("nobody panics while holding this lock");
        if let Some(holder) = holders.by_id.remove(&self.id) {
            if holder.is_leaving {
                memory.leaving_bytes.fetch_sub(holder.bytes, Ordering::SeqCst);
            } else {
                memory.used_bytes.fetch_sub(holder.bytes, Ordering::SeqCst);
                holders.staying.remove(&(holder.progressed, self.id));
            }
        }
        if bytes > 0 {
            let used_bytes = memory.used_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
            let (progressed, evicted) = (Instant::now(), self.evicted.clone());
            holders.by_id.insert(self.id, Holder { bytes, is_leaving: false, progressed, evicted });
            holders.staying.insert((progressed, self.id));
            let leaving_bytes = holders.evict(used_bytes.saturating_sub(memory.limit_bytes));
            memory.used_bytes.fetch_sub(leaving_bytes, Ordering::SeqCst);
            memory.leaving_bytes.fetch_add(leaving_bytes, Ordering::SeqCst);
        }
        memory.freed.notify_waiters();
    }

    /// The budget it is a part of.
    pub fn memory(&self) -> &AnswerMemory {
        &self.memory
    }

    /// The client has taken something.
    pub fn progressed(&self) {
        let mut holders = self.memory.holders.lock().expect("nobody panics while holding this lock");
        let Holders { by_id, staying, .. } = &mut *holders;
        if let Some(holder) = by_id.get_mut(&self.id) {
            let before = std::mem::replace(&mut holder.progressed, Instant::now());
            if staying.remove(&(before, self.id)) {
                staying.insert((holder.progressed, self.id));
            }
        }
    }

    /// It does not go after all: its client was not the reason for the delay. False where that cannot be, because it alone
    /// holds more than all may.
    #[must_use]
    pub fn stay(&self) -> bool {
        let bytes = {
            let holders = self.memory.holders.lock().expect("nobody panics while holding this lock");
            holders.by_id.get(&self.id).map(|holder| holder.bytes)
        };
        let fits = bytes.is_none_or(|bytes| bytes <= self.memory.limit_bytes);
        if let (Some(bytes), true) = (bytes, fits) {
            self.set(bytes + FREE_BYTES);
        }
        fits
    }

    /// Waits until the connection has to go.
    pub async fn evicted(&self) {
        loop {
            self.evicted.notified().await;
            // It may have been told so for what it has got rid of since.
            let holders = self.memory.holders.lock().expect("nobody panics while holding this lock");
            if holders.by_id.get(&self.id).is_some_and(|holder| holder.is_leaving) {
                return;
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Holders {
    /// Tells the slowest to go until it is `surplus_bytes` that they hold, and how much it is.
    fn evict(&mut self, surplus_bytes: usize) -> usize {
        let mut leaving_bytes = 0;
        while leaving_bytes < surplus_bytes {
            let (_, id) = self.staying.pop_first().expect("somebody holds what is used");
            let slowest = self.by_id.get_mut(&id).expect("whoever stays holds something");
            slowest.is_leaving = true;
            slowest.evicted.notify_one();
            leaving_bytes += slowest.bytes;
        }
        leaving_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether it is told to go. Afterwards it is later; the clock only goes on where nothing else does.
    async fn is_evicted(held: &Held) -> bool {
        let is_told = tokio::time::timeout(Duration::from_millis(1), held.evicted()).await.is_ok();
        tokio::time::advance(Duration::from_millis(1)).await;
        is_told
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_taken_nothing_for_longest_goes() {
        let memory = AnswerMemory::with_limit(10_000);
        let (a, b, c) = (memory.hold(), memory.hold(), memory.hold());
        a.set(5000);
        b.set(5000);
        tokio::time::advance(Duration::from_millis(1)).await;
        a.progressed();
        assert!(!is_evicted(&a).await && !is_evicted(&b).await);
        assert!(!memory.is_plentiful());
        c.set(5000);
        assert!(is_evicted(&b).await);
        a.progressed();
        assert!(b.stay());
        assert!(is_evicted(&c).await, "the other one has taken something since");
        assert!(c.stay());
        assert!(is_evicted(&a).await);
        assert!(a.stay());
        assert!(is_evicted(&b).await);
        assert!(!is_evicted(&a).await && !is_evicted(&c).await);
        drop(a);
        drop(b);
        assert!(memory.is_plentiful());
        c.set(20_000);
        assert!(is_evicted(&c).await, "it asks for more than there is");
        assert!(!c.stay(), "nobody could go in its place");
        assert_eq!(memory.used_bytes.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_told_to_go_for_what_it_has_got_rid_of_may_stay() {
        let memory = AnswerMemory::with_limit(10_000);
        let (a, b) = (memory.hold(), memory.hold());
        a.set(8000);
        b.set(8000);
        // It is told, but has sent everything before it hears of it.
        a.set(0);
        a.set(3500);
        assert!(!is_evicted(&a).await);
        b.set(9900);
        assert!(is_evicted(&a).await, "now it is the slowest again");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_new_is_made_before_those_who_go_are_gone() {
        let memory = AnswerMemory::with_limit(10_000_000);
        let (a, b) = (memory.hold(), memory.hold());
        a.set(9_000_000);
        memory.settled().await;
        b.set(9_000_000);
        assert!(is_evicted(&a).await);
        let settled = |memory: Arc<AnswerMemory>| tokio::spawn(async move { memory.settled().await });
        let waiting = settled(memory.clone());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(a);
        waiting.await.expect("it does not panic");
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_again_when_somebody_has_read_his_answer() {
        let memory = AnswerMemory::with_limit(10_000);
        let (a, b) = (memory.hold(), memory.hold());
        a.set(6000);
        b.set(6000);
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.plentiful().await }
        });
        tokio::task::yield_now().await;
        b.set(3000);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "what a holds is more than half");
        a.set(0);
        waiting.await.expect("it does not panic");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_goes_who_has_taken_something_a_moment_ago() {
        let memory = AnswerMemory::with_limit(10_000);
        let (a, b) = (memory.hold(), memory.hold());
        let deadline = Instant::now() + ROOM_WITHIN;
        assert!(memory.has_room(deadline));
        a.set(5000);
        tokio::time::advance(READ_GRACE / 2).await;
        b.set(5000);
        assert!(!memory.has_room(deadline));
        let begun = Instant::now();
        memory.room(deadline).await;
        assert!(memory.has_room(deadline), "a has had its time");
        assert_eq!(begun.elapsed().as_millis(), READ_GRACE.as_millis() / 2);
        a.progressed();
        assert!(!memory.has_room(deadline), "now it is b that has not");
        // Both take a little again and again.
        let take_a_little = || [&a, &b].into_iter().for_each(Held::progressed);
        while Instant::now() < deadline {
            take_a_little();
            assert!(!memory.has_room(deadline));
            tokio::time::advance(READ_GRACE / 5).await;
        }
        take_a_little();
        assert!(memory.has_room(deadline), "others have waited long enough");
        let (begun, deadline) = (Instant::now(), Instant::now() + ROOM_WITHIN);
        assert!(!memory.has_room(deadline));
        b.set(0);
        memory.room(deadline).await;
        assert!(memory.has_room(deadline) && Instant::now() == begun, "there is room at once");
    }

    #[tokio::test(start_paused = true)]
    async fn small_answers_are_not_counted() {
        let memory = AnswerMemory::with_limit(10);
        let held = memory.hold();
        held.set(FREE_BYTES);
        assert!(!is_evicted(&held).await);
        assert!(memory.is_plentiful());
    }
}
