//! Sending an answer to a client that does not take it at once. What is queued behind it goes on meanwhile.
//!
//! The client has to go where it takes nothing for `connections.max.idle.ms`, and earlier where others need the memory: that
//! of its answers, if it is the slowest of all, or that of the requests it has sent ahead.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::Answer;
use super::answer_memory::Held;
use super::answer_queue::AnswerQueue;
use super::connection::{Ended, check_time};
use super::frames::FrameReader;
use super::transport::Transport;

/// What it takes to send an answer that did not fit the socket.
pub struct SlowSending<'c> {
    /// The answer.
    pub answer: &'c Answer,
    /// Where it goes.
    pub transport: &'c Transport,
    /// What is behind it.
    pub queue: &'c mut AnswerQueue,
    /// What counts both.
    pub held: &'c Held,
    /// What has been read meanwhile, and perhaps holds memory.
    pub frames: &'c FrameReader,
    /// Whether the broker stops, which waits for whoever takes something every second.
    pub stopping: &'c watch::Receiver<bool>,
    /// How long the client may take nothing at all.
    pub max_idle: Duration,
}

impl SlowSending<'_> {
    /// Sends the rest.
    pub async fn finish(self, mut sending: Pin<&mut impl Future<Output = io::Result<()>>>) -> Result<(), Ended> {
        let Self { answer, transport, queue, held, frames, stopping, max_idle } = self;
        held.set(queue.memory_bytes() + answer.memory_bytes());
        let (mut taken_bytes, mut progressed) = (answer.taken_bytes(), Instant::now());
        let mut checks_without_progress = 0;
        let mut check = pin!(check_time());
        loop {
            let sending = poll_fn(|context| {
                let sent = sending.as_mut().poll(context);
                if answer.taken_bytes() > taken_bytes {
                    (taken_bytes, progressed) = (answer.taken_bytes(), Instant::now());
                    checks_without_progress = 0;
                    held.progressed();
                }
                sent
            });
            tokio::select! {
                biased;
                sent = sending => return sent.map_err(Ended::Write),
                () = held.evicted() => {
                    // Perhaps it was this thread that had no time, rather than the client.
                    tokio::task::yield_now().await;
                    if !transport.is_writable().await || !held.stay() {
                        return Err(Ended::Evicted);
                    }
                }
                () = queue.changed() => held.set(queue.memory_bytes() + answer.memory_bytes()),
                () = &mut check => {
                    check.set(check_time());
                    checks_without_progress += 1;
                    if checks_without_progress >= 2 && frames.is_in_the_way() {
                        return Err(Ended::Evicted);
                    }
                    if checks_without_progress >= 2 && *stopping.borrow() {
                        return Err(Ended::NotReading);
                    }
                }
            }
            if progressed.elapsed() >= max_idle {
                // Perhaps it was this process that stood still, rather than the client.
                tokio::task::yield_now().await;
                if !transport.is_writable().await {
                    return Err(Ended::NotReading);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_protocol::Writer;
    use tokio::io::AsyncReadExt;
    use tokio::sync::oneshot;

    use super::super::answer_memory::AnswerMemory;
    use super::super::memory::FrameMemory;
    use super::super::transport::tests::pair;
    use super::*;

    const MIB: usize = 1 << 20;

    /// How sending ended, and whether a request that was parked behind it went on.
    async fn send(
        transport: &Transport,
        memory: &Arc<AnswerMemory>,
        bytes: usize,
        max_idle: Duration,
    ) -> (Option<Ended>, bool) {
        send_while(false, transport, memory, bytes, max_idle).await
    }

    async fn send_while(
        is_stopping: bool,
        transport: &Transport,
        memory: &Arc<AnswerMemory>,
        bytes: usize,
        max_idle: Duration,
    ) -> (Option<Ended>, bool) {
        let stopping = &watch::channel(is_stopping).1;
        let mut writer = Writer::new();
        writer.buffer.resize(bytes, 1);
        let answer = Answer::new(writer, Vec::new());
        let frames = FrameReader::new(FrameMemory::new(MIB).share(), MIB, max_idle);
        let (held, mut queue) = (memory.hold(), AnswerQueue::default());
        let (begin, mut begun) = oneshot::channel();
        let behind = async move {
            begin.send(()).expect("the test listens");
            std::future::pending().await
        };
        queue.push_parked(Box::pin(behind), 0);
        let sending = pin!(answer.send(transport));
        let (answer, queue, held, frames) = (&answer, &mut queue, &held, &frames);
        let ended =
            SlowSending { answer, transport, queue, held, frames, stopping, max_idle }.finish(sending).await.err();
        (ended, begun.try_recv().is_ok())
    }

    // In these the clock only goes on where nothing else does.

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_answer_slowly_is_not_taken_for_one_that_does_not() {
        let (transport, mut client) = pair().await;
        let reader = tokio::spawn(async move {
            // Longer than between two checks.
            for _ in 0..15 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                client.read_exact(&mut vec![0; MIB]).await.expect("there is more");
            }
            client.read_exact(&mut vec![0; 17 * MIB]).await.expect("there is more");
        });
        let (ended, _) = send(&transport, &AnswerMemory::new(), 32 * MIB, Duration::from_millis(500)).await;
        assert!(ended.is_none(), "{ended:?}");
        reader.await.expect("it does not panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_disconnected() {
        let (transport, _client) = pair().await;
        let (ended, goes_on) = send(&transport, &AnswerMemory::new(), 32 * MIB, Duration::from_secs(600)).await;
        assert!(matches!(ended, Some(Ended::NotReading)), "{ended:?}");
        assert!(goes_on, "what was behind it went on meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_wait_for_a_client_that_takes_nothing() {
        let (transport, _client) = pair().await;
        let (memory, hour) = (AnswerMemory::new(), Duration::from_secs(3600));
        let sending = send_while(true, &transport, &memory, 32 * MIB, hour);
        let (ended, _) = tokio::time::timeout(Duration::from_secs(10), sending).await.expect("it ends");
        assert!(matches!(ended, Some(Ended::NotReading)), "{ended:?}");
    }

    #[tokio::test]
    async fn whoever_alone_holds_more_than_all_may_has_to_go_though_it_reads() {
        let (transport, mut client) = pair().await;
        let reader =
            tokio::spawn(async move { while client.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {} });
        let (ended, _) = send(&transport, &AnswerMemory::with_limit(MIB), 32 * MIB, Duration::from_secs(600)).await;
        assert!(matches!(ended, Some(Ended::Evicted)), "{ended:?}");
        drop(transport);
        reader.await.expect("it does not panic");
    }
}
