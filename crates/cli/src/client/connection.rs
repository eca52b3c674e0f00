//! One connection to one broker: frames out, frames in, and the version of each API that both ends know.
//!
//! Not here: which broker to ask (`cluster`), nor what to do when it fails.
//!
//! ```text
//! open -> ApiVersions 5 -> (error 35: once more, with the version it offers) -> ready
//! ready -> send, send -> receive, receive      answers come in the order of the requests
//! ```

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use ottla_protocol::frame::{RequestHeader, read_response_header};
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::{ApiKey, ErrorCode, Message, Reader, Str, Writer};

use super::{Address, Error};

/// No answer is larger; a broker that announces more is none, or out of its mind.
const LARGEST_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// Memory for an answer grows by at most this much ahead of the bytes that have come.
const ANSWER_STEP_BYTES: usize = 4 * 1024 * 1024;
/// How long the rest of an answer may take that is on its way when time is over.
const LAST_LOOK: Duration = Duration::from_millis(100);
/// The name under which brokers know these tools.
const SOFTWARE_NAME: &str = "ottla";

/// How to talk to brokers.
#[derive(Clone, Debug)]
pub struct Options {
    /// What we call ourselves.
    pub client_id: String,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for an answer.
    pub request_timeout: Duration,
}

/// A connection that is ready for requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    peer: Address,
    options: Options,
    served: Vec<(i16, i16, i16)>,
    due: VecDeque<Due>,
    next_correlation_id: i32,
}

/// An answer, and what is needed to read it.
#[derive(Debug)]
pub struct Answer {
    frame: Vec<u8>,
    due: Due,
    peer: Address,
}

/// A request whose answer has not come.
#[derive(Clone, Copy, Debug)]
struct Due {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Connection {
    /// Connects, trying each address that the host's name has, and asks which APIs are served.
    pub fn open(peer: &Address, options: &Options) -> Result<Self, Error> {
        let unreachable = |error| Error::Unreachable(vec![(peer.clone(), error)]);
        let stream = connect(peer, options.connect_timeout).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        stream.set_write_timeout(Some(options.request_timeout)).map_err(unreachable)?;
        let mut connection = Self {
            stream,
            peer: peer.clone(),
            options: options.clone(),
            served: Vec::new(),
            due: VecDeque::new(),
            next_correlation_id: 0,
        };
        connection.negotiate()?;
        Ok(connection)
    }

    /// Where it leads.
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// The newest version of `api` that both ends know.
    pub fn version_of(&self, api: ApiKey) -> Option<i16> {
        let ours = api.kafka_versions();
        let (_, min, max) = *self.served.iter().find(|(key, _, _)| *key == api as i16)?;
        let version = max.min(*ours.end());
        (version >= min && version >= *ours.start()).then_some(version)
    }

    /// Sends a request and waits for its answer.
    pub fn ask<'q>(&mut self, api: ApiKey, request: &impl Message<'q>) -> Result<Answer, Error> {
        self.send(api, i16::MAX, request)?;
        self.receive()
    }

