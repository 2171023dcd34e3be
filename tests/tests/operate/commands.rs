//! Commands of an operator: their output, and their effect.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault,
    e2e::{
        Ended, Program, SOON, heartbeat,
        lines::has_lines,
        shortcuts::{node_in, options, wait_status, with_cluster},
    },
    needs, wait_until,
    workdir::WorkDir,
};
use heartbeat_user::control::protocol::{Event, EventKind, Ping, Status};
use nix::sys::signal::Signal;

/// Runs a command outside of all nodes.
fn run(args: &[&str]) -> Result<Ended> {
    Program::run(None, heartbeat(args)?, SOON)
}

#[test]
fn status_of_a_healthy_cluster_shows_all_of_it() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        wait_status(a, "all loads are known", |status| {
            status.load.is_some() && status.nodes.iter().all(|node| node.load.is_some())
        })?;
        let shown = a.heartbeat(&["status"])?.success()?;
        has_lines(
            &shown,
            &[
                "Cluster Summary:",
                "  * Cluster:       rig (instance hbrig-*-a)",
                "  * This node:     a (active, up *, pid *, version *)",
                "  * Quorum:        partition with quorum (3 of 3 nodes alive, 2 needed)",
                "  * Heartbeat:     every 5.00 ms, deadline 50.0 ms, lease 100 ms",
                "  * Pulse:         SCHED_*, * ticks, * missed, at most * late*",
                "  * Load:          * % (host, cpu * %, memory * %, io * %)*",
                "",
                "Node List:",
                "  * Node a (id 1, this node): online, load * %",
                "    * link 0: 10.77.0.1       hb0, native XDP",
                "  * Node b (id 2): online, load * %",
                "    * link 0: 10.77.0.2       up, rtt * µs, * probes, * unanswered, 0 late",
                "  * Node c (id 3): online, load * %",
                "    * link 0: 10.77.0.3       up, rtt * µs, * probes, * unanswered, 0 late",
                "",
                "Resource List:",
                "  * service (10.77.0.100/24 on hb0): Started a",
                "    * lease: * left, ballot *.1, * of 3 votes",
            ],
        )?;
        let json = a.heartbeat(&["status", "--json"])?.success()?;
        let status: Status = serde_json::from_str(&json)?;
        ensure!(json.lines().count() == 1 && json == serde_json::to_string(&status)? + "\n");
        ensure!(status.node == "a" && status.quorum.alive == 3 && status.vips[0].held);
        let rtt = node_in(&status, "b")?.links[0]
            .peer
            .as_ref()
            .context("no peer")?
            .rtt_ns;
        ensure!((1..1_000_000_000).contains(&rtt), "rtt {rtt} ns");
        ensure!(status.counters["recorded"] > 0 && status.counters["stamped"] > 0);
        Ok(())
    })
}

#[test]
fn status_of_a_broken_cluster_shows_what_is_wrong() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        cluster.inject("b", Fault::Silent)?;
        cluster.inject("c", Fault::Stop)?;
        let a = cluster.node("a")?;
        wait_status(a, "b is down and c stalled", |status| {
            let state = |name| node_in(status, name).map_or("", |node| &node.state);
            (state("b"), state("c")) == ("down", "agent-stalled")
        })?;
        has_lines(
            &a.heartbeat(&["status"])?.success()?,
            &[
                "  * Quorum:        partition with quorum (2 of 3 nodes alive, 2 needed)",
                "  * Node b (id 2): OFFLINE",
                "    * link 0: 10.77.0.2       down, silent for *",
                "  * Node c (id 3): STALLED (its kernel answers, its agent does not)",
                "    * link 0: 10.77.0.3       up, rtt *",
            ],
        )?;
        let b = cluster.node("b")?;
        wait_status(b, "b has no quorum", |status| !status.quorum.quorate)?;
        has_lines(
            &b.heartbeat(&["status"])?.success()?,
            &[
                "  * Quorum:        partition WITHOUT quorum (1 of 3 nodes alive, 2 needed)",
                "  * Node a (id 1): OFFLINE",
                "  * service (10.77.0.100/24 on hb0): Stopped",
            ],
        )
    })
}

