//! Topics of many partitions: others do not wait for their logs; and what happens where a process may not open so many files.

use std::time::Instant;

use ottla_e2e::{Broker, RawClient, body};
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::create_topics_request::{CreateTopicsRequest, Topic as NewTopic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::DeleteTopicsResponse;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::BatchBuilder;
use ottla_protocol::{ApiKey, Records};

use super::{PRODUCE, batch, connect, create_topic, create_topic_with, fetch_partition, options, until, until_told};

pub const KAFKA_STORAGE_ERROR: i16 = 56;
/// Enough for the broker itself, and some logs.
const FEW_FILES: u32 = 160;
const TOO_MANY_PARTITIONS: i32 = 100;

/// Connections are refused while logs have too many files.
pub fn connect_soon(broker: &Broker) -> RawClient {
    until_told(|| {
        let mut client = connect(broker);
        let answered = client.ask(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
        if answered.is_ok() { Ok(client) } else { Err(broker.log()) }
    })
}

fn creation(name: &str, partitions: i32) -> CreateTopicsRequest<'_> {
    let topic = NewTopic { name: name.into(), num_partitions: partitions, replication_factor: 1, ..Default::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false }
}

fn create(client: &mut RawClient, name: &str, partitions: i32) {
    let answer = client.ask(ApiKey::CreateTopics, 7, &creation(name, partitions)).expect("it is answered");
    check_created(&answer);
}

fn check_created(answer: &[u8]) {
    let response: CreateTopicsResponse<'_> = body(answer, ApiKey::CreateTopics, 7);
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}

fn delete(client: &mut RawClient, name: &str) {
    let request = DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 10_000, ..Default::default() };
    let answer = client.ask(ApiKey::DeleteTopics, 4, &request).expect("it is answered");
    let response: DeleteTopicsResponse<'_> = body(&answer, ApiKey::DeleteTopics, 4);
    assert_eq!(response.responses[0].error_code, 0);
}

/// What producing to each of the first `partitions` answers.
pub fn produce_to_all(client: &mut RawClient, name: &str, partitions: i32) -> Vec<i16> {
    let bytes = batch(b"value");
    let partition_data = (0..partitions).map(|index| PartitionData { index, records: Records::Bytes(&bytes) });
    let topic = TopicData { name: name.into(), partition_data: partition_data.collect(), ..Default::default() };
    let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data: vec![topic] };
    let answer = client.ask(ApiKey::Produce, PRODUCE, &request).expect("it is answered");
    let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
    response.responses[0].partition_responses.iter().map(|partition| partition.error_code).collect()
}

pub fn producer_id(client: &mut RawClient) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 1000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let answer = client.ask(ApiKey::InitProducerId, 4, &request).expect("it is answered");
    let response: InitProducerIdResponse = body(&answer, ApiKey::InitProducerId, 4);
    assert_eq!(response.error_code, 0);
    response.producer_id
}

#[test]
fn nobody_waits_for_the_logs_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    let (mut first, mut second) = (connect(&broker), connect(&broker));
    let many = 1000;
    let frame = first.frame_of(ApiKey::CreateTopics, 7, &creation("many", many));
    first.send_frame(&frame).expect("it is open");
    create_topic(&mut second, "one");
    assert_eq!(produce_to_all(&mut second, "one", 1), [0]);
    producer_id(&mut second);
    first.stream().set_nonblocking(true).expect("a socket");
    let is_answered = first.stream().peek(&mut [0]).is_ok();
    first.stream().set_nonblocking(false).expect("a socket");
    assert!(!is_answered, "a thousand logs were made before one was");
    check_created(&first.answer().expect("it is answered"));
    assert_eq!(produce_to_all(&mut first, "many", many), vec![0; many as usize], "at once");
    // A topic that is made anew gets none of the old one's logs, however many are on their way.
    let frame = first.frame_of(
        ApiKey::DeleteTopics,
        4,
        &DeleteTopicsRequest { topic_names: vec!["many".into()], timeout_ms: 10_000, ..Default::default() },
    );
    first.send_frame(&frame).expect("it is open");
    delete(&mut second, "one");
    create_until_new(&mut second, "many");
    assert_eq!(produce_to_all(&mut second, "many", 3), [0, 0, 0]);
    let (options, status) = broker.stop();
    assert!(status.success());
    let broker = options.start();
    assert_eq!(produce_to_all(&mut connect(&broker), "many", 3), [0, 0, 0]);
    assert!(!broker.log().contains("stray"), "{}", broker.log());
}

/// Creates a topic of three partitions that is about to be deleted.
fn create_until_new(client: &mut RawClient, name: &str) {
    until_told(|| {
        let answer = client.ask(ApiKey::CreateTopics, 7, &creation(name, 3)).expect("it is answered");
        let response: CreateTopicsResponse<'_> = body(&answer, ApiKey::CreateTopics, 7);
        if response.topics[0].error_code == 0 { Ok(()) } else { Err(format!("{response:?}")) }
    });
}

