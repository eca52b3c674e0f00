//! The range assignor: of each topic every member gets a run of partitions, the first members one more where they do not
//! come out even. As in Kafka's, so that it does not matter which member assigns.

use std::collections::BTreeMap;

use ottla_base::TopicPartition;
use ottla_protocol::internal::consumer_protocol::consumer_protocol_assignment::{
    AssignedPartition, ConsumerProtocolAssignment,
};
use ottla_protocol::internal::consumer_protocol::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ottla_protocol::{DecodeError, Message, Reader, Str, Writer};

/// Its name in the protocol.
pub const RANGE: &str = "range";
/// The version of what members tell each other.
const VERSION: i16 = 3;

/// A member, as the one that assigns sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Its id.
    pub id: String,
    /// Its static id.
    pub instance_id: Option<String>,
    /// What it wants to read.
    pub topics: Vec<String>,
}

/// Gives each member its partitions. `counts` are the numbers of partitions of the topics that are there.
pub fn assign(subscribers: &[Subscriber], counts: &BTreeMap<String, i32>) -> BTreeMap<String, Vec<TopicPartition>> {
    let mut members: Vec<&Subscriber> = subscribers.iter().collect();
    // Static members come first, and keep their places while their ids change.
    members.sort_by_key(|member| (member.instance_id.is_none(), member.instance_id.as_deref(), member.id.as_str()));
    let mut assigned: BTreeMap<String, Vec<TopicPartition>> =
        members.iter().map(|member| (member.id.clone(), Vec::new())).collect();
    for (topic, count) in counts {
        let readers: Vec<_> = members.iter().filter(|member| member.topics.contains(topic)).collect();
        let members = readers.len() as i32;
        let mut next = 0;
        for (index, reader) in (0..).zip(readers) {
            let share = count / members + i32::from(index < count % members);
            let partitions = (next..next + share).map(|index| TopicPartition::new(topic.as_str(), index));
            assigned.entry(reader.id.clone()).or_default().extend(partitions);
            next += share;
        }
        assert!(members == 0 || next == *count, "every partition has one reader, where there are any");
    }
    assigned
}

/// What a member says when it joins.
pub fn write_subscription(topics: &[String]) -> Vec<u8> {
    let topics = topics.iter().map(|topic| Str::Borrowed(topic.as_str())).collect();
    let subscription = ConsumerProtocolSubscription { topics, ..ConsumerProtocolSubscription::default() };
    let mut writer = Writer::default();
    writer.int16(VERSION);
    subscription.encode(&mut writer, VERSION);
    writer.into_bytes()
}

/// The topics that a member wants. Newer versions have what we know of them in front.
pub fn read_subscription(bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.int16()?.clamp(0, VERSION);
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, version)?;
    Ok(subscription.topics.iter().map(ToString::to_string).collect())
}

/// What a member is given.
pub fn write_assignment(partitions: &[TopicPartition]) -> Vec<u8> {
    let topics = partitions.chunk_by(|one, other| one.topic == other.topic).map(|of_topic| AssignedPartition {
        topic: Str::Borrowed(&of_topic[0].topic),
        partitions: of_topic.iter().map(|of| of.partition.0).collect(),
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: topics.collect(), user_data: None };
    let mut writer = Writer::default();
    writer.int16(VERSION);
    assignment.encode(&mut writer, VERSION);
    writer.into_bytes()
}

/// Reads what a member was given.
pub fn read_assignment(bytes: &[u8]) -> Result<Vec<TopicPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(bytes);
    let version = reader.int16()?.clamp(0, VERSION);
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, version)?;
    let topics = assignment.assigned_partitions.iter();
    Ok(topics
        .flat_map(|topic| topic.partitions.iter().map(|index| TopicPartition::new(&*topic.topic, *index)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(members: &[(&str, Option<&str>, &[&str])], counts: &[(&str, i32)], expected: &[(&str, &str)]) {
        let subscriber = |(id, instance_id, topics): &(&str, Option<&str>, &[&str])| Subscriber {
            id: (*id).to_owned(),
            instance_id: instance_id.map(str::to_owned),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        };
        let members: Vec<_> = members.iter().map(subscriber).collect();
        let counts = counts.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
        let assigned = assign(&members, &counts);
        let shown: Vec<_> = assigned
            .iter()
            .map(|(id, partitions)| {
                let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
                (id.as_str(), partitions.join(" "))
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(id, text)| (*id, (*text).to_owned())).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_topic_is_cut_into_runs() {
        check(
            &[("b", None, &["t", "u"]), ("a", None, &["t", "u"])],
            &[("t", 3), ("u", 2)],
            &[("a", "t-0 t-1 u-0"), ("b", "t-2 u-1")],
        );
        check(&[("a", None, &["t"]), ("b", None, &["t"])], &[("t", 1)], &[("a", "t-0"), ("b", "")]);
        check(&[("a", None, &["t"]), ("b", None, &["u"])], &[("t", 1), ("u", 2)], &[("a", "t-0"), ("b", "u-0 u-1")]);
        check(&[("a", None, &["gone"])], &[], &[("a", "")]);
    }

    #[test]
    fn static_members_come_first() {
        check(
            &[("a", None, &["t"]), ("z", Some("1"), &["t"]), ("y", Some("2"), &["t"])],
            &[("t", 4)],
            &[("a", "t-3"), ("y", "t-2"), ("z", "t-0 t-1")],
        );
    }

    #[test]
    fn what_members_tell_each_other_is_read_back() {
        let topics = ["t".to_owned(), "u".to_owned()];
        assert_eq!(read_subscription(&write_subscription(&topics)).unwrap(), topics);
        let partitions = [TopicPartition::new("t", 1), TopicPartition::new("t", 2), TopicPartition::new("u", 0)];
        assert_eq!(read_assignment(&write_assignment(&partitions)).unwrap(), partitions);
        assert_eq!(read_assignment(&[]).unwrap(), []);
    }
}