#[test]
fn status_check_ends_as_a_monitoring_plug_in_does() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let check = |cluster: &Cluster, node: &str, code: i32, line: &str| -> Result<()> {
            let ended = cluster.node(node)?.heartbeat(&["status", "--check"])?;
            ensure!(ended.status.code() == Some(code), "{ended:#?}");
            ensure!(ended.out.lines().count() == 1, "{ended:#?}");
            has_lines(&ended.out, &[line])
        };
        let stable = cluster.node("a")?.heartbeat(&["wait", "--stable"])?;
        stable.success()?;
        let whole = "HEARTBEAT OK: 3 of 3 nodes alive, 1 of 1 groups run | nodes=3;;;0;3 *";
        check(cluster, "a", 0, whole)?;

        cluster.inject("b", Fault::Silent)?;
        wait_status(cluster.node("a")?, "b is down", |status| {
            node_in(status, "b").is_ok_and(|b| b.state == "down")
        })?;
        check(
            cluster,
            "a",
            1,
            "HEARTBEAT WARNING: *b is down* | nodes=2;*",
        )?;
        wait_status(cluster.node("b")?, "b has no quorum", |status| {
            !status.quorum.quorate
        })?;
        check(cluster, "b", 2, "HEARTBEAT CRITICAL: no quorum (1 of 3 *")?;

        ensure!(cluster.node_mut("c")?.stop()?);
        check(cluster, "c", 2, "HEARTBEAT CRITICAL: no agent runs here")?;
        let missing = ["status", "--check", "--config", "/nonexistent.toml"];
        let ended = run(&missing)?;
        ensure!(ended.status.code() == Some(3), "{ended:#?}");
        has_lines(&ended.out, &["HEARTBEAT UNKNOWN: *nonexistent.toml*"])
    })
}

#[test]
fn status_repeats_until_its_reader_leaves() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let watch = Program::start(Some(&a.ns), a.command(&["status", "--watch", "0.1"])?)?;
        wait_until(SOON, "three times the summary", || {
            Ok(watch.out().matches("Cluster Summary:").count() >= 3)
        })?;
        ensure!(!watch.out().contains('\x1b'), "colours in a pipe");
        watch.signal(Signal::SIGINT)?;
        watch.end(SOON)?;

        let mut follow =
            Program::start(Some(&a.ns), a.command(&["events", "--json", "--follow"])?)?;
        let first: Event = serde_json::from_str(&follow.line(1, SOON)?)?;
        ensure!(
            first.number == 1 && first.what == EventKind::Started,
            "{first:?}"
        );

        for command in [
            "status --watch 0.1",
            "status --json --watch 0.1",
            "events --follow",
        ] {
            let a = cluster.node("a")?;
            let mut shell = Command::new("/bin/sh");
            let script = format!(
                "{{ \"$HEARTBEAT_BIN\" {command} --config \"$0\"; echo $? >&2; }} | head -1"
            );
            shell.arg("-c").arg(script).arg(a.config());
            let begun = Program::start(Some(&a.ns), shell)?;
            // A command that writes only on events notices the closed pipe at its next line.
            wait_until(SOON, "the first line", || Ok(begun.out().contains('\n')))?;
            if command.starts_with("events") {
                cluster.inject("c", Fault::Silent)?;
            }
            let ended = begun.end(SOON)?;
            ensure!(
                ended.err == "0\n" && ended.out.lines().count() == 1,
                "{ended:#?}"
            );
        }
        Ok(())
    })
}

