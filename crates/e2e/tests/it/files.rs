//! Clients that take old records slowly, where the broker may open few files: they share them, leave some to others, and
//! nobody loses a record.

use std::time::{Duration, Instant};

use ottla_e2e::{Broker, RawClient, body};
use ottla_protocol::messages::fetch_request::{FetchRequest, Partition, Topic};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::{BatchBuilder, Batches};
use ottla_protocol::{ApiKey, Records};

use super::logs::{KAFKA_STORAGE_ERROR, connect_soon, produce_to_all, producer_id};
use super::{FETCH, PRODUCE, connect, create_topic, create_topic_with, fetch, options, produce, until_told};

const WITHIN: Duration = Duration::from_secs(60);
const FILES: u32 = 512;
const READERS: usize = 250;
/// Each with an old segment: more than there are files for readers beside these connections.
const PARTITIONS: i32 = 150;
/// So much lies in the old segments that are read together: no socket takes that while nobody reads.
const OLD_BYTES: usize = 16 << 20;

/// In so many batches.
const OLD_BATCHES: usize = 16;
/// More segments of the same log than it keeps open.
const OTHERS: i64 = 6;

fn open_files(broker: &Broker) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).expect("it runs").count()
}

fn batch_of(timestamp: i64, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.push(timestamp, None, Some(value), &[]);
    builder.build().expect("memory")
}

/// Produces a batch to each partition, until all have it.
fn produce_everywhere(client: &mut RawClient, topic: &str, partitions: i32, bytes: &[u8]) {
    let (mut left, begun) = ((0..partitions).collect::<Vec<i32>>(), Instant::now());
    while !left.is_empty() {
        assert!(begun.elapsed() < WITHIN, "{topic}: {left:?}");
        let partition_data = left.iter().map(|&index| PartitionData { index, records: Records::Bytes(bytes) });
        let topic = TopicData { name: topic.into(), partition_data: partition_data.collect(), ..Default::default() };
        let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data: vec![topic] };
        let answer = client.ask(ApiKey::Produce, PRODUCE, &request).expect("it is answered");
        let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
        let refused = response.responses[0].partition_responses.iter().filter(|partition| partition.error_code != 0);
        left = refused.map(|partition| partition.index).collect();
    }
}

