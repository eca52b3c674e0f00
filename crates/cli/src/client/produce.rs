//! Writes records to one topic: gathers them in batches, sends those to the leaders, and tries again what may be tried again.
//!
//! One request a broker at a time, so that order needs no thought; idempotent (KIP-98) unless told otherwise, so that trying
//! again writes nothing twice.
//!
//! ```text
//! send -> batch of its partition -> (one is full, or flush) -> Produce to each leader -> done
//!                                          ^                        | may pass      | final
//!                                          +--- back-off, metadata -+               +-> Unwritten
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ottla_base::{ProducerEpoch, ProducerId};
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::{BatchBuilder, Compression};
use ottla_protocol::{ApiKey, ErrorCode, Records, Str};

use super::Error;
use super::cluster::{Cluster, TopicDescription, Topics};
use super::partitioner::Partitioner;

/// The last Produce version that names topics; later ones have their ids.
const LAST_PRODUCE_BY_NAME: i16 = 12;
/// What a record takes beside its key, value and headers, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// Whose word a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nobody's.
    None,
    /// The leader's.
    Leader,
    /// That of all in-sync replicas.
    All,
}

/// How a producer writes.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Whose word to wait for.
    pub acks: Acks,
    /// A batch this large is sent.
    pub batch_bytes: usize,
    /// How records are packed.
    pub compression: Compression,
    /// How hard, where the codec has levels.
    pub compression_level: Option<i32>,
    /// No record may be larger.
    pub max_request_bytes: usize,
    /// How often a batch that was refused is sent again.
    pub retries: u32,
    /// How long to wait before that.
    pub retry_backoff: Duration,
    /// How long a broker may wait for its replicas.
    pub request_timeout: Duration,
    /// How long to wait for the topic to be known.
    pub max_block: Duration,
    /// How long to try to deliver a batch.
    pub delivery_timeout: Duration,
    /// Whether brokers are to drop what was sent twice.
    pub idempotent: bool,
    /// Who is told, of the client of this name, why something is tried again.
    pub on_retry: fn(&str, &Error),
}

/// A record to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<OutgoingHeader>,
}

/// A header: key and value.
pub type OutgoingHeader = (Vec<u8>, Option<Vec<u8>>);

/// Records that were not written, and why.
#[derive(Debug)]
pub struct Unwritten {
    /// The records, in the order they were sent in.
    pub records: Vec<OutgoingRecord>,
    /// The reason.
    pub error: Error,
}

/// Writes to one topic.
#[derive(Debug)]
pub struct Producer {
    cluster: Cluster,
    topic_name: String,
    topic: Option<TopicDescription>,
    options: ProducerOptions,
    partitioner: Partitioner,
    batches: BTreeMap<i32, Batch>,
    oldest: Option<Instant>,
    identity: Option<(ProducerId, ProducerEpoch)>,
    next_sequences: BTreeMap<i32, i32>,
}

/// Records on their way to a partition.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<(i64, OutgoingRecord)>,
    size_bytes: usize,
    attempts: u32,
}

/// What became of a batch that was sent.
enum Outcome {
    Written,
    /// Too large for the broker, but made of smaller ones.
    Split,
    /// Not sent yet, because it comes after another of its partition.
    Later,
    /// `counts` where it is one of the tries that are numbered.
    Again {
        error: Error,
        counts: bool,
    },
    Failed(Error),
}

