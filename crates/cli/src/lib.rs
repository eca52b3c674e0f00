//! The command line of Ottla: one program, one subcommand a tool, one file a subcommand.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use option_errors::OptionError;
use screen::Screen;

mod admin_properties;
mod allocator;
mod broker;
mod client;
mod configs;
mod connection;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod delete_records;
mod dump_log;
mod get_offsets;
mod internal_records;
mod java_number;
mod java_order;
mod java_text;
mod java_time;
mod log_dirs;
mod option_errors;
mod properties;
mod refusal;
mod screen;
mod storage;
#[cfg(test)]
mod test_line;
mod topic_filter;
mod topics;

/// Apache Kafka in one program: a broker, and the tools to work with it.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, propagate_version = true, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    tool: Option<Tool>,
    #[command(flatten)]
    broker: broker::Arguments,
}

/// The tools. Without any, `ottla` is `ottla broker`.
#[derive(Debug, Subcommand)]
enum Tool {
    /// Run a broker and controller in one process.
    Broker(broker::Arguments),
    /// Create, list, describe, alter and delete topics.
    Topics(topics::Arguments),
    /// Describe and alter the settings of topics, brokers and groups, and the quotas of clients.
    Configs(configs::Arguments),
    /// List and describe groups of consumers, delete them, and change their offsets.
    ConsumerGroups(consumer_groups::Arguments),
    /// Print the offsets of partitions.
    GetOffsets(get_offsets::Arguments),
    /// Delete the records of partitions before an offset.
    DeleteRecords(delete_records::Arguments),
    /// Show what is in the files of a partition.
    DumpLog(dump_log::Arguments),
    /// Show what lies in the log directories of brokers.
    LogDirs(log_dirs::Arguments),
    /// Format log directories, and tell of them.
    Storage(storage::Arguments),
    /// Write lines of text to a topic.
    ConsoleProducer(console_producer::Arguments),
    /// Print the records of topics.
    ConsoleConsumer(console_consumer::Arguments),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = as_kafka_reads(std::env::args_os());
    if let Some(purpose) = purpose(&arguments) {
        eprintln!("{purpose}\nTry 'ottla {} --help'.", arguments[1].display());
        return ExitCode::FAILURE;
    }
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(answer) => {
            if let Some(code) = refuse(&arguments, &answer) {
                return code;
            }
            // Help that nobody can be shown is no failure of ours.
            let _ = answer.print();
            // As Kafka's tools do, and not the 2 that is clap's.
            return if answer.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match cli.tool.unwrap_or(Tool::Broker(cli.broker)) {
        Tool::Broker(arguments) => broker::run(&arguments),
        Tool::Topics(arguments) => topics::run(&arguments),
        Tool::Configs(arguments) => configs::run(&arguments),
        Tool::ConsumerGroups(arguments) => consumer_groups::run(&arguments),
        Tool::GetOffsets(arguments) => get_offsets::run(&arguments),
        Tool::DeleteRecords(arguments) => delete_records::run(&arguments),
        Tool::DumpLog(arguments) => dump_log::run(&arguments),
        Tool::LogDirs(arguments) => log_dirs::run(&arguments),
        Tool::Storage(arguments) => storage::run(&arguments),
        Tool::ConsoleProducer(arguments) => console_producer::run(&arguments),
        Tool::ConsoleConsumer(arguments) => console_consumer::run(&arguments),
    }
}

/// The tools whose options are read by clap's rules: those of Kafka's have another library (argparse4j), or there is none.
const READ_OTHERWISE: [&str; 2] = ["broker", "storage"];

/// What a tool says it is for where it is given nothing at all, which is wrong usage.
const PURPOSES: [(&str, &str); 9] = [
    ("topics", "Create, delete, describe, or change a topic."),
    (
        "configs",
        "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group",
    ),
    (
        "consumer-groups",
        "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer \
         group offsets.",
    ),
    ("get-offsets", "An interactive shell for getting topic-partition offsets."),
    ("delete-records", "This tool helps to delete records of the given partitions down to the specified offset."),
    (
        "dump-log",
        "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log \
         segment.",
    ),
    ("log-dirs", "This tool helps to query log directory usage on the specified brokers."),
    ("console-producer", "This tool helps to read data from standard input and publish it to Kafka."),
    ("console-consumer", "This tool helps to read data from Kafka topics and outputs it to standard output."),
];

/// Options without which tools do not look at what the others hold.
const REQUIRED: [(&str, &str); 4] = [
    ("get-offsets", "bootstrap-server"),
    ("dump-log", "files"),
    ("console-producer", "topic"),
    ("console-consumer", "bootstrap-server"),
];

/// Options that the console consumer looks at once it runs.
const SEEN_WHEN_RUNNING: [&str; 3] = ["topic", "include", "max-messages"];

/// What the tool is for, where it is given no arguments.
fn purpose(arguments: &[OsString]) -> Option<&'static str> {
    let [_, tool] = arguments else { return None };
    PURPOSES.iter().find(|(name, _)| tool == name).map(|(_, purpose)| *purpose)
}

