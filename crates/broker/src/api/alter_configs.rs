//! AlterConfigs (key 33, versions 0-2) and IncrementalAlterConfigs (key 44, versions 0-1, KIP-339): settings of topics,
//! brokers, groups and subscriptions to clients' metrics; levels of loggers.
//!
//! v2 and v1 flexible. What a broker would not take (a setting that is not dynamic, another broker's id) is refused here; the
//! controller checks names and values, and writes. Loggers are this process's own: the controller is not asked.
//! Differs from Kafka: what is too long is refused in words, where Kafka fails by accident; listeners stay as
//! they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ottla_metadata::controller::{
    AlterConfigs, AlteredResource, Answer, Command, ConfigEdit, ConfigOperation, Refusal, ResourceAlteration,
    ResourceChange,
};
use ottla_metadata::image::{ConfigResource, ResourceKind};
use ottla_metadata::settings::Kind;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::alter_configs_request::{self, AlterConfigsRequest};
use ottla_protocol::messages::alter_configs_response::{self, AlterConfigsResponse};
use ottla_protocol::messages::incremental_alter_configs_request::{self, IncrementalAlterConfigsRequest};
use ottla_protocol::messages::incremental_alter_configs_response::{self, IncrementalAlterConfigsResponse};
use ottla_protocol::{ApiKey, Message};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::config::{dynamic, table};
use crate::controller::{Place, broker_configs, configs};
use crate::dispatch::{Refused, Reply};
use crate::loggers;
use crate::node::Node;
use crate::request::Request;

/// AlterConfigs.
pub const WHOLE: Api = Api { key: ApiKey::AlterConfigs, versions: 0..=2, handle: replace };

/// IncrementalAlterConfigs.
pub const INCREMENTAL: Api = Api { key: ApiKey::IncrementalAlterConfigs, versions: 0..=1, handle: edit };

/// What became of a resource: its kind and name, code and words.
struct Outcome {
    resource_type: i8,
    name: String,
    code: ErrorCode,
    message: Option<String>,
}

fn replace(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: AlterConfigsRequest<'_> = request.decode()?;
    let named = asked.resources.iter().map(|one| (one.resource_type, &*one.resource_name, one.configs.len())).collect();
    let config =
        |one: &alter_configs_request::Config<'_>| (one.name.to_string(), one.value.as_deref().map(str::to_owned));
    let change = |place: usize| ResourceChange::Replace(asked.resources[place].configs.iter().map(config).collect());
    let to_wire = |outcome: Outcome| alter_configs_response::Response {
        error_code: outcome.code.code(),
        error_message: outcome.message.map(Cow::Owned),
        resource_type: outcome.resource_type,
        resource_name: Cow::Owned(outcome.name),
    };
    answer(request, named, change, asked.validate_only, move |outcomes| AlterConfigsResponse {
        responses: outcomes.into_iter().map(to_wire).collect(),
        ..Default::default()
    })
}

fn edit(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: IncrementalAlterConfigsRequest<'_> = request.decode()?;
    let named = asked.resources.iter().map(|one| (one.resource_type, &*one.resource_name, one.configs.len())).collect();
    let config_edit = |one: &incremental_alter_configs_request::Config<'_>| ConfigEdit {
        key: one.name.to_string(),
        operation: one.config_operation,
        value: one.value.as_deref().map(str::to_owned),
    };
    let change = |place: usize| ResourceChange::Edit(asked.resources[place].configs.iter().map(config_edit).collect());
    let to_wire = |outcome: Outcome| incremental_alter_configs_response::Response {
        error_code: outcome.code.code(),
        error_message: outcome.message.map(Cow::Owned),
        resource_type: outcome.resource_type,
        resource_name: Cow::Owned(outcome.name),
    };
    answer(request, named, change, asked.validate_only, move |outcomes| IncrementalAlterConfigsResponse {
        responses: outcomes.into_iter().map(to_wire).collect(),
        ..Default::default()
    })
}

