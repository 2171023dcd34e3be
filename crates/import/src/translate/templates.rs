//! Completes each primitive from its template, and from monitors that are declared apart.

use std::collections::HashMap;

use crate::{
    emit::{Comment, Remark},
    model::{Model, Op, Primitive},
};

/// Resolves templates and monitors, and returns comments on them.
pub(super) fn resolve(model: &mut Model) -> Vec<Comment> {
    let mut comments = Vec::new();
    let templates: HashMap<String, Primitive> = std::mem::take(&mut model.templates)
        .into_iter()
        .map(|template| (template.id.clone(), template))
        .collect();
    let mut used: HashMap<&str, Vec<&str>> = HashMap::new();
    for primitive in &mut model.primitives {
        let Some((name, template)) = primitive
            .template
            .as_ref()
            .and_then(|name| templates.get_key_value(name))
        else {
            continue;
        };
        primitive.agent.clone_from(&template.agent);
        let (own, from) = (&mut primitive.settings, &template.settings);
        own.params.inherit(&from.params);
        own.meta.inherit(&from.meta);
        own.utilization.inherit(&from.utilization);
        own.opaque.extend(from.opaque.iter().cloned());
        let inherited = template
            .ops
            .iter()
            .filter(|op| !stands_in(&primitive.ops, op));
        let inherited: Vec<Op> = inherited.cloned().collect();
        primitive.ops.extend(inherited);
        used.entry(name).or_default().push(&primitive.id);
    }
    let mut names: Vec<&String> = templates.keys().collect();
    names.sort();
    for name in names {
        let place = &templates[name].place;
        comments.push(match used.get(name.as_str()) {
            Some(users) => Comment::note(
                format!(
                    "rsc_template {name} ({place}): written out in each primitive that uses it: {}",
                    users.join(", ")
                ),
                place,
            ),
            None => Remark::new(
                place,
                format!("rsc_template {name}"),
                "no primitive uses it",
                "no action needed",
            )
            .into(),
        });
    }
    for (id, op) in std::mem::take(&mut model.monitors) {
        match model
            .primitives
            .iter_mut()
            .find(|primitive| primitive.id == id)
        {
            Some(primitive) => {
                comments.push(Comment::note(
                    format!("monitor {id} ({}): a monitor of resource {id}", op.place),
                    &op.place,
                ));
                primitive.ops.push(op);
            }
            None => comments.push(
                Remark::new(
                    &op.place,
                    format!("monitor {id}"),
                    "no primitive has this name",
                    "correct the name",
                )
                .into(),
            ),
        }
    }
    comments
}

/// Whether `ops` has an operation that replaces `op`: the same action, and for monitors the same
/// interval.
fn stands_in(ops: &[Op], op: &Op) -> bool {
    ops.iter().any(|own| {
        own.name == op.name
            && (op.name != "monitor" || own.attrs.get("interval") == op.attrs.get("interval"))
    })
}
