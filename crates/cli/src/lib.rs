//! The command line of Ottla: one program, one subcommand a tool, one file a subcommand.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod broker;

/// Apache Kafka in one program: a broker, and the tools to work with it.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, args_conflicts_with_subcommands = true)]
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
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.tool.unwrap_or(Tool::Broker(cli.broker)) {
        Tool::Broker(arguments) => broker::run(&arguments),
    }
}
