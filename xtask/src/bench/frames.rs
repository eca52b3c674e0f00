//! Requests as bytes, built once and patched in place, so that sending one costs no more than a `write`.
//!
//! ```text
//! 0        4       6         8                12
//! | length | key | version | correlation id | client id, body ...
//! ```

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_protocol::frame::{RequestHeader, read_response_header};
use ottla_protocol::messages::fetch_request::{self, FetchRequest};
use ottla_protocol::messages::produce_request::{self, ProduceRequest};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::records::{BatchBuilder, Compression};
use ottla_protocol::{ApiKey, ErrorCode, Message, Reader, Records, Writer};

/// The oldest version that every broker here has and that a batch of any codec may travel in.
pub const PRODUCE_VERSION: i16 = 9;
/// The newest version without tags: its answer can be read field by field, and its records thrown away.
pub const FETCH_VERSION: i16 = 11;
const CORRELATION_AT: usize = 8;
/// What follows a partition's fetch offset in a request for one partition: log start offset, most bytes.
const AFTER_FETCH_OFFSET: usize = 8 + 4;
/// What a partition's part of a fetch request takes.
const FETCH_PARTITION_BYTES: usize = 4 + 4 + 8 + AFTER_FETCH_OFFSET;
/// What comes after the partitions of the only topic: no forgotten topics, no rack.
const AFTER_FETCH_PARTITIONS: usize = 4 + 2;
/// A fetch waits at most this long for data.
const MAX_WAIT_MS: i32 = 500;
/// What the Java consumer asks for at most, in all and for each partition.
const MAX_BYTES: i32 = 50 << 20;
pub const PARTITION_MAX_BYTES: i32 = 1 << 20;

/// A request of any kind.
pub fn request<'m, M: Message<'m>>(message: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.begin_frame();
    let header = RequestHeader {
        api_key: M::KEY,
        api_version: version,
        correlation_id: 0,
        client_id: Some("ottla-bench".into()),
    };
    header.encode(&mut writer);
    message.encode(&mut writer, version);
    writer.finish_frame();
    writer.buffer
}

/// Gives a request another correlation id.
pub fn set_correlation(request: &mut [u8], id: u32) {
    request[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&id.to_be_bytes());
}

/// The correlation id of an answer, which begins with it.
pub fn correlation(answer: &[u8]) -> io::Result<u32> {
    let bytes = answer.first_chunk().ok_or_else(|| io::Error::other("an answer without a correlation id"))?;
    Ok(u32::from_be_bytes(*bytes))
}

/// Decodes an answer.
pub fn answer<'m, M: Message<'m>>(answer: &'m [u8], version: i16) -> io::Result<M> {
    let api = ApiKey::from_code(M::KEY).expect("a response has its request's key");
    let mut reader = Reader::new(answer);
    read_response_header(&mut reader, api, version)
        .and_then(|_| M::decode(&mut reader, version))
        .map_err(|error| io::Error::other(format!("an answer that cannot be read: {error:?}")))
}

/// Fails unless a Produce request with one batch was granted.
pub fn check_produced(bytes: &[u8]) -> io::Result<()> {
    let produced: ProduceResponse<'_> = answer(bytes, PRODUCE_VERSION)?;
    match produced.responses.iter().flat_map(|topic| &topic.partition_responses).next() {
        Some(partition) if partition.error_code == 0 => Ok(()),
        Some(partition) => Err(io::Error::other(format!("producing: {}", error_name(partition.error_code)))),
        None => Err(io::Error::other("a produce answer without a partition")),
    }
}

/// The name of an error code, for a person.
pub fn error_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |error| error.name().to_owned())
}

/// A batch of records that are alike, and how many they are.
pub struct Batch {
    pub bytes: Vec<u8>,
    pub records: u64,
}

/// As many records of `record_bytes` each as fill `batch_bytes` before they are packed, at least one.
pub fn batch(record_bytes: usize, batch_bytes: usize, codec: Compression) -> io::Result<Batch> {
    let mut lines = Vec::new();
    crate::weblog::write(&mut lines, 1, 2 + (batch_bytes.max(record_bytes) / 100) as u64)?;
    let mut builder = BatchBuilder::new().compression(codec, None);
    let mut values = lines.chunks_exact(record_bytes).cycle();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_millis() as i64;
    loop {
        builder.push(now_ms, None, values.next(), &[]);
        let one = builder.size_bytes() / builder.count();
        if builder.size_bytes() + one > batch_bytes {
            break;
        }
    }
    Ok(Batch { bytes: builder.build()?, records: builder.count() as u64 })
}

/// A Produce request with one batch for one partition.
pub fn produce(topic: &str, partition: i32, acks: i16, batch: &Batch) -> Vec<u8> {
    let data = produce_request::PartitionData { index: partition, records: Records::Bytes(&batch.bytes) };
    let topic = produce_request::TopicData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    request(
        &ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() },
        PRODUCE_VERSION,
    )
}

/// A Fetch request for partitions of one topic, each from offset 0, outside any session.
pub fn fetch(topic: &str, partitions: &[i32]) -> Vec<u8> {
    let partition = |&partition| fetch_request::Partition {
        partition,
        current_leader_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: PARTITION_MAX_BYTES,
        ..Default::default()
    };
    let topic = fetch_request::Topic {
        topic: topic.into(),
        partitions: partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    let fetch = FetchRequest {
        max_wait_ms: MAX_WAIT_MS,
        min_bytes: 1,
        max_bytes: MAX_BYTES,
        topics: vec![topic],
        ..Default::default()
    };
    request(&fetch, FETCH_VERSION)
}

/// Changes where a Fetch request for `count` partitions reads the one at `index`.
pub fn set_fetch_offset(request: &mut [u8], count: usize, index: usize, offset: u64) {
    let end = request.len() - AFTER_FETCH_PARTITIONS - (count - index - 1) * FETCH_PARTITION_BYTES;
    let at = end - AFTER_FETCH_OFFSET - 8;
    request[at..at + 8].copy_from_slice(&offset.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use ottla_protocol::frame::SIZE_LENGTH;

    use super::*;

    #[test]
    fn the_offset_of_each_partition_is_found() {
        let mut request = fetch("topic", &[4, 5, 6]);
        for (index, offset) in [70, 80, 90].into_iter().enumerate() {
            set_fetch_offset(&mut request, 3, index, offset);
        }
        let (_, body) = RequestHeader::decode(&request[SIZE_LENGTH..]).unwrap();
        let decoded = FetchRequest::decode(&mut Reader::new(body), FETCH_VERSION).unwrap();
        let found: Vec<_> = decoded.topics[0].partitions.iter().map(|one| (one.partition, one.fetch_offset)).collect();
        assert_eq!(found, [(4, 70), (5, 80), (6, 90)]);
    }

    #[test]
    fn a_batch_holds_as_many_records_as_fit() {
        let batch = batch(1000, 16_384, Compression::None).unwrap();
        assert_eq!(batch.records, 16);
        assert!(batch.bytes.len() <= 16_384, "{}", batch.bytes.len());
    }
}
