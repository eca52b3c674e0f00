//! `min.insync.replicas` where there are eligible leader replicas (KIP-966): then the controller must know every topic's. No
//! broker has its own, and the cluster always has one.

use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{ConfigRecord, MetadataRecord};

use super::{Draft, Refusal};
use crate::image::{ConfigResource, ELIGIBLE_LEADER_REPLICAS_VERSION, Image, ResourceKind};
use crate::records::OwnedRecord;

/// The key.
const KEY: &str = "min.insync.replicas";

/// Gives the cluster a value if it has none, that which the node was started with, and takes away those of single brokers.
pub(super) fn make_known(draft: &mut Draft, started_with: i32) {
    let all_brokers = ConfigResource::all_brokers();
    let has_key = |resource: &ConfigResource| draft.image().config(resource).is_some_and(|all| all.contains_key(KEY));
    let of_cluster = (!has_key(&all_brokers)).then(|| record(all_brokers, Some(started_with.to_string())));
    let resources = draft.image().configs().iter().map(|(resource, _)| resource);
    let own = resources.filter(|resource| resource.kind == ResourceKind::Broker && !resource.name.is_empty());
    let taken_away = own.filter(|resource| has_key(resource)).map(|resource| record(resource.clone(), None));
    let records: Vec<_> = of_cluster.into_iter().chain(taken_away).collect();
    draft.extend(records);
}

fn record(resource: ConfigResource, value: Option<String>) -> OwnedRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: resource.kind.as_i8(),
        resource_name: resource.name.into(),
        name: KEY.into(),
        value: value.map(Into::into),
    })
}

/// Whether configs with these keys make the eligible leader replicas void.
pub(super) fn clears_eligible<'a>(image: &Image, mut keys: impl Iterator<Item = &'a str>) -> bool {
    image.feature(ELIGIBLE_LEADER_REPLICAS_VERSION) > 0 && keys.any(|key| key == KEY)
}

/// Refuses a change, of these keys with these new values, after which it would not be known.
pub(super) fn check<'a>(
    image: &Image,
    resource: &ConfigResource,
    mut changes: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(), Refusal> {
    if resource.kind != ResourceKind::Broker || image.feature(ELIGIBLE_LEADER_REPLICAS_VERSION) == 0 {
        return Ok(());
    }
    let message = match changes.find(|(key, _)| *key == KEY) {
        Some(_) if !resource.name.is_empty() => {
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled."
        }
        Some((_, None)) => "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
        _ => return Ok(()),
    };
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}
