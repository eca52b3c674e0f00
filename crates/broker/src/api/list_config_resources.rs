//! ListConfigResources (key 74, versions 0-1): what has settings (KIP-1142).
//!
//! v0 lists client metrics only (KIP-714); v1 asks for types. Of groups those are listed that set something themselves.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;

use ottla_metadata::image::ResourceKind;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_protocol::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::node::BrokerEndpoint;
use crate::request::Request;

/// ListConfigResources.
pub const API: Api = Api { key: ApiKey::ListConfigResources, versions: 0..=1, handle };

/// What there is.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;
const CLIENT_METRICS: i8 = 16;
/// The loggers of a broker are named as the broker is.
const BROKER_LOGGER: i8 = 8;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: ListConfigResourcesRequest = request.decode()?;
    if !request.may(Operation::DescribeConfigs, Resource::Cluster) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return request.reply(ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let all = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
    let wanted = match (request.version(), asked.resource_types.is_empty()) {
        (0, _) => vec![CLIENT_METRICS],
        (_, true) => all.to_vec(),
        _ => asked.resource_types,
    };
    if wanted.iter().any(|wanted| !all.contains(wanted)) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return request.reply(ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let image = request.node.image();
    let mut config_resources = Vec::new();
    let mut list = |resource_type, names: &mut dyn Iterator<Item = String>| {
        let resource = |name| ConfigResource { resource_name: Cow::Owned(name), resource_type };
        if wanted.contains(&resource_type) {
            config_resources.extend(names.map(resource));
        }
    };
    // Also those that are shut out.
    let brokers = || BrokerEndpoint::of_all(&image, &request.client.asker.listener);
    list(TOPIC, &mut image.topics().iter().map(|topic| topic.name.to_string()));
    list(BROKER, &mut brokers().map(|broker| broker.id.to_string()));
    list(BROKER_LOGGER, &mut brokers().map(|broker| broker.id.to_string()));
    for kind in [ResourceKind::ClientMetrics, ResourceKind::Group] {
        let of_kind = image.configs().iter().filter(|(resource, _)| resource.kind == kind);
        list(kind.as_i8(), &mut of_kind.map(|(resource, _)| resource.name.clone()));
    }
    request.reply(ListConfigResourcesResponse { config_resources, ..Default::default() })
}
