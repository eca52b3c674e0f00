//! Groups from outside: listed, described, deleted, and their offsets read, written and deleted.
//!
//! A request about groups goes to the coordinator of each. They are found in one request for many groups (KIP-699), and each
//! coordinator is asked once for many of its groups where the API has room for them.
//!
//! Not here: being a member (`member`).

use std::collections::{BTreeMap, BTreeSet};

use ottla_base::TopicPartition;
use ottla_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, Group as ConsumerGroup,
};
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::delete_groups_response::DeleteGroupsResponse;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::{DescribeGroupsResponse, Group as ClassicGroup};
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::ListGroupsResponse;
use ottla_protocol::{ApiKey, DecodeError, ErrorCode, Str};

use super::assignor::read_assignment;
use super::retry::Patience;
use super::{Address, Cluster, Connection, Error};

/// So many groups are asked for at once.
const GROUPS_AT_ONCE: usize = 2000;
/// The first FindCoordinator version that takes many keys.
const FIRST_BATCHED_FIND_COORDINATOR: i16 = 4;
/// The key type of groups.
const GROUP_KEY: i8 = 0;
/// The protocol type of groups of consumers.
const CONSUMER: &str = "consumer";

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// What its members speak: "consumer", or empty where it has offsets alone.
    pub protocol_type: String,
    /// Its type; empty on brokers that do not say.
    pub group_type: String,
    /// Its state; empty on brokers that do not say.
    pub state: String,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its state.
    pub state: String,
    /// Who assigns partitions: the name of the protocol that was chosen.
    pub assignor: String,
    /// Its coordinator.
    pub coordinator: (i32, Address),
    /// Its members, in the order of the answer.
    pub members: Vec<Member>,
    /// The epochs of the group and of its target assignment, where it is of the new type (KIP-848).
    pub epochs: Option<(i32, i32)>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its static id.
    pub instance_id: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// What it has.
    pub assignment: Vec<TopicPartition>,
    /// What it is to have, and its epoch, in a group of the new type.
    pub target: Option<(Vec<TopicPartition>, i32)>,
    /// In a group of the new type: whether it speaks the new protocol, where the broker says so.
    pub upgraded: Option<bool>,
}

/// What became of each group.
pub type ByGroup<T> = BTreeMap<String, Result<T, Error>>;

/// All groups of consumers on all live brokers, in the order of the answers. Empty filters let everything through.
pub fn list(cluster: &mut Cluster, states: &[String], types: &[String]) -> Result<Vec<Listed>, Error> {
    let listed = list_all(cluster, states, types)?;
    let of_consumers = |group: &Listed| group.protocol_type.is_empty() || group.protocol_type == CONSUMER;
    Ok(listed.into_iter().filter(of_consumers).collect())
}

/// All groups, of whatever clients.
pub fn list_all(cluster: &mut Cluster, states: &[String], types: &[String]) -> Result<Vec<Listed>, Error> {
    let request = ListGroupsRequest {
        states_filter: states.iter().map(|state| Str::Borrowed(state)).collect(),
        types_filter: types.iter().map(|group_type| Str::Borrowed(group_type)).collect(),
    };
    let brokers: Vec<i32> = cluster.live_brokers().collect();
    for broker in &brokers {
        cluster.broker(*broker)?.send(ApiKey::ListGroups, i16::MAX, &request)?;
    }
    let mut listed: Vec<Listed> = Vec::new();
    let mut seen = BTreeSet::new();
    for broker in brokers {
        let mut patience = Patience::new(cluster.request_timeout());
        let mut answer = cluster.broker(broker)?.receive()?;
        loop {
            let response: ListGroupsResponse<'_> = answer.read()?;
            match ErrorCode::from_code(response.error_code) {
                Some(ErrorCode::None) => {
                    let groups = response.groups.iter().map(|group| Listed {
                        id: group.group_id.to_string(),
                        protocol_type: group.protocol_type.to_string(),
                        group_type: group.group_type.to_string(),
                        state: group.group_state.to_string(),
                    });
                    // A group that moves may be with its old and its new coordinator.
                    listed.extend(groups.filter(|group| seen.insert(group.id.clone())));
                    break;
                }
                Some(ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable)
                    if patience.is_left() => {}
                _ => return Err(Error::of_code(response.error_code, None)),
            }
            patience.wait();
            answer = cluster.broker(broker)?.ask(ApiKey::ListGroups, &request)?;
        }
    }
    Ok(listed)
}

/// Describes groups of either type.
pub fn describe(cluster: &mut Cluster, groups: &[String]) -> Result<ByGroup<Description>, Error> {
    on_coordinators(cluster, groups, |connection, id, groups| {
        let coordinator = (id, connection.peer().clone());
        let mut described = describe_new(connection, &coordinator, groups)?;
        let is_of_old_type = |group: &&String| {
            described.get(*group).is_none_or(|found| {
                let code = found.as_ref().err().and_then(Error::code);
                matches!(code, Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion))
            })
        };
        let old: Vec<String> = groups.iter().filter(is_of_old_type).cloned().collect();
        if !old.is_empty() {
            for (group, found) in describe_old(connection, &coordinator, &old)? {
                // Of a group that is not there the first answer says why.
                let missing = found.as_ref().is_err_and(|error| error.code() == Some(ErrorCode::GroupIdNotFound));
                if !(missing && described.contains_key(&group)) {
                    described.insert(group, found);
                }
            }
        }
        Ok(described)
    })
}

