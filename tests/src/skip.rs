//! Tests that cannot run here: each says so by a line that `cargo xtask test` counts.

use std::{env, io::Write as _, thread};

use crate::{
    cluster::{BINARY, OBJECT},
    e2e::{disk::Disk, manager::Manager, python, web::apache},
    kernel,
    promtool::PROMTOOL,
    sandbox,
};

/// Something that a test needs of the machine and of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A cluster in network namespaces: root, the agent and the switch's program.
    Cluster,
    /// The object with the kernel programs, as a file.
    Object,
    /// The kernel programs in the running kernel: the object, and root to load it.
    Kernel,
    /// Scapy, which makes and reads frames.
    Scapy,
    /// A systemd of the test's own.
    Systemd,
    /// A file system that can be frozen.
    Disk,
    /// Files and processes of a node's own.
    Sandbox,
    /// promtool, which checks metrics and rules.
    Promtool,
    /// The distribution's Apache and its resource agent.
    Apache,
}

impl Need {
    /// The reason why a test that needs this cannot run here; `None` if it can.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Cluster => root().or_else(|| [BINARY, OBJECT].into_iter().find_map(unset)),
            Self::Object => unset(kernel::OBJECT),
            Self::Kernel => unset(kernel::OBJECT).or_else(root),
            Self::Scapy => python::scapy_missing(),
            Self::Systemd => Manager::missing(),
            Self::Disk => Disk::missing(),
            Self::Promtool => unset(PROMTOOL),
            Self::Sandbox => sandbox::missing(),
            Self::Apache => {
                apache::missing().map(|what| format!("{what}: `cargo xtask setup --test`"))
            }
        }
    }
}

fn root() -> Option<String> {
    let root = nix::unistd::geteuid().is_root();
    (!root).then(|| "needs root; run it through `cargo xtask test`".to_owned())
}

fn unset(variable: &str) -> Option<String> {
    let unset = env::var_os(variable).is_none();
    unset.then(|| format!("{variable} is not set; run it through `cargo xtask test`"))
}

/// Ends the test that calls it as skipped, with the reason, unless each need is met:
/// `needs!(Cluster, Scapy);` is the first line of a test.
#[macro_export]
macro_rules! needs {
    ($($need:ident),+ $(,)?) => {
        $(
            if let Some(reason) = $crate::skip::Need::$need.missing() {
                $crate::skip::skip(&reason);
                return $crate::skip::Skipped::skipped();
            }
        )+
    };
}

/// A result of a test that was skipped: libtest counts it as passed, `cargo xtask test` does not.
pub trait Skipped {
    fn skipped() -> Self;
}

impl Skipped for () {
    fn skipped() {}
}

impl<E> Skipped for Result<(), E> {
    fn skipped() -> Self {
        Ok(())
    }
}

/// Says that the running test is skipped, and why. libtest gives each test a thread of its name.
pub fn skip(reason: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Straight to the stream: libtest holds back what the print macros say in a test that passes.
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {reason}");
}
