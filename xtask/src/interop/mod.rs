//! `cargo xtask interop`: programs of others against a freshly started broker.
//!
//! Each case has topics of its own, named after it, and a time within which it must end. The last line is always
//! `N passed, N failed`. `--against kafka` runs the same cases against a real Kafka, which shows that a case asks for
//! what Kafka does and not for what we do.

mod case;
mod java;
mod kcat;
mod python;
mod weblog;

use std::time::Instant;

use crate::server::{self, Kind, Server};
use crate::{Fallible, files, kafka, packages};
use case::{Case, Context};

/// How much memory a real Kafka gets here.
const KAFKA_HEAP: &str = "1G";

/// `cargo xtask interop`
#[derive(clap::Args)]
pub struct Command {
    /// What the clients talk to.
    #[arg(long, value_enum, default_value = "ottla")]
    against: Against,
    /// Only cases whose name contains this.
    filter: Option<String>,
    /// Prints the names of the cases and ends.
    #[arg(long)]
    list: bool,
}

/// What `--against` takes.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Against {
    /// Our broker, built in release.
    Ottla,
    /// A real Kafka.
    Kafka,
}

/// Runs the cases; fails if one failed.
pub fn run(command: &Command) -> Fallible<()> {
    let mut cases: Vec<Case> =
        [kcat::cases(), python::cases(), java::cases(), weblog::cases()].into_iter().flatten().collect();
    if let Some(filter) = &command.filter {
        cases.retain(|case| case.name.contains(filter.as_str()));
    }
    if command.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(());
    }
    let installed = kafka::install()?;
    let kind = match command.against {
        Against::Ottla => Kind::Ottla,
        Against::Kafka => Kind::Kafka { installed: installed.clone(), heap: KAFKA_HEAP.to_owned() },
    };
    packages::ensure("kcat", "kcat")?;
    let python = python::install()?;
    if matches!(kind, Kind::Ottla) {
        server::build()?;
    }
    let scratch = tempfile::tempdir_in(files::target_folder("interop")?)?;
    let mut server = Server::new(kind, &scratch.path().join("broker"), &[], None)?;
    server.start()?;
    let mut context = Context::new(server, installed, python, scratch.path());
    let (mut passed, mut failed) = (0, 0);
    for case in &cases {
        let begun = Instant::now();
        match context.run(case) {
            Ok(()) => {
                passed += 1;
                println!("ok {} ({} ms)", case.name, begun.elapsed().as_millis());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {}: {error}", case.name);
            }
        }
    }
    let stopped = context.server.stop();
    println!("{passed} passed, {failed} failed");
    stopped?;
    if failed == 0 { Ok(()) } else { Err("interop failed".into()) }
}
