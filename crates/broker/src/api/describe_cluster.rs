//! DescribeCluster (key 60, versions 0-2): the brokers and the cluster's id.
//!
//! v1 endpoint type (KIP-919). v2 fenced brokers (KIP-1073).
//! Differs from Kafka: nothing known.

use std::borrow::Cow;

use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::{Broker, DescribeClusterResponse};

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
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
    if !request.may(Operation::Describe, Resource::Cluster) {
        return request
            .reply(refused(ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed.".to_owned()));
    }
    let image = request.node.image();
    let brokers = request.node.endpoints(&image, &request.client.asker.listener).into_iter().map(|endpoint| Broker {
        broker_id: endpoint.id.0,
        host: Cow::Owned(endpoint.host),
        port: i32::from(endpoint.port),
        rack: endpoint.rack.map(Cow::Owned),
        is_fenced: false,
    });
    let operations = match asked.include_cluster_authorized_operations {
        true => access::authorized_operations(
            &*request.node.authorizer,
            &request.client.asker,
            Resource::Cluster,
            &Resource::CLUSTER_OPERATIONS,
        ),
        false => i32::MIN,
    };
    request.reply(DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: Cow::Borrowed(image.cluster_id()),
        controller_id: request.node.config.node_id.0,
        brokers: brokers.collect(),
        cluster_authorized_operations: operations,
        ..Default::default()
    })
}
