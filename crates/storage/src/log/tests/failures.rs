//! What is left when a call to the operating system fails.

use rustix::io::Errno;

use super::*;
use crate::os::trace;

const FIRST: &str = "00000000000000000000.log";

fn assert_unusable<T: std::fmt::Debug>(result: &Result<T>) {
    assert!(matches!(result, Err(Error::Unusable { .. })), "{result:?}");
}

#[test]
fn a_log_whose_flush_failed_takes_no_more_although_the_next_flush_would_succeed() {
    let (_fixture, mut log) = Fixture::new(LogConfig { flush_ms: Some(0), ..LogConfig::default() });
    append(&mut log, &Made::sized(10, 500));
    let (failing, later) = (log.begin_flush().unwrap(), log.begin_flush().unwrap());
    trace::fail_once(&format!("sync {FIRST}"));
    let failed = failing.run();
    assert!(failed.is_err());
    let (other, calls) = trace::calls_of(|| later.run());
    assert!(other.is_err() && calls.is_empty(), "the system told the first one only, which is not asked again");
    log.finish_flush(&failing, failed, 0).unwrap_err();
    log.finish_flush(&later, other, 0).unwrap_err();
    assert_unusable(&log.flush(0));
    assert_unusable(&try_append_at(&mut log, &Made::sized(10, 500), 0));
    assert_unusable(&log.append_follower(&Made { base_offset: 10, ..Made::default() }.bytes(), 0));
    assert_unusable(&log.roll(0));
    assert_unusable(&log.truncate_to(Offset(0), 0));
    assert_unusable(&log.enforce_retention(0, Offset(10)));
    assert!(!log.is_flush_due(1 << 40) && !log.has_unflushed_segments(), "nobody tries again and again");
    assert_eq!(log.recovery_point(), Offset(0));
    assert_eq!(read(&log, 0, u32::MAX, 10), [0], "what is there may be read");
    let error = log.close(0).unwrap_err();
    assert!(error.to_string().contains("takes no more, because a flush failed: cannot flush"), "{error}");
}

#[test]
fn what_comes_of_a_flush_is_no_matter_of_a_log_that_has_taken_the_place_of_the_one_that_was_flushed() {
    let (_fixture, mut old) = Fixture::new(small_segments(1300));
    for _ in 0..9 {
        append(&mut old, &Made::sized(10, 500));
    }
    let (flush, failing) = (old.begin_flush().unwrap(), old.begin_flush().unwrap());
    let (_other, mut log) = Fixture::new(LogConfig { flush_before_ack: true, ..small_segments(1300) });
    append(&mut log, &Made::sized(10, 500));
    log.finish_flush(&flush, flush.run(), 0).unwrap();
    assert!(log.owes_flush());
    log.flush(0).unwrap();
    for _ in 0..2 {
        append(&mut log, &Made::sized(10, 500));
    }
    let (flushed, calls) = trace::calls_of(|| log.flush(0));
    flushed.unwrap();
    assert!(calls.contains(&"sync-folder t-0".to_owned()), "its own names have to be flushed: {calls:?}");

    trace::fail_once("sync 00000000000000000000.log");
    let ran = failing.run();
    log.finish_flush(&failing, ran, 0).expect_err("somebody has to be told");
    append(&mut log, &Made::sized(10, 500));
    log.flush(0).unwrap();
}

#[test]
fn a_batch_whose_flush_failed_is_not_safe_and_not_taken_for_a_duplicate_later() {
    let (_fixture, mut log) = Fixture::new(LogConfig { flush_messages: Some(1), ..LogConfig::default() });
    append(&mut log, &Made::sized(10, 500));
    log.flush(0).unwrap();
    let numbered = Made { producer: (7, 0, 0), ..Made::default() };
    append(&mut log, &numbered);
    trace::fail_once(&format!("sync {FIRST}"));
    assert!(log.owes_flush());
    assert!(matches!(log.flush(0), Err(Error::Io { .. })));
    assert!(log.owes_flush() && !log.is_flushed());
    assert_unusable(&log.check_usable());
    assert_unusable(&try_append_at(&mut log, &numbered, 0));
    assert_eq!((log.recovery_point(), log.flushed_offset()), (Offset(10), Offset(10)));
}

