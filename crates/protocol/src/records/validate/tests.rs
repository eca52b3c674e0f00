//! What a leader refuses. Cases marked "as Kafka 4.4" were sent to one, and the codes are those that it answered.

use std::fmt::Write;

use expect_test::{Expect, expect};
use ottla_base::{ProducerEpoch, ProducerId};

use super::*;
use crate::records::batch::{Attributes, set_crc};
use crate::records::compression::compress;
use crate::records::{BatchBuilder, HEADER_BYTES};

const NOW: Timestamp = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;
const LONGEST_RECORD: usize = 2 << 20;
const LONGEST_BATCH: usize = 1 << 20;

/// A topic, as the cases name it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topic {
    Plain,
    Compacted,
    LogAppendTime,
    /// Takes nothing older than a second.
    Fresh,
}

fn check_at(depth: Depth, topic: Topic, bytes: &[u8], scratch: &mut Scratch) -> Result<Validated, Invalid> {
    check_for(None, depth, topic, bytes, scratch)
}

fn check_for(
    target: Option<Target>,
    depth: Depth,
    topic: Topic,
    bytes: &[u8],
    scratch: &mut Scratch,
) -> Result<Validated, Invalid> {
    let (batch, rest) = Batch::parse(bytes).unwrap();
    assert!(rest.is_empty());
    let rules = Rules {
        topic_partition: &TopicPartition::new("t", 0),
        compacted: topic == Topic::Compacted,
        log_append_time: topic == Topic::LogAppendTime,
        now_ms: NOW,
        before_max_ms: (topic == Topic::Fresh).then_some(1000),
        after_max_ms: Some(HOUR_MS),
        max_decompressed_record_bytes: LONGEST_RECORD,
        depth,
        zstd_window: ZstdWindow::Usual,
        target,
        size_max_bytes: LONGEST_BATCH,
    };
    validate(&batch, &rules, scratch)
}

fn check(topic: Topic, bytes: &[u8]) -> Result<Validated, Invalid> {
    check_at(Depth::Records, topic, bytes, &mut Scratch::default())
}

/// The code alone, 0 where nothing is wrong.
fn code(topic: Topic, bytes: &[u8]) -> i16 {
    check(topic, bytes).map_or_else(|invalid| invalid.code.code(), |_| 0)
}

/// All that a client is told.
fn told(topic: Topic, bytes: &[u8], expected: &Expect) {
    let mut text = String::new();
    match check(topic, bytes) {
        Ok(validated) => writeln!(text, "max timestamp {}", validated.max_timestamp).unwrap(),
        Err(invalid) => {
            writeln!(text, "{} {}", invalid.code.code(), invalid.message).unwrap();
            for (index, message) in invalid.record_errors {
                writeln!(text, "  {index}: {message}").unwrap();
            }
        }
    }
    expected.assert_eq(&text);
}

fn varint(number: i64) -> Vec<u8> {
    let mut writer = crate::Writer::default();
    writer.varlong(number);
    writer.buffer
}

/// A key or value of a record: bytes, or a length that nothing follows.
enum Field {
    Bytes(&'static [u8]),
    Length(i64),
}

impl Field {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => [&varint(bytes.len() as i64), *bytes].concat(),
            Self::Length(length) => varint(*length),
        }
    }
}

/// A record with its length, from parts that may be wrong.
fn record_of(timestamp_delta: i64, offset_delta: i64, key: &Field, value: &Field, headers: &[u8]) -> Vec<u8> {
    let fields =
        [&varint(timestamp_delta), &varint(offset_delta), &key.bytes(), &value.bytes(), headers].map(|it| it.to_vec());
    let body = [vec![0], fields.concat()].concat();
    [varint(body.len() as i64), body].concat()
}

fn record(offset_delta: i64) -> Vec<u8> {
    record_of(0, offset_delta, &Field::Bytes(b"k"), &Field::Bytes(b"v"), &[0])
}

fn keyless(offset_delta: i64) -> Vec<u8> {
    record_of(0, offset_delta, &Field::Length(-1), &Field::Bytes(b"v"), &[0])
}

