//! OffsetCommit (key 8): a group, or somebody without one, notes how far it has got.
//!
//! Differs from Kafka: the metadata of all offsets together is bounded. Past that, what says more than a few words, and more than
//! it said before, is refused as if it were too large by itself. There the heap ends. A part of the room is kept for groups that
//! say little.
//!
//! v2-4 retention time. v6 leader epoch. v7 static members. v9 an unknown group is 69. v10 topic ids.

use std::sync::Arc;

use ottla_base::{Outcome, Timestamp, Uuid};
use ottla_protocol::error::ErrorCode;

use super::{CommittedOffset, Offsets};
use crate::group::classic::heartbeat::heard;
use crate::group::classic::state::{ClassicGroup, GroupState};
use crate::group::records::Record;
use crate::group::{Answer, Asked, Effect, GroupCoordinator, GroupId, Limit, MemberId, Note, NoteKind};

/// Metadata that is no longer is stored however much there is: what consumers of usual libraries write, if anything.
const SHORT_METADATA_BYTES: usize = 64;

/// A group that writes no more than this is let into the room that is kept for such: sixteen offsets with the default
/// `offset.metadata.max.bytes`.
const LITTLE_METADATA_BYTES: usize = 64 * 1024;

/// As long as the broker says.
const DEFAULT_RETENTION_MS: i64 = -1;

/// An OffsetCommit request. The host keeps back partitions that are not there, and refuses them itself.
#[derive(Clone, Debug)]
pub struct OffsetCommit {
    /// The group; may be empty, as very old clients have it.
    pub group_id: GroupId,
    /// The generation that the member knows; -1 of one who is no member.
    pub generation: i32,
    /// The member, or empty.
    pub member_id: MemberId,
    /// The name that outlives its restarts.
    pub instance_id: Option<Arc<str>>,
    /// How long to keep the offsets, from now on; -1 as long as the broker says. Other negative times are over already.
    pub retention_time_ms: i64,
    /// Since v9: a group that there is not is error 69, else 22.
    pub knows_group_id_not_found: bool,
    /// How far it has got.
    pub offsets: Vec<OffsetToCommit>,
    /// How much more metadata there may be in all groups, those of other partitions too.
    pub metadata_room: MetadataRoom,
}

/// Room for metadata of offsets.
#[derive(Clone, Copy, Debug)]
pub struct MetadataRoom {
    /// What there is for groups that write little.
    pub bytes: usize,
    /// What of it is not for others.
    pub reserved_bytes: usize,
}

/// How far somebody has got in one partition.
#[derive(Clone, Debug)]
pub struct OffsetToCommit {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id, or zero.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Of the last record read, or -1.
    pub leader_epoch: i32,
    /// Anything.
    pub metadata: Option<Arc<str>>,
    /// The topic is gone since the host looked for it.
    pub is_topic_gone: bool,
}