#[test]
fn a_flush_is_owed_for_every_record_or_for_every_so_many() {
    let owes = |config| {
        let (_fixture, mut log) = Fixture::new(config);
        let owed: Vec<bool> = (0..4)
            .map(|_| {
                append(&mut log, &Made::sized(10, 500));
                let owes = log.owes_flush();
                if owes {
                    log.flush(0).unwrap();
                    assert!(!log.owes_flush() && log.is_flushed());
                }
                owes
            })
            .collect();
        owed
    };
    assert_eq!(owes(LogConfig::default()), [false; 4]);
    assert_eq!(owes(LogConfig { flush_before_ack: true, ..LogConfig::default() }), [true; 4]);
    assert_eq!(owes(LogConfig { flush_messages: Some(1), ..LogConfig::default() }), [true; 4]);
    assert_eq!(owes(LogConfig { flush_messages: Some(15), ..LogConfig::default() }), [false, true, false, true]);
}

#[test]
fn a_flush_covers_what_was_appended_before_it_began_and_the_next_one_the_rest() {
    let (_fixture, mut log) = Fixture::new(LogConfig { flush_before_ack: true, ..small_segments(1300) });
    append(&mut log, &Made::sized(10, 500));
    let flush = log.begin_flush().unwrap();
    // A roll among them: the flush that covers its records covers the new names too.
    for _ in 0..3 {
        append(&mut log, &Made::sized(10, 500));
    }
    log.finish_flush(&flush, flush.run(), 0).unwrap();
    assert_eq!((log.flushed_offset(), log.owes_flush()), (Offset(10), true));
    let flush = log.begin_flush().unwrap();
    let (ran, calls) = trace::calls_of(|| flush.run());
    assert!(calls.contains(&"sync-folder t-0".to_owned()), "{calls:?}");
    log.finish_flush(&flush, ran, 0).unwrap();
    assert_eq!((log.flushed_offset(), log.owes_flush()), (Offset(40), false));
    append(&mut log, &Made::sized(10, 500));
    log.truncate_to(Offset(20), 0).unwrap();
    assert!(!log.owes_flush(), "what was cut off is owed to nobody");
}

#[test]
fn a_roll_that_fails_leaves_no_segment_behind() {
    for kind in ["index", "timeindex"] {
        let (fixture, mut log) = Fixture::new(small_segments(1300));
        append(&mut log, &Made::sized(10, 500));
        append(&mut log, &Made::sized(10, 500));
        trace::fail_once(&format!("create {:020}.{kind}", 20));
        try_append_at(&mut log, &Made::sized(10, 500), 0).unwrap_err();
        assert!(!fixture.files().contains("0020.log"), "{}", fixture.files());
        // A larger segment takes it without a roll.
        log.configure(small_segments(5000));
        append(&mut log, &Made::sized(10, 500));
        log.close(0).unwrap();
        let (log, recovery) = fixture.open(true, 30);
        assert_eq!((recovery, log.end_offset()), (Recovery::default(), Offset(30)));
    }
}

#[test]
fn a_log_beside_which_a_half_made_segment_is_left_takes_no_more() {
    let (_fixture, mut log) = Fixture::new(small_segments(600));
    append(&mut log, &Made::sized(10, 500));
    trace::fail_once(&format!("create {:020}.index", 10));
    trace::fail_once(&format!("remove {:020}.log", 10));
    try_append_at(&mut log, &Made::sized(10, 500), 0).unwrap_err();
    assert_unusable(&log.check_usable());
    assert_unusable(&log.close(0));
}

