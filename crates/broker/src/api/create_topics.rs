//! CreateTopics (key 19, versions 2-7): new topics, with partitions, replicas and settings.
//!
//! v4 defaults for -1. v5 flexible, effective settings in the answer (KIP-525). v7 topic ids.
//! Differs from Kafka: answered after the logs are made, so that the topics can be used at once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ottla_base::{BrokerId, PartitionIndex, Uuid};
use ottla_metadata::controller::{Answer, Command, CreateTopics, CreateTopicsResult, CreatedTopic, NewTopic};
use ottla_metadata::settings::{ConfigEntry, topic};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::create_topics_request::{self, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::{Config, CreateTopicsResponse, Topic};

use super::Api;
use crate::access::{Operation, Resource};
use crate::controller::broker_configs;
use crate::dispatch::{Refused, Reply};
use crate::node::{Node, entropy};
use crate::request::Request;

/// CreateTopics.
pub const API: Api = Api { key: ApiKey::CreateTopics, versions: 2..=7, handle };

/// The settings of topics are answered from this version on.
const SETTINGS_FROM: i16 = 5;
/// The answer for so many topics, with all their settings, takes much memory until it is told.
const LARGE_FROM: usize = 100;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: CreateTopicsRequest<'_> = request.decode()?;
    let may_create_all = request.may(Operation::Create, Resource::Cluster);
    // As in Kafka, what is to be done within no time is not begun.
    let place = (asked.timeout_ms > 0).then(|| request.node.controller.place(asked.topics.len(), request.body.len()));
    let Some(place) = place.flatten() else {
        let topics = asked.topics.iter().map(|topic| failed(&topic.name, ErrorCode::RequestTimedOut, None)).collect();
        return request.reply(CreateTopicsResponse { topics, ..Default::default() });
    };
    let (allowed, refused): (Vec<_>, Vec<_>) = asked
        .topics
        .iter()
        .partition(|topic| may_create_all || request.may(Operation::Create, Resource::Topic(&topic.name)));
    let refused: Vec<Topic<'static>> = refused
        .into_iter()
        .map(|topic| failed(&topic.name, ErrorCode::TopicAuthorizationFailed, Some("Authorization failed.".to_owned())))
        .collect();
    let may_describe: BTreeMap<String, bool> = allowed
        .iter()
        .map(|topic| (topic.name.to_string(), request.may(Operation::DescribeConfigs, Resource::Topic(&topic.name))))
        .collect();
    let config = &request.node.config;
    let command = Command::CreateTopics(CreateTopics {
        topics: allowed.into_iter().map(new_topic).collect(),
        validate_only: asked.validate_only,
        default_partitions: config.num_partitions,
        default_replication_factor: i16::try_from(config.default_replication_factor).unwrap_or(i16::MAX),
        seed: entropy(),
    });
    let (node, responder) = (request.node.clone(), request.responder());
    Ok(Reply::Parked(Box::pin(async move {
        let answer = place.ask(command).await;
        let mut response = CreateTopicsResponse::default();
        let is_large = responder.version() >= SETTINGS_FROM && may_describe.len() >= LARGE_FROM;
        let _turn = if is_large { node.budgets.large_turn_of_parked().await } else { None };
        match answer {
            Ok(Answer::CreateTopics(results)) => {
                response.topics = to_wire(&node, results, &may_describe, responder.version());
            }
            Ok(other) => unreachable!("CreateTopics is answered as such, not by {other:?}"),
            Err(why) => {
                let names = may_describe.keys();
                response.topics = names.map(|name| failed(name, why.code(), why.message())).collect();
            }
        }
        response.topics.extend(refused);
        responder.answer(response)
    })))
}

fn new_topic(topic: &create_topics_request::Topic<'_>) -> NewTopic {
    let assignment = |assignment: &create_topics_request::Assignment| {
        let brokers = assignment.broker_ids.iter().map(|&id| BrokerId(id)).collect();
        (PartitionIndex(assignment.partition_index), brokers)
    };
    let config = |config: &create_topics_request::Config<'_>| {
        (config.name.to_string(), config.value.as_ref().map(|value| value.to_string()))
    };
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.iter().map(assignment).collect(),
        configs: topic.configs.iter().map(config).collect(),
    }
}

fn to_wire(
    node: &Node,
    results: Vec<CreateTopicsResult>,
    may_describe: &BTreeMap<String, bool>,
    version: i16,
) -> Vec<Topic<'static>> {
    let (own, cluster) = broker_configs(&node.image(), node.config.node_id);
    let broker = node.config.values(&own, &cluster);
    let to_wire = |result: CreateTopicsResult| match result.result {
        Ok(topic) if may_describe.get(&result.name).copied().unwrap_or(false) => {
            let settings = (version >= SETTINGS_FROM).then(|| topic::describe_created(&topic.configs, &broker));
            created(result.name, &topic, settings.unwrap_or_default())
        }
        Ok(topic) => Topic {
            name: Cow::Owned(result.name),
            topic_id: topic.id,
            error_message: None,
            topic_config_error_code: ErrorCode::TopicAuthorizationFailed.code(),
            num_partitions: -1,
            replication_factor: -1,
            configs: None,
            ..Default::default()
        },
        Err(refusal) => failed(&result.name, refusal.error, refusal.message),
    };
    results.into_iter().map(to_wire).collect()
}

fn created(name: String, topic: &CreatedTopic, settings: Vec<ConfigEntry>) -> Topic<'static> {
    let config = |entry: ConfigEntry| Config {
        name: Cow::Owned(entry.name),
        value: entry.value.map(Cow::Owned),
        read_only: entry.read_only,
        config_source: entry.source.id(),
        is_sensitive: entry.sensitive,
    };
    Topic {
        name: Cow::Owned(name),
        topic_id: topic.id,
        error_message: None,
        num_partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: Some(settings.into_iter().map(config).collect()),
        ..Default::default()
    }
}

fn failed(name: &str, code: ErrorCode, message: Option<String>) -> Topic<'static> {
    Topic {
        name: Cow::Owned(name.to_owned()),
        topic_id: Uuid::ZERO,
        error_code: code.code(),
        error_message: message.map(Cow::Owned),
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
