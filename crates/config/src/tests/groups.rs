//! Groups and resources: what they mean, and what must not be said of them.

use std::{path::Path, time::Duration};

use heartbeat_common::wire::NodeId;
use heartbeat_core::{
    index::{GroupIndex, ResourceIndex, VipIndex},
    placement::Score,
};

use super::{
    super::{Exec, Ocf, Resource, ResourceKind},
    GOOD, GROUPS,
    bad::{Case, assert_said},
    complaint, group_id, lease_id, parse, with, with_groups,
};

#[test]
fn groups_are_what_the_file_says_and_vips_are_groups() {
    let config = parse(&with_groups("", "")).unwrap();
    assert_eq!(config.warnings, []);
    let names: Vec<_> = config.groups.iter().map(|group| &*group.name).collect();
    assert_eq!(names, ["site", "web", "db"]);
    let web = config.group_named("web").unwrap();
    assert_eq!(web.id, group_id("web"));
    assert_eq!(web.rank, [NodeId(2), NodeId(1), NodeId(3)]);
    assert_eq!((web.stickiness, web.maintenance), (Score::STAYS, false));

    let [ip, apache, worker] = web.resources.as_ref() else {
        panic!("{web:?}");
    };
    assert_eq!(ip.kind, ResourceKind::Vip(VipIndex(1)));
    assert_eq!(config.vips[VipIndex(1)].name, "webip");
    assert_eq!(config.vips[VipIndex(1)].group, web.id);
    assert_eq!(config.vips[VipIndex(1)].interface, "eth1");
    let param = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let ocf = Ocf {
        provider: "heartbeat".to_owned(),
        agent: "apache".to_owned(),
        params: vec![
            param("port", "80"),
            param("tls", "true"),
            param("user", "www"),
        ],
        check_level: 0,
    };
    assert_eq!(apache.kind, ResourceKind::Ocf(ocf));
    let run = ["/bin/sleep", "inf"].map(str::to_owned).to_vec();
    let service = Exec::Service { run, check: None };
    assert_eq!(worker.kind, ResourceKind::Exec(service));
    let unit = ResourceKind::Systemd("haproxy.service".to_owned());
    assert_eq!(
        config.group_named("db").unwrap().resources[ResourceIndex(0)].kind,
        unit
    );

    let site = config.group_named("site").unwrap();
    assert_eq!(site.resources[ResourceIndex(0)].name, "site");
    assert_eq!(
        site.resources[ResourceIndex(0)].kind,
        ResourceKind::Vip(VipIndex(0))
    );
}

#[test]
fn file_needs_no_vip_to_have_groups() {
    let vip = "[[vip]]\nname = \"site\"\naddress = \"10.0.0.100/24\"\nprefer = [\"c\"]\n";
    let config = parse(&(with(vip, "") + GROUPS)).unwrap();
    assert_eq!((config.groups.len(), config.vips.len()), (2, 1));
    assert_eq!(
        config.groups[GroupIndex(0)].resources[ResourceIndex(0)].kind,
        ResourceKind::Vip(VipIndex(0))
    );
}

#[test]
fn missing_settings_of_a_resource_come_from_its_group_or_the_defaults() {
    let recovery = |text: &str, name: &str| {
        let config = parse(text).unwrap();
        let mut resources = config.groups.iter().flat_map(|group| &group.resources);
        let resource = resources.find(|resource| resource.name == name).unwrap();
        (resource.migration_threshold, resource.failure_timeout)
    };
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    let plain = with_groups("", "");
    for name in ["site", "webip", "store"] {
        assert_eq!(recovery(&plain, name), (3, minutes(10)), "{name}");
    }
    let defaults = "[defaults]\nmigration_threshold = 0\nfailure_timeout = \"never\"\n";
    let group = "name = \"web\"\nmigration_threshold = 5\nfailure_timeout = \"2min\"";
    let resource = "name = \"worker\"\nmigration_threshold = 1\nfailure_timeout = \"never\"";
    let text =
        with_groups("name = \"web\"", group).replace("name = \"worker\"", resource) + defaults;
    assert_eq!(recovery(&text, "site"), (0, None));
    assert_eq!(recovery(&text, "store"), (0, None));
    assert_eq!(recovery(&text, "webip"), (5, minutes(2)));
    assert_eq!(recovery(&text, "worker"), (1, None));
}

