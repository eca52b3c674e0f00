//! The flags of the tool, and what they may be combined with.

use clap::Args;

use super::Failure;
use crate::connection::Connection;

/// What to do with which groups.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    /// How long the cluster may take to answer.
    #[arg(long, value_name = "MS", default_value_t = 30_000, allow_hyphen_values = true)]
    pub timeout: i64,

    /// List the groups of consumers.
    #[arg(long)]
    pub list: bool,
    /// Describe groups: their offsets and how far they lag behind, their members or their state.
    #[arg(long)]
    pub describe: bool,
    /// Delete groups with all their offsets.
    #[arg(long)]
    pub delete: bool,
    /// Change the offsets of groups that have no members. Without --execute this shows what would be done.
    #[arg(long)]
    pub reset_offsets: bool,
    /// Delete the offsets that a group has for topics.
    #[arg(long)]
    pub delete_offsets: bool,
    /// Say whether a regular expression of topics is one.
    #[arg(long, value_name = "REGEX")]
    pub validate_regex: Option<String>,

    /// A group; may be given many times.
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// All groups.
    #[arg(long)]
    pub all_groups: bool,
    /// A topic, also with partitions such as orders:0,1; may be given many times.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// All topics for which a group has offsets.
    #[arg(long)]
    pub all_topics: bool,

    /// With --describe: partitions with offsets and lag, which is the default.
    #[arg(long)]
    pub offsets: bool,
    /// With --describe: the members.
    #[arg(long)]
    pub members: bool,
    /// With --describe: the state. With --list: show states, and list only groups in these, such as stable,empty.
    #[arg(long, value_name = "STATES", num_args = 0..=1, default_missing_value = "")]
    pub state: Option<String>,
    /// With --list: show types, and list only groups of these: classic, consumer.
    #[arg(long = "type", value_name = "TYPES", num_args = 0..=1, default_missing_value = "")]
    pub group_type: Option<String>,
    /// With --describe: show more.
    #[arg(long)]
    pub verbose: bool,

    /// With --reset-offsets: to the first offset there is.
    #[arg(long)]
    pub to_earliest: bool,
    /// With --reset-offsets: to the end.
    #[arg(long)]
    pub to_latest: bool,
    /// With --reset-offsets: to what is committed, and to the end where nothing is.
    #[arg(long)]
    pub to_current: bool,
    /// With --reset-offsets: to this offset.
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    pub to_offset: Option<i64>,
    /// With --reset-offsets: so many records on, or back.
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pub shift_by: Option<i64>,
    /// With --reset-offsets: to the first record since a time: YYYY-MM-DDThh:mm:ss.sss, with Z or ±hh:mm behind it; UTC
    /// otherwise.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to_datetime: Option<String>,
    /// With --reset-offsets: to the first record of the time that has passed since, such as P1DT2H30M.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub by_duration: Option<String>,
    /// With --reset-offsets: to the offsets in a file that --export wrote.
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<String>,
    /// With --reset-offsets: show what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// With --reset-offsets: do it.
    #[arg(long)]
    pub execute: bool,
    /// With --reset-offsets: print CSV that --from-file reads.
    #[arg(long)]
    pub export: bool,
}

/// One of the things to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `--list`
    List,
    /// `--describe`
    Describe,
    /// `--delete`
    Delete,
    /// `--reset-offsets`
    ResetOffsets,
    /// `--delete-offsets`
    DeleteOffsets,
    /// `--validate-regex`
    ValidateRegex,
}

impl Arguments {
    /// The action, where the arguments fit it and each other.
    pub fn check(&self) -> Result<Action, Failure> {
        let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
        if self.connection.bootstrap_server.is_none() && self.validate_regex.is_none() {
            return usage("Missing required argument \"[bootstrap-server]\"");
        }
        if (self.members || self.offsets || self.verbose) && !self.describe {
            return usage("Options --members, --offsets and --verbose are only for --describe");
        }
        if self.state.is_some() && !self.describe && !self.list || self.group_type.is_some() && !self.list {
            return usage("Option --state is only for --describe and --list, and --type only for --list");
        }
        let has_groups = !self.group.is_empty() || self.all_groups;
        for (given, option) in
            [(self.describe, "describe"), (self.delete, "delete"), (self.reset_offsets, "reset-offsets")]
        {
            if given && !has_groups {
                return usage(&format!("Option [{option}] takes one of these options: [group], [all-groups]"));
            }
        }
        if self.describe {
            if [self.members, self.offsets, self.state.is_some()].into_iter().filter(|given| *given).count() > 1 {
                return usage("Option [describe] takes at most one of these options: [members], [offsets], [state]");
            }
            if self.state.as_deref().is_some_and(|states| !states.is_empty()) {
                return usage("Option [describe] does not take a value for [state]");
            }
        }
        if self.delete && !self.topic.is_empty() {
            return usage("The consumer does not support topic-specific offset deletion from a consumer group.");
        }
        if self.delete_offsets && (self.group.is_empty() || self.topic.is_empty()) {
            return usage("Option [delete-offsets] takes the following options: [group], [topic]");
        }
        if self.reset_offsets {
            self.check_reset()?;
        }
        self.check_groups_and_topics()?;
        self.action()
    }

    fn check_reset(&self) -> Result<(), Failure> {
        if self.dry_run && self.execute {
            return Err(Failure::Usage(
                "Option [reset-offsets] only accepts one of [execute] and [dry-run]".to_owned(),
            ));
        }
        let given: Vec<_> = self.scenarios().into_iter().filter(|(given, _)| *given).collect();
        match given[..] {
            [(_, one), (_, other), ..] => {
                Err(Failure::Usage(format!("Option \"[{one}]\" can't be used with option \"[{other}]\"")))
            }
            _ => Ok(()),
        }
    }

    fn check_groups_and_topics(&self) -> Result<(), Failure> {
        let refuse = |used: &str, other: &str| {
            Err(Failure::Usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")))
        };
        if !self.group.is_empty() {
            if self.all_groups {
                return refuse("group", "all-groups");
            }
            if self.list {
                return refuse("group", "list");
            }
        }
        if !self.topic.is_empty() {
            if self.list {
                return refuse("topic", "list");
            }
            if self.describe {
                return refuse("topic", "describe");
            }
        }
        Ok(())
    }

    fn action(&self) -> Result<Action, Failure> {
        let actions = [
            (self.list, Action::List),
            (self.describe, Action::Describe),
            (self.delete, Action::Delete),
            (self.reset_offsets, Action::ResetOffsets),
            (self.delete_offsets, Action::DeleteOffsets),
            (self.validate_regex.is_some(), Action::ValidateRegex),
        ];
        let mut given = actions.into_iter().filter(|(given, _)| *given);
        match (given.next(), given.next()) {
            (Some((_, action)), None) => Ok(action),
            _ => Err(Failure::Usage(
                "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, \
                 --delete-offsets, --validate-regex"
                    .to_owned(),
            )),
        }
    }

    /// The ways to choose new offsets, in the order in which Kafka looks for two of them.
    fn scenarios(&self) -> [(bool, &'static str); 8] {
        [
            (self.to_offset.is_some(), "to-offset"),
            (self.to_datetime.is_some(), "to-datetime"),
            (self.by_duration.is_some(), "by-duration"),
            (self.to_earliest, "to-earliest"),
            (self.to_latest, "to-latest"),
            (self.to_current, "to-current"),
            (self.shift_by.is_some(), "shift-by"),
            (self.from_file.is_some(), "from-file"),
        ]
    }
}
