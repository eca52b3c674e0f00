//! Brokers with several log directories, of which some fail. What is expected of a lost directory was seen in the metadata
//! log of a Kafka 4.4.

use expect_test::expect;

use super::*;
use crate::image::UNASSIGNED_DIRECTORY;

/// The first broker's directories.
const GOOD: Uuid = Uuid(1001);
const BAD: Uuid = Uuid(1002);

fn two_directories(clean_epoch: Option<BrokerEpoch>, log_dirs: &[Uuid]) -> RegisterBroker {
    RegisterBroker { log_dirs: log_dirs.to_vec(), ..registration(1, clean_epoch) }
}

/// A broker with two directories, and the topic `t`, one of its two partitions in each.
fn cluster() -> (Cluster, BrokerEpoch) {
    let mut cluster = Cluster::of_brokers([]);
    let epoch = start(&mut cluster, two_directories(None, &[GOOD, BAD]));
    cluster.run(create([new_topic("t", 2, 1)]));
    let topic_id = cluster.image().topic("t").unwrap().id;
    assert_eq!(directories(&cluster), [UNASSIGNED_DIRECTORY; 2]);
    let placed = |partition, directory| PlacedReplica { topic_id, partition: PartitionIndex(partition), directory };
    let elsewhere = PlacedReplica { topic_id: Uuid(5555), partition: PartitionIndex(0), directory: BAD };
    let replicas = vec![placed(0, GOOD), placed(1, BAD), placed(9, BAD), elsewhere];
    cluster.run(Command::AssignDirectories(AssignDirectories { id: BrokerId(1), epoch, replicas }));
    assert_eq!(directories(&cluster), [GOOD, BAD]);
    (cluster, epoch)
}

fn start(cluster: &mut Cluster, register: RegisterBroker) -> BrokerEpoch {
    let (answer, _) = cluster.run(Command::RegisterBroker(register));
    let Answer::RegisterBroker(Ok(epoch)) = answer else { panic!("{answer:?}") };
    cluster.run(Command::UnfenceBroker(UnfenceBroker { id: BrokerId(1), epoch }));
    epoch
}

fn directories(cluster: &Cluster) -> Vec<Uuid> {
    let topic = cluster.image().topic("t").unwrap();
    topic.partitions.values().map(|partition| partition.directory(BrokerId(1)).unwrap()).collect()
}

fn leaders(cluster: &Cluster) -> Vec<Option<BrokerId>> {
    cluster.image().topic("t").unwrap().partitions.values().map(|partition| partition.leader).collect()
}

fn fail(epoch: BrokerEpoch, directories: &[Uuid]) -> Command {
    Command::FailDirectories(FailDirectories { id: BrokerId(1), epoch, directories: directories.to_vec() })
}

