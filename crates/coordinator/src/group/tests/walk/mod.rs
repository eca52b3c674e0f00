//! Random walks: members that come, go, die and lose answers, requests that arrive twice or late, writes that fail, a
//! coordinator that restarts anywhere. The seed of a failure is in its message; the same seed takes the same steps.
//!
//! ```text
//!   clients (client.rs) --requests, some lost, late, twice--> host --records, answers--> what must be true (oracle.rs)
//!                                                                                       what may be forgotten (forgetting.rs)
//! ```

mod client;
mod forgetting;
mod oracle;

use ottla_base::Random;

use super::*;

use client::{Client, Plan};
use oracle::{Oracle, Seen};

const WALKS: u64 = 100;
const STEPS: usize = 500;
const GROUPS: [&str; 3] = ["g", "h", "i"];
/// A group that nobody joins: administrators alone give it offsets.
const SIMPLE_GROUP: &str = "s";
/// Partitions of each topic.
const PARTITIONS: i32 = 5;
/// Everybody reads `t`, some read `u`, nobody `x`.
const TOPICS: [&str; 3] = ["t", "u", "x"];
/// Longer than any request may wait: the five minutes of a first join, and then the barriers after it.
const LONGEST_WAIT_MS: u64 = 2 * 300_000;

struct Walk {
    host: Host,
    random: Random,
    clients: Vec<Client>,
    /// Requests that were sent before, some of which arrive again.
    sent: Vec<Request>,
    /// Requests that have not arrived yet; others overtake them.
    under_way: Vec<Request>,
    oracle: Oracle,
    /// Topics that are deleted come again with another id.
    topic_ids: BTreeMap<Arc<str>, Uuid>,
    /// Deletions of which the coordinator has not heard yet.
    untold: Vec<DeletedTopic>,
    /// When each ticket was asked with.
    asked_ms: BTreeMap<Ticket, u64>,
    /// Tickets whose connections are gone.
    lost: BTreeSet<Ticket>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // In the shorter time nobody need have left for offsets to expire.
        let (offsets_retention_ms, offsets_retention_check_interval_ms) =
            [(900_000, 600_000), (5000, 2000)][random.below(2) as usize];
        let settings = Settings {
            group_initial_rebalance_delay_ms: [0, 3000][random.below(2) as usize],
            group_max_size: [3, 100][random.below(2) as usize],
            offsets_retention_ms,
            offsets_retention_check_interval_ms,
            ..Settings::default()
        };
        let clients = (0..12).map(Client::new).collect();
        let host = Host::with(settings);
        Self {
            host,
            random,
            clients,
            sent: Vec::new(),
            under_way: Vec::new(),
            oracle: Oracle::default(),
            untold: Vec::new(),
            topic_ids: (1..).zip(TOPICS).map(|(number, name)| (text(name), Uuid(number))).collect(),
            asked_ms: BTreeMap::new(),
            lost: BTreeSet::new(),
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn step(&mut self) {
        match self.random.below(1000) {
            0..=729 => self.act(),
            730..=754 => self.arrive(),
            755..=769 => self.reset_offset(),
            770..=784 => self.send_again(),
            785..=789 => self.delete_group(),
            790..=984 => self.pass_some_time(),
            985..=987 => self.delete_topic(),
            988..=989 => self.leave_together(),
            990..=994 => self.restart(),
            _ => self.give_up(),
        }
        self.clients_learn();
    }

    /// One client does what it has planned, or something that does not fit.
    fn act(&mut self) {
        let number = self.random.below(self.clients.len() as u64) as usize;
        let client = self.clients[number].clone();
        let is_odd = self.chance(5);
        if client.waiting.is_some() && !is_odd {
            return;
        }
        let request = match client.plan {
            _ if is_odd => self.odd_request(&client),
            Plan::Join => Request::JoinGroup(self.join_of(&client)),
            Plan::Sync => Request::SyncGroup(client.sync()),
            Plan::GoOn if self.chance(30) => self.commit_of(number),
            Plan::GoOn => client.heartbeat(),
        };
        match self.random.below(100) {
            // It never arrives, and the client asks again some time.
            0..=1 => {}
            // It arrives later; the client has given up on the answer by then.
            2..=5 => self.under_way.push(request),
            _ => self.clients[number].waiting = Some(self.send(request)),
        }
    }

    /// A request that is under way arrives, whichever was sent first.
    fn arrive(&mut self) {
        if !self.under_way.is_empty() {
            let at = self.random.below(self.under_way.len() as u64) as usize;
            let request = self.under_way.swap_remove(at);
            if !self.is_overtaken(&request) {
                self.send(request);
            }
        }
    }

    /// Whether it is a commit of a member that has sent a later one: a client does not commit over two connections, so that
    /// in one generation its commits arrive in order.
    fn is_overtaken(&self, request: &Request) -> bool {
        let Request::OffsetCommit(commit) = request else { return false };
        self.sent.iter().rev().any(|sent| match sent {
            Request::OffsetCommit(sent) => {
                let is_further = |sent: &OffsetToCommit, late: &OffsetToCommit| {
                    (&sent.topic, sent.partition) == (&late.topic, late.partition) && sent.offset > late.offset
                };
                (&sent.member_id, sent.generation) == (&commit.member_id, commit.generation)
                    && sent.offsets.iter().any(|sent| commit.offsets.iter().any(|late| is_further(sent, late)))
            }
            _ => false,
        })
    }

    fn offset_of(&mut self, topic: &str, partition: i32, offset: i64) -> OffsetToCommit {
        let metadata = match self.random.below(10) {
            0 => None,
            1 => Some("long ".repeat(30).into()),
            _ => Some(text("note")),
        };
        OffsetToCommit {
            topic: text(topic),
            topic_id: self.topic_ids[topic],
            partition,
            offset,
            metadata,
            ..commit_of("", -1, 0).offsets.remove(0)
        }
    }

    fn any_topic(&mut self) -> &'static str {
        TOPICS[self.random.below(TOPICS.len() as u64) as usize]
    }

