//! What must be true whatever happens, judged from the outside: by the answers, the log, and what members are said to have.

use super::client::partitions_in;
use super::forgetting::{May, Told, state_of};
use super::*;
use crate::group::classic::state::Member;
use crate::group::offsets::Offsets;

/// What was seen so far.
#[derive(Default)]
pub(super) struct Oracle {
    /// Records of the log that were seen.
    seen: usize,
    /// How often each group was forgotten: a new one counts its generations from the beginning.
    lives: BTreeMap<GroupId, u32>,
    /// Syncs that are not answered yet.
    syncs: BTreeMap<Ticket, (Generation, Owner)>,
    /// To whom a partition was given in a generation.
    owners: BTreeMap<(Generation, i32), Owner>,
    /// Whether the last input was a commit of one who is no member.
    is_reset: bool,
    /// What the last input may make forgotten.
    may: May,
    /// Its place among the reasons to forget something.
    reason: usize,
    told: Told,
    /// Groups that were asked to be deleted, and what is to be answered if it can be written.
    deletes: BTreeMap<Ticket, (GroupId, ErrorCode)>,
    /// Members that were asked to leave.
    leaves: BTreeMap<Ticket, LeaveGroup>,
    /// Offsets that were asked to be deleted, and what is to be answered of each if it can be written; where a rebalance is
    /// under way that is left open.
    offset_deletes: BTreeMap<Ticket, (OffsetDelete, Option<Vec<ErrorCode>>)>,
    /// What the walk came to.
    pub(super) seen_of: Seen,
}

/// How much there was to judge.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// Assignments and commits that were looked at.
    pub(super) judged: u64,
    /// Groups that were deleted with offsets.
    pub(super) deleted_with_offsets: u64,
    /// Offsets that were forgotten because somebody asked for it, their topic was gone, or nobody used them.
    pub(super) forgotten: [u64; 3],
    /// Members that left together with others.
    pub(super) left_together: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.judged += other.judged;
        self.deleted_with_offsets += other.deleted_with_offsets;
        (0..3).for_each(|reason| self.forgotten[reason] += other.forgotten[reason]);
        self.left_together += other.left_together;
    }
}

type Generation = (GroupId, u32, i32);
/// The member's id; of a static member the instance, which remains the same under another id.
type Owner = Arc<str>;

impl Oracle {
    /// Before the input is decided.
    pub(super) fn expect(&mut self, host: &Host, input: &Input) {
        self.may = self.told.may_forget(host, input);
        self.reason = match input {
            Input::Time => 2,
            Input::TopicsDeleted(_) | Input::TopicsKnown(_) => 1,
            _ => 0,
        };
        if let Input::Request { ticket, request } = input {
            self.asked(host, *ticket, request);
        }
    }

    fn asked(&mut self, host: &Host, ticket: Ticket, request: &Request) {
        match request {
            Request::SyncGroup(sync) => {
                let life = self.lives.get(&sync.group_id).copied().unwrap_or(0);
                let generation = (Arc::clone(&sync.group_id), life, sync.generation);
                let owner = sync.instance_id.as_ref().unwrap_or(&sync.member_id);
                self.syncs.insert(ticket, (generation, Arc::clone(owner)));
            }
            Request::OffsetCommit(commit) => self.is_reset = commit.generation < 0,
            Request::LeaveGroup(leave) => drop(self.leaves.insert(ticket, leave.clone())),
            Request::OffsetDelete(delete) => {
                let of = |(topic, _): &(Arc<str>, i32)| match self.told.is_read(&delete.group_id, topic) {
                    true => ErrorCode::GroupSubscribedToTopic,
                    false => ErrorCode::None,
                };
                let expected = match state_of(host, &delete.group_id) {
                    GroupState::PreparingRebalance => None,
                    _ => Some(delete.partitions.iter().map(of).collect()),
                };
                self.offset_deletes.insert(ticket, (delete.clone(), expected));
            }
            Request::DeleteGroups(delete) => {
                let id = &delete.group_ids[0];
                let expected = match state_of(host, id) {
                    GroupState::Dead => ErrorCode::GroupIdNotFound,
                    GroupState::Empty => ErrorCode::None,
                    _ => ErrorCode::NonEmptyGroup,
                };
                self.deletes.insert(ticket, (Arc::clone(id), expected));
            }
            Request::JoinGroup(_) | Request::Heartbeat(_) => {}
        }
    }