/// Has the resources altered that are `named`, each with its kind and how many settings it names; the `change` of each is made
/// only once there is room for it.
fn answer<M: Message<'static>>(
    request: &Request<'_>,
    named: Vec<(i8, &str, usize)>,
    change: impl Fn(usize) -> ResourceChange,
    validate_only: bool,
    to_wire: impl FnOnce(Vec<Outcome>) -> M + Send + 'static,
) -> Result<Reply, Refused> {
    let entries = named.iter().map(|(_, _, settings)| 1 + settings).sum();
    let Some(place) = request.node.controller.place(entries, request.body.len()) else {
        let refused = |(resource_type, name, _): (i8, &str, usize)| Outcome {
            resource_type,
            name: name.to_owned(),
            code: ErrorCode::RequestTimedOut,
            message: None,
        };
        return request.reply(to_wire(named.into_iter().map(refused).collect()));
    };
    let alteration = |(place, (resource_type, name, _)): (usize, (i8, &str, usize))| ResourceAlteration {
        resource_type,
        name: name.to_owned(),
        change: change(place),
    };
    let altering = alter(request, place, named.into_iter().enumerate().map(alteration).collect(), validate_only);
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move { responder.answer(to_wire(altering.await)) })))
}

/// Refuses what this broker would not take, and lets the controller decide on the rest.
fn alter(
    request: &Request<'_>,
    place: Place,
    resources: Vec<ResourceAlteration>,
    validate_only: bool,
) -> impl Future<Output = Vec<Outcome>> + Send + use<> {
    let mut taken = Vec::with_capacity(resources.len());
    let mut outcomes = Vec::new();
    let repeated = repeated(&resources);
    for (resource, is_repeated) in resources.into_iter().zip(repeated) {
        let checked = match is_repeated {
            true => Err(Refusal::new(ErrorCode::InvalidRequest, "Each resource must appear at most once.")),
            false => check(request, &resource),
        };
        match checked {
            Ok(()) if is_of_loggers(&resource) => outcomes.push(Outcome::from(AlteredResource {
                result: alter_loggers(request.node, &resource, validate_only),
                resource_type: resource.resource_type,
                name: resource.name,
            })),
            Ok(()) => taken.push(resource),
            Err(refusal) => outcomes.push(Outcome {
                resource_type: resource.resource_type,
                name: resource.name,
                code: refusal.error,
                message: refusal.message,
            }),
        }
    }
    if taken.iter().any(has_unknown_operation) {
        outcomes.extend(taken.into_iter().map(Outcome::failed));
        taken = Vec::new();
    }
    let group_limits = request.node.config.group_limits.clone();
    async move {
        let unanswered: Vec<_> = taken.iter().map(|resource| (resource.resource_type, resource.name.clone())).collect();
        let failed = |code| {
            let outcome = move |(resource_type, name)| Outcome { resource_type, name, code, message: None };
            unanswered.into_iter().map(outcome).collect::<Vec<_>>()
        };
        let command = AlterConfigs { resources: taken, validate_only, group_limits };
        let mut decided: Vec<Outcome> = match place.ask(Command::AlterConfigs(command)).await {
            Ok(Answer::AlterConfigs(altered)) => altered.into_iter().map(Outcome::from).collect(),
            Ok(other) => unreachable!("AlterConfigs is answered as such, not by {other:?}"),
            Err(why) => failed(why.code()),
        };
        decided.append(&mut outcomes);
        decided
    }
}

/// The resources that are named more than once.
fn repeated(resources: &[ResourceAlteration]) -> Vec<bool> {
    let key = |resource: &ResourceAlteration| (resource.resource_type, resource.name.clone());
    let mut counts = BTreeMap::<_, usize>::new();
    resources.iter().for_each(|resource| *counts.entry(key(resource)).or_default() += 1);
    resources.iter().map(|resource| counts[&key(resource)] > 1).collect()
}

/// Kafka's controller fails over an operation that does not exist, and with it all that it is asked for at once.
fn has_unknown_operation(resource: &ResourceAlteration) -> bool {
    let is_unknown = |edit: &ConfigEdit| ConfigOperation::from_i8(edit.operation).is_none();
    matches!(&resource.change, ResourceChange::Edit(edits) if edits.iter().any(is_unknown))
}

fn check(request: &Request<'_>, resource: &ResourceAlteration) -> Result<(), Refusal> {
    if matches!(resource.change, ResourceChange::Edit(_)) {
        resource.change.check_keys()?;
    }
    let may = |asked| request.may(Operation::AlterConfigs, asked);
    let refused = |code, message: &str| Err(Refusal::new(code, message));
    match ResourceKind::from_i8(resource.resource_type) {
        Some(ResourceKind::Topic) if !may(Resource::Topic(&resource.name)) => {
            refused(ErrorCode::TopicAuthorizationFailed, access::TOPIC_DENIED)
        }
        Some(ResourceKind::Group) if !may(Resource::Group(&resource.name)) => {
            refused(ErrorCode::GroupAuthorizationFailed, access::GROUP_DENIED)
        }
        Some(ResourceKind::Broker | ResourceKind::BrokerLogger | ResourceKind::ClientMetrics)
            if !may(Resource::Cluster) =>
        {
            refused(ErrorCode::ClusterAuthorizationFailed, access::CLUSTER_DENIED)
        }
        Some(ResourceKind::Broker) => check_broker(request.node, resource),
        Some(_) => Ok(()),
        None => refused(ErrorCode::InvalidRequest, &format!("Unknown resource type {}", resource.resource_type)),
    }
}

