//! JoinGroup (key 11, versions 0-9): become a member of a group's next generation. Waits until that begins.
//!
//! v1 rebalance timeout. v2 throttle time. v4 a member is given its id first (KIP-394). v5 static members (KIP-345).
//! v6 flexible. v7 protocol type. v8 reason. v9 a static leader may skip the assignment (KIP-814).
//! Version 0 and 1 are kept for old clients (KAFKA-19444).
//! Differs from Kafka: a protocol that a member names twice is one. There it counts twice, so that nobody else can join and the
//! members never meet.

use std::borrow::Cow;

use ottla_base::Uuid;
use ottla_coordinator::group::{self, Answer, JoinGroupAnswer, JoinedMember};
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::{JoinGroupResponse, Member};
use ottla_protocol::{ApiKey, Str};

use super::Api;
use crate::coordinators::reply;
use crate::dispatch::{Refused, Reply};
use crate::node::entropy;
use crate::request::Request;

/// JoinGroup.
pub const API: Api = Api { key: ApiKey::JoinGroup, versions: 0..=9, handle };

/// What came with which version.
const REBALANCE_TIMEOUT_FROM: i16 = 1;
const MEMBER_ID_FIRST_FROM: i16 = 4;
const INSTANCES_FROM: i16 = 5;
const PROTOCOL_TYPE_FROM: i16 = 7;
const SKIP_ASSIGNMENT_FROM: i16 = 9;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: JoinGroupRequest<'_> = request.decode()?;
    let version = request.version();
    let protocols = asked
        .protocols
        .iter()
        .map(|protocol| group::Protocol { name: (*protocol.name).into(), metadata: (*protocol.metadata).into() });
    let question = group::Request::JoinGroup(group::JoinGroup {
        group_id: (*asked.group_id).into(),
        member_id: (*asked.member_id).into(),
        instance_id: asked.group_instance_id.as_deref().map(Into::into),
        client_id: request.client_id().into(),
        client_host: reply::java_host(request.client.asker.host).into(),
        session_timeout_ms: asked.session_timeout_ms,
        rebalance_timeout_ms: (version >= REBALANCE_TIMEOUT_FROM).then_some(asked.rebalance_timeout_ms),
        protocol_type: (*asked.protocol_type).into(),
        protocols: protocols.collect(),
        requires_member_id: version >= MEMBER_ID_FIRST_FROM,
        may_skip_assignment: version >= SKIP_ASSIGNMENT_FROM,
        fresh_id: Uuid::random(entropy),
        room_bytes: request.node.groups.room_bytes(request.body.len()),
    });
    reply::ask_as_member(request, &asked.group_id, question, move |answer| match answer {
        Ok(Answer::JoinGroup(answer)) => to_wire(answer, version),
        // As in Kafka, the answer of a broker that did not get as far as the group names nobody.
        Err(code) => to_wire(JoinGroupAnswer::refused(code, &group::MemberId::default()), version),
        Ok(other) => unreachable!("a JoinGroup is answered as one, not by {other:?}"),
    })
}

fn to_wire(answer: JoinGroupAnswer, version: i16) -> JoinGroupResponse<'static> {
    // A name that is not there is an empty one to older clients.
    let name = |name: Option<std::sync::Arc<str>>| match name {
        Some(name) => Some(owned(&name)),
        None => (version < PROTOCOL_TYPE_FROM).then_some(Cow::Borrowed("")),
    };
    JoinGroupResponse {
        error_code: answer.error.code(),
        generation_id: answer.generation,
        protocol_type: answer.protocol_type.as_deref().map(owned),
        protocol_name: name(answer.protocol),
        leader: owned(&answer.leader),
        skip_assignment: answer.skip_assignment,
        member_id: owned(&answer.member_id),
        members: answer.members.iter().map(|member| member_to_wire(member, version)).collect(),
        ..Default::default()
    }
}

fn member_to_wire(member: &JoinedMember, version: i16) -> Member<'static> {
    Member {
        member_id: owned(&member.member_id),
        group_instance_id: member.instance_id.as_deref().filter(|_| version >= INSTANCES_FROM).map(owned),
        metadata: Cow::Owned(member.metadata.to_vec()),
    }
}

fn owned(text: &str) -> Str<'static> {
    Cow::Owned(text.to_owned())
}
