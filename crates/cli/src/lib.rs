//! The command line of Ottla: one program, one subcommand a tool, one file a subcommand.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
mod java_number;
mod java_order;
mod log_dirs;
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
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
