//! Frames that leave, by what becomes of them.

use heartbeat_common::{
    verdict::Verdict::{self, *},
    wire::{Kind, LeaseEntry, MAX_LEASES, NodeId},
};
use heartbeat_tests::kernel::{Program, frames::FrameSpec};

use super::{Case, PAYLOAD, PEER, SENT, as_it_is, on_another_interface, world};

fn departing(name: &'static str, verdict: Verdict, edit: impl FnOnce(&mut FrameSpec)) -> Case {
    let spec = FrameSpec::departing(&world(), PEER, 0, SENT + 1).with(edit);
    Case::new(name, Program::Stamp, verdict, &spec)
}

pub(super) fn leaving() -> Vec<Case> {
    let untouched = |case: Case| Case {
        verdict: None,
        ..case
    };
    vec![
        departing("our probe", Stamped, as_it_is),
        departing("our probe in a VLAN", Stamped, |s| {
            s.vlans = vec![(0x8100, 5)];
        }),
        departing("our probe with leases", Stamped, |s| {
            s.leases = vec![LeaseEntry::default(); MAX_LEASES];
        }),
        departing("a gap in the sequence", Stamped, |s| {
            s.header.sequence.0 = u64::MAX;
        }),
        departing("a probe sent twice", StampRefused, |s| {
            s.header.sequence.0 = SENT;
        }),
        departing("another process's nonce", StampRefused, |s| {
            s.header.nonce ^= 1;
        }),
        departing("an earlier life's incarnation", StampRefused, |s| {
            s.header.incarnation.0 -= 1;
        }),
        departing("a probe while no agent runs", StampRefused, |s| {
            s.header.incarnation.0 = 0;
        })
        .met_by(|world| world.local.incarnation = 0),
        departing("a foreign cluster's probe", StampRefused, |s| {
            s.header.cluster.0 ^= 1;
        }),
        departing("a probe in another node's name", StampRefused, |s| {
            s.header.source = NodeId(3);
        }),
        departing("a probe that names another peer", StampRefused, |s| {
            s.header.destination = NodeId(3);
        }),
        departing("a probe that names another link", StampRefused, |s| {
            s.header.link.0 = 1;
        }),
        departing("a probe without a key to seal it", UnknownKey, as_it_is)
            .met_by(|world| world.local.key_id = 8),
        untouched(departing("a reply", Stamped, |s| {
            s.header.kind = Kind::Reply;
        })),
        untouched(departing("another port", Stamped, |s| s.port += 1)),
        untouched(departing("a probe to a stranger", Stamped, |s| {
            s.to = [10, 77, 0, 99].into();
        })),
        untouched(departing("a probe that we forward", Stamped, |s| {
            s.from = [10, 77, 0, 99].into();
        })),
        untouched(departing("not a heartbeat", Stamped, as_it_is).damaged(|f| f[PAYLOAD] = 0)),
        untouched(
            departing("a host not configured yet", Stamped, as_it_is).met_by(|w| w.config.port = 0),
        ),
        untouched(
            departing("a link of another interface", Stamped, as_it_is)
                .met_by(on_another_interface),
        ),
    ]
}
