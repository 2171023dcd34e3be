//! The steps of `heartbeat reload --all` on this node: checks a configuration that another node
//! offers, has it written, and takes it over.
//!
//! The text of the other node is taken except for this node's own settings, and only if this node's
//! configuration allows that (`accept_configuration`): a configuration names programs, which run as
//! root. A text that says the same as the file needs no consent.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{
    ControlTask,
    reload::{Asker, Examined, Files, Lost, Step},
};
use crate::{
    agent::{
        former_state,
        operate::{Origin, refused_witness},
    },
    commands::check,
    config::{Change, Config, ConfigError, Role, key::Keys, with_own_settings},
    control::protocol::{Checked, ConfigureStep, Request, Response},
    helper, logging,
};

/// Where this node's file is, and what it allows.
#[derive(Clone, Debug)]
struct Target {
    path: PathBuf,
    node: String,
    accepts: bool,
    /// The number of the content that was written there last.
    installed: Arc<AtomicU64>,
}

/// What a thread finds out about an offered text.
#[derive(Debug, Default)]
struct Found {
    checked: Checked,
    /// The files as they would be, if they can be used.
    files: Option<Box<Files>>,
    lost: Option<Lost>,
}

impl ControlTask<'_> {
    pub(super) fn configure(
        &mut self,
        node: String,
        step: ConfigureStep,
        origin: Origin,
        answer: oneshot::Sender<Response>,
    ) {
        let local = self.config.local();
        if local.role == Role::Witness && origin == Origin::Local {
            let _ = answer.send(refused_witness(&local.name));
            return;
        }
        if node != local.name {
            let operator = Arc::clone(&self.operator);
            tokio::spawn(async move {
                let request = Request::Configure {
                    node: node.clone(),
                    step,
                };
                let _ = answer.send(operator.configure(&node, &request, origin).await);
            });
            return;
        }
        let target = Target {
            path: self.file.path.clone(),
            node,
            accepts: self.file.accept_configuration,
            installed: Arc::clone(&self.steps.installed),
        };
        match step {
            ConfigureStep::Check { text } => self.steps.beside(move || {
                let Found {
                    checked,
                    files,
                    lost,
                } = target.examine(&text);
                Step::Examined(Box::new(Examined {
                    checked,
                    lost,
                    files,
                    answer,
                }))
            }),
            ConfigureStep::Write { text, replaces } => drop(spawn_blocking(move || {
                let response = match target.write(&text, replaces) {
                    Ok(kept) => Response::Done {
                        text: kept.display().to_string(),
                    },
                    Err(error) => Response::Error {
                        message: format!("{error:#}"),
                    },
                };
                let _ = answer.send(response);
            })),
            ConfigureStep::Reload => self.reload(Asker::Client(answer)),
        }
    }

    /// Adds the running agent's objections and changes, and answers.
    pub(super) fn examined(&self, examined: Examined) {
        let Examined {
            mut checked,
            lost,
            files,
            answer,
        } = examined;
        checked.pending = match lost {
            Some(Lost::Valid(mut there)) => {
                former_state::keep(&self.file, &mut there);
                let pending = self.file.difference(&there);
                pending.iter().map(ToString::to_string).collect()
            }
            Some(Lost::Invalid) => vec!["it is not valid".to_owned()],
            None => Vec::new(),
        };
        checked.reloading = self.is_reloading();
        if checked.reloading {
            checked.errors.push(
                "a reload is under way\n  try again when `heartbeat status` shows that it is done"
                    .to_owned(),
            );
        } else if let Some(mut files) = files {
            former_state::keep(&self.file, &mut files.config);
            let needs_restart = self.file.difference(&files.config);
            let needs_restart = needs_restart
                .iter()
                .any(|change| matches!(change, Change::Restart(_)));
            match self.plan(*files) {
                Ok(plan) => checked.changes = plan.map_or_else(Vec::new, |plan| plan.summary()),
                Err(error) => checked.errors.push(match needs_restart {
                    true => format!(
                        "{}: {error:#}\n  restart the agents one by one for this change, or undo \
                         it; if one node has other interface names, write them into its [[node]], \
                         as `interfaces`",
                        checked.path
                    ),
                    false => format!("{}: {error:#}", checked.path),
                }),
            }
        }
        // The asker may have gone.
        let _ = answer.send(Response::Checked(Box::new(checked)));
    }
}

