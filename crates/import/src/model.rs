//! What a Pacemaker configuration says, whichever syntax it was written in. Texts are kept as they
//! stand: what they mean is for `translate` to say.

use super::place::Place;

/// All that was read.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// What must be accounted for.
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
    /// Monitors that stand apart from their resource: its id, and the operation.
    pub(super) monitors: Vec<(String, Op)>,
    pub(super) others: Vec<Other>,
}

/// One statement of the crm shell, or one element of the CIB that is as much.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) place: Place,
    /// The last of its lines.
    pub(super) last: usize,
    /// Its keyword and its name.
    pub(super) what: String,
}

impl Statement {
    pub(super) fn holds(&self, place: &Place) -> bool {
        self.place.file == place.file && (self.place.line..=self.last).contains(&place.line)
    }
}

/// A statement that is not taken apart, since nothing comes of it.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) keyword: String,
    pub(super) id: String,
    pub(super) place: Place,
}

impl Model {
    /// Each resource with its id, and where it is.
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

/// Attributes in the order of the file. What nobody takes is remarked upon.
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

    /// Adds what is not here yet.
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
    /// `normal`, if nothing is said.
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
    /// `None` where a template says it.
    pub(super) agent: Option<Agent>,
    pub(super) template: Option<String>,
    pub(super) settings: Settings,
    pub(super) ops: Vec<Op>,
}

/// What may be said of every resource.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) params: Attrs,
    pub(super) meta: Attrs,
    pub(super) utilization: Attrs,
    /// Sets of the above that depend on rules or refer to others: what they are, and where.
    pub(super) opaque: Vec<(String, Place)>,
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
    /// Its keyword.
    pub(super) kind: String,
    pub(super) place: Place,
    pub(super) child: Option<String>,
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
    /// Whether all of them must be there.
    pub(super) require_all: bool,
}

/// What a constraint holds together.
#[derive(Clone, Debug)]
pub(super) enum Chain {
    Pair(Member, Member),
    Sets(Vec<Set>),
}

impl Chain {
    pub(super) fn members(&self) -> Vec<&Member> {
        match self {
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
    /// In a pair the first follows the second.
    pub(super) chain: Chain,
    pub(super) attrs: Attrs,
}

#[derive(Debug)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) place: Place,
    /// A kind or a score.
    pub(super) kind: Option<String>,
    /// In a pair the first goes before the second.
    pub(super) chain: Chain,
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
    /// `None`, and a score's name instead of a number, are possible in rules.
    pub(super) score: Option<String>,
    pub(super) condition: Condition,
    pub(super) attrs: Attrs,
}

/// Which nodes a preference is about.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Is(String),
    IsNot(String),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// Anything that depends on more than the node's name, as it was written.
    Opaque(String),
}
