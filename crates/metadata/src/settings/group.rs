//! A group's settings (KIP-848, KIP-932, KIP-1071): what one group may set for itself, within what its brokers allow.
//!
//! Most keys have a broker key behind them, which gives the value for groups that set none; many have two more, between
//! which a group's value must lie.

mod table;

use std::collections::BTreeMap;

pub use table::{Bounds, GROUP_SETTINGS, GroupSetting};

use super::{BrokerValues, ConfigEntry, ConfigSource, Setting, Synonym, Value, synonyms};

const AUTO_OFFSET_RESET: &str = "share.auto.offset.reset";
const ASSIGNOR: &str = "streams.assignor.name";
const DEAD_LETTER_TOPIC: &str = "errors.deadletterqueue.topic.name";
const BY_DURATION: &str = "by_duration:";

/// What the brokers' own settings say of those keys that bound a group's. A group's settings are checked where they are
/// written, with what the controller was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    values: BTreeMap<&'static str, i64>,
    assignors: Vec<String>,
}

/// The row of `key`, if groups have such a key.
pub fn find(key: &str) -> Option<&'static GroupSetting> {
    GROUP_SETTINGS.iter().find(|row| row.setting.name == key)
}

impl GroupLimits {
    /// Asks for the number of every key that bounds another, and for the names of the assignors of streams groups.
    pub fn new(number: impl Fn(&str) -> i64, assignors: Vec<String>) -> Self {
        let keys = GROUP_SETTINGS.iter().flat_map(|row| row.bounds.keys());
        Self { values: keys.map(|key| (key, number(key))).collect(), assignors }
    }

    fn value(&self, key: &'static str) -> i64 {
        *self.values.get(key).unwrap_or_else(|| unreachable!("{key} was asked for"))
    }

    fn check(&self, row: &GroupSetting, number: i64) -> Result<(), String> {
        let key = row.setting.name;
        match row.bounds {
            Bounds::Free => Ok(()),
            Bounds::Between(least, most) => {
                let (least, most) = (self.value(least), self.value(most));
                let within = (least..=most).contains(&number);
                within.then_some(()).ok_or_else(|| format!("{key} must be in the range {least} to {most} inclusive."))
            }
            Bounds::AtLeast(least) if number < self.value(least) => {
                Err(format!("{key} must be greater than or equal to {}", self.value(least)))
            }
            Bounds::AtMost(most) if number > self.value(most) => {
                Err(format!("{key} must be less than or equal to {}", self.value(most)))
            }
            Bounds::AtLeast(_) | Bounds::AtMost(_) => Ok(()),
        }
    }
}

/// Checks all that a group is to set, together.
///
/// # Errors
/// A sentence for the client, in Kafka's words, about the first thing that is wrong: unknown keys, then values, then
/// values that the brokers do not allow.
pub fn validate_all(configs: &BTreeMap<String, String>, limits: &GroupLimits) -> Result<(), String> {
    if let Some(unknown) = configs.keys().find(|key| find(key).is_none()) {
        return Err(format!("Unknown group config name: {unknown}"));
    }
    let mut values = Vec::new();
    for row in GROUP_SETTINGS {
        if let Some(text) = configs.get(row.setting.name) {
            let value = row.setting.parse(text)?;
            check_text(row.setting.name, &value)?;
            values.push((row, value));
        }
    }
    for (row, value) in &values {
        if let Some(number) = value.number() {
            limits.check(row, number)?;
        }
        if let (ASSIGNOR, Some(name)) = (row.setting.name, value.text())
            && !limits.assignors.iter().any(|known| known == name)
        {
            let known = limits.assignors.join(", ");
            return Err(format!(
                "{ASSIGNOR} '{name}' is not a registered task assignor. Registered assignors are: [{known}]."
            ));
        }
    }
    let number =
        |key: &str| values.iter().find(|(row, _)| row.setting.name == key).and_then(|(_, value)| value.number());
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) = (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        if let (Some(session_ms), Some(heartbeat_ms)) = (number(&session), number(&heartbeat))
            && session_ms <= heartbeat_ms
        {
            return Err(format!("{session} must be greater than {heartbeat}"));
        }
    }
    Ok(())
}

