//! The safety net below the reader: each unknown element and attribute gets a remark.

use roxmltree::Node as Xml;

use super::{Reader, children, is_statement};
use crate::model::{Model, Stray};

/// The attributes and elements that the reader uses in an element; `*` means all attributes.
const KNOWN: [(&str, &[&str], &[&str]); 19] = {
    const SETS: &[&str] = &["instance_attributes", "meta_attributes", "utilization"];
    const RESOURCE: &[&str] = &[
        "instance_attributes",
        "meta_attributes",
        "utilization",
        "operations",
    ];
    const PRIMITIVE: &[&str] = &["id", "class", "provider", "type", "template", "description"];
    const INNER: &[&str] = &[
        "instance_attributes",
        "meta_attributes",
        "utilization",
        "primitive",
        "group",
    ];
    const PAIRS: &[&str] = &["nvpair", "rule"];
    const SET: &[&str] = &["id", "id-ref", "score"];
    [
        ("primitive", PRIMITIVE, RESOURCE),
        ("template", PRIMITIVE, RESOURCE),
        ("group", &["id", "description"], INNER),
        ("clone", &["id", "description"], INNER),
        ("master", &["id", "description"], INNER),
        ("instance_attributes", SET, PAIRS),
        ("meta_attributes", SET, PAIRS),
        ("utilization", SET, PAIRS),
        ("cluster_property_set", SET, PAIRS),
        ("nvpair", &["id", "id-ref", "name", "value"], &[]),
        ("operations", &["id", "id-ref"], &["op"]),
        ("op", &["*"], SETS),
        ("node", &["*"], SETS),
        ("rsc_colocation", &["*"], &["resource_set", "lifetime"]),
        ("rsc_order", &["*"], &["resource_set", "lifetime"]),
        (
            "rsc_location",
            &["*"],
            &["resource_set", "lifetime", "rule"],
        ),
        ("resource_set", &["*"], &["resource_ref"]),
        ("resource_ref", &["id"], &[]),
        ("lifetime", &[], &["rule"]),
    ]
};
/// The parts of a constraint's rule that the reader uses, or reports as a whole.
const RULES: [(&str, &[&str], &[&str]); 3] = [
    (
        "rule",
        &[
            "id",
            "id-ref",
            "score",
            "score-attribute",
            "boolean-op",
            "role",
        ],
        &["expression", "date_expression", "rule"],
    ),
    (
        "expression",
        &[
            "id",
            "attribute",
            "operation",
            "value",
            "type",
            "value-source",
        ],
        &[],
    ),
    (
        "date_expression",
        &["id", "operation", "start", "end"],
        &["date_spec", "duration"],
    ),
];

impl Reader<'_> {
    pub(super) fn strays(&self, model: &mut Model, configuration: Xml<'_, '_>) {
        for statement in children(configuration).flat_map(children) {
            self.in_statement(model, statement);
        }
    }

    fn in_statement(&self, model: &mut Model, element: Xml<'_, '_>) {
        let name = element.tag_name().name();
        let mut known = KNOWN.iter().chain(&RULES).filter(|(of, ..)| *of == name);
        // An unknown element is reported as a whole, with its content.
        let Some((_, attributes, elements)) = known.next() else {
            return;
        };
        let within = element.ancestors().find(|above| is_statement(*above));
        let within = within.map_or_else(String::new, |statement| {
            let id = statement.attribute("id").or(statement.attribute("uname"));
            let kind = statement.tag_name().name().trim_start_matches("rsc_");
            format!("{kind} {}", id.unwrap_or_default())
        });
        let mut stray = |subject: String, at: Xml<'_, '_>| {
            let place = self.place(at);
            model.strays.push(Stray { subject, place });
        };
        for attribute in element.attributes() {
            // The reader of locations reports unknown parts of their own rules.
            let own = name == "rule" && element.parent_element().is_some_and(is_statement);
            let all = own || attributes.contains(&"*");
            let taken = all || attributes.contains(&attribute.name());
            if !taken {
                let (key, value) = (attribute.name(), attribute.value());
                stray(format!("{key}={value} of <{name}> in {within}"), element);
            }
        }
        let mut inner = Vec::new();
        for child in children(element) {
            let tag = child.tag_name().name();
            if elements.contains(&tag) || elements.contains(&"*") {
                inner.push(child);
            } else {
                stray(format!("<{tag}> in {within}"), child);
            }
        }
        for child in inner {
            // A rule of a set is reported by its name.
            let sets =
                child.has_tag_name("rule") && !name.starts_with("rsc_") && name != "lifetime";
            if !sets || name == "rule" {
                self.in_statement(model, child);
            }
        }
    }
}