    /// Sends a request in the newest common version that is no newer than `newest`.
    pub fn send<'q>(&mut self, api: ApiKey, newest: i16, request: &impl Message<'q>) -> Result<(), Error> {
        let version = self.version_of(api).map(|version| version.min(newest));
        let version = version.ok_or_else(|| Error::NotServed { peer: self.peer.clone(), api })?;
        let frame = self.frame(api, version, request);
        self.write(&frame)
    }

    /// Sends a request that no answer follows: a Produce with acks 0.
    pub fn send_unanswered<'q>(&mut self, api: ApiKey, newest: i16, request: &impl Message<'q>) -> Result<(), Error> {
        self.send(api, newest, request)?;
        self.due.pop_back();
        Ok(())
    }

    /// Waits for the answer to the oldest request that has none yet.
    ///
    /// # Panics
    /// Where there is no such request.
    pub fn receive(&mut self) -> Result<Answer, Error> {
        self.receive_within(self.options.request_timeout)
    }

    /// As [`Connection::receive`], with a timeout of its own.
    pub fn receive_within(&mut self, timeout: Duration) -> Result<Answer, Error> {
        let due = self.due.pop_front().expect("an answer is only waited for after a request");
        let frame = self.read_frame(due, timeout)?;
        let mut reader = Reader::new(&frame);
        let correlation_id = read_response_header(&mut reader, due.api, due.version)
            .map_err(|error| Error::garbled(&self.peer, &error))?;
        if correlation_id != due.correlation_id {
            let what = format!("it answers request {correlation_id} instead of {}", due.correlation_id);
            return Err(Error::Garbled { peer: self.peer.clone(), what });
        }
        Ok(Answer { frame, due, peer: self.peer.clone() })
    }

    /// Waits until something has come, or the other side has closed, for at most `timeout`; whether it did.
    pub fn wait_readable(&mut self, timeout: Duration) -> Result<bool, Error> {
        let broken = |error| Error::Broken { peer: self.peer.clone(), error };
        self.stream.set_read_timeout(Some(timeout)).map_err(broken)?;
        match self.stream.peek(&mut [0]) {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(broken(error)),
            },
        }
    }

    /// How it was opened.
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn negotiate(&mut self) -> Result<(), Error> {
        let mut version = *ApiKey::ApiVersions.kafka_versions().end();
        // The second attempt is in a version that the broker named itself (KIP-511).
        for _ in 0..2 {
            let request = ApiVersionsRequest {
                client_software_name: Str::Borrowed(SOFTWARE_NAME),
                client_software_version: Str::Borrowed(env!("CARGO_PKG_VERSION")),
                ..ApiVersionsRequest::default()
            };
            let frame = self.frame(ApiKey::ApiVersions, version, &request);
            self.write(&frame)?;
            let mut answer = self.receive()?;
            // A broker that does not know the version answers in version 0, with the code first.
            if answer.frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes()[..]) {
                answer.due.version = 0;
            }
            let response: ApiVersionsResponse<'_> = answer.read()?;
            self.served = response.api_keys.iter().map(|key| (key.api_key, key.min_version, key.max_version)).collect();
            match ErrorCode::from_code(response.error_code) {
                Some(ErrorCode::None) => return Ok(()),
                Some(ErrorCode::UnsupportedVersion) => version = self.version_of(ApiKey::ApiVersions).unwrap_or(0),
                _ => break,
            }
        }
        Err(Error::Garbled { peer: self.peer.clone(), what: "it does not say which APIs it serves".to_owned() })
    }

    fn frame<'q>(&mut self, api: ApiKey, version: i16, request: &impl Message<'q>) -> Vec<u8> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        self.due.push_back(Due { api, version, correlation_id });
        let client_id = Some(self.options.client_id.as_str().into());
        let mut writer = Writer::default();
        writer.begin_frame();
        RequestHeader { api_key: api as i16, api_version: version, correlation_id, client_id }.encode(&mut writer);
        request.encode(&mut writer, version);
        writer.finish_frame();
        writer.into_bytes()
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), Error> {
        self.stream.write_all(frame).map_err(|error| Error::Broken { peer: self.peer.clone(), error })
    }

    fn read_frame(&mut self, due: Due, timeout: Duration) -> Result<Vec<u8>, Error> {
        let mut deadline = Deadline { at: Instant::now() + timeout, is_extended: false };
        let mut size = [0; 4];
        let read = self.read_until(&mut deadline, &mut size).and_then(|()| {
            let length =
                usize::try_from(i32::from_be_bytes(size)).ok().filter(|length| *length <= LARGEST_ANSWER_BYTES);
            let length =
                length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an answer of absurd size"))?;
            let mut frame = Vec::new();
            while frame.len() < length {
                let from = frame.len();
                frame.resize(length.min(from + ANSWER_STEP_BYTES), 0);
                self.read_until(&mut deadline, &mut frame[from..])?;
            }
            Ok(frame)
        });
        read.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                Error::TimedOut { peer: self.peer.clone(), api: due.api, timeout }
            }
            io::ErrorKind::InvalidData => Error::Garbled { peer: self.peer.clone(), what: error.to_string() },
            _ => Error::Broken { peer: self.peer.clone(), error },
        })
    }

    /// What is on its way counts also when time is over, as this process may have stood still meanwhile.
    fn read_until(&mut self, deadline: &mut Deadline, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(deadline.left()?))?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// When an answer has to be there.
struct Deadline {
    at: Instant,
    /// It was over once, but for what is on its way.
    is_extended: bool,
}

impl Deadline {
    fn left(&mut self) -> io::Result<Duration> {
        let now = Instant::now();
        if now >= self.at {
            if std::mem::replace(&mut self.is_extended, true) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.at = now + LAST_LOOK;
        }
        Ok(self.at - now)
    }
}

