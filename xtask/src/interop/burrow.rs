//! Burrow 1.2.1, as Debian has it: a monitor of lag that decodes `__consumer_offsets` itself. It sees nothing on a real
//! Kafka 4: it asks ListOffsets in version 0, which that speaks no more, and knows values of commits up to version 3. So
//! what it must see here is not held against what it sees there.
//!
//! It keeps its locks in ZooKeeper, so that runs too. Both come out of Debian's packages into `target/interop/burrow`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::case::{Case, Context};
use super::groups;
use super::suite::Suite;
use crate::process::Daemon;
use crate::{Fallible, files, packages, server};

/// Burrow and ZooKeeper, with the libraries that a server of ZooKeeper's loads.
const PACKAGES: [&str; 6] =
    ["burrow", "libdropwizard-metrics-java", "libslf4j-java", "libsnappy-java", "libzookeeper-java", "zookeeper"];
const JARS: [&str; 6] = ["zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "metrics-core", "snappy-java"];
const CASE_WITHIN_S: u64 = 120;
/// How often Burrow is asked while its answer is not yet the right one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many records a partition gets at once.
const RECORDS: i64 = 10;

pub fn suite() -> Suite {
    let cases = vec![
        Case::new("burrow commits", CASE_WITHIN_S, commits),
        Case::new("burrow members", CASE_WITHIN_S, members),
        Case::new("burrow killed broker", CASE_WITHIN_S, killed_broker),
    ];
    Suite::of_cases("burrow", cases).with_settings(&groups::SETTINGS).beyond_kafka()
}

/// Burrow, and the ZooKeeper it wants.
struct Burrow {
    _zookeeper: Daemon,
    daemon: Daemon,
    port: u16,
}

/// The lag follows what is committed, and what is sent.
fn commits(context: &mut Context) -> Fallible<()> {
    let mut burrow = Burrow::with_group(context)?;
    burrow.until_shown(context, &[(0, 10), (0, 10)])?;
    commit(context, &[7, 3])?;
    burrow.until_shown(context, &[(7, 3), (3, 7)])?;
    produce(context, &["0"])?;
    burrow.until_shown(context, &[(7, 13), (3, 7)])?;
    commit(context, &[20, 10])?;
    burrow.until_shown(context, &[(20, 0), (10, 0)])
}

/// A member comes, goes, and another one goes on where it stopped. Burrow does not name it: of the records of groups it
/// knows versions before 3, which Kafka has written since 2.3.
fn members(context: &mut Context) -> Fallible<()> {
    let mut burrow = Burrow::with_group(context)?;
    let member = member(context)?;
    burrow.until_shown(context, &[(10, 0), (10, 0)])?;
    drop(member);
    produce(context, &["0", "1"])?;
    burrow.until_shown(context, &[(10, 10), (10, 10)])?;
    let _member = self::member(context)?;
    burrow.until_shown(context, &[(20, 0), (20, 0)])
}

/// The broker is killed and comes back: the lag is as it was, and goes on from there.
fn killed_broker(context: &mut Context) -> Fallible<()> {
    let mut burrow = Burrow::with_group(context)?;
    commit(context, &[7, 3])?;
    burrow.until_shown(context, &[(7, 3), (3, 7)])?;
    context.server.kill()?;
    context.server.start()?;
    burrow.until_shown(context, &[(7, 3), (3, 7)])?;
    produce(context, &["0", "1"])?;
    burrow.until_shown(context, &[(7, 13), (3, 17)])?;
    commit(context, &[20, 19])?;
    burrow.until_shown(context, &[(20, 0), (19, 1)])
}

/// Sends records to these partitions of the case's topic.
fn produce(context: &Context, partitions: &[&str]) -> Fallible<()> {
    let lines: String = (0..RECORDS).map(|n| format!("{n}\n")).collect();
    for partition in partitions {
        context.output(&mut context.kcat(&["-P", "-t", &context.topic(), "-p", partition]), &lines)?;
    }
    Ok(())
}

/// Commits for the group named as the topic, an offset a partition.
fn commit(context: &Context, offsets: &[i64]) -> Fallible<()> {
    let mut python = context.python("confluent.py");
    python.args(["commit", &context.server.bootstrap(), &context.topic()]);
    python.args(offsets.iter().map(i64::to_string));
    context.output(&mut python, "").map(drop)
}

/// Starts a member of the group named as the topic.
fn member(context: &Context) -> Fallible<Daemon> {
    let mut python = context.python("member.py");
    python.args(["confluent", &context.server.bootstrap(), &context.topic()]);
    Daemon::start(&mut python, &context.shared_file("burrow-member.out"))
}

/// Offset and lag of each partition of the group named as the topic, by Ottla's own tool.
fn described(context: &Context) -> Fallible<Vec<(i64, i64)>> {
    let mut tool = Command::new(server::program());
    tool.args(["consumer-groups", "--bootstrap-server", &context.server.bootstrap()]);
    tool.args(["--describe", "--group", &context.topic()]);
    let table = context.text(&mut tool, "")?;
    let row = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        (columns.first() == Some(&context.topic().as_str()))
            .then(|| Some((columns.get(3)?.parse().ok()?, columns.get(5)?.parse().ok()?)))
    };
    table.lines().filter_map(row).collect::<Option<_>>().ok_or_else(|| format!("no offsets in:\n{table}").into())
}

impl Burrow {
    /// The case's topic with two partitions of `RECORDS` each, its group with nothing read, and Burrow, which sees that.
    fn with_group(context: &Context) -> Fallible<Self> {
        let topic = context.create_topic(2, &[])?;
        produce(context, &["0", "1"])?;
        // It wants the topic of the groups to be there.
        commit(context, &[0, 0])?;
        let mut burrow = Self::start(context)?;
        // What was committed before it listens to the topic's end is not seen by it.
        while burrow.shown(&topic).is_none_or(|partitions| partitions.len() < 2) {
            burrow.check(context)?;
            commit(context, &[0, 0])?;
            thread::sleep(LOOK_EVERY);
        }
        Ok(burrow)
    }

