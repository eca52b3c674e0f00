//! Partitions that move between log directories.

use super::super::moving::{Begun, Copied, Finished, MOVED};
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

/// The old folder, if it was renamed, and the new directory; nothing if the move has ended.
fn finish(partition: &Arc<Partition>) -> ottla_storage::Result<Option<(Option<PathBuf>, Arc<Directory>)>> {
    Ok(match partition.finish_move(0, |_| Ok(()))? {
        Finished::Moved(moved) => {
            let home = moved.to.clone();
            Some((moved.leave(&partition.name), home))
        }
        Finished::Ended(_) => None,
    })
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
    assert_eq!(partition.begin_move(&b, future(1)), Ok(Begun::Anew(None)));
    assert_eq!(partition.begin_move(&b, future(2)), Ok(Begun::Before));
    let moving = partition.moving().unwrap();
    assert_eq!((moving.size_bytes, moving.lag), (0, 100));
    copy_all(&partition);
    append(&partition, &two_records()).unwrap();
    assert_eq!(partition.moving().unwrap().lag, 2);
    let (removed, home) = finish(&partition).unwrap().unwrap();
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

/// Or retention would take nothing before the newest of all is due.
#[test]
fn what_was_in_segments_of_its_own_still_is_after_a_move() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 5);
    let bases = || partition.with_log(|log, _| log.segments().map(|segment| segment.base_offset).collect::<Vec<_>>());
    for _ in 0..2 {
        partition.with_log(|log, _| log.roll(0).unwrap());
        append(&partition, &two_records()).unwrap();
        append(&partition, &two_records()).unwrap();
    }
    let before = bases();
    assert_eq!(before, [Offset(0), Offset(10), Offset(14)]);
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    finish(&partition).unwrap().unwrap();
    assert_eq!(bases(), before);
}

#[test]
fn what_producers_wrote_is_known_after_a_move() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 0);
    let numbered = |sequence| one_record(BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), sequence));
    append(&partition, &numbered(0)).unwrap();
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    append(&partition, &numbered(1)).unwrap();
    finish(&partition).unwrap().unwrap();
    assert_eq!(append(&partition, &numbered(1)).unwrap().base_offset, Offset(1), "a duplicate");
    assert_eq!(append(&partition, &numbered(3)).unwrap_err().code(), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(append(&partition, &numbered(2)).unwrap().base_offset, Offset(2));
}

#[test]
fn a_log_that_begins_inside_of_a_batch_moves_too() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 10);
    partition.delete_records(Some(Offset(7))).unwrap();
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    // And begins later when it has been copied.
    partition.delete_records(Some(Offset(13))).unwrap();
    finish(&partition).unwrap().unwrap();
    let (start, end, _) = contents(&partition);
    assert_eq!((start, end), (Offset(13), Offset(20)));
    assert!(read_from(&partition, Reader::Uncommitted, 13).slice.is_some());
}

#[test]
fn a_log_whose_records_were_all_deleted_moves_too() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig { retention_bytes: Some(0), ..LogConfig::default() }, 10);
    partition.begin_move(&b, future(1)).unwrap();
    assert_eq!(partition.copy_some(0).unwrap(), Copied::Some(0));
    partition.with_log(|log, high_watermark| log.enforce_retention(0, high_watermark)).unwrap();
    copy_all(&partition);
    finish(&partition).unwrap().unwrap();
    let (start, end, _) = contents(&partition);
    assert_eq!((start, end), (Offset(20), Offset(20)));
    assert_eq!(append(&partition, &two_records()).unwrap().base_offset, Offset(20));
}

#[test]
fn a_move_that_ends_leaves_a_folder_to_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    assert_eq!(partition.cancel_move(), None);
    partition.begin_move(&b, future(1)).unwrap();
    assert_eq!(partition.cancel_move(), None, "there is no folder yet");
    partition.begin_move(&b, future(2)).unwrap();
    partition.copy_some(0).unwrap();
    let ended = partition.cancel_move().unwrap();
    assert!(ended.exists() && ended.to_string_lossy().ends_with("-delete"));
    assert_eq!(partition.copy_some(0).unwrap(), Copied::Nothing);
    assert!(finish(&partition).unwrap().is_none());
    assert_eq!(partition.home().path(), folder.path().join("a"));
}

