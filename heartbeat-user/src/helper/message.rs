//! The protocol of agent and helper: questions and answers as JSON, each after its length. Each
//! question has a connection of its own.

use std::{
    io, os::unix::process::ExitStatusExt, path::PathBuf, process::ExitStatus, time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::process::{Ended, Lingers, Process, Program, Registration, StartTime};

/// The greatest length of a message. The longest is the meta-data of a resource agent with every
/// byte escaped.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// Size of the length before a message.
pub(super) const HEADER: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// Answered by [`Answer::Ended`]. Closing the connection kills the program.
    Run { program: Program, limit: Duration },
    /// Answered by [`Answer::Launched`], and by [`Answer::Exited`] when the program has ended.
    Launch {
        program: Program,
        registration: Registration,
        /// The file for the program's output.
        output: PathBuf,
    },
    /// Answered by [`Answer::Signalled`].
    Signal { leader: Named, signal: i32 },
    /// Answered by [`Answer::Cleared`].
    Clear { resource: String },
    /// Answered by [`Answer::Pidfile`].
    Pidfile { path: PathBuf },
    /// Answered by [`Answer::Disk`].
    Disk { directory: PathBuf, mark: String },
    /// Answered by [`Answer::Installed`].
    MayInstall { path: PathBuf },
    /// Answered by [`Answer::Installed`].
    Install {
        path: PathBuf,
        text: String,
        replaces: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Ended {
        /// The status of waitpid(2); `None` if the program took too long.
        status: Option<i32>,
        stdout: String,
        stderr: String,
        took: Duration,
        /// Whether processes of the run remain: [`Answer::Gone`] then follows.
        lingers: bool,
    },
    Gone,
    Launched {
        pid: Option<u32>,
    },
    Exited {
        status: i32,
    },
    Signalled,
    Cleared,
    Pidfile {
        pid: Option<i32>,
    },
    Disk(Result<String, String>),
    Installed(Result<PathBuf, String>),
    /// Answer to any question that failed.
    Failed {
        /// The system's error number, if there is one.
        code: Option<i32>,
        message: String,
    },
}

/// A [`Process`] in a message.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pid: i32,
    started: u64,
}

impl From<Process> for Named {
    fn from(process: Process) -> Self {
        Self {
            pid: process.pid.as_raw(),
            started: process.started.0,
        }
    }
}

impl From<Named> for Process {
    fn from(named: Named) -> Self {
        Self {
            pid: Pid::from_raw(named.pid),
            started: StartTime(named.started),
        }
    }
}

impl From<io::Result<Ended>> for Answer {
    fn from(ended: io::Result<Ended>) -> Self {
        match ended {
            Ok(ended) => Self::Ended {
                status: ended.status.map(ExitStatusExt::into_raw),
                stdout: ended.stdout,
                stderr: ended.stderr,
                took: ended.took,
                lingers: ended.lingers.is_some(),
            },
            Err(error) => error.into(),
        }
    }
}

impl From<io::Error> for Answer {
    fn from(error: io::Error) -> Self {
        Self::Failed {
            code: error.raw_os_error(),
            message: error.to_string(),
        }
    }
}

impl Answer {
    /// Returns the error for a caller that expected another answer.
    fn unfit(self) -> io::Error {
        match self {
            Self::Failed {
                code: Some(code), ..
            } => io::Error::from_raw_os_error(code),
            Self::Failed { message, .. } => io::Error::other(message),
            other => io::Error::other(format!(
                "the helper's answer does not match the question: {other:?}"
            )),
        }
    }

    /// Converts the answer. `gone` makes the future for the end of remaining processes.
    pub(super) fn ended(self, gone: impl FnOnce() -> Lingers) -> io::Result<Ended> {
        match self {
            Self::Ended {
                status,
                stdout,
                stderr,
                took,
                lingers,
            } => Ok(Ended {
                status: status.map(ExitStatus::from_raw),
                stdout,
                stderr,
                took,
                lingers: lingers.then(gone),
            }),
            other => Err(other.unfit()),
        }
    }

    pub(super) fn launched(self) -> io::Result<Option<u32>> {
        match self {
            Self::Launched { pid } => Ok(pid),
            other => Err(other.unfit()),
        }
    }

