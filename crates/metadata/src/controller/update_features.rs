//! UpdateFeatures (KIP-584, KIP-778): which levels of features the cluster goes by. Written: a FeatureLevelRecord for each
//! that changes, once every update of the request is found to be possible.
//!
//! Without eligible leader replicas nobody keeps them up to date: where the feature goes, they are cleared. Where it comes, the
//! cluster gets the `min.insync.replicas` that it needs, and no broker keeps one of its own.
//! Differs from Kafka, which leaves eligible replicas as they are where the feature goes, to be believed when it comes back.

use std::collections::BTreeMap;

use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::{ClearElrRecord, FeatureLevelRecord, MetadataRecord};

use super::{Draft, Refusal, min_in_sync_replicas};
use crate::image::{ELIGIBLE_LEADER_REPLICAS_VERSION, FeatureRange, Image, METADATA_VERSION};
use crate::version::MetadataVersion;

/// The feature that needs a metadata.version, and which.
pub const NEEDS_METADATA_VERSION: (&str, i16) =
    (ELIGIBLE_LEADER_REPLICAS_VERSION, MetadataVersion::WITH_ELIGIBLE_REPLICAS.level());

/// Asks for other levels.
#[derive(Clone, Debug)]
pub struct UpdateFeatures {
    /// Of which features.
    pub updates: Vec<FeatureUpdate>,
    /// Whether to answer only what would happen.
    pub validate_only: bool,
    /// The id of the controller that is asked.
    pub controller: i32,
    /// What it can speak.
    pub supported: BTreeMap<String, FeatureRange>,
    /// The `min.insync.replicas` that the node was started with.
    pub min_in_sync_replicas: i32,
}

/// Asks for another level of one feature.
#[derive(Clone, Debug)]
pub struct FeatureUpdate {
    /// Its name.
    pub feature: String,
    /// Its new level; 0 is off.
    pub level: i16,
    /// Whether it may go down, as the request has it; see [`UpgradeType`].
    pub upgrade_type: i8,
}

/// Whether a level may go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// It may not.
    Upgrade = 1,
    /// It may, if nothing is lost.
    SafeDowngrade = 2,
    /// It may.
    UnsafeDowngrade = 3,
}

impl UpdateFeatures {
    pub(super) fn decide(self, draft: &mut Draft) -> Result<(), Refusal> {
        if self.updates.iter().any(|update| update.feature == ELIGIBLE_LEADER_REPLICAS_VERSION && update.level > 0) {
            min_in_sync_replicas::make_known(draft, self.min_in_sync_replicas);
        }
        let metadata_version = self.updates.iter().find(|update| update.feature == METADATA_VERSION);
        let metadata_version = metadata_version.map_or(draft.image().feature(METADATA_VERSION), |update| update.level);
        for update in &self.updates {
            let checked = update.check(draft.image(), &self.supported, self.controller).and_then(|()| {
                check_needs(&update.feature, update.level, metadata_version).or_else(|why| update.invalid(&why))
            });
            if let Err(wrong) = checked {
                draft.discard();
                let message =
                    format!("The update failed for all features since the following feature had an error: {wrong}");
                return Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message));
            }
            let present = draft.image().feature(&update.feature);
            if present == update.level {
                continue;
            }
            if update.feature == ELIGIBLE_LEADER_REPLICAS_VERSION && update.level == 0 {
                draft.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name: "".into() }));
            }
            draft.push(MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: update.feature.clone().into(),
                feature_level: update.level,
            }));
        }
        if self.validate_only {
            draft.discard();
        }
        Ok(())
    }
}

impl FeatureUpdate {
    fn invalid(&self, why: &str) -> Result<(), String> {
        let Self { feature, level, .. } = self;
        Err(format!("Invalid update version {level} for feature {feature}. {why}"))
    }

    fn check(&self, image: &Image, supported: &BTreeMap<String, FeatureRange>, controller: i32) -> Result<(), String> {
        let Self { feature, level, .. } = self;
        let invalid = |why: &str| self.invalid(why);
        let Some(upgrade_type) = UpgradeType::from_i8(self.upgrade_type) else {
            return invalid("The controller does not support the given upgrade type.");
        };
        if *level < 0 {
            return invalid("A feature version cannot be less than 0.");
        }
        let present = image.feature(feature);
        self.check_supported(image, supported.get(feature), controller).or_else(|why| invalid(&why))?;
        if *level < present && upgrade_type == UpgradeType::Upgrade {
            return invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
                 downgrade.",
            );
        }
        if *level > present && upgrade_type != UpgradeType::Upgrade {
            return invalid("Can't downgrade to a newer version.");
        }
        if feature == METADATA_VERSION && *level < present && might_lose_metadata(present, *level) {
            let why = match upgrade_type {
                UpgradeType::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
                _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
            };
            return Err(format!("Unsupported metadata.version downgrade from {present} to {level}. {why}"));
        }
        Ok(())
    }

    /// Whether this controller and all brokers speak the level.
    fn check_supported(&self, image: &Image, range: Option<&FeatureRange>, controller: i32) -> Result<(), String> {
        let Self { feature, level, .. } = self;
        if *level == 0 && range.is_none() {
            return Err(format!("Feature {feature} not found."));
        }
        if let Some(why) = unsupported(range, *level) {
            return Err(format!("Local controller {controller} {why}"));
        }
        for broker in image.brokers() {
            // Every broker speaks level 0 of what it does not know.
            let range = broker.features.get(feature);
            if let Some(why) = unsupported(range, *level).filter(|_| *level > 0 || range.is_some()) {
                return Err(format!("Broker {} {why}", broker.id));
            }
        }
        Ok(())
    }
}

/// Whether there may be metadata at the level `present` of metadata.version which `level` cannot hold.
fn might_lose_metadata(present: i16, level: i16) -> bool {
    let known = MetadataVersion::new(present).zip(MetadataVersion::new(level));
    known.is_none_or(|(present, level)| present.changed_metadata_since(level))
}

/// Whether a level of a feature goes with a metadata.version.
///
/// # Errors
/// Kafka's words for why not.
pub fn check_needs(feature: &str, level: i16, metadata_version: i16) -> Result<(), String> {
    let (needs, at_least) = NEEDS_METADATA_VERSION;
    if feature == needs && level > 0 && metadata_version < at_least {
        return Err(format!(
            "{feature} could not be set to {level} because it depends on metadata.version level {at_least}"
        ));
    }
    Ok(())
}

fn unsupported(range: Option<&FeatureRange>, level: i16) -> Option<String> {
    match range {
        None => Some("does not support this feature.".to_owned()),
        Some(range) if !(range.min..=range.max).contains(&level) => {
            Some(format!("only supports versions {}-{}", range.min, range.max))
        }
        Some(_) => None,
    }
}

impl UpgradeType {
    /// From the number that requests carry.
    pub fn from_i8(number: i8) -> Option<Self> {
        [Self::Upgrade, Self::SafeDowngrade, Self::UnsafeDowngrade].into_iter().find(|known| *known as i8 == number)
    }
}
