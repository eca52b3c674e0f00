//! ListPartitionReassignments (key 46, version 0, KIP-455): partitions that are on their way to other replicas.
//!
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ottla_base::BrokerId;
use ottla_metadata::image::Topic as TopicImage;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, Partition, Topic,
};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// ListPartitionReassignments.
pub const API: Api = Api { key: ApiKey::ListPartitionReassignments, versions: 0..=0, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: ListPartitionReassignmentsRequest<'_> = request.decode()?;
    if !request.may(Operation::Describe, Resource::Cluster) {
        return request.reply(ListPartitionReassignmentsResponse {
            error_code: ErrorCode::ClusterAuthorizationFailed.code(),
            error_message: Some(access::CLUSTER_DENIED.into()),
            ..Default::default()
        });
    }
    let image = request.node.image();
    let topics: Vec<Topic<'_>> = match &asked.topics {
        None => image.topics().iter().filter_map(|topic| under_way(topic, None)).collect(),
        Some(wanted) => {
            let mut indices: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
            for topic in wanted {
                indices.entry(&topic.name).or_default().extend(&topic.partition_indexes);
            }
            let found = indices.iter().filter_map(|(name, indices)| under_way(image.topic(name)?, Some(indices)));
            found.collect()
        }
    };
    request.reply(ListPartitionReassignmentsResponse { topics, error_message: None, ..Default::default() })
}

/// A topic's partitions that are on their way, if there are any.
fn under_way(topic: &TopicImage, wanted: Option<&BTreeSet<i32>>) -> Option<Topic<'static>> {
    let numbers = |brokers: &[BrokerId]| brokers.iter().map(|id| id.0).collect();
    let partitions = topic.partitions.iter().filter(|(index, partition)| {
        partition.is_reassigning() && wanted.is_none_or(|wanted| wanted.contains(&index.0))
    });
    let partitions: Vec<_> = partitions
        .map(|(index, partition)| Partition {
            partition_index: index.0,
            replicas: numbers(&partition.replicas),
            adding_replicas: numbers(&partition.adding_replicas),
            removing_replicas: numbers(&partition.removing_replicas),
        })
        .collect();
    (!partitions.is_empty()).then(|| Topic { name: Cow::Owned(topic.name.to_string()), partitions })
}