fn describe_new(
    connection: &mut Connection,
    coordinator: &(i32, Address),
    groups: &[String],
) -> Result<ByGroup<Description>, Error> {
    let request = ConsumerGroupDescribeRequest { group_ids: strs(groups), include_authorized_operations: false };
    let answer = match connection.ask(ApiKey::ConsumerGroupDescribe, &request) {
        Err(Error::NotServed { .. }) => return Ok(BTreeMap::new()),
        answer => answer?,
    };
    let response: ConsumerGroupDescribeResponse<'_> = answer.read()?;
    let described = response.groups.iter().map(|group| {
        let found = match group.error_code {
            0 => Ok(Description::of_new(group, coordinator)),
            code => Err(Error::of_code(code, group.error_message.as_deref())),
        };
        (group.group_id.to_string(), found)
    });
    Ok(described.collect())
}

fn describe_old(
    connection: &mut Connection,
    coordinator: &(i32, Address),
    groups: &[String],
) -> Result<ByGroup<Description>, Error> {
    let request = DescribeGroupsRequest { groups: strs(groups), include_authorized_operations: false };
    let answer = connection.ask(ApiKey::DescribeGroups, &request)?;
    let response: DescribeGroupsResponse<'_> = answer.read()?;
    let describe = |group: &ClassicGroup<'_>| {
        if group.error_code != 0 {
            return Err(Error::of_code(group.error_code, group.error_message.as_deref()));
        }
        if !group.protocol_type.is_empty() && group.protocol_type != CONSUMER {
            let message = format!("GroupId {} is not a consumer group ({}).", group.group_id, group.protocol_type);
            return Err(Error::Refused { code: ErrorCode::InconsistentGroupProtocol, message });
        }
        Description::of_old(group, coordinator).map_err(|error| Error::garbled(&coordinator.1, &error))
    };
    Ok(response.groups.iter().map(|group| (group.group_id.to_string(), describe(group))).collect())
}

/// Deletes groups.
pub fn delete(cluster: &mut Cluster, groups: &[String]) -> Result<ByGroup<()>, Error> {
    on_coordinators(cluster, groups, |connection, _, groups| {
        let answer = connection.ask(ApiKey::DeleteGroups, &DeleteGroupsRequest { groups_names: strs(groups) })?;
        let response: DeleteGroupsResponse<'_> = answer.read()?;
        let results = response.results.iter();
        Ok(results
            .map(|result| {
                let message = result.error_message.as_deref();
                let done =
                    if result.error_code == 0 { Ok(()) } else { Err(Error::of_code(result.error_code, message)) };
                (result.group_id.to_string(), done)
            })
            .collect())
    })
}

/// Asks the coordinator of each group for [`GROUPS_AT_ONCE`]. Groups whose coordinator is not ready, or has moved, or could
/// not tell of all at once, are tried again until the request timeout is over without an answer for any.
pub fn on_coordinators<T>(
    cluster: &mut Cluster,
    groups: &[String],
    mut ask: impl FnMut(&mut Connection, i32, &[String]) -> Result<ByGroup<T>, Error>,
) -> Result<ByGroup<T>, Error> {
    let mut done = BTreeMap::new();
    let mut pending: Vec<String> = groups.to_vec();
    pending.sort_unstable();
    pending.dedup();
    let mut patience = Patience::new(cluster.request_timeout());
    while !pending.is_empty() {
        let mut by_coordinator: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        let mut answers = BTreeMap::new();
        for (group, found) in find(cluster, &pending)? {
            match found {
                Ok(coordinator) => by_coordinator.entry(coordinator).or_default().push(group),
                Err(error) => drop(answers.insert(group, Err(error))),
            }
        }
        for (coordinator, groups) in by_coordinator {
            for groups in groups.chunks(GROUPS_AT_ONCE) {
                let asked = cluster.broker(coordinator).and_then(|connection| ask(connection, coordinator, groups));
                match asked {
                    Ok(answered) => answers.extend(answered),
                    Err(error) if error.is_retriable() && patience.is_left() => cluster.drop_broker(coordinator),
                    Err(error) => return Err(error),
                }
            }
        }
        let before = pending.len();
        pending.retain(|group| match answers.remove(group) {
            None => patience.is_left(),
            Some(Err(error)) if is_passing(&error) && patience.is_left() => true,
            Some(answer) => {
                done.insert(group.clone(), answer);
                false
            }
        });
        if pending.len() < before {
            patience = Patience::new(cluster.request_timeout());
        } else if !pending.is_empty() {
            patience.wait();
        }
    }
    Ok(done)
}

