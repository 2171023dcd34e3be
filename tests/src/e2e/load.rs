//! Load for the CPUs.

use std::{
    process::{Command, Stdio},
    thread,
};

use anyhow::Result;

use super::program::Program;

/// Processes that never sleep. They end when this drops.
#[derive(Debug)]
pub struct Spinners {
    _programs: Vec<Program>,
}

impl Spinners {
    /// Starts `per_cpu` processes for each CPU, with normal priority.
    pub fn start(per_cpu: usize) -> Result<Self> {
        let cpus = thread::available_parallelism()?.get();
        let spin = || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "while :; do :; done"]);
            command.stderr(Stdio::null());
            Program::start(None, command)
        };
        Ok(Self {
            _programs: (0..cpus * per_cpu).map(|_| spin()).collect::<Result<_>>()?,
        })
    }
}