    /// After the input is decided.
    pub(super) fn observe(&mut self, host: &Host) {
        self.take_answers(host);
        self.take_deletes(host);
        self.take_log(host);
        self.take_offset_deletes(host);
        self.take_leaves(host);
        self.told.look_at_generations(host);
        for id in host.coordinator.groups.keys() {
            check_ownership(&host.coordinator, id);
        }
    }

    /// Two members may never both be told, of one generation, that a partition is theirs.
    fn take_answers(&mut self, host: &Host) {
        let Self { syncs, owners, seen_of, .. } = self;
        syncs.retain(|ticket, (generation, owner)| {
            let Some(Answer::SyncGroup(answer)) = host.answers.get(ticket) else { return true };
            for partition in partitions_in(&answer.assignment) {
                seen_of.judged += 1;
                let first = owners.entry((generation.clone(), partition)).or_insert_with(|| Arc::clone(owner));
                assert_eq!(first, owner, "partition {partition} has one owner in {generation:?}");
            }
            false
        });
    }

    /// A group that is deleted is gone with its offsets, and so it is for whoever reads the log.
    fn take_deletes(&mut self, host: &Host) {
        for (ticket, (id, expected)) in std::mem::take(&mut self.deletes) {
            let Some(Answer::DeleteGroups(deleted)) = host.answers.get(&ticket) else {
                panic!("a DeleteGroups waits for nothing")
            };
            let error = deleted[0].error;
            assert!(
                error == expected || error == ErrorCode::CoordinatorNotAvailable,
                "{id} is {error:?}, not {expected:?}"
            );
            if error != ErrorCode::None {
                continue;
            }
            assert!(host.coordinator.describe_group(&id).is_none(), "{id} is deleted");
            assert!(host.coordinator.offsets(&id).is_empty(), "{id} is deleted with its offsets");
            let (offsets, groups) = last_of_each_key(&host.log);
            assert!(!groups.contains_key(&id) && !offsets.contains_key(&id), "{id} is deleted in the log");
            let had_offsets = self.told.committed.keys().any(|(group, _, _)| *group == id);
            self.seen_of.deleted_with_offsets += u64::from(had_offsets);
        }
    }

    fn take_log(&mut self, host: &Host) {
        for record in &host.log[self.seen..] {
            match record {
                Record::Group { group, value } => {
                    if value.is_none() {
                        *self.lives.entry(Arc::clone(group)).or_default() += 1;
                        assert!(self.may.groups.contains(group), "nobody has asked for {group} to be forgotten");
                        let has_offsets = self.told.committed.keys().any(|place| place.0 == *group);
                        assert!(!has_offsets, "{group} is forgotten before its offsets");
                    }
                    self.told.take_group(group, value.as_ref(), host.now_ms);
                }
                Record::Offset { group, topic, partition, value } => {
                    let place = (Arc::clone(group), Arc::clone(topic), *partition);
                    let Some(value) = value else {
                        assert!(self.may.offsets.contains(&place), "{place:?} is forgotten without a reason");
                        self.told.committed.remove(&place);
                        self.seen_of.forgotten[self.reason] += 1;
                        continue;
                    };
                    self.seen_of.judged += 1;
                    let before = self.told.committed.insert(place, value.clone()).map_or(0, |before| before.offset);
                    assert!(
                        value.offset >= before || self.is_reset,
                        "nobody has reset {group}, but {topic}-{partition} goes from {before} to {}",
                        value.offset
                    );
                }
            }
        }
        self.seen = host.log.len();
        self.is_reset = false;
    }

