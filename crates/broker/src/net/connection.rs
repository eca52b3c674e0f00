//! One client's connection: requests in, answers out in the order of the requests.
//!
//! ```text
//!   frames --> dispatch --> ready  --------------> socket
//!                      \--> parked --> [queue] --/        the next frames are handled meanwhile
//! ```
//!
//! What is ready and cannot leave is counted ([`AnswerMemory`](super::answer_memory::AnswerMemory)): behind a long poll it
//! makes that poll end early; where the client does not read, it may cost the connection.
//!
//! Differs from Kafka: a request behind a parked one (a long poll) is handled at once, though answered after it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::debug;

use super::answer::Answer;
use super::answer_memory::Held;
use super::answer_queue::AnswerQueue;
use super::frames::{FrameReader, ReadError};
use super::transport::Transport;
use crate::dispatch::{self, Refused, Reply};
use crate::node::Node;
use crate::request::Client;

/// How long parked requests may still take once the broker stops.
const DRAIN: Duration = Duration::from_secs(1);
/// How often a connection that does not read looks whether others wait for the memory of what it has read.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A request that took longer to handle lets other connections go before the next one of its own. None takes much longer
/// than half a second: what one may unpack is bounded.
const HOG: Duration = Duration::from_millis(2);

/// Why a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The client closed it, or the broker stops.
    Closed,
    /// Nothing more could be read.
    Read(ReadError),
    /// The answer could not be written.
    Write(io::Error),
    /// A request that Kafka answers by closing.
    Refused(Refused),
    /// The client did not take its answer for `connections.max.idle.ms`.
    NotReading,
    /// The client took its answers more slowly than all others, and the memory for that is spent.
    Evicted,
}

struct Connection {
    node: Arc<Node>,
    transport: Transport,
    client: Client,
    frames: FrameReader,
    queue: AnswerQueue,
    held: Held,
    max_idle: Duration,
}

/// Serves one connection until it ends.
pub async fn serve(node: Arc<Node>, transport: Transport, client: Client, stopping: watch::Receiver<bool>) {
    let (peer, max_idle) = (client.asker.host, node.config.connections_max_idle);
    let held = node.budgets.answers.hold();
    let frames = FrameReader::new(node.frame_memory.share(), node.config.socket_request_max_bytes, max_idle);
    let queue = AnswerQueue::default();
    let mut connection = Connection { node, transport, client, frames, queue, held, max_idle };
    let ended = connection.run(stopping).await;
    log_end(peer, &ended);
}

fn log_end(peer: IpAddr, ended: &Ended) {
    match ended {
        Ended::Closed => {}
        ended => debug!(%peer, because = %ended, "closed a connection"),
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the client closed it, or the broker stops"),
            Self::Read(error) => error.fmt(f),
            Self::Write(error) => write!(f, "an answer could not be written: {error}"),
            Self::Refused(refused) => refused.fmt(f),
            Self::NotReading => f.write_str("the client did not take its answer for connections.max.idle.ms"),
            Self::Evicted => {
                f.write_str("the client did not take its answers while others needed the memory for theirs")
            }
        }
    }
}

impl Connection {
    async fn run(&mut self, mut stopping: watch::Receiver<bool>) -> Ended {
        let mut stop = std::pin::pin!(async move { stopping.wait_for(|&stop| stop).await.is_ok() });
        loop {
            if self.queue.is_empty() {
                self.client.hurry.store(false, Ordering::Relaxed);
            }
            let may_read = !self.queue.is_full() && !self.client.hurry.load(Ordering::Relaxed);
            let step = tokio::select! {
                biased;
                _ = &mut stop => return self.drain().await,
                () = self.queue.first_ready() => Ok(Step::Send),
                () = self.held.evicted() => Ok(Step::Hurry),
                next = self.frames.next(&self.transport), if may_read => next.map(Step::Handle),
                () = check_time(), if !may_read => Ok(Step::Check),
            };
            match step {
                Ok(Step::Send) => {
                    if let Err(ended) = self.send_first().await {
                        return ended;
                    }
                }
                Ok(Step::Handle(Some(size))) => {
                    settled(&self.held, &self.client.hurry).await;
                    let begun = Instant::now();
                    let reply = dispatch::dispatch(&self.node, &mut self.client, self.frames.frame(size));
                    self.frames.consume(size);
                    if begun.elapsed() > HOG {
                        // The worker's other connections come first; this one may have the next request there already.
                        tokio::task::yield_now().await;
                    }
                    match reply {
                        Ok(Reply::Ready(answer)) if self.queue.is_empty() => {
                            if let Err(ended) = self.send(answer).await {
                                return ended;
                            }
                        }
                        Ok(Reply::Ready(answer)) => {
                            self.queue.push_ready(answer);
                            self.account();
                        }
                        Ok(Reply::Parked(parked)) => self.queue.push_parked(parked),
                        Ok(Reply::None) => {}
                        Err(refused) => return self.refuse(refused).await,
                    }
                }
                Ok(Step::Hurry) => {
                    // What it holds is behind a parked request: the client could not have taken it.
                    self.held.stay();
                    self.client.hurry.store(true, Ordering::Relaxed);
                }
                Ok(Step::Check) => {
                    self.frames.trim();
                    if self.frames.is_in_the_way() {
                        self.client.hurry.store(true, Ordering::Relaxed);
                    }
                }
                Ok(Step::Handle(None)) => return Ended::Closed,
                Err(error) => return Ended::Read(error),
            }
        }
    }

