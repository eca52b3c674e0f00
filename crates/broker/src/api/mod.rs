//! The APIs of the protocol, one file each, and the one list of them.

use std::ops::RangeInclusive;

use ottla_base::BrokerId;
use ottla_metadata::image::{Image, Partition};
use ottla_protocol::ApiKey;

pub use crate::net::answer::Answer;

use crate::config::ListenerType;
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

mod acls;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
pub mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod fetch;
pub mod fetch_sessions;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_fetch_answer;
mod offset_for_leader_epoch;
pub mod produce;
mod push_telemetry;
mod sync_group;
mod topic_results;
mod unregister_broker;
mod update_features;

/// One API.
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// The versions it is served in.
    pub versions: RangeInclusive<i16>,
    /// Answers one request.
    pub handle: fn(&mut Request<'_>) -> Result<Reply, Refused>,
}

impl Api {
    /// Whether it is served on listeners of this type.
    ///
    /// Differs from Kafka: controllers fetch from each other there, and here there is one.
    pub fn is_on(&self, listener_type: ListenerType) -> bool {
        match listener_type {
            ListenerType::Broker => self.key.is_on_broker(),
            ListenerType::Controller => self.key.is_on_controller() && self.key != ApiKey::Fetch,
        }
    }
}

/// Those that are answered but not advertised, as in Kafka.
const UNADVERTISED: &[Api] = &[get_telemetry_subscriptions::API, push_telemetry::API];

/// All others, by key. What is not here is not advertised.
pub const ALL: &[Api] = &[
    produce::API,
    fetch::API,
    list_offsets::API,
    metadata::API,
    offset_commit::API,
    offset_fetch::API,
    find_coordinator::API,
    join_group::API,
    heartbeat::API,
    leave_group::API,
    sync_group::API,
    describe_groups::API,
    list_groups::API,
    api_versions::API,
    create_topics::API,
    delete_topics::API,
    delete_records::API,
    init_producer_id::API,
    offset_for_leader_epoch::API,
    acls::DESCRIBE,
    acls::CREATE,
    acls::DELETE,
    describe_configs::API,
    alter_configs::WHOLE,
    alter_replica_log_dirs::API,
    describe_log_dirs::API,
    create_partitions::API,
    delete_groups::API,
    elect_leaders::API,
    alter_configs::INCREMENTAL,
    alter_partition_reassignments::API,
    list_partition_reassignments::API,
    offset_delete::API,
    describe_client_quotas::API,
    alter_client_quotas::API,
    describe_user_scram_credentials::API,
    describe_quorum::API,
    update_features::API,
    describe_cluster::API,
    describe_producers::API,
    unregister_broker::API,
    list_config_resources::API,
    describe_topic_partitions::API,
];

/// Whether a broker can be reached by clients of `listener`, as far as it has that.
fn is_reached(image: &Image, broker: BrokerId, listener: &str) -> bool {
    image.broker(broker).is_some_and(|broker| broker.endpoint(listener).is_some())
}

/// Whether clients of `listener` are told of a broker.
fn is_alive(image: &Image, broker: BrokerId, listener: &str) -> bool {
    image.broker(broker).is_some_and(|broker| !broker.fenced && broker.endpoint(listener).is_some())
}

/// Whether a replica cannot be reached: its broker is not there for clients of `listener`, or has lost the log directory that it
/// lies in.
fn is_offline(image: &Image, partition: &Partition, replica: BrokerId, listener: &str) -> bool {
    !is_alive(image, replica, listener) || !image.has_online(replica, partition)
}

/// All that are answered, whether clients are told of them or not.
pub fn answered() -> impl Iterator<Item = &'static Api> {
    ALL.iter().chain(UNADVERTISED)
}

/// The API with this key, if it is served on such a listener, and its place among those that are answered.
pub fn find(key: i16, listener_type: ListenerType) -> Option<(usize, &'static Api)> {
    answered().enumerate().find(|(_, api)| api.key.code() == key).filter(|(_, api)| api.is_on(listener_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_stands_once_in_the_list_in_order_with_versions_that_kafka_knows() {
        assert!(ALL.windows(2).all(|pair| pair[0].key.code() < pair[1].key.code()));
        for api in ALL {
            assert!(*api.versions.end() <= *api.key.kafka_versions().end(), "{:?}", api.key);
            assert!(*api.versions.start() <= *api.key.kafka_versions().start(), "{:?}", api.key);
        }
    }

    #[test]
    fn the_page_of_apis_is_the_list() {
        let mut page = String::from(
            "# APIs\n\nWhat this broker serves, and the versions Apache Kafka 4.4 serves; and what listeners for controllers \
             serve, too. Made from the list in \
             `crates/broker/src/api/mod.rs`: `UPDATE_EXPECT=1 cargo test -p ottla-broker` writes it anew.\n\n\
             | key | API | versions | Kafka 4.4 | for controllers |\n|---:|---|---|---|---|\n",
        );
        let range = |versions: &RangeInclusive<i16>| format!("{}-{}", versions.start(), versions.end());
        for key in ApiKey::all().filter(|key| key.is_on_broker()) {
            let on = |listener_type| find(key.code(), listener_type);
            let served = on(ListenerType::Broker).map_or_else(|| "not yet".to_owned(), |(_, api)| range(&api.versions));
            let on_controllers = on(ListenerType::Controller).map_or("", |_| "yes");
            let is_hidden = UNADVERTISED.iter().any(|api| api.key == key);
            let served = if is_hidden { format!("{served}, not advertised") } else { served };
            let (code, name, kafka) = (key.code(), key.name(), range(&key.kafka_versions()));
            page.push_str(&format!("| {code} | {name} | {served} | {kafka} | {on_controllers} |\n"));
        }
        expect_test::expect_file!["../../../../docs/apis.md"].assert_eq(&page);
    }
}
