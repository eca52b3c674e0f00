use super::*;
use ottla_base::{BrokerEpoch, PartitionEpoch};
use ottla_protocol::Writer;
use ottla_protocol::internal::metadata as records;
use ottla_protocol::internal::metadata::MetadataRecord;
use proptest::prelude::*;
use proptest::sample::select;

/// Any record at all, over few names and ids, so that many of them contradict each other.
fn any_record() -> impl Strategy<Value = MetadataRecord<'static>> {
    prop_oneof![8 => topic_record(), 4 => broker_record(), 2 => config_record(), 1 => security_record(), 1 => other_record()]
}

fn topic_id() -> impl Strategy<Value = Uuid> {
    (100u128..106).prop_map(Uuid)
}

fn topic_name() -> impl Strategy<Value = &'static str> {
    select(&["a.b", "a_b", "c", "d", "e-f", "g"][..])
}

fn ids() -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(0i32..4, 0..3)
}

fn topic_record() -> impl Strategy<Value = MetadataRecord<'static>> {
    let partition = (0i32..3, topic_id(), ids(), ids(), -2i32..4, -1i8..3).prop_map(
        |(partition_id, topic_id, replicas, isr, leader, recovery)| {
            records::PartitionRecord {
                partition_id,
                topic_id,
                directories: replicas.iter().map(|id| Uuid(*id as u128)).collect(),
                replicas,
                isr,
                leader,
                leader_recovery_state: recovery,
                leader_epoch: 3,
                partition_epoch: 5,
                ..records::PartitionRecord::default()
            }
            .into()
        },
    );
    let change = (0i32..3, topic_id(), prop::option::of(ids()), prop::option::of(ids()), -2i32..4).prop_map(
        |(partition_id, topic_id, isr, replicas, leader)| {
            records::PartitionChangeRecord {
                partition_id,
                topic_id,
                eligible_leader_replicas: isr.clone(),
                last_known_elr: replicas.clone(),
                isr,
                replicas,
                leader,
                ..records::PartitionChangeRecord::default()
            }
            .into()
        },
    );
    prop_oneof![
        3 => (topic_name(), topic_id()).prop_map(|(name, topic_id)| records::TopicRecord { name: name.into(), topic_id }.into()),
        1 => topic_id().prop_map(|topic_id| records::RemoveTopicRecord { topic_id }.into()),
        1 => prop_oneof![topic_name(), Just("")].prop_map(|name| records::ClearElrRecord { topic_name: name.into() }.into()),
        4 => partition,
        3 => change,
    ]
}

fn broker_record() -> impl Strategy<Value = MetadataRecord<'static>> {
    let directories = || prop::collection::vec((100u128..104).prop_map(Uuid), 0..3);
    let register = (0i32..3, 0i64..3, prop::option::of("[ab]"), directories(), prop::option::of(directories()))
        .prop_map(|(broker_id, broker_epoch, rack, log_dirs, cordoned_log_dirs)| {
            let endpoint = records::register_broker_record::EndPoint {
                name: "PLAINTEXT".into(),
                host: "localhost".into(),
                port: 9092,
                security_protocol: 0,
            };
            let feature = records::register_broker_record::Feature {
                name: METADATA_VERSION.into(),
                min_supported_version: 7,
                max_supported_version: 33,
            };
            records::RegisterBrokerRecord {
                broker_id,
                broker_epoch,
                rack: rack.map(Into::into),
                log_dirs,
                cordoned_log_dirs,
                end_points: vec![endpoint],
                features: vec![feature],
                ..records::RegisterBrokerRecord::default()
            }
            .into()
        });
    let change = (0i32..3, 0i64..3, -1i8..3, 0i8..3, directories()).prop_map(
        |(broker_id, broker_epoch, fenced, in_controlled_shutdown, log_dirs)| {
            records::BrokerRegistrationChangeRecord {
                broker_id,
                broker_epoch,
                fenced,
                in_controlled_shutdown,
                cordoned_log_dirs: Some(log_dirs.clone()),
                log_dirs,
            }
            .into()
        },
    );
    prop_oneof![
        register,
        change,
        (0i32..3, 0i64..3).prop_map(|(id, epoch)| records::FenceBrokerRecord { id, epoch }.into()),
        (0i32..3, 0i64..3).prop_map(|(id, epoch)| records::UnfenceBrokerRecord { id, epoch }.into()),
        (0i32..3, 0i64..3).prop_map(|(broker_id, broker_epoch)| {
            records::UnregisterBrokerRecord { broker_id, broker_epoch }.into()
        }),
        (0i32..3).prop_map(|controller_id| {
            records::RegisterControllerRecord { controller_id, ..records::RegisterControllerRecord::default() }.into()
        }),
        (0i32..3).prop_map(|controller_id| records::UnregisterControllerRecord { controller_id }.into()),
    ]
}

