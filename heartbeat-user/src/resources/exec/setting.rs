//! Converts a resource's configuration to the programs to start.

use std::str::FromStr as _;

use nix::sys::signal::Signal;

use crate::{
    config::{Execution, LimitKind, Resource},
    process::{Program, Setting},
};

/// Returns the program of a command line of `resource`.
pub(super) fn program(resource: &Resource, line: &[String]) -> Program {
    let Execution {
        user,
        group,
        environment,
        directory,
        limits,
        ..
    } = &resource.execution;
    let mut program = Program::of(line).of_resource(&resource.name);
    let variables = environment.iter().cloned();
    program
        .environment
        .extend(variables.map(|(name, value)| (name.into(), value.into())));
    program.setting = Setting {
        user: user.clone(),
        group: group.clone(),
        directory: directory.clone(),
        limits: limits
            .iter()
            .map(|limit| (number(limit.kind), limit.value))
            .collect(),
    };
    program
}

/// Returns the signal that asks the program of `resource` to end.
pub(super) fn stop_signal(resource: &Resource) -> Signal {
    let name = resource.execution.stop_signal.as_str();
    Signal::from_str(name).unwrap_or(Signal::SIGTERM)
}

fn number(kind: LimitKind) -> i32 {
    let number = match kind {
        LimitKind::As => libc::RLIMIT_AS,
        LimitKind::Core => libc::RLIMIT_CORE,
        LimitKind::Cpu => libc::RLIMIT_CPU,
        LimitKind::Data => libc::RLIMIT_DATA,
        LimitKind::Fsize => libc::RLIMIT_FSIZE,
        LimitKind::Memlock => libc::RLIMIT_MEMLOCK,
        LimitKind::Msgqueue => libc::RLIMIT_MSGQUEUE,
        LimitKind::Nice => libc::RLIMIT_NICE,
        LimitKind::Nofile => libc::RLIMIT_NOFILE,
        LimitKind::Nproc => libc::RLIMIT_NPROC,
        LimitKind::Rtprio => libc::RLIMIT_RTPRIO,
        LimitKind::Sigpending => libc::RLIMIT_SIGPENDING,
        LimitKind::Stack => libc::RLIMIT_STACK,
    };
    number as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StopSignal;

    #[test]
    fn every_stop_signal_is_one_of_the_system() {
        for signal in StopSignal::ALL {
            assert_eq!(
                Signal::from_str(signal.as_str()).unwrap().as_str(),
                signal.as_str()
            );
        }
    }
}
