//! Starts that find the log of a partition in two directories, of which one, or what lies in it, cannot be read. Whatever is served
//! meanwhile: once the disk is well again, all records are there.

use rustix::io::Errno;

use super::super::moving::MOVED;
use super::super::twice::{Again, settle_opened};
use super::*;
use crate::controller::metadata_log::Found;

const NAMES: [&str; 3] = ["metadata", "a", "b"];
const LOG: &str = "t-0/00000000000000000000.log";

/// What a directory holds of `t-0`.
#[derive(Clone, Copy)]
struct Holds {
    records: i64,
    /// It was moved from there.
    from: Option<&'static str>,
}

const fn holds(records: i64) -> Holds {
    Holds { records, from: None }
}

const fn moved(records: i64, from: &'static str) -> Holds {
    Holds { records, from: Some(from) }
}

/// A broker with three directories, and in `a` and `b` what they hold.
fn with(a: Holds, b: Holds) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    close(in_directories(folder.path(), &NAMES).unwrap()).unwrap();
    for (name, holds) in [("a", a), ("b", b)] {
        let directory = folder.path().join(name);
        fs::create_dir(directory.join("t-0")).unwrap();
        write_partition_metadata(&directory.join("t-0"), Uuid(7)).unwrap();
        let mut log = open_log(&directory, LogConfig::default());
        for offset in 0..holds.records {
            log.append_follower(&one_record(BatchBuilder::new().base_offset(Offset(offset))).build().unwrap(), 0)
                .unwrap();
        }
        log.close(0).unwrap();
        if let Some(from) = holds.from {
            fs::write(directory.join("t-0").join(MOVED), folder.path().join(from).to_str().unwrap()).unwrap();
        }
    }
    folder
}

/// Has what lies at `path` be what the disk cannot read, or gives it back.
fn spoil(path: &Path) {
    fs::rename(path, path.with_extension("kept")).unwrap();
    std::os::unix::fs::symlink(path.file_name().unwrap(), path).unwrap();
}

fn heal(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::rename(path.with_extension("kept"), path).unwrap();
}

/// In which directory `t-0` is served, up to where; or nothing where it answers KAFKA_STORAGE_ERROR.
fn served(folder: &Path) -> Option<(String, i64)> {
    served_of(folder, &NAMES)
}

/// The same, where `log.dirs` has these.
fn served_of(folder: &Path, names: &[&str]) -> Option<(String, i64)> {
    let all = in_directories(folder, names).unwrap();
    let (topic, settings) = topic(folder);
    _ = all.host(&topic, &settings, 0);
    let found = match all.find("t", 0) {
        Ok(partition) => {
            let home = partition.home().path().file_name().unwrap().to_str().unwrap().to_owned();
            Some((home, partition.positions().log_end.0))
        }
        Err(code) => {
            assert_eq!(code, ErrorCode::KafkaStorageError);
            None
        }
    };
    // As at a stop, which writes down what is known of the rest.
    close(all).ok();
    found
}

