//! keepalived's tracked interfaces, scripts and processes, as health checks of the node.

use std::time::Duration;

use super::{
    command::{self, Command},
    names::Names,
    site::{Kind, Site, Tracked, aside},
    syntax::Item,
    units::{Unit, owners},
    why::{Left, Why},
};
use crate::{
    emit::{Block, Comment, Value, listed},
    place::Place,
};

/// The number of bits for checks in a heartbeat.
const MAX_CHECKS: usize = 15;
/// Longest name of a process in the kernel.
const MAX_PROCESS: usize = 15;

/// The health checks, and the greatest reduction of a priority by a failed check that is not fatal.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) blocks: Vec<Block>,
    pub(super) points: Option<i64>,
    pub(super) lefts: Vec<Left>,
}

/// One tracked object, its definition and its trackers.
struct Subject<'a> {
    uses: Vec<(&'a Tracked, String)>,
    /// The definitions of a script or a process; one for each file with it.
    definitions: Vec<&'a Item>,
}

pub(super) fn checks(sites: &[Site], units: &[Unit]) -> Checks {
    let mut checks = Checks::default();
    let mut names = Names::default();
    for subject in subjects(sites) {
        if checks.blocks.len() == MAX_CHECKS {
            checks.leave(&subject, Why::Many);
            continue;
        }
        if let Some(block) = check(&subject, units, &mut names, &mut checks) {
            checks.blocks.push(block);
        }
    }
    let used: Vec<&Tracked> = tracked(sites).map(|(tracked, _)| tracked).collect();
    for item in sites.iter().flat_map(|site| &site.checks) {
        let is = |one: &&Tracked| one.kind == kind_of(item) && Some(&*one.name) == item.value();
        if !used.iter().any(is) {
            checks.lefts.push(Left::new("", item, Why::Untracked));
        }
    }
    checks
}

fn kind_of(definition: &Item) -> Kind {
    match definition.keyword() {
        "vrrp_script" => Kind::Script,
        _ => Kind::Process,
    }
}

/// The tracked objects, each with its owner.
fn tracked(sites: &[Site]) -> impl Iterator<Item = (&Tracked, String)> {
    sites.iter().flat_map(owners).flat_map(|(owner, common)| {
        let tracked = common.tracked.iter();
        tracked.map(move |one| (one, owner.clone()))
    })
}

fn subjects(sites: &[Site]) -> Vec<Subject<'_>> {
    let mut subjects: Vec<Subject<'_>> = Vec::new();
    for (one, owner) in tracked(sites) {
        let known = subjects
            .iter_mut()
            .find(|known| known.uses[0].0.is_same(one));
        if let Some(known) = known {
            known.uses.push((one, owner));
            continue;
        }
        let all = sites.iter().flat_map(|site| &site.checks);
        let own = all.filter(|item| kind_of(item) == one.kind && item.value() == Some(&one.name));
        subjects.push(Subject {
            uses: vec![(one, owner)],
            definitions: own.collect(),
        });
    }
    subjects
}

impl Checks {
    fn leave(&mut self, subject: &Subject<'_>, why: Why) {
        for (one, owner) in &subject.uses {
            self.lefts.push(Left::new(owner, &one.item, why));
        }
        for item in &subject.definitions {
            self.lefts.push(Left::new("", item, why));
        }
    }
}

fn check(
    subject: &Subject<'_>,
    units: &[Unit],
    names: &mut Names,
    checks: &mut Checks,
) -> Option<Block> {
    let (first, _) = subject.uses[0];
    let definition = subject.definitions.first();
    let default = definition.and_then(|item| setting(item, "weight"));
    let weight = |one: &Tracked| {
        let default = || default.and_then(|item| item.value()?.parse().ok());
        one.weight.or_else(default).unwrap_or(0_i64)
    };
    let reversed = default.is_some_and(|item| item.words.iter().any(|word| word.text == "reverse"));
    let noreverse = |one: &Tracked| one.item.words.iter().any(|word| word.text == "noreverse");
    let reverse = |one: &Tracked| one.reverse || (reversed && !noreverse(one));
    if subject.uses.iter().any(|(one, _)| reverse(one)) {
        checks.leave(subject, Why::Reverse);
        return None;
    }
    if first.kind != Kind::Interface && definition.is_none() {
        checks.leave(subject, Why::Undefined);
        return None;
    }
    let what = match (first.kind, definition) {
        (Kind::Script, Some(item)) => setting(item, "script").and_then(command::of),
        (Kind::Process, Some(item)) => process(item),
        _ => Some(Command::Interface(first.name.clone())),
    };
    let Some(what) = what else {
        checks.leave(subject, Why::Tracker);
        return None;
    };
    let weights: Vec<i64> = subject.uses.iter().map(|(one, _)| weight(one)).collect();
    let most = weights.iter().map(|weight| weight.abs()).max().unwrap_or(0);
    let fatal = weights.contains(&0);
    let mut block = Block::new("[[health]]");
    notes(&mut block, subject, &what, (fatal, most), units);
    block.field("name", Value::Text(names.free(&first.name)));
    block.field("type", what.kind());
    if let Some(item) = definition {
        times(&mut block, item, first.kind);
        leave_rest(subject, first.kind, checks);
    }
    if !fatal {
        block.field("failure", "degraded");
        checks.points = checks.points.max(Some(most));
    }
    let (field, value) = what.field();
    block.field(field, value);
    Some(block)
}

