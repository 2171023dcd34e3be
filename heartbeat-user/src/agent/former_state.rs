//! The state of an instance in `/var/lib/heartbeat`, where earlier releases kept it. Debian's
//! Linux-HA packages own that directory.
//!
//! The agent moves the state at its start, under the lock of the instance. A state that cannot be
//! moved stays in use: an agent never starts without the state that its node already has.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use heartbeat_sys::files::incarnation;

use crate::config::{Config, DEFAULT_STATE};

/// The directory of earlier releases.
const FORMER: &str = "/var/lib/heartbeat";

/// Moves the state of an earlier release to the default directory. If that fails, `config` gets the
/// former directory.
pub(in crate::agent) fn settle(config: &mut Config) {
    if config.state == Path::new(DEFAULT_STATE) {
        move_or_use(Path::new(FORMER), config);
    }
}

/// Keeps the directory that this agent uses, if `new` has the default and the agent could not move
/// the state there.
pub(in crate::agent) fn keep(running: &Config, new: &mut Config) {
    if running.state == Path::new(FORMER) && new.state == Path::new(DEFAULT_STATE) {
        new.state.clone_from(&running.state);
    }
}

fn move_or_use(former: &Path, config: &mut Config) {
    let (old, new) = (former.join(&config.instance), config.state_dir());
    // After a downgrade and another upgrade, the state with the later start is the valid one.
    if incarnation::last(&old) <= incarnation::last(&new) {
        return;
    }
    match replace(&old, &new) {
        Ok(()) => log::info!(
            "moved the state from {} to {}",
            old.display(),
            new.display()
        ),
        Err(error) => {
            log::warn!(
                "could not move the state from {} to {}: {error}; it is used where it is: while \
                 the agent is stopped, move it by hand",
                old.display(),
                new.display()
            );
            former.clone_into(&mut config.state);
        }
    }
}

/// Renames `old` to `new`, and sets an earlier `new` aside. Both are on disk when this returns.
fn replace(old: &Path, new: &Path) -> io::Result<()> {
    if let Some(parent) = new.parent() {
        fs::create_dir_all(parent)?;
    }
    if new.exists() {
        let aside = new.with_extension("before");
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::rename(new, &aside)?,
        }
    }
    fs::rename(old, new)?;
    for directory in [new, old] {
        if let Some(parent) = directory.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const FILE: &str = "[cluster]\nname = \"web\"\n[[link]]\ninterface = \"eth0\"\n\
                        [[node]]\nname = \"a\"\nid = 1\naddresses = [\"10.0.0.1\"]\n\
                        [[node]]\nname = \"b\"\nid = 2\naddresses = [\"10.0.0.2\"]\n\
                        [[node]]\nname = \"c\"\nid = 3\naddresses = [\"10.0.0.3\"]\n";

    /// A scratch directory with the former and the present one in it.
    struct Places {
        root: PathBuf,
        config: Config,
    }

    impl Places {
        fn new(name: &str) -> Self {
            let name = format!("heartbeat-former-{name}-{}", std::process::id());
            let root = std::env::temp_dir().join(name);
            let mut config = Config::parse(FILE, "x.toml".as_ref(), Some("a"), "a").unwrap();
            config.state = root.join("now");
            Self { root, config }
        }

        /// Writes the state of an agent with this incarnation.
        fn state(&self, place: &str, incarnation: u64) {
            let directory = self.root.join(place).join("default");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("incarnation"), format!("{incarnation}\n")).unwrap();
            fs::write(directory.join("decisions.json"), place).unwrap();
        }

        fn settle(&mut self) {
            move_or_use(&self.root.join("former"), &mut self.config);
        }

        /// The decisions that the agent will read.
        fn decisions(&self) -> String {
            fs::read_to_string(self.config.state_dir().join("decisions.json")).unwrap()
        }
    }

    impl Drop for Places {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn state_of_an_earlier_release_is_moved() {
        let mut places = Places::new("moved");
        places.state("former", 7);
        places.settle();
        assert_eq!(places.config.state, places.root.join("now"));
        assert_eq!(places.decisions(), "former");
        assert!(!places.root.join("former/default").exists());
    }

    #[test]
    fn later_state_wins_and_the_earlier_one_is_set_aside() {
        let mut places = Places::new("later");
        places.state("now", 8);
        places.state("former", 7);
        places.settle();
        assert_eq!(places.decisions(), "now");
        // A downgraded agent ran meanwhile.
        places.state("former", 9);
        places.settle();
        assert_eq!(places.decisions(), "former");
        let aside = places.root.join("now/default.before/decisions.json");
        assert_eq!(fs::read_to_string(aside).unwrap(), "now");
    }

    #[test]
    fn nothing_is_moved_where_no_agent_ran() {
        let mut places = Places::new("none");
        // A directory of another package.
        fs::create_dir_all(places.root.join("former/default")).unwrap();
        places.settle();
        assert_eq!(places.config.state, places.root.join("now"));
        assert!(places.root.join("former/default").exists());
        assert!(!places.root.join("now").exists());
    }

    #[test]
    fn state_that_cannot_be_moved_is_used_where_it_is() {
        let mut places = Places::new("stuck");
        places.state("former", 7);
        fs::write(places.root.join("now"), "a file is in the way").unwrap();
        places.settle();
        assert_eq!(places.config.state, places.root.join("former"));
        assert_eq!(places.decisions(), "former");
    }
}
