//! The output of the programs: replies and probes on the wire, and the rows of map `peers`.

use anyhow::Result;
use heartbeat_common::{
    maps::{Key, PeerRow},
    siphash::SipKey,
    time::Boottime,
    verdict::Verdict,
    wire::{
        self, HEADER_LEN, Header, Incarnation, Kind, LeaseEntry, Liveness, MAX_LEASES, NodeId,
        TAG_LEN, VoterSet,
    },
};
use heartbeat_tests::{
    kernel::{
        self, Kernel, Program, Run, World,
        decode::Datagram,
        frames::{FrameSpec, US, mac},
    },
    needs,
    sys::boottime,
};

use super::{PEER, TIMEOUT_NS};

const MILLISECOND: u64 = 1_000_000;

fn wire_key(world: &World) -> SipKey {
    world.keys[Key::slot(world.local.key_id) as usize].sip()
}

/// A node whose agent ticked `age_us` ago, or never.
fn ticking(age_us: Option<u64>) -> World {
    let mut world = World::new(TIMEOUT_NS);
    world.local.health = 0b101;
    if let Some(age_us) = age_us {
        world.local.pulse_tick_at = boottime().as_nanos() - age_us * 1_000;
        world.local.reason_tick_at = boottime().as_nanos() - 2 * age_us * 1_000;
    }
    world
}

fn run(kernel: &mut Kernel, program: Program, spec: &FrameSpec, verdict: Verdict) -> Result<Run> {
    let run = kernel.run(program, &spec.frame()?)?;
    assert_eq!(run.verdict, Some(verdict), "{spec:?}");
    Ok(run)
}

/// The heartbeat in `frame`, after its tag and all checksums were checked.
fn heartbeat(frame: &[u8], key: SipKey) -> Result<(Datagram, Header)> {
    let datagram = Datagram::decode(frame)?;
    wire::verify(&datagram.payload, key)?;
    let header = Header::decode(&datagram.payload)?;
    Ok((datagram, header))
}

/// Checks the header fields that describe a node, for an agent like that of [`ticking`].
fn assert_describes(said: Liveness, world: &World, age_us: Option<u64>) {
    let expected = world.local.liveness(0);
    assert_eq!(
        Liveness {
            pulse_age_us: 0,
            control_age_us: 0,
            ..said
        },
        Liveness {
            pulse_age_us: 0,
            control_age_us: 0,
            ..expected
        }
    );
    match age_us {
        None => assert_eq!(
            (said.pulse_age_us, said.control_age_us),
            (u32::MAX, u32::MAX)
        ),
        Some(age) => {
            let age = age as u32;
            assert!(
                (age..age + 1_000_000).contains(&said.pulse_age_us),
                "{said:?}"
            );
            assert!(
                (2 * age..2 * age + 1_000_000).contains(&said.control_age_us),
                "{said:?}"
            );
        }
    }
}

/// The shapes of heartbeat frames.
struct Shape {
    link: u8,
    vlans: Vec<(u16, u16)>,
    leases: usize,
}

fn all_shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for link in [0, 1] {
        for vlans in [vec![], vec![(0x8100, 5)], vec![(0x88a8, 5), (0x8100, 6)]] {
            for leases in 0..=MAX_LEASES {
                let vlans = vlans.clone();
                shapes.push(Shape {
                    link,
                    vlans,
                    leases,
                });
            }
        }
    }
    shapes
}

/// Entries with another node's ballots: the acceptor abstains, and does not change them.
fn leases(count: usize) -> Vec<LeaseEntry> {
    (0..count as u64)
        .map(|n| LeaseEntry {
            group: n as u16,
            operation: 2,
            vote: 0,
            micros: 60_000,
            ballot: n << 16 | 7,
        })
        .collect()
}

