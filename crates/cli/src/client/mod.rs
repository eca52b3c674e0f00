//! A client of the wire protocol for our own tools: one thread, blocking sockets, so that a tool answers at once.
//!
//! Not for applications: no transactions, plaintext only, and of groups only what a console consumer needs.
//!
//! ```text
//! tool -> producer, fetcher, groups, offsets -> cluster -> connection -> socket
//! ```

mod address;
mod assignor;
mod by_topic;
mod cluster;
mod connection;
mod error;
pub mod exception;
#[cfg(test)]
mod fake;
mod fetch;
pub mod group_offsets;
pub mod groups;
mod heartbeats;
pub mod leaders;
mod member;
pub mod offsets;
mod partitioner;
mod produce;
mod retry;

pub use address::Address;
pub use assignor::Assignor;
pub use by_topic::by_topic;
pub use cluster::{Cluster, Endpoint, PartitionDescription, TopicDescription, Topics};
pub use connection::{Answer, Connection, Options};
pub use error::{Error, LIST_GROUPS};
pub use fetch::{Fetcher, FetcherOptions, Incoming, IsolationLevel, OffsetReset, Position};
pub use member::{Member, MemberOptions, Standing};
pub use produce::{Acks, OutgoingHeader, OutgoingRecord, Producer, ProducerOptions, Unwritten};
