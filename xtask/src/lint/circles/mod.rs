//! No two files of a crate depend on each other, directly or in a circle.
//!
//! A file depends on the file that defines a name which it uses, by an import or by a path in the
//! code, even if the name was re-exported in between. Three uses are no dependency:
//!
//! - A parent declares a child, or re-exports its names without using them.
//! - A child uses a name of a module that contains it. The child is a part of that module, which is
//!   why it can access the private fields there; its siblings are not.
//! - A test uses any name.

mod modules;
mod scan;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use self::{
    modules::{Id, Modules, Target},
    scan::Import,
};
use super::{
    finding::Finding,
    source::{Source, Tree, read},
};

/// The places where one file uses a name of another, by both files.
type Arrows = BTreeMap<(PathBuf, PathBuf), Arrow>;

/// The use of a name of another file.
#[derive(Debug)]
struct Arrow {
    line: usize,
    names: BTreeSet<String>,
}

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    Ok(judge(tree, &roots(tree)?))
}

fn judge(tree: &Tree, roots: &[PathBuf]) -> Vec<Finding> {
    let files = tree
        .sources
        .iter()
        .map(|source| (source.path.as_path(), source));
    let files: HashMap<&Path, &Source> = files.collect();
    let findings = |root: &PathBuf| {
        let arrows = arrows(&Modules::read(root, &files));
        let describe = |circle| describe(&circle, &arrows);
        circles(&arrows)
            .into_iter()
            .map(describe)
            .collect::<Vec<_>>()
    };
    roots.iter().flat_map(findings).collect()
}

/// The root files of crates: those that cargo finds by itself, and those in a manifest. The crate
/// of the tests does not count.
fn roots(tree: &Tree) -> Result<Vec<PathBuf>> {
    let mut roots = Vec::new();
    let sources = tree.sources.iter();
    for source in sources.filter(|source| !source.path.starts_with("tests")) {
        let folder = source.path.parent().unwrap_or(Path::new(""));
        let is_root = ["src/lib.rs", "src/main.rs"]
            .iter()
            .any(|end| source.path.ends_with(end));
        if is_root || folder.ends_with("src/bin") {
            roots.push(source.path.clone());
        }
        if is_root {
            let package = folder.parent().unwrap_or(Path::new(""));
            roots.extend(named_roots(&tree.root, package)?);
        }
    }
    roots.sort();
    roots.dedup();
    Ok(roots)
}

fn named_roots(root: &Path, package: &Path) -> Result<Vec<PathBuf>> {
    let manifest = root.join(package).join("Cargo.toml");
    if !fs::exists(&manifest)? {
        return Ok(Vec::new());
    }
    let manifest = read(&manifest)?;
    let paths = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \""));
    let paths = paths.filter_map(|path| path.strip_suffix('"'));
    Ok(paths.map(|path| package.join(path)).collect())
}

fn arrows(modules: &Modules) -> Arrows {
    let mut arrows = Arrows::new();
    for (id, module) in modules.all.iter().enumerate() {
        for import in &module.scan.imports {
            if is_used(modules, id, import) {
                let name = import.alias.as_deref().unwrap_or("*");
                add(&mut arrows, modules, id, &import.named, name);
            }
        }
        for named in &module.scan.paths {
            add(&mut arrows, modules, id, named, &named.path.join("::"));
        }
    }
    arrows
}

/// Whether an import is used: a re-exported name only if the code contains it, a module by its
/// names.
fn is_used(modules: &Modules, id: Id, import: &Import) -> bool {
    match &import.alias {
        _ if !import.is_public => true,
        Some(name) => modules.all[id].scan.words.contains(name),
        None => false,
    }
}

fn add(arrows: &mut Arrows, modules: &Modules, from: Id, named: &scan::Named, name: &str) {
    let target = match modules.resolve(from, &named.path) {
        Some(Target::Item(target)) => target,
        // An import of all names of a module.
        Some(Target::Module(target)) if name == "*" => target,
        _ => return,
    };
    let lies_inside = modules.ancestors(from).any(|ancestor| ancestor == target);
    let (from, target) = (&modules.all[from].file, &modules.all[target].file);
    if from != target && !lies_inside {
        let arrow = arrows.entry((from.clone(), target.clone()));
        let line = named.line;
        let arrow = arrow.or_insert_with(|| Arrow {
            line,
            names: BTreeSet::new(),
        });
        arrow.line = arrow.line.min(line);
        arrow.names.insert(name.to_owned());
    }
}

