//! AlterClientQuotas: how much users, clients and addresses may use (KIP-546). Written: a ClientQuotaRecord for each
//! quota that changes. Entities are decided one by one; one that is refused does not hold up the others.
//!
//! The quotas are kept; of them the rates at which addresses may connect act.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::client_quota_record::Entity;
use ottla_protocol::internal::metadata::{ClientQuotaRecord, MetadataRecord};

use super::{Draft, Refusal, kept};
use crate::image::{Image, QuotaEntity, bytes_of_quotas};
use crate::records::OwnedRecord;

/// The types of which entities are made.
pub const USER: &str = "user";
/// A client's id.
pub const CLIENT_ID: &str = "client-id";
/// The address that a client comes from.
pub const IP: &str = "ip";

/// How many connections a second may come from an address.
pub const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// A whole number may differ from one by so much.
const ROUNDING: f64 = 1e-6;

/// Asks for changes of quotas.
#[derive(Clone, Debug)]
pub struct AlterClientQuotas {
    /// Of whom, and which.
    pub entries: Vec<QuotaAlteration>,
    /// Whether to answer only what would happen.
    pub validate_only: bool,
    /// Names of `ip` entities that are no addresses, and that nobody knows the address of.
    pub unresolved: BTreeSet<String>,
}

/// The changes of one entity's quotas.
#[derive(Clone, Debug)]
pub struct QuotaAlteration {
    /// Whose they are. Of two parts of one type the last counts.
    pub entity: Vec<(String, Option<String>)>,
    /// The changes.
    pub changes: Vec<QuotaChange>,
}

/// The change of one quota.
#[derive(Clone, Debug)]
pub struct QuotaChange {
    /// Which.
    pub key: String,
    /// Its new value; absent to take it away.
    pub value: Option<f64>,
}

/// What became of one entity's quotas.
#[derive(Clone, Debug, PartialEq)]
pub struct AlteredQuotas {
    /// Whose they are, sorted by type.
    pub entity: QuotaEntity,
    /// Whether they are so now, or why not.
    pub result: Result<(), Refusal>,
}

/// The values that a quota may have.
#[derive(Clone, Copy)]
enum Type {
    Int,
    Long,
    Double,
}

const OF_CLIENTS: &[(&str, Type)] = &[
    ("producer_byte_rate", Type::Long),
    ("consumer_byte_rate", Type::Long),
    ("request_percentage", Type::Double),
    ("controller_mutation_rate", Type::Double),
];
const OF_ADDRESSES: &[(&str, Type)] = &[(CONNECTION_CREATION_RATE, Type::Int)];

impl AlterClientQuotas {
    pub(super) fn decide(self, draft: &mut Draft) -> Vec<AlteredQuotas> {
        let mut order = Vec::new();
        let mut by_entity: BTreeMap<QuotaEntity, Vec<Vec<QuotaChange>>> = BTreeMap::new();
        for entry in self.entries {
            let entity: QuotaEntity = entry.entity.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
            if !by_entity.contains_key(&entity) {
                order.push(entity.clone());
            }
            by_entity.entry(entity).or_default().push(entry.changes);
        }
        let mut results = Vec::with_capacity(order.len());
        for entity in order {
            let changes = by_entity.remove(&entity).expect("it was put there with its place in the order");
            let (first, others) = changes.split_first().expect("it was put there with its changes");
            let planned = plan(draft.image(), &entity, first, &self.unresolved);
            let result = planned.map(|records| draft.extend(records));
            // As in Kafka, what is said of it first is done nevertheless.
            let result = if others.is_empty() { result } else { Err(duplicate(&entity)) };
            results.push(AlteredQuotas { entity, result });
        }
        if let Err(refusal) = draft.bound() {
            results.iter_mut().for_each(|altered| altered.result = Err(refusal.clone()));
        }
        if self.validate_only {
            draft.discard();
        }
        results
    }
}

fn plan(
    image: &Image,
    entity: &QuotaEntity,
    changes: &[QuotaChange],
    unresolved: &BTreeSet<String>,
) -> Result<Vec<OwnedRecord>, Refusal> {
    let mut keys = BTreeSet::new();
    if !changes.iter().all(|change| keys.insert(&change.key)) {
        return Err(duplicate(entity));
    }
    let known = keys_of(entity, unresolved).map_err(|message| Refusal::new(ErrorCode::InvalidRequest, message))?;
    let nothing = BTreeMap::new();
    let present = image.client_quotas().get(entity).unwrap_or(&nothing);
    let mut records = Vec::new();
    let mut after: BTreeSet<_> = present.keys().collect();
    for change in changes {
        if let Some(value) = change.value {
            check(known, &change.key, value).map_err(|message| Refusal::new(ErrorCode::InvalidRequest, message))?;
        }
        if present.get(&change.key).copied() != change.value {
            records.push(record(entity, change));
        }
        match change.value {
            Some(_) => after.insert(&change.key),
            None => after.remove(&change.key),
        };
    }
    kept::check_quotas(image, bytes_of_quotas(entity, present.keys()), bytes_of_quotas(entity, after.into_iter()))?;
    Ok(records)
}

fn duplicate(entity: &QuotaEntity) -> Refusal {
    let part = |(kind, name): &(String, Option<String>)| format!("{kind}={}", name.as_deref().unwrap_or("null"));
    let parts: Vec<_> = entity.iter().map(part).collect();
    let message = format!("Ignoring duplicate entity ClientQuotaEntity(entries={{{}}})", parts.join(", "));
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// The quotas that an entity may have.
fn keys_of(entity: &QuotaEntity, unresolved: &BTreeSet<String>) -> Result<&'static [(&'static str, Type)], String> {
    if entity.is_empty() {
        return Err("Invalid empty client quota entity".to_owned());
    }
    for (kind, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return Err(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_deref() == Some("") {
            return Err(format!("Empty {kind} not supported"));
        }
    }
    match &entity[..] {
        [(kind, name)] if kind == IP => match name {
            Some(name) if unresolved.contains(name) => Err(format!("{name} is not a valid IP or resolvable host.")),
            _ => Ok(OF_ADDRESSES),
        },
        parts if parts.iter().any(|(kind, _)| kind == IP) => {
            Err("Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId".to_owned())
        }
        _ => Ok(OF_CLIENTS),
    }
}

fn check(known: &[(&str, Type)], key: &str, value: f64) -> Result<(), String> {
    let Some((_, kind)) = known.iter().find(|(known, _)| *known == key) else {
        return Err(format!("Invalid configuration key {key}"));
    };
    if !value.is_finite() {
        return Err(format!("Quota {key} must be a finite number"));
    }
    if value <= 0.0 {
        return Err(format!("Quota {key} must be greater than 0"));
    }
    let (name, most) = match kind {
        Type::Double => return Ok(()),
        Type::Int => ("an INT", f64::from(i32::MAX)),
        Type::Long => ("a LONG", i64::MAX as f64),
    };
    if value > most {
        return Err(format!("Proposed value for {key} is too large for {name}."));
    }
    if (value - value.round()).abs() > ROUNDING {
        return Err(format!("{key} cannot be a fractional value."));
    }
    Ok(())
}

fn record(entity: &QuotaEntity, change: &QuotaChange) -> OwnedRecord {
    let part = |(kind, name): &(String, Option<String>)| Entity {
        entity_type: kind.clone().into(),
        entity_name: name.clone().map(Into::into),
    };
    MetadataRecord::ClientQuota(ClientQuotaRecord {
        entity: entity.iter().map(part).collect(),
        key: change.key.clone().into(),
        value: change.value.unwrap_or_default(),
        remove: change.value.is_none(),
    })
}
