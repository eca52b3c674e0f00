//! What changes between a command and the end of what it asked for.

use std::sync::mpsc;
use std::time::Duration;

use ottla_storage::checkpoint::CLEANER_CHECKPOINT;

use super::super::hosting::{Done, FoundLog};
use super::super::makers::{Changes, Makers};
use super::*;
use crate::metrics::traffic::Counted;

fn carry_out(all: &Partitions, changes: Vec<super::super::hosting::Change>) -> Vec<Done> {
    changes.into_iter().map(|change| all.carry_out(change, 0)).collect()
}

fn folders(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("t-0")).collect();
    names.sort();
    names
}

#[test]
fn a_partition_is_not_served_before_its_log_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let (topic, settings) = topic(folder.path());
    let topic = Arc::new(topic);
    let changes = all.announce(&topic, &settings);
    assert_eq!(changes.len(), 1);
    assert_eq!(all.find("t", 0).err(), Some(ErrorCode::NotLeaderOrFollower));
    assert!(all.announce(&topic, &settings).is_empty(), "it is being made");
    let done = carry_out(&all, changes);
    assert_eq!(all.find("t", 0).err(), Some(ErrorCode::NotLeaderOrFollower), "its name may not be on the disk");
    all.settle(done, 0).unwrap();
    all.find("t", 0).unwrap();
    assert!(all.announce(&topic, &settings).is_empty(), "it is there");
}

#[test]
fn settings_that_change_while_a_log_is_made_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let (topic, settings) = topic(folder.path());
    let topic = Arc::new(topic);
    let done = carry_out(&all, all.announce(&topic, &settings));
    let newer = Arc::new(TopicSettings { segment_bytes: 4711, ..(*settings).clone() });
    all.announce(&topic, &newer);
    all.settle(done, 0).unwrap();
    let partition = all.find("t", 0).unwrap();
    assert!(Arc::ptr_eq(&partition.settings(), &newer));
    assert_eq!(partition.with_log(|log, _| log.config().segment_bytes), 4711);
}

#[test]
fn an_election_while_a_log_is_made_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let (mut topic, settings) = topic(folder.path());
    let done = carry_out(&all, all.announce(&Arc::new(topic.clone()), &settings));
    for epoch in [3, 4] {
        let elected = ottla_metadata::image::Partition { leader_epoch: LeaderEpoch(epoch), ..registration() };
        topic.partitions.insert(PartitionIndex(0), Arc::new(elected));
        assert!(all.announce(&Arc::new(topic.clone()), &settings).is_empty());
    }
    all.settle(done, 0).unwrap();
    let partition = all.find("t", 0).unwrap();
    assert!(partition.end_of_epoch(LeaderEpoch(4), LeaderEpoch(4)).is_ok());
    assert_eq!(partition.end_of_epoch(LeaderEpoch(0), LeaderEpoch(0)), Err(ErrorCode::FencedLeaderEpoch));
}

#[test]
fn whoever_waits_for_a_log_is_told_where_making_it_panics() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let all = Arc::new(partitions(folder.path()));
    // In none of the log directories, which cannot be.
    all.found().insert(TopicPartition::new("t", 0), open_log(elsewhere.path(), LogConfig::default()));
    let makers = Makers::start(Arc::clone(&all)).unwrap();
    let (topic, settings) = topic(folder.path());
    for expected in [Some(ErrorCode::KafkaStorageError), None] {
        let mut changes = Changes::default();
        changes.extend(&topic.name, all.announce(&Arc::new(topic.clone()), &settings));
        let (tell, told) = mpsc::channel();
        makers.begin(changes, move || tell.send(()).unwrap());
        told.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(all.find("t", 0).err(), expected, "it is tried again, as any other");
        // It is not lost sight of, until somebody takes it away.
        assert_eq!(all.found().remove(&TopicPartition::new("t", 0)).is_some(), expected.is_some());
    }
}