/// Whether it is for loggers. Whole sets of levels cannot be set: the controller has an answer for that.
fn is_of_loggers(resource: &ResourceAlteration) -> bool {
    let kind = ResourceKind::from_i8(resource.resource_type);
    kind == Some(ResourceKind::BrokerLogger) && matches!(resource.change, ResourceChange::Edit(_))
}

/// Changes the levels of loggers at once.
fn alter_loggers(node: &Node, resource: &ResourceAlteration, validate_only: bool) -> Result<(), Refusal> {
    let ResourceChange::Edit(edits) = &resource.change else {
        unreachable!("only edits are of loggers");
    };
    resource.change.check_keys()?;
    let expected = node.config.node_id;
    match resource.name.parse::<i32>() {
        Ok(id) if id == expected.0 => loggers::alter(edits, validate_only),
        Ok(id) => {
            let message = format!("Unexpected node id. Expected {expected}, but received {id}");
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        }
        Err(_) => {
            let message = format!("Node id must be an integer, but it is: {}", resource.name);
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        }
    }
}

/// Whether this broker can be given these settings while it runs.
fn check_broker(node: &Node, resource: &ResourceAlteration) -> Result<(), Refusal> {
    let invalid = |message| Refusal::new(ErrorCode::InvalidRequest, message);
    let for_all = resource.name.is_empty();
    if !for_all && resource.name.parse() != Ok(node.config.node_id.0) {
        let expected = node.config.node_id;
        return Err(invalid(match resource.name.parse::<i32>() {
            Ok(id) => format!("Unexpected broker id, expected {expected}, but received {id}"),
            Err(_) => format!("Node id must be an integer, but it is: {}", resource.name),
        }));
    }
    let image = node.image();
    let (own, cluster) = broker_configs(&image, node.config.node_id);
    let present = configs(&image, &ConfigResource { kind: ResourceKind::Broker, name: resource.name.clone() });
    let after = resource.change.applied_to(&present, table::find);
    if let ResourceChange::Edit(edits) = &resource.change
        && !matches!(&after, Err(refusal) if refusal.error == ErrorCode::InvalidRequest)
    {
        edits.iter().try_for_each(check_list_edit)?;
    }
    let keys: Vec<&str> = match &resource.change {
        ResourceChange::Replace(all) => all.iter().map(|(key, _)| key.as_str()).collect(),
        ResourceChange::Edit(edits) => edits.iter().map(|edit| edit.key.as_str()).collect(),
    };
    let change = dynamic::Change { keys: &keys, after: &after?, for_all };
    dynamic::check(&node.config, &own, &cluster, change).map_err(invalid)
}

/// Whether a key that items are added to or taken out of is a list.
fn check_list_edit(edit: &ConfigEdit) -> Result<(), Refusal> {
    let verb = match ConfigOperation::from_i8(edit.operation) {
        Some(ConfigOperation::Append) => "append",
        Some(ConfigOperation::Subtract) => "subtract",
        _ => return Ok(()),
    };
    let message = match table::find(&edit.key) {
        None => format!("Unknown config name: {}", edit.key),
        Some(setting) if setting.kind != Kind::List => {
            format!("Config value {verb} is not allowed for config key: {}", edit.key)
        }
        Some(_) => return Ok(()),
    };
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}

impl Outcome {
    fn failed(resource: ResourceAlteration) -> Self {
        let ResourceAlteration { resource_type, name, .. } = resource;
        Self { resource_type, name, code: ErrorCode::UnknownServerError, message: None }
    }
}

impl From<AlteredResource> for Outcome {
    fn from(altered: AlteredResource) -> Self {
        let AlteredResource { resource_type, name, result } = altered;
        let (code, message) = match result {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.error, refusal.message),
        };
        Self { resource_type, name, code, message }
    }
}
