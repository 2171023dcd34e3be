//! Utilization: a node's utilization becomes its capacity, and the sum over a group's resources
//! becomes the group's demand. Placement considers both if Pacemaker's does.

use std::collections::BTreeSet;

use super::remarks::left_over;
use crate::{
    emit::{Block, Comment, Remark, Value},
    model::{Attr, Attrs, Model},
    values,
};

/// The greatest value in our configuration.
const MOST: u32 = 1_000_000;

/// The counted kinds of utilization, if there are any.
#[derive(Debug, Default)]
pub(super) struct Amounts {
    strategy: Option<Attr>,
    /// All kinds that any resource needs.
    kinds: BTreeSet<String>,
}

impl Amounts {
    pub(super) fn read(strategy: Option<&Attr>, model: &Model) -> Self {
        let needs = model
            .primitives
            .iter()
            .flat_map(|primitive| &primitive.settings.utilization.0);
        let kinds = needs.filter_map(|attr| Some(amount(attr)?.0));
        Self {
            kinds: kinds.collect(),
            strategy: strategy.filter(|attr| attr.value != "default").cloned(),
        }
    }

    /// `[placement]`.
    pub(super) fn block(&self) -> Option<Block> {
        let strategy = self.strategy.as_ref()?;
        let mut block = Block::new("[placement]");
        let more = match strategy.value.as_str() {
            "utilization" => "",
            _ => {
                ": heartbeat gives the group to the node with the most free capacity, which is not \
                 exactly the same"
            }
        };
        block.comments.push(Comment::note(
            format!(
                "property placement-strategy={} ({}){more}",
                strategy.value, strategy.place
            ),
            &strategy.place,
        ));
        block.field("strategy", "utilization");
        Some(block)
    }

    /// The capacity of the node `name`, and remarks. The node has nothing of a kind that it does
    /// not name.
    pub(super) fn capacity(&self, name: &str, attrs: &Attrs) -> (Option<Value>, Vec<Comment>) {
        let (mut amounts, comments) = self.sum(&format!("node {name}"), [attrs].into_iter());
        if self.strategy.is_none() {
            return (None, comments);
        }
        for kind in &self.kinds {
            if !amounts.iter().any(|(known, _)| known == kind) {
                amounts.push((kind.clone(), 0));
            }
        }
        (table(amounts), comments)
    }

    /// The demand of the resources with `attrs` together, and remarks.
    pub(super) fn demand<'a>(
        &self,
        group: &str,
        attrs: impl Iterator<Item = &'a Attrs>,
    ) -> (Option<Value>, Vec<Comment>) {
        let (amounts, comments) = self.sum(&format!("group {group}"), attrs);
        (table(amounts).filter(|_| self.strategy.is_some()), comments)
    }

    fn sum<'a>(
        &self,
        owner: &str,
        attrs: impl Iterator<Item = &'a Attrs>,
    ) -> (Vec<(String, u32)>, Vec<Comment>) {
        let mut sum: Vec<(String, u32)> = Vec::new();
        let mut comments = Vec::new();
        for attr in attrs.flat_map(|attrs| &attrs.0) {
            if self.strategy.is_none() {
                let subject = format!("utilization {}={} of {owner}", attr.name, attr.value);
                let reason = "without placement-strategy Pacemaker ignores it";
                let remedy = "write capacity, demand and [placement] if it should apply";
                comments.push(Remark::new(&attr.place, subject, reason, remedy).into());
                continue;
            }
            let Some((kind, amount)) = amount(attr) else {
                let one = Attrs(vec![attr.clone()]);
                comments.extend(left_over("utilization", owner, one));
                continue;
            };
            comments.push(Comment::note(
                format!("utilization {}={} ({})", attr.name, attr.value, attr.place),
                &attr.place,
            ));
            match sum.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, known)) => *known = known.saturating_add(amount).min(MOST),
                None => sum.push((kind, amount)),
            }
        }
        (sum, comments)
    }
}

fn table(amounts: Vec<(String, u32)>) -> Option<Value> {
    (!amounts.is_empty()).then_some(Value::Amounts(amounts))
}

/// The kind and the amount of `attr`.
fn amount(attr: &Attr) -> Option<(String, u32)> {
    let amount: u32 = attr.value.parse().ok()?;
    let usable = values::usable_name(&attr.name) == attr.name && amount <= MOST;
    usable.then(|| (attr.name.clone(), amount))
}
