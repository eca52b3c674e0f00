//! Topics with a `compression.type` of their own: what is stored of batches that were sent in another one.

use ottla_protocol::messages::fetch_request::{FetchRequest, Partition, Topic};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::records::compression::compress;
use ottla_protocol::records::{Batch, BatchBuilder, Batches, Compression, Decompressor, LENGTH_OVERHEAD_BYTES};
use ottla_protocol::{ApiKey, Records};

use super::producing::{patched, produce, sequenced};
use super::{Conversation, Session, batch_of, produce_request};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("compression-types", types),
    Conversation::new("compression-limits", limits),
    Conversation::new("compression-fetches", fetches),
];

/// Where the first record of a batch begins, and where its offset is when it and what is before it is short.
const FIRST_RECORD: usize = 61;
const FIRST_OFFSET_DELTA: usize = FIRST_RECORD + 3;
const LENGTH: usize = 8;
const ATTRIBUTES: usize = 21;
const UNPACKED_BYTES_MAX: usize = 1 << 20;
const TYPES: [&str; 6] = ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

/// Fetches the only partition of a topic, from its begin.
fn all_of(topic: &str) -> FetchRequest<'_> {
    let partition = Partition { partition_max_bytes: 1 << 20, current_leader_epoch: -1, ..Default::default() };
    FetchRequest {
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![Topic { topic: topic.into(), partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    }
}

/// Writes down what a partition holds: of each batch what does not depend on who packed it, and its records.
fn stored(session: &mut Session, topic: &str, with_times: bool) {
    let request = all_of(topic);
    let Some(answer) = session.ask(&format!("what {topic} holds"), ApiKey::Fetch, 11, &request) else { return };
    let mut response: FetchResponse<'_> = body(&answer, ApiKey::Fetch, 11);
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let Records::Bytes(bytes) = std::mem::take(&mut partition.records) else { continue };
        for batch in Batches::new(bytes) {
            describe(session, &batch.expect("whole batches"), with_times);
        }
    }
}

fn describe(session: &mut Session, batch: &Batch<'_>, with_times: bool) {
    let header = batch.header();
    let codec = header.compression().map_or("?", Compression::name);
    let times =
        if with_times { format!("{} to {}", header.base_timestamp, header.max_timestamp) } else { String::new() };
    session.line(&format!(
        "  {} to {}: {codec}, {:?}, attributes {:#x}, producer {} {} {}, {} records, checksum {}, {times}",
        header.base_offset,
        header.last_offset(),
        header.attributes.timestamp_type(),
        header.attributes.0,
        header.producer_id,
        header.producer_epoch.0,
        header.base_sequence,
        header.record_count,
        batch.is_crc_valid(),
    ));
    let mut unpacked = Vec::new();
    let mut decompressor = Decompressor::default();
    match decompressor.records(batch, UNPACKED_BYTES_MAX, &mut unpacked) {
        Err(error) => session.line(&format!("    {error}")),
        Ok(records) => records.for_each(|record| match record {
            Err(error) => session.line(&format!("    {error}")),
            Ok(record) => {
                let time = if with_times { record.timestamp } else { 0 };
                let headers: Vec<_> = record.headers.iter().collect();
                let (key, length) = (record.key, record.value.map(<[u8]>::len));
                session.line(&format!("    {} {time} {key:?} {length:?} {headers:?}", record.offset));
            }
        }),
    }
}

fn packed(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    builder.push(1005, Some(b"k"), Some(&[b'v'; 300]), &[(b"h", Some(b"1")), (b"h", None)]);
    builder.push(1001, None, None, &[]);
    builder.push(1009, Some(b""), Some(b""), &[]);
    builder.build().expect("there is memory")
}

