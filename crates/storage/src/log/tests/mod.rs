//! The log through its public face: by example here, against a plain model in `model`.

mod batches;
mod compaction;
mod failures;
mod faulty;
mod kills;
mod model;
mod producers;
mod retention;
mod startup;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use expect_test::expect;
use ottla_base::{LeaderEpoch, Offset, TopicPartition};
use ottla_protocol::records::Batch;
use tempfile::TempDir;

use super::*;
use batches::Made;

/// A folder with one log in it.
struct Fixture {
    folder: TempDir,
    config: LogConfig,
}

impl Fixture {
    fn new(config: LogConfig) -> (Self, Log) {
        let this = Self { folder: tempfile::tempdir().unwrap(), config };
        let log = this.open(true, 0).0;
        (this, log)
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("t-0")
    }

    fn open(&self, clean: bool, recovery_point: i64) -> (Log, Recovery) {
        self.try_open(clean, recovery_point, 0).unwrap()
    }

    fn try_open(&self, clean: bool, recovery_point: i64, log_start: i64) -> Result<(Log, Recovery)> {
        self.open_left(if clean { Left::Cleanly } else { Left::Unknown }, recovery_point, log_start)
    }

    fn open_left(&self, left: Left, recovery_point: i64, log_start: i64) -> Result<(Log, Recovery)> {
        let opened = Log::open(&self.path(), self.config.clone(), known(left, (recovery_point, log_start), 0))?;
        opened.0.check();
        Ok(opened)
    }

