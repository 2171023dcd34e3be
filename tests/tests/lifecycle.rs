//! From start to end of an agent: what it refuses, what it survives, and that nothing of it stays.

use std::{collections::HashSet, fs, process::Command, sync::Barrier, thread};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault,
    e2e::{
        Chronicle, MILLISECOND, Program, SOON,
        books::wait_served,
        heartbeat,
        scene::{node_in, options, play, wait_holder, wait_status},
        traces::{self, Network, nothing_left},
    },
    netns::Namespace,
    node::Node,
    skip::rig_runs,
    wait::observe,
    wait_until,
};
use heartbeat_user::{control::protocol::What, dataplane::pins::mount_bpffs};
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
fn a_second_agent_of_an_instance_is_refused_and_the_first_unharmed() -> Result<()> {
    if !rig_runs("a_second_agent_of_an_instance_is_refused_and_the_first_unharmed") {
        return Ok(());
    }
    play(options(), |cluster| {
        let mut chronicle = Chronicle::begin(cluster)?;
        let a = cluster.node_mut("a")?;
        let pid = a.agent()?.pid();
        let name = instance(a)?.to_owned();
        for command in [["run"].as_slice(), &["load", "--iface", "hb0"]] {
            a.heartbeat(command)?.refusal(&[
                &format!("instance `{name}` is in use by process {pid}"),
                "stop it first",
            ])?;
        }
        // This knows no configuration, and so not where the lock is.
        let unload = heartbeat(&["unload", "--instance", &name])?;
        Program::run(Some(&a.ns), unload, SOON)?
            .refusal(&[&format!("an agent runs as instance `{name}`: stop it")])?;
        cluster.wait_well(SOON, "a")?;
        for node in ["a", "b", "c"] {
            chronicle.listen(cluster, node)?;
        }
        ensure!(chronicle.told_by("a").next().is_none(), "{chronicle:#?}");
        chronicle.nobody_died()
    })
}