    pub(super) fn exited(self) -> io::Result<ExitStatus> {
        match self {
            Self::Exited { status } => Ok(ExitStatus::from_raw(status)),
            other => Err(other.unfit()),
        }
    }

    pub(super) fn signalled(self) -> io::Result<()> {
        match self {
            Self::Signalled => Ok(()),
            other => Err(other.unfit()),
        }
    }

    pub(super) fn cleared(self) -> io::Result<()> {
        match self {
            Self::Cleared => Ok(()),
            other => Err(other.unfit()),
        }
    }

    pub(super) fn pidfile(self) -> io::Result<Option<Pid>> {
        match self {
            Self::Pidfile { pid } => Ok(pid.map(Pid::from_raw)),
            other => Err(other.unfit()),
        }
    }

    pub(super) fn disk(self) -> Result<String, String> {
        match self {
            Self::Disk(verdict) => verdict,
            other => Err(other.unfit().to_string()),
        }
    }

    pub(super) fn installed(self) -> Result<PathBuf, String> {
        match self {
            Self::Installed(result) => result,
            other => Err(other.unfit().to_string()),
        }
    }
}

/// Returns a signal by number, if it may be sent.
pub(super) fn signal(number: i32) -> io::Result<Signal> {
    Ok(Signal::try_from(number)?)
}

/// Encodes a message after its length.
pub(super) fn pack(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut packed = vec![0; HEADER];
    serde_json::to_writer(&mut packed, message)?;
    let length = packed.len() - HEADER;
    if length > MOST_BYTES {
        return Err(io::Error::other(format!(
            "{length} bytes are too many for a message: at most {MOST_BYTES}"
        )));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    packed[..HEADER].copy_from_slice(&length.to_le_bytes());
    Ok(packed)
}

/// Decodes the length of the next message.
pub(super) fn length(header: [u8; HEADER]) -> io::Result<usize> {
    let length = u32::from_le_bytes(header) as usize;
    if length > MOST_BYTES {
        return Err(io::Error::other(format!(
            "a message of {length} bytes is announced: at most {MOST_BYTES}"
        )));
    }
    Ok(length)
}

pub(super) fn unpack<T: DeserializeOwned>(message: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(message)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    fn back<T: Serialize + DeserializeOwned>(message: &T) -> T {
        let packed = pack(message).unwrap();
        let header = packed[..HEADER].try_into().unwrap();
        assert_eq!(length(header).unwrap(), packed.len() - HEADER);
        unpack(&packed[HEADER..]).unwrap()
    }

    #[test]
    fn program_survives_the_protocol() {
        let odd = OsStr::from_bytes(b"a\xffb\n\0");
        let sent = Program::new("/bin/true").with("ODD", odd);
        let question = Question::Run {
            program: sent.clone(),
            limit: Duration::from_nanos(1_500_000_001),
        };
        match back(&question) {
            Question::Run { program, limit } => {
                assert_eq!(program, sent);
                assert_eq!(limit, Duration::from_nanos(1_500_000_001));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn error_keeps_its_kind() {
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        let error = back(&Answer::from(missing))
            .ended(|| unreachable!())
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let other = back(&Answer::from(io::Error::other("odd")));
        assert_eq!(other.pidfile().unwrap_err().to_string(), "odd");
        let unfit = Answer::Signalled.ended(|| unreachable!());
        let unfit = unfit.unwrap_err().to_string();
        assert!(unfit.contains("does not match the question"), "{unfit}");
    }

    #[test]
    fn program_end_survives_the_protocol() {
        for raw in [0, 7 << 8, 9] {
            let ended = Ended {
                status: Some(ExitStatus::from_raw(raw)),
                stdout: "out\u{1b}".to_owned(),
                stderr: String::new(),
                took: Duration::from_micros(3),
                lingers: None,
            };
            let arrived = back(&Answer::from(Ok(ended)));
            let arrived = arrived.ended(|| unreachable!()).unwrap();
            assert_eq!(arrived.status, Some(ExitStatus::from_raw(raw)));
            assert_eq!(arrived.stdout, "out\u{1b}");
        }
    }

    #[test]
    fn oversized_message_is_neither_sent_nor_awaited() {
        let long = Answer::Disk(Ok("x".repeat(MOST_BYTES)));
        assert!(pack(&long).unwrap_err().to_string().contains("too many"));
        assert!(length(u32::MAX.to_le_bytes()).is_err());
    }
}
