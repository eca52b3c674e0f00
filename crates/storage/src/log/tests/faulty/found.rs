//! What the seeds found, each by itself.

use std::sync::Arc;

use ottla_base::{ProducerEpoch, ProducerId};
use ottla_protocol::records::BatchBuilder;
use ottla_protocol::records::control::ControlType;

use super::super::*;
use super::before_ack::batches;
use crate::os::simulated::{self, Failure, Inserted, Trouble};
use crate::os::trace;

/// A log of batches of ten records, each 500 bytes or so, on a simulated disk.
fn on_a_disk(config: LogConfig, batches: usize) -> (Fixture, Log, Inserted) {
    let fixture = Fixture { folder: tempfile::tempdir().unwrap(), config };
    let disk = simulated::insert(fixture.folder.path(), 1);
    let mut log = fixture.open(true, 0).0;
    for _ in 0..batches {
        append(&mut log, &Made::sized(10, 500));
    }
    (fixture, log, disk)
}

fn trouble(trouble: Trouble) {
    simulated::with(|disk| disk.set_trouble(trouble));
}

fn with_epoch(base_offset: i64, leader_epoch: i32) -> Vec<u8> {
    Made { base_offset, leader_epoch, ..Made::sized(10, 500) }.bytes()
}

fn is_unusable(log: &Log) -> bool {
    matches!(log.check_usable(), Err(Error::Unusable { .. }))
}

#[test]
fn what_is_missing_between_two_segments_ends_the_log() {
    for (left, end) in [(0, 20), (1, 30)] {
        let (fixture, log, disk) = on_a_disk(small_segments(1300), 6);
        drop((log, disk));
        let size = Made::sized(10, 500).bytes().len() as u64;
        let path = fixture.path().join("00000000000000000020.log");
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(left * size).unwrap();
        let (log, recovery) = fixture.open(false, 20);
        let cut = recovery.cut.unwrap();
        assert_eq!((log.end_offset(), cut.removed_segments), (Offset(end), 1));
        assert_eq!(cut.detail, format!("the offsets from {end} to 40 are missing"));
        assert_eq!(read(&log, 0, u32::MAX, end), [0, 10]);
    }
}

#[test]
fn offsets_may_be_missing_between_segments_of_a_log_that_was_compacted() {
    let (fixture, log, disk) = on_a_disk(small_segments(1300), 6);
    drop((log, disk));
    fs::write(fixture.path().join("00000000000000000020.log"), b"").unwrap();
    fs::write(fixture.folder.path().join("cleaner-offset-checkpoint"), "0\n1\nt 0 40\n").unwrap();
    let (log, recovery) = fixture.open(false, 0);
    assert_eq!((recovery.cut, log.end_offset()), (None, Offset(60)));
    assert_eq!(read(&log, 25, u32::MAX, 60), [40, 50]);
}

#[test]
fn offsets_that_are_missing_in_front_of_nothing_are_lost_unless_compaction_took_them() {
    for (compacted_to, end) in [(0, 50), (69, 50), (70, 70)] {
        // As a leader that had compacted its log has sent it, so that some are missing anyway.
        let (fixture, mut log, disk) = on_a_disk(small_segments(1300), 3);
        log.append_follower(&with_epoch(40, 5), 0).unwrap();
        drop((log, disk));
        fs::write(fixture.path().join("00000000000000000070.log"), b"").unwrap();
        let checkpoint = format!("0\n1\nt 0 {compacted_to}\n");
        fs::write(fixture.folder.path().join("cleaner-offset-checkpoint"), checkpoint).unwrap();
        let (log, _) = fixture.open(false, 0);
        assert_eq!((log.end_offset(), read(&log, 25, u32::MAX, end)), (Offset(end), vec![20, 40]), "{compacted_to}");
    }
}

#[test]
fn a_recovery_point_behind_the_end_is_that_of_another_log() {
    let (fixture, log, disk) = on_a_disk(small_segments(1300), 6);
    drop((log, disk));
    let (log, recovery) = fixture.open(false, 61);
    assert_eq!((recovery.scanned_segments, log.recovery_point()), (3, Offset(0)));
}

