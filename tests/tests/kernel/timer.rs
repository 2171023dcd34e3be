//! The kernel's own deadline timers: one event for each silence, at its deadline, never before.
//!
//! The tests hand replies to the program. A late one is intended, or the machine was late; the
//! assertions hold in both cases.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::{
    maps::{DeadlineEvent, PeerRow, PeerSlot},
    verdict::Verdict,
};
use heartbeat_tests::{
    kernel::{
        self, Kernel, Program, Sizes, World,
        frames::{FrameSpec, address},
    },
    needs,
    sys::boottime,
    wait_until,
};

const TIMEOUT: Duration = Duration::from_millis(20);
const TIMEOUT_NS: u64 = TIMEOUT.as_nanos() as u64;
/// The largest delay of a timer on a busy machine. The bench measures the delay on an idle one, and
/// [`event_comes_at_the_deadline_of_the_last_reply_and_not_a_timeout_later`] finds a timer that
/// waits for too long.
const LATENESS_NS: u64 = 100_000_000;
/// The longest wait for an event that must come.
const PATIENCE: Duration = Duration::from_secs(5);
const PEER: u16 = 2;
const LINK: u8 = 0;

/// A kernel that has sent so many probes that every reply answers one.
fn kernel() -> Result<(Kernel, World)> {
    kernel_with(TIMEOUT)
}

/// The same with another timeout.
fn kernel_with(timeout: Duration) -> Result<(Kernel, World)> {
    let mut kernel = kernel::open()?;
    let mut world = World::new(timeout.as_nanos() as u64);
    for row in &mut world.rows {
        row.last_probe_seq = u64::MAX;
    }
    kernel.install(&world)?;
    Ok((kernel, world))
}

/// Hands the kernel fresh replies, to probes from `sequence` on, until it watches for the next one.
/// Returns the instant of the last.
///
/// One reply suffices, unless the kernel has no memory for a timer at hand, or the test was slow
/// and the reply late.
fn receive(
    kernel: &mut Kernel,
    world: &World,
    (node, link): (u16, u8),
    sequence: u64,
) -> Result<u64> {
    let number = world.row_number(node, link);
    let deadlines = kernel.row(number)?.deadlines;
    for sequence in (1_000 * sequence..).take(1_000) {
        let now = boottime().as_nanos();
        let reply = FrameSpec::reply(world, node, link, sequence, now);
        let verdict = kernel.run(Program::Receive, &reply.frame()?)?.verdict;
        assert!(
            matches!(verdict, Some(Verdict::Recorded | Verdict::LateReply)),
            "{verdict:?}"
        );
        let row = kernel.row(number)?;
        // The row may have been watched, and its deadline may have passed since.
        if kernel.watched(number)? || row.deadlines > deadlines {
            return Ok(row.last_reply_at);
        }
    }
    bail!("a thousand replies armed no timer");
}

/// Reads the next event, which must be about `row` and the reply at `received_at`.
fn expect_event(kernel: &mut Kernel, row: u32, received_at: u64) -> Result<DeadlineEvent> {
    let event = kernel
        .wait_event(PATIENCE)?
        .context("no deadline event came")?;
    let expected = DeadlineEvent {
        row,
        reserved: 0,
        last_reply_at: received_at,
        deadline_at: received_at + TIMEOUT_NS,
        fired_at: event.fired_at,
    };
    assert_eq!(event, expected);
    let late = event
        .fired_at
        .checked_sub(event.deadline_at)
        .context("fired before the deadline")?;
    assert!(late < LATENESS_NS, "fired {late} ns after the deadline");
    Ok(event)
}

#[test]
fn silence_is_reported_once_at_its_deadline() -> Result<()> {
    needs!(Kernel);
    let (mut kernel, world) = kernel()?;
    assert_eq!(
        kernel.wait_event(2 * TIMEOUT)?,
        None,
        "an event before any reply"
    );

    let received_at = receive(&mut kernel, &world, (PEER, LINK), 1)?;
    let event = expect_event(&mut kernel, 0, received_at)?;
    assert!(event.fired_at <= boottime().as_nanos());
    assert_eq!(
        kernel.wait_event(5 * TIMEOUT)?,
        None,
        "a second event for one silence"
    );

    let row = kernel.row(0)?;
    let watched = (row.deadlines, row.deadline_fired_at, row.events_lost);
    assert_eq!(watched, (1, event.fired_at, 0));
    Ok(())
}

