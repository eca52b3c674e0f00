//! DescribeCluster (key 60, versions 0-2): the brokers and the cluster's id.
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
use crate::dispatch::{Refused, Reply};
use crate::node::BrokerEndpoint;
use crate::request::Request;

/// DescribeCluster.
pub const API: Api = Api { key: ApiKey::DescribeCluster, versions: 0..=2, handle };

/// The endpoint type of brokers; controllers are 2.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeClusterRequest = request.decode()?;
    let refused = |code: ErrorCode, message: String| DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        endpoint_type: BROKERS,
        ..Default::default()
    };
    match asked.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message =
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return request.reply(refused(ErrorCode::MismatchedEndpointType, message.to_owned()));
        }
        other => {
            let message = format!("Unsupported endpoint type {other}");
            return request.reply(refused(ErrorCode::UnsupportedEndpointType, message));
        }
    }
    let image = request.node.image();
    let with_fenced = |endpoint: &BrokerEndpoint| asked.include_fenced_brokers || !endpoint.is_fenced;
    let endpoints = BrokerEndpoint::of_all(&image, &request.client.asker.listener).filter(with_fenced);
    let brokers: Vec<Broker<'_>> = endpoints.map(to_wire).collect();
    let node_id = request.node.config.node_id.0;
    request.reply(DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: Cow::Borrowed(image.cluster_id()),
        // Who cannot be reached is not told.
        controller_id: if brokers.iter().any(|broker| broker.broker_id == node_id) { node_id } else { -1 },
        brokers,
        cluster_authorized_operations: access::operations_on_cluster(
            &*request.node.authorizer,
            &request.client.asker,
            asked.include_cluster_authorized_operations,
        ),
        ..Default::default()
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