#[test]
fn a_recovery_point_that_is_written_down_is_never_the_end_of_a_segment_that_grows() {
    let (_fixture, mut log, _disk) = on_a_disk(small_segments(1300), 3);
    log.flush(0).unwrap();
    assert_eq!((log.recovery_point(), log.recovery_checkpoint()), (Offset(30), Offset(29)));
    log.roll(0).unwrap();
    assert_eq!(log.recovery_checkpoint(), Offset(20), "the indexes of the second segment have changed since");
    log.flush(0).unwrap();
    assert_eq!(log.recovery_checkpoint(), Offset(30));
}

#[test]
fn epochs_of_batches_that_were_not_written_are_not_known() {
    let (fixture, mut log, _disk) = on_a_disk(LogConfig::default(), 1);
    let both = [with_epoch(10, 6), with_epoch(20, 7)].concat();
    for what in [Trouble::Full, Trouble::Once(0, Failure::Io)] {
        trouble(what);
        let error = log.append_follower(&both, 0).unwrap_err();
        trouble(Trouble::None);
        assert!(error.to_string().contains("append to"), "{error}");
        log.check();
        assert_eq!((log.latest_epoch(), log.end_offset()), (Some(LeaderEpoch(5)), Offset(10)));
    }
    log.append_follower(&with_epoch(10, 5), 0).unwrap();
    log.flush(0).unwrap();
    let text = fs::read_to_string(fixture.path().join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\n5 0\n");
}

#[test]
fn a_write_that_cannot_be_taken_back_is_the_last() {
    let (_fixture, mut log, _disk) = on_a_disk(LogConfig::default(), 1);
    trouble(Trouble::Once(0, Failure::NoSpace));
    trace::fail_once("set-length 00000000000000000000.log");
    try_append_at(&mut log, &Made::default(), 0).unwrap_err();
    assert!(is_unusable(&log));
    assert_eq!(read(&log, 0, u32::MAX, 10), [0]);
}

#[test]
fn a_flush_opens_nothing_before_it_runs_and_leaves_no_file_of_a_sealed_segment_open() {
    for are_closed in [false, true] {
        let (_fixture, mut log, _disk) = on_a_disk(small_segments(1300), 7);
        if are_closed {
            // As many that rolled at once are.
            log.sealed.iter().for_each(Sealed::close);
        }
        trouble(Trouble::Once(0, Failure::NoFiles));
        let flush = log.begin_flush_sealed().unwrap();
        trouble(Trouble::None);
        let ran = flush.run();
        assert_eq!(log.sealed.iter().any(Sealed::is_open), !are_closed, "each is closed as soon as it is flushed");
        log.finish_flush(&flush, ran, 0).unwrap();
        assert!(!log.has_unflushed_segments() && !log.sealed.iter().any(Sealed::is_open));
        assert_eq!(log.recovery_point(), Segment::base_offset(&log.active));
    }
}

#[test]
fn indexes_that_cannot_be_opened_because_too_much_is_open_are_not_built_anew() {
    let (_fixture, mut log, _disk) = on_a_disk(small_segments(1300), 6);
    log.flush(0).unwrap();
    let segment = &log.sealed[0];
    for calls in 0.. {
        segment.close();
        trouble(Trouble::Once(calls, Failure::NoFiles));
        let (found, changes) = trace::calls_of(|| segment.time_floor(0));
        let failures = simulated::with(|disk| disk.failures());
        trouble(Trouble::None);
        assert!(changes.is_empty(), "after {calls} calls: {changes:?}");
        if failures == 0 {
            found.unwrap();
            assert!(calls > 2, "index, time index and log were opened");
            return;
        }
        assert!(found.is_err_and(|error| error.lacks_files()), "after {calls} calls");
    }
}

#[test]
fn where_few_files_are_left_a_log_does_not_roll_and_is_flushed_and_read() {
    let (_fixture, mut log, _disk) = on_a_disk(small_segments(1300), 6);
    trouble(Trouble::Scarce);
    let (end, shortages) = (log.end_offset(), os::shortages());
    let error = try_append_at(&mut log, &Made::sized(10, 500), 0).unwrap_err();
    assert!(error.lacks_files() && error.to_string().contains("ulimit"), "{error}");
    assert!(log.end_offset() == end && !is_unusable(&log) && os::shortages() > shortages);
    let flush = log.begin_flush_sealed().unwrap();
    let ran = flush.run();
    log.finish_flush(&flush, ran, 0).unwrap();
    drop(flush);
    assert!(!log.has_unflushed_segments());
    for offset in (0..end.0).step_by(10) {
        assert_eq!(read(&log, offset, 1, end.0), [offset]);
    }
    assert!(!log.sealed.iter().any(Sealed::is_open), "what is read is closed when it was read");
    trouble(Trouble::None);
    append(&mut log, &Made::sized(10, 500));
    assert_eq!(read(&log, 0, 1, end.0), [0]);
    let open = |log: &Log| log.sealed.iter().filter(|segment| segment.is_open()).count();
    assert_eq!(open(&log), 2);
    log.close_idle_files();
    assert_eq!(open(&log), 1, "the one that has rolled stays until it is flushed");
    log.flush(0).unwrap();
    assert_eq!(open(&log), 0);
    log.check();
}

#[test]
fn readers_of_one_segment_share_a_file_and_no_reader_takes_one_of_the_last() {
    let (_fixture, mut log, _disk) = on_a_disk(small_segments(1300), 6);
    log.flush(0).unwrap();
    let lend = |log: &Log, from| log.lend(Offset(from), 1, Offset(60), true).map(|slice| slice.expect("a batch"));
    let first = lend(&log, 0).unwrap();
    // With the first one closed by others, and where few files are left.
    for is_scarce in [false, true] {
        log.close_idle_files();
        trouble(if is_scarce { Trouble::Scarce } else { Trouble::None });
        let second = lend(&log, 10).unwrap();
        assert!(Arc::ptr_eq(&first.file, &second.file));
    }
    log.close_idle_files();
    let shortages = os::shortages();
    let error = lend(&log, 20).unwrap_err();
    assert!(error.lacks_files() && os::shortages() > shortages, "{error}");
    assert_eq!(bases(&lend(&log, 40).unwrap()), [40], "the segment that is written to is open");
    // Those who are done at once find one, by offset and by time.
    assert_eq!(read(&log, 20, 1, 60), [20]);
    assert_eq!(log.offset_for_timestamp(0, Offset(60)).unwrap().map(|found| found.offset), Some(Offset(0)));
    log.close_idle_files();
    let file = Arc::downgrade(&first.file);
    drop(first);
    assert!(file.upgrade().is_none(), "it is closed with the last reader");
    assert!(lend(&log, 0).unwrap_err().lacks_files());
    trouble(Trouble::None);
    assert_eq!(bases(&lend(&log, 20).unwrap()), [20]);
    log.check();
}

#[test]
fn a_log_that_is_idle_is_closed_once_it_is_flushed_and_opened_when_it_is_used() {
    let (fixture, mut log, _disk) = on_a_disk(LogConfig::default(), 2);
    assert!(!log.close_idle_active(), "it was used");
    assert!(log.close_idle_active() && log.active.opened_file().is_some(), "what it holds is not flushed");
    log.flush(0).unwrap();
    let held = log.lend(Offset(0), 1, Offset(20), true).unwrap();
    assert!(!log.close_idle_active() && !log.close_idle_active() && log.active.opened_file().is_some(), "it is read");
    drop(held);
    let close = |log: &mut Log| {
        assert!(!log.close_idle_active() && !log.close_idle_active());
        assert!(log.active.opened_file().is_none());
    };
    close(&mut log);
    // Whoever has read all of it waits for more.
    assert!(log.lend(Offset(20), 1, Offset(20), true).unwrap().is_none() && log.active.opened_file().is_none());
    log.check_there().unwrap();
    trouble(Trouble::Scarce);
    assert!(log.lend(Offset(0), 1, Offset(20), true).unwrap_err().lacks_files());
    assert_eq!(read(&log, 0, 1, 20), [0]);
    assert!(try_append_at(&mut log, &Made::sized(10, 500), 0).unwrap_err().lacks_files() && !is_unusable(&log));
    trouble(Trouble::None);
    append(&mut log, &Made::sized(10, 500));
    assert_eq!(read(&log, 0, u32::MAX, 30), [0, 10, 20]);
    // What it is asked while it is closed.
    log.flush(0).unwrap();
    close(&mut log);
    assert_eq!(log.truncate_to(Offset(20), 0).unwrap(), Offset(20));
    append(&mut log, &Made::sized(10, 500));
    log.flush(0).unwrap();
    close(&mut log);
    log.roll(0).unwrap();
    log.flush(0).unwrap();
    close(&mut log);
    trouble(Trouble::Scarce);
    log.close(0).unwrap();
    let (mut log, recovery) = fixture.open(true, 30);
    assert!(recovery.cut.is_none() && log.active.opened_file().is_none(), "there may be more logs than files");
    assert_eq!(read(&log, 0, u32::MAX, 30), [0, 10, 20]);
    trouble(Trouble::None);
    append(&mut log, &Made::sized(10, 500));
    assert_eq!(read(&log, 30, u32::MAX, 40), [30]);
}

#[test]
fn a_start_without_files_flushes_what_a_killed_process_has_left_before_it_closes_it() {
    let (fixture, log, _disk) = on_a_disk(LogConfig::default(), 2);
    drop(log);
    trouble(Trouble::Scarce);
    let ((log, _), calls) = trace::calls_of(|| fixture.open_left(Left::Killed, 0, 0).unwrap());
    assert!(calls.contains(&"sync 00000000000000000000.log".to_owned()), "{calls:?}");
    assert!(log.is_flushed() && log.active.opened_file().is_none());
}

#[test]
fn a_flush_for_which_too_much_is_open_is_made_later() {
    let config = LogConfig { flush_before_ack: true, ..small_segments(1300) };
    for opened_before in 0..6 {
        let (_fixture, mut log, _disk) = on_a_disk(config.clone(), 5);
        // Not while it begins, which is no flush yet.
        let flush = log.begin_flush().unwrap();
        for calls in opened_before.. {
            trouble(Trouble::Once(calls, Failure::NoFiles));
            let ran = flush.run();
            let failures = simulated::with(|disk| disk.failures());
            trouble(Trouble::None);
            if failures == 0 {
                assert!(calls > opened_before, "some file was opened");
                break;
            }
            let Err(error) = log.finish_flush(&flush, ran, 0) else {
                assert!(log.epochs.unwritten_from().is_some(), "only these can be found again");
                break;
            };
            assert!(error.lacks_files() && error.to_string().contains("ulimit"), "{error}");
            assert!(log.owes_flush() && !is_unusable(&log), "nothing is called safe, and nothing is lost");
            append(&mut log, &Made::sized(10, 500));
        }
        log.flush(0).unwrap();
        assert!(log.is_flushed() && !log.owes_flush());
    }
}

#[test]
fn a_flush_of_a_log_that_has_not_rolled_opens_nothing() {
    let (_fixture, mut log, _disk) = on_a_disk(LogConfig { flush_before_ack: true, ..LogConfig::default() }, 1);
    log.flush(0).unwrap();
    append(&mut log, &Made::sized(10, 500));
    trouble(Trouble::Once(0, Failure::NoFiles));
    log.flush(0).unwrap();
    assert!(log.is_flushed());
}

#[test]
fn a_segment_that_is_preallocated_takes_no_room() {
    let (fixture, log, _disk) = on_a_disk(LogConfig { preallocate: true, ..small_segments(64 << 20) }, 1);
    let file = fs::metadata(fixture.path().join("00000000000000000000.log")).unwrap();
    assert_eq!(file.len(), 64 << 20);
    assert!(std::os::unix::fs::MetadataExt::blocks(&file) * 512 < 1 << 20, "{file:?}");
    assert_eq!(read(&log, 0, u32::MAX, 10), [0]);
}

/// Where something is opened before anything is cut, the log goes on; behind that, nobody knows what is left.
#[test]
fn a_truncation_for_which_too_much_is_open_cuts_nothing_or_is_the_last() {
    let (mut went_on, mut was_last) = (0, 0);
    for calls in 0.. {
        let (fixture, mut log, _disk) = on_a_disk(small_segments(1300), 6);
        log.close_idle_files();
        trouble(Trouble::Once(calls, Failure::NoFiles));
        let cut = log.truncate_to(Offset(10), 0);
        let failures = simulated::with(|disk| disk.failures());
        trouble(Trouble::None);
        if failures == 0 {
            assert_eq!(cut.unwrap(), Offset(10));
            break;
        }
        let Err(error) = cut else { continue };
        assert!(error.lacks_files(), "{error}");
        match is_unusable(&log) {
            true => was_last += 1,
            false => {
                went_on += 1;
                let held: Vec<i64> = batches(&log).iter().map(|(base, _)| base.0).collect();
                assert_eq!(held, [0, 10, 20, 30, 40, 50]);
                assert_eq!(log.truncate_to(Offset(10), 0).unwrap(), Offset(10));
                append(&mut log, &Made::sized(10, 500));
                log.close(0).unwrap();
                assert_eq!(fixture.open(true, 20).0.end_offset(), Offset(20));
            }
        }
    }
    assert!(went_on >= 4, "the mark, the log and its indexes are opened first: {went_on}");
    assert!(was_last > 0, "{was_last}");
}

#[test]
fn a_truncation_is_on_the_disk_later_segments_first() {
    let (_fixture, mut log, _disk) = on_a_disk(small_segments(1300), 6);
    let ((), calls) = trace::calls_of(|| _ = log.truncate_to(Offset(10), 0).unwrap());
    let order = [
        "remove 00000000000000000040.log",
        "remove 00000000000000000020.log",
        "sync-folder t-0",
        "set-length 00000000000000000000.log",
        "sync 00000000000000000000.log",
    ];
    assert_in_order(&calls, &order);
}

#[test]
fn a_snapshot_of_before_the_first_segment_is_not_used() {
    let (fixture, mut log, disk) = on_a_disk(LogConfig { retention_bytes: Some(0), ..small_segments(600) }, 0);
    for sequence in 0..3 {
        append(&mut log, &Made { producer: (7, 0, sequence), value_bytes: 500, ..Made::default() });
    }
    let old = fs::read(fixture.path().join("00000000000000000001.snapshot")).unwrap();
    log.enforce_retention(0, Offset(2)).unwrap();
    drop((log, disk));
    fs::write(fixture.path().join("00000000000000000001.snapshot"), old).unwrap();
    fs::remove_file(fixture.path().join("00000000000000000002.snapshot")).unwrap();
    let (log, _) = fixture.open(false, 0);
    let known: Vec<_> = log.producers().entries().map(|entry| (entry.last_offset.0, entry.last_sequence)).collect();
    assert_eq!((log.start_offset(), known), (Offset(2), vec![(2, 2)]));
}

#[test]
fn reads_that_fail_leave_few_files_open() {
    let (_fixture, log, _disk) = on_a_disk(small_segments(600), 8);
    for calls in 0..4 {
        for offset in (0..80).step_by(10) {
            trouble(Trouble::Once(calls, Failure::Io));
            _ = log.read(Offset(offset), 1, Offset(80), true);
            _ = log.offset_for_timestamp(1000, Offset(80));
            log.check();
        }
        log.close_idle_files();
    }
}

#[test]
fn segments_before_the_start_are_not_believed_after_a_crash() {
    let (fixture, log, disk) = on_a_disk(small_segments(1300), 6);
    drop((log, disk));
    fs::write(fixture.path().join("00000000000000000020.log"), b"torn, and back from a deletion").unwrap();
    let (log, recovery) = fixture.try_open(false, 40, 45).unwrap();
    assert_eq!((recovery.cut, log.start_offset(), log.end_offset()), (None, Offset(45), Offset(60)));
    assert_eq!(log.segments().next().unwrap().base_offset, Offset(40));
}

#[test]
fn an_epoch_whose_batch_is_lost_does_not_outlive_it() {
    let (fixture, mut log, disk) = on_a_disk(LogConfig::default(), 1);
    log.append_follower(&with_epoch(10, 6), 0).unwrap();
    drop((log, disk));
    // What an append had left that failed before, and was taken back.
    let size = Made::sized(10, 500).bytes().len() as u64;
    let path = fixture.path().join("00000000000000000000.log");
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&with_epoch(10, 5), size).unwrap();
    let (log, _) = fixture.open(false, 0);
    assert_eq!((log.end_offset(), log.epochs().epoch_for(Offset(10))), (Offset(20), Some(LeaderEpoch(5))));
}

