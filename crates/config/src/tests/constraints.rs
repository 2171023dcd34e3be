//! Constraints: what they mean, and how those that cannot all be kept are named.

use heartbeat_common::wire::NodeId;
use heartbeat_core::{index::GroupIndex, placement::Score};

use super::{
    super::{Colocation, Config, Order},
    GOOD, complaint, parse,
};

/// Groups `web`, `db`, `cache` and `mail` from line 24, and `constraints` from line 44.
fn with_constraints(constraints: &str) -> String {
    let group = |name: &str| {
        format!(
            "[[group]]\nname = \"{name}\"\n[[group.resource]]\nname = \"{name}-x\"\n\
             type = \"systemd:{name}\"\n"
        )
    };
    let groups = ["web", "db", "cache", "mail"].map(group).concat();
    format!("{GOOD}{groups}{constraints}")
}

fn constrained(constraints: &str) -> Config {
    parse(&with_constraints(constraints)).unwrap()
}

fn refused(constraints: &str) -> String {
    complaint(&with_constraints(constraints))
}

fn location(group: &str, node: &str, score: &str) -> String {
    format!("[[location]]\ngroup = \"{group}\"\nnode = \"{node}\"\nscore = {score}\n")
}

fn colocation(group: &str, with: &str, score: &str) -> String {
    format!("[[colocation]]\ngroup = \"{group}\"\nwith = \"{with}\"\nscore = {score}\n")
}

fn order(first: &str, then: &str) -> String {
    format!("[[order]]\nfirst = \"{first}\"\nthen = \"{then}\"\n")
}

#[test]
fn constraints_are_what_the_file_says() {
    let text = location("web", "a", "100")
        + &location("web", "b", "\"-INFINITY\"")
        + &location("site", "c", "inf")
        + &colocation("web", "db", "-1000000")
        + "[[colocation]]\ngroup = \"cache\"\nwith = \"web\"\n"
        + &colocation("mail", "web", "-7")
        + &order("db", "web")
        + &order("mail", "web")
        + "kind = \"advisory\"\n";
    let config = constrained(&text);
    assert_eq!(config.warnings, []);
    let locations = |name: &str| &config.group_named(name).unwrap().locations[..];
    assert_eq!(
        locations("web"),
        [(NodeId(1), Score::new(100)), (NodeId(2), Score::NEVER)]
    );
    assert_eq!(locations("site"), [(NodeId(3), Score::MUST)]);
    assert_eq!(locations("db"), []);
    let colocation = |group, with, score| Colocation { group, with, score };
    assert_eq!(
        config.colocations,
        [
            colocation(GroupIndex(1), GroupIndex(2), Score::NEVER),
            colocation(GroupIndex(3), GroupIndex(1), Score::MUST),
            colocation(GroupIndex(4), GroupIndex(1), Score::new(-7)),
        ]
    );
    let order = |first, then, mandatory| Order {
        first,
        then,
        mandatory,
    };
    assert_eq!(
        config.orders,
        [
            order(GroupIndex(2), GroupIndex(1), true),
            order(GroupIndex(4), GroupIndex(1), false)
        ]
    );
}

#[test]
fn constraints_that_can_be_kept_are_accepted() {
    // Started one after the other, on different nodes.
    let apart = order("db", "web") + &colocation("web", "db", "\"-inf\"");
    assert_eq!(constrained(&apart).warnings, []);
    // The first on either way, which is no circle.
    let diamond = order("db", "web")
        + &order("db", "cache")
        + &order("web", "mail")
        + &order("cache", "mail");
    assert_eq!(constrained(&diamond).orders.len(), 4);
    let advice = colocation("web", "db", "\"inf\"")
        + &colocation("web", "cache", "5")
        + &colocation("cache", "db", "-5");
    assert_eq!(constrained(&advice).colocations.len(), 3);
    let one_left = location("web", "a", "\"-inf\"")
        + &location("db", "b", "\"-inf\"")
        + &colocation("web", "db", "\"inf\"");
    assert_eq!(constrained(&one_left).warnings, []);
}

