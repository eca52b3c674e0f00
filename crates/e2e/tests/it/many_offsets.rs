//! A group that has committed to very many partitions, with a note to each: an answer that is longer than any other.

use ottla_e2e::{Broker, RawClient, body};
use ottla_protocol::internal::offsets::{OffsetCommitKey, OffsetCommitValue};
use ottla_protocol::messages::offset_fetch_request::{Group, OffsetFetchRequest, Topic};
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponse;
use ottla_protocol::records::BatchBuilder;
use ottla_protocol::{ApiKey, Message, Writer};

use super::groups::coordinator;
use super::{connect, create_topic, options, produce};

const PARTITIONS: i32 = 200_000;
const LOADING: i16 = 14;
/// The answer, and what it may take of the broker's memory.
const ANSWER_BYTES: usize = 24_000_000;
const MOST_BYTES: u64 = 12 << 20;
/// It is not older than offsets are kept.
const COMMITTED_AT_MS: i64 = 4_000_000_000_000;

fn bytes<'m, M: Message<'m>>(number: i16, message: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.int16(number);
    message.encode(&mut writer, version);
    writer.into_bytes()
}

/// Puts the offsets into the log, as a broker with so many partitions would.
fn write_offsets(client: &mut RawClient, metadata: &str) {
    for first in (0..PARTITIONS).step_by(5000) {
        let mut batch = BatchBuilder::new();
        for partition in first..first + 5000 {
            let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition };
            let value = OffsetCommitValue {
                offset: partition.into(),
                metadata: metadata.into(),
                commit_timestamp: COMMITTED_AT_MS,
                ..Default::default()
            };
            batch.push(1, Some(&bytes(OffsetCommitKey::KEY, &key, 0)), Some(&bytes(3, &value, 3)), &[]);
        }
        let produced = produce(client, "__consumer_offsets", 1, &batch.build().expect("memory"));
        assert_eq!(produced.expect("it is answered").error_code, 0);
    }
}

fn all_of(groups: &[&'static str]) -> OffsetFetchRequest<'static> {
    let group =
        |id: &&'static str| Group { group_id: (*id).into(), member_epoch: -1, topics: None, ..Default::default() };
    OffsetFetchRequest { groups: groups.iter().map(group).collect(), ..Default::default() }
}

fn start(folder: &std::path::Path, metadata: &str) -> Broker {
    let broker = options(folder).with("offsets.topic.num.partitions=1").start();
    let mut client = RawClient::connect_as("__admin_client", &broker.address).expect("the broker listens");
    create_topic(&mut client, "t");
    coordinator(&mut client, "g");
    write_offsets(&mut client, metadata);
    let broker = broker.kill().start();
    let mut client = connect(&broker);
    let is_loading = |client: &mut RawClient| {
        let answer = client.ask(ApiKey::OffsetFetch, 8, &all_of(&["none"])).expect("it is answered");
        body::<OffsetFetchResponse<'_>>(&answer, ApiKey::OffsetFetch, 8).groups[0].error_code == LOADING
    };
    while is_loading(&mut client) {}
    broker
}

#[test]
fn all_of_them_are_told_in_pieces_while_others_do_not_take_theirs() {
    let folder = tempfile::tempdir().expect("a folder");
    let metadata = "x".repeat(100);
    let broker = start(folder.path(), &metadata);
    let before_bytes = broker.peak_resident_bytes();
    let mut client = connect(&broker);
    let answer = client.ask(ApiKey::OffsetFetch, 8, &all_of(&["none", "g"])).expect("it is answered");
    assert!(answer.len() > ANSWER_BYTES, "{} bytes", answer.len());
    let response: OffsetFetchResponse<'_> = body(&answer, ApiKey::OffsetFetch, 8);
    let [none, group] = &response.groups[..] else { panic!("two were asked for") };
    assert_eq!((none.error_code, none.topics.len(), group.error_code, group.topics.len()), (0, 0, 0, 1));
    let is_told = |(place, partition): (i64, &ottla_protocol::messages::offset_fetch_response::GroupPartition<'_>)| {
        i64::from(partition.partition_index) == place
            && partition.committed_offset == place
            && partition.metadata.as_deref() == Some(&*metadata)
    };
    assert_eq!(group.topics[0].partitions.len(), PARTITIONS as usize);
    assert!((0..).zip(&group.topics[0].partitions).all(is_told));

    let mut lazy: Vec<RawClient> = (0..8).map(|_| connect(&broker)).collect();
    for client in &mut lazy {
        let frame = client.frame_of(ApiKey::OffsetFetch, 8, &all_of(&["g"]));
        client.send_frame(&frame).expect("it is open");
    }
    // As its consumer asks, by number, and in an old version.
    let topic = Topic { name: "t".into(), partition_indexes: (0..PARTITIONS).rev().collect() };
    let fetch = OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
    let answer = client.ask(ApiKey::OffsetFetch, 5, &fetch);
    let answer = answer.unwrap_or_else(|error| panic!("it is answered: {error:?}: {}", broker.log()));
    let response: OffsetFetchResponse<'_> = body(&answer, ApiKey::OffsetFetch, 5);
    let told = response.topics[0].partitions.iter().map(|partition| partition.committed_offset);
    assert!(told.eq((0..i64::from(PARTITIONS)).rev()));
    // The kernel writes a peak down late: it may tell of less than before.
    let took_bytes = broker.peak_resident_bytes().saturating_sub(before_bytes);
    assert!(took_bytes < MOST_BYTES, "{took_bytes} bytes");
}
