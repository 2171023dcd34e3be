//! Recorded runs of three nodes as text, by the same renderer as `heartbeat replay`: interval 10
//! ms, timeout 30 ms, lease 60 ms. Each record is replayed first, and must give the recorded
//! decisions.
//!
//! The traces are compared with `traces/*.txt`; docs/design/replay.md quotes one of them. After an
//! intended change of decisions, `BLESS=1 cargo test -p heartbeat-core --test decisions traces`
//! writes them anew. Read the difference.

use std::{borrow::Cow, fmt::Write as _, fs, path};

use heartbeat_common::{
    time::Boottime,
    wire::{LinkId, NodeId},
};
use heartbeat_core::{
    Command,
    index::GroupIndex,
    record::{DecodeError, Decoder, Entry, Input, Outcome, Replay, VERSION, text::Line},
};

use crate::support::{MS, START, net::Path, story::recorded_cluster, world::World};

/// Three nodes whose agents are recorded from their start; node 1 serves.
fn recorded() -> World {
    let world = recorded_cluster();
    assert_eq!(world.servers(0), [0]);
    world
}

fn record(world: &World, machine: usize) -> &[u8] {
    let agent = world.machines[machine].agent.as_ref();
    let record = agent.and_then(|agent| agent.record.as_ref());
    &record.expect("its agent is recorded").bytes
}

/// The steps of a record, each with the new and the recorded decisions.
fn replayed(record: &[u8]) -> Vec<(Boottime, Vec<Command>, Vec<Command>)> {
    let mut replay = Replay::default();
    let entries = Decoder::new(record).expect("it is a record");
    let outcomes = entries.map(|entry| {
        let entry = entry.expect("the entry is whole");
        replay.apply(entry).expect("the entry can be replayed")
    });
    let steps = outcomes.filter_map(|outcome| match outcome {
        Outcome::Step {
            at,
            decided,
            recorded,
        } => Some((at, decided, recorded)),
        Outcome::Nothing | Outcome::End(_) => None,
    });
    steps.collect()
}

/// The decisions of nodes after `since`, from their records.
fn trace(world: &World, nodes: &[u16], since: u64) -> String {
    let since = Boottime::from_nanos(since);
    let mut lines = Vec::new();
    for node in nodes {
        for (at, decided, recorded) in replayed(record(world, usize::from(*node) - 1)) {
            assert_eq!(decided, recorded, "node {node} at {at}");
            let told = decided.into_iter().filter(|_| at >= since);
            lines.extend(told.map(|command| (at, *node, command)));
        }
    }
    lines.sort_by_key(|(at, node, _)| (*at, *node));
    lines
        .iter()
        .fold(String::new(), |mut text, (at, node, command)| {
            let line = Line {
                since,
                at: *at,
                command,
            };
            let millis = line.when().to_string();
            let _ = writeln!(text, "{millis:>12}  node {node}: {}", line.what());
            text
        })
}

/// Compares `text` with the trace of this name, or writes the trace.
fn compare(name: &str, text: &str) {
    let path = path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let path = path.join(name).with_extension("txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).expect("the trace can be written");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, known,
        "the trace {name} differs: if that is intended, run with BLESS=1"
    );
}

#[test]
fn takeover_when_the_owner_dies() {
    let mut world = recorded();
    let since = world.now;
    world.crash(0);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [1]);
    compare("takeover", &trace(&world, &[2, 3], since));
}

#[test]
fn takeover_is_quoted_as_it_is() {
    let root = path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("the file is there");
    let trace = read("tests/traces/takeover.txt");
    assert!(read("../../docs/design/replay.md").contains(&trace));
}

#[test]
fn move_by_an_operator() {
    let mut world = recorded();
    let since = world.now;
    world.move_to(0, 0, NodeId(3));
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [2]);
    compare("move", &trace(&world, &[1, 2, 3], since));
}

#[test]
fn partition_of_the_owner() {
    let mut world = recorded();
    let since = world.now;
    for to in 1..3 {
        let path = Path {
            from: 0,
            to,
            link: LinkId(0),
        };
        world.net.block(path);
        world.net.block(path.back());
    }
    world.run_for(300 * MS);
    assert_eq!(world.servers(0), [1]);
    compare("partition", &trace(&world, &[1, 2, 3], since));
}

#[test]
fn restart_of_the_owner_s_agent() {
    let mut world = recorded();
    let since = world.now;
    world.restart_agent(0);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [0]);
    compare("restart", &trace(&world, &[1, 2, 3], since));
}

#[test]
fn record_that_is_cut_anywhere_replays_up_to_there() {
    let mut world = recorded();
    world.crash(0);
    world.run_for(100 * MS);
    let whole = record(&world, 1);
    let count = Decoder::new(whole).expect("it is a record").count();
    for len in (0..whole.len()).step_by(whole.len() / 97) {
        let Ok(decoder) = Decoder::new(&whole[..len]) else {
            assert!(len < 18, "{len} bytes are taken for a foreign file");
            continue;
        };
        let entries: Vec<_> = decoder.collect();
        let (last, before) = entries.split_last().expect("it has a start");
        assert!(before.len() < count && before.iter().all(Result::is_ok));
        let cut = matches!(last, Err(DecodeError::Truncated { at }) if *at < len);
        assert!(cut || last.is_ok(), "{last:?} at {len} bytes");
    }
}

#[test]
fn file_that_is_no_record_of_this_format_is_refused() {
    let world = recorded();
    let mut bytes = record(&world, 0).to_vec();
    let error = |bytes: &[u8]| Decoder::new(bytes).err();
    assert_eq!(error(b"[cluster]"), Some(DecodeError::Foreign));
    assert_eq!(error(b""), Some(DecodeError::Foreign));
    assert_eq!(error(&bytes[..10]), Some(DecodeError::Truncated { at: 0 }));
    bytes[16] += 1;
    assert_eq!(error(&bytes), Some(DecodeError::Version(VERSION + 1)));
    bytes[16] -= 1;
    bytes[40] ^= 1;
    let first = Decoder::new(&bytes).expect("its header is whole").next();
    assert_eq!(first, Some(Err(DecodeError::Damaged { at: 18 })));
}

#[test]
fn entry_about_what_does_not_exist_is_refused() {
    let world = recorded();
    let mut entries = Decoder::new(record(&world, 0)).expect("it is a record");
    let start = entries.next().expect("it has a start").expect("whole");
    let to = NodeId(2);
    let wrong = Entry::Input(Cow::Owned(Input::Move {
        group: GroupIndex(7),
        to,
    }));
    assert!(Replay::default().apply(wrong.clone()).is_err());
    let mut replay = Replay::default();
    assert_eq!(replay.apply(start.clone()), Ok(Outcome::Nothing));
    assert!(replay.apply(wrong).is_err());
    assert!(replay.apply(start).is_err());
}

#[test]
fn decision_that_was_recorded_otherwise_shows() {
    let mut world = recorded();
    let since = Boottime::from_nanos(START);
    world.run_for(50 * MS);
    let mut replay = Replay::default();
    let mut differences = 0;
    for entry in Decoder::new(record(&world, 0)).expect("it is a record") {
        let mut entry = entry.expect("the entry is whole");
        if let Entry::Step { decided, .. } = &mut entry
            && !decided.is_empty()
        {
            decided.to_mut().pop();
            differences += 1;
        }
        if let Outcome::Step {
            at,
            decided,
            recorded,
        } = replay.apply(entry).expect("the entry can be replayed")
        {
            assert!(at >= since);
            differences -= i32::from(decided != recorded);
        }
    }
    assert_eq!(differences, 0);
}