    fn start(context: &Context) -> Fallible<Self> {
        let programs = install()?;
        let folder = context.shared_file("burrow").join(context.topic());
        fs::create_dir_all(&folder)?;
        let zookeeper_port = server::free_port()?;
        let zookeeper = zookeeper(&programs, &folder, zookeeper_port, context.deadline)?;
        let port = server::free_port()?;
        fs::write(folder.join("burrow.toml"), settings(&folder, zookeeper_port, &context.server.bootstrap(), port))?;
        let mut command = Command::new(programs.join("usr/bin/Burrow"));
        command.arg("-config-dir").arg(&folder);
        let mut daemon = Daemon::start(&mut command, &folder.join("burrow.log"))?;
        daemon.wait_for(context.deadline, || get(port, "/burrow/admin"))?;
        Ok(Self { _zookeeper: zookeeper, daemon, port })
    }

    /// Fails once Burrow ended, or the time of the case is over.
    fn check(&mut self, context: &Context) -> Fallible<()> {
        if !self.daemon.is_alive() {
            return Err(format!("Burrow ended:\n{}", self.daemon.last_output()).into());
        }
        if Instant::now() >= context.deadline {
            return Err(format!("Burrow does not show the group:\n{}", self.daemon.last_output()).into());
        }
        Ok(())
    }

    /// What it says of the group: offset and lag of each partition.
    fn shown(&self, group: &str) -> Option<Vec<(i64, i64)>> {
        let answer = get(self.port, &format!("/v3/kafka/local/consumer/{group}/lag"))?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        let mut partitions = answer["status"]["partitions"].as_array()?.clone();
        partitions.sort_by_key(|partition| partition["partition"].as_i64());
        let place =
            |partition: &Value| Some((partition["end"]["offset"].as_i64()?, partition["current_lag"].as_i64()?));
        partitions.iter().map(place).collect()
    }

    /// Waits until Burrow shows these offsets and lags, partition by partition; Ottla's tool must say the same.
    fn until_shown(&mut self, context: &Context, expected: &[(i64, i64)]) -> Fallible<()> {
        let group = context.topic();
        loop {
            let shown = self.shown(&group).unwrap_or_default();
            if shown == expected {
                break;
            }
            self.check(context).map_err(|error| format!("not {expected:?}, but {shown:?}: {error}"))?;
            thread::sleep(LOOK_EVERY);
        }
        let described = described(context)?;
        let same = described == expected;
        if same { Ok(()) } else { Err(format!("Burrow shows {expected:?}, the tool {described:?}").into()) }
    }
}

/// Unpacks the packages, unless they are there; the folder that stands for the root of the system.
fn install() -> Fallible<PathBuf> {
    let folder = files::target_folder("interop")?.join("burrow");
    if folder.exists() {
        return Ok(folder);
    }
    packages::ensure("java", "default-jre-headless")?;
    let partial = tempfile::tempdir_in(files::target_folder("interop")?)?;
    packages::unpack(&PACKAGES, partial.path())?;
    fs::rename(partial.keep(), &folder)?;
    Ok(folder)
}

/// Starts ZooKeeper, and waits until it answers.
fn zookeeper(programs: &Path, folder: &Path, port: u16, deadline: Instant) -> Fallible<Daemon> {
    let file = folder.join("zoo.cfg");
    let data = folder.join("zookeeper");
    let settings = format!(
        "tickTime=2000\ndataDir={}\nclientPortAddress=127.0.0.1\nclientPort={port}\nadmin.enableServer=false\n",
        data.display()
    );
    fs::write(&file, settings)?;
    let jars = JARS.map(|jar| programs.join(format!("usr/share/java/{jar}.jar")).display().to_string());
    let mut java = Command::new("java");
    java.args(["-Xmx128M", "-XX:TieredStopAtLevel=1", "-cp", &jars.join(":")]);
    java.arg("org.apache.zookeeper.server.ZooKeeperServerMain").arg(file);
    let mut daemon = Daemon::start(&mut java, &folder.join("zookeeper.log"))?;
    let serves = || ask(port, "srvr").filter(|answer| answer.contains("Mode: "));
    daemon.wait_for(deadline, serves).map_err(|error| format!("ZooKeeper: {error}"))?;
    Ok(daemon)
}

fn settings(folder: &Path, zookeeper_port: u16, broker: &str, port: u16) -> String {
    let pid = folder.join("burrow.pid");
    format!(
        r#"[general]
pidfile="{pid}"
[logging]
level="warn"
[zookeeper]
servers=["127.0.0.1:{zookeeper_port}"]
timeout=6
root-path="/burrow"
[client-profile.test]
client-id="burrow"
kafka-version="2.0.0"
[cluster.local]
class-name="kafka"
servers=["{broker}"]
client-profile="test"
topic-refresh=2
offset-refresh=1
[consumer.local]
class-name="kafka"
cluster="local"
servers=["{broker}"]
client-profile="test"
[httpserver.default]
address="127.0.0.1:{port}"
[evaluator.default]
class-name="caching"
expire-cache=1
[storage.default]
class-name="inmemory"
intervals=15
min-distance=0
"#,
        pid = pid.display()
    )
}

/// The body of the answer, where there is one.
fn get(port: u16, path: &str) -> Option<String> {
    let answer = ask(port, &format!("GET {path} HTTP/1.0\r\n\r\n"))?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Sends a text, and gives all that comes back.
fn ask(port: u16, text: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
