//! Metrics: what the listener of a running cluster serves, and what it does with bad clients. The
//! alert rules and the dashboard agree with it.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        SOON,
        scrape::{LISTENER, answer, connect, declared, read, scrape, value},
        shortcuts::{options, wait_logged, wait_status, with_cluster},
    },
    needs,
    promtool::promtool,
    wait::slowness,
    wait_until,
};

/// The headers of a Prometheus server, and of a client that knows only the older format.
const OPEN: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
const OLDER: &str = "text/plain;version=0.0.4";
/// Clients that say nothing: more than the agent serves at a time.
const SILENT: usize = 60;
/// The clients that the agent serves at a time, and how long a silent one keeps its place.
const PLACES: usize = 32;
const PLACE_KEPT: Duration = Duration::from_secs(2);

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

fn with_metrics() -> Options {
    Options {
        extra: format!("[metrics]\nlisten = \"{LISTENER}\"\n"),
        ..options()
    }
}

/// Checks by promtool that the text is well-formed and follows its conventions.
fn check(text: &str) -> Result<()> {
    let ended = promtool(&dist(), &["check", "metrics"], text)?;
    ensure!(ended.status.success() && ended.err.is_empty(), "{ended:#?}");
    Ok(())
}

/// The names of metrics in an expression or a text of expressions.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    let names = words.filter(|word| word.starts_with("heartbeat_"));
    // The samples of a histogram have names of their own.
    let family = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        let mut found = parts.iter().filter_map(|part| name.strip_suffix(part));
        found.next().unwrap_or(name).to_owned()
    };
    names.map(family).collect()
}

/// All expressions of the dashboard, with values for its variables.
fn dashboard_expressions() -> Result<Vec<String>> {
    fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value.as_str()) {
                        ("expr", Some(expression)) => found.push(expression.to_owned()),
                        _ => collect(value, found),
                    }
                }
            }
            serde_json::Value::Array(values) => {
                values.iter().for_each(|value| collect(value, found));
            }
            _ => {}
        }
    }
    let text = fs::read_to_string(dist().join("grafana/heartbeat.json"))?;
    let mut found = Vec::new();
    collect(&serde_json::from_str(&text)?, &mut found);
    ensure!(found.len() > 20, "{found:?}");
    let filled = |text: String| {
        let text = text.replace("$__rate_interval", "5m");
        text.replace("$instance", ".*").replace("$cluster", "rig")
    };
    Ok(found.into_iter().map(filled).collect())
}

#[test]
fn rules_pass_their_tests_and_expressions_of_the_dashboard_are_valid() -> Result<()> {
    needs!(Promtool);
    let rules = dist().join("prometheus");
    promtool(&rules, &["check", "rules", "heartbeat.rules.yml"], "")?.success()?;
    promtool(&rules, &["test", "rules", "heartbeat.rules.test.yml"], "")?.success()?;
    // Each expression as a rule of its own: JSON is YAML, too.
    let expressions = dashboard_expressions()?.into_iter().enumerate();
    let all: Vec<_> = expressions
        .map(|(index, expr)| serde_json::json!({"record": format!("panel:{index}"), "expr": expr}))
        .collect();
    let file = serde_json::json!({"groups": [{"name": "dashboard", "rules": all}]});
    let directory = heartbeat_tests::workdir::WorkDir::new(false)?;
    fs::write(directory.path().join("dashboard.yml"), file.to_string())?;
    promtool(directory.path(), &["check", "rules", "dashboard.yml"], "")?.success()?;
    Ok(())
}