#[test]
fn what_a_failed_flush_has_lost_is_not_believed_by_the_next_process_that_can_still_read_it() {
    let (mut calls, mut losses, mut has_failed) = (0, 0, true);
    while has_failed {
        let (fixture, mut log, _disk) = on_a_disk(small_segments(1300), 6);
        trouble(Trouble::Once(calls, Failure::Io));
        has_failed = log.flush(0).is_err();
        calls += 1;
        trouble(Trouble::None);
        drop(log);
        let keeps_all = simulated::with(|disk| disk.kill());
        let (mut log, _) = fixture.open(false, 0);
        losses += i32::from(!keeps_all && log.end_offset() < Offset(60));
        append(&mut log, &Made::sized(10, 500));
        log.flush(0).unwrap();
        let (held, recovery_point) = (batches(&log), log.recovery_checkpoint().0);
        drop(log);
        simulated::with(|disk| disk.lose_unsynced());
        let (log, _) = fixture.open(false, recovery_point);
        assert!(
            batches(&log) == held,
            "where call {calls} fails: all of it was flushed, and it ends at {}",
            log.end_offset()
        );
    }
    assert!(losses > 0, "the disk has lost something in front of the end");
}

#[test]
fn a_start_that_believes_the_page_cache_does_not_drop_it() {
    for (left, recovery_point, forgotten) in [
        (Left::Cleanly, 60, &[][..]),
        (Left::Killed, 0, &[]),
        (Left::Unknown, 40, &["forget 00000000000000000040.log"]),
        (Left::Unknown, 20, &["forget 00000000000000000020.log", "forget 00000000000000000040.log"]),
    ] {
        let (fixture, log, _disk) = on_a_disk(small_segments(1300), 6);
        log.close(0).unwrap();
        let (opened, calls) = trace::calls_of(|| fixture.open_left(left, recovery_point, 0));
        assert_eq!(opened.unwrap().0.end_offset(), Offset(60));
        let found: Vec<String> = calls.into_iter().filter(|call| call.starts_with("forget")).collect();
        assert_eq!(found, forgotten, "{left:?} from {recovery_point} on");
    }
}