#[test]
fn output_has_colours_only_on_terminals_that_want_them() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let on_terminal = |environment: &str| -> Result<String> {
            let mut script = Command::new("script");
            let status = format!(
                "{environment} \"$HEARTBEAT_BIN\" status --config {}",
                a.config().display()
            );
            script.args(["--quiet", "--return", "--command", &status, "/dev/null"]);
            script.env_remove("NO_COLOR");
            Program::run(Some(&a.ns), script, SOON)?.success()
        };
        let plain = on_terminal("NO_COLOR=1")?;
        ensure!(
            plain.contains("Node b (id 2): online") && !plain.contains('\x1b'),
            "{plain}"
        );
        let painted = on_terminal("")?;
        ensure!(
            painted.contains("Node b (id 2): \x1b[32monline\x1b[0m"),
            "{painted}"
        );
        Ok(())
    })
}

#[test]
fn ping_measures_from_kernel_to_kernel() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let json = a
            .heartbeat(&["ping", "b", "--json", "--count", "50"])?
            .success()?;
        let ping: Ping = serde_json::from_str(&json)?;
        ensure!(ping.node == "b" && ping.links.len() == 1, "{ping:?}");
        let link = &ping.links[0];
        ensure!(
            link.address == "10.77.0.2" && link.rtt_ns.len() == 50,
            "{ping:?}"
        );
        ensure!(
            link.rtt_ns
                .iter()
                .all(|rtt| (1..1_000_000_000).contains(rtt)),
            "{ping:?}"
        );
        has_lines(
            &a.heartbeat(&["ping", "c", "--count", "20"])?.success()?,
            &[
                "--- c link 0 (10.77.0.3), kernel to kernel ---",
                "* probes sent, * answered, * % loss",
                "rtt min/p50/p90/p99/max = * / * / * / * / * (20 samples)",
            ],
        )?;
        let unknown = a.heartbeat(&["ping", "d"])?;
        unknown.refusal(&["no node is called `d`", "there are a, b, c"])?;
        a.heartbeat(&["ping", "a"])?
            .refusal(&["`a` is this node"])?;
        a.heartbeat(&["ping", "b", "--count", "0"])?
            .refusal(&["ask for 1 to"])?;

        cluster.inject("b", Fault::Silent)?;
        let a = cluster.node("a")?;
        wait_status(a, "b is down", |status| {
            node_in(status, "b").is_ok_and(|b| b.state == "down")
        })?;
        let silent = a.heartbeat(&["ping", "b", "--count", "20"])?;
        ensure!(silent.status.code() == Some(1), "{silent:#?}");
        has_lines(
            &silent.out,
            &[
                "* probes sent, 0 answered, 100.0 % loss",
                "rtt min/p50/p90/p99/max = - / - / - / - / - (0 samples)",
            ],
        )
    })
}

#[test]
fn events_show_a_takeover_in_order() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        cluster.inject("b", Fault::Silent)?;
        let a = cluster.node("a")?;
        wait_status(a, "b is down", |status| {
            node_in(status, "b").is_ok_and(|b| b.state == "down")
        })?;
        has_lines(
            &a.heartbeat(&["events"])?.success()?,
            &[
                "*T*Z agent started",
                "*T*Z group service: lease acquired * after it became free",
                "*T*Z vip service: taken over; address added (*) and announced (*)",
                "*T*Z node b: link 0 is down (was *)",
                "*T*Z node b is DOWN: no reply for * (timeout *)",
            ],
        )?;
        let json = a.heartbeat(&["events", "--json"])?.success()?;
        let events: Vec<Event> = json
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
        ensure!(
            numbers == (1..=events.len() as u64).collect::<Vec<_>>(),
            "{numbers:?}"
        );
        // The filters.
        let count = |words: &[&str]| -> Result<usize> {
            Ok(a.heartbeat(words)?.success()?.lines().count())
        };
        ensure!(count(&["events", "-n", "2"])? == 2);
        ensure!(count(&["events", "--since", "1h"])? >= events.len());
        ensure!(count(&["events", "--since", "2999-01-01 00:00:00"])? == 0);
        let of_group = a.heartbeat(&["events", "--group", "service"])?.success()?;
        has_lines(
            &of_group,
            &[
                "* group service: lease acquired *",
                "* vip service: taken *",
            ],
        )?;
        ensure!(!of_group.contains("node b"), "{of_group}");
        a.heartbeat(&["events", "--group", "x"])?
            .refusal(&["no group is called `x`; there are service"])
    })
}

