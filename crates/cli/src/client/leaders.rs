//! Requests about partitions, each to the partition's leader: one request a leader, all sent before the first answer is
//! waited for.

use std::collections::BTreeMap;

use ottla_base::{PartitionIndex, TopicPartition};
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
/// or has no leader, is not waited for. `send` sends the request for partitions, which come in order; `read` reads its answer.
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
    let mut names: Vec<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
    names.dedup();
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
            Ok(results) => answers.extend(results.into_iter().map(|(partition, result)| {
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

fn leader_of(topics: &[TopicDescription], partition: &TopicPartition) -> Result<i32, ErrorCode> {
    let topic = topics.iter().find(|topic| topic.name == partition.topic);
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if topic.error != ErrorCode::None {
        return Err(topic.error);
    }
    let known = topic.partitions.iter().find(|known| PartitionIndex(known.index) == partition.partition);
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
