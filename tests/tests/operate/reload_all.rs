//! One node's configuration, checked, written and taken over on all of them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        Actors, Ended, Program, SOON,
        actors::{actor, group, vip},
        groups::{output_of, result_of, wait_all_active, wait_runs},
        lines::has_lines,
        shortcuts::wait_status,
    },
    needs,
    node::Node,
};
use serde_json::Value;

const QUICK: Duration = Duration::from_millis(500);
const OLD: &str = "params = { role = \"old\" }";
const NEW: &str = "params = { role = \"new\" }";
const ADDED: &str = "# more";
const NODES: [&str; 3] = ["a", "b", "c"];
const CLUSTER: &str = "[cluster]\n";
const ACCEPTS: &str = "[cluster]\naccept_configuration = true\n";

/// A group whose resource has a parameter, on `node`.
fn web(node: &str) -> String {
    let resources = [vip("webip", 101), actor("one", QUICK, OLD)];
    group("web", &format!("prefer = [\"{node}\"]"), &resources)
}

/// A group of one actor.
fn plain(name: &str, node: &str) -> String {
    let actor = actor(&format!("{name}-one"), QUICK, "");
    group(name, &format!("prefer = [\"{node}\"]"), &[actor])
}

/// Runs `test` with three members that take files from each other, once all groups run where they
/// are to.
fn with_accepting_nodes(
    actors: &Actors,
    groups: &str,
    places: &[(&str, &str)],
    test: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    let options = Options {
        nodes: NODES.map(str::to_owned).to_vec(),
        witnesses: Vec::new(),
        ..actors.options(format!("{groups}{ADDED}\n"))
    };
    Cluster::run(options, |cluster| {
        for node in NODES {
            cluster.node(node)?.reconfigure(CLUSTER, ACCEPTS)?;
        }
        cluster.start_agents()?;
        wait_all_active(cluster)?;
        for (group, node) in places {
            wait_runs(cluster, group, node)?;
        }
        test(cluster).inspect_err(|_| eprintln!("{}", actors.report(0)))
    })
}

fn content(node: &Node) -> Result<String> {
    Ok(fs::read_to_string(node.config())?)
}

/// The file that a node has beside its own once that was replaced.
fn backup(node: &Node) -> PathBuf {
    node.dir().join("heartbeat.toml.old")
}

/// The files of b and c as they are, and which backups there are.
fn files(cluster: &Cluster) -> Result<Vec<(String, bool)>> {
    ["b", "c"]
        .iter()
        .map(|node| {
            let node = cluster.node(node)?;
            Ok((content(node)?, backup(node).exists()))
        })
        .collect()
}

/// Checks that the command fails with all of `parts`, and that it changes no file of another node
/// and no configuration in force.
fn refused(cluster: &Cluster, words: &[&str], parts: &[&str]) -> Result<()> {
    // Of the nodes that run.
    let digests = || -> Result<Vec<u32>> {
        let nodes = cluster.nodes().iter();
        let statuses = nodes.filter_map(|node| node.control.status().ok());
        Ok(statuses.map(|status| status.config).collect())
    };
    let before = (files(cluster)?, digests()?);
    let ended = result_of(cluster, "a", words)?;
    ended.refusal(parts)?;
    ended.refusal(&["nothing was changed on any node"])?;
    ensure!(ended.out.is_empty(), "{ended:#?}");
    ensure!((files(cluster)?, digests()?) == before, "something changed");
    Ok(())
}

fn json(ended: &Ended) -> Result<Value> {
    serde_json::from_str(&ended.out).with_context(|| format!("{ended:#?}"))
}

