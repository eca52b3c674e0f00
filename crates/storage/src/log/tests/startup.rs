//! Opening a log again: after a clean shutdown, a crash, a torn write, flipped bits, an interrupted clean-up.

use super::*;
use crate::os::trace;

/// A log of six batches of ten records in three segments, each batch 500 bytes or so.
fn three_segments() -> (Fixture, u64) {
    let (fixture, mut log) = Fixture::new(small_segments(1300));
    for _ in 0..6 {
        append(&mut log, &Made::sized(10, 500));
    }
    log.close(0).unwrap();
    let size = Made::sized(10, 500).bytes().len() as u64;
    (fixture, size)
}

fn file(fixture: &Fixture, name: &str) -> fs::File {
    fs::OpenOptions::new().read(true).write(true).open(fixture.path().join(name)).unwrap()
}

#[test]
fn a_log_is_not_begun_anew_where_its_directory_has_gone() {
    let (fixture, _) = three_segments();
    let folder = fixture.path().join("gone").join("t-0");
    let error = Log::open(&folder, LogConfig::default(), known(Left::Cleanly, (0, 0), 0)).unwrap_err();
    assert!(error.to_string().contains("os error 2"), "{error}");
    assert!(!folder.parent().unwrap().exists());
}

#[test]
fn a_clean_start_scans_nothing() {
    let (fixture, _) = three_segments();
    let before = fixture.files();
    let (mut log, recovery) = fixture.open(true, 60);
    assert_eq!(recovery, Recovery::default());
    assert_eq!((log.start_offset(), log.end_offset(), log.recovery_point()), (Offset(0), Offset(60), Offset(60)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(5)));
    assert_eq!(fixture.files(), before, "opening changes nothing");
    assert_eq!(append(&mut log, &Made::sized(10, 500)).base_offset, Offset(60));
    log.close(0).unwrap();
    assert_eq!(fixture.open(true, 70).0.end_offset(), Offset(70));
}

#[test]
fn after_a_crash_only_segments_beyond_the_recovery_point_are_read() {
    let (fixture, _) = three_segments();
    for (recovery_point, scanned) in [(60, 1), (40, 1), (39, 2), (20, 2), (19, 3), (0, 3)] {
        let (log, recovery) = fixture.open(false, recovery_point);
        assert_eq!((recovery.scanned_segments, recovery.cut), (scanned, None), "from {recovery_point}");
        assert_eq!(log.end_offset(), Offset(60));
    }
}

#[test]
fn a_torn_end_is_cut_off_at_every_byte() {
    let (fixture, size) = three_segments();
    let name = "00000000000000000040.log";
    let whole = fs::read(fixture.path().join(name)).unwrap();
    for length in 0..whole.len() {
        fs::write(fixture.path().join(name), &whole[..length]).unwrap();
        let (log, recovery) = fixture.open(false, 40);
        let whole_batches = length as u64 / size;
        assert_eq!(log.end_offset(), Offset(40 + 10 * whole_batches as i64), "{length} bytes");
        let torn = length as u64 - whole_batches * size;
        assert_eq!(recovery.cut.map_or(0, |cut| cut.bytes), torn, "{length} bytes");
        assert_eq!(fs::metadata(fixture.path().join(name)).unwrap().len(), whole_batches * size);
    }
}

#[test]
fn a_flipped_bit_ends_the_log_and_takes_later_segments_with_it() {
    let (fixture, size) = three_segments();
    let log_file = file(&fixture, "00000000000000000020.log");
    log_file.write_all_at(&[0xff], size + 300).unwrap();
    let (log, recovery) = fixture.open(false, 0);
    let cut = recovery.cut.unwrap();
    assert_eq!((cut.end_offset, cut.bytes, cut.removed_segments), (Offset(30), 3 * size, 1));
    expect!["the batch of offset 30 has a wrong checksum"].assert_eq(&cut.detail);
    assert_eq!(log.end_offset(), Offset(30));
    assert!(!fixture.files().contains("0040."), "{}", fixture.files());
    assert_eq!(read(&log, 0, u32::MAX, 60), [0, 10]);
    assert_eq!(read(&log, 25, u32::MAX, 60), [20]);
}

