//! The parts of systemd's D-Bus interface in use (org.freedesktop.systemd1(5)).

use zbus::zvariant::OwnedObjectPath;

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1",
    gen_blocking = false
)]
pub(super) trait Manager {
    /// Required for signals of systemd.
    fn subscribe(&self) -> zbus::Result<()>;
    /// Succeeds also for a unit that does not exist: its `LoadState` then says so.
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    /// Sends a signal. `whom`: `all` is every process in the unit's control group.
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1",
    gen_blocking = false
)]
pub(super) trait Unit {
    // The properties are not cached: a cached value may be older than the end of a job.
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn load_state(&self) -> zbus::Result<String>;
}

/// The interface of units that are services.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1",
    gen_blocking = false
)]
pub(super) trait Service {
    /// The id of the main process; 0 if there is none.
    #[zbus(property(emits_changed_signal = "false"), name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
    /// Which of the unit's processes a stop ends.
    #[zbus(property(emits_changed_signal = "false"))]
    fn kill_mode(&self) -> zbus::Result<String>;
    /// The reason of a failure.
    #[zbus(property(emits_changed_signal = "false"))]
    fn result(&self) -> zbus::Result<String>;
    /// Start timeout in microseconds; the greatest number means never.
    #[zbus(property(emits_changed_signal = "false"), name = "TimeoutStartUSec")]
    fn timeout_start(&self) -> zbus::Result<u64>;
    /// Stop timeout in microseconds; the greatest number means never.
    #[zbus(property(emits_changed_signal = "false"), name = "TimeoutStopUSec")]
    fn timeout_stop(&self) -> zbus::Result<u64>;
}
