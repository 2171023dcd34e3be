//! Scrapes of an agent's metrics, as Prometheus does them.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result, ensure};

use super::SOON;
use crate::node::Node;

/// The address of the listener in the tests.
pub const LISTENER: &str = "127.0.0.1:9694";

/// Connects to the listener of `node`.
pub fn connect(node: &Node) -> Result<TcpStream> {
    let address: SocketAddr = LISTENER.parse()?;
    let stream = node.ns.enter(|| Ok(TcpStream::connect(address)?))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// Sends `request` as it is, and returns all of the answer.
pub fn answer(node: &Node, request: &[u8]) -> Result<String> {
    let mut stream = connect(node)?;
    stream.write_all(request)?;
    read(&mut stream)
}

/// Reads the answer to its end.
pub fn read(stream: &mut TcpStream) -> Result<String> {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).context("no answer")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The metrics of `node`, in the format for a client that sends this header `accept`.
pub fn scrape(node: &Node, accept: &str) -> Result<String> {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\n\r\n");
    let answer = answer(node, request.as_bytes())?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    ensure!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    Ok(body.to_owned())
}

/// The value of the sample with this name and these labels, as the text has them.
pub fn value(text: &str, sample: &str) -> Option<f64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// The names of all metrics that the text declares, in the older format.
pub fn declared(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|rest| rest.split(' ').next());
    names.map(str::to_owned).collect()
}
