//! The features of a cluster that this broker can speak, each with its levels (KIP-584).

use std::collections::BTreeMap;

use ottla_metadata::controller::LATEST_METADATA_VERSION;
use ottla_metadata::image::{ELIGIBLE_LEADER_REPLICAS_VERSION, FeatureRange, METADATA_VERSION};

/// The version of the quorum's own protocol: 0 is a static set of voters.
const KRAFT_VERSION: &str = "kraft.version";

/// All of them, by name. What is missing here (groups of KIP-848, transactions, share groups, streams groups) is not spoken.
pub fn supported() -> BTreeMap<String, FeatureRange> {
    // Records are written as the newest metadata.version asks for, and for no older one.
    let metadata = FeatureRange { min: LATEST_METADATA_VERSION, max: LATEST_METADATA_VERSION };
    let all = [
        (METADATA_VERSION, metadata),
        (KRAFT_VERSION, FeatureRange { min: 0, max: 0 }),
        (ELIGIBLE_LEADER_REPLICAS_VERSION, FeatureRange { min: 0, max: 1 }),
    ];
    all.into_iter().map(|(name, range)| (name.to_owned(), range)).collect()
}
