//! DeleteGroups (key 42): forget empty groups with their offsets. Written: a tombstone each.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_base::Outcome;
use ottla_protocol::error::ErrorCode;

use super::records::Record;
use super::{Answer, Asked, GroupCoordinator, GroupId};

/// A DeleteGroups request, or as much of it as concerns these groups.
#[derive(Clone, Debug)]
pub struct DeleteGroups {
    /// Which ones.
    pub group_ids: Vec<GroupId>,
}

/// What became of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedGroup {
    /// The group.
    pub group_id: GroupId,
    /// Whether it is gone.
    pub error: ErrorCode,
}

impl DeleteGroups {
    pub(super) fn decide(self, asked: Asked<'_>) -> Outcome<GroupCoordinator> {
        let mut records = Vec::new();
        let mut written = BTreeSet::new();
        let mut results = Vec::with_capacity(self.group_ids.len());
        for group_id in self.group_ids {
            let error = match asked.coordinator.group(&group_id) {
                None => ErrorCode::GroupIdNotFound,
                Some(group) if !group.classic.is_empty() => ErrorCode::NonEmptyGroup,
                Some(_) => ErrorCode::None,
            };
            if error == ErrorCode::None && written.insert(Arc::clone(&group_id)) {
                asked.coordinator.tombstones(&group_id, &mut records);
            }
            results.push(DeletedGroup { group_id, error });
        }
        Outcome { records, ..asked.answered(Answer::DeleteGroups(results)) }
    }
}

impl GroupCoordinator {
    /// All that makes a group forgotten: first its offsets.
    fn tombstones(&self, id: &GroupId, records: &mut Vec<Record>) {
        let group = &self.groups[id];
        records.extend(group.offsets.iter().map(|(topic, partition, _)| Record::Offset {
            group: Arc::clone(id),
            topic: Arc::clone(topic),
            partition,
            value: None,
        }));
        records.push(Record::Group { group: Arc::clone(id), value: None });
    }
}
