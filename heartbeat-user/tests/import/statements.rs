//! One case for each kind of statement: what it becomes, or what is said instead.

use heartbeat_user::import::{Inputs, Options, import};

use super::{input, translated};

const TWO: &str = "primitive a Dummy\nprimitive b Dummy\n";
const NODES: &str = "node n1\nnode n2\nnode n3\n";

/// What `text` becomes holds `wanted`, whatever its comments' lines are broken at.
#[track_caller]
fn says(text: &str, wanted: &str) {
    let output = flat(&translated(text));
    assert!(
        output.contains(wanted),
        "{wanted:?} is not in\n{}",
        translated(text)
    );
}

#[track_caller]
fn says_not(text: &str, unwanted: &str) {
    let output = translated(text);
    assert!(
        !flat(&output).contains(unwanted),
        "{unwanted:?} is in\n{output}"
    );
}

/// Comments that go on in the next line are joined.
fn flat(text: &str) -> String {
    text.replace("\n#   ", " ")
}

fn with_two(constraint: &str) -> String {
    format!("{TWO}{constraint}\n")
}

#[test]
fn classes_of_agents() {
    says("primitive x IPaddr2", "type = \"ocf:heartbeat:IPaddr2\"");
    says(
        "primitive x heartbeat:IPaddr2",
        "type = \"ocf:heartbeat:IPaddr2\"",
    );
    says("primitive x linbit:drbd", "type = \"ocf:linbit:drbd\"");
    says("primitive x ocf::acme:thing", "type = \"ocf:acme:thing\"");
    says(
        "primitive x systemd:nginx",
        "type = \"systemd:nginx.service\"",
    );
    says(
        "primitive x systemd:data.mount",
        "type = \"systemd:data.mount\"",
    );
    says("primitive x systemd:a.b", "type = \"systemd:a.b.service\"");
    says(
        "primitive x service:nginx",
        "type = \"systemd:nginx.service\"",
    );
    says("primitive x lsb:nginx", "type = \"systemd:nginx.service\"");
    says(
        "primitive x stonith:fence_ipmilan",
        "not translated: primitive x (stonith:fence_ipmilan)",
    );
    says(
        "primitive x upstart:y",
        "no resources of the class \"upstart\"",
    );
    says("primitive x ocf:pacemaker:ping", "a part of Pacemaker");
    says("primitive x @none", "its template none is not in the input");
}

