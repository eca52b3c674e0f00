//! What a log knows of its producers and their transactions, while it grows, after restarts and after truncation.

use ottla_base::{ProducerEpoch, ProducerId};
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::{BatchBuilder, Compression};

use super::*;
use crate::producer_snapshot::{list_snapshots, snapshot_path};
use crate::producers::{SequenceError, Verdict};

const TRANSACTIONAL: i16 = 1 << 4;

/// Two records of producer 7.
fn numbered(sequence: i32) -> Made {
    Made { producer: (7, 0, sequence), ..Made::at(&[1000 + i64::from(sequence), 1000]) }
}

fn transactional(producer: i64, sequence: i32) -> Made {
    Made { producer: (producer, 0, sequence), attributes: TRANSACTIONAL, ..Made::default() }
}

fn end_transaction(log: &mut Log, producer: i64, kind: ControlType) -> Offset {
    let mut builder =
        BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(0), -1).transactional().control();
    // The value: version 0, coordinator epoch 9.
    builder.push(2000, Some(&kind.key()), Some(&[0, 0, 0, 0, 0, 9]), &[]);
    let bytes = builder.build().unwrap();
    let assign = LeaderAppend { leader_epoch: LeaderEpoch(5), now_ms: 0, log_append_time: false, max_timestamp: 2000 };
    let appended = log.append_leader(&Batch::parse(&bytes).unwrap().0, assign).unwrap();
    log.check();
    appended.last_offset
}

fn verdict(log: &Log, made: &Made) -> std::result::Result<Verdict, SequenceError> {
    log.check_producer(Batch::parse(&made.bytes()).unwrap().0.header())
}

#[test]
fn a_batch_that_comes_twice_is_recognised_after_a_clean_stop_and_after_a_crash() {
    let (fixture, mut log) = Fixture::new(small_segments(300));
    for sequence in (0..20).step_by(2) {
        assert_eq!(verdict(&log, &numbered(sequence)), Ok(Verdict::Append));
        append(&mut log, &numbered(sequence));
    }
    assert!(log.segments().count() > 2);
    let last = Ok(Verdict::Duplicate { base_offset: Offset(18), last_offset: Offset(19), timestamp: 1018 });
    let gap = Err(SequenceError::OutOfOrder { expected: 20, found: 22 });
    assert_eq!((verdict(&log, &numbered(18)), verdict(&log, &numbered(22))), (last, gap));
    log.close(0).unwrap();
    let (log, recovery) = fixture.open(true, 20);
    assert_eq!(recovery, Recovery::default());
    assert_eq!((verdict(&log, &numbered(18)), verdict(&log, &numbered(22))), (last, gap));
    drop(log);
    for recovery_point in [20, 7, 0] {
        let (log, recovery) = fixture.open(false, recovery_point);
        assert_eq!(recovery.cut, None);
        assert_eq!((verdict(&log, &numbered(18)), verdict(&log, &numbered(22))), (last, gap), "{recovery_point}");
    }
    let named = |ending: &str| fixture.files().lines().filter(|line| line.contains(ending)).count();
    assert_eq!(named(".snapshot"), named(".log"), "one at each segment's base but the first, and one at the end");
    // Without any snapshot, the whole log is read.
    for entry in fs::read_dir(fixture.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "snapshot") {
            fs::write(entry, b"damaged").unwrap();
        }
    }
    let (log, _) = fixture.open(true, 20);
    assert_eq!((verdict(&log, &numbered(18)), verdict(&log, &numbered(22))), (last, gap));
}

#[test]
fn however_often_it_is_stopped_a_log_keeps_one_snapshot_at_its_end_and_one_before_what_is_read_again() {
    const READ_AGAIN: i64 = 8 << 20;
    let (fixture, mut log) = Fixture::new(small_segments(1 << 30));
    let mut offset = 0;
    // One record a batch, of a MiB each, so that offsets count MiB.
    for (appended, is_clean) in
        [(40, false), (0, false), (0, false), (3, true), (2, true), (1, true), (9, true), (20, false)]
    {
        for _ in 0..appended {
            append(&mut log, &Made { producer: (7, 0, offset), value_bytes: 1 << 20, ..Made::default() });
            offset += 1;
        }
        match is_clean {
            true => log.close(0).unwrap(),
            false => drop(log),
        }
        let left = if is_clean { Left::Cleanly } else { Left::Killed };
        log = fixture.open_left(left, 0, 0).unwrap().0;
        let snapshots: Vec<i64> = list_snapshots(&fixture.path()).unwrap().iter().map(|offset| offset.0).collect();
        assert!(snapshots.len() <= 2, "{snapshots:?}");
        let from = i64::from(offset) - READ_AGAIN / (1 << 20);
        assert!((from - 16..=from).contains(&snapshots[0]), "{snapshots:?} of {offset}");
        assert!(!is_clean || snapshots.last() == Some(&i64::from(offset)), "{snapshots:?} of {offset}");
    }
}

