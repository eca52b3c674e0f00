//! The range assignor: of each topic every member gets a run of partitions, the first members one more where they do not
//! come out even.

use ottla_base::TopicPartition;

use super::{Assigned, Group};

/// Gives each member its partitions.
pub fn assign(group: &Group<'_>) -> Assigned {
    let mut assigned = group.nothing();
    for (topic, count, readers) in &group.topics {
        let members = readers.len() as i32;
        let mut next = 0;
        for (index, reader) in (0..).zip(readers) {
            let share = count / members + i32::from(index < count % members);
            assigned[*reader].extend((next..next + share).map(|index| TopicPartition::new(*topic, index)));
            next += share;
        }
        assert_eq!(next, *count, "every partition has one reader");
    }
    assigned
}
