//! What the tool shows and refuses, without a cluster.

use expect_test::{Expect, expect};
use ottla_base::Uuid;

use super::change::{Creation, parse_assignment};
use super::describe::{Shown, ShownConfig, ShownPartition, show};
use super::{Arguments, Failure};
use crate::test_line;

fn arguments(line: &str) -> Arguments {
    test_line::arguments(line)
}

fn said(failure: Failure) -> String {
    match failure {
        Failure::Usage(message) => format!("usage: {message}"),
        Failure::Refused(message) => format!("refused: {message}"),
        Failure::NoClient(error) => format!("no client: {}", error.message()),
        Failure::Failed(error) => format!("failed: {error}"),
    }
}

fn check_usage(line: &str, expected: &Expect) {
    let shown = match arguments(line).check() {
        Ok(action) => format!("{action:?}"),
        Err(failure) => said(failure),
    };
    expected.assert_eq(&shown);
}

#[test]
fn arguments_that_do_not_fit_are_refused_in_kafkas_words() {
    check_usage("--bootstrap-server a:1 --list", &expect!["List"]);
    check_usage(
        "--bootstrap-server a:1",
        &expect!["usage: Command must include exactly one action: --list, --describe, --create, --alter or --delete"],
    );
    check_usage(
        "--list --create --topic x",
        &expect!["usage: Command must include exactly one action: --list, --describe, --create, --alter or --delete"],
    );
    check_usage("--list", &expect!["usage: --bootstrap-server must be specified"]);
    check_usage("--bootstrap-server a:1 --create", &expect![[r#"usage: Missing required argument "[topic]""#]]);
    check_usage("--bootstrap-server a:1 --delete", &expect![[r#"usage: Missing required argument "[topic]""#]]);
    check_usage(
        "--bootstrap-server a:1 --alter --topic t",
        &expect![[r#"usage: Missing required argument "[partitions]""#]],
    );
    check_usage(
        "--bootstrap-server a:1 --list --partitions 3",
        &expect![[r#"usage: Option "[partitions]" can't be used with option "[list]""#]],
    );
    check_usage(
        "--bootstrap-server a:1 --create --topic x --if-exists",
        &expect![[r#"usage: Option "[if-exists]" can't be used with option "[create]""#]],
    );
    check_usage(
        "--bootstrap-server a:1 --create --topic x --replica-assignment 1 --partitions 2",
        &expect![[r#"usage: Option "[replica-assignment]" can't be used with option "[partitions]""#]],
    );
    check_usage(
        "--bootstrap-server a:1 --alter --topic x --config a=b --partitions 9",
        &expect![[
            r#"usage: Option combination "[[bootstrap-server], [config]]" can't be used with option "[alter]" (To alter topic configurations, the kafka-configs tool can be used.)"#
        ]],
    );
    check_usage(
        "--bootstrap-server a:1 --describe --under-replicated-partitions --topics-with-overrides",
        &expect![[
            r#"usage: Option "[under-replicated-partitions]" can't be used with option "[topics-with-overrides]""#
        ]],
    );
}

fn check_creation(line: &str, expected: &Expect) {
    let shown = match Creation::from(&arguments(&format!("--create --topic t {line}"))) {
        Ok(creation) => format!("{creation:?}"),
        Err(failure) => said(failure),
    };
    expected.assert_eq(&shown);
}

#[test]
fn what_no_broker_is_needed_for_is_refused_by_the_tool() {
    check_creation(
        "--config retention.ms=-1 --config a=b=c --partitions 2",
        &expect![[
            r#"Creation { name: "t", partitions: Some(2), replication_factor: None, assignment: [], configs: [("retention.ms", "-1"), ("a", "b=c")] }"#
        ]],
    );
    check_creation(
        "--config foo",
        &expect![[
            r#"refused: requirement failed: Invalid topic config: all configs to be added must be in the format "key=val"."#
        ]],
    );
    check_creation("--partitions 0", &expect!["refused: The partitions must be greater than 0"]);
    check_creation("--partitions -1", &expect!["refused: The partitions must be greater than 0"]);
    check_creation(
        "--replica-assignment 1:1",
        &expect!["refused: Partition replica lists may not contain duplicate entries: 1"],
    );
}

#[test]
fn an_assignment_names_the_brokers_of_each_partition() {
    assert_eq!(parse_assignment("1:2,2:3"), Ok(vec![vec![1, 2], vec![2, 3]]));
    assert_eq!(parse_assignment("1,a"), Err("For input string: \"a\"".to_owned()));
    assert_eq!(parse_assignment("1:2,1"), Err("Partition 1 has different replication factor: [1]".to_owned()));
}

fn topic() -> Shown {
    let partition = |index, leader, in_sync: &[i32]| ShownPartition {
        index,
        leader,
        replicas: vec![1, 2],
        in_sync: in_sync.to_vec(),
        eligible: Some(Vec::new()),
        last_known_eligible: Some(Vec::new()),
        reassignment: None,
    };
    let config = |name: &str, value: &str, is_default| ShownConfig {
        name: name.to_owned(),
        value: value.to_owned(),
        is_default,
    };
    let mut moving = partition(3, Some(1), &[1, 2]);
    moving.replicas = vec![1, 2, 3];
    moving.reassignment = Some((vec![3], vec![1]));
    moving.eligible = None;
    moving.last_known_eligible = None;
    Shown {
        name: "t".to_owned(),
        id: Uuid(1),
        partitions: vec![partition(0, Some(1), &[1, 2]), partition(1, None, &[]), partition(2, Some(2), &[2]), moving],
        configs: vec![
            config("min.insync.replicas", "1", false),
            config("cleanup.policy", "delete", true),
            config("retention.ms", "1000", false),
        ],
    }
}

fn check_describe(line: &str, expected: &Expect) {
    let mut out = Vec::new();
    show(&topic(), &arguments(&format!("--describe {line}")), &[1], &mut out);
    expected.assert_eq(&String::from_utf8(out).unwrap().replace('\t', "⇥"));
}

#[test]
fn a_topic_is_described_as_kafka_does() {
    check_describe(
        "",
        &expect![[r#"
            Topic: t⇥TopicId: AAAAAAAAAAAAAAAAAAAAAQ⇥PartitionCount: 4⇥ReplicationFactor: 2⇥Configs: min.insync.replicas=1,retention.ms=1000
            ⇥Topic: t⇥Partition: 0⇥Leader: 1⇥Replicas: 1,2⇥Isr: 1,2⇥Elr: ⇥LastKnownElr: 
            ⇥Topic: t⇥Partition: 1⇥Leader: none⇥Replicas: 1,2⇥Isr: ⇥Elr: ⇥LastKnownElr: 
            ⇥Topic: t⇥Partition: 2⇥Leader: 2⇥Replicas: 1,2⇥Isr: 2⇥Elr: ⇥LastKnownElr: 
            ⇥Topic: t⇥Partition: 3⇥Leader: 1⇥Replicas: 1,2,3⇥Isr: 1,2⇥Adding Replicas: 3⇥Removing Replicas: 1⇥Elr: N/A⇥LastKnownElr: N/A
        "#]],
    );
    check_describe(
        "--topics-with-overrides",
        &expect![[r#"
            Topic: t⇥TopicId: AAAAAAAAAAAAAAAAAAAAAQ⇥PartitionCount: 4⇥ReplicationFactor: 2⇥Configs: min.insync.replicas=1,retention.ms=1000
        "#]],
    );
    check_describe(
        "--under-replicated-partitions",
        &expect![[r#"
            ⇥Topic: t⇥Partition: 1⇥Leader: none⇥Replicas: 1,2⇥Isr: ⇥Elr: ⇥LastKnownElr: 
            ⇥Topic: t⇥Partition: 2⇥Leader: 2⇥Replicas: 1,2⇥Isr: 2⇥Elr: ⇥LastKnownElr: 
        "#]],
    );
    check_describe(
        "--unavailable-partitions",
        &expect![[r#"
            ⇥Topic: t⇥Partition: 1⇥Leader: none⇥Replicas: 1,2⇥Isr: ⇥Elr: ⇥LastKnownElr: 
            ⇥Topic: t⇥Partition: 2⇥Leader: 2⇥Replicas: 1,2⇥Isr: 2⇥Elr: ⇥LastKnownElr: 
        "#]],
    );
    check_describe(
        "--at-min-isr-partitions",
        &expect![[r#"
            ⇥Topic: t⇥Partition: 2⇥Leader: 2⇥Replicas: 1,2⇥Isr: 2⇥Elr: ⇥LastKnownElr: 
        "#]],
    );
    check_describe(
        "--under-min-isr-partitions",
        &expect![[r#"
            ⇥Topic: t⇥Partition: 1⇥Leader: none⇥Replicas: 1,2⇥Isr: ⇥Elr: ⇥LastKnownElr: 
        "#]],
    );
}
