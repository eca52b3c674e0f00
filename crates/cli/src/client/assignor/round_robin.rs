//! The round-robin assignor: the partitions of all topics go around, each to the next member that reads its topic.

use ottla_base::TopicPartition;

use super::{Assigned, Group};

/// Gives each member its partitions.
pub fn assign(group: &Group<'_>) -> Assigned {
    let mut assigned = group.nothing();
    let mut next = 0;
    for (topic, count, readers) in &group.topics {
        for index in 0..*count {
            while !readers.contains(&next) {
                next = (next + 1) % assigned.len();
            }
            assigned[next].push(TopicPartition::new(*topic, index));
            next = (next + 1) % assigned.len();
        }
    }
    assigned
}
