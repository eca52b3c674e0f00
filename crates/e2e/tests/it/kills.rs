//! A broker that is killed between and under its producers: what was acknowledged is there, once, in order.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_base::{ProducerEpoch, ProducerId, Random};
use ottla_e2e::{Broker, Closed, RawClient, body};
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::{BatchBuilder, Batches, RecordIter};
use ottla_protocol::{ApiKey, Records};

use super::{PRODUCE, connect, create_topic, fetch, options, produce};

/// Batches between two kills, and kills.
const BATCHES: i32 = 300;
const KILLS: usize = 5;
/// Producers that write at the same time, and requests that each has on their way, as many as an idempotent producer may.
const PRODUCERS: usize = 4;
const IN_FLIGHT: usize = 5;
/// A broker lives for so many milliseconds, more or less, until the next kill.
const LIVES_MS: u64 = 150;

fn producer_id(client: &mut RawClient) -> ProducerId {
    let request =
        InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() };
    let answer = client.ask(ApiKey::InitProducerId, 4, &request).expect("it is answered");
    let response: InitProducerIdResponse = body(&answer, ApiKey::InitProducerId, 4);
    assert_eq!(response.error_code, 0);
    ProducerId(response.producer_id)
}

fn numbered(id: ProducerId, sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new().producer(id, ProducerEpoch(0), sequence);
    builder.push(1, None, Some(&sequence.to_be_bytes()), &[]);
    builder.build().expect("memory")
}

/// Sends a batch until it is acknowledged, over as many lives of the broker as that takes.
fn until_acknowledged(broker: &Broker, client: &mut RawClient, batch: &[u8]) -> i64 {
    loop {
        match produce(client, "t", -1, batch) {
            Ok(placed) if placed.error_code == 0 => return placed.base_offset,
            Ok(placed) => panic!("error {}", placed.error_code),
            Err(Closed) => *client = connect(broker),
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_idempotent_comes_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).with("log.segment.bytes=1048576").start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let id = producer_id(&mut client);
    let mut sequence = 0;
    for _ in 0..KILLS {
        for _ in 0..BATCHES {
            let offset = until_acknowledged(&broker, &mut client, &numbered(id, sequence));
            assert_eq!(offset, i64::from(sequence));
            sequence += 1;
        }
        broker = broker.kill().start();
        client = connect(&broker);
        let again = until_acknowledged(&broker, &mut client, &numbered(id, sequence - 1));
        assert_eq!(again, i64::from(sequence - 1), "the repeated batch is known after the kill");
    }
    let values: Vec<i32> = all_values(&mut client).into_iter().map(|(_, value)| value).collect();
    assert!(values.iter().copied().eq(0..sequence), "every number once, in order");
}

/// A producer that never stops: what it was acknowledged, it has counted.
struct Producer {
    id: ProducerId,
    acknowledged: i32,
    on_the_way: VecDeque<i32>,
}

impl Producer {
    /// Sends and counts until the broker is gone, or all is told to end; then what is on the way is still waited for.
    fn work(&mut self, client: &mut RawClient, is_over: &AtomicBool) -> Result<(), Closed> {
        // After a kill everything is sent again that was not acknowledged, in order.
        self.on_the_way.clear();
        let mut next = self.acknowledged;
        loop {
            while self.on_the_way.len() < IN_FLIGHT && !is_over.load(Ordering::Relaxed) {
                let batch = numbered(self.id, next);
                let data = PartitionData { index: 0, records: Records::Bytes(&batch) };
                let topic = TopicData { name: Cow::Borrowed("t"), partition_data: vec![data], ..Default::default() };
                let request =
                    ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data: vec![topic] };
                let frame = client.frame_of(ApiKey::Produce, PRODUCE, &request);
                client.send_frame(&frame).map_err(|_| Closed)?;
                self.on_the_way.push_back(next);
                next += 1;
            }
            let Some(sequence) = self.on_the_way.pop_front() else { return Ok(()) };
            let answer = client.receive()?;
            let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
            let error = response.responses[0].partition_responses[0].error_code;
            assert_eq!(error, 0, "sequence {sequence} of producer {}", self.id);
            self.acknowledged = sequence + 1;
        }
    }
}

#[test]
fn kills_under_producers_with_requests_on_their_way_lose_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = options(folder.path()).with("log.segment.bytes=1048576").start();
    let mut client = connect(&broker);
    create_topic(&mut client, "t");
    let address = Arc::new(Mutex::new(broker.address.clone()));
    let is_over = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|_| {
            let (address, is_over, id) = (address.clone(), is_over.clone(), producer_id(&mut client));
            std::thread::spawn(move || {
                let mut producer = Producer { id, acknowledged: 0, on_the_way: VecDeque::new() };
                loop {
                    let to = address.lock().expect("no panic").clone();
                    // It may be gone, and not be back yet.
                    let Ok(mut client) = RawClient::connect(&to) else { continue };
                    if producer.work(&mut client, &is_over).is_ok() {
                        return producer;
                    }
                }
            })
        })
        .collect();
    let seed = 20_261_121;
    let mut random = Random::new(seed);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(LIVES_MS / 2 + random.below(LIVES_MS)));
        broker = broker.kill().start();
        address.lock().expect("no panic").clone_from(&broker.address);
    }
    std::thread::sleep(Duration::from_millis(LIVES_MS));
    is_over.store(true, Ordering::Relaxed);
    let producers: Vec<Producer> = producers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let values = all_values(&mut connect(&broker));
    for producer in producers {
        let own = values.iter().filter(|(id, _)| *id == producer.id).map(|(_, value)| *value);
        let own: Vec<i32> = own.collect();
        assert!(producer.acknowledged > 0, "it was acknowledged something");
        assert!(own.iter().copied().eq(0..own.len() as i32), "every number once, in order, seed {seed}");
        assert_eq!(own.len() as i32, producer.acknowledged, "what was acknowledged, and nothing is left on the way");
    }
}

/// All values of the topic, and who wrote them.
fn all_values(client: &mut RawClient) -> Vec<(ProducerId, i32)> {
    let mut values = Vec::new();
    loop {
        let (error, records) = fetch(client, "t", values.len() as i64, 0).expect("it is answered");
        assert_eq!(error, 0);
        if records.is_empty() {
            return values;
        }
        for batch in Batches::new(&records) {
            let batch = batch.expect("whole");
            for record in RecordIter::new(batch.header(), batch.records()) {
                let value = record.expect("whole").value.expect("a value");
                let value = i32::from_be_bytes(value.try_into().expect("four bytes"));
                values.push((batch.header().producer_id, value));
            }
        }
    }
}
