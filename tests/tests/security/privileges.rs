//! The rights of the agent, and the work that its helper does for it.

use std::{fs, os::unix::fs::PermissionsExt as _, process, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{
        Actors, SOON,
        actors::{actor, group, vip},
        groups::{output_of, wait_agent, wait_all_active, wait_runs},
        rights::{Rights, helper_of},
        shortcuts::{wait_logged, wait_status},
    },
    needs,
    node::Node,
    sys::landlock,
    wait_until,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Gid, Pid, Uid, chown},
};

/// CAP_NET_BIND_SERVICE, CAP_NET_ADMIN and CAP_NET_RAW, as in docs/operate/privileges.md.
const KEPT: u64 = 1 << 10 | 1 << 12 | 1 << 13;
/// CAP_IPC_LOCK. The agent keeps it where it lacks CAP_SYS_RESOURCE, which raises the limit.
const LOCKING: u64 = 1 << 14;
const SYS_RESOURCE: u64 = 1 << 24;
/// A user other than root.
const OTHER: u32 = 65_534;
const MEMBERS: [&str; 2] = ["a", "b"];
const QUICK: Duration = Duration::from_millis(200);
const ADDED: &str = "# more";

/// Checks of files of another user, a hook, and a service that runs as another user.
fn extra(actors: &Actors) -> String {
    let hook = actors.path("hook").display().to_string();
    let serve = actors.path("serve").display().to_string();
    let serve = format!(
        "\n[[group.resource]]\nname = \"serve\"\ntype = \"exec\"\nrun = [\"{serve}\", \"%NODE%\"]\n"
    );
    let checks = "\n[[health]]\nname = \"disk\"\ntype = \"disk\"\npath = \"%DIR%/private\"\n\n\
                  [[health]]\nname = \"pidfile\"\ntype = \"process\"\n\
                  pidfile = \"%DIR%/private/pid\"\n";
    let hook = format!("\n[[hook]]\non = [\"takeover\"]\nexec = [\"{hook}\", \"%NODE%\"]\n");
    let web = [vip("webip", 101), actor("one", QUICK, ""), serve];
    format!("{}{checks}{hook}{ADDED}\n", group("web", "", &web))
}

/// Gives a node a directory that only another user may enter, and an interface without a link.
fn furnish(node: &Node) -> Result<()> {
    let private = node.dir().join("private");
    fs::create_dir(&private)?;
    fs::write(private.join("pid"), format!("{}\n", process::id()))?;
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700))?;
    chown(
        &private,
        Some(Uid::from_raw(OTHER)),
        Some(Gid::from_raw(OTHER)),
    )?;
    let words = [
        "link", "add", "other", "type", "veth", "peer", "name", "far",
    ];
    node.tool("ip", words)?;
    node.tool("ip", ["link", "set", "far", "up"])?;
    node.tool("ip", ["link", "set", "other", "up"])?;
    Ok(())
}

fn agent_pid(cluster: &mut Cluster, node: &str) -> Result<u32> {
    Ok(cluster.node_mut(node)?.agent()?.pid())
}

