//! A changed configuration for an agent that goes on: groups and addresses keep their indices, by
//! which all parts of the agent know them.

use heartbeat_common::maps::MAX_VIPS;

use super::types::{Config, Group, MAX_GROUPS, ResourceKind, Vip};
use heartbeat_core::{
    index::{GroupIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
};

impl Group {
    /// Whether the group was removed from the configuration, and so runs nowhere.
    pub fn is_removed(&self) -> bool {
        self.rank.is_empty()
    }
}

impl Config {
    /// `new`, in which each group and address of this configuration keeps its index. New ones come
    /// behind, and removed groups stay, ranked nowhere. The error names what cannot be taken over
    /// while the agent runs.
    pub fn merged(&self, new: &Self) -> Result<Self, String> {
        let mut vips = self.vips.clone();
        // Kinds may have come or gone: the demands of groups are in the order of the new ones.
        let kinds = new.utilization.len();
        let removed = |group| removed(group, kinds);
        let mut groups: ByGroup<Group> = self.groups.iter().map(removed).collect();
        for group in &new.groups {
            let mut group = group.clone();
            for resource in &mut group.resources {
                if let ResourceKind::Vip(vip) = &mut resource.kind {
                    *vip = place(&mut vips, &new.vips[*vip])?;
                }
            }
            match groups.iter_mut().find(|old| old.id == group.id) {
                Some(old) => *old = group,
                None => groups.push(group),
            }
        }
        if groups.len() > MAX_GROUPS || vips.len() > MAX_VIPS {
            return Err(format!(
                "there were {} groups and {} addresses since the agent started, more than it can \
                 keep ({} and {})",
                groups.len(),
                vips.len(),
                MAX_GROUPS,
                MAX_VIPS
            ));
        }
        let at = |index: GroupIndex| {
            let id = new.groups[index].id;
            let place = groups.position(|group| group.id == id);
            place.unwrap_or(index)
        };
        let mut colocations = new.colocations.clone();
        for one in &mut colocations {
            (one.group, one.with) = (at(one.group), at(one.with));
        }
        let mut orders = new.orders.clone();
        for one in &mut orders {
            (one.first, one.then) = (at(one.first), at(one.then));
        }
        Ok(Self {
            groups,
            vips,
            colocations,
            orders,
            ..new.clone()
        })
    }
}

fn removed(group: &Group, kinds: usize) -> Group {
    Group {
        rank: Vec::new(),
        locations: Vec::new(),
        demand: vec![0; kinds],
        ..group.clone()
    }
}

/// The index of an address, a new one if it has none.
fn place(vips: &mut IndexVec<VipIndex, Vip>, vip: &Vip) -> Result<VipIndex, String> {
    match vips.position(|old| old.address.address == vip.address.address) {
        Some(index) if vips[index] == *vip => Ok(index),
        Some(_) => Err(format!(
            "address {} has another group, name, prefix or interface",
            vip.address.address
        )),
        None => {
            let index = vips.next_index();
            vips.push(vip.clone());
            Ok(index)
        }
    }
}
