//! A request on its way through a handler: who asks, which version, what body; and how to answer it.

use std::net::IpAddr;
use std::sync::Arc;

use ottla_protocol::frame::RequestHeader;
use ottla_protocol::records::validate::Scratch;
use ottla_protocol::{ApiKey, Message, Reader, Writer};
use ottla_storage::LogSlice;

use crate::access::{Operation, Principal, Resource};
use crate::dispatch::{Refused, Reply};
use crate::net::answer::Answer;
use crate::net::listener::Counted;
use crate::node::Node;

/// What a connection knows of its client.
pub struct Client {
    /// Its address.
    pub peer: IpAddr,
    /// The name of the listener it came in by.
    pub listener: Arc<str>,
    /// Whom it has proved to be.
    pub principal: Principal,
    /// The compressed batches it has sent.
    pub compressed_batches: u64,
    /// Buffers for looking into its batches.
    pub scratch: Scratch,
    _counted: Counted,
}

/// One request.
pub struct Request<'r> {
    /// The broker.
    pub node: &'r Arc<Node>,
    /// The connection it came by.
    pub client: &'r mut Client,
    /// Its header.
    pub header: RequestHeader<'r>,
    /// The API it asks for.
    pub api: ApiKey,
    pub(crate) body: &'r [u8],
}

/// Encodes the answer to one request; outlives the request's frame.
#[derive(Clone, Copy, Debug)]
pub struct Responder {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Client {
    /// A client from `peer` that has not authenticated.
    pub fn new(peer: IpAddr, listener: Arc<str>, counted: Counted) -> Self {
        Self {
            peer,
            listener,
            principal: Principal::anonymous(),
            compressed_batches: 0,
            scratch: Scratch::default(),
            _counted: counted,
        }
    }
}

impl<'r> Request<'r> {
    /// The version it is in.
    pub fn version(&self) -> i16 {
        self.header.api_version
    }

    /// The client's id, empty where it gave none.
    pub fn client_id(&self) -> &str {
        self.header.client_id.as_deref().unwrap_or_default()
    }

    /// Reads the body. Surplus bytes are ignored, as Kafka does.
    pub fn decode<M: Message<'r>>(&self) -> Result<M, Refused> {
        M::decode(&mut Reader::new(self.body), self.version()).map_err(Refused::Malformed)
    }

    /// Whether whoever sent it may do `operation` to `resource`.
    pub fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.node.authorizer.allows(&self.client.principal, operation, resource)
    }

    /// What it takes to answer later.
    pub fn responder(&self) -> Responder {
        Responder { api: self.api, version: self.version(), correlation_id: self.header.correlation_id }
    }

    /// Answers at once.
    pub fn reply<'m, M: Message<'m>>(&self, message: M) -> Result<Reply, Refused> {
        Ok(Reply::Ready(self.responder().answer(message)))
    }
}

impl Responder {
    /// Encodes `message` as the answer.
    pub fn answer<'m, M: Message<'m>>(self, message: M) -> Answer {
        self.answer_with(message, Vec::new())
    }

    /// Encodes `message`, whose records are pieces of log files.
    pub fn answer_with<'m, M: Message<'m>>(self, mut message: M, slices: Vec<LogSlice>) -> Answer {
        // Quotas will decide here how long the client is to hold back, for every API alike.
        message.set_throttle_time_ms(0);
        let mut writer = Writer::default();
        self.api.begin_response(&mut writer, self.version, self.correlation_id);
        message.encode(&mut writer, self.version);
        // Names and values are limited where they come in, so that no client ever gets an answer it cannot read.
        assert!(!writer.is_oversized(), "an answer holds a string that is too long");
        writer.finish_frame();
        Answer::new(writer, slices)
    }
}
