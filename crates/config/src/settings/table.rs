//! A table of the file: its rows, and what they tell about a configuration.

use super::{Reload, Row, TableInfo, joined};
use crate::{
    read::{Named, Section},
    types::Config,
};

/// The table that holds the settings of a `T`.
pub(crate) struct Table<T: 'static> {
    /// The header in the file: `[cluster]`, or `[[node]]` for a list.
    pub(crate) header: &'static str,
    /// How messages add to the header that it is a list, if they do.
    pub(super) hint: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(crate) rows: &'static [&'static dyn Row<T>],
    /// A table inside the table.
    pub(super) inner: &'static [&'static str],
}

impl<T> Table<T> {
    /// The one table of this name in `top`; without fields if `top` has none.
    pub(crate) fn open<'a>(&self, top: &Section<'a>) -> Section<'a> {
        top.table(self, &self.names())
    }

    /// All tables of this name in `top`.
    pub(crate) fn open_all<'a>(
        &self,
        top: &Section<'a>,
        label: impl Fn(usize, Option<&str>) -> String,
    ) -> Vec<Section<'a>> {
        top.tables(self, &self.names(), label)
    }

    fn names(&self) -> Vec<&'static str> {
        let rows = self.rows.iter().map(|row| row.name());
        rows.chain(self.inner.iter().copied()).collect()
    }

    /// Reports the settings in `section` that only other types than `named` have. `words` says what
    /// is wrong and what to do, from the setting's name and the types that have it.
    pub(crate) fn refuse_others(
        &self,
        section: &Section<'_>,
        named: &str,
        words: impl Fn(&str, &[&str]) -> (String, String),
    ) {
        for row in self.rows {
            let field: &dyn Named = *row;
            let fits = row.only().is_empty() || row.only().contains(&named);
            if !fits && section.has(field) {
                let (what, remedy) = words(row.name(), row.only());
                section.problem(section.at_field(field), what, remedy);
            }
        }
    }

    /// The settings in which `new` differs from `old`: the effect of a reload on each, and its
    /// name.
    pub(crate) fn differing(
        &self,
        old: (&Config, &T),
        new: (&Config, &T),
    ) -> impl Iterator<Item = (Reload, &'static str)> {
        let rows = self.rows.iter().filter(move |row| {
            let [old, new] = [old, new].map(|(config, of)| row.written(config, of));
            old != new
        });
        rows.map(|row| (row.reload(), row.name()))
    }

    /// The settings that all nodes must agree on, but for those that have their default: so nodes
    /// of a release that does not know a new setting yet agree as long as no file uses it.
    pub(crate) fn agreed(&self, config: &Config, of: &T) -> String {
        let rows = self.rows.iter().filter(|row| row.in_digest());
        let set = rows.filter_map(|row| Some((row.name(), row.set(config, of)?)));
        let set: Vec<_> = set
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        format!("{} {}", self.header, set.join(" "))
    }
}

impl<T> Named for Table<T> {
    fn name(&self) -> &'static str {
        let path = self.header.trim_matches(['[', ']']);
        path.rsplit('.').next().unwrap_or(path)
    }

    fn example(&self) -> String {
        match self.hint {
            "" => self.header.to_owned(),
            hint => format!("{}, {hint}", self.header),
        }
    }
}

/// A table whose type of item does not matter.
pub(super) trait AnyTable: Sync {
    fn header(&self) -> &'static str;
    fn info(&self) -> TableInfo;
}

impl<T> AnyTable for Table<T> {
    fn header(&self) -> &'static str {
        self.header
    }

    fn info(&self) -> TableInfo {
        TableInfo {
            header: self.header,
            doc: joined(self.doc),
            settings: self.rows.iter().map(|row| row.info()).collect(),
        }
    }
}

/// Declares a table: `TABLE`, and a static for each row.
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        $header:literal of $item:ty $(, $hint:literal)? $(=> $inner:literal)?;

        $(
            $(#[doc = $doc:literal])*
            $setting:ident: $reader:ty = $is:expr => {
                $($column:ident: $value:expr),+;
                $($of:tt)+
            }
        )*
    ) => {
        $(#[doc = $about])*
        pub(crate) static TABLE: $crate::settings::Table<$item> = $crate::settings::Table {
            header: $header,
            hint: concat!($($hint)?),
            doc: &[$($about),*],
            rows: &[$(&$setting),*],
            inner: &[$($inner)?],
        };

        $(
            $(#[doc = $doc])*
            pub(crate) static $setting: $crate::settings::Setting<$reader, $item> =
                $crate::settings::Setting {
                    $($column: $value,)+
                    ..$crate::settings::Setting::new(
                        $is,
                        &[$($doc),*],
                        $crate::settings::value_of!($($of)+),
                    )
                };
        )*
    };
}

/// The value that a configuration has for a setting, or none for one that others inherit.
macro_rules! value_of {
    (inherited) => {
        |_, _| None
    };
    (|$config:pat_param, $of:pat_param| $value:expr) => {
        |$config, $of| Into::into($value)
    };
}

pub(crate) use {settings, value_of};
