//! The content of a Pacemaker configuration, independent of its syntax. Texts are kept unchanged:
//! `translate` interprets them.

use heartbeat_core::placement::Score;

use super::{corosync::Section, place::Place};

/// The whole content.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The statements that must be accounted for.
    pub(super) statements: Vec<Statement>,
    pub(super) nodes: Vec<Node>,
    pub(super) templates: Vec<Primitive>,
    pub(super) primitives: Vec<Primitive>,
    pub(super) groups: Vec<Group>,
    pub(super) clones: Vec<Clone>,
    pub(super) colocations: Vec<Colocation>,
    pub(super) orders: Vec<Order>,
    pub(super) locations: Vec<Location>,
    pub(super) properties: Attrs,
    pub(super) rsc_defaults: Attrs,
    pub(super) op_defaults: Attrs,
    /// Monitors that are declared apart from their resource: the resource's id, and the operation.
    pub(super) monitors: Vec<(String, Op)>,
    pub(super) others: Vec<Other>,
    /// Parts of a statement that are none of its known parts.
    pub(super) strays: Vec<Stray>,
    /// Changes that commands made to the results of other commands, each with its place.
    pub(super) notes: Vec<(String, Place)>,
    /// The equivalent of corosync.conf.
    pub(super) cluster: Option<Section>,
}

/// A part of a statement that is not translated.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) subject: String,
    pub(super) place: Place,
}

/// One statement of the crm shell, or one element of the CIB that corresponds to one.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) place: Place,
    /// The statement's keyword and name.
    pub(super) what: String,
}

impl Statement {
    /// Whether the statement contains `place`. A line may hold several statements, and a statement
    /// several lines.
    pub(super) fn holds(&self, place: &Place) -> bool {
        self.place.file == place.file && self.place.statement == place.statement
    }
}

/// A statement that is not parsed further, since nothing is translated from it.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) keyword: String,
    pub(super) id: String,
    pub(super) place: Place,
    /// The statement's further lines.
    pub(super) also: Vec<Place>,
    /// The reason for the omission and the remedy, where the keyword does not determine them.
    pub(super) why: Option<(String, String)>,
}

impl Other {
    pub(super) fn new(keyword: &str, id: impl Into<String>, place: Place) -> Self {
        Self {
            keyword: keyword.to_owned(),
            id: id.into(),
            place,
            also: Vec::new(),
            why: None,
        }
    }
}

impl Model {
    /// Each resource's id and place.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&str, &Place)> {
        let primitives = self.primitives.iter().chain(&self.templates);
        let groups = self
            .groups
            .iter()
            .map(|group| (group.id.as_str(), &group.place));
        let clones = self
            .clones
            .iter()
            .map(|clone| (clone.id.as_str(), &clone.place));
        primitives
            .map(|primitive| (primitive.id.as_str(), &primitive.place))
            .chain(groups)
            .chain(clones)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Attr {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) place: Place,
}

/// Attributes in the order of the file. An attribute that no part of the translation takes gets a
/// remark.
#[derive(Clone, Debug, Default)]
pub(super) struct Attrs(pub(super) Vec<Attr>);

impl Attrs {
    pub(super) fn take(&mut self, name: &str) -> Option<Attr> {
        let at = self.0.iter().position(|attr| attr.name == name)?;
        Some(self.0.remove(at))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let attr = self.0.iter().find(|attr| attr.name == name)?;
        Some(&attr.value)
    }

    /// Adds the attributes that are missing here.
    pub(super) fn inherit(&mut self, others: &Self) {
        for other in &others.0 {
            if self.get(&other.name).is_none() {
                self.0.push(other.clone());
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) place: Place,
    /// The kind of node; `normal` if absent.
    pub(super) kind: Option<String>,
    pub(super) attributes: Attrs,
    pub(super) utilization: Attrs,
}

/// Class, provider and type of a resource agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) class: String,
    pub(super) provider: Option<String>,
    pub(super) kind: String,
}

#[derive(Clone, Debug)]
pub(super) struct Primitive {
    pub(super) id: String,
    pub(super) place: Place,
    /// The agent; `None` where a template names it.
    pub(super) agent: Option<Agent>,
    pub(super) template: Option<String>,
    pub(super) settings: Settings,
    pub(super) ops: Vec<Op>,
}

/// The settings of every kind of resource.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) params: Attrs,
    pub(super) meta: Attrs,
    pub(super) utilization: Attrs,
    /// The above sets that depend on rules or refer to others: their text and place.
    pub(super) opaque: Vec<(String, Place)>,
    /// Repeated settings, of which another one counts.
    pub(super) doubles: Vec<Attr>,
}

