//! Opening a log whose process was killed while the machine went on: little is read, and the end is right.

use super::*;
use crate::segment::file_path;

const BATCHES: i64 = 1_000;

/// A log of batches of ten records in one segment, with an index entry for each, whose process is no more.
fn killed(config: LogConfig, batches: i64) -> Fixture {
    let (fixture, mut log) = Fixture::new(config);
    for number in 0..batches {
        append(&mut log, &Made { timestamps: vec![1_000 + number; 10], ..Made::sized(10, 500) });
    }
    fixture
}

fn one_segment() -> LogConfig {
    LogConfig { segment_index_bytes: 1 << 20, ..small_segments(1 << 30) }
}

fn reopen(fixture: &Fixture) -> (Log, Recovery) {
    fixture.open_left(Left::Killed, 0, 0).unwrap()
}

fn log_file(fixture: &Fixture) -> fs::File {
    let path = file_path(&fixture.path(), Offset(0), "log");
    fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn batch_bytes() -> u64 {
    Made::sized(10, 500).bytes().len() as u64
}

/// Asserts that every batch is found by its offset and by its time.
fn check_all(log: &Log, batches: i64) {
    assert_eq!(log.end_offset(), Offset(batches * 10));
    for number in 0..batches {
        assert_eq!(read(log, number * 10 + 3, 1, batches * 10), [number * 10]);
        let found = log.offset_for_timestamp(1_000 + number, Offset(batches * 10)).unwrap().unwrap();
        assert_eq!(found.offset, Offset(number * 10));
    }
}

#[test]
fn only_what_lies_behind_the_indexes_is_read() {
    let fixture = killed(one_segment(), BATCHES);
    let (mut log, recovery) = reopen(&fixture);
    // The indexes write their entries in bunches of 128.
    let most_bytes = 130 * batch_bytes();
    assert_eq!((recovery.cut, recovery.scanned_segments), (None, 1));
    assert!(recovery.scanned_bytes <= most_bytes, "{} bytes", recovery.scanned_bytes);
    check_all(&log, BATCHES);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(5)));
    for number in BATCHES..BATCHES + 300 {
        append(&mut log, &Made { timestamps: vec![1_000 + number; 10], ..Made::sized(10, 500) });
    }
    drop(log);
    check_all(&reopen(&fixture).0, BATCHES + 300);
}

#[test]
fn times_are_known_as_far_as_offsets_are() {
    for (timestamp, before) in
        [(-1, BATCHES), (1_000, BATCHES), (-1, 126), (-1, 127), (-1, 128), (1_000, 129), (1_000, 256)]
    {
        let (fixture, mut log) = Fixture::new(one_segment());
        let made = Made { timestamps: vec![timestamp; 10], ..Made::sized(10, 500) };
        (0..before).for_each(|_| _ = append(&mut log, &made));
        append(&mut log, &Made { timestamps: vec![2_000; 10], ..Made::sized(10, 500) });
        (0..200).for_each(|_| _ = append(&mut log, &made));
        let (log, recovery) = reopen(&fixture);
        assert!(recovery.scanned_bytes <= 130 * batch_bytes(), "{} bytes", recovery.scanned_bytes);
        assert_eq!(log.end_offset(), Offset((before + 201) * 10));
        let found = log.offset_for_timestamp(1_001, log.end_offset()).unwrap().unwrap();
        assert_eq!(found.offset, Offset(before * 10));
    }
}

#[test]
fn the_time_that_a_killed_kafka_had_not_written_is_found() {
    let with_late = |late: i64| {
        let (fixture, mut log) = Fixture::new(one_segment());
        for number in 0..300 {
            let time = if number == late { 9_000 } else { 1_000 };
            append(&mut log, &Made { timestamps: vec![time; 10], ..Made::sized(10, 500) });
        }
        fixture
    };
    let entries = |fixture: &Fixture, kind, entry_bytes| {
        let bytes = fs::read(file_path(&fixture.path(), Offset(0), kind)).unwrap();
        bytes.chunks_exact(entry_bytes).take_while(|entry| entry.iter().any(|byte| *byte != 0)).count()
    };
    // The first batch has no entry.
    let late = entries(&with_late(0), "index", 8) as i64;
    let fixture = with_late(late);
    let path = file_path(&fixture.path(), Offset(0), "timeindex");
    let mut bytes = fs::read(&path).unwrap();
    let last = entries(&fixture, "timeindex", 12) - 1;
    // It writes an offset before its time.
    assert_eq!(bytes[last * 12..][..8], 9_000i64.to_be_bytes());
    bytes[last * 12..][..12].fill(0);
    fs::write(&path, bytes).unwrap();
    let (log, recovery) = reopen(&fixture);
    assert!(recovery.scanned_bytes <= 130 * batch_bytes(), "{} bytes", recovery.scanned_bytes);
    let found = log.offset_for_timestamp(9_000, log.end_offset()).unwrap().unwrap();
    assert_eq!(found.offset, Offset(late * 10));
}

