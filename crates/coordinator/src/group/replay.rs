//! How records and notes change the groups. Nothing else does.

use std::sync::Arc;
use std::time::Duration;

use super::classic::state::ClassicGroup;
use super::list_groups::listed_bytes;
use super::offsets::Offsets;
use super::records::Record;
use super::{Group, GroupCoordinator, GroupId, NoteKind};

impl GroupCoordinator {
    pub(super) fn replay_record(&mut self, record: &Record) {
        match record {
            Record::Group { group, value: Some(value) } => {
                let entry = self.groups.entry(Arc::clone(group)).or_insert_with(Group::simple);
                entry.is_recorded = true;
                entry.classic = ClassicGroup::from_record(value);
                self.recount(group);
                self.relist(group);
                self.reindex(group);
            }
            Record::Group { group, value: None } => self.forget(group),
            Record::Offset { group, topic, partition, value: Some(value) } => {
                let entry = self.groups.entry(Arc::clone(group)).or_insert_with(Group::simple);
                let before_bytes = entry.offsets.metadata_bytes();
                entry.offsets.put(topic, *partition, value.clone());
                self.metadata_bytes = self.metadata_bytes + entry.offsets.metadata_bytes() - before_bytes;
                if entry.listed_bytes == 0 {
                    self.relist(group);
                }
            }
            Record::Offset { group, topic, partition, value: None } => {
                if let Some(entry) = self.groups.get_mut(group) {
                    let before_bytes = entry.offsets.metadata_bytes();
                    entry.offsets.remove(topic, *partition);
                    self.metadata_bytes = self.metadata_bytes + entry.offsets.metadata_bytes() - before_bytes;
                }
            }
        }
    }

    pub(super) fn take_note(&mut self, note: NoteKind) {
        match note {
            NoteKind::Group { id, classic } => {
                let group = self.groups.get_mut(&id).expect("a group is made by a record, which is replayed before");
                group.classic = *classic;
                self.recount(&id);
                self.relist(&id);
                self.reindex(&id);
            }
            NoteKind::CompletedRebalance => self.happened.completed_rebalances += 1,
            NoteKind::ExpiredOffsets(count) => self.happened.expired_offsets += count,
            NoteKind::CommittedOffsets(count) => self.happened.committed_offsets += count,
            NoteKind::DeletedOffsets(count) => self.happened.deleted_offsets += count,
            NoteKind::Heard { id, member, until } => {
                let group = self.groups.get_mut(&id).expect("the group was there when it was decided");
                group.classic.heard(&member, until);
                // An entry that is too early costs a look at the group when its time comes, one a session at most.
                if group.indexed.is_none_or(|indexed| until < indexed) {
                    self.reindex(&id);
                }
            }
            NoteKind::Reindex { id } => {
                self.groups.get_mut(&id).expect("the group was there when it was decided").classic.find_earliest();
                self.reindex(&id);
            }
            NoteKind::Loaded { at } => {
                let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
                for id in ids {
                    self.groups.get_mut(&id).expect("listed above").classic.begin(at);
                    self.reindex(&id);
                }
            }
            NoteKind::Expiry(expiry) => self.expiry = expiry,
            NoteKind::Hold { id, until } => {
                self.groups.get_mut(&id).expect("the group was there when it was decided").held_until = until;
                self.reindex(&id);
            }
        }
    }

    /// Forgets a group; offsets that a strange log still has for it remain.
    fn forget(&mut self, id: &GroupId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if let Some(indexed) = group.indexed.take() {
            self.deadlines.remove(&(indexed, Arc::clone(id)));
        }
        self.members_bytes -= group.members_bytes;
        self.listed_bytes -= group.listed_bytes;
        if group.offsets.is_empty() {
            self.groups.remove(id);
        } else {
            let offsets = std::mem::take(&mut group.offsets);
            *group = Group { offsets, ..Group::simple() };
            self.relist(id);
        }
    }

    /// Notes what the group takes.
    fn recount(&mut self, id: &GroupId) {
        let group = self.groups.get_mut(id).expect("the caller found the group");
        let before_bytes = std::mem::replace(&mut group.members_bytes, group.classic.size_bytes());
        self.members_bytes = self.members_bytes + group.members_bytes - before_bytes;
    }

    /// Notes what the group takes in a list.
    fn relist(&mut self, id: &GroupId) {
        let group = self.groups.get_mut(id).expect("the caller found the group");
        let listed_bytes = listed_bytes(id, group.classic.protocol_type().map_or("", |protocol_type| protocol_type));
        let before_bytes = std::mem::replace(&mut group.listed_bytes, listed_bytes);
        self.listed_bytes = self.listed_bytes + listed_bytes - before_bytes;
    }

    /// Notes when the group's first timer may end, and may be looked at.
    fn reindex(&mut self, id: &GroupId) {
        let group = self.groups.get_mut(id).expect("the caller found the group");
        let deadline = group.classic.deadline_at_the_earliest().map(|deadline| deadline.max(group.held_until));
        if group.indexed == deadline {
            return;
        }
        if let Some(indexed) = std::mem::replace(&mut group.indexed, deadline) {
            self.deadlines.remove(&(indexed, Arc::clone(id)));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, Arc::clone(id)));
        }
    }
}

impl Group {
    /// A group that nobody ever joined: it has offsets, which somebody committed without being a member.
    fn simple() -> Self {
        Self {
            is_recorded: false,
            classic: ClassicGroup::new(None),
            offsets: Offsets::default(),
            held_until: Duration::ZERO,
            indexed: None,
            members_bytes: 0,
            listed_bytes: 0,
        }
    }
}