#[test]
fn of_two_logs_of_which_one_cannot_be_read_neither_is_served_and_the_better_one_is_when_both_can() {
    let other = "other-0/00000000000000000000.log";
    let cases = [
        ("both can be read: the one it was moved to", holds(3), moved(3, "a"), None, Some(("b", 3)), ("b", 3)),
        ("both can be read: the one written to last", holds(3), moved(5, "a"), None, Some(("b", 5)), ("b", 5)),
        ("both can be read: the move was taken back", holds(5), moved(3, "a"), None, Some(("a", 5)), ("a", 5)),
        ("what it was moved from", holds(3), moved(5, "a"), Some(("a", LOG)), None, ("b", 5)),
        ("what it was moved from, first", moved(5, "b"), holds(3), Some(("b", LOG)), None, ("a", 5)),
        ("what it was moved to", holds(3), moved(5, "a"), Some(("b", LOG)), None, ("b", 5)),
        ("what it was moved to, first", moved(5, "b"), holds(3), Some(("a", LOG)), None, ("a", 5)),
        (
            "of which topic what it was moved to is",
            holds(3),
            moved(5, "a"),
            Some(("b", "t-0/partition.metadata")),
            None,
            ("b", 5),
        ),
        (
            "of which topic what it was moved from is",
            holds(3),
            moved(5, "a"),
            Some(("a", "t-0/partition.metadata")),
            None,
            ("b", 5),
        ),
        ("another log beside what it was moved from", holds(3), moved(5, "a"), Some(("a", other)), None, ("b", 5)),
        ("another log beside what it was moved to", holds(3), moved(5, "a"), Some(("b", other)), None, ("b", 5)),
        ("another log beside it, first", moved(5, "b"), holds(3), Some(("a", other)), None, ("a", 5)),
        ("what it was moved from, and went on", holds(5), moved(3, "a"), Some(("a", LOG)), None, ("a", 5)),
        ("what went on, with an old mark", moved(5, "b"), moved(3, "a"), Some(("a", LOG)), None, ("a", 5)),
        ("there are two marks", moved(3, "b"), moved(5, "a"), Some(("a", LOG)), None, ("b", 5)),
        ("there are two marks, and both can be read", moved(5, "b"), moved(3, "a"), None, Some(("a", 5)), ("a", 5)),
        ("the mark is of another move", holds(3), moved(5, "c"), Some(("a", LOG)), None, ("b", 5)),
    ];
    for (unreadable, a, b, spoilt, meanwhile, afterwards) in cases {
        let folder = with(a, b);
        let spoilt = spoilt.map(|(directory, file)| folder.path().join(directory).join(file));
        if let Some(path) = &spoilt {
            if !path.exists() {
                fs::create_dir(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            spoil(path);
        }
        for _ in 0..2 {
            let found = served(folder.path());
            let found = found.as_ref().map(|(home, end)| (home.as_str(), *end));
            assert_eq!(found, meanwhile, "{unreadable}");
        }
        if let Some(path) = &spoilt {
            heal(path);
        }
        let (home, end) = afterwards;
        assert_eq!(served(folder.path()), Some((home.to_owned(), end)), "{unreadable}: when it is well again");
        let other = folder.path().join(if home == "a" { "b" } else { "a" });
        assert!(!other.join("t-0").exists(), "{unreadable}: the other one is left");
    }
}

#[test]
fn a_copy_that_is_not_finished_is_no_log_and_stays_while_the_log_cannot_be_read() {
    let folder = with(holds(5), holds(3));
    let future = folder.path().join("b/t-0.00000000000000000000000000000001-future");
    fs::rename(folder.path().join("b/t-0"), &future).unwrap();
    let log = folder.path().join("a").join(LOG);
    spoil(&log);
    assert_eq!(served(folder.path()), None);
    assert!(future.join("00000000000000000000.log").exists() && !folder.path().join("b/t-0").exists());
    heal(&log);
    assert_eq!(served(folder.path()), Some(("a".to_owned(), 5)));
}

#[test]
fn without_the_directory_that_is_lost_the_other_log_is_served_and_told() {
    for (a, b) in [(holds(3), moved(5, "a")), (holds(5), moved(3, "a")), (moved(5, "b"), holds(3))] {
        for (lost, left, end) in [("a", "b", b.records), ("b", "a", a.records)] {
            let folder = with(a, b);
            let image = image_with(id_of(folder.path(), lost));
            spoil(&folder.path().join(lost).join(LOG));
            assert_eq!(served(folder.path()), None);
            let names = ["metadata", left];
            let all = in_directories(folder.path(), &names).unwrap();
            let told = all.misplaced_at_start(&image);
            assert_eq!(told, [placed_in(folder.path(), left)]);
            drop(all);
            assert_eq!(served_of(folder.path(), &names), Some((left.to_owned(), end)));
        }
    }
}

fn id_of(folder: &Path, directory: &str) -> Uuid {
    MetaProperties::read(&folder.join(directory)).unwrap().unwrap().directory_id
}

fn placed_in(folder: &Path, directory: &str) -> PlacedReplica {
    PlacedReplica { topic_id: Uuid(7), partition: PartitionIndex(0), directory: id_of(folder, directory) }
}

#[test]
fn what_is_found_beside_a_directory_that_is_offline_is_neither_told_to_be_the_replica_that_lies_there_nor_served() {
    for b in [holds(3), moved(3, "a")] {
        let folder = with(holds(5), b);
        let (image, placed) = (image_with(id_of(folder.path(), "a")), placed_in(folder.path(), "b"));
        let unassigned = image_with(ottla_metadata::image::UNASSIGNED_DIRECTORY);
        let papers = folder.path().join("a/meta.properties");
        spoil(&papers);
        let all = in_directories(folder.path(), &NAMES).unwrap();
        assert_eq!(all.misplaced_at_start(&image), []);
        let (topic, settings) = topic(folder.path());
        for _ in 0..2 {
            all.host(&topic, &settings, 0).unwrap_err();
            assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
        }
        close(all).unwrap();
        let all = in_directories(folder.path(), &NAMES).unwrap();
        assert_eq!(all.misplaced_at_start(&unassigned), [placed], "nobody says that there is another one");
        drop(all);
        // The one that is lost is taken out of log.dirs.
        let all = in_directories(folder.path(), &["metadata", "b"]).unwrap();
        assert_eq!(all.misplaced_at_start(&image), [placed]);
        assert_eq!(host(&all, folder.path()).positions().log_end, Offset(3));
        drop(all);
        if b.from.is_some() {
            heal(&papers);
            assert_eq!(served(folder.path()), Some(("a".to_owned(), 5)));
        }
    }
}

#[test]
fn a_topic_that_is_made_again_is_not_refused_for_the_logs_of_the_one_before() {
    let folder = with(holds(3), moved(5, "a"));
    spoil(&folder.path().join("a").join(LOG));
    let all = in_directories(folder.path(), &NAMES).unwrap();
    let (old, settings) = topic(folder.path());
    all.host(&old, &settings, 0).unwrap_err();
    let withdrawn = all.withdraw("t");
    let made = all.announce(&Arc::new(Topic { id: Uuid(8), ..old }), &settings);
    let done = withdrawn.into_iter().chain(made).map(|change| all.carry_out(change, 0)).collect();
    all.settle(done, 0).unwrap();
    let partition = all.find("t", 0).unwrap();
    assert_eq!((partition.topic_id, partition.positions().log_end), (Uuid(8), Offset(0)));
}

#[test]
fn a_log_of_the_topic_that_is_there_is_served_beside_two_of_another_one_of_which_one_cannot_be_read() {
    let folder = with(holds(3), moved(5, "a"));
    let names = ["metadata", "b", "a", "c"];
    close(in_directories(folder.path(), &["metadata", "c"]).unwrap()).unwrap();
    format_blank(folder.path(), "c");
    copy_folder(&folder.path().join("b/t-0"), &folder.path().join("c/t-0"));
    for directory in ["a", "b"] {
        write_partition_metadata(&folder.path().join(directory).join("t-0"), Uuid(6)).unwrap();
    }
    spoil(&folder.path().join("a").join(LOG));
    let all = in_directories(folder.path(), &names).unwrap();
    all.settle_rivals(&image_of_t()).unwrap();
    let partition = host(&all, folder.path());
    assert_eq!((partition.home().path(), partition.positions().log_end), (&*folder.path().join("c"), Offset(5)));
}

/// Gives a directory that is not one of those of `with` its papers.
fn format_blank(folder: &Path, directory: &str) {
    let papers = MetaProperties::read(&folder.join("metadata")).unwrap().unwrap();
    MetaProperties { directory_id: Uuid(47), ..papers }.write(&folder.join(directory)).unwrap();
}

#[test]
fn partitions_that_lie_only_in_a_directory_that_is_offline_are_known_to_be_there() {
    for spoilt in ["meta.properties", LOG] {
        let folder = with(holds(3), holds(0));
        fs::remove_dir_all(folder.path().join("b/t-0")).unwrap();
        let any = || in_directories(folder.path(), &NAMES).unwrap().any_found();
        let t = Some(Found::Partition(TopicPartition::new("t", 0)));
        assert_eq!(any(), t);
        spoil(&folder.path().join("a").join(spoilt));
        assert_eq!(any(), t, "{spoilt}");
        fs::remove_dir_all(folder.path().join("a/t-0")).unwrap();
        // The log that could not be read is gone, and its directory is well; or nobody knows what lies there.
        let unread = |found| matches!(found, Some(Found::Unread { directory, .. }) if directory.ends_with("a"));
        match spoilt {
            LOG => assert_eq!(any(), None),
            _ => assert!(unread(any())),
        }
    }
}

#[test]
fn a_directory_that_cannot_be_read_says_nothing_of_a_node_that_is_formatted_just_now() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    let papers = folder.path().join("a/meta.properties");
    std::os::unix::fs::symlink("meta.properties", &papers).unwrap();
    let any = || in_directories(folder.path(), &NAMES).unwrap().any_found();
    assert_eq!(any(), None);
    assert!(matches!(any(), Some(Found::Unread { .. })), "that was the start before");
    fs::remove_file(papers).unwrap();
    assert_eq!(any(), None);
}

/// Has no room for what is to be written when the log in a directory is opened.
fn take_room(folder: &Path, directory: &str) {
    let log = folder.join(directory).join("t-0");
    fs::write(log.join("leader-epoch-checkpoint"), "damaged").unwrap();
    let unfinished = log.join("leader-epoch-checkpoint.tmp");
    _ = fs::remove_file(&unfinished);
    std::os::unix::fs::symlink("/dev/full", unfinished).unwrap();
}

fn give_room(folder: &Path, directory: &str) {
    fs::remove_file(folder.join(directory).join("t-0/leader-epoch-checkpoint.tmp")).unwrap();
}

/// Whether a log that is to be removed is still in a directory.
fn is_left(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| entry.unwrap().file_name().to_str().unwrap().ends_with("-delete"))
}

