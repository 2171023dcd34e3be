//! Writes all data that the programs read, before their first packet.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap},
};
use heartbeat_common::{
    index::{GroupIndex, RowPlace},
    maps::{self, Address, GuardRow, Key, Local, MAX_KEYS, MAX_SERVED},
    siphash::SipKey,
    time::Boottime,
    wire::{GroupId, VoterSet},
};
use heartbeat_sys::host::clock;

use super::{access::map, guard_place::GuardPlace, row_allocator, senders};
use crate::{
    pins::origin,
    setup::{Setup, SetupGuard},
    start::{adopted::AdoptedState, observe::Observation},
};

/// Returns the time at which the acceptor begins to vote. `object` is the fingerprint of the
/// programs. A missing interface has the index 0, which no interface has.
pub(crate) fn fill(
    ebpf: &mut Ebpf,
    setup: &Setup,
    object: u64,
    places: &[RowPlace],
    seen: &Observation,
) -> Result<Boottime> {
    let adopted = seen.state.as_ref();
    senders::forget(ebpf)?;
    rekey(ebpf, &setup.keys)?;
    let mut links: HashMap<_, Address, maps::Link> = map(ebpf, "links")?.try_into()?;
    for (link, index) in setup.links.iter().zip(&seen.links) {
        let value = maps::Link {
            ifindex: index.unwrap_or_default(),
            link: link.id.0.into(),
        };
        links.insert(Address::from(link.address), value, 0)?;
    }
    row_allocator::allow(ebpf, setup, places)?;
    fill_guards(ebpf, setup, adopted, &seen.guarded)?;
    fill_groups(ebpf, setup, adopted)?;
    fill_local(ebpf, setup, adopted)?;
    let max_lease_ns = nanos(setup.max_lease)?;
    // An acceptor without its votes abstains. The end of that time is set once the acceptor is
    // attached.
    let votes_from = adopted.map_or(Boottime::from_nanos(u64::MAX), |adopted| {
        Boottime::from_nanos(adopted.votes_from)
    });
    let mut config: Array<_, maps::Config> = map(ebpf, "config")?.try_into()?;
    let value = maps::Config {
        layout_version: maps::LAYOUT_VERSION,
        cluster: setup.cluster.0,
        timeout_ns: nanos(setup.timeout)?,
        votes_from: votes_from.as_nanos(),
        max_lease_ns,
        node: setup.node.0,
        port: setup.port,
        zero: 0,
        object,
        namespace: origin::cookie()?,
    };
    config.set(0, value, 0)?;
    Ok(votes_from)
}

/// Makes the programs accept the `new` keys instead of the present ones: all of them or, on a
/// failure, none.
pub(crate) fn rekey(ebpf: &mut Ebpf, new: &[(u8, SipKey)]) -> Result<()> {
    let mut keys: Array<_, Key> = map(ebpf, "keys")?.try_into()?;
    let was: Vec<Key> = (0..MAX_KEYS as u32)
        .map(|slot| keys.get(&slot, 0))
        .collect::<Result<_, _>>()?;
    let is = slots(new);
    let changed = (0..).zip(was.iter().zip(&is));
    for (slot, (_, key)) in changed.filter(|(_, (was, is))| was != is) {
        // The slot is empty in between. The kernel copies a value word by word while packets
        // arrive, and a mixture of two keys is no key.
        let written = keys.set(slot, Key::default(), 0);
        if let Err(error) = written.and_then(|()| keys.set(slot, *key, 0)) {
            for (slot, key) in (0..).zip(was) {
                keys.set(slot, key, 0)?;
            }
            return Err(error).context("could not write the map `keys`");
        }
    }
    Ok(())
}

/// The rows of the map `keys` for these keys.
fn slots(keys: &[(u8, SipKey)]) -> [Key; MAX_KEYS] {
    let mut slots = [Key::default(); MAX_KEYS];
    for (id, key) in keys {
        slots[Key::slot(*id) as usize] = Key::new(*id, *key);
    }
    slots
}

/// Makes the acceptor abstain from now on for as long as a lease may last. Returns the end of that
/// time.
pub(crate) fn abstain(ebpf: &mut Ebpf, setup: &Setup) -> Result<Boottime> {
    let votes_from = clock::now().after(setup.max_lease);
    let mut config: Array<_, maps::Config> = map(ebpf, "config")?.try_into()?;
    let value = maps::Config {
        votes_from: votes_from.as_nanos(),
        ..config.get(&0, 0)?
    };
    config.set(0, value, 0)?;
    Ok(votes_from)
}

/// Keeps advertising the previous agent's liveness until the new agent starts, so that peers do not
/// notice the restart. The nonce is reset, so that no answer to the previous agent's probes counts.
fn fill_local(ebpf: &mut Ebpf, setup: &Setup, adopted: Option<&AdoptedState>) -> Result<()> {
    let mut local: Array<_, Local> = map(ebpf, "local")?.try_into()?;
    let left = adopted.map_or_else(|| silent(setup), |adopted| adopted.local);
    let VoterSet {
        version, voters, ..
    } = setup.voter_set;
    let same = (left.config_version, left.voters) == (version, voters);
    let left = Local {
        nonce: 0,
        config_version: version,
        claiming_version: if same { left.claiming_version } else { 0 },
        voters,
        ..left
    };
    local.set(0, left, 0)?;
    Ok(())
}

