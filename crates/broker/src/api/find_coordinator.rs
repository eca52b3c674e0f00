//! FindCoordinator (key 10, versions 0-6): who looks after a group or a transaction.
//!
//! v1 key types. v3 flexible. v4 many keys at once (KIP-699). v6 share groups (KIP-932).
//! Differs from Kafka: there are no coordinators yet, and the answer says so: COORDINATOR_NOT_AVAILABLE. It is served all
//! the same, from version 0 on, because librdkafka takes its presence for that of LZ4 and sends uncompressed otherwise.

use std::borrow::Cow;

use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// FindCoordinator.
pub const API: Api = Api { key: ApiKey::FindCoordinator, versions: 0..=6, handle };

/// The first version that asks for many keys.
const MANY_FROM: i16 = 4;
/// Of so many keys at most. Differs from Kafka, whose answer to a frame full of short keys is 25 times as large.
const KEYS_MAX: usize = 100_000;
/// The kinds of keys.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: FindCoordinatorRequest<'_> = request.decode()?;
    if request.version() >= MANY_FROM {
        if asked.coordinator_keys.len() > KEYS_MAX {
            return Err(request.responder().too_large());
        }
        let coordinators = asked.coordinator_keys.iter().map(|key| {
            let code = refusal(request, asked.key_type, key);
            Coordinator {
                key: Cow::Borrowed(key),
                node_id: -1,
                host: Cow::Borrowed(""),
                port: -1,
                error_code: code.code(),
                error_message: Some(Cow::Borrowed(message(code))),
            }
        });
        let coordinators = coordinators.collect();
        return request.reply(FindCoordinatorResponse { coordinators, ..Default::default() });
    }
    let code = refusal(request, asked.key_type, &asked.key);
    request.reply(FindCoordinatorResponse {
        error_code: code.code(),
        error_message: Some(Cow::Borrowed(message(code))),
        node_id: -1,
        host: Cow::Borrowed(""),
        port: -1,
        ..Default::default()
    })
}

fn refusal(request: &Request<'_>, key_type: i8, key: &str) -> ErrorCode {
    match key_type {
        GROUP if !request.may(Operation::Describe, Resource::Group(key)) => ErrorCode::GroupAuthorizationFailed,
        TRANSACTION if !request.may(Operation::Describe, Resource::TransactionalId(key)) => {
            ErrorCode::TransactionalIdAuthorizationFailed
        }
        SHARE if !request.may(Operation::ClusterAction, Resource::Cluster) => ErrorCode::ClusterAuthorizationFailed,
        GROUP | TRANSACTION | SHARE => ErrorCode::CoordinatorNotAvailable,
        _ => ErrorCode::InvalidRequest,
    }
}

fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::CoordinatorNotAvailable => "The coordinator is not available.",
        ErrorCode::InvalidRequest => "This most likely occurs because of a request being malformed.",
        _ => "Not authorized.",
    }
}
