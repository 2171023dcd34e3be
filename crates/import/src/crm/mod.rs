//! Reads the crm shell's syntax: the output of `crm configure show`, and typed statements.
//!
//! `tokens` splits lines into statements and statements into words. `words` is the cursor over
//! them. `resources` and `constraints` parse the statements that are translated. The rest is kept
//! by name.

use super::{
    input::Input,
    model::{Attr, Attrs, Model, Node, Op, Statement},
    place::ImportError,
    tokens::{self, Line},
    words::{Words, attributes},
};

mod constraints;
mod resources;

pub(super) use constraints::condition;
pub(super) use resources::read_agent;

/// Statements that are parsed.
const STATEMENTS: [&str; 15] = [
    "node",
    "primitive",
    "rsc_template",
    "group",
    "clone",
    "ms",
    "master",
    "monitor",
    "colocation",
    "collocation",
    "order",
    "location",
    "property",
    "rsc_defaults",
    "op_defaults",
];
/// Statements whose only result is a remark.
const OTHERS: [&str; 11] = [
    "rsc_ticket",
    "fencing_topology",
    "tag",
    "role",
    "user",
    "acl_target",
    "acl_group",
    "alert",
    "bundle",
    "xml",
    "schema",
];
/// Commands of the shell that are no configuration.
const COMMANDS: [&str; 9] = [
    "commit", "verify", "exit", "quit", "bye", "end", "up", "save", "show",
];

pub(super) fn parse(input: &Input) -> Result<Model, ImportError> {
    let mut model = Model::default();
    for line in tokens::lines(input)? {
        read(&mut model, &line)?;
    }
    Ok(model)
}

/// Whether `word` may begin a statement.
pub(super) fn is_keyword(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let word = word.as_str();
    STATEMENTS.contains(&word) || OTHERS.contains(&word) || COMMANDS.contains(&word)
}

/// Reads the statement in `line`.
pub(super) fn read(model: &mut Model, line: &Line) -> Result<(), ImportError> {
    let mut words = Words::new(line);
    words.skip_prompt();
    let Some(keyword) = words.next() else {
        return Ok(());
    };
    let keyword = keyword.text.to_ascii_lowercase();
    let name = words.peek_text().unwrap_or_default();
    model.statements.push(Statement {
        place: line.place.clone(),
        what: format!("{keyword} {name}").trim().to_owned(),
    });
    statement(model, &keyword, words)
}

fn statement(model: &mut Model, keyword: &str, mut words: Words<'_>) -> Result<(), ImportError> {
    match keyword {
        "node" => model.nodes.push(node(words)?),
        "primitive" => model.primitives.push(resources::primitive(words)?),
        "rsc_template" => model.templates.push(resources::primitive(words)?),
        "group" => model.groups.push(resources::group(words)?),
        "clone" | "ms" | "master" => model.clones.push(resources::clone(keyword, words)?),
        "monitor" => model.monitors.push(monitor(words)?),
        "colocation" | "collocation" => model.colocations.push(constraints::colocation(words)?),
        "order" => model.orders.push(constraints::order(words)?),
        "location" => model.locations.push(constraints::location(words)?),
        "property" | "rsc_defaults" | "op_defaults" => {
            let attrs = set_of_attributes(&mut words)?;
            if attrs.is_empty() {
                model.others.push(words.other(keyword, String::new()));
            }
            match keyword {
                "property" => model.properties.0.extend(attrs),
                "rsc_defaults" => model.rsc_defaults.0.extend(attrs),
                _ => model.op_defaults.0.extend(attrs),
            }
        }
        _ if OTHERS.contains(&keyword) || COMMANDS.contains(&keyword) => {
            // Raw XML has no name that is a word.
            let id = if keyword == "xml" { None } else { words.next() };
            let id = id
                .map_or("", |word| word.text.trim_end_matches(':'))
                .to_owned();
            model.others.push(words.other(keyword, id));
        }
        _ => {
            return Err(words.wrong(
                format!("no statement begins with \"{keyword}\""),
                "this is not the syntax of `crm configure show`; is a `\\` missing at the end of \
                 the line above?",
            ));
        }
    }
    Ok(())
}