#[test]
fn init_writes_a_configuration_once_that_check_accepts() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        let file = a.dir().join("first/heartbeat.toml");
        let path = file.to_str().context("no UTF-8")?;
        let key = a.dir().join("first/key");
        let init = |more: &[&str]| -> Result<Ended> {
            let key = key.to_str().context("no UTF-8")?;
            let words = [
                "--config",
                path,
                "--node",
                "a",
                "init",
                "--cluster",
                "web",
                "--key",
                key,
            ];
            let nodes = ["--member", "a=10.77.0.1", "--member", "b=10.77.0.2"];
            let words = [
                &words[..],
                &nodes,
                &["--vip", "service=10.77.0.100/24"],
                more,
            ]
            .concat();
            a.run(heartbeat(&words)?)
        };
        // Two votes are too few.
        init(&[])?.refusal(&["nothing was written", "witness"])?;
        ensure!(!file.exists() && !key.exists());
        let third = ["--member", "c=10.77.0.3"];
        let written = init(&third)?.success()?;
        has_lines(
            &written,
            &[
                &format!("written: {path}"),
                "written: *first/key",
                "  hb0: 10.77.0.1/24*",
                "  scp -p *first/key root@10.77.0.3:*first/key",
            ],
        )?;
        for file in [&file, &key] {
            let mode = fs::metadata(file)?.permissions().mode() & 0o7777;
            ensure!(mode == 0o600, "{}: {mode:o}", file.display());
        }
        let checked = heartbeat(&["--config", path, "--node", "a", "check"])?;
        ensure!(a.run(checked)?.success()?.contains("3 nodes"));
        let again = init(&third)?.success()?;
        has_lines(
            &again,
            &[&format!("unchanged: {path}"), "unchanged: *first/key"],
        )?;
        init(&["--member", "d=10.77.0.3"])?.refusal(&["says something else", "--force"])
    })
}

#[test]
fn names_of_the_cluster_are_completed_at_a_shell() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let complete = |words: &[&str]| -> Result<String> {
            let words = [&["--", "heartbeat"], words].concat();
            let mut command = heartbeat(&words)?;
            command
                .env("COMPLETE", "fish")
                .env("HEARTBEAT_CONFIG", a.config());
            Program::run(Some(&a.ns), command, SOON)?.success()
        };
        ensure!(
            complete(&["move", ""])?
                .lines()
                .any(|line| line == "service")
        );
        let nodes = complete(&["move", "service", ""])?;
        ensure!(
            ["a", "b", "c"]
                .iter()
                .all(|node| nodes.lines().any(|line| line == *node)),
            "{nodes}"
        );
        let commands = complete(&["sta"])?;
        for command in ["standby", "status"] {
            let mut lines = commands.lines();
            ensure!(lines.any(|line| line.starts_with(command)), "{commands}");
        }
        Ok(())
    })
}

#[test]
fn man_pages_of_all_commands_are_written() -> Result<()> {
    let dir = WorkDir::new(false)?;
    let directory = dir.path().to_str().context("no UTF-8")?;
    let written = run(&["man", directory])?.success()?;
    for page in [
        "heartbeat.8",
        "heartbeat-resource-list.8",
        "heartbeat.toml.5",
    ] {
        let path = format!("{directory}/{page}");
        ensure!(written.lines().any(|line| line == path), "{written}");
    }
    Ok(())
}

#[test]
fn commands_without_an_agent_say_how_to_start_one() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        for command in [["status"].as_slice(), &["events"], &["ping", "b"]] {
            let ended = a.heartbeat(command)?;
            ended.refusal(&["no agent runs", "`heartbeat run`", ".sock"])?;
        }
        // Both commands have ended.
        for _ in 0..2 {
            let said = a.heartbeat(&["stop"])?.success()?;
            ensure!(said.starts_with("already stopped"), "{said}");
        }
        a.heartbeat(&["stop", "--keep"])?.refusal(&[
            "no agent",
            "no earlier one left anything to keep",
            "`heartbeat run`",
        ])?;
        Ok(())
    })
}

