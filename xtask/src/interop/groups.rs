//! Groups of consumers, with clients whose packages come without tests that can be run here: programs of ours, in
//! `xtask/interop`, that do what applications do. Each case of a program is a group of its own, named as its topic.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::case::{Case, Context};
use super::suite::Suite;
use crate::{Fallible, files, packages, process};

/// How long a case may take.
const CASE_WITHIN_S: u64 = 100;
/// How long packages may take to come and be built.
const INSTALL_WITHIN: Duration = Duration::from_secs(10 * 60);
/// Members come at once, and those that die are noticed soon.
pub const SETTINGS: [&str; 2] = ["group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=100"];

const CONFLUENT: [&str; 10] = [
    "resume",
    "two_members",
    "round_robin",
    "cooperative_sticky",
    "static_members",
    "dead_member",
    "commits",
    "administration",
    "new_partitions",
    "killed_broker",
];
const AIOKAFKA: [&str; 8] =
    ["codecs", "resume", "auto_commit", "rebalance", "sticky", "static_member", "commits", "administration"];
const KAFKAJS: [&str; 5] = ["resume", "rebalance", "manual_commits", "seek_and_pause", "administration"];
const FRANZ: [&str; 6] = ["resume", "rebalance", "cooperative_sticky", "static_member", "groups", "offsets"];

pub fn suites() -> Vec<Suite> {
    let confluent = cases("confluent groups", &CONFLUENT, |context| Ok(context.python("confluent_groups.py")));
    let aiokafka = cases("aiokafka", &AIOKAFKA, |context| Ok(context.python("aiokafka_groups.py")));
    let kafkajs = cases("kafkajs", &KAFKAJS, |_| {
        let mut node = Command::new("node");
        node.arg(kafkajs()?);
        Ok(node)
    });
    let franz = cases("franz-go", &FRANZ, |_| Ok(Command::new(franz()?)));
    let suite = |name, cases| Suite::of_cases(name, cases).with_settings(&SETTINGS);
    vec![
        suite("confluent-groups", confluent),
        suite("aiokafka", aiokafka),
        suite("kafkajs", kafkajs),
        suite("franz-go", franz),
    ]
}

/// One case for each name that `program` knows. A program may ask for the broker to be killed.
fn cases(client: &str, names: &'static [&str], program: fn(&Context) -> Fallible<Command>) -> Vec<Case> {
    let case = |name: &'static str| {
        Case::new(format!("{client} {}", name.replace('_', " ")), CASE_WITHIN_S, move |context| {
            let mut command = program(context)?;
            command.args([name, &context.server.bootstrap(), &context.topic()]);
            context.run_killing(&mut command, |line| line == "kill").map(drop)
        })
    };
    names.iter().map(|name| case(name)).collect()
}

/// The program for kafkajs, beside the package.
fn kafkajs() -> Fallible<PathBuf> {
    let folder = files::target_folder("interop/kafkajs")?;
    let source = files::root().join("xtask/interop/kafkajs");
    let stamp = std::fs::read_to_string(source.join("package.json"))?;
    let stamp_file = folder.join("stamp");
    if !std::fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        packages::ensure("npm", "npm")?;
        files::copy(&source, &folder)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
        process::run(&mut npm, b"", Instant::now() + INSTALL_WITHIN)?.succeeded()?;
        files::write_whole(&stamp_file, &stamp)?;
    }
    files::copy(&source, &folder)?;
    Ok(folder.join("groups.js"))
}

/// The program for franz-go, built.
fn franz() -> Fallible<PathBuf> {
    packages::ensure("go", "golang-go")?;
    let program = files::target_folder("interop")?.join("franz");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(".").current_dir(files::root().join("xtask/interop/franz"));
    process::run(&mut go, b"", Instant::now() + INSTALL_WITHIN)?.succeeded()?;
    Ok(program)
}
