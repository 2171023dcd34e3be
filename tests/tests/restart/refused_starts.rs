//! Starts that must fail or can only work in part: the agent says why, and leaves nothing behind.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use heartbeat_tests::{
    Cluster, Options,
    cluster::{BINARY, OBJECT},
    e2e::{
        Program, SOON, heartbeat,
        leftovers::{Network, nothing_left},
        shortcuts::{options, start_first_by, wait_holder, wait_logged, wait_status, with_cluster},
    },
    needs,
    node::Node,
    wait_until,
};
use heartbeat_user::control::protocol::Status;

/// A bad start, and the parts of its message.
struct BadStart {
    what: &'static str,
    spoil: fn(&Node) -> Result<()>,
    said: &'static [&'static str],
}

const BAD_STARTS: [BadStart; 8] = [
    BadStart {
        what: "no such interface",
        spoil: |node| node.reconfigure("interface = \"hb0\"", "interface = \"nope0\""),
        said: &["no interface is called nope0", "`ip link`", "[[link]]"],
    },
    BadStart {
        what: "no such address",
        spoil: |node| node.reconfigure("[\"10.77.0.1\"]", "[\"10.77.0.9\"]"),
        said: &["10.77.0.9:694", "the address is not on this host"],
    },
    BadStart {
        what: "no key",
        spoil: |node| Ok(fs::remove_file(node.key())?),
        said: &[
            "reading the key file",
            "/key: No such file",
            "`heartbeat keygen`",
        ],
    },
    BadStart {
        what: "a key that others can read",
        spoil: |node| {
            Ok(fs::set_permissions(
                node.key(),
                fs::Permissions::from_mode(0o644),
            )?)
        },
        said: &["has mode 0644", "chmod 0600"],
    },
    BadStart {
        what: "a number without its unit",
        spoil: |node| node.reconfigure("\"50000us\"", "\"20\""),
        said: &[
            "heartbeat.toml:7:11: ",
            "timeout \"20\" has no unit",
            "write a whole number",
        ],
    },
    BadStart {
        what: "a misspelled field",
        spoil: |node| node.reconfigure("timeout =", "timeuot ="),
        said: &[
            "heartbeat.toml:7:1: ",
            "unknown field `timeuot`",
            "did you mean `timeout`?",
        ],
    },
    BadStart {
        what: "a state directory that cannot be made",
        spoil: |node| node.reconfigure("/state\"", "/key/state\""),
        said: &[
            "could not make the state directory",
            "/key/state",
            "Not a directory",
        ],
    },
    BadStart {
        what: "a run directory that cannot be made",
        spoil: |node| node.reconfigure("/run\"", "/key/run\""),
        said: &[
            "could not make the directory",
            "/key/run",
            "Not a directory",
        ],
    },
];

#[test]
fn impossible_start_says_why_and_leaves_nothing() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        let before = Network::of(Some(&a.ns))?;
        let (config, key) = (fs::read(a.config())?, fs::read(a.key())?);
        for BadStart { what, spoil, said } in BAD_STARTS {
            spoil(a).context(what)?;
            a.heartbeat(&["run"])?.refusal(said).context(what)?;
            nothing_left(a, &before).context(what)?;
            fs::write(a.config(), &config)?;
            fs::write(a.key(), &key)?;
            fs::set_permissions(a.key(), fs::Permissions::from_mode(0o600))?;
        }
        let absent = a.config().with_extension("absent");
        let mut run = heartbeat(&["run", "--config"])?;
        run.arg(&absent);
        Program::run(Some(&a.ns), run, SOON)?.refusal(&[
            "reading the configuration",
            "heartbeat.absent: No such file",
        ])?;
        nothing_left(a, &before)
    })
}

#[test]
fn start_without_root_says_so() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        let before = Network::of(Some(&a.ns))?;
        // Other users can read the binary and the configuration, but not the key.
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
        let binary = cluster.dir().join("heartbeat");
        fs::copy(env::var_os(BINARY).context(BINARY)?, &binary)?;
        let home = a
            .config()
            .parent()
            .map(Path::to_owned)
            .context("no directory")?;
        for path in [&*binary, cluster.dir(), &home] {
            open(path)?;
        }
        let mut run = Command::new("setpriv");
        run.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        run.arg(&binary).args(["run", "--config"]).arg(a.config());
        Program::run(Some(&a.ns), run, SOON)?.refusal(&["run it as root"])?;
        nothing_left(a, &before)
    })
}

