//! A broker that is killed between and under its producers: what was acknowledged is there, once, in order.

use ottla_base::{ProducerEpoch, ProducerId};
use ottla_e2e::crash::{self, producer_id};
use ottla_e2e::{Broker, Closed, RawClient};
use ottla_protocol::records::{BatchBuilder, Batches, RecordIter};

use super::{connect, create_topic, fetch, options, produce};

/// Batches between two kills, and kills.
const BATCHES: i32 = 300;
const KILLS: usize = 5;
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

#[test]
fn kills_under_clients_of_all_kinds_break_no_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = crash::Plan { seed: 20_261_121, rounds: 8, life_ms: 150 };
    let outcome = crash::run(&crash::options(options(folder.path())), &plan, |_| ());
    assert_eq!(outcome.wrong, [""; 0], "{plan:?}");
    assert!(outcome.acknowledged > 0 && outcome.commits > 0, "{outcome:?}");
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
