//! A request on its way through a handler: who asks, which version, what body; and how to answer it.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ottla_protocol::frame::RequestHeader;
use ottla_protocol::{ApiKey, DecodeError, Message, Reader, Writer};
use ottla_storage::LogSlice;

use crate::access::{Asker, Operation, Resource};
use crate::config::ListenerType;
use crate::dispatch::{Refused, Reply};
use crate::net::answer::Answer;
use crate::net::budgets::LargeTurn;
use crate::net::connection_quotas::Counted;
use crate::node::Node;

/// An answer grows to this, the records of a Fetch not counted: they are sent out of their files. It is room for a Metadata
/// of 150,000 partitions, or for DescribeConfigs of 5000 topics.
pub const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The arrays of a request that take more memory than this make it a large one; the buffer of an answer that takes more gives back
/// what it does not need.
const LARGE_BYTES: usize = 512 * 1024;
/// An answer's buffer is so large at first: that of a Produce into one partition does not grow.
const FIRST_BYTES: usize = 256;

/// What a connection knows of its client.
pub struct Client {
    /// Who it is, and where.
    pub asker: Asker,
    /// The port that it comes from.
    pub port: u16,
    /// Whom the listener is for that it came by.
    pub listener_type: ListenerType,
    /// The name of its library; empty where it did not say, or said too much.
    pub software_name: String,
    /// The version of its library.
    pub software_version: String,
    /// The compressed batches it has sent.
    pub compressed_batches: u64,
    /// Its requests that wait for records are not to wait any longer.
    pub hurry: Arc<AtomicBool>,
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
    /// Held from when it turns out to be large until it is handled.
    pub(crate) large: OnceCell<LargeTurn>,
}

/// Encodes the answer to one request; outlives the request's frame.
#[derive(Clone, Copy, Debug)]
pub struct Responder {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

impl Client {
    /// One that has just come.
    pub fn new(asker: Asker, port: u16, listener_type: ListenerType, counted: Counted) -> Self {
        Self {
            asker,
            port,
            listener_type,
            software_name: String::new(),
            software_version: String::new(),
            compressed_batches: 0,
            hurry: Arc::default(),
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
        let small = M::decode(&mut Reader::new(self.body).at_most(LARGE_BYTES), self.version());
        let decoded = match small {
            Err(DecodeError::TooMuchMemory) => {
                self.is_large()?;
                M::decode(&mut Reader::new(self.body), self.version())
            }
            decoded => decoded,
        };
        decoded.map_err(Refused::Malformed)
    }

    /// Says that handling it takes much memory or time. One such request is handled at a time; see
    /// [`Budgets::large_turn`](crate::net::budgets::Budgets::large_turn).
    ///
    /// # Errors
    /// It is not its turn, or others are still to read large answers: the request is handled once more, from the start, when
    /// it is. So nothing must be done before.
    pub fn is_large(&self) -> Result<(), Refused> {
        if self.large.get().is_none() {
            let budgets = &self.node.budgets;
            let turn =
                budgets.answers.is_plentiful().then(|| budgets.try_large_turn()).flatten().ok_or(Refused::NotYet)?;
            self.large.set(turn).expect("it is empty");
        }
        Ok(())
    }

    /// Whether whoever sent it may do `operation` to `resource`.
    pub fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.node.authorizer.allows(&self.client.asker, operation, resource)
    }

    /// What it takes to answer later.
    pub fn responder(&self) -> Responder {
        Responder { api: self.api, version: self.version(), correlation_id: self.header.correlation_id }
    }

    /// Answers at once.
    pub fn reply<'m, M: Message<'m>>(&self, message: M) -> Result<Reply, Refused> {
        self.responder().answer(message).map(Reply::Ready)
    }
}

impl Responder {
    /// The version that the answer is encoded in.
    pub fn version(self) -> i16 {
        self.version
    }

    /// Encodes `message` as the answer.
    pub fn answer<'m, M: Message<'m>>(self, message: M) -> Result<Answer, Refused> {
        self.answer_with(message, Vec::new())
    }

    /// Encodes `message`, whose records are pieces of log files.
    pub fn answer_with<'m, M: Message<'m>>(self, mut message: M, slices: Vec<LogSlice>) -> Result<Answer, Refused> {
        // Quotas will decide here how long the client is to hold back, for every API alike.
        message.set_throttle_time_ms(0);
        let mut writer = Writer::with_limit(ANSWER_MAX_BYTES);
        writer.buffer.reserve(FIRST_BYTES);
        self.begin(&mut writer);
        message.encode(&mut writer, self.version);
        if writer.is_over_limit() {
            return Err(self.too_large());
        }
        Ok(Self::finish(writer, slices))
    }

    /// Begins the frame of an answer whose body the caller encodes.
    pub fn begin(self, writer: &mut Writer) {
        self.api.begin_response(writer, self.version, self.correlation_id);
    }

    /// The answer that was begun there.
    pub fn finish(mut writer: Writer, slices: Vec<LogSlice>) -> Answer {
        writer.finish_frame();
        if writer.buffer.capacity() > LARGE_BYTES {
            // It may wait for its client for long.
            writer.buffer.shrink_to_fit();
        }
        Answer::new(writer, slices)
    }

    /// What a handler says that sees beforehand that the answer would be too large.
    pub fn too_large(self) -> Refused {
        Refused::AnswerTooLarge(self.api)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use ottla_protocol::messages::describe_configs_response::{DescribeConfigsResponse, DescribeConfigsResult};
    use ottla_protocol::{Str, frame};

    use super::*;

    fn answer(results: usize, name: &str, version: i16) -> Result<Answer, Refused> {
        let result = || DescribeConfigsResult {
            error_message: Some(Cow::Owned(format!("There is no {name}"))),
            resource_name: Str::Borrowed(name),
            ..Default::default()
        };
        let results = (0..results).map(|_| result()).collect();
        let responder = Responder { api: ApiKey::DescribeConfigs, version, correlation_id: 1 };
        responder.answer(DescribeConfigsResponse { results, ..Default::default() })
    }

    #[test]
    fn an_answer_that_is_too_large_is_refused() {
        let name = "x".repeat(1000);
        assert!(answer(5000, &name, 4).is_ok());
        assert!(matches!(answer(20_000, &name, 4), Err(Refused::AnswerTooLarge(ApiKey::DescribeConfigs))));
    }

    #[test]
    fn a_text_that_quotes_the_longest_of_names_is_cut() {
        let name = "x".repeat(32_767);
        for version in [1, 4] {
            let answer = answer(1, &name, version).expect("it is not large");
            let mut reader = Reader::new(&answer.encoded()[4..]);
            frame::read_response_header(&mut reader, ApiKey::DescribeConfigs, version).expect("a header");
            let response = DescribeConfigsResponse::decode(&mut reader, version).expect("it follows its schema");
            assert_eq!(response.results[0].resource_name, name);
            let message = response.results[0].error_message.as_deref().expect("it has one");
            assert!(message.starts_with("There is no x") && message.len() == 32_767, "{} bytes", message.len());
        }
    }
}
