//! `cargo xtask diff --tools`: Kafka's tool and ours, with the same arguments, on the same broker: what they write to stdout, the
//! first line of stderr, and how they end.
//!
//! `xtask/diff-tools.txt` holds the lines:
//!
//! ```text
//!   # …                         a remark
//!   ! topics --create …         done by our tool only, so that there is something to look at
//!   % producer-perf-test …      done by Kafka's tool only
//!   & console-consumer --group g …   goes on beside the others, by our tool; its group is waited for
//!   consumer-groups --list      run with both and compared
//!   - consumer-groups --list    as before, without the address of a broker
//!   ~ consumer-groups …         as before, where Kafka writes words in no order of their own
//!   ? why | consumer-groups …   run with both; differs on purpose
//!   = name text                 a file of the scratch folder with this text
//!   < name @file 400            one with the first 400 bytes of another
//!   ^ name @file 70             one with a bit of byte 70 of another flipped
//! ```
//!
//! `{}` in a line is `k` for Kafka's tool and `o` for ours, so that both may change a thing of their own; `{controller}` is where
//! the broker's controller listens; `@name`, also in a list
//! with commas, is a file of the scratch folder, where `kafka/1/data` is the broker's. A word `<@name` is what is written to the
//! tool's stdin.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::kafka::Installed;
use crate::process::{self, Daemon};
use crate::{Fallible, files};

/// A JVM needs its time on a busy machine.
const TOOL_WITHIN: Duration = Duration::from_secs(60);
/// A group is formed within this time.
const GROUP_WITHIN: Duration = Duration::from_secs(30);

/// Tools that ask no broker.
const LOCAL: [&str; 2] = ["dump-log", "storage"];

/// What a tool did.
#[derive(PartialEq, Eq)]
struct Done {
    code: Option<i32>,
    stdout: String,
    complaint: String,
}

impl Done {
    /// For what is in no order of its own.
    fn sort(&mut self) {
        for text in [&mut self.stdout, &mut self.complaint] {
            let mut words: Vec<&str> = text.split([',', ' ', '\n']).collect();
            words.sort_unstable();
            *text = words.join(" ");
        }
    }
}

/// Runs all lines that hold one of `names`; gives how many differ.
pub fn run(installed: &Installed, bootstrap: &str, scratch: &Path, names: &[String]) -> Fallible<usize> {
    let text = fs::read_to_string(files::root().join("xtask/diff-tools.txt"))?;
    let (mut same, mut meant, mut differences) = (0, 0, 0);
    let mut members = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if let Some(line) = line.strip_prefix("! ") {
            let done = ours(bootstrap, scratch, line)?;
            if done.code != Some(0) {
                return Err(format!("{line}: {}{}", done.stdout, done.complaint).into());
            }
        } else if let Some(line) = line.strip_prefix("% ") {
            let done = theirs(installed, bootstrap, scratch, line)?;
            if done.code != Some(0) {
                return Err(format!("{line}: {}{}", done.stdout, done.complaint).into());
            }
        } else if let Some(line) = line.strip_prefix("& ") {
            members.push(begin(bootstrap, scratch, line)?);
        } else if let Some(file) = line.strip_prefix("= ") {
            let (name, text) = file.split_once(' ').unwrap_or((file, ""));
            files::write_whole(&scratch.join(name), &format!("{}\n", text.replace("\\n", "\n")))?;
        } else if line.starts_with("< ") || line.starts_with("^ ") {
            damage(scratch, line).map_err(|error| format!("{line}: {error}"))?;
        } else {
            let (why, line) = match line.strip_prefix("? ").and_then(|rest| rest.split_once(" | ")) {
                Some((why, line)) => (Some(why), line),
                None => (None, line),
            };
            if !names.is_empty() && !names.iter().any(|name| line.contains(name.as_str())) {
                continue;
            }
            let (is_sorted, line) = line.strip_prefix("~ ").map_or((true, line), |line| (false, line));
            let told = |error| format!("{line}: {error}");
            let mut kafka = theirs(installed, bootstrap, scratch, line).map_err(told)?;
            let mut ottla = ours(bootstrap, scratch, line).map_err(told)?;
            if !is_sorted {
                kafka.sort();
                ottla.sort();
            }
            match (kafka == ottla, why) {
                (true, None) => same += 1,
                (true, Some(why)) => {
                    println!("{line}\n  is the same by now: {why}");
                    differences += 1;
                }
                (false, Some(_)) => meant += 1,
                (false, None) => {
                    print(line, &kafka, &ottla);
                    differences += 1;
                }
            }
        }
    }
    drop(members);
    println!("{same} lines the same, {meant} different on purpose, {differences} different");
    Ok(differences)
}

fn print(line: &str, kafka: &Done, ottla: &Done) {
    println!("{line}");
    for (name, done) in [("kafka", kafka), ("ottla", ottla)] {
        println!("  {name} ended with {:?}, stderr: {}", done.code, done.complaint);
        done.stdout.lines().for_each(|line| println!("    {line}"));
    }
}

