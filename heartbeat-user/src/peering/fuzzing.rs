//! The reader of frames, for the fuzz target of this channel (`fuzz/targets/peering.rs`).

use std::path::Path;

use heartbeat_common::wire::{ClusterId, NodeId};

use super::{
    frame::{FrameError, HELLO_LEN, Hello, Kind, Route, Session},
    keys::ChannelKeys,
};
use crate::config::key::Keys;

const ROUTE: Route = Route {
    cluster: ClusterId(1),
    source: NodeId(2),
    destination: NodeId(3),
};

fn keys() -> ChannelKeys {
    let text = "9 000102030405060708090a0b0c0d0e0f";
    let keys = Keys::parse(text, Path::new("key")).expect("a key file");
    ChannelKeys::derive(&keys)
}

fn hello(filler: u8) -> Hello {
    let mut bytes = [filler; HELLO_LEN];
    bytes[..8].copy_from_slice(b"HRTP\x01\0\0\0");
    now(Hello::read(&mut &bytes[..])).expect("a hello")
}

/// Runs a future that never waits, since it reads from memory.
fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

/// Reads `bytes` as a server would: a hello, then a request, both without a valid tag.
pub fn read(bytes: &[u8]) -> Result<(), String> {
    let mut from = bytes;
    let client = now(Hello::read(&mut from)).map_err(|error| error.to_string())?;
    let session = Session {
        server: hello(0xaa),
        client,
    };
    believed(&session, from).map_err(|error| error.to_string())
}

fn believed(session: &Session, mut from: &[u8]) -> Result<(), FrameError> {
    let keys = keys();
    let kinds = [Kind::Request, Kind::SecretRequest];
    now(session.read(&mut from, &keys, &kinds, ROUTE)).map(drop)
}

/// Seals `payload` under a head made of `head`, and reads the frame back. `head` also gives the
/// byte that arrives changed, if any.
///
/// # Panics
/// If an unchanged frame is rejected, or a changed one accepted.
pub fn read_sealed(head: [u8; 8], payload: &[u8]) {
    let [kind, cluster, source, destination, at @ .., flip] = head;
    let kinds = [
        Kind::Request,
        Kind::Answer,
        Kind::Refusal,
        Kind::SecretRequest,
        Kind::SecretAnswer,
    ];
    let kind = kinds[usize::from(kind) % kinds.len()];
    let route = Route {
        cluster: ClusterId(cluster.into()),
        source: NodeId(source.into()),
        destination: NodeId(destination.into()),
    };
    let session = Session {
        server: hello(0xaa),
        client: hello(0xbb),
    };
    let mut frame = session.seal(keys().active(), kind, route, payload);
    let place = u32::from_be_bytes([0, at[0], at[1], at[2]]) as usize % frame.len();
    frame[place] ^= flip;
    let asks = matches!(kind, Kind::Request | Kind::SecretRequest);
    let good = flip == 0 && asks && route == ROUTE;
    let read = believed(&session, &frame);
    assert_eq!(
        read.is_ok(),
        good && payload.len() <= kind.limit(),
        "{read:?}"
    );
}
