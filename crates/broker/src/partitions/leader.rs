//! What the leader of a partition lets in and shows: pure, without log or clock.
//!
//! Today the leader is the only replica; the questions that handlers ask are already the ones of a replicated
//! partition (KIP-101, KIP-392, KIP-966).

use std::cmp::Ordering;

use ottla_base::{BrokerId, LeaderEpoch, Offset};
use ottla_protocol::error::ErrorCode;

/// How many replicas must hold a record before its producer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// None: there is no answer at all.
    None,
    /// The leader.
    Leader,
    /// All that are in sync.
    All,
}

impl Acks {
    /// From the number in a Produce request.
    pub fn from_wire(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// Who reads, and so up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A consumer that takes all committed records.
    Uncommitted,
    /// A consumer that takes records of committed transactions only.
    Committed,
    /// A debugging consumer: up to the log's end.
    Debug,
}

/// Leadership of one partition.
#[derive(Clone, Debug)]
pub struct Leader {
    local: BrokerId,
    epoch: LeaderEpoch,
    in_sync: Vec<BrokerId>,
    replica_count: usize,
    high_watermark: Offset,
}

impl Leader {
    /// `local` leads from `epoch` on; `checkpointed` is the high watermark it knew, `end` where its log ends.
    pub fn new(
        local: BrokerId,
        epoch: LeaderEpoch,
        in_sync: Vec<BrokerId>,
        replica_count: usize,
        checkpointed: Offset,
        end: Offset,
    ) -> Self {
        let mut leader = Self { local, epoch, in_sync, replica_count, high_watermark: checkpointed.min(end) };
        leader.on_appended(end);
        leader
    }

    /// It is leader again, or others have joined it or left: `epoch` is not older than the one it knows.
    pub fn go_on(&mut self, epoch: LeaderEpoch, in_sync: Vec<BrokerId>, replica_count: usize) {
        self.epoch = self.epoch.max(epoch);
        (self.in_sync, self.replica_count) = (in_sync, replica_count);
    }

