//! A broker's settings as DescribeConfigs tells them: every key with its effective value, where that comes from, and
//! what else gives it a value.

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::settings::{BrokerValues, ConfigEntry, ConfigSource, Dynamic, Kind, Setting, Synonym, synonyms};

use super::dynamic::keeps_everybody_out;
use super::error::Origin;
use super::table;
use super::written::Written;

/// What one broker's settings are: those it was started with, and those that were set while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// From its file and command line.
    pub written: &'a Written,
    /// Set for this broker.
    pub own: &'a BTreeMap<String, String>,
    /// Set for all brokers.
    pub cluster: &'a BTreeMap<String, String>,
}

impl BrokerValues for Values<'_> {
    fn given(&self, source: ConfigSource, key: &str) -> Option<&str> {
        match source {
            ConfigSource::DynamicBroker => self.own.get(key).map(String::as_str),
            ConfigSource::DynamicDefaultBroker => self.cluster.get(key).map(String::as_str),
            ConfigSource::StaticBroker => match self.written.get(key) {
                Some(value) => Some(&value.text),
                // Kafka lets the newer name of the same number count as both.
                None if key == "broker.id" => self.written.get("node.id").map(|value| value.text.as_str()),
                None => None,
            },
            ConfigSource::Default => table::find(key)?.default,
            _ => None,
        }
    }
}

impl Values<'_> {
    /// All keys of the broker that are wanted, sorted: those of the table, internal ones only if they were set, and any
    /// other that was set.
    pub fn describe_broker(&self, wanted: impl Fn(&str) -> bool) -> Vec<ConfigEntry> {
        let written = self.written.iter().map(|(key, _)| key);
        let mut keys: BTreeSet<&str> = table::all().filter(|row| !row.internal).map(|row| row.name).collect();
        keys.extend(written);
        keys.extend(self.own.keys().map(String::as_str));
        keys.extend(self.cluster.keys().map(String::as_str));
        let effective = self.effective();
        keys.into_iter().filter(|key| wanted(key)).map(|key| self.entry(key, &effective)).collect()
    }

    /// The keys that were set for all brokers and are wanted, and nothing else.
    pub fn describe_cluster(&self, wanted: impl Fn(&str) -> bool) -> Vec<ConfigEntry> {
        let entry = |(key, text): (&String, &String)| {
            let shown = Shown::of(key);
            // As it was set, unlike what a broker makes of it.
            let value = (!shown.sensitive()).then(|| text.clone());
            let source = ConfigSource::DynamicDefaultBroker;
            shown.entry(key, value.clone(), vec![Synonym { name: key.clone(), value, source }])
        };
        self.cluster.iter().filter(|(key, _)| wanted(key)).map(entry).collect()
    }

    /// What is in force, as if it had been written before the start. A value that does not pass, or that keeps everybody out
    /// (another program set it), counts as not set.
    pub fn in_force(&self) -> Written {
        let mut written = Written::default();
        let passes = |key: &str, text: &str| {
            table::find_base(key).is_none_or(|row| row.parse(text).is_ok()) && !keeps_everybody_out(key, text)
        };
        for (key, text) in self.effective() {
            let at_the_start = || self.written.get(key).map(|value| value.text.as_str());
            if let Some(text) = Some(text).filter(|text| passes(key, text)).or_else(at_the_start) {
                written.set(key, text, Origin::Override);
            }
        }
        written
    }

    fn entry(&self, key: &str, effective: &BTreeMap<&str, &str>) -> ConfigEntry {
        let shown = Shown::of(key);
        let behind = synonyms(key, &table::chain(key), shown.sensitive(), self);
        let text = effective.get(key).copied().or_else(|| shown.row?.default);
        shown.entry(key, text.and_then(|text| shown.value(text)), behind)
    }

    /// The values that were set, each under its own key. As in Kafka, setting one key of a chain while the broker runs
    /// takes away what was set lower down for the whole chain.
    fn effective(&self) -> BTreeMap<&str, &str> {
        let mut effective: BTreeMap<&str, &str> =
            self.written.iter().map(|(key, value)| (key, value.text.as_str())).collect();
        if let Some(id) = self.given(ConfigSource::StaticBroker, "broker.id") {
            effective.insert("broker.id", id);
        }
        for (key, text) in self.cluster.iter().chain(self.own) {
            for other in table::chain(key).into_iter().filter(|other| table::find(key).is_some() || other == key) {
                effective.remove(other);
            }
            effective.insert(key, text);
        }
        effective
    }
}

/// How a key is shown.
struct Shown {
    /// Its row, or that of the key it stands for on one listener.
    row: Option<&'static Setting>,
    /// Whether a running broker may be given another value.
    dynamic: bool,
}

impl Shown {
    fn of(key: &str) -> Self {
        let dynamic = table::find(key).is_some_and(|row| row.dynamic != Dynamic::ReadOnly);
        Self { row: table::find_base(key), dynamic }
    }

    /// Passwords are, and keys of which nobody knows what they hold.
    fn sensitive(&self) -> bool {
        self.row.is_none_or(Setting::is_sensitive)
    }

    fn value(&self, text: &str) -> Option<String> {
        let row = self.row.filter(|row| !row.is_sensitive())?;
        Some(row.parse(text).map_or_else(|_| text.to_owned(), |value| value.to_string()))
    }

    fn entry(&self, key: &str, value: Option<String>, behind: Vec<Synonym>) -> ConfigEntry {
        ConfigEntry {
            name: key.to_owned(),
            value,
            source: behind.first().map_or(ConfigSource::Default, |synonym| synonym.source),
            read_only: !self.dynamic,
            sensitive: self.sensitive(),
            synonyms: behind,
            kind: self.row.map_or(Kind::Unknown, |row| row.kind),
            doc: self.row.map_or("", |row| row.doc),
        }
    }
}
