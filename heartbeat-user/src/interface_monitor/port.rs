//! One interface that carries links or addresses, in its last observed state.

use super::{
    Signal,
    check::{Finding, SelfCheck},
};
use std::time::Duration;

use heartbeat_common::time::Boottime;

use crate::{
    clock,
    dataplane::{Attached, Attachment, Hotplug, XdpMode},
    messages::{InterfaceChange, InterfaceEvent, ResourceCommand},
    net::{Interface, Netlink},
};

/// The longest time for addresses to leave an interface before this counts as a fault.
const DEPARTURE: Duration = Duration::from_millis(200);
/// The time between two commands to leave the interface.
const ORDER_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Port {
    name: String,
    /// The interface that the programs are attached to.
    index: Option<u32>,
    attachment: Option<Attachment>,
    check: SelfCheck,
    /// The last reported signal.
    signal: Signal,
    /// The last reported fault, and the change with which it was reported.
    problem: Option<(InterfaceChange, String)>,
    /// A wait for addresses to leave the former interface of this name.
    departure: Option<Departure>,
    /// The next command to the resource manager, not sent yet.
    command: Option<ResourceCommand>,
}

#[derive(Debug)]
struct Departure {
    since: Boottime,
    ordered_at: Option<Boottime>,
}

/// The result of a check.
pub(super) struct Checked {
    pub(super) news: InterfaceEvent,
    /// The programs are attached to a new interface.
    pub(super) arrived: bool,
}