#[test]
fn foreign_xdp_program_is_left_alone_unless_replace_is_set() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        let mut ebpf = Ebpf::load_file(env::var_os(OBJECT).map(PathBuf::from).context(OBJECT)?)?;
        let pass: &mut Xdp = ebpf.program_mut("pass").context("no `pass`")?.try_into()?;
        pass.load()?;
        a.ns.enter(|| Ok(pass.attach("hb0", XdpMode::Driver)?))?;
        let before = Network::of(Some(&a.ns))?;
        ensure!(before.links.contains("xdp"), "{before:#?}");
        let id = pass.info()?.id();
        let named = format!("`pass` (program id {id}, native mode, by link ");
        let held = format!("held by process {} (", std::process::id());
        a.heartbeat(&["run"])?.refusal(&[
            "hb0: another XDP program is attached already and is left alone",
            &named,
            &held,
            "`--replace`",
        ])?;
        nothing_left(a, &before)?;

        // One interface is a link, the other is not.
        let witness = &["load", "--iface", "hb0", "--mode", "native", "--replace"];
        let without_a_link = [
            "net",
            "attach",
            "xdpgeneric",
            "id",
            &id.to_string(),
            "dev",
            "hb0",
        ];
        for whose in ["a link's", "nobody's"] {
            if whose == "nobody's" {
                a.tool("bpftool", without_a_link)?;
                a.heartbeat(&["load", "--iface", "hb0"])?
                    .refusal(&[&format!("`pass` (program id {id}, skb mode, held by")])?;
            }
            let loaded = a.heartbeat(witness)?;
            ensure!(
                loaded.err.contains("hb0: REPLACED another XDP program"),
                "{whose}: {loaded:#?}"
            );
            ensure!(loaded.success()?.contains("loaded in native mode"));
            let instance = a.pins.path().file_name().and_then(|name| name.to_str());
            let mut unload = heartbeat(&["unload", "--instance"])?;
            unload.arg(instance.context("pins without an instance")?);
            Program::run(Some(&a.ns), unload, SOON)?.success()?;
            // The kernel detaches an unpinned program a moment later.
            wait_until(SOON, "nothing is attached", || {
                Ok(!Network::of(Some(&a.ns))?.links.contains("xdp"))
            })?;
        }
        Ok(())
    })
}

#[test]
fn start_without_real_time_goes_on_and_says_so() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let script = "exec prlimit --memlock=65536 --rtprio=0 \
            setpriv --bounding-set=-sys_nice,-ipc_lock \"$HEARTBEAT_BIN\" \"$@\"";
        start_first_by(cluster, script)?;
        let a = cluster.node("a")?;
        let pulse = a.control.status()?.pulse;
        ensure!(
            pulse.scheduling == "other" && !pulse.memory_locked,
            "{pulse:?}"
        );
        for warning in [
            "real-time scheduling was refused",
            "locking memory was refused",
        ] {
            wait_logged(a, warning)?;
        }
        let shown = a.heartbeat(&["status"])?.success()?;
        ensure!(
            shown.contains("NOT real-time, memory NOT locked"),
            "{shown}"
        );
        Ok(())
    })
}

#[test]
fn shorter_max_lease_is_refused_until_no_longer_lease_can_live() -> Result<()> {
    needs!(Cluster);
    let long = Options {
        max_lease: Duration::from_secs(3),
        ..options()
    };
    with_cluster(long, |cluster| {
        // The votes are lost with the programs.
        let c = cluster.node_mut("c")?;
        ensure!(c.stop()?);
        c.reconfigure("max_lease = \"3000000us\"", "max_lease = \"1s\"")?;
        c.heartbeat(&["run"])?.refusal(&[
            "max_lease 1000 ms is shorter than before",
            "leases of 3000 ms",
            "accepted in ",
        ])?;
        wait_until(SOON, "the agent of c is accepted", || {
            let c = cluster.node_mut("c")?;
            let ended = match c.agent() {
                Ok(agent) => agent.exited()?.is_some(),
                Err(_) => true,
            };
            if ended {
                cluster.start_agent("c")?;
            }
            Ok(cluster.node("c")?.control.status().is_ok())
        })?;
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn node_with_damaged_decisions_is_on_standby_and_says_so() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        a.heartbeat(&["maintenance", "on"])?.success()?;
        a.heartbeat(&["maintenance", "off"])?.success()?;
        ensure!(cluster.node_mut("a")?.stop()?);
        wait_holder(cluster, Some("b"))?;
        let state = fs::read_dir(cluster.node("a")?.dir().join("state"))?;
        let mut files = state.flatten().map(|dir| dir.path().join("decisions.json"));
        let file = files.find(|file| file.exists()).context("no decisions")?;
        fs::write(&file, "[[")?;
        cluster.start_agent("a")?;
        let standby = |status: &Status| status.state == "standby" && status.quorum.alive == 3;
        wait_status(cluster.node("a")?, "a is on standby", standby)?;
        for said in [
            "decisions.json is damaged",
            "so it is on standby",
            "heartbeat online",
        ] {
            wait_logged(cluster.node("a")?, said)?;
        }
        ensure!(cluster.holders()? == ["b"]);
        cluster.node("a")?.heartbeat(&["online", "a"])?.success()?;
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn shorter_max_lease_is_refused_while_a_restart_lease_lives() -> Result<()> {
    needs!(Cluster);
    let long = Options {
        max_lease: Duration::from_secs(15),
        ..options()
    };
    with_cluster(long, |cluster| {
        // The last lease before a restart is as long as any.
        for node in ["a", "c"] {
            cluster
                .node(node)?
                .heartbeat(&["stop", "--keep"])?
                .success()?;
            cluster.node_mut(node)?.agent()?.wait(SOON)?;
            cluster.node_mut(node)?.forget_agent();
        }
        let c = cluster.node("c")?;
        c.reconfigure("max_lease = \"15000000us\"", "max_lease = \"1s\"")?;
        let shorter = c.heartbeat(&["run"])?;
        shorter.refusal(&["max_lease 1000 ms is shorter than before", "accepted in "])?;
        // No other command removes the votes either.
        let loaded = c.heartbeat(&["load", "--iface", "hb0"])?;
        loaded.refusal(&["has granted leases that last longer than max_lease (1000 ms)"])?;
        // With the former value the acceptor goes on with its votes.
        c.reconfigure("max_lease = \"1s\"", "max_lease = \"15s\"")?;
        cluster.start_agent("c")?;
        cluster.start_agent("a")?;
        cluster.wait_well(SOON, "a")
    })
}
