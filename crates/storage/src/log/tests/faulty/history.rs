//! What a log was told, and whether it says the same.

use std::collections::BTreeMap;

use ottla_base::ProducerId;

use super::super::*;

/// A batch that was given to the log.
#[derive(Clone, Debug)]
pub struct Told {
    pub base: i64,
    pub end: i64,
    pub epoch: i32,
    pub max_timestamp: i64,
    /// As it should lie in the log.
    pub bytes: Vec<u8>,
    /// Whose it is, the number of its last record, and what it does to a transaction.
    pub producer: Option<(i64, i32, Part)>,
}

/// What a batch of a producer is to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// There is none.
    Plain,
    Inside,
    Commit,
    Abort,
}

/// What the log holds if it keeps its word.
#[derive(Debug, Default)]
pub struct History {
    /// Without a gap, from before the log's start: deleted segments may come back with a power cut.
    pub batches: Vec<Told>,
    /// Batches whose append failed: each may still be found, right behind the batches that were there then.
    pub failed: Vec<Told>,
    pub start: i64,
    pub end: i64,
    /// A flush covered all before it.
    pub flushed: i64,
    /// The log began here at the latest: what lies before was given up, though a crash may bring it back.
    pub given_up: i64,
}

impl History {
    pub fn push(&mut self, told: Told) {
        assert_eq!(told.base, self.end);
        self.end = told.end;
        self.batches.push(told);
    }

    pub fn truncate(&mut self, to: i64) {
        if to < self.end {
            let first = self.batches.first().map_or(self.end, |batch| batch.base);
            self.batches.retain(|batch| batch.end <= to);
            self.failed.retain(|batch| batch.base <= to);
            self.end = self.batches.last().map_or(first, |batch| batch.end);
            self.start = self.start.min(self.end);
            self.flushed = self.flushed.min(self.end);
        }
    }

    pub fn restart(&mut self, at: i64) {
        *self = Self { start: at, end: at, flushed: at, given_up: at, ..Self::default() };
    }

    /// Takes over what a log holds that was opened after a crash, if it may hold that: `least` is the end of what must be
    /// there, and it may be empty and begin at one of `restarts`.
    pub fn survive(&mut self, log: &Log, least: i64, restarts: &[Option<i64>]) {
        let (start, end) = (log.start_offset().0, log.end_offset().0);
        self.given_up = self.given_up.max(self.start);
        let is_new = log.segments().next().unwrap().base_offset.0 == end;
        let is_told = end == self.end || self.batches.iter().any(|batch| batch.base == end || batch.end == end);
        if is_new && !is_told && restarts.contains(&Some(end)) && least <= end {
            self.restart(end);
            return self.compare(log);
        }
        assert!(end >= least, "the log ends at {end}, and held all to {least} for certain");
        assert!(start <= self.start, "the log begins at {start}, and began at {}", self.start);
        // What was not flushed may be lost although the log is as long: an append that failed may have left more in its place.
        let is_kept = |batch: &Told| batch.end <= self.flushed || batch.base < start || holds(log, batch);
        let kept = self.batches.iter().take_while(|batch| batch.end <= end && is_kept(batch)).count();
        // A truncation that was not flushed may be undone, and what a failed append was taken back for may be lost.
        let gone = self.batches.split_off(kept);
        self.end = gone.first().map_or(self.end, |first| first.base);
        self.failed.extend(gone);
        while end > self.end {
            let found = self.failed.iter().find(|told| told.base == self.end && holds(log, told));
            let told = found.unwrap_or_else(|| panic!("the log ends at {end}, and was told all to {}", self.end));
            self.push(told.clone());
        }
        (self.start, self.end) = (start, end);
        self.flushed = self.flushed.min(end);
        self.failed.retain(|told| told.base >= end);
        self.compare(log);
    }

    /// The number that the next record of a producer must have.
    pub fn next_sequence(&self, producer: i64) -> i32 {
        self.last_of(producer).map_or(0, |(_, sequence)| sequence + 1)
    }

    /// The last batch of records of a producer: where it ends and its last number.
    fn last_of(&self, producer: i64) -> Option<(i64, i32)> {
        self.batches.iter().rev().find_map(|batch| match batch.producer {
            Some((id, sequence, Part::Plain | Part::Inside)) if id == producer => Some((batch.end - 1, sequence)),
            _ => None,
        })
    }

    /// The first offset of the open transaction of a producer.
    pub fn open_transaction(&self, producer: i64) -> Option<i64> {
        let mut open = None;
        for batch in &self.batches {
            match batch.producer {
                Some((id, _, Part::Inside)) if id == producer => _ = open.get_or_insert(batch.base),
                Some((id, _, Part::Commit | Part::Abort)) if id == producer => open = None,
                _ => {}
            }
        }
        open
    }