fn made_at(delta: i64, offset_delta: i64) -> Vec<u8> {
    record_of(delta, offset_delta, &Field::Bytes(b"k"), &Field::Bytes(b"v"), &[0])
}

fn with_headers(headers: &[u8]) -> Vec<u8> {
    record_of(0, 0, &Field::Bytes(b"k"), &Field::Bytes(b"v"), headers)
}

/// A batch around these records, changed by `change` before its CRC is taken.
fn batch_of(count: i32, records: &[u8], change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut one = BatchBuilder::new();
    one.push(NOW, None, None, &[]);
    let mut header = *Batch::parse(&one.build().unwrap()).unwrap().0.header();
    header.length = (HEADER_BYTES + records.len() - 12) as i32;
    header.record_count = count;
    header.last_offset_delta = count - 1;
    change(&mut header);
    let mut bytes = [&header.to_bytes(), records].concat();
    set_crc(&mut bytes);
    bytes
}

fn batch(records: &[Vec<u8>]) -> Vec<u8> {
    batch_of(records.len() as i32, &records.concat(), |_| {})
}

fn packed(codec: Compression, records: &[u8], count: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    compress(codec, None, records, &mut bytes).unwrap();
    batch_of(count, &bytes, |header| header.attributes = Attributes(codec.id().into()))
}

#[test]
fn headers_are_refused_with_kafkas_codes() {
    let records = [record(0), record(1)].concat();
    let of = |change: fn(&mut BatchHeader)| batch_of(2, &records, change);
    let as_kafka_4_4 = [
        ("good", 0, of(|_| {})),
        ("base offset 1", 87, of(|it| it.base_offset.0 = 1)),
        ("no records", 87, batch_of(0, &[], |_| {})),
        ("no records, one offset", 87, batch_of(0, &[], |it| it.last_offset_delta = 0)),
        ("last offset -5", 87, of(|it| it.last_offset_delta = -5)),
        ("three records, two offsets", 87, of(|it| it.record_count = 3)),
        ("three records, three offsets", 87, batch_of(3, &records, |_| {})),
        ("one record, one offset", 87, batch_of(1, &records, |_| {})),
        ("as many as there can be", 87, batch_of(i32::MAX, &records, |_| {})),
        ("control", 87, of(|it| it.attributes.0 = 0x20)),
        ("producer id without a sequence", 87, of(|it| it.producer_id = ProducerId(5))),
        ("producer id without an epoch", 0, of(|it| (it.producer_id, it.base_sequence) = (ProducerId(5), 0))),
        ("producer id -2", 0, of(|it| (it.producer_id, it.producer_epoch) = (ProducerId(-2), ProducerEpoch(0)))),
        ("codec 5", -1, of(|it| it.attributes.0 = 5)),
        ("codec 6, control", -1, of(|it| it.attributes.0 = 0x26)),
        ("unknown bits", 0, of(|it| it.attributes.0 = 0x4080)),
        ("delete horizon", 0, of(|it| it.attributes.0 = 0x40)),
    ];
    for (what, expected, bytes) in as_kafka_4_4 {
        assert_eq!(code(Topic::Plain, &bytes), expected, "{what}");
    }
    let mut damaged = of(|_| {});
    damaged[70] ^= 1;
    assert_eq!(code(Topic::Plain, &damaged), 2, "CRC");
    damaged[7] = 1;
    assert_eq!(code(Topic::Plain, &damaged), 87, "base offset before CRC");
}