/// Gives the copy the name of the log and its mark, as a move does of which neither that name could be flushed nor the other one be
/// given back.
fn leave_with_name_of_log(b: &Directory, folder: &str) {
    fs::rename(b.path().join(folder), b.path().join("t-0")).unwrap();
    fs::write(b.path().join("t-0").join(MOVED), "a").unwrap();
}

#[test]
fn a_copy_that_was_left_with_the_name_of_a_log_is_found_by_who_ends_the_move_or_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    leave_with_name_of_log(&b, &future(1));
    let ended = partition.cancel_move().unwrap();
    assert!(ended.exists() && ended.to_string_lossy().ends_with("-delete"));
    assert_eq!(names(b.path()), [ended.file_name().unwrap().to_str().unwrap()]);
    // One that is opened anew.
    partition.begin_move(&b, future(2)).unwrap();
    fs::create_dir(b.path().join(future(2))).unwrap();
    leave_with_name_of_log(&b, &future(2));
    copy_all(&partition);
    assert!(b.path().join(future(2)).exists() && !b.path().join("t-0").exists());
    finish(&partition).unwrap();
    assert_eq!(partition.home().path(), b.path());
}

#[test]
fn what_an_earlier_life_has_copied_is_cut_to_what_the_log_has() {
    let folder = tempfile::tempdir().unwrap();
    let (longer, _) = in_a(&folder.path().join("other"), LogConfig::default(), 8);
    longer.with_log(|log, _| log.flush(0)).unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 5);
    fs::rename(folder.path().join("other/a/t-0"), b.path().join(future(1))).unwrap();
    partition.begin_move(&b, future(1)).unwrap();
    assert_eq!(partition.copy_some(0).unwrap(), Copied::Some(0));
    assert_eq!(partition.moving().unwrap().lag, 0);
    append(&partition, &two_records()).unwrap();
    copy_all(&partition);
    finish(&partition).unwrap().unwrap();
    assert_eq!(contents(&partition).1, Offset(12));
}

#[test]
fn what_an_earlier_life_has_copied_of_a_log_that_began_later_is_copied_anew() {
    let folder = tempfile::tempdir().unwrap();
    // Records were deleted, and then the broker was killed before it had written that down.
    let mut later = open_log(&folder.path().join("later"), LogConfig::default());
    later.restart_at(Offset(7), 0).unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 5);
    fs::rename(folder.path().join("later/t-0"), b.path().join(future(1))).unwrap();
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    finish(&partition).unwrap().unwrap();
    let slice = read_from(&partition, Reader::Uncommitted, 0).slice.unwrap();
    assert_eq!((slice.first_offset, partition.positions().log_start), (Offset(0), Offset(0)));
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
    finish(&partition).unwrap().unwrap();
    assert_eq!(partition.home().path(), folder.path().join("a"));
    assert!(folder.path().join("a/t-0").exists() && !folder.path().join("b/t-0").exists());
}

#[test]
fn the_copy_of_a_deleted_topic_is_no_copy_of_the_one_that_has_its_name_now() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    // What cannot be known is copied anew.
    for (id, goes_on) in [(Some(Uuid(70)), false), (None, true)] {
        let copy = folder.path().join("a").join(future(1));
        fs::create_dir(&copy).unwrap();
        id.inspect(|id| ottla_storage::write_partition_metadata(&copy, *id).unwrap());
        let all = in_two_directories(folder.path()).unwrap();
        assert_eq!(host(&all, folder.path()).moving().is_some(), goes_on, "{id:?}");
        all.purge_doomed(i64::MAX).unwrap();
        assert!(!copy.exists());
    }
}

/// Makes what is at `path`, or comes there, a file that no disk can open.
fn spoil(path: &Path) {
    _ = fs::remove_file(path);
    std::os::unix::fs::symlink(path.file_name().unwrap(), path).unwrap();
}

