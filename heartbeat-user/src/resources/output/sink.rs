//! The target of the lines: journald with the resource's name, or the agent's log.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use crate::logging;

/// Socket of journald for entries with fields (systemd.journal-fields(7)).
const JOURNAL: &str = "/run/systemd/journal/socket";
/// syslog's number of an informational message.
const PRIORITY: u8 = 6;

#[derive(Debug)]
pub(super) enum Sink {
    Journal { socket: UnixDatagram, path: PathBuf },
    Log,
}

impl Sink {
    /// Returns journald if the agent's own log goes there.
    pub(super) fn new() -> Self {
        match logging::is_journal().then(|| Self::journal(Path::new(JOURNAL))) {
            Some(Ok(sink)) => sink,
            Some(Err(error)) => {
                log::warn!("{JOURNAL}: {error}; output of resources goes to this log");
                Self::Log
            }
            None => Self::Log,
        }
    }

    pub(super) fn journal(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A line that journald does not accept at once is lost.
        socket.set_nonblocking(true)?;
        Ok(Self::Journal {
            socket,
            path: path.to_owned(),
        })
    }

    /// Forwards a line of a resource's program. Returns whether that was possible.
    pub(super) fn put(&self, resource: &str, line: &[u8]) -> bool {
        let line = logging::one_line_of(line, super::lines::LONGEST);
        match self {
            Self::Journal { socket, path } => {
                let entry = format!(
                    "MESSAGE={line}\nPRIORITY={PRIORITY}\nSYSLOG_IDENTIFIER={resource}\n\
                     HEARTBEAT_RESOURCE={resource}\n"
                );
                socket.send_to(entry.as_bytes(), path).is_ok()
            }
            Self::Log => {
                logging::forward(resource, &line);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_reaches_the_journal_as_one_entry_of_its_resource() {
        let path = std::env::temp_dir().join(format!("heartbeat-journal-{}", std::process::id()));
        let journal = UnixDatagram::bind(&path).unwrap();
        let sink = Sink::journal(&path).unwrap();
        assert!(sink.put("db", b"not permitted\x1b[0m\nPRIORITY=0"));
        let mut entry = [0; 512];
        let length = journal.recv(&mut entry).unwrap();
        drop(journal);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&entry[..length]),
            "MESSAGE=not permitted\\u{1b}[0m\\nPRIORITY=0\nPRIORITY=6\nSYSLOG_IDENTIFIER=db\n\
             HEARTBEAT_RESOURCE=db\n"
        );
        assert!(
            !sink.put("db", b"nobody is there"),
            "a line without a reader"
        );
    }
}
