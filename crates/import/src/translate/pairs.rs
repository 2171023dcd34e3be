//! Splits constraints into pairs of resources, or gives the reason why there are none.

use heartbeat_core::placement::Score;

use super::remarks::left_over;
use crate::{
    emit::{Comment, Remark},
    model::{Attrs, Chain, Colocation, Condition, Member, Model, Order, Set},
    place::Place,
    values,
};

/// A constraint that can be translated, as far as its own content is concerned.
#[derive(Debug)]
pub(super) struct Ready<T> {
    pub(super) what: T,
    /// The pairs. In a colocation the first follows the second, in an order it goes before the
    /// second.
    pub(super) pairs: Vec<(String, String)>,
    /// Comments on the omitted parts.
    pub(super) comments: Vec<Comment>,
}

/// A constraint that cannot be translated.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) remark: Remark,
    /// Remarks on unknown attributes.
    pub(super) strange: Vec<Comment>,
    /// The pairs of a dependent and its dependency.
    pub(super) depends: Vec<(String, String)>,
}

/// The kind of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) mandatory: bool,
    pub(super) symmetrical: bool,
}

/// The reason why a constraint cannot be translated, and the remedy.
type Refusal = (String, &'static str);

/// Remarks on unknown attributes, which are reported apart from the constraint.
fn strange(owner: &str, attrs: &Attrs) -> Vec<Comment> {
    let mut attrs = attrs.clone();
    for known in ["node-attribute", "symmetrical", "kind", "score"] {
        attrs.take(known);
    }
    left_over("attribute", owner, attrs).collect()
}

/// The colocations of `model`, in its order.
pub(super) fn colocations(model: &Model) -> Vec<Result<Ready<Score>, Box<Refused>>> {
    let ready = |colocation: &Colocation| {
        colocation_of(colocation).map_err(|(reason, remedy)| {
            let subject = format!("colocation {}", colocation.id);
            let score = colocation.score.as_deref();
            let elsewhere = colocation.attrs.get("node-attribute").is_some();
            let firm = score.is_none_or(|score| values::score(score) == Some(Score::MUST));
            Box::new(Refused {
                strange: strange(&subject, &colocation.attrs),
                remark: Remark::new(&colocation.place, subject, reason, remedy),
                depends: if firm && !elsewhere && colocation.lifetime.is_none() {
                    colocation_pairs(&colocation.chain, false)
                } else {
                    Vec::new()
                },
            })
        })
    };
    model.colocations.iter().map(ready).collect()
}

/// The orders of `model`, in its order.
pub(super) fn orders(model: &Model) -> Vec<Result<Ready<Kind>, Box<Refused>>> {
    let ready = |order: &Order| {
        order_of(order).map_err(|(reason, remedy)| {
            let subject = format!("order {}", order.id);
            let firm = match order.kind.as_deref() {
                None => true,
                Some(kind) if kind.eq_ignore_ascii_case("mandatory") => true,
                Some(kind) => values::score(kind).is_some_and(|score| score != Score::ZERO),
            };
            let starts = |id: &String| {
                let members = order.chain.members();
                let member = members.iter().find(|member| member.id == *id);
                let action = member.and_then(|member| member.qualifier.as_deref());
                action.is_none_or(|action| ["start", "started"].contains(&action))
            };
            let pairs = order_pairs(&order.chain).into_iter();
            let pairs = pairs.filter(|(_, then)| starts(then));
            Box::new(Refused {
                strange: strange(&subject, &order.attrs),
                remark: Remark::new(&order.place, subject, reason, remedy),
                depends: if firm && order.lifetime.is_none() {
                    pairs.map(|(first, then)| (then, first)).collect()
                } else {
                    Vec::new()
                },
            })
        })
    };
    model.orders.iter().map(ready).collect()
}

fn colocation_of(colocation: &Colocation) -> Result<Ready<Score>, Refusal> {
    let mut comments = Vec::new();
    if let Chain::Named = colocation.chain {
        return Err((
            "the constraint names no resources, and its own name is not of the form \
             A_with_B"
                .to_owned(),
            "write a [[colocation]] of the intended groups",
        ));
    }
    lasting(
        colocation.lifetime.as_ref(),
        "write a [[colocation]] if the constraint should always hold",
    )?;
    if colocation.guessed {
        let subject = format!("colocation {}", colocation.id);
        comments.extend(guessed(
            &subject,
            &colocation.place,
            &colocation.chain,
            "follows",
        ));
    }
    let score = match colocation.score.as_deref() {
        None => {
            comments.push(Comment::general(
                "the constraint has no score: INFINITY assumed",
            ));
            Score::MUST
        }
        Some(text) => values::score(text).ok_or_else(|| {
            (
                format!("the value of the score \"{text}\" is known only while Pacemaker runs"),
                "choose a number, and write a [[colocation]]",
            )
        })?,
    };
    if score == Score::ZERO {
        return Err((
            "the score is 0, which has no effect".to_owned(),
            "no action needed",
        ));
    }
    if let Some(member) = with_qualifier(&colocation.chain, &["started"]) {
        return Err((
            format!(
                "the constraint applies to {} in the role {}, and heartbeat's resources have no \
                 roles",
                member.id,
                member.qualifier.as_deref().unwrap_or_default()
            ),
            "run resources with roles outside of the cluster",
        ));
    }
    let mut attrs = colocation.attrs.clone();
    if let Some(attr) = attrs.take("node-attribute")
        && attr.value != "#uname"
    {
        return Err((
            format!(
                "the constraint requires nodes with the same {}, not the same node",
                attr.value
            ),
            "write a [[location]] for each node to prefer or avoid",
        ));
    }
    let owner = format!("colocation {}", colocation.id);
    comments.extend(left_over("attribute", &owner, attrs));
    comments.extend(of_sets(&owner, &colocation.chain));
    Ok(Ready {
        what: score,
        pairs: colocation_pairs(&colocation.chain, score < Score::ZERO),
        comments,
    })
}

/// Refuses a constraint that has ended, or that holds only at times.
fn lasting(lifetime: Option<&Condition>, remedy: &'static str) -> Result<(), Refusal> {
    match lifetime {
        None | Some(Condition::Settled(true, _)) => Ok(()),
        Some(Condition::Settled(false, why)) => {
            Err((format!("the constraint is void: {why}"), "no action needed"))
        }
        Some(Condition::Opaque(text)) => Err((
            format!(
                "the constraint holds only at some times: \
        {text}"
            ),
            remedy,
        )),
        Some(_) => Err(("the constraint holds only on some nodes".to_owned(), remedy)),
    }
}

/// The comment that `chain` is taken from the name of `subject`: the first `does` something with
/// the second.
fn guessed(subject: &str, place: &Place, chain: &Chain, does: &str) -> Option<Comment> {
    let Chain::Pair(first, second) = chain else {
        return None;
    };
    Some(Comment::Guess(Remark::new(
        place,
        subject,
        format!(
            "guessed from the constraint's name, because it names no resources: {} {does} {}",
            first.id, second.id
        ),
        "check whether this was intended; the crm shell rejects such a line, so it had no effect \
         there",
    )))
}

fn order_of(order: &Order) -> Result<Ready<Kind>, Refusal> {
    if let Chain::Named = order.chain {
        return Err((
            "the constraint names no resources, and its own name is neither of the form A_before_B \
             nor A_after_B".to_owned(),
            "write an [[order]] of the intended groups",
        ));
    }
    lasting(
        order.lifetime.as_ref(),
        "write an [[order]] if the constraint should always hold",
    )?;
    let mut attrs = order.attrs.clone();
    // crm and XML both allow this.
    let kind = order
        .kind
        .clone()
        .or_else(|| attrs.take("kind").map(|attr| attr.value))
        .or_else(|| attrs.take("score").map(|attr| attr.value));
    let mandatory = match kind.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("mandatory") => true,
        Some("optional") => false,
        Some("serialize") => {
            return Err((
                "Serialize only prevents a start at the same time, which heartbeat cannot express"
                    .to_owned(),
                "write an advisory [[order]] if a fixed sequence does no harm",
            ));
        }
        Some(text) => match values::score(text) {
            Some(score) => score != Score::ZERO,
            None => {
                return Err((
                    format!("\"{text}\" is not a kind of order"),
                    "write Mandatory, Optional or Serialize",
                ));
            }
        },
    };
    if let Some(member) = with_qualifier(&order.chain, &["start", "started"]) {
        return Err((
            format!(
                "the constraint orders the action {} of {}; heartbeat's orders hold for starts, \
                 and in reverse for stops",
                member.qualifier.as_deref().unwrap_or_default(),
                member.id
            ),
            "to stop A before B, write an [[order]] with first = \"B\" and then = \"A\"",
        ));
    }
    if let Chain::Sets(sets) = &order.chain
        && sets
            .iter()
            .any(|set| !set.require_all && set.members.len() > 1)
    {
        return Err((
            "the constraint waits for any one of several; heartbeat's orders wait for \
             all"
            .to_owned(),
            "write an [[order]] for each indispensable one",
        ));
    }
    let mut comments = Vec::new();
    if order.guessed {
        let subject = format!("order {}", order.id);
        comments.extend(guessed(
            &subject,
            &order.place,
            &order.chain,
            "starts before",
        ));
    }
    let mut symmetrical = true;
    if let Some(attr) = attrs.take("symmetrical")
        && values::truth(&attr.value) == Some(false)
    {
        symmetrical = false;
        comments.push(
            Remark::new(
                &attr.place,
                format!("symmetrical={} of order {}", attr.value, order.id),
                "heartbeat also stops them in reverse order",
                "remove the [[order]] if the order of stopping does harm",
            )
            .into(),
        );
    }
    comments.extend(left_over(
        "attribute",
        &format!("order {}", order.id),
        attrs,
    ));
    comments.extend(of_sets(&format!("order {}", order.id), &order.chain));
    Ok(Ready {
        what: Kind {
            mandatory,
            symmetrical,
        },
        pairs: order_pairs(&order.chain),
        comments,
    })
}

