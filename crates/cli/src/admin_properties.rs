//! What Kafka's client for administration takes from a file of properties, and what it says where it makes no client of it.
//!
//! Most of it has no effect on our tools. It is checked nevertheless: who writes nonsense into a file learns it from any tool that
//! reads the file, as with Kafka's.
//!
//! Differs from Kafka: what begins with `ssl.` and `sasl.` is not looked at.

use std::collections::BTreeMap;

use ottla_metadata::settings::Check::{self, Any, AtLeast, Between, OneOf, OneOfAnyCase};
use ottla_metadata::settings::Kind::{Boolean, Int, List, Long, String as Text};
use ottla_metadata::settings::{Dynamic, Kind, Setting};

use crate::properties::Unreadable;
use crate::refusal::CONFIG_EXCEPTION;

const NO_CLIENT: &str = "Failed to create new KafkaAdminClient";
const REQUEST_TIMEOUT: &str = "request.timeout.ms";
const API_TIMEOUT: &str = "default.api.timeout.ms";
const SERVERS: &str = "bootstrap.servers";
/// Whom a tool connects to that asks no brokers.
pub const CONTROLLERS: &str = "bootstrap.controllers";

/// Kafka's order: of several wrong values the first one is told.
const PROPERTIES: &[Setting] = &[
    row(List, SERVERS, Some(""), Any),
    row(List, CONTROLLERS, Some(""), Any),
    row(Text, "client.id", Some(""), Any),
    row(Long, "metadata.max.age.ms", Some("300000"), AtLeast(0)),
    row(Int, "send.buffer.bytes", Some("131072"), AtLeast(-1)),
    row(Int, "receive.buffer.bytes", Some("65536"), AtLeast(-1)),
    row(Long, "reconnect.backoff.ms", Some("50"), AtLeast(0)),
    row(Long, "reconnect.backoff.max.ms", Some("1000"), AtLeast(0)),
    row(Long, "retry.backoff.ms", Some("100"), AtLeast(0)),
    row(Long, "retry.backoff.max.ms", Some("1000"), AtLeast(0)),
    row(Boolean, "enable.metrics.push", Some("false"), Any),
    row(Int, REQUEST_TIMEOUT, Some("30000"), AtLeast(0)),
    row(Long, "socket.connection.setup.timeout.ms", Some("10000"), Any),
    row(Long, "socket.connection.setup.timeout.max.ms", Some("30000"), Any),
    row(Long, "connections.max.idle.ms", Some("300000"), Any),
    row(Int, "retries", Some("2147483647"), Between(0, i32::MAX as i64)),
    row(Int, API_TIMEOUT, Some("60000"), AtLeast(0)),
    row(Long, "metrics.sample.window.ms", Some("30000"), AtLeast(0)),
    row(Int, "metrics.num.samples", Some("2"), AtLeast(1)),
    row(List, "metric.reporters", Some("org.apache.kafka.common.metrics.JmxReporter"), Any),
    row(Text, "metrics.recording.level", Some("INFO"), OneOf(&["INFO", "DEBUG", "TRACE"])),
    row(
        Text,
        "client.dns.lookup",
        Some("use_all_dns_ips"),
        OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]),
    ),
    row(Text, "security.providers", None, Any),
    row(
        Text,
        "security.protocol",
        Some("PLAINTEXT"),
        OneOfAnyCase(&["SASL_SSL", "PLAINTEXT", "SSL", "SASL_PLAINTEXT"]),
    ),
    row(Text, "metadata.recovery.strategy", Some("rebootstrap"), OneOfAnyCase(&["REBOOTSTRAP", "NONE"])),
    row(Long, "metadata.recovery.rebootstrap.trigger.ms", Some("300000"), AtLeast(0)),
    row(List, "config.providers", Some(""), Any),
];

const fn row(kind: Kind, name: &'static str, default: Option<&'static str>, check: Check) -> Setting {
    Setting::new(kind, name, default, check, Dynamic::ReadOnly)
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoClient {
    /// The file cannot be read.
    Unreadable(Unreadable),
    /// A value is none.
    Wrong(String),
    /// Values that do not go together.
    Contradiction(String),
    /// It is not there yet.
    Refused(String),
}

impl NoClient {
    /// The message alone.
    pub fn message(&self) -> String {
        match self {
            Self::Unreadable(file) => file.clone().into(),
            Self::Wrong(message) | Self::Refused(message) => message.clone(),
            Self::Contradiction(_) => NO_CLIENT.to_owned(),
        }
    }

    /// As Java names it with its class, and with its cause.
    pub fn exception(&self) -> String {
        match self {
            Self::Unreadable(file) => file.exception(),
            Self::Wrong(message) => format!("{CONFIG_EXCEPTION}{message}"),
            Self::Contradiction(cause) => {
                format!("org.apache.kafka.common.KafkaException: {NO_CLIENT}\nCaused by: {CONFIG_EXCEPTION}{cause}")
            }
            Self::Refused(message) => message.clone(),
        }
    }

    /// What most of Kafka's tools print of it.
    pub fn told(&self) -> String {
        let (message, exception) = (self.message(), self.exception());
        if message == exception { message } else { format!("{message}\n{exception}") }
    }
}

/// Whether Kafka's client for administration knows the property. What it knows and our tools do not has no effect on them, and files
/// that they share with others are full of it.
pub fn is_known(key: &str) -> bool {
    find(key).is_some() || ["ssl.", "sasl."].iter().any(|of| key.starts_with(of))
}

/// Checks what the file says, each by itself, and then together: for a tool that connects to brokers.
pub fn check(given: &BTreeMap<String, String>) -> Result<(), NoClient> {
    for setting in PROPERTIES {
        if let Some(text) = given.get(setting.name) {
            setting.parse(text).map_err(NoClient::Wrong)?;
        }
    }
    if given.get(CONTROLLERS).is_some_and(|controllers| !controllers.trim().is_empty()) {
        return Err(NoClient::Contradiction(format!("You cannot set both {SERVERS} and {CONTROLLERS}")));
    }
    // A default gives way to a longer timeout of requests.
    if given.contains_key(API_TIMEOUT) && number(given, API_TIMEOUT) < number(given, REQUEST_TIMEOUT) {
        let cause =
            format!("The specified value of {API_TIMEOUT} must be no smaller than the value of {REQUEST_TIMEOUT}.");
        return Err(NoClient::Contradiction(cause));
    }
    Ok(())
}

fn find(key: &str) -> Option<&'static Setting> {
    PROPERTIES.iter().find(|setting| setting.name == key)
}

