//! The restriction of writes to files (Landlock, Documentation/userspace-api/landlock.rst).
//!
//! Reads are not restricted: a configuration may name a pidfile, a key or a directory at any path,
//! also at a reload. Execution is denied everywhere.

use landlock::{
    ABI, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

use super::Writable;

/// The version of the interface whose rights are restricted. Linux 6.1 has all of them but
/// `Truncate`, and no other right about writes to files.
const VERSION: ABI = ABI::V3;

/// Restricts the calling thread, and all threads and processes that it starts from now on. Returns
/// the version of the kernel's interface.
pub(super) fn restrict(writable: &Writable) -> Result<u32, String> {
    let status = enforce(writable).map_err(|error| error.to_string())?;
    let version = match status.landlock {
        LandlockStatus::NotImplemented => return Err("the kernel has no Landlock".to_owned()),
        LandlockStatus::NotEnabled => {
            return Err("it is switched off at boot (the kernel's parameter `lsm=`)".to_owned());
        }
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
    };
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel enforces no rule".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(version),
    }
}

fn enforce(writable: &Writable) -> Result<RestrictionStatus, RulesetError> {
    let within = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_write(VERSION) | AccessFs::Execute)?
        .create()?;
    let rules = allow(rules, &writable.directories, within)?;
    let rules = allow(rules, &writable.parents, AccessFs::RemoveDir)?;
    let rules = allow(rules, &writable.files, AccessFs::WriteFile)?;
    rules.restrict_self()
}

/// Allows writes below a path. A missing path is left out: nothing can be written to it.
fn allow(
    mut rules: RulesetCreated,
    paths: &[std::path::PathBuf],
    access: impl Into<BitFlags<AccessFs>>,
) -> Result<RulesetCreated, RulesetError> {
    let access = access.into();
    for path in paths {
        match PathFd::new(path) {
            Ok(place) => rules = rules.add_rule(PathBeneath::new(place, access))?,
            Err(error) => log::warn!("{} will not be writable: {error}", path.display()),
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use std::{fs, io, os::unix::net::UnixListener, path::Path, process::Command, thread};

    use super::*;

    fn denied<T>(result: io::Result<T>) {
        let error = result.err().expect("it should have been denied");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error}");
    }

    fn use_directory(within: &Path) -> io::Result<()> {
        fs::write(within.join("new"), "1")?;
        fs::rename(within.join("new"), within.join("file"))?;
        fs::write(within.join("file"), "2")?;
        fs::create_dir(within.join("directory"))?;
        UnixListener::bind(within.join("directory/socket"))?;
        fs::remove_file(within.join("directory/socket"))?;
        fs::remove_dir(within.join("directory"))?;
        fs::remove_file(within.join("file"))
    }

    #[test]
    fn thread_that_is_restricted_writes_only_where_it_may() {
        let root = std::env::temp_dir().join(format!("heartbeat-files-{}", std::process::id()));
        for directory in ["state", "pins/instance", "other/empty"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("other/file"), "kept").unwrap();
        let open = fs::File::create(root.join("other/open")).unwrap();
        let writable = Writable {
            directories: vec![root.join("state"), root.join("nowhere")],
            parents: vec![root.join("pins")],
            files: vec!["/dev/null".into()],
        };
        let within = root.clone();
        let thread = thread::spawn(move || {
            let version = restrict(&writable).unwrap();
            assert!(version >= 1);
            use_directory(&within.join("state")).unwrap();
            fs::write("/dev/null", "").unwrap();
            fs::remove_dir(within.join("pins/instance")).unwrap();
            denied(fs::write(within.join("pins/new"), ""));
            denied(use_directory(&within.join("other")));
            denied(fs::remove_file(within.join("other/file")));
            denied(fs::remove_dir(within.join("other/empty")));
            denied(fs::rename(
                within.join("other/file"),
                within.join("state/file"),
            ));
            denied(Command::new("true").spawn());
            assert_eq!(
                fs::read_to_string(within.join("other/file")).unwrap(),
                "kept"
            );
            // A file that was open before stays writable.
            io::Write::write_all(&mut &open, b"more").unwrap();
            // Later threads are restricted, too.
            thread::spawn(move || denied(fs::write(within.join("other/file"), "")))
                .join()
                .unwrap();
        });
        thread.join().unwrap();
        fs::remove_dir_all(root).unwrap();
    }
}
