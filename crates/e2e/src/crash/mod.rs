//! A broker that is killed under its clients, again and again, and what they hold it to afterwards.
//!
//! ```text
//!   producers ([`producer`])   six, of several codecs, with and without numbers, acks 1 and all, two a partition
//!   a group ([`follower`])     reads on from what it has committed, and commits
//!   the killer (here)          SIGKILL at random moments, in a start too
//!   afterwards ([`check`])     everything is read once more and compared with what was acknowledged
//! ```
//!
//! The moments follow from a seed; what the broker does until then does not.

mod check;
mod follower;
mod producer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ottla_base::Random;
use ottla_protocol::records::Compression;

use crate::group_requests;
use crate::process::{Broker, Options};
use crate::raw::RawClient;

use follower::Follower;
use producer::Producer;

pub use producer::producer_id;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;
/// More broken promises than this are not told one by one.
const TOLD_MAX: usize = 20;
/// How often a broker that is not there is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A start may be killed within so many milliseconds.
const STARTS_MS: u64 = 40;

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// From which the moments of the kills follow.
    pub seed: u64,
    /// How often the broker is killed.
    pub rounds: usize,
    /// How long it lives on average until then, in milliseconds.
    pub life_ms: u64,
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The round that is over, from 1.
    pub round: usize,
    /// How long the broker had lived.
    pub lived: Duration,
    /// How long the start after it took.
    pub started_in: Duration,
    /// Records acknowledged so far.
    pub acknowledged: u64,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records that are there more than once, because a producer without numbers had to send them again.
    pub doubled: u64,
    /// Commits that were answered.
    pub commits: u64,
    /// Starts that were killed besides.
    pub killed_starts: usize,
    /// The slowest start.
    pub slowest_start: Duration,
    /// The promises that were broken.
    pub wrong: Vec<String>,
}

/// What a producer does.
#[derive(Clone, Copy, Debug)]
struct Kind {
    is_idempotent: bool,
    acks: i16,
    codec: Compression,
}

const KINDS: [Kind; 6] = [
    Kind { is_idempotent: true, acks: -1, codec: Compression::None },
    Kind { is_idempotent: true, acks: -1, codec: Compression::Lz4 },
    Kind { is_idempotent: true, acks: -1, codec: Compression::Zstd },
    Kind { is_idempotent: false, acks: -1, codec: Compression::Gzip },
    Kind { is_idempotent: false, acks: 1, codec: Compression::None },
    Kind { is_idempotent: false, acks: 1, codec: Compression::Snappy },
];

/// What the clients know of each other.
#[derive(Debug, Default)]
struct Stage {
    address: Mutex<String>,
    /// Nothing more is to be sent.
    is_over: AtomicBool,
    acknowledged: AtomicU64,
    /// Where the partitions end, once they do: the group is to read up to there.
    ends: Mutex<Option<BTreeMap<i32, i64>>>,
    wrong: Mutex<Vec<String>>,
}

impl Stage {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Connects to the broker that is there, or comes.
    fn connect(&self) -> RawClient {
        loop {
            let address = self.address.lock().expect("nobody panics while holding this lock").clone();
            match RawClient::connect(&address) {
                Ok(client) => return client,
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().expect("nobody panics while holding this lock");
        if wrong.len() < TOLD_MAX {
            wrong.push(what);
        }
    }

    fn is_wrong(&self) -> bool {
        !self.wrong.lock().expect("nobody panics while holding this lock").is_empty()
    }

    fn enter(&self, broker: &Broker) {
        self.address.lock().expect("nobody panics while holding this lock").clone_from(&broker.address);
    }
}

/// A broker as this wants it: segments that are rolled often, and a group that is there at once.
pub fn options(options: Options) -> Options {
    options.with("log.segment.bytes=1048576").with("group.initial.rebalance.delay.ms=0")
}

/// Runs it on a broker without topics, and ends it at the first broken promise.
pub fn run(options: &Options, plan: &Plan, mut progress: impl FnMut(&Progress)) -> Outcome {
    let (stage, mut outcome) = (Arc::new(Stage::default()), Outcome::default());
    let mut broker = options.start();
    stage.enter(&broker);
    group_requests::create_topic(&mut stage.connect(), TOPIC, PARTITIONS).expect("the topic is made");
    group_requests::find_coordinator(&mut stage.connect(), follower::GROUP).expect("there is a coordinator");
    let producers: Vec<_> = (0..KINDS.len())
        .map(|number| {
            let (stage, mut producer) = (stage.clone(), Producer::new(number, &mut stage.connect()));
            thread::spawn(move || {
                producer.live(&stage);
                producer
            })
        })
        .collect();
    let follower = thread::spawn({
        let stage = stage.clone();
        move || Follower::default().live(&stage)
    });
    let mut random = Random::new(plan.seed);
    for round in 1..=plan.rounds {
        let lives = Duration::from_micros(random.below(2_000 * plan.life_ms));
        thread::sleep(lives);
        if let Some(found) = panicked(&mut broker) {
            stage.wrong(found);
        }
        if stage.is_wrong() {
            break;
        }
        broker = next_life(broker, &mut random, &mut outcome);
        stage.enter(&broker);
        outcome.slowest_start = outcome.slowest_start.max(broker.started_in);
        let acknowledged = stage.acknowledged.load(Ordering::Relaxed);
        progress(&Progress { round, lived: lives, started_in: broker.started_in, acknowledged });
    }
    stage.is_over.store(true, Ordering::Relaxed);
    let producers: Vec<Producer> = producers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let stored = check::read_all(&mut stage.connect(), &stage);
    let ends = stored.iter().map(|(&partition, batches)| (partition, batches.last().map_or(0, |last| last.end)));
    *stage.ends.lock().expect("nobody panics while holding this lock") = Some(ends.collect());
    let followed = follower.join().expect("no panic");
    check::check(&stored, &producers, &followed, &stage, &mut outcome);
    outcome.acknowledged = stage.acknowledged.load(Ordering::Relaxed);
    outcome.wrong = std::mem::take(&mut *stage.wrong.lock().expect("nobody panics while holding this lock"));
    outcome
}

/// Kills the broker, and perhaps those that come after it, and starts the next one.
fn next_life(broker: Broker, random: &mut Random, outcome: &mut Outcome) -> Broker {
    let options = broker.kill();
    while random.below(5) == 0 {
        outcome.killed_starts += 1;
        options.kill_while_starting(Duration::from_micros(random.below(1_000 * STARTS_MS)));
    }
    options.start()
}

/// What a broker wrote that ended by itself, or in which a thread panicked.
fn panicked(broker: &mut Broker) -> Option<String> {
    let log = broker.log();
    let line = log.lines().find(|line| line.contains("panicked at")).map(str::to_owned);
    line.or_else(|| (!broker.is_alive()).then(|| format!("the broker ended by itself: {log}")))
}
