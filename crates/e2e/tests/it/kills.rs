//! Producers under load, and a broker that is killed under them: what was acknowledged is there, once, in order.

use ottla_base::{ProducerEpoch, ProducerId};
use ottla_e2e::{Broker, Closed, RawClient, body};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_protocol::records::{BatchBuilder, Batches, RecordIter};

use super::{connect, create_topic, fetch, options, produce};

/// Batches between two kills, and kills.
const BATCHES: i32 = 300;
const KILLS: usize = 5;

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
    let mut values = Vec::new();
    while (values.len() as i32) < sequence {
        let (error, records) = fetch(&mut client, "t", values.len() as i64, 0).expect("it is answered");
        assert!(error == 0 && !records.is_empty(), "error {error} at {}", values.len());
        for batch in Batches::new(&records) {
            let batch = batch.expect("whole");
            for record in RecordIter::new(batch.header(), batch.records()) {
                let value = record.expect("whole").value.expect("a value");
                values.push(i32::from_be_bytes(value.try_into().expect("four bytes")));
            }
        }
    }
    assert!(values.iter().copied().eq(0..sequence), "every number once, in order");
}
