//! Retention that is in time, by a clock: producers that never stop, and records whose own times are odd.

use super::*;

const BEGIN_MS: i64 = 10_000_000;

/// Appends a record every `every_ms` for `lasts_ms`, with retention in between as its owner would run it. `time` gives a record
/// its own time. Gives the longest that a record stayed after it came.
fn longest_stay(log: &mut Log, every_ms: i64, lasts_ms: i64, time: impl Fn(i64) -> i64) -> i64 {
    let check_ms = log.config().retention_check_ms().unwrap();
    let (mut now_ms, mut longest) = (BEGIN_MS, 0);
    let mut came_ms = Vec::new();
    while now_ms < BEGIN_MS + lasts_ms {
        append_at(log, &Made::at(&[time(now_ms)]), now_ms);
        came_ms.push(now_ms);
        if now_ms % check_ms < every_ms {
            let end = log.end_offset();
            log.enforce_retention(now_ms, end).unwrap();
            log.check();
            purge(log, i64::MAX);
        }
        let oldest = came_ms.get(log.start_offset().0 as usize);
        longest = longest.max(oldest.map_or(0, |came_ms| now_ms - came_ms));
        now_ms += every_ms;
    }
    longest
}

fn of_retention_ms(retention_ms: i64) -> LogConfig {
    LogConfig { retention_ms: Some(retention_ms), ..LogConfig::default() }
}

#[test]
fn nothing_stays_much_longer_than_it_should_although_the_segment_never_fills() {
    for (retention_ms, most_ms) in [(5_000, 5_750 + 100), (600_000, 690_000 + 100), (100, 850 + 100)] {
        let (_fixture, mut log) = Fixture::new(of_retention_ms(retention_ms));
        let lasts_ms = 3 * retention_ms.max(5_000);
        let longest = longest_stay(&mut log, (retention_ms / 100).max(50), lasts_ms, |now_ms| now_ms);
        assert!((retention_ms..=most_ms).contains(&longest), "{longest} of {retention_ms}");
        let segments = log.segments().count();
        assert!(segments <= 13, "{segments} segments for {retention_ms} ms");
    }
}

#[test]
fn a_short_retention_rolls_no_more_than_twice_a_second() {
    let (_fixture, mut log) = Fixture::new(LogConfig { segment_index_bytes: 4096, ..of_retention_ms(1) });
    for now_ms in 0..10_000 {
        append_at(&mut log, &Made::at(&[now_ms]), now_ms);
    }
    let segments = log.segments().count();
    assert!((15..=20).contains(&segments), "{segments} segments in ten seconds");
}

#[test]
fn without_a_retention_by_time_no_segment_rolls_for_it() {
    for config in [
        LogConfig { retention_ms: None, ..of_retention_ms(1) },
        LogConfig { delete: false, compact: true, ..of_retention_ms(1) },
    ] {
        let (_fixture, mut log) = Fixture::new(config);
        for now_ms in [0, 10_000, 1_000_000] {
            append_at(&mut log, &Made::at(&[now_ms]), now_ms);
        }
        assert_eq!(log.segments().count(), 1);
    }
}

#[test]
fn a_log_that_rarely_fills_begins_to_age_with_its_first_record() {
    let (_fixture, mut log) = Fixture::new(of_retention_ms(10_000));
    append_at(&mut log, &Made::at(&[500_000]), 500_000);
    append_at(&mut log, &Made::at(&[501_000]), 501_000);
    assert_eq!(log.segments().count(), 1, "it was made long ago, and has filled for a second");
    append_at(&mut log, &Made::at(&[501_001]), 501_001);
    assert_eq!(log.segments().count(), 2);
}

#[test]
fn records_without_times_count_by_when_they_were_written() {
    let (_fixture, mut log) = Fixture::new(of_retention_ms(5_000));
    // The file's own time is that of this machine.
    let written_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    append_at(&mut log, &Made::at(&[-1]), written_ms);
    append_at(&mut log, &Made::at(&[-1]), written_ms + 501);
    assert_eq!(log.segments().count(), 2, "the clock rolls");
    assert_eq!(log.enforce_retention(written_ms + 4_000, Offset(2)).unwrap(), []);
    assert_eq!(log.enforce_retention(written_ms + 60_000, Offset(2)).unwrap().len(), 2);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(2), Offset(2)));
}

#[test]
fn records_of_long_ago_go_at_once_and_those_of_the_future_hold_up_only_their_own_part() {
    let (_fixture, mut log) = Fixture::new(of_retention_ms(5_000));
    let longest = longest_stay(&mut log, 50, 20_000, |now_ms| now_ms - 1_000_000);
    assert!(longest <= 750, "{longest}");

    let (_fixture, mut log) = Fixture::new(of_retention_ms(5_000));
    // One that is ten seconds ahead of its time.
    let ahead_ms = |now_ms| if now_ms == BEGIN_MS + 6_000 { 10_000 } else { 0 };
    let longest = longest_stay(&mut log, 50, 30_000, |now_ms| now_ms + ahead_ms(now_ms));
    assert!((15_000..=15_850).contains(&longest), "until it is due itself: {longest}");
}

