//! The settings that say who and where a host is, which one node's file must not bring to another.
//!
//! `heartbeat reload --all` puts one node's file in the place of the others'. Each node keeps its
//! own values of these settings, and takes the rest of the text as it stands, comments included.
//! The text is edited in place; where its form leaves no room for that, nothing is guessed.

use std::{borrow::Cow, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The settings, by their tables. A reload refuses a change of any of them.
const OWN: [(&str, &[&str]); 2] = [
    ("cluster", &["node", "instance", "key"]),
    ("paths", &["run", "state"]),
];

/// Why a node cannot keep its own settings in another node's text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unmixable {
    #[error("the file that is there is not valid TOML, so its own settings cannot be kept")]
    Old,
    #[error("the new file is not valid TOML")]
    New,
    #[error(
        "the new file leaves no room for this node's own settings (node, instance and key of \
         [cluster], and [paths])\n  write each of them on a line of its own, below the header of \
         its table"
    )]
    NoRoom,
}

/// A setting where it stands in a text.
struct Place {
    /// From the first byte of the name to the last one of the value.
    whole: Range<usize>,
    value: Range<usize>,
}

/// A piece of a text, and what is to stand in its place.
type Edit = (Range<usize>, String);

/// `new` with those settings as `old` has them, which may be not at all.
pub fn with_own_settings(new: &str, old: &str) -> Result<String, Unmixable> {
    let has = DeTable::parse(old).map_err(|_| Unmixable::Old)?;
    let gets = DeTable::parse(new).map_err(|_| Unmixable::New)?;
    let mut edits: Vec<Edit> = Vec::new();
    for (table, names) in OWN {
        let mut missing = String::new();
        for name in names {
            let value = place(&has, table, name).map(|place| &old[place.value]);
            match (value, place(&gets, table, name)) {
                (Some(value), Some(there)) => edits.push((there.value, value.to_owned())),
                (Some(value), None) => missing.push_str(&format!("{name} = {value}\n")),
                (None, Some(there)) => edits.push((line(new, &there.whole), String::new())),
                (None, None) => {}
            }
        }
        if !missing.is_empty() {
            edits.push(addition(new, &gets, table, &missing));
        }
    }
    let mixed = edited(new, edits);
    let is = DeTable::parse(&mixed).map_err(|_| Unmixable::NoRoom)?;
    let as_meant = own(&is) == own(&has) && others(&is) == others(&gets);
    as_meant.then(|| mixed.clone()).ok_or(Unmixable::NoRoom)
}

type Document<'a> = Spanned<DeTable<'a>>;

/// The nodes' own settings of a file.
fn own(document: &Document<'_>) -> Vec<Option<String>> {
    let setting = |table: &str, name: &str| {
        let value = document.get_ref().get(table)?.get_ref().get(name)?;
        Some(plain(value.get_ref()))
    };
    let all = OWN
        .iter()
        .flat_map(|(table, names)| names.iter().map(move |name| setting(table, name)));
    all.collect()
}

/// All other settings, so that equal texts mean equal files.
fn others(document: &Document<'_>) -> String {
    let is_own = |table: &str, name: &str| {
        OWN.iter()
            .any(|(own, names)| *own == table && names.contains(&name))
    };
    let mut text = String::new();
    for (name, value) in document.get_ref() {
        let table = name.get_ref();
        match value.get_ref() {
            DeValue::Table(settings) => {
                let rest = settings.iter();
                let rest = rest.filter(|(name, _)| !is_own(table, name.get_ref()));
                // A table with nothing but a node's own settings may come or go.
                for (name, value) in rest {
                    let value = plain(value.get_ref());
                    text.push_str(&format!("{table:?}.{:?} = {value}\n", name.get_ref()));
                }
            }
            value => text.push_str(&format!("{table:?} = {}\n", plain(value))),
        }
    }
    text
}

