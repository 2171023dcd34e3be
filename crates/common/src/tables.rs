//! The maps and the clock as a trait, which the BPF programs and the tests implement.

use crate::{
    lease::{Answer, Slot},
    maps::{Address, Config, Key, Link, Local, PeerRow, PeerSlot, VoteEvent},
    wire::GroupId,
};

/// The maps and the clock for the per-packet functions.
pub trait Tables {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    fn now(&mut self) -> u64;
    /// The index of the interface on which the packet arrives or leaves.
    fn ifindex(&self) -> u32;
    fn config(&self) -> Option<&Config>;
    fn local(&self) -> Option<&Local>;
    /// The key in `slot`, valid or not.
    fn key(&self, slot: u32) -> Option<&Key>;
    /// The link that owns `address` on this node.
    fn link(&self, address: &Address) -> Option<&Link>;
    /// The peer that owns `address`.
    fn peer(&self, address: &Address) -> Option<&PeerSlot>;
    /// The link of the agent's socket that sent the leaving packet. `None` if the packet is from no
    /// socket of the agent, or was not made on this host. The answer exists only for packets that
    /// leave.
    fn sender(&self) -> Option<u32>;
    fn row(&mut self, row: u32) -> Option<&mut PeerRow>;
    /// Runs `decide` on the slot of `group` under its lock. `None` if there is no slot left.
    fn lease(&mut self, group: GroupId, decide: impl FnOnce(&mut Slot) -> Answer)
    -> Option<Answer>;
    /// Passes votes to the agent. `fill` writes the event and returns whether to wake the agent for
    /// it, or `None` to send none.
    fn votes(&mut self, fill: impl FnOnce(&mut VoteEvent) -> Option<bool>);
}
