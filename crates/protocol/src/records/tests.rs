//! Batches against the vectors of a real Kafka, against themselves, and against damage.

use ottla_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Random, TopicPartition};
use proptest::prelude::*;

use super::batch::{TimestampType, crc_of, set_base_offset, set_partition_leader_epoch, set_timestamps};
use super::control::ControlType;
use super::validate::{Depth, Rules, Scratch, validate};
use super::*;
use crate::error::ErrorCode;

const A: &str = "00000000000000000000004cffffffff02b4015aeb0000000000010000018bcfe568000000018bcfe56805ffffffffffffffffffffffffffff0000000226000000046b31047631040468310278046832010c000a02010100";
const B: &str = "00000000000000640000003a00000005028485d87500000000000000000000000000010000000000000001000000000000000700030000002a0000000110000000026b027600";
const C: &str = "00000000000000640000003a000000050243f87ec400100000000000000000000000010000000000000001000000000000000700030000002a0000000110000000026b027600";
const D: &str = "0000000000000065000000420000000502209ec01f0030000000000000000000000002000000000000000200000000000000070003ffffffff000000012000000008000000010c00000000000900";
const E: &str = "0000000000000065000000420000000502d4a016570030000000000000000000000002000000000000000200000000000000070003ffffffff000000012000000008000000000c00000000000900";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn rules(topic_partition: &TopicPartition) -> Rules<'_> {
    Rules {
        topic_partition,
        compacted: false,
        log_append_time: false,
        now_ms: 10_000,
        before_max_ms: None,
        after_max_ms: Some(3_600_000),
        depth: Depth::Records,
    }
}

fn check(batch: &[u8], rules: &Rules<'_>) -> Result<i64, (ErrorCode, String, usize)> {
    let (batch, _) = Batch::parse(batch).expect("a batch");
    let checked = validate(&batch, rules, &mut Scratch::default());
    checked.map(|ok| ok.max_timestamp).map_err(|no| (no.code, no.message, no.record_errors.len()))
}

#[test]
fn batches_are_the_bytes_that_kafka_writes() {
    let mut a = BatchBuilder::new();
    a.push(1_700_000_000_000, Some(b"k1"), Some(b"v1"), &[(b"h1", Some(b"x")), (b"h2", None)]);
    a.push(1_700_000_000_005, None, None, &[]);
    assert_eq!(hex(&a.build().expect("memory")), A);

    let at = |offset| BatchBuilder::new().base_offset(Offset(offset)).leader_epoch(LeaderEpoch(5));
    let producer = (ProducerId(7), ProducerEpoch(3));
    let mut b = at(100).producer(producer.0, producer.1, 42);
    b.push(1, Some(b"k"), Some(b"v"), &[]);
    assert_eq!(hex(&b.build().expect("memory")), B);
    assert_eq!(hex(&b.clone().transactional().build().expect("memory")), C);

    for (kind, expected) in [(ControlType::Commit, D), (ControlType::Abort, E)] {
        let mut marker = at(101).producer(producer.0, producer.1, -1).transactional().control();
        marker.push(2, Some(&kind.key()), Some(&[0, 0, 0, 0, 0, 9]), &[]);
        assert_eq!(hex(&marker.build().expect("memory")), expected);
    }
    assert_eq!(ControlType::from_key(&ControlType::LeaderChange.key()), Some(ControlType::LeaderChange));
    assert_eq!(ControlType::from_key(&[0, 0, 0, 99]), None);
}

#[test]
fn a_header_tells_offsets_and_sequences() {
    let mut builder = BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), i32::MAX);
    builder.push(5, None, Some(b"a"), &[]).push(3, None, Some(b"b"), &[]);
    let mut bytes = builder.build().expect("memory");
    set_base_offset(&mut bytes, Offset(40));
    let (batch, rest) = Batch::parse(&bytes).expect("whole");
    let header = *batch.header();
    assert!(rest.is_empty() && batch.is_crc_valid());
    assert_eq!((header.last_offset(), header.next_offset(), header.last_sequence()), (Offset(41), Offset(42), 0));
    assert_eq!((header.base_timestamp, header.max_timestamp), (5, 5));
    let times: Vec<i64> =
        RecordIter::new(&header, batch.records()).map(|record| record.expect("whole").timestamp).collect();
    assert_eq!(times, [5, 3]);
}