fn config_record() -> impl Strategy<Value = MetadataRecord<'static>> {
    let resource_type = select(&[2i8, 4, 5, 16, 32][..]);
    (resource_type, topic_name(), "[xy]", prop::option::of("[12]")).prop_map(|(resource_type, resource, key, value)| {
        records::ConfigRecord {
            resource_type,
            resource_name: resource.into(),
            name: key.into(),
            value: value.map(Into::into),
        }
        .into()
    })
}

fn security_record() -> impl Strategy<Value = MetadataRecord<'static>> {
    prop_oneof![
        topic_id().prop_map(|id| {
            records::AccessControlEntryRecord {
                id,
                principal: "User:u".into(),
                ..records::AccessControlEntryRecord::default()
            }
            .into()
        }),
        topic_id().prop_map(|id| records::RemoveAccessControlEntryRecord { id }.into()),
        ("[uv]", 1i8..3).prop_map(|(name, mechanism)| {
            let salt = vec![1, 2].into();
            records::UserScramCredentialRecord {
                name: name.into(),
                mechanism,
                salt,
                iterations: 4096,
                ..records::UserScramCredentialRecord::default()
            }
            .into()
        }),
        ("[uv]", 1i8..3).prop_map(|(name, mechanism)| {
            records::RemoveUserScramCredentialRecord { name: name.into(), mechanism }.into()
        }),
        "[tk]".prop_map(|id| {
            records::DelegationTokenRecord {
                token_id: id.into(),
                renewers: vec!["User:r".into()],
                ..records::DelegationTokenRecord::default()
            }
            .into()
        }),
        "[tk]".prop_map(|id| records::RemoveDelegationTokenRecord { token_id: id.into() }.into()),
    ]
}