/// Remarks on the remaining attributes of the sets of `owner`.
fn of_sets(owner: &str, chain: &Chain) -> Vec<Comment> {
    let Chain::Sets(sets) = chain else {
        return Vec::new();
    };
    let owner = format!("a set of {owner}");
    let attrs = sets.iter().map(|set| set.attrs.clone());
    attrs
        .flat_map(|attrs| left_over("attribute", &owner, attrs).collect::<Vec<_>>())
        .collect()
}

/// The first member with a qualifier that is not in `harmless`.
fn with_qualifier<'a>(chain: &'a Chain, harmless: &[&str]) -> Option<&'a Member> {
    let has = |member: &&Member| match &member.qualifier {
        Some(text) => !harmless.contains(&text.to_ascii_lowercase().as_str()),
        None => false,
    };
    chain.members().into_iter().find(has)
}

fn pair(first: &Member, second: &Member) -> (String, String) {
    (first.id.clone(), second.id.clone())
}

/// The pairs of a follower and its leader. Within a set each member follows the one before it; the
/// members of a set follow those of the next set (Pacemaker Explained, "Colocation Sets"). If they
/// are `apart`, each member keeps away from all members before it.
fn colocation_pairs(chain: &Chain, apart: bool) -> Vec<(String, String)> {
    let sets = match chain {
        Chain::Named => return Vec::new(),
        Chain::Pair(follower, leader) => return vec![pair(follower, leader)],
        Chain::Sets(sets) => sets,
    };
    let within = sets.iter().filter(|set| set.sequential && set.within);
    let within = within.flat_map(|set| {
        let all = set.members.iter().enumerate();
        let pairs = all.flat_map(|(at, follower)| {
            let first = if apart { 0 } else { at.saturating_sub(1) };
            set.members[first..at]
                .iter()
                .map(move |leader| pair(follower, leader))
        });
        pairs.collect::<Vec<_>>()
    });
    let between = sets.windows(2).flat_map(|two| {
        let followers = first_of(&two[0]);
        let leaders = last_of(&two[1]);
        across(followers, leaders)
    });
    within.chain(between).collect()
}

