//! What a subscription to clients' metrics says (KIP-714): which metrics, how often, and of which clients.
//!
//! Differs from Kafka: expressions are those that need no backtracking: there is no looking ahead or behind. How many there
//! are, what each takes in memory and what it is held against are bounded, since everybody's requests are held against them.

use std::collections::BTreeMap;

use ottla_protocol::error::ErrorCode;
use regex_lite::{Regex, RegexBuilder};

use super::{Check, ConfigEntry, ConfigSource, Dynamic, Kind, Setting, Synonym};

/// How often metrics are pushed where no subscription says so.
pub const INTERVAL_MS_DEFAULT: i32 = 300_000;

const INTERVAL_MS: &str = "interval.ms";
const METRICS: &str = "metrics";
const MATCH: &str = "match";
/// The bounds of `interval.ms`.
const INTERVAL_MS_MIN: i64 = 100;
const INTERVAL_MS_MAX: i64 = 3_600_000;

/// There are at most so many subscriptions: each is held against every client that asks.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// What all subscriptions together may take: the list of metrics of a client that asks is made of all of them.
pub const SUBSCRIPTIONS_MAX_BYTES: usize = 128 * 1024;
/// A subscription has at most so many patterns: one for each selector is of use, since the last about the same counts.
const PATTERNS_MAX: usize = 12;
/// What an expression takes when it is compiled: about 500 letters, or as many repetitions of one.
const EXPRESSION_MAX_BYTES: usize = 16 * 1024;
/// A text that is longer is no client's name, and matches nothing.
const TEXT_MAX_BYTES: usize = 256;

/// The keys of a subscription.
pub const CLIENT_METRICS_SETTINGS: &[Setting] = &[
    row(Kind::Int, INTERVAL_MS, "300000", Check::Any).doc("How often clients push the metrics, in milliseconds."),
    row(Kind::List, METRICS, "", Check::Items).doc("The beginnings of the metrics' names; * is all of them."),
    row(Kind::List, MATCH, "", Check::Items)
        .doc("Of which clients: what=expression, all of which must match; without any, of all."),
];

/// What a client is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// The id it gives itself.
    ClientId,
    /// The id that the broker gave it.
    ClientInstanceId,
    /// The name of its library.
    SoftwareName,
    /// The version of its library.
    SoftwareVersion,
    /// The address it comes from.
    SourceAddress,
    /// The port it comes from.
    SourcePort,
}

/// A subscription as brokers act on it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// How often.
    pub interval_ms: i32,
    /// The beginnings of the names; one that is `*` is all.
    pub metrics: Vec<String>,
    matches: BTreeMap<Selector, Regex>,
}

const fn row(kind: Kind, name: &'static str, default: &'static str, check: Check) -> Setting {
    Setting::new(kind, name, Some(default), check, Dynamic::ClusterWide)
}

fn find(key: &str) -> Option<&'static Setting> {
    CLIENT_METRICS_SETTINGS.iter().find(|setting| setting.name == key)
}

impl Selector {
    const ALL: [(&'static str, Self); 6] = [
        ("client_id", Self::ClientId),
        ("client_instance_id", Self::ClientInstanceId),
        ("client_software_name", Self::SoftwareName),
        ("client_software_version", Self::SoftwareVersion),
        ("client_source_address", Self::SourceAddress),
        ("client_source_port", Self::SourcePort),
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, selector)| *selector)
    }
}

impl Subscription {
    /// What a subscription with these configs says; what does not pass (another program wrote it) counts as not set.
    pub fn new(configs: &BTreeMap<String, String>) -> Self {
        let value = |key: &str| find(key)?.parse(configs.get(key)?).ok();
        let list = |key| value(key).and_then(|value| value.list().map(<[String]>::to_vec)).unwrap_or_default();
        let interval_ms = value(INTERVAL_MS).and_then(|value| value.number()).and_then(|ms| i32::try_from(ms).ok());
        Self {
            interval_ms: interval_ms.unwrap_or(INTERVAL_MS_DEFAULT),
            metrics: list(METRICS),
            matches: matches(&list(MATCH)).unwrap_or_default(),
        }
    }

    /// Whether a client is meant, of which `tell` says what it is.
    pub fn is_for<'c>(&self, tell: impl Fn(Selector) -> &'c str) -> bool {
        let is_match = |expression: &Regex, text: &str| text.len() <= TEXT_MAX_BYTES && expression.is_match(text);
        self.matches.iter().all(|(selector, expression)| is_match(expression, tell(*selector)))
    }
}

/// Reads `what=expression`; the last of several about the same counts.
fn matches(patterns: &[String]) -> Result<BTreeMap<Selector, Regex>, String> {
    if patterns.len() > PATTERNS_MAX {
        return Err(format!("{} client matching patterns: there may be {PATTERNS_MAX}", patterns.len()));
    }
    let illegal = |pattern: &String| format!("Illegal client matching pattern: {pattern}");
    let read = |pattern: &String| {
        let (what, expression) = pattern.split_once('=')?;
        let whole = format!("^(?:{})$", expression.trim());
        let is_alone = !expression.contains('=') && compile(expression.trim()).is_some();
        Some((Selector::from_name(what.trim()).filter(|_| is_alone)?, compile(&whole)?))
    };
    patterns.iter().map(|pattern| read(pattern).ok_or_else(|| illegal(pattern))).collect()
}

