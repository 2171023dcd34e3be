//! Resources that are units of systemd, over D-Bus.
//!
//! Each call has a connection of its own, so a restart of the bus does not affect the next call.
//! The unit's processes and their end are left to systemd.

mod interface;

use std::{future::Future, time::Duration};

use futures_lite::StreamExt as _;
use heartbeat_core::resource::{Action, ExitCode, Outcome};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};
use zbus::{connection::Builder, fdo::PropertiesProxy, zvariant::OwnedObjectPath};

use self::interface::{ManagerProxy, ServiceProxy, UnitProxy};
use super::{done::Done, timeouts::Advice};

/// systemd's name on the bus.
const SERVICE: &str = "org.freedesktop.systemd1";
/// Time before another try of a lost bus.
const RETRY: Duration = Duration::from_secs(1);
/// Time that a job may take beyond the unit's own timeout, after which systemd kills.
const MARGIN: Duration = Duration::from_secs(5);
/// Longest time for an answer on the bus.
const ANSWER: Duration = Duration::from_secs(5);
/// Job mode: a job replaces a contradicting one.
const MODE: &str = "replace";

/// A manager of units.
#[derive(Clone, Debug, Default)]
pub(crate) struct Systemd {
    /// D-Bus address; `None` is the system bus.
    pub bus: Option<String>,
}

/// The meaning of a unit's `ActiveState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// A job is under way.
    Changing,
    Stopped,
    Failed,
}

impl State {
    fn of(active: &str) -> Self {
        match active {
            "active" | "reloading" | "refreshing" => Self::Running,
            "activating" | "deactivating" | "maintenance" => Self::Changing,
            "failed" => Self::Failed,
            _ => Self::Stopped,
        }
    }
}

/// A unit on a connection.
struct Handle<'a> {
    name: &'a str,
    manager: ManagerProxy<'static>,
    unit: UnitProxy<'static>,
    service: ServiceProxy<'static>,
    properties: PropertiesProxy<'static>,
}

impl Systemd {
    pub(super) async fn act(&self, unit: &str, action: Action, limit: Duration) -> Done {
        let began = Instant::now();
        let work = async {
            let handle = match self.open(unit).await {
                Ok(handle) => handle,
                Err(error) => return unreachable(unit, &error),
            };
            let result = match action {
                Action::Start => handle.start().await,
                Action::Stop => handle.stop().await,
                Action::Probe | Action::Monitor => handle.query().await,
            };
            result.unwrap_or_else(|error| {
                let message = format!("systemd refused to {action} {unit}: {error}");
                Done::exited(ExitCode::GENERIC_ERROR, message)
            })
        };
        let done = timeout(limit, work).await.unwrap_or_else(|_| {
            let message = format!("{unit}: the {action} is not done in time; systemd continues it");
            Done::at_once(Outcome::TimedOut, message)
        });
        Done {
            took: began.elapsed(),
            ..done
        }
    }

    /// Returns the faults of the unit.
    pub(super) async fn validate(&self, unit: &str) -> Vec<String> {
        let look = async {
            match self.open(unit).await {
                Ok(handle) => match handle.refusal().await {
                    Ok(refusal) => refusal.map(|done| done.message),
                    Err(error) => Some(format!("systemd reports nothing about {unit}: {error}")),
                },
                Err(error) => Some(unreachable(unit, &error).message),
            }
        };
        let silent = || Some("systemd does not answer".to_owned());
        let found = timeout(ANSWER, look).await.unwrap_or_else(|_| silent());
        found.into_iter().collect()
    }

    /// Returns the unit's own timeouts, after which systemd kills it, plus a margin.
    pub(super) async fn advice(&self, unit: &str) -> Advice {
        let ask = async {
            let handle = self.open(unit).await.ok()?;
            Some((
                handle.service.timeout_start().await.ok(),
                handle.service.timeout_stop().await.ok(),
            ))
        };
        let (start, stop) = timeout(ANSWER, ask)
            .await
            .ok()
            .flatten()
            .unwrap_or_default();
        let limit = |micros: Option<u64>| {
            let finite = micros.filter(|micros| (1..u64::MAX).contains(micros));
            finite.map(|micros| Duration::from_micros(micros).saturating_add(MARGIN))
        };
        Advice {
            start: limit(start),
            stop: limit(stop),
            ..Advice::default()
        }
    }