    /// Counts what is ready; where that is much, the requests before it are not to wait any longer.
    fn account(&self) {
        self.held.set(self.queue.ready_bytes());
        let hurry =
            self.queue.is_heavy() || (self.queue.ready_bytes() > 0 && !self.node.budgets.answers.is_plentiful());
        self.client.hurry.store(hurry, Ordering::Relaxed);
    }

    async fn send_first(&mut self) -> Result<(), Ended> {
        let answer = self.queue.pop().map_err(Ended::Refused)?;
        self.send(answer).await?;
        self.account();
        Ok(())
    }

    /// Sends one answer; the client has `max_idle` to take it, or less where it does not take anything.
    async fn send(&mut self, answer: Answer) -> Result<(), Ended> {
        {
            let mut sending = pin!(answer.send(&self.transport));
            // Most answers fit the socket and are gone at once.
            match poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await {
                Poll::Ready(sent) => sent.map_err(Ended::Write)?,
                Poll::Pending => {
                    self.frames.trim();
                    self.held.set(self.queue.ready_bytes() + answer.memory_bytes());
                    send_slowly(sending, &self.transport, &self.held, &self.frames, self.max_idle).await?;
                    self.held.set(self.queue.ready_bytes());
                }
            }
        }
        if !answer.throttle.is_zero() {
            tokio::time::sleep(answer.throttle).await;
        }
        Ok(())
    }

    /// The requests before the refused one still get their answers.
    async fn refuse(&mut self, refused: Refused) -> Ended {
        let _ = self.drain().await;
        Ended::Refused(refused)
    }

    async fn drain(&mut self) -> Ended {
        let all = async {
            while !self.queue.is_empty() {
                self.queue.first_ready().await;
                self.send_first().await?;
            }
            Ok(Ended::Closed)
        };
        tokio::time::timeout(DRAIN, all).await.unwrap_or(Ok(Ended::Closed)).unwrap_or_else(|ended| ended)
    }
}

enum Step {
    Send,
    Handle(Option<usize>),
    Check,
    Hurry,
}

/// Sends the rest of an answer that did not fit the socket.
async fn send_slowly(
    mut sending: Pin<&mut impl Future<Output = io::Result<()>>>,
    transport: &Transport,
    held: &Held,
    frames: &FrameReader,
    max_idle: Duration,
) -> Result<(), Ended> {
    let begun = Instant::now();
    let mut checked_without_progress = false;
    loop {
        let (mut is_first, mut has_progressed) = (true, false);
        // After the first time it is polled because there is room in the socket again.
        let sending = poll_fn(|context| {
            if !std::mem::take(&mut is_first) {
                has_progressed = true;
                held.progressed();
            }
            sending.as_mut().poll(context)
        });
        tokio::select! {
            biased;
            () = held.evicted() => {
                // Perhaps it was this thread that had no time, rather than the client.
                tokio::task::yield_now().await;
                if !transport.is_writable().await {
                    return Err(Ended::Evicted);
                }
                held.stay();
            }
            () = check_time() => {}
            sent = sending => return sent.map_err(Ended::Write),
        }
        if begun.elapsed() >= max_idle {
            return Err(Ended::NotReading);
        }
        if checked_without_progress && !has_progressed && frames.is_in_the_way() {
            return Err(Ended::Evicted);
        }
        checked_without_progress = !has_progressed;
    }
}

/// Waits until there is memory for one more answer. Meanwhile this connection itself may be told to go, for what it has
/// behind a parked request; the client could not have taken that.
async fn settled(held: &Held, hurry: &AtomicBool) {
    loop {
        tokio::select! {
            biased;
            () = held.evicted() => {
                held.stay();
                hurry.store(true, Ordering::Relaxed);
            }
            () = held.memory().settled() => return,
        }
    }
}

/// A timer that is not set before it is waited for.
async fn check_time() {
    tokio::time::sleep(CHECK_EVERY).await;
}