#[test]
fn scrape_of_a_running_cluster_has_all_metrics_and_counts_a_failover() -> Result<()> {
    needs!(Cluster, Promtool);
    with_cluster(with_metrics(), |cluster| {
        let b = cluster.node("b")?;
        let open = scrape(b, OPEN)?;
        ensure!(open.ends_with("# EOF\n"), "{open}");
        let older = scrape(b, OLDER)?;
        check(&older)?;
        for (sample, wanted) in [
            ("heartbeat_quorate", 1.0),
            ("heartbeat_quorum_votes{type=\"total_votes\"}", 3.0),
            ("heartbeat_group_owner{group=\"service\",node=\"a\"}", 1.0),
            ("heartbeat_xdp_mode{interface=\"hb0\",mode=\"native\"}", 1.0),
            (
                "heartbeat_link_up{node=\"a\",link=\"0\",address=\"10.77.0.1\"}",
                1.0,
            ),
        ] {
            ensure!(value(&older, sample) == Some(wanted), "{sample} in {older}");
        }
        let of_files = [
            names_in(&fs::read_to_string(
                dist().join("prometheus/heartbeat.rules.yml"),
            )?),
            names_in(&dashboard_expressions()?.join("\n")),
        ];
        let declared = declared(&older);
        for name in of_files.iter().flatten() {
            ensure!(declared.contains(name), "no {name} in {declared:?}");
        }

        let takeovers = "heartbeat_takeovers_total{vip=\"service\"}";
        ensure!(value(&older, takeovers) == Some(0.0), "{older}");
        cluster.inject("a", Fault::Silent)?;
        let b = cluster.node("b")?;
        let mut last = String::new();
        wait_until(SOON * slowness(), "b counts its takeover", || {
            last = scrape(b, OLDER)?;
            Ok(value(&last, "heartbeat_takeovers_total{vip=\"service\"}") == Some(1.0))
        })
        .with_context(|| last.clone())?;
        wait_until(SOON * slowness(), "b decides that a is down", || {
            last = scrape(b, OLDER)?;
            Ok(value(&last, "heartbeat_peer_down_total{node=\"a\"}") == Some(1.0))
        })
        .with_context(|| last.clone())?;
        for (sample, wanted) in [
            ("heartbeat_takeover_seconds_count{}", 1.0),
            (
                "heartbeat_takeover_step_seconds_count{step=\"announcement\"}",
                1.0,
            ),
            ("heartbeat_detection_seconds_count{}", 1.0),
            (
                "heartbeat_lease_acquisitions_total{group=\"service\",regained=\"false\"}",
                1.0,
            ),
            (
                "heartbeat_nodes{node=\"a\",type=\"member\",status=\"down\"}",
                1.0,
            ),
            (
                "heartbeat_vip_held{vip=\"service\",address=\"10.77.0.100/24\",interface=\"hb0\"}",
                1.0,
            ),
        ] {
            ensure!(value(&last, sample) == Some(wanted), "{sample} in {last}");
        }
        let took = value(&last, "heartbeat_takeover_seconds_sum{}").context("no sum")?;
        ensure!((0.0..SOON.as_secs_f64()).contains(&took), "{took} s");
        check(&last)
    })
}

#[test]
fn textfile_is_replaced_as_a_whole_for_other_users_to_read() -> Result<()> {
    needs!(Cluster, Promtool);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        check(&a.heartbeat(&["metrics"])?.success()?)?;
        let directory = a.dir().join("textfile");
        fs::create_dir(&directory)?;
        let file = directory.join("heartbeat.prom");
        let path = file.to_str().context("no UTF-8")?;
        let mut inode = None;
        for _ in 0..3 {
            a.heartbeat(&["metrics", "--output", path])?.success()?;
            let meta = fs::metadata(&file)?;
            // A file that is written in place keeps its number, and a reader sees half of it.
            ensure!(inode.replace(meta.ino()) != Some(meta.ino()));
            ensure!(meta.permissions().mode() & 0o777 == 0o644, "{meta:?}");
            check(&fs::read_to_string(&file)?)?;
            ensure!(fs::read_dir(&directory)?.count() == 1);
        }
        ensure!(cluster.node_mut("a")?.stop()?);
        let a = cluster.node("a")?;
        let before = fs::read(&file)?;
        let ended = a.heartbeat(&["metrics", "--output", path])?;
        ended.refusal(&["could not connect to the agent"])?;
        ensure!(fs::read(&file)? == before && fs::read_dir(&directory)?.count() == 1);
        Ok(())
    })
}

