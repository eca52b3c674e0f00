//! The settings of topics, brokers, loggers, groups and subscriptions to metrics.

use ottla_metadata::names;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, Resource};
use ottla_protocol::messages::describe_configs_response::{Config, DescribeConfigsResponse};
use ottla_protocol::messages::incremental_alter_configs_request::{
    Config as Change, IncrementalAlterConfigsRequest, Resource as ChangedResource,
};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_protocol::messages::list_config_resources_response::ListConfigResourcesResponse;
use ottla_protocol::{ApiKey, Message, Str};

use super::{Changes, Entities, Failure, singular};
use crate::client::{Answer, Cluster, Endpoint, Error, LIST_GROUPS, Topics, groups};
use crate::java_order::{DEFAULT_CAPACITY, hash_code, sort_as_in_java};
use crate::screen::Screen;

/// The types of resources on the wire.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
/// What IncrementalAlterConfigs can do with a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
/// Where a setting comes from, by the number on the wire.
const SOURCES: [&str; 9] = [
    "UNKNOWN",
    "DYNAMIC_TOPIC_CONFIG",
    "DYNAMIC_BROKER_CONFIG",
    "DYNAMIC_DEFAULT_BROKER_CONFIG",
    "STATIC_BROKER_CONFIG",
    "DEFAULT_CONFIG",
    "DYNAMIC_BROKER_LOGGER_CONFIG",
    "DYNAMIC_CLIENT_METRICS_CONFIG",
    "DYNAMIC_GROUP_CONFIG",
];

/// A setting, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    name: String,
    value: Option<String>,
    source: i8,
    is_sensitive: bool,
    synonyms: Vec<(i8, String, Option<String>)>,
}

/// `--describe`
pub fn describe(cluster: &mut Cluster, entities: &Entities, all: bool, screen: &mut Screen) -> Result<(), Failure> {
    let entity_type = entities.types[0].as_str();
    let names = match entities.names.first() {
        None => names_of(cluster, entity_type)?,
        Some(name) => {
            if entity_type == "topics" && name.is_empty() {
                names::validate(name).map_err(Failure::Illegal)?;
            }
            if !all && !name.is_empty() && !is_known(cluster, entity_type, name)? {
                let what = singular(entity_type);
                screen.say(format!("The {what} '{name}' doesn't exist and doesn't have dynamic config."));
                return Ok(());
            }
            vec![name.clone()]
        }
    };
    for name in names {
        let source = if all { None } else { source_of(entity_type, &name) };
        show_heading(entity_type, &name, all, screen);
        show(&settings_of(cluster, entity_type, &name)?, source, screen);
    }
    Ok(())
}

/// Says what comes.
pub fn show_heading(entity_type: &str, name: &str, all: bool, screen: &mut Screen) {
    screen.say(match name {
        "" => format!("Default configs for {entity_type} in the cluster are:"),
        name => {
            let which = if all { "All" } else { "Dynamic" };
            format!("{which} configs for {} {name} are:", singular(entity_type))
        }
    });
}

/// Shows settings, and of these only those from `source`.
pub fn show(settings: &[Setting], source: Option<i8>, screen: &mut Screen) {
    let or_null = |value: &Option<String>| value.as_deref().unwrap_or("null").to_owned();
    for setting in settings.iter().filter(|setting| source.is_none_or(|source| source == setting.source)) {
        let synonyms: Vec<String> = setting
            .synonyms
            .iter()
            .map(|(source, name, value)| format!("{}:{name}={}", source_name(*source), or_null(value)))
            .collect();
        screen.say(format!(
            "  {}={} sensitive={} synonyms={{{}}}",
            setting.name,
            or_null(&setting.value),
            setting.is_sensitive,
            synonyms.join(", ")
        ));
    }
}

fn source_name(source: i8) -> &'static str {
    usize::try_from(source).ok().and_then(|source| SOURCES.get(source)).copied().unwrap_or(SOURCES[0])
}

/// What was set for the entity itself comes from there; loggers have no other source.
fn source_of(entity_type: &str, name: &str) -> Option<i8> {
    match entity_type {
        "topics" => Some(1),
        "brokers" if name.is_empty() => Some(3),
        "brokers" => Some(2),
        "client-metrics" => Some(7),
        "groups" => Some(8),
        _ => None,
    }
}

fn resource_type(entity_type: &str) -> i8 {
    match entity_type {
        "topics" => TOPIC,
        "brokers" => BROKER,
        "broker-loggers" => BROKER_LOGGER,
        "client-metrics" => CLIENT_METRICS,
        _ => GROUP,
    }
}

