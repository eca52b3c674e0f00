//! Compaction on a disk that forgets and fails: of each key, a reader finds what was written last, whatever went wrong.
//!
//! Each seed is one life of a log of few keys: records and deleted keys of several producers, transactions, rolls, cleanings;
//! a call that fails, a full disk, kills and power cuts between any two calls of a cleaning. What the log holds is then
//! compared with all that it was told: batches are where they were, records are those that were told, and a record is
//! missing only if it may be.

use std::collections::{BTreeMap, BTreeSet};

use ottla_base::{ProducerEpoch, ProducerId, Random};
use ottla_protocol::records::control::EndMarker;
use ottla_protocol::records::{BatchBuilder, Batches, Compression, Decompressor};

use super::super::compaction::{Held, clean_as, settings};
use super::super::*;
use super::seeds;
use crate::cleaner::{Limits, NotCleaned};
use crate::os::simulated::{self, Failure, Inserted, Trouble};

const STEPS: usize = 60;
const KEYS: u64 = 9;
const PRODUCERS: u64 = 6;
/// Producers from here on write transactions.
const TRANSACTIONAL_FROM: i64 = 4;
/// Deleted keys and markers stay so long; a step takes a moment.
const DELETE_RETENTION_MS: i64 = 10;

/// A record: its offset, key and value.
type Row = (i64, u8, Option<u32>);

/// A batch that the log was given.
#[derive(Clone, Debug)]
struct Told {
    base: i64,
    end: i64,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    producer: Option<i64>,
    /// It ends a transaction; by committing it, if so.
    marker: Option<bool>,
}

/// A batch that the log holds.
struct Found {
    base: i64,
    end: i64,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    is_empty: bool,
}

