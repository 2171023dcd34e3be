//! The interface monitor: one thread that detects when an interface disappears, appears (also with
//! another index), is renamed, or does not run the programs, and reacts.
//!
//! The monitor attaches programs and opens sockets, which may block; the pulse receives finished
//! sockets. The monitor decides nothing about peers, leases and groups.
//!
//! The name identifies an interface. While no interface has the name, the renamed former one stays
//! in use. Routes need no monitoring: each probe uses the kernel's routing table anew.

mod check;
mod port;
mod signal;
mod sockets;

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::wire::LinkId;

use crate::{
    config::Config,
    dataplane::{Dataplane, GuardView, Hotplug, SetupGuard},
    messages::{Directive, InterfaceEvent, MonitorCommand, ResourceCommand},
    net::Netlink,
    pulse::{Directives, mailbox::Post},
};
use heartbeat_core::index_vec::IndexVec;
use port::Port;
pub use signal::Signal;
use sockets::Sockets;

/// The poll interval without kernel messages: messages may be lost, and there are none about TC
/// programs.
const CALM: Duration = Duration::from_millis(500);
/// The poll interval while an address, or a sign of a running program, is awaited.
const BRISK: Duration = Duration::from_millis(100);
/// The poll interval while addresses leave an interface.
const HASTY: Duration = Duration::from_millis(1);

/// The name for the guard at the sockets in place of an interface. No interface can have this name.
pub const SOCKETS: &str = "all/sockets";

/// The running thread.
#[derive(Debug)]
pub struct InterfaceMonitor {
    handle: MonitorHandle,
    thread: JoinHandle<()>,
}

/// A handle for reporting changes.
#[derive(Clone, Debug)]
pub struct MonitorHandle(Sender<MonitorCommand>);

impl MonitorHandle {
    /// Requests a check of all interfaces.
    pub fn check(&self) {
        self.send(MonitorCommand::Check);
    }

    /// Switches to these guarded addresses, whose rows are in `view`.
    pub fn guard(&self, guards: Vec<SetupGuard>, view: GuardView) {
        self.send(MonitorCommand::Guard(guards, view));
    }

    fn send(&self, command: MonitorCommand) {
        // Sending fails when the agent ends.
        let _ = self.0.send(command);
    }
}

/// The receivers of the interface monitor's messages.
#[derive(Debug)]
pub struct Ends<R> {
    pub directives: Directives,
    pub commands: Post<ResourceCommand>,
    /// A callback on the interface monitor's thread.
    pub report: R,
}