#[test]
fn zeros_behind_the_end_are_cut_off() {
    let (fixture, size) = three_segments();
    file(&fixture, "00000000000000000040.log").set_len(1 << 20).unwrap();
    let (log, recovery) = fixture.open(false, 40);
    assert_eq!(log.end_offset(), Offset(60));
    assert_eq!(recovery.cut.unwrap().bytes, (1 << 20) - 2 * size);
}

#[test]
fn indexes_that_are_missing_or_senseless_are_built_anew() {
    let (fixture, _) = three_segments();
    let names = ["00000000000000000000.index", "00000000000000000020.timeindex", "00000000000000000040.index"];
    let good = names.map(|name| fs::read(fixture.path().join(name)).unwrap());
    for garbage in [None, Some(vec![0; 64]), Some(vec![7; 13]), Some(vec![0xff; 24])] {
        for name in names {
            match &garbage {
                None => fs::remove_file(fixture.path().join(name)).unwrap(),
                Some(bytes) => fs::write(fixture.path().join(name), bytes).unwrap(),
            }
        }
        let (log, recovery) = fixture.open(true, 60);
        assert_eq!((recovery.cut, log.end_offset()), (None, Offset(60)));
        for offset in 0..60 {
            assert_eq!(read(&log, offset, 1, 60), [offset / 10 * 10], "{garbage:?}");
        }
        assert_eq!(log.offset_for_timestamp(1000, Offset(60)).unwrap().unwrap().offset, Offset(0));
        log.close(0).unwrap();
        for (name, good) in names.iter().zip(&good) {
            assert_eq!(&fs::read(fixture.path().join(name)).unwrap(), good, "{name}");
        }
    }
}

#[test]
fn damage_of_the_first_batch_does_not_cost_those_behind_it() {
    for (at, left) in [8, 9, 16].into_iter().flat_map(|at| [(at, Left::Cleanly), (at, Left::Killed)]) {
        let (fixture, mut log) = Fixture::new(small_segments(1 << 20));
        for _ in 0..6 {
            append(&mut log, &Made::sized(10, 500));
        }
        log.close(0).unwrap();
        let log_file = file(&fixture, "00000000000000000000.log");
        let mut byte = [0];
        log_file.read_exact_at(&mut byte, at).unwrap();
        log_file.write_all_at(&[byte[0] ^ 64], at).unwrap();
        let before = fs::read(fixture.path().join("00000000000000000000.log")).unwrap();
        let (mut log, recovery) = fixture.open_left(left, 60, 0).unwrap();
        assert_eq!((recovery.cut, log.end_offset()), (None, Offset(60)), "byte {at}, {left:?}");
        assert_eq!(read(&log, 20, u32::MAX, 60), [20, 30, 40, 50]);
        assert!(matches!(log.read(Offset(0), 1, Offset(60), true), Err(Error::Corrupt { .. })));
        assert_eq!(append(&mut log, &Made::sized(10, 500)).base_offset, Offset(60));
        log.close(0).unwrap();
        let after = fs::read(fixture.path().join("00000000000000000000.log")).unwrap();
        assert_eq!(after[..before.len()], before, "byte {at}, {left:?}");
    }
}

#[test]
fn an_index_that_is_missing_does_not_have_flushed_records_cut_off() {
    let (fixture, size) = three_segments();
    for kind in ["index", "timeindex"] {
        file(&fixture, "00000000000000000040.log").write_all_at(&[0xff], 300).unwrap();
        fs::remove_file(fixture.path().join(format!("00000000000000000040.{kind}"))).unwrap();
        let (log, recovery) = fixture.open(true, 60);
        assert_eq!((recovery.cut, log.end_offset()), (None, Offset(60)), "{kind}");
        assert_eq!(read(&log, 50, u32::MAX, 60), [50]);
        log.close(0).unwrap();
    }
    // What was not flushed is looked at.
    fs::remove_file(fixture.path().join("00000000000000000040.index")).unwrap();
    let (_, recovery) = fixture.open(true, 40);
    assert_eq!(recovery.cut.unwrap().bytes, 2 * size);
}

