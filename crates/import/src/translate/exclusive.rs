//! Groups with exclusive resources. The operator must decide whether they are run at all, so the
//! line that accepts the danger is written as a comment, with the reasons.

use heartbeat_config::{
    Ocf, ResourceKind,
    exclusive::{Harm, by_table, danger},
};

use super::resource;
use crate::{
    emit::{Block, Comment, Remark, Value},
    model::Primitive,
};

/// The harm of the resource in `block`, according to the table of agents.
pub(super) fn harm(block: &Block) -> Option<Harm> {
    by_table(&kind(block)?)
}

/// The kind of `block` in the configuration.
fn kind(block: &Block) -> Option<ResourceKind> {
    let field = |key: &str| {
        let mut fields = block.fields.iter();
        fields
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    };
    let Some(Value::Text(of)) = field("type") else {
        return None;
    };
    if let Some(unit) = of.strip_prefix("systemd:") {
        return Some(ResourceKind::Systemd(unit.to_owned()));
    }
    let (provider, agent) = of.strip_prefix("ocf:")?.split_once(':')?;
    let params = match field("params") {
        Some(Value::Table(pairs)) => pairs.clone(),
        _ => Vec::new(),
    };
    Some(ResourceKind::Ocf(Ocf {
        provider: provider.to_owned(),
        agent: agent.to_owned(),
        params,
        check_level: 0,
    }))
}

/// The lines after the name of a group with these exclusive resources; nothing without any.
pub(super) fn decision(group: &str, found: &[(&Primitive, Harm)]) -> Vec<Comment> {
    let mut places = found.iter().map(|(primitive, _)| primitive.place.clone());
    let Some(first) = places.next() else {
        return Vec::new();
    };
    let titles: Vec<String> = found
        .iter()
        .map(|(primitive, _)| resource::title(primitive))
        .collect();
    let harms: Vec<Harm> = found.iter().map(|(_, harm)| *harm).collect();
    let remark = Remark::new(
        &first,
        format!("group {group}, for {}", titles.join(", ")),
        format!(
            "`heartbeat check` rejects it: {}",
            danger("an exclusive resource", &harms)
        ),
        "run the group under a cluster manager that fences nodes, because heartbeat does not; if \
         its storage admits only one node at a time, or if the harm is acceptable, remove the # \
         below; if two running instances do no harm, set exclusive = false on the resource instead",
    );
    vec![
        Comment::Decision(remark.also(places)),
        Comment::Off("accept_double_run", Value::Flag(true)),
    ]
}