/// Whether the coordinator, or another one, will answer in a while.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
                | ErrorCode::UnstableOffsetCommit
        )
    )
}

/// The coordinators of groups.
pub fn find(cluster: &mut Cluster, groups: &[String]) -> Result<ByGroup<i32>, Error> {
    let mut found = BTreeMap::new();
    if cluster.version_of(ApiKey::FindCoordinator)? >= FIRST_BATCHED_FIND_COORDINATOR {
        for groups in groups.chunks(GROUPS_AT_ONCE) {
            let request = FindCoordinatorRequest {
                key_type: GROUP_KEY,
                coordinator_keys: strs(groups),
                ..FindCoordinatorRequest::default()
            };
            let answer = cluster.ask(ApiKey::FindCoordinator, &request)?;
            let response: FindCoordinatorResponse<'_> = answer.read()?;
            for coordinator in &response.coordinators {
                found.insert(coordinator.key.to_string(), learn(cluster, coordinator));
            }
        }
        return Ok(found);
    }
    for group in groups {
        let request = FindCoordinatorRequest {
            key: Str::Borrowed(group),
            key_type: GROUP_KEY,
            ..FindCoordinatorRequest::default()
        };
        let answer = cluster.ask(ApiKey::FindCoordinator, &request)?;
        let response: FindCoordinatorResponse<'_> = answer.read()?;
        let coordinator = Coordinator {
            key: Str::Borrowed(group),
            node_id: response.node_id,
            host: response.host,
            port: response.port,
            error_code: response.error_code,
            error_message: response.error_message,
        };
        found.insert(group.clone(), learn(cluster, &coordinator));
    }
    Ok(found)
}

fn learn(cluster: &mut Cluster, coordinator: &Coordinator<'_>) -> Result<i32, Error> {
    if coordinator.error_code != 0 {
        return Err(Error::of_code(coordinator.error_code, coordinator.error_message.as_deref()));
    }
    cluster.learn_broker(coordinator.node_id, &coordinator.host, coordinator.port);
    Ok(coordinator.node_id)
}

impl Description {
    fn of_new(group: &ConsumerGroup<'_>, coordinator: &(i32, Address)) -> Self {
        let partitions = |assignment: &Assignment<'_>| -> Vec<_> {
            let topics = assignment.topic_partitions.iter();
            topics
                .flat_map(|of| of.partitions.iter().map(|index| TopicPartition::new(&*of.topic_name, *index)))
                .collect()
        };
        let members = group.members.iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance_id: member.instance_id.as_deref().map(str::to_owned),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assignment: partitions(&member.assignment),
            target: Some((partitions(&member.target_assignment), member.member_epoch)),
            upgraded: (member.member_type >= 0).then_some(member.member_type == 1),
        });
        Self {
            state: group.group_state.to_string(),
            assignor: group.assignor_name.to_string(),
            coordinator: coordinator.clone(),
            members: members.collect(),
            epochs: Some((group.group_epoch, group.assignment_epoch)),
        }
    }

    fn of_old(group: &ClassicGroup<'_>, coordinator: &(i32, Address)) -> Result<Self, DecodeError> {
        let mut members = Vec::new();
        for member in &group.members {
            members.push(Member {
                id: member.member_id.to_string(),
                instance_id: member.group_instance_id.as_deref().map(str::to_owned),
                client_id: member.client_id.to_string(),
                host: member.client_host.to_string(),
                assignment: read_assignment(&member.member_assignment)?,
                target: None,
                upgraded: None,
            });
        }
        Ok(Self {
            state: group.group_state.to_string(),
            assignor: group.protocol_data.to_string(),
            coordinator: coordinator.clone(),
            members,
            epochs: None,
        })
    }
}

fn strs(texts: &[String]) -> Vec<Str<'_>> {
    texts.iter().map(|text| Str::Borrowed(text.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use ottla_protocol::Message;

    use super::*;
    use crate::client::fake::FakeBroker;

    #[test]
    fn very_many_groups_are_looked_for_some_at_a_time() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let of_broker = Arc::clone(&asked);
        let broker = FakeBroker::start(&[ApiKey::FindCoordinator], move |_, version, mut body, writer| {
            let request = FindCoordinatorRequest::decode(&mut body, version).unwrap();
            of_broker.lock().unwrap().push(request.coordinator_keys.len());
            let found = |key: &Str<'_>| Coordinator {
                key: key.to_string().into(),
                node_id: 1,
                host: "127.0.0.1".into(),
                ..Coordinator::default()
            };
            let coordinators = request.coordinator_keys.iter().map(found).collect();
            FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }.encode(writer, version);
            true
        });
        let groups: Vec<String> = (0..=GROUPS_AT_ONCE).map(|number| format!("g{number}")).collect();
        let found = find(&mut broker.connect(), &groups).unwrap();
        assert!(groups.iter().all(|group| matches!(found[group], Ok(1))));
        assert_eq!(*asked.lock().unwrap(), [GROUPS_AT_ONCE, 1]);
    }
}
