//! Clients for Python: confluent-kafka, which is librdkafka of today, and kafka-python, which shares no code with it.
//!
//! The cases themselves are functions of the scripts in `xtask/interop`.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::case::Case;
use crate::{Fallible, files, packages, process};

/// How long the packages may take to install.
const INSTALL_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How long a case may take.
const CASE_WITHIN_S: u64 = 60;
/// What is installed, in versions that the cases are known to work with.
const PACKAGES: [&str; 7] = [
    "aiokafka==0.14.0",
    "confluent-kafka==2.16.1",
    "kafka-python[crc32c,lz4,snappy,zstd]==3.0.12",
    "py==1.11.0",
    "pytest==8.4.2",
    "pytest-mock==3.15.1",
    "pytest-timeout==2.4.0",
];

const CONFLUENT: [&str; 20] = [
    "idempotent_producer",
    "codecs",
    "assign_and_seek",
    "offset_out_of_range",
    "offsets_for_times",
    "list_topics",
    "unknown_topic",
    "watermarks",
    "list_offsets",
    "admin_topics",
    "validate_only",
    "describe_configs",
    "read_committed",
    "large_messages",
    "too_large_message",
    "headers",
    "nulls",
    "timestamps",
    "long_poll",
    "many_partitions",
];

const KAFKA_PYTHON: [&str; 3] = ["round_trip", "positions", "topics"];

pub fn cases() -> Vec<Case> {
    let confluent = CONFLUENT.iter().map(|function| case("confluent-kafka", "confluent.py", function));
    let kafka_python = KAFKA_PYTHON.iter().map(|function| case("kafka-python", "kafka_python.py", function));
    confluent.chain(kafka_python).collect()
}

/// Makes a virtual environment with the clients, unless it is there; the path of its Python.
pub fn install() -> Fallible<PathBuf> {
    let venv = files::target_folder("interop")?.join("venv");
    let python = venv.join("bin/python");
    let stamp_file = venv.join("stamp");
    let stamp = PACKAGES.join("\n");
    if std::fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        return Ok(python);
    }
    packages::ensure("python3", "python3")?;
    let deadline = Instant::now() + INSTALL_WITHIN;
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&venv);
    if process::run(&mut make, b"", deadline)?.succeeded().is_err() {
        // Debian's Python comes without the part that puts pip into an environment.
        packages::install("python3-venv")?;
        process::run(&mut make, b"", deadline)?.succeeded()?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet"]).args(PACKAGES);
    process::run(&mut pip, b"", deadline)?.succeeded()?;
    files::write_whole(&stamp_file, &stamp)?;
    Ok(python)
}

fn case(client: &str, script: &'static str, function: &'static str) -> Case {
    Case::new(format!("{client} {}", function.replace('_', " ")), CASE_WITHIN_S, move |context| {
        let mut command = context.python(script);
        command.args([function, &context.server.bootstrap(), &context.topic()]);
        context.output(&mut command, "")?;
        Ok(())
    })
}
