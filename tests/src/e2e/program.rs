//! Runs other programs in a namespace and collects their output. None outlives its value here.

use std::{
    io::{Read, Write as _},
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill, killpg},
    },
    unistd::Pid,
};

use crate::{netns::Namespace, sandbox::Sandbox, wait_until};

/// The exit status and the output of a program.
#[derive(Clone, Debug)]
pub struct Ended {
    pub what: String,
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The output of the program, if it succeeded.
    pub fn success(self) -> Result<String> {
        ensure!(self.status.success(), "{self:#?}");
        Ok(self.out)
    }

    /// Checks that the program failed with status 1, and that its message has all of `parts`.
    pub fn refusal(&self, parts: &[&str]) -> Result<()> {
        ensure!(self.status.code() == Some(1), "{self:#?}");
        for part in parts {
            ensure!(self.err.contains(part), "no `{part}` in {self:#?}");
        }
        ensure!(!self.err.contains("panicked"), "{self:#?}");
        Ok(())
    }
}

/// A running program, the leader of a process group that is killed on drop.
#[derive(Debug)]
pub struct Program {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    out: Printed,
    err: Printed,
    status: Option<ExitStatus>,
}

impl Program {
    /// Starts `command` in `ns`, or in the namespace of this process.
    pub fn start(ns: Option<&Namespace>, command: Command) -> Result<Self> {
        Self::start_in(ns, None, command)
    }

    /// Starts `command` in `ns` and in a sandbox.
    pub fn start_in(
        ns: Option<&Namespace>,
        sandbox: Option<&Sandbox>,
        mut command: Command,
    ) -> Result<Self> {
        let what = format!("{command:?}");
        let namespace = ns.map(|ns| ns.fd().as_raw_fd());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // SAFETY: between fork and exec only two system calls are made, both async-signal-safe;
        // the descriptor stays open in the parent, which waits for the exec.
        unsafe {
            command.pre_exec(move || {
                if let Some(namespace) = namespace {
                    setns(BorrowedFd::borrow_raw(namespace), CloneFlags::CLONE_NEWNET)?;
                }
                set_pdeathsig(Signal::SIGKILL)?;
                Ok(())
            });
        }
        let child = match sandbox {
            Some(sandbox) => sandbox.spawn(&mut command),
            None => command.spawn(),
        };
        let mut child = child.with_context(|| format!("cannot run {what}"))?;
        let (input, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Self {
            what,
            out: Printed::follow(out.context("no standard output")?),
            err: Printed::follow(err.context("no standard error")?),
            child,
            input,
            status: None,
        })
    }

    /// Runs `command` to its end, which must come within `patience`.
    pub fn run(ns: Option<&Namespace>, command: Command, patience: Duration) -> Result<Ended> {
        let mut program = Self::start(ns, command)?;
        program.input = None;
        program.end(patience)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The output so far.
    pub fn out(&self) -> String {
        self.out.so_far()
    }

    /// The error output so far.
    pub fn err(&self) -> String {
        self.err.so_far()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.what))
    }

    /// Writes a line to the standard input of the program.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        writeln!(input, "{line}").with_context(|| format!("telling {} `{line}`", self.what))
    }

    /// Waits until the program has printed `lines` lines in all, and returns the last. Fails if it
    /// ends before.
    pub fn line(&mut self, lines: usize, patience: Duration) -> Result<String> {
        let what = format!("line {lines} of {}", self.what);
        let mut found = None;
        let waited = wait_until(patience, &what, || {
            let printed = self.out.so_far();
            let mut whole = printed.split_inclusive('\n').filter(|l| l.ends_with('\n'));
            found = whole.nth(lines - 1).map(|line| line.trim_end().to_owned());
            if found.is_none() {
                self.status = self.child.try_wait()?;
                ensure!(self.status.is_none(), "it ended");
            }
            Ok(found.is_some())
        });
        waited.with_context(|| format!("{what}; it complained: {}", self.err.so_far()))?;
        found.context("no such line")
    }

    /// Closes the input of the program, and waits for its end.
    pub fn end(mut self, patience: Duration) -> Result<Ended> {
        self.input = None;
        let what = format!("the end of {}", self.what);
        wait_until(patience, &what, || {
            if self.status.is_none() {
                self.status = self.child.try_wait()?;
            }
            Ok(self.status.is_some())
        })
        .with_context(|| format!("it said {} and {}", self.out.so_far(), self.err.so_far()))?;
        Ok(Ended {
            what: self.what.clone(),
            status: self.status.context("it has not ended")?,
            out: self.out.whole(),
            err: self.err.whole(),
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.status.is_none() {
            // The process has not been reaped, so its id and its group's are still its own.
            let _ = killpg(
                Pid::from_raw(self.child.id().cast_signed()),
                Signal::SIGKILL,
            );
            let _ = self.child.wait();
        }
    }
}

/// The text from a pipe.
#[derive(Debug)]
struct Printed {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Printed {
    fn follow(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(len @ 1..) = pipe.read(&mut part) {
                lock(&sink).extend_from_slice(&part[..len]);
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&lock(&self.text)).into_owned()
    }

    /// The whole text, once no process has the writing end.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}

fn lock(text: &Mutex<Vec<u8>>) -> std::sync::MutexGuard<'_, Vec<u8>> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}
