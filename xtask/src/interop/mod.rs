//! `cargo xtask interop`: programs of others against freshly started brokers.
//!
//! A suite is cases of ours, each with topics named after it and a time within which it must end, or the tests that a
//! client's own authors wrote. What passes on a real Kafka must pass here: `--vs kafka` runs every suite on both, and
//! otherwise `xtask/interop/on-kafka.tsv` tells how it ended there. What failed is run once more by itself, on either
//! broker alike: some tests fail by chance where the machine is busy, and the report names them. The last line is `N passed, N failed, N skipped`.

mod burrow;
mod case;
mod crates;
mod directory;
mod dumps;
mod groups;
mod java;
mod java_groups;
mod kcat;
mod mixed;
mod pytest;
mod python;
mod record;
mod report;
mod suite;
mod weblog;

use std::path::PathBuf;
use std::time::Instant;

use crate::kafka::Installed;
use crate::server::{self, Kind};
use crate::{Fallible, files, kafka, packages};
use record::Record;
use report::Report;
use suite::{Suite, Test};

/// How much memory a real Kafka gets here.
const KAFKA_HEAP: &str = "1G";

/// `cargo xtask interop`
#[derive(clap::Args)]
pub struct Command {
    /// What the clients talk to.
    #[arg(long, value_enum, default_value = "ottla")]
    against: Against,
    /// Runs everything against a real Kafka too, and compares.
    #[arg(long, value_enum, conflicts_with = "against")]
    vs: Option<Other>,
    /// Writes down how the tests ended on the real Kafka.
    #[arg(long, requires = "vs", conflicts_with = "filter")]
    record: bool,
    /// Only suites whose name contains one of these.
    #[arg(long, value_name = "SUITE", value_delimiter = ',')]
    only: Vec<String>,
    /// Only cases whose name contains this.
    filter: Option<String>,
    /// Prints the names of the suites and their cases, and ends.
    #[arg(long)]
    list: bool,
}

/// What `--against` takes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Against {
    /// Our broker, built in release.
    Ottla,
    /// A real Kafka.
    Kafka,
}

/// What `--vs` takes.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Other {
    /// A real Kafka.
    Kafka,
}

/// The programs that several suites use.
#[derive(Clone)]
pub struct Clients {
    pub kafka: Installed,
    /// The interpreter of the environment with the clients for Python.
    pub python: PathBuf,
}

fn suites() -> Vec<Suite> {
    let mut suites = vec![
        Suite::of_cases("kcat", kcat::cases()),
        Suite::of_cases("python", python::cases()),
        Suite::of_cases("java", java::cases()),
        Suite::of_cases("weblog", weblog::cases()),
        pytest::suite(),
        crates::rdkafka(),
        crates::rskafka(),
    ];
    suites.extend(groups::suites());
    suites.push(java_groups::suite());
    suites.push(mixed::suite());
    suites.push(burrow::suite());
    suites.push(directory::suite());
    suites
}

/// Runs the suites; fails if a test failed that passes on Kafka.
pub fn run(command: &Command) -> Fallible<()> {
    let mut suites = suites();
    if !command.only.is_empty() {
        suites.retain(|suite| command.only.iter().any(|only| suite.name.contains(only.as_str())));
    }
    if let Some(filter) = &command.filter {
        suites.retain_mut(|suite| suite.retain(filter));
    }
    if command.list {
        for suite in &suites {
            suite.names().iter().for_each(|name| println!("{}: {name}", suite.name));
        }
        return Ok(());
    }
    if suites.is_empty() {
        return Err("there is no such suite or case; --list names them".into());
    }
    packages::ensure("kcat", "kcat")?;
    let clients = Clients { kafka: kafka::install()?, python: python::install()? };
    let real = Kind::Kafka { installed: clients.kafka.clone(), heap: KAFKA_HEAP.to_owned() };
    if command.against == Against::Kafka {
        return only_kafka(&suites, &real, &clients);
    }
    server::build()?;
    let mut record = Record::read()?;
    let mut report = Report::of("Ottla");
    for suite in &suites {
        if suite.is_beyond_kafka {
            report.must_pass(suite.name);
        }
        if command.vs.is_some() {
            record.replace(suite.name, &run_suite(suite, real.clone(), &clients)?);
        }
        let tests = run_suite(suite, Kind::Ottla, &clients).map_err(|error| error.to_string());
        let tests = tests.as_deref().map_err(String::as_str);
        report.add(suite.name, &record.suite(suite.name), tests, command.filter.is_none());
    }
    if command.record {
        record.write()?;
    }
    if report.print() == 0 { Ok(()) } else { Err("interop failed".into()) }
}

/// Shows that Kafka still does what is asked, beside what was recorded.
fn only_kafka(suites: &[Suite], real: &Kind, clients: &Clients) -> Fallible<()> {
    let record = Record::read()?;
    let mut report = Report::of("Kafka now");
    for suite in suites {
        let tests = run_suite(suite, real.clone(), clients)?;
        report.add(suite.name, &record.suite(suite.name), Ok(&tests), false);
    }
    if report.print() == 0 { Ok(()) } else { Err("interop failed on Kafka".into()) }
}

fn run_suite(suite: &Suite, kind: Kind, clients: &Clients) -> Fallible<Vec<Test>> {
    let broker = if matches!(kind, Kind::Ottla) { "Ottla" } else { "Kafka" };
    println!("# {} on {broker}", suite.name);
    let begun = Instant::now();
    let scratch = tempfile::tempdir_in(files::target_folder("interop")?)?;
    let tests = suite.run(kind, clients, scratch.path());
    println!("# {} on {broker} took {} s", suite.name, begun.elapsed().as_secs());
    tests
}
