//! The row allocator of the map `peers`, for peers that come and go.
//!
//! A row belongs to one link to one peer for as long as that is on the allow-list, together with
//! the replay window and the deadline timer in the row. A free row is emptied, then given to the
//! next new peer.

use std::collections::{self, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use heartbeat_common::{
    index::RowPlace,
    maps::{Address, MAX_ROWS, PeerRow, PeerSlot},
};

use super::access::{array, map, rows_of};
use crate::setup::Setup;

/// Number of nodes that may be added while the programs stay, beside the nodes at the time of
/// loading.
const SPARE_NODES: usize = 8;

/// The content of the allow-list.
type Allowed = collections::HashMap<Address, PeerSlot>;

/// Number of rows of a new map for `setup`.
pub(crate) fn capacity(setup: &Setup) -> usize {
    let spare = SPARE_NODES * setup.links.len();
    (setup.rows() + spare).min(MAX_ROWS).max(setup.rows())
}

/// The place of each row that `setup` needs, in the order of the rows, in a map with `capacity`
/// places. A peer that is in `there` keeps its place. `None` if there are too few places.
pub(crate) fn assign(
    setup: &Setup,
    there: &Allowed,
    capacity: usize,
) -> Result<Option<Vec<RowPlace>>> {
    let wanted = allowed(setup)?;
    let kept = |(address, slot): &(Address, PeerSlot)| {
        let old = there.get(address)?;
        let same = (old.node, old.link) == (slot.node, slot.link);
        (same && (old.row as usize) < capacity).then_some(RowPlace(old.row))
    };
    let used: BTreeSet<RowPlace> = wanted.iter().filter_map(kept).collect();
    let all = (0..u32::try_from(capacity)?).map(RowPlace);
    let mut free = all.filter(|place| !used.contains(place));
    let places = wanted.iter().map(|one| kept(one).or_else(|| free.next()));
    Ok(places.collect())
}

/// The peers whose probes are answered, each with the number of its row.
pub(crate) fn allowed(setup: &Setup) -> Result<Vec<(Address, PeerSlot)>> {
    let own = setup
        .links
        .first()
        .map(|link| (setup.node, link.id, link.address));
    let mut entries = Vec::new();
    for (row, (node, link, address)) in setup.peers.iter().copied().chain(own).enumerate() {
        let slot = PeerSlot {
            row: u32::try_from(row)?,
            node: node.0,
            link: link.0.into(),
        };
        entries.push((Address::from(address), slot));
    }
    Ok(entries)
}

/// Puts the peers of `setup` on the allow-list, in these places, and removes all others.
pub(crate) fn allow(ebpf: &mut Ebpf, setup: &Setup, places: &[RowPlace]) -> Result<()> {
    let there = {
        let there: HashMap<_, Address, PeerSlot> = map(ebpf, "allow")?.try_into()?;
        read(&there)?
    };
    let wanted: Allowed = allowed(setup)?
        .into_iter()
        .zip(places)
        .map(|((address, slot), place)| {
            let row = place.0;
            (address, PeerSlot { row, ..slot })
        })
        .collect();
    let gone = |address: &&Address| wanted.get(*address) != there.get(*address);
    // Removals come first, before another peer gets the row.
    let mut list: HashMap<_, Address, PeerSlot> = map(ebpf, "allow")?.try_into()?;
    for address in there.keys().filter(gone) {
        list.remove(address)?;
    }
    let new = |(address, slot): &(&Address, &PeerSlot)| there.get(*address) != Some(*slot);
    let new: Vec<(Address, PeerSlot)> = wanted.iter().filter(new).map(|(a, s)| (*a, *s)).collect();
    let mut rows: Array<_, PeerRow> = map(ebpf, "peers")?.try_into()?;
    for (_, slot) in &new {
        rows.set(slot.row, PeerRow::default(), 0)?;
    }
    let mut list: HashMap<_, Address, PeerSlot> = map(ebpf, "allow")?.try_into()?;
    for (address, slot) in new {
        list.insert(address, slot, 0)?;
    }
    Ok(())
}

/// The present content of the allow-list.
pub(crate) fn read<T: std::borrow::Borrow<MapData>>(
    map: &HashMap<T, Address, PeerSlot>,
) -> Result<Allowed> {
    let entries = map.iter().collect::<Result<_, _>>();
    entries.context("could not read the map `allow`")
}

/// The places of the peers, or an error if the map has no room for them.
pub(crate) fn fit(setup: &Setup, there: &Allowed, capacity: usize) -> Result<Vec<RowPlace>> {
    room(setup.rows(), capacity)?;
    Ok(assign(setup, there, capacity)?.unwrap_or_default())
}

/// The places of the peers' rows, beside the present content of the maps.
pub(crate) fn place(ebpf: &mut Ebpf, setup: &Setup) -> Result<Vec<RowPlace>> {
    let capacity = rows_of(array(ebpf, "peers")?)?;
    let there: HashMap<_, Address, PeerSlot> = map(ebpf, "allow")?.try_into()?;
    fit(setup, &read(&there)?, capacity)
}

/// Checks that a map with `capacity` rows has room for this many.
pub(crate) fn room(rows: usize, capacity: usize) -> Result<()> {
    ensure!(
        rows <= capacity,
        "the kernel's maps have {capacity} rows, of which {rows} are needed: restart the agent to \
        make larger ones"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::IpAddr, time::Duration};

    use heartbeat_common::wire::{ClusterId, LinkId, NodeId};

    use crate::setup::{SetupLink, XdpMode};

    fn ip(node: u16) -> IpAddr {
        IpAddr::from([10, 0, 0, node as u8])
    }

    /// Node 1 with these peers.
    fn setup(peers: &[u16]) -> Setup {
        Setup {
            instance: "test".to_owned(),
            cluster: ClusterId(1),
            node: NodeId(1),
            port: 694,
            timeout: Duration::from_secs(1),
            max_lease: Duration::from_secs(1),
            keys: Vec::new(),
            key_mark: 1,
            links: vec![SetupLink {
                id: LinkId(0),
                interface: "eth0".to_owned(),
                address: ip(1),
                mode: XdpMode::Auto,
            }],
            peers: peers
                .iter()
                .map(|peer| (NodeId(*peer), LinkId(0), ip(*peer)))
                .collect(),
            guards: Vec::new(),
            replace: false,
            groups: Vec::new(),
            voter_set: Default::default(),
        }
    }

    fn there(setup: &Setup, places: &[RowPlace]) -> Allowed {
        let slots = allowed(setup).unwrap().into_iter().zip(places);
        slots
            .map(|((address, slot), place)| {
                let row = place.0;
                (address, PeerSlot { row, ..slot })
            })
            .collect()
    }

    #[test]
    fn staying_peer_keeps_its_row_and_new_peer_gets_a_free_one() {
        let (before, after) = (setup(&[2, 3]), setup(&[2, 4, 3]));
        let first = assign(&before, &Allowed::new(), capacity(&before))
            .unwrap()
            .unwrap();
        assert_eq!(first, [0, 1, 2].map(RowPlace));
        let second = assign(&after, &there(&before, &first), capacity(&before))
            .unwrap()
            .unwrap();
        assert_eq!(second, [0, 3, 1, 2].map(RowPlace));
        // The peer in the middle goes, and another one takes its place.
        let third = setup(&[5, 2, 3]);
        let places = assign(&third, &there(&after, &second), capacity(&before))
            .unwrap()
            .unwrap();
        assert_eq!(places, [3, 0, 1, 2].map(RowPlace));
    }

    #[test]
    fn peer_with_the_address_of_another_gets_no_row_of_its_own_past() {
        let before = setup(&[2, 3]);
        let mut after = setup(&[2, 3]);
        after.peers[0].0 = NodeId(9);
        let first = assign(&before, &Allowed::new(), 11).unwrap().unwrap();
        let places = assign(&after, &there(&before, &first), 11)
            .unwrap()
            .unwrap();
        // The row may be the same, but it is emptied: the slot differs.
        let (old, new) = (there(&before, &first), there(&after, &places));
        assert_ne!(old[&Address::from(ip(2))], new[&Address::from(ip(2))]);
        assert_eq!(old[&Address::from(ip(3))], new[&Address::from(ip(3))]);
    }

    #[test]
    fn map_without_room_is_no_place() {
        let many: Vec<u16> = (2..20).collect();
        let few = setup(&[2]);
        assert_eq!(capacity(&few), 10);
        assert!(
            assign(&setup(&many), &Allowed::new(), capacity(&few))
                .unwrap()
                .is_none()
        );
        let message = fit(&setup(&many), &Allowed::new(), 10)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("have 10 rows, of which 19 are needed"),
            "{message}"
        );
    }
}
