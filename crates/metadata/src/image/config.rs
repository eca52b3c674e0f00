//! What a config belongs to.

/// The name of a resource: a topic, a broker by its id, a group. Empty for the default of all brokers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// What kind of thing it is.
    pub kind: ResourceKind,
    /// Which one.
    pub name: String,
}

/// The kinds of things that have configs in the metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// A broker, or with an empty name all of them.
    Broker,
    /// A logger of a broker. Never in the log: the broker itself changes it.
    BrokerLogger,
    /// A subscription to clients' metrics (KIP-714).
    ClientMetrics,
    /// A group (KIP-848).
    Group,
}

impl ConfigResource {
    /// The topic `name`.
    pub fn topic(name: impl Into<String>) -> Self {
        Self { kind: ResourceKind::Topic, name: name.into() }
    }

    /// One broker.
    pub fn broker(id: ottla_base::BrokerId) -> Self {
        Self { kind: ResourceKind::Broker, name: id.to_string() }
    }

    /// What holds for all brokers that do not say otherwise.
    pub fn all_brokers() -> Self {
        Self { kind: ResourceKind::Broker, name: String::new() }
    }
}

impl ResourceKind {
    /// From the number that requests and records carry.
    pub fn from_i8(number: i8) -> Option<Self> {
        Some(match number {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            _ => return None,
        })
    }

    /// The number that requests and records carry.
    pub fn as_i8(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }
}
