//! The kinds of checks, and their runners. Only this file refers to all kinds; no kind refers to
//! this file.

use super::{Means, disk::Disks, interface, process, runner::Runner, sampler::Sampler};
use crate::{config::HealthKind, process::Program};

/// Runs a check by its kind. Never ends. The future can be dropped at any await; a program that
/// runs then is killed.
pub(super) fn run(
    runner: Runner,
    means: &Means,
    disks: &Disks,
) -> impl Future<Output = ()> + Send + 'static {
    let means = means.clone();
    let disks = disks.clone();
    async move {
        let eye = match &runner.check.kind {
            HealthKind::Process(name) => return process::run(&runner, name, means).await,
            HealthKind::Interface(name) => return interface::run(&runner, name).await,
            HealthKind::Exec(line) => Sampler::Exec(Program::of(line), runner.check.timeout),
            HealthKind::Tcp(address) => Sampler::Tcp(*address),
            HealthKind::Http(target) => Sampler::Http(target.clone()),
            HealthKind::Disk(directory) => Sampler::Disk {
                thread: disks.thread(directory),
                directory: directory.clone(),
                mark: means.mark,
            },
        };
        runner.repeat(eye).await;
    }
}