#[test]
fn a_topic_that_is_deleted_while_its_log_is_made_makes_room_for_the_next_one() {
    for is_begun in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let all = partitions(folder.path());
        let (old, settings) = topic(folder.path());
        let mut changes = all.announce(&Arc::new(old.clone()), &settings);
        let mut done = if is_begun { carry_out(&all, std::mem::take(&mut changes)) } else { Vec::new() };
        let ended = all.withdraw("t");
        done.extend(carry_out(&all, changes));
        all.settle(done, 0).unwrap();
        all.settle(carry_out(&all, ended), 0).unwrap();
        let left = folders(folder.path());
        assert!(left.iter().all(|name| name.ends_with("-delete")) && left.len() == usize::from(is_begun), "{left:?}");
        let new = Topic { id: Uuid(8), ..old };
        all.host(&new, &settings, 0).unwrap();
        assert_eq!(all.find("t", 0).unwrap().topic_id, Uuid(8));
    }
}

#[test]
fn those_who_hold_a_deleted_partition_are_told_before_its_folder_is_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let held = host(&all, folder.path());
    append(&held, &one_record(BatchBuilder::new())).unwrap();
    let changes = all.withdraw("t");
    let refused = append(&held, &one_record(BatchBuilder::new())).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(folders(folder.path()), ["t-0"]);
    let done = carry_out(&all, changes);
    all.settle(done, 0).unwrap();
    let left = folders(folder.path());
    assert!(left.len() == 1 && left[0].ends_with("-delete"), "{left:?}");
    all.purge_doomed(i64::MAX).unwrap();
    assert!(folders(folder.path()).is_empty());
}

#[test]
fn logs_that_are_being_made_count_where_new_ones_are_spread() {
    let folder = tempfile::tempdir().unwrap();
    let directories = ["a", "b"].map(|name| folder.path().join(name));
    let log_dirs = directories.each_ref().map(|path| path.display().to_string()).join(",");
    let all = partitions(Path::new(&log_dirs));
    let (old, settings) = topic(Path::new(&log_dirs));
    let mut done = Vec::new();
    for number in 0..6 {
        let topic = Topic { name: format!("t-0{number}").as_str().into(), id: Uuid(number + 1), ..old.clone() };
        done.extend(carry_out(&all, all.announce(&Arc::new(topic), &settings)));
    }
    all.settle(done, 0).unwrap();
    assert_eq!(directories.each_ref().map(|path| folders(path).len()), [3, 3]);
}

#[test]
fn a_log_is_not_lost_sight_of_by_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let all = in_two_directories(folder.path()).unwrap();
    let name = TopicPartition::new("t", 0);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _taken = FoundLog::take_up(&all, &name).unwrap();
        assert!(all.found().is_empty());
        panic!("a bug");
    }));
    assert!(panicked.is_err());
    assert_eq!(host(&all, folder.path()).positions().log_end, Offset(1));
}

#[test]
fn what_a_panic_keeps_from_being_led_is_opened_later_from_where_it_began() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let (topic, settings) = topic(folder.path());
    let all = in_two_directories(folder.path()).unwrap();
    let partition = host(&all, folder.path());
    append(&partition, &one_record(BatchBuilder::new())).unwrap();
    partition.delete_records(Some(Offset(1))).unwrap();
    drop((partition, close(all).unwrap()));
    let all = in_two_directories(folder.path()).unwrap();
    let done = carry_out(&all, all.announce(&Arc::new(topic.clone()), &settings));
    let unsettled = all.unsettled(&done);
    // Whoever settles it panics.
    drop(done);
    all.open_later(unsettled, 0);
    assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
    all.host(&topic, &settings, 0).unwrap();
    let positions = all.find("t", 0).unwrap().positions();
    assert_eq!((positions.log_start, positions.log_end), (Offset(1), Offset(2)));
    // What is led stays so.
    all.open_later(all.unsettled(&[]), 0);
    assert!(all.find("t", 0).is_ok());
}