#[test]
fn a_sealed_segment_is_flushed_with_its_indexes_although_its_records_were_flushed_before() {
    let (_fixture, mut log) = Fixture::new(small_segments(600));
    append(&mut log, &Made::sized(10, 500));
    append(&mut log, &Made::sized(10, 500));
    log.flush(0).unwrap();
    assert!(!log.has_unflushed_segments());
    assert_eq!(log.recovery_point(), Offset(20));
    log.roll(0).unwrap();
    assert!(log.has_unflushed_segments());
    assert_eq!(log.recovery_point(), Offset(10), "a crash now may leave the indexes of that segment torn");
    let flush = log.begin_flush_sealed().unwrap();
    let (ran, calls) = trace::calls_of(|| flush.run());
    let synced = |number: i64, kind| calls.contains(&format!("sync {number:020}.{kind}"));
    assert!(["log", "index", "timeindex"].iter().all(|kind| synced(10, kind)), "{calls:?}");
    assert!(synced(20, &"snapshot") && !synced(0, &"log"), "{calls:?}");
    log.finish_flush(&flush, ran, 0).unwrap();
    assert!(!log.has_unflushed_segments());
    assert_eq!(log.recovery_point(), Offset(20));
}

#[test]
fn indexes_that_recovery_built_anew_are_flushed() {
    let (fixture, mut log) = Fixture::new(small_segments(600));
    append(&mut log, &Made::sized(10, 500));
    append(&mut log, &Made::sized(10, 500));
    drop(log);
    let (mut log, _) = fixture.open(false, 10);
    assert_eq!(log.recovery_point(), Offset(10), "the first segment was not read");
    drop(log);
    (log, _) = fixture.open(false, 5);
    assert_eq!(log.recovery_point(), Offset(0), "its records were flushed up to 5, its new indexes were not");
    assert!(log.has_unflushed_segments());
    let ((), calls) = trace::calls_of(|| log.flush(0).unwrap());
    assert!(calls.contains(&format!("sync {:020}.index", 0)), "{calls:?}");
    assert!(!log.has_unflushed_segments());
}

#[test]
fn a_log_that_begins_later_waits_for_no_disk() {
    let (fixture, mut log) = Fixture::new(LogConfig { retention_bytes: Some(0), ..small_segments(600) });
    for _ in 0..4 {
        append(&mut log, &Made::sized(10, 500));
    }
    log.flush(0).unwrap();
    let ((), calls) = trace::calls_of(|| {
        for to in 1..15 {
            log.advance_start_offset(Offset(to)).unwrap();
        }
        assert_eq!(log.enforce_retention(i64::MAX, Offset(40)).unwrap().len(), 4, "even the active segment goes");
    });
    assert!(!calls.iter().any(|call| call.starts_with("sync")), "{calls:?}");
    let starts = |log: &Log| log.epochs().entries().iter().map(|entry| entry.start_offset.0).collect::<Vec<_>>();
    assert_eq!(starts(&log), [40]);
    let text = || std::fs::read_to_string(fixture.folder.path().join("t-0/leader-epoch-checkpoint")).unwrap();
    assert!(text().ends_with(" 0\n"), "{}", text());
    drop(log);
    let (log, _) = fixture.open(false, 0);
    assert_eq!(starts(&log), [40], "a start finds it out again");
    log.close(0).unwrap();
    assert!(text().ends_with(" 40\n"), "{}", text());
}

#[test]
fn a_new_epoch_waits_for_no_disk_and_the_recovery_point_for_it() {
    let (fixture, mut log) = Fixture::new(LogConfig::default());
    let (_, calls) = trace::calls_of(|| append(&mut log, &Made::sized(10, 500)));
    assert_eq!(calls, Vec::<String>::new(), "nothing is made, renamed or flushed");
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(5)));

    let calls = ["create", "sync", "rename"].map(|operation| format!("{operation} leader-epoch-checkpoint.tmp"));
    for (call, end) in calls.iter().zip([10, 20, 30]) {
        trace::fail_once_with(call, Errno::NOSPC);
        log.flush(0).unwrap();
        let (flushed, recovered) = (log.flushed_offset(), log.recovery_point());
        assert_eq!((flushed, recovered), (Offset(end), Offset(0)), "{call}: a start finds it in the batches");
        append(&mut log, &Made::sized(10, 500));
    }
    let ((), calls) = trace::calls_of(|| log.flush(0).unwrap());
    let order = [
        "sync 00000000000000000000.log",
        "sync leader-epoch-checkpoint.tmp",
        "rename leader-epoch-checkpoint.tmp",
        "sync-folder t-0",
    ];
    assert_in_order(&calls, &order);
    assert_eq!(log.recovery_point(), Offset(40));
    let text = fs::read_to_string(fixture.path().join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\n5 0\n");
    append(&mut log, &Made::sized(10, 500));
    let ((), calls) = trace::calls_of(|| log.flush(0).unwrap());
    assert!(!calls.iter().any(|call| call.contains("leader-epoch")), "{calls:?}");
}

