//! Settings of a resource's programs: `user`, `group`, `environment`, `directory`, `stop_signal`
//! and `limits`. Never shows the value of a variable, which may be a password.

use crate::{
    read::{Named, Section},
    settings::resource::{
        DIRECTORY, ENVIRONMENT, GROUP, LIMITS, RUN, STOP, STOP_SIGNAL, STOP_TIMEOUT, USER,
        VARIABLES_OF_AGENTS,
    },
    types::{Execution, StopSignal},
};

/// The settings of an exec resource.
pub(super) fn read(section: &Section<'_>) -> Execution {
    if section.has(&STOP_SIGNAL) && section.has(&STOP) && !section.has(&RUN) {
        section.problem(
            section.at_field(&STOP_SIGNAL),
            "stop_signal is for a program of `run`; this resource is stopped by the program of \
             `stop`",
            "remove it, or have that program send the signal",
        );
    }
    let stop_signal = STOP_SIGNAL.or_default(section);
    if stop_signal == StopSignal::Kill {
        section.warning(
            section.at_field(&STOP_SIGNAL),
            "SIGKILL gives the program no time to end in order",
            format!(
                "name the signal that it ends on; SIGKILL follows by itself after {}",
                STOP_TIMEOUT.name()
            ),
        );
    }
    Execution {
        user: USER.value(section),
        group: GROUP.value(section),
        environment: ENVIRONMENT.value(section).unwrap_or_default(),
        directory: DIRECTORY.value(section),
        stop_signal,
        limits: LIMITS.value(section).unwrap_or_default(),
    }
}

/// The settings of an OCF resource: its agent chooses all but the environment.
pub(super) fn of_agent(section: &Section<'_>) -> Execution {
    let environment = ENVIRONMENT.read_by(&VARIABLES_OF_AGENTS, section);
    Execution {
        environment: environment.map(|read| read.value).unwrap_or_default(),
        ..Execution::default()
    }
}
