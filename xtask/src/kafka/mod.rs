//! A real Apache Kafka beside ours: what ours is compared with.
//!
//! ```text
//! target/kafka/stamp    what was installed
//! target/kafka/node     jars of a node        (versions: xtask/kafka/node.xml)
//! target/kafka/tools    jars of the tools     (versions: xtask/kafka/tools.xml)
//! DIR/K                 files of node K: server.properties, node.out, data/
//! ```

mod install;
mod node;

use std::path::PathBuf;

pub use install::{Installed, install};
pub use node::{Nodes, Options, format};

use crate::Fallible;

/// `cargo xtask kafka`: starts nodes and keeps them until it is told to end.
#[derive(clap::Args)]
pub struct Command {
    /// How many nodes, each of them broker and controller.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Port of the first node; node K has PORT+10*(K-1), its controller one more.
    #[arg(long, default_value_t = 19092)]
    port: u16,
    /// A line for server.properties.
    #[arg(short = 'o', value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Memory for each node's heap.
    #[arg(long, default_value = "1G")]
    heap: String,
    /// The nodes' files; a temporary folder, removed at the end, if not given. Existing files are used again.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A file that is written, with the bootstrap addresses, once the nodes answer.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

/// `cargo xtask kafka-tool kafka-topics --list ...`
#[derive(clap::Args)]
pub struct ToolCommand {
    /// Its name without `.sh`.
    name: String,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Starts the nodes, prints where they are and waits for SIGINT or SIGTERM.
pub fn run(command: Command) -> Fallible<()> {
    let installed = install()?;
    let scratch = tempfile::tempdir()?;
    let options = Options {
        folder: command.dir.unwrap_or_else(|| scratch.path().to_owned()),
        nodes: command.nodes,
        port: command.port,
        heap: command.heap,
        settings: command.options,
    };
    // Listens before the nodes start, so that a signal in between is not missed.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        Fallible::Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    let mut nodes = Nodes::start(&installed, &options)?;
    println!("{}", nodes.bootstrap());
    if let Some(path) = command.ready_file {
        crate::files::write_whole(&path, nodes.bootstrap())?;
    }
    runtime.block_on(async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    });
    nodes.stop()
}

/// Runs one of Kafka's tools in the foreground; its exit code is ours.
pub fn run_tool(command: &ToolCommand) -> Fallible<()> {
    let status = install()?.tool(&command.name)?.args(&command.arguments).status()?;
    std::process::exit(status.code().unwrap_or(1))
}
