//! A large group whose members come, go and die while records are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_base::Random;
use ottla_e2e::conversations::{batch_of, produce_request};
use ottla_e2e::{RawClient, body, group_requests as requests};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::produce_response::ProduceResponse;

use super::ledger::Ledger;
use super::member::{self, DIE, GO_ON, LEAVE};
use crate::Fallible;
use crate::bench::usage;
use crate::server::Server;

pub const GROUP: &str = "churning";
pub const TOPIC: &str = "shared";
/// The same members go in every run.
const SEED: u64 = 7;
const BATCH_RECORDS: i64 = 10;
/// The producer appends a batch, and then the next partition's.
const APPEND_EVERY: Duration = Duration::from_millis(2);
/// Some member goes, and another comes.
const CHANGE_EVERY: Duration = Duration::from_millis(1_000);
/// After the last record, for all to be read: a dead member is missed for its session and a rebalance.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// What is to happen.
pub struct Plan {
    pub members: usize,
    pub partitions: i32,
    pub lasts: Duration,
}

/// What came out.
pub struct Outcome {
    records: i64,
    rebalances: Vec<Duration>,
    broker_cpu_s: f64,
    resident_bytes: u64,
    pub wrong: Vec<String>,
}

struct Member {
    told: Arc<AtomicU8>,
    thread: JoinHandle<()>,
}

/// Runs it on a broker without topics.
pub fn run(server: &mut Server, plan: &Plan) -> Fallible<Outcome> {
    let address = server.bootstrap();
    let mut client = RawClient::connect(&address)?;
    requests::create_topic(&mut client, TOPIC, plan.partitions)?;
    requests::find_coordinator(&mut client, GROUP)?;
    let ledger = Arc::new(Ledger::new(plan.partitions as usize));
    let cpu_before_s = usage::cpu_s(server.pid()?)?;
    let mut next_name = 0;
    let mut begin = || {
        next_name += 1;
        start_member(&address, next_name, plan.partitions, &ledger)
    };
    let mut members: Vec<Member> = (0..plan.members).map(|_| begin()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let producer = start_producer(&address, plan.partitions, &ledger, &stop)?;
    let mut random = Random::new(SEED);
    let begun = Instant::now();
    let mut gone = Vec::new();
    while begun.elapsed() < plan.lasts {
        thread::sleep(CHANGE_EVERY);
        let leaver = members.swap_remove(random.below(members.len() as u64) as usize);
        leaver.told.store(if random.below(4) == 0 { DIE } else { LEAVE }, Ordering::Relaxed);
        gone.push(leaver.thread);
        members.push(begin());
    }
    stop.store(true, Ordering::Relaxed);
    producer.join().expect("the producer does not panic")?;
    let last = Instant::now();
    while !ledger.is_settled() && last.elapsed() < SETTLED_WITHIN {
        thread::sleep(Duration::from_millis(50));
    }
    if !ledger.is_settled() {
        ledger.wrong(format!("not all was delivered and committed within {SETTLED_WITHIN:?}: {}", ledger.unsettled()));
    }
    let pid = server.pid()?;
    let (broker_cpu_s, resident_bytes) = (usage::cpu_s(pid)? - cpu_before_s, usage::memory(pid)?.now);
    members.iter().for_each(|member| member.told.store(LEAVE, Ordering::Relaxed));
    for thread in members.into_iter().map(|member| member.thread).chain(gone) {
        thread.join().expect("members do not panic");
    }
    let (records, rebalances) = (ledger.records(), ledger.rebalances());
    let ledger = Arc::into_inner(ledger).expect("all threads have ended");
    Ok(Outcome { records, rebalances, broker_cpu_s, resident_bytes, wrong: ledger.into_wrong() })
}

fn start_member(address: &str, name: usize, partitions: i32, ledger: &Arc<Ledger>) -> Member {
    let told = Arc::new(AtomicU8::new(GO_ON));
    let (address, ledger, heard) = (address.to_owned(), Arc::clone(ledger), Arc::clone(&told));
    let thread = thread::spawn(move || {
        let name = format!("member-{name}");
        if let Err(error) = member::live(&address, &name, partitions, &ledger, &heard) {
            ledger.wrong(format!("{name}: {error}"));
        }
    });
    Member { told, thread }
}

fn start_producer(
    address: &str,
    partitions: i32,
    ledger: &Arc<Ledger>,
    stop: &Arc<AtomicBool>,
) -> Fallible<JoinHandle<Fallible<()>>> {
    let mut client = RawClient::connect(address)?;
    let (ledger, stop) = (Arc::clone(ledger), Arc::clone(stop));
    Ok(thread::spawn(move || {
        // Of now, else retention takes them away while they are read.
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        let records: Vec<(i64, &str)> = (0..BATCH_RECORDS).map(|_| (now_ms, "a record")).collect();
        let batch = batch_of(&records);
        for partition in (0..partitions).cycle() {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let request = produce_request(TOPIC, partition, 1, &batch);
            let answer = requests::ask(&mut client, ApiKey::Produce, 9, &request)?;
            let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, 9);
            let placed = &response.responses[0].partition_responses[0];
            if placed.error_code != 0 {
                return Err(format!("partition {partition}: {response:?}").into());
            }
            ledger.written(partition, placed.base_offset + BATCH_RECORDS);
            thread::sleep(APPEND_EVERY);
        }
        Ok(())
    }))
}

/// A table of what came out.
pub fn print(outcomes: &[(&str, Outcome)]) {
    println!(
        "| broker | records | generations | rebalance ms: p50 | p99 | most | broker CPU s | resident MiB | wrong |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, outcome) in outcomes {
        let took = |share: f64| {
            let last = outcome.rebalances.len().saturating_sub(1);
            let place = (last as f64 * share).round() as usize;
            outcome.rebalances.get(place).map_or(0, Duration::as_millis)
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} | {:.1} | {:.0} | {} |",
            outcome.records,
            outcome.rebalances.len(),
            took(0.5),
            took(0.99),
            took(1.0),
            outcome.broker_cpu_s,
            outcome.resident_bytes as f64 / f64::from(1 << 20),
            outcome.wrong.len()
        );
    }
    println!();
}
