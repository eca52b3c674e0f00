//! Which settings may be changed while the broker runs, and to what. The words of refusals are Kafka's.
//!
//! ```text
//!   what a resource would have --may it be changed--types--per broker or for all--> what would be in force
//!                                                                     --rules between keys, steps of thread counts-->
//! ```
//!
//! Differs from Kafka: there are no Java classes here, so that a class other than the default is never found; listeners
//! stay as they were at the start.

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::settings::{Dynamic, Kind};

use super::rules::{MIN_DEDUPE_BYTES_A_THREAD, check_cordoned};
use super::{Config, Written, table};

/// Keys of TLS that are read again while the broker runs, each only for one listener.
const OF_ONE_LISTENER: &[&str] = &[
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.certificates",
];
/// Keys that may be set for one listener of all brokers.
const OF_ALL_BROKERS: &[&str] = &["max.connections", "max.connection.creation.rate", "num.network.threads"];
/// Counts of threads, which may at most double or halve at once.
const THREADS: &[&str] = &[
    "num.io.threads",
    "num.network.threads",
    "num.replica.fetchers",
    "num.recovery.threads.per.data.dir",
    "background.threads",
];
/// Limits that may be 0 at the start, but not while the broker runs: nobody could come in any more to take that back.
const LETS_SOMEBODY_IN: &[&str] = &["max.connections", "max.connection.creation.rate"];
const CLEANER_THREADS: &str = "log.cleaner.threads";
const NETWORK_THREADS: &str = "num.network.threads";

/// A change of the settings of a broker, or of all.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The keys that it names, in its order.
    pub keys: &'a [&'a str],
    /// All that the resource would have.
    pub after: &'a BTreeMap<String, String>,
    /// Whether it is for all brokers.
    pub for_all: bool,
}

/// Whether the change is possible with what is set now: for this broker, and for all.
///
/// # Errors
/// A sentence for the client.
pub fn check(
    config: &Config,
    own: &BTreeMap<String, String>,
    cluster: &BTreeMap<String, String>,
    change: Change<'_>,
) -> Result<(), String> {
    check_keys(change)?;
    for (key, text) in change.after {
        check_value(key, text)?;
    }
    if change.for_all {
        let of_one: Vec<_> = change.named().filter(|key| is_of_one_broker(key)).collect();
        if !of_one.is_empty() {
            return Err(format!(
                "Cannot update these configs at default cluster level, broker id must be specified: [{}]",
                of_one.join(", ")
            ));
        }
    }
    let before = config.values(own, cluster).in_force();
    let after = match change.for_all {
        true => config.values(own, change.after),
        false => config.values(change.after, cluster),
    };
    let after = after.in_force();
    check_rules(&after, &before)?;
    let steps = check_steps(config, &before, &after, change.after);
    steps.and_then(|()| check_limits(config, change)).map_err(|wrong| {
        let exception = "org.apache.kafka.common.config.ConfigException";
        format!("Invalid value {exception}: {wrong} for configuration Invalid dynamic configuration")
    })
}

/// Whether a value that was set while the broker ran would keep everybody out, so that nobody could take it back.
pub fn keeps_everybody_out(key: &str, text: &str) -> bool {
    let base = table::without_listener(key).unwrap_or(key);
    LETS_SOMEBODY_IN.contains(&base) && text.trim().parse::<i32>().is_ok_and(|limit| limit <= 0)
}

impl<'a> Change<'a> {
    /// The keys that it gives a value.
    fn named(self) -> impl Iterator<Item = &'a str> {
        self.keys.iter().copied().filter(move |key| self.after.contains_key(*key))
    }
}

fn check_keys(change: Change<'_>) -> Result<(), String> {
    let is_fixed = |key: &&str| table::find(key).is_some_and(|setting| setting.dynamic == Dynamic::ReadOnly);
    let fixed: Vec<_> = change.named().filter(is_fixed).collect();
    if !fixed.is_empty() {
        return Err(format!("Cannot update these configs dynamically: [{}]", fixed.join(", ")));
    }
    let without_listener: Vec<_> = change.named().filter(|key| OF_ONE_LISTENER.contains(key)).collect();
    if !without_listener.is_empty() {
        return Err(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: [{}]",
            without_listener.join(", ")
        ));
    }
    Ok(())
}

fn is_of_one_broker(key: &str) -> bool {
    match table::without_listener(key) {
        Some(base) => !OF_ALL_BROKERS.contains(&base),
        None => table::find(key).is_some_and(|setting| setting.dynamic == Dynamic::PerBroker),
    }
}

/// Whether a value is of its type and within bounds.
fn check_value(key: &str, text: &str) -> Result<(), String> {
    let base = table::without_listener(key).unwrap_or(key);
    let Some(setting) = table::find(base).filter(|setting| setting.dynamic != Dynamic::ReadOnly) else {
        // Nobody knows what it is, or it is of no use for one listener.
        return Ok(());
    };
    let value = setting.parse(text)?;
    // At the start they count once.
    let mut known = BTreeSet::new();
    if setting.kind == Kind::List && !text.split(',').all(|item| known.insert(item.trim())) {
        return Err(format!("Configuration '{base}' values must not be duplicated."));
    }
    match (setting.kind, value.text()) {
        (Kind::Class, Some(class)) if Some(class) != setting.default => {
            Err(format!("Invalid value {class} for configuration {base}: Class {class} could not be found."))
        }
        _ => Ok(()),
    }
}

