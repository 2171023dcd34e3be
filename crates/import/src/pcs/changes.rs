//! `pcs resource …` on the results of earlier commands: other settings, other operations, or
//! removal.

use super::{Command, attrs, implied, update};
use crate::{
    model::{Attr, Attrs, Op, Settings},
    place::ImportError,
    words::Words,
};

impl Command<'_> {
    pub(super) fn update_resource(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        let id = words.id("resource")?;
        let params = attrs(words)?;
        let (mut meta, mut ops) = (Attrs::default(), Vec::new());
        while let Some(word) = words.peek() {
            match word.text.as_str() {
                "op" => {
                    words.next();
                    ops.extend(self.ops(words)?);
                }
                "meta" => {
                    words.next();
                    meta = attrs(words)?;
                }
                _ => break,
            }
        }
        let mut primitives = self.model.primitives.iter_mut();
        if let Some(primitive) = primitives.find(|primitive| primitive.id == id) {
            for op in ops {
                replace(&mut primitive.ops, op);
            }
        }
        self.change(&id, words, |settings| {
            update(&mut settings.params, params);
            update(&mut settings.meta, meta);
        })
    }

    /// Changes the settings of a resource, a group or a clone.
    pub(super) fn change(
        &mut self,
        id: &str,
        words: &Words<'_>,
        change: impl FnOnce(&mut Settings),
    ) -> Result<(), ImportError> {
        let model = &mut *self.model;
        let primitives = model.primitives.iter_mut();
        let all = primitives
            .map(|primitive| (&primitive.id, &mut primitive.settings))
            .chain(
                model
                    .groups
                    .iter_mut()
                    .map(|group| (&group.id, &mut group.settings)),
            )
            .chain(
                model
                    .clones
                    .iter_mut()
                    .map(|clone| (&clone.id, &mut clone.settings)),
            );
        match all.into_iter().find(|(known, _)| *known == id) {
            Some((_, settings)) => change(settings),
            None => {
                return Err(words.wrong(
                    format!("no resource has the name {id} so far"),
                    "correct the name, or include the commands that create the resource",
                ));
            }
        }
        if let Some(word) = words.peek() {
            return Err(words.wrong_at(
                word,
                format!("\"{}\" is not an attribute", word.text),
                "an attribute is name=value; put a value with spaces in quotes",
            ));
        }
        self.note(&format!("a part of the settings of {id}"));
        Ok(())
    }

    pub(super) fn set_meta(
        &mut self,
        words: &mut Words<'_>,
        name: &str,
        value: &str,
    ) -> Result<(), ImportError> {
        let mut ids = vec![words.id("resource")?];
        while words.peek().is_some() {
            ids.push(words.id("resource")?);
        }
        for id in ids {
            let attr = implied(self, name, value);
            self.change(&id, words, |settings| {
                update(&mut settings.meta, Attrs(vec![attr]));
            })?;
        }
        Ok(())
    }

    /// `op add`, `op delete` and `op defaults`.
    pub(super) fn op(&mut self, words: &mut Words<'_>) -> Result<bool, ImportError> {
        let verb = words.next().map_or("", |word| word.text.as_str());
        match verb {
            "defaults" => return self.defaults(words, true),
            "add" | "delete" | "remove" => {}
            _ => return Ok(false),
        }
        let id = words.id("resource")?;
        let new = self.ops(words)?;
        let mut primitives = self.model.primitives.iter_mut();
        let Some(primitive) = primitives.find(|primitive| primitive.id == id) else {
            return Err(words.wrong(
                format!("no resource has the name {id} so far"),
                "correct the name, or include the commands that create the resource",
            ));
        };
        for op in new {
            if verb == "add" {
                primitive.ops.push(op);
            } else {
                let interval = op.attrs.get("interval");
                primitive.ops.retain(|known| {
                    known.name != op.name
                        || (interval.is_some() && known.attrs.get("interval") != interval)
                });
            }
        }
        self.note(&format!("a part of the settings of {id}"));
        Ok(true)
    }

    /// `defaults k=v`, `defaults update k=v`, `defaults set create … meta k=v …`.
    pub(super) fn defaults(
        &mut self,
        words: &mut Words<'_>,
        of_ops: bool,
    ) -> Result<bool, ImportError> {
        let mut found = Vec::new();
        let mut ruled = false;
        while let Some(word) = words.next() {
            if word.attribute().is_some() {
                let mut attr = words.as_attribute(word)?;
                // The id and the score of a set.
                let own = ["id", "score"].contains(&attr.name.as_str());
                if ruled {
                    attr.name = format!("{} (under a rule)", attr.name);
                } else if own && found.is_empty() {
                    continue;
                }
                found.push(attr);
            } else if word.text == "rule" {
                ruled = true;
                let rest = std::iter::from_fn(|| words.next());
                let text: Vec<&str> = rest.map(|word| word.text.as_str()).collect();
                found.push(Attr {
                    value: text.join(" "),
                    ..implied(self, "rule", "")
                });
            }
        }
        if found.is_empty() {
            return Ok(false);
        }
        let list = if of_ops {
            &mut self.model.op_defaults
        } else {
            &mut self.model.rsc_defaults
        };
        if ruled {
            // The whole set depends on its rule, at any place in the set.
            for attr in found.iter_mut().filter(|attr| attr.name != "rule") {
                if !attr.name.contains(' ') {
                    attr.name = format!("{} (under a rule)", attr.name);
                }
            }
            list.0.extend(found);
        } else {
            update(list, Attrs(found));
            self.note("in [defaults], or as the remarks there describe");
        }
        Ok(true)
    }

    /// Removes resources that earlier commands made.
    pub(super) fn delete(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        let mut ids = vec![words.id("resource")?];
        while words.peek().is_some() {
            ids.push(words.id("resource")?);
        }
        let gone = |id: &String| ids.contains(id);
        let mut places = Vec::new();
        self.model.primitives.retain(|primitive| {
            if gone(&primitive.id) {
                places.push((primitive.id.clone(), primitive.place.clone()));
            }
            !gone(&primitive.id)
        });
        for group in &mut self.model.groups {
            group.members.retain(|member| !gone(member));
        }
        self.model
            .groups
            .retain(|group| !group.members.is_empty() && !gone(&group.id));
        self.model
            .clones
            .retain(|clone| !gone(&clone.id) && !clone.child.as_ref().is_some_and(&gone));
        let here = self.place();
        for (id, place) in places {
            let text = format!("resource {id} ({place}): removed again ({here})");
            self.model.notes.push((text, place));
        }
        self.note("the removed part is left out");
        Ok(())
    }
}

/// Replaces the same operation by `op`, or appends `op`.
fn replace(ops: &mut Vec<Op>, op: Op) {
    ops.retain(|known| {
        known.name != op.name
            || (op.name == "monitor" && known.attrs.get("role") != op.attrs.get("role"))
    });
    ops.push(op);
}
