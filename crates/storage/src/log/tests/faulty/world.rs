//! A log, its disk, and what happens to them.

use std::collections::BTreeSet;

use ottla_base::{ProducerEpoch, ProducerId, Random};
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::{BatchBuilder, HEADER_BYTES};

use super::super::*;
use super::history::{History, Part, Told};
use crate::os::simulated::{self, Failure, Inserted, Trouble};
use crate::producers::Verdict;

/// Producers from here on write transactions.
const TRANSACTIONAL_FROM: i64 = 4;
const PRODUCERS: u64 = 8;
const TRANSACTIONAL: i16 = 1 << 4;
const COORDINATOR_EPOCH: u8 = 9;
/// Reading all that a log holds takes most of the time.
const COMPARED_ONE_IN: u64 = 4;
/// Of power cuts, so many flip a bit of what was flushed.
const FLIPPED_ONE_IN: u64 = 8;

/// One life of a log.
pub struct World {
    _disk: Inserted,
    fixture: Fixture,
    random: Random,
    log: Option<Log>,
    history: History,
    now_ms: i64,
    epoch: i32,
    /// What the broker has written down of the log: recovery point and start.
    checkpoint: (i64, i64),
    /// A flush that was begun, and up to where it reaches.
    flush: Option<(Flush, i64)>,
    /// A truncation failed half way: more than what lies before this may be gone.
    doubt: i64,
    /// A restart at this offset did.
    restarting: Option<i64>,
    /// The log was opened since the power was last there anew, and no write failed since: as the broker marks it.
    is_of_this_boot: bool,
    /// The base offsets of batches of which the disk has flipped a bit since they were flushed.
    flipped: BTreeSet<i64>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum Crash {
    Kill,
    PowerCut,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append { producer: Option<i64>, records: usize, value_bytes: usize, pause_ms: i64 },
    EndTransaction { producer: i64, abort: bool },
    Replicate { batches: usize },
    Resend,
    Read,
    FindTime,
    Flush,
    FlushSealed,
    BeginFlush,
    EndFlush,
    Roll,
    Retention,
    Purge,
    CloseIdleFiles,
    AdvanceStart { to: i64 },
    Truncate { to: i64 },
    RestartAt { offset: i64 },
    Checkpoint,
    CleanStop,
    Crash,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let memory = Path::new("/dev/shm");
        let folder = if memory.exists() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let segment_bytes = [400, 1500, 20_000][random.below(3) as usize];
        let config = LogConfig {
            segment_ms: 2500,
            index_interval_bytes: [0, 300, 4096][random.below(3) as usize],
            retention_bytes: Some(4 * u64::from(segment_bytes)),
            retention_ms: Some(20_000),
            preallocate: random.below(4) == 0,
            flush_before_ack: random.below(4) == 0,
            ..small_segments(segment_bytes)
        };
        let root = folder.path().join("disk");
        fs::create_dir(&root).unwrap();
        let disk = simulated::insert(&root, random.next_u64());
        let mut this = Self {
            _disk: disk,
            fixture: Fixture { folder, config },
            random,
            log: None,
            history: History::default(),
            now_ms: 0,
            epoch: 0,
            checkpoint: (0, 0),
            flush: None,
            doubt: i64::MAX,
            restarting: None,
            is_of_this_boot: true,
            flipped: BTreeSet::new(),
        };
        this.log = Some(this.open(Left::Cleanly).unwrap());
        this
    }

