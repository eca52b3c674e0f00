//! Control records: what brokers tell readers of a log, between the data.
//!
//! ```text
//!   key     version i16 = 0 | type i16
//!   value   of ABORT and COMMIT: version i16 = 0 | coordinator epoch i32
//! ```
//!
//! The values of the other types are in `internal::control`.

use super::record::Record;

/// The version of the key.
const KEY_VERSION: i16 = 0;
/// The version of an end marker's value. Later ones are read as this one.
const END_MARKER_VERSION: i16 = 0;

/// The kinds of control records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// A transaction was aborted (KIP-98).
    Abort,
    /// A transaction was committed.
    Commit,
    /// A quorum elected a leader (KIP-595).
    LeaderChange,
    /// A metadata snapshot begins (KIP-630).
    SnapshotHeader,
    /// A metadata snapshot ends.
    SnapshotFooter,
    /// The version of the quorum's own protocol (KIP-853).
    KRaftVersion,
    /// The quorum's voters.
    KRaftVoters,
}

/// The end of a transaction, in one of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    /// Committed, or else aborted.
    pub is_commit: bool,
    /// Which life of the transaction's coordinator wrote it.
    pub coordinator_epoch: i32,
}

impl ControlType {
    const ALL: [Self; 7] = [
        Self::Abort,
        Self::Commit,
        Self::LeaderChange,
        Self::SnapshotHeader,
        Self::SnapshotFooter,
        Self::KRaftVersion,
        Self::KRaftVoters,
    ];

    /// Its key.
    pub fn key(self) -> [u8; 4] {
        let [a, b] = KEY_VERSION.to_be_bytes();
        let [c, d] = (self as i16).to_be_bytes();
        [a, b, c, d]
    }

    /// From the key of a control record; `None` for types that are not known, which readers ignore.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let number = i16::from_be_bytes(*key.get(2..)?.first_chunk()?);
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied()
    }
}

impl EndMarker {
    /// From a control record; `None` where it is none of a transaction.
    pub fn from_record(record: &Record<'_>) -> Option<Self> {
        let is_commit = match ControlType::from_key(record.key?)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            _ => return None,
        };
        let coordinator_epoch = i32::from_be_bytes(*record.value?.get(2..)?.first_chunk()?);
        Some(Self { is_commit, coordinator_epoch })
    }

    /// The key of its record.
    pub fn key(self) -> [u8; 4] {
        if self.is_commit { ControlType::Commit.key() } else { ControlType::Abort.key() }
    }

    /// The value of its record.
    pub fn value(self) -> [u8; 6] {
        let [a, b] = END_MARKER_VERSION.to_be_bytes();
        let [c, d, e, f] = self.coordinator_epoch.to_be_bytes();
        [a, b, c, d, e, f]
    }
}
