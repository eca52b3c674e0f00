//! The answers of one connection that have not left yet, in the order of the requests.
//!
//! ```text
//!   first [ ready | parked | ready | parked ] last        every parked one goes on, wherever it stands
//! ```
//!
//! A request that waits behind another one is not held up by it: what it has taken (a place with the controller, memory)
//! it gives back as soon as it can, although its answer leaves later.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use super::answer::Answer;
use crate::dispatch::{Parked, Refused};
use crate::metrics::Trip;

/// So many requests of one connection are answered or parked before the first answer has left.
const ANSWERS_MAX: usize = 64;
/// And so many bytes are taken by them.
const HEAVY_BYTES: usize = 64 * 1024;
/// So many answers are held back for those of requests that are there already.
const TOGETHER_MAX: usize = 16;
/// An empty queue keeps memory for so many answers.
const KEPT_ANSWERS: usize = 4;

/// Answers, and requests that wait for theirs.
#[derive(Default)]
pub struct AnswerQueue {
    queued: VecDeque<Queued>,
    parked: usize,
    memory_bytes: usize,
}

enum Queued {
    Ready(Result<Answer, Refused>),
    Parked { answer: Parked, memory_bytes: usize },
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

    /// Whether what is queued should not wait much longer for what is before it.
    pub fn is_heavy(&self) -> bool {
        self.memory_bytes > HEAVY_BYTES
    }

    /// Whether what is queued may still be held back, to be sent together with what becomes ready now.
    pub fn may_wait(&self) -> bool {
        self.parked == 0 && self.queued.len() < TOGETHER_MAX
    }

    /// Whether the first answer can be taken.
    pub fn is_first_ready(&self) -> bool {
        matches!(self.queued.front(), Some(Queued::Ready(_)))
    }

    /// The memory of the answers that are ready, and of those parked requests that said what they take.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Adds an answer.
    pub fn push_ready(&mut self, mut answer: Answer) {
        if self.parked > 0 {
            answer.settle_down();
        }
        self.memory_bytes += answer.memory_bytes();
        self.queued.push_back(Queued::Ready(Ok(answer)));
    }

    /// Adds a request that is answered later, and takes so much memory meanwhile.
    pub fn push_parked(&mut self, answer: Parked, memory_bytes: usize) {
        self.memory_bytes += memory_bytes;
        self.parked += 1;
        self.queued.push_back(Queued::Parked { answer, memory_bytes });
    }

