//! SipHash-2-4 (Aumasson and Bernstein, 2012) over whole 64-bit words.
//!
//! Every authenticated region of a heartbeat is a multiple of eight bytes. The byte-wise front end
//! of the general algorithm is therefore not needed, which also spares the BPF verifier. The result
//! equals the result of any other implementation over the same bytes.

/// A 128-bit cluster key, as the two little-endian halves that SipHash uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SipKey {
    pub k0: u64,
    pub k1: u64,
}

impl SipKey {
    /// Reads the key's 16 bytes, in the order of SipHash's paper.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            k0: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            k1: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// The bytes from which [`SipKey::from_bytes`] made the key.
    pub const fn to_bytes(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.k0.to_le_bytes();
        let [i, j, k, l, m, n, o, p] = self.k1.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
}

impl core::fmt::Debug for SipKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SipKey(secret)")
    }
}

/// SipHash-2-4 in progress.
#[derive(Clone, Copy)]
pub struct SipHash {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
    words: u64,
}

impl SipHash {
    #[inline(always)]
    pub const fn new(key: SipKey) -> Self {
        Self {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
            words: 0,
        }
    }

    /// Adds the next eight bytes, read as a little-endian word.
    #[inline(always)]
    pub const fn write(&mut self, word: u64) {
        self.words += 1;
        self.compress(word);
    }

    #[inline(always)]
    pub const fn finish(mut self) -> u64 {
        // The last block holds the message length modulo 256 in its top byte.
        self.compress((self.words * 8) << 56);
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    #[inline(always)]
    const fn compress(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    #[inline(always)]
    const fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

impl core::fmt::Debug for SipHash {
    /// Hides the state, which is as good as the key for this message.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SipHash({} words)", self.words)
    }
}

/// Overwrites keys that are not needed any more.
#[cfg(not(target_arch = "bpf"))]
pub fn wipe(keys: &mut [(u8, SipKey)]) {
    keys.fill((0, SipKey { k0: 0, k1: 0 }));
    // The compiler must not see that no code reads the keys again.
    core::hint::black_box(keys);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::hash::Hasher as _;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn ours(key: [u8; 16], words: &[u64]) -> u64 {
        let mut hash = SipHash::new(SipKey::from_bytes(key));
        for word in words {
            hash.write(*word);
        }
        hash.finish()
    }

    #[test]
    fn reference_vectors_of_the_paper() {
        // siphash24 vectors_sip64: key 00..0f, message 00..len-1, for lengths 0, 8 and 16.
        let key: [u8; 16] = core::array::from_fn(|i| i as u8);
        let message: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(ours(key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(ours(key, &message[..1]), 0x93f5_f579_9a93_2462);
        assert_eq!(ours(key, &message), 0x3f2a_cc7f_57c2_9bdb);
    }

    proptest! {
        #[test]
        fn equals_a_reference_implementation(
            key: [u8; 16],
            words in prop::collection::vec(any::<u64>(), 0..40),
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            let mut reference = siphasher::sip::SipHasher24::new_with_key(&key);
            reference.write(&bytes);
            prop_assert_eq!(ours(key, &words), reference.finish());
            prop_assert_eq!(SipKey::from_bytes(key).to_bytes(), key);
        }
    }
}
