//! kcat, and with it librdkafka as distributions ship it.

use super::case::{CODECS, Case, Context, expect_part, expect_same};
use crate::Fallible;

/// How many records a codec is tried with: several batches of them.
const RECORDS: u32 = 20_000;

pub fn cases() -> Vec<Case> {
    let codecs = CODECS.map(|codec| Case::new(format!("kcat {codec}"), 60, move |context| round_trip(context, codec)));
    let others = [
        Case::new("kcat metadata", 30, metadata),
        Case::new("kcat null and empty values", 30, null_values),
        Case::new("kcat headers", 30, headers),
        Case::new("kcat offsets", 30, offsets),
        Case::new("kcat offsets by time", 30, offsets_by_time),
        Case::new("kcat partitions", 30, partitions),
        Case::new("kcat acks", 30, acks),
        Case::new("kcat follows the end", 30, follow),
    ];
    codecs.into_iter().chain(others).collect()
}

/// Keys and values come back as they went, in order, with offsets from 0.
fn round_trip(context: &mut Context, codec: &str) -> Fallible<()> {
    let topic = context.topic();
    let lines = |with_offset: bool| -> String {
        let line = |n: u32| if with_offset { format!("{n} key{n}:value {n}\n") } else { format!("key{n}:value {n}\n") };
        (0..RECORDS).map(line).collect()
    };
    context.output(&mut context.kcat(&["-P", "-t", &topic, "-K:", "-z", codec]), &lines(false))?;
    let read = context.text(&mut context.kcat(&["-C", "-t", &topic, "-e", "-q", "-f", "%o %k:%s\n"]), "")?;
    expect_same("records", &read, &lines(true))
}

fn metadata(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(3, &[])?;
    let listing = context.text(&mut context.kcat(&["-L", "-t", &topic]), "")?;
    expect_part("brokers", &listing, " 1 brokers:")?;
    expect_part("address", &listing, &format!(" at {}", context.server.bootstrap()))?;
    expect_part("topic", &listing, &format!("topic \"{topic}\" with 3 partitions:"))?;
    expect_part("partition", &listing, "partition 2, leader 1, replicas: 1, isrs: 1")?;
    let all = context.text(&mut context.kcat(&["-L"]), "")?;
    expect_part("list of all topics", &all, &format!("topic \"{topic}\" with 3 partitions:"))
}

fn null_values(context: &mut Context) -> Fallible<()> {
    let topic = context.topic();
    context.output(&mut context.kcat(&["-P", "-t", &topic, "-K:", "-Z"]), "a:1\nb:\n:3\n")?;
    context.output(&mut context.kcat(&["-P", "-t", &topic, "-K:"]), "c:\n")?;
    // %S is the length, -1 where there is nothing.
    let read = context.text(&mut context.kcat(&["-C", "-t", &topic, "-e", "-q", "-f", "%k=%s %K %S\n"]), "")?;
    expect_same("records", &read, "a=1 1 1\nb= 1 -1\n=3 -1 1\nc= 1 0\n")
}

fn headers(context: &mut Context) -> Fallible<()> {
    let topic = context.topic();
    context.output(
        &mut context.kcat(&["-P", "-t", &topic, "-H", "a=1", "-H", "b=", "-H", "a=2", "-H", "null"]),
        "value\n",
    )?;
    let read = context.text(&mut context.kcat(&["-C", "-t", &topic, "-e", "-q", "-f", "%h %s\n"]), "")?;
    expect_same("headers", &read, "a=1,b=,a=2,null=NULL value\n")
}

