//! Quotas, elections, reassignments, features, brokers that are forgotten. The words of refusals were read from a Kafka
//! 4.4.

use expect_test::expect;

use super::*;

fn quotas(entity: &[(&str, Option<&str>)], changes: &[(&str, Option<f64>)]) -> QuotaAlteration {
    let part = |(kind, name): &(&str, Option<&str>)| ((*kind).to_owned(), name.map(str::to_owned));
    let change = |(key, value): &(&str, Option<f64>)| QuotaChange { key: (*key).to_owned(), value: *value };
    QuotaAlteration { entity: entity.iter().map(part).collect(), changes: changes.iter().map(change).collect() }
}

fn alter(entries: impl IntoIterator<Item = QuotaAlteration>) -> Command {
    Command::AlterClientQuotas(AlterClientQuotas {
        entries: entries.into_iter().collect(),
        validate_only: false,
        unresolved: ["nowhere".to_owned()].into(),
    })
}

#[test]
fn only_quotas_that_change_are_written() {
    let mut cluster = Cluster::of_brokers([1]);
    let client_of_a: &[_] = &[("user", Some("a")), ("client-id", None)];
    let set = || quotas(client_of_a, &[("producer_byte_rate", Some(1000.0)), ("request_percentage", Some(12.5))]);
    cluster.check(
        alter([set(), quotas(&[("ip", None)], &[("connection_creation_rate", Some(7.0))])]),
        &expect![[r#"
            [("client-id", None), ("user", Some("a"))]: ok
            [("ip", None)]: ok
            ClientQuota 0 client-id=<default> user=a producer_byte_rate = 1000
            ClientQuota 0 client-id=<default> user=a request_percentage = 12.5
            ClientQuota 0 ip=<default> connection_creation_rate = 7
        "#]],
    );
    let (_, written) = cluster.run(alter([set()]));
    assert_eq!(written, "", "nothing changes");
    cluster.check(
        alter([quotas(client_of_a, &[("request_percentage", None), ("consumer_byte_rate", None)])]),
        &expect![[r#"
            [("client-id", None), ("user", Some("a"))]: ok
            ClientQuota 0 client-id=<default> user=a request_percentage = away
        "#]],
    );
}

#[test]
fn of_an_entity_that_is_named_twice_the_first_counts_though_it_is_refused() {
    let of_a = |value| quotas(&[("user", Some("a"))], &[("producer_byte_rate", Some(value))]);
    Cluster::of_brokers([1]).check(
        alter([of_a(1.0), of_a(2.0)]),
        &expect![[r#"
            [("user", Some("a"))]: 42 Ignoring duplicate entity ClientQuotaEntity(entries={user=a})
            ClientQuota 0 user=a producer_byte_rate = 1
        "#]],
    );
}

#[test]
fn quotas_are_refused_in_kafkas_words() {
    let mut cluster = Cluster::of_brokers([1]);
    let user: &[_] = &[("user", Some("a"))];
    let rate = "producer_byte_rate";
    let cases = [
        quotas(&[], &[(rate, Some(1.0))]),
        quotas(&[("group", None)], &[(rate, Some(1.0))]),
        quotas(&[("client-id", Some(""))], &[(rate, Some(1.0))]),
        quotas(&[("ip", None), ("user", None)], &[(rate, Some(1.0))]),
        quotas(&[("ip", Some("nowhere"))], &[("connection_creation_rate", Some(1.0))]),
        quotas(&[("ip", Some("1.2.3.4"))], &[("connection_creation_rate", Some(3e9))]),
        quotas(&[("user", Some("b"))], &[(rate, Some(1.0)), (rate, None)]),
        quotas(user, &[("nope", Some(1.0))]),
    ];
    cluster.check(
        alter(cases),
        &expect![[r#"
            []: 42 Invalid empty client quota entity
            [("group", None)]: 42 Unhandled client quota entity type: group
            [("client-id", Some(""))]: 42 Empty client-id not supported
            [("ip", None), ("user", None)]: 42 Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId
            [("ip", Some("nowhere"))]: 42 nowhere is not a valid IP or resolvable host.
            [("ip", Some("1.2.3.4"))]: 42 Proposed value for connection_creation_rate is too large for an INT.
            [("user", Some("b"))]: 42 Ignoring duplicate entity ClientQuotaEntity(entries={user=b})
            [("user", Some("a"))]: 42 Invalid configuration key nope
        "#]],
    );
    for (value, refusal) in [
        (0.0, "must be greater than 0"),
        (-1.0, "must be greater than 0"),
        (f64::NAN, "must be a finite number"),
        (6.5, "cannot be a fractional value."),
        (1e19, "is too large for a LONG."),
    ] {
        let (answer, written) = cluster.run(alter([quotas(user, &[("consumer_byte_rate", Some(value))])]));
        assert!(show_answer(&answer).contains(refusal), "{answer:?}");
        assert_eq!(written, "");
    }
}

fn given(name: &str, replicas: &[i32]) -> Command {
    let replicas = replicas.iter().copied().map(BrokerId).collect();
    create([NewTopic { assignments: vec![(PartitionIndex(0), replicas)], ..new_topic(name, -1, -1) }])
}

fn fence(cluster: &mut Cluster, id: i32) {
    let epoch = cluster.epoch_of(id);
    cluster.run(Command::FenceBroker(FenceBroker { id: BrokerId(id), epoch, controlled_shutdown: false }));
}

fn elect(election: Election, topics: Option<&[&str]>) -> Command {
    let topic = |name: &&str| ((*name).to_owned(), vec![PartitionIndex(0)]);
    Command::ElectLeaders(ElectLeaders { election, topics: topics.map(|topics| topics.iter().map(topic).collect()) })
}

#[test]
fn the_preferred_replica_leads_once_it_is_back_in_sync() {
    let mut cluster = Cluster::of_brokers([1, 2]);
    cluster.run(given("t", &[1, 2]));
    cluster.run(given("u", &[2, 1]));
    cluster.check(
        elect(Election::Preferred, Some(&["t", "none"])),
        &expect![[r#"
            t: 1 partitions
            t-0: 84 Leader election not needed for topic partition.
            none: 1 partitions
            none-0: 3 No such topic as none
        "#]],
    );
    fence(&mut cluster, 1);
    cluster.check(
        elect(Election::Preferred, None),
        &expect![[r#"
            t: 1 partitions
            t-0: 80 The preferred leader was not available.
            u: 0 partitions
        "#]],
    );
}

#[test]
fn an_unclean_election_makes_a_leader_of_whoever_is_there() {
    let mut cluster = Cluster::of_brokers([1, 2]);
    cluster.run(given("t", &[1, 2]));
    fence(&mut cluster, 2);
    fence(&mut cluster, 1);
    cluster.check(
        elect(Election::Unclean, Some(&["t"])),
        &expect![[r#"
            t: 1 partitions
            t-0: 83 Eligible topic partition leaders are not available.
        "#]],
    );
}

fn reassign(name: &str, target: Option<&[i32]>, allow_replication_factor_change: bool) -> Command {
    let target = target.map(|target| target.iter().copied().map(BrokerId).collect());
    let topics = vec![TopicReassignment { name: name.to_owned(), partitions: vec![(PartitionIndex(0), target)] }];
    Command::AlterPartitionReassignments(AlterPartitionReassignments { topics, allow_replication_factor_change })
}

#[test]
fn a_reassignment_waits_for_its_new_replicas_and_can_be_ended() {
    let mut cluster = Cluster::of_brokers([1, 2, 3]);
    cluster.run(given("t", &[1, 2]));
    cluster.check(
        reassign("t", Some(&[2, 3]), true),
        &expect![[r#"
            t-0: ok
            PartitionChange 2 0 replicas Some([2, 3, 1]) adding Some([3]) removing Some([1]) isr None leader -2 in Some([AAAAAAAAAAAAAAAAAAAD6g, AAAAAAAAAAAAAAAAAAAD6w, AAAAAAAAAAAAAAAAAAAD6Q])
        "#]],
    );
    cluster.check(
        reassign("t", None, true),
        &expect![[r#"
            t-0: ok
            PartitionChange 2 0 replicas Some([2, 1]) adding Some([]) removing Some([]) isr None leader -2 in Some([AAAAAAAAAAAAAAAAAAAD6g, AAAAAAAAAAAAAAAAAAAD6Q])
        "#]],
    );
    cluster.check(
        reassign("t", None, true),
        &expect![[r#"
        t-0: 85
    "#]],
    );
}

#[test]
fn replicas_that_only_go_or_change_places_do_so_at_once() {
    let mut cluster = Cluster::of_brokers([1, 2]);
    cluster.run(given("t", &[1, 2]));
    cluster.check(
        reassign("t", Some(&[2, 1]), false),
        &expect![[r#"
            t-0: ok
            PartitionChange 2 0 replicas Some([2, 1]) adding None removing None isr None leader -2 in Some([AAAAAAAAAAAAAAAAAAAD6g, AAAAAAAAAAAAAAAAAAAD6Q])
        "#]],
    );
    let (_, written) = cluster.run(reassign("t", Some(&[2, 1]), false));
    assert_eq!(written, "", "it is there already");
    cluster.check(
        reassign("t", Some(&[2]), true),
        &expect![[r#"
            t-0: ok
            PartitionChange 2 0 replicas Some([2]) adding None removing None isr Some([2]) leader 2 in Some([AAAAAAAAAAAAAAAAAAAD6g])
        "#]],
    );
}

#[test]
fn reassignments_are_refused_in_kafkas_words() {
    let mut cluster = Cluster::of_brokers([1, 2]);
    cluster.run(given("t", &[1, 2]));
    let mut refused = String::new();
    for (name, target, may) in [
        ("t", Some(&[9][..]), true),
        ("t", Some(&[]), true),
        ("t", Some(&[1, 1]), true),
        ("t", Some(&[1]), false),
        ("none", Some(&[1]), true),
        ("none", None, true),
    ] {
        let (answer, written) = cluster.run(reassign(name, target, may));
        refused.push_str(&show_answer(&answer));
        assert_eq!(written, "");
    }
    expect![[r#"
        t-0: 39 The manual partition assignment includes broker 9, but no such broker is registered.
        t-0: 39 The manual partition assignment includes an empty replica list.
        t-0: 39 The manual partition assignment includes the broker 1 more than once.
        t-0: 38 The replication factor is changed from 2 to 1
        none-0: 3 Unable to find a topic named none.
        none-0: 3 Unable to find a topic named none.
    "#]]
    .assert_eq(&refused);
}

pub(super) fn update(updates: &[(&str, i16, UpgradeType)]) -> Command {
    let update = |(feature, level, upgrade_type): &(&str, i16, UpgradeType)| FeatureUpdate {
        feature: (*feature).to_owned(),
        level: *level,
        upgrade_type: *upgrade_type as i8,
    };
    let updates = updates.iter().map(update).collect();
    let supported = registration(1, None).features;
    Command::UpdateFeatures(UpdateFeatures {
        updates,
        validate_only: false,
        controller: 1,
        supported,
        min_in_sync_replicas: 2,
    })
}

#[test]
fn a_metadata_version_that_others_cannot_hold_is_not_gone_back_from() {
    let mut cluster = Cluster::of_brokers([1]);
    let mut check = |level, upgrade_type, expected: expect_test::Expect| {
        cluster.check(update(&[("metadata.version", level, upgrade_type)]), &expected);
    };
    check(
        32,
        UpgradeType::Upgrade,
        expect![[r#"
        features: 95 The update failed for all features since the following feature had an error: Invalid update version 32 for feature metadata.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.
    "#]],
    );
    check(
        7,
        UpgradeType::SafeDowngrade,
        expect![[r#"
        features: 95 The update failed for all features since the following feature had an error: Unsupported metadata.version downgrade from 33 to 7. Refusing to perform the requested downgrade because it might delete metadata information.
    "#]],
    );
    check(
        7,
        UpgradeType::UnsafeDowngrade,
        expect![[r#"
        features: 95 The update failed for all features since the following feature had an error: Unsupported metadata.version downgrade from 33 to 7. Unsafe metadata downgrade is not supported in this version.
    "#]],
    );
    check(
        6,
        UpgradeType::UnsafeDowngrade,
        expect![[r#"
        features: 95 The update failed for all features since the following feature had an error: Invalid update version 6 for feature metadata.version. Local controller 1 only supports versions 7-33
    "#]],
    );
}

#[test]
fn features_change_all_or_none() {
    let mut cluster = Cluster::of_brokers([1]);
    let eligible = "eligible.leader.replicas.version";
    cluster.check(
        update(&[(eligible, 0, UpgradeType::SafeDowngrade), ("nope", 1, UpgradeType::Upgrade)]),
        &expect![[r#"
            features: 95 The update failed for all features since the following feature had an error: Invalid update version 1 for feature nope. Local controller 1 does not support this feature.
        "#]],
    );
    cluster.check(
        update(&[(eligible, 0, UpgradeType::SafeDowngrade)]),
        &expect![[r#"
            features: ok
            ClearElr(ClearElrRecord { topic_name: "" }) 0
            FeatureLevel(FeatureLevelRecord { name: "eligible.leader.replicas.version", feature_level: 0 }) 0
        "#]],
    );
    cluster.check(
        update(&[(eligible, 1, UpgradeType::Upgrade)]),
        &expect![[r#"
            features: ok
            FeatureLevel(FeatureLevelRecord { name: "eligible.leader.replicas.version", feature_level: 1 }) 0
        "#]],
    );
}

#[test]
fn a_broker_that_is_forgotten_leads_nothing() {
    let mut cluster = Cluster::of_brokers([1, 2]);
    cluster.run(given("t", &[2, 1]));
    cluster.check(
        Command::UnregisterBroker(UnregisterBroker { id: BrokerId(9) }),
        &expect![[r#"
            broker: 102 Broker ID 9 is not currently registered
        "#]],
    );
    let (answer, _) = cluster.run(Command::UnregisterBroker(UnregisterBroker { id: BrokerId(2) }));
    assert_eq!(answer, Answer::UnregisterBroker(Ok(())));
    assert!(cluster.image().broker(BrokerId(2)).is_none());
    let partition = cluster.image().partition("t", PartitionIndex(0)).expect("it is there");
    assert_eq!((partition.leader, partition.replicas.len()), (Some(BrokerId(1)), 2));
}