    /// Lets the parked requests go on until the first answer is ready, or another one has become so; forever where nothing is
    /// queued. May be dropped and called again.
    pub async fn progressed(&mut self) {
        poll_fn(|context| match self.poll_parked(context) || self.is_first_ready() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// As [`Self::progressed`], where only what becomes ready now counts.
    pub async fn changed(&mut self) {
        poll_fn(|context| if self.poll_parked(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Whether one of them became ready.
    fn poll_parked(&mut self, context: &mut Context<'_>) -> bool {
        if self.parked == 0 {
            return false;
        }
        let before = self.parked;
        for (place, queued) in self.queued.iter_mut().enumerate() {
            if let Queued::Parked { answer, memory_bytes } = queued
                && let Poll::Ready(mut ready) = answer.as_mut().poll(context)
            {
                if let (1.., Ok(answer)) = (place, &mut ready) {
                    answer.settle_down();
                }
                self.memory_bytes -= *memory_bytes;
                self.memory_bytes += memory_bytes_of(&ready);
                self.parked -= 1;
                *queued = Queued::Ready(ready);
            }
        }
        self.parked < before
    }

    /// Takes the first answer, together with those behind it that are ready and can be sent with it. The ways of their requests
    /// are added to `further`.
    ///
    /// # Panics
    /// Where it is not ready.
    pub fn pop(&mut self, further: &mut Vec<Trip>) -> Result<Answer, Refused> {
        let mut answer = self.pop_one()?;
        while let Some(Queued::Ready(Ok(next))) = self.queued.front()
            && answer.takes_along(next)
        {
            further.extend(answer.take_along(&self.pop_one()?));
        }
        if self.is_empty() {
            self.queued.shrink_to(KEPT_ANSWERS);
        }
        Ok(answer)
    }

    fn pop_one(&mut self) -> Result<Answer, Refused> {
        let Some(Queued::Ready(answer)) = self.queued.pop_front() else {
            unreachable!("the first answer was just seen to be ready");
        };
        self.memory_bytes -= memory_bytes_of(&answer);
        answer
    }
}

fn memory_bytes_of(answer: &Result<Answer, Refused>) -> usize {
    answer.as_ref().map_or(0, Answer::memory_bytes)
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::{Duration, Instant};

    use ottla_protocol::Writer;
    use tokio::sync::oneshot;

    use super::*;

    /// Of so many bytes, each of them `byte`.
    fn encoded(byte: u8, bytes: usize) -> Answer {
        let mut writer = Writer::new();
        writer.buffer.resize(bytes, byte);
        let mut answer = Answer::new(writer, Vec::new());
        answer.trip = Some(Trip::begin(0, bytes, Instant::now()).handled());
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_behind_a_parked_request_goes_on_and_is_counted() {
        let mut queue = AnswerQueue::default();
        let (asked, was_asked) = oneshot::channel();
        let (decide, decided) = oneshot::channel::<()>();
        queue.push_parked(Box::pin(pending()), 0);
        let behind = async move {
            asked.send(()).expect("the test listens");
            decided.await.expect("the test decides");
            Ok(encoded(0, 3000))
        };
        queue.push_parked(Box::pin(behind), 100_000);
        assert!(queue.is_heavy() && queue.is_full());
        // The clock only goes on where nothing happens.
        let moment = Duration::from_secs(3600);
        assert!(tokio::time::timeout(moment, queue.progressed()).await.is_err(), "neither is ready");
        was_asked.await.expect("it was asked although another one is before it");
        decide.send(()).expect("it waits");
        queue.progressed().await;
        assert_eq!((queue.memory_bytes(), queue.is_first_ready()), (3000, false));
        assert!(tokio::time::timeout(moment, queue.progressed()).await.is_err(), "the first one still waits");
    }

    #[tokio::test]
    async fn what_waits_behind_a_parked_request_takes_no_more_than_its_bytes() {
        let roomy = |bytes| {
            let mut writer = Writer::new();
            writer.buffer.reserve(256);
            writer.buffer.resize(bytes, 1);
            Answer::new(writer, Vec::new())
        };
        let mut queue = AnswerQueue::default();
        queue.push_ready(roomy(10));
        assert!(queue.memory_bytes() >= 256);
        queue.pop(&mut Vec::new()).expect("it is no refusal");
        queue.push_parked(Box::pin(pending()), 0);
        queue.push_parked(Box::pin(async move { Ok(roomy(20)) }), 0);
        queue.push_ready(roomy(30));
        queue.progressed().await;
        assert_eq!(queue.memory_bytes(), 20 + 30);
    }

    #[tokio::test]
    async fn answers_leave_in_the_order_of_the_requests() {
        let mut queue = AnswerQueue::default();
        let (first, is_first) = oneshot::channel();
        queue.push_parked(Box::pin(async move { Ok(is_first.await.expect("it is sent")) }), 10);
        queue.push_parked(Box::pin(async { Ok(encoded(2, 16 << 10)) }), 10);
        queue.push_ready(encoded(3, 30));
        queue.progressed().await;
        assert!(!queue.is_first_ready());
        first.send(encoded(1, 10)).expect("it waits");
        for (byte, bytes) in [(1, 10), (2, 16 << 10), (3, 30)] {
            queue.progressed().await;
            assert_eq!(queue.pop(&mut Vec::new()).expect("it is no refusal").encoded(), vec![byte; bytes]);
        }
        assert_eq!((queue.memory_bytes(), queue.is_empty()), (0, true));
    }

    #[tokio::test]
    async fn short_answers_that_are_ready_leave_together() {
        let mut queue = AnswerQueue::default();
        let mut throttled = encoded(4, 10);
        throttled.throttle = Duration::from_secs(1);
        for answer in [encoded(1, 10), encoded(2, 20), encoded(3, 16 << 10), throttled, encoded(5, 10)] {
            queue.push_ready(answer);
        }
        queue.push_parked(Box::pin(pending()), 0);
        queue.push_ready(encoded(6, 10));
        let together = [vec![1; 10], vec![2; 20]].concat();
        // One that is long, one after which the client is held back, and one with a request before it that waits.
        for (expected, others) in [(together, 1), (vec![3; 16 << 10], 0), (vec![4; 10], 0), (vec![5; 10], 0)] {
            assert!(queue.is_first_ready());
            let mut further = Vec::new();
            let answer = queue.pop(&mut further).expect("it is no refusal");
            assert_eq!(answer.encoded(), expected);
            assert_eq!((answer.trip.is_some(), further.len()), (true, others), "each request's way is told of once");
        }
        assert!(!queue.is_first_ready() && !queue.is_empty());
        assert_eq!(queue.memory_bytes(), encoded(6, 10).memory_bytes());
    }

    #[tokio::test]
    async fn answers_are_held_back_for_few_others_and_behind_none_that_waits() {
        let mut queue = AnswerQueue::default();
        for _ in 0..TOGETHER_MAX {
            assert!(queue.may_wait());
            queue.push_ready(encoded(1, 10));
        }
        assert!(!queue.may_wait());
        let mut queue = AnswerQueue::default();
        queue.push_parked(Box::pin(pending()), 0);
        assert!(!queue.may_wait());
    }
}