    /// The names of the log's files, with their lengths.
    fn files(&self) -> String {
        let mut names: Vec<String> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| format!("{} {}\n", entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
            .collect();
        names.sort();
        names.concat()
    }
}

/// What is known of the log when it is opened, with the recovery point and the start that were written down.
fn known(left: Left, (recovery_point, log_start): (i64, i64), now_ms: i64) -> OpenLog {
    OpenLog {
        topic_partition: TopicPartition::new("t", 0),
        left,
        recovery_point: Offset(recovery_point),
        log_start_offset: Offset(log_start),
        now_ms,
        producers: crate::ProducerCount::default(),
    }
}

fn small_segments(segment_bytes: u32) -> LogConfig {
    LogConfig { segment_bytes, index_interval_bytes: 0, segment_index_bytes: 4096, ..LogConfig::default() }
}

fn append(log: &mut Log, made: &Made) -> Appended {
    append_at(log, made, 0)
}

fn append_at(log: &mut Log, made: &Made, now_ms: i64) -> Appended {
    try_append_at(log, made, now_ms).unwrap()
}

fn try_append_at(log: &mut Log, made: &Made, now_ms: i64) -> Result<Appended> {
    let bytes = made.bytes();
    let assign = LeaderAppend {
        leader_epoch: LeaderEpoch(5),
        now_ms,
        log_append_time: false,
        max_timestamp: made.max_timestamp(),
    };
    let appended = log.append_leader(&Batch::parse(&bytes).unwrap().0, assign);
    log.check();
    appended
}

/// The bytes of a slice.
fn bytes_of(slice: &LogSlice) -> Vec<u8> {
    let mut bytes = vec![0; slice.length as usize];
    slice.file.read_exact_at(&mut bytes, slice.position).unwrap();
    bytes
}

/// The base offsets of the batches that are whole in a slice.
fn bases(slice: &LogSlice) -> Vec<i64> {
    let bytes = bytes_of(slice);
    let (mut rest, mut bases) = (&bytes[..], Vec::new());
    while rest.len() >= 12 {
        let length = 12 + u32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize;
        let Some(after) = rest.get(length..) else { break };
        bases.push(i64::from_be_bytes(rest[..8].try_into().unwrap()));
        rest = after;
    }
    bases
}

fn read(log: &Log, from: i64, max_bytes: u32, bound: i64) -> Vec<i64> {
    bases(&log.read(Offset(from), max_bytes, Offset(bound), true).unwrap())
}

fn purge(log: &mut Log, now_ms: i64) {
    log.take_deleted(now_ms).unlink().unwrap();
}

/// Asserts that these calls were made in this order; of several that are alike, the first one counts.
fn assert_in_order(calls: &[String], order: &[&str]) {
    let place =
        |call: &&str| calls.iter().position(|other| other == call).unwrap_or_else(|| panic!("{call}: {calls:#?}"));
    let places: Vec<usize> = order.iter().map(place).collect();
    assert!(places.is_sorted(), "{places:?} {calls:#?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_a_segment_are_those_that_were_sent_with_offset_and_epoch_filled_in() {
    let (fixture, mut log) = Fixture::new(LogConfig { index_interval_bytes: 50, ..LogConfig::default() });
    for timestamps in [&[1000, 1005][..], &[2000], &[1999]] {
        append(&mut log, &Made { value_bytes: 2, ..Made::at(timestamps) });
    }
    log.close(0).unwrap();
    let folder = fixture.path();
    let file = |name: &str| hex(&fs::read(folder.join(name)).unwrap());
    let sent: Vec<u8> = [(0, &[1000, 1005][..]), (2, &[2000]), (3, &[1999])]
        .into_iter()
        .flat_map(|(base_offset, timestamps)| {
            Made { base_offset, leader_epoch: 5, value_bytes: 2, ..Made::at(timestamps) }.bytes()
        })
        .collect();
    assert_eq!(file("00000000000000000000.log"), hex(&sent));
    // Batches of 79 and 70 bytes: entries for the second (last offset 2) and the third (last offset 3).
    assert_eq!(file("00000000000000000000.index"), "000000020000004f0000000300000095");
    assert_eq!(file("00000000000000000000.timeindex"), "00000000000007d000000002");
    assert_eq!(fs::read_to_string(folder.join("leader-epoch-checkpoint")).unwrap(), "0\n1\n5 0\n");
    expect![[r#"
        00000000000000000000.index 16
        00000000000000000000.log 219
        00000000000000000000.timeindex 12
        00000000000000000004.snapshot 10
        leader-epoch-checkpoint 8
    "#]]
    .assert_eq(&fixture.files());
}

#[test]
fn log_append_time_replaces_the_timestamps_and_the_checksum_follows() {
    let (fixture, mut log) = Fixture::new(LogConfig::default());
    let bytes = Made::at(&[1000, 900]).bytes();
    let assign =
        LeaderAppend { leader_epoch: LeaderEpoch(0), now_ms: 7777, log_append_time: true, max_timestamp: 1000 };
    let appended = log.append_leader(&Batch::parse(&bytes).unwrap().0, assign).unwrap();
    assert_eq!(appended.log_append_time_ms, 7777);
    let found = log.offset_for_timestamp(2000, Offset(2)).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(0), 7777));
    drop(log);
    let (log, recovery) = fixture.open(false, 0);
    assert_eq!((recovery.cut, log.end_offset()), (None, Offset(2)));
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    for _ in 0..3 {
        append(&mut log, &Made::sized(10, 500));
    }
    let all = u32::MAX;
    assert_eq!(read(&log, 0, all, 30), [0, 10, 20]);
    assert_eq!(read(&log, 9, all, 30), [0, 10, 20]);
    assert_eq!(read(&log, 10, all, 30), [10, 20]);
    assert_eq!(read(&log, 29, all, i64::MAX), [20]);
    assert_eq!(read(&log, 30, all, 30), [0i64; 0]);
    assert_eq!(log.read(Offset(15), all, Offset(30), true).unwrap().first_offset, Offset(10));
    for outside in [-1, 31] {
        let error = log.read(Offset(outside), all, Offset(30), true).unwrap_err();
        assert!(matches!(error, Error::OffsetOutOfRange { .. }), "{error}");
    }
}

#[test]
fn a_read_ends_before_the_batch_that_reaches_up_to_the_bound() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    for _ in 0..3 {
        append(&mut log, &Made::sized(10, 500));
    }
    for (bound, expected) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 3)] {
        assert_eq!(read(&log, 0, u32::MAX, bound).len(), expected, "bound {bound}");
    }
}

#[test]
fn a_first_batch_larger_than_the_limit_is_given_whole_where_asked_for() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &Made::sized(1, 5000));
    append(&mut log, &Made::sized(1, 100));
    let size = Made::sized(1, 5000).bytes().len() as u32;
    let read = |max_bytes, at_least_one| log.read(Offset(0), max_bytes, Offset(2), at_least_one).unwrap().length;
    assert_eq!(read(1, true), size);
    assert_eq!(read(0, true), size);
    assert_eq!(read(size - 1, false), 0);
    assert_eq!(read(size, false), size);
    assert_eq!(read(size + 7, false), size + 7, "the last batch is cut off by the limit");
}

