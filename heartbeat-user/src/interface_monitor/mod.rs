//! Follows this host's interfaces: one thread that notices when one goes, comes (also with another
//! index), is renamed, or does not run the programs, and does what follows from it.
//!
//! It attaches programs and opens sockets, which may take its time; the pulse is handed what is
//! ready. It decides nothing about peers, leases and groups.
//!
//! An interface is known by its name. While nobody has the name, what had it is used all the same:
//! it was renamed. Routes need no following: each probe asks the kernel's routing table anew.

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

/// Between two looks when nothing is announced: announcements may be lost, and of TC programs there
/// are none.
const CALM: Duration = Duration::from_millis(500);
/// The same while something is awaited: an address, or a sign that a program runs.
const BRISK: Duration = Duration::from_millis(100);
/// The same while addresses leave an interface.
const HASTY: Duration = Duration::from_millis(1);

/// What stands for the guard at the sockets in place of an interface, none of which has such a
/// name.
pub const SOCKETS: &str = "all/sockets";

/// The running thread.
#[derive(Debug)]
pub struct InterfaceMonitor {
    words: MonitorHandle,
    thread: JoinHandle<()>,
}

/// A handle for those who see something change.
#[derive(Clone, Debug)]
pub struct MonitorHandle(Sender<MonitorCommand>);

impl MonitorHandle {
    /// Something changed about some interface.
    pub fn check(&self) {
        self.say(MonitorCommand::Check);
    }

    /// Goes on with other guarded addresses, whose rows `view` has.
    pub fn guard(&self, guards: Vec<SetupGuard>, view: GuardView) {
        self.say(MonitorCommand::Guard(guards, view));
    }

    fn say(&self, word: MonitorCommand) {
        // It fails when the agent ends.
        let _ = self.0.send(word);
    }
}

/// Where the interface monitor's words go.
#[derive(Debug)]
pub struct Ends<R> {
    pub directives: Directives,
    pub commands: Post<ResourceCommand>,
    /// Called on the interface monitor's thread.
    pub report: R,
}

impl InterfaceMonitor {
    /// Starts with what `dataplane` found and attached. `bound` is the index of the interface that
    /// each link's socket is bound to, if there is one.
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
        let (words, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("follow".to_owned())
            .spawn(move || body.run(&inbox))
            .context("could not start the thread that follows the interfaces")?;
        Ok(Self {
            words: MonitorHandle(words),
            thread,
        })
    }

    pub fn handle(&self) -> MonitorHandle {
        self.words.clone()
    }

    /// Ends the thread and waits for it: nothing is attached any more after that.
    pub fn stop(self) {
        self.words.say(MonitorCommand::Stop);
        if self.thread.join().is_err() {
            log::error!("the thread that follows the interfaces had panicked");
        }
    }
}

struct Body<R> {
    /// UDP port of heartbeats.
    port_number: u16,
    netlink: Netlink,
    hotplug: Hotplug,
    sockets: Sockets,
    ports: Vec<Port>,
    /// By link: index of the interface that its socket is bound to.
    bound: IndexVec<LinkId, Option<u32>>,
    /// By link: why it has no socket where it should, as it was told last.
    unbound: IndexVec<LinkId, Option<String>>,
    ends: Ends<R>,
}

impl<R: FnMut(InterfaceEvent)> Body<R> {
    fn run(&mut self, inbox: &Receiver<MonitorCommand>) {
        self.unbound = vec![None; self.bound.len()].into();
        for port in &mut self.ports {
            let lost = port.listen(&mut self.netlink);
            for news in lost.into_iter().chain(port.introduce()) {
                (self.ends.report)(news);
            }
        }
        loop {
            self.check();
            let patience = match self.awaits() {
                true if self.ports.iter().any(Port::hurries) => HASTY,
                true => BRISK,
                false => CALM,
            };
            let mut word = inbox.recv_timeout(patience);
            loop {
                match word {
                    Ok(MonitorCommand::Check) | Err(RecvTimeoutError::Timeout) => {}
                    Ok(MonitorCommand::Guard(guards, view)) => self.guard(guards, view),
                    Ok(MonitorCommand::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                }
                // One look answers all that was announced by now.
                match inbox.try_recv() {
                    Ok(next) => word = Ok(next),
                    Err(_) => break,
                }
            }
        }
    }

    fn guard(&mut self, guards: Vec<SetupGuard>, view: GuardView) {
        self.hotplug.guard(guards, view);
        for name in self.hotplug.interfaces() {
            if !self.ports.iter().any(|port| port.is(&name)) {
                // The reload has just put the guard there.
                let attachment = self.hotplug.attached(&name);
                self.ports
                    .push(Port::new(name, attachment, &mut self.netlink));
            }
        }
    }

    /// Whether something is expected soon.
    fn awaits(&self) -> bool {
        let unbound = self.unbound.iter().any(Option::is_some);
        unbound || self.ports.iter().any(Port::awaits)
    }

    fn check(&mut self) {
        for port in &mut self.ports {
            // First: attaching may wait for the kernel.
            if let Some(news) = port.listen(&mut self.netlink) {
                (self.ends.report)(news);
            }
            let look = port.check(&mut self.netlink, &mut self.hotplug);
            if let Some(command) = port.command() {
                self.ends.commands.send(command);
            }
            let Some(look) = look else { continue };
            if look.arrived {
                // The guard is there: its addresses may come back.
                let interface = look.news.interface.clone();
                self.ends
                    .commands
                    .send(ResourceCommand::Follow { interface });
            }
            (self.ends.report)(look.news);
            if let Some(news) = port.listen(&mut self.netlink).filter(|_| look.arrived) {
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

    /// Gives a link a socket on the interface that it is on now.
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
                    .tell(Directive::Rebind { link, socket });
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
