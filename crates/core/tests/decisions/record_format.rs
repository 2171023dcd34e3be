//! The format of records. `records/golden.bin` is a record of this version, written once. The test
//! must read it to the byte and replay it to the decision. Otherwise the format has changed and
//! [`VERSION`] has not.
//!
//! After an intended change, raise `record::VERSION` if the test of the format fails, and write the
//! record anew: `BLESS=1 cargo test -p heartbeat-core --test decisions record_format`. The command
//! does not overwrite an unreadable record of the same version.

use std::{borrow::Cow, collections::BTreeSet, fs, path::PathBuf, time::Duration};

use heartbeat_common::wire::{Health, LinkId, LinkSet, NodeId};
use heartbeat_core::{
    cluster::{Intent, Member},
    group::Note,
    index::GroupIndex,
    membership::Membership,
    placement::Layout,
    record::{DecodeError, Decoder, Encoder, End, Entry, Input, Outcome, Replay, VERSION, header},
    report::{GroupReport, GroupReports},
};

use crate::support::{MS, story::recorded_cluster, world::World};

const REMEDY: &str = "if that is intended, write the record anew with \
                      `BLESS=1 cargo test -p heartbeat-core --test decisions record_format`";
/// The number of kinds of [`Input`].
const INPUTS: usize = 14;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/records/golden.bin")
}

/// The record, written anew on request.
fn golden() -> Vec<u8> {
    let known = fs::read(path()).unwrap_or_default();
    if std::env::var_os("BLESS").is_none() {
        return known;
    }
    if let Err(why) = read(&known) {
        let same = !matches!(
            why,
            Unread::Not(DecodeError::Version(_) | DecodeError::Foreign)
        );
        assert!(!same, "raise record::VERSION first: {why:?}");
    }
    let new = story();
    fs::write(path(), &new).expect("the record can be written");
    new
}

#[derive(Debug)]
enum Unread {
    Not(DecodeError),
    /// An entry differs when it is encoded again.
    Otherwise {
        entry: usize,
    },
}

