//! The records of `__consumer_offsets` that hold classic groups and offsets, byte for byte as Kafka writes them.
//!
//! ```text
//!   key     int16 type, then the key's fields        2 GroupMetadata, 1 OffsetCommit (0 in very old logs)
//!   value   int16 version, then the value's fields; none at all is a tombstone
//! ```

use std::sync::Arc;

use ottla_base::Uuid;
use ottla_protocol::internal::offsets::group_metadata_value::MemberMetadata;
use ottla_protocol::internal::offsets::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue,
};
use ottla_protocol::{DecodeError, Message, Reader, Str, Writer};

use super::offsets::CommittedOffset;
use super::{GroupId, MemberId, Opaque};

/// The version of GroupMetadata values that Kafka writes; it reads 0 to 4.
pub const GROUP_METADATA_VERSION: i16 = 3;
/// The version of OffsetCommit values with the topic's id.
const OFFSET_COMMIT_VERSION: i16 = 4;
/// The last version of OffsetCommit values before they could hold tagged fields.
const OFFSET_COMMIT_VERSION_WITHOUT_TAGS: i16 = 3;
/// The only version of OffsetCommit values with a time of expiry of its own.
const OFFSET_COMMIT_VERSION_WITH_EXPIRY: i16 = 1;

/// A record; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// What a group is.
    Group {
        /// Its name.
        group: GroupId,
        /// What it is now.
        value: Option<RecordedGroup>,
    },
    /// How far a group has got in a partition.
    Offset {
        /// The group's name.
        group: GroupId,
        /// The topic's name.
        topic: Arc<str>,
        /// The partition in it.
        partition: i32,
        /// The offset.
        value: Option<CommittedOffset>,
    },
}

/// What the log says of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedGroup {
    /// `consumer`, `connect`; empty where there never was a member.
    pub protocol_type: Arc<str>,
    /// Counts the rebalances.
    pub generation: i32,
    /// What the members have agreed on.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: Option<MemberId>,
    /// Since when it is as it is, or -1.
    pub state_timestamp_ms: i64,
    /// Its members.
    pub members: Vec<RecordedMember>,
}

/// What the log says of a member.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedMember {
    /// Its name.
    pub member_id: MemberId,
    /// The name that outlives its restarts (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// The client's own name.
    pub client_id: Arc<str>,
    /// Where it is, with a slash in front.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its metadata for the protocol agreed on.
    pub subscription: Opaque,
    /// What the leader gave it.
    pub assignment: Opaque,
}

impl Record {
    /// The bytes of the key, and of the value where it has one.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Self::Group { group, value } => {
                let key = GroupMetadataKey { group: Str::Borrowed(group) };
                (key_bytes(&key), value.as_ref().map(|value| value_bytes(&value.to_value(), GROUP_METADATA_VERSION)))
            }
            Self::Offset { group, topic, partition, value } => {
                let key =
                    OffsetCommitKey { group: Str::Borrowed(group), topic: Str::Borrowed(topic), partition: *partition };
                (key_bytes(&key), value.as_ref().map(|value| value_bytes(&to_value(value), version_of(value))))
            }
        }
    }

    /// Reads a record; none where it is of another kind than these.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(key);
        match reader.int16()? {
            LegacyOffsetCommitKey::KEY | OffsetCommitKey::KEY => {
                let key = OffsetCommitKey::decode(&mut reader, 0)?;
                let value = value.map(decode_value::<OffsetCommitValue<'_>>).transpose()?;
                Ok(Some(Self::Offset {
                    group: key.group.into(),
                    topic: key.topic.into(),
                    partition: key.partition,
                    value: value.as_ref().map(from_value),
                }))
            }
            GroupMetadataKey::KEY => {
                let key = GroupMetadataKey::decode(&mut reader, 0)?;
                let value = value.map(decode_value::<GroupMetadataValue<'_>>).transpose()?;
                Ok(Some(Self::Group { group: key.group.into(), value: value.map(RecordedGroup::from_value) }))
            }
            _ => Ok(None),
        }
    }
}

