//! Producing: what is appended, what is refused and how, and what a producer with an id may send.

use ottla_base::{ProducerEpoch, ProducerId, Uuid};
use ottla_protocol::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::{BatchBuilder, Compression, crc_of};
use ottla_protocol::{ApiKey, Records};

use super::{Conversation, Session, batch_of, produce_request};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("produce-versions", versions),
    Conversation::new("produce-requests", requests),
    Conversation::new("produce-batches", batches),
    Conversation::new("produce-records", records),
    Conversation::new("produce-codecs", codecs),
    Conversation::new("produce-idempotent", idempotent),
    Conversation::new("produce-append-time", append_time),
];

/// Where fields of a batch lie.
const BASE_OFFSET: usize = 0;
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const COUNT: usize = 57;

/// The batch with other bytes at a place, and the checksum that goes with them.
pub(super) fn patched(batch: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc_of(&batch);
    batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// Produces; the order of partitions in the answer means nothing.
pub(super) fn produce(session: &mut Session, what: &str, version: i16, request: &ProduceRequest<'_>) {
    let Some(answer) = session.ask(what, ApiKey::Produce, version, request) else { return };
    let mut response: ProduceResponse<'_> = body(&answer, ApiKey::Produce, version);
    response.responses.iter_mut().for_each(|topic| topic.partition_responses.sort_by_key(|partition| partition.index));
    response.responses.sort_by(|a, b| a.name.cmp(&b.name));
    session.note(&response);
}

fn versions(session: &mut Session) {
    session.topic("produce-v", 2, &[]);
    let id = session.id_of("produce-v");
    let batch = batch_of(&[(1000, "one"), (1001, "two")]);
    for version in 3..=13 {
        for acks in [1, -1] {
            let mut request = produce_request("produce-v", 0, acks, &batch);
            if version >= 13 {
                request.topic_data[0].name = "".into();
                request.topic_data[0].topic_id = id;
            }
            produce(session, &format!("acks {acks}"), version, &request);
            request.topic_data[0].partition_data[0].index = 7;
            produce(session, &format!("acks {acks}, to a partition that is not there"), version, &request);
        }
    }
    let mut request = produce_request("", 0, 1, &batch);
    request.topic_data[0].topic_id = Uuid(5);
    produce(session, "an unknown topic id", 13, &request);
    request.topic_data[0].topic_id = Uuid(0);
    produce(session, "no topic id", 13, &request);
}

fn requests(session: &mut Session) {
    session.topic("produce-r", 2, &[]);
    let batch = batch_of(&[(1000, "one")]);
    for acks in [2, -2, 7] {
        produce(session, &format!("acks {acks}"), 9, &produce_request("produce-r", 0, acks, &batch));
    }
    produce(session, "a topic that is not there", 9, &produce_request("produce-none", 0, 1, &batch));
    produce(session, "a bad name", 9, &produce_request("produce bad", 0, 1, &batch));
    produce(session, "partition -1", 9, &produce_request("produce-r", -1, 1, &batch));
    produce(session, "no records at all", 9, &produce_request("produce-r", 0, 1, &[]));
    let twice = [&batch[..], &batch[..]].concat();
    produce(session, "two batches", 9, &produce_request("produce-r", 0, 1, &twice));
    for (what, partition, bytes) in [("partition 9", 9, &batch[..]), ("two batches", 0, &twice), ("no records", 0, &[])]
    {
        produce(session, &format!("acks 2, {what}"), 9, &produce_request("produce-r", partition, 2, bytes));
    }
    let no_topics = ProduceRequest { topic_data: vec![], ..produce_request("produce-r", 0, 1, &batch) };
    produce(session, "no topics", 9, &no_topics);
    let mut no_partitions = produce_request("produce-r", 0, 1, &batch);
    no_partitions.topic_data[0].partition_data.clear();
    produce(session, "no partitions", 9, &no_partitions);
    let mut several = produce_request("produce-r", 0, 1, &batch);
    several.topic_data[0].partition_data.push(PartitionData { index: 1, records: Records::Bytes(&batch) });
    several.topic_data[0].partition_data.push(PartitionData { index: 2, records: Records::Bytes(&batch) });
    several.topic_data.push(TopicData {
        name: "produce-none".into(),
        partition_data: vec![PartitionData { index: 0, records: Records::Bytes(&batch) }],
        ..Default::default()
    });
    produce(session, "two that are there, two that are not", 9, &several);
    let transactional =
        ProduceRequest { transactional_id: Some("t".into()), ..produce_request("produce-r", 0, -1, &batch) };
    produce(session, "a transactional id, a batch that is not transactional", 9, &transactional);
    session.tell("acks 0", ApiKey::Produce, 9, &produce_request("produce-r", 0, 0, &batch));
    session.note_whether_open();
    session.tell(
        "acks 0, a partition that is not there",
        ApiKey::Produce,
        9,
        &produce_request("produce-r", 9, 0, &batch),
    );
    session.note_whether_open();
    session.tell(
        "acks 0, a topic that is not there",
        ApiKey::Produce,
        9,
        &produce_request("produce-none", 0, 0, &batch),
    );
    session.note_whether_open();
    produce(session, "after that", 9, &produce_request("produce-r", 0, 1, &batch));
}

fn batches(session: &mut Session) {
    session.topic("produce-b", 1, &[("max.message.bytes", "2000"), ("segment.bytes", "1048576")]);
    let good = batch_of(&[(1000, "one"), (1001, "two")]);
    let mut wrong_crc = good.clone();
    wrong_crc[CRC] ^= 1;
    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let with_length = |length: i32| {
        let mut batch = good.clone();
        batch[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        batch
    };
    let magic = |magic: u8| patched(&good, MAGIC, &[magic]);
    let attributes = |bits: i16| patched(&good, ATTRIBUTES, &bits.to_be_bytes());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("good", good.clone()),
        ("a wrong checksum", wrong_crc),
        ("a flipped bit", flipped),
        ("base offset 7", patched(&good, BASE_OFFSET, &7_i64.to_be_bytes())),
        ("magic 0", magic(0)),
        ("magic 1", magic(1)),
        ("magic 3", magic(3)),
        ("magic -1", magic(0xff)),
        ("cut short", good[..good.len() - 5].to_vec()),
        ("less than a header", good[..40].to_vec()),
        ("twelve bytes", good[..12].to_vec()),
        ("length 0", with_length(0)),
        ("length -1", with_length(-1)),
        ("length 48", with_length(48)),
        ("a length beyond the end", with_length(100_000)),
        ("a tail behind it", [&good[..], &[0; 9]].concat()),
        ("no records in it", patched(&good, COUNT, &0_i32.to_be_bytes())),
        ("a negative count", patched(&good, COUNT, &(-1_i32).to_be_bytes())),
        ("a count that is too large", patched(&good, COUNT, &3_i32.to_be_bytes())),
        ("a count that is too small", patched(&good, COUNT, &1_i32.to_be_bytes())),
        ("a wrong last offset", patched(&good, LAST_OFFSET_DELTA, &5_i32.to_be_bytes())),
        ("a negative last offset", patched(&good, LAST_OFFSET_DELTA, &(-1_i32).to_be_bytes())),
        ("a count and a last offset that are both too large", {
            let batch = patched(&good, COUNT, &3_i32.to_be_bytes());
            patched(&batch, LAST_OFFSET_DELTA, &2_i32.to_be_bytes())
        }),
        ("control", attributes(0x20)),
        ("transactional, without a transactional id", attributes(0x10)),
        ("an unknown codec", attributes(5)),
        ("gzip that is none", attributes(1)),
        ("snappy that is none", attributes(2)),
        ("lz4 that is none", attributes(3)),
        ("zstd that is none", attributes(4)),
        ("the time of the append", attributes(8)),
        ("unknown attributes", attributes(0x0100)),
        ("a wrong largest time", patched(&good, MAX_TIMESTAMP, &9_999_i64.to_be_bytes())),
        ("no base time", patched(&good, BASE_TIMESTAMP, &(-1_i64).to_be_bytes())),
        ("larger than max.message.bytes", batch_of(&[(1, &"x".repeat(2000))])),
    ];
    for (what, batch) in cases {
        produce(session, what, 9, &produce_request("produce-b", 0, -1, &batch));
    }
    for version in [3, 6, 7] {
        let mut builder = BatchBuilder::new().compression(Compression::Zstd, None);
        builder.push(1000, None, Some(b"v"), &[]);
        let zstd = builder.build().expect("there is memory");
        produce(session, "zstd", version, &produce_request("produce-b", 0, 1, &zstd));
    }
}

fn records(session: &mut Session) {
    session.topic("produce-compacted", 1, &[("cleanup.policy", "compact")]);
    let mut builder = BatchBuilder::new();
    for key in [Some(&b"k"[..]), None, Some(b""), None, None, None, None] {
        builder.push(1000, key, Some(b"v"), &[]);
    }
    let keyless = builder.build().expect("there is memory");
    let bounds =
        [("message.timestamp.after.max.ms", "1000"), ("message.timestamp.before.max.ms", "9223372036854775807")];
    session.topic("produce-bounds", 1, &bounds);
    let late = batch_of(&[(4_000_000_000_000, "late"), (1, "early"), (-1, "without a time")]);
    for version in [3, 7, 8, 9] {
        produce(session, "no keys", version, &produce_request("produce-compacted", 0, 1, &keyless));
        produce(session, "a time too late", version, &produce_request("produce-bounds", 0, 1, &late));
    }
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd, Compression::Snappy] {
        let mut builder = BatchBuilder::new().compression(codec, None);
        for key in [Some(&b"k"[..]), None] {
            builder.push(1000, key, Some(b"v"), &[]);
        }
        let keyless = builder.build().expect("there is memory");
        let what = format!("a record without a key, in {}", codec.name());
        produce(session, &what, 9, &produce_request("produce-compacted", 0, 1, &keyless));
    }
    let mut tombstone = BatchBuilder::new();
    tombstone.push(1000, Some(b"k"), None, &[("h".as_bytes(), None), ("h".as_bytes(), Some(b"2"))]);
    let tombstone = tombstone.build().expect("there is memory");
    produce(session, "no value, a header twice", 9, &produce_request("produce-compacted", 0, 1, &tombstone));
    let good = batch_of(&[(1000, "one")]);
    let first_record = 61;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a record longer than the batch", patched(&good, first_record, &[0x7e])),
        ("a record of negative length", patched(&good, first_record, &[0x01])),
        ("a record of no length", patched(&good, first_record, &[0])),
        ("a record with attributes", patched(&good, first_record + 1, &[1])),
        ("a key longer than the record", patched(&good, first_record + 4, &[0x7e])),
        ("a key of length -2", patched(&good, first_record + 4, &[0x03])),
    ];
    for (what, batch) in cases {
        produce(session, what, 9, &produce_request("produce-bounds", 0, 1, &batch));
    }
}

