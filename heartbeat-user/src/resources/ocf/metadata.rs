//! The meta-data of an agent: the XML that its action `meta-data` prints (ra-api-1.dtd).

use std::time::Duration;

use roxmltree::{Document, Node, ParsingOptions};

/// Limit for the elements: more than any agent has, and few enough to be harmless.
const MOST_NODES: u32 = 100_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaData {
    pub name: String,
    pub shortdesc: String,
    pub parameters: Vec<Parameter>,
    pub actions: Vec<Declared>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub required: bool,
    pub unique: bool,
    /// `string`, `integer`, `boolean`, …
    pub kind: String,
    pub default: Option<String>,
    pub shortdesc: String,
}

/// The agent's advice for an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub name: String,
    pub timeout: Option<Duration>,
    pub interval: Option<Duration>,
    /// `OCF_CHECK_LEVEL` of a monitor.
    pub depth: u32,
    pub role: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("its meta-data is not XML: {0}")]
    Xml(#[from] roxmltree::Error),
    #[error("its meta-data describes no resource agent, but `{0}`")]
    Element(String),
}

impl MetaData {
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let options = ParsingOptions {
            // Each meta-data begins with a DOCTYPE. The parser does not load it.
            allow_dtd: true,
            nodes_limit: MOST_NODES,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(text.trim(), options)?;
        let root = document.root_element();
        if root.tag_name().name() != "resource-agent" {
            return Err(Broken::Element(root.tag_name().name().to_owned()));
        }
        Ok(Self {
            name: attribute(root, "name"),
            shortdesc: shortdesc(root),
            parameters: listed(root, "parameters", "parameter")
                .map(parameter)
                .collect(),
            actions: listed(root, "actions", "action").map(declared).collect(),
        })
    }

    /// Returns the advice for action `name` of an unpromoted resource, at `depth` or else at any
    /// depth.
    pub fn action(&self, name: &str, depth: u32) -> Option<&Declared> {
        let named = || self.actions.iter().filter(|action| action.name == name);
        let plain = || named().filter(|action| !action.is_of_promoted());
        plain()
            .find(|action| action.depth == depth)
            .or_else(|| plain().next())
            .or_else(|| named().next())
    }
}

impl Declared {
    fn is_of_promoted(&self) -> bool {
        let role = self.role.as_deref().unwrap_or_default();
        role.eq_ignore_ascii_case("master") || role.eq_ignore_ascii_case("promoted")
    }
}

fn parameter(node: Node<'_, '_>) -> Parameter {
    let content = child(node, "content");
    Parameter {
        name: attribute(node, "name"),
        required: is_true(&attribute(node, "required")),
        // API 1.1 has a name for a group of parameters that are unique together.
        unique: is_true(&attribute(node, "unique")) || node.has_attribute("unique-group"),
        kind: content.map_or_else(String::new, |content| attribute(content, "type")),
        default: content
            .and_then(|content| content.attribute("default"))
            .map(str::to_owned),
        shortdesc: shortdesc(node),
    }
}

fn declared(node: Node<'_, '_>) -> Declared {
    let time = |name| node.attribute(name).and_then(time);
    Declared {
        name: attribute(node, "name"),
        timeout: time("timeout").filter(|timeout| !timeout.is_zero()),
        interval: time("interval").filter(|interval| !interval.is_zero()),
        depth: attribute(node, "depth").trim().parse().unwrap_or(0),
        role: node.attribute("role").map(str::to_owned),
    }
}

fn listed<'a, 'input>(
    root: Node<'a, 'input>,
    list: &'static str,
    item: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    child(root, list)
        .into_iter()
        .flat_map(|list| list.children())
        .filter(move |node| node.has_tag_name(item))
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn attribute(node: Node<'_, '_>, name: &str) -> String {
    node.attribute(name).unwrap_or_default().to_owned()
}

fn shortdesc(node: Node<'_, '_>) -> String {
    let text = child(node, "shortdesc").and_then(|node| node.text());
    text.unwrap_or_default().trim().to_owned()
}

fn is_true(text: &str) -> bool {
    ["1", "true", "yes", "on"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// Parses an agent's time: a number and a unit; the default unit is seconds.
fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    match unit.trim() {
        "" | "s" | "sec" => Some(Duration::from_secs(number)),
        "ms" | "msec" => Some(Duration::from_millis(number)),
        "us" | "usec" => Some(Duration::from_micros(number)),
        "m" | "min" => number.checked_mul(60).map(Duration::from_secs),
        "h" | "hr" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = r#"
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="db" version="1.0">
<shortdesc lang="en"> A database </shortdesc>
<parameters>
<parameter name="dir" unique="1" required="1"><shortdesc>Where</shortdesc><content type="string"/></parameter>
<parameter name="port" unique-group="address"><content type="integer" default="5432"/></parameter>
</parameters>
<actions>
<action name="start" timeout="2min"/>
<action name="stop" timeout="90"/>
<action name="monitor" role="Promoted" timeout="5s" interval="9s"/>
<action name="monitor" timeout="20s" interval="10s" depth="0"/>
<action name="monitor" timeout="1m" interval="30000ms" depth="10"/>
<action name="validate-all" timeout="soon"/>
</actions>
</resource-agent>
"#;

    #[test]
    fn parameters_and_actions_are_read() {
        let data = MetaData::parse(AGENT).unwrap();
        assert_eq!(
            (data.name.as_str(), data.shortdesc.as_str()),
            ("db", "A database")
        );
        let [dir, port] = &data.parameters[..] else {
            panic!("{data:?}")
        };
        assert!(dir.required && dir.unique && dir.default.is_none());
        assert_eq!(dir.shortdesc, "Where");
        assert!(!port.required && port.unique);
        assert_eq!(
            (port.kind.as_str(), port.default.as_deref()),
            ("integer", Some("5432"))
        );
        let timeout = |name| data.action(name, 0).and_then(|action| action.timeout);
        assert_eq!(timeout("start"), Some(Duration::from_secs(120)));
        assert_eq!(timeout("stop"), Some(Duration::from_secs(90)));
        assert_eq!(timeout("validate-all"), None);
        assert_eq!(timeout("promote"), None);
    }

    #[test]
    fn monitor_advice_matches_the_depth_and_not_the_promoted_role() {
        let data = MetaData::parse(AGENT).unwrap();
        let interval = |depth| data.action("monitor", depth).unwrap().interval;
        assert_eq!(interval(0), Some(Duration::from_secs(10)));
        assert_eq!(interval(10), Some(Duration::from_secs(30)));
        assert_eq!(interval(20), Some(Duration::from_secs(10)));
    }

    #[test]
    fn foreign_xml_is_refused() {
        assert!(matches!(MetaData::parse("usage: db"), Err(Broken::Xml(_))));
        assert!(matches!(
            MetaData::parse("<html/>"),
            Err(Broken::Element(_))
        ));
        assert!(MetaData::parse("").is_err());
        let bomb = r#"<!DOCTYPE r [<!ENTITY a "&b;&b;"><!ENTITY b "&a;&a;">]><r>&a;</r>"#;
        assert!(MetaData::parse(bomb).is_err());
    }
}