#[test]
fn reply_after_silence_arms_the_timer_again() -> Result<()> {
    needs!(Kernel);
    let (mut kernel, world) = kernel()?;
    for sequence in 1..=5 {
        let received_at = receive(&mut kernel, &world, (PEER, LINK), sequence)?;
        expect_event(&mut kernel, 0, received_at)?;
        assert_eq!(kernel.row(0)?.deadlines, sequence);
    }
    Ok(())
}

#[test]
fn replies_move_the_deadline() -> Result<()> {
    needs!(Kernel);
    let (mut kernel, world) = kernel()?;
    let mut received = Vec::new();
    for sequence in 1..=60 {
        received.push(receive(&mut kernel, &world, (PEER, LINK), sequence)?);
        thread::sleep(TIMEOUT / 5);
    }
    let mut events = Vec::new();
    while let Some(event) = kernel.wait_event(5 * TIMEOUT)? {
        events.push(event);
    }
    // There was a real silence where the machine held the test up, and nowhere else.
    let silences: Vec<u64> = received
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > TIMEOUT_NS)
        .map(|pair| pair[0])
        .chain(received.last().copied())
        .collect();
    for event in &events {
        assert!(
            silences.contains(&event.last_reply_at),
            "no silence after {event:?}"
        );
        assert!(event.fired_at >= event.deadline_at, "too early: {event:?}");
        assert_eq!(event.deadline_at, event.last_reply_at + TIMEOUT_NS);
    }
    assert_eq!(
        events.last().map(|event| event.last_reply_at),
        received.last().copied()
    );
    assert_eq!(kernel.row(0)?.deadlines, events.len() as u64);
    Ok(())
}

/// The timer of the first reply fires, finds later replies, and must wait for the rest of the
/// timeout. If it waited for a whole timeout, the event would come almost a timeout late.
#[test]
fn event_comes_at_the_deadline_of_the_last_reply_and_not_a_timeout_later() -> Result<()> {
    /// A timeout several times as long as the accepted delay.
    const LONG: Duration = Duration::from_millis(500);
    needs!(Kernel);
    let (mut kernel, world) = kernel_with(LONG)?;
    let first = receive(&mut kernel, &world, (PEER, LINK), 1)?;
    let mut last = first;
    for sequence in 2..=6 {
        thread::sleep(Duration::from_millis(4));
        last = receive(&mut kernel, &world, (PEER, LINK), sequence)?;
    }
    let deadline = last + LONG.as_nanos() as u64;
    let event = kernel
        .wait_event(PATIENCE)?
        .context("no deadline event came")?;
    // A test that was held up for a timeout would have had an earlier silence.
    assert_eq!(kernel.row(0)?.deadlines, 1, "from {first} to {last}");
    assert_eq!((event.last_reply_at, event.deadline_at), (last, deadline));
    let late = event.fired_at.checked_sub(deadline);
    let late = late.context("fired before the deadline")?;
    println!("fired {late} ns after the deadline");
    assert!(late < LATENESS_NS, "fired {late} ns after the deadline");
    Ok(())
}

#[test]
fn each_peer_and_link_has_its_own_deadline() -> Result<()> {
    needs!(Kernel);
    let (mut kernel, world) = kernel()?;
    let rows = [(2, 0), (2, 1), (3, 0), (3, 1)];
    let mut received = Vec::new();
    for (number, at) in (0..).zip(rows) {
        received.push((number, receive(&mut kernel, &world, at, 1)?));
        thread::sleep(Duration::from_millis(2));
    }
    for (row, received_at) in received {
        expect_event(&mut kernel, row, received_at)?;
    }
    for row in 0..4 {
        assert_eq!(kernel.row(row)?.deadlines, 1);
    }
    Ok(())
}

