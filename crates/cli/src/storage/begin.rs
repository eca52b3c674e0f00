//! What a cluster begins with: the levels of features that its directories are formatted with.
//!
//! They are those of a release, unless others are asked for. What is not spoken here is left out, and cannot be asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_metadata::controller::{Bootstrap, check_needs, feature_records};
use ottla_metadata::image::{ELIGIBLE_LEADER_REPLICAS_VERSION, METADATA_VERSION};
use ottla_metadata::version::{self, KNOWN, MetadataVersion};

use super::features;
use crate::refusal::UNCAUGHT;

/// What a cluster begins with.
pub struct Begin {
    /// Its metadata.version.
    pub metadata_version: MetadataVersion,
    /// All levels, metadata.version first.
    levels: Vec<(String, i16)>,
}

impl Begin {
    /// From what the user has asked for. `has_voters` says whether the settings name the voters of the quorum.
    ///
    /// # Errors
    /// Kafka's words for why not; for what is not spoken here, words of our own.
    pub fn new(release: Option<&str>, features: &[String], has_voters: bool) -> Result<Self, String> {
        let released = release.map(features::released).transpose()?;
        let mut asked = BTreeMap::new();
        for argument in features {
            let (name, level) = parse(argument)?;
            asked.insert(name, level);
        }
        let metadata_version = match (released, asked.remove(METADATA_VERSION)) {
            (Some(_), Some(_)) => {
                return Err(
                    "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.".to_owned()
                );
            }
            (Some(released), None) => released,
            (None, Some(level)) => of_level(level)?,
            (None, None) => MetadataVersion::LATEST,
        };
        for name in asked.keys() {
            features::check_name(name)?;
        }
        let mut levels: BTreeMap<String, i16> = Bootstrap::default_levels(metadata_version).into_iter().collect();
        for (name, level) in asked {
            check(name, level, metadata_version, has_voters)?;
            levels.insert(name.to_owned(), level);
        }
        let mut levels: Vec<_> = levels.into_iter().filter(|(_, level)| *level > 0).collect();
        levels.sort_by_key(|(name, _)| name != METADATA_VERSION);
        Ok(Self { metadata_version, levels })
    }

    /// As Kafka shows it.
    pub fn shown(&self) -> String {
        let record = |(name, level): &(String, i16)| {
            format!("ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at version 0)")
        };
        let records: Vec<_> = self.levels.iter().map(record).collect();
        format!(
            "BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)",
            records.join(", "),
            self.metadata_version.level()
        )
    }

    /// Notes it in the directory of the metadata, for the first start.
    pub fn write(&self, directory: &Path) -> ottla_broker::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        ottla_broker::write_bootstrap(directory, &feature_records(&self.levels), now_ms)
    }
}

fn parse(argument: &str) -> Result<(&str, i16), String> {
    let wrong =
        |why: &str| format!("{UNCAUGHT}java.lang.RuntimeException: Can't parse feature=level string {argument}: {why}");
    let (name, level) = argument.split_once('=').ok_or_else(|| wrong("equals sign not found."))?;
    let level = level.trim();
    let number = level.parse().map_err(|_| wrong(&format!("unable to parse {level} as a short.")))?;
    Ok((name.trim(), number))
}

fn of_level(level: i16) -> Result<MetadataVersion, String> {
    MetadataVersion::new(level).ok_or_else(|| match version::known(level) {
        Some(known) => format!("{METADATA_VERSION} {} is not yet stable.", known.name),
        None => {
            let oldest = MetadataVersion::OLDEST.level();
            format!(
                "{UNCAUGHT}java.lang.IllegalArgumentException: No MetadataVersion with feature level {level}. Valid feature levels \
                 are from {oldest} to {}.",
                oldest + KNOWN.len() as i16 - 1
            )
        }
    })
}

