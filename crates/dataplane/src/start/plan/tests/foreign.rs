//! Programs and filters of other owners in the places of ours.

use std::path::Path;

use heartbeat_sys::net::{XdpPlace, XdpProgram};

use super::*;

/// The program of `xdpd` on an interface.
fn program(ifindex: u32) -> ExistingProgram {
    ExistingProgram {
        ifindex,
        program: XdpProgram {
            id: 70 + ifindex,
            place: XdpPlace::Driver,
        },
        name: Some("pass".to_owned()),
        link: None,
        holders: vec!["process 9 (xdpd)".to_owned()],
    }
}

#[test]
fn foreign_program_is_refused_or_evicted_right_before_ours_is_attached() {
    let on_link = "hb0 `pass` (program id 73, native mode, held by process 9 (xdpd))";
    let on_guarded = "web0 `pass` (program id 74, native mode, held by process 9 (xdpd))";
    for (interface, index, attached, replace, expected) in [
        (
            "hb0",
            LINK,
            "Responder(0)",
            false,
            format!("refuse {on_link}"),
        ),
        (
            "hb0",
            LINK,
            "Responder(0)",
            true,
            format!("evict {on_link}"),
        ),
        (
            "web0",
            OTHER,
            "Guard",
            false,
            format!("refuse {on_guarded}"),
        ),
        ("web0", OTHER, "Guard", true, format!("evict {on_guarded}")),
    ] {
        let setup = Setup { replace, ..setup() };
        let seen = Observation {
            programs: BTreeMap::from([(interface.to_owned(), program(index))]),
            ..nothing()
        };
        let mut actions = actions(&setup, &seen);
        let at = actions.iter().position(|line| *line == expected).unwrap();
        let next = format!("{attached} {interface} Auto []");
        assert_eq!(actions[at + 1], next, "{expected}");
        // Everything else is as on a host without the program.
        actions.remove(at);
        assert_eq!(actions, self::actions(&setup, &nothing()), "{expected}");
    }
}

/// Another process has detached our program and attached its own: the pin is left, and its link is
/// on no interface.
#[test]
fn foreign_program_in_the_place_of_ours_is_seen_beside_the_pin_that_is_left() {
    let mut seen = earlier_run(true);
    seen.pins.insert("link_xdp_hb0".to_owned(), Some(0));
    seen.programs.insert("hb0".to_owned(), program(LINK));
    assert_eq!(
        actions(&setup(), &seen)[FIRST + 2..],
        [
            "unpin link_xdp_hb0",
            "guard_egress hb0 Renew",
            "stamp_probe hb0 Renew",
            "refuse hb0 `pass` (program id 73, native mode, held by process 9 (xdpd))",
            "Responder(0) hb0 Auto []",
            "RemoveUnusedLinks",
        ]
    );
}

#[test]
fn foreign_filter_is_refused_where_ours_would_be_and_nowhere_else() {
    let stamp = |handle| EgressFilter {
        handle,
        ..filter::of("stamp_probe", Path::new("/shaper"))
    };
    let place = filter::of("stamp_probe", Path::new("/shaper"));
    for (tc_links, interface, other, refused) in [
        (false, "hb0", place.clone(), Some("stamp_probe hb0 Filter")),
        // The guard has another priority, and web0 has no stamp.
        (false, "web0", place.clone(), None),
        (false, "hb0", stamp(1), None),
        (true, "hb0", place, None),
    ] {
        let seen = Observation {
            tc_links,
            filters: BTreeMap::from([(interface.to_owned(), vec![other])]),
            ..nothing()
        };
        let actions = actions(&setup(), &seen);
        let at = actions.iter().position(|line| line.starts_with("refuse"));
        let next = at.map(|at| actions[at + 1].as_str());
        assert_eq!(next, refused, "{actions:?}");
        assert!(at.is_none_or(|at| actions[at] == "refuse hb0 filter /shaper"));
    }
}