    /// After an input that was written whole and by which all that may go has to.
    pub(super) fn check_forgotten(&self) {
        for place in &self.may.offsets {
            assert!(!self.told.committed.contains_key(place), "{place:?} was to be forgotten");
        }
    }

    /// What is said to be deleted is gone, and what is read stays.
    fn take_offset_deletes(&mut self, host: &Host) {
        for (ticket, (delete, expected)) in std::mem::take(&mut self.offset_deletes) {
            let Some(Answer::OffsetDelete(answer)) = host.answers.get(&ticket) else {
                panic!("an OffsetDelete waits for nothing")
            };
            let Ok(errors) = answer else { continue };
            if let Some(expected) = expected {
                assert_eq!(*errors, expected, "{delete:?}");
            }
            for ((topic, partition), error) in delete.partitions.iter().zip(errors) {
                let place = (Arc::clone(&delete.group_id), Arc::clone(topic), *partition);
                let is_there = self.told.committed.contains_key(&place);
                assert!(*error != ErrorCode::None || !is_there, "{place:?} was to be deleted");
            }
        }
    }

    /// Each who is said to have left is no member any more.
    fn take_leaves(&mut self, host: &Host) {
        for (ticket, leave) in std::mem::take(&mut self.leaves) {
            let Some(Answer::LeaveGroup(answer)) = host.answers.get(&ticket) else {
                panic!("a LeaveGroup waits for nothing")
            };
            let Ok(left) = answer else { continue };
            assert_eq!(left.len(), leave.members.len(), "each member has a result of its own");
            for (left, asked) in left.iter().zip(&leave.members) {
                assert_eq!((&left.member_id, &left.instance_id), (&asked.member_id, &asked.instance_id));
                let Some(group) = host.coordinator.classic(&leave.group_id) else { continue };
                let is_it = |(id, member): (&MemberId, &Arc<_>)| is_named_by(id, member, asked);
                let is_member = group.members().iter().any(is_it);
                assert!(left.error != ErrorCode::None || !is_member, "{asked:?} has left");
            }
            let gone = left.iter().filter(|left| left.error == ErrorCode::None).count() as u64;
            self.seen_of.left_together += if gone > 1 { gone } else { 0 };
        }
    }
}

/// Whether a LeaveGroup of `asked` is of this member.
fn is_named_by(id: &MemberId, member: &Member, asked: &LeavingMember) -> bool {
    match &asked.instance_id {
        Some(instance_id) if asked.member_id.is_empty() => member.instance_id() == Some(instance_id),
        _ => *id == asked.member_id,
    }
}

/// While a group is stable, each partition is exactly one member's.
fn check_ownership(coordinator: &GroupCoordinator, id: &str) {
    let group = coordinator.describe_group(id).expect("it is there");
    if group.state == GroupState::Stable {
        let mut owned: Vec<i32> = group.members.iter().flat_map(|member| partitions_in(&member.assignment)).collect();
        owned.sort_unstable();
        assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>(), "each partition of stable group {id} has one owner");
    }
}

/// What the log says is what the coordinator thinks, where a group is not on its way to another generation; and it says the
/// same after compaction up to `cut`, and where a reader has come to the rest twice.
pub(super) fn check_replay(host: &Host, cut: usize) {
    let replayed = host.replayed();
    let ours = &host.coordinator.groups;
    assert!(ours.keys().eq(replayed.groups.keys()), "the same groups");
    for (id, group) in ours {
        let theirs = &replayed.groups[id];
        assert_eq!(group.offsets, theirs.offsets, "the same offsets of {id}");
        assert_eq!(group.is_recorded, theirs.is_recorded);
        if matches!(group.classic.state(), GroupState::Stable | GroupState::Empty) && group.is_recorded {
            let (ours, theirs) = (group.classic.to_record(id), theirs.classic.to_record(id));
            assert_eq!(without_time(ours), without_time(theirs), "the same group {id}");
        }
        assert!(theirs.classic.generation() <= group.classic.generation(), "generations are not given twice");
    }
    let expected = recorded(&replayed);
    let (before, after) = host.log.split_at(cut);
    for keeps_tombstones in [true, false] {
        let mut other = GroupCoordinator::new(host.settings.clone());
        compacted(before, keeps_tombstones).into_iter().chain(after).for_each(|record| other.replay_record(record));
        other.check();
        assert_eq!(recorded(&other), expected, "compacted up to {cut}");
    }
    let mut again = host.replayed();
    after.iter().for_each(|record| again.replay_record(record));
    again.check();
    assert_eq!(recorded(&again), expected, "read once more from {cut} on");
}

