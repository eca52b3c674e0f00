//! A client of the wire protocol for our own tools: one thread, blocking sockets, so that a tool answers at once.
//!
//! Not for applications: no groups, no transactions, no background work, plaintext only.
//!
//! ```text
//! tool -> producer, fetcher -> cluster -> connection -> socket
//! ```

mod address;
mod cluster;
mod connection;
mod error;
mod fetch;
mod partitioner;
mod produce;

pub use address::Address;
pub use cluster::{Cluster, PartitionDescription, TopicDescription, Topics};
pub use connection::Options;
pub use error::Error;
pub use fetch::{Fetcher, FetcherOptions, Incoming, IsolationLevel, OffsetReset, Position};
pub use produce::{Acks, OutgoingHeader, OutgoingRecord, Producer, ProducerOptions, Unwritten};
