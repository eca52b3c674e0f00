//! LeaveGroup (key 13, versions 0-5): members go, by their own wish or an administrator's.
//!
//! v1 throttle time. v3 several members, each with a result of its own (KIP-345). v4 flexible. v5 reasons.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;

use ottla_coordinator::group::{self, Answer, LeavingMember, LeftMember};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::leave_group_request::LeaveGroupRequest;
use ottla_protocol::messages::leave_group_response::{LeaveGroupResponse, Member};

use super::Api;
use crate::coordinators::reply;
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// LeaveGroup.
pub const API: Api = Api { key: ApiKey::LeaveGroup, versions: 0..=5, handle };

/// From here on several members may go at once.
const MANY_FROM: i16 = 3;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: LeaveGroupRequest<'_> = request.decode()?;
    let version = request.version();
    let members = match version >= MANY_FROM {
        true => asked
            .members
            .iter()
            .map(|member| LeavingMember {
                member_id: (*member.member_id).into(),
                instance_id: member.group_instance_id.as_deref().map(Into::into),
            })
            .collect(),
        false => vec![LeavingMember { member_id: (*asked.member_id).into(), instance_id: None }],
    };
    let question = group::Request::LeaveGroup(group::LeaveGroup { group_id: (*asked.group_id).into(), members });
    reply::ask_as_member(request, &asked.group_id, question, move |answer| match answer {
        Ok(Answer::LeaveGroup(left)) => to_wire(left, version),
        Err(code) => to_wire(Err(code), version),
        Ok(other) => unreachable!("a LeaveGroup is answered as one, not by {other:?}"),
    })
}

fn to_wire(left: Result<Vec<LeftMember>, ErrorCode>, version: i16) -> LeaveGroupResponse<'static> {
    let (code, left) = match left {
        Err(code) => (code, Vec::new()),
        // The only member's result is that of the request.
        Ok(left) if version < MANY_FROM => (left.first().map_or(ErrorCode::None, |left| left.error), Vec::new()),
        Ok(left) => (ErrorCode::None, left),
    };
    let members = left.into_iter().map(|left| Member {
        member_id: Cow::Owned(left.member_id.to_string()),
        group_instance_id: left.instance_id.map(|id| Cow::Owned(id.to_string())),
        error_code: left.error.code(),
    });
    LeaveGroupResponse { error_code: code.code(), members: members.collect(), ..Default::default() }
}
