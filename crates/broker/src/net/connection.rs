//! One client's connection: requests in, answers out in the order of the requests.
//!
//! ```text
//!   frames --> dispatch --> ready  --------------> socket
//!                      \--> parked --> [queue] --/        the next frames are handled meanwhile
//! ```
//!
//! Differs from Kafka: a request behind a parked one (a long poll) is handled at once, though answered after it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::debug;

use super::answer::Answer;
use super::frames::{FrameReader, ReadError};
use super::transport::Transport;
use crate::dispatch::{self, Refused, Reply};
use crate::node::Node;
use crate::request::Client;

/// So many requests of one connection are answered or parked before the first answer has left.
const MAX_QUEUED_ANSWERS: usize = 64;
/// How long parked requests may still take once the broker stops.
const DRAIN: Duration = Duration::from_secs(1);

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
}

struct Connection {
    node: Arc<Node>,
    transport: Transport,
    client: Client,
    queue: VecDeque<Queued>,
    max_idle: Duration,
}

enum Queued {
    Ready(Answer),
    Parked(dispatch::Parked),
}

/// Serves one connection until it ends.
pub async fn serve(node: Arc<Node>, transport: Transport, client: Client, stopping: watch::Receiver<bool>) {
    let (peer, max_idle) = (client.peer, node.config.connections_max_idle);
    let mut connection = Connection { node, transport, client, queue: VecDeque::new(), max_idle };
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
            Self::Refused(refused) => write!(f, "a request was refused: {refused:?}"),
            Self::NotReading => f.write_str("the client did not take its answer in time"),
        }
    }
}

impl Connection {
    async fn run(&mut self, mut stopping: watch::Receiver<bool>) -> Ended {
        let share = self.node.frame_memory.share();
        let mut frames = FrameReader::new(share, self.node.config.socket_request_max_bytes, self.max_idle);
        let mut stop = std::pin::pin!(async move { stopping.wait_for(|&stop| stop).await.is_ok() });
        loop {
            let may_read = self.queue.len() < MAX_QUEUED_ANSWERS;
            let step = tokio::select! {
                biased;
                _ = &mut stop => return self.drain().await,
                () = first_ready(&mut self.queue), if !self.queue.is_empty() => Ok(Step::Send),
                next = frames.next(&self.transport), if may_read => next.map(Step::Handle),
            };
            match step {
                Ok(Step::Send) => {
                    if let Err(ended) = self.send_first().await {
                        return ended;
                    }
                }
                Ok(Step::Handle(Some(size))) => {
                    let reply = dispatch::dispatch(&self.node, &mut self.client, frames.frame(size));
                    frames.consume(size);
                    match reply {
                        Ok(Reply::Ready(answer)) if self.queue.is_empty() => {
                            if let Err(ended) = send(&self.transport, answer, self.max_idle).await {
                                return ended;
                            }
                        }
                        Ok(Reply::Ready(answer)) => self.queue.push_back(Queued::Ready(answer)),
                        Ok(Reply::Parked(parked)) => self.queue.push_back(Queued::Parked(parked)),
                        Ok(Reply::None) => {}
                        Err(refused) => return self.refuse(refused).await,
                    }
                }
                Ok(Step::Handle(None)) => return Ended::Closed,
                Err(error) => return Ended::Read(error),
            }
        }
    }

    async fn send_first(&mut self) -> Result<(), Ended> {
        match self.queue.pop_front() {
            Some(Queued::Ready(answer)) => send(&self.transport, answer, self.max_idle).await,
            _ => unreachable!("the first answer was just seen to be ready"),
        }
    }

    /// The requests before the refused one still get their answers.
    async fn refuse(&mut self, refused: Refused) -> Ended {
        let _ = self.drain().await;
        Ended::Refused(refused)
    }

    async fn drain(&mut self) -> Ended {
        let all = async {
            while !self.queue.is_empty() {
                first_ready(&mut self.queue).await;
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
}

/// Sends one answer; the client has `max_idle` to take it.
async fn send(transport: &Transport, answer: Answer, max_idle: Duration) -> Result<(), Ended> {
    match tokio::time::timeout(max_idle, answer.send(transport)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Ended::Write(error)),
        Err(_) => return Err(Ended::NotReading),
    }
    if !answer.throttle.is_zero() {
        tokio::time::sleep(answer.throttle).await;
    }
    Ok(())
}

/// Waits until the first answer of the queue is ready.
async fn first_ready(queue: &mut VecDeque<Queued>) {
    if let Some(first) = queue.front_mut()
        && let Queued::Parked(parked) = first
    {
        *first = Queued::Ready(parked.as_mut().await);
    }
}
