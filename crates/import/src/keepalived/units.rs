//! The units that move as a whole: an instance, or the instances of a sync group, over all files.

use super::site::{Bundle, Common, Instance, Site, Sourced};
use crate::place::Place;

/// A unit that becomes a group.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) bundled: bool,
    /// Names of instances, in the order of the files.
    pub(super) members: Vec<String>,
}

impl Unit {
    /// The name of the unit in keepalived's words.
    pub(super) fn what(&self) -> String {
        let keyword = if self.bundled {
            "vrrp_sync_group"
        } else {
            "vrrp_instance"
        };
        format!("{keyword} {}", self.name)
    }

    /// Whether `owner` is the unit, or an instance of the unit.
    pub(super) fn is_of(&self, owner: &str) -> bool {
        let instance = owner.strip_prefix("vrrp_instance ");
        let member = instance.is_some_and(|name| self.members.iter().any(|own| own == name));
        member || (self.bundled && owner == self.what())
    }

    /// The unit's instances in `site`.
    pub(super) fn instances<'a>(&self, site: &'a Site) -> impl Iterator<Item = &'a Instance> {
        let mut found: Vec<&'a Instance> = Vec::new();
        for member in &self.members {
            found.extend(site.instances.iter().filter(|one| one.name == *member));
        }
        found.into_iter()
    }

    /// The places of the unit: the sync group's lines first, then the instances'.
    pub(super) fn places(&self, sites: &[Site]) -> Vec<Place> {
        let own = |bundle: &&Bundle| self.bundled && bundle.name == self.name;
        let bundles = sites.iter().flat_map(|site| &site.bundles).filter(own);
        let mut places: Vec<Place> = bundles
            .flat_map(|bundle| {
                let members = bundle.members.iter().map(|member| &member.place);
                std::iter::once(&bundle.place).chain(members).cloned()
            })
            .collect();
        let instances = sites.iter().flat_map(|site| self.instances(site));
        places.extend(instances.map(|instance| instance.place.clone()));
        places.sort();
        places.dedup();
        places
    }

    /// The highest priority of the unit's instances in `site`, and their places. `None`: the node
    /// does not have the unit.
    pub(super) fn priority(&self, site: &Site) -> Option<(i64, Vec<Place>)> {
        let instances: Vec<&Instance> = self.instances(site).collect();
        let of = |instance: &&Instance| number(instance.priority.as_ref());
        let most = instances.iter().map(of).max()?;
        let said = instances
            .iter()
            .filter_map(|instance| instance.priority.as_ref());
        Some((most, said.map(|said| said.place.clone()).collect()))
    }
}

/// keepalived's default.
const PRIORITY: i64 = 100;

fn number(priority: Option<&Sourced>) -> i64 {
    let number = priority.and_then(|said| said.text.parse().ok());
    number.unwrap_or(PRIORITY).clamp(1, 255)
}

/// All units, in the order of their first instances.
pub(super) fn units(sites: &[Site]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for site in sites {
        for instance in &site.instances {
            if units
                .iter()
                .any(|unit| unit.members.contains(&instance.name))
            {
                continue;
            }
            let has = |bundle: &&Bundle| bundle.members.iter().any(|one| one.text == instance.name);
            let bundle = sites.iter().flat_map(|site| &site.bundles).find(has);
            let (name, bundled) = match bundle {
                Some(bundle) => (&bundle.name, true),
                None => (&instance.name, false),
            };
            let same = |unit: &&mut Unit| unit.bundled && bundled && unit.name == *name;
            match units.iter_mut().find(same) {
                Some(unit) => unit.members.push(instance.name.clone()),
                None => units.push(Unit {
                    name: name.clone(),
                    bundled,
                    members: vec![instance.name.clone()],
                }),
            }
        }
    }
    units
}

/// The common settings of a file's instances and sync groups, each with its name in keepalived.
pub(super) fn owners(site: &Site) -> impl Iterator<Item = (String, &Common)> {
    let instances = site.instances.iter();
    let instances = instances.map(|one| (format!("vrrp_instance {}", one.name), &one.common));
    let bundles = site.bundles.iter();
    let bundles = bundles.map(|one| (format!("vrrp_sync_group {}", one.name), &one.common));
    bundles.chain(instances)
}
