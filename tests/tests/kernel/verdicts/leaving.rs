//! Leaving frames, by their verdicts.

use heartbeat_common::{
    stamp::MAX_JUMP,
    verdict::Verdict::{self, *},
    wire::{Kind, LeaseEntry, MAX_LEASES, NodeId},
};
use heartbeat_tests::kernel::{Program, frames::FrameSpec};

use super::{Case, PAYLOAD, PEER, SENT, as_it_is, on_another_interface, world};

fn departing(name: &'static str, verdict: Verdict, edit: impl FnOnce(&mut FrameSpec)) -> Case {
    by_link(0, name, verdict, edit)
}

/// A probe from the agent's socket of a link.
fn by_link(
    link: u8,
    name: &'static str,
    verdict: Verdict,
    edit: impl FnOnce(&mut FrameSpec),
) -> Case {
    let sequence = if link == 0 { SENT + 1 } else { 1 };
    let spec = FrameSpec::departing(&world(), PEER, link, sequence).with(edit);
    let case = Case::new(name, Program::Stamp, verdict, &spec);
    case.met_by(|world| world.sender = Some(link.into()))
}

/// A frame from a foreign socket, or from none.
fn by_a_stranger(name: &'static str, verdict: Verdict, edit: impl FnOnce(&mut FrameSpec)) -> Case {
    departing(name, verdict, edit).met_by(|world| world.sender = None)
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
            s.header.sequence.0 = SENT + MAX_JUMP;
        }),
        departing("a gap that is too large", StampRefused, |s| {
            s.header.sequence.0 = SENT + MAX_JUMP + 1;
        }),
        departing("the last sequence that there is", StampRefused, |s| {
            s.header.sequence.0 = u64::MAX;
        }),
        by_link(1, "our probe by IPv6", Stamped, as_it_is).noted_in_row(1),
        by_a_stranger("a stranger's copy of our probe", ForeignSocket, as_it_is),
        by_a_stranger("a stranger's copy in a VLAN", ForeignSocket, |s| {
            s.vlans = vec![(0x8100, 5)];
        }),
        by_link(1, "a stranger's copy by IPv6", ForeignSocket, as_it_is)
            .met_by(|world| world.sender = None),
        by_link(
            1,
            "a copy by another link's socket",
            ForeignSocket,
            as_it_is,
        )
        .met_by(|world| world.sender = Some(0)),
        departing("our socket, but another port", ForeignSocket, |s| {
            s.source_port += 1;
        }),
        by_a_stranger("a stranger's probe of another life", ForeignSocket, |s| {
            s.header.incarnation.0 += 1;
        }),
        by_a_stranger("a stranger's reply", ForeignSocket, |s| {
            s.header.kind = Kind::Reply;
        }),
        by_a_stranger("a stranger's junk", ForeignSocket, as_it_is).damaged(|f| f[PAYLOAD] = 0),
        by_a_stranger("a probe where no agent runs", ForeignSocket, |s| {
            s.header.incarnation.0 = 0;
        })
        .met_by(|world| world.local.incarnation = 0),
        untouched(by_a_stranger(
            "a stranger's datagram to another port",
            Stamped,
            |s| {
                s.port += 1;
            },
        )),
        untouched(by_a_stranger(
            "a stranger's datagram to a stranger",
            Stamped,
            |s| {
                s.to = [10, 77, 0, 99].into();
            },
        )),
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
