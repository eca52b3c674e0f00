//! Conversations with a broker, word for word: the same requests to any broker, its answers written down.
//!
//! What a real Kafka answered is kept in `transcripts/`, one file a conversation; `cargo xtask diff --record` writes them.
//! The tests hold the same conversations with Ottla and compare. What differs from one cluster to the next (ids, hosts,
//! times) is given the name under which it came up first; see `plain.rs`.

mod admin;
mod altering;
mod cluster;
mod committing;
mod compare;
mod consuming;
mod dynamic;
mod frames;
mod groups;
mod membership;
mod offsets;
mod plain;
mod producing;
mod quotas;
mod records;
mod repacking;
mod repeated;
mod telemetry;
mod topics;
mod unserved;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use ottla_base::Uuid;
use ottla_protocol::messages::create_topics_request::{Config, CreateTopicsRequest, Topic as NewTopic};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::metadata_request::{MetadataRequest, Topic as AskedTopic};
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::BatchBuilder;
use ottla_protocol::{ApiKey, Message, Records};

use crate::raw::{Closed, RawClient, body};

pub use compare::DIFFERENT;

/// So long after a request it is handled, or waits for something else.
const IN_TURN: Duration = Duration::from_millis(25);
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// A conversation.
#[derive(Clone, Copy)]
pub struct Conversation {
    /// Its transcript's name, without `.txt`.
    pub name: &'static str,
    /// Says what is to be said.
    pub hold: fn(&mut Session),
}

/// All conversations.
pub fn all() -> Vec<Conversation> {
    [
        frames::ALL,
        topics::ALL,
        admin::ALL,
        altering::ALL,
        producing::ALL,
        records::ALL,
        repacking::ALL,
        repeated::ALL,
        offsets::ALL,
        consuming::ALL,
        membership::ALL,
        groups::ALL,
        committing::ALL,
        dynamic::ALL,
        quotas::ALL,
        cluster::ALL,
        telemetry::ALL,
        unserved::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}

/// Settings that every broker has that a transcript is made of.
pub const SETTINGS: &[&str] = &[
    "num.partitions=2",
    "auto.create.topics.enable=true",
    "broker.rack=r1",
    // No retention meanwhile: the records of the conversations are of 1970.
    "log.initial.task.delay.ms=86400000",
    // Groups need not wait long for members to come, or to be gone.
    "group.initial.rebalance.delay.ms=500",
    "group.min.session.timeout.ms=100",
];

/// The folder of the transcripts.
pub fn transcripts() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts"))
}

impl Conversation {
    const fn new(name: &'static str, hold: fn(&mut Session)) -> Self {
        Self { name, hold }
    }

    /// The file with what Kafka answered.
    pub fn transcript(&self) -> PathBuf {
        transcripts().join(format!("{}.txt", self.name))
    }

    /// Holds it with the broker at `address`, and gives the transcript. A broker may take until `settled` to take over what
    /// it has already said it did.
    pub fn hold_with(&self, address: &str, settled: Duration) -> String {
        let mut session = Session::new(address, settled);
        (self.hold)(&mut session);
        plain::plain(&session.text)
    }
}

/// A conversation that goes on.
pub struct Session {
    address: String,
    client: RawClient,
    /// Connections of others who take part, by name.
    others: BTreeMap<&'static str, RawClient>,
    text: String,
    settled: Duration,
}

/// Asks, and writes the answer down.
macro_rules! exchange {
    ($session:expr, $what:expr, $api:ident $version:expr, $request:expr => $response:ty) => {
        if let Some(answer) = $session.ask(&$what, ottla_protocol::ApiKey::$api, $version, $request) {
            let response: $response = crate::raw::body(&answer, ottla_protocol::ApiKey::$api, $version);
            $session.note(&response);
        }
    };
}
pub(crate) use exchange;

impl Session {
    fn new(address: &str, settled: Duration) -> Self {
        let client = RawClient::connect(address).expect("the broker listens");
        Self { address: address.to_owned(), client, others: BTreeMap::new(), text: String::new(), settled }
    }

    /// Writes down what is asked, asks, and gives the answer. Where the broker closes instead, that is written down, and
    /// the conversation goes on over a new connection.
    pub fn ask<'m, M: Message<'m>>(&mut self, what: &str, key: ApiKey, version: i16, request: &M) -> Option<Vec<u8>> {
        self.heading(&format!("{key:?} v{version}, {what}"));
        match self.client.ask(key, version, request) {
            Ok(answer) => Some(answer),
            Err(Closed) => {
                self.closed();
                None
            }
        }
    }

    /// Has somebody else ask, over a connection of their own; the answer may take its time.
    pub fn begin<'m, M: Message<'m>>(&mut self, who: &'static str, what: &str, key: ApiKey, version: i16, request: &M) {
        self.heading(&format!("{who} asks {key:?} v{version}, {what}"));
        let client = self.other(who);
        let frame = client.frame_of(key, version, request);
        client.send_frame(&frame).expect("the connection is open");
        // What comes by one connection is not ordered with what comes by another.
        std::thread::sleep(self.settled + IN_TURN);
    }

    /// The answer to what they asked last.
    pub fn finish(&mut self, who: &'static str) -> Vec<u8> {
        self.heading(&format!("{who} is answered"));
        self.other(who).answer().expect("it is answered")
    }

