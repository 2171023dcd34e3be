//! The bytes on a connection, and their authentication.
//!
//! Each side begins with a hello that has 16 random bytes. Then one request and one answer follow,
//! each a head with a tag and a payload with another. Both tags cover both hellos, so a frame is
//! valid on one connection and in one direction only. A payload is read only after its head's tag
//! has been verified. The payload of a secret kind is encrypted first; its tag covers the
//! ciphertext.

use heartbeat_common::wire::{ClusterId, NodeId};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    MAX_PAYLOAD, MAX_SECRET,
    keys::{ChannelKey, ChannelKeys, TAG_LEN, Tag, equal},
};

const MAGIC: [u8; 4] = *b"HRTP";
const VERSION: u8 = 1;
/// Bytes of a hello: magic, version, three zero bytes, the challenge.
pub(super) const HELLO_LEN: usize = 24;
const CHALLENGE_AT: usize = 8;
/// Bytes of a head without its tag.
const HEAD_LEN: usize = 16;

/// The first bytes of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello([u8; HELLO_LEN]);

/// The kind of a frame. The tag covers it, so no frame can be sent back as one of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Request = 1,
    Answer = 2,
    /// Takes the place of an answer; the payload is the reason.
    Refusal = 3,
    /// A request and an answer that are encrypted.
    SecretRequest = 4,
    SecretAnswer = 5,
}

impl Kind {
    pub(super) const fn is_secret(self) -> bool {
        matches!(self, Self::SecretRequest | Self::SecretAnswer)
    }

    /// The length of the longest payload, in bytes.
    pub(super) const fn limit(self) -> usize {
        if self.is_secret() {
            MAX_SECRET
        } else {
            MAX_PAYLOAD
        }
    }
}

/// The source and the destination of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) cluster: ClusterId,
    pub(super) source: NodeId,
    pub(super) destination: NodeId,
}

/// One connection: the hellos of its two sides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) server: Hello,
    pub(super) client: Hello,
}

/// Why received bytes are rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the bytes are not of this protocol: does another program use the port?")]
    Magic,
    #[error(
        "its agent speaks version {0} of this channel, ours {VERSION}: use one release on all nodes"
    )]
    Version(u8),
    #[error("key id {0} is not in the key file (key files differ)")]
    UnknownKey(u8),
    #[error("bad authentication tag (key files differ)")]
    Tag,
    #[error("a frame of kind {0} came out of order")]
    Kind(u8),
    #[error("it is of the cluster with the id {:#010x} (configurations differ)", .0.0)]
    Cluster(ClusterId),
    #[error("the sender is node {} by its frame (configurations differ)", .0.0)]
    Source(NodeId),
    #[error("the frame is for node {} (configurations differ)", .0.0)]
    Destination(NodeId),
    #[error("{0} bytes are more than {1}")]
    TooLong(u32, usize),
}

impl Hello {
    /// Returns a hello with a new challenge.
    pub(super) fn fresh() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; HELLO_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        getrandom::fill(&mut bytes[CHALLENGE_AT..])?;
        Ok(Self(bytes))
    }

    pub(super) const fn as_bytes(&self) -> &[u8; HELLO_LEN] {
        &self.0
    }

    fn parse(bytes: [u8; HELLO_LEN]) -> Result<Self, FrameError> {
        if bytes[..4] != MAGIC {
            return Err(FrameError::Magic);
        }
        if bytes[4] != VERSION {
            return Err(FrameError::Version(bytes[4]));
        }
        // The tags cover the three bytes after the version, whatever their values.
        Ok(Self(bytes))
    }

    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Self, FrameError> {
        let mut bytes = [0; HELLO_LEN];
        from.read_exact(&mut bytes).await?;
        Self::parse(bytes)
    }
}

impl Session {
    /// Encodes a whole frame. The receiver rejects a payload above [`Kind::limit`].
    pub(super) fn seal(
        &self,
        key: &ChannelKey,
        kind: Kind,
        route: Route,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut head = [0; HEAD_LEN];
        head[0] = kind as u8;
        head[1] = key.id;
        head[4..8].copy_from_slice(&route.cluster.0.to_be_bytes());
        head[8..10].copy_from_slice(&route.source.0.to_be_bytes());
        head[10..12].copy_from_slice(&route.destination.0.to_be_bytes());
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        head[12..16].copy_from_slice(&length.to_be_bytes());
        let mut payload = payload.to_vec();
        self.encipher(key, kind, &mut payload);
        let mut frame = Vec::with_capacity(HEAD_LEN + payload.len() + 2 * TAG_LEN);
        frame.extend_from_slice(&head);
        frame.extend_from_slice(&self.head_tag(key, &head));
        frame.extend_from_slice(&payload);
        frame.extend_from_slice(&self.payload_tag(key, &head, &payload));
        frame
    }

