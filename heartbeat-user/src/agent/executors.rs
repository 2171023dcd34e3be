//! The executors: tasks that carry out the action requests of the resource manager, and may block.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use heartbeat_core::{
    index_vec::IndexVec,
    resource::{Action, Outcome, ResourcePlan},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use crate::{
    config::{Resource, ResourceKind},
    messages::{ActionRequest, ResourceCommand, ResourceRef},
    pulse::mailbox::Post,
    resource_manager::address_plan,
    resources::Agents,
};

/// Runs until the sender of `work` is dropped. An action that still runs then ends with its task,
/// and so with the agent.
pub(super) async fn perform(
    agents: Agents,
    commands: Post<ResourceCommand>,
    mut work: UnboundedReceiver<ActionRequest>,
) {
    let mut executors = Executors {
        agents: Arc::new(agents),
        commands,
        tasks: JoinSet::new(),
        acts: HashMap::new(),
        watches: HashMap::new(),
    };
    loop {
        tokio::select! {
            next = work.recv() => match next {
                Some(work) => executors.take(work),
                None => break,
            },
            Some(ended) = executors.tasks.join_next_with_id() => {
                let ended = ended.map(|(task, ())| task);
                executors.ended(ended);
            }
        }
    }
}

struct Executors {
    agents: Arc<Agents>,
    /// Sending fails only after the end of the resource manager.
    commands: Post<ResourceCommand>,
    tasks: JoinSet<()>,
    acts: HashMap<ResourceRef, Act>,
    watches: HashMap<ResourceRef, AbortHandle>,
}

/// An action in progress.
struct Act {
    number: u64,
    action: Action,
    task: AbortHandle,
}

impl Executors {
    fn take(&mut self, work: ActionRequest) {
        let (agents, commands) = (Arc::clone(&self.agents), self.commands.clone());
        match work {
            ActionRequest::Prepare { group, resources } => {
                self.tasks.spawn(async move {
                    let mut plans = IndexVec::new();
                    for resource in &resources {
                        plans.push(plan(&agents, resource).await);
                    }
                    commands.send(ResourceCommand::Begin { group, plans });
                });
            }
            ActionRequest::Act {
                reference,
                number,
                resource,
                action,
                timeout,
            } => {
                let task = self.tasks.spawn(async move {
                    let done = agents.act(&resource, action, timeout).await;
                    let tell = |outcome, message| {
                        commands.send(ResourceCommand::Done {
                            reference,
                            number,
                            action,
                            outcome,
                            message,
                        });
                    };
                    tell(done.outcome, done.message);
                    if let Some(lingers) = done.lingers {
                        lingers.gone().await;
                        log::warn!(
                            "{}: the {action} that could not be killed has ended at last",
                            resource.name
                        );
                        tell(Outcome::TimedOut, String::new());
                    }
                });
                let act = Act {
                    number,
                    action,
                    task,
                };
                self.acts.insert(reference, act);
            }
            // The processes of the action end with the task.
            ActionRequest::Cancel { reference } => {
                if let Some(act) = self.acts.remove(&reference) {
                    act.task.abort();
                }
            }
            ActionRequest::Watch {
                reference,
                resource,
            } => {
                if let Some(old) = self.watches.remove(&reference) {
                    old.abort();
                }
                if let Some(resource) = resource {
                    let watch = self.tasks.spawn(async move {
                        let message = agents.ended(&resource).await;
                        commands.send(ResourceCommand::Ended { reference, message });
                    });
                    self.watches.insert(reference, watch);
                }
            }
        }
    }

    fn ended(&mut self, ended: Result<Id, JoinError>) {
        let task = ended.as_ref().map_or_else(JoinError::id, |task| *task);
        let reference = self.acts.iter().find(|(_, act)| act.task.id() == task);
        let act = reference
            .map(|(reference, _)| *reference)
            .and_then(|reference| Some((reference, self.acts.remove(&reference)?)));
        let Some(error) = ended.err().filter(JoinError::is_panic) else {
            return;
        };
        log::error!("a task that handles a resource panicked: {error}");
        // The resource manager waits for a result.
        if let Some((reference, act)) = act {
            self.commands.send(ResourceCommand::Done {
                reference,
                number: act.number,
                action: act.action,
                outcome: Outcome::NotStarted,
                message: format!("the task that carries it out panicked: {error}"),
            });
        }
    }
}

async fn plan(agents: &Agents, resource: &Resource) -> ResourcePlan {
    if matches!(resource.kind, ResourceKind::Vip(_)) {
        return address_plan(resource);
    }
    let timeouts = agents.timeouts(resource).await;
    ResourcePlan {
        start_timeout: timeouts.start,
        stop_timeout: timeouts.stop,
        monitor_timeout: timeouts.monitor,
        monitor_interval: timeouts.interval,
        migration_threshold: NonZeroU32::new(resource.migration_threshold),
        failure_timeout: resource.failure_timeout,
    }
}
