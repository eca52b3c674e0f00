//! Everything that is left of the topic, read from its beginning.

use std::collections::BTreeMap;

use ottla_protocol::Records;
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::records::{Batches, Decompressor, Record};

use super::TOPIC;
use super::keys::Last;
use crate::Fallible;
use crate::bench::connection::Connection;
use crate::bench::frames;

/// What a batch unpacks to at most.
const UNPACKED_BYTES_MAX: usize = 1 << 20;

/// What a reader was given.
#[derive(Default)]
pub struct Found {
    pub last: BTreeMap<u32, Last>,
    pub records: u64,
    /// The first record that compaction should not have left, because its key comes again before where it ended.
    pub doubled: Option<String>,
}

/// Reads until it has caught up with the log. Less would not do: while it reads, a record may be compacted away in front of
/// it, as a newer one of its key has come behind where the log ended when it began.
///
/// Each key should be there at most once before `compacted_to`.
pub fn read(address: &str, compacted_to: u64) -> Fallible<Found> {
    let mut found = Found::default();
    let mut connection = Connection::open(address)?;
    let mut request = frames::fetch(TOPIC, &[0]);
    let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
    let (mut at, mut end) = (0, u64::MAX);
    while at < end {
        frames::set_fetch_offset(&mut request, 1, 0, at);
        let answer: FetchResponse<'_> = connection.ask(&request, frames::FETCH_VERSION)?;
        let partition = answer.responses.first().and_then(|topic| topic.partitions.first()).ok_or("no partition")?;
        if partition.error_code != 0 {
            return Err(format!("fetching from {at}: {}", frames::error_name(partition.error_code)).into());
        }
        end = partition.high_watermark.max(0).cast_unsigned();
        let before = at;
        let Records::Bytes(records) = partition.records else { continue };
        for batch in Batches::new(records) {
            let batch = batch.map_err(|error| error.to_string())?;
            for record in decompressor.records(&batch, UNPACKED_BYTES_MAX, &mut unpacked)? {
                found.add(&record?, compacted_to)?;
            }
            at = batch.header().next_offset().0.cast_unsigned();
        }
        if at == before && at < end {
            return Err(format!("nothing is read from {at} on, though the log ends at {end}").into());
        }
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, record: &Record<'_>, compacted_to: u64) -> Fallible<()> {
        let (offset, what) = (record.offset.0.cast_unsigned(), "a record that was never written");
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok()?.strip_prefix("key-")?.parse().ok());
        let key = key.ok_or_else(|| format!("{what} at {offset}: {record:?}"))?;
        let number = u32::try_from(record.timestamp)?;
        if record.value.is_some_and(|value| !value.starts_with(&number.to_be_bytes())) {
            return Err(format!("{what} at {offset}: {record:?}").into());
        }
        let before = self.last.insert(key, Last { number, is_tombstone: record.value.is_none() });
        if let Some(before) = before.filter(|_| offset < compacted_to) {
            let number = before.number;
            self.doubled.get_or_insert_with(|| {
                format!("key {key} comes again at {offset}, and its record {number} is still there: all before {compacted_to} should be compacted")
            });
        }
        self.records += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::records::BatchBuilder;

    use super::*;

    fn found(records: &[(&str, i64)], compacted_to: u64) -> Fallible<Found> {
        let mut builder = BatchBuilder::new();
        for (key, number) in records {
            let value = (*number as u32).to_be_bytes();
            builder.push(*number, Some(key.as_bytes()), (*number != 7).then_some(&value), &[]);
        }
        let (bytes, mut found) = (builder.build()?, Found::default());
        let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
        for batch in Batches::new(&bytes) {
            for record in decompressor.records(&batch.expect("it is whole"), UNPACKED_BYTES_MAX, &mut unpacked)? {
                found.add(&record?, compacted_to)?;
            }
        }
        Ok(found)
    }

    #[test]
    fn the_last_record_of_each_key_counts() {
        let found = found(&[("key-1", 3), ("key-2", 4), ("key-1", 7)], 0).expect("they were written so");
        assert_eq!(found.records, 3);
        let last = |number, is_tombstone| Last { number, is_tombstone };
        assert_eq!(found.last, BTreeMap::from([(1, last(7, true)), (2, last(4, false))]));
        assert_eq!(found.doubled, None);
    }

    #[test]
    fn a_key_that_comes_twice_in_what_is_compacted_is_told() {
        let records = [("key-1", 3), ("key-2", 4), ("key-1", 5)];
        assert_eq!(found(&records, 2).expect("they were written so").doubled, None);
        let doubled = found(&records, 3).expect("they were written so").doubled.expect("it is there twice");
        assert!(doubled.starts_with("key 1 comes again at 2, and its record 3 is still there"), "{doubled}");
        assert!(found(&[("other", 3)], 0).is_err());
    }
}
