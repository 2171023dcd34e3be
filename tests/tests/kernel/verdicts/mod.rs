//! One case for each reason of each verdict, on the running kernel: what the program returns, which
//! counter grows, and that nothing else changes.

mod answers;
mod arriving;
mod leases;
mod leaving;
mod loopback;
mod races;
mod records;

use anyhow::Result;
use heartbeat_common::{
    lease::{Ballot, Slot},
    maps::Link,
    verdict::{Action, Verdict},
    wire::{GroupId, LeaseEntry, MAX_LEASES, NodeId},
};
use heartbeat_tests::{
    kernel::{
        self, Kernel, OTHER_IFINDEX, Program, World,
        frames::{FrameSpec, US, address},
    },
    needs,
};

/// A timeout that no delay of a test exceeds. Late replies are made with a shorter one.
const TIMEOUT_NS: u64 = 60_000_000_000;
const PEER: u16 = 2;
/// The newest probe of the node.
const SENT: u64 = 500;
/// Offsets in an IPv4 frame without VLAN tags.
const IP: usize = 14;
const UDP: usize = 34;
const PAYLOAD: usize = 42;

/// A frame, the maps that it meets, and its verdict.
struct Case {
    name: &'static str,
    program: Program,
    world: World,
    frame: Vec<u8>,
    /// `None`: the frame passes uncounted, which only the stamp program does.
    verdict: Option<Verdict>,
    /// The row that changes, if any does.
    row: u32,
}

impl Case {
    fn new(name: &'static str, program: Program, verdict: Verdict, spec: &FrameSpec) -> Self {
        Self {
            name,
            program,
            world: world(),
            frame: spec.frame().expect("a frame of these addresses"),
            verdict: Some(verdict),
            row: 0,
        }
    }

    /// The case of a frame on another link than the first.
    fn noted_in_row(mut self, row: u32) -> Self {
        self.row = row;
        self
    }

    /// The same frame with other maps.
    fn met_by(mut self, change: impl FnOnce(&mut World)) -> Self {
        change(&mut self.world);
        self
    }

    /// The same frame, changed after it was signed.
    fn damaged(mut self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(&mut self.frame);
        self
    }

    fn run(&self, kernel: &mut Kernel) -> Result<()> {
        kernel.install(&self.world)?;
        let run = kernel.run(self.program, &self.frame)?;
        let name = self.name;
        assert_eq!(run.verdict, self.verdict, "counted: {name}");
        let action = self.verdict.map_or(Action::Pass, Verdict::action);
        assert_eq!(run.action, action, "returned: {name}");
        let rewritten = matches!(run.verdict, Some(Verdict::Answered | Verdict::Stamped));
        assert_eq!(run.frame != self.frame, rewritten, "rewritten: {name}");
        let received = matches!(self.program, Program::Receive);
        let refused = matches!(run.verdict, Some(Verdict::BadTag | Verdict::UnknownKey));
        let noted = rewritten
            || refused && received
            || matches!(run.verdict, Some(Verdict::Recorded | Verdict::LateReply));
        for (number, before) in (0..).zip(&self.world.rows) {
            let changed = kernel.row(number)? != *before;
            assert_eq!(
                changed,
                noted && number == self.row,
                "row {number} changed: {name}"
            );
        }
        if refused && received {
            let (is, was) = (kernel.row(0)?, self.world.rows[0]);
            let booked = is.bad_tags + is.unknown_keys - was.bad_tags - was.unknown_keys;
            assert_eq!(booked, 1, "booked: {name}");
            let mac = self.frame[6..12].iter();
            let from = mac.fold(0, |all, byte| all << 8 | u64::from(*byte));
            assert_eq!(is.refused_from, from, "booked to: {name}");
        }
        // `leases` tests what the acceptor does and reports.
        if run.verdict != Some(Verdict::Answered) {
            assert_eq!(kernel.slots()?, self.world.slots, "slots: {name}");
        }
        let told = run.verdict == Some(Verdict::Recorded);
        assert!(kernel.votes()?.is_empty() || told, "told of votes: {name}");
        Ok(())
    }
}

/// The node has sent probes to the peer on link 0, and got replies, both up to 100.
fn world() -> World {
    let mut world = World::new(TIMEOUT_NS);
    let row = world.row_of(PEER, 0);
    row.last_probe_seq = SENT;
    row.asked_incarnation = FrameSpec::probe(PEER, 0, 1).header.incarnation.0;
    (row.asked_seq, row.asked_window) = (100, 0b1011);
    (row.reply_seq, row.reply_window) = (100, 0b1011);
    let slot = Slot {
        owner: US.into(),
        promised: Ballot::new(3, NodeId(US)).0,
        ballot: Ballot::new(3, NodeId(US)).0,
        expires: u64::MAX,
        ..Slot::default()
    };
    world.slots.insert(GroupId(0), slot);
    world
}

/// Moves the node's address of link 0 to an interface by which no frame comes.
fn on_another_interface(world: &mut World) {
    let link = Link {
        ifindex: OTHER_IFINDEX,
        link: 0,
    };
    world.links.insert(address(US, 0).into(), link);
}

fn as_it_is(_: &mut FrameSpec) {}

#[test]
fn each_verdict_is_met_for_each_of_its_reasons() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    let cases: Vec<Case> = [
        arriving::left_to_the_network_stack(),
        arriving::dropped_before_the_tag_is_checked(),
        arriving::dropped_by_tag_or_state(),
        arriving::taken(),
        leaving::leaving(),
    ]
    .into_iter()
    .flatten()
    .collect();
    for case in &cases {
        case.run(&mut kernel)?;
    }
    for verdict in Verdict::ALL {
        assert!(
            cases.iter().any(|case| case.verdict == Some(verdict)),
            "no case for {verdict:?}"
        );
    }
    Ok(())
}

#[test]
fn frame_cut_anywhere_is_never_a_heartbeat() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    let vlans = [vec![], vec![(0x8100, 1)], vec![(0x88a8, 1), (0x8100, 2)]];
    let mut sequence = 100;
    for (link, vlans, leases) in [0, 1].into_iter().flat_map(|link| {
        vlans
            .iter()
            .flat_map(move |vlans| [0, MAX_LEASES].map(|leases| (link, vlans, leases)))
    }) {
        kernel.install(&world())?;
        sequence += 1;
        let spec = FrameSpec::probe(PEER, link, sequence).with(|spec| {
            spec.vlans.clone_from(vlans);
            spec.leases = vec![LeaseEntry::default(); leases];
        });
        let frame = spec.frame()?;
        // The part of the IP header that the parser reads before its first verdict about it.
        let ip_seen = spec.ip_at() + if link == 0 { 10 } else { 7 };
        for len in 14..=frame.len() {
            let expected = match len {
                len if len < ip_seen => Verdict::NotIp,
                len if len < spec.udp_at() + 6 => Verdict::NotUdp,
                len if len < frame.len() => Verdict::Truncated,
                _ => Verdict::Answered,
            };
            let run = kernel.run(Program::Receive, &frame[..len])?;
            assert_eq!(run.verdict, Some(expected), "{len} bytes of {spec:?}");
            assert_eq!(run.action, expected.action(), "{len} bytes of {spec:?}");
        }
    }
    Ok(())
}