#[test]
fn a_log_that_ends_before_its_checkpointed_start_is_begun_anew_there() {
    let (fixture, _) = three_segments();
    let (log, _) = fixture.try_open(true, 60, 100).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(100), Offset(100)));
    assert_eq!(log.segments().map(|segment| segment.base_offset.0).collect::<Vec<_>>(), [100]);
    drop(log);
    let (log, _) = fixture.try_open(true, 60, 100).unwrap();
    assert_eq!(log.end_offset(), Offset(100));
}

#[test]
fn a_log_that_ends_where_no_offsets_are_left_refuses_records() {
    let (fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &Made::sized(10, 500));
    log.restart_at(Offset(i64::MAX - 5), 0).unwrap();
    for count in [6, 10] {
        let error = try_append_at(&mut log, &Made::sized(count, 500), 0).unwrap_err();
        assert!(matches!(error, Error::InvalidRecords { .. }), "{error}");
    }
    append(&mut log, &Made::sized(5, 500));
    assert_eq!(log.end_offset(), Offset(i64::MAX));
    try_append_at(&mut log, &Made::sized(1, 500), 0).unwrap_err();
    drop(log);
    let (log, _) = fixture.try_open(false, 0, 0).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(i64::MAX - 5), Offset(i64::MAX)));
}

#[test]
fn leftovers_of_deletion_and_compaction_are_cleared_away() {
    let (fixture, _) = three_segments();
    let folder = fixture.path();
    let at = |name: &str| folder.join(name);
    // Compaction had written segments 0 and 20 into one, and was about to put it in their place.
    let merged = [fs::read(at("00000000000000000000.log")).unwrap(), fs::read(at("00000000000000000020.log")).unwrap()];
    fs::write(at("00000000000000000000.log.swap"), merged.concat()).unwrap();
    // The clean-up of segment 40 was not finished.
    fs::write(at("00000000000000000040.log.cleaned"), b"half").unwrap();
    fs::write(at("00000000000000000040.log.swap"), b"part of the same clean-up").unwrap();
    fs::write(at("00000000000000000007.log.deleted"), b"x").unwrap();
    fs::write(at("00000000000000000007.snapshot.deleted"), b"x").unwrap();
    fs::write(at("00000000000000000008.index"), b"orphan").unwrap();
    fs::write(at("00000000000000000000-0000000000.checkpoint"), b"not ours").unwrap();
    let (log, recovery) = fixture.open(true, 60);
    assert_eq!(recovery.cut, None);
    assert_eq!(log.segments().map(|segment| segment.base_offset.0).collect::<Vec<_>>(), [0, 40]);
    for offset in 0..60 {
        assert_eq!(read(&log, offset, 1, 60), [offset / 10 * 10]);
    }
    drop(log);
    let names: Vec<String> = fixture.files().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let leftover = |name: &&String| ["swap", "cleaned", "deleted"].iter().any(|suffix| name.ends_with(suffix));
    assert_eq!(names.iter().find(leftover), None);
    assert!(!names.contains(&"00000000000000000008.index".to_owned()));
    assert!(names.contains(&"00000000000000000000-0000000000.checkpoint".to_owned()));
}