/// Whether the directories `a` and `b` are online.
fn are_online(partition: &Partition, b: &Directory) -> (bool, bool) {
    (partition.is_online(), b.is_online())
}

#[test]
fn of_the_two_directories_of_a_move_only_the_one_that_failed_goes_offline() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    partition.begin_move(&b, future(1)).unwrap();
    partition.copy_some(0).unwrap();
    partition.with_log(|log, _| {
        log.roll(0).unwrap();
        log.flush(0).unwrap();
    });
    spoil(&folder.path().join("a/t-0/00000000000000000000.log"));
    partition.copy_some(0).unwrap_err();
    assert_eq!(are_online(&partition, &b), (false, true), "it cannot be read");

    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    spoil(&b.path().join(future(1)).join(format!("{MOVED}.tmp")));
    finish(&partition).unwrap_err();
    assert_eq!(are_online(&partition, &b), (true, false), "it cannot be written");
    assert_eq!(append(&partition, &two_records()).unwrap().base_offset, Offset(6));
}

#[test]
fn a_batch_that_cannot_be_read_from_the_log_is_told_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 2);
    partition.begin_move(&b, future(1)).unwrap();
    partition.copy_some(0).unwrap();
    // The magic of the first batch: found by nobody who looks at lengths and offsets.
    let log = fs::File::options().write(true).open(folder.path().join("a/t-0/00000000000000000000.log")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&log, &[9], 16).unwrap();
    let error = partition.copy_some(0).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    assert!(partition.moving().is_some());
    assert_eq!(are_online(&partition, &b), (true, true));
}

#[test]
fn a_flush_that_fails_after_a_move_is_charged_to_the_directory_in_which_it_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    // Of a sealed segment, the indexes are opened to be flushed.
    let config = LogConfig { flush_messages: Some(1), segment_bytes: 1, ..LogConfig::default() };
    let (partition, b) = in_a(folder.path(), config, 3);
    let a = partition.home();
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    let begun = partition.begin_flush().unwrap();
    finish(&partition).unwrap().unwrap();
    fs::create_dir(folder.path().join("a/t-0")).unwrap();
    spoil(&folder.path().join("a/t-0/00000000000000000000.index"));
    partition.finish_flush(begun, 0);
    assert_eq!((a.is_online(), b.is_online()), (false, true));
    let placed = append(&partition, &two_records()).unwrap();
    partition.flush(0);
    assert_eq!(partition.is_acknowledged(Acks::All, placed.next_offset), Ok(true));
}

/// A partition in `b` with three records, and all that a broker has of it.
fn three_records_in_b(folder: &Path) -> (Partitions, Arc<Partition>, Arc<Directory>) {
    one_record_in_b(folder);
    let all = in_two_directories(folder).unwrap();
    let partition = host(&all, folder);
    append(&partition, &two_records()).unwrap();
    let a = all.directories().iter().find(|directory| directory.path().ends_with("a")).unwrap().clone();
    (all, partition, a)
}

#[test]
fn records_that_were_deleted_do_not_come_back_with_a_move_and_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (all, partition, a) = three_records_in_b(folder.path());
    all.move_to(&partition, &a, 0).unwrap();
    copy_all(&partition);
    partition.delete_records(Some(Offset(2))).unwrap();
    all.directories().iter().for_each(|directory| checkpoints::write_log_starts(&all, directory).unwrap());
    all.finish_move(&partition, 0, |_| ()).unwrap();
    assert!(partition.take_start_moved(), "it is written down anew, as it may have moved since");
    drop((partition, all, a));
    let all = in_two_directories(folder.path()).unwrap();
    let partition = host(&all, folder.path());
    assert_eq!((partition.home().path(), partition.positions().log_start), (&*folder.path().join("a"), Offset(2)));
}

