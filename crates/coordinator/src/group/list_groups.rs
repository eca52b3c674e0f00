//! ListGroups (key 16): which groups there are.
//!
//! v4 states (KIP-518). v5 types (KIP-848).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::classic::state::GroupState;
use super::{GroupCoordinator, GroupId, Request};

/// What a group takes in a list apart from its texts.
pub const LISTED_GROUP_BYTES: usize = 128;

/// Which groups are asked for. An empty list asks for all.
#[derive(Clone, Debug, Default)]
pub struct GroupFilter {
    states: BTreeSet<String>,
    types: BTreeSet<String>,
}

/// By which protocol the members of a group agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupType {
    /// By JoinGroup and SyncGroup.
    Classic,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedGroup {
    /// Its name.
    pub group_id: GroupId,
    /// `consumer`, `connect`; empty where nobody ever was a member.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: GroupState,
    /// Its type.
    pub group_type: GroupType,
}

impl GroupFilter {
    /// Names of states and of types, in any case. Those that there are not have no groups.
    ///
    /// Made once for all shards: a client may name very many.
    pub fn new<'n>(states: impl IntoIterator<Item = &'n str>, types: impl IntoIterator<Item = &'n str>) -> Self {
        let lower_case = |name: &str| name.trim().to_ascii_lowercase();
        Self {
            states: states.into_iter().map(lower_case).collect(),
            types: types.into_iter().map(lower_case).collect(),
        }
    }

    fn passes(&self, group: &ListedGroup) -> bool {
        is_among(&self.states, group.state.name()) && is_among(&self.types, group.group_type.name())
    }
}

impl GroupType {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
        }
    }
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl GroupCoordinator {
    /// How much more a list of all groups will take when `request` is carried out: it may be of a group that is not there yet, or
    /// say of what type it is.
    pub fn listing_growth_bytes(&self, request: &Request) -> usize {
        let (group_id, protocol_type) = match request {
            Request::JoinGroup(request) => (&request.group_id, &*request.protocol_type),
            Request::OffsetCommit(request) => (&request.group_id, ""),
            _ => return 0,
        };
        match self.group(group_id) {
            None => listed_bytes(group_id, protocol_type),
            Some(group) => listed_bytes(group_id, protocol_type).saturating_sub(group.listed_bytes),
        }
    }

    /// The groups that pass the filter, by name.
    pub fn list_groups(&self, filter: &GroupFilter) -> Vec<ListedGroup> {
        let listed = self.groups.iter().map(|(id, group)| ListedGroup {
            group_id: Arc::clone(id),
            protocol_type: group.classic.protocol_type().cloned().unwrap_or_default(),
            state: group.classic.state(),
            group_type: GroupType::Classic,
        });
        listed.filter(|group| filter.passes(group)).collect()
    }
}

/// What a group takes in a list, and beside its members and offsets in memory, about.
pub(super) fn listed_bytes(group_id: &str, protocol_type: &str) -> usize {
    group_id.len() + protocol_type.len() + LISTED_GROUP_BYTES
}

fn is_among(names: &BTreeSet<String>, name: &str) -> bool {
    names.is_empty() || names.contains(&name.to_ascii_lowercase())
}
