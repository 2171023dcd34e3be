//! Builds a program, and replaces this process by it, as root.

use std::{ffi::OsString, path::PathBuf};

use anyhow::Result;

use crate::{
    cargo::{self, Profile},
    cli::Mode,
    haproxy,
    objects::{self, Objects},
    peers, root,
    setup::{self, Verbosity},
    workspace::Workspace,
};

/// The scenario of the demo that runs a real Apache and a real HAProxy.
const ARTICLE: &str = "article";

/// The option of the demo and the benchmark that runs other products, too.
const PEERS: &str = "--peers";

/// The binary and the kernel objects of a build.
#[derive(Debug)]
pub(crate) struct Built {
    pub objects: Objects,
    pub heartbeat: PathBuf,
}

impl Built {
    pub(crate) fn new(workspace: &Workspace, profile: Profile) -> Result<Self> {
        // The objects come first, since the binary embeds one of them.
        let objects = objects::build(workspace)?;
        let heartbeat = cargo::build_program(workspace, "heartbeat-user", "heartbeat", profile)?;
        Ok(Self { objects, heartbeat })
    }

    /// The variables that name the tested files for the programs of package `heartbeat-tests`.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 3] {
        [
            ("HEARTBEAT_BIN", self.heartbeat.clone().into()),
            (
                "HEARTBEAT_BPF_OBJECT",
                self.objects.heartbeat.clone().into(),
            ),
            ("HEARTBEAT_RIG_OBJECT", self.objects.rig.clone().into()),
        ]
    }
}

/// `cargo xtask build`.
pub(crate) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    let built = Built::new(workspace, profile)?;
    println!("kernel programs: {}", built.objects.heartbeat.display());
    println!(
        "switch port program of the tests: {}",
        built.objects.rig.display()
    );
    println!("agent: {}", built.heartbeat.display());
    Ok(())
}

/// `cargo xtask load`. `command` is the corresponding command of `heartbeat`.
pub(crate) fn load(
    workspace: &Workspace,
    command: &str,
    iface: Option<&str>,
    mode: Option<Mode>,
    further: &[OsString],
) -> Result<()> {
    let mut args: Vec<OsString> = Vec::new();
    if let Some(iface) = iface {
        args.extend(["--iface".into(), iface.into()]);
    }
    if let Some(mode) = mode {
        args.extend(["--mode".into(), mode.name().into()]);
    }
    args.extend_from_slice(further);
    heartbeat(workspace, command, args)
}

/// `heartbeat COMMAND ARGS` as root, in place of this process.
pub(crate) fn heartbeat(workspace: &Workspace, command: &str, args: Vec<OsString>) -> Result<()> {
    let built = Built::new(workspace, Profile::Release)?;
    let mut program = root::command(&built.heartbeat, &[])?;
    program.arg(command).args(args);
    match root::exec(program)? {}
}

/// A program of package `heartbeat-tests` as root, in place of this process.
pub(crate) fn rig(workspace: &Workspace, name: &str, args: &[OsString]) -> Result<()> {
    setup::rig_tools(Verbosity::Changes)?;
    let mut environment = Vec::new();
    if args.iter().any(|arg| arg == ARTICLE) {
        setup::resource_tools(Verbosity::Changes)?;
        environment.push(haproxy::variable(workspace, Verbosity::Changes)?);
    }
    if args.iter().any(|arg| arg == PEERS) {
        environment.push(peers::variable(workspace, Verbosity::Changes)?);
    }
    let built = Built::new(workspace, Profile::Release)?;
    let path = cargo::build_program(workspace, "heartbeat-tests", name, Profile::Release)?;
    environment.extend(built.environment());
    let mut program = root::command(path, &environment)?;
    program.args(args);
    match root::exec(program)? {}
}