/// A batch of a transaction of producer 7 and then its abort, with the next offsets: in one append, as a leader sends them.
fn begun_and_aborted(log: &Log) -> Vec<u8> {
    let (base_offset, sequence) = (log.end_offset().0, log.end_offset().0 as i32);
    let begun = Made { base_offset, attributes: 1 << 4, producer: (7, 0, sequence), ..Made::sized(1, 50) };
    let mut marker = BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), -1).transactional().control();
    marker = marker.base_offset(log.end_offset().plus(1)).leader_epoch(LeaderEpoch(5));
    marker.push(2000, Some(&ControlType::Abort.key()), Some(&[0; 6]), &[]);
    [begun.bytes(), marker.build().unwrap()].concat()
}

/// First and last offsets of the transactions that were aborted.
fn aborted_in(log: &Log) -> Vec<(i64, i64)> {
    let all = log.replayed.aborted.values().flat_map(|index| index.entries());
    all.map(|aborted| (aborted.first_offset.0, aborted.last_offset.0)).collect()
}

#[test]
fn an_abort_for_which_there_is_no_room_or_no_file_is_not_appended_and_comes_again() {
    for failure in [Failure::NoFiles, Failure::NoSpace] {
        // The first makes the index of its segment, others find it.
        for before in 0..3 {
            let (mut calls, mut has_failed) = (0, true);
            while has_failed {
                let (fixture, mut log, _disk) = on_a_disk(LogConfig::default(), 0);
                for _ in 0..before {
                    let bytes = begun_and_aborted(&log);
                    log.append_follower(&bytes, 0).unwrap();
                }
                let (end, mut expected) = (log.end_offset(), aborted_in(&log));
                assert_eq!(expected.len(), before);
                let bytes = begun_and_aborted(&log);
                trouble(Trouble::Once(calls, failure));
                let appended = log.append_follower(&bytes, 0);
                has_failed = simulated::with(|disk| disk.failures()) > 0;
                trouble(Trouble::None);
                log.check_usable().unwrap();
                if appended.is_err() {
                    let case = format!("{failure:?} of call {calls} behind {before}");
                    assert_eq!((log.end_offset(), aborted_in(&log)), (end, expected.clone()), "{case}");
                    log.append_follower(&bytes, 0).unwrap();
                }
                expected.push((end.0, end.0 + 1));
                assert_eq!(aborted_in(&log), expected);
                log.close(0).unwrap();
                let (log, _) = fixture.open_left(Left::Cleanly, 0, 0).unwrap();
                assert_eq!(aborted_in(&log), expected, "on the disk too");
                calls += 1;
            }
            assert!(calls > 1, "nothing failed");
        }
    }
}
