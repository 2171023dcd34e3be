//! Bad files, one mistake each, and what must be said about it.

use super::{complaint, with};

/// The text to replace in `GOOD`, its replacement, and pieces of the expected message.
pub(super) type Case = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const SYNTAX: &[Case] = &[
    ("name = \"web\"", "name = web",
     &["hb.toml:2:8: not valid TOML: string values must be quoted", "`name = web`",
       "double quotes"]),
    ("name = \"web\"", "name = \"web\"\ninterval = 10ms",
     &["hb.toml:3:12:", "`interval = 10ms`", "interval = \"10ms\""]),
    ("name = \"web\"", "name: web", &["hb.toml:2:5:", "`name: web`", "`name = value`"]),
    ("name = \"web\"", "name = \"web\"\nname = \"x\"",
     &["hb.toml:3:1:", "duplicate key", "keep one of the two"]),
    ("[[node]]", "[node]", &["hb.toml:9:3: not valid TOML: duplicate key: `[[node]]`"]),
    ("[cluster]", "[cluster", &["hb.toml:1:9:", "unclosed table", "`[cluster`"]),
    ("name = \"web\"", "key = 00112233445566778899aabbccddeeff",
     &["hb.toml:2:7:", "`key = <hidden>`"]),
];

#[rustfmt::skip]
const FIELDS: &[Case] = &[
    ("name = \"web\"", "",
     &["hb.toml:1:1: [cluster]: `name` is missing", "\n  add it, as in name = \"web\""]),
    ("name = \"web\"", "name = 3",
     &["hb.toml:2:8: [cluster]: name must be a quoted string; got the integer 3"]),
    ("name = \"web\"", "name = \"a b\"",
     &["hb.toml:2:8: [cluster]: name \"a b\" is not a usable name", "1 to 64"]),
    ("name = \"web\"", "name = \"web\"\nintervall = \"1ms\"",
     &["hb.toml:3:1: [cluster]: unknown field `intervall`", "did you mean `interval`?"]),
    ("name = \"web\"", "name = \"web\"\ncolour = 1",
     &["unknown field `colour`", "known here: name, id, node, instance, key"]),
    ("name = \"web\"", "name = \"web\"\nid = 0",
     &["hb.toml:3:6: [cluster]: id 0 is not from 1 to 4294967295"]),
    ("name = \"web\"", "name = \"web\"\nid = 0x1_0000_0000", &["is not from 1 to 4294967295"]),
    ("name = \"web\"", "name = \"web\"\nport = 65536",
     &["hb.toml:3:8: [cluster]: port 65536 is not from 1 to 65535"]),
    ("name = \"web\"", "name = \"web\"\nport = -1", &["port -1 is not from 1"]),
    ("name = \"web\"", "name = \"web\"\nport = \"694\"",
     &["port must be an integer; got a string", "port = 694"]),
    ("name = \"web\"", "name = \"web\"\ninstance = \"A\"",
     &["instance \"A\" is not a usable instance name", "lower-case"]),
    ("name = \"web\"", "name = \"web\"\nkey = \"key\"",
     &["hb.toml:3:7: [cluster]: key \"key\" is not an absolute path"]),
    ("name = \"web\"", "name = \"web\"\nkey = \"00112233445566778899aabbccddeeff\"",
     &["key \"<hidden>\" is not an absolute path", "the key itself does not belong here"]),
    ("name = \"web\"", "name = \"web\"\ninterval = 10",
     &["interval must be a quoted string; got the integer 10", "interval = \"10ms\"",
       "with its unit"]),
    ("name = \"web\"", "name = \"web\"\ninterval = \"10\"",
     &["interval \"10\" has no unit", "us, ms, s, min"]),
    ("name = \"web\"", "name = \"web\"\ninterval = \"1.5s\"",
     &["interval \"1.5s\" is not a duration", "1500ms"]),
    ("name = \"web\"", "name = \"web\"\ninterval = \"999us\"",
     &["interval \"999us\" is below 1ms"]),
    ("name = \"web\"", "name = \"web\"\ninterval = \"11s\"", &["interval \"11s\" is above 10s"]),
    ("name = \"web\"", "name = \"web\"\ntimeout = \"61s\"", &["timeout \"61s\" is above 1min"]),
    ("name = \"web\"", "name = \"web\"\ntimeout = \"15ms\"",
     &["hb.toml:3:11: [cluster]: timeout 15ms is below two intervals, 20ms", "timeout = \"30ms\""]),
    ("name = \"web\"", "name = \"web\"\nagent_stall = \"20ms\"",
     &["agent_stall 20ms is below the timeout, 30ms", "agent_stall = \"30ms\""]),
    ("name = \"web\"", "name = \"web\"\nlease = 60",
     &["hb.toml:3:9: [cluster]: lease must be a quoted string; got the integer 60",
       "lease = \"60ms\": a number with its unit"]),
    ("name = \"web\"", "name = \"web\"\nlease = \"2ms\"",
     &["hb.toml:3:9: [cluster]: lease \"2ms\" is below 3ms\n  write 3ms or more"]),
    ("name = \"web\"", "name = \"web\"\nlease = \"61s\"", &["lease \"61s\" is above 1min"]),
    ("name = \"web\"", "name = \"web\"\nlease = \"29ms\"",
     &["hb.toml:3:9: [cluster]: lease 29ms is below three intervals, 30ms: a lease must outlive \
        two lost renewals\n  write lease = \"60ms\" (six intervals) or more, or shorten the \
        interval"]),
    ("name = \"web\"", "name = \"web\"\nmax_lease = \"59ms\"",
     &["hb.toml:3:13: [cluster]: max_lease 59ms is below the lease, 60ms: no node would grant \
        it\n  write max_lease = \"60ms\" or more, or shorten the lease"]),
    ("name = \"web\"", "name = \"web\"\nmax_lease = \"2min\"",
     &["max_lease \"2min\" is above 1min"]),
    ("name = \"web\"", "name = \"web\"\ndrift = 0",
     &["hb.toml:3:9: [cluster]: drift 0 is not from 1 to 100000\n  write a number within, as in \
        drift = 1000"]),
    ("name = \"web\"", "name = \"web\"\ndrift = 100001", &["drift 100001 is not from 1 to 100000"]),
    ("name = \"web\"", "name = \"web\"\ndrift = 0.1",
     &["drift must be an integer; got the float 0.1"]),
    ("name = \"web\"", "name = \"web\"\nauto_failback = \"no\"",
     &["hb.toml:3:17: [cluster]: auto_failback must be a boolean; got a string\n  write it as in \
        auto_failback = true"]),
    ("[cluster]", "[paths]\nrun = \"run\"\n[cluster]",
     &["hb.toml:2:7: [paths]: run \"run\" is not an absolute path"]),
    ("[cluster]", "[realtime]\npriority = 100\n[cluster]",
     &["[realtime]: priority 100 is not from 0 to 99"]),
    ("[cluster]", "[[cluster]]",
     &["hb.toml:1:1: cluster must be a table; got an array", "write it as in [cluster]"]),
    ("[[link]]", "[link]",
     &["hb.toml:3:1: link must be a list of tables; got a table", "[[link]], with two brackets"]),
    ("interface = \"eth1\"", "interface = \"eth1\"\nmode = \"nativ\"",
     &["hb.toml:5:8: link 0: mode \"nativ\" is no XDP mode", "did you mean \"native\"?"]),
    ("interface = \"eth1\"", "interface = \"eth1\"\nmode = \"hardware\"",
     &["use one of auto, native, skb"]),
    ("interface = \"eth1\"", "", &["hb.toml:3:1: link 0: `interface` is missing"]),
    ("interface = \"eth1\"", "interface = \"sixteen-letters-\"",
     &["interface \"sixteen-letters-\" is not an interface name", "1 to 15"]),
    ("interface = \"eth1\"", "interface = \"eth 1\"", &["leave out spaces"]),
    ("name = \"b\"", "", &["hb.toml:9:1: node number 2: `name` is missing"]),
    ("id = 2", "id = 0", &["hb.toml:11:6: node \"b\": id 0 is not from 1 to 65535"]),
    ("id = 2", "id = 2\nrole = \"witnes\"",
     &["hb.toml:12:8: node \"b\": role \"witnes\" is no role\n  did you mean \"witness\"?"]),
    ("id = 2", "id = 2\nrole = \"arbiter\"",
     &["role \"arbiter\" is no role\n  use one of member, witness"]),
    ("id = 2", "", &["node \"b\": `id` is missing", "id = 1"]),
    ("\"10.0.0.2\"", "\"10.0.0\"",
     &["hb.toml:12:14: node \"b\": address \"10.0.0\" is not an IP address",
       "host names are not looked up"]),
    ("\"10.0.0.2\"", "\"10.0.0.2/24\"", &["leave out the prefix length"]),
    ("\"10.0.0.2\"", "\"127.0.0.1\"", &["is unspecified, multicast, loopback or broadcast"]),
    ("\"10.0.0.2\"", "\"fe80::1\"", &["is link-local"]),
    ("\"10.0.0.2\"", "\"::ffff:10.0.0.2\"",
     &["is an IPv4 address in disguise", "write \"10.0.0.2\""]),
    ("\"10.0.0.2\"", "2", &["address must be a quoted string; got the integer 2"]),
    ("[\"10.0.0.2\"]", "\"10.0.0.2\"",
     &["address must be an array of strings; got a string", "addresses = [\"10.0.0.1\"]"]),
    ("addresses = [\"10.0.0.2\"]", "", &["node \"b\": `addresses` is missing"]),
    ("10.0.0.100/24", "10.0.0.100/",
     &["hb.toml:19:11: vip \"site\": address", "`/` is not a prefix length from 1 to 32"]),
    ("10.0.0.100/24", "10.0.0.300",
     &["`10.0.0.300` is not an IP address", "with the length of its subnet or without"]),
    ("10.0.0.100/24", "::ffff:10.0.0.2", &["is an IPv4 address in disguise"]),
    ("10.0.0.100/24", "10.0.0.100/33", &["is not a prefix length from 1 to 32"]),
    ("10.0.0.100/24", "127.0.0.100/8",
     &["address \"127.0.0.100/8\": `127.0.0.100` cannot be served"]),
    ("10.0.0.100/24", "::1/128",
     &["`::1` cannot be served: it is unspecified, multicast, loopback or broadcast"]),
    ("10.0.0.100/24", "224.0.0.18/24", &["`224.0.0.18` cannot be served"]),
    ("10.0.0.100/24", "10.0.0.255/24",
     &["address \"10.0.0.255/24\" is the subnet's own or its broadcast address"]),
    ("prefer = [\"c\"]", "perfer = [\"c\"]",
     &["hb.toml:20:1: vip \"site\": unknown field `perfer`", "did you mean `prefer`?"]),
    ("\"takeover\"", "\"takover\"",
     &["hb.toml:22:6: hook number 1: on \"takover\" is no event", "did you mean \"takeover\"?"]),
    ("\"takeover\"", "[\"release\", \"release\"]",
     &["hb.toml:22:18: hook number 1: on \"release\" is listed twice"]),
    ("\"takeover\"", "[]", &["on is empty", "peer-down"]),
    ("on = \"takeover\"", "", &["hook number 1: `on` is missing"]),
    ("[\"/bin/true\", \"x\"]", "[]", &["hb.toml:23:8: hook number 1: exec is empty"]),
    ("\"/bin/true\"", "\"true\"",
     &["hb.toml:23:9: hook number 1: exec \"true\" is not an absolute path", "there is no shell"]),
    ("\"x\"]", "\"x\\u0000\"]", &["hb.toml:23:22: hook number 1: exec \"x\\u{0}\" holds a NUL"]),
    ("on = \"takeover\"", "on = \"takeover\"\ntimeout = \"99ms\"",
     &["timeout \"99ms\" is below 100ms"]),
    ("[[hook]]", "[[hooks]]", &["hb.toml:21:3: unknown field `hooks`", "did you mean `hook`?"]),
];

