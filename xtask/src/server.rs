//! The broker under test: Ottla, or a real Kafka in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::kafka::{self, Installed};
use crate::process::Daemon;
use crate::{Fallible, files};

/// How long Ottla may take to answer; it takes milliseconds, but the machine may be busy.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ottla,
    Kafka,
}

/// A running broker on a free port of the loopback interface. Dropping it kills it.
pub struct Server {
    kind: Kind,
    folder: PathBuf,
    settings: Vec<String>,
    heap: String,
    installed: Installed,
    /// Set once it has answered: it comes back on the same port.
    port: Option<u16>,
    running: Running,
}

enum Running {
    Ottla(Daemon, String),
    Kafka(kafka::Nodes),
    Nothing,
}

/// Builds Ottla as it is released, and gives the path of the program.
pub fn build() -> Fallible<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--package", "ottla-cli"]).current_dir(files::root());
    let status = cargo.status()?;
    if status.success() { Ok(program()) } else { Err(format!("cargo build ended with {status}").into()) }
}

fn program() -> PathBuf {
    files::target().join("release/ottla")
}

impl Server {
    /// Starts it with its files under `folder` and waits until it answers. `heap` is only for Kafka.
    pub fn start(kind: Kind, installed: &Installed, folder: &Path, settings: &[String], heap: &str) -> Fallible<Self> {
        let mut server = Self {
            kind,
            folder: folder.to_owned(),
            settings: settings.to_vec(),
            heap: heap.to_owned(),
            installed: installed.clone(),
            port: None,
            running: Running::Nothing,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it on the files and the port it had.
    pub fn start_again(&mut self) -> Fallible<()> {
        self.running = match self.kind {
            Kind::Ottla => self.start_ottla()?,
            Kind::Kafka => self.start_kafka()?,
        };
        let (_, port) = self.bootstrap().rsplit_once(':').ok_or("the bootstrap address has no port")?;
        self.port = Some(port.parse()?);
        Ok(())
    }

    /// Its `host:port`.
    pub fn bootstrap(&self) -> &str {
        match &self.running {
            Running::Ottla(_, bootstrap) => bootstrap,
            Running::Kafka(nodes) => nodes.bootstrap(),
            Running::Nothing => "",
        }
    }

    /// Which it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The folder with the folders of the partitions.
    pub fn data(&self) -> PathBuf {
        match self.kind {
            Kind::Ottla => self.folder.join("data"),
            Kind::Kafka => self.folder.join("1/data"),
        }
    }

    /// The process ended although nobody told it to: what it wrote last.
    pub fn died(&mut self) -> Option<String> {
        match &mut self.running {
            Running::Ottla(daemon, _) => (!daemon.is_alive()).then(|| daemon.last_output()),
            Running::Kafka(_) | Running::Nothing => None,
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Fallible<()> {
        match &mut self.running {
            Running::Ottla(daemon, _) => daemon.kill()?,
            Running::Kafka(nodes) => nodes.kill()?,
            Running::Nothing => {}
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Fallible<()> {
        match &mut self.running {
            Running::Ottla(daemon, _) => daemon.stop()?,
            Running::Kafka(nodes) => nodes.stop()?,
            Running::Nothing => {}
        }
        self.running = Running::Nothing;
        Ok(())
    }

    fn start_ottla(&self) -> Fallible<Running> {
        fs::create_dir_all(&self.folder)?;
        let ready = self.folder.join("ready");
        let _ = fs::remove_file(&ready);
        let mut command = Command::new(program());
        command.arg("broker").arg("--ready-file").arg(&ready);
        let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{}", self.port.unwrap_or(0));
        let folders = format!("log.dirs={}", self.data().display());
        for setting in [listeners, folders].iter().chain(&self.settings) {
            command.arg("--override").arg(setting);
        }
        let mut daemon = Daemon::start(&mut command, &self.folder.join("ottla.out"))?;
        let deadline = Instant::now() + READY_WITHIN;
        let bootstrap =
            daemon.wait_for(deadline, || fs::read_to_string(&ready).ok()).map_err(|error| format!("Ottla: {error}"))?;
        Ok(Running::Ottla(daemon, bootstrap.trim().to_owned()))
    }

    fn start_kafka(&self) -> Fallible<Running> {
        let options = kafka::Options {
            folder: self.folder.clone(),
            nodes: 1,
            port: self.port.map_or_else(free_port, Ok)?,
            heap: self.heap.clone(),
            settings: self.settings.clone(),
        };
        Ok(Running::Kafka(kafka::Nodes::start(&self.installed, &options)?))
    }
}

/// A port that was free a moment ago, as was the one after it.
fn free_port() -> Fallible<u16> {
    for _ in 0..100 {
        let first = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && std::net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    Err("there are no two free ports in a row".into())
}
