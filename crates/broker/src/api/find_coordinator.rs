//! FindCoordinator (key 10, versions 0-6): who looks after a group or a transaction.
//!
//! v1 key types. v3 flexible. v4 many keys at once (KIP-699). v6 share groups (KIP-932).
//! Differs from Kafka: the topic of the groups is created before the first answer, where Kafka answers
//! COORDINATOR_NOT_AVAILABLE until it is there. There are no coordinators of transactions and share groups yet. Who seeks one of
//! transactions is told UNSUPPORTED_VERSION: after all that may pass by itself, Kafka's clients ask again until they time out.

use std::borrow::Cow;

use ottla_base::Uuid;
use ottla_metadata::image::Image;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::Api;
use crate::access::{Operation, Resource};
use crate::coordinators::{LISTED_GROUPS_MAX, offsets_topic};
use crate::dispatch::{Refused, Reply};
use crate::node::{BrokerEndpoint, Node};
use crate::request::Request;

/// FindCoordinator.
pub const API: Api = Api { key: ApiKey::FindCoordinator, versions: 0..=6, handle };

/// The first version that asks for many keys.
const MANY_FROM: i16 = 4;
/// Of so many keys at most, which are those of all groups that there can be. Differs from Kafka, whose answer to a frame full of
/// short keys is 25 times as large.
const KEYS_MAX: usize = LISTED_GROUPS_MAX;
/// The first version in which coordinators of share groups are looked for (KIP-932).
const SHARE_FROM: i16 = 6;
/// The kinds of keys.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// Somebody who is looked for: refused here, or to be looked up.
type Sought = (String, Result<(), ErrorCode>);

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: FindCoordinatorRequest<'_> = request.decode()?;
    let is_many = request.version() >= MANY_FROM;
    let kind = (asked.key_type, is_many);
    if asked.coordinator_keys.len() > KEYS_MAX {
        return Err(request.responder().too_large());
    }
    let check = |key: &str| (key.to_owned(), check(request, asked.key_type, key));
    let sought: Vec<Sought> = match is_many {
        true => asked.coordinator_keys.iter().map(|key| check(key)).collect(),
        false => vec![check(&asked.key)],
    };
    let listener = request.client.asker.listener.clone();
    let image = request.node.image();
    let is_missing = image.topic(offsets_topic::NAME).is_none();
    if !is_missing || sought.iter().all(|(_, checked)| checked.is_err()) {
        return request.reply(answer(request.node, &image, &listener, sought, kind));
    }
    let Some(place) = request.node.controller.place(sought.len(), request.body.len()) else {
        // The client asks again, as it does where Kafka's controller takes its time.
        return request.reply(answer(request.node, &image, &listener, sought, kind));
    };
    let (node, responder) = (request.node.clone(), request.responder());
    let memory_bytes = sought.iter().map(|(key, _)| size_of::<Sought>() + key.len()).sum();
    let later = Box::pin(async move {
        node.create_topics(&place, vec![offsets_topic::new_topic(&node.config, &image)]).await;
        responder.answer(answer(&node, &node.image(), &listener, sought, kind))
    });
    Ok(Reply::Holding(later, memory_bytes))
}

