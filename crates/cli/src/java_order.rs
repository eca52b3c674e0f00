//! The order in which Kafka's tools print what they hold in hash maps. It means nothing, but whoever compares the output of
//! both tools sees the same bytes.

use ottla_base::TopicPartition;

/// The smallest table of a hash map that grows as its entries come.
pub const DEFAULT_CAPACITY: usize = 16;

/// Sorts `items`, the entries of a Java hash map that was made for `capacity` of them, as their iteration gives them. `hash`
/// is the hash of their keys. Those of one bucket stay in the order in which they came.
pub fn sort_as_in_java<T>(items: &mut [T], capacity: usize, hash: impl Fn(&T) -> u32) {
    let table = table_of(capacity, items.len());
    items.sort_by_key(|item| bucket(hash(item), table));
}

/// The same of a hash map whose entries were made by `computeIfAbsent`, in the order of `items`: of one bucket the last comes first.
/// The table grows only where somebody asks for an entry after one too many has come, be it the last one again.
pub fn sort_as_computed_in_java<T>(items: &mut [T], is_last_asked_for_again: bool, hash: impl Fn(&T) -> u32) {
    let seen = items.len().saturating_sub(usize::from(!is_last_asked_for_again));
    let table = table_of(DEFAULT_CAPACITY, seen);
    items.reverse();
    items.sort_by_key(|item| bucket(hash(item), table));
}

/// How many buckets there are for so many entries: a table grows when it is more than three quarters full.
fn table_of(capacity: usize, entries: usize) -> usize {
    let mut table = capacity.next_power_of_two();
    while entries > table * 3 / 4 {
        table *= 2;
    }
    table
}

fn bucket(hash: u32, table: usize) -> usize {
    ((hash ^ (hash >> 16)) as usize) & (table - 1)
}

/// The hash of a Java string, over its UTF-16 units.
pub fn hash_code(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

/// The hash of a partition in Kafka's clients.
pub fn hash_of_partition(partition: &TopicPartition) -> u32 {
    let hash = 31_u32.wrapping_add(partition.partition.0 as u32);
    hash.wrapping_mul(31).wrapping_add(hash_code(&partition.topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_java_strings() {
        assert_eq!(hash_code("my-group") as i32, -1_906_497_762);
        assert_eq!(hash_code("polygenelubricants") as i32, i32::MIN);
        assert_eq!(hash_code("grüppe") as i32, -1_233_264_812);
    }

    #[test]
    fn the_order_is_that_of_kafka_topics() {
        // As kafka-topics.sh printed them.
        let printed = [
            "zeta",
            "p1",
            "q2",
            "q7",
            "nothere",
            "m",
            "gamma-1",
            "q10",
            "a.b",
            "gamma-2",
            "Alpha",
            "x-long-name",
            "__consumer_offsets",
            "beta",
        ];
        let mut names = printed;
        names.sort_unstable();
        let count = names.len();
        sort_as_in_java(&mut names, count, |name| hash_code(name));
        assert_eq!(names, printed);
    }

    #[test]
    fn the_order_is_that_of_kafka_dump_log() {
        // As kafka-dump-log.sh printed them, with one finding in each file and with several.
        for (printed, file, is_asked_again) in [
            ("11 7 6 12 10 9 8 5 4 1 3 2", "index", false),
            ("3 4 1 2 12 9 11 10 6 5 8 7", "timeindex", true),
            ("11 7 6 12 10 13 9 8 5 4 1 3 2", "index", false),
            ("4 2 13 10 6 8 3 1 12 9 11 5 7", "timeindex", true),
            ("11 6 13 8 4 1 3 14 7 12 10 9 5 2", "index", false),
            ("4 2 13 10 6 8 3 1 12 14 9 11 5 7", "timeindex", true),
        ] {
            let mut numbers: Vec<usize> = (1..=printed.split(' ').count()).collect();
            let path = |number: &usize| format!("/tmp/logs/p-{number}/00000000000000000000.{file}");
            sort_as_computed_in_java(&mut numbers, is_asked_again, |number| hash_code(&path(number)));
            assert_eq!(numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), printed, "{file}");
        }
    }

    #[test]
    fn the_order_is_that_of_kafka_consumer_groups() {
        let printed = ["orders-0", "orders-1", "t1-2", "t1-1", "t1-0"];
        let mut partitions: Vec<_> = printed.iter().map(|text| TopicPartition::parse(text).unwrap()).collect();
        partitions.sort_unstable();
        sort_as_in_java(&mut partitions, DEFAULT_CAPACITY, hash_of_partition);
        assert_eq!(partitions.iter().map(ToString::to_string).collect::<Vec<_>>(), printed);
    }
}
