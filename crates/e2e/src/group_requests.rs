//! The requests of a member of a group, one function each.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use ottla_protocol::messages::create_topics_request::{CreateTopicsRequest, Topic as NewTopic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::fetch_request::{self, FetchRequest};
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, Protocol};
use ottla_protocol::messages::leave_group_request::LeaveGroupRequest;
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;
use ottla_protocol::messages::offset_commit_request::{self, OffsetCommitRequest};
use ottla_protocol::messages::offset_commit_response::OffsetCommitResponse;
use ottla_protocol::messages::offset_fetch_request::{self, OffsetFetchRequest};
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponse;
use ottla_protocol::messages::sync_group_request::{Assignment, SyncGroupRequest};
use ottla_protocol::{ApiKey, Message, Str};

use crate::raw::{Closed, RawClient, body};

/// Errors that go away by themselves: loading, no coordinator yet, not this one.
pub const PASSING: [i16; 3] = [14, 15, 16];
const GIVES_UP_AFTER: Duration = Duration::from_secs(60);

/// Where a group and its member stand.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The group.
    pub group: String,
    /// The member's id; empty before it has one.
    pub member: String,
    /// The generation it is in.
    pub generation: i32,
}

/// Asks; a connection that is closed is an error.
pub fn ask<'m, M: Message<'m>>(client: &mut RawClient, key: ApiKey, version: i16, request: &M) -> io::Result<Vec<u8>> {
    client.ask(key, version, request).map_err(|Closed| io::Error::other("the broker closed the connection"))
}

/// Waits until the group has a coordinator.
pub fn find_coordinator(client: &mut RawClient, group: &str) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
        let answer = ask(client, ApiKey::FindCoordinator, 4, &request)?;
        let response: FindCoordinatorResponse<'_> = body(&answer, ApiKey::FindCoordinator, 4);
        match response.coordinators[0].error_code {
            0 => return Ok(()),
            code if !PASSING.contains(&code) || begun.elapsed() > GIVES_UP_AFTER => {
                return Err(io::Error::other(format!("{group} has no coordinator: {response:?}")));
            }
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Makes a topic.
pub fn create_topic(client: &mut RawClient, name: &str, num_partitions: i32) -> io::Result<()> {
    let topic = NewTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, validate_only: false };
    let answer = ask(client, ApiKey::CreateTopics, 7, &request)?;
    let response: CreateTopicsResponse<'_> = body(&answer, ApiKey::CreateTopics, 7);
    match response.topics[0].error_code {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("{response:?}"))),
    }
}

/// Joins, with a protocol that says nothing.
pub fn join_request<'a>(group: &'a str, member: &'a str, session_timeout_ms: i32) -> JoinGroupRequest<'a> {
    let protocol = Protocol { name: "shares".into(), metadata: b"m"[..].into() };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms,
        rebalance_timeout_ms: 30_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

/// Asks for the member's share, or deals `shares` out.
pub fn sync_request<'a>(standing: &'a Standing, shares: Vec<(String, Vec<u8>)>) -> SyncGroupRequest<'a> {
    let assignment =
        |(member, share): (String, Vec<u8>)| Assignment { member_id: Str::from(member), assignment: share.into() };
    SyncGroupRequest {
        group_id: standing.group.as_str().into(),
        generation_id: standing.generation,
        member_id: standing.member.as_str().into(),
        assignments: shares.into_iter().map(assignment).collect(),
        ..Default::default()
    }
}

/// Says that the member is there.
pub fn heartbeat_request(standing: &Standing) -> HeartbeatRequest<'_> {
    HeartbeatRequest {
        group_id: standing.group.as_str().into(),
        generation_id: standing.generation,
        member_id: standing.member.as_str().into(),
        group_instance_id: None,
    }
}

/// The same; the error, or 0.
pub fn heartbeat(client: &mut RawClient, standing: &Standing) -> io::Result<i16> {
    let answer = ask(client, ApiKey::Heartbeat, 2, &heartbeat_request(standing))?;
    Ok(body::<HeartbeatResponse>(&answer, ApiKey::Heartbeat, 2).error_code)
}

/// Leaves; the error, or 0.
pub fn leave(client: &mut RawClient, standing: &Standing) -> io::Result<i16> {
    let (group_id, member_id) = (standing.group.as_str().into(), standing.member.as_str().into());
    let answer = ask(client, ApiKey::LeaveGroup, 1, &LeaveGroupRequest { group_id, member_id, members: Vec::new() })?;
    Ok(body::<LeaveGroupResponse<'_>>(&answer, ApiKey::LeaveGroup, 1).error_code)
}

/// Commits `(partition, offset)`; the first error, or 0.
pub fn commit(client: &mut RawClient, standing: &Standing, topic: &str, offsets: &[(i32, i64)]) -> io::Result<i16> {
    let partition = |&(partition_index, committed_offset): &(i32, i64)| offset_commit_request::Partition {
        partition_index,
        committed_offset,
        ..Default::default()
    };
    let topic = offset_commit_request::Topic {
        name: topic.into(),
        partitions: offsets.iter().map(partition).collect(),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: standing.group.as_str().into(),
        generation_id_or_member_epoch: standing.generation,
        member_id: standing.member.as_str().into(),
        topics: vec![topic],
        ..Default::default()
    };
    let answer = ask(client, ApiKey::OffsetCommit, 7, &request)?;
    let response: OffsetCommitResponse<'_> = body(&answer, ApiKey::OffsetCommit, 7);
    let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    Ok(codes.find(|&code| code != 0).unwrap_or(0))
}

/// The committed offsets of `partitions`, -1 where there are none; or an error for all.
pub fn committed(
    client: &mut RawClient,
    group: &str,
    topic: &str,
    partitions: &[i32],
) -> io::Result<Result<Vec<(i32, i64)>, i16>> {
    let topic = offset_fetch_request::Topic { name: topic.into(), partition_indexes: partitions.to_vec() };
    let request = OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
    let answer = ask(client, ApiKey::OffsetFetch, 5, &request)?;
    let response: OffsetFetchResponse<'_> = body(&answer, ApiKey::OffsetFetch, 5);
    if response.error_code != 0 {
        return Ok(Err(response.error_code));
    }
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    Ok(Ok(partitions.map(|partition| (partition.partition_index, partition.committed_offset)).collect()))
}

/// A fetch of `(partition, offset)`, which waits for a record.
pub fn fetch_request<'a>(
    topic: &'a str,
    positions: impl Iterator<Item = (i32, i64)>,
    max_wait_ms: i32,
) -> FetchRequest<'a> {
    let partition = |(partition, fetch_offset)| fetch_request::Partition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        ..Default::default()
    };
    let topic = fetch_request::Topic {
        topic: topic.into(),
        partitions: positions.map(partition).collect(),
        ..Default::default()
    };
    FetchRequest {
        replica_id: -1,
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 8 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}