impl Target {
    /// Checks `text` as far as that is possible without the running agent.
    fn examine(&self, text: &str) -> Found {
        let mut found = Found::default();
        found.checked.path = self.path.display().to_string();
        if let Err(error) = self.judge(text, &mut found) {
            let error = format!("{}: {error:#}", self.path.display());
            found.checked.errors.push(error);
        }
        if !found.checked.errors.is_empty() {
            found.files = None;
        }
        found
    }

    fn judge(
        &self,
        text: &str,
        Found {
            checked,
            files,
            lost,
        }: &mut Found,
    ) -> Result<()> {
        let old = self.read()?;
        checked.file = helper::content_number(old.as_bytes());
        let new = with_own_settings(text, &old)?;
        let parsed = self.parse(&new);
        let there = self.parse(&old).ok();
        let says_the_same = match (&there, &parsed) {
            (Some(there), Ok(new)) => there.difference(new).is_empty(),
            _ => false,
        };
        if !self.accepts && old != new && !says_the_same {
            bail!(self.not_accepted());
        }
        checked.write = self.accepts && old != new;
        // What such a reload wrote is not an operator's edit, also if it is not in force yet.
        let edited = checked.file != self.installed.load(Ordering::Relaxed);
        if checked.write && !says_the_same && edited {
            *lost = Some(there.map_or(Lost::Invalid, |there| Lost::Valid(Box::new(there))));
        }
        let config = match parsed {
            Ok(config) => config,
            Err(error) => {
                checked.errors.extend(error.each());
                return Ok(());
            }
        };
        if let Err(error @ ConfigError::Unguarded(_)) = Config::load(&self.path, Some(&self.node)) {
            checked.errors.extend(error.each());
        }
        if checked.write {
            checked.errors.extend(helper::may_install(&self.path).err());
        }
        let findings = check::findings(&config, true);
        checked.errors.extend(findings.errors);
        checked.warnings.extend(findings.warnings);
        let keys = Keys::load(&config.key).ok();
        *files = keys.map(|keys| Box::new(Files { config, keys }));
        Ok(())
    }

    /// Replaces the file, and returns the path of the old one. Consent and syntax are checked once
    /// more, because another release may lead the reload.
    fn write(&self, text: &str, replaces: u64) -> Result<PathBuf> {
        ensure!(self.accepts, self.not_accepted());
        let new = with_own_settings(text, &self.read()?)?;
        self.parse(&new)?;
        let number = helper::content_number(new.as_bytes());
        let kept = helper::install(&self.path, new, replaces).map_err(anyhow::Error::msg)?;
        self.installed.store(number, Ordering::Relaxed);
        logging::notice!(
            "configuration file {} replaced; the old one is {}",
            self.path.display(),
            kept.display()
        );
        Ok(kept)
    }

    fn read(&self) -> Result<String> {
        fs::read_to_string(&self.path).context("could not read the file that is there")
    }

