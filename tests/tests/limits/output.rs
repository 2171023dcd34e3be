//! Readers that do not read: no program waits for them, and each says what it could not write.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _, pipe},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{
        EventLog, SOON, heartbeat,
        shortcuts::{options, wait_holder, with_cluster},
    },
    needs, wait_until,
};
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::{ALL, launcher, unstarted};

/// Makes a full named pipe, whose only reader does not read.
fn full_pipe(path: &Path) -> Result<File> {
    mkfifo(path, Mode::from_bits_truncate(0o600))?;
    let mut pipe = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    loop {
        match pipe.write(&[b'\n'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(pipe),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Moves the service to b and back, which each agent logs.
fn there_and_back(cluster: &Cluster) -> Result<()> {
    for to in ["b", "a"] {
        cluster
            .node("c")?
            .heartbeat(&["move", "service", to])?
            .success()?;
        wait_holder(cluster, Some(to))?;
    }
    Ok(())
}

#[test]
fn agents_with_a_log_that_nobody_reads_go_on() -> Result<()> {
    unstarted(|cluster| {
        let a = cluster.node("a")?;
        let mut pipe = full_pipe(&a.dir().join("pipe"))?;
        let scripts = [
            ("a", r#"exec "$HEARTBEAT_BIN" "$@" 2>"${3%/*}/pipe""#),
            ("b", r#"exec "$HEARTBEAT_BIN" "$@" <&- >&- 2>&-"#),
            ("c", r#"exec "$HEARTBEAT_BIN" "$@" >/dev/full 2>&1"#),
        ];
        for (name, script) in scripts {
            let launcher = launcher(cluster.node(name)?, script)?;
            cluster.node_mut(name)?.start_by(&launcher)?;
        }
        cluster.wait_well(SOON, "a")?;
        let event_log = EventLog::begin(cluster)?;
        there_and_back(cluster)?;
        cluster.wait_well(SOON, "a")?;
        // An agent that waited for the reader would be stalled by now.
        no_one_died(event_log, cluster)?;

        // The reader returns: the log goes on where it stopped, and says what is missing.
        let mut read = String::new();
        let both = [
            "lines of this log were lost here",
            "vip service: taken over",
        ];
        wait_until(SOON, "the log goes on", || {
            let mut part = [0; 4096];
            match pipe.read(&mut part) {
                Ok(len) => read.push_str(&String::from_utf8_lossy(&part[..len])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            Ok(both.iter().all(|words| read.contains(words)))
        })
        .with_context(|| format!("it reads: {}", read.trim_start()))?;

        // The reader leaves for good.
        drop(pipe);
        let event_log = EventLog::begin(cluster)?;
        there_and_back(cluster)?;
        cluster.wait_well(SOON, "a")?;
        no_one_died(event_log, cluster)?;
        for name in ALL {
            ensure!(
                cluster.node_mut(name)?.stop()?,
                "the agent of {name} failed"
            );
        }
        Ok(())
    })
}

fn no_one_died(mut event_log: EventLog, cluster: &Cluster) -> Result<()> {
    for name in ALL {
        event_log.listen(cluster, name)?;
    }
    event_log.no_down_reports()
}

#[test]
fn command_with_lost_output_says_so_unless_its_reader_left() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let mut commands = vec![heartbeat(&["--help"])?, heartbeat(&["--version"])?];
        for words in [
            &["check"][..],
            &["status"],
            &["status", "--json"],
            &["events"],
            &["events", "--json"],
            &["ping", "b", "--count", "3"],
            &["explain", "service"],
            &["simulate"],
            &["resource", "list"],
            &["resource", "show", "service"],
            &["verify"],
            &["reload"],
            &["move", "service", "a"],
        ] {
            commands.push(a.command(words)?);
        }
        for mut command in commands {
            let what = format!("{command:?}");
            let full = OpenOptions::new().write(true).open("/dev/full")?;
            let ended = run(&mut command, full.into())?;
            ensure!(ended.0 == Some(1), "{what} to a full disk: {ended:?}");
            ensure!(
                ended.1.contains("No space left on device"),
                "{what} to a full disk: {ended:?}"
            );
            let (reader, writer) = pipe()?;
            drop(reader);
            let ended = run(&mut command, writer.into())?;
            // `check` writes its warnings to standard error.
            let complains = ended.1.lines().any(|line| line.starts_with("heartbeat:"));
            ensure!(
                ended.0 == Some(0) && !complains,
                "{what} to nobody: {ended:?}"
            );
        }
        Ok(())
    })
}

/// Runs a command with its output going `to`. Returns its exit status and its error output.
fn run(command: &mut Command, to: Stdio) -> Result<(Option<i32>, String)> {
    let ended = command.stdin(Stdio::null()).stdout(to).output()?;
    Ok((
        ended.status.code(),
        String::from_utf8_lossy(&ended.stderr).into_owned(),
    ))
}
