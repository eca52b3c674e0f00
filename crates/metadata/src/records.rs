//! Records of the metadata log as the controller writes them: in the versions of the metadata.version that is finalised, with no
//! more than those hold.

use ottla_protocol::internal::metadata::{
    BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord,
};

use crate::version::MetadataVersion;

/// A record that owns its strings.
pub type OwnedRecord = MetadataRecord<'static>;

/// The version to write a record in. A change of a broker's registration is written in the lowest version that has its fields.
pub fn version(record: &MetadataRecord<'_>, metadata_version: MetadataVersion) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => metadata_version.register_broker_record(),
        MetadataRecord::BrokerRegistrationChange(change) => {
            if change.cordoned_log_dirs.is_some() {
                3
            } else if !change.log_dirs.is_empty() {
                2
            } else {
                i16::from(change.in_controlled_shutdown != 0)
            }
        }
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => metadata_version.partition_record(),
        _ => 0,
    }
}

/// The record with what is left of it at `metadata_version`; `None` where there is no such record at it. Whoever replays what was
/// written comes to the same image as whoever decided it only if that was done before.
pub fn fit<'a>(record: MetadataRecord<'a>, metadata_version: MetadataVersion) -> Option<MetadataRecord<'a>> {
    let directories = metadata_version.has_directories();
    let cordoned = metadata_version.has_cordoned_directories();
    let eligible = metadata_version.has_eligible_replicas();
    let is_there = match &record {
        MetadataRecord::BeginTransaction(_)
        | MetadataRecord::EndTransaction(_)
        | MetadataRecord::AbortTransaction(_) => metadata_version.has_transactions(),
        MetadataRecord::UserScramCredential(_) | MetadataRecord::RemoveUserScramCredential(_) => {
            metadata_version.has_scram()
        }
        MetadataRecord::DelegationToken(_) | MetadataRecord::RemoveDelegationToken(_) => {
            metadata_version.has_delegation_tokens()
        }
        MetadataRecord::RegisterController(_) => metadata_version.has_controller_registration(),
        MetadataRecord::UnregisterController(_) => metadata_version.has_controller_unregistration(),
        MetadataRecord::ClearElr(_) => eligible,
        _ => true,
    };
    let fitting = match record {
        MetadataRecord::RegisterBroker(record) => MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            log_dirs: if directories { record.log_dirs } else { Vec::new() },
            cordoned_log_dirs: record.cordoned_log_dirs.filter(|_| cordoned),
            ..record
        }),
        MetadataRecord::BrokerRegistrationChange(record) => {
            MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                log_dirs: if directories { record.log_dirs } else { Vec::new() },
                cordoned_log_dirs: record.cordoned_log_dirs.filter(|_| cordoned),
                ..record
            })
        }
        MetadataRecord::Partition(record) => MetadataRecord::Partition(PartitionRecord {
            directories: if directories { record.directories } else { Vec::new() },
            eligible_leader_replicas: record.eligible_leader_replicas.filter(|_| eligible),
            last_known_elr: record.last_known_elr.filter(|_| eligible),
            ..record
        }),
        MetadataRecord::PartitionChange(record) => MetadataRecord::PartitionChange(PartitionChangeRecord {
            directories: record.directories.filter(|_| directories),
            eligible_leader_replicas: record.eligible_leader_replicas.filter(|_| eligible),
            last_known_elr: record.last_known_elr.filter(|_| eligible),
            ..record
        }),
        other => other,
    };
    is_there.then_some(fitting)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;
    use ottla_base::Uuid;
    use ottla_protocol::Writer;
    use ottla_protocol::internal::metadata as records;

    use super::*;

    /// Records with all that they may hold.
    fn full() -> Vec<(&'static str, OwnedRecord)> {
        let directories = || vec![Uuid(1 << 100), Uuid(2 << 100)];
        let change = BrokerRegistrationChangeRecord { broker_id: 1, broker_epoch: 5, ..Default::default() };
        let registration = RegisterBrokerRecord {
            in_controlled_shutdown: true,
            log_dirs: directories(),
            cordoned_log_dirs: Some(directories()),
            ..Default::default()
        };
        let partition = PartitionRecord {
            replicas: vec![1, 2],
            isr: vec![1],
            directories: directories(),
            eligible_leader_replicas: Some(vec![2]),
            last_known_elr: Some(vec![2]),
            ..Default::default()
        };
        let partition_change = PartitionChangeRecord {
            isr: Some(vec![1]),
            leader: 1,
            directories: Some(directories()),
            eligible_leader_replicas: Some(vec![2]),
            last_known_elr: Some(vec![2]),
            ..Default::default()
        };
        let reason = || Some("reason".into());
        vec![
            ("registration", MetadataRecord::RegisterBroker(registration)),
            (
                "fencing",
                MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                    fenced: 1,
                    ..change.clone()
                }),
            ),
            (
                "stopping",
                MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                    in_controlled_shutdown: 1,
                    ..change.clone()
                }),
            ),
            (
                "directories",
                MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                    log_dirs: directories(),
                    ..change.clone()
                }),
            ),
            (
                "cordoned",
                MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                    cordoned_log_dirs: Some(directories()),
                    ..change
                }),
            ),
            ("partition", MetadataRecord::Partition(partition)),
            ("change", MetadataRecord::PartitionChange(partition_change)),
            ("topic", records::TopicRecord { name: "t".into(), topic_id: Uuid(7 << 100) }.into()),
            ("no more topic", records::RemoveTopicRecord::default().into()),
            ("config", records::ConfigRecord { resource_type: 2, ..Default::default() }.into()),
            ("quota", records::ClientQuotaRecord::default().into()),
            ("ids", records::ProducerIdsRecord::default().into()),
            ("feature", records::FeatureLevelRecord::default().into()),
            ("no more broker", records::UnregisterBrokerRecord::default().into()),
            ("acl", records::AccessControlEntryRecord::default().into()),
            ("clear", records::ClearElrRecord::default().into()),
            ("scram", records::UserScramCredentialRecord::default().into()),
            ("token", records::DelegationTokenRecord::default().into()),
            ("controller", records::RegisterControllerRecord::default().into()),
            ("no more controller", records::UnregisterControllerRecord::default().into()),
            ("begin", records::BeginTransactionRecord { name: reason() }.into()),
            ("end", records::EndTransactionRecord {}.into()),
            ("abort", records::AbortTransactionRecord { reason: reason() }.into()),
        ]
    }

    #[test]
    fn at_each_level_records_hold_what_can_be_read_back() {
        // From which level on a record is there, and from which it is whole.
        let mut since: BTreeMap<&str, (i16, i16)> = BTreeMap::new();
        for metadata_version in MetadataVersion::all() {
            for (what, whole) in full() {
                let Some(fitting) = fit(whole.clone(), metadata_version) else { continue };
                let mut writer = Writer::default();
                fitting.encode(version(&fitting, metadata_version), &mut writer);
                assert_eq!(MetadataRecord::decode(&writer.buffer), Ok(fitting.clone()), "{what} at {metadata_version}");
                let level = metadata_version.level();
                let (_, whole_since) = since.entry(what).or_insert((level, 0));
                if fitting == whole && *whole_since == 0 {
                    *whole_since = level;
                }
            }
        }
        let since: BTreeMap<_, _> = since.into_iter().filter(|(_, levels)| *levels != (7, 7)).collect();
        expect![[r#"{"abort": (13, 13), "begin": (13, 13), "change": (7, 23), "clear": (23, 23), "controller": (15, 15), "cordoned": (7, 30), "directories": (7, 17), "end": (13, 13), "no more controller": (33, 33), "partition": (7, 23), "registration": (7, 30), "scram": (11, 11), "token": (14, 14)}"#]].assert_eq(&format!("{since:?}"));
    }
}
