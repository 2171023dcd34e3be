//! promtool, which checks metrics, alert rules and expressions of Prometheus.

use std::{env, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::e2e::{Ended, Program, SOON};

/// The variable with the path of promtool. `cargo xtask test` sets it.
pub const PROMTOOL: &str = "HEARTBEAT_PROMTOOL";

/// Runs promtool with `args` in `directory`, with `input`.
pub fn promtool(directory: &Path, args: &[&str], input: &str) -> Result<Ended> {
    let program = env::var_os(PROMTOOL).with_context(|| format!("{PROMTOOL} is not set"))?;
    let mut command = Command::new(program);
    command.args(args).current_dir(directory);
    let mut running = Program::start(None, command)?;
    running.say(input)?;
    running.end(SOON)
}
