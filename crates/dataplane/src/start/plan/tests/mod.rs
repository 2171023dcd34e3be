//! Plans by tables: an observation and the expected actions.

mod foreign;
mod refusals;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use heartbeat_common::{
    maps::{Address, GuardRow, Local},
    wire::{ClusterId, GroupId, LinkId, NodeId, VoterSet},
};

use super::{super::adopted::AdoptedState, *};
use crate::{
    attach::sockets::Scope,
    maps::guard_place::GuardPlace,
    setup::{SetupGuard, SetupLink},
};

const LINK: u32 = 3;
const OTHER: u32 = 4;
const NOW: Boottime = Boottime::from_nanos(1_000_000_000);
const LATER: Boottime = Boottime::from_nanos(1_500_000_000);

/// A node with a link on `hb0` and an address of group 7 on `web0`.
fn setup() -> Setup {
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
            interface: "hb0".to_owned(),
            address: IpAddr::from([10, 0, 0, 1]),
            mode: XdpMode::Auto,
        }],
        peers: Vec::new(),
        guards: vec![SetupGuard {
            group: GroupId(7),
            address: "10.1.0.9/24".parse().unwrap(),
            interface: "web0".to_owned(),
        }],
        replace: false,
        groups: vec![GroupId(7)],
        voter_set: VoterSet {
            version: 5,
            claiming: 0,
            voters: 1,
        },
    }
}

/// An observation of interfaces without anything on them.
fn nothing() -> Observation {
    Observation {
        now: NOW,
        directory: Directory::Missing,
        links: vec![Some(LINK)],
        guarded: vec![Some(OTHER)],
        state: None,
        longest_grant: Boottime::default(),
        stale: Vec::new(),
        pins: BTreeMap::new(),
        programs: BTreeMap::new(),
        filters: BTreeMap::new(),
        tc_links: true,
        sockets: Ok(Scope::All),
    }
}

/// An earlier run with that setup left all of its pins. `programs`: they have room.
fn earlier_run(programs: bool) -> Observation {
    let maps = KEPT.into_iter().chain(BOUND).chain([LOGS.1]);
    let mut pins: BTreeMap<String, Option<u32>> =
        maps.map(|name| (name.to_owned(), None)).collect();
    let links = [
        ("link_guard_received", None),
        ("link_guard_sent", None),
        ("link_guard_egress_hb0", Some(LINK)),
        ("link_tc_hb0", Some(LINK)),
        ("link_xdp_hb0", Some(LINK)),
        ("link_guard_egress_web0", Some(OTHER)),
        ("link_xdp_web0", Some(OTHER)),
        ("prog_responder", None),
    ];
    pins.extend(links.map(|(name, on)| (name.to_owned(), on)));
    Observation {
        directory: Directory::Claimed,
        state: Some(state(programs)),
        pins,
        ..nothing()
    }
}

fn state(programs: bool) -> AdoptedState {
    let open = |address: Option<IpAddr>| GuardRow {
        address: address.map(Address::from).unwrap_or_default(),
        open_until: LATER.as_nanos(),
        ifindex: OTHER,
        group: 7,
        ..GuardRow::default()
    };
    AdoptedState {
        votes_from: 0,
        local: Local {
            config_version: 5,
            ..Local::default()
        },
        programs,
        guards: vec![(GuardPlace(0), open(Some(IpAddr::from([10, 1, 0, 9]))))],
        groups: vec![open(None)],
    }
}

fn plan(setup: &Setup, seen: &Observation) -> Plan {
    Plan::new(setup, seen).unwrap()
}

/// The actions, as one word or line each.
fn actions(setup: &Setup, seen: &Observation) -> Vec<String> {
    let actions = plan(setup, seen).actions;
    actions.iter().map(one).collect()
}

fn one(action: &Action) -> String {
    match action {
        Action::UnpinStranger(pin) => format!("unpin {pin}"),
        Action::Tc {
            program,
            interface,
            way,
        } => format!("{program} {interface} {way:?}"),
        Action::Xdp {
            program,
            interface,
            former,
            mode,
        } => format!("{program:?} {interface} {mode:?} {former:?}"),
        Action::Evict {
            interface,
            existing,
        } => format!("evict {interface} {existing}"),
        Action::Refuse { interface, foreign } => match foreign {
            Foreign::Program(existing) => format!("refuse {interface} {existing}"),
            Foreign::Filter(other) => format!("refuse {interface} filter {}", other.name),
        },
        other => format!("{other:?}"),
    }
}

