//! A cluster of three virtual machines, each with a kernel and clocks of its own.
//!
//! The namespaces of the other tests share one kernel and one clock. Here a node is paused,
//! migrated, reset or given another time, and its programs run in the driver of a card. The rig
//! must leave nothing behind: its namespaces have no names, and the kernel kills the machines with
//! the thread that started them.

mod accelerator;
mod answers;
mod capture;
mod guest;
mod machine;
mod network;
mod node;
mod qmp;
mod rig;
mod setup;
mod stories;
mod story;

use std::{
    io::{Write as _, stderr},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail, ensure};

pub use self::guest::serve;
use self::{
    machine::Qemu,
    rig::Rig,
    story::{Report, Story},
};
use crate::{
    cluster, interrupt,
    workdir::{WorkDir, sweep},
};

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub qemu: PathBuf,
    pub qemu_arguments: Vec<String>,
    /// `NAME=VALUE`.
    pub qemu_variables: Vec<String>,
    /// Three values for each kernel: release, image, initramfs.
    pub kernels: Vec<PathBuf>,
    /// `auto`, `kvm` or `tcg`.
    pub accelerator: String,
    /// Whether the images have an older agent.
    pub upgrade: bool,
    pub short: bool,
    /// Whether the files of the machines stay.
    pub keep: bool,
    /// Parts of names of the wanted stories; all if there are none.
    pub wanted: Vec<String>,
}

/// The names of all stories.
pub fn names() -> impl Iterator<Item = &'static str> {
    stories::ALL.iter().map(|story| story.name)
}

/// Runs the stories. True if all is as it should be.
pub fn run(plan: &Plan) -> Result<bool> {
    interrupt::install();
    sweep();
    let stories = plan.stories();
    ensure!(!stories.is_empty(), "no story has such a name: see --list");
    let object = cluster::from_env(cluster::OBJECT)?;
    let directory = WorkDir::new(plan.keep)?;
    let mut qemu = plan.qemu()?;
    let kernels = plan.kernels.chunks(3).map(rig::kernel);
    let kernels = kernels.collect::<Result<Vec<_>>>()?;
    let first = kernels.first().context("no kernel: give --kernel")?;
    accelerator::choose(&mut qemu, &plan.accelerator, first, directory.path())?;
    say(&format!(
        "{} with {}, files in {}",
        qemu.program.display(),
        qemu.accelerator,
        directory.path().display()
    ));
    let mut report = Report::default();
    let mut rig = None;
    for story in stories {
        if rig.is_none() {
            // A story that fails may leave any state. The next one gets a new cluster.
            match Rig::new(&qemu, &kernels, &object, directory.path()) {
                Ok(mut new) => {
                    new.upgrade = plan.upgrade;
                    for node in &new.nodes {
                        say(&format!("node {}: Linux {}", node.name, node.release()));
                    }
                    rig = Some(new);
                }
                Err(error) => {
                    interrupt::check()?;
                    report.lost(story.name, &error);
                    break;
                }
            }
        }
        if let Some(running) = &mut rig
            && !report.run(story, running)?
        {
            rig = None;
        }
    }
    Ok(report.finish())
}

impl Plan {
    fn stories(&self) -> Vec<&'static Story> {
        let wanted = |story: &&Story| {
            let named = self.wanted.iter().any(|part| story.name.contains(part));
            if self.wanted.is_empty() {
                (!self.short || story.short) && (self.upgrade || !stories::is_upgrade(story))
            } else {
                named
            }
        };
        stories::ALL.iter().filter(wanted).collect()
    }

    fn qemu(&self) -> Result<Qemu> {
        let mut variables = Vec::new();
        for variable in &self.qemu_variables {
            let Some((name, value)) = variable.split_once('=') else {
                bail!("{variable} is not NAME=VALUE");
            };
            variables.push((name.to_owned(), value.to_owned()));
        }
        Ok(Qemu {
            program: self.qemu.clone(),
            arguments: self.qemu_arguments.clone(),
            variables,
            accelerator: String::new(),
            cpu: String::new(),
        })
    }
}

fn say(text: &str) {
    // A reader that went away is no error.
    let _ = writeln!(stderr(), "{text}");
}
