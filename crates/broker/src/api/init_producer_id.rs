//! InitProducerId (key 22, versions 0-5): gives an idempotent producer its id.
//!
//! v2 flexible. v3 the id and epoch a producer had (KIP-360). v4 PRODUCER_FENCED. v6 (two-phase commit) is not stable in
//! Kafka 4.4 and not advertised.
//! Differs from Kafka: there are no transactions yet; a transactional id gets UNSUPPORTED_VERSION.

use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// InitProducerId.
pub const API: Api = Api { key: ApiKey::InitProducerId, versions: 0..=5, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: InitProducerIdRequest<'_> = request.decode()?;
    if let Err(code) = check(request, &asked) {
        return request.reply(refused(code));
    }
    if let Some(id) = request.node.producer_ids.take() {
        return request.reply(given(id));
    }
    let (node, responder) = (request.node.clone(), request.responder());
    Ok(Reply::Parked(Box::pin(async move {
        match node.next_producer_id().await {
            Some(id) => responder.answer(given(id)),
            None => responder.answer(refused(ErrorCode::CoordinatorLoadInProgress)),
        }
    })))
}

fn check(request: &Request<'_>, asked: &InitProducerIdRequest<'_>) -> Result<(), ErrorCode> {
    let transactional_id = asked.transactional_id.as_deref();
    match transactional_id {
        Some(id) if !request.may(Operation::Write, Resource::TransactionalId(id)) => {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        None if !may_write_idempotently(request) => return Err(ErrorCode::ClusterAuthorizationFailed),
        _ => {}
    }
    if (asked.producer_id == -1) != (asked.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match transactional_id {
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::UnsupportedVersion),
        None => Ok(()),
    }
}

fn may_write_idempotently(request: &Request<'_>) -> bool {
    request.may(Operation::IdempotentWrite, Resource::Cluster)
        || request.node.authorizer.allows_any_topic(&request.client.asker, Operation::Write)
}

fn given(producer_id: i64) -> InitProducerIdResponse {
    InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() }
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: code.code(), producer_id: -1, producer_epoch: -1, ..Default::default() }
}
