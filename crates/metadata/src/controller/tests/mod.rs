//! Commands in, records and answers out.

mod administration;
mod configs;
mod directories;
mod kept;
mod levels;
mod lifecycle;
mod random_commands;
mod topics;

use std::fmt::Write as _;

use expect_test::Expect;
use ottla_base::{BrokerEpoch, BrokerId, Now, Outcome, PartitionIndex, Shard, Uuid};
use ottla_protocol::internal::metadata::{FeatureLevelRecord, MetadataRecord};

use super::*;
use crate::image::{Endpoint, FeatureRange};
use crate::settings::group::GroupLimits;
use crate::settings::{Check, Dynamic, Kind};
use crate::version::MetadataVersion;

const CLUSTER_ID: &str = "8xGTRnzSSFyi9XrNrzr05A";

/// Two keys of brokers, of which one is a list.
const BROKER_SETTINGS: &[Setting] = &[
    Setting::new(Kind::List, "log.cleanup.policy", Some("delete"), Check::Any, Dynamic::ClusterWide),
    Setting::new(Kind::Int, "log.cleaner.threads", Some("1"), Check::Any, Dynamic::ClusterWide),
];

/// A controller whose records are committed at once.
struct Cluster {
    controller: Controller,
    /// All that was ever written, and for which metadata.version.
    log: Vec<(OwnedRecord, MetadataVersion)>,
}

impl Cluster {
    /// A log without records.
    fn empty() -> Self {
        Self { controller: Controller::new(Image::new(CLUSTER_ID), BROKER_SETTINGS), log: Vec::new() }
    }

    /// A new cluster of these brokers, all active.
    fn of_brokers(ids: impl IntoIterator<Item = i32>) -> Self {
        Self::begun(Bootstrap::new(1), ids)
    }

    /// A new cluster that was formatted with what is spoken by default with this level of metadata.version.
    fn at(level: i16, ids: impl IntoIterator<Item = i32>) -> Self {
        let metadata_version = MetadataVersion::new(level).expect("it is spoken");
        let records = feature_records(&Bootstrap::default_levels(metadata_version));
        Self::begun(Bootstrap::of(records, 1).expect("it has a metadata.version"), ids)
    }

    fn begun(bootstrap: Bootstrap, ids: impl IntoIterator<Item = i32>) -> Self {
        let mut cluster = Self::empty();
        cluster.run(Command::Bootstrap(bootstrap));
        for id in ids {
            cluster.start(id, None);
        }
        cluster
    }

    /// Registers a broker and lets it lead.
    fn start(&mut self, id: i32, clean_epoch: Option<BrokerEpoch>) -> String {
        let (answer, mut written) = self.run(Command::RegisterBroker(registration(id, clean_epoch)));
        let Answer::RegisterBroker(Ok(epoch)) = answer else { panic!("{answer:?}") };
        let (answer, more) = self.run(Command::UnfenceBroker(UnfenceBroker { id: BrokerId(id), epoch }));
        assert_eq!(answer, Answer::UnfenceBroker(Ok(())));
        written.push_str(&more);
        written
    }

    /// Decides, commits, and shows what was written.
    fn run(&mut self, command: Command) -> (Answer, String) {
        let Outcome { records, notes, effects } =
            self.controller.decide(Now::at_ms(0), Input { ticket: Ticket(7), command });
        assert!(notes.is_empty());
        let mut written = String::new();
        let metadata_version = self.controller.image().metadata_version();
        for record in records {
            self.controller.replay(self.controller.image().end(), &record);
            writeln!(written, "{}", show(&record, metadata_version)).unwrap();
            self.log.push((record, metadata_version));
        }
        self.controller.check();
        match <[Effect; 1]>::try_from(effects) {
            Ok([Effect::Answer { ticket: Ticket(7), answer }]) => (answer, written),
            other => panic!("one answer for ticket 7: {other:?}"),
        }
    }

    /// Holds a command's answer and records against what is expected.
    fn check(&mut self, command: Command, expected: &Expect) {
        let (answer, written) = self.run(command);
        expected.assert_eq(&format!("{}{written}", show_answer(&answer)));
    }

