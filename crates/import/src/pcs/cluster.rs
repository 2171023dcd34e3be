//! Commands that do not concern resources: nodes and networks, cluster options, nodes' attributes.

use super::{Command, attrs, update};
use crate::{
    corosync::{Entry, Section},
    model::{Attr, Attrs, Node},
    place::{ImportError, Place},
    tokens::Word,
    words::Words,
};

/// Words that begin a part about the cluster as a whole.
const PARTS: [&str; 7] = [
    "transport",
    "totem",
    "quorum",
    "link",
    "compression",
    "crypto",
    "--",
];

impl Command<'_> {
    /// `cluster setup NAME NODE [addr=A …] … [transport …] [totem …] [quorum …]`, or the older
    /// `cluster setup --name NAME NODE[,ALTERNATIVE] …`: the equivalent of corosync.conf.
    pub(super) fn setup(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        let place = self.place();
        let mut top = Section::new("", place.clone());
        let mut totem = Section::new("totem", place.clone());
        let named = self.option("--name");
        let old = named.is_some();
        let name = match named {
            Some(name) => name,
            None => words.id("cluster")?,
        };
        totem.entries.push(entry("cluster_name", &name, &place));
        for (option, key) in [("--transport", "transport"), ("--token", "token")] {
            if let Some(value) = self.option(option) {
                totem.entries.push(entry(key, &value, &place));
            }
        }
        let mut list = Section::new("nodelist", place.clone());
        while let Some(word) = words.peek().filter(|word| !PARTS.contains(&&*word.text)) {
            if word.attribute().is_some() {
                return Err(words.wrong_at(
                    word,
                    "the name of the node is missing".to_owned(),
                    "write it as in `pcs cluster setup NAME NODE addr=ADDRESS`",
                ));
            }
            words.next();
            let node = self.listed(word, list.sections.len() + 1, attrs(words)?, old);
            list.sections.push(node);
        }
        let mut quorum = Section::new("quorum", place);
        while let Some(word) = words.next() {
            let part = word.text.as_str();
            let section = if part == "quorum" {
                &mut quorum
            } else {
                &mut totem
            };
            let at = self.place_of(word);
            // The kind of the transport is a word without a name.
            let alone = words.peek().filter(|word| word.attribute().is_none());
            if part == "transport"
                && let Some(kind) = alone.filter(|word| !PARTS.contains(&&*word.text))
            {
                words.next();
                section.entries.push(entry("transport", &kind.text, &at));
            }
            for attr in attrs(words)?.0 {
                let prefixed = ["link", "compression", "crypto"].contains(&part);
                let key = match part {
                    _ if prefixed => format!("{part}_{}", attr.name),
                    _ => attr.name.clone(),
                };
                section.entries.push(entry(&key, &attr.value, &attr.place));
            }
        }
        top.sections.extend([totem, list, quorum]);
        self.model.cluster = Some(top);
        self.note("the settings of a corosync.conf");
        Ok(())
    }

    /// A node with its addresses. Without addresses, its name is its address.
    fn listed(&mut self, word: &Word, id: usize, said: Attrs, old: bool) -> Section {
        let place = self.place_of(word);
        let mut node = Section::new("node", place.clone());
        let mut rings: Vec<&str> = if old {
            word.text.split(',').collect()
        } else {
            vec![&word.text]
        };
        let name = rings[0].to_owned();
        let addresses = said.0.iter().filter(|attr| attr.name == "addr");
        let addresses: Vec<&str> = addresses.map(|attr| attr.value.as_str()).collect();
        if !addresses.is_empty() {
            rings = addresses;
        }
        for (ring, address) in rings.iter().enumerate() {
            let key = format!("ring{ring}_addr");
            node.entries.push(entry(&key, address, &place));
        }
        node.entries.push(entry("name", &name, &place));
        node.entries.push(entry("nodeid", &id.to_string(), &place));
        for attr in said.0.iter().filter(|attr| attr.name != "addr") {
            node.entries
                .push(entry(&attr.name, &attr.value, &attr.place));
        }
        node
    }

    /// `property set k=v …`, `property k=v …`, `property unset k …`.
    pub(super) fn property(&mut self, words: &mut Words<'_>) -> Result<bool, ImportError> {
        if words.next_if("unset") {
            while let Some(word) = words.next() {
                let unset = self.model.properties.take(&word.text);
                self.replaced(unset);
            }
            self.note("the unset part is left out");
            return Ok(true);
        }
        words.next_if("set");
        let found = attrs(words)?;
        if found.0.is_empty() {
            return Ok(false);
        }
        if let Some(word) = words.peek() {
            return Err(words.wrong_at(
                word,
                format!("\"{}\" is not an attribute", word.text),
                "an attribute is name=value",
            ));
        }
        for attr in &found.0 {
            let before = self.model.properties.take(&attr.name);
            self.replaced(before);
        }
        if found.0.iter().all(|attr| attr.value.is_empty()) {
            self.note("the unset part is left out");
        }
        update(&mut self.model.properties, found);
        Ok(true)
    }

    /// Records that this command replaces an earlier command's value.
    fn replaced(&mut self, before: Option<Attr>) {
        let here = self.place();
        self.model.notes.extend(before.map(|attr| {
            let text = format!(
                "property {}={} ({}): another value ({here})",
                attr.name, attr.value, attr.place
            );
            (text, attr.place)
        }));
    }

    /// `node attribute|utilization NODE k=v …`, `node standby|maintenance NODE …`.
    pub(super) fn node(&mut self, words: &mut Words<'_>) -> Result<bool, ImportError> {
        let verb = words.next().map_or("", |word| word.text.as_str());
        match verb {
            "attribute" | "utilization" => {
                let name = words.id("node")?;
                let found = attrs(words)?;
                let node = self.known(&name);
                let list = if verb == "attribute" {
                    &mut node.attributes
                } else {
                    &mut node.utilization
                };
                update(list, found);
            }
            "standby" | "maintenance" => {
                while words.peek().is_some() {
                    let name = words.id("node")?;
                    let place = self.place();
                    let attr = Attr {
                        name: verb.to_owned(),
                        value: "on".to_owned(),
                        place,
                    };
                    update(&mut self.known(&name).attributes, Attrs(vec![attr]));
                }
            }
            _ => return Ok(false),
        }
        self.note("a part of the settings of that node");
        Ok(true)
    }

    /// The node with this `name`, which may be new.
    fn known(&mut self, name: &str) -> &mut Node {
        let nodes = &mut self.model.nodes;
        let at = nodes.iter().position(|node| node.name == name);
        let at = at.unwrap_or_else(|| {
            nodes.push(Node {
                id: None,
                name: name.to_owned(),
                place: self.line.place.clone(),
                kind: None,
                attributes: Attrs::default(),
                utilization: Attrs::default(),
            });
            nodes.len() - 1
        });
        &mut nodes[at]
    }
}

fn entry(key: &str, value: &str, place: &Place) -> Entry {
    Entry {
        key: key.to_owned(),
        value: value.to_owned(),
        place: place.clone(),
    }
}
