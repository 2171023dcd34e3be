//! The difference between an agent's configuration and its changed file.

use super::{
    super::{Change, GroupChange, NodesChange, ResourceChange},
    GOOD, GROUPS, parse,
};

const LOCATION: &str = "[[location]]\ngroup = \"web\"\nnode = \"a\"\nscore = 5\n";

fn whole() -> String {
    format!("{GOOD}{GROUPS}{LOCATION}")
}

/// The changes if `to` replaces `from`.
fn changes(from: &str, to: &str) -> Vec<Change> {
    let old = whole();
    assert!(old.contains(from), "{from}");
    let new = old.replacen(from, to, 1);
    let (old, new) = (parse(&old).unwrap(), parse(&new).unwrap());
    let changes = old.difference(&new);
    // Whatever changed changes back, too.
    assert_eq!(changes.is_empty(), new.difference(&old).is_empty());
    changes
}

fn restart(names: &[&str]) -> Vec<Change> {
    let restart = |name: &&str| Change::Restart((*name).to_owned());
    names.iter().map(restart).collect()
}

fn group(settings: bool, resources: &[ResourceChange], reordered: bool) -> [Change; 1] {
    [Change::GroupChanged(GroupChange {
        name: "web".to_owned(),
        settings,
        resources: resources.to_vec(),
        reordered,
    })]
}

#[test]
fn file_that_says_the_same_changes_nothing() {
    assert_eq!(changes("", ""), []);
    assert_eq!(changes("[cluster]", "# a comment\n[cluster]"), []);
    let explicit = "name = \"web\"\nport = 694\nlease = \"60ms\"";
    assert_eq!(changes("name = \"web\"", explicit), []);
}

#[test]
fn changes_that_need_a_restart_are_named() {
    let cluster = |setting: &str| changes("name = \"web\"", &format!("name = \"web\"\n{setting}"));
    let renamed = restart(&["[cluster] name", "[cluster] id"]);
    assert_eq!(changes("name = \"web\"", "name = \"w\""), renamed);
    for (setting, name) in [
        ("id = 7", "id"),
        ("node = \"c\"", "node"),
        ("instance = \"i\"", "instance"),
        ("key = \"/k\"", "key"),
        ("port = 7", "port"),
        ("timeout = \"31ms\"", "timeout"),
        ("agent_stall = \"1s\"", "agent_stall"),
        ("lease = \"61ms\"", "lease"),
        ("max_lease = \"2s\"", "max_lease"),
        ("drift = 9", "drift"),
    ] {
        assert_eq!(cluster(setting), restart(&[&format!("[cluster] {name}")]));
    }
    let paced = restart(&["[cluster] interval", "[cluster] timeout", "[cluster] lease"]);
    assert_eq!(cluster("interval = \"20ms\""), paced);
    let table = |table: &str| changes("[[link]]", &format!("{table}\n[[link]]"));
    assert_eq!(table("[paths]\nrun = \"/r\""), restart(&["[paths] run"]));
    assert_eq!(
        table("[paths]\nstate = \"/s\""),
        restart(&["[paths] state"])
    );
    let group = restart(&["[control] group"]);
    assert_eq!(table("[control]\ngroup = \"adm\""), group);
    let priority = restart(&["[realtime] priority"]);
    assert_eq!(table("[realtime]\npriority = 0"), priority);
    assert_eq!(
        changes("\"eth1\"", "\"eth1\"\nmode = \"skb\""),
        restart(&["[[link]] 0"])
    );
}

#[test]
fn nodes_that_came_went_or_changed_need_a_restart() {
    assert_eq!(
        changes("10.0.0.3", "10.0.0.33"),
        restart(&["[[node]] \"c\""])
    );
    let (a, b) = (
        "name = \"a\"\nid = 1\naddresses = [\"10.0.0.1\"]",
        "name = \"b\"\nid = 2\naddresses = [\"10.0.0.2\"]",
    );
    let swapped = format!("{b}\n[[node]]\n{a}");
    let said = changes(&format!("{a}\n[[node]]\n{b}"), &swapped);
    assert_eq!(
        said[0],
        Change::Restart("the order of [[node]]s".to_owned())
    );
    // The new order also changes the rank of these nodes for groups that do not prefer them.
    assert!(said.len() > 1, "{said:?}");
}

