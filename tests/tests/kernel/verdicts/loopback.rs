//! The interface by which a frame may arrive: a peer's frame by its link, a node's own by loopback,
//! where only its own agent can send it.

use anyhow::Result;
use heartbeat_common::{
    lease::{Ballot, Operation, Vote},
    maps::Link,
    verdict::Verdict,
    wire::{GroupId, LEASE_LEN, LeaseEntry, NodeId, TAG_LEN, offset},
};
use heartbeat_tests::{
    kernel::{
        self, Kernel, OWN_ROW, Program, World,
        frames::{FrameSpec, US, address},
    },
    needs,
    netns::Namespace,
};

use super::{PEER, TIMEOUT_NS};

const GROUP: u16 = 9;

fn accept(node: u16) -> LeaseEntry {
    LeaseEntry {
        group: GROUP,
        operation: Operation::Accept as u8,
        vote: 0,
        micros: 60_000,
        ballot: Ballot::new(1, NodeId(node)).0,
    }
}

fn probe(from: u16, sequence: u64) -> Result<Vec<u8>> {
    FrameSpec::probe(from, 0, sequence)
        .with(|spec| spec.leases = vec![accept(from)])
        .frame()
}

#[test]
fn own_vote_is_that_of_the_own_acceptor() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    kernel.install(&World::new(TIMEOUT_NS))?;
    let run = kernel.run(Program::Receive, &probe(US, 1)?)?;
    assert_eq!(run.verdict, Some(Verdict::Answered));
    assert_eq!(kernel.slots()?[&GroupId(GROUP)].owner, u32::from(US));
    assert_eq!(kernel.row(OWN_ROW)?.asked_seq, 1);
    let said = kernel.run(Program::Receive, &probe(PEER, 1)?)?;
    let vote = said.frame[said.frame.len() - TAG_LEN - LEASE_LEN + offset::lease::VOTE];
    assert_eq!(vote, Vote::Refused as u8, "one acceptor for all");
    let again = kernel.run(Program::Receive, &probe(US, 1)?)?;
    assert_eq!(again.verdict, Some(Verdict::ReplayedProbe));
    Ok(())
}

/// Checks the verdict of a frame from each of two nodes by each of three interfaces.
fn by_each_interface(kernel: &mut Kernel, link: u32, other: u32) -> Result<()> {
    let mut world = World::new(TIMEOUT_NS);
    let ours = Link {
        ifindex: link,
        link: 0,
    };
    world.links.insert(address(US, 0).into(), ours);
    for (from, ifindex, verdict) in [
        (PEER, link, Verdict::Answered),
        (PEER, other, Verdict::NotForUs),
        (PEER, kernel::IFINDEX, Verdict::UnknownPeer),
        (US, link, Verdict::UnknownPeer),
        (US, other, Verdict::NotForUs),
        (US, kernel::IFINDEX, Verdict::Answered),
    ] {
        kernel.install(&world)?;
        let run = kernel.receive_by(ifindex, &probe(from, 1)?)?;
        assert_eq!(run.verdict, Some(verdict), "node {from} by {ifindex}");
        let owner = kernel.slots()?.get(&GroupId(GROUP)).map(|slot| slot.owner);
        let taken = verdict == Verdict::Answered;
        assert_eq!(
            owner,
            taken.then_some(from.into()),
            "node {from} by {ifindex}"
        );
    }
    Ok(())
}

#[test]
fn frame_from_the_node_itself_is_a_forgery_on_every_link() -> Result<()> {
    needs!(Kernel);
    let namespace = Namespace::new("leases")?;
    namespace.add_pair("hb0", "hb1")?;
    let (link, other) = (namespace.index("hb0")?, namespace.index("hb1")?);
    namespace.enter(|| by_each_interface(&mut kernel::open()?, link, other))
}