    /// All files of the log, with their bytes.
    pub fn files(&self) -> String {
        let mut files: Vec<String> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| format!("{} {}\n", path.file_name().unwrap().display(), hex(&fs::read(&path).unwrap())))
            .collect();
        files.sort();
        files.concat()
    }

    /// One step, perhaps with trouble.
    pub fn step(&mut self, steps: &mut Vec<String>) {
        let step = self.choose();
        let trouble = self.choose_trouble();
        steps.push(format!("{step:?}, {trouble:?}"));
        let note = steps.len() - 1;
        simulated::with(|disk| disk.set_trouble(trouble));
        let clean = matches!(step, Step::CleanStop);
        let crashing = clean || matches!(step, Step::Crash);
        let done = self.take(step);
        let failures = simulated::with(|disk| disk.failures());
        simulated::with(|disk| disk.set_trouble(Trouble::None));
        let folder = self.path().display().to_string();
        let outcome = done.as_ref().map_or_else(|error| error.to_string().replace(&folder, ""), |()| "done".to_owned());
        steps[note] += &format!(": {outcome}, end {}", self.history.end);
        if let Err(error) = &done {
            assert!(failures > 0, "nothing failed but the log: {error}");
        }
        let is_over = matches!(trouble, Trouble::Over(_)) && failures > 0;
        if is_over || crashing {
            self.restart(clean && done.is_ok(), steps);
        } else if self.log().check_usable().is_err() {
            self.check_unusable();
            self.restart(false, steps);
        } else if self.one_in(COMPARED_ONE_IN) || failures > 0 {
            self.compare();
        } else {
            let ends = (self.log().start_offset().0, self.log().end_offset().0);
            assert_eq!(ends, (self.history.start, self.history.end));
        }
        // What the log would call safe was flushed, and what was flushed is there after each crash.
        let (flushed, safe) = (self.history.flushed.max(self.history.start), self.log().flushed_offset().0);
        assert!(safe <= flushed, "{safe} is called safe, and only {flushed} was flushed");
    }

    /// The last start, after everything.
    pub fn end(&mut self, steps: &mut Vec<String>) {
        self.restart(false, steps);
    }

    fn path(&self) -> std::path::PathBuf {
        self.fixture.folder.path().join("disk/t-0")
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("it is open between two steps")
    }

    fn log_mut(&mut self) -> &mut Log {
        self.log.as_mut().expect("it is open between two steps")
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    /// A number from the first to the last.
    fn between(&mut self, first: i64, last: i64) -> i64 {
        first + self.random.below((last - first + 1) as u64) as i64
    }

    fn choose_trouble(&mut self) -> Trouble {
        match self.random.below(24) {
            0 | 1 => Trouble::Once(self.random.below(12), Failure::Io),
            2 => Trouble::Once(self.random.below(6), Failure::NoSpace),
            3 => Trouble::Full,
            4 | 5 => Trouble::Over(self.random.below(12)),
            6 => Trouble::Once(self.random.below(8), Failure::NoFiles),
            _ => Trouble::None,
        }
    }

    fn choose(&mut self) -> Step {
        let (start, end) = (self.history.start, self.history.end);
        match self.random.below(64) {
            0..26 => Step::Append {
                producer: (!self.one_in(3)).then(|| self.random.below(PRODUCERS) as i64),
                records: 1 + self.random.below(5) as usize,
                value_bytes: self.random.below(300) as usize,
                pause_ms: self.between(0, 400),
            },
            26..30 => Step::EndTransaction {
                producer: self.between(TRANSACTIONAL_FROM, PRODUCERS as i64 - 1),
                abort: !self.one_in(3),
            },
            30..34 => Step::Replicate { batches: 1 + self.random.below(3) as usize },
            34 => Step::Resend,
            35..38 => Step::Read,
            38 | 39 => Step::FindTime,
            40..43 => Step::Flush,
            43 => Step::FlushSealed,
            44 => Step::BeginFlush,
            45 => Step::EndFlush,
            46 => Step::Roll,
            47 | 48 => Step::Retention,
            49 => Step::Purge,
            50 => Step::CloseIdleFiles,
            51 => Step::AdvanceStart { to: self.between(start, end) },
            52 | 53 => Step::Truncate { to: self.between(start, end) },
            54 => match self.one_in(3) {
                // Also before the first segment, as where a follower's leader begins earlier.
                true if self.one_in(2) => Step::RestartAt { offset: self.between(0, start) },
                true => Step::RestartAt { offset: end + self.between(1, 20) },
                false => Step::Roll,
            },
            55..58 => Step::Checkpoint,
            58 | 59 => Step::CleanStop,
            _ => Step::Crash,
        }
    }

    fn take(&mut self, step: Step) -> Result<()> {
        let now_ms = self.now_ms;
        match step {
            Step::Append { producer, records, value_bytes, pause_ms } => {
                self.now_ms += pause_ms;
                let told = self.batch(self.history.end, producer, records, value_bytes);
                return self.append(&told);
            }
            Step::EndTransaction { producer, abort } => {
                if self.history.open_transaction(producer).is_some() {
                    let told = self.marker(producer, abort);
                    return self.append(&told);
                }
            }
            Step::Replicate { batches } => return self.replicate(batches),
            Step::Resend => self.resend(),
            Step::Read => return self.read(),
            Step::FindTime => return self.find_time(),
            Step::Flush => {
                let end = self.history.end;
                self.log_mut().flush(now_ms)?;
                self.history.flushed = end;
            }
            Step::FlushSealed => {
                let flush = self.log().begin_flush_sealed()?;
                let end = self.log().segments().last().unwrap().base_offset.0;
                self.flush = Some((flush, end));
                return self.end_flush();
            }
            Step::BeginFlush => self.flush = Some((self.log().begin_flush()?, self.history.end)),
            Step::EndFlush => return self.end_flush(),
            Step::Roll => self.log_mut().roll(now_ms)?,
            Step::Retention => return self.retention(),
            Step::Purge => {
                let mut deleted = self.log_mut().take_deleted(i64::MAX);
                let unlinked = deleted.unlink();
                self.log_mut().put_back_deleted(deleted, now_ms);
                return unlinked;
            }
            Step::CloseIdleFiles => {
                self.log().close_idle_files();
                _ = self.log_mut().close_idle_active();
            }
            Step::AdvanceStart { to } => {
                self.log_mut().advance_start_offset(Offset(to))?;
                self.history.start = self.history.start.max(to);
            }
            Step::Truncate { to } => return self.truncate(to),
            Step::RestartAt { offset } => return self.restart_at(offset),
            Step::Checkpoint => self.write_checkpoint(),
            Step::CleanStop => {
                let log = self.log.take().expect("it is open between two steps");
                let (start, end) = (log.start_offset().0, log.end_offset().0);
                log.close(now_ms)?;
                self.history.flushed = end;
                self.checkpoint = (end, start);
            }
            Step::Crash => {}
        }
        Ok(())
    }

    /// A batch as it will lie in the log at `base`.
    fn batch(&mut self, base: i64, producer: Option<i64>, records: usize, value_bytes: usize) -> Told {
        let time = self.between(0, 3000);
        let sequence = producer.map_or(-1, |id| self.next_sequence(id));
        let is_transactional = producer.is_some_and(|id| id >= TRANSACTIONAL_FROM);
        if self.one_in(20) {
            self.epoch += 1;
        }
        let made = Made {
            base_offset: base,
            leader_epoch: self.epoch,
            attributes: if is_transactional { TRANSACTIONAL } else { 0 },
            timestamps: vec![time; records],
            producer: producer.map_or((-1, -1, -1), |id| (id, 0, sequence)),
            value_bytes,
        };
        let part = if is_transactional { Part::Inside } else { Part::Plain };
        Told {
            base,
            end: base + records as i64,
            epoch: self.epoch,
            max_timestamp: time,
            bytes: made.bytes(),
            producer: producer.map(|id| (id, sequence + records as i32 - 1, part)),
        }
    }

    /// The number that the next record of a producer must have. One of which only a marker is known begins anew.
    fn next_sequence(&self, producer: i64) -> i32 {
        let known = self.log().producers().entries().find(|entry| entry.producer_id == ProducerId(producer));
        known.map_or_else(|| self.history.next_sequence(producer), |known| known.last_sequence + 1)
    }

    fn marker(&mut self, producer: i64, abort: bool) -> Told {
        let (base, time) = (self.history.end, self.between(0, 3000));
        let (kind, part) = if abort { (ControlType::Abort, Part::Abort) } else { (ControlType::Commit, Part::Commit) };
        let mut builder =
            BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(0), -1).transactional().control();
        builder.push(time, Some(&kind.key()), Some(&[0, 0, 0, 0, 0, COORDINATOR_EPOCH]), &[]);
        let mut bytes = builder.build().unwrap();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.epoch.to_be_bytes());
        let producer = Some((producer, -1, part));
        Told { base, end: base + 1, epoch: self.epoch, max_timestamp: time, bytes, producer }
    }

    fn append(&mut self, told: &Told) -> Result<()> {
        let (batch, rest) = Batch::parse(&told.bytes).unwrap();
        assert!(rest.is_empty() && told.bytes.len() > HEADER_BYTES);
        if !batch.header().attributes.is_control() {
            assert_eq!(self.log().check_producer(batch.header()), Ok(Verdict::Append));
        }
        let assign = LeaderAppend {
            leader_epoch: LeaderEpoch(told.epoch),
            now_ms: self.now_ms,
            log_append_time: false,
            max_timestamp: told.max_timestamp,
        };
        let appended = self.log_mut().append_leader(&batch, assign);
        self.appended(vec![told.clone()], appended)
    }

    /// Batches that come with their offsets, of producers without a number.
    fn replicate(&mut self, count: usize) -> Result<()> {
        let (mut batches, mut base) = (Vec::new(), self.history.end);
        for _ in 0..count {
            let (records, value_bytes) = (1 + self.random.below(3) as usize, self.random.below(200) as usize);
            let told = self.batch(base, None, records, value_bytes);
            base = told.end;
            batches.push(told);
        }
        let bytes = batches.iter().flat_map(|told| told.bytes.clone()).collect::<Vec<_>>();
        let now_ms = self.now_ms;
        let appended = self.log_mut().append_follower(&bytes, now_ms);
        self.appended(batches, appended)
    }

    fn appended(&mut self, batches: Vec<Told>, appended: Result<Appended>) -> Result<()> {
        match appended {
            Ok(appended) => {
                assert_eq!(appended.base_offset.0, self.history.end);
                batches.into_iter().for_each(|told| self.history.push(told));
                assert_eq!(appended.last_offset.0, self.history.end - 1);
                if self.fixture.config.flush_before_ack {
                    assert!(self.log().owes_flush());
                    let (now_ms, end) = (self.now_ms, self.history.end);
                    self.log_mut().flush(now_ms)?;
                    self.history.flushed = end;
                }
                Ok(())
            }
            Err(error) => {
                self.history.failed.extend(batches);
                Err(error)
            }
        }
    }

    /// The last batch of some producer comes again.
    fn resend(&mut self) {
        let Some(told) = self.history.batches.last() else { return };
        if matches!(told.producer, Some((_, _, Part::Plain | Part::Inside))) && told.base >= self.history.start {
            let header = *Batch::parse(&told.bytes).unwrap().0.header();
            let (base_offset, last_offset) = (Offset(told.base), Offset(told.end - 1));
            let expected = Verdict::Duplicate { base_offset, last_offset, timestamp: told.max_timestamp };
            assert_eq!(self.log().check_producer(&header), Ok(expected));
        }
    }

    fn read(&mut self) -> Result<()> {
        let (start, end) = (self.history.start, self.history.end);
        let (from, bound) = (self.between(start, end), self.between(start, end));
        let slice = self.log().read(Offset(from), self.random.clone().below(2000) as u32, Offset(bound), true)?;
        let holder = self.history.batches.iter().find(|told| told.end > from && told.end <= bound);
        match holder {
            Some(told) => {
                assert_eq!(slice.first_offset.0, told.base);
                let found = bytes_of(&slice);
                assert!(found.starts_with(&told.bytes), "other bytes at {}", told.base);
            }
            None => assert_eq!(slice.length, 0),
        }
        Ok(())
    }

    fn find_time(&mut self) -> Result<()> {
        let (target, bound) = (self.between(0, 3000), self.history.end);
        let found = self.log().offset_for_timestamp(target, Offset(bound))?;
        assert_eq!(found.map(|found| found.offset.0), self.history.find_time(target));
        Ok(())
    }

    fn end_flush(&mut self) -> Result<()> {
        if let Some((flush, end)) = self.flush.take() {
            let (ran, now_ms) = (flush.run(), self.now_ms);
            self.log_mut().finish_flush(&flush, ran, now_ms)?;
            self.history.flushed = self.history.flushed.max(end);
        }
        Ok(())
    }

    fn retention(&mut self) -> Result<()> {
        let (now_ms, end) = (self.now_ms, self.history.end);
        let deleted = self.log_mut().enforce_retention(now_ms, Offset(end));
        let start = match &deleted {
            Ok(deleted) => deleted.last().map_or(self.history.start, |last| self.history.start.max(last.end_offset.0)),
            // Some of the segments went.
            Err(_) => self.log().start_offset().0,
        };
        assert!(start == self.history.start || self.history.batches.iter().any(|told| told.end == start));
        self.history.start = start;
        deleted.map(drop)
    }

    /// What a flush covers that was begun is no longer what lies there.
    fn overtake_flush(&mut self) {
        if let Some((_, end)) = &mut self.flush {
            *end = 0;
        }
    }

    fn truncate(&mut self, to: i64) -> Result<()> {
        if to < self.history.end {
            self.overtake_flush();
        }
        let now_ms = self.now_ms;
        let truncated = self.log_mut().truncate_to(Offset(to), now_ms);
        if let Err(error) = truncated {
            if self.log().check_usable().is_ok() {
                // Nothing was cut.
                return Err(error);
            }
            // A batch goes as a whole.
            self.doubt = self.history.batches.iter().find(|told| told.end > to).map_or(to, |told| told.base);
            return Err(error);
        }
        // A segment whose indexes could not be opened was read, and ends where the disk has damaged it.
        let end = self.log().end_offset().0;
        self.history.truncate(if self.flipped.contains(&end) { to.min(end) } else { to });
        self.write_checkpoint();
        Ok(())
    }

    fn restart_at(&mut self, offset: i64) -> Result<()> {
        self.overtake_flush();
        let now_ms = self.now_ms;
        if let Err(error) = self.log_mut().restart_at(Offset(offset), now_ms) {
            if self.log().check_usable().is_ok() {
                return Err(error);
            }
            (self.doubt, self.restarting) = (-1, Some(offset));
            return Err(error);
        }
        self.history.restart(offset);
        self.write_checkpoint();
        Ok(())
    }

    fn write_checkpoint(&mut self) {
        let log = self.log();
        let (recovery_point, start) = (log.recovery_checkpoint().0, log.start_offset().0);
        // What was deleted need not be.
        assert!(recovery_point <= self.history.flushed.max(start), "{recovery_point} was not flushed");
        self.checkpoint = (recovery_point, start);
    }

    fn check_unusable(&mut self) {
        let now_ms = self.now_ms;
        let bytes = Made { base_offset: self.log().end_offset().0, ..Made::default() }.bytes();
        let log = self.log_mut();
        let refused = [
            log.append_follower(&bytes, now_ms).map(drop),
            log.roll(now_ms),
            log.flush(now_ms),
            log.truncate_to(Offset(0), now_ms).map(drop),
            log.close_for_good(now_ms),
        ];
        assert!(refused.iter().all(|done| matches!(done, Err(Error::Unusable { .. }))), "{refused:?}");
        if self.doubt == i64::MAX {
            self.read().unwrap();
        }
    }

    fn compare(&mut self) {
        self.history.compare(self.log.as_ref().expect("it is open between two steps"));
    }

    /// The process ends and another one starts, perhaps not at the first try. `clean` is whether the log was closed.
    fn restart(&mut self, mut clean: bool, steps: &mut Vec<String>) {
        let mut least = self.history.end.min(self.doubt);
        let mut last_left;
        loop {
            (self.log, self.flush) = (None, None);
            let crash = if self.one_in(2) { Crash::Kill } else { Crash::PowerCut };
            let keeps_all = simulated::with(|disk| match crash {
                Crash::Kill => disk.kill(),
                Crash::PowerCut => {
                    disk.cut_power();
                    false
                }
            });
            if !keeps_all {
                least = least.min(self.history.flushed);
                self.is_of_this_boot = false;
            }
            if matches!(crash, Crash::PowerCut) && self.one_in(FLIPPED_ONE_IN) {
                self.flip(steps);
            }
            // Where it is looked for, it ends the log.
            least = self.flipped.first().map_or(least, |first| least.min(*first));
            let left = match clean {
                true => Left::Cleanly,
                // The mark may have been lost, too.
                false if self.is_of_this_boot && !self.one_in(4) => Left::Killed,
                false => Left::Unknown,
            };
            let trouble = if self.one_in(3) { self.choose_trouble() } else { Trouble::None };
            last_left = left;
            steps.push(format!("{crash:?}, open {left:?} {:?}, {trouble:?}", self.checkpoint));
            simulated::with(|disk| disk.set_trouble(trouble));
            let opened = self.open(left);
            let failures = simulated::with(|disk| disk.failures());
            simulated::with(|disk| disk.set_trouble(Trouble::None));
            // The mark of a clean stop is gone from now on.
            clean = false;
            let is_over = matches!(trouble, Trouble::Over(_)) && failures > 0;
            match opened {
                Ok(log) if !is_over => {
                    self.is_of_this_boot = true;
                    self.log = Some(log);
                    break;
                }
                Ok(_) => {}
                Err(error) => assert!(failures > 0, "it does not open: {error}"),
            }
        }
        let log = self.log.as_ref().expect("it was opened");
        let restarts = [Some(self.checkpoint.1), self.restarting.take()];
        self.history.survive(log, least, &restarts);
        self.doubt = i64::MAX;
        self.check_flipped(last_left);
        self.write_checkpoint();
        let last = steps.len() - 1;
        steps[last] += &format!(": {} to {}", self.history.start, self.history.end);
    }

    /// A bit of the last value of some batch that was flushed.
    fn flip(&mut self, steps: &mut Vec<String>) {
        let (start, flushed) = (self.history.start, self.history.flushed);
        let is_eligible = |told: &&mut Told| {
            let is_data = !matches!(told.producer, Some((.., Part::Commit | Part::Abort)));
            is_data && told.base >= start && told.end <= flushed && told.bytes.ends_with(b"v\0")
        };
        let count = self.history.batches.iter_mut().filter(is_eligible).count();
        if count == 0 {
            return;
        }
        let chosen = self.random.below(count as u64) as usize;
        let told = self.history.batches.iter_mut().filter(is_eligible).nth(chosen).expect("it was counted");
        let at = told.bytes.len() - 2;
        if simulated::with(|disk| disk.flip(&told.bytes, at)) {
            told.bytes[at] ^= 1;
            self.flipped.insert(told.base);
            steps.push(format!("a bit of the batch of offset {} flips", told.base));
        }
    }

    /// Behind the recovery point, no flipped bit is left; before it, readers find it.
    fn check_flipped(&mut self, left: Left) {
        let there = |base: &i64| self.history.batches.iter().find(|told| told.base == *base);
        let wrong = |told: &Told| !Batch::parse(&told.bytes).unwrap().0.is_crc_valid();
        self.flipped.retain(|base| there(base).is_some_and(wrong));
        let first = self.log().segments().next().unwrap().base_offset.0;
        if left == Left::Unknown {
            for told in self.flipped.iter().filter_map(there).filter(|told| told.base >= first) {
                assert!(told.end <= self.checkpoint.0, "the flipped bit in {} was believed", told.base);
            }
        }
    }

    fn open(&self, left: Left) -> Result<Log> {
        let options = known(left, self.checkpoint, self.now_ms);
        Ok(Log::open(&self.path(), self.fixture.config.clone(), options)?.0)
    }
}