#[test]
fn a_patched_header_is_what_patching_in_place_gives() {
    let mut builder = BatchBuilder::new();
    builder.push(7, None, Some(&[1; 500]), &[]);
    let original = builder.build().expect("memory");
    for change in [
        TimestampChange::CreateTime { max_timestamp: 7 },
        TimestampChange::CreateTime { max_timestamp: 9 },
        TimestampChange::LogAppendTime(99),
    ] {
        let (batch, _) = Batch::parse(&original).expect("whole");
        let header = patched_header(&batch, Offset(12), LeaderEpoch(4), change);
        let mut in_place = original.clone();
        set_base_offset(&mut in_place, Offset(12));
        set_partition_leader_epoch(&mut in_place, LeaderEpoch(4));
        set_timestamps(&mut in_place, change);
        assert_eq!(header, in_place[..HEADER_BYTES]);
        let (patched, _) = Batch::parse(&in_place).expect("whole");
        assert!(patched.is_crc_valid(), "{change:?}");
        let appended = matches!(change, TimestampChange::LogAppendTime(_));
        assert_eq!(patched.header().attributes.timestamp_type() == TimestampType::LogAppendTime, appended);
    }
}

#[test]
fn wrong_batches_are_refused_with_kafkas_codes() {
    let name = name();
    let rules = rules(&name);
    let mut builder = BatchBuilder::new();
    builder.push(5, Some(b"k"), Some(b"v"), &[]).push(6, None, Some(b"w"), &[]);
    let good = builder.build().expect("memory");
    assert_eq!(check(&good, &rules), Ok(6));

    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc_of(&changed);
        changed[17..21].copy_from_slice(&crc.to_be_bytes());
        changed
    };
    let code = |batch: &[u8], rules: &Rules<'_>| check(batch, rules).expect_err("it is wrong").0;
    let mut flipped = good.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    assert_eq!(code(&flipped, &rules), ErrorCode::CorruptMessage);
    assert_eq!(code(&with(0, &1i64.to_be_bytes()), &rules), ErrorCode::InvalidRecord, "base offset");
    assert_eq!(code(&with(57, &3i32.to_be_bytes()), &rules), ErrorCode::InvalidRecord, "count and last offset");
    let three = [&2i32.to_be_bytes()[..], &good[27..57], &3i32.to_be_bytes()].concat();
    assert_eq!(code(&with(23, &three), &rules), ErrorCode::InvalidRecord, "fewer records than announced");
    let one = [&0i32.to_be_bytes()[..], &good[27..57], &1i32.to_be_bytes()].concat();
    assert_eq!(code(&with(23, &one), &rules), ErrorCode::InvalidRecord, "more records than announced");
    assert_eq!(code(&with(21, &0x20i16.to_be_bytes()), &rules), ErrorCode::InvalidRecord, "control");
    assert_eq!(code(&with(21, &5i16.to_be_bytes()), &rules), ErrorCode::UnknownServerError, "codec 5");
    assert_eq!(code(&with(21, &2i16.to_be_bytes()), &rules), ErrorCode::UnknownServerError, "not snappy");
    assert_eq!(code(&with(43, &7i64.to_be_bytes()), &rules), ErrorCode::InvalidRecord, "no sequence");
    assert_eq!(check(&with(21, &8i16.to_be_bytes()), &rules), Ok(6), "the flag is taken back on CreateTime");
    let appended = Rules { log_append_time: true, ..rules };
    assert_eq!(code(&with(21, &8i16.to_be_bytes()), &appended), ErrorCode::InvalidTimestamp);
    assert_eq!(check(&with(22, &[0x80]), &rules), Ok(6), "bits that mean nothing are let through");

    let compacted = Rules { compacted: true, ..rules };
    let (code, message, count) = check(&good, &compacted).expect_err("the second record has no key");
    assert_eq!((code, count), (ErrorCode::InvalidRecord, 1));
    assert!(
        message.contains("batchIndex=1") && message.contains("message without key in topic partition t-0"),
        "{message}"
    );
    let late = Rules { now_ms: 1_000_000_000, before_max_ms: Some(1), ..rules };
    let (code, message, count) = check(&good, &late).expect_err("both are too old");
    assert_eq!((code, count), (ErrorCode::InvalidTimestamp, 2));
    assert_eq!(message, "One or more records have been rejected due to invalid timestamp");
}

