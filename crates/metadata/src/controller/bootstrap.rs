//! The first records of a new cluster: which features it finalises, and the cluster's `min.insync.replicas`.
//!
//! ```text
//!   BeginTransaction "Bootstrap records"
//!   FeatureLevel metadata.version 33, then the other features by name
//!   Config broker "" min.insync.replicas        with eligible leader replicas, which need it (KIP-966)
//!   EndTransaction
//! ```
//!
//! A transaction that the last controller did not end is aborted first: until then nobody is given the image.

use ottla_protocol::internal::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, FeatureLevelRecord, MetadataRecord,
};

use super::{Draft, min_in_sync_replicas};
use crate::image::{ELIGIBLE_LEADER_REPLICAS_VERSION, METADATA_VERSION};

/// The metadata.version of Kafka 4.4: 4.4-IV2.
pub const LATEST_METADATA_VERSION: i16 = 33;

/// Asks for the first records. Where a metadata.version is finalised already, they are there.
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
        if draft.image().is_in_transaction() {
            let reason = Some("Controller failover".into());
            draft.push(MetadataRecord::AbortTransaction(AbortTransactionRecord { reason }));
        }
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
            min_in_sync_replicas::make_known(draft, self.min_in_sync_replicas);
        }
        draft.push(MetadataRecord::EndTransaction(EndTransactionRecord {}));
    }
}
