//! DeleteTopics (key 20, versions 1-6): removes topics, by name or by id.
//!
//! v4 flexible. v5 error messages. v6 ids (KIP-516).
//! Differs from Kafka: answered after the logs are gone.

use std::borrow::Cow;

use ottla_base::Uuid;
use ottla_metadata::controller::{Answer, Command, DeleteTopics, TopicReference};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::{DeleteTopicsResponse, Response};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// DeleteTopics.
pub const API: Api = Api { key: ApiKey::DeleteTopics, versions: 1..=6, handle };

/// The first version with an error for "deletion is switched off".
const DISABLED_ERROR_FROM: i16 = 3;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DeleteTopicsRequest<'_> = request.decode()?;
    let count = asked.topic_names.len() + asked.topics.len();
    // As in Kafka, what is to be done within no time is not begun.
    let place = (asked.timeout_ms > 0).then(|| request.node.controller.place(count, request.body.len())).flatten();
    let by_name = asked.topic_names.iter().map(|name| TopicReference { name: Some(name.to_string()), id: Uuid::ZERO });
    let by_either = asked
        .topics
        .iter()
        .map(|topic| TopicReference { name: topic.name.as_ref().map(|name| name.to_string()), id: topic.topic_id });
    let topics: Vec<TopicReference> = by_name.chain(by_either).collect();
    if !request.node.config.delete_topic_enable {
        let code = match request.version() >= DISABLED_ERROR_FROM {
            true => ErrorCode::TopicDeletionDisabled,
            false => ErrorCode::InvalidRequest,
        };
        let responses = topics.into_iter().map(|topic| failed(topic, code)).collect();
        return request.reply(DeleteTopicsResponse { responses, ..Default::default() });
    }
    let Some(place) = place else {
        let responses = topics.into_iter().map(|topic| failed(topic, ErrorCode::RequestTimedOut)).collect();
        return request.reply(DeleteTopicsResponse { responses, ..Default::default() });
    };
    let image = request.node.image();
    let (allowed, refused): (Vec<_>, Vec<_>) = topics.into_iter().partition(|topic| {
        let known = image.topic_by_id(topic.id).map(|topic| &*topic.name);
        // What is not there is looked up by the controller, which says so.
        let name = topic.name.as_deref().or(known);
        name.is_none_or(|name| request.may(Operation::Delete, Resource::Topic(name)))
    });
    let refused: Vec<_> = refused.into_iter().map(|topic| failed(topic, ErrorCode::TopicAuthorizationFailed)).collect();
    let unanswered = allowed.clone();
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move {
        let mut response = DeleteTopicsResponse::default();
        match place.ask(Command::DeleteTopics(DeleteTopics { topics: allowed })).await {
            Ok(Answer::DeleteTopics(results)) => {
                response.responses.extend(results.into_iter().map(|result| {
                    let (code, message) = match result.result {
                        Ok(()) => (ErrorCode::None, None),
                        Err(refusal) => (refusal.error, refusal.message),
                    };
                    Response {
                        name: result.name.map(Cow::Owned),
                        topic_id: result.id,
                        error_code: code.code(),
                        error_message: message.map(Cow::Owned),
                    }
                }));
            }
            Ok(other) => unreachable!("DeleteTopics is answered as such, not by {other:?}"),
            Err(why) => {
                let all = unanswered.into_iter().map(|topic| failed(topic, why.code()));
                response.responses.extend(all);
            }
        }
        response.responses.extend(refused);
        responder.answer(response)
    })))
}

fn failed(topic: TopicReference, code: ErrorCode) -> Response<'static> {
    Response { name: topic.name.map(Cow::Owned), topic_id: topic.id, error_code: code.code(), error_message: None }
}