#[test]
fn compressed_batches_are_walked_through_a_small_window() {
    let name = name();
    let rules = rules(&name);
    let mut random = Random::new(3);
    for codec in Compression::ALL {
        for largest in [10, 70_000, 700_000] {
            let mut builder = BatchBuilder::new().compression(codec, None);
            for _ in 0..40 {
                let length = random.below(largest) as usize;
                let value: Vec<u8> = (0..length).map(|_| random.next_u64() as u8 & 0xf).collect();
                builder.push(9, None, Some(&value), &[]);
            }
            let batch = builder.build().expect("memory");
            assert_eq!(check(&batch, &rules), Ok(9), "{codec:?} {largest}");
            for (count, what) in [(39i32, "leftover"), (41, "too few")] {
                let mut wrong = batch.clone();
                wrong[23..27].copy_from_slice(&(count - 1).to_be_bytes());
                wrong[57..61].copy_from_slice(&count.to_be_bytes());
                let crc = crc_of(&wrong);
                wrong[17..21].copy_from_slice(&crc.to_be_bytes());
                let refused = check(&wrong, &rules).expect_err(what);
                assert_eq!(refused.0, ErrorCode::InvalidRecord, "{codec:?} {what}");
            }
        }
    }
}

#[test]
fn a_bomb_of_records_costs_little_memory() {
    let name = name();
    let mut builder = BatchBuilder::new().compression(Compression::Zstd, None);
    let value = vec![0; 1 << 20];
    for _ in 0..300 {
        builder.push(1, None, Some(&value), &[]);
    }
    let batch = builder.build().expect("memory");
    assert!(batch.len() < 200_000);
    let mut scratch = Scratch::default();
    let (batch, _) = Batch::parse(&batch).expect("whole");
    let refused = validate(&batch, &rules(&name), &mut scratch).expect_err("it is more than any batch may hold");
    assert_eq!(refused.code, ErrorCode::InvalidRecord);
}

type Made = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

fn made() -> impl Strategy<Value = Made> {
    let headers = prop::collection::vec(
        (prop::sample::select(vec![b"a".to_vec(), b"b".to_vec()]), prop::option::of(bytes())),
        0..4,
    );
    (-5i64..1_000_000, prop::option::of(bytes()), prop::option::of(bytes()), headers)
}

proptest! {
    #[test]
    fn records_come_out_as_they_went_in(records in prop::collection::vec(made(), 1..30), codec in 0i8..5) {
        let codec = Compression::from_id(codec).expect("one of the five");
        let mut builder = BatchBuilder::new().compression(codec, None).base_offset(Offset(1000));
        for (timestamp, key, value, headers) in &records {
            let headers: Vec<builder::Header<'_>> =
                headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
            builder.push(*timestamp, key.as_deref(), value.as_deref(), &headers);
        }
        let built = builder.build().expect("memory");
        let (batch, _) = Batch::parse(&built).expect("whole");
        let mut unpacked = Vec::new();
        compression::decompress(codec, batch.records(), 1 << 20, &mut unpacked).expect("whole");
        let back: Vec<Made> = RecordIter::new(batch.header(), &unpacked)
            .map(|record| {
                let record = record.expect("well formed");
                let headers = record.headers.iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
                (record.timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers.collect())
            })
            .collect();
        prop_assert_eq!(back, records);
    }

    #[test]
    fn damage_is_found_and_never_panics(at in 0usize..200, to in any::<u8>(), cut in 0usize..200) {
        let mut builder = BatchBuilder::new();
        for n in 0..6u8 {
            builder.push(i64::from(n), Some(&[n]), Some(&[n; 9]), &[(b"h", Some(b"v"))]);
        }
        let mut bytes = builder.build().expect("memory");
        let length = bytes.len();
        bytes[at % length] = to;
        bytes.truncate(length - cut % length);
        let name = name();
        for batch in Batches::new(&bytes).flatten() {
            let mut again = batch.bytes().to_vec();
            let crc = crc_of(&again);
            again[17..21].copy_from_slice(&crc.to_be_bytes());
            let _ = check(&again, &rules(&name));
        }
    }
}
