//! A broker process: started, killed, stopped and started again on the same files.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::SmallDisk;

/// How long a broker may take to answer; generous, for machines that are busy.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(30);
/// How often a condition is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program, with what has to stand before it.
    program: Vec<OsString>,
    folder: PathBuf,
    overrides: Vec<String>,
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    options: Options,
    child: Child,
    /// `host:port` of its first listener.
    pub address: String,
    /// From the start of the process until it said it was ready.
    pub started_in: Duration,
}

impl Options {
    /// The program, with its files under `folder`, on a free port of the loopback interface.
    pub fn new(program: impl Into<PathBuf>, folder: &Path) -> Self {
        let data = format!("log.dirs={}", folder.join("data").display());
        let listeners = "listeners=PLAINTEXT://127.0.0.1:0".to_owned();
        let overrides = vec![listeners, data, "ottla.http.listener=127.0.0.1:0".to_owned()];
        Self { program: vec![program.into().into()], folder: folder.to_owned(), overrides }
    }

    /// The same, where it sees `disk`.
    #[must_use]
    pub fn on(mut self, disk: &SmallDisk) -> Self {
        self.program.splice(..0, disk.prefix().into_iter().map(OsString::from));
        self
    }

    /// The same, where it may open so many files.
    #[must_use]
    pub fn with_files(mut self, most: u32) -> Self {
        let script = format!("ulimit -n {most}; exec \"$@\"");
        let prefix = ["sh", "-c", &script, "sh"].map(OsString::from);
        self.program.splice(..0, prefix);
        self
    }

    /// One more `--override`.
    #[must_use]
    pub fn with(mut self, setting: &str) -> Self {
        self.overrides.push(setting.to_owned());
        self
    }

    /// Where the logs are.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts it and waits until it answers.
    pub fn start(&self) -> Broker {
        self.try_start().unwrap_or_else(|(status, stderr)| panic!("the broker ended with {status}: {stderr}"))
    }

    /// Starts it; if it ends before it is ready, its status and what it wrote to stderr.
    pub fn try_start(&self) -> Result<Broker, (ExitStatus, String)> {
        let begun = Instant::now();
        let mut child = self.spawn();
        let ready_file = self.folder.join("ready");
        loop {
            if let Ok(text) = fs::read_to_string(&ready_file) {
                let started_in = begun.elapsed();
                let address = text.trim().split(',').next().unwrap_or_default().to_owned();
                return Ok(Broker { options: self.clone(), child, address, started_in });
            }
            if let Some(status) = child.try_wait().expect("it is our child") {
                return Err((status, fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()));
            }
            assert!(begun.elapsed() < READY_WITHIN, "the broker was not ready within {READY_WITHIN:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Starts it, and kills it `after` that, wherever it has got to.
    pub fn kill_while_starting(&self, after: Duration) {
        let mut child = self.spawn();
        std::thread::sleep(after);
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Starts it, sends SIGTERM once it has written `said` to stderr, and waits for the end: its status, and all that it wrote.
    pub fn stop_while_starting(&self, said: &str) -> (ExitStatus, String) {
        let mut child = self.spawn();
        let log = || fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
        let begun = Instant::now();
        while !log().contains(said) {
            assert!(begun.elapsed() < READY_WITHIN, "it does not say {said:?}: {}", log());
            std::thread::sleep(LOOK_EVERY);
        }
        let pid = Pid::from_raw(child.id() as i32).expect("a process id is not zero");
        rustix::process::kill_process(pid, Signal::TERM).expect("it is our child");
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                return (status, log());
            }
            if begun.elapsed() > END_WITHIN {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the broker did not end within {END_WITHIN:?}: {}", log());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn spawn(&self) -> Child {
        let ready_file = self.folder.join("ready");
        let _ = fs::remove_file(&ready_file);
        let stderr = fs::File::create(self.folder.join("stderr")).expect("the folder is ours");
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]);
        command.arg("broker").arg("--ready-file").arg(&ready_file);
        for setting in &self.overrides {
            command.arg("--override").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().expect("the program was built")
    }
}

impl Broker {
    /// `host:port` of its metrics, which it says in its log.
    pub fn http_address(&self) -> String {
        let log = self.log();
        let (_, after) = log.split_once("metrics are at http://").expect("it says so before it is ready");
        after.split('/').next().expect("a path follows").to_owned()
    }

    /// `host:port` of its listener for controllers, which it says in its log.
    pub fn controller_address(&self) -> String {
        let log = self.log();
        let (_, after) = log.split_once("the controller listens at ").expect("it says so before it is ready");
        after.lines().next().expect("a line").trim_end().to_owned()
    }

    /// What it has written to stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(self.options.folder.join("stderr")).expect("it was started")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it was started.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Has it stand still, all of its threads, as `Ctrl-Z`, a debugger or a frozen container do; until [`Self::thaw`].
    pub fn freeze(&self) {
        rustix::process::kill_process(self.rustix_pid(), Signal::STOP).expect("it is our child");
        rustix::process::waitid(WaitId::Pid(self.rustix_pid()), WaitIdOptions::STOPPED).expect("it is our child");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        rustix::process::kill_process(self.rustix_pid(), Signal::CONT).expect("it is our child");
    }

    fn rustix_pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32).expect("a process id is not zero")
    }

    /// SIGKILL: it gets no chance to do anything.
    pub fn kill(mut self) -> Options {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.options.clone()
    }

    /// SIGTERM; waits for the end.
    pub fn stop(self) -> (Options, ExitStatus) {
        self.stop_by(Signal::TERM)
    }

    /// Sends `signal`, and waits for the end.
    pub fn stop_by(mut self, signal: Signal) -> (Options, ExitStatus) {
        rustix::process::kill_process(self.rustix_pid(), signal).expect("it is our child");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return (self.options.clone(), status);
            }
            assert!(begun.elapsed() < END_WITHIN, "the broker did not end within {END_WITHIN:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Resident memory in bytes, now.
    pub fn resident_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most resident memory it ever had, in bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    fn status_kib(&self, field: &str) -> u64 {
        let mut status = String::new();
        let mut file = fs::File::open(format!("/proc/{}/status", self.pid())).expect("it runs");
        file.read_to_string(&mut status).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel lists it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
