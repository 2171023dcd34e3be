//! `cargo xtask test --vm-cluster`: images for a cluster of virtual machines, and the command that
//! runs the tests on it.
//!
//! The tests are a program of package heartbeat-tests, which starts the machines. The same program
//! is in each image, as the node's helper.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    image::Image,
    packages::{Kernel, Packages},
};
use crate::{
    cargo::{self, Profile},
    launch::Built,
    process, root,
    workspace::Workspace,
};

const PROGRAM: &str = "heartbeat-vm-cluster";
const INIT: &str = include_str!("cluster-init.sh");
/// Modules of a node, in the order of loading. Their dependencies are found.
const MODULES: [&str; 10] = [
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "sch_ingress",
    "cls_bpf",
    "8021q",
    "bridge",
    "bonding",
];

/// The options of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    /// Whether to run only the stories of the short form.
    pub(crate) short: bool,
    /// The profile of the agent and of the program that runs the stories.
    pub(crate) profile: Profile,
    /// The commit of the older agent in the story of an upgrade.
    pub(crate) from: Option<&'a str>,
    /// Further arguments of the program.
    pub(crate) args: &'a [OsString],
}

/// Builds everything, and returns the command that runs the tests as root.
pub(super) fn command(
    workspace: &Workspace,
    packages: &Packages,
    options: Options<'_>,
) -> Result<Command> {
    let built = Built::new(workspace, options.profile)?;
    let program = cargo::build_program(workspace, "heartbeat-tests", PROGRAM, options.profile)?;
    let old = match options.from {
        Some(commit) => Some(old_agent(workspace, commit)?),
        None => None,
    };
    let mut command = root::command(&program, &built.environment())?;
    let qemu = packages.qemu.plain();
    command.arg("--qemu").arg(qemu.get_program());
    for argument in qemu.get_args() {
        command.arg(joined("--qemu-argument=", argument));
    }
    for (name, value) in qemu.get_envs() {
        let mut variable = OsString::from(name);
        variable.push("=");
        variable.push(value.unwrap_or_default());
        command.arg(joined("--qemu-variable=", &variable));
    }
    for kernel in &packages.kernels {
        let image = image(
            workspace,
            packages,
            kernel,
            &built,
            &program,
            old.as_deref(),
        )?;
        command.arg("--kernel").arg(&kernel.release);
        command.args([&kernel.image, &image]);
    }
    if old.is_some() {
        command.arg("--upgrade");
    }
    if options.short {
        command.arg("--short");
    }
    command.args(options.args);
    Ok(command)
}

fn joined(name: &str, value: &std::ffi::OsStr) -> OsString {
    let mut argument = OsString::from(name);
    argument.push(value);
    argument
}

/// The initramfs for nodes with `kernel`.
fn image(
    workspace: &Workspace,
    packages: &Packages,
    kernel: &Kernel,
    built: &Built,
    program: &Path,
    old: Option<&Path>,
) -> Result<PathBuf> {
    let directory = workspace.vm().join("cluster");
    let root = directory.join(&kernel.release);
    let image = Image::new(&root, &packages.busybox)?;
    image.write("init", INIT.as_bytes(), 0o755)?;
    image.copy(&packages.busybox, "bin/busybox")?;
    let modules = image.modules(kernel, &MODULES, "modules")?;
    // Each name ends its line: the shell's `read` reports a last line without an end as none.
    let list: String = modules.iter().map(|name| format!("{name}\n")).collect();
    image.write("modules/list", list.as_bytes(), 0o644)?;
    image.program(&built.heartbeat, "heartbeat/heartbeat")?;
    image.program(program, "heartbeat/vm-node")?;
    if let Some(old) = old {
        image.program(old, "heartbeat/heartbeat-old")?;
    }
    image.pack(&directory.join(format!("{}.cpio", kernel.release)))
}

/// The agent of another commit, built apart from this one.
fn old_agent(workspace: &Workspace, commit: &str) -> Result<PathBuf> {
    let mut resolve = Command::new("git");
    resolve.current_dir(&workspace.root);
    resolve.args(["rev-parse", "--verify", &format!("{commit}^{{commit}}")]);
    let commit = process::output(&mut resolve)?.trim().to_owned();
    let directory = workspace.vm().join("from").join(&commit);
    let program = directory.join("target/release/heartbeat");
    if program.exists() {
        return Ok(program);
    }
    if !directory.exists() {
        // A clone shares nothing with the sources here that a later build could change.
        let parent = workspace.vm().join("from");
        fs::create_dir_all(&parent)?;
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet", "--no-checkout"]);
        process::run(clone.arg(&workspace.root).arg(&directory))?;
        let mut checkout = Command::new("git");
        checkout.current_dir(&directory);
        process::run(checkout.args(["checkout", "--quiet", "--detach", &commit]))?;
    }
    eprintln!("building the agent of {commit}");
    let mut build = Command::new(&workspace.cargo);
    build.current_dir(&directory).args(["xtask", "build"]);
    // The older sources have a workspace of their own.
    for variable in ["CARGO_MANIFEST_DIR", "HEARTBEAT_BPF_OBJECT"] {
        build.env_remove(variable);
    }
    process::run(&mut build).with_context(|| format!("could not build {commit}"))?;
    Ok(program)
}
