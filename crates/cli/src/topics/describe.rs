//! Shows topics: a line for the topic, a line for each of its partitions.
//!
//! ```text
//! Topic: t⇥TopicId: ..⇥PartitionCount: 1⇥ReplicationFactor: 1⇥Configs: a=b,c=d
//! ⇥Topic: t⇥Partition: 0⇥Leader: 1⇥Replicas: 1⇥Isr: 1⇥Elr: ⇥LastKnownElr:
//! ```

use std::collections::BTreeMap;

use ottla_base::Uuid;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, Resource};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResponse;
use ottla_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, Topic as WantedTopic,
};
use ottla_protocol::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponse, Partition as AnsweredPartition,
};
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::list_partition_reassignments_response::ListPartitionReassignmentsResponse;
use ottla_protocol::{ApiKey, ErrorCode, Str};

use super::{Arguments, Failure, existing, say};
use crate::client::{Cluster, Error, TopicDescription, Topics};
use crate::java_order::{DEFAULT_CAPACITY, hash_code, sort_as_in_java};

/// The resource type of topics in requests about settings.
const TOPIC_RESOURCE: i8 = 2;
/// The source of a setting that nobody has set.
const DEFAULT_SOURCE: i8 = 5;
/// How long a broker may take to list reassignments.
const TIMEOUT_MS: i32 = 30_000;
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// A topic as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Its partitions, by number.
    pub partitions: Vec<ShownPartition>,
    /// All its settings, in the order they are shown in.
    pub configs: Vec<ShownConfig>,
}

/// A setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownConfig {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether nobody has set it.
    pub is_default: bool,
}

/// A partition as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownPartition {
    /// Its number.
    pub index: i32,
    /// Its leader.
    pub leader: Option<i32>,
    /// Its replicas.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub in_sync: Vec<i32>,
    /// Replicas that may be elected though they are not in sync; unknown to brokers without KIP-966.
    pub eligible: Option<Vec<i32>>,
    /// The last of these that were known.
    pub last_known_eligible: Option<Vec<i32>>,
    /// Replicas being added and removed, while that is going on.
    pub reassignment: Option<(Vec<i32>, Vec<i32>)>,
}

/// `ottla topics --describe`.
pub fn describe(cluster: &mut Cluster, arguments: &Arguments, out: &mut Vec<u8>) -> Result<(), Failure> {
    let found = match &arguments.topic_id {
        Some(id) => by_id(cluster, id, arguments.if_exists)?,
        None => existing(cluster, arguments)?,
    };
    if found.is_empty() {
        return Ok(());
    }
    let live: Vec<i32> = cluster.live_brokers().collect();
    let mut topics = match &arguments.topic_id {
        // The API for partitions has no ids, and Kafka's tool does not ask it either.
        Some(_) => found.iter().map(Shown::of).collect(),
        None => partitions_of(cluster, &found, arguments.partition_size_limit_per_response)?,
    };
    add_reassignments(cluster, &mut topics)?;
    let mut configs = configs_of(cluster, &topics)?;
    for topic in &mut topics {
        topic.configs = configs.remove(&topic.name).unwrap_or_default();
    }
    let count = topics.len();
    sort_as_in_java(&mut topics, count, |topic| hash_code(&topic.name));
    for topic in &topics {
        show(topic, arguments, &live, out);
    }
    Ok(())
}

/// Shows one topic, or what the filters leave of it.
pub fn show(topic: &Shown, arguments: &Arguments, live: &[i32], out: &mut Vec<u8>) {
    let filtered = arguments.partition_filters().iter().any(|(given, _)| *given);
    let overridden = topic.configs.iter().any(|config| !config.is_default);
    if !filtered && (overridden || !arguments.topics_with_overrides) {
        show_topic(topic, out);
    }
    if arguments.topics_with_overrides {
        return;
    }
    for partition in
        topic.partitions.iter().filter(|partition| !filtered || is_wanted(topic, partition, arguments, live))
    {
        show_partition(&topic.name, partition, out);
    }
}