/// The pairs of an order: within a set by its order, and set by set.
fn order_pairs(chain: &Chain) -> Vec<(String, String)> {
    let sets = match chain {
        Chain::Named => return Vec::new(),
        Chain::Pair(first, then) => return vec![pair(first, then)],
        Chain::Sets(sets) => sets,
    };
    let within = sets.iter().filter(|set| set.sequential && set.within);
    let within = within.flat_map(|set| {
        let members = set.members.windows(2);
        members.map(|two| pair(&two[0], &two[1]))
    });
    let between = sets
        .windows(2)
        .flat_map(|two| across(last_of(&two[0]), first_of(&two[1])));
    within.chain(between).collect()
}

/// The members on which all others of the set depend; all, if they do not depend on each other.
fn first_of(set: &Set) -> &[Member] {
    let end = if set.sequential {
        set.members.len().min(1)
    } else {
        set.members.len()
    };
    &set.members[..end]
}

/// The members that depend on all others of the set; all, if they do not depend on each other.
fn last_of(set: &Set) -> &[Member] {
    let start = if set.sequential {
        set.members.len().saturating_sub(1)
    } else {
        0
    };
    &set.members[start..]
}

fn across(from: &[Member], to: &[Member]) -> Vec<(String, String)> {
    from.iter()
        .flat_map(|from| to.iter().map(move |to| pair(from, to)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str, sequential: bool) -> Set {
        let member = |id: &str| Member {
            id: id.to_owned(),
            qualifier: None,
        };
        Set {
            members: names.split(' ').map(member).collect(),
            sequential,
            within: true,
            require_all: true,
            attrs: Attrs::default(),
        }
    }

    fn shown(pairs: Vec<(String, String)>) -> String {
        let pairs: Vec<String> = pairs.into_iter().map(|(a, b)| a + ">" + &b).collect();
        pairs.join(" ")
    }

    #[test]
    fn colocation_set_follows_its_first_and_then_the_next_set() {
        let one = Chain::Sets(vec![set("a b c", true)]);
        assert_eq!(shown(colocation_pairs(&one, false)), "b>a c>b");
        let free_then_one = Chain::Sets(vec![set("a b", false), set("c", true)]);
        assert_eq!(shown(colocation_pairs(&free_then_one, false)), "a>c b>c");
        let two = Chain::Sets(vec![set("a b", true), set("c d", true)]);
        assert_eq!(shown(colocation_pairs(&two, false)), "b>a d>c a>d");
    }

    #[test]
    fn colocation_set_that_keeps_apart_keeps_each_from_each() {
        let one = Chain::Sets(vec![set("a b c", true)]);
        assert_eq!(shown(colocation_pairs(&one, true)), "b>a c>a c>b");
    }

    #[test]
    fn order_goes_through_its_sets_from_left_to_right() {
        let one = Chain::Sets(vec![set("a b c", true)]);
        assert_eq!(shown(order_pairs(&one)), "a>b b>c");
        let around = Chain::Sets(vec![set("a", true), set("b c", false), set("d e", true)]);
        assert_eq!(shown(order_pairs(&around)), "d>e a>b a>c b>d c>d");
    }
}