#[test]
fn segments_roll_by_size_and_nothing_is_skipped_where_one_ends() {
    let (fixture, mut log) = Fixture::new(small_segments(1300));
    for _ in 0..7 {
        append(&mut log, &Made::sized(10, 500));
    }
    let segments: Vec<i64> = log.segments().map(|segment| segment.base_offset.0).collect();
    assert_eq!(segments, [0, 20, 40, 60]);
    let (mut from, mut seen) = (0, Vec::new());
    while from < 70 {
        let found = read(&log, from, u32::MAX, 70);
        from = found.last().unwrap() + 10;
        seen.extend(found);
        log.check();
    }
    assert_eq!(seen, [0, 10, 20, 30, 40, 50, 60]);
    log.close(0).unwrap();
    let snapshots = fixture.files().lines().filter(|line| line.contains("snapshot")).count();
    assert!(snapshots >= 2, "{}", fixture.files());
}

#[test]
fn segments_roll_by_the_time_of_their_records_or_else_by_the_clock() {
    let config = LogConfig { segment_ms: 1000, retention_ms: None, ..LogConfig::default() };
    let (_fixture, mut log) = Fixture::new(config.clone());
    append_at(&mut log, &Made::at(&[5000]), 0);
    append_at(&mut log, &Made::at(&[6000]), 1 << 40);
    assert_eq!(log.segments().count(), 1, "the records' own time counts");
    append_at(&mut log, &Made::at(&[6001]), 0);
    assert_eq!(log.segments().count(), 2);

    let (_fixture, mut log) = Fixture::new(config);
    append_at(&mut log, &Made::at(&[-1]), 500);
    append_at(&mut log, &Made::at(&[-1]), 1000);
    assert_eq!(log.segments().count(), 1);
    append_at(&mut log, &Made::at(&[-1]), 1001);
    assert_eq!(log.segments().count(), 2, "without timestamps, the segment's age counts");
}

#[test]
fn segments_roll_when_an_index_is_full() {
    let (_fixture, mut log) = Fixture::new(LogConfig { segment_index_bytes: 40, ..small_segments(1 << 20) });
    for timestamp in 0..9 {
        append(&mut log, &Made::at(&[timestamp]));
    }
    let segments: Vec<i64> = log.segments().map(|segment| segment.base_offset.0).collect();
    // The time index holds 3 entries and keeps one place free; the first batch of a segment has no entry.
    assert_eq!(segments, [0, 3, 6]);
    for offset in 0..9 {
        assert_eq!(read(&log, offset, 1, 9), [offset]);
        assert_eq!(log.offset_for_timestamp(offset, Offset(9)).unwrap().unwrap().offset, Offset(offset));
    }
}

#[test]
fn the_active_segment_follows_changed_limits_of_its_indexes() {
    let bases = |log: &Log| log.segments().map(|segment| segment.base_offset.0).collect::<Vec<_>>();
    let limited = |bytes| LogConfig { segment_index_bytes: bytes, ..small_segments(1 << 20) };
    for reopened in [false, true] {
        let (fixture, mut log) = Fixture::new(limited(40));
        append(&mut log, &Made::at(&[0]));
        if reopened {
            // A start opens all logs before it knows the settings of their topics.
            log.close(0).unwrap();
            log = fixture.open(true, 1).0;
        }
        log.configure(limited(400));
        for timestamp in 1..12 {
            append(&mut log, &Made::at(&[timestamp]));
        }
        assert_eq!(bases(&log), [0], "reopened: {reopened}");
        log.configure(limited(40));
        for timestamp in 12..16 {
            append(&mut log, &Made::at(&[timestamp]));
        }
        assert_eq!(bases(&log), [0, 12, 15]);
        for offset in 0..16 {
            assert_eq!(read(&log, offset, 1, 16), [offset]);
            assert_eq!(log.offset_for_timestamp(offset, Offset(16)).unwrap().unwrap().offset, Offset(offset));
        }
    }
}