#[test]
fn strays_go_and_snapshots_at_the_bases_of_segments_stay() {
    let (fixture, mut log) = Fixture::new(small_segments(300));
    (0..20).step_by(2).for_each(|sequence| _ = append(&mut log, &numbered(sequence)));
    let bases: Vec<Offset> = log.segments().map(|segment| segment.base_offset).collect();
    log.close(0).unwrap();
    fs::copy(snapshot_path(&fixture.path(), bases[2]), snapshot_path(&fixture.path(), Offset(bases[2].0 - 1))).unwrap();
    fixture.open(true, 20);
    assert_eq!(list_snapshots(&fixture.path()).unwrap(), [&bases[1..], &[Offset(20)]].concat());
}

#[test]
fn a_truncated_log_forgets_what_its_producers_wrote_behind() {
    let (_fixture, mut log) = Fixture::new(small_segments(300));
    for sequence in (0..20).step_by(2) {
        append(&mut log, &numbered(sequence));
    }
    log.truncate_to(Offset(8), 0).unwrap();
    log.check();
    assert_eq!(verdict(&log, &numbered(8)), Ok(Verdict::Append));
    assert!(matches!(verdict(&log, &numbered(10)), Err(SequenceError::OutOfOrder { expected: 8, .. })));
}

#[test]
fn aborted_transactions_are_kept_with_their_segments_and_found_out_again() {
    let (fixture, mut log) = Fixture::new(small_segments(200));
    append(&mut log, &transactional(1, 0));
    append(&mut log, &transactional(2, 0));
    assert_eq!(log.last_stable_offset(Offset(2)), Offset(0));
    append(&mut log, &transactional(3, 0));
    let first_abort = end_transaction(&mut log, 1, ControlType::Abort);
    end_transaction(&mut log, 2, ControlType::Commit);
    let second_abort = end_transaction(&mut log, 3, ControlType::Abort);
    assert_eq!((first_abort, second_abort, log.end_offset()), (Offset(3), Offset(5), Offset(6)));
    assert_eq!(log.last_stable_offset(Offset(6)), Offset(0), "the markers are not known to be replicated");
    log.on_high_watermark(Offset(6));
    assert_eq!(log.last_stable_offset(Offset(6)), Offset(6));
    let aborted = |log: &Log, from| {
        let slice = log.read(Offset(from), 1, Offset(6), true).unwrap();
        let found = log.aborted_transactions(&slice, Offset(6)).unwrap();
        found.iter().map(|found| (found.producer_id.0, found.first_offset.0)).collect::<Vec<_>>()
    };
    let check = |log: &Log| {
        assert_eq!(aborted(log, 0), [(1, 0)]);
        assert_eq!(aborted(log, 3), [(1, 0), (3, 2)]);
        assert_eq!(aborted(log, 4), [(3, 2)]);
    };
    check(&log);
    let files = |fixture: &Fixture| {
        let files = fixture.files();
        files.lines().filter(|line| line.contains("txnindex")).map(str::to_owned).collect::<Vec<_>>()
    };
    log.close(0).unwrap();
    let left = files(&fixture);
    assert_eq!(left.len(), 2, "{left:?}");
    let (log, _) = fixture.open(true, 6);
    check(&log);
    drop(log);
    for recovery_point in [0, 3] {
        for name in left.iter().map(|line| line.split(' ').next().unwrap()) {
            fs::write(fixture.path().join(name), b"torn").unwrap();
        }
        let (mut log, _) = fixture.open(false, recovery_point);
        check(&log);
        assert_eq!(files(&fixture), left);
        log.on_high_watermark(Offset(6));
        assert_eq!(log.last_stable_offset(Offset(6)), Offset(6));
    }
    // One that is missing is missed where its segment is read; else where no index is beside it any more.
    let remove = |name: &str| fs::remove_file(fixture.path().join(name)).unwrap();
    let names = || left.iter().map(|line| line.split(' ').next().unwrap());
    names().for_each(remove);
    check(&fixture.open(false, 0).0);
    assert_eq!(files(&fixture), left);
    names().for_each(remove);
    names().for_each(|name| remove(&name.replace("txnindex", "index")));
    check(&fixture.open(true, 6).0);
    assert_eq!(files(&fixture), left);
    // One of another segment is wrong in this one.
    let paths: Vec<_> = names().map(|name| fixture.path().join(name)).collect();
    fs::copy(&paths[0], &paths[1]).unwrap();
    check(&fixture.open(true, 6).0);
    let (mut log, _) = fixture.open(true, 6);
    log.truncate_to(Offset(5), 0).unwrap();
    assert_eq!(log.end_offset(), Offset(5));
    log.on_high_watermark(Offset(5));
    assert_eq!(log.last_stable_offset(Offset(5)), Offset(2), "the third transaction is open again");
    let slice = log.read(Offset(0), 1, Offset(5), true).unwrap();
    assert_eq!(log.aborted_transactions(&slice, Offset(5)).unwrap().len(), 1);
}

