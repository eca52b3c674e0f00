//! The quotas of users, clients and IP addresses, and which SCRAM credentials users have.

use ottla_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, Entity as AlteredEntity, Entry as AlteredEntry, Op,
};
use ottla_protocol::messages::alter_client_quotas_response::AlterClientQuotasResponse;
use ottla_protocol::messages::describe_client_quotas_request::{Component, DescribeClientQuotasRequest};
use ottla_protocol::messages::describe_client_quotas_response::DescribeClientQuotasResponse;
use ottla_protocol::messages::describe_user_scram_credentials_request::{DescribeUserScramCredentialsRequest, User};
use ottla_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResponse;
use ottla_protocol::{ApiKey, ErrorCode, Str};

use super::{Changes, Entities, Failure};
use crate::client::{Cluster, Error};
use crate::java_number::decimal;
use crate::java_order::{hash_code, sort_as_in_java};
use crate::screen::Screen;

/// How a component of a filter matches: by name, by being a default, or by being there.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;
/// The quotas of users and clients, and of IP addresses.
const CLIENT_QUOTAS: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const IP_QUOTAS: [&str; 1] = ["connection_creation_rate"];
/// The SCRAM mechanisms, by the number on the wire.
const MECHANISMS: [&str; 3] = ["UNKNOWN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// An entity with its quotas. An entity without a name is the default.
#[derive(Clone, Debug, PartialEq)]
pub struct Quotas {
    /// Types and names.
    pub entity: Vec<(String, Option<String>)>,
    /// Names and values.
    pub values: Vec<(String, f64)>,
}

/// `--describe`
pub fn describe(cluster: &mut Cluster, entities: &Entities, screen: &mut Screen) -> Result<(), Failure> {
    let quotas = find(cluster, entities)?;
    show(quotas, screen);
    let is_about_users =
        !entities.types.iter().any(|name| name != "users") && !entities.names.iter().any(String::is_empty);
    if is_about_users {
        describe_credentials(cluster, &entities.names, screen)?;
    }
    Ok(())
}

/// Shows quotas, in the order of the hash maps in which Kafka's tool has them.
pub fn show(mut quotas: Vec<Quotas>, screen: &mut Screen) {
    let count = quotas.len();
    sort_as_in_java(&mut quotas, count, |quotas| {
        let hash = |(kind, name): &(String, Option<String>)| hash_code(kind) ^ name.as_deref().map_or(0, hash_code);
        quotas.entity.iter().map(hash).fold(31, u32::wrapping_add)
    });
    for Quotas { entity, mut values } in quotas {
        let count = values.len();
        sort_as_in_java(&mut values, count, |(name, _)| hash_code(name));
        let parts = [("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")].map(|(kind, shown)| {
            let (_, name) = entity.iter().find(|(known, _)| known == kind)?;
            Some(name.as_ref().map_or_else(|| format!("the default {shown}"), |name| format!("{shown} '{name}'")))
        });
        let entity: Vec<String> = parts.into_iter().flatten().collect();
        let values: Vec<String> = values.iter().map(|(name, value)| format!("{name}={}", decimal(*value))).collect();
        screen.say(format!("Quota configs for {} are {}", entity.join(", "), values.join(", ")));
    }
}

/// The type of an entity on the wire.
fn kind_of(entity_type: &str) -> &'static str {
    match entity_type {
        "users" => "user",
        "clients" => "client-id",
        _ => "ip",
    }
}

fn find(cluster: &mut Cluster, entities: &Entities) -> Result<Vec<Quotas>, Failure> {
    if entities.names.len() > entities.types.len() {
        return Err(Failure::Illegal("More entity names specified than entity types".to_owned()));
    }
    let component = |(index, entity_type): (usize, &String)| {
        let (match_type, name) = match entities.names.get(index).map(String::as_str) {
            None => (SPECIFIED, None),
            Some("") => (DEFAULT, None),
            Some(name) => (EXACT, Some(Str::Borrowed(name))),
        };
        Component { entity_type: Str::Borrowed(kind_of(entity_type)), match_type, r#match: name }
    };
    let components = entities.types.iter().enumerate().map(component).collect();
    let request = DescribeClientQuotasRequest { components, strict: true };
    let answer = cluster.ask(ApiKey::DescribeClientQuotas, &request)?;
    let response: DescribeClientQuotasResponse<'_> = answer.read()?;
    if response.error_code != 0 {
        return Err(Error::of_code(response.error_code, response.error_message.as_deref()).into());
    }
    let entries = response.entries.iter().flatten().map(|entry| {
        let part = |of: &ottla_protocol::messages::describe_client_quotas_response::Entity<'_>| {
            (of.entity_type.to_string(), of.entity_name.as_deref().map(str::to_owned))
        };
        Quotas {
            entity: entry.entity.iter().map(part).collect(),
            values: entry.values.iter().map(|value| (value.key.to_string(), value.value)).collect(),
        }
    });
    Ok(entries.collect())
}