#[test]
fn a_damaged_swap_goes_while_what_it_was_to_replace_is_there() {
    let (fixture, _) = three_segments();
    let at = |name: &str| fixture.path().join(name);
    for damaged in [&b"x"[..], &[0; 200]] {
        fs::write(at("00000000000000000020.log.swap"), damaged).unwrap();
        fs::write(at("00000000000000000020.index.swap"), damaged).unwrap();
        let (log, recovery) = fixture.open(true, 60);
        assert_eq!((recovery.cut, read(&log, 30, 1, 60)), (None, vec![30]));
        drop(log);
        assert!(!at("00000000000000000020.log.swap").exists() && !at("00000000000000000020.index.swap").exists());
    }
    fs::remove_file(at("00000000000000000020.log")).unwrap();
    fs::write(at("00000000000000000020.log.swap"), b"x").unwrap();
    fixture.try_open(true, 60, 0).expect_err("nothing else has these records");
    assert!(at("00000000000000000020.log.swap").exists());
}

#[test]
fn an_empty_swap_goes_while_what_it_was_to_replace_is_there() {
    let (fixture, _) = three_segments();
    let at = |name: &str| fixture.path().join(name);
    fs::write(at("00000000000000000020.log.swap"), b"").unwrap();
    let (log, recovery) = fixture.open(true, 60);
    assert_eq!((recovery, read(&log, 20, 1, 60)), (Recovery::default(), vec![20]));
    drop(log);
    assert!(!at("00000000000000000020.log.swap").exists());
    // The compaction that left nothing of it had begun to take the old ones away.
    fs::remove_file(at("00000000000000000020.log")).unwrap();
    fs::write(at("00000000000000000020.log.swap"), b"").unwrap();
    fs::write(at("../cleaner-offset-checkpoint"), "0\n1\nt 0 40\n").unwrap();
    let (log, recovery) = fixture.open(true, 60);
    assert_eq!((recovery.lost, log.end_offset(), read(&log, 20, 1, 60)), (vec![], Offset(60), vec![40]));
}

#[test]
fn a_sealed_segment_that_has_lost_its_bytes_is_told_and_what_was_kept_behind_it_stays() {
    for (left, recovery_point, log_start, lost, end) in [
        (Left::Cleanly, 60, 0, vec![(20, 40)], 60),
        (Left::Killed, 60, 0, vec![(20, 40)], 60),
        (Left::Unknown, 60, 0, vec![(20, 40)], 60),
        (Left::Cleanly, 60, 30, vec![(30, 40)], 60),
        (Left::Cleanly, 60, 40, vec![], 60),
        (Left::Killed, 0, 0, vec![(20, 40)], 60),
        (Left::Unknown, 0, 0, vec![], 20),
    ] {
        let (fixture, _) = three_segments();
        fs::write(fixture.path().join("00000000000000000020.log"), b"").unwrap();
        let (log, recovery) = fixture.open_left(left, recovery_point, log_start).unwrap();
        let lost: Vec<_> = lost.into_iter().map(|(from, to)| (Offset(from), Offset(to))).collect();
        assert_eq!((log.end_offset(), recovery.lost), (Offset(end), lost), "{left:?} {recovery_point} {log_start}");
        assert_eq!(recovery.cut.is_some(), end == 20, "what follows a gap that was not flushed is cut off, and told");
        let recovery_point = log.recovery_point().0;
        drop(log);
        let (log, _) = fixture.open_left(Left::Unknown, recovery_point, log_start).unwrap();
        assert_eq!(log.end_offset(), Offset(end), "after a power cut, too");
    }
}

#[test]
fn a_folder_without_its_segments_is_told_by_the_recovery_point() {
    for left in [Left::Cleanly, Left::Killed, Left::Unknown] {
        let (fixture, _) = three_segments();
        fs::remove_dir_all(fixture.path()).unwrap();
        let (log, recovery) = fixture.open_left(left, 60, 0).unwrap();
        assert_eq!((log.end_offset(), recovery.lost), (Offset(0), vec![(Offset(0), Offset(60))]), "{left:?}");
        drop(log);
        let (_, recovery) = fixture.open_left(left, 0, 0).unwrap();
        assert_eq!(recovery.lost, []);
    }
}

