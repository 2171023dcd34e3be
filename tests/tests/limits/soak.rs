//! A short soak: a few random faults. `cargo xtask soak` runs for minutes.

use anyhow::{Result, ensure};
use heartbeat_tests::{
    e2e::trial,
    needs,
    soak::{self, Plan},
};

#[test]
fn random_faults_leave_one_owner_and_no_false_down() -> Result<()> {
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
