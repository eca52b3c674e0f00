//! Random commands: whatever is asked, the log tells the whole story.

use ottla_protocol::Writer;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn name() -> impl Strategy<Value = String> {
    select(&["a.b", "a_b", "c", "d"][..]).prop_map(str::to_owned)
}

fn broker() -> impl Strategy<Value = BrokerId> {
    (0i32..4).prop_map(BrokerId)
}

fn administration() -> impl Strategy<Value = Command> {
    let quota = (
        prop::collection::vec(
            (select(&["user", "client-id", "ip"][..]), prop::option::of(select(&["a", ""][..]))),
            0..3,
        ),
        prop::collection::vec((select(&["producer_byte_rate", "x"][..]), prop::option::of(0i32..3)), 0..3),
        any::<bool>(),
    );
    let quota = quota.prop_map(|(entity, changes, validate_only)| {
        let part = |(kind, name): (&str, Option<&str>)| (kind.to_owned(), name.map(str::to_owned));
        let change =
            |(key, value): (&str, Option<i32>)| QuotaChange { key: key.to_owned(), value: value.map(f64::from) };
        let entry = QuotaAlteration {
            entity: entity.into_iter().map(part).collect(),
            changes: changes.into_iter().map(change).collect(),
        };
        let entries = vec![entry];
        Command::AlterClientQuotas(AlterClientQuotas { entries, validate_only, unresolved: BTreeSet::new() })
    });
    let index = || (0i32..3).prop_map(PartitionIndex);
    let elect = (any::<bool>(), prop::option::of((name(), index()))).prop_map(|(preferred, one)| {
        let election = if preferred { Election::Preferred } else { Election::Unclean };
        let topics = one.map(|(name, index)| vec![(name, vec![index])]);
        Command::ElectLeaders(ElectLeaders { election, topics })
    });
    let target = prop::option::of(prop::collection::vec(broker(), 0..4));
    let reassign = (name(), index(), target, any::<bool>()).prop_map(|(name, index, target, may)| {
        let topics = vec![TopicReassignment { name, partitions: vec![(index, target)] }];
        let command = AlterPartitionReassignments { topics, allow_replication_factor_change: may };
        Command::AlterPartitionReassignments(command)
    });
    let level = prop_oneof![
        1 => (-1i16..3).prop_map(|level| ("eligible.leader.replicas.version", level)),
        1 => (6i16..35).prop_map(|level| ("metadata.version", level)),
    ];
    let features = (level, 0i8..5, any::<bool>()).prop_map(|((feature, level), upgrade_type, validate_only)| {
        let feature = feature.to_owned();
        let supported = registration(1, None).features;
        let updates = vec![FeatureUpdate { feature, level, upgrade_type }];
        Command::UpdateFeatures(UpdateFeatures {
            updates,
            validate_only,
            controller: 1,
            supported,
            min_in_sync_replicas: 1,
        })
    });
    prop_oneof![
        2 => quota,
        2 => elect,
        4 => reassign,
        1 => features,
        1 => broker().prop_map(|id| Command::UnregisterBroker(UnregisterBroker { id })),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let epoch = || (0i64..40).prop_map(BrokerEpoch);
    let configs = || {
        let key = select(
            &["retention.ms", "min.insync.replicas", "unclean.leader.election.enable", "interval.ms", "nope"][..],
        );
        let value = prop::option::of(select(&["1", "2", "true"][..]));
        prop::collection::vec((key.prop_map(str::to_owned), value.prop_map(|value| value.map(str::to_owned))), 0..3)
    };
    let assignments =
        || prop::collection::vec(((0i32..3).prop_map(PartitionIndex), prop::collection::vec(broker(), 0..3)), 0..3);
    let topic = (name(), -1i32..4, -1i16..4, assignments(), configs()).prop_map(
        |(name, partitions, replication_factor, assignments, configs)| {
            let given = !assignments.is_empty();
            NewTopic {
                name,
                partitions: if given { -1 } else { partitions },
                replication_factor: if given { -1 } else { replication_factor },
                assignments,
                configs,
            }
        },
    );
    let create =
        (prop::collection::vec(topic, 1..3), any::<bool>(), any::<u64>()).prop_map(|(topics, validate, seed)| {
            Command::CreateTopics(CreateTopics {
                topics,
                validate_only: validate && seed % 4 == 0,
                default_partitions: 2,
                default_replication_factor: 1,
                seed,
            })
        });
    let grow = (name(), 0i32..6, any::<u64>()).prop_map(|(name, count, seed)| {
        let topics = vec![MorePartitions { name, count, assignments: None }];
        Command::CreatePartitions(CreatePartitions { topics, validate_only: false, seed })
    });
    let delete = prop::collection::vec(name(), 1..3).prop_map(|names| {
        let topics = names.into_iter().map(|name| TopicReference { name: Some(name), id: Uuid::ZERO });
        Command::DeleteTopics(DeleteTopics { topics: topics.collect() })
    });
    let alter = (select(&[2i8, 4, 16, 32][..]), prop_oneof![name(), Just(String::new())], configs()).prop_map(
        |(resource_type, name, configs)| {
            let change = ResourceChange::Replace(configs);
            let resources = vec![ResourceAlteration { resource_type, name, change }];
            Command::AlterConfigs(AlterConfigs { resources, validate_only: false, group_limits: group_limits() })
        },
    );
    let register = (0i32..4, prop::option::of(epoch()), any::<u64>()).prop_map(|(id, clean, incarnation)| {
        let incarnation_id = Uuid(u128::from(incarnation % 3) + 100);
        Command::RegisterBroker(RegisterBroker { incarnation_id, ..registration(id, clean) })
    });
    prop_oneof![
        6 => create,
        2 => grow,
        2 => delete,
        2 => alter,
        3 => register,
        5 => broker().prop_map(|id| Command::UnfenceBroker(UnfenceBroker { id, epoch: BrokerEpoch(-1) })),
        2 => (broker(), any::<bool>()).prop_map(|(id, controlled_shutdown)| {
            Command::FenceBroker(FenceBroker { id, epoch: BrokerEpoch(-1), controlled_shutdown })
        }),
        1 => (broker(), epoch()).prop_map(|(broker, epoch)| Command::AllocateProducerIds(AllocateProducerIds { broker, epoch })),
        1 => Just(Command::Bootstrap(Bootstrap::new(1))),
        10 => administration(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_log_and_its_snapshot_make_the_image_that_the_controller_has(
        commands in prop::collection::vec(command(), 0..60),
        level in prop::option::of(7i16..34),
    ) {
        let mut cluster = level.map_or_else(Cluster::empty, |level| Cluster::at(level, [0, 1]));
        for mut command in commands {
            // An epoch of -1 stands for the right one.
            if let Command::UnfenceBroker(UnfenceBroker { id, epoch }) | Command::FenceBroker(FenceBroker { id, epoch, .. }) = &mut command {
                *epoch = cluster.image().broker(*id).map_or(*epoch, |broker| broker.epoch);
            }
            // Before the first records nobody asks for others.
            let is_begun = cluster.image().feature("metadata.version") != 0;
            if !is_begun && matches!(command, Command::UpdateFeatures(_)) {
                continue;
            }
            let before = cluster.image().clone();
            let (_, written) = cluster.run(command);
            prop_assert!(!written.is_empty() || *cluster.image() == before);
        }

        let mut from_log = Image::new(CLUSTER_ID);
        for (record, metadata_version) in &cluster.log {
            let mut writer = Writer::default();
            record.encode(crate::records::version(record, *metadata_version), &mut writer);
            let read = MetadataRecord::decode(&writer.buffer).expect("just written");
            prop_assert_eq!(&read, record, "no field is lost in the version that is written");
            from_log.apply(from_log.end(), &read).expect("it was applied before");
        }
        prop_assert_eq!(&from_log, cluster.image());

        let image = cluster.image();
        let values = image.snapshot().map(|record| {
            let mut writer = Writer::default();
            record.encode(crate::records::version(&record, image.metadata_version()), &mut writer);
            writer.buffer
        });
        let values: Vec<Vec<u8>> = values.collect();
        let read = values.iter().map(|value| MetadataRecord::decode(value).expect("just written"));
        prop_assert_eq!(&Image::from_snapshot(CLUSTER_ID, image.end(), image.epoch(), read).unwrap(), image);
    }
}
