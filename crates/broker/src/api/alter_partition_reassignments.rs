//! AlterPartitionReassignments (key 45, versions 0-1, KIP-455): other replicas for partitions, or an end to that.
//!
//! v1 whether the number of replicas may change (KIP-860).
//! Differs from Kafka: nothing known.

use std::borrow::Cow;

use ottla_base::{BrokerId, PartitionIndex};
use ottla_metadata::controller::{
    AlterPartitionReassignments, Answer, Command, ReassignedTopic, Refusal, TopicReassignment,
};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    self, AlterPartitionReassignmentsRequest, Topic,
};
use ottla_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, Partition, Response,
};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// AlterPartitionReassignments.
pub const API: Api = Api { key: ApiKey::AlterPartitionReassignments, versions: 0..=1, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: AlterPartitionReassignmentsRequest<'_> = request.decode()?;
    let refused = |code: ErrorCode, message: Option<&'static str>| AlterPartitionReassignmentsResponse {
        error_code: code.code(),
        error_message: message.map(Cow::Borrowed),
        allow_replication_factor_change: true,
        ..Default::default()
    };
    if !request.may(Operation::Alter, Resource::Cluster) {
        return request.reply(refused(ErrorCode::ClusterAuthorizationFailed, Some(access::CLUSTER_DENIED)));
    }
    if asked.topics.is_empty() {
        return request.reply(refused(ErrorCode::None, Some("")));
    }
    let partitions = asked.topics.iter().map(|topic| 1 + topic.partitions.len()).sum();
    let Some(place) = request.node.controller.place(partitions, request.body.len()) else {
        return request.reply(refused(ErrorCode::RequestTimedOut, Some("The controller has too much to do.")));
    };
    let allow_replication_factor_change = asked.allow_replication_factor_change;
    let topics = asked.topics.iter().map(reassignment).collect();
    let command = AlterPartitionReassignments { topics, allow_replication_factor_change };
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move {
        responder.answer(match place.ask(Command::AlterPartitionReassignments(command)).await {
            Ok(Answer::AlterPartitionReassignments(topics)) => AlterPartitionReassignmentsResponse {
                allow_replication_factor_change,
                error_message: None,
                responses: topics.into_iter().map(to_wire).collect(),
                ..Default::default()
            },
            Ok(other) => unreachable!("AlterPartitionReassignments is answered as such, not by {other:?}"),
            Err(why) => refused(why.code(), Some("The controller cannot write, or has stopped.")),
        })
    })))
}

fn reassignment(topic: &Topic<'_>) -> TopicReassignment {
    let partition = |partition: &alter_partition_reassignments_request::Partition| {
        let replicas = partition.replicas.as_ref().map(|ids| ids.iter().copied().map(BrokerId).collect());
        (PartitionIndex(partition.partition_index), replicas)
    };
    TopicReassignment { name: topic.name.to_string(), partitions: topic.partitions.iter().map(partition).collect() }
}

fn to_wire(topic: ReassignedTopic) -> Response<'static> {
    let partition = |(index, result): (PartitionIndex, Result<(), Refusal>)| {
        let (code, message) = match result {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.error, refusal.message),
        };
        Partition { partition_index: index.0, error_code: code.code(), error_message: message.map(Cow::Owned) }
    };
    Response { name: Cow::Owned(topic.name), partitions: topic.partitions.into_iter().map(partition).collect() }
}