impl InterfaceMonitor {
    /// Starts with the interfaces that `dataplane` found and attached. `bound` is the index of the
    /// interface to which each link's socket is bound, if there is one.
    pub fn start(
        config: &Config,
        dataplane: &Dataplane,
        bound: IndexVec<LinkId, Option<u32>>,
        ends: Ends<impl FnMut(InterfaceEvent) + Send + 'static>,
    ) -> Result<Self> {
        let hotplug = Hotplug::open(dataplane)?;
        let mut netlink = Netlink::open()?;
        let mut ports = Vec::new();
        for name in hotplug.interfaces() {
            let links = hotplug.links().iter().zip(dataplane.attached());
            let mut links = links.filter(|(link, _)| link.interface == name);
            let attachment = match links.next() {
                Some((_, attached)) => attached.clone(),
                None => hotplug.attached(&name),
            };
            ports.push(Port::new(name, attachment, &mut netlink));
        }
        let mut body = Body {
            port_number: config.port,
            netlink,
            hotplug,
            sockets: Sockets::of(dataplane),
            ports,
            bound,
            unbound: IndexVec::new(),
            ends,
        };
        let (sender, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("interfaces".to_owned())
            .spawn(move || body.run(&inbox))
            .context("could not start the interface monitor")?;
        Ok(Self {
            handle: MonitorHandle(sender),
            thread,
        })
    }

    pub fn handle(&self) -> MonitorHandle {
        self.handle.clone()
    }

    /// Ends the thread and waits for it: no program is attached after that.
    pub fn stop(self) {
        self.handle.send(MonitorCommand::Stop);
        if self.thread.join().is_err() {
            log::error!("the interface monitor had panicked");
        }
    }
}

struct Body<R> {
    /// The UDP port of heartbeats.
    port_number: u16,
    netlink: Netlink,
    hotplug: Hotplug,
    sockets: Sockets,
    ports: Vec<Port>,
    /// By link: the index of the interface to which its socket is bound.
    bound: IndexVec<LinkId, Option<u32>>,
    /// By link: the last reported reason for a missing socket.
    unbound: IndexVec<LinkId, Option<String>>,
    ends: Ends<R>,
}

impl<R: FnMut(InterfaceEvent)> Body<R> {
    fn run(&mut self, inbox: &Receiver<MonitorCommand>) {
        self.unbound = vec![None; self.bound.len()].into();
        for port in &mut self.ports {
            let lost = port.check_signal(&mut self.netlink);
            for news in lost.into_iter().chain(port.first_event()) {
                (self.ends.report)(news);
            }
        }
        loop {
            self.check();
            let patience = match self.awaits() {
                true if self.ports.iter().any(Port::is_brief) => HASTY,
                true => BRISK,
                false => CALM,
            };
            let mut command = inbox.recv_timeout(patience);
            loop {
                match command {
                    Ok(MonitorCommand::Check) | Err(RecvTimeoutError::Timeout) => {}
                    Ok(MonitorCommand::Guard(guards, view)) => self.guard(guards, view),
                    Ok(MonitorCommand::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                }
                // One check covers all changes up to now.
                match inbox.try_recv() {
                    Ok(next) => command = Ok(next),
                    Err(_) => break,
                }
            }
        }
    }

    fn guard(&mut self, guards: Vec<SetupGuard>, view: GuardView) {
        self.hotplug.guard(guards, view);
        for name in self.hotplug.interfaces() {
            if !self.ports.iter().any(|port| port.is(&name)) {
                // The reload has just attached the guard.
                let attachment = self.hotplug.attached(&name);
                self.ports
                    .push(Port::new(name, attachment, &mut self.netlink));
            }
        }
    }

    /// Returns whether a change is expected soon.
    fn awaits(&self) -> bool {
        let unbound = self.unbound.iter().any(Option::is_some);
        unbound || self.ports.iter().any(Port::awaits)
    }

    fn check(&mut self) {
        for port in &mut self.ports {
            // The signal comes first: attaching may wait for the kernel.
            if let Some(news) = port.check_signal(&mut self.netlink) {
                (self.ends.report)(news);
            }
            let checked = port.check(&mut self.netlink, &mut self.hotplug);
            if let Some(command) = port.command() {
                self.ends.commands.send(command);
            }
            let Some(checked) = checked else { continue };
            if checked.arrived {
                // The guard is attached: the addresses may be added again.
                let interface = checked.news.interface.clone();
                self.ends
                    .commands
                    .send(ResourceCommand::Follow { interface });
            }
            (self.ends.report)(checked.news);
            if let Some(news) = port
                .check_signal(&mut self.netlink)
                .filter(|_| checked.arrived)
            {
                (self.ends.report)(news);
            }
        }
        if let Some(news) = self.sockets.check() {
            (self.ends.report)(news);
        }
        for link in self.bound.indices() {
            self.bind(link);
        }
    }

    /// Opens a socket for a link on its present interface.
    fn bind(&mut self, link: LinkId) {
        let interface = &self.hotplug.links()[usize::from(link.0)].interface;
        let Some(port) = self.ports.iter_mut().find(|port| port.is(interface)) else {
            return;
        };
        let Some(index) = port
            .index()
            .filter(|index| self.bound[link] != Some(*index))
        else {
            return;
        };
        match self.hotplug.open_socket(link, self.port_number, index) {
            Ok(socket) => {
                self.bound[link] = Some(index);
                self.ends
                    .directives
                    .send(Directive::Rebind { link, socket });
                if self.unbound[link].take().is_some() {
                    (self.ends.report)(port.solved(format!("link {} sends again", link.0)));
                }
            }
            Err(error) => {
                let why = format!("link {} cannot send: {error:#}", link.0);
                if self.unbound[link].as_ref() != Some(&why) {
                    (self.ends.report)(port.unsolved(why.clone()));
                    self.unbound[link] = Some(why);
                }
            }
        }
    }
}