#[test]
fn without_failback_groups_stick_unless_they_say_otherwise() {
    let stickiness = |text: &str| {
        let config = parse(text).unwrap();
        let groups = config.groups.iter();
        groups.map(|group| group.stickiness).collect::<Vec<_>>()
    };
    let (zero, must) = (Score::ZERO, Score::MUST);
    // An address alone goes back, and what has to be stopped for it stays.
    assert_eq!(
        stickiness(&with_groups("", "")),
        [zero, Score::STAYS, Score::STAYS]
    );
    let back = with_groups("", "");
    let back = back.replacen("\"web\"\n", "\"web\"\nauto_failback = true\n", 1);
    assert_eq!(stickiness(&back), [zero; 3]);
    let loose = with_groups("name = \"web\"", "name = \"web\"\nstickiness = 7");
    let stays = loose.replacen("\"web\"\n", "\"web\"\nauto_failback = false\n", 1);
    assert_eq!(stickiness(&stays), [must, Score::new(7), must]);
    assert!(!parse(&stays).unwrap().auto_failback);
    let defaults = loose + "[defaults]\nstickiness = 100\n";
    let hundred = Score::new(100);
    assert_eq!(stickiness(&defaults), [hundred, Score::new(7), hundred]);
    let same = stays.clone() + "[defaults]\nstickiness = inf\n";
    assert_eq!(stickiness(&same), [must, Score::new(7), must]);

    let said = complaint(&(stays + "[defaults]\nstickiness = 5\n"));
    assert!(
        said.starts_with(
            "hb.toml:47:14: [defaults]: stickiness 5 contradicts auto_failback = false"
        ),
        "{said}"
    );
}

#[test]
fn resource_can_say_all_that_there_is() {
    let resource = |from: &str, more: &str| -> Resource {
        let config = parse(&with_groups(from, &format!("{from}\n{more}"))).unwrap();
        let mut resources = config.groups.into_iter().flat_map(|group| group.resources);
        let is_it = |resource: &Resource| from.contains(&resource.name);
        resources.find(is_it).unwrap()
    };
    let times = "start_timeout = \"60min\"\nstop_timeout = \"100ms\"\nmonitor_timeout = \"5s\"\n\
                 monitor_interval = \"never\"\npidfile = \"/run/apache2.pid\"\ncheck_level = 10";
    let apache = resource("name = \"apache\"", times);
    assert_eq!(apache.start_timeout, Some(Duration::from_secs(3_600)));
    assert_eq!(apache.stop_timeout, Some(Duration::from_millis(100)));
    assert_eq!(apache.monitor_timeout, Some(Duration::from_secs(5)));
    assert_eq!(apache.monitor_interval, Some(Duration::ZERO));
    assert_eq!(
        apache.pidfile.as_deref(),
        Some(Path::new("/run/apache2.pid"))
    );
    assert!(matches!(
        apache.kind,
        ResourceKind::Ocf(Ocf {
            check_level: 10,
            ..
        })
    ));

    let plain = resource("name = \"store\"", "");
    assert_eq!((plain.start_timeout, plain.monitor_interval), (None, None));
    let often = resource("name = \"store\"", "monitor_interval = \"1440min\"");
    assert_eq!(often.monitor_interval, Some(Duration::from_secs(86_400)));

    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let checked = resource("name = \"worker\"", "check = [\"/bin/true\", \"\"]");
    let ResourceKind::Exec(Exec::Service { check, .. }) = checked.kind else {
        panic!("{checked:?}");
    };
    assert_eq!(check, Some(words(&["/bin/true", ""])));
    let three = "start = [\"/a\"]\nstop = [\"/b\", \"x\"]\ncheck = [\"/c\"]\n";
    let config = parse(&with_groups("run = [\"/bin/sleep\", \"inf\"]\n", three)).unwrap();
    let commands = Exec::Commands {
        start: words(&["/a"]),
        stop: words(&["/b", "x"]),
        check: words(&["/c"]),
    };
    assert_eq!(
        config.groups[GroupIndex(1)].resources[ResourceIndex(2)].kind,
        ResourceKind::Exec(commands)
    );
}

