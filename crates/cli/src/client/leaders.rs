//! Requests about partitions, each to the partition's leader: one request a leader, all sent before the first answer is
//! waited for.

use std::collections::{BTreeMap, BTreeSet};

use ottla_base::TopicPartition;
use ottla_protocol::ErrorCode;

use super::connection::Answer;
use super::retry::Patience;
use super::{Cluster, Connection, Error, TopicDescription, Topics};

/// What became of each partition.
pub type ByPartition<T> = BTreeMap<TopicPartition, Result<T, Error>>;

/// What a partition answered, and whether another answer may come if it is asked again.
struct Answered<T> {
    partition: TopicPartition,
    result: Result<T, Error>,
    may_change: bool,
}

/// Asks the leaders of `partitions`, and again until the request timeout is over where they cannot say now. What is not there,
/// or has no leader, is not waited for. `send` sends the request for partitions; `read` reads its answer.
pub fn on_leaders<T>(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    mut send: impl FnMut(&mut Connection, &[TopicPartition]) -> Result<(), Error>,
    mut read: impl FnMut(&Answer) -> Result<ByPartition<T>, Error>,
) -> Result<ByPartition<T>, Error> {
    let mut results = BTreeMap::new();
    let mut pending = partitions.to_vec();
    pending.sort_unstable();
    let mut patience = Patience::new(cluster.request_timeout());
    while !pending.is_empty() {
        let mut again = Vec::new();
        for answered in ask_once(cluster, &pending, &mut send, &mut read)? {
            if answered.may_change && patience.is_left() {
                again.push(answered.partition);
            } else {
                results.insert(answered.partition, answered.result);
            }
        }
        pending = again;
        if !pending.is_empty() {
            patience.wait();
        }
    }
    Ok(results)
}

fn ask_once<T>(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    send: &mut impl FnMut(&mut Connection, &[TopicPartition]) -> Result<(), Error>,
    read: &mut impl FnMut(&Answer) -> Result<ByPartition<T>, Error>,
) -> Result<Vec<Answered<T>>, Error> {
    let names: BTreeSet<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let topics = cluster.topics(Topics::Named { names: &names, create: false })?;
    let mut answers = Vec::new();
    let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
    for partition in partitions.iter().cloned() {
        match leader_of(&topics, &partition) {
            Ok(leader) => by_leader.entry(leader).or_default().push(partition),
            Err(code) => {
                let result = Err(Error::of_code(code.code(), None));
                answers.push(Answered { partition, result, may_change: false });
            }
        }
    }
    let mut due = Vec::new();
    for (leader, asked) in by_leader {
        let sent = cluster.broker(leader).and_then(|connection| send(connection, &asked));
        due.push((leader, asked, sent));
    }
    for (leader, asked, sent) in due {
        let answer = sent.and_then(|()| cluster.broker(leader)?.receive()).and_then(|answer| read(&answer));
        match answer {
            Ok(mut results) => answers.extend(asked.into_iter().map(|partition| {
                let result = results.remove(&partition).unwrap_or_else(|| Err(left_out(leader, &partition)));
                let may_change = result.as_ref().is_err_and(Error::is_retriable);
                Answered { partition, result, may_change }
            })),
            Err(error) => {
                cluster.drop_broker(leader);
                answers.extend(asked.into_iter().map(|partition| Answered::failed(partition, &error)));
            }
        }
    }
    Ok(answers)
}

/// In Kafka's words.
fn left_out(leader: i32, partition: &TopicPartition) -> Error {
    let message = format!("The response from broker {leader} did not contain a result for topic partition {partition}");
    Error::Refused { code: ErrorCode::UnknownServerError, message }
}

fn leader_of(topics: &[TopicDescription], partition: &TopicPartition) -> Result<i32, ErrorCode> {
    let topic = TopicDescription::of_name(topics, &partition.topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if topic.error != ErrorCode::None {
        return Err(topic.error);
    }
    let known = topic.partition(partition.partition.0);
    known.ok_or(ErrorCode::UnknownTopicOrPartition)?.leader.ok_or(ErrorCode::LeaderNotAvailable)
}

impl<T> Answered<T> {
    /// The leader gave no answer.
    fn failed(partition: TopicPartition, error: &Error) -> Self {
        let may_change = error.is_retriable();
        let passing = may_change.then_some(ErrorCode::NetworkException);
        let code = passing.or(error.code()).unwrap_or(ErrorCode::UnsupportedVersion);
        Self { partition, result: Err(Error::Refused { code, message: error.to_string() }), may_change }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use ottla_protocol::messages::list_offsets_response::{ListOffsetsResponse, Partition, Topic};
    use ottla_protocol::{ApiKey, Message};

    use super::*;
    use crate::client::fake::FakeBroker;
    use crate::client::offsets;

    #[test]
    fn what_a_leader_leaves_out_of_its_answer_is_told() {
        let broker = FakeBroker::start(&[ApiKey::ListOffsets], |_, version, _, writer| {
            let partitions = vec![Partition { partition_index: 1, offset: 7, ..Partition::default() }];
            let topics = vec![Topic { name: "t".into(), partitions }];
            ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }.encode(writer, version);
            true
        });
        let asked = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let found = offsets::list(&mut broker.connect(), &asked, offsets::LATEST).unwrap();
        let shown = found.into_iter().map(|(partition, offset)| match offset {
            Ok(offset) => format!("{partition}: {offset:?}"),
            Err(error) => format!("{partition}: {error}"),
        });
        expect![[r#"
            t-0: The response from broker 1 did not contain a result for topic partition t-0
            t-1: Some(7)"#]]
        .assert_eq(&shown.collect::<Vec<_>>().join("\n"));
    }
}