#[rustfmt::skip]
const MEANING: &[Case] = &[
    ("10.0.0.2", "10.0.0.1",
     &["hb.toml:12:14: node \"b\": address \"10.0.0.1\" is already used by node \"a\" (line 8)\n  \
        give each node its own address on link 0"]),
    ("name = \"b\"", "name = \"a\"",
     &["hb.toml:10:8: node \"a\": name \"a\" is already used by node \"a\" (line 6)"]),
    ("id = 2", "id = 1",
     &["hb.toml:11:6: node \"b\": id 1 is already used by node \"a\" (line 7)"]),
    ("\"10.0.0.2\"", "\"fd00::2\"",
     &["hb.toml:12:14: node \"b\": address \"fd00::2\" is IPv6, but link 0 is IPv4 since node \
        \"a\" (line 8)", "use IPv4 on link 0"]),
    ("\"10.0.0.2\"", "\"10.0.0.2\", \"10.0.0.3\"",
     &["hb.toml:12:13: node \"b\": addresses has length 2, but the number of links is 1"]),
    ("id = 2", "id = 2\ninterfaces = []",
     &["node \"b\": interfaces has length 0", "list one interface for each [[link]]"]),
    ("[[node]]", "[[link]]\ninterface = \"eth1\"\n[[node]]",
     &["hb.toml:6:13: link 1: interface \"eth1\" is already used by link 0 (line 4)",
       "addresses has length 1, but the number of links is 2"]),
    ("[[hook]]", "[[vip]]\nname = \"site\"\naddress = \"10.0.0.101/24\"\n[[hook]]",
     &["hb.toml:22:8: vip \"site\": name \"site\" is already used by vip \"site\" (line 18)"]),
    ("[[hook]]", "[[vip]]\nname = \"x\"\naddress = \"10.0.0.100/32\"\n[[hook]]",
     &["hb.toml:23:11: vip \"x\": address \"10.0.0.100\" is already used by vip \"site\" (line \
        19)"]),
    ("10.0.0.100/24", "10.0.0.3/24",
     &["hb.toml:19:11: vip \"site\": address \"10.0.0.3\" is node \"c\"'s own"]),
    ("prefer = [\"c\"]", "prefer = [\"c\", \"x\"]",
     &["hb.toml:20:16: vip \"site\": prefer \"x\": no node has this name", "known: a, b, c"]),
    ("id = 3", "id = 3\nrole = \"witness\"",
     &["hb.toml:21:11: vip \"site\": prefer \"c\": this node is a witness, which serves nothing\n  \
        leave it out, or remove role = \"witness\" from the node"]),
    ("[[vip]]\nname = \"site\"",
     "[[vip]]\nname = \"web38\"\naddress = \"10.0.0.99/24\"\n[[vip]]\nname = \"web76\"",
     &["hb.toml:21:8: vip \"web76\": group id 60397, which is made of the name, is already used by \
        vip \"web38\" (line 18)\n  rename one of the two"]),
    ("prefer = [\"c\"]", "prefer = [\"c\", \"c\"]",
     &["vip \"site\": prefer \"c\" is listed twice"]),
];

