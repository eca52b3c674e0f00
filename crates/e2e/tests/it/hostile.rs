//! Requests that are wrong, or made to cost more than they do: each gets Kafka's error or a closed connection, and
//! everybody else is served.

use std::borrow::Cow;
use std::time::Duration;

use ottla_e2e::{Broker, Closed, RawClient, body};
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::messages::create_topics_request::{Assignment, Config, CreateTopicsRequest, Topic as NewTopic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::delete_records_request::{self, DeleteRecordsRequest};
use ottla_protocol::messages::delete_records_response::DeleteRecordsResponse;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, Resource};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResponse;
use ottla_protocol::messages::describe_producers_request::{DescribeProducersRequest, Topic as DescribedTopic};
use ottla_protocol::messages::describe_producers_response::DescribeProducersResponse;
use ottla_protocol::messages::fetch_request::{FetchRequest, Partition, Topic as FetchedTopic};
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::metadata_request::{MetadataRequest, Topic};
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::{BatchBuilder, Compression, HEADER_BYTES, crc_of};
use ottla_protocol::{ApiKey, Records};

use super::memory::everybody_else_is_served;
use super::{PRODUCE, batch, connect, create_topic, options, produce};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CORRUPT_MESSAGE: i16 = 2;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const INVALID_RECORD: i16 = 87;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const MIB: usize = 1 << 20;
/// Of each topic here.
const PARTITIONS: usize = 15;

/// A broker with a topic `t`, a client of it that means well, and the folder of its files.
fn start(settings: &[&str]) -> (Broker, RawClient, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = settings.iter().fold(options(folder.path()), |options, setting| options.with(setting));
    let broker = options.start();
    let mut client = connect(&broker);
    assert_eq!(create_with(&mut client, "t", "cleanup.policy", Some("delete")).0, 0);
    (broker, client, folder)
}

/// Creates a topic with one setting, and tells the error.
fn create_with(client: &mut RawClient, name: &str, key: &str, value: Option<&str>) -> (i16, Option<String>) {
    let config = Config { name: Cow::Borrowed(key), value: value.map(Cow::Borrowed) };
    let topic = NewTopic {
        name: Cow::Borrowed(name),
        num_partitions: PARTITIONS as i32,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let answer = client.ask(ApiKey::CreateTopics, 4, &request).expect("it is answered");
    let response: CreateTopicsResponse<'_> = body(&answer, ApiKey::CreateTopics, 4);
    let topic = &response.topics[0];
    (topic.error_code, topic.error_message.as_deref().map(str::to_owned))
}

/// Sends batches for as many partitions in one request, and tells their errors.
fn produce_all(client: &mut RawClient, topic: &str, batches: &[&[u8]]) -> Result<Vec<i16>, Closed> {
    let numbered = (0..).zip(batches);
    let partition_data = numbered.map(|(index, batch)| PartitionData { index, records: Records::Bytes(batch) });
    let topic =
        TopicData { name: Cow::Borrowed(topic), partition_data: partition_data.collect(), ..Default::default() };
    let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data: vec![topic] };
    let answer = client.ask(ApiKey::Produce, PRODUCE, &request)?;
    let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
    Ok(response.responses[0].partition_responses.iter().map(|partition| partition.error_code).collect())
}

/// `batch` with other bytes for its records, and with what `change` does to it; its length and CRC are right.
fn rebuilt(batch: &[u8], records: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut batch = [&batch[..HEADER_BYTES], records].concat();
    let length = (batch.len() - 12) as u32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    change(&mut batch);
    let crc = crc_of(&batch);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A zstd frame with a window of 2^`window_log` bytes, out of which come `first` and then many zeros.
fn zstd_of_zeros(window_log: u8, first: &[u8], zeros: usize) -> Vec<u8> {
    let header = |size: usize, kind: usize, is_last: bool| {
        (((size << 3) | (kind << 1) | usize::from(is_last)) as u32).to_le_bytes()[..3].to_vec()
    };
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3];
    frame.extend(header(first.len(), 0, false));
    frame.extend(first);
    let mut left = zeros;
    while left > 0 {
        let size = left.min(128 * 1024);
        left -= size;
        frame.extend(header(size, 1, left == 0));
        frame.push(0);
    }
    frame
}

