//! Ottla as its users meet it: a process, its sockets and its files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod compaction;
mod connection_quotas;
mod conversations;
mod disks;
mod dynamic;
mod files;
mod groups;
mod hostile;
mod kills;
mod levels;
mod logs;
mod many_offsets;
mod memory;
mod metadata;
mod metrics;
mod retention;
mod slice;

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use ottla_e2e::{Broker, Closed, Options, RawClient, body};
use ottla_protocol::messages::create_topics_request::{Config, CreateTopicsRequest, Topic as NewTopic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::fetch_request::{FetchRequest, Partition, Topic};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::{PartitionResponse, ProduceResponse};
use ottla_protocol::records::BatchBuilder;
use ottla_protocol::{ApiKey, Records};

/// The newest versions that name topics by name.
const PRODUCE: i16 = 12;
const FETCH: i16 = 12;

/// How long the broker may take to notice something, however busy the machine is.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

/// Looks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    until_told(|| if is_so() { Ok(()) } else { Err(what.to_owned()) });
}

/// Looks until there is something, and gives it. Whoever looks says what there is instead, and what else helps to see why.
fn until_told<T>(mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(told) => assert!(begun.elapsed() < NOTICED_WITHIN, "not within {NOTICED_WITHIN:?}: {told}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn options(folder: &Path) -> Options {
    Options::new(env!("CARGO_BIN_EXE_ottla-under-test"), folder)
}

fn connect(broker: &Broker) -> RawClient {
    RawClient::connect(&broker.address).expect("the broker listens")
}

fn create_topic(client: &mut RawClient, name: &str) {
    create_topic_with(client, name, 1, &[]);
}

fn create_topic_with(client: &mut RawClient, name: &str, num_partitions: i32, configs: &[(&str, &str)]) {
    assert_eq!(create_code(client, name, num_partitions, configs), 0, "{name}");
}

/// The error that a topic is created with.
fn create_code(client: &mut RawClient, name: &str, num_partitions: i32, configs: &[(&str, &str)]) -> i16 {
    let config = |&(name, value)| Config { name: Cow::Borrowed(name), value: Some(Cow::Borrowed(value)) };
    let configs = configs.iter().map(config).collect();
    let name = Cow::Borrowed(name);
    let topic = NewTopic { name, num_partitions, replication_factor: 1, configs, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let answer = client.ask(ApiKey::CreateTopics, 7, &request).expect("it is answered");
    let response: CreateTopicsResponse<'_> = body(&answer, ApiKey::CreateTopics, 7);
    response.topics[0].error_code
}

fn batch(value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.push(1, None, Some(value), &[]);
    builder.build().expect("memory")
}

fn produce(client: &mut RawClient, topic: &str, acks: i16, batch: &[u8]) -> Result<PartitionResponse<'static>, Closed> {
    let data = PartitionData { index: 0, records: Records::Bytes(batch) };
    let topic = TopicData { name: Cow::Borrowed(topic), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { transactional_id: None, acks, timeout_ms: 10_000, topic_data: vec![topic] };
    let answer = client.ask(ApiKey::Produce, PRODUCE, &request)?;
    let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
    let partition = &response.responses[0].partition_responses[0];
    Ok(PartitionResponse {
        index: partition.index,
        error_code: partition.error_code,
        base_offset: partition.base_offset,
        log_append_time_ms: partition.log_append_time_ms,
        log_start_offset: partition.log_start_offset,
        ..Default::default()
    })
}

/// The error and the bytes of one partition from `offset` on.
fn fetch(client: &mut RawClient, topic: &str, offset: i64, max_wait_ms: i32) -> Result<(i16, Vec<u8>), Closed> {
    fetch_as(FETCH, client, topic, offset, max_wait_ms)
}

/// As `fetch`, in the version `version`.
fn fetch_as(
    version: i16,
    client: &mut RawClient,
    topic: &str,
    offset: i64,
    max_wait_ms: i32,
) -> Result<(i16, Vec<u8>), Closed> {
    let partition =
        Partition { partition: 0, fetch_offset: offset, partition_max_bytes: 64 << 20, ..Partition::default() };
    let topic = Topic { topic: Cow::Borrowed(topic), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 64 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let answer = client.ask(ApiKey::Fetch, version, &request)?;
    let response: FetchResponse<'_> = body(&answer, ApiKey::Fetch, version);
    let partition = &response.responses[0].partitions[0];
    let records = match partition.records {
        Records::Bytes(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    Ok((partition.error_code, records))
}

/// The error and the bytes of the partition `partition` from `offset` on; nobody waits.
fn fetch_partition(client: &mut RawClient, topic: &str, partition: i32, offset: i64) -> (i16, Vec<u8>) {
    let partition =
        Partition { partition, fetch_offset: offset, partition_max_bytes: 64 << 20, ..Partition::default() };
    let topic = Topic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 64 << 20, session_epoch: -1, topics: vec![topic], ..Default::default() };
    let answer = client.ask(ApiKey::Fetch, FETCH, &request).expect("it is answered");
    let response: FetchResponse<'_> = body(&answer, ApiKey::Fetch, FETCH);
    let partition = &response.responses[0].partitions[0];
    match partition.records {
        Records::Bytes(bytes) => (partition.error_code, bytes.to_vec()),
        _ => (partition.error_code, Vec::new()),
    }
}
