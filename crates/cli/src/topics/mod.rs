//! `ottla topics`: creates, lists, describes, alters and deletes topics, with the flags and the output of Kafka's
//! kafka-topics.sh.
//!
//! Here are the flags and what they may be combined with; `describe` shows topics, `change` changes them.
//!
//! Differs from Kafka: the log line on stderr that goes with a failure has no stack trace, and wrong usage is answered with
//! one sentence instead of the table of all options.

mod change;
mod describe;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::admin_properties::NoClient;
use crate::client::{Cluster, Error, TopicDescription, Topics};
use crate::connection::{self, Connection};
use crate::topic_filter::TopicFilter;

/// What the tool says on stdout before the reason of a failure.
pub const FAILURE_PREFIX: &str = "Error while executing topic command : ";

/// What to do with which topics.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,

    /// Create a new topic.
    #[arg(long)]
    create: bool,
    /// List all available topics.
    #[arg(long)]
    list: bool,
    /// List details for the given topics.
    #[arg(long)]
    describe: bool,
    /// Alter the number of partitions and the assignment of their replicas.
    #[arg(long)]
    alter: bool,
    /// Delete a topic.
    #[arg(long)]
    delete: bool,

    /// The topic. Also a regular expression, except with --create.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The id of the topic to describe, which wins over its name.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    topic_id: Option<String>,
    /// How many partitions the topic gets, or, with --alter, has afterwards; the cluster's default for a new topic
    /// otherwise. Keys move to other partitions when their number changes.
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    partitions: Option<i32>,
    /// How many replicas each partition of a new topic gets; the cluster's default otherwise.
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    replication_factor: Option<i16>,
    /// The brokers of each partition: colons between the brokers, commas between the partitions, such as 1:2,2:3.
    #[arg(long, value_name = "BROKERS")]
    replica_assignment: Option<String>,
    /// A setting of the new topic; may be given many times.
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// With --alter, --delete and --describe: do nothing where the topic does not exist.
    #[arg(long)]
    if_exists: bool,
    /// With --create: a topic that exists already is no failure.
    #[arg(long)]
    if_not_exists: bool,

    /// With --list and --describe: leave out Kafka's own topics.
    #[arg(long)]
    exclude_internal: bool,
    /// With --describe: only partitions that miss an in-sync replica.
    #[arg(long)]
    under_replicated_partitions: bool,
    /// With --describe: only partitions without a leader that is alive.
    #[arg(long)]
    unavailable_partitions: bool,
    /// With --describe: only partitions with fewer in-sync replicas than min.insync.replicas.
    #[arg(long)]
    under_min_isr_partitions: bool,
    /// With --describe: only partitions with exactly min.insync.replicas in-sync replicas.
    #[arg(long)]
    at_min_isr_partitions: bool,
    /// With --describe: only topics, and of these only those with settings of their own.
    #[arg(long)]
    topics_with_overrides: bool,
    /// With --describe: how many partitions to ask for at once.
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    partition_size_limit_per_response: i32,
}

/// Why the tool ends with a failure.
enum Failure {
    /// The arguments make no sense.
    Usage(String),
    /// How to connect is not said well.
    NoClient(NoClient),
    /// It could not be done.
    Failed(Error),
    /// It could not be done, says the tool itself.
    Refused(String),
}

/// One of the five things to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Create,
    List,
    Describe,
    Alter,
    Delete,
}

