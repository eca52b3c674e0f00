//! Producers that go on, a cleaner that has always something to do, and SIGKILL, also in the middle of a cleaning.
//!
//! ```text
//!   producers    several, each with keys of its own; what was not acknowledged is sent again, in order, to the next process
//!   the gate     lets them write no further than to where the next kill is due, so that the kills meet them all along
//!   the killer   kills, starts, reads everything: of each key, what was acknowledged last or came later
//!   at the end   of each key exactly the last value, no key that was deleted, and nothing else in what is compacted
//! ```

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_base::Random;
use ottla_protocol::records::Compression;

use super::keys::{Plan, Sent};
use super::{Command, IN_FLIGHT, LOOK_EVERY, TOPIC, batch, check, create, produced, reading, segments};
use crate::Fallible;
use crate::bench::connection::Connection;
use crate::server::{self, Kind, Server};

const PRODUCERS: u32 = 4;
const ACKS: i16 = -1;
/// The log is of about so many segments before it is compacted, unless they would be too small for a broker.
const SEGMENTS: u64 = 100;
/// How long a tombstone stays. Short, so that it goes, and what comes back from the dead is seen.
const DELETE_RETENTION_MS: u32 = 500;
/// A cleaning that is to be met begins within this time, or the kill meets none.
const CLEANING_WITHIN: Duration = Duration::from_secs(20);
/// Looked at without rest: a cleaning may be over within milliseconds.
const LOOK_FOR_CLEANING_EVERY: Duration = Duration::from_micros(200);
/// A producer that gets nowhere for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Up to so long after it is due comes a kill that waits for no cleaning.
const LATE_MS: u64 = 50;

/// What the producers and the killer know of each other.
struct Stage {
    address: String,
    plan: Plan,
    value_bytes: usize,
    codec: Compression,
    /// Of each producer.
    records: u32,
    /// How many of its records a producer may send by now.
    gate: AtomicU32,
    is_over: AtomicBool,
    progress: Vec<Progress>,
}

/// How far a producer is: counts of its records.
#[derive(Default)]
struct Progress {
    acknowledged: AtomicU32,
    sent: AtomicU32,
}

/// What the kills met.
#[derive(Default)]
struct Met {
    cleanings: u32,
    batches: u32,
}

