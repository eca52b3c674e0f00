//! What OffsetFetch tells, encoded piece by piece from the groups' own state: a group may have committed to very many
//! partitions, with a note to each.
//!
//! ```text
//!   group [ topic [ partition ... ] ... ] ...     a piece ends behind a partition or a topic
//! ```
//!
//! The offsets are shared copies: what is committed meanwhile changes nothing of them, so that the bytes are the same when they
//! are counted and when they are sent.

use std::sync::Arc;

use ottla_base::Uuid;
use ottla_coordinator::group::{CommittedOffset, PartitionOffsets};
use ottla_protocol::Writer;
use ottla_protocol::error::ErrorCode;

use crate::dispatch::Refused;
use crate::net::answer::{Answer, InPieces};
use crate::request::Responder;

const THROTTLE_TIME_FROM: i16 = 3;
const GROUP_ERROR_FROM: i16 = 2;
const LEADER_EPOCH_FROM: i16 = 5;
const FLEXIBLE_FROM: i16 = 6;
const MANY_FROM: i16 = 8;
const TOPIC_IDS_FROM: i16 = 10;
/// What was never committed.
const NOTHING: i64 = -1;
/// What is encoded at once; the note to one partition may come on top. An answer that is no longer is sent as any other.
const PIECE_BYTES: usize = 256 * 1024;
/// No answer is longer: all offsets of eight million partitions with notes of usual length. As many as a Kafka with its usual
/// heap can tell.
const ANSWER_MAX_BYTES: usize = 512 * 1024 * 1024;
/// What an answer counts at most for offsets that are kept for it alone, since others were committed meanwhile, and as much for
/// their notes. So two that are not taken are there at once, whatever the groups hold.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The whole answer.
#[derive(Debug)]
pub struct Told {
    pub responder: Responder,
    /// Before v8 exactly one.
    pub groups: Vec<ToldGroup>,
    /// What all of this takes beside the offsets.
    pub told_bytes: usize,
    /// How many offsets there are in its topics, told or not.
    pub offsets: usize,
    /// The notes to all offsets of its groups.
    pub notes_bytes: usize,
}

/// What is told of a group.
#[derive(Debug)]
pub struct ToldGroup {
    pub group_id: Arc<str>,
    /// The same for a group that is asked for again.
    pub topics: Arc<Vec<ToldTopic>>,
    pub error: ErrorCode,
}

/// What is told of a topic.
#[derive(Debug)]
pub struct ToldTopic {
    pub name: Arc<str>,
    /// Its id, or zero.
    pub topic_id: Uuid,
    /// Its offsets, where there are any.
    pub committed: Option<PartitionOffsets>,
    pub partitions: ToldPartitions,
}

/// Which partitions are told of.
#[derive(Debug)]
pub enum ToldPartitions {
    /// All with an offset for this topic, which are so many.
    Committed(usize),
    /// These, each with the error.
    Asked(Box<[i32]>, ErrorCode),
}

/// Up to where it is encoded.
#[derive(Debug, Default)]
struct Place {
    /// The head of the answer.
    is_begun: bool,
    group: usize,
    is_in_group: bool,
    topic: usize,
    is_in_topic: bool,
    /// Of the topic: the next partition, or the place of the next one among those that are asked for.
    next: i64,
    is_ended: bool,
}

impl ToldTopic {
    /// All that was committed for this topic, and not for another one of its name.
    pub fn all(name: &Arc<str>, topic_id: Uuid, committed: &PartitionOffsets) -> Self {
        let mut topic = Self {
            name: Arc::clone(name),
            topic_id,
            committed: Some(committed.clone()),
            partitions: ToldPartitions::Committed(0),
        };
        let count = committed.values().filter(|offset| topic.is_of_it(offset)).count();
        topic.partitions = ToldPartitions::Committed(count);
        topic
    }

    /// How many partitions are told of.
    pub fn len(&self) -> usize {
        match &self.partitions {
            ToldPartitions::Committed(count) => *count,
            ToldPartitions::Asked(partitions, _) => partitions.len(),
        }
    }

    /// What it takes beside the offsets.
    pub fn told_bytes(&self) -> usize {
        let partitions = match &self.partitions {
            ToldPartitions::Committed(_) => 0,
            // There may be no other of that name.
            ToldPartitions::Asked(partitions, _) => size_of_val(&**partitions) + self.name.len(),
        };
        size_of::<Self>() + partitions
    }

    /// Where a topic is asked for by a name that there is not, what was committed for one that is gone is told.
    fn is_of_it(&self, offset: &CommittedOffset) -> bool {
        let is_any = self.topic_id.is_zero() && matches!(self.partitions, ToldPartitions::Asked(..));
        is_any || offset.topic_id.is_zero() || offset.topic_id == self.topic_id
    }
}

