//! OffsetFetch (key 9, versions 1-10): how far groups have got.
//!
//! v2 all topics of a group, an error for the group. v3 throttle time. v5 leader epoch. v6 flexible. v7 stable offsets
//! (KIP-447): without transactions all are. v8 several groups (KIP-709). v9 member epochs. v10 topic ids (KIP-848).
//! What a group never committed is -1, without an error.
//! Differs from Kafka: an answer that would be longer than 512 MiB, or tell of more than 200,000 topics, costs the connection.
//! There the heap ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_base::Uuid;
use ottla_coordinator::group::Offsets;
use ottla_metadata::image::Image;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequest;

use super::Api;
use super::offset_fetch_answer::{Told, ToldGroup, ToldPartitions, ToldTopic};
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::{ANSWER_MAX_BYTES, Request};

/// OffsetFetch.
pub const API: Api = Api { key: ApiKey::OffsetFetch, versions: 1..=10, handle };

const GROUP_ERROR_FROM: i16 = 2;
const MANY_FROM: i16 = 8;
const TOPIC_IDS_FROM: i16 = 10;
/// What is told may take this beside the offsets, which are the groups' own: 200,000 topics, or four million partitions that are
/// asked for by number.
const TOLD_BYTES_MAX: usize = ANSWER_MAX_BYTES;
/// From here on it makes the request a large one.
const LARGE_BYTES: usize = 512 * 1024;

/// What is asked of a group, in any version.
struct AskedGroup<'r> {
    group_id: &'r str,
    /// `None` asks for all.
    topics: Option<Vec<AskedTopic<'r>>>,
}

struct AskedTopic<'r> {
    name: &'r str,
    topic_id: Uuid,
    partitions: &'r [i32],
}

/// Finds what is to be told.
struct Teller<'r> {
    request: &'r Request<'r>,
    image: Arc<Image>,
    /// What was found for groups that were asked for all they have.
    whole: BTreeMap<Arc<str>, Result<Arc<Vec<ToldTopic>>, ErrorCode>>,
    told_bytes: usize,
    offsets: usize,
    notes_bytes: usize,
}

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let wire: OffsetFetchRequest<'_> = request.decode()?;
    let request = &*request;
    let mut teller = Teller {
        request,
        image: request.node.image(),
        whole: BTreeMap::new(),
        told_bytes: 0,
        offsets: 0,
        notes_bytes: 0,
    };
    let mut groups = Vec::new();
    for asked in asked(&wire, request.version()) {
        let before_bytes = teller.told_bytes;
        let told = match teller.tell(&asked) {
            // Clients ask again for groups that are being loaded, and for those alone.
            Err(Refused::AnswerTooLarge(_)) if !groups.is_empty() => {
                teller.told_bytes = before_bytes + size_of::<ToldGroup>() + asked.group_id.len();
                let error = ErrorCode::CoordinatorLoadInProgress;
                ToldGroup { group_id: asked.group_id.into(), topics: Arc::default(), error }
            }
            told => told?,
        };
        groups.push(told);
    }
    let Teller { told_bytes, offsets, notes_bytes, .. } = teller;
    let told = Told { responder: request.responder(), groups, told_bytes, offsets, notes_bytes };
    told.answer(|| request.is_large()).map(Reply::Ready)
}

/// What is asked for, one group after the other.
fn asked<'r>(wire: &'r OffsetFetchRequest<'_>, version: i16) -> impl Iterator<Item = AskedGroup<'r>> {
    let one = (version < MANY_FROM).then(|| {
        let topics = wire.topics.as_ref().map(|topics| {
            let asked = topics.iter().map(|topic| AskedTopic {
                name: &topic.name,
                topic_id: Uuid::ZERO,
                partitions: &topic.partition_indexes,
            });
            asked.collect()
        });
        AskedGroup { group_id: &wire.group_id, topics }
    });
    let many = if version < MANY_FROM { &[] } else { &*wire.groups };
    let many = many.iter().map(|group| {
        let topics = group.topics.as_ref().map(|topics| {
            let asked = topics.iter().map(|topic| AskedTopic {
                name: &topic.name,
                topic_id: topic.topic_id,
                partitions: &topic.partition_indexes,
            });
            asked.collect()
        });
        AskedGroup { group_id: &group.group_id, topics }
    });
    one.into_iter().chain(many)
}