#[test]
fn a_time_is_found_in_compressed_batches() {
    for codec in Compression::ALL {
        let (_fixture, mut log) = Fixture::new(LogConfig::default());
        for base in [0, 100] {
            let mut builder = BatchBuilder::new().compression(codec, None);
            for timestamp in base..base + 100 {
                builder.push(timestamp, None, Some(&[b'v'; 300]), &[]);
            }
            let bytes = builder.build().unwrap();
            let assign = LeaderAppend {
                leader_epoch: LeaderEpoch(5),
                now_ms: 0,
                log_append_time: false,
                max_timestamp: base + 99,
            };
            log.append_leader(&Batch::parse(&bytes).unwrap().0, assign).unwrap();
        }
        for target in [0, 1, 99, 100, 177, 199] {
            let found = log.offset_for_timestamp(target, Offset(200)).unwrap().unwrap();
            assert_eq!((found.offset, found.timestamp), (Offset(target), target), "{codec:?}");
        }
        assert_eq!(log.max_timestamp().unwrap().unwrap().offset, Offset(199));
    }
}

#[test]
fn a_batch_that_cannot_be_unpacked_is_found_by_its_header() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &Made::at(&[50, 60]));
    // Records that are not packed in a batch that says they are, with a checksum that holds.
    append(&mut log, &Made { attributes: Compression::Gzip.id().into(), ..Made::at(&[100, 300, 200]) });
    append(&mut log, &Made::at(&[400]));
    let found = |log: &Log, target| {
        let found = log.offset_for_timestamp(target, Offset(6)).unwrap().unwrap();
        (found.offset.0, found.timestamp)
    };
    assert_eq!([60, 150, 300, 301].map(|target| found(&log, target)), [(1, 60), (2, 300), (2, 300), (5, 400)]);
    log.advance_start_offset(Offset(3)).unwrap();
    assert_eq!(found(&log, 60), (3, 300), "not before the start of the log");
    append(&mut log, &Made { attributes: Compression::Lz4.id().into(), ..Made::at(&[500]) });
    assert_eq!(log.max_timestamp().unwrap().unwrap().timestamp, 500);
}

#[test]
fn batches_are_unpacked_up_to_a_limit() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    let mut builder = BatchBuilder::new().compression(Compression::Zstd, None);
    for timestamp in 0..100 {
        builder.push(timestamp, None, Some(&[b'v'; 1000]), &[]);
    }
    let bytes = builder.build().unwrap();
    let assign = LeaderAppend { leader_epoch: LeaderEpoch(5), now_ms: 0, log_append_time: false, max_timestamp: 99 };
    log.append_leader(&Batch::parse(&bytes).unwrap().0, assign).unwrap();
    let find_within = |target, budget: &mut UnpackBudget| {
        let sought = log.next_late_batch(&mut TimeSearch::at(target, Offset(100))).unwrap();
        let Sought::Batch(batch) = sought else { panic!("{sought:?}") };
        batch.find(budget).unwrap().map(|found| (found.offset.0, found.timestamp))
    };
    let find = |target, limit_bytes| find_within(target, &mut UnpackBudget::of(limit_bytes));
    assert_eq!(find(90, 200_000), Some((90, 90)));
    assert_eq!(find(90, 50_000), Some((0, 99)), "from the header");
    assert_eq!(find(2, 50_000), Some((2, 2)), "found before the limit");
    let mut budget = UnpackBudget::of(200_000);
    let all: Vec<_> = (0..4).map(|_| find_within(90, &mut budget)).collect();
    assert_eq!(all, [(90, 90), (90, 90), (0, 99), (0, 99)].map(Some), "of one request");
}

#[test]
fn headers_that_lie_about_their_time_do_not_keep_a_search_going() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    for _ in 0..100 {
        let assign =
            LeaderAppend { leader_epoch: LeaderEpoch(5), now_ms: 0, log_append_time: false, max_timestamp: 99 };
        log.append_leader(&Batch::parse(&Made::at(&[1]).bytes()).unwrap().0, assign).unwrap();
    }
    assert_eq!(log.offset_for_timestamp(50, Offset(10)).unwrap(), None);
    let found = log.offset_for_timestamp(50, Offset(100)).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(16), 99));
}

