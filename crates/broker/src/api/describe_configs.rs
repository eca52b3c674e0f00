//! DescribeConfigs (key 32, versions 1-4): settings with where they come from.
//!
//! v1 sources and synonyms (KIP-226). v3 types and documentation (KIP-569). v4 flexible.
//! Loggers are named as the modules of this program.

use std::borrow::Cow;

use ottla_metadata::image::{ConfigResource, Image, ResourceKind};
use ottla_metadata::names;
use ottla_metadata::settings::{ConfigEntry, ConfigSource, Kind, client_metrics, group, topic};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, Resource as Asked};
use ottla_protocol::messages::describe_configs_response::{
    Config, DescribeConfigsResponse, DescribeConfigsResult, Synonym,
};

use super::Api;
use crate::access::{Operation, Resource};
use crate::controller::{broker_configs, configs};
use crate::dispatch::{Refused, Reply};
use crate::loggers;
use crate::request::Request;

/// DescribeConfigs.
pub const API: Api = Api { key: ApiKey::DescribeConfigs, versions: 1..=4, handle };

/// An answer tells at most so many values, with their synonyms: those of 5000 topics. They take ten times the memory of the
/// encoded answer, so that its limit would come too late.
const VALUES_MAX: usize = 200_000;
/// From so many resources on, the request is a large one.
const LARGE_FROM: usize = 100;

type Described = Result<Vec<ConfigEntry>, (ErrorCode, String)>;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeConfigsRequest<'_> = request.decode()?;
    if asked.resources.len() >= LARGE_FROM {
        request.is_large();
    }
    let image = request.node.image();
    let mut values = 0;
    let mut results = Vec::new();
    for resource in &asked.resources {
        let described = describe(request, &image, resource);
        let (code, message, entries) = match described {
            Ok(entries) => (ErrorCode::None, String::new(), entries),
            Err((code, message)) => (code, message, Vec::new()),
        };
        let wanted = |entry: &ConfigEntry| {
            let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
            keys.is_none_or(|keys| keys.iter().any(|key| *key == entry.name))
        };
        let to_wire = |entry| to_wire(entry, asked.include_synonyms, asked.include_documentation);
        let configs: Vec<_> = entries.into_iter().filter(wanted).map(to_wire).collect();
        values += configs.iter().map(|config| 1 + config.synonyms.len()).sum::<usize>();
        if values > VALUES_MAX {
            return Err(request.responder().too_large());
        }
        results.push(DescribeConfigsResult {
            error_code: code.code(),
            error_message: Some(Cow::Owned(message)),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs,
        });
    }
    request.reply(DescribeConfigsResponse { results, ..Default::default() })
}

fn describe(request: &Request<'_>, image: &Image, asked: &Asked<'_>) -> Described {
    let name = asked.resource_name.as_ref();
    match ResourceKind::from_i8(asked.resource_type) {
        Some(ResourceKind::Topic) => describe_topic(request, image, name),
        Some(ResourceKind::Broker) => describe_broker(request, image, name),
        Some(ResourceKind::Group) => describe_group(request, image, name),
        Some(ResourceKind::ClientMetrics) => describe_client_metrics(request, image, name),
        Some(ResourceKind::BrokerLogger) => describe_loggers(request, name),
        None => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {}", asked.resource_type))),
    }
}