impl Told {
    /// Encodes it, or has it encoded while it is sent. Where that is so, `is_large` may say that it is not its turn.
    pub fn answer(self, is_large: impl FnOnce() -> Result<(), Refused>) -> Result<Answer, Refused> {
        let (mut place, mut writer) = (Place::default(), Writer::new());
        self.write(&mut place, &mut writer);
        if place.is_ended {
            return Ok(Responder::finish(writer, Vec::new()));
        }
        is_large()?;
        let mut length = writer.buffer.len();
        while !place.is_ended {
            writer.buffer.clear();
            self.write(&mut place, &mut writer);
            length += writer.buffer.len();
            if length > ANSWER_MAX_BYTES {
                return Err(self.responder.too_large());
            }
        }
        Ok(Answer::in_pieces(Box::new(Announced { told: self, length }), length, writer.errors))
    }

    /// Encodes the next piece.
    fn write(&self, place: &mut Place, writer: &mut Writer) {
        let version = self.responder.version();
        if !place.is_begun {
            self.responder.begin(writer);
            if version >= THROTTLE_TIME_FROM {
                writer.int32(0);
            }
            if version >= MANY_FROM {
                writer.begin_array(self.groups.len(), true);
            }
            place.is_begun = true;
        }
        while let Some(group) = self.groups.get(place.group) {
            if !write_group(group, place, writer, version) {
                return;
            }
        }
        if version >= FLEXIBLE_FROM {
            writer.no_tags();
        }
        place.is_ended = true;
    }
}

/// False where there is more of it.
fn write_group(group: &ToldGroup, place: &mut Place, writer: &mut Writer, version: i16) -> bool {
    if !place.is_in_group {
        if version >= MANY_FROM {
            writer.string(&group.group_id, true);
        }
        writer.begin_array(group.topics.len(), version >= FLEXIBLE_FROM);
        (place.is_in_group, place.topic) = (true, 0);
    }
    while let Some(topic) = group.topics.get(place.topic) {
        if !write_topic(topic, place, writer, version) {
            return false;
        }
    }
    if version >= GROUP_ERROR_FROM {
        writer.error_code(group.error.code());
    }
    if version >= MANY_FROM {
        writer.no_tags();
    }
    (place.is_in_group, place.group) = (false, place.group + 1);
    !is_full(writer)
}

fn write_topic(topic: &ToldTopic, place: &mut Place, writer: &mut Writer, version: i16) -> bool {
    if !place.is_in_topic {
        match version {
            TOPIC_IDS_FROM.. => writer.uuid(topic.topic_id),
            _ => writer.string(&topic.name, version >= FLEXIBLE_FROM),
        }
        writer.begin_array(topic.len(), version >= FLEXIBLE_FROM);
        place.is_in_topic = true;
        place.next = match topic.partitions {
            ToldPartitions::Committed(_) => i32::MIN.into(),
            ToldPartitions::Asked(..) => 0,
        };
    }
    if !write_partitions(topic, place, writer, version) {
        return false;
    }
    if version >= FLEXIBLE_FROM {
        writer.no_tags();
    }
    (place.is_in_topic, place.topic) = (false, place.topic + 1);
    !is_full(writer)
}

fn write_partitions(topic: &ToldTopic, place: &mut Place, writer: &mut Writer, version: i16) -> bool {
    let committed = topic.committed.as_ref();
    match &topic.partitions {
        ToldPartitions::Committed(_) => {
            // Past the last partition that there can be, there is none.
            let (Some(committed), Ok(from)) = (committed, i32::try_from(place.next)) else { return true };
            for (&partition, offset) in committed.iter_from(&from).filter(|(_, offset)| topic.is_of_it(offset)) {
                if is_full(writer) {
                    return false;
                }
                write_partition(partition, Some(offset), ErrorCode::None, writer, version);
                place.next = i64::from(partition) + 1;
            }
        }
        ToldPartitions::Asked(partitions, error) => {
            let at = usize::try_from(place.next).expect("a place among them");
            for &partition in &partitions[at..] {
                if is_full(writer) {
                    return false;
                }
                let offset = committed.and_then(|committed| committed.get(&partition));
                let offset = offset.filter(|offset| topic.is_of_it(offset));
                write_partition(partition, offset, *error, writer, version);
                place.next += 1;
            }
        }
    }
    true
}

fn write_partition(
    partition: i32,
    offset: Option<&CommittedOffset>,
    error: ErrorCode,
    writer: &mut Writer,
    version: i16,
) {
    writer.int32(partition);
    writer.int64(offset.map_or(NOTHING, |offset| offset.offset));
    if version >= LEADER_EPOCH_FROM {
        writer.int32(offset.map_or(-1, |offset| offset.leader_epoch));
    }
    writer.string(offset.map_or("", |offset| &offset.metadata), version >= FLEXIBLE_FROM);
    writer.error_code(error.code());
    if version >= FLEXIBLE_FROM {
        writer.no_tags();
    }
}

