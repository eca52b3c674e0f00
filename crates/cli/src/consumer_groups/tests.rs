//! What the tool shows and refuses, without a cluster.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use ottla_base::TopicPartition;
use ottla_protocol::ErrorCode;

use super::csv::Record;
use super::{Arguments, Failure, delete, describe, list, reset};
use crate::client::group_offsets::{Committed, Offsets};
use crate::client::groups::{Description, Listed, Member};
use crate::client::{Address, Error};
use crate::screen::Screen;
use crate::test_line;

fn said(failure: Failure) -> String {
    match failure {
        Failure::Usage(message) => message,
        Failure::Failed { message, .. } => format!("failed: {message}"),
    }
}

fn check_usage(line: &str, expected: &Expect) {
    let shown = match test_line::arguments::<Arguments>(line).check() {
        Ok(action) => format!("{action:?}"),
        Err(failure) => said(failure),
    };
    expected.assert_eq(&shown);
}

#[test]
fn arguments_that_do_not_fit_are_refused_in_kafkas_words() {
    check_usage("--bootstrap-server a:1 --list --state --type", &expect!["List"]);
    check_usage("--bootstrap-server a:1 --describe --group g --state --verbose", &expect!["Describe"]);
    check_usage("--validate-regex a", &expect!["ValidateRegex"]);
    check_usage("--list", &expect![[r#"Missing required argument "[bootstrap-server]""#]]);
    check_usage(
        "--bootstrap-server a:1",
        &expect![
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex"
        ],
    );
    check_usage(
        "--bootstrap-server a:1 --describe",
        &expect!["Option [describe] takes one of these options: [group], [all-groups]"],
    );
    check_usage(
        "--bootstrap-server a:1 --describe --group g --members --state",
        &expect!["Option [describe] takes at most one of these options: [members], [offsets], [state]"],
    );
    check_usage(
        "--bootstrap-server a:1 --describe --group g --state stable",
        &expect!["Option [describe] does not take a value for [state]"],
    );
    check_usage(
        "--bootstrap-server a:1 --delete --group g --topic t",
        &expect!["The consumer does not support topic-specific offset deletion from a consumer group."],
    );
    check_usage(
        "--bootstrap-server a:1 --delete-offsets --group g",
        &expect!["Option [delete-offsets] takes the following options: [group], [topic]"],
    );
    check_usage(
        "--bootstrap-server a:1 --reset-offsets --group g --dry-run --execute",
        &expect!["Option [reset-offsets] only accepts one of [execute] and [dry-run]"],
    );
    check_usage(
        "--bootstrap-server a:1 --reset-offsets --group g --to-earliest --shift-by -3",
        &expect![[r#"Option "[to-earliest]" can't be used with option "[shift-by]""#]],
    );
    check_usage(
        "--bootstrap-server a:1 --describe --group g --all-groups",
        &expect![[r#"Option "[group]" can't be used with option "[all-groups]""#]],
    );
    check_usage(
        "--bootstrap-server a:1 --describe --group g --topic t",
        &expect![[r#"Option "[topic]" can't be used with option "[describe]""#]],
    );
    check_usage(
        "--bootstrap-server a:1 --list --members",
        &expect!["Options --members, --offsets and --verbose are only for --describe"],
    );
}

fn check(screen: &Screen, expected: &Expect) {
    // Kafka pads the last columns of some tables; visible here.
    let shown = format!("{}{}", screen.out.replace(" \n", "·\n"), screen.notes);
    expected.assert_eq(&shown);
}

fn partitions(text: &str) -> Vec<TopicPartition> {
    text.split_whitespace().map(|partition| TopicPartition::parse(partition).unwrap()).collect()
}

fn offsets(of: &[(&str, i64, Option<i32>)]) -> Offsets {
    let committed = of.iter().map(|(partition, offset, leader_epoch)| {
        let partition = TopicPartition::parse(partition).unwrap();
        (partition, Committed { offset: *offset, leader_epoch: *leader_epoch })
    });
    committed.collect()
}

/// A group of two members, one of which has a static id; nobody has the last partition.
fn known(state: &str) -> describe::Known {
    let member = |id: &str, instance: Option<&str>, assignment| Member {
        id: id.to_owned(),
        instance_id: instance.map(str::to_owned),
        client_id: "c".to_owned(),
        host: "/127.0.0.1".to_owned(),
        assignment: partitions(assignment),
        ..Member::default()
    };
    let group = Description {
        state: state.to_owned(),
        assignor: "range".to_owned(),
        coordinator: (1, Address { host: "localhost".to_owned(), port: 9092 }),
        members: vec![member("one", None, "t-1"), member("another", Some("static"), "u-0 t-2 t-0")],
        epochs: None,
    };
    let committed = offsets(&[("t-0", 3, Some(7)), ("t-1", 5, None), ("old-0", 1, None)]);
    let ends = [("t-0", 10), ("t-1", 5), ("t-2", 0)];
    describe::Known {
        groups: BTreeMap::from([("g".to_owned(), group)]),
        committed: BTreeMap::from([("g".to_owned(), committed)]),
        ends: ends.map(|(partition, end)| (TopicPartition::parse(partition).unwrap(), end)).into(),
    }
}

#[test]
fn offsets_are_shown_by_member() {
    let mut screen = Screen::default();
    describe::show_offsets(&known("Stable"), false, &mut screen);
    check(
        &screen,
        &expect![[r#"

        GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID
        g               t               0          3               10              7               another         /127.0.0.1      c
        g               t               2          -               0               -               another         /127.0.0.1      c
        g               u               0          -               -               -               another         /127.0.0.1      c
        g               t               1          5               5               0               one             /127.0.0.1      c
        g               old             0          1               -               -               -               -               -
    "#]],
    );
    let mut screen = Screen::default();
    describe::show_offsets(&known("PreparingRebalance"), true, &mut screen);
    check(
        &screen,
        &expect![[r#"

        GROUP           TOPIC           PARTITION  LEADER-EPOCH    CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID
        g               t               0          7               3               10              7               another         /127.0.0.1      c
        g               t               2          -               -               0               -               another         /127.0.0.1      c
        g               u               0          -               -               -               -               another         /127.0.0.1      c
        g               t               1          -               5               5               0               one             /127.0.0.1      c
        g               old             0          -               1               -               -               -               -               -

        Warning: Consumer group 'g' is rebalancing.
    "#]],
    );
    let mut screen = Screen::default();
    describe::show_offsets(&known("Dead"), false, &mut screen);
    check(
        &screen,
        &expect![[r#"

        Error: Consumer group 'g' does not exist.
    "#]],
    );
}

#[test]
fn members_are_shown_with_what_they_have() {
    let known = known("Stable");
    let mut screen = Screen::default();
    describe::show_members("g", &known.groups["g"], true, &mut screen);
    check(
        &screen,
        &expect![[r#"

        GROUP           CONSUMER-ID     GROUP-INSTANCE-ID HOST            CLIENT-ID       #PARTITIONS     CURRENT-EPOCH   CURRENT-ASSIGNMENT   TARGET-EPOCH    TARGET-ASSIGNMENT  ·
        g               one                               /127.0.0.1      c               1               -               t:1                  -               -                  ·
        g               another         static            /127.0.0.1      c               3               -               t:0,2;u:0            -               -                  ·
    "#]],
    );
    let mut group = Description { state: "Empty".to_owned(), members: Vec::new(), ..known.groups["g"].clone() };
    let mut screen = Screen::default();
    describe::show_members("a-group-with-a-long-name", &group, false, &mut screen);
    check(
        &screen,
        &expect![[r#"

        GROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS    ·

        Consumer group 'a-group-with-a-long-name' has no active members.
    "#]],
    );
    group.epochs = Some((4, 3));
    group.state = "Assigning".to_owned();
    group.members = [(0, Some(true)), (1, Some(false))]
        .map(|(epoch, upgraded)| Member { target: Some((partitions("t-0"), epoch)), upgraded, ..Member::default() })
        .to_vec();
    let mut screen = Screen::default();
    describe::show_members("g", &group, true, &mut screen);
    check(
        &screen,
        &expect![[r#"

        GROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     CURRENT-EPOCH   CURRENT-ASSIGNMENT   TARGET-EPOCH    TARGET-ASSIGNMENT    UPGRADED
        g                                                               0               0               -                    3               t:0                  true
        g                                                               0               1               -                    3               t:0                  false

        Warning: Consumer group 'g' is rebalancing.
    "#]],
    );
}

#[test]
fn states_are_shown_with_the_coordinator() {
    let mut screen = Screen::default();
    describe::show_state("g", &known("Stable").groups["g"], false, &mut screen);
    describe::show_state("g", &known("Stable").groups["g"], true, &mut screen);
    check(
        &screen,
        &expect![[r#"

        GROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                #MEMBERS
        g               localhost:9092  (1)       range                Stable               2

        GROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                GROUP-EPOCH     TARGET-ASSIGNMENT-EPOCH   #MEMBERS
        g               localhost:9092  (1)       range                Stable               -               -                         2
    "#]],
    );
}

#[test]
fn a_list_has_the_columns_that_are_asked_for() {
    let listed = |id: &str, group_type: &str, state: &str| Listed {
        id: id.to_owned(),
        protocol_type: "consumer".to_owned(),
        group_type: group_type.to_owned(),
        state: state.to_owned(),
    };
    let mut screen = Screen::default();
    let all = [listed("g", "classic", "Stable"), listed("a-group-with-a-long-name", "", "")];
    list::show(&all, true, true, &mut screen);
    list::show(&[], false, true, &mut screen);
    check(
        &screen,
        &expect![[r#"
        GROUP                              TYPE                 STATE              ·
        g                                  Classic              Stable             ·
        a-group-with-a-long-name           Unknown              Unknown            ·
        GROUP                     STATE              ·
    "#]],
    );
}

#[test]
fn new_offsets_are_shown_as_a_table_or_as_csv() {
    let plan = vec![(TopicPartition::new("t", 0), 5), (TopicPartition::new("a-topic-with-a-long-name", 11), 0)];
    let plans = [("g".to_owned(), plan), ("none".to_owned(), reset::Plan::new())];
    let mut screen = Screen::default();
    reset::show(&plans, &mut screen);
    reset::export(&plans[..1], true, &mut screen);
    reset::export(&plans, false, &mut screen);
    check(
        &screen,
        &expect![[r#"

        GROUP           TOPIC                    PARTITION  NEW-OFFSET
        g               t                        0          5
        g               a-topic-with-a-long-name 11         0
        t,0,5
        a-topic-with-a-long-name,11,0

        g,t,0,5
        g,a-topic-with-a-long-name,11,0

    "#]],
    );
}

#[test]
fn new_offsets_stay_within_the_log() {
    let partition = TopicPartition::new("t", 0);
    let mut screen = Screen::default();
    let clamped = [1, 2, 5, 6].map(|offset| reset::within(&partition, offset, 2, 5, &mut screen));
    assert_eq!(clamped, [2, 2, 5, 5]);
    check(
        &screen,
        &expect![[r#"
        WARN New offset (1) is lower than earliest offset for topic partition t-0. Value will be set to 2
        WARN New offset (6) is higher than latest offset for topic partition t-0. Value will be set to 5
    "#]],
    );
}

#[test]
fn offsets_are_shifted_from_what_is_committed() {
    let committed = offsets(&[("t-0", 3, None)]);
    let shifted = reset::shifted(&committed, partitions("t-0"), -2).unwrap();
    assert_eq!(shifted, [(TopicPartition::new("t", 0), 1)]);
    let negative = offsets(&[("t-0", -7, None)]);
    expect!["Cannot shift offset for partition t-0 since there is no current committed offset"]
        .assert_eq(&said(reset::shifted(&negative, partitions("t-0"), 1).unwrap_err()));
    expect!["Cannot shift offset for partition t-1 since there is no current committed offset"]
        .assert_eq(&said(reset::shifted(&committed, partitions("t-0 t-1"), 1).unwrap_err()));
}

#[test]
fn a_plan_is_for_the_group_it_names_or_for_the_only_one() {
    let record = |group: Option<&str>, offset| Record {
        group: group.map(str::to_owned),
        partition: TopicPartition::new("t", 0),
        offset,
    };
    let plan = |records: &[Record], only| reset::plan_of(records.to_vec(), only, "g").map_err(said);
    let expected = |offset| Ok(Some(vec![(TopicPartition::new("t", 0), offset)]));
    assert_eq!(plan(&[record(None, 1), record(None, 2)], true), expected(2));
    assert_eq!(plan(&[record(Some("g"), 1), record(Some("h"), 2)], false), expected(1));
    assert_eq!(plan(&[record(Some("h"), 2)], true), Ok(None));
    assert_eq!(plan(&[record(None, 1)], false), Ok(None));
    assert_eq!(plan(&[record(None, 0), record(None, -5)], true), Err("Invalid negative offset".to_owned()));
    assert_eq!(plan(&[record(Some("h"), -5)], true), Err("Invalid negative offset".to_owned()));
}

#[test]
fn topics_may_come_with_partitions() {
    assert_eq!(reset::read_topic_partitions("t:0,2"), Ok(partitions("t-0 t-2")));
    assert_eq!(reset::read_topic_partitions("t:0,:"), Ok(partitions("t-0")));
    for (text, expected) in [
        ("t:", "Invalid topic arg 't:', expected topic name and partitions"),
        ("t:0:1", "Invalid topic arg 't:0:1', expected topic name and partitions"),
        ("t:x", "Invalid partition 'x' specified in topic arg 't:x''"),
    ] {
        assert_eq!(reset::read_topic_partitions(text), Err(expected.to_owned()));
    }
}

fn refused(code: ErrorCode) -> Error {
    Error::of_code(code.code(), None)
}

#[test]
fn deletions_are_told_apart() {
    let mut screen = Screen::default();
    delete::show_deleted(BTreeMap::from([("a".to_owned(), Ok(())), ("b".to_owned(), Ok(()))]), &mut screen);
    let some = [("a".to_owned(), Ok(())), ("b".to_owned(), Err(refused(ErrorCode::NonEmptyGroup)))];
    delete::show_deleted(BTreeMap::from(some), &mut screen);
    check(
        &screen,
        &expect![[r#"
        Deletion of requested consumer groups ('a', 'b') was successful.

        Error: Deletion of some consumer groups failed:
        * Group 'b' could not be deleted due to: org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty.

        These consumer groups were deleted successfully: 'a'
    "#]],
    );
}

#[test]
fn deleted_offsets_are_shown_by_partition() {
    let done = |partition, result| (("t".to_owned(), partition), result);
    let mut screen = Screen::default();
    delete::show_deleted_offsets("g", None, vec![done(Some(10), Ok(())), done(Some(2), Ok(()))], &mut screen);
    let outcomes = vec![done(Some(0), Ok(())), done(None, Err(refused(ErrorCode::UnknownTopicOrPartition)))];
    delete::show_deleted_offsets("g", Some(ErrorCode::GroupSubscribedToTopic), outcomes, &mut screen);
    let outcomes = vec![done(Some(0), Err(refused(ErrorCode::GroupIdNotFound)))];
    delete::show_deleted_offsets("g", Some(ErrorCode::GroupIdNotFound), outcomes, &mut screen);
    check(
        &screen,
        &expect![[r#"
        Request succeeded for deleting offsets from group g.

        TOPIC           PARTITION  STATUS        ·
        t               10         Successful    ·
        t               2          Successful    ·

        Error: Encountered some partition-level error, see the follow-up details.

        TOPIC           PARTITION  STATUS        ·
        t               -          Error: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does not host this topic-partition.
        t               0          Successful    ·

        Error: The group id does not exist.

        TOPIC           PARTITION  STATUS        ·
        t               0          Error: org.apache.kafka.common.errors.GroupIdNotFoundException: The group id does not exist.
    "#]],
    );
}

/// What is shown where nobody listens.
fn check_unreached(line: &str, expected: &Expect) {
    let arguments = test_line::arguments::<Arguments>(&format!("--bootstrap-server 127.0.0.1:1 {line}"));
    let mut screen = Screen::default();
    let failed = super::execute(&arguments, &mut screen).err().map(said).unwrap_or_default();
    expected.assert_eq(&format!("{}{failed}", screen.out));
}

#[test]
fn that_no_broker_is_reached_is_said_in_kafkas_words() {
    check_unreached(
        "--list",
        &expect![
            "failed: java.util.concurrent.ExecutionException: org.apache.kafka.common.KafkaException: Failed to find brokers to send ListGroups"
        ],
    );
    check_unreached(
        "--describe --group g",
        &expect![
            "failed: org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: describeConsumerGroups(api=FIND_COORDINATOR)"
        ],
    );
    check_unreached(
        "--reset-offsets --group g --topic t --to-earliest --dry-run",
        &expect![
            "failed: java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: describeConsumerGroups(api=FIND_COORDINATOR)"
        ],
    );
    check_unreached(
        "--delete --group g",
        &expect![[r#"

            Error: Deletion of some consumer groups failed:
            * Group 'g' could not be deleted due to: org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: deleteConsumerGroups(api=FIND_COORDINATOR)
        "#]],
    );
    check_unreached(
        "--delete-offsets --group g --topic t --topic u:0",
        &expect![[r#"

        Error: Encountered some unknown error: REQUEST_TIMED_OUT

        TOPIC           PARTITION  STATUS         
        t               -          Error: org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: listNodes
        u               0          Error: org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: offsetDelete(api=FIND_COORDINATOR)
    "#]],
    );
}
