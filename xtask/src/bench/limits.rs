//! What no broker can pass: servers that do only what cannot be left out. Each runs as a process of its own, so that its
//! processor time is its own.
//!
//! - `produce` takes the same frames, writes them to a file as they are, so to the page cache, and answers. Each connection
//!   has a file of its own.
//! - `produce-one-log` does the same with one file, in which the frames lie one behind the other: as the log of a single
//!   partition must.
//! - `fetch` answers with `sendfile` from files that are in the page cache, one for each partition. As those of a log, they were
//!   written batch by batch, and are read from where a batch begins: files of larger pieces go out faster.
//!
//! They are driven by the same generator over the same connections.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use ottla_protocol::frame::{RequestHeader, SIZE_LENGTH};
use ottla_protocol::messages::fetch_request::{self, FetchRequest};
use ottla_protocol::messages::produce_response::{PartitionResponse, ProduceResponse, Response};
use ottla_protocol::{ApiKey, Message, Reader, Writer};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::frames::{FETCH_VERSION, PARTITION_MAX_BYTES, PRODUCE_VERSION};
use crate::{Fallible, files};

/// What is read from a connection at once.
const READ_BYTES: usize = 256 << 10;
/// As Kafka's `socket.send.buffer.bytes`. Much more, and what is sent falls out of the processor's cache before it is read.
const SEND_BUFFER_BYTES: usize = 100 << 10;
/// Where an answer's correlation id stands, and a request's.
const ANSWER_CORRELATION_AT: usize = SIZE_LENGTH;
const REQUEST_CORRELATION_AT: usize = SIZE_LENGTH + 2 + 2;

/// `cargo xtask limit-server`: started by the benchmark.
#[derive(clap::Args)]
pub struct Command {
    /// What it takes.
    kind: LimitKind,
    /// Where its file goes.
    #[arg(long)]
    folder: PathBuf,
    /// For `fetch`: how large all files are together.
    #[arg(long, default_value_t = 1 << 30)]
    bytes: u64,
    /// For `fetch`: how many there are.
    #[arg(long, default_value_t = 1)]
    partitions: u64,
    /// For `fetch`: how large a batch is.
    #[arg(long, default_value_t = 16 << 10)]
    batch_bytes: u64,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LimitKind {
    Produce,
    ProduceOneLog,
    Fetch,
}

impl LimitKind {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::ProduceOneLog => "produce-one-log",
            Self::Fetch => "fetch",
        }
    }

    /// As it is called in the report.
    pub fn title(self) -> &'static str {
        match self {
            Self::Produce | Self::Fetch => "limit",
            Self::ProduceOneLog => "limit, one log",
        }
    }
}

/// The file that says where the server listens.
pub fn ready_file(folder: &std::path::Path) -> PathBuf {
    folder.join("ready")
}

/// Serves until it is killed.
pub fn run(command: &Command) -> Fallible<()> {
    fs::create_dir_all(&command.folder)?;
    let logs = if command.kind == LimitKind::Fetch { Logs::create(command)? } else { Logs::default() };
    let logs = Arc::new(logs);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    files::write_whole(&ready_file(&command.folder), &listener.local_addr()?.to_string())?;
    let one = Arc::new(Written::create(&command.folder.join("one"))?);
    for (number, connection) in listener.incoming().enumerate() {
        let (connection, folder, kind) = (connection?, command.folder.clone(), command.kind);
        connection.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&connection, SEND_BUFFER_BYTES)?;
        // A connection that ends is how a run ends.
        let (one, logs) = (one.clone(), logs.clone());
        thread::spawn(move || match kind {
            LimitKind::Produce => take(connection, &Written::create(&folder.join(number.to_string()))?),
            LimitKind::ProduceOneLog => take(connection, &one),
            LimitKind::Fetch => give(connection, &logs),
        });
    }
    Ok(())
}

/// A file that grows.
struct Written {
    file: File,
    end: Mutex<u64>,
}

impl Written {
    fn create(path: &std::path::Path) -> io::Result<Self> {
        let file = File::create(path)?;
        // It is gone when the process is.
        fs::remove_file(path)?;
        Ok(Self { file, end: Mutex::new(0) })
    }

    fn append(&self, frame: &[u8]) -> io::Result<()> {
        let mut end = self.end.lock().expect("nobody panics while holding this lock");
        self.file.write_all_at(frame, *end)?;
        *end += frame.len() as u64;
        Ok(())
    }
}

/// Frames of one connection to a file.
fn take(mut connection: TcpStream, file: &Written) -> io::Result<()> {
    let mut answer = produce_answer();
    let mut frames = Frames::new();
    while let Some(frame) = frames.next(&mut connection)? {
        file.append(frame)?;
        answer[ANSWER_CORRELATION_AT..ANSWER_CORRELATION_AT + 4]
            .copy_from_slice(&frame[REQUEST_CORRELATION_AT..REQUEST_CORRELATION_AT + 4]);
        connection.write_all(&answer)?;
    }
    Ok(())
}

fn produce_answer() -> Vec<u8> {
    let topic = Response {
        name: "topic".into(),
        partition_responses: vec![PartitionResponse::default()],
        ..Default::default()
    };
    let mut writer = Writer::new();
    ApiKey::Produce.begin_response(&mut writer, PRODUCE_VERSION, 0);
    ProduceResponse { responses: vec![topic], ..Default::default() }.encode(&mut writer, PRODUCE_VERSION);
    writer.finish_frame();
    writer.buffer
}

/// What `fetch` sends.
#[derive(Default)]
struct Logs {
    files: Vec<File>,
    batch_bytes: u64,
    bytes_each: u64,
}

