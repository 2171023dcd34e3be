//! The units of `dist/`, run by a real systemd.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{
        Program, SOON, manager::Manager, rights::Rights, shortcuts::options, shortcuts::wait_holder,
    },
    needs,
    node::Node,
    wait_until,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const UNIT: &str = "heartbeat-xdp.service";
const SERVICE: &str = include_str!("../../../dist/heartbeat-xdp.service");
const TIGHT: &str = include_str!("../../../dist/heartbeat-tight.conf");
const DOCS: &str = include_str!("../../../docs/operate/systemd.md");

/// A drop-in with the paths of the rig and a short watchdog.
fn surroundings(node: &Node) -> Result<String> {
    let binary = std::env::var(heartbeat_tests::cluster::BINARY)?;
    let config = node.config();
    Ok(format!(
        "[Service]\nExecStart=\nExecStart={binary} run\nExecReload=\nExecReload={binary} reload\n\
         Environment=HEARTBEAT_CONFIG={}\nWatchdogSec=1s\nStandardError=append:{}\n",
        config.display(),
        node.log().display()
    ))
}

/// Waits until the unit is active with another main process than `old`, and node a serves.
fn wait_anew(cluster: &Cluster, manager: &Manager, old: u32) -> Result<u32> {
    let mut pid = old;
    wait_until(SOON, "systemd has started another agent", || {
        let active = manager.property(UNIT, "ActiveState")? == "active";
        pid = manager.process("heartbeat").unwrap_or(old);
        Ok(active && pid != old)
    })
    .with_context(|| manager.output())?;
    wait_holder(cluster, Some("a"))?;
    Ok(pid)
}

#[test]
fn systemd_starts_watches_and_restarts_the_agent() -> Result<()> {
    needs!(Cluster, Systemd);
    Cluster::run(options(), |cluster| {
        for node in ["b", "c"] {
            cluster.start_agent(node)?;
        }
        let a = cluster.node("a")?;
        let manager = Manager::start(a)?;
        manager.unit(UNIT, SERVICE)?;
        manager.unit("heartbeat-xdp.service.d/rig.conf", &surroundings(a)?)?;
        // The command ends when the agent is ready.
        manager.manage("start", UNIT)?;
        ensure!(manager.property(UNIT, "ActiveState")? == "active");
        wait_holder(cluster, Some("a"))?;
        let well = "3 of 3 nodes are up, 1 of 1 groups served here";
        manager.wait(UNIT, "StatusText", well)?;
        manager.manage("reload", UNIT)?;
        ensure!(manager.property(UNIT, "ActiveState")? == "active");

        // Mounts of a resource agent must be visible to all, so the unit shares its manager's mount
        // namespace.
        let first = manager.process("heartbeat")?;
        let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/mnt"));
        ensure!(space(first)? == space(manager.process("systemd")?)?);

        // systemd kills an agent that hangs, and starts another.
        kill(Pid::from_raw(first.cast_signed()), Signal::SIGSTOP)?;
        let second = wait_anew(cluster, &manager, first)?;
        ensure!(manager.property(UNIT, "NRestarts")? == "1");

        // The tight settings leave the agent all rights that it needs.
        let tight = format!(
            "{TIGHT}PrivateTmp=no\nStateDirectory=\nReadWritePaths={}\n",
            a.dir().display()
        );
        manager.unit("heartbeat-xdp.service.d/tight.conf", &tight)?;
        manager.systemctl(&["daemon-reload"])?.success()?;
        manager.manage("restart", UNIT)?;
        let third = wait_anew(cluster, &manager, second)?;
        ensure!(space(third)? != space(manager.process("systemd")?)?);
        let rights = Rights::of(manager.process("heartbeat-help")?)?;
        ensure!(
            rights.sealed && rights.permitted.count_ones() <= 8,
            "{rights:#x?}"
        );
        manager.wait(UNIT, "StatusText", well)?;
        let logged = a.logged()?;
        ensure!(!logged.contains("more rights than it needs"), "{logged}");
        ensure!(!logged.contains("seccomp: not available"), "{logged}");

        manager.manage("stop", UNIT)?;
        ensure!(
            manager.property(UNIT, "Result")? == "success",
            "{}",
            manager.output()
        );
        wait_holder(cluster, Some("b"))?;
        ensure!(!cluster.node("a")?.pins.path().exists(), "it left its pins");
        Ok(())
    })
}