#[test]
fn fresh_start_loads_all_and_abstains() {
    let fresh = plan(&setup(), &nothing());
    assert_eq!(fresh.keep, Keep::Nothing);
    assert_eq!(fresh.inherited, [None]);
    assert_eq!(fresh.inherited_groups, [None]);
    assert_eq!(
        actions(&setup(), &nothing()),
        [
            "Claim",
            "Sweep",
            "RemoveLeftovers",
            "MakeMaps",
            "Fill",
            "LoadPrograms",
            "LoadSocketPrograms",
            "PinMaps",
            "GuardSockets",
            "guard_egress web0 Attach",
            "Guard web0 Auto []",
            "guard_egress hb0 Attach",
            "stamp_probe hb0 Attach",
            "Responder(0) hb0 Auto []",
            "RemoveUnusedLinks",
            "Abstain",
        ]
    );
}

/// The position of the first action on an interface, after the actions of any start with guarded
/// addresses, of which `GuardSockets` is the last.
const FIRST: usize = 9;

const RENEWAL: [&str; 6] = [
    "guard_egress web0 Renew",
    "Guard web0 Auto [Renew(Native)]",
    "guard_egress hb0 Renew",
    "stamp_probe hb0 Renew",
    "Responder(0) hb0 Auto [Renew(Native)]",
    "RemoveUnusedLinks",
];

#[test]
fn same_object_keeps_its_programs_and_votes_at_once() {
    let seen = earlier_run(true);
    let same = plan(&setup(), &seen);
    assert_eq!(same.keep, Keep::Programs);
    assert_eq!(same.inherited, [Some(LATER)]);
    assert_eq!(same.inherited_groups, [Some(LATER)]);
    let actions = actions(&setup(), &seen);
    assert_eq!(actions[5], "ForgetReplies");
    assert_eq!(actions[FIRST..], RENEWAL);
}

#[test]
fn other_object_gets_new_programs_onto_the_old_links_and_votes_at_once() {
    let seen = earlier_run(false);
    assert_eq!(plan(&setup(), &seen).keep, Keep::Votes);
    let actions = actions(&setup(), &seen);
    assert_eq!(actions[5], "LoadPrograms");
    assert_eq!(actions[FIRST..], RENEWAL);
}

/// A map layout of another release cannot be continued: nothing of it counts, not even its links.
#[test]
fn other_layout_is_treated_as_a_fresh_start() {
    let seen = Observation {
        state: None,
        ..earlier_run(true)
    };
    assert_eq!(plan(&setup(), &seen).keep, Keep::Nothing);
    assert_eq!(actions(&setup(), &seen), actions(&setup(), &nothing()));
}

#[test]
fn pins_are_kept_as_far_as_they_can_be_gone_on_with() {
    for (pin, votes, programs) in [
        ("leases", true, true),
        ("guard", true, true),
        ("vips", true, true),
        ("link_xdp_hb0", true, true),
        ("link_tc_gone0", true, true),
        ("prog_responder", false, true),
        ("peers", false, true),
        ("aya_logs", false, true),
        ("processes", false, false),
        ("unknown", false, false),
    ] {
        let keeps = [Keep::Nothing, Keep::Votes, Keep::Programs].map(|keep| keep.keeps(pin));
        assert_eq!(keeps, [false, votes, programs], "{pin}");
    }
    assert_eq!(Keep::Nothing.maps(), Keep::Votes.maps());
    assert!(Keep::Programs.maps().contains(&LOGS));
}

#[test]
fn renamed_interface_loses_the_links_of_the_one_that_had_its_name() {
    let mut seen = earlier_run(true);
    // The card that was hb0 has another name, and a new card has the name hb0; web0 is gone.
    seen.links = vec![Some(9)];
    seen.pins.insert("link_xdp_web0".to_owned(), Some(0));
    assert_eq!(
        actions(&setup(), &seen)[FIRST..],
        [
            "unpin link_xdp_web0",
            "guard_egress web0 Renew",
            "Guard web0 Auto []",
            "unpin link_xdp_hb0",
            "unpin link_tc_hb0",
            "unpin link_guard_egress_hb0",
            "guard_egress hb0 Attach",
            "stamp_probe hb0 Attach",
            "Responder(0) hb0 Auto []",
            "RemoveUnusedLinks",
        ]
    );
}

