//! DescribeGroups (key 15): what a classic group is doing.
//!
//! v6 an unknown group is error 69; before that it is Dead, without error. The host decides that by the version.

use std::sync::Arc;

use super::classic::state::{GroupState, Member};
use super::{GroupCoordinator, MemberId, Opaque};

/// What a group is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedGroup {
    /// Its state.
    pub state: GroupState,
    /// `consumer`, `connect`, or empty.
    pub protocol_type: Arc<str>,
    /// What the members have agreed on; empty but in a stable group.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// The name that outlives its restarts.
    pub instance_id: Option<Arc<str>>,
    /// The client's own name.
    pub client_id: Arc<str>,
    /// Where it is, with a slash in front.
    pub client_host: Arc<str>,
    /// What it says in the protocol that was chosen; empty but in a stable group.
    pub metadata: Opaque,
    /// What the leader gave it.
    pub assignment: Opaque,
}

impl GroupCoordinator {
    /// Describes a group; nothing where there is none.
    pub fn describe_group(&self, group_id: &str) -> Option<DescribedGroup> {
        let group = self.classic(group_id)?;
        let protocol = group.protocol().filter(|_| group.state() == GroupState::Stable);
        let describe = |(member_id, member): (&MemberId, &Arc<Member>)| DescribedMember {
            member_id: Arc::clone(member_id),
            instance_id: member.instance_id().cloned(),
            client_id: Arc::clone(member.client_id()),
            client_host: Arc::clone(member.client_host()),
            metadata: protocol.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: Arc::clone(member.assignment()),
        };
        Some(DescribedGroup {
            state: group.state(),
            protocol_type: group.protocol_type().cloned().unwrap_or_default(),
            protocol: protocol.cloned().unwrap_or_default(),
            members: group.members().iter().map(describe).collect(),
        })
    }
}
