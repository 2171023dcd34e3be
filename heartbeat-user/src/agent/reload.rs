//! Takes over a changed configuration while the agent runs, without touching what did not change.
//!
//! All or nothing: a file that is bad, or that changes what only a restart can, changes nothing.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    operate::Operator,
    reason::{Applied, Reason},
    view,
};
use crate::{
    conductor::Order,
    config::{Change, Config},
    control::protocol::Response,
    dataplane::SetupGuard,
    hooks::{Ended, Hooks},
    load::Meter,
    pulse::{Directive, Replan},
};

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
        if changes.is_empty() {
            return Ok("nothing has changed".to_owned());
        }
        let merged = match self.config.merged(&new) {
            Ok(merged) => Arc::new(merged),
            Err(what) => bail!("this takes effect only with a restart of the agent: {what}"),
        };
        // What may fail comes first.
        let known = self.config.served().len();
        let guards = merged.served().iter().skip(known).map(SetupGuard::of);
        self.dataplane.guard_more(guards.collect())?;
        let replan = Replan::new(&merged, &self.operator.keys, self.dataplane.guard()?);
        let (slots, rows) = (self.dataplane.slots()?, self.dataplane.peer_rows()?);
        let digest = merged.digest(self.operator.keys.active.1);
        view::lock(&self.view).replan(Arc::clone(&merged), digest, self.dataplane.guard()?);

        self.file = Arc::new(new);
        let was = self.config.groups.clone();
        self.config = Arc::clone(&merged);
        let old = &self.operator;
        self.operator = Arc::new(Operator {
            config: Arc::clone(&merged),
            keys: old.keys.clone(),
            directives: old.directives.clone(),
            orders: old.orders.clone(),
            view: Arc::clone(&old.view),
            decided: Arc::clone(&old.decided),
            stats: Arc::clone(&old.stats),
            turns: Arc::clone(&old.turns),
            slots,
            rows,
        });
        // The pulse first: the conductor has something to say of a new group at once, and the pulse wants
        // none started before that.
        self.directives.tell(Directive::Replan(Box::new(replan)));
        let _ = self.orders.send(Order::Replan {
            vips: merged.served().to_vec(),
            groups: merged.served_groups().to_vec(),
        });
        if changes.contains(&Change::Health) {
            self.checks.replace(&merged.health);
        }
        if changes.contains(&Change::Load) {
            self.meter = Meter::new(merged.load.clone());
        }
        if changes.contains(&Change::Hooks) {
            let old = std::mem::replace(hooks, Hooks::start(&merged.hooks, ended.clone()));
            tokio::spawn(old.finish(OLD_HOOKS));
        }
        for (applied, (was, is)) in self.applied.iter_mut().zip(was.iter().zip(&merged.groups)) {
            if was.resources != is.resources {
                // It begins anew, and knows nothing of what was decided.
                *applied = Applied::default();
            }
        }
        self.apply_decisions();
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        Ok(format!("reloaded: {}", changes.join(", ")))
    }
}
