//! What all requests together may hold of the memory, beside their frames ([`FrameMemory`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::answer_memory::{AnswerMemory, ROOM_WITHIN};
use super::memory::FrameMemory;

/// For all requests that wait for records.
const PARKED_BYTES: usize = 16 * 1024 * 1024;

/// How long a parked one waits for its turn, and how often it looks.
const PARKED_WAITS: Duration = Duration::from_secs(3);
const PARKED_LOOKS_EVERY: Duration = Duration::from_millis(5);

/// One set for each broker.
#[derive(Debug)]
pub struct Budgets {
    /// For answers that clients do not take.
    pub answers: Arc<AnswerMemory>,
    /// For requests that wait for records: whoever finds it spent does not wait.
    pub parked: Arc<FrameMemory>,
    large: Arc<Semaphore>,
    /// Where those who have gone wait: one of them at a time waits for its turn among those who are there.
    gone: Semaphore,
}

/// Held while a large request is handled, and never across an await: what one may take is too much to be taken by every
/// worker at once.
pub type LargeTurn = OwnedSemaphorePermit;

impl Budgets {
    /// The turn, if no other large request is handled and none waits.
    pub fn try_large_turn(&self) -> Option<LargeTurn> {
        self.large.clone().try_acquire_owned().ok()
    }

    /// Waits until no other large request is handled. The worker serves its other connections meanwhile.
    ///
    /// What a client sent before it was `gone` is still handled, since many a producer does not wait for the last answer. But
    /// it holds up nobody who is there: of those who have gone one at a time waits in the queue.
    pub async fn large_turn(&self, gone: impl Future<Output = ()>) -> LargeTurn {
        let turn = || async { self.large.clone().acquire_owned().await.expect("it is never closed") };
        tokio::select! {
            biased;
            turn = turn() => return turn,
            () = gone => {}
        }
        let _place = self.gone.acquire().await.expect("it is never closed");
        turn().await
    }

    /// Waits for the turn to make a large answer to a request that was parked; not for ever.
    ///
    /// It does not wait in the queue: nobody looks after it while its client takes earlier answers, and the turn that it were given
    /// then would be nobody's.
    pub async fn large_turn_of_parked(&self) -> Option<LargeTurn> {
        let begun = Instant::now();
        let room_by = begun + ROOM_WITHIN;
        loop {
            self.answers.room(room_by).await;
            let turn = self.try_large_turn().filter(|_| self.answers.has_room(room_by));
            if turn.is_some() || begun.elapsed() > PARKED_WAITS {
                return turn;
            }
            tokio::time::sleep(PARKED_LOOKS_EVERY).await;
        }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            answers: AnswerMemory::new(),
            parked: FrameMemory::new(PARKED_BYTES),
            large: Arc::new(Semaphore::new(1)),
            gone: Semaphore::new(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_parked_request_does_not_wait_for_its_turn_for_ever() {
        let budgets = Budgets::default();
        let begun = Instant::now();
        assert!(budgets.large_turn_of_parked().await.is_some());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let turn = budgets.try_large_turn().expect("nobody has it");
        assert!(budgets.large_turn_of_parked().await.is_none());
        assert!((PARKED_WAITS..2 * PARKED_WAITS).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        let (later, ()) = tokio::join!(budgets.large_turn_of_parked(), async {
            tokio::time::sleep(PARKED_WAITS / 2).await;
            drop(turn);
        });
        assert!(later.is_some());
    }

    #[tokio::test]
    async fn who_has_gone_does_not_hold_up_who_is_there() {
        let (budgets, order) = (Budgets::default(), Mutex::new(Vec::new()));
        let first = budgets.try_large_turn().expect("nobody has it");
        let handled = |name: &'static str, turn: LargeTurn| {
            order.lock().unwrap().push(name);
            drop(turn);
        };
        let gone = async || handled("gone", budgets.large_turn(ready(())).await);
        let there = async || handled("there", budgets.large_turn(pending()).await);
        let release = async || drop(first);
        tokio::join!(gone(), gone(), gone(), gone(), there(), there(), release());
        assert_eq!(*order.lock().unwrap(), ["gone", "there", "there", "gone", "gone", "gone"]);
    }
}
