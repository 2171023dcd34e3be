//! Every outcome for a packet, with one name each.

/// The kernel's action on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the frame to the network stack (on egress: let it leave).
    Pass,
    Drop,
    /// Send the frame back out of the interface on which it arrived.
    Transmit,
}

macro_rules! verdicts {
    ($($(#[$doc:meta])* $variant:ident = $index:literal, $name:literal, $action:ident;)*) => {
        /// The reason for a packet's [`Action`]. The number is its index in the `counters` map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Verdict {
            $($(#[$doc])* $variant = $index,)*
        }

        impl Verdict {
            /// All verdicts, in the order of their indices.
            pub const ALL: [Self; [$($index),*].len()] = [$(Self::$variant),*];

            /// The name in `heartbeat status` and in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            #[inline(always)]
            pub const fn action(self) -> Action {
                match self {
                    $(Self::$variant => Action::$action,)*
                }
            }
        }
    };
}

verdicts! {
    /// Neither IPv4 nor IPv6, or too short to determine.
    NotIp = 0, "pass_not_ip", Pass;
    NotUdp = 1, "pass_not_udp", Pass;
    /// IPv4 with options: left to the network stack.
    IpOptions = 2, "pass_ip_options", Pass;
    Fragment = 3, "pass_fragment", Pass;
    OtherPort = 4, "pass_other_port", Pass;
    /// To the heartbeat port, but not to the address of a link on this interface.
    NotForUs = 5, "pass_not_for_us", Pass;
    /// A heartbeat of a version that this program does not support.
    UnknownVersion = 6, "pass_unknown_version", Pass;
    /// The program runs, but neither agent nor loader has configured it.
    Unconfigured = 7, "pass_unconfigured", Pass;
    /// To the heartbeat port and an address of this node, but shorter than a heartbeat.
    Truncated = 8, "drop_truncated", Drop;
    BadMagic = 9, "drop_bad_magic", Drop;
    /// Lengths that contradict each other, or a kind that does not exist.
    Malformed = 10, "drop_malformed", Drop;
    ForeignCluster = 11, "drop_foreign_cluster", Drop;
    /// For another node, although sent to an address of this node.
    WrongNode = 12, "drop_wrong_node", Drop;
    /// The source address is not on the allow-list, or belongs to another node or link.
    UnknownPeer = 13, "drop_unknown_peer", Drop;
    UnknownKey = 14, "drop_unknown_key", Drop;
    BadTag = 15, "drop_bad_mac", Drop;
    ReplayedProbe = 16, "drop_replayed_probe", Drop;
    /// A reply to a probe that this incarnation did not send.
    UnsolicitedReply = 17, "drop_unsolicited_reply", Drop;
    ReplayedReply = 18, "drop_replayed_reply", Drop;
    /// A reply that took longer than the timeout: no evidence of life.
    LateReply = 19, "drop_late_reply", Drop;
    /// A fresh reply: recorded, consumed.
    Recorded = 20, "recorded", Drop;
    /// A probe: turned into its reply.
    Answered = 21, "answered", Transmit;
    /// On egress: the agent's own probe, stamped and sealed.
    Stamped = 22, "stamped", Pass;
    /// On egress: a probe of the agent with another incarnation, or out of sequence. The probe is
    /// neither signed nor sent.
    StampRefused = 23, "stamp_refused", Drop;
    /// On egress: a frame in this node's name to a peer's heartbeat port, but from no socket of the
    /// agent. The frame is neither signed nor sent.
    ForeignSocket = 24, "stamp_foreign_socket", Drop;
}

pub const COUNT: usize = Verdict::ALL.len();
/// The index in the `counters` map, behind the verdicts, of the answers whose votes found no room
/// in the ring buffer.
pub const VOTES_LOST: u32 = COUNT as u32;
/// Entries of the `counters` map.
pub const COUNTERS: usize = COUNT + 1;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn indices_are_dense_and_names_distinct() {
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
        }
        let names: std::collections::HashSet<_> = Verdict::ALL.iter().map(|v| v.name()).collect();
        assert_eq!(names.len(), COUNT);
    }
}