    fn any_partition(&mut self) -> i32 {
        self.random.below(PARTITIONS as u64) as i32
    }

    fn any_group(&mut self) -> GroupId {
        let number = self.random.below(GROUPS.len() as u64 + 1) as usize;
        text(GROUPS.get(number).unwrap_or(&SIMPLE_GROUP))
    }

    /// An administrator deletes a group, which only an empty group lets happen.
    fn delete_group(&mut self) {
        let group_ids = vec![self.any_group()];
        self.send(Request::DeleteGroups(DeleteGroups { group_ids }));
    }

    /// An administrator sets offsets, which only an empty group lets happen. Very old clients say how long they are kept.
    fn reset_offset(&mut self) {
        let group_id = self.any_group();
        let count = 1 + self.random.below(3);
        let offsets = (0..count).map(|_| {
            let (topic, partition, offset) = (self.any_topic(), self.any_partition(), self.random.below(1000) as i64);
            self.offset_of(topic, partition, offset)
        });
        let offsets = offsets.collect();
        let retention_time_ms = if self.chance(20) { self.random.below(300_000) as i64 } else { -1 };
        self.send(Request::OffsetCommit(OffsetCommit { group_id, offsets, retention_time_ms, ..commit_of("", -1, 0) }));
    }

    /// A topic is deleted, and made again; it may be that somebody commits to the new one before the coordinator hears of the old.
    fn delete_topic(&mut self) {
        let name = self.any_topic();
        let id = self.topic_ids.get_mut(name).expect("it is there");
        let deleted = DeletedTopic { name: name.into(), id: *id };
        *id = Uuid(id.0 + TOPICS.len() as u128);
        self.untold.push(deleted);
        if self.chance(50) {
            let deleted = std::mem::take(&mut self.untold);
            self.decide_or_fail(Input::TopicsDeleted(deleted));
        }
    }