#[test]
fn frames_without_evidence_move_no_deadline() -> Result<()> {
    needs!(Kernel);
    let (mut kernel, world) = kernel()?;
    let received_at = receive(&mut kernel, &world, (PEER, LINK), 1)?;
    let long_ago = boottime().as_nanos() - 3 * TIMEOUT_NS;
    let late = FrameSpec::reply(&world, PEER, LINK, 5_000, long_ago);
    let replayed = FrameSpec::reply(&world, PEER, LINK, 5_000, long_ago);
    let forged = FrameSpec::reply(&world, PEER, LINK, 5_001, long_ago).with(|spec| spec.key = None);
    let probe = FrameSpec::probe(PEER, LINK, 1);
    let others = [
        (late, Verdict::LateReply),
        (replayed, Verdict::ReplayedReply),
        (forged, Verdict::BadTag),
        (probe, Verdict::Answered),
    ];
    for (spec, verdict) in others {
        assert_eq!(
            kernel.run(Program::Receive, &spec.frame()?)?.verdict,
            Some(verdict)
        );
    }
    expect_event(&mut kernel, 0, received_at)?;
    Ok(())
}

#[test]
fn timer_without_configuration_is_armed_again() -> Result<()> {
    needs!(Kernel);
    let (mut kernel, mut world) = kernel()?;
    receive(&mut kernel, &world, (PEER, LINK), 1)?;
    world.rows[0] = kernel.row(0)?;
    world.config.timeout_ns = 0;
    kernel.install(&world)?;
    wait_until(PATIENCE, "the timer to stop", || Ok(!kernel.watched(0)?))?;

    world.config.timeout_ns = TIMEOUT_NS;
    kernel.install(&world)?;
    let received_at = receive(&mut kernel, &world, (PEER, LINK), 2)?;
    while let Some(event) = kernel.wait_event(PATIENCE)? {
        // The first silence is reported only if the test was held up.
        if event.last_reply_at == received_at {
            return Ok(());
        }
    }
    bail!("no deadline event came");
}

#[test]
fn events_beyond_the_ring_are_counted() -> Result<()> {
    /// More silences at once than events fit into a ring of one page.
    const PEERS: u16 = 200;
    const PAGE: u32 = 4096;
    let sizes = Sizes {
        rows: PEERS.into(),
        event_bytes: Some(PAGE),
    };
    needs!(Kernel);
    let mut kernel = kernel::open_sized(sizes)?;
    let mut world = World::new(TIMEOUT_NS);
    world.allow.clear();
    world.rows.clear();
    for node in 2..2 + PEERS {
        let row = world.rows.len() as u32;
        world.allow.insert(
            address(node, LINK).into(),
            PeerSlot {
                row,
                node,
                link: LINK.into(),
            },
        );
        world.rows.push(PeerRow {
            last_probe_seq: u64::MAX,
            ..PeerRow::default()
        });
    }
    kernel.install(&world)?;

    for node in 2..2 + PEERS {
        receive(&mut kernel, &world, (node, LINK), 1)?;
    }
    let total = |kernel: &Kernel, field: fn(&PeerRow) -> u64| -> Result<u64> {
        (0..PEERS.into())
            .map(|row| Ok(field(&kernel.row(row)?)))
            .sum()
    };
    wait_until(PATIENCE, "all deadlines", || {
        Ok(total(&kernel, |row| row.deadlines)? == u64::from(PEERS))
    })?;

    let lost = total(&kernel, |row| row.events_lost)?;
    let mut seen = 0;
    while kernel.event()?.is_some() {
        seen += 1;
    }
    assert_eq!(seen + lost, u64::from(PEERS));
    assert!(seen > 0 && lost > 0, "{seen} seen, {lost} lost");

    // The ring has room again.
    let received_at = receive(&mut kernel, &world, (PEER, LINK), 2)?;
    expect_event(&mut kernel, 0, received_at)?;
    Ok(())
}
