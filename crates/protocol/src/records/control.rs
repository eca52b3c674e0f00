//! Control records: what brokers tell readers of a log, between the data.
//!
//! Their key is `version i16, type i16`; what their value is depends on the type (`internal::control`).

/// The version of the key.
const KEY_VERSION: i16 = 0;

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
