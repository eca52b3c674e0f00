//! ElectLeaders (key 43, versions 0-2, KIP-183, KIP-460): the preferred leaders, or any.
//!
//! v1 election types. v2 flexible.
//! Differs from Kafka: answered after the partitions are led.

use std::borrow::Cow;

use ottla_base::PartitionIndex;
use ottla_metadata::controller::{Answer, Command, ElectLeaders, ElectedLeaders, Election, Refusal};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// ElectLeaders.
pub const API: Api = Api { key: ApiKey::ElectLeaders, versions: 0..=2, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: ElectLeadersRequest<'_> = request.decode()?;
    let topics: Option<Vec<(String, Vec<PartitionIndex>)>> = asked.topic_partitions.as_ref().map(|topics| {
        let indices = |partitions: &[i32]| partitions.iter().copied().map(PartitionIndex).collect();
        topics.iter().map(|topic| (topic.topic.to_string(), indices(&topic.partitions))).collect()
    });
    let named = topics.clone().unwrap_or_default();
    let election = match asked.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        // As in Kafka, nobody looks at it where there is nothing to elect.
        _ if topics.as_ref().is_some_and(Vec::is_empty) => return request.reply(response(ErrorCode::None, Vec::new())),
        other => {
            let refusal = Refusal::new(ErrorCode::InvalidRequest, format!("Unknown election type {other}"));
            return request.reply(refused(named, &refusal));
        }
    };
    if !request.may(Operation::Alter, Resource::Cluster) {
        return request.reply(refused(named, &Refusal::without_words(ErrorCode::ClusterAuthorizationFailed)));
    }
    let partitions = named.iter().map(|(_, partitions)| 1 + partitions.len()).sum();
    // As in Kafka, what is to be done within no time is not begun.
    let place = (asked.timeout_ms > 0).then(|| request.node.controller.place(partitions, request.body.len()));
    let Some(place) = place.flatten() else {
        return request.reply(refused(named, &Refusal::without_words(ErrorCode::RequestTimedOut)));
    };
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move {
        responder.answer(match place.ask(Command::ElectLeaders(ElectLeaders { election, topics })).await {
            Ok(Answer::ElectLeaders(elected)) => response(ErrorCode::None, elected),
            Ok(other) => unreachable!("ElectLeaders is answered as such, not by {other:?}"),
            Err(why) => refused(named, &Refusal::without_words(why.code())),
        })
    })))
}

fn refused(topics: Vec<(String, Vec<PartitionIndex>)>, refusal: &Refusal) -> ElectLeadersResponse<'static> {
    let elected = topics.into_iter().map(|(topic, indices)| {
        let partitions = indices.into_iter().map(|index| (index, Err(refusal.clone()))).collect();
        ElectedLeaders { topic, partitions }
    });
    response(refusal.error, elected.collect())
}

fn response(code: ErrorCode, elected: Vec<ElectedLeaders>) -> ElectLeadersResponse<'static> {
    let partition = |(index, result): (PartitionIndex, Result<(), Refusal>)| {
        let (code, message) = match result {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.error, refusal.message),
        };
        PartitionResult { partition_id: index.0, error_code: code.code(), error_message: message.map(Cow::Owned) }
    };
    let topic = |elected: ElectedLeaders| ReplicaElectionResult {
        topic: Cow::Owned(elected.topic),
        partition_result: elected.partitions.into_iter().map(partition).collect(),
    };
    ElectLeadersResponse {
        error_code: code.code(),
        replica_election_results: elected.into_iter().map(topic).collect(),
        ..Default::default()
    }
}