#[test]
fn what_is_written_down_of_a_log_that_arrives_is_kept_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let (all, partition, a) = three_records_in_b(folder.path());
    all.move_to(&partition, &a, 0).unwrap();
    partition.delete_records(Some(Offset(1))).unwrap();
    copy_all(&partition);
    let starts = || checkpoint::read_offsets(&a.path().join(LOG_START_CHECKPOINT)).unwrap();
    let arrives = |to: &Directory| {
        checkpoints::note_arrival(to, &partition.name, Offset(1))?;
        partition.delete_records(Some(Offset(2))).unwrap();
        write_checkpoints(&all);
        assert_eq!(starts(), BTreeMap::from([(partition.name.clone(), Offset(2))]));
        Ok(())
    };
    assert!(matches!(partition.finish_move(0, arrives), Ok(Finished::Moved(_))));
    assert_eq!(starts().len(), 1);
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
fn the_cleaners_checkpoint_names_a_log_in_its_new_directory_before_it_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let cleaned = |name: &str| checkpoint::read_offsets(&folder.path().join(name).join("cleaner-offset-checkpoint"));
    fs::write(folder.path().join("b/cleaner-offset-checkpoint"), "0\n1\nt 0 1\n").unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    let partition = host(&all, folder.path());
    let a = all.directories()[0].clone();
    all.move_to(&partition, &a, 0).unwrap();
    copy_all(&partition);
    let told = |to: &Directory| {
        assert_eq!((to.path(), cleaned("a").unwrap().len()), (a.path(), 1));
        assert!(
            folder.path().join("b/t-0").exists(),
            "the old directory may fail from here on, whose partition it is not"
        );
    };
    all.finish_move(&partition, 0, told).unwrap();
    assert_eq!(cleaned("a").unwrap()[&partition.name], Offset(1));
    assert!(cleaned("b").unwrap().is_empty());
}

#[test]
fn a_log_is_not_compacted_while_it_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (all, partition, a) = three_records_in_b(folder.path());
    assert!(all.cleaner.may_clean(&partition));
    all.move_to(&partition, &a, 0).unwrap();
    assert!(!all.cleaner.may_clean(&partition), "the copy has what its tombstone has taken out of the log");
    all.move_to(&partition, &partition.home(), 0).unwrap();
    assert!(all.cleaner.may_clean(&partition));
    all.move_to(&partition, &a, 0).unwrap();
    copy_all(&partition);
    all.finish_move(&partition, 0, |_| ()).unwrap();
    assert!(all.cleaner.may_clean(&partition));
}

#[test]
fn the_copy_of_a_log_that_may_have_been_compacted_since_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    fs::write(folder.path().join("b/cleaner-offset-checkpoint"), "0\n1\nt 0 1\n").unwrap();
    let old = folder.path().join("a").join(future(1));
    fs::create_dir(&old).unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    let partition = host(&all, folder.path());
    assert_eq!(partition.moving().unwrap().home.path(), folder.path().join("a"));
    all.purge_doomed(i64::MAX).unwrap();
    assert!(!old.exists());
    copy_all(&partition);
    all.finish_move(&partition, 0, |_| ()).unwrap();
    assert_eq!(partition.home().path(), folder.path().join("a"));
}

#[test]
fn a_move_can_be_looked_at_and_ended_while_its_copy_is_worked_on() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    let mut ended = None;
    let finished = partition.finish_move(0, |_| {
        assert_eq!(partition.moving().unwrap().lag, 0);
        ended = partition.cancel_move();
        Ok(())
    });
    assert!(matches!(finished, Ok(Finished::Ended(None))));
    assert!(ended.unwrap().exists());
    assert_eq!((partition.home().path(), names(b.path()).len()), (&*folder.path().join("a"), 1));
    assert_eq!(are_online(&partition, &b), (true, true), "that its folder has another name is no failure");
    append(&partition, &two_records()).unwrap();
}

#[test]
fn a_copy_that_takes_no_more_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig { segment_bytes: 1, ..LogConfig::default() }, 3);
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    // It cannot be opened, and so not be flushed.
    let obstacle = b.path().join(future(1)).join("00000000000000000000.index");
    fs::remove_file(&obstacle).unwrap();
    fs::create_dir(&obstacle).unwrap();
    finish(&partition).unwrap_err();
    append(&partition, &two_records()).unwrap();
    fs::remove_dir(&obstacle).unwrap();
    copy_all(&partition);
    finish(&partition).unwrap().unwrap();
    assert_eq!((partition.home().path(), contents(&partition).1), (b.path(), Offset(8)));
}

