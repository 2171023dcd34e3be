//! The life of an agent: what it refuses, what it survives, and that it leaves nothing behind.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Barrier,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault,
    e2e::{
        EventLog, MILLISECOND, Program, SOON,
        availability::wait_served,
        heartbeat,
        leftovers::{self, Network, nothing_left},
        shortcuts::{node_in, options, wait_holder, wait_logged, wait_status, with_cluster},
    },
    needs,
    netns::Namespace,
    node::Node,
    wait::observe,
    wait_until,
};
use heartbeat_user::{control::protocol::EventKind, dataplane::pins::mount_bpffs};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};

fn instance(node: &Node) -> Result<&str> {
    let name = node.pins.path().file_name().and_then(|name| name.to_str());
    name.context("pins without an instance")
}

#[test]
fn second_agent_of_an_instance_is_refused_and_the_first_unharmed() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let mut event_log = EventLog::begin(cluster)?;
        let a = cluster.node_mut("a")?;
        let pid = a.agent()?.pid();
        let name = instance(a)?.to_owned();
        for command in [["run"].as_slice(), &["load", "--iface", "hb0"]] {
            a.heartbeat(command)?.refusal(&[
                &format!("instance `{name}` is in use by process {pid}"),
                "stop it first",
            ])?;
        }
        // This command has no configuration, so it does not know where the lock is.
        let unload = heartbeat(&["unload", "--instance", &name])?;
        Program::run(Some(&a.ns), unload, SOON)?
            .refusal(&[&format!("an agent runs as instance `{name}`: stop it")])?;
        cluster.wait_well(SOON, "a")?;
        for node in ["a", "b", "c"] {
            event_log.listen(cluster, node)?;
        }
        ensure!(
            event_log.reported_by("a").next().is_none(),
            "{event_log:#?}"
        );
        event_log.no_down_reports()
    })
}

#[test]
fn stopped_agent_removes_all_that_it_made() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let before = Network::of(Some(&cluster.node("a")?.ns))?;
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            cluster.start_agents()?;
            cluster.wait_well(SOON, "a")?;
            let a = cluster.node_mut("a")?;
            // SIGHUP does not end an agent.
            a.agent()?.signal(Signal::SIGHUP)?;
            wait_until(SOON, "the log tells of SIGHUP", || {
                Ok(a.logged()?.contains("SIGHUP: nothing has changed"))
            })?;
            let programs = leftovers::program_ids(a)?;
            let during = Network::of(Some(&a.ns))?;
            ensure!(during.addresses.contains("10.77.0.100"), "{during:#?}");
            ensure!(during.programs.contains("driver id"), "{during:#?}");

            a.agent()?.signal(signal)?;
            let status = a.agent()?.wait(SOON)?;
            ensure!(status.success(), "{signal}: {status}");
            nothing_left(a, &before).with_context(|| format!("after {signal}"))?;
            wait_until(SOON, "the kernel has let the programs go", || {
                let lives = |id: &u64| leftovers::program_lives(*id);
                Ok(!programs
                    .iter()
                    .map(lives)
                    .collect::<Result<Vec<_>>>()?
                    .contains(&true))
            })?;
            for node in ["b", "c"] {
                ensure!(
                    cluster.node_mut(node)?.stop()?,
                    "the agent of {node} failed"
                );
            }
        }
        Ok(())
    })
}

#[test]
fn two_whole_runs_leave_the_host_as_it_was() -> Result<()> {
    needs!(Cluster);
    // The host is a namespace of its own, so other programs of this machine change nothing in it.
    let host = Namespace::new("the host of the rig")?;
    host.enter(|| two_whole_runs(&host))
}

