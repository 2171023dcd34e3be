//! Reads the configuration of a CIB: `cib.xml`, or the output of `cibadmin --query`. The status
//! section is no configuration, and is ignored.

use heartbeat_core::placement::Score;
use roxmltree::{Document, Node as Xml};

use super::{
    input::Input,
    model::{Attr, Attrs, Clone, Group, Model, Node, Op, Other, Primitive, Settings, Statement},
    place::{ImportError, Place},
    values,
};

mod constraints;
mod strays;

/// Elements that are resources.
const RESOURCES: [&str; 6] = [
    "primitive",
    "template",
    "group",
    "clone",
    "master",
    "bundle",
];
/// A depth beyond the nesting of any schema, and low enough for recursion.
const MAX_DEPTH: usize = 16;

pub(super) fn parse(input: &Input) -> Result<Model, ImportError> {
    let text = input.text.trim_start_matches('\u{feff}');
    let document = Document::parse(text).map_err(|error| {
        let line = usize::try_from(error.pos().row).unwrap_or(1);
        ImportError::new(
            &input.place(line),
            format!("not well-formed XML: {error}"),
            text.lines().nth(line.saturating_sub(1)).unwrap_or_default(),
            "export it anew with `cibadmin --query`",
        )
    })?;
    let reader = Reader {
        input,
        starts: line_starts(text),
        text,
    };
    let root = document.root_element();
    let configuration = match root.tag_name().name() {
        "configuration" => Some(root),
        "cib" => children(root).find(|child| child.has_tag_name("configuration")),
        _ => None,
    };
    let configuration = configuration.ok_or_else(|| {
        reader.wrong(
            root,
            "not a configuration of Pacemaker",
            "give a file that begins with <cib> and holds <configuration>, as `cibadmin --query` \
             prints it",
        )
    })?;
    let mut model = Model::default();
    for section in children(configuration) {
        reader.section(&mut model, section)?;
    }
    reader.strays(&mut model, configuration);
    Ok(model)
}

/// Reads elements with their places, and makes errors about them.
struct Reader<'i> {
    input: &'i Input,
    text: &'i str,
    starts: Vec<usize>,
}

fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    std::iter::once(0)
        .chain(breaks.map(|(index, _)| index + 1))
        .collect()
}

/// Whether `element` is reported by itself: a resource at any place, and every element in a section
/// of the configuration.
fn is_statement(element: Xml<'_, '_>) -> bool {
    let section = element.parent_element();
    let above = section.and_then(|section| section.parent_element());
    RESOURCES.contains(&element.tag_name().name())
        || above.is_some_and(|above| above.has_tag_name("configuration"))
}

fn children<'a, 'd: 'a>(of: Xml<'a, 'd>) -> impl Iterator<Item = Xml<'a, 'd>> {
    of.children().filter(Xml::is_element)
}

/// The element that `element` refers to by `id-ref`, or `element` itself.
fn resolved<'a, 'i>(element: Xml<'a, 'i>) -> Xml<'a, 'i> {
    let Some(id) = element.attribute("id-ref") else {
        return element;
    };
    let name = element.tag_name().name();
    let mut all = element.document().descendants();
    all.find(|other| other.has_tag_name(name) && other.attribute("id") == Some(id))
        .unwrap_or(element)
}

fn owned(element: Xml<'_, '_>, attribute: &str) -> Option<String> {
    element.attribute(attribute).map(str::to_owned)
}

