//! AlterClientQuotas (key 49, versions 0-1, KIP-546): how much users, clients and addresses may use.
//!
//! v1 flexible. The controller checks and writes; whether a name of an `ip` entity has an address is found out here.
//! Differs from Kafka: a request may name so many hosts, and waits for so long until their addresses are found; others count as
//! unknown. Meanwhile it holds nobody up: it has no place with the controller yet.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ottla_metadata::controller::{
    AlterClientQuotas, AlteredQuotas, Answer, Command, IP, QuotaAlteration, QuotaChange, Refusal,
};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::alter_client_quotas_request::{self, AlterClientQuotasRequest};
use ottla_protocol::messages::alter_client_quotas_response::{self, AlterClientQuotasResponse};

use super::Api;
use crate::access::{Operation, Resource};
use crate::controller::command_bytes;
use crate::dispatch::{Refused, Reply};
use crate::net::host_names::HostNames;
use crate::request::Request;

/// AlterClientQuotas.
pub const API: Api = Api { key: ApiKey::AlterClientQuotas, versions: 0..=1, handle };

/// So many names are looked up for one request, all together for so long.
const NAMES_MAX: usize = 16;
const LOOK_UP_WITHIN: Duration = Duration::from_secs(5);

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: AlterClientQuotasRequest<'_> = request.decode()?;
    let entries: Vec<QuotaAlteration> = asked.entries.iter().map(alteration).collect();
    if !request.may(Operation::AlterConfigs, Resource::Cluster) {
        return request.reply(response(refused(&entries, ErrorCode::ClusterAuthorizationFailed)));
    }
    let (count, names) = (entries.iter().map(|entry| 1 + entry.changes.len()).sum(), host_names(&entries));
    let (node, responder, request_bytes) = (request.node.clone(), request.responder(), request.body.len());
    let Some(waiting) = node.host_names.place(if names.is_empty() { 0 } else { command_bytes(count, request_bytes) })
    else {
        return request.reply(response(refused(&entries, ErrorCode::RequestTimedOut)));
    };
    let validate_only = asked.validate_only;
    Ok(Reply::Parked(Box::pin(async move {
        let unresolved = unresolved(&node.host_names, names).await;
        let Some(place) = node.controller.place(count, request_bytes) else {
            return responder.answer(response(refused(&entries, ErrorCode::RequestTimedOut)));
        };
        // The controller's place counts it from here on.
        drop(waiting);
        let stopped = refused(&entries, ErrorCode::NotController);
        let command = AlterClientQuotas { entries, validate_only, unresolved };
        let altered = match place.ask(Command::AlterClientQuotas(command)).await {
            Ok(Answer::AlterClientQuotas(altered)) => altered,
            Ok(other) => unreachable!("AlterClientQuotas is answered as such, not by {other:?}"),
            Err(_) => stopped,
        };
        responder.answer(response(altered))
    })))
}

/// All of it, for one reason.
fn refused(entries: &[QuotaAlteration], code: ErrorCode) -> Vec<AlteredQuotas> {
    let altered = |entry: &QuotaAlteration| AlteredQuotas {
        entity: entry.entity.clone(),
        result: Err(Refusal::without_words(code)),
    };
    entries.iter().map(altered).collect()
}

fn alteration(entry: &alter_client_quotas_request::Entry<'_>) -> QuotaAlteration {
    let part = |part: &alter_client_quotas_request::Entity<'_>| {
        (part.entity_type.to_string(), part.entity_name.as_deref().map(str::to_owned))
    };
    let change = |op: &alter_client_quotas_request::Op<'_>| QuotaChange {
        key: op.key.to_string(),
        value: (!op.remove).then_some(op.value),
    };
    QuotaAlteration { entity: entry.entity.iter().map(part).collect(), changes: entry.ops.iter().map(change).collect() }
}

/// The names of `ip` entities that are no addresses.
fn host_names(entries: &[QuotaAlteration]) -> BTreeSet<String> {
    let parts = entries.iter().flat_map(|entry| &entry.entity);
    let names = parts.filter(|(kind, _)| kind == IP).filter_map(|(_, name)| name.as_ref());
    names.filter(|name| name.parse::<IpAddr>().is_err()).cloned().collect()
}

/// Those of them that have no address.
async fn unresolved(hosts: &HostNames, mut names: BTreeSet<String>) -> BTreeSet<String> {
    let beyond = names.iter().nth(NAMES_MAX).cloned();
    let mut beyond = beyond.map(|first| names.split_off(&first)).unwrap_or_default();
    let mut unresolved = hosts.unknown(names, tokio::time::sleep(LOOK_UP_WITHIN)).await;
    unresolved.append(&mut beyond);
    unresolved
}

fn response(altered: Vec<AlteredQuotas>) -> AlterClientQuotasResponse<'static> {
    let part = |(kind, name): (String, Option<String>)| alter_client_quotas_response::Entity {
        entity_type: Cow::Owned(kind),
        entity_name: name.map(Cow::Owned),
    };
    let entry = |altered: AlteredQuotas| {
        let (code, message) = match altered.result {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.error, refusal.message),
        };
        alter_client_quotas_response::Entry {
            error_code: code.code(),
            error_message: message.map(Cow::Owned),
            entity: altered.entity.into_iter().map(part).collect(),
        }
    };
    AlterClientQuotasResponse { entries: altered.into_iter().map(entry).collect(), ..Default::default() }
}
