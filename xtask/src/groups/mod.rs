//! `cargo xtask groups`: a large group that changes all the time, and very many small ones, beside a real Kafka.
//!
//! ```text
//!   churn   100 members share 1,000 partitions; every second or so one leaves, dies or comes, while records are written.
//!           Checked: every record is delivered, in order, and none again once it was committed.
//!   many    10,000 groups of one member each, which commit once and then send heartbeats; then the broker starts again.
//! ```

mod churn;
mod ledger;
mod many;
mod member;

use std::path::Path;
use std::time::Duration;

use crate::server::{self, Server};
use crate::{Fallible, files, kafka};

/// Memory of a real Kafka, as its own start script gives it.
const KAFKA_HEAP: &str = "1G";
/// Settings of both brokers.
const SETTINGS: [&str; 4] = [
    "group.initial.rebalance.delay.ms=0",
    "group.min.session.timeout.ms=1000",
    "offsets.topic.replication.factor=1",
    "num.partitions=1",
];

/// `cargo xtask groups`
#[derive(clap::Args)]
pub struct Command {
    /// A broker to compare with.
    #[arg(long, value_enum)]
    vs: Option<Versus>,
    /// How many seconds the large group changes.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Members of the large group.
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// Partitions they share.
    #[arg(long, default_value_t = 1000)]
    partitions: i32,
    /// Small groups.
    #[arg(long, default_value_t = 10_000)]
    groups: usize,
}

/// What `--vs` takes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Versus {
    Kafka,
}

/// Runs both, prints what came out, and fails where something was lost or delivered twice.
pub fn run(command: &Command) -> Fallible<()> {
    server::build()?;
    let scratch = tempfile::tempdir_in(files::target_folder("groups")?)?;
    let mut kinds = vec![("ottla", server::Kind::Ottla)];
    if command.vs == Some(Versus::Kafka) {
        let kind = server::Kind::Kafka { installed: kafka::install()?, heap: KAFKA_HEAP.to_owned() };
        kinds.push(("kafka", kind));
    }
    let (mut churned, mut small) = (Vec::new(), Vec::new());
    for (name, kind) in kinds {
        let mut server = start(kind.clone(), &scratch.path().join(format!("{name}-churn")))?;
        eprintln!("{name}: {} members under churn for {} s", command.members, command.seconds);
        let plan = churn::Plan {
            members: command.members,
            partitions: command.partitions,
            lasts: Duration::from_secs(command.seconds),
        };
        churned.push((name, churn::run(&mut server, &plan)?));
        server.stop()?;
        let mut server = start(kind, &scratch.path().join(format!("{name}-many")))?;
        eprintln!("{name}: {} groups", command.groups);
        small.push((name, many::run(&mut server, command.groups)?));
        server.stop()?;
    }
    churn::print(&churned);
    many::print(&small);
    let wrong: usize = churned.iter().map(|(_, outcome)| outcome.wrong.len()).sum();
    churned.iter().flat_map(|(name, outcome)| outcome.wrong.iter().map(move |it| (name, it))).for_each(
        |(name, wrong)| {
            println!("{name}: {wrong}");
        },
    );
    if wrong == 0 { Ok(()) } else { Err(format!("{wrong} promises were broken").into()) }
}

fn start(kind: server::Kind, folder: &Path) -> Fallible<Server> {
    let settings: Vec<String> = SETTINGS.iter().map(|&setting| setting.to_owned()).collect();
    let mut server = Server::new(kind, folder, &settings, None)?;
    server.start()?;
    Ok(server)
}
