//! Frame in, reply out: reads the header, finds the API, runs its handler.

use std::cell::OnceCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use ottla_protocol::frame::RequestHeader;
use ottla_protocol::{ApiKey, DecodeError, ErrorCounts};

use crate::api;
use crate::metrics::Trip;
use crate::net::answer::Answer;
use crate::net::budgets::LargeTurn;
use crate::node::Node;
use crate::request::{Client, Request};

/// A request is no larger than this, whatever `socket.request.max.bytes` allows, unless it brings records: handlers copy what
/// it names, and answer with it. Differs from Kafka. A Fetch of 100,000 partitions has a third of it.
const REQUEST_MAX_BYTES: usize = 16 * 1024 * 1024;
/// A request that is larger than this is a large one, unless it brings records.
const LARGE_BYTES: usize = 1024 * 1024;

/// An answer that is not there yet.
pub type Parked = Pin<Box<dyn Future<Output = Result<Answer, Refused>> + Send>>;

/// What a handler gives back.
pub enum Reply {
    /// The answer.
    Ready(Answer),
    /// The answer comes later. What the request takes meanwhile is little, or counted elsewhere.
    Parked(Parked),
    /// The answer comes later, and the request takes so many bytes of memory meanwhile.
    Holding(Parked, usize),
    /// The client wants none (acks=0).
    None,
}

/// A request that is not answered: but for the first, the connection is closed. But for the last, Kafka does so too.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is a large one, and another is being handled: nothing was done, and it is to be handled when it has the turn.
    NotYet,
    /// The header or the body does not follow its schema.
    Malformed(DecodeError),
    /// No such API here, on this listener.
    UnknownApi(i16),
    /// The API is there, in other versions.
    UnsupportedVersion(ApiKey, i16),
    /// A Produce with acks=0 failed, with these errors: closing is the only way to say so.
    UnacknowledgedFailure(ErrorCounts),
    /// It asks for more than one answer may hold.
    AnswerTooLarge(ApiKey),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet => f.write_str("another large request is being handled"),
            Self::Malformed(error) => write!(f, "a request cannot be read: {error}"),
            Self::UnknownApi(key) => write!(f, "API key {key} is not served"),
            Self::UnsupportedVersion(api, version) => write!(f, "version {version} of {} is not served", api.name()),
            Self::UnacknowledgedFailure(_) => f.write_str("a Produce with acks=0 failed"),
            Self::AnswerTooLarge(api) => {
                write!(f, "the answer to a request of {} would be too large: ask for less at once", api.name())
            }
        }
    }
}

/// How large a request with this API key may be, whatever `socket.request.max.bytes` allows.
pub fn frame_max_bytes(api_key: i16) -> usize {
    if api_key == ApiKey::Produce.code() { usize::MAX } else { REQUEST_MAX_BYTES }
}

/// Handles the request in `frame`, which is there since `read`. With [`Refused::NotYet`] it has to be handled again, with
/// the `turn` of the large ones. A large one leaves the turn there, for whoever takes the answer.
pub fn dispatch(
    node: &Arc<Node>,
    client: &mut Client,
    frame: &[u8],
    read: Instant,
    turn: &mut Option<LargeTurn>,
) -> Result<Reply, Refused> {
    let (header, body) = RequestHeader::decode(frame).map_err(Refused::Malformed)?;
    let (place, entry) = api::find(header.api_key, client.listener_type).ok_or(Refused::UnknownApi(header.api_key))?;
    let version = header.api_version;
    let mut request = Request {
        node,
        client,
        api: entry.key,
        header,
        body,
        large: turn.take().map_or_else(OnceCell::new, OnceCell::from),
    };
    let handle = match entry.key {
        _ if entry.versions.contains(&version) => entry.handle,
        ApiKey::ApiVersions => api::api_versions::refuse_version,
        key => return Err(Refused::UnsupportedVersion(key, version)),
    };
    if entry.key != ApiKey::Produce && body.len() > LARGE_BYTES {
        request.is_large()?;
    }
    let trip = Trip::begin(place, body.len(), read);
    let reply = handle(&mut request);
    let trip = trip.handled();
    *turn = request.large.take();
    let timed = |parked: Parked| -> Parked {
        let mut counting = Counting { node: Arc::clone(node), trip, version, is_counted: false };
        Box::pin(async move {
            let answer = parked.await;
            counting.trip = counting.trip.ready();
            answer.map(|answer| counting.answered(answer))
        })
    };
    Ok(match reply {
        Ok(Reply::Parked(parked)) => Reply::Parked(timed(parked)),
        Ok(Reply::Holding(parked, memory_bytes)) => Reply::Holding(timed(parked), memory_bytes),
        Ok(Reply::Ready(answer)) => Reply::Ready(answered(node, trip, version, answer)),
        Ok(Reply::None) => {
            unanswered(node, &trip, version, None);
            Reply::None
        }
        Err(Refused::UnacknowledgedFailure(errors)) => {
            unanswered(node, &trip, version, Some(&errors));
            return Err(Refused::UnacknowledgedFailure(errors));
        }
        Err(refused) => return Err(refused),
    })
}

fn answered(node: &Node, trip: Trip, version: i16, mut answer: Answer) -> Answer {
    node.metrics.answered(&trip, version, Some(answer.errors()));
    answer.trip = Some(trip);
    answer
}

/// It wanted no answer: it is over at once.
fn unanswered(node: &Node, trip: &Trip, version: i16, errors: Option<&ErrorCounts>) {
    node.metrics.answered(trip, version, errors);
    node.metrics.left(trip, trip.is_ready_since(), trip.is_ready_since());
}

/// A parked request. It counts as one also where its connection ends before there is an answer.
struct Counting {
    node: Arc<Node>,
    trip: Trip,
    version: i16,
    is_counted: bool,
}

impl Counting {
    fn answered(mut self, answer: Answer) -> Answer {
        self.is_counted = true;
        answered(&self.node, self.trip, self.version, answer)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if !self.is_counted {
            self.node.metrics.answered(&self.trip, self.version, None);
        }
    }
}
