//! DescribeCluster (key 60, versions 0-2): the brokers and the cluster's id; on a listener for controllers, the controllers.
//!
//! v1 endpoint type (KIP-919). v2 fenced brokers, for those who ask for them (KIP-1073). As in Kafka, whoever may not describe
//! the cluster is told all the same, but for the operations.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;

use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::{Broker, DescribeClusterResponse};

use super::Api;
use crate::access;
use crate::config::{Listener, ListenerType};
use crate::dispatch::{Refused, Reply};
use crate::node::BrokerEndpoint;
use crate::request::Request;

/// DescribeCluster.
pub const API: Api = Api { key: ApiKey::DescribeCluster, versions: 0..=2, handle };

/// The endpoint types.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
/// From this version on there are endpoint types.
const TYPES_FROM: i16 = 1;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeClusterRequest = request.decode()?;
    let listener_type = request.client.listener_type;
    if let Some((code, message)) = mismatch(asked.endpoint_type, listener_type, request.version()) {
        return request.reply(DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message.into()),
            // Whatever this is, as in Kafka.
            endpoint_type: BROKERS,
            ..Default::default()
        });
    }
    let image = request.node.image();
    let nodes: Vec<Broker<'_>> = match listener_type {
        ListenerType::Broker => {
            let with_fenced = |endpoint: &BrokerEndpoint| asked.include_fenced_brokers || !endpoint.is_fenced;
            let endpoints = BrokerEndpoint::of_all(&image, &request.client.asker.listener).filter(with_fenced);
            endpoints.map(to_wire).collect()
        }
        ListenerType::Controller => this_controller(request).into_iter().collect(),
    };
    let node_id = request.node.config.node_id.0;
    request.reply(DescribeClusterResponse {
        endpoint_type: of(listener_type).0,
        cluster_id: Cow::Borrowed(image.cluster_id()),
        // Who cannot be reached is not told.
        controller_id: if nodes.iter().any(|node| node.broker_id == node_id) { node_id } else { -1 },
        brokers: nodes,
        cluster_authorized_operations: access::operations_on_cluster(
            &*request.node.authorizer,
            &request.client.asker,
            asked.include_cluster_authorized_operations,
        ),
        ..Default::default()
    })
}

/// The endpoint type of what a listener is for, and its name.
fn of(listener_type: ListenerType) -> (i8, &'static str) {
    match listener_type {
        ListenerType::Broker => (BROKERS, "BROKER"),
        ListenerType::Controller => (CONTROLLERS, "CONTROLLER"),
    }
}

/// What is wrong with asking for endpoints of type `asked` on such a listener.
fn mismatch(asked: i8, listener_type: ListenerType, version: i16) -> Option<(ErrorCode, String)> {
    let (here, here_name) = of(listener_type);
    let asked_name = match asked {
        _ if asked == here => return None,
        BROKERS => "BROKER",
        CONTROLLERS => "CONTROLLER",
        other => return Some((ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"))),
    };
    let message = format!(
        "The request was sent to an endpoint of type {here_name}, but we wanted an endpoint of type {asked_name}"
    );
    let code = if version >= TYPES_FROM { ErrorCode::MismatchedEndpointType } else { ErrorCode::InvalidRequest };
    Some((code, message))
}

/// Where this controller is reached by those who came by the same listener.
fn this_controller(request: &Request<'_>) -> Option<Broker<'static>> {
    let config = &request.node.config;
    let of_client = |listener: &&Listener| *listener.name == *request.client.asker.listener;
    let listener = config.listeners.controller.iter().find(of_client)?;
    Some(Broker {
        broker_id: config.node_id.0,
        host: Cow::Owned(listener.advertised_host.clone()),
        port: i32::from(listener.advertised_port),
        rack: None,
        is_fenced: false,
    })
}

fn to_wire(endpoint: BrokerEndpoint) -> Broker<'static> {
    Broker {
        broker_id: endpoint.id.0,
        host: Cow::Owned(endpoint.host),
        port: i32::from(endpoint.port),
        rack: endpoint.rack.map(Cow::Owned),
        is_fenced: endpoint.is_fenced,
    }
}