#[test]
fn address_that_moved_to_another_interface_inherits_nothing() {
    let seen = Observation {
        guarded: vec![Some(9)],
        ..earlier_run(true)
    };
    assert_eq!(plan(&setup(), &seen).inherited, [None]);
    // By the lease alone, the group may be served.
    assert_eq!(plan(&setup(), &seen).inherited_groups, [Some(LATER)]);
    let late = Observation {
        now: LATER,
        ..earlier_run(true)
    };
    assert_eq!(plan(&setup(), &late).inherited, [None]);
    assert_eq!(plan(&setup(), &late).inherited_groups, [None]);
}

#[test]
fn crash_between_two_links_is_made_good() {
    let mut seen = earlier_run(true);
    // An earlier run that was killed before it stamped probes. A link without information may be
    // the right one.
    seen.pins.remove("link_tc_hb0");
    seen.pins.insert("link_xdp_hb0".to_owned(), None);
    seen.pins.insert("link_xdpskb_hb0".to_owned(), Some(LINK));
    assert_eq!(
        actions(&setup(), &seen)[FIRST + 2..],
        [
            "guard_egress hb0 Renew",
            "stamp_probe hb0 Attach",
            "Responder(0) hb0 Auto [Renew(Native), Renew(Skb)]",
            "RemoveUnusedLinks",
        ]
    );
}

#[test]
fn mode_that_is_not_wanted_any_more_is_left() {
    for (mode, pin, expected) in [
        (XdpMode::Native, "link_xdpskb_hb0", "[Unpin(Skb)]"),
        (XdpMode::Skb, "link_xdp_hb0", "[Unpin(Native)]"),
        (XdpMode::Skb, "link_xdpskb_hb0", "[Renew(Skb)]"),
        (XdpMode::Auto, "link_xdpskb_hb0", "[Renew(Skb)]"),
    ] {
        let mut seen = earlier_run(true);
        seen.pins.remove("link_xdp_hb0");
        seen.pins.insert(pin.to_owned(), Some(LINK));
        let mut setup = setup();
        setup.links[0].mode = mode;
        let expected = format!("Responder(0) hb0 {mode:?} {expected}");
        assert!(actions(&setup, &seen).contains(&expected), "{mode:?} {pin}");
    }
}

#[test]
fn kernel_without_tc_links_gets_filters() {
    let seen = Observation {
        tc_links: false,
        ..nothing()
    };
    let actions = actions(&setup(), &seen);
    let filters = actions.iter().filter(|line| line.ends_with(" Filter"));
    let filters: Vec<&String> = filters.collect();
    assert_eq!(
        filters,
        [
            "guard_egress web0 Filter",
            "guard_egress hb0 Filter",
            "stamp_probe hb0 Filter"
        ]
    );
}

#[test]
fn missing_interface_and_missing_rights_at_sockets_are_left_out() {
    let seen = Observation {
        guarded: vec![None],
        sockets: Err("no".to_owned()),
        ..nothing()
    };
    assert_eq!(
        actions(&setup(), &seen)[6..],
        [
            "PinMaps",
            "GuardSockets",
            "guard_egress hb0 Attach",
            "stamp_probe hb0 Attach",
            "Responder(0) hb0 Auto []",
            "RemoveUnusedLinks",
            "Abstain",
        ]
    );
}

#[test]
fn node_without_addresses_guards_nothing() {
    let setup = Setup {
        guards: Vec::new(),
        ..setup()
    };
    let seen = Observation {
        guarded: Vec::new(),
        ..nothing()
    };
    let actions = actions(&setup, &seen);
    assert!(
        !actions.iter().any(|line| line.contains("guard")),
        "{actions:?}"
    );
    assert!(!actions.contains(&"GuardSockets".to_owned()), "{actions:?}");
}

#[test]
fn pins_are_claimed_before_the_sweep_and_the_sweep_comes_before_all_that_is_undone() {
    for seen in [nothing(), earlier_run(false), earlier_run(true)] {
        let actions = plan(&setup(), &seen).actions;
        assert_eq!(actions[..2], [Action::Claim, Action::Sweep]);
        assert_eq!(actions[2], Action::RemoveLeftovers);
        let untouched = actions.iter().map(Action::changes_nothing);
        assert_eq!(untouched.filter(|untouched| *untouched).count(), 2);
    }
}
