//! A node: a machine with its disk, and the commands in it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    guest::{Output, Shell},
    machine::{Description, Kernel, Machine, Qemu},
    network::{self, Network, Ports},
    setup::Setup,
};
use crate::{netns::Namespace, wait_until};

/// The longest boot on a busy host.
const BOOT: Duration = Duration::from_secs(90);
/// The longest ordinary command.
const COMMAND: Duration = Duration::from_secs(30);
/// Enough for 6.1 and 6.12 with the agent and its kernel programs.
const MEMORY_MIB: u32 = 384;
const DISK_BYTES: u64 = 16 << 20;
/// The key of the cluster. It protects nothing.
const KEY: &str = "1 000102030405060708090a0b0c0d0e0f\n";
/// The mount point of the disk in the machine.
const STATE: &str = "/state";

/// A node of the cluster.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) id: u8,
    /// The time of its hardware clock at each boot.
    pub(super) clock: String,
    /// The kernel of the next boot.
    pub(super) kernel: Kernel,
    shell: Shell,
    machine: Option<Machine>,
    /// The ports for this process, and those for the one that a migration goes to.
    ports: [Ports; 2],
    current: usize,
    disk: PathBuf,
    directory: PathBuf,
    /// The number of processes so far.
    boots: u32,
}

impl Node {
    /// A node that is switched off, with its ports in `network` and an empty disk.
    pub(super) fn new(
        network: &mut Network,
        host: &Arc<Namespace>,
        directory: &Path,
        (name, id): (&str, u8),
        kernel: &Kernel,
        clock: &str,
    ) -> Result<Self> {
        let ports = [Ports::new(name, 0), Ports::new(name, 1)];
        for ports in &ports {
            network.plug(ports)?;
        }
        let node = Self {
            name: name.to_owned(),
            id,
            clock: clock.to_owned(),
            kernel: kernel.clone(),
            shell: Shell::new(Arc::clone(host), network::management(id)),
            machine: None,
            ports,
            current: 0,
            disk: directory.join(format!("{name}.disk")),
            directory: directory.to_owned(),
            boots: 0,
        };
        node.format()?;
        Ok(node)
    }

    /// The name of the port in the cluster's network.
    pub(super) fn port(&self) -> &str {
        &self.ports[self.current].cluster
    }

    /// The names of all ports at which heartbeats of this node can arrive.
    pub(super) fn heartbeat_ports(&self) -> Vec<String> {
        let names = self.ports.iter();
        names
            .flat_map(|ports| [ports.cluster.clone(), ports.spare.clone()])
            .collect()
    }

    pub(super) fn release(&self) -> &str {
        &self.kernel.release
    }

