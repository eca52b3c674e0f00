//! What the tool shows and refuses, without a cluster.

use std::ffi::OsString;

use expect_test::{Expect, expect};
use ottla_protocol::messages::describe_configs_response::{Config, Synonym};

use super::arguments::read_settings;
use super::quotas::{self, Quotas};
use super::resources::{self, Setting};
use super::{Arguments, Failure, words_after};
use crate::screen::Screen;
use crate::test_line;

fn check(line: &str, expected: &Expect) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let arguments: Arguments = test_line::arguments(line);
    let understood = arguments.check(&words).and_then(|entities| {
        let changes = arguments.changes()?;
        if arguments.alter && ["users", "clients", "ips"].contains(&entities.types[0].as_str()) {
            quotas::check(&entities.types, &changes)?;
        }
        Ok(format!("{:?} {:?} +{:?} -{:?}", entities.types, entities.names, changes.set, changes.reset))
    });
    expected.assert_eq(&match understood {
        Ok(shown) => shown,
        Err(Failure::Usage(message) | Failure::Illegal(message)) => message,
        Err(Failure::NoClient(error)) => error.message(),
        Err(Failure::Failed(error)) => error.to_string(),
    });
}

#[test]
fn either_brokers_or_controllers_are_connected_to() {
    check("--bootstrap-controller a:1 --describe --broker 1", &expect![[r#"["brokers"] ["1"] +{} -[]"#]]);
    check("--describe --broker 1", &expect!["Either --bootstrap-server or --bootstrap-controller must be specified."]);
    check(
        "--bootstrap-controller a:1 --bootstrap-server a:1 --describe --broker 1",
        &expect!["Only one of --bootstrap-server or --bootstrap-controller can be specified"],
    );
}

#[test]
fn entities_are_named_in_two_ways() {
    check("--bootstrap-server a:1 --describe --topic t", &expect![[r#"["topics"] ["t"] +{} -[]"#]]);
    check("--bootstrap-server a:1 --describe --entity-type brokers", &expect![[r#"["brokers"] [] +{} -[]"#]]);
    check(
        "--bootstrap-server a:1 --describe --user u --client-defaults",
        &expect![[r#"["users", "clients"] ["u", ""] +{} -[]"#]],
    );
    check(
        "--bootstrap-server a:1 --alter --entity-type users --entity-default --entity-type clients --entity-name c --add-config producer_byte_rate=1",
        &expect![[r#"["users", "clients"] ["", "c"] +{"producer_byte_rate": "1"} -[]"#]],
    );
    check(
        "--bootstrap-server a:1 --alter --broker-defaults --add-config a=[1,2],b= --delete-config c,d",
        &expect![[r#"["brokers"] [""] +{"a": "1,2", "b": ""} -["c", "d"]"#]],
    );
}

#[test]
fn arguments_that_do_not_fit_are_refused_in_kafkas_words() {
    check("--bootstrap-server a:1", &expect!["Command must include exactly one action: --describe, --alter"]);
    check(
        "--bootstrap-server a:1 --describe --topic t --add-config a=b",
        &expect![[r#"Option "[describe]" can't be used with option "[add-config]""#]],
    );
    check("--describe --topic t", &expect!["Either --bootstrap-server or --bootstrap-controller must be specified."]);
    check("--bootstrap-server a:1 --describe", &expect!["At least one entity type must be specified"]);
    check(
        "--bootstrap-server a:1 --describe --entity-type nonsense",
        &expect![
            "Invalid entity type nonsense, the entity type must be one of topics, clients, users, brokers, ips, client-metrics, groups, broker-loggers with a --bootstrap-server or --bootstrap-controller argument"
        ],
    );
    check(
        "--bootstrap-server a:1 --describe --topic t --entity-type topics",
        &expect!["Duplicate entity type(s) specified: topics"],
    );
    check(
        "--bootstrap-server a:1 --describe --topic t --entity-type users",
        &expect!["Only 'users' and 'clients' entity types may be specified together"],
    );
    check(
        "--bootstrap-server a:1 --describe --client c --entity-type users",
        &expect!["--entity-{type,name,default} should not be used in conjunction with specific entity flags"],
    );
    check(
        "--bootstrap-server a:1 --describe --broker x",
        &expect!["The entity name for brokers must be a valid integer broker id, but it is: x"],
    );
    check(
        "--bootstrap-server a:1 --describe --entity-type topics --entity-default",
        &expect!["--entity-default must not be specified with --describe of topics"],
    );
    check(
        "--bootstrap-server a:1 --describe --entity-type broker-loggers",
        &expect!["An entity name must be specified with --describe of broker-loggers"],
    );
    check(
        "--bootstrap-server a:1 --alter --topic t",
        &expect!["At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"],
    );
    check(
        "--bootstrap-server a:1 --alter --entity-type topics --add-config a=b",
        &expect!["An entity name must be specified with --alter of topics"],
    );
    check(
        "--bootstrap-server a:1 --alter --entity-type users --add-config a=b",
        &expect!["An entity-name or default entity must be specified with --alter of users, clients, brokers or ips"],
    );
    check(
        "--bootstrap-server a:1 --alter --entity-type users --entity-name u --entity-type clients --add-config a=b",
        &expect!["An entity name must be specified for every entity type"],
    );
    check(
        "--bootstrap-server a:1 --alter --topic t --add-config novalue",
        &expect![[
            r#"requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or  "key=[val1,val2]" to group values which contain commas."#
        ]],
    );
    check(
        "--bootstrap-server a:1 --alter --topic t --add-config a/b=c",
        &expect!["Invalid character found for config key: a/b"],
    );
}

#[test]
fn what_is_no_quota_is_refused() {
    check(
        "--bootstrap-server a:1 --alter --client c --add-config nonsense=1",
        &expect![
            "Only quota configs can be added for 'clients' using --bootstrap-server. Unexpected config names: Set(nonsense)"
        ],
    );
    check(
        "--bootstrap-server a:1 --alter --user u --delete-config nonsense",
        &expect![
            "Only quota and SCRAM credential configs can be deleted for 'users' using --bootstrap-server. Unexpected config names: ArrayBuffer(nonsense)"
        ],
    );
    check(
        "--bootstrap-server a:1 --alter --user u --add-config SCRAM-SHA-256=[password=pw]",
        &expect!["SCRAM credentials cannot be changed by this tool yet: kafka-configs.sh can do it"],
    );
    check(
        "--bootstrap-server a:1 --alter --ip 127.0.0.1 --add-config producer_byte_rate=1",
        &expect![
            "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: producer_byte_rate"
        ],
    );
}

#[test]
fn commas_in_brackets_do_not_separate() {
    let read = |text: &str| read_settings(text).unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(read("a=b,c = d ,"), [pair("a", "b"), pair("c", "d")]);
    assert_eq!(read("a=[b,c=d],e="), [pair("a", "b,c=d"), pair("e", "")]);
}

#[test]
fn settings_are_shown_with_their_synonyms() {
    let setting = |name: &str, source, value: Option<&'static str>| {
        Setting::of(&Config {
            name: name.to_owned().into(),
            value: value.map(Into::into),
            config_source: source,
            is_sensitive: value.is_none(),
            synonyms: vec![
                Synonym { name: name.to_owned().into(), value: value.map(Into::into), source },
                Synonym { name: "log.x".into(), value: Some("1".into()), source: 5 },
            ],
            ..Config::default()
        })
    };
    let settings = [setting("a", 1, Some("b")), setting("c", 5, Some("d")), setting("e", 1, None)];
    let mut screen = Screen::default();
    resources::show_heading("topics", "t", false, &mut screen);
    resources::show(&settings, Some(1), &mut screen);
    resources::show_heading("brokers", "", true, &mut screen);
    resources::show(&settings, None, &mut screen);
    expect![[r#"
        Dynamic configs for topic t are:
          a=b sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:a=b, DEFAULT_CONFIG:log.x=1}
          e=null sensitive=true synonyms={DYNAMIC_TOPIC_CONFIG:e=null, DEFAULT_CONFIG:log.x=1}
        Default configs for brokers in the cluster are:
          a=b sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:a=b, DEFAULT_CONFIG:log.x=1}
          c=d sensitive=false synonyms={DEFAULT_CONFIG:c=d, DEFAULT_CONFIG:log.x=1}
          e=null sensitive=true synonyms={DYNAMIC_TOPIC_CONFIG:e=null, DEFAULT_CONFIG:log.x=1}
    "#]]
    .assert_eq(&screen.out);
}

#[test]
fn quotas_are_shown_by_entity() {
    let quotas = |entity: &[(&str, Option<&str>)], values: &[(&str, f64)]| Quotas {
        entity: entity.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect(),
        values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
    };
    let mut screen = Screen::default();
    quotas::show(
        vec![
            quotas(
                &[("client-id", None), ("user", Some("u"))],
                &[("request_percentage", 50.0), ("consumer_byte_rate", 2.5e7)],
            ),
            quotas(&[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", 5.0)]),
        ],
        &mut screen,
    );
    expect![[r#"
        Quota configs for ip '10.0.0.1' are connection_creation_rate=5.0
        Quota configs for user-principal 'u', the default client-id are consumer_byte_rate=2.5E7, request_percentage=50.0
    "#]].assert_eq(&screen.out);
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_utf_8_is_a_word_too() {
    use std::os::unix::ffi::OsStringExt;
    let line = ["ottla", "configs", "--add-config-file"].map(OsString::from).into_iter();
    let words = words_after("configs", line.chain([OsString::from_vec(b"/\xff.properties".to_vec())]));
    assert_eq!(words, ["--add-config-file", "/\u{fffd}.properties"]);
}