#[test]
fn maintenance_is_the_clusters_or_a_groups() {
    let group = with_groups("name = \"db\"", "name = \"db\"\nmaintenance = true");
    let config = parse(&group).unwrap();
    assert!(!config.maintenance);
    let maintained: Vec<_> = config
        .groups
        .iter()
        .map(|group| group.maintenance)
        .collect();
    assert_eq!(maintained, [false, false, true]);
    assert!(
        parse(&with(
            "name = \"web\"",
            "name = \"web\"\nmaintenance = true"
        ))
        .unwrap()
        .maintenance
    );
}

#[rustfmt::skip]
const BAD_GROUPS: &[Case] = &[
    ("name = \"web\"", "", &["hb.toml:24:1: group number 1: `name` is missing"]),
    ("name = \"web\"", "name = \"web\"\nstickyness = 1",
     &["hb.toml:26:1: group \"web\": unknown field `stickyness`", "did you mean `stickiness`?"]),
    ("name = \"web\"", "name = \"web\"\nresources = []",
     &["unknown field `resources`", "did you mean `resource`?"]),
    ("name = \"web\"", "name = \"web\"\nstickiness = -1",
     &["hb.toml:26:14: group \"web\": stickiness -1 is below 0"]),
    ("name = \"web\"", "name = \"web\"\nstickiness = \"-inf\"",
     &["stickiness \"-inf\" is below 0"]),
    ("name = \"web\"", "name = \"web\"\nstickiness = 1000001",
     &["stickiness 1000001 is no whole number from 0 to 1000000"]),
    ("name = \"web\"", "name = \"web\"\nstickiness = \"100\"",
     &["stickiness \"100\" is no whole number", "without quotes"]),
    ("name = \"web\"", "name = \"web\"\nstickiness = nan", &["stickiness nan is no whole number"]),
    ("name = \"web\"", "name = \"web\"\nstickiness = true",
     &["stickiness must be a score; got the boolean true"]),
    ("name = \"web\"", "name = \"web\"\nmigration_threshold = -1",
     &["migration_threshold -1 is not from 0 to 1000000"]),
    ("name = \"web\"", "name = \"web\"\nfailure_timeout = \"999ms\"",
     &["failure_timeout \"999ms\" is below 1s\n  write 1s or more; or \"never\""]),
    ("name = \"web\"", "name = \"web\"\nfailure_timeout = \"nevr\"",
     &["failure_timeout \"nevr\" is not a duration", "or \"never\""]),
    ("name = \"web\"", "name = \"web\"\nmaintenance = 1",
     &["maintenance must be a boolean; got the integer 1"]),
    ("prefer = [\"b\"]", "prefer = [\"x\"]",
     &["hb.toml:26:11: group \"web\": prefer \"x\": no node has this name"]),
    ("name = \"db\"", "name = \"web\"",
     &["hb.toml:40:8: group \"web\": name \"web\" is already used by group \"web\" (line 25)"]),
    ("name = \"db\"", "name = \"site\"",
     &["hb.toml:40:8: group \"site\": name \"site\" is already used by vip \"site\" (line 18)"]),
    ("name = \"web\"",
     "name = \"web38\"\n[[group.resource]]\nname = \"x\"\ntype = \"exec\"\nrun = \
      [\"/x\"]\n[[group]]\nname = \"web76\"",
     &["group \"web76\": group id 60397, which is made of the name, is already used by group \
        \"web38\" (line 25)"]),
    ("[[group]]\nname = \"db\"\n[[group.resource]]\nname = \"store\"\ntype = \"systemd:haproxy\"\n",
     "[[group]]\nname = \"db\"\n",
     &["hb.toml:39:1: group \"db\": `resource` is missing",
       "[[group.resource]], below its [[group]]"]),
    ("[[group.resource]]\nname = \"store\"\ntype = \"systemd:haproxy\"\n", "resource = []\n",
     &["group \"db\": `resource` is missing"]),
    ("[[group.resource]]\nname = \"store\"\ntype = \"systemd:haproxy\"\n",
     "[group.resource]\nname = \"store\"\ntype = \"systemd:haproxy\"\n",
     &["group \"db\": resource must be a list of tables; got a table"]),
];

