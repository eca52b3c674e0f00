//! The answers of one connection that have not left yet, in the order of the requests.

use std::collections::VecDeque;
use std::future::pending;

use super::answer::Answer;
use crate::dispatch::{Parked, Refused};

/// So many requests of one connection are answered or parked before the first answer has left.
const ANSWERS_MAX: usize = 64;
/// And so many bytes of answers are ready behind a parked request.
const READY_BYTES_MAX: usize = 64 * 1024;

/// Answers, and requests that wait for theirs.
#[derive(Default)]
pub struct AnswerQueue {
    queued: VecDeque<Queued>,
    ready_bytes: usize,
}

enum Queued {
    Ready(Result<Answer, Refused>),
    Parked(Parked),
}

impl AnswerQueue {
    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Whether enough is queued for now.
    pub fn is_full(&self) -> bool {
        self.queued.len() >= ANSWERS_MAX || self.is_heavy()
    }

    /// Whether what is ready should not wait much longer for what is before it.
    pub fn is_heavy(&self) -> bool {
        self.ready_bytes > READY_BYTES_MAX
    }

    /// The memory of the answers that are ready.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Adds an answer.
    pub fn push_ready(&mut self, answer: Answer) {
        self.ready_bytes += answer.memory_bytes();
        self.queued.push_back(Queued::Ready(Ok(answer)));
    }

    /// Adds a request that is answered later.
    pub fn push_parked(&mut self, parked: Parked) {
        self.queued.push_back(Queued::Parked(parked));
    }

    /// Waits until the first answer is ready; forever where nothing is queued. May be dropped and called again.
    pub async fn first_ready(&mut self) {
        match self.queued.front_mut() {
            None => pending().await,
            Some(Queued::Ready(_)) => {}
            Some(Queued::Parked(parked)) => {
                let answer = parked.as_mut().await;
                self.ready_bytes += answer.as_ref().map_or(0, Answer::memory_bytes);
                *self.queued.front_mut().expect("nothing was taken meanwhile") = Queued::Ready(answer);
            }
        }
    }

    /// Takes the first answer.
    ///
    /// # Panics
    /// Where it is not ready.
    pub fn pop(&mut self) -> Result<Answer, Refused> {
        let Some(Queued::Ready(answer)) = self.queued.pop_front() else {
            unreachable!("the first answer was just seen to be ready");
        };
        self.ready_bytes -= answer.as_ref().map_or(0, Answer::memory_bytes);
        answer
    }
}
