//! A client of a group, as the walk plays it: it may be behind what the coordinator thinks of it.

use super::*;

/// A client.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) group: Arc<str>,
    pub(super) name: String,
    pub(super) instance: Option<Arc<str>>,
    /// How long it may be silent.
    pub(super) session_timeout_ms: i32,
    /// Whether it reads the topic `u` beside `t`.
    pub(super) reads_u: bool,
    pub(super) id: MemberId,
    pub(super) generation: i32,
    pub(super) plan: Plan,
    pub(super) waiting: Option<Ticket>,
    /// Where it leads: the members of the generation.
    pub(super) members: Vec<MemberId>,
    /// How far it has read in each partition of `t` that it was given; nothing before it was given any.
    pub(super) positions: Option<BTreeMap<i32, i64>>,
}

/// What a client would do next if it were let.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Plan {
    Join,
    Sync,
    GoOn,
}

impl Client {
    pub(super) fn new(number: usize) -> Self {
        Self {
            group: text(GROUPS[number % GROUPS.len()]),
            name: format!("c{number}"),
            instance: (number % 4 == 3).then(|| text(&format!("i{number}"))),
            session_timeout_ms: [SESSION_MS, 6000, 30_000][number / 4 % 3],
            reads_u: number.is_multiple_of(5),
            id: text(""),
            generation: -1,
            plan: Plan::Join,
            waiting: None,
            members: Vec::new(),
            positions: None,
        }
    }

    /// Forgets all that it was told.
    pub(super) fn begin_anew(&mut self) {
        (self.id, self.generation, self.plan, self.waiting) = (text(""), -1, Plan::Join, None);
        (self.members, self.positions) = (Vec::new(), None);
    }

    /// Takes an answer; `coordinator` says from where on to read.
    pub(super) fn learn(&mut self, answer: Answer, coordinator: &GroupCoordinator) {
        let error = match &answer {
            Answer::JoinGroup(answer) => answer.error,
            Answer::SyncGroup(answer) => answer.error,
            Answer::Heartbeat(error) => *error,
            Answer::OffsetCommit(errors) => {
                errors.iter().copied().find(|error| *error != ErrorCode::None).unwrap_or(ErrorCode::None)
            }
            Answer::LeaveGroup(_) => ErrorCode::UnknownMemberId,
            Answer::OffsetDelete(_) | Answer::DeleteGroups(_) => return,
        };
        match (error, answer) {
            (ErrorCode::None, Answer::JoinGroup(answer)) => {
                if (&self.id, self.generation) != (&answer.member_id, answer.generation) {
                    self.positions = None;
                }
                (self.id, self.generation, self.plan) = (answer.member_id, answer.generation, Plan::Sync);
                self.members = answer.members.into_iter().map(|member| member.member_id).collect();
            }
            (ErrorCode::None, Answer::SyncGroup(answer)) => {
                self.plan = Plan::GoOn;
                if self.positions.is_none() {
                    let committed = |partition| position(coordinator, &self.group, partition);
                    let partitions = partitions_in(&answer.assignment);
                    self.positions =
                        Some(partitions.into_iter().map(|partition| (partition, committed(partition))).collect());
                }
            }
            (ErrorCode::None, _) => {}
            (ErrorCode::MemberIdRequired, Answer::JoinGroup(answer)) => self.id = answer.member_id,
            (ErrorCode::RebalanceInProgress, _) => self.plan = Plan::Join,
            (
                ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable,
                Answer::JoinGroup(_) | Answer::SyncGroup(_),
            ) => self.plan = Plan::Join,
            // It is alive all the same; and may commit again.
            (ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::OffsetMetadataTooLarge, _) => {
            }
            _ => self.begin_anew(),
        }
    }

    pub(super) fn leaving(&self) -> LeavingMember {
        let member_id = if self.instance.is_some() { text("") } else { Arc::clone(&self.id) };
        LeavingMember { member_id, instance_id: self.instance.clone() }
    }

    pub(super) fn heartbeat(&self) -> Request {
        Request::Heartbeat(Heartbeat {
            group_id: Arc::clone(&self.group),
            generation: self.generation,
            member_id: Arc::clone(&self.id),
            instance_id: self.instance.clone(),
        })
    }

    /// The leader deals the partitions out to the members that it was told of.
    pub(super) fn sync(&self) -> SyncGroup {
        let mut dealt: BTreeMap<&MemberId, Vec<u8>> = BTreeMap::new();
        for (partition, member_id) in (0..PARTITIONS as u8).zip(self.members.iter().cycle()) {
            dealt.entry(member_id).or_default().push(partition);
        }
        SyncGroup {
            group_id: Arc::clone(&self.group),
            instance_id: self.instance.clone(),
            protocol: None,
            protocol_type: None,
            requires_protocol: false,
            assignments: dealt.into_iter().map(|(id, partitions)| (Arc::clone(id), partitions.into())).collect(),
            ..sync_of(&self.id, self.generation, &[])
        }
    }

    pub(super) fn commit(&self, offsets: Vec<OffsetToCommit>) -> Request {
        Request::OffsetCommit(OffsetCommit {
            group_id: Arc::clone(&self.group),
            instance_id: self.instance.clone(),
            offsets,
            ..commit_of(&self.id, self.generation, 0)
        })
    }
}

/// The partitions of an assignment that a client dealt out.
pub(super) fn partitions_in(assignment: &Opaque) -> Vec<i32> {
    assignment.iter().map(|partition| i32::from(*partition)).collect()
}

/// Where a consumer that is given the partition begins to read.
fn position(coordinator: &GroupCoordinator, group: &str, partition: i32) -> i64 {
    coordinator.offsets(group).get("t", partition).map_or(0, |committed| committed.offset)
}