#[test]
fn file_of_one_node_is_taken_over_by_all_one_after_the_other() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_accepting_nodes(&actors, &web("a"), &[("web", "a")], |cluster| {
        let (a, b) = (cluster.node("a")?, cluster.node("b")?);
        fs::set_permissions(b.config(), fs::Permissions::from_mode(0o640))?;
        let was = content(b)?;
        a.reconfigure(OLD, NEW)?;
        a.reconfigure(ADDED, &format!("{ADDED}\n{}", plain("third", "b")))?;
        let mark = actors.mark()?;
        let told = output_of(cluster, "a", &["reload", "--all"])?;
        let reloaded = "reloaded: group third added, group web changed: resource one replaced";
        let replaced = "the file was replaced, the old one is";
        has_lines(
            &told,
            &[
                &format!("b: {reloaded}; {replaced} */b/heartbeat.toml.old"),
                &format!("c: {reloaded}; {replaced} */c/heartbeat.toml.old"),
                &format!("a: {reloaded}"),
            ],
        )?;
        ensure!(told.lines().count() == 3, "{told}");
        // All that was new runs when the command ends, and nothing was started twice.
        wait_runs(cluster, "third", "b")?;
        wait_runs(cluster, "web", "a")?;
        actors.wait_actions(mark, &["one"], &["a one stop", "a one start"])?;
        actors.never_twice(true)?;

        // The same text, but for what is each node's own.
        let expected = content(a)?.replace("node = \"a\"", "node = \"b\"");
        let expected = expected.replace("/a/", "/b/");
        let is = content(b)?;
        let instance = |text: &str| text.replace("-a\"", "-b\"");
        ensure!(is == instance(&expected), "{is}");
        ensure!(fs::read_to_string(backup(b))? == was);
        let mode = fs::metadata(b.config())?.permissions().mode() & 0o7777;
        ensure!(mode == 0o640, "{mode:o}");
        ensure!(!output_of(cluster, "a", &["status"])?.contains("DIFFERS"));
        let log = cluster.node("b")?.logged()?;
        ensure!(!log.contains("\"new\""), "the log has a parameter");

        // Once more, from another node: there is nothing to do.
        let ended = result_of(cluster, "c", &["reload", "--all", "--json"])?;
        ensure!(ended.status.success(), "{ended:#?}");
        let outcome = json(&ended)?;
        ensure!(outcome["done"] == true && outcome["errors"] == Value::Array(vec![]));
        for node in outcome["nodes"].as_array().context("no nodes")? {
            let good = node["state"] == "in-force" && node["text"] == "nothing has changed";
            ensure!(good && node["backup"].is_null(), "{outcome}");
        }
        Ok(())
    })
}

#[test]
fn error_on_one_node_changes_nothing_anywhere() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_accepting_nodes(&actors, &web("a"), &[("web", "a")], |cluster| {
        let (a, b, c) = (cluster.node("a")?, cluster.node("b")?, cluster.node("c")?);
        let good = content(a)?;
        // A mistake that every node finds, with its place.
        a.reconfigure(OLD, "parms = 1")?;
        refused(cluster, &["reload", "--all"], &["heartbeat.toml:", "parms"])?;

        // An error that appears on one node only, because only this node has the interface, in
        // another network.
        c.tool(
            "ip",
            [
                "link", "add", "extra0", "type", "veth", "peer", "name", "extra1",
            ],
        )?;
        c.tool("ip", ["address", "add", "10.99.0.1/24", "dev", "extra0"])?;
        let more = "[[vip]]\nname = \"extra\"\naddress = \"10.98.0.5\"\ninterface = \"extra0\"\n";
        fs::write(a.config(), format!("{good}\n{more}"))?;
        refused(
            cluster,
            &["reload", "--all"],
            &[
                "node c: ",
                "/c/heartbeat.toml: vip \"extra\"",
                "no network of \"extra0\" holds it",
                "write the length",
            ],
        )?;

        // A change that a running agent cannot apply.
        fs::write(
            a.config(),
            good.replace("timeout = \"50000us\"", "timeout = \"60000us\""),
        )?;
        let restart = [
            "node b: ",
            "[cluster] timeout",
            "restart the agents one by one",
        ];
        refused(cluster, &["reload", "--all"], &restart)?;

        // A node that takes no file from others, until it has it already.
        fs::write(a.config(), good.replace(OLD, NEW))?;
        b.reconfigure(ACCEPTS, CLUSTER)?;
        output_of(cluster, "b", &["reload"])?;
        let own = content(b)?;
        let takes_none = [
            "node b: ",
            "/b/heartbeat.toml: the file differs",
            "takes none from other nodes (accept_configuration = false)",
            "copy the file to b:",
        ];
        refused(cluster, &["reload", "--all"], &takes_none)?;
        // A hook of its own, which the others have not: only by force it would go.
        let hook = "[[hook]]\non = \"peer-up\"\nexec = [\"/bin/true\"]\n";
        let with_hook = own.replace(CLUSTER, ACCEPTS) + hook;
        fs::write(b.config(), &with_hook)?;
        output_of(cluster, "b", &["reload"])?;
        let unlike = [
            "differ in more than what is new",
            "on b: hooks changed",
            "--force",
        ];
        refused(cluster, &["reload", "--all"], &unlike)?;

        let told = output_of(cluster, "a", &["reload", "--all", "--force"])?;
        has_lines(
            &told,
            &["b: reloaded: hooks changed*; the file was replaced, *"],
        )?;
        ensure!(fs::read_to_string(backup(cluster.node("b")?))? == with_hook);
        wait_runs(cluster, "web", "a")
    })
}

