//! Process exits, as the kernel reports them and as the agent reads them.
//!
//! The next event proves that there was none before it: the ring buffer keeps the order.

mod health;
mod processes;
mod programs;

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    e2e::{Program, leftovers},
    needs,
    sys::boottime,
    wait_until,
};
use heartbeat_user::dataplane::WatchError;
use nix::sys::signal::Signal;

use processes::{Agent, PATIENCE, both_ways, kill, stays, threads, wait_zombie};

#[test]
fn exit_of_a_killed_process_is_reported_once() -> Result<()> {
    both_ways(|agent| {
        let victim = stays()?;
        agent.watch(victim.pid(), 7)?;
        let before = boottime();
        victim.signal(Signal::SIGKILL)?;
        let exit = agent.next()?;
        ensure!((exit.pid, exit.token) == (victim.pid(), 7), "{exit:?}");
        ensure!(before <= exit.at && exit.at <= boottime(), "{exit:?}");
        agent.wait_gone(&exit)?;
        wait_zombie(victim.pid(), victim.pid())?;
        agent.is_quiet()
    })
}

#[test]
fn exit_of_a_process_that_ends_by_itself_is_reported() -> Result<()> {
    both_ways(|agent| {
        let mut command = Command::new("sh");
        command.args(["-c", "read line; exit 3"]);
        let program = Program::start(None, command)?;
        let pid = program.pid();
        agent.watch(pid, 7)?;
        // The parent reaps the process at once.
        ensure!(program.end(PATIENCE)?.status.code() == Some(3));
        let exit = agent.next()?;
        ensure!((exit.pid, exit.token) == (pid, 7), "{exit:?}");
        agent.wait_gone(&exit)?;
        agent.is_quiet()
    })
}

#[test]
fn exit_of_a_process_with_threads_is_reported_once() -> Result<()> {
    both_ways(|agent| {
        for (token, killed) in [(1, true), (2, false)] {
            let program = threads(30)?;
            let pid = program.pid();
            agent.watch(pid, token)?;
            if killed {
                kill(program)?;
            } else {
                program.end(PATIENCE)?.success()?;
            }
            let exit = agent.next()?;
            ensure!((exit.pid, exit.token) == (pid, token), "{exit:?}");
            agent.is_quiet()?;
        }
        Ok(())
    })
}

#[test]
fn exit_of_an_unwatched_process_is_not_reported() -> Result<()> {
    both_ways(|agent| {
        kill(stays()?)?;
        let unwatched = stays()?;
        agent.watch(unwatched.pid(), 7)?;
        agent.exits.unwatch(unwatched.pid());
        kill(unwatched)?;
        agent.is_quiet()?;

        let late = stays()?;
        let pid = late.pid();
        agent.watch(pid, 8)?;
        kill(late)?;
        // The kernel has reported the exit already, but no program has read the report.
        agent.exits.unwatch(pid);
        agent.is_quiet()
    })
}

#[test]
fn exit_of_a_process_watched_twice_is_reported_once() -> Result<()> {
    both_ways(|agent| {
        let victim = stays()?;
        agent.watch(victim.pid(), 1)?;
        agent.watch(victim.pid(), 2)?;
        victim.signal(Signal::SIGKILL)?;
        ensure!(agent.next()?.token == 2);
        agent.is_quiet()
    })
}

#[test]
fn exit_before_the_watch_began_is_reported() -> Result<()> {
    both_ways(|agent| {
        let victim = stays()?;
        let pid = victim.pid();
        victim.signal(Signal::SIGKILL)?;
        wait_zombie(pid, pid)?;
        agent.watch(pid, 7)?;
        let exit = agent.next()?;
        ensure!((exit.pid, exit.token) == (pid, 7), "{exit:?}");

        kill(victim)?;
        let refused = agent.watch(pid, 8);
        ensure!(
            matches!(refused, Err(WatchError::Gone { .. })),
            "{refused:?}"
        );
        agent.is_quiet()
    })
}

