//! A comparison of the guard's programs with the functions in `heartbeat-common` on the running
//! kernel: for each named frame, cut at each byte, and for thousands of random ones.

#[path = "../../../../crates/common/tests/guard/cases.rs"]
mod cases;
#[path = "../../../../crates/common/tests/guard/frames.rs"]
mod frames;
mod generate;

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::{
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use cases::{CLIENT4, Case, TAGS, VIP4, VIP6, all_vips, cases};
use frames::{ADVERTISEMENT, ETHERNET_LEN, ndp, reply, tagged, v4, v6};
use heartbeat_common::{guard::Direction, verdict::Action};
use heartbeat_tests::{
    kernel::{
        Rng,
        guard::{Guarded, KernelGuard, Point, Scatterer},
    },
    needs,
    netns::Namespace,
    skip::skip,
    sys::boottime,
};
use heartbeat_user::net::namespace;

const SECOND: u64 = 1_000_000_000;
const SEED: u64 = 1;
/// The number of sets of maps, and of frames for each.
const EPISODES: u64 = 100;
const FRAMES: u64 = 100;

fn until(open_until: u64) -> Guarded {
    Guarded::new(&all_vips().map(|vip| (vip, open_until)))
}

/// The cases with the programs that they are for. Sockets see no ARP, so such frames pass there.
fn at_each_point() -> impl Iterator<Item = (Case, Point)> {
    Point::ALL.into_iter().flat_map(|point| {
        cases()
            .into_iter()
            .filter(move |case| case.direction == point.direction())
            .map(move |mut case| {
                if point.is_at_sockets() && is_arp(&case.frame) {
                    case.dropped = None;
                }
                (case, point)
            })
    })
}

fn is_arp(frame: &[u8]) -> bool {
    frame[ETHERNET_LEN - 2..ETHERNET_LEN] == [8, 6]
}

/// The VLAN tags that frames may have at a point.
fn tags_at(point: Point) -> &'static [&'static [u16]] {
    if point.is_at_sockets() {
        &TAGS[..1]
    } else {
        &TAGS
    }
}

/// The drops of each address in `direction`.
fn counts(kernel: &KernelGuard, direction: Direction) -> Result<Vec<(IpAddr, u64)>> {
    let rows = kernel.rows(all_vips().len())?;
    let dropped = rows.iter().map(|row| {
        let (counted, other) = match direction {
            Direction::In => (row.dropped_in, row.dropped_out),
            Direction::Out => (row.dropped_out, row.dropped_in),
        };
        assert_eq!(other, 0, "counted in the other direction");
        (row.address.into(), counted)
    });
    Ok(dropped.filter(|(_, count)| *count > 0).collect())
}

#[test]
fn closed_address_neither_receives_nor_sends() -> Result<()> {
    needs!(Kernel);
    let mut kernel = KernelGuard::open()?;
    for (case, point) in at_each_point() {
        for tags in tags_at(point) {
            for open_until in [0, boottime().as_nanos() - 1] {
                kernel.install(&until(open_until))?;
                let action = kernel.run(point, &tagged(&case.frame, tags))?;
                let name = case.name;
                let (expected, counted) = match case.dropped {
                    Some((address, _)) => (Action::Drop, vec![(address, 1)]),
                    None => (Action::Pass, vec![]),
                };
                assert_eq!(action, expected, "{point:?}: {name} {tags:x?}");
                let dropped = counts(&kernel, point.direction())?;
                assert_eq!(dropped, counted, "{point:?}: {name} {tags:x?}");
            }
        }
    }
    Ok(())
}

#[test]
fn open_address_passes_all_frames() -> Result<()> {
    needs!(Kernel);
    let mut kernel = KernelGuard::open()?;
    for open_until in [boottime().as_nanos() + 3_600 * SECOND, u64::MAX] {
        kernel.install(&until(open_until))?;
        for (case, point) in at_each_point() {
            let action = kernel.run(point, &case.frame)?;
            assert_eq!(action, Action::Pass, "{point:?}: {}", case.name);
            assert_eq!(counts(&kernel, point.direction())?, [], "{}", case.name);
        }
    }
    Ok(())
}

/// The kernel closes an address by itself when its lease ends.
#[test]
fn address_closes_at_its_instant() -> Result<()> {
    needs!(Kernel);
    let mut kernel = KernelGuard::open()?;
    let open_until = boottime().as_nanos() + SECOND / 2;
    kernel.install(&until(open_until))?;
    let frame = v4(VIP4, CLIENT4);
    let mut open = 0;
    loop {
        let before = boottime().as_nanos();
        let action = kernel.run(Point::Egress, &frame)?;
        let after = boottime().as_nanos();
        match action {
            Action::Drop => assert!(after >= open_until, "closed too early"),
            _ => assert!(before < open_until, "still open"),
        }
        if action == Action::Drop {
            break;
        }
        open += 1;
    }
    assert!(open > 0, "closed from the beginning");
    Ok(())
}

#[test]
fn frames_pass_where_nothing_is_guarded() -> Result<()> {
    needs!(Kernel);
    let mut kernel = KernelGuard::open()?;
    kernel.install(&Guarded::default())?;
    for (case, point) in at_each_point() {
        let action = kernel.run(point, &case.frame)?;
        assert_eq!(action, Action::Pass, "{point:?}: {}", case.name);
    }
    Ok(())
}