#[test]
fn records_are_refused_with_kafkas_codes() {
    let good = record(0);
    let resized = |by: i8| [&[good[0].wrapping_add_signed(2 * by)], &good[1..]].concat();
    let long_varint = [&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], &good[..]].concat();
    let field = |key, value| record_of(0, 0, &key, &value, &[0]);
    // The second code is that of the same records compressed with gzip.
    let as_kafka_4_4 = [
        ("good", 0, 0, good.clone()),
        ("leftover bytes", 87, 87, [&good[..], &[0, 0]].concat()),
        ("record length -1", 87, 87, [&[1], &good[1..]].concat()),
        ("a record longer than its fields", 87, 87, [resized(1), vec![0]].concat()),
        ("key length -2", 0, 0, field(Field::Length(-2), Field::Bytes(b"v"))),
        ("value length -3", 0, 0, field(Field::Bytes(b"k"), Field::Length(-3))),
        ("a value of 2 GiB that is not there", 87, 87, field(Field::Bytes(b"k"), Field::Length(i32::MAX.into()))),
        ("header count -1", 87, 87, with_headers(&varint(-1))),
        ("1000 headers that are not there", 87, 87, with_headers(&varint(1000))),
        ("header key null", 87, 87, with_headers(&[2, 1, 1])),
        ("header value length -5", 0, 0, with_headers(&[2, 2, b'a', 9])),
        ("header key that is no UTF-8", 0, 0, with_headers(&[2, 4, 0xff, 0xfe, 0])),
        ("a varint of six bytes", -1, 87, long_varint),
        ("a varint with too many bits", 87, 87, [&[0xff, 0xff, 0xff, 0xff, 0x7f], &good[..]].concat()),
        ("a varint longer than it need be", 0, 0, [&[good[0] | 0x80, 0], &good[1..]].concat()),
        ("an offset delta of -3", 0, -1, record(-3)),
    ];
    for (what, plain, gzip, records) in as_kafka_4_4 {
        assert_eq!(code(Topic::Plain, &batch_of(1, &records, |_| {})), plain, "{what}");
        for codec in &Compression::ALL[1..] {
            assert_eq!(code(Topic::Plain, &packed(*codec, &records, 1)), gzip, "{what}, {codec:?}");
        }
    }
    // Kafka stores these when they are compressed, and its consumers cannot read them.
    for by in [-1, 10] {
        assert_eq!(code(Topic::Plain, &batch_of(1, &resized(by), |_| {})), 87);
        assert_eq!(code(Topic::Plain, &packed(Compression::Gzip, &resized(by), 1)), 87);
    }
    // Only where Kafka opens a batch does it look at the offsets.
    for (first, second) in [(0, 5), (1, 0)] {
        let records = [record(first), record(second)].concat();
        assert_eq!(code(Topic::Plain, &batch_of(2, &records, |_| {})), 0);
        assert_eq!(code(Topic::Plain, &packed(Compression::Gzip, &records, 2)), -1);
    }
}

#[test]
fn damaged_compression_is_an_unknown_error_and_missing_records_are_not() {
    let records = [record(0), record(1)].concat();
    for codec in &Compression::ALL[1..] {
        assert_eq!(code(Topic::Plain, &packed(*codec, &records, 2)), 0);
        assert_eq!(code(Topic::Plain, &packed(*codec, &records, 3)), 87, "{codec:?}");
        assert_eq!(code(Topic::Plain, &packed(*codec, &records, 1)), 87, "{codec:?}");
        let attributes = |header: &mut BatchHeader| header.attributes = Attributes(codec.id().into());
        assert_eq!(code(Topic::Plain, &batch_of(2, &records, attributes)), -1, "{codec:?} of bytes that are not");
        let nothing = if *codec == Compression::Zstd { 87 } else { -1 };
        assert_eq!(code(Topic::Plain, &batch_of(2, &[], attributes)), nothing, "{codec:?} of nothing");
    }
}