#[rustfmt::skip]
const BAD_RESOURCES: &[Case] = &[
    ("name = \"webip\"", "",
     &["hb.toml:27:1: resource number 1 of group \"web\": `name` is missing"]),
    ("name = \"worker\"", "name = \"webip\"",
     &["hb.toml:36:8: resource \"webip\": name \"webip\" is already used by resource \"webip\" \
        (line 28)", "in the cluster"]),
    ("name = \"store\"", "name = \"apache\"",
     &["hb.toml:42:8: resource \"apache\": name \"apache\" is already used by resource \"apache\" \
        (line 32)"]),
    ("name = \"webip\"", "name = \"site\"",
     &["hb.toml:28:8: resource \"site\": name \"site\" is already used by vip \"site\" (line 18)"]),
    ("type = \"vip\"\n", "",
     &["hb.toml:27:1: resource \"webip\": `type` is missing\n  add it, as in type = \
        \"ocf:heartbeat:apache\""]),
    ("\"vip\"", "\"vpi\"",
     &["hb.toml:29:8: resource \"webip\": type \"vpi\" is no type of resource\n  did you mean \
        `vip`?"]),
    ("\"ocf:heartbeat:apache\"", "\"lsb:apache\"",
     &["type \"lsb:apache\" is no type of resource",
       "use vip, ocf:PROVIDER:AGENT, systemd:UNIT or exec"]),
    ("\"ocf:heartbeat:apache\"", "\"ocf:apache\"",
     &["type \"ocf:apache\" does not name one OCF agent", "ocf:heartbeat:apache"]),
    ("\"ocf:heartbeat:apache\"", "\"ocf::heartbeat:apache\"",
     &["has a colon too many\n  write \"ocf:heartbeat:apache\""]),
    ("\"ocf:heartbeat:apache\"", "\"ocf:heartbeat:../sh\"", &["is no name of an OCF agent"]),
    ("\"systemd:haproxy\"", "\"systemd\"", &["type \"systemd\" names no unit"]),
    ("\"systemd:haproxy\"", "\"systemd:a/b\"", &["type \"systemd:a/b\" is no name of a unit"]),
    ("\"systemd:haproxy\"", "\"systemd:getty@.service\"",
     &["is a template, of which no instance is named", "systemd:getty@main"]),
    ("address = \"10.0.0.101/24\"\n", "",
     &["hb.toml:27:1: resource \"webip\": `address` is missing"]),
    ("10.0.0.101/24", "10.0.0.100/32",
     &["hb.toml:30:11: resource \"webip\": address \"10.0.0.100\" is already used by vip \"site\" \
        (line 19)"]),
    ("10.0.0.101/24", "10.0.0.2/24",
     &["resource \"webip\": address \"10.0.0.2\" is node \"b\"'s own"]),
    ("address = \"10.0.0.101/24\"", "address = \"10.0.0.101/24\"\nparams = { ip = \"x\" }",
     &["hb.toml:31:10: resource \"webip\": params belongs to ocf resources, not to one of type \
        vip\n  remove it, or correct type"]),
    ("address = \"10.0.0.101/24\"", "address = \"10.0.0.101/24\"\npidfile = \"/run/x\"",
     &["pidfile belongs to ocf and systemd resources, not to one of type vip"]),
    ("type = \"exec\"", "type = \"exec\"\naddress = \"10.0.0.9/24\"",
     &["address belongs to vip resources, not to one of type exec"]),
    ("type = \"exec\"", "type = \"exec\"\ncheck_level = 1",
     &["check_level belongs to ocf resources"]),
    ("type = \"systemd:haproxy\"", "type = \"systemd:haproxy\"\nrun = [\"/x\"]",
     &["run belongs to exec resources, not to one of type systemd"]),
    ("type = \"exec\"", "type = \"exec\"\nstart_timeout = \"99ms\"",
     &["start_timeout \"99ms\" is below 100ms"]),
    ("type = \"exec\"", "type = \"exec\"\nstop_timeout = \"61min\"",
     &["stop_timeout \"61min\" is above 60min"]),
    ("type = \"exec\"", "type = \"exec\"\nstop_timeout = \"never\"",
     &["stop_timeout \"never\" is not a duration"]),
    ("type = \"exec\"", "type = \"exec\"\nmonitor_timeout = 20",
     &["monitor_timeout must be a quoted string; got the integer 20"]),
    ("type = \"exec\"", "type = \"exec\"\nmonitor_interval = \"1441min\"",
     &["monitor_interval \"1441min\" is above 1440min\n  write 1440min or less; or \"never\""]),
    ("type = \"systemd:haproxy\"", "type = \"systemd:haproxy\"\npidfile = \"run/x\"",
     &["pidfile \"run/x\" is not an absolute path"]),
    ("run = [\"/bin/sleep\", \"inf\"]", "",
     &["hb.toml:35:1: resource \"worker\": an exec resource has neither `run` nor `start`, `stop` \
        and `check`"]),
    ("run = [\"/bin/sleep\", \"inf\"]", "check = [\"/x\"]",
     &["an exec resource has neither `run` nor"]),
    ("run = [\"/bin/sleep\", \"inf\"]", "start = [\"/x\"]\ncheck = [\"/x\"]",
     &["hb.toml:35:1: resource \"worker\": `stop` is missing"]),
    ("run = [\"/bin/sleep\", \"inf\"]", "run = [\"/x\"]\nstop = [\"/x\"]",
     &["hb.toml:39:8: resource \"worker\": run and stop exclude each other"]),
    ("\"/bin/sleep\"", "\"sleep\"",
     &["hb.toml:38:8: resource \"worker\": run \"sleep\" is not an absolute path",
       "there is no shell"]),
    ("[\"/bin/sleep\", \"inf\"]", "[]", &["hb.toml:38:7: resource \"worker\": run is empty"]),
    ("[\"/bin/sleep\", \"inf\"]", "\"/bin/sleep inf\"",
     &["run must be an array of strings; got a string"]),
    ("port = 80", "port = 8.5",
     &["hb.toml:34:33: resource \"apache\": parameter \"port\" is a float, not a string, an \
        integer or a boolean\n  write it in quotes"]),
    ("port = 80", "port = 0o640",
     &["parameter \"port\" is a number, but not in decimal\n  write it in quotes"]),
    ("port = 80", "port = 99999999999999999999",
     &["parameter \"port\" is a number beyond 64 bits"]),
    ("port = 80", "port = [80]", &["parameter \"port\" is an array, not a string"]),
    ("port = 80", "\"po rt\" = 80", &["parameter \"po rt\" is not a usable name"]),
    ("{ user = \"www\", port = 80, tls = true }", "\"user=www\"",
     &["hb.toml:34:10: resource \"apache\": parameter must be a table; got a string"]),
    ("params", "parms", &["resource \"apache\": unknown field `parms`", "did you mean `params`?"]),
];

