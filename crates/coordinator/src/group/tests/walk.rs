//! Random walks: members that come, go, die and lose answers, requests that arrive twice or late, writes that fail, a
//! coordinator that restarts anywhere. The seed of a failure is in its message; the same seed takes the same steps.

use ottla_base::Random;

use super::*;

const WALKS: u64 = 100;
const STEPS: usize = 500;
const GROUPS: [&str; 3] = ["g", "h", "i"];
/// Longer than any request may wait: the five minutes of a first join, and then the barriers after it.
const LONGEST_WAIT_MS: u64 = 2 * 300_000;

/// A client, which may be behind what the coordinator thinks of it.
#[derive(Clone)]
struct Client {
    group: Arc<str>,
    name: String,
    instance: Option<Arc<str>>,
    id: MemberId,
    generation: i32,
    plan: Plan,
    waiting: Option<Ticket>,
}

/// What a client would do next if it were let.
#[derive(Clone, Copy, PartialEq)]
enum Plan {
    Join,
    Sync,
    GoOn,
}

impl Client {
    fn learn(&mut self, answer: Answer) {
        let error = match &answer {
            Answer::JoinGroup(answer) => answer.error,
            Answer::SyncGroup(answer) => answer.error,
            Answer::Heartbeat(error) => *error,
            Answer::OffsetCommit(errors) => errors[0],
            Answer::LeaveGroup(_) => ErrorCode::UnknownMemberId,
            Answer::OffsetDelete(_) | Answer::DeleteGroups(_) => return,
        };
        match (error, answer) {
            (ErrorCode::None, Answer::JoinGroup(answer)) => {
                (self.id, self.generation, self.plan) = (answer.member_id, answer.generation, Plan::Sync);
            }
            (ErrorCode::None, Answer::SyncGroup(_)) => self.plan = Plan::GoOn,
            (ErrorCode::None, _) => {}
            (ErrorCode::MemberIdRequired, Answer::JoinGroup(answer)) => self.id = answer.member_id,
            (ErrorCode::RebalanceInProgress, _) => self.plan = Plan::Join,
            _ => (self.id, self.generation, self.plan) = (text(""), -1, Plan::Join),
        }
    }
}

fn heartbeat_of(client: &Client) -> Request {
    Request::Heartbeat(Heartbeat {
        group_id: Arc::clone(&client.group),
        generation: client.generation,
        member_id: Arc::clone(&client.id),
        instance_id: client.instance.clone(),
    })
}

struct Walk {
    host: Host,
    random: Random,
    clients: Vec<Client>,
    /// Requests that were sent before, some of which arrive again.
    sent: Vec<Request>,
    /// When each ticket was asked with.
    asked_ms: BTreeMap<Ticket, u64>,
    /// Tickets whose connections are gone.
    lost: BTreeSet<Ticket>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings {
            group_initial_rebalance_delay_ms: [0, 3000][random.below(2) as usize],
            group_max_size: [3, 100][random.below(2) as usize],
            offsets_retention_ms: 900_000,
            ..Settings::default()
        };
        let client = |number: usize| Client {
            group: text(GROUPS[number % GROUPS.len()]),
            name: format!("c{number}"),
            instance: (number % 4 == 3).then(|| text(&format!("i{number}"))),
            id: text(""),
            generation: -1,
            plan: Plan::Join,
            waiting: None,
        };
        let clients = (0..12).map(client).collect();
        let host = Host::with(settings);
        Self { host, random, clients, sent: Vec::new(), asked_ms: BTreeMap::new(), lost: BTreeSet::new() }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn step(&mut self) {
        match self.random.below(1000) {
            0..=769 => self.act(),
            770..=789 => self.send_again(),
            790..=984 => self.pass_some_time(),
            985..=989 => {
                self.host.decide(Input::TopicsDeleted(vec![DeletedTopic { name: "t".into(), id: Uuid::ZERO }]));
            }
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
            Plan::Sync => Request::SyncGroup(self.sync_of(&client)),
            Plan::GoOn if self.chance(30) => self.commit_of(&client),
            Plan::GoOn => heartbeat_of(&client),
        };
        let ticket = self.send(request);
        self.clients[number].waiting = Some(ticket);
    }

    fn odd_request(&mut self, client: &Client) -> Request {
        match self.random.below(7) {
            0 => Request::JoinGroup(self.join_of(client)),
            1 => Request::SyncGroup(self.sync_of(client)),
            2 => heartbeat_of(client),
            3 => self.commit_of(client),
            4 => {
                let member_id = if client.instance.is_some() { text("") } else { Arc::clone(&client.id) };
                let member = LeavingMember { member_id, instance_id: client.instance.clone() };
                Request::LeaveGroup(LeaveGroup { group_id: Arc::clone(&client.group), members: vec![member] })
            }
            5 => Request::DeleteGroups(DeleteGroups { group_ids: vec![Arc::clone(&client.group)] }),
            _ => {
                let partitions = vec![(text("t"), 0)];
                Request::OffsetDelete(OffsetDelete { group_id: Arc::clone(&client.group), partitions })
            }
        }
    }

