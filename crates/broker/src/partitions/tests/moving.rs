//! Partitions that move between log directories.

use super::super::moving::{Begun, Copied, MOVED};
use super::*;

const NAME: &str = "t-0";

/// A partition in the folder `a`, with `batches` batches of two records, and the directory `b`.
fn in_a(folder: &Path, config: LogConfig, batches: usize) -> (Arc<Partition>, Arc<Directory>) {
    let [a, b] = ["a", "b"].map(|name| folder.join(name));
    fs::create_dir_all(&b).unwrap();
    let partition = lead(&a, open_log(&a, config));
    for _ in 0..batches {
        append(&partition, &two_records()).unwrap();
    }
    (partition, Arc::new(Directory::unheld(b, Some(Uuid(2)), Arc::default())))
}

fn two_records() -> BatchBuilder {
    one_record(one_record(BatchBuilder::new()))
}

fn future(number: u8) -> String {
    format!("{NAME}.{number:032x}-future")
}

fn copy_all(partition: &Partition) {
    while partition.copy_some(0).unwrap() != Copied::All {}
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// First and last offsets, and the bytes of the first segment.
fn contents(partition: &Partition) -> (Offset, Offset, Vec<u8>) {
    partition.with_log(|log, _| {
        let first = log.segments().next().unwrap().base_offset;
        let path = log.folder().join(format!("{:020}.log", first.0));
        (log.start_offset(), log.end_offset(), fs::read(path).unwrap())
    })
}

#[test]
fn a_partition_is_copied_and_then_is_where_the_copy_is() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 50);
    let before = contents(&partition);
    assert_eq!(partition.begin_move(&b, future(1)), Begun::Anew(None));
    assert_eq!(partition.begin_move(&b, future(2)), Begun::Before);
    let moving = partition.moving().unwrap();
    assert_eq!((moving.size_bytes, moving.lag), (0, 100));
    copy_all(&partition);
    append(&partition, &two_records()).unwrap();
    assert_eq!(partition.moving().unwrap().lag, 2);
    let (removed, home) = partition.finish_move(0).unwrap().unwrap();
    assert_eq!((home.path(), partition.home().path()), (b.path(), b.path()));
    assert!(partition.take_start_moved(), "the housekeeping writes down where it starts");
    assert!(partition.moving().is_none());
    assert_eq!(names(b.path()), [NAME]);
    let removed = removed.unwrap();
    assert!(
        removed.exists() && removed.to_string_lossy().ends_with("-delete") && !folder.path().join("a/t-0").exists()
    );
    assert!(!b.path().join(NAME).join(MOVED).exists());

    let after = contents(&partition);
    assert_eq!((after.0, after.1), (Offset(0), Offset(102)));
    assert!(after.2.starts_with(&before.2));
    assert_eq!(partition.positions().high_watermark, Offset(102));
    assert_eq!(append(&partition, &two_records()).unwrap().base_offset, Offset(102));
    assert!(read_from(&partition, Reader::Uncommitted, 0).slice.is_some());
}

#[test]
fn what_producers_wrote_is_known_after_a_move() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 0);
    let numbered = |sequence| one_record(BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), sequence));
    append(&partition, &numbered(0)).unwrap();
    partition.begin_move(&b, future(1));
    copy_all(&partition);
    append(&partition, &numbered(1)).unwrap();
    partition.finish_move(0).unwrap().unwrap();
    assert_eq!(append(&partition, &numbered(1)).unwrap().base_offset, Offset(1), "a duplicate");
    assert_eq!(append(&partition, &numbered(3)).unwrap_err().code(), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(append(&partition, &numbered(2)).unwrap().base_offset, Offset(2));
}

#[test]
fn how_far_a_log_is_compacted_moves_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    for (directory, text) in [(&a, "0\n1\nt 0 40\n"), (&b, "0\n1\nu 0 7\n")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("cleaner-offset-checkpoint"), text).unwrap();
    }
    let (cleaner, text) = (Cleaner::default(), |at: &Path| fs::read_to_string(at.join("cleaner-offset-checkpoint")));
    let [t, u] = ["t", "u"].map(|topic| TopicPartition::new(topic, 0));
    cleaner.carry(&t, &a, &b).unwrap();
    assert_eq!(text(&b).unwrap(), "0\n2\nt 0 40\nu 0 7\n");
    cleaner.carry(&u, &a, &b).unwrap();
    assert_eq!(text(&b).unwrap(), "0\n1\nt 0 40\n", "of one that is not compacted, nothing is left of an earlier stay");
}

#[test]
fn a_log_that_begins_inside_of_a_batch_moves_too() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 10);
    partition.delete_records(Some(Offset(7))).unwrap();
    partition.begin_move(&b, future(1));
    copy_all(&partition);
    // And begins later when it has been copied.
    partition.delete_records(Some(Offset(13))).unwrap();
    partition.finish_move(0).unwrap().unwrap();
    let (start, end, _) = contents(&partition);
    assert_eq!((start, end), (Offset(13), Offset(20)));
    assert!(read_from(&partition, Reader::Uncommitted, 13).slice.is_some());
}

