//! Identifies a process for ever by its id and its start time, since the kernel reuses ids.

use std::{fs, io, path::Path};

use heartbeat_sys::process::pidfd::Pidfd;
use nix::unistd::Pid;

/// The start of a process, in clock ticks since boot as in /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartTime(pub u64);

/// A process, distinct from any later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: Pid,
    pub started: StartTime,
}

/// The used fields of /proc/PID/stat (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub process: Process,
    /// Whether the process has ended and its parent has not reaped it.
    pub zombie: bool,
    pub group: Pid,
    pub session: Pid,
}

impl Stat {
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses a line. Its second field is the program's name in parentheses, which may contain
    /// parentheses and spaces.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (head, rest) = line.rsplit_once(") ")?;
        let pid = head.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        // The first of the remaining fields is the third of the line.
        let field = |number: usize| fields.get(number - 3).copied();
        let process = |number| field(number)?.parse().ok().map(Pid::from_raw);
        Some(Self {
            process: Process {
                pid: Pid::from_raw(pid),
                started: StartTime(field(22)?.parse().ok()?),
            },
            zombie: matches!(field(3)?, "Z" | "X"),
            group: process(5)?,
            session: process(6)?,
        })
    }
}

impl Process {
    /// Returns the process with this id, if one lives.
    pub fn find(pid: Pid) -> Option<Self> {
        Stat::of(pid)
            .filter(|stat| !stat.zombie)
            .map(|stat| stat.process)
    }

    /// Whether this very process lives.
    pub fn lives(self) -> bool {
        Self::find(self.pid) == Some(self)
    }
}

/// Ends when `process` has ended. Fails only if the kernel refuses to watch it.
pub async fn process_end(process: Process) -> io::Result<()> {
    let fd = match Pidfd::open(process.pid) {
        Ok(fd) => fd,
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
        Err(error) => return Err(error),
    };
    // The check follows the open, so the descriptor is that of the checked process.
    if !process.lives() {
        return Ok(());
    }
    fd.ended().await
}

/// Returns the process id in the first line of a pidfile, or `None`.
pub fn read_pidfile(path: &Path) -> io::Result<Option<Pid>> {
    let text = fs::read_to_string(path)?;
    let number = text.lines().next().unwrap_or_default().trim().parse().ok();
    Ok(number.filter(|number| *number > 0).map(Pid::from_raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        process::{Child, Command},
        time::Duration,
    };

    const PATIENCE: Duration = Duration::from_secs(20);

    fn sleeper() -> (Child, Process) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::find(Pid::from_raw(child.id() as i32)).unwrap();
        (child, process)
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn process_name_cannot_forge_later_fields() {
        let line = "42 (a) Z 1 (b) S 7 41 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987 1 2\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.process.pid, Pid::from_raw(42));
        assert_eq!(stat.process.started, StartTime(987));
        assert_eq!(
            (stat.group, stat.session),
            (Pid::from_raw(41), Pid::from_raw(40))
        );
        assert!(!stat.zombie);
        assert_eq!(Stat::parse("42 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[tokio::test]
    async fn process_end_is_noticed_and_not_earlier() {
        let (child, process) = sleeper();
        let watching = tokio::spawn(process_end(process));
        tokio::task::yield_now().await;
        assert!(process.lives() && !watching.is_finished());
        end(child);
        tokio::time::timeout(PATIENCE, watching)
            .await
            .expect("noticed")
            .unwrap()
            .unwrap();
        assert!(!process.lives());
    }

    #[tokio::test]
    async fn reused_process_id_is_another_process() {
        let (child, process) = sleeper();
        let earlier = Process {
            started: StartTime(process.started.0 - 1),
            ..process
        };
        assert!(!earlier.lives());
        let watched = tokio::time::timeout(PATIENCE, process_end(earlier)).await;
        end(child);
        watched.expect("it has ended long ago").unwrap();
    }

    #[tokio::test]
    async fn unknown_process_counts_as_ended() {
        let gone = Process {
            pid: Pid::from_raw(i32::MAX),
            started: StartTime(1),
        };
        process_end(gone).await.unwrap();
    }

    #[test]
    fn pidfile_without_a_number_names_no_process() {
        let path = std::env::temp_dir().join(format!("heartbeat-nopid-{}", std::process::id()));
        for text in ["", "\n12\n", "-1", "0", "x"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_pidfile(&path).unwrap(), None, "{text:?}");
        }
        fs::remove_file(&path).unwrap();
        assert!(read_pidfile(&path).is_err());
    }
}