#[test]
fn bad_group_is_named_with_its_place_and_remedy() {
    assert_said(BAD_GROUPS, with_groups);
}

#[test]
fn bad_resource_is_named_with_its_place_and_remedy() {
    assert_said(BAD_RESOURCES, with_groups);
}

#[test]
fn mistake_in_a_group_is_reported_once() {
    for (from, to, _) in BAD_GROUPS.iter().chain(BAD_RESOURCES) {
        let said = complaint(&with_groups(from, to));
        assert!(said.lines().count() <= 2, "`{to}`:\n{said}");
    }
}

/// However a file is mangled, what a parameter may hide is not in what is said.
#[test]
fn no_message_shows_a_parameters_value() {
    for (from, to) in [
        ("\"www\"", "hunter2"),
        ("\"www\"", "\"hunter2\" x"),
        ("\"www\"", "[\"hunter2\"]"),
        ("\"www\"", "\"hunter2\\u0000\""),
        ("{ user = \"www\"", "{ \"us er\" = \"hunter2\""),
        ("{ user = \"www\", port = 80, tls = true }", "\"hunter2\""),
        (
            "{ user = \"www\", port = 80, tls = true }",
            "{\n user = hunter2\n}",
        ),
        ("{ user = \"www\", port = 80, tls = true }", "[\"hunter2\"]"),
        (
            "params = { user = \"www\", port = 80, tls = true }",
            "[group.resource.params]\nname = hunter2",
        ),
        (
            "params = { user = \"www\", port = 80, tls = true }",
            "params.key = hunter2",
        ),
        (
            "params = { user = \"www\", port = 80, tls = true }",
            "[group.resource.params]\nuser = \"\"\"\nhunter2",
        ),
        ("type = \"ocf:heartbeat:apache\"", "type = \"exec\""),
    ] {
        let said = complaint(&with_groups(from, to).replace("\"www\"", "\"hunter2\""));
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.starts_with("hb.toml:"), "{said}");
    }
}