#[test]
fn a_partition_whose_directory_has_failed_does_not_come_back_by_a_move() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    partition.broken(&StorageError::io("flush", &folder.path().join("a/t-0"))(rustix::io::Errno::IO.into()));
    finish(&partition).unwrap_err();
    assert_eq!(partition.home().path(), folder.path().join("a"));
    assert_eq!(names(b.path()), [future(1)], "what was copied is there for the next start");
    partition.give_up_move();
    assert!(partition.moving().is_none() && b.is_online());
}

#[test]
fn a_move_that_was_begun_since_is_not_given_up_for_one_whose_disk_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    partition.begin_move(&b, future(1)).unwrap();
    b.on_error(&StorageError::io("write", b.path())(rustix::io::Errno::IO.into()));
    // Meanwhile, the operator sends it elsewhere.
    let c = folder.path().join("c");
    fs::create_dir(&c).unwrap();
    let c = Arc::new(Directory::unheld(c, Some(Uuid(3)), Arc::default()));
    partition.begin_move(&c, future(2)).unwrap();
    assert!(!partition.give_up_move());
    assert_eq!(partition.moving().unwrap().home.path(), c.path());
    partition.cancel_move();
    assert!(!partition.give_up_move(), "there is none");
}

#[test]
fn a_topic_that_is_made_again_while_its_partition_arrives_elsewhere_keeps_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (all, partition, a) = three_records_in_b(folder.path());
    let (all, b) = (Arc::new(all), partition.home());
    all.move_to(&partition, &a, 0).unwrap();
    copy_all(&partition);
    let (mut again, settings) = topic(folder.path());
    again.id = Uuid(78);
    let placed = ottla_metadata::image::Partition { directories: vec![b.id().unwrap()], ..registration() };
    again.partitions.insert(PartitionIndex(0), Arc::new(placed));
    let (tell, told) = std::sync::mpsc::channel();
    let mut making = None;
    let arrived = |_: &Directory| {
        let (all, partition) = (Arc::clone(&all), Arc::clone(&partition));
        making = Some(std::thread::spawn(move || {
            all.drop_topic("t", 0);
            all.host(&again, &settings, 0).unwrap();
            let _ = tell.send(partition);
        }));
        // It has to wait until the old folder has another name.
        let _ = told.recv_timeout(std::time::Duration::from_millis(300));
    };
    all.finish_move(&partition, 0, arrived).unwrap();
    making.unwrap().join().unwrap();
    let made = all.find("t", 0).unwrap();
    assert_eq!((made.topic_id, made.home().path()), (Uuid(78), b.path()));
    assert!(b.path().join("t-0").exists() && !a.path().join("t-0").exists());
    assert_eq!(append(&made, &two_records()).unwrap().base_offset, Offset(0));
    all.purge_doomed(i64::MAX).unwrap();
    assert!(b.path().join("t-0").exists());
}

#[test]
fn that_an_old_folder_is_gone_is_no_fault_of_its_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    let a = partition.home();
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    let Finished::Moved(moved) = partition.finish_move(0, |_| Ok(())).unwrap() else { panic!("nobody ends it") };
    fs::remove_dir_all(a.path().join(NAME)).unwrap();
    assert_eq!(moved.leave(&partition.name), None);
    assert!(a.is_online() && b.is_online());
}