#[test]
fn check_accepts_good_configurations_and_refuses_bad_ones() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        has_lines(
            &a.heartbeat(&["check"])?.success()?,
            &[
                "*/heartbeat.toml: ok",
                "  cluster  rig (id 0x*), 3 nodes, instance hbrig-*-a",
                "  node     a (id 1)",
                "  voters   3, of which 1 may fail; witnesses: none",
                "  timing   interval 5ms, timeout 50ms, agent stall 500ms",
                "  leases   lease 100ms, max lease 200ms, drift 1000 ppm, auto failback on",
                "  link 0   10.77.0.1 on hb0, port 694, xdp auto",
                "  group    service: rank a, b, c, stickiness 0, id *",
                "           service: vip 10.77.0.100/24 on hb0",
            ],
        )?;
        // No agent runs: the file alone says where the group would go.
        let simulated = a.heartbeat(&["simulate", "--offline", "--fail", "a"])?;
        has_lines(
            &simulated.success()?,
            &[
                "If node a failed: 2 nodes alive, 2 needed: with quorum",
                "  * service: a -> b",
            ],
        )?;
        let explained = a
            .heartbeat(&["explain", "service", "--offline"])?
            .success()?;
        has_lines(
            &explained,
            &["Group service is on a (strategy *, if all nodes are well)"],
        )?;
        // All mistakes are reported at once.
        a.reconfigure(
            "timeout = \"50000us\"",
            "timeout = \"6ms\"\ncolour = \"red\"",
        )?;
        a.reconfigure("id = 3", "id = 0")?;
        let ended = a.heartbeat(&["check"])?;
        ended.refusal(&[
            "heartbeat.toml:7:",
            "heartbeat.toml:8:1: ",
            "unknown field `colour`",
            "id 0",
        ])?;
        ensure!(
            ended.err.matches("error: ").count() == 3 && ended.out.is_empty(),
            "{ended:#?}"
        );
        Ok(())
    })
}

#[test]
fn keygen_makes_a_private_key_and_replaces_none() -> Result<()> {
    needs!(Cluster);
    let dir = WorkDir::new(false)?;
    let path = dir.path().join("etc/key");
    let key = path.to_str().context("a path in UTF-8")?;
    let said = run(&["keygen", "--output", key])?.success()?;
    let made = fs::read_to_string(&path)?;
    ensure!(fs::metadata(&path)?.mode() & 0o7777 == 0o600);
    let digits = made
        .split_whitespace()
        .find(|word| word.len() == 32)
        .context("no key")?;
    ensure!(said.contains(key) && !said.contains(digits), "{said}");

    let refused = run(&["keygen", "--output", key])?;
    refused.refusal(&["File exists", "--force"])?;
    ensure!(fs::read_to_string(&path)? == made, "it was changed");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    run(&["keygen", "--output", key, "--force"])?.success()?;
    ensure!(fs::read_to_string(&path)? != made, "it was not replaced");
    ensure!(fs::metadata(&path)?.mode() & 0o7777 == 0o600);
    Ok(())
}

#[test]
fn help_of_each_command_explains_it() -> Result<()> {
    needs!(Cluster);
    let top = run(&["--help"])?.success()?;
    for command in [
        "run", "check", "keygen", "status", "events", "ping", "move", "standby", "online", "load",
        "witness", "unload",
    ] {
        ensure!(
            top.contains(&format!("\n  {command} ")),
            "no {command} in {top}"
        );
        let help = run(&[command, "--help"])?.success()?;
        ensure!(
            help.contains(&format!("Usage: heartbeat {command}")),
            "{help}"
        );
        let wrong = run(&[command, "--no-such-option"])?;
        ensure!(
            wrong.status.code() == Some(2) && wrong.err.contains("--help"),
            "{wrong:#?}"
        );
    }
    let version = run(&["--version"])?.success()?;
    ensure!(version.starts_with("heartbeat "), "{version}");
    Ok(())
}
