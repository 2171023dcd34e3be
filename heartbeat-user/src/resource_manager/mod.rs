//! The resource manager: one thread that drives the resources of all groups on this node.
//!
//! This thread moves addresses itself, so that the pulse does not wait for the kernel's network
//! configuration, and an address does not wait for a busy tokio. All other resources go to the
//! executors, which may block: the manager sends an [`ActionRequest`] and receives the result. The
//! core decides the next step.

mod address;
mod address_plan;
mod address_watch;
mod backoff;
mod event_loop;
mod run;
mod sweep;

use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use heartbeat_core::index_vec::ByGroup;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    config::Config,
    messages::{ActionRequest, ResourceCommand, ResourceEvent},
    net::Netlink,
    pulse::{
        Directives,
        mailbox::{Mailbox, Post, mailbox},
        realtime::{self, Granter},
    },
};
pub use address_plan::address_plan;
use address_watch::Watcher;
use event_loop::EventLoop;
use run::Run;
pub use run::Wish;
pub use sweep::{remove_guarded, sweep};

/// The running thread.
#[derive(Debug)]
pub struct ResourceManager {
    commands: Post<ResourceCommand>,
    thread: JoinHandle<()>,
}

/// The receivers of the resource manager's messages.
#[derive(Debug)]
pub struct Ends<R> {
    pub directives: Directives,
    pub work: UnboundedSender<ActionRequest>,
    /// A callback on the resource manager's thread: it must not block.
    pub report: R,
}

/// The receiving end of the commands, which exists before the resource manager does.
#[derive(Debug)]
pub struct Inbox(Mailbox<ResourceCommand>);

pub fn inbox() -> Result<(Post<ResourceCommand>, Inbox)> {
    let (commands, mailbox) = mailbox()?;
    Ok((commands, Inbox(mailbox)))
}

impl ResourceManager {
    /// Starts the thread.
    ///
    /// `inherited` has an entry for each group that an earlier run was granted and that may still
    /// be served. `wishes` are the operators' decisions on each group. `granter` grants the threads
    /// real-time scheduling.
    pub fn start(
        config: &Config,
        granter: Granter,
        inherited: &[Option<Boottime>],
        wishes: ByGroup<Wish>,
        (commands, inbox): (Post<ResourceCommand>, Inbox),
        ends: Ends<impl FnMut(ResourceEvent) + Send + 'static>,
    ) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let held = address::open(config.served(), &mut netlink)?;
        let groups = config.served_groups().iter().zip(inherited).zip(wishes);
        let groups = groups.map(|((group, inherited), wish)| Run {
            maintained: wish.maintained,
            enabled: wish.enabled,
            ..Run::new(group, inherited.is_some())
        });
        // The priority is just below that of the pulse, which has already logged a refusal.
        let priority = config.realtime_priority;
        let priority = priority.map(|priority| priority.saturating_sub(1).max(1));
        let reservation = realtime::of_resource_manager(config.interval);
        let address_watch = Watcher::start(
            commands.clone(),
            &address::addresses(&held),
            priority,
            granter.clone(),
        )
        .inspect_err(|error| {
            log::error!("removed addresses are added again late, at the next monitor: {error:#}");
        })
        .ok();
        let mut event_loop = EventLoop::new(address_watch, netlink, held, groups.collect(), ends);
        let thread = std::thread::Builder::new()
            .name("resources".to_owned())
            .spawn(move || {
                if let Some(priority) = priority {
                    granter.ask(reservation, priority);
                }
                drop(granter);
                event_loop.run(&inbox.0);
            })
            .context("could not start the resource manager")?;
        Ok(Self { commands, thread })
    }

    /// Returns a sender of commands.
    pub fn commands(&self) -> Post<ResourceCommand> {
        self.commands.clone()
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Removes all addresses and waits for the end of the thread. The pulse must have stopped
    /// before, so that no command follows.
    pub fn stop(self) {
        self.end(ResourceCommand::Quit);
    }

    /// Leaves everything in place for the next agent, and waits for the end of the thread.
    pub fn leave(self) {
        self.end(ResourceCommand::Leave);
    }

    fn end(self, command: ResourceCommand) {
        // A thread that has ended is joined at once.
        self.commands.send(command);
        if self.thread.join().is_err() {
            log::error!(
                "the resource manager had panicked: see whether any address was left behind"
            );
        }
    }
}