    fn commit_of(&mut self, client: &Client) -> Request {
        let commit = commit_of(&client.id, client.generation, self.random.below(1000) as i64);
        let instance_id = client.instance.clone().filter(|_| client.generation >= 0);
        Request::OffsetCommit(OffsetCommit { group_id: Arc::clone(&client.group), instance_id, ..commit })
    }

    fn join_of(&mut self, client: &Client) -> JoinGroup {
        let lists: [&[&str]; 3] = [&["range", "roundrobin"], &["roundrobin", "range"], &["range"]];
        let begins_anew = self.chance(3);
        JoinGroup {
            group_id: Arc::clone(&client.group),
            instance_id: client.instance.clone(),
            requires_member_id: self.chance(70),
            may_skip_assignment: self.chance(50),
            rebalance_timeout_ms: [None, Some(60_000), Some(5000)][self.random.below(3) as usize],
            protocols: protocols(lists[if self.chance(90) { 0 } else { self.random.below(3) as usize }]),
            fresh_id: Uuid(self.random.next_u64().into()),
            ..join_of(&client.name, if begins_anew { "" } else { &client.id })
        }
    }

    fn sync_of(&mut self, client: &Client) -> SyncGroup {
        let everybody: Vec<MemberId> = self.clients.iter().map(|client| Arc::clone(&client.id)).collect();
        SyncGroup {
            group_id: Arc::clone(&client.group),
            instance_id: client.instance.clone(),
            protocol: None,
            protocol_type: None,
            requires_protocol: false,
            ..sync_of(&client.id, client.generation, &everybody)
        }
    }

    /// Sends a request; one in fifty is not written, if it writes anything.
    fn send(&mut self, request: Request) -> Ticket {
        self.sent.push(request.clone());
        self.host.asked += 1;
        let ticket = Ticket(self.host.asked);
        self.asked_ms.insert(ticket, self.host.now_ms);
        let input = Input::Request { ticket, request };
        let failure = input.failure();
        let outcome = self.host.coordinator.decide(self.host.now(), input);
        if !outcome.records.is_empty() && self.chance(2) {
            self.host.decide(Input::WriteFailed { failure, error: ErrorCode::NotEnoughReplicas });
        } else {
            self.host.carry_out(outcome);
        }
        ticket
    }

    /// A request arrives once more, maybe long after.
    fn send_again(&mut self) {
        let late = self.random.below(30).min(self.sent.len() as u64) as usize;
        if let Some(request) = self.sent.len().checked_sub(late + 1).and_then(|at| self.sent.get(at)) {
            let mut request = request.clone();
            if let Request::JoinGroup(join) = &mut request {
                join.fresh_id = Uuid(self.random.next_u64().into());
            }
            self.send(request);
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
        self.host.pass_ms(ms);
    }

    /// The process dies: whoever waits has lost the connection.
    fn restart(&mut self) {
        self.host.restart();
        self.lost.extend(self.asked_ms.keys().filter(|ticket| !self.host.answers.contains_key(ticket)));
    }

    /// A client dies, and begins anew.
    fn give_up(&mut self) {
        let number = self.random.below(self.clients.len() as u64) as usize;
        let client = &mut self.clients[number];
        (client.id, client.generation, client.plan, client.waiting) = (text(""), -1, Plan::Join, None);
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
                client.learn(answer);
            }
        }
    }

    /// What the log says is what the coordinator thinks, where a group is not on its way to another generation.
    fn check_replay(&self) {
        let replayed = self.host.replayed();
        let ours = &self.host.coordinator.groups;
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
        let compacted = self.compacted();
        for (id, group) in &compacted.groups {
            assert_eq!(group.offsets, ours[id].offsets, "compaction loses no offset of {id}");
        }
    }

    /// A coordinator that read the log after compaction: of each key the last record, and no tombstones.
    fn compacted(&self) -> GroupCoordinator {
        let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for (at, record) in self.host.log.iter().enumerate() {
            last.insert(record.encode().0, at);
        }
        let mut kept: Vec<usize> = last.into_values().collect();
        kept.sort_unstable();
        let mut coordinator = GroupCoordinator::new(self.host.settings.clone());
        for at in kept {
            let record = &self.host.log[at];
            if record.encode().1.is_some() {
                coordinator.replay(Offset(at as i64), record);
            }
        }
        coordinator.check();
        coordinator
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
    let mut assignments = 0;
    for seed in 0..WALKS {
        let result = std::panic::catch_unwind(|| {
            let mut walk = Walk::new(seed);
            for step in 0..STEPS {
                walk.step();
                if step % 20 == 0 {
                    walk.check_replay();
                }
                walk.check_waiting();
            }
            walk.host.pass_ms(LONGEST_WAIT_MS);
            walk.check_waiting();
            walk.check_replay();
            let alive = walk.host.coordinator.groups.values().filter(|group| !group.classic.is_empty()).count();
            assert_eq!(alive, 0, "who is silent for so long is no member");
            let has_members = |record: &&Record| match record {
                Record::Group { value: Some(value), .. } => value.members.len() > 1,
                _ => false,
            };
            walk.host.log.iter().filter(has_members).count() as u64
        });
        assignments += result.unwrap_or_else(|_| panic!("the walk with seed {seed} failed, see above"));
    }
    assert!(assignments > 5 * WALKS, "the walks come to something: {assignments} assignments");
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