#[test]
fn parameters_are_kept_as_text_whatever_they_hold() {
    let text = translated(r#"primitive x Dummy params a="say \"hi\"" b='c:\d' c="" d.e=1"#);
    assert!(
        text.contains(r#"params = { a = "say \"hi\"", b = "c:\\d", c = "", "d.e" = "1" }"#),
        "{text}"
    );
}

#[test]
fn a_secret_of_a_fencing_device_is_not_written_down() {
    says_not("primitive x stonith:ipmi params passwd=sesame", "sesame");
}

#[test]
fn operations() {
    says(
        "primitive x Dummy op monitor interval=1min",
        "monitor_interval = \"1min\"",
    );
    says(
        "primitive x Dummy op monitor interval=PT90S timeout=1500ms",
        "monitor_interval = \"90s\"",
    );
    says(
        "primitive x Dummy op monitor interval=10 timeout=1500ms",
        "monitor_timeout = \"1500ms\"",
    );
    says(
        "primitive x Dummy op start timeout=60",
        "start_timeout = \"1min\"",
    );
    says(
        "primitive x Dummy op stop timeout=60 interval=0",
        "stop_timeout = \"1min\"",
    );
    says("primitive x Dummy", "monitor_interval = \"never\"");
    says(
        "primitive x Dummy op monitor interval=0",
        "monitor_interval = \"never\"",
    );
    says(
        "primitive x Dummy op monitor interval=5 enabled=false",
        "monitor_interval = \"never\"",
    );
    says(
        "primitive x Dummy op monitor interval=5 depth=10",
        "check_level = 10",
    );
    says(
        "primitive x Dummy op monitor interval=5 op_params OCF_CHECK_LEVEL=20",
        "check_level = 20",
    );
    says(
        "primitive x systemd:y op monitor interval=5 depth=10",
        "attribute depth=10 of op monitor",
    );
    says(
        "primitive x Dummy op monitor interval=5 op monitor interval=9",
        "op monitor interval=9 of x",
    );
    says(
        "primitive x Dummy op monitor interval=5 role=Master",
        "for the role master",
    );
    says(
        "primitive x Dummy op monitor interval=5 on-fail=fence",
        "on-fail=fence of op monitor",
    );
    says_not(
        "primitive x Dummy op monitor interval=5 on-fail=restart",
        "on-fail",
    );
    says(
        "primitive x Dummy op start start-delay=5",
        "attribute start-delay=5 of op start",
    );
    says(
        "primitive x Dummy op promote timeout=5 zeal=1",
        "only start, stop and monitor are run",
    );
    says("primitive x Dummy op promote timeout=5 zeal=1", "zeal=1");
    says(
        "primitive x Dummy op start timeout=soon",
        "timeout=soon of op start",
    );
    says(
        "op_defaults timeout=45\nprimitive x Dummy",
        "stop_timeout = \"45s\"",
    );
    says(
        "primitive x Dummy\nmonitor x 7s:3s",
        "monitor_interval = \"7s\"",
    );
    says("monitor y 7s", "no primitive has this name");
}

#[test]
fn meta_attributes() {
    says(
        "primitive x Dummy meta migration-threshold=2",
        "migration_threshold = 2",
    );
    says(
        "primitive x Dummy meta migration-threshold=INFINITY",
        "migration_threshold = 0",
    );
    says(
        "primitive x Dummy meta failure-timeout=90",
        "failure_timeout = \"90s\"",
    );
    says(
        "primitive x Dummy meta failure-timeout=0",
        "failure_timeout = \"never\"",
    );
    says(
        "primitive x Dummy meta resource-stickiness=INFINITY",
        "stickiness = \"inf\"",
    );
    says(
        "primitive x Dummy meta resource-stickiness=-5",
        "meta resource-stickiness=-5 of resource x",
    );
    says(
        "primitive x Dummy meta is-managed=false",
        "maintenance = true",
    );
    says(
        "primitive x Dummy meta target-role=Stopped",
        "maintenance = true",
    );
    says_not("primitive x Dummy meta target-role=Started", "maintenance");
    says(
        "primitive x Dummy meta target-role=Master",
        "meta target-role=Master of resource x",
    );
    says(
        "primitive x Dummy meta priority=5",
        "meta priority=5 of resource x",
    );
    says(
        "primitive x Dummy utilization cpu=2",
        "utilization cpu=2 of resource x",
    );
    says(
        "primitive x Dummy params rule #uname eq a zeal=1",
        "zeal=1 of resource x",
    );
    says(
        "primitive x Dummy params $id-ref=other",
        "$id-ref=other of resource x",
    );
}

#[test]
fn the_stickiness_of_a_group_is_the_sum_over_its_resources() {
    let group = format!("{TWO}group g a b meta resource-stickiness=100");
    says(&group, "stickiness = 200");
    says(
        &format!("{TWO}group g a b\nrsc_defaults resource-stickiness=7"),
        "stickiness = 14",
    );
    says(
        &format!("{TWO}group g a b\nrsc_defaults resource-stickiness=inf"),
        "stickiness = \"inf\"",
    );
}

#[test]
fn defaults_are_pacemakers_where_nothing_is_said() {
    says(
        "primitive x Dummy",
        "[defaults]\nstickiness = 0\nmigration_threshold = 0\nfailure_timeout = \"never\"\n",
    );
    says(
        "rsc_defaults o: resource-stickiness=5 migration-threshold=4 failure-timeout=2min\nprimitive x Dummy",
        "[defaults]\nstickiness = 5\nmigration_threshold = 4\nfailure_timeout = \"2min\"\n",
    );
    says(
        "rsc_defaults target-role=Stopped\nprimitive x Dummy",
        "maintenance = true",
    );
    says_not(
        "rsc_defaults target-role=Stopped\nprimitive x Dummy meta target-role=Started",
        "maintenance = true",
    );
    says("rsc_defaults is-managed=false", "[cluster]\n");
    says("rsc_defaults is-managed=false", "maintenance = true");
    says("rsc_defaults zeal=1", "not translated: rsc_defaults zeal=1");
    says("op_defaults zeal=1", "not translated: op_defaults zeal=1");
}

#[test]
fn groups_and_clones() {
    says(&format!("{TWO}group g b a"), "[[group]]\nname = \"g\"\n");
    says(
        "group g x",
        "x in group g (crm:1): no primitive has this name",
    );
    says("group g x", "it has no member that was translated");
    says(
        &format!("{TWO}group g a b\ngroup h b"),
        "it is in another group",
    );
    says(
        "primitive x Dummy\nclone c x meta zeal=1",
        "not translated: clone c of x (crm:2, 1)",
    );
    says(
        "primitive x Dummy\nms m x",
        "let the service replicate by its own means",
    );
    says(
        &format!("{TWO}group g a b\nclone c g"),
        "clone c of g (a, b)",
    );
    says_not(&format!("{TWO}group g a b\nclone c g"), "[[group]]");
    says(
        "rsc_template t Dummy params a=1\nprimitive x @t params b=2",
        "params = { b = \"2\", a = \"1\" }",
    );
    says("rsc_template t Dummy", "no primitive uses it");
}

#[test]
fn a_colocation_and_an_order_make_one_group_whichever_follows() {
    for colocation in ["colocation c inf: a b", "colocation c INFINITY: b a"] {
        let text = translated(&with_two(&format!("{colocation}\norder o Mandatory: b a")));
        assert_eq!(text.matches("[[group]]").count(), 1, "{text}");
        let (b, a) = (text.find("name = \"b\""), text.rfind("name = \"a\""));
        assert!(b < a && b.is_some(), "{text}");
        assert!(
            !text.contains("[[colocation]]") && !text.contains("[[order]]"),
            "{text}"
        );
        assert!(
            text.contains("colocation c (crm:3) and order o (crm:4)"),
            "{text}"
        );
    }
}

#[test]
fn less_than_both_makes_no_group() {
    for constraints in [
        "colocation c inf: a b",
        "order o inf: a b",
        "colocation c 500: a b\norder o inf: a b",
        "colocation c -inf: a b\norder o inf: a b",
        "colocation c inf: a b\norder o 0: a b",
        "colocation c inf: a b\norder o inf: a b symmetrical=false",
        "colocation c inf: a b\norder o1 inf: a b\norder o2 inf: b a",
    ] {
        let text = translated(&with_two(constraints));
        assert_eq!(
            text.matches("[[group]]").count(),
            2,
            "{constraints}\n{text}"
        );
    }
}

#[test]
fn a_chain_of_ties_is_one_group_in_its_order() {
    let text = translated(
        "primitive c Dummy\nprimitive b Dummy\nprimitive a Dummy\n\
         colocation t inf: c b a\norder o inf: a b c\n",
    );
    let names: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("name = "))
        .collect();
    // The cluster, the group that is called like its last, its resources.
    assert_eq!(
        names[1..],
        [
            "name = \"c\"",
            "name = \"a\"",
            "name = \"b\"",
            "name = \"c\""
        ]
    );
}

#[test]
fn two_groups_stay_two_and_a_primitive_joins_one() {
    let text = "primitive a Dummy\nprimitive b Dummy\nprimitive c Dummy\ngroup g a\ngroup h b\n";
    let two = format!("{text}colocation x inf: h g\norder y inf: g h\n");
    says(
        &two,
        "[[colocation]]\ngroup = \"h\"\nwith = \"g\"\nscore = \"inf\"\n",
    );
    says(
        &two,
        "[[order]]\nfirst = \"g\"\nthen = \"h\"\nkind = \"mandatory\"\n",
    );
    let joined = translated(&format!("{text}colocation x inf: c g\norder y inf: g c\n"));
    assert_eq!(joined.matches("[[group]]").count(), 2, "{joined}");
    assert!(joined.contains("name = \"g\""), "{joined}");
}

#[test]
fn colocations() {
    says(
        &with_two("colocation c 500: a b"),
        "group = \"a\"\nwith = \"b\"\nscore = 500\n",
    );
    says(&with_two("colocation c -INFINITY: a b"), "score = \"-inf\"");
    says(&with_two("colocation c 0: a b"), "its score is 0");
    says(
        &with_two("colocation c pingd: a b"),
        "no score that can be told",
    );
    says(
        &with_two("colocation c inf: a:Master b"),
        "a is meant in the role Master",
    );
    says(
        &with_two("colocation c inf: a b node-attribute=rack"),
        "same rack",
    );
    says(
        &with_two("colocation c inf: a nobody"),
        "no resource has the name nobody",
    );
    says(
        &with_two("colocation c 5: a b zeal=1"),
        "attribute zeal=1 of colocation c",
    );
    says(
        &with_two("colocation c 5: a b\ncolocation d 6: a b"),
        "score = 11",
    );
    says(
        &with_two("colocation c 5: a b\ncolocation d 6: b a"),
        "each would follow the other",
    );
    says(
        &with_two("colocation c -inf: a b\ncolocation d -inf: b a"),
        "apart is apart",
    );
    says(
        &with_two("group g a b\ncolocation c inf: b a"),
        "kept by b and a being in this group",
    );
    says(
        &with_two("group g a b\ncolocation c -inf: b a"),
        "it contradicts the group",
    );
}

#[test]
fn orders() {
    says(
        &with_two("order o Mandatory: a b"),
        "first = \"a\"\nthen = \"b\"\nkind = \"mandatory\"\n",
    );
    says(&with_two("order o Optional: a b"), "kind = \"advisory\"");
    says(&with_two("order o 0: a b"), "kind = \"advisory\"");
    says(&with_two("order o a b"), "kind = \"mandatory\"");
    says(
        &with_two("order o Serialize: a b"),
        "starting at the same time",
    );
    says(&with_two("order o Sometimes: a b"), "no kind of order");
    says(
        &with_two("order o inf: a:promote b:start"),
        "it is about promote of a",
    );
    says(
        &with_two("order o inf: a:stop b:stop"),
        "it is about stop of a",
    );
    says(&with_two("order o inf: [ a b ] c"), "any one of several");
    says(
        &with_two("order o inf: a b symmetrical=false"),
        "also stopped, in reverse",
    );
    says(
        &with_two("order o inf: a b zeal=1"),
        "attribute zeal=1 of order o",
    );
    says(
        &with_two("order o inf: a b\norder p inf: b a"),
        "neither could start first",
    );
    says(
        &with_two("group g a b\norder o inf: b a"),
        "it contradicts the group",
    );
    says(
        &with_two("primitive x stonith:y\norder o inf: x a"),
        "x is not translated (crm:3)",
    );
}

#[test]
fn a_constraint_on_a_part_of_a_group_is_said_to_be_on_all_of_it() {
    let text = format!("{TWO}group g a b\nprimitive c Dummy\n");
    says(
        &format!("{text}colocation x 5: c a"),
        "about a alone, and is now about the whole group g",
    );
    says(
        &format!("{text}order x inf: c a"),
        "about a alone, and is now about the whole group g",
    );
    says_not(&format!("{text}order x inf: c g"), "alone");
}

#[test]
fn locations() {
    let with = |location: &str| format!("{NODES}primitive a Dummy\n{location}\n");
    says(
        &with("location l a 100: n1"),
        "group = \"a\"\nnode = \"n1\"\nscore = 100\n",
    );
    says(&with("location l a -inf: n2"), "score = \"-inf\"");
    says(
        &with("location l a 5: n1\nlocation m a 6: n1"),
        "score = 11",
    );
    says(
        &with("location l a rule 7: #uname eq n3"),
        "node = \"n3\"\nscore = 7\n",
    );
    says(
        &with("location l a rule $id=r 7: #uname ne n1 and #uname ne n2"),
        "node = \"n3\"\nscore = 7\n",
    );
    says(
        &with("location l a rule 7: #uname eq n1 or #uname eq n2"),
        "node = \"n2\"\nscore = 7\n",
    );
    says(
        &with("location l a rule pingd: defined pingd"),
        "no score that can be told",
    );
    says(
        &with("location l a rule 5: defined pingd"),
        "more than the node's name: defined pingd",
    );
    says(
        &with("location l a rule $role=Master 5: #uname eq n1"),
        "the role Master",
    );
    says(
        &with("location l a role=Master 5: n1"),
        "about the role Master",
    );
    says(&with("location l a 5: n9"), "no node has the name n9");
    says(
        &with("location l nobody 5: n1"),
        "no resource has the name nobody",
    );
    says(&with("location l /a.*/ 5: n1"), "whose names match /a.*/");
    says(&with("location l { a } 5: n1"), "node = \"n1\"");
    says(
        &with("location l a resource-discovery=never 5: n1"),
        "resource-discovery=never of location l",
    );
    says(&with("location l a zeal=1 5: n1"), "zeal=1 of location l");
    says(&with("location cli-ban-a a -inf: n1"), "crm resource move");
}

#[test]
fn an_opt_in_cluster_keeps_groups_from_all_other_nodes() {
    let text = format!(
        "{NODES}primitive a Dummy\nlocation l a 5: n1\nlocation m a 0: n2\nproperty symmetric-cluster=false\n"
    );
    says(&text, "node = \"n1\"\nscore = 5\n");
    says(&text, "node = \"n2\"\nscore = 0\n");
    says(&text, "node = \"n3\"\nscore = \"-inf\"\n");
}

#[test]
fn properties() {
    says("property maintenance-mode=true", "maintenance = true");
    says_not("property maintenance-mode=false", "maintenance = true");
    says("property cluster-name=x", "[cluster]\n");
    says("property cluster-name=x", "name = \"x\"");
    says("property no-quorum-policy=stop", "so it always is here");
    says(
        "property no-quorum-policy=ignore",
        "not translated: property no-quorum-policy=ignore",
    );
    says(
        "property stonith-enabled=true",
        "no fencing device is needed",
    );
    says("property zeal=1", "not translated: property zeal=1");
    says("property rule #uname eq a zeal=1", "zeal (under a rule)=1");
    says("property $id=empty", "it is empty");
    says(
        "property default-resource-stickiness=9\nprimitive a Dummy",
        "stickiness = 9",
    );
    says(
        "property default-action-timeout=9\nprimitive a Dummy",
        "start_timeout = \"9s\"",
    );
    says("property is-managed-default=false", "maintenance = true");
}

#[test]
fn statements_without_a_counterpart() {
    for (text, reason) in [
        ("rsc_ticket t T: a", "tickets join clusters"),
        ("fencing_topology a: b", "no fencing device is needed"),
        ("tag t: a b", "a name for several resources"),
        ("role r read xpath:/", "only root may command"),
        ("user u r", "only root may command"),
        ("acl_target u r", "only root may command"),
        ("acl_group u r", "only root may command"),
        ("alert a /bin/true", "alerts are hooks"),
        ("bundle b docker image=x", "runs containers"),
        (
            "xml <primitive id=\"x\" \\\n class='o'/>",
            "export all of it",
        ),
        ("schema 3.0", "version of Pacemaker's own syntax"),
        ("commit", "a command of the shell"),
    ] {
        says(text, reason);
        says(text, "# not translated: ");
    }
}

#[test]
fn nodes() {
    says("node a", "addresses = [\"ADDRESS-OF-a-ON-LINK-0\"]");
    says("node 7: a", "id = 7");
    says("node $id=7 a:normal", "id = 7");
    says("node $id=3232266753 a", "id = 1");
    says("node a standby=on", "heartbeat standby a");
    says("node a attributes standby=off", "so it is here");
    says(
        "node a attributes maintenance=on",
        "maintenance=on of node a",
    );
    says("node a zeal=1", "attribute zeal=1 of node a");
    says("node a utilization cpu=1", "utilization cpu=1 of a");
    says("node a:remote", "a node of type remote is no member");
}

#[test]
fn prompts_and_prefixes_of_the_shell_are_no_part_of_a_statement() {
    says("crm configure primitive a Dummy", "name = \"a\"");
    says("crm(live)configure# primitive a Dummy", "name = \"a\"");
}

/// A line that begins with `#` inside a statement may be the rest of a rule.
#[test]
fn comments_and_rules_begin_alike() {
    let text = format!(
        "{NODES}# a comment\nprimitive a Dummy\nlocation l a \\\n  rule 5: \\\n  # another\n  #uname eq n2\n"
    );
    says(&text, "node = \"n2\"\nscore = 5\n");
}

fn corosync(text: &str, resources: Option<&str>, options: &Options) -> String {
    let inputs = Inputs {
        corosync: input("conf", text),
        resources: resources.and_then(|text| input("crm", text)),
    };
    flat(&import(&inputs, options).expect("a good input").text)
}

const ONE_NODE: &str = "nodelist {\nnode {\nring0_addr: 10.0.0.1\nnodeid: 1\nname: n1\n}\n}\n";

#[test]
fn settings_of_corosync_are_remarked_upon_by_topic() {
    for (setting, reason) in [
        ("totem {\nversion: 2\n}", "corosync's own protocol"),
        ("totem {\ntoken: 3000\n}", "not derived from them"),
        ("totem {\nsecauth: on\n}", "heartbeat keygen"),
        ("totem {\ncrypto_hash: sha1\n}", "heartbeat keygen"),
        (
            "totem {\ninterface {\nmcastport: 5405\n}\n}",
            "corosync's own protocol",
        ),
        ("quorum {\ntwo_node: 1\n}", "refuses exactly two nodes"),
        (
            "quorum {\nexpected_votes: 3\n}",
            "each [[node]] has one vote",
        ),
        (
            "quorum {\ndevice {\nmodel: net\n}\n}",
            "make its host the witness",
        ),
        ("logging {\ndebug: on\n}", "HEARTBEAT_LOG"),
        ("service {\nname: pacemaker\n}", "no plugin to name"),
        ("nozzle {\nname: n\n}", "no network device of its links"),
        ("uidgid {\nuid: 1\n}", "tunes corosync's process"),
        ("zeal {\na: 1\n}", "no setting that this importer knows"),
    ] {
        let text = corosync(&format!("{setting}\n{ONE_NODE}"), None, &Options::default());
        assert!(text.contains(reason), "{reason:?} is not in\n{text}");
    }
}

#[test]
fn a_key_in_corosync_conf_is_not_repeated() {
    let text = corosync("totem {\nkey: sesame\n}\n", None, &Options::default());
    assert!(
        text.contains("totem key") && !text.contains("sesame"),
        "{text}"
    );
}

#[test]
fn interfaces_are_told_by_the_flag_by_an_address_or_guessed() {
    let address = "primitive ip IPaddr2 params ip=10.0.0.9 cidr_netmask=24 nic=bond7\n";
    let elsewhere = "primitive ip IPaddr2 params ip=10.0.1.9 cidr_netmask=24 nic=bond7\n";
    let named = Options {
        interfaces: vec!["ens9".to_owned()],
        builtin_vip: false,
    };
    for (resources, options, interface) in [
        (None, &Options::default(), "eth0"),
        (Some(address), &Options::default(), "bond7"),
        (Some(elsewhere), &Options::default(), "eth0"),
        (Some(address), &named, "ens9"),
    ] {
        let text = corosync(ONE_NODE, resources, options);
        let wanted = format!("[[link]]\ninterface = \"{interface}\"\n");
        assert!(text.contains(&wanted), "{wanted} is not in\n{text}");
    }
}

#[test]
fn nodes_without_names_get_pacemakers_by_id_or_in_order() {
    let conf = "nodelist {\nnode {\nring0_addr: 10.0.0.1\nnodeid: 2\n}\nnode {\nring0_addr: 10.0.0.2\nnodeid: 1\n}\n}\n";
    let by_id = corosync(conf, Some("node 1: x\nnode 2: y\n"), &Options::default());
    assert!(
        by_id.contains("name = \"y\"\nid = 2\naddresses = [\"10.0.0.1\"]"),
        "{by_id}"
    );
    let in_order = corosync(conf, Some("node x\nnode y\n"), &Options::default());
    assert!(
        in_order.contains("name = \"x\"\nid = 2\naddresses = [\"10.0.0.1\"]"),
        "{in_order}"
    );
    assert!(in_order.contains("taken in their order"), "{in_order}");
    let unknown = corosync(conf, Some("node x\n"), &Options::default());
    assert!(unknown.contains("not translated: node x"), "{unknown}");
    assert!(unknown.contains("does not name this node"), "{unknown}");
}

#[test]
fn two_nodes_get_a_witness_in_comments() {
    let conf = "nodelist {\nnode {\nring0_addr: 10.0.0.1\nnodeid: 1\nname: a\n}\nnode {\nring0_addr: 10.0.0.2\nnodeid: 2\nname: b\n}\n}\n";
    let text = corosync(conf, None, &Options::default());
    assert!(
        text.contains("#[[node]]\n#name = \"witness\"\n#id = 3\n#role = \"witness\"\n"),
        "{text}"
    );
    assert!(text.contains("heartbeat witness --iface eth0 --cluster cluster --id 3 --peer 1=10.0.0.1 --peer 2=10.0.0.2"), "{text}");
    let device = "quorum {\ndevice {\nmodel: net\nnet {\nhost: arbiter\n}\n}\n}\n";
    let text = corosync(&format!("{conf}{device}"), None, &Options::default());
    assert!(text.contains("#name = \"arbiter\""), "{text}");
}

fn builtin(params: &str) -> String {
    let inputs = Inputs {
        corosync: None,
        resources: input("crm", &format!("primitive ip IPaddr2 params {params}\n")),
    };
    let options = Options {
        interfaces: Vec::new(),
        builtin_vip: true,
    };
    flat(&import(&inputs, &options).expect("a good input").text)
}

#[test]
fn an_address_becomes_a_builtin_vip_if_that_can_do_the_same() {
    let same = builtin("ip=10.0.0.9 cidr_netmask=24 nic=eth1");
    assert!(
        same.contains("type = \"vip\"\naddress = \"10.0.0.9/24\"\ninterface = \"eth1\"\n"),
        "{same}"
    );
    let six = builtin("ip=fd00::9 cidr_netmask=64");
    assert!(six.contains("address = \"fd00::9/64\"\nmonitor"), "{six}");
    let dotted = builtin("ip=10.0.0.9 cidr_netmask=255.255.254.0");
    assert!(dotted.contains("address = \"10.0.0.9/23\""), "{dotted}");
    for (params, why) in [
        ("ip=10.0.0.9", "without cidr_netmask"),
        ("ip=name cidr_netmask=24", "not an address"),
        ("ip=10.0.0.9 cidr_netmask=33", "cidr_netmask=33"),
        (
            "ip=10.0.0.9 cidr_netmask=255.0.255.0",
            "cidr_netmask=255.0.255.0",
        ),
        ("ip=10.0.0.9 cidr_netmask=24 nic=eth0:1", "nic=eth0:1"),
        (
            "ip=10.0.0.9 cidr_netmask=24 clusterip_hash=sourceip",
            "clusterip_hash=sourceip",
        ),
        (
            "ip=10.0.0.9 cidr_netmask=24 lvs_support=true",
            "lvs_support=true",
        ),
    ] {
        let text = builtin(params);
        assert!(text.contains("type = \"ocf:heartbeat:IPaddr2\""), "{text}");
        assert!(text.contains(why), "{why:?} is not in\n{text}");
    }
}