#[test]
fn an_epoch_of_which_the_flush_failed_is_the_last() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &Made::sized(10, 500));
    trace::fail_once("sync leader-epoch-checkpoint.tmp");
    log.flush(0).unwrap_err();
    assert!(matches!(log.check_usable(), Err(Error::Unusable { .. })));
}

#[test]
fn a_copy_whose_folder_is_taken_away_says_nothing_against_the_disk() {
    for (name, is_distrusted) in [("t-0", true), ("t-0.000000000000000000000000000000ab-future", false)] {
        let (fixture, mut log) = Fixture::new(LogConfig::default());
        append(&mut log, &Made::sized(10, 500));
        let [folder, boot] = [name, "ottla-boot"].map(|name| fixture.folder.path().join(name));
        if folder != fixture.path() {
            log.rename_folder(&folder).unwrap();
        }
        fs::write(&boot, "").unwrap();
        fs::rename(&folder, fixture.folder.path().join("t-0.000000000000000000000000000000ac-delete")).unwrap();
        // As where a restart of the log has begun just before.
        let emptied = log.empty_to(Offset(5), 0);
        log.for_good("a restart", emptied).unwrap_err();
        assert_unusable(&log.flush(0));
        assert_eq!(boot.exists(), !is_distrusted, "{name}");
    }
}

/// Whether flushing the log flushes its folder.
fn flushes_names(log: &mut Log) -> bool {
    let ((), calls) = trace::calls_of(|| log.flush(0).unwrap());
    calls.contains(&"sync-folder t-0".to_owned())
}

#[test]
fn a_folder_is_flushed_after_its_names_have_changed() {
    let fixture = Fixture { folder: tempfile::tempdir().unwrap(), config: small_segments(600) };
    let ((mut log, _), calls) = trace::calls_of(|| fixture.open(true, 0));
    let parent = fixture.folder.path().file_name().unwrap().to_str().unwrap();
    assert!(calls.contains(&format!("sync-folder {parent}")), "{calls:?}");
    assert!(flushes_names(&mut log), "the first segment is new");
    append(&mut log, &Made::sized(10, 50));
    assert!(flushes_names(&mut log), "so is the leader epoch");
    append(&mut log, &Made::sized(10, 50));
    assert!(!flushes_names(&mut log));

    append(&mut log, &Made::sized(10, 500));
    let flush = log.begin_flush().unwrap();
    append(&mut log, &Made::sized(10, 500));
    log.finish_flush(&flush, flush.run(), 0).unwrap();
    assert!(flushes_names(&mut log), "another segment was made while the flush ran");
    assert!(!flushes_names(&mut log));

    log.roll(0).unwrap();
    assert!(flushes_names(&mut log));
    let far = Made { base_offset: 40, leader_epoch: 5, ..Made::default() };
    log.append_follower(&Made { base_offset: 30 + (1 << 32), ..far }.bytes(), 0).unwrap();
    assert!(flushes_names(&mut log), "an empty segment was put in the place of an empty one");
    drop(log);
    assert!(flushes_names(&mut fixture.open(false, 0).0), "nobody knows what was flushed before the crash");
}