#[test]
fn a_compacted_topic_names_the_records_without_key() {
    let bytes = batch(&[record(0), keyless(1), keyless(2), keyless(3), keyless(4)]);
    assert_eq!(code(Topic::Plain, &bytes), 0);
    let expected = expect![[r#"
        87 One or more records have been rejected due to 4 record errors in total, and only showing the first three errors at most: [RecordError(batchIndex=1, message='Compacted topic cannot accept message without key in topic partition t-0'), RecordError(batchIndex=2, message='Compacted topic cannot accept message without key in topic partition t-0'), RecordError(batchIndex=3, message='Compacted topic cannot accept message without key in topic partition t-0')]
          1: Compacted topic cannot accept message without key in topic partition t-0
          2: Compacted topic cannot accept message without key in topic partition t-0
          3: Compacted topic cannot accept message without key in topic partition t-0
          4: Compacted topic cannot accept message without key in topic partition t-0
    "#]];
    told(Topic::Compacted, &bytes, &expected);
}

#[test]
fn flaws_are_those_that_kafka_counts() {
    let records = [record(0), record(1)].concat();
    let of = |change: fn(&mut BatchHeader)| batch_of(2, &records, change);
    let mut damaged = of(|_| {});
    damaged[17] ^= 1;
    let keyless = batch(&[keyless(0), record(1), keyless(2)]);
    let as_kafka_4_4 = [
        ("damaged", Topic::Plain, damaged, Some(Flaw::Crc)),
        ("base offset 7", Topic::Plain, of(|it| it.base_offset.0 = 7), None),
        ("five records", Topic::Plain, of(|it| it.record_count = 5), Some(Flaw::OffsetOrSequence)),
        ("last offset -3", Topic::Plain, of(|it| it.last_offset_delta = -3), Some(Flaw::OffsetOrSequence)),
        ("control", Topic::Plain, of(|it| it.attributes.0 = 0x20), Some(Flaw::OffsetOrSequence)),
        ("no sequence", Topic::Plain, of(|it| it.producer_id = ProducerId(5)), Some(Flaw::OffsetOrSequence)),
        ("codec 7", Topic::Plain, of(|it| it.attributes.0 = 7), None),
        ("too old", Topic::Fresh, batch(&[made_at(-HOUR_MS, 0)]), None),
        ("without keys", Topic::Compacted, keyless, Some(Flaw::NoKey(2))),
    ];
    for (what, topic, bytes, flaw) in as_kafka_4_4 {
        assert_eq!(check(topic, &bytes).expect_err(what).flaw, flaw, "{what}");
    }
}

#[test]
fn a_wrong_time_is_told_before_a_missing_key() {
    let both = batch(&[made_at(10 * HOUR_MS, 0), keyless(1)]);
    let expected = expect![[r#"
        32 One or more records have been rejected due to invalid timestamp
          0: Timestamp 1700036000000 of message with offset 0 is out of range. The timestamp should be within [-9223370336854775807, 1700003600000]
          1: Compacted topic cannot accept message without key in topic partition t-0
    "#]];
    told(Topic::Compacted, &both, &expected);
    let old = batch(&[record(0), made_at(-1001, 1)]);
    let expected = expect![[r#"
        32 One or more records have been rejected due to invalid timestamp
          1: Timestamp 1699999998999 of message with offset 1 is out of range. The timestamp should be within [1699999999000, 1700003600000]
    "#]];
    told(Topic::Fresh, &old, &expected);
}

#[test]
fn times_are_compared_as_kafka_does() {
    let at = |base_timestamp, delta| {
        batch_of(1, &made_at(delta, 0), |header| (header.base_timestamp, header.max_timestamp) = (base_timestamp, 0))
    };
    let as_kafka_4_4 = [
        ("as late as may be", Topic::Plain, 0, at(NOW, HOUR_MS)),
        ("later", Topic::Plain, 32, at(NOW, HOUR_MS + 1)),
        ("later, where the broker gives the time", Topic::LogAppendTime, 0, at(NOW, HOUR_MS + 1)),
        ("as early as may be", Topic::Fresh, 0, at(NOW, -1000)),
        ("earlier", Topic::Fresh, 32, at(NOW, -1001)),
        ("none", Topic::Fresh, 0, at(-1, 0)),
        ("before 1970", Topic::Plain, 0, at(-5, 0)),
        ("before 1970, where it matters", Topic::Fresh, 32, at(-5, 0)),
        ("the smallest number", Topic::Plain, 32, at(i64::MIN, 0)),
        ("the largest number", Topic::Plain, 32, at(i64::MAX, 0)),
        ("beyond the largest number", Topic::Plain, 32, at(i64::MAX, 5)),
    ];
    for (what, topic, expected, bytes) in as_kafka_4_4 {
        assert_eq!(code(topic, &bytes), expected, "{what}");
    }
}

#[test]
fn the_largest_time_is_looked_for() {
    let bytes = batch_of(3, &[record(0), made_at(7, 1), made_at(3, 2)].concat(), |it| it.max_timestamp = 12);
    told(
        Topic::Plain,
        &bytes,
        &expect![[r#"
        max timestamp 1700000000007
    "#]],
    );
    let without = batch_of(1, &record(0), |header| header.base_timestamp = -1);
    told(
        Topic::Plain,
        &without,
        &expect![[r#"
        max timestamp -1
    "#]],
    );
}

#[test]
fn a_producer_may_not_give_the_brokers_time() {
    let flagged = |max_timestamp| {
        batch_of(2, &[record(0), record(1)].concat(), |header| {
            header.attributes.0 = 8;
            header.max_timestamp = max_timestamp;
        })
    };
    told(
        Topic::LogAppendTime,
        &flagged(NOW),
        &expect![[r#"
        32 One or more records have been rejected due to invalid timestamp
          0: The message with offset 0 says that its time is the broker's, which a producer must not
          1: The message with offset 1 says that its time is the broker's, which a producer must not
    "#]],
    );
    assert_eq!(code(Topic::Plain, &flagged(-1)), 32);
    // On a topic of CreateTime the flag is taken back, and the records keep the one time they have.
    told(
        Topic::Plain,
        &flagged(NOW - 9),
        &expect![[r#"
        max timestamp 1699999999991
    "#]],
    );
    assert_eq!(code(Topic::Plain, &flagged(NOW + 10 * HOUR_MS)), 32);
}

#[test]
fn a_believed_header_is_opened_where_the_answer_depends_on_it() {
    let records = [record(0), made_at(5, 1), keyless(2)].concat();
    let mut scratch = Scratch::default();
    for codec in &Compression::ALL[1..] {
        let mut check = |topic, change: fn(&mut BatchHeader)| {
            let mut bytes = Vec::new();
            compress(*codec, None, &records, &mut bytes).unwrap();
            let bytes = batch_of(3, &bytes, |header| {
                header.attributes = Attributes(codec.id().into());
                header.max_timestamp = NOW + 4;
                change(header);
            });
            check_at(Depth::Header, topic, &bytes, &mut scratch)
                .map(|validated| validated.max_timestamp - NOW)
                .map_err(|invalid| (invalid.code.code(), invalid.record_errors.len()))
        };
        assert_eq!(check(Topic::Plain, |_| {}), Ok(4), "believed");
        assert_eq!(check(Topic::LogAppendTime, |_| {}), Ok(4), "believed");
        assert_eq!(check(Topic::Plain, |it| it.max_timestamp = NOW + 9 * HOUR_MS), Ok(5), "a wrong maximum");
        assert_eq!(check(Topic::Plain, |it| it.max_timestamp = 5), Ok(5), "it is not before the first record");
        assert_eq!(check(Topic::Plain, |it| it.base_timestamp = NOW + 9 * HOUR_MS), Err((32, 3)));
        assert_eq!(check(Topic::Compacted, |_| {}), Err((87, 1)));
        assert_eq!(check(Topic::Fresh, |it| it.base_timestamp = NOW - 1003), Err((32, 2)));
        assert_eq!(check(Topic::LogAppendTime, |it| it.attributes.0 |= 8), Err((32, 3)));
    }
}

/// A few thousand bytes that unpack to `count` records of 1 MiB.
fn bomb(count: usize) -> Vec<u8> {
    let mut one = BatchBuilder::new();
    one.push(NOW, None, Some(&vec![0; 1 << 20]), &[]);
    let one = one.build().unwrap();
    let mut frame = Vec::new();
    compress(Compression::Zstd, None, &one[HEADER_BYTES..], &mut frame).unwrap();
    let bomb = batch_of(count as i32, &frame.repeat(count), |header| header.attributes.0 = 4);
    assert!(bomb.len() < 50_000, "{}", bomb.len());
    bomb
}

#[test]
fn a_bomb_is_stopped_without_holding_it() {
    let bomb = bomb((UNPACKED_BYTES_MAX >> 20) as usize + 1);
    let mut scratch = Scratch::default();
    let refused = check_at(Depth::Records, Topic::Plain, &bomb, &mut scratch).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRecord);
    assert!(refused.message.contains("unpack to more than 67108864 bytes"), "{}", refused.message);
    assert_eq!(scratch.buffer.capacity(), BUFFER_BYTES);
}

#[test]
fn one_request_unpacks_so_much_and_not_more() {
    let bomb = bomb((UNPACKED_BYTES_MAX >> 20) as usize + 1);
    let small = packed(Compression::Zstd, &record(0), 1);
    let mut scratch = Scratch::default();
    scratch.begin_request(1000);
    let mut code = |bytes| {
        let code = check_at(Depth::Records, Topic::Plain, bytes, &mut scratch).map_or_else(|it| it.code.code(), |_| 0);
        (code, scratch.is_spent())
    };
    assert_eq!(
        [code(&small), code(&bomb), code(&bomb), code(&small)],
        [(0, false), (87, true), (19, true), (19, true)],
        "those that found nothing left are sent again"
    );
    scratch.begin_request(1000);
    assert!(check_at(Depth::Records, Topic::Plain, &small, &mut scratch).is_ok());
}

#[test]
fn the_first_batch_of_a_request_is_opened_whatever_the_request_may_unpack_to() {
    let small = packed(Compression::Zstd, &record(0), 1);
    let mut scratch = Scratch::default();
    scratch.begin_request(1000);
    scratch.left_bytes = 1;
    let mut check = || check_at(Depth::Records, Topic::Plain, &small, &mut scratch).map_err(|refused| refused.code);
    assert!(check().is_ok());
    assert_eq!(check().err(), Some(ErrorCode::NotEnoughReplicas));
}

#[test]
fn members_of_gzip_that_hold_nothing_are_not_for_nothing() {
    let (mut nothing, mut one) = (Vec::new(), Vec::new());
    compress(Compression::Gzip, None, &[], &mut nothing).unwrap();
    compress(Compression::Gzip, None, &record(0), &mut one).unwrap();
    let members = |count: u64| {
        let members = [nothing.repeat(count as usize), one.clone()].concat();
        batch_of(1, &members, |header| header.attributes.0 = 1)
    };
    let of_batch = UNPACKED_BYTES_MAX / GZIP_MEMBER_BYTES;
    let mut scratch = Scratch::default();
    scratch.begin_request(1000);
    let mut check = |count| {
        let checked = check_at(Depth::Records, Topic::Plain, &members(count), &mut scratch);
        (checked.map_or_else(|it| it.code.code(), |_| 0), scratch.is_spent())
    };
    assert_eq!(check(of_batch + 1), (-1, false), "one too many");
    assert_eq!(check(0), (0, true), "there is not enough left for a whole batch");
    assert_eq!(check(of_batch - 1), (0, true));
    assert_eq!(check(100), (19, true), "nothing is left");
}

#[test]
fn a_record_may_be_so_long() {
    let value = vec![0; LONGEST_RECORD];
    let told = |length: usize| {
        let mut one = BatchBuilder::new();
        one.push(NOW, None, Some(&value[..length]), &[]);
        let one = one.build().unwrap();
        check(Topic::Plain, &packed(Compression::Lz4, &one[HEADER_BYTES..], 1)).map(drop).map_err(|it| it.code)
    };
    assert_eq!(told(LONGEST_RECORD - 100), Ok(()));
    assert_eq!(told(LONGEST_RECORD), Err(ErrorCode::InvalidRecord));
}

#[test]
fn a_frame_that_reaches_too_far_back_is_not_opened() {
    let records = record(0);
    let block_header = ((records.len() as u32) << 3) | 1;
    for (window_log, expected) in [(20, 0), (23, 0), (24, -1), (27, -1)] {
        let head = [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3];
        let frame = [&head[..], &block_header.to_le_bytes()[..3], &records].concat();
        let batch = batch_of(1, &frame, |header| header.attributes.0 = 4);
        assert_eq!(code(Topic::Plain, &batch), expected, "2^{window_log}");
    }
}

#[test]
fn an_answer_lists_so_many_records_and_counts_all() {
    let count = RECORD_ERRORS_MAX + 5;
    let records: Vec<u8> = (0..count).flat_map(|n| keyless(n as i64)).collect();
    let refused = check(Topic::Compacted, &packed(Compression::Lz4, &records, count as i32)).unwrap_err();
    assert_eq!(refused.record_errors.len(), RECORD_ERRORS_MAX);
    assert!(refused.message.contains("due to 10005 record errors in total"), "{}", refused.message);
}

#[test]
fn a_batch_in_another_codec_than_the_topics_is_opened_and_packed_anew() {
    let records = [record(0), made_at(7, 1), made_at(3, 2)].concat();
    for target in Compression::ALL {
        for codec in Compression::ALL {
            let batch = packed(codec, &records, 3);
            let mut scratch = Scratch::default();
            let wanted = Some(Target { codec: target, level: None });
            let validated = check_for(wanted, Depth::Header, Topic::Plain, &batch, &mut scratch).unwrap();
            assert_eq!(validated.repacked.is_some(), codec != target, "{codec:?} {target:?}");
            let Some(repacked) = validated.repacked else { continue };
            let (repacked, _) = Batch::parse(&repacked).unwrap();
            assert_eq!((repacked.header().compression(), repacked.is_crc_valid()), (Some(target), true));
            let again = check_for(wanted, Depth::Records, Topic::Plain, repacked.bytes(), &mut scratch).unwrap();
            assert_eq!((again.max_timestamp, again.repacked), (validated.max_timestamp, None));
        }
    }
}

#[test]
fn what_is_wrong_inside_is_found_before_it_is_packed_anew() {
    let wanted = Some(Target { codec: Compression::Gzip, level: None });
    let refused = |batch: &[u8]| {
        let checked = check_for(wanted, Depth::Header, Topic::Plain, batch, &mut Scratch::default());
        checked.map(drop).map_err(|invalid| invalid.code)
    };
    assert_eq!(refused(&packed(Compression::Lz4, &record(0), 2)), Err(ErrorCode::InvalidRecord));
    assert_eq!(refused(&packed(Compression::Lz4, &record(1), 2)), Err(ErrorCode::InvalidRecord));
}

#[test]
fn what_is_too_long_in_the_topics_codec_is_refused() {
    let mut builder = BatchBuilder::new();
    builder.push(NOW, None, Some(&vec![0; LONGEST_BATCH]), &[]);
    let plain = builder.build().unwrap();
    let batch = packed(Compression::Zstd, &plain[HEADER_BYTES..], 1);
    let checked = |codec| {
        let wanted = Some(Target { codec, level: None });
        check_for(wanted, Depth::Header, Topic::Plain, &batch, &mut Scratch::default()).map(drop)
    };
    assert_eq!(checked(Compression::Gzip), Ok(()));
    let refused = checked(Compression::None).unwrap_err();
    assert_eq!(refused.code, ErrorCode::MessageTooLarge);
    assert!(refused.message.contains(&format!("batch size is {} bytes", plain.len())), "{}", refused.message);
}

#[test]
fn offsets_that_do_not_rise_one_by_one_are_numbered_anew_where_the_batch_is_packed_anew() {
    let records = [record(1), record(1)].concat();
    let wanted = |codec| Some(Target { codec, level: None });
    for codec in [Compression::None, Compression::Gzip] {
        let batch = packed(codec, &records, 2);
        let mut scratch = Scratch::default();
        let kept = check_for(wanted(codec), Depth::Records, Topic::Plain, &batch, &mut scratch).map(drop);
        let is_stored = codec == Compression::None;
        assert_eq!(kept.map_err(|it| it.code), if is_stored { Ok(()) } else { Err(ErrorCode::UnknownServerError) });
        let validated = check_for(wanted(Compression::Lz4), Depth::Header, Topic::Plain, &batch, &mut scratch).unwrap();
        let repacked = validated.repacked.unwrap();
        let mut unpacked = Vec::new();
        let (batch, _) = Batch::parse(&repacked).unwrap();
        let records = scratch.decompressor.records(&batch, LONGEST_BATCH, &mut unpacked).unwrap();
        assert_eq!(records.map(|record| record.unwrap().offset_delta).collect::<Vec<_>>(), [0, 1]);
    }
}
