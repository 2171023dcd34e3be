//! The user, the directory and the limits of a program. Names are looked up where the program is
//! started, by a process with the rights for it.

use std::{
    ffi::{CString, OsString},
    fs, io,
    path::PathBuf,
    time::Duration,
};

use heartbeat_sys::process::child::{Confines, Identity, Limit};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use serde::{Deserialize, Serialize};

/// Time that a directory service has to look up a user or a group.
const LOOKUP: Duration = Duration::from_secs(10);

/// The user, the directory and the limits of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub user: Option<String>,
    pub group: Option<String>,
    /// The working directory; `/` if absent.
    pub directory: Option<PathBuf>,
    /// Limits by their numbers in setrlimit(2); `None` means unlimited.
    pub limits: Vec<(i32, Option<u64>)>,
}

/// A setting with ids instead of names.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub(super) confines: Confines,
    /// The variables for the program with the name of its user.
    pub(super) environment: Vec<(OsString, OsString)>,
}

impl Resolved {
    /// Returns the user of the program, unless it is root.
    pub(super) fn owner(&self) -> Option<Uid> {
        let identity = self.confines.identity.as_ref();
        identity.map(|identity| Uid::from_raw(identity.user))
    }
}

impl Setting {
    /// Looks up all names in another thread, since the directory service may hang.
    pub(super) async fn resolve(&self) -> io::Result<Resolved> {
        if self.user.is_none() && self.group.is_none() && self.directory.is_none() {
            return Ok(Resolved {
                confines: self.confines(None),
                ..Resolved::default()
            });
        }
        let setting = self.clone();
        let lookup = tokio::task::spawn_blocking(move || setting.look_up());
        match tokio::time::timeout(LOOKUP, lookup).await {
            Ok(found) => found.map_err(io::Error::other)?,
            Err(_) => Err(io::Error::other(format!(
                "its user, group or directory could not be looked up within {} s: the directory \
                 service or the file system does not answer",
                LOOKUP.as_secs()
            ))),
        }
    }

    fn look_up(&self) -> io::Result<Resolved> {
        if let Some(directory) = &self.directory {
            let said = |what: &dyn std::fmt::Display| {
                io::Error::other(format!("its directory {}: {what}", directory.display()))
            };
            let found = fs::metadata(directory).map_err(|error| said(&error))?;
            if !found.is_dir() {
                return Err(said(&"it is no directory"));
            }
        }
        let user = match self.user.as_deref() {
            Some(name) => Some(user(name)?),
            None => None,
        };
        let group = match self.group.as_deref() {
            Some(name) => Some(group(name)?),
            None => None,
        };
        let identity = match (&user, group) {
            (None, None) => None,
            (user, group) => Some(identity(user.as_ref(), group)?),
        };
        let environment = user.map_or_else(Vec::new, |user| {
            vec![
                ("HOME".into(), user.dir.into()),
                ("LOGNAME".into(), user.name.clone().into()),
                ("SHELL".into(), user.shell.into()),
                ("USER".into(), user.name.into()),
            ]
        });
        Ok(Resolved {
            confines: self.confines(identity),
            environment,
        })
    }

    fn confines(&self, identity: Option<Identity>) -> Confines {
        let limit = |(resource, value): &(i32, Option<u64>)| Limit {
            resource: *resource,
            value: *value,
        };
        Confines {
            identity,
            limits: self.limits.iter().map(limit).collect(),
        }
    }
}

fn user(name: &str) -> io::Result<User> {
    let found = User::from_name(name)?;
    found.ok_or_else(|| unknown("user", name, "passwd"))
}

fn group(name: &str) -> io::Result<Gid> {
    let found = Group::from_name(name)?;
    let found = found.ok_or_else(|| unknown("group", name, "group"))?;
    Ok(found.gid)
}

fn unknown(kind: &str, name: &str, database: &str) -> io::Error {
    io::Error::other(format!(
        "this host has no {kind} {name}: create it, or correct `{kind}` (`getent {database}` shows \
         those it has)"
    ))
}

/// Returns the rights of `user`, or of root, with `group` instead of the primary group.
fn identity(user: Option<&User>, group: Option<Gid>) -> io::Result<Identity> {
    let name = user.map_or("root", |user| &user.name);
    let group = group
        .or(user.map(|user| user.gid))
        .unwrap_or(Gid::from_raw(0));
    let groups = getgrouplist(&CString::new(name)?, group)?;
    Ok(Identity {
        user: user.map_or(0, |user| user.uid.as_raw()),
        group: group.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: Option<&str>, group: Option<&str>) -> Setting {
        Setting {
            user: user.map(str::to_owned),
            group: group.map(str::to_owned),
            ..Setting::default()
        }
    }

    #[tokio::test]
    async fn setting_without_names_confines_nothing() {
        let resolved = Setting::default().resolve().await.unwrap();
        assert_eq!(resolved.owner(), None);
        assert!(resolved.environment.is_empty() && resolved.confines.limits.is_empty());
    }

    #[tokio::test]
    async fn user_is_looked_up_with_groups_and_home() {
        let daemon = User::from_name("daemon").unwrap().unwrap();
        let resolved = of(Some("daemon"), None).resolve().await.unwrap();
        let identity = resolved.confines.identity.as_ref().unwrap();
        assert_eq!(identity.user, daemon.uid.as_raw());
        assert_eq!(identity.group, daemon.gid.as_raw());
        assert!(
            identity.groups.contains(&daemon.gid.as_raw()),
            "{identity:?}"
        );
        let home = resolved.environment.iter().find(|(name, _)| name == "HOME");
        assert_eq!(home.unwrap().1, daemon.dir.into_os_string());

        let other = of(Some("daemon"), Some("root")).resolve().await.unwrap();
        assert_eq!(other.confines.identity.unwrap().group, 0);
    }

    #[tokio::test]
    async fn unknown_names_are_errors_with_a_remedy() {
        let said =
            |setting: Setting| async move { setting.resolve().await.unwrap_err().to_string() };
        let user = said(of(Some("hb-nobody"), None)).await;
        assert!(
            user.starts_with("this host has no user hb-nobody: create it"),
            "{user}"
        );
        let group = said(of(None, Some("hb-none"))).await;
        assert!(
            group.contains("no group hb-none") && group.contains("getent group"),
            "{group}"
        );
        let directory = Setting {
            directory: Some("/nonexistent/dir".into()),
            ..Setting::default()
        };
        let directory = said(directory).await;
        assert!(
            directory.contains("its directory /nonexistent/dir: No such file"),
            "{directory}"
        );
        let file = Setting {
            directory: Some("/etc/passwd".into()),
            ..Setting::default()
        };
        assert!(said(file).await.contains("it is no directory"));
    }
}