    /// An administrator takes several members out of a group, and one that was never there.
    fn leave_together(&mut self) {
        let group_id = self.any_group();
        let of_group = self.clients.iter().filter(|client| client.group == group_id);
        let mut members: Vec<LeavingMember> = of_group.map(Client::leaving).collect();
        members.truncate(1 + self.random.below(3) as usize);
        members.push(LeavingMember { member_id: text("nobody"), instance_id: None });
        self.send(Request::LeaveGroup(LeaveGroup { group_id, members }));
    }

    fn odd_request(&mut self, client: &Client) -> Request {
        match self.random.below(7) {
            0 => Request::JoinGroup(self.join_of(client)),
            1 => Request::SyncGroup(client.sync()),
            2 => client.heartbeat(),
            3 => self.odd_commit_of(client),
            4 => {
                let members = vec![client.leaving()];
                Request::LeaveGroup(LeaveGroup { group_id: Arc::clone(&client.group), members })
            }
            5 => Request::DeleteGroups(DeleteGroups { group_ids: vec![Arc::clone(&client.group)] }),
            _ => {
                let partitions = TOPICS.map(|topic| (text(topic), self.any_partition())).to_vec();
                Request::OffsetDelete(OffsetDelete { group_id: Arc::clone(&client.group), partitions })
            }
        }
    }

    /// The client has read on in some of its partitions, and says so; maybe also of a topic that it reads by itself.
    fn commit_of(&mut self, number: usize) -> Request {
        let client = &self.clients[number];
        let Some(mut positions) = client.positions.clone().filter(|positions| !positions.is_empty()) else {
            return client.heartbeat();
        };
        let first = self.random.below(positions.len() as u64) as usize;
        let count = 1 + self.random.below(3) as usize;
        let mut offsets = Vec::new();
        for (&partition, position) in positions.iter_mut().skip(first).take(count) {
            *position += 1 + self.random.below(10) as i64;
            offsets.push(self.offset_of("t", partition, *position));
        }
        if self.chance(20) {
            let (partition, later) = (self.any_partition(), self.host.now_ms as i64);
            offsets.push(self.offset_of(TOPICS[1], partition, later));
        }
        let client = &mut self.clients[number];
        client.positions = Some(positions);
        client.commit(offsets)
    }

    /// A commit of the generation before the client's own, which is over.
    fn odd_commit_of(&mut self, client: &Client) -> Request {
        let partition = self.any_partition();
        let offset = self.offset_of("t", partition, 0);
        Client { generation: (client.generation - 1).max(-1), ..client.clone() }.commit(vec![offset])
    }

    fn join_of(&mut self, client: &Client) -> JoinGroup {
        let reads_u = client.reads_u ^ self.chance(3);
        let metadata = metadata_of(if reads_u { b"tu" } else { b"t" });
        let lists: [&[&str]; 3] = [&["range", "roundrobin"], &["roundrobin", "range"], &["range"]];
        let protocols = lists[if self.chance(90) { 0 } else { self.random.below(3) as usize }];
        let begins_anew = self.chance(3);
        JoinGroup {
            group_id: Arc::clone(&client.group),
            instance_id: client.instance.clone(),
            requires_member_id: self.chance(70),
            may_skip_assignment: self.chance(50),
            rebalance_timeout_ms: [None, Some(60_000), Some(5000)][self.random.below(3) as usize],
            session_timeout_ms: client.session_timeout_ms,
            protocols: protocols
                .iter()
                .map(|name| Protocol { name: text(name), metadata: Arc::clone(&metadata) })
                .collect(),
            fresh_id: Uuid(self.random.next_u64().into()),
            ..join_of(&client.name, if begins_anew { "" } else { &client.id })
        }
    }

    /// What is left for members or metadata: mostly enough.
    fn room_bytes(&mut self) -> usize {
        if self.chance(3) { self.random.below(600) as usize } else { usize::MAX }
    }

