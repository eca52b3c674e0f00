//! A million lines of an access log through the broker, in each codec: written by librdkafka's idempotent producer,
//! read by the Java consumer, compared byte for byte. While they are written, Ottla is killed several times and
//! started again on its files: every acknowledged line must be there, none twice.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};

use super::case::{CODECS, Case, Context, expect_part, expect_same};
use super::java;
use crate::{Fallible, process, weblog};

const LINES: u64 = 1_000_000;
const SEED: u64 = 2026;
/// After how many acknowledged lines the broker is killed; not at round shares, so that it happens amid segments.
const KILL_AFTER: [u64; 4] = [130_000, 340_000, 610_000, 870_000];
/// How much is compared at once.
const COMPARED_BYTES: usize = 1 << 16;

pub fn cases() -> Vec<Case> {
    let case = |codec| Case::new(format!("weblog {codec}"), 240, move |context| survive(context, codec));
    CODECS.map(case).into()
}

fn survive(context: &mut Context, codec: &str) -> Fallible<()> {
    let topic = context.create_topic(1, &["segment.bytes=67108864"])?;
    let log = generate(context)?;
    let kills = produce(context, &topic, codec, &log)?;
    if context.server.is_ottla() && kills != KILL_AFTER.len() {
        return Err(format!("the producer was done after {kills} kills").into());
    }
    let count = LINES.to_string();
    let arguments = ["--topic", &topic, "--partition", "0", "--from-beginning", "--timeout-ms", "20000"];
    let mut consumer = context.tool("kafka-console-consumer", &arguments)?;
    consumer.args(["--max-messages", &count]);
    let (output, ()) =
        process::run_reading(&mut consumer, Vec::new(), context.deadline, |read| same_bytes(read, &log))?;
    output.succeeded()?;
    // One more than was sent would be there twice.
    let end = context.text(&mut context.kcat(&["-Q", "-t", &format!("{topic}:0:-1")]), "")?;
    expect_same("end of the log", &end, &format!("{topic} [0] offset {LINES}\n"))?;
    let segments = java::files_of(&context.server.data().join(format!("{topic}-0")), "log")?;
    // A client that thinks the broker does not know its codec sends the lines as they are, and says nothing.
    expect_part("batches", &java::dump(context, &segments, &[])?, &format!("compresscodec: {codec} "))
}

/// The file with the lines, the same for all codecs.
fn generate(context: &Context) -> Fallible<PathBuf> {
    let path = context.shared_file("weblog");
    if !path.exists() {
        weblog::write(BufWriter::new(File::create(&path)?), SEED, LINES)?;
    }
    Ok(path)
}

/// Runs the producer to its end, killing the broker on the way; how often that was.
fn produce(context: &mut Context, topic: &str, codec: &str, log: &Path) -> Fallible<usize> {
    let mut producer = context.python("weblog.py");
    producer.args([&context.server.bootstrap(), topic, codec]).arg(log);
    let kills_here = context.server.is_ottla();
    let mut left = KILL_AFTER.iter();
    let mut next = left.next();
    context.run_killing(&mut producer, |line| {
        let acknowledged: Option<u64> = line.parse().ok();
        let is_time = kills_here && next.is_some_and(|after| acknowledged >= Some(*after));
        if is_time {
            next = left.next();
        }
        is_time
    })
}

fn same_bytes(mut found: impl Read, expected: &Path) -> io::Result<()> {
    let mut expected = BufReader::new(File::open(expected)?);
    let (mut left, mut right) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    let mut at = 0;
    loop {
        let count = found.read(&mut left)?;
        if count == 0 {
            let rest = expected.fill_buf()?;
            return if rest.is_empty() { Ok(()) } else { Err(io::Error::other(format!("only {at} bytes came back"))) };
        }
        expected.read_exact(&mut right[..count]).map_err(|_| io::Error::other("more came back than was sent"))?;
        if let Some(differs) = left[..count].iter().zip(&right[..count]).position(|(left, right)| left != right) {
            let line = String::from_utf8_lossy(&left[differs..count]).chars().take(80).collect::<String>();
            return Err(io::Error::other(format!("byte {} differs: {line:?}", at + differs)));
        }
        at += count;
    }
}
