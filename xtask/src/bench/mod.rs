//! `cargo xtask bench`: one generator against Ottla, a real Kafka, and servers that do only what cannot be left out.
//!
//! All brokers run for the whole time and take turns, row by row, so that what the machine does meanwhile meets all of
//! them. What is compared comes from one run.

pub mod connection;
pub mod frames;
pub mod generator;
pub mod limits;
mod page_cache;
mod report;
pub mod row;
pub mod topic;
pub mod usage;

use std::fs;
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use limits::LimitKind;
use page_cache::PageCache;
use report::{Broker, Entry};
use row::{Kind, Row};

use crate::process::Daemon;
use crate::server::{self, Server};
use crate::{Fallible, files, kafka};

/// Memory of a real Kafka, as its own start script gives it.
const KAFKA_HEAP: &str = "1G";
/// How long a broker may take until its first record, and how often that is tried.
const FIRST_RECORD_WITHIN: Duration = Duration::from_secs(90);
const TRY_EVERY: Duration = Duration::from_millis(1);
/// How long a broker may take to remove the files of a row, and how often they are looked for.
const REMOVED_WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The topic of a row.
const TOPIC: &str = "bench";
/// Kafka goes by this where it deletes a topic, whatever the topic says: its files would go in the middle of another row.
const DELETE_SOON: &str = "log.segment.delete.delay.ms=100";
/// After a start, until the memory of an idle broker is read.
const UNTIL_IDLE: Duration = Duration::from_secs(2);
const READY_WITHIN: Duration = Duration::from_secs(60);

/// `cargo xtask bench`
#[derive(clap::Args)]
pub struct Command {
    /// A broker to compare with.
    #[arg(long, value_enum)]
    vs: Option<Versus>,
    /// Short runs, for a first look: what it finds is noise.
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    rows: String,
    /// Only this server.
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// A setting of the brokers, `key=value`; may be given again.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Where the brokers keep their files; under target/bench if not given.
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
}

/// What `--vs` takes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Versus {
    Kafka,
}

/// What `--only` takes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    Ottla,
    Kafka,
    Limit,
}

/// How long things run.
struct Times {
    counted_s: u64,
    warm_kafka_s: u64,
    warm_ottla_s: u64,
    filled_bytes: u64,
}

const FULL: Times = Times { counted_s: 10, warm_kafka_s: 20, warm_ottla_s: 2, filled_bytes: 1 << 30 };
const QUICK: Times = Times { counted_s: 3, warm_kafka_s: 5, warm_ottla_s: 1, filled_bytes: 1 << 28 };