#[test]
fn closing_flushes_what_the_next_start_reads_although_all_records_were_flushed_before() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &Made::sized(10, 500));
    log.flush(0).unwrap();
    assert_eq!(log.recovery_point(), log.end_offset());
    // As if a transaction had been aborted.
    fs::write(log.file_path(Offset(0), "txnindex"), b"").unwrap();
    let ((), calls) = trace::calls_of(|| log.close(0).unwrap());
    for name in ["0000.index", "0000.timeindex", "0000.txnindex", "0010.snapshot"] {
        assert!(calls.contains(&format!("sync 0000000000000000{name}")), "{name}: {calls:?}");
    }
    assert_eq!(calls.last().unwrap(), "sync-folder t-0");
}

#[test]
fn retention_that_fails_half_way_leaves_a_log_that_agrees_with_its_files() {
    for (failing, start) in [("0010.log", 10), ("0010.index", 20), ("0010.snapshot", 20)] {
        let (fixture, mut log) = Fixture::new(LogConfig { retention_bytes: Some(0), ..small_segments(600) });
        for _ in 0..4 {
            append(&mut log, &Made::sized(10, 500));
        }
        trace::fail_once(&format!("rename 0000000000000000{failing}"));
        log.enforce_retention(0, Offset(30)).unwrap_err();
        log.check();
        assert_eq!(log.start_offset(), Offset(start), "{failing}");
        assert_eq!(read(&log, start, 1, 40), [start]);
        assert_eq!(log.segments().next().unwrap().base_offset, Offset(start));
        log.enforce_retention(0, Offset(30)).unwrap();
        log.check();
        assert_eq!(log.start_offset(), Offset(30));
        log.close(0).unwrap();
        let (log, recovery) = fixture.try_open(true, 40, 30).unwrap();
        assert_eq!((recovery, log.start_offset(), log.end_offset()), (Recovery::default(), Offset(30), Offset(40)));
    }
}

#[test]
fn a_log_of_which_all_is_due_goes_but_for_its_last_segment_where_there_is_no_room_for_another() {
    let in_the_way =
        [("create 00000000000000000040.snapshot", Errno::NOSPC), ("create 00000000000000000040.log", Errno::MFILE)];
    for (failing, errno) in in_the_way {
        for by_start in [false, true] {
            let config = LogConfig { retention_bytes: (!by_start).then_some(0), ..small_segments(600) };
            let (_fixture, mut log) = Fixture::new(config);
            for _ in 0..4 {
                append(&mut log, &Made::sized(10, 500));
            }
            if by_start {
                log.advance_start_offset(Offset(40)).unwrap();
            }
            let bases = |log: &mut Log| {
                let deleted = log.delete_excess(0, Offset(40)).unwrap();
                log.check();
                deleted.iter().map(|segment| segment.base_offset.0).collect::<Vec<_>>()
            };
            trace::fail_once_with(failing, errno);
            assert_eq!(bases(&mut log), [0, 10, 20], "{failing}");
            assert_eq!(bases(&mut log), [30], "{failing}");
            assert_eq!(log.size_bytes(), 0);
        }
    }
}

#[test]
fn a_truncation_that_fails_half_way_is_for_good() {
    for failing in [
        "remove 00000000000000000020.log",
        "set-length 00000000000000000010.log",
        "set-length 00000000000000000010.index",
        "rename leader-epoch-checkpoint.tmp",
        "remove 00000000000000000020.snapshot",
    ] {
        let (_fixture, mut log) = Fixture::new(small_segments(600));
        for _ in 0..3 {
            append(&mut log, &Made::sized(10, 500));
        }
        let last = Made { base_offset: 30, leader_epoch: 6, ..Made::default() }.bytes();
        log.append_follower(&last, 0).unwrap();
        trace::fail_once(failing);
        log.truncate_to(Offset(10), 0).expect_err(failing);
        assert_unusable(&log.check_usable());
        assert_eq!(read(&log, 0, u32::MAX, 10), [0], "{failing}");
    }
}