#[test]
fn node_that_is_not_reached_is_left_out_by_force_only() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_accepting_nodes(&actors, &web("a"), &[("web", "a")], |cluster| {
        cluster.inject("c", Fault::Kill)?;
        cluster.node("a")?.reconfigure(OLD, NEW)?;
        let gone = ["node c: agent of node c not reached", "--force"];
        refused(cluster, &["reload", "--all"], &gone)?;
        let told = output_of(cluster, "a", &["reload", "--all", "--force"])?;
        let one = "reloaded: group web changed: resource one replaced";
        let lines = [
            &*format!("b: {one}*"),
            &format!("a: {one}"),
            "c: left out: not reached*",
        ];
        has_lines(&told, &lines)?;
        ensure!(content(cluster.node("b")?)?.contains(NEW));
        ensure!(content(cluster.node("c")?)?.contains(OLD));

        // The node returns with its old file, and its log reports this.
        cluster.heal("c", Fault::Kill)?;
        wait_all_active(cluster)?;
        output_of(cluster, "a", &["wait", "--votes", "3"])?;
        let told = output_of(cluster, "b", &["reload", "--all"])?;
        has_lines(&told, &[&format!("c: {one}; the file was replaced*")])?;
        ensure!(content(cluster.node("c")?)?.contains(NEW));
        output_of(cluster, "a", &["wait", "--stable"]).map(drop)
    })
}

#[test]
fn node_that_dies_half_way_stops_the_rest_and_is_told_of() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    // In the order of the reloads b comes first, and c last, since c serves most. The address of
    // the rig is on a, which is asked.
    let groups = web("b") + &plain("two", "c") + &plain("three", "c");
    let places = [("web", "b"), ("two", "c"), ("three", "c")];
    with_accepting_nodes(&actors, &groups, &places, |cluster| {
        // The reload of b lasts until then.
        actors.script("b", "one", "start", "sleep 2")?;
        let a = cluster.node("a")?;
        a.reconfigure(OLD, NEW)?;
        let command = a.command(&["reload", "--all", "--timeout", "4"])?;
        let mut running = Program::start(Some(&a.ns), command)?;
        // All files are written before the first node reloads.
        running.line(1, SOON)?;
        ensure!(content(cluster.node("c")?)?.contains(NEW));
        cluster.inject("c", Fault::Kill)?;
        let ended = running.end(SOON)?;
        ended.refusal(&[
            "stopped after node b: not well within 4 s: ",
            "the new configuration is in force on b\n",
            "the file is the new one, not in force yet, on a, c\n",
            "to go on: mend that, then `heartbeat reload --all` again",
            "to go back, on b: mv ",
            "to go back, on c: mv ",
            "to go back, on a: put the old text into /",
        ])?;
        has_lines(&ended.out, &["b: reloaded: *"])?;
        ensure!(ended.out.lines().count() == 1, "{ended:#?}");
        ensure!(fs::read_to_string(backup(cluster.node("c")?))?.contains(OLD));

        // On: its agent starts by the new file.
        actors.unscript("b", "one", "start")?;
        cluster.heal("c", Fault::Kill)?;
        wait_all_active(cluster)?;
        output_of(cluster, "a", &["wait", "--votes", "3"])?;
        let told = output_of(cluster, "a", &["reload", "--all"])?;
        for node in ["b", "c"] {
            let line = format!("{node}: nothing has changed\n");
            ensure!(told.contains(&line), "{told}");
        }
        has_lines(&told, &["a: reloaded: group web changed*"])?;
        wait_status(cluster.node("a")?, "all have the same", |status| {
            status.nodes.iter().all(|node| node.config == status.config)
        })?;
        actors.never_twice(false)
    })
}