fn check(request: &Request<'_>, key_type: i8, key: &str) -> Result<(), ErrorCode> {
    match key_type {
        GROUP if !request.may(Operation::Describe, Resource::Group(key)) => Err(ErrorCode::GroupAuthorizationFailed),
        TRANSACTION if !request.may(Operation::Describe, Resource::TransactionalId(key)) => {
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        }
        SHARE if !request.may(Operation::ClusterAction, Resource::Cluster) => {
            Err(ErrorCode::ClusterAuthorizationFailed)
        }
        GROUP => Ok(()),
        SHARE => check_share(request.version(), key),
        TRANSACTION => Err(ErrorCode::UnsupportedVersion),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn check_share(version: i16, key: &str) -> Result<(), ErrorCode> {
    if version < SHARE_FROM || !is_share_key(key) {
        return Err(ErrorCode::InvalidRequest);
    }
    Err(ErrorCode::CoordinatorNotAvailable)
}

/// Whether `key` names one partition that a share group reads: `group:topicId:partition`.
fn is_share_key(key: &str) -> bool {
    let parts: Vec<&str> = key.split(':').collect();
    let &[group, topic_id, partition] = parts.as_slice() else { return false };
    !group.trim().is_empty() && topic_id.parse::<Uuid>().is_ok() && partition.parse::<i32>().is_ok()
}

fn answer(
    node: &Node,
    image: &Image,
    listener: &str,
    sought: Vec<Sought>,
    (key_type, is_many): (i8, bool),
) -> FindCoordinatorResponse<'static> {
    let endpoints = BrokerEndpoint::of_alive(image, listener);
    let coordinators = sought.into_iter().map(|(key, checked)| {
        let found = checked.and_then(|()| coordinator_of(node, image, &endpoints, &key));
        // As Kafka, which has no words for these.
        let is_silent = is_many && key_type == SHARE && !is_share_key(&key);
        let coordinator = to_wire(key, found);
        if is_silent { Coordinator { error_message: Some(Cow::Borrowed("")), ..coordinator } } else { coordinator }
    });
    let mut coordinators: Vec<Coordinator<'static>> = coordinators.collect();
    if is_many {
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let only = coordinators.pop().expect("one is looked for");
    FindCoordinatorResponse {
        error_code: only.error_code,
        // What Kafka says in these versions where nothing is wrong.
        error_message: if only.error_code == 0 { Some(Cow::Borrowed("NONE")) } else { only.error_message },
        node_id: only.node_id,
        host: only.host,
        port: only.port,
        ..Default::default()
    }
}

/// Whoever leads the partition that holds the group.
fn coordinator_of<'e>(
    node: &Node,
    image: &Image,
    endpoints: &'e [BrokerEndpoint],
    group_id: &str,
) -> Result<&'e BrokerEndpoint, ErrorCode> {
    let topic = image.topic(offsets_topic::NAME).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    // Not of so many as the topic may have got since: there the group is not.
    let index = node.groups.partition_of(group_id).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let partition = topic.partitions.get(&index);
    let leader = partition.and_then(|partition| partition.leader).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    endpoints.iter().find(|endpoint| endpoint.id == leader).ok_or(ErrorCode::CoordinatorNotAvailable)
}

fn to_wire(key: String, found: Result<&BrokerEndpoint, ErrorCode>) -> Coordinator<'static> {
    let key = Cow::Owned(key);
    match found {
        Ok(endpoint) => Coordinator {
            key,
            node_id: endpoint.id.0,
            host: Cow::Owned(endpoint.host.clone()),
            port: i32::from(endpoint.port),
            error_code: ErrorCode::None.code(),
            error_message: Some(Cow::Borrowed("")),
        },
        Err(code) => Coordinator {
            key,
            node_id: -1,
            host: Cow::Borrowed(""),
            port: -1,
            error_code: code.code(),
            error_message: Some(Cow::Borrowed(message(code))),
        },
    }
}

fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::CoordinatorNotAvailable => "The coordinator is not available.",
        ErrorCode::UnsupportedVersion => "This broker has no transactions yet.",
        ErrorCode::InvalidRequest => {
            "This most likely occurs because of a request being malformed by the client library or the message was sent \
             to an incompatible broker. See the broker logs for more details."
        }
        _ => "Not authorized.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinators_of_share_groups_are_sought_by_partition_and_in_version_6() {
        let key = format!("readers:{}:7", Uuid(5));
        assert_eq!(check_share(5, &key), Err(ErrorCode::InvalidRequest));
        assert_eq!(check_share(6, &key), Err(ErrorCode::CoordinatorNotAvailable));
        let wrong =
            ["", "readers", "readers:7", "a:b:7", &format!(":{}:7", Uuid(5)), &format!("{key}x"), &format!("{key}:8")];
        assert!(wrong.iter().all(|key| check_share(6, key) == Err(ErrorCode::InvalidRequest)));
    }
}