/// The sets of files that all reach each other.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<PathBuf>> {
    let mut circles: Vec<BTreeSet<PathBuf>> = Vec::new();
    for (from, _) in arrows.keys() {
        if circles.iter().any(|circle| circle.contains(from)) {
            continue;
        }
        let after = reach(from, arrows, |(from, to)| (from, to));
        let before = reach(from, arrows, |(from, to)| (to, from));
        let circle: BTreeSet<PathBuf> = after.intersection(&before).cloned().collect();
        if !circle.is_empty() {
            circles.push(circle);
        }
    }
    circles
}

/// All files that arrows reach from `start`, itself included if they lead back to it.
fn reach(
    start: &Path,
    arrows: &Arrows,
    ends: impl Fn(&(PathBuf, PathBuf)) -> (&PathBuf, &PathBuf),
) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(file) = open.pop() {
        for (from, to) in arrows.keys().map(&ends) {
            if from == file && reached.insert(to.clone()) {
                open.push(to);
            }
        }
    }
    reached
}

fn describe(circle: &BTreeSet<PathBuf>, arrows: &Arrows) -> Finding {
    let inside = |((from, to), _): &(&(PathBuf, PathBuf), &Arrow)| {
        circle.contains(from) && circle.contains(to)
    };
    let inside: Vec<_> = arrows.iter().filter(inside).collect();
    let shown: String = inside
        .iter()
        .map(|(ends, arrow)| show(ends, arrow))
        .collect();
    let first = inside.first();
    Finding {
        path: first.map_or_else(PathBuf::new, |((from, _), _)| from.clone()),
        line: first.map_or(1, |(_, arrow)| arrow.line),
        what: format!(
            "a circle of {} files: move what two of them share into a file that imports \
             neither{shown}",
            circle.len()
        ),
    }
}

fn show((from, to): &(PathBuf, PathBuf), arrow: &Arrow) -> String {
    let names: Vec<&str> = arrow.names.iter().map(String::as_str).collect();
    let (from, to) = (from.display(), to.display());
    format!(
        "\n  {from}:{} takes {} from {to}",
        arrow.line,
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::{shown, tree};

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        shown(&judge(&tree(files), &["src/lib.rs".into()]))
    }

    const LIB: (&str, &str) = ("src/lib.rs", "mod a;\nmod b;\npub use a::A;");
    const CIRCLE: [(&str, &str); 3] = [
        LIB,
        ("src/a.rs", "use crate::b::B;\npub struct A(B);"),
        (
            "src/b.rs",
            "use std::fmt;\n\npub struct B;\nfn f() { crate::A::new() }",
        ),
    ];

    #[test]
    fn circle_of_two_is_described_with_its_names() {
        let expected = "src/a.rs:1: a circle of 2 files: move what two of them share into a file \
                        that imports neither\n  src/a.rs:1 takes B from src/b.rs\n  \
                        src/b.rs:4 takes crate::A::new from src/a.rs";
        assert_eq!(found(&CIRCLE), [expected]);
    }

    #[test]
    fn child_may_take_from_a_parent_that_uses_it() {
        let lib = ("src/lib.rs", "mod a;\nstruct Shared;\nfn f(_: a::A) {}");
        let child = ("src/a.rs", "use crate::Shared;\npub struct A(Shared);");
        assert!(found(&[lib, child]).is_empty());
    }

    #[test]
    fn parent_that_only_declares_and_hands_on_is_in_no_circle() {
        let lib = ("src/lib.rs", "mod a;\nmod c;");
        let child = ("src/a/b.rs", "use crate::c::C;\npub struct B(C);");
        let c = ("src/c.rs", "use crate::a::A;\npub struct C;");
        let declares = ("src/a/mod.rs", "mod b;\npub use b::B;\npub struct A;");
        assert!(found(&[lib, declares, child, c]).is_empty());
        let uses = (
            "src/a/mod.rs",
            "mod b;\npub use b::B;\npub struct A;\nfn f(_: B) {}",
        );
        assert_eq!(found(&[lib, uses, child, c]).len(), 1);
    }

    #[test]
    fn parent_that_calls_a_child_that_takes_nothing_is_in_no_circle() {
        let lib = ("src/lib.rs", "mod a;\nmod b;\nfn f() { a::g() }");
        let child = ("src/a.rs", "use super::b::B;\npub(crate) fn g() {}");
        assert!(found(&[lib, child, ("src/b.rs", "struct B;")]).is_empty());
    }

    #[test]
    fn test_of_a_file_may_use_everything() {
        let a = ("src/a.rs", "use crate::b::B;\npub struct A(B);");
        let b = (
            "src/b.rs",
            "pub struct B;\n#[cfg(test)]\nmod tests {\nuse crate::A;\n}",
        );
        assert!(found(&[LIB, a, b]).is_empty());
    }
}