fn show_topic(topic: &Shown, out: &mut Vec<u8>) {
    let configs: Vec<_> = topic
        .configs
        .iter()
        .filter(|config| !config.is_default)
        .map(|config| format!("{}={}", config.name, config.value))
        .collect();
    let factor = topic.partitions.first().map_or(0, ShownPartition::replication_factor);
    say(
        out,
        &format!(
            "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}",
            topic.name,
            topic.id,
            topic.partitions.len(),
            configs.join(",")
        ),
    );
}

fn show_partition(topic: &str, partition: &ShownPartition, out: &mut Vec<u8>) {
    let or_unknown = |ids: &Option<Vec<i32>>| ids.as_deref().map_or_else(|| "N/A".to_owned(), joined);
    let leader = partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let reassignment = partition.reassignment.as_ref().map_or_else(String::new, |(adding, removing)| {
        format!("\tAdding Replicas: {}\tRemoving Replicas: {}", joined(adding), joined(removing))
    });
    say(
        out,
        &format!(
            "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}{reassignment}\tElr: {}\tLastKnownElr: {}",
            partition.index,
            joined(&partition.replicas),
            joined(&partition.in_sync),
            or_unknown(&partition.eligible),
            or_unknown(&partition.last_known_eligible),
        ),
    );
}

fn is_wanted(topic: &Shown, partition: &ShownPartition, arguments: &Arguments, live: &[i32]) -> bool {
    let in_sync = partition.in_sync.len();
    let minimum = topic.configs.iter().find(|config| config.name == MIN_INSYNC_REPLICAS);
    let minimum = minimum.and_then(|config| config.value.parse().ok()).unwrap_or(1);
    let has_live_leader = partition.leader.is_some_and(|leader| live.contains(&leader));
    (arguments.under_replicated_partitions && in_sync < partition.replication_factor())
        || (arguments.unavailable_partitions && !has_live_leader)
        || (arguments.under_min_isr_partitions && (partition.leader.is_none() || in_sync < minimum))
        || (arguments.at_min_isr_partitions && in_sync == minimum)
}

fn by_id(cluster: &mut Cluster, text: &str, if_exists: bool) -> Result<Vec<TopicDescription>, Failure> {
    let id: Uuid = text.parse().map_err(|error| Failure::Refused(format!("'{text}' is no topic id: {error}")))?;
    let topics = cluster.topics(Topics::Id(id))?;
    let found: Vec<_> = topics.into_iter().filter(|topic| topic.error != ErrorCode::UnknownTopicId).collect();
    if found.is_empty() && !if_exists {
        return Err(Failure::Refused(format!("TopicId '{text}' does not exist as expected")));
    }
    Ok(found)
}

/// The partitions of the topics: by the API made for it (KIP-966), or as the metadata has them.
fn partitions_of(cluster: &mut Cluster, topics: &[TopicDescription], limit: i32) -> Result<Vec<Shown>, Error> {
    let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
    let mut cursor: Option<(String, i32)> = None;
    loop {
        let request = DescribeTopicPartitionsRequest {
            topics: topics.iter().map(|topic| WantedTopic { name: Str::Borrowed(&topic.name) }).collect(),
            response_partition_limit: limit,
            cursor: cursor
                .as_ref()
                .map(|(topic, partition)| Cursor { topic_name: Str::Borrowed(topic), partition_index: *partition }),
        };
        let answer = match cluster.ask(ApiKey::DescribeTopicPartitions, &request) {
            Err(Error::NotServed { .. }) => return Ok(topics.iter().map(Shown::of).collect()),
            answer => answer?,
        };
        let response: DescribeTopicPartitionsResponse<'_> = answer.read()?;
        for topic in &response.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            if topic.error_code != 0 {
                return Err(Error::refused(topic.error_code, None, || format!("Topic '{name}' cannot be described")));
            }
            let known = shown.entry(name.to_owned()).or_insert_with(|| Shown {
                name: name.to_owned(),
                id: topic.topic_id,
                partitions: Vec::new(),
                configs: Vec::new(),
            });
            known.partitions.extend(topic.partitions.iter().map(ShownPartition::of));
        }
        let next = response.next_cursor.map(|next| (next.topic_name.into_owned(), next.partition_index));
        // The topics are in the order of their names, so a cursor that does not move on would never end.
        match next {
            Some(next) if cursor.as_ref().is_none_or(|cursor| *cursor < next) => cursor = Some(next),
            _ => return Ok(shown.into_values().collect()),
        }
    }
}

