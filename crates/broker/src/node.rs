//! What every handler reaches: settings, the metadata image, the hosted partitions, and the way to the controller.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use ottla_base::BrokerId;
use ottla_metadata::controller::{AllocateProducerIds, Answer, Command, CreateTopics, NewTopic};
use ottla_metadata::image::Image;
use ottla_protocol::error::ErrorCode;

use crate::access::Authorizer;
use crate::api::fetch_sessions::FetchSessions;
use crate::config::Config;
use crate::controller::{Controller, Place};
use crate::coordinators::GroupCoordinators;
use crate::metrics::Metrics;
use crate::net::budgets::Budgets;
use crate::net::connection_quotas::ConnectionQuotas;
use crate::net::host_names::HostNames;
use crate::net::memory::FrameMemory;
use crate::partitions::Partitions;
use crate::producer_ids::{ProducerIds, Refill};
use crate::registration::Registration;
use crate::telemetry::Telemetry;

/// One broker.
pub struct Node {
    /// Its settings.
    pub config: Arc<Config>,
    /// Who may do what.
    pub authorizer: Box<dyn Authorizer>,
    /// The memory of request frames.
    pub frame_memory: Arc<FrameMemory>,
    /// Other memory of requests.
    pub budgets: Budgets,
    /// What is counted for people to look at.
    pub metrics: Metrics,
    /// The open connections.
    pub connections: Arc<ConnectionQuotas>,
    /// Finds out whether hosts have addresses.
    pub host_names: HostNames,
    /// What consumers fetch.
    pub fetch_sessions: FetchSessions,
    /// The partitions it hosts.
    pub partitions: Arc<Partitions>,
    /// The groups it coordinates.
    pub groups: Arc<GroupCoordinators>,
    /// The producer ids it may give away.
    pub producer_ids: Arc<ProducerIds>,
    /// The clients that push their metrics.
    pub telemetry: Arc<Telemetry>,
    /// The way to the controller.
    pub controller: Controller,
    /// Its place in the cluster.
    pub registration: Registration,
    /// The newest metadata image.
    pub published: Arc<PublishedImage>,
}

/// The newest metadata image: the controller's thread publishes, handlers read.
#[derive(Debug, Default)]
pub struct PublishedImage {
    newest: RwLock<Arc<Image>>,
}

/// Where a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    /// Its id.
    pub id: BrokerId,
    /// The host that clients are told.
    pub host: String,
    /// The port that clients are told.
    pub port: u16,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it is shut out; clients are only told of it where they ask.
    pub is_fenced: bool,
}

impl BrokerEndpoint {
    /// Where the brokers that are alive are reached by clients of `listener`.
    pub fn of_alive(image: &Image, listener: &str) -> Vec<Self> {
        Self::of_all(image, listener).filter(|endpoint| !endpoint.is_fenced).collect()
    }

    /// The same of all that are registered.
    pub fn of_all(image: &Image, listener: &str) -> impl Iterator<Item = Self> {
        image.brokers().filter_map(move |broker| {
            let endpoint = broker.endpoint(listener)?;
            let (host, rack) = (endpoint.host.clone(), broker.rack.clone());
            Some(Self { id: broker.id, host, port: endpoint.port, rack, is_fenced: broker.fenced })
        })
    }
}

impl PublishedImage {
    /// The newest image.
    pub fn get(&self) -> Arc<Image> {
        self.newest.read().expect("nobody panics while holding this lock").clone()
    }

    /// Replaces it.
    pub fn set(&self, image: Arc<Image>) {
        *self.newest.write().expect("nobody panics while holding this lock") = image;
    }
}

impl Node {
    /// The newest metadata image.
    pub fn image(&self) -> Arc<Image> {
        self.published.get()
    }

