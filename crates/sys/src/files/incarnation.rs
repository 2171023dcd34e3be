//! The agent's incarnation: a number that grows at each start, even if the wall clock was set back.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use heartbeat_common::wire::Incarnation;

use super::atomic_file;
use crate::host::clock;

/// Takes the next incarnation: the wall clock in nanoseconds, or the last incarnation plus one,
/// whichever is greater. The number is on disk when this returns.
pub fn next(state_dir: &Path) -> Result<Incarnation> {
    fs::create_dir_all(state_dir)
        .with_context(|| format!("could not make the state directory {}", state_dir.display()))?;
    let path = state_dir.join("incarnation");
    let last = read(&path)?;
    let next = clock::wall().max(last.saturating_add(1));
    write(&path, next).with_context(|| {
        format!(
            "could not write {}, which tells peers that this agent has started anew",
            path.display()
        )
    })?;
    Ok(Incarnation(next))
}

/// Makes the next incarnation exceed `received`, which peers have received from this node.
pub fn exceed(state_dir: &Path, received: u64) -> Result<()> {
    let path = state_dir.join("incarnation");
    if read(&path)? >= received {
        return Ok(());
    }
    write(&path, received).with_context(|| format!("could not write {}", path.display()))
}

/// The last incarnation; 0 if no agent ran with this directory, or if the number cannot be read.
pub fn last(state_dir: &Path) -> u64 {
    read(&state_dir.join("incarnation")).unwrap_or(0)
}

/// The last incarnation; 0 if there was none or the file is damaged.
fn read(path: &Path) -> Result<u64> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", path.display()));
        }
    };
    Ok(text.trim().parse().unwrap_or_else(|_| {
        log::warn!(
            "{} is damaged and is written anew; if the clock of this host was set back, peers \
             reject its heartbeats, and the status shows that",
            path.display()
        );
        0
    }))
}

/// Writes the number. A full disk must not keep an agent from starting: then the new number
/// overwrites the old one, which has as many bytes.
fn write(path: &Path, incarnation: u64) -> io::Result<()> {
    let text = format!("{incarnation}\n");
    match atomic_file::replace(path, text.as_bytes()) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            ) =>
        {
            if overwrite(path, &text).is_err() {
                return Err(error);
            }
            log::warn!(
                "{error} for a new {}: the old one was changed in place",
                path.display()
            );
            Ok(())
        }
        result => result,
    }
}

/// Overwrites the file in place. This needs no room if the file has as many bytes already. So few
/// bytes are written as a whole.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!(
            "heartbeat-incarnation-{name}-{}",
            std::process::id()
        ))
    }

    #[test]
    fn grows_even_if_the_clock_was_set_back() {
        let dir = scratch("grows");
        let first = next(&dir).unwrap();
        let far_future = first.0 + 1_000_000_000_000_000_000;
        fs::write(dir.join("incarnation"), format!("{far_future}\n")).unwrap();
        assert_eq!(next(&dir).unwrap().0, far_future + 1);
        assert_eq!(next(&dir).unwrap().0, far_future + 2);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn next_exceeds_what_others_have_heard() {
        let dir = scratch("received");
        let own = next(&dir).unwrap().0;
        let received = own + 1_000_000_000_000_000_000;
        exceed(&dir, received).unwrap();
        exceed(&dir, own).unwrap();
        assert_eq!(next(&dir).unwrap().0, received + 1);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn damaged_file_is_replaced() {
        let dir = scratch("damaged");
        fs::create_dir_all(&dir).unwrap();
        for damage in [
            "",
            "not a number",
            "99999999999999999999999999",
            "\u{0}\u{0}",
        ] {
            fs::write(dir.join("incarnation"), damage).unwrap();
            let taken = next(&dir).unwrap();
            assert_eq!(read(&dir.join("incarnation")).unwrap(), taken.0);
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