#[test]
fn messages_of_before_kafka_0_11_are_refused_and_left_alone() {
    let fixture = Fixture { folder: tempfile::tempdir().unwrap(), config: LogConfig::default() };
    fs::create_dir(fixture.path()).unwrap();
    // Offset 0, 22 bytes, CRC, magic 1, no attributes, timestamp, key null, value null; then as many zeros again.
    let mut message = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 22, 1, 2, 3, 4, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    message.extend([0xff; 8]);
    message.extend([0; 34]);
    fs::write(fixture.path().join("00000000000000000000.log"), &message).unwrap();
    for clean in [true, false] {
        let error = fixture.try_open(clean, 0, 0).unwrap_err();
        assert!(matches!(error, Error::WrongFormat { .. }), "{error}");
        assert_eq!(fs::read(fixture.path().join("00000000000000000000.log")).unwrap(), message);
    }
}

#[test]
fn a_first_batch_that_is_torn_is_not_taken_for_an_old_message() {
    for written in 12..61 {
        let fixture = Fixture { folder: tempfile::tempdir().unwrap(), config: LogConfig::default() };
        fs::create_dir(fixture.path()).unwrap();
        let mut torn = Made::sized(10, 500).bytes();
        torn[written..].fill(0);
        fs::write(fixture.path().join("00000000000000000000.log"), torn).unwrap();
        let (log, recovery) = fixture.open(false, 0);
        assert_eq!((log.end_offset(), recovery.cut.is_some()), (Offset(0), true), "{written}");
    }
}

#[test]
fn an_empty_segment_that_a_failed_roll_left_does_not_end_the_log() {
    for clean in [true, false] {
        for (recovery_point, empty) in [(60, 10), (0, 10), (60, 20), (60, 30), (60, 50), (0, 50)] {
            let (fixture, _) = three_segments();
            if empty != 20 {
                fs::write(fixture.path().join(format!("{empty:020}.log")), b"").unwrap();
            } else {
                // The segment before it went on, and nothing came after it.
                let at = |base: i64| fixture.path().join(format!("{base:020}.log"));
                let both = [0, 20].map(|base| fs::read(at(base)).unwrap()).concat();
                fs::write(at(0), both).unwrap();
                fs::write(at(20), b"").unwrap();
                fs::remove_file(at(40)).unwrap();
            }
            let end = if empty == 20 { 40 } else { 60 };
            let (mut log, _) = fixture.open(clean, recovery_point);
            assert_eq!(log.end_offset(), Offset(end), "{clean} {recovery_point} {empty}");
            for offset in 0..end {
                assert_eq!(read(&log, offset, 1, end), [offset / 10 * 10]);
            }
            assert!(!fixture.files().contains(&format!("{empty:020}.log 0")), "{}", fixture.files());
            append(&mut log, &Made::sized(10, 500));
        }
    }
}

#[test]
fn segments_that_begin_before_the_end_of_the_one_before_go() {
    let (fixture, size) = three_segments();
    let overlapping = Made { base_offset: 50, leader_epoch: 5, ..Made::sized(10, 500) }.bytes();
    fs::write(fixture.path().join(format!("{:020}.log", 50)), overlapping).unwrap();
    let (log, recovery) = fixture.open(false, 0);
    assert_eq!(log.end_offset(), Offset(60));
    let cut = recovery.cut.unwrap();
    assert_eq!((cut.bytes, cut.removed_segments), (size, 1));
    expect!["offset 50 does not follow 60"].assert_eq(&cut.detail);
}

