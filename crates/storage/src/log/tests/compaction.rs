//! Compaction by example: what a log holds before and after.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::sync::Mutex;

use ottla_base::{ProducerEpoch, ProducerId};
use ottla_protocol::records::control::EndMarker;
use ottla_protocol::records::{BatchBuilder, Batches, Compression, Decompressor, RecordIter};
use proptest::prelude::*;

use super::*;
use crate::cleaner::{
    Cleaned, CleanerCheckpoint, CompactionSettings, Limits, NotCleaned, Owner, Request, clean as clean_log,
};
use crate::os::simulated::{self, Failure, Trouble};
use crate::os::trace;

const LIMITS: Limits = Limits { map_bytes: 1 << 20, load_factor: 0.9, io_bytes: 4096 };

/// A log that is cleaned, and what happens to it on the way.
pub struct Held {
    pub log: RefCell<Option<Log>>,
    /// Given up after so many bytes.
    pub patience_bytes: Cell<u64>,
    /// Whether somebody copies it.
    pub is_copied: Cell<bool>,
}

impl Held {
    pub fn new(log: Log) -> Self {
        Self { log: RefCell::new(Some(log)), patience_bytes: Cell::new(u64::MAX), is_copied: Cell::new(false) }
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        work(self.log.borrow_mut().as_mut().expect("it is open"))
    }
}

impl Owner for Held {
    fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        self.with(work)
    }

    fn goes_on(&self, bytes: u64) -> bool {
        let left = self.patience_bytes.get().checked_sub(bytes);
        self.patience_bytes.set(left.unwrap_or(0));
        left.is_some()
    }

    fn may_change(&self) -> bool {
        !self.is_copied.get()
    }
}

/// Cleans what is dirty, however little.
pub fn clean_as(
    held: &Held,
    directory: &Path,
    now_ms: i64,
    settings: &CompactionSettings,
    limits: Limits,
) -> std::result::Result<Cleaned, NotCleaned> {
    let checkpoint = Mutex::new(CleanerCheckpoint::open(directory)?);
    let dirt = held.with(|log| {
        let name = log.topic_partition().clone();
        let cleaned = checkpoint.lock().unwrap().get(&name);
        log.dirt(cleaned, log.last_stable_offset(log.end_offset()), settings, now_ms)
    })?;
    let request = Request { dirt, delete_retention_ms: settings.delete_retention_ms, limits, now_ms };
    clean_log(held, &checkpoint, &request)
}

pub fn settings(delete_retention_ms: i64) -> CompactionSettings {
    CompactionSettings {
        min_cleanable_dirty_ratio: 0.0,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: None,
        delete_retention_ms,
    }
}

fn compacted(config: &LogConfig) -> (Fixture, Held) {
    let (fixture, log) = Fixture::new(LogConfig { compact: true, delete: false, ..config.clone() });
    (fixture, Held::new(log))
}

/// A log with two values of one key in a segment that is sealed.
fn overwritten() -> (Fixture, Held) {
    let (fixture, held) = compacted(&LogConfig::default());
    put(&held, plain(), &["a=1"]);
    put(&held, plain(), &["a=2"]);
    roll(&held);
    (fixture, held)
}

fn clean(fixture: &Fixture, held: &Held, now_ms: i64) -> Cleaned {
    let cleaned = clean_as(held, fixture.folder.path(), now_ms, &settings(6000), LIMITS).unwrap();
    held.with(|log| log.check());
    cleaned
}

