//! `cargo xtask disk`: thousands of lives of a log on the simulated disk, which forgets what was not flushed, fills up and
//! fails; each follows from a seed.
//!
//! The lives themselves are tests of `ottla-storage` (`log/tests/faulty`), of which `cargo test` runs some hundred. Here they are
//! optimised, with all checks of a debug build. Seeds that fail are found one by one, and what they say is kept.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{self, Output};
use crate::{Fallible, files};

/// As `Cargo.toml` calls it.
const PROFILE: &str = "checked";
/// The tests that take seeds, and the variable that they take them from.
const TESTS: &str = "faulty";
const SEEDS_VARIABLE: &str = "OTTLA_DISK_SEEDS";
/// So many seeds are lived through by one process.
const SEEDS_AT_ONCE: u64 = 100;
const SEEDS_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How often it is told how far it has come.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// With more seeds that fail there is nothing left to find out.
const FAILED_MAX: usize = 20;

/// `cargo xtask disk`
#[derive(clap::Args)]
pub struct Command {
    /// The first seed, and the one after the last; or one alone.
    #[arg(long, default_value = "0..4000")]
    seeds: Seeds,
}

/// Seeds, as `0..4000` or `4711`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
        let (first, end) = match text.split_once("..") {
            Some((first, end)) => (number(first)?, number(end)?),
            None => (number(text)?, number(text)?.saturating_add(1)),
        };
        if first < end { Ok(Self(first..end)) } else { Err(format!("there is no seed in {text}")) }
    }
}

/// Lives through all seeds; fails where one of them failed, and names it.
pub fn run(command: &Command) -> Fallible<()> {
    let (program, folder) = (build()?, files::target_folder("disk")?);
    let (begun, seeds) = (Instant::now(), &command.seeds.0);
    let failed = failing(&program, seeds, &folder)?;
    if failed.is_empty() {
        println!("{} seeds, {} s: no promise was broken", seeds.end - seeds.start, begun.elapsed().as_secs());
        return Ok(());
    }
    let failed: Vec<_> = failed.iter().map(u64::to_string).collect();
    Err(format!("seeds {} failed; what they say is in {}", failed.join(", "), folder.display()).into())
}

/// The seeds that fail, the first of them at least; tells how far it has come.
fn failing(program: &Path, all: &Range<u64>, folder: &Path) -> Fallible<Vec<u64>> {
    let (begun, mut told, mut failed) = (Instant::now(), Instant::now(), Vec::new());
    let mut first = all.start;
    while first < all.end && failed.len() < FAILED_MAX {
        let seeds = first..all.end.min(first + SEEDS_AT_ONCE);
        first = seeds.end;
        if !live(program, &seeds)?.status.success() {
            let before = failed.len();
            for seed in seeds.clone() {
                failed.extend(fails(program, seed, folder)?);
            }
            if failed.len() == before {
                return Err(format!("the seeds {seeds:?} fail together, and none of them alone").into());
            }
        }
        if told.elapsed() >= TELL_EVERY || first == all.end {
            told = Instant::now();
            println!("{} to {first} of {all:?}: {} failed, {} s", all.start, failed.len(), begun.elapsed().as_secs());
        }
    }
    Ok(failed)
}

/// Whether a seed fails by itself; what it says is written into the folder then.
fn fails(program: &Path, seed: u64, folder: &Path) -> Fallible<Option<u64>> {
    let output = live(program, &(seed..seed + 1))?;
    if output.status.success() {
        return Ok(None);
    }
    let path = folder.join(format!("{seed}.log"));
    fs::write(&path, format!("{}{}", output.text(), output.stderr))?;
    println!("seed {seed} fails: {}; again: cargo xtask disk --seeds {seed}", path.display());
    Ok(Some(seed))
}

fn live(program: &Path, seeds: &Range<u64>) -> Fallible<Output> {
    let mut tests = Process::new(program);
    tests.arg(TESTS).env(SEEDS_VARIABLE, format!("{}..{}", seeds.start, seeds.end));
    tests.current_dir(files::root().join("crates/storage"));
    let output = process::run(&mut tests, b"", Instant::now() + SEEDS_WITHIN)?;
    if output.text().contains("running 0 tests") {
        return Err(format!("there are no tests called {TESTS} any more").into());
    }
    Ok(output)
}

/// Builds the tests of storage; the path of their program.
fn build() -> Fallible<PathBuf> {
    let mut cargo = Process::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--locked", "--package", "ottla-storage", "--lib", "--no-run", "--profile", PROFILE]);
    cargo.args(["--message-format", "json-render-diagnostics"]).current_dir(files::root());
    let output = cargo.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("cargo test --no-run ended with {}", output.status).into());
    }
    let program = String::from_utf8_lossy(&output.stdout).lines().find_map(executable);
    program.ok_or_else(|| "cargo names no program with the tests of storage".into())
}

/// The program that a line of cargo's tells of, if it is one of tests.
fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message.get("profile")?.get("test")?.as_bool()?;
    is_test.then(|| message.get("executable")?.as_str().map(PathBuf::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_or_one() {
        assert_eq!("0..4000".parse(), Ok(Seeds(0..4000)));
        assert_eq!("4711".parse(), Ok(Seeds(4711..4712)));
        for wrong in ["7..7", "9..2", "x", "1..", "-1..3"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
        }
    }

    /// By another process: a child of another test would inherit the file from this one, open to be written to, and what is
    /// open so is not run.
    fn write_program(path: &Path, script: &str) {
        let mut write = Process::new("sh");
        write.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path);
        process::run(&mut write, script.as_bytes(), Instant::now() + SEEDS_WITHIN).unwrap().succeeded().unwrap();
    }

    #[test]
    fn seeds_that_fail_are_found_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tests");
        let script = r#"#!/bin/sh
            first=${OTTLA_DISK_SEEDS%..*} end=${OTTLA_DISK_SEEDS#*..}
            echo "running 5 tests"
            for seed in 137 140; do
                if [ $first -le $seed ] && [ $seed -lt $end ]; then echo "seed $seed"; exit 1; fi
            done"#;
        write_program(&program, script);
        assert_eq!(failing(&program, &(0..137), folder.path()).unwrap(), [0; 0]);
        assert_eq!(failing(&program, &(120..141), folder.path()).unwrap(), [137, 140]);
        let said = fs::read_to_string(folder.path().join("140.log")).unwrap();
        assert_eq!(said, "running 5 tests\nseed 140\n");
        write_program(&program, "#!/bin/sh\necho running 0 tests");
        assert!(failing(&program, &(0..1), folder.path()).is_err());
    }

    #[test]
    fn the_program_of_the_tests_is_found() {
        let test = r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":"/target/storage"}"#;
        assert_eq!(executable(test), Some(PathBuf::from("/target/storage")));
        let library = r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("   Compiling"), None);
    }
}
