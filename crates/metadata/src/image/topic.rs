//! A topic and its partitions, as the metadata log describes them.

use std::sync::Arc;

use ottla_base::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, SharedMap, Uuid};

/// The directory of a replica whose broker has not yet said where it put it.
pub const UNASSIGNED_DIRECTORY: Uuid = Uuid(1);
/// The directory of a replica from before directories had ids.
pub const MIGRATING_DIRECTORY: Uuid = Uuid(0);
/// The directory of a replica that its broker cannot find any more.
pub const LOST_DIRECTORY: Uuid = Uuid(2);

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id. A topic that is deleted and created again has another.
    pub id: Uuid,
    /// Its partitions, numbered from 0 without gaps.
    pub partitions: SharedMap<PartitionIndex, Arc<Partition>>,
}

/// What is known of a partition to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Partition {
    /// The brokers that hold it; the first is the preferred leader.
    pub replicas: Vec<BrokerId>,
    /// The log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// The in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Replicas that may be elected without loss although they left the ISR (KIP-966).
    pub eligible_leader_replicas: Vec<BrokerId>,
    /// Who led, or was eligible, before nobody was (KIP-966).
    pub last_known_eligible_leader_replicas: Vec<BrokerId>,
    /// Replicas that a running reassignment takes away.
    pub removing_replicas: Vec<BrokerId>,
    /// Replicas that a running reassignment adds.
    pub adding_replicas: Vec<BrokerId>,
    /// The leader; absent where the partition is offline.
    pub leader: Option<BrokerId>,
    /// Whether the leader was elected uncleanly and has not yet said that it recovered.
    pub leader_recovery_state: LeaderRecoveryState,
    /// Grows by one with each election.
    pub leader_epoch: LeaderEpoch,
    /// Grows by one with each change.
    pub partition_epoch: PartitionEpoch,
}

/// Whether a leader's log may lack what was acknowledged (KIP-704).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LeaderRecoveryState {
    /// It was elected from the ISR, or has recovered since.
    #[default]
    Recovered,
    /// It was elected uncleanly.
    Recovering,
}

impl Topic {
    /// A topic that has no partitions yet.
    pub fn new(name: impl Into<Arc<str>>, id: Uuid) -> Self {
        Self { name: name.into(), id, partitions: SharedMap::new() }
    }

    /// How many replicas its partitions have: that of partition 0.
    pub fn replication_factor(&self) -> i16 {
        let replicas = self.partitions.get(&PartitionIndex(0)).map_or(0, |partition| partition.replicas.len());
        i16::try_from(replicas).expect("a replica list comes from a list of brokers that was checked")
    }
}

impl Partition {
    /// Whether it is getting other replicas.
    pub fn is_reassigning(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    /// Whether `broker` holds a replica.
    pub fn is_replica(&self, broker: BrokerId) -> bool {
        self.replicas.contains(&broker)
    }

    /// The log directory of `broker`'s replica.
    pub fn directory(&self, broker: BrokerId) -> Option<Uuid> {
        let place = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(place).copied()
    }
}

impl LeaderRecoveryState {
    /// As records carry it.
    pub fn as_i8(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// From what a record carries.
    pub fn from_i8(value: i8) -> Option<Self> {
        match value {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}
