//! A disk of a few MiB, for brokers that are to fill it: a tmpfs in a mount namespace of its own, which nobody else sees.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A mounted disk. Dropping it takes it away.
#[derive(Debug)]
pub struct SmallDisk {
    /// A process that does nothing but keep the namespace.
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of so many MiB on `folder`, which is made.
    ///
    /// # Errors
    /// What the system says where it may not be mounted.
    pub fn mount(folder: &Path, mib: u32) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        // It ends when its input does, which is when this process does.
        let script = format!("mount -t tmpfs -o size={mib}m ottla-e2e \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c", &script]).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut said).map_err(|error| error.to_string())?;
        if said.trim() == "mounted" {
            return Ok(Self { holder, folder: folder.to_owned() });
        }
        let output = holder.wait_with_output().map_err(|error| error.to_string())?;
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// What has to stand before a command, so that it sees the disk.
    pub fn prefix(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        let mut prefix: Vec<String> = ["nsenter", "--target", &pid, "--mount"].map(str::to_owned).into();
        if !rustix::process::geteuid().is_root() {
            prefix.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        // Where options end and the command begins.
        prefix.push("--".to_owned());
        prefix
    }

    /// Fills all the room that is left.
    pub fn fill(&self) {
        // It fails, which is what it is for.
        self.run("dd if=/dev/zero of=\"$0/filler\" bs=4096 2>/dev/null; true");
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn free(&self) {
        self.run("rm -f \"$0/filler\"");
    }

    /// Runs a shell script that sees the disk, at `$0`.
    ///
    /// # Panics
    /// It fails.
    pub fn run(&self, script: &str) {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        let status = command.args(&prefix[1..]).args(["sh", "-c", script]).arg(&self.folder).status();
        assert!(status.expect("nsenter is there").success(), "{script}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