#[test]
fn append_time_ages_records_whatever_their_own_time() {
    let (_fixture, mut log) = Fixture::new(of_retention_ms(5_000));
    let append = |log: &mut Log, now_ms| {
        let bytes = Made::at(&[1]).bytes();
        let assign = LeaderAppend { leader_epoch: LeaderEpoch(0), now_ms, log_append_time: true, max_timestamp: 1 };
        log.append_leader(&Batch::parse(&bytes).unwrap().0, assign).unwrap();
    };
    append(&mut log, 100_000);
    append(&mut log, 104_000);
    assert_eq!(log.enforce_retention(105_000, Offset(2)).unwrap(), []);
    assert_eq!(log.enforce_retention(105_001, Offset(2)).unwrap().len(), 1);
    assert_eq!(log.start_offset(), Offset(1));
}

#[test]
fn a_restart_does_not_make_a_segment_young_again() {
    let (fixture, mut log) = Fixture::new(of_retention_ms(10_000));
    append_at(&mut log, &Made::at(&[100_000]), 100_000);
    drop(log);
    for left in [Left::Killed, Left::Unknown, Left::Cleanly] {
        let (mut log, _) = Log::open(&fixture.path(), fixture.config.clone(), known(left, (0, 0), 100_900)).unwrap();
        let end = log.end_offset();
        append_at(&mut log, &Made::at(&[101_001]), 101_001);
        assert_eq!(log.segments().last().unwrap().base_offset, end, "{left:?}");
        log.truncate_to(end, 101_001).unwrap();
        log.close(101_001).unwrap();
    }
}

#[test]
fn retention_by_size_holds_for_the_segment_that_is_written_to() {
    let config = LogConfig { retention_ms: None, retention_bytes: Some(10 << 20), ..LogConfig::default() };
    let (_fixture, mut log) = Fixture::new(config);
    let batch = Made::sized(10, 100_000);
    // One part does not fit in what is too much yet, and another one comes until the next roll.
    let most = (10 << 20) + 2 * (1 << 20) + batch.bytes().len() as u64;
    for _ in 0..300 {
        append(&mut log, &batch);
        if log.has_rolled() {
            let end = log.end_offset();
            log.delete_excess(2_000, end).unwrap();
            purge(&mut log, i64::MAX);
            assert!(!log.has_rolled());
        }
        assert!(log.size_bytes() <= most, "{} bytes", log.size_bytes());
    }
    assert!(log.size_bytes() >= 10 << 20, "what was promised is there: {} bytes", log.size_bytes());
}

#[test]
fn records_that_were_all_deleted_leave_no_file() {
    let (fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &Made::sized(10, 500));
    log.advance_start_offset(Offset(9)).unwrap();
    assert_eq!(log.delete_excess(2_000, Offset(10)).unwrap(), [], "nothing but what was asked for");
    log.advance_start_offset(Offset(10)).unwrap();
    let deleted = log.delete_excess(2_000, Offset(10)).unwrap();
    assert_eq!(deleted.iter().map(|it| it.because).collect::<Vec<_>>(), [DeletedBecause::BeforeStart]);
    purge(&mut log, i64::MAX);
    assert!(fixture.files().contains("00000000000000000010.log 0\n"), "{}", fixture.files());
    assert!(!fixture.files().contains("00000000000000000000."), "{}", fixture.files());
    assert_eq!(append(&mut log, &Made::sized(10, 500)).base_offset, Offset(10));
}

#[test]
fn who_reads_a_deleted_segment_finishes_and_others_are_told_that_it_is_gone() {
    let config = LogConfig { retention_bytes: Some(0), file_delete_delay_ms: 1_000, ..small_segments(600) };
    let (fixture, mut log) = Fixture::new(config);
    append(&mut log, &Made::sized(10, 500));
    append(&mut log, &Made::sized(10, 500));
    let held = log.read(Offset(0), u32::MAX, Offset(20), true).unwrap();
    log.enforce_retention(5_000, Offset(10)).unwrap();
    let is_there = |fixture: &Fixture| fixture.files().contains("00000000000000000000.log.deleted");
    purge(&mut log, 5_999);
    assert!(is_there(&fixture));
    purge(&mut log, 6_000);
    assert!(!is_there(&fixture));
    assert_eq!(bases(&held), [0]);
    let error = log.read(Offset(5), u32::MAX, Offset(20), true).unwrap_err();
    assert!(matches!(error, Error::OffsetOutOfRange { log_start: Offset(10), .. }), "{error}");
}
