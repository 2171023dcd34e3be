//! The comparison of heartbeat with its peers: the same faults for each contender, in turns.
//!
//! A round goes through all contenders. In its turn a contender gets a world of its own, and each
//! fault once. So a slow minute of the machine concerns all of them. Nothing here judges.

mod chart;
mod machine;
mod report;
mod table;
mod turn;

use std::time::Duration;

use anyhow::{Result, ensure};

pub use chart::chart;
pub use report::Report;

use crate::{
    Fault,
    contender::{self, Contender},
    interrupt,
};
use report::Sample;

/// The faults of a turn, in their order.
pub const FAULTS: [Fault; 4] = [Fault::Silent, Fault::Cut, Fault::Kill, Fault::Stop];
/// The time for which the daemons of a node are stopped.
pub const STOPPED: Duration = Duration::from_secs(5);

/// What to compare.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of times that each contender gets each fault.
    pub rounds: u32,
    /// The keys of the contenders; all if there are none.
    pub only: Vec<String>,
    pub faults: Vec<Fault>,
}

/// Compares, and tells `say` of the progress. A contender that cannot run is in the report with the
/// reason.
pub fn run(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<Report> {
    interrupt::install();
    let all = contender::all();
    for key in &plan.only {
        let keys: Vec<_> = all.iter().map(|one| one.key()).collect();
        ensure!(
            keys.contains(&key.as_str()),
            "no contender {key}; there are {}",
            keys.join(", ")
        );
    }
    let wanted =
        |one: &&dyn Contender| plan.only.is_empty() || plan.only.iter().any(|key| key == one.key());
    let contenders: Vec<_> = all.iter().map(AsRef::as_ref).filter(wanted).collect();
    let mut report = Report::new(plan, &contenders)?;
    for round in 1..=plan.rounds {
        for contender in &contenders {
            if let Some(reason) = contender.missing() {
                if round == 1 {
                    say(&format!("{}: not measured: {reason}", contender.key()));
                }
                continue;
            }
            say(&format!(
                "round {round} of {}: {}",
                plan.rounds,
                contender.key()
            ));
            let mut add = |fault: Fault, sample: Sample| report.add(contender.key(), fault, sample);
            let played = turn::play(*contender, &plan.faults, &mut add);
            if let Err(error) = played {
                if error.is::<interrupt::Interrupted>() {
                    return Err(error);
                }
                say(&format!("{}: {error:#}", contender.key()));
                report.fail(
                    contender.key(),
                    format!("round {round}: {}", error.root_cause()),
                );
            }
        }
    }
    Ok(report)
}