#[test]
fn bad_clients_get_errors_and_do_not_hurt_the_agent() -> Result<()> {
    needs!(Cluster);
    with_cluster(with_metrics(), |cluster| {
        let a = cluster.node("a")?;
        let ticks = a.control.status()?.pulse;
        let cases: [(&[u8], &str); 6] = [
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "404 Not Found"),
            (b"GET /metrics/../etc HTTP/1.0\r\n\r\n", "404 Not Found"),
            (
                b"POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nabcd",
                "405 Method Not Allowed",
            ),
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
                "400 Bad Request",
            ),
            (b"\0\0\0\0\r\n\r\n", "400 Bad Request"),
            (b"GET /metr", "408 Request Timeout"),
        ];
        for (request, status) in cases {
            let answer = answer(a, request)?;
            let wanted = [
                format!("HTTP/1.1 {status}\r\n"),
                format!("HTTP/1.0 {status}\r\n"),
            ];
            let right = wanted.iter().any(|wanted| answer.starts_with(wanted));
            ensure!(right, "{status}: {answer}");
        }

        // A client that reads nothing does not hold up the others.
        let mut deaf = connect(a)?;
        deaf.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")?;
        // More silent clients than places: a scrape gets its turn when theirs have run out.
        let mut silent = (0..SILENT)
            .map(|_| connect(a))
            .collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        scrape(a, OPEN)?;
        let turns = u32::try_from(SILENT / PLACES + 2)?;
        ensure!(
            began.elapsed() < PLACE_KEPT * turns * slowness(),
            "{:?}",
            began.elapsed()
        );
        for stream in &mut silent {
            let answer = read(stream)?;
            ensure!(
                answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
                "{answer}"
            );
        }

        // Many scrapes at the same time: all are answered, one after the other.
        thread::scope(|scope| {
            let scrapes: Vec<_> = (0..20).map(|_| scope.spawn(|| scrape(a, OLDER))).collect();
            scrapes.into_iter().try_for_each(|scrape| {
                let text = scrape.join().map_err(|_| anyhow::anyhow!("a panic"))??;
                ensure!(value(&text, "heartbeat_quorate") == Some(1.0), "{text}");
                Ok(())
            })
        })?;
        drop(deaf);
        let status = a.control.status()?;
        ensure!(status.quorum.quorate && status.vips[0].held, "{status:#?}");
        ensure!(status.pulse.ticks > ticks.ticks);
        ensure!(!a.logged()?.contains("panicked"));
        Ok(())
    })
}

#[test]
fn listener_follows_a_reload() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        ensure!(connect(a).is_err());
        let table = format!("[metrics]\nlisten = \"{LISTENER}\"\n\n[cluster]");
        a.reconfigure("[cluster]", &table)?;
        let said = a.heartbeat(&["reload"])?.success()?;
        ensure!(said.contains("metrics changed"), "{said}");
        wait_logged(
            a,
            "answering scrapes of metrics (/metrics) on 127.0.0.1:9694",
        )?;
        scrape(a, OPEN)?;
        a.reconfigure(&table, "[cluster]")?;
        a.heartbeat(&["reload"])?.success()?;
        wait_until(SOON, "nothing listens", || Ok(connect(a).is_err()))?;
        wait_status(a, "the agent serves", |status| status.vips[0].held)
    })
}

#[test]
fn check_says_that_a_listener_for_other_hosts_is_open() -> Result<()> {
    needs!(Cluster);
    let mut cluster = Cluster::new(with_metrics())?;
    let a = cluster.node_mut("a")?;
    let ended = a.heartbeat(&["check"])?;
    ensure!(
        ended
            .out
            .contains("  metrics  http://127.0.0.1:9694/metrics\n"),
        "{ended:#?}"
    );
    ensure!(!ended.err.contains("metrics"), "{ended:#?}");
    a.reconfigure(LISTENER, "0.0.0.0:9694")?;
    let ended = a.heartbeat(&["check"])?;
    ensure!(
        ended.err.contains("there is no password and no encryption"),
        "{ended:#?}"
    );
    Ok(())
}
