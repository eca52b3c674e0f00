//! A client that sends exactly the bytes it is told to, and knows nothing else.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ottla_protocol::frame::{self, RequestHeader};
use ottla_protocol::{ApiKey, Message, Reader, Writer};

/// No answer takes longer, unless something is wrong, however busy the machine is.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// No answer in these tests is larger.
const LARGEST_ANSWER: usize = 256 << 20;

/// The broker closed the connection instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// One connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    correlation_id: i32,
    client_id: String,
}

impl RawClient {
    /// Connects to `host:port`.
    pub fn connect(address: &str) -> io::Result<Self> {
        Self::connect_as("raw", address)
    }

    /// Connects to `host:port` under a name of its own.
    pub fn connect_as(client_id: &str, address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation_id: 0, client_id: client_id.to_owned() })
    }

    /// Sends bytes as they are. Fails where the broker has closed.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends `size` and then `frame`.
    pub fn send_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let size = i32::try_from(frame.len()).expect("frames of tests are small");
        self.send_bytes(&[&size.to_be_bytes()[..], frame].concat())
    }

    /// The next frame.
    pub fn receive(&mut self) -> Result<Vec<u8>, Closed> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(|error| closed(&error))?;
        let size = usize::try_from(i32::from_be_bytes(size)).expect("a size is not negative");
        assert!(size <= LARGEST_ANSWER, "an answer of {size} bytes");
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame).map_err(|error| closed(&error))?;
        Ok(frame)
    }

    /// Encodes `message` as a request frame, without its size.
    pub fn frame_of<'m, M: Message<'m>>(&mut self, key: ApiKey, version: i16, message: &M) -> Vec<u8> {
        self.correlation_id += 1;
        let mut writer = Writer::default();
        let header = RequestHeader {
            api_key: key.code(),
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(self.client_id.as_str().into()),
        };
        header.encode(&mut writer);
        message.encode(&mut writer, version);
        writer.into_bytes()
    }

    /// Sends a request and gives the frame of its answer, header included.
    pub fn ask<'m, M: Message<'m>>(&mut self, key: ApiKey, version: i16, message: &M) -> Result<Vec<u8>, Closed> {
        let frame = self.frame_of(key, version, message);
        self.send_frame(&frame).map_err(|error| closed(&error))?;
        self.answer()
    }

    /// The answer to the request whose frame was made last.
    pub fn answer(&mut self) -> Result<Vec<u8>, Closed> {
        let answer = self.receive()?;
        assert_eq!(answer[..4], self.correlation_id.to_be_bytes(), "the answer belongs to the request");
        Ok(answer)
    }

    /// Whether the broker closes this connection without another byte.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => closed(&error) == Closed,
        }
    }

    /// Whether the first byte of an answer is there, or the broker has closed.
    pub fn has_answer(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Reads the body of an answer.
pub fn body<'a, M: Message<'a>>(answer: &'a [u8], key: ApiKey, version: i16) -> M {
    let mut reader = Reader::new(answer);
    frame::read_response_header(&mut reader, key, version).expect("a header");
    let message = M::decode(&mut reader, version).expect("the answer follows its schema");
    assert_eq!(reader.remaining(), b"", "nothing follows the answer");
    message
}

fn closed(error: &io::Error) -> Closed {
    assert!(
        !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        "the broker neither answered nor closed the connection within {ANSWER_WITHIN:?}"
    );
    Closed
}