impl Answer {
    /// Decodes the body.
    pub fn read<'a, M: Message<'a>>(&'a self) -> Result<M, Error> {
        assert_eq!(M::KEY, self.due.api as i16, "an answer is read as what was asked for");
        let mut reader = Reader::new(&self.frame);
        read_response_header(&mut reader, self.due.api, self.due.version)
            .and_then(|_| M::decode(&mut reader, self.due.version))
            .map_err(|error| Error::garbled(&self.peer, &error))
    }
}

/// An error of the kind NotFound says that the name has no address.
fn connect(peer: &Address, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses = (peer.host.as_str(), peer.port).to_socket_addrs();
    for address in addresses.map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use ottla_protocol::messages::api_versions_response::ApiKey as ServedApi;

    use super::*;

    /// Connects to a broker that answers ApiVersions requests in turn with these codes, in version 0, as one does that knows
    /// no newer version; gives the versions in which it was asked.
    fn negotiate(codes: &[ErrorCode]) -> (Result<Connection, Error>, Vec<i16>) {
        let (peer, broker) = broker(codes);
        let connection = Connection::open(&peer, &Options::default());
        (connection, broker.join().unwrap())
    }

    fn broker(codes: &[ErrorCode]) -> (Address, thread::JoinHandle<Vec<i16>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Address { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        let codes = codes.to_vec();
        let broker = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            codes.into_iter().map(|code| answer(&mut stream, code)).collect()
        });
        (peer, broker)
    }

    fn answer(stream: &mut TcpStream, code: ErrorCode) -> i16 {
        let mut size = [0; 4];
        stream.read_exact(&mut size).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame).unwrap();
        let (header, _) = RequestHeader::decode(&frame).unwrap();
        let served = [(ApiKey::ApiVersions, 0, 2), (ApiKey::Metadata, 1, 99), (ApiKey::Fetch, 90, 99)];
        let served =
            served.map(|(api, min_version, max_version)| ServedApi { api_key: api as i16, min_version, max_version });
        let response = ApiVersionsResponse {
            error_code: code.code(),
            api_keys: served.to_vec(),
            ..ApiVersionsResponse::default()
        };
        let version = if code == ErrorCode::None { header.api_version } else { 0 };
        let mut writer = Writer::default();
        ApiKey::ApiVersions.begin_response(&mut writer, version, header.correlation_id);
        response.encode(&mut writer, version);
        writer.finish_frame();
        stream.write_all(&writer.into_bytes()).unwrap();
        header.api_version
    }

    #[test]
    fn an_older_broker_is_asked_again_in_its_own_version() {
        let (connection, asked) = negotiate(&[ErrorCode::UnsupportedVersion, ErrorCode::None]);
        assert_eq!(asked, [5, 2]);
        let connection = connection.unwrap();
        let of = |api| connection.version_of(api);
        assert_eq!([of(ApiKey::Metadata), of(ApiKey::Fetch), of(ApiKey::Produce)], [Some(13), None, None]);
    }

    #[test]
    fn a_broker_that_refuses_twice_is_given_up() {
        let (connection, asked) = negotiate(&[ErrorCode::UnsupportedVersion, ErrorCode::UnsupportedVersion]);
        assert_eq!(asked, [5, 2]);
        let message = connection.unwrap_err().to_string();
        assert!(message.contains("it does not say which APIs it serves"), "{message}");
    }

    #[test]
    fn an_answer_that_is_there_when_time_is_over_is_taken() {
        let (peer, broker) = broker(&[ErrorCode::None; 3]);
        let mut connection = Connection::open(&peer, &Options::default()).unwrap();
        for _ in 0..2 {
            connection.send(ApiKey::ApiVersions, 2, &ApiVersionsRequest::default()).unwrap();
        }
        broker.join().unwrap();
        assert!(connection.receive_within(Duration::ZERO).is_ok());
        assert!(connection.receive_within(Duration::ZERO).is_ok());
    }

    #[test]
    fn time_is_extended_once() {
        let mut deadline = Deadline { at: Instant::now(), is_extended: false };
        let left = deadline.left().unwrap();
        assert!(!left.is_zero() && left <= LAST_LOOK, "{left:?}");
        deadline.at = Instant::now();
        assert_eq!(deadline.left().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_request_that_the_broker_does_not_serve_is_not_sent() {
        let (connection, _) = negotiate(&[ErrorCode::None]);
        let refused = connection.unwrap().ask(ApiKey::Produce, &ApiVersionsRequest::default());
        assert!(matches!(refused, Err(Error::NotServed { api: ApiKey::Produce, .. })));
    }
}
