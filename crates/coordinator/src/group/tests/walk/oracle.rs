//! What must be true whatever happens, judged from the outside: by the answers, the log, and what members are said to have.

use super::client::partitions_in;
use super::*;
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
    /// Whether the last request was a commit of one who is no member.
    is_reset: bool,
    /// How far each group has got in each partition.
    committed: BTreeMap<(GroupId, i32), i64>,
    /// Groups that were asked to be deleted, and what is to be answered if it can be written.
    deletes: BTreeMap<Ticket, (GroupId, ErrorCode)>,
    /// Assignments and commits that were looked at.
    pub(super) judged: u64,
    /// Groups that were deleted with offsets.
    pub(super) deleted_with_offsets: u64,
}

type Generation = (GroupId, u32, i32);
/// The member's id; of a static member the instance, which remains the same under another id.
type Owner = Arc<str>;

impl Oracle {
    /// Before the request is decided.
    pub(super) fn asked(&mut self, host: &Host, ticket: Ticket, request: &Request) {
        match request {
            Request::SyncGroup(sync) => {
                let life = self.lives.get(&sync.group_id).copied().unwrap_or(0);
                let generation = (Arc::clone(&sync.group_id), life, sync.generation);
                let owner = sync.instance_id.as_ref().unwrap_or(&sync.member_id);
                self.syncs.insert(ticket, (generation, Arc::clone(owner)));
            }
            Request::OffsetCommit(commit) => self.is_reset = commit.generation < 0,
            Request::DeleteGroups(delete) => {
                let id = &delete.group_ids[0];
                let expected = match host.coordinator.describe_group(id).map(|group| group.state) {
                    None => ErrorCode::GroupIdNotFound,
                    Some(GroupState::Empty) => ErrorCode::None,
                    Some(_) => ErrorCode::NonEmptyGroup,
                };
                self.deletes.insert(ticket, (Arc::clone(id), expected));
            }
            _ => {}
        }
    }

    /// After each step.
    pub(super) fn observe(&mut self, host: &Host) {
        self.take_answers(host);
        self.take_deletes(host);
        self.take_log(host);
        for id in host.coordinator.groups.keys() {
            check_ownership(&host.coordinator, id);
        }
    }

    /// Two members may never both be told, of one generation, that a partition is theirs.
    fn take_answers(&mut self, host: &Host) {
        let Self { syncs, owners, judged, .. } = self;
        syncs.retain(|ticket, (generation, owner)| {
            let Some(Answer::SyncGroup(answer)) = host.answers.get(ticket) else { return true };
            for partition in partitions_in(&answer.assignment) {
                *judged += 1;
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
            assert!(host.coordinator.fetch_all_offsets(&id).is_empty(), "{id} is deleted with its offsets");
            let (offsets, groups) = last_of_each_key(&host.log);
            assert!(!groups.contains_key(&id) && !offsets.contains_key(&id), "{id} is deleted in the log");
            self.deleted_with_offsets += u64::from(self.committed.keys().any(|(group, _)| *group == id));
        }
    }

    fn take_log(&mut self, host: &Host) {
        for record in &host.log[self.seen..] {
            match record {
                Record::Group { group, value: None } => *self.lives.entry(Arc::clone(group)).or_default() += 1,
                Record::Group { .. } => {}
                Record::Offset { group, partition, value, .. } => {
                    let key = (Arc::clone(group), *partition);
                    let Some(value) = value else {
                        self.committed.remove(&key);
                        continue;
                    };
                    self.judged += 1;
                    let before = self.committed.insert(key, value.offset).unwrap_or(0);
                    assert!(
                        value.offset >= before || self.is_reset,
                        "nobody has reset {group}, but partition {partition} goes from {before} to {}",
                        value.offset
                    );
                }
            }
        }
        self.seen = host.log.len();
        self.is_reset = false;
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
            assert_eq!(group.classic.to_record(id), theirs.classic.to_record(id), "the same group {id}");
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
