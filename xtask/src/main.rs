//! `cargo xtask`: sets up the BPF toolchain, builds, runs, tests and lints heartbeat.
//!
//! Builds run as the user, programs run as root. Standard output carries only the requested output;
//! everything about building goes to standard error.

mod apt;
mod cargo;
mod cli;
mod fuzz;
mod haproxy;
mod launch;
mod lint;
mod modules;
mod mutants;
mod objects;
mod package;
mod peers;
mod process;
mod promtool;
mod root;
mod setup;
mod tally;
mod test;
mod toolchain;
mod unpacked;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::{
    cli::{Cli, Task},
    setup::Verbosity,
    workspace::Workspace,
};

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup { test, vm } => {
            setup::toolchain(&workspace, Verbosity::Everything)?;
            if test {
                setup::rig_tools(Verbosity::Everything)?;
                setup::resource_tools(Verbosity::Everything)?;
                haproxy::provide(&workspace, Verbosity::Everything)?;
                promtool::provide(&workspace, Verbosity::Everything)?;
            }
            if vm {
                vm::setup(&workspace, Verbosity::Everything)?;
            }
        }
        Task::Build { debug, release: _ } => {
            let profile = if debug {
                cargo::Profile::Debug
            } else {
                cargo::Profile::Release
            };
            launch::build(&workspace, profile)?;
        }
        Task::Load {
            witness,
            iface,
            mode,
            args,
        } => {
            let command = if witness { "witness" } else { "load" };
            launch::load(&workspace, command, iface.as_deref(), mode, &args)?;
        }
        Task::Unload { args } => launch::heartbeat(&workspace, "unload", args)?,
        Task::Run { args } => launch::heartbeat(&workspace, "run", args)?,
        Task::Demo { args } => launch::rig(&workspace, "heartbeat-demo", &args)?,
        Task::Soak { args } => launch::rig(&workspace, "heartbeat-soak", &args)?,
        Task::Bench { args } => launch::rig(&workspace, "heartbeat-bench", &args)?,
        Task::Test(options) => return test::run(&workspace, &options),
        Task::Fuzz(options) => return fuzz::run(&workspace, &options),
        Task::Mutants(options) => return mutants::run(&workspace, &options),
        Task::Package(options) => package::run(&workspace, &options)?,
        Task::Guarantees => return lint::guarantees::run(&workspace),
        Task::Lint => return lint::run(&workspace),
    }
    Ok(ExitCode::SUCCESS)
}