#[test]
fn the_newest_time_of_a_segment_is_known_although_its_index_is_full() {
    let limited = |bytes, interval| LogConfig {
        segment_index_bytes: bytes,
        index_interval_bytes: interval,
        ..small_segments(1 << 20)
    };
    // The index becomes full because the limit shrinks, in a start after a crash, or in one append.
    for case in ["limit", "crash", "append"] {
        let (mut fixture, mut log) = Fixture::new(limited(400, 100));
        let batches: Vec<u8> =
            (0..14).flat_map(|time| Made { base_offset: time, leader_epoch: 5, ..Made::at(&[time]) }.bytes()).collect();
        if case == "append" {
            log.configure(limited(40, 100));
        }
        log.append_follower(&batches, 0).unwrap();
        match case {
            "limit" => log.configure(limited(40, 100)),
            "crash" => {
                fixture.config = limited(40, 100);
                drop(log);
                log = fixture.open(false, 0).0;
            }
            _ => {}
        }
        append(&mut log, &Made::at(&[1]));
        assert_eq!(log.segments().count(), 2, "{case}");
        for time in 0..14 {
            let found = log.offset_for_timestamp(time, Offset(15)).unwrap();
            assert_eq!(found.map(|found| found.offset), Some(Offset(time)), "{case}");
        }
    }
}

#[test]
fn a_copy_of_a_compacted_log_has_no_gaps_between_segments_that_would_look_like_a_loss() {
    let (fixture, mut log) = Fixture::new(small_segments(1300));
    for base_offset in [0, 10, 30, 40] {
        log.append_follower(&Made { base_offset, ..Made::sized(10, 500) }.bytes(), 0).unwrap();
    }
    let segments: Vec<i64> = log.segments().map(|segment| segment.base_offset.0).collect();
    assert_eq!(segments, [0, 20]);
    assert_eq!(read(&log, 20, u32::MAX, 50), [30, 40]);
    drop(log);
    // As after a power cut, where nothing says that it was compacted.
    let (log, recovery) = fixture.open(false, 0);
    assert_eq!((log.end_offset(), recovery.cut), (Offset(50), None));
}

#[test]
fn a_follower_keeps_offsets_and_epochs_and_rolls_where_an_offset_does_not_fit_in() {
    let (fixture, mut log) = Fixture::new(LogConfig::default());
    let far = 5 + (1i64 << 31);
    let mut batches = Vec::new();
    for (base_offset, leader_epoch) in [(5, 1), (100, 2)] {
        batches.extend(Made { base_offset, leader_epoch, ..Made::at(&[1000, 1001]) }.bytes());
    }
    let appended = log.append_follower(&batches, 0).unwrap();
    assert_eq!((appended.base_offset, appended.last_offset), (Offset(5), Offset(101)));
    let last = Made { base_offset: far + 100, leader_epoch: 3, ..Made::default() };
    log.append_follower(&last.bytes(), 0).unwrap();
    log.check();
    let segments: Vec<i64> = log.segments().map(|segment| segment.base_offset.0).collect();
    assert_eq!(segments, [0, far + 100 - i64::from(i32::MAX)], "as near to the end as the last offset lets it be");
    assert_eq!(read(&log, 50, u32::MAX, i64::MAX), [100], "the gap belongs to the batch behind it");
    assert_eq!(read(&log, 102, u32::MAX, i64::MAX), [far + 100]);
    assert_eq!(read(&log, far, u32::MAX, i64::MAX), [far + 100]);
    assert_eq!(log.epochs().epoch_for(Offset(99)), Some(LeaderEpoch(1)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(3)));
    drop(log);
    let (log, recovery) = fixture.open(false, 0);
    assert_eq!((recovery.cut, recovery.scanned_segments, log.end_offset()), (None, 2, Offset(far + 101)));
}

#[test]
fn a_follower_takes_nothing_that_is_damaged_or_does_not_follow() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    let good = Made { base_offset: 10, leader_epoch: 1, ..Made::at(&[1, 2]) }.bytes();
    log.append_follower(&good, 0).unwrap();
    let next = Made { base_offset: 12, leader_epoch: 1, ..Made::at(&[1, 2]) }.bytes();
    let mut flipped = next.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let twice = [next.clone(), next.clone()].concat();
    let overlapping = Made { base_offset: 11, leader_epoch: 1, ..Made::default() }.bytes();
    for bad in [&good, &flipped, &twice, &overlapping, &next[..next.len() - 1].to_vec(), &next[..20].to_vec()] {
        log.append_follower(bad, 0).unwrap_err();
        log.check();
        assert_eq!(log.end_offset(), Offset(12), "nothing of it was written");
    }
    log.append_follower(&next, 0).unwrap();
}