    /// First and last offsets of the aborted transactions.
    fn aborted(&self) -> Vec<(i64, i64)> {
        let (mut open, mut aborted) = (BTreeMap::new(), Vec::new());
        for batch in &self.batches {
            let Some((id, _, part)) = batch.producer else { continue };
            match part {
                Part::Plain => {}
                Part::Inside => _ = open.entry(id).or_insert(batch.base),
                Part::Commit => _ = open.remove(&id),
                Part::Abort => aborted.extend(open.remove(&id).map(|first| (first, batch.end - 1))),
            }
        }
        aborted
    }

    /// Asserts that the log holds this, and nothing else.
    pub fn compare(&mut self, log: &Log) {
        self.given_up = self.given_up.max(self.start);
        log.check();
        assert_eq!((log.start_offset().0, log.end_offset().0), (self.start, self.end), "start and end");
        assert!(log.recovery_point().0 <= self.end, "the recovery point is {}", log.recovery_point());
        self.compare_reads(log);
        self.compare_times(log);
        self.compare_producers(log);
        let mut epoch = -1;
        for batch in self.batches.iter().filter(|batch| batch.end > self.start) {
            epoch = batch.epoch.max(epoch);
            let known = log.epochs().epoch_for(Offset(batch.base.max(self.start)));
            let is_forgotten = batch.base < self.given_up && known.is_none();
            assert!(is_forgotten || known == Some(LeaderEpoch(epoch)), "{known:?} of {}, not {epoch}", batch.base);
        }
    }

    fn compare_reads(&self, log: &Log) {
        let mut from = self.start;
        while from < self.end {
            let slice = log.read(Offset(from), u32::MAX, Offset(self.end), true).unwrap();
            let found = bytes_of(&slice);
            let first = self.batches.partition_point(|batch| batch.end <= from);
            let mut expected = Vec::new();
            for batch in &self.batches[first..] {
                if expected.len() < found.len() {
                    expected.extend_from_slice(&batch.bytes);
                    from = batch.end;
                }
            }
            assert_eq!(slice.first_offset.0, self.batches[first].base);
            assert!(!found.is_empty(), "nothing at {from}");
            assert!(found == expected, "other bytes from {} on", slice.first_offset);
            self.compare_aborted(log, &slice, from);
        }
        for batch in self.batches.iter().filter(|batch| batch.end > self.start) {
            let at = (batch.base + batch.end) / 2;
            let slice = log.read(Offset(at.max(self.start)), 1, Offset(self.end), true).unwrap();
            assert!(bytes_of(&slice) == batch.bytes, "another batch at {at}");
        }
    }

    /// More than overlap what was read may be told of, but none that is behind all of it.
    fn compare_aborted(&self, log: &Log, slice: &LogSlice, end: i64) {
        let found = log.aborted_transactions(slice, Offset(self.end)).unwrap();
        let found: Vec<(i64, i64)> = found.iter().map(|found| (found.first_offset.0, found.last_offset.0)).collect();
        let aborted = self.aborted();
        for &(first, last) in &aborted {
            // Where a transaction began that reaches before the start may be forgotten.
            let expected = (self.start..end).contains(&first) && last >= slice.first_offset.0;
            assert!(!expected || found.contains(&(first, last)), "{first} to {last} is missing among {found:?}");
        }
        for (first, last) in found {
            let is_told = aborted.iter().any(|told| told.1 == last && (told.0 == first || told.0 < self.start));
            assert!(is_told, "{first} to {last} was not aborted");
        }
    }

    fn compare_times(&self, log: &Log) {
        for target in [0, 700, 1400, 2100, 2800] {
            let found = log.offset_for_timestamp(target, Offset(self.end)).unwrap();
            assert_eq!(found.map(|found| found.offset.0), self.find_time(target), "the first offset of time {target}");
        }
    }

    /// The first offset as late as `target`: all records of a batch have one time here.
    pub fn find_time(&self, target: i64) -> Option<i64> {
        let late = |batch: &&Told| batch.end > self.start && batch.max_timestamp >= target;
        self.batches.iter().find(late).map(|batch| batch.base.max(self.start))
    }

    fn compare_producers(&self, log: &Log) {
        for producer in 0..8 {
            let known = log.producers().entries().find(|entry| entry.producer_id == ProducerId(producer));
            let known_batch = known.filter(|entry| entry.last_offset.0 >= 0);
            let known_batch = known_batch.map(|entry| (entry.last_offset.0, entry.last_sequence));
            match self.last_of(producer) {
                // Of what retention took away, a start may know or not.
                Some((last, _)) if last < self.start && known_batch.is_none() => {}
                expected => assert_eq!(known_batch, expected, "the last batch of producer {producer}"),
            }
            let open = known.and_then(|entry| entry.transaction_first_offset).map(|first| first.0);
            match self.open_transaction(producer) {
                Some(first) if first < self.start => {}
                expected => assert_eq!(open, expected, "the transaction of producer {producer}"),
            }
        }
    }
}

fn holds(log: &Log, told: &Told) -> bool {
    log.read(Offset(told.base), 1, log.end_offset(), true).is_ok_and(|slice| bytes_of(&slice) == told.bytes)
}