#[test]
fn sealed_segments_are_not_read_at_all() {
    let fixture = killed(small_segments(1300), 60);
    let (log, recovery) = reopen(&fixture);
    assert!((recovery.scanned_segments, recovery.scanned_bytes) <= (1, 2 * batch_bytes()), "{recovery:?}");
    assert_eq!(log.end_offset(), Offset(600));
    let (log, recovery) = fixture.open(false, 0);
    assert_eq!((recovery.scanned_segments, log.end_offset()), (30, Offset(600)), "else all would be");
}

#[test]
fn leader_epochs_that_no_flush_has_written_are_found_again() {
    let epochs = [1, 1, 1, 2, 4, 4, 4, 4, 4, 7, 8, 8, 8, 8, 8, 8, 8, 8, 9];
    let config = LogConfig { segment_index_bytes: 1 << 20, ..small_segments(2500) };
    for (flushed_after, is_rolled) in (0..20).flat_map(|number| [(number, false), (number, true)]) {
        let (fixture, mut log) = Fixture::new(config.clone());
        for (number, &leader_epoch) in (0..).zip(&epochs) {
            if number == flushed_after {
                log.flush(0).unwrap();
            }
            // As after a compaction, some offsets are missing.
            let made = Made { base_offset: number * 13, leader_epoch, ..Made::sized(10, 500) };
            log.append_follower(&made.bytes(), 0).unwrap();
        }
        if is_rolled {
            log.roll(0).unwrap();
        }
        let known = log.epochs().entries().to_vec();
        assert_eq!(known.len(), 6);
        drop(log);
        let (log, recovery) = reopen(&fixture);
        assert_eq!((log.epochs().entries(), recovery.cut), (&known[..], None), "{flushed_after} {is_rolled}");
        log.close(0).unwrap();
        assert_eq!(fixture.open(true, 1000).0.epochs().entries(), known);
        fs::write(fixture.path().join("leader-epoch-checkpoint"), b"damaged").unwrap();
        assert_eq!(reopen(&fixture).0.epochs().entries(), known);
        let text = fs::read_to_string(fixture.path().join("leader-epoch-checkpoint")).unwrap();
        assert_eq!(text, "0\n6\n1 0\n2 39\n4 52\n7 117\n8 130\n9 234\n");
    }
}

#[test]
fn a_last_write_that_is_torn_is_cut_off_and_told() {
    for preallocate in [false, true] {
        let config = LogConfig { preallocate, ..LogConfig { segment_index_bytes: 1 << 20, ..small_segments(1 << 20) } };
        let fixture = killed(config, 300);
        let last = batch_bytes() * 299;
        let whole = fs::read(file_path(&fixture.path(), Offset(0), "log")).unwrap();
        // The last byte is a zero anyway.
        for written in (0..batch_bytes() - 1).rev().step_by(7) {
            let mut torn = whole.clone();
            match preallocate {
                true => torn[(last + written) as usize..].fill(0),
                false => torn.truncate((last + written) as usize),
            }
            fs::write(file_path(&fixture.path(), Offset(0), "log"), &torn).unwrap();
            let (log, recovery) = reopen(&fixture);
            assert_eq!(log.end_offset(), Offset(2990), "{written} bytes of the last batch");
            // Of the offset, the first six bytes are zeros.
            assert_eq!(recovery.cut.is_some(), written > if preallocate { 6 } else { 0 });
            if let Some(cut) = recovery.cut.filter(|_| preallocate && written > 61) {
                assert_eq!((cut.end_offset, cut.lost_end), (Offset(2990), Offset(3000)));
                expect!["the batch of offset 2990 has a wrong checksum"].assert_eq(&cut.detail);
            }
        }
    }
}