#[test]
fn a_time_is_found_in_the_order_of_offsets() {
    let (_fixture, mut log) = Fixture::new(small_segments(400));
    for timestamps in [&[100, 300, 200][..], &[50], &[-1], &[400, 150], &[400], &[350]] {
        append(&mut log, &Made::at(timestamps));
    }
    assert!(log.segments().count() > 1);
    let found = |target, bound| {
        let found = log.offset_for_timestamp(target, Offset(bound)).unwrap();
        found.map(|found| (found.offset.0, found.timestamp, found.leader_epoch.0))
    };
    assert_eq!(found(0, 9), Some((0, 100, 5)));
    assert_eq!(found(101, 9), Some((1, 300, 5)));
    assert_eq!(found(250, 9), Some((1, 300, 5)));
    assert_eq!(found(301, 9), Some((5, 400, 5)));
    assert_eq!(found(301, 5), None, "only what lies below the bound counts");
    assert_eq!(found(401, 9), None);
    let largest = log.max_timestamp().unwrap().unwrap();
    assert_eq!((largest.offset, largest.timestamp), (Offset(5), 400));
}

#[test]
fn the_largest_timestamp_of_a_log_without_any_is_that_of_its_first_record() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    assert_eq!(log.max_timestamp().unwrap(), None);
    append(&mut log, &Made::at(&[-1]));
    append(&mut log, &Made::at(&[-1]));
    let largest = log.max_timestamp().unwrap().unwrap();
    assert_eq!((largest.offset, largest.timestamp), (Offset(0), -1));
    assert_eq!(log.offset_for_timestamp(0, Offset(1)).unwrap(), None);
}

#[test]
fn retention_by_age_takes_the_active_segment_too() {
    let (fixture, mut log) = Fixture::new(LogConfig { retention_ms: Some(1000), ..small_segments(1 << 20) });
    append(&mut log, &Made::at(&[5000]));
    let held = log.read(Offset(0), 1000, Offset(1), true).unwrap();
    assert_eq!(log.enforce_retention(6000, Offset(1)).unwrap(), []);
    assert_eq!(log.enforce_retention(6001, Offset(0)).unwrap(), [], "nothing above the high watermark goes");
    let deleted = log.enforce_retention(6001, Offset(1)).unwrap();
    log.check();
    let expected = Deleted {
        base_offset: Offset(0),
        end_offset: Offset(1),
        size_bytes: held.length,
        because: DeletedBecause::Age,
    };
    assert_eq!(deleted, [expected]);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(1), Offset(1)));
    assert_eq!(log.enforce_retention(1 << 40, Offset(1)).unwrap(), [], "an empty segment stays");
    assert!(fixture.files().contains("00000000000000000000.log.deleted"));
    purge(&mut log, 6001 + 59_999);
    assert!(fixture.files().contains(".deleted"));
    purge(&mut log, 6001 + 60_000);
    assert!(!fixture.files().contains(".deleted"), "{}", fixture.files());
    assert_eq!(bases(&held), [0], "a reader that holds the file may finish");
    assert!(matches!(log.read(Offset(0), 1, Offset(1), true), Err(Error::OffsetOutOfRange { .. })));
    append(&mut log, &Made::at(&[7000]));
    assert_eq!(read(&log, 1, 1000, 2), [1]);
}

#[test]
fn a_record_of_the_future_keeps_its_segment_and_all_behind_it() {
    let (_fixture, mut log) = Fixture::new(LogConfig { retention_ms: Some(10), ..small_segments(100) });
    for timestamp in [1, 2, 1 << 50, 3] {
        append(&mut log, &Made::at(&[timestamp]));
    }
    assert_eq!(log.enforce_retention(1000, Offset(4)).unwrap().len(), 2);
    assert_eq!(log.start_offset(), Offset(2));
    log.check();
}