#[test]
fn what_was_counted_of_a_topic_is_kept_when_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let all = partitions(folder.path());
    let (topic, settings) = topic(folder.path());
    all.host(&topic, &settings, 0).unwrap();
    append(&all.find("t", 0).unwrap(), &one_record(BatchBuilder::new())).unwrap();
    let (before, by_topic) = all.totals();
    assert_eq!((before.of(Counted::MessagesIn), by_topic["t"]), (1, before));
    // Whoever looks meanwhile finds no less, at any time.
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !all.totals().1.is_empty() {
                assert_eq!(all.totals().0, before);
            }
        });
        all.withdraw("t");
        looking.join().unwrap();
    });
    assert_eq!(all.totals(), (before, BTreeMap::new()));
}

#[test]
fn a_batch_that_is_packed_anew_counts_as_that_when_it_is_sent_again_too() {
    let folder = tempfile::tempdir().unwrap();
    let partition = lead(folder.path(), open_log(folder.path(), LogConfig::default()));
    let bytes = one_record(BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), 0)).build().unwrap();
    let (batch, _) = Batch::parse(&bytes).unwrap();
    for sent in 1..=2 {
        let check = |_: &Rules<'_>| Ok(Validated { max_timestamp: 1000, repacked: Some(bytes.clone()) });
        let appending = partition.append(&batch, Acks::All, 0, &FrameMemory::new(1 << 20), check);
        assert!(matches!(appending.outcome, Outcome::Done(Ok(_))));
        let totals = partition.traffic.totals();
        assert_eq!([Counted::MessagesIn, Counted::ProduceConversions].map(|counted| totals.of(counted)), [sent; 2]);
    }
}

#[test]
fn a_batch_that_is_packed_anew_is_written_so_where_producers_meet_too() {
    const PRODUCERS: usize = 4;
    const EACH: usize = 2000;
    let folder = tempfile::tempdir().unwrap();
    let partition = lead(folder.path(), open_log(folder.path(), LogConfig::default()));
    let sent = one_record(one_record(BatchBuilder::new())).build().unwrap();
    let packed = one_record(BatchBuilder::new()).build().unwrap();
    let memory = FrameMemory::new(1 << 20);
    let produce = || {
        let (batch, _) = Batch::parse(&sent).unwrap();
        for _ in 0..EACH {
            let check = |_: &Rules<'_>| Ok(Validated { max_timestamp: 1000, repacked: Some(packed.clone()) });
            if partition.append(&batch, Acks::Leader, 0, &memory, check).leaves_others {
                while partition.append_left() {}
            }
        }
    };
    std::thread::scope(|scope| (0..PRODUCERS).for_each(|_| drop(scope.spawn(produce))));
    assert_eq!(partition.serving().unwrap().log.size_bytes(), (PRODUCERS * EACH * packed.len()) as u64);
}

#[test]
fn the_brokers_own_batches_are_counted_where_they_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let partition = lead(folder.path(), open_log(folder.path(), LogConfig::default()));
    let mut builder = BatchBuilder::new();
    builder.push(0, None, Some(&vec![0; 2 << 20]), &[]);
    let bytes = builder.build().unwrap();
    let refused = partition.append_own(&Batch::parse(&bytes).unwrap().0, 0);
    assert_eq!(refused.err(), Some(ErrorCode::MessageTooLarge));
    let totals = partition.traffic.totals();
    let counted = [Counted::ProduceRequests, Counted::BytesRejected].map(|counted| totals.of(counted));
    assert_eq!(counted, [1, bytes.len() as u64]);
}

#[test]
fn new_logs_come_into_no_directory_that_is_cordoned_while_there_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let all = in_two_directories(folder.path()).unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let (mut topic, settings) = topic(folder.path());
    let mut make = |index| {
        topic.partitions.insert(PartitionIndex(index), Arc::new(registration()));
        all.host(&topic, &settings, 0).unwrap();
        all.find("t", index).unwrap().home().path().to_owned()
    };
    all.cordon(std::slice::from_ref(&a));
    assert_eq!((make(0), make(1), make(2)), (b.clone(), b.clone(), b.clone()));
    assert_eq!(all.cordoned_ids(), [all.directories()[0].id().unwrap()]);
    all.cordon(std::slice::from_ref(&b));
    assert_eq!((make(3), make(4), make(5), make(6)), (a.clone(), a.clone(), a.clone(), a.clone()));
    all.cordon(&[a.clone(), b.clone()]);
    assert_eq!((make(7), make(8)), (a.clone(), a.clone()), "they were placed here before");
    all.cordon(&[]);
    assert!(all.cordoned_ids().is_empty());
}

