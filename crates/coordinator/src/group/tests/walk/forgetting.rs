//! What may be forgotten, and why: judged before each input, by what groups are said to be and by what the log has told of them.
//!
//! ```text
//!   DeleteGroups    all of a group without members
//!   OffsetDelete    the named partitions of topics that the last generation does not read
//!   TopicsDeleted   the named topics, as far as they are of that id
//!   TopicsKnown     the topics that are not among these, or have another id
//!   Time            what nobody has used for long enough, and groups that have nothing left
//!   anything else   nothing
//! ```

use super::*;

/// An offset of a group.
pub(super) type Place = (GroupId, Arc<str>, i32);

/// What may be forgotten by one input.
#[derive(Default)]
pub(super) struct May {
    pub(super) offsets: BTreeSet<Place>,
    pub(super) groups: BTreeSet<GroupId>,
}

/// What the log has told so far.
#[derive(Default)]
pub(super) struct Told {
    /// What groups have committed.
    pub(super) committed: BTreeMap<Place, CommittedOffset>,
    /// Since when groups have no members that had some; nothing of groups that never had any.
    empty_since_ms: BTreeMap<GroupId, i64>,
    /// What the members of the last generation read.
    reads: BTreeMap<GroupId, BTreeSet<Arc<str>>>,
}

impl Told {
    /// What the input may make forgotten.
    pub(super) fn may_forget(&self, host: &Host, input: &Input) -> May {
        match input {
            Input::Request { request: Request::DeleteGroups(delete), .. } => {
                let groups = delete.group_ids.iter().filter(|id| state_of(host, id) == GroupState::Empty);
                let groups: BTreeSet<GroupId> = groups.cloned().collect();
                May { offsets: self.places(|(group, _, _), _| groups.contains(group)), groups }
            }
            Input::Request { request: Request::OffsetDelete(delete), .. } => {
                let of_group = delete.partitions.iter().filter(|(topic, _)| !self.is_read(&delete.group_id, topic));
                let place = |(topic, partition): &(Arc<str>, i32)| {
                    (Arc::clone(&delete.group_id), Arc::clone(topic), *partition)
                };
                May { offsets: of_group.map(place).collect(), groups: BTreeSet::new() }
            }
            Input::TopicsDeleted(topics) => {
                let is_gone = |(_, name, _): &Place, offset: &CommittedOffset| {
                    let is_it = |id: Uuid| id == offset.topic_id || offset.topic_id.is_zero();
                    topics.iter().any(|topic| *topic.name == **name && is_it(topic.id))
                };
                May { offsets: self.places(is_gone), groups: BTreeSet::new() }
            }
            Input::TopicsKnown(topics) => {
                let is_gone = |(_, name, _): &Place, offset: &CommittedOffset| {
                    topics.get(name).is_none_or(|id| *id != offset.topic_id && !offset.topic_id.is_zero())
                };
                May { offsets: self.places(is_gone), groups: BTreeSet::new() }
            }
            Input::Time => self.may_expire(host),
            Input::Request { .. } | Input::Loaded | Input::WriteFailed { .. } | Input::Unloaded => May::default(),
        }
    }

    fn may_expire(&self, host: &Host) -> May {
        let now_ms = host.now_ms as i64;
        let is_unused = |(group, topic, _): &Place, offset: &CommittedOffset| {
            let since_ms = match state_of(host, group) {
                GroupState::Empty => self.empty_since_ms.get(group).copied().unwrap_or(offset.commit_timestamp_ms),
                GroupState::Stable if !self.is_read(group, topic) => offset.commit_timestamp_ms,
                // Who is about to read may go on from it.
                _ => return false,
            };
            let own_ms = offset.expire_timestamp_ms;
            now_ms >= own_ms.unwrap_or(since_ms + host.settings.offsets_retention_ms)
        };
        let offsets = self.places(is_unused);
        let has_more = |id: &GroupId| self.committed.keys().any(|place| place.0 == *id && !offsets.contains(place));
        let groups = host.coordinator.groups.keys();
        let groups = groups.filter(|id| state_of(host, id) == GroupState::Empty && !has_more(id)).cloned().collect();
        May { offsets, groups }
    }

    fn places(&self, is_it: impl Fn(&Place, &CommittedOffset) -> bool) -> BTreeSet<Place> {
        self.committed.iter().filter(|(place, offset)| is_it(place, offset)).map(|(place, _)| place.clone()).collect()
    }

    /// Whether the last generation of the group, if it has any, reads the topic.
    pub(super) fn is_read(&self, group: &str, topic: &str) -> bool {
        self.reads.get(group).is_some_and(|topics| topics.contains(topic))
    }

    /// Takes what the log says of a group.
    pub(super) fn take_group(&mut self, group: &GroupId, value: Option<&RecordedGroup>, now_ms: u64) {
        match value {
            Some(value) if value.members.is_empty() && !value.protocol_type.is_empty() => {
                self.empty_since_ms.insert(Arc::clone(group), now_ms as i64);
            }
            _ => drop(self.empty_since_ms.remove(group)),
        }
    }

    /// Looks at what each generation that has begun reads.
    pub(super) fn look_at_generations(&mut self, host: &Host) {
        self.reads.retain(|id, _| state_of(host, id) != GroupState::Dead);
        for (id, group) in &host.coordinator.groups {
            match group.classic.state() {
                GroupState::CompletingRebalance | GroupState::Stable => {
                    let protocol = group.classic.protocol().expect("a generation has agreed on one");
                    let members = group.classic.members().values();
                    let topics = members.flat_map(|member| topics_in(&member.metadata(protocol))).collect();
                    self.reads.insert(Arc::clone(id), topics);
                }
                GroupState::Empty => drop(self.reads.remove(id)),
                GroupState::PreparingRebalance | GroupState::Dead => {}
            }
        }
    }
}

/// The topics in the metadata of a consumer of the walk: their names are of one letter.
fn topics_in(metadata: &Opaque) -> Vec<Arc<str>> {
    let names = metadata[6..metadata.len() - 4].chunks(3);
    names.map(|name| char::from(name[2]).to_string().into()).collect()
}

pub(super) fn state_of(host: &Host, id: &str) -> GroupState {
    host.coordinator.classic(id).map_or(GroupState::Dead, |group| group.state())
}