#[test]
fn a_directory_that_failed_takes_its_partitions_with_it() {
    let (mut cluster, epoch) = cluster();
    cluster.check(
        fail(epoch, &[BAD, Uuid(4711)]),
        &expect![[r#"
            broker: ok
            PartitionChange 2 1 isr Some([]) leader -1 recovery -1 eligible Some([1]) last known Some([1])
            BrokerRegistrationChange 2 1 epoch 5 fenced 0 in controlled shutdown 0
        "#]],
    );
    assert_eq!(leaders(&cluster), [Some(BrokerId(1)), None]);
    let image = cluster.image();
    assert_eq!(image.broker(BrokerId(1)).unwrap().log_dirs, [GOOD]);
    let online = |index| image.has_online(BrokerId(1), image.partition("t", PartitionIndex(index)).unwrap());
    assert!(online(0) && !online(1) && image.is_active(BrokerId(1)));
    cluster.check(
        fail(epoch, &[BAD]),
        &expect![[r#"
            broker: ok
        "#]],
    );
    cluster.check(
        fail(BrokerEpoch(epoch.0 - 1), &[BAD]),
        &expect![[r#"
            broker: 77 Expected broker epoch 5, but got broker epoch 4
        "#]],
    );
}

#[test]
fn a_replica_that_had_moved_away_before_its_directory_failed_is_led_again() {
    let (mut cluster, epoch) = cluster();
    cluster.run(fail(epoch, &[BAD]));
    let topic_id = cluster.image().topic("t").unwrap().id;
    let moved = PlacedReplica { topic_id, partition: PartitionIndex(1), directory: GOOD };
    cluster.check(
        Command::AssignDirectories(AssignDirectories { id: BrokerId(1), epoch, replicas: vec![moved] }),
        &expect![[r#"
            broker: ok
            PartitionChange 2 1 isr Some([1]) leader 1 recovery -1 eligible Some([]) last known Some([])
        "#]],
    );
    assert_eq!(leaders(&cluster), [Some(BrokerId(1)); 2]);
    assert_eq!(directories(&cluster), [GOOD; 2]);
}

#[test]
fn nobody_leads_in_a_directory_before_its_broker_has_it_again() {
    let (mut cluster, epoch) = cluster();
    cluster.run(fail(epoch, &[BAD]));
    let elect = Command::ElectLeaders(ElectLeaders { election: Election::Unclean, topics: None });
    cluster.run(elect);
    assert_eq!(leaders(&cluster), [Some(BrokerId(1)), None], "asking for it does not help");
    let epoch = start(&mut cluster, two_directories(Some(epoch), &[GOOD]));
    assert_eq!(leaders(&cluster), [Some(BrokerId(1)), None]);
    start(&mut cluster, two_directories(Some(epoch), &[GOOD, BAD]));
    assert_eq!(leaders(&cluster), [Some(BrokerId(1)); 2]);
}

#[test]
fn a_broker_without_directories_leads_nothing() {
    let (mut cluster, epoch) = cluster();
    cluster.run(fail(epoch, &[BAD, GOOD]));
    assert_eq!(leaders(&cluster), [None; 2]);
    assert!(!cluster.image().is_active(BrokerId(1)));
    start(&mut cluster, two_directories(Some(epoch), &[GOOD, BAD]));
    assert_eq!(leaders(&cluster), [Some(BrokerId(1)); 2]);
}

fn cordon(epoch: BrokerEpoch, directories: &[Uuid]) -> Command {
    Command::CordonDirectories(CordonDirectories { id: BrokerId(1), epoch, directories: directories.to_vec() })
}

#[test]
fn a_broker_whose_directories_are_all_cordoned_gets_no_replicas() {
    let (mut cluster, epoch) = cluster();
    cluster.check(
        cordon(epoch, &[]),
        &expect![[r#"
        broker: ok
        BrokerRegistrationChange 3 1 cordoned Some([])
    "#]],
    );
    cluster.check(
        cordon(epoch, &[]),
        &expect![[r#"
        broker: ok
    "#]],
    );
    cluster.check(
        cordon(epoch, &[BAD]),
        &expect![[r#"
        broker: ok
        BrokerRegistrationChange 3 1 cordoned Some([AAAAAAAAAAAAAAAAAAAD6g])
    "#]],
    );
    cluster.check(
        create([new_topic("one_is_left", 1, 1)]),
        &expect![[r#"
        one_is_left: 1 partitions of 1 {}
        Topic 0 one_is_left
        Partition 2 0 on [1] isr [1] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAAAQ]
    "#]],
    );
    cluster.check(
        cordon(epoch, &[BAD, GOOD]),
        &expect![[r#"
        broker: ok
        BrokerRegistrationChange 3 1 cordoned Some([AAAAAAAAAAAAAAAAAAAD6Q, AAAAAAAAAAAAAAAAAAAD6g])
    "#]],
    );
    cluster.check(create([new_topic("none_is_left", 1, 1)]), &expect![[r#"
        none_is_left: 38 Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log directories cordoned.
    "#]]);
    let topic = MorePartitions { name: "t".to_owned(), count: 3, assignments: None };
    let more = CreatePartitions { topics: vec![topic], validate_only: false, seed: 4 };
    cluster.check(
        Command::CreatePartitions(more),
        &expect![[r#"
            t: 38 All brokers are currently fenced, or have all their log directories cordoned.
        "#]],
    );
    cluster.check(
        cordon(epoch, &[GOOD]),
        &expect![[r#"
        broker: ok
        BrokerRegistrationChange 3 1 cordoned Some([AAAAAAAAAAAAAAAAAAAD6Q])
    "#]],
    );
    cluster.check(
        create([new_topic("one_again", 1, 1)]),
        &expect![[r#"
        one_again: 1 partitions of 1 {}
        Topic 0 one_again
        Partition 2 0 on [1] isr [1] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAAAQ]
    "#]],
    );
}

#[test]
fn a_metadata_version_that_knows_of_no_cordoned_directories_is_told_of_none() {
    let mut cluster = Cluster::empty();
    let feature = |feature_level| FeatureLevelRecord { name: "metadata.version".into(), feature_level };
    for level in [29, 30] {
        cluster.controller.replay(cluster.image().end(), &OwnedRecord::FeatureLevel(feature(level)));
        let epoch = start(&mut cluster, two_directories(None, &[GOOD, BAD]));
        let (answer, written) = cluster.run(cordon(epoch, &[BAD]));
        assert_eq!(answer, Answer::CordonDirectories(Ok(())));
        assert_eq!(written.is_empty(), level < 30, "{written}");
    }
}