/// Whether a level of a feature beside metadata.version can be begun with.
fn check(name: &str, level: i16, metadata_version: MetadataVersion, has_voters: bool) -> Result<(), String> {
    const STATIC: &str = "Cannot set kraft.version to 1 unless controller.quorum.voters is empty and one of the flags --standalone, \
                          --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try using \
                          one of --standalone, --initial-controllers, or --no-initial-controllers and removing \
                          controller.quorum.voters.";
    if !features::has_level(name, level) {
        return Err(format!(
            "{UNCAUGHT}java.lang.IllegalArgumentException: No feature:{name} with feature level {level}"
        ));
    }
    if name == "kraft.version" && level > 0 && has_voters {
        return Err(STATIC.to_owned());
    }
    if name != ELIGIBLE_LEADER_REPLICAS_VERSION && level > 0 {
        return Err(format!("{name} is not spoken here yet: a cluster can only begin with level 0 of it."));
    }
    check_needs(name, level, metadata_version.level())
        .map_err(|why| format!("{UNCAUGHT}java.lang.IllegalArgumentException: {why}"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(release: Option<&str>, features: &[&str], expected: &Expect) {
        let features: Vec<_> = features.iter().map(|&feature| feature.to_owned()).collect();
        let begin = Begin::new(release, &features, true);
        expected.assert_eq(&begin.map_or_else(
            |refused| refused,
            |begin| {
                let levels: Vec<_> = begin.levels.iter().map(|(name, level)| format!("{name}={level}")).collect();
                format!("{}: {}", begin.metadata_version, levels.join(" "))
            },
        ));
    }

    #[test]
    fn a_cluster_begins_with_the_features_of_its_release() {
        check(None, &[], &expect!["4.4-IV2: metadata.version=33 eligible.leader.replicas.version=1"]);
        check(Some("3.9"), &[], &expect!["3.9-IV0: metadata.version=21"]);
        check(Some("4.0"), &["group.version=0", "kraft.version=0"], &expect!["4.0-IV3: metadata.version=25"]);
        check(Some("3.4.1"), &[], &expect!["3.4-IV0: metadata.version=8"]);
        check(None, &["metadata.version = 25"], &expect!["4.0-IV3: metadata.version=25"]);
        check(
            Some("4.0"),
            &["eligible.leader.replicas.version=1"],
            &expect!["4.0-IV3: metadata.version=25 eligible.leader.replicas.version=1"],
        );
        check(
            None,
            &["eligible.leader.replicas.version=1", "eligible.leader.replicas.version=0"],
            &expect!["4.4-IV2: metadata.version=33"],
        );
    }

    #[test]
    fn what_no_cluster_begins_with_is_refused() {
        check(
            Some("3.2"),
            &[],
            &expect![
                "Unknown metadata.version '3.2'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, 3.5-IV0, 3.5-IV1, 3.5-IV2, 3.6-IV0, 3.6-IV1, 3.6-IV2, 3.7-IV0, 3.7-IV1, 3.7-IV2, 3.7-IV3, 3.7-IV4, 3.8-IV0, 3.9-IV0, 4.0-IV0, 4.0-IV1, 4.0-IV2, 4.0-IV3, 4.1-IV0, 4.1-IV1, 4.2-IV0, 4.2-IV1, 4.3-IV0, 4.4-IV0, 4.4-IV1, 4.4-IV2"
            ],
        );
        check(
            Some("4.0"),
            &["metadata.version=25"],
            &expect!["Use --release-version instead of --feature metadata.version=X to avoid ambiguity."],
        );
        for level in ["6", "34", "35", "x"] {
            let expected = match level {
                "6" => expect![[
                    r#"Exception in thread "main" java.lang.IllegalArgumentException: No MetadataVersion with feature level 6. Valid feature levels are from 7 to 34."#
                ]],
                "34" => expect!["metadata.version 4.5-IV0 is not yet stable."],
                "35" => expect![[
                    r#"Exception in thread "main" java.lang.IllegalArgumentException: No MetadataVersion with feature level 35. Valid feature levels are from 7 to 34."#
                ]],
                _ => expect![[
                    r#"Exception in thread "main" java.lang.RuntimeException: Can't parse feature=level string metadata.version=x: unable to parse x as a short."#
                ]],
            };
            check(None, &[&format!("metadata.version={level}")], &expected);
        }
        check(
            None,
            &["nope=1"],
            &expect![
                "Unsupported feature: nope. Supported features are: eligible.leader.replicas.version, group.version, kraft.version, share.version, streams.version, transaction.version"
            ],
        );
        check(
            None,
            &["nope"],
            &expect![[
                r#"Exception in thread "main" java.lang.RuntimeException: Can't parse feature=level string nope: equals sign not found."#
            ]],
        );
        check(
            Some("3.9"),
            &["eligible.leader.replicas.version=1"],
            &expect![[
                r#"Exception in thread "main" java.lang.IllegalArgumentException: eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23"#
            ]],
        );
        check(
            None,
            &["eligible.leader.replicas.version=2"],
            &expect![[
                r#"Exception in thread "main" java.lang.IllegalArgumentException: No feature:eligible.leader.replicas.version with feature level 2"#
            ]],
        );
        check(
            None,
            &["kraft.version=1"],
            &expect![
                "Cannot set kraft.version to 1 unless controller.quorum.voters is empty and one of the flags --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try using one of --standalone, --initial-controllers, or --no-initial-controllers and removing controller.quorum.voters."
            ],
        );
        check(
            None,
            &["group.version=1"],
            &expect!["group.version is not spoken here yet: a cluster can only begin with level 0 of it."],
        );
        check(
            None,
            &["group.version=2"],
            &expect![[
                r#"Exception in thread "main" java.lang.IllegalArgumentException: No feature:group.version with feature level 2"#
            ]],
        );
    }
}