#[test]
fn two_logs_for_which_there_was_no_room_are_settled_when_there_is() {
    let cases = [
        (holds(3), moved(5, "a"), ("b", 5)),
        (holds(5), moved(3, "a"), ("a", 5)),
        (holds(3), moved(3, "a"), ("b", 3)),
        (moved(5, "b"), holds(3), ("a", 5)),
        (moved(3, "b"), holds(5), ("b", 5)),
    ];
    for (case, (a, b, (home, end))) in cases.into_iter().enumerate() {
        for full in [&["a"][..], &["b"], &["a", "b"]] {
            let folder = with(a, b);
            full.iter().for_each(|directory| take_room(folder.path(), directory));
            // A stop meanwhile loses nothing.
            assert_eq!(served(folder.path()), None);
            let all = in_directories(folder.path(), &NAMES).unwrap();
            assert_eq!(all.misplaced_at_start(&image_with(Uuid::ZERO)), [], "nobody knows where it lies");
            let (topic, settings) = topic(folder.path());
            for _ in 0..2 {
                let error = all.host(&topic, &settings, 0).unwrap_err();
                assert!(error.is_full(), "{error}");
                assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
                assert!(all.directories().iter().any(|directory| directory.is_full()), "there is room again later");
                assert!(["a", "b"].iter().all(|directory| folder.path().join(directory).join(LOG).exists()));
            }
            full.iter().for_each(|directory| give_room(folder.path(), directory));
            all.directories().iter().for_each(|directory| _ = directory.on_room(1000, 900, Some(100)));
            all.host(&topic, &settings, 0).unwrap();
            let partition = all.find("t", 0).unwrap();
            let found = (partition.home().path().to_owned(), partition.positions().log_end);
            assert_eq!(found, (folder.path().join(home), Offset(end)), "case {case}, {full:?}");
            let other = folder.path().join(if home == "a" { "b" } else { "a" });
            assert!(!other.join("t-0").exists() && !folder.path().join(home).join("t-0").join(MOVED).exists());
            assert!(is_left(&other));
            all.purge_doomed(0).unwrap();
            assert!(!is_left(&other), "what there was no room for takes room until a restart");
            append(&partition, &one_record(BatchBuilder::new())).unwrap();
            drop(partition);
            close(all).unwrap();
            assert_eq!(served(folder.path()), Some((home.to_owned(), end + 1)));
        }
    }
}

