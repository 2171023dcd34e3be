//! Moves the virtual addresses: one thread that does nothing else, so that neither the pulse waits for
//! the kernel's network configuration nor an address for a busy tokio.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::{maps::GuardRow, time::Boottime};
use heartbeat_core::group::Course;
use nix::errno::Errno;

use crate::{
    clock,
    config::{Config, Vip},
    net::{Announcer, Burst, Interface, Netlink},
    pulse::realtime,
};

/// How long to wait before an address that could not be added or removed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long to wait when nothing is to be announced or retried.
const IDLE: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Acquire {
        vip: usize,
        course: Course,
        decided: Boottime,
    },
    Release {
        vip: usize,
        decided: Boottime,
    },
    /// Announce anew whatever is held: others may have believed that it had moved.
    Reassert,
    /// Release everything and end.
    Stop,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acquired {
        vip: usize,
        course: Course,
        decided: Boottime,
        address: Boottime,
        announced: Boottime,
    },
    Released {
        vip: usize,
        decided: Boottime,
        address: Boottime,
    },
    /// It was to be released, and was not there.
    Absent {
        vip: usize,
    },
    Failed {
        vip: usize,
        message: String,
    },
}

/// Removes the addresses that an earlier run left on the interfaces, but for those that may still be
/// served (`inherited`, one for each VIP). `stale` is what it guarded, wherever that was.
///
/// Goes on after a failure, and returns the first: what it could not remove needs a guard.
pub fn sweep(config: &Config, inherited: &[Option<Boottime>], stale: &[GuardRow]) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let mut kept = Vec::new();
    let mut result = Ok(());
    for (vip, inherited) in config.served().iter().zip(inherited) {
        let index = match netlink.interface(&vip.interface) {
            Ok(interface) => interface.index,
            // The address went with its interface.
            Err(error) if error.errno() == Some(Errno::ENODEV) => continue,
            Err(error) => {
                result = result.and(Err(error.into()));
                continue;
            }
        };
        let address = vip.address.address;
        if inherited.is_some() {
            kept.push((index, address));
            continue;
        }
        match netlink.remove_address(index, address) {
            Ok(true) => log::warn!(
                "vip {}: removed {} from {}, where an earlier run had left it",
                vip.name,
                vip.address,
                vip.interface
            ),
            Ok(false) => {}
            Err(error) => result = result.and(Err(error.into())),
        }
    }
    let gone = |row: &&GuardRow| !kept.contains(&(row.ifindex, row.address.into()));
    result.and(remove_guarded(stale.iter().filter(gone)))
}

/// Removes addresses that an earlier run guarded, and nobody will guard any more. Goes on after a
/// failure, and returns the first.
pub fn remove_guarded<'a>(rows: impl IntoIterator<Item = &'a GuardRow>) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let mut result = Ok(());
    for row in rows {
        let address = row.address.into();
        match netlink.remove_address(row.ifindex, address) {
            Ok(true) => {
                log::warn!("removed {address}, which an earlier run had left on its interface");
            }
            Ok(false) => {}
            Err(error) => result = result.and(Err(error.into())),
        }
    }
    result
}

/// The running thread.
#[derive(Debug)]
pub struct Mover {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Mover {
    /// Starts with the addresses that an earlier run was granted and that may still be served
    /// (`inherited`, one for each VIP). `report` is called on the mover's thread and must not block.
    pub fn start(
        config: &Config,
        inherited: &[Option<Boottime>],
        report: impl FnMut(Outcome) + Send + 'static,
    ) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let held = config
            .served()
            .iter()
            .zip(inherited)
            .map(|(vip, inherited)| {
                Held::new(vip, inherited.is_some(), &mut netlink)
                    .with_context(|| format!("vip {}", vip.name))
            })
            .collect::<Result<Vec<_>>>()?;
        let (orders, inbox) = channel();
        let priority = config.realtime_priority;
        let mut body = Body {
            netlink,
            held,
            report,
        };
        let thread = std::thread::Builder::new()
            .name("vip".to_owned())
            .spawn(move || {
                // Just behind the pulse. If it is refused the pulse has said so already.
                if let Some(priority) = priority {
                    let _ = realtime::set_fifo(priority.saturating_sub(1).max(1));
                }
                body.run(&inbox);
            })
            .context("could not start the thread that moves addresses")?;
        Ok(Self { orders, thread })
    }

    /// A handle for those who decide.
    pub fn orders(&self) -> Sender<Order> {
        self.orders.clone()
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Releases all addresses and waits. The pulse must have been stopped before, so that no order
    /// comes after.
    pub fn stop(self) {
        // Fails only if the thread has ended, and then it is joined at once.
        let _ = self.orders.send(Order::Stop);
        if self.thread.join().is_err() {
            log::error!(
                "the thread that moves addresses had panicked: see whether any was left behind"
            );
        }
    }
}

struct Held {
    vip: Vip,
    interface: Interface,
    announcer: Announcer,
    wanted: bool,
    course: Course,
    /// When the last order was decided.
    decided: Boottime,
    on_interface: bool,
    burst: Option<Burst>,
    retry_at: Option<Boottime>,
}

impl Held {
    fn new(vip: &Vip, wanted: bool, netlink: &mut Netlink) -> Result<Self> {
        let interface = netlink.interface(&vip.interface)?;
        let there = netlink
            .addresses(interface.index)?
            .iter()
            .any(|prefix| prefix.address == vip.address.address);
        Ok(Self {
            announcer: Announcer::open(&interface)?,
            vip: vip.clone(),
            interface,
            wanted,
            course: Course::default(),
            decided: Boottime::default(),
            on_interface: there,
            burst: None,
            // What should be there and is not comes first of all.
            retry_at: (wanted != there).then(clock::now),
        })
    }