fn other_record() -> impl Strategy<Value = MetadataRecord<'static>> {
    prop_oneof![
        (select(&[METADATA_VERSION, "f"][..]), 0i16..3).prop_map(|(name, feature_level)| records::FeatureLevelRecord {
            name: name.into(),
            feature_level
        }
        .into()),
        (0i64..5000).prop_map(|next_producer_id| {
            records::ProducerIdsRecord { next_producer_id, ..records::ProducerIdsRecord::default() }.into()
        }),
        (select(&["user", "client-id"][..]), prop::option::of("[ab]"), any::<bool>()).prop_map(
            |(kind, name, remove)| {
                let entity = records::client_quota_record::Entity {
                    entity_type: kind.into(),
                    entity_name: name.map(Into::into),
                };
                records::ClientQuotaRecord { entity: vec![entity], key: "rate".into(), value: 2.5, remove }.into()
            }
        ),
        Just(MetadataRecord::BeginTransaction(records::BeginTransactionRecord { name: None })),
        Just(MetadataRecord::EndTransaction(records::EndTransactionRecord {})),
        Just(MetadataRecord::AbortTransaction(records::AbortTransactionRecord { reason: None })),
        Just(MetadataRecord::NoOp(records::NoOpRecord {})),
        Just(MetadataRecord::ZkMigrationState(records::ZkMigrationStateRecord::default())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_snapshot_makes_the_same_image_and_a_refused_record_changes_nothing(records in prop::collection::vec(any_record(), 0..120)) {
        let mut image = Image::new("cluster");
        let mut applied = 0;
        for record in records {
            let before = image.clone();
            let at = image.end();
            match image.apply(at, &record) {
                Ok(()) => applied += 1,
                Err(_) => prop_assert_eq!(&image, &before, "{:?}", record),
            }
            image.topics.check();
        }
        prop_assert_eq!(image.end(), Offset(applied));
        if image.is_in_transaction() {
            image.apply(image.end(), &MetadataRecord::EndTransaction(records::EndTransactionRecord {})).unwrap();
        }

        let mut written = Writer::default();
        let mut ends = Vec::new();
        for record in image.snapshot() {
            record.encode(crate::records::version(&record, image.metadata_version()), &mut written);
            ends.push(written.buffer.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let values: Vec<_> = starts.zip(&ends).map(|(start, end)| &written.buffer[start..*end]).collect();
        let read = values.into_iter().map(|value| MetadataRecord::decode(value).expect("just written"));
        prop_assert_eq!(Image::from_snapshot("cluster", image.end(), image.epoch(), read), Ok(image));
    }
}

fn apply_all(image: &mut Image, records: impl IntoIterator<Item = MetadataRecord<'static>>) {
    for record in records {
        image.apply(image.end(), &record).expect("it follows from what came before");
    }
}

fn topic(name: &'static str, id: u128) -> MetadataRecord<'static> {
    records::TopicRecord { name: name.into(), topic_id: Uuid(id) }.into()
}

fn partition(id: u128, index: i32) -> MetadataRecord<'static> {
    let partition = Partition {
        replicas: vec![BrokerId(1)],
        isr: vec![BrokerId(1)],
        directories: vec![Uuid(200)],
        leader: Some(BrokerId(1)),
        ..Partition::default()
    };
    partition_record(Uuid(id), PartitionIndex(index), &partition).into()
}

#[test]
fn a_change_of_leader_counts_both_epochs_up_and_others_only_that_of_the_partition() {
    let mut image = Image::new("c");
    apply_all(&mut image, [topic("t", 100), partition(100, 0)]);
    let change = records::PartitionChangeRecord { topic_id: Uuid(100), partition_id: 0, ..Default::default() };
    apply_all(&mut image, [records::PartitionChangeRecord { leader: -1, ..change.clone() }.into()]);
    let seen = image.partition("t", PartitionIndex(0)).expect("it exists");
    assert_eq!((seen.leader, seen.leader_epoch, seen.partition_epoch), (None, LeaderEpoch(1), PartitionEpoch(1)));
    apply_all(&mut image, [records::PartitionChangeRecord { isr: Some(vec![]), ..change }.into()]);
    let seen = image.partition("t", PartitionIndex(0)).expect("it exists");
    assert_eq!((seen.leader_epoch, seen.partition_epoch), (LeaderEpoch(1), PartitionEpoch(2)));
}

#[test]
fn an_aborted_transaction_leaves_no_trace() {
    let mut image = Image::new("c");
    apply_all(&mut image, [topic("kept", 100)]);
    let before = image.clone();
    let begin = MetadataRecord::BeginTransaction(records::BeginTransactionRecord { name: None });
    apply_all(&mut image, [begin, topic("gone", 101), partition(100, 0)]);
    assert!(image.is_in_transaction());
    apply_all(&mut image, [MetadataRecord::AbortTransaction(records::AbortTransactionRecord { reason: None })]);
    assert_eq!(image.end(), Offset(5));
    assert_eq!(image, Image { end: Offset(5), ..before });
}

#[test]
fn the_configs_of_a_topic_go_with_it() {
    let mut image = Image::new("c");
    let config = |resource: &'static str, value: Option<&'static str>| records::ConfigRecord {
        resource_type: 2,
        resource_name: resource.into(),
        name: "retention.ms".into(),
        value: value.map(Into::into),
    };
    apply_all(
        &mut image,
        [topic("t", 100), topic("u", 101), config("t", Some("5")).into(), config("u", Some("6")).into()],
    );
    apply_all(&mut image, [records::RemoveTopicRecord { topic_id: Uuid(100) }.into(), config("u", None).into()]);
    assert!(image.configs().is_empty());
}

#[test]
fn a_broker_is_reached_where_it_listens_while_it_is_not_fenced() {
    let mut image = Image::new("c");
    let endpoint = records::register_broker_record::EndPoint {
        name: "EXTERNAL".into(),
        host: "h".into(),
        port: 1,
        security_protocol: 0,
    };
    let register = records::RegisterBrokerRecord {
        broker_id: 1,
        broker_epoch: 7,
        end_points: vec![endpoint],
        ..Default::default()
    };
    apply_all(&mut image, [register.into()]);
    assert_eq!(image.endpoint(BrokerId(1), "EXTERNAL"), None);
    assert_eq!(image.alive_brokers().count(), 0);
    apply_all(&mut image, [records::UnfenceBrokerRecord { id: 1, epoch: 7 }.into()]);
    assert_eq!(image.endpoint(BrokerId(1), "external").map(|endpoint| endpoint.port), Some(1));
    assert_eq!(image.endpoint(BrokerId(1), "OTHER"), None);
    assert_eq!(image.broker(BrokerId(1)).map(|broker| broker.epoch), Some(BrokerEpoch(7)));
}