/// What must hold between keys, as at the start.
fn check_rules(after: &Written, before: &Written) -> Result<(), String> {
    let failed = |why: &str| Err(format!("requirement failed: {why}"));
    if after.optional_number("log.roll.ms").is_some_and(|ms| ms < 1) {
        return failed("log.roll.ms must be greater than or equal to 1");
    }
    if after.optional_number("log.roll.jitter.ms").is_some_and(|ms| ms < 0) {
        return failed("log.roll.jitter.ms must be greater than or equal to 0");
    }
    if after.optional_number("log.retention.ms") == Some(0) {
        return failed("log.retention.ms must be unlimited (-1) or, greater than or equal to 1");
    }
    let threads = after.number(CLEANER_THREADS);
    if threads == 0 {
        return failed("log.cleaner.threads must be greater than or equal to 1");
    }
    if after.number("log.cleaner.dedupe.buffer.size") / threads <= MIN_DEDUPE_BYTES_A_THREAD {
        return failed("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.");
    }
    let overrides = after.text("max.connections.per.ip.overrides");
    if after.number("max.connections.per.ip") == 0 && overrides.is_empty() {
        return failed(
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        );
    }
    for entry in overrides.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let count = entry.rsplit_once(':').map(|(_, count)| count.trim());
        let Some(count) = count else {
            return Err(format!(
                "Error parsing configuration property 'max.connections.per.ip.overrides': {entry} is not of the form \
                 host:count"
            ));
        };
        if count.parse::<u32>().is_err() {
            return Err(format!("For input string: \"{count}\""));
        }
    }
    if after.list("listeners") != before.list("listeners") {
        return Err(
            "This broker cannot change its listeners while it runs: restart it with other listeners.".to_owned()
        );
    }
    check_cordoned(after).or_else(|why| failed(&why))
}

/// What a part of the broker would refuse.
fn check_steps(
    config: &Config,
    before: &Written,
    after: &Written,
    resource: &BTreeMap<String, String>,
) -> Result<(), String> {
    for key in THREADS {
        check_threads(key, before.number(key), after.number(key))?;
    }
    for (key, text) in resource {
        if is_of_own_listener(config, key, NETWORK_THREADS)
            && let Ok(threads) = text.trim().parse()
        {
            check_threads(NETWORK_THREADS, before.number(NETWORK_THREADS), threads)?;
        }
    }
    let (old, new) = (before.number(CLEANER_THREADS), after.number(CLEANER_THREADS));
    if new < old / 2 {
        return Err(format!("Log cleaner threads cannot be reduced to less than half the current value {old}"));
    }
    if new > old * 2 {
        return Err(format!("Log cleaner threads cannot be increased to more than double the current value {old}"));
    }
    check_local_retention(after, "ms", retention_ms(after))?;
    check_local_retention(after, "bytes", after.number("log.retention.bytes"))?;
    let reporters = after.list("metric.reporters");
    let default = table::find("metric.reporters").and_then(|setting| setting.default).unwrap_or_default();
    if reporters.iter().any(|reporter| reporter != default) {
        return Err("Validation of dynamic config update of Set(metric.reporters) failed with class class \
                    kafka.server.DynamicMetricsReporters"
            .to_owned());
    }
    Ok(())
}

/// The change of a limit on connections, for all listeners or for one of this broker.
fn check_limits(config: &Config, change: Change<'_>) -> Result<(), String> {
    for key in change.named() {
        let text = &change.after[key];
        let is_of = |base: &&&str| key == **base || is_of_own_listener(config, key, base);
        if let Some(base) = LETS_SOMEBODY_IN.iter().find(is_of)
            && keeps_everybody_out(key, text)
        {
            return Err(format!("Invalid {base} {}", text.trim()));
        }
    }
    Ok(())
}

/// Whether `key` is `base` for one listener of this broker.
fn is_of_own_listener(config: &Config, key: &str, base: &str) -> bool {
    let listener = key.strip_prefix("listener.name.").and_then(|rest| rest.strip_suffix(base));
    let is_ours = |name: &str| {
        config
            .listeners
            .broker
            .iter()
            .chain(&config.listeners.controller)
            .any(|own| own.name.eq_ignore_ascii_case(name))
    };
    listener.and_then(|name| name.strip_suffix('.')).is_some_and(is_ours)
}

fn check_threads(key: &str, old: i64, new: i64) -> Result<(), String> {
    let wrong = format!("Dynamic thread count update validation failed for {key}={new}");
    if new < old / 2 {
        return Err(format!("{wrong}, value should be at least half the current value {old}"));
    }
    if new > old * 2 {
        return Err(format!("{wrong}, value should not be greater than double the current value {old}"));
    }
    Ok(())
}

/// `log.retention.ms`, or what stands in for it.
fn retention_ms(written: &Written) -> i64 {
    let minutes = written.optional_number("log.retention.minutes").map(|minutes| minutes.saturating_mul(60_000));
    let hours = || written.number("log.retention.hours").saturating_mul(3_600_000);
    written.optional_number("log.retention.ms").or(minutes).unwrap_or_else(hours)
}

/// What stays here of a log whose segments go to remote storage may not be more than all of it.
fn check_local_retention(written: &Written, unit: &str, retention: i64) -> Result<(), String> {
    let key = format!("log.local.retention.{unit}");
    let local = written.number(&key);
    if retention >= 0 && local > retention {
        return Err(format!(
            "Invalid value {local} for configuration {key}: Value must not be more than log.retention.{unit} property \
             value: {retention}"
        ));
    }
    Ok(())
}