impl Settings {
    /// Fills a list from sets with scores. The set with the highest score counts; of equals, the
    /// first.
    pub(super) fn fill(
        &mut self,
        list: fn(&mut Self) -> &mut Attrs,
        mut sets: Vec<(Score, Attrs)>,
    ) {
        sets.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        for attr in sets.into_iter().flat_map(|(_, attrs)| attrs.0) {
            if list(self).get(&attr.name).is_some() {
                self.doubles.push(attr);
            } else {
                list(self).0.push(attr);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) attrs: Attrs,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) members: Vec<String>,
    pub(super) settings: Settings,
}

/// A resource that runs several times: clone, promotable clone, bundle.
#[derive(Debug)]
pub(super) struct Clone {
    pub(super) id: String,
    /// The resource's keyword.
    pub(super) kind: String,
    pub(super) place: Place,
    pub(super) child: Option<String>,
    pub(super) settings: Settings,
}

/// A resource in a constraint.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: String,
    /// A role in a colocation, an action or a role in an order.
    pub(super) qualifier: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) members: Vec<Member>,
    /// Whether the members depend on each other, in their order.
    pub(super) sequential: bool,
    /// Whether this constraint also relates the members to each other.
    pub(super) within: bool,
    /// Whether all of the members must be active.
    pub(super) require_all: bool,
    /// Further settings of the set: a score or a kind of its own.
    pub(super) attrs: Attrs,
}

/// The resources that a constraint connects.
#[derive(Clone, Debug)]
pub(super) enum Chain {
    /// No resources: only the constraint's name indicates them.
    Named,
    Pair(Member, Member),
    Sets(Vec<Set>),
}

impl Chain {
    pub(super) fn members(&self) -> Vec<&Member> {
        match self {
            Self::Named => Vec::new(),
            Self::Pair(first, second) => vec![first, second],
            Self::Sets(sets) => sets.iter().flat_map(|set| &set.members).collect(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Colocation {
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) score: Option<String>,
    /// The resources. In a pair the first follows the second.
    pub(super) chain: Chain,
    /// The condition under which the constraint holds; absent if it always holds.
    pub(super) lifetime: Option<Condition>,
    /// Whether the members are guessed from the name.
    pub(super) guessed: bool,
    pub(super) attrs: Attrs,
}

#[derive(Debug)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) place: Place,
    /// The kind or the score.
    pub(super) kind: Option<String>,
    /// The resources. In a pair the first goes before the second.
    pub(super) chain: Chain,
    /// The condition under which the constraint holds; absent if it always holds.
    pub(super) lifetime: Option<Condition>,
    /// Whether the members are guessed from the name.
    pub(super) guessed: bool,
    pub(super) attrs: Attrs,
}

#[derive(Debug)]
pub(super) struct Location {
    pub(super) id: String,
    pub(super) place: Place,
    /// Names, or one pattern between slashes.
    pub(super) resources: Vec<String>,
    pub(super) preferences: Vec<Preference>,
    pub(super) attrs: Attrs,
}

#[derive(Debug)]
pub(super) struct Preference {
    /// The score. A rule may have none, or the name of a score instead of a number.
    pub(super) score: Option<String>,
    pub(super) condition: Condition,
    pub(super) attrs: Attrs,
}

/// The nodes of a preference.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Is(String),
    IsNot(String),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// From the first time on and before the second, with the original text.
    Date(Option<String>, Option<String>, String),
    /// A condition that is true or false for good, such as a date that has passed: its value and
    /// the reason.
    Settled(bool, String),
    /// A condition that depends on more than the node's name, in its original text.
    Opaque(String),
}
