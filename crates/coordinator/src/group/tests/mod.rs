//! The groups as a host sees them: requests and time in, answers and records out.

mod generations;
mod limits;
mod offsets;
mod records;
mod requests;
mod static_members;
mod table;
mod walk;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_base::{Now, Offset, Outcome, Shard, Uuid};
use ottla_protocol::error::ErrorCode;

use self::requests::{GROUP, REBALANCE_MS, SESSION_MS, join_of, metadata, metadata_of, protocols, sync_of, text};
use super::*;

/// A host without a network: its log is a list.
struct Host {
    coordinator: GroupCoordinator,
    settings: Settings,
    now_ms: u64,
    log: Vec<Record>,
    answers: BTreeMap<Ticket, Answer>,
    /// What was refused for want of room.
    refused: Vec<(GroupId, Limit)>,
    asked: u64,
    /// Whether everything is looked through after each step.
    is_checked: bool,
}

impl Host {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Groups that were empty begin at once, so that tests are short.
    fn prompt() -> Self {
        Self::with(Settings { group_initial_rebalance_delay_ms: 0, ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        let coordinator = GroupCoordinator::new(settings.clone());
        let mut host = Self {
            coordinator,
            settings,
            now_ms: 1_000_000,
            log: Vec::new(),
            answers: BTreeMap::new(),
            refused: Vec::new(),
            asked: 0,
            is_checked: true,
        };
        host.decide(Input::Loaded);
        host
    }

    fn now(&self) -> Now {
        Now::at_ms(self.now_ms)
    }

    fn decide(&mut self, input: Input) {
        let outcome = self.coordinator.decide(self.now(), input);
        self.carry_out(outcome);
    }

    fn carry_out(&mut self, outcome: Outcome<GroupCoordinator>) {
        for record in outcome.records {
            let (key, value) = record.encode();
            let read = Record::decode(&key, value.as_deref()).expect("we wrote it").expect("we know it");
            assert_eq!(read, record, "a record reads back as it was decided");
            self.coordinator.replay(Offset(self.log.len() as i64), &record);
            self.log.push(record);
        }
        outcome.notes.into_iter().for_each(|note| self.coordinator.note(note));
        if self.is_checked {
            self.coordinator.check();
        }
        for effect in outcome.effects {
            match effect {
                Effect::Answer { ticket, answer } => {
                    assert!(ticket.0 <= self.asked, "nobody asked with {ticket:?}");
                    assert!(self.answers.insert(ticket, answer).is_none(), "{ticket:?} is answered once");
                }
                Effect::Refused { group, limit } => self.refused.push((group, limit)),
            }
        }
    }

    fn ask(&mut self, request: Request) -> Ticket {
        self.asked += 1;
        let ticket = Ticket(self.asked);
        self.decide(Input::Request { ticket, request });
        ticket
    }

    /// When the next timer ends.
    fn deadline_ms(&self) -> Option<u64> {
        self.coordinator.next_deadline().map(|deadline| deadline.monotonic.as_millis() as u64)
    }

    /// Lets time pass, and each timer end at its own time.
    fn pass_ms(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Some(deadline_ms) = self.deadline_ms().filter(|deadline_ms| *deadline_ms <= end_ms) {
            self.now_ms = self.now_ms.max(deadline_ms);
            self.decide(Input::Time);
        }
        self.now_ms = end_ms;
    }

    /// Another coordinator that read the log.
    fn replayed(&self) -> GroupCoordinator {
        let mut other = GroupCoordinator::new(self.settings.clone());
        for (at, record) in self.log.iter().enumerate() {
            other.replay(Offset(at as i64), record);
        }
        other.check();
        other
    }

    /// The process ends and begins again; nobody is answered any more.
    fn restart(&mut self) {
        self.coordinator = self.replayed();
        self.decide(Input::Loaded);
    }

    fn join(&mut self, ticket: Ticket) -> JoinGroupAnswer {
        match self.answers.get(&ticket) {
            Some(Answer::JoinGroup(answer)) => answer.clone(),
            other => panic!("{ticket:?} is answered with {other:?}"),
        }
    }

    fn sync(&mut self, ticket: Ticket) -> SyncGroupAnswer {
        match self.answers.get(&ticket) {
            Some(Answer::SyncGroup(answer)) => answer.clone(),
            other => panic!("{ticket:?} is answered with {other:?}"),
        }
    }

    fn state(&self) -> GroupState {
        self.coordinator.describe_group(GROUP).map_or(GroupState::Dead, |group| group.state)
    }

    /// The answer's error, or that there is none yet.
    fn outcome(&self, ticket: Ticket) -> String {
        let of = |error: ErrorCode| error.code().to_string();
        match self.answers.get(&ticket) {
            None => "waits".to_owned(),
            Some(Answer::JoinGroup(answer)) => of(answer.error),
            Some(Answer::SyncGroup(answer)) => of(answer.error),
            Some(Answer::Heartbeat(error)) => of(*error),
            Some(Answer::LeaveGroup(Ok(members))) => of(members[0].error),
            Some(Answer::OffsetCommit(errors)) => of(errors[0]),
            Some(Answer::OffsetDelete(Ok(errors))) => format!("0/{}", of(errors[0])),
            Some(Answer::DeleteGroups(groups)) => of(groups[0].error),
            Some(Answer::LeaveGroup(Err(error)) | Answer::OffsetDelete(Err(error))) => of(*error),
        }
    }

    /// A member joins with an id in advance, and everybody else rejoins: a dynamic member of a stable group.
    fn add_member(&mut self, name: &str) -> MemberId {
        let asked = self.ask(join(name, ""));
        let id = self.join(asked).member_id;
        self.ask(join(name, &id));
        id
    }

    /// Members `m1`, `m2` ... in a stable group; the first leads.
    fn stable(&mut self, count: usize) -> Vec<MemberId> {
        let ids = self.completing(count);
        for id in ids.iter().rev() {
            let ticket = self.ask(sync(id, self.generation(), &ids));
            assert!(*id != ids[0] || self.outcome(ticket) == "0");
        }
        assert_eq!(self.state(), GroupState::Stable);
        ids
    }

    /// The same, but nobody has synced.
    fn completing(&mut self, count: usize) -> Vec<MemberId> {
        let ids: Vec<MemberId> = (1..=count).map(|number| self.add_member(&format!("m{number}"))).collect();
        self.pass_ms(self.settings.group_initial_rebalance_delay_ms as u64 * 2);
        assert_eq!(self.state(), GroupState::CompletingRebalance);
        ids
    }

    fn generation(&self) -> i32 {
        self.coordinator.classic(GROUP).expect("there is a group").generation()
    }
}

fn join(client: &str, id: &str) -> Request {
    Request::JoinGroup(join_of(client, id))
}

fn sync(id: &str, generation: i32, members: &[MemberId]) -> Request {
    Request::SyncGroup(sync_of(id, generation, members))
}

fn heartbeat(id: &str, generation: i32) -> Request {
    Request::Heartbeat(Heartbeat { group_id: text(GROUP), generation, member_id: text(id), instance_id: None })
}

fn leave(id: &str, instance: Option<&str>) -> Request {
    let member = LeavingMember { member_id: text(id), instance_id: instance.map(text) };
    Request::LeaveGroup(LeaveGroup { group_id: text(GROUP), members: vec![member] })
}

fn commit_of(id: &str, generation: i32, offset: i64) -> OffsetCommit {
    let offset = OffsetToCommit {
        topic: text("t"),
        topic_id: Uuid(5),
        partition: 0,
        offset,
        leader_epoch: 3,
        metadata: Some(text("note")),
        is_topic_gone: false,
    };
    OffsetCommit {
        group_id: text(GROUP),
        generation,
        member_id: text(id),
        instance_id: None,
        retention_time_ms: -1,
        knows_group_id_not_found: true,
        offsets: vec![offset],
        metadata_room: MetadataRoom { bytes: usize::MAX, reserved_bytes: 0 },
    }
}

fn commit(id: &str, generation: i32, offset: i64) -> Request {
    Request::OffsetCommit(commit_of(id, generation, offset))
}
