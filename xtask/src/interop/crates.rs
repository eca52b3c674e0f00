//! The tests in the crates of two clients for Rust, built as their authors build them.
//!
//! ```text
//! target/interop/crates/NAME-VERSION   what the registry has of the crate
//! target/interop/cargo                 what Cargo makes of it
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::case::Context;
use super::suite::{KAFKA_VERSION, Outcome, Suite, Test};
use crate::{Fallible, files, process};

/// How long a crate may take to download and to build; librdkafka is built with it.
const BUILD_WITHIN: Duration = Duration::from_secs(30 * 60);
/// How long the tests of one file may take.
const FILE_WITHIN: Duration = Duration::from_secs(5 * 60);
/// rust-rdkafka's tests have the port written in.
const RDKAFKA_PORT: u16 = 9092;
const RDKAFKA_NEEDS_PORT: &str = "test_metadata::test_metadata";

/// A crate and those of its files with tests that talk to a broker.
struct Crate {
    name: &'static str,
    version: &'static str,
    files: &'static [&'static str],
    /// What it was locked to that a compiler of today refuses.
    outdated: &'static [&'static str],
}

const RDKAFKA: Crate = Crate {
    name: "rdkafka",
    version: "0.39.0",
    files: &[
        "test_admin",
        "test_high_consumers",
        "test_high_producers",
        "test_low_consumers",
        "test_low_producers",
        "test_metadata",
        "test_topic_partition_list",
        "test_transactions",
    ],
    outdated: &[],
};
const RDKAFKA_NOT_OURS: [(&str, &str); 3] = [
    ("test_low_producers::test_base_producer_timeout", "a topic must take over 100 ms to make itself; ours is there"),
    ("test_transactions::test_transaction_abort", "transactions come later"),
    ("test_transactions::test_transaction_commit", "transactions come later"),
];

const RSKAFKA: Crate = Crate {
    name: "rskafka",
    version: "0.6.0",
    files: &["client", "consumer", "produce_consume", "producer"],
    outdated: &["rsasl"],
};

pub fn rdkafka() -> Suite {
    Suite::of_others("rust-rdkafka", run_rdkafka)
        .with_settings(&[
            "node.id=0",
            "num.partitions=3",
            "group.min.session.timeout.ms=100",
            "group.initial.rebalance.delay.ms=3000",
        ])
        .on_port(RDKAFKA_PORT)
        .without(&RDKAFKA_NOT_OURS)
}

pub fn rskafka() -> Suite {
    // Its authors' broker makes no topic by itself; a test gives it 100 ms to show that it does not.
    let settings = ["node.id=0", "num.partitions=4", "auto.create.topics.enable=false"];
    Suite::of_others("rskafka", run_rskafka).with_settings(&settings)
}

fn run_rdkafka(context: &mut Context) -> Fallible<Vec<Test>> {
    let bootstrap = context.server.bootstrap();
    let mut left_out = context.left_out.clone();
    let port_is_taken = !bootstrap.ends_with(&format!(":{RDKAFKA_PORT}"));
    if port_is_taken {
        left_out.push(RDKAFKA_NEEDS_PORT);
    }
    let variables = [("KAFKA_HOST", bootstrap.as_str()), ("KAFKA_VERSION", KAFKA_VERSION), ("RUST_LOG", "off")];
    let mut tests = run(context, &RDKAFKA, &variables, &left_out)?;
    if port_is_taken {
        let reason = format!("port {RDKAFKA_PORT} is written in, and someone else has it");
        tests.push(Test { name: RDKAFKA_NEEDS_PORT.to_owned(), outcome: Outcome::LeftOut(reason) });
    }
    Ok(tests)
}

fn run_rskafka(context: &mut Context) -> Fallible<Vec<Test>> {
    let bootstrap = context.server.bootstrap();
    let variables = [("TEST_INTEGRATION", "1"), ("TEST_BROKER_IMPL", "kafka"), ("KAFKA_CONNECT", bootstrap.as_str())];
    run(context, &RSKAFKA, &variables, &context.left_out)
}

