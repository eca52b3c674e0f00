//! How a group's partitions are given to its members, and what members tell each other for that.
//!
//! Which member assigns is all the same: they give as Kafka's do, or (the sticky ones) by the same rules.

mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ottla_base::TopicPartition;
use ottla_protocol::internal::consumer_protocol::consumer_protocol_assignment::{
    AssignedPartition, ConsumerProtocolAssignment,
};
use ottla_protocol::internal::consumer_protocol::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, OwnedPartition,
};
use ottla_protocol::{DecodeError, Message, Reader, Str, Writer};

use super::by_topic::indexes_by_topic;

/// The version of what members tell each other.
const VERSION: i16 = 3;
/// The generation of one who knows of none.
const NO_GENERATION: i32 = -1;

/// A way to give partitions to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Runs of each topic.
    Range,
    /// One after the other.
    RoundRobin,
    /// As before, where that is fair.
    Sticky,
    /// The same, for members that go on reading while the group rebalances (KIP-429).
    CooperativeSticky,
}

/// All of them, with their names in the protocol and the classes by which Kafka's consumers are told of them.
const ASSIGNORS: [(Assignor, &str, &str); 4] = [
    (Assignor::Range, "range", "org.apache.kafka.clients.consumer.RangeAssignor"),
    (Assignor::RoundRobin, "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor"),
    (Assignor::Sticky, "sticky", "org.apache.kafka.clients.consumer.StickyAssignor"),
    (Assignor::CooperativeSticky, "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"),
];

/// A member, as the one that assigns sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Its id.
    pub id: String,
    /// Its static id.
    pub instance_id: Option<String>,
    /// What it says.
    pub said: Said,
}

/// What a member says when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What it wants to read.
    pub topics: Vec<String>,
    /// What it has, as far as the assignor asks for that.
    pub owned: Vec<TopicPartition>,
    /// Since when it has it.
    pub generation: i32,
}

/// The partitions of each member, in the order of the members.
type Assigned = Vec<Vec<TopicPartition>>;

/// What there is to give, and to whom.
struct Group<'a> {
    /// Static members first, which keep their places while their ids change.
    members: Vec<&'a Said>,
    /// Each topic that somebody wants: its partitions, and who wants it.
    topics: Vec<(&'a str, i32, Vec<usize>)>,
}

impl Group<'_> {
    fn nothing(&self) -> Assigned {
        vec![Vec::new(); self.members.len()]
    }
}

impl Assignor {
    /// The one of this class.
    pub fn of_class(class: &str) -> Option<Self> {
        ASSIGNORS.iter().find(|(_, _, known)| *known == class).map(|(assignor, _, _)| *assignor)
    }

