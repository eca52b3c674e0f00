//! A blocking connection to a broker: whole answers, or fetched records counted and thrown away.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ottla_protocol::Message;
use ottla_protocol::frame::SIZE_LENGTH;
use rustix::net::RecvFlags;

use super::frames;

/// What is read at once; many small answers, or the head of a large one.
const READ_BYTES: usize = 64 << 10;
/// What is thrown away at once.
const DISCARD_BYTES: usize = 1 << 20;
/// A broker that is silent for so long is broken.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    discarded: Vec<u8>,
}

/// What a fetch answer says of one partition.
pub struct Fetched {
    pub partition: i32,
    pub high_watermark: u64,
    pub records_bytes: u64,
}

impl Connection {
    /// Connects.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        Ok(Self::new(stream))
    }

    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; READ_BYTES], start: 0, end: 0, discarded: Vec::new() }
    }

    /// The same connection for another thread, which sends while this one receives.
    pub fn sender(&self) -> io::Result<Self> {
        self.stream.try_clone().map(Self::new)
    }

    /// Sends a request.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// The next answer, without its length.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        let length = u32::from_be_bytes(self.take_chunk()?) as usize;
        self.fill(length)?;
        let answer = &self.buffer[self.start..self.start + length];
        self.start += length;
        Ok(answer)
    }

    /// One request and its answer, for what is not measured.
    pub fn ask<'m, A: Message<'m>>(&'m mut self, request: &[u8], version: i16) -> io::Result<A> {
        self.send(request)?;
        frames::answer(self.receive()?, version)
    }

    /// Reads a fetch answer; its records are thrown away by the kernel, as looking at them would cost more than
    /// sending them.
    ///
    /// ```text
    /// correlation id 4, throttle 4, error 2, session 4, topics 4: each
    ///   name 2+n, partitions 4: each
    ///     partition 4, error 2, high watermark 8, last stable 8, log start 8, aborted 4, replica 4, length 4, records
    /// ```
    pub fn receive_fetch(&mut self, mut each: impl FnMut(Fetched)) -> io::Result<()> {
        let _length: [u8; SIZE_LENGTH] = self.take_chunk()?;
        let _correlation_and_throttle: [u8; 8] = self.take_chunk()?;
        let error = i16::from_be_bytes(self.take_chunk()?);
        let _session: [u8; 4] = self.take_chunk()?;
        refuse(error)?;
        for _ in 0..u32::from_be_bytes(self.take_chunk()?) {
            let name = u16::from_be_bytes(self.take_chunk()?);
            self.discard(u64::from(name))?;
            for _ in 0..u32::from_be_bytes(self.take_chunk()?) {
                let partition = i32::from_be_bytes(self.take_chunk()?);
                refuse(i16::from_be_bytes(self.take_chunk()?))?;
                let high_watermark = i64::from_be_bytes(self.take_chunk()?).max(0).cast_unsigned();
                let _stable_and_start: [u8; 16] = self.take_chunk()?;
                let aborted = i32::from_be_bytes(self.take_chunk()?);
                if aborted > 0 {
                    return Err(io::Error::other("aborted transactions, where nothing is transactional"));
                }
                let _replica: [u8; 4] = self.take_chunk()?;
                let records_bytes = u64::try_from(i32::from_be_bytes(self.take_chunk()?)).unwrap_or(0);
                self.discard(records_bytes)?;
                each(Fetched { partition, high_watermark, records_bytes });
            }
        }
        Ok(())
    }

    fn take_chunk<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.fill(N)?;
        let chunk = self.buffer[self.start..].first_chunk().expect("that many bytes are there");
        self.start += N;
        Ok(*chunk)
    }

    /// Makes sure that `length` bytes are in the buffer.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.start + length > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.buffer.resize(length.max(self.buffer.len()), 0);
        }
        while self.end - self.start < length {
            match self.stream.read(&mut self.buffer[self.end..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.end += count,
            }
        }
        Ok(())
    }

    /// Skips bytes; those that are not in the buffer yet are never copied out of the kernel.
    fn discard(&mut self, length: u64) -> io::Result<()> {
        let buffered = length.min((self.end - self.start) as u64);
        self.start += buffered as usize;
        let mut left = length - buffered;
        self.discarded.resize(DISCARD_BYTES, 0);
        while left > 0 {
            let part = left.min(DISCARD_BYTES as u64) as usize;
            let (_, count) = rustix::net::recv(&self.stream, &mut self.discarded[..part], RecvFlags::TRUNC)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= count as u64;
        }
        Ok(())
    }
}

fn refuse(error: i16) -> io::Result<()> {
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!("the broker answered {}", frames::error_name(error))))
    }
}
