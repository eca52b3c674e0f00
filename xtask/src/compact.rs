//! `cargo xtask compact`: many small records over few keys, and how fast they are compacted; beside a real Kafka with `--vs kafka`.
//!
//! The topic is filled while nothing is dirty enough to be compacted. Then that is changed, and the time is taken until
//! `cleaner-offset-checkpoint` says that all but the segment that grows is compacted. At last everything is read: of each key,
//! the last value has to be there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ottla_protocol::messages::create_topics_request::{self, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::incremental_alter_configs_request::{self, IncrementalAlterConfigsRequest};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::records::{BatchBuilder, Batches, Compression, Decompressor};

use crate::bench::connection::Connection;
use crate::bench::{frames, usage};
use crate::server::{self, Server};
use crate::{Fallible, files, kafka};

const TOPIC: &str = "latest";
/// Memory of a real Kafka, as its own start script gives it.
const KAFKA_HEAP: &str = "1G";
const BATCH_BYTES: usize = 16 << 10;
const IN_FLIGHT: usize = 5;
const SEGMENT_BYTES: u64 = 128 << 20;
const CREATE_VERSION: i16 = 5;
const ALTER_VERSION: i16 = 1;
const TOPIC_RESOURCE: i8 = 2;
/// What a batch unpacks to at most.
const UNPACKED_BYTES_MAX: usize = 1 << 20;
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

/// Measures and prints.
pub fn run(command: &Command) -> Fallible<()> {
    if cfg!(debug_assertions) {
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
    Ok(())
}

fn measure(command: &Command, codec: Compression, kind: server::Kind, folder: &Path) -> Fallible<Measured> {
    let settings = ["log.cleaner.backoff.ms=50".to_owned()];
    let mut server = Server::new(kind, folder, &settings, None)?;
    server.start()?;
    let address = server.bootstrap();
    create(&address)?;
    fill(command, codec, &address)?;
    let (pid, data) = (server.pid()?, server.data());
    let segments = segments(&data)?;
    let (&end, _) = segments.last_key_value().ok_or("nothing was written")?;
    let bytes = |segments: &BTreeMap<u64, u64>| segments.range(..end).map(|(_, bytes)| bytes).sum::<u64>();
    let bytes_before = bytes(&segments);
    let (begun, cpu_s) = (Instant::now(), usage::cpu_s(pid)?);
    let_it_compact(&address)?;
    while compacted_up_to(&data)? < end {
        if begun.elapsed() > COMPACTED_WITHIN {
            return Err("it was not compacted in time".into());
        }
        thread::sleep(LOOK_EVERY);
    }
    let (took, cpu_s) = (begun.elapsed(), usage::cpu_s(pid)? - cpu_s);
    let bytes_after = bytes(&self::segments(&data)?);
    let peak_bytes = usage::memory(pid)?.peak;
    let records_after = check(command, &address)?;
    server.stop()?;
    Ok(Measured { bytes_before, bytes_after, took, cpu_s, peak_bytes, records_after })
}

fn create(address: &str) -> Fallible<()> {
    let config = |name: &'static str, value: String| create_topics_request::Config {
        name: name.into(),
        value: Some(value.into()),
    };
    let topic = create_topics_request::Topic {
        name: TOPIC.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![
            config("cleanup.policy", "compact".to_owned()),
            config("min.cleanable.dirty.ratio", "1".to_owned()),
            config("segment.bytes", SEGMENT_BYTES.to_string()),
            config("file.delete.delay.ms", "100".to_owned()),
        ],
        ..Default::default()
    };
    let create = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let mut connection = Connection::open(address)?;
    let created: CreateTopicsResponse<'_> =
        connection.ask(&frames::request(&create, CREATE_VERSION), CREATE_VERSION)?;
    match created.topics.iter().find(|topic| topic.error_code != 0) {
        Some(topic) => Err(format!("creating {TOPIC}: {}", frames::error_name(topic.error_code)).into()),
        None => Ok(()),
    }
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

/// The key of a record: all keys come equally often, in an order that is not theirs.
fn key(number: u32, keys: u32) -> u32 {
    (u64::from(number) * 2_654_435_761 % u64::from(keys)) as u32
}

fn fill(command: &Command, codec: Compression, address: &str) -> Fallible<()> {
    let mut connection = Connection::open(address)?;
    let (mut number, mut on_the_way) = (0, 0);
    let mut value = vec![b'.'; command.value_bytes.max(size_of::<u32>())];
    while number < command.records || on_the_way > 0 {
        if number == command.records || on_the_way == IN_FLIGHT {
            produced(&mut connection)?;
            on_the_way -= 1;
            continue;
        }
        let mut builder = BatchBuilder::new().compression(codec, None);
        while number < command.records && builder.size_bytes() + command.value_bytes < BATCH_BYTES {
            value[..size_of::<u32>()].copy_from_slice(&number.to_be_bytes());
            let key = format!("key-{}", key(number, command.keys));
            builder.push(i64::from(number), Some(key.as_bytes()), Some(&value), &[]);
            number += 1;
        }
        let batch = frames::Batch { bytes: builder.build()?, records: builder.count() as u64 };
        connection.send(&frames::produce(TOPIC, 0, 1, &batch))?;
        on_the_way += 1;
    }
    Ok(())
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

/// Reads everything; says how many records there are.
fn check(command: &Command, address: &str) -> Fallible<u64> {
    let mut expected: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for number in 0..command.records {
        expected.insert(format!("key-{}", key(number, command.keys)).into_bytes(), number);
    }
    let (mut found, mut count, mut at) = (BTreeMap::new(), 0, 0);
    let mut connection = Connection::open(address)?;
    let mut request = frames::fetch(TOPIC, &[0]);
    let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
    loop {
        frames::set_fetch_offset(&mut request, 1, 0, at);
        let answer: FetchResponse<'_> = connection.ask(&request, frames::FETCH_VERSION)?;
        let partition = answer.responses.first().and_then(|topic| topic.partitions.first()).ok_or("no partition")?;
        if partition.error_code != 0 {
            return Err(format!("fetching from {at}: {}", frames::error_name(partition.error_code)).into());
        }
        let records = match partition.records {
            ottla_protocol::Records::Bytes(bytes) => bytes,
            _ => &[],
        };
        let before = at;
        for batch in Batches::new(records) {
            let batch = batch.map_err(|error| error.to_string())?;
            for record in decompressor.records(&batch, UNPACKED_BYTES_MAX, &mut unpacked)? {
                let record = record?;
                let (key, value) = record.key.zip(record.value).ok_or("a record without key or value")?;
                let number = u32::from_be_bytes(*value.first_chunk().ok_or("a short value")?);
                found.insert(key.to_vec(), number);
                count += 1;
            }
            at = batch.header().next_offset().0.cast_unsigned();
        }
        if at == before {
            break;
        }
    }
    if found == expected { Ok(count) } else { Err("not every key has its last value".into()) }
}