impl Reader<'_> {
    fn place(&self, element: Xml<'_, '_>) -> Place {
        let statement = element.ancestors().find(|above| is_statement(*above));
        Place {
            statement: statement.map_or(0, |above| above.id().get_usize()),
            ..self.input.place(self.line_at(element.range().start))
        }
    }

    fn line_at(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }

    fn wrong(&self, element: Xml<'_, '_>, message: &str, remedy: &str) -> ImportError {
        let place = self.place(element);
        let line = self.text.lines().nth(place.line - 1).unwrap_or_default();
        ImportError::new(&place, message, line, remedy)
    }

    fn required(&self, element: Xml<'_, '_>, attribute: &str) -> Result<String, ImportError> {
        owned(element, attribute).ok_or_else(|| {
            let name = element.tag_name().name();
            self.wrong(
                element,
                &format!("<{name}> has no attribute \"{attribute}\""),
                "add it, or export the CIB anew with `cibadmin --query`",
            )
        })
    }

    fn section(&self, model: &mut Model, section: Xml<'_, '_>) -> Result<(), ImportError> {
        match section.tag_name().name() {
            "crm_config" => self.defaults(model, section, |model| &mut model.properties),
            "rsc_defaults" => self.defaults(model, section, |model| &mut model.rsc_defaults),
            "op_defaults" => self.defaults(model, section, |model| &mut model.op_defaults),
            "nodes" => children(section).try_for_each(|node| {
                self.state(model, "node", node, "uname");
                model.nodes.push(self.node(node)?);
                Ok(())
            }),
            "resources" => {
                children(section).try_for_each(|resource| self.resource(model, resource, 0))
            }
            "constraints" => children(section).try_for_each(|constraint| {
                let name = constraint.tag_name().name();
                self.state(model, name.trim_start_matches("rsc_"), constraint, "id");
                self.constraint(model, constraint)
            }),
            _ => {
                for element in children(section) {
                    self.other(model, element);
                }
                Ok(())
            }
        }
    }

    /// Records `element` as a statement.
    fn state(&self, model: &mut Model, keyword: &str, element: Xml<'_, '_>, name: &str) {
        let id = element.attribute(name).unwrap_or_default();
        let place = self.place(element);
        model.statements.push(Statement {
            place,
            what: format!("{keyword} {id}").trim().to_owned(),
        });
    }

    fn other(&self, model: &mut Model, element: Xml<'_, '_>) {
        let keyword = match element.tag_name().name() {
            "fencing-level" => "fencing_topology",
            name => name,
        };
        self.state(model, keyword, element, "id");
        let id = owned(element, "id").unwrap_or_default();
        model
            .others
            .push(Other::new(keyword, id, self.place(element)));
    }

    /// Sets of name-value pairs. The first pair with a name counts.
    fn defaults(
        &self,
        model: &mut Model,
        section: Xml<'_, '_>,
        list: impl Fn(&mut Model) -> &mut Attrs,
    ) -> Result<(), ImportError> {
        for set in children(section) {
            let mut opaque = Vec::new();
            let attrs = self.pairs(set, &mut opaque)?;
            let name = section.tag_name().name();
            let place = self.place(set);
            if attrs.0.is_empty() && opaque.is_empty() {
                self.other(model, set);
                continue;
            }
            model.statements.push(Statement {
                place,
                what: format!("{name} {}", set.attribute("id").unwrap_or_default()),
            });
            let mark = |(text, place)| Attr {
                name: "rule".to_owned(),
                value: text,
                place,
            };
            list(model).0.extend(opaque.into_iter().map(mark));
            list(model).0.extend(attrs.0);
        }
        Ok(())
    }

    /// The pairs in `set`. Pairs of a set with a rule depend on the rule, and are opaque.
    fn pairs(
        &self,
        set: Xml<'_, '_>,
        opaque: &mut Vec<(String, Place)>,
    ) -> Result<Attrs, ImportError> {
        let mut attrs = Attrs::default();
        let here = self.place(set);
        let set = resolved(set);
        if let Some(other) = set.attribute("id-ref") {
            opaque.push((format!("id-ref={other}"), here.clone()));
        }
        let rule = children(set).any(|child| child.has_tag_name("rule"));
        // All other pairs are strays.
        for pair in
            children(set).filter(|child| ["nvpair", "rule"].contains(&child.tag_name().name()))
        {
            // A pair of another statement is reported at the place of its use.
            let place = match self.place(pair) {
                place if place.statement == here.statement => place,
                _ => here.clone(),
            };
            let own = pair;
            let pair = resolved(pair);
            if pair.has_tag_name("rule") {
                let id = pair.attribute("id").unwrap_or_default();
                opaque.push((format!("rule {id}"), place));
            } else if let Some(other) = pair.attribute("id-ref") {
                opaque.push((format!("id-ref={other}"), place));
            } else {
                let name = match owned(own, "name") {
                    Some(name) => name,
                    None => self.required(pair, "name")?,
                };
                let value = owned(pair, "value").unwrap_or_default();
                if rule {
                    opaque.push((format!("{name}={value}"), place));
                } else {
                    attrs.0.push(Attr { name, value, place });
                }
            }
        }
        Ok(attrs)
    }

    /// The element's own attributes, except for those in `known`.
    fn rest(&self, element: Xml<'_, '_>, known: &[&str]) -> Attrs {
        let place = self.place(element);
        let attrs = element
            .attributes()
            .filter(|attribute| !known.contains(&attribute.name()))
            .map(|attribute| Attr {
                name: attribute.name().to_owned(),
                value: attribute.value().to_owned(),
                place: place.clone(),
            });
        Attrs(attrs.collect())
    }

    fn node(&self, element: Xml<'_, '_>) -> Result<Node, ImportError> {
        let mut node = Node {
            id: owned(element, "id"),
            name: self.required(element, "uname")?,
            place: self.place(element),
            kind: owned(element, "type"),
            attributes: self.rest(element, &["id", "uname", "type"]),
            utilization: Attrs::default(),
        };
        let mut opaque = Vec::new();
        for set in children(element) {
            let pairs = self.pairs(set, &mut opaque)?;
            if set.has_tag_name("utilization") {
                node.utilization.0.extend(pairs.0);
            } else {
                node.attributes.0.extend(pairs.0);
            }
        }
        let opaque = opaque.into_iter().map(|(name, place)| Attr {
            name,
            value: String::new(),
            place,
        });
        node.attributes.0.extend(opaque);
        Ok(node)
    }

    fn resource(
        &self,
        model: &mut Model,
        element: Xml<'_, '_>,
        depth: usize,
    ) -> Result<(), ImportError> {
        if depth == MAX_DEPTH {
            return Err(self.wrong(
                element,
                "resources are nested too deeply",
                "export the CIB anew with `cibadmin --query`",
            ));
        }
        let name = element.tag_name().name();
        if !RESOURCES.contains(&name) {
            self.other(model, element);
            return Ok(());
        }
        self.state(model, name, element, "id");
        let id = self.required(element, "id")?;
        let place = self.place(element);
        if name == "primitive" || name == "template" {
            let primitive = self.primitive(element, id, place)?;
            let list = if name == "template" {
                &mut model.templates
            } else {
                &mut model.primitives
            };
            list.push(primitive);
            return Ok(());
        }
        let inner: Vec<Xml<'_, '_>> = children(element)
            .filter(|child| ["primitive", "group"].contains(&child.tag_name().name()))
            .collect();
        let members = inner
            .iter()
            .map(|child| self.required(*child, "id"))
            .collect::<Result<Vec<_>, _>>()?;
        if name == "group" {
            model.groups.push(Group {
                id,
                place,
                members,
                settings: self.settings(element)?,
            });
        } else {
            model.clones.push(Clone {
                id,
                kind: name.to_owned(),
                place,
                child: members.into_iter().next(),
                settings: self.settings(element)?,
            });
        }
        inner
            .into_iter()
            .try_for_each(|child| self.resource(model, child, depth + 1))
    }

    fn primitive(
        &self,
        element: Xml<'_, '_>,
        id: String,
        place: Place,
    ) -> Result<Primitive, ImportError> {
        use super::model::Agent;
        let template = owned(element, "template");
        let agent = match template {
            Some(_) => None,
            None => Some(Agent {
                class: self.required(element, "class")?,
                provider: owned(element, "provider"),
                kind: self.required(element, "type")?,
            }),
        };
        let mut ops = Vec::new();
        let sets = children(element).filter(|child| child.has_tag_name("operations"));
        for op in sets.flat_map(|set| children(resolved(set))) {
            if op.has_tag_name("op") {
                ops.push(self.op(resolved(op))?);
            }
        }
        Ok(Primitive {
            id,
            place,
            agent,
            template,
            settings: self.settings(element)?,
            ops,
        })
    }

    fn op(&self, element: Xml<'_, '_>) -> Result<Op, ImportError> {
        let mut attrs = self.rest(element, &["id", "name"]);
        let mut opaque = Vec::new();
        for set in children(element) {
            attrs.0.extend(self.pairs(set, &mut opaque)?.0);
        }
        attrs.0.extend(opaque.into_iter().map(|(name, place)| Attr {
            name,
            value: String::new(),
            place,
        }));
        Ok(Op {
            name: self.required(element, "name")?,
            place: self.place(element),
            attrs,
        })
    }

    fn settings(&self, element: Xml<'_, '_>) -> Result<Settings, ImportError> {
        let mut settings = Settings::default();
        let mut sets: [Vec<(Score, Attrs)>; 3] = Default::default();
        for set in children(element) {
            let list = match set.tag_name().name() {
                "instance_attributes" => &mut sets[0],
                "meta_attributes" => &mut sets[1],
                "utilization" => &mut sets[2],
                _ => continue,
            };
            let pairs = self.pairs(set, &mut settings.opaque)?;
            let score = resolved(set).attribute("score").and_then(values::score);
            list.push((score.unwrap_or(Score::ZERO), pairs));
        }
        let [params, meta, utilization] = sets;
        settings.fill(|settings| &mut settings.params, params);
        settings.fill(|settings| &mut settings.meta, meta);
        settings.fill(|settings| &mut settings.utilization, utilization);
        if let Some(text) = element.attribute("description") {
            settings.params.0.push(Attr {
                name: "description".to_owned(),
                value: text.to_owned(),
                place: self.place(element),
            });
        }
        Ok(settings)
    }
}