#[test]
fn retention_by_size_keeps_at_least_what_was_promised() {
    let segment = Made::sized(1, 500).bytes().len() as u64;
    for (retention_bytes, kept) in
        [(0, 0), (segment - 1, 1), (segment, 1), (segment + 1, 2), (3 * segment, 3), (9 * segment, 4)]
    {
        let config = LogConfig { retention_bytes: Some(retention_bytes), ..small_segments(600) };
        let (_fixture, mut log) = Fixture::new(config);
        for _ in 0..4 {
            append(&mut log, &Made::sized(1, 500));
        }
        log.enforce_retention(2000, Offset(4)).unwrap();
        log.check();
        assert_eq!(log.size_bytes(), kept * segment, "retention.bytes {retention_bytes}");
    }
}

#[test]
fn segments_before_the_start_go_whatever_the_policy() {
    let (_fixture, mut log) =
        Fixture::new(LogConfig { delete: false, retention_bytes: Some(0), ..small_segments(600) });
    for _ in 0..4 {
        append(&mut log, &Made::sized(10, 500));
    }
    log.advance_start_offset(Offset(25)).unwrap();
    assert!(log.advance_start_offset(Offset(41)).is_err());
    log.advance_start_offset(Offset(5)).unwrap();
    assert_eq!(log.start_offset(), Offset(25), "it never goes back");
    let deleted = log.enforce_retention(i64::MAX, Offset(40)).unwrap();
    assert_eq!(deleted.iter().map(|deleted| deleted.base_offset.0).collect::<Vec<_>>(), [0, 10]);
    assert_eq!(read(&log, 25, 1, 40), [20], "the start may lie inside of a batch");
    let found = log.offset_for_timestamp(0, Offset(40)).unwrap().unwrap();
    assert_eq!(found.offset, Offset(25), "but a time is not found before it");
    log.check();
}

#[test]
fn truncation_takes_whole_batches_from_the_end() {
    let (fixture, mut log) = Fixture::new(small_segments(1300));
    for _ in 0..6 {
        append(&mut log, &Made::sized(10, 500));
    }
    log.flush(0).unwrap();
    assert_eq!(log.recovery_point(), Offset(60));
    for (to, end) in [(60, 60), (99, 60), (55, 50), (40, 40), (31, 30), (0, 0)] {
        assert_eq!(log.truncate_to(Offset(to), 0).unwrap(), Offset(end), "to {to}");
        log.check();
        assert_eq!(log.end_offset(), Offset(end));
        assert_eq!(read(&log, 0, u32::MAX, i64::MAX).len(), (end / 10).min(2) as usize);
    }
    assert_eq!(log.latest_epoch(), None);
    append(&mut log, &Made::sized(10, 500));
    assert_eq!(read(&log, 3, u32::MAX, 10), [0]);
    log.restart_at(Offset(1000), 0).unwrap();
    log.check();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(1000), Offset(1000)));
    assert_eq!(log.latest_epoch(), None);
    append(&mut log, &Made::sized(10, 500));
    log.close(0).unwrap();
    let (log, _) = fixture.open(true, 1010);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(1000), Offset(1010)));
}

#[test]
fn flushing_moves_the_recovery_point_and_is_due_as_configured() {
    let config = LogConfig { flush_messages: Some(5), flush_ms: Some(1000), ..LogConfig::default() };
    let (_fixture, mut log) = Fixture::new(config);
    append(&mut log, &Made::sized(2, 500));
    assert_eq!(log.recovery_point(), Offset(0));
    assert!(!log.is_flush_due(999));
    assert!(log.is_flush_due(1000));
    let flush = log.begin_flush().unwrap();
    append(&mut log, &Made::sized(2, 500));
    log.finish_flush(&flush, flush.run(), 1000).unwrap();
    log.check();
    assert_eq!(log.recovery_point(), Offset(2), "what came meanwhile may not be on the disk");
    assert!(!log.is_flush_due(1999));
    append(&mut log, &Made::sized(2, 500));
    assert_eq!(log.recovery_point(), Offset(2));
    assert!(!log.owes_flush());
    append(&mut log, &Made::sized(2, 500));
    assert!(log.owes_flush(), "the append that reaches flush.messages is to wait for the disk");
    log.flush(1000).unwrap();
    assert_eq!(log.recovery_point(), Offset(8));
    assert!(!log.is_flush_due(1 << 40), "nothing is unflushed");
}