fn two_whole_runs(host: &Namespace) -> Result<()> {
    let look = || -> Result<_> {
        Ok((
            Network::of(Some(host))?,
            leftovers::pins()?,
            leftovers::open_namespaces()?,
        ))
    };
    let before = look()?;
    let mut programs = Vec::new();
    // An open descriptor keeps a namespace, and so its number is not used for another.
    let mut namespaces = HashMap::new();
    let mut keep = |namespace: &Namespace| -> Result<()> {
        namespaces.insert(namespace.inode()?, namespace.fd().try_clone_to_owned()?);
        Ok(())
    };
    for _ in 0..2 {
        with_cluster(options(), |cluster| {
            let client = cluster.client(MILLISECOND)?;
            for node in cluster.nodes() {
                programs.extend(leftovers::program_ids(node)?);
                keep(&node.ns)?;
            }
            keep(cluster.client_namespace())?;
            keep(cluster.switch().namespace())?;
            cluster.inject("a", Fault::Cut)?;
            wait_served(&client, "b", SOON)?;
            // One of the agents is killed, so it cannot clean up.
            cluster.inject("c", Fault::Kill)
        })?;
    }
    let (network, pins, open) = look()?;
    let after = (network, pins, open - namespaces.len());
    ensure!(after == before, "it was {before:#?} and is {after:#?}");
    let held = leftovers::holders(&namespaces.keys().copied().collect())?;
    drop(namespaces);
    ensure!(
        held.is_empty(),
        "namespaces of the runs are held by {held:?}"
    );
    for program in programs {
        wait_until(SOON, "the kernel has let all programs go", || {
            Ok(!leftovers::program_lives(program)?)
        })?;
    }
    Ok(())
}

#[test]
fn killed_agent_leaves_its_kernel_state_to_the_next() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let before = leftovers::pinned(cluster.node("a")?)?;
        // The pins for process exits are removed with the agent.
        let kept = |pin: &str| !["processes", "exits"].contains(&pin);
        cluster.inject("a", Fault::Kill)?;
        ensure!(leftovers::pinned(cluster.node("a")?)? == before);
        cluster.heal("a", Fault::Kill)?;
        cluster.wait_well(SOON, "a")?;
        let a = cluster.node("a")?;
        let after = leftovers::pinned(a)?;
        ensure!(
            after.keys().eq(before.keys()),
            "{before:#?} became {after:#?}"
        );
        for (pin, object) in &after {
            ensure!(
                (before[pin] == *object) == kept(pin),
                "{pin} was {} and is {object}",
                before[pin]
            );
        }
        wait_logged(a, "took over leases and guard of the previous agent")
    })
}

#[test]
fn responder_alone_answers_and_counts_as_a_stalled_agent() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let before = Network::of(Some(&cluster.node("c")?.ns))?;
        cluster.start_agent("a")?;
        cluster.start_agent("b")?;
        let c = cluster.node("c")?;
        let said = c.heartbeat(&["load", "--iface", "hb0"])?.success()?;
        ensure!(
            said.contains("hb0: responder loaded in native mode, answers 2 peers"),
            "{said}"
        );
        for peer in ["a", "b"] {
            wait_status(
                cluster.node(peer)?,
                "c answers without an agent",
                |status| {
                    node_in(status, "c")
                        .is_ok_and(|c| c.state == "agent-stalled" && c.agent == "responder")
                },
            )?;
        }
        observe(20 * options().timeout, || cluster.check_agents())?;
        let c = cluster.node("c")?;
        let name = instance(c)?;
        let unload = heartbeat(&["unload", "--instance", name])?;
        let said = Program::run(Some(&c.ns), unload, SOON)?.success()?;
        ensure!(said == format!("instance `{name}` unloaded\n"), "{said}");
        nothing_left(c, &before)?;
        for peer in ["a", "b"] {
            wait_status(cluster.node(peer)?, "c is down", |status| {
                node_in(status, "c").is_ok_and(|c| c.state == "down")
            })?;
            let events = cluster.node(peer)?.control.events(0)?.events;
            let up = events.iter().find(|event| {
                matches!(&event.what, EventKind::Peer { node, to, .. } if node == "c" && to == "up")
            });
            ensure!(up.is_none(), "{peer} said {up:?}");
        }
        Ok(())
    })
}