/// The record without the time that a stable group has and its record, which was made before, has not.
fn without_time(mut record: Record) -> Record {
    if let Record::Group { value: Some(value), .. } = &mut record
        && !value.members.is_empty()
    {
        value.state_timestamp_ms = -1;
    }
    record
}

/// Of a log that has lost any of its records each key is still as its last record says: offsets do not go with a tombstone of
/// their group, which may come after them in the log of another program.
pub(super) fn check_strange_replay(host: &Host, mut random: Random) {
    let left: Vec<Record> = host.log.iter().filter(|_| random.below(4) > 0).cloned().collect();
    let mut strange = GroupCoordinator::new(host.settings.clone());
    left.iter().for_each(|record| strange.replay_record(record));
    strange.check();
    let (offsets, groups) = last_of_each_key(&left);
    let found = recorded(&strange);
    let found_offsets = found.iter().filter(|(_, (_, offsets))| !offsets.is_empty());
    assert!(found_offsets.map(|(id, (_, offsets))| (*id, *offsets)).eq(&offsets), "offsets of a log with gaps");
    let found_groups = found.iter().filter(|(_, (record, _))| record.is_some());
    let found_groups = found_groups.map(|(id, _)| (*id, strange.groups[*id].classic.generation()));
    assert!(found_groups.eq(groups.iter().map(|(id, group)| (id, group.generation))), "groups of a log with gaps");
}

/// What the last record of each key says, where it is no tombstone.
fn last_of_each_key(log: &[Record]) -> (BTreeMap<GroupId, Offsets>, BTreeMap<GroupId, RecordedGroup>) {
    let last: BTreeMap<Vec<u8>, &Record> = log.iter().map(|record| (record.encode().0, record)).collect();
    let (mut offsets, mut groups) = (BTreeMap::<GroupId, Offsets>::new(), BTreeMap::new());
    for record in last.into_values() {
        match record {
            Record::Group { group, value: Some(value) } => drop(groups.insert(Arc::clone(group), value.clone())),
            Record::Offset { group, topic, partition, value: Some(value) } => {
                offsets.entry(Arc::clone(group)).or_default().put(topic, *partition, value.clone());
            }
            Record::Group { value: None, .. } | Record::Offset { value: None, .. } => {}
        }
    }
    (offsets, groups)
}

/// All that the log holds of the groups.
fn recorded(coordinator: &GroupCoordinator) -> BTreeMap<&GroupId, (Option<Record>, &Offsets)> {
    let recorded = coordinator.groups.iter().map(|(id, group)| {
        let record = group.is_recorded.then(|| group.classic.to_record(id));
        (id, (record, &group.offsets))
    });
    // A simple group without offsets is none; who has read its tombstones still knows its name.
    recorded.filter(|(_, (record, offsets))| record.is_some() || !offsets.is_empty()).collect()
}

/// Of each key the last record, and maybe no tombstones.
fn compacted(log: &[Record], keeps_tombstones: bool) -> Vec<&Record> {
    let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (at, record) in log.iter().enumerate() {
        last.insert(record.encode().0, at);
    }
    let mut kept: Vec<usize> = last.into_values().collect();
    kept.sort_unstable();
    let records = kept.into_iter().map(|at| &log[at]);
    records.filter(|record| keeps_tombstones || record.encode().1.is_some()).collect()
}
