//! `cargo xtask codegen`: writes the messages and internal records of the protocol crate from its schema files.
//!
//! ```text
//! crates/protocol/schema/*.txt --schema--> messages --rust--> text --output--> crates/protocol/src/{messages,internal}
//!                                              \--against--- schemas in Kafka's jars
//! ```
//!
//! The output is committed, so that a build needs no generator and a reviewer sees what changed. Where the committed
//! output does not compile, take it back with git first: this program is built with the protocol crate.

mod against;
mod jar;
mod names;
mod output;
mod rust;
mod schema;

use std::path::PathBuf;

use crate::{Fallible, files, kafka};

/// `cargo xtask codegen`
#[derive(clap::Args)]
pub struct Command {
    /// Write nothing, and fail where the committed code is not what the schemas say.
    #[arg(long)]
    check: bool,
    /// Write nothing, and compare the schemas with those of somebody else.
    #[arg(long, conflicts_with = "check")]
    against: Option<Against>,
    /// The folder of Kafka's jars; they are installed under target/ if it is not given.
    #[arg(long, requires = "against")]
    jars: Option<PathBuf>,
}

impl Command {
    /// Writes what the schemas say, or only says whether it is written already.
    pub const fn own(check: bool) -> Self {
        Self { check, against: None, jars: None }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Against {
    /// Those in the packages that Kafka publishes.
    Kafka,
}

/// Runs it.
pub fn run(command: &Command) -> Fallible<()> {
    if let Some(Against::Kafka) = command.against {
        let jars = match &command.jars {
            Some(jars) => jars.clone(),
            None => kafka::install()?.node_jars(),
        };
        return Ok(against::compare(&files::root(), &jars)?);
    }
    let changed = output::write(&files::root(), &files::target_folder("codegen")?, command.check)?;
    for path in &changed {
        println!("{} {}", if command.check { "differs:" } else { "written:" }, path.display());
    }
    match command.check && !changed.is_empty() {
        true => Err("the committed code is not what the schemas say: run `cargo xtask codegen`".into()),
        false => Ok(()),
    }
}