/// Hides the configuration and the sockets of this host.
const OWN_FILES: &str = r#"
    set -e
    mount -t tmpfs none /run
    if [ -d /etc/heartbeat ]; then mount -t tmpfs none /etc/heartbeat; fi
"#;

/// A directory of the host's BPF file system that stands in for all of it.
struct BpfDirectory(PathBuf);

impl BpfDirectory {
    fn new() -> Result<Self> {
        let path = Path::new("/sys/fs/bpf").join(format!("hbrig-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// A shell line that mounts this directory in the place of the file system.
    fn bind(&self) -> String {
        format!("mount --bind {} /sys/fs/bpf\n", self.0.display())
    }

    /// The entries of instances in this directory.
    fn entries(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.0.join("heartbeat"))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    }

    /// Runs `script` in a new mount namespace, and in the other new namespaces of `more`.
    fn in_private(&self, more: &[&str], script: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command.args(more).args(["/bin/sh", "-c", script]);
        command
    }
}

impl Drop for BpfDirectory {
    fn drop(&mut self) {
        for entry in self.entries().unwrap_or_default() {
            let _ = fs::remove_file(&entry).or_else(|_| fs::remove_dir(&entry));
        }
        let _ = fs::remove_dir(self.0.join("heartbeat"));
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// A private file system ends with its last process, and the guard with it.
#[test]
fn private_bpf_file_system_is_refused() -> Result<()> {
    needs!(Cluster);
    // A private file system; one that the program would have to mount; and the same with process 1
    // inside.
    const OWN: &str = "mount -t bpf none /sys/fs/bpf\n";
    const NONE: &str = "while umount -l /sys/fs/bpf 2>/dev/null; do :; done\n";
    let of_its_own = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        let before = Network::of(Some(&a.ns))?;
        let (config, place) = (a.config(), BpfDirectory::new()?);
        let config = config.display();
        let commands = [
            format!("run --config {config}"),
            format!("load --iface hb0 --config {config}"),
            format!(
                "witness --iface hb0 --cluster rig --id 9 --peer 1=10.77.0.9 --key {}",
                a.key().display()
            ),
        ];
        for (found, more) in [(OWN, &[][..]), (NONE, &[]), (NONE, &of_its_own)] {
            for command in &commands {
                let script = format!("{OWN_FILES}{found}exec \"$HEARTBEAT_BIN\" {command}");
                Program::run(Some(&a.ns), place.in_private(more, &script), SOON)?
                    .refusal(&[
                        "the BPF file system at /sys/fs/bpf is private to this mount namespace",
                        "mount it on the host at boot",
                    ])
                    .with_context(|| format!("{command} after {found}, {more:?}"))?;
            }
            let script = format!(
                "{OWN_FILES}{found}\"$HEARTBEAT_BIN\" load --iface hb0 --config {config} || stat \
                 -f -c %T /sys/fs/bpf"
            );
            let left = Program::run(Some(&a.ns), place.in_private(more, &script), SOON)?;
            let is_bpf = left.out.contains("bpf");
            ensure!(is_bpf == (found == OWN), "{found} became {left:#?}");
            nothing_left(a, &before)?;
        }
        Ok(())
    })
}

/// The owner of the directory can remove the pins.
#[test]
fn pin_directory_of_another_owner_is_refused() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        let before = Network::of(Some(&a.ns))?;
        let instance = instance(a)?;
        let run = format!("run --config {}", a.config().display());
        let unload = format!("unload --instance {instance}");
        let of_nobody = format!(
            "mkdir /sys/fs/bpf/heartbeat/{instance}; \
             chown 65534 /sys/fs/bpf/heartbeat/{instance}"
        );
        let named = format!("/sys/fs/bpf/heartbeat/{instance} belongs to user 65534");
        let changed = "users other than root may change the pins there";
        for (make, command, said, left) in [
            (
                "chown 65534 /sys/fs/bpf/heartbeat",
                "load --iface hb0",
                ["belongs to user 65534", changed],
                0,
            ),
            (
                "chmod 0777 /sys/fs/bpf/heartbeat",
                "load --iface hb0",
                ["has mode 0777", changed],
                0,
            ),
            (
                "chmod 0720 /sys/fs/bpf/heartbeat",
                "load --iface hb0",
                ["has mode 0720", changed],
                0,
            ),
            (
                of_nobody.as_str(),
                run.as_str(),
                [named.as_str(), changed],
                1,
            ),
            (
                of_nobody.as_str(),
                unload.as_str(),
                [named.as_str(), changed],
                1,
            ),
            (
                "ln -s /sys/fs/bpf /sys/fs/bpf/heartbeat/default",
                "load --iface hb0",
                ["/default is a symbolic link", "remove it: `rm "],
                1,
            ),
            (
                "chmod 0777 /sys/fs/bpf",
                "load --iface hb0",
                [
                    "/sys/fs/bpf belongs to user 0 and has mode 0777",
                    "users other than root may move the pins",
                ],
                0,
            ),
        ] {
            let place = BpfDirectory::new()?;
            let script = format!(
                "{OWN_FILES}{}mkdir -m 0755 /sys/fs/bpf/heartbeat; {make}\n\
                 exec \"$HEARTBEAT_BIN\" {command}",
                place.bind()
            );
            Program::run(Some(&a.ns), place.in_private(&[], &script), SOON)?
                .refusal(&said)
                .context(make.to_owned())?;
            nothing_left(a, &before)?;
            let entries = place.entries()?;
            ensure!(entries.len() == left, "{make}: {entries:?}");
        }
        Ok(())
    })
}

