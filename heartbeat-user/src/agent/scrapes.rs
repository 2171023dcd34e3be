//! The HTTP listener for Prometheus: `GET /metrics`.
//!
//! The control task answers a scrape as it answers `heartbeat status`, over the same channel, and
//! never waits for a client. However many clients ask, it makes one snapshot at a time, with a
//! pause after each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::listener::Service;
use crate::{
    control::{protocol, server::Asked},
    metrics::Format,
};

/// The path of the metrics.
const PATH: &str = "/metrics";
/// The time for a client to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// The time for the control task to answer, with the wait for other scrapes.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The time between two snapshots.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest head of a request, in bytes. hyper takes no smaller limit.
const MAX_HEAD: usize = 8_192;
/// The answer to a client that sends no complete request in time. hyper itself would close the
/// connection without an answer.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\
                          content-type: text/plain; charset=utf-8\r\ncontent-length: 38\r\n\r\n\
                          no complete request arrived within 2 s";

/// The answers to scrapes, from the control task.
#[derive(Clone, Debug)]
pub(super) struct Scrapes {
    asked: mpsc::Sender<Asked>,
    /// The earliest time of the next snapshot. The lock is held while the control task makes one.
    next: Arc<Mutex<Instant>>,
}

impl Service for Scrapes {
    const SUBJECT: &'static str = "scrapes of metrics (/metrics)";
    const TIME_LIMIT: Duration = Duration::from_secs(10);

    async fn serve(self, stream: TcpStream) {
        let arrived = AtomicBool::new(false);
        let respond = service_fn(|request| {
            arrived.store(true, Relaxed);
            self.respond(request)
        });
        let mut connection = http1::Builder::new()
            .keep_alive(false)
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), respond);
        // Each error is that of a client that has disconnected, or that got an answer with it.
        match timeout(REQUEST_LIMIT, &mut connection).await {
            Ok(_) => {}
            Err(_) if arrived.load(Relaxed) => drop(connection.await),
            Err(_) => {
                let mut stream = connection.into_parts().io.into_inner();
                let _ = stream.write_all(TOO_SLOW).await;
                let _ = stream.shutdown().await;
            }
        }
    }
}

impl Scrapes {
    pub(super) fn new(asked: mpsc::Sender<Asked>) -> Self {
        Self {
            asked,
            next: Arc::new(Mutex::new(Instant::now())),
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
        let text = Format::Text.media_type();
        if request.uri().path() != PATH {
            let body = format!("no such page: the metrics are at {PATH}\n");
            return answer(StatusCode::NOT_FOUND, text, body);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let body = format!("{} is not possible: use GET\n", request.method());
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, text, body)?;
            let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return Ok(response);
        }
        let format = format(&request);
        match timeout(ANSWER_LIMIT, self.scrape(format)).await {
            Ok(Ok(metrics)) => answer(StatusCode::OK, format.media_type(), metrics),
            Ok(Err(message)) => answer(StatusCode::SERVICE_UNAVAILABLE, text, message + "\n"),
            Err(_) => {
                let body = format!("the agent did not answer within {ANSWER_LIMIT:?}\n");
                answer(StatusCode::SERVICE_UNAVAILABLE, text, body)
            }
        }
    }

    /// Asks the control task for the metrics. The error is a text for the client.
    async fn scrape(&self, format: Format) -> Result<String, String> {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        let request = protocol::Request::Metrics {
            openmetrics: format == Format::OpenMetrics,
        };
        let (sender, answered) = oneshot::channel();
        let stopping = || "the agent is stopping".to_owned();
        let sent = self.asked.send((request, sender)).await;
        sent.map_err(|_| stopping())?;
        let response = answered.await.map_err(|_| stopping())?;
        *next = Instant::now() + PAUSE;
        match response {
            protocol::Response::Metrics { text } => Ok(text),
            protocol::Response::Error { message } => Err(message),
            other => Err(format!("unexpected answer of the agent: {other:?}")),
        }
    }
}

/// Returns the format for a client: OpenMetrics if the client accepts it.
fn format(request: &Request<Incoming>) -> Format {
    let accepted = request.headers().get_all(ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    match accepted.any(|value| value.contains("application/openmetrics-text")) {
        true => Format::OpenMetrics,
        false => Format::Text,
    }
}

fn answer(
    status: StatusCode,
    media_type: &str,
    body: String,
) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let response = Response::builder().status(status);
    response
        .header(CONTENT_TYPE, media_type)
        .body(Full::new(body.into()))
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;

    /// Answers one client as the listener does, with a control task that answers `answered`.
    async fn served(request: &[u8], answered: protocol::Response) -> String {
        let (asked, mut asks) = mpsc::channel::<Asked>(1);
        tokio::spawn(async move {
            while let Some((_, answer)) = asks.recv().await {
                let _ = answer.send(answered.clone());
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            Scrapes::new(asked).serve(stream).await;
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        serving.await.unwrap();
        text
    }

    fn metrics() -> protocol::Response {
        protocol::Response::Metrics {
            text: "heartbeat_quorate 1\n".to_owned(),
        }
    }

    #[tokio::test]
    async fn request_gets_the_metrics_in_the_format_that_it_accepts() {
        let text = served(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", metrics()).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("text/plain; version=0.0.4"), "{text}");
        assert!(text.ends_with("\r\n\r\nheartbeat_quorate 1\n"), "{text}");
        let accept = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\
                       accept: application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.1\r\n\r\n";
        let text = served(accept, metrics()).await;
        assert!(
            text.contains("application/openmetrics-text; version=1.0.0"),
            "{text}"
        );
        let text = served(b"HEAD /metrics HTTP/1.1\r\nhost: a\r\n\r\n", metrics()).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }

    #[tokio::test]
    async fn bad_request_gets_an_error_that_says_what_is_wrong() {
        let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
        let cases: [(&[u8], &str); 6] = [
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "404 Not Found"),
            (
                b"GET /metricsx HTTP/1.1\r\nhost: a\r\n\r\n",
                "404 Not Found",
            ),
            (
                b"DELETE /metrics HTTP/1.1\r\nhost: a\r\n\r\n",
                "405 Method Not Allowed",
            ),
            (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "400 Bad Request"),
            (b"GET /metrics\r\n\r\n", "400 Bad Request"),
            (long.as_bytes(), "431 Request Header Fields Too Large"),
        ];
        for (request, status) in cases {
            let text = served(request, metrics()).await;
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{status}: {text}"
            );
        }
    }

    #[tokio::test]
    async fn request_that_does_not_arrive_in_time_gets_a_timeout() {
        let text = served(b"GET /met", metrics()).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
            "{text}"
        );
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{text}"
        );
    }

    #[tokio::test]
    async fn agent_without_an_answer_is_a_service_that_is_unavailable() {
        let failed = protocol::Response::Error {
            message: "could not read the map `counters`".to_owned(),
        };
        let text = served(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", failed).await;
        assert!(
            text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{text}"
        );
        assert!(text.contains("could not read the map"), "{text}");
    }
}