    /// Ends when the running unit has stopped running. A lost bus is no such end.
    pub(super) async fn ended(&self, unit: &str) {
        loop {
            let watched = async { self.open(unit).await?.ended().await };
            match watched.await {
                Ok(()) => return,
                Err(error) => log::debug!("cannot watch {unit}, trying again: {error}"),
            }
            sleep(RETRY).await;
        }
    }

    /// Returns the main process of a service; `None` if it has none now.
    pub(crate) async fn main_process(&self, unit: &str) -> zbus::Result<Option<Pid>> {
        let pid = self.open(unit).await?.service.main_pid().await?;
        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
        Ok(pid.map(Pid::from_raw))
    }

    async fn open<'a>(&self, name: &'a str) -> zbus::Result<Handle<'a>> {
        let builder = match &self.bus {
            Some(address) => Builder::address(address.as_str())?,
            None => Builder::system()?,
        };
        let bus = builder.build().await?;
        let manager = ManagerProxy::new(&bus).await?;
        manager.subscribe().await?;
        let path = manager.load_unit(name).await?;
        Ok(Handle {
            name,
            manager,
            unit: UnitProxy::new(&bus, path.clone()).await?,
            service: ServiceProxy::new(&bus, path.clone()).await?,
            properties: PropertiesProxy::new(&bus, SERVICE, path).await?,
        })
    }
}

