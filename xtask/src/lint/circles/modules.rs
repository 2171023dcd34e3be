//! The modules of one crate, and the file that defines the target of a path.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::scan::{Child, Import, Scan};
use crate::lint::source::Source;

/// The greatest number of imports through which a name is followed; real chains are shorter.
const MAX_DEPTH: usize = 16;

/// Number of a module in [`Modules`].
pub(super) type Id = usize;

/// A module, which may share its file with others.
#[derive(Debug)]
pub(super) struct Module {
    pub file: PathBuf,
    pub scan: Scan,
    parent: Id,
    children: HashMap<String, Id>,
}

/// The target of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Something that this module defines.
    Item(Id),
    Module(Id),
}

/// All modules of one crate. The first is its root.
#[derive(Debug)]
pub(super) struct Modules {
    pub all: Vec<Module>,
}

impl Modules {
    /// The modules that can be reached from the crate's `root`, outside tests.
    pub(super) fn read(root: &Path, files: &HashMap<&Path, &Source>) -> Self {
        let mut modules = Self { all: Vec::new() };
        if let Some(source) = files.get(root) {
            let place = root.parent().unwrap_or(Path::new(""));
            modules.add(root, place, 0, Scan::of(&source.tokens), files);
        }
        modules
    }

    /// Adds a module and its descendants. The files of its children are in `place`.
    fn add(
        &mut self,
        file: &Path,
        place: &Path,
        parent: Id,
        mut scan: Scan,
        files: &HashMap<&Path, &Source>,
    ) -> Id {
        let id = self.all.len();
        let children = std::mem::take(&mut scan.children);
        self.all.push(Module {
            file: file.to_owned(),
            scan,
            parent,
            children: HashMap::new(),
        });
        for child in children {
            let name = child.name.clone();
            if let Some(child) = self.add_child(id, child, place, files) {
                self.all[id].children.insert(name, child);
            }
        }
        id
    }

    fn add_child(
        &mut self,
        parent: Id,
        child: Child,
        place: &Path,
        files: &HashMap<&Path, &Source>,
    ) -> Option<Id> {
        let below = place.join(&child.name);
        if let Some(body) = child.body {
            let file = self.all[parent].file.clone();
            return Some(self.add(&file, &below, parent, Scan::of(&body), files));
        }
        let candidates = [below.with_extension("rs"), below.join("mod.rs")];
        let file = candidates
            .iter()
            .find(|file| files.contains_key(file.as_path()))?;
        let scan = Scan::of(&files.get(file.as_path())?.tokens);
        Some(self.add(file, &below, parent, scan, files))
    }

    /// The modules that contain `module`, from the inside out.
    pub(super) fn ancestors(&self, module: Id) -> impl Iterator<Item = Id> {
        let above = |child: &Id| (*child != 0).then(|| self.all[*child].parent);
        std::iter::successors(above(&module), above)
    }

    /// The target of `path` in module `from`. `None` is outside the crate.
    pub(super) fn resolve(&self, from: Id, path: &[String]) -> Option<Target> {
        self.follow(from, path, 0)
    }

