//! Takes over a changed configuration, and other keys, while the agent runs, without touching what did not change.
//!
//! All or nothing: a file that is bad, or that changes what only a restart can, changes nothing.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use heartbeat_core::membership::Membership;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    members::Reformed,
    operate::Operator,
    reason::{Applied, Reason},
    view,
};
use crate::{
    conductor::Order,
    config::{Change, Config, Group},
    control::protocol::Response,
    dataplane::{GuardView, SetupGuard},
    electorate,
    hooks::{Ended, Hooks},
    load::Meter,
    pulse::{Directive, Replan},
    servable,
};

/// A changed configuration with all that goes on with it needs.
struct Prepared {
    merged: Arc<Config>,
    /// One for the pulse and one for the view.
    guards: [GuardView; 2],
    reformed: Option<Reformed>,
}

/// How long hooks that the old configuration started may go on.
const OLD_HOOKS: Duration = Duration::from_secs(600);

impl Reason<'_> {
    /// Reads the file anew, and says what came of it.
    pub(super) fn reload(&mut self, hooks: &mut Hooks, ended: &UnboundedSender<Ended>) -> Response {
        self.supervisor.reloading();
        let result = self.try_reload(hooks, ended);
        self.supervisor.reloaded();
        match result {
            Ok(text) => Response::Done { text },
            Err(error) => Response::Error {
                message: format!("{error:#}; the old configuration stays in force"),
            },
        }
    }

    fn try_reload(&mut self, hooks: &mut Hooks, ended: &UnboundedSender<Ended>) -> Result<String> {
        let new = Config::load(&self.file.path, Some(&self.file.local().name))?;
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
        let keys = self.changed_keys(&new)?;
        if reforms && keys.is_some() {
            bail!(
                "both the nodes and the keys changed: put the old key file back, and take one after the other"
            );
        }
        if changes.is_empty() && keys.is_none() {
            return Ok("nothing has changed".to_owned());
        }
        let mut done: Vec<String> = changes.iter().map(ToString::to_string).collect();
        // What may fail comes first.
        let prepared = match changes.is_empty() {
            true => None,
            false => Some(self.prepare(&new, membership)?),
        };
        if let Some(keys) = keys {
            done.push(self.rekey(keys)?);
        }
        if let Some(prepared) = prepared {
            let was = self.config.groups.clone();
            self.file = Arc::new(new);
            self.replan(prepared);
            self.replace(&changes, &was, (hooks, ended));
        }
        Ok(format!("reloaded: {}", done.join(", ")))
    }

    /// Makes ready all that a changed configuration needs, without a change to what goes on.
    fn prepare(&mut self, new: &Config, membership: Option<Membership>) -> Result<Prepared> {
        let merged = match self.config.merged(new) {
            Ok(merged) => Arc::new(merged),
            Err(what) => bail!("this takes effect only with a restart of the agent: {what}"),
        };
        // Before anything else changes, since it may fail; what follows it does not, but for want of memory. There is no
        // way back but forward.
        if let Some(membership) = &membership {
            electorate::keep(&merged, membership)?;
        }
        let known = self.config.served().len();
        let guards = merged.served().iter().skip(known).map(SetupGuard::of);
        let groups = merged.served_groups().iter();
        let new_groups = groups.skip(self.config.served_groups().len());
        self.dataplane
            .guard_more(guards.collect(), new_groups.map(|group| group.id))?;
        let guards = self.dataplane.guards().to_vec();
        self.follower.guard(guards, self.dataplane.guard()?);
        Ok(Prepared {
            guards: [self.dataplane.guard()?, self.dataplane.guard()?],
            reformed: membership
                .map(|membership| self.reform(&merged, membership))
                .transpose()?,
            merged,
        })
    }

    /// Goes on with a changed configuration.
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
        // The pulse first: the conductor has something to say of a new group at once, and the pulse wants
        // none started before that.
        self.directives.tell(Directive::Replan(Box::new(replan)));
        let _ = self.orders.send(Order::Replan {
            vips: merged.served().to_vec(),
            groups: merged.served_groups().to_vec(),
        });
        self.tell_outages();
    }

    /// Puts what changed beside the plan in the place of what there was.
    fn replace(
        &mut self,
        changes: &[Change],
        was: &[Group],
        (hooks, ended): (&mut Hooks, &UnboundedSender<Ended>),
    ) {
        let config = Arc::clone(&self.config);
        if changes.contains(&Change::Health) {
            self.checks.replace(&config.health);
        }
        if changes.contains(&Change::Load) {
            self.meter = Meter::new(config.load.clone());
        }
        if changes.contains(&Change::Hooks) {
            let old = std::mem::replace(hooks, Hooks::start(&config.hooks, ended.clone()));
            tokio::spawn(old.finish(OLD_HOOKS));
        }
        for (applied, (was, is)) in self.applied.iter_mut().zip(was.iter().zip(&config.groups)) {
            if was.resources != is.resources {
                // It begins anew, and knows nothing of what was decided.
                *applied = Applied::default();
            }
        }
        self.apply_decisions();
    }
}
