//! Starts that find the log of a partition in two directories, of which one, or what lies in it, cannot be read. Whatever is served
//! meanwhile: once the disk is well again, all records are there.

use super::super::moving::MOVED;
use super::*;

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
    let all = in_directories(folder, &NAMES).unwrap();
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
fn of_two_logs_of_which_one_cannot_be_read_the_other_is_served_where_it_surely_has_all_records() {
    let other = "other-0/00000000000000000000.log";
    let cases = [
        ("both can be read: the one it was moved to", holds(3), moved(3, "a"), None, Some(("b", 3)), ("b", 3)),
        ("both can be read: the one written to last", holds(3), moved(5, "a"), None, Some(("b", 5)), ("b", 5)),
        ("both can be read: the move was taken back", holds(5), moved(3, "a"), None, Some(("a", 5)), ("a", 5)),
        ("what it was moved from", holds(3), moved(5, "a"), Some(("a", LOG)), Some(("b", 5)), ("b", 5)),
        ("what it was moved from, first", moved(5, "b"), holds(3), Some(("b", LOG)), Some(("a", 5)), ("a", 5)),
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
            Some(("b", 5)),
            ("b", 5),
        ),
        (
            "another log beside what it was moved from",
            holds(3),
            moved(5, "a"),
            Some(("a", other)),
            Some(("b", 5)),
            ("b", 5),
        ),
        ("another log beside what it was moved to", holds(3), moved(5, "a"), Some(("b", other)), None, ("b", 5)),
        ("another log beside it, first", moved(5, "b"), holds(3), Some(("a", other)), None, ("a", 5)),
        ("there are two marks", moved(3, "b"), moved(5, "a"), Some(("a", LOG)), None, ("b", 5)),
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
fn what_is_found_beside_a_directory_that_is_offline_is_not_told_to_be_the_replica_that_lies_there() {
    for (b, is_told) in [(holds(3), false), (moved(3, "a"), true)] {
        let folder = with(holds(5), b);
        let all = in_directories(folder.path(), &["metadata", "b"]).unwrap();
        let at_b = all.directories()[1].id().unwrap();
        drop(all);
        let read = |name: &str| MetaProperties::read(&folder.path().join(name)).unwrap().unwrap().directory_id;
        let image = image_with(read("a"));
        let placed = PlacedReplica { topic_id: Uuid(7), partition: PartitionIndex(0), directory: at_b };
        spoil(&folder.path().join("a/meta.properties"));
        let all = in_directories(folder.path(), &NAMES).unwrap();
        let told = all.misplaced_at_start(&image);
        assert_eq!(told, if is_told { vec![placed] } else { Vec::new() });
        assert_eq!(all.misplaced_at_start(&image_with(ottla_metadata::image::UNASSIGNED_DIRECTORY)), [placed]);
        drop(all);
        // The one that is lost is taken out of log.dirs.
        let all = in_directories(folder.path(), &["metadata", "b"]).unwrap();
        assert_eq!(all.misplaced_at_start(&image), [placed]);
    }
}