/// All entries, each of which gives the same bytes when it is encoded again.
fn read(record: &[u8]) -> Result<Vec<Entry<'static>>, Unread> {
    let mut entries = Vec::new();
    let mut again = header().to_vec();
    let mut room = vec![0; record.len() * 2];
    for entry in Decoder::new(record).map_err(Unread::Not)? {
        let entry = entry.map_err(Unread::Not)?;
        let len = Encoder::entry(&entry, &mut room).expect("there is room");
        again.extend_from_slice(&room[..len]);
        if !record.starts_with(&again) {
            let entry = entries.len();
            return Err(Unread::Otherwise { entry });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// One agent, followed by another that receives every kind of input, and whose peer is lost at
/// last.
fn story() -> Vec<u8> {
    let mut world = recorded_cluster();
    world.restart_agent(0);
    world.run_for(100 * MS);
    let group = GroupIndex(0);
    let layout = Layout {
        groups: world.groups.clone().into(),
        ..Layout::default()
    };
    let report = GroupReports {
        number: 1,
        incarnation: 1,
        groups: [GroupReport::default()].into(),
    };
    let all = [1, 2, 3].map(NodeId).to_vec();
    let reform = Input::Reform {
        peers: [2, 3]
            .map(|node| Member {
                node: NodeId(node),
                witness: false,
            })
            .to_vec(),
        links: 1,
        membership: Membership::fixed(NodeId(1), all),
    };
    for input in [
        Input::AutoFailback(false),
        Input::Load(300),
        Input::Health(Health::of(2, false)),
        Input::Health(Health::default()),
        Input::Broken(LinkSet::of(LinkId(0))),
        Input::Broken(LinkSet::default()),
        Input::Intend(Intent::Standby),
        Input::Intend(Intent::Serve),
        Input::Reported {
            node: NodeId(3),
            report,
        },
        Input::Note {
            group,
            note: Note::StopTimeout(Duration::from_secs(1)),
        },
        Input::Replan(layout),
        reform,
    ] {
        tell(&mut world, input);
        world.run_for(20 * MS);
    }
    // A move there and back: its acceptor receives the release of another node.
    world.move_to(0, 0, NodeId(2));
    world.run_for(100 * MS);
    assert_eq!(world.servers(0), [1]);
    world.move_to(1, 0, NodeId(1));
    world.run_for(100 * MS);
    assert_eq!(world.servers(0), [0]);
    world.crash(1);
    world.run_for(100 * MS);
    tell(
        &mut world,
        Input::GracefulRestart(Duration::from_millis(60)),
    );
    world.run_for(20 * MS);
    let agent = world.machines[0].agent.as_ref().expect("it lives");
    let mut record = agent.record.as_ref().expect("it is recorded").bytes.clone();
    let mut room = [0; 64];
    let end = Encoder::entry(&Entry::End(End::Stopped), &mut room).expect("there is room");
    record.extend_from_slice(&room[..end]);
    record
}

fn tell(world: &mut World, input: Input) {
    let agent = world.machines[0].agent.as_mut();
    agent.expect("it lives").apply(input);
    world.wake(0);
}

/// The number of an input's kind. A new kind belongs into the story.
fn kind(input: &Input) -> usize {
    match input {
        Input::Inherit { .. } => 0,
        Input::Freed(_) => 1,
        Input::Stopped { .. } => 2,
        Input::Move { .. } => 3,
        Input::Note { .. } => 4,
        Input::Reported { .. } => 5,
        Input::Broken(_) => 6,
        Input::Health(_) => 7,
        Input::Load(_) => 8,
        Input::Intend(_) => 9,
        Input::GracefulRestart(_) => 10,
        Input::Reform { .. } => 11,
        Input::Replan(_) => 12,
        Input::AutoFailback(_) => 13,
    }
}

#[test]
fn golden_record_is_read_to_the_byte_and_decided_as_recorded() {
    let record = golden();
    let entries = match read(&record) {
        Ok(entries) => entries,
        Err(Unread::Not(DecodeError::Version(found))) => {
            panic!("the record is of version {found}, and this is {VERSION}: {REMEDY}")
        }
        Err(why) => panic!(
            "a type that is part of records has changed ({why:?}): raise record::VERSION, and \
             then, {REMEDY}"
        ),
    };
    let inputs = entries.iter().filter_map(|entry| match entry {
        Entry::Input(input) => Some(kind(input)),
        _ => None,
    });
    let inputs: BTreeSet<usize> = inputs.collect();
    assert_eq!(inputs, (0..INPUTS).collect(), "kinds of inputs: {REMEDY}");
    let mut replay = Replay::default();
    let mut decisions = 0;
    for entry in entries {
        if let Outcome::Step {
            at,
            decided,
            recorded,
        } = replay.apply(entry).expect("the entry can be replayed")
        {
            assert_eq!(decided, recorded, "at {at}: {REMEDY}");
            decisions += decided.len();
        }
    }
    assert!(decisions > 10, "{decisions} decisions are few");
}

#[test]
fn entry_that_is_encoded_otherwise_is_found() {
    // `Load(5)` in the encoding of another type: a number with a byte more than it needs.
    let entry = Entry::Input(Cow::Owned(Input::Load(5)));
    let mut room = [0; 64];
    let len = Encoder::entry(&entry, &mut room).expect("there is room");
    let (last, before) = room[8..len].split_last().expect("it has bytes");
    let longer = [before, &[*last | 0x80, 0]].concat();
    let check = longer.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let length = longer.len() as u32;
    let frame = [&length.to_le_bytes()[..], &check.to_le_bytes(), &longer].concat();
    let record = |frame: &[u8]| [&header()[..], frame].concat();
    assert!(read(&record(&room[..len])).is_ok());
    let found = read(&record(&frame));
    assert!(
        matches!(found, Err(Unread::Otherwise { entry: 0 })),
        "{found:?}"
    );
}
