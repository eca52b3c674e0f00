//! What compaction keeps: one decision a batch, and one a record.
//!
//! ```text
//!   record behind what the map covers                    stays
//!   record without a key                                 goes
//!   record, and its key was written again                goes
//!   deleted key (no value), its batch's horizon is past  goes
//!   aborted data                                         goes
//!   marker without data, its horizon is past             goes
//!
//!   batch without records     goes, unless it is the last of a producer that may come back, or ends a segment
//! ```
//!
//! Differs from Kafka, which keeps the last batch of a cleaning: here that of each segment that is written stays too, empty if
//! need be. So segments follow each other without a gap, and a start after a crash can tell what was compacted away from what
//! the disk lost.

use std::collections::BTreeMap;

use ottla_base::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::BatchHeader;

use super::offset_map::OffsetMap;
use super::transactions::Marker;
use crate::producer_snapshot::SnapshotEntry;

/// What is known of a producer that may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastOf {
    epoch: ProducerEpoch,
    /// Of its last record; none where a marker came last and began a new epoch.
    offset: Option<Offset>,
}

/// By what a cleaning goes.
#[derive(Debug)]
pub struct Rules<'a> {
    /// The newest offset of each key that was written ...
    pub map: &'a OffsetMap,
    /// ... before this offset.
    pub map_end: Offset,
    /// The producers that may come back.
    pub producers: &'a BTreeMap<ProducerId, LastOf>,
    /// The time.
    pub now_ms: Timestamp,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

/// What is decided about a batch before its records are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// None of its records stays.
    pub drops_records: bool,
    /// It stays without records.
    pub stays_empty: bool,
    /// It is a marker without data: if that stays, its days are numbered.
    pub is_lonely_marker: bool,
}

impl LastOf {
    /// What a snapshot of the producers says of one.
    pub fn of(entry: &SnapshotEntry) -> Self {
        Self { epoch: entry.producer_epoch, offset: Some(entry.last_offset).filter(|offset| *offset >= Offset(0)) }
    }
}

