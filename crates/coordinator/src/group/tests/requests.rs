//! What members ask, for tests and benchmarks alike.

use std::sync::Arc;

use ottla_base::Uuid;
use ottla_coordinator::group::{JoinGroup, MemberId, Opaque, Protocol, SyncGroup};

/// The group that they are of.
pub const GROUP: &str = "g";
/// How long a member may say nothing.
pub const SESSION_MS: i32 = 10_000;
/// How long a member may take to join again.
pub const REBALANCE_MS: i32 = 60_000;

/// A text as requests have it.
pub fn text(text: &str) -> Arc<str> {
    text.into()
}

/// Metadata of a consumer that reads topics with names of one letter.
pub fn metadata_of(topics: &[u8]) -> Opaque {
    let names = topics.iter().flat_map(|name| [0, 1, *name]);
    [0, 0, 0, 0, 0, topics.len() as u8].into_iter().chain(names).chain([255; 4]).collect()
}

/// Metadata of a consumer that reads the topic `t`.
pub fn metadata() -> Opaque {
    metadata_of(b"t")
}

/// What such a consumer supports.
pub fn protocols(names: &[&str]) -> Vec<Protocol> {
    names.iter().map(|name| Protocol { name: text(name), metadata: metadata() }).collect()
}

/// A client joins; `id` is empty before it has one.
pub fn join_of(client: &str, id: &str) -> JoinGroup {
    let fresh_id = client.bytes().fold(7_u128, |hash, byte| hash.wrapping_mul(257).wrapping_add(byte.into()));
    JoinGroup {
        group_id: text(GROUP),
        member_id: text(id),
        instance_id: None,
        client_id: text(client),
        client_host: text("/127.0.0.1"),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: Some(REBALANCE_MS),
        protocol_type: text("consumer"),
        protocols: protocols(&["range", "roundrobin"]),
        requires_member_id: true,
        may_skip_assignment: true,
        fresh_id: Uuid(fresh_id),
        room_bytes: usize::MAX,
    }
}

/// A member asks for its part, and gives each of `members` its own.
pub fn sync_of(id: &str, generation: i32, members: &[MemberId]) -> SyncGroup {
    let assign = |(number, id): (usize, &MemberId)| (Arc::clone(id), Opaque::from([number as u8]));
    SyncGroup {
        group_id: text(GROUP),
        generation,
        member_id: text(id),
        instance_id: None,
        protocol_type: Some(text("consumer")),
        protocol: Some(text("range")),
        requires_protocol: true,
        assignments: members.iter().enumerate().map(assign).collect(),
        room_bytes: usize::MAX,
    }
}
