//! `cargo xtask verify`: everything that must hold before a commit, each step with its time; and `fix`.

use std::fs;
use std::process::Command;
use std::time::Instant;

use ottla_e2e::SKIPPED_TESTS;

use crate::{Fallible, codegen, files};

/// Runs every check; ends at the first that fails. Writes nothing outside `target/`.
pub fn verify() -> Fallible<()> {
    let begun = Instant::now();
    step("format", || cargo(&["fmt", "--all", "--check"], &[]))?;
    step("lints", || cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"], &[]))?;
    let skipped = files::target().join("tmp").join(SKIPPED_TESTS);
    let _ = fs::remove_file(&skipped);
    step("tests", || cargo(&["test", "--locked", "--workspace"], &[]))?;
    step("documentation", || {
        cargo(&["doc", "--locked", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "--deny warnings")])
    })?;
    step("generated code", || codegen::run(&codegen::Command::own(true)))?;
    // There is no such file where none was skipped.
    let skipped = fs::read_to_string(skipped).unwrap_or_default();
    print!("{skipped}");
    println!("verify: {} ({:.1} s)", outcome(skipped.lines().count()), begun.elapsed().as_secs_f64());
    Ok(())
}

fn outcome(skipped: usize) -> String {
    match skipped {
        0 => "all ok".to_owned(),
        1 => "ok, but 1 test did not run".to_owned(),
        more => format!("ok, but {more} tests did not run"),
    }
}

/// Mends what a program can mend.
pub fn fix() -> Fallible<()> {
    step("lints", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"], &[])
    })?;
    step("generated code", || codegen::run(&codegen::Command::own(false)))?;
    step("format", || cargo(&["fmt", "--all"], &[]))
}

fn step(name: &str, work: impl FnOnce() -> Fallible<()>) -> Fallible<()> {
    println!("{name} ...");
    let begun = Instant::now();
    work().map_err(|error| format!("{name} FAILED: {error}"))?;
    println!("{name} ok ({:.1} s)", begun.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Fallible<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).envs(environment.iter().copied()).current_dir(files::root());
    // A test that compares with a committed text must not rewrite it.
    command.env_remove("UPDATE_EXPECT");
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} ended with {status}", arguments.join(" ")).into()) }
}
