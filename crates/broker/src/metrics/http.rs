//! The listener for people and their tools: `/metrics`, `/health/live`, `/health/ready`.
//!
//! It shares nothing with clients' connections, so that it answers when they are too many.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::debug;

use super::gather;
use crate::node::Node;

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 32;
/// A request's head is there within this time, or the connection is closed.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// A connection is for one request, and is closed after this time, also from those who do not read.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers until the broker stops.
pub async fn serve(node: Arc<Node>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|&stop| stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &permits) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let node = node.clone();
        connections.spawn(async move {
            let _permit = permit;
            talk(node, stream).await;
        });
    }
    // Nobody loses anything by being cut off here.
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.expect("it is never closed");
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            debug!(%error, "cannot accept a connection to ottla.http.listener");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn talk(node: Arc<Node>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(answer(node, &request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(ANSWERED_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to ottla.http.listener ended"),
        Err(_) => debug!("a connection to ottla.http.listener was cut: it took too long"),
    }
}

async fn answer<B>(node: Arc<Node>, request: &Request<B>) -> Response<Full<Bytes>> {
    let text = |status: StatusCode, text: &'static str| response(status, TEXT, text.into());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
        refused.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("it is a header"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => {
            // One at a time, also where those who asked have gone away.
            let turn = node.metrics.gathering.clone().lock_owned().await;
            // It waits for the locks of logs and groups.
            let gathered = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                gather::gather(&node)
            });
            let gathered = gathered.await;
            match gathered {
                Ok(page) => response(StatusCode::OK, METRICS, page.into()),
                Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "gathering the metrics failed; the log says why\n"),
            }
        }
        "/health/live" => text(StatusCode::OK, "alive\n"),
        // It waits for the locks of groups, as long as a disk takes.
        "/health/ready" => match tokio::task::spawn_blocking(move || gather::unready(&node)).await {
            Ok(None) => text(StatusCode::OK, "ready\n"),
            Ok(Some(why)) => text(StatusCode::SERVICE_UNAVAILABLE, why),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "looking at the groups failed; the log says why\n"),
        },
        "/" => text(StatusCode::OK, "/metrics\n/health/live\n/health/ready\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /health/live and /health/ready\n"),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type).body(Full::new(body));
    response.expect("status and header are valid")
}
