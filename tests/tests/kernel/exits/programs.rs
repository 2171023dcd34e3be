//! The two exit programs by themselves: the event that each takes for the end of a process.

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::wire::Health;
use heartbeat_tests::{e2e::Program, kernel, needs, skip::skip};
use nix::sys::signal::Signal;

use super::processes::{Bare, PATIENCE, kill, stays, threads, wait_zombie};

const PRECISE: &str = "process_exit";
const FALLBACK: &str = "leader_exit";
const TRACEPOINT: &str = "sched_process_exit";

/// Runs `test` with each program of `names` that this kernel can attach.
fn with(names: &[&str], test: impl Fn(&mut Bare) -> Result<()>) -> Result<()> {
    needs!(Kernel);
    let object = kernel::object()?;
    for name in names {
        match Bare::attach(&object, name, TRACEPOINT)? {
            Some(mut bare) => test(&mut bare).with_context(|| (*name).to_owned())?,
            None if *name == PRECISE => {
                skip("this kernel's sched_process_exit does not tell the last thread from others");
            }
            None => anyhow::bail!("{name} asks for no argument, and was refused"),
        }
    }
    Ok(())
}

#[test]
fn tracepoint_with_fewer_arguments_takes_only_the_fallback() -> Result<()> {
    /// This tracepoint has one argument on all kernels, as `sched_process_exit` has on older ones.
    const SAYS_LESS: &str = "sched_process_free";
    needs!(Kernel);
    let object = kernel::object()?;
    ensure!(Bare::attach(&object, PRECISE, SAYS_LESS)?.is_none());
    ensure!(Bare::attach(&object, FALLBACK, SAYS_LESS)?.is_some());
    Ok(())
}

#[test]
fn entry_is_removed_with_its_event() -> Result<()> {
    with(&[PRECISE, FALLBACK], |bare| {
        let (victim, other) = (stays()?, stays()?);
        let (pid, other_pid) = (victim.pid(), other.pid());
        bare.watch(pid, 7, Health::default())?;
        bare.watch(other_pid, 8, Health::default())?;
        kill(victim)?;
        ensure!(bare.told()? == [(pid, 7)]);
        ensure!(!bare.watches(pid) && bare.watches(other_pid));
        kill(other)?;
        ensure!(bare.told()? == [(other_pid, 8)]);
        Ok(())
    })
}

/// Makes a watched process whose first thread has ended and whose others run.
fn headless(bare: &mut Bare) -> Result<Program> {
    let program = threads(3)?;
    bare.watch(program.pid(), 7, Health::default())?;
    program.signal(Signal::SIGUSR1)?;
    wait_zombie(program.pid(), program.pid())?;
    Ok(program)
}

#[test]
fn last_thread_is_the_exit_of_its_process() -> Result<()> {
    with(&[PRECISE], |bare| {
        let program = headless(bare)?;
        let pid = program.pid();
        ensure!(bare.told()?.is_empty());
        program.end(PATIENCE)?;
        ensure!(bare.told()? == [(pid, 7)]);
        Ok(())
    })
}

#[test]
fn first_thread_is_the_exit_of_its_process_on_older_kernels() -> Result<()> {
    with(&[FALLBACK], |bare| {
        let program = threads(3)?;
        let pid = program.pid();
        bare.watch(pid, 7, Health::default())?;
        kill(program)?;
        ensure!(bare.told()? == [(pid, 7)], "killed");

        let program = headless(bare)?;
        let pid = program.pid();
        ensure!(bare.told()? == [(pid, 7)], "its first thread ended");
        program.end(PATIENCE)?;
        ensure!(bare.told()?.is_empty(), "told twice, or of another thread");
        Ok(())
    })
}

#[test]
fn meaning_of_an_exit_is_added_to_kernel_health() -> Result<()> {
    with(&[PRECISE, FALLBACK], |bare| {
        // The meaning of each exit, and the kernel's health after it.
        for (health, known) in [
            (Health::default(), 0),
            (Health::of(3, false), 0x0008),
            (Health::of(3, false), 0x0008),
            (Health::of(0, true), 0x8009),
            (Health::of(14, false), 0xc009),
            (Health::default(), 0xc009),
        ] {
            let (victim, unwatched) = (stays()?, stays()?);
            bare.watch(victim.pid(), 7, health)?;
            kill(unwatched)?;
            kill(victim)?;
            let found = bare.kernel_health()?;
            ensure!(
                found == known,
                "{health:?}: {found:#x}, expected {known:#x}"
            );
        }
        let threads = threads(3)?;
        bare.watch(threads.pid(), 7, Health::of(1, false))?;
        kill(threads)?;
        ensure!(bare.kernel_health()? == 0xc00b, "of many threads");
        Ok(())
    })
}