/// All entities of a type, in the order of Kafka's tool where it has one.
fn names_of(cluster: &mut Cluster, entity_type: &str) -> Result<Vec<String>, Failure> {
    Ok(match entity_type {
        "topics" => {
            let mut names: Vec<String> = cluster.topics(Topics::All)?.into_iter().map(|topic| topic.name).collect();
            sort_as_in_java(&mut names, DEFAULT_CAPACITY, |name| hash_code(name));
            names
        }
        "groups" if cluster.endpoint() == Endpoint::Controllers => {
            return Err(Error::NoNode { call: LIST_GROUPS }.into());
        }
        "groups" => {
            let mut names: Vec<String> =
                groups::list_all(cluster, &[], &[])?.into_iter().map(|group| group.id).collect();
            sort_as_in_java(&mut names, DEFAULT_CAPACITY, |name| hash_code(name));
            let with_settings = config_resources(cluster, GROUP)?;
            names.extend(with_settings.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
            names
        }
        "client-metrics" => config_resources(cluster, CLIENT_METRICS)?,
        _ => {
            let brokers = cluster.live_brokers().map(|id| id.to_string());
            brokers.chain([String::new()]).collect()
        }
    })
}

fn is_known(cluster: &mut Cluster, entity_type: &str, name: &str) -> Result<bool, Failure> {
    // Asking for all topics is what Kafka's tool does; one is enough to know.
    if entity_type == "topics" {
        names::validate(name).map_err(Failure::Illegal)?;
        let topics = cluster.topics(Topics::Named { names: &[name], create: false })?;
        return Ok(topics.iter().any(|topic| !topic.partitions.is_empty()));
    }
    Ok(names_of(cluster, entity_type)?.iter().any(|known| known == name))
}

/// The names of the resources of a type that have settings; none on brokers that do not tell.
fn config_resources(cluster: &mut Cluster, wanted: i8) -> Result<Vec<String>, Failure> {
    cluster.check_asks_brokers()?;
    match cluster.version_of(ApiKey::ListConfigResources) {
        // The first version lists the subscriptions to metrics alone.
        Ok(version) if version >= 1 || wanted == CLIENT_METRICS => {}
        Ok(_) | Err(Error::NotServed { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let request = ListConfigResourcesRequest { resource_types: vec![wanted] };
    let answer = cluster.ask(ApiKey::ListConfigResources, &request)?;
    let response: ListConfigResourcesResponse<'_> = answer.read()?;
    if response.error_code != 0 {
        return Err(Error::of_code(response.error_code, None).into());
    }
    Ok(response.config_resources.iter().map(|resource| resource.resource_name.to_string()).collect())
}

/// The settings of one entity, by name.
fn settings_of(cluster: &mut Cluster, entity_type: &str, name: &str) -> Result<Vec<Setting>, Failure> {
    let resource = Resource {
        resource_type: resource_type(entity_type),
        resource_name: Str::Borrowed(name),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..DescribeConfigsRequest::default()
    };
    let answer = ask(cluster, entity_type, name, ApiKey::DescribeConfigs, &request)?;
    let response: DescribeConfigsResponse<'_> = answer.read()?;
    let mut settings = Vec::new();
    for result in &response.results {
        if result.error_code != 0 {
            return Err(Error::of_code(result.error_code, result.error_message.as_deref()).into());
        }
        settings.extend(result.configs.iter().map(Setting::of));
    }
    settings.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(settings)
}

/// What concerns one broker is asked of that broker.
fn ask<'q>(
    cluster: &mut Cluster,
    entity_type: &str,
    name: &str,
    api: ApiKey,
    request: &impl Message<'q>,
) -> Result<Answer, Error> {
    match name.parse() {
        Ok(broker) if ["brokers", "broker-loggers"].contains(&entity_type) => cluster.broker(broker)?.ask(api, request),
        _ => cluster.ask(api, request),
    }
}

/// `--alter`
pub fn alter(cluster: &mut Cluster, entities: &Entities, changes: &Changes) -> Result<(), Failure> {
    let (entity_type, name) = (entities.types[0].as_str(), entities.names[0].as_str());
    if entity_type == "broker-loggers" {
        let known = settings_of(cluster, entity_type, name)?;
        let named = changes.reset.iter().chain(changes.set.keys());
        let unknown: Vec<&str> =
            named.filter(|logger| !known.iter().any(|setting| setting.name == **logger)).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(Failure::Illegal(format!("Invalid broker logger(s): {}", unknown.join(","))));
        }
    }
    let reset = changes.reset.iter().map(|name| Change {
        name: Str::Borrowed(name),
        config_operation: DELETE,
        value: Some(Str::Borrowed("")),
    });
    let set = changes.set.iter().map(|(name, value)| Change {
        name: Str::Borrowed(name),
        config_operation: SET,
        value: Some(Str::Borrowed(value)),
    });
    let resource = ChangedResource {
        resource_type: resource_type(entity_type),
        resource_name: Str::Borrowed(name),
        configs: reset.chain(set).collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = ask(cluster, entity_type, name, ApiKey::IncrementalAlterConfigs, &request)?;
    let response: IncrementalAlterConfigsResponse<'_> = answer.read()?;
    match response.responses.iter().find(|response| response.error_code != 0) {
        Some(refused) => Err(Error::of_code(refused.error_code, refused.error_message.as_deref()).into()),
        None => Ok(()),
    }
}

impl Setting {
    /// A setting of an answer.
    pub fn of(config: &Config<'_>) -> Self {
        let text = |text: &Option<Str<'_>>| text.as_deref().map(str::to_owned);
        let synonyms = config.synonyms.iter();
        Self {
            name: config.name.to_string(),
            value: text(&config.value),
            source: config.config_source,
            is_sensitive: config.is_sensitive,
            synonyms: synonyms.map(|of| (of.source, of.name.to_string(), text(&of.value))).collect(),
        }
    }
}
