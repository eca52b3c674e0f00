//! DescribeQuorum (key 55, versions 0-2, KIP-595): who leads the metadata log, and how far everybody is.
//!
//! v1 times of the replicas (KIP-836). v2 directories and addresses (KIP-853).
//! Differs from Kafka: a node without a listener for controllers tells no address.

use std::borrow::Cow;

use ottla_base::Uuid;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_quorum_request::{self, DescribeQuorumRequest};
use ottla_protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, Partition, ReplicaState, Topic,
};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::node::clock;
use crate::request::Request;

/// DescribeQuorum.
pub const API: Api = Api { key: ApiKey::DescribeQuorum, versions: 0..=2, handle };

/// The log of which there is a quorum; it has one partition.
const METADATA: &str = "__cluster_metadata";

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeQuorumRequest<'_> = request.decode()?;
    if !request.may(Operation::Describe, Resource::Cluster) {
        return request.reply(DescribeQuorumResponse {
            error_code: ErrorCode::ClusterAuthorizationFailed.code(),
            error_message: Some(access::CLUSTER_DENIED.into()),
            ..Default::default()
        });
    }
    let is_metadata = |topic: &describe_quorum_request::Topic<'_>| {
        topic.topic_name == METADATA && matches!(&topic.partitions[..], [only] if only.partition_index == 0)
    };
    let response = match &asked.topics[..] {
        [only] if is_metadata(only) => described(request),
        others => DescribeQuorumResponse {
            error_message: Some("".into()),
            topics: others.iter().map(unknown).collect(),
            ..Default::default()
        },
    };
    request.reply(response)
}

/// The quorum of this node alone: what is in the image was committed by it.
fn described(request: &Request<'_>) -> DescribeQuorumResponse<'static> {
    let (image, config) = (request.node.image(), &request.node.config);
    let (id, end, now_ms) = (config.node_id.0, image.end().0, clock::now_ms());
    let leader = ReplicaState {
        replica_id: id,
        // A voter of a static quorum goes by its id alone.
        replica_directory_id: Uuid::ZERO,
        log_end_offset: end,
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
    };
    let partition = Partition {
        leader_id: id,
        leader_epoch: image.epoch().0,
        high_watermark: end,
        current_voters: vec![leader],
        error_message: Some("".into()),
        ..Default::default()
    };
    let listener = |listener: &crate::config::Listener| Listener {
        name: Cow::Owned(listener.name.clone()),
        host: Cow::Owned(listener.advertised_host.clone()),
        port: listener.advertised_port,
    };
    DescribeQuorumResponse {
        error_message: Some("".into()),
        topics: vec![Topic { topic_name: METADATA.into(), partitions: vec![partition] }],
        nodes: vec![Node { node_id: id, listeners: config.listeners.controller.iter().map(listener).collect() }],
        ..Default::default()
    }
}

fn unknown<'a>(topic: &describe_quorum_request::Topic<'a>) -> Topic<'a> {
    let partition = |partition: &describe_quorum_request::Partition| Partition {
        partition_index: partition.partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        error_message: Some("This server does not host this topic-partition.".into()),
        ..Default::default()
    };
    Topic { topic_name: topic.topic_name.clone(), partitions: topic.partitions.iter().map(partition).collect() }
}