fn describe_credentials(cluster: &mut Cluster, users: &[String], screen: &mut Screen) -> Result<(), Failure> {
    let named = users.iter().map(|name| User { name: Str::Borrowed(name) }).collect();
    let request = DescribeUserScramCredentialsRequest { users: Some(named) };
    let answer = match cluster.ask(ApiKey::DescribeUserScramCredentials, &request) {
        // Then there are none.
        Err(Error::NotServed { .. }) => return Ok(()),
        answer => answer?,
    };
    let response: DescribeUserScramCredentialsResponse<'_> = answer.read()?;
    if response.error_code != 0 {
        return Err(Error::of_code(response.error_code, response.error_message.as_deref()).into());
    }
    for result in &response.results {
        let user = &result.user;
        match ErrorCode::from_code(result.error_code) {
            Some(ErrorCode::None) => {
                let credentials: Vec<String> = result
                    .credential_infos
                    .iter()
                    .map(|info| {
                        let mechanism = usize::try_from(info.mechanism).ok().and_then(|of| MECHANISMS.get(of));
                        format!("{}=iterations={}", mechanism.unwrap_or(&MECHANISMS[0]), info.iterations)
                    })
                    .collect();
                let credentials = credentials.join(", ");
                screen.say(format!("SCRAM credential configs for user-principal '{user}' are {credentials}"));
            }
            // The user has none.
            Some(ErrorCode::ResourceNotFound) => {}
            _ => {
                let error = Error::of_code(result.error_code, result.error_message.as_deref());
                let exception = error.exception();
                let exception = exception.rsplit_once("errors.").map_or(exception.as_str(), |(_, short)| short);
                screen.say(format!(
                    "Error retrieving SCRAM credential configs for user-principal '{user}': ExecutionException: {exception}"
                ));
            }
        }
    }
    Ok(())
}

/// `--alter`
pub fn alter(cluster: &mut Cluster, entities: &Entities, changes: &Changes) -> Result<(), Failure> {
    check(&entities.types, changes)?;
    let mut ops = Vec::new();
    for (key, value) in &changes.set {
        let number = value
            .trim()
            .parse::<f64>()
            .map_err(|_| Failure::Illegal(format!("Cannot parse quota configuration value for {key}: {value}")))?;
        ops.push(Op { key: Str::Borrowed(key), value: number, remove: false });
    }
    let existing = find(cluster, entities)?;
    let is_set =
        |name: &&String| existing.first().is_some_and(|known| known.values.iter().any(|(set, _)| set == *name));
    let unset: Vec<&str> = changes.reset.iter().filter(|name| !is_set(name)).map(String::as_str).collect();
    if !unset.is_empty() {
        return Err(Failure::Illegal(format!("Invalid config(s): {}", unset.join(","))));
    }
    ops.extend(changes.reset.iter().map(|key| Op { key: Str::Borrowed(key), value: 0.0, remove: true }));
    let entity = entities.types.iter().zip(&entities.names).map(|(entity_type, name)| AlteredEntity {
        entity_type: Str::Borrowed(kind_of(entity_type)),
        entity_name: (!name.is_empty()).then(|| Str::Borrowed(name)),
    });
    let entry = AlteredEntry { entity: entity.collect(), ops };
    let request = AlterClientQuotasRequest { entries: vec![entry], validate_only: false };
    let answer = cluster.ask(ApiKey::AlterClientQuotas, &request)?;
    let response: AlterClientQuotasResponse<'_> = answer.read()?;
    match response.entries.iter().find(|entry| entry.error_code != 0) {
        Some(refused) => Err(Error::of_code(refused.error_code, refused.error_message.as_deref()).into()),
        None => Ok(()),
    }
}

/// Refuses what is no quota of these entities.
pub fn check(types: &[String], changes: &Changes) -> Result<(), Failure> {
    let names =
        || changes.set.keys().map(|name| (name, "added")).chain(changes.reset.iter().map(|name| (name, "deleted")));
    if types[0] == "ips" {
        let unknown: Vec<&str> =
            names().map(|(name, _)| name.as_str()).filter(|name| !IP_QUOTAS.contains(name)).collect();
        return if unknown.is_empty() {
            Ok(())
        } else {
            Err(Failure::Illegal(format!(
                "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: {}",
                unknown.join(",")
            )))
        };
    }
    let only_users = types.len() == 1 && types[0] == "users";
    let (what, entity) = if only_users { ("quota and SCRAM credential", "users") } else { ("quota", "clients") };
    for done in ["added", "deleted"] {
        let unknown: Vec<&str> = names()
            .filter(|(name, of)| *of == done && !CLIENT_QUOTAS.contains(&name.as_str()))
            .filter(|(name, _)| !(only_users && MECHANISMS[1..].contains(&name.as_str())))
            .map(|(name, _)| name.as_str())
            .collect();
        if !unknown.is_empty() {
            let collection = if done == "added" { "Set" } else { "ArrayBuffer" };
            return Err(Failure::Illegal(format!(
                "Only {what} configs can be {done} for '{entity}' using --bootstrap-server. Unexpected config names: \
                 {collection}({})",
                unknown.join(", ")
            )));
        }
    }
    if names().any(|(name, _)| MECHANISMS.contains(&name.as_str())) {
        return Err(Failure::Illegal(
            "SCRAM credentials cannot be changed by this tool yet: kafka-configs.sh can do it".to_owned(),
        ));
    }
    Ok(())
}
