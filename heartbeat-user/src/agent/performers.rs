//! Those who carry out what the conductor wants done to resources: tasks that may wait.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use heartbeat_core::resource::ResourcePlan;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::{AbortHandle, JoinSet},
};

use crate::{
    conductor::{Order, Part, Work, address_plan},
    config::{Resource, ResourceKind},
    pulse::mailbox::Post,
    resources::Agents,
};

/// Until nobody gives work any more. What still runs then ends with its task, and so with the agent.
pub(super) async fn perform(
    agents: Agents,
    orders: Post<Order>,
    mut work: UnboundedReceiver<Work>,
) {
    let agents = Arc::new(agents);
    let mut tasks = JoinSet::new();
    let mut watches: HashMap<Part, AbortHandle> = HashMap::new();
    loop {
        let next = tokio::select! {
            next = work.recv() => next,
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    log::error!("a task that handles a resource panicked: {error}");
                }
                continue;
            }
        };
        let (agents, orders) = (Arc::clone(&agents), orders.clone());
        // The conductor fails to hear only when it has ended.
        match next {
            Some(Work::Prepare { group, resources }) => {
                tasks.spawn(async move {
                    let mut plans = Vec::new();
                    for resource in &resources {
                        plans.push(plan(&agents, resource).await);
                    }
                    orders.send(Order::Begin { group, plans });
                });
            }
            Some(Work::Act {
                part,
                resource,
                action,
                timeout,
            }) => {
                tasks.spawn(async move {
                    let done = agents.act(&resource, action, timeout).await;
                    orders.send(Order::Done {
                        part,
                        action,
                        outcome: done.outcome,
                        message: done.message,
                    });
                });
            }
            Some(Work::Watch { part, resource }) => {
                if let Some(old) = watches.remove(&part) {
                    old.abort();
                }
                if let Some(resource) = resource {
                    let watch = tasks.spawn(async move {
                        agents.ended(&resource).await;
                        orders.send(Order::Ended { part });
                    });
                    watches.insert(part, watch);
                }
            }
            None => break,
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
