//! DescribeConfigs (key 32, versions 1-4): settings with where they come from.
//!
//! v1 sources and synonyms (KIP-226). v3 types and documentation (KIP-569). v4 flexible.
//! Differs from Kafka: loggers are named as the modules of this program, and an answer of too many values closes the connection.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ottla_metadata::image::{ConfigResource, Image, ResourceKind};
use ottla_metadata::names;
use ottla_metadata::settings::{ConfigEntry, ConfigSource, Kind, client_metrics, group, topic};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, Resource as Asked};
use ottla_protocol::messages::describe_configs_response::{
    Config, DescribeConfigsResponse, DescribeConfigsResult, Synonym,
};
use ottla_protocol::{ApiKey, Str};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::config::Values;
use crate::controller::{broker_configs, configs};
use crate::dispatch::{Refused, Reply};
use crate::loggers;
use crate::request::Request;

/// DescribeConfigs.
pub const API: Api = Api { key: ApiKey::DescribeConfigs, versions: 1..=4, handle };

/// An answer tells at most so many values, with their synonyms: those of 5000 topics. They take ten times the memory of the
/// encoded answer, so that its limit would come too late.
const VALUES_MAX: usize = 200_000;
/// From so many resources on, the request is a large one. Each is described once, and only the keys that are asked for, so
/// that what is made is told.
const LARGE_FROM: usize = 100;

type Described = Result<Vec<ConfigEntry>, (ErrorCode, String)>;

/// One resource, however often a request names it.
struct Named<'r> {
    kind: i8,
    name: &'r str,
    /// The keys that are wanted of it somewhere; nothing where all are.
    keys: Option<HashSet<&'r str>>,
    /// Where it is named.
    places: Vec<usize>,
}

/// What a resource is looked at with.
struct Asking<'a, 'r> {
    request: &'a Request<'r>,
    image: &'a Image,
    /// Settings of this broker, and of all.
    broker: Values<'a>,
}

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeConfigsRequest<'_> = request.decode()?;
    if asked.resources.len() >= LARGE_FROM {
        request.is_large()?;
    }
    if asked.resources.iter().any(|resource| ResourceKind::from_i8(resource.resource_type).is_none()) {
        return request.reply(refused(&asked));
    }
    let image = request.node.image();
    let (own, cluster) = broker_configs(&image, request.node.config.node_id);
    let asking = Asking { request, image: &image, broker: request.node.config.values(&own, &cluster) };
    let mut values = 0;
    let mut results = vec![DescribeConfigsResult::default(); asked.resources.len()];
    for named in each_once(&asked.resources) {
        let (code, message, entries) = match asking.describe(&named) {
            Ok(entries) => (ErrorCode::None, String::new(), entries),
            Err((code, message)) => (code, message, Vec::new()),
        };
        let by_name: HashMap<&str, usize> =
            entries.iter().enumerate().map(|(at, entry)| (entry.name.as_str(), at)).collect();
        for &place in &named.places {
            let resource = &asked.resources[place];
            let wanted = wanted_of(resource, &by_name);
            values += wanted.iter().map(|&at| 1 + entries[at].synonyms.len()).sum::<usize>();
            if values > VALUES_MAX {
                return Err(request.responder().too_large());
            }
            let to_wire = |at: usize| to_wire(&entries[at], asked.include_synonyms, asked.include_documentation);
            results[place] = DescribeConfigsResult {
                error_code: code.code(),
                error_message: Some(Cow::Owned(message.clone())),
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs: wanted.into_iter().map(to_wire).collect(),
            };
        }
    }
    request.reply(DescribeConfigsResponse { results, ..Default::default() })
}

