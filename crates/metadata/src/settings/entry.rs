//! How an effective value is told to a client: with its source, and with what stands behind it (its synonyms).

use super::Kind;

/// Where a value comes from; the numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set for the topic.
    Topic = 1,
    /// Set for one running broker.
    DynamicBroker = 2,
    /// Set for all running brokers.
    DynamicDefaultBroker = 3,
    /// From `server.properties` or the command line.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
    /// Set for a logger of a running broker.
    DynamicBrokerLogger = 6,
    /// Set for a client metrics subscription.
    ClientMetrics = 7,
    /// Set for a group.
    Group = 8,
}

/// One key of a described resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The effective value; absent where there is none, and where it must not be shown.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Not changeable while the broker runs.
    pub read_only: bool,
    /// Never shown.
    pub sensitive: bool,
    /// What gives the key a value, highest first.
    pub synonyms: Vec<Synonym>,
    /// The type of the value.
    pub kind: Kind,
    /// What the key does.
    pub doc: &'static str,
}

/// One place that gives a key a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The key at that place.
    pub name: String,
    /// The value there, as it was written; absent where it must not be shown.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

/// What a broker's own settings say, source by source.
pub trait BrokerValues {
    /// The text that `source` (one of [`ConfigSource::OF_A_BROKER`]) gives `key`.
    fn given(&self, source: ConfigSource, key: &str) -> Option<&str>;
}

impl ConfigSource {
    /// The sources of a broker's values, highest first.
    pub const OF_A_BROKER: [Self; 4] =
        [Self::DynamicBroker, Self::DynamicDefaultBroker, Self::StaticBroker, Self::Default];

    /// The number that DescribeConfigs sends.
    pub fn id(self) -> i8 {
        self as i8
    }
}

/// What gives the key `described` a value: every source of every one of `keys`, it among them, highest first.
///
/// As in Kafka the list begins at the first value of `described` itself: `log.retention.ms` shows its whole chain once
/// it is set, but nothing while only `log.retention.hours` is.
pub fn synonyms(described: &str, keys: &[&str], sensitive: bool, broker: &impl BrokerValues) -> Vec<Synonym> {
    let mut found = Vec::new();
    for source in ConfigSource::OF_A_BROKER {
        for &key in keys {
            if let Some(text) = broker.given(source, key) {
                let value = (!sensitive).then(|| text.to_owned());
                found.push(Synonym { name: key.to_owned(), value, source });
            }
        }
    }
    let begin = found.iter().position(|synonym| synonym.name == described).unwrap_or(found.len());
    found.split_off(begin)
}