#[test]
fn one_of_two_logs_that_turns_out_to_be_unreadable_when_there_is_room_is_not_outdone_by_the_other_one() {
    for spoilt in ["a", "b"] {
        let folder = with(holds(3), moved(5, "a"));
        take_room(folder.path(), "a");
        let all = in_directories(folder.path(), &NAMES).unwrap();
        let (topic, settings) = topic(folder.path());
        all.host(&topic, &settings, 0).unwrap_err();
        give_room(folder.path(), "a");
        spoil(&folder.path().join(spoilt).join(LOG));
        for _ in 0..2 {
            all.host(&topic, &settings, 0).unwrap_err();
            assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
        }
        assert!(!directory(&all, spoilt).is_online());
        close(all).ok();
        heal(&folder.path().join(spoilt).join(LOG));
        assert_eq!(served(folder.path()), Some(("b".to_owned(), 5)));
    }
}

/// Where the log in a directory begins, as its checkpoint says.
fn begins(folder: &Path, directory: &str, at: i64) {
    fs::write(folder.join(directory).join("log-start-offset-checkpoint"), format!("0\n1\nt 0 {at}\n")).unwrap();
}

#[test]
fn one_of_two_logs_that_is_taken_away_while_there_is_no_room_is_not_made_anew() {
    let folder = with(holds(5), moved(3, "a"));
    begins(folder.path(), "a", 4);
    take_room(folder.path(), "b");
    let all = in_directories(folder.path(), &NAMES).unwrap();
    let (topic, settings) = topic(folder.path());
    all.host(&topic, &settings, 0).unwrap_err();
    give_room(folder.path(), "b");
    fs::rename(folder.path().join("a/t-0"), folder.path().join("taken")).unwrap();
    all.host(&topic, &settings, 0).unwrap();
    let partition = all.find("t", 0).unwrap();
    assert_eq!((partition.home().path(), partition.positions().log_end), (&*folder.path().join("b"), Offset(3)));
    assert!(!folder.path().join("a/t-0").exists());
}

