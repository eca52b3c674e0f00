//! What a new image means for this node: logs are to be made, led, configured and removed, and handlers see the image.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ottla_base::BrokerId;
use ottla_metadata::controller::{CONNECTION_CREATION_RATE, IP};
use ottla_metadata::delta::BrokerDelta;
use ottla_metadata::image::{ConfigResource, Configs, Image, QuotaEntity, ResourceKind, Topic};
use ottla_metadata::settings::topic::TopicSettings;

use crate::config::Config;
use crate::coordinators::GroupCoordinators;
use crate::net::connection_quotas::ConnectionQuotas;
use crate::net::host_names::HostRates;
use crate::node::PublishedImage;
use crate::partitions::Partitions;
use crate::partitions::makers::Changes;
use crate::telemetry::Telemetry;

/// Takes over images.
pub struct Publisher {
    /// The node's settings.
    pub config: Arc<Config>,
    /// Its connections.
    pub connections: Arc<ConnectionQuotas>,
    /// How many of them a second hosts may make that are named.
    pub host_rates: HostRates,
    /// What it hosts.
    pub partitions: Arc<Partitions>,
    /// The groups it coordinates.
    pub groups: Arc<GroupCoordinators>,
    /// The subscriptions to clients' metrics.
    pub telemetry: Arc<Telemetry>,
    /// What its handlers see.
    pub published: Arc<PublishedImage>,
}

impl Publisher {
    /// Takes over `newer`, and says what is to be done in the log directories.
    pub fn publish(&self, newer: &Image) -> Changes {
        let mut changes = Changes::default();
        if newer.is_in_transaction() {
            return changes;
        }
        let older = self.published.get();
        let delta = BrokerDelta::between(&older, newer, self.config.node_id);
        if changes_brokers(&delta) {
            let (own, cluster) = broker_configs(newer, self.config.node_id);
            let running = self.config.running.take_over(&self.config.values(&own, &cluster));
            self.connections.limits_changed();
            if !self.config.running.named_hosts().is_empty() {
                self.host_rates.look_up_numbers();
            }
            self.partitions.set_producer_id_expiration_ms(running.producer_id_expiration_ms);
        }
        self.partitions.cordon(&self.config.running.get().cordoned_log_dirs);
        self.limit_rates(newer, &delta.client_quotas);
        // Of a topic without a replica here, the name is known nevertheless where its settings were changed.
        let deleted = delta.deleted_topics.iter().map(|topic| &topic.name);
        let removed: BTreeSet<&Arc<str>> =
            delta.removed.iter().map(|partition| &partition.topic).chain(deleted).collect();
        for topic in removed {
            changes.extend(topic, self.partitions.withdraw(topic));
        }
        for topic in self.touched(&delta, newer) {
            let settings = Arc::new(self.settings_of(newer, topic));
            changes.extend(&topic.name, self.partitions.announce(topic, &settings));
        }
        let newer = Arc::new(newer.clone());
        self.groups.take_over(&self.partitions, &newer);
        self.telemetry.take_over(&newer, &delta.configs);
        self.published.set(newer);
        self.groups.forget_topics(&delta);
        changes
    }

    /// What is to be done in the log directories to host what could not be hosted before.
    pub fn host_again(&self, image: &Image) -> Changes {
        let mut changes = Changes::default();
        for name in self.partitions.failed_topics() {
            let Some(topic) = image.topic(&name) else { continue };
            let settings = Arc::new(self.settings_of(image, topic));
            changes.extend(&topic.name, self.partitions.announce(topic, &settings));
        }
        changes
    }

    /// Some of that was done: groups whose partition is served now get a coordinator.
    pub fn on_made(&self) {
        self.groups.take_over(&self.partitions, &self.published.get());
    }

    /// Takes over how many connections a second may come from addresses; from hosts, as soon as their addresses are found.
    fn limit_rates(&self, newer: &Image, changed: &[QuotaEntity]) {
        for entity in changed {
            let [(kind, name)] = &entity[..] else { continue };
            if kind != IP {
                continue;
            }
            let rate = newer.client_quotas().get(entity).and_then(|quotas| quotas.get(CONNECTION_CREATION_RATE));
            let rate = rate.map(|rate| rate.round() as u32);
            let Some(name) = name else {
                self.connections.limit_rate_from(None, rate);
                continue;
            };
            if let Ok(address) = name.parse::<IpAddr>() {
                self.connections.limit_rate_from(Some(address.to_canonical()), rate);
                continue;
            }
            self.host_rates.set(name, rate);
        }
    }

    /// The topics that have to be looked at.
    fn touched<'i>(&self, delta: &BrokerDelta, newer: &'i Image) -> Vec<&'i Arc<Topic>> {
        if changes_brokers(delta) {
            // What topics do not set themselves may have changed for all of them.
            return crate::partitions::hosted_topics(newer, self.config.node_id).collect();
        }
        let hosted = delta.added.iter().chain(&delta.changed).map(|partition| &*partition.topic);
        let configured = delta.configs.iter().filter(|resource| resource.kind == ResourceKind::Topic);
        let names: BTreeSet<&str> = hosted.chain(configured.map(|resource| resource.name.as_str())).collect();
        names.into_iter().filter_map(|name| newer.topic(name)).collect()
    }

    fn settings_of(&self, image: &Image, topic: &Topic) -> TopicSettings {
        let overrides = configs(image, &ConfigResource::topic(&*topic.name));
        let (own, cluster) = broker_configs(image, self.config.node_id);
        TopicSettings::new(&overrides, &self.config.values(&own, &cluster))
    }
}

/// Whether anything that was set for brokers changed.
fn changes_brokers(delta: &BrokerDelta) -> bool {
    delta.configs.iter().any(|resource| resource.kind == ResourceKind::Broker)
}

/// What a resource sets; nothing, where it sets nothing.
pub fn configs(image: &Image, resource: &ConfigResource) -> Configs {
    image.config(resource).cloned().unwrap_or_default()
}

/// What is set for one broker, and for all.
pub fn broker_configs(image: &Image, broker: BrokerId) -> (Configs, Configs) {
    (configs(image, &ConfigResource::broker(broker)), configs(image, &ConfigResource::all_brokers()))
}