fn compile(expression: &str) -> Option<Regex> {
    RegexBuilder::new(expression).size_limit(EXPRESSION_MAX_BYTES).build().ok()
}

/// Checks all that a subscription is to say.
///
/// # Errors
/// The code and a sentence for the client, in Kafka's words.
pub fn validate_all(configs: &BTreeMap<String, String>) -> Result<(), (ErrorCode, String)> {
    if let Some(unknown) = configs.keys().find(|key| find(key).is_none()) {
        return Err((ErrorCode::InvalidRequest, format!("Unknown client metrics configuration: {unknown}")));
    }
    for setting in CLIENT_METRICS_SETTINGS {
        let Some(text) = configs.get(setting.name) else { continue };
        let value = setting.parse(text).map_err(|wrong| (ErrorCode::InvalidConfig, wrong))?;
        match (setting.name, value.number(), value.list()) {
            (INTERVAL_MS, Some(ms), _) if !(INTERVAL_MS_MIN..=INTERVAL_MS_MAX).contains(&ms) => {
                let message = format!(
                    "Invalid value {ms} for {INTERVAL_MS}, interval must be between {INTERVAL_MS_MIN} and \
                     {INTERVAL_MS_MAX} (1 hour)"
                );
                return Err((ErrorCode::InvalidRequest, message));
            }
            (MATCH, _, Some(patterns)) => {
                matches(patterns).map_err(|wrong| (ErrorCode::InvalidConfig, wrong))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// All keys of a subscription with their effective values.
pub fn describe(configs: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
    CLIENT_METRICS_SETTINGS.iter().map(|setting| entry(setting, configs)).collect()
}

fn entry(setting: &Setting, configs: &BTreeMap<String, String>) -> ConfigEntry {
    let own = configs.get(setting.name);
    let source = if own.is_some() { ConfigSource::ClientMetrics } else { ConfigSource::Default };
    let synonym = |value: &String| Synonym { name: setting.name.to_owned(), value: Some(value.clone()), source };
    ConfigEntry {
        name: setting.name.to_owned(),
        value: own.map(|text| text.trim().to_owned()).or_else(|| setting.default.map(str::to_owned)),
        source,
        read_only: false,
        sensitive: false,
        synonyms: own.map(synonym).into_iter().collect(),
        kind: setting.kind,
        doc: setting.doc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(patterns: &str) -> Subscription {
        Subscription::new(&BTreeMap::from([(MATCH.to_owned(), patterns.to_owned())]))
    }

    #[test]
    fn the_table_is_sound() {
        CLIENT_METRICS_SETTINGS.iter().for_each(Setting::assert_sound);
    }

    #[test]
    fn a_client_is_meant_where_every_expression_matches_all_of_its_text() {
        let tell = |selector| match selector {
            Selector::ClientId => "orders-7",
            Selector::SoftwareName => "java",
            _ => "",
        };
        assert!(subscription("").is_for(tell));
        assert!(subscription("client_id=orders-.*").is_for(tell));
        assert!(subscription("client_id=a|orders-7").is_for(tell));
        assert!(subscription("client_id=orders-[0-9],client_software_name=java").is_for(tell));
        assert!(!subscription("client_id=orders").is_for(tell));
        assert!(!subscription("client_id=orders-7,client_software_name=rust").is_for(tell));
    }

    #[test]
    fn expressions_that_would_take_much_memory_or_time_are_refused() {
        let validate = |patterns: &str| validate_all(&BTreeMap::from([(MATCH.to_owned(), patterns.to_owned())]));
        assert_eq!(validate("client_id=[A-Za-z0-9._-]{128}"), Ok(()));
        for large in ["client_id=a{200000}", "client_id=(a{100}){100}"] {
            let message = format!("Illegal client matching pattern: {large}");
            assert_eq!(validate(large), Err((ErrorCode::InvalidConfig, message)));
        }
        let many = |count: usize| (0..count).map(|n| format!("client_id=a{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(validate(&many(PATTERNS_MAX)), Ok(()));
        let message = "1600 client matching patterns: there may be 12".to_owned();
        assert_eq!(validate(&many(1600)), Err((ErrorCode::InvalidConfig, message)));
        // What another program wrote counts as not set.
        assert!(subscription(&many(1600)).is_for(|_| "b"));
    }

    #[test]
    fn a_text_that_is_no_clients_name_is_not_looked_at() {
        let text = "a".repeat(1000);
        let is_for = |length: usize| subscription("client_id=.*").is_for(|_| &text[..length]);
        assert_eq!([256, 257].map(is_for), [true, false]);
    }

    #[test]
    fn expressions_cannot_break_out_of_the_whole() {
        assert!(matches(&["client_id=a)|(b".to_owned()]).is_err());
    }
}