/// Does what the arguments say.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut out = Vec::new();
    let done = execute(arguments, &mut out);
    let log = match done {
        Ok(()) => None,
        Err(Failure::Usage(message)) => Some(format!("{message}\nTry 'ottla topics --help'.")),
        Err(Failure::Refused(message)) => {
            say(&mut out, &format!("{FAILURE_PREFIX}{message}"));
            Some(format!("ERROR {message}"))
        }
        Err(Failure::NoClient(error)) => Some(error.told()),
        Err(Failure::Failed(error @ Error::NoAdminClient)) => Some(error.told()),
        Err(Failure::Failed(error)) => {
            say(&mut out, &format!("{FAILURE_PREFIX}{error}"));
            let code = error.code().map_or_else(String::new, |code| format!("{}: ", code.name()));
            Some(format!("ERROR {code}{error}"))
        }
    };
    // A reader that has gone away, such as `head`, is no failure of ours.
    let _ = io::stdout().write_all(&out);
    match log {
        None => ExitCode::SUCCESS,
        Some(log) => {
            eprintln!("{log}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: &Arguments, out: &mut Vec<u8>) -> Result<(), Failure> {
    let action = arguments.check()?;
    let connection = &arguments.connection;
    let bootstrap = connection.bootstrap_server.as_deref().expect("it has been checked that it is there");
    let options = connection.options("ottla-topics").map_err(Failure::NoClient)?;
    if action == Action::Create {
        // What needs no cluster is refused without one.
        let creation = change::Creation::from(arguments)?;
        creation.warn_of_collisions(out);
        let mut cluster = connection::connect(bootstrap, &options, "createTopics")?;
        return change::create(&mut cluster, &creation, arguments.if_not_exists, out);
    }
    let mut cluster = connection::connect(bootstrap, &options, "listTopics")?;
    match action {
        Action::Create => unreachable!("it has been done"),
        Action::List => list(&mut cluster, arguments, out),
        Action::Describe => describe::describe(&mut cluster, arguments, out),
        Action::Alter => change::alter(&mut cluster, arguments),
        Action::Delete => change::delete(&mut cluster, arguments),
    }
}

fn list(cluster: &mut Cluster, arguments: &Arguments, out: &mut Vec<u8>) -> Result<(), Failure> {
    for topic in matching(cluster, arguments)? {
        say(out, &topic.name);
    }
    Ok(())
}

/// The topics that are meant, by name.
fn matching(cluster: &mut Cluster, arguments: &Arguments) -> Result<Vec<TopicDescription>, Failure> {
    let filter = arguments.topic.as_deref().map(TopicFilter::parse).transpose().map_err(Failure::Refused)?;
    let topics = cluster.topics(Topics::All)?;
    let is_meant = |topic: &TopicDescription| {
        !(arguments.exclude_internal && topic.is_internal)
            && filter.as_ref().is_none_or(|filter| filter.allows(&topic.name))
    };
    Ok(topics.into_iter().filter(is_meant).collect())
}

/// The topics that are meant; a failure where one was asked for and there is none, unless `--if-exists`.
fn existing(cluster: &mut Cluster, arguments: &Arguments) -> Result<Vec<TopicDescription>, Failure> {
    let topics = matching(cluster, arguments)?;
    match &arguments.topic {
        Some(topic) if topics.is_empty() && !arguments.if_exists => {
            Err(Failure::Refused(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(topics),
    }
}

/// A line of the tool's output.
fn say(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

impl Arguments {
    /// The action, where the arguments fit it and each other.
    fn check(&self) -> Result<Action, Failure> {
        let usage = |message: String| Err(Failure::Usage(message));
        let actions = [
            (self.create, Action::Create),
            (self.list, Action::List),
            (self.describe, Action::Describe),
            (self.alter, Action::Alter),
            (self.delete, Action::Delete),
        ];
        let mut given = actions.into_iter().filter(|(given, _)| *given);
        let (Some((_, action)), None) = (given.next(), given.next()) else {
            let message = "Command must include exactly one action: --list, --describe, --create, --alter or --delete";
            return usage(message.to_owned());
        };
        if self.connection.bootstrap_server.is_none() {
            return usage("--bootstrap-server must be specified".to_owned());
        }
        let missing = match action {
            Action::Create | Action::Alter | Action::Delete if self.topic.is_none() => Some("topic"),
            Action::Alter if self.partitions.is_none() => Some("partitions"),
            _ => None,
        };
        if let Some(option) = missing {
            return usage(format!("Missing required argument \"[{option}]\""));
        }
        if action == Action::Alter && !self.config.is_empty() {
            return usage(
                "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\" \
                 (To alter topic configurations, the kafka-configs tool can be used.)"
                    .to_owned(),
            );
        }
        for (given, option, allowed) in self.restricted() {
            if given && !allowed.contains(&action) {
                return usage(format!("Option \"[{option}]\" can't be used with option \"[{}]\"", action.name()));
            }
        }
        let assigned = self.replica_assignment.is_some();
        for (given, option) in
            [(self.partitions.is_some(), "partitions"), (self.replication_factor.is_some(), "replication-factor")]
        {
            if action == Action::Create && assigned && given {
                return usage(format!("Option \"[replica-assignment]\" can't be used with option \"[{option}]\""));
            }
        }
        for (given, option) in self.partition_filters() {
            if given && self.topics_with_overrides {
                return usage(format!("Option \"[{option}]\" can't be used with option \"[topics-with-overrides]\""));
            }
        }
        Ok(action)
    }

    /// The options that only some actions take.
    fn restricted(&self) -> impl Iterator<Item = (bool, &'static str, &'static [Action])> {
        use Action::{Alter, Create, Delete, Describe, List};
        let options: [(bool, &'static str, &'static [Action]); 7] = [
            (!self.config.is_empty(), "config", &[Create]),
            (self.partitions.is_some(), "partitions", &[Create, Alter]),
            (self.replication_factor.is_some(), "replication-factor", &[Create]),
            (self.replica_assignment.is_some(), "replica-assignment", &[Create, Alter]),
            (self.topics_with_overrides, "topics-with-overrides", &[Describe]),
            (self.if_exists, "if-exists", &[Alter, Delete, Describe]),
            (self.if_not_exists, "if-not-exists", &[Create]),
        ];
        let internal: [(bool, &'static str, &'static [Action]); 1] =
            [(self.exclude_internal, "exclude-internal", &[List, Describe])];
        let filters = self.partition_filters().map(|(given, option)| (given, option, &[Describe][..]));
        options.into_iter().chain(filters).chain(internal)
    }

    /// The options that choose partitions.
    fn partition_filters(&self) -> [(bool, &'static str); 4] {
        [
            (self.under_replicated_partitions, "under-replicated-partitions"),
            (self.unavailable_partitions, "unavailable-partitions"),
            (self.under_min_isr_partitions, "under-min-isr-partitions"),
            (self.at_min_isr_partitions, "at-min-isr-partitions"),
        ]
    }
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::List => "list",
            Self::Describe => "describe",
            Self::Alter => "alter",
            Self::Delete => "delete",
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
