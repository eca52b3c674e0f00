//! What all requests together may hold of the memory, beside their frames ([`FrameMemory`]).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer_memory::AnswerMemory;
use super::memory::FrameMemory;

/// For all requests that wait for records.
const PARKED_BYTES: usize = 16 * 1024 * 1024;

/// One set for each broker.
#[derive(Debug)]
pub struct Budgets {
    /// For answers that clients do not take.
    pub answers: Arc<AnswerMemory>,
    /// For requests that wait for records: whoever finds it spent does not wait.
    pub parked: Arc<FrameMemory>,
    large: Arc<Semaphore>,
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
    pub async fn large_turn(&self) -> LargeTurn {
        self.large.clone().acquire_owned().await.expect("it is never closed")
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            answers: AnswerMemory::new(),
            parked: FrameMemory::new(PARKED_BYTES),
            large: Arc::new(Semaphore::new(1)),
        }
    }
}
