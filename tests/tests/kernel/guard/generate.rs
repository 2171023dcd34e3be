//! Random maps, and random frames for them: mostly whole, to and from few addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use heartbeat_tests::kernel::{Rng, guard::Guarded};

use super::{
    cases::{
        ALL_NODES, CLIENT4, CLIENT6, NOBODY4, NOBODY6, SECOND6, SOLICITED, US4, US6, VIP4, VIP6,
        all_vips,
    },
    frames::{
        ADVERTISEMENT, ETHERNET_LEN, SOLICITATION, fragment, hop_by_hop, last_fragment, ndp,
        options, reply, request, tagged, v4, v4_with, v6, v6_with,
    },
};

const V4: [Ipv4Addr; 5] = [VIP4, VIP4, US4, CLIENT4, NOBODY4];
const V6: [Ipv6Addr; 9] = [
    VIP6, VIP6, SECOND6, SECOND6, US6, CLIENT6, NOBODY6, SOLICITED, ALL_NODES,
];

/// Random guards: most addresses are closed, some open. No end is so near that the run could pass
/// it.
pub(crate) fn guarded(rng: &mut Rng, now: u64) -> Guarded {
    let times = [0, 0, 1, now - 1, now + 3_600_000_000_000, u64::MAX];
    let mut vips: Vec<_> = all_vips().into_iter().filter(|_| !rng.one_in(6)).collect();
    if rng.one_in(2) {
        vips.reverse();
    }
    let vips: Vec<_> = vips
        .into_iter()
        .map(|vip| (vip, rng.pick(&times)))
        .collect();
    Guarded::new(&vips)
}

pub(crate) fn frame(rng: &mut Rng) -> Vec<u8> {
    let (from4, to4) = (rng.pick(&V4), rng.pick(&V4));
    let (from6, to6, target) = (rng.pick(&V6), rng.pick(&V6), rng.pick(&V6));
    let kind = rng.pick(&[
        SOLICITATION,
        ADVERTISEMENT,
        SOLICITATION,
        ADVERTISEMENT,
        128,
    ]);
    let frame = match rng.below(12) {
        0 => v4(from4, to4),
        1 => v4_with(from4, to4, options),
        2 => v4_with(from4, to4, last_fragment),
        3 => request(from4, to4),
        4 => reply(from4, to4),
        5 => v6(from6, to6),
        6 => v6_with(from6, to6, hop_by_hop()),
        7 => v6_with(from6, to6, fragment()),
        _ => ndp(from6, to6, kind, target),
    };
    let tags: Vec<u16> = (0..rng.pick(&[0, 0, 0, 1, 2, 3]))
        .map(|_| rng.pick(&[0x8100, 0x88a8]))
        .collect();
    let mut frame = tagged(&frame, &tags);
    if rng.one_in(4) {
        // Only the headers are damaged.
        let at = rng.index(frame.len().min(80));
        frame[at] ^= 1 << rng.below(8);
    }
    if rng.one_in(6) {
        frame.truncate(ETHERNET_LEN + rng.index(frame.len() - ETHERNET_LEN));
    }
    frame
}