impl OffsetCommit {
    pub(in crate::group) fn decide(self, asked: Asked<'_>) -> Outcome<GroupCoordinator> {
        let Asked { coordinator, now, .. } = asked;
        let group = coordinator.classic(&self.group_id);
        if let Err(error) = self.validate(group) {
            return asked.answered(Answer::OffsetCommit(vec![error; self.offsets.len()]));
        }
        let mut outcome = Outcome::default();
        // A commit is as good as a heartbeat (KIP-62).
        if let Some(group) = group.filter(|group| !group.is_empty()) {
            outcome.notes.push(heard(&self.group_id, group, &self.member_id, now));
        }
        // On the disk -1 is none.
        let expire_timestamp_ms = (self.retention_time_ms != DEFAULT_RETENTION_MS)
            .then(|| now.wall_ms.saturating_add(self.retention_time_ms).max(0));
        let max_length = coordinator.settings.offset_metadata_max_bytes;
        let mut results = Vec::with_capacity(self.offsets.len());
        let committed = coordinator.group(&self.group_id).map(|group| &group.offsets);
        let group_bytes = committed.map_or(0, Offsets::metadata_bytes);
        let mut taking = Taking { room: self.metadata_room, group_bytes };
        let mut is_refused = false;
        for offset in self.offsets {
            if offset.is_topic_gone {
                results.push(ErrorCode::UnknownTopicOrPartition);
                continue;
            }
            let has_room = taking.take(&offset, committed);
            is_refused |= !has_room;
            if !has_room || offset.metadata.as_ref().is_some_and(|metadata| is_longer(metadata, max_length)) {
                results.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            results.push(ErrorCode::None);
            outcome.records.push(offset.into_record(&self.group_id, now.wall_ms, expire_timestamp_ms));
        }
        if !outcome.records.is_empty() {
            outcome.notes.push(Note(NoteKind::CommittedOffsets(outcome.records.len() as u64)));
        }
        outcome.effects = asked.answered(Answer::OffsetCommit(results)).effects;
        if is_refused {
            outcome.effects.push(Effect::Refused { group: self.group_id, limit: Limit::Metadata });
        }
        outcome
    }

    fn validate(&self, group: Option<&ClassicGroup>) -> Result<(), ErrorCode> {
        let Some(group) = group else {
            // One who is no member makes a group by committing.
            return match self.generation {
                ..0 => Ok(()),
                _ if self.knows_group_id_not_found => Err(ErrorCode::GroupIdNotFound),
                _ => Err(ErrorCode::IllegalGeneration),
            };
        };
        if self.generation < 0 && group.is_empty() {
            return Ok(());
        }
        if self.generation < 0 && self.member_id.is_empty() && self.instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        group.validate_member(&self.member_id, self.instance_id.as_deref())?;
        if self.generation != group.generation() {
            return Err(ErrorCode::IllegalGeneration);
        }
        match group.state() {
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}

/// What is left of the room while offsets take of it.
struct Taking {
    room: MetadataRoom,
    /// What the group has written with those before.
    group_bytes: usize,
}

impl Taking {
    /// Takes the room for the metadata of an offset, if there is enough.
    fn take(&mut self, offset: &OffsetToCommit, committed: Option<&Offsets>) -> bool {
        let new_bytes = offset.metadata.as_ref().map_or(0, |metadata| metadata.len());
        let former = committed.and_then(|committed| committed.get(&offset.topic, offset.partition));
        let growth_bytes = new_bytes.saturating_sub(former.map_or(0, |former| former.metadata.len()));
        let group_bytes = self.group_bytes + growth_bytes;
        let reserved_bytes = if group_bytes > LITTLE_METADATA_BYTES { self.room.reserved_bytes } else { 0 };
        let fits = growth_bytes == 0 || growth_bytes <= self.room.bytes.saturating_sub(reserved_bytes);
        if fits {
            self.room.bytes -= growth_bytes;
            self.group_bytes = group_bytes;
        }
        fits || new_bytes <= SHORT_METADATA_BYTES
    }
}

/// As Java counts: in UTF-16 units, of which there are never more than bytes.
fn is_longer(text: &str, max_length: usize) -> bool {
    text.len() > max_length && text.encode_utf16().count() > max_length
}

impl OffsetToCommit {
    /// A record with a time of expiry is of a version that has neither the leader epoch nor the topic's id.
    fn into_record(self, group_id: &GroupId, now_ms: Timestamp, expire_timestamp_ms: Option<Timestamp>) -> Record {
        let is_plain = expire_timestamp_ms.is_none();
        let value = CommittedOffset {
            offset: self.offset,
            leader_epoch: if is_plain { self.leader_epoch } else { -1 },
            metadata: self.metadata.unwrap_or_default(),
            commit_timestamp_ms: now_ms,
            expire_timestamp_ms,
            topic_id: if is_plain { self.topic_id } else { Uuid::ZERO },
        };
        Record::Offset { group: Arc::clone(group_id), topic: self.topic, partition: self.partition, value: Some(value) }
    }
}
