//! Changing configs. The words of refusals were read from a Kafka 4.4.

use expect_test::expect;

use super::administration::update;
use super::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn edits(edits: &[(&str, ConfigOperation, Option<&str>)]) -> ResourceChange {
    let edit = |(key, operation, value): &(&str, ConfigOperation, Option<&str>)| ConfigEdit {
        key: (*key).to_owned(),
        operation: *operation as i8,
        value: value.map(str::to_owned),
    };
    ResourceChange::Edit(edits.iter().map(edit).collect())
}

fn replace(configs: &[(&str, Option<&str>)]) -> ResourceChange {
    ResourceChange::Replace(configs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect())
}

fn alter(resources: impl IntoIterator<Item = (i8, &'static str, ResourceChange)>) -> Command {
    let resource = |(resource_type, name, change): (i8, &str, _)| ResourceAlteration {
        resource_type,
        name: name.to_owned(),
        change,
    };
    Command::AlterConfigs(AlterConfigs {
        resources: resources.into_iter().map(resource).collect(),
        validate_only: false,
        group_limits: group_limits(),
    })
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::of_brokers([1]);
    cluster.run(create(["t", "u"].map(|name| new_topic(name, 1, 1))));
    cluster
}

use ConfigOperation::{Append, Delete, Set, Subtract};

#[test]
fn only_what_changes_is_written_for_a_topic() {
    let mut cluster = cluster();
    let set = || edits(&[("retention.ms", Set, Some("100")), ("segment.ms", Set, Some("7000"))]);
    cluster.check(
        alter([(TOPIC, "t", set())]),
        &expect![[r#"
        2 "t": ok
        Config 0 2 "t" retention.ms = Some("100")
        Config 0 2 "t" segment.ms = Some("7000")
    "#]],
    );
    cluster.check(
        alter([(TOPIC, "t", set())]),
        &expect![[r#"
        2 "t": ok
    "#]],
    );
    let delete = edits(&[("retention.ms", Delete, None), ("flush.ms", Delete, None), ("nope", Delete, None)]);
    cluster.check(
        alter([(TOPIC, "t", delete)]),
        &expect![[r#"
        2 "t": ok
        Config 0 2 "t" retention.ms = None
    "#]],
    );
    cluster.check(
        alter([(TOPIC, "t", edits(&[]))]),
        &expect![[r#"
        2 "t": ok
    "#]],
    );
}

#[test]
fn items_are_added_to_lists_and_taken_out() {
    let mut cluster = cluster();
    let mut steps = String::new();
    for (operation, items) in [
        (Append, "compact"),
        (Append, "compact"),
        (Subtract, "delete"),
        (Subtract, "compact"),
        (Append, "compact,delete"),
    ] {
        let change = edits(&[("cleanup.policy", operation, Some(items))]);
        let (answer, written) = cluster.run(alter([(TOPIC, "t", change)]));
        writeln!(steps, "{}{written}", show_answer(&answer)).unwrap();
    }
    // Of a config that is not set, the default is what is added to or taken from.
    let (_, written) = cluster.run(alter([(TOPIC, "u", edits(&[("cleanup.policy", Subtract, Some("other"))]))]));
    steps.push_str(&written);
    expect![[r#"
        2 "t": ok
        Config 0 2 "t" cleanup.policy = Some("delete,compact")

        2 "t": ok

        2 "t": ok
        Config 0 2 "t" cleanup.policy = Some("compact")

        2 "t": ok
        Config 0 2 "t" cleanup.policy = Some("")

        2 "t": ok
        Config 0 2 "t" cleanup.policy = Some("compact,delete")

        Config 0 2 "u" cleanup.policy = Some("delete")
    "#]]
    .assert_eq(&steps);
    cluster.check(
        alter([(BROKER, "", edits(&[("log.cleanup.policy", Append, Some("compact"))]))]),
        &expect![[r#"
        4 "": ok
        Config 0 4 "" log.cleanup.policy = Some("delete,compact")
    "#]],
    );
}

#[test]
fn replacing_takes_away_what_is_not_named() {
    let mut cluster = cluster();
    cluster.run(alter([(TOPIC, "t", replace(&[("retention.ms", Some("1")), ("flush.ms", Some("2"))]))]));
    cluster.check(
        alter([(TOPIC, "t", replace(&[("flush.ms", Some("2")), ("segment.ms", Some("3"))]))]),
        &expect![[r#"
            2 "t": ok
            Config 0 2 "t" segment.ms = Some("3")
            Config 0 2 "t" retention.ms = None
        "#]],
    );
    cluster.check(
        alter([(TOPIC, "t", replace(&[]))]),
        &expect![[r#"
        2 "t": ok
        Config 0 2 "t" flush.ms = None
        Config 0 2 "t" segment.ms = None
    "#]],
    );
    assert_eq!(cluster.image().config(&crate::image::ConfigResource::topic("t")), None);
}

#[test]
fn changes_are_refused_in_kafkas_words() {
    let mut cluster = cluster();
    let one = |key: &str, value| edits(&[(key, Set, Some(value))]);
    let refused = [
        (TOPIC, "t", one("retention.ms", "abc")),
        (TOPIC, "t", one("nope", "1")),
        (TOPIC, "zip", one("retention.ms", "1")),
        (TOPIC, "", one("retention.ms", "1")),
        (TOPIC, "x y", one("retention.ms", "1")),
        (TOPIC, "x y", edits(&[("retention.ms", Append, Some("5"))])),
        (TOPIC, "t", edits(&[("retention.ms", Set, None), ("cleanup.policy", Append, None)])),
        (TOPIC, "t", edits(&[("retention.ms", Append, Some("5"))])),
        (TOPIC, "t", edits(&[("retention.ms", Subtract, Some("5"))])),
        (TOPIC, "t", edits(&[("retention.ms", Set, Some("5")), ("retention.ms", Delete, None)])),
        (TOPIC, "t", edits(&[("cleanup.policy", Append, Some("other"))])),
        (TOPIC, "t", one("cleanup.policy", "delete,").long()),
        (TOPIC, "t", replace(&[("segment.ms", None)])),
        (0, "t", one("x", "1")),
        (BROKER, "x", one("log.cleaner.threads", "2")),
        (BROKER, "1", edits(&[("log.cleaner.threads", Append, Some("2"))])),
        (BROKER, "1", one("min.insync.replicas", "1")),
        (BROKER, "", edits(&[("min.insync.replicas", Delete, None)])),
        (BROKER, "", replace(&[("log.cleaner.threads", Some("2"))])),
    ];
    let mut answers = String::new();
    for resource in refused {
        let (answer, written) = cluster.run(alter([resource]));
        answers.push_str(&show_answer(&answer));
        assert_eq!(written, "");
    }
    let mut unknown = edits(&[("retention.ms", Set, Some("5"))]);
    let ResourceChange::Edit(list) = &mut unknown else { unreachable!() };
    list[0].operation = 9;
    answers.push_str(&show_answer(&cluster.run(alter([(TOPIC, "t", unknown)])).0));
    expect![[r#"
        2 "t": 40 Invalid value abc for configuration retention.ms: Not a number of type LONG
        2 "t": 40 Unknown topic config name: nope
        2 "zip": 3 The topic 'zip' does not exist.
        2 "": 42 Default topic resources are not allowed.
        2 "x y": 17 Topic name is invalid: 'x y' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'
        2 "x y": 40 Can't APPEND to key retention.ms because its type is not LIST.
        2 "t": 42 Null value not supported for : retention.ms, cleanup.policy
        2 "t": 40 Can't APPEND to key retention.ms because its type is not LIST.
        2 "t": 40 Can't SUBTRACT to key retention.ms because its type is not LIST.
        2 "t": 42 Error due to duplicate config keys
        2 "t": 40 Invalid value other for configuration cleanup.policy: String must be one of: compact, delete
        2 "t": 40 The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.
        2 "t": 42 Null value not supported for : segment.ms
        0 "t": 42 Unknown resource type 0
        4 "x": 42 Node id must be an integer, but it is: x
        4 "1": 40 Can't APPEND to key log.cleaner.threads because its type is not LIST.
        4 "1": 40 Broker-level min.insync.replicas cannot be altered while ELR is enabled.
        4 "": 40 Cluster-level min.insync.replicas cannot be removed while ELR is enabled.
        4 "": 40 Cluster-level min.insync.replicas cannot be removed while ELR is enabled.
        2 "t": 42 Unknown operations type 9
    "#]].assert_eq(&answers);
}

impl ResourceChange {
    fn long(mut self) -> Self {
        if let Self::Edit(edits) = &mut self {
            edits.iter_mut().for_each(|edit| edit.value = edit.value.take().map(|value| value.repeat(9000)));
        }
        self
    }
}

#[test]
fn resources_are_decided_one_by_one_and_each_may_appear_once() {
    let mut cluster = cluster();
    let set = |value| edits(&[("retention.ms", Set, Some(value))]);
    cluster.check(
        alter([(TOPIC, "t", set("abc")), (TOPIC, "u", set("8"))]),
        &expect![[r#"
        2 "t": 40 Invalid value abc for configuration retention.ms: Not a number of type LONG
        2 "u": ok
        Config 0 2 "u" retention.ms = Some("8")
    "#]],
    );
    cluster.check(
        alter([(TOPIC, "t", set("5")), (TOPIC, "t", set("6"))]),
        &expect![[r#"
        2 "t": 42 Each resource must appear at most once.
        2 "t": 42 Each resource must appear at most once.
    "#]],
    );
}

#[test]
fn a_change_of_min_in_sync_replicas_makes_eligible_replicas_void() {
    let mut cluster = cluster();
    let set = |value| {
        edits(&[("min.insync.replicas", Set, Some(value)), ("unclean.leader.election.enable", Set, Some("false"))])
    };
    cluster.check(
        alter([(TOPIC, "t", set("2"))]),
        &expect![[r#"
        2 "t": ok
        Config 0 2 "t" min.insync.replicas = Some("2")
        Config 0 2 "t" unclean.leader.election.enable = Some("false")
        ClearElr(ClearElrRecord { topic_name: "t" }) 0
    "#]],
    );
    cluster.check(
        alter([(BROKER, "", set("2"))]),
        &expect![[r#"
        4 "": ok
        Config 0 4 "" min.insync.replicas = Some("2")
        Config 0 4 "" unclean.leader.election.enable = Some("false")
        ClearElr(ClearElrRecord { topic_name: "" }) 0
    "#]],
    );
    assert_eq!(cluster.image().min_in_sync_replicas("u"), 2);
}

#[test]
fn eligible_replicas_come_with_a_minimum_in_sync_that_is_known() {
    let mut cluster = cluster();
    let eligible = "eligible.leader.replicas.version";
    cluster.run(update(&[(eligible, 0, UpgradeType::SafeDowngrade)]));
    let key = "min.insync.replicas";
    let own = |value| edits(&[(key, Set, Some(value)), ("log.cleaner.threads", Set, Some("2"))]);
    cluster.run(alter([(BROKER, "", edits(&[(key, Delete, None)])), (BROKER, "1", own("3")), (BROKER, "9", own("4"))]));
    let wrong = [(eligible, 1, UpgradeType::Upgrade), ("nope", 1, UpgradeType::Upgrade)];
    assert_eq!(cluster.run(update(&wrong)).1, "", "all or nothing");
    cluster.check(
        update(&[(eligible, 1, UpgradeType::Upgrade)]),
        &expect![[r#"
            features: ok
            Config 0 4 "" min.insync.replicas = Some("2")
            Config 0 4 "1" min.insync.replicas = None
            Config 0 4 "9" min.insync.replicas = None
            FeatureLevel(FeatureLevelRecord { name: "eligible.leader.replicas.version", feature_level: 1 }) 0
        "#]],
    );
    cluster.check(
        update(&[(eligible, 1, UpgradeType::Upgrade)]),
        &expect![[r#"
            features: ok
        "#]],
    );
}

#[test]
fn what_a_broker_sets_is_written_even_if_it_is_the_same() {
    let mut cluster = cluster();
    let set = || alter([(BROKER, "1", edits(&[("log.cleaner.threads", Set, Some("2"))]))]);
    cluster.run(set());
    cluster.check(
        set(),
        &expect![[r#"
        4 "1": ok
        Config 0 4 "1" log.cleaner.threads = Some("2")
    "#]],
    );
}

#[test]
fn groups_and_subscriptions_are_set_within_bounds_or_refused_in_kafkas_words() {
    const GROUP: i8 = 32;
    const CLIENT_METRICS: i8 = 16;
    let mut cluster = cluster();
    cluster.check(
        alter([
            (GROUP, "g", edits(&[("consumer.session.timeout.ms", Set, Some("50000"))])),
            (GROUP, "h", edits(&[("consumer.session.timeout.ms", Set, Some("60001"))])),
            (GROUP, "i", edits(&[("retention.ms", Set, Some("1"))])),
            (GROUP, "j", edits(&[("streams.rack.aware.assignment.tags", Append, Some("a"))])),
            (GROUP, "", edits(&[])),
            (CLIENT_METRICS, "s", edits(&[("interval.ms", Set, Some("100")), ("match", Set, Some("client_id=a.*"))])),
            (CLIENT_METRICS, "t", edits(&[("interval.ms", Set, Some("99"))])),
            (CLIENT_METRICS, "u", edits(&[("match", Set, Some("client_id=(("))])),
            (CLIENT_METRICS, "v", edits(&[("retention.ms", Set, Some("1"))])),
            (CLIENT_METRICS, "", edits(&[])),
        ]),
        &expect![[r#"
            32 "g": ok
            32 "h": 40 consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.
            32 "i": 40 Unknown group config name: retention.ms
            32 "j": 40 Can't APPEND to key streams.rack.aware.assignment.tags because its type is not LIST.
            32 "": 42 Default group resources are not allowed.
            16 "s": ok
            16 "t": 42 Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)
            16 "u": 40 Illegal client matching pattern: client_id=((
            16 "v": 42 Unknown client metrics configuration: retention.ms
            16 "": 42 Subscription name can't be empty
            Config 0 32 "g" consumer.session.timeout.ms = Some("50000")
            Config 0 16 "s" interval.ms = Some("100")
            Config 0 16 "s" match = Some("client_id=a.*")
        "#]],
    );
    cluster.check(
        alter([(GROUP, "g", replace(&[]))]),
        &expect![[r#"
        32 "g": ok
        Config 0 32 "g" consumer.session.timeout.ms = None
    "#]],
    );
}

#[test]
fn directories_are_cordoned_from_the_metadata_version_on_that_knows_of_it() {
    let mut cluster = Cluster::empty();
    let change = |operation, value| alter([(BROKER, "1", edits(&[("cordoned.log.dirs", operation, value)]))]);
    for level in [29, 30] {
        let feature = FeatureLevelRecord { name: "metadata.version".into(), feature_level: level };
        cluster.controller.replay(cluster.image().end(), &OwnedRecord::FeatureLevel(feature));
        let expected = match level {
            29 => expect![[r#"
                4 "1": 40 The cordoned.log.dirs configuration value cannot be set because it requires metadata.version >= 4.3-IV0
            "#]],
            _ => expect![[r#"
                4 "1": ok
                Config 0 4 "1" cordoned.log.dirs = Some("/data/a")
            "#]],
        };
        cluster.check(change(Set, Some("/data/a")), &expected);
        if level == 29 {
            cluster.check(change(Delete, None), &expected);
        }
    }
}