/// Appends records given as `key=value`, or `key` alone for a deleted key.
fn put(held: &Held, builder: BatchBuilder, records: &[&str]) {
    let mut builder = builder;
    for (record, timestamp) in records.iter().zip(1000..) {
        let (key, value) = record.split_once('=').map_or((*record, None), |(key, value)| (key, Some(value)));
        builder.push(timestamp, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    append_built(held, &builder);
}

fn append_built(held: &Held, builder: &BatchBuilder) {
    let bytes = builder.build().unwrap();
    let batch = Batch::parse(&bytes).unwrap().0;
    let max_timestamp = batch.header().max_timestamp;
    let assign = LeaderAppend { leader_epoch: LeaderEpoch(0), now_ms: 0, log_append_time: false, max_timestamp };
    held.with(|log| {
        log.append_leader(&batch, assign).unwrap();
        log.on_high_watermark(log.end_offset());
    });
}

fn plain() -> BatchBuilder {
    BatchBuilder::new()
}

fn of(producer: i64, epoch: i16, sequence: i32) -> BatchBuilder {
    BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(epoch), sequence)
}

fn end(held: &Held, producer: i64, epoch: i16, is_commit: bool) {
    let marker = EndMarker { is_commit, coordinator_epoch: 0 };
    let mut builder = of(producer, epoch, -1).transactional().control();
    builder.push(2000, Some(&marker.key()), Some(&marker.value()), &[]);
    append_built(held, &builder);
}

fn roll(held: &Held) {
    held.with(|log| log.roll(0).unwrap());
}

/// All batches of a log with their records; a `|` where a segment begins.
pub fn dump(log: &Log) -> String {
    let (mut out, mut from) = (String::new(), log.start_offset());
    let bases: Vec<i64> = log.segments().map(|segment| segment.base_offset.0).collect();
    writeln!(out, "segments {bases:?}").unwrap();
    let (mut decompressor, mut unpacked) = (Decompressor::default(), Vec::new());
    while from < log.end_offset() {
        let slice = log.read(from, u32::MAX, log.end_offset(), true).unwrap();
        if slice.length == 0 {
            break;
        }
        let bytes = bytes_of(&slice);
        for batch in Batches::new(&bytes) {
            let batch = batch.unwrap();
            assert!(batch.is_crc_valid());
            let header = *batch.header();
            write!(out, "{}-{}", header.base_offset, header.last_offset()).unwrap();
            if header.producer_id >= ProducerId(0) {
                write!(out, " producer {} sequence {}", header.producer_id, header.base_sequence).unwrap();
            }
            if let Some(horizon_ms) = header.delete_horizon_ms() {
                write!(out, " horizon {horizon_ms}").unwrap();
            }
            for record in decompressor.records(&batch, 1 << 20, &mut unpacked).unwrap() {
                let record = record.unwrap();
                let text = |bytes: Option<&[u8]>| match bytes {
                    _ if header.attributes.is_control() => "marker".to_owned(),
                    Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    None => "-".to_owned(),
                };
                write!(out, ", {}:{}={}@{}", record.offset, text(record.key), text(record.value), record.timestamp)
                    .unwrap();
            }
            out.push('\n');
            from = header.next_offset();
        }
    }
    out
}

fn dumped(held: &Held) -> String {
    held.with(|log| dump(log))
}

#[test]
fn the_newest_record_of_each_key_stays_and_a_deleted_key_for_a_while() {
    let (fixture, held) = compacted(&LogConfig::default());
    put(&held, plain(), &["a=1", "b=1", "c=1"]);
    put(&held, plain(), &["a=2", "b"]);
    for value in ["z=1", "z=2", "z=3"] {
        put(&held, plain(), &[value]);
    }
    roll(&held);
    clean(&fixture, &held, 10_000);
    expect![[r#"
        segments [0, 8]
        0-2, 2:c=1@1002
        3-4 horizon 16000, 3:a=2@1000, 4:b=-@1001
        7-7, 7:z=3@1000
    "#]]
    .assert_eq(&dumped(&held));
    put(&held, plain(), &["z=4"]);
    roll(&held);
    clean(&fixture, &held, 15_999);
    assert!(dumped(&held).contains("4:b=-@1001"), "a moment too early");
    put(&held, plain(), &["z=5"]);
    roll(&held);
    clean(&fixture, &held, 16_000);
    expect![[r#"
        segments [0, 10]
        0-2, 2:c=1@1002
        3-4 horizon 16000, 3:a=2@1000
        9-9, 9:z=5@1000
    "#]]
    .assert_eq(&dumped(&held));
    let text = fs::read_to_string(fixture.folder.path().join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\nt 0 10\n");
    drop(held);
    let (log, recovery) = fixture.try_open(false, 0, 0).unwrap();
    assert_eq!((recovery.cut, log.end_offset()), (None, Offset(10)));
}

#[test]
fn the_last_batch_of_a_producer_stays_without_records() {
    let (fixture, held) = compacted(&LogConfig::default());
    put(&held, of(1, 0, 0), &["z=1"]);
    put(&held, of(1, 0, 1), &["z=2"]);
    put(&held, plain(), &["z=3"]);
    roll(&held);
    clean(&fixture, &held, 0);
    expect![[r#"
        segments [0, 3]
        1-1 producer 1 sequence 1
        2-2, 2:z=3@1000
    "#]]
    .assert_eq(&dumped(&held));
    drop(held);
    let (log, _) = fixture.open(false, 0);
    let known: Vec<_> = log.producers().entries().map(|entry| (entry.last_offset.0, entry.last_sequence)).collect();
    assert_eq!(known, [(1, 1)], "it is known again after a start");
}

#[test]
fn aborted_data_goes_at_once_and_a_marker_after_its_data() {
    let (fixture, held) = compacted(&LogConfig::default());
    put(&held, plain(), &["a=1", "b=1", "c=1"]);
    put(&held, of(1, 0, 0).transactional(), &["p=1"]);
    end(&held, 1, 1, false);
    put(&held, of(1, 1, 0).transactional(), &["q=1"]);
    end(&held, 1, 2, true);
    put(&held, plain(), &["q=2"]);
    roll(&held);
    clean(&fixture, &held, 0);
    expect![[r#"
        segments [0, 8]
        0-2, 0:a=1@1000, 1:b=1@1001, 2:c=1@1002
        4-4 producer 1 sequence -1, 4:marker=marker@2000
        6-6 producer 1 sequence -1, 6:marker=marker@2000
        7-7, 7:q=2@1000
    "#]]
    .assert_eq(&dumped(&held));
    for (now_ms, value) in [(1000, "q=3"), (6999, "q=4"), (7000, "q=5")] {
        put(&held, plain(), &[value]);
        roll(&held);
        clean(&fixture, &held, now_ms);
        if now_ms < 7000 {
            let dumped = dumped(&held);
            assert!(dumped.contains("4-4 producer 1 sequence -1 horizon 7000, 4:marker"), "{dumped}");
        }
    }
    // The newest epoch of the producer must not be forgotten.
    expect![[r#"
        segments [0, 11]
        0-2, 0:a=1@1000, 1:b=1@1001, 2:c=1@1002
        6-6 producer 1 sequence -1
        10-10, 10:q=5@1000
    "#]]
    .assert_eq(&dumped(&held));
}

#[test]
fn data_of_a_transaction_that_is_open_or_ended_later_is_told_from_aborted_data() {
    let (fixture, held) = compacted(&LogConfig::default());
    put(&held, of(1, 0, 0).transactional(), &["a=1"]);
    put(&held, of(2, 0, 0).transactional(), &["b=1"]);
    put(&held, plain(), &["c=1"]);
    roll(&held);
    end(&held, 1, 0, false);
    end(&held, 2, 0, true);
    put(&held, of(3, 0, 0).transactional(), &["d=1"]);
    roll(&held);
    put(&held, plain(), &["e=1"]);
    // The markers lie behind what is cleaned.
    let cleaned = clean(&fixture, &held, 0);
    assert_eq!(cleaned.end, Offset(3), "the second segment is not stable");
    expect![[r#"
        segments [0, 3, 6]
        0-0 producer 1 sequence 0
        1-1 producer 2 sequence 0, 1:b=1@1000
        2-2, 2:c=1@1000
        3-3 producer 1 sequence -1, 3:marker=marker@2000
        4-4 producer 2 sequence -1, 4:marker=marker@2000
        5-5 producer 3 sequence 0, 5:d=1@1000
        6-6, 6:e=1@1000
    "#]]
    .assert_eq(&dumped(&held));
}

#[test]
fn readers_are_told_of_aborted_transactions_whose_data_is_left() {
    let (fixture, held) = compacted(&LogConfig::default());
    put(&held, of(1, 0, 0).transactional(), &["a=1"]);
    end(&held, 1, 0, false);
    put(&held, of(2, 0, 0).transactional(), &["b=1"]);
    end(&held, 2, 0, false);
    put(&held, of(2, 0, 1), &["b=2"]);
    roll(&held);
    clean(&fixture, &held, 0);
    let told = |log: &Log| {
        let slice = log.read(Offset(0), u32::MAX, log.end_offset(), true).unwrap();
        let aborted = log.aborted_transactions(&slice, log.end_offset()).unwrap();
        aborted.iter().map(|aborted| (aborted.first_offset.0, aborted.last_offset.0)).collect::<Vec<_>>()
    };
    // Both had data when the segment was written.
    assert_eq!(held.with(|log| told(log)), [(0, 1), (2, 3)]);
    put(&held, plain(), &["c=1"]);
    roll(&held);
    clean(&fixture, &held, 0);
    expect![[r#"
        segments [0, 6]
        0-0 producer 1 sequence 0
        1-1 producer 1 sequence -1, 1:marker=marker@2000
        3-3 producer 2 sequence -1 horizon 6000, 3:marker=marker@2000
        4-4 producer 2 sequence 1, 4:b=2@1000
        5-5, 5:c=1@1000
    "#]]
    .assert_eq(&dumped(&held));
    assert_eq!(held.with(|log| told(log)), [(0, 1)], "the last batch of producer 1 is still there");
    drop(held);
    let (log, _) = fixture.open(false, 0);
    assert_eq!(told(&log), [(0, 1)], "so it is after a start that reads all");
}

#[test]
fn segments_are_put_together_and_those_that_end_one_keep_their_last_offset() {
    let (fixture, held) = compacted(&small_segments(400));
    for number in 0..20 {
        put(&held, plain(), &[&format!("key={number}")]);
    }
    let bases = |held: &Held| held.with(|log| log.segments().map(|segment| segment.base_offset.0).collect::<Vec<_>>());
    let (before, sizes) = (bases(&held), held.with(|log| log.size_bytes()));
    assert!(before.len() > 3, "{before:?}");
    let active = *before.last().unwrap();
    clean(&fixture, &held, 0);
    let first = bases(&held);
    clean(&fixture, &held, 0);
    put(&held, plain(), &["key=20"]);
    roll(&held);
    clean(&fixture, &held, 0);
    clean(&fixture, &held, 0);
    let second = bases(&held);
    assert!(first.len() <= before.len() && second.len() < before.len(), "{before:?} {first:?} {second:?}");
    assert_eq!(second[0], 0);
    held.with(|log| {
        assert!(log.size_bytes() < sizes);
        for offset in 0..=20 {
            let slice = log.read(Offset(offset), u32::MAX, log.end_offset(), true).unwrap();
            assert!(slice.length > 0 && slice.first_offset >= Offset(offset), "offset {offset} can be read on from");
        }
        let found = log.offset_for_timestamp(1000, log.end_offset()).unwrap().unwrap();
        assert!(found.offset.0 >= active - 1, "no record of this time is left before: {found:?}");
    });
}

#[test]
fn batches_that_keep_all_their_records_keep_their_bytes_and_others_their_codec() {
    for codec in Compression::ALL {
        let (fixture, held) = compacted(&LogConfig::default());
        let packed = || plain().compression(codec, Some(1));
        put(&held, packed(), &["a=1", "b=1"]);
        put(&held, packed(), &["c=1", "d=1"]);
        put(&held, packed(), &["b=2"]);
        roll(&held);
        let before = fs::read(fixture.path().join("00000000000000000000.log")).unwrap();
        clean(&fixture, &held, 0);
        let after = fs::read(fixture.path().join("00000000000000000000.log")).unwrap();
        let batches =
            |bytes: &[u8]| Batches::new(bytes).map(|batch| batch.unwrap().bytes().to_vec()).collect::<Vec<_>>();
        let (before, after) = (batches(&before), batches(&after));
        assert_eq!(after[1..], before[1..], "{codec:?}");
        let header = *Batch::parse(&after[0]).unwrap().0.header();
        assert_eq!((header.compression(), header.record_count), (Some(codec), 1));
    }
}

#[test]
fn a_batch_larger_than_all_buffers_and_a_map_smaller_than_the_keys_work() {
    let (fixture, held) = compacted(&LogConfig::default());
    let large = format!("large={}", "x".repeat(20_000));
    put(&held, plain(), &["a=1", "b=1", "c=1"]);
    put(&held, plain(), &[&large, "b=2"]);
    put(&held, plain(), &["a=2", "b=3", "c=2", "d=1"]);
    roll(&held);
    let limits = Limits { map_bytes: 4 * 24, load_factor: 0.75, io_bytes: 10 };
    let mut ends = Vec::new();
    for _ in 0..4 {
        let cleaned = clean_as(&held, fixture.folder.path(), 0, &settings(0), limits).unwrap();
        ends.push(cleaned.end.0);
    }
    assert_eq!(ends, [3, 7, 9, 9], "three keys a time");
    let dumped = dumped(&held);
    let expected = format!(
        "segments [0, 9]\n3-4, 3:large={}@1000\n5-8, 5:a=2@1000, 6:b=3@1001, 7:c=2@1002, 8:d=1@1003\n",
        "x".repeat(20_000)
    );
    assert_eq!(dumped, expected);
}

#[test]
fn a_reader_inside_of_a_segment_that_was_replaced_finishes() {
    let (fixture, held) = overwritten();
    let slice = held.with(|log| log.read(Offset(0), u32::MAX, log.end_offset(), true).unwrap());
    let before = bytes_of(&slice);
    clean(&fixture, &held, 0);
    assert_eq!(bytes_of(&slice), before);
    assert_eq!(held.with(|log| log.read(Offset(0), u32::MAX, log.end_offset(), true).unwrap().first_offset), Offset(1));
    assert!(fixture.files().contains("00000000000000000000.log.deleted"));
    held.with(|log| purge(log, i64::MAX));
    assert!(!fixture.files().contains("deleted"), "{}", fixture.files());
}

#[test]
fn what_is_given_up_leaves_nothing_behind() {
    let (fixture, held) = overwritten();
    held.with(|log| log.flush(0).unwrap());
    let (before, files) = (dumped(&held), fixture.files());
    for bytes in 0..400 {
        held.patience_bytes.set(bytes);
        match clean_as(&held, fixture.folder.path(), 0, &settings(0), LIMITS) {
            Err(NotCleaned::GivenUp) => assert_eq!((dumped(&held), fixture.files()), (before.clone(), files.clone())),
            Err(NotCleaned::Failed(error)) => panic!("{error}"),
            Ok(_) => return,
        }
    }
    panic!("it is done sometime");
}

#[test]
fn a_compaction_for_which_too_much_is_open_leaves_a_log_that_goes_on_and_is_made_later() {
    for calls in 0.. {
        let config = LogConfig { compact: true, delete: false, segment_index_bytes: 4096, ..LogConfig::default() };
        let memory = Path::new("/dev/shm");
        let folder = if memory.exists() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let fixture = Fixture { folder, config };
        let _disk = simulated::insert(fixture.folder.path(), 1);
        let held = Held::new(fixture.open(true, 0).0);
        put(&held, of(1, 0, 0).transactional(), &["a=1"]);
        end(&held, 1, 0, false);
        put(&held, plain(), &["b=1"]);
        put(&held, plain(), &["b=2"]);
        roll(&held);
        held.with(|log| log.flush(0).unwrap());
        held.with(|log| log.close_idle_files());
        simulated::with(|disk| disk.set_trouble(Trouble::Once(calls, Failure::NoFiles)));
        let cleaned = clean_as(&held, fixture.folder.path(), 0, &settings(0), LIMITS);
        let failures = simulated::with(|disk| disk.failures());
        simulated::with(|disk| disk.set_trouble(Trouble::None));
        held.with(|log| log.check_usable()).unwrap_or_else(|error| panic!("{calls} calls: {error}"));
        if failures == 0 {
            assert!(cleaned.is_ok() && calls > 10, "{calls}");
            return;
        }
        put(&held, plain(), &["c=1"]);
        clean(&fixture, &held, 0);
        let dumped = dumped(&held);
        assert!(dumped.contains("b=2") && !dumped.contains("b=1") && dumped.contains("c=1"), "{calls} calls: {dumped}");
    }
}

#[test]
fn a_log_that_somebody_begins_to_copy_at_the_last_moment_is_not_changed() {
    let (fixture, held) = overwritten();
    let before = dumped(&held);
    held.is_copied.set(true);
    let cleaned = clean_as(&held, fixture.folder.path(), 0, &settings(0), LIMITS);
    assert!(matches!(cleaned, Err(NotCleaned::GivenUp)), "{cleaned:?}");
    assert_eq!(dumped(&held), before);
    let checkpoint = CleanerCheckpoint::open(fixture.folder.path()).unwrap();
    assert_eq!(checkpoint.get(&TopicPartition::new("t", 0)), Some(Offset(0)), "the copy is as dirty");
    assert!(!fixture.files().contains("cleaned"), "{}", fixture.files());
    held.is_copied.set(false);
    clean(&fixture, &held, 0);
    assert_ne!(dumped(&held), before);
}

#[test]
fn what_an_earlier_cleaning_could_not_remove_does_not_stand_in_the_way() {
    let (fixture, held) = overwritten();
    for name in
        ["00000000000000000000.txnindex.cleaned", "00000000000000000000.log.swap", "00000000000000000007.log.cleaned"]
    {
        fs::write(fixture.path().join(name), [0; 34]).unwrap();
    }
    clean(&fixture, &held, 0);
    let files = fixture.files();
    assert!(!files.contains("cleaned") && !files.contains("swap") && !files.contains("txnindex"), "{files}");
    assert_eq!(dumped(&held), "segments [0, 2]\n1-1, 1:a=2@1000\n");
}

/// What happens to a log.
type Disturbance = Box<dyn FnOnce(&mut Log)>;

/// A log that something happens to while it is cleaned.
struct Disturbed<'h> {
    held: &'h Held,
    disturbance: RefCell<Option<Disturbance>>,
}

impl Owner for Disturbed<'_> {
    fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        self.held.with(work)
    }

    fn goes_on(&self, _: u64) -> bool {
        if let Some(disturbance) = self.disturbance.take() {
            self.held.with(disturbance);
        }
        true
    }

    fn may_change(&self) -> bool {
        true
    }
}

#[test]
fn a_log_that_is_cut_or_renamed_or_deleted_from_meanwhile_is_left_alone() {
    let disturbances: [fn() -> Disturbance; 4] = [
        || Box::new(|log| _ = log.truncate_to(Offset(1), 0).unwrap()),
        || Box::new(|log| log.restart_at(Offset(9), 0).unwrap()),
        || {
            Box::new(|log| {
                let to = log.folder().with_file_name("t-0.0123456789abcdef0123456789abcdef-delete");
                log.rename_folder(&to).unwrap();
            })
        },
        || {
            Box::new(|log| {
                log.advance_start_offset(Offset(2)).unwrap();
                assert_eq!(log.enforce_retention(0, log.end_offset()).unwrap().len(), 1);
            })
        },
    ];
    for (number, disturbance) in disturbances.into_iter().enumerate() {
        let (fixture, held) = compacted(&LogConfig::default());
        for value in ["a=1", "a=2", "a=3", "a=4"] {
            put(&held, plain(), &[value]);
            if value == "a=2" {
                roll(&held);
            }
        }
        roll(&held);
        let disturbed = Disturbed { held: &held, disturbance: RefCell::new(Some(disturbance())) };
        let checkpoint = Mutex::new(CleanerCheckpoint::open(fixture.folder.path()).unwrap());
        let (settings, limits) = (settings(0), LIMITS);
        let dirt = held.with(|log| log.dirt(None, log.end_offset(), &settings, 0).unwrap());
        let request = Request { dirt, delete_retention_ms: 0, limits, now_ms: 0 };
        let cleaned = clean_log(&disturbed, &checkpoint, &request);
        assert!(matches!(cleaned, Err(NotCleaned::GivenUp)), "{number}: {cleaned:?}");
        held.with(|log| {
            log.check();
            let names: Vec<String> =
                crate::os::list(log.folder()).unwrap().into_iter().map(|entry| entry.name).collect();
            assert!(!names.iter().any(|name| name.contains("cleaned") || name.contains("swap")), "{number}: {names:?}");
        });
    }
}

#[test]
fn records_without_a_time_are_as_young_as_their_file() {
    let (_fixture, held) = compacted(&LogConfig::default());
    for value in ["a=1", "a=2"] {
        let mut batch = BatchBuilder::new();
        let (key, value) = value.split_once('=').unwrap();
        batch.push(-1, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        append_built(&held, &batch);
        roll(&held);
    }
    let lag = |min_compaction_lag_ms| CompactionSettings { min_compaction_lag_ms, ..settings(0) };
    let written_ms = held.with(|log| log.newest_ms(0).unwrap());
    let cleanable = |settings: &CompactionSettings, now_ms| {
        held.with(|log| log.dirt(None, log.end_offset(), settings, now_ms).unwrap()).end
    };
    assert_eq!(cleanable(&lag(3_600_000), written_ms + 60_000), Offset(0), "they were written a minute ago");
    assert_eq!(cleanable(&lag(3_600_000), written_ms + 3_700_000), Offset(2));
}

/// A log that is deleted just before so many calls have been made.
struct DeletedBefore<'h> {
    held: &'h Held,
    calls: Cell<i32>,
}

impl Owner for DeletedBefore<'_> {
    fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        self.calls.set(self.calls.get() - 1);
        if self.calls.get() == 0 {
            let to = self.held.with(|log| log.folder().with_file_name("t-0.0123456789abcdef0123456789abcdef-delete"));
            self.held.with(|log| log.rename_folder(&to).unwrap());
        }
        self.held.with(work)
    }

    fn goes_on(&self, _: u64) -> bool {
        true
    }

    fn may_change(&self) -> bool {
        true
    }
}

#[test]
fn the_checkpoint_does_not_name_a_log_anew_that_was_deleted_while_it_was_cleaned() {
    for calls in 2.. {
        let (fixture, held) = compacted(&LogConfig::default());
        for value in ["a=1", "a=2"] {
            put(&held, plain(), &[value]);
            roll(&held);
        }
        let checkpoint = Mutex::new(CleanerCheckpoint::open(fixture.folder.path()).unwrap());
        let dirt = held.with(|log| log.dirt(None, log.end_offset(), &settings(0), 0).unwrap());
        let request = Request { dirt, delete_retention_ms: 0, limits: LIMITS, now_ms: 0 };
        let owner = DeletedBefore { held: &held, calls: Cell::new(calls) };
        let cleaned = clean_log(&owner, &checkpoint, &request);
        if owner.calls.get() > 0 {
            assert!(calls > 4 && cleaned.is_ok(), "{calls} {cleaned:?}");
            return;
        }
        assert!(matches!(cleaned, Err(NotCleaned::GivenUp)), "{calls} {cleaned:?}");
        let named = checkpoint.lock().unwrap().get(&TopicPartition::new("t", 0));
        assert!(named.is_none_or(|offset| offset == Offset(0)), "{calls}");
    }
}

#[test]
fn a_damaged_batch_is_not_copied() {
    let (fixture, held) = overwritten();
    let path = fixture.path().join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    match clean_as(&held, fixture.folder.path(), 0, &settings(0), LIMITS) {
        Err(NotCleaned::Failed(error @ Error::Corrupt { .. })) => {
            assert!(error.to_string().contains("00000000000000000000.log") && error.to_string().contains("offset 1"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn records_without_a_time_are_as_old_as_before() {
    let (fixture, held) = compacted(&LogConfig::default());
    put(&held, plain(), &["a=1"]);
    roll(&held);
    let path = fixture.path().join("00000000000000000000.log");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_000_000_123);
    fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    clean(&fixture, &held, 0);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
}

#[test]
fn the_new_segment_is_on_the_disk_before_it_has_a_name_that_counts_and_the_old_ones_go_then() {
    let (fixture, held) = compacted(&LogConfig::default());
    put(&held, plain(), &["a=1"]);
    roll(&held);
    put(&held, plain(), &["a=2"]);
    roll(&held);
    held.with(|log| log.flush(0).unwrap());
    let (_, calls) = trace::calls_of(|| clean(&fixture, &held, 0));
    let order = [
        "rename cleaner-offset-checkpoint.tmp",
        "create 00000000000000000000.log.cleaned",
        "sync 00000000000000000000.log.cleaned",
        "sync 00000000000000000000.timeindex.cleaned",
        "sync 00000000000000000000.index.cleaned",
        "rename 00000000000000000000.log.cleaned",
        "rename 00000000000000000000.timeindex.cleaned",
        "rename 00000000000000000000.log",
        "rename 00000000000000000001.log",
        "rename 00000000000000000000.log.swap",
        "rename 00000000000000000000.timeindex.swap",
        "sync-folder t-0",
    ];
    assert_in_order(&calls, &order);
}

/// A record as it is made up: key and value.
type MadeUp = (u8, Option<u8>);

/// Offsets, keys and values of all records.
fn rows(held: &Held) -> Vec<(i64, u8, Option<u8>)> {
    held.with(|log| {
        let (mut rows, mut from) = (Vec::new(), log.start_offset());
        while from < log.end_offset() {
            let slice = log.read(from, u32::MAX, log.end_offset(), true).unwrap();
            assert!(slice.length > 0);
            for batch in Batches::new(&bytes_of(&slice)) {
                let batch = batch.unwrap();
                for record in RecordIter::new(batch.header(), batch.records()) {
                    let record = record.unwrap();
                    rows.push((record.offset.0, record.key.unwrap()[0], record.value.map(|value| value[0])));
                }
                from = batch.header().next_offset();
            }
        }
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_stays_is_what_a_plain_list_says(
        first in prop::collection::vec(prop::collection::vec((0..6u8, any::<Option<u8>>()), 1..4), 1..30),
        second in prop::collection::vec(prop::collection::vec((0..6u8, any::<Option<u8>>()), 1..4), 1..30),
        map_keys in 1..8usize,
        segment_bytes in 200..2000u32,
    ) {
        let (fixture, held) = compacted(&small_segments(segment_bytes));
        let mut model: Vec<(i64, u8, Option<u8>)> = Vec::new();
        let mut offset = 0;
        for (now_ms, batches) in [(0, &first), (100, &second)] {
            for batch in batches {
                let mut builder = plain();
                for (key, value) in batch as &Vec<MadeUp> {
                    builder.push(0, Some(&[*key]), value.as_ref().map(std::slice::from_ref), &[]);
                    model.push((offset, *key, *value));
                    offset += 1;
                }
                append_built(&held, &builder);
            }
            // As many cleanings as a small map needs; those after the first know nothing of a later time.
            let limits = Limits { map_bytes: (map_keys + 1) * 24, load_factor: 0.99, io_bytes: 100 };
            let end = held.with(|log| log.segments().last().unwrap().base_offset.0);
            let old_end = if now_ms == 0 { 0 } else { model_end(&fixture) };
            while model_end(&fixture) < end {
                clean_as(&held, fixture.folder.path(), now_ms, &settings(10), limits).unwrap();
                held.with(|log| log.check());
            }
            let is_newest = |&(at, key, _): &(i64, u8, _)| !model.iter().any(|&(later, other, _)| other == key && at < later && later < end);
            let kept: Vec<_> = model.iter().copied().filter(|row| row.0 >= end || is_newest(row)).collect();
            // A deleted key of the first cleaning is due in the second.
            model = kept.into_iter().filter(|row| row.2.is_some() || row.0 >= old_end || old_end == end).collect();
            prop_assert_eq!(&rows(&held), &model);
        }
    }
}

/// Up to where the log is compacted.
fn model_end(fixture: &Fixture) -> i64 {
    let checkpoint = CleanerCheckpoint::open(fixture.folder.path()).unwrap();
    checkpoint.get(&TopicPartition::new("t", 0)).map_or(0, |offset| offset.0)
}
