//! DescribeClientQuotas (key 48, versions 0-1, KIP-546): the quotas of the entities that a filter finds.
//!
//! v1 flexible.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::controller::{CLIENT_ID, IP, USER};
use ottla_metadata::image::QuotaEntity;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_client_quotas_request::{Component, DescribeClientQuotasRequest};
use ottla_protocol::messages::describe_client_quotas_response::{DescribeClientQuotasResponse, Entity, Entry, Value};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// DescribeClientQuotas.
pub const API: Api = Api { key: ApiKey::DescribeClientQuotas, versions: 0..=1, handle };

/// Where more is kept, an answer may take much memory until it is told.
const LARGE_BYTES: usize = 512 * 1024;
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// What a part of an entity must be.
#[derive(Debug, PartialEq)]
enum Wanted<'a> {
    /// This name.
    Exact(&'a str),
    /// The default.
    Default,
    /// Any name, or the default.
    Any,
}

/// An entity has a part of each of these types; where it is strict, no others.
struct Filter<'a> {
    parts: BTreeMap<&'a str, Wanted<'a>>,
    strict: bool,
}

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeClientQuotasRequest<'_> = request.decode()?;
    let refused = |code: ErrorCode, message: String| DescribeClientQuotasResponse {
        error_code: code.code(),
        error_message: Some(Cow::Owned(message)),
        entries: None,
        ..Default::default()
    };
    if !request.may(Operation::DescribeConfigs, Resource::Cluster) {
        let message = access::CLUSTER_DENIED.to_owned();
        return request.reply(refused(ErrorCode::ClusterAuthorizationFailed, message));
    }
    let filter = match Filter::read(&asked.components, asked.strict) {
        Ok(filter) => filter,
        Err((code, message)) => return request.reply(refused(code, message)),
    };
    let image = request.node.image();
    if image.kept_quotas().bytes > LARGE_BYTES {
        request.is_large()?;
    }
    let found = image.client_quotas().iter().filter(|(entity, _)| filter.finds(entity));
    let entries = found.map(|(entity, quotas)| Entry {
        entity: entity
            .iter()
            .map(|(kind, name)| Entity {
                entity_type: Cow::Owned(kind.clone()),
                entity_name: name.clone().map(Cow::Owned),
            })
            .collect(),
        values: quotas.iter().map(|(key, value)| Value { key: Cow::Owned(key.clone()), value: *value }).collect(),
    });
    let entries = Some(entries.collect());
    request.reply(DescribeClientQuotasResponse { entries, error_message: Some("".into()), ..Default::default() })
}

impl<'a> Filter<'a> {
    fn read(components: &'a [Component<'_>], strict: bool) -> Result<Self, (ErrorCode, String)> {
        let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
        let mut parts = BTreeMap::new();
        for component in components {
            let kind: &str = &component.entity_type;
            if kind.is_empty() {
                return invalid("Invalid empty entity type.".to_owned());
            }
            if ![USER, CLIENT_ID, IP].contains(&kind) {
                return Err((ErrorCode::UnsupportedVersion, format!("Unsupported entity type {kind}")));
            }
            if parts.contains_key(kind) {
                return invalid(format!("Entity type {kind} cannot appear more than once in the filter."));
            }
            let wanted = match (component.match_type, component.r#match.as_deref()) {
                (EXACT, Some(name)) => Wanted::Exact(name),
                (EXACT, None) => {
                    return invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned());
                }
                (DEFAULT, None) => Wanted::Default,
                (DEFAULT, Some(_)) => {
                    return invalid(
                        "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.".to_owned(),
                    );
                }
                (ANY, None) => Wanted::Any,
                (ANY, Some(_)) => {
                    return invalid(
                        "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.".to_owned(),
                    );
                }
                (other, _) => return invalid(format!("Unknown match type {other}")),
            };
            parts.insert(kind, wanted);
        }
        if parts.contains_key(IP) && parts.len() > 1 {
            return invalid(
                "Invalid entity filter component combination. IP filter component should not be used with user or \
                 clientId filter component."
                    .to_owned(),
            );
        }
        Ok(Self { parts, strict })
    }

    fn finds(&self, entity: &QuotaEntity) -> bool {
        let types: BTreeSet<&str> = entity.iter().map(|(kind, _)| kind.as_str()).collect();
        if self.strict && types.len() != self.parts.len() {
            return false;
        }
        self.parts.iter().all(|(kind, wanted)| {
            let part = entity.iter().find(|(known, _)| known == kind);
            part.is_some_and(|(_, name)| match wanted {
                Wanted::Exact(wanted) => name.as_deref() == Some(*wanted),
                Wanted::Default => name.is_none(),
                Wanted::Any => true,
            })
        })
    }
}
