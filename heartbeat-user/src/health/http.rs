//! Whether a web server answers, and with what (RFC 9110, section 15). Follows nothing, and reads no content.

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

/// Who asks, for the server's log.
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

/// The status of the answer.
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
        // With the answer, perhaps, which is then there to be taken.
        _ = connection => answer.await,
    };
    Ok(answer?.status().as_u16())
}
