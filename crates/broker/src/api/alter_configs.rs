//! AlterConfigs (key 33, versions 0-2) and IncrementalAlterConfigs (key 44, versions 0-1, KIP-339): settings of topics and
//! brokers.
//!
//! v2 and v1 flexible. What a broker would not take (a setting that is not dynamic, another broker's id) is refused here; the
//! controller checks names and values, and writes.
//!
//! Not here: loggers, groups and client metrics have no settings yet.

use std::borrow::Cow;

use ottla_metadata::controller::{
    AlterConfigs, AlteredResource, Answer, Command, ConfigEdit, ConfigOperation, ResourceAlteration, ResourceChange,
};
use ottla_metadata::image::ResourceKind;
use ottla_metadata::settings::Dynamic;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::alter_configs_request::AlterConfigsRequest;
use ottla_protocol::messages::alter_configs_response::{self, AlterConfigsResponse};
use ottla_protocol::messages::incremental_alter_configs_request::{self, IncrementalAlterConfigsRequest};
use ottla_protocol::messages::incremental_alter_configs_response::{self, IncrementalAlterConfigsResponse};

use super::Api;
use crate::access::{Operation, Resource};
use crate::config::table;
use crate::dispatch::{Refused, Reply};
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
    let resources = asked.resources.iter().map(|resource| ResourceAlteration {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        change: ResourceChange::Replace(
            resource
                .configs
                .iter()
                .map(|one| (one.name.to_string(), one.value.as_deref().map(str::to_owned)))
                .collect(),
        ),
    });
    let altering = alter(request, resources.collect(), asked.validate_only);
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move {
        let responses = altering.await.into_iter().map(|outcome| alter_configs_response::Response {
            error_code: outcome.code.code(),
            error_message: outcome.message.map(Cow::Owned),
            resource_type: outcome.resource_type,
            resource_name: Cow::Owned(outcome.name),
        });
        responder.answer(AlterConfigsResponse { responses: responses.collect(), ..Default::default() })
    })))
}

fn edit(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: IncrementalAlterConfigsRequest<'_> = request.decode()?;
    let config_edit = |one: &incremental_alter_configs_request::Config<'_>| ConfigEdit {
        key: one.name.to_string(),
        operation: one.config_operation,
        value: one.value.as_deref().map(str::to_owned),
    };
    let resources = asked.resources.iter().map(|resource| ResourceAlteration {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        change: ResourceChange::Edit(resource.configs.iter().map(config_edit).collect()),
    });
    let altering = alter(request, resources.collect(), asked.validate_only);
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move {
        let responses = altering.await.into_iter().map(|outcome| incremental_alter_configs_response::Response {
            error_code: outcome.code.code(),
            error_message: outcome.message.map(Cow::Owned),
            resource_type: outcome.resource_type,
            resource_name: Cow::Owned(outcome.name),
        });
        responder.answer(IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() })
    })))
}

/// Refuses what this broker would not take, and lets the controller decide on the rest.
fn alter(
    request: &Request<'_>,
    resources: Vec<ResourceAlteration>,
    validate_only: bool,
) -> impl Future<Output = Vec<Outcome>> + Send + use<> {
    let entries: usize = resources.iter().map(|resource| 1 + resource.change.len()).sum();
    let place = request.node.controller.place(entries, request.body.len());
    let mut taken = Vec::with_capacity(resources.len());
    let mut outcomes = Vec::new();
    for resource in resources {
        match check(request, &resource) {
            Ok(()) => taken.push(resource),
            Err((code, message)) => outcomes.push(Outcome {
                resource_type: resource.resource_type,
                name: resource.name,
                code,
                message: Some(message),
            }),
        }
    }
    async move {
        let failed: Vec<_> = taken.iter().map(|resource| (resource.resource_type, resource.name.clone())).collect();
        let failed = |code| {
            let outcome = move |(resource_type, name)| Outcome { resource_type, name, code, message: None };
            failed.into_iter().map(outcome).collect::<Vec<_>>()
        };
        let mut decided: Vec<Outcome> = match place {
            None => failed(ErrorCode::RequestTimedOut),
            Some(place) => {
                let command = AlterConfigs { resources: taken, validate_only };
                match place.ask(Command::AlterConfigs(command)).await {
                    Ok(Answer::AlterConfigs(altered)) => altered.into_iter().map(Outcome::from).collect(),
                    Ok(other) => unreachable!("AlterConfigs is answered as such, not by {other:?}"),
                    Err(why) => failed(why.code()),
                }
            }
        };
        decided.append(&mut outcomes);
        decided
    }
}

fn check(request: &Request<'_>, resource: &ResourceAlteration) -> Result<(), (ErrorCode, String)> {
    match ResourceKind::from_i8(resource.resource_type) {
        Some(ResourceKind::Topic) => match request.may(Operation::AlterConfigs, Resource::Topic(&resource.name)) {
            true => Ok(()),
            false => Err((ErrorCode::TopicAuthorizationFailed, "Topic authorization failed.".to_owned())),
        },
        Some(ResourceKind::Broker) => {
            if !request.may(Operation::AlterConfigs, Resource::Cluster) {
                return Err((ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed.".to_owned()));
            }
            check_broker(request.node, resource).map_err(|message| (ErrorCode::InvalidRequest, message))
        }
        // The controller has an answer for what does not exist.
        _ => Ok(()),
    }
}

/// Whether this broker can be given these settings while it runs.
fn check_broker(node: &Node, resource: &ResourceAlteration) -> Result<(), String> {
    let for_all = resource.name.is_empty();
    if !for_all && resource.name.parse() != Ok(node.config.node_id.0) {
        let expected = node.config.node_id;
        return Err(match resource.name.parse::<i32>() {
            Ok(id) => format!("Unexpected broker id, expected {expected}, but received {id}"),
            Err(_) => format!("Node id must be an integer, but it is: {}", resource.name),
        });
    }
    let keys: Vec<&str> = match &resource.change {
        ResourceChange::Replace(all) => all.iter().map(|(key, _)| key.as_str()).collect(),
        ResourceChange::Edit(edits) => edits.iter().map(|edit| edit.key.as_str()).collect(),
    };
    let with_update = |wanted: Dynamic| -> Vec<&str> {
        let has = |key: &&&str| table::find(key).is_some_and(|setting| setting.dynamic == wanted);
        keys.iter().filter(has).copied().collect()
    };
    let fixed = with_update(Dynamic::ReadOnly);
    if !fixed.is_empty() {
        return Err(format!("Cannot update these configs dynamically: [{}]", fixed.join(", ")));
    }
    let of_one = with_update(Dynamic::PerBroker);
    if for_all && !of_one.is_empty() {
        return Err(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{}]",
            of_one.join(", ")
        ));
    }
    check_values(resource)
}

/// Whether the values are of their types and within bounds.
fn check_values(resource: &ResourceAlteration) -> Result<(), String> {
    let values: Vec<(&str, &str)> = match &resource.change {
        ResourceChange::Replace(all) => {
            all.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?))).collect()
        }
        ResourceChange::Edit(edits) => edits
            .iter()
            .filter(|edit| edit.operation == ConfigOperation::Set as i8)
            .filter_map(|edit| Some((edit.key.as_str(), edit.value.as_deref()?)))
            .collect(),
    };
    for (key, value) in values {
        if let Some(setting) = table::find(key) {
            setting.parse(value)?;
        }
    }
    Ok(())
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
