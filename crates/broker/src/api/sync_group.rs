//! SyncGroup (key 14, versions 0-5): the leader brings the assignment of its generation, and everybody gets a share of it.
//! Waits for the leader.
//!
//! v1 throttle time. v3 static members (KIP-345). v4 flexible. v5 protocol type and name (KIP-559).
//! Differs from Kafka: nothing known.

use std::borrow::Cow;

use ottla_coordinator::group::{self, Answer, SyncGroupAnswer};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;

use super::Api;
use crate::coordinators::reply;
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// SyncGroup.
pub const API: Api = Api { key: ApiKey::SyncGroup, versions: 0..=5, handle };

/// From here on the member says which protocol it knows.
const PROTOCOL_FROM: i16 = 5;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: SyncGroupRequest<'_> = request.decode()?;
    let assignments = asked.assignments.iter().map(|it| ((*it.member_id).into(), (*it.assignment).into()));
    let question = group::Request::SyncGroup(group::SyncGroup {
        group_id: (*asked.group_id).into(),
        generation: asked.generation_id,
        member_id: (*asked.member_id).into(),
        instance_id: asked.group_instance_id.as_deref().map(Into::into),
        protocol_type: asked.protocol_type.as_deref().map(Into::into),
        protocol: asked.protocol_name.as_deref().map(Into::into),
        requires_protocol: request.version() >= PROTOCOL_FROM,
        assignments: assignments.collect(),
        room_bytes: request.node.groups.room_bytes(request.body.len()),
    });
    reply::ask_as_member(request, &asked.group_id, question, |answer| match answer {
        Ok(Answer::SyncGroup(answer)) => to_wire(answer),
        Err(code) => to_wire(SyncGroupAnswer::refused(code)),
        Ok(other) => unreachable!("a SyncGroup is answered as one, not by {other:?}"),
    })
}

fn to_wire(answer: SyncGroupAnswer) -> SyncGroupResponse<'static> {
    SyncGroupResponse {
        error_code: answer.error.code(),
        protocol_type: answer.protocol_type.map(|name| Cow::Owned(name.to_string())),
        protocol_name: answer.protocol.map(|name| Cow::Owned(name.to_string())),
        assignment: Cow::Owned(answer.assignment.to_vec()),
        ..Default::default()
    }
}