fn add_reassignments(cluster: &mut Cluster, topics: &mut [Shown]) -> Result<(), Error> {
    let request = ListPartitionReassignmentsRequest { timeout_ms: TIMEOUT_MS, topics: None };
    let answer = match cluster.ask(ApiKey::ListPartitionReassignments, &request) {
        // Then there is nothing to show of them.
        Err(Error::NotServed { .. }) => return Ok(()),
        answer => answer?,
    };
    let response: ListPartitionReassignmentsResponse<'_> = answer.read()?;
    for topic in &response.topics {
        for moving in &topic.partitions {
            let shown =
                topics.iter_mut().filter(|shown| shown.name == topic.name).flat_map(|shown| &mut shown.partitions);
            for partition in shown.filter(|partition| partition.index == moving.partition_index) {
                partition.reassignment = Some((moving.adding_replicas.clone(), moving.removing_replicas.clone()));
            }
        }
    }
    Ok(())
}

/// The settings of the topics, by topic.
fn configs_of(cluster: &mut Cluster, topics: &[Shown]) -> Result<BTreeMap<String, Vec<ShownConfig>>, Error> {
    let resource = |topic: &Shown| Resource {
        resource_type: TOPIC_RESOURCE,
        resource_name: topic.name.clone().into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: topics.iter().map(resource).collect(),
        ..DescribeConfigsRequest::default()
    };
    let answer = match cluster.ask(ApiKey::DescribeConfigs, &request) {
        Err(Error::NotServed { .. }) => return Ok(BTreeMap::new()),
        answer => answer?,
    };
    let response: DescribeConfigsResponse<'_> = answer.read()?;
    let mut by_topic = BTreeMap::new();
    for result in &response.results {
        let name = result.resource_name.to_string();
        if result.error_code != 0 {
            return Err(Error::refused(result.error_code, result.error_message.as_deref(), || {
                format!("The settings of topic '{name}' cannot be read")
            }));
        }
        let mut configs: Vec<_> = result
            .configs
            .iter()
            .map(|config| {
                // The oldest version has a flag instead of a source.
                let is_default = config.config_source == DEFAULT_SOURCE || config.is_default;
                let value = config.value.as_deref().unwrap_or("null");
                ShownConfig { name: config.name.to_string(), value: value.to_owned(), is_default }
            })
            .collect();
        sort_as_in_java(&mut configs, DEFAULT_CAPACITY, |config| hash_code(&config.name));
        by_topic.insert(name, configs);
    }
    Ok(by_topic)
}

impl Shown {
    fn of(topic: &TopicDescription) -> Self {
        let partition = |partition: &crate::client::PartitionDescription| ShownPartition {
            index: partition.index,
            leader: partition.leader,
            replicas: partition.replicas.clone(),
            in_sync: partition.in_sync.clone(),
            ..ShownPartition::default()
        };
        Self {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions.iter().map(partition).collect(),
            configs: Vec::new(),
        }
    }
}

impl ShownPartition {
    fn of(partition: &AnsweredPartition) -> Self {
        Self {
            index: partition.partition_index,
            leader: (partition.leader_id >= 0).then_some(partition.leader_id),
            replicas: partition.replica_nodes.clone(),
            in_sync: partition.isr_nodes.clone(),
            eligible: partition.eligible_leader_replicas.clone(),
            last_known_eligible: partition.last_known_elr.clone(),
            reassignment: None,
        }
    }

    /// How many replicas there are to be, not counting those on their way.
    fn replication_factor(&self) -> usize {
        let adding = self.reassignment.as_ref().map_or(0, |(adding, _)| adding.len());
        self.replicas.len().saturating_sub(adding)
    }
}

fn joined(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
