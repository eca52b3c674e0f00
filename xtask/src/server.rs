//! The broker under test: Ottla, or a real Kafka in its place.

use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_base::Random;

use crate::kafka::{self, Installed};
use crate::process::Daemon;
use crate::{Fallible, files};

/// How long Ottla may take to answer; it takes milliseconds, but the machine may be busy.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// What a clean stop leaves in a log directory.
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// What Ottla says before the address that its controller listens at.
const CONTROLLER_LISTENS: &str = "the controller listens at ";
/// Where free ports are looked for: below those that Linux gives to clients.
const PORTS: Range<u16> = 20_000..32_000;
/// How often two free ports in a row are looked for.
const PORT_ATTEMPTS: usize = 100;
/// Names a program that is tried instead of the released one, which is not built then.
const PROGRAM_VARIABLE: &str = "OTTLA_PROGRAM";

/// Which of the two.
#[derive(Clone)]
pub enum Kind {
    Ottla,
    Kafka { installed: Installed, heap: String },
}

/// A broker on a port of the loopback interface. Dropping it kills it.
pub struct Server {
    kind: Kind,
    folder: PathBuf,
    settings: Vec<String>,
    /// Known before it starts, or once it has answered; from then on it comes back there.
    port: Option<u16>,
    running: Running,
}

enum Running {
    Ottla(Daemon),
    Kafka(kafka::Nodes),
    Nothing,
}

/// The program that is tried: what `OTTLA_PROGRAM` names, or Ottla as it is released.
pub fn program() -> PathBuf {
    named_program().unwrap_or_else(|| files::target().join("release/ottla"))
}

/// The program that `OTTLA_PROGRAM` names.
pub fn named_program() -> Option<PathBuf> {
    std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from)
}

/// Builds Ottla as it is released, unless another program is to be tried.
pub fn build() -> Fallible<()> {
    if named_program().is_some() {
        return Ok(());
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--package", "ottla-cli"]).current_dir(files::root());
    let status = cargo.status()?;
    if status.success() { Ok(()) } else { Err(format!("cargo build ended with {status}").into()) }
}

/// A port that was free a moment ago, as was the one after it. None of those that the system gives to clients: one of them
/// could have taken it before the broker does, even the broker's own, which would then be connected to itself.
pub fn free_port() -> Fallible<u16> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut random = Random::new(u64::from(now.subsec_nanos()) ^ u64::from(std::process::id()) << 32);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..PORT_ATTEMPTS {
        let first = PORTS.start + random.below(PORTS.len() as u64) as u16;
        if is_free(first) && is_free(first + 1) {
            return Ok(first);
        }
    }
    Err("there are no two free ports in a row".into())
}

impl Server {
    /// One that does not run yet, with its files under `folder`; on a free port if `port` does not name one.
    pub fn new(kind: Kind, folder: &Path, settings: &[String], port: Option<u16>) -> Fallible<Self> {
        let port = match kind {
            Kind::Ottla => port,
            Kind::Kafka { .. } => Some(port.map_or_else(free_port, Ok)?),
        };
        let (folder, settings) = (folder.to_owned(), settings.to_vec());
        fs::create_dir_all(&folder)?;
        let server = Self { kind, folder, settings, port, running: Running::Nothing };
        if let Kind::Kafka { installed, heap } = &server.kind {
            kafka::format(installed, &server.kafka_options(heap))?;
        }
        Ok(server)
    }

    /// Starts the process; it may not answer yet.
    pub fn spawn(&mut self) -> Fallible<()> {
        self.running = match &self.kind {
            Kind::Ottla => Running::Ottla(self.spawn_ottla()?),
            Kind::Kafka { installed, heap } => {
                Running::Kafka(kafka::Nodes::spawn(installed, &self.kafka_options(heap))?)
            }
        };
        Ok(())
    }

    /// Waits until it answers.
    pub fn wait(&mut self) -> Fallible<()> {
        let ready = self.ready_file();
        match &mut self.running {
            Running::Ottla(daemon) => {
                let deadline = Instant::now() + READY_WITHIN;
                let text = daemon.wait_for(deadline, || fs::read_to_string(&ready).ok());
                let text = text.map_err(|error| format!("Ottla: {error}"))?;
                let (_, port) = text.trim().rsplit_once(':').ok_or("the ready file has no port")?;
                self.port = Some(port.parse()?);
                Ok(())
            }
            Running::Kafka(nodes) => nodes.wait(),
            Running::Nothing => Err("it was not started".into()),
        }
    }

