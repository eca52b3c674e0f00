//! How long the groups of a partition are held up by a large group of members with many protocols that comes together, and
//! then meets again: `cargo bench -p ottla-coordinator`.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../src/group/tests/requests.rs"]
mod requests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_base::{Now, Offset, Shard, Uuid};
use ottla_coordinator::group::{
    Answer, Effect, GroupCoordinator, Input, JoinGroup, JoinGroupAnswer, MemberId, Protocol, Request, Settings,
    SyncGroup, Ticket,
};

use self::requests::{join_of, metadata, sync_of};

const PROTOCOLS: usize = 100;
const ROUNDS: usize = 5;

/// The groups, and how long each step took.
struct Host {
    groups: GroupCoordinator,
    now_ms: u64,
    asked: u64,
    took: Vec<Duration>,
}

impl Host {
    fn new() -> Self {
        let settings = Settings { group_initial_rebalance_delay_ms: 3000, ..Settings::default() };
        let mut host = Self { groups: GroupCoordinator::new(settings), now_ms: 0, asked: 0, took: Vec::new() };
        host.step(Input::Loaded);
        host
    }

    fn step(&mut self, input: Input) -> Vec<JoinGroupAnswer> {
        let begun = Instant::now();
        let outcome = self.groups.decide(Now::at_ms(self.now_ms), input);
        outcome.records.iter().for_each(|record| self.groups.replay(Offset(0), record));
        outcome.notes.into_iter().for_each(|note| self.groups.note(note));
        self.took.push(begun.elapsed());
        let joined = outcome.effects.into_iter().filter_map(|effect| match effect {
            Effect::Answer { answer: Answer::JoinGroup(answer), .. } => Some(answer),
            Effect::Answer { .. } | Effect::Refused { .. } => None,
        });
        joined.collect()
    }

    fn ask(&mut self, request: Request) -> Vec<JoinGroupAnswer> {
        self.asked += 1;
        self.step(Input::Request { ticket: Ticket(self.asked), request })
    }

    fn pass_ms(&mut self, ms: u64) -> Vec<JoinGroupAnswer> {
        self.now_ms += ms;
        let mut joined = Vec::new();
        while self
            .groups
            .next_deadline()
            .is_some_and(|deadline| deadline.monotonic <= Now::at_ms(self.now_ms).monotonic)
        {
            joined.extend(self.step(Input::Time));
        }
        joined
    }

    fn tell(&mut self, members: usize, what: &str) {
        let took = std::mem::take(&mut self.took);
        let longest = took.iter().max().expect("there were steps");
        println!("{members} members, {what}: {:?} in all, the longest {longest:?}", took.iter().sum::<Duration>());
    }
}

fn join(number: usize, member_id: &str) -> Request {
    let protocol = |place: usize| Protocol { name: format!("p{place}").into(), metadata: metadata() };
    Request::JoinGroup(JoinGroup {
        protocols: (0..PROTOCOLS).map(protocol).collect(),
        requires_member_id: false,
        may_skip_assignment: false,
        fresh_id: Uuid(number as u128),
        ..join_of("c", member_id)
    })
}

fn sync(member_id: &MemberId, generation: i32) -> Request {
    Request::SyncGroup(SyncGroup { protocol_type: None, protocol: None, ..sync_of(member_id, generation, &[]) })
}

fn measure(members: usize) {
    let mut host = Host::new();
    for number in 0..members {
        host.ask(join(number, ""));
    }
    host.tell(members, "first joins");
    let mut joined = Vec::new();
    while joined.is_empty() {
        joined = host.pass_ms(3000);
    }
    host.tell(members, "the first generation");
    for _ in 0..ROUNDS {
        let generation = joined[0].generation;
        // Who leads is first: it begins the next rebalance.
        joined.sort_by_key(|answer| answer.leader != answer.member_id);
        joined.iter().rev().for_each(|answer| drop(host.ask(sync(&answer.member_id, generation))));
        host.tell(members, "syncs");
        let ids: Vec<MemberId> = joined.iter().map(|answer| Arc::clone(&answer.member_id)).collect();
        joined = ids.iter().enumerate().flat_map(|(number, id)| host.ask(join(number, id))).collect();
        assert_eq!(joined.len(), ids.len(), "all have met");
        host.tell(members, "joins");
    }
}

fn main() {
    [100, 1000].into_iter().for_each(measure);
}
