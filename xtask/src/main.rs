//! Tasks of the developers: `cargo xtask verify | fix | codegen | interop | diff | bench | compact | groups | crash | disk | restart | kafka`.
//!
//! Everything a task makes lies under `target/`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod bench;
mod codegen;
mod compact;
mod crash;
mod diff;
mod disk;
mod files;
mod groups;
mod interop;
mod kafka;
mod packages;
mod process;
mod restart;
mod server;
mod verify;
mod weblog;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What failed, in a sentence for a person.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Tasks of Ottla's developers.
#[derive(Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks format, lints, tests, documentation and generated code. Writes nothing outside target/.
    Verify,
    /// Mends what `verify` checks, where a program can.
    Fix,
    /// Writes the messages of the protocol from their schemas.
    Codegen(codegen::Command),
    /// Drives the broker with other people's clients.
    Interop(interop::Command),
    /// Compares the broker's answers with those of a real Kafka.
    Diff(diff::Command),
    /// Measures the broker, beside a real Kafka and beside what is possible at all.
    Bench(bench::Command),
    /// Measures how fast a log of few keys is compacted.
    Compact(compact::Command),
    /// Tries a large group under churn, and very many small ones, beside a real Kafka.
    Groups(groups::Command),
    /// Kills the broker under its clients, again and again, and holds it to what it acknowledged.
    Crash(crash::Command),
    /// Lives through thousands of seeds of a disk that forgets and fails.
    Disk(disk::Command),
    /// Measures how soon the broker answers again with much data or many partitions, beside a real Kafka.
    Restart(restart::Command),
    /// One of the servers that show what is possible at all.
    #[command(hide = true)]
    LimitServer(bench::limits::Command),
    /// Starts a real Apache Kafka on loopback, installed by package.
    Kafka(kafka::Command),
    /// Runs one of Apache Kafka's command-line tools.
    KafkaTool(kafka::ToolCommand),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Verify => verify::verify(),
        Task::Fix => verify::fix(),
        Task::Codegen(command) => codegen::run(&command),
        Task::Interop(command) => interop::run(&command),
        Task::Diff(command) => diff::run(&command),
        Task::Bench(command) => bench::run(&command),
        Task::Compact(command) => compact::run(&command),
        Task::Groups(command) => groups::run(&command),
        Task::Crash(command) => crash::run(&command),
        Task::Disk(command) => disk::run(&command),
        Task::Restart(command) => restart::run(&command),
        Task::LimitServer(command) => bench::limits::run(&command),
        Task::Kafka(command) => kafka::run(command),
        Task::KafkaTool(command) => kafka::run_tool(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