#[test]
fn resource_without_a_group_is_reported() {
    let said = complaint(&format!("{GOOD}[[group.resource]]\nname = \"x\"\n"));
    assert_eq!(
        said,
        "hb.toml:24:3: group must be a list of tables; got a table\n  write it as in [[group]], \
         with two brackets, above its [[group.resource]]s"
    );
}

#[test]
fn address_has_a_lease_of_its_own_whatever_its_group_is_called() {
    let lease = |text: &str| {
        let vips = parse(text).unwrap().vips;
        let vip = vips
            .into_iter()
            .find(|vip| vip.address.address.to_string() == "10.0.0.101");
        let vip = vip.unwrap();
        (vip.lease, vip.group)
    };
    let (lease_of_one, group) = lease(&with_groups("", ""));
    let renamed = with_groups("name = \"web\"\nprefer", "name = \"site2\"\nprefer");
    assert_eq!(lease(&renamed).0, lease_of_one);
    assert_ne!(lease(&renamed).1, group);
    // Whatever its prefix.
    let wider = with_groups("10.0.0.101/24", "10.0.0.101/16");
    assert_eq!(lease(&wider).0, lease_of_one);
    let bare = with_groups("10.0.0.101/24", "10.0.0.101");
    assert_eq!(lease(&bare).0, lease_of_one);
}

#[test]
fn no_two_addresses_of_a_network_share_a_lease() {
    use std::{collections::HashSet, net::IpAddr};
    for network in ["10.1.0.0", "192.168.0.0", "fd00::10:0"] {
        let ids = (1..=u16::MAX).map(|host| {
            let address: IpAddr = network.parse().unwrap();
            lease_id(match address {
                IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() | u32::from(host)).into()),
                IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() | u128::from(host)).into()),
            })
        });
        let ids: HashSet<_> = ids.collect();
        // The hash 0 becomes 1, which may also be another hash.
        assert!(
            ids.len() >= usize::from(u16::MAX) - 1,
            "{network}: {}",
            ids.len()
        );
        assert!(!ids.contains(&heartbeat_common::wire::GroupId(0)));
    }
    let far = |address: &str| lease_id(address.parse().unwrap());
    assert_ne!(far("10.1.0.7"), far("10.2.0.7"));
    assert_ne!(far("fd00::7"), far("fd01::7"));
}

#[test]
fn name_that_makes_the_lease_of_an_address_is_refused() {
    let lease = lease_id("10.0.0.101".parse().unwrap());
    let name = (0..)
        .map(|n| format!("g{n}"))
        .find(|name| group_id(name) == lease)
        .unwrap();
    let said = complaint(&with_groups("name = \"db\"", &format!("name = \"{name}\"")));
    for part in [
        format!(
            "lease id {}, which is made of address \"10.0.0.101\", is already used by",
            lease.0
        ),
        format!(
            "group id {}, which is made of the name, is already used by",
            lease.0
        ),
    ] {
        if said.contains(&part) {
            assert!(said.contains("rename"), "{said}");
            return;
        }
    }
    panic!("{said}");
}
