//! ListGroups (key 16, versions 0-5): the groups that this broker coordinates.
//!
//! v1 throttle time. v3 flexible. v4 states (KIP-518). v5 types (KIP-848).
//! Differs from Kafka: nothing known.

use std::borrow::Cow;

use ottla_coordinator::group::{GroupFilter, ListedGroup};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::{Group, ListGroupsResponse};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// ListGroups.
pub const API: Api = Api { key: ApiKey::ListGroups, versions: 0..=5, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: ListGroupsRequest<'_> = request.decode()?;
    let filter = GroupFilter::new(
        asked.states_filter.iter().map(|state| &**state),
        asked.types_filter.iter().map(|group_type| &**group_type),
    );
    let may_see_all = request.may(Operation::Describe, Resource::Cluster);
    let mut groups = Vec::new();
    let whole = request.node.groups.read_all(|coordinator| {
        let listed = coordinator.list_groups(&filter).into_iter();
        let visible =
            listed.filter(|group| may_see_all || request.may(Operation::Describe, Resource::Group(&group.group_id)));
        groups.extend(visible.map(|group| to_wire(&group)));
    });
    let error_code = whole.err().map_or(0, |code| code.code());
    request.reply(ListGroupsResponse { error_code, groups, ..Default::default() })
}

fn to_wire(group: &ListedGroup) -> Group<'static> {
    Group {
        group_id: Cow::Owned(group.group_id.to_string()),
        protocol_type: Cow::Owned(group.protocol_type.to_string()),
        group_state: Cow::Borrowed(group.state.name()),
        group_type: Cow::Borrowed(group.group_type.name()),
    }
}
