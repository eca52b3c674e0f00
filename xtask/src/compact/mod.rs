//! `cargo xtask compact`: many small records over few keys, how fast they are compacted, beside a real Kafka with `--vs kafka`; and
//! whether compaction keeps its word while producers go on and the broker is killed ([`kills`]).
//!
//! For the speed, the topic is filled while nothing is dirty enough to be compacted. Then that is changed, and the time is taken until
//! `cleaner-offset-checkpoint` says that all but the segment that grows is compacted. At last everything is read: of each key,
//! the last value has to be there ([`keys`]), and before what the checkpoint says, nothing but that.

mod keys;
mod kills;
mod reading;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ottla_protocol::messages::incremental_alter_configs_request::{self, IncrementalAlterConfigsRequest};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::records::{BatchBuilder, Compression};

use crate::bench::connection::Connection;
use crate::bench::{frames, topic, usage};
use crate::server::{self, Server};
use crate::{Fallible, files, kafka};
use keys::{Plan, Sent};

const TOPIC: &str = "latest";
/// Memory of a real Kafka, as its own start script gives it.
const KAFKA_HEAP: &str = "1G";
const BATCH_BYTES: usize = 16 << 10;
const IN_FLIGHT: usize = 5;
/// Of a log that is measured; smaller where that would leave it in one piece.
const SEGMENT_BYTES: u64 = 128 << 20;
const SEGMENTS_MIN: u64 = 4;
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Any codec makes the values that much smaller: they are alike.
const PACKED: u64 = 16;
const ALTER_VERSION: i16 = 1;
const TOPIC_RESOURCE: i8 = 2;
/// How long a compaction may take, and how often it is looked whether it is over.
const COMPACTED_WITHIN: Duration = Duration::from_secs(1800);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// `cargo xtask compact`
#[derive(clap::Args)]
pub struct Command {
    /// Measure a real Kafka too.
    #[arg(long, value_enum)]
    vs: Option<Versus>,
    /// Only that.
    #[arg(long, requires = "vs")]
    only_kafka: bool,
    #[arg(long, default_value_t = 10_000_000)]
    records: u32,
    #[arg(long, default_value_t = 100_000)]
    keys: u32,
    /// The bytes of a value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    codec: String,
    /// How often Ottla is killed while producers write as many records again, half of the times in the middle of a cleaning.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// From which the moments of the kills follow; another one each time if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the brokers keep their files; under target/compact if not given.
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
}

/// What `--vs` takes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Versus {
    Kafka,
}

/// What a broker showed.
struct Measured {
    bytes_before: u64,
    bytes_after: u64,
    took: Duration,
    cpu_s: f64,
    peak_bytes: u64,
    records_after: u64,
}

impl Command {
    /// How large segments may be, so that the log has at least so many.
    fn segment_bytes(&self, segments: u64) -> u64 {
        let packed = if self.codec == Compression::None.name() { 1 } else { PACKED };
        (u64::from(self.records) * self.value_bytes as u64 / packed / segments).max(SEGMENT_BYTES_MIN)
    }
}

/// Measures and prints.
pub fn run(command: &Command) -> Fallible<()> {
    // With a program of one's own, this one is not built otherwise either.
    if cfg!(debug_assertions) && server::named_program().is_none() {
        return crate::bench::run_released();
    }
    let codec = Compression::from_name(&command.codec).ok_or("there is no such codec")?;
    let folder = files::target_folder("compact")?;
    let scratch = tempfile::tempdir_in(command.dir.as_deref().unwrap_or(&folder))?;
    let mut kinds = Vec::new();
    if !command.only_kafka {
        server::build()?;
        kinds.push(("ottla", server::Kind::Ottla));
    }
    if command.vs == Some(Versus::Kafka) {
        kinds.push(("kafka", server::Kind::Kafka { installed: kafka::install()?, heap: KAFKA_HEAP.to_owned() }));
    }
    println!("| broker | MB before | MB after | s | MB/s | processor s | peak MB | records left |");
    println!("|---|---|---|---|---|---|---|---|");
    for (name, kind) in kinds {
        let found = measure(command, codec, kind, &scratch.path().join(name))?;
        let (megabytes, seconds) = (|bytes: u64| bytes as f64 / 1e6, found.took.as_secs_f64());
        println!(
            "| {name} | {:.0} | {:.0} | {seconds:.2} | {:.0} | {:.2} | {:.0} | {} |",
            megabytes(found.bytes_before),
            megabytes(found.bytes_after),
            megabytes(found.bytes_before) / seconds,
            found.cpu_s,
            megabytes(found.peak_bytes),
            found.records_after
        );
    }
    if command.kills > 0 && !command.only_kafka {
        kills::run(command, codec, &scratch.path().join("killed"))?;
    }
    Ok(())
}

fn measure(command: &Command, codec: Compression, kind: server::Kind, folder: &Path) -> Fallible<Measured> {
    let settings = ["log.cleaner.backoff.ms=50".to_owned()];
    let mut server = Server::new(kind, folder, &settings, None)?;
    server.start()?;
    let address = server.bootstrap();
    let segment_bytes = command.segment_bytes(SEGMENTS_MIN).min(SEGMENT_BYTES);
    create(&address, &[("min.cleanable.dirty.ratio", "1"), ("segment.bytes", &segment_bytes.to_string())])?;
    fill(command, codec, &address)?;
    let (pid, data) = (server.pid()?, server.data());
    let segments = segments(&data)?;
    let (&end, _) = segments.last_key_value().ok_or("nothing was written")?;
    let bytes = |segments: &BTreeMap<u64, u64>| segments.range(..end).map(|(_, bytes)| bytes).sum::<u64>();
    let bytes_before = bytes(&segments);
    let (begun, cpu_s) = (Instant::now(), usage::cpu_s(pid)?);
    let_it_compact(&address)?;
    wait_until_compacted(&data, end)?;
    let (took, cpu_s) = (begun.elapsed(), usage::cpu_s(pid)? - cpu_s);
    let bytes_after = bytes(&self::segments(&data)?);
    let peak_bytes = usage::memory(pid)?.peak;
    let plan = Plan { producers: 1, keys: command.keys, deletes: false };
    let sent = [Sent { acknowledged: command.records, most: command.records }];
    let records_after = check(&plan, &sent, &address, end)?;
    server.stop()?;
    Ok(Measured { bytes_before, bytes_after, took, cpu_s, peak_bytes, records_after })
}