/// Runs the tests of each file, told what the crate wants to be told by `variables`.
fn run(context: &Context, tested: &Crate, variables: &[(&str, &str)], left_out: &[&str]) -> Fallible<Vec<Test>> {
    let mut tests = Vec::new();
    let mut log = String::new();
    for (file, program) in build(tested)? {
        let mut command = Command::new(program);
        command.current_dir(folder(tested)).envs(variables.iter().copied());
        // Those of the helpers that each file includes are the same in all.
        command.args(["--skip", "utils::"]);
        if let Some(test) = &context.again {
            let Some((_, name)) = test.split_once("::").filter(|(of, _)| *of == file) else { continue };
            command.args(["--exact", name]);
        }
        for name in left_out {
            let Some((_, name)) = name.split_once("::").filter(|(of, _)| *of == file) else { continue };
            command.args(["--skip", name]);
        }
        let output = process::run(&mut command, b"", Instant::now() + FILE_WITHIN)?;
        let text = output.text();
        let of_file: Vec<_> = text.lines().filter_map(|line| test(&file, line)).collect();
        let failed = of_file.iter().any(|test| matches!(test.outcome, Outcome::Failed(_)));
        if !output.status.success() && !failed {
            output.succeeded()?;
        }
        tests.extend(of_file);
        log += &text;
    }
    fs::write(context.log(tested.name)?, log)?;
    Ok(tests)
}

/// `test NAME ... ok`
fn test(file: &str, line: &str) -> Option<Test> {
    let (name, word) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match word.split(' ').next()? {
        "ok" => Outcome::Passed,
        "ignored" | "ignored," => Outcome::Skipped("its authors skip it".to_owned()),
        _ => Outcome::Failed("its output is in target/interop".to_owned()),
    };
    // A test that should panic says so behind its name.
    let name = name.split(' ').next()?;
    Some(Test { name: format!("{file}::{name}"), outcome })
}

/// Builds the tests; the name of each file with the program that runs it.
fn build(tested: &Crate) -> Fallible<Vec<(String, PathBuf)>> {
    let folder = folder(tested);
    if !folder.exists() {
        let partial = tempfile::tempdir_in(files::target_folder("interop")?)?;
        download(tested, partial.path())?;
        files::target_folder("interop/crates")?;
        fs::rename(partial.keep(), &folder)?;
    }
    let mut cargo = cargo();
    cargo.args(["test", "--no-run", "--locked", "--message-format=json"]).current_dir(&folder);
    for file in tested.files {
        cargo.args(["--test", file]);
    }
    cargo.env("CARGO_TARGET_DIR", files::target_folder("interop/cargo")?);
    let output = process::run(&mut cargo, b"", Instant::now() + BUILD_WITHIN)?.succeeded()?;
    let mut programs = Vec::new();
    for line in output.text().lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        if let (Some(program), Some(file)) = (message["executable"].as_str(), message["target"]["name"].as_str()) {
            programs.push((file.to_owned(), PathBuf::from(program)));
        }
    }
    programs.sort_unstable();
    Ok(programs)
}

/// Copies the crate from where Cargo keeps what it downloaded, so that it can be built by itself.
fn download(tested: &Crate, folder: &Path) -> Fallible<()> {
    let Crate { name, version, .. } = tested;
    let asking = tempfile::tempdir()?;
    let manifest = format!(
        "[package]\nname = \"asking\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n\
         [dependencies]\n{name} = \"={version}\"\n"
    );
    fs::write(asking.path().join("Cargo.toml"), manifest)?;
    fs::write(asking.path().join("lib.rs"), "")?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version=1"]).current_dir(asking.path());
    let output = process::run(&mut metadata, b"", Instant::now() + BUILD_WITHIN)?.succeeded()?;
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = found["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let package = packages.iter().find(|package| package["name"] == *name && package["version"] == *version);
    let path = package.and_then(|package| package["manifest_path"].as_str()).ok_or("cargo did not find the crate")?;
    let source = Path::new(path).parent().ok_or("a crate lies in a folder")?;
    files::copy(source, folder)?;
    // Their compiler need not be ours, and they are no part of our workspace.
    let _ = fs::remove_file(folder.join("rust-toolchain.toml"));
    let own = format!("{}\n[workspace]\n", fs::read_to_string(source.join("Cargo.toml"))?);
    fs::write(folder.join("Cargo.toml"), own)?;
    for dependency in tested.outdated {
        let mut update = cargo();
        update.args(["update", dependency]).current_dir(folder);
        process::run(&mut update, b"", Instant::now() + BUILD_WITHIN)?.succeeded()?;
    }
    Ok(())
}

fn folder(tested: &Crate) -> PathBuf {
    files::target().join("interop/crates").join(format!("{}-{}", tested.name, tested.version))
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
