//! The topic that holds groups and their offsets: made when the first client looks for a coordinator.

use ottla_metadata::controller::NewTopic;
use ottla_metadata::image::Image;

use crate::config::Config;

/// Its name.
pub const NAME: &str = "__consumer_offsets";

/// As it is to be created, for as many brokers as there are.
///
/// Differs from Kafka: where `offsets.topic.replication.factor` is left at its default of 3 and there are fewer brokers, it
/// has as many replicas as there are brokers; Kafka makes clients wait for the missing ones. A value that was set is kept to.
pub fn new_topic(config: &Config, image: &Image) -> NewTopic {
    let settings = &config.offsets_topic;
    let brokers = i16::try_from(image.alive_brokers().count()).unwrap_or(i16::MAX).max(1);
    let replication_factor = match settings.is_replication_factor_set {
        true => settings.replication_factor,
        false => settings.replication_factor.min(brokers),
    };
    let config = |key: &str, value: String| (key.to_owned(), Some(value));
    NewTopic {
        name: NAME.to_owned(),
        partitions: settings.partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: vec![
            config("cleanup.policy", "compact".to_owned()),
            config("compression.type", "producer".to_owned()),
            config("segment.bytes", settings.segment_bytes.to_string()),
        ],
    }
}