/// The guard of a dead agent, and its addresses, are in the network namespace of that agent.
#[test]
fn command_from_another_network_namespace_leaves_the_guard_alone() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        cluster.inject("a", Fault::Kill)?;
        wait_until(SOON, "b serves", || Ok(cluster.holders()?.contains(&"b")))?;
        let a = cluster.node("a")?;
        let name = instance(a)?;
        let before = Network::of(Some(&a.ns))?;
        let elsewhere = cluster.client_namespace();
        for (ns, words) in [
            (None, vec!["unload", "--instance", name]),
            (Some(elsewhere), vec!["unload", "--instance", name]),
            (Some(elsewhere), vec!["run"]),
            (Some(elsewhere), vec!["load", "--iface", "hb0"]),
        ] {
            let mut command = heartbeat(&words)?;
            if words[0] != "unload" {
                command.arg("--config").arg(a.config());
            }
            Program::run(ns, command, SOON)?
                .refusal(&["was loaded in another network namespace", "nsenter --net="])
                .with_context(|| format!("{words:?}"))?;
            ensure!(Network::of(Some(&a.ns))? == before, "{words:?}");
            ensure!(cluster.holders()?.contains(&"a"), "{words:?}");
            ensure!(a.pins.path().join("link_guard_sent").exists());
        }

        // In the agent's namespace the command finds the address also on a renamed interface.
        a.tool("ip", ["link", "set", "hb0", "name", "away0"])?;
        a.tool(
            "ip",
            ["link", "add", "hb0", "type", "veth", "peer", "name", "far0"],
        )?;
        a.tool("ip", ["address", "add", "10.77.0.100/24", "dev", "far0"])?;
        let unload = heartbeat(&["unload", "--instance", name])?;
        let said = Program::run(Some(&a.ns), unload, SOON)?;
        ensure!(
            said.err.contains("removed 10.77.0.100/24 from away0"),
            "{said:#?}"
        );
        ensure!(
            said.err.contains("removed 10.77.0.100/24 from far0"),
            "{said:#?}"
        );
        ensure!(said.success()? == format!("instance `{name}` unloaded\n"));
        ensure!(!cluster.holders()?.contains(&"a"));
        ensure!(!cluster.node("a")?.pins.path().exists(), "pins are left");
        Ok(())
    })
}