impl RecordedGroup {
    fn to_value(&self) -> GroupMetadataValue<'_> {
        GroupMetadataValue {
            protocol_type: Str::Borrowed(&self.protocol_type),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(Str::Borrowed),
            leader: self.leader.as_deref().map(Str::Borrowed),
            current_state_timestamp: self.state_timestamp_ms,
            members: self.members.iter().map(RecordedMember::to_value).collect(),
        }
    }

    fn from_value(value: GroupMetadataValue<'_>) -> Self {
        Self {
            protocol_type: value.protocol_type.into(),
            generation: value.generation,
            protocol: value.protocol.map(Into::into),
            leader: value.leader.map(Into::into),
            state_timestamp_ms: value.current_state_timestamp,
            members: value.members.into_iter().map(RecordedMember::from_value).collect(),
        }
    }
}

impl RecordedMember {
    fn to_value(&self) -> MemberMetadata<'_> {
        MemberMetadata {
            member_id: Str::Borrowed(&self.member_id),
            group_instance_id: self.instance_id.as_deref().map(Str::Borrowed),
            client_id: Str::Borrowed(&self.client_id),
            client_host: Str::Borrowed(&self.client_host),
            rebalance_timeout: self.rebalance_timeout_ms,
            session_timeout: self.session_timeout_ms,
            subscription: self.subscription[..].into(),
            assignment: self.assignment[..].into(),
        }
    }

    fn from_value(value: MemberMetadata<'_>) -> Self {
        // Version 0 did not carry it.
        let rebalance_timeout_ms =
            if value.rebalance_timeout == -1 { value.session_timeout } else { value.rebalance_timeout };
        Self {
            member_id: value.member_id.into(),
            instance_id: value.group_instance_id.map(Into::into),
            client_id: value.client_id.into(),
            client_host: value.client_host.into(),
            rebalance_timeout_ms,
            session_timeout_ms: value.session_timeout,
            subscription: value.subscription[..].into(),
            assignment: value.assignment[..].into(),
        }
    }
}

/// The value of a commit as it was written before it named the topic's id, for a reader that knows no later version. None
/// where it is such a value already, or a value of another kind, or cannot be read.
pub fn value_without_tags(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let kind = Reader::new(key).int16().ok()?;
    let version = Reader::new(value).int16().ok()?;
    if kind != OffsetCommitKey::KEY || version <= OFFSET_COMMIT_VERSION_WITHOUT_TAGS {
        return None;
    }
    let value: OffsetCommitValue<'_> = decode_value(value).ok()?;
    Some(value_bytes(&value, OFFSET_COMMIT_VERSION_WITHOUT_TAGS))
}

fn version_of(offset: &CommittedOffset) -> i16 {
    if offset.expire_timestamp_ms.is_some() { OFFSET_COMMIT_VERSION_WITH_EXPIRY } else { OFFSET_COMMIT_VERSION }
}

fn to_value(offset: &CommittedOffset) -> OffsetCommitValue<'_> {
    OffsetCommitValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: Str::Borrowed(&offset.metadata),
        commit_timestamp: offset.commit_timestamp_ms,
        expire_timestamp: offset.expire_timestamp_ms.unwrap_or(-1),
        topic_id: offset.topic_id,
    }
}

fn from_value(value: &OffsetCommitValue<'_>) -> CommittedOffset {
    let has_expiry = value.expire_timestamp != -1;
    CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.as_ref().into(),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: has_expiry.then_some(value.expire_timestamp),
        topic_id: if has_expiry { Uuid::ZERO } else { value.topic_id },
    }
}

fn key_bytes<'a, M: Message<'a>>(key: &M) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.int16(M::KEY);
    key.encode(&mut writer, 0);
    writer.into_bytes()
}

fn value_bytes<'a, M: Message<'a>>(value: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.int16(version);
    value.encode(&mut writer, version);
    writer.into_bytes()
}

fn decode_value<'a, M: Message<'a>>(bytes: &'a [u8]) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.int16()?;
    M::decode(&mut reader, version)
}
