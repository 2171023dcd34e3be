//! Checks of systemd's units, on our own bus with a simulated systemd.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use heartbeat_common::wire::Health;
use heartbeat_user::{
    config::{HealthCheck, HealthKind, ProcessName},
    health::State,
};
use zbus::{Connection, connection::Builder, zvariant::OwnedObjectPath};

use crate::support::{Node, Scratch, Victim, check, eventually, skip};

const DAEMON: &str = "/usr/bin/dbus-daemon";
const UNIT: &str = "/org/freedesktop/systemd1/unit/web";

struct Manager;

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {}

    fn load_unit(&self, _name: &str) -> OwnedObjectPath {
        OwnedObjectPath::try_from(UNIT).unwrap()
    }
}

struct Service(Arc<AtomicU32>);

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A bus with a manager of units, all of which have the same main process.
struct Bus {
    address: String,
    main: Arc<AtomicU32>,
    _manager: Connection,
    _daemon: Victim,
    _scratch: Scratch,
}

impl Bus {
    async fn start() -> Self {
        let scratch = Scratch::new();
        let (socket, config) = (scratch.path("bus"), scratch.path("bus.conf"));
        let address = format!("unix:path={}", socket.display());
        let text = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow own="*"/></policy></busconfig>"#
        );
        fs::write(&config, text).unwrap();
        let mut daemon = Command::new(DAEMON);
        daemon
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile"]);
        let daemon = Victim::of(&mut daemon);
        eventually("the bus", || socket.exists().then_some(())).await;
        let main = Arc::new(AtomicU32::new(0));
        let manager = Builder::address(address.as_str())
            .and_then(|bus| bus.name("org.freedesktop.systemd1"))
            .and_then(|bus| bus.serve_at("/org/freedesktop/systemd1", Manager))
            .and_then(|bus| bus.serve_at(UNIT, Service(Arc::clone(&main))));
        let manager = manager.unwrap().build().await.unwrap();
        Self {
            address,
            main,
            _manager: manager,
            _daemon: daemon,
            _scratch: scratch,
        }
    }
}

fn web() -> HealthCheck {
    check(HealthKind::Process(ProcessName::Unit("web.service".into())))
}

#[tokio::test]
async fn main_process_of_a_unit_is_found_and_watched() {
    let test = "main_process_of_a_unit_is_found_and_watched";
    if !Path::new(DAEMON).exists() {
        return skip(
            test,
            &format!("needs {DAEMON}; run `cargo xtask setup --test`"),
        );
    }
    let bus = Bus::start().await;
    let mut node = Node::with_bus(&[web()], Some(bus.address.clone()));
    let turn = node.turns(false).await;
    assert!(turn.message.contains("no main process"), "{turn:?}");
    for _ in 0..2 {
        let main = Victim::start();
        bus.main.store(main.pid(), Ordering::Relaxed);
        node.turns(true).await;
        assert_eq!(node.checks.sum().watched, Health::of(0, true));
        main.kill();
        let turn = node.turns(false).await;
        assert!(turn.message.contains("has ended"), "{turn:?}");
    }
    // A lost bus is not the end of a process.
    let main = Victim::start();
    bus.main.store(main.pid(), Ordering::Relaxed);
    node.turns(true).await;
    drop(bus);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(node.status().state, State::Well);
    main.kill();
    node.turns(false).await;
    eventually("systemd is asked", || {
        node.status().message.contains("over D-Bus").then_some(())
    })
    .await;
}
