//! What a connection speaks over. Today a bare TCP socket; TLS joins here, and must then copy what a bare socket sends
//! straight from the file.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::BufMut;
use ottla_storage::LogSlice;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How often a connection that has sent more than is read is asked whether it is still there.
const GONE_CHECK_EVERY: Duration = Duration::from_millis(100);

/// After so much of an answer, where the socket is never full, it is the turn of other connections.
const TURN_BYTES: u64 = 1 << 20;

/// What is thrown away at once; it is not even copied.
const THROWN_AWAY_BYTES: usize = 16 << 10;

/// One client's byte stream.
#[derive(Debug)]
pub enum Transport {
    /// No encryption: files go out by `sendfile`.
    Plain(TcpStream),
}

/// How many bytes of an answer the other end, or the kernel for it, has taken. One task counts.
#[derive(Debug, Default)]
pub struct Taken(AtomicU64);

impl Taken {
    /// So far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.0.store(self.bytes() + bytes, Ordering::Relaxed);
    }
}

impl Transport {
    /// Waits until there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.readable().await,
        }
    }

    /// Whether there may be something to read, as far as is known now.
    pub async fn is_readable(&self) -> bool {
        let Self::Plain(stream) = self;
        let mut ready = pin!(stream.readable());
        poll_fn(|context| Poll::Ready(ready.as_mut().poll(context).is_ready())).await
    }

    /// Whether a read would give something now, be it the end.
    pub fn has_come(&self) -> io::Result<bool> {
        let Self::Plain(stream) = self;
        let peek = || Ok(rustix::net::recv(stream, &mut [0], RecvFlags::PEEK)?);
        match stream.try_io(Interest::READABLE, peek) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until the other end has closed, or at least sends no more. What it sent before stays there to be read.
    pub async fn gone(&self) {
        let Self::Plain(stream) = self;
        loop {
            match stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                _ => return,
            }
            match self.has_come() {
                // The end, where there is one, is behind what has come: asked for once more later.
                Ok(true) => tokio::time::sleep(GONE_CHECK_EVERY).await,
                Ok(false) => {}
                Err(_) => return,
            }
        }
    }

    /// Whether there is room for something to be written, as far as is known now.
    pub async fn is_writable(&self) -> bool {
        let Self::Plain(stream) = self;
        let mut ready = pin!(stream.writable());
        poll_fn(|context| Poll::Ready(ready.as_mut().poll(context).is_ready())).await
    }

    /// Says that nothing more follows, and throws away what still comes until the other end has closed.
    pub async fn close(&self) {
        let Self::Plain(stream) = self;
        if rustix::net::shutdown(stream, Shutdown::Write).is_err() {
            return;
        }
        loop {
            let throw_away = || Ok(rustix::net::recv(stream, &mut [0; THROWN_AWAY_BYTES], RecvFlags::TRUNC)?.1);
            match stream.try_io(Interest::READABLE, throw_away) {
                Ok(0) => return,
                // It may come without end, and is of nobody's use.
                Ok(_) => tokio::task::yield_now().await,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stream.readable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Reads what is there into `buffer`; `None` where nothing is, `Some(0)` where the other end has closed.
    pub fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<Option<usize>> {
        let Self::Plain(stream) = self;
        let mut read = None;
        let tried = stream.try_io(Interest::READABLE, || {
            let count = *read.insert(stream.try_read_buf(buffer)?);
            // A read that did not fill its buffer has emptied the socket: the next one waits, without asking in vain first.
            let is_drained = count > 0 && buffer.has_remaining_mut();
            if is_drained { Err(io::Error::from(io::ErrorKind::WouldBlock)) } else { Ok(()) }
        });
        match tried {
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Err(error),
            _ => Ok(read),
        }
    }

    /// Writes all of `bytes`. With `more`, further bytes follow at once and the kernel may wait for them.
    pub async fn write_all(&self, mut bytes: &[u8], more: bool, taken: &Taken) -> io::Result<()> {
        let Self::Plain(stream) = self;
        let flags = if more { SendFlags::MORE | SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL };
        while !bytes.is_empty() {
            let sent = match stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, bytes, flags)?)) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.writable().await?;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            taken.add(sent as u64);
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Sends a piece of a log file without its bytes passing through this process.
    pub async fn send_slice(&self, slice: &LogSlice, taken: &Taken) -> io::Result<()> {
        let Self::Plain(stream) = self;
        let mut position = slice.position;
        let end = slice.position + u64::from(slice.length);
        while position < end {
            let before = taken.bytes();
            let left = usize::try_from(end - position).unwrap_or(usize::MAX);
            let send = || match rustix::fs::sendfile(stream, &*slice.file, Some(&mut position), left)? {
                // The file is shorter than the slice says: it was cut behind our back. The answer cannot be finished.
                0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                sent => {
                    taken.add(sent as u64);
                    // A signal ends it early too, and whoever then waits for a socket that is not full waits for ever.
                    if sent < left && is_full(stream)? {
                        Err(io::Error::from(io::ErrorKind::WouldBlock))
                    } else {
                        Ok(())
                    }
                }
            };
            match stream.try_io(Interest::WRITABLE, send) {
                // A client that takes all at once is not to keep the worker from its other connections; also behind the last
                // piece, since the next answer may be there.
                Ok(()) if before / TURN_BYTES != taken.bytes() / TURN_BYTES => tokio::task::yield_now().await,
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether a socket takes nothing more now. Once it has said so, the system tells when that is over.
fn is_full(stream: &TcpStream) -> io::Result<bool> {
    let mut asked = [PollFd::new(stream, PollFlags::OUT)];
    match rustix::event::poll(&mut asked, Some(&Timespec::default())) {
        Ok(ready) => Ok(ready == 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
pub mod tests {
    use std::fs::{self, File};
    use std::sync::Arc;

    use ottla_base::Offset;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A connection, and the client at its other end.
    pub async fn pair() -> (Transport, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Transport::Plain(listener.accept().await.unwrap().0), client)
    }

    #[tokio::test]
    async fn a_slice_that_goes_out_in_part_is_gone_on_with_whether_or_not_the_socket_is_full() {
        const BYTES: usize = 16 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, vec![7; BYTES]).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        let slice = |position, length| LogSlice { file: file.clone(), position, length, first_offset: Offset(0) };
        let (transport, mut client) = pair().await;
        let taken = Taken::default();

        let whole = slice(0, BYTES as u32);
        let mut sending = pin!(transport.send_slice(&whole, &taken));
        let is_sent = poll_fn(|context| Poll::Ready(sending.as_mut().poll(context).is_ready()));
        assert!(!is_sent.await, "nobody reads");
        let mut read = vec![0; BYTES];
        let (sent, received) = tokio::join!(sending, client.read_exact(&mut read));
        sent.unwrap();
        assert!(received.unwrap() == BYTES && read.iter().all(|&byte| byte == 7) && taken.bytes() == BYTES as u64);

        // What ends early for another reason than a full socket: here the end of the file.
        let too_long = slice(BYTES as u64 - 1, 2);
        let sent = transport.send_slice(&too_long, &taken);
        let sent = tokio::time::timeout(Duration::from_secs(60), sent).await.expect("the socket is not full");
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_was_sent_arrives_though_more_comes_when_nothing_is_read_any_more() {
        const BYTES: usize = 1 << 20;
        let (transport, mut client) = pair().await;
        transport.write_all(&vec![7; BYTES], false, &Taken::default()).await.unwrap();
        let closing = tokio::spawn(async move { transport.close().await });
        let mut read = vec![0; BYTES];
        for part in read.chunks_mut(BYTES / 8) {
            client.write_all(&[1; BYTES / 8]).await.unwrap();
            client.read_exact(part).await.unwrap();
        }
        assert!(read.iter().all(|&byte| byte == 7));
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert!(!closing.is_finished());
        drop(client);
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn whoever_closes_is_gone_also_behind_bytes_that_are_not_read() {
        let (transport, client) = pair().await;
        let mut gone = pin!(transport.gone());
        let mut is_gone = async || poll_fn(|context| Poll::Ready(gone.as_mut().poll(context).is_ready())).await;
        assert!(!is_gone().await);
        Transport::Plain(client).write_all(b"more", false, &Taken::default()).await.unwrap();
        gone.await;
        let mut read = Vec::new();
        assert_eq!(transport.try_read(&mut read).unwrap(), Some(4));
    }
}