    /// A request arrives.
    fn send(&mut self, mut request: Request) -> Ticket {
        match &mut request {
            Request::JoinGroup(join) => join.room_bytes = self.room_bytes(),
            Request::SyncGroup(sync) => sync.room_bytes = self.room_bytes(),
            Request::OffsetCommit(commit) => commit.metadata_room.bytes = self.room_bytes(),
            _ => {}
        }
        self.sent.push(request.clone());
        self.host.asked += 1;
        let ticket = Ticket(self.host.asked);
        self.asked_ms.insert(ticket, self.host.now_ms);
        self.decide_or_fail(Input::Request { ticket, request });
        ticket
    }

    /// One in fifty inputs is not written, if it writes anything; where records need not be one unit, some of them are.
    fn decide_or_fail(&mut self, input: Input) {
        self.oracle.expect(&self.host, &input);
        let failure = input.failure();
        let is_one_unit = match &input {
            Input::Request { request, .. } => !matches!(request, Request::DeleteGroups(_)),
            _ => false,
        };
        let is_of_topics = matches!(input, Input::TopicsDeleted(_) | Input::TopicsKnown(_));
        let outcome = self.host.coordinator.decide(self.host.now(), input);
        let fails = !outcome.records.is_empty() && self.chance(2);
        if fails {
            let count = if is_one_unit { 0 } else { self.random.below(outcome.records.len() as u64) as usize };
            let records: Vec<Record> = outcome.records.into_iter().take(count).collect();
            let written = records.clone();
            self.host.carry_out(Outcome { records, ..Outcome::default() });
            self.host.decide(Input::WriteFailed { failure, error: ErrorCode::NotEnoughReplicas, written });
        } else {
            self.host.carry_out(outcome);
        }
        self.oracle.observe(&self.host);
        if is_of_topics && !fails {
            self.oracle.check_forgotten();
        }
    }

    /// A request arrives once more, maybe long after.
    fn send_again(&mut self) {
        let late = self.random.below(30).min(self.sent.len() as u64) as usize;
        if let Some(request) = self.sent.len().checked_sub(late + 1).and_then(|at| self.sent.get(at)) {
            let mut request = request.clone();
            if let Request::JoinGroup(join) = &mut request {
                join.fresh_id = Uuid(self.random.next_u64().into());
            }
            if !self.is_overtaken(&request) {
                self.send(request);
            }
        }
    }

    fn pass_some_time(&mut self) {
        let ms = match self.random.below(100) {
            0..=49 => 1 + self.random.below(100),
            50..=79 => 1000,
            80..=95 => 3000,
            96..=97 => 12_000,
            98 => 70_000,
            _ => 1_000_000,
        };
        self.pass_ms(ms);
    }

    /// Each timer ends at its own time, and is judged by itself.
    fn pass_ms(&mut self, ms: u64) {
        let end_ms = self.host.now_ms + ms;
        while let Some(deadline_ms) = self.host.deadline_ms().filter(|deadline_ms| *deadline_ms <= end_ms) {
            self.host.now_ms = self.host.now_ms.max(deadline_ms);
            self.decide_or_fail(Input::Time);
        }
        self.host.now_ms = end_ms;
    }

    /// The process dies: whoever waits has lost the connection, and so has whatever is under way. Or the groups go to another
    /// broker, which whoever waits is told.
    fn restart(&mut self) {
        let is_unloaded = self.chance(50);
        if is_unloaded {
            self.decide_or_fail(Input::Unloaded);
        }
        self.host.restart();
        self.oracle.observe(&self.host);
        let unanswered: Vec<Ticket> =
            self.asked_ms.keys().filter(|ticket| !self.host.answers.contains_key(ticket)).copied().collect();
        assert!(!is_unloaded || unanswered.iter().all(|ticket| self.lost.contains(ticket)), "nobody is left waiting");
        self.lost.extend(unanswered);
        if self.chance(50) {
            self.decide_or_fail(Input::TopicsKnown(self.topic_ids.clone()));
        }
        self.sent.clear();
        self.under_way.clear();
        for client in &mut self.clients {
            // A generation whose assignment was never written is given again. Who missed that would take the next one for
            // its own, as with Kafka.
            let group = self.host.coordinator.classic(&client.group);
            if group.is_none_or(|group| group.generation() < client.generation) {
                client.begin_anew();
            }
        }
    }

