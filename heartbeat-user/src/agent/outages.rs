//! The links and groups whose interfaces are missing, switched off or without carrier.

use std::collections::BTreeMap;

use heartbeat_common::wire::LinkSet;
use heartbeat_core::{group::Note, index_vec::ByGroup, resource::GroupState};

use crate::{
    config::{Config, Group},
    interface_monitor::Signal,
    messages::Directive,
};

/// The known faults of interfaces, and the state that was last sent to the pulse.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// The interfaces that carry no traffic.
    broken: BTreeMap<String, Signal>,
    links: LinkSet,
    /// Whether an interface of the group's addresses is broken, by group.
    groups: ByGroup<bool>,
}

impl Outages {
    /// Records the state of an interface.
    pub(super) fn note(&mut self, interface: &str, signal: Signal) {
        match signal.is_up() {
            true => self.broken.remove(interface),
            false => self.broken.insert(interface.to_owned(), signal),
        };
    }

    /// Returns the changes that the pulse has not received yet, under this configuration.
    pub(super) fn news(&mut self, config: &Config) -> Vec<Directive> {
        let mut news = Vec::new();
        let links = self.links_of(config);
        if std::mem::replace(&mut self.links, links) != links {
            news.push(Directive::Broken(links));
        }
        let groups = config.served_groups();
        self.groups.resize_with(groups.len(), || false);
        for (index, group) in groups.iter_enumerated() {
            let broken = self.is_broken(config, group);
            if std::mem::replace(&mut self.groups[index], broken) != broken {
                let note = Note::State(GroupState::of_interfaces(broken));
                news.push(Directive::Note { group: index, note });
            }
        }
        news
    }

    fn links_of(&self, config: &Config) -> LinkSet {
        let links = config.local_links();
        let broken = links.filter(|link| self.broken.contains_key(link.interface));
        broken.fold(LinkSet::default(), |all, link| {
            all.and(LinkSet::of(link.id))
        })
    }

    fn is_broken(&self, config: &Config, group: &Group) -> bool {
        let vips = config.vips.iter_enumerated();
        let mut vips = vips.filter(|(vip, _)| group.has_address(*vip));
        vips.any(|(_, vip)| self.broken.contains_key(&vip.interface))
    }
}
