//! Hostile lease entries: forged, replayed, or from a member that claims another's group. No slot
//! of the service changes, and no node takes it over.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::{
    lease::{Ballot, Operation, Slot},
    maps::MAX_GROUPS,
    time::Boottime,
    wire::NodeId,
};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        MILLISECOND, SOON, Trial,
        attack::{self, counted},
        availability::{longest_silence, servers, wait_served},
        kernel::slots,
        python::Script,
        shortcuts::{options, wait_status, with_cluster},
    },
    needs,
    node::Node,
    wait::observe,
    wait_until,
};
use heartbeat_user::control::protocol::GroupEvent;

/// The longest gap of the client during an attack: far less than any takeover.
const SMALL: Duration = Duration::from_millis(50);

/// The number of the service's group, which script and agent compute alike.
fn service(attacker: &mut Script, node: &Node) -> Result<u64> {
    let group = attacker.count("group service")?;
    let vips = node.control.status()?.vips;
    ensure!(vips[0].group == u16::try_from(group)?, "{vips:#?}, {group}");
    Ok(group)
}

/// The part of a slot that renewals do not change.
fn frozen(slot: &Slot) -> (u32, u32, u64, u64) {
    let Slot {
        owner,
        successor,
        promised,
        ballot,
        ..
    } = *slot;
    (owner, successor, promised, ballot)
}

fn slot_of(node: &Node, group: u64) -> Result<(u32, u32, u64, u64)> {
    let slots = slots(node)?;
    let slot = slots.get(&u32::try_from(group)?);
    slot.map(frozen)
        .with_context(|| format!("{} knows nothing of group {group}", node.name))
}

/// All kinds of lease entries in the name of node `claimed`, with extreme values.
fn claims(service: u64, owner: &Slot, claimed: u16) -> Vec<String> {
    let ballots = [
        0,
        u64::MAX,
        Ballot::new(Ballot::MAX_ROUND, NodeId(claimed)).0,
        Ballot::new(0, NodeId(claimed)).0,
        owner.ballot,
        owner.ballot.saturating_add(1),
    ];
    let mut claims = Vec::new();
    for operation in [0, 1, 2, 3, 4, 5, 255] {
        for group in [service, service ^ 1, 0, u16::MAX.into()] {
            for ballot in ballots {
                for micros in [0, 100_000, u32::MAX] {
                    claims.push(format!("{operation} {group} {ballot} {micros}"));
                }
            }
        }
    }
    claims
}

/// Checks that `owner` alone answered the client all the time, and that no lease was acquired.
fn unharmed(mut trial: Trial, cluster: &Cluster, owner: &str) -> Result<()> {
    let begun_at = trial.client.with_records(|records| records[0].sent);
    wait_served(&trial.client, owner, SOON)?;
    // The gap is counted from after the first answer.
    let since = begun_at.after(200 * MILLISECOND);
    ensure!(*servers(&trial.client, since) == [owner.into()]);
    let gap = longest_silence(&trial.client, since);
    let most = SMALL + trial.stood_still(since);
    ensure!(gap <= most, "the client had no answer for {gap:?}");
    trial.listen(cluster)?;
    trial.event_log.no_down_reports()?;
    let acquisitions = trial.finish(cluster)?.acquisitions;
    ensure!(acquisitions == 0, "it moved {acquisitions} times");
    Ok(())
}

#[test]
fn forged_and_replayed_claims_change_no_slot() -> Result<()> {
    needs!(Cluster, Scapy);
    with_cluster(options(), |cluster| {
        let trial = Trial::begin("forged lease messages", cluster)?;
        trial.settle(cluster)?;
        // Entries to the owner in the name of another node, and to another node in the owner's
        // name.
        for (source, claimed, target) in [("b", 2, "a"), ("a", 1, "b")] {
            let mut attacker = attack::stranger(cluster, source, target)?;
            let node = cluster.node(target)?;
            let group = service(&mut attacker, node)?;
            let before = slots(node)?;
            let slot = before[&u32::try_from(group)?];
            for (who, counter) in [("stranger", "drop_bad_mac"), ("old", "drop_replayed_probe")] {
                let counter_before = node.counter(counter)?;
                let claims = claims(group, &slot, claimed);
                for claim in &claims {
                    attacker.count(&format!("ask {who} {claim}"))?;
                }
                counted(node, counter, counter_before, claims.len() as u64).context(who)?;
            }
            let after = slots(node)?;
            let all = |slots: &BTreeMap<u32, Slot>| -> Vec<_> {
                slots
                    .iter()
                    .map(|(group, slot)| (*group, frozen(slot)))
                    .collect()
            };
            ensure!(all(&after) == all(&before), "{before:#?} became {after:#?}");
        }
        cluster.wait_well(SOON, "a")?;
        unharmed(trial, cluster, "a")
    })
}

