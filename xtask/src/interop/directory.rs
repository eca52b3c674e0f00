//! One data directory, opened by one broker after the other: Ottla's by a real Kafka, Kafka's by Ottla, after clean stops and
//! after SIGKILL, with compaction, retention and DeleteRecords behind it.
//!
//! ```text
//!   PREFIX-compacted   few keys, many tombstones; cleaned after each round
//!   PREFIX-both        compact,delete: few keys that stay, and many that are deleted by size
//!   PREFIX-deleted     retention by size
//!   PREFIX-cut         DeleteRecords, into the middle of a batch
//! ```
//!
//! Each reader must get the same: offsets, times, headers, keys and values. What the files say is compared in [`super::dumps`].

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ottla_base::Random;

use super::case::{CODECS, Case, Context, expect_same};
use super::suite::Suite;
use super::{KAFKA_HEAP, dumps, java};
use crate::Fallible;
use crate::server::{Kind, Server};

/// Small segments, and no long waits for what is done in the background.
const SETTINGS: [&str; 6] = [
    "log.segment.bytes=1048576",
    "log.cleaner.backoff.ms=50",
    "log.retention.check.interval.ms=200",
    "log.flush.offset.checkpoint.interval.ms=300",
    "log.flush.start.offset.checkpoint.interval.ms=300",
    "offsets.topic.num.partitions=1",
];
const SETTINGS_ON_KAFKA: [&str; 1] = ["log.initial.task.delay.ms=10000"];
const RETENTION: &str = "retention.bytes=1000000";
const RETENTION_BYTES: u64 = 1_000_000;
/// What every topic of a history is made with, after its name.
const TOPICS: [(&str, &[&str]); 4] = [
    ("compacted", &["cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "delete.retention.ms=500"]),
    ("both", &["cleanup.policy=compact,delete", "min.cleanable.dirty.ratio=0.01", RETENTION]),
    ("deleted", &[RETENTION]),
    ("cut", &[]),
];
/// Rounds before the directory is handed on: several cleanings, so that tombstones go too.
const ROUNDS: u64 = 4;
/// Records a codec, in each round and topic.
const RECORDS: u64 = 3_000;
/// So many keys come again and again.
const KEYS: u64 = 300;
/// How often files are looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is no complaint of the directory. Kafka warns at each start of a controller; where it loads what it had led before it
/// has registered again; and of a high watermark from before the log start, which a kill leaves: Ottla writes none down
/// while there are no followers. We warn of what Kafka's cluster can do besides, and where someone else has the port of the
/// metrics.
const NO_WARNINGS: [&str; 5] = [
    "Performing controller activation",
    "the partition is not online or is no longer the leader",
    "Non-monotonic update of high watermark",
    "a feature that is not there yet",
    "there are no metrics",
];

pub fn suite() -> Suite {
    let cases = vec![
        Case::new("directory to Kafka and back", 900, to_kafka_and_back),
        Case::new("directory from Kafka", 900, from_kafka),
    ];
    Suite::of_cases("data-directory", cases).with_settings(&SETTINGS).with_settings_on_kafka(&SETTINGS_ON_KAFKA)
}

/// The broker under test writes; a real Kafka reads and goes on; and so forth, by clean stops and kills.
fn to_kafka_and_back(context: &mut Context) -> Fallible<()> {
    let prefix = context.topic();
    create(context, &context.server, &prefix)?;
    for round in 0..ROUNDS {
        write(context, &context.server, &prefix, round)?;
    }
    expect_history(&context.server, &prefix)?;
    let written = read(context, &context.server, &prefix)?;
    context.server.stop()?;
    if context.server.is_ottla() && !context.server.data().join("ottla-boot").exists() {
        return Err("there is no ottla-boot, which Kafka is to pass over".into());
    }
    if context.server.is_ottla() {
        dumps::compare(context, &context.server.data(), &prefix)?;
    }

    let mut kafka = kafka_on(context, Some(&context.server), "kafka")?;
    start(&mut kafka, "Kafka, after a clean stop")?;
    same("on Kafka", &read(context, &kafka, &prefix)?, &written)?;
    write(context, &kafka, &prefix, ROUNDS)?;
    let written = read(context, &kafka, &prefix)?;
    kafka.kill()?;

    hand_over(&kafka, &context.server)?;
    start(&mut context.server, "after Kafka was killed")?;
    same("after Kafka was killed", &read(context, &context.server, &prefix)?, &written)?;
    write(context, &context.server, &prefix, ROUNDS + 1)?;
    let written = read(context, &context.server, &prefix)?;
    context.server.kill()?;

    let mut kafka = kafka_on(context, Some(&context.server), "kafka-again")?;
    start(&mut kafka, "Kafka, after a kill")?;
    same("on Kafka after a kill", &read(context, &kafka, &prefix)?, &written)?;
    write(context, &kafka, &prefix, ROUNDS + 2)?;
    let written = read(context, &kafka, &prefix)?;
    kafka.stop()?;

    hand_over(&kafka, &context.server)?;
    start(&mut context.server, "after Kafka was stopped")?;
    same("after Kafka was stopped", &read(context, &context.server, &prefix)?, &written)
}

/// A directory that Kafka made and filled, with transactions too.
fn from_kafka(context: &mut Context) -> Fallible<()> {
    let prefix = context.topic();
    let mut kafka = kafka_on(context, None, "kafka")?;
    kafka.start()?;
    create(context, &kafka, &prefix)?;
    for round in 0..ROUNDS {
        write(context, &kafka, &prefix, round)?;
        for (name, _) in TOPICS {
            let mut transactions = context.python("confluent.py");
            transactions.args(["transactions", &kafka.bootstrap(), &format!("{prefix}-{name}")]);
            context.output(&mut transactions, "")?;
        }
    }
    write(context, &kafka, &prefix, ROUNDS)?;
    expect_history(&kafka, &prefix)?;
    let written = read(context, &kafka, &prefix)?;
    kafka.stop()?;
    if context.server.is_ottla() {
        dumps::compare(context, &kafka.data(), &prefix)?;
    }
    context.server.stop()?;
    hand_over(&kafka, &context.server)?;
    start(&mut context.server, "after Kafka was stopped")?;
    same("after Kafka was stopped", &read(context, &context.server, &prefix)?, &written)?;
    // What it finds after a kill of its own is read from the files once more.
    context.server.kill()?;
    start(&mut context.server, "after a kill")?;
    same("after a kill", &read(context, &context.server, &prefix)?, &written)?;
    write(context, &context.server, &prefix, ROUNDS + 1)
}

/// A Kafka that does not run yet, on the data that another broker left, or else on an empty directory.
fn kafka_on(context: &Context, data: Option<&Server>, name: &str) -> Fallible<Server> {
    let folder = context.shared_file(&format!("{}-{name}", context.topic()));
    if let Some(from) = data {
        let node = folder.join("1");
        fs::create_dir_all(&node)?;
        fs::rename(from.data(), node.join("data"))?;
    }
    let kind = Kind::Kafka { installed: context.clients.kafka.clone(), heap: KAFKA_HEAP.to_owned() };
    let settings: Vec<String> = SETTINGS.iter().chain(&SETTINGS_ON_KAFKA).map(|&setting| setting.to_owned()).collect();
    Server::new(kind, &folder, &settings, None)
}

/// Puts the data of a broker that does not run in the place of another's. Renamed, so that it is the same directory.
fn hand_over(from: &Server, to: &Server) -> Fallible<()> {
    if to.data().exists() {
        fs::remove_dir_all(to.data())?;
    }
    Ok(fs::rename(from.data(), to.data())?)
}

/// Starts a broker on a directory that another one left; it must not complain of anything.
fn start(server: &mut Server, when: &str) -> Fallible<()> {
    // A Kafka's output begins anew with each start.
    let told = if server.is_ottla() { server.output()?.len() } else { 0 };
    let started = server.start();
    let output = server.output()?;
    let is_complaint = |line: &&str| [" WARN ", " ERROR ", " FATAL "].iter().any(|level| line.contains(level));
    let complaints = output[told..]
        .lines()
        .filter(is_complaint)
        .filter(|line| !NO_WARNINGS.iter().any(|known| line.contains(known)));
    let complaints = complaints.collect::<Vec<_>>().join("\n");
    match started {
        Err(error) => Err(format!("{when}, it does not start: {complaints}\n{error}").into()),
        Ok(()) if !complaints.is_empty() => Err(format!("{when}, the start warns: {complaints}").into()),
        Ok(()) => Ok(()),
    }
}

fn create(context: &Context, server: &Server, prefix: &str) -> Fallible<()> {
    for (name, settings) in TOPICS {
        let mut command = context.python("confluent.py");
        command.args(["create_topic", &server.bootstrap(), &format!("{prefix}-{name}"), "1"]);
        context.output(command.args(settings).arg("file.delete.delay.ms=100"), "")?;
    }
    Ok(())
}

/// One round: all topics grow, what is due is deleted, and what is dirty is compacted.
fn write(context: &Context, server: &Server, prefix: &str, round: u64) -> Fallible<()> {
    for (name, _) in TOPICS {
        for (number, codec) in (0..).zip(CODECS) {
            let lines = lines(round * CODECS.len() as u64 + number, name == "both");
            let mut producer = kcat(server, &["-P", "-K:", "-Z", "-z", codec, "-p", "0", "-X", "batch.size=20000"]);
            producer.args(["-t", &format!("{prefix}-{name}"), "-H", &format!("round={round}")]);
            producer.args(["-X", if codec == "gzip" { "enable.idempotence=false" } else { "enable.idempotence=true" }]);
            context.output(&mut producer, &lines)?;
        }
    }
    let cut_to = round * RECORDS * CODECS.len() as u64 + RECORDS * 5 / 2;
    delete_records(context, server, &format!("{prefix}-cut"), cut_to)?;
    let mut commit = context.python("confluent.py");
    commit.args(["commit", &server.bootstrap(), &format!("{prefix}-cut"), &(cut_to + round).to_string()]);
    context.output(&mut commit, "")?;
    settle(context, server, prefix, cut_to)
}

/// Lines of `key:value` for kcat; an empty value is a tombstone. With `unique`, most keys come only once.
fn lines(seed: u64, unique: bool) -> String {
    let mut random = Random::new(seed);
    let mut lines = String::new();
    for number in 0..RECORDS {
        if unique && random.below(4) > 0 {
            write!(lines, "once-{seed}-{number}:").expect("writing to a string does not fail");
        } else {
            write!(lines, "key-{}:", random.below(KEYS)).expect("writing to a string does not fail");
        }
        if random.below(8) > 0 {
            let (noise, padding) = (random.next_u64(), "x".repeat(random.below(200) as usize));
            write!(lines, "value {number} of {seed}, {noise:x}{padding}").expect("writing to a string does not fail");
        }
        lines.push('\n');
    }
    lines
}

fn delete_records(context: &Context, server: &Server, topic: &str, before: u64) -> Fallible<()> {
    let mut command = context.python("confluent.py");
    command.args(["delete_records", &server.bootstrap(), topic, &before.to_string()]);
    context.output(&mut command, "").map(drop)
}

/// Waits until all that may be compacted is, and all that is due is deleted.
fn settle(context: &Context, server: &Server, prefix: &str, cut_to: u64) -> Fallible<()> {
    let data = server.data();
    for topic in ["compacted", "both"].map(|name| format!("{prefix}-{name}")) {
        wait_for(context, &format!("{topic} is compacted"), || {
            let text = fs::read_to_string(data.join("cleaner-offset-checkpoint")).unwrap_or_default();
            let clean = text.lines().find_map(|line| line.strip_prefix(&format!("{topic} 0 "))?.parse::<u64>().ok());
            let segments = segments(&data, &topic)?;
            // Of a log that was deleted up to its last segment, Kafka forgets what was clean.
            Ok(segments.len() == 1 || segments.last().is_some_and(|&(last, _)| clean == Some(last)))
        })?;
    }
    for topic in ["both", "deleted"].map(|name| format!("{prefix}-{name}")) {
        wait_for(context, &format!("{topic} is within its size"), || {
            let segments = segments(&data, &topic)?;
            // What would be left without the first.
            Ok(segments.iter().skip(1).map(|(_, bytes)| bytes).sum::<u64>() < RETENTION_BYTES)
        })?;
    }
    let cut = format!("{prefix}-cut");
    wait_for(context, "what lies before the log start is deleted", || {
        Ok(segments(&data, &cut)?.get(1).is_none_or(|&(second, _)| second > cut_to))
    })?;
    wait_for(context, &format!("the log start of {cut} is in the checkpoint"), || {
        let text = fs::read_to_string(data.join("log-start-offset-checkpoint")).unwrap_or_default();
        Ok(text.lines().any(|line| line == format!("{cut} 0 {cut_to}")))
    })
}

/// Fails unless there is a history to be handed on: compacted, and deleted from.
fn expect_history(server: &Server, prefix: &str) -> Fallible<()> {
    for (name, _) in TOPICS {
        let segments = segments(&server.data(), &format!("{prefix}-{name}"))?;
        let first = segments.first().ok_or("there is no segment")?;
        let is_compacted = name == "compacted";
        if is_compacted != (first.0 == 0) || is_compacted && segments.len() < 2 {
            return Err(
                format!("{name} has segments from {} to {:?}: nothing to show", first.0, segments.last()).into()
            );
        }
    }
    Ok(())
}

/// The base offsets of a partition's segments, in order, and the bytes of their logs.
fn segments(data: &Path, topic: &str) -> Fallible<Vec<(u64, u64)>> {
    let segment = |path: &PathBuf| {
        let base = path.file_stem()?.to_str()?.parse().ok()?;
        // One that was deleted just now is none.
        Some((base, path.metadata().ok()?.len()))
    };
    Ok(java::files_of(&data.join(format!("{topic}-0")), "log")?.iter().filter_map(segment).collect())
}

fn wait_for(context: &Context, what: &str, mut is_so: impl FnMut() -> Fallible<bool>) -> Fallible<()> {
    while !is_so()? {
        if Instant::now() >= context.deadline {
            return Err(format!("in time it was not so that {what}").into());
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// What readers are given of each topic, and what the group has committed.
fn read(context: &Context, server: &Server, prefix: &str) -> Fallible<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (name, _) in TOPICS {
        for level in ["read_uncommitted", "read_committed"] {
            let mut consumer = kcat(server, &["-C", "-p", "0", "-o", "beginning", "-e", "-q"]);
            consumer.args(["-f", "%o %T %h %K:%k %S:%s\n", "-X", &format!("isolation.level={level}")]);
            let records = context.text(consumer.args(["-t", &format!("{prefix}-{name}")]), "")?;
            found.push((format!("{name}, {level}"), records));
        }
    }
    let mut committed = context.python("confluent.py");
    committed.args(["committed", &server.bootstrap(), &format!("{prefix}-cut")]);
    found.push(("committed".to_owned(), context.text(&mut committed, "")?));
    Ok(found)
}

fn same(when: &str, found: &[(String, String)], expected: &[(String, String)]) -> Fallible<()> {
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        expect_same(&format!("{when}: {name}"), found, expected)?;
    }
    Ok(())
}

fn kcat(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", &server.bootstrap()]).args(arguments);
    command
}
