//! Applies a changed configuration, and changed keys, while the agent runs. Unchanged parts are not
//! touched.
//!
//! A reload is all or nothing: a bad file changes nothing, and neither does a change that needs a
//! restart.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use heartbeat_common::time::Boottime;
use heartbeat_core::{index_vec::ByGroup, membership::Membership};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::spawn_blocking,
};

use super::{ControlTask, decisions::Applied, members::Reformed};
use crate::{
    agent::{former_state, operate::Operator, setup, view},
    clock,
    config::{Change, Config, Group, key::Keys},
    control::protocol::{Checked, Response},
    dataplane::{GuardView, SetupGuard},
    hooks::{Ended, Hooks},
    load::Meter,
    membership_store,
    messages::{Directive, ResourceCommand},
    pulse::Replan,
    servable,
};

/// A reload in progress.
///
/// ```text
/// request -> read the files (a thread) -> plan (control task) -> prepare (a thread)
///         -> apply (control task) -> answer
/// ```
///
/// A file system may hang, and so may the driver of a card to which the guard is attached. The
/// control task therefore waits for neither, and the agent continues with the old configuration
/// meanwhile.
#[derive(Debug)]
pub(super) struct UnderWay {
    since: Boottime,
    asker: Asker,
}

/// The receiver of the result.
#[derive(Debug)]
pub(super) enum Asker {
    Client(oneshot::Sender<Response>),
    Signal,
}

impl Asker {
    fn answer(self, result: Result<String>) {
        let result = result.map_err(|error| format!("{error:#}"));
        match (self, result) {
            (Self::Signal, Ok(text)) => log::info!("SIGHUP: {text}"),
            (Self::Signal, Err(message)) => log::error!("SIGHUP: {message}"),
            // The client may have disconnected.
            (Self::Client(answer), Ok(text)) => drop(answer.send(Response::Done { text })),
            (Self::Client(answer), Err(message)) => {
                drop(answer.send(Response::Error { message }));
            }
        }
    }
}

/// The result of a step that ran on a blocking thread.
#[derive(Debug)]
pub(super) enum Step {
    Read(Result<Box<Files>>),
    Prepared(Result<Box<Plan>>),
    /// A configuration for a reload of all nodes was checked.
    Examined(Box<Examined>),
}

/// A configuration that a thread has checked, before the running agent judges it.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) checked: Checked,
    /// The file that is there, if it would be lost.
    pub(super) lost: Option<Lost>,
    /// The files; absent if the check failed.
    pub(super) files: Option<Box<Files>>,
    pub(super) answer: oneshot::Sender<Response>,
}

/// A configuration file that a new one would replace, and that says something else.
#[derive(Debug)]
pub(super) enum Lost {
    Valid(Box<Config>),
    /// It could not be used.
    Invalid,
}

/// The present contents of the files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) config: Config,
    pub(super) keys: Keys,
}

/// The planned changes.
#[derive(Debug)]
pub(super) struct Plan {
    new: Config,
    merged: Arc<Config>,
    changes: Vec<Change>,
    /// The new node list, if the list changes.
    membership: Option<Membership>,
    keys: Option<Arc<Keys>>,
}

/// A changed configuration, with the maps that its users need.
struct Prepared {
    merged: Arc<Config>,
    /// One for the pulse and one for the view.
    guards: [GuardView; 2],
    reformed: Option<Reformed>,
}

/// The longest run of hooks that the old configuration started.
const OLD_HOOKS: Duration = Duration::from_secs(600);

/// The channel on which the blocking threads send their results.
#[derive(Debug)]
pub(super) struct Steps {
    sender: UnboundedSender<Step>,
    receiver: UnboundedReceiver<Step>,
    /// The number of the content that a reload of all nodes wrote into the configuration file last.
    pub(super) installed: Arc<AtomicU64>,
}

impl Steps {
    pub(super) fn new() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self {
            sender,
            receiver,
            installed: Arc::default(),
        }
    }

    /// Waits for the next finished step. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Step> {
        self.receiver.recv().await
    }

    /// Runs `work` on a thread that may block for any time.
    pub(super) fn beside(&self, work: impl FnOnce() -> Step + Send + 'static) {
        let done = self.sender.clone();
        spawn_blocking(move || drop(done.send(work())));
    }
}

impl Files {
    fn read(path: &Path, node: &str) -> Result<Box<Self>> {
        let config = Config::load(path, Some(node))?;
        let keys = Keys::load(&config.key)?;
        Ok(Box::new(Self { config, keys }))
    }
}

/// Adds the remedy to an error after the list with this version was written to disk and could not
/// be applied.
fn half_way(version: u16, error: &anyhow::Error) -> anyhow::Error {
    anyhow!(
        "{error:#}\n  the list of nodes of config_version {version} is on disk already: leave it \
         in the file, mend this, and reload again; with an older list no agent would start here\n  \
         this agent goes on meanwhile"
    )
}