/// Asks for all from the beginning of each partition, and takes nothing of the answer: how long that is, or 0 where the broker
/// has closed.
fn begin_to_read(client: &mut RawClient, topic: &str, partitions: i32) -> usize {
    let of = |partition| Partition { partition, partition_max_bytes: OLD_BYTES as i32, ..Partition::default() };
    let request = FetchRequest {
        min_bytes: 1,
        max_bytes: 64 << 20,
        session_epoch: -1,
        topics: vec![Topic {
            topic: topic.into(),
            partitions: (0..partitions).map(of).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let frame = client.frame_of(ApiKey::Fetch, FETCH, &request);
    let is_sent = client.send_frame(&frame).is_ok();
    let mut size = [0; 4];
    while is_sent && client.stream().peek(&mut size).is_ok_and(|count| (1..4).contains(&count)) {}
    usize::try_from(i32::from_be_bytes(size)).expect("a size is not negative")
}

/// Begins to read one segment, which the log has closed since somebody did before. Where few files are left, records are refused
/// for a moment.
fn begin_to_read_one(reader: &mut RawClient, broker: &Broker, client: &mut RawClient) {
    for segment in 0..OTHERS {
        fetch(client, "one", OLD_BATCHES as i64 + segment, 0).expect("it is answered");
    }
    until_told(|| {
        if begin_to_read(reader, "one", 1) >= OLD_BYTES / 2 {
            return Ok(());
        }
        reader.answer().expect("it is answered");
        Err(broker.log())
    });
}

/// Takes the rest of the answer: of each partition its error, and how many bytes came.
fn read_on(client: &mut RawClient) -> Vec<(i16, usize)> {
    let answer = client.answer().expect("it is answered");
    let response: FetchResponse<'_> = body(&answer, ApiKey::Fetch, FETCH);
    let bytes_of = |records: &Records<'_>| if let Records::Bytes(bytes) = records { bytes.len() } else { 0 };
    let partitions = response.responses[0].partitions.iter();
    partitions.map(|partition| (partition.error_code, bytes_of(&partition.records))).collect()
}

fn write_old_segments(client: &mut RawClient) {
    let configs = [("segment.ms", "50"), ("retention.ms", "-1")];
    create_topic_with(client, "one", 1, &configs);
    create_topic_with(client, "many", PARTITIONS, &configs);
    for _ in 0..OLD_BATCHES {
        produce_everywhere(client, "one", 1, &batch_of(1, &vec![7; OLD_BYTES / (OLD_BATCHES + 1)]));
    }
    produce_everywhere(client, "many", PARTITIONS, &batch_of(1, &vec![7; OLD_BYTES / PARTITIONS as usize]));
    // Later by more than segment.ms: they roll.
    for segment in 1..=OTHERS {
        produce_everywhere(client, "one", 1, &batch_of(1000 * segment, b"new"));
    }
    produce_everywhere(client, "many", PARTITIONS, &batch_of(1000, b"new"));
}

/// A producer, somebody who makes topics, and the controller go on.
fn everybody_goes_on(broker: &mut Broker, client: &mut RawClient) {
    for number in 0..200_i64 {
        let begun = Instant::now();
        loop {
            let placed = produce(client, "p", -1, &batch_of(1, b"value")).expect("it is answered");
            if placed.error_code == 0 {
                assert_eq!(placed.base_offset, number, "none came twice, and none was lost");
                break;
            }
            assert_eq!(placed.error_code, KAFKA_STORAGE_ERROR);
            assert!(begun.elapsed() < WITHIN, "{}", broker.log());
        }
        if number % 20 == 0 {
            create_topic(client, &format!("new-{number}"));
            producer_id(client);
        }
    }
    until_told(|| if produce_to_all(client, "new-180", 1) == [0] { Ok(()) } else { Err(broker.log()) });
    assert!(broker.is_alive());
}

#[test]
fn slow_readers_of_old_segments_leave_files_to_all_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).with_files(FILES).start();
    let mut client = connect(&broker);
    create_topic(&mut client, "p");
    write_old_segments(&mut client);
    let before = open_files(&broker);

    let mut of_many: Vec<RawClient> = (0..3).map(|_| connect_soon(&broker)).collect();
    let mut of_one: Vec<RawClient> = (0..READERS).map(|_| connect_soon(&broker)).collect();
    of_one.iter_mut().for_each(|reader| begin_to_read_one(reader, &broker, &mut client));
    let with_one = open_files(&broker);
    for reader in &mut of_many {
        assert!(begin_to_read(reader, "many", PARTITIONS) > 0, "{}", broker.log());
    }
    let with_many = open_files(&broker);
    everybody_goes_on(&mut broker, &mut client);
    assert!(with_one < before + READERS + 20, "{with_one} are open, {before} were: the readers share one");
    assert!(with_many < FILES as usize * 15 / 16, "{with_many} are open");

    let [(code, bytes)] = read_on(&mut of_one[0])[..] else { panic!("one partition") };
    assert!(code == 0 && bytes > OLD_BYTES * 9 / 10, "{code}, {bytes} bytes");
    for reader in &mut of_many {
        let answered = read_on(reader);
        let is_right = |(code, bytes): &(i16, usize)| *code == if *bytes > 0 { 0 } else { KAFKA_STORAGE_ERROR };
        assert!(answered.iter().all(is_right), "{answered:?}");
    }
    drop((of_one, of_many));

    // All comes back, and all can be read.
    until_told(|| {
        assert!(begin_to_read(&mut client, "many", PARTITIONS) > 0);
        let is_whole = read_on(&mut client).iter().all(|(code, _)| *code == 0);
        let left = open_files(&broker);
        let are_back = left < before + PARTITIONS as usize + 20;
        if is_whole && are_back { Ok(()) } else { Err(format!("{left} files are open: {}", broker.log())) }
    });
    let (code, records) = fetch(&mut client, "p", 0, 0).expect("it is answered");
    assert_eq!((code, Batches::new(&records).filter(|batch| batch.is_ok()).count()), (0, 200));
    let (options, status) = broker.stop();
    assert!(status.success());
    drop(options);
}