    /// Reads the next frame, which must be of one of the `kinds` and by that `route`. Returns its
    /// kind, the key of its tags and its payload.
    pub(super) async fn read<'k>(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        keys: &'k ChannelKeys,
        kinds: &[Kind],
        route: Route,
    ) -> Result<(Kind, &'k ChannelKey, Vec<u8>), FrameError> {
        let mut head = [0; HEAD_LEN];
        let mut tag: Tag = [0; TAG_LEN];
        from.read_exact(&mut head).await?;
        from.read_exact(&mut tag).await?;
        let key = keys.get(head[1]).ok_or(FrameError::UnknownKey(head[1]))?;
        if !equal(&tag, &self.head_tag(key, &head)) {
            return Err(FrameError::Tag);
        }
        let (kind, length) = expected(&head, kinds, route)?;
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        from.read_exact(&mut tag).await?;
        if !equal(&tag, &self.payload_tag(key, &head, &payload)) {
            return Err(FrameError::Tag);
        }
        self.encipher(key, kind, &mut payload);
        Ok((kind, key, payload))
    }

    /// Enciphers the payload of a secret kind, or deciphers it. A connection has one frame of each
    /// kind, and both challenges are new to it: so the cipher's key is never used twice.
    fn encipher(&self, key: &ChannelKey, kind: Kind, payload: &mut [u8]) {
        if kind.is_secret() {
            key.encipher(&[&self.server.0, &self.client.0, &[kind as u8]], payload);
        }
    }

    fn head_tag(&self, key: &ChannelKey, head: &[u8; HEAD_LEN]) -> Tag {
        key.tag(&[b"head", &self.server.0, &self.client.0, head])
    }

    fn payload_tag(&self, key: &ChannelKey, head: &[u8; HEAD_LEN], payload: &[u8]) -> Tag {
        key.tag(&[b"body", &self.server.0, &self.client.0, head, payload])
    }
}

