//! The BPF object: the loader's expectations, as far as they can be checked without loading it.
//!
//! These tests need no privilege.

use std::fs;

use aya_obj::{
    Map, Object, ProgramSection,
    generated::bpf_map_type::{
        self, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
        BPF_MAP_TYPE_RINGBUF,
    },
    programs::CgroupSkbAttachType,
};
use heartbeat_common::{
    exits::{ExitEvent, MAX_WATCHED, WatchedProcess},
    maps::{
        ARRIVAL_SLOTS, Address, Config, DeadlineEvent, GUARD_ROWS, GuardRow, Key, LeaseRow, Link,
        Local, MAX_GROUPS, MAX_KEYS, MAX_ROWS, MAX_SENDERS, MAX_VIPS, PeerRow, PeerSlot, VoteEvent,
    },
    verdict,
    wire::MAX_LINKS,
};
use heartbeat_tests::{
    kernel::{self, btf},
    needs,
};

/// `BPF_F_MMAPABLE`, include/uapi/linux/bpf.h.
const MMAPABLE: u32 = 1 << 10;

fn object() -> Object {
    let path = kernel::object().expect("the path of the object");
    let data = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Object::parse(&data).expect("an object that aya can parse")
}

#[test]
fn object_has_the_programs_under_a_licence_that_helpers_require() {
    needs!(Object);
    let object = object();
    let mut names: Vec<&str> = object.programs.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "guard_egress",
            "guard_ingress",
            "guard_received",
            "guard_sent",
            "leader_exit",
            "process_exit",
            "responder",
            "stamp_probe"
        ]
    );
    for name in ["responder", "guard_ingress"] {
        assert!(
            matches!(
                object.programs[name].section,
                ProgramSection::Xdp { frags: true, .. }
            ),
            "{name}"
        );
    }
    for name in ["stamp_probe", "guard_egress"] {
        assert!(
            matches!(
                object.programs[name].section,
                ProgramSection::SchedClassifier
            ),
            "{name}"
        );
    }
    assert!(matches!(
        object.programs["guard_received"].section,
        ProgramSection::CgroupSkb {
            attach_type: Some(CgroupSkbAttachType::Ingress)
        }
    ));
    assert!(matches!(
        object.programs["guard_sent"].section,
        ProgramSection::CgroupSkb {
            attach_type: Some(CgroupSkbAttachType::Egress)
        }
    ));
    for name in ["process_exit", "leader_exit"] {
        assert!(
            matches!(object.programs[name].section, ProgramSection::RawTracePoint),
            "{name}"
        );
    }
    assert_eq!(object.license.to_str(), Ok("Dual MIT/GPL"));
}

#[test]
fn object_has_the_maps_with_the_layouts_of_the_contract() {
    needs!(Object);
    let object = object();
    let expect =
        |name: &str, kind: bpf_map_type, key: usize, value: usize, entries: usize, flags| {
            let map = object
                .maps
                .get(name)
                .unwrap_or_else(|| panic!("no map {name}"));
            let got = (
                map.map_type(),
                map.key_size(),
                map.value_size(),
                map.max_entries(),
            );
            assert_eq!(
                got,
                (kind as u32, key as u32, value as u32, entries as u32),
                "{name}"
            );
            assert_eq!(map.map_flags(), flags, "flags of {name}");
        };
    let (array, hash) = (BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH);
    expect("config", array, 4, size_of::<Config>(), 1, 0);
    expect("keys", array, 4, size_of::<Key>(), MAX_KEYS, 0);
    expect("local", array, 4, size_of::<Local>(), 1, MMAPABLE);
    expect(
        "links",
        hash,
        size_of::<Address>(),
        size_of::<Link>(),
        MAX_LINKS,
        0,
    );
    expect(
        "allow",
        hash,
        size_of::<Address>(),
        size_of::<PeerSlot>(),
        MAX_ROWS,
        0,
    );
    expect("senders", hash, size_of::<u64>(), 4, MAX_SENDERS, 0);
    expect("peers", array, 4, size_of::<PeerRow>(), MAX_ROWS, MMAPABLE);
    expect(
        "guard",
        array,
        4,
        size_of::<GuardRow>(),
        GUARD_ROWS,
        MMAPABLE,
    );
    expect("vips", hash, size_of::<Address>(), 4, MAX_VIPS, 0);
    expect("leases", hash, 4, size_of::<LeaseRow>(), MAX_GROUPS, 0);
    expect("votes", BPF_MAP_TYPE_RINGBUF, 0, 0, 256 * 1024, 0);
    // The value is a `bpf_timer` of 16 bytes and two words.
    expect("watch", array, 4, 32, MAX_ROWS, 0);
    expect(
        "counters",
        BPF_MAP_TYPE_PERCPU_ARRAY,
        4,
        size_of::<u64>(),
        verdict::COUNTERS,
        0,
    );
    expect(
        "arrivals",
        BPF_MAP_TYPE_PERCPU_ARRAY,
        4,
        size_of::<u64>(),
        ARRIVAL_SLOTS,
        0,
    );
    expect(
        "last_report",
        BPF_MAP_TYPE_PERCPU_ARRAY,
        4,
        size_of::<u64>(),
        1,
        0,
    );
    expect("events", BPF_MAP_TYPE_RINGBUF, 0, 0, 256 * 1024, 0);
    expect(
        "processes",
        hash,
        4,
        size_of::<WatchedProcess>(),
        MAX_WATCHED,
        0,
    );
    expect("exits", BPF_MAP_TYPE_RINGBUF, 0, 0, 64 * 1024, 0);
}