/// A batch in `codec`, with the records of one that is in none.
fn repacked(plain: &[u8], codec: Compression) -> Vec<u8> {
    let mut batch = plain[..FIRST_RECORD].to_vec();
    compress(codec, None, &plain[FIRST_RECORD..], &mut batch).expect("there is memory");
    let length = i32::try_from(batch.len() - LENGTH_OVERHEAD_BYTES).expect("it is short");
    batch[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    patched(&batch, ATTRIBUTES, &i16::from(codec.id()).to_be_bytes())
}

fn types(session: &mut Session) {
    for kind in TYPES {
        let topic = format!("packed-{kind}");
        session.topic(&topic, 1, &[("compression.type", kind)]);
        for codec in Compression::ALL {
            produce(session, codec.name(), 9, &produce_request(&topic, 0, -1, &packed(codec)));
        }
        for what in ["with a producer's id", "again"] {
            let batch = sequenced(4_300_000, 2, 0, 2);
            produce(session, what, 9, &produce_request(&topic, 0, -1, &batch));
        }
        stored(session, &topic, true);
        let (by_log, compacted) = (format!("packed-log-{kind}"), format!("packed-keys-{kind}"));
        session.topic(&by_log, 1, &[("compression.type", kind), ("message.timestamp.type", "LogAppendTime")]);
        session.tell(
            "times of its own",
            ApiKey::Produce,
            9,
            &produce_request(&by_log, 0, 0, &packed(Compression::None)),
        );
        session.note_whether_open();
        stored(session, &by_log, false);
        session.topic(&compacted, 1, &[("compression.type", kind), ("cleanup.policy", "compact")]);
        for codec in [Compression::None, Compression::Lz4] {
            produce(session, "no key", 9, &produce_request(&compacted, 0, -1, &packed(codec)));
        }
    }
}

fn limits(session: &mut Session) {
    let lines = "the same words again and again, ".repeat(100);
    let mut builder = BatchBuilder::new().compression(Compression::Gzip, None);
    builder.push(1000, None, Some(lines.as_bytes()), &[]);
    let gzip = builder.build().expect("there is memory");
    let plain = batch_of(&[(1000, "one"), (1001, "two")]);
    let odd = |value: u8| patched(&plain, FIRST_OFFSET_DELTA, &[value]);
    let attributes = |bits: i16| patched(&plain, ATTRIBUTES, &bits.to_be_bytes());
    let (odd_gzip, odd_zstd) = (repacked(&odd(2), Compression::Gzip), repacked(&odd(2), Compression::Zstd));
    for kind in ["uncompressed", "lz4", "zstd"] {
        let topic = format!("packed-limit-{kind}");
        session.topic(&topic, 1, &[("compression.type", kind), ("max.message.bytes", "1000")]);
        produce(session, "gzip that unpacks to more than max.message.bytes", 9, &produce_request(&topic, 0, -1, &gzip));
        produce(session, "larger when it comes", 9, &produce_request(&topic, 0, -1, &batch_of(&[(1, &lines)])));
        for (what, batch) in [
            ("gzip that is none", attributes(1)),
            ("unknown attributes", attributes(0x0180)),
            ("a delete horizon", attributes(0x40)),
            ("a record with attributes", patched(&plain, FIRST_RECORD + 1, &[1])),
            ("a record longer than the batch", patched(&plain, FIRST_RECORD, &[0x7e])),
            ("no base time", patched(&plain, 27, &(-1_i64).to_be_bytes())),
            ("a wrong largest time", patched(&plain, 35, &9_999_i64.to_be_bytes())),
            ("offsets 1 and 1", odd(2)),
            ("offsets 1 and 1 in gzip", odd_gzip.clone()),
            ("offsets 1 and 1 in zstd", odd_zstd.clone()),
        ] {
            produce(session, what, 9, &produce_request(&topic, 0, -1, &batch));
        }
        stored(session, &topic, true);
    }
    session.topic("packed-segment", 1, &[("compression.type", "uncompressed"), ("segment.bytes", "1048576")]);
    let mut builder = BatchBuilder::new().compression(Compression::Gzip, None);
    builder.push(1000, None, Some(&vec![b'x'; 1_048_500]), &[]);
    let gzip = builder.build().expect("there is memory");
    produce(session, "gzip that unpacks to more than a segment", 9, &produce_request("packed-segment", 0, -1, &gzip));
}

/// Readers from before zstd are given it all the same.
fn fetches(session: &mut Session) {
    session.topic("packed-for-old", 1, &[("compression.type", "zstd")]);
    session.topic("sent-for-old", 1, &[]);
    for topic in ["packed-for-old", "sent-for-old"] {
        produce(session, topic, 9, &produce_request(topic, 0, -1, &packed(Compression::Zstd)));
        for version in [4, 9, 10] {
            let request = all_of(topic);
            let Some(answer) = session.ask(topic, ApiKey::Fetch, version, &request) else { continue };
            let mut response: FetchResponse<'_> = body(&answer, ApiKey::Fetch, version);
            for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.records = Records::Null;
            }
            session.note(&response);
        }
    }
}
