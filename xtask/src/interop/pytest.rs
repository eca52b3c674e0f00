//! kafka-python's own integration tests, from its source package.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::case::Context;
use super::python;
use super::suite::{ALLOW_ALL, KAFKA_VERSION, Outcome, Suite, Test};
use crate::{Fallible, files, process};

/// The version of which the cases of ours are known to work too.
const VERSION: &str = "3.0.12";
/// How long all tests may take.
const WITHIN: Duration = Duration::from_secs(8 * 60);
/// How long one test may take, in seconds.
const TEST_WITHIN_S: &str = "90";
/// What the tests use to start brokers. Their source package comes without it; for a broker that runs already they
/// want a place to keep its address.
const SERVICE: &str = "class ExternalService:\n    def __init__(self, host, port):\n        \
                       self.host, self.port = host, port\n\n\nclass SpawnedService:\n    pass\n";
const NOT_OURS: [(&str, &str); 3] = [
    ("test_admin_integration.py::test_create_describe_delete_acls", "ACLs come later"),
    ("test_producer_integration.py::test_transactional_producer_messages", "transactions come later"),
    ("test_producer_integration.py::test_transactional_producer_offsets", "transactions come later"),
];

pub fn suite() -> Suite {
    Suite::of_others("kafka-python-own", run)
        .with_settings(&[
            "node.id=0",
            "advertised.listeners=PLAINTEXT://127.0.0.1:PORT",
            "num.partitions=4",
            "group.min.session.timeout.ms=100",
            "group.initial.rebalance.delay.ms=3000",
        ])
        .with_settings_on_kafka(&ALLOW_ALL)
        .without(&NOT_OURS)
}

fn run(context: &mut Context) -> Fallible<Vec<Test>> {
    let source = source()?;
    let mut pytest = Command::new(&context.clients.python);
    pytest.args(["-B", "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider", "-o", "log_level=WARNING"]);
    pytest.args(["--timeout", TEST_WITHIN_S, "--timeout-method=signal"]);
    pytest.arg(context.again.as_ref().map_or("test/integration".to_owned(), |test| format!("test/integration/{test}")));
    for test in &context.left_out {
        pytest.args(["--deselect", &format!("test/integration/{test}")]);
    }
    pytest.env("KAFKA_URI", format!("kafka://{}", context.server.bootstrap())).env("KAFKA_VERSION", KAFKA_VERSION);
    // Wide enough for the reasons.
    pytest.env("COLUMNS", "400");
    // A folder that is there, as no broker is started from it.
    pytest.env("KAFKA_ROOT", &source).current_dir(&source);
    let output = process::run(&mut pytest, b"", Instant::now() + WITHIN)?;
    let text = output.text();
    let log = context.log("kafka-python-own")?;
    fs::write(&log, &text)?;
    let tests: Vec<_> = text.lines().filter_map(test).collect();
    if tests.is_empty() {
        return Err(format!("no test ran; see {}", log.display()).into());
    }
    Ok(tests)
}

/// The package's source, with what it wants of us.
fn source() -> Fallible<PathBuf> {
    let folder = files::target_folder("interop")?.join(format!("kafka-python-{VERSION}"));
    if folder.exists() {
        return Ok(folder);
    }
    let scratch = tempfile::tempdir_in(files::target_folder("interop")?)?;
    let mut pip = Command::new(python::install()?);
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"]).arg(scratch.path());
    pip.arg(format!("kafka-python=={VERSION}"));
    process::run(&mut pip, b"", Instant::now() + WITHIN)?.succeeded()?;
    let name = format!("kafka_python-{VERSION}");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(scratch.path().join(format!("{name}.tar.gz"))).arg("-C").arg(scratch.path());
    process::run(&mut tar, b"", Instant::now() + WITHIN)?.succeeded()?;
    let unpacked = scratch.path().join(name);
    fs::write(unpacked.join("test/service.py"), SERVICE)?;
    fs::write(unpacked.join("test/__init__.py"), "")?;
    fs::rename(unpacked, &folder)?;
    Ok(folder)
}

/// `test/integration/FILE::NAME PASSED [ 10%]`, or `SKIPPED (reason) [ 10%]`
fn test(line: &str) -> Option<Test> {
    let (name, rest) = line.strip_prefix("test/integration/")?.split_once(' ')?;
    let rest = rest.rsplit_once('[').map_or(rest, |(before, _)| before).trim();
    let (word, reason) = rest.split_once(' ').unwrap_or((rest, "no reason"));
    let outcome = match word {
        "PASSED" => Outcome::Passed,
        "SKIPPED" => Outcome::Skipped(reason.trim_matches(['(', ')']).to_owned()),
        "FAILED" | "ERROR" => Outcome::Failed("its output is in target/interop".to_owned()),
        _ => return None,
    };
    Some(Test { name: name.to_owned(), outcome })
}