#[test]
fn a_log_whose_last_records_were_compacted_away_moves_too() {
    for batches in [0, 4] {
        let folder = tempfile::tempdir().unwrap();
        let (partition, b) = in_a(folder.path(), LogConfig::default(), batches);
        // As Kafka leaves it, which keeps no empty batches.
        partition.with_log(|log, _| log.roll_to(Offset(20), 0)).unwrap();
        partition.begin_move(&b, future(1)).unwrap();
        copy_all(&partition);
        finish(&partition).unwrap().unwrap();
        let positions = partition.positions();
        let log_start = if batches == 0 { Offset(20) } else { Offset(0) };
        assert_eq!((positions.log_start, positions.log_end), (log_start, Offset(20)));
        assert_eq!(partition.home().path(), b.path());
        partition.with_log(|log, _| log.check());
        assert_eq!(append(&partition, &two_records()).unwrap().base_offset, Offset(20));
        let from_end = if batches == 0 { 20 } else { 8 };
        let slice = read_from(&partition, Reader::Uncommitted, from_end).slice.unwrap();
        assert_eq!(slice.first_offset, Offset(20));
    }
}

#[test]
fn where_a_log_starts_that_is_about_to_arrive_is_written_down_in_both_directories() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    let places = || {
        let directories = partition.start_directories();
        directories.iter().map(|one| one.path().file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    assert_eq!(places(), ["a"]);
    let arrives = |_: &Directory| {
        assert_eq!(places(), ["b", "a"]);
        Ok(())
    };
    assert!(matches!(partition.finish_move(0, arrives), Ok(Finished::Moved(_))));
    assert_eq!(places(), ["b"]);
}

/// The stop does not wait for ever for whoever moves logs.
#[test]
fn a_log_that_was_closed_is_not_replaced_by_its_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    let finished = partition.finish_move(0, |_| {
        partition.close(0)?;
        Ok(())
    });
    assert!(!matches!(finished, Ok(Finished::Moved(_))));
    assert!(folder.path().join("a").join(NAME).exists());
    assert_eq!(names(b.path()), [future(1)]);
}

#[test]
fn of_a_topic_that_is_deleted_while_it_moves_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, b) = in_a(folder.path(), LogConfig::default(), 3);
    partition.begin_move(&b, future(1)).unwrap();
    copy_all(&partition);
    let deleted = format!("{NAME}.{:032x}-delete", 9);
    let finished = partition.finish_move(0, |_| {
        partition.end();
        partition.rename_folder(&deleted).map(drop)
    });
    let Ok(Finished::Ended(Some(copy))) = finished else { panic!("the topic is gone") };
    assert_eq!(names(b.path()), [copy.file_name().unwrap().to_str().unwrap()]);
    assert!(partition.moving().is_none() && partition.cancel_move().is_none());
    assert_eq!(partition.begin_move(&b, future(2)), Err(ErrorCode::UnknownTopicOrPartition));

    let folder = tempfile::tempdir().unwrap();
    let (all, partition, a) = three_records_in_b(folder.path());
    all.move_to(&partition, &a, 0).unwrap();
    all.drop_topic("t", 0);
    assert_eq!(all.move_to(&partition, &a, 0), Err(ErrorCode::UnknownTopicOrPartition));
    all.purge_doomed(i64::MAX).unwrap();
    for directory in ["a", "b"] {
        assert!(names(&folder.path().join(directory)).iter().all(|name| !name.starts_with("t-0")), "{directory}");
    }
}

#[test]
fn a_partition_is_led_on_in_the_epoch_of_a_later_election() {
    let folder = tempfile::tempdir().unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    let partition = host(&all, folder.path());
    let (mut topic, settings) = topic(folder.path());
    let elected = ottla_metadata::image::Partition { leader_epoch: LeaderEpoch(3), ..registration() };
    topic.partitions.insert(PartitionIndex(0), Arc::new(elected));
    all.host(&topic, &settings, 0).unwrap();
    assert!(partition.end_of_epoch(LeaderEpoch(3), LeaderEpoch(3)).is_ok());
    assert_eq!(partition.end_of_epoch(LeaderEpoch(0), LeaderEpoch(0)), Err(ErrorCode::FencedLeaderEpoch));
}

/// What a crash between the two renames leaves: `t-0` in both directories, with the mark in `a`.
fn twice(folder: &Path, longer: &str) {
    one_record_in_b(folder);
    copy_folder(&folder.join("b/t-0"), &folder.join("a/t-0"));
    fs::write(folder.join("a/t-0").join(MOVED), folder.join("b").to_str().unwrap()).unwrap();
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