    /// Creates topics that a client named, with the broker's defaults. Whoever asked looks at the image afterwards: what
    /// could not be created is not there.
    pub async fn create_missing_topics(&self, place: &Place, names: BTreeSet<String>) {
        let topic = |name| NewTopic {
            name,
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        self.create_topics(place, names.into_iter().map(topic).collect()).await;
    }

    /// Creates topics that clients need without having asked for them, as [`Node::create_missing_topics`] does.
    pub async fn create_topics(&self, place: &Place, topics: Vec<NewTopic>) {
        let command = Command::CreateTopics(CreateTopics {
            topics,
            validate_only: false,
            default_partitions: self.config.num_partitions,
            default_replication_factor: i16::try_from(self.config.default_replication_factor).unwrap_or(i16::MAX),
            seed: entropy(),
        });
        match place.ask(command).await {
            Ok(Answer::CreateTopics(results)) => {
                for result in results {
                    // Somebody else may have been quicker, which is just as well.
                    if let Err(refusal) = result.result
                        && refusal.error != ErrorCode::TopicAlreadyExists
                    {
                        tracing::warn!(topic = result.name, ?refusal, "a topic that a client named was not created");
                    }
                }
            }
            Ok(other) => unreachable!("CreateTopics is answered as such, not by {other:?}"),
            Err(error) => tracing::warn!(%error, "topics that a client named were not created"),
        }
    }

    /// The next producer id. `None` where the controller gives none.
    pub async fn next_producer_id(&self) -> Option<i64> {
        self.producer_ids.next(|refill| self.ask_for_producer_ids(refill)).await
    }

    fn ask_for_producer_ids(&self, refill: Refill) {
        let command = AllocateProducerIds { broker: self.config.node_id, epoch: self.registration.epoch() };
        self.controller.ask_then(Command::AllocateProducerIds(command), move |answer| match answer {
            Ok(Answer::AllocateProducerIds(Ok(block))) => refill.with(block.first.0..block.first.0 + block.count),
            Ok(Answer::AllocateProducerIds(Err(refusal))) => {
                tracing::warn!(?refusal, "the controller gave no producer ids");
            }
            Ok(other) => unreachable!("AllocateProducerIds is answered as such, not by {other:?}"),
            Err(error) => tracing::warn!(%error, "the controller gave no producer ids"),
        });
    }
}

/// The clocks of the machine: read here, told to everything below.
pub mod clock {
    use std::sync::OnceLock;
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    use ottla_base::{Now, Timestamp};

    /// Milliseconds since 1970.
    pub fn now_ms() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| Timestamp::try_from(since.as_millis()).unwrap_or(Timestamp::MAX))
    }

    /// Both clocks.
    pub fn now() -> Now {
        static START: OnceLock<Instant> = OnceLock::new();
        Now { monotonic: START.get_or_init(Instant::now).elapsed(), wall_ms: now_ms() }
    }
}

/// 64 random bits, for ids and seeds; not for secrets.
pub fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use ottla_base::Offset;
    use ottla_protocol::internal::metadata::RegisterBrokerRecord;
    use ottla_protocol::internal::metadata::register_broker_record::EndPoint;

    use super::*;

    #[test]
    fn brokers_are_listed_with_the_listener_that_was_asked_by_and_fenced_ones_apart() {
        let mut image = Image::new("c");
        for (broker_id, fenced, listeners) in
            [(1, false, vec!["IN", "OUT"]), (2, true, vec!["OUT"]), (3, false, vec!["IN"])]
        {
            let end_point = |name: &'static str| EndPoint {
                name: name.into(),
                host: format!("{name}-{broker_id}").into(),
                port: 9000,
                security_protocol: 0,
            };
            let end_points = listeners.into_iter().map(end_point).collect();
            let record = RegisterBrokerRecord { broker_id, fenced, end_points, ..Default::default() };
            image.apply(Offset(0), &record.into()).unwrap();
        }
        let hosts = |endpoints: Vec<BrokerEndpoint>| {
            let host = |endpoint: BrokerEndpoint| (endpoint.host, endpoint.is_fenced);
            endpoints.into_iter().map(host).collect::<Vec<_>>()
        };
        let [first, second] = [("OUT-1".to_owned(), false), ("OUT-2".to_owned(), true)];
        let all = [first, second];
        assert_eq!(hosts(BrokerEndpoint::of_alive(&image, "out")), all[..1]);
        assert_eq!(hosts(BrokerEndpoint::of_all(&image, "out").collect()), all);
    }
}
