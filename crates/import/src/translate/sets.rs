//! Sets with attributes of their own: a score in a colocation, a kind in an order. The attribute
//! concerns only the members of the set, so they get a constraint of their own.

use crate::model::{Attrs, Chain, Model, Set};

pub(super) fn split(model: &mut Model) {
    let mut colocations = Vec::new();
    for mut colocation in std::mem::take(&mut model.colocations) {
        for (set, score) in own(&mut colocation.chain, &["score"]) {
            colocations.push(crate::model::Colocation {
                id: colocation.id.clone(),
                place: colocation.place.clone(),
                score: Some(score),
                chain: Chain::Sets(vec![set]),
                lifetime: colocation.lifetime.clone(),
                guessed: false,
                attrs: colocation.attrs.clone(),
            });
        }
        if is_left(&colocation.chain) {
            colocations.push(colocation);
        } else if let Some(score) = colocation.score {
            let text = format!(
                "score {score} of colocation {} ({}): its set has another score, which applies",
                colocation.id, colocation.place
            );
            model.notes.push((text, colocation.place));
        }
    }
    model.colocations = colocations;
    let mut orders = Vec::new();
    for mut order in std::mem::take(&mut model.orders) {
        for (set, kind) in own(&mut order.chain, &["kind", "score"]) {
            orders.push(crate::model::Order {
                id: order.id.clone(),
                place: order.place.clone(),
                kind: Some(kind),
                chain: Chain::Sets(vec![set]),
                lifetime: order.lifetime.clone(),
                guessed: false,
                attrs: order.attrs.clone(),
            });
        }
        if is_left(&order.chain) {
            orders.push(order);
        }
    }
    model.orders = orders;
}

/// Removes and returns the sets with one of the attributes `names`, and their values.
fn own(chain: &mut Chain, names: &[&str]) -> Vec<(Set, String)> {
    let Chain::Sets(sets) = chain else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for set in sets {
        let said = names.iter().find_map(|name| set.attrs.take(name));
        if let Some(said) = said {
            found.push((set.clone(), said.value));
            set.attrs = Attrs::default();
            set.within = false;
        }
    }
    found
}

/// Whether the chain still has a pair.
fn is_left(chain: &Chain) -> bool {
    match chain {
        Chain::Sets(sets) => sets.len() > 1 || sets.iter().any(|set| set.within),
        Chain::Named | Chain::Pair(..) => true,
    }
}