#[test]
fn responder_loads_without_a_configuration() -> Result<()> {
    needs!(Cluster);
    const SCRIPT: &str = r#"
        "$HEARTBEAT_BIN" load --iface hb0
        bpftool net show | grep -o 'driver id'
        "$HEARTBEAT_BIN" load --iface hb0 --mode skb
        "$HEARTBEAT_BIN" load --iface hb0 --mode native
        bpftool net show | grep -o 'driver id'
        ls /sys/fs/bpf/heartbeat
        "$HEARTBEAT_BIN" unload
        # The kernel detaches what was unpinned a moment later.
        while bpftool net show | grep -q 'driver id'; do sleep 0.01; done
        ls -A /run/heartbeat
        test ! -e /sys/fs/bpf/heartbeat
        "$HEARTBEAT_BIN" unload
    "#;
    Cluster::run(options(), |cluster| {
        let place = BpfDirectory::new()?;
        let command = place.in_private(&[], &format!("{OWN_FILES}{}{SCRIPT}", place.bind()));
        let ended = Program::run(Some(&cluster.node("a")?.ns), command, SOON)?;
        ensure!(
            ended
                .err
                .contains("no configuration at /etc/heartbeat/heartbeat.toml"),
            "{ended:#?}"
        );
        let said = ended.success()?;
        let loaded = |mode: &str| {
            format!(
                "hb0: responder loaded in {mode} mode, answers 0 peers; pinned at \
                 /sys/fs/bpf/heartbeat/default\n"
            )
        };
        let (native, skb) = (loaded("native"), loaded("skb"));
        let expected = format!(
            "{native}driver id\n{skb}{native}driver id\ndefault\ninstance `default` unloaded\n\
             nothing is loaded\n"
        );
        ensure!(said == expected, "{said}");
        Ok(())
    })
}

#[test]
fn agent_survives_the_loss_of_its_interface() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut event_log = EventLog::begin(cluster)?;
        cluster.node("a")?.tool("ip", ["link", "delete", "hb0"])?;
        for survivor in ["b", "c"] {
            event_log.wait_state(cluster, survivor, "a", "down", SOON)?;
        }
        wait_served(&client, "b", SOON)?;
        wait_holder(cluster, Some("b"))?;
        let a = cluster.node("a")?;
        wait_status(
            a,
            "it cannot send, has no quorum and serves nothing",
            |status| {
                status.pulse.send_errors > 0
                    && !status.quorum.quorate
                    && status.vips.iter().all(|vip| !vip.held)
            },
        )?;
        wait_logged(a, "probes could not be sent")?;
        cluster.check_agents()?;
        let a = cluster.node_mut("a")?;
        ensure!(a.stop()?, "it did not end well");
        ensure!(!a.pins.path().exists(), "pins are left");
        Ok(())
    })
}

/// Without a mounted BPF file system, as at boot, a second mount would hide the pins under the
/// first.
#[test]
fn agents_started_at_once_mount_one_bpf_file_system() -> Result<()> {
    const BPFFS: &str = "/sys/fs/bpf";
    const AGENTS: usize = 8;
    needs!(Cluster);
    let in_a_namespace_of_its_own = || -> Result<usize> {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        while umount2(BPFFS, MntFlags::MNT_DETACH).is_ok() {}
        let all_at_once = Barrier::new(AGENTS);
        thread::scope(|scope| {
            let mount = || {
                all_at_once.wait();
                mount_bpffs()
            };
            let agents: Vec<_> = (0..AGENTS).map(|_| scope.spawn(mount)).collect();
            agents
                .into_iter()
                .try_for_each(|agent| agent.join().expect("no panic"))
        })?;
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
        let there = |line: &&str| line.split(' ').nth(4) == Some(BPFFS);
        Ok(mounts.lines().filter(there).count())
    };
    let mounts = thread::scope(|scope| scope.spawn(in_a_namespace_of_its_own).join());
    ensure!(mounts.expect("no panic")? == 1);
    Ok(())
}
