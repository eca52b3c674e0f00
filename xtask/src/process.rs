//! Programs we start: short ones with a deadline, and long ones that are stopped by their process id.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::Fallible;

/// How often a condition is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a long-running program may take to end after SIGTERM, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(40);
/// How many lines of a failed program's output are shown.
const SHOWN_LINES: usize = 30;

/// How a program ended and what it wrote.
pub struct Output {
    program: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// Itself if the program ended with success, else an error that shows the end of its output.
    pub fn succeeded(self) -> Fallible<Self> {
        if self.status.success() {
            return Ok(self);
        }
        let program = &self.program;
        let end = last_lines(&format!("{}{}", self.text(), self.stderr));
        Err(format!("{program} ended with {}:\n{end}", self.status).into())
    }

    /// Its standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `command` to its end with `input` as its standard input; kills it at the deadline.
pub fn run(command: &mut Command, input: &[u8], deadline: Instant) -> Fallible<Output> {
    let input = input.to_vec();
    let (mut output, stdout) = run_reading(command, input, deadline, |mut stdout| {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes)?;
        Ok(bytes)
    })?;
    output.stdout = stdout;
    Ok(output)
}

/// As `run`, for a program whose standard output is too large to be kept: `read` consumes it as it comes.
pub fn run_reading<T>(
    command: &mut Command,
    input: Vec<u8>,
    deadline: Instant,
    read: impl FnOnce(ChildStdout) -> io::Result<T>,
) -> Fallible<(Output, T)> {
    let program = name(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut stderr = child.stderr.take().expect("it is piped");
    let stdout = child.stdout.take().expect("it is piped");
    let pid = pid(&child);
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // A program may end without reading all of its input: that is for its exit status to say.
        scope.spawn(move || drop(stdin.write_all(&input)));
        let errors = scope.spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
        });
        // The child is reaped only after this thread was told to stop, so the id is still the child's.
        let killer = scope.spawn(move || {
            let late = end.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let late = late == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            late
        });
        let stdout = read(stdout);
        let errors = errors.join().expect("reading does not panic");
        drop(ended);
        let late = killer.join().expect("waiting does not panic");
        let status = if late { child.wait()? } else { wait_until(&mut child, deadline)? };
        let stderr = errors?;
        if late {
            return Err(format!("{program} did not end in time:\n{}", last_lines(&stderr)).into());
        }
        Ok((Output { program, status, stdout: Vec::new(), stderr }, stdout?))
    })
}

/// A program that runs until it is stopped. Dropping it kills it.
pub struct Daemon {
    child: Child,
    output: PathBuf,
}

impl Daemon {
    /// Starts `command`; what it writes is added to the file `output`.
    pub fn start(command: &mut Command, output: &Path) -> Fallible<Self> {
        let file = File::options().create(true).append(true).open(output)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", name(command)))?;
        Ok(Self { child, output: output.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `condition` gives a value; fails when the program ends before, or at the deadline.
    pub fn wait_for<T>(&mut self, deadline: Instant, mut condition: impl FnMut() -> Option<T>) -> Fallible<T> {
        loop {
            if let Some(value) = condition() {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended with {status} while starting:\n{}", self.last_output()).into());
            }
            if Instant::now() >= deadline {
                return Err(format!("it was not ready in time:\n{}", self.last_output()).into());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL: it gets no chance to do anything.
    pub fn kill(&mut self) -> Fallible<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and SIGKILL if it does not end by itself. Gives how it ended; fails where it had already.
    pub fn stop(&mut self) -> Fallible<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("it had ended with {status}:\n{}", self.last_output()).into());
        }
        rustix::process::kill_process(pid(&self.child), Signal::TERM)?;
        Ok(wait_until(&mut self.child, Instant::now() + END_WITHIN)?)
    }

    /// The end of what it wrote.
    pub fn last_output(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&bytes))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn pid(child: &Child) -> Pid {
    let id = i32::try_from(child.id()).expect("Linux keeps process ids below 2^22");
    Pid::from_raw(id).expect("a child's process id is not zero")
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}
