//! The command line of Ottla: one program, one subcommand a tool, one file a subcommand.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use option_errors::OptionError;
use screen::Screen;

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
    let arguments = with_two_dashes(std::env::args_os());
    let cli = match Cli::try_parse_from(&arguments) {
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

/// Says what is wrong with options in Kafka's words, where the tool has such.
fn refuse(arguments: &[OsString], answer: &clap::Error) -> Option<ExitCode> {
    let error = OptionError::of(answer)?;
    let tool = arguments.get(1)?.to_str()?;
    if tool == "consumer-groups" {
        return Some(consumer_groups::refuse(&error));
    }
    let screen = refusal(tool, &error)?;
    screen.show();
    Some(ExitCode::FAILURE)
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
        ("console-consumer", true) | ("dump-log", _) => screen.note(error.uncaught()),
        ("get-offsets", _) => screen.note(format!("Error occurred: {message}\n{help}")),
        ("topics" | "configs" | "delete-records" | "log-dirs" | "console-producer" | "console-consumer", _) => {
            screen.note(format!("{message}\n{help}"));
        }
        _ => return None,
    }
    Some(screen)
}

/// The arguments, with the second dash before names of options that have only one: Kafka's tools take them so.
fn with_two_dashes(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let cli = Cli::command();
    let tool = arguments.get(1).and_then(|name| name.to_str()).and_then(|name| cli.find_subcommand(name));
    // Kafka's own two have another library for their options.
    let Some(tool) = tool.filter(|tool| !["broker", "storage"].contains(&tool.get_name())) else { return arguments };
    let names: Vec<&str> = tool.get_arguments().filter_map(clap::Arg::get_long).collect();
    for argument in arguments.iter_mut().skip(2) {
        let name = argument.to_str().and_then(|text| text.strip_prefix('-')).map(|text| text.split('=').next());
        if name.flatten().is_some_and(|name| names.contains(&name)) {
            let mut two = OsString::from("-");
            two.push(&*argument);
            *argument = two;
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(with_two_dashes(line.split(' ').map(OsString::from)))
    }

    fn check(line: &str, expected: &Expect) {
        let error = OptionError::of(&parse(line).expect_err("it is refused")).expect("Kafka has words for it");
        expected.assert_eq(&format!("{} {}", error.trace(), error.is_found_late));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
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
            Exception in thread "main" joptsimple.UnrecognizedOptionException: nosuch is not a recognized option
        "#]]
        .assert_eq(&shown("dump-log", "--nosuch"));
    }

    #[test]
    fn names_of_options_may_have_one_dash() {
        let line = "ottla consumer-groups -bootstrap-server a:1 -describe -group=-g --timeout -5 extra";
        let Ok(Cli { tool: Some(Tool::ConsumerGroups(arguments)), .. }) = parse(line) else { panic!("it is read") };
        assert_eq!((arguments.describe, &arguments.group[..], arguments.timeout), (true, &["-g".to_owned()][..], -5));
    }
}
