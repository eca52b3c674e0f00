//! `__consumer_offsets` for programs that were made before Kafka wrote commits as it does now: monitors of lag, which
//! decode the log themselves.
//!
//! Differs from Kafka: on disk commits are Kafka 4's, in version 4, which names the topic's id in a tagged field. A reader
//! whose Fetch is from before flexible versions cannot know that form, and is given the value in version 3. Kafka gives
//! it the bytes as they are, and Burrow then finds no groups at all.

use std::borrow::Cow;
use std::io;

use ottla_coordinator::group::value_without_tags;
use ottla_protocol::records::batch::Batches;
use ottla_protocol::records::{Decompressor, Record, rewrite};
use ottla_storage::{LogSlice, os};

/// The first version of Fetch that is flexible.
pub const FLEXIBLE_FETCH_FROM: i16 = 12;
/// How much of the log one Fetch of an old reader is given: it passes through memory.
pub const FETCH_MAX_BYTES: u32 = 1 << 20;
/// A batch that unpacks to more is given as it is.
const UNPACKED_BYTES_MAX: usize = 4 << 20;

/// The whole batches of `slice`, for such a reader.
pub fn batches(slice: &LogSlice) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; slice.length as usize];
    os::read_exact_at(&slice.file, &mut bytes, slice.position)?;
    Ok(rewritten(&bytes))
}

/// What is no batch is given as it is: its reader is to see that it is damaged.
fn rewritten(bytes: &[u8]) -> Vec<u8> {
    let mut decompressor = Decompressor::default();
    let mut out = Vec::with_capacity(bytes.len());
    let mut read = 0;
    for batch in Batches::new(bytes) {
        let Ok(batch) = batch else {
            out.extend_from_slice(&bytes[read..]);
            break;
        };
        read += batch.bytes().len();
        let is_data = !batch.header().attributes.is_control() && batch.is_crc_valid();
        let new = is_data.then(|| rewrite::with_values(&batch, &mut decompressor, UNPACKED_BYTES_MAX, value)).flatten();
        out.extend_from_slice(new.as_deref().unwrap_or(batch.bytes()));
    }
    out
}

fn value<'r>(record: &Record<'r>) -> Option<Cow<'r, [u8]>> {
    let value = record.value?;
    Some(value_without_tags(record.key.unwrap_or_default(), value).map_or(Cow::Borrowed(value), Cow::Owned))
}

#[cfg(test)]
mod tests {
    use ottla_base::{Offset, Uuid};
    use ottla_coordinator::group::{self, CommittedOffset};
    use ottla_protocol::records::{Batch, BatchBuilder};

    use super::*;

    fn batch(at: i64, value: Option<&[u8]>) -> Vec<u8> {
        let offset = CommittedOffset {
            offset: 42,
            leader_epoch: 3,
            metadata: "note".into(),
            commit_timestamp_ms: 1_000_000,
            expire_timestamp_ms: None,
            topic_id: Uuid(5),
        };
        let record = group::Record::Offset { group: "g".into(), topic: "t".into(), partition: 0, value: Some(offset) };
        let (key, new) = record.encode();
        let mut builder = BatchBuilder::new().base_offset(Offset(at));
        builder.push(1, Some(&key), value.or(new.as_deref()), &[]).push(2, Some(&key), None, &[]);
        builder.build().expect("memory")
    }

    #[test]
    fn commits_are_given_without_tags_and_all_else_as_it_is() {
        let bytes = [batch(0, None), batch(2, Some(&[9, 9]))].concat();
        let out = rewritten(&bytes);
        let (first, rest) = Batch::parse(&out).expect("whole");
        let record = ottla_protocol::records::RecordIter::new(first.header(), first.records()).next();
        let value = record.expect("two").expect("well formed").value.expect("a commit");
        assert_eq!((&value[..2], value[9], first.is_crc_valid()), (&[0, 3][..], 42, true));
        assert_eq!(rest, batch(2, Some(&[9, 9])));
    }

    #[test]
    fn a_batch_cut_short_is_left_out_and_a_damaged_one_given_as_it_is() {
        let mut bytes = batch(0, Some(&[9, 9]));
        let whole = bytes.len();
        bytes.extend_from_slice(&batch(2, None)[..50]);
        assert_eq!(rewritten(&bytes), bytes[..whole]);
        let mut damaged = batch(0, None);
        *damaged.last_mut().expect("it is not empty") ^= 1;
        assert_eq!(rewritten(&damaged), damaged);
        damaged[16] = 1;
        assert_eq!(rewritten(&damaged), damaged, "a format of old");
    }
}