    /// Starts it on the files it has, and on the port it had, and waits until it answers.
    pub fn start(&mut self) -> Fallible<()> {
        self.spawn()?;
        self.wait()
    }

    /// Its `host:port`; port 0 before it has answered for the first time, if no port was named.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port.unwrap_or(0))
    }

    /// Where its controller listens, as `host:port`.
    pub fn controller(&self) -> Fallible<String> {
        match self.kind {
            Kind::Ottla => {
                let output = self.output()?;
                let (_, after) =
                    output.rsplit_once(CONTROLLER_LISTENS).ok_or("it does not say where its controller is")?;
                Ok(after.lines().next().unwrap_or_default().to_owned())
            }
            Kind::Kafka { .. } => Ok(format!("127.0.0.1:{}", self.port.expect("Kafka was given a port") + 1)),
        }
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Fallible<u32> {
        match &self.running {
            Running::Ottla(daemon) => Ok(daemon.pid()),
            Running::Kafka(nodes) => Ok(nodes.pid()),
            Running::Nothing => Err("it does not run".into()),
        }
    }

    /// Whether it is ours.
    pub fn is_ottla(&self) -> bool {
        matches!(self.kind, Kind::Ottla)
    }

    /// The folder with the folders of the partitions.
    pub fn data(&self) -> PathBuf {
        match self.kind {
            Kind::Ottla => self.folder.join("data"),
            Kind::Kafka { .. } => self.folder.join("1/data"),
        }
    }

    /// What it has written about itself: Kafka since its last start, Ottla since its first.
    pub fn output(&self) -> Fallible<String> {
        let path = match self.kind {
            Kind::Ottla => self.ottla_output(),
            Kind::Kafka { .. } => self.folder.join("1/node.out"),
        };
        Ok(fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    /// The process ended although nobody told it to: what it wrote last.
    pub fn died(&mut self) -> Option<String> {
        match &mut self.running {
            Running::Ottla(daemon) => (!daemon.is_alive()).then(|| daemon.last_output()),
            Running::Kafka(_) | Running::Nothing => None,
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Fallible<()> {
        match &mut self.running {
            Running::Ottla(daemon) => daemon.kill()?,
            Running::Kafka(nodes) => nodes.kill()?,
            Running::Nothing => {}
        }
        // So that nobody takes it for one that died by itself.
        self.running = Running::Nothing;
        Ok(())
    }

    /// SIGTERM, and waits for the end. Fails where Ottla does not end as it should.
    pub fn stop(&mut self) -> Fallible<()> {
        let marker = self.data().join(CLEAN_SHUTDOWN);
        match &mut self.running {
            Running::Ottla(daemon) => {
                let status = daemon.stop()?;
                if !status.success() || !marker.exists() {
                    return Err(format!("Ottla was stopped and ended with {status}:\n{}", daemon.last_output()).into());
                }
            }
            Running::Kafka(nodes) => nodes.stop()?,
            Running::Nothing => {}
        }
        self.running = Running::Nothing;
        Ok(())
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join("ready")
    }

    fn ottla_output(&self) -> PathBuf {
        self.folder.join("ottla.out")
    }

    fn spawn_ottla(&self) -> Fallible<Daemon> {
        let ready = self.ready_file();
        let _ = fs::remove_file(&ready);
        let mut command = Command::new(program());
        command.arg("broker").arg("--ready-file").arg(&ready);
        let listeners = format!("listeners=PLAINTEXT://{},CONTROLLER://127.0.0.1:0", self.bootstrap());
        let controllers = "controller.listener.names=CONTROLLER".to_owned();
        let folders = format!("log.dirs={}", self.data().display());
        for setting in [listeners, controllers, folders].iter().chain(&self.settings) {
            command.arg("--override").arg(setting);
        }
        Daemon::start(&mut command, &self.ottla_output())
    }

    fn kafka_options(&self, heap: &str) -> kafka::Options {
        kafka::Options {
            folder: self.folder.clone(),
            nodes: 1,
            port: self.port.expect("Kafka was given a port"),
            heap: heap.to_owned(),
            settings: self.settings.clone(),
        }
    }
}
