//! The health that heartbeats report after a process exit, before the agent has read the event.
//!
//! The agent of these tests reads events only on request, like one that is not scheduled.

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::{
    verdict::Verdict,
    wire::{HEADER_LEN, Header, Health},
};
use heartbeat_tests::{
    kernel::{
        self, Kernel, World,
        decode::Datagram,
        frames::{FrameSpec, PEERS},
    },
    needs,
};
use heartbeat_user::dataplane::{LocalView, ProcessExits};
use tokio::runtime::Runtime;

use super::processes::{PATIENCE, kill, stays};

/// The kernel of a node, and the agent's access to it.
struct Node {
    kernel: Kernel,
    local: LocalView,
    exits: ProcessExits,
    runtime: Runtime,
    sequence: u64,
}

impl Node {
    fn new() -> Result<Self> {
        let mut kernel = kernel::open()?;
        kernel.install(&World::new(1_000_000_000))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let exits = kernel.process_exits();
        drop(inside);
        ensure!(exits.by_kernel(), "the kernel refused both programs");
        let local = kernel.local_view()?;
        Ok(Self {
            kernel,
            local,
            exits,
            runtime,
            sequence: 0,
        })
    }

    /// The health of this node, as a peer receives it.
    fn reported_health(&mut self) -> Result<Health> {
        self.sequence += 1;
        let probe = FrameSpec::probe(PEERS[0], 0, self.sequence).frame()?;
        let run = self.kernel.run(kernel::Program::Receive, &probe)?;
        ensure!(run.verdict == Some(Verdict::Answered), "{run:?}");
        let reply = Datagram::decode(&run.frame)?.payload;
        ensure!(reply.len() >= HEADER_LEN);
        let header = Header::decode(&reply).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Health(header.liveness.health))
    }

    fn watch(&mut self, pid: u32, health: Health) -> Result<()> {
        let _inside = self.runtime.enter();
        Ok(self.exits.watch(pid, 0, health)?)
    }

    /// The agent reads one exit.
    fn receive(&mut self) -> Result<u32> {
        let next = async { tokio::time::timeout(PATIENCE, self.exits.next()).await };
        let exit = self.runtime.block_on(next).context("nothing was told")?;
        Ok(exit.pid)
    }
}

#[test]
fn reply_after_a_process_exit_says_so_at_once() -> Result<()> {
    needs!(Kernel);
    let mut node = Node::new()?;
    let (own, fatal) = (Health::of(1, false), Health::of(3, true));
    node.local.set_health(own, fatal);
    let victim = stays()?;
    let pid = victim.pid();
    node.watch(pid, fatal)?;
    ensure!(node.reported_health()? == own);
    kill(victim)?;
    ensure!(
        node.reported_health()? == own.and(fatal),
        "{:?}",
        node.reported_health()?
    );
    ensure!(node.local.health() == own.and(fatal));

    // A report of the agent about another check does not clear it.
    node.local.set_health(Health::default(), fatal);
    ensure!(node.reported_health()? == fatal);
    ensure!(node.receive()? == pid);
    // The agent takes the failure over, and its own report counts from then on.
    node.local.set_health(fatal, Health::default());
    ensure!(node.reported_health()? == fatal);
    node.local.set_health(Health::default(), Health::default());
    ensure!(node.reported_health()? == Health::default());
    Ok(())
}

#[test]
fn meaning_of_an_exit_can_change_while_the_process_lives() -> Result<()> {
    needs!(Kernel);
    let mut node = Node::new()?;
    let health = Health::of(2, true);
    for (before, after, said) in [
        (Health::default(), health, health),
        (health, Health::default(), Health::default()),
    ] {
        let victim = stays()?;
        let pid = victim.pid();
        node.watch(pid, before)?;
        node.exits.set_health(pid, after);
        kill(victim)?;
        ensure!(node.reported_health()? == said);
        // A watch that comes too late does not watch the next process with the same id.
        node.exits.set_health(pid, health);
        ensure!(node.receive()? == pid);
        node.local.set_health(Health::default(), Health::default());
    }
    Ok(())
}

#[test]
fn fatal_health_stays_until_the_agent_has_read_each_exit() -> Result<()> {
    needs!(Kernel);
    let mut node = Node::new()?;
    let (one, other) = (Health::of(4, true), Health::of(5, true));
    for health in [one, other] {
        let victim = stays()?;
        node.watch(victim.pid(), health)?;
        kill(victim)?;
    }
    ensure!(node.reported_health()? == one.and(other));
    // The first exit has been read, and its check passes again.
    node.local.set_health(Health::default(), other);
    ensure!(node.reported_health()? == other);
    node.local.set_health(Health::default(), Health::default());
    ensure!(node.reported_health()? == Health::default());
    Ok(())
}