fn is_full(writer: &Writer) -> bool {
    writer.buffer.len() >= PIECE_BYTES
}

/// One that is encoded while it is sent.
#[derive(Debug)]
struct Announced {
    told: Told,
    length: usize,
}

impl InPieces for Announced {
    fn pieces(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        let mut place = Place::default();
        Box::new(std::iter::from_fn(move || {
            let is_first = !place.is_begun;
            if place.is_ended {
                return None;
            }
            let mut writer = Writer::new();
            writer.buffer.reserve_exact(PIECE_BYTES);
            self.told.write(&mut place, &mut writer);
            if is_first {
                writer.announce_frame(self.length);
            }
            Some(writer.into_bytes())
        }))
    }

    fn memory_bytes(&self) -> usize {
        let kept_bytes = self.told.offsets.saturating_mul(size_of::<(i32, CommittedOffset)>());
        self.told.told_bytes + PIECE_BYTES + kept_bytes.min(KEPT_BYTES_MAX) + self.told.notes_bytes.min(KEPT_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::frame;
    use ottla_protocol::messages::offset_fetch_response::{
        Group, GroupPartition, GroupTopic, OffsetFetchResponse, Partition, Topic,
    };
    use ottla_protocol::{ApiKey, Message, Reader};

    use super::*;

    /// What was committed for partition `index` of the topic with id 5.
    fn committed(index: i32) -> CommittedOffset {
        CommittedOffset {
            offset: 7 * i64::from(index),
            leader_epoch: index % 3,
            metadata: "x".repeat(index as usize % 90).into(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: Uuid(if index % 10 == 9 { 6 } else { 5 }),
        }
    }

    fn of_partitions(count: i32) -> PartitionOffsets {
        (0..count).map(|index| (index, committed(index))).collect()
    }

    fn asked(partitions: &[i32], error: ErrorCode) -> ToldTopic {
        ToldTopic {
            name: "asked".into(),
            topic_id: Uuid(5),
            committed: (error == ErrorCode::None).then(|| of_partitions(100)),
            partitions: ToldPartitions::Asked(partitions.into(), error),
        }
    }

    fn group(group_id: &str, topics: Vec<ToldTopic>, error: ErrorCode) -> ToldGroup {
        ToldGroup { group_id: group_id.into(), topics: Arc::new(topics), error }
    }

    fn told(version: i16, groups: Vec<ToldGroup>) -> Told {
        let responder = Responder { api: ApiKey::OffsetFetch, version, correlation_id: 1 };
        Told { responder, groups, told_bytes: 0, offsets: 0, notes_bytes: 0 }
    }

    #[test]
    fn what_an_answer_keeps_is_counted() {
        let name: Arc<str> = "n".repeat(30_000).into();
        let topics =
            || (0..40).map(|_| ToldTopic { name: Arc::clone(&name), ..asked(&[0], ErrorCode::UnknownTopicId) });
        let told_bytes: usize = topics().map(|topic| topic.told_bytes()).sum();
        assert!(told_bytes > 40 * name.len());
        let told = Told {
            told_bytes,
            notes_bytes: 5_000_000,
            ..told(9, vec![group("g", topics().collect(), ErrorCode::None)])
        };
        let counted = told.answer(|| Ok(())).expect("it is its turn").memory_bytes();
        assert!(counted > told_bytes + 5_000_000, "{counted}");
    }

    /// The same, as its schema has it.
    fn message(told: &Told) -> OffsetFetchResponse<'static> {
        let partition = |partition_index, offset: Option<&CommittedOffset>, error: ErrorCode| GroupPartition {
            partition_index,
            committed_offset: offset.map_or(-1, |offset| offset.offset),
            committed_leader_epoch: offset.map_or(-1, |offset| offset.leader_epoch),
            metadata: Some(offset.map_or(String::new(), |offset| offset.metadata.to_string()).into()),
            error_code: error.code(),
        };
        let topic = |topic: &ToldTopic| {
            let is_it = |offset: &&CommittedOffset| offset.topic_id == Uuid(5);
            let partitions = match &topic.partitions {
                ToldPartitions::Committed(_) => {
                    let offsets = topic.committed.as_ref().expect("it has some").iter();
                    let offsets = offsets.filter(|(_, offset)| is_it(offset));
                    offsets.map(|(index, offset)| partition(*index, Some(offset), ErrorCode::None)).collect()
                }
                ToldPartitions::Asked(asked, error) => {
                    let offset =
                        |index| topic.committed.as_ref().and_then(|committed| committed.get(index)).filter(is_it);
                    asked.iter().map(|index| partition(*index, offset(index), *error)).collect()
                }
            };
            GroupTopic { name: topic.name.to_string().into(), topic_id: topic.topic_id, partitions }
        };
        let groups = told.groups.iter().map(|group| Group {
            group_id: group.group_id.to_string().into(),
            topics: group.topics.iter().map(topic).collect(),
            error_code: group.error.code(),
        });
        let groups: Vec<_> = groups.collect();
        if told.responder.version() >= MANY_FROM {
            return OffsetFetchResponse { groups, ..Default::default() };
        }
        let of_one = |topic: &GroupTopic<'static>| Topic {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().cloned().map(of_one_partition).collect(),
        };
        let topics = groups[0].topics.iter().map(of_one).collect();
        OffsetFetchResponse { topics, error_code: groups[0].error_code, ..Default::default() }
    }

    fn of_one_partition(partition: GroupPartition<'static>) -> Partition<'static> {
        Partition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
        }
    }

    /// The frame in pieces, and what errors it tells of.
    fn sent(told: Told) -> (Vec<Vec<u8>>, Vec<(i16, u32)>) {
        let mut is_asked = false;
        let answer = told.answer(|| {
            is_asked = true;
            Ok(())
        });
        let answer = answer.expect("it is not too large");
        let pieces = match answer.lazily() {
            Some(pieces) => pieces.pieces().collect(),
            None => vec![answer.encoded().to_vec()],
        };
        assert_eq!(is_asked, pieces.len() > 1, "only what is long waits for its turn");
        (pieces, answer.errors().iter().collect())
    }

    #[test]
    fn pieces_are_together_what_the_schema_says() {
        for version in 1..=10 {
            for length in [100, 50_000] {
                let topics = || {
                    vec![
                        ToldTopic::all(&"all".into(), Uuid(5), &of_partitions(length)),
                        asked(&[99, 3, 3, -1, 100], ErrorCode::None),
                        asked(&[1, 2], ErrorCode::UnknownTopicId),
                    ]
                };
                let one = || vec![group("one", topics(), ErrorCode::None)];
                let many = || {
                    let failed = group("failed", Vec::new(), ErrorCode::CoordinatorLoadInProgress);
                    let mut groups = one();
                    groups.extend([failed, group("more", topics(), ErrorCode::None)]);
                    groups
                };
                let told = || told(version, if version < MANY_FROM { one() } else { many() });
                let mut expected = Writer::new();
                told().responder.begin(&mut expected);
                message(&told()).encode(&mut expected, version);
                expected.finish_frame();
                let (pieces, errors) = sent(told());
                assert_eq!(pieces.len() > 1, length > 100, "version {version}");
                assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 200), "version {version}");
                assert!(pieces.concat() == expected.buffer, "version {version}, {length} partitions");
                assert_eq!(errors, expected.errors.iter().collect::<Vec<_>>(), "version {version}");
            }
        }
    }

    #[test]
    fn very_many_topics_of_few_partitions_are_cut_into_pieces_too() {
        let topics: Vec<_> = (0..20_000).map(|_| ToldTopic::all(&"few".into(), Uuid(5), &of_partitions(1))).collect();
        let (pieces, _) = sent(told(8, vec![group("g", topics, ErrorCode::None)]));
        assert!((2..10).contains(&pieces.len()), "{} pieces", pieces.len());
        let frame = pieces.concat();
        let mut reader = Reader::new(&frame[4..]);
        frame::read_response_header(&mut reader, ApiKey::OffsetFetch, 8).expect("a header");
        let response = OffsetFetchResponse::decode(&mut reader, 8).expect("it follows its schema");
        assert_eq!((response.groups[0].topics.len(), reader.remaining()), (20_000, &b""[..]));
    }

    #[test]
    fn the_last_partition_that_there_can_be_is_told_once() {
        let last: PartitionOffsets = [(i32::MAX, committed(0))].into_iter().collect();
        let topics = vec![
            ToldTopic::all(&"t".into(), Uuid(5), &last),
            ToldTopic::all(&"t".into(), Uuid(5), &of_partitions(20_000)),
        ];
        let (pieces, errors) = sent(told(8, vec![group("g", topics, ErrorCode::None)]));
        assert_eq!((pieces.len() > 1, errors), (true, vec![(0, 18_002)]));
    }

    #[test]
    fn what_is_asked_for_over_and_over_is_refused() {
        let topic = ToldTopic {
            committed: Some(
                [(0, CommittedOffset { metadata: "x".repeat(4096).into(), ..committed(0) })].into_iter().collect(),
            ),
            ..asked(&[0; 200_000], ErrorCode::None)
        };
        let refused = told(5, vec![group("g", vec![topic], ErrorCode::None)]).answer(|| Ok(()));
        assert_eq!(refused.err(), Some(Refused::AnswerTooLarge(ApiKey::OffsetFetch)));
    }
}
