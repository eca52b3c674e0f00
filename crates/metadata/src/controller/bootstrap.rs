//! The first records of a new cluster: which features it finalises, and the cluster's `min.insync.replicas`.
//!
//! ```text
//!   BeginTransaction "Bootstrap records"        from metadata.version 3.6-IV1 on
//!   FeatureLevel metadata.version, then the other features by name; whatever else it was formatted with
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
use crate::records::OwnedRecord;
use crate::version::MetadataVersion;

/// Asks for the first records. Where a metadata.version is finalised already, they are there.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// What the cluster begins with, as it was formatted.
    records: Vec<OwnedRecord>,
    metadata_version: MetadataVersion,
    /// The `min.insync.replicas` that the node was started with.
    min_in_sync_replicas: i32,
}

impl Bootstrap {
    /// What a cluster begins with that was formatted without more words.
    pub fn new(min_in_sync_replicas: i32) -> Self {
        let metadata_version = MetadataVersion::LATEST;
        let records = feature_records(&Self::default_levels(metadata_version));
        Self { records, metadata_version, min_in_sync_replicas }
    }

    /// What a cluster begins with that was formatted with these records.
    ///
    /// # Errors
    /// They finalise no metadata.version that is spoken here.
    pub fn of(records: Vec<OwnedRecord>, min_in_sync_replicas: i32) -> Result<Self, String> {
        let mut levels = records.iter().filter_map(|record| match record {
            MetadataRecord::FeatureLevel(feature) if feature.name == METADATA_VERSION => Some(feature.feature_level),
            _ => None,
        });
        let level = levels.next_back().ok_or("it finalises no metadata.version")?;
        let metadata_version = MetadataVersion::new(level).ok_or_else(|| {
            let (oldest, latest) = (MetadataVersion::OLDEST.level(), MetadataVersion::LATEST.level());
            format!("its metadata.version is {level}, which is not between {oldest} and {latest}")
        })?;
        Ok(Self { records, metadata_version, min_in_sync_replicas })
    }

    /// What is spoken here of what a new cluster finalises with `metadata_version`. Left out until they are spoken:
    /// group.version, share.version, streams.version, transaction.version.
    pub fn default_levels(metadata_version: MetadataVersion) -> Vec<(String, i16)> {
        let mut levels = vec![(METADATA_VERSION.to_owned(), metadata_version.level())];
        if metadata_version.has_eligible_replicas_by_default() {
            levels.push((ELIGIBLE_LEADER_REPLICAS_VERSION.to_owned(), 1));
        }
        levels
    }

    pub(super) fn decide(self, draft: &mut Draft) {
        if draft.image().is_in_transaction() {
            let reason = Some("Controller failover".into());
            draft.push(MetadataRecord::AbortTransaction(AbortTransactionRecord { reason }));
        }
        if draft.image().feature(METADATA_VERSION) != 0 {
            return;
        }
        let in_transaction = self.metadata_version.has_transactions();
        if in_transaction {
            let name = Some("Bootstrap records".into());
            draft.push(MetadataRecord::BeginTransaction(BeginTransactionRecord { name }));
        }
        draft.extend(self.records);
        if draft.image().feature(ELIGIBLE_LEADER_REPLICAS_VERSION) > 0 {
            min_in_sync_replicas::make_known(draft, self.min_in_sync_replicas);
        }
        if in_transaction {
            draft.push(MetadataRecord::EndTransaction(EndTransactionRecord {}));
        }
    }
}

/// The records that finalise these levels.
pub fn feature_records(levels: &[(String, i16)]) -> Vec<OwnedRecord> {
    let record = |(name, level): &(String, i16)| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.clone().into(), feature_level: *level })
    };
    levels.iter().map(record).collect()
}
