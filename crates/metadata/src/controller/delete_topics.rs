//! DeleteTopics (KIP-516): by name or by id. Written: a RemoveTopicRecord each, which takes partitions and configs along.

use std::collections::{BTreeMap, BTreeSet};

use ottla_base::Uuid;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{MetadataRecord, RemoveTopicRecord};

use super::{Draft, Refusal};
use crate::image::Image;

/// Asks for topics to be deleted.
#[derive(Clone, Debug)]
pub struct DeleteTopics {
    /// Which ones.
    pub topics: Vec<TopicReference>,
}

/// Names a topic by one of its two names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicReference {
    /// Its name, or absent.
    pub name: Option<String>,
    /// Its id, or zero.
    pub id: Uuid,
}

/// What became of one topic. A topic that was named twice has one result, and is not deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteTopicsResult {
    /// What is known of its name.
    pub name: Option<String>,
    /// What is known of its id, or zero.
    pub id: Uuid,
    /// Whether it is gone, or why not.
    pub result: Result<(), Refusal>,
}

impl DeleteTopics {
    pub(super) fn decide(self, draft: &mut Draft) -> Vec<DeleteTopicsResult> {
        let mut given = BTreeMap::new();
        for reference in &self.topics {
            *given.entry(reference).or_insert(0_usize) += 1;
        }
        let mut answered = BTreeSet::new();
        let mut results = Vec::with_capacity(self.topics.len());
        for reference in &self.topics {
            let mut result = resolve(reference, draft.image());
            if reference.is_well_formed() {
                if let Some(message) = repeated(reference, &result, &given) {
                    result = refuse_repeated(reference, result, message);
                }
                if !answered.insert((result.name.clone(), result.id)) {
                    continue;
                }
            }
            results.push(result);
        }
        for result in results.iter().filter(|result| result.result.is_ok()) {
            draft.push(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: result.id }));
        }
        if let Err(refusal) = draft.bound() {
            results.iter_mut().for_each(|topic| topic.result = Err(refusal.clone()));
        }
        results
    }
}

impl TopicReference {
    fn is_well_formed(&self) -> bool {
        self.name.is_some() == self.id.is_zero()
    }
}

const SAME_NAME: &str = "Duplicate topic name.";
const SAME_ID: &str = "Duplicate topic id.";
const NAME_AND_ID: &str = "The provided topic name maps to an ID that was already supplied.";

/// Whether the request names the topic more than once, and how.
fn repeated(
    reference: &TopicReference,
    resolved: &DeleteTopicsResult,
    given: &BTreeMap<&TopicReference, usize>,
) -> Option<&'static str> {
    if given.get(reference).is_some_and(|times| *times > 1) {
        return Some(if reference.name.is_some() { SAME_NAME } else { SAME_ID });
    }
    let other = match &reference.name {
        Some(_) => TopicReference { name: None, id: resolved.id },
        None => TopicReference { name: resolved.name.clone(), id: Uuid::ZERO },
    };
    (other.is_well_formed() && given.contains_key(&other)).then_some(NAME_AND_ID)
}

fn refuse_repeated(
    reference: &TopicReference,
    resolved: DeleteTopicsResult,
    message: &'static str,
) -> DeleteTopicsResult {
    let result = Err(Refusal::new(ErrorCode::InvalidRequest, message));
    match message {
        NAME_AND_ID => DeleteTopicsResult { result, ..resolved },
        _ => DeleteTopicsResult { name: reference.name.clone(), id: reference.id, result },
    }
}

/// Finds the topic; the result is that of a topic named once.
fn resolve(reference: &TopicReference, image: &Image) -> DeleteTopicsResult {
    let answer = |name: Option<&str>, id, result| DeleteTopicsResult { name: name.map(str::to_owned), id, result };
    let refuse = |error, message: &str| Err(Refusal::new(error, message));
    match (&reference.name, reference.id) {
        (None, Uuid::ZERO) => {
            answer(None, Uuid::ZERO, refuse(ErrorCode::InvalidRequest, "Neither topic name nor id were specified."))
        }
        (Some(name), Uuid::ZERO) => match image.topic(name) {
            Some(topic) => answer(Some(name), topic.id, Ok(())),
            None => {
                let message = "This server does not host this topic-partition.";
                answer(Some(name), Uuid::ZERO, refuse(ErrorCode::UnknownTopicOrPartition, message))
            }
        },
        (None, id) => match image.topic_by_id(id) {
            Some(topic) => answer(Some(&topic.name), id, Ok(())),
            None => {
                let message = "This server does not host this topic ID.";
                answer(None, id, refuse(ErrorCode::UnknownTopicId, message))
            }
        },
        (Some(name), id) => {
            let message = "You may not specify both topic name and topic id.";
            answer(Some(name), id, refuse(ErrorCode::InvalidRequest, message))
        }
    }
}