    /// Whether a batch may be appended. Kafka asks for enough in-sync replicas only with acks=all.
    pub fn may_append(&self, acks: Acks, min_insync_replicas: usize) -> Result<(), ErrorCode> {
        if acks == Acks::All && self.in_sync(min_insync_replicas).is_lt() {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        Ok(())
    }

    /// Compares the epoch that a client believes in with the real one; -1 asks for no comparison.
    pub fn check_epoch(&self, believed: LeaderEpoch) -> Result<(), ErrorCode> {
        match believed {
            LeaderEpoch::NONE => Ok(()),
            older if older < self.epoch => Err(ErrorCode::FencedLeaderEpoch),
            newer if newer > self.epoch => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// What a broker is told that fetches as a replica, and is none. As in Kafka, which of the two is behind is not known where
    /// it names an epoch.
    pub fn refuse_replica(&self, believed: LeaderEpoch) -> ErrorCode {
        match self.check_epoch(believed) {
            Err(code) => code,
            Ok(()) if believed == LeaderEpoch::NONE => ErrorCode::NotLeaderOrFollower,
            Ok(()) => ErrorCode::UnknownLeaderEpoch,
        }
    }

    /// The local log now ends at `end`. Says whether the high watermark moved.
    pub fn on_appended(&mut self, end: Offset) -> bool {
        if self.in_sync != [self.local] {
            return false;
        }
        let moved = end > self.high_watermark;
        self.high_watermark = self.high_watermark.max(end);
        moved
    }

    /// Where `reader` must stop (excluded).
    pub fn bound(&self, reader: Reader, end: Offset, first_unstable: Option<Offset>) -> Offset {
        match reader {
            Reader::Uncommitted => self.high_watermark,
            Reader::Committed => self.last_stable_offset(first_unstable),
            Reader::Debug => end,
        }
    }

    /// Everything below it belongs to no open transaction and is committed.
    pub fn last_stable_offset(&self, first_unstable: Option<Offset>) -> Offset {
        first_unstable.map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// Everything below it is on all in-sync replicas.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// How many replicas are in sync, beside how many there have to be.
    pub fn in_sync(&self, min_insync_replicas: usize) -> Ordering {
        // Kafka's effective minimum is never more than there are replicas.
        self.in_sync.len().cmp(&min_insync_replicas.min(self.replica_count))
    }

    /// Whether there are other replicas.
    pub fn is_replicated(&self) -> bool {
        self.replica_count > 1
    }

    /// Whether fewer replicas are in sync than there are.
    pub fn is_under_replicated(&self) -> bool {
        self.in_sync.len() < self.replica_count
    }

    /// The epoch of this leadership.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Panics where the state contradicts itself or a log that ends at `end`.
    pub fn check(&self, end: Offset) {
        assert!(self.high_watermark <= end, "the high watermark {} is past the log's end {end}", self.high_watermark);
        assert!(self.in_sync.contains(&self.local), "a leader is in sync with itself");
        assert!(self.in_sync.len() <= self.replica_count, "only replicas are in sync");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(end: i64) -> Leader {
        Leader::new(BrokerId(1), LeaderEpoch(3), vec![BrokerId(1)], 1, Offset(0), Offset(end))
    }

    #[test]
    fn a_single_replica_commits_what_it_appends() {
        let mut leader = alone(10);
        assert_eq!(leader.high_watermark(), Offset(10));
        assert!(leader.on_appended(Offset(12)));
        assert!(!leader.on_appended(Offset(12)));
        leader.check(Offset(12));
        assert_eq!(leader.bound(Reader::Uncommitted, Offset(12), Some(Offset(5))), Offset(12));
        assert_eq!(leader.bound(Reader::Committed, Offset(12), Some(Offset(5))), Offset(5));
        assert_eq!(leader.bound(Reader::Committed, Offset(12), None), Offset(12));
    }

    #[test]
    fn with_a_second_replica_in_sync_nothing_is_committed_by_appending() {
        let in_sync = vec![BrokerId(1), BrokerId(2)];
        let mut leader = Leader::new(BrokerId(1), LeaderEpoch(0), in_sync, 2, Offset(4), Offset(9));
        assert!(!leader.on_appended(Offset(11)));
        assert_eq!(leader.high_watermark(), Offset(4));
        assert_eq!(leader.bound(Reader::Debug, Offset(11), None), Offset(11));
    }

    #[test]
    fn epochs_are_compared_only_where_the_client_names_one() {
        let leader = alone(0);
        assert_eq!(leader.check_epoch(LeaderEpoch(-1)), Ok(()));
        assert_eq!(leader.check_epoch(LeaderEpoch(3)), Ok(()));
        assert_eq!(leader.check_epoch(LeaderEpoch(2)), Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(leader.check_epoch(LeaderEpoch(4)), Err(ErrorCode::UnknownLeaderEpoch));
    }

    #[test]
    fn who_is_no_replica_is_told_so_by_the_epoch_it_names() {
        let told = [-1, 2, 3, 4].map(|epoch| alone(0).refuse_replica(LeaderEpoch(epoch)).code());
        assert_eq!(told, [6, 74, 75, 75]);
    }

    #[test]
    fn acks_all_asks_for_the_effective_minimum_of_replicas() {
        let in_sync = vec![BrokerId(1)];
        let leader = Leader::new(BrokerId(1), LeaderEpoch(0), in_sync, 3, Offset(0), Offset(0));
        assert_eq!(leader.may_append(Acks::All, 2), Err(ErrorCode::NotEnoughReplicas));
        assert_eq!(leader.may_append(Acks::Leader, 2), Ok(()));
        assert_eq!(alone(0).may_append(Acks::All, 5), Ok(()), "never more than there are replicas");
    }
}
