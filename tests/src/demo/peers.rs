//! `--peers`: heartbeat beside the products that its users have today.

use std::fs;

use anyhow::{Context as _, Result};
use heartbeat_tests::peers::{self, FAULTS, Plan};

use crate::{Arguments, output::Output};

/// The number of rounds without `--runs`.
const ROUNDS: u32 = 10;

/// Compares, and shows the figures as a table, as JSON and as a chart.
pub(crate) fn show(arguments: &Arguments, out: &Output) -> Result<()> {
    let plan = Plan {
        rounds: arguments.runs.unwrap_or(ROUNDS),
        only: arguments.only.clone(),
        faults: FAULTS.to_vec(),
    };
    let report = peers::run(&plan, &mut |text| out.line(&out.dim(text)))?;
    out.line("");
    for line in report.to_string().lines() {
        out.line(line);
    }
    if let Some(file) = &arguments.svg {
        fs::write(file, peers::chart(&report))
            .with_context(|| format!("cannot write {}", file.display()))?;
        out.line(&format!("chart: {}", file.display()));
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}