/// Runs it on a new broker, prints what came out, and fails at the first broken promise.
pub fn run(command: &Command, codec: Compression, folder: &Path) -> Fallible<()> {
    let plan = Plan { producers: PRODUCERS, keys: command.keys, deletes: true };
    if !command.keys.is_multiple_of(PRODUCERS) || command.records < command.keys {
        return Err(format!("--keys must be a multiple of {PRODUCERS}, and no more than the records").into());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = command.seed.unwrap_or(u64::from(now.subsec_nanos()));
    println!(
        "seed {seed}: killed {} times while {PRODUCERS} producers write {} records",
        command.kills, command.records
    );
    let settings = ["log.cleaner.backoff.ms=10".to_owned()];
    let mut server = Server::new(Kind::Ottla, folder, &settings, Some(server::free_port()?))?;
    server.start()?;
    let stage = Stage {
        address: server.bootstrap(),
        plan,
        value_bytes: command.value_bytes,
        codec,
        records: command.records / PRODUCERS,
        gate: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
        progress: (0..PRODUCERS).map(|_| Progress::default()).collect(),
    };
    create(
        &stage.address,
        &[
            ("min.cleanable.dirty.ratio", "0.01"),
            ("segment.bytes", &command.segment_bytes(SEGMENTS).to_string()),
            ("delete.retention.ms", &DELETE_RETENTION_MS.to_string()),
        ],
    )?;
    let begun = Instant::now();
    let stage = &stage;
    let met = thread::scope(|scope| {
        let producers: Vec<_> =
            (0..PRODUCERS).map(|number| (number, scope.spawn(move || Producer::new(number, stage).live()))).collect();
        let met = kill_again_and_again(&mut server, stage, command.kills, &mut Random::new(seed));
        stage.is_over.store(met.is_err(), Ordering::Relaxed);
        for (number, producer) in producers {
            let lived = producer.join().map_err(|_| format!("producer {number} panicked"))?;
            // What ended the killer comes first.
            if met.is_ok() {
                lived.map_err(|error| format!("producer {number}: {error}"))?;
            }
        }
        met
    })?;
    let left = judge_the_end(&mut server, stage)?;
    println!(
        "killed {} times, {} of them in the middle of a cleaning and {} while batches were on their way: each of {} keys has its \
         last value; {left} of {} records are left; {} s",
        command.kills,
        met.cleanings,
        met.batches,
        command.keys,
        command.records,
        begun.elapsed().as_secs()
    );
    if met.cleanings == 0 || met.batches == 0 {
        return Err(
            "the kills met no cleaning, or no producer: this has shown nothing; try more records or kills".into()
        );
    }
    Ok(())
}

/// Every second kill waits for a cleaning; after each, everything is read while the producers go on.
fn kill_again_and_again(server: &mut Server, stage: &Stage, kills: u32, random: &mut Random) -> Fallible<Met> {
    let mut met = Met::default();
    let data = server.data();
    // Of each producer's records, where the kill is due, and one after the last one.
    let due = |kill: u32| (u64::from(stage.records) * u64::from(kill) / u64::from(kills + 1)) as u32;
    for kill in 1..=kills {
        stage.gate.store(due(kill + 1), Ordering::Relaxed);
        stage.wait_for(due(kill))?;
        if kill % 2 == 1 {
            let begun = Instant::now();
            while !is_cleaning(&data)? && begun.elapsed() < CLEANING_WITHIN {
                thread::sleep(LOOK_FOR_CLEANING_EVERY);
            }
        } else {
            thread::sleep(Duration::from_millis(random.below(LATE_MS)));
        }
        server.kill()?;
        met.cleanings += u32::from(is_cleaning(&data)?);
        met.batches += u32::from(stage.progress.iter().any(|one| one.sent() > one.acknowledged()));
        server.start()?;
        let acknowledged: Vec<_> = stage.progress.iter().map(Progress::acknowledged).collect();
        let found = reading::read(&stage.address, 0)?;
        let sent = acknowledged.iter().zip(&stage.progress);
        let sent: Vec<_> = sent.map(|(&acknowledged, one)| Sent { acknowledged, most: one.sent() }).collect();
        stage.plan.judge(&sent, &found.last).map_err(|wrong| format!("after kill {kill}: {wrong}"))?;
    }
    stage.gate.store(stage.records, Ordering::Relaxed);
    Ok(met)
}

/// All was written: what is left when all is compacted that may be. How many records that is.
fn judge_the_end(server: &mut Server, stage: &Stage) -> Fallible<u64> {
    let data = server.data();
    let (&end, _) = segments(&data)?.last_key_value().ok_or("nothing was written")?;
    super::wait_until_compacted(&data, end)?;
    let sent: Vec<_> =
        stage.progress.iter().map(|one| Sent { acknowledged: one.acknowledged(), most: one.sent() }).collect();
    let left = check(&stage.plan, &sent, &stage.address, end)?;
    if is_cleaning(&data)? {
        return Err("the files of a cleaning lie about that is long over".into());
    }
    server.stop()?;
    Ok(left)
}

/// Whether the partition has files that a cleaning is writing or swapping in.
fn is_cleaning(data: &Path) -> Fallible<bool> {
    for entry in fs::read_dir(data.join(format!("{TOPIC}-0")))? {
        let name = entry?.file_name();
        if [".cleaned", ".swap"].iter().any(|suffix| name.to_string_lossy().ends_with(suffix)) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Progress {
    fn acknowledged(&self) -> u32 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Stage {
    /// Waits until each producer was acknowledged so many of its records.
    fn wait_for(&self, count: u32) -> Fallible<()> {
        let mut seen = (Instant::now(), 0);
        while self.progress.iter().any(|one| one.acknowledged() < count) {
            let sum = self.progress.iter().map(|one| u64::from(one.acknowledged())).sum();
            if sum > seen.1 {
                seen = (Instant::now(), sum);
            } else if seen.0.elapsed() > PATIENCE {
                return Err(format!("nothing was acknowledged within {PATIENCE:?}").into());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

/// One producer.
struct Producer<'a> {
    number: u32,
    stage: &'a Stage,
    /// Requests that are not acknowledged, and how many records are sent with each.
    on_the_way: VecDeque<(Vec<u8>, u32)>,
    next: u32,
}

impl<'a> Producer<'a> {
    fn new(number: u32, stage: &'a Stage) -> Self {
        Self { number, stage, on_the_way: VecDeque::new(), next: 0 }
    }

    fn progress(&self) -> &'a Progress {
        &self.stage.progress[self.number as usize]
    }

    /// Sends all it has, over as many connections as it takes.
    fn live(&mut self) -> Fallible<()> {
        let mut advanced = Instant::now();
        while self.progress().acknowledged() < self.stage.records {
            let before = self.progress().acknowledged();
            let ended = self.send_over_one_connection();
            if self.stage.is_over.load(Ordering::Relaxed) {
                break;
            }
            if self.progress().acknowledged() > before {
                advanced = Instant::now();
            }
            if let Err(error) = ended
                && advanced.elapsed() > PATIENCE
            {
                return Err(error.into());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Sends until it has no more, or the connection fails. What was on its way goes first, as it was.
    fn send_over_one_connection(&mut self) -> io::Result<()> {
        let mut connection = Connection::open(&self.stage.address)?;
        self.on_the_way.iter().try_for_each(|(request, _)| connection.send(request))?;
        while self.next < self.stage.records || !self.on_the_way.is_empty() {
            let end = self.stage.gate.load(Ordering::Relaxed);
            if self.next < end && self.on_the_way.len() < IN_FLIGHT {
                let Stage { plan, value_bytes, codec, .. } = self.stage;
                let (request, next) = batch(plan, self.number, self.next..end, *value_bytes, *codec, ACKS)?;
                // Said before it is sent: it may be there whatever becomes of the connection.
                self.progress().sent.store(next, Ordering::Relaxed);
                self.next = next;
                self.on_the_way.push_back((request, next));
                connection.send(&self.on_the_way.back().expect("it was just put there").0)?;
            } else if self.on_the_way.is_empty() {
                if self.stage.is_over.load(Ordering::Relaxed) {
                    return Ok(());
                }
                thread::sleep(LOOK_EVERY);
            } else {
                produced(&mut connection)?;
                let (_, acknowledged) = self.on_the_way.pop_front().expect("one is on its way");
                self.progress().acknowledged.store(acknowledged, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