/// The command line as the library of Kafka's tools (joptsimple) has it: words that belong to no option mean nothing, and an
/// option without a value may be given twice.
fn command() -> Command {
    let mut command = Cli::command();
    let names: Vec<String> = command.get_subcommands().map(|tool| tool.get_name().to_owned()).collect();
    for name in names.iter().filter(|name| !READ_OTHERWISE.contains(&name.as_str())) {
        command = command.mut_subcommand(name, |tool| {
            let words = Arg::new("words-that-mean-nothing").hide(true).action(ArgAction::Append);
            tool.arg(words).mut_args(|argument| match argument.get_action() {
                ArgAction::SetTrue => {
                    let itself = argument.get_id().clone();
                    argument.overrides_with(itself)
                }
                _ => argument,
            })
        });
    }
    command
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches))
}

/// Says what is wrong with options in Kafka's words, where the tool has such.
fn refuse(arguments: &[OsString], answer: &clap::Error) -> Option<ExitCode> {
    let tool = arguments.get(1)?.to_str()?;
    if tool == "storage" {
        storage::refuse(arguments, answer)?.show();
        return Some(ExitCode::FAILURE);
    }
    let error = OptionError::of(answer)?;
    if tool == "consumer-groups" {
        return Some(consumer_groups::refuse(&error));
    }
    let screen = match missing(tool, arguments) {
        Some(name) if error.is_found_late => {
            let mut screen = Screen::default();
            screen.note(format!("Missing required argument \"[{name}]\"\nTry 'ottla {tool} --help'."));
            screen
        }
        _ => refusal(tool, &error)?,
    };
    screen.show();
    Some(ExitCode::FAILURE)
}

/// The option that the tool misses before it looks at what others hold.
fn missing(tool: &str, arguments: &[OsString]) -> Option<&'static str> {
    let (_, name) = REQUIRED.iter().find(|(name, _)| *name == tool)?;
    let is_given = |argument: &OsString| {
        let text = argument.to_str().and_then(|text| text.strip_prefix("--"));
        text.is_some_and(|text| text.split('=').next() == Some(name))
    };
    (!arguments.iter().any(is_given)).then_some(name)
}

/// What a tool shows of options that cannot be read.
fn refusal(tool: &str, error: &OptionError) -> Option<Screen> {
    let mut screen = Screen::default();
    let message = &error.message;
    let help = format!("Try 'ottla {tool} --help'.");
    match (tool, error.is_found_late) {
        ("topics", true) => {
            screen.say(format!("{}{message}", topics::FAILURE_PREFIX));
            screen.note(format!("ERROR {message}"));
        }
        ("console-consumer", true) if SEEN_WHEN_RUNNING.contains(&error.name.as_str()) => {
            screen.note(format!("{}\n{}", console_consumer::UNKNOWN_ERROR, error.trace()));
        }
        ("console-consumer", true) | ("dump-log", _) => screen.note(error.uncaught()),
        ("get-offsets", _) => screen.note(format!("Error occurred: {message}\n{help}")),
        ("topics" | "configs" | "delete-records" | "log-dirs" | "console-producer" | "console-consumer", _) => {
            screen.note(format!("{message}\n{help}"));
        }
        _ => return None,
    }
    Some(screen)
}