/// The state of a node without an agent, which announces only the keys that the node accepts.
pub(crate) fn silent(setup: &Setup) -> Local {
    Local {
        config_generation: setup.key_mark,
        config_version: setup.voter_set.version,
        voters: setup.voter_set.voters,
        ..Local::default()
    }
}

/// Gives each guarded address a row, its former one if it had one. Unused rows keep their content
/// but are closed: the programs treat an empty first row as an empty map.
fn fill_guards(
    ebpf: &mut Ebpf,
    setup: &Setup,
    adopted: Option<&AdoptedState>,
    guarded: &[Option<u32>],
) -> Result<()> {
    let inherited = adopted.map_or(&[][..], |adopted| &adopted.guards);
    let wanted: Vec<Address> = setup
        .guards
        .iter()
        .map(|guard| guard.address.address.into())
        .collect();
    let mut used: Vec<GuardPlace> = Vec::new();
    for (place, row) in inherited {
        if wanted.contains(&row.address) {
            used.push(*place);
        } else {
            let closed = GuardRow {
                open_until: 0,
                ..*row
            };
            guard_rows(ebpf)?.set(place.0, closed, 0)?;
            vips(ebpf)?.remove(&row.address)?;
        }
    }
    for (guard, ifindex) in setup.guards.iter().zip(guarded) {
        let ifindex = ifindex.unwrap_or_default();
        let address = Address::from(guard.address.address);
        let old = inherited.iter().find(|(_, row)| row.address == address);
        let place = match old {
            Some((place, _)) => *place,
            None => free(&used)?,
        };
        used.push(place);
        // A lease for another group, or on another interface, opens nothing here.
        let same = |row: &GuardRow| (row.ifindex, row.group) == (ifindex, guard.group.0);
        let open_until = old
            .filter(|(_, row)| same(row))
            .map_or(0, |(_, row)| row.open_until);
        let row = GuardRow {
            address,
            open_until,
            ifindex,
            group: guard.group.0,
            prefix_len: guard.address.len.map_or(0, u16::from),
            ..old.map_or_else(GuardRow::default, |(_, row)| *row)
        };
        guard_rows(ebpf)?.set(place.0, row, 0)?;
        vips(ebpf)?.insert(address, place.0, 0)?;
    }
    Ok(())
}

/// Gives each group its row, with the lease from an earlier row.
fn fill_groups(ebpf: &mut Ebpf, setup: &Setup, adopted: Option<&AdoptedState>) -> Result<()> {
    for index in (0..MAX_SERVED).map(GroupIndex) {
        let row = setup.groups.get(index.0).map(|group| GuardRow {
            open_until: adopted
                .and_then(|adopted| adopted.served_until(*group, clock::now()))
                .map_or(0, Boottime::as_nanos),
            ..group_row(*group)
        });
        let place = GuardPlace::of_group(index);
        guard_rows(ebpf)?.set(place.0, row.unwrap_or_default(), 0)?;
    }
    Ok(())
}

/// Adds a group, with the number `index` among all groups.
pub(crate) fn serve_more(ebpf: &mut Ebpf, index: GroupIndex, group: GroupId) -> Result<()> {
    anyhow::ensure!(index.0 < MAX_SERVED, "too many groups");
    guard_rows(ebpf)?.set(GuardPlace::of_group(index).0, group_row(group), 0)?;
    Ok(())
}

fn group_row(group: GroupId) -> GuardRow {
    GuardRow {
        group: group.0,
        ..GuardRow::default()
    }
}

/// Adds a guarded address, closed, in a free row.
pub(crate) fn guard_more(ebpf: &mut Ebpf, guard: &SetupGuard, ifindex: u32) -> Result<()> {
    let address = Address::from(guard.address.address);
    let used: Vec<GuardPlace> = vips(ebpf)?
        .iter()
        .map(|entry| Ok(GuardPlace(entry?.1)))
        .collect::<Result<_>>()?;
    let place = free(&used)?;
    let row = GuardRow {
        address,
        ifindex,
        group: guard.group.0,
        prefix_len: guard.address.len.map_or(0, u16::from),
        ..GuardRow::default()
    };
    guard_rows(ebpf)?.set(place.0, row, 0)?;
    vips(ebpf)?.insert(address, place.0, 0)?;
    Ok(())
}

/// The first free place for an address.
fn free(used: &[GuardPlace]) -> Result<GuardPlace> {
    GuardPlace::of_addresses()
        .find(|place| !used.contains(place))
        .context("too many addresses")
}

fn guard_rows(ebpf: &mut Ebpf) -> Result<Array<&mut aya::maps::MapData, GuardRow>> {
    Ok(map(ebpf, "guard")?.try_into()?)
}

fn vips(ebpf: &mut Ebpf) -> Result<HashMap<&mut aya::maps::MapData, Address, u32>> {
    Ok(map(ebpf, "vips")?.try_into()?)
}

fn nanos(duration: std::time::Duration) -> Result<u64> {
    u64::try_from(duration.as_nanos()).context("a duration is too long for the kernel")
}
