//! CreatePartitions (key 37, versions 0-3): more partitions for topics that exist.
//!
//! v2 flexible. v3 quota errors (KIP-599).
//! Differs from Kafka: answered after the logs are made.

use std::borrow::Cow;

use ottla_base::BrokerId;
use ottla_metadata::controller::{Answer, Command, CreatePartitions, MorePartitions};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::create_partitions_request::{self, CreatePartitionsRequest};
use ottla_protocol::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsResult};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::node::entropy;
use crate::request::Request;

/// CreatePartitions.
pub const API: Api = Api { key: ApiKey::CreatePartitions, versions: 0..=3, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: CreatePartitionsRequest<'_> = request.decode()?;
    // As in Kafka, what is to be done within no time is not begun.
    let place = (asked.timeout_ms > 0).then(|| request.node.controller.place(asked.topics.len(), request.body.len()));
    let Some(place) = place.flatten() else {
        let failed = asked.topics.iter().map(|topic| to_wire(topic.name.to_string(), ErrorCode::RequestTimedOut, None));
        return request.reply(CreatePartitionsResponse { results: failed.collect(), ..Default::default() });
    };
    let (allowed, refused): (Vec<_>, Vec<_>) =
        asked.topics.iter().partition(|topic| request.may(Operation::Alter, Resource::Topic(&topic.name)));
    let refused: Vec<_> = refused
        .into_iter()
        .map(|topic| to_wire(topic.name.to_string(), ErrorCode::TopicAuthorizationFailed, None))
        .collect();
    let topics: Vec<MorePartitions> = allowed.into_iter().map(more_partitions).collect();
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let command =
        Command::CreatePartitions(CreatePartitions { topics, validate_only: asked.validate_only, seed: entropy() });
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move {
        let mut response = CreatePartitionsResponse::default();
        match place.ask(command).await {
            Ok(Answer::CreatePartitions(results)) => {
                response.results.extend(results.into_iter().map(|result| match result.result {
                    Ok(()) => to_wire(result.name, ErrorCode::None, None),
                    Err(refusal) => to_wire(result.name, refusal.error, refusal.message),
                }));
            }
            Ok(other) => unreachable!("CreatePartitions is answered as such, not by {other:?}"),
            Err(why) => {
                let all = names.into_iter().map(|name| to_wire(name, why.code(), why.message()));
                response.results.extend(all);
            }
        }
        response.results.extend(refused);
        responder.answer(response)
    })))
}

fn more_partitions(topic: &create_partitions_request::Topic<'_>) -> MorePartitions {
    let brokers = |assignment: &create_partitions_request::Assignment| {
        assignment.broker_ids.iter().map(|&id| BrokerId(id)).collect()
    };
    MorePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(|all| all.iter().map(brokers).collect()),
    }
}

fn to_wire(name: String, code: ErrorCode, message: Option<String>) -> CreatePartitionsResult<'static> {
    CreatePartitionsResult { name: Cow::Owned(name), error_code: code.code(), error_message: message.map(Cow::Owned) }
}
