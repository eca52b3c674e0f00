//! A producer that never stops: what it was acknowledged, it writes down; what it was not, it sends again.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::UNIX_EPOCH;

use ottla_base::{ProducerEpoch, ProducerId, Random};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::BatchBuilder;

use super::{KINDS, Kind, LOOK_EVERY, PARTITIONS, Stage, TOPIC};
use crate::conversations::produce_request;
use crate::raw::{Closed, RawClient, body};

const PRODUCE: i16 = 12;
/// Requests on their way, as many as an idempotent producer may have.
const IN_FLIGHT: usize = 5;
const BATCH_RECORDS_MAX: u64 = 8;
const VALUE_BYTES_MAX: u64 = 200;

/// One of them.
#[derive(Debug)]
pub struct Producer {
    pub number: usize,
    pub kind: Kind,
    id: Option<ProducerId>,
    /// What was acknowledged, in that order.
    pub acknowledged: Vec<Acknowledged>,
    on_the_way: VecDeque<Sent>,
    /// The number of the next record.
    next: u64,
    random: Random,
}

/// A batch that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    pub base_offset: i64,
    /// The number of its first record, and how many it has.
    pub first: u64,
    pub count: u64,
}

#[derive(Debug)]
struct Sent {
    first: u64,
    count: u64,
    batch: Vec<u8>,
}

/// What a producer writes as its record of this number; no two are alike.
pub fn value_of(producer: usize, number: u64) -> Vec<u8> {
    let mut random = Random::new((producer as u64) << 48 ^ number);
    let filler = random.below(VALUE_BYTES_MAX) as usize;
    let mut value = [&(producer as u32).to_be_bytes()[..], &number.to_be_bytes()].concat();
    while value.len() < 12 + filler {
        value.extend(random.next_u64().to_be_bytes());
    }
    value
}

/// Whose record of which number a value is.
pub fn number_of(value: &[u8]) -> Option<(usize, u64)> {
    let (producer, rest) = value.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    let (producer, number) = (u32::from_be_bytes(*producer) as usize, u64::from_be_bytes(*number));
    (value_of(producer, number) == value).then_some((producer, number))
}

impl Producer {
    /// A producer that has sent nothing yet.
    pub fn new(number: usize, client: &mut RawClient) -> Self {
        let kind = KINDS[number];
        let id = kind.is_idempotent.then(|| producer_id(client));
        let random = Random::new(number as u64);
        Self { number, kind, id, acknowledged: Vec::new(), on_the_way: VecDeque::new(), next: 0, random }
    }

    /// The partition it writes to.
    pub fn partition(&self) -> i32 {
        self.number as i32 % PARTITIONS
    }

    /// Sends until all is over, and then waits for what is on its way.
    pub fn live(&mut self, stage: &Stage) {
        while self.work(&mut stage.connect(), stage).is_err() {
            thread::sleep(LOOK_EVERY);
        }
    }

    fn work(&mut self, client: &mut RawClient, stage: &Stage) -> Result<(), Closed> {
        let (partition, acks) = (self.partition(), self.kind.acks);
        let send = |client: &mut RawClient, sent: &Sent| {
            let frame =
                client.frame_of(ApiKey::Produce, PRODUCE, &produce_request(TOPIC, partition, acks, &sent.batch));
            client.send_frame(&frame).map_err(|_| Closed)
        };
        // After a kill, all that was not acknowledged, in order.
        self.on_the_way.iter().try_for_each(|sent| send(client, sent))?;
        loop {
            while self.on_the_way.len() < IN_FLIGHT && !stage.is_over() {
                let sent = self.make();
                self.on_the_way.push_back(sent);
                send(client, self.on_the_way.back().expect("it was added"))?;
            }
            if self.on_the_way.is_empty() {
                return Ok(());
            }
            let answer = client.receive()?;
            let response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, PRODUCE);
            let placed = &response.responses[0].partition_responses[0];
            let Sent { first, count, .. } = self.on_the_way.pop_front().expect("it was answered");
            if placed.error_code != 0 {
                stage.wrong(format!(
                    "producer {}: the batch of record {first} was answered with error {}",
                    self.number, placed.error_code
                ));
                self.on_the_way.clear();
                return Ok(());
            }
            self.acknowledged.push(Acknowledged { base_offset: placed.base_offset, first, count });
            stage.acknowledged.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn make(&mut self) -> Sent {
        let (first, count) = (self.next, 1 + self.random.below(BATCH_RECORDS_MAX));
        let mut builder = BatchBuilder::new().compression(self.kind.codec, None);
        if let Some(id) = self.id {
            builder = builder.producer(id, ProducerEpoch(0), first as i32);
        }
        // Of now, or retention takes them away.
        let now_ms = UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis() as i64;
        for number in first..first + count {
            builder.push(now_ms, None, Some(&value_of(self.number, number)), &[]);
        }
        self.next += count;
        Sent { first, count, batch: builder.build().expect("memory") }
    }
}

/// An id for an idempotent producer.
pub fn producer_id(client: &mut RawClient) -> ProducerId {
    let request =
        InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() };
    let answer = client.ask(ApiKey::InitProducerId, 4, &request).expect("it is answered");
    let response: InitProducerIdResponse = body(&answer, ApiKey::InitProducerId, 4);
    assert_eq!(response.error_code, 0);
    ProducerId(response.producer_id)
}
