//! `pcs resource …`: the resources, their groups, operations and settings.

use super::{Command, attrs, implied, update};
use crate::{
    crm::read_agent,
    model::{Clone as Cloned, Group, Op, Primitive, Settings},
    place::ImportError,
    words::Words,
};

/// Words that begin a part of a new resource.
const PARTS: [&str; 7] = [
    "op",
    "meta",
    "clone",
    "promotable",
    "master",
    "bundle",
    "group",
];

impl Command<'_> {
    /// Reads a command; `false` if it configures nothing.
    pub(super) fn resource(&mut self, words: &mut Words<'_>) -> Result<bool, ImportError> {
        let verb = words.next().map_or("", |word| word.text.as_str());
        match verb {
            "create" => self.create(words)?,
            "group" if words.next_if("add") => self.group_add(words)?,
            "clone" | "promotable" | "master" => self.clone_resource(verb, words)?,
            "update" => self.update_resource(words)?,
            "meta" => {
                let id = words.id("resource")?;
                let meta = attrs(words)?;
                self.change(&id, words, |settings| update(&mut settings.meta, meta))?;
            }
            "utilization" => {
                let id = words.id("resource")?;
                let amounts = attrs(words)?;
                self.change(&id, words, |settings| {
                    update(&mut settings.utilization, amounts);
                })?;
            }
            "enable" | "disable" => {
                let role = if verb == "enable" {
                    "Started"
                } else {
                    "Stopped"
                };
                self.set_meta(words, "target-role", role)?;
            }
            "manage" | "unmanage" => {
                let managed = if verb == "manage" { "true" } else { "false" };
                self.set_meta(words, "is-managed", managed)?;
            }
            "op" => return self.op(words),
            "defaults" => return self.defaults(words, false),
            "delete" | "remove" => self.delete(words)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn create(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        let place = self.place();
        let id = words.id("resource")?;
        let agent = words.expect("the resource agent")?;
        let read = read_agent(words, agent)?;
        let mut settings = Settings {
            params: attrs(words)?,
            ..Settings::default()
        };
        let mut ops = Vec::new();
        let mut group = self.option("--group");
        let mut clones = Vec::new();
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "op" => ops.extend(self.ops(words)?),
                "meta" => settings.meta.0.extend(attrs(words)?.0),
                "group" => group = Some(words.id("group")?),
                "before" | "after" => {
                    let place = self.place_of(word);
                    let of = words.id("resource")?;
                    self.stray(format!("{} {of} of {}", word.text, self.title()), place);
                }
                kind @ ("clone" | "promotable" | "master" | "bundle") => {
                    clones.push(self.cloned(kind, &id, words)?);
                }
                _ => {
                    return Err(words.wrong_at(
                        word,
                        format!(
                            "\"{}\" is neither an attribute nor a part of a resource",
                            word.text
                        ),
                        "write it as in `pcs resource create ID AGENT name=value … op … meta …`",
                    ));
                }
            }
        }
        for (option, kind) in [("--clone", "clone"), ("--master", "master")] {
            if self.option(option).is_some() {
                clones.push(Cloned {
                    id: format!("{id}-{kind}"),
                    kind: kind.to_owned(),
                    place: place.clone(),
                    child: Some(id.clone()),
                    settings: Settings::default(),
                });
            }
        }
        if self.option("--disabled").is_some() {
            settings
                .meta
                .0
                .push(implied(self, "target-role", "Stopped"));
        }
        self.model.primitives.push(Primitive {
            id: id.clone(),
            place,
            agent: Some(read),
            template: None,
            settings,
            ops,
        });
        self.model.clones.extend(clones);
        match group {
            Some(group) => self.join(&group, vec![id]),
            None => Ok(()),
        }
    }

    /// `monitor interval=10s start timeout=1min`, after `op`.
    pub(super) fn ops(&mut self, words: &mut Words<'_>) -> Result<Vec<Op>, ImportError> {
        let mut ops = Vec::new();
        while let Some(word) = words.peek() {
            if PARTS.contains(&word.text.as_str()) || word.attribute().is_some() {
                break;
            }
            words.next();
            ops.push(Op {
                name: word.text.clone(),
                place: self.place_of(word),
                attrs: attrs(words)?,
            });
        }
        Ok(ops)
    }

    /// The words after `clone`, `promotable` or `master` of a new resource.
    fn cloned(
        &mut self,
        kind: &str,
        child: &str,
        words: &mut Words<'_>,
    ) -> Result<Cloned, ImportError> {
        let named = words
            .peek()
            .filter(|word| word.attribute().is_none() && !PARTS.contains(&word.text.as_str()));
        let id = match named {
            Some(word) => {
                words.next();
                word.text.clone()
            }
            None => format!(
                "{child}-{}",
                if kind == "master" { "master" } else { "clone" }
            ),
        };
        let mut meta = attrs(words)?;
        if words.next_if("meta") {
            meta.0.extend(attrs(words)?.0);
        }
        Ok(Cloned {
            id,
            kind: kind.to_owned(),
            place: self.place(),
            child: Some(child.to_owned()),
            settings: Settings {
                meta,
                ..Settings::default()
            },
        })
    }

    fn clone_resource(&mut self, kind: &str, words: &mut Words<'_>) -> Result<(), ImportError> {
        let first = words.id("resource")?;
        // `master` may be followed by the name of the clone.
        let second = words
            .peek()
            .filter(|word| kind == "master" && word.attribute().is_none() && word.text != "meta");
        if let Some(second) = second {
            words.next();
            let mut clone = self.cloned(kind, &second.text, words)?;
            clone.id = first;
            self.model.clones.push(clone);
            return Ok(());
        }
        let clone = self.cloned(kind, &first, words)?;
        self.model.clones.push(clone);
        Ok(())
    }

    fn group_add(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        let group = words.id("group")?;
        let mut members = Vec::new();
        while words.peek().is_some() {
            members.push(words.id("resource")?);
        }
        if members.is_empty() {
            return Err(words.wrong(
                format!("group \"{group}\" has no members"),
                "list its resources, in their order",
            ));
        }
        self.join(&group, members)
    }

    /// Moves `members` into `group`, which may be new. They leave their present group.
    fn join(&mut self, group: &str, members: Vec<String>) -> Result<(), ImportError> {
        let before = self.option("--before");
        let after = self.option("--after");
        for known in &mut self.model.groups {
            known.members.retain(|member| !members.contains(member));
        }
        let place = self.place();
        let mut groups = self.model.groups.iter_mut();
        match groups.find(|known| known.id == group) {
            Some(known) => {
                let of = |id: &Option<String>| {
                    let id = id.as_ref()?;
                    known.members.iter().position(|member| member == id)
                };
                let end = known.members.len();
                let at = of(&before).or(of(&after).map(|at| at + 1)).unwrap_or(end);
                known.members.splice(at..at, members);
            }
            None => self.model.groups.push(Group {
                id: group.to_owned(),
                place,
                members,
                settings: Settings::default(),
            }),
        }
        self.model.groups.retain(|known| !known.members.is_empty());
        self.note(&format!("in group {group}"));
        Ok(())
    }
}