#[test]
fn changes_that_a_reload_applies_are_told_apart() {
    let cluster = |setting: &str| changes("name = \"web\"", &format!("name = \"web\"\n{setting}"));
    assert_eq!(cluster("maintenance = true"), [Change::Maintenance]);
    assert_eq!(
        cluster("accept_configuration = true"),
        [Change::AcceptConfiguration]
    );
    assert_eq!(changes("/bin/true", "/bin/false"), [Change::Hooks]);
    assert_eq!(changes(LOCATION, ""), [Change::Constraints]);
    assert_eq!(changes("score = 5", "score = 6"), [Change::Constraints]);
    let order = format!("{LOCATION}[[order]]\nfirst = \"db\"\nthen = \"web\"\n");
    assert_eq!(changes(LOCATION, &order), [Change::Constraints]);
    let colocation = format!("{LOCATION}[[colocation]]\ngroup = \"db\"\nwith = \"web\"\n");
    assert_eq!(changes(LOCATION, &colocation), [Change::Constraints]);
    // Groups that do not say otherwise stick from then on.
    let stick = cluster("auto_failback = false");
    assert_eq!((&stick[0], stick.len()), (&Change::AutoFailback, 4));
}

#[test]
fn health_load_and_placement_need_no_restart() {
    let more = |text: &str| changes("[[link]]", &format!("{text}\n[[link]]"));
    let check = "[[health]]\nname = \"x\"\ntype = \"disk\"\npath = \"/data\"";
    assert_eq!(more(check), [Change::Health]);
    assert_eq!(more("[load]\nhalf_life = \"1s\""), [Change::Load]);
    assert_eq!(
        more("[metrics]\nlisten = \"127.0.0.1:9694\""),
        [Change::Metrics]
    );
    assert_eq!(
        more("[placement]\nstrategy = \"spread\""),
        [Change::Placement]
    );
    assert_eq!(
        more("[placement]\ndegraded_points = 7"),
        [Change::Placement]
    );
    assert_eq!(more("[rebalance]"), [Change::Rebalance]);
    let capacity = "id = 1\ncapacity = { cpu = 4 }";
    assert_eq!(changes("id = 1", capacity), [Change::Capacity]);
    for setting in ["demand = { cpu = 1 }", "rebalance = false"] {
        let more = format!("prefer = [\"b\"]\n{setting}");
        assert_eq!(changes("prefer = [\"b\"]", &more), group(true, &[], false));
    }
}

#[test]
fn kind_that_is_new_moves_no_amounts() {
    let text = |kinds: &str| {
        whole()
            .replace("id = 1\n", &format!("id = 1\ncapacity = {{ {kinds} }}\n"))
            .replace("[\"b\"]\n", "[\"b\"]\ndemand = { cpu = 1 }\n")
    };
    let (old, new) = (text("cpu = 4"), text("apples = 9, cpu = 4"));
    let (old, new) = (parse(&old).unwrap(), parse(&new).unwrap());
    assert_eq!(old.difference(&new), [Change::Capacity]);
    // Also of a group that was removed: it demands nothing, in as many kinds.
    let without = text("apples = 9, cpu = 4").replace("name = \"db\"", "name = \"data\"");
    let merged = old.merged(&parse(&without).unwrap()).unwrap();
    let demands: Vec<_> = merged
        .groups
        .iter()
        .map(|group| &group.demand[..])
        .collect();
    assert_eq!(demands, [[0, 0], [0, 1], [0, 0], [0, 0]]);
}

#[test]
fn groups_that_came_or_went_are_named() {
    let vip = "[[vip]]\nname = \"new\"\naddress = \"10.0.0.99/24\"\n";
    // The new group comes before the others, so their addresses have other indices. This is no
    // change of the addresses.
    let added = changes("[[vip]]", &format!("{vip}[[vip]]"));
    assert_eq!(added, [Change::GroupAdded("new".to_owned())]);
    let db = &GROUPS[GROUPS.find("[[group]]\nname = \"db\"").unwrap()..];
    assert_eq!(changes(db, ""), [Change::GroupRemoved("db".to_owned())]);
    let both = [
        Change::GroupRemoved("db".to_owned()),
        Change::GroupAdded("data".to_owned()),
    ];
    assert_eq!(changes("name = \"db\"", "name = \"data\""), both);
}