#[test]
fn two_logs_that_are_both_taken_away_while_there_is_no_room_are_not_made_anew() {
    let folder = with(holds(5), moved(3, "a"));
    take_room(folder.path(), "b");
    let all = in_directories(folder.path(), &NAMES).unwrap();
    let (topic, settings) = topic(folder.path());
    all.host(&topic, &settings, 0).unwrap_err();
    for directory in ["a", "b"] {
        fs::rename(folder.path().join(directory).join("t-0"), folder.path().join(directory).join("taken")).unwrap();
    }
    for _ in 0..2 {
        all.host(&topic, &settings, 0).unwrap_err();
        assert!(["a", "b"].iter().all(|directory| !folder.path().join(directory).join("t-0").exists()));
    }
}

#[test]
fn two_logs_of_which_one_has_lost_its_volume_while_there_is_no_room_wait_for_both() {
    for (lost, is_link) in [("a", false), ("a/t-0", true)] {
        let folder = with(holds(5), moved(3, "a"));
        begins(folder.path(), "a", 4);
        let (lost, volume) = (folder.path().join(lost), folder.path().join("volume"));
        if is_link {
            fs::rename(&lost, &volume).unwrap();
            std::os::unix::fs::symlink(&volume, &lost).unwrap();
        }
        take_room(folder.path(), "b");
        let all = in_directories(folder.path(), &NAMES).unwrap();
        let (topic, settings) = topic(folder.path());
        all.host(&topic, &settings, 0).unwrap_err();
        give_room(folder.path(), "b");
        match is_link {
            true => fs::rename(&volume, folder.path().join("unmounted")).unwrap(),
            // What it was mounted on is there still.
            false => {
                fs::rename(&lost, &volume).unwrap();
                fs::create_dir(&lost).unwrap();
            }
        }
        for _ in 0..2 {
            all.host(&topic, &settings, 0).unwrap_err();
            assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
        }
        drop(all);
        assert!(folder.path().join("b").join(LOG).exists() && !folder.path().join("a").join(LOG).exists());
        match is_link {
            true => fs::rename(folder.path().join("unmounted"), &volume).unwrap(),
            false => {
                fs::remove_dir(&lost).unwrap();
                fs::rename(&volume, &lost).unwrap();
            }
        }
        assert_eq!(served(folder.path()), Some(("a".to_owned(), 5)));
    }
}

