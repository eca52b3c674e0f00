//! Clients that mean no good, or nothing: the broker's memory stays within its bounds, and everybody else is served.

use std::time::{Duration, Instant};

use ottla_base::Random;
use ottla_e2e::{Broker, RawClient, body};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, Resource};
use ottla_protocol::messages::metadata_request::{MetadataRequest, Topic};
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::{PartitionResponse, ProduceResponse};
use ottla_protocol::records::{BatchBuilder, Compression};
use ottla_protocol::{ApiKey, Records};

use super::{PRODUCE, batch, connect, create_topic, create_topic_with, fetch, options, produce};

/// What the broker may take, whatever comes.
const MOST_BYTES: u64 = 256 << 20;
/// What it may still hold after large requests have been answered.
const LEFT_BYTES: u64 = 96 << 20;

pub fn everybody_else_is_served(broker: &mut Broker, client: &mut RawClient, topic: &str) {
    for _ in 0..20 {
        let placed = produce(client, topic, -1, &batch(&[7; 10_000])).expect("it is answered");
        assert_eq!(placed.error_code, 0);
        assert_eq!(fetch(client, topic, placed.base_offset, 0).expect("it is answered").0, 0);
    }
    assert!(broker.is_alive());
    assert!(broker.peak_resident_bytes() < MOST_BYTES, "{} bytes", broker.peak_resident_bytes());
}

#[test]
fn two_hundred_announcements_of_100_mib_take_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let mut stalled: Vec<RawClient> = (0..200).map(|_| connect(&broker)).collect();
    for client in &mut stalled {
        client.send_bytes(&(100i32 << 20).to_be_bytes()).expect("it is open");
        client.send_bytes(&[0; 1000]).expect("it is open");
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn two_hundred_half_sent_frames_are_bounded_and_hold_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let part = vec![0; 2 << 20];
    let mut stalled: Vec<RawClient> = (0..200).map(|_| connect(&broker)).collect();
    let senders: Vec<_> = stalled
        .drain(..)
        .map(|mut client| {
            let part = part.clone();
            std::thread::spawn(move || {
                let _ = client.send_bytes(&(100i32 << 20).to_be_bytes());
                // It may be thrown out, which is as it should be.
                let _ = client.send_bytes(&part);
                client
            })
        })
        .collect();
    everybody_else_is_served(&mut broker, &mut client, "t");
    drop(senders);
}

#[test]
fn large_requests_at_once_leave_no_memory_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let names: Vec<String> = (0..60_000).map(|number| format!("unknown-{number}")).collect();
    let topics = names.iter().map(|name| Topic { name: Some(name.as_str().into()), ..Default::default() }).collect();
    let request = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false, ..Default::default() };
    std::thread::scope(|scope| {
        for _ in 0..32 {
            let (mut hostile, request) = (connect(&broker), &request);
            scope.spawn(move || hostile.ask(ApiKey::Metadata, 12, request).expect("it is answered"));
        }
    });
    everybody_else_is_served(&mut broker, &mut client, "t");
    let deadline = Instant::now() + Duration::from_secs(20);
    while broker.resident_bytes() > LEFT_BYTES {
        assert!(Instant::now() < deadline, "{} bytes are left", broker.resident_bytes());
        std::thread::sleep(Duration::from_millis(100));
        everybody_else_is_served(&mut broker, &mut client, "t");
    }
}

/// A short batch is a long one once it is unpacked, and a topic may have it kept so.
#[test]
fn batches_that_grow_where_they_are_packed_anew_do_not_all_grow_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let settings = [("compression.type", "uncompressed"), ("max.message.bytes", "90000000")];
    create_topic_with(&mut client, "grows", 1, &settings);
    let mut builder = BatchBuilder::new().compression(Compression::Zstd, None);
    builder.push(1, None, Some(&vec![7; 60_000_000]), &[]);
    let grows = builder.build().expect("memory");
    assert!(grows.len() < 100_000, "{} bytes", grows.len());
    std::thread::scope(|scope| {
        for _ in 0..12 {
            let (mut hostile, grows) = (connect(&broker), &grows);
            scope.spawn(move || {
                // The first of its partitions is not there: the second counts, too.
                let data = |index| PartitionData { index, records: Records::Bytes(grows) };
                let topic =
                    TopicData { name: "grows".into(), partition_data: vec![data(1), data(0)], ..Default::default() };
                let request =
                    ProduceRequest { acks: 1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
                let answer = hostile.ask(ApiKey::Produce, PRODUCE, &request).expect("it is answered");
                let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
                let of = |partition: &PartitionResponse<'_>| (partition.index, partition.error_code);
                let errors: Vec<_> = response.responses[0].partition_responses.iter().map(of).collect();
                assert_eq!(errors, [(1, ErrorCode::UnknownTopicOrPartition.code()), (0, 0)]);
            });
        }
    });
    everybody_else_is_served(&mut broker, &mut client, "t");
}

