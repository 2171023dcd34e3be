//! The user, environment and limits of a resource's programs.

use std::{fmt, path::PathBuf};

/// The user, the environment and the limits of a resource's programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// The name of a user; root without one.
    pub user: Option<String>,
    /// The name of a group; the user's own without one.
    pub group: Option<String>,
    /// Variables beyond those that every program gets, sorted by name.
    pub environment: Vec<(String, String)>,
    /// The working directory, absolute; `/` without one.
    pub directory: Option<PathBuf>,
    /// The signal that asks a program of `run` to end.
    pub stop_signal: StopSignal,
    /// Sorted by kind, at most one of each.
    pub limits: Vec<Limit>,
}

impl Execution {
    /// Whether a program runs as it would without settings.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A bound on the resources of a process, both the soft and the hard one (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    pub kind: LimitKind,
    /// `None` is without a bound.
    pub value: Option<u64>,
}

macro_rules! named {
    (
        $(#[$doc:meta])* $type:ident: $count:literal,
        $($(#[$of:meta])* $variant:ident = $name:literal,)*
    ) => {
        $(#[$doc])*
        pub enum $type {
            $($(#[$of])* $variant,)*
        }

        impl $type {
            pub const ALL: [Self; $count] = [$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

named! {
    /// The resource that a limit bounds, by the names of setrlimit(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    LimitKind: 13,
    As = "as",
    Core = "core",
    Cpu = "cpu",
    Data = "data",
    Fsize = "fsize",
    Memlock = "memlock",
    Msgqueue = "msgqueue",
    Nice = "nice",
    Nofile = "nofile",
    Nproc = "nproc",
    Rtprio = "rtprio",
    Sigpending = "sigpending",
    Stack = "stack",
}

named! {
    /// A signal that can ask a program to end.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    StopSignal: 11,
    #[default]
    Term = "SIGTERM",
    Int = "SIGINT",
    Quit = "SIGQUIT",
    Hup = "SIGHUP",
    Usr1 = "SIGUSR1",
    Usr2 = "SIGUSR2",
    Winch = "SIGWINCH",
    Abrt = "SIGABRT",
    Alrm = "SIGALRM",
    Pwr = "SIGPWR",
    Kill = "SIGKILL",
}