    /// The one of this name in the protocol.
    pub fn of_name(name: &str) -> Option<Self> {
        ASSIGNORS.iter().find(|(_, known, _)| *known == name).map(|(assignor, _, _)| *assignor)
    }

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        ASSIGNORS.iter().find(|(assignor, _, _)| *assignor == self).map(|(_, name, _)| *name).expect("all are listed")
    }

    /// Whether members keep their partitions while they join.
    pub fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Gives each member its partitions. `counts` are the numbers of partitions of the topics that are there.
    pub fn assign(
        self,
        subscribers: &[Subscriber],
        counts: &BTreeMap<String, i32>,
    ) -> BTreeMap<String, Vec<TopicPartition>> {
        let mut members: Vec<&Subscriber> = subscribers.iter().collect();
        members.sort_by_key(|member| (member.instance_id.is_none(), member.instance_id.as_deref(), member.id.as_str()));
        let readers = |topic: &String| -> Vec<usize> {
            (0..members.len()).filter(|number| members[*number].said.topics.contains(topic)).collect()
        };
        let topics = counts.iter().map(|(topic, count)| (topic.as_str(), *count, readers(topic)));
        let group = Group {
            members: members.iter().map(|member| &member.said).collect(),
            topics: topics.filter(|(_, _, readers)| !readers.is_empty()).collect(),
        };
        let assigned = match self {
            Self::Range => range::assign(&group),
            Self::RoundRobin => round_robin::assign(&group),
            Self::Sticky => sticky::assign(&group),
            Self::CooperativeSticky => sticky::hold_back(&group, sticky::assign(&group)),
        };
        members.into_iter().map(|member| member.id.clone()).zip(assigned).collect()
    }

    /// What a member says when it joins. What it has is told where the assignor asks for it: for the sticky one what it had
    /// before, for it has given that up.
    pub fn write_subscription(self, said: &Said) -> Vec<u8> {
        let subscription = ConsumerProtocolSubscription {
            topics: said.topics.iter().map(|topic| Str::Borrowed(topic.as_str())).collect(),
            user_data: match self {
                Self::Range | Self::RoundRobin => None,
                Self::Sticky => Some(write_sticky(said).into()),
                Self::CooperativeSticky => Some(said.generation.to_be_bytes().to_vec().into()),
            },
            owned_partitions: if self.is_cooperative() {
                let owned = indexes_by_topic(&said.owned).into_iter();
                owned.map(|(topic, partitions)| OwnedPartition { topic: Str::Borrowed(topic), partitions }).collect()
            } else {
                Vec::new()
            },
            generation_id: said.generation,
            rack_id: None,
        };
        let mut writer = Writer::default();
        writer.int16(VERSION);
        subscription.encode(&mut writer, VERSION);
        writer.into_bytes()
    }

    /// Reads what a member says. Newer versions have what we know of them in front.
    pub fn read_subscription(self, bytes: &[u8]) -> Result<Said, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.int16()?.clamp(0, VERSION);
        let subscription = ConsumerProtocolSubscription::decode(&mut reader, version)?;
        let topics = subscription.topics.iter().map(ToString::to_string).collect();
        let user_data = subscription.user_data.as_deref().filter(|data| !data.is_empty());
        let nothing = Said { topics, owned: Vec::new(), generation: NO_GENERATION };
        match self {
            Self::Range | Self::RoundRobin => Ok(nothing),
            Self::Sticky => match user_data {
                Some(data) => read_sticky(data).map(|(owned, generation)| Said { owned, generation, ..nothing }),
                None => Ok(nothing),
            },
            Self::CooperativeSticky => {
                let owned = subscription.owned_partitions.iter();
                let owned =
                    owned.flat_map(|of| of.partitions.iter().map(|index| TopicPartition::new(&*of.topic, *index)));
                // Before version 2 of the subscription it is there alone.
                let older = || Reader::new(user_data?).int32().ok();
                let generation = Some(subscription.generation_id).filter(|known| *known >= 0).or_else(older);
                Ok(Said { owned: owned.collect(), generation: generation.unwrap_or(NO_GENERATION), ..nothing })
            }
        }
    }
}

/// What members of Kafka's sticky assignor say beside their topics: `[topic [partition]] generation`.
fn write_sticky(said: &Said) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(false, &indexes_by_topic(&said.owned), |writer, (topic, partitions)| {
        writer.string(topic, false);
        writer.array(false, partitions, |writer, partition| writer.int32(*partition));
    });
    writer.int32(said.generation);
    writer.into_bytes()
}

/// Reads it; the oldest have no generation.
fn read_sticky(bytes: &[u8]) -> Result<(Vec<TopicPartition>, i32), DecodeError> {
    let mut reader = Reader::new(bytes);
    let topics = reader.array(false, 6, |reader| {
        let topic = reader.string(false)?;
        let partitions = reader.array(false, 4, Reader::int32)?;
        Ok(partitions.into_iter().map(|index| TopicPartition::new(&*topic, index)).collect::<Vec<_>>())
    })?;
    Ok((topics.into_iter().flatten().collect(), reader.int32().unwrap_or(NO_GENERATION)))
}

/// What a member is given.
pub fn write_assignment(partitions: &[TopicPartition]) -> Vec<u8> {
    let topics = indexes_by_topic(partitions).into_iter();
    let topics = topics.map(|(topic, partitions)| AssignedPartition { topic: Str::Borrowed(topic), partitions });
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