impl Producer {
    /// A producer for `topic`. Nothing is asked before there is a record.
    pub fn new(cluster: Cluster, topic: &str, options: ProducerOptions) -> Self {
        let random = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.subsec_nanos());
        Self {
            cluster,
            topic_name: topic.to_owned(),
            topic: None,
            options,
            partitioner: Partitioner::new(random),
            batches: BTreeMap::new(),
            oldest: None,
            identity: None,
            next_sequences: BTreeMap::new(),
        }
    }

    /// Takes a record, and writes what has been gathered when a batch is full. Gives what could not be written, which need not
    /// be this record.
    pub fn send(&mut self, record: OutgoingRecord) -> Vec<Unwritten> {
        let size_bytes = record.size_bytes();
        let limit = self.options.max_request_bytes;
        if size_bytes > limit {
            let message = format!("a record of {size_bytes} bytes is larger than max.request.size, which is {limit}");
            let error = Error::Refused { code: ErrorCode::MessageTooLarge, message };
            return vec![Unwritten { records: vec![record], error }];
        }
        let count = match self.know_topic() {
            Ok(topic) => topic.partitions.len() as u32,
            Err(error) => return vec![Unwritten { records: vec![record], error }],
        };
        let batch_bytes = self.options.batch_bytes;
        let partition = self.partitioner.partition(record.key.as_deref(), size_bytes, batch_bytes, count) as i32;
        let full = self.batches.get(&partition).is_some_and(|batch| batch.size_bytes + size_bytes > batch_bytes);
        let unwritten = if full { self.flush() } else { Vec::new() };
        let batch = self.batches.entry(partition).or_default();
        batch.size_bytes += size_bytes;
        batch.records.push((now_ms(), record));
        self.oldest.get_or_insert_with(Instant::now);
        unwritten
    }

    /// When the oldest record that waits for company came.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.oldest
    }

    /// Writes all that has been gathered. Gives what could not be written.
    pub fn flush(&mut self) -> Vec<Unwritten> {
        self.oldest = None;
        let mut waiting: Vec<_> = std::mem::take(&mut self.batches).into_iter().collect();
        let mut unwritten = Vec::new();
        let mut given_up = BTreeSet::new();
        let deadline = Instant::now() + self.options.delivery_timeout;
        while !waiting.is_empty() {
            let mut again = Vec::new();
            let mut back_off = false;
            for (partition, mut batch, outcome) in self.write_once(waiting) {
                match outcome {
                    Outcome::Written => self.advance(partition, batch.records.len()),
                    Outcome::Split => again.extend(batch.split().map(|half| (partition, half))),
                    Outcome::Again { error, counts } => {
                        batch.attempts += u32::from(counts);
                        if batch.attempts > self.options.retries || Instant::now() >= deadline {
                            given_up.insert(partition);
                            unwritten.push(batch.give_up(error));
                        } else {
                            (self.options.on_retry)(self.cluster.client_id(), &error);
                            back_off = true;
                            again.push((partition, batch));
                        }
                    }
                    Outcome::Failed(error) => {
                        given_up.insert(partition);
                        unwritten.push(batch.give_up(error));
                    }
                    Outcome::Later if given_up.contains(&partition) => {
                        unwritten.push(batch.give_up(self.refused(
                            ErrorCode::OutOfOrderSequenceNumber,
                            partition,
                            None,
                        )));
                    }
                    Outcome::Later => again.push((partition, batch)),
                }
            }
            if back_off {
                thread::sleep(self.options.retry_backoff);
                // Without an answer the old leaders are tried once more, and the deadline ends that.
                if let Ok(Some(topic)) = self.ask_for_topic() {
                    self.topic = Some(topic);
                }
            }
            waiting = again;
        }
        if !given_up.is_empty() {
            // Whether the broker has the lost batch is unknown, hence the next sequence number is. A new id begins at 0.
            self.identity = None;
            self.next_sequences.clear();
        }
        unwritten
    }

    /// Sends the first batch of each partition, and tells what became of every batch; those behind the first wait.
    fn write_once(&mut self, waiting: Vec<(i32, Batch)>) -> Vec<(i32, Batch, Outcome)> {
        let mut done = Vec::new();
        if let Err(error) = self.know_identity() {
            let counts = !matches!(error, Error::Unreachable(_) | Error::Unresolvable(_));
            let (code, message) = (error.code(), error.to_string());
            return waiting
                .into_iter()
                .map(|(partition, batch)| {
                    let code = code.unwrap_or(ErrorCode::NetworkException);
                    let error = Error::Refused { code, message: message.clone() };
                    let outcome =
                        if error.is_retriable() { Outcome::Again { error, counts } } else { Outcome::Failed(error) };
                    (partition, batch, outcome)
                })
                .collect();
        }
        let mut by_leader: BTreeMap<i32, Vec<(i32, Batch)>> = BTreeMap::new();
        let mut taken = Vec::new();
        let mut behind = Vec::new();
        for (partition, batch) in waiting {
            if taken.contains(&partition) {
                behind.push((partition, batch));
                continue;
            }
            taken.push(partition);
            match self.leader_of(partition) {
                Some(leader) => by_leader.entry(leader).or_default().push((partition, batch)),
                None => {
                    let message = format!("{}-{partition} has no leader", self.topic_name);
                    let error = Error::Refused { code: ErrorCode::LeaderNotAvailable, message };
                    done.push((partition, batch, Outcome::Again { error, counts: false }));
                }
            }
        }
        for (leader, batches) in by_leader {
            done.extend(self.write_to(leader, batches));
        }
        done.extend(behind.into_iter().map(|(partition, batch)| (partition, batch, Outcome::Later)));
        done
    }

    fn write_to(&mut self, leader: i32, batches: Vec<(i32, Batch)>) -> Vec<(i32, Batch, Outcome)> {
        let answer = self.produce(leader, &batches);
        if answer.as_ref().is_err_and(|error| error.code().is_none()) {
            self.cluster.drop_broker(leader);
        }
        batches
            .into_iter()
            .map(|(partition, batch)| {
                let outcome = match &answer {
                    Ok(written) => written.get(&partition).map_or_else(
                        || Outcome::Failed(self.refused(ErrorCode::UnknownServerError, partition, None)),
                        |(code, message)| self.outcome(partition, &batch, *code, message.as_deref()),
                    ),
                    Err(error) if error.is_retriable() => Outcome::Again {
                        error: Error::Refused { code: ErrorCode::NetworkException, message: error.to_string() },
                        counts: !matches!(error, Error::Unreachable(_) | Error::Unresolvable(_)),
                    },
                    Err(error) => {
                        let code = error.code().unwrap_or(ErrorCode::UnknownServerError);
                        Outcome::Failed(Error::Refused { code, message: error.to_string() })
                    }
                };
                (partition, batch, outcome)
            })
            .collect()
    }

    /// One Produce to one broker. Gives each partition's error and the broker's words for it.
    fn produce(
        &mut self,
        leader: i32,
        batches: &[(i32, Batch)],
    ) -> Result<BTreeMap<i32, (i16, Option<String>)>, Error> {
        let built: Vec<_> =
            batches.iter().map(|(partition, batch)| (*partition, self.build(*partition, batch))).collect();
        let topic = self.topic.as_ref().expect("there are batches only for a topic that is known");
        let partition_data = built
            .iter()
            .map(|(index, bytes)| PartitionData { index: *index, records: Records::Bytes(bytes) })
            .collect();
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.options.acks.on_the_wire(),
            timeout_ms: i32::try_from(self.options.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: vec![TopicData { name: Str::Borrowed(&self.topic_name), topic_id: topic.id, partition_data }],
        };
        let newest = if topic.id.is_zero() { LAST_PRODUCE_BY_NAME } else { i16::MAX };
        let connection = self.cluster.broker(leader)?;
        if self.options.acks == Acks::None {
            connection.send_unanswered(ApiKey::Produce, newest, &request)?;
            return Ok(batches.iter().map(|(partition, _)| (*partition, (0, None))).collect());
        }
        connection.send(ApiKey::Produce, newest, &request)?;
        let answer = connection.receive()?;
        let response: ProduceResponse<'_> = answer.read()?;
        let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        Ok(partitions
            .map(|partition| {
                let first = partition.record_errors.first().and_then(|record| record.batch_index_error_message.clone());
                let message = partition.error_message.clone().or(first).map(Str::into_owned);
                (partition.index, (partition.error_code, message))
            })
            .collect())
    }

    fn outcome(&self, partition: i32, batch: &Batch, code: i16, message: Option<&str>) -> Outcome {
        match ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError) {
            // The broker has it already and has forgotten where.
            ErrorCode::None | ErrorCode::DuplicateSequenceNumber => Outcome::Written,
            ErrorCode::MessageTooLarge if batch.records.len() > 1 => Outcome::Split,
            code if code.is_retriable() => {
                Outcome::Again { error: self.refused(code, partition, message), counts: true }
            }
            code => Outcome::Failed(self.refused(code, partition, message)),
        }
    }

    fn refused(&self, code: ErrorCode, partition: i32, message: Option<&str>) -> Error {
        Error::refused(code.code(), message, || format!("{}-{partition} answered {}", self.topic_name, code.name()))
    }

    fn build(&self, partition: i32, batch: &Batch) -> Vec<u8> {
        let mut builder = BatchBuilder::new().compression(self.options.compression, self.options.compression_level);
        if let Some((id, epoch)) = self.identity {
            let sequence = self.next_sequences.get(&partition).copied().unwrap_or(0);
            builder = builder.producer(id, epoch, sequence);
        }
        for (timestamp, record) in &batch.records {
            let headers: Vec<_> = record.headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
            builder.push(*timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
        }
        builder.build().expect("compression levels are checked where options are read")
    }

    /// After 2147483647 comes 0.
    fn advance(&mut self, partition: i32, count: usize) {
        let next = self.next_sequences.entry(partition).or_default();
        *next = ((i64::from(*next) + count as i64) % (i64::from(i32::MAX) + 1)) as i32;
    }

    fn leader_of(&self, partition: i32) -> Option<i32> {
        let topic = self.topic.as_ref()?;
        topic.partitions.iter().find(|known| known.index == partition)?.leader
    }

    fn know_identity(&mut self) -> Result<(), Error> {
        if self.identity.is_some() || !self.options.idempotent {
            return Ok(());
        }
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let answer = match self.cluster.ask(ApiKey::InitProducerId, &request) {
            // A broker without idempotent producers: then it goes without.
            Err(Error::NotServed { .. }) => {
                self.options.idempotent = false;
                return Ok(());
            }
            answer => answer?,
        };
        let response: InitProducerIdResponse = answer.read()?;
        if response.error_code != 0 {
            let name = ErrorCode::from_code(response.error_code).unwrap_or_default().name();
            return Err(Error::refused(response.error_code, None, || {
                format!("the cluster gave no producer id: {name}")
            }));
        }
        self.identity = Some((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)));
        Ok(())
    }

    /// Waits until the topic is there and has partitions.
    fn know_topic(&mut self) -> Result<&TopicDescription, Error> {
        let mut has_told = false;
        let deadline = Instant::now() + self.options.max_block;
        while self.topic.is_none() {
            let refused = match self.ask_for_topic() {
                Ok(topic @ Some(_)) => {
                    self.topic = topic;
                    break;
                }
                Ok(None) => Error::Refused {
                    code: ErrorCode::UnknownTopicOrPartition,
                    message: format!("Topic {} not present in metadata", self.topic_name),
                },
                Err(error) => error,
            };
            if !refused.is_retriable() {
                return Err(refused);
            }
            if matches!(refused, Error::Unreachable(_)) && !has_told {
                (self.options.on_retry)(self.cluster.client_id(), &refused);
                has_told = true;
            }
            if Instant::now() >= deadline {
                let max_block_ms = self.options.max_block.as_millis();
                let message = format!("Topic {} not present in metadata after {max_block_ms} ms.", self.topic_name);
                return Err(Error::Refused { code: ErrorCode::RequestTimedOut, message });
            }
            thread::sleep(self.options.retry_backoff);
        }
        Ok(self.topic.as_ref().expect("the loop ends when it is there"))
    }

    fn ask_for_topic(&mut self) -> Result<Option<TopicDescription>, Error> {
        let name = self.topic_name.clone();
        let topics = self.cluster.topics(Topics::Named { names: &[&name], create: true })?;
        let Some(topic) = topics.into_iter().next() else { return Ok(None) };
        match topic.error {
            ErrorCode::None | ErrorCode::LeaderNotAvailable if !topic.partitions.is_empty() => Ok(Some(topic)),
            ErrorCode::None => Ok(None),
            ErrorCode::InvalidTopicException => {
                Err(Error::Refused { code: topic.error, message: format!("Invalid topics: [{name}]") })
            }
            code => {
                Err(Error::Refused { code, message: format!("Topic {name} not present in metadata: {}", code.name()) })
            }
        }
    }
}

