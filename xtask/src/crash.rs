//! `cargo xtask crash`: the broker is killed under its clients, some hundred times, and held to what it acknowledged.
//!
//! What the clients do and what is compared is told in `ottla_e2e::crash`; a short form of it is part of the tests.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_e2e::Options;
use ottla_e2e::crash::{self, Outcome, Plan};

use crate::{Fallible, files, server};

/// How often it is told how far it has come.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// `cargo xtask crash`
#[derive(clap::Args)]
pub struct Command {
    /// How often the broker is killed.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// From which the moments of the kills follow; another one each time if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the broker lives on average, in milliseconds.
    #[arg(long, default_value_t = 250)]
    life_ms: u64,
    /// Another program than the released one, which is built if this is not given.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Runs it, prints what came out, and fails where a promise was broken; the files are kept then.
pub fn run(command: &Command) -> Fallible<()> {
    let program = match &command.program {
        Some(program) => program.clone(),
        None => {
            server::build()?;
            server::program()
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let plan = Plan {
        seed: command.seed.unwrap_or(u64::from(now.subsec_nanos())),
        rounds: command.rounds,
        life_ms: command.life_ms,
    };
    println!("seed {}: {} rounds of {} ms on average", plan.seed, plan.rounds, plan.life_ms);
    let scratch = tempfile::tempdir_in(files::target_folder("crash")?)?;
    let options = crash::options(Options::new(program, scratch.path()));
    let (begun, mut told) = (Instant::now(), Instant::now());
    let outcome = crash::run(&options, &plan, |progress| {
        if told.elapsed() >= TELL_EVERY || progress.round == plan.rounds {
            told = Instant::now();
            println!(
                "round {} of {}: lived {} ms, started in {} ms, {} records acknowledged",
                progress.round,
                plan.rounds,
                progress.lived.as_millis(),
                progress.started_in.as_millis(),
                progress.acknowledged
            );
        }
    });
    print(&outcome, begun.elapsed());
    if outcome.wrong.is_empty() {
        return Ok(());
    }
    outcome.wrong.iter().for_each(|wrong| println!("{wrong}"));
    let again = format!("cargo xtask crash --rounds {} --seed {} --life-ms {}", plan.rounds, plan.seed, plan.life_ms);
    let kept = scratch.keep();
    Err(format!("{} promises were broken; the files are in {}; again: {again}", outcome.wrong.len(), kept.display())
        .into())
}

fn print(outcome: &Outcome, took: Duration) {
    println!(
        "{} records acknowledged, {} commits answered, {} more starts killed",
        outcome.acknowledged, outcome.commits, outcome.killed_starts
    );
    println!(
        "{} records are there more than once, of producers without numbers; the slowest start took {} ms; {} s in all",
        outcome.doubled,
        outcome.slowest_start.as_millis(),
        took.as_secs()
    );
    println!("promises broken: {}", outcome.wrong.len());
}