#[test]
fn a_flush_that_a_truncation_overtook_counts_for_nothing() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &Made::sized(10, 500));
    let flush = log.begin_flush().unwrap();
    log.truncate_to(Offset(0), 0).unwrap();
    append(&mut log, &Made::sized(10, 500));
    log.finish_flush(&flush, flush.run(), 0).unwrap();
    assert_eq!(log.recovery_point(), Offset(0), "other records lie where those were that were flushed");
}

#[test]
fn a_renamed_log_goes_on_and_a_deleted_one_is_gone() {
    let (fixture, mut log) = Fixture::new(small_segments(600));
    for _ in 0..3 {
        append(&mut log, &Made::sized(10, 500));
    }
    let to = fixture.folder.path().join("t-0.0123-delete");
    log.rename_folder(&to).unwrap();
    assert_eq!(read(&log, 5, 1, 30), [0]);
    for _ in 0..3 {
        append(&mut log, &Made::sized(10, 500));
    }
    assert!(!fixture.path().exists());
    let held = log.read(Offset(0), 1, Offset(30), true).unwrap();
    log.delete().unwrap();
    assert!(!to.exists());
    assert_eq!(bases(&held), [0]);
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let (fixture, mut log) = Fixture::new(LogConfig { index_interval_bytes: 0, ..LogConfig::default() });
    // New index entries wait in memory and are written in bunches, which now fails.
    let index = fixture.path().join("00000000000000000000.index");
    fs::remove_file(&index).unwrap();
    let bytes = Made::at(&[1000]).bytes();
    let assign = LeaderAppend { leader_epoch: LeaderEpoch(5), now_ms: 0, log_append_time: false, max_timestamp: 1000 };
    let mut written = 0;
    let error = loop {
        match log.append_leader(&Batch::parse(&bytes).unwrap().0, assign) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        log.check();
        assert!(written < 10_000, "the missing index was not noticed");
    };
    assert!(matches!(error, Error::Io { .. }), "{error}");
    log.check();
    assert_eq!(log.end_offset(), Offset(written));
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    assert_eq!(length(&fixture.path().join("00000000000000000000.log")), written as u64 * bytes.len() as u64);
    assert_eq!(read(&log, written - 1, 1, written), [written - 1]);
    fs::write(&index, []).unwrap();
    append(&mut log, &Made::at(&[1000]));
    assert_eq!(read(&log, written, 1, written + 1), [written]);
}

#[test]
fn room_that_was_reserved_is_given_back() {
    let (fixture, mut log) = Fixture::new(LogConfig { preallocate: true, ..small_segments(4096) });
    let length = |name: &str| fs::metadata(fixture.path().join(name)).unwrap().len();
    append(&mut log, &Made::sized(10, 500));
    assert_eq!(length("00000000000000000000.log"), 4096);
    assert_eq!(read(&log, 0, u32::MAX, 10), [0]);
    drop(log);
    let (mut log, recovery) = fixture.open(false, 0);
    let size = Made::sized(10, 500).bytes().len() as u64;
    assert_eq!((recovery.cut.unwrap().bytes, log.end_offset()), (4096 - size, Offset(10)));
    while log.segments().count() == 1 {
        append(&mut log, &Made::sized(10, 500));
    }
    assert_eq!(length("00000000000000000000.log") % size, 0);
    let second = log.segments().last().unwrap().base_offset;
    let name = format!("{:020}.log", second.0);
    assert_eq!(length(&name), 4096);
    log.close(0).unwrap();
    assert_eq!(length(&name), size);
}

#[test]
fn a_log_can_be_given_from_thread_to_thread_and_read_by_several() {
    fn check<T: Send + Sync>() {}
    check::<Log>();
}

#[test]
fn few_files_of_sealed_segments_stay_open() {
    let (_fixture, mut log) = Fixture::new(small_segments(600));
    for _ in 0..20 {
        append(&mut log, &Made::sized(10, 500));
    }
    for round in 0..2 {
        for offset in 0..200 {
            assert_eq!(read(&log, offset, 1, 200), [offset / 10 * 10], "round {round}");
            log.check();
        }
    }
    log.flush(0).unwrap();
    assert_eq!(read(&log, 0, 1, 200), [0]);
    log.close_idle_files();
    assert!(log.sealed.iter().all(|segment| !segment.is_open()));
}