impl Port {
    /// Returns the port of an interface to which the programs are attached already, if it exists.
    pub(super) fn new(name: String, attachment: Option<Attachment>, netlink: &mut Netlink) -> Self {
        let index = netlink.interface(&name).ok().map(|found| found.index);
        Self {
            name,
            index,
            attachment,
            check: SelfCheck::default(),
            signal: Signal::default(),
            problem: None,
            departure: None,
            command: None,
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn index(&self) -> Option<u32> {
        self.index
    }

    /// Returns whether a sign of a running program is awaited, or an attempt is repeated.
    pub(super) fn awaits(&self) -> bool {
        self.departure.is_some() || self.index.is_some() && self.check.is_open()
    }

    /// Returns whether the awaited change takes only moments.
    pub(super) fn is_brief(&self) -> bool {
        let since = self.departure.as_ref().map(|departure| departure.since);
        since.is_some_and(|since| clock::now().since(since) < DEPARTURE)
    }

    /// Takes the command that the resource manager must carry out before this port continues.
    pub(super) fn command(&mut self) -> Option<ResourceCommand> {
        self.command.take()
    }

    /// Returns the first event, if there is one to report.
    pub(super) fn first_event(&mut self) -> Option<InterfaceEvent> {
        match self.index {
            Some(_) => None,
            None => Some(self.missing()),
        }
    }

    /// Reads whether the interface can send and receive. Returns `None` if that has not changed.
    pub(super) fn check_signal(&mut self, netlink: &mut Netlink) -> Option<InterfaceEvent> {
        let found = match self.index {
            Some(index) => netlink.interface_at(index),
            None => Ok(None),
        };
        // Without an answer of the kernel the signal is unknown.
        let signal = Signal::of(found.ok()?.as_ref());
        let before = std::mem::replace(&mut self.signal, signal);
        // A missing interface is reported elsewhere.
        let reported = signal == before || signal == Signal::Missing;
        let change = match signal.is_up() {
            true => InterfaceChange::Back,
            false => InterfaceChange::Lost,
        };
        (!reported).then(|| self.news(change, signal.text().to_owned()))
    }

    /// Checks the interface and reacts. Returns `None` if there is nothing to report.
    pub(super) fn check(
        &mut self,
        netlink: &mut Netlink,
        hotplug: &mut Hotplug,
    ) -> Option<Checked> {
        let named = netlink.interface(&self.name).ok();
        match (named, self.index) {
            (Some(found), Some(index)) if found.index == index => {
                self.cancel_departure();
                self.unchanged(netlink, hotplug)
            }
            (Some(found), _) => self.appeared(&found, netlink, hotplug),
            (None, Some(index)) => match netlink.interface_at(index) {
                Ok(Some(other)) => {
                    self.cancel_departure();
                    self.renamed(&other, netlink, hotplug)
                }
                Ok(None) => {
                    self.index = None;
                    self.attachment = None;
                    Some(quiet(self.missing()))
                }
                // The kernel gives no answer now.
                Err(_) => None,
            },
            (None, None) => None,
        }
    }

    /// Cancels a departure: the other interface of this name disappeared before it had the guard,
    /// so the addresses may return.
    fn cancel_departure(&mut self) {
        if self.departure.take().is_some() {
            let interface = self.name.clone();
            self.command = Some(ResourceCommand::Follow { interface });
        }
    }

    fn missing(&mut self) -> InterfaceEvent {
        self.departure = None;
        let what = "there is no such interface: nothing is sent or served there until it appears";
        self.problem = Some((InterfaceChange::Missing, what.to_owned()));
        self.news(InterfaceChange::Missing, what.to_owned())
    }

    /// Attaches the programs to an interface that has just got the name, once all addresses have
    /// left the former one.
    fn appeared(
        &mut self,
        found: &Interface,
        netlink: &mut Netlink,
        hotplug: &mut Hotplug,
    ) -> Option<Checked> {
        match hotplug.left_behind(&self.name, found.index, netlink) {
            Ok(left) if left.is_empty() => self.departure = None,
            left => return self.wait_for_departure(found, left.map_err(|error| error.to_string())),
        }
        match hotplug.attach(&self.name, found.index) {
            Ok(attachment) => {
                let what = format!("it is there (index {}), {}", found.index, how(&attachment));
                self.index = Some(found.index);
                let news = self.attached(attachment, what);
                Some(Checked {
                    news,
                    arrived: true,
                })
            }
            Err(error) => {
                let what = format!("it is there, and cannot be used: {error:#}");
                self.report(InterfaceChange::Failed, what).map(quiet)
            }
        }
    }

    /// Requests that the remaining addresses leave the former interface. The guard stays there
    /// meanwhile, without a time limit.
    fn wait_for_departure<L: std::fmt::Debug>(
        &mut self,
        found: &Interface,
        left: Result<L, String>,
    ) -> Option<Checked> {
        let now = clock::now();
        let departure = self.departure.get_or_insert(Departure {
            since: now,
            ordered_at: None,
        });
        let ordered = departure.ordered_at;
        if ordered.is_none_or(|at| now.since(at) >= ORDER_AGAIN) {
            departure.ordered_at = Some(now);
            self.command = Some(ResourceCommand::Vacate {
                interface: self.name.clone(),
                arrived: found.index,
            });
        }
        if now.since(departure.since) < DEPARTURE {
            return None;
        }
        let why = match left {
            Ok(left) => format!("{left:?} is still on the interface that had the name before"),
            Err(error) => {
                format!("whether its addresses have left the former one is not known: {error}")
            }
        };
        let what = format!(
            "it is another (index {}), and cannot be used: {why}, so the guard stays there; see \
             the log, and remove it (`ip address del`)",
            found.index
        );
        let news = self.report(InterfaceChange::Failed, what)?;
        log::error!("{}: {}", self.name, news.message);
        Some(quiet(news))
    }

    /// Returns the programs that are missing on the interface.
    fn gone(
        &self,
        found: &Interface,
        netlink: &mut Netlink,
        hotplug: &mut Hotplug,
    ) -> Vec<&'static str> {
        let own = |program| hotplug.is_own(&self.name, program).unwrap_or(true);
        let mut gone = hotplug.missing(&self.name, found.index, netlink);
        if !found.xdp.is_some_and(|program| own(program.id)) {
            gone.push("the XDP program");
        }
        gone
    }

    /// Handles an interface that has another name, and checks its programs.
    fn renamed(
        &mut self,
        found: &Interface,
        netlink: &mut Netlink,
        hotplug: &mut Hotplug,
    ) -> Option<Checked> {
        let gone = self.gone(found, netlink, hotplug);
        if !gone.is_empty() {
            // The programs are attached by the interface's name.
            let what = format!(
                "its name is {} now, and another process has removed or replaced {}: rename the \
                 interface back, and the agent attaches it again",
                found.name,
                gone.join(" and ")
            );
            self.attachment = None;
            return self.report(InterfaceChange::Failed, what).map(quiet);
        }
        let what = format!(
            "its name is {} now; the agent keeps using it until another {} appears",
            found.name, self.name
        );
        self.report(InterfaceChange::Renamed, what).map(quiet)
    }

    /// Handles an interface that still has its name: checks that the programs are attached and run.
    fn unchanged(&mut self, netlink: &mut Netlink, hotplug: &mut Hotplug) -> Option<Checked> {
        let found = netlink.interface_at(self.index?).ok()??;
        let gone = self.gone(&found, netlink, hotplug);
        if !gone.is_empty() {
            return self.reattach(&gone.join(" and "), &found, hotplug);
        }
        if self
            .problem
            .as_ref()
            .is_some_and(|(change, _)| *change == InterfaceChange::Renamed)
        {
            let what = "it has its name again".to_owned();
            return Some(quiet(self.solved(what)));
        }
        let seen = hotplug.arrivals(found.index).ok()?;
        let was_dead = self
            .problem
            .as_ref()
            .is_some_and(|(change, _)| *change == InterfaceChange::NotRunning);
        match self.check.check(found.received, seen, clock::now()) {
            Finding::Unknown => None,
            Finding::Runs if was_dead => {
                self.problem = None;
                let what = "the XDP program runs".to_owned();
                Some(quiet(self.news(InterfaceChange::Running, what)))
            }
            Finding::Runs => None,
            Finding::DoesNotRun => self.does_not_run(hotplug).map(quiet),
        }
    }

    /// Handles programs that were detached or replaced.
    fn reattach(
        &mut self,
        gone: &str,
        found: &Interface,
        hotplug: &mut Hotplug,
    ) -> Option<Checked> {
        match hotplug.attach(&self.name, found.index) {
            Ok(attachment) => {
                let what = format!(
                    "another process had removed or replaced {gone}; the agent attached it again: \
                     {}",
                    how(&attachment)
                );
                log::warn!("{}: {what}", self.name);
                Some(quiet(self.attached(attachment, what)))
            }
            Err(error) => {
                let what = format!(
                    "another process has removed {gone}, and the agent could not attach it again: \
                     {error:#}"
                );
                self.attachment = None;
                self.report(InterfaceChange::Failed, what).map(quiet)
            }
        }
    }

    fn does_not_run(&mut self, hotplug: &mut Hotplug) -> Option<InterfaceEvent> {
        let mode = self
            .attachment
            .as_ref()
            .map_or(Attached::Native, |now| now.how);
        let what = format!(
            "the XDP program is attached in {} mode and DOES NOT RUN: frames arrive, and it sees \
             none",
            mode.name()
        );
        let fixed = matches!(
            hotplug.mode(&self.name),
            Some(XdpMode::Native | XdpMode::Skb)
        );
        if fixed || mode == Attached::Skb {
            let remedy = format!(
                "{what}; set mode = \"auto\" or \"skb\" in [[link]], or see what the driver lacks \
                 (virtio-net: mrg_rxbuf)"
            );
            return self.report(InterfaceChange::NotRunning, remedy);
        }
        match hotplug.move_to_skb(&self.name, &what) {
            Ok(attachment) => {
                let said = format!("{what}; FELL BACK: {}", how(&attachment));
                log::warn!("{}: {said}", self.name);
                Some(self.attached(attachment, said))
            }
            Err(error) => self.report(InterfaceChange::NotRunning, format!("{what}; {error:#}")),
        }
    }

    fn attached(&mut self, attachment: Attachment, what: String) -> InterfaceEvent {
        self.attachment = Some(attachment);
        self.problem = None;
        self.check = SelfCheck::default();
        self.news(InterfaceChange::Attached, what)
    }

    /// Reports the end of a fault.
    pub(super) fn solved(&mut self, what: String) -> InterfaceEvent {
        self.problem = None;
        self.news(InterfaceChange::Attached, what)
    }

    pub(super) fn unsolved(&mut self, what: String) -> InterfaceEvent {
        self.problem = Some((InterfaceChange::Failed, what.clone()));
        self.news(InterfaceChange::Failed, what)
    }

    /// Reports a fault, unless it is the last one reported.
    fn report(&mut self, change: InterfaceChange, what: String) -> Option<InterfaceEvent> {
        let problem = (change, what);
        if self.problem.as_ref() == Some(&problem) {
            return None;
        }
        self.problem = Some(problem.clone());
        Some(self.news(change, problem.1))
    }

    fn news(&self, change: InterfaceChange, message: String) -> InterfaceEvent {
        InterfaceEvent {
            interface: self.name.clone(),
            change,
            message,
            attachment: self.attachment.clone(),
            problem: self.problem.as_ref().map(|(_, problem)| problem.clone()),
            signal: self.signal,
        }
    }
}

fn how(attachment: &Attachment) -> String {
    format!("the programs attached, in {} mode", attachment.how.name())
}

fn quiet(news: InterfaceEvent) -> Checked {
    Checked {
        news,
        arrived: false,
    }
}
