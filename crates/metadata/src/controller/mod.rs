//! The controller: decides what is written to the metadata log. One file a command.
//!
//! ```text
//!   Input { ticket, command } --decide--> records    appended as one unit, then replayed into the image
//!                                         effects    Answer { ticket, answer }, sent once the records are committed
//! ```
//!
//! Each command works on a draft: a copy of the image to which its own records are applied as it goes, so that a later
//! step sees what an earlier one decided. Nothing of it reaches the controller's own image but by `replay`.

mod allocate_producer_ids;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod assign_directories;
mod bootstrap;
mod cordon_directories;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod draft;
mod elect_leaders;
mod elections;
mod fail_directories;
mod fence_broker;
mod kept;
mod min_in_sync_replicas;
mod register_broker;
mod replica_lists;
#[cfg(test)]
mod tests;
mod unfence_broker;
mod unregister_broker;
mod update_features;

use std::collections::BTreeSet;

use ottla_base::{LeaderEpoch, Now, Offset, Outcome, Shard};
use ottla_protocol::error::ErrorCode;

use crate::image::Image;
use crate::records::OwnedRecord;
use crate::settings::Setting;

pub use allocate_producer_ids::{AllocateProducerIds, PRODUCER_ID_BLOCK, ProducerIdBlock};
pub use alter_client_quotas::{
    AlterClientQuotas, AlteredQuotas, CLIENT_ID, CONNECTION_CREATION_RATE, IP, QuotaAlteration, QuotaChange, USER,
};
pub use alter_configs::{
    AlterConfigs, AlteredResource, ConfigEdit, ConfigOperation, ResourceAlteration, ResourceChange,
};
pub use alter_partition_reassignments::{AlterPartitionReassignments, ReassignedTopic, TopicReassignment};
pub use assign_directories::{AssignDirectories, PlacedReplica};
pub use bootstrap::{Bootstrap, feature_records};
pub use cordon_directories::{CordonDirectories, may_cordon};
pub use create_partitions::{CreatePartitions, CreatePartitionsResult, MorePartitions};
pub use create_topics::{CreateTopics, CreateTopicsResult, CreatedTopic, NewTopic};
pub use delete_topics::{DeleteTopics, DeleteTopicsResult, TopicReference};
pub use elect_leaders::{ElectLeaders, ElectedLeaders, Election};
pub use fail_directories::FailDirectories;
pub use fence_broker::FenceBroker;
pub use register_broker::RegisterBroker;
pub use unfence_broker::UnfenceBroker;
pub use unregister_broker::UnregisterBroker;
pub use update_features::{FeatureUpdate, NEEDS_METADATA_VERSION, UpdateFeatures, UpgradeType, check_needs};

use draft::Draft;

/// Partitions that one request may create (KIP-599 leaves the number to the broker).
pub const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;
/// Records that one request of a user may lead to.
pub const MAX_RECORDS_PER_REQUEST: usize = 10_000;

/// Decides over the metadata log.
pub struct Controller {
    image: Image,
    broker_settings: &'static [Setting],
}

/// Names a request to the host that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A command, and for whom its answer is.
pub struct Input {
    /// Comes back with the answer.
    pub ticket: Ticket,
    /// What is asked.
    pub command: Command,
}

/// What can be asked of the controller.
#[derive(Clone, Debug)]
pub enum Command {
    /// Write the first records of a new cluster.
    Bootstrap(Bootstrap),
    /// Register a broker's process.
    RegisterBroker(RegisterBroker),
    /// Let a registered broker lead.
    UnfenceBroker(UnfenceBroker),
    /// Take leaderships and ISRs from a broker that stops or is gone.
    FenceBroker(FenceBroker),
    /// Take leaderships from a broker in log directories that failed.
    FailDirectories(FailDirectories),
    /// Give no new replicas to some of its directories.
    CordonDirectories(CordonDirectories),
    /// Note in which log directories a broker's replicas lie.
    AssignDirectories(AssignDirectories),
    /// Create topics.
    CreateTopics(CreateTopics),
    /// Add partitions to topics.
    CreatePartitions(CreatePartitions),
    /// Delete topics.
    DeleteTopics(DeleteTopics),
    /// Change configs.
    AlterConfigs(AlterConfigs),
    /// Hand out producer ids.
    AllocateProducerIds(AllocateProducerIds),
    /// Change quotas.
    AlterClientQuotas(AlterClientQuotas),
    /// Elect leaders.
    ElectLeaders(ElectLeaders),
    /// Give partitions other replicas.
    AlterPartitionReassignments(AlterPartitionReassignments),
    /// Go by other levels of features.
    UpdateFeatures(UpdateFeatures),
    /// Forget a broker.
    UnregisterBroker(UnregisterBroker),
}

