//! The agent's incarnation: a number that grows at each start, even if the wall clock was set back.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use heartbeat_common::wire::Incarnation;

/// Takes the next incarnation: the wall clock in nanoseconds, or one more than the last one used,
/// whichever is greater. It is on disk before it is returned.
pub(crate) fn next(state_dir: &Path) -> Result<Incarnation> {
    fs::create_dir_all(state_dir)
        .with_context(|| format!("could not make the state directory {}", state_dir.display()))?;
    let path = state_dir.join("incarnation");
    let last = read(&path)?;
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let next = (clock.as_nanos() as u64).max(last.saturating_add(1));
    write(&path, next).with_context(|| format!("could not write {}", path.display()))?;
    Ok(Incarnation(next))
}

/// The last incarnation used; 0 if there was none or the file is damaged.
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
            "{} is damaged and is written anew; if the clock of this host was set back, peers may \
             ignore it until their own agents restart",
            path.display()
        );
        0
    }))
}

/// Replaces the file as a whole, so that a crash at any moment leaves the old or the new number.
fn write(path: &Path, incarnation: u64) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{incarnation}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent()
        .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
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
    fn a_damaged_file_is_replaced() {
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
