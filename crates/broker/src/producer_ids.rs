//! The producer ids that this broker may give away (KIP-730): blocks of them, from the controller.
//!
//! ```text
//!   take --empty--> the first asks for a block --> controller --> refill --> all who wait look again
//! ```
//!
//! However many wait, one block is asked for at a time. Nothing is granted to any of them: a request that waits is not looked
//! after while its connection is busy, and would keep from the others what it had been given.

use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

/// Others may take the whole new block first; so many times in a row, only where very many wait.
const LOOKS_MAX: usize = 8;

/// The block, and who asks for the next one.
#[derive(Debug, Default)]
pub struct ProducerIds {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    block: Range<i64>,
    is_asking: bool,
    /// How often a block was asked for in vain.
    failures: u64,
}

/// The block that was asked for. Whoever brings the answer has it; dropped, there is none.
#[derive(Debug)]
pub struct Refill(Arc<ProducerIds>);

impl ProducerIds {
    /// The next id, if the block still holds one.
    pub fn take(&self) -> Option<i64> {
        self.lock().block.next()
    }

    /// The next id, from a new block where the old one is used up. `None` where there is no new one. To `ask` is to see to it that
    /// the controller is asked, and does not wait for its answer.
    pub async fn next(self: &Arc<Self>, ask: impl Fn(Refill)) -> Option<i64> {
        let failures = self.lock().failures;
        for _ in 0..LOOKS_MAX {
            let mut changed = pin!(self.changed.notified());
            // Before it looks, so that no answer comes between look and wait.
            changed.as_mut().enable();
            let is_first = {
                let mut state = self.lock();
                if let Some(id) = state.block.next() {
                    return Some(id);
                }
                if state.failures > failures {
                    return None;
                }
                !std::mem::replace(&mut state.is_asking, true)
            };
            if is_first {
                ask(Refill(Arc::clone(self)));
            }
            changed.await;
        }
        self.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding this lock")
    }
}

impl Refill {
    /// The block is there. Ids of the one before that were not given away are lost, as in Kafka.
    pub fn with(self, block: Range<i64>) {
        let mut state = self.0.lock();
        (state.block, state.is_asking) = (block, false);
    }
}

impl Drop for Refill {
    fn drop(&mut self) {
        {
            let mut state = self.0.lock();
            if std::mem::take(&mut state.is_asking) {
                state.failures += 1;
            }
        }
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Option<i64>> + 'a>>;

    async fn look(waiting: &mut Waiting<'_>) -> Poll<Option<i64>> {
        poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await
    }

    #[tokio::test]
    async fn one_block_is_asked_for_however_many_wait_and_whoever_looks_gets_his_id() {
        let (ids, asked) = (Arc::new(ProducerIds::default()), RefCell::new(Vec::new()));
        let ask = |refill| asked.borrow_mut().push(refill);
        let mut waiting: Vec<Waiting<'_>> = (0..5).map(|_| Box::pin(ids.next(ask)) as Waiting<'_>).collect();
        for waiting in &mut waiting {
            assert_eq!(look(waiting).await, Poll::Pending);
        }
        // Who asked goes away, and another one is never looked after again.
        drop(waiting.remove(0));
        let refill = asked.borrow_mut().pop().expect("it was asked for");
        assert!(asked.borrow().is_empty(), "once");
        refill.with(100..102);
        assert_eq!(look(&mut waiting[1]).await, Poll::Ready(Some(100)));
        assert_eq!(look(&mut waiting[2]).await, Poll::Ready(Some(101)));
        assert_eq!(look(&mut waiting[3]).await, Poll::Pending, "the block is used up");
        asked.borrow_mut().pop().expect("so the next one is asked for").with(200..300);
        assert_eq!(look(&mut waiting[3]).await, Poll::Ready(Some(200)));
        assert_eq!(ids.take(), Some(201));
        assert_eq!(look(&mut waiting[0]).await, Poll::Ready(Some(202)));
    }

    #[tokio::test]
    async fn who_waits_is_told_that_no_block_comes_and_the_next_one_asks_again() {
        let (ids, asked) = (Arc::new(ProducerIds::default()), RefCell::new(Vec::new()));
        let ask = |refill| asked.borrow_mut().push(refill);
        let mut waiting: Vec<Waiting<'_>> = (0..3).map(|_| Box::pin(ids.next(ask)) as Waiting<'_>).collect();
        for waiting in &mut waiting {
            assert_eq!(look(waiting).await, Poll::Pending);
        }
        asked.borrow_mut().clear();
        for waiting in &mut waiting {
            assert_eq!(look(waiting).await, Poll::Ready(None));
        }
        assert!(asked.borrow().is_empty(), "each would fail in turn");
        let mut later = Box::pin(ids.next(ask)) as Waiting<'_>;
        assert_eq!(look(&mut later).await, Poll::Pending);
        asked.borrow_mut().pop().expect("it was asked for").with(0..1);
        assert_eq!(look(&mut later).await, Poll::Ready(Some(0)));
    }

    #[tokio::test]
    async fn an_answer_may_come_before_anybody_waits() {
        let ids = Arc::new(ProducerIds::default());
        assert_eq!(ids.next(|refill| refill.with(7..8)).await, Some(7));
        assert_eq!(ids.next(drop).await, None);
    }
}
