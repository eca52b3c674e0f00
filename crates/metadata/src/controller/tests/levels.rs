//! What is written at the levels of metadata.version.

use expect_test::expect;
use ottla_protocol::Writer;

use super::administration::update;
use super::*;
use crate::image::{ELIGIBLE_LEADER_REPLICAS_VERSION, METADATA_VERSION, MIGRATING_DIRECTORY};

/// A life of a cluster of two brokers: what was written, from the bootstrap on.
fn life(level: i16) -> (Cluster, String) {
    let mut cluster = Cluster::at(level, [1, 2]);
    cluster.run(create([new_topic("t", 1, 2)]));
    let (id, epoch) = (BrokerId(1), cluster.epoch_of(1));
    cluster.run(Command::FenceBroker(FenceBroker { id, epoch, controlled_shutdown: true }));
    cluster.start(1, Some(epoch));
    let shown = cluster.log.iter().map(|(record, metadata_version)| show(record, *metadata_version) + "\n").collect();
    (cluster, shown)
}

#[test]
fn the_oldest_level_has_neither_transactions_nor_directories() {
    expect![[r#"
        FeatureLevel(FeatureLevelRecord { name: "metadata.version", feature_level: 7 }) 0
        RegisterBroker 1 1 epoch 1 fenced true
        BrokerRegistrationChange 0 1 epoch 1 fenced -1 in controlled shutdown 0
        RegisterBroker 1 2 epoch 3 fenced true
        BrokerRegistrationChange 0 2 epoch 3 fenced -1 in controlled shutdown 0
        Topic 0 t
        Partition 0 0 on [1, 2] isr [1, 2] leader 1 epochs 0 0 in []
        BrokerRegistrationChange 1 1 epoch 1 fenced 0 in controlled shutdown 1
        PartitionChange 0 0 isr Some([2]) leader 2 recovery -1 eligible None last known None
        BrokerRegistrationChange 0 1 epoch 1 fenced 1 in controlled shutdown 0
        RegisterBroker 1 1 epoch 10 fenced true
        BrokerRegistrationChange 0 1 epoch 10 fenced -1 in controlled shutdown 0
    "#]]
    .assert_eq(&life(7).1);
}

#[test]
fn directories_come_with_their_level_and_eligible_replicas_with_theirs() {
    expect![[r#"
        BeginTransaction(BeginTransactionRecord { name: Some("Bootstrap records") }) 0
        FeatureLevel(FeatureLevelRecord { name: "metadata.version", feature_level: 21 }) 0
        EndTransaction(EndTransactionRecord) 0
        RegisterBroker 3 1 epoch 3 fenced true
        BrokerRegistrationChange 0 1 epoch 3 fenced -1 in controlled shutdown 0
        RegisterBroker 3 2 epoch 5 fenced true
        BrokerRegistrationChange 0 2 epoch 5 fenced -1 in controlled shutdown 0
        Topic 0 t
        Partition 1 0 on [1, 2] isr [1, 2] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6Q, AAAAAAAAAAAAAAAAAAAD6g]
        BrokerRegistrationChange 1 1 epoch 3 fenced 0 in controlled shutdown 1
        PartitionChange 1 0 isr Some([2]) leader 2 recovery -1 eligible None last known None
        BrokerRegistrationChange 0 1 epoch 3 fenced 1 in controlled shutdown 0
        RegisterBroker 3 1 epoch 12 fenced true
        BrokerRegistrationChange 0 1 epoch 12 fenced -1 in controlled shutdown 0
    "#]]
    .assert_eq(&life(21).1);
    expect![[r#"
        BeginTransaction(BeginTransactionRecord { name: Some("Bootstrap records") }) 0
        FeatureLevel(FeatureLevelRecord { name: "metadata.version", feature_level: 25 }) 0
        EndTransaction(EndTransactionRecord) 0
        RegisterBroker 3 1 epoch 3 fenced true
        BrokerRegistrationChange 0 1 epoch 3 fenced -1 in controlled shutdown 0
        RegisterBroker 3 2 epoch 5 fenced true
        BrokerRegistrationChange 0 2 epoch 5 fenced -1 in controlled shutdown 0
        Topic 0 t
        Partition 2 0 on [1, 2] isr [1, 2] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6Q, AAAAAAAAAAAAAAAAAAAD6g]
        BrokerRegistrationChange 1 1 epoch 3 fenced 0 in controlled shutdown 1
        PartitionChange 2 0 isr Some([2]) leader 2 recovery -1 eligible None last known None
        BrokerRegistrationChange 0 1 epoch 3 fenced 1 in controlled shutdown 0
        RegisterBroker 3 1 epoch 12 fenced true
        BrokerRegistrationChange 0 1 epoch 12 fenced -1 in controlled shutdown 0
    "#]]
    .assert_eq(&life(25).1);
}

#[test]
fn what_is_written_at_any_level_is_read_as_it_was_decided() {
    for version in MetadataVersion::all() {
        let (cluster, _) = life(version.level());
        let mut from_log = Image::new(CLUSTER_ID);
        for (record, metadata_version) in &cluster.log {
            let mut writer = Writer::default();
            record.encode(crate::records::version(record, *metadata_version), &mut writer);
            let read = MetadataRecord::decode(&writer.buffer).expect("just written");
            from_log.apply(from_log.end(), &read).expect("it was applied before");
        }
        assert_eq!(&from_log, cluster.image(), "{version}");
        let broker = cluster.image().broker(BrokerId(1)).expect("it is registered");
        assert_eq!(broker.log_dirs.is_empty(), version.level() < 17, "{version}");
        let partition = cluster.image().partition("t", PartitionIndex(0)).expect("it is there");
        assert_eq!(partition.directories.contains(&MIGRATING_DIRECTORY), version.level() < 17, "{version}");
        assert_eq!(cluster.image().feature(ELIGIBLE_LEADER_REPLICAS_VERSION), i16::from(version.level() >= 26));
    }
}

#[test]
fn a_leader_gets_a_new_epoch_when_its_isr_shrinks_only_at_the_old_levels() {
    for (level, leader_epoch) in [(7, 1), (11, 1), (12, 0), (33, 0)] {
        let mut cluster = Cluster::at(level, [1, 2]);
        cluster.run(create([new_topic("t", 1, 2)]));
        let partition = |cluster: &Cluster| {
            let partition = cluster.image().partition("t", PartitionIndex(0)).expect("it is there");
            (partition.leader.expect("it has one"), partition.leader_epoch.0, partition.isr.len())
        };
        let (leader, ..) = partition(&cluster);
        let id = BrokerId(3 - leader.0);
        let epoch = cluster.epoch_of(id.0);
        cluster.run(Command::FenceBroker(FenceBroker { id, epoch, controlled_shutdown: false }));
        assert_eq!(partition(&cluster), (leader, leader_epoch, 1), "at level {level}");
    }
}

#[test]
fn a_bootstrap_without_a_metadata_version_that_is_spoken_is_none() {
    let of = |levels: &[(&str, i16)]| {
        let levels: Vec<_> = levels.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
        Bootstrap::of(feature_records(&levels), 1).map(drop)
    };
    assert_eq!(of(&[(METADATA_VERSION, 7)]), Ok(()));
    assert_eq!(of(&[("group.version", 1)]).unwrap_err(), "it finalises no metadata.version");
    for level in [6, 34] {
        assert!(of(&[(METADATA_VERSION, level)]).unwrap_err().contains("not between 7 and 33"));
    }
}

#[test]
fn levels_go_up_and_down_as_kafka_lets_them() {
    let cases = [
        (33, 32, false),
        (33, 30, false),
        (26, 25, true),
        (25, 24, true),
        (26, 23, true),
        (23, 22, false),
        (25, 22, false),
        (21, 17, true),
        (17, 16, false),
        (16, 15, true),
        (14, 13, false),
        (14, 7, false),
        (10, 8, true),
        (12, 11, true),
        (32, 31, false),
        (31, 30, true),
        (8, 7, false),
    ];
    for (from, to, goes) in cases {
        let mut cluster = Cluster::at(from, [1]);
        let (answer, written) = cluster.run(update(&[(METADATA_VERSION, to, UpgradeType::SafeDowngrade)]));
        assert_eq!((answer == Answer::UpdateFeatures(Ok(())), !written.is_empty()), (goes, goes), "{from} to {to}");
        assert_eq!(cluster.image().feature(METADATA_VERSION), if goes { to } else { from });
        // And back up.
        let (answer, _) = cluster.run(update(&[(METADATA_VERSION, from, UpgradeType::Upgrade)]));
        assert_eq!(answer, Answer::UpdateFeatures(Ok(())), "{to} to {from}");
    }
    for (from, to) in [(7, 33), (21, 33), (7, 8), (25, 26)] {
        let (mut cluster, _) = life(from);
        let (answer, _) = cluster.run(update(&[(METADATA_VERSION, to, UpgradeType::Upgrade)]));
        assert_eq!((answer, cluster.image().feature(METADATA_VERSION)), (Answer::UpdateFeatures(Ok(())), to));
        let mut refused = |level, upgrade_type| {
            let before = cluster.image().clone();
            let (answer, _) = cluster.run(update(&[(METADATA_VERSION, level, upgrade_type)]));
            assert_ne!(answer, Answer::UpdateFeatures(Ok(())));
            assert_eq!(*cluster.image(), before);
        };
        refused(34, UpgradeType::Upgrade);
        refused(6, UpgradeType::SafeDowngrade);
        refused(from, UpgradeType::Upgrade);
    }
}

#[test]
fn eligible_replicas_need_their_level() {
    let mut cluster = Cluster::at(21, [1]);
    cluster.check(update(&[(ELIGIBLE_LEADER_REPLICAS_VERSION, 1, UpgradeType::Upgrade)]), &expect![[r#"
        features: 95 The update failed for all features since the following feature had an error: Invalid update version 1 for feature eligible.leader.replicas.version. eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23
    "#]]);
    let both =
        [(ELIGIBLE_LEADER_REPLICAS_VERSION, 1, UpgradeType::Upgrade), (METADATA_VERSION, 33, UpgradeType::Upgrade)];
    cluster.check(
        update(&both),
        &expect![[r#"
        features: ok
        Config 0 4 "" min.insync.replicas = Some("2")
        FeatureLevel(FeatureLevelRecord { name: "eligible.leader.replicas.version", feature_level: 1 }) 0
        FeatureLevel(FeatureLevelRecord { name: "metadata.version", feature_level: 33 }) 0
    "#]],
    );
}