impl Logs {
    /// The files grow by turns, as those of the partitions of a topic do.
    fn create(command: &Command) -> io::Result<Self> {
        let create = |partition: u64| {
            let path = command.folder.join(format!("log-{partition}"));
            File::options().create_new(true).read(true).write(true).open(path)
        };
        let mut files: Vec<_> = (0..command.partitions).map(create).collect::<io::Result<_>>()?;
        let batches_each = command.bytes / command.partitions / command.batch_bytes;
        assert!(
            batches_each * command.batch_bytes >= PARTITION_MAX_BYTES as u64,
            "an answer finds as much as it may send"
        );
        let batch = vec![0; command.batch_bytes as usize];
        for _ in 0..batches_each {
            for file in &mut files {
                file.write_all(&batch)?;
            }
        }
        Ok(Self { files, batch_bytes: command.batch_bytes, bytes_each: batches_each * command.batch_bytes })
    }

    /// Where a consumer goes on that has read this: behind the last batch of which it has all, or at the beginning where too
    /// little is left.
    fn after(&self, read: Range<u64>) -> u64 {
        let length = read.end - read.start;
        let next = read.start + length / self.batch_bytes * self.batch_bytes;
        if next + length > self.bytes_each { 0 } else { next }
    }
}

/// As much for each partition as was asked for, always further on, whatever the offset.
fn give(mut connection: TcpStream, logs: &Logs) -> io::Result<()> {
    let each = PARTITION_MAX_BYTES as u64;
    let mut frames = Frames::new();
    let mut positions = vec![0; logs.files.len()];
    while let Some(frame) = frames.next(&mut connection)? {
        let (correlation_id, topics) = asked(frame)?;
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        for (head, asked) in fetch_answer(correlation_id, &topics).iter().zip(partitions) {
            let index = asked.partition as usize;
            let (Some(file), Some(position)) = (logs.files.get(index), positions.get_mut(index)) else {
                return Err(io::Error::other("the generator asks for no such partition"));
            };
            send_head(&connection, head)?;
            // A `sendfile` that blocks sends a third as fast.
            connection.set_nonblocking(true)?;
            send_file(&connection, file, *position..*position + each)?;
            connection.set_nonblocking(false)?;
            *position = logs.after(*position..*position + each);
        }
    }
    Ok(())
}

fn send_head(connection: &TcpStream, mut head: &[u8]) -> io::Result<()> {
    while !head.is_empty() {
        let sent = rustix::net::send(connection, head, SendFlags::MORE | SendFlags::NOSIGNAL)?;
        head = &head[sent..];
    }
    Ok(())
}

fn send_file(connection: &TcpStream, file: &File, bytes: Range<u64>) -> io::Result<()> {
    let mut at = bytes.start;
    while at < bytes.end {
        let left = (bytes.end - at) as usize;
        match rustix::fs::sendfile(connection, file, Some(&mut at), left) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(Errno::AGAIN) => match rustix::event::poll(&mut [PollFd::new(connection, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn asked(frame: &[u8]) -> io::Result<(i32, Vec<fetch_request::Topic<'_>>)> {
    let wrong = |error| io::Error::other(format!("{error:?}"));
    let (header, body) = RequestHeader::decode(&frame[SIZE_LENGTH..]).map_err(wrong)?;
    let request = FetchRequest::decode(&mut Reader::new(body), FETCH_VERSION).map_err(wrong)?;
    Ok((header.correlation_id, request.topics))
}

/// An answer in pieces; after each piece come the records of one partition.
fn fetch_answer(correlation_id: i32, topics: &[fetch_request::Topic<'_>]) -> Vec<Vec<u8>> {
    use ottla_protocol::messages::fetch_response::{FetchResponse, Partition, Response};
    use ottla_protocol::{Records, Region};
    let region = Region { index: 0, length: PARTITION_MAX_BYTES as u32 };
    let partition = |asked: &fetch_request::Partition| Partition {
        partition_index: asked.partition,
        records: Records::Region(region),
        ..Default::default()
    };
    let response = |topic: &fetch_request::Topic<'_>| Response {
        topic: topic.topic.to_string().into(),
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    let mut writer = Writer::new();
    ApiKey::Fetch.begin_response(&mut writer, FETCH_VERSION, correlation_id);
    let responses = topics.iter().map(response).collect();
    FetchResponse { responses, ..Default::default() }.encode(&mut writer, FETCH_VERSION);
    writer.finish_frame();
    let mut from = 0;
    let mut heads = Vec::new();
    for splice in &writer.regions {
        heads.push(writer.buffer[from..splice.at].to_vec());
        from = splice.at;
    }
    heads
}

/// Cuts what a connection sends into frames, each with its length.
struct Frames {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Frames {
    fn new() -> Self {
        Self { buffer: vec![0; READ_BYTES], start: 0, end: 0 }
    }

    fn next(&mut self, connection: &mut TcpStream) -> io::Result<Option<&[u8]>> {
        let mut needed = SIZE_LENGTH;
        loop {
            let there = &self.buffer[self.start..self.end];
            if let Some(length) = there.first_chunk() {
                needed = SIZE_LENGTH + u32::from_be_bytes(*length) as usize;
                if there.len() >= needed {
                    let frame = self.start..self.start + needed;
                    self.start = frame.end;
                    return Ok(Some(&self.buffer[frame]));
                }
            }
            if self.start + needed > self.buffer.len() || self.start == self.end {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
                if needed > self.buffer.len() {
                    return Err(io::Error::other("the generator sends no such frame"));
                }
            }
            match connection.read(&mut self.buffer[self.end..])? {
                0 => return Ok(None),
                count => self.end += count,
            }
        }
    }
}
