//! What is asked of partitions, gathered by topic, as requests have it.

use std::collections::BTreeMap;

use ottla_base::TopicPartition;

/// All that is asked of each topic, in the order in which topics come first.
pub fn by_topic<'t, T>(asked: impl IntoIterator<Item = (&'t str, T)>) -> Vec<(&'t str, Vec<T>)> {
    let mut topics: Vec<(&str, Vec<T>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (topic, of_partition) in asked {
        let place = *places.entry(topic).or_insert(topics.len());
        match topics.get_mut(place) {
            Some((_, partitions)) => partitions.push(of_partition),
            None => topics.push((topic, vec![of_partition])),
        }
    }
    topics
}

/// The numbers of the partitions of each topic.
pub fn indexes_by_topic(partitions: &[TopicPartition]) -> Vec<(&str, Vec<i32>)> {
    by_topic(partitions.iter().map(|of| (of.topic.as_str(), of.partition.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_comes_once() {
        let asked = [("u", 1), ("t", 2), ("u", 3), ("t", 2)];
        assert_eq!(by_topic(asked), [("u", vec![1, 3]), ("t", vec![2, 2])]);
        assert!(by_topic::<()>([]).is_empty());
    }
}