/// A value without the places where its parts stand.
fn plain(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Array(items) => {
            let items = items.iter().map(|item| plain(item.get_ref()));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        DeValue::Table(table) => {
            let pair = |(name, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                format!("{:?} = {}", name.get_ref(), plain(value.get_ref()))
            };
            let pairs: Vec<String> = table.iter().map(pair).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        scalar => format!("{scalar:?}"),
    }
}

fn place(document: &Document<'_>, table: &str, name: &str) -> Option<Place> {
    let table = document.get_ref().get(table)?.get_ref().as_table()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    Some(Place {
        whole: key.span().start..value.span().end,
        value: value.span(),
    })
}

/// Puts lines right below the header of `table`, or the table behind all others.
fn addition(text: &str, document: &Document<'_>, table: &str, settings: &str) -> Edit {
    match document.get_ref().get(table) {
        Some(header) => {
            let begins = header.span().start;
            let ends = text[begins..].find('\n').map(|at| begins + at + 1);
            match ends {
                Some(at) => (at..at, settings.to_owned()),
                None => (text.len()..text.len(), format!("\n{settings}")),
            }
        }
        None => {
            let line = if text.ends_with('\n') { "" } else { "\n" };
            let end = text.len()..text.len();
            (end, format!("{line}\n[{table}]\n{settings}"))
        }
    }
}

/// The lines that `range` is on.
fn line(text: &str, range: &Range<usize>) -> Range<usize> {
    let begins = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let ends = text[range.end..].find('\n');
    begins..ends.map_or(text.len(), |at| range.end + at + 1)
}

/// The text with all edits. Two that add at one place keep their order.
fn edited(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let mut result = String::new();
    let mut done = 0;
    for (range, piece) in edits {
        // Two settings on one line, which is read again below and found wrong.
        let start = range.start.max(done);
        result.push_str(&text[done..start]);
        result.push_str(&piece);
        done = range.end.max(start);
    }
    result.push_str(&text[done..]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "\
# All of it.
[cluster]
name = \"web\"
node = \"a\"   # this one
key = \"/a/key\"
[[link]]
interface = \"eth0\"
";

    #[test]
    fn values_of_the_old_file_stand_in_the_text_of_the_new_one() {
        let old = "[cluster]\nname = \"old\"\nnode = 'b'\nkey = \"/b/key\"\n";
        let mixed = with_own_settings(NEW, old).unwrap();
        let expected = NEW.replace("\"a\"", "'b'").replace("/a/", "/b/");
        assert_eq!(mixed, expected);
    }

    #[test]
    fn setting_that_only_one_file_has_comes_or_goes_with_its_line() {
        let old = "[cluster]\ninstance = \"i\"\n[paths]\nrun = \"/r\"\nstate = \"/s\"\n";
        let expected = "\
# All of it.
[cluster]
instance = \"i\"
name = \"web\"
[[link]]
interface = \"eth0\"

[paths]
run = \"/r\"
state = \"/s\"
";
        assert_eq!(with_own_settings(NEW, old).unwrap(), expected);
    }

    #[test]
    fn same_files_give_the_same_text() {
        for text in [NEW, "", "[cluster]\n", "cluster = { node = \"a\" }"] {
            assert_eq!(with_own_settings(text, text).unwrap(), text);
        }
    }

    #[test]
    fn mixed_text_keeps_what_the_old_file_sets_whatever_form_it_has() {
        let olds = [
            "cluster.node = \"b\"\n",
            "cluster = { node = \"b\" }\n",
            "[cluster]\n\"node\" = \"\"\"\nb\"\"\"\n",
        ];
        for old in olds {
            let mixed = with_own_settings("[cluster]\nname = \"x\"", old).unwrap();
            assert!(mixed.starts_with("[cluster]\nnode = \""), "{mixed}");
        }
    }

    #[test]
    fn form_without_room_is_refused() {
        let old = "[cluster]\nnode = \"b\"\n";
        for new in [
            "cluster = { name = \"x\" }\n",
            "cluster = { name = \"x\",\n  port = 7 }\n",
            "cluster = { instance = \"a\", node = \"x\", port = 7 }\n",
        ] {
            assert_eq!(with_own_settings(new, old), Err(Unmixable::NoRoom), "{new}");
        }
        // The line of the setting has another one, which must not go with it.
        let two = "cluster = { node = \"a\", name = \"x\" }\n";
        assert_eq!(
            with_own_settings(two, "[cluster]\n"),
            Err(Unmixable::NoRoom)
        );
        assert_eq!(with_own_settings("x = ", old), Err(Unmixable::New));
        assert_eq!(with_own_settings(NEW, "x = "), Err(Unmixable::Old));
    }
}
