//! UnregisterBroker (key 64, version 0, KIP-746): a broker that is gone for good.
//!
//! Differs from Kafka: a broker that lives registers itself again at once. Kafka's leads nothing until it is restarted.

use std::borrow::Cow;

use ottla_base::BrokerId;
use ottla_metadata::controller::{Answer, Command, UnregisterBroker};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// UnregisterBroker.
pub const API: Api = Api { key: ApiKey::UnregisterBroker, versions: 0..=0, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: UnregisterBrokerRequest = request.decode()?;
    let response = |code: ErrorCode, message: Option<String>| UnregisterBrokerResponse {
        error_code: code.code(),
        error_message: message.map(Cow::Owned),
        ..Default::default()
    };
    if !request.may(Operation::Alter, Resource::Cluster) {
        let message = Some(access::CLUSTER_DENIED.to_owned());
        return request.reply(response(ErrorCode::ClusterAuthorizationFailed, message));
    }
    let Some(place) = request.node.controller.place(1, request.body.len()) else {
        return request.reply(response(ErrorCode::RequestTimedOut, None));
    };
    let id = BrokerId(asked.broker_id);
    let (node, responder) = (request.node.clone(), request.responder());
    Ok(Reply::Parked(Box::pin(async move {
        responder.answer(match place.ask(Command::UnregisterBroker(UnregisterBroker { id })).await {
            Ok(Answer::UnregisterBroker(Ok(()))) => {
                if id == node.config.node_id
                    && let Err(error) = node.registration.renew(&place, || node.partitions.online_ids()).await
                {
                    tracing::error!(%error, "this broker was unregistered and cannot register again: restart it");
                }
                response(ErrorCode::None, None)
            }
            Ok(Answer::UnregisterBroker(Err(refusal))) => response(refusal.error, refusal.message),
            Ok(other) => unreachable!("UnregisterBroker is answered as such, not by {other:?}"),
            Err(why) => response(why.code(), None),
        })
    })))
}