/// The comments above a check.
fn notes(
    block: &mut Block,
    subject: &Subject<'_>,
    what: &Command,
    (fatal, most): (bool, i64),
    units: &[Unit],
) {
    let mut owners: Vec<&str> = Vec::new();
    for (_, owner) in &subject.uses {
        if !owners.contains(&owner.as_str()) {
            owners.push(owner);
        }
    }
    let mut places: Vec<Place> = subject
        .uses
        .iter()
        .map(|(one, _)| one.item.place.clone())
        .collect();
    for item in &subject.definitions {
        places.push(item.place.clone());
        // The settings without a counterpart get a remark.
        places.extend(item.items().iter().map(|inner| inner.place.clone()));
    }
    places.sort();
    places.dedup();
    let text = format!("tracked by {} ({})", owners.join(", "), listed(&places));
    block.comments.push(Comment::Note(text, places));
    let mut say = |text: String| block.comments.push(Comment::general(text));
    what.remark().into_iter().for_each(&mut say);
    let tracking = units
        .iter()
        .filter(|unit| owners.iter().any(|owner| unit.is_of(owner)));
    let some = tracking.count() < units.len();
    if fatal {
        say("a node where the check fails serves nothing, as in the state FAULT".to_owned());
    } else {
        say(format!(
            "a node where the check fails loses points: keepalived changes its priority by {most}"
        ));
    }
    if some {
        say("in heartbeat the check applies to the node, and so to all its groups".to_owned());
    }
}

fn setting<'a>(definition: &'a Item, keyword: &str) -> Option<&'a Item> {
    definition
        .items()
        .iter()
        .find(|item| item.keyword() == keyword)
}

/// The process to watch, if its name alone identifies it.
fn process(definition: &Item) -> Option<Command> {
    let item = setting(definition, "process")?;
    let name = item
        .value()
        .filter(|name| !name.is_empty() && name.len() <= MAX_PROCESS)?;
    let plain = item.words.len() == 2 && setting(definition, "full_command").is_none();
    plain.then(|| Command::Process(name.to_owned()))
}

/// Interval, timeout, fall and rise, with keepalived's defaults.
fn times(block: &mut Block, definition: &Item, kind: Kind) {
    if kind != Kind::Script {
        return;
    }
    let seconds = |keyword: &str| -> Option<Duration> {
        let number: f64 = setting(definition, keyword)?.value()?.parse().ok()?;
        Duration::try_from_secs_f64(number).ok()
    };
    let count = |keyword: &str| -> i64 {
        let number = setting(definition, keyword).and_then(|item| item.value()?.parse().ok());
        number.unwrap_or(1).clamp(1, 1000)
    };
    let hour = Duration::from_secs(3600);
    let interval = seconds("interval").unwrap_or(Duration::from_secs(1));
    let timeout = seconds("timeout").unwrap_or(interval);
    let millis = |time: Duration| Duration::from_millis(time.as_millis() as u64);
    let interval = millis(interval.clamp(Duration::from_millis(100), hour));
    let timeout = millis(timeout.clamp(Duration::from_millis(1), hour));
    block.field("interval", interval);
    block.field("timeout", timeout);
    block.field("fall", Value::Number(count("fall")));
    block.field("rise", Value::Number(count("rise")));
}

/// Adds remarks on the remaining settings of a script or process, and on different values in other
/// files.
fn leave_rest(subject: &Subject<'_>, kind: Kind, checks: &mut Checks) {
    let taken: &[&str] = match kind {
        Kind::Script => &["script", "interval", "timeout", "fall", "rise", "weight"],
        _ => &["process", "weight"],
    };
    let first = subject.definitions[0];
    for definition in &subject.definitions {
        let owner = definition.text();
        for (index, item) in definition.items().iter().enumerate() {
            let before = &definition.items()[..index];
            let why = if let Some(why) = aside(item) {
                why
            } else if !taken.contains(&item.keyword()) {
                match Why::of(item.keyword()) {
                    Why::Unknown => Why::Tracker,
                    why => why,
                }
            } else if before.iter().any(|one| one.keyword() == item.keyword()) {
                Why::Twice
            } else {
                for user in item
                    .words
                    .iter()
                    .skip(2)
                    .filter(|_| item.keyword() == "script")
                {
                    let subject = format!("user {} of script", user.text);
                    checks
                        .lefts
                        .push(Left::word(&owner, subject, &item.place, Why::Users));
                }
                let same =
                    setting(first, item.keyword()).is_some_and(|one| one.text() == item.text());
                if same {
                    continue;
                }
                Why::Differs
            };
            checks.lefts.push(Left::new(&owner, item, why));
        }
    }
}
