//! Those who carry out what the conductor wants done to resources: tasks that may wait.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, mpsc::Sender},
};

use heartbeat_core::resource::ResourcePlan;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::{AbortHandle, JoinSet},
};

use crate::{
    conductor::{Order, Part, Work},
    config::{Group, Resource, ResourceKind},
    resources::Agents,
};

pub(super) struct Performers {
    pub(super) groups: Arc<Vec<Group>>,
    pub(super) agents: Arc<Agents>,
    pub(super) orders: Sender<Order>,
}

impl Performers {
    /// Until nobody gives work any more. What still runs then ends with its task, and so with the agent.
    pub(super) async fn run(self, mut work: UnboundedReceiver<Work>) {
        let mut tasks = JoinSet::new();
        let mut watches: HashMap<Part, AbortHandle> = HashMap::new();
        for (index, group) in self.groups.iter().enumerate() {
            if group.resources.iter().any(|resource| !is_address(resource)) {
                tasks.spawn(self.begin(index));
            }
        }
        loop {
            tokio::select! {
                next = work.recv() => match next {
                    Some(Work::Act { part, action, timeout }) => {
                        let (agents, orders) = (Arc::clone(&self.agents), self.orders.clone());
                        let groups = Arc::clone(&self.groups);
                        tasks.spawn(async move {
                            let resource = &groups[part.group].resources[part.resource];
                            let done = agents.act(resource, action, timeout).await;
                            let _ = orders.send(Order::Done {
                                part,
                                action,
                                outcome: done.outcome,
                                message: done.message,
                            });
                        });
                    }
                    Some(Work::Watch { part, watch: true }) => {
                        let (agents, orders) = (Arc::clone(&self.agents), self.orders.clone());
                        let groups = Arc::clone(&self.groups);
                        let watch = tasks.spawn(async move {
                            let resource = &groups[part.group].resources[part.resource];
                            agents.ended(resource).await;
                            let _ = orders.send(Order::Ended { part });
                        });
                        if let Some(old) = watches.insert(part, watch) {
                            old.abort();
                        }
                    }
                    Some(Work::Watch { part, watch: false }) => {
                        if let Some(watch) = watches.remove(&part) {
                            watch.abort();
                        }
                    }
                    None => break,
                },
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        log::error!("a task that handles a resource panicked: {error}");
                    }
                }
            }
        }
    }

    /// Finds out how the resources of a group are to be handled, and lets the conductor begin.
    fn begin(&self, group: usize) -> impl Future<Output = ()> + use<> {
        let (agents, orders) = (Arc::clone(&self.agents), self.orders.clone());
        let groups = Arc::clone(&self.groups);
        async move {
            let mut plans = Vec::new();
            for resource in &groups[group].resources {
                plans.push(plan(&agents, resource).await);
            }
            let _ = orders.send(Order::Begin { group, plans });
        }
    }
}

fn is_address(resource: &Resource) -> bool {
    matches!(resource.kind, ResourceKind::Vip(_))
}

async fn plan(agents: &Agents, resource: &Resource) -> ResourcePlan {
    if is_address(resource) {
        return crate::conductor::address_plan(resource);
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