    fn follow(&self, from: Id, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(0, rest, depth),
            "self" => self.descend(from, rest, depth),
            "super" => self.follow_up(self.all[from].parent, rest, depth),
            name if self.knows(from, name) => self.descend(from, path, depth),
            _ => None,
        }
    }

    /// Resolves the rest of a path after `super`, which may be followed by another one.
    fn follow_up(&self, module: Id, rest: &[String], depth: usize) -> Option<Target> {
        match rest.first() {
            Some(next) if next == "super" => {
                self.follow_up(self.all[module].parent, &rest[1..], depth)
            }
            _ => self.descend(module, rest, depth),
        }
    }

    fn knows(&self, module: Id, name: &str) -> bool {
        let Module { children, scan, .. } = &self.all[module];
        children.contains_key(name) || scan.imports.iter().any(|import| has_alias(import, name))
    }

    /// The target of `path` inside `module`.
    fn descend(&self, module: Id, path: &[String], depth: usize) -> Option<Target> {
        let Some((name, rest)) = path.split_first() else {
            return Some(Target::Module(module));
        };
        let Module { children, scan, .. } = &self.all[module];
        let child = children.get(name).copied();
        if let Some(child) = child.filter(|_| !rest.is_empty()) {
            return self.descend(child, rest, depth);
        }
        if let Some(import) = scan.imports.iter().find(|import| has_alias(import, name)) {
            return self.through(module, import, rest, depth);
        }
        if scan.defined.contains(name) {
            return Some(Target::Item(module));
        }
        let found = child.map(Target::Module);
        found.or_else(|| self.by_glob(module, path, depth))
    }

    /// Resolves `rest` at the target of an import of `module`.
    fn through(
        &self,
        module: Id,
        import: &Import,
        rest: &[String],
        depth: usize,
    ) -> Option<Target> {
        if depth > MAX_DEPTH {
            return None;
        }
        let path = &import.named.path;
        // The import is of a whole crate by its own name, or names itself.
        if path.len() == 1 && import.alias.as_ref() == path.first() {
            return None;
        }
        match self.follow(module, path, depth + 1)? {
            Target::Module(next) => self.descend(next, rest, depth + 1),
            item => Some(item),
        }
    }

    /// Resolves a name that the module does not define itself: by an import of all names, or as a
    /// macro of the module.
    fn by_glob(&self, module: Id, path: &[String], depth: usize) -> Option<Target> {
        let globs = self.all[module].scan.imports.iter();
        let mut globs = globs.filter(|import| import.alias.is_none() && depth < MAX_DEPTH);
        let found =
            globs.find_map(
                |glob| match self.follow(module, &glob.named.path, depth + 1)? {
                    Target::Module(next) if self.has(next, &path[0]) => {
                        self.descend(next, path, depth + 1)
                    }
                    _ => None,
                },
            );
        found.or(Some(Target::Item(module)))
    }

    fn has(&self, module: Id, name: &str) -> bool {
        self.knows(module, name) || self.all[module].scan.defined.contains(name)
    }
}

fn has_alias(import: &Import, name: &str) -> bool {
    import.alias.as_deref() == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::{Tree, made_up::tree};

    fn modules(tree: &Tree) -> Modules {
        let files = tree
            .sources
            .iter()
            .map(|source| (source.path.as_path(), source));
        Modules::read(Path::new("src/lib.rs"), &files.collect())
    }

    fn file_of(modules: &Modules, from: &str, path: &str) -> Option<String> {
        let from = modules
            .all
            .iter()
            .position(|module| module.file == Path::new(from));
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        let (Target::Item(id) | Target::Module(id)) = modules.resolve(from?, &path)?;
        Some(modules.all[id].file.display().to_string())
    }

    #[test]
    fn path_leads_to_the_file_that_defines_its_name() {
        let tree = tree(&[
            ("src/lib.rs", "mod a; mod b; pub use a::inner::Deep;"),
            (
                "src/a/mod.rs",
                "mod inner; pub(crate) use inner::*; pub struct Own;",
            ),
            ("src/a/inner.rs", "pub struct Deep; pub struct Other;"),
            ("src/b.rs", "mod c; use crate::a; use std::fmt;"),
            ("src/b/c.rs", "pub fn f() {}"),
        ]);
        let modules = modules(&tree);
        for (from, path, expected) in [
            ("src/b.rs", "crate::Deep", Some("src/a/inner.rs")),
            ("src/b.rs", "crate::a::Other", Some("src/a/inner.rs")),
            ("src/b.rs", "a::Own::new", Some("src/a/mod.rs")),
            ("src/b.rs", "c::f", Some("src/b/c.rs")),
            ("src/b/c.rs", "super::super::a::Own", Some("src/a/mod.rs")),
            ("src/b/c.rs", "super::a::Deep", Some("src/a/inner.rs")),
            ("src/b.rs", "self::c", Some("src/b/c.rs")),
            ("src/b.rs", "fmt::Display", None),
            ("src/b.rs", "std::fs", None),
        ] {
            let found = file_of(&modules, from, path);
            assert_eq!(found.as_deref(), expected, "{from} {path}");
        }
    }

    #[test]
    fn module_within_a_file_is_part_of_it() {
        let tree = tree(&[
            ("src/lib.rs", "mod a { pub(crate) fn f() {} pub mod b; }"),
            ("src/a/b.rs", "struct B;"),
        ]);
        let modules = modules(&tree);
        let found = file_of(&modules, "src/a/b.rs", "super::f");
        assert_eq!(found.as_deref(), Some("src/lib.rs"));
    }

    #[test]
    fn names_that_are_handed_around_for_ever_lead_nowhere() {
        let tree = tree(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub use crate::b::X;"),
            ("src/b.rs", "pub use crate::a::X;"),
        ]);
        assert_eq!(file_of(&modules(&tree), "src/lib.rs", "a::X"), None);
    }
}
