//! Resources: classes, parameters, operations, meta attributes, groups.

use heartbeat_import::{Inputs, Options, import};

use super::{TWO, flat, input, says, says_not, translated};

#[test]
fn classes_of_agents() {
    says("primitive x IPaddr", "type = \"ocf:heartbeat:IPaddr\"");
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
    says("primitive x @none", "lacks its template none");
}

#[test]
fn exclusive_resource_waits_for_the_operators_decision() {
    const WAITS: &str = "name = \"x\"\n# to be decided: group x, for x (";
    for class in [
        "Filesystem",
        "Filesystem params fstype=ext4",
        "ocf:linbit:drbd",
        "ocf:heartbeat:LVM-activate",
        "pgsql",
        "VirtualDomain",
        "iSCSITarget",
        "systemd:postgresql@15-main",
        "systemd:data.mount",
        "lsb:mysql",
        "service:nfs-server",
    ] {
        let text = translated(&format!("primitive x {class}"));
        assert!(text.contains(WAITS), "{class}: {text}");
        assert!(
            text.contains("\n#accept_double_run = true\n"),
            "{class}: {text}"
        );
    }
    for class in [
        "Filesystem params fstype=nfs",
        "Filesystem params fstype=none options=bind",
        "apache",
        "IPaddr2 params ip=10.0.0.1",
        "systemd:nginx",
    ] {
        says_not(&format!("primitive x {class}"), "accept_double_run");
    }
}

#[test]
fn one_decision_for_a_group_names_all_that_is_exclusive_in_it() {
    let text =
        "primitive fs Filesystem\nprimitive web apache\nprimitive db mysql\ngroup g fs web db\n";
    let imported = super::super::resources(text).expect("a good input");
    let [decision] = &imported.decisions[..] else {
        panic!("{:?}", imported.decisions);
    };
    let what = "group g, for fs (ocf:heartbeat:Filesystem), db (ocf:heartbeat:mysql) (crm:1, 3)";
    assert_eq!(decision.what(), what);
    let said = decision.to_string();
    for part in [
        "another node starts it as soon as the lease has ended",
        "a file system that two nodes have mounted is destroyed, two servers on the same files",
        "remove the # below",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn parameters_are_kept_as_text_whatever_they_hold() {
    let text = translated(r#"primitive x Dummy params a="say \"hi\"" b='c:\d' c="" d.e=1"#);
    assert!(
        text.contains(r#"params = { a = "say \"hi\"", b = "c:\\d", c = "" }"#),
        "{text}"
    );
    // No variable of the environment has such a name.
    assert!(
        text.contains("# not translated: parameter d.e=1 of x"),
        "{text}"
    );
}

#[test]
fn secret_of_a_fencing_device_is_not_written_down() {
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
    says_not("primitive x Dummy", "monitor_interval");
    says_not(
        "primitive x Dummy op monitor interval=0",
        "monitor_interval =",
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
        "runs only start, stop and monitor",
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
        "utilization cpu=2 of group x",
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
fn stickiness_of_a_group_is_the_sum_over_its_resources() {
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
        "rsc_defaults o: resource-stickiness=5 migration-threshold=4 \
         failure-timeout=2min\nprimitive x Dummy",
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
    says("group g x", "it has no translated member");
    says(
        &format!("{TWO}group g a b\ngroup h b"),
        "the resource is in another group",
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

fn builtin(params: &str) -> String {
    let inputs = Inputs {
        corosync: None,
        resources: input("crm", &format!("primitive ip IPaddr2 params {params}\n")),
    };
    flat(
        &import(&inputs, &Options::default())
            .expect("a good input")
            .text,
    )
}

#[test]
fn address_becomes_a_builtin_vip_if_that_can_do_the_same() {
    let same = builtin("ip=10.0.0.9 cidr_netmask=24 nic=eth1");
    assert!(
        same.contains("type = \"vip\"\naddress = \"10.0.0.9/24\"\ninterface = \"eth1\"\n"),
        "{same}"
    );
    let six = builtin("ip=fd00::9 cidr_netmask=64");
    assert!(six.contains("address = \"fd00::9/64\"\n"), "{six}");
    let dotted = builtin("ip=10.0.0.9 cidr_netmask=255.255.254.0");
    assert!(dotted.contains("address = \"10.0.0.9/23\""), "{dotted}");
    for (params, why) in [
        ("ip=name cidr_netmask=24", "not an address"),
        ("ip=10.0.0.9 cidr_netmask=33", "cidr_netmask=33"),
        (
            "ip=10.0.0.9 cidr_netmask=255.0.255.0",
            "cidr_netmask=255.0.255.0",
        ),
        ("ip=10.0.0.9 cidr_netmask=24 nic=a/b", "nic=a/b"),
        ("ip=10.0.0.9 cidr_netmask=24 nic=lo", "on lo"),
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