/// The exposure level that systemd computes for a unit.
fn exposure(directory: &str, unit: &str) -> Result<f64> {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager"]);
    command.arg(format!("{directory}/{unit}"));
    let said = Program::run(None, command, SOON)?;
    let last = said
        .out
        .lines()
        .rev()
        .find_map(|line| line.split_once("level for "));
    let (_, level) = last.with_context(|| format!("{said:#?}"))?;
    let level = level.split_whitespace().nth(1).context("no number")?;
    Ok(level.parse()?)
}

#[test]
fn units_are_no_more_exposed_than_documented() -> Result<()> {
    needs!(Systemd);
    let directory = std::env::temp_dir().join(format!("hbrig-{}-units", std::process::id()));
    fs::create_dir_all(directory.join("tight/heartbeat-xdp.service.d"))?;
    let witness = include_str!("../../../dist/heartbeat-witness@.service");
    fs::write(directory.join(UNIT), SERVICE)?;
    fs::write(directory.join("heartbeat-witness@.service"), witness)?;
    fs::write(directory.join("tight").join(UNIT), SERVICE)?;
    fs::write(
        directory.join("tight/heartbeat-xdp.service.d/tight.conf"),
        TIGHT,
    )?;
    let root = directory.display().to_string();
    let look = || -> Result<()> {
        for (what, directory, unit) in [
            ("`heartbeat-xdp.service`", root.clone(), UNIT),
            ("with `heartbeat-tight.conf`", format!("{root}/tight"), UNIT),
            (
                "`heartbeat-witness@.service`",
                root.clone(),
                "heartbeat-witness@.service",
            ),
        ] {
            let line = DOCS
                .lines()
                .find(|line| line.starts_with(&format!("| {what} |")));
            let line = line.with_context(|| format!("the documentation has no score of {what}"))?;
            let written = line.split('|').nth(2).context("no score")?.trim();
            let is = exposure(&directory, unit)?;
            ensure!(
                is <= written.parse()?,
                "{what}: {is}, and {written} is written"
            );
        }
        Ok(())
    };
    let looked = look();
    fs::remove_dir_all(&directory)?;
    looked
}

#[test]
fn units_have_only_settings_that_systemd_knows() -> Result<()> {
    needs!(Systemd);
    let directory = std::env::temp_dir().join(format!("hbrig-{}-verify", std::process::id()));
    fs::create_dir_all(directory.join("heartbeat-xdp.service.d"))?;
    // The test does not need an installed binary.
    let here = |unit: &str| unit.replace("/usr/local/sbin/heartbeat", "/bin/true");
    fs::write(directory.join(UNIT), here(SERVICE))?;
    fs::write(directory.join("heartbeat-xdp.service.d/tight.conf"), TIGHT)?;
    let mut command = Command::new("systemd-analyze");
    command
        .args(["verify", "--man=no"])
        .arg(directory.join(UNIT));
    let said = Program::run(None, command, SOON);
    fs::remove_dir_all(&directory)?;
    let said = said?;
    ensure!(said.err.is_empty(), "{}", said.err);
    said.success().map(drop)
}

/// A crash costs as little as possible, and the OOM killer takes other processes first.
#[test]
fn unit_restarts_a_crashed_agent_at_once_and_shields_it_from_the_oom_killer() {
    let settings: Vec<_> = SERVICE.lines().map(str::trim).collect();
    for setting in [
        "Restart=on-failure",
        "RestartSec=0",
        "OOMScoreAdjust=-1000",
        "StartLimitBurst=100",
    ] {
        assert!(settings.contains(&setting), "{setting} is missing");
    }
}
