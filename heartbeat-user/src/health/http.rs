//! Checks the status of a web server's answer (RFC 9110, section 15). It follows no redirect and
//! reads no content.

use std::pin::pin;

use http_body_util::Empty;
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Verdict;
use crate::config::HttpTarget;

/// The User-Agent of the requests, for the server's log.
const AGENT: &str = concat!("heartbeat/", env!("CARGO_PKG_VERSION"));

pub(super) async fn sample(target: HttpTarget) -> Verdict {
    let address = target.address;
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("could not connect to {address}: {error}"))?;
    let status = get(stream, &target)
        .await
        .map_err(|error| format!("{address} does not answer a GET: {error}"))?;
    let said = format!("status {status}");
    if (200..=399).contains(&status) {
        Ok(said)
    } else {
        Err(said)
    }
}

/// Returns the status of the answer.
async fn get(stream: TcpStream, target: &HttpTarget) -> anyhow::Result<u16> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&target.path)
        .header(HOST, &target.host)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may end together with the answer, which can then be received.
        _ = connection => answer.await,
    };
    Ok(answer?.status().as_u16())
}
