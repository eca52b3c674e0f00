//! The metadata log of a real Kafka 4.4 makes a whole image, and its records are written here as they were there.
//!
//! `fixtures/kafka-4.4-metadata.log` is the first segment of `__cluster_metadata-0` of one node that was started, given
//! topics, partitions, configs, a SCRAM user and a quota, stopped, started, killed, started and stopped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::expect;
use ottla_base::{BrokerId, LeaderEpoch, Offset};
use ottla_metadata::delta::BrokerDelta;
use ottla_metadata::image::Image;
use ottla_metadata::records;
use ottla_metadata::version::MetadataVersion;
use ottla_protocol::Writer;
use ottla_protocol::internal::metadata::MetadataRecord;
use ottla_protocol::records::{Batches, RecordIter};

const LOG: &[u8] = include_bytes!("../fixtures/kafka-4.4-metadata.log");

/// The values of one batch.
struct Values {
    epoch: LeaderEpoch,
    end: Offset,
    values: Vec<(Offset, &'static [u8])>,
}

/// The batches of the log. Control batches hold no records for the image, and take up offsets.
fn log() -> impl Iterator<Item = Values> {
    Batches::new(LOG).map(|batch| {
        let batch = batch.expect("the log is whole");
        let header = batch.header();
        assert!(batch.is_crc_valid());
        let records = RecordIter::new(header, batch.records()).map(|record| record.expect("the batch is whole"));
        let values = records.filter(|_| !header.attributes.is_control());
        let values = values.map(|record| (record.offset, record.value.expect("a value"))).collect();
        Values { epoch: header.partition_leader_epoch, end: header.next_offset(), values }
    })
}

fn image() -> Image {
    let mut image = Image::new("kafka");
    for Values { epoch, end, values } in log() {
        for (at, value) in values {
            let record = MetadataRecord::decode(value).expect("one of Kafka's records");
            image.apply(at, &record).unwrap_or_else(|error| panic!("{record:?} at {at}: {error}"));
        }
        image.advance(end, epoch);
        image.check();
    }
    image
}

#[test]
fn the_image_is_the_cluster_that_was() {
    let image = image();
    let mut seen = String::new();
    writeln!(seen, "end {} epoch {} next producer id {}", image.end(), image.epoch(), image.next_producer_id())
        .unwrap();
    writeln!(seen, "features {:?}", image.features().collect::<BTreeMap<_, _>>()).unwrap();
    for broker in image.brokers() {
        let endpoints: Vec<_> = broker.endpoints.iter().map(|at| (&at.listener, &at.host)).collect();
        let (fenced, stopping) = (broker.fenced, broker.in_controlled_shutdown);
        writeln!(seen, "broker {} {endpoints:?} fenced {fenced} stopping {stopping}", broker.id).unwrap();
    }
    for topic in image.topics().iter() {
        for (index, partition) in topic.partitions.iter() {
            let (leader, isr) = (partition.leader, &partition.isr);
            let epochs = (partition.leader_epoch, partition.partition_epoch);
            let eligible = (&partition.eligible_leader_replicas, &partition.last_known_eligible_leader_replicas);
            writeln!(seen, "{}-{index} {leader:?} {isr:?} {epochs:?} {eligible:?}", topic.name).unwrap();
        }
    }
    for (resource, configs) in image.configs().iter() {
        writeln!(seen, "{:?} {:?} {configs:?}", resource.kind, resource.name).unwrap();
    }
    for (entity, quotas) in image.client_quotas().iter() {
        writeln!(seen, "{entity:?} {quotas:?}").unwrap();
    }
    for ((mechanism, user), credential) in image.scram_credentials().iter() {
        writeln!(seen, "SCRAM {mechanism} {user} {}", credential.iterations).unwrap();
    }
    expect![[r#"
        end 149 epoch 3 next producer id 0
        features {"eligible.leader.replicas.version": 1, "group.version": 1, "metadata.version": 33, "share.version": 2, "streams.version": 1, "transaction.version": 2}
        broker 1 [("PLAINTEXT", "127.0.0.1")] fenced true stopping true
        web-log-0 None [] (5, 6) ([1], [1])
        web-log-1 None [] (5, 6) ([1], [1])
        web-log-2 None [] (5, 6) ([1], [1])
        web-log-3 None [] (5, 6) ([1], [1])
        Topic "web-log" {"min.insync.replicas": "1", "retention.ms": "60000"}
        Broker "" {"log.cleaner.threads": "2", "min.insync.replicas": "1"}
        [("user", Some("alice"))] {"producer_byte_rate": 1024.0}
        SCRAM 1 alice 4096
    "#]].assert_eq(&seen);
}

#[test]
fn records_are_written_as_kafka_writes_them() {
    let mut counts: BTreeMap<i16, usize> = BTreeMap::new();
    for (at, value) in log().flat_map(|batch| batch.values) {
        let record = MetadataRecord::decode(value).expect("one of Kafka's records");
        *counts.entry(record.key()).or_default() += 1;
        let mut writer = Writer::default();
        record.encode(records::version(&record, MetadataVersion::LATEST), &mut writer);
        assert_eq!(writer.buffer, value, "{record:?} at {at}");
    }
    // Which types of records the log holds, and how many.
    expect!["{0: 3, 2: 2, 3: 5, 4: 4, 5: 24, 9: 1, 11: 1, 12: 6, 14: 1, 17: 11, 20: 82, 23: 1, 24: 1, 27: 3, 28: 1}"]
        .assert_eq(&format!("{counts:?}"));
}

#[test]
fn a_snapshot_of_the_image_makes_it_again() {
    let image = image();
    let copy = Image::from_snapshot("kafka", image.end(), image.epoch(), image.snapshot()).expect("it is sound");
    assert_eq!(copy, image);
    assert!(BrokerDelta::between(&image, &copy, BrokerId(1)).is_empty());
}
