//! The results, partition by partition, of what is refused here in part and put to a coordinator in part.
//!
//! As in Kafka, what is refused stands in front, and topics that are named twice become one where anything is refused; a topic
//! of which nothing is left to be said is not in the answer.

use std::collections::HashMap;

use ottla_base::Uuid;
use ottla_protocol::error::ErrorCode;

/// What the request calls a topic: its name, its id, or both.
type Key<'a> = (&'a str, Uuid);

/// The results in the making.
#[derive(Default)]
pub struct TopicResults<'a> {
    refused: Vec<TopicResult>,
    places: HashMap<Key<'a>, usize>,
    asked: Vec<(Key<'a>, Vec<i32>)>,
}

/// What is said of a topic.
#[derive(Debug, PartialEq)]
pub struct TopicResult {
    /// As it was asked.
    pub name: String,
    /// As it was asked.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: Vec<(i32, ErrorCode)>,
}

/// The results, of which the coordinator still has to give some.
pub struct Unfinished {
    topics: Vec<TopicResult>,
    /// Where the coordinator's results belong, in the order in which it was asked.
    places: Vec<(usize, usize)>,
}

impl<'a> TopicResults<'a> {
    /// Refuses partitions of a topic, which is in the answer even where there are none.
    pub fn refuse(&mut self, topic: Key<'a>, partitions: impl IntoIterator<Item = i32>, code: ErrorCode) {
        let refused = self.topic(topic);
        refused.partitions.extend(partitions.into_iter().map(|partition| (partition, code)));
    }

    /// Leaves partitions of a topic to the coordinator, if there are any.
    pub fn ask(&mut self, topic: Key<'a>, partitions: Vec<i32>) {
        if !partitions.is_empty() {
            self.asked.push((topic, partitions));
        }
    }

    /// Puts them in their order, once all are known.
    pub fn finish(mut self) -> Unfinished {
        let mut places = Vec::new();
        let merges = !self.refused.is_empty();
        for (topic, partitions) in std::mem::take(&mut self.asked) {
            let at = if merges { self.place(topic) } else { self.push(topic) };
            let results = &mut self.refused[at].partitions;
            for partition in partitions {
                places.push((at, results.len()));
                results.push((partition, ErrorCode::None));
            }
        }
        Unfinished { topics: self.refused, places }
    }

    fn topic(&mut self, topic: Key<'a>) -> &mut TopicResult {
        let at = self.place(topic);
        &mut self.refused[at]
    }

    fn place(&mut self, topic: Key<'a>) -> usize {
        if let Some(at) = self.places.get(&topic) {
            return *at;
        }
        let at = self.push(topic);
        self.places.insert(topic, at);
        at
    }

    fn push(&mut self, (name, id): Key<'a>) -> usize {
        self.refused.push(TopicResult { name: name.to_owned(), id, partitions: Vec::new() });
        self.refused.len() - 1
    }
}

impl Unfinished {
    /// How many results the coordinator gives.
    pub fn asked(&self) -> usize {
        self.places.len()
    }

    /// With the coordinator's results.
    ///
    /// # Panics
    /// Where these are not as many as were asked for.
    pub fn with(mut self, codes: &[ErrorCode]) -> Vec<TopicResult> {
        assert_eq!(self.places.len(), codes.len(), "one result a partition");
        for ((topic, partition), code) in self.places.into_iter().zip(codes) {
            self.topics[topic].partitions[partition].1 = *code;
        }
        self.topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(results: &[TopicResult]) -> String {
        let topics = results.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|(partition, code)| format!("{partition}={}", code.code()));
            format!("{}[{}]", topic.name, partitions.collect::<Vec<_>>().join(" "))
        });
        topics.collect::<Vec<_>>().join(" ")
    }

    const CODES: [ErrorCode; 3] = [ErrorCode::None, ErrorCode::OffsetMetadataTooLarge, ErrorCode::None];

    #[test]
    fn what_is_refused_stands_in_front_and_topics_are_there_once() {
        let mut results = TopicResults::default();
        results.ask(("t", Uuid::ZERO), vec![0, 2]);
        results.refuse(("t", Uuid::ZERO), [1], ErrorCode::UnknownTopicOrPartition);
        results.ask(("empty", Uuid::ZERO), vec![]);
        results.refuse(("unknown", Uuid::ZERO), [], ErrorCode::UnknownTopicOrPartition);
        results.ask(("t", Uuid::ZERO), vec![3]);
        results.refuse(("unknown", Uuid::ZERO), [5], ErrorCode::UnknownTopicOrPartition);
        let results = results.finish();
        assert_eq!(results.asked(), 3);
        assert_eq!(text(&results.with(&CODES)), "t[1=3 0=0 2=12 3=0] unknown[5=3]");
    }

    #[test]
    fn where_nothing_is_refused_topics_stand_as_they_were_asked() {
        let mut results = TopicResults::default();
        results.ask(("t", Uuid::ZERO), vec![0]);
        results.ask(("u", Uuid::ZERO), vec![1]);
        results.ask(("t", Uuid::ZERO), vec![2]);
        assert_eq!(text(&results.finish().with(&CODES)), "t[0=0] u[1=12] t[2=0]");
    }
}
