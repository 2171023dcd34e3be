//! Statements that define resources: `primitive`, `rsc_template`, `group`, `clone`, `ms`.

use heartbeat_core::placement::Score;

use super::constraints;
use crate::{
    model::{Agent, Attrs, Clone, Group, Op, Primitive, Settings},
    place::ImportError,
    tokens::Word,
    values,
    words::Words,
};

/// Words that begin a part of a resource.
const PARTS: [&str; 8] = [
    "params",
    "meta",
    "utilization",
    "op",
    "operations",
    "op_params",
    "op_meta",
    "attributes",
];

/// `primitive ID [CLASS:[PROVIDER:]]TYPE|@TEMPLATE …`; templates have the same syntax.
pub(super) fn primitive(mut words: Words<'_>) -> Result<Primitive, ImportError> {
    let place = words.line.place.clone();
    let id = words.id("resource")?;
    let agent = words.expect("the resource agent")?;
    let (agent, template) = match agent.text.strip_prefix('@') {
        Some(template) => (None, Some(template.to_owned())),
        None => (Some(read_agent(&words, agent)?), None),
    };
    let (settings, ops) = parts(&mut words)?;
    Ok(Primitive {
        id,
        place,
        agent,
        template,
        settings,
        ops,
    })
}

/// The resource agent that `word` names.
pub(crate) fn read_agent(words: &Words<'_>, word: &Word) -> Result<Agent, ImportError> {
    agent(&word.text).ok_or_else(|| {
        words.wrong_at(
            word,
            format!("\"{}\" is not a resource agent", word.text),
            "name one as in ocf:heartbeat:IPaddr2 or systemd:nginx",
        )
    })
}

/// Parses an agent. As in the shell, a name alone is an OCF agent of the provider "heartbeat".
fn agent(text: &str) -> Option<Agent> {
    const CLASSES: [&str; 8] = [
        "ocf",
        "systemd",
        "service",
        "lsb",
        "stonith",
        "upstart",
        "nagios",
        "heartbeat",
    ];
    let agent = |class: &str, provider: Option<&str>, kind: &str| Agent {
        class: class.to_owned(),
        provider: provider.map(str::to_owned),
        kind: kind.to_owned(),
    };
    let text = text.replace("::", ":");
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) || text.contains('=') {
        return None;
    }
    match parts[..] {
        [kind] => Some(agent("ocf", Some("heartbeat"), kind)),
        // The old class "heartbeat" has no agents that are still shipped, so the word names the
        // provider.
        ["ocf" | "heartbeat", kind] => Some(agent("ocf", Some("heartbeat"), kind)),
        [class, kind] if CLASSES.contains(&class) => Some(agent(class, None, kind)),
        [provider, kind] => Some(agent("ocf", Some(provider), kind)),
        ["ocf", provider, kind] => Some(agent("ocf", Some(provider), kind)),
        // Fence agents and units may have colons of their own.
        [class, ..] if CLASSES.contains(&class) => Some(agent(class, None, &parts[1..].join(":"))),
        _ => None,
    }
}

pub(super) fn group(mut words: Words<'_>) -> Result<Group, ImportError> {
    let place = words.line.place.clone();
    let id = words.id("group")?;
    let mut members = Vec::new();
    while let Some(word) = words.peek() {
        if word.attribute().is_some() || PARTS.contains(&word.text.as_str()) {
            break;
        }
        members.push(word.text.clone());
        words.next();
    }
    if members.is_empty() {
        return Err(words.wrong(
            format!("group \"{id}\" has no members"),
            "list its resources, in their order",
        ));
    }
    let (settings, _) = parts(&mut words)?;
    Ok(Group {
        id,
        place,
        members,
        settings,
    })
}

pub(super) fn clone(keyword: &str, mut words: Words<'_>) -> Result<Clone, ImportError> {
    let place = words.line.place.clone();
    let id = words.id("clone")?;
    let child = words.id("resource to clone")?;
    let (settings, _) = parts(&mut words)?;
    Ok(Clone {
        id,
        kind: keyword.to_owned(),
        place,
        child: Some(child),
        settings,
    })
}

/// The part of a resource that contains the words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Params,
    Meta,
    Utilization,
    Operations,
    Op,
}

impl Part {
    const META: usize = 1;

    /// The index of the list of sets for the part.
    fn set(self) -> Option<usize> {
        match self {
            Self::Params => Some(0),
            Self::Meta => Some(Self::META),
            Self::Utilization => Some(2),
            Self::Operations | Self::Op => None,
        }
    }
}

/// All parts after the head of a resource.
fn parts(words: &mut Words<'_>) -> Result<(Settings, Vec<Op>), ImportError> {
    let mut settings = Settings::default();
    let mut ops: Vec<Op> = Vec::new();
    let mut part = Part::Params;
    // The sets of each of the first three parts, with their scores.
    let mut sets: [Vec<(Score, Attrs)>; 3] = Default::default();
    // The name of the present set, if a rule applies to it.
    let mut ruled: Option<String> = None;
    while let Some(word) = words.next() {
        let keyword = if word.quoted { "" } else { word.text.as_str() };
        let next = match keyword {
            "params" => Some(Part::Params),
            "meta" => Some(Part::Meta),
            "utilization" => Some(Part::Utilization),
            "operations" => Some(Part::Operations),
            "op" => Some(Part::Op),
            // Attributes of an operation, at any place in it.
            "op_params" | "op_meta" if part == Part::Op => continue,
            _ => None,
        };
        if let Some(next) = next {
            part = next;
            ruled = None;
            if let Some(index) = part.set() {
                sets[index].push((Score::ZERO, Attrs::default()));
            }
            if part == Part::Op {
                let name = words.expect("the name of the operation")?;
                if name.attribute().is_some() {
                    return Err(words.wrong_at(
                        name,
                        "the name of the operation is missing".to_owned(),
                        "name it, as in `op monitor interval=10s`",
                    ));
                }
                ops.push(Op {
                    name: name.text.clone(),
                    place: words.place_of(word),
                    attrs: Attrs::default(),
                });
            }
            continue;
        }
        if keyword == "rule" {
            let rule = constraints::rule_text(words);
            settings
                .opaque
                .push((format!("rule {rule}"), words.place_of(word)));
            ruled = Some(rule);
            continue;
        }
        // The score of a set of parameters, or the common set of the operations.
        let score = keyword.strip_suffix(':');
        let score = score.filter(|_| word.attribute().is_none());
        if score.is_some() || (part == Part::Operations && word.attribute().is_none()) {
            let set = part.set().and_then(|index| sets[index].last_mut());
            if let (Some(score), Some((of, _))) = (score.and_then(values::score), set) {
                *of = score;
            }
            continue;
        }
        let attr = words.as_attribute(word)?;
        if attr.name == "$id" {
            continue;
        }
        if ruled.is_some() || attr.name == "$id-ref" {
            let text = format!("{}={}", attr.name, attr.value);
            settings.opaque.push((text, attr.place));
            continue;
        }
        match (part, ops.last_mut()) {
            (Part::Op, Some(op)) => op.attrs.0.push(attr),
            _ => {
                let sets = &mut sets[part.set().unwrap_or(Part::META)];
                match sets.last_mut() {
                    Some((_, attrs)) => attrs.0.push(attr),
                    None => sets.push((Score::ZERO, Attrs(vec![attr]))),
                }
            }
        }
    }
    let [params, meta, utilization] = sets;
    settings.fill(|settings| &mut settings.params, params);
    settings.fill(|settings| &mut settings.meta, meta);
    settings.fill(|settings| &mut settings.utilization, utilization);
    Ok((settings, ops))
}
