//! The words every other crate speaks: ids, offsets, epochs, instants, seeded randomness, and the shape of a machine
//! that is decided by records.
//!
//! Nothing here knows the wire, the disk or the clock.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod ids;
mod random;
mod shard;
mod time;
mod uuid;

pub use ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch, ProducerId,
    TopicPartition,
};
pub use random::Random;
pub use shard::{Outcome, Shard};
pub use time::{Now, Timestamp};
pub use uuid::{ParseUuidError, Uuid};
