//! What metrics tell of groups: numbers, without a copy of anything.

use std::sync::Arc;

use super::classic::state::GroupState;
use super::{Group, GroupCoordinator, GroupId};

/// One group, to be asked for its numbers.
#[derive(Clone, Copy, Debug)]
pub struct MeasuredGroup<'a> {
    id: &'a GroupId,
    group: &'a Group,
}

impl GroupCoordinator {
    /// All groups, by name.
    pub fn measured(&self) -> impl Iterator<Item = MeasuredGroup<'_>> {
        self.groups.iter().map(|(id, group)| MeasuredGroup { id, group })
    }
}

impl<'a> MeasuredGroup<'a> {
    /// Its name.
    pub fn id(self) -> &'a Arc<str> {
        self.id
    }

    /// Its state.
    pub fn state(self) -> GroupState {
        self.group.classic.state()
    }

    /// How many members it has.
    pub fn members(self) -> usize {
        self.group.classic.members().len()
    }

    /// What it has committed: topic, partition, offset; by topic.
    pub fn offsets(self) -> impl Iterator<Item = (&'a Arc<str>, i32, i64)> {
        self.group.offsets.iter().map(|(topic, partition, committed)| (topic, partition, committed.offset))
    }
}