#[test]
fn an_agent_that_is_told_to_end_takes_all_of_it_along() -> Result<()> {
    if !rig_runs("an_agent_that_is_told_to_end_takes_all_of_it_along") {
        return Ok(());
    }
    Cluster::play(options(), |cluster| {
        let before = Network::of(Some(&cluster.node("a")?.ns))?;
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            cluster.start_agents()?;
            cluster.wait_well(SOON, "a")?;
            let a = cluster.node_mut("a")?;
            // Which is no reason to end.
            a.agent()?.signal(Signal::SIGHUP)?;
            wait_until(SOON, "the log tells of SIGHUP", || {
                Ok(a.logged()?.contains("SIGHUP: nothing has changed"))
            })?;
            let programs = traces::program_ids(a)?;
            let during = Network::of(Some(&a.ns))?;
            ensure!(during.addresses.contains("10.77.0.100"), "{during:#?}");
            ensure!(during.programs.contains("driver id"), "{during:#?}");

            a.agent()?.signal(signal)?;
            let status = a.agent()?.wait(SOON)?;
            ensure!(status.success(), "{signal}: {status}");
            nothing_left(a, &before).with_context(|| format!("after {signal}"))?;
            wait_until(SOON, "the kernel has let the programs go", || {
                let lives = |id: &u64| traces::program_lives(*id);
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
    if !rig_runs("two_whole_runs_leave_the_host_as_it_was") {
        return Ok(());
    }
    // The host is a namespace of its own: what others do on this machine is none of it.
    let host = Namespace::new("the host of the rig")?;
    host.enter(|| two_whole_runs(&host))
}

fn two_whole_runs(host: &Namespace) -> Result<()> {
    let look = || -> Result<_> {
        Ok((
            Network::of(Some(host))?,
            traces::pins()?,
            traces::open_namespaces()?,
        ))
    };
    let before = look()?;
    let mut programs = Vec::new();
    let mut namespaces = HashSet::new();
    for _ in 0..2 {
        play(options(), |cluster| {
            let client = cluster.client(MILLISECOND)?;
            for node in cluster.nodes() {
                programs.extend(traces::program_ids(node)?);
                namespaces.insert(node.ns.inode()?);
            }
            namespaces.insert(cluster.client_namespace().inode()?);
            namespaces.insert(cluster.switch().namespace().inode()?);
            cluster.inject("a", Fault::Cut)?;
            wait_served(&client, "b", SOON)?;
            // One that cannot clean up is among them.
            cluster.inject("c", Fault::Kill)
        })?;
    }
    let after = look()?;
    ensure!(after == before, "it was {before:#?} and is {after:#?}");
    let held = traces::holders(&namespaces)?;
    ensure!(
        held.is_empty(),
        "namespaces of the runs are held by {held:?}"
    );
    for program in programs {
        wait_until(SOON, "the kernel has let all programs go", || {
            Ok(!traces::program_lives(program)?)
        })?;
    }
    Ok(())
}

#[test]
fn a_killed_agent_leaves_all_that_the_kernel_has_to_the_next() -> Result<()> {
    if !rig_runs("a_killed_agent_leaves_all_that_the_kernel_has_to_the_next") {
        return Ok(());
    }
    play(options(), |cluster| {
        let before = traces::pinned(cluster.node("a")?)?;
        // What tells of processes goes with the agent.
        let kept = |pin: &str| !["processes", "exits"].contains(&pin);
        cluster.inject("a", Fault::Kill)?;
        ensure!(traces::pinned(cluster.node("a")?)? == before);
        cluster.heal("a", Fault::Kill)?;
        cluster.wait_well(SOON, "a")?;
        let a = cluster.node("a")?;
        let after = traces::pinned(a)?;
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
        ensure!(
            a.logged()?
                .contains("went on with the votes and the guard that an earlier run left"),
            "{}",
            a.logged()?
        );
        Ok(())
    })
}

#[test]
fn a_responder_alone_answers_but_counts_for_no_more_than_a_stalled_agent() -> Result<()> {
    if !rig_runs("a_responder_alone_answers_but_counts_for_no_more_than_a_stalled_agent") {
        return Ok(());
    }
    Cluster::play(options(), |cluster| {
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
                matches!(&event.what, What::Peer { node, to, .. } if node == "c" && to == "up")
            });
            ensure!(up.is_none(), "{peer} said {up:?}");
        }
        Ok(())
    })
}

#[test]
fn a_responder_needs_no_configuration() -> Result<()> {
    if !rig_runs("a_responder_needs_no_configuration") {
        return Ok(());
    }
    // Where this host's own configuration, sockets and pins are out of sight and of reach.
    const SCRIPT: &str = r#"
        set -e
        mount -t tmpfs none /run
        if [ -d /etc/heartbeat ]; then mount -t tmpfs none /etc/heartbeat; fi
        mount -t bpf none /sys/fs/bpf
        "$HEARTBEAT_BIN" load --iface hb0
        bpftool net show | grep -o 'driver id'
        ls /sys/fs/bpf/heartbeat
        "$HEARTBEAT_BIN" unload
        # The kernel detaches what was unpinned a moment later.
        while bpftool net show | grep -q 'driver id'; do sleep 0.01; done
        ls -A /run/heartbeat
        test ! -e /sys/fs/bpf/heartbeat
        "$HEARTBEAT_BIN" unload
    "#;
    Cluster::play(options(), |cluster| {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "/bin/sh",
            "-c",
            SCRIPT,
        ]);
        let ended = Program::run(Some(&cluster.node("a")?.ns), command, SOON)?;
        ensure!(
            ended
                .err
                .contains("no configuration at /etc/heartbeat/heartbeat.toml"),
            "{ended:#?}"
        );
        let said = ended.success()?;
        let expected = "hb0: responder loaded in native mode, answers 0 peers; \
            pinned at /sys/fs/bpf/heartbeat/default\ndriver id\ndefault\n\
            instance `default` unloaded\nnothing is loaded\n";
        ensure!(said == expected, "{said}");
        Ok(())
    })
}

#[test]
fn an_agent_survives_the_loss_of_its_interface() -> Result<()> {
    if !rig_runs("an_agent_survives_the_loss_of_its_interface") {
        return Ok(());
    }
    play(options(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut chronicle = Chronicle::begin(cluster)?;
        cluster.node("a")?.tool("ip", ["link", "delete", "hb0"])?;
        for survivor in ["b", "c"] {
            chronicle.wait_state(cluster, survivor, "a", "down", SOON)?;
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
        ensure!(
            a.logged()?.contains("probes could not be sent"),
            "{}",
            a.logged()?
        );
        cluster.check_agents()?;
        let a = cluster.node_mut("a")?;
        ensure!(a.stop()?, "it did not end well");
        ensure!(!a.pins.path().exists(), "pins are left");
        Ok(())
    })
}

/// In a mount namespace without it, as at boot: the pins of all but the last would be hidden by another's.
#[test]
fn agents_that_start_at_once_mount_one_bpf_file_system() -> Result<()> {
    const BPFFS: &str = "/sys/fs/bpf";
    const AGENTS: usize = 8;
    if !rig_runs("agents_that_start_at_once_mount_one_bpf_file_system") {
        return Ok(());
    }
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