impl Plan {
    /// Returns the changes in words.
    pub(super) fn summary(&self) -> Vec<String> {
        let keys = self.keys.iter().map(|_| "keys changed".to_owned());
        self.changes
            .iter()
            .map(ToString::to_string)
            .chain(keys)
            .collect()
    }
}

impl ControlTask<'_> {
    pub(super) fn is_reloading(&self) -> bool {
        self.reload.is_some()
    }

    /// Begins to apply the present file. `asker` receives the result.
    pub(super) fn reload(&mut self, asker: Asker) {
        if let Some(under_way) = &self.reload {
            let since = clock::now().since(under_way.since).as_millis();
            return asker.answer(Err(anyhow!(
                "a reload is under way for {since} ms (a file system, or a network card, takes its \
                 time): try again when it is done; the old configuration is in force until then"
            )));
        }
        self.supervisor.reloading();
        self.reload = Some(UnderWay {
            since: clock::now(),
            asker,
        });
        let (path, node) = (self.file.path.clone(), self.file.local().name.clone());
        self.steps
            .beside(move || Step::Read(Files::read(&path, &node)));
    }

    /// Continues the reload in progress after `step`.
    pub(super) fn reload_step(
        &mut self,
        step: Step,
        hooks: &mut Hooks,
        ended: &UnboundedSender<Ended>,
    ) {
        let result = match step {
            Step::Examined(examined) => return self.examined(*examined),
            Step::Read(read) => match read.and_then(|files| self.plan(*files)) {
                Ok(Some(plan)) => return self.prepare(plan),
                Ok(None) => Ok("nothing has changed".to_owned()),
                Err(error) => Err(error),
            },
            Step::Prepared(plan) => plan.and_then(|plan| {
                let on_disk = plan.membership.as_ref().map(|new| new.list().version);
                let taken = self.take_over(*plan, hooks, ended);
                taken.map_err(|error| match on_disk {
                    Some(version) => half_way(version, &error),
                    None => error,
                })
            }),
        };
        self.supervisor.reloaded();
        let Some(UnderWay { asker, .. }) = self.reload.take() else {
            return;
        };
        asker.answer(
            result.map_err(|error| anyhow!("{error:#}; the old configuration stays in force")),
        );
    }

    /// Returns the changes that these files bring, if any. A change that needs a restart is an
    /// error.
    pub(super) fn plan(&self, files: Files) -> Result<Option<Box<Plan>>> {
        let Files {
            config: mut new,
            keys,
        } = files;
        former_state::keep(&self.file, &mut new);
        servable::ensure(&new)?;
        let changes = self.file.difference(&new);
        let needs_restart: Vec<String> = changes
            .iter()
            .filter(|change| matches!(change, Change::Restart(_)))
            .map(ToString::to_string)
            .collect();
        if !needs_restart.is_empty() {
            bail!(
                "this takes effect only with a restart of the agent: {}",
                needs_restart.join(", ")
            );
        }
        let reforms = changes
            .iter()
            .any(|change| matches!(change, Change::Nodes(_)));
        let membership = reforms.then(|| self.may_reform(&new)).transpose()?;
        let keys = self.changed_keys(keys)?;
        if reforms && keys.is_some() {
            bail!(
                "both the nodes and the keys changed: put the old key file back, and take one \
                 after the other"
            );
        }
        if changes.is_empty() && keys.is_none() {
            return Ok(None);
        }
        let merged = match self.config.merged(&new) {
            Ok(merged) => Arc::new(merged),
            Err(what) => bail!("this takes effect only with a restart of the agent: {what}"),
        };
        Ok(Some(Box::new(Plan {
            new,
            merged,
            changes,
            membership,
            keys,
        })))
    }

    /// Starts the slow part of a reload, which does not affect the running agent.
    fn prepare(&self, plan: Box<Plan>) {
        let guarding = self.dataplane.guarding(&self.new_guards(&plan.merged));
        let writer = self.operator.writer.clone();
        self.steps.beside(move || {
            let prepared = guarding.attach().and_then(|()| {
                // Writing the list may fail, so the list is written before it is applied. The later
                // steps do not fail, except for lack of memory. A written list cannot be withdrawn.
                let Some(membership) = plan.membership.clone() else {
                    return Ok(());
                };
                let merged = Arc::clone(&plan.merged);
                writer
                    .run(move || membership_store::keep(&merged, &membership))
                    .wait()
            });
            Step::Prepared(prepared.map(|()| plan))
        });
    }

    /// Returns the addresses of `merged` that this node does not guard yet.
    fn new_guards(&self, merged: &Config) -> Vec<SetupGuard> {
        let known = self.config.served().len();
        let new = merged.served().iter().skip(known);
        new.map(setup::guard).collect()
    }

    /// Applies the prepared changes and returns a description of them.
    fn take_over(
        &mut self,
        plan: Plan,
        hooks: &mut Hooks,
        ended: &UnboundedSender<Ended>,
    ) -> Result<String> {
        let mut done: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
        // Steps that may fail come first.
        let prepared = match plan.changes.is_empty() {
            true => None,
            false => Some(self.take_places(&plan)?),
        };
        if let Some(keys) = plan.keys {
            done.push(self.rekey(keys)?);
        }
        if let Some(prepared) = prepared {
            let was = self.config.groups.clone();
            self.file = Arc::new(plan.new);
            self.replan(prepared);
            self.replace(&plan.changes, &was, (hooks, ended));
        }
        Ok(format!("reloaded: {}", done.join(", ")))
    }

    /// Adds the new entries of the configuration to the kernel's maps.
    fn take_places(&mut self, plan: &Plan) -> Result<Prepared> {
        let merged = &plan.merged;
        // Other nodes may have changed their lists since the plan was made.
        let membership = plan
            .membership
            .is_some()
            .then(|| self.may_reform(&plan.new))
            .transpose()?;
        let guards = self.new_guards(merged);
        let groups = merged.served_groups().iter();
        let new_groups = groups.skip(self.config.served_groups().len());
        self.dataplane
            .guard_more(guards, new_groups.map(|group| group.id))?;
        let guards = self.dataplane.guards().to_vec();
        self.monitor.guard(guards, self.dataplane.guard()?);
        Ok(Prepared {
            guards: [self.dataplane.guard()?, self.dataplane.guard()?],
            reformed: membership
                .map(|membership| self.reform(merged, membership))
                .transpose()?,
            merged: Arc::clone(merged),
        })
    }

    /// Switches all threads to a changed configuration.
    fn replan(&mut self, prepared: Prepared) {
        let Prepared {
            merged,
            guards: [pulses, views],
            reformed,
        } = prepared;
        let (reform, rows) = match reformed {
            Some(Reformed {
                pulses,
                views,
                rows,
            }) => {
                self.turn_to(&merged, rows);
                (Some(pulses), Some(views))
            }
            None => (None, None),
        };
        let replan = Replan::new(&merged, &self.operator.keys, pulses, reform);
        view::lock(&self.view).replan(Arc::clone(&merged), views, rows);
        self.config = Arc::clone(&merged);
        self.operator = Arc::new(Operator {
            config: Arc::clone(&merged),
            ..Operator::clone(&self.operator)
        });
        // The pulse comes first. The resource manager reports on a new group at once, and the pulse
        // must not start a group that it does not have yet.
        self.directives.send(Directive::Replan(Box::new(replan)));
        for (node, report) in view::lock(&self.view).groups.core_reports() {
            self.directives.send(Directive::Reported { node, report });
        }
        self.commands.send(ResourceCommand::Replan {
            vips: merged.served().clone(),
            groups: merged.served_groups().clone(),
        });
        self.send_outages();
    }

    /// Replaces health checks, load meter, listeners and hooks if their configuration has changed.
    fn replace(
        &mut self,
        changes: &[Change],
        was: &ByGroup<Group>,
        (hooks, ended): (&mut Hooks, &UnboundedSender<Ended>),
    ) {
        let config = Arc::clone(&self.config);
        if changes.contains(&Change::Health) {
            self.checks.replace(&config.health);
        }
        if changes.contains(&Change::Load) {
            self.meter = Meter::new(config.load.clone());
            self.listen_for_agent_checks();
        }
        if changes.contains(&Change::Metrics) {
            self.listen_for_scrapes();
        }
        if changes.contains(&Change::Hooks) {
            let old = std::mem::replace(hooks, Hooks::start(&config.hooks, ended.clone()));
            tokio::spawn(old.finish(OLD_HOOKS));
        }
        for (applied, (was, is)) in self.applied.iter_mut().zip(was.iter().zip(&config.groups)) {
            if was.resources != is.resources {
                // The group begins anew, without the earlier decisions.
                *applied = Applied::default();
            }
        }
        self.apply_decisions();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_that_is_on_disk_and_not_taken_over_is_not_to_be_put_back() {
        let said = half_way(5, &anyhow!("no room in the map").context("the guard")).to_string();
        assert!(
            said.starts_with("the guard: no room in the map\n"),
            "{said}"
        );
        assert!(
            said.contains(
                "config_version 5 is on disk already: leave it in the file, mend this, \
                 and reload again"
            ),
            "{said}"
        );
    }
}