/// As in Kafka, a kind of resource that does not exist has all of the request refused.
fn refused<'a>(asked: &'a DescribeConfigsRequest<'_>) -> DescribeConfigsResponse<'a> {
    const MESSAGE: &str = "This most likely occurs because of a request being malformed by the client library or the message was \
                           sent to an incompatible broker. See the broker logs for more details.";
    let results = asked.resources.iter().map(|resource| DescribeConfigsResult {
        error_code: ErrorCode::InvalidRequest.code(),
        error_message: Some(Cow::Borrowed(MESSAGE)),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: Vec::new(),
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

/// The resources, in the order in which they are first named.
fn each_once<'r>(resources: &'r [Asked<'_>]) -> Vec<Named<'r>> {
    let mut known = HashMap::new();
    let mut all: Vec<Named<'r>> = Vec::new();
    for (place, resource) in resources.iter().enumerate() {
        let (kind, name) = (resource.resource_type, &*resource.resource_name);
        let at = *known.entry((kind, name)).or_insert_with(|| {
            all.push(Named { kind, name, keys: Some(HashSet::new()), places: Vec::new() });
            all.len() - 1
        });
        let named = &mut all[at];
        named.places.push(place);
        match (keys_of(resource), &mut named.keys) {
            (Some(keys), Some(known)) => known.extend(keys.iter().map(|key| &**key)),
            (None, keys) => *keys = None,
            (Some(_), None) => {}
        }
    }
    all
}

/// The keys that are asked for; nothing where all are.
fn keys_of<'r>(resource: &'r Asked<'_>) -> Option<&'r [Str<'r>]> {
    resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty())
}

/// The places of the entries that are asked for, in their order.
fn wanted_of(resource: &Asked<'_>, by_name: &HashMap<&str, usize>) -> Vec<usize> {
    let Some(keys) = keys_of(resource) else { return (0..by_name.len()).collect() };
    let mut wanted: Vec<usize> = keys.iter().filter_map(|key| by_name.get(&**key).copied()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

impl Asking<'_, '_> {
    fn describe(&self, named: &Named<'_>) -> Described {
        let (request, image, name) = (self.request, self.image, named.name);
        let wanted = |key: &str| named.keys.as_ref().is_none_or(|keys| keys.contains(key));
        match ResourceKind::from_i8(named.kind) {
            Some(ResourceKind::Topic) => self.describe_topic(name, wanted),
            Some(ResourceKind::Broker) => self.describe_broker(name, wanted),
            Some(ResourceKind::Group) => self.describe_group(name, wanted),
            Some(ResourceKind::ClientMetrics) => describe_client_metrics(request, image, name),
            Some(ResourceKind::BrokerLogger) => describe_loggers(request, name),
            None => unreachable!("a request with such a resource is refused"),
        }
    }

    fn describe_topic(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Described {
        if !self.request.may(Operation::DescribeConfigs, Resource::Topic(name)) {
            return Err((ErrorCode::TopicAuthorizationFailed, access::TOPIC_DENIED.to_owned()));
        }
        names::validate(name).map_err(|message| (ErrorCode::InvalidTopicException, message))?;
        if self.image.topic(name).is_none() {
            return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
        }
        Ok(topic::describe(&configs(self.image, &ConfigResource::topic(name)), &self.broker, wanted))
    }

    fn describe_broker(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Described {
        if !self.request.may(Operation::DescribeConfigs, Resource::Cluster) {
            return Err((ErrorCode::ClusterAuthorizationFailed, access::CLUSTER_DENIED.to_owned()));
        }
        let node_id = self.request.node.config.node_id;
        match name.parse::<i32>() {
            _ if name.is_empty() => Ok(self.broker.describe_cluster(wanted)),
            Ok(id) if id == node_id.0 => Ok(self.broker.describe_broker(wanted)),
            Ok(id) => Err((
                ErrorCode::InvalidRequest,
                format!("Unexpected broker id, expected {node_id} or empty string, but received {id}"),
            )),
            Err(_) => Err((ErrorCode::InvalidRequest, format!("Broker id must be an integer, but it is: {name}"))),
        }
    }

    fn describe_group(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Described {
        if !self.request.may(Operation::DescribeConfigs, Resource::Group(name)) {
            return Err((ErrorCode::GroupAuthorizationFailed, access::GROUP_DENIED.to_owned()));
        }
        if name.is_empty() {
            return Err((ErrorCode::InvalidRequest, "Group name must not be empty".to_owned()));
        }
        let resource = ConfigResource { kind: ResourceKind::Group, name: name.to_owned() };
        Ok(group::describe(&configs(self.image, &resource), &self.broker, wanted))
    }
}

fn describe_client_metrics(request: &Request<'_>, image: &Image, name: &str) -> Described {
    if !request.may(Operation::DescribeConfigs, Resource::Cluster) {
        return Err((ErrorCode::ClusterAuthorizationFailed, access::CLUSTER_DENIED.to_owned()));
    }
    if name.is_empty() {
        return Err((ErrorCode::InvalidRequest, "Client metrics subscription name must not be empty".to_owned()));
    }
    let resource = ConfigResource { kind: ResourceKind::ClientMetrics, name: name.to_owned() };
    Ok(client_metrics::describe(&configs(image, &resource)))
}

fn describe_loggers(request: &Request<'_>, name: &str) -> Described {
    if !request.may(Operation::DescribeConfigs, Resource::Cluster) {
        return Err((ErrorCode::ClusterAuthorizationFailed, access::CLUSTER_DENIED.to_owned()));
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

fn to_wire(entry: &ConfigEntry, with_synonyms: bool, with_documentation: bool) -> Config<'static> {
    let synonyms = entry.synonyms.iter().filter(|_| with_synonyms).map(|synonym| Synonym {
        name: Cow::Owned(synonym.name.clone()),
        value: synonym.value.clone().map(Cow::Owned),
        source: synonym.source.id(),
    });
    // Of loggers, Kafka always says that there is nothing to say.
    let with_documentation = with_documentation || entry.source == ConfigSource::DynamicBrokerLogger;
    Config {
        name: Cow::Owned(entry.name.clone()),
        value: entry.value.clone().map(Cow::Owned),
        read_only: entry.read_only,
        config_source: entry.source.id(),
        is_sensitive: entry.sensitive,
        synonyms: synonyms.collect(),
        config_type: entry.kind.id(),
        documentation: with_documentation.then_some(Cow::Borrowed(entry.doc)),
        ..Default::default()
    }
}
