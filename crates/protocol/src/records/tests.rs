//! Batches against the vectors of a real Kafka, against themselves, and against damage.

use ottla_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Random};
use proptest::prelude::*;

use super::batch::{TimestampType, crc_of, set_base_offset, set_crc, set_partition_leader_epoch, set_timestamps};
use super::control::{ControlType, EndMarker};
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

    for (is_commit, expected) in [(true, D), (false, E)] {
        let end = EndMarker { is_commit, coordinator_epoch: 9 };
        let mut marker = at(101).producer(producer.0, producer.1, -1).transactional().control();
        marker.push(2, Some(&end.key()), Some(&end.value()), &[]);
        let bytes = marker.build().expect("memory");
        assert_eq!(hex(&bytes), expected);
        let (batch, _) = Batch::parse(&bytes).expect("whole");
        let record = RecordIter::new(batch.header(), batch.records()).next().expect("one").expect("well formed");
        assert_eq!(EndMarker::from_record(&record), Some(end));
    }
}

#[test]
fn control_records_of_other_kinds_end_no_transaction() {
    let kind = |key: &[u8], value: Option<&[u8]>| {
        let mut builder = BatchBuilder::new().control();
        builder.push(2, Some(key), value, &[]);
        let bytes = builder.build().expect("memory");
        let (batch, _) = Batch::parse(&bytes).expect("whole");
        let record = RecordIter::new(batch.header(), batch.records()).next().expect("one").expect("well formed");
        (record.key.and_then(ControlType::from_key), EndMarker::from_record(&record))
    };
    let epoch_9 = [0, 5, 0, 0, 0, 9, 77].as_slice();
    let committed = EndMarker { is_commit: true, coordinator_epoch: 9 };
    assert_eq!(kind(&[0, 3, 0, 1], Some(epoch_9)), (Some(ControlType::Commit), Some(committed)), "later versions");
    assert_eq!(kind(&[0, 0, 0, 0], None), (Some(ControlType::Abort), None));
    assert_eq!(kind(&[0, 0, 0, 2], Some(epoch_9)), (Some(ControlType::LeaderChange), None));
    assert_eq!(kind(&[0, 0, 0, 6], None), (Some(ControlType::KRaftVoters), None));
    for unknown in [&[0, 0, 0, 7][..], &[0, 0, 0xff, 0xff], &[0, 0, 0], &[]] {
        assert_eq!(kind(unknown, Some(epoch_9)), (None, None));
    }
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
    assert_eq!(header.to_bytes(), bytes[..HEADER_BYTES]);
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
        if change == (TimestampChange::CreateTime { max_timestamp: 7 }) {
            let rebuilt = builder.clone().base_offset(Offset(12)).leader_epoch(LeaderEpoch(4)).build().expect("memory");
            assert_eq!(in_place, rebuilt, "offset and epoch alone leave the CRC as it was");
        }
        let appended = matches!(change, TimestampChange::LogAppendTime(_));
        assert_eq!(patched.header().attributes.timestamp_type() == TimestampType::LogAppendTime, appended);
    }
}

#[test]
fn attribute_bits_that_mean_nothing_go_with_another_time() {
    let mut builder = BatchBuilder::new();
    builder.push(7, None, Some(b"value"), &[]);
    let mut bytes = builder.build().expect("memory");
    let unknown = 0x0780_u16;
    let attributes = BatchHeader::parse(&bytes).expect("whole").attributes.0 as u16 | unknown;
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    let left = |change| {
        let (batch, _) = Batch::parse(&bytes).expect("whole");
        let header = patched_header(&batch, Offset(0), LeaderEpoch(0), change);
        BatchHeader::parse(&header).expect("whole").attributes.0 as u16 & unknown
    };
    assert_eq!(left(TimestampChange::CreateTime { max_timestamp: 7 }), unknown);
    assert_eq!(left(TimestampChange::LogAppendTime(99)), 0);
}

#[test]
fn a_header_that_nobody_has_checked_overflows_nothing() {
    let mut builder = BatchBuilder::new().base_offset(Offset(i64::MAX));
    builder.push(i64::MAX, None, None, &[]).push(i64::MIN, None, None, &[]);
    let bytes = builder.build().expect("memory");
    let (batch, _) = Batch::parse(&bytes).expect("whole");
    assert_eq!((batch.header().last_offset(), batch.header().next_offset()), (Offset(i64::MIN), Offset(i64::MIN + 1)));
    let times: Vec<i64> =
        RecordIter::new(batch.header(), batch.records()).map(|it| it.expect("whole").timestamp).collect();
    assert_eq!(times, [i64::MAX, i64::MIN]);
}

#[test]
fn bytes_that_are_no_batch_say_why_and_what_to_answer() {
    let mut builder = BatchBuilder::new();
    builder.push(7, None, None, &[]);
    let good = builder.build().expect("memory");
    let magic = |magic: i8| [&good[..16], &[magic as u8], &good[17..]].concat();
    let length = |length: i32| [&good[..8], &length.to_be_bytes(), &good[12..]].concat();
    // As Kafka 4.4 answers.
    let cases = [
        (good[..good.len() - 1].to_vec(), BatchError::Truncated { needed: good.len() }, ErrorCode::InvalidRecord),
        (good[..60].to_vec(), BatchError::Truncated { needed: 61 }, ErrorCode::InvalidRecord),
        (good[..11].to_vec(), BatchError::Truncated { needed: 61 }, ErrorCode::InvalidRecord),
        (magic(0), BatchError::Magic(0), ErrorCode::InvalidRecord),
        (magic(1), BatchError::Magic(1), ErrorCode::InvalidRecord),
        (magic(3), BatchError::Magic(3), ErrorCode::CorruptMessage),
        (magic(-1), BatchError::Magic(-1), ErrorCode::CorruptMessage),
        (vec![0; 12], BatchError::Length(0), ErrorCode::CorruptMessage),
        (vec![0; 70], BatchError::Length(0), ErrorCode::CorruptMessage),
        (length(48), BatchError::Length(48), ErrorCode::CorruptMessage),
        (length(-1), BatchError::Length(-1), ErrorCode::CorruptMessage),
        (length(i32::MIN), BatchError::Length(i32::MIN), ErrorCode::CorruptMessage),
    ];
    for (bytes, expected, code) in cases {
        assert_eq!(Batch::parse(&bytes), Err(expected));
        assert_eq!(expected.code(), code, "{expected}");
    }
    assert_eq!(BatchHeader::parse(&good[..HEADER_BYTES]).map(|header| header.size_bytes()), Ok(good.len()));
}

