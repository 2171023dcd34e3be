//! The state of each address on this node, and its status.

use std::time::Duration;

use heartbeat_common::time::Boottime;
use heartbeat_core::index::VipIndex;

use super::View;
use crate::{clock, config::Vip, control::protocol};

#[derive(Clone, Debug, Default)]
pub(super) struct VipView {
    pub(super) held: bool,
    pub(super) error: Option<String>,
    /// The last action of another host or program on the address, and its time.
    pub(super) notice: Option<(String, Boottime)>,
}

/// The time for which the status shows such an action.
const NOTICED: Duration = Duration::from_secs(600);

impl VipView {
    pub(super) fn note(&mut self, message: &str) {
        self.notice = Some((message.to_owned(), clock::now()));
    }

    fn shown_notice(&self, now: Boottime) -> Option<protocol::Notice> {
        let (message, at) = self.notice.as_ref()?;
        let age = now.since(*at);
        (age < NOTICED).then(|| protocol::Notice {
            message: message.clone(),
            age_ns: age.as_nanos() as u64,
        })
    }
}

impl View {
    pub(super) fn vips(&self, now: Boottime) -> Vec<protocol::Vip> {
        let is_used = |vip: VipIndex| {
            let groups = self.config.groups.iter();
            let mut kept = groups.filter(|group| !group.is_removed());
            kept.any(|group| group.has_address(vip))
        };
        let vips = self.config.vips.iter_enumerated();
        vips.filter(|(index, _)| is_used(*index))
            .map(|(index, vip)| self.vip(index, vip, now))
            .collect()
    }

    fn vip(&self, index: VipIndex, vip: &Vip, now: Boottime) -> protocol::Vip {
        let claim = self.claim(vip.group, now);
        let guard = self.guard.row(index).unwrap_or_default();
        protocol::Vip {
            name: vip.name.clone(),
            address: vip.address.to_string(),
            interface: vip.interface.clone(),
            group: vip.group.0,
            owner: claim.owner.map(|owner| self.name(owner)),
            lease: claim.lease,
            votes: claim.votes,
            guard: protocol::Guard {
                open: guard.open_until > now.as_nanos(),
                dropped_in: guard.dropped_in,
                dropped_out: guard.dropped_out,
            },
            held: self.vips[index].held,
            error: self.vips[index].error.clone(),
            notice: self.vips[index].shown_notice(now),
        }
    }
}
