//! The table of a broker's keys: every one of Kafka 4.4 with type, default, bounds and scope, and our own few.
//!
//! To add a key, add a row: validation, warnings and DescribeConfigs follow. That a key is here says that a file may
//! have it, not that it acts already; what acts is read in [`Config`](super::Config).

mod coordinators;
mod groups;
mod log;
mod network;
mod node;
mod oauth;
mod operations;
mod ottla;
mod remote;
mod replication;
mod security;

use std::collections::HashMap;
use std::sync::LazyLock;

use ottla_metadata::settings::{Check, Dynamic, Kind, Setting};

const TABLES: &[&[Setting]] = &[
    node::SETTINGS,
    network::SETTINGS,
    log::SETTINGS,
    replication::SETTINGS,
    groups::SETTINGS,
    coordinators::SETTINGS,
    operations::SETTINGS,
    remote::SETTINGS,
    security::SETTINGS,
    oauth::SETTINGS,
    ottla::SETTINGS,
];

/// Keys that are of use only while the broker runs; described where they were set.
const ONLY_WHILE_RUNNING: &[Setting] = &[
    long("leader.replication.throttled.rate", None, Check::AtLeast(0), Dynamic::ClusterWide)
        .doc("How many bytes a second leaders send of replicas that are throttled."),
    long("follower.replication.throttled.rate", None, Check::AtLeast(0), Dynamic::ClusterWide)
        .doc("How many bytes a second followers copy of replicas that are throttled."),
    long("replica.alter.log.dirs.io.max.bytes.per.second", None, Check::AtLeast(0), Dynamic::ClusterWide)
        .doc("How many bytes a second are copied from one log directory to another."),
];

/// Keys that give one value in different units or stand in for one another, the strongest first.
const CHAINS: &[&[&str]] = &[
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
];

/// No key is longer; longer ones get no suggestion.
const MAX_SUGGESTED_KEY_LEN: usize = 100;

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    TABLES.iter().copied().flatten()
}

/// All rows, as a slice.
pub fn settings() -> &'static [Setting] {
    static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| all().copied().collect());
    &SETTINGS
}

/// The row of exactly this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    static BY_NAME: LazyLock<HashMap<&str, &Setting>> =
        LazyLock::new(|| all().chain(ONLY_WHILE_RUNNING).map(|setting| (setting.name, setting)).collect());
    BY_NAME.get(key).copied()
}

/// The row that says what `key` is: its own, or that of the key behind `listener.name.<listener>.`, with or without a
/// SASL mechanism in between.
pub fn find_base(key: &str) -> Option<&'static Setting> {
    find(key).or_else(|| {
        let base = without_listener(key)?;
        find(base).or_else(|| find(base.split_once('.')?.1))
    })
}

/// All keys that give `key` a value, the strongest first.
pub fn chain(key: &str) -> Vec<&str> {
    if let Some(chain) = CHAINS.iter().find(|chain| chain.contains(&key)) {
        return chain.to_vec();
    }
    if key == "log.flush.interval.ms" {
        return vec![key, "log.flush.scheduler.interval.ms"];
    }
    match find(key) {
        Some(_) => vec![key],
        None => std::iter::once(key).chain(find_base(key).map(|base| base.name)).collect(),
    }
}

/// The key behind `listener.name.<listener>.`.
pub fn without_listener(key: &str) -> Option<&str> {
    Some(key.strip_prefix("listener.name.")?.split_once('.')?.1)
}

/// The known key that `unknown` was probably meant to be.
pub fn suggestion(unknown: &str) -> Option<&'static str> {
    if unknown.len() > MAX_SUGGESTED_KEY_LEN {
        return None;
    }
    let (distance, name) = all().map(|setting| (distance(unknown, setting.name), setting.name)).min()?;
    (distance <= unknown.len() / 5).then_some(name)
}

/// How many bytes must be put in, taken out or replaced to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

const fn boolean(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::Boolean, name, default, check, dynamic)
}

const fn string(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::String, name, default, check, dynamic)
}

const fn int(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::Int, name, default, check, dynamic)
}

const fn short(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::Short, name, default, check, dynamic)
}

const fn long(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::Long, name, default, check, dynamic)
}

const fn double(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::Double, name, default, check, dynamic)
}

const fn list(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::List, name, default, check, dynamic)
}

const fn class(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::Class, name, default, check, dynamic)
}

const fn password(name: &'static str, default: Option<&'static str>, check: Check, dynamic: Dynamic) -> Setting {
    Setting::new(Kind::Password, name, default, check, dynamic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real Kafka 4.4.0 says of each of its keys: name, type, default, bounds, scope, whether internal.
    const KAFKA: &str = include_str!("kafka-4.4.0.tsv");

    fn line(setting: &Setting) -> String {
        let kind = format!("{:?}", setting.kind).to_uppercase();
        let bounds = match setting.check {
            Check::AtLeast(least) => format!("{least}.."),
            Check::Between(least, most) => format!("{least}..{most}"),
            Check::BetweenOr(least, most, other) => format!("{least}..{most}|{other}"),
            Check::Fraction(least, most) => format!("{least}..{most}"),
            Check::OneOf(texts) | Check::OneOfAnyCase(texts) => texts.join(","),
            Check::ItemsOf(texts) | Check::SomeItemsOf(texts) => texts.join(","),
            Check::NonEmpty => "non-empty".to_owned(),
            Check::Any | Check::Items | Check::SomeItems | Check::ThrottledReplicas => "-".to_owned(),
        };
        let scope = match setting.dynamic {
            Dynamic::ReadOnly => "read-only",
            Dynamic::PerBroker => "per-broker",
            Dynamic::ClusterWide => "cluster-wide",
        };
        let internal = if setting.internal { "internal" } else { "-" };
        let default = setting.default.unwrap_or("null");
        [setting.name, &kind, default, &bounds, scope, internal].join("\t")
    }

    #[test]
    fn every_key_of_kafka_is_there_as_kafka_has_it() {
        let mut ours: Vec<String> = TABLES[..TABLES.len() - 1].iter().copied().flatten().map(line).collect();
        ours.sort();
        let kafka: Vec<String> = KAFKA.lines().map(str::to_owned).collect();
        assert_eq!(ours, kafka);
    }

    #[test]
    fn the_table_is_sound() {
        for setting in all() {
            setting.assert_sound();
            assert_eq!(all().filter(|other| other.name == setting.name).count(), 1, "{} is there once", setting.name);
        }
    }

    #[test]
    fn misspelt_keys_get_a_suggestion_and_strange_ones_none() {
        assert_eq!(suggestion("log.retention.m"), Some("log.retention.ms"));
        assert_eq!(suggestion("auto.create.topic.enable"), Some("auto.create.topics.enable"));
        assert_eq!(suggestion("ssl.keystore.pasword"), Some("ssl.keystore.password"));
        assert_eq!(suggestion("my.own.key"), None);
        assert_eq!(suggestion(""), None);
        assert_eq!(suggestion(&"x".repeat(1000)), None);
    }

    #[test]
    fn keys_of_one_listener_are_known_by_the_key_behind() {
        let base = |key| find_base(key).map(|setting| setting.name);
        assert_eq!(base("listener.name.plaintext.max.connections"), Some("max.connections"));
        assert_eq!(base("listener.name.x.scram-sha-256.sasl.jaas.config"), Some("sasl.jaas.config"));
        assert_eq!(base("listener.name.plaintext.nothing"), None);
        assert_eq!(
            chain("listener.name.plaintext.max.connections"),
            ["listener.name.plaintext.max.connections", "max.connections"]
        );
    }
}
