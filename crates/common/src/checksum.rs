//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// A ones' complement sum in progress. Words are added in network order.
#[derive(Clone, Copy, Debug, Default)]
pub struct InternetSum(u64);

impl InternetSum {
    #[inline(always)]
    pub const fn new() -> Self {
        Self(0)
    }

    #[inline(always)]
    pub const fn add16(&mut self, word: u16) {
        self.0 += word as u64;
    }

    /// Adds four bytes. At most 2^31 calls fit before the sum would overflow.
    #[inline(always)]
    pub const fn add32(&mut self, word: u32) {
        self.0 += word as u64;
    }

    #[inline(always)]
    pub const fn add64(&mut self, word: u64) {
        self.0 += (word >> 32) + (word & 0xffff_ffff);
    }

    /// The checksum for a UDP header: zero is sent as all ones (RFC 768), since zero means "none".
    #[inline(always)]
    pub const fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            sum => sum,
        }
    }

    #[inline(always)]
    pub const fn finish(self) -> u16 {
        let mut sum = self.0;
        // 64 bits fold into 33, 18, 17, 16: four folds always suffice.
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        !(sum as u16)
    }
}

/// The checksum after one 16-bit word of the covered data changed (RFC 1624, equation 3).
#[inline(always)]
pub const fn replace16(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = InternetSum::new();
    sum.add16(!checksum);
    sum.add16(!old);
    sum.add16(new);
    sum.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(words: &[u16]) -> u16 {
        let mut sum = 0u32;
        for word in words {
            sum += u32::from(*word);
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn udp_zero_is_sent_as_ones() {
        let mut sum = InternetSum::new();
        sum.add16(0xffff);
        assert_eq!(sum.finish(), 0);
        assert_eq!(sum.finish_udp(), 0xffff);
    }

    proptest! {
        #[test]
        fn equals_the_definition(a: u64, b: u32, c: u16) {
            let mut sum = InternetSum::new();
            sum.add64(a);
            sum.add32(b);
            sum.add16(c);
            let w = |v: u64, shift: u32| (v >> shift) as u16;
            let words = [w(a, 48), w(a, 32), w(a, 16), w(a, 0), w(b.into(), 16), w(b.into(), 0), c];
            prop_assert_eq!(sum.finish(), naive(&words));
        }

        #[test]
        fn incremental_equals_recomputed(mut words: [u16; 10], at in 0usize..10, new: u16) {
            // An IP header is never all zeros, the one case where RFC 1624 is ambiguous.
            words[(at + 1) % 10] |= 1;
            let before = naive(&words);
            let old = core::mem::replace(&mut words[at], new);
            prop_assert_eq!(replace16(before, old, new), naive(&words));
        }
    }
}