#[test]
fn responder_locks_the_slot_that_it_votes_by() {
    needs!(Object);
    let object = object();
    // `enum bpf_func_id`, include/uapi/linux/bpf.h: `bpf_spin_lock` and `bpf_spin_unlock`.
    const HELPERS: [i32; 2] = [93, 94];
    /// A call of a helper: `BPF_JMP | BPF_CALL`.
    const CALL: u8 = 0x85;
    let key = object.programs["responder"].function_key();
    let instructions = &object.functions[&key].instructions;
    let calls = |helper: i32| {
        let mut calls = instructions.iter();
        calls.any(|call| call.code == CALL && call.src_reg() == 0 && call.imm == helper)
    };
    assert_eq!(HELPERS.map(calls), [true, true]);
}

#[test]
fn object_pins_no_map() {
    needs!(Object);
    let object = object();
    for (name, map) in &object.maps {
        // The loader chooses the path of a pin, since all instances share one tree.
        assert_eq!(map.pinning(), aya_obj::maps::PinningType::None, "{name}");
    }
}

/// The name and the offset of each field, in the layout of this test's compiler.
macro_rules! layout {
    ($type:ident { $($field:ident),* $(,)? }) => {{
        // This does not compile if a field is missing from the list.
        let _ = |$type { $($field: _),* }: $type| {};
        btf::Structure {
            name: stringify!($type).to_owned(),
            size: size_of::<$type>(),
            fields: vec![$((stringify!($field).to_owned(), core::mem::offset_of!($type, $field))),*],
        }
    }};
}

#[test]
fn btf_names_every_field_at_its_offset() {
    needs!(Object);
    let object = object();
    let data = object.btf.as_ref().expect("an object with BTF").to_bytes();
    let value_of = |name: &str| match &object.maps[name] {
        Map::Btf(map) => btf::structure(&data, map.def.btf_value_type_id).unwrap(),
        Map::Legacy(_) => panic!("{name} is no BTF map"),
    };
    assert_eq!(
        value_of("peers"),
        layout!(PeerRow {
            last_reply_at,
            last_reply_seq,
            reply_seq,
            reply_window,
            rtt_ns,
            replies,
            late_replies,
            last_probe_at,
            last_probe_seq,
            probes_left,
            last_asked_at,
            asked_incarnation,
            asked_seq,
            asked_window,
            answered,
            deadline_fired_at,
            deadlines,
            events_lost,
            incarnation,
            config_generation,
            pulse_age_us,
            control_age_us,
            health,
            load,
            groups_owned,
            state,
            report,
            voters,
            config_version,
            claiming_version,
            bad_tags,
            unknown_keys,
            refused_at,
            refused_from,
            sent_at,
            rtt_ring,
        })
    );
    assert_eq!(
        value_of("config"),
        layout!(Config {
            layout_version,
            cluster,
            timeout_ns,
            votes_from,
            max_lease_ns,
            node,
            port,
            zero,
            object,
            namespace
        })
    );
    assert_eq!(value_of("keys"), layout!(Key { k0, k1, id, valid }));
    assert_eq!(
        value_of("local"),
        layout!(Local {
            incarnation,
            nonce,
            pulse_tick_at,
            reason_tick_at,
            config_generation,
            health,
            load,
            groups_owned,
            state,
            key_id,
            report,
            kernel_health,
            reserved,
            voters,
            config_version,
            claiming_version,
        })
    );
    assert_eq!(
        value_of("guard"),
        layout!(GuardRow {
            address,
            open_until,
            dropped_in,
            dropped_out,
            ifindex,
            group,
            prefix_len,
        })
    );
    assert_eq!(
        value_of("leases"),
        layout!(LeaseRow {
            lock,
            reserved,
            slot
        })
    );
    assert_eq!(
        value_of("votes"),
        layout!(VoteEvent {
            row,
            count,
            sequence,
            t1,
            entries
        })
    );
    assert_eq!(value_of("links"), layout!(Link { ifindex, link }));
    assert_eq!(value_of("allow"), layout!(PeerSlot { row, node, link }));
    assert_eq!(
        value_of("processes"),
        layout!(WatchedProcess {
            since,
            token,
            health
        })
    );
    assert_eq!(value_of("exits"), layout!(ExitEvent { pid, token, at }));
    assert_eq!(
        value_of("events"),
        layout!(DeadlineEvent {
            row,
            reserved,
            last_reply_at,
            deadline_at,
            fired_at
        })
    );
}