fn offsets(context: &mut Context) -> Fallible<()> {
    let topic = context.topic();
    context.output(&mut context.kcat(&["-P", "-t", &topic]), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")?;
    let read = |arguments: &[&str]| {
        let mut command = context.kcat(&["-C", "-t", &topic, "-p", "0", "-q", "-f", "%o:%s "]);
        context.text(command.args(arguments), "")
    };
    expect_same("-o 7", &read(&["-e", "-o", "7"])?, "7:7 8:8 9:9 ")?;
    expect_same("-o -2", &read(&["-e", "-o", "-2"])?, "8:8 9:9 ")?;
    expect_same("-o beginning -c 3", &read(&["-o", "beginning", "-c", "3"])?, "0:0 1:1 2:2 ")?;
    expect_same("-o end", &read(&["-e", "-o", "end"])?, "")
}

/// Three runs, so three timestamps: reading from the second one's, and up to the third one's.
fn offsets_by_time(context: &mut Context) -> Fallible<()> {
    let topic = context.topic();
    for value in ["first\n", "second\n", "third\n"] {
        context.output(&mut context.kcat(&["-P", "-t", &topic, "-p", "0"]), value)?;
    }
    let read = |arguments: &[&str]| {
        let mut command = context.kcat(&["-C", "-t", &topic, "-p", "0", "-e", "-q"]);
        context.text(command.args(arguments), "")
    };
    let times = read(&["-f", "%T\n"])?;
    let [_, second, third] = times.lines().collect::<Vec<_>>()[..] else {
        return Err(format!("three records have the times {times:?}").into());
    };
    expect_same("from the second", &read(&["-o", &format!("s@{second}"), "-f", "%s "])?, "second third ")?;
    let both = ["-o", &format!("s@{second}"), "-o", &format!("e@{third}"), "-f", "%s "];
    expect_same("from the second to the third", &read(&both)?, "second ")?;
    let query = context.text(&mut context.kcat(&["-Q", "-t", &format!("{topic}:0:{third}")]), "")?;
    expect_same("query", &query, &format!("{topic} [0] offset 2\n"))
}

fn partitions(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(3, &[])?;
    for partition in ["0", "1", "2"] {
        context.output(&mut context.kcat(&["-P", "-t", &topic, "-p", partition]), &format!("in {partition}\n"))?;
    }
    let read = context.text(&mut context.kcat(&["-C", "-t", &topic, "-e", "-q", "-f", "%p %o %s\n"]), "")?;
    let mut lines: Vec<_> = read.lines().collect();
    lines.sort_unstable();
    expect_same("records", &lines.join("\n"), "0 0 in 0\n1 0 in 1\n2 0 in 2")
}

fn acks(context: &mut Context) -> Fallible<()> {
    let topic = context.topic();
    let mut expected = String::new();
    for acks in ["1", "all", "0"] {
        let setting = format!("acks={acks}");
        context.output(&mut context.kcat(&["-P", "-t", &topic, "-X", &setting]), &format!("{setting}\n"))?;
        expected += &format!("{setting}\n");
    }
    let idempotent = ["-P", "-t", &topic, "-X", "enable.idempotence=true"];
    context.output(&mut context.kcat(&idempotent), "idempotent\n")?;
    expected += "idempotent\n";
    // Nobody said that the record sent with acks=0 was there before the next: it went over another connection.
    let mut read = String::new();
    for count in 1.. {
        read = context.text(&mut context.kcat(&["-C", "-t", &topic, "-e", "-q"]), "")?;
        if read.lines().count() >= expected.lines().count() || count == 10 {
            break;
        }
    }
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    expect_same("records", &sorted(&read), &sorted(&expected))
}

/// A consumer that waits at the end is given a record that comes later.
fn follow(context: &mut Context) -> Fallible<()> {
    let topic = context.create_topic(1, &[])?;
    let mut consumer = context.kcat(&["-C", "-t", &topic, "-o", "beginning", "-c", "1", "-q", "-u"]);
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| context.text(&mut consumer, ""));
        context.output(&mut context.kcat(&["-P", "-t", &topic]), "later\n")?;
        expect_same("record", &consumer.join().map_err(|_| "the reader panicked")??, "later\n")
    })
}