#[test]
fn records_of_an_unknown_codec_are_not_guessed() {
    let mut builder = BatchBuilder::new();
    builder.push(7, None, Some(b"v"), &[]);
    let mut bytes = builder.build().expect("memory");
    bytes[22] = 6;
    let (batch, _) = Batch::parse(&bytes).expect("whole");
    assert_eq!(batch.header().compression(), None);
    let mut out = Vec::new();
    let refused = Decompressor::default().records(&batch, 1000, &mut out);
    assert!(matches!(refused, Err(CompressionError::UnknownCodec)));
}

#[test]
fn batches_follow_each_other_until_one_is_cut_off_or_none() {
    let mut builder = BatchBuilder::new();
    builder.push(7, None, Some(b"v"), &[]);
    let one = builder.build().expect("memory");
    let sizes = |bytes: &[u8]| -> Vec<Result<usize, BatchError>> {
        Batches::new(bytes).map(|batch| batch.map(|batch| batch.bytes().len())).collect()
    };
    let size = one.len();
    assert_eq!(sizes(&[]), []);
    assert_eq!(sizes(&[&one[..], &one].concat()), [Ok(size), Ok(size)]);
    for cut in [1, 5, 17, 60, size - 1] {
        assert_eq!(sizes(&[&one[..], &one[..cut]].concat()), [Ok(size)], "{cut}");
    }
    assert_eq!(sizes(&[&one[..], &[0; 11]].concat()), [Ok(size)]);
    for zeros in [12, 16, 17, 70] {
        let sizes = sizes(&[&one[..], &vec![0; zeros]].concat());
        assert_eq!(sizes, [Ok(size), Err(BatchError::Length(0))], "{zeros}");
    }
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
        let back: Vec<Made> = Decompressor::default()
            .records(&batch, 1 << 20, &mut unpacked)
            .expect("whole")
            .map(|record| {
                let record = record.expect("well formed");
                let headers = record.headers.iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
                (record.timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers.collect())
            })
            .collect();
        prop_assert_eq!(back, records);
    }

    #[test]
    fn a_stream_sees_what_lies_in_memory(
        records in prop::collection::vec(made(), 1..10),
        buffer_bytes in 1usize..100,
        seed in any::<u64>(),
    ) {
        let mut builder = BatchBuilder::new().base_offset(Offset(5));
        for (timestamp, key, value, _) in &records {
            builder.push(*timestamp, key.as_deref(), value.as_deref(), &[(b"h", None), (b"h", Some(b"v"))]);
        }
        let mut bytes = builder.build().expect("memory");
        let mut random = Random::new(seed);
        for damage in 0..8 {
            let (batch, _) = Batch::parse(&bytes).expect("the header stays whole");
            let mut buffer = vec![0; buffer_bytes];
            let mut stream = RecordStream::new(batch.header(), batch.records(), u64::MAX, &mut buffer);
            for record in RecordIter::new(batch.header(), batch.records()) {
                match (record, stream.next_record()) {
                    (Ok(there), Ok(Some(here))) => {
                        let lengths = (there.key.map(<[u8]>::len), there.value.map(<[u8]>::len));
                        prop_assert_eq!((here.key_length, here.value_length), lengths);
                        prop_assert_eq!((here.timestamp, here.offset), (there.timestamp, there.offset));
                        prop_assert_eq!(here.offset_delta, there.offset_delta);
                    }
                    // Which of several things is wrong is told differently where the end is not in sight.
                    (Err(_), Err(_)) => break,
                    (there, here) => prop_assert!(false, "damage {}: {:?} {:?}", damage, there, here),
                }
            }
            let at = HEADER_BYTES + random.below((bytes.len() - HEADER_BYTES) as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
    }

    #[test]
    fn damage_never_panics(at in 0usize..200, to in any::<u8>(), cut in 0usize..200) {
        let mut builder = BatchBuilder::new();
        for n in 0..6u8 {
            builder.push(i64::from(n), Some(&[n]), Some(&[n; 9]), &[(b"h", Some(b"v"))]);
        }
        let mut bytes = builder.build().expect("memory");
        let length = bytes.len();
        bytes[at % length] = to;
        bytes.truncate(length - cut % length);
        for batch in Batches::new(&bytes).flatten() {
            let records: Vec<_> = RecordIter::new(batch.header(), batch.records()).collect();
            prop_assert!(records.iter().rev().skip(1).all(Result::is_ok), "nothing follows an error");
            for record in records.into_iter().flatten() {
                prop_assert_eq!(record.headers.iter().count(), record.headers.len());
            }
            let mut again = batch.bytes().to_vec();
            set_crc(&mut again);
            prop_assert_eq!(crc_of(&again), Batch::parse(&again).expect("as before").0.header().crc);
        }
    }
}