/// What a row of the table cannot say.
fn check_text(key: &str, value: &Value) -> Result<(), String> {
    match (key, value.text()) {
        (AUTO_OFFSET_RESET, Some(text)) if !is_offset_reset(text) => Err(format!(
            "Invalid value {text} for configuration {key}: Invalid value `{text}` for configuration {key}. The value must \
             be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
        )),
        (DEAD_LETTER_TOPIC, Some(text)) if text.starts_with("__") => {
            Err(format!("{key}: DLQ topic name must not start with '__'"))
        }
        _ => Ok(()),
    }
}

fn is_offset_reset(text: &str) -> bool {
    match text.strip_prefix(BY_DURATION) {
        Some(duration) => is_duration(duration),
        None => text == "earliest" || text == "latest",
    }
}

/// Whether a text is a duration that is not negative, of days, hours, minutes and seconds (ISO 8601): `P1DT2H3M4.5S`.
fn is_duration(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let Some(parts) = upper.strip_prefix('P') else { return false };
    let (days, time) = parts.split_once('T').map_or((parts, None), |(days, time)| (days, Some(time)));
    let is_days = |days: &str| days.is_empty() || days.strip_suffix('D').is_some_and(is_count);
    let is_time = |time: &str| {
        let mut rest = time;
        for unit in ['H', 'M'] {
            if let Some((count, after)) = rest.split_once(unit) {
                if !is_count(count) {
                    return false;
                }
                rest = after;
            }
        }
        let is_seconds = |seconds: &str| {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
            is_count(whole) && fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit())
        };
        !time.is_empty() && (rest.is_empty() || rest.strip_suffix('S').is_some_and(is_seconds))
    };
    is_days(days) && time.map_or(!days.is_empty(), is_time)
}

/// Whether a text is a number of at most 18 digits.
fn is_count(text: &str) -> bool {
    (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// All keys of a group with their effective values, in the order of the table. Internal ones only if they were set.
pub fn describe(
    configs: &BTreeMap<String, String>,
    broker: &impl BrokerValues,
    wanted: impl Fn(&str) -> bool,
) -> Vec<ConfigEntry> {
    let is_shown = |setting: &Setting| !setting.internal || configs.contains_key(setting.name);
    let shown = |row: &&GroupSetting| wanted(row.setting.name) && is_shown(&row.setting);
    GROUP_SETTINGS.iter().filter(shown).map(|row| entry(row, configs, broker)).collect()
}

fn entry(row: &GroupSetting, configs: &BTreeMap<String, String>, broker: &impl BrokerValues) -> ConfigEntry {
    let setting = &row.setting;
    let mut behind = match row.broker_key {
        Some(key) => synonyms(key, &[key], false, broker),
        None => {
            let value = setting.default.map(str::to_owned);
            vec![Synonym { name: setting.name.to_owned(), value, source: ConfigSource::Default }]
        }
    };
    if let Some(own) = configs.get(setting.name) {
        let own = Synonym { name: setting.name.to_owned(), value: Some(own.clone()), source: ConfigSource::Group };
        behind.insert(0, own);
    }
    let value = behind.first().and_then(|synonym| synonym.value.clone());
    // Another program may have written what does not pass.
    let value = value.map(|text| setting.parse(&text).map_or(text, |value| value.to_string()));
    ConfigEntry {
        name: setting.name.to_owned(),
        value,
        source: behind.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        read_only: false,
        sensitive: false,
        synonyms: behind,
        kind: setting.kind,
        doc: setting.doc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        GROUP_SETTINGS.iter().for_each(|row| row.setting.assert_sound());
        assert_eq!(GROUP_SETTINGS.iter().filter(|row| !row.setting.internal).count(), 21);
    }

    #[test]
    fn durations_are_those_of_iso_8601_down_from_days() {
        for good in ["PT1H", "P1D", "P1DT2H3M4.5S", "pt0s", "PT1M", "PT0.000000001S"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "P", "PT", "1H", "P1H", "PT1D", "PT-1H", "-PT1H", "P1M", "PT1H1H", "PTS", "PT1.S2", "P1DT"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn a_heartbeat_comes_before_the_session_ends() {
        let limits = GroupLimits::new(|key| if key.contains(".max.") { 100_000 } else { 1 }, Vec::new());
        let configs = |session: &str, heartbeat: &str| {
            BTreeMap::from([
                ("share.session.timeout.ms".to_owned(), session.to_owned()),
                ("share.heartbeat.interval.ms".to_owned(), heartbeat.to_owned()),
            ])
        };
        assert_eq!(validate_all(&configs("10", "9"), &limits), Ok(()));
        assert!(validate_all(&configs("10", "10"), &limits).is_err());
    }
}