/// Up to where `t-0` is compacted, as the disk and the cleaner have it.
fn compacted_to(all: &Partitions, folder: &Path) -> (Option<Offset>, bool) {
    let name = TopicPartition::new("t", 0);
    let written = checkpoint::read_offsets(&folder.join(CLEANER_CHECKPOINT)).unwrap();
    (written.get(&name).copied(), all.cleaner.has_compacted(folder, &name))
}

#[test]
fn a_new_log_is_not_compacted_to_where_the_last_one_of_its_name_was() {
    // A log that went when a kill came between; one that cannot be opened when its topic goes; a stray; one that is in the way.
    for case in ["gone", "unserved", "stray", "in the way"] {
        let folder = tempfile::tempdir().unwrap();
        let (old, settings) = topic(folder.path());
        let new = Topic { id: Uuid(8), ..old.clone() };
        if case != "gone" {
            let all = partitions(folder.path());
            host(&all, folder.path());
            close(all).unwrap();
        }
        fs::write(folder.path().join(CLEANER_CHECKPOINT), "0\n2\nother 0 3\nt 0 1\n").unwrap();
        let all = partitions(folder.path());
        match case {
            "unserved" => {
                let done = carry_out(&all, all.announce(&Arc::new(old), &settings));
                let unsettled = all.unsettled(&done);
                drop(done);
                all.open_later(unsettled, 0);
                all.drop_topic("t", 0);
            }
            "stray" => all.set_strays_aside(&Image::new("c")),
            _ => {}
        }
        assert_eq!(folders(folder.path()).contains(&"t-0".to_owned()), case == "in the way");
        assert_eq!(compacted_to(&all, folder.path()), (Some(Offset(1)), true), "{case}");
        all.host(&new, &settings, 0).unwrap();
        let partition = all.find("t", 0).unwrap();
        (0..3).for_each(|_| _ = append(&partition, &one_record(BatchBuilder::new())).unwrap());
        assert_eq!(compacted_to(&all, folder.path()), (None, false), "{case}");
        let other = TopicPartition::new("other", 0);
        assert!(all.cleaner.has_compacted(folder.path(), &other), "{case}: that of another log stays");
    }
}

#[test]
fn a_log_is_not_made_before_it_is_forgotten_how_far_the_last_one_was_compacted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(CLEANER_CHECKPOINT), "0\n1\nt 0 1\n").unwrap();
    // Nothing can be written there, twice.
    let obstacle = folder.path().join(CLEANER_CHECKPOINT).with_extension("tmp");
    fs::create_dir(&obstacle).unwrap();
    let all = partitions(folder.path());
    let (topic, settings) = topic(folder.path());
    for _ in 0..2 {
        all.host(&topic, &settings, 0).unwrap_err();
        assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
        assert_eq!((folders(folder.path()).len(), compacted_to(&all, folder.path())), (0, (Some(Offset(1)), true)));
    }
    fs::remove_dir(&obstacle).unwrap();
    all.host(&topic, &settings, 0).unwrap();
    assert_eq!(compacted_to(&all, folder.path()), (None, false));
}

#[test]
fn a_log_that_is_opened_late_is_still_compacted_to_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    one_record_in_b(folder.path());
    let b = folder.path().join("b");
    fs::write(b.join(CLEANER_CHECKPOINT), "0\n1\nt 0 1\n").unwrap();
    let (topic, settings) = topic(folder.path());
    let all = in_two_directories(folder.path()).unwrap();
    let done = carry_out(&all, all.announce(&Arc::new(topic.clone()), &settings));
    let unsettled = all.unsettled(&done);
    drop(done);
    all.open_later(unsettled, 0);
    all.host(&topic, &settings, 0).unwrap();
    assert_eq!(compacted_to(&all, &b), (Some(Offset(1)), true));
}

