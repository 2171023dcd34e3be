//! Constraints that name no resources, but whose own names indicate them: `ip_with_web`,
//! `ip_before_web`. Tutorials show such constraints, and Pacemaker refuses them.

use std::collections::BTreeSet;

use crate::model::{Chain, Member, Model};

/// Gives such constraints the members in their names. A constraint that stays without is refused
/// later.
pub(super) fn resolve(model: &mut Model) {
    let ids: BTreeSet<String> = model.ids().map(|(id, _)| id.to_owned()).collect();
    for colocation in &mut model.colocations {
        if let Chain::Named = colocation.chain
            && let Some((follower, leader)) = split(&colocation.id, &["with"], &ids)
        {
            colocation.chain = pair(follower, leader);
            colocation.guessed = true;
        }
    }
    for order in &mut model.orders {
        let Chain::Named = order.chain else { continue };
        let forward = split(&order.id, &["before", "then"], &ids);
        let backward = split(&order.id, &["after"], &ids);
        order.chain = match (forward, backward) {
            (Some((first, then)), None) | (None, Some((then, first))) => pair(first, then),
            _ => continue,
        };
        order.guessed = true;
    }
}

fn pair(first: &str, second: &str) -> Chain {
    let [first, second] = [first, second].map(|id| Member {
        id: id.to_owned(),
        qualifier: None,
    });
    Chain::Pair(first, second)
}

/// The two different resources around one of `words` in `name`; `None` unless exactly one split
/// gives two.
fn split<'n>(name: &'n str, words: &[&str], ids: &BTreeSet<String>) -> Option<(&'n str, &'n str)> {
    let mut found = BTreeSet::new();
    for word in words {
        for separator in ["_", "-"] {
            let between = format!("{separator}{word}{separator}");
            for (at, _) in name.match_indices(&between) {
                let (one, other) = (&name[..at], &name[at + between.len()..]);
                if one != other && ids.contains(one) && ids.contains(other) {
                    found.insert((one, other));
                }
            }
        }
    }
    let mut found = found.into_iter();
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &str) -> BTreeSet<String> {
        names.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn name_around_a_word_names_two_resources() {
        let with = |name, names| split(name, &["with"], &ids(names));
        assert_eq!(with("ip_with_web", "ip web"), Some(("ip", "web")));
        assert_eq!(with("ip-with-web", "ip web"), Some(("ip", "web")));
        assert_eq!(
            with("my_ip_with_web-1", "my_ip web-1"),
            Some(("my_ip", "web-1"))
        );
        assert_eq!(
            with("a_with_b_with_c", "a_with_b c"),
            Some(("a_with_b", "c"))
        );
    }

    #[test]
    fn name_that_names_less_or_more_than_two_resources_tells_nothing() {
        let with = |name, names| split(name, &["with"], &ids(names));
        assert_eq!(with("ip_with_web", "ip"), None);
        assert_eq!(with("ip_with_ip", "ip"), None);
        assert_eq!(with("ip_with-web", "ip web"), None);
        assert_eq!(with("ipwithweb", "ip web"), None);
        assert_eq!(with("_with_", "ip web"), None);
        // The name can be read in two ways.
        assert_eq!(with("a_with_b_with_c", "a_with_b c a b_with_c"), None);
    }
}
