//! `heartbeat-vm-cluster`: a cluster of three virtual machines under faults that namespaces cannot
//! have.
//!
//! `cargo xtask test --vm-cluster` builds everything and runs this as root.

use std::{
    io::{Write as _, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use clap::{Parser, Subcommand};
use heartbeat_tests::{
    interrupt::exit_code,
    vm_cluster::{self, Plan},
};

/// Run stories on a cluster of three virtual machines, and see that what must hold does.
#[derive(Debug, Parser)]
#[command(
    name = "heartbeat-vm-cluster",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Arguments {
    #[command(subcommand)]
    inside: Option<Inside>,
    /// QEMU
    #[arg(long, value_name = "PROGRAM", required = true)]
    qemu: Option<PathBuf>,
    /// Further argument of QEMU
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    qemu_argument: Vec<String>,
    /// Variable in the environment of QEMU
    #[arg(long, value_name = "NAME=VALUE")]
    qemu_variable: Vec<String>,
    /// Kernel of a node: its release, its image and its initramfs; may be repeated
    #[arg(long, num_args = 3, value_names = ["RELEASE", "IMAGE", "INITRAMFS"], required = true)]
    kernel: Vec<PathBuf>,
    /// What runs the machines' code: `auto` takes KVM if it works
    #[arg(long, value_parser = ["auto", "kvm", "tcg"], default_value = "auto")]
    accelerator: String,
    /// The images have an older agent, for the story of an upgrade
    #[arg(long)]
    upgrade: bool,
    /// Run only the stories of the short form
    #[arg(long)]
    short: bool,
    /// Leave disks and consoles of the machines behind
    #[arg(long)]
    keep: bool,
    /// Print the names of all stories
    #[arg(long)]
    list: bool,
    /// Parts of names of stories; all by default
    #[arg(value_name = "STORY")]
    stories: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Inside {
    /// Be the helper of a node, inside of its machine
    #[command(hide = true)]
    Node { name: String },
}

fn main() -> ExitCode {
    exit_code("cluster of virtual machines", run(Arguments::parse()), say)
}

/// True if all held.
fn run(arguments: Arguments) -> Result<bool> {
    if let Some(Inside::Node { name }) = &arguments.inside {
        return vm_cluster::serve(name).map(|()| true);
    }
    if arguments.list {
        for name in vm_cluster::names() {
            writeln!(stdout(), "{name}")?;
        }
        return Ok(true);
    }
    vm_cluster::run(&Plan {
        qemu: arguments.qemu.unwrap_or_default(),
        qemu_arguments: arguments.qemu_argument,
        qemu_variables: arguments.qemu_variable,
        kernels: arguments.kernel,
        accelerator: arguments.accelerator,
        upgrade: arguments.upgrade,
        short: arguments.short,
        keep: arguments.keep,
        wanted: arguments.stories,
    })
}

fn say(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Arguments;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn arguments_of_qemu_may_begin_with_a_hyphen() {
        let line = "x --qemu q --qemu-argument=-L --kernel 6.1 i r --kernel 6.12 j s --short a";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(arguments.qemu_argument, ["-L"]);
        assert_eq!((arguments.kernel.len(), arguments.stories.len()), (6, 1));
        assert!(
            Arguments::try_parse_from(["x", "node", "a"])
                .unwrap()
                .inside
                .is_some()
        );
    }
}
