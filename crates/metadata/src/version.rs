//! metadata.version (KIP-778): which records the metadata log may hold, and in which versions they are written.
//!
//! Each release of Kafka adds levels of it. A cluster goes by the one that it has finalised, whatever its nodes could speak, so
//! that an older release can still read the log.

use std::fmt;

/// The level of the first of [`KNOWN`].
const OLDEST: i16 = 7;

/// A level of metadata.version that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name: a release, and which of that release's levels it is.
    pub name: &'static str,
    /// Whether there is metadata with it which the level before it cannot hold: then there is no way back.
    pub changes_metadata: bool,
}

/// All that Kafka 4.4 knows, from level 7 on. The last is not released.
pub const KNOWN: [Known; 28] = [
    changes("3.3-IV3"),
    changes("3.4-IV0"),
    adds_nothing("3.5-IV0"),
    adds_nothing("3.5-IV1"),
    changes("3.5-IV2"),
    adds_nothing("3.6-IV0"),
    changes("3.6-IV1"),
    changes("3.6-IV2"),
    changes("3.7-IV0"),
    adds_nothing("3.7-IV1"),
    changes("3.7-IV2"),
    adds_nothing("3.7-IV3"),
    adds_nothing("3.7-IV4"),
    adds_nothing("3.8-IV0"),
    adds_nothing("3.9-IV0"),
    adds_nothing("4.0-IV0"),
    changes("4.0-IV1"),
    adds_nothing("4.0-IV2"),
    adds_nothing("4.0-IV3"),
    adds_nothing("4.1-IV0"),
    adds_nothing("4.1-IV1"),
    adds_nothing("4.2-IV0"),
    adds_nothing("4.2-IV1"),
    changes("4.3-IV0"),
    adds_nothing("4.4-IV0"),
    changes("4.4-IV1"),
    changes("4.4-IV2"),
    adds_nothing("4.5-IV0"),
];

/// A level of metadata.version that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataVersion(i16);

impl MetadataVersion {
    /// 3.3-IV3, the oldest that Kafka 4 speaks.
    pub const OLDEST: Self = Self(OLDEST);
    /// 4.4-IV2.
    pub const LATEST: Self = Self(33);
    /// 4.0-IV1, the first with which there may be eligible leader replicas (KIP-966).
    pub const WITH_ELIGIBLE_REPLICAS: Self = Self(23);

