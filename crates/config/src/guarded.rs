//! The owner and mode of the configuration file, which names programs that run as root: only root
//! may be able to change the file, or to replace it.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, absolute},
};

use nix::unistd::geteuid;

use crate::types::Problem;

/// Permission bits that the file and its directories must not have.
const OTHERS_WRITE: u32 = 0o022;
/// The bit of a directory in which only the owner of a file renames or removes it.
const STICKY: u32 = 0o1000;

/// Refuses a file that others than root and this user may change, or whose directories they may.
/// All directories above are judged, as sshd does with `StrictModes`. A file that is not a regular
/// one, such as a pipe from a shell, is the caller's own.
pub(super) fn ensure_guarded(file: &Metadata, path: &Path) -> Result<(), Problem> {
    if !file.is_file() {
        return Ok(());
    }
    judge(file.mode(), file.uid(), path, OTHERS_WRITE)?;
    // A link can be changed where it is, and the file where it is.
    let places = [absolute(path), path.canonicalize()];
    for place in places.into_iter().flatten() {
        for directory in place.ancestors().skip(1) {
            let Ok(found) = fs::metadata(directory) else {
                continue;
            };
            let sticky = found.mode() & STICKY != 0;
            let forbidden = if sticky { 0 } else { OTHERS_WRITE };
            judge(found.mode(), found.uid(), directory, forbidden)?;
        }
    }
    Ok(())
}

fn judge(mode: u32, owner: u32, path: &Path, forbidden: u32) -> Result<(), Problem> {
    let mode = mode & 0o7777;
    let problem = |remedy: &str| Problem {
        location: path.display().to_string(),
        message: format!(
            "it belongs to user {owner} and has mode {mode:04o}, so that others than root may \
             change the configuration, and the programs in it run as root"
        ),
        remedy: format!("run `{remedy} {}`, and see who wrote it", path.display()),
    };
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(problem("chown root"));
    }
    if mode & forbidden != 0 {
        return Err(problem("chmod go-w"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
        path::PathBuf,
    };

    use super::*;

    /// A user id without an account on the host.
    const OTHER: u32 = 65_534;

    /// `outer/inner/file` below the directory for temporary files, and `outer/link` to the file.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir();
            let root = root.join(format!("heartbeat-guarded-{name}-{}", std::process::id()));
            fs::create_dir_all(root.join("inner")).unwrap();
            fs::write(root.join("inner/file"), "").unwrap();
            symlink("inner/file", root.join("link")).unwrap();
            let place = Self(root);
            for path in ["", "inner", "inner/file"] {
                place.mode(path, 0o755);
            }
            place
        }

        fn mode(&self, path: &str, mode: u32) {
            fs::set_permissions(self.0.join(path), Permissions::from_mode(mode)).unwrap();
        }

        fn judge(&self, path: &str) -> Result<(), Problem> {
            let path = self.0.join(path);
            ensure_guarded(&fs::metadata(&path).unwrap(), &path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn file_is_judged_by_itself_and_by_all_directories_that_lead_to_it() {
        for (changed, judged) in [
            ("inner/file", "inner/file"),
            ("inner/file", "link"),
            ("inner", "inner/file"),
            ("inner", "link"),
            ("", "inner/file"),
            ("", "link"),
        ] {
            for mode in [0o775, 0o757, 0o777] {
                let place = Place::new("modes");
                assert_eq!(place.judge(judged), Ok(()));
                place.mode(changed, mode);
                let Problem {
                    location,
                    message,
                    remedy,
                } = place.judge(judged).unwrap_err();
                // The file is called as the caller does.
                let named = if changed == "inner/file" {
                    judged
                } else {
                    changed
                };
                let path = place.0.join(named);
                let path = path.display().to_string();
                let path = path.trim_end_matches('/');
                assert_eq!(location.trim_end_matches('/'), path);
                assert!(
                    message.contains(&format!("has mode {mode:04o}")),
                    "{message}"
                );
                assert!(
                    remedy.starts_with(&format!("run `chmod go-w {path}")),
                    "{remedy}"
                );
            }
        }
    }

    #[test]
    fn directory_in_which_nobody_touches_what_is_anothers_is_as_good_as_one_of_roots() {
        let place = Place::new("sticky");
        place.mode("inner", 0o1777);
        assert_eq!(place.judge("inner/file"), Ok(()));
    }

    #[test]
    fn owner_other_than_root_or_this_user_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        for changed in ["inner/file", "inner"] {
            let place = Place::new("owner");
            chown(place.0.join(changed), Some(OTHER), None).unwrap();
            let problem = place.judge("inner/file").unwrap_err();
            assert!(
                problem.message.contains("belongs to user 65534"),
                "{problem}"
            );
            assert!(problem.remedy.starts_with("run `chown root "), "{problem}");
        }
    }

    #[test]
    fn pipe_is_its_callers_own() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let reader = std::os::fd::OwnedFd::from(reader);
        let metadata = fs::File::from(reader).metadata().unwrap();
        assert_eq!(ensure_guarded(&metadata, Path::new("/dev/fd/63")), Ok(()));
    }
}
