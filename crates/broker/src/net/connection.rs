//! One client's connection: requests in, answers out in the order of the requests.
//!
//! ```text
//!   frames --> dispatch --> ready  --------------> socket
//!                      \--> parked --> [queue] --/        the next frames are handled meanwhile
//!                      \--> not yet: once more from the start, when it has the turn of the large requests
//! ```
//!
//! Short answers that are ready leave together: one system call, and the client is woken once. For that they wait for the next
//! request if it is a Produce that is there already, up to half a millisecond.
//!
//! What is ready and cannot leave, and what parked requests take, is counted
//! ([`AnswerMemory`](super::answer_memory::AnswerMemory)): behind a long poll it makes that poll end early; where the client
//! does not read, it may cost the connection.
//!
//! Differs from Kafka: a request behind a parked one (a long poll) is handled and carried out at once, though answered after
//! it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::debug;

use super::answer::Answer;
use super::answer_memory::{Held, ROOM_WITHIN};
use super::answer_queue::AnswerQueue;
use super::budgets::LargeTurn;
use super::frames::{FrameReader, ReadError};
use super::hold_back::HoldBack;
use super::long_turns::{LongTurn, LongTurns, Pace};
use super::slow_sending::SlowSending;
use super::transport::Transport;
use crate::dispatch::{self, Refused, Reply};
use crate::metrics::Trip;
use crate::node::Node;
use crate::request::Client;

/// How long parked requests may still take once the broker stops.
const DRAIN: Duration = Duration::from_secs(1);
/// How long what still comes of a client is thrown away, behind a request that closes its connection: were it left unread, both
/// systems would forget the answers that are on their way.
const LINGER: Duration = Duration::from_secs(5);
/// How often a connection that does not read looks whether others wait for the memory of what it has read.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A connection whose requests took longer to handle, one or several, lets others go before its next one. None takes much longer
/// than half a second, since what one may unpack is bounded; but where batches have to be packed anew it takes as long as that.
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
    /// The ways of the requests whose answers leave with that to another one, from when they are taken until they have left. If not
    /// all of them can be sent, none is counted as gone.
    further: Vec<Trip>,
    held: Held,
    stopping: watch::Receiver<bool>,
    max_idle: Duration,
    pace: Pace,
    hold_back: HoldBack,
    /// The size of the next request where that is a Produce which is there, whole, and what is queued waits for its answer.
    next_produce: Option<usize>,
    /// How long requests were handled since it last let others go first.
    busy: Duration,
    /// The next request is a large one: since when it waits for its turn.
    waits_since: Option<Instant>,
    /// It was sent something.
    has_answered: bool,
    /// No further request is handled.
    is_ending: bool,
}