/// Waits until a file has a whole line, and returns it.
fn line_of(actors: &Actors, name: &str) -> Result<String> {
    let mut text = String::new();
    wait_until(SOON, &format!("{name} is written"), || {
        text = fs::read_to_string(actors.path(name)).unwrap_or_default();
        Ok(text.ends_with('\n'))
    })?;
    Ok(text)
}

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn agent_keeps_few_rights_and_its_helper_has_the_rest() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let status =
        |name: &str| format!("cat /proc/self/status >$D/{name}.new; mv $D/{name}.new $D/{name}");
    let script = |text: &str| format!("#!/bin/sh\nD={}\n{text}\n", actors.path("").display());
    actors.program("hook", &script(&status("hook-$1")))?;
    let serve = format!(
        "echo $$ >$D/pids/serve-$1\nexec setpriv --reuid {OTHER} --regid {OTHER} --clear-groups \
         sleep 600"
    );
    actors.program("serve", &script(&serve))?;
    actors.script(
        "a",
        "one",
        "start",
        "cat /proc/self/status >$OCF_ROOT/agent.new; mv $OCF_ROOT/agent.new $OCF_ROOT/agent",
    )?;
    Cluster::run(actors.options(extra(&actors)), |cluster| {
        for node in MEMBERS {
            furnish(cluster.node(node)?)?;
        }
        cluster.start_agents()?;
        wait_all_active(cluster)?;
        wait_runs(cluster, "web", "a")?;

        // All threads of the agent have the documented rights, and no more.
        let agent = agent_pid(cluster, "a")?;
        let own = Rights::of(process::id())?;
        let raises = own.effective & SYS_RESOURCE != 0;
        let kept = if raises { KEPT } else { KEPT | LOCKING };
        let kept = Rights {
            inheritable: 0,
            permitted: kept & own.permitted,
            effective: kept & own.permitted,
            bounding: kept & own.bounding,
            ambient: 0,
            sealed: true,
            seccomp: 2,
        };
        let threads = Rights::of_threads(agent)?;
        for name in ["pulse", "resources", "control"] {
            ensure!(threads.iter().any(|(one, _)| one == name), "{threads:#?}");
        }
        for (name, rights) in &threads {
            ensure!(*rights == kept, "{name}: {rights:#x?}");
        }
        // The helper and its children have all rights with which the agent began.
        let helper = helper_of(agent)?;
        for (what, rights) in [
            ("the helper", Rights::of(helper)?),
            ("the hook", Rights::parse(&line_of(&actors, "hook-a")?)?),
            (
                "the resource agent",
                Rights::parse(&line_of(&actors, "agent")?)?,
            ),
        ] {
            ensure!(rights == own, "{what}: {rights:#x?} and not {own:#x?}");
        }
        let logged = cluster.node("a")?.logged()?;
        ensure!(!logged.contains("more rights than it needs"), "{logged}");
        ensure!(!logged.contains("will not be writable"), "{logged}");
        // The memory of the agent is still locked, and its threads are still punctual.
        let status = cluster.node("a")?.control.status()?;
        ensure!(status.pulse.memory_locked, "{:?}", status.pulse);
        let confinement = status
            .confinement
            .context("the status says nothing of it")?;
        ensure!(confinement.seccomp, "{confinement:?}");
        ensure!(confinement.landlock == landlock(), "{confinement:?}");

        // The helper reads what only another user may read.
        for node in MEMBERS {
            wait_status(cluster.node(node)?, "its checks are well", |status| {
                status.health.len() == 2 && status.health.iter().all(|check| check.state == "well")
            })?;
        }
        // A reload attaches to another interface with the remaining rights.
        let more = group(
            "more",
            "",
            &[vip("moreip", 102) + "interface = \"other\"\n"],
        ) + ADDED;
        for node in MEMBERS {
            cluster.node(node)?.reconfigure(ADDED, &more)?;
            output_of(cluster, node, &["reload"])?;
        }
        wait_runs(cluster, "more", "a")?;
        // The helper ends processes of another user.
        let serves: u32 = line_of(&actors, "pids/serve-a")?.trim().parse()?;
        ensure!(!is_gone(serves), "{serves} does not run");
        output_of(cluster, "a", &["move", "web", "b"])?;
        wait_runs(cluster, "web", "b")?;
        ensure!(is_gone(serves), "{serves} still runs");

        ensure!(cluster.node_mut("a")?.stop()?, "the agent of a failed");
        ensure!(is_gone(helper), "helper {helper} still runs");
        actors.never_twice(true)
    })
}

#[test]
fn helper_ends_with_its_agent_and_agent_with_its_helper() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let web = group("web", "", &[vip("webip", 101), actor("one", QUICK, "")]);
    Cluster::run(actors.options(web), |cluster| {
        cluster.start_agents()?;
        wait_all_active(cluster)?;
        wait_runs(cluster, "web", "a")?;

        // A signal to the helper ends the agent.
        let agent = agent_pid(cluster, "a")?;
        let helper = helper_of(agent)?;
        kill(Pid::from_raw(helper.cast_signed()), Signal::SIGTERM)?;
        let mark = actors.mark()?;
        actors.wait_call(mark, "a", "one", "monitor")?;
        ensure!(helper_of(agent)? == helper, "it has another helper");

        // An agent whose helper died says so, and ends as if it had been killed.
        let helper = helper_of(agent_pid(cluster, "b")?)?;
        kill(Pid::from_raw(helper.cast_signed()), Signal::SIGKILL)?;
        let b = cluster.node_mut("b")?;
        let status = b.agent()?.wait(SOON)?;
        ensure!(status.code() == Some(1), "{status}");
        let logged = b.logged()?;
        ensure!(
            logged.contains("the helper process, which runs"),
            "{logged}"
        );
        ensure!(b.pins.path().exists(), "its kernel does not vote any more");
        let hang = "echo $$ >\"$OCF_ROOT/pids/hangs\"; while :; do sleep 1; done";
        actors.script("b", "one", "probe", hang)?;
        cluster.start_agent("b")?;
        let hangs: u32 = line_of(&actors, "pids/hangs")?.trim().parse()?;
        wait_logged(cluster.node("b")?, "took over leases and guard")?;

        // The helper of a killed agent ends, with its children.
        let helper = helper_of(agent_pid(cluster, "b")?)?;
        cluster.node_mut("b")?.agent()?.kill()?;
        wait_until(SOON, "all of it has ended", || {
            Ok(is_gone(helper) && is_gone(hangs))
        })?;
        actors.unscript("b", "one", "probe")?;
        cluster.start_agent("b")?;
        wait_agent(cluster, "b")?;
        wait_runs(cluster, "web", "a")?;
        actors
            .never_twice(true)
            .context("what a runs was touched meanwhile")
    })
}
