//! AlterClientQuotas (key 49, versions 0-1, KIP-546): how much users, clients and addresses may use.
//!
//! v1 flexible. The controller checks and writes; whether a name of an `ip` entity has an address is found out here.
//! Differs from Kafka: a request may name so many hosts; more count as unknown.

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
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// AlterClientQuotas.
pub const API: Api = Api { key: ApiKey::AlterClientQuotas, versions: 0..=1, handle };

/// So many names are looked up for one request, each for so long.
const NAMES_MAX: usize = 16;
const LOOK_UP_WITHIN: Duration = Duration::from_secs(5);

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: AlterClientQuotasRequest<'_> = request.decode()?;
    let entries: Vec<QuotaAlteration> = asked.entries.iter().map(alteration).collect();
    let all = |code| {
        let refusal = Refusal::without_words(code);
        let altered =
            |entry: &QuotaAlteration| AlteredQuotas { entity: entry.entity.clone(), result: Err(refusal.clone()) };
        entries.iter().map(altered).collect::<Vec<_>>()
    };
    if !request.may(Operation::AlterConfigs, Resource::Cluster) {
        return request.reply(response(all(ErrorCode::ClusterAuthorizationFailed)));
    }
    let count: usize = entries.iter().map(|entry| 1 + entry.changes.len()).sum();
    let Some(place) = request.node.controller.place(count, request.body.len()) else {
        return request.reply(response(all(ErrorCode::RequestTimedOut)));
    };
    let stopped = all(ErrorCode::NotController);
    let (validate_only, responder) = (asked.validate_only, request.responder());
    Ok(Reply::Parked(Box::pin(async move {
        let unresolved = unresolved(&entries).await;
        let command = AlterClientQuotas { entries, validate_only, unresolved };
        let altered = match place.ask(Command::AlterClientQuotas(command)).await {
            Ok(Answer::AlterClientQuotas(altered)) => altered,
            Ok(other) => unreachable!("AlterClientQuotas is answered as such, not by {other:?}"),
            Err(_) => stopped,
        };
        responder.answer(response(altered))
    })))
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

/// The names of `ip` entities that have no address.
async fn unresolved(entries: &[QuotaAlteration]) -> BTreeSet<String> {
    let parts = entries.iter().flat_map(|entry| &entry.entity);
    let names = parts.filter(|(kind, _)| kind == IP).filter_map(|(_, name)| name.as_ref());
    let names: BTreeSet<&String> = names.filter(|name| name.parse::<IpAddr>().is_err()).collect();
    let mut unresolved = BTreeSet::new();
    for (place, name) in names.into_iter().enumerate() {
        let looked_up = tokio::time::timeout(LOOK_UP_WITHIN, tokio::net::lookup_host((name.as_str(), 0)));
        if place >= NAMES_MAX || !matches!(looked_up.await, Ok(Ok(_))) {
            unresolved.insert(name.clone());
        }
    }
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
