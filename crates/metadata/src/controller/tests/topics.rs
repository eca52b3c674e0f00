//! Creating, growing and deleting topics. The words of refusals were read from a Kafka 4.4.

use expect_test::expect;

use super::*;

fn with_configs(mut topic: NewTopic, configs: &[(&str, Option<&str>)]) -> NewTopic {
    let own = |text: &str| text.to_owned();
    topic.configs = configs.iter().map(|(key, value)| (own(key), value.map(own))).collect();
    topic
}

fn with_assignments(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let mut topic = new_topic(name, -1, -1);
    let list = |replicas: &[i32]| replicas.iter().copied().map(BrokerId).collect();
    topic.assignments = assignments.iter().map(|(index, replicas)| (PartitionIndex(*index), list(replicas))).collect();
    topic
}

#[test]
fn a_topic_is_written_with_its_configs_before_its_partitions() {
    let mut cluster = Cluster::of_brokers([1]);
    let topic = with_configs(new_topic("t", 2, -1), &[("retention.ms", Some("5")), ("min.insync.replicas", Some("2"))]);
    cluster.check(
        create([topic]),
        &expect![[r#"
        t: 2 partitions of 1 {"min.insync.replicas": "2", "retention.ms": "5"}
        Topic 0 t
        Config 0 2 "t" min.insync.replicas = Some("2")
        Config 0 2 "t" retention.ms = Some("5")
        ClearElr(ClearElrRecord { topic_name: "t" }) 0
        Partition 2 0 on [1] isr [1] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6Q]
        Partition 2 1 on [1] isr [1] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6Q]
    "#]],
    );
    let id = cluster.image().topic("t").expect("it was created").id;
    assert_eq!(cluster.image().topic_by_id(id).map(|topic| &*topic.name), Some("t"));
}

#[test]
fn assignments_are_taken_as_given_and_fenced_brokers_are_not_in_sync() {
    let mut cluster = Cluster::of_brokers([1, 2]);
    cluster.run(Command::RegisterBroker(registration(3, None)));
    cluster.check(
        create([with_assignments("t", &[(1, &[2, 1]), (0, &[3, 2])])]),
        &expect![[r#"
        t: 2 partitions of 2 {}
        Topic 0 t
        Partition 2 0 on [3, 2] isr [2] leader 2 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6w, AAAAAAAAAAAAAAAAAAAD6g]
        Partition 2 1 on [2, 1] isr [2, 1] leader 2 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6g, AAAAAAAAAAAAAAAAAAAD6Q]
    "#]],
    );
}