/// Makes the topic, with these settings besides, and waits for its leader.
fn create(address: &str, settings: &[(&str, &str)]) -> io::Result<()> {
    let settings: Vec<_> = [("cleanup.policy", "compact")].iter().chain(settings).copied().collect();
    topic::create(address, TOPIC, 1, &settings)
}

/// From now on, whatever is dirty is compacted.
fn let_it_compact(address: &str) -> Fallible<()> {
    let config = incremental_alter_configs_request::Config {
        name: "min.cleanable.dirty.ratio".into(),
        config_operation: 0,
        value: Some("0.01".into()),
    };
    let resource = incremental_alter_configs_request::Resource {
        resource_type: TOPIC_RESOURCE,
        resource_name: TOPIC.into(),
        configs: vec![config],
    };
    let alter = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let mut connection = Connection::open(address)?;
    let altered: IncrementalAlterConfigsResponse<'_> =
        connection.ask(&frames::request(&alter, ALTER_VERSION), ALTER_VERSION)?;
    match altered.responses.iter().find(|resource| resource.error_code != 0) {
        Some(resource) => Err(format!("altering {TOPIC}: {}", frames::error_name(resource.error_code)).into()),
        None => Ok(()),
    }
}

fn fill(command: &Command, codec: Compression, address: &str) -> Fallible<()> {
    let plan = Plan { producers: 1, keys: command.keys, deletes: false };
    let mut connection = Connection::open(address)?;
    let (mut number, mut on_the_way) = (0, 0);
    while number < command.records || on_the_way > 0 {
        if number == command.records || on_the_way == IN_FLIGHT {
            produced(&mut connection)?;
            on_the_way -= 1;
            continue;
        }
        let acks = 1;
        let request;
        (request, number) = batch(&plan, 0, number..command.records, command.value_bytes, codec, acks)?;
        connection.send(&request)?;
        on_the_way += 1;
    }
    Ok(())
}

/// A request with as many of a producer's records as go into a batch, and the number of the next one. The time of a record
/// is its number, and its value begins with it.
fn batch(
    plan: &Plan,
    producer: u32,
    numbers: Range<u32>,
    value_bytes: usize,
    codec: Compression,
    acks: i16,
) -> io::Result<(Vec<u8>, u32)> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    let mut value = vec![b'.'; value_bytes.max(size_of::<u32>())];
    let mut next = numbers.start;
    while next < numbers.end && builder.size_bytes() + value_bytes < BATCH_BYTES {
        value[..size_of::<u32>()].copy_from_slice(&next.to_be_bytes());
        let key = format!("key-{}", plan.key(producer, next));
        let value = (!plan.is_tombstone(next)).then_some(value.as_slice());
        builder.push(i64::from(next), Some(key.as_bytes()), value, &[]);
        next += 1;
    }
    let batch = frames::Batch { bytes: builder.build()?, records: builder.count() as u64 };
    Ok((frames::produce(TOPIC, 0, acks, &batch), next))
}

fn produced(connection: &mut Connection) -> io::Result<()> {
    frames::check_produced(connection.receive()?)
}

/// The base offsets of the partition's segments, and the bytes of their logs.
fn segments(data: &Path) -> Fallible<BTreeMap<u64, u64>> {
    let mut segments = BTreeMap::new();
    for entry in fs::read_dir(data.join(format!("{TOPIC}-0")))? {
        let entry = entry?;
        let name = entry.file_name();
        let base = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|base| base.parse().ok());
        if let Some(base) = base {
            segments.insert(base, entry.metadata()?.len());
        }
    }
    Ok(segments)
}

fn compacted_up_to(data: &Path) -> Fallible<u64> {
    // It does not exist before the first compaction.
    let text = fs::read_to_string(data.join("cleaner-offset-checkpoint")).unwrap_or_default();
    let offset = text.lines().find_map(|line| line.strip_prefix(TOPIC)?.strip_prefix(" 0 "));
    offset.map_or(Ok(0), |offset| Ok(offset.parse()?))
}

fn wait_until_compacted(data: &Path, end: u64) -> Fallible<()> {
    let begun = Instant::now();
    while compacted_up_to(data)? < end {
        if begun.elapsed() > COMPACTED_WITHIN {
            return Err(format!("within {COMPACTED_WITHIN:?} it was not compacted up to {end}").into());
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Reads everything, and fails where it is not what has to be left; says how many records there are.
fn check(plan: &Plan, sent: &[Sent], address: &str, compacted_to: u64) -> Fallible<u64> {
    let found = reading::read(address, compacted_to)?;
    plan.judge(sent, &found.last)?;
    if let Some(doubled) = found.doubled {
        return Err(doubled.into());
    }
    let written: u64 = sent.iter().map(|sent| u64::from(sent.acknowledged)).sum();
    if compacted_to == 0 || found.records >= written {
        return Err(format!(
            "nothing was compacted: {} of {written} records are there; try more of them",
            found.records
        )
        .into());
    }
    Ok(found.records)
}