fn describe_topic(request: &Request<'_>, image: &Image, name: &str) -> Described {
    if !request.may(Operation::DescribeConfigs, Resource::Topic(name)) {
        return Err((ErrorCode::TopicAuthorizationFailed, "Topic authorization failed.".to_owned()));
    }
    names::validate(name).map_err(|message| (ErrorCode::InvalidTopicException, message))?;
    if image.topic(name).is_none() {
        return Err((ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.".to_owned()));
    }
    let (own, cluster) = broker_configs(image, request.node.config.node_id);
    let overrides = configs(image, &ConfigResource::topic(name));
    Ok(topic::describe(&overrides, &request.node.config.values(&own, &cluster)))
}

fn describe_broker(request: &Request<'_>, image: &Image, name: &str) -> Described {
    if !request.may(Operation::DescribeConfigs, Resource::Cluster) {
        return Err((ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed.".to_owned()));
    }
    let node_id = request.node.config.node_id;
    let (own, cluster) = broker_configs(image, node_id);
    let values = request.node.config.values(&own, &cluster);
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(values.describe_cluster()),
        Ok(id) if id == node_id.0 => Ok(values.describe_broker()),
        Ok(id) => Err((
            ErrorCode::InvalidRequest,
            format!("Unexpected broker id, expected {node_id} or empty string, but received {id}"),
        )),
        Err(_) => Err((ErrorCode::InvalidRequest, format!("Broker id must be an integer, but it is: {name}"))),
    }
}

fn describe_group(request: &Request<'_>, image: &Image, name: &str) -> Described {
    if !request.may(Operation::DescribeConfigs, Resource::Group(name)) {
        return Err((ErrorCode::GroupAuthorizationFailed, "Group authorization failed.".to_owned()));
    }
    if name.is_empty() {
        return Err((ErrorCode::InvalidRequest, "Group name must not be empty".to_owned()));
    }
    let (own, cluster) = broker_configs(image, request.node.config.node_id);
    let configs = configs(image, &ConfigResource { kind: ResourceKind::Group, name: name.to_owned() });
    Ok(group::describe(&configs, &request.node.config.values(&own, &cluster)))
}

fn describe_client_metrics(request: &Request<'_>, image: &Image, name: &str) -> Described {
    if !request.may(Operation::DescribeConfigs, Resource::Cluster) {
        return Err((ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed.".to_owned()));
    }
    if name.is_empty() {
        return Err((ErrorCode::InvalidRequest, "Client metrics subscription name must not be empty".to_owned()));
    }
    let resource = ConfigResource { kind: ResourceKind::ClientMetrics, name: name.to_owned() };
    Ok(client_metrics::describe(&configs(image, &resource)))
}

fn describe_loggers(request: &Request<'_>, name: &str) -> Described {
    if !request.may(Operation::DescribeConfigs, Resource::Cluster) {
        return Err((ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed.".to_owned()));
    }
    let node_id = request.node.config.node_id;
    let refused = |message| Err((ErrorCode::InvalidRequest, message));
    match name.parse::<i32>() {
        _ if name.is_empty() => refused("Broker id must not be empty".to_owned()),
        Ok(id) if id == node_id.0 => Ok(loggers::levels().into_iter().map(logger).collect()),
        Ok(id) => refused(format!("Unexpected broker id, expected {node_id} but received {id}")),
        Err(_) => refused(format!("Broker id must be an integer, but it is: {name}")),
    }
}

fn logger((name, level): (&str, &str)) -> ConfigEntry {
    ConfigEntry {
        name: name.to_owned(),
        value: Some(level.to_owned()),
        source: ConfigSource::DynamicBrokerLogger,
        read_only: false,
        sensitive: false,
        synonyms: Vec::new(),
        kind: Kind::Unknown,
        doc: "",
    }
}

fn to_wire(entry: ConfigEntry, with_synonyms: bool, with_documentation: bool) -> Config<'static> {
    let synonyms = entry.synonyms.into_iter().filter(|_| with_synonyms).map(|synonym| Synonym {
        name: Cow::Owned(synonym.name),
        value: synonym.value.map(Cow::Owned),
        source: synonym.source.id(),
    });
    // Of loggers, Kafka always says that there is nothing to say.
    let with_documentation = with_documentation || entry.source == ConfigSource::DynamicBrokerLogger;
    Config {
        name: Cow::Owned(entry.name),
        value: entry.value.map(Cow::Owned),
        read_only: entry.read_only,
        config_source: entry.source.id(),
        is_sensitive: entry.sensitive,
        synonyms: synonyms.collect(),
        config_type: entry.kind.id(),
        documentation: with_documentation.then_some(Cow::Borrowed(entry.doc)),
        ..Default::default()
    }
}