impl Handle<'_> {
    async fn start(&self) -> zbus::Result<Done> {
        if let Some(refusal) = self.refusal().await? {
            return Ok(refusal);
        }
        self.clear().await?;
        let result = self.job(self.manager.start_unit(self.name, MODE)).await?;
        let done = self.query().await?;
        if done.outcome == Outcome::OK {
            return Ok(done);
        }
        let message = match result.as_str() {
            "done" => format!(
                "{} was started, but is not active now ({}); a oneshot needs RemainAfterExit=yes",
                self.name, done.message
            ),
            result => format!("start of {}: {result}; {}", self.name, done.message),
        };
        Ok(Done::exited(ExitCode::GENERIC_ERROR, message))
    }

    /// Kills processes that an earlier run of the unit left in its control group, unless its
    /// KillMode keeps them.
    async fn clear(&self) -> zbus::Result<()> {
        let stays = ["process", "none"];
        let mode = self.service.kill_mode().await;
        let stopped = matches!(self.settled().await?, State::Stopped | State::Failed);
        if stopped && mode.is_ok_and(|mode| !stays.contains(&mode.as_str())) {
            // The call fails if no process is left.
            let _ = self
                .manager
                .kill_unit(self.name, "all", libc::SIGKILL)
                .await;
        }
        Ok(())
    }

    async fn stop(&self) -> zbus::Result<Done> {
        let load = self.unit.load_state().await?;
        if load == "not-found" && self.settled().await? == State::Stopped {
            return Ok(Done::at_once(Outcome::OK, "the unit does not exist"));
        }
        let result = self.job(self.manager.stop_unit(self.name, MODE)).await?;
        Ok(match self.settled().await? {
            State::Stopped => Done::at_once(Outcome::OK, ""),
            State::Failed => {
                let why = self.why().await;
                // A failed unit is stopped already; the reset makes its state show that.
                self.manager.reset_failed_unit(self.name).await?;
                Done::at_once(Outcome::OK, format!("it had failed ({why})"))
            }
            State::Running | State::Changing => Done::exited(
                ExitCode::GENERIC_ERROR,
                format!("stop of {}: {result}; it still runs", self.name),
            ),
        })
    }

    async fn query(&self) -> zbus::Result<Done> {
        Ok(match self.settled().await? {
            State::Running => Done::at_once(Outcome::OK, ""),
            State::Failed => {
                let message = format!("{} has failed ({})", self.name, self.why().await);
                Done::exited(ExitCode::GENERIC_ERROR, message)
            }
            State::Stopped | State::Changing => match self.unit.load_state().await?.as_str() {
                "not-found" => self
                    .refusal()
                    .await?
                    .unwrap_or_else(|| Done::at_once(Outcome::NOT_RUNNING, "")),
                _ => Done::at_once(Outcome::NOT_RUNNING, format!("{} is inactive", self.name)),
            },
        })
    }

    /// Returns the reason why the unit can never be started, if there is one.
    async fn refusal(&self) -> zbus::Result<Option<Done>> {
        let name = self.name;
        Ok(match self.unit.load_state().await?.as_str() {
            "loaded" | "merged" => None,
            "not-found" => Some(Done::exited(
                ExitCode::NOT_INSTALLED,
                format!("systemd has no unit {name}"),
            )),
            "masked" => Some(Done::exited(
                ExitCode::NOT_CONFIGURED,
                format!("{name} is masked: `systemctl unmask {name}` lets it be started"),
            )),
            other => Some(Done::exited(
                ExitCode::NOT_CONFIGURED,
                format!("systemd cannot load {name} ({other}): see `systemctl status {name}`"),
            )),
        })
    }

    /// Queues a job and waits for its result.
    async fn job(
        &self,
        queue: impl Future<Output = zbus::Result<OwnedObjectPath>>,
    ) -> zbus::Result<String> {
        // The subscription precedes the job, so that its end is not missed.
        let mut removed = self.manager.receive_job_removed().await?;
        let job = queue.await?;
        while let Some(signal) = removed.next().await {
            let arguments = signal.args()?;
            if arguments.job == job {
                return Ok(arguments.result);
            }
        }
        Err(lost())
    }

    /// Returns the state once it no longer changes by itself.
    async fn settled(&self) -> zbus::Result<State> {
        self.until(|state| state != State::Changing).await
    }

    async fn ended(&self) -> zbus::Result<()> {
        self.until(|state| state != State::Changing).await?;
        self.until(|state| state != State::Running).await?;
        Ok(())
    }

    /// Waits for a `wanted` state, and returns it.
    async fn until(&self, wanted: impl Fn(State) -> bool) -> zbus::Result<State> {
        let mut changes = self.properties.receive_properties_changed().await?;
        loop {
            let state = State::of(&self.unit.active_state().await?);
            if wanted(state) {
                return Ok(state);
            }
            changes.next().await.ok_or_else(lost)?;
        }
    }

    /// Returns systemd's reason for a unit's failure.
    async fn why(&self) -> String {
        match self.service.result().await {
            Ok(result) => format!("result: {result}"),
            Err(_) => "it is no service".to_owned(),
        }
    }
}

fn lost() -> zbus::Error {
    zbus::Error::Failure("the connection to the bus ended".to_owned())
}

fn unreachable(unit: &str, error: &zbus::Error) -> Done {
    let message = format!("could not ask systemd for {unit} over D-Bus: {error}");
    match error {
        // The bus answered with an error.
        zbus::Error::MethodError(..) => Done::exited(ExitCode::GENERIC_ERROR, message),
        _ => Done::at_once(Outcome::NotStarted, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_unit_has_a_meaning() {
        for (active, state) in [
            ("active", State::Running),
            ("reloading", State::Running),
            ("refreshing", State::Running),
            ("activating", State::Changing),
            ("deactivating", State::Changing),
            ("maintenance", State::Changing),
            ("failed", State::Failed),
            ("inactive", State::Stopped),
        ] {
            assert_eq!(State::of(active), state, "{active}");
        }
    }

    #[tokio::test]
    async fn missing_bus_gives_no_state() {
        let nowhere = Systemd {
            bus: Some("unix:path=/nonexistent/bus".to_owned()),
        };
        let limit = Duration::from_secs(20);
        for action in Action::ALL {
            let done = nowhere.act("web.service", action, limit).await;
            assert_eq!(done.outcome, Outcome::NotStarted, "{}", done.message);
            assert!(
                done.message.contains("web.service over D-Bus"),
                "{}",
                done.message
            );
        }
        assert_eq!(nowhere.advice("web.service").await, Advice::default());
        assert_eq!(nowhere.validate("web.service").await.len(), 1);
    }
}