#[test]
fn frame_cut_before_the_end_of_its_address_passes() -> Result<()> {
    needs!(Kernel);
    let mut kernel = KernelGuard::open()?;
    kernel.install(&until(0))?;
    for (case, point) in at_each_point() {
        for tags in tags_at(point) {
            let frame = tagged(&case.frame, tags);
            let ip = ETHERNET_LEN + 4 * tags.len();
            let mut shortest = frame[..ETHERNET_LEN].to_vec();
            point.pad(&mut shortest);
            for len in shortest.len()..=frame.len() {
                let action = kernel.run(point, &frame[..len])?;
                let expected = match case.dropped {
                    Some((_, needed)) if len >= ip + needed => Action::Drop,
                    _ => Action::Pass,
                };
                assert_eq!(action, expected, "{point:?}: {len} bytes of {}", case.name);
            }
        }
    }
    Ok(())
}

#[test]
fn random_frames_meet_the_same_verdict_in_kernel_and_userspace() -> Result<()> {
    needs!(Kernel);
    let mut kernel = KernelGuard::open()?;
    let mut dropped = [0_u64; Point::ALL.len()];
    for episode in SEED..SEED + EPISODES {
        let mut rng = Rng::new(episode);
        let mut guarded = generate::guarded(&mut rng, boottime().as_nanos());
        kernel.install(&guarded)?;
        for number in 0..FRAMES {
            let mut frame = generate::frame(&mut rng);
            for (point, dropped) in Point::ALL.into_iter().zip(&mut dropped) {
                point.pad(&mut frame);
                let in_kernel = kernel.run(point, &frame)?;
                let now = boottime().as_nanos();
                let expected = guarded.judge(point, &frame, now);
                let what = || format!("{point:?}, seed {episode}, frame {number}: {frame:02x?}");
                assert_eq!(in_kernel, expected, "{}", what());
                let rows = kernel.rows(guarded.rows.len())?;
                assert_eq!(rows, guarded.rows, "{}", what());
                *dropped += u64::from(in_kernel == Action::Drop);
            }
        }
    }
    // A run in which all frames pass, or all are dropped, would prove nothing.
    let frames = EPISODES * FRAMES;
    for (point, dropped) in Point::ALL.into_iter().zip(dropped) {
        let share = dropped * 100 / frames;
        assert!((10..=90).contains(&share), "{point:?} dropped {share} %");
    }
    Ok(())
}

/// The socket programs see packets of all network namespaces, and judge those of the agent's
/// namespace.
#[test]
fn packet_of_another_network_namespace_passes_the_socket_guard() -> Result<()> {
    needs!(Kernel);
    let helper = BpfHelper::BPF_FUNC_get_netns_cookie;
    if !is_helper_supported(ProgramType::CgroupSkb, helper).unwrap_or(false) {
        skip("this kernel does not tell namespaces apart at sockets");
        return Ok(());
    }
    let own = namespace::cookie()?;
    for (cookie, expected) in [(own, Action::Drop), (own + 1_000_000, Action::Pass)] {
        let mut kernel = KernelGuard::open_in(cookie)?;
        for (point, frame) in [
            (Point::Received, v4(CLIENT4, VIP4)),
            (Point::Received, v6(cases::CLIENT6, VIP6)),
            (Point::Sent, v4(VIP4, CLIENT4)),
            (Point::Sent, v6(VIP6, cases::CLIENT6)),
        ] {
            kernel.install(&until(0))?;
            assert_eq!(kernel.run(point, &frame)?, expected, "{point:?}, {cookie}");
            let counted: u64 = counts(&kernel, point.direction())?
                .iter()
                .map(|c| c.1)
                .sum();
            assert_eq!(counted, u64::from(expected == Action::Drop), "{point:?}");
        }
    }
    Ok(())
}

/// All of a packet but its Ethernet header may be outside of the linear part.
#[test]
fn packet_with_a_nonlinear_part_is_judged() -> Result<()> {
    needs!(Kernel);
    let mut kernel = KernelGuard::open()?;
    let namespace = Namespace::new("guard")?;
    // The loopback interface accepts long frames.
    let sender = namespace.enter(|| {
        kernel.attach_egress("lo")?;
        Scatterer::on("lo")
    })?;
    let frames = [
        v4(VIP4, CLIENT4),
        v6(VIP6, cases::CLIENT6),
        reply(VIP4, CLIENT4),
        ndp(cases::US6, cases::ALL_NODES, ADVERTISEMENT, VIP6),
    ];
    for (open_until, expected) in [(0, Action::Drop), (u64::MAX, Action::Pass)] {
        for frame in &frames {
            for tags in TAGS {
                kernel.install(&until(open_until))?;
                let sent = sender
                    .send(&tagged(frame, tags))
                    .with_context(|| format!("{frame:02x?}"))?;
                assert_eq!(sent, expected, "{tags:x?} {frame:02x?}");
                let counted: u64 = counts(&kernel, Direction::Out)?.iter().map(|c| c.1).sum();
                assert_eq!(counted, u64::from(expected == Action::Drop));
            }
        }
    }
    Ok(())
}