    /// The one with this level; `None` where it is not spoken here.
    pub fn new(level: i16) -> Option<Self> {
        (Self::OLDEST.0..=Self::LATEST.0).contains(&level).then_some(Self(level))
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::OLDEST.0..=Self::LATEST.0).map(Self)
    }

    /// Its level.
    pub const fn level(self) -> i16 {
        self.0
    }

    /// Its name, such as `4.0-IV3`.
    pub fn name(self) -> &'static str {
        self.known().name
    }

    /// Whether the log of a cluster that goes by this version may hold what it could not under `older`.
    pub fn changed_metadata_since(self, older: Self) -> bool {
        (older.0 + 1..=self.0).any(|level| Self(level).known().changes_metadata)
    }

    /// The version of a RegisterBrokerRecord.
    pub fn register_broker_record(self) -> i16 {
        match self.0 {
            _ if self.has_cordoned_directories() => 4,
            _ if self.has_directories() => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// The version of a PartitionRecord and of a PartitionChangeRecord.
    pub fn partition_record(self) -> i16 {
        match self {
            _ if self.has_eligible_replicas() => 2,
            _ if self.has_directories() => 1,
            _ => 0,
        }
    }

    /// Whether there are SCRAM credentials (3.5-IV2).
    pub fn has_scram(self) -> bool {
        self.0 >= 11
    }

    /// Whether a replica that leaves the ISR makes the leader's epoch grow (before 3.6-IV0, KAFKA-15021).
    pub fn bumps_leader_epoch_as_isr_shrinks(self) -> bool {
        self.0 < 12
    }

    /// Whether there are transactions of metadata (3.6-IV1, KIP-868).
    pub fn has_transactions(self) -> bool {
        self.0 >= 13
    }

    /// Whether there are delegation tokens (3.6-IV2).
    pub fn has_delegation_tokens(self) -> bool {
        self.0 >= 14
    }

    /// Whether controllers register (3.7-IV0, KIP-919).
    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Whether it is known in which log directories replicas lie (3.7-IV2, KIP-858).
    pub fn has_directories(self) -> bool {
        self.0 >= 17
    }

    /// Whether there may be eligible leader replicas (4.0-IV1, KIP-966).
    pub fn has_eligible_replicas(self) -> bool {
        self >= Self::WITH_ELIGIBLE_REPLICAS
    }

    /// Whether new clusters have eligible leader replicas, unless they are formatted without (4.1-IV0).
    pub fn has_eligible_replicas_by_default(self) -> bool {
        self.0 >= 26
    }

    /// Whether log directories may be cordoned (4.3-IV0, KIP-1066).
    pub fn has_cordoned_directories(self) -> bool {
        self.0 >= 30
    }

    /// Whether controllers may be forgotten (4.4-IV2).
    pub fn has_controller_unregistration(self) -> bool {
        self.0 >= 33
    }

    fn known(self) -> Known {
        known(self.0).expect("its level is between the oldest and the latest")
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a level, which may be one that is not spoken here.
pub fn known(level: i16) -> Option<Known> {
    let index = usize::try_from(i32::from(level) - i32::from(OLDEST)).ok()?;
    KNOWN.get(index).copied()
}

/// The level that this version has, by its name or by that of a release, which stands for its last one. More figures of a release
/// say nothing: `3.4.1` is `3.4`.
pub fn level_of(version: &str) -> Option<i16> {
    let short = version.match_indices('.').nth(1).map_or(version, |(second, _)| &version[..second]);
    let is_meant = |(index, known): &(usize, &Known)| {
        // What is not released has no short name.
        let of_release = || known.name.split_once("-IV").is_some_and(|(release, _)| release == short);
        known.name == short || (level_at(*index) <= MetadataVersion::LATEST.0 && of_release())
    };
    KNOWN.iter().enumerate().rfind(is_meant).map(|(index, _)| level_at(index))
}

/// Those of releases.
pub fn released() -> &'static [Known] {
    let count = MetadataVersion::all().count();
    &KNOWN[..count]
}

fn level_at(index: usize) -> i16 {
    OLDEST + i16::try_from(index).expect("there are few levels")
}

const fn changes(name: &'static str) -> Known {
    Known { name, changes_metadata: true }
}

const fn adds_nothing(name: &'static str) -> Known {
    Known { name, changes_metadata: false }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn each_level_writes_records_as_kafka_does() {
        let mut lines: Vec<String> = Vec::new();
        for version in MetadataVersion::all() {
            let has = [
                ("scram", version.has_scram()),
                ("transactions", version.has_transactions()),
                ("tokens", version.has_delegation_tokens()),
                ("controllers", version.has_controller_registration()),
                ("unregistered controllers", version.has_controller_unregistration()),
            ];
            let has: Vec<_> = has.iter().filter(|(_, has)| *has).map(|(what, _)| *what).collect();
            lines.push(format!(
                "broker {} partition {} bump {} {}",
                version.register_broker_record(),
                version.partition_record(),
                version.bumps_leader_epoch_as_isr_shrinks(),
                has.join(", ")
            ));
        }
        // Only the levels with which something changes.
        let mut shown = String::new();
        for (index, line) in lines.iter().enumerate().filter(|(index, line)| *index == 0 || lines[index - 1] != **line)
        {
            shown += &format!("{} {}: {line}\n", OLDEST + index as i16, KNOWN[index].name);
        }
        expect![[r#"
            7 3.3-IV3: broker 1 partition 0 bump true 
            8 3.4-IV0: broker 2 partition 0 bump true 
            11 3.5-IV2: broker 2 partition 0 bump true scram
            12 3.6-IV0: broker 2 partition 0 bump false scram
            13 3.6-IV1: broker 2 partition 0 bump false scram, transactions
            14 3.6-IV2: broker 2 partition 0 bump false scram, transactions, tokens
            15 3.7-IV0: broker 2 partition 0 bump false scram, transactions, tokens, controllers
            17 3.7-IV2: broker 3 partition 1 bump false scram, transactions, tokens, controllers
            23 4.0-IV1: broker 3 partition 2 bump false scram, transactions, tokens, controllers
            30 4.3-IV0: broker 4 partition 2 bump false scram, transactions, tokens, controllers
            33 4.4-IV2: broker 4 partition 2 bump false scram, transactions, tokens, controllers, unregistered controllers
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn a_release_stands_for_its_last_level() {
        let levels = ["3.3", "3.4", "3.4.1", "3.5-IV1", "3.9", "4.0", "4.0-IV1", "4.4", "4.5-IV0"].map(level_of);
        assert_eq!(levels, [7, 8, 8, 10, 21, 25, 23, 33, 34].map(Some));
        assert_eq!(["3.2", "4.5", "4.5.0", "9", "", "4.", "4.0-IV9", "IV1"].map(level_of), [None; 8]);
        assert_eq!((MetadataVersion::new(6), MetadataVersion::new(34)), (None, None));
        assert!(MetadataVersion::all().all(|version| level_of(version.name()) == Some(version.level())));
        assert_eq!((known(34).map(|known| known.name), known(35), known(-1)), (Some("4.5-IV0"), None, None));
    }
}