struct World {
    _disk: Inserted,
    fixture: Fixture,
    random: Random,
    held: Held,
    told: Vec<Told>,
    /// Batches whose append failed: each may still be found at its place.
    failed: Vec<Told>,
    flushed: i64,
    /// Nothing from here on was ever in a segment that was cleaned.
    cleaned: i64,
    /// The log was opened since the last power cut.
    is_of_this_boot: bool,
    /// A cleaning was cut short, and none has written down since how far the log is compacted. A start cannot tell then what
    /// was compacted away from the end of a segment that a power cut took, where the next one was written before it.
    cut_short: bool,
    checkpoint: (i64, i64),
    now_ms: i64,
    values: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let memory = Path::new("/dev/shm");
        let folder = if memory.exists() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let root = folder.path().join("disk");
        fs::create_dir(&root).unwrap();
        let config = LogConfig {
            compact: true,
            delete: false,
            file_delete_delay_ms: 5,
            index_interval_bytes: [0, 300][random.below(2) as usize],
            ..small_segments([400, 1500][random.below(2) as usize])
        };
        let disk = simulated::insert(&root, random.next_u64());
        let held = Held { log: None.into(), patience_bytes: u64::MAX.into(), is_copied: false.into() };
        let fixture = Fixture { folder, config };
        let this = Self {
            _disk: disk,
            fixture,
            random,
            held,
            told: Vec::new(),
            failed: Vec::new(),
            flushed: 0,
            cleaned: 0,
            is_of_this_boot: true,
            cut_short: false,
            checkpoint: (0, 0),
            now_ms: 0,
            values: 0,
        };
        let log = this.open(Left::Cleanly).unwrap();
        this.held.log.replace(Some(log));
        this
    }

    fn root(&self) -> std::path::PathBuf {
        self.fixture.folder.path().join("disk")
    }

    fn open(&self, left: Left) -> Result<Log> {
        let options = known(left, self.checkpoint, self.now_ms);
        let mut log = Log::open(&self.root().join("t-0"), self.fixture.config.clone(), options)?.0;
        log.on_high_watermark(log.end_offset());
        Ok(log)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    fn end(&self) -> i64 {
        self.told.last().map_or(0, |told| told.end)
    }

    fn step(&mut self, steps: &mut Vec<String>) {
        self.now_ms += 1;
        let step = self.random.below(40);
        let is_cleaning = (20..26).contains(&step);
        let trouble = self.choose_trouble(is_cleaning);
        simulated::with(|disk| disk.set_trouble(trouble));
        let (name, done) = self.take(step);
        let failures = simulated::with(|disk| disk.failures());
        simulated::with(|disk| disk.set_trouble(Trouble::None));
        let outcome = done.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        steps.push(format!("{name}, {trouble:?}: {outcome}, end {}", self.end()));
        assert!(done.is_ok() || failures > 0, "nothing failed but the log");
        let is_stopped = name == "stop";
        let is_over = matches!(trouble, Trouble::Over(_)) && failures > 0;
        if is_stopped || is_over || name == "crash" || self.held.with(|log| log.check_usable().is_err()) {
            self.restart(is_stopped && done.is_ok(), steps);
        }
        if is_cleaning || failures > 0 || self.one_in(4) {
            self.compare();
        }
    }

    fn choose_trouble(&mut self, is_cleaning: bool) -> Trouble {
        if !is_cleaning && !self.one_in(8) {
            return Trouble::None;
        }
        match self.random.below(6) {
            0 => Trouble::Once(self.random.below(60), Failure::Io),
            1 => Trouble::Once(self.random.below(30), Failure::NoSpace),
            2 => Trouble::Full,
            3 | 4 => Trouble::Over(self.random.below(80)),
            _ => Trouble::None,
        }
    }

    fn take(&mut self, step: u64) -> (&'static str, Result<()>) {
        let now_ms = self.now_ms;
        match step {
            0..14 => ("append", self.append()),
            14..16 => ("end transaction", self.end_transaction()),
            16..20 => ("roll", self.held.with(|log| log.roll(now_ms))),
            20..26 => ("clean", self.clean()),
            26 => ("give up", self.give_up()),
            27 | 28 => {
                let end = self.end();
                let flushed = self.held.with(|log| log.flush(now_ms));
                self.flushed = if flushed.is_ok() { end } else { self.flushed };
                ("flush", flushed)
            }
            29 => {
                let mut deleted = self.held.with(|log| log.take_deleted(now_ms));
                let unlinked = deleted.unlink();
                self.held.with(|log| log.put_back_deleted(deleted, now_ms));
                ("purge", unlinked)
            }
            30 => {
                self.held.with(|log| log.close_idle_files());
                ("close files", Ok(()))
            }
            31 => {
                // A log that is lost before its start begins anew there, which is tried elsewhere.
                let to = Offset(self.random.below(self.flushed.min(self.end() / 3) as u64 + 1) as i64);
                ("advance start", self.held.with(|log| log.advance_start_offset(to)))
            }
            32 => {
                let deleted = self.held.with(|log| log.enforce_retention(now_ms, log.end_offset()));
                ("retention", deleted.map(drop))
            }
            33 | 34 => {
                self.write_checkpoint();
                ("checkpoint", Ok(()))
            }
            35 => {
                let (start, end) = self.held.with(|log| (log.start_offset().0, log.end_offset().0));
                let closed = self.held.with(|log| log.close_for_good(now_ms));
                if closed.is_ok() {
                    (self.flushed, self.checkpoint) = (end, (end, start));
                }
                ("stop", closed)
            }
            36 | 37 => ("crash", Ok(())),
            _ => ("append", self.append()),
        }
    }

    fn append(&mut self) -> Result<()> {
        let producer = (!self.one_in(3)).then(|| self.random.below(PRODUCERS) as i64);
        let base = self.end();
        let codec = if self.one_in(4) { Compression::Lz4 } else { Compression::None };
        let mut builder = BatchBuilder::new().base_offset(Offset(base)).compression(codec, None);
        if let Some(producer) = producer {
            let sequence = self.held.with(|log| {
                let known = log.producers().entries().find(|entry| entry.producer_id == ProducerId(producer));
                known.map_or(0, |known| known.last_sequence + 1)
            });
            builder = builder.producer(ProducerId(producer), ProducerEpoch(0), sequence);
            if producer >= TRANSACTIONAL_FROM {
                builder = builder.transactional();
            }
        }
        let mut rows = Vec::new();
        for offset in base..base + 1 + self.random.below(4) as i64 {
            self.values += 1;
            let value = (!self.one_in(5)).then_some(self.values);
            let key = self.random.below(KEYS) as u8;
            rows.push((offset, key, value));
            let bytes = value.map(|value| value.to_be_bytes());
            builder.push(self.now_ms, Some(&[key]), bytes.as_ref().map(|bytes| &bytes[..]), &[]);
        }
        self.give(&builder, Told { base, end: base, bytes: Vec::new(), rows, producer, marker: None })
    }

    fn end_transaction(&mut self) -> Result<()> {
        let producer = TRANSACTIONAL_FROM + self.random.below(PRODUCERS - TRANSACTIONAL_FROM as u64) as i64;
        let (base, is_commit) = (self.end(), self.one_in(2));
        let marker = EndMarker { is_commit, coordinator_epoch: 0 };
        let mut builder = BatchBuilder::new().base_offset(Offset(base)).transactional().control();
        builder = builder.producer(ProducerId(producer), ProducerEpoch(0), -1);
        builder.push(self.now_ms, Some(&marker.key()), Some(&marker.value()), &[]);
        let (producer, marker) = (Some(producer), Some(is_commit));
        self.give(&builder, Told { base, end: base, bytes: Vec::new(), rows: Vec::new(), producer, marker })
    }

    fn give(&mut self, builder: &BatchBuilder, told: Told) -> Result<()> {
        let mut bytes = builder.build().unwrap();
        bytes[12..16].copy_from_slice(&0i32.to_be_bytes());
        let told = Told { end: told.base + builder.count() as i64, bytes, ..told };
        let batch = Batch::parse(&told.bytes).unwrap().0;
        let (now_ms, max_timestamp) = (self.now_ms, batch.header().max_timestamp);
        let assign = LeaderAppend { leader_epoch: LeaderEpoch(0), now_ms, log_append_time: false, max_timestamp };
        let appended =
            self.held.with(|log| log.append_leader(&batch, assign).map(|_| log.on_high_watermark(log.end_offset())));
        match appended {
            Ok(()) => self.told.push(told),
            Err(_) => self.failed.push(told),
        }
        appended
    }

    fn clean(&mut self) -> Result<()> {
        let limits = Limits { map_bytes: 24 * (2 + self.random.below(20) as usize), load_factor: 0.9, io_bytes: 200 };
        match self.clean_with(limits) {
            Ok(()) => {
                self.cut_short = false;
                Ok(())
            }
            Err(NotCleaned::Failed(error)) => Err(error),
            Err(NotCleaned::GivenUp) => panic!("nobody wanted that"),
        }
    }

    fn give_up(&mut self) -> Result<()> {
        self.held.patience_bytes.set(self.random.below(2000));
        let done = self.clean_with(Limits { map_bytes: 1000, load_factor: 0.9, io_bytes: 200 });
        self.held.patience_bytes.set(u64::MAX);
        match done {
            Err(NotCleaned::Failed(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn clean_with(&mut self, limits: Limits) -> std::result::Result<(), NotCleaned> {
        let (end, active) = (self.end(), self.held.with(|log| log.segments().last().unwrap().base_offset.0));
        self.cleaned = self.cleaned.max(active);
        let done = clean_as(&self.held, &self.root(), self.now_ms, &settings(DELETE_RETENTION_MS), limits);
        if self.held.with(|log| log.recovery_point.0) >= end {
            // It had got so far that it may have changed something.
            (self.flushed, self.cut_short) = (end, true);
        }
        done.map(drop)
    }

    fn write_checkpoint(&mut self) {
        self.checkpoint = self.held.with(|log| (log.recovery_checkpoint().0, log.start_offset().0));
    }

    /// The process ends and another one starts, perhaps not at the first try.
    fn restart(&mut self, mut clean: bool, steps: &mut Vec<String>) {
        let mut least = self.end();
        loop {
            self.held.log.replace(None);
            let is_kill = self.one_in(2);
            let keeps_all = simulated::with(|disk| match is_kill {
                true => disk.kill(),
                false => {
                    disk.cut_power();
                    false
                }
            });
            if !keeps_all {
                least = least.min(self.flushed);
                self.is_of_this_boot = false;
            }
            let left = match clean {
                true => Left::Cleanly,
                // The mark may have been lost, too.
                false if self.is_of_this_boot && !self.one_in(4) => Left::Killed,
                false => Left::Unknown,
            };
            let trouble = if self.one_in(3) { self.choose_trouble(false) } else { Trouble::None };
            steps.push(format!("{}, open {left:?} {trouble:?}", if is_kill { "kill" } else { "power cut" }));
            simulated::with(|disk| disk.set_trouble(trouble));
            let opened = self.open(left);
            let failures = simulated::with(|disk| disk.failures());
            simulated::with(|disk| disk.set_trouble(Trouble::None));
            clean = false;
            let is_over = matches!(trouble, Trouble::Over(_)) && failures > 0;
            match opened {
                Ok(log) if !is_over => {
                    self.held.log.replace(Some(log));
                    self.is_of_this_boot = true;
                    break;
                }
                Ok(_) => {}
                Err(error) => assert!(failures > 0, "it does not open: {error}"),
            }
        }
        self.survive(least);
        self.write_checkpoint();
    }

    /// What was not flushed may be lost, and what failed be there.
    fn survive(&mut self, least: i64) {
        let end = self.held.with(|log| log.end_offset().0);
        assert!(end >= least, "the log ends at {end}, and held all to {least} for certain");
        let found = self.found();
        while end > self.end() {
            let is_there = |told: &&Told| {
                told.base == self.end()
                    && found.iter().any(|batch| batch.base == told.base && batch.bytes == told.bytes)
            };
            let told = self.failed.iter().find(is_there).unwrap_or_else(|| panic!("the log ends at {end}"));
            self.told.push(told.clone());
        }
        self.told.retain(|told| told.base < end);
        // A write that failed and was taken back may have outlived what was written in its place, and not flushed.
        for told in self.told.iter_mut().filter(|told| told.end > self.flushed) {
            let bytes = found.iter().find(|batch| batch.base == told.base).map(|batch| &batch.bytes);
            let instead = self.failed.iter().find(|failed| failed.base == told.base && bytes == Some(&failed.bytes));
            if let Some(instead) = instead {
                *told = instead.clone();
            }
        }
        if self.cut_short {
            let is_there = |told: &Told| found.iter().any(|batch| batch.base == told.base);
            let flushed = self.flushed;
            self.told.retain(|told| told.end <= flushed || is_there(told));
        }
        self.failed.retain(|told| told.base >= end);
        assert_eq!(self.end(), end, "the log ends inside of a batch");
        self.flushed = self.flushed.min(end);
        self.compare();
    }

    fn found(&self) -> Vec<Found> {
        self.held.with(|log| {
            let (mut found, mut from) = (Vec::new(), log.start_offset());
            let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
            while from < log.end_offset() {
                let slice = log.read(from, u32::MAX, log.end_offset(), true).unwrap();
                assert!(slice.length > 0, "the last batch is never missing");
                for batch in Batches::new(&bytes_of(&slice)) {
                    let batch = batch.unwrap();
                    assert!(batch.is_crc_valid());
                    let header = *batch.header();
                    let mut rows = Vec::new();
                    for record in decompressor.records(&batch, 1 << 20, &mut unpacked).unwrap() {
                        let record = record.unwrap();
                        if !header.attributes.is_control() {
                            let value = record.value.map(|value| u32::from_be_bytes(value.try_into().unwrap()));
                            rows.push((record.offset.0, record.key.unwrap()[0], value));
                        }
                    }
                    let (base, end) = (header.base_offset.0, header.next_offset().0);
                    let (bytes, is_empty) = (batch.bytes().to_vec(), header.record_count == 0);
                    found.push(Found { base, end, bytes, rows, is_empty });
                    from = header.next_offset();
                }
            }
            found
        })
    }

    /// First offsets and markers of the aborted transactions, and the batches that were aborted, by their base offsets.
    fn aborted(&self) -> (BTreeMap<i64, i64>, BTreeSet<i64>) {
        let (mut transactions, mut batches) = (BTreeMap::new(), BTreeSet::new());
        let mut open: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for told in &self.told {
            let Some(producer) = told.producer.filter(|producer| *producer >= TRANSACTIONAL_FROM) else { continue };
            match told.marker {
                None => open.entry(producer).or_default().push(told.base),
                Some(is_commit) => {
                    let bases = open.remove(&producer).unwrap_or_default();
                    if let (Some(first), false) = (bases.first(), is_commit) {
                        transactions.insert(told.base, *first);
                        batches.extend(bases);
                    }
                }
            }
        }
        (transactions, batches)
    }

    fn compare(&self) {
        self.held.with(|log| log.check());
        let (start, end) = self.held.with(|log| (log.start_offset().0, log.end_offset().0));
        assert_eq!(end, self.end());
        let found = self.found();
        let (transactions, aborted) = self.aborted();
        let by_base: BTreeMap<i64, &Found> = found.iter().map(|found| (found.base, found)).collect();
        let told_by_base: BTreeMap<i64, &Told> = self.told.iter().map(|told| (told.base, told)).collect();
        for found in &found {
            let told = told_by_base.get(&found.base).unwrap_or_else(|| panic!("nobody told of {}", found.base));
            assert_eq!(found.end, told.end);
            assert!(found.rows.iter().all(|row| told.rows.contains(row)), "other records at {}", found.base);
        }
        for told in self.told.iter().filter(|told| told.base >= self.cleaned.max(start)) {
            assert!(
                by_base.get(&told.base).is_some_and(|found| found.bytes == told.bytes),
                "{} was changed",
                told.base
            );
        }
        let state = |rows: &mut dyn Iterator<Item = (i64, Row)>| {
            let mut state: BTreeMap<u8, u32> = BTreeMap::new();
            for (base, (offset, key, value)) in rows {
                if offset >= start && !aborted.contains(&base) {
                    match value {
                        Some(value) => _ = state.insert(key, value),
                        None => _ = state.remove(&key),
                    }
                }
            }
            state
        };
        let told_state = state(&mut self.told.iter().flat_map(|told| told.rows.iter().map(|row| (told.base, *row))));
        let found_state = state(&mut found.iter().flat_map(|found| found.rows.iter().map(|row| (found.base, *row))));
        assert_eq!(found_state, told_state, "the last value of each key");
        self.compare_producers(&by_base, start);
        self.compare_transactions(&found, &transactions, &aborted, start);
    }

    /// The last batch of each producer is there, and so it is known after a start.
    fn compare_producers(&self, by_base: &BTreeMap<i64, &Found>, start: i64) {
        for producer in 0..PRODUCERS as i64 {
            let last = self.told.iter().rfind(|told| told.producer == Some(producer) && told.marker.is_none());
            if let Some(last) = last.filter(|last| last.base >= start) {
                assert!(by_base.contains_key(&last.base), "the last batch of producer {producer} is gone");
                let known = self.held.with(|log| {
                    log.producers()
                        .entries()
                        .find(|entry| entry.producer_id == ProducerId(producer))
                        .map(|entry| entry.last_offset.0)
                });
                assert_eq!(known, Some(last.end - 1), "of producer {producer}");
            }
        }
    }

    /// Data that is there has its marker, and readers are told of what was aborted.
    fn compare_transactions(
        &self,
        found: &[Found],
        transactions: &BTreeMap<i64, i64>,
        aborted: &BTreeSet<i64>,
        start: i64,
    ) {
        let told = self.held.with(|log| {
            let mut told = BTreeSet::new();
            let mut from = log.start_offset();
            while from < log.end_offset() {
                let slice = log.read(from, u32::MAX, log.end_offset(), true).unwrap();
                let last = Batches::new(&bytes_of(&slice)).last().unwrap().unwrap().header().next_offset();
                let aborted = log.aborted_transactions(&slice, log.end_offset()).unwrap();
                told.extend(aborted.iter().map(|aborted| aborted.last_offset.0));
                from = last;
            }
            told
        });
        for (marker, first) in transactions.iter().filter(|(_, first)| **first >= start) {
            let has_data = found.iter().any(|found| {
                let is_its = (*first..*marker).contains(&found.base) && aborted.contains(&found.base);
                let producer = |base| self.told.iter().find(|told| told.base == base).and_then(|told| told.producer);
                is_its && producer(found.base) == producer(*marker)
            });
            if has_data {
                let there = found.iter().find(|found| found.base == *marker);
                assert!(there.is_some_and(|marker| !marker.is_empty), "the marker {marker} is gone, its data is not");
                assert!(told.contains(marker), "readers are not told of the transaction aborted at {marker}");
            }
        }
    }
}

#[test]
fn the_last_value_of_each_key_survives_whatever_the_disk_does() {
    for seed in seeds() {
        let mut steps = Vec::new();
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step(&mut steps);
            }
            world.restart(false, &mut steps);
        }));
        if let Err(panic) = lived {
            eprintln!("{}\n", steps.join("\n"));
            eprintln!("again: {}={seed} cargo test -p ottla-storage last_value_of_each_key", super::SEEDS_VARIABLE);
            std::panic::resume_unwind(panic);
        }
    }
}
