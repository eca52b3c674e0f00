//! A topic's settings: the keys, what they may hold, how a topic is described, and the typed values that a broker acts
//! on.
//!
//! Most keys have a broker key behind them, which gives the value for topics that set none; some have a chain of them,
//! one for each unit of time. The table keeps Kafka's order, because of several wrong values the first one is reported.
//!
//! Differs from Kafka: `min.compaction.lag.ms` is compared with the `max.compaction.lag.ms` of the same topic or the
//! default, not with what the controller's own `server.properties` says.

mod effective;
mod table;

use std::collections::BTreeMap;

pub use effective::{CompressionType, TimestampType, TopicSettings};
pub use table::{BrokerKey, TOPIC_SETTINGS, TopicSetting};

use super::{BrokerValues, ConfigEntry, ConfigSource, Setting, Synonym, Value, synonyms};

/// The row of `key`, if topics have such a key.
pub fn find(key: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS.iter().find(|row| row.setting.name == key)
}

/// Reads one value.
///
/// # Errors
/// A sentence for the client, in Kafka's words: the key is unknown, or its value is wrong.
pub fn validate(key: &str, value: &str) -> Result<Value, String> {
    find(key).ok_or_else(|| format!("Unknown topic config name: {key}"))?.setting.parse(value)
}

/// Checks all that a topic is to set, together.
///
/// # Errors
/// A sentence for the client, in Kafka's words, about the first thing that is wrong: unknown keys, then values, then
/// values that do not go together.
pub fn validate_all(overrides: &BTreeMap<String, String>) -> Result<(), String> {
    if let Some(unknown) = overrides.keys().find(|key| find(key).is_none()) {
        return Err(format!("Unknown topic config name: {unknown}"));
    }
    for row in TOPIC_SETTINGS {
        if let Some(text) = overrides.get(row.setting.name) {
            row.setting.parse(text)?;
        }
    }
    let number = |key| own_or_default(overrides, key).and_then(|value| value.number()).unwrap_or_default();
    let (min_lag, max_lag) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if min_lag > max_lag {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min_lag}) > max.compaction.lag.ms ({max_lag})"
        ));
    }
    if own_or_default(overrides, "remote.storage.enable") == Some(Value::Boolean(true)) {
        return Err("Tiered Storage functionality is disabled in the broker. \
                    Topic cannot be configured with remote log storage."
            .to_owned());
    }
    Ok(())
}

fn own_or_default(overrides: &BTreeMap<String, String>, key: &str) -> Option<Value> {
    let setting = find(key)?.setting;
    setting.parse(overrides.get(key).map(String::as_str).or(setting.default)?).ok()
}

/// All keys of a topic with their effective values, in the order of the table.
pub fn describe(
    overrides: &BTreeMap<String, String>,
    broker: &impl BrokerValues,
    wanted: impl Fn(&str) -> bool,
) -> Vec<ConfigEntry> {
    let is_shown = |setting: &Setting| !setting.internal || overrides.contains_key(setting.name);
    let shown = |row: &&TopicSetting| wanted(row.setting.name) && is_shown(&row.setting);
    TOPIC_SETTINGS.iter().filter(shown).map(|row| entry(row, overrides, broker)).collect()
}

/// As `describe`, for a topic that was just created: of a setting that the broker has in another unit (`log.retention.hours`),
/// Kafka tells the broker as its source there, and no source in a description. As there, -1 hour is told in milliseconds,
/// though it means no limit, which a description tells as -1.
pub fn describe_created(overrides: &BTreeMap<String, String>, broker: &impl BrokerValues) -> Vec<ConfigEntry> {
    let is_shown = |row: &&TopicSetting| !row.setting.internal || overrides.contains_key(row.setting.name);
    let created = |row| {
        let entry = entry(row, overrides, broker);
        if entry.source == ConfigSource::Topic {
            return entry;
        }
        let (source, value) = row.of_broker_read_by(TopicSetting::convert_broker_value, broker);
        ConfigEntry { source, value: value.map(|value| value.to_string()), ..entry }
    };
    TOPIC_SETTINGS.iter().filter(is_shown).map(created).collect()
}

fn entry(row: &TopicSetting, overrides: &BTreeMap<String, String>, broker: &impl BrokerValues) -> ConfigEntry {
    let setting = &row.setting;
    let broker_keys: Vec<_> = row.broker_keys.iter().map(|key| key.name).collect();
    let primary = broker_keys.first().copied().unwrap_or_default();
    let mut behind = synonyms(primary, &broker_keys, setting.is_sensitive(), broker);
    let own = row.own_value(overrides);
    if let Some(value) = &own {
        let own =
            Synonym { name: setting.name.to_owned(), value: Some(value.to_string()), source: ConfigSource::Topic };
        behind.insert(0, own);
    }
    let value = own.or_else(|| row.of_broker(broker).1).map(|value| value.to_string());
    ConfigEntry {
        name: setting.name.to_owned(),
        value,
        source: behind.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        read_only: false,
        sensitive: setting.is_sensitive(),
        synonyms: behind,
        kind: setting.kind,
        doc: setting.doc,
    }
}

impl TopicSetting {
    /// What the topic itself says. A value that does not pass (another program wrote it) counts as not set.
    fn own_value(&self, overrides: &BTreeMap<String, String>) -> Option<Value> {
        self.setting.parse(overrides.get(self.setting.name)?).ok()
    }

    /// What topics have that do not set the key, and whose word that is: by source first, then along the chain of broker keys.
    fn of_broker(&self, broker: &impl BrokerValues) -> (ConfigSource, Option<Value>) {
        self.of_broker_read_by(Self::read_broker_value, broker)
    }

    fn of_broker_read_by(
        &self,
        read: fn(&Self, &BrokerKey, &str) -> Option<Value>,
        broker: &impl BrokerValues,
    ) -> (ConfigSource, Option<Value>) {
        for source in ConfigSource::OF_A_BROKER {
            for key in self.broker_keys {
                let given = broker.given(source, key.name).and_then(|text| read(self, key, text));
                if given.is_some() {
                    return (source, given);
                }
            }
        }
        (ConfigSource::Default, self.setting.default.and_then(|text| self.setting.parse(text).ok()))
    }

    /// A broker key's value in the unit of the topic's key. All negative times mean the same: no limit.
    fn read_broker_value(&self, key: &BrokerKey, text: &str) -> Option<Value> {
        match self.convert_broker_value(key, text)? {
            Value::Number(ms) if key.unit_ms != 1 && ms < 0 => Some(Value::Number(-1)),
            value => Some(value),
        }
    }

    /// As `read_broker_value`, but nothing is made of what is negative.
    fn convert_broker_value(&self, key: &BrokerKey, text: &str) -> Option<Value> {
        if key.unit_ms == 1 {
            return self.setting.parse(text).ok();
        }
        let units: i64 = text.trim().parse().ok()?;
        Some(Value::Number(units.saturating_mul(key.unit_ms)))
    }

    /// The effective value.
    fn effective(&self, overrides: &BTreeMap<String, String>, broker: &impl BrokerValues) -> Option<Value> {
        self.own_value(overrides).or_else(|| self.of_broker(broker).1)
    }
}

#[cfg(test)]
mod tests;