/// `property`, `rsc_defaults`, `op_defaults`. All attributes after a rule depend on it.
fn set_of_attributes(words: &mut Words<'_>) -> Result<Vec<Attr>, ImportError> {
    let mut attrs = Vec::new();
    let mut ruled = None;
    while let Some(word) = words.next() {
        if word.attribute().is_none() && word.text.ends_with(':') {
            continue;
        }
        if word.text == "rule" && !word.quoted {
            let rule = constraints::rule_text(words);
            attrs.push(Attr {
                name: "rule".to_owned(),
                value: rule.clone(),
                place: words.place_of(word),
            });
            ruled = Some(rule);
            continue;
        }
        let mut attr = words.as_attribute(word)?;
        if attr.name == "$id" {
            continue;
        }
        if ruled.is_some() {
            attr.name = format!("{} (under a rule)", attr.name);
        }
        attrs.push(attr);
    }
    Ok(attrs)
}

/// `node [ID:] NAME[:KIND] [attributes …] [utilization …]`, `node $id="ID" NAME …`.
fn node(mut words: Words<'_>) -> Result<Node, ImportError> {
    let place = words.line.place.clone();
    let mut id = None;
    let mut first = words.expect("the name of the node")?;
    if let Some(("$id", value)) = first.attribute() {
        id = Some(value.to_owned());
        first = words.expect("the name of the node")?;
    } else if let Some(number) = first.text.strip_suffix(':') {
        id = Some(number.to_owned());
        first = words.expect("the name of the node")?;
    }
    if first.attribute().is_some() {
        return Err(words.wrong_at(
            first,
            "the name of the node is missing".to_owned(),
            "name it before its attributes",
        ));
    }
    let (name, kind) = match first.text.split_once(':') {
        Some((name, kind)) => (name, Some(kind.to_owned())),
        None => (first.text.as_str(), None),
    };
    let mut node = Node {
        id,
        name: name.to_owned(),
        place,
        kind,
        attributes: Attrs::default(),
        utilization: Attrs::default(),
    };
    let mut utilization = false;
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "attributes" => utilization = false,
            "utilization" => utilization = true,
            _ => {
                let attr = words.as_attribute(word)?;
                if attr.name == "$id" {
                    continue;
                }
                let list = if utilization {
                    &mut node.utilization
                } else {
                    &mut node.attributes
                };
                list.0.push(attr);
            }
        }
    }
    Ok(node)
}

/// `monitor RESOURCE[:ROLE] INTERVAL[:TIMEOUT]`.
fn monitor(mut words: Words<'_>) -> Result<(String, Op), ImportError> {
    let place = words.line.place.clone();
    let resource = words.id("resource")?;
    let times = words.expect("the interval")?;
    let (interval, timeout) = match times.text.split_once(':') {
        Some((interval, timeout)) => (interval, Some(timeout)),
        None => (times.text.as_str(), None),
    };
    let (resource, role) = match resource.split_once(':') {
        Some((resource, role)) => (resource.to_owned(), Some(role)),
        None => (resource.clone(), None),
    };
    let attr = |name: &str, value: &str| Attr {
        name: name.to_owned(),
        value: value.to_owned(),
        place: place.clone(),
    };
    let mut attrs = Attrs(vec![attr("interval", interval)]);
    attrs
        .0
        .extend(timeout.map(|timeout| attr("timeout", timeout)));
    attrs.0.extend(role.map(|role| attr("role", role)));
    if words.peek().is_some() {
        attrs.0.extend(attributes(&mut words)?.0);
    }
    let op = Op {
        name: "monitor".to_owned(),
        place,
        attrs,
    };
    Ok((resource, op))
}
