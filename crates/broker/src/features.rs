//! The features of a cluster that this broker can speak, each with its levels (KIP-584).

use std::collections::BTreeMap;

use ottla_metadata::image::{ELIGIBLE_LEADER_REPLICAS_VERSION, FeatureRange, Image, METADATA_VERSION};
use ottla_metadata::version::MetadataVersion;
use ottla_protocol::internal::metadata::MetadataRecord;

/// The version of the quorum's own protocol: 0 is a static set of voters.
const KRAFT_VERSION: &str = "kraft.version";

/// What a Kafka 4.4 cluster has switched on and this broker does not speak yet. Nothing that is spoken depends on it: clients
/// who are not told of it go the older way.
const NOT_SPOKEN_YET: [&str; 4] = ["group.version", "share.version", "streams.version", "transaction.version"];

/// All of them, by name. What is missing here (groups of KIP-848, transactions, share groups, streams groups) is not spoken.
pub fn supported() -> BTreeMap<String, FeatureRange> {
    let metadata = FeatureRange { min: MetadataVersion::OLDEST.level(), max: MetadataVersion::LATEST.level() };
    let all = [
        (METADATA_VERSION, metadata),
        (KRAFT_VERSION, FeatureRange { min: 0, max: 0 }),
        (ELIGIBLE_LEADER_REPLICAS_VERSION, FeatureRange { min: 0, max: 1 }),
    ];
    all.into_iter().map(|(name, range)| (name.to_owned(), range)).collect()
}

/// Whether a broker could join a cluster that begins with these records.
///
/// # Errors
/// Which feature is in the way.
pub fn check_begun_with<'r>(records: impl Iterator<Item = &'r MetadataRecord<'static>>) -> Result<(), String> {
    let supported = supported();
    for record in records {
        let MetadataRecord::FeatureLevel(feature) = record else { continue };
        let (name, level) = (&*feature.name, feature.feature_level);
        let range = supported.get(name).copied().unwrap_or(FeatureRange { min: 0, max: 0 });
        if !NOT_SPOKEN_YET.contains(&name) && !(range.min..=range.max).contains(&level) {
            return Err(format!("its {name} is {level}, which is not between {} and {}", range.min, range.max));
        }
    }
    Ok(())
}

/// The finalised features that are not spoken here, by name, though they keep no broker from starting.
pub fn unspoken(image: &Image) -> Vec<(&str, i16)> {
    image.features().filter(|(name, level)| NOT_SPOKEN_YET.contains(name) && *level > 0).collect()
}

/// What the broker registers with: what it speaks, and what the cluster has switched on that it does not, so that it may
/// join. Clients are told only of [`finalized`].
pub fn registered(image: &Image) -> BTreeMap<String, FeatureRange> {
    let mut features = supported();
    let unspoken = unspoken(image).into_iter();
    features.extend(unspoken.map(|(name, level)| (name.to_owned(), FeatureRange { min: 0, max: level })));
    features
}

/// The finalised features that clients may count on, with their levels.
pub fn finalized(image: &Image) -> impl Iterator<Item = (&str, i16)> {
    image.features().filter(|(name, _)| !NOT_SPOKEN_YET.contains(name))
}

#[cfg(test)]
mod tests {
    use ottla_base::Offset;
    use ottla_protocol::internal::metadata::{FeatureLevelRecord, MetadataRecord};

    use super::*;

    #[test]
    fn features_that_are_not_spoken_are_joined_and_not_advertised() {
        let mut image = Image::new("c");
        let levels = [("metadata.version", 21), ("group.version", 1), ("transaction.version", 2)];
        for (offset, (name, feature_level)) in levels.into_iter().enumerate() {
            let record = MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.into(), feature_level });
            image.apply(Offset(offset as i64), &record).unwrap();
        }
        assert_eq!(unspoken(&image), [("group.version", 1), ("transaction.version", 2)]);
        assert_eq!(finalized(&image).collect::<Vec<_>>(), [("metadata.version", 21)]);
        assert_eq!(registered(&image)["transaction.version"], FeatureRange { min: 0, max: 2 });
        assert!(!registered(&image).contains_key("share.version") && !supported().contains_key("group.version"));
    }
}