impl Teller<'_> {
    fn tell(&mut self, asked: &AskedGroup<'_>) -> Result<ToldGroup, Refused> {
        self.takes(size_of::<ToldGroup>() + asked.group_id.len())?;
        let may = self.request.may(Operation::Describe, Resource::Group(asked.group_id));
        let topics = match &asked.topics {
            _ if !may => Err(ErrorCode::GroupAuthorizationFailed),
            None => self.all(asked.group_id)?,
            Some(topics) => self.some(asked.group_id, topics)?,
        };
        let (topics, error) = match (topics, &asked.topics) {
            (Ok(topics), _) => (topics, ErrorCode::None),
            // Here an error has no other place than the partitions.
            (Err(error), Some(topics)) if self.request.version() < GROUP_ERROR_FROM => {
                let mut failed = Vec::with_capacity(topics.len());
                for topic in topics {
                    let topic = self.told(topic, topic.name.into(), Err(error));
                    self.takes(topic.told_bytes())?;
                    failed.push(topic);
                }
                (Arc::new(failed), error)
            }
            (Err(error), _) => (Arc::default(), error),
        };
        Ok(ToldGroup { group_id: asked.group_id.into(), topics, error })
    }

    /// All that a group has committed.
    fn all(&mut self, group_id: &str) -> Result<Result<Arc<Vec<ToldTopic>>, ErrorCode>, Refused> {
        if let Some(found) = self.whole.get(group_id) {
            return Ok(found.clone());
        }
        let found = match self.offsets_of(group_id) {
            Ok(offsets) => Ok(Arc::new(self.whole_group(&offsets)?)),
            Err(error) => Err(error),
        };
        self.whole.insert(group_id.into(), found.clone());
        Ok(found)
    }

    fn whole_group(&mut self, offsets: &Offsets) -> Result<Vec<ToldTopic>, Refused> {
        let mut topics = Vec::new();
        for (name, committed) in offsets.topics() {
            if !self.request.may(Operation::Describe, Resource::Topic(name)) {
                continue;
            }
            let topic_id = self.image.topic(name).map_or(Uuid::ZERO, |topic| topic.id);
            let is_known = self.request.version() < TOPIC_IDS_FROM || !topic_id.is_zero();
            let topic = ToldTopic::all(name, topic_id, committed);
            if is_known && topic.len() > 0 {
                self.takes(topic.told_bytes())?;
                self.offsets += committed.len();
                topics.push(topic);
            }
        }
        Ok(topics)
    }

    /// What a group has committed to some partitions.
    fn some(
        &mut self,
        group_id: &str,
        asked: &[AskedTopic<'_>],
    ) -> Result<Result<Arc<Vec<ToldTopic>>, ErrorCode>, Refused> {
        let offsets = match self.offsets_of(group_id) {
            Ok(offsets) => offsets,
            Err(error) => return Ok(Err(error)),
        };
        let mut topics = Vec::new();
        for topic in asked {
            let topic = self.one(topic, &offsets);
            self.takes(topic.told_bytes())?;
            self.offsets += topic.committed.as_ref().map_or(0, |committed| committed.len());
            topics.push(topic);
        }
        Ok(Ok(Arc::new(topics)))
    }

    fn one(&self, asked: &AskedTopic<'_>, offsets: &Offsets) -> ToldTopic {
        let by_id = self.request.version() >= TOPIC_IDS_FROM;
        let known = if by_id { self.image.topic_by_id(asked.topic_id) } else { self.image.topic(asked.name) };
        let name = known.map_or_else(|| asked.name.into(), |known| Arc::clone(&known.name));
        if by_id && known.is_none() {
            return self.told(asked, name, Err(ErrorCode::UnknownTopicId));
        }
        if !self.request.may(Operation::Describe, Resource::Topic(&name)) {
            return self.told(asked, name, Err(ErrorCode::TopicAuthorizationFailed));
        }
        let topic_id = known.map_or(Uuid::ZERO, |known| known.id);
        self.told(asked, name, Ok((topic_id, offsets)))
    }

    /// The partitions that were asked for, with what was committed for the topic with that id, or with an error.
    fn told(&self, asked: &AskedTopic<'_>, name: Arc<str>, found: Result<(Uuid, &Offsets), ErrorCode>) -> ToldTopic {
        let (topic_id, committed, error) = match found {
            Ok((topic_id, offsets)) => (topic_id, offsets.of_topic(&name).cloned(), ErrorCode::None),
            Err(error) => (asked.topic_id, None, error),
        };
        ToldTopic { name, topic_id, committed, partitions: ToldPartitions::Asked(asked.partitions.into(), error) }
    }

    fn offsets_of(&mut self, group_id: &str) -> Result<Offsets, ErrorCode> {
        let offsets = self.request.node.groups.read(group_id, |groups| groups.offsets(group_id))?;
        self.notes_bytes += offsets.metadata_bytes();
        Ok(offsets)
    }

    /// What is told takes so much more.
    fn takes(&mut self, bytes: usize) -> Result<(), Refused> {
        self.told_bytes += bytes;
        match self.told_bytes {
            ..LARGE_BYTES => Ok(()),
            TOLD_BYTES_MAX.. => Err(self.request.responder().too_large()),
            _ => self.request.is_large(),
        }
    }
}