#[test]
fn probe_of_any_shape_comes_back_as_its_reply() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    for Shape {
        link,
        vlans,
        leases: count,
    } in all_shapes()
    {
        let age_us = (count > 0).then_some(5_000);
        let world = ticking(age_us);
        kernel.install(&world)?;
        let probe = FrameSpec::probe(PEER, link, 9).with(|spec| {
            spec.vlans = vlans;
            spec.leases = leases(count);
            spec.source_port = 40_000;
            spec.header.t1 = Boottime::from_nanos(123);
        });
        let (asked, question) = heartbeat(&probe.frame()?, wire_key(&world))?;

        let before = boottime();
        let run = run(&mut kernel, Program::Receive, &probe, Verdict::Answered)?;
        let after = boottime();

        let (said, answer) = heartbeat(&run.frame, wire_key(&world))?;
        let way_back = Datagram {
            mac_from: mac(US),
            mac_to: mac(PEER),
            from: asked.to,
            to: asked.from,
            hops: 64,
            source_port: asked.port,
            port: asked.source_port,
            payload: said.payload.clone(),
        };
        assert_eq!(said, way_back);
        let tags = 12..probe.ip_at();
        assert_eq!(
            run.frame[tags.clone()],
            probe.frame()?[tags],
            "VLAN tags and ethertype stay"
        );
        let expected = Header {
            kind: Kind::Reply,
            source: NodeId(US),
            destination: NodeId(PEER),
            liveness: answer.liveness,
            t2: answer.t2,
            t3: answer.t3,
            responder_incarnation: Incarnation(world.local.incarnation),
            ..question
        };
        assert_eq!(answer, expected);
        assert_eq!(lease_bytes(&said), lease_bytes(&asked));
        assert_describes(answer.liveness, &world, age_us);
        assert!(before <= answer.t2 && answer.t2 <= answer.t3 && answer.t3 <= after);

        let row_number = u32::from(link);
        let expected = PeerRow {
            last_asked_at: answer.t2.as_nanos(),
            asked_incarnation: question.incarnation.0,
            asked_seq: 9,
            asked_window: 1,
            answered: 1,
            ..PeerRow::default()
        };
        assert_eq!(kernel.row(row_number)?, expected);
    }
    Ok(())
}

fn lease_bytes(datagram: &Datagram) -> &[u8] {
    &datagram.payload[HEADER_LEN..datagram.payload.len() - TAG_LEN]
}

#[test]
fn reply_is_signed_with_the_key_of_its_probe() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    let next = SipKey { k0: 11, k1: 12 };
    let mut world = World::new(TIMEOUT_NS);
    world.keys[Key::slot(8) as usize] = Key::new(8, next);
    kernel.install(&world)?;

    let probe = FrameSpec::probe(PEER, 0, 1).with(|s| (s.header.key_id, s.key) = (8, Some(next)));
    let run = run(&mut kernel, Program::Receive, &probe, Verdict::Answered)?;

    let (_, answer) = heartbeat(&run.frame, next)?;
    assert_eq!(answer.key_id, 8);
    Ok(())
}

#[test]
fn own_probe_of_any_shape_leaves_with_time_state_and_tag() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    for Shape {
        link,
        vlans,
        leases: count,
    } in all_shapes()
    {
        let age_us = (count > 0).then_some(5_000);
        let mut world = ticking(age_us);
        world.row_of(PEER, link).rtt_ring = [7; 16];
        world.sender = Some(link.into());
        kernel.install(&world)?;
        let probe = FrameSpec::departing(&world, PEER, link, 35).with(|spec| {
            spec.vlans = vlans;
            spec.leases = leases(count);
            // The kernel writes the id of the key that it used.
            spec.header.key_id = 0;
        });
        let given = probe.frame()?;

        let before = boottime();
        let run = run(&mut kernel, Program::Stamp, &probe, Verdict::Stamped)?;
        let after = boottime();

        let (sent, header) = heartbeat(&run.frame, wire_key(&world))?;
        let handed_in = Datagram::decode(&given)?;
        assert_eq!(
            Datagram {
                payload: handed_in.payload.clone(),
                ..sent.clone()
            },
            handed_in
        );
        let expected = Header {
            key_id: world.local.key_id,
            lease_count: count as u8,
            liveness: header.liveness,
            t1: header.t1,
            ..probe.header
        };
        assert_eq!(header, expected);
        assert_eq!(lease_bytes(&sent), lease_bytes(&handed_in));
        assert_describes(header.liveness, &world, age_us);
        assert!(before <= header.t1 && header.t1 <= after);

        let left_at = header.t1.as_nanos();
        let mut row = PeerRow {
            last_probe_at: left_at,
            last_probe_seq: 35,
            probes_left: 1,
            rtt_ring: [7; 16],
            ..PeerRow::default()
        };
        row.sent_at[35 % 16] = left_at;
        row.rtt_ring[35 % 16] = 0;
        assert_eq!(kernel.row(u32::from(link))?, row);
    }
    Ok(())
}