#[test]
fn a_restart_removes_the_snapshots_before_the_segments_and_the_newest_of_these_first() {
    let (_fixture, mut log) = Fixture::new(small_segments(600));
    for _ in 0..3 {
        append(&mut log, &Made::sized(10, 500));
    }
    let ((), calls) = trace::calls_of(|| log.restart_at(Offset(100), 0).unwrap());
    let steps = ["10.snapshot", "20.snapshot", "20.log", "10.log", "00.log"];
    let place = |step| calls.iter().position(|call| *call == format!("remove 000000000000000000{step}")).expect(step);
    assert!(steps.map(place).is_sorted(), "{calls:#?}");
    let before_segments = &calls[..place("20.log")];
    assert!(before_segments.iter().rposition(|call| call == "sync-folder t-0") > Some(place("20.snapshot")));
    log.check();

    append(&mut log, &Made::sized(10, 500));
    trace::fail_once(&format!("remove {:020}.log", 100));
    log.restart_at(Offset(200), 0).unwrap_err();
    assert_unusable(&log.check_usable());
}

#[test]
fn a_log_that_was_begun_anew_further_on_has_nothing_left_to_flush_of_before() {
    let (_fixture, mut log) = Fixture::new(small_segments(600));
    for _ in 0..4 {
        append(&mut log, &Made::sized(10, 500));
    }
    log.restart_at(Offset(1000), 0).unwrap();
    assert!(!log.has_unflushed_segments());
    append(&mut log, &Made::sized(10, 500));
    log.flush(0).unwrap();
    assert_eq!(log.recovery_point(), log.end_offset());
}

#[test]
fn a_file_that_cannot_be_unlinked_is_tried_again_and_the_others_go() {
    let (fixture, mut log) = Fixture::new(LogConfig { retention_bytes: Some(0), ..small_segments(600) });
    for _ in 0..3 {
        append(&mut log, &Made::sized(10, 500));
    }
    log.enforce_retention(0, Offset(20)).unwrap();
    trace::fail_once("remove 00000000000000000000.index.deleted");
    let mut deleted = log.take_deleted(i64::MAX);
    deleted.unlink().unwrap_err();
    assert!(!deleted.is_empty());
    let left = |fixture: &Fixture| fixture.files().matches("deleted").count();
    assert_eq!(left(&fixture), 1, "{}", fixture.files());
    log.put_back_deleted(deleted, 7);
    assert!(log.take_deleted(7).is_empty(), "not at once");
    purge(&mut log, i64::MAX);
    assert_eq!(left(&fixture), 0, "{}", fixture.files());
    assert!(log.take_deleted(i64::MAX).is_empty());
}

#[test]
fn a_log_that_was_closed_is_read_and_takes_no_more() {
    let (fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &Made::sized(10, 500));
    log.close_for_good(0).unwrap();
    assert_eq!(read(&log, 0, u32::MAX, 10), [0]);
    let error = try_append_at(&mut log, &Made::sized(10, 500), 0).unwrap_err();
    assert!(error.to_string().contains("because it was closed"), "{error}");
    assert_eq!(fixture.open(true, 10).1, Recovery::default());

    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    trace::fail_once("sync 00000000000000000000.index");
    log.close_for_good(0).unwrap_err();
    assert_unusable(&log.close_for_good(0));
}

#[test]
fn a_log_whose_new_name_cannot_be_flushed_has_its_old_one() {
    let (fixture, mut log) = Fixture::new(LogConfig::default());
    let (before, to) = (log.folder().to_owned(), fixture.folder.path().join("t-0.0123-future"));
    let above = fixture.folder.path().file_name().unwrap().to_str().unwrap();
    trace::fail_once(&format!("sync-folder {above}"));
    let (renamed, calls) = trace::calls_of(|| log.rename_folder(&to));
    renamed.unwrap_err();
    assert_eq!(calls.last().unwrap(), &format!("sync-folder {above}"), "that it was taken back is on the disk");
    assert!(before.exists() && !to.exists());
    assert_eq!(log.folder(), before);
    append(&mut log, &Made::sized(10, 500));
    log.flush(0).unwrap();
    log.rename_folder(&to).unwrap();
    assert!(to.exists() && !before.exists());
}