    fn image(&self) -> &Image {
        self.controller.image()
    }

    fn epoch_of(&self, id: i32) -> BrokerEpoch {
        self.image().broker(BrokerId(id)).expect("it is registered").epoch
    }
}

/// A cluster that was formatted with these levels.
fn bootstrap(levels: &[(&str, i16)]) -> Bootstrap {
    let levels: Vec<_> = levels.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
    Bootstrap::of(feature_records(&levels), 1).expect("they name a metadata.version")
}

fn registration(id: i32, clean_epoch: Option<BrokerEpoch>) -> RegisterBroker {
    let endpoint =
        Endpoint { listener: "PLAINTEXT".to_owned(), host: "localhost".to_owned(), port: 9092, security_protocol: 0 };
    let feature = |name: &str, min, max| (name.to_owned(), FeatureRange { min, max });
    RegisterBroker {
        id: BrokerId(id),
        cluster_id: CLUSTER_ID.to_owned(),
        incarnation_id: Uuid(clean_epoch.map_or(2000, |epoch| 2001 + epoch.0 as u128)),
        endpoints: vec![endpoint],
        features: [feature("metadata.version", 7, 33), feature("eligible.leader.replicas.version", 0, 1)].into(),
        rack: None,
        log_dirs: vec![Uuid(1000 + id as u128)],
        clean_epoch,
    }
}

/// What groups may be set to with the brokers' defaults.
fn group_limits() -> std::sync::Arc<GroupLimits> {
    let number = |key: &str| match key {
        _ if key.contains("min.heartbeat") => 5000,
        _ if key.contains("max.heartbeat") => 15_000,
        _ if key.contains("min.session") => 45_000,
        _ if key.contains("max.session") => 60_000,
        _ if key.contains(".min.") => 0,
        _ => 10_000,
    };
    std::sync::Arc::new(GroupLimits::new(number, vec!["sticky".to_owned()]))
}

fn new_topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions, replication_factor, assignments: Vec::new(), configs: Vec::new() }
}

fn create(topics: impl IntoIterator<Item = NewTopic>) -> Command {
    Command::CreateTopics(CreateTopics {
        topics: topics.into_iter().collect(),
        validate_only: false,
        default_partitions: 1,
        default_replication_factor: 1,
        seed: 3,
    })
}

fn show_answer(answer: &Answer) -> String {
    let mut shown = String::new();
    let mut line = |what: &str, result: Result<String, &Refusal>| match result {
        Ok(text) => writeln!(shown, "{what}: {text}").unwrap(),
        Err(Refusal { error, message: Some(message) }) => {
            writeln!(shown, "{what}: {} {message}", *error as i16).unwrap();
        }
        Err(Refusal { error, message: None }) => writeln!(shown, "{what}: {}", *error as i16).unwrap(),
    };
    match answer {
        Answer::Bootstrap => line("bootstrap", Ok("ok".to_owned())),
        Answer::RegisterBroker(result) => line("epoch", result.as_ref().map(ToString::to_string)),
        Answer::UnfenceBroker(result)
        | Answer::FenceBroker(result)
        | Answer::FailDirectories(result)
        | Answer::CordonDirectories(result)
        | Answer::AssignDirectories(result) => {
            line("broker", ok(result));
        }
        Answer::CreateTopics(results) => {
            for CreateTopicsResult { name, result } in results {
                let created = result.as_ref().map(|created| {
                    format!("{} partitions of {} {:?}", created.partitions, created.replication_factor, created.configs)
                });
                line(name, created);
            }
        }
        Answer::CreatePartitions(results) => {
            results.iter().for_each(|topic| line(&topic.name, ok(&topic.result)));
        }
        Answer::DeleteTopics(results) => {
            for topic in results {
                let id = if topic.id.is_zero() { "no id" } else { "id" };
                let name = topic.name.as_deref().unwrap_or("no name");
                line(&format!("{name}, {id}"), ok(&topic.result));
            }
        }
        Answer::AlterConfigs(results) => {
            for altered in results {
                let resource = format!("{} {:?}", altered.resource_type, altered.name);
                line(&resource, ok(&altered.result));
            }
        }
        Answer::UnregisterBroker(result) => line("broker", ok(result)),
        Answer::UpdateFeatures(result) => line("features", ok(result)),
        Answer::AlterClientQuotas(results) => {
            for altered in results {
                line(&format!("{:?}", altered.entity), ok(&altered.result));
            }
        }
        Answer::ElectLeaders(results) => {
            for ElectedLeaders { topic, partitions } in results {
                line(topic, Ok(format!("{} partitions", partitions.len())));
                partitions.iter().for_each(|(index, result)| line(&format!("{topic}-{index}"), ok(result)));
            }
        }
        Answer::AlterPartitionReassignments(results) => {
            for ReassignedTopic { name, partitions } in results {
                partitions.iter().for_each(|(index, result)| line(&format!("{name}-{index}"), ok(result)));
            }
        }
        Answer::AllocateProducerIds(result) => {
            line("ids", result.as_ref().map(|block| format!("{} from {}", block.count, block.first)));
        }
    }
    shown
}

