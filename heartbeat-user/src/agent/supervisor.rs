//! Notifies the service manager of the agent's state, over the socket that `NOTIFY_SOCKET` names
//! (sd_notify(3)).
//!
//! Notifications never block and never fail. A message that the manager does not accept now is of
//! no use later, except the watchdog sign, which is repeated.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use heartbeat_common::time::Boottime;
use nix::time::{ClockId, clock_gettime};

/// The number of watchdog signs within the manager's time limit.
const SIGNS: u32 = 4;

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
    ready: bool,
    status: String,
}

/// The manager's watchdog, which restarts an agent without signs of life.
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    last: Boottime,
    /// The pulse's tick count at the last sign.
    ticks: u64,
}

/// The shortest time between two failed starts.
const FAILED_START: Duration = Duration::from_secs(1);

/// Extends a failed start to one second, if a service manager would repeat it at once.
///
/// `began` is the start of the agent's process. Repeated starts must not keep a processor busy
/// until an operator has fixed the cause.
pub fn pause_after_failed_start(began: Boottime) {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        std::thread::sleep(FAILED_START.saturating_sub(crate::clock::now().since(began)));
    }
}

impl Supervisor {
    /// Connects to the service manager that the environment names.
    pub(super) fn of_environment() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let Some(address) = variable("NOTIFY_SOCKET") else {
            return Self::new(None, None);
        };
        let own = u64::from(std::process::id());
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == own);
        let watchdog = number("WATCHDOG_USEC").filter(|limit| is_meant && *limit > 0);
        match connect(&address) {
            Ok(socket) => Self::new(Some(socket), watchdog.map(Duration::from_micros)),
            Err(error) => {
                log::warn!(
                    "could not connect to the service manager at {} (NOTIFY_SOCKET): {error}; it \
                     may treat this agent as not started",
                    address.display()
                );
                Self::new(None, None)
            }
        }
    }

    fn new(socket: Option<UnixDatagram>, watchdog: Option<Duration>) -> Self {
        Self {
            socket,
            watchdog: watchdog.map(|limit| Watchdog {
                every: limit / SIGNS,
                last: Boottime::default(),
                ticks: 0,
            }),
            ready: false,
            status: String::new(),
        }
    }

    /// Notifies the manager of progress. Call this often while the control task is alive.
    ///
    /// `ticks` is the pulse's tick count: the agent is ready, and alive for the watchdog, only if
    /// both sides make progress. `status` is a text for people.
    pub(super) fn beat(&mut self, now: Boottime, ticks: u64, status: impl FnOnce() -> String) {
        if self.socket.is_none() || ticks == 0 {
            return;
        }
        let status = status();
        if status != self.status && self.notify(&format!("STATUS={status}")) {
            self.status = status;
        }
        if !self.ready {
            self.ready = self.notify("READY=1");
        }
        let Some(watchdog) = &self.watchdog else {
            return;
        };
        let due = now.since(watchdog.last) >= watchdog.every;
        if due && ticks != watchdog.ticks && self.notify("WATCHDOG=1") {
            let watchdog = self.watchdog.as_mut();
            if let Some(watchdog) = watchdog {
                (watchdog.last, watchdog.ticks) = (now, ticks);
            }
        }
    }

    /// Notifies the manager that a reload has begun.
    pub(super) fn reloading(&self) {
        if self.ready
            && let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC)
        {
            let now = Duration::from(now).as_micros();
            self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
        }
    }

    /// Notifies the manager that the reload has ended, with success or not.
    pub(super) fn reloaded(&self) {
        if self.ready {
            self.notify("READY=1");
        }
    }

    /// Notifies the manager that the agent is about to end.
    pub(super) fn stopping(&self) {
        self.notify("STOPPING=1");
    }

    fn notify(&self, what: &str) -> bool {
        let socket = self.socket.as_ref();
        socket.is_some_and(|socket| socket.send(what.as_bytes()).is_ok())
    }
}

/// Connects to `address`. A leading `@` stands for the zero byte of abstract addresses.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => {
            return Err(io::Error::other(
                "it is neither a path nor an abstract address",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a manager's socket, and a supervisor that is connected to it.
    fn pair(name: &str, watchdog: Option<Duration>) -> (UnixDatagram, Supervisor) {
        let name = format!("heartbeat-supervisor-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_nonblocking(true).unwrap();
        let socket = connect(OsStr::new(&format!("@{name}"))).unwrap();
        (manager, Supervisor::new(Some(socket), watchdog))
    }

    fn received(manager: &UnixDatagram) -> Vec<String> {
        let mut received = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(length) = manager.recv(&mut buffer) {
            received.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        received
    }

    fn at(millis: u64) -> Boottime {
        Boottime::from_nanos(7_000_000_000 + millis * 1_000_000)
    }

    fn well() -> String {
        "well".to_owned()
    }

    #[test]
    fn agent_is_ready_once_the_pulse_has_ticked() {
        let (manager, mut supervisor) = pair("ready", None);
        supervisor.reloading();
        supervisor.beat(at(0), 0, well);
        assert_eq!(received(&manager), [""; 0]);
        supervisor.beat(at(1), 1, well);
        assert_eq!(received(&manager), ["STATUS=well", "READY=1"]);
        supervisor.beat(at(2), 2, well);
        assert_eq!(received(&manager), [""; 0]);
        supervisor.beat(at(3), 3, || "ill".to_owned());
        supervisor.stopping();
        assert_eq!(received(&manager), ["STATUS=ill", "STOPPING=1"]);
    }

    #[test]
    fn reload_has_a_begin_and_an_end() {
        let (manager, mut supervisor) = pair("reload", None);
        supervisor.beat(at(0), 1, well);
        received(&manager);
        supervisor.reloading();
        supervisor.reloaded();
        let received = received(&manager);
        assert!(
            received[0].starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{received:?}"
        );
        assert_eq!(received[1..], ["READY=1"]);
    }

    #[test]
    fn stopped_pulse_sends_no_watchdog_sign() {
        let limit = Duration::from_millis(400);
        let (manager, mut supervisor) = pair("watchdog", Some(limit));
        supervisor.beat(at(0), 1, well);
        assert_eq!(received(&manager), ["STATUS=well", "READY=1", "WATCHDOG=1"]);
        supervisor.beat(at(50), 2, well);
        assert_eq!(received(&manager), [""; 0], "too early");
        supervisor.beat(at(100), 3, well);
        assert_eq!(received(&manager), ["WATCHDOG=1"]);
        for millis in (150..=1_000).step_by(50) {
            supervisor.beat(at(millis), 3, well);
        }
        assert_eq!(received(&manager), [""; 0]);
        supervisor.beat(at(1_050), 4, well);
        assert_eq!(received(&manager), ["WATCHDOG=1"]);
    }

    #[test]
    fn path_is_an_address_and_a_word_is_none() {
        let path = std::env::temp_dir().join(format!("heartbeat-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let socket = connect(path.as_os_str());
        std::fs::remove_file(&path).unwrap();
        Supervisor::new(Some(socket.unwrap()), None).stopping();
        assert_eq!(received(&manager), ["STOPPING=1"]);
        assert!(connect(OsStr::new("vsock:2:1")).is_err());
        assert!(connect(OsStr::new("/nonexistent/notify")).is_err());
    }

    #[test]
    fn supervisor_without_a_manager_does_nothing() {
        let mut supervisor = Supervisor::new(None, None);
        supervisor.beat(at(0), 1, || unreachable!("nobody asks"));
        supervisor.stopping();
    }
}