#[test]
fn bad_constraint_is_named_with_its_place_and_remedy() {
    let cases = [
        (
            location("wbe", "a", "1"),
            "hb.toml:45:9: location number 1: group \"wbe\": no group has this name\n  did you \
             mean \"web\"?",
        ),
        (
            location("web", "x", "1"),
            "hb.toml:46:8: location number 1: node \"x\": no node has this name\n  known: a, b, c",
        ),
        (
            location("web", "a", "1.5"),
            "hb.toml:47:9: location number 1: score 1.5 is no whole number from -1000000 to \
             1000000",
        ),
        (
            location("web", "a", "-1000001"),
            "score -1000001 is no whole number",
        ),
        (
            location("web", "a", "\"much\""),
            "score \"much\" is no whole number",
        ),
        (
            location("web", "a", "1").replace("score = 1\n", ""),
            "hb.toml:44:1: location number 1: `score` is missing",
        ),
        (
            location("web", "a", "1").replace("node", "nod"),
            "unknown field `nod`\n  did you mean `node`?",
        ),
        (
            location("web", "a", "1") + &location("web", "a", "2"),
            "hb.toml:48:1: location number 2: the pair of group \"web\" and node \"a\" is already \
             used by location number 1 (line 44)\n  keep one of the two",
        ),
        (
            colocation("web", "x", "1"),
            "hb.toml:46:8: colocation number 1: with \"x\": no group has this name\n  known: site, \
             web, db, cache, mail",
        ),
        (
            colocation("web", "web", "1"),
            "hb.toml:46:8: colocation number 1: with \"web\" is its group, too\n  name two \
             different groups",
        ),
        (
            colocation("web", "db", "1") + &colocation("web", "db", "-1"),
            "hb.toml:48:1: colocation number 2: the pair of group \"web\" and with \"db\" is \
             already used by colocation number 1 (line 44)",
        ),
        (
            order("web", "x"),
            "hb.toml:46:8: order number 1: then \"x\": no group has this name",
        ),
        (
            order("web", "web"),
            "order number 1: then \"web\" is its first, too",
        ),
        (
            order("web", "db") + &order("web", "db"),
            "hb.toml:47:1: order number 2: the pair of first \"web\" and then \"db\" is already \
             used by order number 1 (line 44)",
        ),
        (
            order("web", "db") + "kind = \"optional\"\n",
            "hb.toml:47:8: order number 1: kind \"optional\" is no kind of order\n  use one of \
             mandatory, advisory",
        ),
        (
            order("web", "db").replace("then", "than"),
            "`then` is missing",
        ),
    ];
    for (constraints, expected) in cases {
        let said = refused(&constraints);
        assert!(said.contains(expected), "no `{expected}` in\n{said}");
    }
    let witness = with_constraints(&location("web", "a", "1")).replacen(
        "id = 1\n",
        "id = 1\nrole = \"witness\"\n",
        1,
    );
    let said = complaint(&witness);
    assert!(
        said.contains("hb.toml:47:8: location number 1: node \"a\": this node is a witness"),
        "{said}"
    );
}

#[test]
fn circles_are_named() {
    let round =
        order("web", "db") + &order("mail", "web") + &order("db", "cache") + &order("cache", "web");
    assert_eq!(
        refused(&round),
        "hb.toml:53:1: order: web → db → cache → web: each waits for the one before it, so that \
         none can be the first\n  remove or change one of the orders in lines 44, 50 and 53"
    );
    let back = colocation("web", "db", "5") + &colocation("db", "web", "-5");
    assert_eq!(
        refused(&back),
        "hb.toml:48:1: colocation: web → db → web: each looks where the next one is, so that none \
         can be placed first\n  remove or change one of the colocations in lines 44 and 48"
    );
    // Also the circle of those that only matter at times, since it can come to that.
    let advisory = order("web", "db") + "kind = \"advisory\"\n" + &order("db", "web");
    assert!(refused(&advisory).contains("order: web → db → web: "));
    // Two of them are two mistakes.
    let two = order("web", "db")
        + &order("db", "web")
        + &order("mail", "cache")
        + &order("cache", "mail");
    let said = refused(&two);
    assert!(
        said.contains("web → db → web: ") && said.contains("cache → mail → cache: "),
        "{said}"
    );
    // Of no effect, so that it closes no circle.
    let none = colocation("web", "db", "5") + &colocation("db", "web", "0");
    assert_eq!(constrained(&none).colocations.len(), 2);
}

#[test]
fn groups_both_together_and_apart_are_named() {
    let torn = colocation("web", "db", "inf")
        + &colocation("cache", "db", "inf")
        + &colocation("mail", "db", "inf")
        + &colocation("web", "cache", "-inf");
    assert_eq!(
        refused(&torn),
        "hb.toml:56:1: colocation: web, db and cache must be together, but web and cache must be \
         apart\n  remove or change one of the colocations in lines 44, 48 and 56"
    );
    // A group cannot be with both of two that are apart.
    let between = colocation("web", "db", "inf")
        + &colocation("web", "cache", "inf")
        + &colocation("db", "cache", "-inf");
    assert!(
        refused(&between)
            .contains("db, web and cache must be together, but db and cache must be apart")
    );
    // The circle says it already.
    let both = colocation("web", "db", "inf") + &colocation("db", "web", "-inf");
    assert_eq!(refused(&both).lines().count(), 2);
}

#[test]
fn groups_that_can_be_nowhere_are_named() {
    let banned = ["a", "b", "c"]
        .map(|node| location("web", node, "-inf"))
        .concat();
    assert_eq!(
        refused(&banned),
        "hb.toml:52:1: location: web may be on no node: each member has the score -inf\n  remove \
         or change one of the locations in lines 44, 48 and 52"
    );
    let split = location("web", "a", "-inf")
        + &location("db", "b", "-inf")
        + &location("cache", "c", "-inf")
        + &colocation("web", "db", "inf")
        + &colocation("cache", "db", "inf");
    assert_eq!(
        refused(&split),
        "hb.toml:52:1: location: web, db and cache must be together, but no node may have them \
         all\n  remove or change one of the locations in lines 44, 48 and 52"
    );
    // Witnesses serve nothing, so the members alone count.
    let witness = with_constraints(&(location("web", "b", "-inf") + &location("web", "c", "-inf")))
        .replacen("id = 1\n", "id = 1\nrole = \"witness\"\n", 1);
    assert!(complaint(&witness).contains("location: web may be on no node"));
}