/// So many connections as there may be, at most `wanted`.
fn connections(wanted: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = limit.maximum.unwrap_or(20_000);
    let raised = rustix::process::Rlimit { current: Some(most), maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("up to the maximum it may be raised");
    usize::try_from(most / 2).expect("a number of files").min(wanted)
}

/// Each takes long to handle, after which the worker's other connections come first: with as long a one.
#[test]
fn thousands_of_requests_that_take_long_do_not_leave_their_answers_in_memory() {
    const WITH_ANSWERS_BYTES: u64 = 128 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let resource = Resource { resource_type: 4, resource_name: "1".into(), configuration_keys: None };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_documentation: true, include_synonyms: true };
    let mut asking: Vec<RawClient> = (0..connections(3000)).map(|_| connect(&broker)).collect();
    for client in &mut asking {
        let frame = client.frame_of(ApiKey::DescribeConfigs, 4, &request);
        client.send_frame(&frame).expect("it is open");
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
    let length = asking.iter_mut().map(|client| client.receive().expect("it is answered").len()).max();
    assert!(length > Some(30_000), "{length:?} bytes make no difference");
    assert!(broker.peak_resident_bytes() < WITH_ANSWERS_BYTES, "{} bytes", broker.peak_resident_bytes());
}

/// What has left is not held against anybody: these answers fit their sockets, and are together more than may be left lying.
#[test]
fn hundreds_of_large_answers_that_are_taken_at_once_hold_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let names: Vec<String> = (0..12_000).map(|number| format!("u{number:05}")).collect();
    let topics = names.iter().map(|name| Topic { name: Some(name.as_str().into()), ..Default::default() }).collect();
    let request = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false, ..Default::default() };
    let mut asking: Vec<RawClient> = (0..300).map(|_| connect(&broker)).collect();
    for client in &mut asking {
        let answer = client.ask(ApiKey::Metadata, 9, &request).expect("it is answered");
        assert!(answer.len() > 150_000, "{} bytes make no difference", answer.len());
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
    for client in &mut asking {
        client.ask(ApiKey::Metadata, 9, &request).expect("it is still there");
    }
}

#[test]
fn thousands_of_idle_connections_cost_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    let count = connections(10_000);
    let idle: Vec<RawClient> = (0..count).map(|_| connect(&broker)).collect();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    everybody_else_is_served(&mut broker, &mut client, "t");
    assert_eq!(idle.len(), count);
}

#[test]
fn noise_closes_its_own_connection_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let seed = 20_261_121;
    let mut random = Random::new(seed);
    for round in 0..300 {
        let mut noisy = connect(&broker);
        let length = random.below(300) as usize;
        let mut noise: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
        if round % 2 == 0 && length >= 8 {
            // A key and a version that exist, so that the noise reaches a decoder.
            let keys = [0u8, 1, 2, 3, 10, 18, 19, 20, 22, 32, 37, 60, 75];
            noise[..4].copy_from_slice(&[0, keys[random.below(13) as usize], 0, random.below(5) as u8]);
        }
        let _ = noisy.send_frame(&noise);
    }
    for size in [-1i32, i32::MIN, i32::MAX, 104_857_601] {
        let mut noisy = connect(&broker);
        noisy.send_bytes(&size.to_be_bytes()).expect("it is open");
        assert!(noisy.is_closed(), "a size of {size}, seed {seed}");
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
}