impl Batch {
    /// The batch in two, of which the first takes the odd record.
    fn split(mut self) -> impl Iterator<Item = Self> {
        let second = self.records.split_off(self.records.len().div_ceil(2));
        let first = std::mem::take(&mut self.records);
        [first, second].into_iter().map(|records| Self { records, ..Self::default() })
    }

    fn give_up(self, error: Error) -> Unwritten {
        Unwritten { records: self.records.into_iter().map(|(_, record)| record).collect(), error }
    }
}

impl OutgoingRecord {
    /// What it takes in a batch, at most.
    fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().map(|(key, value)| key.len() + length(value) + 2 * 5);
        RECORD_OVERHEAD_BYTES + length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }
}

impl Acks {
    fn on_the_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use expect_test::expect;

    use super::*;
    use crate::client::Options;

    #[test]
    fn a_record_waits_for_the_brokers_no_longer_than_it_may() {
        static WARNED: AtomicU32 = AtomicU32::new(0);
        // Nobody listens there.
        let cluster = Cluster::begin("127.0.0.1:1", &Options::default()).expect("nobody is asked yet");
        let options = ProducerOptions {
            acks: Acks::All,
            batch_bytes: 100,
            compression: Compression::None,
            compression_level: None,
            max_request_bytes: 100,
            retries: 1,
            retry_backoff: Duration::from_millis(1),
            request_timeout: Duration::from_millis(1),
            max_block: Duration::from_millis(5),
            delivery_timeout: Duration::from_millis(1),
            idempotent: true,
            on_retry: |client_id, error| {
                WARNED.fetch_add(1, Ordering::Relaxed);
                expect![[r"
                    WARN [ottla] Connection to node -1 (/127.0.0.1:1) could not be established. Node may not be available.
                    WARN [ottla] Bootstrap broker 127.0.0.1:1 (id: -1 rack: null isFenced: false) disconnected"]]
                .assert_eq(&error.warning(client_id));
            },
        };
        let mut producer = Producer::new(cluster, "t", options);
        for _ in 0..2 {
            let unwritten = producer.send(OutgoingRecord { value: Some(b"one".to_vec()), ..OutgoingRecord::default() });
            expect!["org.apache.kafka.common.errors.TimeoutException: Topic t not present in metadata after 5 ms."]
                .assert_eq(&unwritten[0].error.exception());
        }
        assert!(WARNED.load(Ordering::Relaxed) >= 2, "of each record it is told why it waits");
    }
}
