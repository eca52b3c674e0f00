//! Creating, altering and deleting topics.

use ottla_protocol::messages::create_partitions_request::{
    Assignment as NewAssignment, CreatePartitionsRequest, Topic as GrownTopic,
};
use ottla_protocol::messages::create_partitions_response::CreatePartitionsResponse;
use ottla_protocol::messages::create_topics_request::{Assignment, Config, CreateTopicsRequest, Topic as NewTopic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicsRequest, Topic as DeletedTopic};
use ottla_protocol::messages::delete_topics_response::DeleteTopicsResponse;
use ottla_protocol::{ApiKey, ErrorCode, Str};

use super::{Arguments, Failure, existing, say};
use crate::client::{Cluster, Error};

/// How long a broker may take for a change.
const TIMEOUT_MS: i32 = 30_000;
/// "As many as the cluster's default says."
const DEFAULT_COUNT: i16 = -1;

/// A topic to create.
#[derive(Debug)]
pub struct Creation {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    assignment: Vec<Vec<i32>>,
    configs: Vec<(String, String)>,
}

impl Creation {
    /// Reads the arguments, and refuses what no broker needs to be asked about.
    pub fn from(arguments: &Arguments) -> Result<Self, Failure> {
        let refuse = |message: &str| Err(Failure::Refused(message.to_owned()));
        let mut configs = Vec::new();
        for config in &arguments.config {
            let Some((name, value)) = config.split_once('=') else {
                return refuse(
                    "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
                );
            };
            configs.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        if arguments.partitions.is_some_and(|count| count < 1) {
            return refuse("The partitions must be greater than 0");
        }
        if arguments.replication_factor.is_some_and(|count| count < 1) {
            return refuse("The replication factor must be between 1 and 32767 inclusive");
        }
        let assignment = arguments.replica_assignment.as_deref().map(parse_assignment).transpose();
        Ok(Self {
            name: arguments.topic.clone().expect("it has been checked that it is there"),
            partitions: arguments.partitions,
            replication_factor: arguments.replication_factor,
            assignment: assignment.map_err(Failure::Refused)?.unwrap_or_default(),
            configs,
        })
    }

    /// Says what may come of a name with a period or an underscore.
    pub fn warn_of_collisions(&self, out: &mut Vec<u8>) {
        if self.name.contains(['.', '_']) {
            say(
                out,
                "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
                 collide. To avoid issues it is best to use either, but not both.",
            );
        }
    }
}

/// `ottla topics --create`.
pub fn create(
    cluster: &mut Cluster,
    creation: &Creation,
    if_not_exists: bool,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let assignments: Vec<_> = (0..)
        .zip(&creation.assignment)
        .map(|(partition_index, brokers)| Assignment { partition_index, broker_ids: brokers.clone() })
        .collect();
    let config =
        |(name, value): &(String, String)| Config { name: name.clone().into(), value: Some(value.clone().into()) };
    let topic = NewTopic {
        name: Str::Borrowed(&creation.name),
        num_partitions: creation.partitions.unwrap_or(i32::from(DEFAULT_COUNT)),
        replication_factor: creation.replication_factor.unwrap_or(DEFAULT_COUNT),
        assignments,
        configs: creation.configs.iter().map(config).collect(),
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, validate_only: false };
    let answer = cluster.ask(ApiKey::CreateTopics, &request)?;
    let response: CreateTopicsResponse<'_> = answer.read()?;
    for topic in &response.topics {
        if if_not_exists && topic.error_code == ErrorCode::TopicAlreadyExists.code() {
            return Ok(());
        }
        refuse_unless_ok(topic.error_code, topic.error_message.as_deref(), &topic.name)?;
    }
    say(out, &format!("Created topic {}.", creation.name));
    Ok(())
}

/// `ottla topics --alter`.
pub fn alter(cluster: &mut Cluster, arguments: &Arguments) -> Result<(), Failure> {
    let count = arguments.partitions.expect("it has been checked that it is there");
    let assignment = arguments.replica_assignment.as_deref().map(parse_assignment).transpose();
    let assignment = assignment.map_err(Failure::Refused)?;
    let topics = existing(cluster, arguments)?;
    if topics.is_empty() {
        return Ok(());
    }
    let grown = topics.iter().map(|topic| {
        // The assignment names all partitions, the request only those that are new.
        let new = |all: &Vec<Vec<i32>>| {
            let new = all.iter().skip(topic.partitions.len());
            new.map(|brokers| NewAssignment { broker_ids: brokers.clone() }).collect()
        };
        GrownTopic { name: Str::Borrowed(&topic.name), count, assignments: assignment.as_ref().map(new) }
    });
    let request = CreatePartitionsRequest { topics: grown.collect(), timeout_ms: TIMEOUT_MS, validate_only: false };
    let answer = cluster.ask(ApiKey::CreatePartitions, &request)?;
    let response: CreatePartitionsResponse<'_> = answer.read()?;
    for result in &response.results {
        refuse_unless_ok(result.error_code, result.error_message.as_deref(), &result.name)?;
    }
    Ok(())
}

/// `ottla topics --delete`.
pub fn delete(cluster: &mut Cluster, arguments: &Arguments) -> Result<(), Failure> {
    let topics = existing(cluster, arguments)?;
    if topics.is_empty() {
        return Ok(());
    }
    // By name, in the place that the version has for names.
    let named = |name| DeletedTopic { name: Some(Str::Borrowed(name)), ..DeletedTopic::default() };
    let request = DeleteTopicsRequest {
        topics: topics.iter().map(|topic| named(topic.name.as_str())).collect(),
        topic_names: topics.iter().map(|topic| Str::Borrowed(topic.name.as_str())).collect(),
        timeout_ms: TIMEOUT_MS,
    };
    let answer = cluster.ask(ApiKey::DeleteTopics, &request)?;
    let response: DeleteTopicsResponse<'_> = answer.read()?;
    for topic in &response.responses {
        let name = topic.name.as_deref().unwrap_or_default();
        refuse_unless_ok(topic.error_code, topic.error_message.as_deref(), name)?;
    }
    Ok(())
}

/// Reads `1:2,2:3`: the brokers of each partition.
pub fn parse_assignment(text: &str) -> Result<Vec<Vec<i32>>, String> {
    let mut assignment: Vec<Vec<i32>> = Vec::new();
    for (partition, brokers) in text.split(',').enumerate() {
        let mut replicas = Vec::new();
        for broker in brokers.split(':') {
            let broker = broker.trim();
            let id = broker.parse().map_err(|_| format!("For input string: \"{broker}\""))?;
            if replicas.contains(&id) {
                return Err(format!("Partition replica lists may not contain duplicate entries: {id}"));
            }
            replicas.push(id);
        }
        if assignment.first().is_some_and(|first| first.len() != replicas.len()) {
            return Err(format!("Partition {partition} has different replication factor: {replicas:?}"));
        }
        assignment.push(replicas);
    }
    Ok(assignment)
}

fn refuse_unless_ok(code: i16, message: Option<&str>, topic: &str) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    let name = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError).name();
    Err(Error::refused(code, message, || format!("Topic '{topic}': the broker answered {name}.")))
}
