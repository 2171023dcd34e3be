//! The channel's keys and tags.
//!
//! The keys are derived from the cluster's keys, which authenticate heartbeats. So no tag of one
//! protocol is ever valid in the other, whatever an attacker gets authenticated.

use std::{fmt, hash::Hasher as _, hint::black_box};

use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::config::key::Keys;

/// Bytes of a tag.
pub(super) const TAG_LEN: usize = 16;
/// The text that is hashed to a channel key. It does not begin like a heartbeat.
const DERIVATION: &[u8] = b"heartbeat peering 1: key of the channel between agents";

/// 128 bits that only a holder of the key can compute.
pub(super) type Tag = [u8; TAG_LEN];

/// A key of this channel.
#[derive(Clone)]
pub(super) struct ChannelKey {
    pub(super) id: u8,
    bytes: [u8; 16],
}

/// The keys that are accepted.
#[derive(Debug)]
pub(super) struct ChannelKeys {
    active: ChannelKey,
    all: Vec<ChannelKey>,
}

impl ChannelKeys {
    pub(super) fn derive(keys: &Keys) -> Self {
        let derived = |(id, key): (u8, heartbeat_common::siphash::SipKey)| {
            let mut hash = SipHasher24::new_with_keys(key.k0, key.k1);
            hash.write(DERIVATION);
            ChannelKey {
                id,
                bytes: hash.finish128().as_bytes(),
            }
        };
        Self {
            active: derived(keys.active),
            all: keys.all.iter().copied().map(derived).collect(),
        }
    }

    /// Returns the key for this node's requests.
    pub(super) const fn active(&self) -> &ChannelKey {
        &self.active
    }

    pub(super) fn get(&self, id: u8) -> Option<&ChannelKey> {
        self.all.iter().find(|key| key.id == id)
    }
}

impl ChannelKey {
    /// Returns the tag of the concatenated `parts`.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut hash = SipHasher24::new_with_key(&self.bytes);
        for part in parts {
            hash.write(part);
        }
        hash.finish128().as_bytes()
    }

    /// Encrypts or decrypts `payload`. Each encrypted payload needs `parts` of its own, since the
    /// same parts make the same cipher key.
    pub(super) fn encipher(&self, parts: &[&[u8]], payload: &mut [u8]) {
        let half = |which: &'static [u8]| {
            let all: Vec<&[u8]> = std::iter::once(which)
                .chain(parts.iter().copied())
                .collect();
            self.tag(&all)
        };
        let mut key = [0; 32];
        key[..TAG_LEN].copy_from_slice(&half(b"cipher 1"));
        key[TAG_LEN..].copy_from_slice(&half(b"cipher 2"));
        // Each payload has a key of its own, so the nonce may be constant.
        ChaCha20::new(&key.into(), &[0; 12].into()).apply_keystream(payload);
    }
}

impl Drop for ChannelKey {
    fn drop(&mut self) {
        self.bytes.fill(0);
        // The black box keeps the compiler from dropping the erasure of bytes that are not read
        // again.
        black_box(&self.bytes);
    }
}

impl fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelKey({}, secret)", self.id)
    }
}

/// Compares two tags in a time that does not depend on the place of a difference.
pub(super) fn equal(a: &Tag, b: &Tag) -> bool {
    // The black box keeps the compiler from stopping at the first difference.
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |all, (a, b)| black_box(all | a ^ b));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn keys(text: &str) -> ChannelKeys {
        ChannelKeys::derive(&Keys::parse(text, Path::new("/k")).unwrap())
    }

    #[test]
    fn keys_differ_from_the_clusters_and_are_not_shown() {
        let hex = "000102030405060708090a0b0c0d0e0f";
        let keys = keys(&format!("7 {hex}\n2 {hex}\n"));
        assert_eq!(keys.active().id, 7);
        assert_eq!(keys.get(2).map(|key| key.id), Some(2));
        assert!(keys.get(3).is_none());
        assert_ne!(keys.active().bytes, std::array::from_fn(|i| i as u8));
        assert_eq!(
            format!("{:?}", keys.active()),
            "ChannelKey(7, secret)",
            "no key in a log"
        );
    }

    #[test]
    fn tags_match_the_siphash_128_reference_vectors() {
        // vectors_sip128 of the reference implementation: key 00..0f, message 00..len-1.
        let key = ChannelKey {
            id: 1,
            bytes: std::array::from_fn(|i| i as u8),
        };
        let message: [u8; 2] = [0, 1];
        assert_eq!(
            key.tag(&[]),
            [
                0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
                0x02, 0x93
            ]
        );
        assert_eq!(
            key.tag(&[&message[..1]]),
            [
                0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22,
                0xfc, 0x45
            ]
        );
        let (first, second) = message.split_at(1);
        assert_eq!(key.tag(&[first, second]), key.tag(&[&message]));
    }

    #[test]
    fn tags_with_any_different_bit_are_unequal() {
        let tag: Tag = std::array::from_fn(|i| i as u8);
        assert!(equal(&tag, &tag));
        for bit in 0..8 * TAG_LEN {
            let mut other = tag;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!equal(&tag, &other));
        }
    }
}
