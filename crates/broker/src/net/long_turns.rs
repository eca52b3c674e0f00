//! Which requests let a worker's other connections go first.
//!
//! Where thousands of clients ask at once for what takes a millisecond each, one that asks for little would wait for all of
//! them. So a worker handles one that takes long each time it has gone round all its connections, and seen what has come.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frames::is_produce;

/// A request of more bytes is taken for one that takes long, but for a Produce: its records are appended as they are.
const LONG_BYTES: usize = 16 * 1024;
/// A request that took longer than this lets the next one of its connection be taken for another such.
const LONG: Duration = Duration::from_micros(500);

/// One set for each worker.
#[derive(Clone, Debug)]
pub struct LongTurns(Arc<Semaphore>);

/// Held until the request is handled, and not while its answer is sent: the worker's other long ones wait.
pub type LongTurn = OwnedSemaphorePermit;

/// What the next request of one connection will take.
#[derive(Debug)]
pub struct Pace {
    turns: LongTurns,
    took_long: bool,
}

impl LongTurns {
    /// Waits for those who came before, and then until the worker's other connections have been looked after.
    async fn next(&self) -> LongTurn {
        let turn = self.0.clone().acquire_owned().await.expect("it is never closed");
        tokio::task::yield_now().await;
        turn
    }
}

impl Default for LongTurns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Pace {
    /// For a new connection of the worker that has these `turns`.
    pub fn new(turns: LongTurns) -> Self {
        Self { turns, took_long: false }
    }

    /// Waits for the turn of the request in `frame`, if it needs one.
    pub async fn turn(&self, frame: &[u8]) -> Option<LongTurn> {
        let is_long = !is_produce(frame) && (self.took_long || frame.len() > LONG_BYTES);
        if is_long { Some(self.turns.next().await) } else { None }
    }

    /// The last request took this long.
    pub fn took(&mut self, time: Duration) {
        self.took_long = time > LONG;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ottla_protocol::ApiKey;
    use tokio::runtime::Builder;
    use tokio::task::JoinSet;

    use super::*;

    #[test]
    fn what_is_short_does_not_wait_for_all_that_is_long() {
        const CLIENTS: usize = 100;
        let (turns, done) = (LongTurns::default(), Arc::new(Mutex::new(Vec::new())));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..CLIENTS {
                let (pace, done) = (Pace::new(turns.clone()), done.clone());
                tasks.spawn(async move {
                    let _turn = pace.turn(&[1; LONG_BYTES + 1]).await.expect("it needs one");
                    std::thread::sleep(Duration::from_millis(1));
                    done.lock().unwrap().push("long");
                });
            }
            let short = done.clone();
            tasks.spawn(async move {
                // What comes by the reactor is seen between two long ones, too.
                tokio::time::sleep(Duration::from_nanos(1)).await;
                short.lock().unwrap().push("short");
            });
            tasks.join_all().await;
        });
        let done = done.lock().unwrap();
        assert_eq!(done.len(), CLIENTS + 1);
        let before = done.iter().position(|&name| name == "short").expect("it was done");
        assert!(before < CLIENTS / 2, "{before} long ones were handled before it");
    }

    #[tokio::test]
    async fn what_takes_long_is_known_by_its_size_and_by_the_one_before() {
        let turns = LongTurns::default();
        let mut pace = Pace::new(turns.clone());
        let fetch = |bytes| [&ApiKey::Fetch.code().to_be_bytes()[..], &vec![0; bytes - 2]].concat();
        let produce = [&ApiKey::Produce.code().to_be_bytes()[..], &vec![0; LONG_BYTES]].concat();
        assert!(pace.turn(&fetch(LONG_BYTES)).await.is_none());
        assert!(pace.turn(&fetch(LONG_BYTES + 1)).await.is_some());
        assert!(pace.turn(&produce).await.is_none());
        pace.took(LONG + Duration::from_nanos(1));
        assert!(pace.turn(&fetch(100)).await.is_some());
        assert!(pace.turn(&produce).await.is_none());
        pace.took(LONG);
        assert!(pace.turn(&fetch(100)).await.is_none());
    }
}
