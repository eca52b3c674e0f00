//! What is always true of the groups.

use std::sync::Arc;

use super::list_groups::listed_bytes;
use super::{Group, GroupCoordinator, GroupId, GroupState};

impl GroupCoordinator {
    pub(super) fn check_all(&self) {
        for (id, group) in &self.groups {
            group.classic.check();
            group.offsets.check();
            assert!(
                group.is_recorded || group.classic.state() != GroupState::Stable,
                "the assignments of group {id:?} are in the log"
            );
            if let Some(deadline) = group.classic.deadline() {
                let indexed = group.indexed.expect("a group with a timer is among the deadlines");
                assert!(indexed <= deadline.max(group.held_until), "group {id:?} would be woken too late");
            }
            if let Some(indexed) = group.indexed {
                assert!(self.deadlines.contains(&(indexed, Arc::clone(id))), "group {id:?} is not among the deadlines");
            }
        }
        let members_bytes: usize = self.groups.values().map(|group| group.classic.size_bytes()).sum();
        assert_eq!(self.members_bytes, members_bytes, "what the members take");
        let metadata_bytes: usize = self.groups.values().map(|group| group.offsets.metadata_bytes()).sum();
        assert_eq!(self.metadata_bytes, metadata_bytes, "what groups wrote to themselves");
        let listed = |(id, group): (&GroupId, &Group)| {
            let bytes = listed_bytes(id, group.classic.protocol_type().map_or("", |protocol_type| protocol_type));
            assert_eq!(group.listed_bytes, bytes, "what {id} takes in a list");
            bytes
        };
        assert_eq!(self.listed_bytes, self.groups.iter().map(listed).sum::<usize>(), "what a list takes");
        let indexed = self.groups.values().filter(|group| group.indexed.is_some()).count();
        assert_eq!(indexed, self.deadlines.len(), "deadlines are of groups");
    }
}