    fn announce(&self) {
        let Err(error) = self.announcer.announce(self.vip.address.address) else {
            return;
        };
        log::warn!(
            "vip {}: could not announce {}{}: {error:#}",
            self.vip.name,
            self.vip.address,
            match error.downcast_ref() {
                Some(nix::Error::ENOBUFS) =>
                    " (its guard is closed, or the interface's queue is full)",
                _ => "",
            }
        );
    }

    /// When this address needs something done without an order.
    fn due_at(&self) -> Option<Boottime> {
        match (&self.burst, self.retry_at) {
            (Some(burst), Some(retry)) => Some(burst.due_at().min(retry)),
            (Some(burst), None) => Some(burst.due_at()),
            (None, retry) => retry,
        }
    }
}

struct Body<R> {
    netlink: Netlink,
    held: Vec<Held>,
    report: R,
}

impl<R: FnMut(Outcome)> Body<R> {
    fn run(&mut self, inbox: &Receiver<Order>) {
        self.reassert();
        loop {
            let now = clock::now();
            let due = self.held.iter().filter_map(Held::due_at).min();
            match inbox.recv_timeout(due.map_or(IDLE, |at| at.since(now))) {
                Ok(Order::Acquire {
                    vip,
                    course,
                    decided,
                }) => {
                    self.held[vip].course = course;
                    self.order(vip, true, decided);
                }
                Ok(Order::Release { vip, decided }) => self.order(vip, false, decided),
                Ok(Order::Reassert) => self.reassert(),
                Err(RecvTimeoutError::Timeout) => self.do_what_is_due(),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let now = clock::now();
        for vip in 0..self.held.len() {
            if self.held[vip].on_interface {
                self.order(vip, false, now);
            }
        }
    }

    fn order(&mut self, vip: usize, wanted: bool, decided: Boottime) {
        self.held[vip].wanted = wanted;
        self.held[vip].decided = decided;
        self.carry_out(vip);
    }

    fn carry_out(&mut self, vip: usize) {
        let result = if self.held[vip].wanted {
            self.acquire(vip)
        } else {
            self.release(vip)
        };
        let held = &mut self.held[vip];
        held.retry_at = None;
        match result {
            Ok(Some(outcome)) => (self.report)(outcome),
            Ok(None) => {}
            Err(error) => {
                held.retry_at = Some(clock::now().after(RETRY));
                let message = format!("{error:#}; trying again every {} s", RETRY.as_secs());
                (self.report)(Outcome::Failed { vip, message });
            }
        }
    }

    fn acquire(&mut self, vip: usize) -> Result<Option<Outcome>> {
        let held = &mut self.held[vip];
        if held.on_interface && held.burst.is_some() {
            return Ok(None);
        }
        // If it is there already, that is as good.
        self.netlink
            .add_address(held.interface.index, held.vip.address)?;
        let address = clock::now();
        held.on_interface = true;
        let mut burst = Burst::new(address);
        if burst.poll(address) {
            held.announce();
        }
        held.burst = Some(burst);
        let announced = clock::now();
        Ok(Some(Outcome::Acquired {
            vip,
            course: held.course,
            decided: held.decided,
            address,
            announced,
        }))
    }

    fn release(&mut self, vip: usize) -> Result<Option<Outcome>> {
        let held = &mut self.held[vip];
        let (index, address) = (held.interface.index, held.vip.address.address);
        // Also if it should not be there: an addition that failed may have come through.
        let removed = match self.netlink.remove_address(index, address) {
            Ok(removed) => removed,
            // The address went with its interface.
            Err(error) if error.errno() == Some(Errno::ENODEV) => false,
            Err(error) => return Err(error.into()),
        };
        let was_there = std::mem::take(&mut held.on_interface);
        held.burst = None;
        if !removed && !was_there {
            return Ok(Some(Outcome::Absent { vip }));
        }
        Ok(Some(Outcome::Released {
            vip,
            decided: held.decided,
            address: clock::now(),
        }))
    }

    /// Begins the announcements of all held addresses anew, as after a takeover. An IPv6 address may
    /// have gone when its interface was set down.
    fn reassert(&mut self) {
        let now = clock::now();
        for held in self
            .held
            .iter_mut()
            .filter(|held| held.on_interface && held.wanted)
        {
            let index = held.interface.index;
            if let Err(error) = self.netlink.add_address(index, held.vip.address) {
                log::warn!("vip {}: {error:#}", held.vip.name);
            }
            held.burst = Some(Burst::new(now));
        }
        self.do_what_is_due();
    }

    fn do_what_is_due(&mut self) {
        let now = clock::now();
        for vip in 0..self.held.len() {
            let held = &mut self.held[vip];
            if held.burst.as_mut().is_some_and(|burst| burst.poll(now)) {
                held.announce();
            }
            if held.retry_at.is_some_and(|at| at <= now) {
                self.carry_out(vip);
            }
        }
    }
}