    /// A client dies, and begins anew.
    fn give_up(&mut self) {
        let number = self.random.below(self.clients.len() as u64) as usize;
        self.clients[number].begin_anew();
    }

    /// Clients take what was answered, unless it is lost.
    fn clients_learn(&mut self) {
        for number in 0..self.clients.len() {
            let Some(ticket) = self.clients[number].waiting else { continue };
            let Some(answer) = self.host.answers.get(&ticket).cloned() else { continue };
            let is_lost = self.chance(2);
            let client = &mut self.clients[number];
            client.waiting = None;
            if !is_lost {
                client.learn(answer, &self.host.coordinator);
            }
        }
    }

    fn check_log(&mut self) {
        let cut = self.random.below(self.host.log.len() as u64 + 1) as usize;
        oracle::check_replay(&self.host, cut);
        oracle::check_strange_replay(&self.host, Random::new(self.random.next_u64()));
    }

    /// No request waits for longer than it may.
    fn check_waiting(&self) {
        for (ticket, asked_ms) in &self.asked_ms {
            let waits = !self.host.answers.contains_key(ticket) && !self.lost.contains(ticket);
            assert!(!waits || self.host.now_ms - asked_ms <= LONGEST_WAIT_MS, "{ticket:?} was not answered in time");
        }
    }
}

#[test]
fn whatever_happens_everybody_is_answered_and_the_log_says_it_all() {
    let (mut assignments, mut refused, mut seen) = (0, 0, Seen::default());
    for seed in 0..WALKS {
        let result = std::panic::catch_unwind(|| {
            let mut walk = Walk::new(seed);
            for step in 0..STEPS {
                walk.step();
                if step % 20 == 0 {
                    walk.check_log();
                }
                walk.check_waiting();
            }
            walk.pass_ms(LONGEST_WAIT_MS);
            walk.check_waiting();
            walk.check_log();
            let alive = walk.host.coordinator.groups.values().filter(|group| !group.classic.is_empty()).count();
            assert_eq!(alive, 0, "who is silent for so long is no member");
            let has_members = |record: &&Record| match record {
                Record::Group { value: Some(value), .. } => value.members.len() > 1,
                _ => false,
            };
            let written = walk.host.log.iter().filter(has_members).count() as u64;
            (written, walk.host.refused.len() as u64, walk.oracle.seen_of)
        });
        let (of_walk, refused_in_walk, seen_in_walk) =
            result.unwrap_or_else(|_| panic!("the walk with seed {seed} failed, see above"));
        assignments += of_walk;
        refused += refused_in_walk;
        seen.add(seen_in_walk);
    }
    assert!(assignments > 5 * WALKS, "the walks come to something: {assignments} assignments");
    assert!(refused > WALKS, "some found no room: {refused}");
    let Seen { judged, deleted_with_offsets, forgotten, left_together } = seen;
    assert!(judged > 50 * WALKS, "there is something to judge: {judged} partitions and offsets");
    assert!(deleted_with_offsets > WALKS / 10, "groups are deleted that have offsets: {deleted_with_offsets}");
    assert!(forgotten.iter().all(|count| *count > WALKS / 4), "offsets go for each reason: {forgotten:?}");
    assert!(left_together > WALKS / 10, "members leave together: {left_together}");
}

#[test]
fn the_same_seed_takes_the_same_steps() {
    let walk = |seed| {
        let mut walk = Walk::new(seed);
        (0..STEPS).for_each(|_| walk.step());
        (walk.host.log, walk.host.answers)
    };
    assert!(walk(7) == walk(7));
}
