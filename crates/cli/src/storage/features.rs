//! Kafka's features by release: what `version-mapping` and `feature-dependencies` look up.

use std::fmt::Write as _;

/// The first metadata.version of KRaft, 3.3-IV3.
const FIRST_LEVEL: i16 = 7;
/// The metadata.versions from [`FIRST_LEVEL`] on.
const VERSIONS: [&str; 28] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1",
    "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0",
    "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0", "4.4-IV0", "4.4-IV1", "4.4-IV2", "4.5-IV0",
];
/// The newest that is not for tests only.
pub const LATEST: &str = "4.4-IV2";

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
/// The feature that needs another one, and the metadata.version that it needs.
const NEEDS_METADATA: (&str, i16) = ("eligible.leader.replicas.version", 23);

/// The level of a metadata.version, by its name or by that of a release, which stands for its last one.
pub fn level_of(version: &str) -> Result<i16, String> {
    let is_meant =
        |name: &&str| **name == *version || name.split_once("-IV").is_some_and(|(release, _)| release == version);
    // What is not released has no short name.
    let is_released = |index: usize| VERSIONS[index] == version || VERSIONS[index] <= LATEST;
    let index = VERSIONS.iter().rposition(is_meant).filter(|index| is_released(*index));
    index.map(|index| FIRST_LEVEL + index as i16).ok_or_else(|| {
        let known = VERSIONS.join(", ");
        format!("Unknown metadata.version '{version}'. Supported metadata.version are: {known}")
    })
}

/// The name of a metadata.version.
pub fn name_of(level: i16) -> Option<&'static str> {
    let index = usize::try_from(i32::from(level) - i32::from(FIRST_LEVEL)).ok()?;
    VERSIONS.get(index).copied()
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
        let version = name_of(level).ok_or_else(|| format!("Unknown metadata.version {level}"))?;
        return Ok(format!("{name}={level} ({version}) has no dependencies.\n"));
    }
    let feature = FEATURES.iter().find(|feature| feature.name == name);
    let feature = feature.ok_or_else(|| format!("Unknown feature: {name}"))?;
    if !(0..=feature.highest).contains(&level) {
        return Err(format!("Feature level {level} is not supported for feature {name}"));
    }
    let (needy, needed) = NEEDS_METADATA;
    Ok(if name == needy && level > 0 {
        let release = VERSIONS[(needed - FIRST_LEVEL) as usize];
        format!("{name}={level} requires:\n    metadata.version={needed} ({release})\n")
    } else {
        format!("{name}={level} has no dependencies.\n")
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
            mapping(LATEST),
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
