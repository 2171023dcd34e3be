//! Checks whether a server accepts connections.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::Verdict;

pub(super) async fn sample(address: SocketAddr) -> Verdict {
    match TcpStream::connect(address).await {
        Ok(_closed_again) => Ok(String::new()),
        Err(error) => Err(format!("could not connect to {address}: {error}")),
    }
}