    /// Makes an empty disk, with nothing but the key. The machine must be off.
    pub(super) fn format(&self) -> Result<()> {
        let content = self.directory.join(format!("{}.content", self.name));
        if !content.exists() {
            fs::create_dir(&content)?;
            for directory in ["run", "state"] {
                let path = content.join(directory);
                fs::create_dir(&path)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            }
            let key = content.join("key");
            fs::write(&key, KEY)?;
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        }
        let disk = fs::File::create(&self.disk)?;
        disk.set_len(DISK_BYTES)?;
        let mut format = Command::new("mkfs.ext4");
        // An ordinary user's PATH lacks the directory.
        format.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
        format.args(["-q", "-F", "-b", "1024", "-E", "root_owner=0:0", "-d"]);
        format.arg(&content).arg(&self.disk).stdin(Stdio::null());
        let output = format
            .output()
            .context("cannot run mkfs.ext4 (e2fsprogs)")?;
        if !output.status.success() {
            bail!("mkfs.ext4: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Switches the machine on.
    pub(super) fn power_on(&mut self, qemu: &Qemu, network: &Network) -> Result<()> {
        let machine = self.process(qemu, network, None)?;
        self.machine = Some(machine);
        Ok(())
    }

    /// Waits until the machine runs commands.
    pub(super) fn await_boot(&mut self) -> Result<()> {
        let shell = self.shell.clone();
        let machine = self.machine()?;
        wait_until(BOOT, "the machine runs commands", || {
            machine.check()?;
            Ok(shell.run("true", COMMAND).is_ok())
        })
        .with_context(|| format!("node {}", self.name))
    }

    /// Switches the machine off, as a loss of power does. It may be off already.
    pub(super) fn power_off(&mut self) {
        if let Some(machine) = self.machine.take() {
            machine.power_off();
        }
    }

    /// The running machine.
    pub(super) fn machine(&mut self) -> Result<&mut Machine> {
        let machine = self.machine.as_mut();
        machine.with_context(|| format!("node {} is off", self.name))
    }

    pub(super) fn is_on(&self) -> bool {
        self.machine.is_some()
    }

    /// Migrates the machine to another process with ports of its own. A paused machine stays
    /// paused.
    pub(super) fn migrate(&mut self, qemu: &Qemu, network: &Network) -> Result<()> {
        let was = self.current;
        self.current = 1 - was;
        let socket = self
            .directory
            .join(format!("{}{}.sock", self.name, self.boots));
        let target = self.process(qemu, network, Some(&socket))?;
        self.machine()?.migrate(&socket)?;
        // The value of the former process kills it.
        self.machine = Some(target);
        Ok(())
    }

    fn process(
        &mut self,
        qemu: &Qemu,
        network: &Network,
        incoming: Option<&Path>,
    ) -> Result<Machine> {
        self.boots += 1;
        let parameter = |name: &str, value: String| (name.to_owned(), value);
        let description = Description {
            name: self.name.clone(),
            kernel: self.kernel.clone(),
            parameters: vec![
                parameter("node", self.name.clone()),
                parameter("address", network::address(self.id)),
                parameter("management", format!("{}/24", network::management(self.id))),
            ],
            cards: self.ports[self.current].cards(self.id),
            disks: vec![self.disk.clone()],
            clock: self.clock.clone(),
            memory_mib: MEMORY_MIB,
            devices: Vec::new(),
        };
        let tag = format!("{}{}", self.name, self.boots);
        let ns = network.switch.namespace();
        Machine::start(qemu, &description, ns, &self.directory, &tag, incoming)
            .with_context(|| format!("node {}", self.name))
    }

    /// Runs a shell command in the machine, and fails if it fails.
    pub(super) fn sh(&self, command: &str) -> Result<String> {
        self.shell
            .ok(command, COMMAND)
            .with_context(|| format!("node {}", self.name))
    }

    /// Runs a shell command in the machine. Returns its output, also if it fails.
    pub(super) fn try_sh(&self, command: &str) -> Result<Output> {
        self.shell
            .run(command, COMMAND)
            .with_context(|| format!("node {}", self.name))
    }

    /// Fails if the node has an agent in `setup`, and none runs.
    pub(super) fn check_agent(&self, setup: &Setup) -> Result<()> {
        if setup.is_witness(&self.name) {
            return Ok(());
        }
        let agents = self.try_sh("pidof heartbeat heartbeat-old")?;
        ensure!(
            agents.status == 0,
            "the agent of node {} has ended: {}",
            self.name,
            self.console()
        );
        Ok(())
    }

    /// Writes the configuration for `setup`, and arranges the cards for it.
    pub(super) fn configure(&self, from: &Setup, setup: &Setup) -> Result<()> {
        let text = setup.file(&self.name, Path::new(STATE));
        self.sh(&format!(
            "cat >{STATE}/heartbeat.toml <<'END'\n{text}\nEND\nsync"
        ))?;
        let address = network::address(self.id);
        if from.cards != setup.cards {
            self.sh(&format!("set -e\n{}", from.cards.undo(&address)))?;
            self.sh(&format!("set -e\n{}", setup.cards.arrange(&address)))?;
        }
        Ok(())
    }

    /// Starts the agent, or loads the responder of a witness, unless it runs.
    pub(super) fn start(&self, setup: &Setup) -> Result<()> {
        self.start_as(setup, "heartbeat")
    }

    /// The same with another program of the agent.
    pub(super) fn start_as(&self, setup: &Setup, program: &str) -> Result<()> {
        let command = if setup.is_witness(&self.name) {
            // The pins exist while the responder is loaded.
            "[ -e /sys/fs/bpf/heartbeat/default ] || heartbeat load --iface hb0".to_owned()
        } else {
            format!(
                "pidof {program} >/dev/null || \
                 {{ setsid {program} run </dev/null >/dev/ttyS0 2>&1 & }}"
            )
        };
        self.sh(&command).map(drop)
    }

    /// Ends the agent and removes the responder. An agent that is still starting takes no command
    /// yet, so it is asked again.
    pub(super) fn stop(&self) -> Result<()> {
        self.sh("for try in $(seq 100); do\n\
             pidof heartbeat heartbeat-old >/dev/null || break\n\
             heartbeat stop --force || sleep 0.2\n\
             done\n\
             ! pidof heartbeat heartbeat-old || exit 1\n\
             heartbeat unload; true")
            .map(drop)
    }

    /// The agent's status.
    pub(super) fn status(&self) -> Result<Value> {
        let text = self.sh("heartbeat status --json")?;
        serde_json::from_str(&text).with_context(|| format!("status of node {}: {text}", self.name))
    }

    /// The last lines of the console.
    pub(super) fn console(&self) -> String {
        let console = self.machine.as_ref().map(Machine::console);
        console.unwrap_or_else(|| "(off)".to_owned())
    }
}