#[test]
fn watch_of_a_thread_id_is_refused() -> Result<()> {
    both_ways(|agent| {
        let program = threads(1)?;
        let pid = program.pid();
        let mut ids = fs::read_dir(format!("/proc/{pid}/task"))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?))
            .collect::<Result<Vec<u32>>>()?;
        ids.retain(|id| *id != pid);
        let refused = agent.watch(ids[0], 7);
        ensure!(
            matches!(refused, Err(WatchError::Refused { .. })),
            "{refused:?}"
        );
        Ok(())
    })
}

#[test]
fn next_process_with_the_same_id_is_not_watched() -> Result<()> {
    both_ways(|agent| {
        let first = stays()?;
        let pid = first.pid();
        agent.watch(pid, 1)?;
        kill(first)?;
        ensure!(agent.next()?.token == 1);
        kill(with_id(pid)?)?;
        agent.is_quiet()?;

        // A new watch reports its own exit, not an unread one.
        let first = stays()?;
        let pid = first.pid();
        agent.watch(pid, 2)?;
        kill(first)?;
        let second = with_id(pid)?;
        agent.watch(pid, 3)?;
        agent.is_quiet()?;
        second.signal(Signal::SIGKILL)?;
        let exit = agent.next()?;
        ensure!((exit.pid, exit.token) == (pid, 3), "{exit:?}");
        agent.is_quiet()
    })
}

/// Starts a process with the free id `pid`.
fn with_id(pid: u32) -> Result<Program> {
    /// The last id that was used. The next process gets the following id, unless another starts
    /// first.
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    let mut found = None;
    wait_until(PATIENCE, "a process has the wanted id", || {
        fs::write(LAST, (pid - 1).to_string()).context(LAST)?;
        let program = stays()?;
        found = (program.pid() == pid).then_some(program);
        Ok(found.is_some())
    })?;
    found.context("no process")
}

#[test]
fn each_exit_is_reported_once_while_others_come_and_go() -> Result<()> {
    const WATCHED: u32 = 20;
    both_ways(|agent| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let storm = scope.spawn(|| storm(&done));
            let told = tell_all(agent, WATCHED);
            done.store(true, Ordering::Relaxed);
            let others = storm.join().expect("the storm does not panic")?;
            told?;
            ensure!(others > 0, "nobody else came and went");
            anyhow::Ok(())
        })?;
        agent.is_quiet()
    })
}

/// Starts processes that end at once, and returns their number.
fn storm(done: &AtomicBool) -> Result<usize> {
    let mut count = 0;
    loop {
        let mut command = Command::new("true");
        command.stdin(Stdio::null());
        for _ in 0..4 {
            ensure!(command.status()?.success());
            count += 1;
        }
        if done.load(Ordering::Relaxed) {
            return Ok(count);
        }
    }
}

/// Watches processes and lets them end. Each exit must be reported once.
fn tell_all(agent: &mut Agent, count: u32) -> Result<()> {
    let mut expected = BTreeMap::new();
    let mut programs = Vec::new();
    for token in 0..count {
        let program = stays()?;
        agent.watch(program.pid(), token)?;
        expected.insert(program.pid(), token);
        programs.push(program);
    }
    for program in &programs {
        program.signal(Signal::SIGKILL)?;
    }
    while !expected.is_empty() {
        let exit = agent.next()?;
        let token = expected.remove(&exit.pid);
        ensure!(token == Some(exit.token), "{exit:?}, expected {token:?}");
    }
    Ok(())
}

#[test]
fn program_is_unloaded_when_its_reader_is_dropped() -> Result<()> {
    needs!(Kernel);
    let agent = Agent::with_kernel()?;
    let program = agent.program.context("no program is loaded")?.into();
    ensure!(leftovers::program_lives(program)?);
    drop(agent);
    wait_until(PATIENCE, "the kernel has let the program go", || {
        Ok(!leftovers::program_lives(program)?)
    })
}