fn ok(result: &Result<(), Refusal>) -> Result<String, &Refusal> {
    result.as_ref().map(|()| "ok".to_owned())
}

/// A record in one line: what the tests are about, without ids that are drawn.
fn show(record: &OwnedRecord, metadata_version: MetadataVersion) -> String {
    let version = crate::records::version(record, metadata_version);
    match record {
        MetadataRecord::Topic(topic) => format!("Topic {version} {}", topic.name),
        MetadataRecord::Partition(p) => format!(
            "Partition {version} {} on {:?} isr {:?} leader {} epochs {} {} in {:?}",
            p.partition_id, p.replicas, p.isr, p.leader, p.leader_epoch, p.partition_epoch, p.directories
        ),
        MetadataRecord::PartitionChange(p) if p.replicas.is_some() || p.adding_replicas.is_some() => format!(
            "PartitionChange {version} {} replicas {:?} adding {:?} removing {:?} isr {:?} leader {} in {:?}",
            p.partition_id, p.replicas, p.adding_replicas, p.removing_replicas, p.isr, p.leader, p.directories
        ),
        MetadataRecord::PartitionChange(p) => format!(
            "PartitionChange {version} {} isr {:?} leader {} recovery {} eligible {:?} last known {:?}",
            p.partition_id, p.isr, p.leader, p.leader_recovery_state, p.eligible_leader_replicas, p.last_known_elr
        ),
        MetadataRecord::RemoveTopic(_) => format!("RemoveTopic {version}"),
        MetadataRecord::Config(c) => {
            format!("Config {version} {} {:?} {} = {:?}", c.resource_type, c.resource_name, c.name, c.value)
        }
        MetadataRecord::ClientQuota(q) => {
            let part = |e: &ottla_protocol::internal::metadata::client_quota_record::Entity<'_>| {
                format!("{}={}", e.entity_type, e.entity_name.as_deref().unwrap_or("<default>"))
            };
            let entity: Vec<_> = q.entity.iter().map(part).collect();
            let value = if q.remove { "away".to_owned() } else { q.value.to_string() };
            format!("ClientQuota {version} {} {} = {value}", entity.join(" "), q.key)
        }
        MetadataRecord::RegisterBroker(b) => {
            format!("RegisterBroker {version} {} epoch {} fenced {}", b.broker_id, b.broker_epoch, b.fenced)
        }
        MetadataRecord::BrokerRegistrationChange(b) if b.cordoned_log_dirs.is_some() => {
            format!("BrokerRegistrationChange {version} {} cordoned {:?}", b.broker_id, b.cordoned_log_dirs)
        }
        MetadataRecord::BrokerRegistrationChange(b) => format!(
            "BrokerRegistrationChange {version} {} epoch {} fenced {} in controlled shutdown {}",
            b.broker_id, b.broker_epoch, b.fenced, b.in_controlled_shutdown
        ),
        other => format!("{other:?} {version}"),
    }
}
