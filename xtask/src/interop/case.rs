//! What a case is, and what it may use.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Clients;
use crate::Fallible;
use crate::process::{self, Output};
use crate::server::Server;

/// Kafka's codecs, in the order of their numbers.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// How much is shown of a text in which something is missing.
const SHOWN_LINES: usize = 8;

type Work = Box<dyn Fn(&mut Context) -> Fallible<()>>;

/// One thing that a client must be able to do.
pub struct Case {
    pub name: String,
    within: Duration,
    work: Work,
}

impl Case {
    /// A case that fails unless `work` succeeds within so many seconds.
    pub fn new(name: impl Into<String>, within_s: u64, work: impl Fn(&mut Context) -> Fallible<()> + 'static) -> Self {
        Self { name: name.into(), within: Duration::from_secs(within_s), work: Box::new(work) }
    }
}

/// What cases use: the broker, the clients, and the time that is left.
pub struct Context {
    pub server: Server,
    pub clients: Clients,
    scratch: PathBuf,
    /// Names of tests that a suite of others is to leave out.
    pub left_out: Vec<&'static str>,
    /// The test that failed, and is to run once more by itself.
    pub again: Option<String>,
    /// When the running case must have ended.
    pub deadline: Instant,
    topic: String,
}

impl Context {
    /// For tests against `server`; their files go under `scratch`.
    pub fn new(server: Server, clients: Clients, scratch: &Path) -> Self {
        let scratch = scratch.to_owned();
        let (deadline, topic) = (Instant::now(), String::new());
        Self { server, clients, scratch, left_out: Vec::new(), again: None, deadline, topic }
    }

    /// Runs one case. A broker that died is the failure, whatever the clients made of it.
    pub fn run(&mut self, case: &Case) -> Fallible<()> {
        self.deadline = Instant::now() + case.within;
        let again = if self.again.is_some() { "-again" } else { "" };
        self.topic = case.name.replace(' ', "-") + again;
        let done = (case.work)(self);
        if let Some(output) = self.server.died() {
            self.server.start()?;
            return Err(format!("the broker died:\n{output}").into());
        }
        done
    }

    /// The running case's topic.
    pub fn topic(&self) -> String {
        self.topic.clone()
    }

    /// A path for a file that cases share.
    pub fn shared_file(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Where a suite of others writes what it says; kept until its next run.
    pub fn log(&self, suite: &str) -> Fallible<PathBuf> {
        let broker = if self.server.is_ottla() { "ottla" } else { "kafka" };
        let again = if self.again.is_some() { "-again" } else { "" };
        Ok(crate::files::target_folder("interop")?.join(format!("{suite}-on-{broker}{again}.log")))
    }

    /// Makes the running case's topic; `settings` are its configuration, as `key=value`.
    pub fn create_topic(&self, partitions: u32, settings: &[&str]) -> Fallible<String> {
        let mut command = self.python("confluent.py");
        command.args(["create_topic", &self.server.bootstrap(), &self.topic, &partitions.to_string()]).args(settings);
        self.output(&mut command, "")?;
        Ok(self.topic())
    }

    /// kcat, told where the broker is.
    pub fn kcat(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kcat");
        command.args(["-b", &self.server.bootstrap()]).args(arguments);
        command
    }

    /// One of our Python scripts.
    pub fn python(&self, script: &str) -> Command {
        let mut command = Command::new(&self.clients.python);
        command.arg("-B").arg(crate::files::root().join("xtask/interop").join(script));
        command
    }

    /// One of Kafka's own tools, told where the broker is.
    pub fn tool(&self, name: &str, arguments: &[&str]) -> Fallible<Command> {
        let mut command = self.clients.kafka.tool(name)?;
        command.args(["--bootstrap-server", &self.server.bootstrap()]).args(arguments);
        Ok(command)
    }

    /// Runs a client to its end within the time of the case; what it wrote. It must succeed.
    pub fn output(&self, command: &mut Command, input: &str) -> Fallible<Output> {
        process::run(command, input.as_bytes(), self.deadline)?.succeeded()
    }

    /// Runs a client to its end, and kills the broker and starts it again after each line of its output of which
    /// `is_time` says so. How often that was.
    pub fn run_killing(&mut self, command: &mut Command, mut is_time: impl FnMut(&str) -> bool) -> Fallible<usize> {
        let (deadline, server) = (self.deadline, &mut self.server);
        let mut kills = 0;
        let mut failed = None;
        let (output, ()) = process::run_reading(command, Vec::new(), deadline, |lines| {
            for line in BufReader::new(lines).lines() {
                if !is_time(&line?) {
                    continue;
                }
                kills += 1;
                if let Err(error) = server.kill().and_then(|()| server.start()) {
                    failed.get_or_insert(error);
                    break;
                }
            }
            Ok(())
        })?;
        if let Some(error) = failed {
            return Err(format!("after kill {kills}: {error}").into());
        }
        output.succeeded()?;
        Ok(kills)
    }

    /// As `output`, only the text on its standard output.
    pub fn text(&self, command: &mut Command, input: &str) -> Fallible<String> {
        Ok(self.output(command, input)?.text())
    }
}

/// Fails unless both are the same; says what is the first difference.
pub fn expect_same(what: &str, found: &str, expected: &str) -> Fallible<()> {
    if found == expected {
        return Ok(());
    }
    let (mut found, mut expected) = (found.lines(), expected.lines());
    for number in 1.. {
        match (found.next(), expected.next()) {
            (None, None) => break,
            (found, expected) if found == expected => {}
            (Some(found), Some(expected)) => {
                return Err(format!("{what}: line {number} is {found:?} and should be {expected:?}").into());
            }
            (Some(found), None) => return Err(format!("{what}: line {number} should not be there: {found:?}").into()),
            (None, Some(expected)) => return Err(format!("{what}: line {number} is missing: {expected:?}").into()),
        }
    }
    Err(format!("{what}: the ends of lines differ").into())
}

/// Fails unless `text` contains `part`.
pub fn expect_part(what: &str, text: &str, part: &str) -> Fallible<()> {
    if text.contains(part) {
        return Ok(());
    }
    let shown: Vec<_> = text.lines().take(SHOWN_LINES).collect();
    Err(format!("{what}: no {part:?} in:\n{}", shown.join("\n")).into())
}

/// Fails if `text` contains `part`.
pub fn expect_no_part(what: &str, text: &str, part: &str) -> Fallible<()> {
    match text.lines().find(|line| line.contains(part)) {
        Some(line) => Err(format!("{what}: {line}").into()),
        None => Ok(()),
    }
}
