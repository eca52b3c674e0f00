//! Programs that come from the system's package registry.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Fallible, process};

/// How long the registry may take.
const INSTALL_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Makes sure that `program` can be started, by installing `package` if it cannot. Never asks a question.
pub fn ensure(program: &str, package: &str) -> Fallible<()> {
    if is_there(program) {
        return Ok(());
    }
    install(package)?;
    if is_there(program) { Ok(()) } else { Err(format!("the package {package} has no program {program}").into()) }
}

/// Installs a package.
pub fn install(package: &str) -> Fallible<()> {
    eprintln!("installing the package {package}");
    let deadline = Instant::now() + INSTALL_WITHIN;
    apt(&["update", "-qq"], deadline)?;
    apt(&["install", "-y", "-qq", "--no-install-recommends", package], deadline)
}

/// Puts the files of packages, without what these depend on, into `folder`, where no system sees them.
pub fn unpack(packages: &[&str], folder: &Path) -> Fallible<()> {
    eprintln!("unpacking {} into {}", packages.join(", "), folder.display());
    let deadline = Instant::now() + INSTALL_WITHIN;
    apt(&["update", "-qq"], deadline)?;
    let scratch = tempfile::tempdir_in(folder.parent().ok_or("no folder to unpack into")?)?;
    let mut download = Command::new("apt-get");
    download.args(["download", "-qq"]).args(packages).current_dir(scratch.path());
    process::run(&mut download, b"", deadline)?.succeeded()?;
    for file in fs::read_dir(scratch.path())? {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(file?.path()).arg(folder);
        process::run(&mut unpack, b"", deadline)?.succeeded()?;
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn apt(arguments: &[&str], deadline: Instant) -> Fallible<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "apt-get"]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).stdin(Stdio::null());
    process::run(&mut command, b"", deadline)?.succeeded()?;
    Ok(())
}
