//! Capacities of nodes, demands of groups, and demands that no node can meet.

use super::{GOOD, GROUPS, complaint, parse};
use heartbeat_core::index::GroupIndex;

/// `GOOD` and `GROUPS`, with what nodes a and b have and the group db needs.
fn utilization(a: &str, b: &str, db: &str) -> String {
    let text = format!("{GOOD}{GROUPS}[placement]\nstrategy = \"utilization\"\n");
    text.replace("id = 1\n", &format!("id = 1\n{a}\n"))
        .replace("id = 2\n", &format!("id = 2\n{b}\n"))
        .replace("id = 3\n", "id = 3\nrole = \"witness\"\n")
        .replace("prefer = [\"c\"]", "")
        .replace("name = \"db\"\n", &format!("name = \"db\"\n{db}\n"))
}

fn warnings(text: &str) -> String {
    let warnings = parse(text).unwrap().warnings;
    let lines = warnings.iter().map(|warning| format!("{warning}\n"));
    lines.collect()
}

#[test]
fn amounts_are_counted_by_kind() {
    let text = utilization(
        "capacity = { memory = 16, cpu = 4 }",
        "capacity = { cpu = 0x8 }",
        "demand = { memory = 2 }\nrebalance = false",
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.utilization, ["cpu", "memory"]);
    let capacities: Vec<_> = config.nodes.iter().map(|node| &node.capacity[..]).collect();
    assert_eq!(
        capacities,
        [
            &[Some(4), Some(16)][..],
            &[Some(8), None][..],
            &[None, None][..]
        ]
    );
    let (site, db) = (
        &config.groups[GroupIndex(0)],
        config.group_named("db").unwrap(),
    );
    assert_eq!((&site.demand[..], site.rebalance), (&[0, 0][..], true));
    assert_eq!((&db.demand[..], db.rebalance), (&[0, 2][..], false));
    let a: Vec<_> = config.capacities(&config.nodes[0]).collect();
    assert_eq!(a, [("cpu", 4), ("memory", 16)]);
    assert_eq!(config.demands(db).collect::<Vec<_>>(), [("memory", 2)]);
    let vip = text.replace("/24\"\n\n", "/24\"\ndemand = { cpu = 1 }\n");
    let config = parse(&vip).unwrap();
    assert_eq!(config.groups[GroupIndex(0)].demand, [1, 0]);
}

#[test]
fn amounts_that_make_no_sense_are_refused() {
    let cpu = "capacity = { cpu = 4 }";
    for (a, b, db, expected) in [
        (
            "capacity = 4",
            cpu,
            "",
            "node \"a\": capacity must be a table; got the integer 4",
        ),
        (
            "capacity = { cpu = \"4\" }",
            cpu,
            "",
            "node \"a\": capacity of \"cpu\" is a string, not an integer",
        ),
        (
            "capacity = { cpu = -1 }",
            cpu,
            "",
            "capacity of \"cpu\" is -1, not from 0 to 1000000",
        ),
        (
            "capacity = { cpu = 1000001 }",
            cpu,
            "",
            "is 1000001, not from 0 to 1000000",
        ),
        (
            "capacity = { \"c p\" = 1 }",
            cpu,
            "",
            "capacity of \"c p\" is of no usable name",
        ),
        (
            cpu,
            cpu,
            "demand = { cpu = 1.5 }",
            "group \"db\": demand of \"cpu\" is a float, not an integer",
        ),
        (
            cpu,
            "capacity = { cpu = 6 }",
            "demand = { cpu = 8 }",
            "hb.toml:44:10: group \"db\": no node that may serve it has room for its demand: cpu = \
             8, while node \"b\" has cpu = 6\n  lower the demand, or correct the nodes' capacity",
        ),
        // Each kind fits somewhere, but not both at one place.
        (
            "capacity = { cpu = 8, memory = 1 }",
            "capacity = { cpu = 1, memory = 8 }",
            "demand = { cpu = 2, memory = 3 }",
            "has room for its demand: cpu = 2, while node \"b\" has cpu = 1",
        ),
    ] {
        let said = complaint(&utilization(a, b, db));
        assert!(said.contains(expected), "no `{expected}` in\n{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    }
    let text = utilization(cpu, cpu, "").replace("\"witness\"\n", &format!("\"witness\"\n{cpu}\n"));
    let said = complaint(&text);
    assert!(
        said.contains("node \"c\": capacity of a witness, which serves nothing"),
        "{said}"
    );
    // The node without a limit is where it may never be.
    let never = "[[location]]\ngroup = \"db\"\nnode = \"b\"\nscore = \"-inf\"\n";
    let text = utilization(cpu, "", "demand = { cpu = 5 }");
    assert!(parse(&text).is_ok());
    assert!(complaint(&(text + never)).contains("while node \"a\" has cpu = 4"));
}

#[test]
fn amounts_that_say_nothing_are_warned_of() {
    let cpu = "capacity = { cpu = 4 }";
    assert_eq!(warnings(&utilization(cpu, cpu, "demand = { cpu = 4 }")), "");
    let nothing = warnings(&utilization("", "", ""));
    assert!(
        nothing.contains(
            "[placement]: strategy \"utilization\" has nothing to go by: no node has a capacity"
        ),
        "{nothing}"
    );
    let misspelt = warnings(&utilization(cpu, "", "demand = { cpus = 9 }"));
    assert!(
        misspelt.contains("demand of \"cpus\": no node has a capacity of it")
            && misspelt.contains("did you mean `cpu`?"),
        "{misspelt}"
    );
    // Once, also where several nodes have one.
    let text = utilization(cpu, cpu, "").replace("\"utilization\"", "\"preferred\"");
    let idle = warnings(&text);
    assert!(
        idle.contains("node \"a\": capacity has no effect with strategy \"preferred\""),
        "{idle}"
    );
    assert_eq!(idle.lines().count(), 2, "{idle}");
}
