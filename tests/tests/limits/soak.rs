//! A few faults of those that `cargo xtask soak` lets come for minutes.

use anyhow::{Result, ensure};
use heartbeat_tests::{
    e2e::trial,
    needs,
    soak::{self, Plan},
};

#[test]
fn whatever_happens_by_chance_one_serves_and_nobody_is_called_dead_for_nothing() -> Result<()> {
    needs!(Cluster);
    let length = trial::soak_time(12)?;
    let report = soak::run(&Plan {
        length,
        seed: 6,
        keep_logs: false,
    })?;
    ensure!(report.is_good() && report.steps() > 1, "{report}");
    Ok(())
}