/// `text` makes a file of what is replaced by what.
pub(super) fn assert_said(cases: &[Case], text: impl Fn(&str, &str) -> String) {
    for (from, to, expected) in cases {
        let said = complaint(&text(from, to));
        for part in *expected {
            assert!(said.contains(part), "`{to}`: no `{part}` in\n{said}");
        }
        assert!(!said.contains("0011223344"), "{said}");
    }
}

#[test]
fn invalid_toml_is_shown_with_its_line() {
    assert_said(SYNTAX, with);
}

#[test]
fn bad_field_is_named_with_its_place_and_remedy() {
    assert_said(FIELDS, with);
}

#[test]
fn contradicting_settings_are_named_with_both_places() {
    assert_said(MEANING, with);
}

#[test]
fn mistake_is_reported_once() {
    // Where one mistake makes others likely, only the first is worth reading.
    for (from, to, _) in FIELDS {
        let said = complaint(&with(from, to));
        assert!(said.lines().count() <= 2, "`{to}`:\n{said}");
    }
    // Two VIPs of one name have one group id, too.
    let twice = "[[vip]]\nname = \"site\"\naddress = \"10.0.0.99/24\"\n[[vip]]";
    let said = complaint(&with("[[vip]]", twice));
    assert_eq!(said.lines().count(), 2, "{said}");
}