/// The arguments as clap is to read them: with the second dash before names of options that have only one, and without the
/// values of options that have none. Kafka's tools take the former, and do not look at the latter.
fn as_kafka_reads(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let cli = Cli::command();
    let tool = arguments.get(1).and_then(|name| name.to_str()).and_then(|name| cli.find_subcommand(name));
    let Some(tool) = tool.filter(|tool| !READ_OTHERWISE.contains(&tool.get_name())) else { return arguments };
    let options: BTreeMap<&str, &ArgAction> =
        tool.get_arguments().filter_map(|option| Some((option.get_long()?, option.get_action()))).collect();
    for argument in arguments.iter_mut().skip(2) {
        let text = argument.to_str().and_then(|text| text.strip_prefix("--").or_else(|| text.strip_prefix('-')));
        let Some(text) = text else { continue };
        let name = text.split('=').next().unwrap_or(text);
        let read = match options.get(name) {
            Some(ArgAction::SetTrue | ArgAction::Count) => format!("--{name}"),
            Some(_) => format!("--{text}"),
            None => continue,
        };
        *argument = read.into();
    }
    arguments
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        super::parse(&as_kafka_reads(line.split(' ').map(OsString::from)))
    }

    fn check(line: &str, expected: &Expect) {
        let error = OptionError::of(&parse(line).expect_err("it is refused")).expect("Kafka has words for it");
        expected.assert_eq(&format!("{} {}", error.trace(), error.is_found_late));
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn what_is_wrong_with_options_is_said_in_the_words_of_kafkas_tools() {
        check(
            "ottla consumer-groups --list --timeout 1.5",
            &expect![
                "joptsimple.OptionArgumentConversionException: Cannot parse argument '1.5' of option timeout true"
            ],
        );
        check(
            "ottla consumer-groups --list --state a --state b",
            &expect![
                "joptsimple.MultipleArgumentsForOptionException: Found multiple arguments for option state, but you asked for only one true"
            ],
        );
        check(
            "ottla consumer-groups --reset-offsets --to-offset 0x10",
            &expect![
                "joptsimple.OptionArgumentConversionException: Cannot parse argument '0x10' of option to-offset true"
            ],
        );
        check(
            "ottla consumer-groups --describe --group",
            &expect!["joptsimple.OptionMissingRequiredArgumentException: Option group requires an argument false"],
        );
        check(
            "ottla consumer-groups --desc",
            &expect!["joptsimple.UnrecognizedOptionException: desc is not a recognized option false"],
        );
    }

    #[test]
    fn each_tool_says_it_where_kafkas_does() {
        let shown = |tool: &str, rest: &str| {
            let error = parse(&format!("ottla {tool} {rest}")).expect_err("it is refused");
            let screen =
                refusal(tool, &OptionError::of(&error).expect("Kafka has words for it")).expect("it has a text");
            format!("{}{}", screen.out, screen.notes)
        };
        for tool in ["topics", "configs", "delete-records", "log-dirs", "console-producer", "console-consumer"] {
            let expected = format!("nosuch is not a recognized option\nTry 'ottla {tool} --help'.\n");
            assert_eq!(shown(tool, "--nosuch"), expected);
        }
        expect![[r#"
            Error while executing topic command : Cannot parse argument 'x' of option partitions
            ERROR Cannot parse argument 'x' of option partitions
        "#]]
        .assert_eq(&shown("topics", "--create --partitions x"));
        expect![[r#"
            Exception in thread "main" joptsimple.OptionArgumentConversionException: Cannot parse argument 'x' of option partition
        "#]]
        .assert_eq(&shown("console-consumer", "--partition x"));
        expect![[r#"
            ERROR Unknown error when running consumer: 
            joptsimple.OptionArgumentConversionException: Cannot parse argument 'x' of option max-messages
        "#]]
        .assert_eq(&shown("console-consumer", "--max-messages x"));
        expect![[r#"
            Exception in thread "main" joptsimple.UnrecognizedOptionException: nosuch is not a recognized option
        "#]]
        .assert_eq(&shown("dump-log", "--nosuch"));
    }

    #[test]
    fn words_that_belong_to_no_option_mean_nothing() {
        for line in [
            "topics --list extra --list=1 --list",
            "configs --describe extra",
            "get-offsets --topic t extra",
            "delete-records extra",
            "dump-log --files a extra --print-data-log=1",
            "log-dirs --describe extra",
            "console-producer --sync=1 extra --topic t more",
            "console-consumer extra --topic t more",
        ] {
            let read = parse(&format!("ottla {line}"));
            assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
        }
        assert!(parse("ottla broker extra").is_err() && parse("ottla storage random-uuid extra").is_err());
    }

    #[test]
    fn a_tool_that_is_given_nothing_says_what_it_is_for() {
        let purpose = |line: &str| purpose(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        expect!["An interactive shell for getting topic-partition offsets."]
            .assert_eq(purpose("ottla get-offsets").expect("it has one"));
        assert_eq!([purpose("ottla"), purpose("ottla storage"), purpose("ottla topics --list")], [None; 3]);
        let tools = command();
        let tools = tools.get_subcommands().filter(|tool| !READ_OTHERWISE.contains(&tool.get_name()));
        tools.for_each(|tool| assert!(purpose(&format!("ottla {}", tool.get_name())).is_some(), "{}", tool.get_name()));
    }

    #[test]
    fn what_is_missing_is_told_before_what_others_hold() {
        let missing = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            missing(arguments[1].to_str().expect("it is text"), &arguments)
        };
        assert_eq!(missing("ottla get-offsets --topic a --topic b"), Some("bootstrap-server"));
        assert_eq!(missing("ottla get-offsets --topic a --topic b --bootstrap-server=a:1"), None);
        assert_eq!(missing("ottla topics --topic a --topic b"), None);
    }

    #[test]
    fn names_of_options_may_have_one_dash() {
        let line = "ottla consumer-groups -bootstrap-server a:1 -describe -group=-g --timeout -5 extra";
        let Ok(Cli { tool: Some(Tool::ConsumerGroups(arguments)), .. }) = parse(line) else { panic!("it is read") };
        assert_eq!((arguments.describe, &arguments.group[..], arguments.timeout), (true, &["-g".to_owned()][..], -5));
    }
}
