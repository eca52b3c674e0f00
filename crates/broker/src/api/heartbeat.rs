//! Heartbeat (key 12, versions 0-4): a member says it is alive, and learns whether a rebalance has begun.
//!
//! v1 throttle time. v3 static members (KIP-345). v4 flexible.
//! Differs from Kafka: nothing known.

use ottla_coordinator::group::{self, Answer};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;

use super::Api;
use crate::coordinators::reply;
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// Heartbeat.
pub const API: Api = Api { key: ApiKey::Heartbeat, versions: 0..=4, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: HeartbeatRequest<'_> = request.decode()?;
    let question = group::Request::Heartbeat(group::Heartbeat {
        group_id: (*asked.group_id).into(),
        generation: asked.generation_id,
        member_id: (*asked.member_id).into(),
        instance_id: asked.group_instance_id.as_deref().map(Into::into),
    });
    reply::ask_as_member(request, &asked.group_id, question, |answer| match answer {
        Ok(Answer::Heartbeat(code)) | Err(code) => to_wire(code),
        Ok(other) => unreachable!("a heartbeat is answered as one, not by {other:?}"),
    })
}

fn to_wire(code: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse { error_code: code.code(), ..Default::default() }
}
