//! The words every other crate speaks: ids, offsets, epochs, instants, seeded randomness, the shape of a machine that is
//! decided by records, and the map that machines decide on copies of.
//!
//! Nothing here knows the wire, the disk or the clock.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod ids;
mod random;
mod shard;
mod shared_map;
mod time;
mod uuid;

pub use ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch, ProducerId,
    TopicPartition,
};
pub use random::Random;
pub use shard::{Outcome, Shard};
pub use shared_map::{Change, SharedMap};
pub use time::{Now, Timestamp};
pub use uuid::{ParseUuidError, Uuid};