/// Makes a damaged copy of a file.
fn damage(scratch: &Path, line: &str) -> Fallible<()> {
    let words = split(line);
    let [kind, name, from, number] = &words[..] else { return Err("not: a name, a file and a number".into()) };
    let mut bytes = fs::read(path(from, scratch))?;
    let number: usize = number.parse()?;
    if kind == "<" {
        bytes.truncate(number);
    } else {
        *bytes.get_mut(number).ok_or("the file is shorter")? ^= 1;
    }
    let copy = scratch.join(name);
    fs::create_dir_all(copy.parent().unwrap_or(scratch))?;
    Ok(fs::write(copy, bytes)?)
}

/// A word, and the path that stands for each `@name` in it.
fn path(word: &str, scratch: &Path) -> String {
    let parts = word.split(',').map(|part| match part.strip_prefix('@') {
        Some(file) => scratch.join(file).display().to_string(),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// The words of a line, with what stands for others filled in.
fn words(line: &str, twin: &str, bootstrap: &str, scratch: &Path) -> Vec<String> {
    let (has_none, line) = line.strip_prefix("- ").map_or((false, line), |line| (true, line));
    let controller = controller(bootstrap);
    let mut words: Vec<String> = Vec::new();
    for word in split(line) {
        words.push(path(&word.replace("{}", twin).replace("{controller}", &controller), scratch));
    }
    let has_none = has_none || LOCAL.contains(&words[0].as_str());
    if !has_none && !words.iter().any(|word| word == "--bootstrap-server") {
        words.splice(1..1, ["--bootstrap-server".to_owned(), bootstrap.to_owned()]);
    }
    words
}

/// Where the controller of the broker at `bootstrap` listens: at the next port, see `kafka/node.rs`.
fn controller(bootstrap: &str) -> String {
    let (host, port) = bootstrap.rsplit_once(':').expect("an address of a broker has a port");
    let port: u16 = port.parse().expect("the port of a broker is a number");
    format!("{host}:{}", port + 1)
}

/// By spaces, but for what stands in single quotes.
fn split(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

fn ours(bootstrap: &str, scratch: &Path, line: &str) -> Fallible<Done> {
    let mut command = Command::new(crate::server::program());
    let mut words = words(line, "o", bootstrap, scratch);
    let stdin = take_stdin(&mut words, scratch)?;
    command.args(words);
    carry_out(&mut command, &stdin, "o")
}

fn theirs(installed: &Installed, bootstrap: &str, scratch: &Path, line: &str) -> Fallible<Done> {
    let mut words = words(line, "k", bootstrap, scratch);
    let stdin = take_stdin(&mut words, scratch)?;
    let mut command = installed.tool(&format!("kafka-{}", words[0]))?;
    command.args(&words[1..]);
    carry_out(&mut command, &stdin, "k")
}

/// What is to be written to the tool, which is no word of its command line.
fn take_stdin(words: &mut Vec<String>, scratch: &Path) -> Fallible<Vec<u8>> {
    let Some(index) = words.iter().position(|word| word.starts_with("<@")) else { return Ok(Vec::new()) };
    Ok(fs::read(path(&words.remove(index)[1..], scratch))?)
}

fn begin(bootstrap: &str, scratch: &Path, line: &str) -> Fallible<Daemon> {
    let words = words(line, "o", bootstrap, scratch);
    let group = words.iter().skip_while(|word| *word != "--group").nth(1).cloned().ok_or("a member has no --group")?;
    let mut command = Command::new(crate::server::program());
    let member = Daemon::start(command.args(&words), &scratch.join(format!("member-of-{group}")))?;
    let begun = Instant::now();
    while !ours(bootstrap, scratch, &format!("consumer-groups --describe --state --group {group}"))?
        .stdout
        .contains(" Stable ")
    {
        if begun.elapsed() > GROUP_WITHIN {
            return Err(format!("{group} was not stable within {GROUP_WITHIN:?}").into());
        }
    }
    Ok(member)
}

fn carry_out(command: &mut Command, stdin: &[u8], twin: &str) -> Fallible<Done> {
    let output = process::run(command, stdin, Instant::now() + TOOL_WITHIN)?;
    // Usage begins with the tool's own name.
    let plain = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(&format!("-{twin}-"), "-{}-");
        text.replace("usage: ottla storage", "usage: kafka-storage")
    };
    let stderr = plain(output.stderr.as_bytes());
    let first = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(Done { code: output.status.code(), stdout: plain(&output.stdout), complaint: without_log_header(first) })
}

/// `date time LEVEL Logger: java.lang.Exception: text` is `LEVEL text`.
fn without_log_header(line: &str) -> String {
    let words: Vec<&str> = line.splitn(5, ' ').collect();
    let [date, _, level @ ("ERROR" | "WARN"), _, text] = words[..] else { return line.to_owned() };
    if !date.starts_with("20") {
        return line.to_owned();
    }
    match text.split_once(": ") {
        Some((class, text)) if class.ends_with("Exception") => format!("{level} {text}"),
        _ => format!("{level} {text}"),
    }
}
