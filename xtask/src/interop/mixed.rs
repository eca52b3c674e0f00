//! Kafka's Java consumer, librdkafka and kafka-python as members of one group, while the broker is killed and comes
//! back: every record is delivered, and none again once it was committed.
//!
//! Each member writes to a file, one JSON object a line, what it was given and what it committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::case::{Case, Context};
use super::suite::Suite;
use super::{groups, java_groups};
use crate::Fallible;
use crate::process::Daemon;

const PARTITIONS: u32 = 6;
/// How many records each partition is sent in a round.
const ROUND: u64 = 100;
/// In which rounds the broker is killed, right after the records were acknowledged.
const ROUNDS: [bool; 6] = [false, true, false, true, true, false];
/// How often the members' files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub fn suite() -> Suite {
    let case = Case::new("java librdkafka and kafka-python in one group", 240, one_group);
    Suite::of_cases("mixed-group", vec![case]).with_settings(&groups::SETTINGS)
}

/// A member that runs, and how far its file has been read.
struct Member {
    daemon: Daemon,
    file: PathBuf,
    read: usize,
    partitions: BTreeSet<u64>,
}

/// What all members were given and committed so far.
#[derive(Default)]
struct Seen {
    /// The next offset to be delivered, by partition.
    delivered: BTreeMap<u64, u64>,
    committed: BTreeMap<u64, u64>,
}

fn one_group(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(PARTITIONS, &[])?;
    let mut java =
        context.tool("kafka-verifiable-consumer", &["--topic", &topic, "--group-id", &topic, "--verbose"])?;
    java.args(["--session-timeout", "20000", "--reset-policy", "earliest"]);
    java.args(["--assignment-strategy", "org.apache.kafka.clients.consumer.RangeAssignor"]);
    let mut members = vec![Member::start(context, "java", &mut java)?];
    for client in ["confluent", "kafka-python"] {
        let mut python = context.python("member.py");
        python.args([client, &context.server.bootstrap(), &topic]);
        members.push(Member::start(context, client, &mut python)?);
    }
    let mut seen = Seen::default();
    let mut sent = 0;
    // The group is whole once each of them is given records of a third of the partitions.
    while members.iter().any(|member| member.partitions.len() != 2) {
        members.iter_mut().for_each(|member| member.partitions.clear());
        sent += ROUND;
        produce(context, &topic)?;
        follow(context, &mut members, &mut seen, sent)?;
    }
    for kill in ROUNDS {
        sent += ROUND;
        produce(context, &topic)?;
        if kill {
            context.server.kill()?;
            context.server.start()?;
        }
        follow(context, &mut members, &mut seen, sent)?;
    }
    if members.iter_mut().any(|member| !member.daemon.is_alive()) {
        return Err("a member ended".into());
    }
    let expected: Vec<_> = (0..PARTITIONS).map(|n| format!("{topic} {n} {sent} {sent} 0")).collect();
    java_groups::until_described(context, &topic, &expected)
}

/// Sends a round of records to every partition.
fn produce(context: &Context, topic: &str) -> Fallible<()> {
    let lines: String = (0..ROUND).map(|n| format!("{n}\n")).collect();
    for partition in 0..PARTITIONS {
        context.output(&mut context.kcat(&["-P", "-t", topic, "-p", &partition.to_string()]), &lines)?;
    }
    Ok(())
}

/// Reads what the members write, until each partition was delivered up to the offset `end`. Not until it was committed:
/// a commit may have been taken although its answer was lost with the broker.
fn follow(context: &Context, members: &mut [Member], seen: &mut Seen, end: u64) -> Fallible<()> {
    while !(0..PARTITIONS.into()).all(|partition| seen.delivered.get(&partition) == Some(&end)) {
        if Instant::now() >= context.deadline {
            let ends: Vec<_> = members.iter().map(|member| member.daemon.last_output()).collect();
            let Seen { delivered, committed } = seen;
            return Err(format!(
                "all should be delivered up to {end}: delivered {delivered:?}, committed {committed:?}\n{}",
                ends.join("\n")
            )
            .into());
        }
        let events: Vec<_> = members.iter_mut().map(Member::events).collect::<Fallible<Vec<_>>>()?.concat();
        // A commit counts from the next look on: who wrote first, of two members, is not known.
        events.iter().try_for_each(|event| seen.deliver(event))?;
        events.iter().for_each(|event| seen.commit(event));
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

impl Member {
    fn start(context: &Context, name: &str, command: &mut Command) -> Fallible<Self> {
        let file = context.shared_file(&format!("member-{name}"));
        let daemon = Daemon::start(command, &file)?;
        Ok(Self { daemon, file, read: 0, partitions: BTreeSet::new() })
    }

    /// What it wrote since the last look, in whole lines.
    fn events(&mut self) -> Fallible<Vec<Value>> {
        let text = read_from(&self.file, self.read)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole;
        // What is no JSON are the client's complaints, of a broker that is gone.
        let events: Vec<Value> = text[..whole].lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        for event in &events {
            if event["name"] == "record_data" {
                self.partitions.insert(number(&event["partition"]));
            }
        }
        Ok(events)
    }
}

impl Seen {
    fn deliver(&mut self, event: &Value) -> Fallible<()> {
        if event["name"] != "record_data" {
            return Ok(());
        }
        let (partition, offset) = (number(&event["partition"]), number(&event["offset"]));
        let committed = self.committed.get(&partition).copied().unwrap_or(0);
        if offset < committed {
            return Err(format!("offset {offset} of partition {partition} came after the commit of {committed}").into());
        }
        let next = self.delivered.entry(partition).or_insert(0);
        if offset > *next {
            return Err(format!("offset {offset} of partition {partition} came, and {next} never did").into());
        }
        *next = (*next).max(offset + 1);
        Ok(())
    }

    fn commit(&mut self, event: &Value) {
        if event["name"] != "offsets_committed" || event["success"] != true {
            return;
        }
        for place in event["offsets"].as_array().into_iter().flatten() {
            let offset = self.committed.entry(number(&place["partition"])).or_insert(0);
            *offset = (*offset).max(number(&place["offset"]));
        }
    }
}

fn read_from(file: &Path, start: usize) -> Fallible<String> {
    let bytes = fs::read(file)?;
    Ok(String::from_utf8_lossy(&bytes[start..]).into_owned())
}

/// A number of a member's; they are never negative.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX)
}
