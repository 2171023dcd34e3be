//! The effects of commands of the core, and of events of other threads, on the view. Each method
//! returns the log event of the change, if there is one.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use heartbeat_common::{
    time::Boottime,
    units::Short,
    wire::{LinkId, NodeId},
};
use heartbeat_core::{
    Command,
    group::GroupEvent,
    link::Silence,
    peer::PeerState,
    reach::{RECOVERY, Reach},
};

use super::{InterfaceView, View, addresses::VipView};
use crate::{
    clock,
    config::Group,
    control::protocol::{self, DownTrace, EventKind, VipEvent},
    interface_monitor::SOCKETS,
    messages::{InterfaceEvent, ResourceEvent},
};

/// An owner whose lease ended less than this long ago may be the node that was just lost.
const JUST_BEFORE: Duration = Duration::from_secs(5);

/// The state of an interface in an event: no peer answers on its link, while peers answer on
/// others.
const SILENT: &str = "silent";

impl View {
    /// Records a command of the core and returns its event.
    pub(in crate::agent) fn command(&mut self, command: &Command) -> Option<EventKind> {
        match *command {
            Command::LinkChanged {
                node,
                link,
                from,
                to,
            } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == node)
                    && let Some(state) = peer.links.get_mut(link)
                {
                    *state = to;
                }
                Some(EventKind::Link {
                    node: self.name(node),
                    link: link.0,
                    from: from.name().to_owned(),
                    to: to.name().to_owned(),
                })
            }
            Command::PeerChanged {
                node,
                from,
                to,
                silence,
            } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == node) {
                    peer.state = to;
                }
                // A peer that was never down here may have voted all along.
                if to.is_alive() && from == PeerState::Down {
                    self.abstentions.appeared(node, clock::now());
                }
                if matches!(to, PeerState::Down | PeerState::AgentStalled) {
                    self.agent_lost(node, clock::now());
                }
                Some(EventKind::Peer {
                    node: self.name(node),
                    from: from.name().to_owned(),
                    to: to.name().to_owned(),
                    trace: silence.map(trace),
                })
            }
            Command::PeerHealth { node, health } => Some(EventKind::PeerHealth {
                node: self.name(node),
                failing: self.failing(node, health),
                fatal: health.is_fatal(),
            }),
            Command::LocalStallBegan { late } => {
                self.local_stall_since.get_or_insert(clock::now());
                Some(EventKind::LocalStall {
                    began: true,
                    reason: format!(
                        "pulse {} late ({})",
                        Short(late),
                        self.vitals
                            .lateness(late, self.stats.missed_ticks.load(Relaxed))
                    ),
                })
            }
            Command::LocalStallEnded => {
                let since = self.local_stall_since.take();
                let lasted = since.map_or(Duration::ZERO, |since| clock::now().since(since));
                self.local_stall_for += lasted;
                Some(EventKind::LocalStall {
                    began: false,
                    reason: format!("it lasted {}", Short(lasted)),
                })
            }
            Command::QuorumChanged { quorate, alive } => {
                self.quorate = quorate;
                Some(EventKind::Quorum { quorate, alive })
            }
            Command::Announce(state) => {
                self.state = state;
                None
            }
            Command::Settled { version } => Some(EventKind::ConfigVersion { version }),
            Command::Reach { link, reach } => self.reach(link, reach),
            Command::Group {
                group,
                event: GroupEvent::State(state),
            } => self.groups.changed(group, state),
            Command::Group { group, event } => Some(self.groups.named(group, event)),
        }
    }

    /// Returns the event of a link that became silent or whole. The interface monitor reports
    /// broken interfaces.
    fn reach(&self, link: LinkId, reach: Reach) -> Option<EventKind> {
        let own = self.config.local_links().find(|own| own.id == link)?;
        let (state, message) = match reach {
            Reach::Broken => return None,
            Reach::Silent => (
                SILENT,
                "no replies from any node, while other links work: check the cable, the switch \
                 port and the VLAN; its addresses move to a node that is not cut off"
                    .to_owned(),
            ),
            Reach::Whole => (
                "well",
                format!(
                    "working for {} s: addresses may be served there again",
                    RECOVERY.as_secs()
                ),
            ),
        };
        Some(EventKind::Interface {
            interface: own.interface.to_owned(),
            state: state.to_owned(),
            message,
        })
    }

    /// Records a change of an interface and returns its event.
    pub(in crate::agent) fn interface(&mut self, news: InterfaceEvent) -> EventKind {
        if news.interface == SOCKETS {
            self.socket_guard = Some(protocol::SocketGuard {
                attached: news.problem.is_none(),
                problem: news.problem,
            });
            return EventKind::SocketGuard {
                state: news.change.name().to_owned(),
                message: news.message,
            };
        }
        let before = self.interfaces.get(&news.interface);
        let same = before.filter(|before| before.signal == news.signal);
        let view = InterfaceView {
            attachment: news.attachment,
            problem: news.problem,
            signal: news.signal,
            since: same.map_or_else(clock::now, |before| before.since),
        };
        self.interfaces.insert(news.interface.clone(), view);
        EventKind::Interface {
            interface: news.interface,
            state: news.change.name().to_owned(),
            message: news.message,
        }
    }

    /// Records an event of the resource manager and returns its log event.
    pub(in crate::agent) fn resource_event(&mut self, event: &ResourceEvent) -> Option<EventKind> {
        let ResourceEvent::Vip { vip, event: change } = event else {
            return self.groups.resource_event(event);
        };
        let view = &mut self.vips[*vip];
        match change {
            VipEvent::Takeover { .. } => {
                *view = VipView {
                    held: true,
                    ..VipView::default()
                };
            }
            VipEvent::Release { .. } => *view = VipView::default(),
            VipEvent::Failed { message } => view.error = Some(message.clone()),
            VipEvent::PutBack { message, .. }
            | VipEvent::Claimed { message, .. }
            | VipEvent::Stray { message } => view.note(message),
        }
        Some(EventKind::Vip {
            vip: self.config.vips[*vip].name.clone(),
            event: change.clone(),
        })
    }

    /// Records the loss of a peer's agent, and logs the groups that may still run there.
    fn agent_lost(&mut self, node: NodeId, now: Boottime) {
        let slots = &self.slots;
        // A lease that has just ended counts, too: it may have ended before this node noticed the
        // loss.
        let owns = |group: &Group| {
            let slot = slots.slot(group.id);
            slot.owner == u32::from(node.0)
                && now < Boottime::from_nanos(slot.expires).after(JUST_BEFORE)
        };
        let groups = self.groups.agent_lost(node, now, owns);
        if !groups.is_empty() {
            log::warn!(
                "node {}: {}: {} may run on there beside the node that takes over, since no agent \
                 is known to stop it",
                self.name(node),
                self.why_unknown(node),
                groups.join(", ")
            );
        }
    }
}

fn trace(silence: Silence) -> DownTrace {
    let nanos = |at: Option<Boottime>| at.map_or(0, Boottime::as_nanos);
    DownTrace {
        last_reply_ns: nanos(silence.last_reply),
        deadline_ns: silence.deadline.as_nanos(),
        fired_ns: nanos(silence.fired),
        awake_ns: silence.decided.as_nanos(),
    }
}