/// Checks that an authentic head is allowed now. Returns its kind and the payload's length.
fn expected(
    head: &[u8; HEAD_LEN],
    kinds: &[Kind],
    route: Route,
) -> Result<(Kind, usize), FrameError> {
    let [
        kind,
        _,
        _,
        _,
        c0,
        c1,
        c2,
        c3,
        s0,
        s1,
        d0,
        d1,
        l0,
        l1,
        l2,
        l3,
    ] = *head;
    let cluster = ClusterId(u32::from_be_bytes([c0, c1, c2, c3]));
    let source = NodeId(u16::from_be_bytes([s0, s1]));
    let destination = NodeId(u16::from_be_bytes([d0, d1]));
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let known = kinds.iter().find(|known| **known as u8 == kind);
    let kind = *known.ok_or(FrameError::Kind(kind))?;
    if cluster != route.cluster {
        return Err(FrameError::Cluster(cluster));
    }
    if source != route.source {
        return Err(FrameError::Source(source));
    }
    if destination != route.destination {
        return Err(FrameError::Destination(destination));
    }
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes > kind.limit() {
        return Err(FrameError::TooLong(length, kind.limit()));
    }
    Ok((kind, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::Keys;
    use proptest::prelude::*;
    use std::path::Path;

    const ROUTE: Route = Route {
        cluster: ClusterId(0x0102_0304),
        source: NodeId(0x0506),
        destination: NodeId(0x0708),
    };

    fn keys() -> ChannelKeys {
        let text = "9 000102030405060708090a0b0c0d0e0f";
        ChannelKeys::derive(&Keys::parse(text, Path::new("/k")).unwrap())
    }

    fn hello(challenge: u8) -> Hello {
        let mut bytes = [challenge; HELLO_LEN];
        bytes[..CHALLENGE_AT].copy_from_slice(b"HRTP\x01\0\0\0");
        Hello::parse(bytes).unwrap()
    }

    fn session() -> Session {
        Session {
            server: hello(0xaa),
            client: hello(0xbb),
        }
    }

    /// Runs a future that never waits, since it reads from memory.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    fn read(
        session: &Session,
        mut bytes: &[u8],
        kind: Kind,
        route: Route,
    ) -> Result<Vec<u8>, FrameError> {
        let (keys, kinds) = (keys(), [kind]);
        let frame = session.read(&mut bytes, &keys, &kinds, route);
        now(frame).map(|(_, _, payload)| payload)
    }

    #[test]
    fn frame_has_the_documented_bytes() {
        let keys = keys();
        let frame = session().seal(keys.active(), Kind::Answer, ROUTE, b"abc");
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        // The expected value is from the reference implementation of SipHash, not from this code.
        assert_eq!(
            hex,
            "020900000102030405060708000000038125cbaef12b3f603a5f55ef03f856a66162634a2604e247a402293edb753043354d1b"
        );
    }

    #[test]
    fn secret_frame_has_the_documented_bytes() {
        let keys = keys();
        let frame = session().seal(keys.active(), Kind::SecretAnswer, ROUTE, b"abc");
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        // The expected value follows from RFC 8439 and the paper of SipHash, not from this code.
        assert_eq!(
            hex,
            "0509000001020304050607080000000336531dc2ebba559a0b0d38d2c2e31eeafd0d1086c4ea3f69034ce0146fe78796c35d62"
        );
    }

    #[test]
    fn sealed_frame_is_accepted() {
        let keys = keys();
        for kind in [Kind::Request, Kind::SecretRequest] {
            for payload in [&b""[..], b"x", &vec![7; kind.limit()]] {
                let frame = session().seal(keys.active(), kind, ROUTE, payload);
                let came = read(&session(), &frame, kind, ROUTE).unwrap();
                assert!(came == payload);
            }
        }
    }

    #[test]
    fn secret_payload_is_hidden_and_differs_by_direction_and_connection() {
        let keys = keys();
        let payload = b"password = \"hunter2\"".repeat(50);
        let sent = |session: Session, kind| {
            let frame = session.seal(keys.active(), kind, ROUTE, &payload);
            frame[HEAD_LEN + TAG_LEN..frame.len() - TAG_LEN].to_vec()
        };
        let other = Session {
            client: hello(0xbc),
            ..session()
        };
        let all = [
            sent(session(), Kind::SecretRequest),
            sent(session(), Kind::SecretAnswer),
            sent(other, Kind::SecretRequest),
        ];
        for (index, sent) in all.iter().enumerate() {
            assert_eq!(sent.len(), payload.len());
            assert!(!sent.windows(7).any(|part| part == b"hunter2"));
            assert!(!all[..index].contains(sent));
        }
        assert_eq!(sent(session(), Kind::Request), payload);
    }

    #[test]
    fn flipped_bits_and_truncations_are_rejected() {
        let keys = keys();
        let frame = session().seal(keys.active(), Kind::Request, ROUTE, b"stand by");
        for bit in 0..8 * frame.len() {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = read(&session(), &bad, Kind::Request, ROUTE).unwrap_err();
            let key = bit / 8 == 1;
            assert!(
                matches!(error, FrameError::Tag if !key)
                    || matches!(error, FrameError::UnknownKey(_) if key),
                "bit {bit}: {error}"
            );
        }
        for length in 0..frame.len() {
            let error = read(&session(), &frame[..length], Kind::Request, ROUTE).unwrap_err();
            assert!(matches!(error, FrameError::Io(_)), "{length}: {error}");
        }
    }

    #[test]
    fn frame_is_valid_on_its_own_connection_only() {
        let keys = keys();
        let frame = session().seal(keys.active(), Kind::Request, ROUTE, b"x");
        let Session { server, client } = session();
        let others = [
            Session {
                server: client,
                client: server,
            },
            Session {
                server: hello(0xac),
                client,
            },
            Session {
                server,
                client: hello(0xbc),
            },
        ];
        for other in others {
            let error = read(&other, &frame, Kind::Request, ROUTE).unwrap_err();
            assert!(matches!(error, FrameError::Tag), "{error}");
        }
    }

    #[test]
    fn authentic_frame_with_a_wrong_route_or_kind_is_rejected() {
        let keys = keys();
        let frame = |kind, route| session().seal(keys.active(), kind, route, b"x");
        let asked = |frame: &[u8]| {
            let error = read(&session(), frame, Kind::Request, ROUTE).unwrap_err();
            error.to_string()
        };
        let shown = asked(&frame(Kind::Answer, ROUTE));
        assert!(shown.contains("kind 2 came out of order"), "{shown}");
        let shown = asked(&frame(
            Kind::Request,
            Route {
                cluster: ClusterId(5),
                ..ROUTE
            },
        ));
        assert!(shown.contains("cluster with the id 0x00000005"), "{shown}");
        let shown = asked(&frame(
            Kind::Request,
            Route {
                source: NodeId(3),
                ..ROUTE
            },
        ));
        assert!(shown.contains("the sender is node 3"), "{shown}");
        let shown = asked(&frame(
            Kind::Request,
            Route {
                destination: NodeId(4),
                ..ROUTE
            },
        ));
        assert!(shown.contains("the frame is for node 4"), "{shown}");
        let long = vec![0; MAX_PAYLOAD + 1];
        let shown = asked(&session().seal(keys.active(), Kind::Request, ROUTE, &long));
        assert!(shown.contains("65537 bytes are more than 65536"), "{shown}");
        let long = vec![0; MAX_SECRET + 1];
        let frame = session().seal(keys.active(), Kind::SecretRequest, ROUTE, &long);
        let error = read(&session(), &frame, Kind::SecretRequest, ROUTE).unwrap_err();
        assert!(matches!(error, FrameError::TooLong(..)), "{error}");
    }

    #[test]
    fn hello_of_another_protocol_is_rejected() {
        let fresh = Hello::fresh().unwrap();
        assert_eq!(Hello::parse(fresh.0).unwrap(), fresh);
        assert_ne!(Hello::fresh().unwrap(), fresh);
        let mut other = fresh.0;
        other[4] = 2;
        assert!(matches!(Hello::parse(other), Err(FrameError::Version(2))));
        let http = *b"HTTP/1.1 400 Bad Request";
        assert!(matches!(Hello::parse(http), Err(FrameError::Magic)));
    }

    proptest! {
        #[test]
        fn random_bytes_are_rejected_without_a_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(read(&session(), &bytes, Kind::Request, ROUTE).is_err());
            if let Some(id) = bytes.get_mut(1) {
                *id = 9;
            }
            prop_assert!(read(&session(), &bytes, Kind::Request, ROUTE).is_err());
        }
    }
}