/// Serves one connection until it ends.
pub async fn serve(
    node: Arc<Node>,
    transport: Transport,
    client: Client,
    long_turns: LongTurns,
    stopping: watch::Receiver<bool>,
) {
    let peer = client.asker.host;
    let mut connection = Connection::new(node, transport, client, long_turns, stopping);
    let ended = connection.run().await;
    if matches!(ended, Ended::Read(ReadError::Idle) | Ended::NotReading) {
        connection.node.connections.expired(&connection.client.asker.listener);
    }
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
    fn new(
        node: Arc<Node>,
        transport: Transport,
        client: Client,
        long_turns: LongTurns,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let max_idle = node.config.connections_max_idle;
        let held = node.budgets.answers.hold();
        let frames = FrameReader::new(node.frame_memory.share(), node.config.socket_request_max_bytes, max_idle);
        Self {
            node,
            transport,
            client,
            frames,
            queue: AnswerQueue::default(),
            further: Vec::new(),
            held,
            stopping,
            max_idle,
            pace: Pace::new(long_turns),
            hold_back: HoldBack::default(),
            next_produce: None,
            busy: Duration::ZERO,
            waits_since: None,
            has_answered: false,
            is_ending: false,
        }
    }

    async fn run(&mut self) -> Ended {
        let mut stop = pin!(self.told_to_stop());
        loop {
            if self.queue.is_empty() {
                self.client.hurry.store(false, Ordering::Relaxed);
            }
            let may_read = !self.queue.is_full() && !self.client.hurry.load(Ordering::Relaxed);
            let step = match self.next_produce.take() {
                // There is nothing to wait for, nor does a Produce take a turn.
                Some(size) if may_read => Ok(Step::Handle(size, Turns::default())),
                _ => tokio::select! {
                    biased;
                    () = &mut stop => return self.drain().await,
                    () = self.queue.progressed() => Ok(Step::Send),
                    () = self.held.evicted() => Ok(Step::Hurry),
                    next = next(&self.node, &mut self.frames, &self.transport, &self.pace, self.waits_since), if may_read => next,
                    () = check_time(), if !may_read => Ok(Step::Check),
                },
            };
            let done = match step {
                Ok(Step::Send) => self.send_ready().await,
                Ok(Step::Handle(size, turns)) => self.handle(size, turns).await,
                Ok(Step::Hurry) => self.go_on_in_a_hurry(),
                Ok(Step::Check) => {
                    self.frames.trim();
                    if self.frames.is_in_the_way() {
                        self.client.hurry.store(true, Ordering::Relaxed);
                    }
                    Ok(())
                }
                Ok(Step::End) => return self.answer_rest(Ended::Closed).await,
                Err(error @ (ReadError::Size(_) | ReadError::TooLarge(..) | ReadError::Truncated)) => {
                    return self.answer_rest(Ended::Read(error)).await;
                }
                Err(error) => Err(Ended::Read(error)),
            };
            if let Err(ended) = done {
                return ended;
            }
            if self.queue.is_empty() {
                // Who always has a further request there is not to keep the worker from its other connections.
                tokio::task::consume_budget().await;
            }
        }
    }

    /// Handles the frame of `size` bytes that has come, with the turn that it has waited for.
    async fn handle(&mut self, size: usize, Turns { large: mut turn, long }: Turns) -> Result<(), Ended> {
        if !self.held.memory().is_settled() {
            // Nobody waits with a turn in hand, or with answers that may leave.
            drop((turn, long));
            if self.queue.is_first_ready() {
                return Ok(());
            }
            return settled(&self.held, &self.client.hurry).await.then_some(()).ok_or(Ended::Evicted);
        }
        let now = Instant::now();
        let begun = self.waits_since.unwrap_or(now);
        let room_by = (begun + ROOM_WITHIN).into();
        if turn.is_some() && !self.held.memory().has_room(room_by) {
            drop((turn, long));
            self.held.memory().room(room_by).await;
            return Ok(());
        }
        self.waits_since = None;
        let frame = self.frames.frame(size);
        let reply = dispatch::dispatch(&self.node, &mut self.client, frame, self.frames.whole_since(), &mut turn);
        if let (Ok(Reply::Ready(answer)), Some(_)) = (&reply, &turn) {
            // The next large one is made when this is counted.
            self.held.set(self.queue.memory_bytes() + answer.memory_bytes());
        }
        drop((turn, long));
        let took = now.elapsed();
        self.pace.took(took);
        self.busy += took;
        self.hold_back.took(took, self.queue.is_empty());
        if reply.as_ref().is_err_and(|refused| *refused == Refused::NotYet) {
            self.waits_since = Some(begun);
            return Ok(());
        }
        self.frames.consume(size);
        match reply {
            Ok(Reply::Ready(answer)) => {
                let may_wait = answer.is_short() && self.queue.may_wait() && self.hold_back.may();
                self.next_produce = if may_wait { self.frames.next_produce() } else { None };
                match self.queue.is_empty() && self.next_produce.is_none() {
                    true => self.send(answer).await?,
                    false => self.queue.push_ready(answer),
                }
                // What is held back is counted with what it waits for.
                if self.next_produce.is_none() && !self.queue.is_empty() {
                    self.send_all_ready().await?;
                }
            }
            Ok(Reply::Parked(parked)) => self.queue.push_parked(parked, 0),
            Ok(Reply::Holding(parked, memory_bytes)) => {
                self.queue.push_parked(parked, memory_bytes);
                self.account();
            }
            Ok(Reply::None) => {}
            Err(refused) => return Err(self.answer_rest(Ended::Refused(refused)).await),
        }
        if self.busy > HOG {
            // The worker's other connections come first; this one may have the next request there already. Its answer is gone, or
            // counted: else each of them could leave one here meanwhile.
            self.busy = Duration::ZERO;
            self.next_produce = None;
            self.send_all_ready().await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// What it holds is behind a parked request: the client could not have taken it. In a hurry that request has ended by now,
    /// if it is one that can.
    fn go_on_in_a_hurry(&self) -> Result<(), Ended> {
        if self.queue.is_empty() {
            // It has got rid of it since.
            self.held.set(0);
            return Ok(());
        }
        match self.client.hurry.swap(true, Ordering::Relaxed) || !self.held.stay() {
            true => Err(Ended::Evicted),
            false => Ok(()),
        }
    }

    /// Counts what is queued; where that is much, the requests before it are not to wait any longer.
    fn account(&self) {
        let bytes = self.queue.memory_bytes();
        self.held.set(bytes);
        let is_much = self.queue.is_heavy() || (bytes > 0 && !self.node.budgets.answers.is_plentiful());
        self.client.hurry.store(self.is_ending || is_much, Ordering::Relaxed);
    }

    /// Sends what can leave, and counts what cannot.
    async fn send_all_ready(&mut self) -> Result<(), Ended> {
        while self.queue.is_first_ready() {
            self.send_ready().await?;
        }
        self.account();
        Ok(())
    }

    /// Sends the first answer if it is ready, with those that can leave with it.
    async fn send_ready(&mut self) -> Result<(), Ended> {
        if self.queue.is_first_ready() {
            let answer = self.queue.pop(&mut self.further).map_err(Ended::Refused)?;
            self.send(answer).await?;
            // The request may have waited for long, and the client for its answer.
            self.frames.client_is_active();
        }
        self.account();
        Ok(())
    }

    /// Sends one answer; the client has `max_idle` to take any of it, or less where others need the memory.
    async fn send(&mut self, answer: Answer) -> Result<(), Ended> {
        let begun = Instant::now();
        self.has_answered = true;
        {
            let mut sending = pin!(answer.send(&self.transport));
            // Most answers fit the socket and are gone at once.
            match poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await {
                Poll::Ready(sent) => sent.map_err(Ended::Write)?,
                Poll::Pending => {
                    self.frames.trim();
                    let slow = SlowSending {
                        answer: &answer,
                        transport: &self.transport,
                        queue: &mut self.queue,
                        held: &self.held,
                        frames: &self.frames,
                        stopping: &self.stopping,
                        max_idle: self.max_idle,
                    };
                    slow.finish(sending).await?;
                    self.frames.client_is_active();
                }
            }
        }
        let gone = Instant::now();
        std::mem::take(&mut self.further)
            .into_iter()
            .chain(answer.trip)
            .for_each(|trip| self.node.metrics.left(&trip, begun, gone));
        // It may have been counted before it left, too, as large ones are.
        self.held.set(self.queue.memory_bytes());
        if !answer.throttle.is_zero() && !self.is_ending {
            tokio::time::sleep(answer.throttle).await;
        }
        Ok(())
    }

    /// Nothing more comes of the client, or nothing that can be understood. As in Kafka, what it has asked for before is
    /// answered, for as long as it takes any of it within `connections.max.idle.ms`, unless others need the memory.
    ///
    /// Differs from Kafka: what waits for records does not wait any longer.
    async fn answer_rest(&mut self, because: Ended) -> Ended {
        self.frames.discard();
        match self.send_rest(self.told_to_stop()).await {
            Sent::All => {
                // Who wants no answers knows by the end of the connection alone that something was not written, and soon.
                let is_unacknowledged = matches!(because, Ended::Refused(Refused::UnacknowledgedFailure(..)));
                if self.has_answered && !is_unacknowledged {
                    self.linger().await;
                }
                because
            }
            Sent::UntilStop => {
                self.drain().await;
                because
            }
            Sent::Not(Ended::Write(_)) if !matches!(because, Ended::Closed) => because,
            Sent::Not(ended) => ended,
        }
    }

    /// Until the client has closed, too.
    async fn linger(&mut self) {
        let stop = self.told_to_stop();
        tokio::select! {
            biased;
            () = stop => {}
            () = tokio::time::sleep(LINGER.min(self.max_idle)) => {}
            () = self.transport.close() => {}
        }
    }

    /// The broker stops. Requests that wait for records do not wait any longer.
    async fn drain(&mut self) -> Ended {
        let never = std::future::pending();
        match tokio::time::timeout(DRAIN, self.send_rest(never)).await {
            Ok(Sent::Not(ended)) => ended,
            _ => Ended::Closed,
        }
    }

    /// Sends all that is queued; nothing more once it is told to `stop`, which it hears of between two answers only.
    async fn send_rest(&mut self, stop: impl Future<Output = ()>) -> Sent {
        let mut stop = pin!(stop);
        let mut idle = pin!(tokio::time::sleep(self.max_idle));
        self.is_ending = true;
        self.client.hurry.store(true, Ordering::Relaxed);
        while !self.queue.is_empty() {
            tokio::select! {
                biased;
                () = &mut stop => return Sent::UntilStop,
                () = self.queue.progressed() => {}
                () = self.held.evicted() => return Sent::Not(Ended::Evicted),
                // A member may wait for its group for as long as it likes.
                () = &mut idle => return Sent::Not(Ended::Read(ReadError::Idle)),
            }
            let is_first = self.queue.is_first_ready();
            if let Err(ended) = self.send_ready().await {
                return Sent::Not(ended);
            }
            if is_first {
                idle.set(tokio::time::sleep(self.max_idle));
            }
        }
        Sent::All
    }

    fn told_to_stop(&self) -> impl Future<Output = ()> + use<> {
        let mut stopping = self.stopping.clone();
        async move { _ = stopping.wait_for(|&stop| stop).await }
    }
}

/// What became of all that was queued.
enum Sent {
    All,
    UntilStop,
    Not(Ended),
}

enum Step {
    Send,
    /// A frame of this size, and the turn that it has waited for.
    Handle(usize, Turns),
    /// The client sends no more.
    End,
    Check,
    Hurry,
}

/// What a request may have waited for.
#[derive(Default)]
struct Turns {
    large: Option<LargeTurn>,
    long: Option<LongTurn>,
}

/// Waits for the next request. Where that is there and waits for its turn as a large one, for that, behind all other
/// connections that do; else for its worker's turn, if it takes long. Whoever is called away meanwhile waits anew.
async fn next(
    node: &Node,
    frames: &mut FrameReader,
    transport: &Transport,
    pace: &Pace,
    waits_since: Option<Instant>,
) -> Result<Step, ReadError> {
    if waits_since.is_some() {
        let large = Some(node.budgets.large_turn(transport.gone()).await);
        let size = frames.next(transport).await?;
        return Ok(size.map_or(Step::End, |size| Step::Handle(size, Turns { large, long: None })));
    }
    let Some(size) = frames.next(transport).await? else { return Ok(Step::End) };
    let long = pace.turn(frames.frame(size)).await;
    Ok(Step::Handle(size, Turns { large: None, long }))
}

/// Waits until there is memory for one more answer. Meanwhile this connection itself may be told to go, for what it has
/// behind a parked request; the client could not have taken that. False where it has to go nevertheless.
async fn settled(held: &Held, hurry: &AtomicBool) -> bool {
    loop {
        tokio::select! {
            biased;
            () = held.evicted() => {
                hurry.store(true, Ordering::Relaxed);
                if !held.stay() {
                    return false;
                }
            }
            () = held.memory().settled() => return true,
        }
    }
}

/// A timer that is not set before it is waited for.
pub(super) async fn check_time() {
    tokio::time::sleep(CHECK_EVERY).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use ottla_protocol::records::BatchBuilder;
    use rustix::net::RecvFlags;

    use super::super::{tests, transport};
    use super::*;

    /// Some more than may leave together.
    const PRODUCES: usize = 20;

    /// How many bytes have come after each of these requests was handled, the time that this took not counted.
    async fn come_after_each(connection: &mut Connection, client: &std::net::TcpStream) -> Vec<usize> {
        let mut come = Vec::new();
        for _ in 0..PRODUCES {
            let (size, turns) = match connection.next_produce.take() {
                Some(size) => (size, Turns::default()),
                None => {
                    let Connection { node, frames, transport, pace, .. } = connection;
                    match next(node, frames, transport, pace, None).await {
                        Ok(Step::Handle(size, turns)) => (size, turns),
                        _ => panic!("a request was sent"),
                    }
                }
            };
            connection.hold_back = HoldBack::default();
            connection.busy = Duration::ZERO;
            connection.handle(size, turns).await.unwrap();
            assert_eq!(connection.next_produce.is_none(), connection.queue.is_empty());
            come.push(match rustix::net::recv(client, &mut [0; 64 * 1024], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((bytes, _)) => bytes,
                Err(error) => {
                    assert_eq!(error, rustix::io::Errno::WOULDBLOCK);
                    0
                }
            });
        }
        come
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn short_answers_wait_for_that_to_a_produce_that_is_there_and_leave_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let broker = tests::start(folder.path()).await;
        tests::Client::new(&broker).create(tests::new_topic("t"));
        let batch = BatchBuilder::new().push(1, None, Some(b"v"), &[]).build().unwrap();
        let burst: Vec<u8> = (1..).take(PRODUCES).flat_map(|number| tests::produce(&batch, 1, number)).collect();
        let (transport, client) = transport::tests::pair().await;
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        let (node, (_going_on, stopping)) = (broker.node.clone(), watch::channel(false));
        let newcomer = tests::newcomer(&node);
        let mut connection = Connection::new(node, transport, newcomer, LongTurns::default(), stopping);
        // Where a request happens to take long, its answer leaves at once.
        let mut as_expected = async || {
            client.write_all(&burst).unwrap();
            let come = come_after_each(&mut connection, &client).await;
            let &all = come.last().unwrap();
            client.read_exact(&mut vec![0; all]).unwrap();
            let one = all / PRODUCES;
            // 16 wait for the next one; so do the two behind them.
            come == [&[0; 16][..], &[17 * one; 3], &[20 * one]].concat()
        };
        let mut tries = 0;
        while !as_expected().await {
            tries += 1;
            assert!(tries < 100, "they never waited");
        }
        drop(connection);
        broker.stop().await.unwrap();
    }
}
