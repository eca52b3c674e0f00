//! Nodes of Kafka on the loopback interface: one, or several that form a cluster.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ottla_base::{Random, Uuid};

use super::install::{Installed, SHORT_LIVED};
use crate::process::{self, Daemon};
use crate::{Fallible, files};

/// How long the nodes may take to start; generous, for machines that are busy.
const START_WITHIN: Duration = Duration::from_secs(90);
const PROPERTIES: &str = "server.properties";
/// The distance between the ports of two nodes.
const PORT_STEP: u16 = 10;
/// What a node writes when it answers.
const STARTED: &str = "Kafka Server started";

/// How to start.
#[derive(Clone)]
pub struct Options {
    /// Files go to `folder/K`, K from 1. Files of an earlier start are used again.
    pub folder: PathBuf,
    pub nodes: u16,
    /// Port of the first node.
    pub port: u16,
    /// Heap of each node, as `java -Xmx` takes it.
    pub heap: String,
    /// More lines for `server.properties`.
    pub settings: Vec<String>,
}

/// Running nodes. Dropping them kills them.
pub struct Nodes {
    bootstrap: String,
    running: Vec<(PathBuf, Daemon)>,
}

impl Nodes {
    /// Formats what is not formatted yet, starts every node and waits until all answer.
    pub fn start(installed: &Installed, options: &Options) -> Fallible<Self> {
        format(installed, options)?;
        let mut nodes = Self::spawn(installed, options)?;
        nodes.wait()?;
        Ok(nodes)
    }

    /// Starts every node on a folder that is formatted.
    pub fn spawn(installed: &Installed, options: &Options) -> Fallible<Self> {
        let mut running = Vec::new();
        for node in 1..=options.nodes {
            let folder = options.folder.join(node.to_string());
            let output = folder.join("node.out");
            let _ = fs::remove_file(&output);
            let mut jvm = jvm(installed, &options.heap, &folder.join(PROPERTIES));
            running.push((output.clone(), Daemon::start(&mut jvm, &output)?));
        }
        let addresses: Vec<_> = (1..=options.nodes).map(|node| format!("127.0.0.1:{}", port(options, node))).collect();
        Ok(Self { bootstrap: addresses.join(","), running })
    }

    /// Waits until every node answers.
    pub fn wait(&mut self) -> Fallible<()> {
        let deadline = Instant::now() + START_WITHIN;
        for (output, daemon) in &mut self.running {
            daemon
                .wait_for(deadline, || fs::read_to_string(&output).ok()?.contains(STARTED).then_some(()))
                .map_err(|error| format!("Kafka: {error}"))?;
        }
        Ok(())
    }

    /// The addresses of all nodes, separated by commas.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The process id of the first node.
    pub fn pid(&self) -> u32 {
        let (_, first) = self.running.first().expect("there is at least one node");
        first.pid()
    }

    /// SIGKILL to all.
    pub fn kill(&mut self) -> Fallible<()> {
        self.running.iter_mut().try_for_each(|(_, daemon)| daemon.kill())
    }

    /// SIGTERM to all; waits until they ended.
    pub fn stop(&mut self) -> Fallible<()> {
        // Kafka's JVM ends with 143 when it is told to.
        self.running.iter_mut().try_for_each(|(_, daemon)| daemon.stop().map(drop))
    }
}

/// Makes the folder of each node, unless it was used before, and its `server.properties`.
pub fn format(installed: &Installed, options: &Options) -> Fallible<()> {
    let cluster = cluster_id(&options.folder)?;
    for node in 1..=options.nodes {
        let folder = options.folder.join(node.to_string());
        fs::create_dir_all(&folder)?;
        let properties = folder.join(PROPERTIES);
        fs::write(&properties, server_properties(options, node, &folder))?;
        if !folder.join("data/meta.properties").exists() {
            let mut tool = installed.node(&SHORT_LIVED, "kafka.tools.StorageTool");
            tool.args(["format", "--cluster-id", &cluster, "--config"]).arg(&properties);
            process::run(&mut tool, b"", Instant::now() + START_WITHIN)?.succeeded()?;
        }
    }
    Ok(())
}

/// The nodes of one folder form one cluster, also when they are started again.
fn cluster_id(folder: &Path) -> Fallible<String> {
    fs::create_dir_all(folder)?;
    let path = folder.join("cluster-id");
    if let Ok(found) = fs::read_to_string(&path) {
        return Ok(found);
    }
    let mut seed = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let mut random = Random::new(u64::from_le_bytes(seed));
    let id = Uuid::random(|| random.next_u64()).to_string();
    files::write_whole(&path, &id)?;
    Ok(id)
}

fn port(options: &Options, node: u16) -> u16 {
    options.port + PORT_STEP * (node - 1)
}

fn server_properties(options: &Options, node: u16, folder: &Path) -> String {
    let broker = port(options, node);
    // A node that stands alone may be called otherwise.
    let named = options.settings.iter().find_map(|setting| setting.strip_prefix("node.id="));
    let name = |node: u16| named.map_or_else(|| node.to_string(), str::to_owned);
    let voters: Vec<_> =
        (1..=options.nodes).map(|node| format!("{}@127.0.0.1:{}", name(node), port(options, node) + 1)).collect();
    let copies = options.nodes.min(3);
    let in_sync = copies.saturating_sub(1).max(1);
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id={node}\n\
         controller.quorum.voters={voters}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={data}\n\
         default.replication.factor={copies}\n\
         offsets.topic.replication.factor={copies}\n\
         transaction.state.log.replication.factor={copies}\n\
         transaction.state.log.min.isr={in_sync}\n\
         share.coordinator.state.topic.replication.factor={copies}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n\
         group.initial.rebalance.delay.ms=0\n",
        voters = voters.join(","),
        controller = broker + 1,
        data = folder.join("data").display(),
    );
    for setting in &options.settings {
        writeln!(text, "{setting}").expect("writing to a string does not fail");
    }
    text
}

/// A node's JVM, with the settings of Kafka's own start script.
fn jvm(installed: &Installed, heap: &str, properties: &Path) -> Command {
    let [least, most] = [format!("-Xms{heap}"), format!("-Xmx{heap}")];
    let settings = [
        &least,
        &most,
        "-server",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35",
        "-XX:+ExplicitGCInvokesConcurrent",
        "-Djava.awt.headless=true",
    ];
    let mut node = installed.node(&settings, "kafka.Kafka");
    node.arg(properties);
    node
}
