//! Constraints: colocations, orders and locations.

use super::{NODES, TWO, says, says_not, translated, with_two};

#[test]
fn colocation_and_an_order_make_one_group_whichever_follows() {
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
fn chain_of_ties_is_one_group_in_its_order() {
    let text = translated(
        "primitive c Dummy\nprimitive b Dummy\nprimitive a Dummy\n\
         colocation t inf: c b a\norder o inf: a b c\n",
    );
    let names: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("name = "))
        .collect();
    // The cluster, the group with the name of its last resource, its resources.
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
    says(&with_two("colocation c 0: a b"), "the score is 0");
    says(
        &with_two("colocation c pingd: a b"),
        "known only while Pacemaker runs",
    );
    says(
        &with_two("colocation c inf: a:Master b"),
        "applies to a in the role Master",
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
        "each group would follow the other",
    );
    says(
        &with_two("colocation c -inf: a b\ncolocation d -inf: b a"),
        "reversed, so that",
    );
    says(
        &with_two("group g a b\ncolocation c inf: b a"),
        "holds because b and a are in this group",
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
        "a start at the same time",
    );
    says(&with_two("order o Sometimes: a b"), "not a kind of order");
    says(
        &with_two("order o inf: a:promote b:start"),
        "orders the action promote of a",
    );
    says(
        &with_two("order o inf: a:stop b:stop"),
        "orders the action stop of a",
    );
    says(&with_two("order o inf: [ a b ] c"), "any one of several");
    says(
        &with_two("order o inf: a b symmetrical=false"),
        "also stops them in reverse",
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
fn constraint_on_a_part_of_a_group_is_said_to_be_on_all_of_it() {
    let text = format!("{TWO}group g a b\nprimitive c Dummy\n");
    says(
        &format!("{text}colocation x 5: c a"),
        "constrains a alone; here the constraint applies to the whole group g",
    );
    says(
        &format!("{text}order x inf: c a"),
        "constrains a alone; here the constraint applies to the whole group g",
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
        "known only while Pacemaker runs",
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
        "applies to the role Master",
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
fn opt_in_cluster_keeps_groups_from_all_other_nodes() {
    let text = format!(
        "{NODES}primitive a Dummy\nlocation l a 5: n1\nlocation m a 0: n2\n\
         property symmetric-cluster=false\n"
    );
    says(&text, "node = \"n1\"\nscore = 5\n");
    says(&text, "node = \"n2\"\nscore = 0\n");
    says(&text, "node = \"n3\"\nscore = \"-inf\"\n");
}

/// A line that begins with `#` inside a statement may be the rest of a rule.
#[test]
fn comments_and_rules_begin_alike() {
    let text = format!(
        "{NODES}# a comment\nprimitive a Dummy\n\
         location l a \\\n  rule 5: \\\n  # another\n  #uname eq n2\n"
    );
    says(&text, "node = \"n2\"\nscore = 5\n");
}
