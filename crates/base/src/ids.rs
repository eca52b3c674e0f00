//! Ids, offsets and epochs, each its own type, so that one cannot be passed for another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// The position of a record in its partition, counted from 0.
    Offset(i64)
}
number! {
    /// Which leadership of a partition wrote a batch; grows by one at each change of leader.
    LeaderEpoch(i32)
}
number! {
    /// Which version of a partition's metadata a broker has seen; grows by one at each change record.
    PartitionEpoch(i32)
}
number! {
    /// A node's `node.id`.
    BrokerId(i32)
}
number! {
    /// The metadata offset of a broker's registration: tells one life of a broker from the next.
    BrokerEpoch(i64)
}
number! {
    /// Given by the controller to an idempotent or transactional producer.
    ProducerId(i64)
}
number! {
    /// Which incarnation of a producer id wrote a batch; older ones are fenced.
    ProducerEpoch(i16)
}
number! {
    /// The number of a partition in its topic, counted from 0.
    PartitionIndex(i32)
}

impl Offset {
    /// The offset `count` records further on.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl LeaderEpoch {
    /// Written where no epoch is known.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// Written in batches of producers that are not idempotent.
    pub const NONE: Self = Self(-1);
}

/// One partition, by the name of its topic. Printed as `topic-0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition in it.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition: PartitionIndex(partition) }
    }

    /// Reads `topic-0` back; a topic's name may hold dashes, so the last one divides.
    pub fn parse(text: &str) -> Option<Self> {
        let (topic, partition) = text.rsplit_once('-')?;
        let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
        (digits && !topic.is_empty())
            .then(|| partition.parse().ok())
            .flatten()
            .map(|index: i32| Self::new(topic, index))
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_partition_is_divided_at_its_last_dash() {
        let parsed = TopicPartition::parse("web-log-12").expect("well formed");
        assert_eq!(parsed, TopicPartition::new("web-log", 12));
        assert_eq!(parsed.to_string(), "web-log-12");
        for bad in ["", "t", "t-", "-1", "t-x", "t--", "t-99999999999"] {
            assert!(TopicPartition::parse(bad).is_none(), "{bad}");
        }
    }
}