fn codecs(session: &mut Session) {
    session.topic("produce-codecs", 1, &[]);
    for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut builder = BatchBuilder::new().compression(codec, None);
        for number in 0..50 {
            builder.push(1000 + number, Some(b"key"), Some(&[b'v'; 100]), &[(b"h", Some(b"1"))]);
        }
        let batch = builder.build().expect("there is memory");
        produce(session, codec.name(), 9, &produce_request("produce-codecs", 0, -1, &batch));
    }
}

pub(super) fn sequenced(id: i64, epoch: i16, sequence: i32, count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), sequence);
    for _ in 0..count {
        builder.push(1000, None, Some(b"v"), &[]);
    }
    builder.build().expect("there is memory")
}

fn idempotent(session: &mut Session) {
    session.topic("produce-i", 1, &[]);
    let id = 4_000_000;
    let steps: &[(&str, i64, i16, i32, usize)] = &[
        ("first", id, 0, 0, 1),
        ("second", id, 0, 1, 1),
        ("third", id, 0, 2, 3),
        ("then", id, 0, 5, 1),
        ("then", id, 0, 6, 1),
        ("then", id, 0, 7, 1),
        ("the last again", id, 0, 7, 1),
        ("five back again", id, 0, 2, 3),
        ("six back again", id, 0, 1, 1),
        ("part of one again", id, 0, 3, 1),
        ("a gap", id, 0, 9, 1),
        ("what is due", id, 0, 8, 1),
        ("a new epoch, not from 0 on", id, 1, 3, 1),
        ("a new epoch", id, 1, 0, 1),
        ("the old epoch", id, 0, 9, 1),
        ("another id, not from 0 on", id + 1, 0, 9, 1),
        ("another id, from there on", id + 1, 0, 10, 1),
        ("near the end of the numbers", id + 2, 0, i32::MAX - 1, 1),
        ("over the end", id + 2, 0, i32::MAX, 3),
        ("behind the end", id + 2, 0, 2, 1),
        ("over the end again", id + 2, 0, i32::MAX, 3),
        ("a negative sequence", id + 3, 0, -1, 1),
        ("a sequence of -2", id + 3, 0, -2, 1),
        ("a negative epoch", id + 3, -1, 0, 1),
        ("a producer id of -2", -2, 0, 0, 1),
    ];
    for (what, id, epoch, sequence, count) in steps {
        let batch = sequenced(*id, *epoch, *sequence, *count);
        produce(session, what, 9, &produce_request("produce-i", 0, -1, &batch));
    }
}

fn append_time(session: &mut Session) {
    session.topic("produce-t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let batch = batch_of(&[(1000, "one"), (4_000_000_000_000, "two")]);
    for version in [3, 9, 12] {
        produce(session, "times of its own", version, &produce_request("produce-t", 0, 1, &batch));
    }
    let batch = sequenced(4_100_000, 0, 0, 2);
    for what in ["with a producer's id", "again"] {
        produce(session, what, 9, &produce_request("produce-t", 0, 1, &batch));
    }
}
