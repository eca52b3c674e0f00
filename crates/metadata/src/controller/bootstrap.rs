//! The first records of a new cluster: which features it finalises, and the cluster's `min.insync.replicas`.
//!
//! ```text
//!   BeginTransaction "Bootstrap records"
//!   FeatureLevel metadata.version 33, then the other features by name
//!   Config broker "" min.insync.replicas        with eligible leader replicas, which need it (KIP-966)
//!   EndTransaction
//! ```

use ottla_protocol::internal::metadata::{
    BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord, MetadataRecord,
};

use super::Draft;
use crate::image::{ConfigResource, ELIGIBLE_LEADER_REPLICAS_VERSION, METADATA_VERSION};

/// The metadata.version of Kafka 4.4: 4.4-IV2.
pub const LATEST_METADATA_VERSION: i16 = 33;

/// Asks for the first records. Does nothing where a metadata.version is finalised already.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The features to finalise beside metadata.version, with their levels.
    pub features: Vec<(String, i16)>,
    /// The `min.insync.replicas` that the node was started with.
    pub min_in_sync_replicas: i32,
}

impl Bootstrap {
    /// What is spoken here of what a new Kafka 4.4 cluster finalises. Left out until they are spoken: group.version,
    /// share.version, streams.version, transaction.version.
    pub fn new(min_in_sync_replicas: i32) -> Self {
        Self { features: vec![(ELIGIBLE_LEADER_REPLICAS_VERSION.to_owned(), 1)], min_in_sync_replicas }
    }

    pub(super) fn decide(mut self, draft: &mut Draft) {
        if draft.image().feature(METADATA_VERSION) != 0 {
            return;
        }
        let name = Some("Bootstrap records".into());
        draft.push(MetadataRecord::BeginTransaction(BeginTransactionRecord { name }));
        self.features.sort();
        let metadata_version = (METADATA_VERSION.to_owned(), LATEST_METADATA_VERSION);
        for (name, feature_level) in std::iter::once(metadata_version).chain(self.features) {
            draft.push(MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.into(), feature_level }));
        }
        if draft.image().feature(ELIGIBLE_LEADER_REPLICAS_VERSION) > 0 {
            let resource = ConfigResource::all_brokers();
            draft.push(MetadataRecord::Config(ConfigRecord {
                resource_type: resource.kind.as_i8(),
                resource_name: resource.name.into(),
                name: "min.insync.replicas".into(),
                value: Some(self.min_in_sync_replicas.to_string().into()),
            }));
        }
        draft.push(MetadataRecord::EndTransaction(EndTransactionRecord {}));
    }
}