#[test]
fn changed_settings_of_a_group_are_named() {
    use ResourceChange::{Added, Adjusted, Removed, Replaced};
    let named = |is: fn(String) -> ResourceChange, name: &str| is(name.to_owned());
    let settings = group(true, &[], false);
    assert_eq!(changes("prefer = [\"b\"]", "prefer = [\"a\"]"), settings);
    assert_eq!(
        changes("prefer = [\"b\"]", "prefer = [\"b\"]\nstickiness = 1"),
        settings
    );
    assert_eq!(
        changes("prefer = [\"b\"]", "prefer = [\"b\"]\nmaintenance = true"),
        settings
    );

    let replaced = |name| group(false, &[named(Replaced, name)], false);
    assert_eq!(changes("port = 80", "port = 81"), replaced("apache"));
    assert_eq!(changes("10.0.0.101", "10.0.0.102"), replaced("webip"));
    assert_eq!(changes("\"inf\"]", "\"9\"]"), replaced("worker"));

    let adjusted = group(false, &[named(Adjusted, "worker")], false);
    for setting in [
        "monitor_interval = \"never\"",
        "stop_timeout = \"9s\"",
        "migration_threshold = 1",
        "failure_timeout = \"never\"",
    ] {
        let more = format!("type = \"exec\"\n{setting}");
        assert_eq!(changes("type = \"exec\"", &more), adjusted, "{setting}");
    }

    let renamed = [named(Removed, "worker"), named(Added, "slave")];
    assert_eq!(
        changes("\"worker\"", "\"slave\""),
        group(false, &renamed, false)
    );

    let worker =
        "[[group.resource]]\nname = \"worker\"\ntype = \"exec\"\nrun = [\"/bin/sleep\", \"inf\"]\n";
    let first = "[[group.resource]]\nname = \"webip\"";
    let moved = whole()
        .replace(worker, "")
        .replace(first, &format!("{worker}{first}"));
    let change = parse(&whole()).unwrap().difference(&parse(&moved).unwrap());
    assert_eq!(change, group(false, &[], true));
    // Less one, the others follow each other as before.
    assert_eq!(
        changes(worker, ""),
        group(false, &[named(Removed, "worker")], false)
    );
}

#[test]
fn changes_read_as_a_line_each_without_values() {
    let said = |from: &str, to: &str| {
        let lines = changes(from, to)
            .into_iter()
            .map(|change| change.to_string());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(
        said("name = \"web\"", "name = \"web\"\nport = 7"),
        ["[cluster] port changed, which needs a restart"]
    );
    assert_eq!(
        said("prefer = [\"b\"]\n", "").len() + said("user = \"www\"", "user = \"x\"").len(),
        2
    );
    assert_eq!(
        said("user = \"www\"", "user = \"hunter2\""),
        ["group web changed: resource apache replaced"]
    );
    assert_eq!(
        said("name = \"db\"", "name = \"data\""),
        ["group db removed", "group data added"]
    );
}

#[test]
fn nodes_that_come_and_go_are_named_with_the_number_of_their_list() {
    let nodes = |removed: &[&str], added: &[&str], version| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Change::Nodes(NodesChange {
            removed: names(removed),
            added: names(added),
            version,
        })
    };
    let node = "[[node]]\nname = \"d\"\nid = 4\nrole = \"witness\"\naddresses = [\"10.0.0.4\"]\n";
    let added = changes("[[vip]]", &format!("{node}[[vip]]"));
    assert_eq!(added, [nodes(&[], &["d"], 1)]);
    let raised = changes("name = \"web\"", "name = \"web\"\nconfig_version = 2");
    assert_eq!(raised, [nodes(&[], &[], 2)]);
    assert_eq!(raised[0].to_string(), "config_version 2");

    let without = whole().replace(LOCATION, "");
    let with_d = without.replacen("name = \"a\"", "name = \"d\"", 1);
    let change = parse(&without)
        .unwrap()
        .difference(&parse(&with_d).unwrap());
    assert_eq!(change, [nodes(&["a"], &["d"], 1)]);
    assert_eq!(
        change[0].to_string(),
        "node a removed, node d added, config_version 1"
    );
}