#[test]
fn room_that_is_reserved_is_no_loss() {
    let config = LogConfig { preallocate: true, ..one_segment() };
    let reserved = |fixture: &Fixture| log_file(fixture).metadata().unwrap().len();
    let retained = LogConfig { retention_bytes: Some(20 << 20), ..config.clone() };
    assert_eq!(reserved(&killed(retained, 1)), 2 << 20, "a segment becomes no larger");
    for batches in [0, 1, 300] {
        let fixture = killed(config.clone(), batches);
        assert_eq!(reserved(&fixture), 1 << 30);
        let (log, recovery) = reopen(&fixture);
        assert_eq!(recovery.cut, None);
        check_all(&log, batches);
        log.close(0).unwrap();
        assert_eq!(reserved(&fixture), batches as u64 * batch_bytes());
    }
    // What is checked lies before the end of what was written.
    let fixture = killed(config, 3);
    let at = batch_bytes() + 300;
    let mut byte = [0];
    log_file(&fixture).read_exact_at(&mut byte, at).unwrap();
    log_file(&fixture).write_all_at(&[byte[0] ^ 4], at).unwrap();
    let (log, recovery) = reopen(&fixture);
    assert_eq!((log.end_offset(), recovery.cut.unwrap().lost_end), (Offset(10), Offset(30)));
}

#[test]
fn indexes_that_are_not_what_a_kill_leaves_are_built_anew() {
    for kind in ["index", "timeindex"] {
        for garbage in [None, Some(vec![7; 13]), Some(vec![0xff; 24]), Some([[0; 11], [9; 11]].concat())] {
            let fixture = killed(one_segment(), 300);
            let path = file_path(&fixture.path(), Offset(0), kind);
            match &garbage {
                None => fs::remove_file(&path).unwrap(),
                Some(bytes) => fs::write(&path, bytes).unwrap(),
            }
            let (log, recovery) = reopen(&fixture);
            assert_eq!(recovery.cut, None, "{kind} {garbage:?}");
            check_all(&log, 300);
        }
    }
}

#[test]
fn an_index_that_lost_its_last_entries_is_filled_up_again() {
    for (kind, entry_bytes) in [("index", 8), ("timeindex", 12)] {
        let fixture = killed(one_segment(), 600);
        let path = file_path(&fixture.path(), Offset(0), kind);
        let mut bytes = fs::read(&path).unwrap();
        bytes[100 * entry_bytes..].fill(0);
        fs::write(&path, bytes).unwrap();
        let (log, _) = reopen(&fixture);
        check_all(&log, 600);
        log.close(0).unwrap();
        check_all(&fixture.open(true, 6000).0, 600);
    }
}

#[test]
fn a_wrong_entry_misleads_nobody() {
    let fixture = killed(LogConfig { segment_index_bytes: 1 << 20, ..small_segments(100_000) }, 600);
    fixture.open(false, 0).0.close(0).unwrap();
    let path = file_path(&fixture.path(), Offset(0), "index");
    let good = fs::read(&path).unwrap();
    // It rises like the others, and points into a batch; or to the next one.
    for ahead in [17, batch_bytes()] {
        let mut bytes = good.clone();
        let position = u32::from_be_bytes(bytes[84..88].try_into().unwrap()) + ahead as u32;
        bytes[84..88].copy_from_slice(&position.to_be_bytes());
        fs::write(&path, bytes).unwrap();
        let (log, _) = fixture.open(true, 6000);
        check_all(&log, 600);
        assert_eq!(fs::read(&path).unwrap(), good, "it was built anew");
        drop(log);
    }
}

#[test]
fn a_wrong_time_in_an_index_deletes_nothing() {
    let fixture = killed(LogConfig { retention_ms: Some(5_000), ..small_segments(1300) }, 6);
    fixture.open(false, 0).0.close(0).unwrap();
    for wrong in [0i64, 7, i64::MAX] {
        let path = file_path(&fixture.path(), Offset(0), "timeindex");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 12;
        bytes[last..last + 8].copy_from_slice(&wrong.to_be_bytes());
        fs::write(&path, bytes).unwrap();
        let (mut log, _) = fixture.open(true, 60);
        assert_eq!(log.enforce_retention(6_000, Offset(60)).unwrap(), []);
        if wrong == i64::MAX {
            assert_eq!(log.enforce_retention(6_002, Offset(60)).unwrap().len(), 1, "nor does it keep anything");
        }
    }
}

