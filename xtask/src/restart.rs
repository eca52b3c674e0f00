//! `cargo xtask restart`: how soon a broker answers again, with much data after a kill and with many partitions after a clean
//! stop, beside a real Kafka.
//!
//! It answers once each partition has told its end to a client. The time begins with the process. What was written shortly
//! before is in the page cache.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ottla_protocol::records::Compression;

use crate::bench::{generator, row, run_released, topic, usage};
use crate::server::{self, Server};
use crate::{Fallible, files, kafka};

/// Memory of a real Kafka, as its own start script gives it.
const KAFKA_HEAP: &str = "1G";
const FILLED: &str = "filled";
/// So many topics share the many partitions.
const TOPICS: i32 = 10;
const ANSWERS_WITHIN: Duration = Duration::from_secs(600);
const TRY_EVERY: Duration = Duration::from_millis(1);

/// `cargo xtask restart`
#[derive(clap::Args)]
pub struct Command {
    /// A broker to compare with.
    #[arg(long, value_enum)]
    vs: Option<Versus>,
    /// How much is written before the kill, in MiB.
    #[arg(long, default_value_t = 10_240)]
    mib: u64,
    /// To how many partitions.
    #[arg(long, default_value_t = 100)]
    partitions: i32,
    /// How many partitions there are before the clean stop.
    #[arg(long, default_value_t = 10_000)]
    many: i32,
    /// How often each is started again.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// Where the brokers keep their files; under target/restart if not given.
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
}

/// What `--vs` takes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Versus {
    Kafka,
}

/// What came out for one broker.
struct Outcome {
    name: &'static str,
    after_kill_ms: Vec<u128>,
    after_stop_ms: Vec<u128>,
    stop_ms: Vec<u128>,
    resident_bytes: u64,
}

/// Measures and prints.
pub fn run(command: &Command) -> Fallible<()> {
    if cfg!(debug_assertions) {
        return run_released();
    }
    server::build()?;
    let scratch = tempfile::tempdir_in(command.dir.clone().map_or_else(|| files::target_folder("restart"), Ok)?)?;
    let mut kinds = vec![("ottla", server::Kind::Ottla)];
    if command.vs == Some(Versus::Kafka) {
        let kind = server::Kind::Kafka { installed: kafka::install()?, heap: KAFKA_HEAP.to_owned() };
        kinds.push(("kafka", kind));
    }
    let outcomes: Vec<Outcome> =
        kinds.into_iter().map(|(name, kind)| measure(name, &kind, command, scratch.path())).collect::<Fallible<_>>()?;
    print!("{}", markdown(command, &outcomes));
    Ok(())
}

fn measure(name: &'static str, kind: &server::Kind, command: &Command, scratch: &Path) -> Fallible<Outcome> {
    let mut outcome =
        Outcome { name, after_kill_ms: Vec::new(), after_stop_ms: Vec::new(), stop_ms: Vec::new(), resident_bytes: 0 };
    let mut server = start(kind, &scratch.join(format!("{name}-filled")))?;
    let address = server.bootstrap();
    topic::create(&address, FILLED, command.partitions, &[])?;
    eprintln!("{name}: writing {} MiB to {} partitions", command.mib, command.partitions);
    let rows = row::Row {
        name: String::new(),
        kind: row::Kind::CatchUp,
        partitions: command.partitions,
        connections: 4,
        record_bytes: 1024,
        batch_bytes: 16 << 10,
        codec: Compression::None,
        acks: 1,
        is_flushed: false,
    };
    generator::fill(&rows, FILLED, &address, command.mib << 20)?;
    for _ in 0..command.times {
        server.kill()?;
        outcome.after_kill_ms.push(time_start(&mut server, &[(FILLED.to_owned(), command.partitions)])?);
        eprintln!("{name}: after a kill in {:?} ms", outcome.after_kill_ms);
    }
    drop(server);
    let mut server = start(kind, &scratch.join(format!("{name}-many")))?;
    let address = server.bootstrap();
    let each = command.many / TOPICS;
    let topics: Vec<(String, i32)> = (0..TOPICS).map(|number| (format!("many-{number}"), each)).collect();
    eprintln!("{name}: making {} partitions", each * TOPICS);
    topics.iter().try_for_each(|(topic, each)| topic::create(&address, topic, *each, &[]))?;
    for _ in 0..command.times {
        let begun = Instant::now();
        server.stop()?;
        outcome.stop_ms.push(begun.elapsed().as_millis());
        outcome.after_stop_ms.push(time_start(&mut server, &topics)?);
        eprintln!("{name}: after a clean stop of {:?} ms in {:?} ms", outcome.stop_ms, outcome.after_stop_ms);
    }
    outcome.resident_bytes = usage::memory(server.pid()?)?.now;
    server.stop()?;
    Ok(outcome)
}

fn start(kind: &server::Kind, folder: &Path) -> Fallible<Server> {
    let port = server::free_port()?;
    let mut server = Server::new(kind.clone(), folder, &[], Some(port))?;
    server.start()?;
    Ok(server)
}

/// Milliseconds from the start of the process until all partitions have answered.
fn time_start(server: &mut Server, topics: &[(String, i32)]) -> Fallible<u128> {
    let begun = Instant::now();
    server.spawn()?;
    let address = server.bootstrap();
    for (topic, partitions) in topics {
        while !topic::answers(&address, topic, *partitions).unwrap_or(false) {
            if begun.elapsed() > ANSWERS_WITHIN {
                return Err(format!("{topic} does not answer within {ANSWERS_WITHIN:?}").into());
            }
            thread::sleep(TRY_EVERY);
        }
    }
    let took_ms = begun.elapsed().as_millis();
    server.wait()?;
    Ok(took_ms)
}

fn markdown(command: &Command, outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string does not fail");
    line(format!(
        "| broker | after SIGKILL, {} MiB in {} partitions, ms | after a clean stop, {} partitions, ms | that stop, ms | resident MiB |",
        command.mib, command.partitions, command.many
    ));
    line("|---|---:|---:|---:|---:|".to_owned());
    let all = |times: &[u128]| times.iter().map(u128::to_string).collect::<Vec<_>>().join(", ");
    for outcome in outcomes {
        line(format!(
            "| {} | {} | {} | {} | {:.0} |",
            outcome.name,
            all(&outcome.after_kill_ms),
            all(&outcome.after_stop_ms),
            all(&outcome.stop_ms),
            outcome.resident_bytes as f64 / f64::from(1 << 20)
        ));
    }
    text
}