/// Measures and prints.
pub fn run(command: &Command) -> Fallible<()> {
    if cfg!(debug_assertions) {
        return run_released();
    }
    let times = if command.quick { QUICK } else { FULL };
    let folder = files::target_folder("bench")?;
    let scratch = tempfile::tempdir_in(command.dir.as_deref().unwrap_or(&folder))?;
    let wanted = |which: Only| command.only.is_none_or(|only| only == which);
    let mut brokers = Vec::new();
    if wanted(Only::Ottla) {
        server::build()?;
        brokers.push(Subject::start("ottla", server::Kind::Ottla, command, scratch.path(), times.warm_ottla_s)?);
    }
    if wanted(Only::Kafka) && (command.vs == Some(Versus::Kafka) || command.only == Some(Only::Kafka)) {
        let kind = server::Kind::Kafka { installed: kafka::install()?, heap: KAFKA_HEAP.to_owned() };
        brokers.push(Subject::start(report::KAFKA, kind, command, scratch.path(), times.warm_kafka_s)?);
    }
    let mut entries = Vec::new();
    let mut page_cache = PageCache::new(scratch.path())?;
    for row in row::all().into_iter().filter(|row| row.name.contains(&command.rows)) {
        for subject in &brokers {
            page_cache.fill()?;
            let entry = subject.measure(&row, &times)?;
            eprintln!("{}", report::progress(&entry));
            entries.push(entry);
        }
        // Each is the first every second time.
        brokers.reverse();
        for &kind in limits_of(&row).iter().filter(|_| wanted(Only::Limit)) {
            page_cache.fill()?;
            let entry = measure_limit(kind, &row, scratch.path(), &times)?;
            eprintln!("{}", report::progress(&entry));
            entries.push(entry);
        }
    }
    let brokers = brokers.into_iter().map(Subject::stop).collect::<Fallible<Vec<_>>>()?;
    print!("{}", report::markdown(&brokers, &entries));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = folder.join(format!("{now}.json"));
    files::write_whole(&path, &format!("{:#}\n", report::json(&brokers, &entries)))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// The generator must not be what is slow: runs this task once more, optimised.
pub fn run_released() -> Fallible<()> {
    let mut cargo = process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--release", "--package", "xtask", "--"]).args(std::env::args_os().skip(1));
    let status = cargo.current_dir(files::root()).status()?;
    if status.success() { Ok(()) } else { Err(format!("the optimised build ended with {status}").into()) }
}

/// A broker that is measured.
struct Subject {
    name: &'static str,
    server: Server,
    broker: Broker,
}

impl Subject {
    /// Starts it on an empty folder and again on what it then has, and warms it.
    fn start(name: &'static str, kind: server::Kind, command: &Command, scratch: &Path, warm_s: u64) -> Fallible<Self> {
        let port = server::free_port()?;
        let overrides = [&[DELETE_SOON.to_owned()], &command.overrides[..]].concat();
        let mut server = Server::new(kind, &scratch.join(name), &overrides, Some(port))?;
        let start_empty_ms = time_start(&mut server)?;
        server.stop()?;
        let start_again_ms = time_start(&mut server)?;
        thread::sleep(UNTIL_IDLE);
        let idle = usage::memory(server.pid()?)?;
        eprintln!("{name}: first record after {start_empty_ms:.0} ms, again {start_again_ms:.0} ms; warming");
        let subject =
            Self { name, server, broker: Broker { server: name, start_empty_ms, start_again_ms, idle, after: idle } };
        let rows = row::warming();
        // Whole seconds for each row, so that a warm broker has seen all of them.
        let each_s = warm_s.div_ceil(rows.len() as u64);
        let times = Times { counted_s: each_s, ..QUICK };
        for row in &rows {
            subject.measure(row, &times)?;
        }
        Ok(subject)
    }

    fn measure(&self, row: &Row, times: &Times) -> Fallible<Entry> {
        let address = self.server.bootstrap();
        topic::create(&address, TOPIC, row.partitions, row.configs(self.name == report::KAFKA))?;
        if row.kind == Kind::CatchUp {
            generator::fill(&row::filling(row), TOPIC, &address, times.filled_bytes)?;
        }
        let measured = generator::run(row, TOPIC, &address, self.server.pid()?, times.counted_s)?;
        topic::delete(&address, TOPIC)?;
        self.wait_until_removed()?;
        Ok(Entry { row: row.name.clone(), server: self.name, measured })
    }

    /// Until the files of a row are gone, so that nobody else has to wait for that.
    fn wait_until_removed(&self) -> Fallible<()> {
        let deadline = Instant::now() + REMOVED_WITHIN;
        let data = self.server.data();
        while files::any_named(&data, &format!("{TOPIC}-"))? {
            if Instant::now() > deadline {
                return Err(format!("{}: the files of {TOPIC} stay in {}", self.name, data.display()).into());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn stop(mut self) -> Fallible<Broker> {
        self.broker.after = usage::memory(self.server.pid()?)?;
        self.server.stop()?;
        Ok(self.broker)
    }
}

/// Milliseconds from the start of the process until it has acknowledged a record.
fn time_start(server: &mut Server) -> Fallible<f64> {
    let begun = Instant::now();
    server.spawn()?;
    let address = server.bootstrap();
    while let Err(error) = topic::first_record(&address, "first") {
        if begun.elapsed() > FIRST_RECORD_WITHIN {
            return Err(format!("no record was acknowledged: {error}").into());
        }
        thread::sleep(TRY_EVERY);
    }
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    server.wait()?;
    Ok(milliseconds)
}

fn limits_of(row: &Row) -> &'static [LimitKind] {
    match row.kind {
        // They do no fsync, and answer all.
        _ if row.is_flushed || row.acks == 0 => &[],
        Kind::Produce { .. } | Kind::ProduceAtRate { .. } if row.partitions == 1 => {
            &[LimitKind::Produce, LimitKind::ProduceOneLog]
        }
        Kind::Produce { .. } | Kind::ProduceAtRate { .. } => &[LimitKind::Produce],
        Kind::CatchUp => &[LimitKind::Fetch],
        Kind::Follow { .. } => &[],
    }
}

fn measure_limit(kind: LimitKind, row: &Row, scratch: &Path, times: &Times) -> Fallible<Entry> {
    let folder = scratch.join("limit");
    fs::create_dir_all(&folder)?;
    let ready = limits::ready_file(&folder);
    let mut command = process::Command::new(std::env::current_exe()?);
    command.args(["limit-server", kind.name(), "--folder"]).arg(&folder);
    command.args(["--bytes", &times.filled_bytes.to_string(), "--partitions", &row.partitions.to_string()]);
    command.args(["--batch-bytes", &row.batch()?.bytes.len().to_string()]);
    let mut daemon = Daemon::start(&mut command, &scratch.join("limit.out"))?;
    let address = daemon.wait_for(Instant::now() + READY_WITHIN, || fs::read_to_string(&ready).ok())?;
    let measured = generator::run(row, TOPIC, &address, daemon.pid(), times.counted_s)?;
    daemon.kill()?;
    fs::remove_dir_all(&folder)?;
    Ok(Entry { row: row.name.clone(), server: kind.title(), measured })
}