#[test]
fn a_reader_is_told_of_the_aborted_transactions_that_overlap_what_it_was_given() {
    for segment_bytes in [1 << 20, 2000] {
        let (_fixture, mut log) = Fixture::new(small_segments(segment_bytes));
        let transactions: Vec<(i64, i64)> = (0..40)
            .map(|number| {
                let first = append(&mut log, &transactional(number, 0)).base_offset;
                (first.0, end_transaction(&mut log, number, ControlType::Abort).0)
            })
            .collect();
        log.on_high_watermark(log.end_offset());
        for from in 0..80 {
            let slice = log.read(Offset(from), 300, Offset(80), true).unwrap();
            // The limit may cut through the last batch, which is then not among the whole ones.
            let end = bases(&slice).last().unwrap() + 1;
            let told = log.aborted_transactions(&slice, Offset(80)).unwrap();
            let told: Vec<i64> = told.iter().map(|aborted| aborted.first_offset.0).collect();
            let overlap = |end| {
                let those = transactions.iter().filter(move |(first, last)| *last >= from && *first < end);
                those.map(|(first, _)| *first).collect::<Vec<_>>()
            };
            assert!(told == overlap(end) || told == overlap(end + 1), "{from}..{end}: {told:?}");
        }
    }
}

#[test]
fn an_aborted_transaction_that_cannot_be_noted_is_for_good() {
    let (fixture, mut log) = Fixture::new(LogConfig::default());
    append(&mut log, &transactional(1, 0));
    // A folder in the place of the index.
    fs::create_dir(fixture.path().join("00000000000000000000.txnindex")).unwrap();
    let mut builder = BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), -1).transactional().control();
    builder = builder.base_offset(log.end_offset()).leader_epoch(LeaderEpoch(5));
    builder.push(2000, Some(&ControlType::Abort.key()), Some(&[0; 6]), &[]);
    assert!(matches!(log.append_follower(&builder.build().unwrap(), 0), Err(Error::Io { .. })));
    assert!(matches!(log.check_usable(), Err(Error::Unusable { .. })), "nobody knows what lies there");
}

/// Appends a record of `time` in a batch whose header announces `announced`.
fn append_announced(log: &mut Log, time: i64, announced: i64) {
    let leader_epoch = LeaderEpoch(5);
    let assign = LeaderAppend { leader_epoch, now_ms: 0, log_append_time: false, max_timestamp: announced };
    log.append_leader(&Batch::parse(&Made::at(&[time]).bytes()).unwrap().0, assign).unwrap();
}

#[test]
fn a_header_that_announces_too_late_a_time_does_not_hide_the_largest_one() {
    let largest = |log: &Log| log.max_timestamp().unwrap().map(|found| (found.offset.0, found.timestamp));
    for segment_bytes in [200, 600, 1 << 20] {
        let (_fixture, mut log) = Fixture::new(small_segments(segment_bytes));
        for (time, announced) in [(10, 10), (30, 30), (12, 99), (20, 20), (5, 98), (30, 30)] {
            append_announced(&mut log, time, announced);
        }
        assert_eq!(largest(&log), Some((1, 30)), "{segment_bytes}");
        append_announced(&mut log, 40, 97);
        assert_eq!(largest(&log), Some((6, 40)), "in a batch that announces more");
        append_announced(&mut log, 41, 41);
        assert_eq!(largest(&log), Some((7, 41)), "{segment_bytes}");
        log.advance_start_offset(Offset(8)).unwrap();
        assert_eq!(largest(&log), None);
        append_announced(&mut log, 7, 7);
        assert_eq!(largest(&log), Some((8, 7)), "what lies before the start does not hide it");
    }
}

#[test]
fn a_search_lets_others_have_the_log_now_and_then() {
    let (_fixture, mut log) = Fixture::new(LogConfig::default());
    append_announced(&mut log, 1, 99);
    (0..10_000).for_each(|_| append_announced(&mut log, 2, 2));
    append_announced(&mut log, 3, 3);
    for (mut search, offset) in [(TimeSearch::largest(), 10_001), (TimeSearch::at(3, Offset(i64::MAX)), 10_001)] {
        let (mut pauses, mut budget) = (0, UnpackBudget::for_request());
        let found = loop {
            match log.next_late_batch(&mut search).unwrap() {
                Sought::More => pauses += 1,
                Sought::Nothing => break search.rest(),
                Sought::Batch(batch) => match search.take(batch.find(&mut budget).unwrap()) {
                    Some(found) => break Some(found),
                    None => continue,
                },
            }
        };
        assert_eq!(found.unwrap().offset, Offset(offset));
        assert!((2..10).contains(&pauses), "{pauses}");
    }
}
