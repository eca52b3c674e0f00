//! Topics of the rows: made, waited for, deleted.

use std::io;
use std::time::{Duration, Instant};

use ottla_protocol::messages::create_topics_request::{self, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::DeleteTopicsResponse;
use ottla_protocol::messages::list_offsets_request::{self, ListOffsetsRequest};
use ottla_protocol::messages::list_offsets_response::ListOffsetsResponse;
use ottla_protocol::messages::metadata_request::{self, MetadataRequest};
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::records::Compression;

use super::connection::Connection;
use super::frames;

const CREATE_VERSION: i16 = 5;
const DELETE_VERSION: i16 = 4;
const METADATA_VERSION: i16 = 9;
const LIST_OFFSETS_VERSION: i16 = 5;
/// The time that stands for the end of a log.
const LATEST: i64 = -1;
/// How long leaders may take to appear, or the broker to answer.
const WITHIN: Duration = Duration::from_secs(30);
/// How often they are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Makes a topic with these settings, and waits until each partition has a leader.
pub fn create(address: &str, name: &str, partitions: i32, configs: &[(&str, &str)]) -> io::Result<()> {
    let mut connection = Connection::open(address)?;
    // What a row has written is gone before the next one begins.
    let configs = [("file.delete.delay.ms", "100")].iter().chain(configs);
    let config = |&(name, value): &(&str, &str)| create_topics_request::Config {
        name: name.to_owned().into(),
        value: Some(value.to_owned().into()),
    };
    let topic = create_topics_request::Topic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.map(config).collect(),
        ..Default::default()
    };
    let create = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let created: CreateTopicsResponse<'_> =
        connection.ask(&frames::request(&create, CREATE_VERSION), CREATE_VERSION)?;
    if let Some(topic) = created.topics.iter().find(|topic| topic.error_code != 0) {
        return Err(io::Error::other(format!("creating {name}: {}", frames::error_name(topic.error_code))));
    }
    wait_for_leaders(&mut connection, name, partitions)
}

/// Metadata says who leads; the leader itself may learn it a little later, so it is asked too.
fn wait_for_leaders(connection: &mut Connection, name: &str, partitions: i32) -> io::Result<()> {
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        if is_led(connection, name, partitions)? {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(io::Error::other(format!("{name} has no leaders")))
}

/// Whether a broker answers for all partitions of a topic. Fails where it does not answer at all.
pub fn answers(address: &str, name: &str, partitions: i32) -> io::Result<bool> {
    is_led(&mut Connection::open(address)?, name, partitions)
}

fn is_led(connection: &mut Connection, name: &str, partitions: i32) -> io::Result<bool> {
    let topic = metadata_request::Topic { name: Some(name.into()), ..Default::default() };
    let who_leads =
        MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: true, ..Default::default() };
    let answer: MetadataResponse<'_> =
        connection.ask(&frames::request(&who_leads, METADATA_VERSION), METADATA_VERSION)?;
    let led = answer.topics.iter().flat_map(|topic| &topic.partitions).filter(|one| one.leader_id >= 0).count();
    if led != partitions as usize {
        return Ok(false);
    }
    let partition = |partition_index| list_offsets_request::Partition {
        partition_index,
        current_leader_epoch: -1,
        timestamp: LATEST,
        ..Default::default()
    };
    let partitions = (0..partitions).map(partition).collect();
    let topic = list_offsets_request::Topic { name: name.into(), partitions };
    let ends = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let ends = frames::request(&ends, LIST_OFFSETS_VERSION);
    let answer: ListOffsetsResponse<'_> = connection.ask(&ends, LIST_OFFSETS_VERSION)?;
    Ok(answer.topics.iter().flat_map(|topic| &topic.partitions).all(|one| one.error_code == 0))
}

/// The first record that a broker takes after its start: the topic comes into being when it is asked for, as for any
/// client. Fails at once if the broker does not answer yet.
pub fn first_record(address: &str, name: &str) -> io::Result<()> {
    let mut connection = Connection::open(address)?;
    wait_for_leaders(&mut connection, name, 1)?;
    let batch = frames::batch(100, 0, Compression::None)?;
    connection.send(&frames::produce(name, 0, 1, &batch))?;
    frames::check_produced(connection.receive()?)
}

/// Deletes a topic.
pub fn delete(address: &str, name: &str) -> io::Result<()> {
    let delete = DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 30_000, ..Default::default() };
    let mut connection = Connection::open(address)?;
    let deleted: DeleteTopicsResponse<'_> =
        connection.ask(&frames::request(&delete, DELETE_VERSION), DELETE_VERSION)?;
    match deleted.responses.iter().find(|topic| topic.error_code != 0) {
        Some(topic) => Err(io::Error::other(format!("deleting {name}: {}", frames::error_name(topic.error_code)))),
        None => Ok(()),
    }
}
