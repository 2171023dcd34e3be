//! Prints one run as a table of instants, relative to the fault.

use heartbeat_common::time::Boottime;
use heartbeat_tests::Fault;

use crate::{
    outcome::{FalseDown, FalseTakeover, Outcome, Phases, Takeover, Verdict},
    output::Output,
};

/// Prints what happened, or why it did not.
pub(crate) fn print(outcome: &Outcome, fault: Fault, runs: u32, out: &Output) {
    let run = format!("run {} of {runs}", outcome.number);
    match &outcome.result {
        Ok(takeover) => table(&run, &outcome.victim, takeover, fault, out),
        Err(reason) => out.line(&out.bad(&format!("{run}: no takeover: {reason}"))),
    }
    for false_down in &outcome.false_downs {
        out.line(&out.bad(&alarm(false_down, outcome.fault_at)));
    }
    for FalseTakeover { node, at } in &outcome.false_takeovers {
        let when = when(*at, outcome.fault_at);
        out.line(&out.bad(&format!(
            "  false takeover, {when}: {node} acquires the lease"
        )));
    }
    if let Some(first) = outcome.overlaps.first() {
        let when = when(first.given, outcome.fault_at);
        out.line(&out.bad(&format!(
            "  two owners: {} answers while another node held the lease, the first by {}, {when}",
            outcome.overlaps.len(),
            first.node
        )));
    }
    out.line("");
}

fn table(run: &str, victim: &str, takeover: &Takeover, fault: Fault, out: &Output) {
    let quiet = takeover.quiet.as_secs_f64();
    let successor = &takeover.successor;
    let title = format!("{run}: {}; {successor} takes over", deed(victim, fault));
    out.line(&format!(
        "{} (after {quiet:.3} s of quiet)",
        out.bold(&title)
    ));
    out.line(&out.dim("   since fault         step"));
    let mut previous: Option<Boottime> = None;
    for (at, text) in rows(victim, takeover, fault) {
        let step = previous
            .map(|before| format!("{:+.1}", micros(before, at)))
            .unwrap_or_default();
        let time = format!("{:+12.1} us", micros(takeover.fault_at, at));
        let step = out.dim(&format!("{step:>10}"));
        let text = if at == takeover.fault_at {
            out.bad(&text)
        } else if at == takeover.first_answer {
            out.good(&text)
        } else {
            text
        };
        out.line(&format!("{time} {step}  {text}"));
        previous = Some(at);
    }
    let gap = takeover.gap().as_secs_f64() * 1e3;
    out.line(&format!(
        "  the client had no answer for {gap:.2} ms and lost {} datagrams",
        takeover.lost
    ));
    if takeover.stale > 0 {
        out.line(&format!(
            "  {} answers of {victim} arrived after that",
            takeover.stale
        ));
    }
}

/// The events in the order of time.
fn rows(victim: &str, takeover: &Takeover, fault: Fault) -> Vec<(Boottime, String)> {
    let successor = &takeover.successor;
    let at = Boottime::from_nanos;
    let mut rows = Vec::new();
    if let Some(trace) = takeover.verdict.as_ref().and_then(|verdict| verdict.trace) {
        rows.push((
            at(trace.last_reply_ns),
            format!("last reply of {victim} to {successor}"),
        ));
        rows.push((
            at(trace.deadline_ns),
            "deadline: silence is too long".to_owned(),
        ));
        if trace.fired_ns != 0 {
            rows.push((at(trace.fired_ns), "kernel timer fired".to_owned()));
        }
        rows.push((at(trace.awake_ns), format!("agent of {successor} awake")));
    }
    if let Some(Verdict { state, at, .. }) = &takeover.verdict {
        rows.push((*at, format!("{victim} is {state}")));
    }
    let Phases {
        free,
        majority,
        guard_open,
        address,
        announced,
    } = takeover.phases;
    rows.extend([
        (
            takeover.last_answer,
            format!("client's last answer from {victim}"),
        ),
        (takeover.fault_at, deed(victim, fault)),
        (free, format!("the lease of {victim} ends: it is free")),
        (majority, format!("a majority grants it to {successor}")),
        (guard_open, format!("guard of {successor} open")),
        (address, "address up".to_owned()),
        (announced, "announcement sent".to_owned()),
        (
            takeover.first_answer,
            format!("client's first answer from {successor}"),
        ),
    ]);
    // Stable: what has the same time stays in the order of cause and effect.
    rows.sort_by_key(|(at, _)| *at);
    rows
}

/// The time, the text and the reason of an event.
fn alarm(false_down: &FalseDown, fault_at: Option<Boottime>) -> String {
    let FalseDown {
        seen_by,
        node,
        verdict,
    } = false_down;
    let when = when(verdict.at, fault_at);
    let why = verdict.trace.map(|trace| {
        let ago = |at| micros(Boottime::from_nanos(at), verdict.at);
        format!(
            ": last reply {:.1} us ago, deadline {:.1} us ago",
            ago(trace.last_reply_ns),
            ago(trace.deadline_ns)
        )
    });
    format!(
        "  false alarm, {when}: {seen_by} calls {node} {}{}",
        verdict.state,
        why.unwrap_or_default()
    )
}

/// Relative to the fault, if there was one.
fn when(at: Boottime, fault_at: Option<Boottime>) -> String {
    match fault_at {
        Some(fault_at) => format!("{:+.1} us", micros(fault_at, at)),
        None => format!("at {at}"),
    }
}

fn deed(victim: &str, fault: Fault) -> String {
    match fault {
        Fault::Cut => format!("the link of {victim} is cut"),
        Fault::Silent => format!("the switch drops all packets of {victim}"),
        Fault::Deaf => format!("nothing reaches {victim} any more"),
        Fault::Mute => format!("nothing comes from {victim} any more"),
        Fault::Kill => format!("the agent of {victim} is killed"),
        Fault::Stop => format!("the agent of {victim} is stopped"),
    }
}

/// From `zero` to `at`, negative if `at` is earlier.
fn micros(zero: Boottime, at: Boottime) -> f64 {
    (at.as_nanos() as f64 - zero.as_nanos() as f64) / 1e3
}