/// A number that has passed its check.
fn number(given: &BTreeMap<String, String>, key: &str) -> Option<i64> {
    let setting = find(key)?;
    setting.parse(given.get(key).map(String::as_str).or(setting.default)?).ok()?.number()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn told(pairs: &[(&str, &str)]) -> Result<(), String> {
        let given = pairs.iter().map(|&(key, text)| (key.to_owned(), text.to_owned())).collect();
        super::check(&given).map_err(|error| error.told())
    }

    fn check(pairs: &[(&str, &str)], expected: &Expect) {
        expected.assert_eq(&told(pairs).unwrap_err());
    }

    #[test]
    fn every_default_passes_its_own_check() {
        for setting in PROPERTIES {
            assert!(setting.default.is_none_or(|text| setting.parse(text).is_ok()), "{}", setting.name);
        }
    }

    #[test]
    fn the_first_wrong_value_is_told_in_kafkas_words() {
        check(
            &[("retries", "-1"), (REQUEST_TIMEOUT, "abc")],
            &expect![[r#"
                Invalid value abc for configuration request.timeout.ms: Not a number of type INT
                org.apache.kafka.common.config.ConfigException: Invalid value abc for configuration request.timeout.ms: Not a number of type INT"#]],
        );
        for (key, text, reason) in [
            (REQUEST_TIMEOUT, "-1", "Value must be at least 0"),
            (REQUEST_TIMEOUT, "", "Not a number of type INT"),
            ("send.buffer.bytes", "-5", "Value must be at least -1"),
            ("enable.metrics.push", "maybe", "Expected value to be either true or false"),
            ("metrics.recording.level", "X", "String must be one of: INFO, DEBUG, TRACE"),
            (
                "security.protocol",
                "FOO",
                "String must be one of (case insensitive): SASL_SSL, PLAINTEXT, SSL, SASL_PLAINTEXT",
            ),
            ("metadata.recovery.strategy", "bogus", "String must be one of (case insensitive): REBOOTSTRAP, NONE"),
        ] {
            let message = told(&[(key, text)]).unwrap_err();
            let first = message.lines().next().unwrap_or_default();
            assert_eq!(first, format!("Invalid value {text} for configuration {key}: {reason}"));
        }
    }

    #[test]
    fn values_are_compared() {
        check(
            &[(API_TIMEOUT, "10"), (REQUEST_TIMEOUT, "1000")],
            &expect![[r#"
                Failed to create new KafkaAdminClient
                org.apache.kafka.common.KafkaException: Failed to create new KafkaAdminClient
                Caused by: org.apache.kafka.common.config.ConfigException: The specified value of default.api.timeout.ms must be no smaller than the value of request.timeout.ms."#]],
        );
        assert!(told(&[(API_TIMEOUT, "10")]).is_err(), "as well as the default");
        assert_eq!(told(&[(REQUEST_TIMEOUT, "90000")]), Ok(()), "its own default gives way");
        check(
            &[(CONTROLLERS, "127.0.0.1:1")],
            &expect![[r#"
                Failed to create new KafkaAdminClient
                org.apache.kafka.common.KafkaException: Failed to create new KafkaAdminClient
                Caused by: org.apache.kafka.common.config.ConfigException: You cannot set both bootstrap.servers and bootstrap.controllers"#]],
        );
        assert_eq!(told(&[(CONTROLLERS, "")]), Ok(()));
        assert_eq!(told(&[(SERVERS, "127.0.0.1:1")]), Ok(()), "the tool's own word wins");
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_class() {
        let missing = NoClient::Unreadable(Unreadable::Missing("/none".to_owned()));
        assert_eq!(missing.told(), "/none\njava.nio.file.NoSuchFileException: /none");
        let refused = NoClient::Refused("it is not there yet".to_owned());
        assert_eq!(refused.told(), "it is not there yet");
    }
}
