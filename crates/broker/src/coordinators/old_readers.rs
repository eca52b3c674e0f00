//! `__consumer_offsets` for programs that were made before Kafka wrote commits as it does now: monitors of lag, which
//! decode the log themselves.
//!
//! Differs from Kafka: on disk commits are Kafka 4's, in version 4, which names the topic's id in a tagged field. A reader
//! whose Fetch is from before flexible versions cannot know that form, and is given the value in version 3. Kafka gives
//! it the bytes as they are, and Burrow then finds no groups at all. What was compressed comes out unpacked, so an answer may
//! end sooner than Kafka's, after any batch but the first: its reader goes on from there.

use std::borrow::Cow;
use std::io;

use ottla_coordinator::group::value_without_tags;
use ottla_protocol::records::batch::Batches;
use ottla_protocol::records::{Batch, Compression, Decompressor, Record, rewrite};
use ottla_storage::{LogSlice, os};

/// The first version of Fetch that is flexible.
pub const FLEXIBLE_FETCH_FROM: i16 = 12;
/// How much of the log one Fetch of an old reader is given, as it lies there and as it comes out: it passes through memory.
/// The batch that passes it is given whole.
pub const FETCH_MAX_BYTES: u32 = 1 << 20;
/// A batch that unpacks to more is given as it is.
const UNPACKED_BYTES_MAX: usize = 4 << 20;

/// What one answer may still take.
pub struct Room {
    left_bytes: usize,
    decompressor: Decompressor,
}

impl Default for Room {
    fn default() -> Self {
        Self { left_bytes: FETCH_MAX_BYTES as usize, decompressor: Decompressor::default() }
    }
}

impl Room {
    /// The whole batches of `slice`, for such a reader, as far as there is room; nothing where there is none.
    pub fn batches(&mut self, slice: &LogSlice) -> io::Result<Vec<u8>> {
        if self.left_bytes == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; slice.length as usize];
        os::read_exact_at(&slice.file, &mut bytes, slice.position)?;
        Ok(self.rewritten(&bytes))
    }

    /// What is no batch is given as it is: its reader is to see that it is damaged.
    fn rewritten(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut read = 0;
        for batch in Batches::new(bytes) {
            if self.left_bytes == 0 {
                break;
            }
            let Ok(batch) = batch else {
                out.extend_from_slice(&bytes[read..]);
                self.left_bytes = self.left_bytes.saturating_sub(bytes.len() - read);
                break;
            };
            read += batch.bytes().len();
            self.give(&batch, &mut out);
        }
        out
    }

    fn give(&mut self, batch: &Batch<'_>, out: &mut Vec<u8>) {
        let is_data = !batch.header().attributes.is_control() && batch.is_crc_valid();
        let decompressor = &mut self.decompressor;
        let new = is_data.then(|| rewrite::with_values(batch, decompressor, UNPACKED_BYTES_MAX, value)).flatten();
        let given = new.as_deref().unwrap_or(batch.bytes());
        out.extend_from_slice(given);
        // It may have been unpacked in vain, which takes as long.
        let was_in_vain = is_data && new.is_none() && batch.header().compression() != Some(Compression::None);
        let taken_bytes = if was_in_vain { UNPACKED_BYTES_MAX } else { given.len() };
        self.left_bytes = self.left_bytes.saturating_sub(taken_bytes);
    }
}

fn value<'r>(record: &Record<'r>) -> Option<Cow<'r, [u8]>> {
    let value = record.value?;
    Some(value_without_tags(record.key.unwrap_or_default(), value).map_or(Cow::Borrowed(value), Cow::Owned))
}

#[cfg(test)]
mod tests {
    use ottla_base::{Offset, Uuid};
    use ottla_coordinator::group::{self, CommittedOffset};
    use ottla_protocol::records::BatchBuilder;

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

    fn rewritten(bytes: &[u8]) -> Vec<u8> {
        Room::default().rewritten(bytes)
    }

    /// A record of so many equal bytes.
    fn packed(at: i64, bytes: usize) -> Vec<u8> {
        let builder = BatchBuilder::new().base_offset(Offset(at));
        let mut builder = builder.compression(Compression::Gzip, None);
        builder.push(1, Some(&[9, 9]), Some(&vec![7; bytes]), &[]);
        builder.build().expect("memory")
    }

    /// The offset behind the last batch.
    fn end(bytes: &[u8]) -> i64 {
        let batches = Batches::new(bytes).map(|batch| batch.expect("whole").header().next_offset().0);
        batches.last().unwrap_or(-1)
    }

    #[test]
    fn what_unpacks_to_much_is_given_batch_by_batch() {
        let log: Vec<u8> = (0..50).flat_map(|at| packed(at, 400_000)).collect();
        let mut room = Room::default();
        let out = room.rewritten(&log);
        assert_eq!((end(&out), out.len() / 400_000), (3, 3), "the third one passes 1 MiB");
        assert!(room.rewritten(&log).is_empty(), "another partition of the same answer");
        let large = [packed(0, 3 << 20), packed(1, 10)].concat();
        assert_eq!(end(&rewritten(&large)), 1, "there is always one");
        let small: Vec<u8> = (0..50).flat_map(|at| packed(at, 10)).collect();
        assert_eq!(end(&rewritten(&small)), 50);
    }

    #[test]
    fn what_was_unpacked_in_vain_counts_as_well() {
        let too_large = packed(0, UNPACKED_BYTES_MAX + 1);
        let log = [too_large.clone(), too_large.clone()].concat();
        assert_eq!(rewritten(&log), too_large);
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
