//! Nodes, networks, cluster options, and statements without a translation.

use heartbeat_import::{Inputs, Options, import};

use super::{flat, input, says, says_not};

#[test]
fn properties() {
    says("property maintenance-mode=true", "maintenance = true");
    says_not("property maintenance-mode=false", "maintenance = true");
    says("property cluster-name=x", "[cluster]\n");
    says("property cluster-name=x", "name = \"x\"");
    says("property no-quorum-policy=stop", "always so in heartbeat");
    says(
        "property no-quorum-policy=ignore",
        "not translated: property no-quorum-policy=ignore",
    );
    says("property stonith-enabled=true", "needs no fencing device");
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
        ("rsc_ticket t T: a", "tickets join the clusters"),
        ("fencing_topology a: b", "needs no fencing device"),
        ("tag t: a b", "a name for several resources"),
        ("role r read xpath:/", "only root may control"),
        ("user u r", "only root may control"),
        ("acl_target u r", "only root may control"),
        ("acl_group u r", "only root may control"),
        ("alert a /bin/true", "hooks replace alerts"),
        ("bundle b docker image=x", "runs containers"),
        (
            "xml <primitive id=\"x\" \\\n class='o'/>",
            "export the whole CIB",
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
    says("node a attributes standby=off", "the same in heartbeat");
    says(
        "node a attributes maintenance=on",
        "maintenance=on of node a",
    );
    says("node a zeal=1", "attribute zeal=1 of node a");
    says("node a utilization cpu=1", "utilization cpu=1 of node a");
    says("node a:remote", "a node of type remote is not a member");
}

#[test]
fn prompts_and_prefixes_of_the_shell_are_no_part_of_a_statement() {
    says("crm configure primitive a Dummy", "name = \"a\"");
    says("crm(live)configure# primitive a Dummy", "name = \"a\"");
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
        ("totem {\nversion: 2\n}", "corosync's own transport"),
        (
            "totem {\ntoken: 3000\n}",
            "not derived from corosync's times",
        ),
        ("totem {\nsecauth: on\n}", "heartbeat keygen"),
        ("totem {\ncrypto_hash: sha1\n}", "heartbeat keygen"),
        (
            "totem {\ninterface {\nmcastport: 5405\n}\n}",
            "corosync's own transport",
        ),
        ("quorum {\ntwo_node: 1\n}", "rejects a cluster of two nodes"),
        (
            "quorum {\nexpected_votes: 3\n}",
            "each [[node]] has one vote",
        ),
        (
            "quorum {\ndevice {\nmodel: net\n}\n}",
            "make its host the witness",
        ),
        ("logging {\ndebug: on\n}", "HEARTBEAT_LOG"),
        ("service {\nname: pacemaker\n}", "has no plugins"),
        ("nozzle {\nname: n\n}", "no network device for its links"),
        ("uidgid {\nuid: 1\n}", "tunes corosync's process"),
        ("zeal {\na: 1\n}", "the import does not know this setting"),
    ] {
        let text = corosync(&format!("{setting}\n{ONE_NODE}"), None, &Options::default());
        assert!(text.contains(reason), "{reason:?} is not in\n{text}");
    }
}

#[test]
fn key_in_corosync_conf_is_not_repeated() {
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
        keep_agents: false,
        ..Options::default()
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
    let conf = "nodelist {\nnode {\nring0_addr: 10.0.0.1\nnodeid: 2\n}\nnode {\n\
                ring0_addr: 10.0.0.2\nnodeid: 1\n}\n}\n";
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
    assert!(
        in_order.contains("matched Pacemaker's nodes in their order"),
        "{in_order}"
    );
    let unknown = corosync(conf, Some("node x\n"), &Options::default());
    assert!(unknown.contains("not translated: node x"), "{unknown}");
    assert!(unknown.contains("does not name this node"), "{unknown}");
}

#[test]
fn two_nodes_get_a_witness_in_comments() {
    let conf = "nodelist {\nnode {\nring0_addr: 10.0.0.1\nnodeid: 1\nname: a\n}\nnode {\n\
                ring0_addr: 10.0.0.2\nnodeid: 2\nname: b\n}\n}\n";
    let text = corosync(conf, None, &Options::default());
    assert!(
        text.contains("#[[node]]\n#name = \"witness\"\n#id = 3\n#role = \"witness\"\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "heartbeat witness --iface eth0 --cluster cluster --id 3 --peer \
             1=10.0.0.1 --peer 2=10.0.0.2"
        ),
        "{text}"
    );
    let device = "quorum {\ndevice {\nmodel: net\nnet {\nhost: arbiter\n}\n}\n}\n";
    let text = corosync(&format!("{conf}{device}"), None, &Options::default());
    assert!(text.contains("#name = \"arbiter\""), "{text}");
}