#[test]
fn live_lease_cannot_be_taken_even_by_a_member() -> Result<()> {
    needs!(Cluster, Scapy);
    let four = Options {
        nodes: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        ..options()
    };
    Cluster::run(four, |cluster| {
        // The attacker has the key, and speaks as the fourth node.
        for node in ["a", "b", "c"] {
            cluster.start_agent(node)?;
        }
        for node in ["a", "b", "c"] {
            wait_status(cluster.node(node)?, "a serves", |status| {
                status.quorum.alive == 3 && status.vips[0].owner.as_deref() == Some("a")
            })?;
        }
        // The address may return to the best node until then.
        observe(5 * options().lease, || Ok(()))?;
        let trial = Trial::begin("claims of an insider", cluster)?;
        wait_served(&trial.client, "a", SOON)?;
        for target in ["a", "b"] {
            let mut insider = attack::stranger(cluster, "d", target)?;
            let node = cluster.node(target)?;
            let group = service(&mut insider, node)?;
            let before = slot_of(node, group)?;
            let slot = slots(node)?[&u32::try_from(group)?];
            for claim in claims(group, &slot, 4) {
                insider.count(&format!("ask insider {claim}"))?;
            }
            // A member may claim groups without an owner, as many as there is room for.
            let accept = Operation::Accept as u8;
            let ballot = Ballot::new(7, NodeId(4)).0;
            for unknown in 1..=MAX_GROUPS as u64 + 100 {
                if unknown != group {
                    insider.count(&format!("ask insider {accept} {unknown} {ballot} 100000"))?;
                }
            }
            let after = slots(node)?;
            ensure!(after.len() == MAX_GROUPS, "{} slots", after.len());
            ensure!(after[&1].owner == 4, "{:#?}", after[&1]);
            ensure!(slot_of(node, group)? == before, "{before:?}, {slot:?}");
        }
        unharmed(trial, cluster, "a")
    })
}

#[test]
fn replayed_renewals_do_not_keep_a_dead_owners_lease_alive() -> Result<()> {
    needs!(Cluster, Scapy);
    with_cluster(options(), |cluster| {
        let mut trial = Trial::begin("recorded renewals after death", cluster)?;
        ensure!(trial.settle(cluster)? == "a");
        let mut wiretap = attack::wiretap(cluster, "a", "b")?;
        ensure!(wiretap.count("capture probe 60")? == 60);
        let renew = Operation::Renew as u8;
        ensure!(wiretap.count(&format!("recorded {renew}"))? == 60);
        let before = cluster.node("b")?.counter("drop_replayed_probe")?;
        // The replay goes on from before the death until after it, without a pause.
        wiretap.begin("loop")?;
        wait_until(SOON, "replays arrive", || {
            Ok(cluster.node("b")?.counter("drop_replayed_probe")? > before + 10)
        })?;
        let at = trial.strike(cluster, "a", Fault::Kill)?;
        let acquired =
            trial
                .event_log
                .wait(cluster, "b", SOON, "the lease is its own", |what| {
                    matches!(what.of_group(), Some(GroupEvent::LeaseAcquired { .. }))
                })?;
        let took = Boottime::from_nanos(acquired.at_ns).since(at);
        let most = 2 * options().lease + trial.stood_still(at);
        ensure!(took <= most, "it took {took:?}, more than {most:?}");
        trial.succeeded(cluster, "a", at)?;
        observe(5 * options().lease, || cluster.check_agents())?;
        let sent = wiretap.count("stop")?;
        counted(cluster.node("b")?, "drop_replayed_probe", before, sent)?;
        trial.heal(cluster, "a", Fault::Kill)?;
        trial.settle(cluster)?;
        trial.finish(cluster).map(drop)
    })
}

#[test]
fn replayed_release_releases_nothing() -> Result<()> {
    needs!(Cluster, Scapy);
    with_cluster(options(), |cluster| {
        let first = Trial::begin("recorded while it moved", cluster)?;
        ensure!(first.settle(cluster)? == "a");
        let mut wiretap = attack::wiretap(cluster, "a", "b")?;
        let group = service(&mut wiretap, cluster.node("b")?)?;
        wiretap.begin("record probe")?;
        for to in ["b", "a"] {
            let moved = cluster.node("c")?.heartbeat(&["move", "service", to])?;
            moved.success()?;
            wait_served(&first.client, to, SOON)?;
        }
        let frames = wiretap.count("stop")?;
        let release = Operation::Release as u8;
        ensure!(
            wiretap.count(&format!("recorded {release}"))? > 0,
            "{frames}"
        );
        ensure!(first.settle(cluster)? == "a");
        first.finish(cluster)?;

        let trial = Trial::begin("a recorded release", cluster)?;
        wait_served(&trial.client, "a", SOON)?;
        let b = cluster.node("b")?;
        let before = slot_of(b, group)?;
        let dropped = b.counter("drop_replayed_probe")?;
        wiretap.count(&format!("replay {}", 3 * frames))?;
        counted(b, "drop_replayed_probe", dropped, 3 * frames)?;
        observe(5 * options().lease, || Ok(()))?;
        ensure!(slot_of(b, group)? == before, "{before:?}");
        cluster.wait_well(SOON, "a")?;
        unharmed(trial, cluster, "a")
    })
}
