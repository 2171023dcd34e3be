//! Confines the agent to the system calls and files that it needs once its programs are loaded, and
//! describes the confinement for the status.

use std::path::Path;

use heartbeat_common::maps::PIN_ROOT;
use heartbeat_sys::process::confinement::{self, Confinement, Writable};

use crate::{config::Config, control::protocol, dataplane::Pins};

/// Confines this thread, and every thread and process that it starts.
///
/// A changed `[paths]` takes effect only with a restart, so the permitted directories stay valid.
pub(super) fn confine(config: &Config) -> protocol::Confinement {
    let audit = log::log_enabled!(log::Level::Debug);
    describe(confinement::confine(&writable(config), audit))
}

fn writable(config: &Config) -> Writable {
    let pins = Pins::of(&config.instance);
    let root = Path::new(PIN_ROOT);
    // Whole directories, so that the directory of an instance can be created again.
    let own = config.written_to().into_iter();
    Writable {
        directories: own.chain([pins.dir()]).map(Path::to_owned).collect(),
        // The directories of pins are removed with the last pin.
        parents: vec![root.parent().unwrap_or(root).to_owned()],
        files: vec!["/dev/null".into()],
    }
}

fn describe(confinement: Confinement) -> protocol::Confinement {
    let Confinement {
        system_calls,
        files,
    } = confinement;
    let mut missing = Vec::new();
    if let Err(why) = &system_calls {
        missing.push(format!("seccomp: {why}"));
    }
    if let Err(why) = &files {
        missing.push(format!("landlock: {why}"));
    }
    protocol::Confinement {
        seccomp: system_calls.is_ok(),
        landlock: files.ok(),
        missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_that_is_missing_is_described_with_its_reason() {
        let described = describe(Confinement {
            system_calls: Ok(()),
            files: Err("the kernel has no Landlock".to_owned()),
        });
        let expected = protocol::Confinement {
            seccomp: true,
            landlock: None,
            missing: vec!["landlock: the kernel has no Landlock".to_owned()],
        };
        assert_eq!(described, expected);
    }
}