#[test]
fn of_two_logs_the_other_one_stays_where_the_directory_of_the_better_one_fails_while_they_are_opened() {
    for (better, other, is_gone) in [("a", "b", false), ("b", "a", false), ("a", "b", true), ("b", "a", true)] {
        let folder = tempfile::tempdir().unwrap();
        let all = in_directories(folder.path(), &NAMES).unwrap();
        let opened = [(better, 5), (other, 3)].map(|(name, records)| {
            fs::create_dir(folder.path().join(name).join("t-0")).unwrap();
            let mut log = open_log(&folder.path().join(name), LogConfig::default());
            for offset in 0..records {
                log.append_follower(&one_record(BatchBuilder::new().base_offset(Offset(offset))).build().unwrap(), 0)
                    .unwrap();
            }
            (directory(&all, name).clone(), log)
        });
        match is_gone {
            true => fs::rename(folder.path().join(better), folder.path().join("gone")).unwrap(),
            false => directory(&all, better).on_error(&StorageError::io("read", folder.path())(Errno::IO.into())),
        }
        let again = settle_opened(&TopicPartition::new("t", 0), opened.into());
        assert!(matches!(again, Again::Unreadable(_)) && !directory(&all, better).is_online());
        assert!(folder.path().join(other).join(LOG).exists(), "it may be the last");
    }
}

#[test]
fn a_topic_that_is_deleted_while_there_is_no_room_for_its_two_logs_takes_both_with_it() {
    let folder = with(holds(3), moved(5, "a"));
    take_room(folder.path(), "b");
    let all = in_directories(folder.path(), &NAMES).unwrap();
    let (old, settings) = topic(folder.path());
    all.host(&old, &settings, 0).unwrap_err();
    all.drop_topic("t", 0);
    assert!(["a", "b"].iter().all(|directory| !folder.path().join(directory).join("t-0").exists()));
    all.host(&Topic { id: Uuid(8), ..old }, &settings, 0).unwrap();
    assert_eq!(all.find("t", 0).unwrap().positions().log_end, Offset(0));
}

#[test]
fn what_is_settled_when_there_is_room_is_not_served_beside_a_directory_that_may_have_a_better_one() {
    let folder = with(holds(3), moved(5, "a"));
    take_room(folder.path(), "b");
    close(in_directories(folder.path(), &["metadata", "c"]).unwrap()).unwrap();
    format_blank(folder.path(), "c");
    spoil(&folder.path().join("c/meta.properties"));
    let all = in_directories(folder.path(), &["metadata", "a", "b", "c"]).unwrap();
    let (mut topic, settings) = topic(folder.path());
    let registration = ottla_metadata::image::Partition { directories: vec![Uuid(47)], ..registration() };
    topic.partitions.insert(PartitionIndex(0), Arc::new(registration));
    all.host(&topic, &settings, 0).unwrap_err();
    give_room(folder.path(), "b");
    for _ in 0..2 {
        all.host(&topic, &settings, 0).unwrap_err();
        assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
    }
    all.purge_doomed(i64::MAX).unwrap();
    assert!(folder.path().join("b").join(LOG).exists() && is_left(&folder.path().join("a")), "nobody is served");
}

fn directory<'a>(all: &'a Partitions, name: &str) -> &'a Arc<Directory> {
    all.directories().iter().find(|directory| directory.path().ends_with(name)).unwrap()
}