#[test]
fn a_log_that_is_opened_late_begins_where_it_did_though_its_name_cannot_be_flushed_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let (above, away) = (folder.path().join("above"), folder.path().join("away"));
    let home = above.join("home");
    fs::create_dir_all(&home).unwrap();
    let start = || in_directories(folder.path(), &["above/home"]).unwrap();
    let all = start();
    let held = host(&all, folder.path());
    (0..3).for_each(|_| _ = append(&held, &one_record(BatchBuilder::new())).unwrap());
    held.delete_records(Some(Offset(2))).unwrap();
    drop(held);
    close(all).unwrap();
    fs::write(home.join(CLEANER_CHECKPOINT), "0\n1\nt 0 1\n").unwrap();

    let all = start();
    let (topic, settings) = topic(folder.path());
    let announce = || carry_out(&all, all.announce(&Arc::new(topic.clone()), &settings));
    let done = announce();
    let unsettled = all.unsettled(&done);
    drop(done);
    all.open_later(unsettled, 0);
    let done = announce();
    // Something is in the way when its directory is to be flushed.
    fs::rename(&above, &away).unwrap();
    fs::write(&above, "").unwrap();
    all.settle(done, 0).unwrap_err();
    fs::remove_file(&above).unwrap();
    fs::rename(&away, &above).unwrap();
    assert_eq!(all.find("t", 0).err(), Some(ErrorCode::KafkaStorageError));
    let name = TopicPartition::new("t", 0);
    assert_eq!(all.unopened().get(&name).map(|options| options.log_start_offset), Some(Offset(2)));
    let begins_at = |all: &Partitions| {
        let positions = host(all, folder.path()).positions();
        (positions.log_start, positions.log_end, compacted_to(all, &home))
    };
    let expected = (Offset(2), Offset(3), (Some(Offset(1)), true));
    assert_eq!(begins_at(&all), expected);
    // Killed before anything else is written down.
    drop(all);
    assert_eq!(begins_at(&start()), expected);
}

#[test]
fn nothing_is_kept_of_a_log_whose_topic_went_before_its_name_could_be_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let (above, away) = (folder.path().join("above"), folder.path().join("away"));
    fs::create_dir_all(above.join("home")).unwrap();
    let all = in_directories(folder.path(), &["above/home"]).unwrap();
    let (topic, settings) = topic(folder.path());
    let done = carry_out(&all, all.announce(&Arc::new(topic), &settings));
    let ended = all.withdraw("t");
    fs::rename(&above, &away).unwrap();
    fs::write(&above, "").unwrap();
    all.settle(done, 0).unwrap_err();
    fs::remove_file(&above).unwrap();
    fs::rename(&away, &above).unwrap();
    assert!(all.unopened().is_empty());
    all.settle(carry_out(&all, ended), 0).unwrap();
    let left = folders(&above.join("home"));
    assert!(left.len() == 1 && left[0].ends_with("-delete"), "{left:?}");
}

#[test]
fn what_is_known_of_a_log_is_not_true_of_one_that_is_made_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(CLEANER_CHECKPOINT), "0\n1\nt 0 1\n").unwrap();
    let all = partitions(folder.path());
    let topic_partition = TopicPartition::new("t", 0);
    let known = OpenLog {
        topic_partition: topic_partition.clone(),
        left: Left::Unknown,
        recovery_point: Offset(5),
        log_start_offset: Offset(5),
        now_ms: 0,
        producers: ProducerCount::default(),
    };
    // Its directory has gone offline since.
    all.unopened().insert(topic_partition, known);
    assert_eq!(host(&all, folder.path()).positions().log_start, Offset(0));
    assert_eq!((all.unopened().len(), compacted_to(&all, folder.path())), (0, (None, false)));
}
