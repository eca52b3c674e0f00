//! How much memory the configs and quotas in the image take, kind by kind: what the controller bounds. Counted as records are
//! applied, so that asking costs nothing.
//!
//! It is no exact measure: names and values by their letters, and a round number for what holds each of them.

use std::collections::BTreeMap;

use super::{ConfigResource, QuotaEntity, ResourceKind};

/// What holds a resource or an entity, beside its letters.
const HOLDER_BYTES: usize = 192;
/// What holds a config, a quota or a part of an entity, beside its letters.
const PART_BYTES: usize = 64;

/// What is kept of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many resources, or entities.
    pub count: usize,
    /// What they and all they have take.
    pub bytes: usize,
}

/// What is kept of all kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AllKept {
    topics: Kept,
    brokers: Kept,
    client_metrics: Kept,
    groups: Kept,
    pub(super) quotas: Kept,
}

impl Kept {
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn subtract(&mut self, bytes: usize) {
        self.bytes = self.bytes.checked_sub(bytes).expect("it was added before");
    }

    pub(super) fn begin(&mut self, bytes: usize) {
        self.count += 1;
        self.add(bytes);
    }

    pub(super) fn end(&mut self, bytes: usize) {
        self.count = self.count.checked_sub(1).expect("it was counted before");
        self.subtract(bytes);
    }
}

impl AllKept {
    pub(super) fn of(&self, kind: ResourceKind) -> Kept {
        match kind {
            ResourceKind::Topic => self.topics,
            ResourceKind::Broker | ResourceKind::BrokerLogger => self.brokers,
            ResourceKind::ClientMetrics => self.client_metrics,
            ResourceKind::Group => self.groups,
        }
    }

    pub(super) fn of_mut(&mut self, kind: ResourceKind) -> &mut Kept {
        match kind {
            ResourceKind::Topic => &mut self.topics,
            ResourceKind::Broker | ResourceKind::BrokerLogger => &mut self.brokers,
            ResourceKind::ClientMetrics => &mut self.client_metrics,
            ResourceKind::Group => &mut self.groups,
        }
    }
}

/// What a resource takes with all its configs; nothing where it has none.
pub(crate) fn bytes_of_configs(resource: &ConfigResource, configs: &BTreeMap<String, String>) -> usize {
    if configs.is_empty() {
        return 0;
    }
    bytes_of_resource(resource) + configs.iter().map(|(key, value)| bytes_of_config(key, value)).sum::<usize>()
}

pub(super) fn bytes_of_resource(resource: &ConfigResource) -> usize {
    HOLDER_BYTES + resource.name.len()
}

pub(super) fn bytes_of_config(key: &str, value: &str) -> usize {
    PART_BYTES + key.len() + value.len()
}

/// What an entity takes with quotas of these keys; nothing where there is none.
pub(crate) fn bytes_of_quotas<'k>(entity: &QuotaEntity, keys: impl Iterator<Item = &'k String>) -> usize {
    let quotas: usize = keys.map(|key| bytes_of_config(key, "")).sum();
    if quotas == 0 {
        return 0;
    }
    let part = |(kind, name): &(String, Option<String>)| bytes_of_config(kind, name.as_deref().unwrap_or_default());
    HOLDER_BYTES + entity.iter().map(part).sum::<usize>() + quotas
}
