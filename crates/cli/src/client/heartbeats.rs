//! The sign of life of a group's member: a thread of its own, so that a reader who does not look for a while does not lose
//! the member its partitions.
//!
//! It sends until it is stopped, or until the coordinator knows the member no longer, and leaves the verdict for the member to look
//! at. A member that is to join again is alive until it does. While nobody has polled for too long (`max.poll.interval.ms`)
//! nothing is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicI16, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::{ApiKey, ErrorCode, Str};

use super::{Address, Connection, Error, Options};

/// Who is alive, and where that is to be said.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The coordinator.
    pub coordinator: Address,
    /// How to connect.
    pub options: Options,
    /// The group.
    pub group: String,
    /// The generation.
    pub generation: i32,
    /// The member's id.
    pub member_id: String,
    /// Its static id.
    pub instance_id: Option<String>,
    /// How often to say so.
    pub interval: Duration,
    /// For how long the member may go without polling.
    pub max_poll_interval: Duration,
}

/// The thread, while it runs.
#[derive(Debug)]
pub struct Heartbeats {
    shared: Arc<Shared>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    polled_ms: AtomicU64,
    verdict: AtomicI16,
}

impl Heartbeats {
    /// Starts sending.
    pub fn start(membership: Membership) -> Self {
        let shared =
            Arc::new(Shared { started: Instant::now(), polled_ms: AtomicU64::new(0), verdict: AtomicI16::new(0) });
        let (stop, stopped) = mpsc::channel();
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut connection = None;
            while stopped.recv_timeout(membership.interval) == Err(RecvTimeoutError::Timeout) {
                if of_thread.since_poll() > membership.max_poll_interval {
                    continue;
                }
                let code = beat(&membership, &mut connection);
                if code != ErrorCode::None {
                    of_thread.verdict.store(code.code(), Ordering::Release);
                    if code != ErrorCode::RebalanceInProgress {
                        return;
                    }
                }
            }
        });
        Self { shared, stop: Some(stop), thread: Some(thread) }
    }

    /// What the coordinator said last; and that the member is at work.
    pub fn verdict(&self) -> ErrorCode {
        let elapsed = self.shared.started.elapsed();
        self.shared.polled_ms.store(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        ErrorCode::from_code(self.shared.verdict.load(Ordering::Acquire)).unwrap_or(ErrorCode::UnknownServerError)
    }
}

impl Shared {
    fn since_poll(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.polled_ms.load(Ordering::Acquire)))
    }
}

/// One heartbeat. A connection that fails is the coordinator's end for the member: it looks for it anew.
fn beat(membership: &Membership, connection: &mut Option<Connection>) -> ErrorCode {
    let sent = || -> Result<ErrorCode, Error> {
        if connection.is_none() {
            *connection = Some(Connection::open(&membership.coordinator, &membership.options)?);
        }
        let open = connection.as_mut().expect("it was there, or has been opened");
        let request = HeartbeatRequest {
            group_id: Str::Borrowed(&membership.group),
            generation_id: membership.generation,
            member_id: Str::Borrowed(&membership.member_id),
            group_instance_id: membership.instance_id.as_deref().map(Str::Borrowed),
        };
        let answer = open.ask(ApiKey::Heartbeat, &request)?;
        let response: HeartbeatResponse = answer.read()?;
        Ok(ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError))
    };
    let mut sent = sent;
    sent().unwrap_or(ErrorCode::NetworkException)
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