#[test]
fn a_log_whose_records_were_all_deleted_moves_too() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig { retention_bytes: Some(0), ..LogConfig::default() }, 10);
    partition.begin_move(&b, future(1));
    assert_eq!(partition.copy_some(0).unwrap(), Copied::Some(0));
    partition.with_log(|log, high_watermark| log.enforce_retention(0, high_watermark)).unwrap();
    copy_all(&partition);
    partition.finish_move(0).unwrap().unwrap();
    let (start, end, _) = contents(&partition);
    assert_eq!((start, end), (Offset(20), Offset(20)));
    assert_eq!(append(&partition, &two_records()).unwrap().base_offset, Offset(20));
}

#[test]
fn a_move_that_ends_leaves_a_folder_to_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    assert_eq!(partition.cancel_move(), None);
    partition.begin_move(&b, future(1));
    assert_eq!(partition.cancel_move(), None, "there is no folder yet");
    partition.begin_move(&b, future(2));
    partition.copy_some(0).unwrap();
    let ended = partition.cancel_move().unwrap();
    assert!(ended.exists() && ended.to_string_lossy().ends_with("-delete"));
    assert_eq!(partition.copy_some(0).unwrap(), Copied::Nothing);
    assert!(partition.finish_move(0).unwrap().is_none());
    assert_eq!(partition.home().path(), folder.path().join("a"));
}

#[test]
fn what_an_earlier_life_has_copied_is_cut_to_what_the_log_has() {
    let folder = tempfile::tempdir().unwrap();
    let (longer, _) = in_a(&folder.path().join("other"), LogConfig::default(), 8);
    longer.with_log(|log, _| log.flush(0)).unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 5);
    fs::rename(folder.path().join("other/a/t-0"), b.path().join(future(1))).unwrap();
    partition.begin_move(&b, future(1));
    assert_eq!(partition.copy_some(0).unwrap(), Copied::Some(0));
    assert_eq!(partition.moving().unwrap().lag, 0);
    append(&partition, &two_records()).unwrap();
    copy_all(&partition);
    partition.finish_move(0).unwrap().unwrap();
    assert_eq!(contents(&partition).1, Offset(12));
}

#[test]
fn a_start_goes_on_with_a_move_and_forgets_those_of_topics_that_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let [going_on, gone] = [future(1), format!("gone-3.{:032x}-future", 2)];
    for name in [&going_on, &gone] {
        fs::create_dir(folder.path().join("a").join(name)).unwrap();
    }
    let all = in_two_directories(folder.path()).unwrap();
    all.set_strays_aside(&image_of_t());
    all.purge_doomed(i64::MAX).unwrap();
    assert!(!folder.path().join("a").join(gone).exists());
    let partition = host(&all, folder.path());
    assert_eq!(partition.moving().unwrap().home.path(), folder.path().join("a"));
    copy_all(&partition);
    partition.finish_move(0).unwrap().unwrap();
    assert_eq!(partition.home().path(), folder.path().join("a"));
    assert!(folder.path().join("a/t-0").exists() && !folder.path().join("b/t-0").exists());
}

/// What a crash between the two renames leaves: `t-0` in both directories, with the mark in `a`.
fn twice(folder: &Path, longer: &str) {
    one_record_in_b(folder);
    let copy = std::process::Command::new("cp").arg("-r").arg(folder.join("b/t-0")).arg(folder.join("a/t-0")).status();
    assert!(copy.unwrap().success());
    fs::write(folder.join("a/t-0").join(MOVED), "/b").unwrap();
    if !longer.is_empty() {
        let mut log = open_log(&folder.join(longer), LogConfig::default());
        log.append_follower(&one_record(BatchBuilder::new().base_offset(Offset(1))).build().unwrap(), 0).unwrap();
    }
}

#[test]
fn of_two_logs_that_a_crash_left_the_one_that_was_written_to_last_counts() {
    for (longer, kept, end) in [("", "a", 1), ("a", "a", 2), ("b", "b", 2)] {
        let folder = tempfile::tempdir().unwrap();
        twice(folder.path(), longer);
        let all = in_two_directories(folder.path()).unwrap();
        let partition = host(&all, folder.path());
        assert_eq!(partition.home().path(), folder.path().join(kept), "longer: {longer:?}");
        assert_eq!(partition.positions().log_end, Offset(end));
        let other = if kept == "a" { "b" } else { "a" };
        assert!(!folder.path().join(other).join(NAME).exists());
        assert!(!folder.path().join(kept).join(NAME).join(MOVED).exists());
        drop((partition, all));
        assert_eq!(host(&in_two_directories(folder.path()).unwrap(), folder.path()).positions().log_end, Offset(end));
    }
}

#[test]
fn a_move_that_was_told_to_have_begun_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let all = in_two_directories(folder.path()).unwrap();
    let partition = host(&all, folder.path());
    let a = all.directories().iter().find(|directory| directory.path().ends_with("a")).unwrap();
    for _ in 0..2 {
        all.move_to(&partition, a, 0).unwrap();
    }
    // Nothing was copied yet.
    drop((partition, all));
    let all = in_two_directories(folder.path()).unwrap();
    let partition = host(&all, folder.path());
    assert_eq!(partition.moving().unwrap().home.path(), folder.path().join("a"));
    let home = partition.home();
    all.move_to(&partition, &home, 0).unwrap();
    assert!(partition.moving().is_none(), "it was taken back");
    all.purge_doomed(i64::MAX).unwrap();
    assert!(names(&folder.path().join("a")).iter().all(|name| !name.starts_with("t-0")));
}