#[test]
fn fresh_reply_is_evidence_and_a_late_one_is_not() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    let mut world = World::new(TIMEOUT_NS);
    world.row_of(PEER, 0).last_probe_seq = 40;
    kernel.install(&world)?;

    // The probe left 4 ms ago, and the peer held it for 1 ms by its own clock.
    let t1 = boottime().as_nanos() - 4 * MILLISECOND;
    let reply = |sequence| {
        FrameSpec::reply(&world, PEER, 0, sequence, t1).with(|spec| {
            spec.header.t2 = Boottime::from_nanos(50 * MILLISECOND);
            spec.header.t3 = Boottime::from_nanos(51 * MILLISECOND);
            spec.header.liveness = Liveness {
                state: 2,
                health: 3,
                load: 4,
                groups_owned: 5,
                config_generation: 6,
                pulse_age_us: 7,
                control_age_us: 8,
                report: 9,
                voter_set: VoterSet {
                    version: 10,
                    claiming: 9,
                    voters: 11,
                },
            };
        })
    };
    let before = boottime().as_nanos();
    run(&mut kernel, Program::Receive, &reply(37), Verdict::Recorded)?;
    let after = boottime().as_nanos();

    let first = kernel.row(0)?;
    assert!((before..=after).contains(&first.last_reply_at));
    let rtt = first.last_reply_at - t1 - MILLISECOND;
    let mut expected = PeerRow {
        last_reply_at: first.last_reply_at,
        last_reply_seq: 37,
        reply_seq: 37,
        reply_window: 1,
        rtt_ns: rtt,
        replies: 1,
        last_probe_seq: 40,
        incarnation: reply(37).header.responder_incarnation.0,
        config_generation: 6,
        pulse_age_us: 7,
        control_age_us: 8,
        report: 9,
        health: 3,
        load: 4,
        groups_owned: 5,
        state: 2,
        voters: 11,
        config_version: 10,
        claiming_version: 9,
        ..PeerRow::default()
    };
    expected.rtt_ring[37 % 16] = rtt as u32;
    assert_eq!(first, expected);

    // An older reply that arrives later is evidence as well, but not the newest.
    run(&mut kernel, Program::Receive, &reply(36), Verdict::Recorded)?;
    let second = kernel.row(0)?;
    assert!(second.last_reply_at > first.last_reply_at);
    assert_eq!(
        (second.last_reply_seq, second.reply_seq, second.replies),
        (37, 37, 2)
    );
    assert_eq!(second.reply_window, 0b11);

    // A reply after the timeout is recorded, and changes nothing else.
    let mut strict = world.clone();
    strict.rows[0] = second;
    strict.config.timeout_ns = 1;
    kernel.install(&strict)?;
    run(
        &mut kernel,
        Program::Receive,
        &reply(39),
        Verdict::LateReply,
    )?;
    let late = PeerRow {
        reply_seq: 39,
        reply_window: 0b1101,
        late_replies: 1,
        ..second
    };
    assert_eq!(kernel.row(0)?, late);
    run(
        &mut kernel,
        Program::Receive,
        &reply(39),
        Verdict::ReplayedReply,
    )?;
    assert_eq!(kernel.row(0)?, late);
    Ok(())
}

#[test]
fn new_incarnation_of_a_peer_starts_a_new_replay_window() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    kernel.install(&World::new(TIMEOUT_NS))?;
    let probe = |life: u64, sequence| {
        FrameSpec::probe(PEER, 0, sequence).with(|spec| spec.header.incarnation.0 += life)
    };
    let cases = [
        (0, 500, Verdict::Answered),
        (0, 500, Verdict::ReplayedProbe),
        (1, 1, Verdict::Answered),
        (1, 1, Verdict::ReplayedProbe),
        (1, 2, Verdict::Answered),
        (0, 501, Verdict::ReplayedProbe),
    ];
    for (life, sequence, verdict) in cases {
        run(
            &mut kernel,
            Program::Receive,
            &probe(life, sequence),
            verdict,
        )?;
    }
    let row = kernel.row(0)?;
    assert_eq!(
        (row.asked_seq, row.asked_window, row.answered),
        (2, 0b11, 3)
    );
    Ok(())
}
