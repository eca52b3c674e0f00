//! The listener for people and their tools: `/metrics`, `/health/live`, `/health/ready`.
//!
//! It shares nothing with clients' connections, so that it answers when they are too many. Nobody waits for a place here:
//! where all are taken, whoever has not asked yet loses his, or else who has been there longest. So those who connect and say
//! nothing, or do not read, keep nobody from asking whether the broker is alive.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tracing::debug;

use super::gather;
use super::pages::{PageBody, READ_WITHIN};
use crate::node::Node;

/// Connections at once.
const CONNECTIONS_MAX: usize = 128;
/// A request's head is there within this time, or the connection is closed.
const HEAD_WITHIN: Duration = Duration::from_secs(3);
/// A connection is for one request, and is closed after this time, also from those who do not read.
const ANSWERED_WITHIN: Duration = READ_WITHIN;
/// What a connection holds of a request, or of an answer that is not read.
const BUFFER_BYTES: usize = 64 * 1024;
/// How often pages are looked through for those that nobody needs any more.
const FORGET_EVERY: Duration = Duration::from_secs(1);
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is answered: a few words, or the page of metrics.
type AnswerBody = Either<Full<Bytes>, PageBody>;

/// The connections, the oldest first.
#[derive(Default)]
struct Places {
    taken: VecDeque<Place>,
}

struct Place {
    /// Whether its request is there.
    has_asked: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Places {
    /// Makes room for one more connection.
    fn make_room(&mut self) {
        self.taken.retain(|place| !place.task.is_finished());
        if self.taken.len() < CONNECTIONS_MAX {
            return;
        }
        let silent = self.taken.iter().position(|place| !place.has_asked.load(Ordering::Relaxed));
        let lost = self.taken.remove(silent.unwrap_or(0)).expect("all places are taken");
        lost.task.abort();
    }
}

/// Answers until the broker stops.
pub async fn serve(node: Arc<Node>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut places = Places::default();
    let mut forget = tokio::time::interval(FORGET_EVERY);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|&stop| stop) => break,
            Some(_) = connections.join_next() => continue,
            _ = forget.tick() => {
                node.metrics.pages.forget_old(Instant::now());
                continue;
            }
            accepted = accept(&listener) => accepted,
        };
        let Some(stream) = accepted else { continue };
        places.make_room();
        let has_asked = Arc::default();
        let task = connections.spawn(talk(node.clone(), stream, Arc::clone(&has_asked)));
        places.taken.push_back(Place { has_asked, task });
    }
    // Nobody loses anything by being cut off here.
    connections.shutdown().await;
}

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            debug!(%error, "cannot accept a connection to ottla.http.listener");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn talk(node: Arc<Node>, stream: TcpStream, has_asked: Arc<AtomicBool>) {
    let service = service_fn(move |request| {
        has_asked.store(true, Ordering::Relaxed);
        let node = node.clone();
        async move { Ok::<_, Infallible>(answer(node, &request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(ANSWERED_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to ottla.http.listener ended"),
        Err(_) => debug!("a connection to ottla.http.listener was cut: it took too long"),
    }
}

async fn answer<B>(node: Arc<Node>, request: &Request<B>) -> Response<AnswerBody> {
    let text = |status: StatusCode, text: &'static str| response(status, TEXT, Either::Left(Bytes::from(text).into()));
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
        refused.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("it is a header"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => match page(node).await {
            Ok(page) => response(StatusCode::OK, METRICS, Either::Right(page)),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "gathering the metrics failed; the log says why\n"),
        },
        "/health/live" => text(StatusCode::OK, "alive\n"),
        "/health/ready" => match unready(node).await {
            Ok(None) => text(StatusCode::OK, "ready\n"),
            Ok(Some(why)) => text(StatusCode::SERVICE_UNAVAILABLE, why),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "looking at the groups failed; the log says why\n"),
        },
        "/" => text(StatusCode::OK, "/metrics\n/health/live\n/health/ready\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /health/live and /health/ready\n"),
    }
}

/// The page of metrics: that of another who asks now, or a new one.
async fn page(node: Arc<Node>) -> Result<PageBody, JoinError> {
    // One at a time, also where those who asked have gone away.
    let turn = node.metrics.gathering.clone().lock_owned().await;
    if let Some(page) = node.metrics.pages.newest(Instant::now()) {
        return Ok(page);
    }
    // It waits for the locks of logs and groups.
    let gathering = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        node.metrics.pages.make_room();
        let page = gather::gather(&node);
        node.metrics.pages.put(Instant::now(), page)
    });
    gathering.await
}

async fn unready(node: Arc<Node>) -> Result<Option<&'static str>, JoinError> {
    let turn = node.metrics.looking.clone().lock_owned().await;
    // It waits for the locks of groups, as long as a disk takes.
    let looking = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        gather::unready(&node)
    });
    looking.await
}

fn response(status: StatusCode, content_type: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type).body(body);
    response.expect("status and header are valid")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::config::{Config, Written};
    use crate::start::Broker;

    #[tokio::test]
    async fn whoever_has_not_asked_loses_his_place_and_then_who_was_there_first() {
        let mut tasks = JoinSet::new();
        let mut places = Places::default();
        let mut connect = |places: &mut Places, has_asked: bool| {
            places.make_room();
            let task = tasks.spawn(std::future::pending::<()>());
            places.taken.push_back(Place { has_asked: Arc::new(has_asked.into()), task });
        };
        for place in 0..CONNECTIONS_MAX {
            connect(&mut places, place != 7);
        }
        let first = places.taken[0].task.id();
        let silent = places.taken[7].task.id();
        let has_place = |places: &Places, id| places.taken.iter().any(|place| place.task.id() == id);
        connect(&mut places, true);
        assert_eq!([first, silent].map(|id| has_place(&places, id)), [true, false]);
        connect(&mut places, true);
        assert_eq!([first, silent].map(|id| has_place(&places, id)), [false, false]);
        assert_eq!(places.taken.len(), CONNECTIONS_MAX);
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn half_requests_keep_nobody_from_asking() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\nottla.http.listener=\nlog.dirs={}\n",
            folder.path().display()
        );
        let config = Config::new(Written::from_text("server.properties", &text).unwrap()).unwrap().0;
        let broker = Broker::start(config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(serve(broker.node.clone(), listener, stopping));
        let mut half = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 50 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /met").await.unwrap();
            half.push(stream);
        }
        for (path, words) in [("/health/live", "alive"), ("/health/ready", "ready"), ("/metrics", "# TYPE")] {
            let answer = get(address, path).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(words), "{path}: {answer}");
        }
        drop(half);
        stop.send(true).unwrap();
        serving.await.unwrap();
        broker.stop().await.unwrap();
    }
}
