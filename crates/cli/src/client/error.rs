//! Why a tool got no answer, or none it can use; said so that the reader knows what to do.

use std::fmt;
use std::io;
use std::time::Duration;

use ottla_protocol::records::{BatchError, CompressionError, RecordError};
use ottla_protocol::{ApiKey, DecodeError, ErrorCode};

use super::{Address, exception};

/// What went wrong between a tool and the brokers.
#[derive(Debug)]
pub enum Error {
    /// Text that is no `host:port`.
    Address(String),
    /// No connection to any of these.
    Unreachable(Vec<(Address, io::Error)>),
    /// None of the names that the user gave has an address.
    Unresolvable(Vec<Address>),
    /// The same, to a tool of administrators, which has told of the names.
    NoAdminClient,
    /// No broker could be asked: to a tool of administrators, which has told why.
    NoNode {
        /// What it asks for first, as Kafka's client for administration calls that.
        call: &'static str,
    },
    /// A connection ended while an answer was due.
    Broken {
        /// The other end.
        peer: Address,
        /// What the socket said.
        error: io::Error,
    },
    /// No answer in time.
    TimedOut {
        /// The other end.
        peer: Address,
        /// What was asked.
        api: ApiKey,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The broker has no version of this API that we know.
    NotServed {
        /// The other end.
        peer: Address,
        /// What was to be asked.
        api: ApiKey,
    },
    /// An answer that cannot be read.
    Garbled {
        /// The other end.
        peer: Address,
        /// What was wrong with it.
        what: String,
    },
    /// A partition's records cannot be read.
    BadRecords {
        /// `topic-partition`.
        partition: String,
        /// What was wrong with them.
        what: String,
    },
    /// The cluster said no.
    Refused {
        /// Its error.
        code: ErrorCode,
        /// Its words, or what was asked for where it has none.
        message: String,
    },
}

/// What Kafka's tools ask all brokers for, which has a text of its own where there is none.
pub const LIST_GROUPS: &str = "listGroups";

impl Error {
    /// The refusal behind a code, with the broker's message or, where it gave none, `what` was asked for.
    pub fn refused(code: i16, message: Option<&str>, what: impl FnOnce() -> String) -> Self {
        let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        let message = message.filter(|text| !text.is_empty()).map_or_else(what, str::to_owned);
        Self::Refused { code, message }
    }

    /// The refusal behind a code, in the broker's words or else in those of Kafka's clients.
    pub fn of_code(code: i16, message: Option<&str>) -> Self {
        Self::refused(code, message, || {
            exception::message(ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)).to_owned()
        })
    }

    /// As Kafka's tools print it: the class of the exception and its message.
    pub fn exception(&self) -> String {
        let code = match self {
            Self::NoAdminClient => {
                return format!(
                    "org.apache.kafka.common.KafkaException: {self}\nCaused by: \
                     org.apache.kafka.common.config.ConfigException: No resolvable bootstrap urls given in bootstrap.servers"
                );
            }
            Self::NoNode { call: LIST_GROUPS } => return format!("org.apache.kafka.common.KafkaException: {self}"),
            Self::Refused { code, .. } => *code,
            Self::Unreachable(_) | Self::Unresolvable(_) | Self::NoNode { .. } | Self::TimedOut { .. } => {
                ErrorCode::RequestTimedOut
            }
            Self::NotServed { .. } => ErrorCode::UnsupportedVersion,
            Self::Broken { .. } => ErrorCode::NetworkException,
            Self::Address(_) | Self::Garbled { .. } | Self::BadRecords { .. } => ErrorCode::UnknownServerError,
        };
        format!("{}: {self}", exception::class(code))
    }

    /// What Kafka's tools print of an error that ends them: its message, and of what is thrown as it is that too.
    pub fn told(&self) -> String {
        match self {
            Self::NoAdminClient => format!("{self}\n{}", self.exception()),
            _ => self.to_string(),
        }
    }

    /// What Kafka's client of this name warns of before it tries again.
    pub fn warning(&self, client: &str) -> String {
        let Self::Unreachable(tried) = self else { return format!("WARN {self}; trying again") };
        let lines = tried.iter().enumerate().map(|(index, (address, _))| {
            // Those that the user named have no numbers yet.
            let node = -1 - index as i64;
            let at = address.as_java_shows_it();
            format!(
                "WARN [{client}] Connection to node {node} ({at}) could not be established. Node may not be available.\n\
                 WARN [{client}] Bootstrap broker {address} (id: {node} rack: null isFenced: false) disconnected"
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The code, where the cluster said no.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same may succeed a little later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Unresolvable(_) | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Address(_)
            | Self::NoAdminClient
            | Self::NoNode { .. }
            | Self::NotServed { .. }
            | Self::Garbled { .. }
            | Self::BadRecords { .. } => false,
        }
    }

    /// An answer from `peer` that could not be decoded.
    pub fn garbled(peer: &Address, error: &DecodeError) -> Self {
        Self::Garbled { peer: peer.clone(), what: error.to_string() }
    }

    /// Records that could not be read.
    pub fn bad_records(topic: &str, partition: i32, error: &impl BadRecords) -> Self {
        Self::BadRecords { partition: format!("{topic}-{partition}"), what: error.to_string() }
    }
}

/// The errors of reading batches.
pub trait BadRecords: fmt::Display {}

impl BadRecords for BatchError {}
impl BadRecords for RecordError {}
impl BadRecords for CompressionError {}
impl BadRecords for &str {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => {
                write!(f, "'{text}' is no address of a broker: give host:port, such as localhost:9092")
            }
            Self::Unreachable(tried) => {
                for (index, (address, error)) in tried.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "; " };
                    write!(f, "{comma}cannot reach {address}: {}", reason(error))?;
                }
                f.write_str(
                    ". Is the broker running there? Check --bootstrap-server, and the broker's advertised.listeners",
                )
            }
            Self::Unresolvable(tried) => {
                let tried: Vec<_> = tried.iter().map(ToString::to_string).collect();
                write!(f, "no name has an address: {}. Check --bootstrap-server", tried.join(", "))
            }
            Self::NoAdminClient => f.write_str("Failed to create new KafkaAdminClient"),
            Self::NoNode { call: LIST_GROUPS } => f.write_str("Failed to find brokers to send ListGroups"),
            Self::NoNode { call } => write!(f, "Timed out waiting for a node assignment. Call: {call}"),
            Self::Broken { peer, error } => write!(f, "the connection to {peer} ended: {}", reason(error)),
            Self::TimedOut { peer, api, timeout } => {
                write!(f, "{peer} did not answer {} within {} ms", api.name(), timeout.as_millis())
            }
            Self::NotServed { peer, api } => {
                write!(f, "the broker at {peer} serves no version of {} that this tool knows", api.name())
            }
            Self::Garbled { peer, what } => {
                write!(f, "the answer from {peer} cannot be read ({what}). Is it a Kafka broker, without TLS?")
            }
            Self::BadRecords { partition, what } => write!(f, "the records of {partition} cannot be read: {what}"),
            Self::Refused { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// What the system says, without its number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by the other side".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed by the other side".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed out".to_owned(),
        _ => error.to_string(),
    }
}