#[test]
fn a_flush_that_a_rename_overtook_counts_for_nothing_and_is_no_failure() {
    let (fixture, mut log) = Fixture::new(small_segments(600));
    append(&mut log, &Made::sized(10, 500));
    append(&mut log, &Made::sized(10, 500));
    let flush = log.begin_flush().unwrap();
    log.rename_folder(&fixture.folder.path().join("t-0.0123-future")).unwrap();
    log.finish_flush(&flush, flush.run(), 0).unwrap();
    assert_eq!(log.recovery_point(), Offset(0), "the indexes of the first segment were not found");
    log.flush(0).unwrap();
    assert_eq!(log.recovery_point(), Offset(20));
}

#[test]
fn a_flush_of_very_many_files_is_told_of_the_one_that_fails() {
    let (fixture, mut log) = Fixture::new(small_segments(100));
    for _ in 0..100 {
        append(&mut log, &Made::default());
    }
    assert_eq!(log.segments().count(), 100);
    log.flush(0).unwrap();
    assert_eq!(log.recovery_point(), log.end_offset());
    for _ in 0..100 {
        append(&mut log, &Made::default());
    }
    // A folder in the place of a file cannot be opened.
    let index = fixture.path().join("00000000000000000150.index");
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    let before = log.recovery_point();
    let error = log.flush(0).unwrap_err();
    assert!(error.to_string().contains("00000000000000000150.index"), "{error}");
    assert_eq!(log.recovery_point(), before);
    assert!(log.check_usable().is_err(), "nobody knows what is on the disk");
}

#[test]
fn of_two_failures_of_a_flush_of_very_many_files_the_one_that_lost_something_is_told() {
    // Which of the two is noted first is up to the threads.
    for round in 0..12 {
        let (fixture, mut log) = Fixture::new(small_segments(100));
        for _ in 0..70 {
            append(&mut log, &Made::default());
        }
        let path = |name: &str| fixture.path().join(name);
        let lost = format!("{:020}.log", 10 + round);
        let failing = [(path(&lost), Errno::IO), (path(&format!("{:020}.index", 50)), Errno::MFILE)];
        let flush = log.begin_flush().unwrap();
        let failing = trace::fail_together(failing);
        let ran = flush.run();
        drop(failing);
        let error = log.finish_flush(&flush, ran, 0).unwrap_err();
        assert!(error.to_string().contains(&lost) && error.is_of_disk(), "round {round}: {error}");
        assert_unusable(&log.check_usable());
        assert_unusable(&flush.run());
    }
}

#[test]
fn a_truncation_that_cannot_begin_leaves_a_log_that_goes_on() {
    type Cut = fn(&mut Log) -> Result<()>;
    let cuts: [(&str, Cut, i64); 3] = [
        ("inside", |log| log.truncate_to(Offset(110), 0).map(drop), 110),
        ("before the first segment", |log| log.truncate_to(Offset(50), 0).map(drop), 50),
        ("a restart", |log| log.restart_at(Offset(170), 0), 170),
    ];
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO] {
        for (what, cut, end) in cuts {
            let (fixture, mut log) = Fixture::new(small_segments(600));
            log.restart_at(Offset(100), 0).unwrap();
            for _ in 0..3 {
                append(&mut log, &Made::sized(10, 500));
            }
            trace::fail_once_with("create ottla-cutting", errno);
            let error = cut(&mut log).expect_err(what);
            assert_eq!(error.is_of_disk(), errno == Errno::IO, "{what}: {error}");
            assert_eq!(log.check_usable().map_err(|error| error.to_string()), Ok(()), "{what}: nothing was cut");
            append(&mut log, &Made::sized(10, 500));
            for base in [100, 110, 120, 130] {
                assert_eq!(read(&log, base, 1, 140), [base], "{what}");
            }
            cut(&mut log).unwrap();
            assert_eq!(log.end_offset(), Offset(end), "{what}");
            log.check();
            log.close(0).unwrap();
            assert!(!fixture.files().contains("ottla-cutting"), "{what}: {}", fixture.files());
            assert_eq!(fixture.open(true, end).0.end_offset(), Offset(end), "{what}");
        }
    }
}