/// What the controller answers, each as the command of its name asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The first records are written, or were before.
    Bootstrap,
    /// The broker's epoch.
    RegisterBroker(Result<ottla_base::BrokerEpoch, Refusal>),
    /// The broker may lead.
    UnfenceBroker(Result<(), Refusal>),
    /// The broker leads nothing.
    FenceBroker(Result<(), Refusal>),
    /// The broker leads nothing in those directories.
    FailDirectories(Result<(), Refusal>),
    /// They are noted.
    CordonDirectories(Result<(), Refusal>),
    /// It is known where the replicas lie.
    AssignDirectories(Result<(), Refusal>),
    /// One result a topic: in the order of the request, then names that it held more than once.
    CreateTopics(Vec<CreateTopicsResult>),
    /// One result a topic: names that the request held more than once, then the others in its order.
    CreatePartitions(Vec<CreatePartitionsResult>),
    /// One result a topic.
    DeleteTopics(Vec<DeleteTopicsResult>),
    /// One result a resource, in the order of the request.
    AlterConfigs(Vec<AlteredResource>),
    /// A block of ids.
    AllocateProducerIds(Result<ProducerIdBlock, Refusal>),
    /// One result an entity, in the order of the request.
    AlterClientQuotas(Vec<AlteredQuotas>),
    /// One result a topic, in the order of the request, or of the topics' names where all were asked for.
    ElectLeaders(Vec<ElectedLeaders>),
    /// One result a topic, in the order of the request.
    AlterPartitionReassignments(Vec<ReassignedTopic>),
    /// All features are as asked, or none has changed.
    UpdateFeatures(Result<(), Refusal>),
    /// The broker is forgotten.
    UnregisterBroker(Result<(), Refusal>),
}

/// What the host does once the records are committed.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send the answer to whom the ticket names.
    Answer {
        /// That of the input.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
}

/// Why something was not done, for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub error: ErrorCode,
    /// Kafka's words; some answers have none.
    pub message: Option<String>,
}

impl Controller {
    /// A controller that goes on from `image`. `broker_settings` tells the types of the brokers' configs.
    pub fn new(image: Image, broker_settings: &'static [Setting]) -> Self {
        Self { image, broker_settings }
    }

    /// What is decided so far. Readers get a copy.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Notes how far the log goes: control batches take up offsets too.
    pub fn advance(&mut self, end: Offset, epoch: LeaderEpoch) {
        self.image.advance(end, epoch);
    }
}

impl Shard for Controller {
    type Input = Input;
    type Record = OwnedRecord;
    type Note = std::convert::Infallible;
    type Effect = Effect;

    fn decide(&self, _now: Now, input: Input) -> Outcome<Self> {
        let mut draft = Draft::new(&self.image);
        let answer = match input.command {
            Command::Bootstrap(command) => {
                command.decide(&mut draft);
                Answer::Bootstrap
            }
            Command::RegisterBroker(command) => Answer::RegisterBroker(command.decide(&mut draft)),
            Command::UnfenceBroker(command) => Answer::UnfenceBroker(command.decide(&mut draft)),
            Command::FenceBroker(command) => Answer::FenceBroker(command.decide(&mut draft)),
            Command::FailDirectories(command) => Answer::FailDirectories(command.decide(&mut draft)),
            Command::CordonDirectories(command) => Answer::CordonDirectories(command.decide(&mut draft)),
            Command::AssignDirectories(command) => Answer::AssignDirectories(command.decide(&mut draft)),
            Command::CreateTopics(command) => Answer::CreateTopics(command.decide(&mut draft)),
            Command::CreatePartitions(command) => Answer::CreatePartitions(command.decide(&mut draft)),
            Command::DeleteTopics(command) => Answer::DeleteTopics(command.decide(&mut draft)),
            Command::AlterConfigs(command) => Answer::AlterConfigs(command.decide(&mut draft, self.broker_settings)),
            Command::AllocateProducerIds(command) => Answer::AllocateProducerIds(command.decide(&mut draft)),
            Command::AlterClientQuotas(command) => Answer::AlterClientQuotas(command.decide(&mut draft)),
            Command::ElectLeaders(command) => Answer::ElectLeaders(command.decide(&mut draft)),
            Command::AlterPartitionReassignments(command) => {
                Answer::AlterPartitionReassignments(command.decide(&mut draft))
            }
            Command::UpdateFeatures(command) => Answer::UpdateFeatures(command.decide(&mut draft)),
            Command::UnregisterBroker(command) => Answer::UnregisterBroker(command.decide(&mut draft)),
        };
        let effects = vec![Effect::Answer { ticket: input.ticket, answer }];
        Outcome { records: draft.into_records(), notes: Vec::new(), effects }
    }

    fn replay(&mut self, at: Offset, record: &OwnedRecord) {
        self.image.apply(at, record).expect("the record was decided from this image");
    }

    fn note(&mut self, note: Self::Note) {
        match note {}
    }

    fn next_deadline(&self) -> Option<Now> {
        None
    }

    fn check(&self) {
        self.image.check();
    }
}

impl Refusal {
    /// A refusal in words.
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: Some(message.into()) }
    }

    /// A refusal without words.
    pub fn without_words(error: ErrorCode) -> Self {
        Self { error, message: None }
    }
}

/// The names that occur more than once.
fn repeated<'a>(names: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).cloned().collect()
}