#[test]
fn a_producer_whose_answers_a_kill_has_swallowed_is_known_with_all_its_last_batches() {
    let (fixture, mut log) = Fixture::new(small_segments(600));
    for sequence in 0..8 {
        append(&mut log, &Made { producer: (7, 0, sequence), value_bytes: 500, ..Made::default() });
    }
    assert_eq!(log.segments().count(), 8, "each has a snapshot at its begin");
    drop(log);
    let (log, _) = reopen(&fixture);
    for sequence in 3..8 {
        let bytes = Made { producer: (7, 0, sequence), value_bytes: 500, ..Made::default() }.bytes();
        let verdict = log.check_producer(Batch::parse(&bytes).unwrap().0.header());
        assert!(matches!(verdict, Ok(crate::Verdict::Duplicate { .. })), "{sequence}: {verdict:?}");
    }
}

#[test]
fn producers_of_large_batches_whose_answers_a_kill_has_swallowed_are_known_too() {
    const PRODUCERS: i64 = 16;
    // Just behind a bunch of index entries, so that little is read for the sake of the indexes.
    const PRODUCED: i64 = 260;
    let (fixture, mut log) = Fixture::new(one_segment());
    let made = |number| Made {
        producer: (number % PRODUCERS, 0, (number / PRODUCERS) as i32),
        value_bytes: 300_000,
        ..Made::default()
    };
    (0..PRODUCED).for_each(|number| _ = append(&mut log, &made(number)));
    drop(log);
    let (log, _) = reopen(&fixture);
    for number in PRODUCED - 5 * PRODUCERS..PRODUCED {
        let bytes = made(number).bytes();
        let verdict = log.check_producer(Batch::parse(&bytes).unwrap().0.header());
        assert!(matches!(verdict, Ok(crate::Verdict::Duplicate { .. })), "{number}: {verdict:?}");
    }
}

#[test]
fn damage_in_a_segment_that_is_not_read_keeps_no_log_from_being_opened() {
    let (fixture, mut log) = Fixture::new(small_segments(600));
    for sequence in 0..8 {
        append(&mut log, &Made { producer: (7, 0, sequence), value_bytes: 500, ..Made::default() });
    }
    log.flush(0).unwrap();
    drop(log);
    for base_offset in 5..7 {
        fs::write(file_path(&fixture.path(), Offset(base_offset), "log"), [0xff; 600]).unwrap();
    }
    for left in [Left::Killed, Left::Unknown] {
        let (log, recovery) = fixture.open_left(left, 7, 0).unwrap();
        assert_eq!((log.end_offset(), recovery.cut), (Offset(8), None), "{left:?}");
    }
}

#[test]
fn a_log_without_gaps_is_not_looked_up_among_those_that_were_compacted() {
    let fixture = killed(one_segment(), BATCHES);
    // As this cannot be read, all of the segment would be.
    fs::create_dir(fixture.folder.path().join("cleaner-offset-checkpoint")).unwrap();
    let (_, recovery) = reopen(&fixture);
    assert!(recovery.scanned_bytes <= 130 * batch_bytes(), "{} bytes", recovery.scanned_bytes);
}

#[test]
fn a_flipped_bit_behind_the_recovery_point_is_cut_off_and_told_and_one_before_is_for_readers() {
    let size = batch_bytes();
    for (flipped, recovery_point) in [(3, 0), (3, 30), (3, 31), (3, 40), (3, 100), (0, 5), (9, 99), (9, 100)] {
        let fixture = killed(one_segment(), 10);
        let at = flipped as u64 * size + 300;
        let mut byte = [0];
        log_file(&fixture).read_exact_at(&mut byte, at).unwrap();
        log_file(&fixture).write_all_at(&[byte[0] ^ 4], at).unwrap();
        let (log, recovery) = fixture.open(false, recovery_point);
        if recovery_point < (flipped + 1) * 10 {
            let cut = recovery.cut.expect("it is found");
            assert_eq!((log.end_offset(), cut.end_offset), (Offset(flipped * 10), Offset(flipped * 10)));
            assert_eq!((cut.lost_end, cut.bytes), (Offset(100), (10 - flipped as u64) * size), "what is gone is told");
            assert_eq!(cut.detail, format!("the batch of offset {} has a wrong checksum", flipped * 10));
        } else {
            assert_eq!((log.end_offset(), recovery.cut), (Offset(100), None), "{flipped} {recovery_point}");
            let bytes = bytes_of(&log.read(Offset(flipped * 10), 1, Offset(100), true).unwrap());
            assert!(!Batch::parse(&bytes).unwrap().0.is_crc_valid(), "clients find it");
        }
    }
}