#[test]
fn topics_are_refused_in_kafkas_words() {
    let mut cluster = Cluster::of_brokers([1]);
    cluster.run(create([new_topic("a.b", 2, 1)]));
    cluster.run(Command::RegisterBroker(registration(5, None)));
    let refused = [
        new_topic("a.b", 1, 1),
        new_topic("a_b", 1, 1),
        new_topic("x y", 1, 1),
        new_topic("__cluster_metadata", 1, 1),
        new_topic("p0", 0, 1),
        new_topic("p-2", -2, 1),
        new_topic("rf0", 0, 0),
        new_topic("rf-2", 1, -2),
        new_topic("rf3", 1, 3),
        NewTopic { replication_factor: 1, ..with_assignments("counts", &[(0, &[1])]) },
        NewTopic { partitions: 1, ..with_assignments("count", &[(0, &[1])]) },
        with_assignments("gap", &[(1, &[1])]),
        with_assignments("index-twice", &[(0, &[1]), (0, &[1])]),
        with_assignments("repeated", &[(0, &[1, 1])]),
        with_assignments("unknown", &[(0, &[7])]),
        with_assignments("nobody", &[(0, &[])]),
        with_assignments("uneven", &[(0, &[1]), (1, &[1, 5])]),
        with_assignments("fenced", &[(0, &[5])]),
        with_configs(new_topic("unknown-config", 1, 1), &[("nope", Some("1"))]),
        with_configs(new_topic("bad-config", 1, 1), &[("retention.ms", Some("abc"))]),
        with_configs(new_topic("null-config", 1, 1), &[("retention.ms", None), ("nope", None)]),
        with_configs(new_topic("long-config", 1, 1), &[("cleanup.policy", Some(&"x".repeat(40_000)))]),
    ];
    cluster.check(create(refused), &expect![[r#"
        a.b: 36 Topic 'a.b' already exists.
        a_b: 17 Topic 'a_b' collides with existing topic: a.b
        x y: 17 Topic name is invalid: 'x y' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'
        __cluster_metadata: 42 Creation of internal topic __cluster_metadata is prohibited.
        p0: 37 Number of partitions was set to an invalid non-positive value.
        p-2: 37 Number of partitions was set to an invalid non-positive value.
        rf0: 38 Replication factor must be larger than 0, or -1 to use the default value.
        rf-2: 38 Replication factor must be larger than 0, or -1 to use the default value.
        rf3: 38 Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 2 broker(s) are registered or some brokers have all their log directories cordoned.
        counts: 42 A manual partition assignment was specified, but replication factor was not set to -1.
        count: 42 A manual partition assignment was specified, but numPartitions was not set to -1.
        gap: 39 partitions should be a consecutive 0-based integer sequence
        index-twice: 39 Found multiple manual partition assignments for partition 0
        repeated: 39 The manual partition assignment includes the broker 1 more than once.
        unknown: 39 The manual partition assignment includes broker 7, but no such broker is registered.
        nobody: 39 The manual partition assignment includes an empty replica list.
        uneven: 39 The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s).
        fenced: 39 All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown.
        unknown-config: 40 Unknown topic config name: nope
        bad-config: 40 Invalid value abc for configuration retention.ms: Not a number of type LONG
        null-config: 40 Null value not supported for topic configs: retention.ms,nope
        long-config: 40 The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.
    "#]]);
}

#[test]
fn no_topic_is_placed_while_all_brokers_are_fenced() {
    let mut cluster = Cluster::of_brokers([]);
    cluster.run(Command::RegisterBroker(registration(1, None)));
    cluster.check(create([new_topic("t", 1, 1)]), &expect![[r#"
        t: 38 Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log directories cordoned.
    "#]]);
}

#[test]
fn a_name_given_twice_is_refused_once_and_names_of_one_request_do_not_collide() {
    let mut cluster = Cluster::of_brokers([1]);
    let twice = new_topic("twice", 1, 1);
    let topics = [twice.clone(), new_topic("c.d", 1, 1), twice.clone(), new_topic("c_d", 1, 1), twice];
    cluster.check(
        create(topics),
        &expect![[r#"
        c.d: 1 partitions of 1 {}
        c_d: 1 partitions of 1 {}
        twice: 42 Duplicate topic name.
        Topic 0 c.d
        Partition 2 0 on [1] isr [1] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6Q]
        Topic 0 c_d
        Partition 2 0 on [1] isr [1] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6Q]
    "#]],
    );
}

#[test]
fn the_same_seed_does_not_give_two_topics_one_id() {
    let mut cluster = Cluster::of_brokers([1]);
    cluster.run(create([new_topic("t", 1, 1)]));
    cluster.run(create([new_topic("u", 1, 1)]));
    assert_ne!(cluster.image().topic("t").map(|topic| topic.id), cluster.image().topic("u").map(|topic| topic.id));
}

#[test]
fn a_request_may_not_create_too_much_at_once() {
    let mut cluster = Cluster::of_brokers([1]);
    let too_many = [new_topic("a", 6000, 1), new_topic("b", 4001, 1)];
    cluster.check(
        create(too_many),
        &expect![[r#"
        a: 44 Excessively large number of partitions per request.
        b: 44 Excessively large number of partitions per request.
    "#]],
    );
    let too_many_records = [new_topic("a", 6000, 1), new_topic("b", 4000, 1)];
    cluster.check(
        create(too_many_records),
        &expect![[r#"
        a: 44 Unable to perform excessively large batch operation.
        b: 44 Unable to perform excessively large batch operation.
    "#]],
    );
    let (answer, _) = cluster.run(create([new_topic("a", 9999, 1)]));
    expect![[r#"
        a: 9999 partitions of 1 {}
    "#]]
    .assert_eq(&show_answer(&answer));
}

#[test]
fn what_is_only_validated_is_not_written() {
    let mut cluster = Cluster::of_brokers([1]);
    let Command::CreateTopics(mut asked) = create([new_topic("t", 3, 1)]) else { unreachable!() };
    asked.validate_only = true;
    cluster.check(
        Command::CreateTopics(asked),
        &expect![[r#"
        t: 3 partitions of 1 {}
    "#]],
    );
    cluster.run(create([new_topic("t", 1, 1)]));
    cluster.check(
        grow(true, &[("t", 2, None)]),
        &expect![[r#"
        t: ok
    "#]],
    );
}

/// A topic, how many partitions it shall have, and the replicas of the additional ones.
type Growth<'a> = (&'a str, i32, Option<&'a [&'a [i32]]>);

fn grow(validate_only: bool, topics: &[Growth<'_>]) -> Command {
    let more = |(name, count, lists): &Growth<'_>| MorePartitions {
        name: (*name).to_owned(),
        count: *count,
        assignments: lists.map(|lists| lists.iter().map(|list| list.iter().copied().map(BrokerId).collect()).collect()),
    };
    Command::CreatePartitions(CreatePartitions { topics: topics.iter().map(more).collect(), validate_only, seed: 4 })
}

#[test]
fn partitions_are_added_or_refused_in_kafkas_words() {
    let mut cluster = Cluster::of_brokers([1, 2]);
    cluster.run(create([new_topic("t", 2, 1), new_topic("u", 1, 1)]));
    cluster.check(
        grow(false, &[("t", 4, None), ("u", 2, Some(&[&[2]]))]),
        &expect![[r#"
        t: ok
        u: ok
        Partition 2 2 on [1] isr [1] leader 1 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6Q]
        Partition 2 3 on [2] isr [2] leader 2 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6g]
        Partition 2 1 on [2] isr [2] leader 2 epochs 0 0 in [AAAAAAAAAAAAAAAAAAAD6g]
    "#]],
    );
    let mut answers = String::new();
    let refused: [Growth<'_>; 9] = [
        ("t", 4, None),
        ("t", 1, None),
        ("nope", 3, None),
        ("t", 6, Some(&[&[1]])),
        ("t", 5, Some(&[&[7]])),
        ("t", 5, Some(&[&[1, 1]])),
        ("t", 5, Some(&[&[1, 2]])),
        ("t", 5, Some(&[&[]])),
        ("t", 10_005, None),
    ];
    for topic in refused {
        let (answer, written) = cluster.run(grow(false, &[topic]));
        answers.push_str(&show_answer(&answer));
        assert_eq!(written, "");
    }
    let (answer, _) = cluster.run(grow(false, &[("t", 5, None), ("u", 2, None), ("t", 6, None)]));
    answers.push_str(&show_answer(&answer));
    expect![[r#"
        t: 37 Topic already has 4 partition(s).
        t: 37 The topic t currently has 4 partition(s); 1 would not be an increase.
        nope: 3
        t: 39 Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.
        t: 39 The manual partition assignment includes broker 7, but no such broker is registered.
        t: 39 The manual partition assignment includes the broker 1 more than once.
        t: 39 The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s).
        t: 39 The manual partition assignment includes an empty replica list.
        t: 44 Excessively large number of additional partitions per request.
        t: 42 Duplicate topic name.
        u: 37 Topic already has 2 partition(s).
    "#]].assert_eq(&answers);
}

#[test]
fn topics_are_deleted_by_name_or_id_unless_named_twice() {
    let mut cluster = Cluster::of_brokers([1]);
    cluster.run(create(["d1", "d2", "d3"].map(|name| new_topic(name, 1, 1))));
    let id = |name: &str| cluster.image().topic(name).expect("it was created").id;
    let by_name = |name: &str| TopicReference { name: Some(name.to_owned()), id: Uuid::ZERO };
    let by_id = |id| TopicReference { name: None, id };
    let both = TopicReference { name: Some("d1".to_owned()), id: id("d1") };
    let requests = [
        vec![by_name("d1"), by_name("d2"), by_name("d1")],
        vec![by_name("d1"), by_id(id("d1"))],
        vec![by_id(id("d1")), by_name("d1"), by_id(id("d1"))],
        vec![by_name("nope"), by_id(Uuid(555)), by_name("nope"), by_id(Uuid(555)), by_id(Uuid::ZERO), both],
        vec![by_name("d3"), by_id(id("d1"))],
    ];
    let mut answers = String::new();
    for topics in requests {
        let (answer, written) = cluster.run(Command::DeleteTopics(DeleteTopics { topics }));
        writeln!(answers, "{}{written}", show_answer(&answer)).unwrap();
    }
    expect![[r#"
        d1, no id: 42 Duplicate topic name.
        d2, id: ok
        RemoveTopic 0

        d1, id: 42 The provided topic name maps to an ID that was already supplied.

        no name, id: 42 Duplicate topic id.
        d1, id: 42 The provided topic name maps to an ID that was already supplied.

        nope, no id: 42 Duplicate topic name.
        no name, id: 42 Duplicate topic id.
        no name, no id: 42 Neither topic name nor id were specified.
        d1, id: 42 You may not specify both topic name and topic id.

        d3, id: ok
        d1, id: ok
        RemoveTopic 0
        RemoveTopic 0

    "#]]
    .assert_eq(&answers);
    assert!(cluster.image().topics().is_empty());
}
