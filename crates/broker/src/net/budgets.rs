//! What all requests together may hold of the memory, beside their frames ([`FrameMemory`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    large: Mutex<()>,
}

/// Held while a large request is handled.
pub type Large<'b> = MutexGuard<'b, ()>;

impl Budgets {
    /// Waits until no other large request is handled: what one may take is too much to be taken by every worker at once.
    /// Never across an await.
    pub fn begin_large(&self) -> Large<'_> {
        // It guards nothing that a panic could leave half done.
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self { answers: AnswerMemory::new(), parked: FrameMemory::new(PARKED_BYTES), large: Mutex::default() }
    }
}
