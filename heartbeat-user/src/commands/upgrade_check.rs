//! `heartbeat upgrade-check`: says whether a graceful restart with this binary leaves no gap. The
//! scripts of the packages ask it before they restart an agent of the former release.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;

use super::output;
use crate::{
    config::Config,
    dataplane::{Continuation, Pins},
};

/// The least `max_lease` that outlasts a start whose programs the kernel verifies
/// (docs/operate/restarts.md).
const OUTLASTS_VERIFICATION: Duration = Duration::from_secs(3);

/// Prints one line. The exit code is 0 if a restart leaves no gap, otherwise 1.
pub fn run(config: &Config) -> Result<ExitCode> {
    let pins = Pins::of(&config.instance);
    let (code, text) = match judge(Continuation::of(&pins)?, config.max_lease) {
        Ok(text) => (ExitCode::SUCCESS, text),
        Err(text) => (ExitCode::FAILURE, text),
    };
    output::print(&format!("{text}\n"))?;
    Ok(code)
}

/// The reason why a restart leaves no gap, or, as an error, why it may leave one.
fn judge(continuation: Continuation, max_lease: Duration) -> Result<String, String> {
    let lasts = max_lease.as_millis();
    match continuation {
        Continuation::Begins => Ok("no programs of an agent are loaded".to_owned()),
        Continuation::Keeps => Ok("the kernel programs are the same: a restart keeps them".into()),
        Continuation::Replaces if max_lease >= OUTLASTS_VERIFICATION => Ok(format!(
            "the kernel programs differ: a restart replaces them while leases last {lasts} ms"
        )),
        Continuation::Replaces => Err(format!(
            "the kernel programs differ, and leases last {lasts} ms without an agent (max_lease): \
             a restart takes 1300 ms or more, so another node takes over meanwhile; set max_lease \
             to 3s or more on all nodes, or restart when that does no harm"
        )),
        Continuation::Discards { layout } => Err(format!(
            "the maps of the running agent have layout {layout}, which this release does not take \
             over: stop the agent (`heartbeat stop` hands its groups over), then start it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn same_programs_leave_no_gap_and_other_ones_need_long_leases() {
        assert!(judge(Continuation::Begins, SECOND).is_ok());
        assert!(judge(Continuation::Keeps, SECOND).is_ok());
        assert!(judge(Continuation::Replaces, 3 * SECOND).is_ok());
        let said = judge(Continuation::Replaces, SECOND).unwrap_err();
        assert!(said.contains("leases last 1000 ms"), "{said}");
    }

    #[test]
    fn other_layout_needs_a_hand_over() {
        let said = judge(Continuation::Discards { layout: 6 }, 9 * SECOND).unwrap_err();
        assert!(
            said.contains("layout 6") && said.contains("heartbeat stop"),
            "{said}"
        );
    }
}