#[test]
fn a_topic_that_is_deleted_while_its_logs_are_made_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).with("log.segment.delete.delay.ms=0").start();
    let (mut first, mut second) = (connect(&broker), connect(&broker));
    for _ in 0..3 {
        let frame = first.frame_of(ApiKey::CreateTopics, 7, &creation("t", 200));
        first.send_frame(&frame).expect("it is open");
        until("it is deleted", || {
            let request =
                DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 10_000, ..Default::default() };
            let answer = second.ask(ApiKey::DeleteTopics, 4, &request).expect("it is answered");
            let response: DeleteTopicsResponse<'_> = body(&answer, ApiKey::DeleteTopics, 4);
            response.responses[0].error_code == 0
        });
        check_created(&first.answer().expect("it is answered"));
    }
    let left = || {
        let names = std::fs::read_dir(broker.options().data()).expect("it is there");
        names.filter(|name| name.as_ref().expect("it is there").file_name().to_string_lossy().starts_with("t-")).count()
    };
    until("no folder is left", || left() == 0);
}

#[test]
fn more_logs_than_files_are_made_and_written_to_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).with_files(FEW_FILES).start();
    let mut client = connect(&broker);
    let names = ["a", "b", "c"];
    names.iter().for_each(|name| create(&mut client, name, TOO_MANY_PARTITIONS));
    let mut were_refused = 0;
    for name in names {
        let mut left: Vec<i32> = (0..TOO_MANY_PARTITIONS).collect();
        until_told(|| {
            produce_round(&mut client, name, 0, &mut left);
            were_refused += left.len();
            if left.is_empty() { Ok(()) } else { Err(format!("{name}: {left:?} {}", broker.log())) }
        });
    }
    assert!(were_refused > 0, "all find files");
    // The metadata can be written nevertheless.
    let first = producer_id(&mut client);
    for _ in 0..2000 {
        producer_id(&mut client);
    }
    assert!(producer_id(&mut client) > first + 2000);
    let log = broker.log();
    assert!(log.contains("too many files are open") && log.contains("LimitNOFILE=") && !log.contains("ERROR"), "{log}");
    assert!(broker.is_alive());
    // A start has more logs than files, too: what was flushed, and what was not.
    let options = broker.kill();
    let (options, status) = holds_all(options.start(), &names).stop();
    assert!(status.success());
    drop(holds_all(options.start(), &names));
}

/// Each log holds the one record, and takes requests.
fn holds_all(broker: Broker, names: &[&str]) -> Broker {
    let mut client = connect_soon(&broker);
    for name in names {
        for partition in 0..TOO_MANY_PARTITIONS {
            until_told(|| {
                let is_there = !fetch_partition(&mut client, name, partition, 0).1.is_empty();
                if is_there { Ok(()) } else { Err(format!("{name}-{partition} {}", broker.log())) }
            });
        }
    }
    broker
}

/// Produces a record to each of the `left` partitions, and keeps those that were refused. Each that is taken has the offset
/// `round`: none came twice, and none was lost.
fn produce_round(client: &mut RawClient, name: &str, round: i64, left: &mut Vec<i32>) {
    let mut builder = BatchBuilder::new();
    // Later by more than segment.ms.
    builder.push(1 + round * 1000, None, Some(b"value"), &[]);
    let bytes = builder.build().expect("memory");
    let partition_data = left.iter().map(|&index| PartitionData { index, records: Records::Bytes(&bytes) });
    let topic = TopicData { name: name.into(), partition_data: partition_data.collect(), ..Default::default() };
    let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data: vec![topic] };
    let answer = client.ask(ApiKey::Produce, PRODUCE, &request).expect("it is answered");
    let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
    left.clear();
    for partition in &response.responses[0].partition_responses {
        match partition.error_code {
            0 => assert_eq!(partition.base_offset, round, "{partition:?}"),
            KAFKA_STORAGE_ERROR => left.push(partition.index),
            code => panic!("{code}"),
        }
    }
}

#[test]
fn logs_that_roll_until_no_file_is_left_go_on_when_they_are_flushed() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).with_files(FEW_FILES).start();
    let mut client = connect(&broker);
    create_topic_with(&mut client, "t", 40, &[("segment.ms", "50"), ("retention.ms", "-1")]);
    let (begun, mut were_refused) = (Instant::now(), 0);
    for round in 0..30 {
        let mut left: Vec<i32> = (0..40).collect();
        until_told(|| {
            produce_round(&mut client, "t", round, &mut left);
            were_refused += left.len();
            if left.is_empty() { Ok(()) } else { Err(format!("round {round}: {left:?} {}", broker.log())) }
        });
    }
    assert!(were_refused > 0, "there are files enough");
    let log = broker.log();
    // Others may lack files meanwhile, and say so themselves.
    let told = log.matches("What needs one more fails until segments are flushed").count() as u64;
    let most = 1 + begun.elapsed().as_secs() / 60;
    assert!((1..=most).contains(&told), "{told} times, and {most} at most, once a minute: {log}");
    assert!(log.contains("ulimit -n") && !log.contains("ERROR"), "{log}");
    // Those who came late find files, too.
    create(&mut client, "new", 10);
    until_told(|| {
        let codes = produce_to_all(&mut client, "new", 10);
        if codes.iter().all(|code| *code == 0) { Ok(()) } else { Err(format!("{codes:?} {}", broker.log())) }
    });
    connect(&broker);
    let (options, _) = broker.stop();
    drop(options);
}

#[test]
fn a_start_with_too_few_files_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = options(folder.path()).start();
    create(&mut connect(&broker), "t", 200);
    let (options, _) = broker.stop();
    let (status, log) = options.with_files(24).try_start().expect_err("the broker itself needs more");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("ulimit -n") && log.contains("LimitNOFILE="), "{log}");
}
