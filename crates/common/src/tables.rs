//! The maps and the clock as a trait, which the BPF programs and the tests implement.

use crate::{
    lease::{Answer, Slot},
    maps::{Address, Config, Key, Link, Local, PeerRow, PeerSlot, VoteEvent},
    wire::GroupId,
};

/// The maps and the clock, as the per-packet functions see them.
pub trait Tables {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    fn now(&mut self) -> u64;
    /// Index of the interface that the packet came in by, or leaves by.
    fn ifindex(&self) -> u32;
    fn config(&self) -> Option<&Config>;
    fn local(&self) -> Option<&Local>;
    /// The key in `slot`, valid or not.
    fn key(&self, slot: u32) -> Option<&Key>;
    /// The link that owns `address` on this node.
    fn link(&self, address: &Address) -> Option<&Link>;
    /// The peer that owns `address`.
    fn peer(&self, address: &Address) -> Option<&PeerSlot>;
    /// The link whose probes the agent sends by the very socket that the leaving packet is from. `None`
    /// if that is no socket of the agent, or the packet was not made on this host. Only asked about
    /// packets that leave.
    fn sender(&self) -> Option<u32>;
    fn row(&mut self, row: u32) -> Option<&mut PeerRow>;
    /// Runs `decide` on the slot of `group` while nobody else can. `None` if there is no slot left.
    fn lease(&mut self, group: GroupId, decide: impl FnOnce(&mut Slot) -> Answer)
    -> Option<Answer>;
    /// Tells the agent of votes: `fill` writes the event and says whether to wake the agent for it, or
    /// `None` to send none.
    fn votes(&mut self, fill: impl FnOnce(&mut VoteEvent) -> Option<bool>);
}
