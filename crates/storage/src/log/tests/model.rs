//! The log against a plain list of batches, through random histories.

use std::result::Result;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Timestamps, bytes a value, and how far the clock goes on.
    Append(Vec<i64>, usize, i64),
    Flush,
    CleanRestart,
    /// The process dies; of what was not flushed, the last so many thousandths of the active segment are lost.
    Crash(u64),
    Truncate(u64),
    AdvanceStart(u64),
    Retention,
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let timestamps = prop::collection::vec(prop_oneof![9 => 0..3000i64, 1 => Just(-1)], 1..6);
    prop_oneof![
        12 => (timestamps, 0..300usize, 0..400i64).prop_map(|(times, bytes, pause)| Step::Append(times, bytes, pause)),
        1 => Just(Step::Flush),
        1 => Just(Step::CleanRestart),
        1 => (0..1001u64).prop_map(Step::Crash),
        1 => (0..1001u64).prop_map(Step::Truncate),
        1 => (0..1001u64).prop_map(Step::AdvanceStart),
        1 => Just(Step::Retention),
        1 => Just(Step::Purge),
    ]
}

/// What the log should hold.
#[derive(Default)]
struct Model {
    batches: Vec<Stored>,
    start: i64,
    end: i64,
}

struct Stored {
    base: i64,
    timestamps: Vec<i64>,
    bytes: Vec<u8>,
}

impl Stored {
    fn end(&self) -> i64 {
        self.base + self.timestamps.len() as i64
    }
}

impl Model {
    fn append(&mut self, made: &Made) {
        let base = self.end;
        let bytes = Made { base_offset: base, leader_epoch: 5, ..made.clone() }.bytes();
        self.batches.push(Stored { base, timestamps: made.timestamps.clone(), bytes });
        self.end = self.batches.last().unwrap().end();
    }

    fn truncate(&mut self, to: i64) {
        if to < self.end {
            let first = self.batches.first().map_or(self.end, |batch| batch.base);
            self.batches.retain(|batch| batch.end() <= to);
            self.end = self.batches.last().map_or(first, Stored::end);
            self.start = self.start.min(self.end);
        }
    }

    /// All whole batches that a read returns, without a limit, up to the next segment's base.
    fn read(&self, from: i64, bound: i64, segment_end: i64) -> Vec<u8> {
        let within = |batch: &&Stored| batch.end() > from && batch.end() <= bound && batch.base < segment_end;
        self.batches.iter().filter(within).flat_map(|batch| batch.bytes.clone()).collect()
    }

    fn find_time(&self, target: i64, bound: i64) -> Option<(i64, i64)> {
        let records = self.batches.iter().flat_map(|batch| (batch.base..).zip(batch.timestamps.iter().copied()));
        records.filter(|(offset, _)| (self.start..bound).contains(offset)).find(|(_, timestamp)| *timestamp >= target)
    }
}

fn compare(log: &Log, model: &Model) -> Result<(), TestCaseError> {
    log.check();
    prop_assert_eq!((log.start_offset().0, log.end_offset().0), (model.start, model.end));
    let bases: Vec<i64> = log.segments().map(|segment| segment.base_offset.0).collect();
    for from in model.start..=model.end {
        let bound = model.end - from % 3;
        let found = log.read(Offset(from), u32::MAX, Offset(bound), true).unwrap();
        let holder = model.batches.iter().find(|batch| batch.end() > from).map_or(from, |batch| batch.base);
        let segment_end = bases.iter().copied().find(|base| *base > holder).unwrap_or(i64::MAX);
        let expected = if from < bound { model.read(from, bound, segment_end) } else { Vec::new() };
        prop_assert_eq!(hex(&bytes_of(&found)), hex(&expected), "from {} to {}", from, bound);
    }
    for target in [0, 500, 1000, 1500, 2500, 2999, 3001] {
        let found = log.offset_for_timestamp(target, Offset(model.end)).unwrap();
        let found = found.map(|found| (found.offset.0, found.timestamp));
        prop_assert_eq!(found, model.find_time(target, model.end), "time {}", target);
    }
    Ok(())
}

fn run(steps: Vec<Step>, segment_bytes: u32, index_interval_bytes: u32) -> Result<(), TestCaseError> {
    let config = LogConfig {
        index_interval_bytes,
        segment_ms: 2500,
        retention_bytes: Some(4 * u64::from(segment_bytes)),
        retention_ms: Some(20_000),
        ..small_segments(segment_bytes)
    };
    let (fixture, mut log) = Fixture::new(config);
    let (mut model, mut now_ms) = (Model::default(), 0);
    for step in steps {
        match step {
            Step::Append(timestamps, value_bytes, pause_ms) => {
                now_ms += pause_ms;
                let made = Made { value_bytes, ..Made::at(&timestamps) };
                let appended = append_at(&mut log, &made, now_ms);
                prop_assert_eq!(appended.base_offset.0, model.end);
                model.append(&made);
                prop_assert_eq!(appended.last_offset.0, model.end - 1);
            }
            Step::Flush => log.flush(now_ms).unwrap(),
            Step::CleanRestart => {
                log.close(now_ms).unwrap();
                log = fixture.try_open(true, model.end, model.start).unwrap().0;
            }
            Step::Crash(lost) => {
                let active = log.segments().last().unwrap();
                let recovery_point = log.recovery_point().0;
                drop(log);
                let path = crate::segment::file_path(&fixture.path(), active.base_offset, "log");
                let in_active = model.batches.iter().filter(|batch| batch.base >= active.base_offset.0);
                let flushed: usize =
                    in_active.filter(|batch| batch.end() <= recovery_point).map(|batch| batch.bytes.len()).sum();
                let losable = u64::from(active.size_bytes) - flushed as u64;
                let left = u64::from(active.size_bytes) - losable * lost / 1000;
                fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(left).unwrap();
                let opened = fixture.try_open(false, recovery_point, model.start).unwrap();
                log = opened.0;
                let mut position = 0;
                let fits = |batch: &Stored| {
                    if batch.base >= active.base_offset.0 {
                        position += batch.bytes.len() as u64;
                    }
                    position <= left
                };
                let kept = model.batches.iter().map(fits).take_while(|fits| *fits).count();
                model.batches.truncate(kept);
                model.end = model.batches.last().map_or(active.base_offset.0, Stored::end);
                if model.end < model.start {
                    (model.batches, model.end) = (Vec::new(), model.start);
                }
            }
            Step::Truncate(share) => {
                let first = log.segments().next().unwrap().base_offset.0;
                let to = first + (model.end - first) * share as i64 / 1000;
                log.truncate_to(Offset(to), now_ms).unwrap();
                model.truncate(to);
            }
            Step::AdvanceStart(share) => {
                let to = model.start + (model.end - model.start) * share as i64 / 4000;
                log.advance_start_offset(Offset(to)).unwrap();
                model.start = model.start.max(to);
            }
            Step::Retention => {
                for deleted in log.enforce_retention(now_ms, Offset(model.end)).unwrap() {
                    model.batches.retain(|batch| batch.base >= deleted.end_offset.0);
                    model.start = model.start.max(deleted.end_offset.0);
                }
            }
            Step::Purge => purge(&mut log, i64::MAX),
        }
        compare(&log, &model)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn histories_agree_with_a_plain_list_of_batches(
        steps in prop::collection::vec(step(), 1..40),
        segment_bytes in prop_oneof![Just(400u32), Just(1500), Just(20_000)],
        index_interval_bytes in prop_oneof![Just(0u32), Just(300), Just(4096)],
    ) {
        run(steps, segment_bytes, index_interval_bytes)?;
    }
}
