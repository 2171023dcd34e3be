//! Exclusive resources are refused by place, cause and remedy until the file accepts what may come
//! of them.

use super::{
    super::{Change, Config, GroupChange, ResourceChange},
    GOOD, GROUPS, complaint, parse,
};

/// `GOOD` and `GROUPS`, whose group `db` has this resource, with `more` behind the group's name.
fn with(more: &str, resource: &str) -> String {
    let groups = GROUPS
        .replace("name = \"db\"\n", &format!("name = \"db\"\n{more}"))
        .replace("type = \"systemd:haproxy\"\n", resource);
    format!("{GOOD}{groups}")
}

fn is_exclusive(config: &Config) -> bool {
    let db = config.group_named("db").unwrap();
    db.resources.iter().any(|resource| resource.exclusive)
}

const FILESYSTEM: &str =
    "type = \"ocf:heartbeat:Filesystem\"\nparams = { device = \"/dev/sdb1\", fstype = \"ext4\" }\n";

#[test]
fn exclusive_resource_is_refused_with_what_can_happen_and_what_to_do() {
    let said = complaint(&with("", FILESYSTEM));
    for part in [
        "hb.toml:43:8: resource \"store\": ocf:heartbeat:Filesystem must never run on two nodes at \
         a time",
        "until its stop is done (up to stop_timeout), or for ever if its agent is dead or the stop \
         fails",
        "a file system that two nodes have mounted is destroyed\n  ",
        "a cluster manager that fences nodes",
        "write accept_double_run = true in group \"db\"",
        "exclusive = false",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn exclusive_resources_of_every_type_are_refused() {
    for resource in [
        "type = \"ocf:linbit:drbd\"\n",
        "type = \"ocf:heartbeat:pgsql\"\n",
        "type = \"ocf:heartbeat:VirtualDomain\"\n",
        "type = \"ocf:own:LVM-activate\"\n",
        "type = \"systemd:postgresql@15-main\"\n",
        "type = \"systemd:srv-data.mount\"\n",
        "type = \"exec\"\nrun = [\"/usr/sbin/mysqld\"]\n",
        "type = \"exec\"\nstart = [\"/bin/mount\", \"/x\"]\nstop = [\"/x\"]\ncheck = [\"/x\"]\n",
        "type = \"systemd:haproxy\"\nexclusive = true\n",
        "type = \"exec\"\nrun = [\"/bin/sleep\"]\nexclusive = true\n",
    ] {
        let said = complaint(&with("", resource));
        assert!(
            said.contains("resource \"store\": ") && said.contains("accept_double_run"),
            "{said}"
        );
        let accepted = parse(&with("accept_double_run = true\n", resource)).unwrap();
        assert!(accepted.warnings.is_empty(), "{:?}", accepted.warnings);
        assert!(is_exclusive(&accepted) && accepted.group_named("db").unwrap().accepts_double_run);
    }
}

#[test]
fn group_that_says_false_is_refused_as_one_that_says_nothing() {
    let text = |value: bool| with(&format!("accept_double_run = {value}\n"), FILESYSTEM);
    assert!(complaint(&text(false)).contains("must never run on two nodes"));
    assert!(parse(&text(true)).is_ok());
}

#[test]
fn each_exclusive_resource_is_refused_by_itself() {
    let two =
        format!("{FILESYSTEM}[[group.resource]]\nname = \"sql\"\ntype = \"ocf:heartbeat:mysql\"\n");
    let said = complaint(&with("", &two));
    assert!(
        said.contains("resource \"store\"") && said.contains("resource \"sql\""),
        "{said}"
    );
    assert_eq!(said.lines().count(), 4, "{said}");
    // The consent of another group does not apply.
    let groups = with("", FILESYSTEM).replace(
        "name = \"web\"\nprefer",
        "name = \"web\"\naccept_double_run = true\nprefer",
    );
    assert!(complaint(&groups).contains("write accept_double_run = true in group \"db\""));
}

#[test]
fn file_overrules_the_table_of_agents() {
    let nfs = FILESYSTEM.replace("ext4", "nfs");
    for (group, resource) in [
        ("", nfs.clone()),
        ("", format!("{FILESYSTEM}exclusive = false\n")),
        ("exclusive = false\n", FILESYSTEM.to_owned()),
    ] {
        let config = parse(&with(group, &resource)).unwrap();
        assert!(!is_exclusive(&config) && config.warnings.is_empty());
    }
    for (group, resource) in [
        ("", format!("{nfs}exclusive = true\n")),
        ("exclusive = true\n", nfs),
        (
            "exclusive = false\n",
            format!("{FILESYSTEM}exclusive = true\n"),
        ),
    ] {
        assert!(complaint(&with(group, &resource)).contains("must never run on two nodes"));
    }
}

#[test]
fn address_is_never_exclusive_since_it_is_guarded() {
    let vip = "type = \"vip\"\naddress = \"10.0.0.102/24\"\n";
    assert!(!is_exclusive(
        &parse(&with("exclusive = true\n", vip)).unwrap()
    ));
    let said = complaint(&with("", &format!("{vip}exclusive = true\n")));
    assert!(
        said.contains(
            "exclusive belongs to ocf and systemd and exec resources, not to one of type vip"
        ),
        "{said}"
    );
    assert!(
        complaint(&GOOD.replace("prefer", "exclusive = true\nprefer"))
            .contains("unknown field `exclusive`")
    );
}

#[test]
fn accepting_what_cannot_happen_is_a_warning() {
    let config = parse(&with(
        "accept_double_run = true\n",
        "type = \"systemd:haproxy\"\n",
    ))
    .unwrap();
    let [warning] = &config.warnings[..] else {
        panic!("{:?}", config.warnings);
    };
    let said = warning.to_string();
    assert!(
        said.starts_with("hb.toml:41:21: group \"db\": accept_double_run = true, but no resource"),
        "{said}"
    );
}

#[test]
fn value_other_than_a_boolean_is_refused() {
    for field in ["accept_double_run", "exclusive"] {
        let said = complaint(&with(
            &format!("{field} = \"yes\"\n"),
            "type = \"systemd:haproxy\"\n",
        ));
        assert!(
            said.contains(&format!(
                "group \"db\": {field} must be a boolean; got a string"
            )),
            "{said}"
        );
    }
}

#[test]
fn reload_notices_what_is_accepted_and_what_is_exclusive() {
    let haproxy = "type = \"systemd:haproxy\"\n";
    let changes = |from: &str, to: &str| parse(from).unwrap().difference(&parse(to).unwrap());
    let changed = |settings, resources| {
        vec![Change::GroupChanged(GroupChange {
            name: "db".to_owned(),
            settings,
            resources,
            reordered: false,
        })]
    };
    let accepted = with("accept_double_run = true\n", haproxy);
    assert_eq!(
        changes(&with("", haproxy), &accepted),
        changed(true, Vec::new())
    );
    let exclusive = with(
        "accept_double_run = true\n",
        &format!("{haproxy}exclusive = true\n"),
    );
    let adjusted = vec![ResourceChange::Adjusted("store".to_owned())];
    assert_eq!(changes(&accepted, &exclusive), changed(false, adjusted));
}
