//! Kafka's features by release: what `version-mapping` and `feature-dependencies` look up.

use std::fmt::Write as _;

use ottla_metadata::controller::NEEDS_METADATA_VERSION;
use ottla_metadata::version::{self, KNOWN, Known, MetadataVersion};

/// A feature beside metadata.version.
struct Feature {
    name: &'static str,
    /// Its highest level.
    highest: i16,
    /// Its level by default: from which metadata.version on, which.
    defaults: &'static [(i16, i16)],
}

/// In the order in which Kafka lists them.
const FEATURES: [Feature; 6] = [
    Feature { name: "kraft.version", highest: 1, defaults: &[(21, 1)] },
    Feature { name: "transaction.version", highest: 2, defaults: &[(24, 2)] },
    Feature { name: "group.version", highest: 1, defaults: &[(22, 1)] },
    Feature { name: "eligible.leader.replicas.version", highest: 1, defaults: &[(26, 1)] },
    Feature { name: "share.version", highest: 2, defaults: &[(28, 1), (31, 2)] },
    Feature { name: "streams.version", highest: 1, defaults: &[(29, 1)] },
];

/// The level of a metadata.version, by its name or by that of a release, which stands for its last one.
pub fn level_of(version: &str) -> Result<i16, String> {
    version::level_of(version).ok_or_else(|| unknown(version, &KNOWN))
}

/// The metadata.version that is meant by its name or by that of a release; only a released one.
pub fn released(version: &str) -> Result<MetadataVersion, String> {
    let meant = version::level_of(version).and_then(MetadataVersion::new);
    meant.ok_or_else(|| unknown(version, version::released()))
}

fn unknown(version: &str, known: &[Known]) -> String {
    let known: Vec<_> = known.iter().map(|known| known.name).collect();
    format!("Unknown metadata.version '{version}'. Supported metadata.version are: {}", known.join(", "))
}

/// The features that go with a release.
pub fn mapping(version: &str) -> Result<String, String> {
    let level = level_of(version)?;
    let mut text = format!("metadata.version={level} ({version})\n");
    for feature in &FEATURES {
        let default = feature.defaults.iter().rev().find(|(from, _)| *from <= level).map_or(0, |(_, default)| *default);
        let _ = writeln!(text, "{}={default}", feature.name);
    }
    Ok(text)
}

/// Refuses a feature that Kafka does not have.
pub fn check_name(name: &str) -> Result<(), String> {
    let mut names = FEATURES.map(|feature| feature.name);
    if name == "metadata.version" || names.contains(&name) {
        return Ok(());
    }
    names.sort_unstable();
    Err(format!("Unsupported feature: {name}. Supported features are: {}", names.join(", ")))
}

/// Whether Kafka has this level of a feature beside metadata.version.
pub fn has_level(name: &str, level: i16) -> bool {
    FEATURES.iter().any(|feature| feature.name == name && (0..=feature.highest).contains(&level))
}

/// What `feature=level` needs.
pub fn dependencies(argument: &str) -> Result<String, String> {
    let Some((name, version)) = argument.split_once('=') else {
        return Err(format!(
            "Invalid feature format: {argument}. Expected format: 'feature=version' (e.g. 'group.version=1')"
        ));
    };
    let (name, version) = (name.trim(), version.trim());
    let level: i16 = version.parse().map_err(|_| format!("Invalid version format: {version} for feature {name}"))?;
    if name == "metadata.version" {
        let known = version::known(level).ok_or_else(|| format!("Unknown metadata.version {level}"))?;
        return Ok(format!("{name}={level} ({}) has no dependencies.\n", known.name));
    }
    let feature = FEATURES.iter().find(|feature| feature.name == name);
    let feature = feature.ok_or_else(|| format!("Unknown feature: {name}"))?;
    if !(0..=feature.highest).contains(&level) {
        return Err(format!("Feature level {level} is not supported for feature {name}"));
    }
    let (needy, needed) = NEEDS_METADATA_VERSION;
    Ok(match version::known(needed) {
        Some(release) if name == needy && level > 0 => {
            format!("{name}={level} requires:\n    metadata.version={needed} ({})\n", release.name)
        }
        _ => format!("{name}={level} has no dependencies.\n"),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(found: Result<String, String>, expected: &Expect) {
        expected.assert_eq(&found.unwrap_or_else(|message| format!("refused: {}", &message[..message.len().min(60)])));
    }

    #[test]
    fn releases_have_features() {
        check(
            mapping(MetadataVersion::LATEST.name()),
            &expect![[r#"
            metadata.version=33 (4.4-IV2)
            kraft.version=1
            transaction.version=2
            group.version=1
            eligible.leader.replicas.version=1
            share.version=2
            streams.version=1
        "#]],
        );
        check(
            mapping("4.0"),
            &expect![[r#"
            metadata.version=25 (4.0)
            kraft.version=1
            transaction.version=2
            group.version=1
            eligible.leader.replicas.version=0
            share.version=0
            streams.version=0
        "#]],
        );
        check(mapping("4.5"), &expect!["refused: Unknown metadata.version '4.5'. Supported metadata.version a"]);
        check(mapping("9"), &expect!["refused: Unknown metadata.version '9'. Supported metadata.version are"]);
        assert_eq!([level_of("3.3"), level_of("4.4"), level_of("4.5-IV0")], [Ok(7), Ok(33), Ok(34)]);
        assert_eq!(released(MetadataVersion::LATEST.name()), Ok(MetadataVersion::LATEST));
        let refused = released("4.5-IV0").unwrap_err();
        assert!(refused.contains(": 3.3-IV3, 3.4-IV0") && refused.ends_with("4.4-IV1, 4.4-IV2"), "{refused}");
    }

    #[test]
    fn features_need_others() {
        check(
            dependencies("eligible.leader.replicas.version=1"),
            &expect![[r#"
            eligible.leader.replicas.version=1 requires:
                metadata.version=23 (4.0-IV1)
        "#]],
        );
        check(
            dependencies("group.version = 1"),
            &expect![[r#"
            group.version=1 has no dependencies.
        "#]],
        );
        check(
            dependencies("metadata.version=30"),
            &expect![[r#"
            metadata.version=30 (4.3-IV0) has no dependencies.
        "#]],
        );
        check(dependencies("metadata.version=1"), &expect!["refused: Unknown metadata.version 1"]);
        check(
            dependencies("share.version=3"),
            &expect!["refused: Feature level 3 is not supported for feature share.version"],
        );
        check(dependencies("foo=1"), &expect!["refused: Unknown feature: foo"]);
        check(dependencies("x"), &expect!["refused: Invalid feature format: x. Expected format: 'feature=version"]);
        check(
            dependencies("group.version=x"),
            &expect!["refused: Invalid version format: x for feature group.version"],
        );
    }
}
