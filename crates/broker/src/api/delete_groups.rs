//! DeleteGroups (key 42, versions 0-3): forget empty groups, with their offsets (KIP-229).
//!
//! v2 flexible. v3 error messages.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_base::PartitionIndex;
use ottla_coordinator::group::{self, Answer};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::delete_groups_response::{DeleteGroupsResponse, DeleteGroupsResult};

use super::Api;
use crate::access::{Operation, Resource};
use crate::coordinators::Answering;
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// DeleteGroups.
pub const API: Api = Api { key: ApiKey::DeleteGroups, versions: 0..=3, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DeleteGroupsRequest<'_> = request.decode()?;
    let mut results = Vec::with_capacity(asked.groups_names.len());
    // Each coordinator is asked once, for all of its groups.
    let mut by_partition: BTreeMap<Option<PartitionIndex>, Vec<group::GroupId>> = BTreeMap::new();
    let names: BTreeSet<&str> = asked.groups_names.iter().map(|name| &**name).collect();
    for name in names {
        match request.may(Operation::Delete, Resource::Group(name)) {
            false => results.push(to_wire(name, ErrorCode::GroupAuthorizationFailed)),
            true => by_partition.entry(request.node.groups.partition_of(name)).or_default().push(name.into()),
        }
    }
    let mut later = Vec::new();
    for groups in by_partition.into_values() {
        let question = group::Request::DeleteGroups(group::DeleteGroups { group_ids: groups.clone() });
        match request.node.groups.ask(&Arc::clone(&groups[0]), question).and_then(Answering::now) {
            Ok(Ok(answer)) => add(&mut results, &groups, Ok(answer)),
            Ok(Err(answering)) => later.push((groups, answering)),
            Err(code) => add(&mut results, &groups, Err(code)),
        }
    }
    if later.is_empty() {
        return request.reply(DeleteGroupsResponse { results, ..Default::default() });
    }
    let responder = request.responder();
    Ok(Reply::Parked(Box::pin(async move {
        for (groups, answering) in later {
            add(&mut results, &groups, answering.answer().await);
        }
        responder.answer(DeleteGroupsResponse { results, ..Default::default() })
    })))
}

fn add(results: &mut Vec<DeleteGroupsResult<'static>>, groups: &[group::GroupId], answer: Result<Answer, ErrorCode>) {
    match answer {
        Ok(Answer::DeleteGroups(deleted)) => {
            results.extend(deleted.iter().map(|group| to_wire(&group.group_id, group.error)));
        }
        Ok(other) => unreachable!("a DeleteGroups is answered as one, not by {other:?}"),
        Err(code) => results.extend(groups.iter().map(|group| to_wire(group, code))),
    }
}

fn to_wire(group: &str, code: ErrorCode) -> DeleteGroupsResult<'static> {
    DeleteGroupsResult { group_id: Cow::Owned(group.to_owned()), error_code: code.code(), error_message: None }
}