impl Rules<'_> {
    /// About a batch of data.
    pub fn data(&self, header: &BatchHeader, is_aborted: bool, ends_segment: bool) -> Fate {
        let stays_empty = ends_segment || self.is_last_of_producer(header);
        Fate { drops_records: is_aborted, stays_empty, is_lonely_marker: false }
    }

    /// About a control batch.
    pub fn marker(&self, header: &BatchHeader, marker: Marker, ends_segment: bool) -> Fate {
        let is_lonely_marker = marker == Marker::Alone;
        let is_due = header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        let stays_empty = ends_segment || self.is_last_of_producer(header);
        Fate { drops_records: is_lonely_marker && is_due, stays_empty, is_lonely_marker }
    }

    /// Whether a record of data that was not aborted stays.
    pub fn keeps(&self, header: &BatchHeader, offset: Offset, key: Option<&[u8]>, has_value: bool) -> bool {
        if offset >= self.map_end {
            return true;
        }
        let Some(key) = key else { return false };
        let is_newest = self.map.get(key).is_none_or(|newest| offset >= newest);
        let is_due = header.delete_horizon_ms().is_some_and(|horizon_ms| self.now_ms >= horizon_ms);
        is_newest && (has_value || !is_due)
    }

    /// The delete horizon that a batch gets which has none and now needs one.
    pub fn new_horizon_ms(&self, header: &BatchHeader, fate: Fate, has_deleted_keys: bool) -> Option<Timestamp> {
        let needs_one = (has_deleted_keys || fate.is_lonely_marker) && header.delete_horizon_ms().is_none();
        needs_one.then(|| self.now_ms.saturating_add(self.delete_retention_ms))
    }

    /// It carries the last number of its producer, or the epoch where the producer wrote nothing since.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        self.producers.get(&header.producer_id).is_some_and(|last| match last.offset {
            Some(offset) => header.last_offset() == offset,
            None => header.attributes.is_control() && header.producer_epoch == last.epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::records::{Attributes, BatchBuilder};

    use super::*;

    const CONTROL: i16 = 1 << 5;
    const HORIZON: i16 = 1 << 6;

    fn batch(producer: i64, base: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new().base_offset(Offset(base));
        builder = builder.producer(ProducerId(producer), ProducerEpoch(3), 0);
        builder.push(0, Some(b"k"), None, &[]).push(0, Some(b"k"), None, &[]);
        BatchHeader::parse(&builder.build().unwrap()).unwrap()
    }

    fn with_horizon(header: BatchHeader, horizon_ms: Timestamp) -> BatchHeader {
        BatchHeader { attributes: Attributes(header.attributes.0 | HORIZON), base_timestamp: horizon_ms, ..header }
    }

    fn with_rules<T>(check: impl FnOnce(&Rules<'_>) -> T) -> T {
        let mut map = OffsetMap::new(1000, 0.9, 100, Offset(0));
        assert!(map.put(b"old", Offset(5)) && map.put(b"new", Offset(8)));
        let last = |offset: Option<i64>| LastOf { epoch: ProducerEpoch(3), offset: offset.map(Offset) };
        let producers = BTreeMap::from([(ProducerId(1), last(Some(21))), (ProducerId(2), last(None))]);
        let producers = &producers;
        check(&Rules { map: &map, map_end: Offset(10), producers, now_ms: 1000, delete_retention_ms: 50 })
    }

    #[test]
    fn a_record_stays_while_its_key_was_not_written_again() {
        let plain = batch(-1, 0);
        let (due, ahead) = (with_horizon(plain, 1000), with_horizon(plain, 1001));
        let cases: [(_, i64, Option<&[u8]>, bool, bool); 11] = [
            (&plain, 4, Some(b"old"), true, false),
            (&plain, 5, Some(b"old"), true, true),
            (&plain, 7, Some(b"new"), false, false),
            (&plain, 8, Some(b"new"), false, true),
            (&plain, 2, Some(b"unknown"), true, true),
            (&plain, 2, None, true, false),
            (&plain, 10, None, true, true),
            (&due, 8, Some(b"new"), false, false),
            (&due, 8, Some(b"new"), true, true),
            (&due, 10, Some(b"old"), false, true),
            (&ahead, 8, Some(b"new"), false, true),
        ];
        for (header, offset, key, has_value, stays) in cases {
            let kept = with_rules(|rules| rules.keeps(header, Offset(offset), key, has_value));
            assert_eq!(kept, stays, "{offset} {key:?} {has_value} {:?}", header.delete_horizon_ms());
        }
    }

    #[test]
    fn a_batch_stays_empty_as_the_last_of_its_producer_and_at_the_end_of_a_segment() {
        let control =
            |header: BatchHeader| BatchHeader { attributes: Attributes(header.attributes.0 | CONTROL), ..header };
        for (header, ends_segment, stays) in [
            (batch(1, 20), false, true),
            (batch(1, 18), false, false),
            (batch(1, 18), true, true),
            (batch(2, 20), false, false),
            (control(batch(2, 20)), false, true),
            (BatchHeader { producer_epoch: ProducerEpoch(2), ..control(batch(2, 20)) }, false, false),
            (batch(3, 20), false, false),
            (batch(-1, 20), false, false),
        ] {
            let fate = with_rules(|rules| rules.data(&header, true, ends_segment));
            assert_eq!((fate.drops_records, fate.stays_empty), (true, stays), "{header:?}");
        }
    }

    #[test]
    fn a_marker_goes_only_once_it_was_without_data_for_long_enough() {
        let plain = batch(7, 20);
        for (header, marker, goes, horizon) in [
            (plain, Marker::Needed(None), false, None),
            (plain, Marker::Alone, false, Some(1050)),
            (with_horizon(plain, 1001), Marker::Alone, false, None),
            (with_horizon(plain, 1000), Marker::Alone, true, None),
            (with_horizon(plain, 1000), Marker::Needed(None), false, None),
        ] {
            with_rules(|rules| {
                let fate = rules.marker(&header, marker, false);
                assert_eq!(fate.drops_records, goes, "{marker:?} {header:?}");
                assert_eq!(rules.new_horizon_ms(&header, fate, false), horizon, "{marker:?} {header:?}");
            });
        }
        let fate = with_rules(|rules| rules.data(&plain, false, false));
        assert_eq!(with_rules(|rules| rules.new_horizon_ms(&plain, fate, true)), Some(1050), "of deleted keys");
        assert_eq!(with_rules(|rules| rules.new_horizon_ms(&plain, fate, false)), None);
    }
}