#[test]
fn what_lies_behind_a_torn_segment_is_gone_for_good_before_that_is_cut() {
    let (fixture, size) = three_segments();
    file(&fixture, "00000000000000000000.log").write_all_at(&[0xff], size + 300).unwrap();
    let ((log, recovery), calls) = trace::calls_of(|| fixture.open(false, 0));
    assert_eq!((log.end_offset(), recovery.cut.unwrap().removed_segments), (Offset(10), 2));
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
fn a_damaged_checkpoint_of_leader_epochs_is_written_anew_from_the_batches() {
    let (fixture, mut log) = Fixture::new(small_segments(300));
    for (base_offset, leader_epoch) in [(0, 1), (10, 1), (20, 4), (30, 4), (40, 7)] {
        log.append_follower(&Made { base_offset, leader_epoch, ..Made::sized(10, 290) }.bytes(), 0).unwrap();
    }
    assert_eq!(log.segments().count(), 5);
    log.close(0).unwrap();
    let path = fixture.path().join("leader-epoch-checkpoint");
    let whole = fs::read_to_string(&path).unwrap();
    assert_eq!(whole, "0\n3\n1 0\n4 20\n7 40\n");
    for (clean, recovery_point) in [(true, 50), (false, 50), (false, 25), (false, 0)] {
        fs::write(&path, "0\n3\n1 0\n").unwrap();
        let (log, _) = fixture.open(clean, recovery_point);
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(7)), "{clean} {recovery_point}");
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        drop(log);
    }
    fs::write(&path, "damaged").unwrap();
    let (log, _) = fixture.try_open(true, 50, 25).unwrap();
    assert_eq!(log.epochs().epoch_for(Offset(25)), Some(LeaderEpoch(4)));
    assert_eq!(log.epochs().epoch_for(Offset(24)), None, "before the start of the log");
}

#[test]
fn a_damaged_sealed_segment_is_read_up_to_the_damage_and_its_index_built_once() {
    let (fixture, mut log) = Fixture::new(small_segments(3000));
    for _ in 0..8 {
        append(&mut log, &Made::sized(10, 500));
    }
    log.close(0).unwrap();
    let size = Made::sized(10, 500).bytes().len() as u64;
    let (name, index) = ("00000000000000000000.log", "00000000000000000000.index");
    file(&fixture, name).write_all_at(&[0xff; 4], 3 * size + 8).unwrap();
    fs::remove_file(fixture.path().join(index)).unwrap();
    let length = fs::metadata(fixture.path().join(name)).unwrap().len();
    // The start reads it, since its aborted transactions may have gone with its index.
    let ((log, _), calls) = trace::calls_of(|| fixture.open(true, 80));
    assert!(calls.contains(&format!("create {index}")), "{calls:?}");
    assert_eq!(read(&log, 20, size as u32, 80), [20]);
    let ((), calls) = trace::calls_of(|| {
        for _ in 0..3 {
            assert_eq!([0, 10, 20].map(|offset| read(&log, offset, size as u32, 80)), [[0], [10], [20]]);
            let error = log.read(Offset(30), 1, Offset(80), true).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
            log.close_idle_files();
        }
    });
    assert!(!calls.contains(&format!("create {index}")), "{calls:?}");
    assert_eq!(fs::metadata(fixture.path().join(name)).unwrap().len(), length, "only a recovery cuts");
    assert_eq!(read(&log, 60, u32::MAX, 80), [60, 70], "the segments behind it can be read");
}

#[test]
fn an_index_too_short_for_an_entry_has_one_and_is_not_built_anew_at_each_opening() {
    for bytes in [4, 11, 12] {
        let config = LogConfig { segment_index_bytes: bytes, ..small_segments(1300) };
        let (fixture, mut log) = Fixture::new(config);
        for _ in 0..4 {
            append(&mut log, &Made::sized(10, 500));
        }
        log.close(0).unwrap();
        let (mut log, recovery) = fixture.open(true, 40);
        assert_eq!((recovery.scanned_segments, log.end_offset()), (0, Offset(40)));
        for _ in 0..2 {
            log.close_idle_files();
            let (found, calls) = trace::calls_of(|| log.offset_for_timestamp(1000, Offset(40)).unwrap());
            assert_eq!((found.map(|found| found.offset), calls), (Some(Offset(0)), Vec::new()), "{bytes} bytes");
        }
        append(&mut log, &Made::sized(10, 500));
    }
}
