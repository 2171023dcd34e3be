//! Unreadable inputs are refused, with the file, the line, the text and a remedy.

use heartbeat_import::{ImportError, Inputs, Options, import};

use super::{input, resources};

fn corosync(text: &str) -> ImportError {
    let inputs = Inputs {
        corosync: input("corosync.conf", text),
        resources: None,
    };
    import(&inputs, &Options::default()).expect_err("a bad input")
}

/// Line, message and text of the error for bad resources.
#[track_caller]
fn refused(text: &str, line: usize, message: &str, shown: &str) {
    let error = resources(text).expect_err("a bad input");
    assert_eq!(
        (error.place.line, &*error.place.file),
        (line, "crm"),
        "{error}"
    );
    assert!(error.message.contains(message), "{error}");
    assert!(error.text.contains(shown), "{error}");
    assert!(!error.remedy.is_empty());
}

#[test]
fn error_reads_as_a_sentence_with_its_place() {
    let error = resources("node a\n\nprimitve x Dummy\n").expect_err("a bad keyword");
    assert_eq!(
        error.to_string(),
        "crm:3: no statement begins with \"primitve\": `primitve x Dummy`\n  this is not the \
         syntax of `crm configure show`; is a `\\` missing at the end of the line above?"
    );
}

#[test]
fn broken_statements_are_told_by_line_and_text() {
    refused(
        "primitive\n",
        1,
        "name of the resource is missing",
        "primitive",
    );
    refused(
        "primitive x\n",
        1,
        "resource agent is missing",
        "primitive x",
    );
    refused("primitive x a=b\n", 1, "not a resource agent", "a=b");
    refused(
        "primitive x Dummy \\\n params ip\n",
        2,
        "\"ip\" is not an attribute",
        "params ip",
    );
    refused("primitive x Dummy op\n", 1, "operation is missing", "op");
    refused(
        "primitive x Dummy op interval=1\n",
        1,
        "operation is missing",
        "interval=1",
    );
    refused("group g\n", 1, "has no members", "group g");
    refused("clone c\n", 1, "resource to clone is missing", "clone c");
    refused("node\n", 1, "name of the node is missing", "node");
    refused(
        "node 1: standby=on\n",
        1,
        "name of the node is missing",
        "standby",
    );
    refused("node a standby\n", 1, "not an attribute", "standby");
    refused("colocation c inf: a\n", 1, "needs two resources", "inf: a");
    refused("order o inf: ( a b\n", 1, "not closed", "( a b");
    refused("order o inf: ( a ( b ) )\n", 1, "cannot be nested", "( a (");
    refused("order o inf: a ) b\n", 1, "no set is open", "a )");
    refused(
        "location l r\n",
        1,
        "has no score and no rule",
        "location l r",
    );
    refused("location l r 100:\n", 1, "the node is missing", "100:");
    refused(
        "location l r rule 1: #uname eq a and\n",
        1,
        "the rule lacks a term",
        "and",
    );
    refused("location l { a b 100: x\n", 1, "brace", "{ a b");
    refused(
        "property stonith-enabled\n",
        1,
        "not an attribute",
        "stonith-enabled",
    );
    refused(
        "node a\nprimitive x Dummy \\\n params a=\"b\n",
        3,
        "not closed",
        "a=\"b",
    );
}

#[test]
fn name_belongs_to_one_resource() {
    refused(
        "primitive x Dummy\nnode a\ngroup x x\n",
        3,
        "in use since line 1",
        "x",
    );
}

#[test]
fn broken_xml_is_told_by_line_and_text() {
    refused(
        "<cib>\n<configuration>\n</cib>\n",
        3,
        "not well-formed",
        "</cib>",
    );
    refused(
        "<html>\n</html>\n",
        1,
        "not a configuration of Pacemaker",
        "<html>",
    );
    refused(
        "<cib><configuration><resources>\n<primitive id='x' class='ocf'/>\n\
         </resources></configuration></cib>",
        2,
        "no attribute \"type\"",
        "<primitive",
    );
    refused(
        "<cib><configuration><constraints>\n\n\
         <rsc_order id='o' first='a'/></constraints></configuration></cib>",
        3,
        "no attribute \"then\"",
        "<rsc_order",
    );
    // No entity is expanded: a short file could become an endless one.
    refused(
        "<!DOCTYPE cib [<!ENTITY a \"b\">]>\n<cib>&a;</cib>",
        1,
        "not well-formed",
        "",
    );
}

#[test]
fn broken_corosync_conf_is_told_by_line_and_text() {
    for (text, line, message) in [
        (
            "totem {\n version 2\n}\n",
            2,
            "expected a section or a setting",
        ),
        ("totem {\n version: 2\n", 1, "not closed"),
        ("}\n", 1, "no section is open"),
        ("a b {\n}\n", 1, "not the name of a section"),
        ("totem { version: 2 }\n", 1, "not a setting"),
        (
            "a{\nb{\nc{\nd{\ne{\nf{\ng{\nh{\ni{\n",
            9,
            "nested too deeply",
        ),
    ] {
        let error = corosync(text);
        assert_eq!(error.place.line, line, "{error}");
        assert!(error.message.contains(message), "{error}");
        assert!(error.to_string().starts_with("corosync.conf:"), "{error}");
    }
}

#[test]
fn key_is_not_shown_where_the_line_with_it_is_wrong() {
    let error = corosync("totem {\n key 00112233445566778899aabbccddeeff0011\n}\n");
    assert!(!error.to_string().contains("0011223344"), "{error}");
}
