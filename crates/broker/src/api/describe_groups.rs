//! DescribeGroups (key 15, versions 0-6): what classic groups are doing.
//!
//! v1 throttle time. v3 authorized operations (KIP-430). v4 static members (KIP-345). v5 flexible. v6 error messages, and an
//! error for a group that there is not (KIP-1043); before, such a group is Dead.
//!
//! Differs from Kafka: groups that do not fit into one answer are said to be loading, so that clients ask for them once more,
//! without those that they have been told of. One that would not fit into an answer of its own is refused: no group becomes so
//! large here, but a log may hold one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla_coordinator::group::{DescribedGroup, DescribedMember, MAX_GROUP_BYTES};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::{DescribeGroupsResponse, Group, Member};
use ottla_protocol::{ApiKey, Str};

use super::Api;
use crate::access::{self, NOT_ASKED, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// DescribeGroups.
pub const API: Api = Api { key: ApiKey::DescribeGroups, versions: 0..=6, handle };

const ERROR_FOR_UNKNOWN_FROM: i16 = 6;
const INSTANCES_FROM: i16 = 4;
/// What the groups in one answer may take, in bytes.
const GROUPS_BYTES_MAX: usize = 16 * 1024 * 1024;
const _: () =
    assert!(2 * MAX_GROUP_BYTES <= GROUPS_BYTES_MAX, "every group fits into an answer, with other groups' names");
/// An answer that takes more makes its request a large one.
const LARGE_BYTES: usize = 512 * 1024;
/// What a group takes beside its members and its name: itself, its state, the names of its protocol, what is wrong with it.
const GROUP_BYTES: usize = size_of::<Group<'_>>() + 64;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeGroupsRequest<'_> = request.decode()?;
    // A name may stand in the error, too.
    let names: usize = asked.groups.iter().map(|group_id| GROUP_BYTES + 2 * group_id.len()).sum();
    let mut room = GROUPS_BYTES_MAX.checked_sub(names).ok_or_else(|| request.responder().too_large())?;
    let mut groups = Vec::with_capacity(asked.groups.len());
    let mut is_full = false;
    // To measure one takes as long as to describe it: once is enough, however often it is named.
    let mut found_too_large = BTreeSet::new();
    for group_id in asked.groups.iter().map(|group_id| &**group_id) {
        let group = match is_full || found_too_large.contains(group_id) {
            false => describe(request, group_id, asked.include_authorized_operations, &mut room)?,
            true => None,
        };
        // Alone it would not fit the next time either.
        let is_too_large = group.is_none() && !has_told(&groups);
        is_full = group.is_none() && !is_too_large;
        if is_too_large {
            found_too_large.insert(group_id);
        }
        groups.push(match group {
            Some(group) => group,
            None if is_too_large => too_large(group_id, request.version()),
            None => refused(group_id, ErrorCode::CoordinatorLoadInProgress),
        });
    }
    request.reply(DescribeGroupsResponse { groups, ..Default::default() })
}

/// Whether a client that asks for the others once more asks for less.
fn has_told(groups: &[Group<'_>]) -> bool {
    groups.iter().any(|group| !group.members.is_empty())
}

/// Nothing, where it does not fit into what is left of `room`.
fn describe(
    request: &Request<'_>,
    group_id: &str,
    with_operations: bool,
    room: &mut usize,
) -> Result<Option<Group<'static>>, Refused> {
    if !request.may(Operation::Describe, Resource::Group(group_id)) {
        return Ok(Some(refused(group_id, ErrorCode::GroupAuthorizationFailed)));
    }
    let authorized_operations = match with_operations {
        true => access::authorized_operations(
            &*request.node.authorizer,
            &request.client.asker,
            Resource::Group(group_id),
            &Resource::GROUP_OPERATIONS,
        ),
        false => NOT_ASKED,
    };
    Ok(match request.node.groups.read(group_id, |groups| groups.describe_group(group_id)) {
        Ok(Some(described)) => {
            let protocol = described.protocol_type.len() + described.protocol.len();
            let members = described.members.iter().map(size_of_member).sum::<usize>();
            let Some(left) = room.checked_sub(members + protocol) else { return Ok(None) };
            *room = left;
            if left < GROUPS_BYTES_MAX - LARGE_BYTES {
                request.is_large()?;
            }
            Some(to_wire(group_id, &described, authorized_operations, request.version()))
        }
        Ok(None) => Some(unknown(group_id, authorized_operations, request.version())),
        Err(code) => Some(refused(group_id, code)),
    })
}

fn size_of_member(member: &DescribedMember) -> usize {
    let texts = [&member.member_id, &member.client_id, &member.client_host];
    let texts = texts.iter().map(|text| text.len()).sum::<usize>();
    size_of::<Member<'_>>() + texts + member.metadata.len() + member.assignment.len()
}

fn to_wire(group_id: &str, group: &DescribedGroup, authorized_operations: i32, version: i16) -> Group<'static> {
    Group {
        group_id: owned(group_id),
        group_state: Cow::Borrowed(group.state.name()),
        protocol_type: owned(&group.protocol_type),
        protocol_data: owned(&group.protocol),
        members: group.members.iter().map(|member| member_to_wire(member, version)).collect(),
        authorized_operations,
        error_message: None,
        ..Default::default()
    }
}

fn member_to_wire(member: &DescribedMember, version: i16) -> Member<'static> {
    Member {
        member_id: owned(&member.member_id),
        group_instance_id: member.instance_id.as_deref().filter(|_| version >= INSTANCES_FROM).map(owned),
        client_id: owned(&member.client_id),
        client_host: owned(&member.client_host),
        member_metadata: Cow::Owned(member.metadata.to_vec()),
        member_assignment: Cow::Owned(member.assignment.to_vec()),
    }
}

fn unknown(group_id: &str, authorized_operations: i32, version: i16) -> Group<'static> {
    let is_error = version >= ERROR_FOR_UNKNOWN_FROM;
    let code = if is_error { ErrorCode::GroupIdNotFound } else { ErrorCode::None };
    Group {
        group_state: Cow::Borrowed("Dead"),
        error_message: is_error.then(|| Cow::Owned(format!("Group {group_id} not found."))),
        authorized_operations: if is_error { NOT_ASKED } else { authorized_operations },
        ..refused(group_id, code)
    }
}

fn too_large(group_id: &str, version: i16) -> Group<'static> {
    let message = "The description of the group would be too large for one answer.";
    Group {
        error_message: (version >= ERROR_FOR_UNKNOWN_FROM).then_some(Cow::Borrowed(message)),
        ..refused(group_id, ErrorCode::UnknownServerError)
    }
}

fn refused(group_id: &str, code: ErrorCode) -> Group<'static> {
    Group {
        error_code: code.code(),
        error_message: None,
        group_id: owned(group_id),
        authorized_operations: NOT_ASKED,
        ..Default::default()
    }
}

fn owned(text: &str) -> Str<'static> {
    Cow::Owned(text.to_owned())
}