/// A batch of a few thousand bytes with one record, whose value is `bytes` zeros.
fn zstd_bomb(window_log: u8, bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.push(1, Some(b"k"), Some(&vec![0; bytes]), &[]);
    let plain = builder.build().expect("memory");
    // The number of headers is one more zero.
    let records = &plain[HEADER_BYTES..];
    let first = &records[..records.len() - bytes - 1];
    let bomb = rebuilt(&plain, &zstd_of_zeros(window_log, first, bytes + 1), |batch| batch[22] |= 4);
    assert!(bomb.len() < 10_000, "{} bytes", bomb.len());
    bomb
}

/// What is told of so many bombs: together they unpack to too much, so all but the first are looked at when they are sent again.
fn stopped(bombs: usize) -> Vec<i16> {
    let mut codes = vec![NOT_ENOUGH_REPLICAS; bombs];
    codes[0] = INVALID_RECORD;
    codes
}

#[test]
fn bombs_of_zstd_are_stopped_for_all_topics_and_on_many_connections_at_once() {
    let (mut broker, mut client, _folder) = start(&["ottla.validate.compressed.records=true"]);
    assert_eq!(create_with(&mut client, "compacted", "cleanup.policy", Some("compact")).0, 0);
    let (usual, large) = (zstd_bomb(20, 70 * MIB), zstd_bomb(27, 70 * MIB));
    // The codec and the batch are good.
    assert_eq!(produce_all(&mut client, "t", &[&zstd_bomb(20, MIB), &zstd_bomb(27, MIB)]), Ok(vec![0, 0]));
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (mut hostile, usual, large) = (connect(&broker), &usual, &large);
            scope.spawn(move || {
                let topic = if number % 2 == 0 { "t" } else { "compacted" };
                let bomb = if number % 3 == 0 { usual } else { large };
                let codes = produce_all(&mut hostile, topic, &[bomb.as_slice(); PARTITIONS]).expect("it is answered");
                assert_eq!(codes, stopped(PARTITIONS), "{topic}");
            });
        }
        everybody_else_is_served(&mut broker, &mut client, "t");
    });
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn bombs_of_other_codecs_are_stopped() {
    let (mut broker, mut client, _folder) = start(&["ottla.validate.compressed.records=true"]);
    for codec in [Compression::Gzip, Compression::Lz4] {
        let mut builder = BatchBuilder::new().compression(codec, None);
        builder.push(1, None, Some(&vec![0; 70 * MIB]), &[]);
        let bomb = builder.build().expect("memory");
        assert!(bomb.len() < MIB, "{} bytes", bomb.len());
        let mut hostile = connect(&broker);
        let told = produce_all(&mut hostile, "t", &[&bomb, &bomb, &bomb]);
        assert_eq!(told, Ok(stopped(3)), "{codec:?}");
        everybody_else_is_served(&mut broker, &mut hostile, "t");
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn wrong_batches_get_kafkas_codes_and_the_connection_goes_on() {
    let (mut broker, mut client, _folder) = start(&[]);
    let good = batch(b"good");
    let records = &good[HEADER_BYTES..];
    let mut wrong_crc = good.clone();
    wrong_crc[20] ^= 1;
    let set = |at: usize, value: i32| {
        rebuilt(&good, records, move |batch| batch[at..at + 4].copy_from_slice(&value.to_be_bytes()))
    };
    let (count_at, last_offset_delta_at) = (57, 23);
    for (what, batch, code) in [
        ("a wrong CRC", wrong_crc, CORRUPT_MESSAGE),
        ("more records than there are", set(count_at, 2), INVALID_RECORD),
        ("no records", set(count_at, 0), INVALID_RECORD),
        ("fewer than none", set(count_at, -1), INVALID_RECORD),
        ("two billion", set(count_at, i32::MAX), INVALID_RECORD),
        ("a wrong last offset", set(last_offset_delta_at, 7), INVALID_RECORD),
        ("a record that is cut off", rebuilt(&good, &records[..records.len() - 2], |_| {}), INVALID_RECORD),
        ("bytes after the records", rebuilt(&good, &[records, b"more"].concat(), |_| {}), INVALID_RECORD),
        ("nothing at all", Vec::new(), INVALID_RECORD),
    ] {
        assert_eq!(produce_all(&mut client, "t", &[&batch]), Ok(vec![code]), "{what}");
        assert_eq!(produce_all(&mut client, "t", &[&good]), Ok(vec![0]), "after {what}");
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn records_of_internal_topics_are_not_deleted_by_clients() {
    let (mut broker, mut client, _folder) = start(&[]);
    create_topic(&mut client, "__consumer_offsets");
    let errors = ["t", "__consumer_offsets"].map(|name| {
        let partitions = vec![delete_records_request::Partition { partition_index: 0, offset: 0 }];
        let topic = delete_records_request::Topic { name: Cow::Borrowed(name), partitions };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 };
        let answer = client.ask(ApiKey::DeleteRecords, 2, &request).expect("it is answered");
        let response: DeleteRecordsResponse<'_> = body(&answer, ApiKey::DeleteRecords, 2);
        response.topics[0].partitions[0].error_code
    });
    assert_eq!(errors, [0, INVALID_TOPIC_EXCEPTION]);
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn a_failure_without_acknowledgement_closes_the_connection() {
    let (mut broker, mut client, _folder) = start(&[]);
    let mut hostile = connect(&broker);
    let data = PartitionData { index: 0, records: Records::Bytes(b"no batch") };
    let topic = TopicData { name: Cow::Borrowed("t"), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { transactional_id: None, acks: 0, timeout_ms: 10_000, topic_data: vec![topic] };
    assert!(hostile.ask(ApiKey::Produce, PRODUCE, &request).is_err());
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn versions_that_are_not_served_close_the_connection_but_for_api_versions() {
    let (mut broker, mut client, _folder) = start(&[]);
    let ask = |client: &mut RawClient, version| {
        let request = ApiVersionsRequest {
            client_software_name: Cow::Borrowed("raw"),
            client_software_version: Cow::Borrowed("1"),
            ..Default::default()
        };
        let frame = match version {
            // What a client of the future sends, as far as we can know.
            99 => [&[0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0][..], b"?????"].concat(),
            version => client.frame_of(ApiKey::ApiVersions, version, &request),
        };
        client.send_frame(&frame).expect("it is open");
        client.receive().expect("it is answered")
    };
    let answer = ask(&mut client, 99);
    let response: ApiVersionsResponse<'_> = body(&answer, ApiKey::ApiVersions, 0);
    assert_eq!((response.error_code, response.api_keys.len()), (35, 1));
    let answer = ask(&mut client, 4);
    let response: ApiVersionsResponse<'_> = body(&answer, ApiKey::ApiVersions, 4);
    assert!(response.api_keys.len() > 10);
    for api in response.api_keys.iter().filter(|api| api.api_key != ApiKey::ApiVersions.code()) {
        let key = api.api_key.to_be_bytes();
        for version in [api.max_version + 1, i16::MAX, -1, i16::MIN] {
            let mut hostile = connect(&broker);
            let start = [&key[..], &version.to_be_bytes(), &[0, 0, 0, 1, 0xff, 0xff], &[0; 40]].concat();
            hostile.send_frame(&start).expect("it is open");
            assert!(hostile.is_closed(), "version {version} of {}", api.api_key);
        }
    }
    // These are advertised for the sake of older clients, and refused all the same.
    for version in 0..3 {
        let mut hostile = connect(&broker);
        hostile.send_frame(&[&[0, 0, 0, version, 0, 0, 0, 1, 0xff, 0xff][..], &[0; 40]].concat()).expect("it is open");
        assert!(hostile.is_closed(), "version {version} of Produce");
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn absurd_counts_close_the_connection() {
    let (mut broker, mut client, _folder) = start(&[]);
    let classic = [[0x7f, 0xff, 0xff, 0xff], [0x00, 0xff, 0xff, 0xff], [0xff, 0xff, 0xff, 0xfe], [0x80, 0, 0, 0]];
    // API, version, and the bytes before its first array.
    let cases: [(ApiKey, i16, &[u8]); 9] = [
        (ApiKey::Produce, 3, &[0xff, 0xff, 0, 1, 0, 0, 0, 1]),
        (ApiKey::Fetch, 4, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (ApiKey::ListOffsets, 1, &[0xff, 0xff, 0xff, 0xff]),
        (ApiKey::Metadata, 1, &[]),
        (ApiKey::CreateTopics, 2, &[]),
        (ApiKey::DeleteTopics, 1, &[]),
        (ApiKey::DescribeConfigs, 1, &[]),
        (ApiKey::CreatePartitions, 0, &[]),
        (ApiKey::FindCoordinator, 0, &[]),
    ];
    for (key, version, before) in cases {
        for count in classic {
            let mut hostile = connect(&broker);
            let head = [&key.code().to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1, 0xff, 0xff]].concat();
            hostile.send_frame(&[&head[..], before, &count, &[0; 20]].concat()).expect("it is open");
            // Of FindCoordinator the four bytes are the length of a string, and the beginning of it. Negative is null, which
            // asks Metadata for all topics.
            let may_answer =
                key == ApiKey::FindCoordinator || (key == ApiKey::Metadata && i32::from_be_bytes(count) < 0);
            assert!(may_answer || hostile.is_closed(), "{key:?} with a count of {count:?}");
        }
    }
    for (key, version, before) in [
        (ApiKey::FindCoordinator, 4_i16, &[0][..]),
        (ApiKey::Metadata, 12, &[]),
        (ApiKey::DescribeTopicPartitions, 0, &[]),
    ] {
        let mut hostile = connect(&broker);
        let head = [&key.code().to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1, 0xff, 0xff, 0]].concat();
        let count = [0xff, 0xff, 0xff, 0xff, 0x0f];
        hostile.send_frame(&[&head[..], before, &count, &[0; 20]].concat()).expect("it is open");
        assert!(hostile.is_closed(), "{key:?}");
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn the_longest_of_names_and_keys_are_refused_in_words_that_fit() {
    let (mut broker, mut client, _folder) = start(&[]);
    let longest = "n".repeat(32_767);
    for (name, key, value) in [
        (longest.as_str(), "retention.ms", Some("1")),
        ("u", longest.as_str(), Some("1")),
        ("u", "retention.ms", Some(longest.as_str())),
        ("u", "retention.ms", None),
        (longest.as_str(), longest.as_str(), None),
        (longest.as_str(), longest.as_str(), Some(longest.as_str())),
    ] {
        let (code, message) = create_with(&mut client, name, key, value);
        assert_ne!(code, 0);
        assert!(message.is_some_and(|message| !message.is_empty()), "{code}");
    }
    let keys = [TOPIC, BROKER, 99]
        .map(|kind| (kind, describe(&mut client, &[(kind, longest.as_str()); 3]).expect("it is answered")));
    assert!(keys.iter().all(|(_, errors)| errors.len() == 3 && !errors.contains(&0)), "{keys:?}");
    everybody_else_is_served(&mut broker, &mut client, "t");
}

/// Describes resources, and tells their errors.
fn describe(client: &mut RawClient, resources: &[(i8, &str)]) -> Result<Vec<i16>, Closed> {
    let resource = |&(resource_type, name): &(i8, _)| Resource {
        resource_type,
        resource_name: Cow::Borrowed(name),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: resources.iter().map(resource).collect(),
        include_synonyms: true,
        include_documentation: true,
    };
    let answer = client.ask(ApiKey::DescribeConfigs, 3, &request)?;
    let response: DescribeConfigsResponse<'_> = body(&answer, ApiKey::DescribeConfigs, 3);
    Ok(response.results.iter().map(|result| result.error_code).collect())
}

#[test]
fn what_is_named_over_and_over_is_answered_once_or_to_a_limit() {
    let (mut broker, mut client, _folder) = start(&["auto.create.topics.enable=false"]);
    let mut hostile = connect(&broker);
    for resource in [(BROKER, "1"), (TOPIC, "t")] {
        assert_eq!(describe(&mut hostile, &[resource; 100]), Ok(vec![0; 100]), "Kafka describes each");
        assert_eq!(describe(&mut connect(&broker), &vec![resource; 20_000]), Err(Closed), "but for so many");
    }
    let one_key =
        Resource { resource_type: BROKER, resource_name: "1".into(), configuration_keys: Some(vec!["x".into()]) };
    let request = DescribeConfigsRequest { resources: vec![one_key; 200_000], ..Default::default() };
    let answer = connect(&broker).ask(ApiKey::DescribeConfigs, 4, &request).expect("what is told is little");
    let response: DescribeConfigsResponse<'_> = body(&answer, ApiKey::DescribeConfigs, 4);
    assert!(response.results.len() == 200_000 && response.results.iter().all(|result| result.configs.is_empty()));
    assert_eq!(metadata(&mut hostile, &vec!["t"; 50_000]), 1);

    let known = {
        let request = MetadataRequest { topics: Some(vec![named("t")]), ..Default::default() };
        let answer = hostile.ask(ApiKey::Metadata, 12, &request).expect("it is answered");
        body::<MetadataResponse<'_>>(&answer, ApiKey::Metadata, 12).topics[0].topic_id
    };
    let by_id = Topic { topic_id: known, name: None };
    let request = MetadataRequest { topics: Some(vec![by_id; 100_000]), ..Default::default() };
    let answer = hostile.ask(ApiKey::Metadata, 12, &request).expect("it is answered");
    assert_eq!(body::<MetadataResponse<'_>>(&answer, ApiKey::Metadata, 12).topics.len(), 1);

    let describe_producers = |times: usize| {
        let topic = DescribedTopic { name: Cow::Borrowed("t"), partition_indexes: vec![0; times] };
        let request = DescribeProducersRequest { topics: vec![topic.clone(), topic] };
        let answer = connect(&broker).ask(ApiKey::DescribeProducers, 0, &request)?;
        let described: DescribeProducersResponse<'_> = body(&answer, ApiKey::DescribeProducers, 0);
        Ok(described.topics.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>())
    };
    assert_eq!(describe_producers(10_000), Ok(vec![10_000; 2]), "Kafka describes each");
    assert_eq!(describe_producers(500_000), Err(Closed), "but for so many");

    // One more than there can be groups.
    let keys = vec![Cow::Borrowed("g"); 114_689];
    let request = FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() };
    assert!(hostile.ask(ApiKey::FindCoordinator, 4, &request).is_err(), "its answer would be 25 times as large");
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn requests_of_names_at_great_length_cost_little() {
    let (mut broker, mut client, _folder) = start(&["auto.create.topics.enable=false"]);
    let names: Vec<String> = (0..3000).map(|number| format!("{number}-{}", "n".repeat(32_000))).collect();
    let (some, all) = (about(&names[..500]), about(&names));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let mut hostile = [(); 4].map(|()| connect(&broker));
            let (some, all) = (&some, &all);
            scope.spawn(move || {
                let [of_some, of_all, of_no_text, of_records] = &mut hostile;
                of_some.ask(ApiKey::Metadata, 12, some).expect("16 MB are answered");
                let frame = of_all.frame_of(ApiKey::Metadata, 12, all);
                // It may be closed while it is being sent.
                let _ = of_all.send_frame(&frame);
                assert!(of_all.is_closed(), "96 MB are too much");
                // Three times as long when replaced.
                let frame: Vec<u8> = frame.iter().map(|&byte| if byte == b'n' { 0xff } else { byte }).collect();
                let _ = of_no_text.send_frame(&frame);
                assert!(of_no_text.is_closed(), "96 MB are too much");
                let frame = of_some.frame_of(ApiKey::Metadata, 12, some);
                let frame: Vec<u8> = frame.iter().map(|&byte| if byte == b'n' { 0xff } else { byte }).collect();
                of_some.send_frame(&frame).expect("it is open");
                assert!(of_some.is_closed(), "no name is so long");
                // A request with records is waited for to its end.
                let mut frame = of_records.frame_of(ApiKey::Metadata, 9, all);
                frame[..2].copy_from_slice(&ApiKey::Produce.code().to_be_bytes());
                of_records.send_frame(&frame).expect("it is taken to the end");
                assert!(of_records.is_closed(), "it is no Produce");
            });
        }
        everybody_else_is_served(&mut broker, &mut client, "t");
    });
    everybody_else_is_served(&mut broker, &mut client, "t");
}

fn named(name: &str) -> Topic<'_> {
    Topic { name: Some(Cow::Borrowed(name)), ..Default::default() }
}

fn about(names: &[impl AsRef<str>]) -> MetadataRequest<'_> {
    MetadataRequest { topics: Some(names.iter().map(|name| named(name.as_ref())).collect()), ..Default::default() }
}

/// Asks for topics, and tells how many were answered.
fn metadata(client: &mut RawClient, names: &[&str]) -> usize {
    let answer = client.ask(ApiKey::Metadata, 12, &about(names)).expect("it is answered");
    body::<MetadataResponse<'_>>(&answer, ApiKey::Metadata, 12).topics.len()
}

/// Many clients that send `frames`, as far as the broker takes them, and never read. They stay connected.
fn never_reading(
    broker: &Broker,
    clients: usize,
    frames: impl Fn(&mut RawClient) -> Vec<Vec<u8>> + Sync,
) -> Vec<RawClient> {
    std::thread::scope(|scope| {
        let start = |_| {
            scope.spawn(|| {
                let mut client = connect(broker);
                client.stream().set_write_timeout(Some(Duration::from_millis(200))).expect("it is no zero");
                for frame in frames(&mut client) {
                    if client.send_frame(&frame).is_err() {
                        break;
                    }
                }
                client
            })
        };
        let all: Vec<_> = (0..clients).map(start).collect();
        all.into_iter().map(|one| one.join().expect("it does not panic")).collect()
    })
}

#[test]
fn clients_that_never_read_their_answers_are_let_go() {
    let (mut broker, mut client, _folder) =
        start(&["auto.create.topics.enable=false", "socket.send.buffer.bytes=65536"]);
    let names: Vec<String> = (0..20_000).map(|number| format!("there-is-no-topic-of-this-name-{number}")).collect();
    let ask = |client: &mut RawClient| client.frame_of(ApiKey::Metadata, 12, &about(&names));
    // A long poll first: the answers behind it are ready and cannot leave.
    let poll = |client: &mut RawClient| {
        let request = poll();
        client.frame_of(ApiKey::Fetch, 12, &request)
    };
    let unread = never_reading(&broker, 60, |client| vec![ask(client), ask(client), ask(client)]);
    let behind_polls = never_reading(&broker, 40, |client| vec![poll(client), ask(client), poll(client), ask(client)]);
    everybody_else_is_served(&mut broker, &mut client, "t");
    // Whoever reads gets a large answer even now.
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(metadata(&mut client, &names), names.len());
    everybody_else_is_served(&mut broker, &mut client, "t");
    drop((unread, behind_polls));
}

#[test]
fn requests_read_ahead_of_clients_that_never_read_hold_nobody_up() {
    let (mut broker, mut client, _folder) =
        start(&["auto.create.topics.enable=false", "ottla.request.memory.bytes=8388608"]);
    let names: Vec<String> = (0..20_000).map(|number| format!("there-is-no-topic-of-this-name-{number}")).collect();
    // Small requests fill the buffer that a large one has made.
    let frames = |client: &mut RawClient, first: FetchRequest<'static>| {
        let large = client.frame_of(ApiKey::Metadata, 12, &about(&names));
        let small = client.frame_of(ApiKey::Metadata, 12, &about(&names[..100]));
        let poll = client.frame_of(ApiKey::Fetch, 12, &first);
        let mut frames = vec![large; 4];
        frames.push(poll);
        frames.extend(std::iter::repeat_n(small, 1000));
        frames
    };
    let unread = never_reading(&broker, 40, |client| frames(client, poll()));
    for _ in 0..5 {
        let placed = produce(&mut client, "t", -1, &batch(&vec![1; 900_000])).expect("it is answered");
        assert_eq!(placed.error_code, 0);
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
    drop(unread);
}

/// A long poll at the end of the topic `t`.
fn poll() -> FetchRequest<'static> {
    let partition = Partition { partition: 0, partition_max_bytes: 1 << 20, ..Partition::default() };
    let topic = FetchedTopic { topic: Cow::Borrowed("t"), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        max_wait_ms: 600_000,
        min_bytes: 1 << 20,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

#[test]
fn clients_that_never_read_what_they_fetch_cost_little() {
    let (mut broker, mut client, _folder) = start(&["socket.send.buffer.bytes=65536"]);
    for _ in 0..16 {
        assert_eq!(produce(&mut client, "t", -1, &batch(&vec![1; 900_000])).expect("it is answered").error_code, 0);
    }
    let mut request = poll();
    request.max_wait_ms = 0;
    request.topics[0].partitions[0].partition_max_bytes = 16 << 20;
    request.max_bytes = 16 << 20;
    let unread =
        never_reading(&broker, 100, |client| (0..100).map(|_| client.frame_of(ApiKey::Fetch, 12, &request)).collect());
    everybody_else_is_served(&mut broker, &mut client, "t");
    drop(unread);
}

#[test]
fn a_large_answer_ends_the_long_poll_before_it() {
    let (mut broker, mut client, _folder) = start(&["auto.create.topics.enable=false"]);
    let names: Vec<String> = (0..5000).map(|number| format!("there-is-no-topic-of-this-name-{number}")).collect();
    let mut impatient = connect(&broker);
    let frame = impatient.frame_of(ApiKey::Fetch, 12, &poll());
    impatient.send_frame(&frame).expect("it is open");
    let frame = impatient.frame_of(ApiKey::Metadata, 12, &about(&names));
    impatient.send_frame(&frame).expect("it is open");
    // In order, and long before the ten minutes are over.
    assert_eq!(impatient.receive().expect("it is answered")[..4], [0, 0, 0, 1]);
    assert_eq!(impatient.receive().expect("it is answered")[..4], [0, 0, 0, 2]);
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn commands_behind_a_long_poll_are_carried_out_and_keep_nobody_from_their_own() {
    let (mut broker, mut client, _folder) = start(&["auto.create.topics.enable=false"]);
    let mut hostile = connect(&broker);
    let poll = hostile.frame_of(ApiKey::Fetch, 12, &poll());
    hostile.send_frame(&poll).expect("it is open");
    let creation = |name: &'static str, broker_ids: Vec<i32>| {
        let (num_partitions, replication_factor) = (-1, -1);
        let assignments = vec![Assignment { partition_index: 0, broker_ids }];
        let name = Cow::Borrowed(name);
        let topic = NewTopic { name, num_partitions, replication_factor, assignments, configs: Vec::new() };
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false }
    };
    // Together they take all the room that there is for commands that wait; their answers are small.
    let filler = creation("filler", vec![1; 17_000]);
    for _ in 0..61 {
        let frame = hostile.frame_of(ApiKey::CreateTopics, 4, &filler);
        hostile.send_frame(&frame).expect("it is open");
    }
    let last = hostile.frame_of(ApiKey::CreateTopics, 4, &creation("behind", vec![1]));
    hostile.send_frame(&last).expect("it is open");
    let mut is_there = || {
        let answer = client.ask(ApiKey::Metadata, 12, &about(&["behind"])).expect("it is answered");
        body::<MetadataResponse<'_>>(&answer, ApiKey::Metadata, 12).topics[0].error_code == 0
    };
    assert!((0..20_000).any(|_| is_there()), "its command waits for its poll");
    create_topic(&mut client, "of-somebody-else");
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn a_request_that_is_refused_does_not_cost_the_answers_before_it() {
    let (mut broker, mut client, _folder) = start(&["auto.create.topics.enable=false"]);
    let mut wrong = connect(&broker);
    let frames = [
        wrong.frame_of(ApiKey::Fetch, 12, &poll()),
        wrong.frame_of(ApiKey::Metadata, 12, &about(&["t"])),
        [&i16::MAX.to_be_bytes()[..], &[0; 20]].concat(),
    ];
    frames.iter().for_each(|frame| wrong.send_frame(frame).expect("it is open"));
    assert_eq!(wrong.receive().expect("the poll ends early")[..4], [0, 0, 0, 1]);
    assert_eq!(wrong.receive().expect("it was ready")[..4], [0, 0, 0, 2]);
    assert!(wrong.is_closed());
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn sessions_of_partitions_that_do_not_exist_are_bounded() {
    let (mut broker, mut client, _folder) = start(&[]);
    let mut hostile = connect(&broker);
    let partition = |partition| Partition { partition, partition_max_bytes: 1, ..Partition::default() };
    let topic = FetchedTopic {
        topic: Cow::Borrowed("t"),
        partitions: (0..50_000).map(partition).collect(),
        ..Default::default()
    };
    let request = FetchRequest { session_epoch: 0, topics: vec![topic], ..Default::default() };
    for _ in 0..5 {
        hostile.ask(ApiKey::Fetch, 12, &request).expect("it is answered");
    }
    everybody_else_is_served(&mut broker, &mut client, "t");
}

#[test]
fn connections_beyond_those_of_an_address_are_closed() {
    let (mut broker, mut client, _folder) = start(&["max.connections.per.ip=4", "max.connections=100"]);
    let mut others: Vec<RawClient> = (1..4).map(|_| connect(&broker)).collect();
    for other in &mut others {
        assert_eq!(metadata(other, &["t"]), 1);
    }
    for _ in 0..20 {
        assert!(connect(&broker).is_closed());
    }
    drop(others.pop());
    // It takes a moment until the broker knows.
    let asked = std::iter::repeat_with(|| connect(&broker).ask(ApiKey::Metadata, 12, &about(&["t"])));
    assert!(asked.take(1000).any(|answer| answer.is_ok()));
    everybody_else_is_served(&mut broker, &mut client, "t");
}
