//! What is there after all, against what was acknowledged.

use std::collections::BTreeMap;

use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::records::compression::Decompressor;
use ottla_protocol::records::{Batches, RecordIter};
use ottla_protocol::{ApiKey, Records};

use super::follower::Follower;
use super::producer::{Producer, number_of};
use super::{Outcome, PARTITIONS, Stage, TOPIC};
use crate::group_requests as requests;
use crate::raw::{RawClient, body};

const FETCH: i16 = 12;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A batch as it lies in the log.
#[derive(Clone, Debug)]
pub struct Stored {
    base: i64,
    pub end: i64,
    crc: u32,
    /// Whose records, and their numbers.
    records: Vec<(usize, u64)>,
}

/// All batches of all partitions; what is wrong with one by itself is told.
pub fn read_all(client: &mut RawClient, stage: &Stage) -> BTreeMap<i32, Vec<Stored>> {
    (0..PARTITIONS).map(|partition| (partition, read_partition(client, partition, stage))).collect()
}

fn read_partition(client: &mut RawClient, partition: i32, stage: &Stage) -> Vec<Stored> {
    let (mut stored, mut position) = (Vec::new(), 0);
    let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
    loop {
        let request = requests::fetch_request(TOPIC, std::iter::once((partition, position)), 0);
        let answer = client.ask(ApiKey::Fetch, FETCH, &request).expect("nobody kills the broker now");
        let response: FetchResponse<'_> = body(&answer, ApiKey::Fetch, FETCH);
        let data = &response.responses[0].partitions[0];
        if data.error_code != 0 {
            stage.wrong(format!("partition {partition}: a Fetch from {position} has error {}", data.error_code));
            return stored;
        }
        let before = position;
        let Records::Bytes(bytes) = data.records else { return stored };
        for batch in Batches::new(bytes).map_while(Result::ok) {
            let (header, wrong) = (batch.header(), |what: &str| stage.wrong(format!("partition {partition}: {what}")));
            let (base, end) = (header.base_offset.0, header.next_offset().0);
            if base != position {
                wrong(&format!("the offsets from {position} to {base} are missing"));
            }
            if !batch.is_crc_valid() {
                wrong(&format!("the batch at {base} has a wrong checksum"));
            }
            unpacked.clear();
            let codec = header.compression().expect("it is one of ours");
            decompressor.decompress(codec, batch.records(), BATCH_BYTES_MAX, &mut unpacked).expect("it is whole");
            let values = RecordIter::new(header, &unpacked).map(|record| record.expect("it is whole").value);
            let records: Option<Vec<_>> = values.map(|value| number_of(value?)).collect();
            let Some(records) = records else {
                wrong(&format!("the batch at {base} is not what anybody wrote"));
                return stored;
            };
            stored.push(Stored { base, end, crc: header.crc, records });
            position = end;
        }
        if position == before {
            return stored;
        }
    }
}

/// Tells of every promise that was broken.
pub fn check(
    stored: &BTreeMap<i32, Vec<Stored>>,
    producers: &[Producer],
    follower: &Follower,
    stage: &Stage,
    outcome: &mut Outcome,
) {
    for producer in producers {
        check_producer(&stored[&producer.partition()], producer, stage, outcome);
    }
    for (partition, seen) in &follower.seen {
        let there: BTreeMap<i64, u32> = stored[partition].iter().map(|batch| (batch.base, batch.crc)).collect();
        if let Some((base, _)) = seen.iter().find(|(base, crc)| there.get(base) != Some(crc)) {
            stage.wrong(format!("partition {partition}: the batch that the group was given at {base} is not there"));
        }
    }
    outcome.commits = follower.commits;
}

/// Every record of a producer is there in order, those that were acknowledged where that was said, and once if the producer
/// numbers them.
fn check_producer(stored: &[Stored], producer: &Producer, stage: &Stage, outcome: &mut Outcome) {
    let wrong = |what: String| stage.wrong(format!("producer {} ({:?}): {what}", producer.number, producer.kind));
    let mut acknowledged = producer.acknowledged.iter().peekable();
    let mut next = 0;
    for batch in stored {
        for (&(writer, number), offset) in batch.records.iter().zip(batch.base..) {
            if writer != producer.number {
                continue;
            }
            if number > next || (number < next && producer.kind.is_idempotent) {
                return wrong(format!("record {number} is at {offset}, where {next} should be"));
            }
            outcome.doubled += u64::from(number < next);
            next = next.max(number + 1);
            if let Some(told) = acknowledged.peek()
                && offset >= told.base_offset
            {
                if number != told.first + (offset - told.base_offset) as u64 {
                    return wrong(format!("record {number} is at {offset}, where another was acknowledged: {told:?}"));
                }
                if offset == told.base_offset + told.count as i64 - 1 {
                    acknowledged.next();
                }
            }
        }
    }
    if let Some(lost) = acknowledged.next() {
        wrong(format!("what was acknowledged is not there: {lost:?}"));
    }
}
