//! A registered broker, and a registered controller.

use std::collections::BTreeMap;

use ottla_base::{BrokerEpoch, BrokerId, Uuid};

/// A broker's registration. It stays when the broker is stopped, until it is unregistered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its `node.id`.
    pub id: BrokerId,
    /// The metadata offset of this registration.
    pub epoch: BrokerEpoch,
    /// Drawn anew by each process.
    pub incarnation_id: Uuid,
    /// Where it can be reached, one for each advertised listener.
    pub endpoints: Vec<Endpoint>,
    /// The features it can speak, each from the lowest to the highest level.
    pub features: BTreeMap<String, FeatureRange>,
    /// Its `broker.rack`.
    pub rack: Option<String>,
    /// Whether it is shut out: it leads nothing, is in no ISR, and clients are not told of it.
    pub fenced: bool,
    /// Whether it is handing over its leaderships before it stops.
    pub in_controlled_shutdown: bool,
    /// The ids of its log directories that are online, sorted.
    pub log_dirs: Vec<Uuid>,
    /// The log directories that get no new replicas; absent where the registration does not say (KIP-1066).
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

/// A registered controller (KIP-919).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredController {
    /// Its `node.id`.
    pub id: i32,
    /// Drawn anew by each process.
    pub incarnation_id: Uuid,
    /// Where it can be reached.
    pub endpoints: Vec<Endpoint>,
    /// The features it can speak.
    pub features: BTreeMap<String, FeatureRange>,
}

/// One advertised listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, as configured: `PLAINTEXT`.
    pub listener: String,
    /// The host clients are told.
    pub host: String,
    /// The port clients are told.
    pub port: u16,
    /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can speak, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl Broker {
    /// Whether it may lead partitions and be in their ISR.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Its endpoint on a listener; names of listeners are compared without regard to case.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener.eq_ignore_ascii_case(listener))
    }

    /// The directory of a new replica: the only one, or [`super::UNASSIGNED_DIRECTORY`] where the broker has to choose.
    pub fn default_directory(&self) -> Uuid {
        match self.log_dirs[..] {
            [only] => only,
            _ => super::UNASSIGNED_DIRECTORY,
        }
    }

    /// Whether a directory is online, as far as is known: of one that no broker has chosen yet, nothing is.
    pub fn has_online(&self, directory: Uuid) -> bool {
        match directory {
            super::LOST_DIRECTORY => false,
            super::UNASSIGNED_DIRECTORY | super::MIGRATING_DIRECTORY => true,
            directory => self.log_dirs.is_empty() || self.log_dirs.contains(&directory),
        }
    }

    /// Whether new replicas may be placed on it: some directory is not cordoned.
    pub fn accepts_replicas(&self) -> bool {
        let cordoned = self.cordoned_log_dirs.as_deref().unwrap_or_default();
        self.log_dirs.is_empty() || self.log_dirs.iter().any(|directory| !cordoned.contains(directory))
    }
}
