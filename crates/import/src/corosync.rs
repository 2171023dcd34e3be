//! Reads `corosync.conf`: sections in braces with `key: value` lines and other sections. Checks
//! only the syntax; `translate` interprets the keys.

use super::{
    input::Input,
    place::{ImportError, Place},
};

/// A depth beyond that of any section of corosync.
const MAX_DEPTH: usize = 8;

/// A section, or the whole file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
    pub(super) sections: Vec<Section>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: Place,
}

impl Section {
    pub(super) fn new(name: &str, place: Place) -> Self {
        Self {
            name: name.to_owned(),
            place,
            entries: Vec::new(),
            sections: Vec::new(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        // As in corosync, the last value counts.
        let entry = self.entries.iter().rev().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.sections
            .iter()
            .filter(move |section| section.name == name)
    }
}

/// The sections of `input`, below one without a name.
pub(super) fn parse(input: &Input) -> Result<Section, ImportError> {
    let mut top = Section::new("", input.place(1));
    // The open sections, the outermost first.
    let mut open: Vec<Section> = Vec::new();
    for (number, text) in (1..).zip(input.text.lines()) {
        let line = text.trim_start_matches('\u{feff}').trim();
        let place = input.place(number);
        let wrong = |message: &str, remedy: &str| ImportError::new(&place, message, text, remedy);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "}" {
            let closed = open.pop().ok_or_else(|| {
                wrong(
                    "this closes a section, but no section is open",
                    "remove it, or add what it closes",
                )
            })?;
            open.last_mut().unwrap_or(&mut top).sections.push(closed);
        } else if let Some(name) = line.strip_suffix('{').map(str::trim) {
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "{}:".contains(c)) {
                return Err(wrong(
                    "not the name of a section",
                    "a section begins with a line of its own, as in `totem {`",
                ));
            }
            if open.len() == MAX_DEPTH {
                return Err(wrong(
                    "sections are nested too deeply",
                    "corosync nests two: is a `}` missing above?",
                ));
            }
            open.push(Section::new(name, place));
        } else if let Some((key, value)) = line.split_once(':') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "{}".contains(c)) {
                return Err(wrong("not a setting", "write it as `key: value`"));
            }
            let entry = Entry { key, value, place };
            open.last_mut().unwrap_or(&mut top).entries.push(entry);
        } else {
            return Err(wrong(
                "expected a section or a setting",
                "a line is `name {`, `}`, `key: value` or a # comment; is this corosync.conf?",
            ));
        }
    }
    match open.pop() {
        Some(section) => Err(ImportError::new(
            &section.place,
            "this section is not closed",
            format!("{} {{", section.name),
            "add the missing `}`",
        )),
        None => Ok(top),
    }
}