    fn other(&mut self, who: &'static str) -> &mut RawClient {
        let connect = || RawClient::connect_as(who, &self.address).expect("the broker listens");
        self.others.entry(who).or_insert_with(connect)
    }

    /// Sends a frame as it is; the answer is written down byte for byte.
    pub fn say_raw(&mut self, what: &str, frame: &[u8]) {
        self.heading(what);
        self.client.send_frame(frame).expect("the connection is open");
        match self.client.receive() {
            Ok(answer) => self.line(&format!("{answer:02x?}")),
            Err(Closed) => self.closed(),
        }
    }

    /// Sends a frame as it is, whose answer matters only in being one.
    pub fn say_and_note_whether_answered(&mut self, what: &str, frame: &[u8]) {
        self.heading(what);
        self.client.send_frame(frame).expect("the connection is open");
        match self.client.receive() {
            Ok(_) => self.line("answered"),
            Err(Closed) => self.closed(),
        }
    }

    /// Sends a request that is not answered.
    pub fn tell<'m, M: Message<'m>>(&mut self, what: &str, key: ApiKey, version: i16, request: &M) {
        self.heading(&format!("{key:?} v{version}, {what}"));
        let frame = self.client.frame_of(key, version, request);
        self.client.send_frame(&frame).expect("the connection is open");
    }

    /// Whether the broker closed the connection after what was told it last.
    pub fn note_whether_open(&mut self) {
        let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        match self.client.ask(ApiKey::Metadata, 9, &request) {
            Ok(_) => self.line("still open"),
            Err(Closed) => self.closed(),
        }
    }

    /// Writes an answer down.
    pub fn note(&mut self, answer: &impl Debug) {
        self.line(&format!("{answer:?}"));
    }

    /// Writes a line down.
    pub fn line(&mut self, line: &str) {
        writeln!(self.text, "  {line}").expect("writing to a string does not fail");
    }

    fn heading(&mut self, what: &str) {
        writeln!(self.text, "{what}").expect("writing to a string does not fail");
    }

    fn closed(&mut self) {
        self.line("closed");
        self.client = RawClient::connect(&self.address).expect("the broker listens");
    }

    /// Waits until what was changed is in use.
    pub fn settle(&mut self) {
        std::thread::sleep(self.settled);
    }

    /// Makes a topic that the conversation needs, and waits until it is led.
    pub fn topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let config = |&(name, value)| Config { name: Cow::Borrowed(name), value: Some(Cow::Borrowed(value)) };
        let topic = NewTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
        let answer = self.client.ask(ApiKey::CreateTopics, 7, &request).expect("it is answered");
        let response: CreateTopicsResponse<'_> = body(&answer, ApiKey::CreateTopics, 7);
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        self.wait_until_led(name, partitions);
    }

    /// Deletes a topic, and waits until it is forgotten.
    pub fn delete(&mut self, name: &str) {
        let request = DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 10_000, ..Default::default() };
        self.client.ask(ApiKey::DeleteTopics, 5, &request).expect("it is answered");
        while self.error_of(name) != UNKNOWN_TOPIC_OR_PARTITION {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Those who coordinate groups hear of it after those who tell of topics.
        self.settle();
    }

    /// What the metadata says of a topic.
    fn error_of(&mut self, name: &str) -> i16 {
        let topic = AskedTopic { name: Some(Cow::Borrowed(name)), ..Default::default() };
        let topics = Some(vec![topic]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let answer = self.client.ask(ApiKey::Metadata, 9, &request).expect("it is answered");
        let response: MetadataResponse<'_> = body(&answer, ApiKey::Metadata, 9);
        response.topics[0].error_code
    }

    /// Waits until every partition answers as its leader.
    pub fn wait_until_led(&mut self, name: &str, partitions: i32) {
        for partition in 0..partitions {
            while offsets::latest(&mut self.client, name, partition).is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// The id of a topic.
    pub fn id_of(&mut self, name: &str) -> Uuid {
        let topic = AskedTopic { name: Some(Cow::Borrowed(name)), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let answer = self.client.ask(ApiKey::Metadata, 12, &request).expect("it is answered");
        let response: MetadataResponse<'_> = body(&answer, ApiKey::Metadata, 12);
        response.topics[0].topic_id
    }

    /// Appends records that the conversation needs: `(time, key, value)` each, one batch.
    pub fn append(&mut self, topic: &str, partition: i32, records: &[(i64, &str)]) {
        self.append_batch(topic, partition, &batch_of(records));
    }

    /// Appends a batch that the conversation needs.
    pub fn append_batch(&mut self, topic: &str, partition: i32, batch: &[u8]) {
        let answer =
            self.client.ask(ApiKey::Produce, 9, &produce_request(topic, partition, 1, batch)).expect("it is answered");
        let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, 9);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{response:?}");
    }
}

/// A batch of records with a time and a value each.
pub fn batch_of(records: &[(i64, &str)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for (timestamp, value) in records {
        builder.push(*timestamp, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build().expect("there is memory")
}

/// A request with one batch.
pub fn produce_request<'a>(topic: &'a str, partition: i32, acks: i16, batch: &'a [u8]) -> ProduceRequest<'a> {
    let data = PartitionData { index: partition, records: Records::Bytes(batch) };
    let topic = TopicData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { transactional_id: None, acks, timeout_ms: 10_000, topic_data: vec![topic] }
}
