//! New clusters, brokers that come and go, producer ids. What is expected was seen in the metadata log of a Kafka 4.4.

use expect_test::expect;
use ottla_protocol::internal::metadata::{BeginTransactionRecord, TopicRecord};

use super::*;

#[test]
fn a_new_cluster_begins_as_kafkas() {
    let mut cluster = Cluster::empty();
    cluster.check(
        Command::Bootstrap(Bootstrap::new(1)),
        &expect![[r#"
        bootstrap: ok
        BeginTransaction(BeginTransactionRecord { name: Some("Bootstrap records") }) 0
        FeatureLevel(FeatureLevelRecord { name: "metadata.version", feature_level: 33 }) 0
        FeatureLevel(FeatureLevelRecord { name: "eligible.leader.replicas.version", feature_level: 1 }) 0
        Config 0 4 "" min.insync.replicas = Some("1")
        EndTransaction(EndTransactionRecord) 0
    "#]],
    );
    assert!(!cluster.image().is_in_transaction());
    cluster.check(
        Command::Bootstrap(Bootstrap::new(1)),
        &expect![[r#"
        bootstrap: ok
    "#]],
    );
}

#[test]
fn a_transaction_that_nobody_ended_is_aborted_before_anything_else() {
    let mut cluster = Cluster::of_brokers([1]);
    let before = cluster.image().clone();
    let begin = BeginTransactionRecord { name: Some("half a migration".into()) };
    let records = [
        MetadataRecord::BeginTransaction(begin),
        MetadataRecord::Topic(TopicRecord { name: "half".into(), topic_id: Uuid(77) }),
    ];
    for record in records {
        cluster.controller.replay(cluster.image().end(), &record);
    }
    assert!(cluster.image().is_in_transaction() && cluster.image().topic("half").is_some());
    cluster.check(
        Command::Bootstrap(Bootstrap::new(1)),
        &expect![[r#"
            bootstrap: ok
            AbortTransaction(AbortTransactionRecord { reason: Some("Controller failover") }) 0
        "#]],
    );
    let mut expected = before;
    expected.advance(cluster.image().end(), LeaderEpoch(0));
    assert_eq!(*cluster.image(), expected);
}

#[test]
fn a_broker_registers_fenced_and_then_leads() {
    let mut cluster = Cluster::of_brokers([]);
    cluster.check(
        Command::RegisterBroker(registration(1, None)),
        &expect![[r#"
        epoch: 5
        RegisterBroker 4 1 epoch 5 fenced true
    "#]],
    );
    assert_eq!(cluster.image().alive_brokers().count(), 0);
    let unfence = |epoch| Command::UnfenceBroker(UnfenceBroker { id: BrokerId(1), epoch: BrokerEpoch(epoch) });
    cluster.check(
        unfence(4),
        &expect![[r#"
        broker: 77 Expected broker epoch 5, but got broker epoch 4
    "#]],
    );
    cluster.check(
        unfence(5),
        &expect![[r#"
        broker: ok
        BrokerRegistrationChange 0 1 epoch 5 fenced -1 in controlled shutdown 0
    "#]],
    );
    cluster.check(
        unfence(5),
        &expect![[r#"
        broker: ok
    "#]],
    );
    let unknown = UnfenceBroker { id: BrokerId(2), epoch: BrokerEpoch(5) };
    cluster.check(
        Command::UnfenceBroker(unknown),
        &expect![[r#"
        broker: 102 No broker registration found for broker id 2
    "#]],
    );
    // The same process again: an amendment, with the same epoch and not fenced.
    cluster.check(
        Command::RegisterBroker(registration(1, None)),
        &expect![[r#"
        epoch: 5
        RegisterBroker 4 1 epoch 5 fenced false
    "#]],
    );
}

#[test]
fn registrations_that_cannot_be_are_refused() {
    let mut cluster = Cluster::of_brokers([1]);
    let mut answers = String::new();
    let mut refuse = |change: &dyn Fn(&mut RegisterBroker)| {
        let mut asked = registration(2, None);
        change(&mut asked);
        let (answer, written) = cluster.run(Command::RegisterBroker(asked));
        answers.push_str(&show_answer(&answer));
        assert_eq!(written, "");
    };
    refuse(&|asked| asked.cluster_id = "other".to_owned());
    refuse(&|asked| asked.log_dirs.clear());
    refuse(&|asked| asked.log_dirs.push(Uuid(99)));
    refuse(&|asked| asked.log_dirs = vec![Uuid(5000), Uuid(5000)]);
    refuse(&|asked| asked.log_dirs = vec![Uuid(1001)]);
    refuse(&|asked| asked.features.clear());
    refuse(&|asked| asked.features.retain(|name, _| name == "metadata.version"));
    refuse(&|asked| asked.features.values_mut().for_each(|range| range.max = 0));
    expect![[r#"
        epoch: 104 Expected cluster ID 8xGTRnzSSFyi9XrNrzr05A, but got cluster ID other
        epoch: 119 No directories specified in request
        epoch: 119 Reserved directory ID in request
        epoch: 119 Duplicate directory ID in request
        epoch: 119 Broker 1 is already registered with directory AAAAAAAAAAAAAAAAAAAD6Q
        epoch: 119 Request features do not contain 'metadata.version'
        epoch: 35 Unable to register because the broker does not support finalized version 1 of eligible.leader.replicas.version. The broker wants a version between 0 and 0, inclusive.
        epoch: 35 Unable to register because the broker does not support finalized version 1 of eligible.leader.replicas.version. The broker wants a version between 0 and 0, inclusive.
    "#]].assert_eq(&answers);
}

#[test]
fn a_clean_stop_keeps_the_only_replica_eligible_and_a_start_elects_it() {
    let mut cluster = Cluster::of_brokers([1]);
    cluster.run(create([new_topic("t", 1, 1)]));
    let epoch = cluster.epoch_of(1);
    let stop = FenceBroker { id: BrokerId(1), epoch, controlled_shutdown: true };
    cluster.check(
        Command::FenceBroker(stop),
        &expect![[r#"
        broker: ok
        BrokerRegistrationChange 1 1 epoch 5 fenced 0 in controlled shutdown 1
        PartitionChange 2 0 isr Some([]) leader -1 recovery -1 eligible Some([1]) last known Some([1])
        BrokerRegistrationChange 0 1 epoch 5 fenced 1 in controlled shutdown 0
    "#]],
    );
    expect![[r#"
        RegisterBroker 4 1 epoch 12 fenced true
        BrokerRegistrationChange 0 1 epoch 12 fenced -1 in controlled shutdown 0
        PartitionChange 2 0 isr Some([1]) leader 1 recovery -1 eligible Some([]) last known Some([])
    "#]]
    .assert_eq(&cluster.start(1, Some(epoch)));
}

#[test]
fn after_a_crash_the_only_replica_is_elected_and_has_nobody_to_recover_from() {
    let mut cluster = Cluster::of_brokers([1]);
    cluster.run(create([new_topic("t", 1, 1)]));
    expect![[r#"
        PartitionChange 2 0 isr Some([]) leader -1 recovery -1 eligible Some([1]) last known Some([1])
        BrokerRegistrationChange 0 1 epoch 5 fenced 1 in controlled shutdown 0
        PartitionChange 2 0 isr None leader -2 recovery -1 eligible Some([]) last known None
        RegisterBroker 4 1 epoch 9 fenced true
        BrokerRegistrationChange 0 1 epoch 9 fenced -1 in controlled shutdown 0
        PartitionChange 2 0 isr Some([1]) leader 1 recovery -1 eligible None last known Some([])
    "#]]
    .assert_eq(&cluster.start(1, Some(BrokerEpoch(0))));
}

#[test]
fn a_follower_takes_over_and_the_old_leader_waits_outside_the_isr() {
    let mut cluster = Cluster::of_brokers([1, 2, 3]);
    let mut topic = new_topic("t", -1, -1);
    topic.assignments = vec![(PartitionIndex(0), vec![BrokerId(1), BrokerId(2)])];
    topic.configs = vec![("min.insync.replicas".to_owned(), Some("2".to_owned()))];
    cluster.run(create([topic]));
    let gone = |cluster: &Cluster, id| {
        let epoch = cluster.epoch_of(id);
        Command::FenceBroker(FenceBroker { id: BrokerId(id), epoch, controlled_shutdown: false })
    };
    let command = gone(&cluster, 1);
    cluster.check(
        command,
        &expect![[r#"
        broker: ok
        PartitionChange 2 0 isr Some([2]) leader 2 recovery -1 eligible Some([1]) last known None
        BrokerRegistrationChange 0 1 epoch 5 fenced 1 in controlled shutdown 0
    "#]],
    );
    let command = gone(&cluster, 2);
    cluster.check(
        command,
        &expect![[r#"
        broker: ok
        PartitionChange 2 0 isr Some([]) leader -1 recovery -1 eligible Some([1, 2]) last known Some([2])
        BrokerRegistrationChange 0 2 epoch 7 fenced 1 in controlled shutdown 0
    "#]],
    );
    expect![[r#"
        PartitionChange 2 0 isr None leader -2 recovery -1 eligible Some([1]) last known None
        RegisterBroker 4 2 epoch 19 fenced true
        BrokerRegistrationChange 0 2 epoch 19 fenced -1 in controlled shutdown 0
    "#]]
    .assert_eq(&cluster.start(2, Some(BrokerEpoch(0))));
    let epoch = cluster.epoch_of(1);
    expect![[r#"
        RegisterBroker 4 1 epoch 22 fenced true
        BrokerRegistrationChange 0 1 epoch 22 fenced -1 in controlled shutdown 0
        PartitionChange 2 0 isr Some([1]) leader 1 recovery -1 eligible Some([]) last known None
    "#]]
    .assert_eq(&cluster.start(1, Some(epoch)));
}

#[test]
fn without_eligible_replicas_the_last_of_the_isr_stays_in_it() {
    let mut cluster = Cluster::empty();
    cluster.run(Command::Bootstrap(bootstrap(&[("metadata.version", 33)])));
    cluster.start(1, None);
    cluster.run(create([new_topic("t", 1, 1)]));
    let epoch = cluster.epoch_of(1);
    let gone = FenceBroker { id: BrokerId(1), epoch, controlled_shutdown: false };
    cluster.check(
        Command::FenceBroker(gone),
        &expect![[r#"
        broker: ok
        PartitionChange 2 0 isr None leader -1 recovery -1 eligible None last known None
        BrokerRegistrationChange 0 1 epoch 3 fenced 1 in controlled shutdown 0
    "#]],
    );
    expect![[r#"
        RegisterBroker 4 1 epoch 9 fenced true
        BrokerRegistrationChange 0 1 epoch 9 fenced -1 in controlled shutdown 0
        PartitionChange 2 0 isr None leader 1 recovery -1 eligible None last known None
    "#]]
    .assert_eq(&cluster.start(1, Some(epoch)));
}

#[test]
fn producer_ids_are_given_in_blocks() {
    let mut cluster = Cluster::of_brokers([1]);
    let epoch = cluster.epoch_of(1);
    let ask = |id, epoch| Command::AllocateProducerIds(AllocateProducerIds { broker: BrokerId(id), epoch });
    cluster.check(
        ask(1, epoch),
        &expect![[r#"
        ids: 1000 from 0
        ProducerIds(ProducerIdsRecord { broker_id: 1, broker_epoch: 5, next_producer_id: 1000 }) 0
    "#]],
    );
    cluster.check(
        ask(1, epoch),
        &expect![[r#"
        ids: 1000 from 1000
        ProducerIds(ProducerIdsRecord { broker_id: 1, broker_epoch: 5, next_producer_id: 2000 }) 0
    "#]],
    );
    cluster.check(
        ask(1, BrokerEpoch(0)),
        &expect![[r#"
        ids: 77 Expected broker epoch 5, but got broker epoch 0
    "#]],
    );
    cluster.check(
        ask(9, epoch),
        &expect![[r#"
        ids: 102 No broker registration found for broker id 9
    "#]],
    );
}