    fn parse(&self, text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new(&self.path), Some(&self.node), "")
    }

    fn not_accepted(&self) -> String {
        format!(
            "the file differs, and this node takes none from other nodes (accept_configuration = \
             false)\n  copy the file to {0}:{1} and try again; or allow it: accept_configuration = \
             true in [cluster] of that file, and `heartbeat reload` there",
            self.node,
            self.path.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::file_text;
    use heartbeat_common::siphash::SipKey;
    use std::os::unix::fs::PermissionsExt as _;

    /// A directory with node b's file and key.
    struct Node(PathBuf);

    impl Node {
        fn new(test: &str, cluster: &str) -> Self {
            let name = format!("heartbeat-configure-{test}-{}", std::process::id());
            let node = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(&node.0).unwrap();
            let key = node.0.join("key");
            fs::write(&key, file_text(&[(1, SipKey::from_bytes([9; 16]))])).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
            let own = format!("node = \"b\"\nkey = \"{}\"\n{cluster}", key.display());
            fs::write(node.path(), text(&own, "")).unwrap();
            node
        }

        fn path(&self) -> PathBuf {
            self.0.join("heartbeat.toml")
        }

        fn target(&self, accepts: bool) -> Target {
            Target {
                path: self.path(),
                node: "b".to_owned(),
                accepts,
                installed: Arc::default(),
            }
        }

        fn content(&self) -> String {
            fs::read_to_string(self.path()).unwrap()
        }
    }

    impl Drop for Node {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn text(cluster: &str, more: &str) -> String {
        let nodes = [1, 2, 3].map(|id| {
            let name = ["a", "b", "c"][id - 1];
            format!("[[node]]\nname = \"{name}\"\nid = {id}\naddresses = [\"192.0.2.{id}\"]\n")
        });
        format!(
            "[cluster]\nname = \"x\"\n{cluster}[[link]]\ninterface = \"hb-none0\"\n{}{more}",
            nodes.concat()
        )
    }

    const HOOK: &str = "[[hook]]\non = \"peer-down\"\nexec = [\"/bin/true\"]\n";

    #[test]
    fn changed_file_is_checked_and_written_with_this_nodes_own_settings() {
        let node = Node::new("accepts", "");
        let target = node.target(true);
        let new = text("node = \"a\"\nkey = \"/a/key\"\n# new\n", HOOK);
        let Found { checked, files, .. } = target.examine(&new);
        assert_eq!(checked.errors, Vec::<String>::new());
        assert!(checked.write && files.is_some());
        assert_eq!(files.unwrap().config.hooks.len(), 1);
        let before = node.content();
        let kept = target.write(&new, checked.file).unwrap();
        assert_eq!(fs::read_to_string(kept).unwrap(), before);
        let is = node.content();
        assert!(is.contains("# new") && is.contains("node = \"b\"") && !is.contains("/a/key"));
        // Once more there is nothing to write.
        assert!(!target.examine(&new).checked.write);
    }

    #[test]
    fn edit_by_an_operator_is_told_before_it_is_lost_and_one_by_a_reload_is_not() {
        let node = Node::new("edited", "");
        let target = node.target(true);
        let own = node.content();
        fs::write(node.path(), format!("{own}{HOOK}")).unwrap();
        let new = text("# new\n", "");
        let lost = |offered: &str| target.examine(offered).lost;
        match lost(&new) {
            Some(Lost::Valid(there)) => assert_eq!(there.hooks.len(), 1),
            other => panic!("{other:?}"),
        }
        // The same settings in another text: nothing is lost.
        assert!(lost(&text("# new\n", HOOK)).is_none());
        fs::write(node.path(), format!("{own}colour = 1\n")).unwrap();
        assert!(matches!(lost(&new), Some(Lost::Invalid)));
        // A reload of all nodes wrote the file, and the next one has a newer text.
        let number = target.examine(&new).checked.file;
        target.write(&text("", HOOK), number).unwrap();
        let again = target.examine(&new);
        assert!(again.lost.is_none() && again.checked.write);
        // Then an operator came.
        let written = node.content();
        fs::write(node.path(), format!("{written}{HOOK}")).unwrap();
        assert!(lost(&new).is_some());
    }

    #[test]
    fn node_that_takes_no_files_takes_one_that_says_the_same() {
        let node = Node::new("refuses", "");
        let target = node.target(false);
        let same = text("node = \"a\"\nport = 694\n", "# another comment\n");
        let Found { checked, files, .. } = target.examine(&same);
        assert_eq!((checked.errors, checked.write), (Vec::new(), false));
        assert!(files.is_some());
        let new = text("node = \"a\"\n", HOOK);
        let Found { checked, files, .. } = target.examine(&new);
        assert!(files.is_none() && !checked.write);
        let [error] = checked.errors.as_slice() else {
            panic!("{:?}", checked.errors);
        };
        for part in [
            "heartbeat.toml: the file differs",
            "takes none from other nodes (accept_configuration = false)\n  copy the file to b:/",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let before = node.content();
        let refused = target.write(&new, checked.file).unwrap_err().to_string();
        assert!(refused.contains("takes none"), "{refused}");
        assert_eq!(node.content(), before);
    }

    #[test]
    fn file_that_cannot_be_used_here_is_refused_with_its_places() {
        let node = Node::new("bad", "");
        let target = node.target(true);
        let new = text("colour = 1\n", "[[hook]]\non = \"x\"\n");
        let Found { checked, files, .. } = target.examine(&new);
        assert!(files.is_none());
        assert_eq!(checked.errors.len(), 3, "{:?}", checked.errors);
        assert!(checked.errors[0].contains("heartbeat.toml:5:1: "));
        assert!(target.write(&new, checked.file).is_err());
        fs::set_permissions(node.path(), fs::Permissions::from_mode(0o666)).unwrap();
        let checked = target.examine(&text("", "")).checked;
        let owner = nix::unistd::geteuid().is_root();
        let said = checked.errors.iter().any(|error| error.contains("chmod"));
        assert_eq!(said, owner, "{:?}", checked.errors);
    }
}
