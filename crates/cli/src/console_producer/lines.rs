//! The lines of stdin. A thread reads them, so that waiting for the next one can end.
//!
//! ```text
//! stdin --thread--> chunks (at most CHUNKS wait) --next--> line, line, line
//! ```

use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

/// How much is read from stdin at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many chunks may wait to be sent.
const CHUNKS: usize = 16;
/// No line is longer: a record may not be either, and what never ends must not fill the memory.
const LONGEST_LINE_BYTES: usize = 256 * 1024 * 1024;

/// The lines of stdin.
pub struct Lines {
    chunks: Receiver<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    at: usize,
    /// Where the search for the end of the line goes on.
    searched: usize,
    ended: bool,
    prompt: bool,
}

/// What comes next.
pub enum Next {
    /// A line.
    Line(Vec<u8>),
    /// Nothing in time.
    Deadline,
    /// Nothing any more.
    End,
}

impl Lines {
    /// Begins to read.
    pub fn of_stdin() -> Self {
        let (sender, chunks) = sync_channel(CHUNKS);
        // Nobody stops it: it ends with stdin, or with the process.
        thread::spawn(move || read_chunks(&sender));
        Self { prompt: io::stdin().is_terminal(), ..Self::new(chunks) }
    }

    fn new(chunks: Receiver<io::Result<Vec<u8>>>) -> Self {
        Self { chunks, buffer: Vec::new(), at: 0, searched: 0, ended: false, prompt: false }
    }

    /// The next line without its end, LF or CR LF; a last one without end is one too, unless it is empty.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Next, String> {
        loop {
            if let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + length;
                let line = without_return(&self.buffer[self.at..end]).to_vec();
                self.at = end + 1;
                self.searched = self.at;
                return Ok(Next::Line(line));
            }
            if self.ended {
                let line = without_return(&self.buffer[self.at..]).to_vec();
                let is_line = self.at < self.buffer.len();
                self.at = self.buffer.len();
                return Ok(if is_line { Next::Line(line) } else { Next::End });
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            self.searched = self.buffer.len();
            if self.buffer.len() > LONGEST_LINE_BYTES {
                return Err(format!("a line is longer than {LONGEST_LINE_BYTES} bytes"));
            }
            if self.prompt {
                // Without a terminal to show it on, it is not missed.
                let _ = io::stdout().write_all(b">").and_then(|()| io::stdout().flush());
                self.prompt = false;
            }
            let chunk = match deadline {
                Some(deadline) => self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())),
                None => self.chunks.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match chunk {
                Ok(Ok(chunk)) => {
                    self.buffer.extend_from_slice(&chunk);
                    self.prompt = io::stdin().is_terminal();
                }
                Ok(Err(error)) => return Err(format!("cannot read stdin: {error}")),
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Deadline),
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
    }
}

fn read_chunks(chunks: &SyncSender<io::Result<Vec<u8>>>) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = match stdin.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => {
                chunk.truncate(count);
                Ok(chunk)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if chunks.send(read).is_err() || failed {
            return;
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check_lines(chunks: &[&str], expected: &[&str]) {
        let (sender, receiver) = sync_channel(chunks.len());
        for chunk in chunks {
            sender.send(Ok(chunk.as_bytes().to_vec())).unwrap();
        }
        drop(sender);
        let mut lines = Lines::new(receiver);
        let mut read = Vec::new();
        while let Next::Line(line) = lines.next(None).unwrap() {
            read.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(read, expected);
    }

    #[test]
    fn lines_are_cut_wherever_the_chunks_are() {
        check_lines(&["a\nb\n\nc"], &["a", "b", "", "c"]);
        check_lines(&["a", "b\r", "\nc\n", "\n"], &["ab", "c", ""]);
        check_lines(&[], &[]);
        check_lines(&["a\n"], &["a"]);
    }

    #[test]
    fn waiting_for_a_line_ends_in_time() {
        let (sender, receiver) = sync_channel(1);
        let mut lines = Lines::new(receiver);
        assert!(matches!(lines.next(Some(Instant::now())), Ok(Next::Deadline)));
        sender.send(Ok(b"late\n".to_vec())).unwrap();
        assert!(matches!(lines.next(Some(Instant::now() + Duration::from_secs(60))), Ok(Next::Line(_))));
    }
}
